"""Where in the picture what counts: masks as weights of pixels, at the size of any layer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

HOLD = 3.0  # how much heavier the content's features count where they are wholly protected


@dataclass(frozen=True)
class Regions:
    """Masks of an image, (1, 1, H, W), 0 to 1.

    `protected` is where the content is to hold, `where` for each style where it is to act, `spared` where styles count
    less. None is everywhere, or nowhere protected or spared.
    """

    protected: Tensor | None = None
    where: tuple[Tensor | None, ...] = (None,)
    spared: Tensor | None = None

    def rolled(self, shift: tuple[int, int]) -> "Regions":
        return self.each(lambda mask: mask.roll(shift, (-2, -1)))

    def octave(self, number: int) -> "Regions":
        """For the image halved so many times."""
        return self.each(lambda mask: F.avg_pool2d(mask, 2**number)) if number else self

    def each(self, change: Callable[[Tensor], Tensor]) -> "Regions":
        def changed(mask: Tensor | None) -> Tensor | None:
            return None if mask is None else change(mask)

        where = tuple(changed(mask) for mask in self.where)
        return Regions(changed(self.protected), where, changed(self.spared))

    @property
    def places(self) -> list[int]:
        """For each style the number of the one whose place it shares: styles that act everywhere the first such."""
        everywhere = [n for n, where in enumerate(self.where) if where is None][:1]
        return [everywhere[0] if w is None else n for n, w in enumerate(self.where)]

    @property
    def free(self) -> list[Tensor | None]:
        """For each style how much each pixel counts: less where it is protected, as Gatys et al. 2017, section 4.1."""
        found = [*self.where]
        for mask in (self.protected, self.spared):
            if mask is not None:
                found = [1 - mask if w is None else w * (1 - mask) for w in found]
        return found

    @property
    def held(self) -> Tensor | None:
        """How much each pixel of the content counts."""
        return None if self.protected is None else 1 + HOLD * self.protected


def shrunk(weights: Tensor, shape: tuple[int, int]) -> Tensor:
    """The weights at a layer's size."""
    return F.adaptive_avg_pool2d(weights, shape)
