import pytest
import torch
from PIL import Image

from nsutils.crops import EDGES, PLACE, Crops


@pytest.fixture
def crops(tmp_path):
    """Of one picture, red growing to the right and green downward, so that a colour tells a place."""
    right, down = Image.linear_gradient("L").rotate(90), Image.linear_gradient("L")
    Image.merge("RGB", (right, down, Image.new("L", (256, 256)))).resize((480, 480)).save(
        tmp_path / "ramps.png"
    )
    return Crops([tmp_path / "ramps.png"])


def cut(crops, number, x, y, middle):
    """One crop and its labels."""
    middle = torch.tensor(middle).view(1, 2, 1, 1)
    return crops.cut(torch.tensor([number]), x[None, None], y[None, None], middle)


def test_a_batch_is_crops_and_the_place_of_every_cell(crops):
    pictures, labels = crops.batch(12, 1.0, torch.Generator().manual_seed(0))
    assert pictures.shape == (12, 3, 64, 64) and labels.shape == (12, 8, 8)
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert crops.classes == sum((-(-edge // PLACE)) ** 2 for edge in EDGES)
    assert set(labels.unique().tolist()) <= {-100, *range(crops.classes)}
    assert (labels >= 0).float().mean() > 0.5


def test_a_label_is_the_place_whose_colours_are_seen(crops):
    """Cut without recolouring: the colours say where a cell lies in the picture, the label says the same."""
    line = torch.arange(64.0) - 31.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    turned = x * 0.8 - y * 0.6, x * 0.6 + y * 0.8
    crop, label = cut(crops, 0, *turned, [0.55, 0.45])
    cells = torch.nn.functional.avg_pool2d(crop, 8)[0] * EDGES[0]
    across = -(-EDGES[0] // PLACE)
    column, row = (cells[0] / PLACE).floor(), (cells[1] / PLACE).floor()
    assert (label[0] == row * across + column).float().mean() > 0.9


def test_what_lies_outside_has_no_label(crops):
    line = torch.arange(64.0) - 31.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    _, label = cut(crops, 1, x, y, [0.0, 0.5])
    assert (label[0, :, :4] == -100).all() and (label[0, :, 4:] >= 0).all()
