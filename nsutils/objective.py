"""What is minimised at one size: the targets of content and style, and the losses of an image against them."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils.encoders import Encoder
from nsutils.losses import FLOOR, TOTAL_VARIATIONS, Pull, feature_distance, statistic_of
from nsutils.settings import PIXELS, Settings
from nsutils.targets import Octaves, Target

THINNEST = 32  # pixels: the short edge that the deepest layer needs


class Objective:
    """Losses of an image (1, 3, H, W) against a content picture of the same shape and styles of any.

    total = content_weight * content + style_weight * style + tv_weight * tv, where

    - content is the mean over content layers of |F - P|^2 / (H W C var P), P the content's features
      (Gatys et al. 2015, eq. 1);
    - style is the mean over style layers, by `layer_weights`, of the distance between the image's statistic
      and the style's, in parts of the latter (`nsutils.losses`; Gatys' eqs. 4 and 5 have Gram matrices and no
      division), several styles' statistics blended by their weights before. The picture's colours are a layer
      as well, `pixels`: they bring the palette home;
    - each layer's style loss is a mean over `octaves`: the image, its half, its quarter, each against the
      style made as small, each counting half as much as the one before. So strokes and the swirls that
      they form are both compared, though no layer sees as far as a swirl;
    - tv is the mean squared difference of neighbours, in parts of the content's own.

    So each term is a share of its target, without a unit: 0 is reached, 1 as far as nothing at all. Other
    conventions are the settings' (`relative`, `reduction`, `gram_divisor`, `blend`, `tv_form`); then terms have
    the units of the network and of `pixel_range`. The image is in the encoder's units (`Encoder.inward`), the
    pictures are not.
    """

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        content: Tensor,
        styles: list[Tensor | Target],
    ):
        self.settings, self.encoder = settings, encoder
        self.statistic = statistic_of(settings.style_statistic, settings.gram_divisor)
        self.variation = TOTAL_VARIATIONS[settings.tv_form]
        self.layers = tuple(dict.fromkeys((*settings.content_layers, *settings.style_layers)))
        portions = shares if settings.reduction == "mean" else dict
        weights = {layer: settings.layer_weights.get(layer, 1.0) for layer in settings.style_layers}
        self.style_shares = portions(weights)
        self.content_shares = portions(dict.fromkeys(settings.content_layers, 1.0))
        self.blend = list(shares(dict(enumerate(s.weight for s in settings.styles))).values())
        depth = min(octaves_of(picture) for picture in (content, *styles))
        self.depth = min(settings.octaves, depth)
        octaves = shares({n: 0.5**n for n in range(self.depth)})
        self.octaves = torch.tensor([*octaves.values()], device=encoder.device)
        with torch.no_grad():
            self.picture = encoder.inward(content)
            self.content = encoder(self.picture, settings.content_layers)
            self.roughness = self.variation(self.picture) + FLOOR
            self.style = self.targets([self.statistics_of(style) for style in styles])

    def statistics_of(self, style: Tensor | Target) -> Octaves:
        """A style's statistics in each octave; a target's are there already."""
        if isinstance(style, Tensor):
            return style_statistics(self.settings, self.encoder, style, self.depth)
        found = style.octaves(made_with(self.settings, self.encoder), self.settings.style_layers)
        return {
            layer: known[: self.depth].to(self.encoder.device) for layer, known in found.items()
        }

    def losses(self, image: Tensor, shift: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
        """Unweighted losses: content, style, tv, then content/LAYER and style/LAYER for each layer.

        `shift` rolls the image, down and across, before the encoder sees it; the content likewise.
        """
        seen = image.roll(shift, (-2, -1)) if any(shift) else image
        features = octave_features(self.encoder, seen, self.layers, self.depth)
        content = self.content_losses(features[0], shift)
        style = self.style_losses(features)
        tv = self.variation(image)
        return {
            "content": sum(self.content_shares[layer] * loss for layer, loss in content.items()),
            "style": sum(self.style_shares[layer] * loss for layer, loss in style.items()),
            "tv": tv / self.roughness if self.settings.relative else tv,
            **{f"content/{layer}": loss for layer, loss in content.items()},
            **{f"style/{layer}": loss for layer, loss in style.items()},
        }

    def content_losses(
        self, features: dict[str, Tensor], shift: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Each content layer's loss."""
        targets = self.content
        if any(shift):
            with torch.no_grad():
                targets = self.encoder(self.picture.roll(shift, (-2, -1)), targets)
        losses = {}
        for layer, wanted in targets.items():
            weight = self.settings.content_weight * self.content_shares[layer]
            got = self.pulling(features[layer], weight)
            losses[layer] = feature_distance(got, wanted, self.settings.relative)
        return losses

    def style_losses(self, features: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Each style layer's loss, a mean over octaves, and over styles where it is losses that are blended."""
        weights = {
            layer: self.settings.style_weight * share for layer, share in self.style_shares.items()
        }
        pulling = [
            {
                layer: self.pulling(octave[layer], share * weight)
                for layer, weight in weights.items()
            }
            for share, octave in zip(self.octaves.tolist(), features, strict=True)
        ]
        relative = self.settings.relative
        return {
            layer: sum(
                blend * (self.octaves @ self.statistic.distance(got, wanted[layer], relative))
                for blend, wanted in self.style
            )
            for layer, got in statistics(self.settings, pulling).items()
        }

    def pulling(self, features: Tensor, weight: float) -> Tensor:
        """The features, their gradient as long as the weight if that is asked for."""
        return Pull.apply(features, weight) if self.settings.normalize_gradients else features

    def targets(self, styles: list[Octaves]) -> list[tuple[float, Octaves]]:
        """What the statistics are held against, and what it counts: the styles' average, or each style's own."""
        weighted = list(zip(self.blend, styles, strict=True))
        if self.settings.blend == "targets":
            layers = self.settings.style_layers
            weighted = [
                (1.0, {layer: sum(w * style[layer] for w, style in weighted) for layer in layers})
            ]
        return [
            (weight, {layer: self.statistic.ready(found) for layer, found in style.items()})
            for weight, style in weighted
        ]

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The number to minimise."""
        settings = self.settings
        return (
            settings.content_weight * losses["content"]
            + settings.style_weight * losses["style"]
            + settings.tv_weight * losses["tv"]
        )

    def slope(
        self, image: Tensor, shift: tuple[int, int] = (0, 0)
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient with respect to the image, and the losses, `total` first."""
        losses = self.losses(image, shift)
        total = self.total(losses)
        (slope,) = torch.autograd.grad(total, image)
        return slope.contiguous(), {"total": total, **losses}


def octave_features(
    encoder: Encoder, image: Tensor, layers: Iterable[str], count: int
) -> list[dict[str, Tensor]]:
    """What the encoder sees at the layers in so many octaves, and the palette if that is a layer."""
    octaves = [F.avg_pool2d(image, 2**n) for n in range(count)]
    features = [encoder(octave, [name for name in layers if name != PIXELS]) for octave in octaves]
    if PIXELS in layers:
        for octave, seen in zip(octaves, features, strict=True):
            seen[PIXELS] = palette(octave)
    return features


def statistics(settings: Settings, features: list[dict[str, Tensor]]) -> Octaves:
    """The style statistic at each style layer, (octaves, C, K)."""
    of = statistic_of(settings.style_statistic, settings.gram_divisor).of
    return {
        layer: torch.cat([of(octave[layer]) for octave in features])
        for layer in settings.style_layers
    }


@torch.no_grad()
def style_statistics(settings: Settings, encoder: Encoder, style: Tensor, count: int) -> Octaves:
    """A style picture's statistics in so many octaves."""
    inward = encoder.inward(style)
    return statistics(settings, octave_features(encoder, inward, settings.style_layers, count))


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
