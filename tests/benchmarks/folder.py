"""A folder of 100,000 images: what listing and checking it costs over bare loops.

`python -m tests.benchmarks.folder` makes hard links to a few tiny images in a temporary folder.
"""

import argparse
import hashlib
import io
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from tests.support.toys import COLORS, paint
from zoo.images.folder import read_images
from zoo.images.walk import find_files

CLASSES = 20


def make(folder, count):
    """Images in class folders; a file can have only so many names, so there are some hundred."""
    places = [folder / str(number) for number in range(CLASSES)]
    for place in places:
        place.mkdir()
    originals = [paint(folder / f"{n}.png", COLORS["red"], n) for n in range(max(1, count // 1000))]
    for number in range(count - len(originals)):
        target = places[number % CLASSES] / f"{number}.png"
        target.hardlink_to(originals[number % len(originals)])


def walk(folder):
    return [str(Path(at, name)) for at, _, names in os.walk(folder) for name in names]


def check(path):
    content = Path(path).read_bytes()
    Image.open(io.BytesIO(content)).convert("RGB")
    return hashlib.sha256(content).hexdigest()


def check_all(paths):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(check, paths))


def timed(work):
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.images)
        paths, bare = timed(lambda: walk(folder))
        listed, listing = timed(lambda: find_files(folder).images)
        hashes, loop = timed(lambda: check_all(paths))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        images, reading = timed(lambda: read_images(folder))
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        found = len(paths) == len(listed) == len(images) == options.images
        same = sorted(hashes) == sorted(images.digests)
    print("| work | bare loop, s | ours, s | ratio |\n|---|---|---|---|")
    print(f"| list | {bare:.1f} | {listing:.1f} | {listing / bare:.2f} |")
    print(f"| read, hash, decode | {loop:.1f} | {reading:.1f} | {reading / loop:.2f} |")
    print(
        f"\n{options.images} images, all found: {found and same}; {more / 1024:.0f} MB of memory."
    )


if __name__ == "__main__":
    main()
