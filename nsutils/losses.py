"""How far an image is from what is wanted of it: in features, contours, colours, likeness of its places.

Pure functions of (N, C, H, W) tensors: no state, no weights.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nsutils.shapes import FAINT
from nsutils.statistics import FLOOR, chunks, full

SLACK = 0.1  # in parts of the spread: a layout's colours may be so far off for nearly nothing


def squared_distance(
    got: Tensor, wanted: Tensor, total: int | None = None, weights: Tensor | None = None
) -> Tensor:
    """Mean squared difference of features, as a sum in parts of `total` elements (Gatys et al. 2015, eq. 1).

    `weights` (1, 1, H, W) say how much each pixel counts.
    """
    return Apart.apply(got, wanted, weights) / (total or wanted.numel())


class Apart(torch.autograd.Function):
    """The sum of squared differences, in float32, some pixels at a time."""

    @staticmethod
    def forward(ctx, got: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(got, wanted, weights)
        total = 0.0
        for one, other, weight in chunks(got, wanted, weights):
            apart = (one - other).square()
            total = total + (apart if weight is None else weight * apart).sum()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None]:
        got, wanted, weights = ctx.saved_tensors
        apart = (got - wanted).mul_(2 * slope)
        return (apart if weights is None else apart.mul_(weights.to(apart))), None, None


def fitting(pools: Iterable[int], shape: tuple[int, int]) -> list[int]:
    """Those of the pools that leave enough of a picture of that shape for its contours to be seen."""
    return [pool for pool in pools if pool <= min(shape) // 3]


def laplacian(image: Tensor, pool: int) -> Tensor:
    """The second derivative of the channels' sum, averaged over squares of `pool` pixels before: (N, 1, h, w).

    Li et al. 2017, section 3.1, with the kernel 0 -1 0, -1 4 -1, 0 -1 0, between squares half of which overlap. Here
    there is a square around every pixel, and beyond the border its pixels are repeated: else the squares are seen in
    the picture, and dots along its border.
    """
    apart = max(1, pool // 2)
    light = F.pad(image.sum(1, keepdim=True), (pool // 2 + apart,) * 4, mode="replicate")
    light = F.avg_pool2d(light, pool, 1)
    within, before, behind = slice(apart, -apart), slice(None, -2 * apart), slice(2 * apart, None)
    beside = light[..., within, before] + light[..., within, behind]
    over = light[..., before, within] + light[..., behind, within]
    return 4 * light[..., within, within] - beside - over


def self_similarity(features: Tensor, most: int = 32) -> Tensor:
    """How unlike a picture's places are to each other: cosine distances, each column in parts of its sum, (n, n).

    Kolkin et al. 2019, eq. 4, who take random places; here they are the fields of a grid of at most `most` x `most`,
    so that every pixel counts and L-BFGS sees the same at each step.
    """
    side = math.ceil(max(features.shape[-2:]) / most)
    places = F.avg_pool2d(full(features), side, ceil_mode=True)[0]
    unit = F.normalize(places.flatten(1), dim=0)
    apart = (1 - unit.T @ unit).clamp_min(0)
    return apart / (apart.sum(0, keepdim=True) + FLOOR)


def unlike(got: Tensor, wanted: Tensor) -> Tensor:
    """How far two self-similarities are apart: 0 equal, 1 as far as can be; the mean over columns."""
    return (got - wanted).abs().sum(0).mean() / 2


def displaced(got: Tensor, wanted: Tensor, weights: Tensor, spread: Tensor) -> Tensor:
    """How far the colours of `cells` are apart, in parts of a `spread`; the mean by `weights` (N, 1, h, w).

    By sqrt(d^2 + SLACK^2) - SLACK: a few that are far off, as a style's sun, cost less than many that are a little.
    Where no cell weighs more than FAINT, as in a flat picture, all of it is next to nothing.
    """
    apart = (got - wanted).square().mean(1, keepdim=True) / spread.square()
    apart = weights * ((apart + SLACK**2).sqrt() - SLACK)
    return apart.sum() / (weights + FAINT).sum()


class Pull(torch.autograd.Function):
    """Features as they are, their gradient with a set length, the sum of absolutes."""

    @staticmethod
    def forward(ctx, features: Tensor, length: float | Tensor) -> Tensor:
        ctx.length = length
        return features.view_as(features)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:
        return slope * (ctx.length / (full(slope).abs().sum() + 1e-8)), None
