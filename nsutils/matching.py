"""The content told in the style's features: each place has those of that place of the styles which is most like it."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils.encoders import Encoder, stride_of
from nsutils.losses import full

MOST = 16384  # places of the styles that are compared with
AT_ONCE = 1024  # places of the content that are compared in one product
SPREAD = 1e-3  # keeps a channel that never answers from being divided by nothing

Features = dict[str, Tensor]


def gathered(encoder: Encoder, features: Features) -> Features:
    """Features averaged to the grid of the deepest of the layers, in float32: a place has one vector of each."""
    grid = grid_of(features)
    return {
        layer: full(averaged(encoder, x, grid // stride_of(layer))) for layer, x in features.items()
    }


def grid_of(layers: Iterable[str]) -> int:
    """How many of the image's pixels lie between two places."""
    return max(stride_of(layer) for layer in layers)


def averaged(encoder: Encoder, features: Tensor, side: int) -> Tensor:
    """The means of squares of features; odd rows at the border as the encoder's own pooling has them."""
    if side == 1:
        return features
    return F.avg_pool2d(features, side, ceil_mode=encoder.ceil_mode, count_include_pad=False)


def matched(content: Features, styles: list[Features], shares: list[float]) -> Features:
    """At each place of the content the features of that place of the styles which is most like it.

    Style swap (Chen and Schmidt 2016, section 3.1) without patches: a place is compared by several layers at once, as
    Kolkin et al. 2022 do, and each channel in parts of its own spread in its own picture, so that the dark of a
    light content is like the dark of any style. Styles have as many places as their `shares` say.
    All features are on one grid, as `gathered` makes them; of more than MOST places a random part is taken.
    """
    places = {layer: chosen([style[layer] for style in styles], shares) for layer in content}
    here = {layer: x[0].flatten(1).T for layer, x in content.items()}
    known, asked = compared(places), compared(here)
    nearest = torch.cat([(part @ known.T).argmax(1) for part in asked.split(AT_ONCE)])
    return {
        layer: found[nearest].T.reshape(content[layer].shape) for layer, found in places.items()
    }


def chosen(styles: list[Tensor], shares: list[float]) -> Tensor:
    """Places of the styles, (n, C), in parts as the shares are, always the same."""
    places = [style[0].flatten(1).T for style in styles]
    whole = min(len(own) / share for own, share in zip(places, shares, strict=True))
    whole = min(whole, MOST / sum(shares))
    parts = zip(places, shares, strict=True)
    return torch.cat([thinned(own, round(share * whole)) for own, share in parts])


def thinned(places: Tensor, count: int) -> Tensor:
    """So many of the places, in their order."""
    if count >= len(places):
        return places
    chance = torch.Generator().manual_seed(len(places))
    kept = torch.randperm(len(places), generator=chance)[:count].sort().values
    return places[kept.to(places.device)]


def compared(places: Features) -> Tensor:
    """What places are compared by: their layers side by side, each channel around 0 and in parts of its spread."""
    parts = [(x - x.mean(0)) / (x.std(0) + SPREAD) for x in places.values()]
    return F.normalize(torch.cat(parts, 1), dim=1)
