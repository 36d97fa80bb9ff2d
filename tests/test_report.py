import base64
import io
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import nbformat
import pytest
import torch
from PIL import Image

from nsutils import Player, Run, Settings, Style, pictures, replay, vary
from nsutils.notebook import page as notebook_page
from nsutils.parcel import packed
from nsutils.report import parcels, report


@pytest.fixture
def run(steered_run):
    return steered_run


@pytest.fixture
def noisy(tmp_path):
    """Two pictures of noise, which nothing makes small, as large as a run can use them."""
    chance, names = torch.Generator().manual_seed(0), []
    for name in ("one", "two"):
        names.append(str(tmp_path / f"{name}.png"))
        pictures.to_image(torch.rand(1, 3, 900, 900, generator=chance)).save(names[-1])
    return names


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def images(text):
    """What each picture of the page says and shows."""
    found = [attributes for tag, attributes in Tags(text).found if tag == "img"]
    for attributes in found:
        head, data = attributes["src"].split(",", 1)
        assert head in ("data:image/jpeg;base64", "data:image/png;base64")
        yield attributes["alt"], Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_a_report_shows_what_went_in_each_kept_step_and_what_came_out(run):
    shown = dict(images(report(run)))
    words = ["content: content.png", "style: style.png"]
    words.append("result: content.png in the style of style.png")
    words += ["the picture at start", *(f"the picture at step {n}" for n in range(2, 12, 2))]
    curves = [alt for alt in shown if alt not in words]
    assert len(curves) == 1 and curves[0].startswith("losses over the steps, at the end content")
    assert all(words) and {*words} < {*shown}
    assert all(len(image.getcolors(1 << 22)) > 20 for image in shown.values())
    order = [alt for alt in shown if "the picture at" in alt]
    assert order == words[3:]


def test_a_report_is_one_file_that_may_ask_for_nothing(run):
    text = report(run)
    tags = Tags(text).found
    assert not any(tag in ("link", "iframe", "base", "object", "form") for tag, _ in tags)
    (policy,) = (a["content"] for tag, a in tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"url\(|@import|https?://", text)
    places = [attributes[name] for _, attributes in tags for name in attributes if name == "href"]
    assert all(place.startswith(("data:", "#")) for place in places)


def test_a_report_tells_the_recipe_the_steering_the_costs_and_the_machine(run):
    text, meta = report(run), run.meta
    for words in (
        "pixels, relu1_1, relu2_1",
        '<th scope="row">6</th><td>style_weight = 4',
        "nsutils run content.png style.png --size 64",
        "steering = {",
        f"{meta['measured_by_forecast']['bytes']}",
        meta["host"],
        meta["versions"]["torch"],
        meta["inputs"]["content"]["sha256"],
    ):
        assert words in text


def test_a_report_gives_back_what_was_packed(run):
    assert parcels(report(run)) == json.loads(json.dumps([packed(run)]))
    assert parcels(report(run, run)) == json.loads(json.dumps([packed(run)] * 2))


def test_the_picture_is_made_again_from_the_report_alone(run, encoder, tmp_path):
    (parcel,) = parcels(report(run))
    again = replay.rerun(parcel, tmp_path / "again", encoder=encoder)
    assert again.settings.content != run.settings.content
    assert str(replay.likeness(parcel, again)) == "the same picture, pixel for pixel"


def test_links_hold_what_is_inside_once(run):
    text = report(run, run)
    links = [a for tag, a in Tags(text).found if tag == "a" and "download" in a]
    inside = packed(run)["inputs"].values()
    assert [link["href"].split(",")[1] for link in links] == [facts["data"] for facts in inside]
    assert [link["download"].split(".")[0] for link in links] == ["content", "style"]
    assert all(text.count(facts["data"]) == 1 for facts in inside)


def test_a_small_report_leaves_the_pictures_out_and_says_how_to_give_them(run):
    text = report(run, small=True)
    assert all(facts["data"] is None for facts in parcels(text)[0]["inputs"].values())
    assert "nsutils rerun REPORT.html --content content.png --style style.png<" in text
    assert len(text) < len(report(run))


def test_files_are_utf_8_whatever_the_locale(run, tmp_path):
    run.notes = "größer"
    (tmp_path / "page.html").write_text("größer", encoding="utf-8")
    folder, page = str(run.folder), str(tmp_path / "page.html")
    words = [["report", folder], ["note", folder], ["rerun", page]]
    script = f"from nsutils.cli import main; [main(each) for each in {words!r}]"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain["PYTHONIOENCODING"] = "utf-8"  # of what is printed alone
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | plain, capture_output=True, text=True
    )
    assert "größer" in done.stdout and "no run in this page" in done.stderr
    assert "größer" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_a_page_without_a_run_is_refused_in_a_line(run):
    with pytest.raises(ValueError, match="no run in this page"):
        parcels("<p>nsutils</p>")
    for damaged in (report(run).replace('"inputs"', ""), report(run).replace("<a id=", "<a x=")):
        with pytest.raises(ValueError, match=r"^the run in this report is damaged .*$"):
            parcels(damaged)


def test_pictures_that_make_it_larger_than_5_mb_are_left_out(noisy):
    run = Run.create(noisy[0] + ".run", Settings(*noisy, size=900))
    assert sum(len(facts["data"]) for facts in packed(run)["inputs"].values()) > 3e6
    text = report(run)
    assert len(text.encode()) < 2e6 and "larger than 5 MB" in text
    assert parcels(text)[0]["inputs"]["content"]["data"] is None


def test_a_thousand_kept_noisy_pictures_stay_within_2_mb(noisy):
    run = Run.create(noisy[0] + ".run", Settings(*noisy, size=900))
    data = pictures.jpeg(pictures.opened(noisy[0]), 92)
    for number in range(1000):
        (run.folder / "images" / f"step_{number:05d}.jpg").write_bytes(data)
    Image.open(noisy[1]).save(run.result)
    text = report(run, small=True)
    assert len(text.encode()) < 2e6
    (few,) = re.findall(r"(\d+) of 1000 kept pictures", text)
    steps = [alt for alt, _ in images(text) if alt.startswith("the picture at")]
    assert len(steps) == int(few) and 30 < int(few) <= 40
    numbers = [int(alt.split()[-1]) for alt in steps[1:]]
    assert {later - one for one, later in itertools.pairwise(numbers)} == {numbers[0]}


def test_several_runs_are_compared_by_what_differs(run, settings, tmp_path):
    other = Settings(**{**vars(settings), "style_weight": 7.0})
    other = Run.create(tmp_path / "other", other)
    (other.folder / "images" / "step_00000.jpg").write_bytes(run.images[0].read_bytes())
    text = report(run, other)
    head = text.partition("</header>")[0]
    assert re.findall("<figcaption>(.*?)</figcaption>", head) == [
        "style_weight 4",
        "style_weight 7",
    ]
    assert [place for place in re.findall(r'<li><a href="#(.*?)"', head)] == ["run-1", "run-2"]
    assert [a["id"] for tag, a in Tags(text).found if tag == "article"] == ["run-1", "run-2"]
    assert len(text.encode()) < 2e6


def test_runs_that_differ_in_two_settings_stand_in_a_grid_that_leads_to_each(
    run, settings, tmp_path
):
    trials = []
    for n, one in enumerate(vary(settings, style_weight=[5.0, 2.0], octaves=[1, 2])):
        trials.append(Run.create(tmp_path / f"trial {n}", one))
        (trials[-1].folder / "result.png").write_bytes(run.result.read_bytes())
    head = report(*trials).partition("</header>")[0]
    found = re.findall(r"<th[^>]*>([^<]+)</th>|href=\"(#run-\d)\"><figure", head)
    words = [word or link for word, link in found]
    assert words == ["1", "2", "2", "#run-3", "#run-4", "5", "#run-1", "#run-2"]


def test_two_runs_of_which_one_was_prolonged_stand_side_by_side(run, settings, tmp_path):
    asked = replace(settings, scale_steps=None, steps=110)
    runs = [
        Run.create(tmp_path / str(n), replace(asked, steps=n, style_weight=n, scale_steps=None))
        for n in (120, 240)
    ]
    for each in runs:
        (each.folder / "result.png").write_bytes(run.result.read_bytes())
    head = report(*runs).partition("</header>")[0]
    assert "<table>" not in head
    assert re.findall("<figcaption>(.*?)</figcaption>", head, re.DOTALL) == [
        "style_weight 120\nsteps 120",
        "style_weight 240\nsteps 240",
    ]


def test_a_run_that_has_not_begun_is_reported(settings, tmp_path):
    text = report(Run.create(tmp_path / "run", settings))
    assert "run · ready · 0 of 12 steps" in text
    assert [alt for alt, _ in images(text)] == ["content: content.png", "style: style.png"]


def test_a_run_without_its_meta_json_is_reported(run):
    (run.folder / "meta.json").unlink()
    assert "content.png in the style of style_1.png" in report(run)


def test_a_fork_tells_where_it_comes_from(run):
    run.note(parent={"id": "a", "name": "first", "step": 4, "changes": {"style_weight": 2.0}})
    assert "forked from first after step 4, with style_weight = 2" in report(run)


def test_a_style_of_several_has_its_number_and_a_start_its_place(content, style, tmp_path):
    settings = Settings(content, (style, Style(content, 0.5)), size=64, init=style)
    shown = [alt for alt, _ in images(report(Run.create(tmp_path / "run", settings)))]
    wanted = ["content: content.png", "style 1: style.png", "style 2: content.png"]
    assert shown == [*wanted, "init: style.png"]


def test_what_is_no_notebook_is_refused_in_a_line(content, tmp_path):
    (tmp_path / "values.ipynb").write_text('{"a": 1}')
    for file in (content, tmp_path / "values.ipynb", tmp_path / "none.ipynb"):
        with pytest.raises(ValueError, match=r"^no notebook .*; give an .ipynb file$"):
            notebook_page(file)


def test_a_notebooks_page_has_no_tag_that_leads_away_even_if_another_hid_it(tmp_path):
    output = nbformat.v4.new_output(
        "display_data", {"text/html": '<me<meta x>ta http-equiv="refresh" content="0;url=x">'}
    )
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), file := tmp_path / "hostile.ipynb")
    assert "refresh" not in notebook_page(file)


def test_a_report_of_a_stopped_run_says_how_far_it_came(settings, encoder, tmp_path):
    for step in Player(run := Run.create(tmp_path / "run", settings), encoder):
        if step.number == 6:
            break
    text = report(run)
    assert "6 of 12 steps" in text and "Python, to all 12 steps" in text
    assert 'scope="row">time' not in text and "Recipe, as it began" not in text


def test_a_report_of_a_steered_run_says_that_its_recipe_is_the_beginning(run):
    assert "Recipe, as it began" in report(run)


def test_a_notebooks_page_has_the_end_of_a_bar_alone(tmp_path):
    bars = [
        nbformat.v4.new_output("stream", name="stdout", text=f"\r{done:3d}%| {done} of 100 steps")
        for done in range(0, 101, 10)
    ]
    cell = nbformat.v4.new_code_cell("run = player.play()", outputs=bars)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), file := tmp_path / "a.ipynb")
    assert re.findall(r"\d+ of 100 steps", notebook_page(file)) == ["100 of 100 steps"]


def test_a_notebooks_page_has_no_link_to_what_is_not_in_it(tmp_path):
    links = '<a href="../data/runs/one"><img alt="one"></a><a href="https://arxiv.org/abs/1508.06576">paper</a>'
    cell = nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output("display_data", {"text/html": links})]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), file := tmp_path / "a.ipynb")
    page = notebook_page(file)
    assert "data/runs" not in page and 'alt="one"' in page and 'href="https://arxiv.org' in page
