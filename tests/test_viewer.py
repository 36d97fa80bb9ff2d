"""The viewer and a share's bar in a real browser: a page of their own, and a stand-in for the comm to Python."""

import base64
import io

import pytest
from conftest import colourful
from PIL import Image
from test_browser import TOO_WIDE, browser, drag, playwright, spot, until  # noqa: F401

from nsutils import pictures
from nsutils.widgets.share import Share
from nsutils.widgets.viewer import Viewer

ADDRESS = "http://viewer.test/"
PAGE = """<!doctype html><style>{css}</style><div id="box"></div><script type="module">
import widget from "./widget.js";
const state = {{}}, heard = {{}}, unsent = {{}};
const hear = names => names.forEach(name => heard["change:" + name]?.forEach(act => act()));
const model = {{
  get: name => state[name],
  set(name, value) {{ state[name] = unsent[name] = value; hear([name]); }},
  save_changes() {{ tell({{ ...unsent }}); Object.keys(unsent).forEach(name => delete unsent[name]); }},
  on: (names, act) => names.split(" ").forEach(name => (heard[name] ??= new Set()).add(act)),
  off: (name, act) => heard[name].delete(act),
}};
const bytes = text => new DataView(Uint8Array.from(atob(text), letter => letter.charCodeAt()).buffer);
window.put = values => {{
  for (const [name, value] of Object.entries(values)) state[name] = value?.bytes == null ? value : bytes(value.bytes);
  hear(Object.keys(values));
}};
window.start = () => {{ window.close = widget.render({{ model, el: document.querySelector("#box") }}); }};
Object.assign(window, {{ heard, state }});
</script>"""
# Timers that wait for `later()`, as they do in a busy browser while a hand moves something.
TIMERS = """() => {
  const waiting = new Map();
  let count = 0;
  window.setTimeout = act => (waiting.set(++count, act), count);
  window.clearTimeout = number => waiting.delete(number);
  window.later = () => { for (const [number, act] of waiting) { waiting.delete(number); act(); } };
}"""
PLACE = """() => { const [image, stage] = [".under img", ".stage"].map(name =>
  document.querySelector(name).getBoundingClientRect());
  return [image.width / stage.width, (image.x - stage.x) / stage.width, (image.y - stage.y) / stage.height] }"""


class Stand:
    """A widget in Python and its view in a page; `put` is what a kernel does, `sent` what the page has sent."""

    def __init__(self, page, widget):
        self.page, self.widget, self.sent = page, widget, []
        page.expose_function("tell", self._told)
        page.route(f"{ADDRESS}**", self._serve)
        page.goto(ADDRESS)
        page.evaluate("values => put(values)", packed(widget.get_state()))
        page.evaluate("start()")

    def _serve(self, route):
        if route.request.url.endswith(".js"):
            route.fulfill(body=self.widget._esm, content_type="text/javascript")
        else:
            route.fulfill(body=PAGE.format(css=self.widget._css), content_type="text/html")

    def _told(self, values):
        self.sent.append(values)
        self.widget.set_state(values)

    def put(self, **values):
        for name, value in values.items():
            setattr(self.widget, name, value)
        self.page.evaluate("values => put(values)", packed(values))

    def shows(self, image):
        """Waits until this is the picture."""
        self.page.wait_for_function(
            "width => document.querySelector('.under img')?.naturalWidth === width",
            arg=image.width,
        )

    def slider(self, name):
        return self.page.get_by_role("slider", name=name)

    @property
    def place(self):
        """The zoom, and the picture's left upper corner in parts of the stage."""
        return self.page.evaluate(PLACE)

    def colour(self, x, y):
        """What is seen at a place in parts of the stage."""
        stage = Image.open(io.BytesIO(self.page.locator(".stage").screenshot())).convert("RGB")
        return stage.getpixel((int(x * stage.width), int(y * stage.height)))


def packed(values):
    return {
        name: {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in values.items()
    }


def flat(colour, width=400, height=300):
    return Image.new("RGB", (width, height), colour)


def sent(image):
    return pictures.png(image, {})


@pytest.fixture(scope="module")
def context(browser):  # noqa: F811
    context = browser.new_context(viewport={"width": 640, "height": 700}, has_touch=True)
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def stand(context):
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    stand = Stand(page, Viewer())
    stand.put(picture=sent(flat("red")), caption="result")
    stand.shows(flat("red"))
    yield stand
    assert page.wrong == []
    page.close()


def test_a_picture_is_shown_in_its_full_size():
    viewer = Viewer()
    viewer.show(pictures.to_image(colourful(40, 64, 1)), "step 3")
    assert Image.open(io.BytesIO(viewer.picture)).size == (64, 40)
    assert viewer.caption == "step 3" and viewer.step == -1


@pytest.mark.browser
def test_scrubbing_by_keys_sends_the_kept_steps(stand):
    scrubber = stand.slider("Step")
    playwright.expect(scrubber).to_be_hidden()
    stand.put(steps=[10, 20, 40])
    playwright.expect(scrubber).to_have_attribute("aria-valuetext", "newest")
    for key, step, words in [
        ("ArrowLeft", 40, "step 40"),
        ("Home", 10, "step 10"),
        ("ArrowRight", 20, "step 20"),
    ]:
        scrubber.press(key)
        playwright.expect(scrubber).to_have_attribute("aria-valuetext", words)
        until(stand.page, lambda step=step: stand.widget.step == step)
    stand.put(steps=[20, 40, 80, 160])  # the chosen one stays the chosen one
    assert scrubber.input_value() == "0"
    scrubber.press("End")
    playwright.expect(scrubber).to_have_attribute("aria-valuetext", "newest")
    until(stand.page, lambda: stand.widget.step == -1)
    assert [values["step"] for values in stand.sent] == [40, 10, 20, -1]


@pytest.mark.browser
def test_the_divider_cuts_where_it_stands_zoomed_or_not(stand):
    divider = stand.slider("Divider between content and result")
    playwright.expect(stand.slider("Divider")).to_be_hidden()
    stand.put(other=sent(flat("blue", 200, 150)), other_caption="content")
    playwright.expect(divider).to_have_attribute("aria-valuetext", "50 %")
    blue, red = (0, 0, 255), (255, 0, 0)
    assert [stand.colour(x, 0.2) for x in (0.01, 0.45, 0.55, 0.99)] == [blue, blue, red, red]
    for _ in range(2):
        divider.press("PageUp")
    playwright.expect(divider).to_have_attribute("aria-valuetext", "70 %")
    assert [stand.colour(x, 0.2) for x in (0.66, 0.74)] == [blue, red]
    stand.page.get_by_role("button", name="Zoom in").click()
    assert stand.place[0] > 1.2
    assert [stand.colour(x, 0.2) for x in (0.66, 0.74)] == [blue, red]
    place = stand.place
    drag(stand.page.locator(".stage"), (0.7, 0.1), (0.3, 0.1))
    playwright.expect(divider).to_have_attribute("aria-valuetext", "30 %")
    assert [stand.colour(x, 0.2) for x in (0.26, 0.34)] == [blue, red]
    assert stand.place == place


@pytest.mark.browser
def test_a_picture_of_another_shape_beside_it_is_not_stretched(stand):
    stand.put(picture=sent(flat("red")), other=sent(flat("blue", 200, 200)))
    beside = stand.page.locator(".over img")
    playwright.expect(beside).to_have_css("object-fit", "contain")
    stand.put(other=sent(flat("blue", 201, 150)))  # as rounded at another scale
    playwright.expect(beside).to_have_css("object-fit", "fill")


@pytest.mark.browser
def test_the_place_stays_when_the_picture_changes(stand):
    large = flat("green", 1600, 1200)
    stand.put(picture=sent(large))
    stand.shows(large)
    stage = stand.page.locator(".stage")
    before = stage.bounding_box()
    stage.dblclick(position={"x": 0.25 * before["width"], "y": 0.75 * before["height"]})
    real = 1600 / before["width"]  # one pixel of it for one of the page
    assert stand.place == pytest.approx([real, 0.25 * (1 - real), 0.75 * (1 - real)], abs=0.01)
    assert "100 %" in stand.page.locator(".zoom").inner_text()
    stand.page.keyboard.press("ArrowRight")
    stand.page.keyboard.press("+")
    place = stand.place
    assert place[0] == pytest.approx(1.5 * real, abs=0.01)
    stand.put(picture=sent(flat("yellow", 800, 600)))
    stand.shows(flat("yellow", 800, 600))
    assert stand.place == place and stage.bounding_box() == before
    assert stand.colour(0.5, 0.5) == (255, 255, 0)
    stand.page.keyboard.press("0")
    assert stand.place == pytest.approx([1, 0, 0])


@pytest.mark.browser
def test_keys_in_the_viewer_are_no_commands_of_the_notebook(stand):
    stand.put(steps=[10, 20])
    stand.page.evaluate(
        "() => { window.keys = []; document.addEventListener('keydown', event => keys.push(event.key)) }"
    )
    for part in (".stage", ".steps input", "[data-act=in]"):
        for key in ("b", "0", "0", "ArrowLeft", "Control+b", "Escape"):
            stand.page.locator(part).press(key)
    assert stand.page.evaluate("keys") == 3 * ["Control", "b", "Escape"]


@pytest.mark.browser
def test_the_picture_follows_the_pointer_and_the_wheel(stand):
    stage = stand.page.locator(".stage")
    stand.page.mouse.move(*spot(stage, 0.25, 0.25))
    stand.page.mouse.wheel(0, -100)  # the page's
    stand.page.keyboard.down("Control")
    stand.page.mouse.wheel(0, -100)
    stand.page.keyboard.up("Control")
    stand.page.wait_for_function(f"({PLACE})()[0] > 1")
    zoom, x, y = stand.place
    assert zoom == pytest.approx(2.718**0.2, rel=0.01)
    assert x == pytest.approx(0.25 * (1 - zoom), abs=0.01) == y  # what is under the pointer stays
    drag(stage, (0.25, 0.25), (0.2, 0.23))
    assert stand.place == pytest.approx([zoom, x - 0.05, y - 0.02], abs=0.01)
    stand.page.mouse.down()
    stand.page.mouse.move(5, 5, steps=3)  # the picture's edges do not leave the box
    stand.page.mouse.up()
    assert stand.place[1:] == pytest.approx([max(x - 0.25, 1 - zoom), 1 - zoom], abs=0.02)


@pytest.mark.browser
def test_two_fingers_spread_the_picture(stand):
    stage = stand.page.locator(".stage")
    fingers = stand.page.context.new_cdp_session(stand.page)

    def touch(kind, *places):
        spots = [spot(stage, *place) for place in places]
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(spots)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (0.4, 0.5), (0.6, 0.5))
    touch("touchMove", (0.3, 0.5), (0.7, 0.5))
    touch("touchMove", (0.2, 0.5), (0.6, 0.5))  # both to the left
    touch("touchEnd")
    assert stand.place == pytest.approx([2, -0.6, -0.5], abs=0.02)


@pytest.mark.browser
def test_an_older_picture_never_wins_and_none_is_kept(stand):
    stand.page.evaluate("""() => {
      window.alive = new Set();
      const { createObjectURL, revokeObjectURL } = URL;
      URL.createObjectURL = blob => { const url = createObjectURL(blob); alive.add(url); return url; };
      URL.revokeObjectURL = url => { alive.delete(url); revokeObjectURL(url); };
      const decode = Image.prototype.decode, sent = new Promise(all => window.all = all);
      Image.prototype.decode = async function () {  // when all are sent, the larger the slower
        await decode.call(this);
        await sent;
        for (let frame = 0; frame < this.naturalWidth / 100; frame++) await new Promise(requestAnimationFrame);
      };
      window.seen = [];
      new MutationObserver(() => seen.push(document.querySelector(".under img")?.naturalWidth))
        .observe(document.querySelector(".under"), { childList: true }) }""")
    for width in (1200, 1100, 1000, 400, 200):
        stand.put(picture=sent(flat("green", width, width * 3 // 4)))
    stand.put(picture=b"no picture", caption="broken")
    stand.put(picture=sent(flat("green", 100, 75)))
    stand.page.evaluate("all()")
    stand.shows(flat("green", 100, 75))
    seen = stand.page.evaluate("seen")
    assert seen == [1200, 100], "the one in hand, then the newest"
    assert stand.page.evaluate("alive.size") == 1
    stand.page.evaluate("close()")
    assert stand.page.evaluate("alive.size") == 0
    assert stand.page.evaluate("Object.values(heard).every(acts => acts.size === 0)")


@pytest.mark.browser
@pytest.mark.parametrize("size", [(400, 300), (100, 400), (900, 100)])
def test_nothing_is_wider_than_a_narrow_box(stand, size):
    stand.put(steps=[*range(0, 12000, 500)], step=10500, other=sent(flat("blue")))
    stand.put(picture=sent(flat("red", *size)), caption="settings_" * 12, other_caption="before")
    stand.page.wait_for_selector(".over img")
    stand.shows(flat("red", *size))
    box = stand.page.locator("#box")
    box.evaluate("e => e.style.width = '300px'")
    assert box.evaluate(TOO_WIDE, ":not(.stage *)") == []
    assert stand.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    stage = stand.page.locator(".stage").bounding_box()
    assert stage["width"] / stage["height"] == pytest.approx(size[0] / size[1], rel=0.02)
    assert stage["height"] <= 560.5


@pytest.mark.browser
def test_a_bar_that_was_moved_away_and_back_or_taken_away_follows_its_share_again(context):
    page = context.new_page()
    page.add_init_script(f"({TIMERS})()")
    Stand(page, Share(name="share", share=0.5))
    bar = page.get_by_role("slider")
    box = bar.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y)
    page.evaluate("put({ share: 0.9 })")
    assert bar.input_value() != "90", "a hand is on it"
    page.mouse.move(x, y)
    page.mouse.up()
    page.evaluate("later()")
    page.wait_for_function("put({ share: 0.8 }) || document.querySelector('input').value === '80'")
    page.mouse.move(box["x"] + box["width"] * 0.8, y)
    page.mouse.down()
    page.mouse.move(x, y)
    page.evaluate("put({ share: -1 })")
    page.mouse.up()
    page.wait_for_function("put({ share: 0.2 }) || document.querySelector('input').value === '20'")
    assert page.evaluate("state.asked") == -1
    page.mouse.click(box["x"] + box["width"] * 0.2, y)
    page.mouse.down()
    page.mouse.move(x, y)
    page.evaluate("later()")  # what the click left does not take this from it
    page.mouse.up()
    page.wait_for_function("Math.abs(state.asked - 0.5) < 0.05")
    page.close()
