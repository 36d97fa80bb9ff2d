"""A run as plain JSON, to travel inside a report: its recipe, its record and the pictures that it was made from."""

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from nsutils import pictures
from nsutils.inputs import UNREADABLE, cut, with_pictures
from nsutils.run import Damaged, Run, begun_with, whole_or_gone
from nsutils.settings import Settings
from nsutils.sources import content_of, reduced, scales, scales_of, style_of
from nsutils.steering import renamed
from nsutils.targets import is_target

FORMAT = 1
SMALL = 256  # pixels: the edge of the result's picture inside
WEBP = 16383  # pixels: the longest side that the format has
LONGEST = 200  # bytes of a name, its suffix beside
REMARKS = {"xmp", "XML:com.adobe.xmp", "photoshop", "comment"}  # in a picture's file, beside EXIF
PICTURED = {"size", "side", "enlarge", "rounding", "resampling", "styles"}
Parcel = dict[str, Any]


def packed(run: Run, small: bool = False, original: bool = False) -> Parcel:
    """The run as values for JSON.

    The pictures are inside without loss, as large as the run used them; `small` leaves them out, `original` takes
    their files as they are.
    """
    meta = run.meta
    run.check_files() if original else run.check_losses()
    return {
        "format": FORMAT,
        "name": run.folder.name,
        "settings": json.loads(with_pictures(run.settings, run.relative).to_json()),
        "steering": [renamed(line, run.relative) for line in run.steering],
        "steps": run.made,
        "meta": meta,
        "result": result(run),
        "inputs": {
            role: facts | carried(run, role, small, original)
            for role, facts in sorted(meta["inputs"].items())
        },
    }


def is_mask(role: str) -> bool:
    return role.startswith(("mask", "where"))


def carried(run: Run, role: str, small: bool, original: bool) -> dict[str, Any]:
    """An input's bytes, and whether they are what the run used of it; none if it is left out."""
    if small and not is_mask(role):
        return {"data": None, "as_used": False}
    file = run.folder / run.meta["inputs"][role]["file"]
    anew = None if original or is_target(file) else lossless(run, role, file)
    data = base64.b64encode(anew or file.read_bytes()).decode()
    return {"data": data, "as_used": bool(anew)}


def lossless(run: Run, role: str, file: Path) -> bytes | None:
    """A picture as the run used it, written anew; None where the file itself is as small and tells no more."""
    told = tells(file)
    # A picture that was used at several sizes, or whose transparency counts, stays as large as it is.
    whole = any(PICTURED & set(line) for line in run.steering) or pictures.alpha(file)
    whole = whole or is_mask(role)
    if whole and not told:
        return None
    image = bare(file) if whole else used(run.settings, role, file)
    settings, own = run.settings, pictures.shape(file)
    if role == "content" and scales(settings, image.size[::-1]) != scales(settings, own):
        image = bare(file)  # cut down to a size, it would be cut again
    if max(image.size) > WEBP:
        way_out = "" if is_mask(role) else ", or leave the pictures out with --small"
        raise ValueError(
            f"{role} is {image.width} x {image.height} px, and more than {WEBP} either way do not go into a "
            f"report without loss; begin with a smaller one{way_out}"
        )
    data = pictures.saved(image, "WEBP", lossless=True, quality=60, method=3)
    larger = image.size != own[::-1] or file.stat().st_size > len(data)
    return data if told or larger else None


def tells(file: Path) -> bool:
    """Whether a file says more than its picture: what is noted of place, time or people goes to nobody."""
    with pictures.reading(file) as image:
        image.load()  # notes may follow the pixels
        return bool(image.getexif() or getattr(image, "text", None) or REMARKS & set(image.info))


def bare(file: Path) -> Image.Image:
    """The picture in a file, with its transparency and nothing else beside it."""
    with pictures.reading(file) as image:
        plain = pictures.eight_bits(pictures.in_srgb(ImageOps.exif_transpose(image)))
    return plain.convert("RGBA" if plain.has_transparency_data else "RGB")


def used(settings: Settings, role: str, file: Path) -> Image.Image:
    """A picture as large as a run of these settings uses it."""
    if role == "content":
        return content_of(settings)
    ladder = scales_of(settings)
    if role == "init":
        return reduced(settings, pictures.opened(file), ladder[0])
    return style_of(settings, settings.styles[int(role.removeprefix("style_")) - 1], ladder[-1])


def result(run: Run) -> dict[str, Any] | None:
    """The picture's size and hash, and a small one to compare with where the hash cannot be the same."""
    if not (file := run.outcome):
        return None
    try:
        with pictures.reading(file) as image:
            image = image.convert("RGB")
    except ValueError as error:
        raise Damaged(f"{str(file)!r} is damaged; nsutils resume writes it anew") from error
    return {
        "sha256": pictures.sha256(image.tobytes()),  # whatever the file notes beside the pixels
        "jpeg": base64.b64encode(pictures.jpeg(pictures.thumbnail(image, SMALL))).decode(),
    }


def unpacked(
    parcel: Parcel, folder: Path, files: Mapping[str, str | Path] = {}, weights: str | None = None
) -> Run:
    """The run, not yet played, in a new folder; what the parcel leaves out is taken from `files`, by role."""
    if parcel.get("format") != FORMAT:
        raise ValueError(f"a run in format {parcel.get('format')!r}; this nsutils reads {FORMAT}")
    with intact(), tempfile.TemporaryDirectory() as aside:
        index(parcel["steps"])  # refused here if it is no number
        placed = {
            facts["file"]: str(place(facts, role, files.get(role), Path(aside)))
            for role, facts in needed(parcel, files)
        }
        settings = Settings.kept(parcel["settings"])
        settings = with_pictures(settings, lambda name: placed[name])
        if weights:
            settings = replace(settings, weights=weights)
        origin = {"id": parcel["meta"].get("id"), "name": parcel["name"]}
        run = Run.create(folder, settings, **begun_with(parcel["meta"]), remade_from=origin)
        with whole_or_gone(run):
            for line in parcel["steering"]:
                run.steered(line["step"], renamed(line, lambda name: run.add_mask(placed[name])))
    return run


@contextmanager
def intact() -> Iterator[None]:
    """What a parcel that was altered brings up is a ValueError of one line."""
    try:
        yield
    except UNREADABLE as error:
        raise ValueError(
            f"the run in this report is damaged ({error!r}); ask for it anew"
        ) from error


def needed(parcel: Parcel, files: Mapping[str, str | Path]) -> list[tuple[str, dict[str, Any]]]:
    """The inputs by role; ValueError if a picture is neither inside nor among the files."""
    inputs = parcel["inputs"]
    if missing := [role for role in inputs if not inputs[role]["data"] and role not in files]:
        names = " and ".join(f"{inputs[role]['name']!r} ({role})" for role in missing)
        options = " and ".join(dict.fromkeys(f"--{role.partition('_')[0]}" for role in missing))
        raise ValueError(f"the report leaves out {names}; give the same with {options}")
    if strange := [role for role in files if role not in inputs]:
        raise ValueError(f"the run has no {strange[0]}; it has {', '.join(inputs)}")
    return list(inputs.items())


def place(facts: dict[str, Any], role: str, file: str | Path | None, aside: Path) -> Path:
    """Where the input lies: a file given for it, which must be the same, or unpacked into a folder by its old name."""
    if file is not None:
        if not Path(file).is_file():
            raise ValueError(f"no picture {str(file)!r}: there is no such file")
        if pictures.hash_of(file) != facts["sha256"]:
            raise ValueError(
                f"{str(file)!r} is not the run's {role}: the hash of {facts['name']!r} is {facts['sha256'][:12]}..."
            )
        return Path(file)
    suffix = ".webp" if facts["as_used"] else Path(facts["file"]).suffix
    stem = cut(Path(facts["name"]).stem, LONGEST)
    inside = Path(tempfile.mkdtemp(dir=aside)) / f"{stem}{suffix}"
    inside.write_bytes(base64.b64decode(facts["data"]))
    return inside
