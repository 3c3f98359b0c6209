"""The arithmetic of a budget, against slow and independent ways to count."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from distill.budget import (
    LEAST_UPDATES,
    SMALLEST,
    StudentRate,
    TrainingPlan,
)
from distill.recipe import Distillation
from selection.pipeline import RankingJob, RankingWork
from zoo.errors import StudentError, ZooError
from zoo.features.throughput import ForwardPasses, Rate
from zoo.system.runtime import Runtime
from zoo.system.timing import (
    Deadline,
    Plan,
    SavedChoice,
    Step,
    format_duration,
    parse_duration,
    total_seconds,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("1h", 3600), ("1h30m", 5400), ("2h5m7s", 7507), (" 3m ", 180)],
)
def test_a_time_is_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "20", "m", "0s", "-5m", "1.5h", "20 min", "30m1h", "1d", "²m", "nan", f"{10**12}s"]
)
def test_what_is_no_time_is_named(text):
    with pytest.raises(ValueError, match="write 90s, 20m"):
        parse_duration(text)


def test_a_time_is_spelled_as_it_is_read():
    for seconds in (1, 59, 60, 61, 3599, 3600, 3661, 36000):
        assert parse_duration(format_duration(seconds)) == seconds
    assert format_duration(0.2) == format_duration(-3) == "0s"
    assert format_duration(59.6) == "1m"


def test_measuring_takes_a_share_of_the_budget_within_bounds():
    assert Deadline().measuring_time() == Deadline(10).measuring_time() == 3
    assert Deadline(200).measuring_time() == 10
    assert Deadline(200).measuring_time(kinds=4) == 2.5
    assert Deadline(36000).measuring_time() == 20


PASSES = ForwardPasses(
    unseen={"ant": ["a", "b", "c"], "bee": ["c", "d"]},
    rates={"ant": Rate(1.0, 10.0), "bee": Rate(4.0, 20.0)},
    decode=0.5,
)


def test_forward_passes_count_images_that_are_new_to_a_teacher_and_only_once():
    step = PASSES.step("run", ["a", "c", "c", "z"])
    assert (step.count, step.unit) == (3, "forward passes")  # ant a c, bee c
    assert step.seconds == (10 + 2 * 1) + (20 + 1 * 4) + 2 * 0.5
    alone = PASSES.step("run", ["a", "c", "c", "z"], slowest=True)
    assert (alone.count, alone.seconds) == (1, (20 + 4) + 0.5)
    assert PASSES.step("run", ["z"]).seconds == 0
    assert ForwardPasses({}, {}, 1.0).step("run", ["a"], slowest=True).count == 0


def test_scoring_counts_every_teacher_and_control():
    (step,) = [step for step in ranking_work().steps if step.unit == "scores"]
    assert (step.count, step.seconds) == (5, pytest.approx(5 * 20 * 0.6))


def test_a_plan_adds_up_what_is_known():
    steps = (Step("x", 3, "updates", 2.0), Step("y", 7, "bytes", None), Step("z", 4, "updates", 1))
    plan = Plan(steps, {"updates": 7}, budget=9.0, warnings=("so",))
    assert plan.seconds == 3
    assert plan.count("updates") == 7
    shown = plan.to_json()
    assert (shown["bytes"], shown["updates"], shown["forward_passes"]) == (7, 7, 0)
    assert shown["steps"][1] == {"what": "y", "count": 7, "unit": "bytes", "seconds": None}


class Sized(list):
    """As many labeled and unlabeled images as a job wants."""

    labeled = 0
    digests: list[str] = []  # noqa: RUF012
    classes = ("a", "b")

    def sample(self, max_labeled, max_unlabeled, seed):
        sample = Sized(str(n) for n in range(max_labeled + max_unlabeled))
        sample.labeled, sample.digests = max_labeled, list(sample)
        return sample


def ranking_work():
    """Two teachers that take a second an image each, three controls, scoring of 0.6 s each."""
    images = Sized()
    digests = [str(n) for n in range(100)]
    passes = ForwardPasses({"x": digests, "y": digests}, dict.fromkeys("xy", Rate(1.0)), 0.0)
    job = RankingJob(images, max_labeled=20, max_unlabeled=50)  # pyright: ignore
    return RankingWork(job, [1, 2], passes, ForwardPasses({}, {}, 0.0), 0.6, [], [])  # pyright: ignore


@pytest.mark.parametrize("budget", [60, 101, 150, 151, 199, 200, 201, 249, 250, 10_000])
def test_unlabeled_images_are_given_up_first_and_no_more_than_must_be(budget):
    fitting = [
        (labeled, unlabeled)
        for labeled, unlabeled in product(range(4, 21), range(51))
        if 5 * labeled + 2 * unlabeled + 40 <= budget + 1e-9 and (unlabeled == 0 or labeled == 20)
    ]
    chosen = ranking_work().choose(budget + 1e-9, 40)
    assert (chosen["max_labeled"], chosen["max_unlabeled"]) == max(fitting)


def test_a_budget_that_ranks_nothing_says_the_least():
    with pytest.raises(ZooError, match=r"--budget 59s .* needs 1m at least, for 4 labeled"):
        ranking_work().choose(59, 40 - 1e-9)


def jobs(students=1, start=0.0, shown=0, tested=0, decode=0.0, answer=0.0, slow=(1.0,), fixed=0.0):
    """Methods whose updates take `fixed` and, at 100 px, the seconds of `slow` more."""

    def rate(method, size):
        return StudentRate(start, 0.0, fixed + slow[method] * size**2 / 100**2, answer)

    part, methods = (Sized("x" * shown), Sized("x" * tested)), range(len(slow))
    given: dict[str, Any] = {"parts": [part] * students, "methods": methods, "rate": rate}
    saved = SavedChoice(Path())
    return TrainingPlan((), size=100, deadline=Deadline(), saved=saved, decode=decode, **given)


@dataclass
class At:
    """A deadline of which so much is spent."""

    budget: float
    spent: float = 0.0


def choose(given, *, asked=100, budget, spent=0.0, others=()):
    return replace(given, size=asked, deadline=At(budget, spent)).choose(others)


def test_the_updates_fill_the_rest_of_the_budget():
    full = jobs(2, start=3, shown=10, tested=5, decode=0.5, answer=0.1, slow=[0.25])
    save = Step("save", 1, "students", 7.0)
    chosen = choose(full, budget=1000, spent=100, others=[save, Step("fetch", 9, "bytes", None)])
    around = 2 * (3 + 10 * 0.5) + 2 * 5 * (0.5 + 0.1)
    assert chosen == {"updates": int((1000 - 100 - 7 - around) / (2 * 0.25)), "image_size": 100}
    steps = full.training(*chosen.values())
    assert {step.what for step in steps} == {"prepare images", "train (0)", "test"}
    total = 100 + 7 + total_seconds(steps)
    assert 1000 - 0.5 < total <= 1000


def test_what_comes_before_lowers_the_choice_or_refuses_the_budget():
    more = [Step("ask", 1, "forward passes", 100.0)]
    for budget, left in ((500, 400), (150, 50)):
        found = choose(jobs(), asked=SMALLEST, budget=budget, others=more)["updates"]
        assert found == int(left / (SMALLEST / 100) ** 2)
    with pytest.raises(ZooError, match="1m51s at least"):
        choose(jobs(), budget=105, others=more)


def test_where_teachers_were_slow_the_least_is_trained_instead_of_nothing(tmp_path):
    warned = []
    given = replace(jobs(), deadline=At(100, 99), budget=100.0, again=True,  # pyright: ignore
                    saved=SavedChoice(tmp_path / "chosen.json"),
                    chosen={"updates": 500, "image_size": 64})  # fmt: skip
    how = given.settle(Distillation(), Runtime(cache=tmp_path, warn=warned.append))
    assert (how.recipe.updates, how.image_size) == (LEAST_UPDATES, 64)
    assert "100 updates at 64 px will end after the budget" in warned[0]


def test_the_students_of_all_methods_get_the_same_number():
    both = jobs(3, slow=[1.0, 2.0])
    assert choose(both, budget=1800)["updates"] == 1800 // 9
    assert "of 6 students takes 9.00 s" in both.explain(200, 100)


@pytest.mark.parametrize("fixed", [0.0, 0.2])
@pytest.mark.parametrize("budget", [45, 60, 75, 90, 99, 100, 250])
def test_images_become_smaller_only_if_they_must_and_no_smaller(budget, fixed):
    given = jobs(fixed=fixed)
    sizes = [100, *range(96, 31, -16)]
    counts = {size: int(budget / (fixed + size**2 / 100**2) + 1e-9) for size in sizes}
    expected = next(size for size in sizes if counts[size] >= LEAST_UPDATES)
    chosen = choose(given, budget=budget)
    assert chosen["image_size"] == expected
    assert abs(chosen["updates"] - counts[expected]) <= 1
    assert ("fewer than" in given.explain(**chosen)) == (expected < 100)


def test_a_budget_for_nothing_sensible_says_the_least():
    with pytest.raises(
        ZooError, match=r"--budget 30s .* needs 36s at least, for 100 updates at 32"
    ):
        choose(jobs(), budget=30, spent=25.0)
    with pytest.raises(ZooError, match=rf"at {SMALLEST} px"):
        choose(jobs(), asked=SMALLEST, budget=1, spent=25.0)


def test_a_network_that_takes_no_smaller_images_keeps_its_own():
    def rate(_, size):
        if size != 100:
            raise StudentError("wrong size")
        return StudentRate(0, 0, 1.0, 0)

    with pytest.raises(ZooError, match="100 updates at 100 px"):
        choose(replace(jobs(), rate=rate), budget=50)


def test_the_time_that_measuring_takes_is_gone_too():
    deadline = At(115)

    def rate(_, size):
        deadline.spent += 10.0 if size not in seen else 0.0
        seen.add(size)
        return StudentRate(0, 0, size / 100, 0)

    seen = set()
    chosen = replace(jobs(), rate=rate, deadline=deadline).choose([])  # pyright: ignore
    assert chosen == {"updates": int((115 - 10) / 1.0), "image_size": 100}


def test_a_deadline_reports_that_it_was_missed(monkeypatch):
    now = [50.0]
    monkeypatch.setattr("zoo.system.timing.clock", lambda: now[0])
    deadline, free = Deadline(100.0), Deadline()
    now[0] += 109
    assert (deadline.spent, deadline.overrun) == (109, "")
    now[0] += 2
    assert "Took 1m51s instead of 1m40s" in deadline.overrun
    assert free.overrun == ""
