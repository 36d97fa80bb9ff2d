"""A run's folder: what was asked, what came of it, and what it needs to go on. Plain files, read without the kit."""

import csv
import io
import itertools
import json
import os
import platform
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from nsutils import colours, pictures
from nsutils.samples import runs_folder
from nsutils.settings import STARTS, Settings
from nsutils.sources import Sources
from nsutils.transfer import Step, full_size


class Run:
    """A folder that holds a run:

    settings.json    the recipe, its pictures named as in inputs/
    meta.json        status, times, machine, versions, the inputs' old names and hashes
    inputs/          content and styles, byte for byte
    metrics.csv      a row a step: step, seconds, scale, total, content, style, tv, then each layer's
    images/          step_00000.jpg (the start), then a picture each `settings.interval` steps
    steering.jsonl   what was changed while it ran, and after which step
    checkpoint.pt    the last step, to go on from
    result.png       the picture, with its settings inside

    A file is there whole or not at all, but for the last line of the two that grow.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "settings.json").is_file():
            raise ValueError(f"no run in {str(self.folder)!r}: it has no settings.json")

    @classmethod
    def create(cls, folder: str | Path, settings: Settings) -> "Run":
        """A new run in `folder`, its inputs copied; ValueError if there is one already or a picture is unfit."""
        folder = Path(folder)
        if (folder / "settings.json").exists():
            raise ValueError(f"{str(folder)!r} already holds a run; choose another folder")
        Sources(settings)
        try:
            (folder / "images").mkdir(parents=True, exist_ok=True)
            (folder / "inputs").mkdir(exist_ok=True)
            named, inputs = with_copies(settings, folder)
            write_json(
                folder / "meta.json",
                {"status": "ready", "created": now(), "inputs": inputs, **circumstances()},
            )
            pictures.write(folder / "settings.json", named.to_json().encode())
        except OSError as error:
            raise ValueError(
                f"no run can be made in {str(folder)!r}: {error.strerror or error}"
            ) from error
        return cls(folder)

    @classmethod
    def new(cls, settings: Settings, runs: str | Path | None = None) -> "Run":
        """A new run in a new folder under `runs`, by default data/runs."""
        return cls.create(new_folder(Path(runs) if runs else runs_folder(), settings), settings)

    @property
    def settings(self) -> Settings:
        """The recipe, its pictures found in the folder."""
        return self._located(Settings.from_json((self.folder / "settings.json").read_text()))

    @property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.folder / "meta.json").read_text())

    @property
    def status(self) -> str:
        """ready, playing, paused, stopped, done, failed, or interrupted: its process is gone."""
        meta = self.meta
        gone = (
            meta["status"] in ("playing", "paused")
            and meta["host"] == socket.gethostname()
            and not alive(meta["pid"])
        )
        return "interrupted" if gone else meta["status"]

    @property
    def result(self) -> Path:
        return self.folder / "result.png"

    @property
    def images(self) -> dict[int, Path]:
        """The kept pictures by step."""
        return {
            int(file.stem.removeprefix("step_")): file
            for file in sorted((self.folder / "images").glob("step_*.jpg"))
        }

    @property
    def metrics(self) -> list[dict[str, float]]:
        """A row a step; a line cut off in mid-write is left out."""
        rows = csv.DictReader(self._lines("metrics.csv"))
        return [{name: float(value) for name, value in row.items()} for row in rows]

    @property
    def steering(self) -> list[dict[str, Any]]:
        """What was changed while it ran: {"step": after which, the setting's name: its new value, ...}."""
        return [json.loads(line) for line in self._lines("steering.jsonl")]

    @property
    def last(self) -> Step | None:
        """The last step that can be gone on from."""
        if not (file := self.folder / "checkpoint.pt").exists():
            return None
        saved = torch.load(file, map_location="cpu", weights_only=True)
        return Step(**saved | {"settings": self._located(Settings.from_json(saved["settings"]))})

    def note(self, **facts: Any) -> None:
        """Sets facts in meta.json."""
        write_json(self.folder / "meta.json", self.meta | facts)

    def record(self, step: Step, seconds: float) -> None:
        """Adds a row to metrics.csv; its header is that of the first step."""
        row = {
            "step": step.number,
            "seconds": round(seconds, 3),
            "scale": step.scale,
            **step.losses,
        }
        if not (header := next(csv.reader(self._lines("metrics.csv", 1)), None)):
            self._append("metrics.csv", ",".join(header := list(row)))
        self._append(
            "metrics.csv", ",".join(f"{row.get(name, float('nan')):.8g}" for name in header)
        )

    def steered(self, step: int, changes: Mapping[str, Any]) -> None:
        """Adds a line to steering.jsonl."""
        self._append("steering.jsonl", json.dumps({"step": step, **changes}))

    def keep(self, step: Step) -> None:
        """Adds the step's picture to images/."""
        pictures.write(
            self.folder / "images" / f"step_{step.number:05d}.jpg",
            pictures.jpeg(in_colours(step.image, step.settings), quality=92),
        )

    def checkpoint(self, step: Step) -> None:
        """Keeps what is needed to go on from the step."""
        buffer = io.BytesIO()
        fields = {
            name: getattr(step, name) for name in ("number", "scale", "losses", "image", "memory")
        }
        torch.save(fields | {"settings": self._named(step.settings).to_json()}, buffer)
        pictures.write(self.folder / "checkpoint.pt", buffer.getvalue())

    def finish(self, step: Step) -> None:
        """Writes result.png, at the size asked for; as transparent as the content is."""
        notes = {
            "Software": f"nsutils {version('nsutils')}",
            "nsutils.settings": self._named(step.settings).to_json(),
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
        by default as many as the run's settings say.
        """
        path, format = Path(path), pictures.check_format(path)
        image = self.picture(original_colors, color_method)
        try:
            pictures.write(path, pictures.encoded(image, format))
        except OSError as error:
            raise ValueError(
                f"no picture can be written to {str(path)!r}: {error.strerror or error}"
            ) from error

    def picture(
        self, original_colors: float | None = None, color_method: str = "luminance"
    ) -> Image.Image:
        """The result, with so much of the content's colours."""
        if not self.result.exists():
            raise ValueError(f"no picture yet in {str(self.folder)!r}; let the run go on")
        if original_colors is None:
            with Image.open(self.result) as image:
                return image.copy()
        step, asked = self.last, {"original_colors": original_colors, "color_method": color_method}
        settings = replace(step.settings, **asked)  # checked by being made
        image, content = pictures.to_image(full_size(step)), pictures.opened(settings.content)
        return with_alpha(colours.kept(image, content, color_method, original_colors), settings)

    def rewind(self, number: int) -> None:
        """Forgets the rows and pictures after step `number`, which will be made again."""
        for name, first in {"metrics.csv": 1, "steering.jsonl": 0}.items():
            lines = self._lines(name)
            stays = [line for line in lines[first:] if step_of(line) <= number]
            if stays != lines[first:]:
                pictures.write(self.folder / name, "".join(lines[:first] + stays).encode())
        for step, image in self.images.items():
            if step > number:
                image.unlink()

    def _lines(self, name: str, count: int | None = None) -> list[str]:
        file = self.folder / name
        if not file.exists():
            return []
        with file.open() as stream:
            lines = [stream.readline()] if count else stream.readlines()
        return [line for line in lines if line.endswith("\n")]

    def _append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a") as stream:
            stream.write(line + "\n")

    def _located(self, settings: Settings) -> Settings:
        return with_pictures(settings, lambda name: str(self.folder / name))

    def _named(self, settings: Settings) -> Settings:
        return with_pictures(settings, lambda name: Path(name).relative_to(self.folder).as_posix())


def in_colours(picture: Tensor, settings: Settings) -> Image.Image:
    """The picture as an image, in the colours that the settings ask for."""
    image = pictures.to_image(picture)
    if not settings.original_colors:
        return image
    return colours.finished(image, pictures.opened(settings.content), settings)


def with_alpha(image: Image.Image, settings: Settings) -> Image.Image:
    """The image as transparent as the content."""
    if alpha := pictures.alpha(settings.content):
        image.putalpha(alpha.resize(image.size))
    return image


def with_pictures(settings: Settings, renamed: Callable[[str], str]) -> Settings:
    """The settings with every picture's name changed."""
    styles = tuple(replace(style, picture=renamed(style.picture)) for style in settings.styles)
    init = settings.init if settings.init in STARTS else renamed(settings.init)
    return replace(settings, content=renamed(settings.content), styles=styles, init=init)


def with_copies(settings: Settings, folder: Path) -> tuple[Settings, dict[str, dict[str, str]]]:
    """Copies the pictures to inputs/, named by role; the settings that name the copies, and what they were."""
    styles = [style.picture for style in settings.styles]
    roles = {"content": settings.content} | {f"style_{n}": name for n, name in enumerate(styles, 1)}
    if settings.init not in STARTS:
        roles["init"] = settings.init
    inputs = {}
    for role, name in roles.items():
        data, file = Path(name).read_bytes(), f"inputs/{role}{Path(name).suffix.lower()}"
        pictures.write(folder / file, data)
        inputs[role] = {"file": file, "name": Path(name).name, "sha256": pictures.sha256(data)}
    copies = iter(inputs[f"style_{n}"]["file"] for n in range(1, len(styles) + 1))
    named = replace(
        settings,
        weights=settings.weights and str(Path(settings.weights).absolute()),
        content=inputs["content"]["file"],
        styles=tuple(replace(style, picture=next(copies)) for style in settings.styles),
        init=inputs["init"]["file"] if "init" in inputs else settings.init,
    )
    return named, inputs


def circumstances() -> dict[str, Any]:
    """The machine and the versions a run is made with."""
    versions = {"python": platform.python_version()} | {
        name: version(name) for name in ("nsutils", "torch", "numpy", "pillow")
    }
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "platform": platform.platform(),
        "versions": versions,
        "commit": commit(),
    }


def commit() -> str | None:
    """The git commit of the kit's own checkout, if it is one, with a + where files differ from it."""
    here = Path(__file__).parent
    try:
        words = [
            "git",
            "-C",
            str(here),
            "describe",
            "--always",
            "--abbrev=40",
            "--dirty=+",
            "--exclude=*",
        ]
        said = subprocess.run(
            words, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return said if (here.parent / ".git").exists() else None


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def step_of(line: str) -> int:
    """The step of a line of metrics.csv or steering.jsonl."""
    return json.loads(line)["step"] if line.startswith("{") else int(line.split(",", 1)[0])


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    pictures.write(file, json.dumps(values, indent=2).encode())


def new_folder(runs: Path, settings: Settings) -> Path:
    """A folder for a new run, named by time and pictures."""
    stems = "-".join(Path(name).stem for name in (settings.content, settings.styles[0].picture))
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stems)
    return vacant(runs / f"{datetime.now():%Y%m%d-%H%M%S}-{plain[:60]}")


def vacant(folder: Path) -> Path:
    """The folder, or one numbered like it, that is not there yet."""
    numbered = (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))
    return next(path for path in itertools.chain([folder], numbered) if not path.exists())
