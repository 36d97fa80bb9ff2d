"""Each preset's losses, computed once more in NumPy from the published formulas, on a small network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from nsutils import preset, stylize
from nsutils.encoders import HOW, Encoder
from nsutils.objective import Objective
from nsutils.presets import PRESETS
from nsutils.settings import Style
from nsutils.sources import Sources, scales, style_shape
from nsutils.transfer import start
from nsutils.vgg import Network

CAFFE = np.array([123.68, 116.779, 103.939]).reshape(3, 1, 1)
IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
WIDTHS = {"conv1_1": 4, "conv2_1": 5, "conv3_1": 6, "conv4_1": 7, "conv4_2": 7, "conv5_1": 6}
BLEND = (0.25, 0.75)


def network():
    """One convolution a block, two in the fourth; random weights."""
    chance, arrays, channels = np.random.default_rng(0), {}, 3
    for name, wide in WIDTHS.items():
        arrays[f"{name}.weight"] = chance.normal(
            0, (2 / (9 * channels)) ** 0.5, (wide, channels, 3, 3)
        )
        arrays[f"{name}.bias"] = chance.normal(0, 0.1, wide)
        channels = wide
    return arrays


def seen(x, arrays, ceil=False, first="constant"):
    """Features of (3, H, W) after each ReLU, by name."""
    features = {}
    for name in WIDTHS:
        if name.endswith("_1") and name != "conv1_1":
            odd = [(0, 0)] + [(0, side % 2) for side in x.shape[1:]]
            x = np.pad(x, odd, constant_values=-np.inf) if ceil else x
            height, width = (side // 2 for side in x.shape[1:])
            blocks = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2)
            x = blocks.max((2, 4))
        wide = np.pad(x, [(0, 0), (1, 1), (1, 1)], mode=first if name == "conv1_1" else "constant")
        windows = sliding_window_view(wide, (3, 3), (1, 2))
        x = np.einsum("oiyx,ihwyx->ohw", arrays[f"{name}.weight"], windows)
        x = np.maximum(0, x + arrays[f"{name}.bias"].reshape(-1, 1, 1))
        features[name.replace("conv", "relu")] = x
    return features


def correlations(x):
    """Sums of products of channels over pixels."""
    return np.array([[(one * other).sum() for other in x] for one in x])


def johnson(image, content, styles, arrays, white, ceil, variation):
    """5 content, 100 a layer of style, Gram matrices over C H W, their blend as the target."""
    pre = [white * picture - CAFFE for picture in (image, content, *styles)]
    got, wanted, *others = (seen(picture, arrays, ceil) for picture in pre)
    style = 0
    for layer in STYLE_LAYERS:
        a = sum(
            w * correlations(f[layer]) / f[layer].size for w, f in zip(BLEND, others, strict=True)
        )
        style += ((correlations(got[layer]) / got[layer].size - a) ** 2).mean()
    held = ((got["relu4_2"] - wanted["relu4_2"]) ** 2).mean()
    tv = variation(pre[0])
    return {"content": held, "style": style, "tv": tv, "total": 5 * held + 100 * style + 1e-3 * tv}


def half_squares(x):
    channels, height, width = x.shape
    return 0.5 * sum(
        (x[c, i, j] - x[c, i, j + 1]) ** 2 + (x[c, i, j] - x[c, i + 1, j]) ** 2
        for c in range(channels)
        for i in range(height - 1)
        for j in range(width - 1)
    )


def absolutes(x):
    return np.abs(x[:, 1:] - x[:, :-1]).sum() + np.abs(x[:, :, 1:] - x[:, :, :-1]).sum()


def gatys(image, content, styles, arrays):
    """Gram matrices over H W, 1000 / channels^2 a layer."""
    got, wanted, *others = (seen(255 * p - CAFFE, arrays) for p in (image, content, *styles))
    style = 0
    for layer, n in zip(STYLE_LAYERS, (64, 128, 256, 512, 512), strict=True):
        a, g = (correlations(f[layer]) / f[layer][0].size for f in (others[0], got))
        b = correlations(others[1][layer]) / others[1][layer][0].size
        style += ((g - BLEND[0] * a - BLEND[1] * b) ** 2).mean() / n**2
    held = ((got["relu4_2"] - wanted["relu4_2"]) ** 2).mean()
    return {"content": held, "style": style, "total": held + 1000 * style}


def root(a):
    """Newton and Schulz, 12 times."""
    length = np.sqrt((a**2).sum())
    y, z, three = a / length, np.eye(len(a)), 3 * np.eye(len(a))
    for _ in range(12):
        y, z = y @ (three - z @ y) / 2, (three - z @ y) @ z / 2
    return y * length**0.5


def crowsonkb(image, content, styles, arrays):
    """Wasserstein-2 between Gaussians, layers 256, 64, 16, 4, 1 of 341; nine-point variation."""
    pre = [(p - IMAGENET[0]) / IMAGENET[1] for p in (image, content, *styles)]
    got, wanted, *others = (seen(p, arrays, first="edge") for p in pre)

    def raw(x):
        return x.mean((1, 2)), correlations(x) / x[0].size

    def gaussian(mean, products):
        return mean, products - np.outer(mean, mean) + 1e-4 * np.eye(len(mean))

    style = 0
    for layer, weight in zip(STYLE_LAYERS, (256, 64, 16, 4, 1), strict=True):
        one, other = (raw(f[layer]) for f in others)
        mean, cov = gaussian(
            *(BLEND[0] * a + BLEND[1] * b for a, b in zip(one, other, strict=True))
        )
        mine, own = gaussian(*raw(got[layer]))
        half = root(cov)
        apart = np.diag(cov + own - 2 * root(half @ own @ half)).mean()
        style += weight / 341 * (((mine - mean) ** 2).mean() + apart)
    held = ((got["relu4_2"] - wanted["relu4_2"]) ** 2).mean()
    wide, tv = np.pad(image, [(0, 0), (1, 1), (1, 1)], mode="edge"), 0
    height, width = image.shape[1:]
    for dy, dx, share in ((0, 1, 3), (1, 0, 3), (1, 1, 12), (1, -1, 12)):
        rows, columns = height + (share == 12), width + (share == 12)
        y, x = (0 if share == 12 else 1), (0 if share == 12 else 1)
        a = wide[:, y : y + rows, x + (dx < 0) : x + (dx < 0) + columns]
        b = wide[:, y + dy : y + dy + rows, x + (dx > 0) : x + (dx > 0) + columns]
        tv += 2 * ((a - b) ** 2).mean() / share
    return {"content": held, "style": style, "tv": tv, "total": 0.015 * held + style + 2 * tv}


def anishathalye(image, content, styles, arrays):
    """5 content, 500 times the layers' mean, each style's loss by its share; 100 times the mean variation."""
    pre = [255 * picture - CAFFE for picture in (image, content, *styles)]
    got, wanted, *others = (seen(picture, arrays, ceil=True) for picture in pre)
    style = 0
    for share, other in zip(BLEND, others, strict=True):
        for layer in STYLE_LAYERS:
            a, g = (correlations(f[layer]) / f[layer].size for f in (other, got))
            style += share * 0.2 * ((g - a) ** 2).mean()
    held, x = ((got["relu4_2"] - wanted["relu4_2"]) ** 2).mean(), pre[0]
    tv = ((x[:, 1:] - x[:, :-1]) ** 2).mean() + ((x[:, :, 1:] - x[:, :, :-1]) ** 2).mean()
    return {"content": held, "style": style, "tv": tv, "total": 5 * held + 500 * style + 100 * tv}


BY_HAND = {
    "jcjohnson": lambda *of: johnson(*of, 256, True, half_squares),
    "neural-style-pt": lambda *of: johnson(*of, 255, False, absolutes),
    "gatys": gatys,
    "crowsonkb": crowsonkb,
    "anishathalye": anishathalye,
}


def small(settings):
    """The small network as the settings ask for it."""
    arrays = {name: torch.from_numpy(array) for name, array in network().items()}
    how = {name: getattr(settings, name) for name in HOW if name != "weights"}
    white = max(255, settings.pixel_range)
    normalisation = Network(settings.encoder, arrays, "").normalisation(white)
    return Encoder(arrays, normalisation, "small", trained="max", **how)


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_losses_are_those_of_the_published_formulas(name):
    chance = np.random.default_rng(1)
    image, content = (chance.random((3, 37, 42)) for _ in range(2))
    styles = [chance.random((3, 35, 33)), chance.random((3, 33, 47)) ** 2]
    named = [Style("a.png", 1.0), Style("b.png", 3.0)]
    settings = preset(name, "c.png", named)
    encoder = small(settings)

    def picture(array):
        return torch.from_numpy(array).float()[None]

    made = Objective(settings, encoder, picture(content), [picture(style) for style in styles])
    losses = made.losses(encoder.inward(picture(image)))
    losses["total"] = made.total(losses)
    by_hand = BY_HAND[name](image, content, styles, network())
    assert {n: losses[n].item() for n in by_hand} == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lowers_its_total_on_a_run_of_its_own(name, content, style):
    settings = preset(name, content, style, size=64, steps=12, init="content")
    totals = [step.losses["total"] for step in stylize(settings, small(settings))]
    assert totals[-1] < 0.9 * totals[0]
    assert settings.precision == "float32" and settings.every == 100


def test_lbfgs_is_that_of_a_single_call_without_a_line_search(content, style):
    settings = preset("neural-style-pt", content, style, size=64, steps=5, init="content")
    encoder = small(settings)
    steps = list(stylize(settings, encoder))
    image = encoder.inward(start(settings).image).requires_grad_()
    made, totals = None, []

    def evaluate():
        total = made.total(made.losses(image))
        image.grad = torch.autograd.grad(total, image)[0].contiguous()
        totals.append(total.item())
        return total

    sources = Sources(settings)
    made = Objective(settings, encoder, *sources.at(sources.scales[-1], encoder.device))
    torch.optim.LBFGS([image], max_iter=5, tolerance_grad=-1, tolerance_change=-1).step(evaluate)
    assert [step.losses["total"] for step in steps] == pytest.approx(totals, rel=1e-4)


def test_an_iteration_of_johnsons_is_an_evaluation_whose_picture_has_not_moved_yet(content, style):
    settings = preset("neural-style-pt", content, style, size=64, steps=3)
    steps = list(stylize(settings, small(settings)))
    moved = list(stylize(replace(settings, counting="moves"), small(settings)))
    for evaluated, before in zip(steps[1:], moved, strict=False):
        assert torch.equal(evaluated.image, before.image)
    assert [step.losses for step in steps] == [step.losses for step in moved]


def test_sizes_are_the_programs():
    def made(name, **changes):
        return preset(name, "c.png", "s.png", **changes)

    assert scales(made("neural-style-pt", size=256), (199, 300)) == [(169, 256)], "cut, not rounded"
    assert scales(made("jcjohnson"), (100, 200)) == [(256, 512)], "enlarged"
    assert scales(made("gatys"), (300, 400)) == [(512, 682)], "by the short side"
    assert scales(made("anishathalye"), (300, 400)) == [(300, 400)], "the content's own"
    assert scales(made("anishathalye", size=200), (300, 401)) == [(149, 200)], "by the width"
    ladder = scales(made("crowsonkb"), (300, 400))
    assert [width for _, width in ladder] == [128, 181, 256, 362, 512]
    assert made("crowsonkb").steps == 3000 and made("crowsonkb", size=200).scale_steps == (1000,)
    assert style_shape(made("crowsonkb"), (90, 100), (384, 512), 1) == (90, 100), "not enlarged"
    assert style_shape(made("jcjohnson"), (90, 100), (384, 512), 1) == (460, 512)
    assert style_shape(made("jcjohnson"), (900, 700), (501, 400), 0.3) == (151, 117)
    assert style_shape(made("neural-style-pt"), (900, 700), (501, 400), 0.3)[0] == 150


def test_sizes_are_cut_as_each_program_does():
    shapes = {"neural-style-pt": (511, 383), "jcjohnson": (512, 384)}
    for name, (width, height) in shapes.items():
        assert scales(preset(name, "c.png", "s.png"), (309, 412)) == [(height, width)]


def test_no_side_that_is_cut_down_becomes_too_thin():
    made = preset("neural-style-pt", "c.png", "s.png", size=256, smallest=32, scale_steps=(1,))
    assert all(min(shape) >= 32 for shape in scales(made, (103, 103)))


def test_what_a_preset_makes_of_other_choices():
    assert not preset("jcjohnson", "c", "s", pooling="average").ceil_mode
    assert preset("gatys", "c", "s", encoder="slim").feature_scale > 1
    assert preset("gatys", "c", "s", encoder=None).feature_scale > 1
    assert preset("gatys", "c", "s").feature_scale == 1
    for wrong in ({"colour": 1}, {"size": "512"}, {"pixel_range": "255"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            preset("crowsonkb", "c", "s", **wrong)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"'picasso'.*crowsonkb"):
        preset("picasso", "c.png", "s.png")


def test_a_size_of_numpy_has_the_same_schedule(content, style):
    made = [preset("crowsonkb", content, style, size=size) for size in (512, np.int64(512))]
    assert made[0] == made[1] and len(made[0].scale_steps) == 4
