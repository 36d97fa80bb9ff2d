"""What is measured of an image in one octave, whole or in pieces: statistics for style, distances from the content."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nsutils import colours, pictures
from nsutils.encoders import Encoder, Halved, stride_of
from nsutils.losses import self_similarity, squared_distance, unlike
from nsutils.pieces import Piece, pieces, summed
from nsutils.regions import Regions
from nsutils.settings import PIXELS, Settings
from nsutils.statistics import centred, raw_moments, statistic_of
from nsutils.targets import PALETTE, Octaves, Target

EVERYWHERE = Regions()
NEAR = 2  # pixels: how far the neighbourhoods of a `palette` reach
THINNEST = 32  # pixels: the short edge that the deepest layer needs


def measured(
    settings: Settings,
    encoder: Encoder,
    octave: Tensor,
    content: dict[str, Tensor] | None = None,
    likeness: dict[str, Tensor] | None = None,
    regions: Regions = EVERYWHERE,
    whole: int | None = None,
    pulled: Callable[[str, Tensor], Tensor] = lambda name, features: features,
) -> dict[str, Tensor]:
    """An octave's raw statistic at each style layer, and as content/LAYER its squared distance from `content`.

    A style that has a place has statistics of its own there, as NUMBER:LAYER; the first's is LAYER alone.
    As similarity/LAYER how differently its places are like each other from `likeness`.
    Seen piece by piece if it has more pixels than `whole` and the losses can be so added up.
    """
    statistic = statistic_of(settings.style_statistic, settings.gram_divisor)
    content, likeness, size = content or {}, likeness or {}, octave.shape[-2:]
    names = dict.fromkeys(name for name in (*content, *settings.style_layers) if name != PIXELS)

    def at(known: Tensor | None, layer: str, piece: Piece | None) -> Tensor | None:
        """What the whole image has, features or weights, where a layer sees a piece."""
        return known if known is None or not piece else piece.place(known, stride_of(layer))

    def seen_along(pixels: Tensor) -> Iterator[tuple[str, Tensor]]:
        if PIXELS in settings.style_layers:
            yield PIXELS, palette(pixels)
        yield from encoder.along(pixels, names)

    def measure(pixels: Tensor, piece: Piece | None = None) -> dict[str, Tensor]:
        found = {}
        for layer, features in seen_along(pixels):
            shape = encoder.size_at(layer, size)
            here = regions.at(shape)
            if piece:
                features = piece.core(features, stride_of(layer))
            if layer in content:
                name, wanted = f"content/{layer}", content[layer]
                mine, held = (at(full_sized, layer, piece) for full_sized in (wanted, here.held))
                found[name] = squared_distance(pulled(name, features), mine, wanted.numel(), held)
            if layer in likeness:
                found[f"similarity/{layer}"] = unlike(self_similarity(features), likeness[layer])
            if layer in settings.style_layers:
                features_ = pulled(layer, features)
                for place in dict.fromkeys(regions.places):
                    free = here.free[place]
                    total = math.prod(shape) if free is None else here.counted[place]
                    weights = at(free, layer, piece)
                    found[keyed(layer, place)] = statistic.of(features_, total, weights)
        return found

    if not whole or math.prod(size) <= whole or not divisible(settings):
        return measure(octave)
    return summed(octave, measure, pieces(size, whole, max(NEAR, encoder.reach(names))))


def keyed(layer: str, place: int) -> str:
    return f"{place}:{layer}" if place else layer


def divisible(settings: Settings) -> bool:
    """Whether the losses can be added up over the pieces of an image."""
    additive = statistic_of(settings.style_statistic).additive
    return additive and not settings.normalize_gradients and not settings.similarity_weight


def seen(
    encoder: Encoder, image: Tensor, layers: Iterable[str], whole: int | None
) -> dict[str, Tensor]:
    """The features of the whole image, seen piece by piece if it has more pixels than `whole`."""
    size = image.shape[-2:]
    if not whole or math.prod(size) <= whole:
        return encoder(image, layers)
    found: dict[str, Tensor] = {}
    for piece in pieces(size, whole, encoder.reach(layers)):
        for layer, features in encoder(piece.of(image), layers).items():
            stride = stride_of(layer)
            if layer not in found:
                how = {"dtype": features.dtype, "device": features.device}
                shape = *features.shape[:2], *encoder.size_at(layer, size)
                found[layer] = torch.empty(shape, **how, memory_format=torch.channels_last)
            piece.place(found[layer], stride).copy_(piece.core(features, stride))
    return found


def stacked(settings: Settings, octaves: list[dict[str, Tensor]], place: int = 0) -> Octaves:
    """The statistic at each style layer, (octaves, C, K), of those octaves that have it."""
    keys = {layer: keyed(layer, place) for layer in settings.style_layers}
    return {
        layer: torch.cat([octave[key] for octave in octaves if key in octave])
        for layer, key in keys.items()
    }


def style_statistics(
    settings: Settings, encoder: Encoder, style: Tensor, count: int, whole: int | None = None
) -> Octaves:
    """A style picture's statistics in so many octaves, with its PALETTE. Runs that share an encoder share them."""
    asked = [*made_with(settings, encoder).values(), divisible(settings)]
    picture = tuple(style.shape), pictures.sha256(style.cpu().numpy().tobytes())

    @torch.no_grad()
    def made(missing: tuple[str, ...]) -> Octaves:
        layers = settings.style_layers if whole else missing
        wanted = replace(settings, style_layers=layers)
        octaves = halved(encoder.inward(style), count)
        return stacked(wanted, [measured(wanted, encoder, one, whole=whole) for one in octaves])

    key = (*asked, *picture, str(style.device), count, whole)
    if whole:  # where it is cut is rounded otherwise, and that depends on the deepest layer
        seen_in = [name for name in settings.style_layers if name != PIXELS]
        key = (*key, encoder.reach(seen_in))
    found = encoder.statistics.octaves(key, settings.style_layers, made)
    found = {layer: statistics.to(style.device) for layer, statistics in found.items()}
    octaves = halved(encoder.inward(style), count)
    return found | {PALETTE: torch.cat([raw_moments(palette(octave)) for octave in octaves])}


def halved(image: Tensor, count: int) -> list[Tensor]:
    """The image, its half, its quarter ..., so many."""
    octaves = [image]
    while len(octaves) < count:
        octaves.append(Halved.apply(octaves[-1]))
    return octaves


def octaves_of(picture: Tensor | Target) -> int:
    """How often it can be halved and still be wide enough for the deepest layer, and once more."""
    if isinstance(picture, Target):
        return picture.depth
    return max(1, (min(picture.shape[-2:]) // THINNEST).bit_length())


def made_with(settings: Settings, encoder: Encoder) -> dict[str, Any]:
    """All that a style's statistics depend on, but for its picture and its size."""
    asked = ("style_statistic", "gram_divisor", "pixel_range", "octaves")
    network = ("pooling", "padding", "ceil_mode", "gain", "feature_scale")
    made = {name: getattr(settings, name) for name in asked} | {"encoder": encoder.name}
    return made | {name: getattr(encoder, name) for name in network}


def palette(image: Tensor) -> Tensor:
    """The colours of each pixel and of its 5 x 5 neighbourhood, (1, 6, H, W)."""
    return torch.cat((image, Near.apply(image)), 1)


class Near(torch.autograd.Function):
    """The means of neighbourhoods. Their gradient is sums over the same neighbourhoods, not ten slices of zeros."""

    @staticmethod
    def forward(ctx, image: Tensor) -> Tensor:
        down, across = (neighbours(side, image) for side in image.shape[-2:])
        ctx.counts = down[:, None] * across
        return around(image).div_(ctx.counts)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> Tensor:
        return around(slope / ctx.counts)


def neighbours(side: int, like: Tensor) -> Tensor:
    """How many pixels of a line there are in each neighbourhood, fewer at its ends."""
    place = torch.arange(side, dtype=like.dtype, device=like.device)
    return 1 + place.clamp_max(NEAR) + (side - 1 - place).clamp_max(NEAR)


def around(image: Tensor) -> Tensor:
    """Sums over neighbourhoods of NEAR pixels each way; PyTorch's pooling takes three times as long."""
    height, width = image.shape[-2:]
    wide = F.pad(image, (NEAR,) * 4)
    lines = range(2 * NEAR + 1)
    down = reduce(torch.add, (wide[..., n : n + height, :] for n in lines))
    return reduce(torch.add, (down[..., n : n + width] for n in lines))


def in_palette(
    picture: Tensor, wanted: Tensor, least: float, where: Tensor | None = None
) -> Tensor:
    """The picture (1, 3, H, W), its colours' mean and covariance made those in the raw moments of a `palette`.

    Linearly, and so that colours move as little as can be (`colours.symmetric`). Where they vary by less than `least`,
    a variance, they are not spread as far as that. `where` (1, 1, H, W) weighs pixels.
    """
    own, other = (
        centred(moments)[0, :3, :4].cpu().double().numpy()
        for moments in (raw_moments(picture, weights=where), wanted)
    )
    flat = least * np.eye(3)
    turn = colours.symmetric(own[:, 1:] + flat, other[:, 1:] + flat)
    turn, mean, new = (torch.from_numpy(x).to(picture) for x in (turn, own[:, :1], other[:, :1]))
    return (turn @ (picture.flatten(2) - mean) + new).view_as(picture)


def grain(statistics: Tensor) -> Tensor:
    """The mean squared difference of pixels from their neighbourhoods' means, by the mean products of a `palette`."""
    products = statistics[0, :, -6:]
    own, near = products.diagonal().split(3)
    return (own + near - 2 * products.diagonal(3)).mean()
