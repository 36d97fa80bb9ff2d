"""A picture with another's colours: its own light with the other's colour, or its colours matched to the other's."""

import numpy as np
from PIL import Image

from nsutils.settings import Settings

LIGHT = np.array([0.299, 0.587, 0.114])  # of red, green, blue in Y, as YIQ, YUV and YCbCr have it
RIDGE = 1e-5  # keeps the roots of a flat picture's covariance finite


def finished(
    picture: Image.Image, content: Image.Image, settings: Settings, mask: Image.Image | None = None
) -> Image.Image:
    """The picture as it is shown under the settings; where colours are matched, the style's were, before."""
    amount = 0.0 if settings.color_method in MATCHES else settings.original_colors
    if mask and settings.mask_colors:
        small = mask.resize(picture.size, Image.Resampling.BILINEAR)
        amount = np.maximum(amount, settings.mask_colors * np.asarray(small)[..., None] / 255)
    if not np.any(amount):
        return picture
    return lit(picture, content, amount)


def lit(picture: Image.Image, content: Image.Image, amount: float | np.ndarray) -> Image.Image:
    """The picture's Y with the content's I and Q (Gatys et al. 2017, section 5.1), which is resized to it."""
    own = values(picture)
    other = values(content.resize(picture.size, Image.Resampling.BICUBIC))
    return mixed(picture, other + ((own - other) @ LIGHT)[..., None], amount)


def matched(picture: Image.Image, content: Image.Image, method: str, amount: float) -> Image.Image:
    """The picture with its pixels' mean and covariance made the content's, linearly.

    x -> A (x - m) + m' with A S A^T = S' (Gatys et al. 2017, section 5.2); `method` says which A.
    """
    own = values(picture)
    flat, other = own.reshape(-1, 3), values(content).reshape(-1, 3)
    turn = MATCHES[method](covariance(flat), covariance(other))
    moved = (flat - flat.mean(0)) @ turn.T + other.mean(0)
    return mixed(picture, moved.reshape(own.shape), amount)


def cholesky(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """L' L^-1 of the factors L L^T."""
    return np.linalg.cholesky(other) @ np.linalg.inv(np.linalg.cholesky(own))


def pca(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """S'^1/2 S^-1/2 with symmetric roots: through the principal axes of both."""
    return root(other) @ np.linalg.inv(root(own))


def symmetric(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The one that is itself symmetric, and so moves colours the least: S^-1/2 (S^1/2 S' S^1/2)^1/2 S^-1/2."""
    half = root(own)
    back = np.linalg.inv(half)
    return back @ root(half @ other @ half) @ back


MATCHES = {"cholesky": cholesky, "pca": pca, "symmetric": symmetric}


def covariance(pixels: np.ndarray) -> np.ndarray:
    return np.cov(pixels.T, bias=True) + RIDGE * np.eye(3)


def root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    lengths, axes = np.linalg.eigh(matrix)
    return (axes * np.sqrt(lengths.clip(0))) @ axes.T


def values(image: Image.Image) -> np.ndarray:
    """(H, W, 3), 0 black to 1 white."""
    return np.asarray(image, dtype=np.float64) / 255


def mixed(picture: Image.Image, other: np.ndarray, amount: float | np.ndarray) -> Image.Image:
    """The picture as far as `amount`, one or (H, W, 1), on its way to other values."""
    both = (1 - amount) * values(picture) + amount * other
    return Image.fromarray((both.clip(0, 1) * 255).round().astype(np.uint8))
