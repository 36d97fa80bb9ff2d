"""Pictures of runs: the contact sheet and the loss curves. They only read what is on disk."""

import io
import itertools
import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from nsutils import pictures
from nsutils.run import Run
from nsutils.targets import shown

GAP, CAPTION = 10, 24  # pixels
LEAST = 1e-4  # a loss below is as good as none
INK, PAPER = "#222222", "#ffffff"
COLOURS = ("#2a6f97", "#d1603d", "#7b2cbf", "#4c956c", "#b08900", "#8a8a8a")


def tiles(run: Run, most: int = 13) -> list[tuple[str, Path]]:
    """Captions and files: content, styles, kept steps, result. Of many steps, evenly spaced ones."""
    settings, result = run.settings, run.result.exists()
    steps = [(f"step {number}" if number else "start", file) for number, file in run.images.items()]
    if result and len(steps) > 1:
        steps.pop()  # the last step's picture is the result
    stride = math.ceil(len(steps) / max(1, most - 3))
    styles = [
        ("style" if len(settings.styles) == 1 else f"style {n}", Path(style.picture))
        for n, style in enumerate(settings.styles, 1)
    ]
    return [
        ("content", Path(settings.content)),
        *styles,
        *steps[::stride],
        *([("result", run.result)] if result else []),
    ]


def contact_sheet(run: Run, edge: int = 200, columns: int = 5) -> Image.Image:
    """The tiles of a run in a grid with captions."""
    return sheet([(caption, shown(file)) for caption, file in tiles(run)], edge, columns)


def sheet(
    captioned: list[tuple[str, Image.Image]], edge: int = 200, columns: int = 5
) -> Image.Image:
    """Captioned images in a grid, each fitted into `edge` x `edge` pixels."""
    fitted = [(caption, pictures.thumbnail(image, edge)) for caption, image in captioned]
    columns, height = min(columns, len(fitted)), max(image.height for _, image in fitted)
    below = CAPTION if any(caption for caption, _ in fitted) else 0
    rows = math.ceil(len(fitted) / columns)
    size = columns * (edge + GAP) + GAP, rows * (height + below + GAP) + GAP
    paper = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(13)
    for place, (caption, image) in enumerate(fitted):
        left = GAP + place % columns * (edge + GAP)
        top = GAP + place // columns * (height + below + GAP)
        paper.paste(image, (left + (edge - image.width) // 2, top + (height - image.height) // 2))
        draw.text((left + edge / 2, top + height + below / 2), caption, INK, font, anchor="mm")
    return paper


class Plot(Figure):
    """A figure that a notebook shows by itself: pyplot, which would, keeps a state that no thread may share."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def loss_curves(run: Run) -> Plot:
    """Content, style and total variation over the steps, on a logarithmic axis; where the scale grew, a line."""
    figure = Plot(figsize=(7, 3), layout="constrained")
    axes, rows = figure.subplots(), run.metrics
    steps = [row["step"] for row in rows]
    for name, colour in {"content": "#2a6f97", "style": "#d1603d", "tv": "#8a8a8a"}.items():
        axes.plot(steps, [row[name] for row in rows], color=colour, label=name, linewidth=1.5)
    for before, after in itertools.pairwise(rows):
        if after["scale"] != before["scale"]:
            axes.axvline(after["step"], color="#cccccc", linewidth=1, zorder=0)
    for change in run.steering:
        axes.axvline(change["step"], color="#7b2cbf", linewidth=1, linestyle=":")
    relative = run.settings.relative
    axes.set(xlabel="step", ylabel="loss, relative to the target" if relative else "loss")
    if rows:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(axes.get_ylim()[0], LEAST if relative else 0))
        axes.legend(frameon=False, ncols=3, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def totals(runs: Mapping[str, Run]) -> Plot:
    """What each run minimised, in parts of its first value, for losses in different units on one axis."""
    figure = Plot(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for (name, run), colour in zip(runs.items(), itertools.cycle(COLOURS)):
        rows = run.metrics
        first = rows[0]["total"] if rows else 1
        shares = [row["total"] / first for row in rows]
        axes.plot([row["step"] for row in rows], shares, color=colour, label=name, linewidth=1.5)
    axes.set(xlabel="step", ylabel="total, in parts of its first", yscale="log")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
