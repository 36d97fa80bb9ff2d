"""An image seen piece by piece has the losses and the gradient of the whole, but for rounding."""

from dataclasses import replace

import pytest
import torch

from nsutils import encoders
from nsutils.encoders import stride_of
from nsutils.measures import seen, style_statistics
from nsutils.objective import Objective
from nsutils.pieces import pieces, spans
from nsutils.settings import Settings
from nsutils.targets import PALETTE, Known

WHOLE = 80_000  # pixels: a piece of 80 x 80 with slim's margin of 96


@pytest.fixture(scope="module")
def slim():
    return encoders.load("slim", device="cpu", precision="float32")


@pytest.mark.parametrize(
    ("length", "edge"), [(5, 16), (64, 16), (257, 32), (1000, 512), (700, 512)]
)
def test_spans_cover_a_length_once_and_begin_where_the_deepest_layer_does(length, edge):
    cut = spans(length, edge, 32)
    places = range(length)
    assert [n for s in cut for n in places[s.begin : s.end]] == [*places]
    assert all(s.seen.start % 16 == 0 and s.seen.start >= 0 for s in cut)
    assert [s.end is None for s in cut] == [False] * (len(cut) - 1) + [True]


def test_the_reach_is_as_far_as_a_pixel_is_felt(slim):
    image = torch.rand(1, 3, 400, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for layer in ("relu1_2", "relu3_4", "relu5_1"):
        middle = slim(image, [layer])[layer][:, :, 200 // stride_of(layer)]
        (slope,) = torch.autograd.grad(middle.sum(), image)
        rows = slope.abs().sum((0, 1, 3)).nonzero().flatten()
        felt = max(200 - rows.min().item(), rows.max().item() - 200)
        assert felt <= slim.reach([layer]) <= felt + stride_of(layer)


@pytest.mark.parametrize("shape", [(160, 240), (151, 251)])
@pytest.mark.parametrize("how", [{}, {"ceil_mode": True, "padding": "zeros"}, {"pooling": "max"}])
def test_features_are_those_of_the_whole(shape, how):
    slim = encoders.load("slim", device="cpu", precision="float32", **how)
    image = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(1))
    assert len(pieces(shape, WHOLE, slim.reach(slim.layers))) >= 6
    with torch.no_grad():
        whole, cut = slim(image, slim.layers), seen(slim, image, slim.layers, WHOLE)
    for layer, features in whole.items():
        assert torch.allclose(cut[layer], features, rtol=1e-4, atol=1e-4), layer


def test_the_palette_alone_is_that_of_the_whole(slim):
    image = torch.rand(1, 3, 300, 280, generator=torch.Generator().manual_seed(3))
    settings = Settings("content", "style", style_layers=("relu1_1",), octaves=2)
    one, other = (style_statistics(settings, slim, image, 2, whole) for whole in (None, 20_000))
    assert one[PALETTE].shape == (2, 6, 7)
    assert torch.allclose(one[PALETTE], other[PALETTE], atol=1e-6)


def test_a_styles_statistics_in_pieces_do_not_depend_on_what_was_found_before(slim):
    style = torch.rand(1, 3, 300, 320, generator=torch.Generator().manual_seed(3))
    deep = Settings("content", "style", style_layers=("relu1_1", "relu4_1"))
    slim.statistics = Known()
    alone = style_statistics(deep, slim, style, 1, WHOLE)
    slim.statistics = Known()
    style_statistics(replace(deep, style_layers=("relu1_1",)), slim, style, 1, WHOLE)
    after = style_statistics(deep, slim, style, 1, WHOLE)
    assert all(torch.equal(alone[layer], after[layer]) for layer in deep.style_layers)


@pytest.mark.parametrize("statistic", ["wasserstein", "moments", "gram"])
def test_losses_and_gradient_are_those_of_the_whole(slim, statistic):
    chance = torch.Generator().manual_seed(2)
    settings = Settings("content", "style", style_statistic=statistic, octaves=2)
    content, style, image = (
        torch.nn.functional.interpolate(torch.rand(1, 3, 20, 30, generator=chance), size)
        for size in ((150, 260), (180, 200), (150, 260))
    )
    one, other = (
        Objective(settings, slim, content, [style], whole).slope(image, (3, 40))
        for whole in (None, WHOLE)
    )
    for name, loss in one[1].items():
        assert other[1][name].item() == pytest.approx(loss.item(), rel=1e-4), name
    apart = (other[0] - one[0]).square().mean() / one[0].square().mean()
    assert apart.sqrt() < 1e-3
