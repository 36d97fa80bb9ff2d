"""The panel: pick pictures, move sliders, press Run, and watch the picture arrive."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
from IPython.display import display

from nsutils import pictures
from nsutils.player import ENDED, OVER, PREVIEW, Player
from nsutils.presets import RECIPES
from nsutils.replay import fork
from nsutils.report import LEFT_OUT, report
from nsutils.run import Run
from nsutils.samples import runs_folder, sample
from nsutils.settings import Settings
from nsutils.widgets.asked import THIS, Asked, alike
from nsutils.widgets.buttons import Buttons
from nsutils.widgets.controls import NAMES, STEERED, put
from nsutils.widgets.foreseen import Foreseen
from nsutils.widgets.guard import Guard
from nsutils.widgets.left import AT_WORK, Left
from nsutils.widgets.neighbours import Neighbours
from nsutils.widgets.protect import Protect
from nsutils.widgets.standing import GOING_ON, PAUSING
from nsutils.widgets.view import View
from nsutils.widgets.words import complaint, copy_of, note

WEIGHING = 0.1  # of the time goes into finding the gradient's shares
AT_ONCE = ("original_colors", "mask_colors")  # need no step
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
    player to `view`. Callbacks come in any thread: they speak to the player and are soon done. What the player tells
    comes in its thread and only sets widgets' values.
    """

    def __init__(self, settings: Settings | Run | None = None, folder: str | Path | None = None):
        given = settings or Settings(sample("waterside"), sample("strokes"))
        if not isinstance(given, Settings | Run):
            raise ValueError(f"settings is {given!r}; give Settings(content, style), or a Run")
        settings = given.settings if isinstance(given, Run) else given
        self.folder = Path(folder) if folder else runs_folder()
        self.player: Player | None = None
        self.protect = Protect(self.folder / "uploads")
        self.asked = Asked(settings, self.folder / "uploads", self._moved, self._take_mask)
        self.controls = self.asked.controls  # by their settings' names
        self.buttons = Buttons()
        self.left = Left()
        self.hold = widgets.Checkbox(
            description="Wait at the preview",
            tooltip="hold the run while it is small: sliders act at once; then go on to the full size",
            indent=False,
            layout={"width": "auto"},
        )
        self.foreseen = Foreseen()
        self.problem, self.reported = widgets.HTML(), widgets.HTML()
        self.neighbours = Neighbours(lambda: self.settings, lambda *of: put(self.controls, *of))
        more = {"Protect": self.protect, "Around": self.neighbours}
        self.view = View(self._fork, self._prolonged, more)
        self.box = laid_out(self)
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
        for told in [*player.listeners]:
            if getattr(told, "__func__", 0) is Panel._follow:
                player.listeners.remove(told)
                told.__self__.let_go()
        with self._unheard():
            self.asked.take(player.settings)
            self.asked.preset.value = THIS
            self.protect.show(player.settings.content)
        self._begin(player, self._picks)
        self._lay_mask()
        self.hold.value, self.foreseen.value = player.previewing, ""
        self._follow(player)
        if not player.step and not player.playing:
            self.view.say("Not begun: press Go on.")

    def let_go(self) -> None:
        """Lets go of the run, which another panel shows from here on."""
        self.player, self._picked = None, []
        self.view.say("Another panel shows this run now.")
        self.buttons.leave()

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
            self.view.plan(player.settings, made)
            self.view.say(GOING_ON)
            self.foreseen.value = ""
            self._enable("playing")
            self.problem.value = self._make_room()
            player.previewing = self.hold.value and not player.past_preview
            player.start()
        if not player.playing:
            self._enable(player.status)
            self.view.tell()

    def pause(self) -> None:
        """Holds the run, or lets it go on."""
        player = self.player
        if player is None:
            return
        if player.status == "paused" or player.pausing:
            player.resume()
            self.view.say(GOING_ON)
            self._enable("playing")
        elif player.playing:
            player.pause()
            if player.pausing:
                self.view.say(PAUSING)
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
                    self.asked.put(self.player.settings, self._picked[1:])
                self._lay_mask()
            self._recolour()
            self.view.tell()
            differing = before.differences(self.player.settings).keys()
            taken_back = differing - {*AT_ONCE}
            if not differing:
                self.problem.value = note("Taken back; the iterations that are made stay.")
            if taken_back and not self.player.playing:
                words = ", ".join(NAMES.get(name, name) for name in sorted(taken_back))
                first = "" if self.player.steps_left else "move Iterations up and "
                self.problem.value = note(f"Taken back: {words}; to see it, {first}press Go on.")

    def report(self) -> None:
        """Writes the run's report into its folder, and offers a copy."""
        if self.player is None:
            return
        with self._complaining():
            text = report(self.run)
            pictures.write(file := self.run.folder / "report.html", text.encode())
            left_out = note(LEFT_OUT) if LEFT_OUT in text else ""
            self.reported.value = copy_of(file, "Report", "text/html") + left_out

    def stop(self) -> None:
        if self.player is not None and self.player.playing and self.player.status not in OVER:
            self.view.say("Stopping after this step …")
            self.buttons.stop.disabled = True
            self.player.stop()

    def wait(self) -> Run | None:
        """The run in hand once it has ended; what failed is raised here."""
        if self._failed:
            raise self._failed
        return None if self.player is None else self.player.wait()

    def _connect(self) -> None:
        acts = (self._press_run, self.pause, self.stop, self.undo, self.report, self._take_last)
        for pressed, act in zip((*self.buttons.children, self.left), acts, strict=True):
            pressed.on_click(lambda _, act=act: act())
        self.hold.observe(lambda change: self._hold(change["new"]), "value")
        self.protect.brush.observe(lambda _: self._moved("mask"), "mask")

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
                self.asked.renew(self.player.settings, self._picked[1:])
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
            self.buttons.undo.disabled = False
            if name == "steps" and player.status == "paused":
                self.view.tell()
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
        """Colours that need no step are seen, and can be undone."""
        self._enable(self.player.status)
        self.view.recolour()

    def _prolonged(self, steps: int) -> None:
        """There are to be more steps, or fewer."""
        with self._unheard():
            put(self.controls, "steps", steps)

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
            run, before = self.run, self.run.settings_at(step)
            changes = self._steered(before)
            if before.size and self.controls["size"].value != before.size:
                changes["size"] = self.controls["size"].value
            if self._at_home and not alike(self.protect.file, before.mask):
                changes["mask"] = self.protect.brush.image
            self._play(lambda: fork(run, step, **changes), self._picked)

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
            self.view.lay(replace(self.asked.given, **picked))

    def _begin(self, player: Player, picked: list[str]) -> None:
        """Shows a player of a run whose pictures were so picked, from here on."""
        self.player, self._picked = player, picked
        self._apart, self._pulled = False, ("", 0.0)
        self.view.begin(player)
        self.problem.value = self.reported.value = ""
        self.asked.weigh({})
        self.left.hide()
        self._enable("playing")
        player.listeners.append(self._follow)
        AT_WORK.add(player)

    def _follow(self, player: Player) -> None:
        """Shows where the player is. Called in its thread."""
        if player is not self.player:
            return
        if self.view.live():
            self.asked.weigh({} if self._apart else player.shares, player.shares_under)
        self.view.fill()
        if player.status == "failed":
            self.view.say("Failed")
            self.problem.value = complaint(player.error)
        elif player.status in ("done", "stopped"):
            self.problem.value = ""  # what it complained of meanwhile is past
        if player.status in ENDED and not self._one_run.locked():  # else another begins at once
            self.foreseen.follow(lambda: self.settings)
        self._enable(player.status)

    def _enable(self, status: str) -> None:
        self.buttons.enable(status, self.player)
        self.view.colour(status)

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        """What cannot be is said, and what would follow is left."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.problem.value = complaint(error)

    def _ipython_display_(self) -> None:
        words = "Sliders and a live picture stand here when the notebook runs."
        display(self.box._repr_mimebundle_() | {"text/plain": words}, raw=True)
        self.view.leave_room()
        self._moved("settings")


def laid_out(panel: Panel) -> widgets.VBox:
    """Controls beside the picture, or above it where the window is narrow; the tiles below."""
    view = panel.view
    words = (view.said, view.word, panel.foreseen, panel.problem, view.painted, panel.reported)
    acts = (panel.left, panel.buttons, panel.hold, view.progress)
    main = widgets.VBox([*acts, *words, view.tabs])
    columns = widgets.Box([main.add_class("views"), panel.asked])
    parts = [columns.add_class("columns"), view.tiles, Guard()]
    return widgets.VBox(parts).add_class("nsutils-panel")
