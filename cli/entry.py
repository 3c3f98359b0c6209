"""The entry of the `zoo` command: SIGTERM and Ctrl-C end it in a line from the first moment on."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command; see `cli.zoo_app.main`."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        # the libraries of the terminal take a second to load
        from cli.zoo_app import main

        main()
    except KeyboardInterrupt:  # before a command began, which handles it itself
        _leave(signal.SIGINT, None)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, b"Stopped before anything was done.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
