"""What is minimised at one size: the targets of content and style, and the losses of an image against them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils import pictures
from nsutils.encoders import Encoder, stride_of
from nsutils.losses import (
    FLOOR,
    TOTAL_VARIATIONS,
    Pull,
    counted,
    full,
    laplacian,
    mean_square,
    self_similarity,
    squared_distance,
    statistic_of,
    unlike,
)
from nsutils.matching import Features, averaged, gathered, grid_of, matched
from nsutils.pieces import Piece, pieces, summed
from nsutils.regions import Regions, shrunk
from nsutils.settings import PIXELS, Settings
from nsutils.targets import Octaves, Target

EVERYWHERE = Regions()
THINNEST = 32  # pixels: the short edge that the deepest layer needs


class Goal(NamedTuple):
    """Features that a layer's own are to come near to, averaged to a `grid` of so many pixels before.

    `place` is the style's by which pixels are weighed, None the content's.
    """

    layer: str
    features: Tensor
    grid: int
    place: int | None = None


class Objective:
    """Losses of an image (1, 3, H, W) against a content picture of the same shape and styles of any.

    total = content_weight * content + style_weight * style + tv_weight * tv + laplacian_weight * laplacian
    + similarity_weight * similarity + swap_weight * swap, where

    - content is the mean over content layers of |F - P|^2 / (H W C var P), P the content's features
      (Gatys et al. 2015, eq. 1);
    - style is the mean over style layers, by `layer_weights`, of the distance between the image's statistic
      and the style's, in parts of the latter (`nsutils.losses`; Gatys' eqs. 4 and 5 have Gram matrices and no
      division), several styles' statistics blended by their weights before. The picture's colours are a layer
      as well, `pixels`: they bring the palette home;
    - each layer's style loss is a mean over `octaves`: the image, its half, its quarter, each against the
      style made as small, each counting half as much as the one before. So strokes and the swirls that
      they form are both compared, though no layer sees as far as a swirl;
    - tv is the mean squared difference of neighbours, in parts of the content's own;
    - laplacian is the mean over `laplacian_pools` of |L x - L c|^2 / |L c|^2, L the second derivative of the
      pooled light (Li et al. 2017, eq. 3): contours stay, without a network;
    - similarity is how differently the places of image and content are like each other in the content layers
      (Kolkin et al. 2019, eq. 4): what looked alike still does, whatever it looks like now;
    - swap is as content, but in the swap layers and against the features of those places of the style that are
      most like the content's (`nsutils.matching`): each part is painted as the style paints such a part. Style
      targets (files) have no places and take no part.
      The last three are only computed where their weights are above 0.

    So each term is a share of its target, without a unit: 0 is reached, 1 as far as nothing at all. Other
    conventions are the settings' (`relative`, `reduction`, `gram_divisor`, `blend`, `tv_form`); then terms have
    the units of the network and of `pixel_range`. The image is in the encoder's units (`Encoder.inward`), the
    pictures are not. An image of more pixels than `whole` is seen piece by piece (`nsutils.pieces`). Where the
    `regions` protect it, pixels count less for the style and more for the content; a style that has a place of its
    own is held against the statistics of that place.
    """

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        content: Tensor,
        styles: list[Tensor | Target],
        whole: int | None = None,
        regions: Regions | None = None,
    ):
        self.settings, self.encoder, self.whole = settings, encoder, whole
        self.regions = regions or Regions(where=(None,) * len(styles))
        self.statistic = statistic_of(settings.style_statistic, settings.gram_divisor)
        self.variation = TOTAL_VARIATIONS[settings.tv_form]
        portions = shares if settings.reduction == "mean" else dict
        weights = {layer: settings.layer_weights.get(layer, 1.0) for layer in settings.style_layers}
        self.style_shares = portions(weights)
        self.content_shares = portions(dict.fromkeys(settings.content_layers, 1.0))
        self.swap_shares = portions(dict.fromkeys(settings.swap_layers, 1.0))
        self.blend = list(shares(dict(enumerate(s.weight for s in settings.styles))).values())
        self.depth = min(settings.octaves, *(octaves_of(picture) for picture in (content, *styles)))
        octaves = shares({n: 0.5**n for n in range(self.depth)})
        self.octaves = torch.tensor([*octaves.values()], device=encoder.device)
        with torch.no_grad():
            self.picture = encoder.inward(content)
            self.swapping = self.swaps(styles)
            self.goals, self.likeness = self.wanted(self.picture)
            self.spread = {
                name: full(goal.features).var() + FLOOR if settings.relative else 1.0
                for name, goal in self.goals.items()
            }
            if settings.tv_form == "edges":
                self.variation = partial(self.variation, guide=self.picture)
            self.roughness = self.variation(self.picture) + FLOOR
            self.contours = {pool: laplacian(self.picture, pool) for pool in self.pools}
            self.style = self.targets([self.statistics_of(style) for style in styles])

    def wanted(self, picture: Tensor) -> tuple[dict[str, Goal], dict[str, Tensor]]:
        """What the content asks for, as content/LAYER and swap/LAYER; and how like each other its places are."""
        settings, swapped = self.settings, self.settings.swap_layers if self.swapping else ()
        layers = dict.fromkeys((*settings.content_layers, *swapped))
        found = seen(self.encoder, picture, layers, self.whole)
        goals = {
            f"content/{layer}": Goal(layer, found[layer], stride_of(layer))
            for layer in settings.content_layers
        }
        if swapped:
            goals |= self.swapped({layer: found[layer] for layer in swapped})
        counts = settings.content_layers if settings.similarity_weight else ()
        return goals, {layer: self_similarity(found[layer]) for layer in counts}

    def swapped(self, content: Features) -> dict[str, Goal]:
        """The content's features told in those of each place's styles."""
        here, grid = gathered(self.encoder, content), grid_of(content)
        return {
            f"swap/{keyed(layer, place)}": Goal(layer, features.to(content[layer]), grid, place)
            for place, (parts, weights) in self.swapping.items()
            for layer, features in matched(here, parts, weights).items()
        }

    def swaps(self, styles: list[Tensor | Target]) -> dict[int, tuple[list[Features], list[float]]]:
        """For each place of styles their features where they are swapped, and their shares, if that counts."""
        found: dict[int, tuple[list[Features], list[float]]] = {}
        for style, weight, place in zip(styles, self.blend, self.regions.places, strict=True):
            if self.settings.swap_weight and weight and isinstance(style, Tensor):
                inward = self.encoder.inward(style)
                features = seen(self.encoder, inward, self.settings.swap_layers, self.whole)
                parts, weights = found.setdefault(place, ([], []))
                parts.append(gathered(self.encoder, features))
                weights.append(weight)
        return found

    @property
    def pools(self) -> list[int]:
        """Those of `laplacian_pools` that leave enough of the picture, if they count."""
        if not self.settings.laplacian_weight:
            return []
        fits = min(self.picture.shape[-2:]) // 3
        return [pool for pool in self.settings.laplacian_pools if pool <= fits]

    def statistics_of(self, style: Tensor | Target) -> Octaves:
        """A style's statistics in each octave; a target's are there already."""
        if isinstance(style, Tensor):
            return style_statistics(self.settings, self.encoder, style, self.depth, self.whole)
        found = style.octaves(made_with(self.settings, self.encoder), self.settings.style_layers)
        return {
            layer: known[: self.depth].to(self.encoder.device) for layer, known in found.items()
        }

    def losses(self, image: Tensor, shift: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
        """Unweighted losses: content, style, tv, laplacian and similarity if they count, then those of each layer.

        `shift` rolls the image, down and across, before the encoder sees it; the content likewise.
        """
        goals, likeness, rolled, regions = self.goals, self.likeness, image, self.regions
        if any(shift):
            rolled, regions = image.roll(shift, (-2, -1)), regions.rolled(shift)
            with torch.no_grad():
                goals, likeness = self.wanted(self.picture.roll(shift, (-2, -1)))
        octaves = [
            measured(
                self.settings,
                self.encoder,
                F.avg_pool2d(rolled, 2**n),
                {} if n else goals,
                {} if n else likeness,
                regions.octave(n),
                self.whole,
                partial(self.pulled, n),
            )
            for n in range(self.depth)
        ]
        apart = {name: octaves[0][name] / self.spread[name] for name in goals}
        content = {layer: apart[f"content/{layer}"] for layer in self.content_shares}
        style = self.style_losses(octaves)
        tv = self.variation(image)
        return {
            "content": sum(self.content_shares[layer] * loss for layer, loss in content.items()),
            "style": sum(self.style_shares[layer] * loss for layer, loss in style.items()),
            "tv": tv / self.roughness if self.settings.relative else tv,
            **self.shape_losses(image, octaves[0]),
            **self.swap_losses(apart),
            **{f"content/{layer}": loss for layer, loss in content.items()},
            **{f"style/{layer}": loss for layer, loss in style.items()},
        }

    def swap_losses(self, apart: dict[str, Tensor]) -> dict[str, Tensor]:
        """How far the swap layers are from the style's features, if that counts."""
        shares = {
            f"swap/{keyed(layer, place)}": sum(weights) * share
            for place, (_, weights) in self.swapping.items()
            for layer, share in self.swap_shares.items()
        }
        return {"swap": sum(part * apart[name] for name, part in shares.items())} if shares else {}

    def shape_losses(self, image: Tensor, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those that hold the content's shapes, as far as they count."""
        losses = {}
        if self.contours:
            apart = [
                mean_square(laplacian(image, pool), contours, self.settings.relative).mean()
                for pool, contours in self.contours.items()
            ]
            losses["laplacian"] = sum(apart) / len(apart)
        if self.likeness:
            apart = [found[f"similarity/{layer}"] for layer in self.likeness]
            losses["similarity"] = sum(apart) / len(apart)
        return losses

    def style_losses(self, octaves: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Each style layer's loss, a mean over octaves, and over styles where it is losses that are blended."""
        relative, losses = self.settings.relative, dict.fromkeys(self.settings.style_layers, 0.0)
        for blend, wanted, place in self.style:
            for layer, got in stacked(self.settings, octaves, place).items():
                apart = self.octaves @ self.statistic.distance(got, wanted[layer], relative)
                losses[layer] = losses[layer] + blend * apart
        return losses

    def pulled(self, octave: int, name: str, features: Tensor) -> Tensor:
        """A layer's features, or content/LAYER's, their gradient as long as the layer's weight if that is asked for."""
        if not self.settings.normalize_gradients:
            return features
        if name.startswith("content/"):
            share = self.content_shares[name.removeprefix("content/")]
            return Pull.apply(features, self.settings.content_weight * share)
        if name.startswith("swap/"):
            share = self.swap_shares[self.goals[name].layer]
            return Pull.apply(features, self.settings.swap_weight * share)
        share = self.octaves[octave].item() * self.style_shares[name]
        return Pull.apply(features, self.settings.style_weight * share)

    def targets(self, styles: list[Octaves]) -> list[tuple[float, Octaves, int]]:
        """What the statistics are held against, what it counts, and by which style's place.

        The average of the styles that have no place of their own, or each style's own.
        """
        weighted = list(zip(self.blend, styles, self.regions.places, strict=True))
        if self.settings.blend == "targets":
            weighted = [
                average([one for one in weighted if one[2] == place])
                for place in dict.fromkeys(self.regions.places)
            ]
        return [
            (weight, {layer: self.statistic.ready(found) for layer, found in style.items()}, place)
            for weight, style, place in weighted
        ]

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The number to minimise."""
        settings = self.settings
        return (
            settings.content_weight * losses["content"]
            + settings.style_weight * losses["style"]
            + settings.tv_weight * losses["tv"]
            + settings.laplacian_weight * losses.get("laplacian", 0.0)
            + settings.similarity_weight * losses.get("similarity", 0.0)
            + settings.swap_weight * losses.get("swap", 0.0)
        )

    def slope(
        self, image: Tensor, shift: tuple[int, int] = (0, 0), weighed: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """The gradient with respect to the image; the losses, `total` first; the gradient's shares if `weighed`."""
        image = image.detach().requires_grad_()
        losses = self.losses(image, shift)
        total = self.total(losses)
        weighed = weighed and not self.divided(image)
        (slope,) = torch.autograd.grad(total, image, retain_graph=weighed)
        shares = self.shares(image, losses) if weighed else {}
        return slope.contiguous(), {"total": total, **losses}, shares

    def divided(self, image: Tensor) -> bool:
        """Whether the image is seen piece by piece."""
        return bool(self.whole) and math.prod(image.shape[-2:]) > self.whole

    def shares(self, image: Tensor, losses: dict[str, Tensor]) -> dict[str, float]:
        """How much of the image's gradient each term brings, as content, style, tv, ... and style/LAYER.

        The lengths of the terms' gradients in parts of the sum of all lengths; a style layer's of the style's share.
        Terms may pull against each other, so this is not what is left of them in the sum.
        """
        settings = self.settings
        weights = {
            "content": settings.content_weight,
            "tv": settings.tv_weight,
            "laplacian": settings.laplacian_weight,
            "similarity": settings.similarity_weight,
            "swap": settings.swap_weight,
        } | {f"style/{n}": settings.style_weight * part for n, part in self.style_shares.items()}
        pulls = {
            name: torch.autograd.grad(weight * losses[name], image, retain_graph=True)[0]
            for name, weight in weights.items()
            if weight and name in losses
        }
        layers = {name: pull for name, pull in pulls.items() if name.startswith("style/")}
        terms = {name: pull for name, pull in pulls.items() if name not in layers}
        if layers:
            terms["style"] = sum(layers.values())
        found = shares({name: pull.norm().item() for name, pull in terms.items()})
        lengths = shares({name: pull.norm().item() for name, pull in layers.items()})
        return found | {name: found["style"] * part for name, part in lengths.items()}


def measured(
    settings: Settings,
    encoder: Encoder,
    octave: Tensor,
    goals: dict[str, Goal] | None = None,
    likeness: dict[str, Tensor] | None = None,
    regions: Regions = EVERYWHERE,
    whole: int | None = None,
    pulled: Callable[[str, Tensor], Tensor] = lambda name, features: features,
) -> dict[str, Tensor]:
    """An octave's raw statistic at each style layer, and its squared distance from each of the goals, by their names.

    A style that has a place has statistics of its own there, as NUMBER:LAYER; the first's is LAYER alone.
    As similarity/LAYER how differently its places are like each other from `likeness`.
    Seen piece by piece if it has more pixels than `whole` and the losses can be so added up.
    """
    statistic = statistic_of(settings.style_statistic, settings.gram_divisor)
    goals, size = goals or {}, octave.shape[-2:]
    layers = (*(goal.layer for goal in goals.values()), *settings.style_layers)
    names = dict.fromkeys(name for name in layers if name != PIXELS)
    held, free = regions.held, regions.free

    def at(weights: Tensor | None, stride: int, piece: Piece | None) -> Tensor | None:
        """The weights of the pixels that a layer of that stride sees."""
        if weights is None:
            return None
        small = shrunk(weights, encoder.size_at(stride, size))
        return piece.place(small, stride) if piece else small

    def amount(weights: Tensor | None, layer: str) -> float:
        shape = encoder.size_at(stride_of(layer), size)
        return math.prod(shape) if weights is None else counted(octave, shrunk(weights, shape))

    def measure(pixels: Tensor, piece: Piece | None = None) -> dict[str, Tensor]:
        features, found = encoder(pixels, names), {}
        if PIXELS in settings.style_layers:
            features[PIXELS] = palette(pixels)
        if piece:
            features = {name: piece.core(x, stride_of(name)) for name, x in features.items()}
        for name, goal in goals.items():
            wanted, count = goal.features, goal.features.numel()
            wanted = piece.place(wanted, goal.grid) if piece else wanted
            near = pulled(name, features[goal.layer])
            near = averaged(encoder, near, goal.grid // stride_of(goal.layer))
            weights = held if goal.place is None else free[goal.place]
            found[name] = squared_distance(near, wanted, count, at(weights, goal.grid, piece))
        for layer, wanted in (likeness or {}).items():
            found[f"similarity/{layer}"] = unlike(self_similarity(features[layer]), wanted)
        for layer in settings.style_layers:
            features_ = pulled(layer, features[layer])
            for place in dict.fromkeys(regions.places):
                weights = free[place]
                found[keyed(layer, place)] = statistic.of(
                    features_, amount(weights, layer), at(weights, stride_of(layer), piece)
                )
        return found

    if not whole or math.prod(size) <= whole or not divisible(settings):
        return measure(octave)
    return summed(octave, measure, pieces(size, whole, encoder.reach(names)))


def average(weighted: list[tuple[float, Octaves, int]]) -> tuple[float, Octaves, int]:
    """Styles of one place as one."""
    share, (_, first, place) = sum(weight for weight, *_ in weighted) or 1.0, weighted[0]
    mean = {
        layer: sum(weight / share * found[layer] for weight, found, _ in weighted)
        for layer in first
    }
    return share, mean, place


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
    found = {layer: encoder.blank(layer, size) for layer in layers}
    for piece in pieces(size, whole, encoder.reach(layers)):
        for layer, features in encoder(piece.of(image), layers).items():
            stride = stride_of(layer)
            piece.place(found[layer], stride).copy_(piece.core(features, stride))
    return found


def stacked(settings: Settings, octaves: list[dict[str, Tensor]], place: int = 0) -> Octaves:
    """The statistic at each style layer, (octaves, C, K)."""
    return {
        layer: torch.cat([octave[keyed(layer, place)] for octave in octaves])
        for layer in settings.style_layers
    }


def style_statistics(
    settings: Settings, encoder: Encoder, style: Tensor, count: int, whole: int | None = None
) -> Octaves:
    """A style picture's statistics in so many octaves. Runs that share an encoder share them as well."""
    asked = [*made_with(settings, encoder).values(), divisible(settings)]
    picture = tuple(style.shape), pictures.sha256(style.cpu().numpy().tobytes())

    def made(layers: tuple[str, ...]) -> Octaves:
        asked = replace(settings, style_layers=layers)
        return computed_statistics(asked, encoder, style, count, whole)

    key = (*asked, *picture, str(style.device), count, whole)
    found = encoder.statistics.octaves(key, settings.style_layers, made)
    return {layer: statistics.to(style.device) for layer, statistics in found.items()}


@torch.no_grad()
def computed_statistics(
    settings: Settings, encoder: Encoder, style: Tensor, count: int, whole: int | None
) -> Octaves:
    inward = encoder.inward(style)
    octaves = [F.avg_pool2d(inward, 2**n) for n in range(count)]
    return stacked(
        settings, [measured(settings, encoder, octave, whole=whole) for octave in octaves]
    )


def octaves_of(picture: Tensor | Target) -> int:
    """How often it can be halved and still be wide enough for the deepest layer, and once more."""
    if isinstance(picture, Target):
        return picture.depth
    return max(1, (min(picture.shape[-2:]) // THINNEST).bit_length())


def made_with(settings: Settings, encoder: Encoder) -> dict[str, Any]:
    """All that a style's statistics depend on, but for its picture and its size."""
    names = ("style_statistic", "gram_divisor", "pixel_range", "octaves")
    network = {"encoder": encoder.name, "pooling": encoder.pooling, "padding": encoder.padding}
    more = ("ceil_mode", "gain", "feature_scale")
    return (
        {name: getattr(settings, name) for name in names}
        | network
        | {name: getattr(encoder, name) for name in more}
    )


def shares(weights: dict[Any, float]) -> dict[Any, float]:
    """The weights in parts of their sum."""
    whole = sum(weights.values()) or 1.0
    return {name: weight / whole for name, weight in weights.items()}


def palette(image: Tensor) -> Tensor:
    """The colours of each pixel and of its 5 x 5 neighbourhood, (1, 6, H, W)."""
    return torch.cat((image, F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)), 1)
