"""The command `nsutils` and its words. The options are the fields of Settings; `nsutils --help` lists the commands."""

import argparse
import gc
import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Any

from nsutils import __version__
from nsutils.presets import PRESETS, RECIPES
from nsutils.settings import CHOICES, FIXED, NOTES, SUBJECTS, Settings, in_a_word, unknown

# What each of `nsutils.commands` is for.
COMMANDS = {
    "run": "paint CONTENT in the style of STYLE",
    "forecast": "what such a run will cost here: seconds, memory, the largest size",
    "sweep": "paint CONTENT once for each combination of settings that vary",
    "resume": "go on with a run that was stopped, cut off, or is to have more steps",
    "fork": "a new run that goes as RUN did up to a step, and on with other settings",
    "rerun": "make a run again by its record, from its folder or a report, and say whether it is the same",
    "runs": "a table of the runs",
    "report": "runs, or an executed notebook, as one HTML file",
    "compare": "runs side by side in one picture",
    "mark": "make a run a favourite",
    "note": "write down something about a run, or read it",
    "delete": "delete runs, after asking",
    "film": "the kept steps of a run as an animated GIF",
    "colour": "give a run's picture back its content's colours",
    "target": "save a style's statistics (and a small picture of it), to be STYLE in runs of about that size",
    "demo": "execute the first notebook of a checkout and write its report",
    "lab": "open JupyterLab on the notebooks of a checkout",
}
# Of those that take all settings.
USAGE = {
    "run": "CONTENT STYLE [STYLE ...] [--size WHOLE] [--style-weight NUMBER] ...",
    "forecast": "CONTENT STYLE [STYLE ...] [--size WHOLE] ...",
    "sweep": "CONTENT STYLE [STYLE ...] --vary style_weight=0.3,1,3 [--vary size=256,384] ...",
    "resume": "RUN [--steps WHOLE] [--style-weight NUMBER] ...",
    "fork": "RUN [--step WHOLE] [--style-weight NUMBER] ...",
    "target": "STYLE -o FILE [--size WHOLE] [--encoder NAME] ...",
}
STYLE_LISTS = {
    "blend-weights": "each style's share among several, as 3,7 (equal)",
    "scale": "each style's size beside the picture's, one for all or as 1,0.5; 0.5 halves the strokes (1)",
}
FOLDER = "folder for the run; by default a new one in data/runs"
A_RUN = "its folder, its name in data/runs, or last"
RUNS = "runs, each by its folder, its name in data/runs, or last"
STYLE_WHERE = (
    "a mask for each style, white where it acts, as --style-where=left.png,-; - is everywhere"
)


def main(words: list[str] | None = None) -> int:
    """Exit status: 0, 2 for bad input, 130 after Ctrl-C, 1 where it came otherwise than asked.

    That is where a run failed or ended early, does not fit or is not the same again, or nothing was deleted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # which may not know every letter of a name
            stream.reconfigure(errors="replace")
    asked, unknown = parser().parse_known_args(words)
    if unknown:
        perhaps = likely(unknown[0], asked.own)
        asked.own.error(f"unrecognized arguments: {' '.join(unknown)}{perhaps}")
    try:
        return getattr(commands(), asked.command)(asked) or 0
    except ValueError as error:
        return fail(error, 2)
    except FloatingPointError as error:
        return fail(error, 1)
    except MemoryError:
        return fail(MemoryError("there is not enough memory for that; choose a smaller --size"), 1)
    except BrokenPipeError:
        sys.stdout = None  # nobody reads on
        return 1
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return fail(OSError(told) if told else error, 1)
    except KeyboardInterrupt:
        return 130


@cache
def commands() -> ModuleType:
    """What the commands do, and PyTorch: help comes without.

    None of that is garbage. To look for some would take 0.3 s while it is loaded, and 0.5 s when it goes.
    """
    gc.disable()
    try:
        from nsutils import commands
    finally:
        gc.enable()
    gc.freeze()
    return commands


def likely(word: str, parser: argparse.ArgumentParser) -> str:
    """The option of the parser that may have been meant, in words."""
    known = re.findall(r"--[\w-]+", parser.format_help())
    near = get_close_matches(word.replace("_", "-"), known, 1, 0.75)
    return f", perhaps {near[0]}" if near else ""


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="nsutils",
        description="Neural style transfer: a picture painted in the manner of another.",
    )
    top.add_argument("--version", action="version", version=f"nsutils {__version__}")
    acts, made = top.add_subparsers(required=True, metavar="COMMAND", dest="command"), {}
    for name, words in COMMANDS.items():
        usage = f"%(prog)s {USAGE[name]}" if name in USAGE else None
        made[name] = acts.add_parser(name, help=words, description=words, usage=usage)
        made[name].set_defaults(own=made[name])
    add_painting(**made)
    add_going_on(**made)
    add_looking(**made)
    add_pictures(**made)
    return top


def add_painting(run: Parser, forecast: Parser, sweep: Parser, **others: Parser) -> None:
    """Commands that paint CONTENT anew, or say what that costs."""
    add_out(run)
    words = "folder for the runs, by default a new one in data/runs; a sweep that is there goes on"
    add_out(sweep, words)
    for parser, words in (
        (run, "picture file to write as well: PNG, JPEG or TIFF by its ending"),
        (sweep, "all pictures in one, in rows and columns: PNG, JPEG or TIFF"),
    ):
        parser.add_argument("--save", metavar="FILE", type=place, help=words)
    sweep.add_argument(
        "--vary",
        metavar="NAME=VALUES",
        type=choices,
        action="append",
        required=True,
        help="a setting and its values, as size=256,384; for one that is a list itself they are parted by ; as "
        "'style_layers=relu1_1;relu1_1,relu2_1'",
    )
    sweep.add_argument(
        "--workers",
        type=whole,
        default=1,
        help="runs that are painted at the same time, each in a process of its own (1)",
    )
    for parser in (run, forecast, sweep):
        add_recipe(parser)


def add_out(parser: Parser, words: str = FOLDER) -> None:
    parser.add_argument("--out", metavar="DIR", type=place, help=words)


def add_run(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=place, help=A_RUN)


def add_file(parser: Parser, words: str, required: bool = True) -> None:
    parser.add_argument("-o", "--out", metavar="FILE", type=place, required=required, help=words)


def add_going_on(resume: Parser, fork: Parser, rerun: Parser, **others: Parser) -> None:
    """Commands that play a run again."""
    fork.add_argument("--step", type=whole, help="the step to fork from (the last)")
    add_out(fork)
    for parser, default in ((resume, "as in RUN"), (fork, "as in RUN at that step")):
        add_run(parser)
        add_device(parser)
        for subject, notes in SUBJECTS.items():
            steered = {name: notes[name] for name in notes if name not in FIXED}
            add_settings(parser.add_argument_group(subject), steered, default)
    words = f"HTML file, or a run: {A_RUN}"
    rerun.add_argument("source", metavar="REPORT_OR_RUN", type=place, help=words)
    rerun.add_argument("--content", metavar="FILE", help="the content, if the report leaves it out")
    rerun.add_argument(
        "--style", metavar="FILE", nargs="+", help="the styles, if it leaves them out"
    )
    rerun.add_argument("--init", metavar="FILE", help="the picture to start from, likewise")
    rerun.add_argument("--weights", metavar="FILE", help="the encoder's weights, if not as there")
    add_out(rerun)
    add_device(rerun)


def add_looking(
    runs: Parser,
    report: Parser,
    compare: Parser,
    mark: Parser,
    note: Parser,
    delete: Parser,
    **others: Parser,
) -> None:
    """Commands that look at runs and keep them in order."""
    runs.add_argument("folder", metavar="DIR", nargs="?", help="folder of runs (data/runs)")
    runs.add_argument(
        "--where",
        metavar="NAME=VALUE",
        type=pair,
        action="append",
        default=[],
        help="only those of that status, content, setting ...: status=done, style_weight=1",
    )
    runs.add_argument("--sort", metavar="NAME", help="by seconds, style, created, a setting ...")
    runs.add_argument("--reverse", action="store_true", help="the other way round")
    runs.add_argument(
        "--tree",
        action="store_true",
        help="only runs that were forked, with their forks under them",
    )
    words = f"{RUNS}; or a .ipynb file"
    report.add_argument("runs", metavar="RUN_OR_NOTEBOOK", type=place, nargs="+", help=words)
    add_file(report, "HTML file to write; by default report.html in the run", required=False)
    report.add_argument(
        "--small", action="store_true", help="without the pictures that the run was made from"
    )
    compare.add_argument("runs", metavar="RUN", type=place, nargs="+", help=RUNS)
    add_file(compare, "PNG, JPEG or TIFF to write")
    add_run(mark)
    mark.add_argument("--off", action="store_true", help="make it one like others again")
    add_run(note)
    note.add_argument("words", metavar="WORD", nargs="*", help="in place of what was there")
    delete.add_argument("runs", metavar="RUN", type=place, nargs="+", help=RUNS)
    delete.add_argument("--yes", action="store_true", help="without asking")


def add_pictures(film: Parser, colour: Parser, target: Parser, **others: Parser) -> None:
    """Commands that make files of runs and styles."""
    add_run(film)
    add_file(film, "GIF file to write")
    film.add_argument("--edge", type=whole, default=480, help="long edge in pixels (480)")
    film.add_argument("--seconds", type=number, default=6.0, help="how long it takes (6)")
    add_run(colour)
    colour.add_argument("--amount", type=number, default=1.0, help="0 to 1 (1)")
    colour.add_argument(
        "--method",
        choices=CHOICES["color_method"],
        default="luminance",
        help="luminance, the picture's light with the content's colour; or by matching the picture's colours to the "
        "content's: cholesky, pca, symmetric (luminance)",
    )
    add_file(colour, "PNG, JPEG or TIFF to write")
    target.add_argument("style", metavar="STYLE", help="picture file")
    add_file(target, "file to write, name.safetensors")
    target.add_argument("--preset", choices=PRESETS, help="made for runs with that preset")
    for subject in ("pictures", "network", "losses", "descent"):
        add_settings(target.add_argument_group(subject), SUBJECTS[subject])


def add_recipe(run: argparse.ArgumentParser) -> None:
    """The pictures and the settings of a run."""
    run.add_argument("content", metavar="CONTENT", help="picture file to paint")
    run.add_argument(
        "styles",
        metavar="STYLE",
        nargs="+",
        help="picture file whose style to take, or a folder of them; several are blended",
    )
    for name, words in STYLE_LISTS.items():
        run.add_argument(f"--style-{name}", metavar="NUMBERS", type=numbers, help=words)
    run.add_argument("--style-where", metavar="FILES", type=masks, help=STYLE_WHERE)
    add_device(run)
    either = run.add_mutually_exclusive_group()
    either.add_argument(
        "--preset",
        choices=PRESETS,
        help="every setting not given as a published program has it; the defaults below are the kit's own",
    )
    either.add_argument(
        "--recipe",
        choices=RECIPES,
        help="settings for portraits, or for the look of an animated film; a face that is found is protected",
    )
    for subject, notes in SUBJECTS.items():
        add_settings(run.add_argument_group(subject), notes)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or mps; the best one here")


def add_settings(group: Any, notes: Mapping[str, str], default: str | None = None) -> None:
    """An option for each setting, with its note and its default."""
    group.argument_default = argparse.SUPPRESS  # what is not given is left out: none is a value
    known = {field.name: field for field in fields(Settings)}
    for name, words in notes.items():
        field, flag = known[name], f"--{name.replace('_', '-')}"
        own = field.default if field.default_factory is MISSING else field.default_factory()
        about = f"{words} ({default or in_a_word(own)})"
        if field.type is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=about)
        else:
            read = READERS[field.type]
            group.add_argument(flag, metavar=read.__name__.upper(), type=read, help=about)


def place(text: str) -> str:
    """The name of a file or a folder, which an unset variable of the shell has not."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give a name")
    return text


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def whole_or_none(text: str) -> int | None:
    return None if text == "none" else whole(text)


def numbers(text: str) -> tuple[float, ...]:
    return tuple(number(word) for word in names(text))


def name(text: str) -> str:
    return text


def name_or_none(text: str) -> str | None:
    return None if text == "none" else text


def masks(text: str) -> tuple[str, ...]:
    """Files' names; a single one may have a comma in it."""
    return (text,) if os.path.isfile(text) else names(text)


def names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def counts(text: str) -> tuple[int, ...]:
    return tuple(whole(word) for word in names(text))


def counts_or_none(text: str) -> tuple[int, ...] | None:
    return None if text == "none" else counts(text)


def shares(text: str) -> dict[str, float]:
    pairs = (pair(word, "pixels=5,relu1_1=2") for word in names(text))
    return {layer: number(share) for layer, share in pairs}


def pair(text: str, like: str = "status=done") -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not like {like}")
    return name, value


def choices(text: str) -> tuple[str, tuple[Any, ...]]:
    """A setting's name and its values."""
    word, values = pair(text, "style_weight=0.3,1,3")
    types, setting = {field.name: field.type for field in fields(Settings)}, word.replace("-", "_")
    if setting not in NOTES:
        raise argparse.ArgumentTypeError(str(unknown("setting", word, NOTES)))
    read = READERS.get(types[setting], switch)
    listed = read in (names, counts, counts_or_none, numbers, shares)
    found = tuple(map(read, filter(None, values.split(";") if listed else names(values))))
    if not found:
        raise argparse.ArgumentTypeError(
            f"no values in {text!r}; give some, as style_weight=0.3,1,3"
        )
    return setting, found


def switch(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


READERS = {
    str: name,
    str | None: name_or_none,
    int: whole,
    int | None: whole_or_none,
    float: number,
    tuple[str, ...]: names,
    tuple[int, ...]: counts,
    tuple[int, ...] | None: counts_or_none,
    tuple[float, ...]: numbers,
    Mapping[str, float]: shares,
}


def fail(error: Exception, status: int) -> int:
    print(f"nsutils: {' '.join(str(error).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
