"""Runs that were killed, and the state that they leave."""

from dataclasses import replace

import pytest
from training_runs import RECIPE, SHARES, run, same

from distill import checkpoint

pytestmark = pytest.mark.usefixtures("plain_numbers")


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


def test_a_run_that_is_stopped_between_updates_keeps_every_one(images, tmp_path):
    with pytest.raises(Killed):
        run(images, checkpoints=tmp_path / "runs", progress=kill_at(3))
    assert first_update(images, tmp_path / "runs")[0] == 4


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
    folder, seen = tmp_path / "runs", []
    run(images, checkpoints=folder, progress=lambda *_: seen.append(folder.exists()))
    assert seen == [False] * 4
