"""Where in the picture what counts: masks as weights of pixels, at the size of any layer."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor

from nsutils.statistics import counted

HOLD = 3.0  # how much heavier the content's features count where they are wholly protected


@dataclass(frozen=True)
class Regions:
    """Masks of an image, (1, 1, H, W), 0 to 1.

    `protected` is where the content is to hold, `where` for each style where it is to act, `spared` where styles count
    less, `freed` where the content does, and `faces` where there are some, for an objective to spare. None is
    everywhere, or nowhere protected, spared, freed or a face.
    """

    protected: Tensor | None = None
    where: tuple[Tensor | None, ...] = (None,)
    spared: Tensor | None = None
    freed: Tensor | None = None
    faces: Tensor | None = None

    def rolled(self, shift: tuple[int, int]) -> "Regions":
        return self.each(lambda mask: mask.roll(shift, (-2, -1)))

    def each(self, change: Callable[[Tensor], Tensor]) -> "Regions":
        def changed(mask: Tensor | None) -> Tensor | None:
            return None if mask is None else change(mask)

        where = tuple(changed(mask) for mask in self.where)
        names = ("protected", "spared", "freed", "faces")
        return Regions(where=where, **{name: changed(getattr(self, name)) for name in names})

    def octave(self, number: int) -> "Regions":
        """For the image halved so many times."""
        return self.once(number, lambda mask: F.avg_pool2d(mask, 2**number)) if number else self

    def at(self, shape: tuple[int, int]) -> "Regions":
        """At a layer's size."""
        return self.once(shape, lambda mask: F.adaptive_avg_pool2d(mask, shape))

    def once(self, what: Hashable, change: Callable[[Tensor], Tensor]) -> "Regions":
        """Changed, and kept, for the next step asks the same."""
        if what not in self._changed:
            self._changed[what] = self.each(change)
        return self._changed[what]

    @cached_property
    def _changed(self) -> dict[Hashable, "Regions"]:
        return {}

    @cached_property
    def places(self) -> list[int]:
        """For each style the number of the one whose place it shares: styles that act everywhere the first such."""
        everywhere = [n for n, where in enumerate(self.where) if where is None][:1]
        return [everywhere[0] if w is None else n for n, w in enumerate(self.where)]

    @cached_property
    def free(self) -> list[Tensor | None]:
        """For each style how much each pixel counts: less where it is protected, as Gatys et al. 2017, section 4.1."""
        found = [*self.where]
        for mask in (self.protected, self.spared):
            if mask is not None:
                found = [1 - mask if w is None else w * (1 - mask) for w in found]
        return found

    @cached_property
    def counted(self) -> list[Tensor | None]:
        """For each style how many pixels that makes."""
        return [None if free is None else counted(free, free) for free in self.free]

    @cached_property
    def held(self) -> Tensor | None:
        """How much each pixel of the content counts."""
        held = None if self.freed is None else 1 - self.freed
        if self.protected is None:
            return held
        return (1 if held is None else held) + HOLD * self.protected
