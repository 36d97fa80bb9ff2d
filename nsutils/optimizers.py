"""How an image moves, from one gradient to the next: L-BFGS and Adam.

PyTorch's own do the same, but bring 150 MB of compiler along and hold four more images.
"""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nsutils.settings import Settings

COARSE = 0.05  # cycles a pixel: waves much longer than this are moved all alike
LINE = 16  # numbers in a line of the processor's memory: sums of what begins within one come out otherwise
FADING = {"light": 0.5, "colour": 1.0}  # powers by which shorter ones are moved less


class LBFGS:
    """Limited-memory BFGS without a line search, one gradient a step (Nocedal and Wright 2006, algorithm 7.4).

    Its first idea of the inverse Hessian is `natural`, where that is asked for, and else the identity. The first move
    is the gradient's by that, as long as 1 (sum of absolutes) at most. The `move` that it returns may be made
    shorter in place, for the next one builds on it. `state` holds, beside the last gradient and the last move, the
    last `lbfgs_history` moves, the changes of the gradient that they brought, and 1 / (move . change).
    """

    def __init__(self, settings: Settings, state: dict[str, Any]):
        self.history = min(settings.lbfgs_history, settings.steps)
        self.shaped = natural if settings.preconditioned else lambda slope: slope
        empty = {"moves": [], "changes": [], "inverses": []}
        self.state = state or {"count": 0, "scale": 1.0, **empty}
        self.room = {}  # for the history, in one piece: many would leave holes between what goes again

    def move(self, slope: Tensor) -> Tensor:
        """What to add to the image, whose gradient is `slope`."""
        state = self.state
        if state["count"]:
            self.remember(slope)
            move = self.newton(-slope)
        else:
            first = self.shaped(slope)
            move = -first * (1 / first.abs().sum()).clamp_max(1)
        state |= {"count": state["count"] + 1, "slope": slope, "move": move}
        return move

    def remember(self, slope: Tensor) -> None:
        """Takes what the last move brought into the history, without weight if the slope did not rise along it."""
        state = self.state
        change = slope - state["slope"]
        rise = dot(change, state["move"])
        rose = rise > 1e-10  # not looked at here: that would wait for an accelerator
        inverse = torch.where(rose, 1 / rise, 0)
        self.keep("moves", state["move"])
        self.keep("changes", change)
        state["inverses"] = [*state["inverses"], inverse][-self.history :]
        scale = rise / dot(change, self.shaped(change))
        state["scale"] = torch.where(rose, scale, state["scale"])

    def keep(self, name: str, last: Tensor) -> None:
        """Adds one to the history, in the place of the oldest where that is full."""
        past = self.state[name]
        if len(past) == self.history:
            place = past.pop(0)
        else:
            if name not in self.room:
                self.room[name] = last.new_empty(
                    self.history, math.ceil(last.numel() / LINE) * LINE
                )
            place = self.room[name][len(past), : last.numel()].view(last.shape)
        past.append(place.copy_(last))

    def newton(self, q: Tensor) -> Tensor:
        """The inverse Hessian that the history implies, times `q`, which is overwritten."""
        past = [self.state[name] for name in ("moves", "changes", "inverses")]
        past, shares = list(zip(*past, strict=True)), []
        for move, change, inverse in reversed(past):
            shares.append(dot(move, q) * inverse)
            q.addcmul_(change, shares[-1], value=-1)
        q = self.shaped(q).mul_(self.state["scale"])
        for (move, change, inverse), share in zip(past, reversed(shares), strict=True):
            q.addcmul_(move, share - dot(change, q) * inverse)
        return q


def natural(slope: Tensor) -> Tensor:
    """A gradient (1, 3, H, W) shaped as pictures are: its fine waves smaller than its coarse ones, in colour most.

    Symmetric and positive, so it changes the way down and not what is minimised. Pictures' waves are the fainter the
    shorter they are (Field 1987), and their colour varies less than their light (Ruderman et al. 1998). Moves that
    know nothing of it leave colour in the finest grain that no loss asks for, and it is seen as fringes along lines;
    the powers are those that leave about as much as styles have. By a cosine transform, so that borders are no edges.
    """
    of = tuple(slope.shape[-2:]), slope.dtype, slope.device
    waves = transformed(slope)
    light = waves.mean(1, keepdim=True)
    waves.sub_(light).mul_(kept(FADING["colour"], *of))
    waves.add_(light.mul_(kept(FADING["light"], *of)))
    return transformed(waves, back=True)


@lru_cache(2)
def kept(power: float, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """How much is kept of each wave in an image of that shape (H, W)."""
    down, across = (torch.arange(side, device=device, dtype=dtype) / (2 * side) for side in shape)
    lengths = torch.hypot(down[:, None], across)  # cycles a pixel
    return (COARSE / (COARSE + lengths)) ** power


def transformed(image: Tensor, back: bool = False) -> Tensor:
    """The orthonormal cosine transform (type II) of each channel, or the image of one, which is overwritten."""
    if image.device.type == "cpu":
        from scipy import fft

        transform = fft.idctn if back else fft.dctn
        waves = transform(image.numpy(), axes=(-2, -1), norm="ortho", overwrite_x=back)
        return torch.from_numpy(waves)
    down, across = (cosines(side, image.dtype, image.device) for side in image.shape[-2:])
    return down.T @ image @ across if back else down @ image @ across.T


@lru_cache(4)
def cosines(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The transform of so many values as a matrix, a wave a row, for devices that scipy does not know."""
    number = torch.arange(count, dtype=torch.float64)
    waves = torch.cos(torch.pi / count * number[:, None] * (number + 0.5)) * (2 / count) ** 0.5
    waves[0] /= 2**0.5
    return waves.to(device, dtype)


class Adam:
    """Kingma and Ba 2015, algorithm 1. `state` holds the averages of gradient and square, and their count."""

    def __init__(self, settings: Settings, state: dict[str, Any]):
        self.rate, self.betas = settings.learning_rate, settings.betas
        self.state = state or {"count": 0}

    def move(self, slope: Tensor) -> Tensor:
        """What to add to the image, whose gradient is `slope`."""
        state, (slow, slower) = self.state, self.betas
        if not state["count"]:
            state |= {"mean": torch.zeros_like(slope), "square": torch.zeros_like(slope)}
        state["count"] += 1
        state["mean"].lerp_(slope, 1 - slow)
        state["square"].mul_(slower).addcmul_(slope, slope, value=1 - slower)
        fairness = [1 - beta ** state["count"] for beta in self.betas]
        spread = (state["square"].sqrt() / fairness[1] ** 0.5).add_(1e-8)
        return (state["mean"] / spread).mul_(-self.rate / fairness[0])


def copied(state: Any, device: torch.device) -> Any:
    """A state's own copy on a device."""
    if isinstance(state, Tensor):
        return state.to(device, copy=True)
    if isinstance(state, dict):
        return {name: copied(part, device) for name, part in state.items()}
    return [copied(part, device) for part in state] if isinstance(state, list) else state


def dot(one: Tensor, other: Tensor) -> Tensor:
    return one.flatten() @ other.flatten()


OPTIMIZERS = {"lbfgs": LBFGS, "adam": Adam}
