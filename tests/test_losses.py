import pytest
import torch

from nsutils.losses import (
    Pull,
    displaced,
    laplacian,
    self_similarity,
    squared_distance,
    unlike,
)


def features(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_set_length_is_kept_in_half_precision_and_nothing_stays_nothing():
    x = torch.rand(1, 3, 4, 4).half().requires_grad_()
    for pulled, length in ((0.0, 0), (1e4, 2)):
        (slope,) = torch.autograd.grad((pulled * Pull.apply(x, 2.0)).sum(), x)
        assert slope.dtype == torch.float16 and slope.float().sum() == pytest.approx(
            length, rel=1e-2
        )


def test_squared_distance_from_the_mean_is_the_variance():
    x = features(6, 1, 4, 20, 20) * 100
    got = squared_distance(torch.full_like(x, x.mean()), x)
    assert got == pytest.approx(x.var(correction=0).item())


def test_the_laplacian_is_nought_on_a_slope_and_the_kernel_on_a_point():
    across = torch.arange(12.0).expand(1, 3, 12, 12)
    for pool in (1, 2, 4):
        assert laplacian(across, pool)[..., pool:-pool].abs().max() < 1e-5
    assert laplacian(across, 4).shape == (1, 1, 13, 13), (
        "every pixel is seen, those of the border as well"
    )
    point = torch.zeros(1, 3, 5, 5)
    point[0, 1, 2, 2] = 1
    assert laplacian(point, 1)[0, 0, 1:-1, 1:-1].tolist() == [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]


def test_few_cells_that_are_far_off_cost_less_than_many_that_are_a_little():
    weights, spread = torch.full((1, 1, 8, 8), 1 / 64), torch.tensor(0.2)
    wanted = torch.zeros(1, 3, 8, 8)
    few, many = wanted.clone(), torch.full_like(wanted, 0.1)
    few[..., :4, :4] = 0.2  # as much in squares
    assert displaced(wanted, wanted, weights, spread) == 0
    assert displaced(few, wanted, weights, spread) < 0.7 * displaced(many, wanted, weights, spread)


def test_self_similarity_knows_likeness_and_not_brightness():
    x = features(4, 1, 6, 5, 4)
    found = self_similarity(x)
    assert torch.allclose(found.sum(0), torch.ones(20, dtype=torch.float64), atol=1e-3)
    assert torch.allclose(self_similarity(7 * x), found)
    assert unlike(found, found) == 0
    turned = torch.cat(
        (x[:, 3:], x[:, :3]), 1
    )  # channels change places: other features, same likeness
    assert torch.allclose(self_similarity(turned), found)
    assert 0 < unlike(self_similarity(x.flip(-1)), found) <= 1


@pytest.mark.parametrize("term", [lambda x: laplacian(x, 2).square().mean(), self_similarity])
def test_terms_of_shape_have_the_gradient_that_differences_give(term):
    weights = features(6, 1, 3, 6, 6)

    def value(x):
        return (term(x) ** 2).sum()

    assert torch.autograd.gradcheck(value, weights.requires_grad_(), atol=1e-5)


def test_similarity_is_seen_in_fields_where_there_are_many_pixels():
    x = features(7, 1, 3, 70, 40)
    assert self_similarity(x).shape == (24 * 14, 24 * 14)
