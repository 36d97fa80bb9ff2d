"""An image on its way down an objective, by L-BFGS or Adam, one step at a time."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils.objective import Objective
from nsutils.settings import Settings

# Lengths of a step of L-BFGS: root mean square change of the image, in parts of its range.
FIRST, LONGEST = 0.01, 0.05
FADING = 0.99  # of the average of iterates, a step


class Descent:
    """Moves an image down an objective.

    `image` is where it stands, in the encoder's units. `shown` is the picture to look at, 0 black to 1 white:
    by the settings' `counting` and `returned` the one just evaluated, the best, an average, or simply the last.
    `memory` is what `Descent` needs to go on as if it had never stopped.
    """

    def __init__(self, objective: Objective, picture: Tensor, memory: dict[str, Any]):
        self.objective, self.settings = objective, objective.settings
        inward = objective.encoder.inward(picture) if "image" not in memory else memory["image"]
        self.image = inward.to(picture.device).detach().clone().requires_grad_()
        self.optimizer = OPTIMIZERS[self.settings.optimizer](self.image, self.settings)
        if "optimizer" in memory:
            self.optimizer.load_state_dict(copy.deepcopy(memory["optimizer"]))
        begun, device = self.image.detach(), picture.device
        faded, weight = memory.get("average", ((1 - FADING) * begun, FADING))
        least, best = memory.get("best", (float("inf"), begun))
        self.average, self.best = (faded.to(device), weight), (least, best.to(device))
        self.shown = picture

    @property
    def memory(self) -> dict[str, Any]:
        """The optimiser's state; the image where it is not what is shown; the average and the best if asked for."""
        kept: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        settings = self.settings
        plain = (settings.counting, settings.returned, settings.pixel_range) == ("moves", "last", 1)
        if not plain:
            kept["image"] = self.image.detach().clone()
        if settings.returned in ("average", "best"):
            kept[settings.returned] = getattr(self, settings.returned)
        return kept

    def step(self, number: int) -> dict[str, float]:
        """Makes step `number`; the losses of the image before it moved."""
        found: dict[str, Tensor] = {}
        shift = self.shift(number)

        def evaluate() -> Tensor:
            self.image.grad, losses = self.objective.slope(self.image, shift)
            found.update(losses)
            return losses["total"].detach()

        before = self.image.detach().clone()
        self.optimizer.step(evaluate)
        self.bound(before)
        values = torch.stack([loss.detach() for loss in found.values()]).tolist()
        self.shown = self.objective.encoder.outward(self.chosen(number, before))
        return dict(zip(found, values, strict=True))

    def shift(self, number: int) -> tuple[int, int]:
        """How far step `number` rolls the image, down and across."""
        if not self.settings.roll:
            return 0, 0
        chance = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + number) % 2**63)
        height, width = (
            int(torch.randint(side, (), generator=chance)) for side in self.image.shape[-2:]
        )
        return height, width

    def bound(self, before: Tensor) -> None:
        """Keeps Adam's picture between black and white, and L-BFGS's step within its lengths, as asked."""
        if self.settings.optimizer == "adam":
            if self.settings.clamp:
                black, white = (
                    self.objective.encoder.inward(torch.full_like(before, v)) for v in (0, 1)
                )
                self.image.data.copy_(self.image.data.clamp(black, white))
        elif self.settings.bounded:
            self.shorten(before)

    def shorten(self, before: Tensor) -> None:
        """Gives L-BFGS's first step the length FIRST, and shortens a later one that is longer than LONGEST.

        Left alone, the first step is too short to measure the curvature by, and those after it fly off.
        """
        memory, white = self.optimizer.state[self.image], self.settings.pixel_range
        length = (self.image.detach() - before).square().mean().sqrt().item() / white
        wanted = FIRST if memory["n_iter"] == 1 else min(length, LONGEST)
        if 0 < length != wanted:
            self.image.data.copy_(torch.lerp(before, self.image.detach(), wanted / length))
            memory["t"] *= wanted / length

    def chosen(self, number: int, before: Tensor) -> Tensor:
        """The image to show after step `number`, which was `before` it."""
        image = before if self.settings.counting == "evaluations" else self.image.detach().clone()
        if self.settings.returned == "average":
            faded, weight = self.average
            self.average = (FADING * faded + (1 - FADING) * image, FADING * weight)
            return self.average[0] / (1 - self.average[1])
        if self.settings.returned == "best":
            if self.settings.keeps(number):
                with torch.no_grad():
                    total = self.objective.total(self.objective.losses(image)).item()
                self.best = min(self.best, (total, image), key=lambda found: found[0])
            return image if number < self.settings.steps else self.best[1]
        return image


def enlarged(memory: dict[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
    """Adam's memory for an image of another shape: its averages resized, all else as it is."""
    optimizer = copy.deepcopy(memory["optimizer"])
    for state in optimizer["state"].values():
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        state["exp_avg"] = F.interpolate(mean, shape, mode="bicubic")
        state["exp_avg_sq"] = F.interpolate(square, shape, mode="bilinear").relu()
    return {"optimizer": optimizer}


def lbfgs(image: Tensor, settings: Settings) -> torch.optim.Optimizer:
    """`max_iter=1` without a line search evaluates once a step, so that every step can be seen and stopped."""
    return torch.optim.LBFGS(
        [image],
        max_iter=1,
        history_size=settings.lbfgs_history,
        tolerance_grad=0,
        tolerance_change=0,
    )


def adam(image: Tensor, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.Adam([image], lr=settings.learning_rate, betas=settings.betas)


OPTIMIZERS = {"lbfgs": lbfgs, "adam": adam}
