"""Fingerprints of the embedded teachers: `python -m tests.tools.make_fingerprints --data DIR`.

Without names those that lack one, or whose reference network changed. DIR as for
`tests.tools.train_zoo`: a folder with one folder of class folders per data set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cli import terminal
from selection.shortlist import make_fingerprint
from zoo.errors import TeacherBroken
from zoo.images.folder import read_images
from zoo.teachers import catalogue
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import find_card, list_cards
from zoo.teachers.fingerprint import Fingerprint, fingerprint_path, reference_card


def lacks(card: TeacherCard) -> bool:
    """Whether a teacher has no fingerprint that can be used."""
    path = fingerprint_path(card)
    try:
        return path is None or not Fingerprint.load(path, reference_card().sha256)
    except TeacherBroken:
        return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Make them, one after the other."""
    from tests.tools.train_zoo import JOBS

    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.make_fingerprints", description=__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    cards = list_cards("builtin")
    chosen = [find_card(name, cards) for name in options.names]
    for card in chosen or [card for card in cards if lacks(card)]:
        job = JOBS.get(card.name)
        # of ImageNet a sample is enough
        name = "objects" if card.package else job.folder if job else ""
        folder = options.data / (name or card.name)
        with terminal.runtime() as runtime:
            made = make_fingerprint(
                read_images(folder, progress=runtime.progress("reading images")), runtime
            )
        # beside the card, which is not where a package has its weights
        home = catalogue.BUILTIN / card.name if card.package else card.folder
        if home:
            made.save(home)
        terminal.say(f"{card.name}: {len(made.prototypes)} prototypes of {made.images} images")


if __name__ == "__main__":
    main()
