"""Split source domains into TARGET/train and TARGET/test, to choose numbers on: no target is used.

python tests/make_tuning.py --data SOURCES --out DIR, where SOURCES holds DOMAIN/CLASS/images.
"""

import argparse
import hashlib
import os
from pathlib import Path

DOMAINS = ("aerial", "seedlings", "textures")
MOST, HELD_OUT = 400, 0.3
"""Images of a class at most, and the share of them to test on, at most 120."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for folder in (path for name in DOMAINS for path in sorted((options.data / name).iterdir())):
        files = sorted(folder.iterdir(), key=lambda p: hashlib.sha256(p.name.encode()).digest())
        test = min(round(HELD_OUT * len(files)), 120)
        for index, path in enumerate(files[:MOST]):
            part = "test" if index < test else "train"
            place = options.out / folder.parent.name / part / folder.name / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                os.link(path, place)


if __name__ == "__main__":
    main()
