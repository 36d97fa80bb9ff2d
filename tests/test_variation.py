import math

import pytest
import torch

from nsutils.variation import RIM, evenness, rim, smooth_between_edges, total_variation


def features(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
