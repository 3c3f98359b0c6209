"""Measuring: what is timed, for how long, and what is guessed; by a clock that ticks when read."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from distill import budget as budget_module
from distill.budget import FEW, MANY, measure_student
from distill.recipe import Distillation, Recipe
from distill.training import loop
from distill.training.freezing import FrozenBatches
from selection.pipeline import measure_scoring
from selection.resampling import PAIRS, PERMUTATIONS
from tests.support.toys import hub_card
from zoo import Runtime, extract_features
from zoo.errors import StudentError
from zoo.features.store import FeatureStore, unseen
from zoo.features.throughput import SAMPLE, measure_decoding, measure_teachers, plan_passes
from zoo.system import timing
from zoo.system.timing import Deadline

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A second goes by between two readings."""
    ticks = count()
    monkeypatch.setattr(timing, "clock", lambda: float(next(ticks)))


def student(teachers=None, classes=3, images=90, **changes):
    how = Distillation(arch="test_resnet", image_size=32, **changes)
    return measure_student(how, images, classes, teachers, 3.0, CPU)


@pytest.mark.parametrize("teachers", [None, [], [3, 2]])
def test_a_student_is_measured_by_real_updates_without_the_first(clock, monkeypatch, teachers):
    runs = []

    def fit(student, pixels, labels, recipe, _fit=budget_module.fit, **options):
        done, made = options["progress"], []
        options["progress"] = lambda step, total: (made.append(step), done(step, total))
        runs.append((pixels.shape, recipe, options["targets"], made))
        return _fit(student, pixels, labels, recipe, **options)

    monkeypatch.setattr(budget_module, "fit", fit)
    assert student(teachers).update == 1
    for images, updates, (shape, recipe, targets, made) in zip(
        (FEW, FEW, MANY), (1, 1, 1 + 3), runs, strict=True
    ):
        assert shape == (images, 3, 32, 32)
        assert len(made) == updates
        assert recipe.labeled_batch == Recipe().labeled_batch
        assert bool(targets) == (teachers is not None)
        if teachers:
            assert targets.groups == (tuple(teachers),)
        elif teachers is not None:
            assert targets.probabilities.shape == (images, 3)


@pytest.mark.parametrize(("before", "image"), [(5, 5), (0, 2)])
def test_what_is_done_once_does_not_grow_with_the_images(clock, monkeypatch, before, image):
    def fit(_student, pixels, *_, progress, **__):
        # optimizer and compilation, whatever the number of images; head and views of each
        wait(300 + before * len(pixels))
        for step in range(9):
            progress(step, 9)

    def wait(seconds):
        for _ in range(seconds):
            timing.clock()

    monkeypatch.setattr(budget_module, "fit", fit)
    monkeypatch.setattr(
        budget_module, "predict_pixels", lambda _, pixels, *__, **___: wait(2 * len(pixels))
    )
    found = student()
    assert (found.update, found.predict) == (1, 2)
    assert found.image == image  # without a head to fit, batch norms need a prediction
    assert found.start == 300 - (image - before) * FEW


@pytest.mark.parametrize("method", ["transfer", "fixmatch"])
@pytest.mark.parametrize("classes", [2, 3, 6, 100])
def test_students_of_any_number_of_classes_are_measured(clock, method, classes):
    assert student(classes=classes, method=method).update == 1


def test_a_probe_takes_no_updates(clock):
    found = student(method="probe")
    assert found.update == 0
    assert found.start == pytest.approx(1)


@pytest.mark.parametrize("labeled_alone", ["transfer", "probe"])
def test_methods_that_learn_from_labels_alone_are_measured_on_labeled_images(
    clock, monkeypatch, labeled_alone
):
    seen = {}

    def fit(_student, _pixels, labels, *_, progress, **__):
        seen[method] = float((labels >= 0).float().mean())
        for step in range(9):
            progress(step, 9)

    monkeypatch.setattr(budget_module, "fit", fit)
    for method in (labeled_alone, "fixmatch"):
        student(method=method)
    assert seen == {labeled_alone: 1.0, "fixmatch": 0.5}


@pytest.mark.parametrize(("images", "updates", "kept"), [(90, 200, True), (9_000, 200, False),
                                                         (9_000, 2_000, True)])  # fmt: skip
def test_the_measured_run_keeps_frozen_outputs_where_the_real_one_will(
    clock, monkeypatch, images, updates, kept
):
    seen = []

    def run_frozen_part(*given, _run=loop.run_frozen_part):
        seen.append(isinstance(_run(*given), FrozenBatches))
        return _run(*given)

    monkeypatch.setattr(loop, "run_frozen_part", run_frozen_part)
    student(images=images, recipe=Recipe(updates=updates, frozen=0.5))
    assert {*seen} == {kept}


def test_a_network_that_takes_no_such_images_cannot_be_measured(clock, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("Input height (32) doesn't match model (224).")

    monkeypatch.setattr(budget_module, "fit", refuse)
    with pytest.raises(StudentError, match="at 32 px could not be measured: leave out --budget"):
        student()


def test_a_kind_of_network_is_measured_once(toy_zoo, clock):
    found = measure_teachers(toy_zoo, seconds=9)
    assert found["ant"] == found["bee"]
    assert (found["ant"].start, found["ant"].each) == (0, 1 / SAMPLE)


def test_a_teacher_elsewhere_is_extrapolated_by_parameters_and_area(toy_zoo, clock):
    unknown = hub_card("dog", network="nosuch")
    found = measure_teachers([toy_zoo[0], unknown], seconds=99)
    work = unknown.params * 224**2 / (toy_zoo[0].params * 32**2)
    assert found["dog"].each == pytest.approx(found["ant"].each * work)


def test_when_the_time_is_over_the_rest_is_guessed(toy_zoo, clock):
    cat = hub_card("cat", params=2 * toy_zoo[0].params)
    found = measure_teachers([toy_zoo[0], cat], seconds=0)
    assert found["cat"].each == pytest.approx(found["ant"].each * 2 * 7**2)


def test_a_teacher_that_is_broken_takes_no_time_and_is_no_error(toy_zoo, clock, tmp_path):
    broken = replace(toy_zoo[0], folder=tmp_path)
    assert measure_teachers([broken], seconds=9)["ant"].each == 0


def test_decoding_is_timed_on_a_sample(images, clock):
    assert measure_decoding(images, 32) == 1 / SAMPLE


def test_passes_counts_what_the_store_does_not_hold(toy_zoo, images, tmp_path):
    ant, bee = toy_zoo
    store = FeatureStore(tmp_path / "features")
    extract_features([ant], images.subset(np.arange(5)), store=store)
    new = unseen([ant, bee], [*images.digests, images.digests[0]], store)
    assert new == {"ant": [*images.digests[5:]], "bee": [*images.digests]}
    runtime = Runtime(device="cpu", cache=tmp_path)
    passes, _, _ = plan_passes([ant, bee], images, Deadline(), runtime)
    assert passes.step("run", images.digests).count == 13 + 18
    assert passes.decode > 0
    extract_features([ant], images, store=store)
    passes, fetching, lost = plan_passes([ant], images, Deadline(), runtime)
    assert (passes.unseen, fetching, lost) == ({}, [], [])


def reading(*times):
    left = iter(times)
    return lambda: next(left)


@pytest.mark.parametrize("metric", ["linear_probe,cka,hscore", "hscore,parc"])
def test_scoring_is_timed_by_one_subsample_and_one_permutation(monkeypatch, metric):
    labels = np.array([0, 1, 2] * 4 + [-1] * 6)
    # five seconds without subsamples, four to prepare, three to permute, two for a subsample
    monkeypatch.setattr(timing, "clock", reading(0.0, 5.0, 9.0, 12.0, 14.0))
    found = measure_scoring(labels, metric=metric)
    assert 12 * found == pytest.approx(5 + PERMUTATIONS * 3 + 2 * PAIRS * 2)


def test_what_cannot_be_scored_takes_no_time():
    assert measure_scoring(np.full(5, -1)) == 0
    assert measure_scoring(np.array([0, 1, -1])) == 0
