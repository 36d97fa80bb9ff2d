"""The pictures that come with the kit: photographs to paint, and styles."""

from pathlib import Path

from nsutils import pictures

ROOT = Path(__file__).parents[1]
# In a wheel the pictures are in the package, in a checkout beside it.
INSTALLED = Path(__file__).parent / "data" / "pictures"
PICTURES = INSTALLED if INSTALLED.is_dir() else ROOT / "data" / "pictures"
RUNS = ROOT / "data" / "runs"


def samples(kind: str) -> dict[str, Path]:
    """The sample pictures of a kind, `content` or `style`, by name."""
    return {file.stem: file for file in pictures.folder(PICTURES / kind)}


def sample(name: str) -> str:
    """The path of the sample picture of that name; ValueError if there is none."""
    known = samples("content") | samples("style")
    if name not in known:
        raise ValueError(f"no sample picture {name!r}; there are {', '.join(known)}")
    return str(known[name])


def runs_folder() -> Path:
    """Where runs are kept: data/runs of the checkout, or of the working folder where there is none."""
    installed = INSTALLED.is_dir() or not RUNS.parent.is_dir()
    return Path.cwd() / "data" / "runs" if installed else RUNS
