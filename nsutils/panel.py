"""The panel: pick pictures, move sliders, press Run, and watch the picture arrive."""

import base64
import math
import os
import threading
import time
from dataclasses import astuple, replace
from functools import partial
from html import escape
from pathlib import Path

import ipywidgets as widgets
from IPython.display import display
from PIL import Image

from nsutils import colours, faces, pictures
from nsutils.figures import contact_sheet, figure_png, loss_curves
from nsutils.player import Player, clock
from nsutils.presets import PRESETS, RECIPES, preset
from nsutils.recipe import plain
from nsutils.report import report
from nsutils.run import Run
from nsutils.samples import runs_folder, sample, samples
from nsutils.settings import ENCODERS, PIXELS, Settings, Style
from nsutils.sources import opened_mask, size_in_words
from nsutils.targets import shown
from nsutils.transfer import Step
from nsutils.widgets.brush import Brush
from nsutils.widgets.controls import NAMED, STEERED, buttons, controls, same, value
from nsutils.widgets.foreseen import Foreseen
from nsutils.widgets.guard import Guard
from nsutils.widgets.picker import Picker, complaint
from nsutils.widgets.tiles import Tiles

LIVE_SECONDS, SLOW_SECONDS = 0.25, 2.0  # at least so long between two pictures, two drawings
LIVE_EDGE = 720  # pixels
MOST_TILES = 10
NO_CURVES = pictures.png(Image.new("L", (770, 330), "white"), {})
SHAPES = ("laplacian_weight", "similarity_weight", "protection", "mask_colors")
OWN = "nsutils"  # among the presets
RECIPE = ("encoder", "size", *STEERED)
ENDED = ("ready", "stopped", "done", "failed")
CSS = Path(__file__).parent / "widgets" / "panel.css"


class Panel:
    """Sliders and buttons over a player, with a live picture and a grid of the kept steps.

    `settings` is where the controls begin, by default two sample pictures and the default recipe; each Run
    makes a new folder in `folder`, by default in data/runs. A `Run` in place of settings is taken up, as `open`
    does. Shown as a cell's last line, it returns at once. `play()` is the Run button, `wait()` blocks until the
    end, `run` is the run in hand, if any.

    Callbacks come in any thread: they speak to the player and are soon done. What the player tells comes in
    its thread and only sets widgets' values.
    """

    def __init__(self, settings: Settings | Run | None = None, folder: str | Path | None = None):
        kept = settings if isinstance(settings, Run) else None
        self.given = (
            kept.settings
            if kept
            else settings or Settings(sample("waterside"), (Style(sample("strokes")),))
        )
        self._made, self._weights = partial(replace, self.given), self.given.weights
        self.folder = Path(folder) if folder else runs_folder()
        self.player: Player | None = None
        uploads = self.folder / "uploads"
        self.content = Picker("Content", samples("content"), self.given.content, uploads)
        self.style = Picker("Style", samples("style"), self.given.styles[0].picture, uploads)
        self.controls = controls(self.given)
        self.preset = widgets.Dropdown(
            options=(OWN, *RECIPES, *PRESETS),
            description="Settings of",
            tooltip="every setting as this kit or a published program has it; pictures and encoder stay",
            style=NAMED,
            layout={"width": "auto"},
        )
        self.buttons = buttons()
        self.run_button, self.pause_button, self.stop_button, *later = self.buttons
        self.undo_button, self.report_button = later
        self.cut_button = widgets.Button(icon="play", layout={"width": "auto"})
        self.progress = widgets.IntProgress(max=self.given.steps, layout={"width": "auto"})
        self.said = widgets.HTML("Press Run to begin.").add_class("said")
        self.foreseen = Foreseen()
        self.problem, self.reported = widgets.HTML(), widgets.HTML()
        self.brush = Brush(opened_or_none(self.given.content))
        self.live = widgets.Image(format="jpeg").add_class("live")
        self.curves = widgets.Image(value=NO_CURVES, format="png").add_class("curves")
        self.tiles = Tiles().add_class("tiles")
        self.side = widgets.VBox()
        self.box = laid_out(self)
        self._static: list = []
        self._taking_back, self._cut_off, self._masked = False, None, None
        self._failed: Exception | None = None
        self._one_run = threading.Lock()
        if self.given.mask:
            self._lay_mask(self.given)
        self._connect()
        self._preview()
        self._propose()
        if kept:
            self.open(kept)
        self._offer_cut_off()

    @property
    def run(self) -> Run | None:
        return None if self.player is None else self.player.run

    @property
    def settings(self) -> Settings:
        """What the controls say; ValueError if that cannot be."""
        for picker in (self.content, self.style):
            if picker.path.value:
                raise ValueError(
                    f"no picture {picker.path.value!r}: mend the path, or empty its box"
                )
        asked = {n: value(control) for n, control in self.controls.items() if n != "encoder"}
        first, *others = self.given.styles
        layers = (PIXELS, *ENCODERS[self.controls["encoder"].value])
        shares = {n: share for n, share in self.given.layer_weights.items() if n in layers}
        styles = (replace(first, picture=self.style.value), *others)
        pictured = {"content": self.content.value, "styles": styles}
        pictured |= {"mask": self._kept_mask()}
        return self._made(**pictured, **asked, **self._network, layer_weights=shares)

    @property
    def _network(self) -> dict[str, str | None]:
        """The encoder, and the given weights if it is not the one that has its own."""
        encoder = self.controls["encoder"].value
        return {"encoder": encoder, "weights": None if encoder == "slim" else self._weights}

    def play(self) -> None:
        """Ends the run in hand and begins a new one with what the controls say; `wait` raises if it cannot be."""
        with self._one_run:
            try:
                settings = self.settings
                run = Run.new(settings, self.folder)
                self._failed = None
            except (ValueError, OSError) as error:
                self._failed = error
                return self._complain(error)
            if self.player is not None:
                self.player.close()
            self.player = Player(run)
            self._begin(settings)
            self.player.listeners.append(self._follow)
            self.player.start()

    def open(self, run: Run) -> None:
        """Takes up a run that is there: its settings on the controls, its pictures below, ready to go on."""
        if self.player is not None:
            self.player.close()
        player = Player(run)
        inputs = run.meta["inputs"]
        self.given, self._weights = player.settings, player.settings.weights
        self._made = partial(replace, self.given)
        self.content.choose(self.given.content, inputs["content"]["name"])
        self.style.choose(self.given.styles[0].picture, inputs["style_1"]["name"])
        encoder = self.controls["encoder"]
        encoder.options = tuple(dict.fromkeys((*encoder.options, self.given.encoder)))
        encoder.value = self.given.encoder
        self._renew_controls()
        self._lay_mask(player.settings)
        self.player = player
        self._begin(self.given)
        for number, file in run.images.items():
            if number in self.tiles.awaited:
                self.tiles.fill(number, pictures.opened(file))
        player.listeners.append(self._follow)
        self._follow(player)

    def go_on(self) -> None:
        """Lets a run that has ended play on, with what the controls say, as far as it may change."""
        player, own = self.player, self.controls["encoder"].value == self.player.settings.encoder
        asked = {
            name: value(self.controls[name]) for name in STEERED if own or "layers" not in name
        }
        known = {name: getattr(player.settings, name) for name in asked}
        self.problem.value = ""
        try:
            player.steer(**{n: v for n, v in asked.items() if not same(v, known[n])})
            if not player.steps_left:
                raise ValueError("all its iterations are made; move Iterations up to go on")
            made = player.step.number if player.step else -1
            self.tiles.plan(kept_steps(player.settings), self._size, after=made)
            self._enable("playing")
            player.start()
        except ValueError as error:
            self._enable(player.status)
            self._complain(error)

    def pause(self) -> None:
        """Holds the run, or lets it go on."""
        if self.player is None:
            return
        if self.player.status == "paused":
            self.player.resume()
        elif self.player.playing:
            self.player.pause()
        else:
            self.go_on()

    def undo(self) -> None:
        """Takes the last change back that was made while it ran."""
        if self.player is None:
            return
        try:
            self.player.undo()
        except ValueError as error:
            return self._complain(error)
        self._taking_back = True
        if self.player.settings.mask != self._masked:
            self._lay_mask(self.player.settings)
        for name in STEERED:
            control, old = self.controls[name], getattr(self.player.settings, name)
            if not same(value(control), old):
                control.value = old
        self._taking_back = False
        if not self.player.playing and self.player.step:
            self._show(self.player.step)

    def report(self) -> None:
        """Writes the run's report into its folder, and offers a copy."""
        if self.player is None:
            return
        try:
            text = report(self.run).encode()
            pictures.write(file := self.run.folder / "report.html", text)
        except (ValueError, OSError) as error:
            return self._complain(error)
        link = f"data:text/html;base64,{base64.b64encode(text).decode()}"
        name = escape(f"{self.run.folder.name}.html", quote=True)
        self.reported.value = (
            f'<div class="note">Report: {escape(shortest_path(file))} ({len(text) / 1e6:.1f} MB). '
            f'<a download="{name}" href="{link}">Save a copy</a></div>'
        )

    def stop(self) -> None:
        if self.player is not None:
            self.player.stop()

    def wait(self) -> Run | None:
        """The run in hand once it has ended; what failed is raised here."""
        if self._failed:
            raise self._failed
        return None if self.player is None else self.player.wait()

    def _connect(self) -> None:
        self.run_button.on_click(lambda _: self.play())
        self.pause_button.on_click(lambda _: self.pause())
        self.stop_button.on_click(lambda _: self.stop())
        self.undo_button.on_click(lambda _: self.undo())
        self.report_button.on_click(lambda _: self.report())
        self.cut_button.on_click(lambda _: self._take_up())
        for picker in (self.content, self.style):
            picker.observe(lambda _: self._preview(), "value")
            picker.observe(self._foresee, "value")
        self.content.observe(lambda _: self._propose(), "value")
        self.brush.observe(self._remask, "mask")
        self.preset.observe(self._ask, "value")
        self.controls["encoder"].observe(self._offer_layers, "value")
        self.controls["encoder"].observe(self._foresee, "value")
        self._connect_controls()

    def _connect_controls(self) -> None:
        for name, control in self.controls.items():
            if name != "encoder":  # it outlives the others
                control.observe(partial(self._steer, name), "value")
                control.observe(self._foresee, "value")

    def _foresee(self, change: dict | None = None) -> None:
        """Says what the next run will cost; while one plays, its time left is enough."""
        if self.player is None or not self.player.playing:
            self.foreseen.follow(lambda: self.settings)

    def _steer(self, name: str, change: dict) -> None:
        """A moved control takes effect within a step; layers only if they are the playing encoder's."""
        self.problem.value = ""
        if self.player is None or name not in STEERED or self._taking_back:
            return
        if name == "original_colors" and not self.player.playing:
            return self._recolour(change["new"])
        if not self.player.playing:
            return
        if "layers" in name and self.controls["encoder"].value != self.player.settings.encoder:
            return
        try:
            self.player.steer(**{name: value(self.controls[name])})
        except ValueError as error:
            self._complain(error)

    def _propose(self) -> None:
        """Shows the content to the brush, and soon a face that is found in it."""
        if not (image := opened_or_none(self.content.value)):
            return
        self.brush.show(image)

        def look() -> None:
            found = faces.portrait(image)
            if found and not self.brush.mask:
                self.brush.ellipse = [*astuple(found)]

        threading.Thread(target=look, name="nsutils faces", daemon=True).start()

    def _kept_mask(self) -> str | None:
        """The file in which the painted mask is kept until a run takes it; None if nothing is marked."""
        if not (mask := self.brush.image):
            return None
        data = pictures.png(mask, {})
        file = self.folder / "uploads" / f"mask-{pictures.sha256(data)[:8]}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            pictures.write(file, data)
        return str(file)

    def _lay_mask(self, settings: Settings) -> None:
        """Puts the settings' mask on the brush."""
        self._masked = settings.mask
        self._taking_back = True
        if settings.mask:
            self.brush.take(opened_mask(settings.mask))
        else:
            self.brush.mask = b""
        self._taking_back = False

    def _remask(self, change: dict) -> None:
        """What is painted while a run plays takes effect within a step."""
        if self.player is None or self._taking_back:
            return
        try:
            self.player.steer(mask=self.brush.image)
            self._masked = self.player.settings.mask
        except (ValueError, OSError) as error:
            self._complain(error)

    def _recolour(self, amount: float) -> None:
        """Puts so much of the content's colours back into the finished picture."""
        try:
            self.player.recolour(amount)
        except ValueError as error:
            return self._complain(error)
        if self.player.step:
            self._show(self.player.step)
            self.tiles.fill("result", self._image(self.player.step))
            self._keep()

    def _image(self, step: Step) -> Image.Image:
        mask = self.brush.image if step.settings.mask_colors else None
        return colours.finished(pictures.to_image(step.image), self._content, step.settings, mask)

    def _show(self, step: Step) -> None:
        # Every scale at one size, so that the page stays where it is.
        self.live.value = pictures.jpeg(self._image(step).resize(self._size))

    def _ask(self, change: dict) -> None:
        """Makes the controls anew, with a preset's values; a slider's ends cannot be moved in the page."""
        made = Settings if change["new"] == OWN else partial(preset, change["new"])
        self.given = made(self.content.value, self.given.styles, **self._network)
        # A program's numbers of scales and the like follow from what is asked: they are not kept.
        self._made = made
        if (
            change["new"] in RECIPES and self.brush.ellipse
        ):  # a face was found: the recipe protects it
            self.brush.take(faces.mask_of([faces.Ellipse(*self.brush.ellipse)], self._size))
            self.brush.ellipse = []
        self._renew_controls()

    def _renew_controls(self) -> None:
        self.controls = controls(self.given) | {"encoder": self.controls["encoder"]}
        self.side.children = asked_for(self)
        self._connect_controls()
        self._foresee()

    def _offer_layers(self, change: dict) -> None:
        self.problem.value = ""
        known = ENCODERS[change["new"]]
        for name, layers in {"style_layers": (PIXELS, *known), "content_layers": known}.items():
            self.controls[name].offer(layers, self.controls[name].value)

    def _offer_cut_off(self) -> None:
        """A button for the last run, if its process was ended in the middle of it."""
        self._cut_off = None if self.player else cut_off(self.folder)
        self.cut_button.layout.display = "" if self._cut_off else "none"
        if run := self._cut_off:
            made = f"{len(run.metrics)} of {run.settings.steps} steps"
            self.cut_button.description = f"Go on with the run that was cut off ({made})"
            self.cut_button.tooltip = run.folder.name

    def _take_up(self) -> None:
        try:
            self.open(self._cut_off)
        except (ValueError, OSError) as error:
            return self._complain(error)
        self.cut_button.layout.display = "none"
        self.go_on()

    def _preview(self) -> None:
        """Shows the chosen pictures, as long as there is no run to show."""
        self.problem.value = ""
        if self.player is not None:
            return
        try:
            chosen = {"content": self.content.value, "style": self.style.value}
            images = {name: shown(path) for name, path in chosen.items()}
        except ValueError:
            return  # the picker says so
        self._lay(images, kept_steps(self.given))

    def _begin(self, settings: Settings) -> None:
        names = {"content": settings.content, "style": settings.styles[0].picture}
        self._lay({n: shown(path) for n, path in names.items()}, kept_steps(settings))
        self._live_at = self._slow_at = 0.0
        self.progress.max, self.progress.value, self.progress.bar_style = settings.steps, 0, ""
        self.said.value = f"Starting: {escape(size_in_words(settings))}"
        self.problem.value, self.reported.value, self.curves.value = "", "", NO_CURVES
        self.cut_button.layout.display = "none"
        self._enable("playing")

    def _lay(self, images: dict[str, Image.Image], steps: list[int]) -> None:
        self._size = pictures.fitted(images["content"].size, LIVE_EDGE)
        self._content = images["content"].resize(self._size)
        self.live.value = pictures.jpeg(images["content"].resize(self._size))
        self.tiles.plan(steps, self._size)
        for name, image in images.items():
            self.tiles.fill(name, image)

    def _follow(self, player: Player) -> None:
        """Shows where the player is. Called in its thread."""
        if player is not self.player:
            return
        now, step, ended = time.monotonic(), player.step, player.status in ENDED
        halted = player.status != "playing"
        if step and (halted or now - self._live_at > LIVE_SECONDS):
            self._live_at = now
            self._show(step)
            self.progress.value, self.said.value = step.number, pace(player)
        if step and player.settings.steps != self.progress.max:
            self.progress.max = player.settings.steps
            self.tiles.plan(kept_steps(player.settings), self._size, after=step.number - 1)
        if step and step.number in self.tiles.awaited:
            self.tiles.fill(step.number, self._image(step))
        if step and ended:
            self.tiles.fill("result", self._image(step))
            self.tiles.settle()
        if step and (halted or now - self._slow_at > SLOW_SECONDS):
            self._slow_at = now
            self.curves.value = figure_png(loss_curves(player.run))
            self._keep()
        if player.status == "failed":
            self.said.value, self.problem.value = "Failed", complaint(player.error)
        self._enable(player.status)

    def _enable(self, status: str) -> None:
        self.stop_button.disabled = ended = status in ENDED
        self.pause_button.disabled = self.undo_button.disabled = self.report_button.disabled = False
        words = "Go on" if ended else "Resume" if status == "paused" else "Pause"
        self.pause_button.description = words
        self.pause_button.icon = "pause" if words == "Pause" else "play"
        self.progress.bar_style = {"done": "success", "failed": "danger"}.get(status, "")

    def _complain(self, error: Exception) -> None:
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
        self._foresee()


def cut_off(folder: Path) -> Run | None:
    """The run in a folder that was written last, if its process is gone and it had steps to make."""
    files = sorted(folder.glob("*/meta.json"), key=lambda file: file.stat().st_mtime)
    try:
        last = Run(files[-1].parent) if files else None
        return last if last and last.status == "interrupted" and last.last else None
    except (ValueError, OSError):
        return None


def opened_or_none(path: str) -> Image.Image | None:
    """The picture in a file, if there is one: the picker says what is wrong."""
    try:
        return pictures.opened(path)
    except ValueError:
        return None


def shortest_path(file: Path) -> str:
    """The path from the working folder, if that is the shorter one."""
    return min(str(file), os.path.relpath(file), key=len)


def kept_steps(settings: Settings) -> list[int]:
    """The steps before the last that are kept, thinned out to what a grid can show."""
    steps = list(range(0, settings.steps, settings.interval))
    return steps[:: math.ceil(len(steps) / MOST_TILES)]


def asked_for(panel: Panel) -> list[widgets.Widget]:
    """The controls, from top to bottom."""
    c = panel.controls
    layers = widgets.VBox([c["style_layers"], c["content_layers"]])
    shapes = widgets.VBox([c[name] for name in SHAPES])
    return [
        *(heading("For the next run"), panel.content, panel.style, panel.preset),
        *(c["encoder"], c["size"]),
        *(heading("At any time, also while it runs"), c["steps"], c["style_weight"]),
        *(c["content_weight"], c["tv_weight"], c["original_colors"]),
        widgets.Accordion([shapes, layers], titles=("Faces and shapes", "Layers")),
    ]


def laid_out(panel: Panel) -> widgets.VBox:
    """Controls beside the picture, or above it where the window is narrow; the tiles below."""
    panel.side.children = asked_for(panel)
    main = [
        panel.cut_button,
        widgets.HBox(panel.buttons, layout={"flex_flow": "row wrap"}),
        panel.progress,
        panel.said,
        panel.foreseen,
        panel.problem,
        panel.reported,
        widgets.Tab(
            [panel.live, panel.curves, panel.brush], titles=("Picture", "Losses", "Protect")
        ),
    ]
    columns = widgets.Box([panel.side.add_class("controls"), widgets.VBox(main).add_class("views")])
    css = widgets.HTML(f"<style>{CSS.read_text()}</style>", layout={"display": "none"})
    parts = [css, columns.add_class("columns"), panel.tiles, Guard()]
    return widgets.VBox(parts).add_class("nsutils-panel")


def heading(words: str) -> widgets.HTML:
    return widgets.HTML(f'<div class="heading">{words}</div>')


def pace(player: Player) -> str:
    """Where the run is, in words: step, speed, time left."""
    height, width = player.step.image.shape[-2:]
    words = f"step {player.step.number} of {player.settings.steps}, {width} × {height} px"
    if player.status == "playing":
        return f"{words}, {player.speed:.1f} steps/s, {clock(player.seconds_left)} left"
    status = player.run.status if player.status == "ready" else player.status
    return f"{status.capitalize()}: {words}"


def recipe_line(player: Player) -> str:
    """What the run is called, where it stands, and the settings in force, in one line of HTML."""
    made = f"{player.step.number} of {player.settings.steps} steps"
    recipe = "; ".join(f"{n} = {plain(getattr(player.settings, n))}" for n in RECIPE)
    name = escape(player.run.folder.name)
    return f"<p>Run <b>{name}</b>, {player.status}, {made}: {escape(recipe)}</p>"
