"""Training: one update against the formula, every option, and runs that were killed."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from distill import checkpoint
from distill.batches import Batches
from distill.evaluation import evaluate
from distill.recipe import Recipe
from distill.student import create_student
from distill.training import MEAN, STD, depthwise_in_float32, set_rate, train
from zoo.decoding import decode_images
from zoo.errors import ImagesError, ZooError
from zoo.features import Features
from zoo.images import read_images

RECIPE = Recipe(updates=4, labeled_batch=4, unlabeled_batch=4, seed=2)
SHARES = {"ant": 0.75, "bee": 0.25}


@pytest.fixture(autouse=True)
def _plain_numbers(monkeypatch):
    """No bfloat16, so that results can be compared."""
    monkeypatch.setattr(
        "distill.training.autocast", lambda device: torch.autocast(device.type, enabled=False)
    )


@pytest.fixture
def images(imgs):
    return read_images(imgs)


@pytest.fixture
def features(images):
    rng = np.random.default_rng(0)

    def teacher(classes):
        logits = rng.normal(0, 3, (len(images), classes)).astype(np.float32)
        return Features(np.zeros((len(images), 2), np.float32), logits)

    return {"ant": teacher(3), "bee": teacher(2)}


def run(images, recipe=RECIPE, **options):
    return train(
        images, recipe, **{"arch": "test_resnet", "start": "random", "image_size": 32, **options}
    )


def weights(trained):
    return torch.cat([v.flatten().float() for v in trained.network.state_dict().values()])


def same(one, other):
    return torch.equal(weights(one), weights(other))


def test_one_update_is_the_formula(images, features):
    recipe = replace(RECIPE, updates=1, label_weight=0.3, learning_rate=0.01, weight_decay=0.1)
    trained = run(images, recipe, features=features, shares=SHARES)

    student = create_student("test_resnet", 3, widths=[3, 2], start="random", seed=2).train()
    before = {name: value.clone() for name, value in student.network.named_parameters()}
    pixels = torch.from_numpy(decode_images(images.paths, trained.preprocessing))
    batch = Batches(pixels, torch.from_numpy(images.labels), recipe, unlabeled=True, strong=False)[
        0
    ]
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    phi = student.embed((batch.images - mean) / std)
    loss = 0.3 * cross_entropy(student.classify(phi[:4]), batch.labels)
    heads = student.imitate(phi[4:]).split([3, 2], dim=1)
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
    "unlabeled_batch": 5,
    "learning_rate": 1e-2,
    "weight_decay": 5.0,
    "warmup": 0.9,
    "label_weight": 0.9,
    "consistency": 0.5,
    "threshold": 0.999,
    "label_smoothing": 0.3,
    "min_area": 0.9,
    "flip": True,
    "color": 0.6,
    "averaging": 0.0,
    "seed": 3,
}


def test_every_number_of_the_recipe_has_a_change_to_try():
    assert list(CHANGES) == [field.name for field in fields(Recipe)]


def test_every_number_of_the_recipe_changes_the_student(images, features):
    recipe = replace(RECIPE, consistency=1.0, threshold=0.0)
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
    swapped = {
        "ant": features["ant"],
        "bee": Features(*[-a for a in vars(features["bee"]).values()]),
    }
    assert not same(usual, run(images, features=swapped, shares=SHARES))
    with pytest.raises(ZooError, match="nowhere"):
        run(images, start=str(tmp_path / "nowhere"))
    assert str(run(images, device=torch.device("cpu")).network.fc.weight.device) == "cpu"  # pyright: ignore


def test_a_teacher_with_all_the_shares_is_that_teacher_alone(images, features):
    nearest = run(images, features=features, shares={"ant": 1.0, "bee": 0.0})
    alone = run(images, features={"ant": features["ant"]}, shares={"ant": 1.0})
    assert same(nearest, alone)


def test_a_run_without_teachers_sees_no_unlabelled_image(images):
    labelled = images.subset(np.flatnonzero(images.labels >= 0))
    assert same(run(images), run(labelled))
    fixmatch = replace(RECIPE, consistency=1.0, threshold=0.0)
    assert not same(run(images, fixmatch), run(labelled, fixmatch))


def test_transfer_learns_the_colours(images, test_imgs):
    recipe = Recipe(updates=40, labeled_batch=16, learning_rate=5e-3, averaging=0.9)
    trained = run(images, recipe)
    exam = read_images(test_imgs)
    result = evaluate(trained.network, exam, images.classes, trained.preprocessing)
    assert result.accuracy > 0.9
    assert trained.history[-1]["labels"] < trained.history[0]["labels"]


def test_fixmatch_learns_the_colours(images, test_imgs):
    recipe = Recipe(
        updates=40, labeled_batch=16, unlabeled_batch=8, learning_rate=5e-3, averaging=0.9,
        consistency=1.0,
    )  # fmt: skip
    trained = run(images, recipe)
    exam = read_images(test_imgs)
    result = evaluate(trained.network, exam, images.classes, trained.preprocessing)
    assert result.accuracy > 0.9


def test_a_student_imitates_its_teachers_ever_better(images, features):
    recipe = Recipe(
        updates=60, unlabeled_batch=18, label_weight=0.0, averaging=0.0, min_area=1.0, color=0.0
    )
    history = run(images, recipe, features=features, shares=SHARES).history
    assert history[-1]["sources"] < 0.7 * history[0]["sources"]


def test_history_has_an_entry_every_ten_updates_and_at_the_end(images, features):
    trained = run(images, replace(RECIPE, updates=23), features=features, shares=SHARES)
    assert [entry["update"] for entry in trained.history] == [10, 20, 23]
    assert set(trained.history[0]) == {"update", "rate", "labels", "sources"}
    assert not trained.network.training
    assert trained.seconds > 0
    assert trained.mishap == ""


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


class Killed(Exception):
    """What stops a run in the middle."""


def kill_at(update):
    def progress(done, _):
        if done == update:
            raise Killed

    return progress


@pytest.fixture
def kept_often(monkeypatch, tmp_path):
    """Checkpoints after every update."""
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    return tmp_path / "runs"


def killed(images, folder, recipe=RECIPE, at=3, **options):
    before = set(folder.glob("*"))
    with pytest.raises(Killed):
        run(images, recipe, checkpoints=folder, progress=kill_at(at), **options)
    (file,) = set(folder.glob("*")) - before
    return file


def test_a_killed_run_goes_on_to_the_very_same_student(images, features, kept_often):
    taught = {"features": features, "shares": SHARES}
    recipe = replace(RECIPE, updates=7)
    killed(images, kept_often, recipe, **taught)
    calls = []
    resumed = run(images, recipe, checkpoints=kept_often,
                  progress=lambda done, _: calls.append(done), **taught)  # fmt: skip
    assert calls == [4, 5, 6, 7]
    assert same(resumed, run(images, recipe, **taught))
    assert not list(kept_often.iterdir())


def first_update(images, folder, recipe=RECIPE, **options):
    calls = []
    trained = run(images, recipe, checkpoints=folder,
                  progress=lambda done, _: calls.append(done), **options)  # fmt: skip
    return calls[0], trained


def test_the_state_of_another_run_is_ignored(images, features, kept_often):
    mine = killed(images, kept_often)
    other = replace(RECIPE, learning_rate=0.001)
    theirs = killed(images, kept_often, other)
    mine.replace(theirs)
    first, trained = first_update(images, kept_often, other)
    assert first == 1
    assert same(trained, run(images, other))


def test_a_run_is_another_with_other_numbers_images_labels_or_teachers(
    images, features, kept_often
):
    killed(images, kept_often, features=features, shares=SHARES)
    for options in (
        {"recipe": replace(RECIPE, seed=9)},
        {"recipe": replace(RECIPE, flip=True)},
        {"features": features, "shares": {"ant": 0.7, "bee": 0.3}},
        {"image_size": 48},
        {"arch": "test_efficientnet"},
    ):
        killed(images, kept_often, **{"at": 1, "features": {}, "shares": {}, **options})
    killed(images.hide_labels(2, 0), kept_often, features=features, shares=SHARES)
    assert len(list(kept_often.iterdir())) == 7


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None])
def test_a_damaged_state_is_ignored(images, kept_often, damage):
    file = killed(images, kept_often)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    first, trained = first_update(images, kept_often)
    assert first == 1
    assert same(trained, run(images))


def test_a_state_that_cannot_be_kept_is_a_mishap_and_no_crash(images, kept_often):
    kept_often.write_text("a file where a folder should be")
    trained = run(images, checkpoints=kept_often)
    assert str(kept_often) in trained.mishap
    assert same(trained, run(images))


def test_a_run_of_less_than_a_minute_writes_no_state(images, tmp_path):
    with pytest.raises(Killed):
        run(images, checkpoints=tmp_path / "runs", progress=kill_at(3))
    assert not (tmp_path / "runs").exists()


def test_a_teacher_without_a_classifier_cannot_teach(images, features):
    mute = Features(features["ant"].embeddings, np.zeros((len(images), 0), np.float32))
    with pytest.raises(ZooError, match="'ant' has no classifier"):
        run(images, features={"ant": mute}, shares={"ant": 1.0})


def test_images_without_labels_cannot_train(images):
    with pytest.raises(ImagesError, match="no labels"):
        run(replace(images, labels=np.full(len(images), -1)))


def test_depthwise_convolutions_leave_autocast_and_come_back():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3), nn.Conv2d(1, 1, 3))
    kinds = []
    for module in network[:2]:
        module.register_forward_hook(lambda _, __, output: kinds.append(output.dtype))
    images = torch.zeros(1, 4, 8, 8)

    def show():
        kinds.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network[:2](images)
        return list(kinds)

    inside = depthwise_in_float32(network)
    inside.__enter__()
    assert show() == [torch.float32, torch.bfloat16]
    assert not inside.__exit__(Killed, Killed(), None)
    assert show() == [torch.bfloat16, torch.bfloat16]
    assert not any("forward" in vars(module) for module in network)
