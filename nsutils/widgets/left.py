"""A button for a run that was left: painted out of sight, as when its cell is run again, or ended in the middle."""

from pathlib import Path
from weakref import WeakSet

import ipywidgets as widgets

from nsutils.player import Player
from nsutils.recipe import in_force
from nsutils.run import Run

AT_WORK: WeakSet[Player] = WeakSet()  # the players that panels of this process have begun


class Left(widgets.Button):
    """`found` is the run that is offered, or the player that is at work on it; the button hides where there is none."""

    def __init__(self):
        super().__init__(icon="play", layout={"width": "auto", "display": "none"})
        self.found: Player | Run | None = None

    def offer(self, folder: Path) -> None:
        """The last run of a folder, if it was left."""
        self.found = being_painted(folder) or unfinished(folder)
        if self.found is None:
            return
        if isinstance(self.found, Player):
            run, words = self.found.run, "Show the run that is being painted"
        else:
            run = self.found
            last = "the run that was cut off" if run.status == "interrupted" else "the last run"
            words = f"Go on with {last}"
        self.description = f"{words} ({len(run.metrics)} of {in_force(run).steps} steps)"
        self.tooltip, self.layout.display = run.folder.name, ""

    def hide(self) -> None:
        """Withdraws the offer."""
        self.found, self.layout.display = None, "none"


def being_painted(folder: Path) -> Player | None:
    """The player of a run in a folder that a panel of this process has begun, perhaps in a page that is gone."""
    at_work = (p for p in AT_WORK if p.playing and p.run.folder.parent == folder)
    return max(at_work, key=lambda player: player.run.folder.name, default=None)


def unfinished(folder: Path) -> Run | None:
    """The run in a folder that was written last, if it has steps to make and nobody plays it."""
    files = sorted(folder.glob("*/meta.json"), key=lambda file: file.stat().st_mtime)
    try:
        last = Run(files[-1].parent) if files else None
        return last if last and last.status in ("interrupted", "stopped") and last.last else None
    except (ValueError, OSError):
        return None
