"""StudentClassifier: train and use a student by the conventions of scikit-learn."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from distill.recipe import RANKED, Distillation, Method, Recipe
from distill.teachers import Ranker, TeacherRanking, check_ranker
from zoo.errors import ImagesError, StudentError
from zoo.images.folder import Images, images_of_files
from zoo.images.labels import same_text
from zoo.images.source import ImageSource, check_output, load_images, source_of
from zoo.system.runtime import Runtime

if TYPE_CHECKING:
    from distill.report.report import Report

Paths = str | Path | Sequence[str | Path]
"""A folder, or paths of images."""


class StudentClassifier:
    """A student with `fit` and `predict`: a thin face of `distill_images`.

    It follows the conventions of scikit-learn (`get_params`, `clone`, attributes that end in _),
    and does not need it. What the commands print on stderr, such as images that cannot be read, is
    a warning of Python here.

    Args:
        method: as `Distillation.method`, but for `teachers`.
        arch: the student, an alias or timm's name.
        start: initial weights.
        zoo: where the teachers are.
        image_size: of the student, in pixels; None chooses it.
        updates: steps of the optimizer; None for the default.
        flip: mirror images while training, where left and right do not matter.
        unlabeled: a folder of more images without labels.
        ranker: makes the ranking that `weighted` and `nearest` need: `selection.ranker`.
        seed: random seed.
        device: `auto`, or a device of torch.

    Attributes:
        classes_: C names, in the order of `predict_proba`.
        rank_: the ranking of the teachers; None for a method without one.
        report_: of the run; None after `load`.

    Example:
        >>> from distill import StudentClassifier
        >>> from selection import ranker
        >>> student = StudentClassifier(ranker=ranker).fit("imgs")
        >>> student.predict(["photo.jpg"]), student.rank_.nearest()
    """

    _estimator_type = "classifier"
    method: Method
    classes_: NDArray[np.str_]
    rank_: TeacherRanking | None
    report_: Report | None
    _image_folders: Sequence[Path]

    def __init__(
        self,
        method: Method = "weighted",
        *,
        arch: str = "auto",
        start: str = "auto",
        zoo: str = "builtin",
        image_size: int | None = None,
        updates: int | None = None,
        flip: bool = False,
        unlabeled: str | Path | None = None,
        ranker: Ranker | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.arch = arch
        self.start = start
        self.zoo = zoo
        self.image_size = image_size
        self.updates = updates
        self.flip = flip
        self.unlabeled = unlabeled
        self.ranker = ranker
        self.seed = seed
        self.device = device

    def fit(self, X: Paths, y: Sequence[Any] | None = None) -> StudentClassifier:
        """Train a student.

        Args:
            X: a folder whose sub-folders are classes, or paths of N images.
            y: [N] classes of the images; None, -1, NaN or an empty text for unlabeled ones; only
                with paths.

        Raises:
            ZooError: the images or a teacher cannot be used.
        """
        from distill.pipeline import distill_images

        check_ranker([self.method], self.ranker)
        runtime = self._runtime()
        images = load_images(self._read(X, y, runtime), runtime)
        ranking = None
        if self.method in RANKED and self.ranker is not None:
            ranking = self.ranker(images, self.zoo, runtime).run()
        recipe = Recipe(seed=self.seed, flip=self.flip)
        recipe = recipe if self.updates is None else replace(recipe, updates=self.updates)
        how = Distillation(
            method=self.method, zoo=self.zoo, arch=self.arch, start=self.start,
            image_size=self.image_size, recipe=recipe,
        )  # fmt: skip
        self._image_folders = source_of(images).folders
        folder = self._own_folder()
        self.report_ = distill_images(images, how, ranking=ranking, save=folder, runtime=runtime)
        self.rank_ = ranking
        return self._use(folder)

    def predict(self, X: Paths) -> NDArray[np.str_]:
        """Classes [N] of the images of a folder or of paths.

        Raises:
            ZooError: it is not fitted, or an image cannot be read.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Paths) -> NDArray[np.float64]:
        """Probabilities [N, C] of the classes, in the order of `classes_`.

        Raises:
            ZooError: it is not fitted, or an image cannot be read.
        """
        from distill.evaluation.prediction import predict_files

        paths = [X] if isinstance(X, str | Path) else X
        found = predict_files(
            self._fitted(), [Path(path) for path in paths], runtime=self._runtime()
        )
        rows: list[list[float]] = []
        for row in found:
            if row.error:
                raise StudentError(f"{row.path} cannot be read ({row.error}): leave it out.")
            rows.append([row.probabilities[name] for name in found.classes])
        return np.array(rows)

    def score(self, X: Paths, y: Sequence[Any] | None = None) -> float:
        """Accuracy, 0..1, on a folder whose sub-folders are classes, or on paths and classes.

        Images without a class, as `fit` takes them, do not count.

        Raises:
            ZooError: it is not fitted, or the images cannot be used.
        """
        if y is not None:
            found = self.predict(X)
            if len(found) != len(y):
                raise ValueError(f"{len(found)} images need as many classes")
            names = [_class_name(label) for label in y]
            right = [same_text(name) == one for name, one in zip(names, found, strict=True) if name]
            if not right:
                raise ValueError("none of the images has a class")
            return float(np.mean(right))
        from distill.evaluation.evaluate import evaluate_student

        if not isinstance(X, str | Path):
            raise ValueError("paths of images need their classes y")
        return evaluate_student(self._fitted(), X, runtime=self._runtime()).accuracy

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Save the student as `zoo distill` does; timm, `load` and `zoo predict` take the folder.

        Raises:
            StudentError: it is not fitted, or the folder may not be written.
        """
        from distill.report.student_folder import check_folder, copy_student

        source, folder = self._fitted(), Path(folder)
        check_output(folder, self._image_folders)
        check_folder(folder, overwrite=overwrite)
        if folder.resolve() != source.resolve():
            copy_student(source, folder)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> StudentClassifier:
        """A student that `save`, `distill_images` or `zoo distill` wrote.

        Raises:
            StudentError: the folder is no student.
        """
        classifier = cls(device=device)
        classifier.rank_ = classifier.report_ = None
        classifier._image_folders = ()
        return classifier._use(Path(folder))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name."""
        del deep
        names = [*inspect.signature(type(self).__init__).parameters][1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> StudentClassifier:
        """Change arguments by name.

        Raises:
            ValueError: there is no such argument.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"no argument {name!r}: choose of {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = {n: v for n, v in self.get_params().items() if v != defaults[n].default}
        return f"StudentClassifier({', '.join(f'{n}={v!r}' for n, v in changed.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator; only scikit-learn calls it."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the student's files in place of its folder, which ends with it."""
        state = {n: v for n, v in vars(self).items() if n not in ("_cleanup", "_folder")}
        if "_folder" in vars(self):
            files = (path for path in self._folder.iterdir() if path.is_file())
            state["_files"] = {path.name: path.read_bytes() for path in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        vars(self).update(state)
        if files is not None:
            self._folder = self._own_folder()
            for name, content in files.items():
                (self._folder / name).write_bytes(content)

    def _own_folder(self) -> Path:
        """A new folder that is deleted with this object."""
        folder = Path(mkdtemp(prefix="student-"))
        self._cleanup = finalize(self, rmtree, folder, ignore_errors=True)
        return folder

    def _read(self, X: Paths, y: Sequence[Any] | None, runtime: Runtime) -> ImageSource | Images:
        """The images as the pipelines take them."""
        more = Path(self.unlabeled) if self.unlabeled is not None else None
        if isinstance(X, str | Path):
            if y is not None:
                raise ValueError("a folder has its classes as sub-folders: leave out y")
            return ImageSource(Path(X), more)
        if y is None or len(y) != len(X):
            raise ValueError(f"{len(X)} paths need as many classes, None for unlabeled ones")
        labels = [*map(_class_name, y)]
        paths = [Path(path) for path in X]
        for path in paths:
            if not path.exists():
                raise ImagesError(f"{path} does not exist: name images.")
        images = images_of_files(
            paths, labels, unlabeled=more, progress=runtime.progress("reading images")
        )
        return replace(images, source=ImageSource(images.root, more, named=True))

    def _use(self, folder: Path) -> StudentClassifier:
        """Predict by the student in a folder."""
        from distill.student import load_network

        self.classes_ = np.array(load_network(folder)[1])
        self._folder = folder
        return self

    def _fitted(self) -> Path:
        """The folder of the student."""
        if not hasattr(self, "classes_"):
            raise StudentError("This StudentClassifier is not fitted: call fit or load first.")
        return self._folder

    def _runtime(self) -> Runtime:
        def warn(message: str) -> None:
            warnings.warn(message, stacklevel=2)

        return Runtime(device=self.device, seed=self.seed, warn=warn)


def _class_name(label: Any) -> str | None:
    """A class as text; None if the image has none.

    -1 is unlabeled in scikit-learn's semi-supervised estimators; NaN and NA are missing in pandas,
    whose whole numbers become floats beside them.
    """
    if isinstance(label, float | np.floating) and float(label).is_integer():
        label = int(label)
    text = str(label)
    missing = ("", "-1") if isinstance(label, str) else ("None", "-1", "-1.0", "nan", "<NA>")
    return None if text in missing else text
