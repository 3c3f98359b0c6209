"""The command and the library are one pipeline: same folder, same JSON, same bytes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill import Distillation, Recipe, compare_methods, distill_images
from selection import Ranking, rank_images, ranker
from tests.support.worlds import TINY, weights
from zoo import ImageSource, Runtime
from zoo.errors import RankingError, StudentError

STUDENT = Distillation(
    arch="test_resnet", start="random", image_size=32, recipe=Recipe(updates=3, seed=3)
)
WORDS = (*TINY, "--image-size", 32, "--updates", 3, "--seed", 3, "--device", "cpu")


@pytest.fixture
def apart(monkeypatch, tmp_path):
    """Python gets a cache of its own, so that it cannot use what the command computed."""
    return lambda: monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "another cache"))


@pytest.mark.parametrize("options", [{}, {"metric": "knn", "power": 2.0, "top": 1}])
def test_a_ranking_in_python_is_that_of_the_command(command, imgs, toy_zoo, apart, options):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    shown = command("rank", "--target", imgs, "--seed", 3, "--device", "cpu", "--json", *words).json
    apart()
    runtime = Runtime(device="cpu", seed=3)
    assert json.loads(json.dumps(rank_images(imgs, runtime=runtime, **options).to_json())) == shown


def test_a_ranking_of_a_label_file_and_more_images_is_that_of_the_command(
    command, imgs, toy_zoo, apart, tmp_path
):
    table = tmp_path / "labels.csv"
    rows = [f"{name}/{number}.png,{name}" for name in ("blue", "red") for number in range(4)]
    table.write_text("\n".join(["path,label", *rows]) + "\n")
    words = ("--labels", table, "--unlabeled", imgs / "green", "--labels-per-class", 3)
    shown = command("rank", "--target", imgs, "--seed", 3, "--device", "cpu", "--json", *words).json
    apart()
    source = ImageSource(imgs, imgs / "green", table, labels_per_class=3, seed=3)
    ranking = rank_images(source, runtime=Runtime(device="cpu", seed=3))
    assert json.loads(json.dumps(ranking.to_json())) == shown


@pytest.mark.parametrize("method", ["weighted", "nearest", "fixmatch"])
def test_a_student_in_python_has_the_bytes_of_that_of_the_command(
    command, imgs, test_imgs, toy_zoo, apart, method
):
    how = ("--baseline", method) if method == "fixmatch" else (f"--{method}",)
    told = command("distill", "--target", imgs, *WORDS, *how, "--test", test_imgs, "--json").json
    apart()
    runtime = Runtime(device="cpu", seed=3)
    report = distill_images(
        imgs,
        replace(STUDENT, method=method),
        ranker=ranker,
        test=test_imgs,
        save="mine",
        runtime=runtime,
    )
    assert weights("mine") == weights("student")
    shown = report.summary()
    assert {**shown, "seconds": 0, "student": ""} == {**told, "seconds": 0, "student": ""}
    assert report.evaluation


def test_a_comparison_in_python_is_that_of_the_command(command, imgs, toy_zoo, apart):
    told = command("compare", "--target", imgs, *WORDS, "--json").json
    apart()
    runtime = Runtime(device="cpu", seed=3)
    comparison = compare_methods(imgs, STUDENT, ranker=ranker, save="mine.json", runtime=runtime)

    def results(document):
        return {row["method"]: row["accuracy"] for row in document["standings"]}

    assert results(comparison.to_json()) == results(told)
    cells = [
        json.loads(Path(name).read_text())["cells"] for name in ("mine.json", "comparison.json")
    ]
    assert {key: cell["hits"] for key, cell in cells[0].items()} == {
        key: cell["hits"] for key, cell in cells[1].items()
    }


def test_a_method_that_needs_a_ranking_takes_one_or_something_that_makes_one(imgs, toy_zoo):
    for run in (distill_images, compare_methods):
        with pytest.raises(StudentError, match=r"ranks teachers: pass ranker=selection\.ranker"):
            run(imgs, STUDENT, runtime=Runtime(device="cpu"))
    compared = imgs.parent / "c.json"
    compare_methods(imgs, STUDENT, methods=["probe"], save=compared, runtime=Runtime(device="cpu"))
    ranking = rank_images(imgs, runtime=Runtime(device="cpu"))
    assert isinstance(ranking, Ranking)
    report = distill_images(
        imgs, STUDENT, ranking=ranking, save=imgs.parent / "s", runtime=Runtime(device="cpu")
    )
    assert report.teachers == pytest.approx(ranking.weights())


def test_shares_by_hand_are_of_their_method_alone(imgs, toy_zoo, tmp_path):
    how = replace(STUDENT, method="teachers", shares={toy_zoo[0].name: 1.0})
    report = distill_images(imgs, replace(how, method="transfer"), save=tmp_path / "own")
    assert report.teachers == {}
    assert distill_images(imgs, how, save=tmp_path / "other").teachers == how.shares


def test_a_ranking_takes_numbers_of_numpy_and_a_path_and_refuses_an_empty_shortlist(
    imgs, toy_zoo, tmp_path
):
    zoo, power, seed = toy_zoo[0].folder.parent, np.float32(2), np.int64(2)
    runtime = Runtime(device="cpu", seed=seed)  # pyright: ignore
    ranking = rank_images(imgs, zoo=zoo, power=power, runtime=runtime)  # pyright: ignore
    ranking.save(tmp_path / "r.json")
    assert Ranking.load(tmp_path / "r.json") == ranking
    for count in (0, -1):
        with pytest.raises(RankingError, match=f"of {count} teachers"):
            rank_images(imgs, shortlist=count)
