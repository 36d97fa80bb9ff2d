"""Style pictures painted by formula: a scene of tones, and the marks of one craft that fill it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float32]
Generator = np.random.Generator
FINE = (
    2  # pictures are drawn at twice their size and scaled down, so that every mark has a soft edge
)


def plane(edge: int) -> tuple[Array, Array]:
    """Coordinates of a 4:3 picture, drawn fine: x from 0 to 4/3 rightwards, y from 0 to 1 downwards."""
    height, width = FINE * round(edge * 0.75), FINE * edge
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x / height, y / height


def noise(like: Array, across: float, down: float, rng: Generator, octaves: int = 1) -> Array:
    """Smooth noise around 0, about 1 strong, with so many random values across and down the picture."""
    total, size = np.zeros_like(like), (like.shape[1], like.shape[0])
    for octave in range(octaves):
        cells = rng.standard_normal((round(down * 2**octave) + 3, round(across * 2**octave) + 3))
        image = Image.fromarray(cells.astype(np.float32))
        total += np.asarray(image.resize(size, Image.Resampling.BICUBIC)) * 0.55**octave
    return total


def ramp(stops: str, t: Array | float | Sequence[float]) -> Array:
    """Colours (..., 3) from 0 to 255 at t in [0, 1] between evenly spaced stops, written as hex numbers."""
    table = np.array([list(bytes.fromhex(stop)) for stop in stops.split()], np.float32)
    place = np.linspace(0, 1, len(table))
    return np.stack([np.interp(t, place, channel) for channel in table.T], -1).astype(np.float32)


def step(value: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high` (or the reverse), smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def over(below: Array, above: Array, cover: Array) -> Array:
    """`above` laid on `below` where `cover` is 1."""
    return below + (above - below) * cover[..., None]


def finish(picture: Array) -> Image.Image:
    """A fine picture (H, W, 3) at its final size."""
    height, width, _ = picture.shape
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    return image.resize((width // FINE, height // FINE), Image.Resampling.LANCZOS)


def brush(canvas: Image.Image, at: Array, angle: Array, scene: Array, width: float, length: float,
          spread: float, rng: Generator) -> None:  # fmt: skip
    """Strokes of bristles from the points `at` (N, 2) along the field `angle`, in the colours of the scene.

    The canvas has a fourth channel, the thickness of the paint.
    """
    steps, bristles = 12, max(3, round(width / 2.6))
    limit = np.array([scene.shape[1] - 1, scene.shape[0] - 1])
    path = [at]
    for way in [-1] * (steps // 2) + [1] * (steps // 2):
        if len(path) == steps // 2 + 1:
            path.reverse()
        column, row = np.clip(path[-1], 0, limit).astype(int).T
        turn = angle[row, column]
        path.append(path[-1] + way * length / steps * np.stack([np.cos(turn), np.sin(turn)], -1))
    paths = np.stack(path, 1)
    ahead = np.gradient(paths, axis=1)
    normal = np.stack([-ahead[..., 1], ahead[..., 0]], -1) / np.linalg.norm(
        ahead, axis=-1, keepdims=True
    )
    column, row = np.clip(paths[:, steps // 2], 0, limit).astype(int).T
    colours = (
        scene[row, column]
        + rng.normal(0, spread, (len(at), 1))
        + rng.normal(0, spread * 0.7, (len(at), 3))
    )
    offsets = np.linspace(-0.5, 0.5, bristles)
    belly = width * np.sin(np.linspace(0.5, 2.75, steps + 1))[:, None]
    draw = ImageDraw.Draw(canvas)
    for line, side, colour in zip(paths, normal, colours, strict=True):
        tint = (
            colour
            + rng.normal(0, spread * 0.8, (bristles, 1))
            + np.linspace(-1, 1, bristles)[:, None] * spread / 2
        )
        inks = (
            np.clip(np.column_stack([tint, rng.uniform(60, 255, bristles)]), 0, 255)
            .astype(int)
            .tolist()
        )
        starts, ends = rng.integers(0, 3, bristles), steps + 1 - rng.integers(0, 4, bristles)
        for offset, ink, start, end in zip(offsets, inks, starts, ends, strict=True):
            hair = (line + side * belly * offset)[start:end]
            draw.line(hair.ravel().tolist(), tuple(ink), 4)


def relief(canvas: Image.Image, strength: float) -> Array:
    """The canvas's colours with its paint thickness lit from the upper left."""
    *colours, thickness = canvas.split()
    height = np.asarray(thickness.filter(ImageFilter.GaussianBlur(1.2)), np.float32)
    down, right = np.gradient(height)
    lit = np.clip(strength * (down + right), -38, 38)
    return np.stack([np.asarray(colour, np.float32) for colour in colours], -1) + lit[..., None]


def scattered(like: Array, spacing: float, rng: Generator) -> Array:
    """Points (N, 2) all over the picture and a little beyond, evenly but not regularly, in random order."""
    height, width = like.shape
    y, x = np.mgrid[-spacing : height + spacing : spacing, -spacing : width + spacing : spacing]
    points = np.stack([x.ravel(), y.ravel()], -1)
    return rng.permutation(points + rng.uniform(-0.6, 0.6, points.shape) * spacing)


def strokes(edge: int = 640, seed: int = 0) -> Image.Image:
    """A night sky turning around its stars above a field of wheat, in bristly oil strokes."""
    rng = np.random.default_rng(seed)
    x, y = plane(edge)
    scale = y.shape[0] / 960
    whirls = [(0.50, 0.36, 0.17, 0.30), (0.80, 0.47, 0.12, -0.20)]
    stars = [(1.12, 0.19, 0.115), (0.15, 0.14, 0.06), (0.38, 0.09, 0.04), (0.72, 0.15, 0.05), (0.91, 0.08, 0.03),
             (0.13, 0.47, 0.05), (1.25, 0.46, 0.045), (0.32, 0.56, 0.03), (1.03, 0.51, 0.035)]  # fmt: skip
    stream = 0.9 * (y + 0.05 * np.sin(5 * x + 1) + 0.02 * noise(y, 5, 4, rng))
    for left, top, size, force in whirls + [
        (left, top, 1.15 * size, 3.6 * size) for left, top, size in stars
    ]:
        stream += force * np.exp(-((x - left) ** 2 + (y - top) ** 2) / size**2)
    down, right = np.gradient(stream)
    angle = np.arctan2(-right, down)
    tone = (
        0.40 + 0.20 * np.sin(34 * stream) + 0.10 * noise(y, 7, 5, rng, 2) - 0.22 * step(y, 0.3, 0.0)
    )
    scene = ramp("070d2a 0f1f52 183b86 2b62ae 5b97c9 a9cbd0 e4e2c4", np.clip(tone, 0, 1))
    for left, top, size in stars:
        reach = np.hypot(x - left, y - top) / size
        scene = over(scene, ramp("fdf3cf f9d975 eeb23c c9cf9a 7fb3c0 4d86b8", np.clip(reach / 1.2, 0, 1)),
                     0.95 * step(reach + 0.1 * np.sin(40 * stream), 1.3, 0.85))  # fmt: skip
    for base, lift, waviness, stops in [(0.70, 0.06, 4.2, "0a1636 14335c 2a5c78 5f92a0"),
                                        (0.77, 0.04, 6.5, "08161f 123433 24564a 6f8f5c"),
                                        (0.84, 0.03, 3.1, "3f2a14 8a5a1c cf9429 ecc860 f6e6a6")]:  # fmt: skip
        ridge = (
            base - lift * np.sin(waviness * x + base * 9) - 0.4 * lift * np.sin(2.3 * waviness * x)
        )
        depth = y - ridge
        slope = np.arctan(np.gradient(ridge, axis=1) * y.shape[0]) * step(depth, 0.3, 0.0)
        rows = (
            0.45 + 0.3 * np.sin(90 * depth + 2 * noise(y, 6, 4, rng)) + 0.12 * noise(y, 20, 12, rng)
        )
        scene = np.where(depth[..., None] > 0, ramp(stops, np.clip(rows, 0, 1)), scene)
        leaning = slope + 0.5 * noise(y, 6, 5, rng) * (base > 0.8)
        angle = np.where(depth > 0, leaning - (base > 0.8) * 0.5, angle)
    canvas = Image.new("CMYK", y.shape[::-1], (16, 30, 66, 0))
    for width, length, spacing in [(30, 150, 24), (19, 96, 19), (11, 60, 15)]:
        brush(
            canvas,
            scattered(y, spacing * scale, rng),
            angle,
            scene,
            width * scale,
            length * scale,
            11,
            rng,
        )
    hearts = np.repeat([(left, top) for left, top, *_ in whirls + stars], 3, axis=0) * y.shape[0]
    brush(
        canvas,
        hearts + rng.normal(0, 4 * scale, hearts.shape),
        angle,
        scene,
        13 * scale,
        26 * scale,
        9,
        rng,
    )
    return finish(relief(canvas, 0.5))


def spline(points: Sequence[tuple[float, float]], count: int = 60) -> Array:
    """A smooth curve (count, 2) through the points (Catmull and Rom)."""
    knots = np.array([points[0], *points, points[-1]], np.float32)
    t = np.linspace(0, len(points) - 1.0001, count)
    i, u = t.astype(int), (t % 1)[:, None]
    a, b, c, d = knots[i], knots[i + 1], knots[i + 2], knots[i + 3]
    return b + u / 2 * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))


BACK = spline(
    [
        (-2.4, 0.02),
        (-1.6, 0.14),
        (-0.95, 0.45),
        (-0.45, 0.83),
        (0.05, 1.0),
        (0.45, 0.93),
        (0.68, 0.72),
        (0.74, 0.5),
    ]
)
FACE = spline(
    [
        (1.7, -0.02),
        (0.95, 0.02),
        (0.42, 0.16),
        (0.16, 0.4),
        (0.17, 0.64),
        (0.36, 0.76),
        (0.58, 0.7),
        (0.74, 0.5),
    ]
)


def waves(edge: int = 640, seed: int = 0) -> Image.Image:
    """Breaking waves before a red sun, cut and printed as from wooden blocks."""
    rng = np.random.default_rng(seed)
    x, y = plane(edge)
    high = y.shape[0]
    ink, foam = (18, 30, 60), (246, 239, 220)
    sky = ramp("8fa9b5 c9cfc4 eadfc0 f2dcb4 edc9a0", np.clip(y[..., 0:1] / 0.75, 0, 1)[..., 0])
    paper = np.repeat(sky[:, None], x.shape[1], 1)
    image = Image.fromarray(paper.astype(np.uint8))
    draw = ImageDraw.Draw(image)

    def pen(points: Array, colour: tuple[int, ...], width: float) -> None:
        draw.line(
            (points * high).ravel().tolist(), colour, max(1, round(width * high)), joint="curve"
        )

    def spray(centres: Array, radii: Array) -> None:
        shadow = (150, 184, 200)
        for colour, grow, slide in [(ink, 1.0, 0.0), (shadow, 0.0, 0.0), (foam, -0.9, -0.28)]:
            for (left, top), radius in zip(centres * high, radii * high, strict=True):
                left, top, size = (
                    left + slide * radius,
                    top + slide * radius,
                    radius + grow * min(2.6, radius / 3),
                )
                draw.ellipse((left - size, top - size, left + size, top + size), colour)

    def sheets(lines: Sequence[Array], start: int) -> None:
        for number, (one, two) in enumerate(zip(lines[:-1], lines[1:], strict=True)):
            tint = ramp(
                "102750 24558c 6fa3b8 17396b e6e0c8 2c5f97 102750", ((number + start) * 0.382) % 1
            )
            draw.polygon(
                (np.concatenate([one, two[::-1]]) * high).ravel().tolist(),
                tuple(tint.astype(int).tolist()),
            )
        for number, line in enumerate(lines):
            pen(line, ink, 0.0017 if number % 5 else 0.0032)

    def breaker(left: float, top: float, size: float, width: float) -> None:
        shares = np.cumsum(rng.uniform(0.3, 1.7, 30))
        shares = np.concatenate([[0], shares / shares[-1]]) ** 1.1
        place = np.array([size * width, -size]), np.array([left, top])
        sheets([(BACK + (FACE - BACK) * share) * place[0] + place[1] for share in shares], 0)
        for number in range(7):  # the crest breaks into claws, the far ones first
            root = BACK[33 + 4 * number] * place[0] + place[1]
            for _ in range(5):
                turn, bend, reach = (
                    rng.uniform(-0.5, 0.9) + 0.1 * number,
                    rng.uniform(0.6, 1.8),
                    rng.uniform(0.1, 0.2),
                )
                along = np.linspace(0, 1, 11)
                course = (
                    np.cumsum(
                        np.stack([np.cos(turn + bend * along), np.sin(turn + bend * along)], -1), 0
                    )
                    / 11
                )
                beads = root + rng.normal(0, 0.03 * size, 2) + course * reach * size
                spray(
                    beads + rng.normal(0, 0.007 * size, beads.shape), size * (0.030 - 0.022 * along)
                )
        drops = BACK[50] + rng.normal(0, 0.2, (50, 2)) * (0.9, 1.2)
        for left, top in (drops * place[0] + place[1]) * high:
            dot = size * high * rng.uniform(0.002, 0.006)
            draw.ellipse((left - dot, top - dot, left + dot, top + dot), foam)

    def swell(top: float, height: float, phase: float, start: int) -> None:
        across = np.linspace(-0.02, 1.36, 160)
        crest = np.abs(np.sin(4.1 * across + phase)) * 0.7 + 0.3 * np.abs(
            np.sin(9.3 * across + 2 * phase)
        )
        lines = [
            np.stack([across, top - height * crest * 0.86**row + row * (0.010 + 0.0012 * row)], -1)
            for row in range(19)
        ]
        sheets(lines, start)

    for row in range(34):
        drift = 0.012 * np.sin(3 * x[0, ::16] + row * 0.35) + 0.006 * np.sin(9 * x[0, ::16] - row)
        line = np.stack([x[0, ::16], 0.02 + 0.021 * row + drift], -1)
        begin = rng.integers(0, 40)
        pen(
            line[begin : begin + rng.integers(50, 140)],
            (120, 146, 160) if row < 14 else (214, 160, 122),
            0.0018,
        )
    sun, radius = (1.0 * high, 0.27 * high), 0.12 * high
    draw.ellipse(
        (sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius), (203, 66, 44)
    )
    swell(0.66, 0.05, 0.6, 2)
    breaker(1.12, 0.76, 0.27, 0.9)
    swell(0.76, 0.06, 2.2, 5)
    breaker(0.64, 0.84, 0.36, 0.8)
    breaker(0.34, 1.0, 0.88, 0.62)
    breaker(1.16, 1.02, 0.40, 0.8)
    swell(1.0, 0.12, 1.0, 1)
    return finish(np.asarray(image, np.float32) + 5 * noise(y, 12, 300, rng)[..., None])


def glass(edge: int = 640, seed: int = 0) -> Image.Image:
    """A leaded window: a sun, rings of evening sky around it, hills and a stream, in panes that glow and streak."""
    rng = np.random.default_rng(seed)
    x, y = plane(edge)
    sites, tints, kinds = [], [], []

    def pane(left: float, top: float, kind: int, stops: str, tone: float) -> None:
        sites.append((left, top))
        kinds.append(kind)
        tints.append(
            ramp(stops, min(1, max(0, tone + rng.normal(0, 0.07)))) * rng.uniform(0.85, 1.1)
        )

    def ridge(left: float) -> float:
        return 0.69 + 0.06 * np.sin(4.2 * left + 0.4)

    for ring in range(17):
        radius = 0.072 * ring + 0.004 * ring * (ring > 2)
        count = max(1, round(2 * np.pi * radius / (0.066 + 0.004 * ring)))
        for number in range(count):
            turn = (number + 0.5 * (ring % 2) + rng.uniform(-0.22, 0.22)) * 2 * np.pi / count
            reach = radius + rng.uniform(-0.009, 0.009)
            left, top = 0.88 + reach * np.cos(turn), 0.34 + reach * np.sin(turn)
            if top < ridge(left) - 0.02 and -0.1 < left < 1.45 and top > -0.1:
                if ring < 3:
                    pane(left, top, 0, "fff6cf ffd75e f2a02c", ring / 2)
                else:
                    ray = 0.16 * np.cos(6 * turn + 0.6)
                    stops = "e9a13c d8d9b0 8cc5cf 3f94c6 1f62b0 1c4396 1a2f78 2a2468 131d52"
                    pane(left, top, 1, stops, (ring - 3) / 11 + ray * (ring > 3))
    for row in range(6):
        for left in np.arange(-0.06, 1.45, 0.085 + 0.012 * row) + rng.uniform(0, 0.08):
            top = (
                ridge(left)
                + 0.022
                + 0.062 * row
                + 0.012 * row * np.sin(5 * left + row)
                + rng.uniform(-0.006, 0.006)
            )
            stream = abs(left - 0.80 + 0.16 * np.sin(1.1 * row + 0.3)) < 0.05 + 0.012 * row
            if stream:
                pane(left, top, 3, "eaf2d8 9ed3d6 4aa0c4", rng.uniform())
            else:
                pane(left, top, 2, "8fa83a 2f7d4f 14584e 0d4047 3b7a34", rng.uniform())
    for number in rng.permutation(len(sites))[:9]:
        tints[number] = np.array([186, 22, 44], np.float32)
    where, colour, kind = np.array(sites, np.float32), np.array(tints), np.array(kinds)
    bent_x, bent_y = x + 0.005 * noise(y, 9, 7, rng), y + 0.005 * noise(y, 9, 7, rng)
    first, second = np.full_like(x, 9), np.full_like(x, 9)
    owner, other = np.zeros(x.shape, np.int16), np.zeros(x.shape, np.int16)
    for number, (left, top) in enumerate(where):
        near = slice(*(np.clip([top - 0.25, top + 0.25], 0, 1) * y.shape[0]).astype(int))
        square = (bent_x[near] - left) ** 2 + (bent_y[near] - top) ** 2
        nearest, nearer = square < first[near], square < second[near]
        other[near] = np.where(nearest, owner[near], np.where(nearer, number, other[near]))
        second[near] = np.where(nearest, first[near], np.where(nearer, square, second[near]))
        owner[near], first[near] = (
            np.where(nearest, number, owner[near]),
            np.where(nearest, square, first[near]),
        )
    border = (second - first) / (2 * np.linalg.norm(where[owner] - where[other], axis=-1) + 1e-6)
    turn = rng.uniform(0, np.pi, len(where))[owner]
    streaks = noise(y, 7, 90, rng, 3)
    high, wide = streaks.shape
    along, aside = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    streak = streaks[
        (np.abs(aside) * high).astype(int) % high, (np.abs(along + 1.4) * high).astype(int) % wide
    ]
    light = 0.62 + 0.13 * streak + 0.10 * noise(y, 16, 12, rng, 2) + 0.42 * step(border, 0.0, 0.035)
    picture = colour[owner] * light[..., None] + 45 * step(streak, 0.9, 2.4)[..., None]
    lead = 0.0034 + 0.0010 * noise(y, 14, 10, rng) + 0.0036 * (kind[owner] != kind[other])
    solder = 14 + 44 * step(border / np.maximum(lead, 1e-3), 0.7, 0.0) * (
        0.7 + 0.3 * noise(y, 70, 50, rng)
    )
    picture = over(
        picture, np.stack([solder, solder, solder * 1.1], -1), step(border, lead + 0.0014, lead)
    )
    glow = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(edge / 45)
    )
    return finish(picture + 0.16 * np.asarray(glow, np.float32))


def woodcut(edge: int = 640, seed: int = 0) -> Image.Image:
    """Hills, trees and a low sun in engraved lines, black on warm paper with a second, ochre block."""
    rng = np.random.default_rng(seed)
    x, y = plane(edge)
    hand = 0.0022 * noise(y, 16, 12, rng, 2)  # the hand that holds the knife is not quite steady
    rough = noise(y, 90, 70, rng)

    def engraved(phase: Array, tone: Array) -> Array:
        ridge = np.abs(2 * (phase % 1) - 1)
        return step(ridge - np.clip(tone, 0.02, 0.98) + 0.07 * rough, 0.09, -0.09)

    sun = np.hypot(x - 0.93, y - 0.33)
    turn = np.arctan2(y - 0.33, x - 0.93)
    cloud = noise(y, 3.5, 9, rng, 3)
    rays = 0.5 + 0.5 * np.cos(26 * turn + 0.4 * noise(y, 6, 6, rng))
    tone = (
        0.12
        + 0.42 * step(sun, 0.12, 0.95)
        + 0.16 * rays * step(sun, 0.1, 0.2)
        - 0.32 * step(cloud, 0.3, 1.1)
    )
    ink = engraved((sun + hand) / 0.0135, tone)
    ink = np.where(sun < 0.105, 0, ink)
    ink = np.maximum(ink, step(np.abs(sun - 0.105 + hand), 0.004, 0.0028))
    ochre = step(sun, 0.104, 0.107) * step(cloud, 0.75, 0.65)
    red = step(sun, 0.103, 0.101)
    hills = [
        (0.50, 0.10, 5.2, 0.5, 0.2),
        (0.60, 0.07, 4.0, 2.4, -0.5),
        (0.70, 0.08, 3.4, 4.4, 0.9),
        (0.86, 0.07, 2.6, 1.2, -1.1),
    ]
    for number, (base, lift, waviness, shift, lean) in enumerate(hills):
        top = (
            base
            - lift * np.sin(waviness * x + shift)
            - 0.25 * lift * np.sin(2.7 * waviness * x + 2 * shift)
        )
        top = top + 0.006 * noise(y, 20, 0, rng)
        depth = y - top
        slope = np.gradient(top, axis=1) * y.shape[0]
        spacing = 0.0095 + 0.0022 * number
        if number % 2:
            phase = (depth * (1 - 0.25 * depth) + 0.012 * np.sin(9 * x + 3 * lean) + hand) / spacing
        else:
            phase = (x * 0.85 + lean * (depth + 0.03) ** 1.0 - 0.6 * depth * slope + hand) / spacing
        tone = (
            0.46
            - 0.75 * slope * np.sign(0.93 - x)
            + 0.42 * step(depth, 0.0, 0.28)
            - 0.30 * step(depth, 0.05, 0.0)
        )
        tone = tone + 0.10 * noise(y, 9, 7, rng, 2)
        inside = step(depth, -0.001, 0.001)
        ink = ink + (engraved(phase, tone) - ink) * inside
        ink = np.maximum(ink, step(np.abs(depth + hand * 0.5), 0.0036 + 0.0006 * number, 0.0022))
        ochre = ochre + (step(tone, 0.16, 0.26) - ochre) * inside
        red = red * (1 - inside)
        for left in np.sort(rng.uniform(0, 1.33, [0, 9, 7, 4][number])):
            size = rng.uniform(0.6, 1.3) * (0.016 + 0.014 * number)
            foot = float(np.interp(left, x[0], top[-1])) + 0.4 * size
            crown = np.hypot((x - left) / 0.62, (y - foot + 1.9 * size) / 1.5) / size
            crown = crown + 0.10 * noise(y, 0.9 / size, 0.7 / size, rng, 2)
            trunk = (np.abs(x - left + hand) < 0.10 * size) & (y > foot - size) & (y < foot)
            shade = 0.72 - 0.75 * np.clip(
                ((x - left) * np.sign(0.93 - left) - 0.5 * (y - foot + 1.9 * size)) / size,
                -0.6,
                0.9,
            )
            leaves = engraved(
                (crown * size * 0.9 + 0.7 * (y - foot) + hand) / (0.008 + 0.001 * number), shade
            )
            leaves = np.maximum(leaves, step(crown, 0.90, 0.95))
            cover = step(crown, 1.02, 0.99)
            ink = np.maximum(ink + (leaves - ink) * cover, trunk)
            ochre = np.maximum(ochre * (1 - cover), cover * (leaves > -1))
    grain = 4 * noise(y, 160, 120, rng) + 3 * noise(y, 4, 3, rng, 3)
    worn = np.clip(
        0.96 - 0.10 * step(noise(y, 200, 150, rng) + 0.5 * noise(y, 8, 60, rng), 1.3, 2.4), 0, 1
    )
    picture = (
        np.broadcast_to(np.array([243, 231, 205], np.float32), (*x.shape, 3)) + grain[..., None]
    )
    picture = over(
        picture,
        np.array([222, 178, 108], np.float32) + grain[..., None],
        0.9 * np.roll(ochre, 3, 1),
    )
    picture = over(picture, np.array([196, 62, 38], np.float32) + grain[..., None], red)
    return finish(over(picture, np.array([26, 22, 24], np.float32), ink * worn))


PAINTINGS: dict[str, Callable[..., Image.Image]] = {
    "strokes": strokes,
    "waves": waves,
    "glass": glass,
    "woodcut": woodcut,
}
