"""Plays a run: in the caller's loop or in a thread of its own, to be paused, steered, stopped and gone on with."""

import atexit
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from nsutils import encoders, machine, pictures
from nsutils.cost import Cost, Forecast, gigabytes
from nsutils.encoders import Encoder
from nsutils.run import Run, now
from nsutils.settings import Settings
from nsutils.sources import SIDES, Shape, larger, scale_of, scales
from nsutils.transfer import Step, resized, start, stylize

SMALLER = 0.8  # of the edge that did not fit
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
        self.seconds, self._foreseen, self._moments = 0.0, 0.0, deque(maxlen=10)
        self.cost: Cost | None = None
        self.forecast: Forecast | None = None
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
        """What the steps to make cost by the forecast, as much more or less as the last ones did; None at first."""
        if not self.cost or not self.step:
            return None
        ahead, slower = self.cost.ahead(self.settings, self.step, self.whole), 1.0
        if len(self._moments) > 1:
            (since, foreseen), (now, all_foreseen) = self._moments[0], self._moments[-1]
            slower = (now - since) / (all_foreseen - foreseen)
        return slower * ahead

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
        machine.dismiss_helpers()
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
                ended_early=None,
            )
            self._foresee(encoder)
            if self.step is None:
                self.step = start(self.settings, encoder)
                run.keep(self.step)
                self._tell()
            run.rewind(self.step.number)
            steps = stylize(self.settings, encoder, self.step, self.whole, self._fits)
            yield from self._made(steps)
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
            self._enter(**ending, **self._measured(), ended=now(), steps=self._number)
            self._stop.clear()
            self._tell()

    @property
    def _number(self) -> int:
        return self.step.number if self.step else 0

    @property
    def whole(self) -> int | None:
        """The pixels up to which images are seen in one piece, as found when the run was begun; None: all are."""
        return self.forecast.whole if self.forecast else self.run.meta.get("whole")

    def _foresee(self, encoder: Encoder) -> None:
        """What the run will cost, written down when it is begun; ValueError if it cannot fit."""
        cost, meta = Cost(self.settings, encoder), self.run.meta
        if "forecast" not in meta:
            self.forecast = cost.forecast()
            if not self.forecast.fits:
                raise ValueError(f"this run takes {self.forecast}")
            foreseen = {
                "seconds": float(f"{self.forecast.seconds:.3g}"),
                "bytes": self.forecast.bytes,
            }
            threads = torch.get_num_threads()
            self.run.note(forecast=foreseen, whole=self.forecast.whole, threads=threads)
        else:
            cost.probed(0)
            torch.set_num_threads(meta["threads"])
        self.cost = cost  # other threads look at it
        if self.whole:
            machine.save_memory()
        machine.give_back_memory()
        machine.forget_peak()
        self._before, self._took = machine.resident_memory(), {}

    def _fits(self, shape: Shape) -> bool:
        """Whether a scale fits into the memory that is free now; said in meta.json if it does not."""
        needed = self._before + self.cost.memory(shape, self.steps_left, self.whole)
        free = machine.resident_memory() + machine.free_memory(self.cost.encoder.device)
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
        self.step = replace(self.step, image=image, memory={}, settings=self.settings)
        self.run.steered(self._number, {"size": size})
        height, width = failed
        self.run.note(made_smaller=f"{width} x {height} px did not fit into the device's memory")
        return stylize(self.settings, self.cost.encoder, self.step, self.whole, self._fits)

    def _measured(self) -> dict[str, Any]:
        """Seconds from the first step to the last and the most memory, and their ratios to the forecast's."""
        if not (foreseen := self.run.meta.get("forecast")) or not self._number:
            return {}
        for shape, took in self._took.items():
            if len(took) > 5 and not self.whole and not self.run.steering:
                self.cost.learn(shape[0] * shape[1], statistics.median(took[1:]))
        seconds = (self.run.metrics or [{"seconds": 0.0}])[-1]["seconds"]
        measured = {"seconds": seconds, "bytes": machine.peak_memory(self.cost.encoder.device)}
        if self.steps_left:
            return {"measured": measured}
        ratios = {name: round(measured[name] / foreseen[name], 3) for name in measured}
        return {"measured": measured, "measured_by_forecast": ratios}

    def _made(self, steps: Generator[Step, Settings | None, None]) -> Iterator[Step]:
        run = self.run
        before = (run.metrics or [{"seconds": 0.0}])[-1]["seconds"]
        self.seconds, begun = 0.0, time.monotonic()
        kept = float("-inf")  # the first step is a checkpoint already
        sent, wait = None, CHECKPOINT_SECONDS
        while True:
            try:
                self.step = step = steps.send(sent)
            except StopIteration:
                return
            except torch.cuda.OutOfMemoryError:
                steps, sent = self._smaller(), None
                continue
            except BaseException:
                self.step = replace(self.step, memory={})  # the optimiser was cut in mid-step
                raise
            seconds = time.monotonic() - begun
            self._took.setdefault(step.shape, []).append(seconds - self.seconds)
            self.seconds = seconds
            self._foreseen += self.cost.step(step.shape, self.whole)
            self._moments.append((seconds, self._foreseen))
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


def scales_of(settings: Settings) -> list[Shape]:
    return scales(settings, pictures.shape(settings.content))


def resolved(run: Run) -> dict[str, str]:
    """The encoder and the precision that the run was begun with, where its settings leave them open."""
    if not (encoder := (meta := run.meta).get("encoder")):
        return {}
    return {"name": encoder["name"], "precision": meta["precision"]}


def clock(seconds: float | None) -> str:
    """m:ss"""
    return "?" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
