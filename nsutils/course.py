"""The settings of a run over its steps: by its record, and by what has been asked since."""

import functools
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from nsutils.settings import Settings, changed
from nsutils.steering import Line, changes, steered

MORE = 10  # steps that follow a change while it is held; a slider of whole tens shows them


class Change(NamedTuple):
    """Settings that are not on record yet, what was changed to come to them, and what its line will tell."""

    settings: Settings
    names: Collection[str] = ()
    told: str = ""  # undo, further, or nothing


class Course:
    """What a run is steered by; to be used from any thread.

    `settings` are those asked for, `recorded` those of the record, which catch up with them after each step; it is
    `steered` if the record has lines. They may be of steps that are still to come, after a crash or where a run is
    made again: then they come into force after their step, but for what has been steered otherwise since.
    """

    def __init__(self, begun: Settings):
        self.recorded, self.steered = begun, False
        self._lock = threading.Lock()
        self._to_come: list[Line] = []
        self._asked: tuple[Change, ...] = ()  # one after the other; others read it meanwhile
        self._undoable: list[Settings] = []  # those before each change on record
        self._lately: set[str] = set()  # what the last of these changes was of
        self._own: set[str] = set()  # changed here: the record no longer decides about them

    @property
    def settings(self) -> Settings:
        asked = self._asked
        return asked[-1].settings if asked else self.recorded

    def read(self, begun: Settings, record: Sequence[Line], number: int) -> None:
        """Takes over the record up to step `number`, and what it has for later ones; what was asked stays asked."""
        with self._lock:
            asked = self.recorded.differences(self.settings)
            settings, self.steered = begun, bool(record)
            self._undoable, self._lately, self._own = [], set(), set()
            self._to_come = [*record]
            for line in self._reached(number):
                self._remember(line, settings)
                settings = steered(settings, line)
            self.recorded = settings
            self._asked = (Change(replace(settings, **asked), asked),) if asked else ()

    def _reached(self, number: int) -> Iterator[Line]:
        """The lines of the record that come into force after step `number`."""
        while self._to_come and self._to_come[0]["step"] <= number:
            yield self._to_come.pop(0)

    def forget(self) -> None:
        """Takes back what was asked and is not on record."""
        with self._lock:
            self._asked = ()

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
            check(settings := steered(self.settings, change))
            if settings == self.settings:
                return
            before, last = self._asked, self._asked[-1:]
            names = last[0].names if last else self._lately
            asked = Change(settings, change.keys())
            if further and {*names} == change.keys():
                before = self._asked[:-1]
                asked = asked._replace(told=last[0].told if last else "further")
            changed_from = before[-1].settings if before else self.recorded
            self._asked = before if settings == changed_from else (*before, asked)

    def stay(self, scale: int, number: int) -> None:
        """Some more steps at the scale of step `number`, though what was undone may have had fewer there."""
        with self._lock:
            counts, last = [*self.settings.scale_steps], self._asked[-1:]
            more = max(0, number + MORE - sum(counts[: scale + 1]))
            counts[scale] += more
            steps = {"scale_steps": tuple(counts), "steps": self.settings.steps + more}
            settings = replace(self.settings, **steps)
            longer = last[0]._replace(settings=settings) if last else Change(settings)
            self._asked = (*self._asked[:-1], longer)

    @property
    def undoable(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._undoable) or bool(self._asked and self._asked[-1].told != "undo")

    def undo(self, number: int) -> None:
        """Takes the last change back, but for steps that are made already; ValueError if there was none."""
        with self._lock:
            if not self.undoable:
                raise ValueError("there is no change to take back")
            asked, last = self._asked, self._asked[-1:]
            if last and last[0].told != "undo":
                asked = asked[:-1]
            if not last or last[0].told:  # it is on record, or goes further than what is
                settings = self._undoable.pop()
                if settings.steps < number:
                    made = {n: getattr(self.settings, n) for n in ("steps", "scale_steps")}
                    settings = replace(settings, **made)
                asked = (*asked, Change(settings, told="undo"))
            self._asked, self._lately = asked, set()

    def follow(self, number: int, write: Callable[[int, Line], None]) -> Settings:
        """Those in force after step `number`: by the record, and by what was asked, which is written into it."""
        with self._lock:
            recorded, asked = self.recorded, self._asked or (Change(self.recorded),)
            for line in self._reached(number):
                self._remember(line, recorded)
                recorded = steered(recorded, line)
                theirs = {name: line[name] for name in {*line} - self._own}
                asked = [each._replace(settings=steered(each.settings, theirs)) for each in asked]
                asked = [each._replace(told=each.told.replace("further", "")) for each in asked]
            for each in asked:
                if line := line_of(recorded, each):
                    write(number, line)
                    self._note(line, recorded)
                recorded = each.settings
            self.recorded, self._asked = recorded, ()
            return recorded

    def _note(self, line: Line, before: Settings) -> None:
        """Takes note of a line that was written here."""
        self.steered = True
        if "undo" in line:
            self._own -= line.keys()
        else:
            self._own |= changes(line).keys()
            self._remember(line, before)

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


def line_of(before: Settings, asked: Change) -> Line:
    """What the record is to tell of a change; nothing if there is none."""
    line = before.differences(asked.settings)
    if changed(before, **line) != asked.settings:
        line["scale_steps"] = asked.settings.scale_steps  # else they would follow the steps
    return line | {asked.told: True} if line and asked.told else line
