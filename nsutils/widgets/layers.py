"""A row for each layer of a network: a box that takes it in, and for style layers its weight and its share."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import anywidget
import traitlets

from nsutils.settings import PIXELS, STYLE_LAYERS

# What a layer sees, by its block; pixels are the picture's own.
SIGHTS = {
    PIXELS: "the palette: each pixel's colour and that around it",
    "relu1": "grain and thin edges",
    "relu2": "dots and the marks of a brush",
    "relu3": "strokes and small patterns",
    "relu4": "swirls, and parts of things",
    "relu5": "how large patterns lie together",
}
# Sets of layers to choose at once; every network has them.
STYLE_CHOICES = {
    "fine": [PIXELS, "relu1_1", "relu2_1", "relu3_1"],
    "Gatys": ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"],
    "coarse": [PIXELS, "relu3_1", "relu4_1", "relu5_1"],
    "nsutils": [*STYLE_LAYERS],
}
CONTENT_CHOICES = {"fine": ["relu2_2"], "Gatys": ["relu4_2"], "both": ["relu2_2", "relu4_2"]}


class Layers(anywidget.AnyWidget):
    """`value` are the layers taken in: as they were given until one is ticked, then in the network's order.

    `weights` are those that are not 1, by layer. `shares` are of the picture's gradient, by layer, as far as they are
    known.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    name = traitlets.Unicode().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    weighted = traitlets.Bool().tag(sync=True)
    known = traitlets.List(traitlets.Dict()).tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)
    chosen = traitlets.List(traitlets.Unicode()).tag(sync=True)
    weights = traitlets.Dict().tag(sync=True)
    shares = traitlets.Dict().tag(sync=True)
    value = traitlets.Tuple()

    def __init__(
        self,
        name: str,
        note: str,
        known: Iterable[str],
        chosen: Iterable[str],
        weights: Mapping[str, float] | None = None,
    ):
        weighted = weights is not None
        choices = STYLE_CHOICES if weighted else CONTENT_CHOICES
        super().__init__(name=name, note=note, weighted=weighted, choices=choices)
        self.weights = dict(weights or {})
        self.offer(known, chosen)

    def offer(self, known: Iterable[str], chosen: Iterable[str]) -> None:
        """Rows for these layers; those chosen that are among them are taken in."""
        known = [*known]
        with self.hold_sync():
            self.known = [{"layer": layer, "sight": sight(layer, known)} for layer in known]
            self.value = tuple(layer for layer in chosen if layer in known)
            self.weights = {layer: w for layer, w in self.weights.items() if layer in known}
            self.shares = {}

    @traitlets.observe("chosen")
    def _read(self, change: dict) -> None:
        if {*self.chosen} != {*self.value}:
            self.value = tuple(row["layer"] for row in self.known if row["layer"] in self.chosen)

    @traitlets.observe("value")
    def _tick(self, change: dict) -> None:
        known = {row["layer"] for row in self.known}
        self.chosen = [layer for layer in change["new"] if layer in known]


def sight(layer: str, network: list[str]) -> str:
    """What a network's layer sees, in words, and in how many pixels."""
    if layer == PIXELS:
        return SIGHTS[PIXELS]
    field, stride, (block, last) = 1, 1, map(int, layer.removeprefix("relu").split("_"))
    for before in range(1, block):
        depth = sum(name.startswith(f"relu{before}_") for name in network)
        field, stride = field + (2 * depth + 1) * stride, 2 * stride
    return f"{SIGHTS[f'relu{block}']}; it sees {field + 2 * last * stride} pixels across"
