"""The content told in the style's features."""

from dataclasses import replace

import pytest
import torch

from nsutils import encoders, matching, stylize
from nsutils.matching import compared, gathered, grid_of, matched
from nsutils.measures import seen
from nsutils.objective import Objective
from nsutils.settings import Style
from nsutils.sources import Sources, style_target

LAYERS = ("relu1_2", "relu2_1")


@pytest.fixture
def settings(settings):
    return replace(settings, swap_weight=0.3)


@pytest.fixture
def places():
    """Features of 6 x 5 places in two layers."""
    chance = torch.Generator().manual_seed(5)
    return {
        "relu1_2": torch.rand(1, 4, 6, 5, generator=chance),
        "relu2_1": torch.rand(1, 8, 6, 5, generator=chance),
    }


def test_a_style_that_is_the_content_shuffled_gives_the_content_back(places):
    order = torch.randperm(30, generator=torch.Generator().manual_seed(6))
    style = {layer: x.flatten(2)[..., order].view(1, -1, 3, 10) for layer, x in places.items()}
    for layer, found in matched(places, [style], [1.0]).items():
        assert torch.equal(found, places[layer])


def test_contrast_and_brightness_are_the_styles_own(places):
    """What is compared is in parts of each picture's spread; what is taken is as the style has it."""
    style = {layer: 3 * x + 2 for layer, x in places.items()}
    for layer, found in matched(places, [style], [1.0]).items():
        assert torch.allclose(found, 3 * places[layer] + 2)


def test_the_likest_place_is_the_one_of_the_largest_product(places):
    style = {layer: x.flip(-1)[..., :3] ** 2 for layer, x in places.items()}
    here, there = (compared({n: x[0].flatten(1).T for n, x in f.items()}) for f in (places, style))
    found = matched(places, [style], [1.0])
    for place, query in enumerate(here):
        best = max(range(len(there)), key=lambda n: (query * there[n]).sum().item())
        for layer in places:
            wanted = style[layer].flatten(2)[0, :, best]
            assert torch.equal(found[layer].flatten(2)[0, :, place], wanted)


def test_styles_have_as_many_places_as_their_shares(places, monkeypatch):
    zeros = {layer: torch.zeros_like(x) for layer, x in places.items()}
    for most, counts in ((16384, (30, 10)), (8, (6, 2))):
        monkeypatch.setattr(matching, "MOST", most)
        both = matching.chosen([places["relu2_1"], zeros["relu2_1"]], [0.75, 0.25])
        empty = (both == 0).all(1).sum().item()
        assert (len(both) - empty, empty) == counts


@pytest.mark.parametrize("shape", [(40, 64), (43, 67)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_layers_are_gathered_on_the_deepest_ones_grid(shape, ceil_mode):
    slim = encoders.load("slim", device="cpu", precision="float32", ceil_mode=ceil_mode)
    layers = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    found = gathered(slim, seen(slim, torch.rand(1, 3, *shape), layers, None))
    assert {x.shape[-2:] for x in found.values()} == {slim.size_at(grid_of(layers), shape)}


def test_a_picture_that_is_its_own_style_has_nothing_to_swap(settings, encoder):
    settings = replace(settings, styles=(Style(settings.content),), steps=1, scale_steps=())
    (step,) = stylize(settings, encoder)
    assert step.losses["swap"] == 0
    (step,) = stylize(replace(settings, init="noise"), encoder)
    assert step.losses["swap"] > 0.1


def test_it_counts_where_its_style_acts(settings, encoder):
    """With a style in the left half alone the right half feels nothing of it."""
    made = Objective(
        replace(settings, style_weight=0, content_weight=0, tv_weight=0),
        encoder,
        *pictures_of(settings),
    )
    left = torch.zeros(1, 1, 40, 64)
    left[..., :32] = 1
    there = replace(made.regions, where=(left,))
    masked = Objective(made.settings, encoder, *pictures_of(settings), regions=there)
    slope = masked.slope(torch.rand(1, 3, 40, 64))[0]
    assert slope[..., :24].abs().min() > 0 and slope[..., 40:].abs().max() == 0


def test_without_a_weight_or_a_picture_nothing_is_swapped(settings, encoder, tmp_path):
    (step,) = stylize(replace(settings, swap_weight=0.0, steps=1), encoder)
    assert "swap" not in step.losses
    style_target(settings, encoder).write(file := tmp_path / "style.safetensors")
    statistics = replace(settings, styles=(Style(str(file)),), steps=1)
    (step,) = stylize(statistics, encoder)
    assert "swap" not in step.losses and step.losses["style"] > 0


def test_a_rolled_image_is_compared_with_a_rolled_content(settings, encoder):
    made = Objective(settings, encoder, *pictures_of(settings))
    image = torch.rand(1, 3, 40, 64)
    straight, rolled = made.losses(image)["swap"], made.losses(image, (4, 6))["swap"]
    assert rolled.item() == pytest.approx(straight.item(), rel=0.1) and rolled != straight


def pictures_of(settings):
    """The content and the styles at the last scale."""
    return Sources(settings).at((40, 64), torch.device("cpu"))
