"""Folders that threads and processes make and use at the same time."""

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ALONE = threading.RLock()  # one thread at a time is alone with a folder
HELD: set[Path] = set()  # the folders with which that thread is alone


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Meanwhile no other thread or process is here with the same folder; one that is killed holds nobody up."""
    with ALONE, ExitStack() as stack:
        if (place := folder.resolve()) not in HELD:
            HELD.add(place)
            stack.callback(HELD.discard, place)
            with suppress(ImportError, OSError):  # Windows, or a disk without locks: threads only
                import fcntl

                opened = os.open(place, os.O_RDONLY)
                stack.callback(os.close, opened)
                fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def vacant(folder: Path) -> Path:
    """The folder, or one numbered like it, that is not there yet."""
    numbered = (folder.with_name(f"{folder.name}-{n}") for n in itertools.count(2))
    return next(path for path in itertools.chain([folder], numbered) if not path.exists())
