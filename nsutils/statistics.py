"""Statistics of features and distances between them. Pure functions of (N, C, H, W) tensors: no state, no weights.

A statistic's distance is one for each of N, relative, a share of its target, or absolute, a mean square, as
published programs have it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial, reduce
from itertools import starmap
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nsutils.graphs import side_by_side

FLOOR = 1e-4  # keeps a relative distance finite where the target is flat
RIDGE = 1e-4  # added to a covariance's diagonal, for its root's sake
ROUNDING = 1e-4  # of the mean products, at most
LONGEST = 32  # of a style's axes, at least
SHORTEST = (
    1e-5  # of them, in parts of the longest one's variance; below are those that rounding makes
)
QUANTILES = 256  # of a projection
CHUNK = 1 << 18  # values that are taken to float32 at once
# Steps of Newton and Schulz, and the smallest root that they shall reach, in parts of the norm's; 1 is the plain
# iteration, of which crowsonkb/style-transfer-pytorch makes 12, too few for the small ones.
SCALED, PLAIN = (8, 0.01), (12, 1.0)


class RawMoments(torch.autograd.Function):
    """Mean and mean products of the channels over pixels, (N, C, 1 + C), in float32, some pixels at a time.

    They are sums in parts of `total` pixels, so those of an image's pieces add up to its own; `weights` (1, 1, H, W)
    say how much each pixel counts. What autograd makes of X @ X.T passes over the features six times; the gradient
    by hand passes once.
    """

    @staticmethod
    def forward(ctx, features: Tensor, total: float | Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weights)
        ctx.total = total
        roots = None if weights is None else weights.sqrt()
        return reduce(torch.add, starmap(RawMoments.sums, chunks(features, roots))) / total

    @staticmethod
    def sums(pixels: Tensor, roots: Tensor | None) -> Tensor:
        """Of pixels (N, count, C), `roots` of what each counts: one copy of them is on the way, not two."""
        if roots is None:
            return torch.cat((pixels.sum(1)[..., None], torch.bmm(pixels.mT, pixels)), -1)
        pixels = roots * pixels
        return torch.cat((pixels.mT @ roots, torch.bmm(pixels.mT, pixels)), -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None]:
        features, weights = ctx.saved_tensors
        slope = slope / ctx.total
        mean, products = slope[:, None, :, 0], slope[..., 1:] + slope[..., 1:].mT
        kind = features.dtype
        slope = torch.baddbmm(mean.to(kind), by_pixel(features), products.to(kind))
        if weights is not None:
            slope.mul_(by_pixel(weights.to(slope)))
        return slope.unflatten(1, features.shape[-2:]).permute(0, 3, 1, 2), None, None


def chunks(features: Tensor, *beside: Tensor | None) -> Iterator[list[Tensor | None]]:
    """The channels of some pixels at a time, (N, count, C), in float32, and of the same pixels what is `beside`."""
    flat = [one if one is None else by_pixel(one) for one in (features, *beside)]
    count = max(1, CHUNK // features.shape[1])
    for begin in range(0, max(1, flat[0].shape[1]), count):  # once also where a piece has none
        yield [one if one is None else full(one[:, begin : begin + count]) for one in flat]


def by_pixel(features: Tensor) -> Tensor:
    """(N, H * W, C), a view, no copy, where the channels are last in memory."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def full(x: Tensor) -> Tensor:
    """In float32, if it is in half as much."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def gram(
    features: Tensor, total: float | Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Channel correlations, (N, C, C), averaged over pixels so that size does not matter.

    Gatys et al. 2015, eq. 3, divided by H*W; with `weights` Gatys et al. 2017, eq. 5, divided by their sum.
    """
    return raw_moments(features, total, weights)[..., 1:]


def counted(features: Tensor, weights: Tensor | None) -> float | Tensor:
    """How many pixels there are, each as much as it weighs; never quite none."""
    return features[0, 0].numel() if weights is None else weights.sum().clamp_min(FLOOR)


def raw_moments(
    features: Tensor, total: float | Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Mean and mean products of the channels over pixels, side by side: (N, C, 1 + C)."""
    total = counted(features, weights) if total is None else total
    return RawMoments.apply(features, total, weights)


def centred(raw: Tensor) -> Tensor:
    """Mean and covariance from mean and mean products.

    Unlike the Gram matrix, which mixes the two, they tell a colour from a contrast.
    """
    return torch.cat((raw[..., :1], covariance_of(raw)), -1)


def covariance_of(raw: Tensor) -> Tensor:
    """From raw moments."""
    mean = raw[..., :1]
    return raw[..., 1:] - mean * mean.mT


def sliced(features: Tensor, total: float | Tensor | None = None, weights: None = None) -> Tensor:
    """How the features are distributed along random directions, as many as channels: (N, C, QUANTILES).

    Heitz et al. 2021, section 3, with the values of each projection, sorted, in QUANTILES means, so that
    pictures of different sizes compare; and with the same directions at each step, for L-BFGS's sake.
    """
    features, channels = full(features), features.shape[1]
    along = directions(channels, features.device).to(features.dtype) @ features.flatten(2)
    return F.adaptive_avg_pool1d(along.sort(-1).values, QUANTILES)


@lru_cache
def directions(channels: int, device: torch.device) -> Tensor:
    """As many directions at right angles, (C, C), the same at each call."""
    chance = torch.Generator().manual_seed(channels)
    return torch.linalg.qr(torch.randn(channels, channels, generator=chance)).Q.to(device)


def mean_square(got: Tensor, wanted: Tensor, relative: bool = True) -> Tensor:
    """Squared distance as a share of the target's square: 0 where equal, 1 where `got` is zero."""
    apart, whole = (got - wanted).square(), (-2, -1)
    if not relative:
        return apart.mean(whole)
    return apart.sum(whole) / (wanted.square().sum(whole) + FLOOR)


def moments_distance(got: Tensor, wanted: Tensor, relative: bool = True) -> Tensor:
    """The means' distance in parts of the target's variance, and the covariances' relative one, half each.

    Absolute: the sum of their mean squares. `got` are raw moments, `wanted` is centred.
    """
    got = centred(got)
    means = (got[..., 0] - wanted[..., 0]).square()
    covariances = mean_square(got[..., 1:], wanted[..., 1:], relative)
    if not relative:
        return means.mean(-1) + covariances
    return (means.sum(-1) / (trace(wanted[..., 1:]) + FLOOR) + covariances) / 2


class Axes(NamedTuple):
    """Mean (N, C, 1) and longest axes (N, C, K), with their squared `lengths` (N, K). What `wasserstein` compares with.

    The axes are columns at right angles, each as long as the deviation along it, the longest first. Where a picture
    has fewer places than that, and more channels, the last are nought: they could lie anywhere.
    """

    mean: Tensor
    axes: Tensor
    lengths: Tensor


def with_axes(raw: Tensor) -> Axes:
    """Those of the covariance's root, an eighth of the channels, but LONGEST at least."""
    covariance, channels = ridged(raw), raw.shape[-2]
    variances, directions = torch.linalg.eigh(covariance.cpu())  # not every device can
    count = min(max(LONGEST, channels // 8), channels)
    lengths = variances.clamp_min(RIDGE).flip(-1)[..., :count].to(raw)
    there = lengths - ridge(raw)[:, None] > SHORTEST * lengths[..., :1]
    there |= count == channels  # all are taken: along these the picture is to have none either
    axes = directions.flip(-1)[..., :count].to(raw) * (lengths.sqrt() * there)[..., None, :]
    return Axes(raw[..., :1], axes, lengths)


def wasserstein(
    got: Iterable[Tensor], wanted: Iterable[Axes], relative: bool = True
) -> list[Tensor]:
    """Squared 2-Wasserstein distances of the Gaussians that have these moments, as they are along the longest axes.

    |m - m'|^2 + tr(S + S' - 2 (A' S A)^1/2), A the target's longest axes, S' = A'A, and S the covariance as it is along
    them; absolute in parts of the channels, relative in parts of tr S'. `got` are layers' raw moments, `wanted` what
    `with_axes` makes of such.

    The distance counts deviations, so the many short axes, with a fifth of the variance at most and up to half of the
    deviation, would count as much as the long ones, and what they ask for is seen as ripples in flat areas. They are
    free.
    """
    got, wanted = [*got], [*wanted]
    with torch.no_grad():  # the roots of all layers at once, for they are small
        most, counts = max(target.lengths.shape[-1] for target in wanted), [*map(len, got)]
        seen = got[0].new_zeros(sum(counts), most, most)  # 0 beyond a layer's own axes
        for raw, (_, axes, lengths), place in zip(got, wanted, seen.split(counts), strict=True):
            along = torch.bmm(torch.bmm(axes.mT, covariance_of(raw)), axes)
            along.diagonal(dim1=-2, dim2=-1).addcmul_(ridge(raw)[:, None], lengths)
            place[:, : axes.shape[-1], : axes.shape[-1]] = along
        root, inverse = roots(seen)
    found = (of_all.split(counts) for of_all in (seen, trace(root), inverse))
    layers = zip(got, wanted, *found, strict=True)
    return [Transport.apply(raw, *target, *found, relative) for raw, target, *found in layers]


class Transport(torch.autograd.Function):
    """A layer's distance from `Axes`, by what is `seen` of its covariance along them, and that one's root's trace.

    On the way back the ridge is taken as given. The mean's slope comes from the very matrix that the products' does,
    for where features are flat the two all but cancel.
    """

    @staticmethod
    def forward(
        ctx,
        raw: Tensor,
        mean: Tensor,
        axes: Tensor,
        lengths: Tensor,
        seen: Tensor,
        shared: Tensor,
        inverse: Tensor,
        relative: bool,
    ) -> Tensor:
        whole = lengths.sum(-1)
        ctx.scale = whole + FLOOR if relative else torch.full_like(whole, raw.shape[-2])
        ctx.save_for_backward(raw, mean, axes, lengths, inverse)
        means = (raw[..., :1] - mean).square().sum((-2, -1))
        varied = seen.diagonal(dim1=-2, dim2=-1)[:, : lengths.shape[-1]] / lengths
        return (means + varied.sum(-1) + whole - 2 * shared) / ctx.scale

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        raw, mean, axes, lengths, inverse = ctx.saved_tensors
        own, count = raw[..., :1], lengths.shape[-1]
        products = (1 / lengths).diag_embed() - inverse[:, :count, :count]
        products = torch.bmm(torch.bmm(axes, products), axes.mT)
        means = 2 * (own - mean) - torch.bmm(products + products.mT, own)
        pulled = torch.cat((means, products), -1)
        return pulled.mul_((slope / ctx.scale)[:, None, None]), *[None] * 7


def with_root(raw: Tensor) -> Tensor:
    """Mean, covariance and the covariance's root, side by side: (N, C, 1 + 2C). What `wasserstein_plain` needs."""
    covariance = ridged(raw)
    return torch.cat((raw[..., :1], covariance, roots(covariance, PLAIN)[0]), -1)


def wasserstein_plain(got: Tensor, wanted: Tensor, relative: bool = True) -> Tensor:
    """The same along all axes, |m - m'|^2 + tr(S + S' - 2 (R S R)^1/2) with R R = S', R the target's root.

    Absolute it is as crowsonkb/style-transfer-pytorch has it. `wanted` is what `with_root` makes of raw moments.
    """
    channels, covariance = got.shape[-2], ridged(got)
    means = (got[..., 0] - wanted[..., 0]).square().sum(-1)
    target, root = wanted[..., 1:].split(channels, -1)
    shared = RootTrace.apply(root @ covariance @ root, PLAIN)
    apart = means + trace(covariance) + trace(target) - 2 * shared
    return apart / (trace(target) + FLOOR) if relative else apart / channels


def ridged(raw: Tensor) -> Tensor:
    """The covariance in raw moments, RIDGE added to its diagonal.

    More where nearly all there is is the mean, as of flat features: taking that away leaves what rounding left.
    """
    return covariance_of(raw) + ridge(raw)[:, None, None] * identity(raw.shape[-2], raw)


def ridge(raw: Tensor) -> Tensor:
    """How much that is, (N,): where rounding is all that is left, as much as it may be along a single axis."""
    products = trace(raw[..., 1:])
    varied = products - raw[..., 0].square().sum(-1)
    spread = (ROUNDING * products - varied / 100).relu() / raw.shape[-2]
    return RIDGE + spread + (ROUNDING * products - varied).relu()


def identity(channels: int, like: Tensor) -> Tensor:
    return torch.eye(channels, dtype=like.dtype, device=like.device)


def trace(matrix: Tensor) -> Tensor:
    """One for each matrix (..., C, C)."""
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


class RootTrace(torch.autograd.Function):
    """The trace of the square root of a symmetric positive matrix (N, C, C).

    Its gradient is half the inverse root, which comes with the root: nothing more to compute.
    """

    @staticmethod
    def forward(ctx, matrix: Tensor, steps: tuple[int, float]) -> Tensor:
        root, inverse = roots(matrix, steps)
        ctx.save_for_backward(inverse)
        return trace(root)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:
        (inverse,) = ctx.saved_tensors
        return slope[:, None, None] * inverse / 2, None


def roots(matrix: Tensor, steps: tuple[int, float] = SCALED) -> tuple[Tensor, Tensor]:
    """The square root of a symmetric positive matrix (N, C, C), and the root's inverse.

    By Newton and Schulz's iteration (Higham 2008, eq. 6.35), scaled as Chen and Chow 2014 do for quick growth:
    products alone, and no eigenvectors, whose gradient is lost where two eigenvalues are equal. Roots that are too
    small for the steps come out smaller still.
    """
    length = torch.linalg.matrix_norm(matrix, keepdim=True)
    one = identity(matrix.shape[-1], matrix).expand_as(matrix)
    root, inverse, (count, least) = matrix / length, None, steps
    for _ in range(count):
        scale = math.sqrt(3 / (1 + least + least**2))
        wide, narrow = 1.5 * scale, -0.5 * scale**3
        if inverse is None:  # it begins as one
            change = inverse = wide * one + narrow * root
        else:
            change = torch.baddbmm(one, inverse, root, beta=wide, alpha=narrow)
            inverse = change @ inverse
        root = root @ change
        least = scale * least * (3 - (scale * least) ** 2) / 2
    return root * length.sqrt(), inverse / length.sqrt()


class Statistic(NamedTuple):
    """`of` features, (N, C, K); `distances(got, wanted, relative)`, each (N,), of layers' statistics from the
    targets that `ready` makes of such.

    Where it is `additive`, `of(features, total)` for the pieces of an image add up to the image's own.
    """

    of: Callable[..., Tensor]
    distances: Callable[..., Tensor]
    ready: Callable[[Tensor], Any] = lambda statistic: statistic
    additive: bool = True


def sliced_distance(got: Tensor, wanted: Tensor, relative: bool = True) -> Tensor:
    """Mean squared difference of the sorted projections, relative in parts of their variance."""
    apart = (got - wanted).square().mean((-2, -1))
    return apart / (wanted.var(-1).mean(-1) + FLOOR) if relative else apart


def each(distance: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A layer's distance for all of them."""

    def distances(
        got: Iterable[Tensor], wanted: Iterable[Tensor], relative: bool = True
    ) -> Sequence[Tensor]:
        return side_by_side(partial(distance, relative=relative), got, wanted)

    return distances


STYLE_STATISTICS = {
    "moments": Statistic(raw_moments, each(moments_distance), centred),
    "gram": Statistic(gram, each(mean_square)),
    "wasserstein": Statistic(raw_moments, wasserstein, with_axes),
    "wasserstein-plain": Statistic(raw_moments, each(wasserstein_plain), with_root),
    "sliced": Statistic(sliced, each(sliced_distance), additive=False),
}


def statistic_of(name: str, gram_divisor: str = "pixels") -> Statistic:
    """The statistic of that name, a Gram matrix divided as asked."""
    found = STYLE_STATISTICS[name]
    if name == "gram" and gram_divisor == "elements":
        return found._replace(of=lambda features, *rest: gram(features, *rest) / features.shape[1])
    return found
