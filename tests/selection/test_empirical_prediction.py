"""NCE and LEEP against loops over the joint distribution, N-LEEP against scikit-learn's mixture."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from selection.metrics.empirical_prediction import assign_softly, leep, nce, nleep
from tests.support import published_metrics as published
from tests.support.scoring_tasks import draw_task, wrap
from zoo.errors import RankingError
from zoo.features.store import Features

of_classes = pytest.mark.parametrize("metric", [nce, leep])
every_metric = pytest.mark.parametrize("metric", [nce, leep, nleep])


def draw_classifier(seed=0, images=60, sources=7, classes=5, signal=1.0):
    rng = np.random.default_rng(seed)
    features, labels = draw_task(seed, images, classes=classes)
    logits = 2 * rng.normal(size=(images, sources))
    logits += signal * rng.normal(size=(classes, sources))[labels]
    return Features(features.embeddings, logits.astype(np.float32)), labels


def draw_clusters(seed=0, classes=3, per_cluster=20):
    """Five far clusters per class, in 4 wide dimensions and 6 of noise."""
    rng = np.random.default_rng(seed)
    centers = 30 * rng.normal(size=(5 * classes, 4))
    which = np.repeat(np.arange(5 * classes), per_cluster)
    rows = np.c_[
        centers[which] + rng.normal(size=(len(which), 4)), rng.normal(size=(len(which), 6))
    ]
    labels = rng.permutation(np.arange(5 * classes) % classes)[which]
    return rows, labels


def soften(logits):
    shares = np.exp(logits.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("images", "sources", "classes"), [(60, 7, 5), (30, 50, 2), (90, 1, 9)])
def test_nce_and_leep_equal_the_published_forms(images, sources, classes):
    features, labels = draw_classifier(1, images, sources, classes)
    named = features.logits.argmax(axis=1)
    assert nce(features, labels) == pytest.approx(published.nce(named, labels), abs=1e-12)
    slow = published.leep(soften(features.logits), labels)
    assert leep(features, labels) == pytest.approx(slow, abs=1e-12)


def test_classes_that_are_never_used_do_not_matter():
    features, labels = draw_classifier(2)
    dead = np.full((60, 3), -1e30, dtype=np.float32)
    wider = Features(features.embeddings, np.c_[dead, features.logits, dead])
    assert leep(wider, labels) == pytest.approx(leep(features, labels), abs=1e-12)
    assert nce(wider, labels) == pytest.approx(nce(features, labels), abs=1e-12)


@of_classes
def test_a_perfect_classifier_scores_0_and_one_that_says_nothing_the_entropy(metric):
    features, labels = draw_classifier(3)
    perfect = 100 * np.eye(5, dtype=np.float32)[labels][:, [3, 1, 4, 0, 2]]
    assert metric(Features(features.embeddings, perfect), labels) == pytest.approx(0, abs=1e-9)
    silent = np.zeros((60, 7), dtype=np.float32)
    assert metric(Features(features.embeddings, silent), labels) == pytest.approx(-np.log(5))


def test_leep_and_nce_of_a_one_hot_softmax_are_the_same():
    features, labels = draw_classifier(4)
    sharp = Features(features.embeddings, features.logits * 1e4)
    assert leep(sharp, labels) == pytest.approx(nce(sharp, labels), abs=1e-6)


@of_classes
def test_a_teacher_without_classes_is_refused(metric):
    features, labels = draw_task(5)
    with pytest.raises(RankingError, match="no classifier"):
        metric(features, labels)


@of_classes
def test_logits_that_are_not_finite_are_refused(metric):
    features, labels = draw_classifier(6)
    features.logits[3, 4] = np.inf
    with pytest.raises(RankingError, match=r"logits .* not finite"):
        metric(features, labels)
    labels[3] = -1
    assert np.isfinite(metric(features, labels))


@of_classes
def test_unlabeled_images_play_no_part(metric):
    features, labels = draw_classifier(7)
    labels[:20] = -1
    alone = metric(features.rows(np.arange(20, 60)), labels[20:])
    assert metric(features, labels) == pytest.approx(alone, abs=1e-12)


@of_classes
def test_order_of_images_and_classes_does_not_matter(metric):
    features, labels = draw_classifier(8)
    score, order = metric(features, labels), np.random.default_rng(0).permutation(60)
    assert metric(features.rows(order), labels[order]) == pytest.approx(score, abs=1e-12)
    renamed = np.array([70, 3, 0, 41, 2])[labels]
    assert metric(features, renamed) == pytest.approx(score, abs=1e-12)
    turned = Features(features.embeddings, features.logits[:, ::-1])
    assert metric(turned, labels) == pytest.approx(score, abs=1e-12)


def test_a_shift_of_the_logits_does_not_matter_and_their_scale_does_to_leep_alone():
    features, labels = draw_classifier(9)
    shifted = Features(features.embeddings, features.logits + 1000)
    assert leep(shifted, labels) == pytest.approx(leep(features, labels), abs=1e-3)
    scaled = Features(features.embeddings, features.logits * 3)
    assert nce(scaled, labels) == nce(features, labels)
    assert abs(leep(scaled, labels) - leep(features, labels)) > 0.05


# --- N-LEEP


def test_the_mixture_equals_scikit_learns_where_clusters_are_plain():
    rows, _ = draw_clusters(10)
    shares = assign_softly(rows, 15)
    slow = GaussianMixture(15, n_init=5, random_state=0).fit(rows).predict_proba(rows)
    order = [np.flatnonzero(slow[shares[:, part].argmax()] > 0.5)[0] for part in range(15)]
    assert sorted(order) == list(range(15))
    assert np.allclose(shares, slow[:, order], atol=1e-6)


def test_the_mixture_climbs_to_a_likelihood_like_scikit_learns_where_clusters_overlap():
    rng = np.random.default_rng(11)
    which = np.repeat([0, 1], 300)
    rows = rng.normal(size=(600, 2)) * np.array([[1, 3], [3, 1]])[which] + 4 * which[:, None]
    shares = assign_softly(rows, 2)
    slow = GaussianMixture(2, random_state=0).fit(rows).predict_proba(rows)
    slow = slow[:, ::-1] if (shares[:, 0] * slow[:, 0]).sum() < 150 else slow
    assert np.abs(shares - slow).max() < 0.05
    assert not np.allclose(shares, shares.round())


def test_n_leep_equals_leep_of_scikit_learns_mixture():
    rows, labels = draw_clusters(12)
    labels[::7] = (labels[::7] + 1) % 3
    projected = PCA(0.8, svd_solver="full").fit_transform(rows)
    slow = GaussianMixture(15, n_init=5, random_state=0).fit(projected).predict_proba(projected)
    assert nleep(wrap(rows), labels) == pytest.approx(published.leep(slow, labels), abs=1e-6)


def test_over_seeds_n_leep_has_the_mean_and_the_spread_of_scikit_learns_mixture():
    features, labels = draw_task(0, 200, 20, 5, 0.5)
    rows = PCA(0.8, svd_solver="full").fit_transform(features.embeddings.astype(np.float64))
    ours, slow = (
        np.array([published.leep(fit(seed), labels) for seed in range(10)])
        for fit in (
            lambda seed: assign_softly(rows, 25, seed=seed),
            lambda seed: GaussianMixture(25, random_state=seed).fit(rows).predict_proba(rows),
        )
    )
    assert ours.mean() == pytest.approx(slow.mean(), abs=3 * slow.std() * np.sqrt(2 / 10))
    assert 0.5 < ours.std() / slow.std() < 2


def test_n_leep_of_clusters_of_one_class_is_0_and_of_noise_less():
    rows, labels = draw_clusters(13)
    assert nleep(wrap(rows), labels) == pytest.approx(0, abs=1e-6)
    noise = [nleep(*draw_task(seed, 300, 40, 3, signal=0)) for seed in range(3)]
    assert -np.log(3) < np.mean(noise) < -0.2


def test_n_leep_fits_its_mixture_on_unlabeled_images_too():
    features, labels = draw_task(14, 200, 10, 4)
    labels[40:] = -1
    alone = nleep(features.rows(np.arange(40)), labels[:40])
    assert nleep(features, labels) != pytest.approx(alone, abs=1e-3)


def test_n_leep_is_the_same_every_time_and_for_any_names_of_classes():
    features, labels = draw_task(15)
    assert nleep(features, labels) == nleep(features, labels)
    renamed = np.array([70, 3, 0, 41, 2])[labels]
    assert nleep(features, renamed) == pytest.approx(nleep(features, labels), abs=1e-12)


def test_n_leep_takes_fewer_gaussians_than_images():
    features, labels = draw_task(16, 12, 6, 5)
    assert np.isfinite(nleep(features, labels))


@pytest.mark.parametrize("power", [-40, -20, 20, 40])
def test_n_leep_scores_features_of_any_magnitude(power):
    features, labels = draw_task(17)
    assert -np.log(5) - 1e-9 <= nleep(wrap(features.embeddings * 2.0**power), labels) <= 0


def test_n_leep_scores_duplicates():
    features, labels = draw_task(18, 6, 5, 2)
    many = features.rows(np.arange(60) % 6)
    assert nleep(many, labels[np.arange(60) % 6]) == pytest.approx(0, abs=1e-6)


# --- All of them
