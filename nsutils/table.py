"""The runs in a folder as a table, read from their plain files: to filter, to sort and to compare."""

import base64
import math
import os
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from nsutils import pictures
from nsutils.figures import latest, side_by_side
from nsutils.recipe import in_force, plain
from nsutils.run import Run
from nsutils.samples import runs_folder
from nsutils.settings import Settings

Row = dict[str, Any]  # a run's facts and settings by name, and what only the table needs

MOST = 50  # runs that a notebook shows; more of them would swell it
THUMB, SHARPNESS = 72, 2  # pixels of the page; of the picture for each
WIDTH, LONGEST = 100, 24  # letters of a line; of a word in it, but for names where there is room
TAIL = 1 << 14  # bytes at the end of metrics.csv, some tens of rows
SETTINGS = tuple(field.name for field in fields(Settings))
LOSSES = ("total_loss", "content_loss", "style_loss")
FACTS = ("favourite", "name", "status", "made", *LOSSES, "seconds", "created", "host")
TITLES = {"place": "", "favourite": "", "made": "steps"}
FORMS = dict.fromkeys(LOSSES, "{:.3g}".format) | {
    "favourite": lambda value: "*" if value else "",
    "seconds": "{:.1f}".format,
    "created": lambda value: f"{datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M}",
}
RUN, COLUMN, LONG = (
    340,
    85,
    160,
)  # pixels that a table takes for a picture and its run; for each column
# Doubled, the class outweighs JupyterLab's own rules for tables. Where a table's WIDE pixels are not, rows are cards.
STYLE = """<style>
.nsutils-runs.nsutils-runs {
  width: 100%; overflow-x: auto; font-size: 13px; line-height: 1.4;
  & table { border-collapse: collapse; margin: 0; }
  & tr { text-align: left; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
  & th, & td {
    padding: 6px 12px 6px 0; text-align: left; vertical-align: top; white-space: normal; border: 0; max-width: 14em;
  }
  & th { vertical-align: bottom; font-weight: 600; }
  & .number { text-align: right; font-variant-numeric: tabular-nums; }
  & .long { min-width: 10em; }
  & .run { min-width: 17em; max-width: 20em; overflow-wrap: anywhere; }
  & small { font-size: 12px; opacity: .75; }
  & .place { opacity: .65; }
  & img { display: block; margin: 0; border-radius: 3px; }
  & ul { list-style: none; margin: 0; padding: 0; }
  & li { display: flex; gap: 8px; margin: 0; }
  & li ul:not(:empty) { border-left: 2px solid color-mix(in srgb, currentColor 25%, transparent); padding-left: 8px; }
  & figure { margin: 0 0 10px; width: 124px; overflow-wrap: anywhere; }
}
@container runsWIDE (max-width: WIDEpx) {
  .nsutils-runs.nsutils-runs {
    & thead { display: none; }
    & table, & tbody { display: block; }
    & tr { display: block; position: relative; padding: 8px 0 8px 84px; min-height: 72px; }
    & td[class] { display: inline-block; max-width: none; min-width: 0; padding: 0 14px 0 0; text-align: left; }
    & td[class]:empty { display: none; }
    & td[class].run { display: block; }
    & td[class].picture { position: absolute; left: 0; }
    & td[title]::before { content: attr(title) " "; opacity: .65; }
  }
}
</style>"""


def runs(folder: str | Path | None = None) -> "Table":
    """The runs in a folder, by default data/runs, the newest first."""
    if folder is not None and not Path(folder).is_dir():
        raise ValueError(f"no folder {str(folder)!r}; name one that holds runs")
    folder = Path(folder or runs_folder())
    inside = folder.iterdir() if folder.is_dir() else []
    rows = [row(path) for path in inside if any(os.path.isfile(path / name) for name in READERS)]
    return Table(sorted(rows, key=age, reverse=True))


class Table(Sequence[Run]):
    """Runs with what their files said when they were read. `table[3]` is a run, `table[:10]` a table."""

    def __init__(self, rows: Sequence[Row]):
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int | slice) -> "Run | Table":
        if isinstance(place, slice):
            return Table(self._rows[place])
        return self._rows[place]["run"]

    def where(self, **conditions: Any) -> "Table":
        """The runs for which each setting or fact is as given, or for which the given function says so.

        `where(status="done", content="cat.jpg", style_weight=lambda weight: weight > 1)`. The facts are favourite,
        name, status, made (steps), total_loss, content_loss, style_loss, seconds, created and host.
        """
        wanted = {known(name): condition for name, condition in conditions.items()}
        return Table(
            [
                row
                for row in self._rows
                if all(fits(row.get(name), condition) for name, condition in wanted.items())
            ]
        )

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
        """The settings in which these runs differ, but for the steps, which are a column of their own."""
        read = [row for row in self._rows if "size" in row]
        names = [name for name in SETTINGS if name != "steps"]
        return [name for name in names if any(row[name] != read[0][name] for row in read)]

    def __str__(self) -> str:
        return self._text(len(self))

    def __repr__(self) -> str:
        return self._text(MOST)

    def _text(self, most: int) -> str:
        rows = self._rows[:most]
        lines = [*grid(rows, self.differing), *troubles(rows), *self._more(most)]
        return "\n".join(lines) or "no runs"

    def _repr_html_(self) -> str:
        if not self._rows:
            return "<p>no runs</p>"
        rows = self._rows[:MOST]
        kinds = {name: kind(rows, name) for name in (*self.differing, *LOSSES)}
        heads = "".join(f'<th class="{kinds[name]}">{broken(name)}</th>' for name in kinds)
        with ThreadPoolExecutor() as pool:  # large PNGs take long, and Pillow reads several at once
            thumbs = list(pool.map(lambda row: thumbnail(row, THUMB), rows))
        body = "".join(
            f'<tr><td class="picture">{thumbs[place]}</td>'
            f'<td class="run"><span class="place">{place}</span> {about(row)}</td>{cells(row, kinds)}</tr>'
            for place, row in enumerate(rows)
        )
        more = "".join(f"<p>{line}</p>" for line in self._more(MOST))
        wide = RUN + sum(LONG if kind == "long" else COLUMN for kind in kinds.values())
        return (
            f'{STYLE.replace("WIDE", str(wide))}<div style="container: runs{wide} / inline-size">'
            f'<div class="nsutils-runs"><table><thead><tr><th></th><th>run</th>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table>{more}</div></div>"
        )

    def _more(self, most: int) -> list[str]:
        left = len(self) - most
        return [f"... and {left} more: [{most}:{most + min(left, MOST)}]"] if left > 0 else []


class Tree:
    """Runs that were forked, each after the run that it was forked from."""

    def __init__(self, rows: Sequence[Row]):
        self._branches = list(branches(rows))

    def __str__(self) -> str:
        lines = [
            f"{stem(lasts)}{printable(row['name'])}  {words(row, 'status')} {words(row, 'made')}  "
            f"{origin(row, bool(lasts))}".rstrip()
            for lasts, row in self._branches
        ]
        return "\n".join(lines) or "no run here was forked"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        html, deep = "", 0
        for lasts, row in self._branches[:MOST]:
            html += "</ul></li>" * (deep - len(lasts)) + (
                f"<li><figure>{thumbnail(row, 124)}<figcaption>{about(row)}"
                f"<br><small>{escape(origin(row, bool(lasts)))}</small></figcaption></figure><ul>"
            )
            deep = len(lasts) + 1
        html = f"<ul>{html}{'</ul></li>' * deep}</ul>" if html else "<p>no run here was forked</p>"
        if (left := len(self._branches) - MOST) > 0:
            html += f"<p>... and {left} more</p>"
        return f'{STYLE}<div class="nsutils-runs">{html}</div>'


class Remains(Run):
    """What there is of a run whose settings.json is not there."""

    def __init__(self, folder: Path):
        self.folder = folder


def row(folder: Path) -> Row:
    """What a run's files say. Of one that cannot be read the reason is its `problem`."""
    try:
        run = Run(folder)
    except ValueError:
        run = Remains(folder)
    facts = {"run": run, "name": folder.name, "favourite": False, "made": 0}
    for file, read in READERS.items():
        try:
            facts |= read(run)
        except (OSError, ValueError, *MISFITS) as error:
            reason = facts.get("problem") or trouble(file, error)
            reason = reason.replace(f"{folder}{os.sep}", "")
            facts |= {"status": "damaged", "problem": reason}
    return facts


def marked(run: Run) -> Row:
    changed = datetime.fromtimestamp(run.folder.stat().st_mtime, UTC)
    return {"favourite": run.favourite, "created": changed.isoformat()}  # if nothing says it better


def measured(run: Run) -> Row:
    last = last_row(run.folder / "metrics.csv")
    losses = {f"{name}_loss": last.get(name) for name in ("total", "content", "style")}
    return {"made": last.get("step", 0), "seconds": last.get("seconds"), **losses}


def last_row(file: Path) -> dict[str, float]:
    """The last whole row of metrics.csv, read from its end; empty if there is none."""
    if not file.exists():
        return {}
    with file.open("rb") as stream:
        names = stream.readline().decode().strip().split(",")
        begin = stream.tell()
        stream.seek(max(begin, stream.seek(0, os.SEEK_END) - TAIL))
        *lines, _ = stream.read().split(b"\n")  # the last was not ended
    for line in reversed(lines):
        with suppress(ValueError):
            return dict(zip(names, map(float, line.split(b",")), strict=True))
    return {}


def described(run: Run) -> Row:
    meta, parent = run.meta, None
    if "created" not in meta:
        raise ValueError("meta.json is not there, or says little")
    if meta.get("parent"):
        parent = {name: meta["parent"][name] for name in ("id", "name", "step")}
        parent["changes"] = dict(meta["parent"]["changes"])
    return {
        "status": str(run.status),
        "created": datetime.fromisoformat(meta["created"]).astimezone(UTC).isoformat(),
        "host": str(meta.get("host", "")),
        "id": str(meta.get("id")),
        "parent": parent,
    }


def asked(run: Run) -> Row:
    settings = in_force(run)
    return {name: getattr(settings, name) for name in SETTINGS} | {"steered": bool(run.steering)}


READERS = {".": marked, "metrics.csv": measured, "meta.json": described, "settings.json": asked}
MISFITS = (AttributeError, KeyError, TypeError, RecursionError)  # of JSON that holds other things


def trouble(file: str, error: Exception) -> str:
    if isinstance(error, MISFITS):
        return f"{file} holds other things than the kit writes"
    if isinstance(error, OSError):
        return f"{file}: {error.strerror}"
    return str(error).partition("; there are ")[0]


def known(name: str) -> str:
    """The full name of a setting or fact; of a loss, `style` will do."""
    for full in (name, f"{name}_loss"):
        if full in (*FACTS, *SETTINGS):
            return full
    raise ValueError(f"no column {name!r}; there are {', '.join((*FACTS, *SETTINGS))}")


def fits(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return not lacks(value) and bool(wanted(value))
    return value == wanted or plain(value) == plain(wanted)


def lacks(value: Any) -> bool:
    return value is None or value != value  # nan is no number to compare


def rank(value: Any) -> tuple[float, str]:
    """Numbers by value, before everything else by its words."""
    return (value, "") if isinstance(value, int | float) else (math.inf, plain(value).lower())


def grid(rows: Sequence[Row], differing: Sequence[str]) -> list[str]:
    """The lines of a table of `WIDTH` letters; what finds no room is named in the last."""
    order = ["place", *FACTS[:4], *differing, *FACTS[4:]]
    columns = {name: [words(row, name) for row in rows] for name in order}
    columns["place"] = [str(place) for place in range(len(rows))]
    heads = {name: re.split("(?<=_)", TITLES.get(name, name)) for name in order}
    widths = {
        name: max(map(len, [*heads[name], *(shortened(cell, LONGEST) for cell in cells)]))
        for name, cells in columns.items()
        if any(cells)
    }
    shown, room = [], WIDTH + 2
    for name in dict.fromkeys(["place", *FACTS[:5], *differing, "seconds", *order]):
        if name in widths and widths[name] + 2 <= room:
            shown.append(name)
            room -= widths[name] + 2
    if rows:
        widths["name"] += min(room, max(map(len, columns["name"])) - widths["name"])
    height = max(map(len, heads.values()))
    blocks = []
    for name in filter(shown.__contains__, order):
        cells = [*[""] * (height - len(heads[name])), *heads[name]]
        cells += [shortened(cell, widths[name]) for cell in columns[name]]
        just = str.rjust if kind(rows, name) == "number" else str.ljust
        blocks.append([just(cell, widths[name]) for cell in cells])
    lines = ["  ".join(cells).rstrip() for cells in zip(*blocks, strict=True)]
    left = [name for name in widths if name not in shown]
    return [line for line in lines if line] + ([f"no room for {', '.join(left)}"] if left else [])


def troubles(rows: Sequence[Row]) -> list[str]:
    """Why runs are damaged, in lines of `WIDTH` letters that begin with the runs' places."""
    places = defaultdict(list)
    for place, row in enumerate(rows):
        if row.get("problem"):
            places[printable(row["problem"])].append(str(place))
    told = [f"{', '.join(found)}: {reason}" for reason, found in places.items()]
    return [line for words in told for line in textwrap.wrap(words, WIDTH)]


def words(row: Row, name: str) -> str:
    """What a table shows of a fact or setting."""
    if name == "made":
        return f"{row[name]:.0f}/{row.get('steps', '?')}"
    if name not in row or (name in FACTS and row[name] is None):
        return ""
    return printable(FORMS.get(name, plain)(row[name]))


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def shortened(text: str, most: int) -> str:
    """The text without its middle if it is longer than `most` letters."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def kind(rows: Sequence[Row], name: str) -> str:
    """`number` for a column of nothing else, `long` for one that wants room."""
    if all(isinstance(row.get(name), int | float | None) for row in rows):
        return "number"
    return "long" if any(len(words(row, name)) > LONGEST for row in rows) else ""


def cells(row: Row, kinds: Mapping[str, str]) -> str:
    return "".join(
        f'<td class="{kind}" title="{name}">{escape(words(row, name))}</td>'
        for name, kind in kinds.items()
    )


def about(row: Row) -> str:
    """A run's name and circumstances, as HTML."""
    star = ' <span title="favourite">★</span>' if row["favourite"] else ""
    state = [
        words(row, "status"),
        "steered" if row.get("steered") else "",
        f"{words(row, 'made')}\N{NO-BREAK SPACE}steps",
    ]
    state += [f"{words(row, 'seconds')}\N{NO-BREAK SPACE}s"] if row.get("seconds") else []
    lines = [state, [words(row, "host"), words(row, "created")], [row.get("problem") or ""]]
    facts = "".join(
        f"<br><small>{escape(' · '.join(filter(None, line)))}</small>"
        for line in lines
        if any(line)
    )
    return f"<b>{escape(printable(row['name']))}</b>{star}{facts}"


def thumbnail(row: Row, edge: int) -> str:
    """The run's picture as HTML, at most `edge` pixels of the page wide and high."""
    with suppress(ValueError, OSError):
        if image := latest(row["run"]):
            width, height = pictures.fitted(image.size, edge)
            image.thumbnail((SHARPNESS * edge, SHARPNESS * edge))
            data = base64.b64encode(pictures.jpeg(image, quality=75)).decode()
            return (
                f'<img alt="{escape(printable(row["name"]))}" width="{width}" height="{height}" '
                f'style="max-width: none" src="data:image/jpeg;base64,{data}">'
            )
    return "<small>no picture</small>"


def broken(text: str) -> str:
    """The text as HTML that may be broken after its underscores."""
    return escape(text).replace("_", "_<wbr>")


def branches(rows: Sequence[Row]) -> Iterator[tuple[tuple[bool, ...], Row]]:
    """Each run that was forked or is a fork, its parent before it, with, for it and for each of its forefathers but
    the first, whether it is the last fork there."""
    by_age = sorted(rows, key=age)
    ids, seen, forks = {row.get("id") for row in rows}, set(), defaultdict(list)
    for row in by_age:
        if row.get("parent"):
            forks[row["parent"]["id"]].append(row)
    roots = [row for row in by_age if not row.get("parent") or row["parent"]["id"] not in ids]
    for root in [*roots, *by_age]:  # the others are reached from these, but for a circle
        ahead = [((), root)]
        while ahead:
            lasts, row = ahead.pop()
            if row["name"] in seen:
                continue
            seen.add(row["name"])
            below = forks.pop(row.get("id"), [])
            if below or row.get("parent"):
                yield lasts, row
            ahead += [((*lasts, fork is below[-1]), fork) for fork in reversed(below)]


def age(row: Row) -> tuple[str, str]:
    return row.get("created", ""), row["name"]


def stem(lasts: tuple[bool, ...]) -> str:
    """The lines of a tree before a name."""
    before = "".join("   " if last else "│  " for last in lasts[:-1])
    return before + ("" if not lasts else "└─ " if lasts[-1] else "├─ ")


def origin(row: Row, here: bool) -> str:
    """From where a run was forked, and with which settings; `here`: its parent stands before it."""
    if not (parent := row.get("parent")):
        return ""
    changes = ", ".join(f"{name} {plain(value)}" for name, value in parent["changes"].items())
    whence = "" if here else f"from {parent['name']} "
    return printable(f"{whence}after step {parent['step']}: {changes or 'no change'}")
