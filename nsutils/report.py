"""A run as one self-contained HTML file: pictures, curves, recipe. No script, no request to anywhere."""

import base64
from collections.abc import Sequence
from dataclasses import fields
from html import escape
from pathlib import Path

from nsutils import pictures
from nsutils.figures import figure_png, loss_curves, tiles
from nsutils.run import Run, with_pictures
from nsutils.settings import Settings, Style
from nsutils.targets import shown

MAIN = (
    *("content", "styles", "size", "encoder", "content_weight", "content_layers", "style_weight"),
    *("style_layers", "style_statistic", "tv_weight", "steps", "optimizer", "init", "seed"),
)
STYLE = Path(__file__).with_suffix(".css")


def report(run: Run) -> str:
    """The HTML text."""
    meta, rows = run.meta, run.metrics
    steps = [pair for pair in tiles(run) if pair[0].startswith(("start", "step"))]
    ends = [pair for pair in tiles(run) if pair not in steps]
    asked, others = recipe(run)
    at_the_top = "".join(figure(caption, file, 720) for caption, file in ends)
    facts = [
        meta["status"],
        f"{meta.get('steps', 0)} steps",
        f"{rows[-1]['seconds'] if rows else 0:.0f} s",
        meta.get("device", ""),
        meta["created"].replace("T", " ").replace("+00:00", " UTC"),
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(run.folder.name)}</title><style>{STYLE.read_text()}</style></head><body>
<h1>{escape(title(run))}</h1>
<p class="facts">{escape(", ".join(filter(None, facts)))}</p>
<div class="ends" style="--beside: {len(ends) - 1}">{at_the_top}</div>
<h2>How it came about</h2>
<div class="grid">{"".join(figure(caption, file, 320) for caption, file in steps)}</div>
<h2>Losses</h2>
<div class="curves">{picture("the losses over the steps", "png", figure_png(loss_curves(run)))}</div>
<h2>Recipe</h2>
{table(asked)}
<details><summary>All else, as the kit has it by default</summary>
{table(others)}
</details>
<h2>Made with</h2>
{table(made_with(meta))}
</body></html>
"""


def title(run: Run) -> str:
    """What was painted in whose manner, by the pictures' old names."""
    inputs = run.meta["inputs"]
    styles = " and ".join(
        facts["name"] for role, facts in inputs.items() if role.startswith("style")
    )
    return f"{inputs['content']['name']} in the style of {styles}"


def recipe(run: Run) -> tuple[dict[str, str], dict[str, str]]:
    """The settings that make a picture, all that differ from the kit's own, and what was steered; and the others."""
    settings = run.settings
    changed = Settings(settings.content, settings.styles).differences(settings)
    old = {str(run.folder / facts["file"]): facts["name"] for facts in run.meta["inputs"].values()}
    asked = with_pictures(settings, lambda name: old[name])
    rows, others = {}, {}
    for name in (field.name for field in fields(asked)):
        if (value := getattr(asked, name)) is not None:
            (rows if name in (*MAIN, *changed) else others)[name] = plain(value)
    for change in run.steering:
        rows[f"after step {change['step']}"] = ", ".join(
            f"{name} = {plain(value)}" for name, value in change.items() if name != "step"
        )
    return rows, others


def plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={share:g}" for name, share in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(
            styled(item, value) if isinstance(item, Style) else str(item) for item in value
        )
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def styled(style: Style, styles: Sequence[Style]) -> str:
    """A style's picture, its share where there are several, and its scale where it is not 1."""
    share = f" x {style.weight:g}" if len(styles) > 1 else ""
    return f"{style.picture}{share}" + (f" at {style.scale:g}" if style.scale != 1 else "")


def made_with(meta: dict) -> dict[str, str]:
    rows = {
        name: str(meta[name])
        for name in ("host", "platform", "device", "precision", "threads", "commit", "error")
        if meta.get(name)
    }
    rows["versions"] = ", ".join(f"{name} {number}" for name, number in meta["versions"].items())
    return rows | {
        facts["file"]: f"{facts['name']}, SHA-256 {facts['sha256']}"
        for facts in meta["inputs"].values()
    }


def table(rows: dict[str, str]) -> str:
    lines = (
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{''.join(lines)}</table>"


def figure(caption: str, file: Path, edge: int) -> str:
    image = picture(caption, "jpeg", pictures.jpeg(pictures.thumbnail(shown(file), edge)))
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def picture(words: str, kind: str, data: bytes) -> str:
    return f'<img alt="{escape(words)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
