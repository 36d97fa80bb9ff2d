"""The runs in a folder as a table, read from their plain files: to filter, to sort and to compare."""

import math
import os
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from nsutils import pictures
from nsutils.figures import side_by_side
from nsutils.recipe import changes_in_words, in_force, plain
from nsutils.run import FILES, Run
from nsutils.samples import runs_folder
from nsutils.settings import Settings, in_a_word, unknown

Row = dict[str, Any]  # a run's facts and settings by name, and what only the table needs

MOST = 50  # runs that a notebook shows; more of them would swell it
THUMB, SHARPNESS = 72, 2  # pixels of the page; of the picture for each
WIDTH, LONGEST, REASON = 100, 40, 160  # letters of a line; of a name in it; of why a run is damaged
RUN = "min-width: 13em; text-align: left"  # stays where a notebook that is not trusted loses STYLE
STYLE = Path(__file__).with_suffix(".css")
SETTINGS = tuple(field.name for field in fields(Settings))
LOSSES = {"total": "total_loss", "content": "content_loss", "style": "style_loss"}
MEASURED = {"step": "made", "seconds": "seconds"} | LOSSES  # columns of metrics.csv
FACTS = ("favourite", "name", "status", *MEASURED.values(), "created", "host")
TITLES = {"made": "steps", "total_loss": "total", "style_loss": "style"}
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
    held = [path for path in inside if any(os.path.isfile(path / name) for name in FILES[:2])]
    return Table(sorted(map(row, held), key=age, reverse=True))


class Table(Sequence[Run]):
    """Runs with what their files said when they were read. `table[3]` is a run, `table[:10]` a table."""

    FIXED = ("status", "made", "total_loss", "style_loss", "seconds")  # columns of the text

    def __init__(self, rows: Sequence[Row], none: str = "no runs"):
        """`none` is what is said if there are no rows."""
        self._rows, self._stems, self._none = tuple(rows), [""] * len(rows), none

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int | slice) -> "Run | Table":
        if isinstance(place, slice):
            return Table(self._rows[place], self._none)
        return self._rows[place]["run"]

    def where(self, **conditions: Any) -> "Table":
        """The runs for which each setting or fact is as given, or for which the given function says so.

        `where(status="done", content="cat.jpg", style_weight=lambda weight: weight > 1)`. The facts are favourite,
        name, status, made (steps), seconds, total_loss, content_loss, style_loss, created and host.
        """
        rows, none = self._rows, self._none
        for name, wanted in conditions.items():
            name, before = known(name), rows
            rows = [row for row in before if fits(row, name, wanted)]
            if before and not rows:
                none = f"no run with that {name}; there are {valued(before, name)}"
        return Table(rows, none)

    def sorted(self, by: str, reverse: bool = False) -> "Table":
        """The runs in the order of a setting or fact, see `where`; those that lack it come last."""
        by = known(by)
        there = [row for row in self._rows if not lacks(row.get(by))]
        lacking = [row for row in self._rows if lacks(row.get(by))]
        there.sort(key=lambda row: rank(row[by]), reverse=reverse)
        return Table(there + lacking, self._none)

    def compare(self, edge: int = 300) -> Image.Image:
        """The pictures of these runs, but for damaged ones, side by side with the settings in which they differ."""
        sound = self.where(status=lambda status: status != "damaged")
        if not 0 < len(sound) <= MOST:
            raise ValueError(f"{len(sound)} runs to compare; choose 1 to {MOST}, as table[:4]")
        return side_by_side(sound, edge)

    def tree(self) -> "Tree":
        """The runs that were forked from one another."""
        return Tree(self._rows, self._none)

    @property
    def differing(self) -> list[str]:
        """The settings, and the host, in which these runs differ, but for the steps, which are always shown."""
        sound = [row for row in self._rows if row["status"] != "damaged"]
        names = [name for name in (*SETTINGS, "host") if name != "steps"]
        return [name for name in names if any(row[name] != sound[0][name] for row in sound)]

    def __str__(self) -> str:
        return self._text(len(self))

    def __repr__(self) -> str:
        return self._text(MOST)

    def _text(self, most: int) -> str:
        rows, told = self._rows[:most], self._told()
        cells = [["", "name", *(TITLES.get(name, name) for name in self.FIXED)]]
        for place, row in enumerate(rows):
            name = shortened(self._stems[place] + words(row, "name")) + " *" * row["favourite"]
            cells.append([str(place), name, *(words(row, name) for name in self.FIXED)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for row, texts in zip([{}, *rows], cells, strict=True):
            parts = zip(texts, "><<>>>>", widths, strict=False)
            line = "  ".join(f"{text:{side}{width}}" for text, side, width in parts)
            note = f"  {words(row, 'problem') or self._note(row, told)}"
            if len(line + note) > WIDTH:
                note = "\n" + textwrap.indent(textwrap.fill(note.strip(), WIDTH - 3), "   ")
            lines.append((line + note).rstrip())
        return "\n".join([*lines, *self._more(most)]) if rows else self._none

    def _note(self, row: Row, told: Sequence[str]) -> str:
        told = [name for name in told if name in row and name not in MEASURED.values()]
        return " ".join(f"{name}={words(row, name).replace(', ', ',')}" for name in told)

    def _repr_html_(self) -> str:
        rows, told, body = self._rows[:MOST], self._told(), ""
        heads = "".join(f"<th>{name.replace('_', '_<br>')}</th>" for name in ("", "run", *told))
        for place, (stem, row) in enumerate(zip(self._stems, rows, strict=False)):
            indent = f"padding-left: {0.5 + len(stem) / 2}em; text-align: left"
            cells = "".join(f"<td>{escape(words(row, name))}</td>" for name in told)
            body += f'<tr><td style="{indent}">{thumbnail(row)}</td>'
            body += f'<td style="{RUN}">{place} {about(row)}</td>{cells}</tr>'
        more = "".join(f"<p>{line}</p>" for line in self._more(MOST))
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}"
        shown = f'<div class="nsutils-runs">{table if rows else escape(self._none)}</div>'
        return f"<style>{STYLE.read_text(encoding='utf-8')}</style>{shown}"

    def _told(self) -> list[str]:
        """What is told of each run beside its name, the longest last: they may be out of sight."""
        names, rows = [*self.differing, *LOSSES.values()], self._rows[:MOST]
        return sorted(names, key=lambda name: max([0, *(len(words(row, name)) for row in rows)]))

    def _more(self, most: int) -> list[str]:
        left = len(self) - most
        return [f"... and {left} more: [{most}:{most + min(left, MOST)}]"] if left > 0 else []


class Tree(Table):
    """Runs that were forked or are forks, each after the run that it was forked from."""

    FIXED = ("status", "made")

    def __init__(self, rows: Sequence[Row], none: str):
        found = list(branches(rows))
        super().__init__([row for _, row in found], "no run here was forked" if rows else none)
        self._stems = [stem for stem, _ in found]

    def _note(self, row: Row, told: Sequence[str]) -> str:
        return words(row, "forked")

    def _told(self) -> list[str]:
        return ["forked", *LOSSES.values()]


class Remains(Run):
    """What there is of a run whose settings.json is not there."""

    def __init__(self, folder: Path):
        self.folder = folder


def row(folder: Path) -> Row:
    """What a run's files say; of a damaged one what could be read, and why not more."""
    run = Run(folder) if (folder / "settings.json").is_file() else Remains(folder)
    facts = {"run": run, "name": folder.name, "favourite": run.favourite, "made": 0, "host": ""}
    try:
        facts["created"] = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat()
        facts |= {MEASURED[n]: value for n, value in run.last_row.items() if n in MEASURED}
        facts |= described(run.meta) | {"status": str(run.status)}
        facts |= vars(in_force(run)) | {"steered": bool(run.steering)}
    except Exception as error:  # whatever a damaged file brings up
        clear = isinstance(error, OSError | ValueError)
        reason = str(error) if clear else f"meta.json or settings.json holds odd things: {error!r}"
        reason = textwrap.shorten(reason.replace(f"{folder}{os.sep}", ""), REASON, placeholder="…")
        facts |= {"status": "damaged", "problem": reason}
    return facts


def described(meta: Mapping[str, Any]) -> Row:
    facts = {name: str(meta[name]) for name in ("host", "id") if name in meta}
    if "created" in meta:
        facts["created"] = datetime.fromisoformat(meta["created"]).astimezone(UTC).isoformat()
    if parent := meta.get("parent"):
        words = changes_in_words(parent["changes"]).replace(" = ", " ")
        after = f"after step {parent['step']}: {words or 'no change'}"
        facts |= {"parent": str(parent["id"]), "whence": f"from {parent['name']} ", "after": after}
    return facts


def age(row: Row) -> tuple[str, str]:
    return row.get("created", ""), row["name"]


def known(name: str) -> str:
    """The full name of a setting or fact; of a loss, `style` will do."""
    full = name if name in (*FACTS, *SETTINGS) else LOSSES.get(name)
    if not full:
        raise unknown("column", name, (*FACTS, *SETTINGS))
    return full


def fits(row: Row, name: str, wanted: Any) -> bool:
    """Whether a setting or fact is as wanted, or said so: as the table, the command line, or a number has it."""
    value = row.get(name)
    if callable(wanted):
        return not lacks(value) and bool(wanted(value))
    if value == wanted or plain(value) == plain(wanted):
        return True
    if isinstance(value, int | float) and isinstance(wanted, str):
        with suppress(ValueError):
            if float(wanted) == value:
                return True
    return name in row and wanted in (in_a_word(value), words(row, name))


def lacks(value: Any) -> bool:
    return value is None or value != value  # nan is no number to compare


def rank(value: Any) -> tuple[float, str]:
    """Numbers by value, before everything else by its words."""
    return (value, "") if isinstance(value, int | float) else (math.inf, plain(value).lower())


def branches(rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """Each run that was forked or is a fork, its parent before it, with the lines of the tree before its name."""
    rows = sorted(rows, key=age)
    ids, forks = {row["id"] for row in rows if "id" in row}, defaultdict(list)
    for row in rows:
        forks[row.get("parent")].append(row)
    ahead = [("", "", row) for row in reversed(rows) if row.get("parent") not in ids]
    while ahead:
        stem, indent, row = ahead.pop()
        below = forks.pop(row.get("id", ""), [])
        if "parent" in row:
            row = row | {"forked": ("" if stem else row["whence"]) + row["after"]}
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


def valued(rows: Sequence[Row], name: str) -> str:
    """The values of a setting or fact in runs, as many as a line or two hold."""
    values = dict.fromkeys(words(row, name) or "none" for row in rows)
    return textwrap.shorten(", ".join(values), 2 * WIDTH, placeholder=" …")


def shortened(name: str) -> str:
    """The name without its middle if it is too long for a line."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[1 - LONGEST // 2 :]}"


def about(row: Row) -> str:
    """A run's name and circumstances, as HTML."""
    star = ' <span title="favourite">★</span>' if row["favourite"] else ""
    state = f"{words(row, 'status')} · {words(row, 'made')} steps"
    state += f" · {words(row, 'seconds')}\N{NO-BREAK SPACE}s" if "seconds" in row else ""
    when = words(row, "created") + (" · steered" if row.get("steered") else "")
    lines = [state, when, words(row, "problem")]
    facts = "".join(f"<br><small>{escape(line)}</small>" for line in lines if line)
    return f"<b>{escape(words(row, 'name'))}</b>{star}{facts}"


def thumbnail(row: Row) -> str:
    """The run's last kept picture, or else its result, as HTML."""
    with suppress(OSError, ValueError):
        # A JPEG, unlike result.png, is read no finer than a small picture needs.
        file = [row["run"].result, *row["run"].images.values()][-1]
        with Image.open(file) as image:
            width, height = pictures.fitted(image.size, THUMB)
            image.thumbnail((SHARPNESS * THUMB, SHARPNESS * THUMB))
            data = pictures.jpeg(image.convert("RGB"), quality=75)
        sized = f'style="width: {width}px; height: {height}px; max-width: none"'
        return pictures.in_html(words(row, "name"), data, more=sized)
    return "<small>no picture</small>"
