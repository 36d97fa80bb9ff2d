"""How smooth an image is: total variation, in the forms that programs have given it, and between a guide's edges.

Pure functions of (N, C, H, W) tensors: no state, no weights.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nsutils.statistics import FLOOR

RIM, DEPTH = 10, 4  # how many times more colours count along the border, and how many pixels deep
WAYS = (0, 1), (1, 0), (1, 1), (1, -1)  # from a pixel to its neighbours: rows down, columns across
CONTRAST = 0.75  # in parts of the mean gradient: an edge of as much counts half across


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference between neighbours, down and across."""
    return image.diff(dim=-1).square().mean() + image.diff(dim=-2).square().mean()


def half_squares(image: Tensor) -> Tensor:
    """Half the sum of squared differences between neighbours; the last row and column have none of their own."""
    across, down = image.diff(dim=-1)[..., :-1, :], image.diff(dim=-2)[..., :-1]
    return (across.square().sum() + down.square().sum()) / 2


def absolute(image: Tensor) -> Tensor:
    """Sum of absolute differences between neighbours, down and across."""
    return image.diff(dim=-1).abs().sum() + image.diff(dim=-2).abs().sum()


def nine_point(image: Tensor) -> Tensor:
    """Mean squared differences to all eight neighbours, those at the corners a quarter as heavy; edges repeat."""
    straight = sum(image.diff(dim=dim).square().sum() for dim in (-1, -2)) / image.numel()
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    aslant = (wide[..., 1:, 1:] - wide[..., :-1, :-1]).square().mean()
    aslant = aslant + (wide[..., 1:, :-1] - wide[..., :-1, 1:]).square().mean()
    return 2 * straight / 3 + aslant / 6


def smooth_between_edges(image: Tensor, evenness: Sequence[Tensor]) -> Tensor:
    """As `total_variation`, but less across a guide's edges, as its `evenness` says, and more at the `rim`."""
    ways = zip(evenness, WAYS, strict=True)
    return sum(Differences.apply(image, weights, *way) for weights, way in ways) + RIM * rim(image)


def rim(image: Tensor) -> Tensor:
    """Squared differences of colours, not of light, on the way in from the border, e times less with each pixel.

    In parts of the image. Layers see the picture mirrored beyond the border, so that a colour has one end less there
    and costs half as much as elsewhere: palettes gather in it, as a saturated rim.
    """
    inwards = image[..., :DEPTH, :], image[..., :DEPTH].mT
    back = image[..., -DEPTH:, :].flip(-2), image[..., -DEPTH:].flip(-1).mT
    fading = torch.exp(-torch.arange(DEPTH - 1.0)).to(image)[:, None]
    colours = (side - side.mean(1, keepdim=True) for side in (*inwards, *back))
    return sum((fading * colour.diff(dim=-2).square()).sum() for colour in colours) / image.numel()


def evenness(guide: Tensor) -> tuple[Tensor, ...]:
    """How much differences between neighbours in each of the WAYS count: with a flat guide 1, 1, 0 and 0.

    Together they weigh the square of the gradient by a diffusion tensor, (1 + J / k^2)^-1, with J the guide's
    structure tensor (Weickert 1998, sections 2.2 and 2.4): along an edge of the guide a gradient counts as elsewhere,
    across it less (Perona and Malik 1990, eq. 2). So an edge stays a line at any angle; if rows and columns were each
    weighed by their own differences, steps would be seen in it. J is smoothed: a speck of one pixel is no edge.
    """
    across, down = corners(guide.diff(dim=-1), -2), corners(guide.diff(dim=-2), -1)
    products = torch.stack((across * across, across * down, down * down)).sum(2, keepdim=True)
    xx, xy, yy = around(products)
    square = (CONTRAST * (xx + yy).sqrt().mean() + FLOOR) ** 2
    xx, xy, yy = 1 + xx / square, xy / square, 1 + yy / square
    whole = xx * yy - xy * xy
    aslant = -xy / whole / 2
    return beside(yy / whole, -2), beside(xx / whole, -1), aslant, -aslant


def around(fields: Tensor) -> Tensor:
    """Means of 3 x 3 values, the middle one four times as heavy as a corner."""
    for dim in (-2, -1):
        fields = corners(beside(fields, dim), dim)
    return fields


def corners(field: Tensor, dim: int) -> Tensor:
    """One value less along a dimension: means of two neighbours."""
    count = field.shape[dim] - 1
    return (field.narrow(dim, 0, count) + field.narrow(dim, 1, count)) / 2


def beside(field: Tensor, dim: int) -> Tensor:
    """One value more along a dimension: the same, and both ends as they are."""
    first, last = field.narrow(dim, 0, 1), field.narrow(dim, field.shape[dim] - 1, 1)
    return torch.cat((first, corners(field, dim), last), dim)


class Differences(torch.autograd.Function):
    """The mean of squared differences between neighbours, so many rows down and columns across, by weights.

    For the gradient they hold nothing but the weights; PyTorch's way holds five images.
    """

    @staticmethod
    def forward(ctx, image: Tensor, weights: Tensor, down: int, across: int) -> Tensor:
        ctx.save_for_backward(image, weights)
        ctx.way = down, across
        here, there = neighbours(image, down, across)
        return (there - here).square_().mul_(weights).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None, None]:
        image, weights = ctx.saved_tensors
        here, there = neighbours(image, *ctx.way)
        apart = there - here
        apart.mul_(weights).mul_(2 * slope / apart.numel())
        pulled = torch.zeros_like(image)
        here, there = neighbours(pulled, *ctx.way)
        there.add_(apart)
        here.sub_(apart)
        return pulled, None, None, None


def neighbours(image: Tensor, down: int, across: int) -> tuple[Tensor, Tensor]:
    """Views of all pixels that have a neighbour so many rows down and columns across, and of those neighbours."""
    height, width = image.shape[-2:]
    left, right = max(0, -across), max(0, across)
    here = image[..., : height - down, left : width - right]
    return here, image[..., down:, right : width - left]


TOTAL_VARIATIONS = {
    "squares": total_variation,
    "half-squares": half_squares,
    "absolute": absolute,
    "nine-point": nine_point,
    "edges": smooth_between_edges,
}
