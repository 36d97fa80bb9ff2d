"""Plays a run: in the caller's loop or in a thread of its own, to be paused, steered, stopped and gone on with."""

import atexit
import ctypes
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from nsutils import encoders
from nsutils.encoders import Encoder
from nsutils.run import Run, now
from nsutils.settings import Settings
from nsutils.transfer import Step, start, stylize, work, work_ahead

CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 10.0, 0.02  # between two; of the time, for large ones
# tqdm's own time left takes every step for as long as the last: later scales are slower.
BAR = "{percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt} steps, {elapsed}, {rate_fmt}{postfix}"

# What is made once for a run: pictures and encoder.
FIXED = {"content", "styles", "init", "noise", "noise_scale", "encoder", *encoders.HOW}


class Player:
    """Takes a run from where it stands to its end and keeps it on disk.

    `for step in player` plays in the caller's thread; `start()` in a daemon thread, `wait()` for its end.
    Everything else may be called from any thread. `settings` are those in force, `step` is the last made,
    `status` is one of ready, playing, paused, stopped, done, failed. `listeners` are called with the player,
    in the thread that plays, after each step and once at the end.
    """

    def __init__(self, run: Run, encoder: Encoder | None = None):
        self.run, self.encoder = run, encoder
        self.seconds, self._work, self._moments = 0.0, 0, deque(maxlen=10)
        self.step: Step | None = run.last
        self.settings: Settings = self.step.settings if self.step else run.settings
        self.error: BaseException | None = None
        self.status = "ready"
        self.listeners: list[Callable[[Player], None]] = []
        self._lock = threading.Lock()
        self._go, self._stop, self._ended = (threading.Event() for _ in range(3))
        self._thread: threading.Thread | None = None
        self._go.set()

    @property
    def steps_left(self) -> int:
        """How many are still to make."""
        return max(0, self.settings.steps - (self.step.number if self.step else 0))

    @property
    def seconds_left(self) -> float | None:
        """From the speed of the last steps, by what later and larger ones cost; None in the first few."""
        if len(self._moments) < self._moments.maxlen:
            return None
        (since, done), (now, all_done) = self._moments[0], self._moments[-1]
        return (now - since) * work_ahead(self.settings, self.step) / (all_done - done)

    @property
    def speed(self) -> float:
        """Steps a second, over the last few."""
        if len(self._moments) < 2:
            return 0.0
        return (len(self._moments) - 1) / max(1e-9, self._moments[-1][0] - self._moments[0][0])

    @property
    def playing(self) -> bool:
        return self._thread is not None and not self._ended.is_set()

    def steer(self, **changes: Any) -> None:
        """Changes settings from the next step on; ValueError if one cannot be so."""
        if pictured := FIXED & set(changes):
            raise ValueError(f"{pictured.pop()} belongs to the run; begin a new one to change it")
        with self._lock:
            self.settings = replace(self.settings, **changes)

    def recolour(self, original_colors: float) -> None:
        """Puts so much of the content's colours into the picture of a run that is not playing; no step is made."""
        if self.settings.color_method != "luminance":
            raise ValueError(
                "color_method is no luminance: colours were matched before the run; begin a new one"
            )
        self.settings = replace(self.settings, original_colors=original_colors)
        if self.step:
            self.step = replace(self.step, settings=self.settings)
            self.run.steered(self.step.number, {"original_colors": original_colors})
            self.run.checkpoint(self.step)
            self.run.finish(self.step)

    def pause(self) -> None:
        """Holds before the next step."""
        self._go.clear()

    def resume(self) -> None:
        self._go.set()

    def stop(self) -> None:
        """Ends after the step in hand; the run can be gone on with."""
        self._stop.set()
        self._go.set()

    def start(self) -> "Player":
        """Plays in a thread."""
        if self.playing:
            raise RuntimeError("this player is already playing")
        self._stop.clear()
        self._ended.clear()
        dismiss_helpers()
        self._thread = threading.Thread(
            target=self._drain, name=f"nsutils {self.run.folder.name}", daemon=True
        )
        atexit.register(self._leave)
        self._thread.start()
        return self

    def wait(self, progress: bool = False) -> Run:
        """The run, once the thread has ended; what failed there is raised here. An interrupt stops the run.

        `progress` draws a bar with speed and time left.
        """
        made = self.settings.steps - self.steps_left
        bar = tqdm(
            total=self.settings.steps,
            initial=made,
            unit="step",
            bar_format=BAR,
            file=sys.stdout,
            mininterval=0.5,
            disable=not progress,
        )
        with bar:
            try:
                # Not by joining: an interrupted join with a timeout takes a thread for ended (CPython 3.11).
                while self.playing and not self._ended.wait(0.1):
                    self._show(bar)
            except KeyboardInterrupt:
                self.stop()
                self._ended.wait()
            self._show(bar)
        if self.error:
            raise self.error
        return self.run

    def close(self) -> None:
        """Stops, and waits until it has; what failed is left in `error`."""
        self.stop()
        if self._thread:
            self._ended.wait()

    def play(self) -> Run:
        """Plays to the end with a progress bar. The steps are made in a thread, so none is cut in half."""
        return self.start().wait(progress=True)

    def _show(self, bar: tqdm) -> None:
        if self.step:
            height, width = self.step.image.shape[-2:]
            bar.set_postfix_str(
                f"{width} x {height} px, {clock(self.seconds_left)} left", refresh=False
            )
            bar.total = self.settings.steps
            bar.update(self.step.number - bar.n)

    def __iter__(self) -> Iterator[Step]:
        """Makes, records and yields the steps that are left."""
        run = self.run
        try:
            encoder = self.encoder or encoders.of(self.settings, **resolved(run))
            self._enter(
                "playing",
                started=now(),
                device=str(encoder.device),
                precision=encoder.precision,
                encoder=run.meta.get("encoder")
                or {"name": encoder.name, "told_by": encoder.told_by},
                threads=torch.get_num_threads(),
            )
            if self.step is None:
                self.step = start(self.settings, encoder)
                run.keep(self.step)
                self._tell()
            run.rewind(self.step.number)
            yield from self._made(stylize(self.settings, encoder, self.step))
            ending = {"status": "stopped" if self.steps_left else "done"}
        except (KeyboardInterrupt, GeneratorExit):
            ending = {"status": "stopped"}
            raise
        except BaseException as error:
            ending = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            if self.step:
                run.checkpoint(self.step)
                run.finish(self.step)
            self._enter(**ending, ended=now(), steps=self.step.number if self.step else 0)
            self._stop.clear()
            self._tell()

    def _made(self, steps: Generator[Step, Settings | None, None]) -> Iterator[Step]:
        run = self.run
        before = (run.metrics or [{"seconds": 0.0}])[-1]["seconds"]
        begun, kept = time.monotonic(), float("-inf")  # the first step is a checkpoint already
        sent, wait = None, CHECKPOINT_SECONDS
        while True:
            try:
                self.step = step = steps.send(sent)
            except StopIteration:
                return
            except BaseException:
                self.step = replace(self.step, memory={})  # the optimiser was cut in mid-step
                raise
            self.seconds = time.monotonic() - begun
            self._work += work(step.image.shape)
            self._moments.append((self.seconds, self._work))
            run.record(step, before + self.seconds)
            if step.settings.keeps(step.number):
                run.keep(step)
            if (since := time.monotonic()) - kept > wait:
                run.checkpoint(step)
                kept = time.monotonic()
                wait = max(CHECKPOINT_SECONDS, (kept - since) / CHECKPOINT_SHARE)
            self._tell()
            yield step
            begun += self._held()
            if self._stop.is_set():
                return
            with self._lock:
                sent = self.settings
            if changes := step.settings.differences(sent):
                run.steered(step.number, changes)

    def _held(self) -> float:
        """Waits while paused; for how many seconds."""
        if self._go.is_set():
            return 0.0
        begun = time.monotonic()
        self.run.checkpoint(self.step)
        self._enter("paused")
        self._tell()
        self._go.wait()
        self._enter("playing")
        return time.monotonic() - begun

    def _enter(self, status: str, **facts: Any) -> None:
        self.run.note(status=status, **facts)
        self.status = status

    def _tell(self) -> None:
        for listener in self.listeners:
            listener(self)

    def _drain(self) -> None:
        try:
            for _ in self:
                pass
        except BaseException as error:
            self.error = error
        finally:
            atexit.unregister(self._leave)
            self._ended.set()

    def _leave(self) -> None:
        self.stop()
        self._ended.wait(2)


def dismiss_helpers() -> None:
    """Ends the threads that help the calling one to compute; they come back when it computes again.

    GNU's OpenMP counts every thread's helpers, idle ones too. Where they are more than the processors, none waits
    awake for work any more, and the many small operations of a step in another thread take up to half as long again.
    """
    with suppress(AttributeError, OSError, TypeError):  # another OpenMP, or none
        ctypes.CDLL(None).omp_pause_resource_all(1)


def resolved(run: Run) -> dict[str, str]:
    """The encoder and the precision that the run was begun with, where its settings leave them open."""
    if not (encoder := (meta := run.meta).get("encoder")):
        return {}
    return {"name": encoder["name"], "precision": meta["precision"]}


def clock(seconds: float | None) -> str:
    """m:ss"""
    return "?" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
