"""A computation recorded on a CUDA card, and from then on started at one go."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


class Recorded:
    """`compute(image)`, the same for every image of the shape of `like`.

    A step of a small picture is a thousand small computations, and to start them one by one takes longer than to make
    them. `compute` must not look at values on the way, nor bring anything from the processor. What comes back is
    overwritten by the next call. The memory that it needs stays taken as long as this object lives.
    """

    def __init__(self, compute: Callable[[Tensor], Any], like: Tensor):
        self.image = like.detach().clone()
        aside = way(0, like.device)
        aside.wait_stream(torch.cuda.current_stream(like.device))
        with torch.cuda.stream(aside):  # a first time unrecorded: libraries prepare themselves
            compute(self.image)
        torch.cuda.current_stream(like.device).wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        # other threads may use the card meanwhile, to show a picture
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.found = compute(self.image)

    def __call__(self, image: Tensor) -> Any:
        self.image.copy_(image)
        self.graph.replay()
        return self.found


def side_by_side(compute: Callable[..., Any], *each: Iterable[Any]) -> list[Any]:
    """As `map`; where it is being recorded, so that none waits for the one before.

    Small computations leave most of a card idle, and autograd goes back along the same ways.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        return [compute(*these) for these in zip(*each, strict=True)]
    main, found = torch.cuda.current_stream(), []
    for these in zip(*each, strict=True):
        aside = way(len(found), main.device)
        aside.wait_stream(main)
        with torch.cuda.stream(aside):
            found.append(compute(*these))
    for number in range(len(found)):
        main.wait_stream(way(number, main.device))
    return found


@lru_cache
def way(number: int, device: torch.device) -> torch.cuda.Stream:
    """Always the same ones, for libraries hold memory for each."""
    return torch.cuda.Stream(device)
