"""Keeps a panel's keys from being the notebook's commands, and mends what ipywidgets leaves without a name."""

from pathlib import Path

import anywidget
import traitlets


class Guard(anywidget.AnyWidget):
    """Put one, it is invisible, inside a box that carries the CSS class `root`."""

    _esm = Path(__file__).with_suffix(".js")
    root = traitlets.Unicode("nsutils-panel").tag(sync=True)
