"""Where a run is made: the machine, the versions, the process, the time."""

import os
import platform
import socket
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil


def circumstances() -> dict[str, Any]:
    """The machine and the versions a run is made with."""
    packages = ("nsutils", "torch", "numpy", "pillow")
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": psutil.Process().create_time(),
        "platform": platform.platform(),
        "versions": versions,
        "commit": commit(),
    }


def commit() -> str | None:
    """The git commit of the kit's own checkout, if it is one, with a + where files differ from it."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    words = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    asked = {"capture_output": True, "text": True, "timeout": 5, "check": True}
    try:
        return subprocess.run(words, cwd=root, **asked).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def alive(pid: int, since: float | None = None) -> bool:
    """Whether the process of that number is there, and is the one that began then."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # ended, which its parent does not know yet
            return False
        return since is None or abs(process.create_time() - since) < 5  # seconds: clocks are set
    except psutil.Error:
        return False


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
