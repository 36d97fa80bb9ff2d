from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import colourful
from PIL import Image

from nsutils import Player, Run, Settings, Style, fork, pictures, rerun, sample, stylize
from nsutils.losses import squared_distance
from nsutils.objective import Objective
from nsutils.parcel import packed
from nsutils.regions import Regions
from nsutils.replay import likeness
from nsutils.sources import Sources, faces_in, opened_mask
from nsutils.statistics import STYLE_STATISTICS, gram, raw_moments

ADDITIVE = [name for name, statistic in STYLE_STATISTICS.items() if statistic.additive]
PALETTE = {"style_layers": ("pixels",), "octaves": 1, "content_weight": 0.0, "tv_weight": 0.0}


@pytest.fixture
def left(tmp_path):
    """A mask, white on its left half."""
    image = Image.new("L", (32, 20))
    image.paste(255, (0, 0, 16, 20))
    image.save(tmp_path / "left.png")
    return str(tmp_path / "left.png")


def half(height=6, width=8):
    where = torch.zeros(1, 1, height, width, dtype=torch.float64)
    where[..., : width // 2] = 1
    return where


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_masked_half_equals_that_half(name):
    features = torch.rand(1, 3, 6, 8, dtype=torch.float64)
    of = STYLE_STATISTICS[name].of
    assert torch.allclose(of(features, weights=half()), of(features[..., :4]))


def test_a_pixel_that_weighs_double_counts_twice():
    features = torch.rand(1, 3, 1, 3, dtype=torch.float64)
    twice = torch.cat((features, features[..., :1]), -1)
    weights = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 3)
    assert torch.allclose(gram(features, weights=weights), gram(twice))
    apart = squared_distance(features, 0 * features, 1, weights)
    assert torch.allclose(apart, squared_distance(twice, 0 * twice, 1))


def test_weighed_sums_have_the_gradient_that_differences_give():
    weights = torch.rand(1, 1, 3, 4, dtype=torch.float64)
    features = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    other = torch.rand(1, 2, 3, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: raw_moments(x, weights=weights), features)
    assert torch.autograd.gradcheck(lambda x: squared_distance(x, other, None, weights), features)


def slope(settings, encoder, regions, styles=1):
    content, *manners = (colourful(40, 64, seed) for seed in range(1, styles + 2))
    made = Objective(settings, encoder, content, manners, regions=regions)
    return made.slope(colourful(40, 64, 9))[0]


def test_where_all_is_protected_the_style_does_not_pull(settings, encoder):
    settings = replace(settings, **PALETTE)
    protected = torch.zeros(1, 1, 40, 64)
    protected[..., :24] = 1
    found = slope(settings, encoder, Regions(protected))
    assert found[..., :20].abs().max() == 0  # the palette sees 5 x 5 pixels
    assert found[..., 30:].abs().min(1).values.mean() > 0


def test_a_style_pulls_in_its_place_alone(settings, encoder):
    two = (settings.styles[0], replace(settings.styles[0], weight=3.0))
    settings = replace(settings, styles=two, **PALETTE)
    where = torch.zeros(1, 1, 40, 64)
    where[..., :24] = 1
    for blend in ("targets", "losses"):
        asked = replace(settings, blend=blend)
        both = slope(asked, encoder, Regions(where=(where, 1 - where)), 2)
        first = slope(asked, encoder, Regions(where=(where, 0 * where)), 2)
        assert torch.allclose(both[..., :20], first[..., :20], atol=1e-9)
        assert first[..., 30:].abs().max() == 0 and both[..., 30:].abs().max() > 0


@pytest.mark.parametrize("blend", ["targets", "losses"])
def test_a_style_that_counts_nothing_is_as_if_it_were_not_there(settings, encoder, blend):
    none = replace(settings.styles[0], weight=0.0)
    two = replace(settings, styles=(settings.styles[0], none), blend=blend)
    where = torch.zeros(1, 1, 40, 64)
    where[..., :24] = 1
    both = slope(two, encoder, Regions(where=(where, 1 - where)), 2)
    alone = slope(settings, encoder, Regions(where=(where,)), 1)
    assert torch.allclose(both, alone, atol=1e-9)


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_place_smaller_than_a_pixel_has_the_statistics_of_that_pixel(name):
    features, where = torch.rand(1, 3, 6, 8), torch.zeros(1, 1, 6, 8)
    where[..., 2, 3] = 0.05
    of = STYLE_STATISTICS[name].of
    assert torch.allclose(of(features, weights=where), of(features[..., 2:3, 3:4]), atol=1e-5)


def test_pieces_know_the_masks(settings, encoder):
    settings = replace(settings, style_layers=("pixels", "relu1_1", "relu2_1"))
    content, style, image = (colourful(90, 140, seed) for seed in (1, 2, 3))
    regions = Regions(colourful(90, 140, 4)[:, :1], (colourful(90, 140, 5)[:, :1],))
    whole, cut = (
        Objective(settings, encoder, content, [style], most, regions).slope(image)
        for most in (None, 5000)
    )
    assert torch.allclose(whole[0], cut[0], atol=1e-3 * whole[0].abs().max())
    assert cut[1]["total"].item() == pytest.approx(whole[1]["total"].item(), rel=1e-4)


def test_a_protected_half_keeps_the_content_better(settings, encoder, left):
    content = pictures.to_tensor(pictures.opened(settings.content))
    apart = {}
    for name, protection in {"free": 0.0, "half": 0.5, "held": 1.0}.items():
        asked = replace(settings, mask=left, protection=protection, style_weight=5.0)
        *_, last = stylize(asked, encoder)
        apart[name] = (last.image - content)[..., :28].abs().mean().item()
    assert apart["held"] < apart["half"] < apart["free"]


def test_colours_of_the_content_are_kept_under_the_mask(settings, encoder, left, tmp_path):
    asked = replace(settings, mask=left, protection=0.0, mask_colors=1.0, style_weight=5.0)
    plain = Player(Run.create(tmp_path / "plain", replace(asked, mask_colors=0.0)), encoder).play()
    kept = Player(Run.create(tmp_path / "kept", asked), encoder).play()
    content = np.asarray(pictures.opened(settings.content), dtype=float)

    def colour(run):
        image = np.asarray(pictures.opened(run.result), dtype=float)
        apart = (image - image.mean(-1, keepdims=True)) - (
            content - content.mean(-1, keepdims=True)
        )
        return np.abs(apart).mean((0, 2))

    assert colour(kept)[:28].mean() < 0.5 * colour(plain)[:28].mean()
    assert np.allclose(colour(kept)[36:], colour(plain)[36:])
    assert kept.picture(0.0).tobytes() == kept.picture().tobytes()
    player = Player(kept, encoder)
    player.steer(original_colors=0.3)
    player.settle()
    assert plain.picture(0.3).tobytes() != kept.picture(0.3).tobytes() == kept.picture().tobytes()
    held = np.asarray(kept.picture(0.5, "symmetric"), dtype=int)
    assert np.abs(held - np.asarray(kept.picture(), dtype=int))[:, :28].mean() < 12


def test_masks_belong_to_the_run_and_may_change_while_it_plays(settings, encoder, left, tmp_path):
    two = (Style(settings.styles[0].picture, where=left), settings.styles[0])
    run = Run.create(tmp_path / "run", replace(settings, mask=left, styles=two))
    assert {"mask", "where_1"} <= set(run.meta["inputs"])
    player = Player(run, encoder)
    for step in player:
        if step.number == 5:
            player.steer(mask=Image.new("L", (8, 5), 200), protection=0.9)
        if step.number == 9:
            player.steer(mask=None)
    (tmp_path / "left.png").unlink()
    lines = (run.folder / "steering.jsonl").read_text().splitlines()
    assert '"mask": "inputs/mask_' in lines[0] and str(tmp_path) not in "".join(lines)
    again = rerun(packed(run, small=False), tmp_path / "again", encoder=encoder)
    assert likeness(packed(run), again).same
    new = Player(fork(run, 8, tmp_path / "fork", mask=Image.new("L", (4, 4), 90)), encoder).play()
    assert new.status == "done" and new.steering[0]["mask"].startswith(str(new.folder))


@pytest.fixture
def portrait(settings):
    """A photograph with a face, painted small in a few steps."""
    return replace(settings, content=sample("astronaut"), size=64, steps=3, scale_steps=())


def test_the_style_counts_least_on_a_face(portrait, encoder):
    sources = Sources(portrait)
    pictured = sources.at((64, 64), encoder.device)
    spared = Objective(portrait, encoder, *pictured, None, sources.regions((64, 64), "cpu"))
    drawn = Objective(portrait, encoder, *pictured)
    more = spared.regions.spared - drawn.regions.spared
    face = torch.zeros(64, 64, dtype=torch.bool)
    face[10:19, 24:33] = True  # eyes, nose, mouth
    assert torch.allclose(spared.regions.spared[0, 0, face], torch.tensor(portrait.sparing))
    assert (more >= 0).all() and (more[0, 0, face] > 0).float().mean() > 0.9
    assert (more > 0).float().mean() < 0.1


@pytest.mark.parametrize("alike", [{"sparing": 0.0, "freeing": 0.0}, {"content_weight": 0.0}])
def test_what_spares_faces_may_be_turned_off_and_on_again(portrait, alike):
    def spared(sources):
        return sources.regions((64, 64), "cpu").faces

    without = replace(portrait, **alike)
    sources = Sources(portrait)
    assert len(faces_in(portrait)) == 1 and spared(sources).max() == 1
    assert spared(Sources(without)) is None and spared(sources.after(without)) is None
    assert torch.equal(spared(Sources(without).after(portrait)), spared(sources))


def test_a_run_that_began_before_faces_were_spared_goes_on_without(portrait, encoder, tmp_path):
    whole = [step.losses for step in stylize(portrait, encoder, faces=[])]
    run = Run.create(tmp_path / "run", portrait)
    run.note(precision="float32", threads=1)
    assert [step.losses for step in Player(run, encoder)] == whole
    assert run.meta["faces"] == []
    assert rerun(packed(run), tmp_path / "again", encoder=encoder).meta["faces"] == []


def test_the_faces_that_a_run_spares_belong_to_its_record(portrait, encoder, tmp_path):
    run = Player(Run.create(tmp_path / "run", portrait), encoder).play()
    assert run.meta["faces"] == [pytest.approx(box) for box in faces_in(portrait)]
    # The report's picture is too small to find the face in once more.
    again = rerun(packed(run), tmp_path / "again", encoder=encoder)
    assert faces_in(again.settings) == [] and again.meta["faces"] == run.meta["faces"]
    assert likeness(packed(run), again).same
    forked = Player(fork(run, 0, tmp_path / "fork", style_weight=2.0), encoder).play()
    assert forked.meta["faces"] == run.meta["faces"]


def test_what_cannot_be_masked_is_told(settings, left):
    with pytest.raises(ValueError, match="'sliced' knows no masks"):
        replace(settings, mask=left, style_statistic="sliced")
    with pytest.raises(ValueError, match=r"no picture 'nowhere\.png'"):
        Run.create(left + "run", replace(settings, mask="nowhere.png"))
    with pytest.raises(ValueError, match="protection is 2"):
        Settings(settings.content, settings.styles, protection=2.0)


def test_what_is_transparent_in_a_mask_is_not_marked(tmp_path):
    mask = Image.new("RGBA", (64, 40), (0, 0, 0, 0))
    mask.paste("white", (0, 0, 32, 40))
    mask.paste((0, 0, 0, 128), (32, 0, 48, 40))  # the soft edge of a black stroke
    mask.save(file := tmp_path / "layer.png")
    grey = np.asarray(opened_mask(str(file)))
    assert grey[:, :32].min() == 255 and grey[:, 32:].max() == 0
