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
        self.edge, self.device = edge, device
        self.pictures, self.firsts, self.classes = [], [], 0
        for file in files:
            whole = pictures.read(str(file))
            for size in EDGES:
                picture = pictures.fit(whole, size).to(device)
                height, width = picture.shape[-2:]
                self.pictures.append(picture)
                self.firsts.append(self.classes)
                self.classes += math.ceil(height / PLACE) * math.ceil(width / PLACE)
        areas = [picture.shape[-2] * picture.shape[-1] for picture in self.pictures]
        self.areas = torch.tensor(areas, dtype=torch.float32, device=device)

    def batch(
        self, count: int, variation: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """`count` crops (N, 3, E, E) in [0, 1] and labels (N, E/8, E/8), -100 outside the picture.

        `variation` from 0 to 1 is how far a crop is turned, enlarged and recoloured.
        """
        draw = Sketch(count, self.edge, generator, self.device)
        chosen = torch.multinomial(self.areas, count, True, generator=generator)
        zoom = 2 ** ((draw.uniform(1) - 0.5) * 0.8 * (1 + variation))
        turn = (draw.uniform() - 0.5) * variation
        mirrored = torch.where(draw.chosen(0.5), 1.0, -1.0)
        x, y = draw.x * self.edge / 2 * zoom, draw.y * self.edge / 2 * zoom
        x, y = mirrored * (x * turn.cos() - y * turn.sin()), x * turn.sin() + y * turn.cos()
        middle = draw.uniform(2)
        cut = [
            self.cut(number, x[n, 0], y[n, 0], middle[n, :, 0, 0])
            for n, number in enumerate(chosen.tolist())
        ]
        crops, labels = (torch.cat(parts) for parts in zip(*cut, strict=True))
        return draw.photographed(self.recoloured(crops, draw), variation), labels

    def cut(self, number: int, x: Tensor, y: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        """The picture of that number at points (E, E) in pixels from `middle`, which is in parts of its size."""
        picture = self.pictures[number]
        height, width = picture.shape[-2:]
        x, y = x + middle[0] * width, y + middle[1] * height
        grid = torch.stack((x / width, y / height), -1)[None] * 2 - 1
        crop = F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)
        right, down = (F.avg_pool2d(points[None], CELL) for points in (x, y))
        inside = (right >= 0) & (right < width) & (down >= 0) & (down < height)
        place = (down / PLACE).floor() * math.ceil(width / PLACE) + (right / PLACE).floor()
        return crop, torch.where(inside, self.firsts[number] + place, -100).long()

    def recoloured(self, crops: Tensor, draw: Sketch) -> Tensor:
        """Other contrast, other brightness; one in four without colour."""
        grey = crops.mean(1, keepdim=True).expand_as(crops)
        crops = torch.where(draw.chosen(0.25), grey, crops)
        mean = crops.mean((2, 3), keepdim=True)
        contrast = torch.exp(0.25 * draw.normal())
        return (mean + (crops - mean) * contrast + 0.1 * draw.normal()).clamp(0, 1)
