"""Experiments with neural style transfer (Gatys, Ecker, Bethge 2015), to be read downward:

settings     what is asked for: Settings, Style, vary
machine      memory and threads
presets      the settings of published programs
pictures     files to tensors and back
colours      a picture with another's colours
faces        faces found, and masks of ellipses
targets      a style's statistics as a file
graphs       a computation recorded on a CUDA card
shapes       what is where in a picture: what is drawn, and its sky
statistics   statistics of features, and distances between them
losses       how far an image is from what is wanted
variation    how smooth an image is
vgg          VGG's weight files: told apart, read, fetched
encoders     a picture to its features, relu1_1 ... relu5_1
drawings     textures drawn by formula, the slim encoder's training pictures
crops        crops of pictures and their places, for the same training
samples      the pictures that come with the kit
pieces       an image seen piece by piece
regions      masks as weights of pixels
measures     the statistics of an image in one octave, and its distances from the content
objective    the targets and losses of one size
sources      content and styles at the size of each scale
optimizers   L-BFGS and Adam
descent      an image on its way down an objective
transfer     stylize, the optimisation, yields a Step after each iteration
watch        what a person should be told while a run goes
cost         what a run will cost: seconds and memory
origin       the machine, the versions and the process a run is made by
steering     what may change while a run plays, and a line of the record of it
course       a run's settings over its steps, by its record and as it is steered
folders      folders that many make and use at once
growing      text files that grow by a line at a time
metrics      the losses on disk, a row a step
inputs       the pictures that belong to a run
run          a folder that keeps settings, losses, pictures and the last step
parcel       a run as JSON, its pictures inside
pace         how fast a run goes, beside its forecast
player       plays a run: pause, steer, undo, stop, go on
recipe       a run in words: a table, a Python cell, a command line
replay       forks of a run, and a run made again
sweeps       many runs by one call, here or on any executor
figures      contact sheet, film, runs in rows and columns
curves       losses over the steps, as plots
table        the runs of a folder: filtered, sorted, compared
report       one HTML file
widgets      the widgets that ipywidgets does not have
panel        sliders and a live grid in JupyterLab
notebook     executes a notebook without a screen
pretrain     trains the slim encoder
commands     what each command does
cli          the words of the command nsutils

Each imports only from those above it. The names below are loaded when first used: `import nsutils` is quick.
"""

import os
import sys
from importlib import import_module

__version__ = "0.1.0"
_WHERE = {"Settings": "settings", "Style": "settings", "vary": "settings", "preset": "presets",
          "stylize": "transfer", "Step": "transfer", "forecast": "cost",
          "Run": "run", "Player": "player", "fork": "replay", "rerun": "replay", "sample": "samples",
          "sweep": "sweeps", "runs": "table"}  # fmt: skip
__all__ = [*_WHERE]

# Read when PyTorch is loaded. With large memory pages a step is up to a sixth shorter.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
if "ipykernel" in sys.modules:
    # Beside a kernel a browser works. Threads that wait for each other awake (GNU's OpenMP: for some milliseconds)
    # gain a fourth where nothing else runs, and lose all where something does.
    os.environ.setdefault("GOMP_SPINCOUNT", "100")


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(import_module(f"nsutils.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'nsutils' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
