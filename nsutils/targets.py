"""A style's statistics kept: as a file, to be used again without its picture, and for runs that share them."""

import base64
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from nsutils import pictures

SUFFIX = ".safetensors"
# Beside the layers in a style's statistics: the raw moments of `measures.palette`.
PALETTE = "palette"
FAR = 1.4  # how much larger or smaller a target may be than what is asked for
SMALL = 256  # pixels: the long edge of the picture inside, which is there to be looked at
REMEMBERED = 96  # statistics of a layer: four styles' at four scales and six layers
# (octaves, C, K) by layer: statistics of the style, its half, its quarter ...
Octaves = dict[str, Tensor]


@dataclass(frozen=True)
class Target:
    """A style's statistics at some sizes, what they were made with, and a small picture to know it by.

    `sizes` are keyed by the edge, in pixels, of the content beside which they were taken; `made_with` are the
    settings on which they depend.
    """

    sizes: Mapping[int, Octaves]
    made_with: Mapping[str, Any]
    picture: Image.Image
    name: str = "style target"

    @classmethod
    def read(cls, path: str | Path) -> "Target":
        """The target in a file; ValueError, in one line, if there is none."""
        sizes: dict[int, Octaves] = {}
        try:
            with safe_open(path, "pt") as file:
                facts = file.metadata() or {}
                for key in sorted(file.keys()):
                    edge, layer = key.split("/")
                    sizes.setdefault(int(edge), {})[layer] = file.get_tensor(key)
            made_with = dict(json.loads(facts["made_with"]))
            picture = small_picture(facts["picture"])
            layers = {(*octaves,) for octaves in sizes.values()}
            depths = [{*map(len, octaves.values())} for octaves in sizes.values()]
            if len(layers) != 1 or any(len(depth) != 1 for depth in depths):
                raise LookupError("layers or octaves are missing")
        except Exception as error:  # whatever a file that is none, or a damaged one, brings up
            told = isinstance(error, OSError)
            reason = str(error).splitlines()[0] if told else "it is none, or damaged"
            raise ValueError(
                f"no style target {str(path)!r}: {reason}; make one with nsutils target"
            ) from error
        return cls(sizes, made_with, picture, str(path))

    def packed(self) -> bytes:
        """The target as a safetensors file's bytes."""
        image = pictures.jpeg(pictures.thumbnail(self.picture, SMALL))
        facts = {
            "made_with": json.dumps(self.made_with),
            "picture": base64.b64encode(image).decode(),
        }
        arrays = {
            f"{edge}/{layer}": statistics.cpu().contiguous().clone()  # two sizes may share them
            for edge, octaves in self.sizes.items()
            for layer, statistics in octaves.items()
        }
        return save(arrays, facts)

    def at(self, edge: int) -> "Target":
        """The one size that is nearest, by ratio."""
        nearest = min(self.sizes, key=lambda size: max(size / edge, edge / size))
        if max(nearest / edge, edge / nearest) > FAR:
            known = ", ".join(map(str, sorted(self.sizes)))
            raise ValueError(
                f"{self.name!r} was made for {known} pixels, and not for {edge}; make it again for a run of that size, "
                "or name the picture itself"
            )
        return replace(self, sizes={nearest: self.sizes[nearest]})

    @property
    def depth(self) -> int:
        """How many octaves there are."""
        return min(len(found) for octaves in self.sizes.values() for found in octaves.values())

    def octaves(self, wanted: Mapping[str, Any], layers: tuple[str, ...]) -> Octaves:
        """The statistics at the first size, if they are what is wanted; ValueError, in one line, if not."""
        for name, value in wanted.items():
            made = self.made_with.get(name)
            if made != value:
                raise ValueError(
                    f"{self.name!r} was made with {name} {made}, and not {value}; make it again, or use {name} {made}"
                )
        (octaves,) = self.sizes.values()
        for layer in layers:
            if layer not in octaves:
                raise ValueError(
                    f"no layer {layer!r} in {self.name!r}; there are {', '.join(octaves)}; make it again for others"
                )
        return octaves


class Known:
    """Statistics of styles that were found before, the last ones in memory.

    With a `folder`, all of them are files there as well, for other processes that are alike in what `maker` says.
    """

    def __init__(self, folder: Path | None = None, maker: Any = None):
        self.folder, self.maker = folder, maker
        self.memory: dict[tuple, Tensor] = {}

    def octaves(
        self, key: tuple, layers: tuple[str, ...], made: Callable[[tuple[str, ...]], Octaves]
    ) -> Octaves:
        """The statistics of layers under a key, those that are not known made."""
        found = {layer: self._found((*key, layer)) for layer in layers}
        if missing := tuple(layer for layer in layers if found[layer] is None):
            for layer, statistics in made(missing).items():
                found[layer] = statistics
                self._remember((*key, layer), statistics)
                if self.folder:
                    data = save({"statistics": statistics.cpu().contiguous()})
                    self.folder.mkdir(parents=True, exist_ok=True)
                    pictures.write(self._file((*key, layer)), data)
        return found

    def _found(self, key: tuple) -> Tensor | None:
        if key not in self.memory and self.folder:
            with suppress(FileNotFoundError):
                self._remember(key, load(self._file(key).read_bytes())["statistics"])
        return self.memory.get(key)

    def _remember(self, key: tuple, statistics: Tensor) -> None:
        while len(self.memory) >= REMEMBERED:
            self.memory.pop(next(iter(self.memory)), None)
        self.memory[key] = statistics

    def _file(self, key: tuple) -> Path:
        return self.folder / pictures.sha256(repr((self.maker, key)).encode())[:16]


def is_target(path: str | Path) -> bool:
    return Path(path).suffix == SUFFIX


def small_picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


def shown(path: str | Path) -> Image.Image:
    """The picture in a file, or the small one inside a style's target."""
    return Target.read(path).picture if is_target(path) else pictures.opened(path)
