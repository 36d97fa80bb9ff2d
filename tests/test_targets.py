from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nsutils import Run, Style, pictures, stylize
from nsutils.figures import contact_sheet
from nsutils.player import Player
from nsutils.sources import check_targets, style_target
from nsutils.targets import PALETTE, Known, Target


@pytest.fixture
def saved(settings, encoder, tmp_path):
    """The settings with their style as a file of statistics."""
    return taught(settings, encoder, tmp_path)


def taught(settings, encoder, folder):
    pictures.write(file := folder / "taught.safetensors", style_target(settings, encoder).packed())
    return replace(settings, styles=str(file))


@pytest.mark.parametrize("statistic", ["moments", "gram", "wasserstein", "sliced"])
def test_a_style_from_its_file_paints_as_its_picture_does(settings, encoder, tmp_path, statistic):
    settings = replace(settings, style_statistic=statistic, steps=9)
    known = taught(settings, encoder, tmp_path)
    assert [step.losses for step in stylize(known, encoder)] == [
        step.losses for step in stylize(settings, encoder)
    ]


def test_a_file_that_lacks_the_palette_is_refused_before_a_run_begins(saved, encoder):
    (style,) = saved.styles
    with safe_open(style.picture, "pt") as file:
        facts = file.metadata()
    known = load_file(style.picture)
    save_file({key: x for key, x in known.items() if PALETTE not in key}, style.picture, facts)
    with pytest.raises(ValueError, match=r"no layer 'palette' in .*make it again"):
        check_targets(saved, encoder)


def test_a_run_keeps_the_file_and_shows_the_small_picture_in_it(saved, encoder, tmp_path):
    run = Player(Run.create(tmp_path / "run", saved), encoder).play()
    assert run.status == "done" and (run.folder / "inputs" / "style_1.safetensors").exists()
    assert contact_sheet(run).size[0] > 400


def test_a_file_and_a_picture_blend(saved, settings, encoder):
    both = replace(saved, styles=(*saved.styles, Style(settings.styles[0].picture, 2.0)))
    one = [step.losses["total"] for step in stylize(settings, encoder)]
    assert [step.losses["total"] for step in stylize(both, encoder)] == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"style_statistic": "gram"}, "made with style_statistic wasserstein, and not gram"),
        (
            {"style_layers": ("relu2_2",)},
            "no layer 'relu2_2' in .*; there are palette, pixels",
        ),
        ({"init": "style"}, "no picture"),
        ({"init": "noise", "noise": "style"}, "no picture"),
        ({"octaves": 1}, "made with octaves 2, and not 1"),
        ({"size": 256, "enlarge": "content", "scale_steps": ()}, "made for 52, 58, 64 pixels"),
        ({"original_colors": 1.0, "color_method": "pca"}, "cannot be matched"),
    ],
)
def test_what_a_file_was_not_made_for_is_refused(saved, encoder, changes, words):
    with pytest.raises(ValueError, match=words):
        next(stylize(replace(saved, **changes), encoder))


def test_what_a_target_should_have_been_made_for_is_the_size_that_is_asked(saved, encoder):
    """All smaller ones come with it."""
    larger = replace(saved, size=256, enlarge="content", scale_steps=(1, 1))
    with pytest.raises(ValueError, match="and not for 256; make it again for a run of that size"):
        check_targets(larger, encoder)


def test_a_target_is_for_a_pixel_at_least(saved, encoder):
    tiny = tuple(replace(style, scale=0.001) for style in saved.styles)
    with pytest.raises(ValueError, match=r"was made for .* pixels, and not for 1;"):
        next(stylize(replace(saved, styles=tiny), encoder))


def test_another_file_is_no_target(settings, tmp_path, encoder):
    weights, broken = tmp_path / "weights.safetensors", tmp_path / "broken.safetensors"
    save_file({"conv1_1.weight": encoder.mean}, weights)
    broken.write_bytes(b"not a file of tensors")
    damaged = tmp_path / "damaged.safetensors"
    save_file({"64/0/relu1_1": encoder.mean}, damaged, {"made_with": "[]", "picture": "?"})
    for file in (weights, broken, damaged, tmp_path / "none.safetensors"):
        with pytest.raises(
            ValueError, match=rf"^no style target '.*{file.name}'[^\n]*nsutils target$"
        ):
            Target.read(file)


def test_what_is_known_of_a_layer_is_not_made_again(tmp_path):
    asked = []

    def made(layers):
        asked.extend(layers)
        return {layer: torch.full((1, 2, 3), float(layer[-1])) for layer in layers}

    for folder, n in ((None, 1), (tmp_path, 1), (tmp_path, 2)):
        known = Known(folder, "this machine")
        for layers in (("relu1_1", "relu1_2"), ("relu1_2", "relu1_3")):
            found = known.octaves(("picture", 256), layers, made)
            assert {layer: s[0, 0, 0].item() for layer, s in found.items()} == {
                layer: float(layer[-1]) for layer in layers
            }
        assert asked == (["relu1_1", "relu1_2", "relu1_3"] if n == 1 else [])
        asked.clear()
    known.octaves(("another", 256), ("relu1_1",), made)
    Known(tmp_path, "another machine").octaves(("picture", 256), ("relu1_1",), made)
    assert asked == ["relu1_1", "relu1_1"]


def test_a_style_smaller_than_the_size_has_the_same_statistics_twice(settings, encoder, tmp_path):
    settings = replace(settings, size=512, enlarge="nothing")
    target = style_target(settings, encoder)
    (file := tmp_path / "target.safetensors").write_bytes(target.packed())
    assert Target.read(file).sizes.keys() == target.sizes.keys()
