"""Ten SIGKILLs of `zoo distill` at random moments: is the student the same, byte for byte?

`python -m tests.benchmarks.kills` writes the scans of `zoo demo` into a temporary folder, ranks,
teaches a student undisturbed, then teaches another whose process is killed again and again, each
time followed by the same command. It prints what was kept at every kill, and a verdict. Moments are
in seconds of processor time, so that other work on the machine does not shift them (Linux only).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cli.commands.demo import write_scans
from zoo.system.tensors import read_tensors

ROOT = Path(__file__).parents[2]
TICK = os.sysconf("SC_CLK_TCK")


class User:
    """Somebody with a folder of scans and a cache of their own in it."""

    def __init__(self, home, threads):
        self.home = home
        self.env = os.environ | {
            "SOURCE_ZOO_CACHE": str(home / "cache"),
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *words, kill=float("inf")):
        """Run a command, and kill it after so many seconds; the seconds that it had."""
        command = [sys.executable, "-m", "cli.zoo_app", *map(str, words)]
        said = self.home / "said.txt"
        with said.open("wb") as file, subprocess.Popen(
            command, cwd=self.home, env=self.env, stdout=file, stderr=file
        ) as run:  # fmt: skip
            seconds = 0.0
            while run.poll() is None:
                seconds = busy(run.pid)
                if seconds >= kill:
                    run.kill()
                time.sleep(0.02)
        if run.returncode not in (0, -9):
            sys.exit(f"`zoo {words[0]}` ended with {run.returncode}: {said.read_text()}")
        return seconds

    def kept(self):
        """The update of the state on disk, 0 for none."""
        for path in self.home.glob("cache/runs/*.safetensors"):
            return int(read_tensors(path)[1]["updates"])
        return 0

    def student(self, name):
        """The bytes of a student, none if there is none."""
        path = self.home / name / "model.safetensors"
        return path.read_bytes() if path.exists() else b""

    def scraps(self):
        """What killed runs left behind."""
        return [*self.home.rglob("*.part"), *self.home.glob("cache/runs/*")]


def busy(pid):
    """Seconds of processor time that a process has had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended just now
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        user = User(Path(folder), options.threads)
        write_scans(user.home / "scans", seed=0)
        user.run("rank", "--target", "scans/images")
        distill = ["distill", "--arch", "mobilenetv3_small", "--updates"]
        user.run(*distill, 1, "--save", "first")  # now teachers have seen every image
        start = user.run(*distill, 1, "--save", "second")
        words = [*distill, options.updates, "--save"]
        whole = user.run(*words, "whole")
        print(f"Undisturbed: {whole:.0f} s of processor time, {start:.0f} s of them to start.\n")
        print(
            "| kill | seconds after its start | update that was kept |\n|---|---|---|", flush=True
        )
        draw = np.random.default_rng(options.seed)
        spent, kills = 0.0, 0
        while not user.student("killed"):
            left = (1 - user.kept() / options.updates) * (whole - start)
            longest = start + min(2 * (whole - start) / options.kills, 0.8 * left)
            moment = draw.uniform(0, longest) if kills < options.kills else float("inf")
            spent += (seconds := user.run(*words, "killed", kill=moment))
            if not user.student("killed"):
                kills += 1
                kept = f"{user.kept()} of {options.updates}"
                print(f"| {kills} | {seconds:.1f} | {kept} |", flush=True)
        same = user.student("whole") == user.student("killed")
        scraps = len(user.scraps())
    print(
        f"\nAfter {kills} kills the student is {'the same' if same else 'ANOTHER'}, byte for byte; "
        f"{spent:.0f} s in all, {spent / whole:.1f} times the undisturbed run; {scraps} scraps."
    )
    sys.exit(0 if same and kills == options.kills and not scraps else 1)


if __name__ == "__main__":
    main()
