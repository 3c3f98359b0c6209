"""Memory allocation of this process."""

from __future__ import annotations

import ctypes
import sys


def keep_freed_memory() -> bool:
    """Let malloc keep large freed blocks: fewer page faults, faster training.

    It changes the whole process (glibc only, elsewhere it does nothing): call it before the first
    large allocation, as the `zoo` command does.

    Returns:
        Whether malloc accepted the settings.

    Example:
        >>> keep_freed_memory()
        True
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    settings = ((mmap_threshold, 1 << 30), (trim_threshold, 2**31 - 1), (top_pad, 1 << 28))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    accepted = [mallopt(setting, value) == 1 for setting, value in settings]
    return all(accepted)
