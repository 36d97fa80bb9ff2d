"""Runs made from runs: forked after a step with other settings, or made again and compared."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from nsutils.encoders import Encoder
from nsutils.folders import alone, vacant
from nsutils.inputs import with_pictures
from nsutils.parcel import SMALL, Parcel, packed, result, unpacked
from nsutils.player import Player, check_possible, encoder_of
from nsutils.run import Run, begun_with, new_folder, numbered, whole_or_gone
from nsutils.samples import runs_folder
from nsutils.steering import apart, checked, renamed, steered
from nsutils.targets import small_picture
from nsutils.transfer import Step, same_objective


def fork(
    run: Run, step: int | None = None, folder: str | Path | None = None, **changes: Any
) -> Run:
    """A new run that went as `run` did up to `step`, by default its last, and goes on with other settings.

    Play it with `Player`. What the optimiser remembers is kept where the objective stays the same. Where the step
    itself was not kept, those before it are made again. By default in a new folder beside the run's. Of a run that
    is being played, the last is that of its last checkpoint.
    """
    run.check_files()
    last = run.last  # read but once: whoever plays the run goes on meanwhile
    end = last.number if last else 0
    step = end if step is None else step
    if not isinstance(step, Integral) or not 0 <= step <= end:
        raise ValueError(f"no step {step!r} to fork from; {run.folder.name!r} has 0 to {end}")
    step = int(step)
    before = run.settings_at(step)
    changes = checked(before, changes)
    check_possible(steered(before, renamed(changes, str)), None)
    meta = run.meta
    told = renamed(
        apart(before, changes),
        lambda mask: Path(mask).name if isinstance(mask, str | Path) else "painted",
    )
    origin = {"id": meta.get("id"), "name": run.folder.name, "step": step, "changes": told}
    with alone(run.folder.parent):
        place = Path(folder) if folder else new_folder(run.folder.parent, run.settings)
        new = Run.create(place, run.settings, parent=origin, **begun_with(meta))
    with whole_or_gone(new):
        for line in run.steering:
            if line["step"] < step:
                new.steered(line["step"], renamed(line, new.add_mask))
        changes = renamed(changes, new.add_mask)
        if changes:
            new.steered(step, changes)
        same = same_objective(before, steered(before, changes))
        if state := known(run, last, step, same):
            copy_up_to(step, run, new)
            settings = with_pictures(
                state.settings, lambda name: str(new.folder / run.relative(name))
            )
            new.checkpoint(replace(state, settings=settings))
    return new


def known(run: Run, last: Step | None, number: int, same: bool) -> Step | None:
    """The step from which a run can go on as though it had come there by itself.

    Under the same objective that takes what the optimiser remembered.
    """
    if last and last.number == number:
        return last
    return None if same else run.state(number)


def copy_up_to(step: int, run: Run, new: Run) -> None:
    """Copies the rows and the pictures of the steps that both have."""
    for kind in ("images", "states"):
        for number, file in numbered((run.folder / kind).glob("step_*")):
            if number <= step:
                (new.folder / kind).mkdir(exist_ok=True)
                shutil.copyfile(file, new.folder / kind / file.name)
    if (run.folder / "metrics.csv").exists():
        shutil.copyfile(run.folder / "metrics.csv", new.folder / "metrics.csv")
    new.rewind(step)


def rerun(
    source: Run | Parcel,
    folder: str | Path | None = None,
    files: Mapping[str, str | Path] = {},
    weights: str | None = None,
    device: str | None = None,
    encoder: Encoder | None = None,
) -> Run:
    """The run of a folder or of a report, played again by its record to where it stood, in a new folder.

    Pictures that a report leaves out are taken from `files`, by role: content, style_1, ...
    """
    parcel = packed(source, original=True) if isinstance(source, Run) else source
    runs = source.folder.parent if isinstance(source, Run) else runs_folder()
    with alone(runs):
        place = Path(folder) if folder else vacant(runs / f"{Path(parcel['name']).name}-again")
        run, last = unpacked(parcel, place, files, weights), parcel["steps"]
    if device:
        encoder = encoder_of(run, device)
    player = Player(run, encoder)
    player.listeners.append(lambda p: p.step and p.step.number >= last and p.stop())
    return player.play() if last else run


@dataclass(frozen=True)
class Likeness:
    """How a picture that was made again is like the first: `mean` and `most` are differences of 255."""

    same: bool
    mean: float
    most: int
    circumstances: tuple[str, ...]

    def __str__(self) -> str:
        if self.same:
            return "the same picture, pixel for pixel"
        words = f"not the same picture: seen at {SMALL} px it differs by {self.mean:.2f} of 255, at most by {self.most}"
        return f"{words}; {'; '.join(self.circumstances) or 'made in the same circumstances'}"


def likeness(parcel: Parcel, run: Run) -> Likeness:
    """How the run's picture is like the one that the parcel tells of; ValueError if either has none."""
    first, second = parcel["result"], result(run)
    if not first or not second:
        raise ValueError("there is no picture to compare with: the run had not come to one")
    one, other = (np.asarray(small_picture(each["jpeg"]), float) for each in (first, second))
    there, here = circumstances(parcel["meta"]), circumstances(run.meta)
    differing = (f"{n}: {there[n]} there, {here[n]} here" for n in there if there[n] != here.get(n))
    apart = np.abs(one - other) if one.shape == other.shape else np.full(1, 255.0)
    same = first["sha256"] == second["sha256"]
    return Likeness(same, float(apart.mean()), int(apart.max()), tuple(differing))


def circumstances(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture may depend on beside its recipe."""
    names = ("platform", "device", "precision", "threads", "whole", "commit")
    return {name: meta.get(name) for name in names} | dict(meta.get("versions", {}))
