"""Any name as text that stays in its line and commands no terminal."""

from __future__ import annotations

import io
import sys

_SPELLED = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def one_line(text: str) -> str:
    """Text with its control characters spelled out: names of files may hold them."""
    return text.translate(_SPELLED)


def spell_out() -> None:
    """From now on what stdout has no code for is spelled out, and no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
