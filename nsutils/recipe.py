"""A run's recipe in words: as a table, as the Python cell and as the command line that repeat it."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nsutils.inputs import with_pictures
from nsutils.presets import FOUND, PRESETS, RECIPES, preset
from nsutils.run import Run
from nsutils.settings import STARTS, Settings, Style, coarse_steps, in_a_word
from nsutils.steering import apart, changes, renamed, steered

MAIN = (
    *("content", "styles", "size", "encoder", "content_weight", "content_layers", "style_weight"),
    *("style_layers", "style_statistic", "tv_weight", "steps", "optimizer", "init", "seed"),
)


def rows(run: Run) -> tuple[dict[str, str], dict[str, str]]:
    """The settings that make a picture and all that differ from the kit's own; and the others."""
    settings = named(run)
    changed = Settings(settings.content, settings.styles).differences(settings)
    told = {name: plain(value) for name, value in vars(settings).items()}
    asked = {name: words for name, words in told.items() if name in (*MAIN, *changed)}
    return asked, {
        n: words for n, words in told.items() if n not in asked and words not in ("-", "")
    }


def steering(run: Run) -> list[tuple[int, str]]:
    """What was changed while it ran, after which step; a slider that was drawn for some steps by where it came to."""
    told: list[tuple[int, Settings, dict[str, Any], str]] = []
    settings = run.settings
    for line in run.steering:
        begun, before, made, end = line["step"], settings, line, ""
        if "further" in line and told:
            begun, before, earlier, _ = told.pop()
            made, end = changes(earlier) | line, f", reached after step {line['step']}"
        told.append((begun, before, made, end))
        settings = steered(settings, line)
    old = old_names(run)
    return [
        (step, changes_in_words(renamed(apart(s, line), old)) + end) for step, s, line, end in told
    ]


def changes_in_words(line: dict[str, Any]) -> str:
    said = renamed(changes(line), lambda name: Path(name).name)
    for number, style in enumerate(said.pop("styles", ()), 1):
        said |= {f"style {number}'s {name}": value for name, value in style.items()}
    words = ", ".join(f"{name} = {plain(value)}" for name, value in said.items())
    return f"back to {words}" if line.get("undo") else words


def differing(runs: Sequence[Run]) -> list[dict[str, str]]:
    """For each run the settings, as they were at its end, in which these runs differ."""
    return told_apart([in_force(run) for run in runs])


def told_apart(every: Sequence[Settings]) -> list[dict[str, str]]:
    """For each settings those by which they are told from the others, in words; not scales that follow the steps."""
    names = [field.name for field in fields(Settings)]
    if all(each.scale_steps == coarse_steps(each.steps) for each in every):
        names.remove("scale_steps")
    differ = [name for name in names if len({repr(vars(each)[name]) for each in every}) > 1]
    return [{name: plain(vars(each)[name]) for name in differ} for each in every]


def in_force(run: Run) -> Settings:
    """The settings at the end of the run, with what was steered, and with the pictures' old names."""
    return with_pictures(run.settings_at(), old_names(run))


def python_cell(run: Run) -> str:
    """The cell of a notebook that paints the picture again, steered after the same steps."""
    settings, log = named(run), {}
    base, given = shortest(settings)
    maker, first = ("preset", [repr(base)]) if base else ("Settings", [])
    for line in record(run):
        log.setdefault(line["step"], {}).update(changes(line))
    early, steer = log.pop(0, {}), "    player.steer(**steering.get(step.number, {}))"
    styles = [in_python(style) for style in settings.styles]
    words = {"Player", "Run", maker} | {"Style" for one in styles if one.startswith("Style(")}
    style = styles[0] if len(styles) == 1 else f"({', '.join(styles)})"
    options = [f"{name}={value!r}" for name, value in given.items()]
    written = [f"{step}: {made!r}" for step, made in log.items()]
    parts = [
        f"from nsutils import {', '.join(sorted(words))}\n",
        call(f"settings = {maker}", [*first, repr(settings.content), style, *options]),
        call("steering = ", written, "{}") if log else "",
        "player = Player(Run.new(settings))",
        f"player.steer(**{early})" if early else "",
        f"for step in player:\n{steer}" if log else "player.play()",
    ]
    return "\n".join(filter(None, parts))


def call(name: str, arguments: Iterable[str], brackets: str = "()") -> str:
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{name}{brackets[0]}\n{lines}{brackets[1]}"


def in_python(style: Style) -> str:
    """A style with what is not as it is by default; its picture's name alone if all is."""
    known = vars(Style(style.picture))
    odd = [f", {name}={value!r}" for name, value in vars(style).items() if value != known[name]]
    return f"Style({style.picture!r}{''.join(odd)})" if odd else repr(style.picture)


def command_line(run: Run) -> str:
    """The command that paints the picture as the run began."""
    settings = with_pictures(named(run), lambda name: f"./{name}" if name[0] == "-" else name)
    base, given = shortest(settings)
    words = ["nsutils", "run", settings.content, *(style.picture for style in settings.styles)]
    for option, name in {"blend-weights": "weight", "scale": "scale"}.items():
        numbers = [getattr(style, name) for style in settings.styles]
        if set(numbers) != {1.0}:
            words += [f"--style-{option}", in_a_word(numbers)]
    if any(style.where for style in settings.styles):
        # in one word: the first may be -, which would be taken for an option
        words += [f"--style-where={in_a_word([style.where or '-' for style in settings.styles])}"]
    if base:
        words += ["--recipe" if base in RECIPES else "--preset", base]
    if base in RECIPES:
        given.setdefault("mask", None)  # else a face would be looked for
        if given["mask"] == FOUND:
            del given["mask"]  # it will be found again
    for name, value in given.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", in_a_word(value)]
    return shlex.join(words)


def shortest(settings: Settings) -> tuple[str | None, dict[str, Any]]:
    """The preset or recipe, if any, from which the settings differ least, and in what."""
    found = {base: differences(base, settings) for base in (None, *RECIPES, *PRESETS)}
    return min(found.items(), key=lambda pair: len(pair[1]))


def differences(base: str | None, settings: Settings) -> dict[str, Any]:
    """What must be asked of the kit's settings, or a preset's or recipe's, to have these."""
    pair = settings.content, settings.styles
    if base not in PRESETS:
        given = (preset(base, *pair) if base else Settings(*pair)).differences(settings)
        if settings.scale_steps == coarse_steps(settings.steps):
            given.pop("scale_steps", None)  # they follow
        return given
    given = preset(base, *pair).differences(settings)
    # Some of a preset's settings follow from others.
    return given | preset(base, *pair, **given).differences(settings)


def named(run: Run) -> Settings:
    """The settings with the pictures' old names."""
    return with_pictures(run.settings, old_names(run))


def record(run: Run) -> list[dict[str, Any]]:
    """What was changed while it ran, with the masks' old names."""
    old = old_names(run)
    return [renamed(line, old) for line in run.steering]


def old_names(run: Run) -> Callable[[str], str]:
    """What the files in inputs/ were called, as files where the name alone would stand for something else."""
    old = {str(run.folder / facts["file"]): facts["name"] for facts in run.meta["inputs"].values()}

    def called(file: str) -> str:
        name = old.get(file, Path(file).name)
        return f"./{name}" if name in STARTS else name

    return called


def plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={share:g}" for name, share in value.items())
    if isinstance(value, tuple | list):
        words = (styled(item, value) if isinstance(item, Style) else str(item) for item in value)
        return ", ".join(words)
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def styled(style: Style, styles: Sequence[Style]) -> str:
    """A style's picture, its share where there are several, its scale where it is not 1, and its mask."""
    share = f" x {style.weight:g}" if len(styles) > 1 else ""
    scale = f" at {style.scale:g}" if style.scale != 1 else ""
    return f"{style.picture}{share}{scale}" + (f" in {style.where}" if style.where else "")
