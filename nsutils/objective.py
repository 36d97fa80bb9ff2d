"""What is minimised at one size: the targets of content and style, and the losses of an image against them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils.encoders import Encoder
from nsutils.losses import FLOOR, STYLE_STATISTICS, feature_distance, total_variation
from nsutils.settings import PIXELS, Settings


class Objective:
    """Losses of an image (1, 3, H, W) against `content` of the same shape and `styles` of any.

    total = content_weight * content + style_weight * style + tv_weight * tv, where

    - content is the mean over content layers of |F - P|^2 / (H W C var P), P the content's features
      (Gatys et al. 2015, eq. 1);
    - style is the mean over style layers, by `layer_weights`, of |A - S|^2 / |S|^2, where S is the style's
      statistic, several styles' blended by their weights before (eqs. 4 and 5 have Gram matrices and no
      division). The picture's colours are a layer as well, `pixels`: they bring the palette home;
    - tv is the mean squared difference of neighbours, in parts of the content's own.

    So each term is a share of its target, without a unit: 0 is reached, 1 as far as nothing at all.
    """

    def __init__(self, settings: Settings, encoder: Encoder, content: Tensor, styles: list[Tensor]):
        self.settings, self.encoder = settings, encoder
        self.statistic, self.distance = STYLE_STATISTICS[settings.style_statistic]
        wanted = dict.fromkeys((*settings.content_layers, *settings.style_layers))
        self.layers = encoder.check(layer for layer in wanted if layer != PIXELS)
        with torch.no_grad():
            self.content = encoder(content, settings.content_layers)
            self.roughness = total_variation(content) + FLOOR
            self.style = self.blended(
                [self.statistics(style, encoder(style, self.layers)) for style in styles]
            )
        shares = {layer: settings.layer_weights.get(layer, 1.0) for layer in settings.style_layers}
        self.shares = {
            layer: share / (sum(shares.values()) or 1.0) for layer, share in shares.items()
        }

    def losses(self, image: Tensor) -> dict[str, Tensor]:
        """Unweighted losses: content, style, tv, then content/LAYER and style/LAYER for each layer."""
        features = self.encoder(image, self.layers)
        content = {
            layer: feature_distance(features[layer], wanted)
            for layer, wanted in self.content.items()
        }
        got = self.statistics(image, features)
        style = {layer: self.distance(got[layer], wanted) for layer, wanted in self.style.items()}
        return {
            "content": sum(content.values()) / len(content),
            "style": sum(self.shares[layer] * loss for layer, loss in style.items()),
            "tv": total_variation(image) / self.roughness,
            **{f"content/{layer}": loss for layer, loss in content.items()},
            **{f"style/{layer}": loss for layer, loss in style.items()},
        }

    def statistics(self, image: Tensor, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The style statistic at each style layer."""
        return {
            layer: self.statistic(palette(image) if layer == PIXELS else features[layer])
            for layer in self.settings.style_layers
        }

    def blended(self, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Several styles' statistics averaged by the styles' weights."""
        weights = [style.weight for style in self.settings.styles]
        return {
            layer: sum(
                target[layer] * (weight / sum(weights))
                for target, weight in zip(targets, weights, strict=True)
            )
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


def palette(image: Tensor) -> Tensor:
    """The colours of each pixel and of its 5 x 5 neighbourhood, (1, 6, H, W)."""
    return torch.cat((image, F.avg_pool2d(image, 5, 1, 2, count_include_pad=False)), 1)
