"""The runs in a folder as a table, read from their plain files: to filter, to sort and to compare."""

import base64
import math
import os
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from nsutils import pictures
from nsutils.figures import side_by_side
from nsutils.recipe import in_force, plain
from nsutils.run import Run
from nsutils.samples import runs_folder
from nsutils.settings import Settings

Row = dict[str, Any]  # a run's facts and settings by name, and what only the table needs

MOST = 50  # runs that a notebook shows; more of them would swell it
THUMB, SHARPNESS = 72, 2  # pixels of the page; of the picture for each
WIDTH, LONGEST, REASON = 100, 40, 160  # letters of a line; of a name in it; of why a run is damaged
STYLE = Path(__file__).with_suffix(".css")
SETTINGS = tuple(field.name for field in fields(Settings))
LOSSES = {"total": "total_loss", "content": "content_loss", "style": "style_loss"}
MEASURED = {"step": "made", "seconds": "seconds"} | LOSSES  # columns of metrics.csv
FACTS = ("favourite", "name", "status", *MEASURED.values(), "created", "host")
COLUMNS = {"status": "status", "made": "steps", "total_loss": "total", "style_loss": "style"}
COLUMNS |= {"seconds": "seconds"}
FORMS = dict.fromkeys(LOSSES.values(), "{:.3g}".format) | {
    "seconds": "{:.1f}".format,
    "created": lambda value: f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M}",
}


def runs(folder: str | Path | None = None) -> "Table":
    """The runs in a folder, by default data/runs, the newest first."""
    if folder is not None and not Path(folder).is_dir():
        raise ValueError(f"no folder {str(folder)!r}; name one that holds runs")
    folder = Path(folder or runs_folder())
    inside = folder.iterdir() if folder.is_dir() else []
    signs = ("settings.json", "meta.json", "metrics.csv")
    rows = [row(path) for path in inside if any(os.path.isfile(path / name) for name in signs)]
    return Table(sorted(rows, key=age, reverse=True))


class Table(Sequence[Run]):
    """Runs with what their files said when they were read. `table[3]` is a run, `table[:10]` a table."""

    NONE = "no runs"

    def __init__(self, rows: Sequence[Row]):
        self._rows, self._stems = tuple(rows), [""] * len(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int | slice) -> "Run | Table":
        if isinstance(place, slice):
            return Table(self._rows[place])
        return self._rows[place]["run"]

    def where(self, **conditions: Any) -> "Table":
        """The runs for which each setting or fact is as given, or for which the given function says so.

        `where(status="done", content="cat.jpg", style_weight=lambda weight: weight > 1)`. The facts are favourite,
        name, status, made (steps), seconds, total_loss, content_loss, style_loss, created and host.
        """
        rows = self._rows
        for name, wanted in conditions.items():
            name = known(name)
            rows = [row for row in rows if fits(row.get(name), wanted)]
        return Table(rows)

    def sorted(self, by: str, reverse: bool = False) -> "Table":
        """The runs in the order of a setting or fact, see `where`; those that lack it come last."""
        by = known(by)
        there = [row for row in self._rows if not lacks(row.get(by))]
        lacking = [row for row in self._rows if lacks(row.get(by))]
        return Table(sorted(there, key=lambda row: rank(row[by]), reverse=reverse) + lacking)

    def compare(self, edge: int = 300) -> Image.Image:
        """The pictures of these runs, but for damaged ones, side by side with the settings in which they differ."""
        sound = self.where(status=lambda status: status != "damaged")
        if not 0 < len(sound) <= MOST:
            raise ValueError(f"{len(sound)} runs to compare; choose 1 to {MOST}, as table[:4]")
        return side_by_side(sound, edge)

    def tree(self) -> "Tree":
        """The runs that were forked from one another."""
        return Tree(self._rows)

    @property
    def differing(self) -> list[str]:
        """The settings, and the host, in which these runs differ, but for the steps, which are always shown."""
        sound = [row for row in self._rows if row["status"] != "damaged"]
        names = [name for name in (*SETTINGS, "host") if name != "steps"]
        return [name for name in names if any(row[name] != sound[0][name] for row in sound)]

    def _told(self) -> list[str]:
        """What is shown of each run besides its facts."""
        return self.differing

    def __str__(self) -> str:
        return self._text(len(self))

    def __repr__(self) -> str:
        return self._text(MOST)

    def _text(self, most: int) -> str:
        rows, told = self._rows[:most], self._told()
        cells, notes = [["", "name", *COLUMNS.values()]], [""]
        for place, (stem, row) in enumerate(zip(self._stems, rows, strict=False)):
            name = shortened(f"{stem}{words(row, 'name')}") + " *" * row["favourite"]
            cells.append([str(place), name, *(words(row, name) for name in COLUMNS)])
            settings = [f"{name} {words(row, name)}" for name in told if name in row]
            notes.append(words(row, "problem") or "  ".join(settings))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        form = "  ".join(f"{{:{side}{width}}}" for side, width in zip("><<>>>>", widths, strict=True))
        lines = []
        for cell, note in zip(cells, notes, strict=True):
            begin = form.format(*cell) + "  "
            indents = {"initial_indent": begin, "subsequent_indent": " " * len(begin)}
            lines += textwrap.wrap(note, WIDTH, **indents) or [begin.rstrip()]
        return "\n".join([*lines, *self._more(most)]) if rows else self.NONE

    def _repr_html_(self) -> str:
        names = [*self._told(), *LOSSES.values()]
        heads = "".join(f"<th>{name.replace('_', '_<br>')}</th>" for name in ("", "run", *names))
        body = ""
        for place, (stem, row) in enumerate(zip(self._stems, self._rows[:MOST], strict=False)):
            indent = f'style="padding-left: {len(stem) / 2}em"' if stem else ""
            cells = "".join(f"<td>{escape(words(row, name))}</td>" for name in names)
            body += f"<tr><td {indent}>{thumbnail(row)}</td><td>{place} {about(row)}</td>{cells}</tr>"
        more = "".join(f"<p>{line}</p>" for line in self._more(MOST))
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}"
        return (
            f"<style>{STYLE.read_text()}</style>"
            f'<div class="nsutils-runs">{table if body else self.NONE}</div>'
        )

    def _more(self, most: int) -> list[str]:
        left = len(self) - most
        return [f"... and {left} more: [{most}:{most + min(left, MOST)}]"] if left > 0 else []


class Tree(Table):
    """Runs that were forked or are forks, each after the run that it was forked from."""

    NONE = "no run here was forked"

    def __init__(self, rows: Sequence[Row]):
        found = list(branches(rows))
        super().__init__([row for _, row in found])
        self._stems = [stem for stem, _ in found]

    def _told(self) -> list[str]:
        return ["forked"]


class Remains(Run):
    """What there is of a run whose settings.json is not there."""

    def __init__(self, folder: Path):
        self.folder = folder


def row(folder: Path) -> Row:
    """What a run's files say; of a damaged one what could be read, and the `problem`."""
    run = Run(folder) if (folder / "settings.json").is_file() else Remains(folder)
    facts = {"run": run, "name": folder.name, "favourite": run.favourite, "made": 0}
    try:
        for read in (dated, measured, described, asked):
            facts |= read(run)
    except Exception as error:  # whatever a damaged file brings up
        told = isinstance(error, OSError | ValueError)
        reason = str(error) if told else f"its files hold other things than the kit writes: {error!r}"
        reason = reason.replace(f"{folder}{os.sep}", "")
        reason = textwrap.shorten(reason, REASON, placeholder=" ...")
        facts |= {"status": "damaged", "problem": reason}
    return facts


def dated(run: Run) -> Row:
    changed = datetime.fromtimestamp(run.folder.stat().st_mtime, UTC)
    return {"created": changed.isoformat()}  # if nothing says it better


def measured(run: Run) -> Row:
    last = last_row(run.folder / "metrics.csv")
    return {MEASURED[name]: value for name, value in last.items() if name in MEASURED}


def last_row(file: Path) -> dict[str, float]:
    """The last whole row of metrics.csv; empty if there is none."""
    if not file.exists():
        return {}
    names, _, rows = file.read_text(errors="replace").partition("\n")
    for line in reversed(rows.split("\n")[:-1]):  # what follows the last end was cut off
        with suppress(ValueError):
            return dict(zip(names.split(","), map(float, line.split(",")), strict=True))
    return {}


def described(run: Run) -> Row:
    meta = run.meta
    facts = {"status": str(run.status), "host": str(meta.get("host", "")), "id": str(meta.get("id"))}
    if "created" in meta:
        facts["created"] = datetime.fromisoformat(meta["created"]).astimezone(UTC).isoformat()
    if parent := meta.get("parent"):
        changes = [f"{name} {plain(value)}" for name, value in parent["changes"].items()]
        after = f"after step {parent['step']}: {', '.join(changes) or 'no change'}"
        facts |= {"parent": str(parent["id"]), "whence": str(parent["name"]), "forked": after}
    return facts


def asked(run: Run) -> Row:
    settings = in_force(run)
    return {name: getattr(settings, name) for name in SETTINGS} | {"steered": bool(run.steering)}


def age(row: Row) -> tuple[str, str]:
    return row.get("created", ""), row["name"]


def known(name: str) -> str:
    """The full name of a setting or fact; of a loss, `style` will do."""
    full = name if name in (*FACTS, *SETTINGS) else LOSSES.get(name)
    if not full:
        raise ValueError(f"no column {name!r}; there are {', '.join((*FACTS, *SETTINGS))}")
    return full


def fits(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return not lacks(value) and bool(wanted(value))
    return value == wanted or plain(value) == plain(wanted)


def lacks(value: Any) -> bool:
    return value is None or value != value  # nan is no number to compare


def rank(value: Any) -> tuple[float, str]:
    """Numbers by value, before everything else by its words."""
    return (value, "") if isinstance(value, int | float) else (math.inf, plain(value).lower())


def branches(rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """Each run that was forked or is a fork, its parent before it, with the lines of the tree before its name."""
    rows = sorted(rows, key=age)
    ids, forks = {row.get("id") for row in rows}, defaultdict(list)
    for row in rows:
        forks[row.get("parent")].append(row)
    ahead = [("", "", row) for row in reversed(rows) if row.get("parent") not in ids]
    while ahead:
        stem, indent, row = ahead.pop()
        below = forks.pop(row.get("id"), [])
        if "parent" in row and not stem:
            row = row | {"forked": f"from {row['whence']} {row['forked']}"}
        if below or "parent" in row:
            yield stem, row
        for fork in reversed(below):
            line, further = ("└─ ", "   ") if fork is below[-1] else ("├─ ", "│  ")
            ahead.append((indent + line, indent + further, fork))


def words(row: Row, name: str) -> str:
    """What a table shows of a fact or setting."""
    if name == "made":
        return f"{row['made']:.0f}/{row.get('steps', '?')}"
    text = FORMS.get(name, plain)(row[name]) if name in row else ""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def shortened(name: str) -> str:
    """The name without its middle if it is too long for a line."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"


def about(row: Row) -> str:
    """A run's name and circumstances, as HTML."""
    star = ' <span title="favourite">★</span>' if row["favourite"] else ""
    state = [words(row, "status"), f"{words(row, 'made')} steps"]
    state += [f"{words(row, 'seconds')} s"] if "seconds" in row else []
    state += ["steered"] if row.get("steered") else []
    lines = [" · ".join(state), words(row, "created"), words(row, "problem")]
    facts = "".join(f"<br><small>{escape(line)}</small>" for line in lines if line)
    return f"<b>{escape(words(row, 'name'))}</b>{star}{facts}"


def thumbnail(row: Row) -> str:
    """The run's last kept picture, or else its result, as HTML."""
    with suppress(OSError, ValueError):
        # Of a JPEG Pillow reads no more than a small picture needs; of a result.png, all.
        file = [row["run"].result, *row["run"].images.values()][-1]
        with Image.open(file) as image:
            width, height = pictures.fitted(image.size, THUMB)
            image.thumbnail((SHARPNESS * THUMB, SHARPNESS * THUMB))
            data = base64.b64encode(pictures.jpeg(image.convert("RGB"), quality=75)).decode()
        return (
            f'<img alt="{escape(words(row, "name"))}" width="{width}" height="{height}" '
            f'style="max-width: none" src="data:image/jpeg;base64,{data}">'
        )
    return "<small>no picture</small>"
