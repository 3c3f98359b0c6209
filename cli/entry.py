"""The entry of the `zoo` command: SIGTERM ends it in a line from the first moment on."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command; see `cli.zoo_app.main`."""
    signal.signal(signal.SIGTERM, _leave)
    # the libraries of the terminal take a second to load
    from cli.zoo_app import main

    main()


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Stopped before anything was done.\n")
    os._exit(143)  # terminal.STOPPED, which is not imported yet


if __name__ == "__main__":
    main()
