"""An image on its way down an objective, by L-BFGS or Adam, one step at a time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nsutils.objective import Objective
from nsutils.optimizers import OPTIMIZERS, copied

# Lengths of a move of L-BFGS: root mean square change of the image, in parts of its range.
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
        settings, device = self.settings, picture.device
        self.shown = picture
        self.image = memory.get("image", objective.encoder.inward(picture)).to(device)
        self.optimizer = OPTIMIZERS[settings.optimizer](
            settings, copied(memory.get("optimizer", {}), device)
        )
        if settings.returned == "average":
            faded, weight = memory.get("average", ((1 - FADING) * self.image, FADING))
            self.average = faded.to(device), weight
        if settings.returned == "best":
            least, best = memory.get("best", (float("inf"), self.image))
            self.best = least, best.to(device)

    @property
    def memory(self) -> dict[str, Any]:
        """The optimizer's state; the image where it is not what is shown; the average and the best if asked for."""
        kept: dict[str, Any] = {"optimizer": self.optimizer.state}
        settings = self.settings
        plain = (settings.counting, settings.returned, settings.pixel_range) == ("moves", "last", 1)
        if not plain:
            kept["image"] = self.image
        if settings.returned in ("average", "best"):
            kept[settings.returned] = getattr(self, settings.returned)
        return kept

    def step(self, number: int, weighed: bool = False) -> tuple[dict[str, float], dict[str, float]]:
        """Makes step `number`; of the image before it moved the losses, and its gradient's shares if `weighed`."""
        slope, losses, shares = self.objective.slope(self.image, self.shift(number), weighed)
        before, move = self.image, self.optimizer.move(slope)
        self.bound(move)
        self.image = self.clamped(before + move)
        self.shown = self.objective.encoder.outward(self.chosen(number, before))
        values = torch.stack([*losses.values()]).tolist()
        return dict(zip(losses, values, strict=True)), shares

    def shift(self, number: int) -> tuple[int, int]:
        """How far step `number` rolls the image, down and across."""
        if not self.settings.roll:
            return 0, 0
        chance = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + number) % 2**63)
        return tuple(int(torch.randint(n, (), generator=chance)) for n in self.image.shape[-2:])

    def bound(self, move: Tensor) -> None:
        """Gives L-BFGS's first move the length FIRST, and shortens a later one that is longer than LONGEST, if asked.

        Left alone, the first is too short to measure the curvature by, and those after it fly off.
        """
        if self.settings.optimizer == "lbfgs" and self.settings.bounded:
            length = move.square().mean().sqrt() / self.settings.pixel_range
            first = self.optimizer.state["count"] == 1
            wanted = torch.full_like(length, FIRST) if first else length.clamp_max(LONGEST)
            move.mul_(torch.where(length > 0, wanted / length, 1))

    def clamped(self, image: Tensor) -> Tensor:
        """Adam's picture between black and white, if asked."""
        if self.settings.optimizer == "adam" and self.settings.clamp:
            ends = (self.objective.encoder.inward(torch.full_like(image, v)) for v in (0, 1))
            return image.clamp(*ends)
        return image

    def chosen(self, number: int, before: Tensor) -> Tensor:
        """The image to show after step `number`, which was `before` it."""
        image = before if self.settings.counting == "evaluations" else self.image
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
    state = memory["optimizer"]
    mean = F.interpolate(state["mean"], shape, mode="bicubic")
    square = F.interpolate(state["square"], shape, mode="bilinear").relu()
    return {"optimizer": state | {"mean": mean, "square": square}}
