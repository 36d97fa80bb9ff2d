"""An image seen piece by piece, so that the memory it takes does not grow with it.

What is added up over pixels, as a Gram matrix is, can be added up over pieces. Each is seen with a margin as wide as
the network reaches and counted without it, so the result is the whole image's, but for rounding.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ALIGNED = 16  # pixels: pieces begin where the deepest layer's pixels do


class Span(NamedTuple):
    """Rows or columns of a piece: those `seen`, and those that count, from `begin` to `end`, None at the border."""

    seen: slice
    begin: int
    end: int | None

    def core(self, stride: int, start: int = 0) -> slice:
        """Those that count, in features that are `stride` times smaller and begin at `start`."""
        return slice((self.begin - start) // stride, self.end and (self.end - start) // stride)


class Piece(NamedTuple):
    rows: Span
    columns: Span

    def of(self, image: Tensor) -> Tensor:
        """The piece of an image (..., H, W), with its margin."""
        return image[..., self.rows.seen, self.columns.seen]

    def core(self, features: Tensor, stride: int) -> Tensor:
        """The features of the piece without its margin."""
        return features[..., *(span.core(stride, span.seen.start) for span in self)]

    def place(self, whole: Tensor, stride: int) -> Tensor:
        """Where in the whole image's features those of `core` belong."""
        return whole[..., *(span.core(stride) for span in self)]


Measure = Callable[[Tensor, Piece], dict[str, Tensor]]


def pieces(shape: tuple[int, int], most: int, margin: int) -> list[Piece]:
    """An image's pieces, each of about `most` pixels with its margin, all of them together the image."""
    margin = -(-margin // ALIGNED) * ALIGNED
    edge = max(ALIGNED, (int(most**0.5) - 2 * margin) // ALIGNED * ALIGNED)
    rows, columns = (spans(length, edge, margin) for length in shape)
    return [Piece(row, column) for row in rows for column in columns]


def spans(length: int, edge: int, margin: int) -> list[Span]:
    """A length cut into spans of `edge`, the last one up to half as long again."""
    starts = [*range(0, max(1, length - edge // 2), edge)]
    return [
        Span(slice(max(0, start - margin), end and end + margin), start, end)
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]


def summed(image: Tensor, measure: Measure, cut: list[Piece]) -> dict[str, Tensor]:
    """`measure(pixels, piece)` gives sums over a piece's pixels; these are their sums over all pieces of an image."""
    names: list[str] = []  # which come to be known by the first piece
    sums = Summed.apply(image, measure, cut, names)
    return dict(zip(names, sums, strict=True))


class Summed(torch.autograd.Function):
    """For the gradient each piece is seen a second time, so no more than one is held at once."""

    @staticmethod
    def forward(
        ctx, image: Tensor, measure: Measure, cut: list[Piece], names: list[str]
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(image)
        ctx.measure, ctx.cut, ctx.names = measure, cut, names
        sums: dict[str, Tensor] = {}
        for piece in cut:
            found = measure(piece.of(image), piece)
            sums = {name: sums[name] + found[name] for name in sums} if sums else found
        names.extend(sums)
        return tuple(sums.values())

    @staticmethod
    @once_differentiable
    def backward(ctx, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        (image,) = ctx.saved_tensors
        whole = torch.zeros_like(image)
        for piece in ctx.cut:
            pixels = piece.of(image).detach().requires_grad_()
            with torch.enable_grad():
                found = ctx.measure(pixels, piece)
            piece.of(whole).add_(
                torch.autograd.grad([found[name] for name in ctx.names], pixels, slopes)[0]
            )
        return whole, None, None, None
