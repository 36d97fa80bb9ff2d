"""The optimisation: `stylize` yields a `Step` after each iteration, from the coarsest scale to the finest."""

import copy
import itertools
import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nsutils import encoders, pictures
from nsutils.encoders import Encoder
from nsutils.objective import THINNEST, Objective
from nsutils.settings import LBFGS_HISTORY, STARTS, Settings

OVERHEAD = 15_000  # pixels: measured on two cores with slim; what a step of no size would cost
# Lengths of a step of L-BFGS: root mean square change of the image, which spans 0 to 1.
FIRST, LONGEST = 0.01, 0.05


@dataclass(frozen=True)
class Step:
    """What one iteration leaves: enough to show it, to record it, and to go on from it.

    `losses` are those of the picture before it moved, unweighted, and `total`, the number minimised; step 0,
    the start, has none. `image` (1, 3, h, w) may leave [0, 1] a little under L-BFGS and is cut off when shown.
    `memory` is the optimiser's and borrowed: the next step changes it.
    """

    number: int
    scale: int
    settings: Settings
    losses: dict[str, float]
    image: Tensor
    memory: dict[str, Any] = field(default_factory=dict)


def stylize(
    settings: Settings, encoder: Encoder | None = None, after: Step | None = None
) -> Generator[Step, Settings | None, None]:
    """Yield a Step after each optimiser step; a Settings sent back steers the steps that follow.

    Begins at the start image, or goes on from `after`. A new scale, a changed setting and a resumed run are
    one case: the objective is made anew from the image as it is. The optimiser's memory lasts as long as its
    objective, for gradients of two objectives must not mix. No step is coarser than the one before.
    """
    encoder = encoder or encoders.of(settings)
    sources, descent = Sources(settings), None
    step = after or start(settings, sources)
    memory = step.memory if same_objective(step.settings, settings) else {}
    while step.number < settings.steps:
        scale, shape = sources.scale(step)
        if descent is None or shape != tuple(step.image.shape[-2:]):
            if shape != tuple(step.image.shape[-2:]):
                memory = {}
            objective = Objective(settings, encoder, *sources.at(shape, encoder.device))
            descent = Descent(
                objective, pictures.resize(step.image, shape).to(encoder.device), memory
            )
        losses = descent.step()
        step = Step(
            step.number + 1,
            scale,
            settings,
            losses,
            descent.image.detach().clone(),
            descent.optimizer.state_dict(),
        )
        steered = yield step
        if steered is not None and steered != settings:
            memory = step.memory if same_objective(steered, settings) else {}
            settings, sources, descent = steered, sources.after(steered), None


def start(settings: Settings, sources: "Sources | None" = None) -> Step:
    """Step 0: the first image, at the coarsest scale."""
    sources = sources or Sources(settings)
    shape = pictures.fitted(sources.shape, sources.edges[0])
    if settings.init == "noise":
        chance = torch.Generator().manual_seed(settings.seed)
        image = (0.5 + 0.25 * torch.randn(1, 3, *shape, generator=chance)).clamp(0, 1)
    elif settings.init == "grey":
        image = torch.full((1, 3, *shape), 0.5)
    else:
        known = {"content": sources.content, "style": sources.styles[0]}
        picture = known[settings.init] if settings.init in known else pictures.read(settings.init)
        image = pictures.resize(picture, shape)
    return Step(0, 0, settings, {}, image)


def same_objective(one: Settings, other: Settings) -> bool:
    """Whether a step under one goes on under the other as if nothing had changed."""
    return replace(one, steps=other.steps, every=other.every) == other


class Sources:
    """The content and the styles of some settings, at any scale; ValueError where one cannot be used."""

    def __init__(self, settings: Settings):
        self.settings = settings
        content = pictures.read(settings.content)
        self.shape = tuple(content.shape[-2:])
        self.edges = edges(settings, self.shape)
        self.content = pictures.fit(content, self.edges[-1])
        self.styles = [pictures.read(style.picture) for style in settings.styles]
        if settings.init not in STARTS:
            pictures.opened(settings.init)

    def scale(self, step: Step) -> tuple[int, tuple[int, int]]:
        """Number and (height, width) of the scale at which the step after this one is made."""
        number = sum(step.number >= end for end in itertools.accumulate(self.settings.scale_steps))
        edge = (
            self.edges[number]
            if step.number == 0
            else max(self.edges[number], *step.image.shape[-2:])
        )
        return number, pictures.fitted(self.shape, edge)

    def at(self, shape: tuple[int, int], device: torch.device) -> tuple[Tensor, list[Tensor]]:
        """The content at that shape and the styles as large, though never enlarged."""
        styles = [
            pictures.fit(style, style_edge(style.shape[-2:], round(asked.scale * max(shape))))
            for style, asked in zip(self.styles, self.settings.styles, strict=True)
        ]
        return pictures.resize(self.content, shape).to(device), [
            style.to(device) for style in styles
        ]

    def after(self, settings: Settings) -> "Sources":
        """The sources of changed settings; no file is read again for a weight or a layer."""
        pictured = ("content", "styles", "size", "smallest", "scale_steps", "init")
        return (
            Sources(settings) if set(pictured) & set(self.settings.differences(settings)) else self
        )


def edges(settings: Settings, shape: tuple[int, int]) -> list[int]:
    """The long edge of each scale in pixels, evenly spaced by ratio from `smallest` to `size`.

    A picture is never enlarged, and no scale is too thin for the deepest layer.
    """
    long, short = max(shape), min(shape)
    last, least = min(settings.size, long), math.ceil(THINNEST * long / short)
    if last < least:
        raise ValueError(
            f"size {settings.size} makes {settings.content!r} ({shape[1]} x {shape[0]}) too thin: its short edge "
            f"needs {THINNEST} pixels; "
            + (f"choose size {least} or more" if least <= long else "choose a larger picture")
        )
    first, count = min(max(settings.smallest, least), last), len(settings.scale_steps)
    return [round(first * (last / first) ** (n / max(count, 1))) for n in range(count)] + [last]


def style_edge(shape: tuple[int, int], edge: int) -> int:
    """The long edge for a style picture of that shape beside a content of `edge` pixels."""
    return max(min(edge, max(shape)), math.ceil(THINNEST * max(shape) / min(shape)))


def work(shape: tuple[int, ...]) -> int:
    """What a step on an image of (..., H, W) costs, in pixels: its own, and as many as every step's overhead."""
    return shape[-2] * shape[-1] + OVERHEAD


def work_ahead(settings: Settings, step: Step) -> int:
    """What all steps still to make will cost."""
    shape, now = pictures.shape(settings.content), max(step.image.shape[-2:]) if step.number else 0
    ends = [*itertools.accumulate(settings.scale_steps), settings.steps]
    ahead, number = 0, step.number
    for edge, end in zip(edges(settings, shape), ends, strict=True):
        count = max(0, min(end, settings.steps) - number)
        ahead += count * work(pictures.fitted(shape, max(edge, now)))
        number += count
    return ahead


def full_size(step: Step) -> Tensor:
    """The step's image at the size asked for, even if its own scale is coarser."""
    shape = pictures.shape(step.settings.content)
    edge = max(edges(step.settings, shape)[-1], *step.image.shape[-2:])
    return pictures.resize(step.image, pictures.fitted(shape, edge))


class Descent:
    """An image on its way down an objective."""

    def __init__(self, objective: Objective, image: Tensor, memory: dict[str, Any]):
        self.objective = objective
        self.image = image.detach().clone().requires_grad_()
        self.optimizer = OPTIMIZERS[objective.settings.optimizer](self.image, objective.settings)
        if memory:
            self.optimizer.load_state_dict(copy.deepcopy(memory))

    def step(self) -> dict[str, float]:
        """Moves the image once; the losses of the image before it moved."""
        found: dict[str, Tensor] = {}

        def evaluate() -> Tensor:
            losses = self.objective.losses(self.image)
            total = self.objective.total(losses)
            (self.image.grad,) = torch.autograd.grad(total, self.image)
            self.image.grad = self.image.grad.contiguous()
            found.update({"total": total, **losses})
            return total.detach()

        before = self.image.detach().clone()
        self.optimizer.step(evaluate)
        if isinstance(self.optimizer, torch.optim.Adam):
            self.image.data.clamp_(0, 1)
        else:
            self.bound(before)
        losses = dict(
            zip(
                found, torch.stack([loss.detach() for loss in found.values()]).tolist(), strict=True
            )
        )
        if not math.isfinite(losses["total"]):
            raise FloatingPointError(
                "the picture diverged (total is not a number): lower style_weight, or use optimizer='adam'"
            )
        return losses

    def bound(self, before: Tensor) -> None:
        """Gives L-BFGS's first step the length FIRST, and shortens a later one that is longer than LONGEST.

        Left alone, the first step is too short to measure the curvature by, and those after it fly off.
        """
        memory = self.optimizer.state[self.image]
        length = (self.image.detach() - before).square().mean().sqrt().item()
        wanted = FIRST if memory["n_iter"] == 1 else min(length, LONGEST)
        if 0 < length != wanted:
            self.image.data.copy_(torch.lerp(before, self.image.detach(), wanted / length))
            memory["t"] *= wanted / length


def lbfgs(image: Tensor, settings: Settings) -> torch.optim.Optimizer:
    """`max_iter=1` without a line search evaluates once a step, so that every step can be seen and stopped."""
    return torch.optim.LBFGS(
        [image], max_iter=1, history_size=LBFGS_HISTORY, tolerance_grad=0, tolerance_change=0
    )


def adam(image: Tensor, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.Adam([image], lr=settings.learning_rate, betas=(0.9, 0.99))


OPTIMIZERS = {"lbfgs": lbfgs, "adam": adam}
