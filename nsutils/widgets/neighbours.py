"""Nine small pictures around the settings in hand: two of them lower, as they are, and higher."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace

import ipywidgets as widgets

from nsutils import encoders
from nsutils.cost import ladder
from nsutils.player import PREVIEW
from nsutils.run import in_colours
from nsutils.settings import Settings, vary
from nsutils.sources import content_of
from nsutils.transfer import stylize
from nsutils.widgets.controls import NAMES, TERMS, button
from nsutils.widgets.tiles import Tiles
from nsutils.widgets.words import complaint

FACTOR = 10**0.5  # between neighbours: ten of a slider's places
LARGEST = 192  # pixels, the long edge
FEWER = 0.6  # of the steps at such a size: nine pictures are waited for
WEIGHTS = {NAMES[name]: name for name in (f"{term}_weight" for term in TERMS)}
SMALLEST = {"style_weight": 0.1, "content_weight": 0.1}  # beside a weight of 0; others' is 0.05


class Neighbours(widgets.VBox):
    """`asked()` are the settings in the middle; `chosen(name, value)` is called for what a clicked picture has."""

    def __init__(self, asked: Callable[[], Settings], chosen: Callable[[str, float], None]):
        self.asked, self.chosen = asked, chosen
        axis = {"options": WEIGHTS, "layout": {"width": "auto", "flex": "1 1 240px"}}
        self.down = widgets.Dropdown(description="Down", value="style_weight", **axis)
        self.across = widgets.Dropdown(description="Across", value="content_weight", **axis)
        tip = "nine small pictures; a click on one takes its settings"
        self.button = button("Show me the neighbourhood", tip, "th")
        self.said = widgets.HTML().add_class("note")
        self.tiles = Tiles(self._take, "repeat(3, minmax(0, 1fr))")
        self.names: list[str] = []
        self.around: dict[str, Settings] = {}
        row = widgets.HBox([self.down, self.across, self.button], layout={"flex_flow": "row wrap"})
        super().__init__([row, self.said, self.tiles])
        self._turn = 0
        self.button.on_click(lambda _: self.show())

    def show(self) -> None:
        """Paints them, in a thread; those being painted for an earlier call are given up."""
        self._turn += 1
        names = [*dict.fromkeys((self.down.value, self.across.value))]
        try:
            around = neighbours(self.asked(), names)
        except ValueError as error:
            self.said.value = complaint(error)
            return
        self.names = names
        self.around = {caption(settings, names): settings for settings in around}
        self.tiles.lay(self.around, content_of(around[0]).size)
        self.said.value = f"Painting {len(around)} small pictures …"
        name = "nsutils neighbours"
        threading.Thread(target=self._paint, args=(self._turn,), name=name).start()

    def _paint(self, turn: int) -> None:
        try:
            around = dict(self.around)
            encoder = encoders.of(next(iter(around.values())))
            for number, (name, settings) in enumerate(around.items()):
                self.said.value = f"Painting small pictures: {number} of {len(around)} done …"
                for step in stylize(settings, encoder):
                    if turn != self._turn or not threading.main_thread().is_alive():
                        return
                    made = step.image
                image = in_colours(made, settings)
                if turn != self._turn:
                    return
                self.tiles.fill(name, image)
            self.said.value = "Each a third of what is asked, or three times as much. A click takes one's settings."
        except (ValueError, OSError, FloatingPointError) as error:
            self.said.value = complaint(error)

    def _take(self, name: str) -> None:
        self.tiles.mark(name)
        for setting in self.names:
            self.chosen(setting, getattr(self.around[name], setting))


def neighbours(settings: Settings, names: list[str]) -> list[Settings]:
    """The settings with those named at a third, as they are, and three times, made as small as a preview."""
    steps = [*ladder(settings)]
    last = next((n for n, (shape, *_) in enumerate(steps) if max(shape) >= PREVIEW), len(steps) - 1)
    counts = [end - begin for _, begin, end in steps]
    *before, count = [math.ceil(FEWER * count) for count in counts[: last + 1] if count]
    small = replace(
        settings,
        size=min(max(steps[last][0]), LARGEST),
        side="long",
        scale_steps=tuple(before),
        steps=sum(before) + count,
    )

    def around(name: str) -> list[float]:
        middle = getattr(settings, name) or SMALLEST.get(name, 0.05) / FACTOR
        return [middle / FACTOR, middle, middle * FACTOR]

    return vary(small, **{name: around(name) for name in names})


def caption(settings: Settings, names: list[str]) -> str:
    return "\n".join(f"{NAMES[name]} {getattr(settings, name):.3g}" for name in names)
