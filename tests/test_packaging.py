"""pyproject.toml, environment.yml, constraints.txt and the Makefile say the same."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from nsutils.samples import INSTALLED

ROOT = Path(__file__).parent.parent
# Where conda-forge's name is another.
PYPI_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


def bounds(lines):
    """Lower bounds by PyPI name; every line must be `name>=version`."""
    found = {}
    for requirement in map(Requirement, lines):
        (specifier,) = requirement.specifier
        assert specifier.operator == ">=", f"{requirement} is not a lower bound"
        name = PYPI_NAMES.get(requirement.name, requirement.name)
        found[canonicalize_name(name)] = Version(specifier.version)
    return found


def pins():
    """Versions by PyPI name; no line has an address, a path or a local version."""
    found = {}
    for line in read("constraints.txt").splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[\w.-]+==[A-Za-z0-9.]+", line), f"{line!r} is no plain pin"
            name, version = line.split("==")
            assert canonicalize_name(name) not in found, f"{name} is pinned twice"
            found[canonicalize_name(name)] = Version(version)
    return found


def test_conda_has_the_same_packages_and_bounds():
    entries = yaml.safe_load(read("environment.yml"))["dependencies"]
    assert [entry for entry in entries if not isinstance(entry, str)] == [{"pip": ["-e ."]}]
    packages = [entry for entry in entries if isinstance(entry, str) and entry != "pip"]
    python = "python" + project()["requires-python"]
    assert bounds(packages) == bounds([*project()["dependencies"], python])


def test_constraints_pin_every_dependency_within_its_bound():
    wanted = bounds([*project()["dependencies"], *project()["optional-dependencies"]["test"]])
    pinned = pins()
    assert wanted.keys() <= pinned.keys()
    assert [name for name, bound in wanted.items() if pinned[name] < bound] == []


def test_constraints_name_nothing_but_packages():
    assert "://" not in read("constraints.txt")


def test_pins_serve_the_oldest_python():
    oldest, pinned = project()["requires-python"].removeprefix(">=") + ".0", pins()
    for package in distributions():
        if pinned.get(canonicalize_name(package.name)) == Version(package.version):
            wanted = SpecifierSet(package.metadata.get("Requires-Python", ""))
            assert oldest in wanted, f"{package.name} {package.version} needs Python {wanted}"


def test_a_wheel_has_the_pictures_where_samples_are_looked_for():
    along = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert ROOT / along["force-include"]["data/pictures"] == INSTALLED


def test_makefile_names_no_index_but_pytorchs():
    addresses = re.findall(r"\w+://[^\s'\"]+", read("Makefile"))
    assert addresses == ["https://download.pytorch.org/whl/cpu"]
    assert not re.search(r"--(extra-index-url|find-links|trusted-host)", read("Makefile"))
