"""Executes the notebooks in place, as they are committed: with pictures, without widgets' state."""

from pathlib import Path

import nbformat

from nsutils.notebook import executed, presentable

for file in sorted(Path(__file__).parent.glob("*.ipynb")):
    print(file.name)
    nbformat.write(presentable(executed(file)), file)
