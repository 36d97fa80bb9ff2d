import os
import queue
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from conftest import small_encoder
from PIL import Image

import nsutils.course
import nsutils.player
from nsutils import Player, Run, stylize
from nsutils.player import clock
from nsutils.settings import CHOICES
from nsutils.steering import changes

PATIENCE = 60  # seconds until a wait on an effect has failed


@pytest.fixture
def player(settings, encoder, tmp_path):
    return Player(Run.create(tmp_path / "run", settings), encoder)


def reached(player, number):
    """An event that is set when the player has made that step."""
    event = threading.Event()
    player.listeners.append(lambda p: p.step.number >= number and event.set())
    return event


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
def test_resumed_equals_unbroken(settings, encoder, tmp_path, optimizer):
    settings = replace(settings, optimizer=optimizer)
    unbroken = [step.losses for step in stylize(settings, encoder)]
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 5:
            player.stop()
    assert player.status == "stopped"
    again = Player(Run(tmp_path / "run"), encoder)
    assert again.steps_left == 7
    assert [step.losses for step in again] == unbroken[5:]
    assert again.status == again.run.status == "done"
    assert [row["step"] for row in again.run.metrics] == list(range(1, 13))


def test_a_run_goes_on_in_the_precision_it_began_with(settings, tmp_path):
    settings = replace(settings, steps=1, scale_steps=())
    run = Run.create(tmp_path / "run", settings)
    Player(run).play()
    begun = run.meta["precision"]
    other = ({"float32", "bfloat16"} - {begun}).pop()
    run.note(precision=other)
    player = Player(run)
    player.steer(steps=2)
    player.play()
    assert player.step.number == 2
    assert run.meta["precision"] == other


def test_steps_after_the_checkpoint_are_forgotten_before_they_are_made_again(player, encoder):
    run = player.run
    for step in player:
        if step.number == 4:
            kept = replace(step, memory={})
            run.checkpoint(kept)
        if step.number == 8:
            player.stop()
    run.checkpoint(kept)
    list(Player(run, encoder))
    assert [row["step"] for row in run.metrics] == list(range(1, 13))
    assert list(run.images) == list(range(0, 13, 2))


def test_a_thread_plays_and_wait_gives_the_run(player):
    run = player.start().wait()
    assert run is player.run and run.status == "done"
    assert run.result.exists()
    assert not player.playing


def test_play_draws_a_bar(player, capsys):
    player.play()
    assert "12/12 steps" in capsys.readouterr().out


def test_pause_holds_and_resume_goes_on(player):
    paused = threading.Event()
    player.listeners.append(lambda p: p.step.number == 3 and p.status == "playing" and p.pause())
    player.listeners.append(lambda p: p.status == "paused" and paused.set())
    player.start()
    assert paused.wait(PATIENCE)
    assert player.step.number == 3 and player.run.status == "paused"
    assert player.run.last.number == 3
    player.resume()
    player.wait()
    assert player.status == "done" and player.step.number == 12


def test_a_stopped_player_can_be_started_again(player):
    begun = reached(player, 2)
    player.start()
    assert begun.wait(PATIENCE)
    player.stop()
    player.wait()
    player.start()
    assert player.wait().status == "done" and player.step.number == 12


def test_stop_ends_a_paused_run(player):
    paused = threading.Event()
    player.listeners.append(lambda p: p.status == "paused" and paused.set())
    player.pause()
    player.start()
    assert paused.wait(PATIENCE)
    player.stop()
    assert player.wait().status == "stopped"
    assert player.run.result.exists()


def test_steering_takes_effect_within_a_step_and_is_kept(player):
    for step in player:
        if step.number == 6:
            player.steer(style_weight=50.0)
        if step.number == 7:
            assert step.settings.style_weight == 50.0
    assert player.run.steering == [{"step": 6, "style_weight": 50.0}]
    assert player.run.last.settings.style_weight == 50.0


def test_steering_to_what_cannot_be_is_refused_and_changes_nothing(player):
    with pytest.raises(ValueError, match="style_weight"):
        player.steer(style_weight=-1)
    with pytest.raises(ValueError, match="content belongs to the run"):
        player.steer(content="other.png")
    assert player.settings == player.run.settings


def test_a_finished_run_is_prolonged_by_more_steps(player, encoder):
    unbroken = [step.losses for step in stylize(replace(player.settings, steps=16), encoder)]
    list(player)
    more = Player(player.run, encoder)
    more.steer(steps=16)
    assert [step.losses for step in more] == unbroken[12:]


def test_an_error_reaches_the_caller_and_the_run(player):
    def fail(_):
        raise RuntimeError("no more paint")

    player.listeners.append(lambda p: p.step.number == 3 and p.status == "playing" and fail(p))
    player.start()
    with pytest.raises(RuntimeError, match="no more paint"):
        player.wait()
    assert player.run.status == "failed"
    assert player.run.meta["error"] == "RuntimeError: no more paint"
    assert player.run.last.number == 3


def test_a_run_whose_encoder_is_gone_says_so_and_keeps_what_it_made(player, monkeypatch):
    monkeypatch.delenv("NSUTILS_VGG19", raising=False)
    list(player)
    run = player.run
    run.note(encoder={"name": "vgg19-caffe", "told_by": "setting"})
    again = Player(run)
    again.steer(steps=player.settings.steps + 2)
    with pytest.raises(ValueError, match="name its file"):
        again.start().wait()
    assert run.status == "failed" and "name its file" in run.meta["error"]
    assert run.made == run.meta["steps"] == player.settings.steps


def test_an_interrupt_of_a_waiting_caller_stops_the_run(player, monkeypatch):
    begun = reached(player, 2)
    player.start()
    assert begun.wait(PATIENCE)
    wait, interrupts = player._ended.wait, iter([KeyboardInterrupt])

    def interrupted_once(*args):
        for interrupt in interrupts:
            raise interrupt
        return wait(*args)

    monkeypatch.setattr(player._ended, "wait", interrupted_once)
    assert player.wait().status in ("stopped", "done")
    assert player.run.last.number == player.step.number


def test_breaking_out_of_the_loop_keeps_the_picture(player):
    for step in player:
        if step.number == 3:
            break
    assert player.run.status == "stopped"
    assert player.run.last.number == 3 and player.run.result.exists()


def test_time_left_is_known_from_the_first_step_and_falls_to_nothing(player):
    assert player.seconds_left is None
    left = [player.seconds_left for _ in player]
    assert all(seconds > 0 for seconds in left[:-1])
    assert left[-1] == 0


def test_a_clock_reads_minutes_and_seconds():
    assert (clock(None), clock(0), clock(61.9), clock(3600)) == ("?", "0:00", "1:01", "60:00")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads cannot be counted here")
def test_the_starting_thread_keeps_no_idle_helpers():
    dismissed = """
import os, torch
from nsutils.machine import dismiss_helpers
threads = lambda: len(os.listdir("/proc/self/task"))
torch.set_num_threads(3)
torch.ones(1000, 1000) + 1
helped = threads()
dismiss_helpers()
while threads() > helped - 2:
    pass
"""
    subprocess.run([sys.executable, "-c", dismissed], timeout=PATIENCE, check=True)


def go_on(folder, environment, seconds_between_checkpoints):
    """Plays a run with steering, in a process of its own that may be killed."""
    os.environ.update(environment)
    nsutils.player.CHECKPOINT_SECONDS = seconds_between_checkpoints
    player = Player(Run(folder), small_encoder())
    for step in player:
        if step.number == 9 and not player.run.steering:
            player.steer(style_weight=3.0)


def rows_of(run):
    return [{name: row[name] for name in row if name != "seconds"} for row in run.metrics]


@pytest.mark.parametrize(
    "asked",
    [
        {"optimizer": "lbfgs", "returned": "average", "init": "noise"},
        {"optimizer": "adam", "roll": True, "carry": True},
    ],
    ids=["lbfgs", "adam"],
)
def test_a_run_killed_at_random_moments_comes_to_the_same_picture(settings, tmp_path, asked):
    settings = replace(settings, steps=60, scale_steps=(20, 20), every=7, **asked)
    unbroken = Player(Run.create(tmp_path / "unbroken", settings), small_encoder())
    for step in unbroken:
        if step.number == 9:
            unbroken.steer(style_weight=3.0)
    run, chance = Run.create(tmp_path / "run", settings), random.Random(7)
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["nsutils.player", "conftest"])
    given = run.folder, {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
    for _ in range(10):
        child = processes.Process(target=go_on, args=(*given, chance.choice([0.0, 0.02, 10.0])))
        child.start()
        reach = chance.randint(0, len(run.metrics) + 8)
        while child.is_alive() and len(run.metrics) < reach:
            pass
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert run.status in ("interrupted", "ready", "done")
    go_on(*given, 10.0)
    assert run.status == "done" and run.steering == unbroken.run.steering
    assert rows_of(run) == rows_of(unbroken.run)
    for file in [*unbroken.run.images.values(), unbroken.run.result]:
        same = run.folder / file.relative_to(unbroken.run.folder)
        assert same.read_bytes() == file.read_bytes()


def steered_beyond_its_checkpoint(player, **asked):
    """The player's run, steered after step 6, as a crash leaves it whose last checkpoint is of step 4."""
    run = player.run
    for step in player:
        if step.number == 4:
            early = (run.folder / "checkpoint.pt").read_bytes()
        if step.number == 6:
            player.steer(**asked)
    (run.folder / "checkpoint.pt").write_bytes(early)
    return run


def test_steering_after_the_last_checkpoint_is_not_lost(player, encoder):
    run = steered_beyond_its_checkpoint(player, style_weight=5.0)
    whole = rows_of(run)
    again = Player(Run(run.folder), encoder)
    assert again.settings.style_weight == 1
    list(again)
    assert rows_of(run) == whole and run.steering == [{"step": 6, "style_weight": 5.0}]


def test_what_is_asked_of_a_run_that_goes_on_holds_where_its_record_says_otherwise(player, encoder):
    run = steered_beyond_its_checkpoint(player, style_weight=5.0, tv_weight=0.5)
    again = Player(Run(run.folder), encoder)
    again.steer(style_weight=7.0)
    list(again)
    assert (again.settings.style_weight, again.settings.tv_weight) == (7, 0.5)
    assert not any("undo" in line for line in run.steering)
    assert Player(Run(run.folder), encoder).settings == again.settings, "the record says so too"


def test_what_was_asked_last_is_on_record_when_the_loop_is_left(player, encoder):
    for step in player:
        if step.number == 6:
            player.steer(original_colors=1.0)
            break
    assert player.run.steering == [{"step": 6, "original_colors": 1.0}]
    assert Player(Run(player.run.folder), encoder).settings.original_colors == 1


def test_an_undo_and_another_change_before_the_next_step_are_two(player, encoder):
    steps = iter(player)
    next(steps)
    player.steer(style_weight=2.0)
    next(steps)
    player.undo()
    player.steer(style_weight=3.0)
    next(steps)
    player.undo()
    assert player.settings.style_weight == 1 and not player.undoable
    next(steps)
    assert ["undo" in line for line in player.run.steering] == [False, True, False, True]


def test_each_of_two_undos_before_the_next_step_is_on_record(player, encoder):
    steps = iter(player)
    next(steps)
    for weight in (2.0, 3.0):
        player.steer(style_weight=weight)
        next(steps)
    player.undo()
    player.undo()
    next(steps)
    steps.close()
    assert ["undo" in line for line in player.run.steering] == [False, False, True, True]
    again = Player(Run(player.run.folder), encoder)
    assert again.settings.style_weight == 1 and not again.undoable


def test_a_stop_right_after_a_change_to_what_forbids_the_last_step_leaves_a_picture(
    settings, encoder, tmp_path
):
    sliced = replace(settings, style_statistic="sliced", steps=6, scale_steps=())
    player = Player(Run.create(tmp_path / "run", sliced), encoder)
    for step in player:
        if step.number == 3:
            player.steer(style_statistic="wasserstein", mask=Image.new("L", (8, 5), 200))
            player.stop()
    assert player.status == player.run.status == "stopped" and player.run.result.exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"size": 40}, "too thin"), ({"style_layers": ("relu5_1",)}, "no layer 'relu5_1' in small")],
)
def test_what_no_run_can_be_steered_to_is_refused_and_the_run_goes_on(player, asked, words):
    for step in player:
        if step.number == 5:
            with pytest.raises(ValueError, match=words):
                player.steer(**asked)
    assert player.status == "done" and player.run.steering == []


def test_lengths_that_float16_does_not_know_are_refused(settings, encoder, tmp_path):
    asked = replace(settings, precision="float16", normalize_gradients=True)
    with pytest.raises(ValueError, match="normalize_gradients"):
        list(Player(Run.create(tmp_path / "run", asked), encoder))


def test_a_pause_in_the_last_step_holds_nothing(player):
    player.listeners.append(lambda p: p.status == "playing" and p.step.number == 12 and p.pause())
    player.start()
    player.wait()
    assert player.status == "done"
    player.steer(steps=14)
    assert len(list(player)) == 2


def test_a_stop_of_a_player_at_rest_stops_nothing(player):
    player.close()
    assert len(list(player)) == 12


def test_undo_takes_back_change_by_change_also_after_a_restart(player, encoder):
    changes = {2: {"style_weight": 2.0}, 4: {"tv_weight": 0.5}, 6: {"content_weight": 3.0}}
    for step in player:
        player.steer(**changes.get(step.number, {}))
        if step.number == 7:
            player.undo()
        if step.number == 8:
            player.stop()
    again = Player(player.run, encoder)
    assert again.settings.tv_weight == 0.5
    assert again.settings.content_weight == player.run.settings.content_weight
    again.undo()
    again.undo()
    with pytest.raises(ValueError, match="no change to take back"):
        again.undo()
    assert again.settings == player.run.settings
    list(again)
    assert [(line["step"], "undo" in line) for line in again.run.steering] == [
        *((2, False), (4, False), (6, False), (7, True), (8, True), (8, True)),
    ]


def test_a_change_that_was_not_yet_in_force_is_undone_first(player):
    player.steer(style_weight=2.0)
    player.steer(style_weight=5.0)
    player.undo()
    assert player.settings.style_weight == 2
    player.undo()
    assert player.settings == player.run.settings
    assert player.run.steering == []


def test_each_of_several_changes_after_one_step_is_undone_alone(player):
    for step in player:
        if step.number == 3:
            player.steer(style_weight=2.0)
            player.steer(tv_weight=0.5)
            player.steer(further=True, tv_weight=0.6)
            player.steer(content_weight=0.9)
            player.undo()
        if step.number == 5:
            for _ in range(2):
                player.undo()
    assert [
        (line["step"], "undo" in line, *changes(line).items()) for line in player.run.steering
    ] == [
        (3, False, ("style_weight", 2.0)),
        (3, False, ("tv_weight", 0.6)),
        (5, True, ("tv_weight", player.run.settings.tv_weight)),
        (5, True, ("style_weight", player.run.settings.style_weight)),
    ]
    assert player.settings == player.run.settings and not player.undoable


def test_changes_before_the_first_step_are_recorded(player, encoder, tmp_path):
    player.steer(style_weight=7.0)
    list(player)
    assert player.run.steering == [{"step": 0, "style_weight": 7.0}]
    assert player.step.settings.style_weight == 7.0


@pytest.fixture
def holds(player, monkeypatch):
    """Plays up to a preview of 32 pixels; the step and the shape at which it holds, each time."""
    monkeypatch.setattr(nsutils.player, "PREVIEW", 32)
    monkeypatch.setattr(nsutils.course, "MORE", 3)
    holds = queue.Queue()
    player.listeners.append(
        lambda p: p.status == "paused" and holds.put((p.step.number, p.step.shape))
    )
    player.previewing = True
    yield lambda: holds.get(timeout=PATIENCE)
    player.close()


def test_a_preview_follows_what_is_asked_while_its_last_step_is_made(player, holds):
    player.listeners.insert(
        0, lambda p: (p.step.number, p.status) == (4, "playing") and p.steer(style_weight=9.0)
    )
    player.start()
    assert [holds(), holds()] == [(4, (32, 52)), (7, (32, 52))]
    assert player.step.settings.style_weight == 9.0


def test_a_preview_whose_scale_is_taken_away_goes_on(player, holds):
    player.start()
    holds()
    player.steer(scale_steps=())
    player.wait()
    assert player.status == "done"


def test_a_change_undone_at_the_preview_is_seen_there_and_is_no_new_one(player, holds):
    player.start()
    assert holds() == (4, (32, 52))
    player.steer(style_weight=9.0)
    assert holds() == (7, (32, 52))
    player.undo()
    assert holds() == (10, (32, 52))
    assert player.step.settings.style_weight == 1.0 and not player.undoable
    assert ["undo" in line for line in player.run.steering] == [False, True]


def test_a_runs_number_of_threads_is_its_own(settings, encoder, tmp_path):
    before = torch.get_num_threads()
    player = Player(Run.create(tmp_path / "run", settings, threads=before + 1), encoder)
    during = {torch.get_num_threads() for _ in player}
    assert during == {min(before + 1, os.cpu_count())} and torch.get_num_threads() == before


@pytest.fixture
def overtaken(player, encoder):
    """A player that stopped at step 5, before another went on to step 14 with a heavier style."""
    for step in player:
        if step.number == 5:
            player.stop()
    other = Player(Run(player.run.folder), encoder)
    other.steer(style_weight=5.0, steps=14)
    list(other)
    return player


def test_a_player_that_was_overtaken_takes_nothing_back(overtaken):
    run = overtaken.run
    overtaken.steer(original_colors=0.5)
    overtaken.settle()
    assert overtaken.step.number == run.last.number == len(run.metrics) == 14
    assert overtaken.step.settings.style_weight == 5.0
    assert run.steering == [
        {"step": 5, "style_weight": 5.0, "steps": 14},
        {"step": 14, "original_colors": 0.5},
    ]


def test_a_player_that_was_overtaken_goes_on_from_there(overtaken):
    overtaken.steer(steps=16)
    assert [step.number for step in overtaken] == [15, 16]
    assert overtaken.step.settings.style_weight == 5.0
    assert [row["step"] for row in overtaken.run.metrics] == list(range(1, 17))


def test_a_player_that_was_overtaken_undoes_what_was_done_last(overtaken):
    overtaken.undo()
    undone = {"step": 14, "style_weight": 1.0, "undo": True}
    assert overtaken.run.steering[-1] == undone, "but for the steps, which are made"


def test_nothing_is_settled_while_another_plays(overtaken):
    before = overtaken.run.result.read_bytes()
    overtaken.steer(original_colors=0.5)
    with overtaken.run.played(), pytest.raises(ValueError, match="is being played"):
        overtaken.settle()
    assert overtaken.run.result.read_bytes() == before


def test_two_players_do_not_play_one_run(player, encoder):
    for _ in player:
        with pytest.raises(ValueError, match="is being played by this process"):
            Player(player.run, encoder).start()
        break
    assert Player(player.run, encoder).play().status == "done"


@pytest.mark.parametrize("most", [1, 20_000], ids=["nothing", "no checkpoint"])
def test_a_full_disk_is_told_and_what_was_whole_stays(settings, encoder, tmp_path, most):
    resource = pytest.importorskip("resource")
    unbroken = Player(Run.create(tmp_path / "unbroken", settings), encoder)
    list(unbroken)
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 5:
            player.stop()
    before = {file: file.read_bytes() for file in player.run.folder.rglob("*") if file.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*mend that, and the run can go on"):
            list(Player(player.run, encoder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert player.run.status in ("stopped", "failed")
    for file, data in before.items():
        if file.suffix in (".png", ".pt", ".jpg"):
            assert file.read_bytes() == data
    again = Player(player.run, encoder)
    list(again)
    assert again.status == again.run.status == "done" and not again.run.meta["error"]
    assert rows_of(again.run) == rows_of(unbroken.run)
    assert again.run.result.read_bytes() == unbroken.run.result.read_bytes()


def test_a_result_that_cannot_be_written_is_told_to_listeners(player):
    told = []
    player.listeners.append(lambda p: told.append(p.status))
    player.run.result.mkdir()
    with pytest.raises(OSError, match="mend that, and the run can go on"):
        list(player)
    assert told[-1] == player.run.status == "failed"


def test_a_run_that_diverges_is_taken_back_to_a_sound_step_and_can_go_on(
    settings, encoder, tmp_path
):
    settings = replace(settings, optimizer="adam", clamp=False, every=2)
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    with pytest.raises(FloatingPointError, match="taken back from step 10 to step 8"):
        for step in player:
            if step.number == 9:
                player.steer(learning_rate=1e30)
    assert player.status == "failed" and player.step.number == player.run.last.number == 8
    assert player.settings == player.run.settings and len(player.run.metrics) == 8
    assert [step.number for step in Player(player.run, encoder)] == [9, 10, 11, 12]


def test_a_change_that_goes_further_is_undone_with_the_one_before(player, encoder):
    steps = iter(player)
    next(steps)
    player.steer(tv_weight=0.5)
    next(steps)
    for weight in (2.0, 3.0, 4.0):
        player.steer(weight > 2, style_weight=weight)
        next(steps)
    assert ["further" in line for line in player.run.steering] == [False, False, True, True]
    player.steer(True, style_weight=5.0)  # not on record yet
    player.undo()
    assert (player.settings.style_weight, player.settings.tv_weight) == (1, 0.5)
    next(steps)
    steps.close()
    assert player.run.steering[-1] == {"step": 5, "style_weight": 1.0, "undo": True}
    again = Player(Run(player.run.folder), encoder)
    assert (again.settings.style_weight, again.settings.tv_weight) == (1, 0.5)
    again.undo()
    assert again.settings == again.run.settings and not again.undoable


def test_a_change_of_something_else_is_not_the_one_before_that_goes_further(player, encoder):
    steps = iter(player)
    next(steps)
    begun = player.settings.content_weight
    player.steer(style_weight=5.0)
    next(steps)
    for weight in (0.5, begun, 0.3):  # within a step, by where it stood
        player.steer(True, content_weight=weight)
    next(steps)
    assert not any("further" in line for line in player.run.steering)
    player.undo()
    assert (player.settings.style_weight, player.settings.content_weight) == (5, begun)
    steps.close()


def test_a_pause_at_the_very_end_holds_nobody_up_later(player):
    player.listeners.append(lambda told: told.pause() if told.status == "done" else None)
    player.start().wait()
    assert player.status == "done" and not player.pausing
    player.listeners.clear()
    player.steer(steps=player.settings.steps + 3)
    assert player.start().wait().status == "done"


def test_a_prolonged_run_is_not_held_against_the_forecast_of_fewer_steps(player, encoder):
    list(player)
    assert "seconds" in player.run.meta["measured_by_forecast"]
    again = Player(player.run, encoder)
    again.steer(steps=again.settings.steps + 6)
    list(again)
    assert again.run.meta["measured_by_forecast"] is None
