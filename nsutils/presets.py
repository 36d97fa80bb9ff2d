"""The settings of published programs, by name: the same losses, sizes, descent and schedule in this kit's engine.

`preset("gatys", content="me.jpg", styles="painting.jpg")` gives Settings; any field may be changed in the same call.
What a program's numbers mean stays what they mean there: units of its pixels and its network, no relative losses.
"""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from nsutils.settings import NEWER, Settings

FIRST_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

# What most of them have in common, by which they differ from the kit's own defaults.
COMMON = NEWER | {
    "encoder": "vgg19-caffe",
    "size": 512,
    "precision": "float32",
    "pooling": "max",
    "pooling_gain": False,
    "padding": "zeros",
    "content_layers": ("relu4_2",),
    "style_layers": FIRST_LAYERS,
    "layer_weights": {},
    "style_statistic": "gram",
    "octaves": 1,
    "tv_form": "squares",
    "relative": False,
    "reduction": "sum",
    "gram_divisor": "elements",
    "enlarge": "everything",
    "rounding": "down",
    "resampling": "bilinear",
    "scale_steps": (),
    "pixel_range": 255.0,
    "lbfgs_history": 100,
    "bounded": False,
    "betas": (0.9, 0.999),
    "clamp": False,
    "noise": "mean",
    "every": 100,
}

JCJOHNSON = COMMON | {
    "ceil_mode": True,  # as loadcaffe makes Caffe's pooling; its own averaging has none
    "resampling": "area",
    "pixel_range": 256.0,
    "content_weight": 5.0,
    "style_weight": 100.0,
    "tv_weight": 1e-3,
    "tv_form": "half-squares",  # a gradient there, not part of the printed loss
    "steps": 1000,
    "counting": "evaluations",
    "learning_rate": 10.0,
    "init": "noise",
    "noise_scale": 0.001,
}

NEURAL_STYLE_PT = JCJOHNSON | {
    "ceil_mode": False,
    "resampling": "bilinear",
    "rounding": "factor-down",
    "pixel_range": 255.0,
    "tv_form": "absolute",
    "learning_rate": 1.0,
}

GATYS = COMMON | {
    "side": "short",
    "content_weight": 1.0,
    "style_weight": 1000.0,
    "layer_weights": {
        layer: channels**-2
        for layer, channels in zip(FIRST_LAYERS, (64, 128, 256, 512, 512), strict=True)
    },
    "gram_divisor": "pixels",
    "tv_weight": 0.0,
    "steps": 520,  # 500, to the end of a block of 20
    "init": "content",
}

CROWSONKB = COMMON | {
    "encoder": "vgg19",
    "padding": "replicate-first",
    "pooling_gain": True,
    "enlarge": "content",
    "rounding": "nearest",
    "resampling": "bicubic",
    "content_weight": 0.015,
    "style_weight": 1.0,
    "layer_weights": dict(zip(FIRST_LAYERS, (256.0, 64.0, 16.0, 4.0, 1.0), strict=True)),
    "style_statistic": "wasserstein-plain",
    "reduction": "mean",
    "tv_weight": 2.0,
    "tv_form": "nine-point",
    "pixel_range": 1.0,
    "optimizer": "adam",
    "learning_rate": 0.02,
    "betas": (0.9, 0.99),
    "clamp": True,
    "carry": True,
    "returned": "average",
    "lbfgs_history": 10,
    "init": "content",
    "noise": "normal",
}

ANISHATHALYE = COMMON | {
    "ceil_mode": True,
    "size": None,
    "side": "width",
    "resampling": "bicubic",
    "content_weight": 5.0,
    "style_weight": 500.0,
    "reduction": "mean",
    "blend": "losses",
    "tv_weight": 100.0,
    "steps": 1000,
    "optimizer": "adam",
    "learning_rate": 10.0,
    "returned": "best",
    "init": "noise",
    "noise_scale": 0.256,
}

PRESETS = {
    "jcjohnson": JCJOHNSON,
    "neural-style-pt": NEURAL_STYLE_PT,
    "gatys": GATYS,
    "crowsonkb": CROWSONKB,
    "anishathalye": ANISHATHALYE,
}


FOUND = "found-face.png"  # name of the mask of a face that was found for a recipe

# The kit's own, for what its defaults are not made for; all that is not named is as by default.
RECIPES = {
    # A face stays the person's: contours and likenesses hold, the mask protects by nearly half and lends the skin some
    # of its own colour, which a palette of blue and yellow leaves grey; the layers that know where the style's sky and
    # ground are say less, and a wall behind is no sky.
    "portrait": {
        "laplacian_weight": 0.15,
        "similarity_weight": 0.2,
        "protection": 0.45,
        "mask_colors": 0.4,
        "places_per_channel": 4.0,
        "freeing": 0.0,
    },
    # What statistics can give of an animated film: its palette and smooth shading between clean edges.
    "film": {
        "content_weight": 0.1,
        "style_layers": ("pixels", "relu2_1", "relu3_1", "relu4_1"),
        "laplacian_weight": 0.1,
        "laplacian_pools": (4, 8),
        "similarity_weight": 0.1,
        "tv_weight": 0.3,
        "freeing": 0.0,
        "protection": 0.25,
    },
}

# Published weights suit the numbers in Caffe's VGG, whose features reach hundreds; slim's have unit mean square.
LOUDER = 60.0


def preset(name: str, content: str, styles: Any, **changes: Any) -> Settings:
    """The settings of the program, or the recipe, of that name for these pictures; `changes` are fields of Settings.

    ValueError for another name. With `encoder="slim"` losses, sizes and schedule are the program's, the network is
    not, so neither is the picture; its features are made as large as those for which the weights were chosen.
    The mask of a recipe for portraits is to be given; the command line and the panel look for the face.
    """
    known = PRESETS | RECIPES
    if name not in known:
        raise ValueError(f"no preset {name!r}; there are {', '.join(known)}")
    derived = following(name, PRESETS[name] | changes) if name in PRESETS else {}
    pictured = {"content": content, "styles": styles}
    return Settings.from_dict(known[name] | derived | pictured | changes)


def following(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a program does according to other choices."""
    found = {}
    if name == "crowsonkb" and isinstance(values["size"], Integral):
        found |= scales_of_crowsonkb(int(values["size"]))
    if name == "jcjohnson" and values["pooling"] == "average":
        found["ceil_mode"] = False
    slim = values["encoder"] == "slim" or not (values["encoder"] or values.get("weights"))
    if slim and PRESETS[name]["pixel_range"] > 1:
        found["feature_scale"] = LOUDER
    return found


def scales_of_crowsonkb(size: int) -> dict[str, Any]:
    """Each scale larger by the root of two, from at least 128 to `size`; 1000 steps at the first, 500 at each other."""
    count = 1
    while round(size / 2 ** (count / 2)) >= 128:
        count += 1
    later = (500,) * (count - 1)
    return {
        "smallest": max(32, round(size / 2 ** ((count - 1) / 2))),
        "scale_steps": (1000, *later)[:-1],
        "steps": 1000 + sum(later),
    }
