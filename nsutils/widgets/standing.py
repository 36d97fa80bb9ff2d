"""Where a run stands, in words."""

from html import escape

from nsutils.player import Player, clock
from nsutils.recipe import plain
from nsutils.settings import Settings
from nsutils.widgets.controls import STEERED

GOING_ON, PAUSING = "Going on …", "Pausing after this step …"
RECIPE = ("encoder", "size", *STEERED)
ALWAYS = ("encoder", "size", "steps", "style_weight", "content_weight")  # said of every run


def standing(player: Player) -> str:
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
    """What the run is called, where it stands, and the settings in force, in HTML."""
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
