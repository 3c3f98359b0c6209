"""Mutate files of every kind and use them: `python -m tests.tools.mutate 2000`."""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

from tests.support.mutations import run_mutations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        used = run_mutations(Path(folder), options.count, options.seed)
    for name, (good, refused) in used.items():
        print(f"{name:12} {good:5} used {refused:5} refused with one line")
    print(f"{sum(map(sum, used.values()))} mutations, seed {options.seed}: no other error.")


if __name__ == "__main__":
    main()
