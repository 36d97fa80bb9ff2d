"""Reports in a browser, without a network: what they show, what may run in them, and how they are worked."""

import base64
import hashlib
import io
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from test_browser import browser, playwright  # noqa: F401

from nsutils import Player, Run, Settings
from nsutils.figures import Divided
from nsutils.notebook import page as notebook_page
from nsutils.report import report

pytestmark = pytest.mark.browser
ATTACK = "document.title='taken'"
HOSTILE = f"</script><script>{ATTACK}</script><img src=x onerror={ATTACK}>\"'><b onclick={ATTACK}>"
PICTURES = "() => [...document.images].filter(image => image.naturalWidth && image.alt).length"
AT = "() => getComputedStyle(document.querySelector('.compare')).getPropertyValue('--at')"


@pytest.fixture
def run(content, style, encoder, tmp_path):
    layers = {"content_layers": "relu2_2", "style_layers": ("pixels", "relu1_1")}
    settings = Settings(content, style, size=64, smallest=52, steps=8, scale_steps=(3,), **layers)
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 4:
            player.steer(style_weight=4.0)
    return player.run


@pytest.fixture
def opened(browser, tmp_path):  # noqa: F811
    """Opens a text as a page, and writes down what it asks others for and what goes wrong in it."""
    contexts = []

    def open_page(text, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page, file = context.new_page(), tmp_path / "page.html"
        file.write_text(text)
        page.asked, page.wrong = [], []
        context.route("http*://**", lambda route: page.asked.append(route.request.url))
        page.on("console", lambda message: page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("dialog", lambda dialog: page.wrong.append(dialog.message))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_hostile_names_stay_words(content, style, encoder, opened, tmp_path):
    names = {}
    for kind, file in {"content": content, "style": style}.items():
        names[kind] = tmp_path / f"{kind}<img src=x onerror={ATTACK}>\"'><b>&lt;.png"
        names[kind].write_bytes(Path(file).read_bytes())
    layers = {"content_layers": "relu2_2", "style_layers": "relu1_1"}
    settings = Settings(str(names["content"]), str(names["style"]), size=64, steps=4, **layers)
    run = Run.create(tmp_path / "<b>run<script>", settings)
    list(Player(run, encoder))
    meta = run.meta
    meta["inputs"]["content"]["name"] = meta["inputs"]["style_1"]["name"] = HOSTILE
    meta["inputs"]["content"]["sha256"] = HOSTILE
    parent = {"name": HOSTILE, "step": HOSTILE, "changes": {HOSTILE: HOSTILE}}
    named = dict.fromkeys(("error", "host", "device", "created"), HOSTILE)
    run.note(inputs=meta["inputs"], parent=parent, versions={HOSTILE: HOSTILE}, **named)
    (run.folder / "steering.jsonl").write_text("")
    run.steered(2, {"init": HOSTILE})
    run.notes = HOSTILE
    page = opened(report(run, run))
    assert page.title() == "2 runs" and page.wrong == page.asked == []
    assert page.locator("script").count() == 3
    assert page.locator("b, [onerror], [onclick], img[src=x]").count() == 0
    assert page.locator("h1", has_text=HOSTILE).count() == 2
    page.get_by_text("Play", exact=True).first.click()
    page.locator("output", has_text="step").first.wait_for()
    assert page.title() == "2 runs" and page.wrong == []


def test_without_scripts_all_is_there(run, opened):
    page = opened(report(run), java_script_enabled=False)
    heads = ["How it came about", "Losses", "Steering", "Recipe, as it began", "To repeat it"]
    heads += ["Pictures it was made from", "Forecast and measured", "Made with"]
    assert page.locator("h2").all_inner_texts() == heads
    assert page.locator("img:visible").count() == len(run.images) + 3
    assert page.locator("button, input").count() == 0
    assert page.wrong == page.asked == []


def test_pictures_are_seen_and_nothing_is_asked_for(run, opened):
    page = opened(report(run))
    page.wait_for_load_state("load")
    assert page.evaluate(PICTURES) == page.locator("img").count() == len(run.images) + 5
    assert page.wrong == page.asked == []


def test_the_divider_moves_by_keys_and_by_the_mouse(run, opened):
    page = opened(report(run))
    handle = page.get_by_role("slider", name="Content against result")
    assert page.evaluate(AT) == "0%"
    handle.press("End")
    assert page.evaluate(AT) == "100%"
    box = handle.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.evaluate(AT) in ("49%", "50%", "51%")


def test_kept_steps_are_leafed_through_and_played(run, opened):
    page = opened(report(run))
    handle, said = page.get_by_role("slider", name="Kept step"), page.locator(".player output")
    assert said.inner_text() == "start"
    handle.press("ArrowRight")
    assert said.inner_text() == "step 1" and handle.get_attribute("aria-valuetext") == "step 1"
    shown = page.locator(".player img").get_attribute("src")
    assert shown == page.get_by_alt_text("the picture at step 1", exact=True).last.get_attribute(
        "src"
    )
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator(".player output", has_text="result").wait_for()
    page.locator(".player output", has_text="start").wait_for()  # round again
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Play", exact=True).wait_for()


def test_an_input_is_saved_as_it_is_packed(run, opened):
    page = opened(report(run))
    with page.expect_download() as saving:
        page.get_by_role("link", name="save").first.click()
    data = saving.value.path().read_bytes()
    assert saving.value.suggested_filename.startswith("content.")
    facts = run.meta["inputs"]["content"]
    known = (run.folder / facts["file"]).read_bytes()
    pixels = [Image.open(io.BytesIO(some)).convert("RGB").tobytes() for some in (data, known)]
    assert hashlib.sha256(data).hexdigest() == facts["sha256"] or pixels[0] == pixels[1]


@pytest.mark.parametrize("width", [390, 1100])
def test_no_page_is_wider_than_the_screen(run, opened, width):
    long = "a" * 300
    run.note(error=long, parent={"name": long, "step": 1, "changes": {"style_layers": [long]}})
    page = opened(report(run, run), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_notebooks_page_shows_its_pictures_and_runs_nothing(content, opened, tmp_path):
    image = base64.b64encode(Path(content).read_bytes()).decode()
    markup = f"<script>{ATTACK}</script><img src=https://example.org/x.png onerror={ATTACK}>"
    markup += "<meta http-equiv=refresh content='0; url=https://example.org'><table><td>7</table>"
    outputs = [
        nbformat.v4.new_output("display_data", {"image/png": image}),
        nbformat.v4.new_output("display_data", {"text/html": markup}),
        nbformat.v4.new_output("display_data", {"application/javascript": ATTACK}),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# A question"),
        nbformat.v4.new_code_cell("a < b", execution_count=1, outputs=outputs),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    page = opened(notebook_page(tmp_path / "a.ipynb"))
    page.wait_for_load_state("load")
    assert page.title() == page.locator("h1").inner_text() == "A question"
    assert page.locator("pre").first.inner_text().strip() == "a < b"
    assert page.locator("td").inner_text() == "7"
    assert page.evaluate(PICTURES) == 1
    assert "In [" not in page.inner_text("body") and page.asked == []


def test_a_notebooks_divider_moves_in_its_page(opened, tmp_path):
    pair = Divided(
        Image.new("RGB", (60, 40), "red"), Image.new("RGB", (60, 40), "blue"), ("a", "b")
    )
    output = nbformat.v4.new_output("display_data", {"text/html": pair._repr_html_()})
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), file := tmp_path / "a.ipynb")
    page = opened(notebook_page(file))
    page.get_by_label("Divider between a and b").press("Home")
    over = page.get_by_alt_text("b")
    playwright.expect(over).to_have_css("clip-path", "inset(0px 0px 0px 0%)")
    assert not page.wrong, "its policy lets it move"
