"""The pictures that belong to a run, by what they are there for: copied into it, and known by their old names."""

import json
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nsutils import pictures
from nsutils.settings import STARTS, Settings

Facts = dict[str, str]  # of an input: its file, as the run has it, its old name and its hash
UNREADABLE = (  # what JSON brings up that is not what it should be
    *(json.JSONDecodeError, UnicodeDecodeError),
    *(TypeError, LookupError, AttributeError),
)


def by_role(settings: Settings, renamed: Callable[[str, str], str]) -> Settings:
    """The settings with every picture renamed by its role and name.

    Roles are content, style_1, where_1, style_2, ..., mask, init.
    """
    content, styles = renamed("content", settings.content), []
    for n, style in enumerate(settings.styles, 1):
        picture = renamed(f"style_{n}", style.picture)
        where = style.where and renamed(f"where_{n}", style.where)
        styles.append(replace(style, picture=picture, where=where))
    mask = settings.mask and renamed("mask", settings.mask)
    init = settings.init if settings.init in STARTS else renamed("init", settings.init)
    return replace(settings, content=content, styles=tuple(styles), mask=mask, init=init)


def with_pictures(settings: Settings, renamed: Callable[[str], str]) -> Settings:
    """The settings with every picture's name changed."""
    return by_role(settings, lambda role, name: renamed(name))


def with_copies(settings: Settings, folder: Path) -> tuple[Settings, dict[str, Facts]]:
    """Copies the pictures to inputs/, named by role; the settings that name the copies, and what they were."""
    inputs: dict[str, Facts] = {}

    def copy(role: str, name: str) -> str:
        file = folder / "inputs" / f"{role}{Path(name).suffix.lower()}"
        pictures.write(file, Path(name).read_bytes())
        inputs[role] = copied(folder, file, own_name(name))
        return inputs[role]["file"]

    named = by_role(settings, copy)
    weights = settings.weights and str(Path(settings.weights).absolute())
    return replace(named, weights=weights), inputs


def copied(folder: Path, file: Path, name: str) -> Facts:
    """What meta.json says of an input that was called so."""
    place = file.relative_to(folder).as_posix()
    return {"file": place, "name": name, "sha256": pictures.hash_of(file)}


def with_inputs(meta: dict[str, Any]) -> dict[str, Any]:
    """What meta.json says, its inputs found to be all there."""
    for facts in meta["inputs"].values():
        facts["file"], facts["name"], facts["sha256"]
    meta["inputs"]["content"], meta["inputs"]["style_1"]
    return meta


def check_aside(path: str | Path, known: Container[str]) -> None:
    """ValueError if a file that is to be written is a picture of one of these hashes."""
    file = Path(path)
    if file.is_file() and pictures.hash_of(file) in known:
        raise ValueError(f"{str(path)!r} is what the picture is made from; write another file")


def own_name(picture: str) -> str:
    """The name of a picture's file, the old one if it is an input of a run."""
    file = Path(picture)
    folder = file.parent.parent
    if file.parent.name == "inputs" and (folder / "settings.json").is_file():
        with suppress(OSError, *UNREADABLE):
            meta = with_inputs(json.loads((folder / "meta.json").read_text()))
            for facts in meta["inputs"].values():
                if Path(facts["file"]).name == file.name:
                    return facts["name"]
    return file.name


def cut(name: str, most: int) -> str:
    """The beginning of a file's name, in so many bytes at most."""
    return name.encode(errors="ignore")[:most].decode(errors="ignore")
