"""How this process gets memory from the system."""

from __future__ import annotations

import ctypes
import sys


def keep_freed_memory() -> bool:
    """Let malloc keep large blocks it gets back: fewer page faults, faster training.

    It changes the whole process (glibc only, elsewhere it does nothing), so a program calls it
    for itself before its first large allocation; the `zoo` command does. Returns whether it took.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((mmap_threshold, 1 << 30), (trim_threshold, 2**31 - 1), (top_pad, 1 << 28))
    took = [mallopt(setting, value) == 1 for setting, value in settings]
    return all(took)
