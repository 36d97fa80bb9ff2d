"""A grid of captioned pictures that fill up as a run goes on. A tile keeps its place and shape while it is empty."""

from collections.abc import Callable, Iterable

import ipywidgets as widgets
from PIL import Image

from nsutils import pictures
from nsutils.widgets.controls import renewed

EDGE = 360  # pixels, about twice the width shown
COLUMNS = "repeat(auto-fill, minmax(min(120px, 100%), 1fr))"


class Tiles(widgets.GridBox):
    """Tiles by name: "content", "style 1", a step's number, "result". `clicked(name)` is called for the one clicked."""

    def __init__(self, clicked: Callable[[str | int], None], columns: str = COLUMNS):
        super().__init__(layout={"grid_template_columns": columns, "grid_gap": "8px"})
        self.clicked = clicked
        self.add_class("tiles")
        self.tiles: dict[str | int, widgets.VBox] = {}
        self.awaited: set[str | int] = set()
        self.size = (EDGE, EDGE)

    def plan(
        self,
        sources: Iterable[str],
        steps: Iterable[int],
        size: tuple[int, int],
        after: int = -1,
    ) -> None:
        """Tiles for the sources, and empty ones of that width and height for these steps and the result.

        Up to step `after` those stay that are filled.
        """
        filled = self.tiles.keys() - self.awaited
        made = [n for n in self.tiles if n in filled and isinstance(n, int) and n <= after]
        names = [*made, *(step for step in steps if step > after), "result"]
        self.lay(names, size, (*sources, *made))

    def lay(
        self, names: Iterable[str | int], size: tuple[int, int], stay: Iterable[str | int] = ()
    ) -> None:
        """Empty tiles of these names, after those that stay."""
        self.size = pictures.fitted(size, EDGE)
        blank = pictures.jpeg(Image.new("L", self.size, 128))
        names = dict.fromkeys((*stay, *names))
        self._place({name: self.tiles.get(name) or self._tile(name) for name in names})
        self.awaited = set(names) - set(stay)
        for name in self.awaited:
            self.tiles[name].add_class("empty")
            self.tiles[name].children[0].value = blank

    def fill(self, name: str | int, image: Image.Image) -> None:
        # Scales differ a little in shape; a tile keeps that of its blank.
        size = self.size if name in self.awaited else pictures.fitted(image.size, EDGE)
        tile = self.tiles[name]
        tile.children[0].value = pictures.jpeg(image.resize(size))
        tile.remove_class("empty")
        self.awaited.discard(name)

    def mark(self, name: str | int) -> None:
        """The tile that is being looked at."""
        for each, tile in self.tiles.items():
            (tile.add_class if each == name else tile.remove_class)("looked-at")

    def settle(self) -> None:
        """Takes away the tiles that nothing came for."""
        self._place({name: self.tiles[name] for name in self.tiles if name not in self.awaited})

    def _place(self, tiles: dict[str | int, widgets.VBox]) -> None:
        self.tiles = tiles
        with renewed(self):
            self.children = list(tiles.values())

    def _tile(self, name: str | int) -> widgets.VBox:
        """A picture over its caption, a button that the page spreads over both."""
        words = name if isinstance(name, str) else f"step {name}" if name else "start"
        caption = widgets.Button(description=words, tooltip="look at it", layout={"width": "auto"})
        caption.on_click(lambda _: self.clicked(name))
        image = widgets.Image(format="jpeg")
        return widgets.VBox([image, caption.add_class("caption")]).add_class("tile")
