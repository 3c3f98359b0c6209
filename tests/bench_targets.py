"""Accuracy on real targets by the commands a user runs; every cell is stored and never run twice.

python tests/bench_targets.py --data DIR --out FILE, where DIR holds TARGET/train and TARGET/test.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

METHODS = {
    "transfer": ["--baseline", "transfer"],
    "fixmatch": ["--baseline", "fixmatch"],
    "nearest": ["--nearest"],
    "weighted": ["--weighted"],
}


def run(*words):
    """The JSON that a zoo command prints."""
    command = [sys.executable, "-m", "cli.zoo_app", *map(str, words), "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        sys.exit(f"{' '.join(command)}\n{shown.stderr}")
    return json.loads(shown.stdout)


def fill(cells, out, options):
    """Run what is missing, one cell after the other."""
    targets = sorted(folder.name for folder in options.data.iterdir() if folder.is_dir())
    for target in targets:
        for seed in options.seeds:
            given = ["--target", options.data / target / "train", "--seed", seed]
            given += ["--labels-per-class", options.labels]
            for method in ("ranking", *METHODS):
                key = f"{target}/{options.labels}/{seed}/{method}"
                if key in cells:
                    continue
                with tempfile.TemporaryDirectory() as scratch:
                    if method == "ranking":
                        cells[key] = run("rank", *given, "--save", f"{scratch}/ranking.json")
                    else:
                        cells[key] = run(
                            "distill", *given, *METHODS[method], "--arch", options.arch,
                            "--updates", options.updates, "--test", options.data / target / "test",
                            "--save", f"{scratch}/student",
                        )  # fmt: skip
                out.write_text(json.dumps(cells, indent=1))
                print(key, cells[key].get("accuracy", ""), file=sys.stderr, flush=True)
    return targets


def show(cells, targets, options):
    """The table: accuracies in percent, means over seeds, and what each ranking put first."""
    print("| target | classes | first in the ranking |", " | ".join(METHODS), "|")
    print("|---|---|---|" + "---|" * len(METHODS))
    totals = {method: [] for method in METHODS}
    for target in targets:
        row = []
        for method in METHODS:
            keys = [f"{target}/{options.labels}/{seed}/{method}" for seed in options.seeds]
            totals[method].append(sum(cells[key]["accuracy"] for key in keys) / len(keys))
            row.append(f"{totals[method][-1]:.1%}")
        ranking = cells[f"{target}/{options.labels}/{options.seeds[0]}/ranking"]
        first = ", ".join(entry["name"] for entry in ranking["teachers"][:2])
        print(f"| {target} | {ranking['classes']} | {first} |", " | ".join(row), "|")
    means = [f"**{sum(values) / len(values):.1%}**" for values in totals.values()]
    print("| mean | | |", " | ".join(means), "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arch", default="mobilenetv3_small_100")
    parser.add_argument("--updates", type=int, default=300)
    options = parser.parse_args()
    cells = json.loads(options.out.read_text()) if options.out.exists() else {}
    show(cells, fill(cells, options.out, options), options)


if __name__ == "__main__":
    main()
