"""Lines of HTML that the panel says something with."""

import base64
import os
from html import escape
from pathlib import Path

LARGEST_COPY = 30 << 20  # bytes of a file that a link in the page holds


def note(words: str) -> str:
    """A line that is no complaint."""
    return f'<div class="note">{escape(words)}</div>'


def complaint(error: Exception) -> str:
    """One line that says what is wrong; nobody writes more than one line into an error here."""
    return f'<div class="bad" role="alert">{escape(" ".join(str(error).split()))}</div>'


def copy_of(file: Path, what: str, kind: str) -> str:
    """Where a run's file is, and a link that saves a copy where that is not too large for a page."""
    data, place = file.read_bytes(), min(str(file), os.path.relpath(file), key=len)
    words = f"{what}: {escape(place)} ({len(data) / 1e6:.1f} MB)"
    if len(data) <= LARGEST_COPY:
        name = escape(f"{file.parent.name}{file.suffix}")
        link = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        words += f'. <a download="{name}" href="{link}">Save the {what.lower()}</a>'
    return f'<div class="note">{words}</div>'
