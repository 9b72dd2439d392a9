"""What this process has in memory. Runs inside toolchains: the standard library only.

reset_peak(); …; peak()            # bytes, of what was done in between
"""

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path


def release() -> None:
    """Give back to the system what is free: after a converter, glibc keeps gigabytes for itself otherwise."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)


def reset_peak() -> None:
    """The peak counts from now on, where the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most this process has had in memory since the last reset, in bytes."""
    try:
        (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
