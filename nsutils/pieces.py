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
    """Rows or columns of a piece: those `seen`, and those that count, beginning at the `first` of the seen."""

    seen: slice
    first: int
    count: int
    last: bool

    def core(self, stride: int) -> slice:
        """Those that count in features that are `stride` times smaller."""
        begin = self.first // stride
        return slice(begin, None if self.last else begin + self.count // stride)


class Piece(NamedTuple):
    rows: Span
    columns: Span

    def of(self, image: Tensor) -> Tensor:
        """The piece of an image (..., H, W), with its margin."""
        return image[..., self.rows.seen, self.columns.seen]

    def core(self, features: Tensor, stride: int) -> Tensor:
        """The features of the piece without its margin."""
        return features[..., self.rows.core(stride), self.columns.core(stride)]

    def place(self, whole: Tensor, stride: int) -> Tensor:
        """Where in the whole image's features those of `core` belong."""
        return whole[..., *(place(span, stride) for span in self)]


def place(span: Span, stride: int) -> slice:
    begin = (span.seen.start + span.first) // stride
    return slice(begin, None if span.last else begin + span.count // stride)


def pieces(shape: tuple[int, int], most: int, margin: int) -> list[Piece]:
    """An image's pieces, each of about `most` pixels with its margin, all of them together the image."""
    margin = -(-margin // ALIGNED) * ALIGNED
    edge = max(ALIGNED, (int(most**0.5) - 2 * margin) // ALIGNED * ALIGNED)
    rows, columns = (spans(length, edge, margin) for length in shape)
    return [Piece(row, column) for row in rows for column in columns]


def spans(length: int, edge: int, margin: int) -> list[Span]:
    """A length cut into spans of `edge`, the last one up to half as long again."""
    starts = [*range(0, max(1, length - edge // 2), edge)]
    ends = [*starts[1:], length]
    return [
        Span(
            slice(max(0, start - margin), min(length, end + margin)),
            min(start, margin),
            end - start,
            end == length,
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def summed(
    image: Tensor, measure: Callable[[Tensor, Piece], dict[str, Tensor]], cut: list[Piece]
) -> dict[str, Tensor]:
    """`measure(pixels, piece)` gives sums over a piece's pixels; these are their sums over all pieces of an image."""
    names: list[str] = []

    def values(pixels: Tensor, piece: Piece) -> list[Tensor]:
        found = measure(pixels, piece)
        names[:] = found
        return [*found.values()]

    sums = Summed.apply(image, values, cut)
    return dict(zip(names, sums, strict=True))


class Summed(torch.autograd.Function):
    """For the gradient each piece is seen a second time, so no more than one is held at once."""

    @staticmethod
    def forward(
        ctx, image: Tensor, measure: Callable[[Tensor, Piece], list[Tensor]], cut: list[Piece]
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(image)
        ctx.measure, ctx.cut = measure, cut
        sums: list[Tensor] = []
        for piece in cut:
            found = measure(piece.of(image), piece)
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (image,) = ctx.saved_tensors
        whole = torch.zeros_like(image)
        for piece in ctx.cut:
            pixels = piece.of(image).detach().requires_grad_()
            with torch.enable_grad():
                found = ctx.measure(pixels, piece)
            piece.of(whole).add_(torch.autograd.grad(found, pixels, slopes)[0])
        return whole, None, None
