"""What each command of `nsutils` does. The command line loads it when one is carried out: PyTorch takes its time."""

import os
import sys
from argparse import Namespace
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from itertools import product
from multiprocessing import get_context, parent_process
from pathlib import Path
from shlex import quote
from signal import SIG_IGN, SIGINT, signal
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from tqdm import tqdm

from nsutils import cost, encoders, faces, pictures, replay, sweeps
from nsutils.encoders import Encoder
from nsutils.folders import vacant
from nsutils.inputs import check_aside, with_pictures
from nsutils.parcel import packed
from nsutils.player import Player, check_possible, encoder_of
from nsutils.presets import FOUND, preset
from nsutils.run import Run, check_no_runs, new_folder
from nsutils.samples import ROOT, runs_folder
from nsutils.settings import NOTES, Settings, Style
from nsutils.sources import Sources, size_in_words, style_target
from nsutils.targets import SUFFIX
from nsutils.vgg import AGAINST

STEPLESS = {"original_colors", "mask_colors", "mask"}  # take effect on a picture that is done


def run(asked: Namespace) -> int:
    with TemporaryDirectory() as aside:
        follow_recipe(asked, Path(aside))
        return paint(asked, settings_of(asked, asked.content, styles_of(asked)))


def follow_recipe(asked: Namespace, folder: Path) -> None:
    """Adds the mask that a recipe proposes, over a face if one is found, in a file in the folder."""
    if not asked.recipe or "mask" in asked:
        return
    image = pictures.opened(asked.content)
    if not (ellipse := faces.portrait(image)):
        print("no face was found to protect; paint a mask in the panel, or name one with --mask")
        return
    x, y = round(100 * ellipse.x), round(100 * ellipse.y)
    print(f"a face was found at {x} % from the left, {y} % from the top; it is protected")
    asked.mask = str(folder / FOUND)
    faces.mask_of([ellipse], pictures.fitted(image.size, 512)).save(asked.mask)


def paint(asked: Namespace, settings: Settings) -> int:
    if asked.save:
        pictures.check_writable(asked.save)
        check_not_asked_for(asked.save, [settings])
    encoder, foreseen, words = foreseen_of(asked, settings)
    if not foreseen.fits:
        raise ValueError(f"this run takes {foreseen}")
    run = Run.create(asked.out, settings) if asked.out else Run.new(settings)
    print(words)
    if encoder.told_by == AGAINST:
        print(
            f"the name of {settings.weights or 'that file'} is another network's, but {encoder.name} was asked for"
        )
    if asked.preset and encoder.name == "slim":
        print(f"losses, sizes and schedule are {asked.preset}'s; the network is the kit's own")
    Player(run, encoder).play()
    if asked.save:
        try:
            run.save(asked.save)
        except (OSError, ValueError):
            ended(run)  # what was painted is there
            raise
    return ended(run, asked.save)


def check_not_asked_for(file: str, every: list[Settings]) -> None:
    """ValueError if the file is a picture that is asked for, or the same elsewhere, or a run's own."""
    check_no_runs(file)
    given: set[str] = set()
    for settings in every:
        with_pictures(settings, lambda name: given.add(name) or name)
    files = filter(Path.is_file, map(Path, given))
    check_aside(file, {pictures.hash_of(each) for each in files})


def ended(run: Run, file: str | None = None) -> int:
    """Says how a run ended; the exit status."""
    print(f"{run.status}: {file or run.result}\n{run.folder}")
    if reason := run.meta.get("ended_early"):
        print(f"nsutils: the last scales were left out: {reason}", file=sys.stderr)
        return 1
    return 130 if run.status == "stopped" else 0


def sweep(asked: Namespace) -> int:
    """The status is 1 if runs failed, when all others are done."""
    from nsutils.figures import Grid

    format = asked.save and pictures.check_writable(asked.save)
    with TemporaryDirectory() as aside, workers(asked.workers) as pool:
        follow_recipe(asked, Path(aside))
        every = [*{each.to_json(): each for each in varied(asked)}.values()]
        if asked.save:
            check_not_asked_for(asked.save, every)
        done, status = [], 0
        for one in {(one.encoder, one.weights): one for one in every}.values():
            checked_encoder(asked, one)
        folder = Path(asked.out) if asked.out else new_folder(runs_folder(), every[0])
        try:
            for run in sweeps.sweep(every, folder, pool, device=asked.device):
                done.append(run)
        except sweeps.Unfinished as error:
            print(f"nsutils: {error}", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print(f"stopped; the same command with --out {quote(str(folder))} goes on")
            status = 130
    print(
        f"done: {len(done)} of {len(every)} runs; a table of them: nsutils runs {quote(str(folder))}"
    )
    print(folder)
    if asked.save and done:
        write_file(asked.save, pictures.encoded(Grid(done).image(320), format))
    return status


def varied(asked: Namespace) -> list[Settings]:
    """The settings for each combination of what varies, each made as `nsutils run` would."""
    choices, styles = dict(asked.vary), styles_of(asked)
    names = [name for name, _ in asked.vary]
    if twice := [name for name in choices if names.count(name) > 1]:
        raise ValueError(f"--vary {twice[0]} is given twice; give all values in one")
    each = (dict(zip(choices, values, strict=True)) for values in product(*choices.values()))
    return [
        settings_of(Namespace(**vars(asked) | values), asked.content, styles) for values in each
    ]


def workers(count: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    """A pool of so many processes, or, for one, none: this process will do."""
    if count < 1:
        raise ValueError(f"workers is {count}; give 1 or more")
    if count == 1:
        return nullcontext()
    # A forked one would hang in PyTorch.
    return ProcessPoolExecutor(count, get_context("spawn"), at_work)


def at_work() -> None:
    """How a worker begins: it leaves Ctrl-C, which goes to all, to the process that made it, and ends with that."""
    signal(SIGINT, SIG_IGN)

    def left_alone() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=left_alone, daemon=True).start()


def found(name: str) -> Run:
    """The run in a folder, or of that name in data/runs, also as a table shortens it, or the last one there."""
    if name == "last":
        from nsutils.table import runs

        if not (known := runs()):
            raise ValueError(f"no run in {str(runs_folder())!r} yet; begin one with nsutils run")
        return known[0]
    if "…" in name and not Path(name).exists():
        from nsutils.table import runs, shortened

        alike = [run for run in runs() if shortened(run.folder.name) == name]
        if len(alike) > 1:
            raise ValueError(
                f"{len(alike)} runs are {name!r}; give a whole name: {alike[0].folder}"
            )
        name = str(alike[0].folder) if alike else name
    return Run(name if Path(name).exists() else runs_folder() / name)


def resume(asked: Namespace) -> int:
    run = found(asked.run)
    run.check_idle()
    run.check_files()
    player = Player(run)
    player.steer(**given(asked))
    if not player.steps_left:
        return rest(player, given(asked))
    player.encoder = encoder_of(run, asked.device)
    return go_on(player, f"{run.folder.name} goes on")


def rest(player: Player, asked: dict[str, Any]) -> int:
    """Writes the last picture anew, in other colours or because it is lost, if that is what there is to do."""
    name, made, result = player.run.folder.name, player.step.number, player.run.result
    if player.aim.steps < made:
        raise ValueError(f"{name!r} has made {made} steps already; give more with --steps, or none")
    try:
        whole = bool(pictures.opened(result))
    except ValueError:
        whole = False
    if asked.keys() - {*STEPLESS, "steps"} or (whole and not STEPLESS & asked.keys()):
        raise ValueError(f"{name!r} has made all its {made} steps; give more with --steps")
    player.settle()
    return ended(player.run)


def go_on(player: Player, words: str) -> int:
    """Makes the steps that are left, having said how many they are and how long they will take; the exit status."""
    if player.steps_left:
        settings, known = player.aim, cost.Cost(player.aim, player.encoder).probed()
        ahead = known.ahead(settings, player.step, player.run.meta.get("whole"))
        long = cost.duration(sum(seconds for _, seconds in ahead))
        words += f": {player.steps_left} steps left of {settings.steps}, about {long}"
    print(words)
    return ended(player.play())


def fork(asked: Namespace) -> int:
    run = found(asked.run)
    encoder = encoder_of(run, asked.device)
    new = replay.fork(run, asked.step, asked.out, **given(asked))
    origin = new.meta["parent"]
    player, changes = Player(new, encoder), given(asked).keys()
    if not player.steps_left and not (changes and changes <= STEPLESS):
        new.delete()
        made, name = origin["step"], run.folder.name
        words = f"{name!r} has made all its {made} steps"
        if made < run.made:  # it was given more later
            words = f"at step {made} {name!r} was to end"
        raise ValueError(f"{words}; give an earlier --step, or more with --steps")
    from_where = "" if player.step else f", whose first {origin['step']} steps are made again"
    words = f"{new.folder.name} leaves {origin['name']} after step {origin['step']}{from_where}"
    return go_on(player, words)


def rerun(asked: Namespace) -> int:
    from nsutils.report import parcels

    if Path(asked.source).suffix.lower() in (".html", ".htm"):
        try:
            found_inside = parcels(Path(asked.source).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"no report {asked.source!r}: {reason}") from error
    else:
        found_inside = [packed(found(asked.source), original=True)]
    if asked.out and len(found_inside) > 1:
        raise ValueError(f"{asked.source!r} holds {len(found_inside)} runs; leave --out away")
    files = {"content": asked.content, "init": asked.init}
    files |= {f"style_{n}": file for n, file in enumerate(asked.style or (), 1)}
    files = {role: file for role, file in files.items() if file}
    same = True
    for parcel in found_inside:
        new = replay.rerun(parcel, asked.out, files, asked.weights, asked.device)
        if not parcel["result"]:
            print(f"no picture to compare with, for the run had not come to one: {new.result}")
            continue
        likeness = replay.likeness(parcel, new)
        print(f"{likeness}: {new.result}")
        same = same and likeness.same
    return 0 if same else 1


def runs(asked: Namespace) -> None:
    from nsutils import table

    if asked.tree and (asked.sort or asked.reverse):
        raise ValueError(
            "a tree is in an order of its own; leave --tree away, or --sort and --reverse"
        )
    found = table.runs(asked.folder)
    for name, value in asked.where:
        found = found.where(**{name: value})
    if asked.sort:
        found = found.sorted(asked.sort)
    if asked.reverse:
        found = found[::-1]
    print(found.tree() if asked.tree else found)


def compare(asked: Namespace) -> None:
    from nsutils.figures import side_by_side

    format = pictures.check_writable(asked.out)
    every = [found(name) for name in asked.runs]
    image = side_by_side(every, 480)
    write_file(asked.out, pictures.encoded(image, format), *every)


def film(asked: Namespace) -> None:
    from nsutils import figures

    if Path(asked.out).suffix.lower() != ".gif":
        raise ValueError(f"{asked.out!r} does not end in .gif; a film is one")
    run = found(asked.run)
    write_file(asked.out, figures.film(run, asked.edge, asked.seconds), run)


def mark(asked: Namespace) -> None:
    found(asked.run).mark(not asked.off)


def note(asked: Namespace) -> None:
    run = found(asked.run)
    if asked.words:
        run.notes = " ".join(asked.words)
    print(run.notes)


def delete(asked: Namespace) -> int:
    """After a yes, for there is no way back."""
    named = map(found, asked.runs)
    doomed = [*{run.folder.resolve(): run for run in named}.values()]
    for run in doomed:
        print(f"{run.folder}: {run.made} steps{', a favourite' * run.favourite}")
    if not asked.yes:
        words = "this run" if len(doomed) == 1 else f"these {len(doomed)} runs"
        if not sys.stdin.isatty():
            raise ValueError(f"nobody is there to say yes to deleting {words}; add --yes")
        print(f"Delete {words} for ever? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("Nothing was deleted.")
            return 1
    for run in doomed:
        run.delete()
    return 0


def write_file(path: str, data: bytes, *shown: Run) -> None:
    """Writes the file, over no run's and no picture of those that are shown in it, and says how large it is."""
    check_no_runs(path)
    for run in shown:
        run.check_aside(path)
    pictures.hand_over(path, data)
    print(f"{path} ({len(data) / 1e6:.1f} MB)")


def forecast(asked: Namespace) -> int:
    settings = settings_of(asked, asked.content, styles_of(asked))
    Sources(settings)  # refuses what a run would
    _, foreseen, words = foreseen_of(asked, settings)
    print(words)
    return 0 if foreseen.fits else 1


def foreseen_of(asked: Namespace, settings: Settings) -> tuple[Encoder, cost.Forecast, str]:
    """The encoder that was asked for, the forecast with it, and what is said of both."""
    encoder = checked_encoder(asked, settings)
    foreseen = cost.forecast(settings, encoder)
    network = f"{encoder.name} on {encoder.device} in {encoder.precision}"
    words = f"{network}, {settings.steps} steps to {size_in_words(settings)}\n{foreseen}"
    return encoder, foreseen, words


def checked_encoder(asked: Namespace, settings: Settings) -> Encoder:
    """The encoder on the device that was asked for; ValueError if the settings do not go with it."""
    encoder = encoders.of(settings, device=asked.device)
    check_possible(settings, encoder)
    return encoder


def target(asked: Namespace) -> None:
    if Path(asked.out).suffix != SUFFIX:
        raise ValueError(f"{asked.out!r} does not end in {SUFFIX}; runs know a target by that")
    settings = settings_of(asked, asked.style, (Style(asked.style),))
    write_file(asked.out, style_target(settings, encoders.of(settings)).packed())


def colour(asked: Namespace) -> None:
    if not 0 <= asked.amount <= 1:
        raise ValueError(f"amount is {asked.amount:g}; give a number from 0 to 1")
    found(asked.run).save(asked.out, asked.amount, asked.method)
    print(asked.out)


def settings_of(asked: Namespace, content: str, styles: tuple[Style, ...]) -> Settings:
    """The settings that were given as options, and all others as the kit, or the preset, has them."""
    named = asked.preset or getattr(asked, "recipe", None)
    made = partial(preset, named) if named else Settings
    return made(content, styles, **given(asked))


def given(asked: Namespace) -> dict[str, Any]:
    """The settings that were given as options."""
    return {name: getattr(asked, name) for name in NOTES if hasattr(asked, name)}


def styles_of(asked: Namespace) -> tuple[Style, ...]:
    """The styles with their shares and scales, a folder's pictures each for itself."""
    folders = {name: pictures.folder(Path(name)) for name in asked.styles if name}
    files = [file for name in asked.styles for file in folders.get(name) or [name]]
    count, scales = len(files), asked.style_scale or (1.0,)
    lists = {
        "style_blend_weights": asked.style_blend_weights or (1.0,) * count,
        "style_scale": scales * count if len(scales) == 1 else scales,
        "style_where": [None if name == "-" else name for name in asked.style_where or "-" * count],
    }
    for name, given in lists.items():
        if len(given) != count:
            what = "masks" if name == "style_where" else "numbers"
            raise ValueError(
                f"{name} has {len(given)} {what} for {count} styles; give one for each"
            )
    return tuple(Style(str(file), *own) for file, *own in zip(files, *lists.values(), strict=True))


def report(asked: Namespace) -> None:
    from nsutils import notebook
    from nsutils.report import LEFT_OUT, report

    if asked.out and Path(asked.out).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{asked.out!r} does not end in .html; a report is one")
    first = Path(asked.runs[0])
    if first.suffix == ".ipynb":
        if len(asked.runs) > 1:
            raise ValueError("one notebook makes one report; name one")
        out = asked.out or str(first.with_suffix(".html"))
        return write_file(out, notebook.page(first).encode())
    every = [found(name) for name in asked.runs]
    if len(every) > 1 and not asked.out:
        raise ValueError(f"a report of {len(every)} runs needs a place; name it with --out")
    text = report(*every, small=asked.small)
    write_file(asked.out or str(every[0].folder / "report.html"), text.encode())
    if LEFT_OUT in text:
        print(LEFT_OUT)


def demo(asked: Namespace) -> None:
    """The first notebook without a screen: a run folder and its report."""
    from nsutils.notebook import executed
    from nsutils.report import report

    notebook = first_notebook()
    folder = vacant(runs_folder() / f"{datetime.now():%Y%m%d-%H%M%S}-demo")
    print("Painting with notebooks/01_first_picture.ipynb")
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(executed, notebook, folder=str(folder))
        watch(folder, work)
        work.result()
    pictures.write(folder / "report.html", report(Run(folder)).encode())
    print(f"run:    {folder}\nreport: {folder / 'report.html'}\nnext:   make lab, or nsutils lab")


def watch(folder: Path, work: Future) -> None:
    """A progress bar of the run that is being made in the folder."""
    with tqdm(total=1, bar_format="{percentage:3.0f}%|{bar:30}| {elapsed} {postfix}") as bar:
        while not wait([work], 0.5).done:
            if (folder / "settings.json").exists():
                run = Run(folder)
                bar.total, bar.n = run.settings.steps, run.made
                bar.set_postfix_str(f"step {bar.n} of {bar.total}", refresh=False)
            bar.refresh()
        bar.n = bar.total


def first_notebook() -> Path:
    if not (file := ROOT / "notebooks" / "01_first_picture.ipynb").exists():
        raise ValueError(f"no notebook at {str(file)!r}; take a checkout of the project")
    return file


def lab(asked: Namespace) -> None:
    """JupyterLab on this machine only, with Jupyter's own token."""
    notebook = first_notebook()
    root = notebook.parents[1]
    words = ["-m", "jupyter", "lab", "--ip=127.0.0.1", f"--ServerApp.root_dir={root}"]
    words.append(f"--LabApp.default_url=/lab/tree/{notebook.relative_to(root).as_posix()}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")
    os.execv(sys.executable, [sys.executable, *words])
