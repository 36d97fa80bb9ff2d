import io

import pytest
from PIL import Image

from nsutils.widgets.brush import EDGE, Brush


def test_a_mask_taken_is_the_image_given_at_the_brushes_own_size():
    brush = Brush(Image.new("RGB", (1600, 800), "red"))
    assert brush.image is None
    mask = Image.new("L", (100, 50))
    mask.paste(255, (50, 0, 100, 50))
    brush.take(mask)
    assert brush.image.size == (EDGE, EDGE // 2)
    assert brush.image.getpixel((10, 10)) == 0 and brush.image.getpixel((EDGE - 10, 10)) == 255
    brush.take(Image.new("L", (100, 50)))
    assert brush.image is None


def test_another_picture_keeps_the_mask_only_if_its_shape_is_the_same():
    brush = Brush(Image.new("RGB", (64, 40)))
    brush.take(Image.new("L", (64, 40), 200))
    brush.ellipse = [0.5, 0.5, 0.1, 0.2, 0]
    brush.show(Image.new("RGB", (64, 40), "blue"))
    assert brush.image is not None and brush.ellipse == []
    assert Image.open(io.BytesIO(brush.picture)).getpixel((5, 5))[2] > 200
    brush.show(Image.new("RGB", (40, 64)))
    assert brush.image is None


def test_what_does_not_fit_is_refused_in_one_line():
    with pytest.raises(ValueError, match="no picture to lay a mask on"):
        Brush().take(Image.new("L", (8, 8)))
    brush = Brush(Image.new("RGB", (64, 40)))
    with pytest.raises(ValueError, match="give one of the picture's shape"):
        brush.take(Image.new("L", (40, 64)))
    with pytest.raises(ValueError, match="no ellipse"):
        brush.ellipse = [0.5, 0.5, 0, 0.2, 0]
