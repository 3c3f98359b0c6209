"""Runs that were killed, and the state that they leave."""

from dataclasses import replace

import pytest
import torch

from distill.training import checkpoint, targets
from distill.training.checkpoint import Checkpoint, delete_checkpoint
from distill.training.loop import make_optimizer
from tests.support.training_runs import RECIPE, SHARES, run, same
from zoo.errors import StudentError
from zoo.system.tensors import read_tensors, write_tensors

pytestmark = pytest.mark.usefixtures("plain_numbers")


class Killed(Exception):
    """What stops a run in the middle."""


def kill_at(update):
    def progress(done, _):
        if done == update:
            raise Killed

    return progress


@pytest.fixture
def often(monkeypatch, tmp_path):
    """Checkpoints after every update."""
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "MAX_OVERHEAD", 1e9)
    return tmp_path / "runs"


def killed(images, folder, recipe=RECIPE, at=3, **options):
    before = set(folder.glob("*"))
    with pytest.raises(Killed):
        run(images, recipe, checkpoints=folder, progress=kill_at(at), **options)
    (file,) = set(folder.glob("*")) - before
    return file


def test_a_killed_run_goes_on_to_the_very_same_student(images, features, often):
    taught = {"features": features, "shares": SHARES}
    recipe = replace(RECIPE, updates=7)
    killed(images, often, recipe, **taught)
    calls = []
    resumed = run(images, recipe, checkpoints=often,
                  progress=lambda done, _: calls.append(done), **taught)  # fmt: skip
    assert calls == [4, 5, 6, 7]
    whole = run(images, recipe, **taught)
    assert same(resumed, whole)
    assert resumed.history == whole.history


def test_heads_that_take_turns_do_so_after_a_kill(images, features, often, monkeypatch):
    taught = {"features": features, "shares": SHARES, "objective": "source"}
    recipe = replace(RECIPE, updates=7)
    together = run(images, recipe, **taught)
    monkeypatch.setattr(targets, "GROUP_CLASSES", 3)
    killed(images, often, recipe, **taught)
    resumed = run(images, recipe, checkpoints=often, **taught)
    whole = run(images, recipe, **taught)
    assert same(resumed, whole)
    assert not same(whole, together)


def test_the_checkpoint_of_a_finished_run_stays_until_its_student_is_saved(images, often):
    trained = run(images, checkpoints=often)
    calls = []
    again = run(images, checkpoints=often, progress=lambda *_: calls.append(1))
    assert (calls, same(trained, again), again.state) == ([], True, trained.state)
    assert again.history == trained.history
    assert again.seconds >= trained.seconds
    assert list(often.iterdir()) == [trained.state]
    delete_checkpoint(trained.state)
    assert not list(often.iterdir())


def test_a_run_that_diverged_leaves_no_state(images, often):
    with pytest.raises(StudentError, match="diverged"):
        run(images, replace(RECIPE, learning_rate=1.0, weight_decay=10.0, updates=60),
            checkpoints=often)  # fmt: skip
    assert not list(often.iterdir())


def test_a_run_that_is_stopped_between_updates_keeps_every_one(images, tmp_path):
    with pytest.raises(Killed):
        run(images, checkpoints=tmp_path / "runs", progress=kill_at(3))
    assert first_update(images, tmp_path / "runs")[0] == 4


def first_update(images, folder, recipe=RECIPE, **options):
    calls = []
    trained = run(images, recipe, checkpoints=folder,
                  progress=lambda done, _: calls.append(done), **options)  # fmt: skip
    return calls[0], trained


def test_the_state_of_another_run_is_ignored(images, features, often):
    mine = killed(images, often)
    other = replace(RECIPE, learning_rate=0.003)
    theirs = killed(images, often, other)
    mine.replace(theirs)
    first, trained = first_update(images, often, other)
    assert first == 1
    assert same(trained, run(images, other))


def test_a_run_is_another_with_other_numbers_images_labels_teachers_or_layers(
    images, features, often
):
    killed(images, often, features=features, shares=SHARES)
    for options in (
        {"recipe": replace(RECIPE, seed=9)},
        {"recipe": replace(RECIPE, flip=True)},
        {"features": features, "shares": {"ant": 0.7, "bee": 0.3}},
        {"image_size": 48},
        {"arch": "test_efficientnet"},
        {"features": features, "shares": SHARES, "model_args": {"act_layer": "silu"}},
    ):
        killed(images, often, **{"at": 1, "features": {}, "shares": {}, **options})
    killed(images.keep_labels(2, 0), often, features=features, shares=SHARES)
    assert len(list(often.iterdir())) == 8


DAMAGE = {
    "empty": lambda content: b"",
    "no safetensors": lambda content: b"no safetensors",
    "truncated": lambda content: content[: len(content) // 2],
    "a flipped bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_ignored(images, often, damage):
    file = killed(images, often)
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    first, trained = first_update(images, often)
    assert first == 1
    assert same(trained, run(images))


def test_a_checkpoint_that_cannot_be_written_is_a_warning_and_no_crash(images, often):
    often.write_text("a file where a folder should be")
    trained = run(images, checkpoints=often)
    assert str(often) in trained.warning
    assert same(trained, run(images))


def test_writing_the_state_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])

    def write(*_):
        written.append(clock[0])
        clock[0] += 3

    monkeypatch.setattr(checkpoint, "write_tensors", write)
    network = torch.nn.Linear(1, 1)
    optimizer = make_optimizer(network, RECIPE)
    state = Checkpoint(tmp_path / "x", "run", network, {}, optimizer, _saved=0.0)
    for update in range(650):
        clock[0] += 1
        state.save(update)
    assert written == [10, 313, 616]


def test_a_run_of_less_than_ten_seconds_writes_no_state(images, tmp_path):
    folder, seen = tmp_path / "runs", []
    run(images, checkpoints=folder, progress=lambda *_: seen.append(folder.exists()))
    assert seen == [False] * 4
    assert not folder.exists()


EDITS = {
    "updates beyond the run": lambda t, m: m.update(updates=str(10**9)),
    "no updates": lambda t, m: m.pop("updates"),
    "updates of text": lambda t, m: m.update(updates="all"),
    "updates of many digits": lambda t, m: m.update(updates="9" * 5000),
    "no history": lambda t, m: m.update(history="{"),
    "a history of text": lambda t, m: m.update(history='[{"update": "x"}]'),
    "endless seconds": lambda t, m: m.update(seconds="1e999"),
    "seconds of text": lambda t, m: m.update(seconds="nan"),
    "a tensor less": lambda t, m: t.pop(min(t)),
    "a moment less": lambda t, m: t.pop("optimizer.0.exp_avg"),
    "a tensor more": lambda t, m: t.update({"optimizer.999.step": next(iter(t.values()))}),
    "an odd name": lambda t, m: t.update({"optimizer.x": next(iter(t.values()))}),
    "another shape": lambda t, m: t.update({min(t): t[min(t)].reshape(-1)[:1]}),
    "another type": lambda t, m: t.update({min(t): t[min(t)].astype("float64")}),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_checkpoint_that_was_edited_is_not_used_and_the_run_begins_anew(images, often, kind):
    file = killed(images, often)
    arrays, metadata = read_tensors(file)
    EDITS[kind](arrays, metadata)
    write_tensors(file, arrays, metadata)
    calls = []
    again = run(images, checkpoints=often, progress=lambda done, _: calls.append(done))
    assert calls[0] == 1
    assert same(again, run(images))
