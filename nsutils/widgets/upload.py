"""A button that takes a file of any size from the reader's own machine, by a click or dropped on it."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets


class Upload(anywidget.AnyWidget):
    """Calls `taken(name, data)` with each file. Unlike in ipywidgets' own, nothing of it stays in the notebook.

    A file comes in pieces, for a server refuses long messages: Jupyter's cuts the connection at 10 MB.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    tip = traitlets.Unicode().tag(sync=True)

    def __init__(self, tip: str, taken: Callable[[str, bytes], None]):
        super().__init__(tip=tip)
        self.taken, self.of, self.data = taken, None, bytearray()
        self.on_msg(lambda _, facts, pieces: self._piece(**facts, piece=b"".join(pieces)))

    def _piece(self, name: str, size: int, at: int, piece: bytes) -> None:
        if at == 0:
            self.of, self.data = (name, size), bytearray()
        if (name, size) != self.of or at != len(self.data):
            return  # of a file that another page's has replaced
        self.data += piece
        if len(self.data) == size:
            whole, self.of, self.data = bytes(self.data), None, bytearray()
            self.taken(name, whole)
        self.send({"name": name, "received": at + len(piece)})
