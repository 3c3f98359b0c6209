"""Ten SIGKILLs of `zoo distill` at random moments: is the student the same, byte for byte?

`python tests/bench_kills.py` writes the scans of `zoo demo` into a temporary folder, ranks, teaches
a student undisturbed, then teaches another whose process is killed again and again, each time
followed by the same command. It prints what was kept at every kill, and a verdict.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cli.demo import write_scans
from zoo.tensor_file import read_tensors

ROOT = Path(__file__).parent.parent


class User:
    """Somebody with a folder of scans and a cache of their own in it."""

    def __init__(self, home, threads):
        self.home = home
        self.env = os.environ | {
            "SOURCE_ZOO_CACHE": str(home / "cache"),
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "cli.zoo_app", *map(str, words)],
            cwd=self.home, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def zoo(self, *words):
        """Run to the end; how many seconds that took."""
        began = time.perf_counter()
        with self.start(*words) as run:
            said = run.stderr.read() if run.stderr else b""
        if run.returncode:
            sys.exit(f"`zoo {words[0]}` ended with {run.returncode}: {said.decode()}")
        return time.perf_counter() - began

    def killed(self, seconds, *words):
        """Run and kill after so many seconds; whether it came to that."""
        with self.start(*words) as run:
            try:
                run.wait(seconds)
            except subprocess.TimeoutExpired:
                run.kill()
                return True
        return False

    def kept(self):
        """The update of the state on disk, 0 for none."""
        for path in self.home.glob("cache/runs/*.safetensors"):
            return int(read_tensors(path)[1]["updates"])
        return 0

    def student(self, name):
        """The bytes of a student, none if there is none."""
        path = self.home / name / "model.safetensors"
        return path.read_bytes() if path.exists() else b""


def kill_often(user, words, moments):
    """Kill the command at each moment; a row each: seconds, update that was kept."""
    rows = []
    for seconds in moments:
        if not user.killed(seconds, *words):
            break
        rows.append((seconds, user.kept()))
        if user.student("killed"):
            sys.exit("A run that was killed has a student.")
    return rows


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        user = User(Path(folder), options.threads)
        write_scans(user.home / "scans", seed=0)
        user.zoo("rank", "--target", "scans/images")
        base = ["distill", "--arch", "mobilenetv3_small", "--save"]
        start = user.zoo(*base, "first", "--updates", 1)  # now every teacher has seen every image
        words = ["--updates", options.updates]
        whole = user.zoo(*base, "whole", *words)
        print(f"Undisturbed: {whole:.0f} s, of them {start:.0f} s without training.\n")
        draw = random.Random(options.seed)  # noqa: S311
        longest = start + 2 * (whole - start) / options.kills
        moments = [draw.uniform(0, longest) for _ in range(options.kills)]
        rows = kill_often(user, [*base, "killed", *words], moments)
        print("| kill | seconds after its start | update that was kept |\n|---|---|---|")
        for number, (seconds, update) in enumerate(rows, start=1):
            print(f"| {number} | {seconds:.1f} | {update} of {options.updates} |")
        last = user.zoo(*base, "killed", *words) if len(rows) == options.kills else 0.0
        same = user.student("whole") == user.student("killed")
        spent = sum(seconds for seconds, _ in rows) + last
        scraps = len(list(user.home.rglob("*.part"))) + user.kept()
    print(
        f"\nAfter {len(rows)} kills the student is {'the same' if same else 'ANOTHER'}, byte for "
        f"byte; {spent:.0f} s in all, {spent / whole:.1f} times the undisturbed run; "
        f"{scraps} scraps left."
    )
    sys.exit(0 if same and len(rows) == options.kills and not scraps else 1)


if __name__ == "__main__":
    main()
