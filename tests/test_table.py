import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from conftest import colourful
from PIL import Image, ImageChops

from nsutils import Player, Run, pictures, runs
from nsutils.figures import GAP, lettering, side_by_side, wrapped
from nsutils.table import LONGEST, MOST, WIDTH


@pytest.fixture
def first(settings, encoder, tmp_path):
    """A finished run in a folder for runs."""
    return Player(Run.create(tmp_path / "runs" / "first", settings), encoder).start().wait()


def like(run, name, asked=None, old=None, **meta):
    """A copy of the run with other settings, old names of its pictures and facts."""
    folder = run.folder.with_name(name)
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("*.pt"))
    change(folder / "settings.json", asked or {})
    inputs = run.meta["inputs"]
    for role, picture in (old or {}).items():
        inputs[role] = inputs[role] | {"name": picture}
    change(folder / "meta.json", {"id": name, "inputs": inputs} | meta)
    return Run(folder)


def change(file, values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def names(table):
    return [run.folder.name for run in table]


class Page(HTMLParser):
    """The elements of an HTML text, and its words."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, words):
        self.words += words

    @property
    def pictures(self):
        return [attributes for tag, attributes in self.found if tag == "img"]


def test_a_table_is_a_sequence_of_runs_the_newest_first(first):
    for year in (2001, 2003, 2002):
        like(first, f"of {year}", created=f"{year}-01-01T00:00:00+00:00")
    table = runs(first.folder.parent)
    assert names(table) == ["first", "of 2003", "of 2002", "of 2001"]
    assert isinstance(table[3], Run) and table[3].settings == Run(table[3].folder).settings
    assert type(table[:2]) is type(table) and names(table[:2]) == ["first", "of 2003"]


def test_a_folder_without_runs_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        runs(tmp_path / "nowhere")
    (tmp_path / "a folder").mkdir()
    assert len(runs(tmp_path)) == 0
    assert str(runs(tmp_path)) == "no runs" and "no runs" in runs(tmp_path)._repr_html_()


def test_the_row_says_what_the_run_says(first):
    table, last = runs(first.folder.parent), first.metrics[-1]
    for losses in (
        {"style": last["style"]},
        {"content_loss": last["content"]},
        {"total": last["total"]},
    ):
        assert len(table.where(**losses)) == 1
    here = {"status": "done", "made": 12, "steps": 12, "host": first.meta["host"]}
    assert len(table.where(**here, seconds=last["seconds"], name="first", favourite=False)) == 1
    words = str(table).splitlines()[-1].split()
    assert words[:4] == ["0", "first", "done", "12/12"] and words[4] == f"{last['total']:.3g}"


def test_only_settings_that_differ_are_columns_and_pictures_have_their_old_names(first):
    like(first, "heavy", asked={"style_weight": 4.0})
    like(first, "other", old={"content": "cat.jpg", "style_1": "waves.jpg"})
    table = runs(first.folder.parent)
    assert table.differing == ["content", "styles", "style_weight"]
    assert table.where(content="content.png").differing == ["style_weight"]
    assert names(table.where(content="cat.jpg", styles="waves.jpg")) == ["other"]
    for text in (str(table), Page(table._repr_html_()).words):
        assert "cat.jpg" in text and "waves.jpg" in text and "tv_" not in text


def test_the_settings_of_a_steered_run_are_those_of_its_end(first, settings, encoder):
    player = Player(Run.create(first.folder.with_name("steered"), settings), encoder)
    for step in player:
        if step.number == 6:
            player.steer(style_weight=4.0)
    table = runs(first.folder.parent)
    assert names(table.where(style_weight=4.0)) == ["steered"]
    assert table.differing == ["style_weight"]


def test_runs_are_chosen_by_value_by_words_and_by_a_function(first):
    for weight in (0.5, 4.0):
        like(first, f"weight {weight}", asked={"style_weight": weight, "size": None})
    Run(first.folder).mark()
    table = runs(first.folder.parent)
    for same in ("4", "4.0", "4e0"):
        assert names(table.where(style_weight=same)) == ["weight 4.0"]
    assert len(table.where(bounded="yes")) == len(table.where(mask="none")) == 3
    shown = f"{Run(first.folder).metrics[-1]['total']:.3g}"
    assert len(table.where(total=shown)) == 3
    assert set(names(table.where(style_weight=lambda weight: weight < 2))) == {
        "first",
        "weight 0.5",
    }
    assert names(table.where(favourite=True)) == ["first"]
    assert names(table.where(size=lambda size: size > 0)) == ["first"]  # None is not asked
    assert len(table.where(size=None)) == 2
    assert len(table.where(style_layers=["pixels", "relu1_1", "relu2_1"])) == 3


def test_a_value_that_no_run_has_is_answered_with_those_there_are(first):
    like(first, "heavy", asked={"style_weight": 4.0})
    table = runs(first.folder.parent)
    told = "no run with that style_weight; there are 4, 1"
    none = table.where(style_weight=3)
    assert str(none) == str(none.where(size=7)) == told and told in none._repr_html_()


def test_runs_are_sorted_by_numbers_and_words_those_without_last(first):
    for weight in (10.0, 9.0):
        like(first, f"weight {weight:g}", asked={"style_weight": weight})
    lost = like(first, "no losses")
    (lost.folder / "metrics.csv").unlink()
    table = runs(first.folder.parent)
    assert names(table.sorted("style_weight"))[2:] == ["weight 9", "weight 10"]
    assert names(table.sorted("name", reverse=True))[0] == "weight 9"
    for reverse in (False, True):
        assert names(table.sorted("style", reverse))[-1] == "no losses"


def test_an_unknown_column_is_told_with_those_there_are(first):
    table = runs(first.folder.parent)
    for ask in (lambda: table.where(beauty=1), lambda: table.sorted("beauty")):
        with pytest.raises(ValueError, match=r"no column 'beauty'; .*status.*style_weight"):
            ask()
    with pytest.raises(ValueError, match=r"no column 'stile_weight'; perhaps style_weight$"):
        table.sorted("stile_weight")


def test_a_favourite_has_a_star(first):
    like(first, "plain")
    first.mark()
    table = runs(first.folder.parent)
    assert [line.split()[1] for line in str(table).splitlines() if "*" in line] == ["first"]
    assert table._repr_html_().count("★") == 1


def test_the_host_is_told_where_it_differs(first):
    like(first, "here")
    assert runs(first.folder.parent).differing == []
    like(first, "far", host="elsewhere")
    table = runs(first.folder.parent)
    assert table.differing == ["host"] and "host=elsewhere" in str(table)


@pytest.mark.parametrize("end", [b"13,0.5,1,0.1", b"13,0.5\n", b"\0\0\0\0\n", b"13,\xff"])
def test_a_half_written_line_is_left_out(first, end):
    whole = first.metrics[-1]
    with (first.folder / "metrics.csv").open("ab") as stream:
        stream.write(end)
    assert first.last_row == whole
    assert len(runs(first.folder.parent).where(status="done", made=12)) == 1


DAMAGES = [b"", b"{", b"[]", b"{}", b'{"created": 5}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: repr(damage)[:16])
@pytest.mark.parametrize("file", ["meta.json", "settings.json"])
def test_a_damaged_run_is_shown_with_the_reason(first, file, damage):
    (like(first, "hurt").folder / file).write_bytes(damage)
    table = runs(first.folder.parent)
    assert names(table.where(status="damaged")) == ["hurt"]
    assert names(table.where(status="done")) == ["first"]
    assert len(table.where(made=12)) == 2  # its losses are there
    for text in (str(table), Page(table._repr_html_()).words):
        assert re.search(rf"{file}\W|no setting", text.partition("hurt")[2])
    assert len(Page(table._repr_html_()).pictures) == 2
    assert table.compare(60).size == side_by_side([first], 60).size
    assert "no run" in str(table.tree())


def test_what_is_left_of_a_run_is_shown(first):
    (like(first, "no settings").folder / "settings.json").unlink()
    (like(first, "no meta").folder / "meta.json").unlink()
    (first.folder.parent / "no run").mkdir()
    (first.folder.parent / "a file").touch()
    table = runs(first.folder.parent)
    assert len(table) == 3
    assert names(table.where(status="damaged")) == ["no settings"]
    assert names(table.where(status="unknown", steps=12, made=12)) == ["no meta"]  # can go on


def test_a_run_without_a_picture_and_one_with_a_cut_one_are_shown(first):
    folder = like(first, "cut").folder
    data = (folder / "result.png").read_bytes()
    (folder / "result.png").write_bytes(data[: len(data) // 2])
    folder = like(first, "none").folder
    (folder / "result.png").unlink()
    shutil.rmtree(folder / "images")
    table = runs(first.folder.parent)
    assert [each["alt"] for each in Page(table.sorted("name")._repr_html_()).pictures] == [
        "cut",
        "first",
    ]
    assert table.compare(60).width == 3 * 60 + 4 * GAP


WRITER = """import sys
from nsutils import Player, Run, Settings
player = Player(Run.create(sys.argv[1], Settings(*sys.argv[2:], size=64, smallest=52, steps=30)))
player.start().wait()
"""


def test_a_run_is_read_while_another_process_writes_it(content, style, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    words = [sys.executable, "-c", WRITER, str(folder / "live"), content, style]
    seen = []
    with subprocess.Popen(words) as writer:
        try:
            while writer.poll() is None:
                table = runs(folder)
                shown = table._repr_html_()
                seen += [(row["status"], row["made"], row.get("problem")) for row in table._rows]
                assert len(table) == 0 or "live" in shown
        finally:
            writer.kill()
    made = [number for _, number, _ in seen]
    assert made == sorted(made) and len(set(made)) > 5
    assert "playing" in {status for status, _, _ in seen}
    assert {problem for _, number, problem in seen if number} == {None}
    assert len(runs(folder).where(status="done", made=30)) == 1


def test_words_from_outside_are_escaped_and_move_no_cursor(first):
    hostile = "<img src=x onerror=alert(1)>\"'&\x1b[2J\n"
    like(
        first,
        hostile,
        old={"content": f"<script>alert(1)</script>{hostile}"},
        host=f"</table><b>{hostile}",
        parent={"id": "x", "name": "<i>", "step": "<u>", "changes": {"<s>": hostile}},
    )
    table = runs(first.folder.parent)
    for shown in (table, table.tree()):
        page = Page(shown._repr_html_())
        tags = {tag for tag, _ in page.found}
        assert not tags & {"script", "i", "u", "s"}
        assert not any("onerror" in attributes for _, attributes in page.found)
        assert all(each["src"].startswith("data:image/jpeg;base64,") for each in page.pictures)
        assert any(hostile[:28] in each["alt"] for each in page.pictures)
        assert str(shown).replace("\n", "").isprintable()


def test_the_text_keeps_to_its_width_and_loses_no_setting(first):
    asked = {"style_weight": 4.0, "tv_weight": 0.5, "optimizer": "adam", "octaves": 1, "seed": 7}
    like(first, "x" * 90 + "end", asked=asked, old={"content": "y" * 60 + ".jpg"})
    table = runs(first.folder.parent)
    head, *lines = str(table).splitlines()
    assert max(map(len, lines)) <= WIDTH
    told = [part.partition("=")[0] for part in " ".join(lines).split() if "=" in part]
    assert sorted(told) == sorted(2 * table.differing)
    assert told[-1] == "content" and "y" * 60 + ".jpg" in str(table)  # the longest is the last
    rows = [line for line in lines if "12/12" in line]
    assert {line.index("done") for line in rows} == {head.index("status")}
    assert any("xxx…xxx" in line and "end " in line for line in rows)
    assert head.index("status") == len(f"0  {'x' * LONGEST}  ")


def test_of_many_runs_the_first_are_shown(first):
    for n in range(MOST + 9):
        like(first, f"run {n:02d}")
    table = runs(first.folder.parent)
    page = Page(table._repr_html_())
    assert len(page.pictures) == MOST
    for text in (page.words, repr(table)):
        assert f"and 10 more: [{MOST}:{MOST + 10}]" in text
    assert all(f"run {n:02d}" in str(table) for n in range(MOST + 9))


def forked(first, name, parent, step, **changes):
    origin = {"id": parent, "name": parent, "step": step, "changes": changes}
    return like(first, name, parent=origin, created=f"2030-01-01T00:00:{step:02d}+00:00")


def test_the_tree_has_each_fork_below_its_parent(first):
    change(first.folder / "meta.json", {"id": "first"})
    forked(first, "heavy", "first", 3, style_weight=4.0)
    forked(first, "heavier", "heavy", 5, style_weight=9.0, tv_weight=0.1)
    forked(first, "again", "first", 6, styles=[{}, {"weight": 3.0}])
    forked(first, "orphan", "gone", 9, seed=2)
    like(first, "alone")
    table = runs(first.folder.parent)
    tree = table.tree()
    rows = [re.split("  done +12/12", line[3:]) for line in str(tree).splitlines()[1:]]
    assert [(name.rstrip(), words.strip()) for name, words in rows] == [
        ("first", ""),
        ("├─ heavy", "after step 3: style_weight 4"),
        ("│  └─ heavier", "after step 5: style_weight 9, tv_weight 0.1"),
        ("└─ again", "after step 6: style 2's weight 3"),
        ("orphan", "from gone after step 9: seed 2"),
    ]
    alts = [each["alt"] for each in Page(tree._repr_html_()).pictures]
    assert alts == names(tree) == ["first", "heavy", "heavier", "again", "orphan"]
    assert str(tree.tree()) == str(tree)
    assert str(tree[:2]) == str(table.where(name=lambda name: name in ("first", "heavy"))[::-1])


def test_side_by_side_shows_the_results_and_writes_between_the_gaps(first):
    long = "relu1_1"
    runs_ = [
        first,
        like(
            first,
            "long",
            asked={"style_weight": 4.0, "style_layers": [long]},
            old={"content": "W" * 60},
        ),
    ]
    pictures.to_image(colourful(40, 64, 9)).save(runs_[1].result)
    edge = 64
    sheet = side_by_side(runs_, edge)
    for place, run in enumerate(runs_):
        left = GAP + place * (edge + GAP)
        shown = sheet.crop((left, GAP, left + edge, GAP + 40))
        assert ImageChops.difference(shown, Image.open(run.result).convert("RGB")).getbbox() is None
        gap = sheet.crop((left - GAP, 0, left, sheet.height))
        assert gap.getcolors() == [(GAP * sheet.height, (255, 255, 255))]
        caption = sheet.crop((left, GAP + 40, left + edge, sheet.height))
        assert len(caption.getcolors(1 << 16)) > 10
    assert sheet.height > 40 + 2 * GAP + 17 * 8  # the W's alone take many lines
    assert (
        sheet.crop((0, sheet.height - GAP // 2, sheet.width, sheet.height)).getcolors()[0][1]
        == (255,) * 3
    )


@pytest.mark.parametrize(
    "text", ["one", "style_layers pixels, relu1_1", "W" * 70, "a " * 40 + "i" * 90]
)
def test_wrapped_lines_are_narrow_and_lose_no_letter(text):
    lines = wrapped(text, 100)
    assert max(map(lettering().getlength, lines)) <= 100
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_too_many_runs_to_compare_are_told(first):
    with pytest.raises(ValueError, match="0 runs to compare; choose 1 to"):
        runs(first.folder.parent).where(name="none").compare()
