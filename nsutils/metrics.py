"""The losses on disk, metrics.csv: a row a step."""

import csv
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nsutils import pictures
from nsutils.growing import append, lines

COLUMNS = ("step", "seconds", "scale", "total", "content", "style", "tv")  # and more


def missing(file: Path) -> list[str]:
    """The columns that a file of losses lacks."""
    names = {name for line in lines(file, first=True) for name in line.strip().split(",")}
    return [name for name in COLUMNS if names and name not in names]


def rows(file: Path) -> list[dict[str, float]]:
    """A row a step; a line cut off in mid-write, or that is not of numbers, is left out."""
    found = []
    for row in csv.DictReader(lines(file)):
        with suppress(ValueError, TypeError):
            found.append({name: float(value) for name, value in row.items()})
    return found


def last_row(file: Path) -> dict[str, float]:
    """The last whole row, found without parsing the others; empty if there is none."""
    data = file.read_bytes() if file.exists() else b""
    names = data.partition(b"\n")[0].decode(errors="replace").split(",")
    for line in reversed(data.rsplit(b"\n", 9)[1:-1]):  # what follows the last end was cut off
        with suppress(ValueError):
            return dict(zip(names, map(float, line.split(b",")), strict=True))
    return {}


def add_row(file: Path, row: Mapping[str, float]) -> None:
    """Adds a row; what has no column yet gets one at the end."""
    header = next(csv.reader(lines(file, first=True)), [])
    if new := [name for name in row if name not in header]:
        widen(file, header := header + new)
    append(file, ",".join(f"{row.get(name, math.nan):.8g}" for name in header))


def widen(file: Path, header: list[str]) -> None:
    """Gives the file a longer header; what earlier rows lack is nan."""
    known = [line.rstrip("\n").split(",") for line in lines(file)[1:]]
    known = [row + ["nan"] * (len(header) - len(row)) for row in known]
    text = "".join(",".join(row) + "\n" for row in [header, *known])
    pictures.write(file, text.encode())


def rewind(file: Path, number: int) -> None:
    """Forgets the rows after step `number`."""
    header, *known = lines(file) or [""]
    stays = [
        row for row in known if (step := row.partition(",")[0]).isdigit() and int(step) <= number
    ]
    if stays != known:
        pictures.write(file, "".join([header, *stays]).encode())
