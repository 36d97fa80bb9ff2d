"""The panel: pick pictures, move sliders, press Run, and watch the picture arrive."""

import base64
import math
import time
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path

import ipywidgets as widgets
import traitlets
from IPython.display import display
from PIL import Image

from nsutils import pictures
from nsutils.figures import contact_sheet, figure_png, loss_curves
from nsutils.player import Player, clock
from nsutils.report import plain
from nsutils.run import Run, new_folder
from nsutils.samples import runs_folder, sample, samples
from nsutils.settings import ENCODERS, NOTES, PIXELS, Settings, Style
from nsutils.widgets.guard import Guard

LIVE_SECONDS, CURVES_SECONDS = (
    0.25,
    2.0,
)  # at least so long between two pictures, two drawings of the curves
LIVE_EDGE, TILE_EDGE = 640, 240  # pixels
MOST_TILES = 10
FULL = widgets.Layout(width="100%")
NAMED = {"description_width": "104px"}
CSS = Path(__file__).parent / "widgets" / "panel.css"


class Panel:
    """Sliders and buttons over a player, with a live picture and a grid of the kept steps.

    `settings` is where the controls begin, by default two sample pictures and the default recipe; each Run
    makes a new folder in `folder`, by default in data/runs. Shown as a cell's last line, it returns at once.
    `play()` is the Run button, `wait()` blocks until the end, `run` is the run in hand, if any.
    """

    def __init__(self, settings: Settings | None = None, folder: str | Path | None = None):
        self.folder = Path(folder) if folder else runs_folder()
        self.given = settings or Settings(sample("waterside"), (Style(sample("strokes")),))
        self.player: Player | None = None
        self.content = Picker(
            "Content", samples("content"), self.given.content, self.folder / "uploads"
        )
        self.style = Picker(
            "Style", samples("style"), self.given.styles[0].picture, self.folder / "uploads"
        )
        self.controls = controls(self.given)
        self.run_button, self.pause_button, self.stop_button = buttons()
        self.progress = widgets.IntProgress(layout=FULL)
        self.said = widgets.HTML("Ready.").add_class("said")
        self.live = widgets.Image(
            format="jpeg", layout=widgets.Layout(width="100%", height="auto", object_fit="contain")
        )
        self.curves = widgets.Image(
            format="png", layout=widgets.Layout(width="100%", height="auto", object_fit="contain")
        )
        self.tiles = Tiles()
        self.live.add_class("live")
        self.box = laid_out(self)
        self._static: list = []
        self._live_at = self._curves_at = 0.0
        self._connect()
        self._preview()

    @property
    def run(self) -> Run | None:
        return self.player.run if self.player else None

    @property
    def settings(self) -> Settings:
        """What the controls say; ValueError if that cannot be."""
        first, *others = self.given.styles
        styles = (replace(first, picture=self.style.value), *others)
        return replace(
            self.given,
            content=self.content.value,
            styles=styles,
            **{name: c.value for name, c in self.controls.items()},
        )

    def play(self) -> None:
        """Ends the run in hand and begins a new one with what the controls say."""
        if self.player:
            self.player.close()
        try:
            settings = self.settings
            run = Run.create(new_folder(self.folder, settings), settings)
        except ValueError as error:
            return self._say(str(error), bad=True)
        self._live_at = self._curves_at = 0.0
        self.tiles.lay(kept_steps(settings))
        self._preview()
        self.player = Player(run)
        self.player.listeners.append(self._follow)
        self.player.start()
        self._enable("playing")

    def pause(self) -> None:
        """Holds the run, or lets it go on."""
        if self.player and self.player.status == "paused":
            self.player.resume()
        elif self.player:
            self.player.pause()

    def stop(self) -> None:
        if self.player:
            self.player.stop()

    def wait(self) -> Run | None:
        """Blocks until the run in hand has ended; what failed is raised here."""
        return self.player.wait() if self.player else None

    def _connect(self) -> None:
        self.run_button.on_click(lambda _: self.play())
        self.pause_button.on_click(lambda _: self.pause())
        self.stop_button.on_click(lambda _: self.stop())
        for picker in (self.content, self.style):
            picker.observe(lambda _: self._preview(), "value")
        for name, control in self.controls.items():
            control.observe(partial(self._steer, name), "value")
        self.controls["encoder"].observe(self._offer_layers, "value")

    def _steer(self, name: str, change: dict) -> None:
        """A moved control takes effect within a step; what belongs to a run's start waits for the next Run."""
        if self.player and self.player.playing and name in LIVE:
            try:
                self.player.steer(**{name: change["new"]})
            except ValueError as error:
                self._say(str(error), bad=True)

    def _offer_layers(self, change: dict) -> None:
        known = ENCODERS[change["new"]]
        for name, options in {"style_layers": (PIXELS, *known), "content_layers": known}.items():
            control = self.controls[name]
            chosen = [layer for layer in control.value if layer in options]
            control.options = options
            control.value = chosen

    def _preview(self) -> None:
        """Shows the chosen pictures in the first two tiles; says so if one cannot be read."""
        for name, picker in {"content": self.content, "style": self.style}.items():
            try:
                self.tiles.fill(name, pictures.opened(picker.value))
            except ValueError as error:
                return self._say(str(error), bad=True)
        if not (self.player and self.player.playing):
            self._say("Ready.")

    def _follow(self, player: Player) -> None:
        """Shows where the player is. Called in its thread, so it only sets widgets' values."""
        if player is not self.player:
            return
        step, moment, ended = (
            player.step,
            time.monotonic(),
            player.status in ("stopped", "done", "failed"),
        )
        if step and (ended or moment - self._live_at > LIVE_SECONDS):
            self._live_at = moment
            self.live.value = pictures.jpeg(
                pictures.thumbnail(pictures.to_image(step.image), LIVE_EDGE)
            )
            self.progress.max, self.progress.value = player.settings.steps, step.number
            self._say(pace(player))
        if step and (ended or moment - self._curves_at > CURVES_SECONDS):
            self._curves_at = moment
            self.curves.value = figure_png(loss_curves(player.run))
        if step and self.tiles.awaits(step.number):
            self.tiles.fill(caption(step.number), pictures.to_image(step.image))
            self._keep()
        if step and ended:
            self.tiles.fill("result", pictures.to_image(step.image))
            self._keep()
        if player.status == "failed":
            self._say(player.run.meta["error"], bad=True)
        self._enable(player.status)

    def _enable(self, status: str) -> None:
        self.pause_button.disabled = self.stop_button.disabled = status not in (
            "ready",
            "playing",
            "paused",
        )
        self.pause_button.description, self.pause_button.icon = (
            ("Resume", "play") if status == "paused" else ("Pause", "pause")
        )

    def _say(self, words: str, bad: bool = False) -> None:
        self.said.value = (
            f'<span class="bad" role="alert">{escape(words)}</span>'
            if bad
            else f"<span>{escape(words)}</span>"
        )

    def _keep(self) -> None:
        """Renews the static pictures under the widgets, which stay in the saved notebook."""
        if self._static and self.run and self.run.images:
            sheet, table = self._static
            sheet.update(
                {
                    "image/jpeg": base64.b64encode(pictures.jpeg(contact_sheet(self.run))).decode(),
                    "text/plain": self.run.folder.name,
                },
                raw=True,
            )
            table.update(
                {"text/html": recipe_line(self.run), "text/plain": self.run.folder.name}, raw=True
            )

    def _ipython_display_(self) -> None:
        view = self.box._repr_mimebundle_()
        display(
            view | {"text/plain": "Sliders and a live picture stand here when the notebook runs."},
            raw=True,
        )
        self._static = [display({"text/plain": ""}, raw=True, display_id=True) for _ in range(2)]
        self._keep()


class Picker(widgets.VBox):
    """A picture: one of a list, or any path, or an upload. `value` is its path."""

    value = traitlets.Unicode()

    def __init__(self, name: str, known: dict[str, Path], chosen: str, uploads: Path):
        self.uploads, listed = uploads, {stem: str(path) for stem, path in known.items()}
        if chosen not in listed.values():
            listed[Path(chosen).name] = chosen
        self.list = widgets.Dropdown(
            options=listed, value=chosen, description=name, style=NAMED, layout=FULL
        )
        self.list.tooltip = f"{name} picture: one of the samples, or what you named or sent below"
        self.path = widgets.Text(
            placeholder="or the path of a picture, then Enter",
            continuous_update=False,
            style=NAMED,
            description=" ",
        )
        self.path.layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
        self.upload = widgets.FileUpload(
            accept="image/*",
            description="Upload",
            tooltip=f"a picture from your own machine as {name.lower()}",
        )
        self.upload.layout = widgets.Layout(width="90px", flex="0 0 auto")
        super().__init__(
            [self.list, widgets.HBox([self.path, self.upload], layout=FULL)], value=chosen
        )
        self.list.observe(lambda change: self.set_trait("value", change["new"]), "value")
        self.path.observe(lambda change: self.offer(change["new"].strip()), "value")
        self.upload.observe(self._arrived, "value")

    def offer(self, path: str) -> None:
        """Adds a path to the list and chooses it."""
        if path:
            self.list.options = dict(self.list.options) | {Path(path).name: path}
            self.list.value = path

    def _arrived(self, change: dict) -> None:
        for file in change["new"]:
            self.uploads.mkdir(parents=True, exist_ok=True)
            pictures.write(self.uploads / Path(file["name"]).name, bytes(file["content"]))
            self.offer(str(self.uploads / Path(file["name"]).name))


class Tiles(widgets.GridBox):
    """Captioned pictures in a grid, made once; only their contents change."""

    def __init__(self):
        columns = f"repeat(auto-fill, minmax(min({TILE_EDGE * 5 // 8}px, 100%), 1fr))"
        super().__init__(
            layout=widgets.Layout(
                grid_template_columns=columns, grid_gap="8px", align_items="flex-end"
            )
        )
        self.lay([])

    def lay(self, steps: list[int]) -> None:
        """Empty tiles for these steps, between content and style, which stay, and the result."""
        names = ["content", "style", *(caption(step) for step in steps), "result"]
        self.images = {
            name: widgets.Image(
                value=BLANK, format="jpeg", layout=widgets.Layout(width="100%", height="auto")
            )
            for name in names
        }
        self.children = [
            widgets.VBox(
                [image, widgets.HTML(f'<div class="caption">{name}</div>')],
                layout=widgets.Layout(min_width="0"),
            )
            for name, image in self.images.items()
        ]
        for tile in self.children:
            tile.add_class("tile")

    def awaits(self, step: int) -> bool:
        return caption(step) in self.images

    def fill(self, name: str, image: Image.Image) -> None:
        self.images[name].value = pictures.jpeg(pictures.thumbnail(image, 2 * TILE_EDGE))


BLANK = pictures.jpeg(Image.new("RGB", (4, 3), "#dddddd"))
LIVE = ("style_weight", "content_weight", "tv_weight", "steps", "style_layers", "content_layers")


def caption(step: int) -> str:
    return f"step {step}" if step else "start"


def kept_steps(settings: Settings) -> list[int]:
    """The steps before the last that are kept, thinned out to what a grid can show."""
    steps = list(range(0, settings.steps, settings.interval))
    return steps[:: math.ceil(len(steps) / MOST_TILES)]


def controls(settings: Settings) -> dict[str, widgets.Widget]:
    """A control for each setting that the panel offers, by the setting's name."""
    known = ENCODERS[settings.encoder]
    made = {
        "style_weight": logarithmic("Style weight", settings.style_weight, -2, 2),
        "content_weight": logarithmic("Content weight", settings.content_weight, -4, 1),
        "tv_weight": logarithmic("Total variation", settings.tv_weight, -6, 0),
        "steps": widgets.IntSlider(
            settings.steps, 10, max(1000, settings.steps), 10, description="Iterations"
        ),
        "size": widgets.IntSlider(
            settings.size, 64, max(1024, settings.size), 32, description="Size"
        ),
        "style_layers": widgets.SelectMultiple(
            options=(PIXELS, *known),
            value=settings.style_layers,
            description="Style layers",
            rows=6,
        ),
        "content_layers": widgets.SelectMultiple(
            options=known, value=settings.content_layers, description="Content layers", rows=4
        ),
        "encoder": widgets.Dropdown(
            options=list(ENCODERS), value=settings.encoder, description="Encoder"
        ),
    }
    for name, control in made.items():
        control.tooltip = f"{name}: {NOTES[name]}" + (", in pixels" if name == "size" else "")
        control.style, control.layout = NAMED, FULL
    return made


def logarithmic(name: str, value: float, low: int, high: int) -> widgets.FloatLogSlider:
    """A slider over powers of ten, widened to hold `value`; 0 becomes its lower end, which is as good as nothing."""
    if value:
        low, high = min(low, math.floor(math.log10(value))), max(high, math.ceil(math.log10(value)))
    return widgets.FloatLogSlider(
        value or 10.0**low,
        base=10,
        min=low,
        max=high,
        step=0.05,
        description=name,
        readout_format=".2g",
    )


def buttons() -> tuple[widgets.Button, widgets.Button, widgets.Button]:
    layout = widgets.Layout(flex="1 1 0", width="auto", min_width="72px")
    run = widgets.Button(
        description="Run",
        icon="play",
        button_style="primary",
        tooltip="begin a new run",
        layout=layout,
    )
    pause = widgets.Button(
        description="Pause",
        icon="pause",
        tooltip="hold the run, or let it go on",
        disabled=True,
        layout=layout,
    )
    stop = widgets.Button(
        description="Stop",
        icon="stop",
        tooltip="end the run; what there is is kept",
        disabled=True,
        layout=layout,
    )
    return run, pause, stop


def laid_out(panel: Panel) -> widgets.Box:
    """Controls beside pictures, or above them where the window is narrow."""
    c = panel.controls
    more = widgets.Accordion(
        [widgets.VBox([c["style_layers"], c["content_layers"], c["encoder"]])],
        titles=("Layers and encoder",),
    )
    left = [
        panel.content,
        panel.style,
        *(c[name] for name in ("style_weight", "content_weight", "tv_weight", "steps", "size")),
        more,
        widgets.HBox([panel.run_button, panel.pause_button, panel.stop_button], layout=FULL),
        panel.progress,
        panel.said,
    ]
    side = widgets.VBox(left, layout=widgets.Layout(flex="1 1 300px", min_width="0"))
    views = widgets.Tab([panel.live, panel.curves], titles=("Picture", "Losses"))
    main = widgets.VBox(
        [views, panel.tiles], layout=widgets.Layout(flex="2 1 340px", min_width="0")
    )
    row = widgets.Box(
        [side, main],
        layout=widgets.Layout(
            flex_flow="row wrap", gap="16px", align_items="flex-start", width="100%"
        ),
    )
    return widgets.VBox(
        [widgets.HTML(f"<style>{CSS.read_text()}</style>"), row, Guard()], layout=FULL
    ).add_class("nsutils-panel")


def pace(player: Player) -> str:
    """Where the run is, in words: step, speed, time left."""
    step = player.step
    height, width = step.image.shape[-2:]
    words = f"step {step.number} of {player.settings.steps}, {width} x {height} px"
    if player.status == "playing":
        return f"{words}, {player.speed:.1f} steps/s, {clock(player.seconds_left)} left"
    return f"{player.status.capitalize()}: {words}"


def recipe_line(run: Run) -> str:
    """The settings that make the picture, in one line of HTML."""
    names = (
        "encoder",
        "size",
        "steps",
        "style_weight",
        "content_weight",
        "tv_weight",
        "style_layers",
        "content_layers",
    )
    now = run.last.settings if run.last else run.settings
    return f"<p>{escape('; '.join(f'{name} = {plain(getattr(now, name))}' for name in names))}</p>"
