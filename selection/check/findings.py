"""DataCheck: what a check of images found, as data, as JSON, in sentences and as a label file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selection.check.copies import Kind
from selection.check.labels import AlikeClasses
from zoo.images.warnings import is_skewed

FORMAT = 1
RATED = 50
"""Labels from which on their error rate is stated."""


@dataclass(frozen=True)
class DoubtedLabel:
    """A label, and how likely it is wrong.

    Attributes:
        path: of the image.
        label: its label.
        suggestion: the class that the probe gives it.
        wrong: probability that the label is wrong, 0..1.
    """

    path: str
    label: str
    suggestion: str
    wrong: float


@dataclass(frozen=True)
class Copies:
    """Images that show one picture.

    Attributes:
        paths: of the images.
        labels: of each; empty text for unlabeled.
        kind: `bytes`, `pixels` or `near`: the loosest relation that joins them.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    kind: Kind

    @property
    def contradicts(self) -> bool:
        """Whether they have different labels."""
        return len({label for label in self.labels if label}) > 1


@dataclass(frozen=True)
class Leak:
    """An image of the test folder that is in the training folder too.

    Attributes:
        test: path of the test image.
        path: of the training image.
        kind: `bytes`, `pixels` or `near`.
        labels: of the test image and of the training image; empty text for unlabeled.
    """

    test: str
    path: str
    kind: Kind
    labels: tuple[str, str]


@dataclass(frozen=True)
class Suggestion:
    """An image to label next.

    Attributes:
        path: of the image.
        guess: the most likely class; empty text without labels.
        probability: of that class; 0 without labels.
    """

    path: str
    guess: str
    probability: float


@dataclass(frozen=True)
class DataCheck:
    """What a check of a folder of images found.

    Attributes:
        target: the folder.
        images: readable images.
        labeled: of these, with a label.
        counts: labeled images by class.
        teachers: share of each teacher whose features were used.
        accuracy: of the probe on labeled images left out, 0..1; None without labels.
        error_rate: estimated fraction of wrong labels; None without labels.
        label_errors: labels that are probably wrong, the most likely first.
        copies: groups of images that show one picture.
        leaks: test images that are training images too; None without a test folder.
        outliers: paths of images unlike all others, the farthest first.
        alike: pairs of classes that cannot be distinguished.
        small: paths of small images, and their shorter sides in pixels.
        unreadable: paths of files that cannot be read, and why.
        suggestions: images to label next, the most useful first.
        labels: every label, whether it is doubted or not, the least likely first.
        notes: other warnings, a sentence each.

    Example:
        >>> check = check_images("imgs")
        >>> [error.path for error in check.label_errors]
    """

    target: str
    images: int
    labeled: int
    counts: Mapping[str, int]
    teachers: Mapping[str, float]
    accuracy: float | None = None
    error_rate: float | None = None
    label_errors: tuple[DoubtedLabel, ...] = ()
    copies: tuple[Copies, ...] = ()
    leaks: tuple[Leak, ...] | None = None
    outliers: tuple[str, ...] = ()
    alike: tuple[AlikeClasses, ...] = ()
    small: tuple[tuple[str, int], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    labels: tuple[DoubtedLabel, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Label, suggested class and images of probable label errors, the most frequent first."""
        pairs = Counter((error.label, error.suggestion) for error in self.label_errors)
        return [
            (*pair, count) for pair, count in sorted(pairs.items(), key=lambda p: (-p[1], p[0]))
        ]

    @property
    def skewed(self) -> bool:
        """Whether the largest class has several times the images of the smallest."""
        return is_skewed(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """All entries but the labels, and the sentences."""
        entries = asdict(self)
        del entries["labels"]
        copies = [{**asdict(group), "contradicts": group.contradicts} for group in self.copies]
        confused = [list(entry) for entry in self.confused]
        found = {**entries, "copies": copies, "confused": confused}
        return {"format": FORMAT, **found, "sentences": self.sentences}

    def label_file(self) -> str:
        """A CSV file that `--labels` takes: images to label, then all labels, the doubted first.

        The columns are path and label, and for information the most likely (other) class, its
        probability or that of a wrong label, and a reason. Images to label have an empty label.
        Paths are relative to the target where they lie in it.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["path", "label", "suggestion", "probability", "reason"])
        for row in self.suggestions:
            guess = [row.guess, f"{row.probability:.3f}"] if row.guess else ["", ""]
            writer.writerow([self._inner(row.path), "", *guess, "label this"])
        for number, row in enumerate(self.labels):
            reason = "probably wrong" if number < len(self.label_errors) else ""
            doubt = [row.suggestion, f"{row.wrong:.3f}", reason]
            writer.writerow([self._inner(row.path), row.label, *doubt])
        return text.getvalue()

    def _inner(self, path: str) -> str:
        inner = Path(path).is_relative_to(self.target)
        return str(Path(path).relative_to(self.target)) if inner else path

    @property
    def sentences(self) -> list[str]:
        """The findings in a few lines, for a terminal."""
        return [*filter(None, [
            self._task(), self._label_errors(), self._copies(), self._leaks(), self._others(),
            self._alike(), self._skew(),
        ])]  # fmt: skip

    def _task(self) -> str:
        line = f"{self.labeled} labeled of {self.images} images"
        if self.accuracy is None:
            return f"{line}; without labels there is nothing to check them by."
        teachers = f"{len(self.teachers)} teacher{'s' * (len(self.teachers) != 1)}"
        return (
            f"{line}, {len(self.counts)} classes; a probe on {teachers} predicts "
            f"{self.accuracy:.1%} of the labels that it did not see."
        )

    def _label_errors(self) -> str:
        if self.error_rate is None:
            return ""
        count = len(self.label_errors)
        if not count:
            return "Label errors: none is probable."
        pairs = ", ".join(f"{a} that look like {b} ({n})" for a, b, n in self.confused[:3])
        rate = f", about {self.error_rate:.0%} of the labels are wrong"
        known = self.labeled >= RATED and self.error_rate * self.labeled >= count / 2
        return f"Label errors: {count} probable{rate if known else ''}; most often {pairs}."

    def _copies(self) -> str:
        if not self.copies:
            return "Copies: none."
        equal = [group for group in self.copies if group.kind != "near"]
        occur = "picture occurs" if len(equal) == 1 else "pictures occur"
        parts = [f"{len(equal)} {occur} several times"] if equal else []
        near = len(self.copies) - len(equal)
        parts += [f"{near} in nearly equal versions"] if near else []
        wrong = sum(group.contradicts for group in self.copies)
        parts += [f"{wrong} of them with different labels"] if wrong else []
        return f"Copies: {', '.join(parts)}."

    def _leaks(self) -> str:
        if self.leaks is None:
            return ""
        if not self.leaks:
            return "Test images: none is in the training folder."
        count = len({leak.test for leak in self.leaks})
        verb = "is" if count == 1 else "are"
        return f"Test images: {count} {verb} in the training folder too: test on others."

    def _others(self) -> str:
        named = {
            "unlike all others": len(self.outliers),
            "small": len(self.small),
            "unreadable": len(self.unreadable),
        }
        parts = [f"{count} {name}" for name, count in named.items() if count]
        return f"Images: {', '.join(parts)}." if parts else ""

    def _alike(self) -> str:
        if not self.alike:
            return ""
        pairs = [f"{p.one} and {p.other} ({p.accuracy:.0%} right)" for p in self.alike[:3]]
        more = f" and {len(self.alike) - 3} more pairs" if len(self.alike) > 3 else ""
        return f"Classes hard to tell apart: {', '.join(pairs)}{more}."

    def _skew(self) -> str:
        if not self.skewed:
            return ""
        least = min(self.counts, key=lambda name: self.counts[name])
        most = max(self.counts, key=lambda name: self.counts[name])
        return f"Skew: {most} has {self.counts[most]} labels, {least} {self.counts[least]}."
