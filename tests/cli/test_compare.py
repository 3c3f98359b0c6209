"""`zoo compare`: which method to ship, from files and options to words."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.toys import COLORS, paint
from tests.support.worlds import snapshot

TINY = ("--arch", "test_resnet", "--start", "random", "--image-size", 32, "--updates", 2)
ONE = ("--seeds", 1)


@pytest.fixture
def compare(command, imgs, toy_zoo):
    return lambda *words: command("compare", "--target", imgs, *TINY, *ONE, *words)


def test_it_names_every_method_and_says_which_to_ship(compare, imgs):
    before = snapshot(imgs)
    ran = compare()
    assert ran.code == 0, ran.err
    for word in (
        "transfer",
        "fixmatch",
        "nearest",
        "weighted",
        "Best student: ",
        "12 labeled images",
    ):
        assert word in ran.out
    assert snapshot(imgs) == before


def test_its_json_is_what_the_file_holds_besides_the_answers(compare):
    shown = compare("--method", "transfer", "--method", "weighted", "--json").json
    assert shown["standings"][0]["method"] == shown["best"]
    assert {row["method"] for row in shown["standings"]} == {"transfer", "weighted"}
    assert (shown["images"], shown["folds"]) == (12, 3)
    saved = json.loads(Path("comparison.json").read_text())
    assert shown.items() <= saved.items()
    assert len(saved["cells"]) == 6
    assert sum(len(cell["hits"]) for cell in saved["cells"].values()) == 24


def test_on_held_out_images_each_method_teaches_one_student(compare, test_imgs):
    shown = compare("--test", test_imgs, "--json").json
    assert (shown["images"], shown["folds"]) == (9, 0)
    document = json.loads(Path("comparison.json").read_text())
    assert len(document["cells"]) == 5
    compare("--test", test_imgs, "--folds", 4)  # which plays no part
    assert json.loads(Path("comparison.json").read_text()) == document


def test_a_stopped_comparison_goes_on_from_its_file(compare, monkeypatch):
    done = compare("--json").json
    document = json.loads(Path("comparison.json").read_text())
    document["cells"] = {k: c for k, c in document["cells"].items() if not k.startswith("near")}
    Path("comparison.json").write_text(json.dumps(document))
    taught = []
    from distill import compare as comparing

    monkeypatch.setattr(
        comparing, "train_student", lambda plan, *a, _teach=comparing.train_student, **k: (
            taught.append(plan.method), _teach(plan, *a, **k))[1],
    )  # fmt: skip
    again = compare("--json").json
    assert taught == ["nearest"] * 3
    for one, other in zip(done["standings"], again["standings"], strict=True):
        assert one["accuracy"] == other["accuracy"]


def test_more_seeds_add_to_the_students_of_one_and_none_given_are_three(compare, test_imgs):
    words = ("--method", "transfer", "--test", test_imgs)
    one = compare(*words, "--json").json
    first = json.loads(Path("comparison.json").read_text())["cells"]
    more = compare(*words, "--seeds", 2, "--json").json
    cells = json.loads(Path("comparison.json").read_text())["cells"]
    assert (one["seeds"], more["seeds"]) == (1, 2)
    assert [*cells] == ["transfer/0", "transfer/0/1"]
    assert cells["transfer/0"] == first["transfer/0"]
    hits = "".join(cell["hits"] for cell in cells.values())
    assert more["standings"][0]["accuracy"] == pytest.approx(hits.count("1") / len(hits))
    plan = compare(*words, "--dry-run", "--json").json
    assert not {"seeds"} & plan["chosen"].keys()


def test_each_further_seed_trains_another_student(compare, test_imgs, monkeypatch):
    trained = []
    from distill import compare as comparing

    monkeypatch.setattr(
        comparing, "train_student", lambda plan, *a, _teach=comparing.train_student, **k: (
            trained.append(plan.recipe.seed), _teach(plan, *a, **k))[1],
    )  # fmt: skip
    compare("--method", "transfer", "--test", test_imgs, "--seed", 5, "--seeds", 3)
    assert trained == [5, 6, 7]
    ran = compare("--method", "transfer", "--test", test_imgs, "--seed", 2**31, "--seeds", 2)
    assert (ran.code, trained[3:]) == (0, [2**31, 0])
    assert compare("--seeds", 0).code == 2


def students_of(path):
    return set(json.loads(Path(path).read_text())["cells"])


def test_parts_in_any_order_make_the_comparison_of_one_job(compare):
    whole = compare("--json", "--save", "whole.json").json
    ran = compare("--part", "2/2")
    assert (ran.code, ran.out) == (0, "")
    assert "students of other parts are missing" in ran.err
    assert not Path("comparison.json").exists()
    second = students_of("comparison-part2of2.json")
    assert 0 < len(second) < len(students_of("whole.json"))
    parts = compare("--part", "1/2", "--json").json
    for one, other in zip(whole["standings"], parts["standings"], strict=True):
        assert one["accuracy"] == other["accuracy"]
    assert students_of("comparison.json") == students_of("whole.json")
    assert not [*Path().glob("*part*")]


def test_parts_of_another_comparison_stay(compare):
    compare("--part", "1/2", "--flip")
    other = Path("comparison-part1of2.json").read_bytes()
    notes = Path("comparison-partly-of-mine.json")
    notes.write_text("not a comparison")
    assert compare().code == 0
    assert Path("comparison-part1of2.json").read_bytes() == other
    assert notes.exists()


def test_without_a_part_the_students_of_parts_are_not_trained_again(compare, monkeypatch):
    compare("--part", "2/2")
    trained = []
    from distill import compare as comparing

    monkeypatch.setattr(
        comparing, "train_student", lambda plan, *a, _teach=comparing.train_student, **k: (
            trained.append(plan.method), _teach(plan, *a, **k))[1],
    )  # fmt: skip
    assert compare().code == 0
    assert len(trained) == len(students_of("comparison.json")) // 2 + 1


def test_what_is_no_part_is_refused(compare):
    for text in ("0/2", "3/2", "2", "a/b", "1/0"):
        assert compare("--part", text).code == 2
    assert "leave out --part" in compare("--part", "1/2", "--dry-run").err


OTHER = [
    ("--updates", 3),
    ("--seed", 1),
    ("--flip",),
    ("--image-size", 40),
    ("--arch", "test_efficientnet"),
    ("--labels-per-class", 3),
    ("--objective", "source"),
    ("--zoo", "all"),
]


def test_another_comparison_does_not_take_the_answers_of_this_one(compare, test_imgs):
    held_out = ("--test", test_imgs)
    commands = [(), ("--folds", 4), held_out, *((*held_out, *words) for words in OTHER)]
    before = []
    for words in commands:
        ran = compare("--method", "weighted", *words)
        assert ran.code == 0, words
        document = json.loads(Path("comparison.json").read_text())
        assert document["run"] not in [one["run"] for one in before], words
        if before:
            aside = Path(f"comparison-{before[-1]['run'][:8]}.json")
            assert str(aside) in ran.err, words
            assert json.loads(aside.read_text()) == before[-1], words
        before.append(document)


def test_a_teacher_more_or_another_name_of_a_test_class_is_another_comparison(
    compare, test_imgs, toy_zoo, tmp_path
):
    def run():
        ran = compare("--method", "weighted", "--test", test_imgs, "--zoo", tmp_path / "zoo")
        assert ran.code == 0
        return json.loads(Path("comparison.json").read_text())["run"]

    first, second = toy_zoo
    shutil.copytree(first.folder, tmp_path / "zoo" / first.name)
    runs = [run()]
    shutil.copytree(second.folder, tmp_path / "zoo" / second.name)
    runs.append(run())
    (test_imgs / "red").rename(test_imgs / "other")
    (test_imgs / "blue").rename(test_imgs / "red")
    (test_imgs / "other").rename(test_imgs / "blue")
    runs.append(run())
    assert len({*runs}) == 3


def test_a_comparison_that_cannot_begin_leaves_another_one_where_it_is(compare, tmp_path):
    assert compare("--method", "transfer").code == 0
    before = Path("comparison.json").read_bytes()
    ran = compare("--method", "weighted", "--zoo", tmp_path / "nowhere")
    assert ran.code == 1
    assert "moved" not in ran.err
    assert Path("comparison.json").read_bytes() == before


def test_loose_test_images_have_no_answer_and_do_not_count(compare, test_imgs):
    words = ("--method", "transfer", "--test", test_imgs, "--json")
    alone = compare(*words).json
    for number in range(5):
        paint(test_imgs / f"loose{number}.png", COLORS["red"], 900 + number)
    assert compare(*words).json["standings"][0]["accuracy"] == alone["standings"][0]["accuracy"]


def test_without_a_terminal_the_number_of_finished_students_is_told(compare, monkeypatch):
    times = iter(range(0, 10**6, 40))
    monkeypatch.setattr("zoo.system.timing.clock", lambda: float(next(times)))
    assert "students: 3 of 6 (50%)" in compare("--method", "probe", "--seeds", 2).err


def test_where_classes_differ_in_size_balanced_accuracy_stands_beside_accuracy(compare, test_imgs):
    words = ("--method", "transfer", "--test", test_imgs)
    (row,) = compare(*words, "--json").json["standings"]
    assert row["balanced_accuracy"] == pytest.approx(row["accuracy"])
    assert "balanced" not in compare(*words).out
    for number in range(9):
        paint(test_imgs / "red" / f"more{number}.png", COLORS["blue"], 900 + number)
    ran = compare(*words)
    assert "balanced" in ran.out
    assert "always the most frequent class 66.7%" in ran.out


def test_testing_on_images_that_teach_is_said(compare, imgs, test_imgs):
    words = ("--method", "transfer", "--test")
    assert "12 of 12 test images are labeled training images too" in compare(*words, imgs).err
    assert "training images too" not in compare(*words, test_imgs).err


def test_mistakes_are_one_line_and_leave_the_file_alone(compare, imgs):
    Path("comparison.json").write_text("{}")
    assert "not a comparison of source-zoo" in compare().mistake
    assert Path("comparison.json").read_text() == "{}"
    assert "lies inside the image folder" in compare("--save", imgs / "c.json").mistake
    assert "needs 3: label more" in compare("--labels-per-class", 2, "--save", "d.json").mistake
    assert "could not be saved" in compare("--save", "no/where.json").mistake
    assert compare("--folds", 2).code == 2
    assert compare("--method", "magic").code == 2


def test_several_students_are_compared_with_what_they_cost(command, imgs, test_imgs, toy_zoo):
    words = ("--target", imgs, "--test", test_imgs, "--method", "transfer", *TINY, *ONE)
    ran = command("compare", *words, "--arch", "test_efficientnet", "--json")
    assert ran.code == 0, ran.err
    rows = {row["method"]: row["cost"] for row in ran.json["standings"]}
    assert rows.keys() == {"transfer test_resnet", "transfer test_efficientnet"}
    assert rows["transfer test_resnet"]["arch"] == "test_resnet"
    assert all(cost["milliseconds"] > 0 < cost["megabytes"] for cost in rows.values())
    assert ran.json["recommended"] in rows
    refused = command("compare", *words, "--arch", "test_efficientnet", "--dry-run")
    assert refused.code == 1
    assert "name one --arch" in refused.err
