"""What the kit asks of the machine: memory that is free and was used, threads, and memory given back at once."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")
# Bytes: larger pieces of memory go back when they are free. To be given them anew takes time, in a virtual machine a
# tenth of a step. So those of images of up to SMALL pixels are kept, as large as GNU's malloc allows, and of larger
# images the small ones. Where memory is scarce nearly all go back.
KEPT, MAPPED, SCARCE = 32 << 20, 9 << 19, 1 << 20
SMALL = 400**2


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken now: on the device, or on the processor's side within a container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, container_memory())


def container_memory() -> int:
    """Bytes left of the tightest limit that a container (a control group, version 2 or 1) sets; enormous without."""
    newer, older = ("max", "current"), ("limit_in_bytes", "usage_in_bytes")
    left = [sys.maxsize]
    for group, names in ((own_group(), newer), (CGROUP, newer), (CGROUP / "memory", older)):
        with suppress(OSError, ValueError):
            limit, used = (int((group / f"memory.{name}").read_text()) for name in names)
            left.append(limit - used + forgettable(group))
    return max(0, min(left))


def own_group() -> Path:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        return CGROUP / next(line[4:] for line in lines if line.startswith("0::/"))
    return CGROUP


def forgettable(group: Path) -> int:
    """Bytes that count as used, but are only a copy of files."""
    lines = (group / "memory.stat").read_text().splitlines()
    facts = dict(line.split() for line in lines)
    return int(facts.get("total_inactive_file", facts.get("inactive_file", 0)))


def resident_memory(device: torch.device) -> int:
    """Bytes that the process has in memory, on a graphics card that PyTorch has there."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    return psutil.Process().memory_info().rss


def forget_peak(device: torch.device) -> None:
    """Lets `peak_memory` begin anew, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """The most bytes that the process has had in memory, on a graphics card that PyTorch has had there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        return psutil.Process().memory_info().peak_wset
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def give_back_memory(device: torch.device) -> None:
    """Gives the system what is free and was only kept for the next use."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with suppress(AttributeError, OSError, TypeError):  # another library than GNU's
        ctypes.CDLL(None).malloc_trim(0)


def kept_up_to(pixels: int) -> int:
    """The size of pieces that are kept for the next use while an image of so many pixels is painted."""
    return KEPT if pixels <= SMALL else MAPPED


def return_above(size: int) -> None:
    """From now on pieces of memory of more than `size` bytes go back to the system at once, and leave no holes.

    Of smaller ones twice as much is kept where they end: to be given it anew at each step takes a tenth longer.
    """
    with suppress(AttributeError, OSError, TypeError):  # another library than GNU's
        ctypes.CDLL(None).mallopt(-3, size)
        ctypes.CDLL(None).mallopt(-1, 2 * size)


def dismiss_helpers() -> None:
    """Ends the threads that help the calling one to compute; they come back when it computes again.

    GNU's OpenMP counts every thread's helpers, idle ones too. Where they are more than the processors, none waits
    awake for work any more, and the many small operations of a step in another thread take up to half as long again.
    """
    with suppress(AttributeError, OSError, TypeError):  # another OpenMP, or none
        ctypes.CDLL(None).omp_pause_resource_all(1)
