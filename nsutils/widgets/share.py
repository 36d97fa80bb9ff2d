"""A thin bar under a slider: how much of the picture's gradient a loss brings now. Moving it asks for a share."""

from pathlib import Path

import anywidget
import traitlets


class Share(anywidget.AnyWidget):
    """`share` is shown, 0 to 1, or -1 while it is not known. `asked` is what the bar was moved to, then -1 again."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    name = traitlets.Unicode().tag(sync=True)
    share = traitlets.Float(-1.0).tag(sync=True)
    asked = traitlets.Float(-1.0).tag(sync=True)


def weight_for(share: float, weight: float, now: float) -> float:
    """The weight with which a loss that has the share `now` with `weight` would have `share`, all else as it is."""
    share = min(max(share, 0.01), 0.99)
    return weight * share / (1 - share) * (1 - now) / now
