import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from nsutils import Player, Run
from nsutils.figures import contact_sheet, loss_curves, tiles
from nsutils.report import report


@pytest.fixture
def run(settings, encoder, tmp_path):
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 6:
            player.steer(style_weight=4.0)
    return player.run


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


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


def test_a_contact_sheet_shows_every_tile(run):
    sheet = contact_sheet(run, edge=60, columns=4)
    assert sheet.width > 4 * 60 and sheet.height > 3 * 40
    assert len(sheet.getcolors(1 << 20)) > 500


def test_loss_curves_are_the_rows_of_metrics(run):
    (axes,) = loss_curves(run).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["style"].get_ydata()) == [row["style"] for row in run.metrics]
    assert axes.get_yscale() == "log"
    assert Image.open(io.BytesIO(loss_curves(run)._repr_png_())).width > 300


def test_a_report_is_one_file_that_asks_for_nothing(run):
    text = report(run)
    tags = Tags(text).found
    assert not any(tag in ("script", "link", "iframe") for tag, _ in tags)
    sources = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert len(sources) == len(tiles(run)) + 1
    for source in sources:
        head, data = source.split(",", 1)
        assert head in ("data:image/jpeg;base64", "data:image/png;base64")
        assert (
            len(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getcolors(1 << 22))
            > 20
        )
    assert not re.search(r"url\(|@import|https?://", text)
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")


def test_a_report_tells_the_recipe_the_steering_and_the_machine(run):
    text = report(run)
    for words in (
        "style_layers",
        "pixels, relu1_1, relu2_1",
        "after step 6",
        "style_weight = 4",
        run.meta["host"],
    ):
        assert words in text
    assert run.meta["inputs"]["content"]["sha256"] in text


def test_names_from_outside_are_escaped(settings, encoder, tmp_path):
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    hostile.write_bytes((tmp_path / "content.png").read_bytes())
    run = Run.create(
        tmp_path / "<b>run", settings.__class__(**{**vars(settings), "content": str(hostile)})
    )
    list(Player(run, encoder))
    tags = Tags(report(run)).found
    assert not any("onerror" in attributes for _, attributes in tags)
    assert not any(tag == "b" for tag, _ in tags)
