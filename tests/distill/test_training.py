"""Training: one update against the formula, every option, and runs that were killed."""

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from distill.evaluation.evaluate import evaluate
from distill.recipe import Recipe
from distill.student import choose_frozen, create_student, save_network
from distill.training.batches import Batches
from distill.training.loop import set_rate
from distill.training.targets import soft_labels
from tests.support.training_runs import RECIPE, SHARES, run, same, weights
from zoo.errors import ImagesError, StudentError, ZooError
from zoo.features.linear_probe import STRENGTHS
from zoo.features.store import Features
from zoo.images.decoding import decode_images
from zoo.images.folder import read_images
from zoo.teachers.starts import IMAGENET, find_start

pytestmark = pytest.mark.usefixtures("plain_numbers")


def test_one_update_is_the_formula(images, features):
    recipe = replace(RECIPE, updates=1, label_weight=0.3, learning_rate=0.01, weight_decay=0.1)
    trained = run(images, recipe, features=features, shares=SHARES, objective="source")

    student = create_student("test_resnet", 3, groups=[[3, 2]], start="random", seed=2).train()
    before = {name: value.clone() for name, value in student.network.named_parameters()}
    pixels = torch.from_numpy(decode_images(images.paths, trained.preprocessing))
    batch = Batches(pixels, torch.from_numpy(images.labels), recipe, unlabeled=True, strong=False)[
        0
    ]
    mean, std = torch.tensor(IMAGENET.mean).view(3, 1, 1), torch.tensor(IMAGENET.std).view(3, 1, 1)
    phi = student.embed((batch.images - mean) / std)
    loss = 0.3 * cross_entropy(student.classify(phi[:4]), batch.labels)
    heads = student.classify_source(phi[4:], 0).split([3, 2], dim=1)
    for (name, share), head in zip(SHARES.items(), heads, strict=True):
        told = torch.from_numpy(features[name].logits)[batch.rows].softmax(dim=1)
        loss = loss + 0.7 * share * -(told * head.log_softmax(dim=1)).sum(dim=1).mean()
    loss.backward()

    for name, parameter in student.network.named_parameters():
        gradient, old = parameter.grad, before[name]
        assert gradient is not None
        # Adam's first step is the gradient's sign; the average keeps a tenth of the start
        decay = 0.1 if parameter.ndim > 1 else 0.0
        new = old * (1 - 0.01 * decay) - 0.01 * gradient / (gradient.abs() + 1e-8)
        expected = 0.1 * old + 0.9 * new
        clear = gradient.abs() > 1e-4  # the sign of a smaller one is noise
        got = trained.network.get_parameter(name)
        assert torch.allclose(got[clear], expected[clear], atol=1e-5), name


CHANGES = {
    "updates": 5,
    "labeled_batch": 5,
    "class_balance": 1.0,
    "unlabeled_batch": 5,
    "learning_rate": 1e-2,
    "weight_decay": 5.0,
    "warmup": 0.9,
    "label_weight": 0.9,
    "soft_label_decay": 0.5,
    "pseudo_label_weight": 0.5,
    "pseudo_label_threshold": 1.0,
    "fixmatch_weight": 0.5,
    "fixmatch_threshold": 0.999,
    "label_smoothing": 0.3,
    "min_area": 0.9,
    "flip": True,
    "color": 0.6,
    "ema_decay": 0.0,
    "seed": 3,
}
PRETRAINED_CHANGES = {"frozen": 0.2, "views": 1, "frozen_norms": False}
"""Numbers that matter where the initial weights are not random."""


def test_every_number_of_the_recipe_has_a_change_to_try():
    assert {*CHANGES, *PRETRAINED_CHANGES} == {field.name for field in fields(Recipe)}


def test_every_number_of_the_recipe_changes_the_student(images, features):
    recipe = replace(RECIPE, fixmatch_weight=1.0, fixmatch_threshold=0.0)
    labels = images.labels.copy()
    labels[np.flatnonzero(labels == 2)[2:]] = -1  # or class_balance would make no difference
    images = replace(images, labels=labels)
    usual = run(images, recipe, features=features, shares=SHARES)
    assert same(usual, run(images, recipe, features=features, shares=SHARES))
    for name, value in CHANGES.items():
        changed = replace(recipe, **{name: value})
        assert not same(usual, run(images, changed, features=features, shares=SHARES)), name


def test_every_option_of_train_changes_the_student(images, features, tmp_path):
    usual = run(images, features=features, shares=SHARES)
    other = {"ant": 0.25, "bee": 0.75}
    assert not same(usual, run(images, features=features, shares=other))
    assert not same(usual, run(images))
    assert not same(usual, run(images, features=features, shares=SHARES, image_size=48))
    efficient = run(images, features=features, shares=SHARES, arch="test_efficientnet")
    assert type(efficient.network) is not type(usual.network)
    narrow = run(images, model_args={"stem_width": 8})
    assert weights(narrow).shape != weights(usual).shape
    assert not same(usual, run(images, features=features, shares=SHARES, objective="source"))
    swapped = {
        "ant": features["ant"],
        "bee": Features(*[a[::-1].copy() for a in vars(features["bee"]).values()]),
    }
    assert not same(usual, run(images, features=swapped, shares=SHARES))
    with pytest.raises(ZooError, match="nowhere"):
        run(images, start=str(tmp_path / "nowhere"))
    assert str(run(images, device=torch.device("cpu")).network.fc.weight.device) == "cpu"  # pyright: ignore


def test_a_teacher_with_all_the_shares_is_that_teacher_alone(images, features):
    nearest = run(images, features=features, shares={"ant": 1.0, "bee": 0.0})
    alone = run(images, features={"ant": features["ant"]}, shares={"ant": 1.0})
    assert same(nearest, alone)


@pytest.fixture
def start(tmp_path):
    """Initial weights that a student may keep: a folder in timm's layout."""
    student = create_student("test_resnet", 3, start="random", seed=7)
    save_network(student.network, tmp_path, arch="test_resnet", labels=("a", "b", "c"),
                 preprocessing=replace(IMAGENET, size=32), license="mit")  # fmt: skip
    return str(tmp_path)


def test_frozen_blocks_keep_their_statistics_where_other_batch_norms_learn_theirs(images, start):
    recipe = replace(RECIPE, updates=8, frozen=0.5, frozen_norms=False)
    network = run(images, recipe, start=start).network
    before = create_student("test_resnet", 3, start=start).network.state_dict()
    kept = {
        name: torch.equal(value, before[name])
        for name, value in network.state_dict().items()
        if name.endswith("running_mean")
    }
    assert kept["bn1.running_mean"]
    frozen = {name.removesuffix("running_mean") for name, same in kept.items() if same}
    assert len(frozen) < len(kept)
    assert all(torch.equal(network.state_dict()[f"{name}weight"], before[f"{name}weight"])
               for name in frozen)  # fmt: skip


def test_every_number_for_pretrained_networks_changes_the_student(images, features, start):
    recipe = replace(RECIPE, updates=8)

    def trained(**changes):
        changed = replace(recipe, **changes)
        return run(images, changed, features=features, shares=SHARES, start=start)

    usual = trained()
    assert same(usual, trained())
    for name, value in PRETRAINED_CHANGES.items():
        assert not same(usual, trained(**{name: value})), name


def test_blocks_are_frozen_as_the_recipe_says_or_by_how_strong_the_initial_weights_are():
    embedded = find_start("builtin", "mobilenetv3_small_100")
    strong = find_start("builtin", "tf_efficientnet_lite0")
    assert [choose_frozen(None, start) for start in (embedded, strong)] == [0.0, 0.5]
    assert [choose_frozen(0.25, start) for start in (embedded, strong)] == [0.25, 0.25]


def test_frozen_blocks_and_batch_norms_keep_their_initial_values(images, features, start):
    before = create_student("test_resnet", 3, start=start).network.state_dict()
    recipe = replace(RECIPE, updates=8)
    after = run(images, recipe, features=features, shares=SHARES, start=start).network.state_dict()
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert {"conv1.0.weight", "conv1.3.weight"} <= kept
    assert {name for name in before if name.endswith("running_mean")} <= kept
    assert not kept.intersection({"layer4.0.conv1.weight", "fc.weight"})


def test_without_updates_only_the_head_is_fitted(images, start):
    before = create_student("test_resnet", 3, start=start).network.state_dict()
    after = run(images, replace(RECIPE, updates=0), start=start).network.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_the_head_without_updates_is_a_probe_of_scikit_learn(images, start):
    from sklearn.linear_model import Ridge

    trained = run(images, replace(RECIPE, updates=0), start=start)
    network: Any = trained.network
    form = trained.preprocessing
    pixels = torch.from_numpy(decode_images(images.paths, form)).float() / 255
    mean, std = torch.tensor(form.mean).view(3, 1, 1), torch.tensor(form.std).view(3, 1, 1)
    with torch.inference_mode():
        inputs = (pixels - mean) / std
        features = network.forward_head(network.forward_features(inputs), pre_logits=True).numpy()
        logits = network(inputs).numpy()
    known = images.labels >= 0
    rows = (features - features[known].mean(axis=0)) / (features[known].std(axis=0) + 1e-9)
    one_hot = np.eye(3)[images.labels[known]]
    unit = np.square(rows[known]).sum() / known.sum()
    correlations = []
    for strength in STRENGTHS:
        probe = Ridge(alpha=strength * unit).fit(rows[known], one_hot)
        scores = probe.predict(rows)
        correlations.append(np.corrcoef(scores.ravel(), logits.ravel())[0, 1])
    assert max(correlations) > 0.9999


def test_a_run_without_teachers_sees_no_unlabeled_image(images):
    labeled = images.subset(np.flatnonzero(images.labels >= 0))
    assert same(run(images), run(labeled))
    fixmatch = replace(RECIPE, fixmatch_weight=1.0, fixmatch_threshold=0.0)
    assert not same(run(images, fixmatch), run(labeled, fixmatch))


def test_transfer_learns_the_colors(images, test_imgs):
    recipe = Recipe(updates=40, labeled_batch=16, learning_rate=5e-3, ema_decay=0.9)
    trained = run(images, recipe)
    exam = read_images(test_imgs)
    result = evaluate(trained.network, exam, images.classes, trained.preprocessing)
    assert result.accuracy > 0.9
    assert trained.history[-1]["labels"] <= trained.history[0]["labels"]


def test_fixmatch_learns_the_colors(images, test_imgs):
    recipe = Recipe(
        updates=40, labeled_batch=16, unlabeled_batch=8, learning_rate=5e-3, ema_decay=0.9,
        fixmatch_weight=1.0,
    )  # fmt: skip
    trained = run(images, recipe)
    exam = read_images(test_imgs)
    result = evaluate(trained.network, exam, images.classes, trained.preprocessing)
    assert result.accuracy > 0.9


@pytest.mark.parametrize("objective", ["source", "target"])
def test_a_student_imitates_its_teachers_ever_better(images, features, objective):
    recipe = Recipe(
        updates=60, unlabeled_batch=18, label_weight=0.0, ema_decay=0.0, min_area=1.0, color=0.0
    )
    trained = run(images, recipe, features=features, shares=SHARES, objective=objective)
    history = [entry[objective] for entry in trained.history]
    assert history[-1] < 0.85 * history[0]


def test_history_has_an_entry_every_ten_updates_and_at_the_end(images, features):
    trained = run(images, replace(RECIPE, updates=23), features=features, shares=SHARES)
    assert [entry["update"] for entry in trained.history] == [10, 20, 23]
    terms = {"labels", "target", "agreement", "fixmatch"}
    assert set(trained.history[0]) == {"update", "rate", *terms}
    assert not trained.network.training
    assert trained.seconds > 0
    assert trained.warning == ""


def test_every_entry_of_the_history_is_recorded_at_once(images):
    told, known = [], []
    options = {"record": told.append, "progress": lambda *_: known.append(len(told))}
    trained = run(images, replace(RECIPE, updates=12), **options)
    assert told == trained.history
    assert known == [0] * 9 + [1, 1, 2]


def test_the_accuracy_of_the_soft_labels_is_that_of_the_target_objective_only(images, features):
    taught = {"features": features, "shares": SHARES}
    expected = soft_labels(features, SHARES, images.labels).accuracy
    assert run(images, **taught).soft_label_accuracy == expected is not None
    assert run(images, objective="source", **taught).soft_label_accuracy is None
    assert run(images).soft_label_accuracy is None


def test_progress_counts_every_update(images):
    calls = []
    run(images, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_rate_climbs_and_then_falls_to_nearly_zero():
    recipe = Recipe(updates=100, warmup=0.1, learning_rate=0.5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    rates = [set_rate(optimizer, recipe, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (k + 1) for k in range(10)])
    assert rates[55] == pytest.approx(0.25)
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert 0 < rates[-1] < 0.001
    assert optimizer.param_groups[0]["lr"] == rates[-1]


def test_a_teacher_without_a_classifier_works_in_the_target_objective_only(images, features):
    mute = Features(features["ant"].embeddings, np.zeros((len(images), 0), np.float32))
    with pytest.raises(ZooError, match="'ant' has no classifier"):
        run(images, features={"ant": mute}, shares={"ant": 1.0}, objective="source")
    run(images, features={"ant": mute}, shares={"ant": 1.0}, objective="target")


def test_images_without_labels_cannot_train(images):
    with pytest.raises(ImagesError, match="no labels"):
        run(replace(images, labels=np.full(len(images), -1)))


def test_a_run_that_diverges_is_one_clear_line_and_no_student(images):
    with pytest.raises(StudentError, match="Training diverged"):
        run(images, replace(RECIPE, learning_rate=1.0, weight_decay=10.0, updates=60))
