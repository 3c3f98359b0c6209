"""The arithmetic of a budget, against slow and independent ways to count."""

from itertools import product

import pytest

from distill.budget import (
    LEAST_UPDATES,
    SMALLEST,
    Choice,
    Lessons,
    StudentPace,
    choose_run,
    explain,
    lesson_steps,
)
from zoo.budget import (
    Asking,
    Outlook,
    Pace,
    Step,
    Watch,
    choose_probe,
    measuring_time,
    most,
    parse_duration,
    scoring_step,
    spell_duration,
)
from zoo.errors import ZooError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("1h", 3600), ("1h30m", 5400), ("2h5m7s", 7507), (" 3m ", 180)],
)
def test_a_time_is_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "20", "m", "0s", "-5m", "1.5h", "20 min", "30m1h", "1d", "²m", "nan"]
)
def test_what_is_no_time_is_named(text):
    with pytest.raises(ValueError, match="write it as 90s, 20m"):
        parse_duration(text)


def test_a_time_is_spelled_as_it_is_read():
    for seconds in (1, 59, 60, 61, 3599, 3600, 3661, 36000):
        assert parse_duration(spell_duration(seconds)) == seconds
    assert spell_duration(0.2) == spell_duration(-3) == "0s"
    assert spell_duration(59.6) == "1m"


def test_a_pace_counts_its_start_once_and_nothing_takes_no_time():
    assert Pace(2.0, 5.0).of(3) == 5 + 2 + 2 + 2
    assert Pace(2.0, 5.0).of(0) == 0


def test_measuring_takes_a_share_of_the_budget_within_bounds():
    assert measuring_time(None) == measuring_time(10) == 3
    assert measuring_time(200) == 10
    assert measuring_time(200, kinds=4) == 2.5
    assert measuring_time(36000) == 20


ASKING = Asking(
    unseen={"ant": ["a", "b", "c"], "bee": ["c", "d"]},
    paces={"ant": Pace(1.0, 10.0), "bee": Pace(4.0, 20.0)},
    decode=Pace(0.5),
)


def test_asking_counts_images_that_are_new_to_a_teacher_and_only_once():
    step = ASKING.step("ask", ["a", "c", "c", "z"])
    assert (step.count, step.unit) == (3, "forward passes")  # ant a c, bee c
    assert step.seconds == (10 + 2 * 1) + (20 + 1 * 4) + 2 * 0.5
    alone = ASKING.step("ask", ["a", "c", "c", "z"], slowest=True)
    assert (alone.count, alone.seconds) == (1, (20 + 4) + 0.5)
    assert ASKING.step("ask", ["z"]).seconds == 0
    assert Asking({}, {}, Pace(1.0)).step("ask", ["a"], slowest=True).count == 0


def test_scoring_counts_every_teacher_and_ranking():
    step = scoring_step(3, 10, Pace(0.5), rankings=2)
    assert (step.count, step.seconds) == (6, 6 * 10 * 0.5)


def test_an_outlook_adds_up_what_is_known():
    steps = (Step("x", 3, "updates", 2.0), Step("y", 7, "bytes", None), Step("z", 4, "updates", 1))
    outlook = Outlook(steps, {"updates": 7}, budget=9.0, notes=("so",))
    assert outlook.seconds == 3
    assert outlook.count("updates") == 7
    shown = outlook.to_json()
    assert (shown["bytes"], shown["updates"], shown["forward_passes"]) == (7, 7, 0)
    assert shown["steps"][1] == {"what": "y", "count": 7, "unit": "bytes", "seconds": None}


def test_most_is_the_largest_number_that_fits():
    for least, asked, limit in product(range(4), range(3, 12), range(-1, 13)):
        slow = max((n for n in range(least, asked + 1) if n <= limit), default=None)
        assert most(lambda n, limit=limit: n <= limit, least, asked) == slow


def ranking_steps(labeled, pool):
    return [Step("ask", labeled + pool, "forward passes", 2.0 * (labeled + pool)),
            Step("score", labeled, "scores", 3.0 * labeled)]  # fmt: skip


@pytest.mark.parametrize("budget", [60, 101, 150, 151, 199, 200, 201, 249, 250, 10_000])
def test_unlabeled_images_are_given_up_first_and_no_more_than_must_be(budget):
    fitting = [
        (labeled, pool)
        for labeled, pool in product(range(4, 21), range(51))
        if 5 * labeled + 2 * pool + 40 <= budget and (pool == 0 or labeled == 20)
    ]
    chosen = choose_probe(ranking_steps, budget=budget, spent=40, labeled=(4, 20), pool=50)
    assert chosen == max(fitting)


def test_a_budget_that_ranks_nobody_says_the_least():
    with pytest.raises(ZooError, match=r"--budget 59s .* needs 1m at least, for 4 labeled"):
        choose_probe(ranking_steps, budget=59, spent=40, labeled=(4, 20), pool=50)


def lessons(students=1, start=0.0, shown=0, tested=0, decode=0.0, answer=0.0, slow=1.0, fixed=0.0):
    """A student whose update takes `fixed` and, at 100 px, `slow` seconds more."""

    def pace(size):
        return StudentPace(start, fixed + slow * size**2 / 100**2, decode, answer)

    return Lessons("some", students, shown, tested, pace)


def choose(*given, asked=100, budget, spent=0.0, others=()):
    return choose_run(given, asked, budget=budget, spent=lambda: spent, others=others)


def test_the_updates_fill_the_rest_of_the_budget():
    full = lessons(2, start=3, shown=10, tested=5, decode=0.5, answer=0.1, slow=0.25)
    save = Step("save", 1, "students", 7.0)
    chosen = choose(full, budget=1000, spent=100, others=[save, Step("fetch", 9, "bytes", None)])
    around = 2 * (3 + 10 * 0.5) + 2 * 5 * (0.5 + 0.1)
    assert chosen == Choice(int((1000 - 100 - 7 - around) / (2 * 0.25)), 100)
    steps = lesson_steps([full], chosen)
    assert {step.what for step in steps} == {"prepare", "teach (some)", "test"}
    total = 100 + 7 + sum(step.seconds or 0 for step in steps)
    assert 1000 - 0.5 < total <= 1000


def test_what_may_come_lowers_the_choice_but_refuses_no_budget():
    more = [Step("ask", 1, "forward passes", 100.0)]
    for budget, left in ((500, 400), (150, 50), (105, 105)):  # of the last 5 would be too few
        found = choose_run(
            [lessons()], SMALLEST, budget=budget, spent=lambda: 0.0, perhaps=more
        ).updates
        assert found == int(left / (SMALLEST / 100) ** 2)
    found = choose_run([lessons()], 100, budget=105, spent=lambda: 0.0, perhaps=more)
    assert found == Choice(105, 100)


def test_the_students_of_all_methods_get_the_same_number():
    one, other = lessons(3, slow=1.0), lessons(3, slow=2.0)
    assert choose(one, other, budget=1800).updates == 1800 // 9
    assert "of 6 students takes 9.00 s" in explain([one, other], 100, Choice(200, 100))


@pytest.mark.parametrize("fixed", [0.0, 0.2])
@pytest.mark.parametrize("budget", [45, 60, 75, 90, 99, 100, 250])
def test_images_become_smaller_only_if_they_must_and_no_smaller(budget, fixed):
    given = lessons(slow=1.0, fixed=fixed)
    sizes = [100, *range(96, 31, -16)]
    counts = {size: int(budget / given.update(size) + 1e-9) for size in sizes}
    expected = next(size for size in sizes if counts[size] >= LEAST_UPDATES)
    chosen = choose(given, budget=budget)
    assert chosen.image_size == expected
    assert abs(chosen.updates - counts[expected]) <= 1
    assert ("fewer than" in explain([given], 100, chosen)) == (expected < 100)


def test_a_budget_for_nothing_sensible_says_the_least():
    with pytest.raises(
        ZooError, match=r"--budget 30s .* needs 36s at least, for 100 updates at 32"
    ):
        choose(lessons(), budget=30, spent=25.0)
    with pytest.raises(ZooError, match=rf"at {SMALLEST} px"):
        choose(lessons(), asked=SMALLEST, budget=1, spent=25.0)


def test_a_network_that_takes_no_smaller_images_keeps_its_own():
    def pace(size):
        return StudentPace(0, 1.0 if size == 100 else float("inf"), 0, 0)

    with pytest.raises(ZooError, match="100 updates at 100 px"):
        choose(Lessons("some", 1, 0, 0, pace), budget=50)


def test_the_time_that_measuring_takes_is_gone_too():
    now = [0.0]

    def pace(size):
        now[0] += 10.0 if size not in seen else 0.0
        seen.add(size)
        return StudentPace(0, size / 100, 0, 0)

    seen = set()
    one = Lessons("some", 1, 0, 0, pace)
    chosen = choose_run([one], 100, budget=115, spent=lambda: now[0])
    assert chosen == Choice(int((115 - 10) / 1.0), 100)


def test_a_watch_tells_of_a_promise_that_was_not_kept(monkeypatch):
    now = [50.0]
    monkeypatch.setattr("zoo.budget.clock", lambda: now[0])
    watch, free = Watch(100.0), Watch()
    now[0] += 109
    assert (watch.spent, watch.verdict) == (109, "")
    now[0] += 2
    assert "took 1m51s instead of 1m40s" in watch.verdict
    assert free.verdict == ""
