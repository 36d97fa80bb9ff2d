import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from nsutils import Player, Run, stylize
from nsutils.player import clock
from nsutils.settings import CHOICES

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
