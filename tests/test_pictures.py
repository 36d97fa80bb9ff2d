import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

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


def test_lights_above_white_and_holes_in_a_floating_picture_leave_the_rest_as_it_is(tmp_path):
    deep = np.full((6, 8), 0.5, np.float32)
    deep[0, :3] = 1.001, np.inf, np.nan
    Image.fromarray(deep).save(tmp_path / "a.tif")
    picture = pictures.read(tmp_path / "a.tif")
    assert picture[..., 1:, :].mean() == pytest.approx(0.5, abs=0.01)
    assert picture[0, 0, 0, :3].tolist() == [1, 0, 0]


def test_a_turned_tiff_is_as_large_as_it_is_told_before_it_is_read(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.tif", tiffinfo={pictures.ORIENTATION: 6})
    assert pictures.shape(tmp_path / "a.tif") == pictures.read(tmp_path / "a.tif").shape[-2:]


def test_what_is_transparent_lies_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert pictures.read(tmp_path / "a.png").min() == 1


def swapped_profile():
    """A colour profile like sRGB's in which red and blue have each other's place."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_gone_by(tmp_path, mode):
    image = Image.new("RGB", (8, 6), (250, 128, 10)).convert(mode)
    image.save(tmp_path / "a.png", icc_profile=swapped_profile())
    red, green, blue = pictures.read(tmp_path / "a.png").mul(255).mean((0, 2, 3)).tolist()
    assert (red, green, blue) == pytest.approx((10, 128, 250), abs=6)


def test_a_grey_picture_with_a_colour_profile_or_a_broken_one_is_read_as_it_is(tmp_path):
    Image.new("L", (8, 6), 90).save(tmp_path / "a.png", icc_profile=swapped_profile())
    Image.new("RGB", (8, 6), (9, 9, 9)).save(tmp_path / "b.png", icc_profile=b"nonsense" * 40)
    assert pictures.read(tmp_path / "a.png").mul(255).mean() == pytest.approx(90, abs=1)
    assert pictures.read(tmp_path / "b.png").mul(255).mean() == pytest.approx(9, abs=1)


def test_alpha_is_found_where_there_is_any(tmp_path):
    image = Image.new("RGBA", (8, 6), (9, 9, 9, 255))
    image.save(tmp_path / "opaque.png")
    image.paste((9, 9, 9, 40), (0, 0, 4, 6))
    image.save(tmp_path / "clear.png")
    assert pictures.alpha(tmp_path / "opaque.png") is None
    assert pictures.alpha(tmp_path / "clear.png").getextrema() == (40, 255)


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
    for name in ("a.jpg", "cut.png", "empty", "nowhere.png", 300 * "x"):
        with pytest.raises(ValueError, match=rf"^no picture '.*{name}[^\n]*$"):
            pictures.read(tmp_path / name)


def test_a_picture_of_too_many_pixels_is_told_by_that(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "many.png")
    with pytest.raises(ValueError, match="more than 178 million pixels; make it smaller first"):
        pictures.opened(tmp_path / "many.png")


def test_a_file_that_cannot_be_written_leaves_the_old_one_whole(tmp_path):
    pictures.write(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        pictures.write(tmp_path / "a", "not bytes")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_is_written_to_a_link_is_where_it_leads(tmp_path):
    link, file = tmp_path / "link.png", tmp_path / "file.png"
    link.symlink_to(file)
    pictures.write(link, b"new")
    assert link.is_symlink() and file.read_bytes() == b"new"


def test_what_is_written_to_a_pipe_goes_through_it(tmp_path):
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        pictures.write(pipe, b"new")
        assert read.result() == b"new" and pipe.is_fifo()


def test_a_file_in_a_file_cannot_be_written(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match="no such folder"):
        pictures.check_writable(tmp_path / "a.png" / "b.png")
