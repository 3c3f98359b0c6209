"""Split source domains into TASK/train and TASK/test, to choose numbers on: no target is used.

python -m tests.tools.make_tuning --data SOURCES --out DIR, where SOURCES holds DOMAIN/CLASS/images.
"""

import argparse
import hashlib
import os
from pathlib import Path

START = "objects"
"""What every student and teacher starts from: no task to choose numbers on."""

CLASSES, MOST, HELD_OUT = 10, 300, 0.3
"""Classes of a task and images of a class at most, and the share of them to test on."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for domain in sorted(path for path in options.data.iterdir() if path.name != START):
        for folder in shuffled(domain)[:CLASSES]:
            files = shuffled(folder)[:MOST]
            for index, path in enumerate(files):
                part = "test" if index < HELD_OUT * len(files) else "train"
                place = options.out / domain.name / part / folder.name / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    os.link(path, place)


def shuffled(folder):
    """What lies in a folder, in an order that depends on the names alone."""
    return sorted(folder.iterdir(), key=lambda path: hashlib.sha256(path.name.encode()).digest())


if __name__ == "__main__":
    main()
