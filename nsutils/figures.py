"""Pictures of runs: contact sheet, film, and many runs in rows and columns. They only read what is on disk."""

import itertools
import math
import os
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from nsutils import pictures, recipe
from nsutils.run import Run
from nsutils.settings import Settings, escaped
from nsutils.targets import shown

GAP, CAPTION, LINE = 10, 24, 17  # pixels; a line more of a caption
# Pixels: of the words beside a row; of a picture that is a link; of two that a divider parts.
BESIDE, LINKED, DIVIDED = 130, 160, 560
# What moves a divider, of the slider that is `this`.
DIVIDE = "this.previousElementSibling.lastElementChild.style.clipPath=`inset(0 0 0 ${this.value}%)`"
FRAMES_A_SECOND, LONGEST = 12, 900  # of a film, at most; seconds, for a GIF's frame lasts up to 655
FILM = 32  # pixels: its long edge, at least
INK, FAINT, PAPER, BLANK = "#222222", "#777777", "#ffffff", "#dddddd"


def tiles(run: Run, most: int = 13) -> list[tuple[str, Path]]:
    """Captions and files: content, styles, kept steps, result. Of many steps, evenly spaced ones."""
    settings, result = run.settings, run.outcome
    steps = [(f"step {number}" if number else "start", file) for number, file in run.images.items()]
    if result and ends_on_a_kept_step(run):
        steps.pop()
    stride = math.ceil(max(1, len(steps)) / max(1, most - 3))
    ending = [("result", result)] if result else []
    return [*originals(settings), *steps[::stride], *ending]


def ends_on_a_kept_step(run: Run) -> bool:
    """Whether the last of its pictures is of the step that is its result."""
    return [*run.images][-1:] == [run.meta.get("steps", run.made)]


def originals(settings: Settings) -> list[tuple[str, Path]]:
    """Captions and files of the content and the styles."""
    styles = [
        ("style" if len(settings.styles) == 1 else f"style {n}", Path(style.picture))
        for n, style in enumerate(settings.styles, 1)
    ]
    return [("content", Path(settings.content)), *styles]


def contact_sheet(run: Run, edge: int = 200, columns: int = 5) -> Image.Image:
    """The tiles of a run in a grid with captions."""
    return sheet([(caption, readable(file, edge)) for caption, file in tiles(run)], edge, columns)


def sheet(
    captioned: list[tuple[str, Image.Image]], edge: int = 200, columns: int = 5
) -> Image.Image:
    """Captioned images in a grid, each fitted into `edge` x `edge` pixels."""
    fitted = [(caption, pictures.thumbnail(image, edge)) for caption, image in captioned]
    columns, height = min(columns, len(fitted)), max(image.height for _, image in fitted)
    lines = max(caption.count("\n") + bool(caption) for caption, _ in fitted)
    below = CAPTION + (lines - 1) * LINE if lines else 0
    rows = math.ceil(len(fitted) / columns)
    size = columns * (edge + GAP) + GAP, rows * (height + below + GAP) + GAP
    paper = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(paper)
    for place, (caption, image) in enumerate(fitted):
        left = GAP + place % columns * (edge + GAP)
        top = GAP + place // columns * (height + below + GAP)
        paper.paste(image, (left + (edge - image.width) // 2, top + (height - image.height) // 2))
        beneath = left + edge / 2, top + height + 6
        draw.text(beneath, caption, INK, lettering(), anchor="ma", align="center")
    return paper


class Divided:
    """Two pictures, the second resized to the first, in a notebook with a divider between them that a slider moves."""

    def __init__(self, before: Image.Image, after: Image.Image, names: tuple[str, str]):
        self.names = names
        self.before = pictures.thumbnail(before.convert("RGB"), DIVIDED)
        self.after = after.convert("RGB").resize(self.before.size)

    def _repr_html_(self) -> str:
        (left, right), width = self.names, self.before.width
        whole = "display: block; width: 100%; margin: 0"
        words = f"Divider between {left} and {right}"
        over = f"{whole}; position: absolute; inset: 0; clip-path: inset(0 0 0 50%)"
        return (
            f'<div style="max-width: {width}px"><div style="position: relative">'
            + pictures.in_html(left, pictures.jpeg(self.before), more=f'style="{whole}"')
            + pictures.in_html(right, pictures.jpeg(self.after), more=f'style="{over}"')
            + f'</div><input type="range" value="50" style="width: 100%; margin: 4px 0 0" '
            f'aria-label="{escaped(words)}" oninput="{escaped(DIVIDE)}">'
            f'<div style="display: flex; justify-content: space-between"><span>{escaped(left)}</span>'
            f"<span>{escaped(right)}</span></div></div>"
        )


def lettering() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(13)


def side_by_side(runs: Sequence[Run], edge: int = 300) -> Image.Image:
    """The runs' pictures in a grid, under each the settings in which they differ, or its name if they do not."""
    if not runs:
        raise ValueError("no runs to show; name one or more")
    captioned = []
    for run, differing in zip(runs, recipe.differing(runs), strict=True):
        words = [f"{name} {value}" for name, value in differing.items()]
        lines = [line for part in words or [run.folder.name] for line in wrapped(part, edge)]
        captioned.append(("\n".join(lines), pictured(run, edge)))
    return sheet(captioned, edge, math.ceil(len(runs) ** 0.5) if len(runs) > 4 else len(runs))


class Grid:
    """Runs in rows and columns by two settings; `cells[row, column]`.

    `down` and `across` name the settings, by default those of which there are most values.
    A cell holds runs with what else they differ in. A notebook shows it as a table of links to the runs' folders,
    or their reports where there are some; `image` is one picture. `axes` are the two settings' names, or "".
    """

    def __init__(self, runs: Sequence[Run], down: str | None = None, across: str | None = None):
        if not runs:
            raise ValueError("no runs to show; give some, as Grid(runs()[:9])")
        words = recipe.differing(runs)
        values = {name: sorted({each[name] for each in words}, key=rank) for name in words[0]}
        self.axes = axes_of({name: len(values[name]) for name in values}, down, across)
        self.rows, self.columns = (values.get(name, [""]) for name in self.axes)
        self.cells = {(row, column): [] for row in self.rows for column in self.columns}
        pairs = zip(runs, words, strict=True)
        for run, each in sorted(pairs, key=lambda pair: [*map(rank, pair[1].values())]):
            rest = "\n".join(f"{name} {each[name]}" for name in each if name not in self.axes)
            self.cells[each.get(self.axes[0], ""), each.get(self.axes[1], "")].append((run, rest))

    def __len__(self) -> int:
        return sum(map(len, self.cells.values()))

    def __repr__(self) -> str:
        return f"<Grid of {len(self)} runs: {' x '.join(filter(None, self.axes))}>"

    def image(self, edge: int = 200) -> Image.Image:
        """The names and the values of the settings stand above and on the left; a run without a picture is grey."""
        drawn = dict.fromkeys(self.cells, Image.new("RGB", (1, 1), PAPER))
        for place, cell in self.cells.items():
            if cell:
                captioned = [(rest, pictured(run, edge)) for run, rest in cell]
                drawn[place] = sheet(captioned, edge, len(cell))
        wide = [max(drawn[row, column].width for row in self.rows) for column in self.columns]
        high = [max(drawn[row, column].height for column in self.columns) for row in self.rows]
        heads = zip(self.columns, wide, strict=True)
        above = ["\n".join(wrapped(words, room - GAP)) for words, room in heads]
        beside = ["\n".join(wrapped(words, BESIDE)) for words in self.rows]
        lines = "\n".join((*beside, self.axes[0])).split("\n")
        left = 2 * GAP + math.ceil(max(map(lettering().getlength, lines)))
        top = 3 * LINE + GAP + LINE * max(words.count("\n") for words in above)
        left, top = left if self.axes[0] else GAP, top if self.axes[1] else GAP
        paper = Image.new("RGB", (left + sum(wide) + GAP, top + sum(high) + GAP), PAPER)

        def write(x: float, y: float, words: str, anchor: str, ink: str = INK) -> None:
            align = "right" if anchor[0] == "r" else "center"
            pen.text((x, y), words, ink, lettering(), anchor=anchor, align=align)

        pen = ImageDraw.Draw(paper)
        write(left + sum(wide) / 2, GAP, self.axes[1], "ma", FAINT)
        write(left - GAP, top - GAP / 2, self.axes[0], "rd", FAINT)
        across = [*itertools.accumulate(wide[:-1], initial=left)]
        down = [*itertools.accumulate(high[:-1], initial=top)]
        for x, room, words in zip(across, wide, above, strict=True):
            write(x + room / 2, top - GAP / 2, words, "md")
        for y, room, words in zip(down, high, beside, strict=True):
            write(left - GAP, y + room / 2, words, "rm")
        for (row, column), image in drawn.items():
            x, y = across[self.columns.index(column)], down[self.rows.index(row)]
            paper.paste(image, (x, y))
        return paper

    def table(self, shown: Callable[[Run, str], str], alike: bool = False) -> str:
        """The grid in HTML, each run as it is shown, given what else it differs in.

        Its columns are as wide as their headings and pictures ask, or `alike` and no wider than the page together.
        """
        lines, middle = "", 'style="text-align: center"'  # a notebook's own rules: on the right
        if self.axes[1]:
            names = [f"<small>{escaped(name)}</small>" for name in self.axes]
            heads = "".join(f"<th {middle}>{escaped(words)}</th>" for words in self.columns)
            lines += f'<tr><td></td><th colspan="{len(self.columns)}" {middle}>{names[1]}</th></tr>'
            lines += f"<tr><th>{names[0]}</th>{heads}</tr>"
        for row in self.rows:
            places = [self.cells[row, column] for column in self.columns]
            cells = ["".join(shown(*each) for each in place) for place in places]
            drawn = "".join(f"<td {middle}>{cell}</td>" for cell in cells)
            lines += f"<tr><th>{escaped(row)}</th>{drawn}</tr>"
        if not alike:
            return f"<table>{lines}</table>"
        first = BESIDE if self.axes[0] else GAP
        most = first + len(self.columns) * (LINKED + 2 * GAP)
        style = f"table-layout: fixed; width: 100%; max-width: {most}px"
        return f'<table style="{style}"><col style="width: {first}px">{lines}</table>'

    def _repr_html_(self) -> str:
        return self.table(linked, alike=True)

    def _repr_jpeg_(self) -> bytes:
        return pictures.jpeg(self.image())


def axes_of(counts: dict[str, int], down: str | None, across: str | None) -> tuple[str, str]:
    """The settings of rows and of columns; as they come where they are not asked for, one alone across."""
    for asked in filter(None, (down, across)):
        if asked not in counts:
            known = ", ".join(counts) or "nothing"
            raise ValueError(f"the runs do not differ in {asked!r}; they differ in {known}")
    free = [name for name in counts if name not in (down, across)]
    wanted = 2 - bool(down) - bool(across)
    most = sorted(free, key=counts.get)[max(0, len(free) - wanted) :]
    left = [""] * wanted + [name for name in free if name in most]
    return (down or left[-2 if not across else -1], across or left[-1])


def linked(run: Run, rest: str) -> str:
    """A run's picture as a link to its report, or else to its folder."""
    file = run.folder / "report.html"
    place = os.path.relpath(file if file.exists() else run.folder)
    image, name = latest(run), run.folder.name
    shown = escaped(name)
    if image:
        shown = pictures.in_html(name, pictures.jpeg(pictures.thumbnail(image, LINKED)))
    told = escaped(rest).replace("\n", "<br>")
    words = f"<br><small>{told}</small>" * bool(rest)
    return f'<a href="{escaped(quote(os.fsencode(Path(place).as_posix())))}" title="{escaped(name)}">{shown}</a>{words}'


def rank(words: str) -> tuple[float, int, str]:
    """Numbers by value, then lists by length, and what is as long by its words."""
    try:
        return float(words), 0, ""
    except ValueError:
        return math.inf, words.count(","), words


def pictured(run: Run, edge: int) -> Image.Image:
    """What there is of a run; grey where there is nothing yet."""
    return latest(run) or grey(edge)


def readable(file: Path, edge: int) -> Image.Image:
    """The picture in a file; grey where that is damaged."""
    try:
        return shown(file)
    except ValueError:
        return grey(edge)


def grey(edge: int) -> Image.Image:
    return Image.new("RGB", (edge, edge * 2 // 3), BLANK)


def latest(run: Run) -> Image.Image | None:
    """The result, or else the last kept picture."""
    files = [*run.images.values()]
    with suppress(ValueError):  # its record is damaged
        files += filter(None, [run.outcome])
    for file in reversed(files):
        with suppress(ValueError):
            return shown(file)
    return None


def wrapped(text: str, width: float) -> list[str]:
    """The text in lines of at most so many pixels, broken in mid-word only where a word is longer."""
    lines = []
    for letters in range(len(text), 0, -1):
        lines = textwrap.wrap(text, letters)
        if max(map(lettering().getlength, lines), default=0) <= width:
            break
    return lines


def film(run: Run, edge: int = 480, seconds: float = 6.0) -> bytes:
    """The kept steps as an animated GIF that ends on the result and stays there for a third of its time."""
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"a film of {seconds:g} s; give seconds above 0, up to {LONGEST}")
    if edge < FILM:
        raise ValueError(f"a film of {edge} px; give an edge of {FILM} or more")
    files = [*run.images.values()]
    if ending := run.outcome:
        files[len(files) - ends_on_a_kept_step(run) :] = [ending]
    if not (last := latest(run)):
        raise ValueError(f"no pictures in {str(run.folder)!r} yet; let the run go on")
    most = max(2, round(seconds * FRAMES_A_SECOND))
    files = [*files[: -1 : math.ceil(len(files) / most)], files[-1]]
    size = pictures.fitted(last.size, min(edge, max(last.size)))
    frames = []
    for file in files:
        with suppress(ValueError):  # a damaged one is left out
            frames.append(shown(file).resize(size, Image.Resampling.LANCZOS))
    # One palette, and no noise of dithering that would move: colours stay where they are.
    strip = sheet([("", frame) for frame in frames], 120)
    palette = strip.quantize(256, Image.Quantize.MEDIANCUT)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    moving = round(seconds * 1000 * 2 / 3 / max(1, len(frames) - 1))
    times = [moving] * (len(frames) - 1) + [round(seconds * 1000 / 3)]
    how = {"save_all": True, "append_images": frames[1:], "duration": times, "loop": 0}
    return pictures.saved(frames[0], "GIF", **how)
