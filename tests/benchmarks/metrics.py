"""How fast are the metrics against their published forms, and do they agree?

python -m tests.benchmarks.metrics compares at --rows x --width; --authors FOLDER compares with the
functions of the authors, where their files lie below FOLDER (`AUTHORS`); --large runs each metric
once on 50,000 images of width 2048 in 100 classes, in a process of its own, and prints its time and
peak memory.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from selection import METRICS
from tests.support import published_metrics as published
from zoo.features.linear_probe import softmax
from zoo.features.store import Features

REFERENCES = (
    "parc",
    "knn",
    "linear_probe",
    "logme",
    "hscore",
    "nce",
    "leep",
    "gbc",
    "transrate",
    "cka",
)
AUTHORS = {
    "parc": ("methods.py", lambda code, rows, logits, labels: _parc(code, rows, labels)),
    "logme": ("LogME.py", lambda code, rows, logits, labels: code.LogME()._fit_icml(rows, labels)),
    "leep": ("LEEP.py", lambda code, rows, logits, labels: code.LEEP(softmax(logits), labels)),
    "transrate": ("transrate.py", lambda code, rows, logits, labels: code.transrate(rows, labels)),
}
"""Files of dbolya/parc, thuml/LogME (needs numba) and thuml/Transfer-Learning-Library on GitHub."""
LARGE = {"rows": 50_000, "width": 2048, "classes": 100}
LIMIT = 8.0
"""Peak memory at --large, GiB."""


def draw(rows, width, classes, seed=0):
    """Features in which classes overlap, and logits of 1000 source classes or as many as images."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    embeddings = rng.standard_normal((rows, width), dtype=np.float32)
    embeddings *= np.geomspace(2, 0.2, width, dtype=np.float32)
    embeddings += 0.3 * rng.standard_normal((classes, width), dtype=np.float32)[labels]
    sources = min(1000, rows)
    logits = rng.standard_normal((rows, sources), dtype=np.float32)
    logits += rng.standard_normal((classes, sources), dtype=np.float32)[labels]
    return Features(embeddings, logits), labels


def _parc(code, rows, labels):
    """The authors have percent, and take the number of classes from a table of data sets."""
    reduced = code.feature_reduce(rows, 32)
    return code.PARC().get_parc_correlation(reduced, np.eye(labels.max() + 1)[labels]) / 100


def find_authors(folder):
    """The functions of (rows, logits, labels) whose files lie in the folder, by metric."""
    found = {}
    for name, (file, call) in AUTHORS.items():
        for path in sorted(folder.rglob(file))[:1]:
            sys.path.insert(0, str(path.parent))
            code = importlib.import_module(path.stem)
            found[name] = partial(call, code)
    return found


def compute_slowly(name, rows, logits, labels):
    """The published form, from float64 features."""
    if name == "nce":
        return published.nce(logits.argmax(axis=1), labels)
    if name == "leep":
        shares = np.exp(logits)
        return published.leep(shares / shares.sum(axis=1, keepdims=True), labels)
    return getattr(published, name)(rows, labels)


def measure(function, *arguments):
    """Seconds of CPU, which do not grow where others share the machine, and the value."""
    start = time.process_time()
    value = function(*arguments)
    return time.process_time() - start, value


def compare(options):
    """A row per metric: medians of runs that take turns."""
    features, labels = draw(options.rows, options.width, options.classes)
    rows, logits = features.embeddings.astype(np.float64), features.logits.astype(np.float64)
    print(f"{options.rows} images x {options.width}, {options.classes} classes,", end=" ")
    print(f"medians of {options.repeats}.\n")
    print(
        "| metric | published form, s of CPU | here, s of CPU | ratio | difference |\n"
        "|---|---|---|---|---|"
    )
    references = {name: partial(compute_slowly, name) for name in REFERENCES}
    references = find_authors(options.authors) if options.authors else references
    for name in options.metrics or references:
        slow, fast = [], []
        for _ in range(options.repeats):
            slow.append(measure(references[name], rows, logits, labels))
            fast.append(measure(METRICS[name], features, labels))
        before, now = (median(seconds for seconds, _ in runs) for runs in (slow, fast))
        difference = abs(slow[-1][1] - fast[-1][1])
        print(f"| {name} | {before:.3f} | {now:.3f} | {before / now:.1f} | {difference:.0e} |")
        sys.stdout.flush()


def compare_large(options):
    """A row per metric, each in a fresh process; exit 1 where one needs too much memory."""
    print("{rows} images x {width}, {classes} classes, once.\n".format(**LARGE))
    print("| metric | s of CPU | peak memory, GiB | score |\n|---|---|---|---|")
    failed = False
    for name in options.metrics or METRICS:
        command = [sys.executable, __file__, "--only", name]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=options.timeout
            )
        except subprocess.TimeoutExpired:
            print(f"| {name} | over {options.timeout} | | |", flush=True)
            continue
        if done.returncode:
            failed = True
            print(f"| {name} | failed: {(done.stderr.strip() or 'killed').splitlines()[-1]} | | |")
            continue
        seconds, memory, score = json.loads(done.stdout)
        failed |= memory > LIMIT
        print(f"| {name} | {seconds:.1f} | {memory:.1f} | {score:.4f} |", flush=True)
    if failed:
        sys.exit(f"Not every metric ran within {LIMIT:.0f} GiB.")


def run_large(name):
    """One metric on the large task, printed as JSON."""
    features, labels = draw(**LARGE)
    seconds, score = measure(METRICS[name], features, labels)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, peak / (2**30 if sys.platform == "darwin" else 2**20), score]))


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--metrics", nargs="+", choices=sorted(METRICS), help="only these")
    parser.add_argument("--authors", type=Path, help="folder with their code")
    parser.add_argument("--large", action="store_true", help="50,000 images x 2048")
    parser.add_argument("--timeout", type=int, default=300, help="of each at --large, s")
    parser.add_argument("--only", choices=sorted(METRICS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        run_large(options.only)
    elif options.large:
        compare_large(options)
    elif missing := set(options.metrics or ()) - set(REFERENCES):
        parser.error(f"no published form to compare with: {', '.join(sorted(missing))}")
    else:
        compare(options)


if __name__ == "__main__":
    main()
