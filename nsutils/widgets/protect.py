"""Where the content is protected: a brush over the picture, and a face that is proposed."""

import threading
from dataclasses import astuple
from pathlib import Path

import ipywidgets as widgets
from PIL import Image

from nsutils import faces, pictures
from nsutils.sources import opened_mask
from nsutils.widgets.brush import Brush
from nsutils.widgets.picker import typed
from nsutils.widgets.words import complaint

FOUND = "A face was found: the style spares it."


class Protect(widgets.VBox):
    """`brush.mask` is the mask; `file` is where it is kept until a run takes it."""

    def __init__(self, uploads: Path):
        self.uploads, self.brush = uploads, Brush()
        self.said, self.problem = widgets.HTML().add_class("note"), widgets.HTML()
        self.path = widgets.Text(
            placeholder="or the path of a mask, a grey picture",
            continuous_update=False,
            tooltip="path of a picture, white where yours is to be protected, then Enter",
            layout={"width": "auto"},
        )
        super().__init__([self.said, self.brush, self.path, self.problem])
        self._used: tuple[bytes, list[float]] | None = None  # a mask by `use`, what it was made of
        self._laid = b"", "", ""  # a mask by `lay`, its file, and that one's hash
        self._found: bool | None = None  # whether there is a face; None until it is looked for
        self.path.observe(lambda change: self._typed(change["new"]), "value")
        self.brush.observe(lambda _: self._say(), ("mask", "ellipse"))

    def show(self, picture: str) -> None:
        """Puts a picture below the brush, and soon proposes a face that is found in it."""
        try:
            image = pictures.opened(picture)
        except ValueError:
            return  # the picker says so
        self._shown, self._used, self._found = image, None, None
        self.brush.show(image)
        threading.Thread(target=self._look, args=(image,), name="nsutils faces").start()

    def _look(self, image: Image.Image) -> None:
        found = faces.portrait(image)
        if image is not self._shown:  # another is below by now
            return
        self._found = bool(found)
        if found and not self.brush.mask:
            self.brush.ellipse = [*astuple(found)]
        self._say()

    def _say(self) -> None:
        """What is protected, and by what it can be more."""
        if self.brush.ellipse:
            words = f"{FOUND} To protect it more, use the ellipse, or correct it first."
        elif self.brush.image:
            words = "What is marked is protected; the brush corrects it."
        elif self._found:
            words = f"{FOUND} To protect it more, mark it with the brush."
        elif self._found is None:
            words = "Looking for a face …"
        else:
            words = "No face was found; mark what is to stay with the brush."
        self.said.value = f"{words} Nothing leaves this machine."

    def use(self) -> None:
        """Makes the ellipse that is proposed the mask."""
        if proposed := self.brush.ellipse:
            self.brush.take(faces.mask_of([faces.Ellipse(*proposed)], self.brush.size))
            self.brush.ellipse, self._used = [], (self.brush.mask, proposed)

    def release(self) -> None:
        """Makes that mask a proposal again, if it is still as `use` left it."""
        if self._used and self._used[0] == self.brush.mask:
            self.brush.mask, self.brush.ellipse = b"", self._used[1]
        self._used = None

    @property
    def file(self) -> str | None:
        """The file of the mask, the one that was laid while both are as they were; None if nothing is marked."""
        if not (mask := self.brush.image):
            return None
        laid, file, hash = self._laid
        if self.brush.mask == laid and Path(file).is_file() and pictures.hash_of(file) == hash:
            return file
        data = pictures.png(mask, {})
        file = self.uploads / f"mask-{pictures.sha256(data)[:8]}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            pictures.write(file, data)
        return str(file)

    def take(self) -> str | None:
        """The file of the mask, which is taken away."""
        file, self.brush.mask = self.file, b""
        return file

    def _typed(self, words: str) -> None:
        self.problem.value = ""
        if path := typed(words):
            try:
                self.brush.check(opened_mask(path))
                self.lay(path)
            except ValueError as error:
                self.problem.value = complaint(error)

    def lay(self, mask: str | None) -> None:
        """Puts a mask's file on the brush, or takes the mask away."""
        if mask and self.brush.size:
            self._laid = self.brush.laid(opened_mask(mask)), mask, pictures.hash_of(mask)
            self.brush.mask = self._laid[0]
        else:
            self.brush.mask = b""
