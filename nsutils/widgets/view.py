"""What is seen of a run: its newest picture, a grid of the kept ones, its losses, and in words where it stands."""

import base64
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from html import escape

import ipywidgets as widgets
from IPython.display import display
from PIL import Image

from nsutils import colours, pictures
from nsutils.curves import loss_curves
from nsutils.figures import contact_sheet, originals
from nsutils.objective import TERMS
from nsutils.player import ENDED, Player
from nsutils.settings import Settings
from nsutils.sources import mask_of, size_in_words
from nsutils.targets import shown
from nsutils.transfer import Step
from nsutils.widgets.controls import NAMED
from nsutils.widgets.seen import Seen
from nsutils.widgets.standing import recipe_line, standing
from nsutils.widgets.tiles import Tiles
from nsutils.widgets.viewer import LIVE
from nsutils.widgets.words import copy_of

LIVE_SECONDS, SLOW_SECONDS = 0.25, 2.0  # at least so long between two pictures, two drawings
SLOW_SHARE = 30  # times as long as the last took, between two drawings
LIVE_EDGE = 720  # pixels
MOST_TILES = 10
NO_CURVES = pictures.png(Image.new("L", (770, 330), "white"), {})
WATCHED = {
    "each term": TERMS,
    "style layers": ("style/",),
    "content layers": ("content/",),
    "total": ("total",),
}


class View:
    """Looks at a player: `begin` takes one, `live` and `fill` show where it is, and are called in its thread.

    `fork(step)` is called for a new run from the step that is looked at, `prolonged(steps)` when there are to be
    more steps, or fewer. `more` stands beside the picture and the losses, by name.
    """

    def __init__(
        self,
        fork: Callable[[int], None],
        prolonged: Callable[[int], None],
        more: Mapping[str, widgets.Widget],
    ):
        self.player: Player | None = None
        self._prolonged = prolonged
        self.progress = widgets.IntProgress(layout={"width": "auto"})
        self.said = widgets.HTML("Press Run to begin.").add_class("said")
        self.word = widgets.HTML().add_class("word")
        self.painted = widgets.HTML()
        self.seen = Seen(fork)
        self.curves = widgets.Image(value=NO_CURVES, format="png").add_class("curves")
        self.watched = widgets.Dropdown(
            options=WATCHED, description="Watch", style=NAMED, layout={"width": "auto"}
        )
        self.tabs = widgets.Tab(
            [self.seen, widgets.VBox([self.watched, self.curves]), *more.values()],
            titles=("Picture", "Losses", *more),
        )
        self.tiles = Tiles(self._look_at)
        self.seen.viewer.observe(
            lambda seen: self.tiles.mark({LIVE: "result"}.get(seen["new"], seen["new"])), "step"
        )
        self.watched.observe(lambda _: self._draw_curves(), "value")
        self._static: list = []

    def lay(self, settings: Settings) -> None:
        """The pictures of settings, and empty tiles for what is to come of them."""
        self.progress.max, self.progress.value = settings.steps, 0
        self._images = images = {name: shown(path) for name, path in originals(settings)}
        self._size = pictures.fitted(images["content"].size, LIVE_EDGE)
        self._content = images["content"].resize(self._size)
        self.seen.begin(self._content, settings, self.player and self.player.run)
        self.plan(settings)
        for name, image in images.items():
            self.tiles.fill(name, image)
        self.tiles.mark("result" if self.player else "content")

    def plan(self, settings: Settings, after: int = -1) -> None:
        """Tiles for the steps after that one which are kept or will be."""
        step = self.player and self.player.step
        done = (self.player.run.images, step.number) if step else ()
        self.tiles.plan(self._images, kept_steps(settings, *done), self._size, after)

    def begin(self, player: Player) -> None:
        """Shows a player's run from here on."""
        self.player = player
        settings, kept = player.aim, player.run.images
        self.lay(settings)
        self._live_at, self._slow_at = 0.0, 0.0
        self.said.value = f"Starting: {escape(size_in_words(settings))}"
        self.painted.value = self.word.value = ""
        self.curves.value = NO_CURVES
        for number in self.tiles.awaited & kept.keys():
            with suppress(ValueError):  # a damaged one's place stays empty
                self.tiles.fill(number, pictures.opened(kept[number]))
        self.seen.viewer.steps = [*kept]

    def live(self) -> bool:
        """Shows the newest picture, though not at each step; whether it did."""
        step, halted, now = self.player.step, self.player.status != "playing", time.monotonic()
        if not step or not (halted or now - self._live_at > LIVE_SECONDS):
            return False
        self._live_at = now
        self._show(step)
        self.tell()
        self.word.value = escape(self.player.word)
        return True

    def fill(self) -> None:
        """Shows what is kept of the run so far, and its losses."""
        player, step, now = self.player, self.player.step, time.monotonic()
        if not step:
            return
        self._replan()
        if step.number in self.tiles.awaited:
            self.tiles.fill(step.number, self._image(step))
            self.seen.viewer.steps = [*player.run.images]
        if player.status in ENDED:
            self.tiles.fill("result", self._image(step))
            self.tiles.settle()
            self.seen.viewer.steps = [*player.run.images]
            self._offer()
        if player.status != "playing" or now > self._slow_at:
            self._draw_curves()
            self._keep()
            drawn = time.monotonic()
            # what takes long, as after thousands of steps, is done more rarely
            self._slow_at = drawn + max(SLOW_SECONDS, SLOW_SHARE * (drawn - now))

    def say(self, words: str) -> None:
        self.said.value = words

    def colour(self, status: str) -> None:
        """Colours the progress bar as it is with a run of that status."""
        if status == "ready" and self.player:
            status = self.player.run.status
        self.progress.bar_style = {"done": "success", "failed": "danger"}.get(status, "")

    def _show(self, step: Step) -> None:
        """The newest picture."""
        image = self._image(step)
        # While it plays every scale comes in one size, quick to send.
        large = step.shape[1] > self._size[0] and self.player.status != "playing"
        self.seen.show(image if large else image.resize(self._size), step.settings, step.shape[1])

    def recolour(self) -> None:
        """Shows a picture that rests in the colours that are asked for now; one that is painted follows by itself."""
        step, player = self.player.step, self.player
        if step and player.status != "playing":
            self._show(step)
            if not player.playing:
                self.tiles.fill("result", self._image(step))
                self._keep()
                self._offer()

    def tell(self) -> None:
        """Says where the run is."""
        if step := self.player.step:
            self._replan()
            self.progress.value, self.said.value = step.number, standing(self.player)

    def _replan(self) -> None:
        """There may be more steps to come, or fewer."""
        aim, step = self.player.aim, self.player.step
        if aim.steps != self.progress.max:
            self.progress.max = aim.steps
            self.plan(aim, step.number - 1)
            self._prolonged(aim.steps)

    def _keep(self) -> None:
        """Renews the static pictures under the widgets, which stay in the saved notebook."""
        if self._static and self.player and self.player.run.images:
            sheet = base64.b64encode(pictures.jpeg(contact_sheet(self.player.run))).decode()
            kept = {"text/html": recipe_line(self.player)}, {"image/jpeg": sheet}
            for handle, data in zip(self._static, kept, strict=True):
                handle.update(data | {"text/plain": self.player.run.folder.name}, raw=True)

    def leave_room(self) -> None:
        """Makes room for those pictures below what is displayed."""
        self._static = [display({"text/plain": ""}, raw=True, display_id=True) for _ in range(2)]
        self._keep()

    def _look_at(self, name: str | int) -> None:
        """A tile was clicked: it is seen at full size."""
        self.tabs.selected_index = 0
        if name in self._images:
            self.seen.look(self._images[name], name)
            self.tiles.mark(name)
        else:  # what is not kept yet, as the result, is the newest
            self.seen.viewer.step = name if name in self.seen.viewer.steps else LIVE

    def _image(self, step: Step) -> Image.Image:
        settings = self.player.settings  # the latest: colours need no step
        mask = mask_of(settings) if settings.mask_colors else None
        return colours.finished(pictures.to_image(step.image), self._content, settings, mask)

    def _draw_curves(self) -> None:
        if self.player and self.player.run.metrics:
            self.curves.value = loss_curves(self.player.run, self.watched.value).png()

    def _offer(self) -> None:
        """Says where the picture is, and offers a copy."""
        if (file := self.player.run.result).exists():
            self.painted.value = copy_of(file, "Picture", "image/png")


def kept_steps(settings: Settings, kept: Iterable[int] = (), made: int = -1) -> list[int]:
    """The steps before the last that are kept, up to the one that is made, or will be; thinned out for a grid."""
    ahead = range(0, settings.steps, settings.interval)
    steps = [*(n for n in kept if n <= made), *(n for n in ahead if n > made)]
    steps = [n for n in steps if n < settings.steps]
    return steps[:: max(1, math.ceil(len(steps) / MOST_TILES))]
