"""Plays a run: in the caller's loop or in a thread of its own, to be paused, steered, stopped and gone on with."""

import atexit
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from nsutils import encoders, machine
from nsutils.cost import Cost, gigabytes
from nsutils.course import Course
from nsutils.encoders import Encoder
from nsutils.origin import now
from nsutils.pace import Pace
from nsutils.run import Run, begun_with
from nsutils.settings import PIXELS, Settings
from nsutils.sources import (
    SIDES,
    Shape,
    check_pools,
    check_targets,
    faces_in,
    larger,
    scale_of,
    scales_of,
)
from nsutils.steering import check, renamed
from nsutils.transfer import Step, resized, start, stylize
from nsutils.watch import Watch

SMALLER = 0.8  # of the edge that did not fit
PREVIEW = 128  # pixels: the least long edge of a preview
OVER = ("stopped", "done", "failed")
ENDED = ("ready", *OVER)
GROWN = 2.0  # times the least total so far: a step with more was on its way out
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 10.0, 0.02  # between two; of the time, for large ones
# tqdm's own time left takes every step for as long as the last: later scales are slower.
BAR = "{percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt} steps, {elapsed}, {rate_fmt}{postfix}"


class Player:
    """Takes a run from where it stands to its end and keeps it on disk.

    `for step in player` plays in the caller's thread; `start()` in a daemon thread, `wait()` for its end; `play()` does
    both, with a progress bar.
    Everything else may be called from any thread. `settings` are those asked for, in force from the next step on,
    `step` is the last made, `status` is one of ready, playing, paused, stopped, done, failed. `listeners` are called
    with the player, in the thread that plays, after each step and once at the end. `word` is a sentence on how it
    goes, if there is something to say (`nsutils.watch`). `shares` are the gradient's, as last found, under the settings
    `shares_under`; `weigh` is how much of the time may go into that: 0 none, 1 at each step. While `previewing` the run
    pauses at the end of the first scale of 128 pixels or more, and follows what is steered with a few more steps
    there, until `resume()`.
    """

    def __init__(self, run: Run, encoder: Encoder | None = None, weigh: float = 0.0):
        self.run, self.encoder, self.weigh = run, encoder, weigh
        self.previewing = False
        self.shares: dict[str, float] = {}
        self.shares_under: Settings | None = None
        self.word, self._told = "", set()
        self.pace: Pace | None = None  # once the run has been begun
        self.course = Course(run.settings)
        self._take_over()
        self.error: BaseException | None = None
        self.status = "ready"
        self.listeners: list[Callable[[Player], None]] = []
        self._go, self._stop, self._ended, self._moved = (threading.Event() for _ in range(4))
        self._thread: threading.Thread | None = None
        self._go.set()

    @property
    def steps_left(self) -> int:
        """How many are still to make."""
        return max(0, self.aim.steps - self._number)

    @property
    def settings(self) -> Settings:
        return self.course.settings

    @property
    def aim(self) -> Settings:
        """Those asked for, with what the record has for later steps."""
        return self.course.aim

    @property
    def seconds_left(self) -> float | None:
        """What the steps to make will take; None at first."""
        return self.pace.left(self.aim, self.step) if self.pace and self.step else None

    @property
    def speed(self) -> float:
        """Steps a second, over the last few."""
        return self.pace.speed if self.pace else 0.0

    @property
    def playing(self) -> bool:
        return self._thread is not None and not self._ended.is_set()

    def steer(self, further: bool = False, **changes: Any) -> None:
        """Changes settings from the next step on; ValueError if one cannot be so.

        Of `styles` their weights, scales and places may change, the pictures not. A change that goes `further` than
        the one before, of the same settings, is undone with it, as one.
        """
        check(self.settings, changes)
        changes = renamed(changes, self.run.add_mask)
        encoder = self.pace.cost.encoder if self.pace else self.encoder
        self.course.ask(changes, further, lambda asked: check_possible(asked, encoder))
        self._moved.set()

    def _take_over(self) -> None:
        """The last step and the record as they are on disk; what was asked here stays asked."""
        self._seen = self.run.stamp
        self.step: Step | None = self.run.last
        self.course.read(self.run.settings, self.run.steering, self._number)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Meanwhile the run is as on disk, and nobody plays it but the caller's own loop."""
        with nullcontext() if self.status in ("playing", "paused") else self.run.idle():
            self._catch_up()
            yield

    def _catch_up(self) -> None:
        """Takes over what another player has made of the run since."""
        if self.run.stamp != self._seen:
            self._take_over()

    @property
    def undoable(self) -> bool:
        """Whether there is a change to take back."""
        return self.course.undoable

    def undo(self) -> None:
        """Takes the last change of settings back, from the next step on; ValueError if there was none."""
        with nullcontext() if self.playing else self._at_rest():
            self.course.undo(self._number)
        self._moved.set()
        self.settle()

    def _follow(self) -> Settings:
        """The settings in force after the last step."""
        return self.course.follow(self._number, self.run.steered)

    def settle(self) -> None:
        """Lets what needs no step take effect at once if none is being made: the content's colours that are kept."""
        if self.playing:
            return
        with self._at_rest():
            if self.step:
                self._follow()
                self._leave_behind()

    def _leave_behind(self) -> None:
        """Writes the last step, in the colours that are wanted now, to go on from and to look at."""
        if not self.step:
            return
        wanted = {"mask_colors": self.settings.mask_colors}
        if self.settings.color_method == "luminance":  # else they were matched before the run
            wanted["original_colors"] = self.settings.original_colors
        self.step = replace(self.step, settings=replace(self.step.settings, **wanted))
        self._checkpoint()
        wanted = {name: getattr(self.settings, name) for name in ("mask", "style_statistic")}
        masked = replace(self.step.settings, **wanted)  # the one may forbid the other
        self.run.finish(replace(self.step, settings=masked))

    def _checkpoint(self) -> None:
        self.run.checkpoint(self.step)
        self._seen = self.run.stamp

    @property
    def pausing(self) -> bool:
        """Whether it holds, or will before the next step."""
        return self.playing and self.status not in OVER and not self._go.is_set()

    def pause(self) -> None:
        """Holds before the next step, if there is to be one."""
        if self.status not in OVER and not self._stop.is_set():
            self._go.clear()

    def resume(self) -> None:
        """Goes on after a pause, from a preview to the scales that follow."""
        self.previewing = False
        self._go.set()
        self._moved.set()

    def stop(self) -> None:
        """Ends after the step in hand; the run can be gone on with."""
        self._stop.set()
        self.resume()

    def start(self) -> "Player":
        """Plays in a thread."""
        if self.playing:
            raise RuntimeError("this player is already playing")
        self.run.check_idle()
        self._stop.clear()
        self._ended.clear()
        self.error, self.status = None, "ready"
        machine.dismiss_helpers()
        name = f"nsutils {self.run.folder.name}"
        self._thread = threading.Thread(target=self._drain, name=name, daemon=True)
        atexit.register(self._leave)
        self._thread.start()
        return self

    def wait(self, progress: bool = False) -> Run:
        """The run, once the thread has ended; what failed there is raised here. An interrupt stops the run.

        `progress` draws a bar with speed and time left.
        """
        bar = tqdm(
            total=self.aim.steps,
            initial=self._number,
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
        if bar.disable:
            return
        if self.step:
            height, width = self.step.image.shape[-2:]
            words = f"{width} x {height} px, {clock(self.seconds_left)} left"
            bar.set_postfix_str(words, refresh=False)
            bar.total = self.aim.steps
            bar.update(self.step.number - bar.n)
        kind = re.sub(r"\d+", "", self.word)
        if kind not in self._told | {""}:
            bar.write(self.word)
            self._told.add(kind)

    def __iter__(self) -> Iterator[Step]:
        """Makes, records and yields the steps that are left."""
        with self.run.played():
            if not self.playing:
                self._stop.clear()
                self.error = None
            self._catch_up()
            yield from self._played()

    def _played(self) -> Iterator[Step]:
        run, ending, threads = self.run, {}, torch.get_num_threads()
        begun = False
        try:
            run.check_files()
            encoder = self.encoder or encoder_of(run)
            told = run.meta.get("encoder") or {"name": encoder.name, "told_by": encoder.told_by}
            faces = begun_with(run.meta).get("faces")
            seen = {"device": str(encoder.device), "precision": encoder.precision, "encoder": told}
            seen["faces"] = faces_in(run.settings) if faces is None else faces
            self._enter("playing", started=now(), **seen, ended_early=None, error=None)
            self._foresee(encoder)
            begun = True
            if self.step is None:
                self.step = start(run.settings, encoder)
                run.keep(self.step)
                self._tell()
            run.rewind(self._number)
            yield from self._made()
            ending = {"status": "stopped" if self.steps_left else "done"}
        except (KeyboardInterrupt, GeneratorExit):
            ending = {"status": "stopped"}
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        except BaseException as error:
            self.error = error
            ending = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            try:
                if ending:
                    self._end(begun, **ending)
            finally:
                torch.set_num_threads(threads)
                self._stop.clear()
                self._go.set()
                self._tell()

    def _end(self, begun: bool, **ending: Any) -> None:
        """Leaves the run on disk as it is to be found: with what was asked last, unless that is why it failed.

        One that was refused before it had begun stays as it was.
        """
        if ending["status"] == "failed":
            self.course.forget()
        try:
            if begun:
                self._follow()
                self._leave_behind()
                ending |= self._measured()
            self._enter(**ending, ended=now(), steps=self._number)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OSError:
        """What is said when the disk is full or the folder read-only; the last checkpoint stands."""
        place = error.filename or self.run.folder
        words = f"{error.strerror}: {place}" if error.strerror else error
        words = f"{words}; mend that, and the run can go on"
        if not (self.run.folder / "settings.json").exists():
            words = f"the run's folder is gone: {self.run.folder}; begin a new run"
        self.status = "failed"
        self.error = error = OSError(words)
        with suppress(OSError):
            self.run.note(status="failed", error=str(error))
        return error

    @property
    def _number(self) -> int:
        return self.step.number if self.step else 0

    def _foresee(self, encoder: Encoder) -> None:
        """What the run will cost, written down when it is begun; ValueError if it cannot fit."""
        meta = self.run.meta
        threads = meta.get("threads", torch.get_num_threads())
        torch.set_num_threads(min(threads, os.cpu_count() or threads))
        check_possible(self.settings, encoder)
        cost = Cost(self.settings, encoder)
        begun = "forecast" in meta
        if not begun or scales_of(self.settings) != scales_of(self.course.recorded):
            forecast = cost.forecast(*([meta["whole"]] if "whole" in meta else []))
            if not forecast.fits:
                raise ValueError(f"this run takes {forecast}")
        if not begun:
            foreseen = {"seconds": float(f"{forecast.seconds:.3g}"), "bytes": forecast.bytes}
            self.run.note(forecast=foreseen, whole=forecast.whole, threads=threads)
        else:
            cost.probed()
        self.pace = Pace(cost, self.run.meta.get("whole"))
        device = encoder.device
        machine.give_back_memory(device)
        machine.forget_peak(device)
        self._before = machine.resident_memory(device)

    def _fits(self, shape: Shape) -> bool:
        """Whether a scale fits into the memory that is free now; said in meta.json if it does not."""
        cost, whole = self.pace.cost, self.pace.whole
        needed = self._before + sum(cost.memory(shape, self.steps_left, whole))
        device = cost.encoder.device
        free = machine.resident_memory(device) + machine.free_memory(device)
        if needed > free:
            height, width = shape
            words = (
                f"{width} x {height} px takes {gigabytes(needed)}, and {gigabytes(free)} are free"
            )
            self.run.note(ended_early=words)
        return needed <= free

    def _smaller(self) -> Generator[Step, Settings | None, None]:
        """The steps to come at a smaller size, from the last good image: the device's memory was too small."""
        settings = self.settings
        failed = larger(scales_of(settings)[scale_of(settings, self._number)], self.step.shape)
        size = round(SMALLER * SIDES[settings.side](failed))
        self.steer(size=size)
        shape = scales_of(self.settings)[-1]
        image = resized(self.step.image, shape) if shape < self.step.shape else self.step.image
        self.step = replace(self.step, image=image, memory={}, settings=self._follow())
        height, width = failed
        self.run.note(made_smaller=f"{width} x {height} px did not fit into the device's memory")
        return self._steps(self.settings)

    def _measured(self) -> dict[str, Any]:
        """Seconds from the first step to the last and the most memory, and their ratios to the forecast's."""
        foreseen = self.run.meta.get("forecast")
        if not self.pace or not foreseen or not self._number:
            return {}
        if not self.pace.whole and not self.course.steered:
            self.pace.teach(weighed=bool(self.weigh))
        device, seconds = self.pace.cost.encoder.device, self.run.last_row.get("seconds", 0.0)
        measured = {"seconds": seconds, "bytes": machine.peak_memory(device)}
        if self.steps_left or self.settings.steps != self.run.settings.steps:
            return {"measured": measured, "measured_by_forecast": None}  # it was of other steps
        ratios = {name: round(measured[name] / foreseen[name], 3) for name in measured}
        return {"measured": measured, "measured_by_forecast": ratios}

    def _made(self) -> Iterator[Step]:
        run, steps = self.run, self._steps(self._follow())
        known = (row["style"] for row in run.metrics)
        strangest = max(known, default=math.inf if self._number else 0.0)
        watch = Watch(run.settings, run.meta["faces"], strangest)
        before = run.last_row.get("seconds", 0.0)
        begun = time.monotonic()
        kept, scale = float("-inf"), 0  # the first step is a checkpoint already
        sent, wait = None, CHECKPOINT_SECONDS
        while True:
            try:
                self.step = step = steps.send(sent)
            except StopIteration:
                return
            except torch.cuda.OutOfMemoryError:
                steps, sent = self._smaller(), None
                continue
            except FloatingPointError as error:
                raise self._taken_back(error) from error
            except BaseException:
                self.step = replace(self.step, memory={})  # the optimiser was cut in mid-step
                raise
            self.pace.see(step, time.monotonic() - begun)
            if step.shares:
                self.shares, self.shares_under = step.shares, step.settings
            self.word = watch.see(step)
            run.record(step, before + self.pace.seconds)
            if step.settings.keeps(step.number):
                run.keep(step)
            grown = step.scale != scale
            if (since := time.monotonic()) - kept > wait or grown:
                self._checkpoint()
                kept, scale = time.monotonic(), step.scale
                wait = max(CHECKPOINT_SECONDS, (kept - since) / CHECKPOINT_SHARE)
            self._tell()
            yield step
            begun += self._held()
            sent = self._follow()
            if self._stop.is_set():
                return

    def _steps(self, settings: Settings) -> Generator[Step, Settings | None, None]:
        pace, faces = self.pace, self.run.meta["faces"]
        encoder, whole = pace.cost.encoder, pace.whole
        return stylize(settings, encoder, self.step, whole, self._fits, self._weighs, faces)

    def _weighs(self) -> bool:
        """Whether the next step is to find its gradient's shares."""
        return self.pace.weighs(self.weigh)

    def _taken_back(self, error: FloatingPointError) -> FloatingPointError:
        """Stands again at the last kept step before the losses grew; what happened."""
        reached, good, least = self._number, 0, {}
        for row in self.run.metrics:
            scale, total, before = row["scale"], row["total"], int(row["step"]) - 1
            least[scale] = min(total, least.get(scale, total))
            if total <= GROWN * least[scale] and self.run.state_file(before).exists():
                good = before
        self.step = self.run.state(good)
        self.run.rewind(good, steering=True)
        self.course.forget()
        self.course.read(self.run.settings, self.run.steering, good)
        back = f"; it was taken back from step {reached} to step {good}" if reached else ""
        return FloatingPointError(f"{error}{back}")

    def _held(self) -> float:
        """Waits while paused, or with a preview that is done; for how many seconds."""
        previewed = self._previewed()
        if not self.steps_left or (self._go.is_set() and not previewed):
            return 0.0
        begun = time.monotonic()
        self._checkpoint()
        self._moved.clear()
        self._enter("paused")
        self._tell()
        while not self._go.is_set() or (
            previewed and self.previewing and self.settings == self.course.recorded
        ):
            self._moved.wait()
            self._moved.clear()
        if previewed and self.previewing and self.step.scale < len(self.settings.scale_steps):
            self.course.stay(self.step.scale, self._number)
        self._enter("playing")
        return time.monotonic() - begun

    def _previewed(self) -> bool:
        """Whether the next step would leave the scale of the preview."""
        if not self.previewing or not self.steps_left:
            return False
        ladder, number = scales_of(self.settings), self.step.number
        here, after = ladder[self.step.scale], ladder[scale_of(self.settings, number)]
        return max(after) > max(here) >= PREVIEW

    @property
    def past_preview(self) -> bool:
        """Whether it has left the scale of a preview behind."""
        before = scales_of(self.settings)[: self.step.scale] if self.step else ()
        return any(max(shape) >= PREVIEW for shape in before)

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


def check_possible(settings: Settings, encoder: Encoder | None) -> None:
    """ValueError if no run can have these settings, as far as that is known without the encoder."""
    check_pools(settings)
    if settings.precision == "float16" and settings.normalize_gradients:
        raise ValueError(
            "normalize_gradients is on, but float16 knows no numbers as small as large pictures then have; "
            "use bfloat16 or float32"
        )
    if encoder:
        layers = (*settings.content_layers, *settings.style_layers)
        encoder.check(layer for layer in layers if layer != PIXELS)
        check_targets(settings, encoder)


def encoder_of(run: Run, device: str | None = None) -> Encoder:
    """The encoder that the run was begun with, on the device asked for, or the best one."""
    return encoders.of(run.settings, **resolved(run), device=device)


def resolved(run: Run) -> dict[str, str]:
    """The encoder and the precision that the run was begun with, where its settings leave them open."""
    if not (encoder := (meta := run.meta).get("encoder")):
        return {}
    return {"name": encoder["name"], "precision": meta.get("precision", run.settings.precision)}


def clock(seconds: float | None) -> str:
    """m:ss"""
    return "?" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
