"""What is asked for: pictures, a preset, and a control for each setting."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from nsutils import pictures
from nsutils.presets import PRESETS, RECIPES, preset
from nsutils.samples import samples
from nsutils.settings import ENCODERS, PIXELS, Settings, Style, changed
from nsutils.widgets.controls import (
    NAMED,
    STEERED,
    TERMS,
    controls,
    encoders,
    put,
    renewed,
    same,
    value,
)
from nsutils.widgets.picker import Picker
from nsutils.widgets.share import Share, weight_for
from nsutils.widgets.styles import Styles

OWN, THIS = "nsutils", "this run"  # among the presets: the kit's, and those of the run in hand


class Asked(widgets.VBox):
    """`settings(mask)` are what the controls say. `moved(name)` is called when one has been moved, with the setting's
    name, or with content, styles, preset. `marked(place)` hands over a mask that was painted, for the style there.
    """

    def __init__(
        self,
        given: Settings,
        uploads: Path,
        moved: Callable[[str], None],
        marked: Callable[[int], str | None],
    ):
        self.given, self.moved = given, moved
        self._made, self._weights = partial(changed, given), given.weights
        self.content = Picker("Content", samples("content"), given.content, uploads)
        self.styles = Styles(samples("style"), given.styles, uploads, marked)
        self.shares = {name: Share(name=f"{words}, share") for name, (words, *_) in TERMS.items()}
        self._weighed: tuple[dict[str, float], Settings] | None = None
        self.preset = widgets.Dropdown(
            options=(OWN, *RECIPES, *PRESETS, THIS),
            description="Settings of",
            tooltip="every setting as this kit or a published program has it, for the next run; pictures and "
            "encoder stay",
            style=NAMED,
            layout={"width": "auto", "flex": "1 1 0"},
        )
        self.again = widgets.Button(
            icon="refresh",
            tooltip="the settings that are chosen here again, as if nothing had been moved",
            layout={"width": "36px", "flex": "0 0 auto"},
        )
        self.controls = {"encoder": encoders(given), **controls(given)}
        super().__init__()
        self.add_class("controls")
        self._lay_out()
        for name, part in {"content": self.content, "styles": self.styles}.items():
            part.observe(lambda _, name=name: moved(name), "value")
        self.content.path.observe(lambda _: moved("path"), "value")  # a complaint may be remedied
        self.preset.observe(lambda _: self._ask(), "value")
        self.again.on_click(lambda _: self._ask())
        self.controls["encoder"].observe(lambda _: self._offer_layers(), "value")
        for name, bar in self.shares.items():
            bar.observe(partial(self._balance, name), "asked")

    @property
    def encoder(self) -> str:
        return self.controls["encoder"].value

    def settings(self, mask: str | None) -> Settings:
        """What the controls say; ValueError if that cannot be."""
        for picker in (self.content, *(row.picker for row in self.styles.rows)):
            if picker.path.value:
                raise ValueError(
                    f"no picture {picker.path.value!r}: mend the path, or empty its box"
                )
        names = ("size", *STEERED)
        pictured = {"content": self.content.value, "styles": self.styles.value, "mask": mask}
        asked = {name: value(self.controls, name) for name in names}
        return self._made(**pictured, **asked, **self._network)

    def steered(self, begun: Settings, chosen: Sequence[str]) -> dict[str, Any]:
        """What the controls say otherwise than a run's settings, as far as it may change.

        Of its layers only if the encoder is its own, of its styles if their pictures are those `chosen` for it.
        """
        own = self.encoder == begun.encoder
        names = [name for name in STEERED if own or "layer" not in name]
        asked = {name: value(self.controls, name) for name in names}
        styles = self.styles.value[: len(chosen)]  # more may have been added for the next run
        if [style.picture for style in styles] == [*chosen]:
            pairs = zip(begun.styles, styles, strict=True)
            asked["styles"] = tuple(steered_style(*pair) for pair in pairs)
        return {name: v for name, v in asked.items() if not same(v, getattr(begun, name))}

    def take(self, settings: Settings) -> None:
        """Makes the controls anew for these settings, and chooses their pictures."""
        self.content.choose(settings.content)
        self.styles.take(settings.styles)
        self.renew(settings, [style.picture for style in settings.styles])

    def renew(self, settings: Settings, chosen: Sequence[str]) -> None:
        """Makes the controls anew for a run's settings, for whose styles these pictures were chosen."""
        self.given, self._weights = settings, settings.weights
        self._made = partial(changed, settings)
        encoder = self.controls["encoder"]
        encoder.options = tuple(dict.fromkeys((*encoder.options, settings.encoder)))
        encoder.value = settings.encoder
        self._renew()
        self.put(settings, chosen)

    def put(self, settings: Settings, chosen: Sequence[str]) -> None:
        """Moves the controls to what a run's settings now are."""
        self.styles.put(settings.styles, chosen)
        for name in STEERED:
            put(self.controls, name, getattr(settings, name))

    def weigh(self, shares: dict[str, float], under: Settings | None = None) -> None:
        """Shows the shares of the gradient that were found under some settings."""
        self._weighed = (shares, under) if shares else None
        self._show_shares()
        layers = {n.removeprefix("style/"): s for n, s in shares.items() if n.startswith("style/")}
        self.controls["style_layers"].shares = {n: round(s, 3) for n, s in layers.items()}

    @property
    def _network(self) -> dict[str, str | None]:
        """The encoder, and the given weights if it is not the one that has its own."""
        return {
            "encoder": self.encoder,
            "weights": None if self.encoder == "slim" else self._weights,
        }

    def _show_shares(self) -> None:
        """The shares that were found, as the weights that have been moved since make them."""
        if not self._weighed:
            for bar in self.shares.values():
                bar.share = -1.0
            return
        found, under = self._weighed
        pulls = {}
        for name in TERMS:
            before, now = getattr(under, f"{name}_weight"), self.controls[f"{name}_weight"].weight
            pulls[name] = found.get(name, 0.0) * (now / before if before else 1.0)
        whole = sum(pulls.values()) or 1.0
        for name, bar in self.shares.items():
            bar.share = round(pulls[name] / whole, 3)

    def _balance(self, name: str, change: dict) -> None:
        """Moves a weight so that its loss has the share that is asked for."""
        bar, control = self.shares[name], self.controls[f"{name}_weight"]
        if change["new"] >= 0:
            if 0 < bar.share < 1:
                control.put_towards(weight_for(change["new"], control.weight, bar.share))
            bar.asked = -1.0

    def _heard(self, name: str, change: dict) -> None:
        """A control was moved, and not only rounded by the page."""
        if not same(change["new"], change["old"]):
            self.moved(name)

    def _ask(self) -> None:
        """Makes the controls anew, with a preset's values; a slider's ends cannot be moved in the page."""
        if (name := self.preset.value) == THIS:
            return self.moved("preset")
        made = Settings if name == OWN else partial(preset, name)
        styles = [replace(style, scale=1.0) for style in self.styles.value]
        self.given = made(self.content.value, styles, **self._network)
        # A program's numbers of scales and the like follow from what is asked: they are not kept.
        self._made = made
        self.styles.take(self.given.styles)
        self._renew()
        self.moved("preset")

    def _renew(self) -> None:
        with renewed(self):
            self.controls |= controls(self.given)
            self._lay_out()

    def _offer_layers(self) -> None:
        known = ENCODERS[self.encoder]
        for name, layers in {"style_layers": (PIXELS, *known), "content_layers": known}.items():
            self.controls[name].offer(layers, self.controls[name].value)
        self.moved("encoder")

    def _lay_out(self) -> None:
        c, s = self.controls, self.shares
        layers = widgets.VBox([c["style_layers"], c["content_layers"]])
        terms = ("layout", "laplacian", "similarity")
        shapes = [part for term in terms for part in (c[f"{term}_weight"], s[term])]
        more = ("sparing", "freeing", "places_per_channel", "tv_form", "protection", "mask_colors")
        faces = widgets.VBox([*shapes, *(c[name] for name in more)])
        self.children = [
            *(heading("For the next run"), self.content, self.styles),
            *(widgets.HBox([self.preset, self.again]), c["encoder"], c["size"]),
            *(heading("At any time, also while it runs"), c["steps"]),
            *(c["style_weight"], s["style"], c["content_weight"], s["content"]),
            *(c["tv_weight"], s["tv"], c["original_colors"]),
            widgets.Accordion([faces, layers], titles=("Faces and shapes", "Layers")),
        ]
        for name in TERMS:
            c[f"{name}_weight"].observe(lambda _: self._show_shares(), "value")
        for name, control in c.items():
            if name != "encoder":  # it outlives the others
                control.observe(partial(self._heard, name), "value")
        c["style_layers"].observe(lambda _: self.moved("layer_weights"), "weights")


def steered_style(known: Style, asked: Style) -> Style:
    """A run's style as the controls say it; a mask that is the same picture is the run's own copy."""
    where = known.where if alike(known.where, asked.where) else asked.where
    numbers = {
        n: getattr(known if same(getattr(asked, n), getattr(known, n)) else asked, n)
        for n in ("weight", "scale")
    }
    return replace(known, where=where, **numbers)


def alike(one: str | None, other: str | None) -> bool:
    """Whether two masks' files are the same picture, or neither is there."""
    return len({file and pictures.hash_of(file) for file in (one, other)}) == 1


def heading(words: str) -> widgets.HTML:
    return widgets.HTML(f'<div class="heading">{words}</div>')
