"""A style's statistics as a file, to be used again without its picture."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nsutils import pictures

SUFFIX = ".safetensors"
SMALL = 256  # pixels: the long edge of the picture inside, which is there to be looked at
Octaves = list[dict[str, Tensor]]  # statistics by layer, for the style, its half, its quarter ...


@dataclass(frozen=True)
class Target:
    """A style's statistics at some sizes, what they were made with, and a small picture to know it by.

    `sizes` are keyed by the edge, in pixels, of the content beside which they were taken; `made_with` are the
    settings on which they depend.
    """

    sizes: Mapping[int, Octaves]
    made_with: Mapping[str, Any]
    picture: Image.Image

    @classmethod
    def read(cls, path: str | Path) -> "Target":
        """The target in a file; ValueError, in one line, if there is none."""
        sizes: dict[int, Octaves] = {}
        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                for key in sorted(file.keys(), key=lambda key: int(key.split("/")[1])):
                    edge, octave, layer = key.split("/")
                    octaves = sizes.setdefault(int(edge), [])
                    if len(octaves) == int(octave):
                        octaves.append({})
                    octaves[int(octave)][layer] = file.get_tensor(key)
            made_with = json.loads(facts["made_with"])
        except (SafetensorError, OSError, KeyError, ValueError, IndexError) as error:
            raise ValueError(
                f"no style target {str(path)!r}: {str(error).splitlines()[0]}; make one with nsutils target"
            ) from error
        return cls(sizes, made_with, small_picture(facts["picture"]))

    def write(self, path: str | Path) -> None:
        """The target as a safetensors file."""
        image = pictures.jpeg(pictures.thumbnail(self.picture, SMALL))
        facts = {
            "made_with": json.dumps(self.made_with),
            "picture": base64.b64encode(image).decode(),
        }
        arrays = {
            f"{edge}/{number}/{layer}": statistic.cpu().contiguous()
            for edge, octaves in self.sizes.items()
            for number, octave in enumerate(octaves)
            for layer, statistic in octave.items()
        }
        pictures.write(Path(path), save(arrays, facts))

    def at(self, edge: int) -> "Target":
        """The one size that is nearest, by ratio."""
        nearest = min(self.sizes, key=lambda size: max(size / edge, edge / size))
        return Target({nearest: self.sizes[nearest]}, self.made_with, self.picture)

    @property
    def depth(self) -> int:
        """How many octaves there are."""
        return min(map(len, self.sizes.values()))

    def octaves(self, wanted: Mapping[str, Any], layers: tuple[str, ...]) -> Octaves:
        """The statistics at the first size, if they are what is wanted; ValueError, in one line, if not."""
        for name, value in wanted.items():
            if self.made_with[name] != value:
                raise ValueError(
                    f"the style target was made with {name} {self.made_with[name]}, and not {value}; make it again, "
                    f"or use {name}={self.made_with[name]!r}"
                )
        (octaves,) = self.sizes.values()
        for layer in layers:
            if layer not in octaves[0]:
                raise ValueError(
                    f"no layer {layer!r} in the style target; there are {', '.join(octaves[0])}"
                )
        return octaves


def is_target(path: str | Path) -> bool:
    return Path(path).suffix == SUFFIX


def small_picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


def shown(path: str | Path) -> Image.Image:
    """The picture in a file, or the small one inside a style's target."""
    return Target.read(path).picture if is_target(path) else pictures.opened(path)
