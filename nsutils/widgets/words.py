"""What the panel says, in lines of text and of HTML."""

import base64
import os
from html import escape
from pathlib import Path

from nsutils.player import Player, clock
from nsutils.recipe import plain
from nsutils.settings import Settings
from nsutils.widgets.controls import STEERED

LARGEST_COPY = 30 << 20  # bytes of a file that a link in the page holds
PAUSING = "Pausing after this step …"
RECIPE = ("encoder", "size", *STEERED)
ALWAYS = ("encoder", "size", "steps", "style_weight", "content_weight")  # said of every run


def note(words: str) -> str:
    """A line that is no complaint."""
    return f'<div class="note">{escape(words)}</div>'


def complaint(error: Exception) -> str:
    """One line that says what is wrong; nobody writes more than one line into an error here."""
    return f'<div class="bad" role="alert">{escape(" ".join(str(error).split()))}</div>'


def copy_of(file: Path, what: str, kind: str) -> str:
    """Where a run's file is, and a link that saves a copy where that is not too large for a page."""
    data, place = file.read_bytes(), min(str(file), os.path.relpath(file), key=len)
    words = f"{what}: {escape(place)} ({len(data) / 1e6:.1f} MB)"
    if len(data) <= LARGEST_COPY:
        name = escape(f"{file.parent.name}{file.suffix}")
        link = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        words += f'. <a download="{name}" href="{link}">Save the {what.lower()}</a>'
    return f'<div class="note">{words}</div>'


def pace(player: Player) -> str:
    """Where the run is: step, speed, time left or taken."""
    height, width = player.step.image.shape[-2:]
    words = f"step {player.step.number} of {player.aim.steps}, {width} × {height} px"
    if player.status == "playing" and player.pausing:
        return PAUSING
    if player.status == "playing":
        speed = f", {player.speed:.1f} steps/s" if player.speed else ""
        return f"{words}{speed}, {clock(player.seconds_left)} left"
    if player.status == "paused" and player.previewing:
        return f"Preview: {words}. Move sliders and see; Resume goes on to the full size"
    status = player.run.status if player.status == "ready" else player.status
    took = clock(player.run.last_row.get("seconds", 0.0))
    return f"{status.capitalize()}: {words}, after {took}"


def recipe_line(player: Player) -> str:
    """What the run is called, where it stands, and the settings in force."""
    made = f"{player.aim.steps - player.steps_left} of {player.aim.steps} steps"
    settings = player.settings
    changed = Settings(settings.content, settings.styles).differences(settings)
    recipe = "; ".join(
        f"{name} = {plain(getattr(settings, name))}"
        for name in RECIPE
        if name in changed or name in ALWAYS
    )
    name = escape(player.run.folder.name)
    return (
        f"<p class='nsutils-kept'>Run <b>{name}</b>, {player.status}, {made}: {escape(recipe)}</p>"
    )
