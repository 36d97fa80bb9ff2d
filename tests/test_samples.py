import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nsutils import pictures, samples
from nsutils.samples import PICTURES, sample


def test_there_are_photographs_and_at_least_six_styles():
    assert {"waterside", "astronaut", "admiral", "cup"} <= set(samples.samples("content"))
    assert len(samples.samples("style")) >= 6


def test_samples_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pictures.opened(sample("waterside")).width > 300


def test_an_unknown_sample_is_named_with_those_that_are_there():
    with pytest.raises(ValueError, match=r"'moon'.*astronaut"):
        sample("moon")


def test_every_photograph_has_its_source_and_licence_written_down():
    told = (PICTURES.parent / "README.md").read_text()
    for name in os.listdir(PICTURES / "content"):
        assert re.search(rf"\|\s*\[?`?{name}`?.*(CC0|CC BY|[Pp]ublic domain)", told), name


def test_the_styles_are_what_their_script_paints(tmp_path):
    subprocess.run([sys.executable, PICTURES.parent / "paintings.py", tmp_path], check=True)
    styles = samples.samples("style")
    assert {file.stem for file in tmp_path.iterdir()} == set(styles)
    for name, file in styles.items():
        painted, shipped = (
            np.asarray(Image.open(one), int) for one in (tmp_path / f"{name}.jpg", file)
        )
        assert np.abs(painted - shipped).mean() < 1, name
