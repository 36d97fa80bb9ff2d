import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from nsutils import pictures, sample
from nsutils.faces import SMALL, Ellipse, faces, mask_of, overlap, portrait, spared

# Where a person sees the face: left, top, width, height in parts of the picture.
SEEN = {"astronaut": (0.36, 0.13, 0.17, 0.23), "admiral": (0.3, 0.23, 0.4, 0.35)}


@pytest.mark.parametrize("name", SEEN)
def test_a_face_is_found_where_it_is_also_mirrored_and_in_the_dark(name):
    image, (left, top, width, height) = pictures.opened(sample(name)), SEEN[name]
    dark = ImageEnhance.Brightness(image).enhance(0.6)
    for shown, where in (
        (image, left),
        (dark, left),
        (ImageOps.mirror(image), 1 - left - width),
    ):
        (found,) = faces(shown)
        assert overlap(found, (where, top, width, height)) > 0.5
        larger = portrait(shown)
        assert 2 * larger.half_width > found[2] and 2 * larger.half_height > found[3]


@pytest.mark.parametrize(
    "name", ["waterside", "cat", "cup", "flower", "rocket", "waves", "strokes"]
)
def test_where_there_is_no_face_none_is_found(name):
    assert faces(pictures.opened(sample(name))) == []
    assert portrait(pictures.opened(sample(name))) is None


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_a_mask_is_as_large_as_its_ellipse_and_soft_at_the_edge(degrees):
    made = mask_of([Ellipse(0.5, 0.5, 0.3, 0.2, degrees)], (200, 200))
    values = np.asarray(made) / 255
    assert values.mean() == pytest.approx(math.pi * 0.3 * 0.2, rel=0.02)
    assert values[100, 100] == 1 and values[0, 0] == 0
    assert 0.02 < ((values > 0.01) & (values < 0.99)).mean() < 0.1
    turned = mask_of([Ellipse(0.5, 0.5, 0.3, 0.2, degrees + 90)], (200, 200))
    assert (np.abs(np.rot90(values) - np.asarray(turned) / 255) < 0.01).all()


def test_masks_of_two_are_their_union_and_of_none_are_black():
    pair = [Ellipse(0.3, 0.5, 0.1, 0.1), Ellipse(0.7, 0.5, 0.1, 0.1)]
    one, other = (np.asarray(mask_of([each], (64, 48))) for each in pair)
    assert (np.asarray(mask_of(pair, (64, 48))) == np.maximum(one, other)).all()
    assert mask_of([], (8, 8)).getextrema() == (0, 0)
    assert isinstance(mask_of(pair, (8, 8)), Image.Image)


def test_small_faces_are_spared_more_than_large_ones():
    boxes = [(0.05, 0.4, 0.1, 0.2), (0.4, 0.1, 0.4, 0.8)]
    grey = np.asarray(spared(boxes, (200, 100))) / 255
    assert grey[50, 20] == 1 and grey[0, 0] == 0
    assert grey[50, 120] == pytest.approx((SMALL / 0.4) ** 0.5, abs=0.01)


def test_an_ellipse_has_an_inside():
    with pytest.raises(ValueError, match=r"half axes 0 x 0\.2"):
        Ellipse(0.5, 0.5, 0, 0.2)
