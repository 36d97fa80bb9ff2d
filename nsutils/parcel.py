"""A run as plain JSON, to travel inside a report: its recipe, its record and the pictures that it was made from."""

import base64
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nsutils import pictures
from nsutils.run import Run, with_pictures
from nsutils.settings import Settings
from nsutils.sources import content_of, reduced, scales, style_of
from nsutils.steering import renamed
from nsutils.targets import is_target

FORMAT = 1
SMALL = 256  # pixels: the edge of the result's picture inside
BEGUN_WITH = ("encoder", "precision", "whole", "threads")  # found out once for a run
PICTURED = {"size", "side", "enlarge", "rounding", "resampling", "styles"}
Parcel = dict[str, Any]


def packed(run: Run, small: bool = False, original: bool = False) -> Parcel:
    """The run as values for JSON.

    The pictures are inside without loss, as large as the run used them; `small` leaves them out, `original` takes
    their files as they are.
    """
    meta = run.meta
    contents = {
        role: None if small and not is_mask(role) else content(run, role, original)
        for role in meta["inputs"]
    }
    return {
        "format": FORMAT,
        "name": run.folder.name,
        "settings": json.loads((run.folder / "settings.json").read_text()),
        "steering": [renamed(line, run.relative) for line in run.steering],
        "steps": steps_made(run),
        "meta": meta,
        "result": result(run),
        "inputs": {
            role: facts | inside(contents[role]) for role, facts in sorted(meta["inputs"].items())
        },
    }


def is_mask(role: str) -> bool:
    return role.startswith(("mask", "where"))


def steps_made(run: Run) -> int:
    rows = run.metrics
    return int(rows[-1]["step"]) if rows else 0


def inside(found: tuple[bytes, str, bool] | None) -> dict[str, Any]:
    if found is None:
        return {"data": None, "media": None, "as_used": False}
    data, media, as_used = found
    return {"data": base64.b64encode(data).decode(), "media": media, "as_used": as_used}


def content(run: Run, role: str, original: bool) -> tuple[bytes, str, bool]:
    """An input's bytes and their kind, and whether it is reduced to what the run used of it."""
    file = run.folder / run.meta["inputs"][role]["file"]
    data = file.read_bytes()
    if is_target(file):
        return data, "application/octet-stream", False
    with Image.open(file) as image:
        media, told = Image.MIME[image.format], bool(image.getexif())
    # A picture that was used at several sizes, or whose transparency counts, stays as it is.
    fixed = any(PICTURED & set(line) for line in run.steering) or pictures.alpha(file)
    if original or fixed or is_mask(role):
        return data, media, False
    image = used(run.settings, role, file)
    lossless = webp(image)
    # What a camera notes in a file, as the place, goes to nobody.
    if image.size == pictures.shape(file)[::-1] and len(data) <= len(lossless) and not told:
        return data, media, False
    return lossless, "image/webp", True


def used(settings: Settings, role: str, file: Path) -> Image.Image:
    """A picture as large as a run of these settings uses it."""
    if role == "content":
        return content_of(settings)
    ladder = scales(settings, pictures.shape(settings.content))
    if role == "init":
        return reduced(settings, pictures.opened(file), ladder[0])
    return style_of(settings, settings.styles[int(role.removeprefix("style_")) - 1], ladder[-1])


def webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=60, method=3)
    return buffer.getvalue()


def result(run: Run) -> dict[str, Any] | None:
    """The picture's size and hash, and a small one to compare with where the hash cannot be the same."""
    if not run.result.exists():
        return None
    with Image.open(run.result) as image:
        image = image.convert("RGB")
    return {
        "sha256": pixel_hash(image),
        "width": image.width,
        "height": image.height,
        "jpeg": base64.b64encode(pictures.jpeg(pictures.thumbnail(image, SMALL))).decode(),
    }


def pixel_hash(image: Image.Image) -> str:
    """The hash of the pixels' values, whatever a file notes beside them."""
    return pictures.sha256(np.asarray(image.convert("RGB")).tobytes())


def unpacked(
    parcel: Parcel, folder: Path, files: Mapping[str, str | Path] = {}, weights: str | None = None
) -> Run:
    """The run, not yet played, in a new folder; what the parcel leaves out is taken from `files`, by role."""
    if parcel.get("format") != FORMAT:
        raise ValueError(f"a run in format {parcel.get('format')!r}; this nsutils reads {FORMAT}")
    with tempfile.TemporaryDirectory() as aside:
        placed = {
            facts["file"]: str(place(facts, role, files.get(role), Path(aside)))
            for role, facts in needed(parcel, files)
        }
        settings = Settings.kept(parcel["settings"])
        settings = with_pictures(settings, lambda name: placed[name])
        if weights:
            settings = replace(settings, weights=weights)
        begun = {name: parcel["meta"][name] for name in BEGUN_WITH if name in parcel["meta"]}
        origin = {"id": parcel["meta"].get("id"), "name": parcel["name"]}
        run = Run.create(folder, settings, **begun, remade_from=origin)
        for line in parcel["steering"]:
            asked = {name: value for name, value in line.items() if name != "step"}
            run.steered(line["step"], renamed(asked, lambda name: run.add_mask(placed[name])))
    return run


def needed(parcel: Parcel, files: Mapping[str, str | Path]) -> list[tuple[str, dict[str, Any]]]:
    """The inputs by role; ValueError if a picture is neither inside nor among the files."""
    inputs = parcel["inputs"]
    if missing := [role for role in inputs if not inputs[role]["data"] and role not in files]:
        names = " and ".join(f"{inputs[role]['name']!r} ({role})" for role in missing)
        raise ValueError(f"the report leaves out {names}; give the same with --content and --style")
    if strange := [role for role in files if role not in inputs]:
        raise ValueError(f"the run has no {strange[0]}; it has {', '.join(inputs)}")
    return list(inputs.items())


def place(facts: dict[str, Any], role: str, file: str | Path | None, aside: Path) -> Path:
    """Where the input lies: a file given for it, which must be the same, or unpacked into a folder by its old name."""
    if file is not None:
        if not Path(file).is_file():
            raise ValueError(f"no picture {str(file)!r}: there is no such file")
        if pictures.sha256(Path(file).read_bytes()) != facts["sha256"]:
            raise ValueError(
                f"{str(file)!r} is not the run's {role}: the hash of {facts['name']!r} is {facts['sha256'][:12]}..."
            )
        return Path(file)
    suffix = ".webp" if facts["as_used"] else Path(facts["file"]).suffix
    (aside / role).mkdir()
    inside = aside / role / f"{Path(facts['name']).stem}{suffix}"
    inside.write_bytes(base64.b64decode(facts["data"]))
    return inside
