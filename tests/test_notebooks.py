"""Every notebook runs from top to bottom in a fresh kernel, and is committed as a reader should find it."""

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from nsutils import Run
from nsutils.notebook import WIDGET, executed, presentable, tagged

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SMALL = {
    "01_first_picture": {"size": 48, "steps": 40, "folder": "run"},
    "02_what_the_encoder_sees": {"size": 48, "steps": 3},
    "03_the_programs_side_by_side": {"size": 48, "steps": 3, "kept_in": "runs"},
    "04_what_does_it_cost": {
        "sizes": (48, 64),
        "ran": (48, 48, 64),
        "steps": 6,
        "kept_in": "runs",
    },
    "05_one_experiment": {"size": 64, "steps": 10, "folder": "run"},
    "06_what_have_i_done": {"size": 48, "steps": 5, "kept_in": "runs"},
    "07_can_it_keep_a_face": {"size": 48, "steps": 2, "kept_in": "runs"},
    "08_which_layers_make_the_style": {
        "size": 48,
        "steps": 2,
        "style_weights": (1, 10),
        "kept_in": "runs",
    },
    "09_how_does_the_picture_get_there": {"size": 64, "steps": 8, "every": 4, "kept_in": "runs"},
    "10_how_do_the_weights_trade": {
        "size": 48,
        "steps": 2,
        "content_weights": (0.1, 0.5),
        "style_weights": (0.2, 1.0),
        "kept_in": "runs",
    },
    "11_two_styles_scales_colours": {"size": 48, "steps": 2, "kept_in": "runs"},
}


def pictures_in(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    found = [item[kind] for item in data for kind in ("image/png", "image/jpeg") if kind in item]
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs_and_shows_pictures(file, tmp_path):
    parameters = dict(SMALL[file.stem])
    for name in {"folder", "kept_in"} & set(parameters):
        parameters[name] = str(tmp_path / parameters[name])
    notebook = executed(file, **parameters)
    shown = pictures_in(notebook)
    assert len(shown) >= 2 and all(
        len(image.convert("RGB").getcolors(1 << 22)) > 50 for image in shown
    )
    assert "folder" not in parameters or Run(parameters["folder"]).status == "done"
    assert not any(WIDGET in str(cell.get("outputs")) for cell in presentable(notebook).cells)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_committed_executed_small_and_without_widget_state(file):
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    assert sum(tagged(cell) for cell in notebook.cells) == 1
    assert pictures_in(notebook)
    assert file.stat().st_size < 1.5e6
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(len(cell.source.splitlines()) <= 10 for cell in code)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    told = [
        output.get("data", {}).get("text/plain", "") for cell in code for output in cell.outputs
    ]
    assert not any(re.search(r"['\"](/|[A-Z]:\\)", words) for words in told)  # of one machine
