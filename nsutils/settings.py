"""What is asked for: `Settings` and `Style`, checked when they are made. No torch here, so reading them is quick."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from html import escape
from itertools import product
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

PIXELS = "pixels"  # the picture's own colours, as a style layer before the first


def _layers(*depths: int) -> tuple[str, ...]:
    return tuple(
        f"relu{block}_{n}" for block, depth in enumerate(depths, 1) for n in range(1, depth + 1)
    )


VGG = "vgg"  # a network that its weight file tells
VGG19, VGG16 = _layers(2, 2, 4, 4, 4), _layers(2, 2, 3, 3, 3)
ENCODERS = {
    "slim": _layers(2, 2, 4, 4, 1),
    "vgg19": VGG19,
    "vgg19-caffe": VGG19,
    "vgg16": VGG16,
    "vgg16-caffe": VGG16,
    VGG: VGG19,
}
# How an encoder is made, and all that is made once for a run: its pictures and its encoder.
HOW = (
    *("weights", "precision", "pooling", "pooling_gain", "ceil_mode", "padding"),
    *("pixel_range", "feature_scale"),
)
FIXED = {"content", "init", "noise", "noise_scale", "encoder", *HOW}
STARTS = ("content", "noise", "style", "grey")
CHOICES = {
    "side": ("long", "short", "width"),
    "enlarge": ("nothing", "content", "everything"),
    "rounding": ("nearest", "down", "factor-down"),
    "resampling": ("bicubic", "bilinear", "area"),
    "color_method": ("luminance", "cholesky", "pca", "symmetric"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
    "pooling": ("average", "max", "l2"),
    "padding": ("reflect", "replicate", "zeros", "replicate-first"),
    "style_statistic": ("wasserstein", "moments", "gram", "sliced", "wasserstein-plain"),
    "gram_divisor": ("pixels", "elements"),
    "reduction": ("mean", "sum"),
    "blend": ("targets", "losses"),
    "tv_form": ("squares", "half-squares", "absolute", "nine-point", "edges"),
    "optimizer": ("lbfgs", "adam"),
    "counting": ("moves", "evaluations"),
    "returned": ("last", "best", "average"),
    "noise": ("normal", "uniform", "style", "mean"),
}
# Each block's first, as Gatys et al. 2015 have it; of the blocks that know strokes the second as well.
STYLE_LAYERS = (
    *(PIXELS, "relu1_1", "relu1_2", "relu2_1", "relu2_2"),
    *("relu3_1", "relu4_1", "relu5_1"),
)
STEPS, COARSE = 110, (40, 25, 20)  # iterations; of them at each scale before the last
# On by default, but neither in runs that are older nor in other programs.
NEWER = dict(
    preconditioned=False, places_per_channel=0.0, layout_weight=0.0, sparing=0.0, freeing=0.0
)
LEAST = dict(size=32, steps=1, smallest=32, octaves=1, lbfgs_history=1, seed=0, every=1)
MOST = dict(size=2**16, steps=10**6, octaves=16, lbfgs_history=10_000, pixel_range=2**16)
TINY, HUGE = 1e-38, 1e38  # float32 has few numbers beyond


@dataclass(frozen=True)
class Style:
    """A style picture, its share among the styles of a run, its size beside the picture that is painted, its place.

    Shares are divided by their sum. A `scale` of 0.5 makes strokes half as large; no style is enlarged. `where` is a
    grey picture of any size, white where the style is to act; by default everywhere.
    """

    picture: str
    weight: float = 1.0
    scale: float = 1.0
    where: str | None = None

    def __post_init__(self):
        _set(self, "picture", _text("style picture", self.picture))
        _set(self, "weight", _number("weight of a style", self.weight))
        _set(self, "scale", _number("scale of a style", self.scale))
        if not self.scale:
            raise ValueError("scale of a style is 0; give a number above it, as 0.5")
        if self.where is not None:
            _set(self, "where", _text("where of a style", self.where))


@dataclass(frozen=True)
class Settings:
    """A recipe for one picture. Each field's note in `NOTES` is what the command line, and in part the panel, says.

    With every loss relative to its target (see `nsutils.objective`), weights keep their meaning over sizes,
    layers and encoders: `style_weight=1` is a sensible start everywhere. The conventions by which published
    programs differ are fields as well, and `nsutils.presets` has their values for each.
    """

    content: str
    styles: tuple[Style, ...]
    size: int | None = 512
    side: str = "long"
    enlarge: str = "nothing"
    rounding: str = "nearest"
    resampling: str = "bicubic"
    original_colors: float = 0.0
    color_method: str = "luminance"

    encoder: str | None = None
    weights: str | None = None
    precision: str = "auto"
    pooling: str = "average"
    pooling_gain: bool = True
    ceil_mode: bool = False
    padding: str = "reflect"
    feature_scale: float = 1.0

    content_weight: float = 0.07
    content_layers: tuple[str, ...] = ("relu2_2", "relu4_2")
    style_weight: float = 1.0
    style_layers: tuple[str, ...] = STYLE_LAYERS
    layer_weights: Mapping[str, float] = field(default_factory=dict)
    style_statistic: str = "wasserstein"
    octaves: int = 2
    places_per_channel: float = 1.0
    sparing: float = 0.8
    freeing: float = 0.8
    tv_weight: float = 0.05
    layout_weight: float = 0.06
    laplacian_weight: float = 0.0
    laplacian_pools: tuple[int, ...] = (4,)
    similarity_weight: float = 0.0
    mask: str | None = None
    protection: float = 0.5
    mask_colors: float = 0.0
    relative: bool = True
    reduction: str = "mean"
    gram_divisor: str = "pixels"
    blend: str = "targets"
    tv_form: str = "edges"

    steps: int = STEPS
    scale_steps: tuple[int, ...] | None = None
    smallest: int = 96
    optimizer: str = "lbfgs"
    lbfgs_history: int = 5
    bounded: bool = True
    preconditioned: bool = True
    learning_rate: float = 0.02
    betas: tuple[float, ...] = (0.9, 0.99)
    clamp: bool = True
    carry: bool = False
    pixel_range: float = 1.0
    normalize_gradients: bool = False
    roll: bool = False
    counting: str = "moves"
    returned: str = "last"

    init: str = "content"
    noise: str = "normal"
    noise_scale: float = 1.0
    seed: int = 0
    every: int | None = None

    def __post_init__(self):
        single = isinstance(self.styles, str | PathLike | Style | Mapping)
        styles = (self.styles,) if single else self.styles
        if not isinstance(styles, Iterable):
            raise ValueError(f"styles is {styles!r}; give one or more pictures")
        _set(self, "content", _text("content picture", self.content))
        _set(self, "styles", tuple(_style(style) for style in styles))
        if not self.styles or not sum(style.weight for style in self.styles):
            raise ValueError("no style picture with a weight above 0; give at least one")
        if self.weights is not None:
            _set(self, "weights", _text("weights", self.weights))
        if self.encoder is None:
            _set(self, "encoder", VGG if self.weights else "slim")
        _choice("encoder", self.encoder, ENCODERS)
        if self.encoder == "slim" and self.weights:
            raise ValueError(
                "encoder 'slim' has its own weights; leave encoder away, or choose vgg19"
            )
        for name, known in CHOICES.items():
            _choice(name, getattr(self, name), known)
        for name, least in LEAST.items():
            if getattr(self, name) is not None or name not in ("size", "every"):
                _set(self, name, _whole(name, getattr(self, name), least))
        for name in (f.name for f in fields(self) if f.type is float):
            _set(self, name, _number(name, getattr(self, name)))
        for name in (f.name for f in fields(self) if f.type is bool):
            _switch(name, getattr(self, name))
        if self.scale_steps is None:
            _set(self, "scale_steps", coarse_steps(self.steps))
        for name in ("scale_steps", "laplacian_pools"):
            counts = _items(name, getattr(self, name))
            _set(self, name, tuple(_whole(name, count, 1) for count in counts))
        self._check_numbers()
        self._check_layers()
        _set(self, "init", _text("init", self.init))

    def _check_numbers(self) -> None:
        if not any(getattr(self, f.name) for f in fields(self) if f.name.endswith("_weight")):
            raise ValueError(
                "all weights are 0, so nothing is asked of the picture; give a style_weight above 0"
            )
        _set(self, "betas", tuple(_number("betas", beta) for beta in _items("betas", self.betas)))
        if len(self.betas) != 2 or max(self.betas) >= 1:
            raise ValueError(f"betas is {self.betas!r}; give two numbers below 1, as (0.9, 0.99)")
        for name in ("original_colors", "sparing", "freeing", "protection", "mask_colors"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name):g}; give a number from 0 to 1")
        if self.mask is not None:
            _set(self, "mask", _text("mask", self.mask))
        if self.style_statistic == "sliced" and (self.mask or any(s.where for s in self.styles)):
            raise ValueError("style_statistic 'sliced' knows no masks; use wasserstein or moments")
        examples = {"pixel_range": "white's number, as 1 or 255", "feature_scale": "1"}
        for name, example in examples.items():
            if not getattr(self, name):
                raise ValueError(f"{name} is 0; give {example}")
        if self.seed >= 2**63:
            raise ValueError(f"seed is {self.seed}; give a number below 2**63")
        if self.roll and self.optimizer == "lbfgs":
            raise ValueError(
                "roll is on, but L-BFGS needs steps that see the same picture; use optimizer='adam'"
            )

    def _check_layers(self) -> None:
        known = ENCODERS[self.encoder]
        styled, weights = (PIXELS, *known), {}
        _set(self, "content_layers", _known("content_layers", self.content_layers, known))
        _set(self, "style_layers", _known("style_layers", self.style_layers, styled))
        if not isinstance(self.layer_weights, Mapping):
            raise ValueError(
                f"layer_weights is {self.layer_weights!r}; give them by layer, as {{'relu1_1': 2}}"
            )
        for name, weight in self.layer_weights.items():
            _known("layer_weights", name, styled)
            weights[name] = _number(f"layer_weights[{name!r}]", weight)
        _set(self, "layer_weights", weights)

    @property
    def by_shapes(self) -> bool:
        """Whether it counts where in the content something is drawn."""
        return bool((self.sparing or self.freeing) and self.content_weight)

    @property
    def interval(self) -> int:
        """Steps between kept pictures: `every`, or a tenth of the steps."""
        return self.every or math.ceil(self.steps / 10)

    def keeps(self, number: int) -> bool:
        """Whether the picture of step `number` is kept."""
        return number % self.interval == 0 or number == self.steps

    def _repr_html_(self) -> str:
        """The pictures' names, and all that is not as the kit has it by default."""
        changed = Settings(self.content, self.styles).differences(self)
        styles = ", ".join(Path(style.picture).name for style in self.styles)
        shown = {"content": Path(self.content).name, "styles": styles}
        lines = "".join(
            f"<tr><th style='text-align: left'>{escaped(name)}</th>"
            f"<td style='text-align: left'>{escaped(str(value))}</td></tr>"
            for name, value in (shown | changed).items()
        )
        return f"<table>{lines}</table>"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        return cls.kept(json.loads(text))

    @classmethod
    def kept(cls, values: Mapping[str, Any]) -> "Settings":
        """From what a run kept; a setting that it does not name is newer and had no effect then."""
        return cls.from_dict(NEWER | dict(values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        cls.check_names(values)
        if missing := [name for name in ("content", "styles") if name not in values]:
            raise ValueError(f"no {missing[0]} in these settings; give one")
        return cls(**values)

    @classmethod
    def check_names(cls, values: Iterable[str]) -> None:
        """ValueError if one is no setting's."""
        names = [f.name for f in fields(cls)]
        for name in values:
            if name not in names:
                raise unknown("setting", name, names)

    def differences(self, other: "Settings") -> dict[str, Any]:
        """The fields of `other` that are not as here, by name."""
        return {
            f.name: getattr(other, f.name)
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        }


# By subject. The command line's help is made of these, and some of the panel's tooltips.
SUBJECTS = {
    "pictures": {
        "size": "long edge of the picture in pixels; not above the content's, but for enlarge; none: its own",
        "side": "the side that size is: long, short, or width",
        "enlarge": "what may be enlarged to size: nothing, content, or everything, the styles as well",
        "rounding": "of sides to whole pixels: nearest, down, or factor-down, which cuts side times factor",
        "resampling": "of pictures that are resized: bicubic, bilinear, or area (bilinear where they grow)",
        "original_colors": "how much of the content's colours is kept, 0 to 1",
        "color_method": "how they are kept: luminance, the result's light with the content's colour; or by matching "
        "the style picture's colours to the content's: cholesky, pca, symmetric (Gatys et al. 2017)",
    },
    "network": {
        "encoder": "network that sees the pictures: slim (built in), vgg19 or vgg16 (ImageNet weights, fetched once), "
        "vgg19-caffe or vgg16-caffe (from a file), or vgg, the one that the file tells; slim, or vgg with weights",
        "weights": "file with the weights of a VGG, instead of fetching them",
        "precision": "of the convolutions: float32, bfloat16, float16, or auto, which tries the first two here",
        "pooling": "between the network's blocks: average, max, or l2",
        "pooling_gain": "features stay as large as with the pooling that the network was trained with",
        "ceil_mode": "pooling keeps an odd last row or column",
        "padding": "at borders: reflect, replicate, zeros, or replicate-first, at the first convolution alone",
        "feature_scale": "features are multiplied by this: 60 makes slim's about as large as Caffe's VGG's",
    },
    "losses": {
        "content_weight": "how much the content picture holds",
        "content_layers": "layers whose features keep the content",
        "style_weight": "how much the style pulls",
        "style_layers": "layers whose statistics are the style; pixels is the palette",
        "layer_weights": "a style layer's share, 1 where not named, as pixels=5,relu1_1=2",
        "style_statistic": "wasserstein (between Gaussians with the features' means and covariances, along the "
        "style's longest axes), moments (means and covariances, compared one by one), gram, sliced (whole "
        "distributions along random directions), or wasserstein-plain (along all axes, as crowsonkb's program computes "
        "it)",
        "octaves": "sizes at which the style is compared: the picture, its half, its quarter ..., each half as heavy",
        "places_per_channel": "a layer that sees fewer places than that for each of its channels counts less: 0 never, "
        "4 spares faces in small pictures",
        "sparing": "how much less the style counts where the content has much in it, and on a face that is found when "
        "a run begins: 0 alike, 1 hardly at all; sliced knows none",
        "freeing": "how much less the content counts in a sky, that is, where it is flat from the upper edge down, and "
        "under a wide one without a face near sparing, smoothness and layout everywhere: 0 alike, 1 not at all",
        "tv_weight": "smoothness: total variation, in the form and the units that tv_form says",
        "layout_weight": "how much each thing keeps one colour, as the style's palette shows it, and no patch lies "
        "across a face; what is flat in the content, as a sky, is left free; not without content_weight",
        "laplacian_weight": "how much the content's contours hold, whatever the network thinks (Li et al. 2017)",
        "laplacian_pools": "how coarsely contours are seen: sides in pixels of the squares that are averaged before",
        "similarity_weight": "how much the likeness of the content's parts to each other holds (Kolkin et al. 2019)",
        "mask": "a grey picture of any size, white where the content is to be protected, as on a face",
        "protection": "how much it is protected there: 0 not at all, 1 wholly",
        "mask_colors": "how much of the content's colours is kept there, 0 to 1, by luminance",
        "relative": "losses are shares of their targets; else mean squares, with the units of the network",
        "reduction": "the layers' losses: mean, by their weights, or sum, each times its weight",
        "gram_divisor": "of a Gram matrix: the number of pixels, or of elements, which is pixels times channels",
        "blend": "several styles' targets are averaged, or their losses",
        "tv_form": "total variation: squares (mean), half-squares (half their sum), absolute (sum), nine-point "
        "(mean), if relative in parts of the content's own; or edges (mean, less across the content's edges), in "
        "parts of the styles' grain",
    },
    "descent": {
        "steps": "iterations over all scales; what is above 110 is made at full size",
        "scale_steps": "iterations at each scale before the last, the coarsest first; if none are given, 40,25,20 of "
        "110 or more, and in proportion of fewer",
        "smallest": "size at the coarsest scale in pixels",
        "optimizer": "lbfgs or adam",
        "lbfgs_history": "steps that L-BFGS remembers",
        "bounded": "L-BFGS's first step has a set length, and none is longer than allowed",
        "preconditioned": "L-BFGS moves broad light first and fine colour last, as pictures are: against fringes",
        "learning_rate": "Adam's step, in units of pixel_range",
        "betas": "Adam's two rates of forgetting",
        "clamp": "Adam's picture stays between black and white",
        "carry": "Adam's memory is enlarged for the next scale, not dropped",
        "pixel_range": "white's number for the optimizer, as 1, 255 or 256; above 1, 0 is not black but the network's "
        "mean colour",
        "normalize_gradients": "each layer's gradient gets its weight as length (sum of absolutes)",
        "roll": "each of Adam's steps sees the picture shifted round at random, against grids",
        "counting": "what an iteration is: moves, or evaluations, whose picture has made one move less",
        "returned": "which picture is kept: the last, the best of the kept ones, or the average of late ones",
    },
    "start": {
        "init": "start from the content, noise, the (first) style, grey, or a picture file",
        "noise": "its form: normal (around grey), uniform, style (with the style's colour), mean (the network's mean "
        "colour, and noise_scale)",
        "noise_scale": "of the noise around the mean colour, in units of pixel_range",
        "seed": "of the noise and of all else that is random",
        "every": "keep the picture each so many iterations; a tenth of the steps if not given",
    },
}
NOTES = {name: words for notes in SUBJECTS.values() for name, words in notes.items()}


def coarse_steps(steps: int) -> tuple[int, ...]:
    """By default the iterations before the last scale: most of the way is made where steps are cheap."""
    counts = (count * min(steps, STEPS) // STEPS for count in COARSE)
    return tuple(count for count in counts if count)


def changed(settings: Settings, **changes: Any) -> Settings:
    """The settings with changes; the iterations before the last scale follow `steps` where nobody chose them."""
    if "steps" in changes and settings.scale_steps == coarse_steps(settings.steps):
        changes = {"scale_steps": None} | changes
    return replace(settings, **changes)


def in_a_word(value: Any) -> str:
    """A value as the command line has it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={in_a_word(share)}" for name, share in value.items())
    if isinstance(value, tuple | list):
        return ",".join(map(in_a_word, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "none" if value is None else str(value)


def escaped(text: str) -> str:
    """The text in HTML; what is no text in a file's name is replaced."""
    return escape(text.encode(errors="replace").decode())


def vary(settings: Settings, **choices: Iterable[Any]) -> list[Settings]:
    """One Settings for each combination of the choices, the last one varying fastest.

    `vary(settings, style_weight=[0.3, 1, 3], size=[256, 512])` gives six.
    """
    settings.check_names(choices)
    for name, values in choices.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(f"{name} is {values!r}; give a list of values, as {name}=[{values!r}]")
    return [
        changed(settings, **dict(zip(choices, values, strict=True)))
        for values in product(*choices.values())
    ]


def _set(frozen: Any, name: str, value: Any) -> None:
    object.__setattr__(frozen, name, value)


def _style(value: Any) -> Style:
    if isinstance(value, Style):
        return value
    if not isinstance(value, Mapping):
        return Style(value)
    try:
        return Style(**value)
    except TypeError as error:
        raise ValueError(f"style {dict(value)!r} is none ({error}); give its picture") from error


def _text(name: str, value: Any) -> str:
    if value is None or value == "":
        raise ValueError(f"{name} is empty; give a file")
    if not isinstance(value, str | PathLike):
        raise ValueError(f"{name} is {value!r}; give the name of a file")
    return str(value)


def _items(name: str, value: Any) -> tuple:
    if not isinstance(value, Iterable | Real):
        raise ValueError(f"{name} is {value!r}; give one or more")
    return (value,) if isinstance(value, str | Real) else tuple(value)


def _number(name: str, value: Any) -> float:
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not value >= 0:
        raise ValueError(f"{name} is {value!r}; give a number of 0 or more")
    most = MOST.get(name, HUGE)
    if value and not TINY <= value <= most:
        raise ValueError(f"{name} is {value}; give a number from {TINY:g} to {most:g}")
    return float(value)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; give a whole number of {least} or more")
    if name in MOST and value > MOST[name]:
        raise ValueError(f"{name} is {value}; give a whole number to {MOST[name]}")
    return int(value)


def _switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; give True or False")


def unknown(what: str, name: str, known: Iterable[str]) -> ValueError:
    """The error that says which of them may have been meant, or else which there are."""
    near = get_close_matches(name, known, 1, 0.75)
    likely = f"perhaps {near[0]}" if near else f"there are {', '.join(known)}"
    return ValueError(f"no {what} {name!r}; {likely}")


def _choice(name: str, value: Any, known: Iterable[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} is {value!r}; choose from {', '.join(known)}")


def _known(name: str, layers: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    for layer in (layers := _items(name, layers)):
        if layer not in known:
            raise ValueError(f"no layer {layer!r} in {name}; there are {', '.join(known)}")
    if not layers:
        raise ValueError(f"{name} is empty; give at least one of {', '.join(known)}")
    if len(set(layers)) < len(layers):
        raise ValueError(f"{name} names a layer twice: {', '.join(layers)}")
    return layers
