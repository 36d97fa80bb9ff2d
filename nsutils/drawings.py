"""Textures drawn by formula, several side by side in a picture: what the slim encoder learns from."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 8  # pixels: the training labels' grid


class Textures:
    """Pictures of several textures side by side, with the number of the texture at every place.

    A class fixes a texture's statistics: two bands of oriented noise (strokes and the bristles in them),
    or cells, or dots; how sharp, how curved, and four colours, some of them nearly the same, so that a faint
    texture is not taken for none. Flat and softly shaded shapes are one class more, the last. Where a texture
    lies, its every line, and the light on it are new in each picture. `seed` fixes the classes, `generator`
    what is drawn.
    """

    def __init__(self, classes: int = 800, edge: int = 64, seed: int = 0, device: str = "cpu"):
        fixed = torch.Generator().manual_seed(seed)
        self.classes, self.edge, self.device = classes + 1, edge, device

        def uniform(low, high):
            return (low + (high - low) * torch.rand(classes, generator=fixed)).to(device)

        def chosen(share):
            return uniform(0, 1) < share

        self.frequency = 2 ** uniform(1.0, 4.2)  # cycles a picture of 64 pixels
        self.orientation = uniform(0, math.pi)
        # in radians; 9 is every direction
        self.spread = torch.where(chosen(0.3), 9.0, uniform(0.1, 0.5))
        self.octaves = uniform(0.15, 0.75)
        self.bristles = torch.where(chosen(0.5), uniform(0.2, 0.7), 0.0)
        self.finer = 2 ** uniform(1.2, 2.6)
        self.sharpness = 10 ** uniform(-0.2, 1.4)
        self.bend = torch.where(chosen(0.6), uniform(0, 0.3), 0.0)
        self.bend_frequency = 2 ** uniform(0.3, 2.0)
        kinds = torch.tensor([0.5, 0.22, 0.15, 0.13])
        self.kind = torch.multinomial(kinds, classes, True, generator=fixed).to(device)
        colours = palettes(classes, 4, fixed)
        faint = torch.rand(classes, 1, 1, generator=fixed) < 0.35
        low = 0.1 + 0.4 * torch.rand(classes, 1, 1, generator=fixed)
        contrast = torch.where(faint, low, 1.0)
        self.palette = torch.lerp(colours.mean(1, keepdim=True), colours, contrast).to(device)

    def batch(
        self, count: int, variation: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """`count` pictures (N, 3, E, E) in [0, 1] and labels (N, E/8, E/8), -100 where several classes meet.

        `variation` from 0 to 1 is how far a texture strays from its class.
        """
        draw = Sketch(count, self.edge, generator, self.device)
        flat = self.classes - 1
        labels = torch.randint(flat, (3, count), generator=generator, device=self.device)
        picture, place = self.texture(labels[0], variation, draw), labels[0].view(-1, 1, 1, 1)
        for label in labels[1:]:
            inside = draw.region()
            picture = torch.lerp(picture, self.texture(label, variation, draw), inside)
            place = torch.where(inside > 0.5, label.view(-1, 1, 1, 1), place)
        for _ in range(2):
            inside = draw.shape()
            picture = torch.lerp(picture, draw.shade(), inside)
            place = torch.where(inside > 0.5, flat, place)
        place = place.expand(-1, -1, self.edge, self.edge)
        return draw.photographed(picture, variation), cells(place)

    def texture(self, label: Tensor, variation: float, draw: "Sketch") -> Tensor:
        """One texture a picture, (N, 3, E, E)."""
        frequency = self.frequency[label] * 2 ** (0.25 * variation * draw.normal()).flatten()
        turn = self.orientation[label] + 0.25 * variation * draw.normal().flatten()
        how = turn, self.spread[label], self.octaves[label]
        coarse, fine = (draw.band(f, *how) for f in (frequency, frequency * self.finer[label]))
        bristles = self.bristles[label].view(-1, 1, 1)
        field = draw.noise(coarse + bristles * fine)
        kind = self.kind[label].view(-1, 1, 1, 1)
        field = torch.where(kind == 1, field.abs() * 1.5 - 1, field)
        if len(pointed := (kind >= 2).nonzero()[:, 0]):
            nearest, second = draw.distances(frequency[pointed])
            celled, dotted = 1 - 3 * (second - nearest), 3 * nearest - 1
            rough = 0.3 * bristles[pointed, None] * field[pointed]
            field[pointed] = torch.where(kind[pointed] == 2, celled, dotted) + rough
        reach = self.bend[label] * (1 + 0.3 * variation * draw.normal().flatten())
        field = draw.bent(field, self.bend_frequency[label], reach)
        tone = torch.sigmoid(field * self.sharpness[label].view(-1, 1, 1, 1))
        colours = self.palette[label] + 0.08 * variation * draw.normal(4, 3)
        return coloured(tone, colours)


class Sketch:
    """Random fields and shapes for `count` pictures of `edge` x `edge` pixels, each (N, 1, E, E)."""

    def __init__(self, count: int, edge: int, generator: torch.Generator, device: str = "cpu"):
        self.count, self.edge, self.generator, self.device = count, edge, generator, device
        down = torch.fft.fftfreq(edge, 1 / edge, device=device)[:, None]
        right = torch.fft.rfftfreq(edge, 1 / edge, device=device)[None]
        self.radius = torch.hypot(down, right).clamp_min(1e-3) * 64 / edge
        self.angle = torch.atan2(down.expand_as(self.radius), right.expand_as(self.radius))
        line = (torch.arange(edge, device=device) + 0.5) / edge * 2 - 1
        self.y, self.x = torch.meshgrid(line, line, indexing="ij")

    def normal(self, *shape: int) -> Tensor:
        """(N, *shape, 1, 1), or (N, 4, 3) for two sizes."""
        shape = shape if len(shape) > 1 else (*(shape or (1,)), 1, 1)
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def uniform(self, channels: int = 1) -> Tensor:
        return torch.rand(self.count, channels, 1, 1, generator=self.generator, device=self.device)

    def chosen(self, share: float) -> Tensor:
        return self.uniform() < share

    def band(
        self, frequency: Tensor, orientation: Tensor, spread: Tensor, octaves: Tensor
    ) -> Tensor:
        """A spectrum around `frequency`, `octaves` wide, within `spread` radians of `orientation`; all (N,)."""
        frequency, orientation, spread, octaves = (
            v.view(-1, 1, 1) for v in (frequency, orientation, spread, octaves)
        )
        away = torch.remainder(self.angle - orientation + math.pi / 2, math.pi) - math.pi / 2
        apart = (self.radius / frequency).log2()
        return torch.exp(-((apart / octaves) ** 2 + (away / spread) ** 2) / 2)

    def noise(self, spectrum: Tensor) -> Tensor:
        """White noise with that spectrum, mean 0, variance 1."""
        size = self.count, self.edge, self.edge
        white = torch.randn(size, generator=self.generator, device=self.device)
        field = torch.fft.irfft2(torch.fft.rfft2(white) * spectrum, s=white.shape[-2:])
        field = field - field.mean((1, 2), keepdim=True)
        return (field / field.std((1, 2), keepdim=True).clamp_min(1e-6))[:, None]

    def clouds(self, frequency: Tensor | float) -> Tensor:
        """Soft noise without a direction."""
        full = torch.full((self.count,), 1.0, device=self.device)
        return self.noise(self.band(full * frequency, full * 0, full * 9, full * 0.4))

    def bent(self, field: Tensor, frequency: Tensor, reach: Tensor) -> Tensor:
        """The field pushed about along a soft flow, up to about `reach` half-pictures."""
        reach = reach.view(-1, 1, 1)
        x = self.x + reach * self.clouds(frequency)[:, 0]
        y = self.y + reach * self.clouds(frequency)[:, 0]
        at = torch.stack((x, y), -1)
        return F.grid_sample(field, at, padding_mode="reflection", align_corners=False)

    def distances(self, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """To the nearest and the second nearest of points as dense as `frequency`, in mean spacings."""
        many, count = 36, len(frequency)
        points = torch.rand(count, many, 2, generator=self.generator, device=self.device)
        points = points * 2.4 - 1.2
        used = (frequency.clamp(2, 6) ** 2).view(-1, 1)
        points[torch.arange(many, device=self.device) >= used] = 9.0
        here = torch.stack((self.x, self.y), -1).view(1, -1, 2).expand(count, -1, -1)
        apart = torch.cdist(points, here) * used.sqrt().unsqueeze(-1) / 2.4
        nearest = apart.amin(1, keepdim=True)
        second = apart.masked_fill_(apart == nearest, torch.inf).amin(1)
        size = count, 1, self.edge, self.edge
        return nearest.view(size), second.view(size)

    def region(self) -> Tensor:
        """A patch of a picture, mostly with a crisp border: a blob, or a shape."""
        clouds = self.clouds(2 ** (0.2 + 1.6 * self.uniform().flatten()))
        blob = torch.sigmoid((clouds - self.normal() * 0.5) * 25)
        return torch.where(self.chosen(0.5), blob, self.shape(1.2))

    def shape(self, size: float = 0.5) -> Tensor:
        """An ellipse, a rectangle or a half-plane."""
        turn, flat = self.uniform() * math.tau, 0.2 + 0.8 * self.uniform()
        x, y = self.x - (self.uniform() * 2 - 1), self.y - (self.uniform() * 2 - 1)
        along, across = x * turn.cos() + y * turn.sin(), (y * turn.cos() - x * turn.sin()) / flat
        rectangle, half = torch.maximum(along.abs(), across.abs()), along + 0.3
        distance = torch.where(self.chosen(0.4), rectangle, torch.hypot(along, across))
        distance = torch.where(self.chosen(0.15 if size > 1 else 0), half, distance)
        return ((self.uniform() * size - distance) * self.edge / 2 + 0.5).clamp(0, 1)

    def shade(self) -> Tensor:
        """A colour that slowly turns into another, (N, 3, E, E)."""
        turn = self.uniform() * math.tau
        ramp = (self.x * turn.cos() + self.y * turn.sin()) * (self.uniform() - 0.5)
        return self.uniform(3) + 0.6 * ramp * self.uniform(3)

    def photographed(self, picture: Tensor, variation: float) -> Tensor:
        """Under soft light, with the colours, blur and grain that differ from camera to camera."""
        picture = picture * (1 + 0.25 * self.clouds(1.2) * self.uniform())
        picture = picture * (1 + 0.12 * variation * self.normal(3))
        picture = picture + 0.06 * variation * self.normal(3)
        blurred = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="reflect"), 3, 1)
        picture = torch.lerp(picture, blurred, self.uniform() * self.chosen(0.5))
        grain = torch.randn(picture.shape, generator=self.generator, device=self.device)
        return (picture + 0.03 * self.uniform() * grain).clamp(0, 1)


def palettes(count: int, colours: int, generator: torch.Generator) -> Tensor:
    """(count, colours, 3) in [0, 1]: mostly related colours over the whole range of light, some wild."""
    light = torch.rand(count, colours, 1, generator=generator)
    hue = torch.randn(count, 1, 3, generator=generator)
    hue = hue + 0.6 * torch.randn(count, colours, 3, generator=generator)
    hue = hue - hue.mean(-1, keepdim=True)
    related = light + hue * 0.25 * torch.rand(count, 1, 1, generator=generator)
    wild = torch.rand(count, colours, 3, generator=generator)
    strange = torch.rand(count, 1, 1, generator=generator) < 0.35
    return torch.where(strange, wild, related).clamp(0, 1)


def coloured(tone: Tensor, colours: Tensor) -> Tensor:
    """`tone` (N, 1, H, W) from 0 to 1 painted with `colours` (N, K, 3), evenly spaced, blended between."""
    stops = torch.linspace(0, 1, colours.shape[1], device=tone.device).view(1, -1, 1, 1)
    shares = (1 - (tone - stops).abs() * (colours.shape[1] - 1)).clamp_min(0)
    return torch.einsum("nkhw,nkc->nchw", shares, colours)


def cells(place: Tensor) -> Tensor:
    """The label in the middle of every 8 x 8 cell of `place` (N, 1, E, E), -100 where several meet there."""
    margin = CELL // 4
    inner, side = place[..., margin:, margin:].float(), CELL - 2 * margin
    high, low = F.max_pool2d(inner, side, CELL), -F.max_pool2d(-inner, side, CELL)
    return torch.where(low == high, low, -100).long()[:, 0]
