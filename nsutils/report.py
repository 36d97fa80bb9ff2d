"""Runs as one self-contained HTML file, and what it takes to repeat them back out of it. It asks nothing of anyone."""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from nsutils import pictures, recipe
from nsutils.cost import duration, gigabytes
from nsutils.curves import loss_curves
from nsutils.figures import Grid, latest, readable, tiles
from nsutils.parcel import Parcel, intact, packed
from nsutils.run import Run
from nsutils.targets import shown

STYLE, SCRIPT = (Path(__file__).with_suffix(suffix) for suffix in (".css", ".js"))
MOST, MOST_WITH_INPUTS = 2_000_000, 5_000_000  # bytes of a page
ROOM = 1_250_000  # bytes for pictures, which base64 makes a third larger
STEPS, A_STEP = 40, 9_000  # kept pictures shown at most; bytes from which one is worth showing
LARGE, SMALL = 1280, 480  # pixels
EDGES = (1, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1)  # parts of these, for pictures that take too much
LEFT_OUT = "The pictures are left out: with them this file would be larger than 5 MB."


def report(*runs: Run, small: bool = False) -> str:
    """The HTML text, at most 2 MB large; with the pictures to repeat the runs from, if they fit, 5 MB.

    `small` leaves these out. ValueError for more runs than fit.
    """
    if not runs:
        raise ValueError("no runs to report on; name one or more")
    packs, stock = anchored([packed(run, small) for run in runs])
    if too_large := sum(map(len, stock.values())) > MOST_WITH_INPUTS - MOST:
        packs, stock = anchored([packed(run, small=True) for run in runs])
    inside, room, note = sum(map(len, stock.values())), ROOM // len(runs), LEFT_OUT * too_large
    body = overview(runs, room) if len(runs) > 1 else ""
    for n, (run, pack) in enumerate(zip(runs, packs, strict=True), 1):
        body += article(run, pack, f"run-{n}", room, stock, note)
    head = f"{len(runs)} runs" if len(runs) > 1 else title(runs[0])
    # A file's name may hold bytes that are no text.
    text = document(head, body, SCRIPT.read_text(encoding="utf-8")).encode(errors="replace")
    if len(text) - inside > MOST:
        raise ValueError(f"{len(runs)} runs do not fit into a report of 2 MB; name fewer")
    return text.decode()


def parcels(text: str) -> list[dict[str, Any]]:
    """What `report` packed into its text, a dict for each run, as `nsutils.parcel` packs it; ValueError if nothing."""
    packs = re.findall(r'<script type="application/json" class="nsutils-run">(.*?)</script>', text)
    links = r'<a id="(input-\d+)" [^>]*href="data:[^";]*;base64,([^"]*)"'
    stock = {f"#{anchor}": data for anchor, data in re.findall(links, text)}
    if not packs:
        raise ValueError("no run in this page; give a report that `nsutils report` wrote")
    with intact():
        found = [json.loads(pack) for pack in packs]
        for facts in (facts for pack in found for facts in pack["inputs"].values()):
            facts["data"] = facts["data"] and stock[facts["data"]]
    return found


def anchored(packs: Iterable[Parcel]) -> tuple[list[Parcel], dict[str, str]]:
    """The parcels with each input's data replaced by the anchor of its link; and the data, each once, by anchor."""
    anchors: dict[str, str] = {}

    def linked(facts: dict[str, Any]) -> dict[str, Any]:
        data = facts["data"]
        return facts | {"data": data and anchors.setdefault(data, f"#input-{len(anchors) + 1}")}

    packs = [
        pack | {"inputs": {role: linked(facts) for role, facts in pack["inputs"].items()}}
        for pack in packs
    ]
    return packs, {anchor: data for data, anchor in anchors.items()}


def document(title: str, body: str, script: str = "") -> str:
    """A whole page. It may load nothing, and run nothing but its own script."""
    may = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    if script:
        may += f"; script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        body += f"<script>{script}</script>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{may}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE.read_text(encoding="utf-8")}</style></head>
<body>
{body}
</body></html>
"""


def overview(runs: Sequence[Run], room: int) -> str:
    """The results, in a grid where two settings make one that is more than half full, and the table of contents."""
    numbers = {run: n for n, run in enumerate(runs, 1)}

    def tile(run: Run, caption: str) -> str:
        if not (image := latest(run)):
            return ""
        words = f"result of run {numbers[run]}"
        return f'<a href="#run-{numbers[run]}">{figure(image, caption, words, 360, room // 12)}</a>'

    trials = Grid(runs)
    if all(trials.axes) and len(trials.cells) < 2 * len(runs):
        grid = f'<div class="trials">{trials.table(tile)}</div>'
    else:
        grid = '<div class="grid wide">'
        for run, words in zip(runs, recipe.differing(runs), strict=True):
            caption = "\n".join(f"{name} {value}" for name, value in words.items())
            grid += tile(run, caption or run.folder.name)
        grid += "</div>"
    contents = "".join(
        f'<li><a href="#run-{n}">{escape(title(run))}</a>, {escape(run.folder.name)}</li>'
        for run, n in numbers.items()
    )
    return f"<header><h1>{len(runs)} runs</h1>{grid}<nav><ol>{contents}</ol></nav></header>"


def article(
    run: Run, pack: Parcel, anchor: str, room: int, stock: dict[str, str], note: str
) -> str:
    """All about a run. Takes the data that it links to out of the stock."""
    asked, others = recipe.rows(run)
    begun = ", as it began; the Python cell steers it as well" if run.steering else ""
    begun = f", to all {run.settings.steps} steps{begun}" if run.made < planned(run) else begun
    all_of = f", to all {planned(run)} steps" if run.made < planned(run) else ""
    parts = {
        "How it came about": steps(run, room),
        "Losses": curves(run),
        "Steering": table(
            [(str(step), words) for step, words in recipe.steering(run)], ("after step", "changed")
        ),
        "Recipe, as it began" if run.steering else "Recipe": table(asked.items())
        + f"<details><summary>All else, as the kit has it</summary>{table(others.items())}</details>",
        "To repeat it": code(f"Python{all_of}", recipe.python_cell(run))
        + code(f"Command line{begun}", recipe.command_line(run))
        + rerun(pack),
        "Pictures it was made from": inputs(run, pack, stock) + f"<p>{note}</p>" * bool(note),
        "Forecast and measured": costs(run.meta),
        "Made with": table(made_with(run.meta).items()),
    }
    told = "".join(f"<section><h2>{n}</h2>{html}</section>\n" for n, html in parts.items() if html)
    packed_in = json.dumps(pack).replace("<", "\\u003c")
    return f"""<article id="{anchor}">
<h1>{escape(title(run))}</h1>
{"".join(f'<p class="facts">{escape(line)}</p>' for line in standing(run))}
{f'<p class="notes">{escape(run.notes)}</p>' * bool(run.notes)}
{ends(run, room)}
{told}<script type="application/json" class="nsutils-run">{packed_in}</script>
</article>
"""


def title(run: Run) -> str:
    """What was painted in whose manner, by the pictures' old names."""
    inputs = run.meta["inputs"]
    styles = [facts["name"] for role, facts in inputs.items() if role.startswith("style")]
    return f"{inputs['content']['name']} in the style of {' and '.join(styles)}"


def standing(run: Run) -> list[str]:
    """Where the run stands, and where it comes from."""
    meta, rows = run.meta, run.metrics
    created = meta.get("created", "").replace("T", " ").replace("+00:00", " UTC")
    took = duration(rows[-1]["seconds"]) if rows else ""
    made = f"{len(rows)} of {planned(run)}" if len(rows) < planned(run) else f"{len(rows)}"
    line = run.folder.name, run.status, f"{made} steps", took, meta.get("device"), created
    lines = [" · ".join(filter(None, line))]
    if parent := meta.get("parent"):
        changed = recipe.changes_in_words(parent.get("changes") or {})
        forked = f"forked from {parent.get('name')} after step {parent.get('step')}"
        lines.append(forked + f", with {changed}" * bool(changed))
    return lines


def planned(run: Run) -> int:
    """The steps that the run was to have at last."""
    with suppress(ValueError):  # what was steered is damaged
        return recipe.in_force(run).steps
    return run.settings.steps


def ends(run: Run, room: int) -> str:
    """What it was made from, small, and what came of it, large."""
    roles, result = run.meta["inputs"], latest(run)
    sources = ""
    for role, facts in roles.items():
        words, share = f"{spoken(role, roles)}: {facts['name']}", room // 8 // (len(roles) - 1)
        size = (LARGE, room // 5) if role == "content" else (SMALL, share)
        sources += figure(shown(run.folder / facts["file"]), words, words, *size, kind=role)
    if not result:
        return f'<div class="sources">{sources}</div>'
    caption = "{}, {} × {} px".format("result" if run.outcome else "so far", *result.size)
    large = figure(result, caption, f"result: {title(run)}", LARGE, room // 3, kind="result")
    return f'<div class="ends"><div class="sources">{sources}</div>{large}</div>'


def spoken(role: str, roles: Iterable[str]) -> str:
    """As content, style, or style 2 where there are several."""
    return "style" if role == "style_1" and "style_2" not in roles else role.replace("_", " ")


def steps(run: Run, room: int) -> str:
    """The kept pictures in order, evenly spaced ones if there are many."""
    room, kept = room // 3, len(run.images)
    most = max(3, min(STEPS, room // A_STEP))
    chosen = [pair for pair in tiles(run, most + 3) if pair[0].startswith(("start", "step"))]
    shares = {"edge": SMALL, "room": room // max(1, len(chosen))}
    grid = "".join(
        figure(readable(file, SMALL), caption, f"the picture at {caption}", **shares)
        for caption, file in chosen
    )
    few = f"<p>{len(chosen)} of {kept} kept pictures, evenly spaced.</p>"
    few *= len(chosen) + 1 < kept  # the last is the result
    return f'{few}<div class="grid steps">{grid}</div>' if grid else ""


def curves(run: Run) -> str:
    if not (rows := run.metrics):
        return ""
    ending = ", ".join(f"{name} {rows[-1][name]:.3g}" for name in ("content", "style", "tv"))
    words, image = f"losses over the steps, at the end {ending}", loss_curves(run).png(130)
    return f'<div class="curves">{pictures.in_html(words, image, "png")}</div>'


def code(caption: str, words: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption><pre>{escape(words)}</pre></figure>"


def rerun(pack: Parcel) -> str:
    """How the page itself remakes the run."""
    missing: dict[str, list[str]] = {}
    for role, facts in pack["inputs"].items():
        if not facts["data"]:
            missing.setdefault(f"--{role.split('_')[0]}", []).append(facts["name"])
    words = [word for option, names in missing.items() for word in (option, *names)]
    command = escape(shlex.join(["nsutils", "rerun", "REPORT.html", *words]))
    source = "this page and these pictures" if words else "this page alone"
    return (
        f"<p>From {source}: <code>{command}</code> paints the picture again and says whether it is "
        "the same.</p>"
    )


def inputs(run: Run, pack: Parcel, stock: dict[str, str]) -> str:
    """Their names, sizes and hashes, and links to what is inside, each of which holds its data once."""
    lines = ""
    for role, facts in pack["inputs"].items():
        size = (run.folder / facts["file"]).stat().st_size
        parts = [
            f"{escape(facts['name'])}, {kilobytes(size)}",
            f'<span class="hash">SHA-256 {escape(facts["sha256"])}</span>',
            link(facts, stock) if facts["data"] else "left out",
        ]
        head = escape(spoken(role, pack["inputs"]))
        lines += f'<tr><th scope="row">{head}</th><td>{"<br>".join(parts)}</td></tr>'
    return f"<table>{lines}</table>"


def link(facts: dict[str, Any], stock: dict[str, str]) -> str:
    """To save an input from the page; to where it is, if it has been there before."""
    if not (data := stock.pop(anchor := facts["data"], None)):
        return f'<a href="{anchor}">save, see above</a>'
    name, what = facts["name"], "the file itself"
    if facts["as_used"]:
        name, what = f"{Path(name).stem}.webp", "as large as the run used it, without loss"
    return (
        f'<a id="{anchor[1:]}" download="{escape(name)}" '
        f'href="data:application/octet-stream;base64,{data}">save</a>, {what}, '
        f"{kilobytes(len(data) * 3 // 4)}"
    )


def kilobytes(count: int) -> str:
    return f"{max(1, round(count / 1000))} kB"


def costs(meta: Mapping[str, Any]) -> str:
    """What was forecast, what it was, and the ratio."""
    foreseen, measured = meta.get("forecast"), meta.get("measured")
    if not foreseen or not measured:
        return ""
    ratios = meta.get("measured_by_forecast") or {}
    kinds = {"seconds": ("time", duration), "bytes": ("memory", gigabytes)}
    lines = [
        (word, told(foreseen[name]), told(measured[name]), f"{ratios.get(name, '-')}")
        for name, (word, told) in kinds.items()
        if name in ratios or name == "bytes"  # the time was foretold for all steps
    ]
    return table(lines, ("", "forecast", "measured", "ratio"))


def made_with(meta: Mapping[str, Any]) -> dict[str, str]:
    names = (
        *("host", "platform", "device", "precision", "threads", "commit"),
        *("made_smaller", "ended_early", "error"),
    )
    rows = {name.replace("_", " "): str(meta[name]) for name in names if meta.get(name)}
    versions = ", ".join(f"{name} {number}" for name, number in meta.get("versions", {}).items())
    return rows | ({"versions": versions} if versions else {})


def table(rows: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> str:
    """Rows of words, the first of each its name; nothing if there are none."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{cells("<td>", words)}</tr>'
        for name, *words in rows
    )
    top = f"<thead><tr>{cells('<th>', heads)}</tr></thead>" if heads else ""
    return f"<table>{top}<tbody>{lines}</tbody></table>" if lines else ""


def cells(tag: str, words: Iterable[str]) -> str:
    return "".join(f"{tag}{escape(word)}" for word in words)


def figure(image: Image.Image, caption: str, alt: str, edge: int, room: int, kind: str = "") -> str:
    """The image in so many pixels and bytes, with its caption."""
    drawn = f'<div class="frame">{pictures.in_html(alt, jpeg_within(image, edge, room))}</div>'
    return (
        f'<figure class="{escape(kind)}">{drawn}<figcaption>{escape(caption)}</figcaption></figure>'
    )


def jpeg_within(image: Image.Image, edge: int, room: int) -> bytes:
    """The image as a JPEG of that edge, or as much smaller as it must be."""
    edge = min(edge, max(image.size))
    for part in EDGES:
        data = pictures.jpeg(pictures.thumbnail(image, round(part * edge)), 88 if part == 1 else 80)
        if len(data) <= room:
            break
    return data
