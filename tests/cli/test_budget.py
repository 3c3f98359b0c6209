"""`--budget`: what it chooses, what it refuses, and how a stopped command goes on."""

import json
from pathlib import Path

import pytest

from distill import compare as compare_module
from distill import pipeline as pipeline_module
from selection.ranking import Ranking
from tests.cli.test_distill import interrupt
from tests.support.worlds import EACH, saved, steps, weights
from zoo.images import folder


@pytest.fixture
def transfer(timed_distil):
    return lambda *words: timed_distil("--baseline", "transfer", *words)


@pytest.mark.parametrize("run", ["timed_rank", "timed_distil", "timed_compare"])
@pytest.mark.parametrize("text", ["20", "soon", "0s", "-1m", "1.5h"])
def test_a_budget_that_is_no_time_is_a_usage_error(run, text, request):
    ran = request.getfixturevalue(run)("--budget", text)
    assert (ran.code, ran.out) == (2, "")
    assert repr(text) in ran.err
    assert "20m" in ran.err


def test_a_budget_and_the_number_that_it_chooses_are_a_usage_error(
    timed_rank, timed_distil, timed_compare
):
    for run, words in (
        (timed_rank, ("--max-unlabeled", 5)),
        (timed_distil, ("--updates", 400)),
        (timed_compare, ("--updates", 400)),
    ):
        ran = run("--budget", "20m", *words)
        assert (ran.code, ran.out) == (2, "")
        assert f"leave out {words[0]}" in " ".join(ran.err.split())


def test_a_budget_chooses_the_updates(transfer):
    ran = transfer("--budget", "55s")
    assert ran.code == 0, ran.err
    assert saved()["recipe"]["updates"] == int((55 - 1.5) / EACH) == 5
    assert saved()["image_size"] == 64
    assert "5 updates" in ran.out
    assert "train (transfer)" in ran.err
    assert "Chosen: 5 updates at 64 px" in ran.err
    shown = transfer("--budget", "55s", "--save", "other", "--dry-run", "--json").json
    assert shown["chosen"] == {"updates": 5, "image_size": 64}
    assert shown["budget"] == 55


def test_time_that_the_teachers_took_is_taken_from_the_updates(timed_distil, world, monkeypatch):
    from distill import teachers

    def slow(*given, _extract=teachers.extract_required, **options):
        world["now"] += 20.0
        return _extract(*given, **options)

    monkeypatch.setattr(teachers, "extract_required", slow)
    words = ("--teacher", "ant")
    planned = timed_distil(*words, "--budget", "95s", "--dry-run", "--json").json
    assert planned["updates"] == int((95 - 18 - 1.5) / EACH) == 7
    assert timed_distil(*words, "--budget", "95s", "--json").json["updates"] == int(
        (95 - 20 - 1.5) / EACH
    )


def test_smaller_images_only_if_the_updates_would_be_too_few(transfer):
    words = ("--budget", "19s", "--image-size", 64)
    ran = transfer(*words, "--json")
    assert ran.json["updates"] == 3
    assert saved()["image_size"] == 48
    assert "At 64 px fewer than 2 updates fit" in ran.err


def test_a_budget_for_nothing_is_one_line_that_says_the_least(transfer, timed_distil):
    line = transfer("--budget", "2s").mistake
    assert "needs 7s at least, for 2 updates at 32 px" in line
    assert "at least" in timed_distil("--budget", "20s").mistake
    assert not list(Path().iterdir())


def test_a_stopped_run_goes_on_with_its_updates_at_any_speed(transfer, world, monkeypatch, cache):
    words = ("--budget", "65s")
    transfer(*words, "--save", "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        assert transfer(*words).code == 130
    world["each"] = 3 * EACH
    assert "needs 1m" not in transfer(*words, "--dry-run").out
    ran = transfer(*words)
    assert "Resuming with the numbers" in ran.err
    assert "Chosen" not in ran.err
    assert saved()["recipe"]["updates"] == 6
    assert weights() == weights("whole")
    assert not list(cache.rglob("budget-*"))
    transfer(*words, "--save", "later")
    assert saved("later")["recipe"]["updates"] == 2


def test_another_run_chooses_anew(transfer, world, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        transfer("--budget", "65s")
    for words in (("--seed", 1), ("--flip",), ("--image-size", 32), ("--labels-per-class", 2)):
        ran = transfer("--budget", "65s", "--dry-run", *words)
        assert "Resuming" not in ran.out, words
    assert "Resuming" not in transfer("--budget", "66s", "--dry-run").out
    assert "Resuming" in transfer("--budget", "65s", "--dry-run").out


def test_a_promise_that_was_not_kept_is_said(transfer, world, monkeypatch):
    from distill import pipeline

    def slow(*given, _teach=pipeline.train_student, **options):
        world["now"] += 70.0
        return _teach(*given, **options)

    monkeypatch.setattr(pipeline_module, "train_student", slow)
    assert "Took 1m10s instead of 55s" in transfer("--budget", "55s").err


def test_processes_of_torchrun_are_told_to_name_the_updates(transfer, timed_rank, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for ran in (transfer("--budget", "55s"), timed_rank("--dry-run")):
        assert "one process" in ran.mistake


def test_a_comparison_divides_its_budget_over_methods_and_folds(timed_compare, world):
    words = ("--method", "transfer", "--method", "fixmatch", "--budget")
    ran = timed_compare(*words, "195s")
    assert ran.code == 0, ran.err
    assert "Chosen: 3 updates at 64 px; an update of 6 students takes 60.00 s" in ran.err
    (shown,) = [json.loads(Path("comparison.json").read_text())]
    assert len(shown["cells"]) == 6
    assert {each[4] for each in world["students"]} == {195 * 0.05 / 2}
    assert timed_compare(*words, "500s", "--dry-run", "--json").json["chosen"]["updates"] == 8
    alone = ("--method", "transfer", "--budget", "190s", "--dry-run", "--json")
    assert timed_compare(*alone).json["chosen"]["updates"] == 6


def test_a_comparison_on_held_out_images_has_one_student_a_method(timed_compare, test_imgs):
    words = ("--test", test_imgs, "--budget", "170s", "--dry-run", "--json")
    shown = timed_compare(*words).json
    assert shown["chosen"]["updates"] == int((170 - 36) / 4 / EACH) == 3
    assert steps(shown)["test"]["count"] == 5 * 9


def test_a_stopped_comparison_goes_on_with_its_updates(timed_compare, world, monkeypatch):
    words = ("--method", "transfer", "--method", "weighted", "--budget", "276s")
    with monkeypatch.context() as patch:
        patch.setattr(compare_module, "METHODS", ("weighted", "transfer"))
        stop = iter(range(100))

        def teach(*given, **options):
            if next(stop) == 2:
                raise KeyboardInterrupt
            return taught(*given, **options)

        from distill import compare as comparing

        taught = comparing.train_student
        patch.setattr(compare_module, "train_student", teach)
        assert timed_compare(*words).code == 130
    kept = json.loads(Path("comparison.json").read_text())
    world["each"] = 3 * EACH
    assert timed_compare(*words).code == 0
    done = json.loads(Path("comparison.json").read_text())
    assert done["run"] == kept["run"]
    assert done["cells"].items() >= kept["cells"].items()
    assert "Resuming" in timed_compare(*words, "--dry-run").out
    Path("comparison.json").unlink()
    assert "Resuming" not in timed_compare(*words, "--dry-run").out


def test_a_ranking_shows_fewer_images_if_they_do_not_fit(timed_rank):
    # two teachers, a second an image each: 12 labeled and 6 unlabeled
    for budget, passes in (("36s", 36), ("30s", 30), ("25s", 24), ("20s", 18)):
        shown = timed_rank("--budget", budget, "--dry-run", "--json").json
        assert shown["forward_passes"] == passes, budget
    assert "needs 12s at least, for 6 labeled images" in timed_rank("--budget", "9s").mistake
    ran = timed_rank("--budget", "30s", "--json")
    assert ran.json["forward_passes"] == 30
    assert "run teachers" in ran.err
    assert "at most 1000 labeled images, --max-unlabeled 3" in ran.err


def test_a_ranking_of_some_of_the_images_counts_those_that_it_shows(timed_rank, monkeypatch):
    monkeypatch.setattr(folder, "MAX_UNLABELED", 4)  # other draws than those of three
    for seed in range(5):
        words = ("--budget", "30s", "--seed", seed, "--dry-run", "--json")
        shown = timed_rank(*words).json
        assert (shown["chosen"]["max_unlabeled"], shown["forward_passes"]) == (3, 30), seed


def test_a_budget_that_holds_everything_changes_no_ranking(timed_rank):
    plain = timed_rank("--json").json
    assert timed_rank("--budget", "10m", "--json").json["teachers"] == plain["teachers"]


def test_a_stopped_ranking_goes_on_with_its_images(timed_rank, monkeypatch, cache):
    with monkeypatch.context() as patch:
        patch.setattr(Ranking, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert timed_rank("--budget", "30s").code == 130
    ran = timed_rank("--budget", "30s", "--json")
    assert "Resuming" in ran.err
    assert ran.json["forward_passes"] == 0
    assert not list(cache.rglob("budget-*"))


def test_a_choice_that_cannot_be_kept_is_a_note(transfer, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "file"))
    ran = transfer("--budget", "55s", "--json")
    assert ran.json["updates"] == 5
    assert "could not be kept" in ran.err
