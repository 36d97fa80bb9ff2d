"""A picture looked at closely: zoomed, moved, divided against another, scrubbed through the kept steps."""

from pathlib import Path

import anywidget
import traitlets
from PIL import Image

from nsutils import pictures

LIVE, OTHER = -1, -2  # stand for the newest picture, and for one that is not of the run


class Viewer(anywidget.AnyWidget):
    """Observe `step` and set `picture` in answer; zoom and place stay whatever picture comes."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    # A JPEG or PNG, and what it is; nothing is shown while it is empty.
    picture = traitlets.CBytes().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)
    # How wide it is in pixels of its own, by which 100 % is told, if it was resized to be shown.
    width = traitlets.Int(0).tag(sync=True)
    # What stands left of the divider, stretched to the same box; there is no divider while it is empty.
    other = traitlets.CBytes().tag(sync=True)
    other_caption = traitlets.Unicode().tag(sync=True)
    # The kept steps, rising, and the chosen one of them, or LIVE or OTHER; there is no slider while there are none.
    steps = traitlets.List(traitlets.Int()).tag(sync=True)
    step = traitlets.Int(LIVE).tag(sync=True)

    def show(self, image: Image.Image, caption: str = "", width: int = 0) -> None:
        """The picture, its caption and its own width, in one message."""
        with self.hold_sync():
            self.width = width
            self.picture = pictures.jpeg(image.convert("RGB"))
            self.caption = caption
