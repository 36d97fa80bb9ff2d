import pytest
import torch
import torch.nn.functional as F

from nsutils.shapes import busy, cells, drawn, sky, wide


def test_a_layout_is_the_same_at_every_size():
    small = torch.rand(1, 3, 48, 64)
    large = F.interpolate(small, scale_factor=3)
    assert cells(small).shape == (1, 3, 12, 16)
    assert torch.allclose(cells(large), cells(small), atol=1e-6)
    assert torch.allclose(busy(large), busy(small), atol=1e-6)


def test_what_is_busy_counts_and_what_is_flat_does_not():
    x = torch.full((1, 3, 64, 64), 0.5)
    x[..., 32:, :] = torch.rand(1, 3, 32, 64)
    found = busy(x)
    assert found[..., :8, :].max() < 1e-6
    assert 0.5 * found.max() < found[..., 8:, :].min() and found.max() < 1
    for grey in (0.1, 0.47, 1.0):
        assert busy(torch.full((1, 3, 64, 64), grey)).max() < 1e-6


def test_a_sky_is_what_is_flat_from_the_upper_edge_down():
    chance = torch.Generator().manual_seed(1)
    ground = torch.rand(1, 3, 8, 32, generator=chance)
    x = torch.full((1, 3, 96, 128), 0.5)
    x[..., 64:, :] = F.interpolate(ground, (32, 128), mode="bicubic")
    x[..., 24:40, 32:64] = torch.rand(1, 3, 16, 32, generator=chance)  # flat again below it
    small, large = sky(x), sky(F.interpolate(x, scale_factor=3, mode="nearest"))
    assert small.shape == (1, 1, 96, 128) and large.shape == (1, 1, 288, 384)
    for found in (small, F.avg_pool2d(large, 3)):
        assert found[..., :20, :].min() > 0.99 and found[..., :58, 72:].min() > 0.99
        assert found[..., 28:, 36:60].max() < 0.01 and found[..., 70:, :].max() < 0.2
    cloudy = x + 0.05 * torch.randn(x.shape, generator=chance)
    assert sky(cloudy).max() < 0.1


def test_the_grain_of_a_large_photograph_is_no_cloud():
    large = 0.5 + 0.02 * torch.randn(1, 3, 1536, 2048, generator=torch.Generator().manual_seed(1))
    assert sky(large).min() > 0.8


@pytest.mark.parametrize(("rows", "width"), [(0, 0.0), (12, 0.0), (22, 0.5), (40, 1.0)])
def test_a_sky_is_wide_if_it_fills_most_of_the_upper_third(rows, width):
    above = torch.zeros(1, 1, 144, 96)
    above[..., :rows, :] = 1
    assert wide(above) == pytest.approx(width, abs=0.05)


def test_what_is_drawn_is_known_at_every_size():
    x = torch.full((1, 3, 96, 128), 0.5)
    x[..., 48:, :] = F.interpolate(torch.rand(1, 3, 12, 32), (48, 128), mode="bicubic")
    small, large = drawn(x), drawn(F.interpolate(x, scale_factor=3, mode="bicubic"))
    assert small.shape == (1, 1, 96, 128) and large.shape == (1, 1, 288, 384)
    assert small[..., :42, :].max() < 0.01 and small[..., 54:, :].mean() > 0.6
    assert (F.avg_pool2d(large, 3) - small).abs().mean() < 0.03
