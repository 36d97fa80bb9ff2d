"""The picture of a run: the newest or a kept one, alone or beside another that was pinned."""

from collections.abc import Callable
from html import escape

import ipywidgets as widgets
from PIL import Image

from nsutils import pictures
from nsutils.recipe import plain
from nsutils.run import Run
from nsutils.settings import Settings
from nsutils.widgets.controls import NAMES, button
from nsutils.widgets.viewer import LIVE, OTHER, Viewer

NOTHING, CONTENT, PINNED = "nothing", "the content", "the pinned picture"
MOST = 10  # settings that are named
BORROWED = ("content", "styles", "mask", "init")  # settings that name files


class Seen(widgets.VBox):
    """`show` is given each new picture, `begin` a run, `viewer.steps` those of its steps that can be scrubbed through;
    `viewer.step` is the one that is looked at.

    `fork(step)` is called for a new run from the step that is looked at.
    """

    def __init__(self, fork: Callable[[int], None]):
        self.viewer = Viewer()
        self.against = widgets.Dropdown(
            options=(NOTHING, CONTENT),
            description="Compare with",
            tooltip="what stands on the other side of a divider",
            style={"description_width": "104px"},
            layout={"width": "auto", "flex": "1 1 200px"},
        )
        self.pin = button("Pin", "keep this picture, to compare others with it", "thumb-tack")
        self.fork = button("Fork", "a new run that goes on from this step otherwise", "code-fork")
        self.fork.disabled = True
        self.differs = widgets.HTML().add_class("note")
        row = widgets.HBox([self.against, self.pin, self.fork], layout={"flex_flow": "row wrap"})
        super().__init__([self.viewer, row, self.differs])
        self.run: Run | None = None
        self.settings: Settings | None = None
        self.content = self.newest = Image.new("RGB", (3, 2), "grey")
        self.pinned: tuple[Image.Image, str, Settings | None] | None = None
        self.looked: tuple[Image.Image, str] | None = None  # the OTHER picture, and what it is
        self.width = 0  # of the newest picture's own pixels, however large it is shown
        self.viewer.observe(lambda _: (self._draw(), self._tell()), "step")
        self.against.observe(lambda _: self._set_beside(), "value")
        self.pin.on_click(lambda _: self._pin())
        self.fork.on_click(lambda _: fork(self.viewer.step))

    def begin(self, content: Image.Image, settings: Settings, run: Run | None = None) -> None:
        """Another content, and a run whose steps are to come."""
        self.run, self.settings, self.content, self.newest = run, settings, content, content
        self.width = content.width
        self.viewer.steps, self.viewer.step = [], LIVE
        self._draw()
        self._set_beside()

    def show(self, image: Image.Image, settings: Settings, width: int) -> None:
        """The newest picture, made under these settings, and how many pixels wide it was painted."""
        self.newest, self.width = image, width
        if settings != self.settings:
            self.settings = settings
            self._tell()
        if self.viewer.step == LIVE:
            self._draw()

    def look(self, image: Image.Image, name: str) -> None:
        """Looks at another picture, until a step is chosen."""
        self.looked, self.viewer.step = (image, name), OTHER
        self._draw()

    @property
    def looked_at(self) -> tuple[Image.Image, str]:
        """The picture that is looked at, and what it is."""
        if (step := self.viewer.step) == OTHER:
            return self.looked
        name = self.run.folder.name if self.run else "content"
        if file := self.run and self.run.images.get(step):
            try:
                return pictures.opened(file), f"{name}, step {step}"
            except ValueError:
                return self.newest, f"{name}; the picture of step {step} is damaged"
        return self.newest, name

    @property
    def made_under(self) -> Settings | None:
        """The settings of the picture that is looked at, if a run has painted it."""
        step = self.viewer.step
        if not self.run or step == OTHER:
            return None
        return self.settings if step == LIVE else self.run.settings_at(step)

    def _draw(self) -> None:
        image, caption = self.looked_at
        own = self.width if image is self.newest else image.width
        self.viewer.show(image, caption, own)
        self.fork.disabled = self.viewer.step < 0

    def _pin(self) -> None:
        self.pinned = *self.looked_at, self.made_under
        self.against.options = (NOTHING, CONTENT, PINNED)
        self.against.value = PINNED
        self._set_beside()

    def _set_beside(self) -> None:
        """Puts on the other side of the divider what is to stand there, and says what differed."""
        self._tell()
        if self.against.value == NOTHING:
            self.viewer.other, self.viewer.other_caption = b"", ""
            return
        image, name = self.content, "content"
        if self.against.value == PINNED:
            image, name, _ = self.pinned
        with self.viewer.hold_sync():
            self.viewer.other = pictures.jpeg(image.convert("RGB"))
            self.viewer.other_caption = name

    def _tell(self) -> None:
        """Says what the picture that is looked at has otherwise than the pinned one."""
        self.differs.value = ""
        if self.against.value == PINNED:
            _, name, before = self.pinned
            if before and (settings := self.made_under):
                self.differs.value = f"Pinned: {escape(name)}. {difference(before, settings)}"


def difference(one: Settings, other: Settings) -> str:
    """What other settings have otherwise, in HTML: first what there are controls for."""
    found = [name for name in one.differences(other) if name not in BORROWED]
    found.sort(key=lambda name: name not in NAMES)
    listed = [
        f"{NAMES.get(name, name)} {in_short(getattr(one, name))} → <b>{in_short(getattr(other, name))}</b>"
        for name in found[:MOST]
    ]
    if more := len(found[MOST:]):
        listed.append(f"and {more} more")
    return "; ".join(listed) or "Its settings were the same."


def in_short(value: object) -> str:
    return escape(f"{value:.3g}" if isinstance(value, float) else plain(value))
