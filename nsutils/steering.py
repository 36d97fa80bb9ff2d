"""What may be changed while a run plays, and the lines of the record that tell of it.

A line has the settings' new values by name, `step`, after which they came into force, `undo` where they take back
an earlier line's, and `further` where they go on with the line before, as a slider does that is drawn for some steps.
Of the styles it has all but the pictures, which belong to the run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

from PIL.Image import Image

from nsutils.settings import FIXED, Settings, Style, changed
from nsutils.targets import is_target

Line = Mapping[str, Any]
FACTS = ("step", "undo", "further")  # what a line has beside settings


def changes(line: Line) -> dict[str, Any]:
    """The settings in a line."""
    return {name: value for name, value in line.items() if name not in FACTS}


def renamed(line: Line, name_of: Callable[[Any], str]) -> dict[str, Any]:
    """The line with its masks renamed, the one of what is protected and those where styles act."""
    line = dict(line)
    if line.get("mask"):
        line["mask"] = name_of(line["mask"])
    if "styles" in line:
        line["styles"] = [unpictured(style, name_of) for style in line["styles"]]
    return line


def unpictured(style: Style | Mapping[str, Any], name_of: Callable[[Any], str]) -> dict[str, Any]:
    """What may be changed of a style, its mask renamed."""
    known = vars(style) if isinstance(style, Style) else style
    place = {"where": name_of(known["where"])} if known.get("where") else {}
    return {name: value for name, value in known.items() if name != "picture"} | place


def apart(settings: Settings, line: Line) -> dict[str, Any]:
    """The line with no more of each style than it changes of the settings' own."""
    line = dict(line)
    if "styles" in line:
        pairs = zip(settings.styles, line["styles"], strict=True)
        line["styles"] = [
            {name: value for name, value in parts.items() if value != getattr(style, name)}
            for style, parts in pairs
        ]
    return line


def steered(settings: Settings, line: Line) -> Settings:
    """The settings after a line."""
    asked = changes(line)
    if "styles" in asked:
        pairs = zip(settings.styles, asked["styles"], strict=True)
        asked["styles"] = tuple(replace(style, **parts) for style, parts in pairs)
    return changed(settings, **asked)


def checked(settings: Settings, asked: Line) -> dict[str, Any]:
    """The changes with their values as `Settings` has them, but for masks; ValueError if one cannot be so."""
    check(settings, asked)
    after = steered(settings, renamed(asked, str))
    found = {name: asked[name] if name == "mask" else getattr(after, name) for name in asked}
    if "styles" in asked:
        given = [vars(style) if isinstance(style, Style) else style for style in asked["styles"]]
        masks = [{"where": parts["where"]} if "where" in parts else {} for parts in given]
        pairs = zip(after.styles, masks, strict=True)
        found["styles"] = [unpictured(style, str) | mask for style, mask in pairs]
    return found


def check_mask(name: str, mask: Any) -> None:
    if not (mask is None or isinstance(mask, str | PathLike | Image)):
        raise ValueError(
            f"{name} is of type {type(mask).__name__}; give a picture's file, or a PIL image"
        )


def check(settings: Settings, asked: Line) -> None:
    """ValueError if a run that plays under these settings cannot be changed so."""
    settings.check_names(asked)
    if fixed := FIXED & set(asked):
        raise ValueError(f"{fixed.pop()} belongs to the run; begin a new one to change it")
    check_mask("mask", asked.get("mask"))
    if "styles" not in asked:
        return
    if not isinstance(asked["styles"], list | tuple):
        raise ValueError(f"styles is {asked['styles']!r}; give a list, with all styles of the run")
    if len(asked["styles"]) != len(settings.styles):
        raise ValueError(
            f"{len(asked['styles'])} styles for a run that has {len(settings.styles)}; begin a new one to change them"
        )
    for known, style in zip(settings.styles, asked["styles"], strict=True):
        parts = vars(style) if isinstance(style, Style) else style
        if not isinstance(parts, Mapping) or parts.keys() - vars(known):
            raise ValueError(
                f"a style is {style!r}; give a Style, or some of its parts, as {{'weight': 2}}"
            )
        check_mask("where of a style", parts.get("where"))
        given = {"picture": known.picture, "scale": known.scale, **parts}
        if given["picture"] != known.picture:
            raise ValueError("a style's picture belongs to the run; begin a new one to change it")
        if is_target(known.picture) and given["scale"] != known.scale:
            raise ValueError(f"{known.picture!r} is a style target: its scale belongs to the run")
