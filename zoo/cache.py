"""Where this user's cache is."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`SOURCE_ZOO_CACHE`, else `source-zoo` in `XDG_CACHE_HOME`, else in `~/.cache`."""
    if own := os.environ.get("SOURCE_ZOO_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "source-zoo"
