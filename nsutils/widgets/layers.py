"""Layers of a network, a box to tick each: a click takes one away and leaves the others."""

from collections.abc import Iterable

import ipywidgets as widgets
import traitlets


class Layers(widgets.VBox):
    """`value` are the layers ticked, in the network's order."""

    value = traitlets.Tuple()

    def __init__(self, name: str, note: str, known: Iterable[str], chosen: Iterable[str]):
        self.boxes: dict[str, widgets.Checkbox] = {}
        self.grid = widgets.GridBox(
            layout={"grid_template_columns": "repeat(auto-fill, minmax(72px, 1fr))"}
        )
        heading = widgets.HTML(f'<div class="heading">{name}</div><div class="note">{note}</div>')
        super().__init__([heading, self.grid])
        self.add_class("layers")
        self.offer(known, chosen)

    def offer(self, known: Iterable[str], chosen: Iterable[str]) -> None:
        """Boxes for these layers; those chosen that are among them are ticked."""
        self.boxes = {
            layer: widgets.Checkbox(
                layer in chosen, description=layer, indent=False, layout={"width": "auto"}
            )
            for layer in known
        }
        for box in self.boxes.values():
            box.observe(lambda _: self._read(), "value")
        self.grid.children = list(self.boxes.values())
        self._read()

    def _read(self) -> None:
        self.value = tuple(layer for layer, box in self.boxes.items() if box.value)

    @traitlets.observe("value")
    def _tick(self, change: dict) -> None:
        for wanted in (True, False):  # new ones first, so that there is never none
            for layer, box in self.boxes.items():
                if (layer in change["new"]) == wanted:
                    box.value = wanted
