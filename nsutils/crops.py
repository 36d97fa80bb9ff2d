"""Crops of whole pictures with the place that each spot came from: the slim encoder's second school."""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils import pictures
from nsutils.drawings import CELL, Sketch

EDGES = (448, 224)  # pixels: the sizes at which a picture is cropped
PLACE = 40  # pixels: two spots nearer than that have the same name


class Crops:
    """Small crops of a few pictures, turned, enlarged, mirrored and recoloured, and where each spot lies.

    A class is a square of PLACE pixels in one picture at one size. To name it whatever the turn, size,
    light and colours, a network must see what is drawn there: an eye, a window, a branch.
    (One picture with strong augmentation teaches the first layers nearly all they can learn: Asano,
    Rupprecht, Vedaldi, ICLR 2020.)
    """

    def __init__(self, files: Iterable[Path], edge: int = 64, device: str = "cpu"):
        self.edge, self.device, self.classes = edge, device, 0
        # one above the other in an atlas, so that a batch is cut at one go
        pieces, places, top = [], [], 0
        for file in files:
            whole = pictures.read(str(file))
            for size in EDGES:
                picture = pictures.fit(whole, size)
                height, width = picture.shape[-2:]
                places.append((height, width, top, self.classes))
                pieces.append(F.pad(picture, (0, max(EDGES) - width)))
                self.classes += math.ceil(height / PLACE) * math.ceil(width / PLACE)
                top += height
        self.atlas = torch.cat(pieces, -2).to(device)
        # of each picture height, width, top in the atlas, and first class
        self.places = torch.tensor(places, device=device)
        self.areas = self.places[:, :2].prod(1).float()

    def batch(
        self, count: int, variation: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """`count` crops (N, 3, E, E) in [0, 1] and labels (N, E/8, E/8), -100 outside the picture.

        `variation` from 0 to 1 is how far a crop is turned, enlarged and recoloured.
        """
        draw = Sketch(count, self.edge, generator, self.device)
        chosen = torch.multinomial(self.areas, count, True, generator=generator)
        zoom = 2 ** ((draw.uniform() - 0.5) * 0.8 * (1 + variation))
        turn = (draw.uniform() - 0.5) * variation
        side = torch.where(draw.chosen(0.5), 1.0, -1.0)
        x, y = draw.x * self.edge / 2 * zoom, draw.y * self.edge / 2 * zoom
        x, y = side * (x * turn.cos() - y * turn.sin()), x * turn.sin() + y * turn.cos()
        crops, labels = self.cut(chosen, x, y, draw.uniform(2))
        return draw.photographed(self.recoloured(crops, draw), variation), labels

    def cut(self, chosen: Tensor, x: Tensor, y: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures of those numbers (N,) at points (N, 1, E, E) in pixels from `middle` (N, 2, 1, 1).

        That is in parts of a picture's size. Beyond its border a picture is mirrored.
        """
        height, width, top, first = self.places[chosen].T.view(4, -1, 1, 1, 1)
        x, y = x + middle[:, :1] * width, y + middle[:, 1:] * height
        at = torch.cat((mirrored(x, width), mirrored(y, height) + top), 1)
        at = at.permute(0, 2, 3, 1).flatten(0, 1)[None]  # (1, N*E, E, 2)
        size = self.atlas.new_tensor(self.atlas.shape[:-3:-1])
        crops = F.grid_sample(self.atlas, at / size * 2 - 1, align_corners=False)
        crops = crops.view(3, *x.shape[:1], *x.shape[2:]).transpose(0, 1)
        right, down = (F.avg_pool2d(points, CELL) for points in (x, y))
        inside = (right >= 0) & (right < width) & (down >= 0) & (down < height)
        across = (width + PLACE - 1) // PLACE
        place = first + (down / PLACE).floor() * across + (right / PLACE).floor()
        return crops, torch.where(inside, place, -100).long()[:, 0]

    def recoloured(self, crops: Tensor, draw: Sketch) -> Tensor:
        """Other contrast, other brightness; one in four without colour."""
        grey = crops.mean(1, keepdim=True).expand_as(crops)
        crops = torch.where(draw.chosen(0.25), grey, crops)
        mean = crops.mean((2, 3), keepdim=True)
        contrast = torch.exp(0.25 * draw.normal())
        return (mean + (crops - mean) * contrast + 0.1 * draw.normal()).clamp(0, 1)


def mirrored(at: Tensor, side: Tensor) -> Tensor:
    """Points on a line of pixels, those beyond its ends mirrored into it, none nearer to an end than half a pixel."""
    back = side - ((at % (2 * side)) - side).abs()
    return torch.minimum(back.clamp_min(0.5), side - 0.5)
