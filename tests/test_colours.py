import numpy as np
import pytest
from PIL import Image

from nsutils import colours


def picture(seed, height=30, width=40):
    """Correlated colours well inside black and white, so that none is cut off."""
    chance = np.random.default_rng(seed)
    mixing = np.eye(3) + 0.3 * chance.random((3, 3))
    values = 0.5 + 0.05 * chance.normal(size=(height, width, 3)) @ mixing
    return Image.fromarray((values * 255).round().clip(0, 255).astype(np.uint8))


def coloured(own, content, method, amount):
    how = (method,) if method in colours.MATCHES else ()
    return (colours.matched if how else colours.lit)(own, content, *how, amount)


def test_the_light_is_the_pictures_and_the_colour_the_contents():
    own, content = picture(0), picture(1)
    both = coloured(own, content, "luminance", 1.0).convert("YCbCr")
    wanted = (own.convert("YCbCr").getchannel(0), *content.convert("YCbCr").split()[1:])
    for got, channel in zip(both.split(), wanted, strict=True):
        assert np.abs(np.asarray(got, float) - np.asarray(channel, float)).max() <= 1


@pytest.mark.parametrize("method", colours.MATCHES)
def test_matched_colours_have_the_contents_mean_and_covariance(method):
    content = picture(1, 50, 20)
    got = np.asarray(coloured(picture(0), content, method, 1.0), float).reshape(-1, 3)
    wanted = np.asarray(content, float).reshape(-1, 3)
    assert got.mean(0) == pytest.approx(wanted.mean(0), abs=0.1)
    assert np.cov(got.T) == pytest.approx(np.cov(wanted.T), rel=0.03, abs=0.5)


def test_methods_turn_colours_differently():
    made = [coloured(picture(0), picture(1), method, 1.0).tobytes() for method in colours.MATCHES]
    assert len(set(made)) == 3


@pytest.mark.parametrize("method", ["luminance", *colours.MATCHES])
def test_an_amount_is_a_part_of_the_way(method):
    own, content = picture(0), picture(1)
    none, half, whole = (
        np.asarray(coloured(own, content, method, amount), float) for amount in (0, 0.5, 1)
    )
    assert (none == np.asarray(own)).all()
    assert np.abs(half - (none + whole) / 2).max() <= 1


def test_a_flat_picture_gives_finite_colours():
    flat = Image.new("RGB", (8, 8), "grey")
    for method in colours.MATCHES:
        assert np.asarray(coloured(flat, picture(1), method, 1.0)).std() < 255
