"""A weight on a slider over powers of ten, which can be 0 all the same."""

import math

import ipywidgets as widgets

STEP = 0.05  # in the exponent: a press of an arrow key is 12 %


class Weight(widgets.FloatLogSlider):
    """`weight` is the slider's value, or 0 at its lower end, where `guard.js` writes 0 beside it too."""

    def __init__(self, weight: float, low: int, high: int, **keywords):
        if weight:
            # The page rounds a value to the slider's grid, so the grid goes through the given weight;
            # and the lower end lies below it, or it would be taken for 0.
            exponent = math.log10(weight)
            low = exponent - STEP * max(1, math.ceil((exponent - low) / STEP))
            high = max(high, exponent)
        super().__init__(
            weight or 10.0**low, min=low, max=high, step=STEP, readout_format=".3", **keywords
        )
        self.add_class("from-zero")

    @property
    def weight(self) -> float:
        lowest = self.base**self.min
        return 0.0 if math.isclose(self.value, lowest, rel_tol=1e-6) else self.value
