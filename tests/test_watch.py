from dataclasses import replace

import pytest
import torch
from conftest import colourful, half
from PIL import Image, ImageFilter, ImageOps

from nsutils import Player, Run, pictures
from nsutils.transfer import Step
from nsutils.watch import LOST, STILL, Watch, structure


@pytest.fixture
def picture():
    return colourful(90, 120, 5)


def seen(watch, image, settings, steps=5, **changes):
    """The word after so many steps that all look like the image."""
    for number in range(1, steps + 1):
        step = Step(number, 0, replace(settings, **changes), {"style": 1.0}, image)
        watch.see(step)
    return watch.word


def test_structure_is_of_shapes_and_not_of_colour_light_or_contrast(picture):
    grey = picture.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert structure(picture, picture) == pytest.approx(1, abs=1e-4)
    assert structure(0.5 * grey + 0.4, picture) > 0.85
    assert structure(1 - picture, picture) < -0.6
    assert abs(structure(torch.rand(1, 3, 90, 120), picture)) < 0.2


def test_no_less_than_nothing_is_left_of_a_face(settings, content):
    step = Step(12, 0, settings, {"style": 1.0}, 1 - pictures.read(content))
    assert " 0% of its shapes are left" in Watch(settings, strangest=1.0).lost(step)


def test_where_there_are_no_shapes_none_are_lost(picture):
    noise, flat = torch.rand(1, 3, 90, 120), torch.full((1, 3, 90, 120), 0.5)
    assert structure(noise, flat) == structure(noise, flat, half(120, 90)) == 1
    assert structure(noise, picture, Image.new("L", (120, 90))) == 1, "nothing is marked"


def test_structure_is_the_same_at_every_size_and_only_within_the_place(picture):
    spoilt = picture.clone()
    spoilt[..., :60] = torch.rand(1, 3, 90, 60, generator=torch.Generator().manual_seed(1))
    left = half(4, 3)
    right = ImageOps.invert(left)
    assert structure(spoilt, picture, right) > 0.9 > 0.5 > structure(spoilt, picture, left)
    large = pictures.resize(picture, (360, 480))
    assert structure(large, picture) == pytest.approx(1, abs=0.05)


def test_a_lost_face_is_said_and_which_slider_helps(settings, content, tmp_path):
    mask = str(tmp_path / "mask.png")
    Image.new("L", (64, 40), 255).save(mask)
    noise = torch.rand(1, 3, 40, 64)
    assert structure(noise, pictures.read(content)) < LOST

    def word(**changes):
        return seen(Watch(settings, changes.pop("faces", ())), noise, settings, **changes)

    assert "The content is being lost" in word() and "Contours" in word()
    assert "Protection up" in word(mask=mask)
    assert "Contours (laplacian_weight) up" in word(mask=mask, protection=0.9)
    assert "Content weight up" in word(mask=mask, protection=0.9, laplacian_weight=1.0)
    assert "portrait" in word(faces=[(0.3, 0.2, 0.4, 0.4)])
    assert word(init="noise") == "", "noise has no shapes to lose yet"
    assert seen(Watch(settings), pictures.read(content), settings) == ""


def test_a_style_that_does_not_come_is_said(settings, content):
    image = pictures.read(content)
    late = settings.steps - 2
    assert "style has hardly come" in seen(Watch(settings), image, settings, late)
    assert not seen(Watch(settings), image, settings, late, style_weight=0.0), "nobody wants one"


def test_a_picture_that_stands_still_is_said(settings, content):
    settings, watch, losses = replace(settings, steps=1000), Watch(settings), {"style": 1.0}
    clear = pictures.opened(content)
    for number in range(1, STILL + 20):
        image = clear.filter(ImageFilter.GaussianBlur(max(0, 10 - number)))
        word = watch.see(Step(number, 0, settings, losses, pictures.to_tensor(image)))
    assert word.startswith(f"The last {STILL + 5} steps changed the picture by less")


def test_a_player_says_it(settings, encoder, tmp_path):
    settings = replace(settings, style_weight=1e-6)
    player = Player(Run.create(tmp_path / "run", settings), encoder, weigh=1.0)
    found = [step.shares for step in player]
    assert "style has hardly come" in player.word
    assert all(found) and player.shares == found[-1]


def test_a_picture_that_is_not_its_preview_is_said(settings, content):
    image = pictures.resize(pictures.read(content), (150, 240))
    early = pictures.resize(image, (75, 120))

    def end(last):
        watch = Watch(settings)
        watch.see(Step(11, 0, settings, {"style": 1.0}, early))
        return watch.see(Step(12, 1, settings, {"style": 0.1}, last))

    assert end(image) == ""
    assert "another than its small preview" in end((image + 0.15).clamp(0, 1))


def test_a_run_that_is_gone_on_with_is_no_stranger(settings, encoder, tmp_path):
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 9:
            break
    player.close()
    again = Player(player.run, encoder)
    assert [again.word for _ in again][-1] == ""


def test_the_largest_face_in_the_content_is_looked_after_wherever_it_is_played(
    settings, encoder, tmp_path
):
    run = Run.create(tmp_path / "run", replace(settings, content_weight=1e-4, style_weight=30.0))
    run.note(faces=[(0.3, 0.2, 0.4, 0.4)])
    watch = Watch(run.settings, run.meta["faces"])
    assert watch.face.getpixel((32, 20)) == 255 and watch.face.getpixel((1, 1)) == 0
