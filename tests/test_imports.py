"""The import order that the package's docstring tells is the one that its modules keep."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nsutils

PACKAGE = Path(nsutils.__file__).parent
ORDER = re.findall(r"^(\w+) {2,}\S", nsutils.__doc__, re.MULTILINE)


def imported(file: Path) -> set[str]:
    """The names of the package's modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "nsutils":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nsutils."):
            found.add(node.module.split(".")[1])
    return found


def test_the_docstring_names_every_module():
    modules = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules | {"widgets"} == set(ORDER)


def test_imports_only_point_upward_in_the_list():
    for place, module in enumerate(ORDER):
        files = (
            [PACKAGE / f"{module}.py"]
            if module != "widgets"
            else (PACKAGE / "widgets").glob("*.py")
        )
        for file in files:
            later = imported(file) & set(ORDER[place + 1 :])
            assert not later, f"{file.name} imports {later}, which come after it"


def test_importing_the_package_loads_neither_torch_nor_matplotlib():
    heavy = "{'torch', 'torchvision', 'matplotlib', 'ipywidgets', 'numpy'}"
    words = f"import sys, nsutils, nsutils.settings, nsutils.cli; print({heavy} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


@pytest.mark.parametrize("heavy", ["torchvision", "matplotlib"])
def test_painting_and_the_table_of_runs_load_nothing_that_they_do_not_need(heavy):
    words = f"import sys, nsutils; nsutils.Player, nsutils.runs; print({heavy!r} in sys.modules)"
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_the_first_line_of_a_notebook_works():
    for name in nsutils.__all__:
        assert getattr(nsutils, name).__name__ == name
