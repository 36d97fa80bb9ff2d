"""The settings of a run over its steps: by its record, and by what has been asked since."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nsutils.settings import Settings, changed
from nsutils.steering import Line, changes, steered

MORE = 10  # steps that follow a change while it is held; a slider of whole tens shows them


class Course:
    """What a run is steered by; to be used from any thread.

    `settings` are those asked for, `recorded` those of the record, which catch up with them after each step; it is
    `steered` if the record has lines. They may be of steps that are still to come, after a crash or where a run is
    made again: then they come into force after their step, but for what has been steered otherwise since.
    """

    def __init__(self, begun: Settings):
        self.settings = self.recorded = begun
        self.steered = False
        self._lock = threading.Lock()
        self._to_come: list[Line] = []
        self._undoable: list[Settings] = []
        self._undone: list[Settings] = []  # to what, by each undo that is not on record yet
        self._lately: set[str] = set()  # what the last change that can be undone was of
        self._further = False  # whether what is not on record goes on with that change
        self._own: set[str] = set()  # changed here: the record no longer decides about them

    def read(self, begun: Settings, record: Sequence[Line], number: int) -> None:
        """Takes over the record up to step `number`, and what it has for later ones; what was asked stays asked."""
        with self._lock:
            asked = self.recorded.differences(self.settings)
            settings, self.steered = begun, bool(record)
            self._undoable, self._undone = [], []
            self._lately, self._further, self._own = set(), False, set()
            self._to_come = [*record]
            for line in self._reached(number):
                self._remember(line, settings)
                settings = steered(settings, line)
            self.recorded = settings
            self.settings = replace(settings, **asked)

    def _reached(self, number: int) -> Iterator[Line]:
        """The lines of the record that come into force after step `number`."""
        while self._to_come and self._to_come[0]["step"] <= number:
            yield self._to_come.pop(0)

    def forget(self) -> None:
        """Takes back what was asked and is not on record."""
        with self._lock:
            self.settings, self._undone = self.recorded, []

    @property
    def aim(self) -> Settings:
        """Those asked for, with what the record has for later steps."""
        mine = self._own | self.recorded.differences(self.settings).keys()
        lines = ({name: line[name] for name in {*line} - mine} for line in self._to_come)
        return functools.reduce(steered, lines, self.settings)

    def ask(self, change: Line, further: bool, check: Callable[[Settings], None]) -> None:
        """Changes settings, if those that come of it pass the check.

        A change that goes `further` than the one before, of the same settings, is undone with it, as one.
        """
        with self._lock:
            check(asked := steered(self.settings, change))
            further = further and not self._undone and self._lately == change.keys()
            self._further = further and (self._further or self.settings == self.recorded)
            self.settings = asked

    def stay(self, scale: int, number: int) -> None:
        """Some more steps at the scale of step `number`, though what was undone may have had fewer there."""
        with self._lock:
            counts = [*self.settings.scale_steps]
            more = max(0, number + MORE - sum(counts[: scale + 1]))
            counts[scale] += more
            asked = {"scale_steps": tuple(counts), "steps": self.settings.steps + more}
            undone = self.settings == self._wanted
            self.settings = replace(self.settings, **asked)
            if undone:
                self._undone[-1:] = [self.settings]

    @property
    def _wanted(self) -> Settings:
        """The settings but for a change that is not on record yet."""
        return self._undone[-1] if self._undone else self.recorded

    @property
    def undoable(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._undoable) or self.settings != self._wanted

    def undo(self) -> None:
        """Takes the last change back; ValueError if there was none."""
        with self._lock:
            if self.settings == self._wanted or self._further:
                if not self._undoable:
                    raise ValueError("there is no change to take back")
                self._undone.append(self._undoable.pop())
            self.settings, self._further, self._lately = self._wanted, False, set()

    def follow(self, number: int, write: Callable[[int, Line], None]) -> Settings:
        """Those in force after step `number`: by the record, and by what was asked, which is written into it."""
        with self._lock:
            recorded = self.recorded
            aims = [*((aim, {"undo": True}) for aim in self._undone), (self.settings, {})]
            for line in self._reached(number):
                self._remember(line, recorded)
                recorded = steered(recorded, line)
                theirs = {name: line[name] for name in {*line} - self._own}
                aims = [(steered(aim, theirs), told) for aim, told in aims]
                self._further = False
            for aim, told in aims:
                changed_to = recorded.differences(aim)
                if changed(recorded, **changed_to) != aim:
                    changed_to["scale_steps"] = aim.scale_steps  # else they would follow the steps
                if changed_to:
                    if self._further and not told:
                        told = {"further": True}
                    write(number, changed_to | told)
                    self.steered = True
                    if "undo" in told:
                        self._own -= changed_to.keys()
                    else:
                        self._own |= changed_to.keys()
                        self._remember(changed_to | told, recorded)
                recorded = aim
            self.settings = self.recorded = recorded
            self._undone = []
        return recorded

    def _remember(self, line: Line, before: Settings) -> None:
        """Takes note of what a line of the record lets undo, or has undone."""
        if "undo" in line and self._undoable:
            self._undoable.pop()
            self._lately = set()
        elif "further" not in line or not self._undoable:
            self._undoable.append(before)
            self._lately = changes(line).keys() - {"scale_steps"}  # which follow the steps
            if len(self._lately) > 1:
                self._lately -= {"steps"}  # which a preview adds
