"""Statistics of features and distances between them. Pure functions of (N, C, H, W) tensors: no state, no weights."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

FLOOR = 1e-4  # keeps a relative distance finite where the target is flat


class Sums(torch.autograd.Function):
    """Mean (N, C) and mean products (N, C, C) of the channels over pixels.

    What autograd makes of X @ X.T passes over the features six times; the gradient by hand passes once.
    """

    @staticmethod
    def forward(ctx, features: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(features)
        # (N, H*W, C): a view, no copy, where the channels are last in memory
        pixels = features.permute(0, 2, 3, 1).flatten(1, 2)
        return pixels.mean(1), pixels.mT @ pixels / pixels.shape[1]

    @staticmethod
    @once_differentiable
    def backward(ctx, mean: Tensor, products: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        pixels = features.permute(0, 2, 3, 1)
        mean, products = (slope / features[0, 0].numel() for slope in (mean, products))
        slope = torch.baddbmm(mean[:, None], pixels.flatten(1, 2), products + products.mT)
        return slope.view_as(pixels).permute(0, 3, 1, 2)


def gram(features: Tensor) -> Tensor:
    """Channel correlations, (N, C, C), averaged over pixels so that size does not matter.

    Gatys et al. 2015, eq. 3, divided by H*W.
    """
    return Sums.apply(features)[1]


def moments(features: Tensor) -> Tensor:
    """Mean and covariance of the channels over pixels, side by side: (N, C, 1 + C).

    Unlike the Gram matrix, which mixes the two, they tell a colour from a contrast.
    """
    mean, products = Sums.apply(features)
    mean = mean[..., None]
    return torch.cat((mean, products - mean @ mean.mT), -1)


def relative(got: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance as a share of the target's square: 0 where equal, 1 where `got` is zero."""
    return (got - wanted).square().sum() / (wanted.square().sum() + FLOOR)


def moments_distance(got: Tensor, wanted: Tensor) -> Tensor:
    """The means' distance in parts of the target's variance, and the covariances' relative one, half each."""
    variance = wanted[..., 1:].diagonal(dim1=-2, dim2=-1).sum()
    apart = (got[..., 0] - wanted[..., 0]).square().sum() / (variance + FLOOR)
    return (apart + relative(got[..., 1:], wanted[..., 1:])) / 2


STYLE_STATISTICS = {"moments": (moments, moments_distance), "gram": (gram, relative)}


def feature_distance(got: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference in parts of the target's variance (Gatys et al. 2015, eq. 1, made relative)."""
    return (got - wanted).square().mean() / (wanted.var() + FLOOR)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference between neighbours, down and across."""
    return image.diff(dim=-1).square().mean() + image.diff(dim=-2).square().mean()
