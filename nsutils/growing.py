"""Text files that grow by a line at a time, the last of which a crash may have cut off."""

from pathlib import Path


def lines(file: Path, first: bool = False) -> list[str]:
    """The whole lines of a file, or the first; none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="", errors="replace") as stream:
        found = [stream.readline()] if first else stream.readlines()
    return [line for line in found if line.endswith("\n")]


def append(file: Path, line: str) -> None:
    """Adds a line, in place of one that was cut off in mid-write."""
    with file.open("ab+") as stream:
        if end := stream.tell():
            stream.seek(end - 1)
            if stream.read() != b"\n":
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(f"{line}\n".encode())
