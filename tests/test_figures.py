import io
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nsutils import Player, Run, pictures, vary
from nsutils.figures import Divided, Grid, contact_sheet, film, latest, tiles
from nsutils.parcel import packed
from nsutils.report import report


@pytest.fixture
def run(steered_run):
    return steered_run


def test_tiles_are_content_style_kept_steps_result(run):
    captions = [caption for caption, _ in tiles(run)]
    assert captions == [
        "content",
        "style",
        "start",
        *(f"step {n}" for n in range(2, 12, 2)),
        "result",
    ]
    assert len(tiles(run, most=6)) == 6


def test_a_result_that_the_run_has_left_behind_is_not_shown(settings, encoder, tmp_path):
    run = Run.create(tmp_path / "run", settings)
    for step in Player(run, encoder):
        if step.number == 4:
            break
    assert tiles(run)[-1][0] == "result" and latest(run) == pictures.opened(run.result)
    for step in Player(run, encoder):
        if step.number == 9:
            assert tiles(run)[-1] == ("step 8", run.images[8])
            assert latest(run) == pictures.opened(run.images[8])
            assert "so far, " in report(run) and packed(run)["result"] is None
            break
    assert tiles(run)[-1][0] == "result" and latest(run) == pictures.opened(run.result)


def test_a_contact_sheet_shows_every_tile(run):
    sheet = contact_sheet(run, edge=60, columns=4)
    assert sheet.width > 4 * 60 and sheet.height > 3 * 40
    assert len(sheet.getcolors(1 << 20)) > 500


def test_a_film_shows_the_kept_steps_and_stays_on_the_result(run):
    gif = Image.open(io.BytesIO(film(run, seconds=3)))
    times, frames = [], []
    for number in range(gif.n_frames):
        gif.seek(number)
        times.append(gif.info["duration"])
        frames.append(np.asarray(gif.convert("RGB"), float))
    kept = [Image.open(file) for file in [*run.images.values()][:-1]] + [run.picture()]
    assert len(frames) == len(kept) and gif.info["loop"] == 0
    assert sum(times) == pytest.approx(3000, abs=100) and times[-1] > 2 * max(times[:-1])
    for frame, image in zip(frames, kept, strict=True):
        assert np.abs(frame - np.asarray(image.resize(gif.size), float)).mean() < 12


def test_a_film_and_a_report_do_without_a_kept_picture_that_is_damaged(run):
    whole = Image.open(io.BytesIO(film(run))).n_frames
    number, file = [*run.images.items()][2]
    os.truncate(file, 300)
    assert Image.open(io.BytesIO(film(run))).n_frames == whole - 1
    assert f"the picture at step {number}" in report(run)
    os.truncate(run.result, 300)
    with pytest.raises(ValueError, match=r"result\.png' is damaged; nsutils resume writes it anew"):
        report(run)


def test_a_film_fits_into_its_edge_and_its_time(run):
    first = run.images[0].read_bytes()
    for number in range(1000, 1200):
        (run.folder / "images" / f"step_{number:05d}.jpg").write_bytes(first)
    gif = Image.open(io.BytesIO(film(run, edge=32, seconds=2)))
    assert max(gif.size) == 32 and gif.n_frames <= 25


def test_a_film_of_nothing_is_refused(settings, tmp_path):
    with pytest.raises(ValueError, match=r"no pictures in .*empty"):
        film(Run.create(tmp_path / "empty", settings))


@pytest.mark.parametrize("seconds", [-5, 0, 901, float("inf"), float("nan")])
def test_a_film_of_a_time_that_no_gif_has_is_refused(run, seconds):
    with pytest.raises(ValueError, match="give seconds above 0, up to 900"):
        film(run, seconds=seconds)
    assert film(run, seconds=900)


def test_a_film_that_is_hardly_to_be_seen_is_refused(run):
    with pytest.raises(ValueError, match="a film of 0 px; give an edge of 32 or more"):
        film(run, edge=0)


@pytest.fixture
def trials(run, settings, tmp_path):
    """Seven runs that differ in three settings; the eighth was not made. Each shows a colour of its own."""
    choices = {"content_weight": [0.5], "style_weight": [10.0, 2.0, 0.1], "octaves": [1, 2]}
    every = [*vary(settings, **choices), *vary(settings, content_weight=[0.3], octaves=[2])]
    made = [Run.create(tmp_path / f"trial {n}", each) for n, each in enumerate(every)]
    for n, one in enumerate(made):
        Image.new("RGB", (60, 40), (30 * n, 90, 250 - 30 * n)).save(one.result)
    return made


def test_a_grid_has_an_axis_for_each_setting_numbers_in_order_and_the_rest_beneath(trials):
    found = Grid(trials)
    assert found.axes == ("style_weight", "octaves") and len(found) == 7
    assert (found.rows, found.columns) == (["0.1", "1", "2", "10"], ["1", "2"])
    assert found.cells["10", "1"] == [(trials[0], "content_weight 0.5")]
    assert found.cells["1", "1"] == [] and found.cells["1", "2"][0][0] is trials[6]
    one = Grid(trials[:2])
    assert (one.axes, one.rows, one.columns) == (("", "octaves"), [""], ["1", "2"])
    assert Grid(trials[:1]).axes == ("", "")
    turned = Grid(trials, down=found.axes[1])
    assert turned.axes == found.axes[::-1] and turned.rows == found.columns
    assert Grid(trials, across=found.axes[0]).axes == turned.axes
    assert Grid(trials, *found.axes).cells.keys() == found.cells.keys()
    with pytest.raises(ValueError, match="do not differ in 'seed'; they differ in "):
        Grid(trials, down="seed")
    assert repr(found) == "<Grid of 7 runs: style_weight x octaves>"
    with pytest.raises(ValueError, match="no runs to show"):
        Grid([])


def test_a_grid_is_drawn_with_each_picture_in_its_place(trials):
    """The places of the colours are those of the settings, whatever the order of the runs."""
    first = np.asarray(Grid(trials).image(60), int)
    assert (first == np.asarray(Grid(trials[::-1]).image(60))).all()
    places = {}
    for n in range(len(trials)):
        apart = np.abs(first - (30 * n, 90, 250 - 30 * n)).sum(2)
        places[n] = np.argwhere(apart < 12).mean(0)
        assert (apart < 12).sum() == 60 * 40
    # Of such pairs the first lies below the second, or to its right.
    pairs = [(0, 2), (2, 4), (1, 3), (3, 6), (6, 5)], [(1, 0), (3, 2), (5, 4)]
    below, beside = (np.array([places[a] - places[b] for a, b in each]) for each in pairs)
    assert (below[:, 0] > 40).all() and np.allclose(below[:, 1], 0)
    assert (beside[:, 1] > 60).all() and np.allclose(beside[:, 0], 0)


def test_a_grid_in_a_notebook_links_to_the_runs_or_their_reports(trials, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (trials[1].folder / "report.html").write_text("about it")
    html = Grid(trials)._repr_html_()
    links = re.findall('<a href="(.*?)"', html)
    assert set(links) >= {"trial%200", "trial%201/report.html"} and len(links) == 7
    assert str(tmp_path) not in html and re.findall("<th[^>]*>([^<]+)</th>", html)[:2] == ["1", "2"]
    assert Image.open(io.BytesIO(Grid(trials)._repr_jpeg_())).size == Grid(trials).image().size


def test_two_pictures_have_a_divider_in_a_notebook():
    before, after = Image.new("RGB", (80, 60), "red"), Image.new("RGB", (40, 30), "blue")
    page = Divided(before, after, ("<a>", "b"))._repr_html_()
    assert page.count("<img") == 2 and 'alt="&lt;a&gt;"' in page and "<a>" not in page
    assert 'aria-label="Divider between &lt;a&gt; and b"' in page


def test_of_a_run_that_was_stopped_between_two_kept_steps_none_is_left_out(
    settings, encoder, tmp_path
):
    run = Run.create(tmp_path / "run", replace(settings, every=4))
    for step in Player(run, encoder):
        if step.number == 6:
            break
    assert [caption for caption, _ in tiles(run)] == [
        "content",
        "style",
        "start",
        "step 4",
        "result",
    ]
    assert Image.open(io.BytesIO(film(run))).n_frames == 3
