import shlex
from dataclasses import replace

import pytest
from PIL import Image, ImageChops

from nsutils import Player, Run, Settings, Style, preset, recipe, samples
from nsutils.cli import parser
from nsutils.commands import settings_of, styles_of
from nsutils.steering import unpictured

LAYERS = {"style_layers": ("pixels", "relu1_1"), "layer_weights": {"pixels": 5, "relu1_1": 0.5}}
RECIPES = {
    "the kit's own": Settings("a.png", "b.png"),
    "weights from a slider": Settings("a.png", "b.png", style_weight=10**0.05, tv_weight=1e-7),
    "layers": Settings("a.png", "b.png", **LAYERS, content_layers="relu3_1"),
    "switches": Settings(
        "a.png", "b.png", optimizer="adam", roll=True, clamp=False, betas=(0, 0.5)
    ),
    "a picture to start from": Settings("a.png", "b.png", init="c.png", every=7, seed=2**40),
    "styles": Settings("a.png", (Style("b.png", 2), Style("c.png", 0.3, 0.5)), size=200),
    "plain styles": Settings("a.png", ("b.png", "c.png")),
    "strange names": Settings("it's a \"$HOME\" 'ö'.png", "-b\\n.png"),
    "a preset": preset("gatys", "a.png", "b.png", encoder="slim", size=256),
    "a recipe": preset("portrait", "a.png", "b.png", size=96, mask="c.png"),
    "a recipe without a mask": preset("film", "a.png", "b.png", steps=60),
    "a preset at the content's size": preset("anishathalye", "a.png", "b.png", encoder="slim"),
    "the content's size": Settings("a.png", "b.png", size=None),
    "a preset's interval left open": preset("gatys", "a.png", "b.png", encoder="slim", every=None),
    "a preset of many scales": preset("crowsonkb", "a.png", "b.png", encoder="slim", size=300),
}


@pytest.fixture(params=RECIPES.values(), ids=RECIPES)
def asked(request, content, tmp_path, monkeypatch):
    """Settings whose pictures are there."""
    settings = request.param
    for name in {settings.content, *(style.picture for style in settings.styles), "c.png"}:
        Image.open(content).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return settings


def test_the_python_cell_makes_the_same_settings(asked):
    cell = recipe.python_cell(Run.create("run", asked))
    found = {}
    exec(cell.partition("player =")[0], found)
    assert found["settings"] == asked


def test_the_command_line_asks_for_the_same_settings(asked):
    command, *words = shlex.split(recipe.command_line(Run.create("run", asked)))
    given = parser().parse_args(words)
    made = settings_of(given, given.content, styles_of(given))
    paths = tuple(replace(style, picture=style.picture.removeprefix("./")) for style in made.styles)
    assert command == "nsutils" and replace(made, styles=paths) == asked


def test_what_is_as_the_kit_has_it_is_not_said(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, style))
    assert recipe.command_line(run) == "nsutils run content.png style.png"
    assert "=" not in recipe.python_cell(run).partition("Settings(\n")[2].partition(")")[0]


def test_the_contents_own_size_is_told_in_a_word(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, style, size=None))
    assert recipe.command_line(run) == "nsutils run content.png style.png --size none"


def test_the_python_cell_of_a_steered_run_paints_the_same_picture(settings, tmp_path, monkeypatch):
    known = replace(settings, precision="float32", style_layers=("pixels", "relu1_1"))
    player = Player(Run.create(tmp_path / "run", known))
    for step in player:
        player.steer(
            **{4: {"style_weight": 5.0}, 7: {"style_layers": ["relu1_1"]}}.get(step.number, {})
        )
    monkeypatch.setattr(samples, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(recipe.python_cell(player.run), found)
    again = found["player"].run
    assert again.folder.parent == tmp_path / "runs"
    assert [line["total"] for line in again.metrics] == [row["total"] for row in player.run.metrics]
    assert not ImageChops.difference(again.picture(), player.run.picture()).getbbox()


def test_rows_are_all_settings_once_by_the_pictures_old_names(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, style, learning_rate=0.5))
    asked, others = recipe.rows(run)
    assert asked["content"] == "content.png" and asked["styles"] == "style.png"
    assert asked["learning_rate"] == "0.5" and "betas" in others
    assert not asked.keys() & others.keys()


def test_what_differs_is_told_and_nothing_else(content, style, tmp_path):
    every = [Settings(content, style), Settings(content, style, style_weight=4.0, every=3)]
    runs = [Run.create(tmp_path / f"{n}", settings) for n, settings in enumerate(every)]
    assert recipe.differing(runs) == [
        {"style_weight": "1", "every": "-"},
        {"style_weight": "4", "every": "3"},
    ]
    assert recipe.differing(runs[:1]) == [{}] and recipe.differing([]) == []
    runs[0].steered(3, {"style_weight": 4.0, "every": 3})
    assert recipe.differing(runs) == [{}, {}]


def test_the_last_change_counts_in_whatever_order_they_were_written(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, style))
    run.steered(6, {"style_weight": 5.0})
    run.steered(5, {"style_weight": 2.0})
    assert recipe.in_force(run).style_weight == 5.0
    assert [step for step, _ in recipe.steering(run)] == [5, 6]


def test_of_a_style_only_what_was_changed_is_told(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, [style, content]))
    both = Style(style), Style(content, weight=3.0)
    run.steered(3, {"styles": [unpictured(each, str) for each in both]})
    run.steered(5, {"styles": [{"scale": 0.5}, {"weight": 3.0}]})
    assert recipe.steering(run) == [(3, "style 2's weight = 3"), (5, "style 1's scale = 0.5")]


def test_an_undone_change_is_told_as_one(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, style))
    run.steered(3, {"style_weight": 4.0})
    run.steered(5, {"style_weight": 1.0, "undo": True})
    assert recipe.steering(run) == [(3, "style_weight = 4"), (5, "back to style_weight = 1")]


def test_a_mask_that_was_steered_has_the_name_that_it_was_given(content, style, tmp_path):
    Image.new("L", (64, 40), 255).save(mask := tmp_path / "mine.png")
    run = Run.create(tmp_path / "run", Settings(content, style))
    for step in (2, 4):
        run.steered(step, {"mask": run.add_mask(str(mask))})
    assert recipe.in_force(run).mask == "mine.png" and str(tmp_path) not in recipe.python_cell(run)
    assert recipe.steering(run) == [(2, "mask = mine.png"), (4, "mask = mine.png")]


def test_a_slider_that_was_drawn_for_some_steps_is_told_once(content, style, tmp_path):
    run = Run.create(tmp_path / "run", Settings(content, style))
    run.steered(3, {"style_weight": 4.0})
    run.steered(4, {"style_weight": 5.0, "further": True})
    run.steered(6, {"style_weight": 7.0, "further": True})
    assert recipe.steering(run) == [(3, "style_weight = 7, reached after step 6")]
    assert recipe.in_force(run).style_weight == 7.0
