from functools import partial

import pytest
import torch

from nsutils import statistics
from nsutils.losses import squared_distance
from nsutils.statistics import (
    LONGEST,
    SCALED,
    STYLE_STATISTICS,
    RootTrace,
    centred,
    gram,
    moments_distance,
    raw_moments,
    ridged,
    roots,
    wasserstein,
    wasserstein_plain,
    with_axes,
    with_root,
)

# A root by iteration is not exact where the smallest eigenvalue is tiny.
TIGHT = {"wasserstein": 1e-6, "wasserstein-plain": 1e-3}


def features(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gram_is_the_mean_of_products():
    x = features(0, 1, 2, 3, 4)
    by_hand = sum(x[0, 0, i, j] * x[0, 1, i, j] for i in range(3) for j in range(4)) / 12
    assert torch.allclose(gram(x)[0, 0, 1], by_hand)


def test_many_pixels_are_added_up_some_at_a_time(monkeypatch):
    x, weights = features(15, 1, 4, 9, 7), features(16, 1, 1, 9, 7)
    for weighing in (None, weights):
        whole = raw_moments(x, weights=weighing)
        with monkeypatch.context() as patch:
            patch.setattr(statistics, "CHUNK", 4 * 10)
            assert torch.allclose(raw_moments(x, weights=weighing), whole)
            assert torch.allclose(
                squared_distance(x, x / 2, weights=weighing),
                ((x / 2) ** 2 * (1 if weighing is None else weighing)).mean(),
            )


def test_moments_are_mean_and_covariance():
    x = features(1, 1, 3, 4, 5)
    flat = x[0].flatten(1)
    moments = centred(raw_moments(x))
    assert torch.allclose(moments[0, :, 0], flat.mean(1))
    assert torch.allclose(moments[0, :, 1:], torch.cov(flat, correction=0))


@pytest.mark.parametrize("name", STYLE_STATISTICS)
def test_a_statistic_does_not_know_places_nor_how_often_they_repeat(name):
    statistic, distances, ready, _ = STYLE_STATISTICS[name]
    x = features(2, 1, 3, 4, 6)
    shuffled = x.flatten(2)[..., torch.randperm(24, generator=torch.Generator().manual_seed(1))]
    twice = torch.cat((shuffled.view(1, 3, 4, 6), x), -1)
    (found,) = distances([statistic(twice)], [ready(statistic(x))])
    assert found < TIGHT.get(name, 1e-12)


@pytest.mark.parametrize("name", STYLE_STATISTICS)
def test_distances_grow_from_nought_and_have_the_gradient_that_differences_give(name):
    statistic, distances, ready, _ = STYLE_STATISTICS[name]
    same = [statistic(features(3, 2, count, 4, 4)) for count in (3, 5)]
    wanted = [ready(one) for one in same]
    layers = [features(4, 2, count, 4, 4).requires_grad_() for count in (3, 5)]
    near, far = distances(same, wanted), distances([statistic(x) for x in layers], wanted)
    for nothing, apart in zip(near, far, strict=True):
        assert (nothing.abs() < TIGHT.get(name, 1e-12)).all() and (apart > 1e-3).all()

    def found(relative, *layers):
        return tuple(distances([statistic(x) for x in layers], wanted, relative))

    for relative in (True, False):
        assert torch.autograd.gradcheck(partial(found, relative), layers)


@pytest.mark.parametrize("name", STYLE_STATISTICS)
def test_a_layers_distance_knows_nothing_of_another_layer(name):
    statistic, distances, ready, _ = STYLE_STATISTICS[name]
    layers = [features(seed, 1, 3, 4, 4).requires_grad_() for seed in (1, 2)]
    wanted = [ready(statistic(features(3, 1, 3, 4, 4)))] * 2
    first, _ = distances([statistic(x) for x in layers], wanted)
    slopes = torch.autograd.grad(first, layers, allow_unused=True)
    assert slopes[0].abs().max() > 0 and slopes[1] is None


@pytest.mark.parametrize("noise", [0, 1e-3])
@pytest.mark.parametrize("name", ["wasserstein", "wasserstein-plain", "moments", "gram"])
def test_in_single_precision_nearly_flat_features_have_the_same_gradient(name, noise):
    statistic, distances, ready, _ = STYLE_STATISTICS[name]
    flat = features(5, 1, 40, 1, 1) + noise * features(6, 1, 40, 12, 12)
    slopes = []
    for kind in (torch.float64, torch.float32):
        x = flat.to(kind).requires_grad_()
        wanted = ready(statistic(features(7, 1, 40, 12, 12).to(kind)))
        slopes += torch.autograd.grad(distances([statistic(x)], [wanted])[0], x)
    off = (slopes[1] - slopes[0]).norm() / slopes[0].norm()
    assert off < 1e-2, f"off by {off:.1e}"


def test_distances_of_several_layers_are_each_layers_own():
    for statistic, distances, ready, _ in STYLE_STATISTICS.values():
        pairs = [
            [statistic(features(seed, 1, count, 6, 6)) for seed in (1, 2)] for count in (2, 7, 40)
        ]
        got, wanted = zip(*((one, ready(other)) for one, other in pairs), strict=True)
        alone = [distances([one], [other])[0] for one, other in zip(got, wanted, strict=True)]
        assert torch.allclose(torch.stack(distances(got, wanted)), torch.stack(alone), rtol=1e-6)


def test_an_empty_statistic_is_one_away_in_covariance():
    wanted = centred(raw_moments(100 * features(5, 1, 3, 8, 8)))
    mean = wanted[..., :1]
    nothing = torch.cat((mean, mean @ mean.mT), -1)
    assert moments_distance(nothing, wanted) == pytest.approx(0.5, abs=1e-6)


def test_a_flat_target_gives_finite_distances():
    flat = torch.full((1, 3, 4, 4), 0.5)
    for statistic, distances, ready, _ in STYLE_STATISTICS.values():
        (found,) = distances([statistic(torch.rand(1, 3, 4, 4))], [ready(statistic(flat))])
        assert found.isfinite()


@pytest.mark.parametrize("name", ["wasserstein", "wasserstein-plain"])
def test_flat_features_have_a_distance_however_large_they_are(name):
    statistic, manner = statistics.STYLE_STATISTICS[name], torch.rand(1, 64, 24, 32)
    for large in (1.0, 100.0):
        wanted = statistic.ready(statistic.of(large * manner))
        flat = (large * torch.rand(1, 64, 1, 1)).expand(1, 64, 64, 64).clone().requires_grad_()
        (found,) = statistic.distances([statistic.of(flat)], [wanted])
        assert found.isfinite() and torch.autograd.grad(found, flat)[0].isfinite().all()


def test_a_root_is_the_eigenvectors_root_and_its_trace_has_their_gradient():
    x = features(7, 1, 5, 4, 6).flatten(2) - 0.5
    matrix = (x @ x.mT / 24 + 0.02 * torch.eye(5)).requires_grad_()
    lengths, axes = torch.linalg.eigh(matrix)
    root, inverse = roots(matrix)
    assert torch.allclose(root, axes * lengths.sqrt() @ axes.mT, atol=1e-6)
    assert torch.allclose(inverse, axes / lengths.sqrt() @ axes.mT, atol=1e-6)
    (slope,) = torch.autograd.grad(RootTrace.apply(matrix, SCALED), matrix)
    assert torch.allclose(slope, axes / (2 * lengths.sqrt()) @ axes.mT, atol=1e-6)


def test_wasserstein_of_flat_gaussians_is_their_means_and_spreads():
    """One channel: (m - m')^2 + (s - s')^2."""
    one, other = features(8, 1, 1, 6, 6), 3 * features(9, 1, 1, 6, 6)
    means, spreads = (
        (x.mean().item(), (x.var(correction=0) + 1e-4).sqrt().item()) for x in (one, other)
    )
    by_hand = (means[0] - spreads[0]) ** 2 + (means[1] - spreads[1]) ** 2
    (found,) = wasserstein([raw_moments(one)], [with_axes(raw_moments(other))], relative=False)
    assert found.item() == pytest.approx(by_hand)


def test_wasserstein_is_the_distance_along_the_longest_axes_and_leaves_the_others_free():
    channels = LONGEST + 32
    deviations = torch.logspace(0, -0.7, channels, dtype=torch.float64).view(-1, 1, 1)
    one, other = (deviations * features(n, 1, channels, 20, 20) for n in (10, 11))
    moments, wanted = raw_moments(one), with_axes(raw_moments(one))
    axes = wanted.axes
    directions = axes / axes.norm(dim=-2, keepdim=True)
    assert axes.shape[-1] == LONGEST and torch.allclose(
        axes.mT @ ridged(moments), axes.mT @ axes @ axes.mT
    )
    assert abs(wasserstein([moments], [wanted])[0]) < 1e-6

    seen = [
        torch.einsum("nck,nchw->nkhw", directions, x - x.mean((-2, -1), keepdim=True))
        for x in (one, other)
    ]
    target = with_root(raw_moments(seen[0]))
    apart = (one - other).mean((-2, -1)).square().sum()
    by_hand = apart + LONGEST * wasserstein_plain(raw_moments(seen[1]), target, relative=False)
    found = channels * wasserstein([raw_moments(other)], [wanted], relative=False)[0]
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-4)

    short = torch.linalg.eigh(ridged(moments)).eigenvectors[..., :1]
    longer = moments.clone()
    longer[..., 1:] += short @ short.mT
    plain = wasserstein_plain(longer, with_root(moments))
    assert abs(wasserstein([longer], [wanted])[0]) < 1e-6 < plain


def test_wasserstein_has_no_axes_where_a_style_has_none():
    style, image = features(20, 1, 48, 3, 4).float(), features(21, 1, 48, 8, 8).float()
    wanted = with_axes(raw_moments(style))
    lengths = wanted.axes.square().sum(-2)[0]
    assert (lengths[:11] > 0).all() and not lengths[11:].any(), "twelve places span eleven axes"
    grey = features(25, 1, 1, 9, 9).float().expand(1, 3, 9, 9)
    assert (with_axes(raw_moments(grey)).axes.square().sum(-2) > 0).all(), "colour is to be none"
    slopes = []
    for noise in (0.0, 1e-6):
        x = image.clone().requires_grad_()
        moved = with_axes(raw_moments(style + noise * features(22, 1, 48, 3, 4).float()))
        (found,) = wasserstein([raw_moments(x)], [moved])
        slopes.append(torch.autograd.grad(found, x)[0])
    assert (slopes[0] - slopes[1]).norm() < 1e-4 * slopes[0].norm()


def test_weighted_moments_of_several_are_those_of_each():
    several, weights = features(23, 2, 5, 6, 7), features(24, 1, 1, 6, 7).abs()
    alone = [raw_moments(one[None], weights=weights) for one in several]
    assert torch.allclose(raw_moments(several, weights=weights), torch.cat(alone))


@pytest.mark.parametrize("weights", [None, features(12, 1, 1, 6, 7).float()])
def test_in_half_precision_moments_have_nearly_the_same_gradient(weights):
    x = features(13, 1, 8, 6, 7).float().to(memory_format=torch.channels_last)
    aim = features(14, 1, 8, 9).float()
    slopes = []
    for kind in (torch.float32, torch.bfloat16):
        y = x.to(kind).requires_grad_()
        found = raw_moments(y, weights=weights)
        assert found.dtype == torch.float32
        slopes += torch.autograd.grad(((found - aim) ** 2).sum(), y)
    assert slopes[1].dtype == torch.bfloat16
    assert torch.allclose(slopes[0], slopes[1].float(), atol=0.01 * slopes[0].abs().max())
