"""Whether a command ends when its budget says: `python -m tests.benchmarks.budget imgs --rounds 3`.

Each command runs in a process of its own with an empty cache, as a user's would, and is timed from
outside: asked, taken, and the number of updates that was chosen.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zoo.system.timing import format_duration, parse_duration

ROOT = Path(__file__).parents[2]


def run(words, folder):
    """Seconds that a command took, and what it said on stderr."""
    places = {"SOURCE_ZOO_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli.zoo_app", *map(str, words)]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **places}
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return time.monotonic() - began, done.stderr


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, help="a folder of class folders")
    parser.add_argument("--labels-per-class", default="4")
    parser.add_argument("--arch", default="mobilenetv3_small")
    parser.add_argument("--rank", default="10s", help="budget of zoo rank; empty for none")
    parser.add_argument("--distill", default="60s", help="budget of zoo distill; empty for none")
    parser.add_argument("--compare", default="3m", help="budget of zoo compare; empty for none")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON line of ratios at the end")
    options = parser.parse_args()
    task = ["--target", options.images.absolute(), "--labels-per-class", options.labels_per_class]
    ratios = {}
    print("| command | asked | taken | taken / asked | chosen |\n|---|---|---|---|---|")
    for _ in range(options.rounds):
        for name in ("rank", "distill", "compare"):
            if not (budget := vars(options)[name]):
                continue
            student = [] if name == "rank" else ["--arch", options.arch]
            with tempfile.TemporaryDirectory() as folder:
                taken, said = run([name, *task, *student, "--budget", budget], Path(folder))
            ratio = taken / parse_duration(budget)
            ratios.setdefault(name, []).append(round(ratio, 3))
            chosen = "".join(re.findall(r"Chosen: (\d+ updates)|(--max-unlabeled \d+)", said)[-1])
            print(
                f"| {name} | {budget} | {format_duration(taken)} | {ratio:.2f} | {chosen} |",
                flush=True,
            )
    if options.json:
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()
