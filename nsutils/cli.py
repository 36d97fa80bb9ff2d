"""The command `nsutils`: run, forecast, target, colour, report, demo, lab. Its options are the fields of Settings."""

import argparse
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import MISSING, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nsutils.presets import PRESETS, preset
from nsutils.settings import CHOICES, NOTES, SUBJECTS, Settings, Style


def main(words: list[str] | None = None) -> int:
    """Exit status: 0, 1 where a run failed, 2 for bad input, 130 after Ctrl-C."""
    asked = parser().parse_args(words)
    try:
        return asked.act(asked) or 0
    except ValueError as error:
        return fail(error, 2)
    except FloatingPointError as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return 130


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="nsutils",
        description="Neural style transfer: a picture painted in the manner of another.",
    )
    acts = top.add_subparsers(required=True, metavar="COMMAND")
    run = acts.add_parser(
        "run",
        help="paint CONTENT in the style of STYLE",
        usage="nsutils run CONTENT STYLE [STYLE ...] [--size WHOLE] [--style-weight NUMBER] ...",
    )
    run.add_argument(
        "--out", metavar="DIR", help="folder for the run; by default a new one in data/runs"
    )
    run.add_argument(
        "--save",
        metavar="FILE",
        help="picture file to write as well: PNG, JPEG or TIFF by its ending",
    )
    add_recipe(run)
    run.set_defaults(act=play)
    foresee = acts.add_parser(
        "forecast",
        help="what such a run will cost here: seconds, memory, the largest size",
        usage="nsutils forecast CONTENT STYLE [STYLE ...] [--size WHOLE] ...",
    )
    add_recipe(foresee)
    foresee.set_defaults(act=show_forecast)
    target = acts.add_parser(
        "target",
        help="save a style's statistics, to be used as STYLE without its picture",
        usage="nsutils target STYLE -o FILE [--size WHOLE] [--encoder NAME] ...",
    )
    target.add_argument("style", metavar="STYLE", help="picture file")
    target.add_argument(
        "-o", "--out", metavar="FILE", required=True, help="file to write, name.safetensors"
    )
    target.add_argument("--preset", choices=PRESETS, help="made for runs with that preset")
    for subject in ("pictures", "network", "losses", "descent"):
        add_settings(target.add_argument_group(subject), SUBJECTS[subject])
    target.set_defaults(act=write_target)
    colour = acts.add_parser("colour", help="give a run's picture back its content's colours")
    colour.add_argument("run", metavar="RUN", help="folder of the run")
    colour.add_argument("--amount", type=number, default=1.0, help="0 to 1 (1)")
    colour.add_argument(
        "--method",
        choices=CHOICES["color_method"],
        default="luminance",
        help=f"{SUBJECTS['pictures']['color_method']} (luminance)",
    )
    colour.add_argument(
        "-o", "--out", metavar="FILE", required=True, help="PNG, JPEG or TIFF to write"
    )
    colour.set_defaults(act=recolour)
    made = acts.add_parser("report", help="a run as one HTML file")
    made.add_argument("run", metavar="RUN", help="folder of the run")
    made.add_argument(
        "-o", "--out", metavar="FILE", help="HTML file to write; by default report.html in the run"
    )
    made.set_defaults(act=write_report)
    acts.add_parser("demo", help="execute the first notebook and write its report").set_defaults(
        act=demo
    )
    acts.add_parser("lab", help="open JupyterLab on the notebooks").set_defaults(act=lab)
    return top


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
        run.add_argument(f"--{name.replace('_', '-')}", metavar="NUMBERS", type=numbers, help=words)
    run.add_argument("--device", metavar="NAME", help="cpu, cuda or mps; the best one here")
    run.add_argument(
        "--preset",
        choices=PRESETS,
        help="every setting not given as a published program has it; the defaults below are the kit's own",
    )
    for subject, notes in SUBJECTS.items():
        add_settings(run.add_argument_group(subject), notes)


def add_settings(group: Any, notes: Mapping[str, str]) -> None:
    """An option for each setting, with its note and its default."""
    known = {field.name: field for field in fields(Settings)}
    for name, words in notes.items():
        field, flag = known[name], f"--{name.replace('_', '-')}"
        default = field.default if field.default_factory is MISSING else field.default_factory()
        about = f"{words} ({words_of(default)})"
        if field.type is bool:
            group.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=about
            )
        else:
            read = READERS[field.type]
            group.add_argument(flag, metavar=read.__name__.upper(), type=read, help=about)


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


def numbers(text: str) -> tuple[float, ...]:
    return tuple(number(word) for word in names(text))


def name(text: str) -> str:
    return text


def names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def counts(text: str) -> tuple[int, ...]:
    return tuple(whole(word) for word in names(text))


def shares(text: str) -> dict[str, float]:
    if any("=" not in word for word in names(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like pixels=5,relu1_1=2")
    return {layer: number(share) for layer, share in (word.split("=", 1) for word in names(text))}


READERS = {
    str: name,
    str | None: name,
    int: whole,
    int | None: whole,
    float: number,
    tuple[str, ...]: names,
    tuple[int, ...]: counts,
    tuple[float, ...]: numbers,
    Mapping[str, float]: shares,
}


STYLE_LISTS = {
    "style_blend_weights": "each style's share among several, as 3,7 (equal)",
    "style_scale": "each style's size beside the picture's, one for all or as 1,0.5; 0.5 halves the strokes (1)",
}


def styles_of(asked: argparse.Namespace) -> tuple[Style, ...]:
    """The styles with their shares and scales, a folder's pictures each for itself."""
    from nsutils.pictures import folder

    files = [file for name in asked.styles for file in folder(Path(name)) or [name]]
    lists = {}
    for name in STYLE_LISTS:
        given = getattr(asked, name) or (1.0,)
        if len(given) not in (1, len(files)):
            raise ValueError(
                f"{name} has {len(given)} numbers for {len(files)} styles; give one for each"
            )
        lists[name] = given if len(given) == len(files) else given * len(files)
    return tuple(
        Style(str(file), *both) for file, *both in zip(files, *lists.values(), strict=True)
    )


def words_of(default: object) -> str:
    if isinstance(default, dict):
        return ",".join(f"{name}={share:g}" for name, share in default.items())
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "none" if default is None else str(default)


def play(asked: argparse.Namespace) -> int:
    settings = settings_of(asked, asked.content, styles_of(asked))
    from nsutils import pictures
    from nsutils.cost import forecast
    from nsutils.player import Player
    from nsutils.run import Run
    from nsutils.sources import size_in_words
    from nsutils.vgg import AGAINST

    if asked.save:
        pictures.check_writable(asked.save)
    encoder = encoder_of(asked, settings)
    foreseen = forecast(settings, encoder)
    if not foreseen.fits:
        raise ValueError(f"this run takes {foreseen}")
    run = Run.create(asked.out, settings) if asked.out else Run.new(settings)
    network = f"{encoder.name} on {encoder.device} in {encoder.precision}"
    print(f"{network}, {settings.steps} steps to {size_in_words(settings)}\n{foreseen}")
    if encoder.told_by == AGAINST:
        print(
            f"the name of {settings.weights or 'that file'} is another network's, but {encoder.name} was asked for"
        )
    if asked.preset and encoder.name == "slim":
        print(f"losses, sizes and schedule are {asked.preset}'s; the network is the kit's own")
    Player(run, encoder).play()
    if asked.save:
        run.save(asked.save)
    print(f"{run.status}: {asked.save or run.result}\n{run.folder}")
    if reason := run.meta.get("ended_early"):
        return fail(ValueError(f"the last scales were left out: {reason}"), 1)
    return 130 if run.status == "stopped" else 0


def show_forecast(asked: argparse.Namespace) -> int:
    settings = settings_of(asked, asked.content, styles_of(asked))
    from nsutils.cost import forecast
    from nsutils.sources import size_in_words

    encoder = encoder_of(asked, settings)
    foreseen = forecast(settings, encoder)
    network = f"{encoder.name} on {encoder.device} in {encoder.precision}"
    print(f"{network}, {settings.steps} steps to {size_in_words(settings)}\n{foreseen}")
    return 0 if foreseen.fits else 1


def encoder_of(asked: argparse.Namespace, settings: Settings) -> Any:
    """The encoder on the device that was asked for; ValueError if a style's target was not made for it."""
    from nsutils import encoders
    from nsutils.sources import check_targets

    encoder = encoders.of(settings, **({"device": asked.device} if asked.device else {}))
    check_targets(settings, encoder)
    return encoder


def write_target(asked: argparse.Namespace) -> None:
    from nsutils import encoders
    from nsutils.sources import style_target
    from nsutils.targets import SUFFIX

    if Path(asked.out).suffix != SUFFIX:
        raise ValueError(f"{asked.out!r} does not end in {SUFFIX}; runs know a target by that")
    settings = settings_of(asked, asked.style, (Style(asked.style),))
    try:
        style_target(settings, encoders.of(settings)).write(asked.out)
    except OSError as error:
        raise ValueError(f"no target can be written to {asked.out!r}: {error.strerror}") from error
    print(f"{asked.out} ({Path(asked.out).stat().st_size / 1e6:.1f} MB)")


def recolour(asked: argparse.Namespace) -> None:
    from nsutils.run import Run

    Run(asked.run).save(asked.out, asked.amount, asked.method)
    print(asked.out)


def settings_of(asked: argparse.Namespace, content: str, styles: tuple[Style, ...]) -> Settings:
    """The settings that were given as options, and all others as the kit, or the preset, has them."""
    named = {name: getattr(asked, name, None) for name in NOTES}
    given = {name: value for name, value in named.items() if value is not None}
    made = partial(preset, asked.preset) if asked.preset else Settings
    return made(content, styles, **given)


def write_report(asked: argparse.Namespace) -> None:
    from nsutils.pictures import write
    from nsutils.report import report
    from nsutils.run import Run

    text = report(Run(asked.run))
    out = Path(asked.out or Path(asked.run) / "report.html")
    try:
        write(out, text.encode())
    except OSError as error:
        raise ValueError(f"no report can be written to {str(out)!r}: {error.strerror}") from error
    print(out)


def demo(asked: argparse.Namespace) -> None:
    """The first notebook without a screen: a run folder and its report."""
    from concurrent.futures import ThreadPoolExecutor

    from nsutils.notebook import executed
    from nsutils.pictures import write
    from nsutils.report import report
    from nsutils.run import Run, vacant
    from nsutils.samples import runs_folder

    folder = vacant(runs_folder() / f"{datetime.now():%Y%m%d-%H%M%S}-demo")
    print("Painting with notebooks/01_first_picture.ipynb")
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(executed, first_notebook(), folder=str(folder))
        watch(folder, work)
        work.result()
    write(folder / "report.html", report(Run(folder)).encode())
    print(f"run:    {folder}\nreport: {folder / 'report.html'}\nnext:   make lab")


def watch(folder: Path, work: Future) -> None:
    """A progress bar of the run that is being made in the folder."""
    from nsutils.run import Run

    with tqdm(
        unit="step", total=1, bar_format="{percentage:3.0f}%|{bar:30}| {elapsed} {postfix}"
    ) as bar:
        while not wait([work], 0.5).done:
            if (folder / "settings.json").exists():
                run = Run(folder)
                bar.total, bar.n = run.settings.steps, len(run.metrics)
                bar.set_postfix_str(f"step {bar.n} of {bar.total}", refresh=False)
            bar.refresh()
        bar.n = bar.total
        bar.refresh()


def first_notebook() -> Path:
    from nsutils.samples import ROOT

    if not (file := ROOT / "notebooks" / "01_first_picture.ipynb").exists():
        raise ValueError(f"no notebook at {str(file)!r}; take a checkout of the project")
    return file


def lab(asked: argparse.Namespace) -> None:
    """JupyterLab on this machine only, with Jupyter's own token."""
    notebook = first_notebook()
    root = notebook.parents[1]
    # Uploads beyond Tornado's 10 MiB would silently cut the connection.
    larger = "--ServerApp.tornado_settings={'websocket_max_message_size': 104857600}"
    words = ["-m", "jupyter", "lab", "--ip=127.0.0.1", larger, f"--ServerApp.root_dir={root}"]
    words.append(f"--LabApp.default_url=/lab/tree/{notebook.relative_to(root).as_posix()}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")
    os.execv(sys.executable, [sys.executable, *words])


def fail(error: Exception, status: int) -> int:
    print(f"nsutils: {' '.join(str(error).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
