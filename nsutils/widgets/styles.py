"""The style pictures: one or several, each with a share and a scale."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import traitlets

from nsutils import pictures
from nsutils.settings import Style
from nsutils.widgets.controls import button, renewed
from nsutils.widgets.picker import Picker
from nsutils.widgets.weight import Weight
from nsutils.widgets.words import complaint

NAMED = {"description_width": "60px"}
SHAPE = 48  # pixels: the edge of a small picture of the place, shown at half of that


class Styles(widgets.VBox):
    """`value` are the styles as they are asked for, a tuple of `Style`."""

    value = traitlets.Tuple()

    def __init__(
        self,
        known: dict[str, Path],
        styles: Iterable[Style],
        uploads: Path,
        marked: Callable[[int], str | None],
    ):
        self.known, self.uploads, self.marked = known, uploads, marked
        tip = "blends a second picture's style in, from the next Run on"
        self.add = button("Another style", tip, "plus")
        self.add.on_click(lambda _: self.take([*self.value, Style(self._unused())]))
        super().__init__()
        self.take(styles)

    def take(self, styles: Iterable[Style]) -> None:
        """Rows for these styles."""
        self.rows = [Row(self, style) for style in styles]
        several = len(self.rows) > 1
        for part in (part for row in self.rows for part in (row.weight, row.buttons)):
            part.layout.display = "" if several else "none"
        with renewed(self):
            self.children = [*self.rows, self.add]
        self.read()

    def put(self, styles: Sequence[Style], chosen: Sequence[str]) -> None:
        """Moves the sliders to what a run's styles now are, in the rows that have the pictures `chosen` for it."""
        for row, style, picture in zip(self.rows, styles, chosen, strict=False):
            if row.picker.value == picture:
                row.put(style)

    def read(self) -> None:
        self.value = tuple(row.value for row in self.rows)

    def drop(self, row: "Row") -> None:
        self.take([other.value for other in self.rows if other is not row])

    def _unused(self) -> str:
        """A known picture that is not among the styles yet."""
        used = {style.picture for style in self.value}
        known = [str(path) for path in self.known.values()]
        return next((path for path in known if path not in used), self.value[0].picture)


class Row(widgets.VBox):
    """One style: its picture, its share among several, its scale."""

    def __init__(self, styles: Styles, style: Style):
        self.styles, self.style = styles, style
        self.picker = Picker("Style", styles.known, style.picture, styles.uploads)
        # Each change has the style looked at anew: not while the slider is on its way.
        slider = {"style": NAMED, "layout": {"width": "auto"}, "continuous_update": False}
        tip = "right: more of this style, less of the others"
        self.weight = Weight(style.weight, -2, 1, description="Share", tooltip=tip, **slider)
        self.scale = widgets.FloatSlider(
            style.scale,
            min=min(0.25, style.scale),
            max=max(2.0, style.scale),
            step=0.05,
            description="Scale",
            tooltip="right: larger strokes; left: finer ones; 1: as large beside the picture as they are painted",
            **slider,
        )
        self.place = button("", "")
        self.remove = button("Remove", "takes this style away")
        self.shape = widgets.Image(format="png").add_class("shape")
        self.buttons = widgets.HBox([self.place, self.shape, self.remove])
        super().__init__([self.picker, self.scale, self.weight, self.buttons])
        self.add_class("style")
        self._say_place()
        self.remove.on_click(lambda _: styles.drop(self))
        self.place.on_click(lambda _: self._change_place())
        for control in (self.picker, self.weight, self.scale):
            control.observe(lambda _: styles.read(), "value")

    def put(self, style: Style) -> None:
        self.weight.put(style.weight)
        self.scale.value = style.scale
        self._put_where(style.where)

    def _change_place(self) -> None:
        """Everywhere again, or where something is marked."""
        mask = None if self.style.where else self.styles.marked(self.styles.rows.index(self))
        if mask or self.style.where:
            self._put_where(mask)
        else:
            words = "nothing is marked; paint the place in the tab Protect first, then press again"
            self.picker.problem.value = complaint(ValueError(words))

    def _put_where(self, mask: str | None) -> None:
        """Lets the style act within a mask alone, or everywhere."""
        self.style, self.picker.problem.value = replace(self.style, where=mask), ""
        self._say_place()
        self.styles.read()

    def _say_place(self) -> None:
        self.place.description = "Everywhere again" if self.style.where else "Only where marked"
        self.place.tooltip = (
            "lets this style act in the whole picture"
            if self.style.where
            else "mark a part under Protect, then press: this style acts there, and the mark is free again"
        )
        self.shape.layout.display = "" if self.style.where else "none"
        if self.style.where:
            image = pictures.thumbnail(pictures.opened(self.style.where), SHAPE)
            self.shape.value = pictures.png(image, {})

    @property
    def value(self) -> Style:
        numbers = {"weight": self.weight.weight, "scale": self.scale.value}
        return replace(self.style, picture=self.picker.value, **numbers)
