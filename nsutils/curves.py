"""Losses over the steps of a run, and of many, as plots."""

import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nsutils import recipe
from nsutils.objective import TERMS
from nsutils.run import Run

LEAST = 1e-4  # a loss below is as good as none
MARKS, LETTER = 8, 0.0105  # changes that are named; a letter's width in parts of the axes'
STEERED = "#7b2cbf"
COLOURS = ("#2a6f97", "#d1603d", "#8a8a8a", "#4c956c", "#b08900", STEERED, "#3d405b")


class Plot(Figure):
    """A figure that a notebook shows by itself: pyplot, which would, keeps a state that no thread may share."""

    def png(self, dpi: int = 110) -> bytes:
        """A PNG file's bytes."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=dpi)
        return buffer.getvalue()

    _repr_png_ = png


def loss_curves(run: Run, names: Sequence[str] = TERMS) -> Plot:
    """Losses over the steps, by default each term's, on a logarithmic axis; where the scale grew, a line.

    `names` are of columns of `run.metrics`; "style/" stands for those of all style layers.
    """
    figure = Plot(figsize=(7, 3), layout="constrained")
    axes, rows = figure.subplots(), run.metrics
    steps = [row["step"] for row in rows]
    kinds = tuple(name for name in names if name.endswith("/"))
    shown = [n for n in (rows[-1] if rows else {}) if n in names or n.startswith(kinds)]
    for name, colour in zip(shown, itertools.cycle(COLOURS)):
        drawn(axes, steps, [row[name] for row in rows], colour, label=name)
    for before, after in itertools.pairwise(rows):
        if after["scale"] != before["scale"]:
            axes.axvline(after["step"], color="#cccccc", linewidth=1, zorder=0)
    relative = run.settings.relative
    axes.set(xlabel="step", ylabel="loss, relative to the target" if relative else "loss")
    if rows:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(axes.get_ylim()[0], LEAST if relative else 0))
        axes.legend(frameon=False, ncols=min(3, len(shown)), loc="best")
    axes.spines[["top", "right"]].set_visible(False)
    figure.set_figheight(3 + 0.15 * mark(axes, recipe.steering(run)))
    return figure


def drawn(
    axes: Axes, steps: Sequence[float], values: Sequence[float], colour: str, **more: str
) -> None:
    """A line over the steps, or a dot where there is one alone."""
    dot = "o" if len(steps) == 1 else ""
    axes.plot(steps, values, color=colour, linewidth=1.5, marker=dot, **more)


def mark(axes: Axes, changes: list[tuple[int, str]]) -> int:
    """A dotted line at each change of settings, the first few named above the axes; in how many rows."""
    first, last = axes.get_xlim()
    for step, _ in changes:
        axes.axvline(step, color=STEERED, linewidth=1, linestyle=":")
    ends: list[float] = []  # how far to the right each row is written
    for step, words in changes[:MARKS] + [(step, "…") for step, _ in changes[MARKS:][:1]]:
        words = textwrap.shorten(words.replace(" = ", " "), 40, placeholder=" …")
        width = LETTER * (len(words) + 2) * (last - first)
        left, side = (step, "left") if step + width <= last else (step - width, "right")
        row = next((row for row, end in enumerate(ends) if end <= left), len(ends))
        ends[row : row + 1] = [left + width]
        above = {"xytext": (0, 3 + 11 * row), "textcoords": "offset points", "ha": side}
        top = {"xy": (step, 1), "xycoords": axes.get_xaxis_transform()}
        axes.annotate(words, **top, **above, size=7.5, color=STEERED, parse_math=False)
    return len(ends)


def totals(runs: Mapping[str, Run]) -> Plot:
    """What each run minimised, in parts of its first value, for losses in different units on one axis."""
    figure = Plot(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for run, colour in zip(runs.values(), itertools.cycle(COLOURS)):
        rows = run.metrics
        first = rows[0]["total"] if rows else 1
        shares = [row["total"] / first for row in rows]
        drawn(axes, [row["step"] for row in rows], shares, colour)
    axes.set(xlabel="step", ylabel="total, in parts of its first", yscale="log")
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    legend = axes.legend(axes.lines, [*runs], frameon=False, ncols=3, **place)
    for text in legend.get_texts():  # a name may be anything
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
