import json
import math
from pathlib import Path

import numpy as np
import pytest

from nsutils import Settings, Style, vary


def test_json_and_back_is_the_same():
    settings = Settings(
        "a.jpg", (Style("b.jpg", 2.0), "c.jpg"), size=128, layer_weights={"relu1_1": 3}
    )
    assert Settings.from_json(settings.to_json()) == settings


def test_a_single_style_may_be_given_as_a_path():
    for style in ("b.jpg", Path("b.jpg"), {"picture": "b.jpg"}):
        assert Settings("a.jpg", style).styles == (Style("b.jpg", 1.0),)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0),
        ("size", 64.5),
        ("size", True),
        ("steps", 0),
        ("every", 0),
        ("style_weight", math.nan),
        ("style_weight", "much"),
        ("content_weight", -1.0),
        ("tv_weight", math.inf),
        ("style_layers", ("relu9_9",)),
        ("style_layers", ()),
        ("content_layers", ("pixels",)),
        ("style_layers", ("relu1_1", "relu1_1")),
        ("layer_weights", {"relu9_9": 1.0}),
        ("layer_weights", {"relu1_1": -1.0}),
        ("encoder", "resnet"),
        ("optimizer", "sgd"),
        ("style_statistic", "median"),
        ("scale_steps", (10, 0)),
        ("roll", True),
        ("clamp", "yes"),
        ("seed", 2**63),
        ("feature_scale", 0),
        ("pixel_range", 0.0),
        ("pixel_range", 1e308),
        ("style_weight", 1e-50),
        ("steps", 10**7),
        ("original_colors", 1.5),
        ("betas", (0.9, 1.0)),
        ("content", ""),
        ("styles", ()),
    ],
)
def test_what_cannot_be_is_refused_by_name_in_one_line(field, value):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        Settings(**{"content": "a.jpg", "styles": "b.jpg", field: value})
    assert field.removesuffix("s") in str(refused.value) or "layer" in field
    culprit = value[0] if isinstance(value, tuple) and value else value
    assert not isinstance(culprit, str) or culprit in str(refused.value)


def test_a_picture_of_which_nothing_is_asked_is_refused():
    none = dict.fromkeys(("content_weight", "style_weight", "tv_weight", "layout_weight"), 0.0)
    with pytest.raises(ValueError, match="all weights are 0"):
        Settings("a", "b", **none)
    assert Settings("a", "b", **none | {"laplacian_weight": 1.0})


def test_layers_beyond_the_slim_encoder_are_only_known_with_vgg19():
    assert Settings("a", "b", encoder="vgg19", content_layers=("relu5_2",)).content_layers
    with pytest.raises(ValueError, match="relu5_2"):
        Settings("a", "b", content_layers=("relu5_2",))


def test_an_unknown_field_in_a_file_is_named():
    with pytest.raises(ValueError, match="'colour'"):
        Settings.from_json(json.dumps({"content": "a", "styles": ["b"], "colour": 1}))


def test_what_is_newer_than_a_file_has_no_effect_on_its_run():
    old = Settings.from_json(json.dumps({"content": "a", "styles": ["b"], "steps": 50}))
    assert old.steps == 50 and not old.preconditioned
    assert old.places_per_channel == old.layout_weight == old.sparing == old.freeing == 0
    new = Settings.from_json(Settings("a", "b").to_json())
    assert new.preconditioned and new.places_per_channel == 1 and new.sparing == 0.8


def test_every_is_a_tenth_of_the_steps_unless_given():
    assert Settings("a", "b", steps=300).interval == 30
    assert Settings("a", "b", steps=5).interval == 1
    assert Settings("a", "b", steps=300, every=7).interval == 7


def test_vary_gives_each_combination_the_last_choice_fastest():
    made = vary(Settings("a", "b"), style_weight=[1, 2], size=[64, 96])
    assert [(s.style_weight, s.size) for s in made] == [(1, 64), (1, 96), (2, 64), (2, 96)]
    with pytest.raises(ValueError, match="'colour'"):
        vary(Settings("a", "b"), colour=[1])
    for value in ("noise", 1):
        with pytest.raises(ValueError, match=rf"give a list of values, as init=\[{value!r}\]"):
            vary(Settings("a", "b"), init=value)


def test_coarse_scales_take_most_steps_and_few_steps_reach_the_last():
    assert Settings("a.png", "b.png").scale_steps == (40, 25, 20)
    assert Settings("a.png", "b.png", steps=1000).scale_steps == (40, 25, 20)
    for steps in range(1, 110):
        counts = Settings("a.png", "b.png", steps=steps).scale_steps
        assert sum(counts) < steps and len(counts) <= 3, steps
    assert Settings("a.png", "b.png", steps=55).scale_steps == (20, 12, 10)
    assert vary(Settings("a.png", "b.png"), steps=[55])[0].scale_steps == (20, 12, 10)
    chosen = Settings("a.png", "b.png", scale_steps=(9,))
    assert vary(chosen, steps=[55])[0].scale_steps == (9,)


def test_numbers_of_numpy_are_numbers():
    found = vary(Settings("c", "s"), size=np.arange(64, 256, 64), style_weight=[np.float32(0.5)])
    assert [type(each.size) for each in found] == [int] * 3 and found[0].style_weight == 0.5
    assert json.loads(found[0].to_json())["size"] == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"content_layers": None},
        {"layer_weights": "relu1_1=3"},
        {"layer_weights": None},
        {"encoder": ["slim"]},
        {"styles": [{}]},
        {"betas": None},
        {"content": None},
        {"init": None},
    ],
)
def test_values_of_another_type_are_refused_by_name(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        Settings(**{"content": "c", "styles": "s"} | changes)
