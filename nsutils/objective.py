"""What is minimised at one size: the targets of content and style, and the losses of an image against them."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils.encoders import Encoder
from nsutils.losses import FLOOR, STYLE_STATISTICS, feature_distance, total_variation
from nsutils.settings import PIXELS, Settings

THINNEST = 32  # pixels: the short edge that the deepest layer needs


class Objective:
    """Losses of an image (1, 3, H, W) against `content` of the same shape and `styles` of any.

    total = content_weight * content + style_weight * style + tv_weight * tv, where

    - content is the mean over content layers of |F - P|^2 / (H W C var P), P the content's features
      (Gatys et al. 2015, eq. 1);
    - style is the mean over style layers, by `layer_weights`, of |A - S|^2 / |S|^2, where S is the style's
      statistic, several styles' blended by their weights before (eqs. 4 and 5 have Gram matrices and no
      division). The picture's colours are a layer as well, `pixels`: they bring the palette home;
    - each layer's style loss is a mean over `octaves`: the image, its half, its quarter, each against the
      style made as small, each counting half as much as the one before. So strokes and the swirls that
      they form are both compared, though no layer sees as far as a swirl;
    - tv is the mean squared difference of neighbours, in parts of the content's own.

    So each term is a share of its target, without a unit: 0 is reached, 1 as far as nothing at all.
    """

    def __init__(self, settings: Settings, encoder: Encoder, content: Tensor, styles: list[Tensor]):
        self.settings, self.encoder = settings, encoder
        self.statistic, self.distance = STYLE_STATISTICS[settings.style_statistic]
        wanted = dict.fromkeys((*settings.content_layers, *settings.style_layers))
        self.layers = encoder.check(layer for layer in wanted if layer != PIXELS)
        weights = {layer: settings.layer_weights.get(layer, 1.0) for layer in settings.style_layers}
        self.shares = shares(weights)
        thinnest = min(edge for picture in (content, *styles) for edge in picture.shape[-2:])
        octaves = [n for n in range(settings.octaves) if n == 0 or thinnest >> n >= THINNEST]
        self.octaves = shares({n: 0.5**n for n in octaves})
        with torch.no_grad():
            self.content = encoder(content, settings.content_layers)
            self.roughness = total_variation(content) + FLOOR
            targets = [self.statistics(self.features(style)) for style in styles]
            self.style = [self.blended(octave) for octave in zip(*targets, strict=True)]

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        """Unweighted losses: content, style, tv, then content/LAYER and style/LAYER for each layer."""
        features = self.features(image)
        content = {
            layer: feature_distance(features[0][layer], wanted)
            for layer, wanted in self.content.items()
        }
        octaves = list(
            zip(self.octaves.values(), self.statistics(features), self.style, strict=True)
        )
        style = {
            layer: sum(
                share * self.distance(got[layer], wanted[layer]) for share, got, wanted in octaves
            )
            for layer in self.settings.style_layers
        }
        return {
            "content": sum(content.values()) / len(content),
            "style": sum(self.shares[layer] * loss for layer, loss in style.items()),
            "tv": total_variation(image) / self.roughness,
            **{f"content/{layer}": loss for layer, loss in content.items()},
            **{f"style/{layer}": loss for layer, loss in style.items()},
        }

    def features(self, image: Tensor) -> list[dict[str, Tensor]]:
        """What the encoder sees in each octave, and the palette if it is asked for."""
        octaves = [F.avg_pool2d(image, 2**n) for n in self.octaves]
        features = [self.encoder(octave, self.layers) for octave in octaves]
        if PIXELS in self.settings.style_layers:
            for octave, seen in zip(octaves, features, strict=True):
                seen[PIXELS] = palette(octave)
        return features

    def statistics(self, features: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """The style statistic at each style layer of each octave."""
        return [
            {layer: self.statistic(octave[layer]) for layer in self.settings.style_layers}
            for octave in features
        ]

    def blended(self, targets: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Several styles' statistics averaged by the styles' weights."""
        weights = shares(dict(enumerate(style.weight for style in self.settings.styles))).values()
        both = list(zip(weights, targets, strict=True))
        return {
            layer: sum(weight * target[layer] for weight, target in both)
            for layer in self.settings.style_layers
        }

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The number to minimise."""
        settings = self.settings
        return (
            settings.content_weight * losses["content"]
            + settings.style_weight * losses["style"]
            + settings.tv_weight * losses["tv"]
        )


def shares(weights: dict[Any, float]) -> dict[Any, float]:
    """The weights in parts of their sum."""
    whole = sum(weights.values()) or 1.0
    return {name: weight / whole for name, weight in weights.items()}


def palette(image: Tensor) -> Tensor:
    """The colours of each pixel and of its 5 x 5 neighbourhood, (1, 6, H, W)."""
    return torch.cat((image, F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)), 1)
