"""Many runs by one call: one after the other here, or in a pool of processes, or on a cluster."""

import os
import shutil
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache, lru_cache
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from tqdm.auto import tqdm

from nsutils import encoders, machine, pictures
from nsutils.cost import ladder
from nsutils.encoders import Encoder
from nsutils.folders import alone
from nsutils.inputs import with_pictures
from nsutils.player import Player, resolved
from nsutils.recipe import told_apart
from nsutils.run import Run, half_made, remove, whole_or_gone
from nsutils.settings import HOW, Settings
from nsutils.targets import Known

SHARED = ".styles"  # the folder of what the workers have found of the styles
SIGN = ".sweep"  # the file that names the sweep in charge of a folder; without it its jobs stop
LOOK, PATIENCE = 0.5, 60.0  # seconds between two looks at the folders; for jobs to stop
BAR = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
LONGEST, NAMED = 80, 3  # letters of a folder's name; runs that an error names


class Unfinished(RuntimeError):
    """Some runs of a sweep are not done; `reasons` has why, by folder."""

    def __init__(self, reasons: dict[str, str], count: int, broken: bool, displaced: bool):
        self.reasons = reasons
        way_out = "run the sweep again: it goes on where it stood"
        if displaced:
            way_out = f"another sweep has taken the folder over; when that has ended, {way_out}"
        if broken:
            way_out = f"a worker died, and its pool with it; {way_out}, in a new pool"
        told = [f"{name}: {reason}" for name, reason in [*reasons.items()][:NAMED]]
        more = f" and {len(reasons) - NAMED} more" * (len(reasons) > NAMED)
        super().__init__(
            f"{len(reasons)} of {count} runs are not done ({'; '.join(told)}{more}); {way_out}"
        )


def sweep(
    settings: Iterable[Settings],
    folder: str | Path,
    executor: Any = None,
    threads: int | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Iterator[Run]:
    """Yields the run of each of the settings as soon as it is done; each has a folder of its own in `folder`.

        with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
            runs = list(sweep(vary(settings, style_weight=[0.3, 1, 3]), "trials", pool))

        with Client("tcp://scheduler:8786") as cluster:
            runs = list(sweep(vary(settings, style_weight=[0.3, 1, 3]), "trials", cluster))

    `executor` is any object whose `submit` gives futures with `done()` and `result()`; by default the runs are played
    one after the other in this process. The folder is all that the workers must see, on a disk that they share: the
    pictures are copied into it (a file of `weights` is not). Each run is played with `threads` threads, by default
    the processor's cores divided by the jobs that its machine plays at a time; dask plays one for each thread of a
    worker, so one (`threads_per_worker=1`) is sensible.
    Give each worker a graphics card of its own: `dask_cuda.LocalCUDACluster` does; in a pool, let an `initializer`
    set CUDA_VISIBLE_DEVICES. Within a process the runs share the encoder, and on a machine what is found of their
    styles: the same statistics are not computed again.

    The same sweep in the same folder goes on where it was cut off: what is done is yielded at once, what is half done
    is resumed. A worker's death does the same to its run; a dask cluster tries again by itself, a process pool is
    broken by it and says so. Where runs fail, the others are still yielded, and then `Unfinished` is raised.
    Closing the generator, or an interrupt, withdraws what has not begun and stops the rest after the step in hand.
    """
    folder = Path(folder).absolute()
    runs = prepared(settings, folder)
    sign, charge, ended = folder / SIGN, uuid.uuid4().hex, threading.Event()
    own = ThreadPoolExecutor(1) if executor is None else None
    before = torch.get_num_threads()
    threads = threads or (before if own else None)
    more = (str(sign), charge, jobs_at_once(executor), threads, device)
    pictures.write(sign, charge.encode())
    jobs: list[tuple[Any, Run]] = []
    reasons: dict[str, str] = {}
    broken = False
    try:
        shown = Progress(runs, progress)
        with shown.bar:
            done = [run for run in runs if run not in shown.left]
            machine.dismiss_helpers()
            for run in runs:
                if run not in done:
                    jobs.append(((executor or own).submit(play, str(run.folder), *more), run))
            for future, _ in jobs:
                if hasattr(future, "add_done_callback"):  # else it is noticed at the next look
                    future.add_done_callback(lambda _: ended.set())
            yield from done
            while jobs:
                ended.wait(LOOK)
                ended.clear()
                for job in [job for job in jobs if job[0].done()]:
                    jobs.remove(job)
                    future, run = job
                    reason, died = outcome(future)
                    if reason:
                        reasons[run.folder.name], broken = reason, broken or died
                        continue
                    shown.look(run)
                    yield run
                shown.look()
    finally:
        mine = in_charge(sign, charge)
        if mine:
            sign.unlink()
        withdraw(jobs, ended)
        if mine:
            shutil.rmtree(folder / SHARED, ignore_errors=True)
        if broken:
            executor.shutdown()  # until its other workers are gone, and their runs can be gone on with
        if own:
            own.shutdown()
            torch.set_num_threads(before)
            encoder_for.cache_clear()
    if reasons:
        raise Unfinished(reasons, len(runs), broken, not mine)


def prepared(settings: Iterable[Settings], folder: Path) -> list[Run]:
    """The runs in the folder, those that are not there yet made, or none of them if one cannot be.

    Settings that are given twice have one.
    """
    digest = cache(lambda name: pictures.sha256(file_of(name)))
    wanted = {}
    for each in settings:
        alike = with_pictures(each, digest)  # wherever the pictures lie
        wanted.setdefault(pictures.sha256(alike.to_json().encode())[:10], each)
    if not wanted:
        raise ValueError("no settings to sweep; give some, as vary(settings, size=[256, 512])")
    runs = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"no runs can be made in {str(folder)!r}: {error.strerror}") from error
    with alone(folder), ExitStack() as all_or_none:
        all_or_none.callback(gone_if_empty, folder)
        for (key, each), name in zip(wanted.items(), names_of([*wanted.values()]), strict=True):
            # By the key alone: the name tells what varies, which may be more another time.
            there = [path.parent for path in folder.glob(f"*-{key}/settings.json")]
            if there:
                runs.append(Run(there[0]))
                continue
            if half_made(place := folder / f"{name}-{key}"):
                remove(place)
            runs.append(run := Run.create(place, each))
            all_or_none.enter_context(whole_or_gone(run))
    return runs


def gone_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def file_of(name: str) -> bytes:
    """A file's bytes; where there is none its name, which the run will complain of."""
    return Path(name).read_bytes() if Path(name).is_file() else name.encode()


def names_of(settings: list[Settings]) -> list[str]:
    """What tells the settings apart, as names for folders."""
    plainly = [with_pictures(each, lambda name: Path(name).stem) for each in settings]
    differing = (("_".join(pair) for pair in each.items()) for each in told_apart(plainly))
    parts = ("-".join(pairs).replace(", ", "+") or "run" for pairs in differing)
    return ["".join(c if c.isalnum() or c in "-_.+" else "_" for c in p)[:LONGEST] for p in parts]


def jobs_at_once(executor: Any) -> int:
    """How many jobs a machine of the executor plays at a time."""
    if not hasattr(executor, "nthreads"):
        return getattr(executor, "_max_workers", 1)
    hosts = Counter()  # dask's client: a job for each thread of a worker
    for address, count in executor.nthreads().items():
        hosts[urlsplit(address).hostname] += count
    return max(hosts.values(), default=1)


def play(
    folder: str, sign: str, charge: str, at_once: int, threads: int | None, device: str | None
) -> str:
    """Plays a run in this process as long as the sweep is in charge; the run's status then."""
    run, sign = Run(folder), Path(sign)
    if run.status == "done" or not in_charge(sign, charge):
        return run.status
    meta = run.meta
    if meta.get("sweep") == charge and meta["host"] != socket.gethostname():
        run.note(status="interrupted")  # the executor has given up whoever plays it there
    if meta.get("sweep") not in (None, charge):
        until_left(run, lambda: in_charge(sign, charge))
    run.check_idle()
    run.note(sweep=charge)
    torch.set_num_threads(threads or max(1, cores() // at_once))
    settings = run.settings
    asked = {"name": settings.encoder} | {name: getattr(settings, name) for name in HOW}
    asked |= resolved(run) | {"device": device}
    try:
        shared = sign.with_name(SHARED)
        player = Player(run, encoder_for(charge, tuple(asked.items()), shared))
    except Exception as error:  # what fails later, the player writes down
        run.note(status="failed", error=f"{type(error).__name__}: {error}")
        raise
    player.listeners.append(lambda player: in_charge(sign, charge) or player.stop())
    for _ in player:
        pass
    return player.run.meta.get("ended_early") or player.status


def until_left(run: Run, wanted: Callable[[], bool]) -> None:
    """Waits until a sweep that is in charge no more leaves a run, which it does after the step in hand."""
    until = time.monotonic() + PATIENCE
    while run.status in ("playing", "paused") and wanted() and time.monotonic() < until:
        time.sleep(LOOK)  # another process says it on the disk alone


@lru_cache(maxsize=2)
def encoder_for(charge: str, asked: tuple[tuple[str, Any], ...], shared: Path) -> Encoder:
    """The encoder that the runs of a sweep share in a process, and with other processes what it finds of styles.

    Rounding differs between machines and between numbers of threads: what is shared could not be found again there.
    """
    encoder = encoders.load(**dict(asked))
    maker = charge, asked, encoder.precision, socket.gethostname(), torch.get_num_threads()
    encoder.statistics = Known(shared, maker)
    return encoder


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_charge(sign: Path, charge: str) -> bool:
    """Whether a sweep still wants its runs played: it takes its sign away when it ends, and another puts its own."""
    try:
        return sign.read_text() == charge
    except FileNotFoundError:
        return False


def outcome(future: Any) -> tuple[str, bool]:
    """Why the run of an ended job is not done, if it is not, and whether that broke the pool."""
    try:
        status = future.result()
    except BrokenExecutor:
        return "its worker or another died", True
    except Exception as error:  # whatever a job, or what carries it, brings up
        return f"{type(error).__name__}: {error}", False
    return "" if status == "done" else status, False


def withdraw(jobs: list[tuple[Any, Run]], ended: threading.Event) -> None:
    """Cancels the jobs that have not begun, and waits for those that are at work, which stop by themselves."""
    for future, run in jobs:
        if run.status != "playing" and hasattr(future, "cancel"):
            future.cancel()
    until = time.monotonic() + PATIENCE
    while not all(future.done() for future, _ in jobs) and time.monotonic() < until:
        ended.wait(LOOK)
        ended.clear()


class Progress:
    """A bar of the steps that the runs have made, each by its pixels, and of the time left."""

    def __init__(self, runs: list[Run], shown: bool):
        self.costs = {run: costs(run.settings) for run in runs}
        self.steps = {run: run.made for run in runs}
        self.left = {run for run in runs if run.status != "done"}
        total = sum(map(sum, self.costs.values()))
        # Of all steps since the beginning, for those of several runs come in no even order.
        more = {"initial": self.cost, "smoothing": 0, "bar_format": BAR}
        self.bar = tqdm(total=total, disable=not shown, **more)
        self.look()

    @property
    def cost(self) -> int:
        return sum(sum(self.costs[run][:count]) for run, count in self.steps.items())

    def look(self, ended: Run | None = None) -> None:
        """Counts the steps in the folders of the runs that were not done; `ended` is one that now is."""
        self.steps |= {run: run.made for run in self.left}
        self.left.discard(ended)
        runs, done = len(self.costs), len(self.costs) - len(self.left)
        steps, of = sum(self.steps.values()), sum(map(len, self.costs.values()))
        self.bar.set_postfix_str(f"{done} of {runs} runs, {steps} of {of} steps", refresh=False)
        self.bar.update(self.cost - self.bar.n)
        self.bar.refresh()


def costs(settings: Settings) -> list[int]:
    """The pixels of each step of a run."""
    return [prod(shape) for shape, begin, end in ladder(settings) for _ in range(begin, end)]
