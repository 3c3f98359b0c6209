"""StudentClassifier: a thin face of the pipelines, by the conventions of scikit-learn."""

import copy
import gc
import pickle

import numpy as np
import pytest

from distill import StudentClassifier, evaluate_student, load_network
from distill.pipeline import distill_images
from distill.recipe import Distillation, Recipe
from selection import ranker
from tests.support.worlds import snapshot
from zoo.errors import ImagesError, StudentError, ZooError

TINY = {"arch": "test_resnet", "start": "random", "image_size": 32, "updates": 2}


def report(student):
    assert student.report_ is not None
    return student.report_


def ranking(student):
    assert student.rank_ is not None
    return student.rank_


@pytest.fixture
def named(imgs):
    """Paths and classes of the labeled images."""
    paths = sorted(imgs.glob("*/*.png"))
    return paths, [path.parent.name for path in paths]


def test_it_fits_a_folder_as_the_pipeline_does(imgs, toy_zoo, tmp_path):
    before = snapshot(imgs)
    student = StudentClassifier("transfer", flip=True, **TINY).fit(imgs)
    how = Distillation(
        method="transfer", arch="test_resnet", start="random", image_size=32,
        recipe=Recipe(updates=2, flip=True),
    )  # fmt: skip
    distill_images(imgs, how, save=tmp_path / "other")
    student.save(tmp_path / "saved")
    name = "model.safetensors"
    assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert snapshot(imgs) == before
    assert student.classes_.tolist() == ["blue", "green", "red"]
    assert student.rank_ is None
    assert report(student).method == "transfer"


def test_it_ranks_the_teachers_by_the_ranker_that_is_handed_in(imgs, toy_zoo):
    student = StudentClassifier(ranker=ranker, **TINY).fit(imgs)
    assert ranking(student).weights() == pytest.approx(report(student).teachers)
    with pytest.raises(StudentError, match=r"ranker=selection\.ranker"):
        StudentClassifier().fit(imgs)


def test_it_predicts_and_scores_paths_and_folders(named, imgs, test_imgs, toy_zoo, tmp_path):
    paths, classes = named
    student = StudentClassifier("probe", **TINY).fit(paths, classes)
    rows = student.predict_proba(paths)
    assert rows.shape == (12, 3)
    assert rows.sum(axis=1) == pytest.approx(np.ones(12), abs=1e-3)
    assert student.predict(paths).tolist() == student.classes_[rows.argmax(axis=1)].tolist()
    assert student.score(paths, classes) == (student.predict(paths) == np.array(classes)).mean()
    student.save(tmp_path / "saved")
    wanted = evaluate_student(tmp_path / "saved", test_imgs).accuracy
    assert student.score(test_imgs) == wanted
    assert student.predict(imgs / "red").shape == (4,)


def test_a_class_in_decomposed_letters_is_scored_as_the_class_it_is(named, toy_zoo):
    paths, classes = named
    composed = [f"{name} caf\u00e9" for name in classes]
    student = StudentClassifier("probe", **TINY).fit(paths, composed)
    decomposed = [f"{name} cafe\u0301" for name in classes]
    assert student.score(paths, decomposed) == student.score(paths, composed) > 0


def test_it_is_the_same_after_saving_and_loading(named, toy_zoo, tmp_path):
    paths, classes = named
    student = StudentClassifier("probe", **TINY).fit(paths, classes)
    student.save(tmp_path / "saved")
    loaded = StudentClassifier.load(tmp_path / "saved")
    assert (loaded.predict_proba(paths) == student.predict_proba(paths)).all()
    assert load_network(tmp_path / "saved")[1] == tuple(loaded.classes_)
    with pytest.raises(StudentError, match="not empty"):
        student.save(tmp_path / "saved")
    student.save(tmp_path / "saved", overwrite=True)
    with pytest.raises(StudentError, match="wrote"):
        StudentClassifier.load(tmp_path / "nowhere")


def test_saving_over_a_student_leaves_nothing_of_it_and_no_other_files(named, toy_zoo, tmp_path):
    student = StudentClassifier("probe", **TINY).fit(*named)
    place = tmp_path / "saved"
    student.save(place)
    for name in ("model.onnx", "ranking.json"):
        (place / name).write_text("of the previous student")
    student.save(place, overwrite=True)
    assert not [name for name in ("model.onnx", "ranking.json") if (place / name).exists()]
    before = snapshot(place)
    StudentClassifier.load(place).save(place, overwrite=True)
    assert snapshot(place) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(StudentError, match="no student"):
        student.save(tmp_path / "mine", overwrite=True)


def pickled(student):
    return pickle.loads(pickle.dumps(student))  # noqa: S301


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_lives_longer_than_what_it_was_copied_from(named, toy_zoo, again, tmp_path):
    paths, classes = named
    student = StudentClassifier("probe", **TINY).fit(paths, classes)
    wanted = student.predict_proba(paths)
    other = again(student)
    del student
    gc.collect()
    assert (other.predict_proba(paths) == wanted).all()
    other.save(tmp_path / "saved")
    assert again(StudentClassifier("probe", seed=3)).seed == 3


def test_missing_classes_of_a_table_are_unlabeled_and_missing_images_an_error(named, toy_zoo):
    paths, _ = named
    y = [*["a"] * 4, *["b"] * 4, float("nan"), "", -1.0, None]
    student = StudentClassifier("probe", **TINY).fit(paths, y)
    assert student.classes_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="12 images need as many classes"):
        student.score(paths, y[:3])
    with pytest.raises(ImagesError, match=r"nope\.png does not exist"):
        student.fit([*paths, "nope.png"], [*y, "a"])


def test_images_that_are_left_out_are_a_warning(named, imgs, toy_zoo):
    (imgs / "red" / "broken.png").write_text("x")
    with pytest.warns(UserWarning, match=r"Skipped 1 unreadable image .*broken\.png"):
        StudentClassifier("probe", **TINY).fit(imgs)


def test_none_and_minus_one_are_unlabeled_and_numbers_are_classes(named, toy_zoo):
    paths, _ = named
    y = [*[0] * 4, *[1] * 4, -1, -1, None, None]
    student = StudentClassifier("probe", **TINY).fit(paths, y)
    assert student.classes_.tolist() == ["0", "1"]
    assert (report(student).labeled, report(student).unlabeled) == (8, 4)


def test_a_folder_of_more_images_is_unlabeled(named, imgs, test_imgs, toy_zoo):
    for given in ((imgs,), named):
        student = StudentClassifier("probe", unlabeled=test_imgs, **TINY).fit(*given)
        assert report(student).unlabeled == 9 + 6 * (given == (imgs,))


def test_its_arguments_are_read_and_set_by_name(named, toy_zoo):
    student = StudentClassifier("probe", seed=3)
    assert student.get_params()["seed"] == 3
    assert student.set_params(seed=4, **TINY) is student
    assert (student.seed, student.updates) == (4, 2)
    with pytest.raises(ValueError, match="no argument 'sede'"):
        student.set_params(sede=1)
    assert repr(StudentClassifier("probe", seed=3)) == "StudentClassifier(method='probe', seed=3)"


def test_what_cannot_be_done_is_a_clear_error(named, imgs, tmp_path):
    paths, classes = named
    student = StudentClassifier("probe", **TINY)
    for use in (student.predict, student.predict_proba, student.score, student.save):
        with pytest.raises(ZooError, match="not fitted"):
            use(imgs)
    with pytest.raises(ValueError, match="leave out y"):
        student.fit(imgs, classes)
    with pytest.raises(ValueError, match="as many classes"):
        student.fit(paths, classes[:3])


def test_scikit_learn_clones_and_cross_validates_it(named, toy_zoo):
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    paths, classes = named
    student = StudentClassifier("probe", **TINY)
    assert base.clone(student).get_params() == student.get_params()
    assert base.is_classifier(student)
    scores = selection.cross_val_score(student, list(map(str, paths)), classes, cv=2)
    assert scores.shape == (2,)


def test_it_fits_named_images_from_whatever_folder_it_is_called_in(named, toy_zoo, monkeypatch):
    monkeypatch.chdir("/")
    student = StudentClassifier("transfer", **TINY).fit(*named)
    assert len(student.predict(named[0])) == len(named[0])


def test_it_scores_the_images_that_have_a_class_and_numbers_of_a_table_with_gaps(named, toy_zoo):
    paths, names = named
    numbers = [sorted(set(names)).index(name) for name in names]
    student = StudentClassifier("probe", **TINY).fit(paths, [float(n) for n in numbers])
    assert student.classes_.tolist() == ["0", "1", "2"]
    known = student.score(paths[:6], numbers[:6])
    assert student.score(paths, [*numbers[:6], *[None, float("nan"), -1] * 2]) == known
    with pytest.raises(ValueError, match="none of the images has a class"):
        student.score(paths[:2], [None, -1])


def test_it_is_not_saved_among_the_images(imgs, toy_zoo):
    before = snapshot(imgs)
    student = StudentClassifier("probe", **TINY).fit(imgs)
    with pytest.raises(ZooError, match="inside the image folder"):
        student.save(imgs / "red" / "student")
    assert snapshot(imgs) == before


def test_numbers_of_numpy_are_numbers(imgs, toy_zoo, tmp_path):
    students = [
        StudentClassifier("transfer", **{**TINY, "image_size": size, "updates": count}, seed=seed)
        for size, count, seed in ((32, 2, 1), (np.int64(32), np.int64(2), np.arange(2)[1]))
    ]
    saved = []
    for number, student in enumerate(students):
        student.fit(imgs).save(tmp_path / str(number))
        saved.append((tmp_path / str(number) / "model.safetensors").read_bytes())
    assert saved[0] == saved[1]
