"""Executes a notebook without a screen, with other parameters if wanted, and makes a page of one."""

import base64
import io
import os
import re
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from PIL import Image

from nsutils import pictures
from nsutils.figures import DIVIDE
from nsutils.report import document
from nsutils.samples import ROOT

WIDGET = "application/vnd.jupyter.widget-view+json"
# No policy of a page forbids these to lead away from it.
LEADING_AWAY = re.compile(r"<(meta|link|base)\b[^>]*>", re.IGNORECASE)
# What lies beside the notebook is not beside the page.
ELSEWHERE = re.compile(
    r'<a [^>]*?href="(?!https?:|#|data:|mailto:)[^"]*"[^>]*>(.*?)</a>', re.DOTALL
)
# A page's policy forbids scripts in attributes: dividers move by this one.
MOVES = f'oninput="{escape(DIVIDE)}"'
SCRIPT = f"""
for (const slider of document.querySelectorAll("input.divider")) slider.oninput = function () {{ {DIVIDE} }};
"""
NO_WORDS = "No description has been provided for this image"
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # in Markdown
LARGE = 100_000  # characters of a PNG, from which on it is kept as a JPEG


def executed(file: Path, seconds: int = 600, **parameters: Any) -> NotebookNode:
    """The notebook, run from top to bottom in a fresh kernel, in its own folder.

    `parameters` are set after the cell that is tagged so. What fails in a cell is raised here.
    """
    notebook = nbformat.read(file, as_version=4)
    if parameters:
        places = [n for n, cell in enumerate(notebook.cells, 1) if tagged(cell)]
        if not places:
            raise ValueError(f"no cell of {str(file)!r} is tagged parameters; tag one, to set some")
        words = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        notebook.cells.insert(places[0], nbformat.v4.new_code_cell(words))
    quiet = ["--log-level=ERROR"]
    client = NotebookClient(notebook, timeout=seconds, coalesce_streams=True, extra_arguments=quiet)
    client.execute(cwd=str(file.parent))
    return notebook


def tagged(cell: NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def presentable(notebook: NotebookNode) -> NotebookNode:
    """The notebook as a reader without a kernel should find it: small pictures and words, no widgets' state.

    Of a progress bar that was written over and over its last state is left.
    """
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not is_bar(output)]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(WIDGET, None)
            if "text/plain" in data:  # no path of the machine it ran on
                data["text/plain"] = data["text/plain"].replace(f"{ROOT}{os.sep}", "")
            if len(data.get("image/png", "")) > LARGE:
                data["image/jpeg"] = as_jpeg(data.pop("image/png"))
    return notebook


def is_bar(output: NotebookNode) -> bool:
    """Whether it is a progress bar, of whose state only the beginning is in the notebook."""
    data = output.get("data", {})
    return WIDGET in data and "%|" in data.get("text/plain", "")


def page(file: str | Path) -> str:
    """An executed notebook as one HTML that asks for nothing and runs only its dividers; ValueError if it is none."""
    file = Path(file)
    try:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as error:
        reason = getattr(error, "strerror", None) or "it holds no notebook"
        raise ValueError(f"no notebook {str(file)!r}: {reason}; give an .ipynb file") from error
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        embed_images=True,
    )
    beside = {"metadata": {"path": str(file.parent)}}
    body, _ = exporter.from_notebook_node(presentable(notebook), beside)
    while (safe := LEADING_AWAY.sub("", body)) != body:  # what is left may come to be one
        body = safe
    body = ELSEWHERE.sub(r"\1", body).replace(NO_WORDS, "what the cell above shows")
    divided = MOVES in body
    body = body.replace(MOVES, 'class="divider"')
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)", CODE.sub("", words), re.MULTILINE)
    body = f'<main class="notebook">{body}</main>'
    return document(heading[1] if heading else file.stem, body, SCRIPT if divided else "")


def as_jpeg(png: str) -> str:
    """The picture of a notebook's output, a fifth as large."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return base64.b64encode(pictures.jpeg(image.convert("RGB"), quality=85)).decode()
