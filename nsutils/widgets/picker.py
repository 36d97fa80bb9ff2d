"""Picks a picture: from a list, by its path, or sent from the reader's own machine."""

import os
from contextlib import suppress
from html import escape
from pathlib import Path

import ipywidgets as widgets
import traitlets

from nsutils import pictures
from nsutils.inputs import cut, own_name
from nsutils.targets import shown
from nsutils.widgets.upload import Upload
from nsutils.widgets.words import complaint

PREVIEW_EDGE = 192  # pixels, shown at half of that: sharp on a fine screen too
LONGEST = 100  # bytes of a sent file's name, its suffix beside
FLEXIBLE = {"width": "auto", "min_width": "0"}


class Picker(widgets.VBox):
    """`value` is the path of the chosen picture, shown beside the list; what is no picture is not chosen."""

    value = traitlets.Unicode()

    def __init__(self, name: str, known: dict[str, Path], chosen: str, uploads: Path):
        self.uploads = uploads
        listed = {stem: str(path) for stem, path in known.items()}
        if chosen not in listed.values():
            listed = {own_name(chosen): chosen} | listed
        self.preview = widgets.Image(format="jpeg").add_class("preview")
        self.list = widgets.Dropdown(
            options=listed,
            value=chosen,
            description=name,
            tooltip=f"{name} picture, from the next Run on",
            style={"description_width": "60px"},
            layout=FLEXIBLE,
        )
        self.path = widgets.Text(
            placeholder="or a path",
            continuous_update=False,
            tooltip=f"path of a picture file, then Enter, to choose it as {name.lower()}",
            layout=FLEXIBLE | {"flex": "1 1 0"},
        )
        self.upload = Upload(
            f"a picture from your own machine as {name.lower()}: click, or drop its file here",
            self._sent,
        )
        self.problem = widgets.HTML()
        named = widgets.HBox([self.path, self.upload], layout=FLEXIBLE)
        fields = widgets.VBox([self.list, named], layout=FLEXIBLE | {"flex": "1 1 0"})
        row = widgets.HBox([self.preview, fields], layout=FLEXIBLE)
        super().__init__([row, self.problem], layout=FLEXIBLE)
        self.value = chosen
        self.choose(chosen)
        self.list.observe(lambda change: self.choose(change["new"]), "value")
        self.path.observe(lambda change: self._typed(change["new"]), "value")

    def choose(self, path: str) -> None:
        """Makes a path the value, and adds it to the list; if it is no picture, says so instead."""
        try:
            image = shown(path)
        except ValueError as error:
            self.list.value = self.value
            self.problem.value = complaint(error)
            return
        self.problem.value = self.path.value = ""
        self.preview.value = pictures.jpeg(pictures.thumbnail(image, PREVIEW_EDGE))
        self.value = path
        known = dict(self.list.options)
        if path not in known.values():
            known.pop(label := own_name(path), None)
            self.list.options = {label: path} | known  # new options choose the first
        self.list.value = path

    def _typed(self, words: str) -> None:
        self.problem.value = ""
        if path := typed(words):
            self.choose(path)

    def _sent(self, name: str, data: bytes) -> None:
        name = Path(name).name.strip(".") or "picture"
        name = cut(Path(name).stem, LONGEST) + cut(Path(name).suffix, LONGEST)
        # in a folder of its own: runs and reports know it by its name
        kept = self.uploads / pictures.sha256(data)[:8] / name
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            pictures.write(kept, data)
            self.choose(str(kept))
        except OSError as error:
            self.problem.value = complaint(error)
        if self.value != str(kept):
            kept.unlink(missing_ok=True)
            with suppress(OSError):
                kept.parent.rmdir()
            self.problem.value = self.problem.value.replace(escape(str(kept)), escape(name))


def typed(words: str) -> str:
    """The path that was typed, or copied with its quotes."""
    return os.path.expanduser(words.strip().strip("\"'"))
