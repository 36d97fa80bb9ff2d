"""Sliders that take any number they are asked to show: a weight over powers of ten, and a count."""

import math

import ipywidgets as widgets

STEP = 0.05  # in the exponent: a press of an arrow key is 12 %


class Weight(widgets.FloatLogSlider):
    """`weight` is the slider's value, or 0 at its lower end, where `guard.js` writes 0 beside it too."""

    def __init__(self, weight: float, low: int, high: int, **keywords):
        self.usual = low, high
        super().__init__(**placed(weight, *self.usual), step=STEP, readout_format=".3", **keywords)
        self.add_class("from-zero")

    @property
    def weight(self) -> float:
        lowest = self.base**self.min
        return 0.0 if math.isclose(self.value, lowest, rel_tol=1e-6) else self.value

    @weight.setter
    def weight(self, weight: float) -> None:
        move(self, **placed(weight, *self.usual))


class Count(widgets.IntSlider):
    """A whole number."""

    def __init__(self, count: int, low: int, high: int, step: int, **keywords):
        self.usual = low, high, step
        super().__init__(**counted(count, *self.usual), step=step, **keywords)

    @property
    def count(self) -> int:
        return self.value

    @count.setter
    def count(self, count: int) -> None:
        move(self, **counted(count, *self.usual))


def placed(weight: float, low: int, high: int) -> dict[str, float]:
    """Value and ends of a slider that shows the weight.

    The page rounds a value to the slider's grid, so the grid goes through the given weight; and the lower end
    lies below it, or it would be taken for 0.
    """
    if not weight:
        return {"value": 10.0**low, "min": low, "max": high}
    exponent = math.log10(weight)
    low = exponent - STEP * max(1, math.ceil((exponent - low) / STEP))
    return {"value": weight, "min": low, "max": max(high, exponent + STEP)}


def counted(count: int, low: int, high: int, step: int) -> dict[str, int]:
    """The same for a count."""
    low = min(count, low + (count - low) % step)
    return {"value": count, "min": low, "max": max(high, count)}


def move(slider: Weight | Count, value: float, min: float, max: float) -> None:
    """Gives a slider new ends and a new value; its observers hear of the value alone, and once."""
    with slider.hold_trait_notifications():
        slider.min, slider.max, slider.value = min, max, value
