"""The pictures that come with the kit: photographs to paint, and styles; drawn where there are none."""

from pathlib import Path

from platformdirs import user_cache_path

from nsutils import pictures

ROOT = Path(__file__).parents[1]
PICTURES, RUNS = ROOT / "data" / "pictures", ROOT / "data" / "runs"


def samples(kind: str) -> dict[str, Path]:
    """The sample pictures of a kind, `content` or `style`, by name."""
    files = pictures.folder(PICTURES / kind) or drawn(kind)
    return {file.stem: file for file in files}


def sample(name: str) -> str:
    """The path of the sample picture of that name; ValueError if there is none."""
    known = samples("content") | samples("style")
    if name not in known:
        raise ValueError(f"no sample picture {name!r}; there are {', '.join(known)}")
    return str(known[name])


def runs_folder() -> Path:
    """Where runs are kept: data/runs of the checkout, or beside the working folder's own data."""
    return RUNS if PICTURES.is_dir() else Path.cwd() / "data" / "runs"


def drawn(kind: str) -> list[Path]:
    """For an install without its data folder: the styles painted anew into the cache, one of them as content."""
    from nsutils.paintings import PAINTINGS

    folder = user_cache_path("nsutils") / "samples" / kind
    folder.mkdir(parents=True, exist_ok=True)
    names = PAINTINGS if kind == "style" else ["points"]
    for name in names:
        if not (folder / f"{name}.jpg").exists():
            pictures.write(folder / f"{name}.jpg", pictures.jpeg(PAINTINGS[name]()))
    return pictures.folder(folder)
