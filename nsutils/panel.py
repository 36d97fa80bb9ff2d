"""The panel: pick pictures, move sliders, press Run, and watch the picture arrive."""

import base64
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from html import escape
from pathlib import Path

import ipywidgets as widgets
from IPython.display import display
from PIL import Image

from nsutils import colours, pictures
from nsutils.figures import TERMS, contact_sheet, loss_curves, originals
from nsutils.player import OVER, PREVIEW, Player, clock
from nsutils.presets import RECIPES
from nsutils.recipe import plain
from nsutils.replay import fork, settings_at
from nsutils.report import report
from nsutils.run import Run
from nsutils.samples import runs_folder, sample
from nsutils.settings import Settings
from nsutils.sources import mask_of, size_in_words
from nsutils.targets import shown
from nsutils.transfer import Step
from nsutils.widgets.asked import THIS, Asked
from nsutils.widgets.controls import NAMED, NAMES, STEERED, buttons, put
from nsutils.widgets.foreseen import Foreseen
from nsutils.widgets.guard import Guard
from nsutils.widgets.left import AT_WORK, Left
from nsutils.widgets.neighbours import Neighbours
from nsutils.widgets.picker import complaint
from nsutils.widgets.protect import Protect
from nsutils.widgets.seen import Seen
from nsutils.widgets.tiles import Tiles
from nsutils.widgets.viewer import LIVE

LIVE_SECONDS, SLOW_SECONDS = 0.25, 2.0  # at least so long between two pictures, two drawings
SLOW_SHARE = 30  # times as long as the last took, between two drawings
LIVE_EDGE = 720  # pixels
LARGEST_COPY = 30 << 20  # bytes of a file that a link in the page holds
MOST_TILES = 10
WEIGHING = 0.1  # of the time goes into finding the gradient's shares
NO_CURVES = pictures.png(Image.new("L", (770, 330), "white"), {})
WATCHED = {
    "each term": TERMS,
    "style layers": ("style/",),
    "content layers": ("content/",),
    "total": ("total",),
}
RECIPE = ("encoder", "size", *STEERED)
ALWAYS = ("encoder", "size", "steps", "style_weight", "content_weight")  # said of every run
AT_ONCE = ("original_colors", "mask_colors")  # need no step
GOING_ON, PAUSING = "Going on …", "Pausing after this step …"
ENDED = ("ready", *OVER)
APART = f"these settings are for a new run: press Run, or choose “{THIS}” under Settings of"
TWICE = 0.5  # seconds within which a second press of Run is the same
SLIDERS = (widgets.FloatLogSlider, widgets.FloatSlider, widgets.IntSlider)
ONE_PULL = 2.0  # seconds within which a slider that moves on is moved by the same hand


class Panel:
    """Sliders and buttons over a player, with a live picture and a grid of the kept steps.

    `settings` is where the controls begin, by default two sample pictures and the default recipe; each Run
    makes a new folder in `folder`, by default in data/runs. A `Run` in place of settings is taken up, as `open`
    does. Shown as a cell's last line, it returns at once. `play()` is the Run button, `wait()` blocks until the
    end, `run` is the run in hand, if any.

    What is asked for goes one way, from `asked` and `protect` to the player; what comes of it the other, from the
    player to `seen`, `tiles` and the words. Callbacks come in any thread: they speak to the player and are soon
    done. What the player tells comes in its thread and only sets widgets' values.
    """

    def __init__(self, settings: Settings | Run | None = None, folder: str | Path | None = None):
        given = settings or Settings(sample("waterside"), sample("strokes"))
        settings = given.settings if isinstance(given, Run) else given
        self.folder = Path(folder) if folder else runs_folder()
        self.player: Player | None = None
        self.protect = Protect(self.folder / "uploads")
        self.asked = Asked(settings, self.folder / "uploads", self._moved, self._take_mask)
        self.controls = self.asked.controls  # by their settings' names
        self.buttons = buttons()
        self.run_button, self.pause_button, self.stop_button = self.buttons[:3]
        self.undo_button, self.report_button = self.buttons[3:]
        self.left = Left()
        self.hold = widgets.Checkbox(
            description="Wait at the preview",
            tooltip="hold the run while it is small: sliders act at once; then go on to the full size",
            indent=False,
            layout={"width": "auto"},
        )
        self.progress = widgets.IntProgress(max=settings.steps, layout={"width": "auto"})
        self.said = widgets.HTML("Press Run to begin.").add_class("said")
        self.word = widgets.HTML().add_class("word")
        self.foreseen = Foreseen()
        self.problem, self.painted, self.reported = (widgets.HTML() for _ in range(3))
        self.seen = Seen(self._fork)
        self.neighbours = Neighbours(lambda: self.settings, lambda *of: put(self.controls, *of))
        self.curves = widgets.Image(value=NO_CURVES, format="png").add_class("curves")
        self.watched = widgets.Dropdown(
            options=WATCHED, description="Watch", style=NAMED, layout={"width": "auto"}
        )
        self.tiles = Tiles(self._look_at)
        self.seen.viewer.observe(
            lambda seen: self.tiles.mark({LIVE: "result"}.get(seen["new"], seen["new"])), "step"
        )
        self.box = laid_out(self)
        self._static: list = []
        self._quiet = False
        self._apart = False  # whether the controls have a preset's settings, not the run's
        self._pressed = 0.0
        self._pulled = "", 0.0  # which control was moved last, and when
        self._failed: Exception | None = None
        self._picked: list[str] = []  # as the run's content and styles
        self._one_run = threading.Lock()
        self._connect()
        if isinstance(given, Run):
            self.open(given)
        else:
            self._preview()
            self.protect.show(settings.content)
            with self._unheard():
                self.protect.lay(settings.mask)
            self.left.offer(self.folder)

    @property
    def run(self) -> Run | None:
        return None if self.player is None else self.player.run

    @property
    def settings(self) -> Settings:
        """What the controls say; ValueError if that cannot be."""
        return self.asked.settings(self.protect.file)

    def play(self) -> None:
        """Ends the run in hand and begins a new one with what the controls say; `wait` raises if it cannot be."""
        self._play(lambda: Run.new(self._begun_with(), self.folder), self._picks)

    def _press_run(self) -> None:
        """A double click begins one run."""
        since = time.monotonic()
        if since - self._pressed > TWICE or not (self.player and self.player.playing):
            self.play()
        self._pressed = time.monotonic()

    def _begun_with(self) -> Settings:
        """What the controls say; what is to be held small begins large enough to be judged."""
        settings = self.settings
        if not self.hold.value:
            return settings
        if settings.size <= PREVIEW:
            raise ValueError(
                f"a picture of {settings.size} px is its own preview; choose a larger Size to wait at one"
            )
        return replace(settings, smallest=max(PREVIEW, settings.smallest))

    def _play(self, made: Callable[[], Run], picked: list[str]) -> None:
        """Ends the run in hand and plays another, of pictures that were so picked."""
        with self._one_run:
            try:
                run = made()
                self._failed = None
            except (ValueError, OSError) as error:
                self._failed = error
                self.problem.value = complaint(error)
                return
            if self.player is not None:
                self.player.close()
            stopped, player = self._make_room(), Player(run, weigh=WEIGHING)
            player.previewing = self.hold.value
            self._begin(player, picked)
            self.problem.value = stopped
            player.start()

    def _make_room(self) -> str:
        """Stops what other panels paint, for two runs at once take twice as long each; a line of it."""
        running = [other for other in [*AT_WORK] if other.playing and other.status != "paused"]
        others = [other for other in running if other is not self.player]
        for other in others:
            other.close()
        names = " and ".join(other.run.folder.name for other in others)
        return note(f"Stopped for this one, to be gone on with: {names}.") if names else ""

    def open(self, run: Run) -> None:
        """Takes up a run that is there: its settings on the controls, its pictures below, ready to go on."""
        if self.player is not None:
            self.player.close()
        self._take_over(Player(run, weigh=WEIGHING))

    def _take_over(self, player: Player) -> None:
        """Makes a player this panel's own, where it stands; another panel that showed it does so no more."""
        player.listeners = [
            told for told in player.listeners if getattr(told, "__func__", 0) is not Panel._follow
        ]
        with self._unheard():
            self.asked.take(player.settings)
            self.asked.preset.value = THIS
            self.protect.show(player.settings.content)
        self._begin(player, self._picks)
        self._lay_mask()
        self.hold.value, self.foreseen.value = player.previewing, ""
        self._follow(player)

    def go_on(self) -> None:
        """Lets a run that has ended play on, with what the controls say, as far as it may change."""
        player = self.player
        self.problem.value = ""
        with self._complaining():
            asked = self._steered(player.settings)
            made = player.step.number if player.step else -1
            if asked.get("steps", player.settings.steps) <= made:
                raise ValueError("all its iterations are made; move Iterations up to go on")
            player.steer(**asked)
            self._plan(player.settings, made)
            self.said.value, self.foreseen.value = GOING_ON, ""
            self._enable("playing")
            self.problem.value = self._make_room()
            player.previewing = self.hold.value and not player.past_preview
            player.start()
        if not player.playing:
            self._enable(player.status)
            self._tell()

    def pause(self) -> None:
        """Holds the run, or lets it go on."""
        player = self.player
        if player is None:
            return
        if player.status == "paused" or player.pausing:
            player.resume()
            self.said.value = GOING_ON
            self._enable("playing")
        elif player.playing:
            player.pause()
            if player.pausing:
                self.said.value = PAUSING
                self._enable("paused")
        else:
            self.go_on()

    def undo(self) -> None:
        """Takes the last change back that was made while it ran."""
        if self.player is None:
            return
        with self._complaining():
            before, self._pulled = self.player.settings, ("", 0.0)
            self.player.undo()
            if self._apart:
                self.asked.preset.value = THIS
            else:
                with self._unheard():
                    self.asked.put(self.player.settings)
                self._lay_mask()
            self._recolour()
            self._tell()
            taken_back = before.differences(self.player.settings).keys() - {*AT_ONCE}
            if taken_back and not self.player.playing:
                words = ", ".join(NAMES.get(name, name) for name in sorted(taken_back))
                first = "" if self.player.steps_left else "move Iterations up and "
                self.problem.value = note(f"Taken back: {words}; to see it, {first}press Go on.")

    def report(self) -> None:
        """Writes the run's report into its folder, and offers a copy."""
        if self.player is None:
            return
        with self._complaining():
            pictures.write(file := self.run.folder / "report.html", report(self.run).encode())
            self.reported.value = copy_of(file, "Report", "text/html")

    def stop(self) -> None:
        if self.player is not None and self.player.playing and self.player.status not in OVER:
            self.said.value, self.stop_button.disabled = "Stopping after this step …", True
            self.player.stop()

    def wait(self) -> Run | None:
        """The run in hand once it has ended; what failed is raised here."""
        if self._failed:
            raise self._failed
        return None if self.player is None else self.player.wait()

    def _connect(self) -> None:
        acts = (self._press_run, self.pause, self.stop, self.undo, self.report, self._take_last)
        for pressed, act in zip((*self.buttons, self.left), acts, strict=True):
            pressed.on_click(lambda _, act=act: act())
        self.hold.observe(lambda change: self._hold(change["new"]), "value")
        self.protect.brush.observe(lambda _: self._moved("mask"), "mask")
        self.watched.observe(lambda _: self._draw_curves(), "value")

    def _moved(self, name: str) -> None:
        """What was moved takes effect within a step, and the forecast follows."""
        self.problem.value = ""
        if self._quiet:
            return
        if name in ("content", "styles"):
            self._preview()
        if name == "content":
            with self._unheard():
                self.protect.show(self.asked.content.value)
            self._lay_mask()
        if name == "preset":
            self._turn_to(self.asked.preset.value)
        if name in (*STEERED, "mask", "styles"):
            self._steer(name)
        if self.player is None or not self.player.playing:
            self.foreseen.follow(lambda: self.settings)
        elif name not in STEERED:
            self.foreseen.value = ""  # it was the run's in hand, and this is for the next

    def _turn_to(self, preset: str) -> None:
        """The controls are a preset's now, for the next run; or again those of the run in hand."""
        with self._unheard():
            if preset in RECIPES:
                self.protect.use()  # a face was found: the recipe protects it
            else:
                self.protect.release()
        if self.player is None:
            return
        self._apart = preset != THIS
        if self._apart:
            self.problem.value = note(f"{preset}: {APART}.")
            self.asked.weigh({})  # what was found is of the run in hand
        else:
            with self._unheard():
                self.asked.renew(self.player.settings)
            self._lay_mask()

    def _steered(self, settings: Settings) -> dict:
        """What the controls say otherwise than a run's settings; ValueError if they are another's."""
        if self._apart:
            raise ValueError(APART)
        return self.asked.steered(settings, self._picked[1:])

    def _steer(self, name: str) -> None:
        """Tells the player; layers only if they are its encoder's."""
        player = self.player
        if player is None or not (player.playing or name in (*AT_ONCE, "mask")):
            return
        with self._complaining():
            asked = self._steered(player.settings)
            if self._at_home:
                asked["mask"] = self.protect.brush.image
            if name not in asked:
                return
            if name == "steps" and player.step and asked[name] <= player.step.number:
                made = player.step.number
                with self._unheard():
                    put(self.controls, "steps", player.aim.steps)
                raise ValueError(f"{made} iterations are made already; press Stop to end here")
            (last, since), now = self._pulled, time.monotonic()
            slid = self._slid(name, asked)
            player.steer(slid == last != "" and now - since < ONE_PULL, **{name: asked[name]})
            self._pulled = slid, now
            self.undo_button.disabled = False
            if name == "steps" and player.status == "paused":
                self._tell()
            if name in AT_ONCE or player.settings.mask_colors:
                player.settle()
                self._recolour()

    def _slid(self, name: str, asked: dict) -> str:
        """Which slider has been moved, if it was one: strokes and choices are changes of their own."""
        if name != "styles":
            return name if isinstance(self.controls.get(name), SLIDERS) else ""
        pairs = zip(self.player.settings.styles, asked["styles"], strict=True)
        moved = [
            f"style {n}'s {part}"
            for n, (known, style) in enumerate(pairs)
            for part in ("weight", "scale", "where")
            if getattr(known, part) != getattr(style, part)
        ]
        return moved[0] if len(moved) == 1 and not moved[0].endswith("where") else ""

    def _recolour(self) -> None:
        """Shows a picture that rests in the colours that are asked for now; one that is painted follows by itself."""
        self._enable(self.player.status)
        if not self.player.step or self.player.status == "playing":
            return
        self._show(self.player.step)
        if not self.player.playing:
            self.tiles.fill("result", self._image(self.player.step))
            self._keep()
            self._offer()

    def _hold(self, wanted: bool) -> None:
        """Lets the run wait at its preview, or no longer."""
        if self.player and self.player.playing:
            self.player.previewing = wanted
            if not wanted and self.player.status == "paused":
                self.player.resume()

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """Meanwhile what is moved is no wish of anyone's."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    @property
    def _at_home(self) -> bool:
        """Whether the picked content is the run's: a mask on another is for the next run."""
        return self._picks[:1] == self._picked[:1]

    @property
    def _picks(self) -> list[str]:
        """The content and the styles that are picked."""
        return [self.asked.content.value, *(style.picture for style in self.asked.styles.value)]

    def _take_mask(self, place: int) -> str | None:
        """What is marked, for the style at that place, and marked no more.

        It protects the run in hand no more either, unless the style is for the next one.
        """
        if place < len(self._picked) - 1:
            return self.protect.take()
        with self._unheard():
            return self.protect.take()

    def _lay_mask(self) -> None:
        """Puts the run's mask on the brush, if it is over the run's content."""
        if self._at_home:
            with self._complaining(), self._unheard():
                self.protect.lay(self.player.settings.mask)

    def _fork(self, step: int) -> None:
        """Begins a new run that goes on from a kept step, with what the controls say."""
        with self._complaining():
            run, before = self.run, settings_at(self.run, step)
            changes = self._steered(before)
            if before.size and self.controls["size"].value != before.size:
                changes["size"] = self.controls["size"].value
            if self._at_home and (before.mask or self.protect.brush.image):
                changes["mask"] = self.protect.brush.image
            self._play(lambda: fork(run, step, **changes), self._picked)

    def _look_at(self, name: str | int) -> None:
        """A tile was clicked: it is seen at full size."""
        self.views.selected_index = 0
        if name in self._images:
            self.seen.look(self._images[name], name)
            self.tiles.mark(name)
        else:  # what is not kept yet, as the result, is the newest
            self.seen.viewer.step = name if name in self.seen.viewer.steps else LIVE

    def _image(self, step: Step) -> Image.Image:
        settings = self.player.settings  # the latest: colours need no step
        mask = mask_of(settings) if settings.mask_colors else None
        return colours.finished(pictures.to_image(step.image), self._content, settings, mask)

    def _show(self, step: Step) -> None:
        image = self._image(step)
        # While it plays every scale comes in one size, quick to send.
        large = step.shape[1] > self._size[0] and self.player.status != "playing"
        shown = image if large else image.resize(self._size)
        self.seen.show(shown, step.settings, step.shape[1])

    def _take_last(self) -> None:
        """Goes on with the run that was offered, or shows it again."""
        found = self.left.found
        with self._complaining():
            if isinstance(found, Player):
                self._take_over(found)
            elif found:  # not pressed twice
                self.open(found)
                self.go_on()

    def _preview(self) -> None:
        """Shows the chosen pictures, as long as there is no run to show."""
        if self.player is not None:
            return
        picked = {"content": self.asked.content.value, "styles": self.asked.styles.value}
        with suppress(ValueError):  # the picker says so
            self._lay(replace(self.asked.given, **picked))

    def _begin(self, player: Player, picked: list[str]) -> None:
        """Shows a player of a run whose pictures were so picked, from here on."""
        self.player, self._picked, self._apart = player, picked, False
        settings, kept = player.aim, self.run.images
        self._lay(settings)
        self._live_at, self._slow_at, self._pulled = 0.0, 0.0, ("", 0.0)
        self.progress.max, self.progress.value, self.progress.bar_style = settings.steps, 0, ""
        self.said.value = f"Starting: {escape(size_in_words(settings))}"
        for words in (self.problem, self.painted, self.reported, self.word):
            words.value = ""
        self.curves.value = NO_CURVES
        self.asked.weigh({})
        self.left.hide()
        self._enable("playing")
        for number in self.tiles.awaited & kept.keys():
            self.tiles.fill(number, pictures.opened(kept[number]))
        self.seen.viewer.steps = [*kept]
        player.listeners.append(self._follow)
        AT_WORK.add(player)

    def _lay(self, settings: Settings) -> None:
        self._images = images = {name: shown(path) for name, path in originals(settings)}
        self._size = pictures.fitted(images["content"].size, LIVE_EDGE)
        self._content = images["content"].resize(self._size)
        self.seen.begin(self._content, settings, self.run)
        self._plan(settings)
        for name, image in images.items():
            self.tiles.fill(name, image)
        self.tiles.mark("result" if self.run else "content")

    def _plan(self, settings: Settings, after: int = -1) -> None:
        self.tiles.plan(self._images, kept_steps(settings), self._size, after)

    def _follow(self, player: Player) -> None:
        """Shows where the player is. Called in its thread."""
        if player is not self.player:
            return
        now, step, ended = time.monotonic(), player.step, player.status in ENDED
        halted = player.status != "playing"
        if step and (halted or now - self._live_at > LIVE_SECONDS):
            self._live_at = now
            self._show(step)
            self._tell()
            self.word.value = escape(player.word)
            self.asked.weigh({} if self._apart else player.shares, player.shares_under)
        if step:
            self._replan()
        if step and step.number in self.tiles.awaited:
            self.tiles.fill(step.number, self._image(step))
            self.seen.viewer.steps = [*player.run.images]
        if step and ended:
            self.tiles.fill("result", self._image(step))
            self.tiles.settle()
            self.seen.viewer.steps = [*player.run.images]
            self._offer()
        if step and (halted or now > self._slow_at):
            self._draw_curves()
            self._keep()
            drawn = time.monotonic()
            # what takes long, as after thousands of steps, is done more rarely
            self._slow_at = drawn + max(SLOW_SECONDS, SLOW_SHARE * (drawn - now))
        if player.status == "failed":
            self.said.value, self.problem.value = "Failed", complaint(player.error)
        elif player.status in ("done", "stopped"):
            self.problem.value = ""  # what it complained of meanwhile is past
        if ended and not self._one_run.locked():  # else another begins at once
            self.foreseen.follow(lambda: self.settings)
        self._enable(player.status)

    def _tell(self) -> None:
        """Says where the run is."""
        if step := self.player.step:
            self._replan()
            self.progress.value, self.said.value = step.number, pace(self.player)

    def _replan(self) -> None:
        """There may be more steps to come, or fewer."""
        aim, step = self.player.aim, self.player.step
        if aim.steps == self.progress.max:
            return
        self.progress.max = aim.steps
        self._plan(aim, step.number - 1)
        with self._unheard():
            put(self.controls, "steps", aim.steps)

    def _draw_curves(self) -> None:
        if self.run and self.run.metrics:
            self.curves.value = loss_curves(self.run, self.watched.value).png()

    def _offer(self) -> None:
        """Says where the picture is, and offers a copy."""
        if (file := self.run.result).exists():
            self.painted.value = copy_of(file, "Picture", "image/png")

    def _enable(self, status: str) -> None:
        if status == "playing" and self.player.pausing:
            status = "paused"
        self.stop_button.disabled = ended = status in ENDED
        self.pause_button.disabled = self.report_button.disabled = False
        self.undo_button.disabled = not (self.player and self.player.undoable)
        words = "Go on" if ended else "Resume" if status == "paused" else "Pause"
        self.pause_button.description = words
        self.pause_button.icon = "pause" if words == "Pause" else "play"
        self.progress.bar_style = {"done": "success", "failed": "danger"}.get(status, "")

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        """What cannot be is said, and what would follow is left."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.problem.value = complaint(error)

    def _keep(self) -> None:
        """Renews the static pictures under the widgets, which stay in the saved notebook."""
        if self._static and self.run and self.run.images:
            sheet = base64.b64encode(pictures.jpeg(contact_sheet(self.run))).decode()
            kept = {"text/html": recipe_line(self.player)}, {"image/jpeg": sheet}
            for handle, data in zip(self._static, kept, strict=True):
                handle.update(data | {"text/plain": self.run.folder.name}, raw=True)

    def _ipython_display_(self) -> None:
        words = "Sliders and a live picture stand here when the notebook runs."
        display(self.box._repr_mimebundle_() | {"text/plain": words}, raw=True)
        self._static = [display({"text/plain": ""}, raw=True, display_id=True) for _ in range(2)]
        self._keep()
        self._moved("settings")


def kept_steps(settings: Settings) -> list[int]:
    """The steps before the last that are kept, thinned out to what a grid can show."""
    steps = list(range(0, settings.steps, settings.interval))
    return steps[:: math.ceil(len(steps) / MOST_TILES)]


def laid_out(panel: Panel) -> widgets.VBox:
    """Controls beside the picture, or above it where the window is narrow; the tiles below."""
    losses = widgets.VBox([panel.watched, panel.curves])
    tabs = [panel.seen, losses, panel.protect, panel.neighbours]
    panel.views = widgets.Tab(tabs, titles=("Picture", "Losses", "Protect", "Around"))
    row = widgets.HBox(panel.buttons, layout={"flex_flow": "row wrap"})
    words = (panel.said, panel.word, panel.foreseen, panel.problem, panel.painted, panel.reported)
    main = widgets.VBox([panel.left, row, panel.hold, panel.progress, *words, panel.views])
    columns = widgets.Box([main.add_class("views"), panel.asked])
    parts = [columns.add_class("columns"), panel.tiles, Guard()]
    return widgets.VBox(parts).add_class("nsutils-panel")


def copy_of(file: Path, what: str, kind: str) -> str:
    """Where a run's file is, and a link that saves a copy where that is not too large for a page, in HTML."""
    data, place = file.read_bytes(), min(str(file), os.path.relpath(file), key=len)
    words = f"{what}: {escape(place)} ({len(data) / 1e6:.1f} MB)"
    if len(data) <= LARGEST_COPY:
        name = escape(f"{file.parent.name}{file.suffix}")
        link = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        words += f'. <a download="{name}" href="{link}">Save the {what.lower()}</a>'
    return f'<div class="note">{words}</div>'


def note(words: str) -> str:
    """A line that is no complaint, in HTML."""
    return f'<div class="note">{escape(words)}</div>'


def pace(player: Player) -> str:
    """Where the run is, in words: step, speed, time left or taken."""
    height, width = player.step.image.shape[-2:]
    words = f"step {player.step.number} of {player.aim.steps}, {width} × {height} px"
    if player.status == "playing" and player.pausing:
        return PAUSING
    if player.status == "playing":
        speed = f", {player.speed:.1f} steps/s" if player.speed else ""
        return f"{words}{speed}, {clock(player.seconds_left)} left"
    if player.status == "paused" and player.previewing:
        return f"Preview: {words}. Move sliders and see; Resume goes on to the full size"
    status = player.run.status if player.status == "ready" else player.status
    took = clock(player.run.last_row.get("seconds", 0.0))
    return f"{status.capitalize()}: {words}, after {took}"


def recipe_line(player: Player) -> str:
    """What the run is called, where it stands, and the settings in force, in one line of HTML."""
    made = f"{player.aim.steps - player.steps_left} of {player.aim.steps} steps"
    settings = player.settings
    changed = Settings(settings.content, settings.styles).differences(settings)
    recipe = "; ".join(
        f"{name} = {plain(getattr(settings, name))}"
        for name in RECIPE
        if name in changed or name in ALWAYS
    )
    name = escape(player.run.folder.name)
    return (
        f"<p class='nsutils-kept'>Run <b>{name}</b>, {player.status}, {made}: {escape(recipe)}</p>"
    )
