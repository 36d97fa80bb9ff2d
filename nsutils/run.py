"""A run's folder: what was asked, what came of it, and what it needs to go on. Plain files, read without the kit."""

import functools
import io
import itertools
import json
import math
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from operator import index
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from nsutils import colours, metrics, pictures
from nsutils.folders import alone, vacant
from nsutils.growing import append, lines
from nsutils.inputs import (
    UNREADABLE,
    check_aside,
    copied,
    cut,
    own_name,
    with_copies,
    with_inputs,
    with_pictures,
)
from nsutils.origin import alive, circumstances, now
from nsutils.samples import runs_folder
from nsutils.settings import Settings, Style, escaped
from nsutils.sources import Sources, as_mask, content_of, mask_of, opened_mask
from nsutils.steering import changes, renamed, steered
from nsutils.targets import shown
from nsutils.transfer import Step, full_size

# What is a run's own in its folder, and may be deleted with it.
FILES = (
    *("settings.json", "meta.json", "metrics.csv", "steering.jsonl", "checkpoint.pt", "result.png"),
    *("report.html", "notes.txt", "favourite", "inputs", "images", "states"),
)
BEGUN_WITH = ("encoder", "precision", "whole", "threads", "faces")
SILENCE = 600  # seconds after which a run of another machine is taken for given up
MOST_STATES = 10
PLAYED: set[tuple[int, Path]] = set()  # the folders that this process plays, and its number


class Damaged(ValueError):
    """A file of a run that cannot be read."""


class Run:
    """A folder that holds a run:

    settings.json    the recipe, its pictures named as in inputs/
    meta.json        status, times, machine, versions, the inputs' old names and hashes
    inputs/          content and styles, byte for byte
    metrics.csv      a row a step: step, seconds, scale, total, content, style, tv, then each layer's
    images/          step_00000.jpg (the start), then a picture each `settings.interval` steps
    states/          step_00000.pt ..., the image of some such steps without loss, to fork from
    steering.jsonl   what was changed while it ran, and after which step
    checkpoint.pt    the last step with all that the optimiser remembers, to go on from
    result.png       the picture, with what settings.json says inside
    report.html      its report, if one was asked for
    notes.txt        what you write down about it
    favourite        an empty file, if it was marked as one

    A file is there whole or not at all, but for the last line of the two that grow.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "settings.json").is_file():
            why = "it has no settings.json" if self.folder.exists() else "there is no such folder"
            raise ValueError(f"no run in {str(self.folder)!r}: {why}")

    @classmethod
    def create(cls, folder: str | Path, settings: Settings, **facts: Any) -> "Run":
        """A new run in `folder`, its inputs copied; ValueError if a picture is unfit, or something there has the name
        of a file of a run.

        `facts` are added to meta.json.
        """
        folder = Path(folder)
        Sources(settings)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with alone(folder):
                if (folder / "settings.json").exists():
                    raise ValueError(f"{str(folder)!r} already holds a run; choose another folder")
                if taken := [name for name in FILES if os.path.lexists(folder / name)]:
                    raise ValueError(
                        f"{str(folder)!r} holds {taken[0]!r}, which would be the run's; choose another folder"
                    )
                with ExitStack() as unless_whole:
                    unless_whole.callback(remove, folder)
                    for part in ("images", "inputs"):
                        (folder / part).mkdir()
                    named, inputs = with_copies(settings, folder)
                    meta = {"id": uuid.uuid4().hex, "status": "ready", "created": now()}
                    meta |= {"inputs": inputs} | circumstances() | facts
                    write_json(folder / "meta.json", meta)
                    pictures.write(folder / "settings.json", named.to_json().encode())
                    unless_whole.pop_all()
        except OSError as error:
            raise ValueError(
                f"no run can be made in {str(folder)!r}: {error.strerror or error}"
            ) from error
        return cls(folder)

    @classmethod
    def new(cls, settings: Settings, runs: str | Path | None = None) -> "Run":
        """A new run in a new folder under `runs`, by default data/runs."""
        runs = Path(runs) if runs else runs_folder()
        with suppress(OSError):  # which is told when the run is made
            runs.mkdir(parents=True, exist_ok=True)
        with alone(runs):
            return cls.create(new_folder(runs, settings), settings)

    @property
    def settings(self) -> Settings:
        """The recipe, its pictures found in the folder."""
        whole = "put a whole copy in its place; result.png has one inside"
        return self._located(self._read("settings.json", whole, Settings.kept))

    def settings_at(self, step: float = math.inf) -> Settings:
        """Those in force when a step was made, with what was steered; by default the last on record."""
        record = (line for line in self.steering if line["step"] < step)
        return functools.reduce(steered, record, self.settings)

    @property
    def meta(self) -> dict[str, Any]:
        """What meta.json says; only the inputs if there is none."""
        if (self.folder / "meta.json").exists():
            way_out = "delete it: the run can be gone on with without it"
            return self._read("meta.json", way_out, with_inputs)
        files = sorted((self.folder / "inputs").glob("[!.]*"))
        return {"inputs": {file.stem: copied(self.folder, file, file.name) for file in files}}

    def check_files(self) -> None:
        """ValueError if a picture is not the one that the run began with, or the losses are damaged."""
        self.check_losses()
        for facts in self.meta["inputs"].values():
            file = self.folder / facts["file"]
            there = file.exists()
            if not there or pictures.hash_of(file) != facts["sha256"]:
                what = "is not what the run began with" if there else "is gone"
                raise ValueError(f"{str(file)!r} {what}; put {facts['name']!r} back in its place")

    def check_losses(self) -> None:
        """ValueError if metrics.csv does not begin with its columns."""
        if missing := metrics.missing(self._metrics_file):
            way_out = "delete it: the run can go on without its losses so far"
            raise self._damaged("metrics.csv", f"no column {missing[0]}", way_out)

    @property
    def status(self) -> str:
        """ready, playing, paused, stopped, done, failed, interrupted (its process is gone), or unknown."""
        meta = self.meta
        status = meta.get("status", "unknown")
        if status in ("playing", "paused") and not self._being_played(meta):
            return "interrupted"
        return status

    def _being_played(self, meta: Mapping[str, Any]) -> bool:
        """Whether the process that last played it still does."""
        if meta.get("host") == socket.gethostname():
            here = meta["pid"] != os.getpid() or self._mine
            return here and alive(meta["pid"], meta.get("since"))
        files = [self.folder / name for name in ("meta.json", "metrics.csv")]
        return time.time() - max(file.stat().st_mtime for file in files if file.exists()) < SILENCE

    def check_idle(self) -> None:
        """ValueError if another thread or process plays the run."""
        meta, mine = self.meta, self._mine
        if mine or self.status in ("playing", "paused"):
            who = "this process" if mine else f"process {meta['pid']} on {meta['host']}"
            raise ValueError(f"{str(self.folder)!r} is being played by {who}; stop it there first")

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Meanwhile nobody begins to play the run; ValueError if another thread or process plays it."""
        with alone(self.folder):
            self.check_idle()
            yield

    @contextmanager
    def played(self) -> Iterator[None]:
        """Meanwhile this process plays the run, and no other thread or process."""
        mine, playing = (
            (os.getpid(), self.folder.resolve()),
            {"status": "playing"} | circumstances(),
        )
        with self.idle():
            with suppress(OSError):  # a full disk is told by whoever writes next
                write_json(self.folder / "meta.json", self.meta | playing)
            PLAYED.add(mine)
        try:
            yield
        finally:
            PLAYED.discard(mine)

    @property
    def _mine(self) -> bool:
        """Whether this process plays the run, and not the one that it was forked from."""
        return (os.getpid(), self.folder.resolve()) in PLAYED

    @property
    def favourite(self) -> bool:
        return (self.folder / "favourite").exists()

    def mark(self, on: bool = True) -> None:
        """Makes it a favourite, or a run like others."""
        if on:
            (self.folder / "favourite").touch()
        else:
            (self.folder / "favourite").unlink(missing_ok=True)

    @property
    def notes(self) -> str:
        """What was written down about it; set it to write."""
        file = self.folder / "notes.txt"
        return file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""

    @notes.setter
    def notes(self, words: str) -> None:
        pictures.write(self.folder / "notes.txt", words.strip().encode(errors="replace"))

    def delete(self) -> None:
        """Removes all that is the run's, and its folder if nothing else is in it; ValueError while it is played."""
        with suppress(Damaged):
            self.check_idle()
        remove(self.folder)

    @property
    def result(self) -> Path:
        return self.folder / "result.png"

    @property
    def outcome(self) -> Path | None:
        """The result, unless the run was stopped there and has come further since."""
        made = self.made
        latest = self.result.exists() and self.meta.get("steps", made) >= made
        return self.result if latest else None

    @property
    def images(self) -> dict[int, Path]:
        """The kept pictures by step."""
        return dict(numbered(self.folder.glob("images/step_*.jpg")))

    @property
    def metrics(self) -> list[dict[str, float]]:
        """A row a step; a line cut off in mid-write, or that is not of numbers, is left out."""
        self.check_losses()
        return metrics.rows(self._metrics_file)

    @property
    def last_row(self) -> dict[str, float]:
        """The last whole row of `metrics`; empty if there is none."""
        return metrics.last_row(self._metrics_file)

    @property
    def made(self) -> int:
        """How many steps are on record; where the losses are gone, how many there were when it ended."""
        if not self._metrics_file.exists():
            return self.meta.get("steps", 0)
        return int(self.last_row.get("step", 0))

    @property
    def steering(self) -> list[dict[str, Any]]:
        """What was changed while it ran, in order: {"step": after which, the setting's name: its new value, ...}.

        A line with "undo" takes the last change back that was not yet (`nsutils.steering`).
        """

        def read(text: str) -> dict[str, Any]:
            line = json.loads(text)
            Settings.check_names(changes(line))
            for parts in line.get("styles", ()):
                Style("picture", **parts)  # checked by being made
            return renamed(line, lambda name: str(self.folder / name))

        try:
            record = map(read, lines(self._steering_file))
            # steps made again after a crash are steered late
            return sorted(record, key=lambda line: index(line["step"]))
        except (ValueError, *UNREADABLE) as error:
            raise self._damaged(
                "steering.jsonl", error, "mend that line, or delete the file and what it tells of"
            ) from error

    def add_mask(self, mask: str | Path | Image.Image) -> str:
        """Keeps another mask among the inputs, if it is not one of them; its path."""
        if isinstance(mask, str | Path) and self.folder / "inputs" in Path(mask).parents:
            return str(mask)
        image = as_mask(mask) if isinstance(mask, Image.Image) else opened_mask(str(mask))
        data = pictures.png(image, {})
        role = f"mask_{pictures.sha256(data)[:8]}"
        file = self.folder / "inputs" / f"{role}.png"
        if not file.exists():
            pictures.write(file, data)
            name = file.name if isinstance(mask, Image.Image) else own_name(str(mask))
            self.note(inputs=self.meta["inputs"] | {role: copied(self.folder, file, name)})
        return str(file)

    @property
    def last(self) -> Step | None:
        """The last step that can be gone on from."""
        then = "the run then begins again from its settings"
        return self._step(self.folder / "checkpoint.pt", then)

    @property
    def stamp(self) -> tuple[int, int] | None:
        """What tells the last step's file from one before it; None if there is none."""
        with suppress(FileNotFoundError):
            kept = (self.folder / "checkpoint.pt").stat()
            return kept.st_ino, kept.st_mtime_ns
        return None

    def state(self, number: int) -> Step | None:
        """The step of that number, its optimiser's memory left out, if it was kept."""
        return self._step(self.state_file(number), "its steps are then made again")

    def state_file(self, number: int) -> Path:
        return self.folder / "states" / f"step_{number:05d}.pt"

    def _step(self, file: Path, then: str) -> Step | None:
        if not file.exists():
            return None
        try:
            saved = torch.load(file, map_location="cpu", weights_only=True)
            settings = self._located(Settings.from_json(saved["settings"]))
            return Step(**saved | {"settings": settings})
        except Exception as error:  # whatever a damaged file brings up
            raise Damaged(f"{str(file)!r} is damaged; delete it: {then}") from error

    def __repr__(self) -> str:
        return f"<Run {str(self.folder)!r}: {self.in_words}>"

    @property
    def in_words(self) -> str:
        """How far it has come."""
        return f"{self.status}, {self.made} of {self.settings_at().steps} steps"

    def _repr_html_(self) -> str:
        """Name and state, above what it was made from and what came of it."""
        files = [self.folder / facts["file"] for facts in self.meta["inputs"].values()]
        files += [self.result] if self.result.exists() else [*self.images.values()][-1:]
        strip = "".join(thumbnail(file) for file in files)
        return f"<p><b>{escaped(self.folder.name)}</b>: {self.in_words}</p><p>{strip}</p>"

    def note(self, **facts: Any) -> None:
        """Sets facts in meta.json."""
        with alone(self.folder):
            write_json(self.folder / "meta.json", self.meta | facts)

    def record(self, step: Step, seconds: float) -> None:
        """Adds a row to metrics.csv; a loss that there was not before gets a column at the end."""
        row = {"step": step.number, "seconds": round(seconds, 3), "scale": step.scale}
        row |= step.losses
        metrics.add_row(self._metrics_file, row)

    def steered(self, step: int, changes: Mapping[str, Any]) -> None:
        """Adds a line to steering.jsonl."""
        line = {"step": step, **renamed(changes, self.relative)}
        append(self._steering_file, json.dumps(line))

    def relative(self, name: str) -> str:
        """A file's name as the run's own files have it."""
        return Path(name).relative_to(self.folder).as_posix()

    def keep(self, step: Step) -> None:
        """Adds the step's picture to images/, and of some its state."""
        file = self.folder / "images" / f"step_{step.number:05d}.jpg"
        file.parent.mkdir(exist_ok=True)
        pictures.write(file, pictures.jpeg(in_colours(step.image, step.settings), quality=92))
        if step.number % math.ceil(step.settings.steps / MOST_STATES) == 0:
            bare = {name: part for name, part in step.memory.items() if name == "image"}
            (self.folder / "states").mkdir(exist_ok=True)
            self._save(replace(step, memory=bare), self.state_file(step.number))

    def checkpoint(self, step: Step) -> None:
        """Keeps what is needed to go on from the step."""
        for file in (self._metrics_file, self._steering_file):  # they must not fall behind it
            if file.exists():
                with file.open("rb+") as stream:
                    os.fsync(stream.fileno())
        self._save(step, self.folder / "checkpoint.pt")

    def _save(self, step: Step, file: Path) -> None:
        fields = ("number", "scale", "losses", "image", "memory")
        values = {field: getattr(step, field) for field in fields}
        buffer = io.BytesIO()
        torch.save(values | {"settings": self._named(step.settings).to_json()}, buffer)
        pictures.write(file, buffer.getvalue())

    def finish(self, step: Step) -> None:
        """Writes result.png, at the size asked for, as transparent as the content, the recipe inside."""
        notes = {
            "Software": f"nsutils {version('nsutils')}",
            "nsutils.settings": self._named(self.settings).to_json(),
        }
        image = in_colours(full_size(step), step.settings)
        pictures.write(self.result, pictures.png(with_alpha(image, step.settings), notes))

    def save(
        self,
        path: str | Path,
        original_colors: float | None = None,
        color_method: str = "luminance",
    ) -> None:
        """Writes the picture to another file, a PNG, JPEG or TIFF of 8 bits by its ending.

        `original_colors`, 0 to 1, of the content's colours are put back into it, at once and in this file alone;
        by default as many as the run's settings say. What a mask keeps in its colours stays so.
        """
        format = pictures.check_writable(path)
        self.check_aside(path)
        image = self.picture(original_colors, color_method)
        pictures.hand_over(path, pictures.encoded(image, format))

    def check_aside(self, path: str | Path) -> None:
        """ValueError if a file to be written is a run's own, or a picture that this one was made from, anywhere."""
        check_no_runs(path)
        check_aside(path, {facts["sha256"] for facts in self.meta["inputs"].values()})

    def picture(
        self, original_colors: float | None = None, color_method: str = "luminance"
    ) -> Image.Image:
        """The result, with so much of the content's colours."""
        if not self.result.exists():
            raise ValueError(f"no picture yet in {str(self.folder)!r}; nsutils resume makes it")
        if original_colors is None:
            with Image.open(self.result) as image:
                return image.copy()
        if not (step := self.last):
            raise ValueError(
                f"no checkpoint.pt in {str(self.folder)!r} to colour anew; let the run go on"
            )
        asked = {"original_colors": original_colors, "color_method": color_method}
        settings = replace(self.settings_at(), **asked)  # checked by being made
        image, content = pictures.to_image(full_size(step)), content_of(settings)
        if color_method in colours.MATCHES:
            image = colours.matched(image, content, color_method, original_colors)
        image = colours.finished(image, content, settings, mask_of(settings))
        return with_alpha(image, settings)

    def rewind(self, number: int, steering: bool = False) -> None:
        """Forgets the rows and pictures after step `number`, and what was steered from there on if asked."""
        metrics.rewind(self._metrics_file, number)
        kept = (self.folder.glob(f"{place}/step_*") for place in ("images", "states"))
        for step, file in numbered(itertools.chain(*kept)):
            if step > number:
                file.unlink()
        if steering:
            record = lines(self._steering_file)
            stays = [line for line in record if json.loads(line)["step"] < number]
            pictures.write(self._steering_file, "".join(stays).encode())

    @property
    def _metrics_file(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def _steering_file(self) -> Path:
        return self.folder / "steering.jsonl"

    def _read(self, name: str, way_out: str, made: Callable[[Any], Any]) -> Any:
        """What is `made` of a JSON file."""
        try:
            return made(json.loads((self.folder / name).read_text()))
        except FileNotFoundError as error:
            raise Damaged(f"{str(self.folder / name)!r} is gone; {way_out}") from error
        except (ValueError, *UNREADABLE) as error:
            raise self._damaged(name, error, way_out) from error

    def _damaged(self, name: str, error: Exception | str, way_out: str) -> Damaged:
        return Damaged(f"{str(self.folder / name)!r} is damaged ({error}); {way_out}")

    def _located(self, settings: Settings) -> Settings:
        return with_pictures(settings, lambda name: str(self.folder / name))

    def _named(self, settings: Settings) -> Settings:
        return with_pictures(settings, self.relative)


def remove(folder: Path) -> None:
    """Removes a run's files, settings.json last, and their folder if nothing else is in it."""
    for name in (*FILES[1:], FILES[0]):
        file = folder / name
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
    with suppress(OSError):  # other files are in it
        folder.rmdir()


def check_no_runs(path: str | Path) -> None:
    """ValueError if a file that is to be written is a run's own, but for its report, which is made to be made anew."""
    file = Path(path).resolve()
    for folder in file.parents[:2]:
        holds_a_run = (folder / "settings.json").is_file() and (folder / "inputs").is_dir()
        if holds_a_run and file.relative_to(folder).parts[0] in {*FILES} - {"report.html"}:
            raise ValueError(f"{str(path)!r} is a run's own file; write another")


def half_made(folder: Path) -> bool:
    """Whether no more is there than a process leaves that is killed while it makes a run."""
    found = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if name[0] != "."} <= {"inputs", "meta.json"}


@contextmanager
def whole_or_gone(run: Run) -> Iterator[None]:
    """Meanwhile a new run is made ready; it is deleted if that fails."""
    try:
        yield
    except BaseException:
        run.delete()
        raise


def numbered(files: Iterable[Path]) -> list[tuple[int, Path]]:
    """Those of a step, with its number, in order."""
    steps = ((file.stem.removeprefix("step_"), file) for file in files)
    return sorted((int(step), file) for step, file in steps if step.isdigit())


def begun_with(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What was found out when the run began and holds from then on; nothing if it has not. Older ones spare no face."""
    begun = {name: meta[name] for name in BEGUN_WITH if name in meta}
    return begun and {"faces": []} | begun


def thumbnail(file: Path) -> str:
    """A picture file, or a style's target, as a picture in HTML, 160 pixels high."""
    image = shown(file)
    image = pictures.thumbnail(image, round(max(image.size) / image.height * 160))
    style = 'style="display: inline-block; margin: 0 6px 0 0"'
    return pictures.in_html(file.stem, pictures.jpeg(image), more=style)


def in_colours(picture: Tensor, settings: Settings) -> Image.Image:
    """The picture as an image, in the colours that the settings ask for."""
    image = pictures.to_image(picture)
    if not settings.original_colors and not settings.mask_colors:
        return image
    return colours.finished(image, content_of(settings), settings, mask_of(settings))


def with_alpha(image: Image.Image, settings: Settings) -> Image.Image:
    """The image as transparent as the content."""
    if alpha := pictures.alpha(settings.content):
        image.putalpha(alpha.resize(image.size))
    return image


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    pictures.write(file, json.dumps(values, indent=2).encode())


def new_folder(runs: Path, settings: Settings) -> Path:
    """A folder for a new run, named by time and pictures."""
    named = (settings.content, settings.styles[0].picture)
    stems = "-".join(Path(own_name(name)).stem for name in named)
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stems)
    return vacant(runs / f"{datetime.now():%Y%m%d-%H%M%S}-{cut(plain, 60)}")
