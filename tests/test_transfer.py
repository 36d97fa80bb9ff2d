import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import colourful
from PIL import Image

from nsutils import pictures, stylize
from nsutils.descent import FIRST, LONGEST
from nsutils.encoders import load
from nsutils.objective import Objective
from nsutils.regions import Regions
from nsutils.settings import CHOICES, Style
from nsutils.sources import Sources, scales
from nsutils.statistics import STYLE_STATISTICS
from nsutils.transfer import start, too_large
from nsutils.variation import evenness, smooth_between_edges

SHAPES = {
    "laplacian_weight": 2.0,
    "laplacian_pools": (1, 4),
    "similarity_weight": 3.0,
}
TERMS = ("content", "style", "tv", "layout", "laplacian", "similarity")


def resized(path, shape):
    """The picture in a file, (1, 3, *shape)."""
    return pictures.to_tensor(pictures.opened(path).resize(shape[::-1], Image.Resampling.BICUBIC))


def objective(settings, encoder):
    sources = Sources(settings)
    return Objective(settings, encoder, *sources.at((40, 64), encoder.device))


def test_steps_are_made_where_no_gradient_is_asked_for_and_are_compared_as_things(
    settings, encoder
):
    with torch.no_grad():
        *_, quiet = stylize(settings, encoder)
    *_, usual = stylize(settings, encoder)
    assert torch.equal(quiet.image, usual.image) and quiet != usual


@pytest.mark.parametrize(("statistic", "least"), [("moments", 0), ("wasserstein", 3e-3)])
def test_the_content_itself_has_no_content_loss_and_the_style_no_style_loss(
    settings, encoder, statistic, least
):
    settings = replace(settings, style_statistic=statistic, sparing=0.0)
    sources = Sources(settings)
    content, (style,) = sources.at((40, 64), encoder.device)
    made = Objective(settings, encoder, content, [style])
    assert made.losses(content)["content"] == 0
    assert Objective(settings, encoder, style, [style]).losses(style)["style"] <= least


def test_total_is_the_weighted_sum(settings, encoder):
    weights = dict(zip(TERMS, (2.0, 3.0, 5.0, 7.0, 11.0, 13.0), strict=True))
    settings = replace(settings, **{f"{name}_weight": weight for name, weight in weights.items()})
    made = objective(settings, encoder)
    losses = made.losses(torch.rand(1, 3, 40, 64))
    wanted = sum(weight * losses[name] for name, weight in weights.items())
    assert torch.isclose(made.total(losses), wanted)


def test_terms_of_shape_are_part_of_the_total_and_nought_for_the_content_itself(settings, encoder):
    settings = replace(settings, steps=1, scale_steps=(), **SHAPES)
    (step,) = stylize(settings, encoder)
    assert step.losses["laplacian"] == 0
    assert step.losses["similarity"] == pytest.approx(0, abs=1e-6)
    (step,) = stylize(replace(settings, init="noise"), encoder)
    parts = [getattr(settings, f"{name}_weight") * step.losses[name] for name in TERMS]
    assert min(parts) > 0 and sum(parts) == pytest.approx(step.losses["total"], rel=1e-5)


@pytest.mark.parametrize("name", ["layout", "laplacian", "similarity"])
def test_a_term_of_shape_holds_the_content(settings, encoder, name):
    settings = replace(settings, style_weight=10.0, steps=24)
    settings = replace(settings, **SHAPES | {f"{name}_weight": 1e-6})
    *_, loose = stylize(settings, encoder)
    *_, held = stylize(replace(settings, **{f"{name}_weight": 30.0}), encoder)
    assert held.losses[name] < 0.5 * loose.losses[name]


def correlated(size, seed):
    """Colours (1, 3, *size) that vary together, well within black and white."""
    chance = torch.Generator().manual_seed(seed)
    mix = torch.rand(3, 3, generator=chance)
    found = torch.rand(1, 3, *size, generator=chance).flatten(2)
    return 0.3 + 0.15 * (mix @ found).view(1, 3, *size)


def moments_of(picture):
    return picture.flatten(2)[0].mean(1), picture.flatten(2)[0].cov(correction=0)


def test_a_layout_is_the_contents_in_the_styles_palette(settings, encoder):
    content, style = correlated((40, 64), 1), correlated((48, 48), 2)
    made = Objective(settings, encoder, content, [style])
    shown = made.coloured(content)
    for found, wanted in zip(moments_of(shown), moments_of(style), strict=True):
        assert torch.allclose(found, wanted, atol=5e-4)
    assert made.losses(shown)["layout"] == 0 and made.losses(content)["layout"] > 0.1
    # without the palette among the layers the picture itself tells it
    layers = replace(settings, style_layers=("relu1_1",), style_statistic="gram")
    again = Objective(layers, encoder, content, [style]).coloured(content)
    assert torch.allclose(again, shown, atol=1e-5)


def test_each_part_of_a_layout_has_the_palette_of_the_style_there(settings, encoder):
    content, *styles = (correlated((40, 64), seed) for seed in (1, 2, 3))
    left = torch.zeros(1, 1, 40, 64)
    left[..., :32] = 1
    regions = Regions(where=(left, 1 - left))
    both = replace(settings, styles=("a.png", "b.png"))
    shown = Objective(both, encoder, content, styles, regions=regions).coloured(content)
    for half, style in zip(shown.chunk(2, -1), styles, strict=True):
        for found, wanted in zip(moments_of(half), moments_of(style), strict=True):
            assert torch.allclose(found, wanted, atol=5e-4)
    regions = Regions(protected=left, where=(None,))
    made = Objective(settings, encoder, content, styles[:1], regions=regions)
    shown = made.coloured(content)
    assert torch.equal(shown[..., :32], content[..., :32])
    assert not torch.allclose(shown[..., 32:], content[..., 32:], atol=0.01)


def test_a_layout_holds_broad_colours_where_there_is_something(settings, encoder):
    content, style = correlated((64, 64), 1), correlated((64, 64), 2)
    content[..., :32, :] = content.mean((-2, -1), keepdim=True)  # a sky
    made = Objective(settings, encoder, content, [style])
    shown = made.coloured(content)
    above, below, strokes = (shown.clone() for _ in range(3))
    above[..., :20, :] += 0.1
    below[..., 44:, :] += 0.1
    strokes[..., ::2] += 0.1
    strokes[..., 1::2] -= 0.1
    known = {
        name: made.losses(image)["layout"]
        for name, image in {"above": above, "below": below, "strokes": strokes}.items()
    }
    assert known["above"] < 0.02 * known["below"] and known["strokes"] < 0.01 * known["below"]
    without = Objective(replace(settings, layout_weight=0.0), encoder, content, [style])
    assert "layout" not in without.losses(content)


def test_a_flat_content_has_no_layout_to_hold(settings, encoder):
    settings = replace(settings, layout_weight=1.0)
    made = Objective(settings, encoder, torch.full((1, 3, 40, 64), 0.47), [colourful(40, 64, 2)])
    assert made.losses(colourful(40, 64, 3))["layout"] < 1e-3


def test_the_style_is_spared_where_the_content_is_drawn(settings, encoder):
    content, style, image = (correlated((64, 64), seed) for seed in range(3))
    content[..., :32, :] = content.mean((-2, -1), keepdim=True)  # a sky

    def pull(sparing):
        asked = replace(settings, sparing=sparing, style_layers=("pixels",), content_weight=1e-9)
        asked = replace(asked, freeing=0.0, tv_weight=0.0, layout_weight=0.0, octaves=1)
        return Objective(asked, encoder, content, [style]).slope(image)[0].abs().mean((0, 1, 3))

    alike, spared = pull(0.0), pull(1.0)
    assert spared[40:].mean() / spared[:24].mean() < 0.6 * alike[40:].mean() / alike[:24].mean()


def test_the_content_counts_less_in_its_sky_if_that_is_freed(settings, encoder):
    content, style, image = (correlated((64, 64), seed) for seed in range(3))
    content[..., :32, :] = content.mean((-2, -1), keepdim=True)  # a sky

    def pull(freeing, sparing=0.0, **regions):
        asked = replace(settings, freeing=freeing, sparing=sparing, style_weight=0.0, tv_weight=0.0)
        asked = replace(asked, layout_weight=0.0, content_layers=("relu1_1",))
        made = Objective(asked, encoder, content, [style], None, Regions(**regions))
        return made.slope(image)[0].abs().mean((0, 1, 3))

    alike, freed = pull(0.0), pull(1.0)
    assert freed[:24].max() < 0.05 * alike[:24].min()
    assert freed[40:].mean() > 0.5 * alike[40:].mean()
    assert torch.equal(pull(1.0, sparing=1.0), freed)
    assert torch.equal(pull(1.0, faces=torch.ones(1, 1, 64, 64)), alike)  # a face is drawn all over
    held = pull(1.0, protected=torch.ones(1, 1, 64, 64))  # and so much heavier, whatever it is
    assert torch.allclose(held - freed, 3 * alike, rtol=0.05)


def test_a_wide_sky_loosens_what_holds_a_landscape_but_no_face(settings, encoder):
    content, style = (correlated((64, 64), seed) for seed in range(2))
    town = content.clone()
    town[..., :32, :] = content.mean((-2, -1), keepdim=True)
    small, large = (torch.zeros(1, 1, 64, 64) for _ in range(2))
    small[..., 44:48, 30:34], large[..., 30:50, 20:40] = 1, 1

    def made(picture, faces=None, freeing=0.75):
        asked = replace(settings, freeing=freeing)
        return Objective(asked, encoder, picture, [style], None, Regions(faces=faces))

    held, loose, near = made(town, freeing=0.0), made(town), made(town, large)
    for term, weight in held.weights.items():
        assert weight == getattr(settings, f"{term}_weight")
        assert loose.weights[term] == weight * (0.25 if term in ("tv", "layout") else 1)
    assert made(content).weights == near.weights == held.weights
    assert torch.allclose(loose.regions.spared, 0.25 * held.regions.spared)
    assert 0.25 < made(town, small).hold < 0.9  # somebody in the street
    assert (made(town, small).regions.spared[small > 0] == settings.sparing).all()


@pytest.mark.parametrize("statistic", ["wasserstein", "gram", "sliced"])
def test_smoothness_is_in_parts_of_the_styles_grain(settings, encoder, statistic):
    chance = torch.Generator().manual_seed(4)
    content, style, image = (torch.rand(1, 3, 40, 64, generator=chance) for _ in range(3))
    style = style / 2
    near = F.avg_pool2d(style, 5, 1, 2, count_include_pad=False)
    wanted = smooth_between_edges(image, evenness(content)) / (style - near).square().mean()
    settings = replace(settings, style_statistic=statistic)
    losses = Objective(settings, encoder, content, [style]).losses(image)
    assert losses["tv"].item() == pytest.approx(wanted.item(), rel=0.01)


def test_without_a_content_weight_nothing_of_the_content_is_seen(settings, encoder):
    alone = replace(settings, content_weight=0.0)
    chance = torch.Generator().manual_seed(5)
    content, other, style, image = (torch.rand(1, 3, 40, 64, generator=chance) for _ in range(4))
    one, two = (
        Objective(alone, encoder, seen, [style]).slope(image)[0] for seen in (content, other)
    )
    assert torch.equal(one, two)


def test_the_style_loss_is_the_layers_mean_by_their_weights(settings, encoder):
    settings = replace(settings, layer_weights={"pixels": 4.0, "relu1_1": 0.0})
    losses = objective(settings, encoder).losses(torch.rand(1, 3, 40, 64))
    assert torch.isclose(
        losses["style"], (4 * losses["style/pixels"] + losses["style/relu2_1"]) / 5
    )


def test_two_styles_are_blended_by_their_shares(settings, encoder, content):
    (first,) = settings.styles
    styles = replace(first, weight=1.0), Style(content, 3.0)
    both = replace(settings, styles=styles, style_statistic="gram")
    one, other = (
        objective(replace(both, styles=(style,)), encoder).style[0][1]["relu1_1"]
        for style in both.styles
    )
    assert torch.allclose(
        objective(both, encoder).style[0][1]["relu1_1"], (one + 3 * other) / 4, atol=1e-6
    )


def test_an_octave_is_the_loss_of_the_halved_image_and_counts_half(settings, encoder):
    chance = torch.Generator().manual_seed(0)
    content, style, image = (torch.rand(1, 3, 136, 144, generator=chance) for _ in range(3))

    def losses(octaves, halvings=0):
        halved = [F.avg_pool2d(picture, 2**halvings) for picture in (content, style, image)]
        asked = replace(settings, octaves=octaves, sparing=0.0)
        made = Objective(asked, encoder, halved[0], [halved[1]])
        return made.losses(halved[2])

    one, half, quarter = (losses(1, halvings) for halvings in range(3))
    for name in ("style", "style/pixels", "style/relu2_1"):
        wanted = (4 * one[name] + 2 * half[name] + quarter[name]) / 7
        assert torch.isclose(losses(3)[name], wanted, rtol=1e-4)
    assert torch.isclose(losses(9)["style"], losses(3)["style"]), "an eighth is too thin"
    assert losses(3)["content"] == one["content"]


@pytest.mark.parametrize(("enough", "counts"), [(0.5, 0.5), (0.25, 0.0)])
def test_an_octave_with_few_places_for_a_layers_channels_counts_less_or_not(
    settings, encoder, enough, counts
):
    chance = torch.Generator().manual_seed(0)
    content, style, image = (torch.rand(1, 3, 64, 96, generator=chance) for _ in range(3))
    settings = replace(settings, style_layers=("relu1_1", "relu2_1"), sparing=0.0)

    def losses(**changes):
        changed = replace(settings, **changes)
        return Objective(changed, encoder, content, [style]).losses(image)

    def whole(layer, octave):
        halved = [F.avg_pool2d(picture, 2**octave) for picture in (content, style, image)]
        changed = replace(settings, octaves=1, places_per_channel=0.0)
        return Objective(changed, encoder, halved[0], [halved[1]]).losses(halved[2])[layer]

    channels = len(encoder.convolutions["relu2_1"].bias)
    # so many that relu2_1 has `enough` of them in the second octave, and all in the first
    asked = 16 * 24 / channels / enough
    assert len(encoder.convolutions["relu1_1"].bias) <= channels
    found = losses(octaves=2, places_per_channel=asked)
    first, second = whole("style/relu2_1", 0), whole("style/relu2_1", 1)
    assert not torch.isclose(first, second, rtol=1e-2)
    counted = (2 * first + counts * second) / 3
    others = found["style/relu1_1"]
    assert torch.isclose(found["style/relu2_1"], counted * 3 / (2 + counts), rtol=1e-4)
    assert torch.isclose(found["style"], (others + counted) / 2, rtol=1e-4)
    alone = losses(octaves=2, places_per_channel=asked, style_layers=("relu2_1",))
    assert torch.isclose(alone["style"], counted, rtol=1e-4)


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("statistic", STYLE_STATISTICS)
def test_steps_lower_the_total(settings, encoder, optimizer, statistic):
    settings = replace(
        settings, optimizer=optimizer, style_statistic=statistic, scale_steps=(), steps=8
    )
    totals = [step.losses["total"] for step in stylize(settings, encoder)]
    assert len(totals) == 8
    assert totals[-1] < 0.8 * totals[0]


def test_the_first_losses_are_those_of_the_start(settings, encoder):
    begun = start(settings)
    first = next(stylize(settings, encoder))
    content, styles = Sources(settings).at(begun.image.shape[-2:], encoder.device)
    expected = Objective(settings, encoder, content, styles).losses(begun.image)
    assert first.number == 1
    assert first.losses["style"] == pytest.approx(expected["style"].item())


def test_scales_grow_to_the_size_with_the_counts_of_the_settings(settings, encoder):
    steps = list(stylize(settings, encoder))
    assert [step.number for step in steps] == list(range(1, 13))
    assert [step.scale for step in steps] == [0] * 4 + [1] * 3 + [2] * 5
    assert [max(step.image.shape) for step in steps] == [52] * 4 + [58] * 3 + [64] * 5


def test_more_steps_prolong_a_run_and_change_nothing_before(settings, encoder):
    short = [step.losses for step in stylize(settings, encoder)]
    long = [step.losses for step in stylize(replace(settings, steps=16), encoder)]
    assert long[:12] == short


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("stop", [2, 4, 9])
def test_after_a_step_it_goes_on_as_if_unbroken(settings, encoder, optimizer, stop):
    settings = replace(settings, optimizer=optimizer)
    unbroken = [step.losses for step in stylize(settings, encoder)]
    steps = stylize(settings, encoder)
    for step in steps:
        if step.number == stop:
            break
    rest = [step.losses for step in stylize(settings, encoder, after=step)]
    assert rest == unbroken[stop:]


def test_steering_takes_effect_in_the_next_step_with_a_fresh_memory(settings, encoder):
    steps = stylize(replace(settings, scale_steps=()), encoder)
    for _ in range(5):
        step = next(steps)
    steered = replace(step.settings, style_weight=100.0)
    after = steps.send(steered)
    losses = after.losses
    assert after.settings == steered
    assert after.number == 6
    weights = {name: getattr(steered, f"{name}_weight") for name in TERMS if name in losses}
    assert losses["total"] == pytest.approx(sum(w * losses[name] for name, w in weights.items()))
    *_, last = steps
    assert last.losses["total"] < losses["total"]


def test_a_steered_layer_is_a_new_column_of_losses(settings, encoder):
    steps = stylize(settings, encoder)
    next(steps)
    after = steps.send(replace(settings, style_layers=("relu2_2",)))
    assert "style/relu2_2" in after.losses and "style/relu1_1" not in after.losses


def test_no_step_is_coarser_than_the_one_before(settings, encoder):
    steps = stylize(settings, encoder)
    for step in steps:
        if step.number == 9:
            break
    after = steps.send(replace(settings, size=52, steps=30, scale_steps=(20, 5)))
    assert after.image.shape == step.image.shape


def test_adam_stays_between_black_and_white(settings, encoder):
    for step in stylize(replace(settings, optimizer="adam", learning_rate=0.5), encoder):
        assert step.image.min() >= 0 and step.image.max() <= 1


def test_noise_is_the_same_for_the_same_seed(settings):
    noisy = replace(settings, init="noise", seed=4)
    assert torch.equal(start(noisy).image, start(noisy).image)
    assert not torch.equal(start(noisy).image, start(replace(noisy, seed=5)).image)


def test_noise_has_the_colours_of_a_flat_style_too(settings, tmp_path):
    Image.new("RGB", (64, 40), (10, 120, 250)).save(tmp_path / "flat.png")
    asked = replace(settings, styles=str(tmp_path / "flat.png"), init="noise", noise="style")
    means = (255 * start(asked).image).mean((0, 2, 3)).tolist()
    assert means == pytest.approx([10, 120, 250], abs=1)


def test_grey_and_the_style_can_be_the_start(settings, style):
    assert (start(replace(settings, init="grey")).image == 0.5).all()
    image = start(replace(settings, init="style")).image
    assert torch.equal(image, resized(style, image.shape[-2:]))


def test_a_style_is_taken_at_its_own_scale_and_never_enlarged(settings, style):
    for scale, edge in {0.75: 48, 1.0: 64, 2.0: 64}.items():
        scaled = replace(settings, styles=(Style(style, scale=scale),))
        (picture,) = Sources(scaled).at((40, 64), torch.device("cpu"))[1]
        assert max(picture.shape[-2:]) == edge


def test_a_picture_can_be_the_start(settings, style):
    image = start(replace(settings, init=style)).image
    assert torch.equal(image, resized(style, image.shape[-2:]))


def test_a_picture_is_never_enlarged_and_no_scale_is_too_thin(settings):
    assert scales(replace(settings, size=512), (40, 64))[-1] == (40, 64)
    assert scales(replace(settings, size=256, smallest=32), (100, 400))[0] == (32, 128)
    with pytest.raises(ValueError, match="choose size 320"):
        scales(replace(settings, size=256), (100, 1000))
    with pytest.raises(ValueError, match="larger picture"):
        scales(settings, (20, 30))


def test_the_first_step_of_lbfgs_has_a_set_length_and_none_is_longer_than_allowed(
    settings, encoder
):
    settings = replace(settings, scale_steps=(), steps=30, style_weight=1000.0)
    images = [start(settings).image, *(step.image for step in stylize(settings, encoder))]
    images[0] = pictures.resize(images[0], tuple(images[1].shape[-2:]))
    lengths = [
        (after - before).square().mean().sqrt().item()
        for before, after in itertools.pairwise(images)
    ]
    assert lengths[0] == pytest.approx(FIRST, rel=1e-4)
    assert max(lengths) < LONGEST * 1.0001
    assert len(set(lengths)) > 20


@pytest.mark.parametrize(("precision", "apart"), [("bfloat16", 0.1), ("float16", 0.03)])
def test_in_half_precision_the_gradient_is_nearly_the_same(settings, precision, apart):
    """float16 alone would lose most of it: slopes of features are smaller than it knows."""
    layers = {"style_layers": ("relu1_1", "relu3_1"), "content_layers": ("relu2_2",)}
    weights = {"style_weight": 1e-3, "content_weight": 1e-4, "tv_weight": 0, "layout_weight": 0}
    settings = replace(settings, encoder="slim", **layers, **weights)
    content, style, image = (colourful(96, 128, seed) for seed in range(3))
    image = content.lerp(image, 0.05)
    slopes = [
        Objective(settings, load("slim", device="cpu", precision=kind), content, [style]).slope(
            image
        )[0]
        for kind in ("float32", precision)
    ]
    assert (slopes[1] - slopes[0]).norm() < apart * slopes[0].norm()


def test_the_gradients_shares_are_the_lengths_of_each_terms_own(settings, encoder):
    settings = replace(settings, **SHAPES, tv_weight=0.1)
    image = torch.rand(1, 3, 40, 64, generator=torch.Generator().manual_seed(4))

    def alone(name, **changes):
        others = {f"{other}_weight": 1e-9 for other in TERMS if other != name}
        return (
            objective(replace(settings, **others | changes), encoder).slope(image)[0].norm().item()
        )

    made = objective(settings, encoder)
    slope, _, shares = made.slope(image, weighed=True)
    assert torch.equal(slope, made.slope(image)[0]), "they change no picture"
    lengths = {name: alone(name) for name in TERMS}
    for name in TERMS:
        assert shares[name] == pytest.approx(lengths[name] / sum(lengths.values()), rel=1e-3)
    layers = {
        layer: alone("style", layer_weights={n: float(n == layer) for n in settings.style_layers})
        for layer in settings.style_layers
    }
    for layer in layers:
        wanted = shares["style"] * layers[layer] / sum(layers.values())
        assert shares[f"style/{layer}"] == pytest.approx(wanted, rel=1e-3)


def test_losses_too_large_from_the_start_are_not_called_a_divergence(settings, encoder):
    encoder.feature_scale = 1e20
    asked = replace(settings, relative=False, style_statistic="gram", init="noise")
    words = "lower content_weight, style_weight, feature_scale$"
    with pytest.raises(FloatingPointError, match=words):
        list(stylize(asked, encoder))
    assert "or use precision='float32'" in too_large({"style": math.inf}, "bfloat16")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("colour", ["red", "black"])
def test_a_content_of_one_colour_is_painted(settings, content, colour, precision):
    Image.new("RGB", (64, 40), colour).save(content)
    settings = replace(settings, steps=4, precision=precision, style_statistic="wasserstein")
    *_, last = stylize(settings)
    assert last.number == 4 and last.image.isfinite().all()
