"""The panel without a page: widgets set and clicked from here, over a real player."""

import base64
import io
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import colourful, half
from ipywidgets.widgets.widget import _instances
from PIL import Image, ImageChops

from nsutils import Player, Run, Settings, faces, pictures, preset, sample
from nsutils.objective import Objective
from nsutils.panel import Panel
from nsutils.presets import PRESETS
from nsutils.settings import ENCODERS, PIXELS, VGG16, VGG19
from nsutils.sources import Sources
from nsutils.vgg import VARIABLE
from nsutils.widgets.asked import THIS
from nsutils.widgets.controls import parts
from nsutils.widgets.layers import CONTENT_CHOICES, STYLE_CHOICES, sight
from nsutils.widgets.neighbours import FACTOR
from nsutils.widgets.protect import Protect
from nsutils.widgets.seen import difference
from nsutils.widgets.share import weight_for
from nsutils.widgets.standing import recipe_line
from nsutils.widgets.view import kept_steps
from nsutils.widgets.viewer import Viewer
from nsutils.widgets.weight import STEP, Weight

ENDLESS = 100_000  # steps: until stopped


@pytest.fixture
def panel(settings, tmp_path):
    panel = Panel(settings, tmp_path / "runs")
    yield panel
    if panel.player is not None:
        panel.player.close()


@pytest.fixture
def playing(settings, tmp_path):
    """A panel whose run has made a few steps and does not end by itself."""
    panel = Panel(replace(settings, steps=ENDLESS), tmp_path / "runs")
    panel.buttons.run.click()
    until(panel, lambda: panel.player.step and panel.player.step.number >= 3)
    player = panel.player
    yield panel
    player.close()


@pytest.fixture
def previewed(settings, tmp_path):
    """A panel whose run of 9 steps waits at its preview, after 6 of them."""
    panel = to_wait(replace(settings, scale_steps=(6,), steps=9), tmp_path)
    until(panel, lambda: panel.player.status == "paused")
    yield panel
    panel.player.close()


def to_wait(settings, folder):
    """A panel whose run is to wait at its preview, where the steps of its first scale are made."""
    pictures.to_image(colourful(120, 160, 1)).save(settings.content)
    panel = Panel(replace(settings, size=160, smallest=64), folder / "runs")
    panel.hold.value = True
    panel.buttons.run.click()
    return panel


def until(panel, holds, seconds=60):
    """Returns when it holds; looks each time the player tells something."""
    told = threading.Event()
    panel.player.listeners.append(lambda _: told.set())
    while not holds():
        told.clear()
        assert holds() or told.wait(seconds), "the player has no more to tell"


def shown(image):
    """The picture in an image widget, decoded."""
    data = image.picture if isinstance(image, Viewer) else image.value
    return Image.open(io.BytesIO(data)).convert("RGB")


def flat(image):
    return all(low == high for low, high in shown(image).getextrema())


def images(panel):
    return {name: tile.children[0] for name, tile in panel.view.tiles.tiles.items()}


def offered(layers):
    return tuple(row["layer"] for row in layers.known)


def send(upload, name, data, pieces=1):
    """As the page sends a file."""
    edge = len(data) // pieces + 1
    for at in range(0, len(data) or 1, edge):
        facts = {"name": name, "size": len(data), "at": at}
        upload._handle_custom_msg(facts, [memoryview(data)[at : at + edge]])


def test_a_run_is_made_in_its_own_folder(panel, tmp_path):
    run = played(panel)
    assert run is panel.run and run.folder.parent == tmp_path / "runs"
    assert run.status == "done" and run.result.exists()
    assert panel.view.progress.value == panel.view.progress.max == 12
    assert "Done" in panel.view.said.value
    assert panel.buttons.stop.disabled and panel.buttons.pause.description == "Go on"


def test_tiles_fill_in_order_and_hold_pictures(panel, settings):
    expected, filled = ["content", "style", *kept_steps(settings), "result"], []
    assert list(images(panel)) == expected
    assert not flat(images(panel)["content"]) and not flat(images(panel)["style"])
    assert all(flat(image) for name, image in images(panel).items() if name not in expected[:2])
    for name, image in images(panel).items():
        image.observe(lambda _, name=name: filled.append(name), "value")
    panel.play()
    filled.clear()
    panel.wait()
    assert filled == expected[2:]
    assert list(images(panel)) == expected and not any(map(flat, images(panel).values()))
    assert not flat(panel.view.seen.viewer) and not flat(panel.view.curves)


def test_pictures_keep_their_place_and_shape(panel):
    sizes = {name: shown(image).size for name, image in images(panel).items()}
    live = shown(panel.view.seen.viewer).size
    assert live[0] / live[1] == pytest.approx(64 / 40, rel=0.01)
    seen = set()
    panel.view.seen.viewer.observe(
        lambda _: seen.add(shown(panel.view.seen.viewer).size), "picture"
    )
    played(panel)
    assert seen == {live}
    assert {name: shown(image).size for name, image in images(panel).items()} == sizes


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("style_weight", 5.0),
        ("content_weight", 0.2),
        ("tv_weight", 0.01),
        ("style_layers", [PIXELS, "relu1_2"]),
        ("content_layers", ["relu1_1"]),
    ],
)
def test_a_moved_control_takes_effect_within_a_step(playing, name, asked):
    before = playing.player.step.number
    playing.controls[name].value = asked
    after = playing.player.step.number
    until(playing, lambda: playing.player.step.settings == playing.player.settings)
    (change,) = playing.run.steering
    made_when = change.pop("step")
    assert before <= made_when <= after + 1 and change == {name: asked}


def test_a_click_takes_one_layer_and_leaves_the_others(playing):
    playing.controls["style_layers"].chosen = [PIXELS, "relu2_1"]
    until(playing, lambda: playing.player.step.settings.style_layers == (PIXELS, "relu2_1"))


def test_more_iterations_bring_more_tiles(panel, settings):
    panel.controls["steps"].value = 1000
    panel.play()
    until(panel, lambda: panel.player.step and panel.player.step.number >= 3)
    panel.controls["steps"].value = 20
    panel.wait()
    assert panel.run.meta["steps"] == panel.view.progress.max == 20
    made = [name for name in images(panel) if isinstance(name, int)]
    assert made == sorted(made) and made[-1] > 12
    assert not any(map(flat, images(panel).values()))


def test_pause_holds_until_resumed(playing):
    playing.buttons.pause.click()
    until(playing, lambda: playing.player.status == "paused")
    assert playing.buttons.pause.description == "Resume" and "Paused" in playing.view.said.value
    told, held = threading.Event(), playing.player.step.number
    playing.player.listeners.append(lambda _: told.set())
    assert not told.wait(0.3) and playing.player.step.number == held
    playing.buttons.pause.click()
    until(playing, lambda: playing.player.step.number > held)
    assert playing.buttons.pause.description == "Pause"


def test_a_paused_run_can_be_stopped(playing):
    playing.buttons.pause.click()
    until(playing, lambda: playing.player.status == "paused")
    playing.buttons.stop.click()
    assert playing.wait().status == "stopped"


def test_stop_keeps_what_there_is(playing):
    playing.buttons.stop.click()
    run = playing.wait()
    assert run.status == "stopped" and run.result.exists() and "Stopped" in playing.view.said.value
    assert "result" in images(playing) and not any(map(flat, images(playing).values()))


def test_run_while_running_ends_the_old_and_begins_anew(playing):
    old = playing.run
    playing.play()
    assert old.status == "stopped" and playing.run.folder != old.folder
    until(playing, lambda: playing.player.step and playing.player.step.number >= 3)
    assert playing.run.status == "playing" and playing.run.settings.steps == ENDLESS


def test_an_impossible_run_leaves_the_old_one_alone(playing):
    old = playing.run
    playing.controls["content_layers"].chosen = []
    playing.buttons.run.click()
    assert "content_layers is empty" in playing.problem.value
    assert playing.run is old and old.status == "playing"


def test_a_path_that_is_no_picture_is_one_line_and_not_chosen(panel, content, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    for wrong in (notes, tmp_path / "nowhere.png", tmp_path):
        panel.asked.content.path.value = str(wrong)
        said = panel.asked.content.problem.value
        assert wrong.name in said and "\n" not in said and panel.asked.content.value == content
    panel.buttons.run.click()
    assert panel.run is None and "empty its box" in panel.problem.value
    panel.asked.content.path.value = ""
    assert not panel.asked.content.problem.value
    assert plays(panel)


def test_a_path_is_chosen_and_joins_the_list(panel, tmp_path):
    path = tmp_path / "other.png"
    Image.linear_gradient("L").save(path)
    panel.asked.content.path.value = str(tmp_path / "nowhere.png")
    panel.asked.content.path.value = f" {path} "
    assert panel.asked.content.value == str(path) and panel.asked.content.list.label == "other.png"
    assert panel.asked.content.problem.value == "" and panel.settings.content == str(path)
    assert shown(images(panel)["content"]).size == (360, 360)


def test_an_upload_is_kept_and_chosen(panel, tmp_path):
    data = pictures.jpeg(Image.linear_gradient("L").resize((60, 50)))
    picker = panel.asked.styles.rows[0].picker
    send(picker.upload, "../sent.jpg", data, pieces=3)
    (kept,) = (tmp_path / "runs" / "uploads").glob("*/sent.jpg")
    assert kept.read_bytes() == data and picker.value == str(kept)
    assert picker.list.label == "sent.jpg" and panel.settings.styles[0].picture == str(kept)
    assert plays(panel)


def test_pieces_of_two_uploads_are_not_mixed(panel, style, tmp_path):
    picker, data = panel.asked.styles.rows[0].picker, pictures.jpeg(Image.new("L", (60, 50)))
    middle = len(data) // 2
    first, second = (
        {"name": "first.jpg", "size": len(data)},
        {"name": "second.jpg", "size": 2 * middle},
    )
    picker.upload._handle_custom_msg(first | {"at": 0}, [data[:middle]])
    picker.upload._handle_custom_msg(second | {"at": 0}, [data[:middle]])
    picker.upload._handle_custom_msg(first | {"at": middle}, [data[middle:]])
    assert picker.value == style and not (tmp_path / "runs" / "uploads").exists()
    send(picker.upload, "first.jpg", data)
    assert Path(picker.value).read_bytes() == data


def test_an_upload_that_is_no_picture_is_one_line_and_not_kept(panel, style, tmp_path):
    picker = panel.asked.styles.rows[0].picker
    send(picker.upload, "notes.txt", b"no picture")
    assert "notes.txt" in picker.problem.value and picker.value == style
    send(picker.upload, "empty.jpg", b"")
    assert "empty.jpg" in picker.problem.value and picker.value == style
    assert not list((tmp_path / "runs" / "uploads").iterdir())
    assert plays(panel)


def test_an_upload_may_have_any_name(panel):
    picker, data = panel.asked.content, pictures.jpeg(Image.new("L", (60, 50)))
    send(picker.upload, "写真" * 60 + ".png", data)
    assert not picker.problem.value and Path(picker.value).read_bytes() == data
    assert Path(picker.value).name.startswith("写真写真") and picker.value.endswith(".png")


def test_a_panel_over_a_picture_that_is_gone_says_so(settings, tmp_path):
    panel = Panel(replace(settings, content="gone.png"), tmp_path / "runs")
    assert "gone.png" in panel.asked.content.problem.value
    panel.buttons.run.click()
    assert "gone.png" in panel.problem.value
    with pytest.raises(ValueError, match=r"gone\.png"):
        panel.wait()


def test_what_cannot_run_says_so_and_wait_raises_it(panel):
    panel.controls["size"].value = 32
    panel.buttons.run.click()
    assert "too thin" in panel.problem.value and panel.run is None
    with pytest.raises(ValueError, match="too thin"):
        panel.wait()
    panel.controls["size"].value = 64
    assert panel.problem.value == "" and plays(panel)


def test_what_fails_on_the_way_says_so_and_wait_raises_it(panel, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "no.pth"))
    panel.controls["encoder"].value = "vgg19"
    panel.buttons.run.click()
    with pytest.raises(ValueError, match=r"no\.pth"):
        panel.wait()
    assert "no.pth" in panel.problem.value and "Failed" in panel.view.said.value
    panel.controls["encoder"].value = "slim"
    assert plays(panel)


def played(panel):
    """The run that Run begins, once it has ended."""
    panel.buttons.run.click()
    return panel.wait()


def plays(panel):
    """Whether the panel still works."""
    return played(panel).status == "done" and not panel.problem.value


@pytest.mark.parametrize("weight", [0.0, 1e-9, 1e-6, 0.03, 1.0, 1234.5])
def test_any_weight_can_stand_on_a_slider(settings, tmp_path, weight):
    asked = replace(settings, tv_weight=weight, style_weight=weight)
    panel = Panel(asked, tmp_path / "runs")
    assert panel.settings == asked
    for name in ("tv_weight", "style_weight"):
        slider = panel.controls[name]
        slider.value = 10**slider.min
        assert getattr(panel.settings, name) == 0
        slider.value = 10 ** (slider.min + slider.step)
        assert getattr(panel.settings, name) > 0


@pytest.mark.parametrize("numbers", [{"steps": 3}, {"steps": 25}, {"steps": 5000, "size": 4096}])
def test_any_number_can_stand_on_a_slider(settings, tmp_path, numbers):
    asked = replace(settings, **numbers)
    panel = Panel(asked, tmp_path / "runs")
    assert panel.settings == asked
    for name in numbers:
        slider = panel.controls[name]
        assert (slider.value - slider.min) % slider.step == 0


def test_an_encoder_offers_its_layers(panel, settings):
    style, content = panel.controls["style_layers"], panel.controls["content_layers"]
    panel.controls["encoder"].value = "vgg19"
    assert offered(content) == ENCODERS["vgg19"]
    assert offered(style) == (PIXELS, *ENCODERS["vgg19"])
    assert style.value == settings.style_layers and content.value == settings.content_layers
    style.chosen = ["relu5_4", *style.chosen]  # the page sends them as they were ticked
    assert panel.settings.style_layers == (*settings.style_layers, "relu5_4")
    panel.controls["encoder"].value = "slim"
    assert offered(content) == ENCODERS["slim"] and panel.settings == settings


def test_encoders_that_need_a_file_are_offered_where_there_is_one(settings, tmp_path):
    assert Panel(settings, tmp_path).controls["encoder"].options == ("slim", "vgg19", "vgg16")
    panel = Panel(replace(settings, encoder=None, weights="vgg_conv.pth"), tmp_path)
    assert panel.controls["encoder"].options == tuple(ENCODERS)
    assert panel.settings.weights == "vgg_conv.pth" and panel.settings.encoder == "vgg"
    panel.controls["encoder"].value = "slim"
    assert panel.settings.encoder == "slim" and panel.settings.weights is None


def test_another_encoders_layers_do_not_steer_the_run(playing):
    playing.controls["encoder"].value = "vgg19"
    style = playing.controls["style_layers"]
    style.chosen = [*style.chosen, "relu5_4"]
    playing.controls["encoder"].value = "slim"
    made = playing.player.step.number
    until(playing, lambda: playing.player.step.number > made + 1)
    assert not playing.run.steering and not playing.problem.value


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_every_control_and_what_has_none(panel, settings, name):
    panel.asked.preset.value = name
    made, wanted = panel.settings, preset(name, settings.content, settings.styles, encoder="slim")
    assert made == replace(wanted, size=made.size)
    assert made.size == (wanted.size or 64), "the content's own width"
    panel.asked.preset.value = "nsutils"
    assert panel.settings == Settings(settings.content, settings.styles)


def test_the_preset_that_is_chosen_is_had_again(panel):
    panel.asked.preset.value = "gatys"
    wanted = panel.settings
    panel.controls["content_weight"].value = 0.5
    panel.controls["style_layers"].chosen = ["relu1_1"]
    assert panel.settings != wanted
    panel.asked.again.click()
    assert panel.settings == wanted


def test_a_preset_can_be_had_with_slim_though_there_are_weights(settings, tmp_path):
    panel = Panel(replace(settings, encoder=None, weights="vgg_conv.pth"), tmp_path)
    panel.controls["encoder"].value = "slim"
    panel.asked.preset.value = "gatys"
    assert (panel.settings.encoder, panel.settings.weights) == ("slim", None)
    panel.controls["encoder"].value = "vgg19-caffe"
    assert panel.settings.weights == "vgg_conv.pth"


def test_a_preset_follows_the_encoder_and_the_size(settings, tmp_path):
    panel = Panel(settings, tmp_path / "runs")
    panel.asked.preset.value = "jcjohnson"
    assert panel.settings.feature_scale > 1
    panel.controls["encoder"].value = "vgg19"
    assert panel.settings.feature_scale == 1
    panel.asked.preset.value = "crowsonkb"
    panel.controls["size"].value = 256
    wanted = preset("crowsonkb", "c", "s", size=256)
    assert panel.settings.scale_steps == wanted.scale_steps
    assert panel.settings.smallest == wanted.smallest


def test_a_preset_chosen_while_a_run_plays_is_for_the_next_one(playing):
    asked, before = playing.asked, playing.player.settings
    asked.preset.value = "gatys"
    assert "gatys: these settings are for a new run" in playing.problem.value
    playing.controls["style_weight"].value = 2000.0
    assert "for a new run" in playing.problem.value and "bad" in playing.problem.value
    assert playing.player.settings == before and not playing.run.steering
    asked.preset.value = THIS
    assert playing.controls["style_weight"].weight == before.style_weight
    asked.again.click()
    assert playing.player.settings == before and not playing.problem.value
    playing.controls["style_weight"].value = 2.0
    until(playing, lambda: playing.run.steering)
    assert playing.run.steering[0]["style_weight"] == 2.0


def test_a_run_does_not_go_on_with_a_presets_settings(panel, settings):
    run = played(panel)
    panel.asked.preset.value = "crowsonkb"
    for act in (panel.buttons.pause, panel.view.seen.fork):
        panel.problem.value, panel.view.seen.viewer.step = "", 6
        act.click()
        assert "for a new run" in panel.problem.value
    assert panel.run is run and run.status == "done" and not run.steering
    panel.buttons.run.click()
    panel.stop()
    assert panel.wait() is not run and panel.run.settings.tv_weight == 2.0


def test_after_undo_the_controls_are_the_runs_again(panel, settings):
    played(panel)
    panel.controls["steps"].value = 16
    panel.controls["style_weight"].value = 2.0
    panel.buttons.pause.click()
    panel.wait()
    panel.asked.preset.value = "gatys"
    panel.buttons.undo.click()
    assert panel.asked.preset.value == THIS and "press Go on" in panel.problem.value
    for name in ("content_weight", "tv_weight"):
        assert panel.controls[name].weight == getattr(settings, name)


def test_what_the_page_only_rounds_is_no_move(playing):
    playing.controls["style_weight"].value *= 1 + 1e-9
    playing.controls["tv_weight"].value = 0.1
    until(playing, lambda: playing.run.steering)
    assert [*playing.run.steering[0]] == ["step", "tv_weight"]


def test_the_contents_colours_come_back_while_a_run_is_held(playing):
    playing.buttons.pause.click()
    until(playing, lambda: playing.player.status == "paused")
    before = playing.view.seen.viewer.picture
    playing.controls["original_colors"].value = 1.0
    assert playing.view.seen.viewer.picture != before


def test_a_recipes_mask_goes_with_the_recipe(settings, tmp_path):
    astronaut = replace(settings, content=str(sample("astronaut")))
    panel = Panel(astronaut, tmp_path / "runs")
    ended("nsutils faces")
    proposed = panel.protect.brush.ellipse
    assert proposed
    panel.asked.preset.value = "portrait"
    assert panel.settings.mask and not panel.protect.brush.ellipse
    panel.asked.preset.value = "nsutils"
    assert panel.settings.mask is None and panel.protect.brush.ellipse == proposed
    panel.asked.preset.value = "portrait"
    panel.protect.brush.take(Image.new("L", panel.protect.brush.size, "white"))
    panel.asked.preset.value = "nsutils"
    assert panel.settings.mask, "one that was painted stays"


def test_a_weight_below_the_slider_is_not_nothing():
    slider = Weight(1.0, -2, 2)
    slider.put(0.001)
    assert slider.weight == pytest.approx(10 ** (STEP - 2))
    slider.put(0.0)
    assert slider.weight == 0


def test_a_number_that_a_slider_is_moved_to_is_not_rounded_to_its_places():
    slider = Weight(3.0, -2, 2)
    for near in (2.97, 3.01):
        slider.put(near)
        assert slider.weight == near
    heard = []
    slider.observe(lambda _: heard.append(slider.weight), "value")
    slider.put(2.0)
    assert slider.weight == 2.0 != slider.value and heard == [2.0]
    slider.value *= 10**STEP
    assert slider.weight == slider.value
    slider.put_towards(5.0)
    assert slider.weight == slider.value == pytest.approx(5.0, rel=0.06)
    slider.value = 3.0
    assert slider.weight == 3.0


def test_a_preset_keeps_pictures_chosen_since(panel, style):
    panel.asked.content.value = style
    panel.asked.preset.value = "gatys"
    assert panel.settings.content == style and panel.settings.optimizer == "lbfgs"


def test_the_contents_colours_come_back_at_once_when_the_run_is_done(settings, tmp_path):
    panel = Panel(replace(settings, steps=6, scale_steps=()), tmp_path / "runs")
    played(panel)
    before, made = shown(panel.view.seen.viewer), panel.run.metrics
    panel.controls["original_colors"].value = 1.0
    kept = shown(panel.view.seen.viewer)
    difference = ImageChops.difference(kept.convert("YCbCr"), before.convert("YCbCr"))
    (_, light), *others = difference.getextrema()
    assert light <= 12 < max(high for _, high in others)
    assert panel.run.metrics == made and panel.run.status == "done"
    assert panel.run.steering == [{"step": 6, "original_colors": 1.0}]
    again = Run(panel.run.folder).picture()
    assert ImageChops.difference(again, kept.resize(again.size)).getextrema()[0][1] < 40


def test_the_forecast_follows_the_controls_until_a_run_begins(panel):
    panel.controls["steps"].value = 1000
    assert panel.foreseen.ready.wait(60)
    long = panel.foreseen.value
    assert long.startswith("Forecast: about ") and "of memory" in long
    panel.controls["steps"].value = 10
    assert panel.foreseen.ready.wait(60)
    assert panel.foreseen.value != long
    short = panel.foreseen.value
    panel.buttons.run.click()
    panel.controls["steps"].value = 20
    panel.player.wait()
    assert panel.foreseen.value == short, "time left says more"


def test_python_does_not_end_under_a_forecast_that_a_players_thread_asked_for(panel):
    daemons = []

    def asked():
        daemons.append(threading.current_thread().daemon)
        return panel.settings

    assert panel.foreseen.ready.wait(60)
    player = threading.Thread(target=panel.foreseen.follow, args=(asked,), daemon=True)
    player.start()
    player.join()
    assert panel.foreseen.ready.wait(60) and daemons == [False]


def test_no_weights_are_fetched_for_a_forecast(panel):
    panel.controls["encoder"].value = "vgg16"
    assert panel.foreseen.ready.wait(60)
    assert panel.foreseen.value.startswith("Forecast: none before")


def test_a_stopped_run_goes_on_to_the_same_picture(panel, settings, tmp_path):
    panel.buttons.run.click()
    until(panel, lambda: panel.player.step and panel.player.step.number >= 5)
    panel.buttons.stop.click()
    stopped = panel.wait()
    assert panel.buttons.pause.description == "Go on"
    panel.buttons.pause.click()
    assert panel.wait() is stopped and stopped.status == "done"
    assert not panel.view.tiles.awaited and list(images(panel))[-1] == "result"
    unbroken = Player(Run.create(tmp_path / "unbroken", settings)).play()
    assert stopped.result.read_bytes() == unbroken.result.read_bytes()


def test_a_finished_run_goes_on_to_more_iterations(panel):
    run = played(panel)
    panel.buttons.pause.click()
    assert "move Iterations up" in panel.problem.value
    panel.controls["steps"].value = 16
    panel.buttons.pause.click()
    panel.wait()
    assert panel.run is run or panel.run.folder == run.folder
    assert len(run.metrics) == 16 and run.steering == [{"step": 12, "steps": 16}]
    assert panel.view.progress.value == panel.view.progress.max == 16
    panel.buttons.undo.click()
    assert panel.view.progress.max == 16 and "that are made stay" in panel.problem.value


def test_a_prolonged_run_that_is_opened_again_has_all_its_pictures(settings, encoder, tmp_path):
    run = Player(Run.create(tmp_path / "runs" / "run", replace(settings, every=3)), encoder).play()
    player = Player(run, encoder)
    player.steer(steps=20, every=5)
    player.play()
    panel = Panel(Run(run.folder), tmp_path / "runs")
    made = [name for name in images(panel) if isinstance(name, int)]
    assert made == [0, 3, 6, 9, 12, 15] and [*run.images] == [*made, 20]
    assert not any(map(flat, images(panel).values()))
    assert panel.view.progress.bar_style == "success"


def test_a_run_without_its_kept_pictures_is_shown(settings, encoder, tmp_path):
    run = Player(Run.create(tmp_path / "runs" / "run", settings), encoder).play()
    for file in run.images.values():
        file.unlink()
    panel = Panel(Run(run.folder), tmp_path / "runs")
    assert list(images(panel)) == ["content", "style", "result"]


def test_no_tile_waits_for_a_step_that_was_not_kept(panel):
    panel.controls["steps"].value = 1000
    panel.play()
    until(panel, lambda: panel.player.step and panel.player.step.number >= 3)
    panel.buttons.pause.click()
    until(panel, lambda: panel.player.status == "paused")
    number = panel.player.step.number
    panel.controls["steps"].value = 10 * number  # so that each so many are kept
    panel.view.tell()
    panel.buttons.pause.click()
    until(panel, lambda: panel.player.step.number > number)
    panel.controls["steps"].value = 9 * number
    panel.wait()
    assert number not in panel.run.images
    assert not any(map(flat, images(panel).values()))


def left(run, after):
    """The run, played up to a step."""
    for step in Player(run):
        if step.number == after:
            break
    return run


def test_a_kept_run_is_taken_up_with_its_settings_and_pictures(settings, tmp_path):
    asked = replace(settings, style_weight=3.0, content_layers=("relu1_2",))
    run = left(Run.create(tmp_path / "runs" / "kept", asked), 6)
    panel = Panel(Run(run.folder), tmp_path / "runs")
    assert panel.settings == panel.player.settings
    assert re.match(r"Stopped: step 6 of 12, .* after 0:\d\d$", panel.view.said.value)
    panel.asked.styles.add.click()
    pickers = panel.asked.content, panel.asked.styles.rows[0].picker
    assert [picker.list.label for picker in pickers] == ["content.png", "style.png"]
    panel.asked.styles.rows[1].remove.click()
    assert not flat(images(panel)[4]) and panel.view.tiles.awaited >= {8, 10}
    panel.buttons.pause.click()
    assert panel.wait().status == "done" and len(panel.run.metrics) == 12


def test_a_run_whose_process_was_killed_is_offered_to_go_on(settings, tmp_path):
    run = left(Run.create(tmp_path / "runs" / "cut", settings), 6)
    run.note(status="playing", pid=2**22 + 1)
    panel = Panel(settings, tmp_path / "runs")
    assert panel.player is None and panel.left.layout.display == ""
    assert "6 of 12 steps" in panel.left.description
    panel.left.click()
    assert panel.wait().status == "done" and len(panel.run.metrics) == 12
    assert panel.left.layout.display == "none"
    assert Panel(settings, tmp_path / "runs").left.layout.display == "none"


def test_a_damaged_kept_picture_holds_up_no_run_that_was_left(settings, tmp_path, monkeypatch):
    run = left(Run.create(tmp_path / "runs" / "cut", settings), 6)
    run.images[2].write_bytes(b"no picture")
    panel = Panel(settings, tmp_path / "runs")
    monkeypatch.setattr("nsutils.panel.display", lambda *_, **__: None)
    monkeypatch.setattr("nsutils.widgets.view.display", lambda *_, **__: Handle())
    panel._ipython_display_()
    panel.left.click()
    assert panel.wait().status == "done" and not panel.problem.value
    assert 2 not in images(panel) and not flat(images(panel)[4])
    panel.view.seen.viewer.step = 2
    assert "the picture of step 2 is damaged" in panel.view.seen.viewer.caption


class Handle:
    """Takes what is displayed."""

    def update(self, data, raw):
        assert data


def test_undo_moves_the_sliders_of_a_runs_styles_beside_a_row_for_the_next(playing):
    playing.asked.styles.add.click()
    first, second = playing.asked.styles.rows
    first.scale.value, second.scale.value = 1.5, 0.5
    until(playing, lambda: playing.player.step.settings.styles[0].scale == 1.5)
    playing.buttons.undo.click()
    assert first.scale.value == 1.0 and second.scale.value == 0.5
    assert playing.player.settings.styles[0].scale == 1.0


def test_what_a_preview_added_is_not_undone_when_it_is_made(previewed):
    previewed.controls["style_weight"].put(3.0)
    until(previewed, lambda: previewed.player.status == "paused" and previewed.player._number > 6)
    previewed.buttons.pause.click()
    run = previewed.wait()
    previewed.buttons.undo.click()
    steps = run.made
    assert f"step {steps} of {steps}," in previewed.view.said.value
    assert not flat(images(previewed)["result"])
    assert "Taken back: Style weight;" in previewed.problem.value


def test_a_panel_whose_run_another_takes_over_says_so_and_lets_go(playing, settings, tmp_path):
    other, player = Panel(settings, tmp_path / "runs"), playing.player
    other.left.click()
    assert other.player is player and playing.player is None
    playing.controls["style_weight"].put(3.0)
    assert player.settings.style_weight == 1, "its sliders are for the next run"
    assert "Another panel shows this run now" in playing.view.said.value
    assert all(button.disabled for button in playing.buttons.children[1:])
    assert not playing.buttons.run.disabled


def test_a_run_that_has_not_begun_is_said_to_wait(settings, tmp_path):
    panel = Panel(Run.create(tmp_path / "runs" / "new", settings), tmp_path / "runs")
    assert "Not begun: press Go on" in panel.view.said.value
    panel.buttons.pause.click()
    assert panel.wait().status == "done"


def test_a_report_is_written_and_can_be_saved(panel):
    panel.buttons.report.click()
    run = played(panel)
    panel.buttons.report.click()
    link = panel.reported.value.split('href="data:text/html;base64,')[1].split('"')[0]
    assert base64.b64decode(link) == (run.folder / "report.html").read_bytes()
    assert 'download="' in panel.reported.value


def test_a_mask_of_another_shape_stays_the_runs_own(settings, encoder, tmp_path):
    half(64, 64).save(mask := tmp_path / "square.png")
    asked = replace(settings, mask=str(mask), protection=1.0, every=4)
    assert Panel(asked, tmp_path / "runs").settings.mask == str(mask)
    run = Player(Run.create(tmp_path / "runs" / "run", asked)).play()
    panel = Panel(Run(run.folder), tmp_path / "runs")
    assert panel.settings.mask == run.settings.mask and not panel.problem.value
    panel.protect.path.value = str(mask)
    assert "does not fit a picture" in panel.protect.problem.value
    Path(run.settings.mask).unlink()
    kept = pictures.opened(panel.settings.mask)
    assert kept.size == (64, 40) and kept.getpixel((5, 20)) > (200,) * 3 > kept.getpixel((60, 20))


@pytest.mark.parametrize("painted", [True, False])
def test_a_fork_of_a_masked_run_is_the_same_run_while_nothing_is_changed(
    settings, tmp_path, painted
):
    half().save(mask := tmp_path / "mask.png")
    asked = replace(settings, every=4, mask=None if painted else str(mask))
    panel = Panel(asked, tmp_path / "runs")
    if painted:
        panel.protect.brush.take(half())
    run = played(panel)
    panel.view.seen.viewer.step = 4
    panel.view.seen.fork.click()
    forked = panel.wait()
    assert forked.folder != run.folder and not forked.steering
    assert [row["total"] for row in forked.metrics] == [row["total"] for row in run.metrics]


def test_a_painted_mask_goes_into_the_run_and_one_painted_later_steers_it(settings, tmp_path):
    panel = Panel(replace(settings, steps=ENDLESS), tmp_path / "runs")
    panel.protect.brush.take(half())
    panel.buttons.run.click()
    until(panel, lambda: panel.player.step and panel.player.step.number >= 3)
    kept = pictures.opened(panel.run.settings.mask).convert("L")
    assert kept.getpixel((5, 20)) == 255 and kept.getpixel((60, 20)) == 0
    panel.protect.brush.mask = b""
    until(panel, lambda: panel.player.step.settings.mask is None)
    panel.buttons.undo.click()
    until(panel, lambda: panel.player.step.settings.mask is not None)
    assert panel.protect.brush.image.getpixel((5, 20)) == 255
    panel.player.close()
    assert [line.get("mask") is None for line in panel.run.steering] == [True, False]
    assert Panel(Run(panel.run.folder)).protect.brush.image.getpixel((5, 20)) == 255


def test_a_face_is_proposed_and_a_mask_that_is_there_is_left_alone(settings, tmp_path):
    face = replace(settings, content=sample("astronaut"), size=64)
    panel = Panel(face, tmp_path / "runs")
    ended("nsutils faces")
    x, y = panel.protect.brush.ellipse[:2]
    assert (x, y) == (pytest.approx(0.44, abs=0.05), pytest.approx(0.25, abs=0.05))
    assert panel.settings.mask is None


def test_shares_are_shown_and_one_that_is_asked_for_moves_the_weight(playing):
    bars = playing.asked.shares
    until(playing, lambda: playing.player.shares and bars["style"].share >= 0)
    terms = sum(bar.share for bar in bars.values())
    assert terms == pytest.approx(1, abs=0.01)
    layers = playing.controls["style_layers"].shares
    assert sum(layers.values()) == pytest.approx(bars["style"].share, abs=0.01)
    playing.player.pause()
    until(playing, lambda: playing.player.status == "paused")
    now, weight = bars["style"].share, playing.controls["style_weight"].weight
    bars["style"].asked = 0.5
    asked = playing.controls["style_weight"].weight
    place = 10 ** (STEP / 2)  # the weight goes to the nearest of the slider's places
    assert 1 / place < asked / weight / ((1 - now) / now) < place
    assert bars["style"].asked == -1 and playing.player.settings.style_weight == asked
    assert bars["style"].share == pytest.approx(0.5, abs=0.03)
    assert sum(bar.share for bar in bars.values()) == pytest.approx(1, abs=0.01)
    bars["style"].asked = bars["style"].share - 0.01
    assert 0.8 * asked < playing.controls["style_weight"].weight < asked, "less was asked for"


def test_the_weight_for_a_share_brings_it(settings, encoder):
    image = torch.rand(1, 3, 40, 64, generator=torch.Generator().manual_seed(4))

    def share(**weights):
        given = replace(settings, **weights)
        made = Objective(given, encoder, *Sources(given).at((40, 64), encoder.device))
        return made.slope(image, weighed=True)[2]["content"]

    now = share()
    wanted = weight_for(0.3, settings.content_weight, now)
    assert share(content_weight=wanted) == pytest.approx(0.3, abs=1e-3) != now


def test_layers_have_weights_and_sets_to_choose(playing):
    layers = playing.controls["style_layers"]
    layers.weights = {"relu1_1": 3.0}
    until(playing, lambda: playing.player.step.settings.layer_weights == {"relu1_1": 3.0})
    layers.chosen = layers.choices["Gatys"]
    assert playing.settings.style_layers == tuple(n for n in ENCODERS["slim"] if n.endswith("_1"))
    layers.chosen = layers.choices["nsutils"]
    assert playing.settings.style_layers == Settings.style_layers
    assert "24 pixels" in next(row["sight"] for row in layers.known if row["layer"] == "relu3_1")


def test_a_run_waits_at_its_preview_follows_sliders_and_climbs(previewed):
    panel = previewed
    assert panel.view.said.value.startswith("Preview: step 6 of 9, 128")
    panel.controls["style_weight"].value = 3.0
    until(panel, lambda: panel.player.status == "paused" and panel.player.step.number > 6)
    made = panel.player.step.number
    assert panel.controls["steps"].value == panel.player.settings.steps == 9 + made - 6
    panel.buttons.pause.click()
    run = panel.wait()
    assert run.status == "done" and len(run.metrics) == panel.player.settings.steps
    assert pictures.opened(run.result).size == (160, 120)


def test_a_kept_step_is_looked_at_compared_and_forked_from(panel):
    first = played(panel)
    panel.view.seen.pin.click()
    panel.view.tiles.tiles[6].children[1].click()
    assert panel.view.seen.viewer.step == 6 and panel.view.seen.viewer.caption.endswith("step 6")
    assert shown(panel.view.seen.viewer).size == pictures.opened(first.images[6]).size
    assert panel.view.seen.viewer.other and panel.view.seen.against.value == "the pinned picture"
    panel.controls["style_weight"].value = 4.0
    panel.view.seen.fork.click()
    run = panel.wait()
    assert run.folder != first.folder and run.status == "done" and len(run.metrics) == 12
    assert run.meta["parent"]["step"] == 6 and run.steering == [{"step": 6, "style_weight": 4.0}]
    assert run.metrics[:6] == first.metrics[:6]
    assert "Style weight 1 → <b>4</b>" in panel.view.seen.differs.value
    panel.view.seen.viewer.step = 6
    panel.controls["size"].value = 52
    panel.view.seen.fork.click()
    assert panel.wait().steering[-1]["size"] == 52
    assert max(panel.player.step.shape) == 58, "no step is coarser than the one it leaves"


def test_a_second_style_is_blended_in_with_its_share_and_scale(panel, style):
    styles = panel.asked.styles
    styles.add.click()
    styles.rows[1].weight.value, styles.rows[1].scale.value = 3.0, 0.5
    asked = played(panel).settings.styles
    assert [(one.weight, one.scale) for one in asked] == [(1.0, 1.0), (3.0, 0.5)]
    styles.rows[0].remove.click()
    assert [one.scale for one in panel.settings.styles] == [0.5]


def test_the_neighbourhood_is_painted_and_one_of_it_chosen(panel):
    around = panel.neighbours
    around.button.click()
    ended("nsutils neighbours")
    assert len(around.around) == 9 and not around.tiles.awaited, around.said.value
    tiles = list(around.tiles.tiles.values())
    assert len({shown(tile.children[0]).tobytes() for tile in tiles}) == 9
    before = panel.settings
    around.down.value = "tv_weight"  # of the next nine, not of these
    tiles[0].children[1].click()
    assert panel.settings.tv_weight == before.tv_weight
    assert panel.settings.style_weight == pytest.approx(before.style_weight / FACTOR)
    assert panel.settings.content_weight == pytest.approx(before.content_weight / FACTOR)


def test_a_tile_that_is_empty_shows_the_newest_picture(panel):
    panel.view.tiles.tiles[6].children[1].click()
    assert panel.view.seen.fork.disabled
    assert "looked-at" not in panel.view.tiles.tiles[6]._dom_classes
    panel.view.seen.pin.click()
    assert panel.view.seen.viewer.other_caption == "content"


def test_a_word_is_said_beside_the_picture(settings, tmp_path):
    panel = Panel(replace(settings, style_weight=1e-6), tmp_path / "runs")
    played(panel)
    assert "style has hardly come" in panel.view.word.value


def test_skin_keeps_its_colours_at_once_when_the_run_is_done(settings, tmp_path):
    mask = tmp_path / "mask.png"
    Image.new("L", (64, 40), 255).save(mask)
    panel = Panel(replace(settings, mask=str(mask)), tmp_path / "runs")
    before, tile = played(panel).result.read_bytes(), shown(images(panel)["result"])
    panel.controls["mask_colors"].value = 1.0
    assert panel.run.result.read_bytes() != before and shown(images(panel)["result"]) != tile
    assert panel.run.steering == [{"step": 12, "mask_colors": 1.0}]
    panel.buttons.undo.click()
    with Image.open(io.BytesIO(before)) as image:
        assert pictures.opened(panel.run.result).tobytes() == image.convert("RGB").tobytes()
    assert shown(images(panel)["result"]) == tile


def test_a_mask_is_read_from_a_file_and_can_be_a_styles_place(panel, tmp_path):
    protect = panel.protect
    half().save(tmp_path / "half.png")
    protect.path.value = str(tmp_path / "none.png")
    assert "none.png" in protect.problem.value and panel.settings.mask is None
    protect.path.value = str(tmp_path / "half.png")
    assert not protect.problem.value and pictures.opened(panel.settings.mask).size == (64, 40)
    panel.asked.styles.add.click()
    panel.asked.styles.rows[1].place.click()
    assert panel.settings.mask is None, "the brush is free for the next"
    first, second = played(panel).settings.styles
    assert first.where is None and pictures.opened(second.where).getpixel((5, 5)) == (255,) * 3
    panel.asked.styles.rows[1].place.click()
    assert panel.settings.styles[1].where is None


def test_a_double_click_begins_one_run(settings, tmp_path):
    panel = Panel(replace(settings, steps=ENDLESS), tmp_path / "runs")
    panel.buttons.run.click()
    panel.buttons.run.click()
    panel.player.close()
    assert len(list((tmp_path / "runs").glob("*/settings.json"))) == 1


def test_a_new_panel_offers_the_run_that_another_paints_and_the_last_that_was_stopped(
    playing, settings, tmp_path
):
    again, player = Panel(settings, tmp_path / "runs"), playing.player
    assert "being painted" in again.left.description
    again.left.click()
    assert again.asked.styles.rows[0].picker.list.label == Path(settings.styles[0].picture).name
    assert again.player is player and again.settings.steps == ENDLESS
    assert again.view.seen.viewer.steps[0] == 0
    drawn = playing.view.progress.value
    made = again.player.step.number
    until(again, lambda: again.view.progress.value > made)
    assert playing.view.progress.value == drawn, "one panel draws it"
    again.buttons.stop.click()
    run = again.wait()
    later = Panel(settings, tmp_path / "runs")
    assert "Go on with the last run" in later.left.description
    later.left.click()
    until(later, lambda: len(run.metrics) > run.meta["steps"])
    assert later.run.folder == run.folder
    last = Panel(settings, tmp_path / "runs")
    assert "being painted" in last.left.description
    last.play()
    assert not later.player.playing, "the one that was out of sight makes room"
    last.player.close()


def test_any_tile_can_be_looked_at(panel):
    played(panel)
    seen = panel.view.seen
    for name in ("style", "result", "content", 6, "style", "result"):
        panel.view.tiles.tiles[name].children[1].click()
        marked = [
            each
            for each, tile in panel.view.tiles.tiles.items()
            if "looked-at" in tile._dom_classes
        ]
        assert marked == [name]
        expected = {"style": "style", "content": "content", 6: f"{panel.run.folder.name}, step 6"}
        assert seen.viewer.caption == expected.get(name, panel.run.folder.name)
        assert shown(seen.viewer).size == seen.looked_at[0].size
    assert seen.viewer.width == 64, "the picture's own pixels, whatever size it is shown in"


def test_few_iterations_come_to_the_full_size(settings, tmp_path):
    panel = Panel(replace(settings, steps=110, scale_steps=None), tmp_path / "runs")
    panel.controls["steps"].value = 10
    assert played(panel).status == "done" and max(panel.player.step.shape) == 64


def test_a_place_needs_a_mark(panel):
    panel.asked.styles.rows[0].place.click()
    assert "nothing is marked" in panel.asked.styles.rows[0].picker.problem.value
    assert panel.settings.styles[0].where is None
    panel.protect.brush.take(half())
    panel.asked.styles.rows[0].place.click()
    assert panel.settings.styles[0].where and not panel.asked.styles.rows[0].picker.problem.value


def test_what_is_refused_leaves_no_trace(panel):
    run = played(panel)
    panel.controls["steps"].value = 10
    panel.go_on()
    panel.controls["original_colors"].value = 0.5
    assert "move Iterations up" in panel.problem.value or not panel.problem.value
    assert [set(line) for line in run.steering] == [{"step", "original_colors"}]
    panel.controls["steps"].value = 14
    panel.go_on()
    assert panel.wait().status == "done" and panel.player.step.number == 14


def test_a_pause_that_comes_after_stop_does_not_hold_the_run_when_it_goes_on(playing):
    playing.player.stop()
    playing.player.pause()
    playing.wait()
    made = playing.player.step.number
    playing.go_on()
    until(playing, lambda: playing.player.step.number > made + 2)


def test_a_style_may_be_changed_while_it_plays_and_the_change_taken_back(playing):
    styles = playing.asked.styles
    styles.add.click()
    styles.rows[1].weight.value = 3.0
    assert playing.player.settings.styles == playing.run.settings.styles, (
        "another one is for the next run"
    )
    playing.play()
    until(playing, lambda: playing.player.step and playing.player.step.number >= 1)
    styles.rows[1].weight.value, styles.rows[1].scale.value = 1.0, 0.5
    changed = len(playing.run.metrics) + 2
    until(playing, lambda: playing.player.step.number >= changed)
    shares = [(style.weight, style.scale) for style in playing.player.step.settings.styles]
    assert shares == [(1.0, 1.0), (1.0, 0.5)]
    playing.buttons.undo.click()
    assert (styles.rows[1].weight.value, styles.rows[1].scale.value) != (1.0, 0.5)


def test_a_large_picture_is_seen_by_its_own_pixels_at_the_end(tmp_path):
    pictures.to_image(colourful(500, 800, 1)).save(tmp_path / "large.png")
    picture = str(tmp_path / "large.png")
    few = {"style_layers": "pixels", "content_layers": "relu1_1", "octaves": 1}
    panel = Panel(Settings(picture, picture, size=800, steps=1, **few), tmp_path / "runs")
    played(panel)
    assert shown(panel.view.seen.viewer).width == panel.view.seen.viewer.width == 800


def upright(folder):
    """Another content, higher than wide."""
    path = folder / "upright.png"
    pictures.to_image(colourful(120, 80, 3)).save(path)
    return str(path)


def own_colours(settings, tmp_path):
    """The settings with a mask on the left half, whose colours stay."""
    half().save(mask := tmp_path / "left.png")
    return replace(settings, mask=str(mask), mask_colors=1.0)


def test_the_next_content_and_what_is_marked_on_it_leave_the_run_in_hand_alone(settings, tmp_path):
    panel = Panel(own_colours(settings, tmp_path), tmp_path / "runs")
    run, brush = played(panel), panel.protect.brush
    before, mask = run.result.read_bytes(), brush.image
    panel.asked.content.choose(upright(tmp_path))
    assert brush.image is None
    brush.take(Image.new("L", (80, 120), 255))
    panel.buttons.undo.click()
    assert "no change to take back" in panel.problem.value and brush.image.size == (80, 120)
    assert not run.steering and run.result.read_bytes() == before
    panel.view.seen.viewer.step = 6
    panel.view.seen.fork.click()
    assert pictures.opened(panel.wait().settings.mask) == mask.convert("RGB")
    assert not panel.run.steering
    brush.mask = b""
    assert not panel.run.steering, "the fork is of the content before"
    panel.asked.content.choose(settings.content)
    assert brush.image == mask and not panel.run.steering
    other = Run.create(tmp_path / "other", replace(settings, content=upright(tmp_path)))
    forked = panel.run
    panel.open(other)
    assert brush.image is None and not forked.steering


def test_a_panel_hears_its_sliders_after_a_mask_that_cannot_be_read(panel, settings, tmp_path):
    asked = replace(own_colours(settings, tmp_path), mask_colors=0.0)
    run = left(Run.create(tmp_path / "run", asked), 3)
    (run.folder / "inputs" / "mask.png").write_bytes(b"no picture")
    panel.open(run)
    assert "mask.png" in panel.problem.value and panel.protect.brush.image is None
    panel.controls["original_colors"].value = 0.5
    assert run.steering == [{"step": 3, "original_colors": 0.5}]


def test_layers_keep_the_order_in_which_they_were_given(settings, tmp_path):
    asked = replace(settings, style_layers=("relu2_1", PIXELS, "relu1_1"))
    run = left(Run.create(tmp_path / "run", asked), 9)
    panel = Panel(run, tmp_path)
    assert panel.settings == panel.player.settings
    panel.go_on()
    assert panel.wait().status == "done" and not run.steering
    layers = panel.controls["style_layers"]
    layers.chosen = [*layers.chosen, "relu1_2"]
    assert panel.settings.style_layers == (PIXELS, "relu1_1", "relu1_2", "relu2_1")
    layers.value = ("relu1_1", "relu4_9")
    assert layers.value == ("relu1_1",), "the network has no other"


@pytest.mark.parametrize(("side", "edge"), [("long", 120), ("short", 80), ("width", 80)])
def test_a_contents_own_size_is_that_of_the_side_that_counts(settings, tmp_path, side, edge):
    asked = replace(settings, content=upright(tmp_path), size=None, side=side)
    assert Panel(asked, tmp_path / "runs").settings.size == edge


def test_every_network_has_the_layers_that_can_be_chosen_at_once():
    for network in ENCODERS.values():
        for layers in (*STYLE_CHOICES.values(), *CONTENT_CHOICES.values()):
            assert {*layers} <= {PIXELS, *network}


def test_a_layers_sight_is_that_of_its_network():
    assert "68 pixels" in sight("relu4_1", VGG19) and "156 pixels" in sight("relu5_1", VGG19)
    assert "60 pixels" in sight("relu4_1", VGG16) and "132 pixels" in sight("relu5_1", VGG16)


def test_a_pinned_step_has_the_settings_that_it_was_made_under(steered_run, tmp_path):
    panel = Panel(steered_run, tmp_path)
    panel.view.seen.viewer.step = 6
    panel.view.seen.pin.click()
    assert "were the same" in panel.view.seen.differs.value, "a picture beside itself"
    panel.view.seen.viewer.step = 8
    assert "Style weight 1 → <b>4</b>" in panel.view.seen.differs.value
    panel.view.seen.pin.click()
    assert "were the same" in panel.view.seen.differs.value
    panel.view.seen.viewer.step = 6
    assert "Style weight 4 → <b>1</b>" in panel.view.seen.differs.value


def test_settings_that_differ_are_words_alone(settings):
    told = difference(replace(settings, encoder="vgg", weights="<i>.pth"), settings)
    assert "weights &lt;i&gt;.pth → <b>-</b>" in told


def test_a_run_without_a_step_is_shown(panel, settings, tmp_path):
    panel.open(Run.create(tmp_path / "run", settings))
    assert "ready, 0 of 12 steps" in recipe_line(panel.player)


@pytest.mark.parametrize("damage", ["{", "[]"])
def test_a_damaged_run_is_not_offered(settings, tmp_path, damage):
    run = left(Run.create(tmp_path / "runs" / "hurt", settings), 1)
    assert Panel(settings, tmp_path / "runs").left.found.folder == run.folder
    (run.folder / "settings.json").write_text(damage)
    offer = Panel(settings, tmp_path / "runs").left
    assert offer.found is None and offer.layout.display == "none"


@pytest.mark.parametrize("wrong", ["~nobody.png", 300 * "x"])
def test_a_path_that_cannot_be_is_said(panel, content, wrong):
    panel.asked.content.path.value = panel.protect.path.value = wrong
    for said in (panel.asked.content.problem.value, panel.protect.problem.value):
        assert wrong in said
    assert panel.asked.content.value == content


def ended(name):
    """Waits until no thread of that name is at work."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)


def test_a_face_is_proposed_in_its_own_picture_alone(content, tmp_path, monkeypatch):
    slow = threading.Event()

    def portrait(image):
        return faces.Ellipse(0.5, 0.5, 0.2, 0.2) if image.width == 64 and slow.wait(60) else None

    monkeypatch.setattr(faces, "portrait", portrait)
    protect = Protect(tmp_path / "uploads")
    protect.show(content)
    protect.show(upright(tmp_path))
    slow.set()
    ended("nsutils faces")
    assert not protect.brush.ellipse and "face was found:" not in protect.said.value
    protect.show(content)
    ended("nsutils faces")
    assert protect.brush.ellipse[:2] == [0.5, 0.5]


def test_a_neighbourhood_that_is_asked_for_twice_is_painted_once_without_a_word(panel):
    around, said = panel.neighbours, []
    around.said.observe(lambda change: said.append(change["new"]), "value")
    around.button.click()
    around.button.click()
    ended("nsutils neighbours")
    assert not around.tiles.awaited and not [words for words in said if "alert" in words]


def test_a_forecast_that_fails_is_not_the_last(panel):
    def full():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    ended("nsutils forecast")
    panel.foreseen.follow(full)
    assert panel.foreseen.ready.wait(10) and not panel.foreseen.value
    panel.foreseen.follow(lambda: panel.settings)
    assert panel.foreseen.ready.wait(60) and panel.foreseen.value.startswith("Forecast: ")


def test_what_is_made_anew_is_closed(panel):
    styles, open_ = panel.asked.styles, []
    for name in ("gatys", "nsutils", "gatys", "nsutils"):
        panel.asked.preset.value = name
        styles.add.click()
        styles.rows[1].remove.click()
        open_.append(len(_instances))
    assert open_[:2] == open_[2:]
    assert plays(panel)


def test_a_weight_that_the_page_puts_on_its_grid_is_still_the_one_that_was_given():
    slider = Weight(0.07, -3, 1)
    slider.value = 0.07000000000000009
    assert slider.weight == 0.07
    slider.value = 0.08
    assert slider.weight == 0.08


def test_a_mark_for_a_style_of_the_next_run_leaves_the_one_in_hand_protected(playing):
    playing.protect.brush.take(half())
    until(playing, lambda: playing.player.step.settings.mask)
    playing.asked.styles.add.click()
    playing.asked.styles.rows[1].place.click()
    assert playing.asked.styles.value[1].where and not playing.protect.brush.mask
    until(playing, lambda made=playing.player.step.number: playing.player.step.number > made + 2)
    assert playing.player.settings.mask


def test_every_style_has_a_tile(panel):
    panel.asked.styles.add.click()
    played(panel)
    assert list(panel.view.tiles.tiles)[:3] == ["content", "style 1", "style 2"]
    panel.view.tiles.tiles["style 2"].children[1].click()
    assert "looked-at" in panel.view.tiles.tiles["style 2"]._dom_classes


def test_iterations_that_are_refused_are_not_left_on_the_slider(playing):
    until(playing, lambda: playing.player.step.number > 20)
    playing.controls["steps"].value = 20
    assert "made already; press Stop to end here" in playing.problem.value
    assert playing.player.playing
    assert playing.controls["steps"].value == playing.player.settings.steps


def test_a_run_whose_folder_is_gone_is_said_to_be_so(playing):
    folder = playing.run.folder
    folder.rename(folder.with_name("elsewhere"))  # in one move, as it is being written to
    with pytest.raises(OSError, match="folder is gone"):
        playing.wait()
    assert "begin a new run" in playing.problem.value


def test_a_slider_that_is_drawn_for_some_steps_is_one_change_and_undo_moves_it_back(playing):
    begun = playing.settings.style_weight
    for weight in (3.0, 10.0, 30.0):
        playing.controls["style_weight"].value = weight
        until(playing, lambda w=weight: playing.player.step.settings.style_weight == w)
    playing.buttons.undo.click()
    until(playing, lambda: playing.player.step.settings.style_weight == begun)
    assert playing.settings.style_weight == begun and not playing.player.undoable
    playing.buttons.undo.click()
    assert "no change to take back" in playing.problem.value


def test_what_is_undone_is_named_and_how_it_comes_to_be_seen(steered_run, tmp_path):
    panel = Panel(steered_run, tmp_path)
    panel.buttons.undo.click()
    assert "Style weight; to see it, move Iterations up and press Go on" in panel.problem.value


def test_pause_and_stop_are_said_at_once_and_a_pause_can_be_taken_back(playing):
    reached, held = threading.Event(), threading.Event()
    playing.player.listeners.append(lambda _: (reached.set(), held.wait(60)))
    assert reached.wait(60)
    playing.buttons.pause.click()
    assert "Pausing after this step" in playing.view.said.value
    assert playing.buttons.pause.description == "Resume"
    playing.buttons.pause.click()
    assert playing.buttons.pause.description == "Pause" and not playing.player.pausing
    playing.buttons.stop.click()
    assert "Stopping after this step" in playing.view.said.value and playing.buttons.stop.disabled
    held.set()
    assert playing.wait().status == "stopped"


def test_the_picture_is_offered_at_the_end(panel):
    run = played(panel)
    link = panel.view.painted.value.split('href="data:image/png;base64,')[1].split('"')[0]
    assert base64.b64decode(link) == run.result.read_bytes()
    assert f'download="{run.folder.name}.png"' in panel.view.painted.value


def test_a_run_of_another_panel_is_stopped_and_that_is_said(playing, settings, tmp_path):
    other = Panel(settings, tmp_path / "runs")
    assert "is being painted" in other.left.description
    other.buttons.run.click()
    assert f"to be gone on with: {playing.run.folder.name}." in other.problem.value
    assert playing.wait().status == "stopped"
    assert other.wait().status == "done"


def test_an_offer_says_how_far_the_run_is(playing, settings, tmp_path):
    other = Panel(settings, tmp_path / "runs")
    playing.buttons.stop.click()
    made = playing.wait().made
    until(playing, lambda: f"was painted ({made} of" in other.left.description)


def test_what_is_said_of_a_face_follows_what_is_marked(settings, tmp_path):
    protect = Protect(tmp_path)
    protect.show(sample("astronaut"))
    ended("nsutils faces")
    assert "use the ellipse" in protect.said.value
    protect.use()
    assert "What is marked is protected" in protect.said.value
    protect.brush.mask = b""
    assert "mark it with the brush" in protect.said.value


def test_strokes_and_choices_are_changes_of_their_own(playing):
    smooth = playing.controls["tv_form"]
    for choice in ("squares", "edges"):
        smooth.value = choice
        until(playing, lambda: playing.player.step.settings.tv_form == smooth.value)
    playing.protect.brush.take(half())
    until(playing, lambda: playing.player.step.settings.mask)
    playing.protect.brush.mask = b""
    until(playing, lambda: not playing.player.step.settings.mask)
    assert not any("further" in line for line in playing.run.steering)
    playing.buttons.undo.click()
    until(playing, lambda: playing.player.step.settings.mask)


def test_a_pause_that_was_asked_for_is_not_forgotten_by_what_follows(playing):
    reached, held = threading.Event(), threading.Event()
    playing.player.listeners.append(lambda _: (reached.set(), held.wait(60)))
    assert reached.wait(60)
    playing.buttons.pause.click()
    playing.controls["original_colors"].value = 0.5
    assert playing.buttons.pause.description == "Resume"
    held.set()
    until(playing, lambda: playing.player.status == "paused")


def test_go_on_waits_at_the_preview_if_it_is_to(settings, tmp_path):
    panel = to_wait(replace(settings, scale_steps=(20,), steps=30), tmp_path)
    until(panel, lambda: panel.player.step and panel.player.step.number >= 2)
    panel.buttons.stop.click()
    panel.wait()
    panel.buttons.pause.click()
    until(panel, lambda: panel.player.status in ("paused", "done"))
    assert "Preview" in panel.view.said.value
    panel.player.close()


def test_a_run_that_waits_is_left_alone_by_another_panel(playing, settings, tmp_path):
    playing.buttons.pause.click()
    until(playing, lambda: playing.player.status == "paused")
    other = Panel(settings, tmp_path / "runs")
    assert played(other).status == "done" and playing.player.status == "paused"


def test_a_styles_slider_that_is_drawn_is_one_change_and_its_place_another(playing):
    (row,) = playing.asked.styles.rows
    scales = [child for child in parts(row) if getattr(child, "description", "") == "Scale"]
    for scale in (1.5, 2.0):
        scales[0].value = scale
        until(playing, lambda s=scale: playing.player.step.settings.styles[0].scale == s)
    assert ["further" in line for line in playing.run.steering] == [False, True]
    playing.buttons.undo.click()
    until(playing, lambda: playing.player.step.settings.styles[0].scale == 1)


def test_a_slider_that_is_drawn_at_the_preview_is_one_change(previewed):
    panel = previewed
    for weight in (3.0, 10.0):
        panel.controls["style_weight"].value = weight
        until(panel, lambda w=weight: panel.player.step.settings.style_weight == w)
    panel.buttons.undo.click()
    assert panel.player.settings.style_weight == 1 and not panel.player.undoable


def test_a_run_past_its_preview_is_not_held_again(settings, content, tmp_path):
    pictures.to_image(colourful(160, 240, 1)).save(content)
    settings = replace(settings, size=240, smallest=130, scale_steps=(3, 20), steps=ENDLESS)
    panel = Panel(settings, tmp_path / "runs")
    panel.hold.value = True
    panel.buttons.run.click()
    until(panel, lambda: panel.player.status == "paused")
    panel.buttons.pause.click()
    until(panel, lambda: panel.player.step.number >= 5)
    panel.buttons.stop.click()
    assert panel.wait().status == "stopped" and panel.hold.value
    panel.buttons.pause.click()
    until(panel, lambda: panel.player.step.number > 25)
    assert panel.player.status == "playing"
    panel.player.close()
