"""Faces in a picture, which styles spare and masks protect. Nothing is fetched, and nothing leaves the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageOps

from nsutils import pictures

EDGE = 320  # pixels: the picture's long edge while it is searched
LEAST = 24  # pixels there: the smallest face
SCALE, HITS = 1.15, 7  # between two sizes that are tried; finds at about one place that make a face
ALIKE = 0.4  # overlap from which on two finds are one face
# In parts of the face that is found: half axes, and how far down from its top their middle is.
FACE, HEAD_AND_SHOULDERS = (0.6, 0.6, 0.5), (0.85, 1.1, 0.6)
SOFTNESS = 0.15  # of an ellipse's edge, in parts of its half axes
SMALL = 0.22  # of the picture's long edge: up to there a face is lost under strokes
Box = tuple[float, float, float, float]  # left, top, width, height in parts of the picture


@dataclass(frozen=True)
class Ellipse:
    """In parts of the picture's width and height, 0 to 1; it may stick out."""

    x: float
    y: float
    half_width: float
    half_height: float
    degrees: float = 0.0

    def __post_init__(self):
        if min(self.half_width, self.half_height) <= 0:
            axes = f"{self.half_width:g} x {self.half_height:g}"
            raise ValueError(f"an ellipse with half axes {axes}; give both above 0, as 0.2")


def around(box: Box, parts: tuple[float, float, float]) -> Ellipse:
    """The ellipse of a face, or of head and shoulders."""
    (left, top, width, height), (wide, tall, down) = box, parts
    return Ellipse(left + width / 2, top + down * height, wide * width, tall * height)


def portrait(image: Image.Image) -> Ellipse | None:
    """Head and shoulders of the largest face, if there is one."""
    largest = next(iter(faces(image)), None)
    return largest and around(largest, HEAD_AND_SHOULDERS)


def spared(boxes: Sequence[Box], size: tuple[int, int]) -> Image.Image:
    """A grey image, (width, height), white on faces; less on large ones, for they bear more strokes."""
    grey = Image.new("L", size)
    for box in boxes:
        side = max(box[2] * size[0], box[3] * size[1]) / max(size)
        light = min(1.0, SMALL / side) ** 0.5
        face = mask_of([around(box, FACE)], size)
        grey = ImageChops.lighter(grey, face.point([round(light * value) for value in range(256)]))
    return grey


def mask_of(ellipses: list[Ellipse], size: tuple[int, int]) -> Image.Image:
    """A grey image, (width, height), white in the ellipses, with soft edges."""
    width, height = size
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    white = np.zeros((height, width))
    for one in ellipses:
        turn = np.radians(one.degrees)
        x, y = (across - one.x) * width, (down - one.y) * height
        along, aside = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        far = np.hypot(along / (one.half_width * width), aside / (one.half_height * height))
        white = np.maximum(white, ((1 - far) / SOFTNESS + 0.5).clip(0, 1))
    return Image.fromarray((255 * white).round().astype(np.uint8))


def faces(image: Image.Image) -> list[Box]:
    """The places of the faces that are found, the largest first.

    By scikit-image's cascade of local binary patterns (Viola and Jones 2001, Liao et al. 2007). It finds faces that
    look at the camera, upright to about 5 degrees, no smaller than a thirteenth of the picture, and misses profiles,
    beards, painted faces and hard shadows more often than not. What is not found in the mirror, too, is taken for
    none: a brush mends a face that was missed more easily than one that there never was.
    """
    small = pictures.thumbnail(image.convert("RGB"), EDGE)
    return [*found(small.tobytes(), small.size)]  # once for all runs of a picture


@lru_cache(8)
def found(data: bytes, size: tuple[int, int]) -> tuple[Box, ...]:
    small = Image.frombytes("RGB", size, data)
    if not (seen := finds(small)):
        return ()
    mirrored = [(1 - x - w, y, w, h) for x, y, w, h in finds(ImageOps.mirror(small))]
    agreed = [box for box in seen if any(overlap(box, other) > ALIKE for other in mirrored)]
    faces: list[Box] = []
    for box in sorted(agreed, key=lambda box: -box[2] * box[3]):
        if all(overlap(box, other) < ALIKE / 2 for other in faces):
            faces.append(box)
    return tuple(faces)


def finds(image: Image.Image) -> list[Box]:
    width, height = image.size
    rows = detector().detect_multi_scale(
        np.asarray(image), SCALE, 1.0, (LEAST, LEAST), (EDGE, EDGE), min_neighbor_number=HITS
    )
    return [
        (row["c"] / width, row["r"] / height, row["width"] / width, row["height"] / height)
        for row in rows
    ]


@lru_cache
def detector() -> Any:
    from skimage import data
    from skimage.feature import Cascade

    return Cascade(data.lbp_frontal_face_cascade_filename())


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share, in parts of the area of both."""
    shared = 1.0
    for side in (0, 1):
        end = min(one[side] + one[side + 2], other[side] + other[side + 2])
        shared *= max(0.0, end - max(one[side], other[side]))
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
