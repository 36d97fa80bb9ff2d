import errno
import io
import itertools
import json
import math
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from nsutils import Player, Run, Settings, Style, pictures, stylize
from nsutils.figures import Grid
from nsutils.folders import alone
from nsutils.run import new_folder

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["nsutils.player", "conftest"])


@pytest.fixture
def run(settings, tmp_path):
    return Run.create(tmp_path / "run", settings)


def test_inputs_are_copied_byte_for_byte_and_never_read_from_their_old_place_again(
    run, settings, encoder
):
    old = [Path(settings.content), Path(settings.styles[0].picture)]
    kept = [Path(run.settings.content), Path(run.settings.styles[0].picture)]
    assert [file.read_bytes() for file in kept] == [file.read_bytes() for file in old]
    inputs = run.meta["inputs"]
    for role, file in zip(("content", "style_1"), old, strict=True):
        assert inputs[role]["sha256"] == pictures.sha256(file.read_bytes())
        assert inputs[role]["name"] == file.name
        file.unlink()
    assert sum(1 for _ in Player(run, encoder)) == 12


def test_a_run_can_be_moved(run, encoder, tmp_path):
    for step in Player(run, encoder):
        if step.number == 5:
            break
    moved = Run(run.folder.rename(tmp_path / "elsewhere"))
    rest = [step.number for step in Player(moved, encoder)]
    assert rest == list(range(6, 13))


def test_settings_on_disk_name_the_copies(run):
    named = Settings.from_json((run.folder / "settings.json").read_text())
    assert named.content == "inputs/content.png"
    assert named.styles == (Style("inputs/style_1.png"),)


def test_a_folder_with_a_run_is_refused(run, settings):
    with pytest.raises(ValueError, match=r"already holds a run.*another"):
        Run.create(run.folder, settings)


def test_of_several_that_ask_for_one_folder_at_once_one_gets_it(settings, tmp_path):
    def made(number):
        try:
            return Run.create(tmp_path / "run", replace(settings, seed=number))
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(made, range(4))]
    (one,) = [run for run in found if isinstance(run, Run)]
    assert sum("already holds a run" in str(refused) for refused in found) == 3
    assert one.settings.seed == found.index(one)


def test_a_folder_without_a_run_is_said(tmp_path):
    with pytest.raises(ValueError, match="no run in"):
        Run(tmp_path)


def test_a_bad_picture_leaves_no_folder(settings, tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        Run.create(tmp_path / "run", replace(settings, content="nowhere.png"))
    assert not (tmp_path / "run").exists()


def test_metrics_have_a_row_a_step_with_the_columns_that_scripts_rely_on(run, settings, encoder):
    losses = [step.losses for step in Player(run, encoder)]
    header = (run.folder / "metrics.csv").read_text().splitlines()[0]
    assert header == (
        "step,seconds,scale,total,content,style,tv,layout,content/relu2_2,style/pixels,style/relu1_1,style/relu2_1"
    )
    rows = run.metrics
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[6]["style"] == pytest.approx(losses[6]["style"], rel=1e-6)
    assert all(one["seconds"] <= two["seconds"] for one, two in itertools.pairwise(rows))


def test_a_row_cut_off_in_mid_write_is_left_out(run, encoder):
    list(Player(run, encoder))
    with (run.folder / "metrics.csv").open("a") as stream:
        stream.write("13,1.0")
    assert len(run.metrics) == 12


def test_a_row_is_written_in_place_of_one_that_was_cut_off(run, encoder):
    for step in Player(run, encoder):
        if step.number == 4:
            break
    whole = (run.folder / "metrics.csv").read_text()
    for cut in ("", "5,0.3", "5"):
        (run.folder / "metrics.csv").write_text(whole + cut)
        run.record(replace(step, number=5), 0.5)
        assert [row["step"] for row in run.metrics] == [1, 2, 3, 4, 5]
    (run.folder / "metrics.csv").write_text("step,sec")
    run.record(step, 0.5)
    assert [row["step"] for row in run.metrics] == [4]


def test_rows_and_pictures_that_are_not_the_runs_are_left_alone(run, encoder):
    list(Player(run, encoder))
    rows = run.metrics
    with (run.folder / "metrics.csv").open("ab") as file:
        file.write(b"\n\xff\xfe,1\n")
    copy = run.folder / "images" / "step_final.jpg"
    copy.write_bytes(run.images[0].read_bytes())
    assert run.metrics == rows and copy not in run.images.values()
    run.rewind(3)
    assert run.metrics == rows[:3] and max(run.images) <= 3 and copy.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.json", "[]"),
        ("settings.json", '{"content": "a", "styles": "b", "betas": null}'),
        ("steering.jsonl", "[1]\n"),
        ("steering.jsonl", '{"steps": 3}\n'),
        ("steering.jsonl", '{"step": "3"}\n'),
        ("steering.jsonl", '{"step": 3, "nope": 1}\n'),
    ],
)
def test_a_file_with_other_values_than_it_should_have_is_named(run, encoder, name, text):
    (run.folder / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name}' is damaged"):
        list(Player(run, encoder))


@pytest.mark.parametrize("name", ["settings.json", "meta.json", "checkpoint.pt"])
def test_a_file_cut_in_the_middle_is_told_in_one_line_with_the_way_out(run, encoder, name):
    list(Player(run, encoder))
    picture, rows = run.result.read_bytes(), run.metrics
    file = run.folder / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{name}' is damaged") as found:
        Player(Run(run.folder), encoder).play()
    assert "\n" not in str(found.value)
    if name == "settings.json":
        file.write_text(Image.open(run.result).text["nsutils.settings"])
    else:
        file.unlink()
    assert Run(run.folder).result.read_bytes() == picture
    list(Player(Run(run.folder), encoder))
    assert run.status == "done" and len(run.metrics) == len(rows)
    assert run.result.read_bytes() == picture


def test_the_recipe_inside_the_result_is_the_one_that_the_run_began_with(steered_run):
    inside = Settings.from_json(Image.open(steered_run.result).text["nsutils.settings"])
    assert inside == Settings.from_json((steered_run.folder / "settings.json").read_text())


def test_other_colours_need_the_last_step(run, encoder):
    list(Player(run, encoder))
    (run.folder / "checkpoint.pt").unlink()
    with pytest.raises(ValueError, match=r"no checkpoint\.pt in .*; let the run go on"):
        run.picture(1.0)


def test_a_deleted_run_takes_only_what_is_its_own(run, encoder):
    with run.played(), pytest.raises(ValueError, match="is being played"):
        run.delete()
    list(Player(run, encoder))
    run.mark()
    (run.folder / "letter.txt").write_text("mine")
    run.delete()
    assert [file.name for file in run.folder.iterdir()] == ["letter.txt"]


def test_favourites_are_marked_and_unmarked(run):
    assert not run.favourite
    run.mark()
    assert run.favourite
    run.mark(False)
    assert not run.favourite


def test_images_are_the_start_and_every_interval(run, encoder):
    list(Player(run, encoder))
    assert list(run.images) == [0, 2, 4, 6, 8, 10, 12]
    for file in run.images.values():
        with Image.open(file) as image:
            assert max(image.size) in (52, 58, 64)


def test_the_result_has_the_size_asked_for_and_the_settings_inside(run, encoder):
    for step in Player(run, encoder):
        if step.number == 2:
            break
    with Image.open(run.result) as image:
        assert image.size == (64, 40)
        inside = Settings.from_json(image.text["nsutils.settings"])
    assert inside == Settings.from_json((run.folder / "settings.json").read_text())


def test_a_transparent_content_gives_a_transparent_result(settings, encoder, tmp_path):
    image = Image.open(settings.content).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 20, 40))
    image.save(settings.content)
    run = Run.create(tmp_path / "clear", settings)
    *_, last = stylize(run.settings, encoder)
    run.finish(last)
    alpha = np.array(Image.open(run.result).getchannel("A"))
    assert alpha.shape == (40, 64)
    assert (alpha[:, :18] == 0).all() and (alpha[:, 22:] == 255).all()


def test_the_checkpoint_is_the_step(run, settings, encoder):
    *_, last = stylize(run.settings, encoder)
    run.checkpoint(last)
    kept = run.last
    assert (kept.number, kept.scale, kept.settings, kept.losses) == (
        12,
        2,
        run.settings,
        last.losses,
    )
    assert torch.equal(kept.image, last.image)


def test_meta_says_when_where_and_with_what(run, encoder):
    list(Player(run, encoder))
    meta = run.meta
    assert meta["status"] == "done"
    assert meta["created"] <= meta["started"] <= meta["ended"]
    assert (meta["device"], meta["precision"], meta["steps"]) == ("cpu", "float32", 12)
    assert meta["threads"] == torch.get_num_threads()
    assert meta["versions"]["torch"] == torch.__version__.split("+")[0]
    assert meta["host"] and meta["platform"]


def test_a_run_whose_process_is_gone_is_interrupted(run):
    ended = subprocess.Popen(["true"])
    ended.wait()
    run.note(status="playing", pid=ended.pid)
    assert run.status == "interrupted"
    run.note(pid=os.getpid())
    assert run.status == "interrupted"
    with run.played():
        assert run.status == "playing"
        with pytest.raises(ValueError, match="is being played by this process"):
            run.check_idle()


def test_a_process_that_has_ended_plays_no_more_before_its_parent_knows(run):
    other = subprocess.Popen(["sleep", "60"])
    run.note(status="playing", pid=other.pid, since=psutil.Process(other.pid).create_time())
    assert run.status == "playing"
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert run.status == "interrupted"
    other.wait()


def test_a_process_that_has_another_ones_number_does_not_play_its_run(run):
    with subprocess.Popen(["sleep", "60"]) as other:
        began = psutil.Process(other.pid).create_time()
        run.note(status="playing", pid=other.pid, since=began)
        with pytest.raises(ValueError, match=f"is being played by process {other.pid}"):
            run.check_idle()
        run.note(since=began - 3600)
        assert run.status == "interrupted"
        other.kill()


def holding(folder, pipe):
    """Stays alone with a folder until it hears of it."""
    with alone(folder):
        pipe.send("alone")
        pipe.recv()


def test_nobody_waits_for_a_process_that_was_killed(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    here, there = PROCESSES.Pipe()
    other = PROCESSES.Process(target=holding, args=(tmp_path, there))
    other.start()
    assert here.recv() == "alone"
    folder = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)
    other.kill()
    other.join()
    with alone(tmp_path):
        assert not other.is_alive()


def test_a_run_is_played_from_the_moment_it_is_claimed(run):
    with run.played():
        facts = run.meta
        assert (facts["status"], facts["pid"]) == ("playing", os.getpid())
        assert facts["since"] == psutil.Process().create_time()


def new_runs(settings, folder, together):
    together.wait()
    for _ in range(4):
        Run.new(settings, folder)


def test_processes_that_make_runs_at_once_have_each_its_own(settings, tmp_path):
    pytest.importorskip("fcntl")
    weights, together = [1.0, 3.0], PROCESSES.Barrier(2)
    others = [
        PROCESSES.Process(
            target=new_runs, args=(replace(settings, style_weight=weight), tmp_path / "a", together)
        )
        for weight in weights
    ]
    for other in others:
        other.start()
    for other in others:
        other.join()
    found = [Run(folder).settings.style_weight for folder in (tmp_path / "a").iterdir()]
    assert sorted(found) == sorted(4 * weights)


def test_a_mask_that_lies_beside_the_inputs_becomes_one(run):
    Image.new("L", (8, 8), 200).save(run.folder / "mine.png")
    kept = Path(run.add_mask(run.folder / "mine.png"))
    assert run.relative(kept) in [facts["file"] for facts in run.meta["inputs"].values()]
    assert run.add_mask(kept) == str(kept)


def test_facts_noted_at_the_same_time_are_all_kept(run):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: run.note(**{f"fact {n}": n}), range(60)))
    assert all(run.meta[f"fact {n}"] == n for n in range(60))


def test_a_run_of_another_machine_is_given_up_after_long_silence(run):
    run.note(status="playing", host="elsewhere")
    assert run.status == "playing"
    os.utime(run.folder / "meta.json", (0, 0))
    assert run.status == "interrupted"


def test_a_picture_keeps_its_name_from_run_to_run(run, settings, tmp_path):
    again = Run.create(tmp_path / "again", run.settings)
    names = [facts["name"] for facts in again.meta["inputs"].values()]
    assert names == [Path(settings.content).name, Path(settings.styles[0].picture).name]
    assert new_folder(tmp_path, run.settings).name.endswith("-content-style")


def test_new_folders_are_named_by_time_and_pictures_and_never_twice_the_same(settings, tmp_path):
    settings = replace(settings, content="/a/my cat!.png")
    first = new_folder(tmp_path, settings)
    assert first.name.endswith("my_cat_-style")
    first.mkdir()
    assert not new_folder(tmp_path, settings).exists()


def test_what_is_written_is_plain_json(run):
    for name in ("settings.json", "meta.json"):
        assert isinstance(json.loads((run.folder / name).read_text()), dict)


def test_a_run_shows_itself_by_name_state_and_pictures(settings, encoder, tmp_path):
    run = Run.create(tmp_path / "<b>bold", settings)
    for step in Player(run, encoder):
        if step.number == 3:
            break
    html = run._repr_html_()
    assert "&lt;b&gt;bold" in html and "<b>bold" not in html
    assert "stopped, 3 of 12 steps" in html and html.count("<img alt=") == 3
    assert "stopped, 3 of 12 steps" in repr(run)
    assert repr(step).startswith("<Step 3: 52 x 32 px, total ")
    assert Image.open(io.BytesIO(step._repr_jpeg_())).size == (52, 32)


def test_settings_show_the_pictures_and_what_is_not_as_by_default(settings):
    html = replace(settings, content="<i>.png")._repr_html_()
    assert "&lt;i&gt;.png" in html and "smallest" in html and "tv_weight" not in html


def test_a_loss_that_comes_later_gets_a_column_and_the_rows_before_are_nan(run, encoder):
    player = Player(run, encoder)
    for step in player:
        if step.number == 4:
            player.steer(laplacian_weight=0.5, style_layers=("pixels", "relu1_2"))
    rows = run.metrics
    assert [row["step"] for row in rows] == list(range(1, 13))
    for name in ("laplacian", "style/relu1_2"):
        assert [math.isnan(row[name]) for row in rows] == [True] * 4 + [False] * 8
    assert [math.isnan(row["style/relu1_1"]) for row in rows] == [False] * 4 + [True] * 8


def test_a_folder_with_something_by_the_name_of_a_runs_file_is_refused_and_left_alone(
    settings, tmp_path
):
    (photo := tmp_path / "mine" / "images" / "holiday.jpg").parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    with pytest.raises(
        ValueError, match="holds 'images', which would be the run's; choose another"
    ):
        Run.create(tmp_path / "mine", settings)
    assert photo.read_bytes() == b"mine" and len([*(tmp_path / "mine").rglob("*")]) == 2


def test_a_run_that_cannot_be_made_leaves_nothing(settings, tmp_path, monkeypatch):
    def full(file, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nsutils.run.write_json", full)
    with pytest.raises(ValueError, match="No space left"):
        Run.create(tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_link_to_another_disk_is_deleted_and_not_what_it_leads_to(run, tmp_path):
    (run.folder / "inputs").rename(there := tmp_path / "there")
    (run.folder / "inputs").symlink_to(there)
    run.delete()
    assert not run.folder.exists() and len([*there.iterdir()]) == 2


def test_a_run_goes_on_without_the_pictures_that_were_deleted(run, encoder):
    for step in Player(run, encoder):
        if step.number == 5:
            break
    shutil.rmtree(run.folder / "images")
    assert [step.number for step in Player(run, encoder)][-1] == 12 and 12 in run.images


@pytest.mark.parametrize("facts", [{"content": {}}, {}, 3])
def test_inputs_that_are_not_what_they_should_be_are_named(run, facts):
    (run.folder / "meta.json").write_text(json.dumps({"inputs": facts}))
    with pytest.raises(ValueError, match=r"meta.json' is damaged .*; delete it"):
        run.check_files()


def test_losses_without_a_column_and_a_steered_style_with_a_strange_part_are_named(run, encoder):
    list(Player(run, encoder))
    text = (run.folder / "metrics.csv").read_text()
    (run.folder / "metrics.csv").write_text(text.replace(",style,", ",stil,"))
    with pytest.raises(ValueError, match="no column style"):
        run.metrics  # noqa: B018
    (run.folder / "steering.jsonl").write_text('{"step": 2, "styles": [{"wait": 1}]}\n')
    with pytest.raises(ValueError, match=r"steering.jsonl' is damaged .*wait"):
        run.steering  # noqa: B018


def test_a_folders_name_is_short_whatever_its_letters_take(settings, tmp_path):
    pictures.opened(settings.content).save(file := tmp_path / f"{'𝓐' * 60}.png")
    named = replace(settings, content=str(file))
    assert len(new_folder(tmp_path, named).name.encode()) < 90


def test_names_that_are_no_text_can_be_shown(settings, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/c\xff.png")
    shutil.copy(settings.content, odd)
    run = Run.create(os.fsdecode(os.fsencode(tmp_path) + b"/r\xfe"), replace(settings, content=odd))
    for shown in (replace(settings, content=odd), run, Grid([run])):
        assert "?" in shown._repr_html_() and shown._repr_html_().encode()
