"""The brush: masks that go in and come out in Python, and strokes, ellipses and keys in a real JupyterLab."""

# ruff: noqa: F401, F811 (fixtures are imported, and asked for by their names)

import io

import numpy as np
import pytest
from conftest import colourful, half
from PIL import Image
from test_browser import CELLS, COMMAND, TOO_WIDE, browser, drag, folder, lab, notebook, spot, until

from nsutils import pictures
from nsutils.widgets.brush import Brush

CELL = """from pathlib import Path
from PIL import Image
from nsutils import pictures
from nsutils.widgets.brush import Brush

brush = Brush()
brush.show(Image.open("content.png"))
brush.observe(lambda change: pictures.write(Path("mask.png"), brush.mask), "mask")
brush.observe(lambda change: pictures.write(Path("ellipse"), str(brush.ellipse).encode()), "ellipse")
brush"""
SHOWN = ".nsutils-brush .stage:not([hidden])"  # once the cell has run


def picture(width=64, height=40, seed=1):
    return pictures.to_image(colourful(height, width, seed))


def brush_over(image):
    brush = Brush()
    brush.show(image)
    return brush


def test_a_mask_comes_out_as_it_went_in():
    brush = brush_over(picture())
    assert brush.image is None
    brush.take(half(64, 40))
    assert brush.image.mode == "L" and brush.image.tobytes() == half(64, 40).tobytes()
    brush.take(Image.new("L", (64, 40)))
    assert brush.image is None


def test_what_the_page_sends_is_the_mask():
    brush = brush_over(picture())
    page = io.BytesIO()
    half(64, 40).convert("RGBA").save(page, "PNG")  # as a canvas has it
    brush.set_state({"mask": memoryview(page.getvalue())})
    assert brush.mask == page.getvalue()
    assert brush.image.tobytes() == half(64, 40).tobytes()


@pytest.mark.parametrize("size", [(2000, 1000), (333, 777), (64, 40), (1, 900)])
def test_a_mask_has_the_pictures_shape_at_512_pixels_or_less(size):
    brush = brush_over(Image.new("RGB", size))
    brush.take(Image.new("L", size, 255))
    (wide, high), (width, height) = brush.image.size, size
    assert max(wide, high) == min(512, max(size))
    assert abs(wide * height / width - high) <= max(1, height / width)
    assert Image.open(io.BytesIO(brush.picture)).size == (2 * wide, 2 * high)


def test_deep_greys_and_other_sizes_are_taken():
    brush = brush_over(picture())
    deep = Image.fromarray(np.asarray(half(128, 80)).astype(np.uint16) * 257)
    brush.take(deep)
    assert brush.image.size == (64, 40)
    assert brush.image.getpixel((5, 20)) == 255 and brush.image.getpixel((60, 20)) == 0


def test_the_mask_stays_under_a_picture_of_the_same_shape():
    brush = brush_over(picture())
    brush.take(half(64, 40))
    brush.ellipse = [0.5, 0.5, 0.2, 0.3, 0]
    shown = brush.picture
    brush.show(picture(seed=2))
    assert brush.image.tobytes() == half(64, 40).tobytes()
    assert brush.picture != shown and brush.ellipse == []
    brush.show(picture(40, 64))
    assert brush.image is None


def test_a_mask_without_its_picture_is_said():
    with pytest.raises(ValueError, match="show one first"):
        Brush().take(half(64, 40))
    with pytest.raises(ValueError, match="40 x 64 pixels does not fit a picture of 64 x 40"):
        brush_over(picture()).take(half(40, 64))


@pytest.fixture(scope="module")
def page(notebook):
    notebook.evaluate(COMMAND, "application:toggle-left-area")
    return notebook


def button(page, name):
    return page.locator(".nsutils-brush").get_by_role("button", name=name, exact=True)


def mask(folder):
    """Where the kernel has the mask white, (120, 160)."""
    file = folder / "mask.png"
    if not file.exists() or not (data := file.read_bytes()):
        return np.zeros((120, 160))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")) / 255


@pytest.mark.browser
def test_strokes_reach_the_kernel_and_are_taken_back(page, folder):
    cells, stage = page.evaluate(CELLS), page.locator(".nsutils-brush .stage")
    drag(stage, (0.2, 0.5), (0.8, 0.5))
    until(page, lambda: mask(folder).any())
    assert mask(folder).shape == (120, 160)
    assert mask(folder)[60, 32:128].min() > 0.9 and mask(folder)[[10, 110]].max() == 0
    size, edge = 0.12 * 160, mask(folder)[:, 80]
    assert edge.sum() == pytest.approx(size, rel=0.03)  # a blur spreads, it adds nothing
    assert ((edge > 0.05) & (edge < 0.95)).sum() >= 4  # a soft edge
    button(page, "Eraser").click()
    drag(stage, (0.5, 0.3), (0.5, 0.7))
    until(page, lambda: mask(folder)[60, 80] < 0.1)
    assert mask(folder)[60, 40] > 0.9
    button(page, "Brush").click()
    for dot in range(20):
        page.touchscreen.tap(*spot(stage, 0.1 + 0.04 * dot, 0.1))
    until(page, lambda: mask(folder)[12, [16, 80, 137]].min() > 0.9)
    page.keyboard.press("x")  # where the brush was, it is no command
    for _ in range(20):
        page.keyboard.press("Control+z")
    until(page, lambda: mask(folder)[12].max() == 0)
    assert mask(folder)[60, 40] > 0.9 and mask(folder)[60, 80] < 0.1
    button(page, "Undo stroke").click()
    button(page, "Undo stroke").click()
    until(page, lambda: not (folder / "mask.png").read_bytes())
    assert page.evaluate(CELLS) == cells


@pytest.mark.browser
def test_an_ellipse_is_marked_by_keys_alone_and_fits_a_narrow_box(page, folder):
    softness = page.locator(".nsutils-brush").get_by_role("slider", name="Softness")
    softness.press("Home")
    until(page, lambda: softness.get_attribute("aria-valuetext") == "0 %")
    button(page, "Ellipse").press("Enter")
    page.locator(".nsutils-brush").evaluate("e => e.style.cssText = 'width: 300px; flex: none'")
    assert page.locator(".nsutils-brush").evaluate(TOO_WIDE, ":not(svg *)") == []
    for key in 5 * ["ArrowRight"] + 3 * ["Shift+ArrowUp"] + 10 * ["]"]:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    until(page, lambda: mask(folder).any())
    until(page, lambda: (folder / "ellipse").read_text() == "[]")
    down, across = np.mgrid[:120, :160] + 0.5
    x, y, turned = across - 88, down - 60, np.radians(30)
    wide, high = 40, 30 + 3 * 1.6
    along, athwart = (
        x * np.cos(turned) + y * np.sin(turned),
        y * np.cos(turned) - x * np.sin(turned),
    )
    inside = (along / wide) ** 2 + (athwart / high) ** 2 < 1
    assert ((mask(folder) > 0.5) != inside).mean() < 0.005
