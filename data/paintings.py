"""The pictures in pictures/style, painted by formula: each a scene of tones, filled with the marks of one craft.

`python data/paintings.py` paints them anew, or into the folder that is named.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float32]
Generator = np.random.Generator
EDGE = 640  # pixels
FINE = 2  # drawn at twice the size and scaled down, so that every mark has a soft edge


def plane() -> tuple[Array, Array]:
    """Coordinates of a 4:3 picture, drawn fine: x from 0 to 4/3 rightwards, y from 0 to 1 down."""
    height = FINE * round(EDGE * 0.75)
    y, x = np.mgrid[:height, : FINE * EDGE].astype(np.float32)
    return x / height, y / height


def noise(like: Array, across: float, down: float, rng: Generator, octaves: int = 1) -> Array:
    """Smooth noise around 0, about 1 strong, of so many random values across and down."""
    total = np.zeros_like(like)
    for octave in range(octaves):
        cells = rng.standard_normal([round(n * 2**octave) + 3 for n in (down, across)])
        image = Image.fromarray(cells.astype(np.float32))
        smooth = image.resize(like.shape[::-1], Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * 0.55**octave
    return total


def ramp(stops: str, t: Array | float = 0.0) -> Array:
    """Colours (..., 3) at t from 0 to 1 between evenly spaced stops, written as hex numbers."""
    table = np.array([list(bytes.fromhex(stop)) for stop in stops.split()], np.float32)
    place = np.linspace(0, 1, len(table))
    return np.stack([np.interp(t, place, channel) for channel in table.T], -1).astype(np.float32)


def step(value: Array, low: Array | float, high: Array | float) -> Array:
    """0 below `low`, 1 above `high` (or the reverse), smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def over(below: Array, above: Array, cover: Array) -> Array:
    """`above` laid on `below` where `cover` is 1."""
    return below + (above - below) * cover[..., None]


def image_of(picture: Array) -> Image.Image:
    """The image of an array (H, W, 3), clipped to 0 to 255."""
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def finish(picture: Array) -> Image.Image:
    """A fine picture (H, W, 3) at its final size."""
    height, width, _ = picture.shape
    return image_of(picture).resize((width // FINE, height // FINE), Image.Resampling.LANCZOS)


def scattered(like: Array, spacing: float, rng: Generator) -> Array:
    """Points (N, 2) over the picture and a little beyond, even but not regular, in random order."""
    height, width = like.shape
    y, x = np.mgrid[-spacing : height + spacing : spacing, -spacing : width + spacing : spacing]
    places = np.stack([x.ravel(), y.ravel()], -1)
    return rng.permutation(places + rng.uniform(-0.6, 0.6, places.shape) * spacing)


def pixels(like: Array, places: Array) -> tuple[Array, Array]:
    """The rows and columns of the pixels at points (..., 2), those outside moved to the border."""
    column, row = np.moveaxis(np.clip(places, 0, np.array(like.shape[::-1]) - 1).astype(int), -1, 0)
    return row, column


def brush(
    canvas: Image.Image,
    places: Array,
    field: tuple[Array, Array],
    size: Sequence[float],
    rng: Generator,
) -> None:
    """Strokes of hairs through the points, along the field's angle and in its colours.

    `size` is a stroke's width and length in pixels. The canvas has a fourth channel,
    the thickness of the paint.
    """
    (angle, scene), (width, length) = field, size
    half, bristles = 6, max(3, round(width / 2.6))
    path = [places]
    for way in [-1] * half + [1] * half:
        turn = angle[pixels(angle, path[-1])]
        path.append(path[-1] + way * length / 12 * np.stack([np.cos(turn), np.sin(turn)], -1))
        if len(path) == half + 1:
            path.reverse()  # from the middle first backwards, then on, so colours stay in place
    paths = np.stack(path, 1)
    ahead = np.gradient(paths, axis=1)
    side = np.stack([-ahead[..., 1], ahead[..., 0]], -1) / np.linalg.norm(ahead, axis=-1)[..., None]
    side *= width * np.sin(np.linspace(0.5, 2.75, 2 * half + 1))[:, None]
    colours = scene[pixels(angle, places)] + rng.normal(0, 11, (len(places), 1))
    colours += rng.normal(0, 8, colours.shape)
    draw, across = ImageDraw.Draw(canvas), np.linspace(-0.5, 0.5, bristles)[:, None]
    for line, normal, colour in zip(paths, side, colours, strict=True):
        tint = colour + rng.normal(0, 9, (bristles, 1)) + 12 * across
        inks = np.column_stack([tint, rng.uniform(60, 255, bristles)]).clip(0, 255).astype(int)
        hairs = (line + normal * across[..., None]).reshape(bristles, -1).tolist()
        shorter = rng.integers(0, 4, (bristles, 2)).tolist()
        for ink, hair, (start, end) in zip(inks.tolist(), hairs, shorter, strict=True):
            draw.line(hair[2 * start : len(hair) - 2 * end], tuple(ink), 4)


def relief(canvas: Image.Image, strength: float) -> Array:
    """The canvas's colours with its paint thickness lit from the upper left."""
    thickness = canvas.getchannel(3).filter(ImageFilter.GaussianBlur(1.2))
    down, right = np.gradient(np.asarray(thickness, np.float32))
    lit = np.clip(strength * (down + right), -38, 38)
    return np.asarray(canvas, np.float32)[..., :3] + lit[..., None]


def strokes() -> Image.Image:
    """A night sky turning around its stars above a field of wheat, in bristly oil strokes."""
    rng = np.random.default_rng(0)
    x, y = plane()
    scale = y.shape[0] / 960
    stars = [(1.12, 0.19, 0.115), (0.15, 0.14, 0.06), (0.38, 0.09, 0.04), (0.72, 0.15, 0.05)]
    stars += [(0.91, 0.08, 0.03), (0.13, 0.47, 0.05), (1.25, 0.46, 0.045), (0.32, 0.56, 0.03)]
    whirls = [(0.50, 0.36, 0.17, 0.30), (0.80, 0.47, 0.12, -0.20)]
    whirls += [(left, top, 1.15 * size, 3.6 * size) for left, top, size in stars]
    stream = 0.9 * (y + 0.05 * np.sin(5 * x + 1) + 0.02 * noise(y, 5, 4, rng))
    for left, top, size, force in whirls:
        stream += force * np.exp(-((x - left) ** 2 + (y - top) ** 2) / size**2)
    down, right = np.gradient(stream)
    angle = np.arctan2(-right, down)
    tone = 0.4 + 0.2 * np.sin(34 * stream) + 0.1 * noise(y, 7, 5, rng, 2) - 0.22 * step(y, 0.3, 0)
    scene = ramp("070d2a 0f1f52 183b86 2b62ae 5b97c9 a9cbd0 e4e2c4", tone)
    for left, top, size in stars:
        reach = np.hypot(x - left, y - top) / size
        halo = ramp("fdf3cf f9d975 eeb23c c9cf9a 7fb3c0 4d86b8", reach / 1.2)
        scene = over(scene, halo, 0.95 * step(reach + 0.1 * np.sin(40 * stream), 1.3, 0.85))
    for base, lift, bend, stops in [
        (0.70, 0.06, 4.2, "0a1636 14335c 2a5c78 5f92a0"),
        (0.77, 0.04, 6.5, "08161f 123433 24564a 6f8f5c"),
        (0.84, 0.03, 3.1, "3f2a14 8a5a1c cf9429 ecc860 f6e6a6"),
    ]:
        ridge = base - lift * np.sin(bend * x + base * 9) - 0.4 * lift * np.sin(2.3 * bend * x)
        depth = y - ridge
        slope = np.arctan(np.gradient(ridge, axis=1) * y.shape[0]) * step(depth, 0.3, 0.0)
        rows = np.sin(90 * depth + 2 * noise(y, 6, 4, rng))
        land = ramp(stops, 0.45 + 0.3 * rows + 0.12 * noise(y, 20, 12, rng))
        scene = over(scene, land, depth > 0)
        leaning = (0.5 * noise(y, 6, 5, rng) - 0.5) * (base > 0.8)  # the wheat, not the hills
        angle = np.where(depth > 0, slope + leaning, angle)
    canvas = Image.new("CMYK", y.shape[::-1], (16, 30, 66, 0))
    for spacing, *size in np.array([(24, 30, 150), (19, 19, 96), (15, 11, 60)]) * scale:
        brush(canvas, scattered(y, spacing, rng), (angle, scene), size, rng)
    hearts = np.repeat(whirls, 3, axis=0)[:, :2] * y.shape[0]
    hearts += rng.normal(0, 4 * scale, hearts.shape)
    brush(canvas, hearts, (angle, scene), (13 * scale, 26 * scale), rng)
    return finish(relief(canvas, 0.5))


def spline(knots: str, count: int = 60) -> Array:
    """A smooth curve (count, 2) through points, written "x,y x,y ..." (Catmull and Rom)."""
    places = [[float(number) for number in knot.split(",")] for knot in knots.split()]
    ends = np.array([places[0], *places, places[-1]], np.float32)
    t = np.linspace(0, len(places) - 1.0001, count)
    i, u = t.astype(int), (t % 1)[:, None]
    a, b, c, d = ends[i], ends[i + 1], ends[i + 2], ends[i + 3]
    return b + u / 2 * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))


# A breaking wave in outline, x to the right and y up, 1 high.
BACK = spline("-2.4,.02 -1.6,.14 -.95,.45 -.45,.83 .05,1 .45,.93 .68,.72 .74,.5")
FACE = spline("1.7,-.02 .95,.02 .42,.16 .16,.4 .17,.64 .36,.76 .58,.7 .74,.5")


def waves() -> Image.Image:
    """Breaking waves before a red sun, as if printed from wooden blocks."""
    rng = np.random.default_rng(0)
    _, y = plane()
    high = y.shape[0]
    ink, shadow, foam = (18, 30, 60), (150, 184, 200), (246, 239, 220)
    image = image_of(ramp("8fa9b5 c9cfc4 eadfc0 f2dcb4 edc9a0", y / 0.75))
    draw = ImageDraw.Draw(image)

    def pen(line: Array, colour: tuple[int, ...], width: float) -> None:
        draw.line((line * high).ravel().tolist(), colour, max(1, round(width * high)), "curve")

    def disc(left: float, top: float, radius: float, colour: tuple[int, ...]) -> None:
        draw.ellipse((left - radius, top - radius, left + radius, top + radius), colour)

    def spray(places: Array, radii: Array) -> None:
        for colour, grow, slide in [(ink, 1, 0), (shadow, 0, 0), (foam, -0.9, -0.28)]:
            for (left, top), radius in zip(places * high, radii * high, strict=True):
                grown = radius + grow * min(2.6, radius / 3)
                disc(left + slide * radius, top + slide * radius, grown, colour)

    def sheets(lines: Sequence[Array], start: int) -> None:
        for number, line in enumerate(lines[1:]):
            tints = "102750 24558c 6fa3b8 17396b e6e0c8 2c5f97 102750"
            tint = ramp(tints, (number + start) * 0.382 % 1).astype(int)
            sheet = np.concatenate([lines[number], line[::-1]]) * high
            draw.polygon(sheet.ravel().tolist(), tuple(tint.tolist()))
        for number, line in enumerate(lines):
            pen(line, ink, 0.0017 if number % 5 else 0.0032)

    def breaker(left: float, top: float, size: float, width: float) -> None:
        stretch, shift = np.array([size * width, -size]), np.array([left, top])
        shares = np.concatenate([[0], np.cumsum(rng.uniform(0.3, 1.7, 30))])
        shares = (shares / shares[-1]) ** 1.1
        sheets([(BACK + (FACE - BACK) * share) * stretch + shift for share in shares], 0)
        along = np.linspace(0, 1, 11)
        for number in range(35):  # the crest breaks into claws, the far ones first
            root = BACK[33 + number * 2 // 3] + rng.normal(0, 0.02, 2)
            turn = rng.uniform(-0.5, 0.9) + 0.02 * number + rng.uniform(0.6, 1.8) * along
            course = np.cumsum(np.stack([np.cos(turn), np.sin(turn)], -1), 0) / 11
            beads = root * stretch + shift + course * size * rng.uniform(0.1, 0.2)
            spray(beads + rng.normal(0, 0.007 * size, beads.shape), size * (0.03 - 0.022 * along))

    def swell(top: float, height: float, phase: float, start: int) -> None:
        across = np.linspace(-0.02, 1.36, 160)
        crest = 0.7 * np.abs(np.sin(4.1 * across + phase))
        crest += 0.3 * np.abs(np.sin(9.3 * across + 2 * phase))
        rows = [row * (0.006 + 0.0009 * row) - height * crest * 0.86**row for row in range(22)]
        sheets([np.stack([across, top + row], -1) for row in rows], start)

    for row in range(34):
        across = np.linspace(0, 1.36, 90)[rng.integers(0, 40) :][: rng.integers(40, 90)]
        drift = 0.012 * np.sin(3 * across + row * 0.35) + 0.006 * np.sin(9 * across - row)
        streak = np.stack([across, 0.02 + 0.021 * row + drift], -1)
        pen(streak, (104, 134, 152) if row < 14 else (208, 146, 106), 0.002)
    disc(1.0 * high, 0.27 * high, 0.12 * high, (203, 66, 44))
    swell(0.66, 0.05, 0.6, 2)
    breaker(1.12, 0.76, 0.27, 0.9)
    swell(0.76, 0.06, 2.2, 5)
    breaker(0.64, 0.84, 0.36, 0.8)
    breaker(0.34, 1.0, 0.88, 0.62)
    breaker(1.16, 1.02, 0.4, 0.8)
    swell(1.0, 0.12, 1.0, 1)
    return finish(np.asarray(image, np.float32) + 5 * noise(y, 12, 300, rng)[..., None])


def glass() -> Image.Image:
    """A leaded window: a sun in rings of evening sky, hills and a stream, in streaked panes."""
    rng = np.random.default_rng(0)
    x, y = plane()
    panes = []  # left, top, kind, red, green, blue

    def pane(left: float, top: float, kind: int, stops: str, tone: float) -> None:
        last = stops.count(" ")
        tone = round(last * np.clip(tone + rng.normal(0, 0.06), 0, 1)) / last
        ruby = kind > 0 and rng.uniform() < 0.04
        tint = ramp("ba162c" if ruby else stops, tone) * rng.uniform(0.8, 1.1)
        panes.append((left, top, kind, *tint))

    def ridge(left: float) -> float:
        return 0.69 + 0.06 * np.sin(4.2 * left + 0.4)

    for ring in range(17):
        radius = 0.072 * ring + 0.004 * ring * (ring > 2)
        count = max(1, round(2 * np.pi * radius / (0.066 + 0.004 * ring)))
        for number in range(count):
            turn = (number + 0.5 * (ring % 2) + rng.uniform(-0.22, 0.22)) * 2 * np.pi / count
            reach = radius + rng.uniform(-0.009, 0.009)
            left, top = 0.88 + reach * np.cos(turn), 0.34 + reach * np.sin(turn)
            if not (-0.1 < left < 1.45 and -0.1 < top < ridge(left) - 0.02):
                continue
            if ring < 3:
                pane(left, top, 0, "ffe684 ffd04e f2a02c", ring / 2)
            else:
                night = "f0b44c 7fbfc4 3f9cc8 1f6cb8 1b4a9e 1c3684 2c2a72 1a2060 10184a"
                ray = 0.16 * np.cos(6 * turn + 0.6) * (ring > 3)
                pane(left, top, 1, night, (ring - 3) / 11 + ray)
    for row in range(6):
        for left in np.arange(-0.06, 1.45, 0.085 + 0.012 * row) + rng.uniform(0, 0.08):
            top = ridge(left) + 0.022 + 0.062 * row + 0.012 * row * np.sin(5 * left + row)
            if abs(left - 0.80 + 0.16 * np.sin(1.1 * row + 0.3)) < 0.05 + 0.012 * row:
                pane(left, top, 3, "c4e2d2 86c4cf 3f97c0", rng.uniform())
            else:
                pane(left, top, 2, "8fa83a 2f7d4f 14584e 0d4047 3b7a34", rng.uniform())
    table = np.array(panes, np.float32)
    bent_x, bent_y = x + 0.005 * noise(y, 9, 7, rng), y + 0.005 * noise(y, 9, 7, rng)
    first, second = np.full_like(x, 9), np.full_like(x, 9)
    owner, other = np.zeros(x.shape, np.int16), np.zeros(x.shape, np.int16)
    for number, (left, top) in enumerate(table[:, :2]):
        near = slice(*(np.clip([top - 0.25, top + 0.25], 0, 1) * y.shape[0]).astype(int))
        square = (bent_x[near] - left) ** 2 + (bent_y[near] - top) ** 2
        best, good = square < first[near], square < second[near]
        other[near] = np.where(best, owner[near], np.where(good, number, other[near]))
        second[near] = np.where(best, first[near], np.where(good, square, second[near]))
        owner[near][best], first[near][best] = number, square[best]
    apart = np.linalg.norm(table[owner, :2] - table[other, :2], axis=-1)
    border = (second - first) / (2 * apart + 1e-6)
    turn, *start = rng.uniform(0.3, 0.7, (3, len(table)))[:, owner]
    turn = turn * 2.5 * np.pi
    across, down = x - table[owner, 0], y - table[owner, 1]
    grain = noise(y, 7, 90, rng, 3)
    along = start[0] + np.cos(turn) * across + np.sin(turn) * down
    aside = start[1] + np.cos(turn) * down - np.sin(turn) * across
    streak = grain[pixels(grain, np.stack([along, aside], -1) * y.shape[0])]
    light = 0.62 + 0.13 * streak + 0.1 * noise(y, 16, 12, rng, 2) + 0.42 * step(border, 0, 0.035)
    picture = table[owner, 3:] * light[..., None] + 45 * step(streak, 0.9, 2.4)[..., None]
    frame = table[owner, 2] != table[other, 2]
    lead = np.maximum(0.0034 + 0.001 * noise(y, 14, 10, rng) + 0.0036 * frame, 0.001)
    shine = step(border / lead, 0.7, 0.0) * (0.7 + 0.3 * noise(y, 70, 50, rng))
    picture = over(picture, ramp("0e0e10 3a3a40", shine), step(border, lead + 0.0014, lead))
    glow = image_of(picture).filter(ImageFilter.GaussianBlur(EDGE / 45))
    return finish(picture + 0.16 * np.asarray(glow, np.float32))


def woodcut() -> Image.Image:
    """Hills, trees and a low sun in engraved lines: black on warm paper, with an ochre block."""
    rng = np.random.default_rng(0)
    x, y = plane()
    hand = 0.0022 * noise(y, 16, 12, rng, 2)  # the hand that holds the knife is not quite steady
    rough = 0.07 * noise(y, 90, 70, rng)

    def engraved(phase: Array, tone: Array) -> Array:
        return step(np.abs(2 * (phase % 1) - 1) - np.clip(tone, 0.02, 0.98) + rough, 0.09, -0.09)

    sun, cloud = np.hypot(x - 0.93, y - 0.33), noise(y, 3.5, 9, rng, 3)
    turn = 26 * np.arctan2(y - 0.33, x - 0.93) + 0.4 * noise(y, 6, 6, rng)
    tone = 0.12 + 0.42 * step(sun, 0.12, 0.95) + 0.08 * (1 + np.cos(turn)) * step(sun, 0.1, 0.2)
    ink = engraved((sun + hand) / 0.0135, tone - 0.32 * step(cloud, 0.3, 1.1)) * (sun > 0.105)
    ink = np.maximum(ink, step(np.abs(sun - 0.105 + hand), 0.004, 0.0028))
    ochre, red = step(sun, 0.104, 0.107) * step(cloud, 0.75, 0.65), step(sun, 0.103, 0.101)
    for number, (base, lift, waviness, shift, lean, trees) in enumerate([
        (0.52, 0.12, 5.2, 0.5, 1.0, 0), (0.61, 0.07, 4.0, 2.4, 0.15, 9),
        (0.71, 0.08, 3.4, 4.4, -0.7, 7), (0.85, 0.07, 2.6, 1.2, 0.1, 4),
    ]):  # fmt: skip
        top = base - lift * np.sin(waviness * x + shift)
        top -= 0.25 * lift * np.sin(2.7 * waviness * x + 2 * shift)
        depth, form = y - top, noise(y, 6 - number, 5 - number, rng, 2)
        down, right = np.gradient(form)
        lit = right * np.tanh((x - 0.93) / 0.2) - 0.6 * down
        tone = 0.5 - 0.2 * lit / lit.std()
        tone += 0.4 * step(depth, 0.02, 0.3) - 0.35 * step(depth, 0.06, 0)
        phase = np.cos(lean) * depth + np.sin(lean) * x + 0.014 * form + hand
        inside = step(depth, -0.001, 0.001)
        ink += (engraved(phase / (0.0088 + 0.0018 * number), tone) - ink) * inside
        ink = np.maximum(ink, step(np.abs(depth + hand * 0.5), 0.0036 + 0.0006 * number, 0.0022))
        ochre, red = ochre + (step(tone, 0.16, 0.26) - ochre) * inside, red * (1 - inside)
        for left in np.sort(rng.uniform(0, 1.33, trees)):
            size = rng.uniform(0.6, 1.3) * (0.016 + 0.014 * number)
            foot = np.interp(left, x[0], top[-1]) + 0.4 * size
            across, up = (x - left) / (0.62 * size), (y - foot + 1.9 * size) / (1.5 * size)
            crown = np.hypot(across * (1 - 0.25 * up), up)
            crown += 0.07 * noise(y, 0.9 / size, 0.7 / size, rng, 2)
            shade = 0.66 - 0.55 * across * np.sign(0.93 - left) + 0.25 * up
            bend = 0.35 * size * across**2 - y + 3 * hand
            leaves = engraved(bend / (0.0062 + 0.0006 * number), shade)
            leaves, cover = np.maximum(leaves, step(crown, 0.88, 0.94)), step(crown, 1.02, 0.99)
            trunk = (np.abs(x - left + hand) < 0.1 * size) & (y > foot - size) & (y < foot)
            ink = np.maximum(ink + (leaves - ink) * cover, trunk)
            ochre = np.maximum(ochre * (1 - cover), cover * step(shade, 0.3, 0.4))
    grain = (3 * noise(y, 60, 80, rng) + 3 * noise(y, 4, 3, rng, 3))[..., None]
    picture = over(ramp("f3e7cd") + grain, ramp("deb26c") + grain, 0.9 * np.roll(ochre, 3, 1))
    picture = over(picture, ramp("c43e26") + grain, red)
    return finish(over(picture, ramp("1a1618"), 0.95 * ink))


def points() -> Image.Image:
    """A pine above a sunlit bay, in dabs of broken and complementary colour."""
    rng = np.random.default_rng(0)
    x, y = plane()
    scale = y.shape[0] / 960
    glow = np.exp(-(((x - 0.95) / 0.45) ** 2) - ((y - 0.4) / 0.25) ** 2)
    sky = y / 0.44 + 0.05 * noise(y, 4, 8, rng)
    scene = ramp("5f8fd0 8db4de b9cfe0 f0dcc0 fbd9a0 f8c68c", sky)
    scene = over(scene, ramp("fff3be"), 0.8 * glow)
    cloud = noise(y, 4, 10, rng, 2) - 11 * np.abs(y - 0.17) + 0.9
    scene = over(scene, ramp("c9b2dc f7d3cf fff3dc", 0.6 * cloud), 0.85 * step(cloud, 0, 0.6))
    far = y - 0.43 + 0.075 * np.sin(4.4 * x + 0.2) * step(x, 1.1, 0.3) + 0.02 * np.sin(11 * x)
    hills = ramp("8f8fd0 7a80c4 a58fc0 d0a0b0", 8 * far + 0.3 * noise(y, 9, 9, rng))
    scene = over(scene, hills, step(far, 0, 0.004))
    ripple = 0.5 + 0.3 * noise(y, 5, 42, rng, 2) - 0.9 * (y - 0.62)
    light = 0.75 * ripple + 0.4 * glow * step(y, 0.75, 0.45)
    sea = ramp("1f4f9c 2b78bb 3fa3c4 86c9c6 d8e6c0 fbe3a4", light)
    scene = over(scene, sea, step(y, 0.448, 0.452))
    for left, foot, size in [(0.68, 0.48, 0.1), (1.22, 0.475, 0.08), (0.97, 0.56, 0.22)]:
        up, out = (foot - y) / size, (x - left) / size
        mirrored = (up < -0.11) & (up > -1.1) & (np.abs(out + 0.1 * up) < 0.3 * (1 + 0.8 * up))
        scene = over(scene, ramp("fad29a"), 0.8 * mirrored)
        sail = (up > 0.12) & (up < 1.1) & (np.abs(out - 0.1 * up) < 0.36 * (1.1 - up))
        scene = over(scene, ramp("fffaf0 f6b06a d9603c", out / 0.4 + 0.3), sail)
        hull = (np.abs(up) < 0.11) & (np.abs(out) < 0.34 + 0.5 * up)
        scene = over(scene, ramp("6a2050"), hull)
    bank = y - 0.8 + 0.16 * np.exp(-(((x - 0.1) / 0.42) ** 2)) - 0.1 * step(x, 0.5, 1.3)
    bank += 0.012 * np.sin(9 * x)
    shade = 0.55 + 0.28 * noise(y, 7, 12, rng, 2) + 1.2 * bank
    shade -= 0.5 * np.exp(-(((x - 0.45 - 0.5 * (y - 0.75)) / 0.22) ** 2))  # the pine's shadow
    meadow = ramp("3a3a86 3f5f8c 3f8a5c 8fb244 d9c94a f7dc6a f2a24a", shade)
    scene = over(scene, meadow, step(bank, 0, 0.006))
    trunk = x - 0.235 - 0.1 * np.sin(3.4 * y - 0.2) + 0.02 * np.sin(14 * y)
    girth = 0.015 + 0.03 * step(y, 0.3, 0.95)
    bark = ramp("e8814a b2506a 5a3a86 3a2f70", 0.5 - 0.5 * trunk / girth)
    scene = over(scene, bark, step(np.abs(trunk), girth + 0.003, girth) * (y > 0.2) * (y < 0.78))
    for left, top, wide, tall in [
        (0.30, 0.20, 0.30, 0.085), (0.12, 0.13, 0.24, 0.075), (0.45, 0.09, 0.22, 0.07),
        (0.08, 0.30, 0.15, 0.05), (0.5, 0.29, 0.11, 0.035),
    ]:  # fmt: skip
        across, down = (x - left) / wide, (y - top) / tall
        leaf = np.hypot(across, down * (1 + 0.7 * (down > 0))) + 0.16 * noise(y, 11, 9, rng, 2)
        light = 0.45 - 0.5 * down + 0.25 * across + 0.15 * noise(y, 22, 18, rng)
        needles = ramp("26306e 1f5670 2c7a58 6ba24a c3c552 f4d468", light)
        scene = over(scene, needles, step(leaf, 0.95, 0.88))
    canvas = Image.new("CMYK", y.shape[::-1], (236, 214, 178, 40))
    draw = ImageDraw.Draw(canvas)
    warm, cool = [(34, 12, -30), (26, -20, 8), (14, 14, 10)], [(-30, -6, 36), (-22, 22, -12)]
    for size, spacing in np.array([(13, 15), (10, 11.5), (7, 12.5)]) * scale:
        places = scattered(y, spacing, rng)
        base, one = scene[pixels(y, places)], np.ones((len(places), 1))
        inks = base + rng.choice(warm + cool, len(places)) * rng.uniform(0.3 * one, 1.45)
        opposite = 0.35 * inks + 0.65 * (inks.max(1) + inks.min(1))[:, None] - 0.65 * inks
        inks = np.where(rng.uniform(0 * one) < 0.05, opposite, inks)
        inks = np.hstack([inks, rng.uniform(120 * one, 255)]).clip(0, 255).astype(int).tolist()
        flat = np.where((places[:, 1] > 0.45 * y.shape[0]) & (base[:, 2] > 110), 1.5, 1.05)  # water
        radii = size * rng.uniform(0.6, 1.1, len(places))
        corners = np.stack([radii * flat, radii / flat], -1)
        boxes = np.hstack([places - corners, places + corners]).tolist()
        for box, ink in zip(boxes, inks, strict=True):
            draw.ellipse(box, tuple(ink))
    return finish(relief(canvas, 0.3))


def marbled() -> Image.Image:
    """Marbled paper: colours dropped on a bath, combed to and fro, and curled with a stylus."""
    rng = np.random.default_rng(0)
    x, y = plane()
    left, top = x + 0.004 * noise(y, 5, 4, rng), y + 0.004 * noise(y, 5, 4, rng)
    curls = (scattered(np.empty((90, 130)), 42, rng)[:14] / 100).tolist()
    for number, (column, row) in enumerate(curls):  # what was done to the bath last is undone first
        across, down = left - column, top - row
        away = np.hypot(across, down) / rng.uniform(0.05, 0.085)
        turn = (-1) ** number * 3.4 * np.exp(-(away**2))
        left = column + np.cos(turn) * across - np.sin(turn) * down
        top = row + np.sin(turn) * across + np.cos(turn) * down
    top = top + 0.075 * np.abs(np.sin(np.pi * left / 0.062 + 0.5 * np.sin(5 * left))) ** 0.75
    left = left + 0.05 * np.sin(2 * np.pi * top / 0.23)
    top = top + 0.12 * np.sin(2 * np.pi * left / 0.41 + 1)
    wet, colour = np.arange(x.size), np.zeros(x.size, np.float32)
    left, top = left.ravel(), top.ravel()
    for column, row in (scattered(np.empty((120, 140)), 14, rng) / 100).tolist():
        radius, first = rng.uniform(0.055, 0.09), rng.integers(0, 8)
        for ring in range(4):
            radius *= 0.82
            across, down = left - column, top - row
            square = across * across + down * down
            out = square > radius**2
            colour[wet[~out]] = (first + 3 * ring) % 8 / 7
            push = np.sqrt(1 - radius**2 / square[out])
            left, top, wet = column + across[out] * push, row + down[out] * push, wet[out]
    inks = ramp("14233f 8e1f2b f5ead0 d9a03c 1f5c63 f5ead0 14233f c4552f", colour)
    paper = 3 * noise(y, 60, 80, rng) + 4 * noise(y, 5, 4, rng, 3)
    return finish(inks.reshape(*x.shape, 3) + paper[..., None])


PAINTINGS: dict[str, Callable[[], Image.Image]] = {
    painting.__name__: painting for painting in (strokes, waves, glass, woodcut, points, marbled)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    usual = Path(__file__).parent / "pictures" / "style"
    parser.add_argument("folder", type=Path, nargs="?", default=usual, help="that there is")
    folder = parser.parse_args().folder
    for name, painting in PAINTINGS.items():
        painting().save(folder / f"{name}.jpg", quality=88, optimize=True)
