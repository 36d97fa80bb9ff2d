"""What is minimised at one size: the targets of content and style, and the losses of an image against them."""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nsutils.encoders import Encoder
from nsutils.graphs import Recorded, side_by_side
from nsutils.losses import Pull, displaced, fitting, laplacian, self_similarity
from nsutils.measures import (
    divisible,
    grain,
    halved,
    in_palette,
    made_with,
    measured,
    octaves_of,
    seen,
    stacked,
    style_statistics,
)
from nsutils.regions import Regions
from nsutils.settings import Settings
from nsutils.shapes import busy, cells, drawn, sky, wide
from nsutils.statistics import FLOOR, full, mean_square, statistic_of
from nsutils.targets import PALETTE, Octaves, Target
from nsutils.variation import TOTAL_VARIATIONS, evenness

TERMS = ("content", "style", "tv", "layout", "laplacian", "similarity")
LOOSE = ("tv", "layout")  # what holds a landscape less
NEAR = 0.02  # of the picture: faces as large make a portrait of it, whatever is above
ENOUGH = 0.3  # of the places that a layer needs: an octave with fewer is not worth its time
FINEST = 5e-4  # grain: a style with less is not smoothed more
GREY = 1e-4  # variance, white 1: colours that vary less, as grey ones with noise, are hardly spread


class Objective:
    """Losses of an image (1, 3, H, W) against a content picture of the same shape and styles of any.

    total = content_weight * content + style_weight * style + tv_weight * tv + layout_weight * layout
    + laplacian_weight * laplacian + similarity_weight * similarity, where

    - content is the mean over content layers of |F - P|^2 / (H W C var P), P the content's features
      (Gatys et al. 2015, eq. 1);
    - style is the mean over style layers, by `layer_weights`, of the distance between the image's statistic
      and the style's, in parts of the latter (`nsutils.statistics`; Gatys' eqs. 4 and 5 have Gram matrices and no
      division), several styles' statistics blended by their weights before. The picture's colours are a layer
      as well, `pixels`: they bring the palette home;
    - each layer's style loss is a mean over `octaves`: the image, its half, its quarter, each against the
      style made as small, each counting half as much as the one before. So strokes and the swirls that
      they form are both compared, though no layer sees as far as a swirl;
    - a layer that sees a picture in fewer places than `places_per_channel` for each of its channels counts less, in
      proportion, in each octave: a covariance of C channels over fewer than C places tells where the style's things
      stand rather than how it is painted, and would lay its sky and ground over a face. The whole picture's
      places are counted, also where a style has a place of its own. An octave after the first in which it sees fewer
      than ENOUGH of them is left out, with all that lies on the way to it;
    - tv is the mean squared difference of neighbours, less where the content has an edge, and of colours more along
      the border (`tv_form`), in parts of the styles' grain: what is flat in the content stays flat, and the style's
      strokes are not embossed in it;
    - layout is how far the mean colours of cells, 16 along the long edge, are from the content's as the styles'
      palettes would show it, in parts of the deviation of its colours. Cells in which the content is flat hardly
      count: a face keeps one colour, and a sky is free for the style's suns (`nsutils.losses.displaced`);
    - laplacian is the mean over `laplacian_pools` of |L x - L c|^2 / |L c|^2, L the second derivative of the
      pooled light (Li et al. 2017, eq. 3): contours stay, without a network;
    - similarity is how differently the places of image and content are like each other in the content layers
      (Kolkin et al. 2019, eq. 4): what looked alike still does, whatever it looks like now.
      The last three are only computed where their weights are above 0, and layout where content counts, too.

    So each term is a share of its target, without a unit: 0 is reached, 1 as far as nothing at all. Other
    conventions are the settings' (`relative`, `reduction`, `gram_divisor`, `blend`, `tv_form`); then terms have
    the units of the network and of `pixel_range`. The image is in the encoder's units (`Encoder.inward`), the
    pictures are not. An image of more pixels than `whole` is seen piece by piece (`nsutils.pieces`). Where the
    `regions` protect it, pixels count less for the style and more for the content; a style that has a place of its
    own is held against the statistics of that place. And by `sparing` pixels count less for the style where much is
    drawn in the content: what it holds there the style cannot change, and statistics of all would ask the rest for
    what is missing, so that skies had neither the style's strokes nor its colours, but the difference. A face in
    the regions counts as drawn all over. And by `freeing` pixels count less for the content in its sky, that is, where
    it is flat from the upper edge down: a style's strokes need not be like the sky's features there. A wide sky makes
    a landscape, unless a face is near; then tv, layout, and the sparing of all but faces count less everywhere, by as
    much, for houses and trees bear strokes that a person does not.
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
        self.blend = list(shares(dict(enumerate(s.weight for s in settings.styles))).values())
        self.depth = min(settings.octaves, *(octaves_of(picture) for picture in (content, *styles)))
        with torch.no_grad():
            self.picture = encoder.inward(content)
            statistics = [self.statistics_of(style) for style in styles]
            self.palettes = [found.pop(PALETTE)[:1] for found in statistics]
            self.content = seen(encoder, self.picture, settings.content_layers, whole)
            self.spread = {
                layer: full(features).var() + FLOOR if settings.relative else 1.0
                for layer, features in self.content.items()
            }
            self.hold = 1.0
            if settings.by_shapes:
                self.regions, self.hold = self.shaped(content)
            self.layout = self.layout_of(self.picture)
            pools = settings.laplacian_pools if settings.laplacian_weight else ()
            pools = fitting(pools, self.picture.shape[-2:])
            self.contours = {pool: laplacian(self.picture, pool) for pool in pools}
            self.likeness = self.likeness_of(self.content)
            self.octaves = {}
            for layer, found in statistics[0].items():
                counts = self.octave_counts(layer, found.shape[-2])
                self.style_shares[layer] *= counts.sum().item()
                self.octaves[layer] = counts / counts.sum()
            self.depth = max(map(len, self.octaves.values()))  # further no layer is looked at
            self.octave_shares = padded(self.octaves[layer] for layer in self.style_shares)
            self.layer_shares = torch.tensor([*self.style_shares.values()]).to(self.octave_shares)
            self.asked = [
                replace(settings, style_layers=self.layers_of(n)) for n in range(self.depth)
            ]
            self.style = self.targets(statistics)
            if settings.tv_form == "edges":
                # a texture for its own sake is not to know the content by its edges
                guide = self.picture if settings.content_weight else torch.zeros_like(self.picture)
                self.variation = partial(self.variation, evenness=evenness(guide))
            self.roughness = self.roughness_of()
        self.recorded: Recorded | None = None

    def shaped(self, content: Tensor) -> tuple[Regions, float]:
        """The regions with what is spared and freed, and how firmly the photograph is held, 1 or less."""
        settings, shapes, above = self.settings, drawn(content), sky(content)
        faces = torch.zeros_like(above) if self.regions.faces is None else self.regions.faces
        near = min(1.0, faces.mean().item() / NEAR)
        hold = 1 - settings.freeing * wide(above) * (1 - near)
        shapes, above = torch.maximum(hold * shapes, faces), torch.minimum(above, 1 - faces)
        spared = settings.sparing * shapes if settings.sparing else None
        freed = settings.freeing * above if settings.freeing else None
        return replace(self.regions, spared=spared, freed=freed, faces=None), hold

    def octave_counts(self, layer: str, channels: int) -> Tensor:
        """How much each octave counts at a layer; the sum is below 1 where its places are too few.

        As many as are looked at: from the second on not those with so few places that they hardly count.
        """
        height, width = self.picture.shape[-2:]
        counts = []
        for n, count in shares({n: 0.5**n for n in range(self.depth)}).items():
            places = max(1, math.prod(self.encoder.size_at(layer, (height >> n, width >> n))))
            enough = places / max(places, self.settings.places_per_channel * channels)
            if n and enough < ENOUGH:
                break
            counts.append(count * enough)
        return torch.tensor(counts, device=self.encoder.device)

    def layers_of(self, octave: int) -> tuple[str, ...]:
        """The style layers that are looked at in an octave."""
        return tuple(layer for layer in self.octaves if octave < len(self.octaves[layer]))

    def coloured(self, picture: Tensor) -> Tensor:
        """The content as the styles' palettes would show it, each in its place; its own where it is protected."""
        regions, shown, covered = self.regions, 0.0, 0.0
        least = GREY * self.encoder.pixel_range**2
        for share, found, place in self.of_places([{PALETTE: one} for one in self.palettes]):
            where = regions.where[place]
            part = share if where is None else share * where
            shown = shown + part * in_palette(picture, found[PALETTE], least, where)
            covered = covered + part
        covered = torch.as_tensor(covered).to(picture)
        shown = torch.where(covered > 0, shown / covered, picture)
        shown = self.encoder.inward(self.encoder.outward(shown).clamp(0, 1))
        return shown if regions.protected is None else shown.lerp(picture, regions.protected)

    def layout_of(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """The colours that the content's cells shall have, how much each counts, and their spread, if that counts."""
        settings = self.settings
        if not settings.layout_weight or not settings.content_weight:
            return None
        shown = self.coloured(picture) if settings.style_weight else picture
        spread = (shown.var((-2, -1)).mean() + GREY * self.encoder.pixel_range**2).sqrt()
        return cells(shown), busy(self.encoder.outward(shown)), spread

    def likeness_of(self, content: dict[str, Tensor]) -> dict[str, Tensor]:
        """How like each other the places of the content are, by layer, if that counts."""
        if not self.settings.similarity_weight:
            return {}
        return {layer: self_similarity(features) for layer, features in content.items()}

    def statistics_of(self, style: Tensor | Target) -> Octaves:
        """A style's statistics in each octave; a target's are there already."""
        if isinstance(style, Tensor):
            return style_statistics(self.settings, self.encoder, style, self.depth, self.whole)
        layers = (*self.settings.style_layers, PALETTE)
        found = style.octaves(made_with(self.settings, self.encoder), layers)
        return {layer: found[layer][: self.depth].to(self.encoder.device) for layer in layers}

    def roughness_of(self) -> Tensor:
        """What total variation is told in parts of: the content's own, or between edges the grain of the styles."""
        if self.settings.tv_form != "edges":
            return self.variation(self.picture) + FLOOR
        found = sum(
            share * grain(one) for share, one in zip(self.blend, self.palettes, strict=True)
        )
        return found.clamp_min(FINEST * self.encoder.pixel_range**2)

    def losses(self, image: Tensor, shift: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
        """Unweighted losses: content, style, tv, layout, laplacian and similarity if they count, then the layers'.

        `shift` rolls the image, down and across, before the encoder sees it; the content likewise.
        """
        wanted, likeness, rolled, regions = self.content, self.likeness, image, self.regions
        if any(shift):
            rolled, regions = image.roll(shift, (-2, -1)), regions.rolled(shift)
            with torch.no_grad():
                picture = self.picture.roll(shift, (-2, -1))
                wanted = seen(self.encoder, picture, self.content, self.whole)
                likeness = self.likeness_of(wanted)

        def octave(n: int, pixels: Tensor) -> dict[str, Tensor]:
            held = ({}, {}) if n else (wanted, likeness)
            how = regions.octave(n), self.whole, partial(self.pulled, n)
            return measured(self.asked[n], self.encoder, pixels, *held, *how)

        octaves = side_by_side(octave, range(self.depth), halved(rolled, self.depth))
        content = {layer: octaves[0][f"content/{layer}"] / self.spread[layer] for layer in wanted}
        style = self.style_losses(octaves)
        tv = self.variation(image)
        return {
            "content": sum(self.content_shares[layer] * loss for layer, loss in content.items()),
            "style": self.layer_shares @ style,
            "tv": tv / self.roughness if self.settings.relative else tv,
            **self.shape_losses(image, octaves[0]),
            **{f"content/{layer}": loss for layer, loss in content.items()},
            **{
                f"style/{layer}": loss for layer, loss in zip(self.style_shares, style, strict=True)
            },
        }

    def shape_losses(self, image: Tensor, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those that hold the content's shapes, as far as they count."""
        losses = {}
        if self.layout:
            losses["layout"] = displaced(cells(image), *self.layout)
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

    def style_losses(self, octaves: list[dict[str, Tensor]]) -> Tensor:
        """Each style layer's loss, (layers,), a mean over octaves, and of styles if their losses are blended."""
        losses = 0.0
        for blend, wanted, place in self.style:
            got = stacked(self.settings, octaves, place)
            targets = [wanted[layer] for layer in got]
            apart = self.statistic.distances(got.values(), targets, self.settings.relative)
            losses = losses + blend * (self.octave_shares * padded(apart)).sum(-1)
        return losses

    def pulled(self, octave: int, name: str, features: Tensor) -> Tensor:
        """A layer's features, or content/LAYER's, their gradient as long as the layer's weight if that is asked for."""
        if not self.settings.normalize_gradients:
            return features
        if name.startswith("content/"):
            share = self.content_shares[name.removeprefix("content/")]
            return Pull.apply(features, self.settings.content_weight * share)
        share = self.octaves[name][octave] * self.style_shares[name]
        return Pull.apply(features, self.settings.style_weight * share)

    def targets(self, styles: list[Octaves]) -> list[tuple[float, dict[str, Any], int]]:
        """What the statistics are held against, what it counts, and by which style's place.

        The average of the styles that have no place of their own, or each style's own.
        """
        if self.settings.blend == "targets":
            weighted = self.of_places(styles)
        else:
            weighted = zip(self.blend, styles, self.regions.places, strict=True)
        ready, octaves = self.statistic.ready, self.octaves
        return [
            (weight, {layer: ready(style[layer][: len(octaves[layer])]) for layer in style}, place)
            for weight, style, place in weighted
        ]

    def of_places(self, styles: list[Octaves]) -> list[tuple[float, Octaves, int]]:
        """The share and the average of the styles of each place, where it is above 0."""
        weighted = [
            one for one in zip(self.blend, styles, self.regions.places, strict=True) if one[0]
        ]
        return [
            average([one for one in weighted if one[2] == place])
            for place in dict.fromkeys(place for *_, place in weighted)
        ]

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The number to minimise."""
        return sum(weight * losses[term] for term, weight in self.weights.items() if term in losses)

    @property
    def weights(self) -> dict[str, float]:
        """What each term counts: as asked, but for those that a wide sky loosens."""
        return {
            term: getattr(self.settings, f"{term}_weight") * (self.hold if term in LOOSE else 1)
            for term in TERMS
        }

    def slope(
        self, image: Tensor, shift: tuple[int, int] = (0, 0), weighed: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """The gradient with respect to the image; the losses, `total` first; the gradient's shares if `weighed`."""
        if image.is_cuda and not (any(shift) or weighed or self.divided(image)):
            self.recorded = self.recorded or Recorded(self.computed_slope, image)
            slope, losses, shares = self.recorded(image)
            return slope.clone(), losses, shares
        return self.computed_slope(image, shift, weighed)

    @torch.enable_grad()
    def computed_slope(
        self, image: Tensor, shift: tuple[int, int] = (0, 0), weighed: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """The same, never recorded."""
        image = image.detach().requires_grad_()
        losses = self.losses(image, shift)
        total = self.total(losses)
        lift = self.lift(image, total.detach())
        weighed = weighed and not self.divided(image)
        (slope,) = torch.autograd.grad(lift * total, image, retain_graph=weighed)
        slope = slope / lift
        shares = self.shares(image, losses, lift) if weighed else {}
        losses = {name: loss.detach() for name, loss in losses.items()}
        return slope.contiguous(), {"total": total.detach(), **losses}, shares

    def lift(self, image: Tensor, total: Tensor) -> Tensor | float:
        """What losses are multiplied by on the way back: float16 knows nothing below 6e-8, and a slope of a feature is
        about the loss in parts of the pixels. Gradients of a set length are as long whatever this is, and stay small.
        """
        if self.encoder.precision != "float16" or self.settings.normalize_gradients:
            return 1.0
        return math.prod(image.shape[-2:]) / total.clamp_min(FLOOR)

    def divided(self, image: Tensor) -> bool:
        """Whether the image is seen piece by piece."""
        large = bool(self.whole) and math.prod(image.shape[-2:]) > self.whole
        return large and divisible(self.settings)

    def shares(
        self, image: Tensor, losses: dict[str, Tensor], lift: Tensor | float
    ) -> dict[str, float]:
        """How much of the image's gradient each term brings, as content, style, tv, ... and style/LAYER.

        The lengths of the terms' gradients in parts of the sum of all lengths; a style layer's of the style's share.
        Terms may pull against each other, so this is not what is left of them in the sum.
        `lift` is what they are multiplied by on the way back; it changes no share.
        """
        weights = self.weights
        whole = weights.pop("style")
        weights |= {f"style/{layer}": whole * part for layer, part in self.style_shares.items()}
        pulls = {
            name: torch.autograd.grad(lift * weight * losses[name], image, retain_graph=True)[0]
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


def padded(rows: Iterable[Tensor]) -> Tensor:
    """Rows of different lengths as one tensor, with zeros behind the shorter ones."""
    return pad_sequence([*rows], batch_first=True)


def average(weighted: list[tuple[float, Octaves, int]]) -> tuple[float, Octaves, int]:
    """Styles of one place as one."""
    share, (_, first, place) = sum(weight for weight, *_ in weighted), weighted[0]
    mean = {
        layer: sum(weight / share * found[layer] for weight, found, _ in weighted)
        for layer in first
    }
    return share, mean, place


def shares(weights: dict[Any, float]) -> dict[Any, float]:
    """The weights in parts of their sum."""
    whole = sum(weights.values()) or 1.0
    return {name: weight / whole for name, weight in weights.items()}
