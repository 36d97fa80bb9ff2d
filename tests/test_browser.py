"""The panel in a live JupyterLab, worked as a reader works it: by keys and clicks, judged by what the page shows."""

import base64
import contextlib
import functools
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from conftest import colourful
from PIL import Image

from nsutils import Run, Settings, pictures

pytestmark = pytest.mark.browser
NO_BROWSER = "left out: no Chromium; apt install chromium, or .venv/bin/playwright install --with-deps chromium"
playwright = pytest.importorskip("playwright.sync_api", reason=NO_BROWSER)

PATIENCE = 90  # seconds until a wait on an effect has failed: other tests compute beside it
playwright.expect.set_options(timeout=1000 * PATIENCE)

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DOWNLOAD_SECONDS = 300

CELL = """from nsutils import Settings
from nsutils.panel import Panel

settings = Settings("content.png", "style.png", size=96, smallest=64, steps=1000, scale_steps=(20,), every=100)
panel = Panel(settings, "runs")
panel"""
SHOWN = ".nsutils-viewer .under img"  # once the cell has run
OPEN = """async () => {
  const notebook = window.jupyterapp.shell.currentWidget;
  await notebook.context.ready;
  await notebook.context.sessionContext.ready;
  return notebook.context.sessionContext.session?.kernel?.status !== undefined }"""
COMMAND = "command => window.jupyterapp.commands.execute(command)"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
# A blob's address says nothing about the picture: the bytes are compared.
BYTES = """async selector => {
  const bytes = new Uint8Array(await (await fetch(document.querySelector(selector).src)).arrayBuffer());
  return bytes.join() }"""
NAMELESS = """() => {
  const words = e => [e.getAttribute("aria-label"), e.labels?.[0]?.textContent, e.textContent, e.title, e.placeholder];
  const named = e => words(e).some(found => found?.trim());
  const controls = ".nsutils-panel :is(button, input, select, [role=slider], [tabindex='0'])";
  const shown = [...document.querySelectorAll(controls)].filter(e => e.checkVisibility());
  return shown.filter(e => !named(e)).map(e => e.outerHTML) }"""
SAID_AND_SHOWN = """e => {
  const shown = e.closest(".jupyter-widgets").querySelector(".widget-readout").textContent;
  return [e.getAttribute("aria-valuetext"), shown] }"""
OTHER_BYTES = f"async ([selector, old]) => await ({BYTES})(selector) !== old"
# Of a box, those of the parts that it should hold that stand out at its right.
TOO_WIDE = """(box, parts) => { const right = e => e.getBoundingClientRect().right, edge = right(box) + 1;
  return [...box.querySelectorAll(parts)].filter(e => right(e) > edge).map(e => e.outerHTML) }"""


@pytest.fixture(scope="module")
def folder(request, tmp_path_factory):
    """What the JupyterLab shows: a notebook with the test module's cell, and two pictures."""
    folder = tmp_path_factory.mktemp("lab")
    for name, seed in {"content": 1, "style": 2}.items():
        pictures.to_image(colourful(120, 160, seed)).save(folder / f"{name}.png")
    code = request.module.CELL
    cells = [nbformat.v4.new_code_cell(code), nbformat.v4.new_markdown_cell("the last cell")]
    # Without a kernelspec a dialog asks for one and takes every click.
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "shown.ipynb")
    return folder


@functools.cache
def fetched(file):
    """Whether Playwright's own Chromium is there, which is tried to be fetched once."""
    if not os.path.exists(file):
        words = [sys.executable, "-m", "playwright", "install", "chromium"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(words, capture_output=True, timeout=DOWNLOAD_SECONDS, check=False)
    return os.path.exists(file)


@pytest.fixture(scope="module")
def browser():
    """The machine's Chromium, else Playwright's own if it comes and starts; else these tests are left out."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    with playwright.sync_playwright() as play:
        own = play.chromium.executable_path
        if not found and not fetched(own):
            pytest.skip(NO_BROWSER)
        try:
            browser = play.chromium.launch(executable_path=found or own, args=["--no-sandbox"])
        except playwright.Error:
            if found:
                raise
            pytest.skip(NO_BROWSER)  # the libraries that it needs are not there
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(browser, folder, tmp_path_factory):
    """The address of a JupyterLab over `folder`, with settings of its own."""
    home = tmp_path_factory.mktemp("home")
    notes = home / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    notes.parent.mkdir(parents=True)
    notes.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    places = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    port = free_port()
    options = [
        *("--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
    ]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            env=os.environ | {name: str(place) for name, place in places.items()},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until_it_answers(server, f"{address}/api/status", home / "log")
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def notebook(request, browser, lab):
    """The page with the notebook, its cells run once."""
    page = browser.new_page(viewport={"width": 1366, "height": 1000}, has_touch=True)
    page.set_default_timeout(1000 * PATIENCE)
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{lab}/lab/tree/shown.ipynb")
    opened(page)
    page.evaluate(COMMAND, "notebook:run-all-cells")
    page.wait_for_selector(request.module.SHOWN)
    yield page
    page.close()


@pytest.fixture
def page(notebook):
    """The page, and no run in it at the end."""
    yield notebook
    if button(notebook, "Stop").is_enabled():
        stop(notebook)


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def until_it_answers(server, address, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.2)
            break
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


def opened(page):
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("document.querySelectorAll('.jp-Spinner').length === 0")
    assert page.evaluate(OPEN)


def button(page, name):
    return page.locator(".nsutils-panel").get_by_role("button", name=name, exact=True)


def slider(page, name):
    return page.locator(".nsutils-panel").get_by_role("slider", name=name, exact=True)


def reads(handle):
    """What a screen reader says of it; the same stands beside it, both read at one moment."""
    said, shown = handle.evaluate(SAID_AND_SHOWN)
    assert said == shown
    return said


def run(page):
    """Presses Run and waits for content, style and start; the last run's tiles are gone once it can be stopped."""
    button(page, "Run").click()
    playwright.expect(button(page, "Stop")).to_be_enabled()
    page.wait_for_function(
        "document.querySelectorAll('.nsutils-panel .tile:not(.empty)').length >= 3"
    )


def stop(page):
    button(page, "Stop").click()
    page.locator(".nsutils-panel .said", has_text="Stopped").wait_for()
    playwright.expect(button(page, "Stop")).to_be_disabled()


def spot(stage, x, y):
    """A place in the page by its parts of a picture there."""
    box = stage.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(stage, *path):
    mouse = stage.page.mouse
    mouse.move(*spot(stage, *path[0]))
    mouse.down()
    for place in path[1:]:
        mouse.move(*spot(stage, *place), steps=5)
    mouse.up()


def newest(folder):
    return max((folder / "runs").glob("*/settings.json"), key=os.path.getmtime).parent


def test_a_slider_has_a_name_and_moves_by_keys(page):
    handle = slider(page, "Style weight")
    assert reads(handle) == "1"
    handle.press("ArrowRight")
    playwright.expect(handle).not_to_have_attribute("aria-valuetext", "1")
    assert float(reads(handle)) == pytest.approx(10**0.05, rel=0.01)
    handle.press("ArrowLeft")
    playwright.expect(handle).to_have_attribute("aria-valuetext", "1")


def test_a_number_is_typed_with_a_comma_as_well(page):
    handle = slider(page, "Style weight")
    number = page.get_by_role("textbox", name="Style weight, as a number")
    for typed, meant in {"0,5": 0.5, "1,0": 1.0}.items():
        number.click()
        number.press("ControlOrMeta+a")
        number.press_sequentially(typed)
        number.press("Enter")
        playwright.expect(handle).to_have_attribute("aria-valuetext", re.compile(rf"^{meant:.2g}"))
        assert float(reads(handle)) == pytest.approx(meant, rel=0.06)


def test_a_weight_of_0_reads_0(page):
    handle = slider(page, "Total variation")
    handle.press("Home")
    playwright.expect(handle).to_have_attribute("aria-valuetext", "0")
    handle.press("ArrowRight")
    playwright.expect(handle).not_to_have_attribute("aria-valuetext", "0")
    assert float(reads(handle)) > 0
    handle.press("Home")
    playwright.expect(handle).to_have_attribute("aria-valuetext", "0")


def test_every_control_has_a_name_and_lets_no_letter_through(page):
    cells, handle = page.evaluate(CELLS), slider(page, "Style weight")
    for fold in ("Faces and shapes", "Layers"):
        button(page, fold).press("Enter")
        assert page.evaluate(NAMELESS) == []
    controls = [
        slider(page, "weight of relu1_1"),
        page.get_by_role("checkbox", name="relu1_1").first,
        page.get_by_role("checkbox", name="Wait at the preview"),
        page.get_by_role("tab", name="Losses"),
        button(page, "Pin"),
        handle,
    ]
    for control in controls:
        for letter in "bxaddm":
            control.press(letter)
    handle.press("ArrowRight")  # comes after them, and is seen
    playwright.expect(handle).not_to_have_attribute("aria-valuetext", "1")
    assert page.evaluate(CELLS) == cells
    handle.press("ArrowLeft")
    button(page, "Layers").press("Enter")


def test_a_bar_under_a_weight_shows_its_share_and_moves_it(page):
    run(page)
    bar, handle = slider(page, "Style weight, share"), slider(page, "Style weight")
    playwright.expect(bar).to_be_enabled()
    before = float(reads(handle))
    bar.press("ArrowRight")
    until(page, lambda: float(reads(handle)) > before)


@pytest.mark.parametrize("width", [1366, 900, 700])
def test_nothing_is_wider_than_the_output(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    layers = button(page, "Layers")
    layers.press("Enter")
    page.get_by_label("relu1_1").first.wait_for()
    output = page.locator(".jp-OutputArea-output:has(.nsutils-panel)")
    assert output.evaluate(TOO_WIDE, ".nsutils-panel *") == []
    layers.press("Enter")
    page.set_viewport_size({"width": 1366, "height": 1000})


def test_a_run_is_seen_steered_and_stopped(page, folder):
    still = page.evaluate(BYTES, SHOWN)
    run(page)
    page.wait_for_function(OTHER_BYTES, arg=[SHOWN, still])
    assert page.locator(SHOWN).evaluate("image => image.naturalWidth") > 100
    settings = json.loads((newest(folder) / "settings.json").read_text())
    given = Settings("content.png", "style.png").content_weight
    assert settings["content_weight"] == pytest.approx(given, rel=1e-9)  # not rounded by the page
    slider(page, "Content weight").press("ArrowRight")
    record = newest(folder) / "steering.jsonl"
    until(page, lambda: record.exists() and record.read_text().endswith("\n"))
    (line,) = record.read_text().splitlines()
    assert json.loads(line)["content_weight"] == pytest.approx(given * 10**0.05, rel=1e-3)
    stop(page)
    assert json.loads((newest(folder) / "meta.json").read_text())["status"] == "stopped"


def test_the_saved_notebook_holds_the_picture_and_no_widgets(page, folder):
    run(page)
    stop(page)
    line = page.locator(".jp-OutputArea-output p", has_text=newest(folder).name)
    line.wait_for(state="attached")
    assert not line.is_visible(), "the panel shows the same"
    page.evaluate(COMMAND, "docmanager:save")
    saved = nbformat.read(folder / "shown.ipynb", as_version=4)
    assert "widgets" not in saved.metadata
    shown = [output.data for output in saved.cells[0].outputs]
    (jpeg,) = (data["image/jpeg"] for data in shown if "image/jpeg" in data)
    sheet = Image.open(io.BytesIO(base64.b64decode(jpeg))).convert("RGB")
    assert all(high - low > 100 for low, high in sheet.getextrema())
    (words,) = (data["text/html"] for data in shown if "text/html" in data)
    assert newest(folder).name in words and "style_weight" in words


def test_a_reloaded_page_finds_the_run_going_on(page):
    run(page)
    page.evaluate(COMMAND, "docmanager:save")
    page.reload()
    opened(page)
    page.wait_for_selector(SHOWN)
    seen = page.evaluate(BYTES, SHOWN)
    page.wait_for_function(OTHER_BYTES, arg=[SHOWN, seen])
    stop(page)


def until(page, holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        page.wait_for_timeout(50)


def test_a_stroke_of_the_brush_is_the_mask_of_the_next_run(page, folder):
    page.get_by_role("tab", name="Protect").click()
    stage, status = map(page.locator(".nsutils-brush").locator, (".stage", "[role=status]"))
    drag(stage, (0.2, 0.5), (0.4, 0.5))
    status.filter(has_text="of the picture is marked").wait_for()
    run(page)
    stop(page)
    with Image.open(newest(folder) / "inputs/mask.png") as mask:
        width, height = mask.size
        assert mask.getpixel((int(0.3 * width), height // 2)) > 200
        assert mask.getpixel((int(0.8 * width), height // 2)) == 0
    button(page, "Clear").click()
    status.filter(has_text="Nothing is marked").wait_for()
    stage.press("Control+z")
    status.filter(has_text="of the picture is marked").wait_for()
    page.get_by_role("tab", name="Picture").click()


def test_a_preset_moves_the_sliders_and_the_page_leaves_them_there(page, folder):
    page.get_by_label("Settings of").select_option("gatys")
    wanted = {"Content weight": "1", "Style weight": "1000", "Total variation": "0", "Size": "512"}
    for name, value in wanted.items():
        playwright.expect(slider(page, name)).to_have_attribute("aria-valuetext", value)
    button(page, "Run").click()
    playwright.expect(button(page, "Stop")).to_be_enabled()
    stop(page)
    settings = json.loads((newest(folder) / "settings.json").read_text())
    weights = {"content_weight": 1.0, "style_weight": 1000.0, "tv_weight": 0.0}
    others = {"size": 512, "gram_divisor": "pixels", "encoder": "slim"}
    assert settings == settings | weights | others


def test_a_run_whose_kernel_was_killed_goes_on_at_the_press_of_a_button(page, folder):
    page.evaluate(COMMAND, "notebook:run-all-cells")
    playwright.expect(slider(page, "Iterations")).to_have_attribute("aria-valuetext", "1000")
    run(page)
    cut = Run(newest(folder))
    until(page, lambda: cut.last)
    os.kill(cut.meta["pid"], signal.SIGKILL)
    page.locator(".jp-Dialog", has_text="restart").get_by_role("button", name="Ok").click()
    assert cut.status == "interrupted"
    made = len(cut.metrics)
    page.evaluate(COMMAND, "notebook:run-all-cells")
    page.get_by_role("button", name="Go on with the run that was cut off").click()
    until(page, lambda: cut.status == "playing" and len(cut.metrics) > made)
    stop(page)
    steps = [row["step"] for row in cut.metrics]
    assert steps == list(range(1, len(steps) + 1)) and newest(folder) == cut.folder
    with page.expect_download() as saved:
        button(page, "Report").click()
        page.get_by_role("link", name="Save the report").click()
    assert saved.value.suggested_filename == f"{cut.folder.name}.html"


def test_a_picture_above_10_mb_is_sent_and_chosen(page, folder, tmp_path):
    """Jupyter's server cuts the connection at a message of that length."""
    noise = Image.frombytes("RGB", (2000, 2000), os.urandom(3 * 2000 * 2000))
    noise.save(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 11 * 2**20
    page.locator(".nsutils-upload input").first.set_input_files(tmp_path / "noise.png")
    content = page.get_by_label("Content", exact=True)
    playwright.expect(content.locator("option:checked")).to_have_text("noise.png")
    (kept,) = (folder / "runs/uploads").glob("*/noise.png")
    assert kept.read_bytes() == (tmp_path / "noise.png").read_bytes()
    playwright.expect(button(page, "Upload").first).to_be_enabled()
