"""The optimisation: `stylize` yields a `Step` after each iteration, from the coarsest scale to the finest."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils import encoders, machine, pictures
from nsutils.descent import Descent, enlarged
from nsutils.encoders import Encoder
from nsutils.faces import Box
from nsutils.objective import TERMS, Objective
from nsutils.settings import Settings
from nsutils.sources import Shape, Sources, larger, scale_of, scaled, scales_of

DIVERGED = (
    "the picture diverged (total is not a number): lower style_weight, or use optimizer='adam'"
)


@dataclass(frozen=True, repr=False, eq=False)
class Step:
    """What one iteration leaves: enough to show it, to record it, and to go on from it.

    `losses` are those of the picture before it moved, unweighted, and `total`, the number minimised; step 0,
    the start, has none. `shares` are its gradient's (`Objective.shares`) if they were asked for. `image`
    (1, 3, h, w) may leave [0, 1] a little and is cut off when shown. `memory` is `Descent`'s and borrowed: the
    next step changes it.
    """

    number: int
    scale: int
    settings: Settings
    losses: dict[str, float]
    image: Tensor
    memory: dict[str, Any] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        return tuple(self.image.shape[-2:])

    def __repr__(self) -> str:
        height, width = self.shape
        total = f", total {self.losses['total']:.4g}" if self.losses else ""
        return f"<Step {self.number}: {width} x {height} px{total}>"

    def _repr_jpeg_(self) -> bytes:
        return pictures.jpeg(pictures.to_image(self.image))


def stylize(
    settings: Settings,
    encoder: Encoder | None = None,
    after: Step | None = None,
    whole: int | None = None,
    fits: Callable[[Shape], bool] = lambda shape: True,
    weighed: Callable[[], bool] = lambda: False,
    faces: Sequence[Box] | None = None,
) -> Generator[Step, Settings | None, None]:
    """Yield a Step after each optimiser step; a Settings sent back steers the steps that follow.

    Begins at the start image, or goes on from `after`. A new scale, a changed setting and a resumed run are
    one case: the objective is made anew from the image as it is. The optimiser's memory lasts as long as its
    objective, for gradients of two objectives must not mix; Adam's may be carried over to a larger scale. No
    step is coarser than the one before. Images of more than `whole` pixels are seen piece by piece. A scale that
    does not fit is not begun: the steps end before it. `weighed` is asked before each step for whether to find
    its gradient's shares, which takes about as long as two steps and changes no picture. `faces` are those in the
    content, which the style spares; they are looked for if not given. With GNU's malloc it sets for the whole process
    from which size on freed memory goes back to the system (`machine.return_above`).
    """
    encoder = encoder or encoders.of(settings)
    sources, descent = Sources(settings, faces), None
    step = after or start(settings, encoder, sources)
    memory = remembered(step, settings)
    while step.number < settings.steps:
        scale = scale_of(settings, step.number)
        shape = larger(sources.scales[scale], step.shape) if step.number else sources.scales[0]
        if descent is None or shape != step.shape:
            if not fits(shape):
                return
            if shape != step.shape:
                carried = settings.carry and settings.optimizer == "adam" and "optimizer" in memory
                memory = enlarged(memory, shape) if carried else {}
            descent = objective = None  # before the next are made, for the memory's sake
            kept = machine.kept_up_to(math.prod(shape))
            machine.return_above(machine.SCARCE if whole else kept)
            pictured = sources.at(shape, encoder.device)
            regions = sources.regions(shape, encoder.device)
            objective = Objective(settings, encoder, *pictured, whole, regions)
            descent = Descent(objective, resized(step.image, shape).to(encoder.device), memory)
        losses, found = descent.step(step.number + 1, weighed())
        if not math.isfinite(losses["total"]):
            raise FloatingPointError(
                too_large(losses, encoder.precision) if step.number == 0 else DIVERGED
            )
        memory = descent.memory
        step = Step(step.number + 1, scale, settings, losses, descent.shown, memory, found)
        steered = yield step
        if steered is not None and steered != settings:
            if fixed := {"encoder", *encoders.HOW} & set(settings.differences(steered)):
                raise ValueError(f"{fixed.pop()} belongs to the run; begin a new one to change it")
            memory = remembered(step, steered)
            settings, sources, descent = steered, sources.after(steered), None


def too_large(losses: dict[str, float], precision: str) -> str:
    """What is said of losses that are no numbers before the image has moved."""
    terms = [f"{name}_weight" for name in TERMS if not math.isfinite(losses.get(name, 0.0))]
    lower = ", ".join([*terms, "feature_scale"])
    wider = "" if precision == "float32" else ", or use precision='float32'"
    return f"the losses are too large to be numbers: lower {lower}{wider}"


def remembered(step: Step, settings: Settings) -> dict[str, Any]:
    """What the step's memory is worth under settings: all, or where the image stands."""
    if same_objective(step.settings, settings):
        return step.memory
    return {"image": step.memory["image"]} if "image" in step.memory else {}


def start(
    settings: Settings, encoder: Encoder | None = None, sources: Sources | None = None
) -> Step:
    """Step 0: the first image, at the coarsest scale."""
    sources = sources or Sources(settings)
    shape = sources.scales[0]
    if settings.init == "noise":
        image = noise(settings, encoder, sources, shape)
    elif settings.init == "grey":
        image = torch.full((1, 3, *shape), 0.5)
    else:
        known = {"content": sources.content, "style": sources.styles[0]}
        picture = known[settings.init] if settings.init in known else pictures.opened(settings.init)
        image = scaled(settings, picture, shape)
    return Step(0, 0, settings, {}, image)


def noise(settings: Settings, encoder: Encoder | None, sources: Sources, shape: Shape) -> Tensor:
    """Random pixels of the form asked for, the same for the same seed."""
    chance, image = torch.Generator().manual_seed(settings.seed), torch.empty(1, 3, *shape)
    if settings.noise == "uniform":
        return image.uniform_(generator=chance)
    if settings.noise == "mean":
        encoder = encoder or encoders.of(settings)
        around = settings.noise_scale / settings.pixel_range * image.normal_(generator=chance)
        return encoder.mean.cpu() + around
    mean, spread = torch.full((3,), 0.5), torch.full((3,), 0.25)
    if settings.noise == "style":
        colours = pictures.to_tensor(sources.styles[0])[0].flatten(1)
        mean, spread = colours.mean(1), colours.std(1).clamp_min(1e-3)
    for channel, *of in zip(image[0], mean.tolist(), spread.tolist(), strict=True):
        torch.nn.init.trunc_normal_(channel, *of, a=0, b=1, generator=chance)
    return image


def same_objective(one: Settings, other: Settings) -> bool:
    """Whether a step under one goes on under the other as if nothing had changed."""
    free = {"steps": other.steps, "every": other.every, "mask_colors": other.mask_colors}
    if one.color_method == other.color_method == "luminance":
        free["original_colors"] = other.original_colors
    return replace(one, **free) == other


def resized(image: Tensor, shape: Shape) -> Tensor:
    """The image at a shape, mostly larger, as the next scale begins with it."""
    if tuple(image.shape[-2:]) == shape:
        return image
    return F.interpolate(image, shape, mode="bicubic").clamp(0, 1)


def full_size(step: Step) -> Tensor:
    """The step's image at the size asked for, even if its own scale is coarser."""
    last = scales_of(step.settings)[-1]
    return resized(step.image, larger(last, step.shape))
