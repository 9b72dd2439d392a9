"""The memory that this process uses. Runs inside toolchains: the standard library only.

reset_peak(); …; peak()            # bytes, of what was done in between
"""

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path


def release() -> None:
    """Give free memory back to the system: after a converter, glibc would keep gigabytes for itself."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)


def reset_peak() -> None:
    """Count the peak from now on, where the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(b"5")


def peak() -> int:
    """Return the most memory this process has had since the last reset, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        (line,) = [text for text in lines if text.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
