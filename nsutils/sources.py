"""The pictures that a run is made from, at the size of each of its scales."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from PIL import Image, ImageChops, ImageOps
from torch import Tensor

from nsutils import colours, faces, pictures
from nsutils.encoders import Encoder
from nsutils.faces import Box
from nsutils.losses import fitting
from nsutils.measures import THINNEST, made_with, octaves_of, style_statistics
from nsutils.regions import Regions
from nsutils.settings import STARTS, Settings, Style, in_a_word
from nsutils.targets import PALETTE, Target, is_target

Shape = tuple[int, int]  # height, width in pixels
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
AREA = {True: Image.Resampling.BOX, False: Image.Resampling.BILINEAR}  # by whether it shrinks
DRAWN = 512  # pixels: the long edge of a mask of faces
SIDES = {"long": max, "short": min, "width": lambda shape: shape[1]}


class Sources:
    """The content and the styles of some settings, at any scale; ValueError where one cannot be used.

    `known` are the faces in the content, if they have been looked for.
    """

    def __init__(self, settings: Settings, known: Sequence[Box] | None = None):
        self.settings, self._known = settings, known
        self.content = content_of(settings)
        self.scales = scales_of(settings)
        check_pools(settings)
        self.styles = [self.style(style) for style in settings.styles]
        self.mask = mask_of(settings)
        self.where = [style.where and opened_mask(style.where) for style in settings.styles]
        if settings.init not in STARTS:
            if not Path(settings.init).exists():
                raise ValueError(
                    f"init is {settings.init!r}, which is no picture file; give one, or {', '.join(STARTS)}"
                )
            pictures.opened(settings.init)
        begun = "noise" if settings.init == "noise" else "init"
        if getattr(settings, begun) == "style" and isinstance(self.styles[0], Target):
            raise ValueError(
                f"{begun} is 'style', but a style target is no picture; start from grey"
            )

    def style(self, asked: Style) -> Image.Image | Target:
        """A style, in the content's colours as far as they are asked for."""
        method, amount = self.settings.color_method, self.settings.original_colors
        matching = amount and method in colours.MATCHES
        if not is_target(asked.picture):
            style = style_of(self.settings, asked, self.scales[-1])
            return colours.matched(style, self.content, method, amount) if matching else style
        if matching:
            raise ValueError(
                f"{asked.picture!r} is a style target, whose colours cannot be matched; "
                "use color_method='luminance'"
            )
        return Target.read(asked.picture)

    def at(self, shape: Shape, device: torch.device) -> tuple[Tensor, list[Tensor | Target]]:
        """The content at that shape, and the styles as large, by their own scale."""
        settings, styles = self.settings, []
        for style, asked in zip(self.styles, settings.styles, strict=True):
            if isinstance(style, Target):
                styles.append(style.at(beside(settings, shape, asked.scale)))
            else:
                own = style_shape(settings, style.size[::-1], shape, asked.scale)
                styles.append(scaled(settings, style, own).to(device))
        return scaled(settings, self.content, shape).to(device), styles

    def regions(self, shape: Shape, device: torch.device) -> Regions:
        """The masks at that shape."""
        mask = self.mask and as_weights(self.mask, shape).to(device) * self.settings.protection
        places = tuple(w and as_weights(w, shape).to(device) for w in self.where)
        found = self.settings.by_shapes and self.faces
        grey = faces.spared(self.faces, pictures.fitted(shape[::-1], DRAWN)) if found else None
        return Regions(mask, places, faces=grey and as_weights(grey, shape).to(device))

    @cached_property
    def faces(self) -> Sequence[Box]:
        """The faces in the content."""
        return faces_in(self.settings) if self._known is None else self._known

    def after(self, settings: Settings) -> "Sources":
        """The sources of changed settings; no file is read again for a weight or a layer."""
        pictured = {
            *("content", "styles", "size", "side", "enlarge", "rounding", "resampling"),
            *("smallest", "scale_steps", "init", "original_colors", "color_method", "mask"),
        }
        if pictured & set(self.settings.differences(settings)):
            return Sources(settings, self.faces)
        after = copy(self)
        after.settings = settings
        return after


def faces_in(settings: Settings) -> list[Box]:
    """The faces in the content, all of it."""
    return faces.faces(pictures.opened(settings.content))


def mask_of(settings: Settings) -> Image.Image | None:
    """What is protected, as a grey image."""
    return opened_mask(settings.mask) if settings.mask else None


def opened_mask(path: str) -> Image.Image:
    """The mask in a file, as `as_mask` has it."""
    with pictures.reading(path) as image:
        return as_mask(image)


def as_mask(image: Image.Image) -> Image.Image:
    """In grey; what is transparent is not marked, though a picture is laid on white."""
    grey = pictures.upright(image).convert("L")
    opaque = pictures.opacity(ImageOps.exif_transpose(image))
    return ImageChops.subtract(grey, ImageChops.invert(opaque)) if opaque else grey


def as_weights(mask: Image.Image, shape: Shape) -> Tensor:
    """A grey image as weights (1, 1, *shape), 0 black to 1 white."""
    grey = mask.resize(shape[::-1], Image.Resampling.BILINEAR)
    return pictures.to_tensor(grey.convert("RGB"))[:, :1]


def content_of(settings: Settings) -> Image.Image:
    """The content picture, no larger than the last scale: what a run uses of it."""
    image = pictures.opened(settings.content)
    return reduced(settings, image, scales(settings, image.size[::-1])[-1])


def style_of(settings: Settings, style: Style, content: Shape) -> Image.Image:
    """A style picture, no larger than it is used beside a content of that shape."""
    image = pictures.opened(style.picture)
    shape = style_shape(settings, image.size[::-1], content, style.scale)
    return reduced(settings, image, shape)


def reduced(settings: Settings, image: Image.Image, shape: Shape) -> Image.Image:
    return resampled(settings, image, shape) if math.prod(shape) < math.prod(image.size) else image


def resampled(settings: Settings, image: Image.Image, shape: Shape) -> Image.Image:
    shrinks = math.prod(shape) < math.prod(image.size)
    return image.resize(shape[::-1], RESAMPLING.get(settings.resampling, AREA[shrinks]))


def scaled(settings: Settings, image: Image.Image, shape: Shape) -> Tensor:
    """The image at a shape as the settings resample it, (1, 3, *shape)."""
    return pictures.to_tensor(resampled(settings, image, shape))


def beside(settings: Settings, shape: Shape, scale: float) -> int:
    """The edge, in pixels, that a style's statistics are for: the content's, by the style's scale."""
    return max(1, round(scale * SIDES[settings.side](shape)))


def check_pools(settings: Settings) -> None:
    """ValueError if contours are asked for, and no pool fits into the picture."""
    shape, pools = scales_of(settings)[-1], settings.laplacian_pools
    if settings.laplacian_weight and not fitting(pools, shape):
        raise ValueError(
            f"laplacian_pools is {in_a_word(pools)}; for a picture of {shape[1]} x {shape[0]} px "
            f"give one of {min(shape) // 3} at most"
        )


def check_targets(settings: Settings, encoder: Encoder) -> None:
    """ValueError if a style's target was not made for what is asked, with the size that it should have."""
    wanted = made_with(settings, encoder)
    ladder = scales_of(settings)[::-1]  # one that is made for the last has the others
    for style in settings.styles:
        if is_target(style.picture):
            target = Target.read(style.picture)
            for shape in ladder:
                near = target.at(beside(settings, shape, style.scale))
                near.octaves(wanted, (*settings.style_layers, PALETTE))


def style_target(settings: Settings, encoder: Encoder) -> Target:
    """The statistics of the first style at every size that a run of these settings has; `content` is not read."""
    style, sizes = settings.styles[0], {}
    edge = settings.size or max(pictures.shape(style.picture))
    squares = scales(replace(settings, enlarge="everything"), (edge, edge))
    image = style_of(settings, style, squares[-1])
    for square in squares:
        shape = style_shape(settings, image.size[::-1], square, style.scale)
        picture = scaled(settings, image, shape).to(encoder.device)
        count = min(settings.octaves, octaves_of(picture))
        key = beside(settings, square, style.scale)
        sizes[key] = style_statistics(settings, encoder, picture, count)
    return Target(sizes, made_with(settings, encoder), image)


def size_in_words(settings: Settings) -> str:
    """How large the picture will be, and what is enlarged for it."""
    own = pictures.shape(settings.content)
    ladder = scales(settings, own)
    (height, width), reached = ladder[-1], ladder[scale_of(settings, settings.steps - 1)]
    words = f"{width} x {height} px"
    if reached != (height, width):
        words += f", painted at {reached[1]} x {reached[0]}: the steps end before the last scale"
    if height * width > own[0] * own[1]:
        words += f", enlarged from {own[1]} x {own[0]}"
    elif settings.size and SIDES[settings.side]((height, width)) < settings.size:
        words += ", the content picture's own size"
    for style in settings.styles:
        if is_target(style.picture):
            with suppress(ValueError):  # which is told before a run begins
                wanted = beside(settings, (height, width), style.scale)
                (found,) = Target.read(style.picture).at(wanted).sizes
                if found != wanted:
                    words += f"; {Path(style.picture).name} was made for {found} px"
        else:
            own = pictures.shape(style.picture)
            if math.prod(style_shape(settings, own, (height, width), style.scale)) > math.prod(own):
                words += f"; {Path(style.picture).name} is enlarged, too"
    return words


def larger(one: Shape, other: Shape) -> Shape:
    return max(one, other, key=math.prod)


def scale_of(settings: Settings, number: int) -> int:
    """The number of the scale at which the step after step `number` is made."""
    return bisect_right([*accumulate(settings.scale_steps)], number)


def scales_of(settings: Settings) -> list[Shape]:
    """The `scales` of the settings' own content."""
    return scales(settings, pictures.shape(settings.content))


def scales(settings: Settings, shape: Shape) -> list[Shape]:
    """The shape of each scale, evenly spaced by ratio from `smallest` to `size`, for a content of that shape.

    A picture is not enlarged unless that is asked for, and no scale is too thin for the deepest layer.
    """
    own = SIDES[settings.side](shape)
    last = own if settings.size is None else settings.size
    if settings.enlarge == "nothing":
        last = min(last, own)
    least = least_edge(settings, shape)
    if last < least:
        small = settings.enlarge == "nothing" and own < least
        way_out = "choose a larger picture" if small else f"choose size {least} or more"
        raise ValueError(
            f"size {last} makes {settings.content!r} ({shape[1]} x {shape[0]}) too thin: its short edge "
            f"needs {THINNEST} pixels; {way_out}"
        )
    # From here on the last scale's shape counts: a content already reduced to it has the same scales.
    finest = sized(settings, shape, last)
    last, least = SIDES[settings.side](finest), least_edge(settings, finest)
    first, count = min(max(settings.smallest, least), last), len(settings.scale_steps)
    edges = [round(first * (last / first) ** (n / max(count, 1))) for n in range(count)]
    return [*(sized(settings, finest, edge) for edge in edges), finest]


def least_edge(settings: Settings, shape: Shape) -> int:
    """The side that counts where a picture of that shape is just thick enough for the deepest layer."""
    return math.ceil(THINNEST * SIDES[settings.side](shape) / min(shape))


def sized(settings: Settings, shape: Shape, edge: int) -> Shape:
    """The shape with the side that counts at `edge` pixels."""
    own = SIDES[settings.side](shape)
    if settings.rounding == "factor-down":
        height, width = (int(edge / own * side) for side in shape)
    else:
        whole = int if settings.rounding == "down" else round
        height, width = (whole(edge * side / own) for side in shape)
    return max(THINNEST, height), max(THINNEST, width)  # cut down, a side may have lost a pixel


def style_shape(settings: Settings, shape: Shape, content: Shape, scale: float) -> Shape:
    """The shape of a style picture of that shape beside a content of its; never enlarged unless that is asked for."""
    own, edge = SIDES[settings.side](shape), scale * SIDES[settings.side](content)
    if settings.enlarge != "everything":
        edge = min(edge, own)
    # Where sides are cut down, jcjohnson's program makes this one larger.
    whole = {"nearest": round, "down": math.ceil, "factor-down": int}[settings.rounding]
    return sized(settings, shape, max(whole(edge), least_edge(settings, shape)))
