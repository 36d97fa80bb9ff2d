"""A button for a run that was left: painted out of sight, as when its cell is run again, or ended in the middle."""

from contextlib import suppress
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
        with suppress(Exception):  # whatever a damaged run brings up: it is not offered
            if found := being_painted(folder) or unfinished(folder):
                self.description, self.tooltip = in_words(found)
                self.found, self.layout.display = found, ""
                if isinstance(found, Player):
                    found.listeners.append(self._follow)

    def hide(self) -> None:
        """Withdraws the offer."""
        self.found, self.layout.display = None, "none"

    def _follow(self, player: Player) -> None:
        """Says how far the player is that is offered. Called in its thread."""
        if player is self.found:
            self.description, _ = in_words(player)


def in_words(found: Player | Run) -> tuple[str, str]:
    """What the button does, and the run's name."""
    if isinstance(found, Player):
        being = "is being" if found.status in ("ready", "playing", "paused") else "was"
        run, words = found.run, f"Show the run that {being} painted"
        made, steps = found.aim.steps - found.steps_left, found.aim.steps
    else:
        run, words = found, "Go on with the last run"
        if run.status == "interrupted":
            words = "Go on with the run that was cut off"
        made, steps = run.made, in_force(run).steps
    return f"{words} ({made} of {steps} steps)", run.folder.name


def being_painted(folder: Path) -> Player | None:
    """The player of a run in a folder that a panel of this process has begun, perhaps in a page that is gone."""
    at_work = (p for p in AT_WORK if p.playing and p.run.folder.parent == folder)
    return max(at_work, key=lambda player: player.run.folder.name, default=None)


def unfinished(folder: Path) -> Run | None:
    """The run in a folder that was written last, if it has steps to make and nobody plays it."""
    files = folder.glob("*/meta.json")
    last = max(files, key=lambda file: file.stat().st_mtime, default=None)
    if last is None or not (last.parent / "checkpoint.pt").exists():
        return None
    run = Run(last.parent)
    return run if run.status in ("interrupted", "stopped") else None
