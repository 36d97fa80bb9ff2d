from dataclasses import replace

import pytest
from conftest import half
from PIL import Image, ImageOps

from nsutils import Player, Run, Style, fork, recipe, rerun, steering
from nsutils.parcel import packed
from nsutils.replay import likeness


@pytest.fixture
def two(settings, tmp_path):
    """Settings with two styles, the second in the left half."""
    half().save(tmp_path / "half.png")
    picture = settings.styles[0].picture
    return replace(settings, styles=(picture, Style(picture, where=str(tmp_path / "half.png"))))


@pytest.fixture
def played(two, encoder, tmp_path):
    """A run whose styles' weights, scales and places were changed after steps 3, 5 and 7."""
    ImageOps.invert(half()).save(tmp_path / "right.png")
    changed = {
        3: [{"weight": 0.3}, {"weight": 2.0}],
        5: [{"scale": 0.5}, {}],
        7: [{}, {"where": str(tmp_path / "right.png")}],
    }
    player = Player(Run.create(tmp_path / "run", two), encoder)
    for step in player:
        if step.number in changed:
            player.steer(styles=changed[step.number])
    return player.run


def losses(run):
    return [{name: row[name] for name in row if name != "seconds"} for row in run.metrics]


def test_a_style_changes_while_its_run_plays(played, two, encoder, tmp_path):
    end = Player(played, encoder).settings.styles
    assert [(s.weight, s.scale) for s in end] == [(0.3, 0.5), (2.0, 1.0)]
    assert Image.open(end[1].where).getpixel((60, 20)) == 255
    assert [line["step"] for line in played.steering] == [3, 5, 7]
    unsteered = Player(Run.create(tmp_path / "other", two), encoder)
    list(unsteered)
    assert losses(played)[:3] == losses(unsteered.run)[:3]
    for before, after in ((3, 4), (5, 6), (7, 8)):
        assert losses(played)[after - 1] != losses(unsteered.run)[after - 1], (before, after)


def test_steered_styles_are_remembered_wherever_a_run_is_remembered(played, encoder, tmp_path):
    again = rerun(played, encoder=encoder)
    assert losses(again) == losses(played) and likeness(packed(played), again).same
    forked = fork(played, 6, tmp_path / "fork", styles=[{}, {"where": None}])
    end = recipe.in_force(forked).styles
    assert [(s.weight, s.scale, s.where) for s in end] == [(0.3, 0.5, None), (2.0, 1.0, None)]
    list(Player(forked, encoder))
    assert losses(forked)[:6] == losses(played)[:6] and losses(forked)[6:] != losses(played)[6:]
    words = dict(recipe.steering(played))
    assert words[3] == "style 1's weight = 0.3, style 2's weight = 2"
    assert "style 2's where = right.png" in words[7]


def test_the_python_cell_steers_the_styles_as_well(played, encoder, monkeypatch, tmp_path):
    text = recipe.python_cell(played)
    monkeypatch.chdir(tmp_path)
    for role, facts in played.meta["inputs"].items():
        if not role.startswith("mask"):
            (tmp_path / facts["name"]).write_bytes((played.folder / facts["file"]).read_bytes())
    exec(
        text.replace("Run.new(settings)", "Run.create('cell', settings), encoder"),
        {"encoder": encoder},
    )
    assert losses(Run("cell")) == losses(played)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([{"weight": 1.0}], "1 styles for a run that has 2"),
        ({"weight": 1.0}, "give a list, with all styles"),
        ([{}, {"picture": "other.jpg"}], "a style's picture belongs to the run"),
        ([{}, {"weight": -1.0}], "weight of a style is -1.0"),
        ([{"weight": 0.0}, {"weight": 0.0}], "no style picture with a weight above 0"),
    ],
)
def test_what_cannot_change_is_refused_in_one_line(two, encoder, tmp_path, asked, words):
    player = Player(Run.create(tmp_path / "run", two), encoder)
    with pytest.raises(ValueError, match=words):
        player.steer(styles=asked)
    assert player.settings == player.run.settings


def test_a_style_target_keeps_its_scale(settings):
    settings = replace(settings, styles=(Style("known.safetensors"),))
    steering.check(settings, {"styles": [{"weight": 2.0}]})
    with pytest.raises(ValueError, match="its scale belongs to the run"):
        steering.check(settings, {"styles": [{"scale": 2.0}]})
