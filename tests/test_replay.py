import base64
import io
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from conftest import colourful
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nsutils import Player, Run, fork, pictures, rerun, samples
from nsutils.parcel import packed, unpacked
from nsutils.replay import likeness
from nsutils.report import report
from nsutils.sources import scales


def pixels(run):
    with Image.open(run.result) as image:
        return np.asarray(image)


def losses(run):
    return [{name: row[name] for name in row if name != "seconds"} for row in run.metrics]


@pytest.fixture
def played(settings, encoder, tmp_path):
    """A run that was steered after steps 3 and 8, and the second change taken back after 9."""
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 3:
            player.steer(style_weight=4.0)
        if step.number == 8:
            player.steer(tv_weight=0.1)
        if step.number == 9:
            player.undo()
    return player.run


def test_a_run_made_again_by_its_record_is_the_same_picture(played, encoder):
    assert [set(line) for line in played.steering] == [
        {"step", "style_weight"},
        {"step", "tv_weight"},
        {"step", "tv_weight", "undo"},
    ]
    again = rerun(played, encoder=encoder)
    assert again.folder != played.folder and again.steering == played.steering
    assert losses(again) == losses(played)
    assert likeness(packed(played), again).same


def test_a_fork_takes_what_settings_take_and_says_what_it_cannot(played):
    made = fork(played, np.int64(4), style_weight=np.float32(2), styles=[{"weight": np.int64(3)}])
    styles = [{"weight": 3.0, "scale": 1.0, "where": None}]
    assert made.steering[-1] == {"step": 4, "style_weight": 2.0, "styles": styles}
    told = {"style_weight": 2.0, "styles": [{"weight": 3.0}]}
    assert made.meta["parent"]["changes"] == told
    before = {*played.folder.parent.iterdir()}
    for step, changes, words in (
        (3.0, {}, "no step 3.0 to fork from"),
        (3, {"styles": [{"wieght": 2}]}, "a style is {'wieght': 2}"),
        (3, {"styles": [None]}, "a style is None"),
        (3, {"styles": [{"where": np.zeros((4, 4))}]}, "where of a style is of type ndarray"),
        (3, {"mask": np.zeros((4, 4))}, "mask is of type ndarray"),
    ):
        with pytest.raises(ValueError, match=words):
            fork(played, step, **changes)
    assert {*played.folder.parent.iterdir()} == before


def test_scales_that_are_chosen_with_the_steps_are_part_of_the_record(settings, encoder, tmp_path):
    settings = replace(settings, scale_steps=None)
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 2:
            player.steer(steps=6, scale_steps=settings.scale_steps)
    again = rerun(player.run, encoder=encoder)
    assert losses(again) == losses(player.run)


def test_a_run_that_was_stopped_is_made_again_up_to_there(settings, encoder, tmp_path):
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 7:
            player.stop()
    again = rerun(player.run, encoder=encoder)
    assert again.status == "stopped" and len(again.metrics) == 7
    assert (pixels(again) == pixels(player.run)).all()


def test_a_run_without_a_step_is_made_again_without_one(settings, encoder, tmp_path):
    run = Run.create(tmp_path / "run", settings)
    again = rerun(run, encoder=encoder)
    assert again.settings.steps == run.settings.steps and again.last is None


def test_a_run_may_be_made_in_the_folder_that_holds_the_others(settings, encoder, tmp_path):
    run = Run.create(tmp_path / "run", settings)
    assert fork(run, 0, tmp_path).folder == tmp_path


def test_a_setting_that_there_is_not_is_refused_by_name(played, encoder):
    with pytest.raises(ValueError, match="no setting 'stile_weight'; perhaps style_weight"):
        fork(played, 3, stile_weight=2)
    with pytest.raises(ValueError, match="no setting 'stile_weight'"):
        Player(played, encoder).steer(stile_weight=2)


NOTED = {
    "photo.jpg": {"xmp": b"<x:xmpmeta>Aunt Mary</x:xmpmeta>"},
    "remark.jpg": {"comment": "Aunt Mary"},
    "photo.webp": {"xmp": b"<x:xmpmeta>Aunt Mary</x:xmpmeta>", "lossless": True},
    "photo.png": {"pnginfo": "Aunt Mary"},
}


@pytest.mark.parametrize("name", NOTED)
def test_a_parcel_tells_nothing_that_was_written_beside_a_picture(
    settings, encoder, tmp_path, name
):
    more, file = dict(NOTED[name]), tmp_path / name
    if "pnginfo" in more:
        words, more["pnginfo"] = more["pnginfo"], PngInfo()
        more["pnginfo"].add_text("Author", words)
    Image.open(settings.content).resize((64, 40)).save(file, **more)
    assert b"Aunt Mary" in file.read_bytes()
    run = Run.create(tmp_path / "run", replace(settings, content=str(file)))
    assert b"Aunt Mary" not in base64.b64decode(packed(run)["inputs"]["content"]["data"])
    again = rerun(packed(Player(run, encoder).play()), tmp_path / "again", encoder=encoder)
    assert losses(again) == losses(run)
    inside = re.findall(r"data:image/jpeg;base64,([^\"]+)", report(run))
    assert inside and not any(b"Aunt Mary" in base64.b64decode(image) for image in inside)


@pytest.mark.parametrize("changes", [{"style_weight": 9.0}, {"steps": 15}, {"size": 60}])
@pytest.mark.parametrize(
    ("optimizer", "step"), [("lbfgs", 4), ("lbfgs", 7), ("lbfgs", 12), ("adam", 7)]
)
def test_a_fork_is_what_steering_after_that_step_would_have_made(
    settings, encoder, tmp_path, optimizer, changes, step
):
    settings = replace(settings, optimizer=optimizer)
    first = Player(Run.create(tmp_path / "first", settings), encoder)
    list(first)
    new = Player(fork(first.run, step, tmp_path / "fork", **changes), encoder)
    list(new)
    assert new.run.meta["parent"]["step"] == step
    other = Player(Run.create(tmp_path / "other", settings), encoder)
    for made in other:
        if made.number == step:
            other.steer(**changes)
    if step == 12 and changes != {"steps": 15}:
        assert losses(new.run) == losses(first.run)
        return
    assert losses(new.run) == losses(other.run)
    assert new.run.steering == other.run.steering
    assert list(new.run.images) == list(other.run.images)
    assert (pixels(new.run) == pixels(other.run)).all()


def test_a_fork_has_no_colours_that_its_record_does_not_tell_of(settings, encoder, tmp_path):
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    list(player)
    player.steer(original_colors=1.0)
    player.settle()
    new = fork(player.run, steps=14)
    list(Player(new, encoder))
    assert likeness(packed(new), rerun(new, encoder=encoder)).same


def test_a_picture_cut_down_to_its_size_is_made_again_from_the_whole(
    settings, encoder, tmp_path, monkeypatch
):
    monkeypatch.setattr(samples, "RUNS", tmp_path / "runs")
    pictures.to_image(colourful(588, 784, 1)).save(tmp_path / "large.png")
    cut = {"enlarge": "everything", "rounding": "factor-down", "size": 128, "steps": 1}
    cut |= {"content": str(tmp_path / "large.png"), "scale_steps": ()}
    player = Player(Run.create(tmp_path / "run", replace(settings, **cut)), encoder)
    (step,) = list(player)
    assert step.shape == (95, 127) == scales(player.settings, (588, 784))[-1]
    assert likeness(packed(player.run), rerun(packed(player.run), encoder=encoder)).same


def test_a_kept_step_is_forked_without_making_the_steps_before_it_again(played, encoder):
    new = Player(fork(played, 6, style_weight=2.0), encoder)
    assert new.step.number == 6 and new.settings.style_weight == 2.0
    assert [step.number for step in new] == list(range(7, 13))
    with pytest.raises(ValueError, match="no step 13 to fork from"):
        fork(played, 13)
    with pytest.raises(ValueError, match="encoder belongs to the run"):
        fork(played, 6, encoder="vgg19")


def test_a_fork_of_a_fork_is_made_again_from_its_own_record(played, encoder):
    one = Player(fork(played, 6, style_weight=2.0), encoder).play()
    two = Player(fork(one, 10, content_weight=3.0), encoder).play()
    again = rerun(two, encoder=encoder)
    assert losses(again) == losses(two) and (pixels(again) == pixels(two)).all()
    assert two.meta["parent"]["name"] == one.folder.name


def test_a_parcel_holds_the_pictures_without_loss_as_large_as_they_were_used(
    settings, encoder, tmp_path
):
    """From larger pictures, of odd shapes, with a style at half the scale and colours matched."""
    chance = np.random.default_rng(5)
    for name, shape in {"wide": (211, 333, 3), "tall": (307, 129, 3)}.items():
        noise = chance.integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(noise).resize(shape[1::-1]).save(tmp_path / f"{name}.png")
    asked = {"original_colors": 0.7, "color_method": "pca", "noise": "style", "init": "noise"}
    for name, more in {"plain": {}, "matched": asked}.items():
        large = replace(
            settings,
            content=str(tmp_path / "wide.png"),
            styles=({"picture": str(tmp_path / "tall.png"), "scale": 0.9},),
            **more,
        )
        run = Run.create(tmp_path / name, large)
        list(Player(run, encoder))
        parcel = packed(run)
        assert all(facts["as_used"] for facts in parcel["inputs"].values())
        again = unpacked(parcel, tmp_path / f"{name} again")
        for role in ("content", "style_1"):
            file = again.folder / again.meta["inputs"][role]["file"]
            with Image.open(file) as image:
                assert max(image.size) < 80
        list(Player(again, encoder))
        assert losses(again) == losses(run)
        assert likeness(parcel, again).same


@pytest.mark.parametrize("see_through", [False, True])
def test_a_parcel_of_a_steered_run_tells_nothing_of_the_camera(
    settings, encoder, tmp_path, see_through
):
    exif, file = Image.Exif(), tmp_path / ("photo.png" if see_through else "photo.jpg")
    exif[0x010F], exif[0x0112] = "SecretCam", 6
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    image = Image.open(settings.content).rotate(90, expand=True).resize((80, 128))
    if see_through:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(file, exif=exif)
    player = Player(Run.create(tmp_path / "run", replace(settings, content=str(file))), encoder)
    for step in player:
        if step.number == 3:
            player.steer(styles=[{"scale": 0.5}])
    parcel = packed(player.run)
    with Image.open(io.BytesIO(base64.b64decode(parcel["inputs"]["content"]["data"]))) as inside:
        assert not inside.getexif() and inside.size == (128, 80)
    again = rerun(parcel, tmp_path / "again", encoder=encoder)
    assert likeness(parcel, again).same
    assert losses(again) == losses(player.run) and (pixels(again) == pixels(player.run)).all()


def test_a_parcel_is_unpacked_nowhere_else(played, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "RUNS", tmp_path / "runs")
    parcel, elsewhere = packed(played), tmp_path / "elsewhere"
    parcel["name"] = "../outside"
    parcel["inputs"][str(elsewhere)] = parcel["inputs"]["style_1"] | {"file": "inputs/other.png"}
    again = rerun(parcel, encoder=encoder)
    assert again.folder.parent == tmp_path / "runs" and not elsewhere.exists()


def test_a_run_whose_weights_are_gone_is_told_so_when_it_is_made_again(played, tmp_path):
    parcel = packed(played)
    parcel["settings"] |= {"encoder": "vgg19", "weights": str(tmp_path / "gone.pth")}
    parcel["meta"].pop("encoder")
    with pytest.raises(ValueError, match=r"gone\.pth"):
        rerun(parcel, tmp_path / "again")


@pytest.mark.parametrize("lost", ["meta", "settings", "steering", "steps"])
def test_a_parcel_that_was_altered_is_refused_and_leaves_no_run(played, tmp_path, lost):
    parcel = packed(played)
    parcel[lost] = [{"step": 1, "mask": "inputs/strange.png"}] if lost == "steering" else None
    with pytest.raises(ValueError, match="damaged"):
        rerun(parcel, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_run_whose_losses_are_gone_is_made_again_to_its_end(played, encoder, tmp_path):
    (played.folder / "metrics.csv").unlink()
    assert played.in_words == "done, 12 of 12 steps"
    assert likeness(packed(played), rerun(packed(played), tmp_path / "again", encoder=encoder)).same


def test_a_mask_wider_than_the_format_has_sides_is_refused_in_a_line(settings, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "a long walk"
    Image.new("L", (16400, 40), 255).save(tmp_path / "wide.png", exif=exif)
    run = Run.create(tmp_path / "run", replace(settings, mask=str(tmp_path / "wide.png")))
    with pytest.raises(
        ValueError, match=r"mask is 16400 x 40 px, and more than 16383 .* smaller one$"
    ):
        packed(run)


def test_a_fork_of_a_run_that_is_being_played_stands_where_its_record_says(
    settings, encoder, tmp_path
):
    each = replace(settings, size=64, steps=3000, scale_steps=(1,) * 2999, every=1)
    player = Player(Run.create(tmp_path / "run", each), encoder).start()
    moved = threading.Event()
    player.listeners.append(lambda player: moved.set())
    for n in range(25):
        assert moved.wait(60)
        moved.clear()
        made = fork(player.run, folder=tmp_path / f"fork {n}")
        step = made.meta["parent"]["step"]
        assert (made.last.number if made.last else 0) == made.made == step
        assert [*made.images][-1:] in ([step], [])
    player.close()
    assert player.error is None and step > 0


def test_a_fork_that_cannot_be_made_leaves_no_run(played, tmp_path):
    (played.folder / "metrics.csv").unlink()
    (played.folder / "metrics.csv").mkdir()
    with pytest.raises(OSError, match=r"metrics\.csv"):
        fork(played, folder=tmp_path / "two", content_weight=0.2)
    assert not (tmp_path / "two").exists()


def test_a_small_parcel_asks_for_the_pictures_it_leaves_out(played, settings, encoder, tmp_path):
    parcel = packed(played, small=True)
    with pytest.raises(ValueError, match=r"leaves out 'content.png' .* and 'style.png'"):
        rerun(parcel, tmp_path / "again", encoder=encoder)
    wrong = {"content": settings.styles[0].picture, "style_1": settings.styles[0].picture}
    with pytest.raises(ValueError, match="is not the run's content"):
        rerun(parcel, tmp_path / "again", wrong, encoder=encoder)
    right = wrong | {"content": settings.content}
    again = rerun(parcel, tmp_path / "again", right, encoder=encoder)
    assert likeness(parcel, again).same


def test_another_picture_is_told_by_how_much_it_differs(played, encoder):
    other = Player(fork(played, 0, style_weight=90.0), encoder).play()
    found = likeness(packed(played), other)
    assert not found.same and found.mean > 0.1 and found.most >= found.mean
    assert "not the same picture" in str(found)


def test_a_report_with_a_picture_of_the_longest_name_is_made_again(settings, encoder, tmp_path):
    pictures.opened(settings.content).save(file := tmp_path / f"{'x' * 251}.png")
    run = Run.create(tmp_path / "run", replace(settings, content=str(file), steps=2))
    list(Player(run, encoder))
    again = unpacked(packed(run), tmp_path / "again")
    assert list(Player(again, encoder)) and losses(again) == losses(run)
