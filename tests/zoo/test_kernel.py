"""The kernel of several teachers, computed a few images at a time."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from distill.training.targets import soft_labels
from zoo import Features
from zoo.features import kernel as kernel_module
from zoo.features import linear_probe
from zoo.features.kernel import TeacherKernel, kernel_basis


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    drawn = {"ant": (40, 5), "bee": (40, 9)}
    return {
        name: Features(rng.normal(size=shape).astype(np.float32), np.zeros((40, 0), np.float32))
        for name, shape in drawn.items()
    }


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(kernel_module, "BLOCK", 7)
    monkeypatch.setattr(linear_probe, "ROWS", 6)


SHARES = {"ant": 0.3, "bee": 0.7}


@pytest.mark.usefixtures("small_blocks")
def test_it_is_the_mean_by_share_of_cosines_of_standardized_features(features):
    marks = np.array([3, 30, 5])
    kernel = TeacherKernel.of(features, SHARES, marks)
    rows = {
        name: StandardScaler().fit_transform(each.embeddings) for name, each in features.items()
    }
    expected = sum(
        share * cosine_similarity(rows[n], rows[n][marks]) for n, share in SHARES.items()
    )
    assert np.allclose(kernel.rows(slice(None)), expected, atol=1e-6)
    assert np.allclose(kernel.products(np.eye(3)), expected, atol=1e-6)
    assert [part.start for part, _ in kernel.blocks()] == [0, 7, 14, 21, 28, 35]


def test_products_of_coordinates_are_the_kernel_of_the_landmarks(features):
    marks = np.arange(12)
    kernel = TeacherKernel.of(features, SHARES, marks)
    rows = kernel.products(kernel_basis(kernel.rows(marks)))
    assert np.allclose(rows @ rows[marks].T, kernel.rows(slice(None)), atol=1e-8)


def test_soft_labels_do_not_depend_on_how_many_images_are_in_memory(features, request):
    labels = np.where(np.arange(40) < 12, np.arange(40) % 3, -1)
    whole = soft_labels(features, SHARES, labels).probabilities
    request.getfixturevalue("small_blocks")
    assert np.allclose(soft_labels(features, SHARES, labels).probabilities, whole, atol=1e-6)
