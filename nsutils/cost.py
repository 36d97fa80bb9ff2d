"""What a run will cost, before it begins: seconds, memory, and the largest size that fits here."""

import bisect
import itertools
import json
import math
import platform
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from platformdirs import user_cache_path

from nsutils import __version__, encoders, machine, pictures
from nsutils.descent import Descent
from nsutils.encoders import Encoder, stride_of
from nsutils.measures import divisible
from nsutils.objective import Objective
from nsutils.pieces import pieces
from nsutils.settings import PIXELS, Settings
from nsutils.sources import SIDES, Shape, larger, least_edge, scales_of, style_shape
from nsutils.targets import is_target
from nsutils.transfer import Step

# Found on a processor with GNU's malloc; the rest is measured where it runs.
IN_PIECES = 1.3  # times the features of a piece are taken, for the octaves that are seen whole
LIBRARIES, HOLES = 100_000_000, 110_000_000  # bytes, for any picture that is not tiny
LOOKED_AT = 2.5  # features of its widest layer that there are at a time while a style is looked at
RECORDED = 1.6  # more of all on a CUDA card, where what is computed side by side shares no memory (on an H100)
INDEX = 2  # bytes that a maximum holds for each value it saw: eight for each four
SPARE = 0.9  # of the free memory is planned with
LEAST_SLOPE = 0.6  # what a pixel more costs at least, in parts of what one has cost
LONE_SLOPE = 0.3  # and about, where one small size is known: most of that does not grow
TWICE = 1.4  # what a piece costs that is seen twice, once without a gradient
PIECES = (1_500_000, 800_000, 400_000)  # pixels: sizes of pieces to choose from

TRYING = threading.Lock()  # two at once would slow each other
FIRST, LARGE = 96, (512, 448, 384, 320, 256, 192)  # pixels: edges of the squares that are tried
PATIENCE, TRIED = 2.5, (2, 4)  # seconds for all; steps that are tried, at least and at most
NEAR = 1.25  # sizes with less than so many times the pixels take what the other is known to take
RELEVANT = (
    *("content_layers", "style_layers", "style_statistic", "octaves", "optimizer"),
    *("lbfgs_history", "preconditioned", "pooling", "padding", "normalize_gradients", "roll"),
)
OPTIONAL = ("laplacian_weight", "similarity_weight", "sparing", "freeing")  # computed where above 0


@dataclass(frozen=True)
class Forecast:
    """`seconds` from the first step to the last, `bytes` of memory that the process will have taken at most.

    `free` is what it may take here, `whole` the number of pixels up to which images are seen in one piece (None: all
    are), and `largest` the largest `size` that fits, for this content's shape, 0 if none does.
    """

    seconds: float
    bytes: int
    free: int
    whole: int | None
    largest: int

    @property
    def fits(self) -> bool:
        return self.bytes <= self.free

    def __str__(self) -> str:
        words = f"about {duration(self.seconds)}, {gigabytes(self.bytes)} of memory"
        if not self.fits:
            fitting = f"size {self.largest} fits" if self.largest else "no size fits"
            return f"{words}, and {gigabytes(self.free)} are free; {fitting}"
        pieced = ", seen in pieces to save memory" if self.whole else ""
        return f"{words}{pieced}; up to {self.largest} px fit here"


class Cost:
    """What steps of some settings cost on this machine, by the number of pixels.

    Found by trying a few steps on noise, in under 3 s, and kept in the user's cache folder for each machine, encoder
    and kind of objective; real runs add what they took (`learn`).
    """

    def __init__(self, settings: Settings, encoder: Encoder):
        self.settings, self.encoder = settings, encoder
        self.file = user_cache_path("nsutils") / "speeds.json"
        self._look_up()

    def _look_up(self) -> None:
        """What is known already, of steps by their pixels and of beginning a scale, in parts of `_share`."""
        self.points: dict[int, float] = {}
        self.begins = 1.0
        with suppress(ValueError, TypeError, LookupError, AttributeError):  # else it is tried again
            known = self._known()[self._key]
            points = {int(n): float(seconds) for n, seconds in known["points"].items()}
            self.begins, self.points = float(known["begins"]), points

    @property
    def _key(self) -> str:
        encoder = self.encoder
        widths = [len(convolution.bias) for convolution in encoder.convolutions.values()]
        network = [encoder.name, widths, encoder.precision, encoder.device.type]
        here = [platform.node(), torch.get_num_threads(), torch.__version__, __version__]
        asked = [getattr(self.settings, name) for name in RELEVANT]
        asked += [bool(getattr(self.settings, name)) for name in OPTIONAL]
        return json.dumps([*network, *here, *asked])

    def _known(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads(self.file.read_text()))
        return {}

    def _keep(self) -> None:
        known = self._known() | {self._key: {"points": self.points, "begins": self.begins}}
        with suppress(OSError):  # then it is tried again the next time
            self.file.parent.mkdir(parents=True, exist_ok=True)
            pictures.write(self.file, json.dumps(known).encode())

    def probed(self) -> "Cost":
        """Itself, having tried a square as large as the smallest scale, and as the largest for which there is time."""
        with TRYING:
            if not self.points:  # another may have tried meanwhile
                self._look_up()
            self._probe()
        return self

    def _probe(self) -> None:
        begun, tried = time.monotonic(), len(self.points)
        sizes = [math.prod(shape) for shape, begin, end in ladder(self.settings) if end > begin]
        if not self.points:
            self._try(min(FIRST, math.isqrt(sizes[0])), TRIED[1])
        squares = {edge**2 for edge in LARGE if edge**2 < sizes[-1]}
        for edge in map(math.isqrt, sorted({*sizes, *squares}, reverse=True)):
            if edge**2 < NEAR * max(self.points):
                break
            room = (PATIENCE - (time.monotonic() - begun)) / self.step((edge, edge))
            if room - 1 >= TRIED[0]:  # to begin takes one
                self._try(edge, min(TRIED[1], int(room - 1)))
        if len(self.points) > tried:
            self._keep()

    @torch.enable_grad()
    def _try(self, edge: int, steps: int) -> None:
        """Takes in what a step takes on a square of noise, and on a CUDA card what it takes, beside that, to begin."""
        chance, device = torch.Generator().manual_seed(0), self.encoder.device
        size = (1, 3, edge, edge)
        content, style = (torch.rand(size, generator=chance).to(device) for _ in range(2))
        settings = replace(self.settings, styles=replace(self.settings.styles[0], weight=1.0))
        moments = [time.perf_counter()]
        descent = Descent(Objective(settings, self.encoder, content, [style]), content, {})
        for number in range(1, steps + 1):
            descent.step(number)
            moments.append(time.perf_counter())
        # not the mean: a process's second step still takes twice as long as the next
        taken = [after - before for before, after in itertools.pairwise(moments)]
        usual = self.points[edge**2] = statistics.median(taken[1:])
        if device.type == "cuda":
            self.begins = taken[0] - usual

    def _share(self, step: float) -> float:
        """What a scale takes to begin: about a step if there is one style; on a CUDA card as long for any size."""
        if self.encoder.device.type == "cuda":
            return 1.0
        return step * (1 + sum(self._styles)) / 2

    @cached_property
    def _styles(self) -> list[float]:
        """How many pixels the styles have, in parts of the content's, at the last scale; a target has none."""
        settings, shape = self.settings, scales_of(self.settings)[-1]
        shapes = [
            style_shape(settings, pictures.shape(style.picture), shape, style.scale)
            for style in settings.styles
            if not is_target(style.picture)
        ]
        return [math.prod(each) / math.prod(shape) for each in shapes]

    def learn(self, pixels: int, seconds: float, begins: float | None = None) -> None:
        """Takes in what steps of a real run took, and to begin; what was known of nearly that size is forgotten."""
        self.points = {n: s for n, s in self.points.items() if not 1 / NEAR < n / pixels < NEAR}
        self.points[pixels] = seconds
        if begins is not None:
            self.begins = (self.begins + max(0.0, begins) / self._share(seconds)) / 2
        self._keep()

    def step(self, shape: Shape, whole: int | None = None) -> float:
        """Seconds for a step on an image of that shape."""
        if whole and math.prod(shape) > whole:
            reach = self.encoder.reach(self.layers)
            image = torch.empty(shape, device="meta")
            parts = (piece.of(image).shape for piece in pieces(shape, whole, reach))
            return TWICE * sum(map(self.step, parts))
        pixels, known = math.prod(shape), sorted(self.points.items())
        for (n, low), (m, high) in itertools.pairwise(known):
            if pixels <= m:
                return max(0.5 * low, high + (high - low) * (pixels - m) / (m - n))
        # beyond what was tried: from two that lie well apart, for near ones differ by chance
        m, high = known[-1]
        slope = LONE_SLOPE * high / m
        if well := [point for point in known if 2 * point[0] <= m]:
            n, low = well[-1]
            slope = max(LEAST_SLOPE * high / m, (high - low) / (m - n))
        return high + slope * (pixels - m)

    def beginning(self, shape: Shape) -> float:
        """Seconds, beside those for its steps, to begin a scale of that shape: for its targets, and all that is new."""
        return self.begins * self._share(self.step(shape))

    def ahead(
        self, settings: Settings, step: Step | None, whole: int | None = None
    ) -> Iterator[tuple[Shape, float]]:
        """For each scale with steps still to make, seconds for them, and for its targets if they begin it."""
        done = step.number if step else 0
        for shape, begin, end in ladder(settings):
            shape = larger(shape, step.shape) if done else shape
            if steps := max(0, end - max(begin, done)):
                begins = self.beginning(shape) if done <= begin else 0.0
                yield shape, steps * self.step(shape, whole) + begins

    @property
    def layers(self) -> tuple[str, ...]:
        """All that are seen, but for the pixels."""
        both = (*self.settings.content_layers, *self.settings.style_layers)
        return tuple(dict.fromkeys(name for name in both if name != PIXELS))

    def memory(self, shape: Shape, steps: int, whole: int | None = None) -> tuple[int, int]:
        """Bytes that steps on an image of that shape take, beside what the process has before.

        First those that are kept for the next use, then those in pieces so large that they go back at once.
        """
        pixels, settings = math.prod(shape), self.settings
        held = {"lbfgs": 2 * min(settings.lbfgs_history, steps) + 8, "adam": 10}
        kept = 12 * pixels * held[settings.optimizer]
        kept += pixels * sum(self.per_pixel(settings.content_layers, only=True))
        if whole and whole < pixels:
            kept += IN_PIECES * whole * sum(self.per_pixel(self.layers))
            return int(kept + LIBRARIES), 0
        features = [
            pixels * bytes_ / 4**octave
            for octave in range(settings.octaves)
            for bytes_ in self.per_pixel(self.layers)
        ]
        small = sum(bytes_ for bytes_ in features if bytes_ < machine.kept_up_to(pixels))
        style = min(pixels * max(self._styles, default=0.0), whole or math.inf)
        widest = max(
            len(convolution.bias) / stride_of(name) ** 2
            for name, convolution in self.encoder.convolutions.items()
        )
        passing = sum(features) - small + LOOKED_AT * self.width * widest * max(0, style - pixels)
        more = RECORDED if self.encoder.device.type == "cuda" else 1.0
        holes = min(HOLES, 4 / self.width * sum(features))  # as large in half precision
        kept = more * (kept + small) + holes + LIBRARIES
        return int(kept), int(more * passing)

    @property
    def width(self) -> int:
        """Bytes of a feature's value."""
        return getattr(torch, self.encoder.precision).itemsize

    def per_pixel(self, layers: tuple[str, ...], only: bool = False) -> list[float]:
        """Bytes of features for each pixel of the image: of the layers alone, or of all on the way to them."""
        size, wanted = self.width, set(layers)
        held_by_pooling = self.encoder.pooling != "average" or self.encoder.ceil_mode
        found, convolutions = {}, self.encoder.convolutions.items()
        for (name, convolution), (following, _) in itertools.pairwise((*convolutions, ("", None))):
            if not wanted:
                break
            asked = name in layers  # of others is only known where they are above 0
            bytes_ = size if asked else 1
            if held_by_pooling and following.endswith("_1"):
                bytes_ += INDEX if asked else size + INDEX
            found[name] = bytes_ * len(convolution.bias) / stride_of(name) ** 2
            wanted.discard(name)
        return [found[name] for name in layers] if only else [*found.values()]

    def forecast(self, *choices: int | None) -> Forecast:
        """What the whole run will cost, seen in pieces if it does not fit otherwise, or in such as are named."""
        shapes = [*ladder(self.settings)]
        device = self.encoder.device
        machine.give_back_memory(device)
        taken = machine.resident_memory(device)
        free = int(taken + SPARE * machine.free_memory(device))

        def most(whole: int | None, factor: float = 1.0) -> int:
            kept = most = 0
            for (height, width), begin, end in shapes:
                if end > begin:
                    shape = round(height * factor), round(width * factor)
                    again, passing = self.memory(shape, end - begin, whole)
                    kept = max(kept, again)
                    most = max(most, kept + passing)
            return taken + most

        choices = choices or ([None, *PIECES] if divisible(self.settings) else [None])
        whole = next((choice for choice in choices if most(choice) <= free), choices[-1])
        seconds = sum(seconds for _, seconds in self.probed().ahead(self.settings, None, whole))
        last, least = shapes[-1][0], least_edge(self.settings, shapes[-1][0])
        edges = [0, *range(-(-least // 32) * 32, 16384 + 1, 32)]
        side = SIDES[self.settings.side](last)
        fitting = bisect.bisect(edges, free, 1, key=lambda edge: most(choices[-1], edge / side))
        return Forecast(seconds, most(whole), free, whole, edges[fitting - 1])


def forecast(settings: Settings, encoder: Encoder | None = None) -> Forecast:
    """What a run of these settings will cost here; in under 3 s, at once where such a one was forecast before."""
    return Cost(settings, encoder or encoders.of(settings)).forecast()


def ladder(settings: Settings) -> Iterator[tuple[Shape, int, int]]:
    """Each scale's shape, the step after which it begins, and its last."""
    counts = itertools.accumulate(settings.scale_steps, initial=0)
    ends = [*(min(count, settings.steps) for count in counts), settings.steps]
    for shape, (begin, end) in zip(scales_of(settings), itertools.pairwise(ends), strict=True):
        yield shape, begin, end


def duration(seconds: float) -> str:
    """As 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
