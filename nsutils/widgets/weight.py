"""A slider over powers of ten that shows the very number it is given.

The page rounds a value to the slider's grid, so the grid goes through the given number.
"""

import math

import ipywidgets as widgets

STEP = 0.05  # in the exponent: a press of an arrow key is 12 %


class Weight(widgets.FloatLogSlider):
    """`weight` is the slider's value, or 0 at its lower end, where `guard.js` writes 0 beside it too."""

    def __init__(self, weight: float, low: int, high: int, **keywords):
        self.meant = self.given = {weight: weight}  # what stands for a number beside it
        if weight:
            exponent = math.log10(weight)
            # The lower end lies below it, or it would be taken for 0; the upper one above, or it would be cut.
            low = exponent - STEP * max(1, math.ceil((exponent - low) / STEP))
            high = max(high, exponent + STEP)
        super().__init__(
            weight or 10.0**low, min=low, max=high, step=STEP, readout_format=".4", **keywords
        )
        self.add_class("from-zero")

    def put(self, weight: float) -> None:
        """Moves the slider to the nearest of its places, which then stands for the very number."""
        place = self._place(weight)
        near = bool(weight) and abs(math.log10(weight / place)) < self.step
        self.meant = self.given | ({place: weight} if near else {})
        self.value = place

    def _place(self, weight: float) -> float:
        """The nearest place, where the page would put it too, but later; the lowest, which is 0, only for that."""
        exponent = math.log10(weight) if weight else self.min
        place = round((min(max(exponent, self.min), self.max) - self.min) / self.step)
        place = max(place, 1 if weight else 0)
        return self.base ** min(self.min + place * self.step, self.max)

    def put_towards(self, weight: float) -> None:
        """Moves the slider to the nearest place, and at least to the next one."""
        place = self._place(weight)
        if math.isclose(place, self.value, rel_tol=1e-6):
            place = self._place(
                self.value * self.base ** math.copysign(self.step, weight - self.value)
            )
        self.value = place

    @property
    def weight(self) -> float:
        known = {self.base**self.min: 0.0, **self.meant}
        for place, weight in reversed(known.items()):
            if math.isclose(self.value, place, rel_tol=1e-6):
                return weight
        return self.value
