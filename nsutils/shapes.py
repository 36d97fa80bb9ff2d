"""What is where in a picture: its layout, what is drawn in it, and its sky. Pure functions of (N, C, H, W), white 1."""

import math
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS, FINE = 16, 64  # along the long edge: how coarsely a layout is seen, and what is drawn
FAINT = 0.004  # a step of 8 bits: deviations below it are not seen
EVEN = 0.01  # the deviation at which a cell is half a sky
FAR = 256  # pixels along the long edge: from how far off a sky is seen


def cells(image: Tensor, count: int = CELLS) -> Tensor:
    """The mean colours of rectangles, `count` of them along the long edge: (N, C, h, w), the same for every size."""
    height, width = image.shape[-2:]
    parts = [max(1, round(count * side / max(height, width))) for side in (height, width)]
    return F.adaptive_avg_pool2d(image, parts)


def busy(picture: Tensor, count: int = CELLS) -> Tensor:
    """How much each of the `cells` has in it, (N, 1, h, w), from 0 to 1: little where it is flat.

    By d^2 / (d^2 + k^2 + FAINT^2), d the deviation of the colours in a cell and k the mean of it over the cells.
    """
    varied = variance(picture, count)
    return varied / (varied + varied.sqrt().mean().square() + FAINT**2)


def variance(picture: Tensor, count: int) -> Tensor:
    """Of the colours in each of the `cells`, the mean over the channels, (N, 1, h, w)."""
    picture = picture - picture.mean((-2, -1), keepdim=True)  # else rounding is taken for something
    varied = cells(picture.square(), count) - cells(picture, count).square()
    return varied.clamp_min(0).mean(1, keepdim=True)


def drawn(picture: Tensor) -> Tensor:
    """Where there is much to see, (N, 1, H, W), from 0 to 1: how `busy` fine cells are, and those around them."""
    return blurred(busy(picture, fine(picture)), picture)


def sky(picture: Tensor) -> Tensor:
    """Where nothing is seen from the upper edge down, (N, 1, H, W), from 0 to 1.

    By the least s^2 / (s^2 + d^2) of a fine cell and those above it, d the deviation of its colours and s EVEN. A large
    picture is seen from further off, lest its grain is taken for something.
    """
    seen = cells(picture, min(FAR, max(picture.shape[-2:])))
    flat = EVEN**2 / (EVEN**2 + variance(seen, fine(seen)))
    return blurred(torch.stack([*accumulate(flat.unbind(-2), torch.minimum)], -2), picture)


def wide(above: Tensor) -> float:
    """How wide a `sky` is: 0 where at most 0.3 of the upper third is sky, 1 where 0.6 is."""
    share = above[..., : math.ceil(above.shape[-2] / 3), :].mean().item()
    return min(1.0, max(0.0, (share - 0.3) / 0.3))


def fine(picture: Tensor) -> int:
    """How many cells tell what is where: FINE, of small pictures such that they are two pixels wide."""
    return min(FINE, max(picture.shape[-2:]) // 2)


def blurred(found: Tensor, picture: Tensor) -> Tensor:
    """What is known of cells, with those around them, at the picture's size."""
    found = F.avg_pool2d(found, 3, 1, 1, count_include_pad=False)
    return F.interpolate(found, picture.shape[-2:], mode="bilinear")
