"""check_images: from a folder of images to what is wrong with it, exactly what `zoo check` does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selection.check.copies import KINDS, Copy, Kind, find_copies, group_copies
from selection.check.findings import Copies, DataCheck, DoubtedLabel, Leak, Suggestion
from selection.check.labels import (
    AlikeClasses,
    LabelDoubts,
    choose_next,
    doubt_labels,
    find_alike_classes,
)
from selection.check.outliers import find_outliers, find_small, measure_distances
from selection.pipeline import RankingJob
from selection.ranking import Ranking
from zoo.features.extraction import extract_required
from zoo.features.kernel import TeacherKernel, kernel_basis
from zoo.features.linear_probe import fit_ridge, softmax
from zoo.features.store import Features
from zoo.hub.pull import pull_required
from zoo.images.decoding import image_size
from zoo.images.folder import Images
from zoo.images.source import ImageSource, load_images
from zoo.system.runtime import Runtime
from zoo.teachers.catalogue import find_card, list_cards

Floats = NDArray[np.float64]

LANDMARKS, DIRECTIONS = 1500, 384
"""Images that the teachers' kernel describes all images by, at most, and dimensions."""


def check_images(
    images: str | Path | ImageSource | Images,
    *,
    test: str | Path | Images | None = None,
    zoo: str = "builtin",
    ranking: Ranking | None = None,
    suggest: int = 0,
    runtime: Runtime | None = None,
) -> DataCheck:
    """Check a folder of images by what teachers see, as `zoo check` does.

    Nothing is trained but a linear probe in closed form. Outputs of teachers are kept in the cache,
    where `zoo rank` and `zoo distill` find them.

    Args:
        images: a folder, an `ImageSource`, or images that are read already; labels are not needed.
        test: folder of test images, which must not be among the images.
        zoo: where the teachers are, as in `rank_images`.
        ranking: of the teachers on these images; made if not given.
        suggest: number of unlabeled images to suggest for labeling.
        runtime: device, cache, seed, progress and processes.

    Raises:
        ZooError: the images or all teachers cannot be used.

    Example:
        >>> from selection import check_images
        >>> check = check_images("imgs", suggest=20)
        >>> check.label_errors, check.suggestions
    """
    notes: list[str] = []
    runtime = (runtime or Runtime()).collect(notes)
    read = load_images(images, runtime, need_labels=False)
    if test is not None and not isinstance(test, Images):
        test = ImageSource(Path(test)).read_unchecked(runtime, "test images")
    if ranking is None:
        metric = "linear_probe" if read.labeled else None
        ranking = RankingJob(read, zoo=zoo, metric=metric, runtime=runtime).run()
    shares = ranking.weights()
    every = read if test is None else join(read, test)
    features = _extract(every, shares, ranking, runtime)
    own = {name: outputs.rows(np.arange(len(read))) for name, outputs in features.items()}
    distances, rows = measure_distances(own, shares), describe(every, features, shares, runtime)
    known = np.flatnonzero(read.labels >= 0)
    doubts = doubt_labels(rows[known], read.labels[known]) if len(known) else None
    check = _Check(read, test, rows, distances, known, doubts, runtime)
    return _collect(check, shares, suggest, notes)


def _collect(
    check: _Check, shares: Mapping[str, float], suggest: int, notes: Sequence[str]
) -> DataCheck:
    """The findings of all checks."""
    images, test, doubts, known = check.images, check.test, check.doubts, check.known
    labels = images.labels[known]
    counts = np.bincount(labels, minlength=len(images.classes)).tolist()
    sides = np.array([min(image_size(path)) for path in images.paths], dtype=np.int64)
    copies, leaks = check.copies()
    every_label = tuple(check.doubted_labels())
    unreadable = [*images.skipped, *(test.skipped if test else ())]
    right = doubts and doubts.probabilities.argmax(axis=1) == labels
    return DataCheck(
        target=str(images.root.absolute()),
        images=len(images),
        labeled=len(known),
        counts=dict(zip(images.classes, counts, strict=True)),
        teachers=dict(shares),
        accuracy=None if right is None else float(right.mean()),
        error_rate=doubts and doubts.rate,
        label_errors=every_label[: int((~doubts.trusted).sum())] if doubts else (),
        copies=tuple(copies),
        leaks=None if leaks is None else tuple(leaks),
        outliers=tuple(map(check.path, find_outliers(check.distances).tolist())),
        alike=tuple(check.alike()),
        small=tuple((check.path(row), int(sides[row])) for row in find_small(sides).tolist()),
        unreadable=tuple((str(entry.path), entry.reason) for entry in unreadable),
        suggestions=tuple(check.suggestions(suggest)) if suggest else (),
        labels=every_label,
        notes=tuple(dict.fromkeys(notes)),
    )


def join(images: Images, test: Images) -> Images:
    """The images of a task, then its test images, without labels."""
    return replace(
        images,
        paths=images.paths + test.paths,
        digests=images.digests + test.digests,
        labels=np.concatenate([images.labels, np.full(len(test), -1)]),
    )


def _extract(
    images: Images, shares: dict[str, float], ranking: Ranking, runtime: Runtime
) -> dict[str, Features]:
    """The outputs of the teachers with a share."""
    listed = list_cards(ranking.zoo or "all")
    cards = pull_required([find_card(name, listed) for name in shares], runtime, "for the check")
    with runtime.join() as joined:
        return extract_required(cards, images, joined)


def describe(
    images: Images, features: Mapping[str, Features], shares: Mapping[str, float], runtime: Runtime
) -> Floats:
    """Coordinates [N, R] of images whose products are the kernel of the teachers."""
    order = np.random.default_rng(runtime.seed).permutation(len(images))
    # labeled images first: the probe is fitted to them
    order = order[np.argsort(images.labels[order] < 0, kind="stable")]
    landmarks = np.sort(order[:LANDMARKS])
    kernel = TeacherKernel.of(features, shares, landmarks)
    basis = kernel_basis(kernel.rows(landmarks), DIRECTIONS)
    return kernel.products(basis)


@dataclass(frozen=True, eq=False)
class _Check:
    """What all checks look at: N images, M test images if any, and features [N + M, R] of both.

    Distances [N] are from the mean of all; doubts are of the labels of the `known` images [L].
    """

    images: Images
    test: Images | None
    rows: Floats
    distances: Floats
    known: NDArray[np.int64]
    doubts: LabelDoubts | None
    runtime: Runtime

    def name(self, row: int) -> str:
        """The class of an image; empty text if it is unlabeled."""
        label = int(self.images.labels[row])
        return self.images.classes[label] if label >= 0 else ""

    def path(self, row: int) -> str:
        """The path of an image."""
        return str(self.images.paths[row])

    def doubted_labels(self) -> list[DoubtedLabel]:
        """All labels, the most likely wrong ones first."""
        doubts = self.doubts
        if doubts is None:
            return []
        found: list[DoubtedLabel] = []
        for place in np.argsort(-doubts.wrong, kind="stable"):
            row, others = int(self.known[place]), doubts.probabilities[place].copy()
            others[self.images.labels[row]] = -1.0
            guess = self.images.classes[int(others.argmax())]
            wrong = float(doubts.wrong[place])
            found.append(DoubtedLabel(self.path(row), self.name(row), guess, wrong))
        return found

    def alike(self) -> list[AlikeClasses]:
        """Classes that cannot be distinguished by labels that are probably right."""
        if self.doubts is None:
            return []
        trusted = self.doubts.trusted
        labels = self.images.labels[self.known[trusted]]
        return find_alike_classes(self.doubts.probabilities[trusted], labels, self.images.classes)

    def copies(self) -> tuple[list[Copies], list[Leak] | None]:
        """Copies among the images, and test images that are copies of one of them."""
        count, test = len(self.images), self.test
        every = self.images if test is None else join(self.images, test)
        progress = self.runtime.progress("comparing images")
        found = find_copies(every, self.rows, progress=progress)
        inner = [copy for copy in found if copy.other < count]
        groups: list[Copies] = []
        loosest: dict[int, Kind] = {}  # of the copies of an image
        for copy in sorted(inner, key=lambda copy: KINDS.index(copy.kind)):
            loosest[copy.one] = copy.kind
        for rows in group_copies(inner):
            kinds: set[Kind] = {loosest[row] for row in rows if row in loosest}
            kind = max(kinds, key=KINDS.index)
            groups.append(Copies(tuple(map(self.path, rows)), tuple(map(self.name, rows)), kind))
        groups.sort(key=lambda group: not group.contradicts)
        if test is None:
            return groups, None
        across = [copy for copy in found if copy.one < count <= copy.other]
        # of equal test images only the first was compared with others
        twins = defaultdict[int, list[int]](list)
        for copy in found:
            if copy.kind == "bytes" and copy.one >= count:
                twins[copy.one].append(copy.other)
        across += [
            replace(copy, other=twin) for copy in across for twin in twins.get(copy.other, ())
        ]
        return groups, [self.leak(copy, test) for copy in across]

    def leak(self, copy: Copy, test: Images) -> Leak:
        """A test image and the image that it is a copy of."""
        row = copy.other - len(self.images)
        label = test.classes[int(test.labels[row])] if test.labels[row] >= 0 else ""
        labels = (label, self.name(copy.one))
        return Leak(str(test.paths[row]), self.path(copy.one), copy.kind, labels)

    def suggestions(self, count: int) -> list[Suggestion]:
        """Images to label next; without labels the ones that stand for most others."""
        images, rows, doubts = self.images, self.rows[: len(self.images)], self.doubts
        probabilities = np.zeros((len(images), 1))
        if doubts is not None:
            labels, trusted = images.labels[self.known], doubts.trusted
            # a class of doubted labels alone keeps them: it would be unknown without
            used = self.known[trusted | ~np.isin(labels, labels[trusted])]
            weights, intercept = fit_ridge(rows[used], images.labels[used], doubts.strength)
            probabilities = softmax((rows @ weights + intercept) / doubts.temperature)
        chosen = choose_next(
            rows, images.labels, 1 - probabilities.max(axis=1), count, self.runtime.seed
        )
        best: list[int] = probabilities[chosen].argmax(axis=1).tolist()
        guesses = [images.classes[label] if doubts else "" for label in best]
        likely = probabilities[chosen].max(axis=1).tolist()
        paths = map(self.path, chosen.tolist())
        return [Suggestion(*row) for row in zip(paths, guesses, likely, strict=True)]
