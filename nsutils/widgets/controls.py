"""A control for each setting that the panel offers."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from nsutils import pictures, vgg
from nsutils.settings import ENCODERS, NOTES, PIXELS, Settings
from nsutils.sources import SIDES
from nsutils.widgets.layers import Layers
from nsutils.widgets.weight import Weight

NAMED = {"description_width": "112px"}
# What may be changed while a run plays.
STEERED = (
    *("style_weight", "content_weight", "tv_weight", "original_colors", "steps"),
    *("layout_weight", "laplacian_weight", "similarity_weight", "places_per_channel", "tv_form"),
    *("sparing", "freeing", "protection", "mask_colors"),
    *("style_layers", "layer_weights", "content_layers"),
)
# Of each loss the words for its weight, and the powers of ten between which that moves.
TERMS = {
    "style": ("Style weight", -2, 2),
    "content": ("Content weight", -4, 1),
    "tv": ("Total variation", -5, 0),
    "layout": ("Layout", -3, 1),
    "laplacian": ("Contours", -3, 1),
    "similarity": ("Likeness", -3, 1),
}
# What the controls are called.
NAMES = {f"{term}_weight": words for term, (words, *_) in TERMS.items()} | {
    **{"size": "Size", "steps": "Iterations", "original_colors": "Original colours"},
    **{"places_per_channel": "Own light", "sparing": "Spare shapes", "freeing": "Free skies"},
    **{"tv_form": "Smooth", "protection": "Protection", "mask_colors": "Own colours"},
    **{"style_layers": "Style layers", "content_layers": "Content layers", "encoder": "Encoder"},
}
# What will be seen when a slider is moved.
TIPS = {
    "size": "long edge of the picture in pixels; twice as long takes four times as long",
    "steps": "most of the picture is there after a third of them; more are finer, and slower",
    "style_weight": "right: more of the style's strokes, colours and swirls; left: more of your picture",
    "content_weight": "right: your picture's shapes hold more firmly; left: the style may bend them",
    "tv_weight": "right: smoother, without grain; left: crisp, but noise may stay",
    "original_colors": "0: the style's colours; 1: those of your picture, in the style's strokes",
    "layout_weight": "right: each thing keeps one colour; left: the style's colours may lie across things",
    "laplacian_weight": "right: edges stay where they are, as those of eyes and mouths; left: they may move",
    "similarity_weight": "right: what looks alike in your picture still does; left: each part goes its own way",
    "places_per_channel": "right: faces and things keep their own light; left: the style's suns and skies come more",
    "sparing": "right: faces and houses stay, the style has the skies; left: the style is everywhere alike",
    "freeing": "right: strokes go their own way in a sky, and bolder under it; left: they keep to your picture",
    "tv_form": "total variation smooths everywhere, or less where your picture has an edge",
    "protection": "of what is marked under Protect: at 0 it is painted like the rest, at 1 hardly at all",
    "mask_colors": "of what is marked under Protect: 0 the style's colours, 1 its own, as of skin",
    "encoder": NOTES["encoder"],
}


def controls(settings: Settings) -> dict[str, widgets.Widget]:
    """A control for each setting that the panel offers beside the encoder, by the setting's name."""
    known = ENCODERS[settings.encoder]

    def weight(name: str, low: int, high: int) -> Weight:
        return Weight(getattr(settings, name), low, high, **named(name))

    def count(name: str, low: int, high: int, step: int) -> widgets.IntSlider:
        asked = getattr(settings, name)
        asked = asked or SIDES[settings.side](pictures.shape(settings.content))  # its own size
        low = min(asked, low + (asked - low) % step)  # the page rounds to a grid from there
        return widgets.IntSlider(asked, min=low, max=max(high, asked), step=step, **named(name))

    def share(name: str, most: float = 1.0, step: float = 0.05) -> widgets.FloatSlider:
        asked, how = getattr(settings, name), {"continuous_update": False, **named(name)}
        return widgets.FloatSlider(asked, max=max(most, asked), step=step, **how)

    return {
        "size": count("size", 32, 2048, 32),
        "steps": count("steps", 10, 1000, 10),
        **{f"{term}_weight": weight(f"{term}_weight", *ends) for term, (_, *ends) in TERMS.items()},
        "original_colors": share("original_colors"),
        "places_per_channel": share("places_per_channel", 8.0, 0.5),
        "sparing": share("sparing"),
        "freeing": share("freeing"),
        "tv_form": widgets.Dropdown(
            options={
                "everywhere": "squares" if settings.tv_form == "edges" else settings.tv_form,
                "between edges": "edges",
            },
            value=settings.tv_form,
            **named("tv_form"),
        ),
        "protection": share("protection"),
        "mask_colors": share("mask_colors"),
        "style_layers": Layers(
            NAMES["style_layers"],
            NOTES["style_layers"],
            (PIXELS, *known),
            settings.style_layers,
            settings.layer_weights,
        ),
        "content_layers": Layers(
            NAMES["content_layers"], NOTES["content_layers"], known, settings.content_layers
        ),
    }


def encoders(settings: Settings) -> widgets.Dropdown:
    """Those for which no file is needed, if none is given."""
    offered = ("slim", *vgg.CONVOLUTIONS, settings.encoder)
    options = [name for name in ENCODERS if settings.weights or name in offered]
    return widgets.Dropdown(options=options, value=settings.encoder, **named("encoder"))


def named(name: str) -> dict[str, Any]:
    """How the control of a setting is called and laid out."""
    look = {"style": NAMED, "layout": {"width": "auto"}}
    return {"description": NAMES[name], "tooltip": f"{name}: {TIPS[name]}", **look}


def value(controls: dict[str, widgets.Widget], name: str) -> Any:
    """What the controls say of a setting, in the terms of `Settings`."""
    if name == "layer_weights":
        return dict(controls["style_layers"].weights)
    control = controls[name]
    return control.weight if isinstance(control, Weight) else control.value


def put(controls: dict[str, widgets.Widget], name: str, asked: Any) -> None:
    """Makes the controls say it."""
    if same(value(controls, name), asked):
        return
    if name == "layer_weights":
        controls["style_layers"].weights = dict(asked)
    elif isinstance(control := controls[name], Weight):
        control.put(asked)
    elif name == "tv_form" and asked != "edges":
        control.value = dict(control.options)["everywhere"]
    else:
        control.value = asked


def button(word: str, tip: str, icon: str = "") -> widgets.Button:
    return widgets.Button(description=word, tooltip=tip, icon=icon, layout={"width": "auto"})


@contextmanager
def renewed(box: widgets.Box) -> Iterator[None]:
    """Closes what is no longer in the box then: the kernel and the page would keep it."""
    before = parts(box)
    yield
    for part in before - parts(box):
        part.close()


def parts(widget: widgets.Widget) -> set[widgets.Widget]:
    """A widget, all that is inside it, and how they look."""
    inside = map(parts, getattr(widget, "children", ()))
    looks = (getattr(widget, name, None) for name in ("layout", "style"))
    return {widget}.union(*inside, (look for look in looks if isinstance(look, widgets.Widget)))


def same(one: Any, other: Any) -> bool:
    """Whether a control says what is asked; a slider's numbers are rounded."""
    if isinstance(one, float) and other is not None:
        return math.isclose(one, other, rel_tol=1e-6)
    return one == other
