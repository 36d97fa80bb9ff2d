import math

import pytest
import torch

from nsutils.losses import (
    RIM,
    Pull,
    displaced,
    evenness,
    laplacian,
    rim,
    self_similarity,
    smooth_between_edges,
    squared_distance,
    total_variation,
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


def test_total_variation_of_a_ramp_is_its_slope_squared():
    ramp = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 3, 4, 5) * 0.1
    assert total_variation(ramp) == pytest.approx(0.01)


def test_a_flat_guide_smooths_everywhere_and_an_edge_in_it_lets_the_same_edge_stand():
    image = features(3, 1, 3, 8, 9)
    flat = torch.full_like(image, 0.5)
    plain = total_variation(image) + RIM * rim(image)
    assert torch.allclose(smooth_between_edges(image, evenness(flat)), plain)
    step = torch.zeros(1, 3, 8, 9, dtype=torch.float64)
    step[..., 4:] = 1
    assert smooth_between_edges(step, evenness(step)) < 0.1 * smooth_between_edges(
        step, evenness(flat)
    )
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: smooth_between_edges(x, evenness(step)), image)


def test_a_speck_of_one_pixel_in_the_guide_is_no_edge_but_a_line_is():
    guide = torch.rand(1, 3, 9, 16, generator=torch.Generator().manual_seed(1)) / 5
    guide[..., 4, 4] = guide[..., 12] = 1
    across, *_ = evenness(guide)
    assert across[..., 4, 4] > 2 * across[..., 4, 12]


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 135])
def test_waves_along_an_edge_count_as_elsewhere_and_waves_across_it_less_at_any_angle(degrees):
    angle = math.radians(degrees)
    down, across = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    over = (across - 19.5) * math.cos(angle) + (down - 19.5) * math.sin(angle)
    on = (down - 19.5) * math.cos(angle) - (across - 19.5) * math.sin(angle)
    weights = evenness(torch.sigmoid(over).expand(1, 3, 40, 40))
    near = torch.exp(-(over**2 + on**2) / 8)  # beside the edge, far from the border
    counts = [
        smooth_between_edges(image, weights) / total_variation(image)
        for image in ((near * wave.cos()).expand(1, 3, 40, 40) for wave in (on, over))
    ]
    assert counts[0] > 0.7 and counts[1] < 0.3


def test_a_rim_is_the_colours_differences_along_the_border_and_not_the_lights():
    image = features(4, 1, 3, 9, 11)
    image[..., 4:-4, 4:-4] = 7  # further in than it reaches
    colour, wanted = image[0] - image[0].mean(0), 0.0
    for turned in (colour, colour.flip(1), colour.mT, colour.mT.flip(1)):
        for depth in range(3):
            apart = turned[:, depth] - turned[:, depth + 1]
            wanted += math.exp(-depth) * apart.square().sum() / image.numel()
    assert torch.allclose(rim(image), wanted)
    assert rim(image.mean(1, keepdim=True).expand(1, 3, 9, 11)) == 0
    assert torch.autograd.gradcheck(rim, image.requires_grad_())


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
