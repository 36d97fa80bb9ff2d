"""Keeps a panel's keys from being the notebook's commands, and mends what ipywidgets leaves without a name."""

from pathlib import Path

import anywidget


class Guard(anywidget.AnyWidget):
    """Put one, it is invisible, inside a panel."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_name("panel.css")
