"""A line that says what the next run will cost."""

import threading
from collections.abc import Callable
from html import escape

import ipywidgets as widgets

from nsutils import encoders
from nsutils.cost import forecast
from nsutils.settings import Settings


class Foreseen(widgets.HTML):
    """Follows the settings it is told, in a thread of its own: only the latest count.

    It has nothing to say where the encoder's weights are still to be fetched. `ready` is set while there is nothing
    to find out.
    """

    def __init__(self):
        super().__init__()
        self.add_class("note").add_class("foreseen")
        self.ready = threading.Event()
        self.ready.set()
        self._lock, self._wanted, self._encoder = threading.Lock(), None, None

    def follow(self, asked: Callable[[], Settings]) -> None:
        """Soon says what a run of these settings will cost."""
        if not threading.main_thread().is_alive():
            return  # Python is ending
        with self._lock:
            self._wanted = asked
            if not self.ready.is_set():
                return
            self.ready.clear()
        # No daemon, not even a player's: Python would end under it, in the middle of PyTorch, by an abort.
        threading.Thread(target=self._think, name="nsutils forecast", daemon=False).start()

    def _think(self) -> None:
        while True:
            with self._lock:
                if (asked := self._wanted) is None:
                    return self.ready.set()
                self._wanted = None
            try:
                self.value = escape(self._said(asked()))
            except Exception:  # whatever a device or a network brings up: Run will say it
                self.value = ""

    def _said(self, settings: Settings) -> str:
        how = (settings.encoder, *(getattr(settings, name) for name in encoders.HOW))
        if not encoders.at_hand(settings):
            return "Forecast: none before the encoder's weights are here"
        if self._encoder is None or self._encoder[0] != how:
            self._encoder = how, encoders.of(settings)
        return f"Forecast: {forecast(settings, self._encoder[1])}"
