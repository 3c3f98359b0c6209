"""Too little GPU memory: batches are split, and nothing else changes."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from distill.evaluation.evaluate import predict
from distill.student import load_network
from distill.training.parallel import GradientAccumulation
from tests.support.toys import build_teacher
from tests.support.training_runs import RECIPE, SHARES, run, weights
from zoo.errors import StudentError
from zoo.features.extraction import extract_features
from zoo.features.inference import in_batches
from zoo.system.distributed import Processes


@contextmanager
def memory_for(limit):
    """No first convolution has memory for more than so many images; yields how many came."""
    counts = []

    def check(module, inputs):
        if isinstance(module, torch.nn.Conv2d) and inputs[0].shape[1] == 3:
            counts.append(len(inputs[0]))
            if counts[-1] > limit:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    hook = register_module_forward_pre_hook(check)
    try:
        yield counts
    finally:
        hook.remove()


@pytest.mark.usefixtures("plain_numbers")
@pytest.mark.parametrize("options", [{"features": 1, "objective": "target"},
                                     {"features": 1, "objective": "source"}, {}])  # fmt: skip
def test_gradient_accumulation_gives_the_student_of_whole_batches(images, features, options):
    # without batch norms, and with a rate at which Adam does not magnify rounding
    recipe = replace(RECIPE, updates=3, learning_rate=1e-4, labeled_batch=8, unlabeled_batch=8)
    taught = {**options, "features": features, "shares": SHARES} if options else {}
    whole = run(images, recipe, arch="test_convnext", **taught)
    with memory_for(6) as counts:
        parts = run(images, recipe, arch="test_convnext", **taught)
    batch = {"target": 24, "source": 16}.get(options.get("objective"), 8)
    parts_needed = next(n for n in (1, 2, 4, 8) if batch / n <= 6)
    assert counts[-parts_needed:] == [batch // parts_needed] * parts_needed
    assert torch.allclose(weights(parts), weights(whole), atol=2e-5)
    assert parts.history[-1] == pytest.approx(whole.history[-1], rel=1e-3)
    assert whole.warning == ""
    assert f"Out of GPU memory with {batch} images per batch" in parts.warning
    assert f"over {parts_needed} parts" in parts.warning


def test_only_the_first_update_is_tried_too_large(images):
    with memory_for(4) as counts:
        run(images, replace(RECIPE, updates=3, labeled_batch=8))
    assert "8, 4, 4, 4, 4, 4, 4" in str(counts)  # after those of the head


def test_a_batch_that_never_fits_is_one_line(images):
    with memory_for(0), pytest.raises(StudentError, match=r"GPU memory with 2 images .* --device"):
        run(images, replace(RECIPE, labeled_batch=8))


@pytest.mark.parametrize(("labeled", "processes"), [(3, 1), (8, 2)])
def test_what_cannot_be_split_evenly_is_not_split(labeled, processes):
    from distill.training.batches import Batch

    batch = Batch(torch.zeros(labeled, 3, 8, 8), torch.zeros(labeled), torch.zeros(0), 0)

    def backward(_):
        raise torch.cuda.OutOfMemoryError

    accumulation = GradientAccumulation(Processes(0, processes))
    with pytest.raises(StudentError, match=f"GPU memory with {labeled} images"):
        accumulation.accumulate(backward, batch, torch.nn.Linear(1, 1))


def test_teachers_process_as_many_images_as_fit(toy_zoo, images, tmp_path, monkeypatch):
    from zoo.features.store import FeatureStore

    whole = extract_features(toy_zoo, images, store=FeatureStore(tmp_path / "one"))
    with memory_for(5) as counts:
        parts = extract_features(toy_zoo, images, store=FeatureStore(tmp_path / "other"))
    assert parts.failures == {}
    assert counts == 2 * [18, 9, 4, 4, 4, 4, 2]
    for name in ("ant", "bee"):
        for kind in ("embeddings", "logits"):
            one, other = (getattr(seen.features[name], kind) for seen in (whole, parts))
            assert np.allclose(one, other, atol=0.02 * np.abs(one).max())


def test_a_teacher_that_never_fits_is_a_failure_of_one_line(toy_zoo, images):
    with memory_for(0):
        seen = extract_features(toy_zoo, images)
    assert seen.failures["ant"] == (
        "'ant' fails on the images: CUDA out of memory. Tried to allocate 9 GiB"
    )


def test_a_student_predicts_as_many_images_as_fit(images, tmp_path):
    build_teacher(tmp_path / "student", "student")
    network, _, form = load_network(tmp_path / "student")
    whole = predict(network, images, form)
    with memory_for(5):
        assert np.allclose(predict(network, images, form), whole, atol=0.02)


@pytest.mark.parametrize(("size", "limit"), [(4, 9), (4, 3), (7, 1), (100, 4)])
def test_every_row_comes_once_and_in_order(size, limit):
    def work(part):
        if len(part) > limit:
            raise torch.cuda.OutOfMemoryError
        return part

    parts = [*in_batches(work, torch.arange(10), size)]
    assert torch.cat(parts).tolist() == [*range(10)]
    assert max(map(len, parts)) <= min(size, limit)
