import numpy as np
import pytest
import torch
from PIL import Image

from nsutils import pictures


def test_a_file_and_back_is_the_same(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    picture = pictures.read(tmp_path / "a.png")
    assert picture.shape == (1, 3, 5, 7)
    assert np.array_equal(np.array(pictures.to_image(picture)), values)


def test_a_picture_from_an_upright_camera_is_turned(tmp_path):
    lying = Image.new("RGB", (30, 20), "black")
    lying.paste("white", (0, 0, 15, 20))
    exif = lying.getexif()
    exif[pictures.ORIENTATION] = 6
    lying.save(tmp_path / "a.jpg", exif=exif, quality=100)
    picture = pictures.read(tmp_path / "a.jpg")
    assert picture.shape[-2:] == pictures.shape(tmp_path / "a.jpg") == (30, 20)
    assert picture[..., :10, :].mean() > 0.9 > 0.1 > picture[..., 20:, :].mean()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_every_kind_of_file_becomes_three_channels(tmp_path, mode):
    image = (
        Image.new("L", (8, 6), 255).convert(mode)
        if mode != "I;16"
        else Image.new(mode, (8, 6), 65535)
    )
    file = tmp_path / ("a.tif" if mode in ("CMYK", "I;16", "F") else "a.png")
    image.save(file)
    picture = pictures.read(file)
    assert picture.shape == (1, 3, 6, 8)
    assert picture.min() > 0.99


@pytest.mark.parametrize(("mode", "grey"), [("I;16", 32768), ("I", 32768), ("F", 0.5)])
def test_deep_greys_keep_their_tones(tmp_path, mode, grey):
    deep = np.full((6, 8), grey, {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    deep[0, 0] = 2 * grey - (mode != "F")
    file = tmp_path / ("a.png" if mode == "I;16" else "a.tif")
    Image.fromarray(deep).save(file)
    picture = pictures.read(file)
    assert picture[..., 1:, 1:].mean() == pytest.approx(0.5, abs=0.01)
    assert picture[0, 0, 0, 0] == 1


def test_what_is_transparent_lies_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert pictures.read(tmp_path / "a.png").min() == 1


def test_fit_keeps_the_shape_and_the_range():
    picture = torch.rand(1, 3, 40, 60)
    assert pictures.fit(picture, 30).shape == (1, 3, 20, 30)
    enlarged = pictures.fit(picture.round(), 100)
    assert enlarged.min() >= 0 and enlarged.max() <= 1


def test_what_is_no_picture_is_said_in_one_line(tmp_path):
    (tmp_path / "a.jpg").write_text("not a picture")
    Image.new("RGB", (64, 64)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "empty").mkdir()
    for name in ("a.jpg", "cut.png", "empty", "nowhere.png"):
        with pytest.raises(ValueError, match=rf"^no picture '.*{name}[^\n]*$"):
            pictures.read(tmp_path / name)


def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(tmp_path):
    pictures.write(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        pictures.write(tmp_path / "a", "not bytes")
    assert (tmp_path / "a").read_bytes() == b"old"
