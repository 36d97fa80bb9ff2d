"""A picture with a mask painted over it: white where a face is to be protected, black elsewhere, soft between."""

import io
from pathlib import Path

import anywidget
import traitlets
from PIL import Image

from nsutils import pictures

EDGE = 512  # pixels, the mask's long edge at most


class Brush(anywidget.AnyWidget):
    """`image` is the mask, painted in the page or given to `take`; observe `mask` to hear of each stroke."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    # A JPEG with twice the mask's sides, so that the page knows both.
    picture = traitlets.CBytes().tag(sync=True)
    # A grey PNG, or nothing where nothing is marked.
    mask = traitlets.CBytes().tag(sync=True)
    # A proposal until it is used or dismissed: x, y, half width, half height in parts of the picture's width or
    # height, and the degrees that it is turned clockwise.
    ellipse = traitlets.List(traitlets.CFloat()).tag(sync=True)
    size: tuple[int, int] | None = None  # the mask's width and height; None without a picture

    @property
    def image(self) -> Image.Image | None:
        """The mask, 8 bits of grey, at most 512 pixels wide and high; None if nothing is marked."""
        found = Image.open(io.BytesIO(self.mask)).convert("L") if self.mask else None
        return found if found and found.getbbox() else None

    def show(self, image: Image.Image) -> None:
        """Puts another picture below; the mask stays if the shape does, a proposal goes."""
        width, height = size = pictures.fitted(image.size, min(EDGE, max(image.size)))
        with self.hold_sync():
            if self.size != size:
                self.mask = b""
            self.size, self.ellipse = size, []
            self.picture = pictures.jpeg(image.convert("RGB").resize((2 * width, 2 * height)))

    def take(self, mask: Image.Image) -> None:
        """Makes an image of the picture's shape, at any size, the mask."""
        self.check(mask)
        self.mask = self.laid(mask)

    def laid(self, mask: Image.Image) -> bytes:
        """An image as the mask that it makes, of the picture's shape whatever its own is, as a run has it."""
        return pictures.png(pictures.eight_bits(mask).convert("L").resize(self.size), {})

    def check(self, mask: Image.Image) -> None:
        """ValueError if an image does not have the picture's shape."""
        if not self.size:
            raise ValueError("no picture to lay a mask on; show one first")
        fitted = pictures.fitted(mask.size, max(self.size))
        if any(
            abs(one - other) > 1 + one / 20 for one, other in zip(fitted, self.size, strict=True)
        ):
            raise ValueError(
                "a mask of {} x {} pixels does not fit a picture of {} x {}; "
                "give one of the picture's shape".format(*mask.size, *self.size)
            )
