"""Put real outputs of commands into the docs: `python -m tests.tools.doc_outputs`.

In the tutorial and the README a `text` block right after an `sh` block is the output of its `zoo`
commands. They run in order in one new folder with an empty cache, first those of the tutorial. It
takes some minutes; the outputs hold times and are not checked by a test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "tutorial.md", ROOT / "README.md")
BLOCKS = re.compile(
    r"(^```sh\n((?:(?!```).*\n)*)```\n\n```text\n)((?:(?!```).*\n)*)(```$)", re.MULTILINE
)
COLUMNS = "110"
PROGRESS = re.compile(r".* of [\d,]+ \(\d+%\)")
"""Lines of work that takes longer than half a minute, which depend on the machine."""


def fill(page: str, folder: Path) -> str:
    """The page with what its commands print in a folder, stdout and stderr in one.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    return BLOCKS.sub(lambda found: found[1] + _run(found[2], folder) + found[4], page)


def _run(script: str, folder: Path) -> str:
    zoo = f'zoo() {{ "{sys.executable}" -m cli.zoo_app "$@"; }}'
    lines = [line for line in script.splitlines() if line.startswith("zoo ")]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SOURCE_ZOO_CACHE": str(folder / "cache"),
        "COLUMNS": COLUMNS,
        "NO_COLOR": "1",
    }
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", "\n".join(["set -e", zoo, *lines])],  # noqa: S607
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(f"{'; '.join(lines)}\n{ran.stdout}", flush=True)
    ran.check_returncode()
    lines = [line.rstrip() for line in ran.stdout.splitlines() if not PROGRESS.match(line)]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for path in PAGES:
            path.write_text(fill(path.read_text(encoding="utf-8"), Path(name)), encoding="utf-8")
