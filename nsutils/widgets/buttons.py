"""The panel's buttons."""

import ipywidgets as widgets

from nsutils.player import ENDED, Player

LAYOUT = {"flex": "1 1 0", "width": "auto", "min_width": "84px"}


class Buttons(widgets.HBox):
    """`run`, `pause` (which lets go on as well), `stop`, `undo` and `report`."""

    def __init__(self):
        self.run, self.pause, self.stop, self.undo, self.report = made = [
            widgets.Button(description=word, icon=icon, tooltip=tip, layout=LAYOUT, disabled=True)
            for word, icon, tip in (
                ("Run", "play", "begin a new run, in a new folder"),
                ("Pause", "pause", "hold the run, or let it go on"),
                ("Stop", "stop", "end the run; what there is is kept"),
                ("Undo", "undo", "take the last change back that was made while it ran"),
                ("Report", "file", "write the run as one HTML file, to send to a friend"),
            )
        ]
        self.run.disabled, self.run.button_style = False, "primary"
        super().__init__(made, layout={"flex_flow": "row wrap"})

    def leave(self) -> None:
        """Leaves all but `run` without a player to act on."""
        for button in self.children[1:]:
            button.disabled = True

    def enable(self, status: str, player: Player) -> None:
        """Those that act on a player of that status."""
        if status == "playing" and player.pausing:
            status = "paused"
        self.stop.disabled = ended = status in ENDED
        self.pause.disabled = self.report.disabled = False
        self.undo.disabled = not player.undoable
        words = "Go on" if ended else "Resume" if status == "paused" else "Pause"
        self.pause.description = words
        self.pause.icon = "pause" if words == "Pause" else "play"
