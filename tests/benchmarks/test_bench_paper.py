"""The benchmark's own arithmetic: who teaches by which name, and means over targets."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tests.benchmarks import paper_tables
from tests.benchmarks.paper import GENERIC, METHODS, parse, path_of, shares_of, unpack
from tests.benchmarks.paper_tables import CORE, complete, draw_costs, gather, interval, paired, show
from tests.support.scoring_tasks import make_ranking

PARC = {"ant": 0.4, "bee": 0.2, "cow": -0.1}
RANKING = make_ranking([0.5, 0.4, 0.3], [0.5, 0.3, 0.2])


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch):
    """The bootstrap draws 50 samples instead of 4,000."""
    monkeypatch.setattr(paper_tables, "DRAWS", 50)


def cells(**accuracy):
    """Cells of two targets and two seeds; the second target is 10 points better."""
    return {
        f"mobilenetv3_small_100/{target}/{labels}/{seed}/{method}": {
            "accuracy": value + (0.1 if target == "two" else 0) + 0.01 * seed,
            "seconds": 1.0,
        }
        for method, value in accuracy.items()
        for target in ("one", "two")
        for labels in (4, 10)
        for seed in (0, 1)
    }


def test_a_method_may_bring_its_own_numbers():
    assert parse("default") == ("default", {})
    assert parse("weighted:power=4,label_weight=0.8") == (
        "weighted",
        {"power": 4.0, "label_weight": 0.8},
    )
    assert parse("default:power=4@weak") == ("default", {"power": 4.0})
    with pytest.raises(SystemExit, match="'magic' is not one of"):
        parse("magic:power=4")


def test_who_teaches_follows_from_the_name():
    def shares(method, power=None):
        return shares_of(method, PARC, RANKING, np.random.default_rng(0), power)

    assert shares("transfer") == shares("fixmatch") == shares("probe") == shares("feature") == {}
    assert shares("generic") == {GENERIC: 1.0}
    assert shares("equal") == pytest.approx(dict.fromkeys(PARC, 1 / 3))
    assert shares("nearest") == {"ant": 1.0}
    assert shares("weighted") == pytest.approx({"ant": 4096 / 4097, "bee": 1 / 4097})
    assert shares("weighted", 1.0) == pytest.approx({"ant": 2 / 3, "bee": 1 / 3})
    assert shares("weighted_less_best") == {"bee": 1.0}
    (name,) = shares("random")
    assert name in PARC
    ours = RANKING.weights()
    assert shares("default") == shares("pseudo") == shares("ceiling") == ours
    best = RANKING.nearest()
    less = shares("default_less_best")
    assert less.keys() == ours.keys() - {best}
    assert sum(less.values()) == pytest.approx(1)


def test_means_are_over_targets_and_differences_within_a_cell():
    found = gather(cells(transfer=0.5, default=0.6), "mobilenetv3_small_100", (4, 10))
    rows = [[*row.values()] for row in found["default"].values()]
    mean, low, high = interval(rows)
    assert mean == pytest.approx(65.5)
    assert low < mean < high
    differences = paired(found["default"], found["transfer"])
    assert np.allclose(differences, 10)
    assert interval(differences) == pytest.approx((10, 10, 10))


def test_the_tables_name_every_method_and_the_file_holds_means_and_cells(tmp_path, capsys):
    every = cells(**{method: 0.5 + 0.01 * i for i, method in enumerate(METHODS)})
    show(every, save=tmp_path / "paper.json")
    out = capsys.readouterr().out
    assert "| over transfer |  | +1.0 (+1.0 to +1.0), 2 of 2 |" in out
    assert "4 and 10 labels per class, 2 seeds" in out
    document = json.loads((tmp_path / "paper.json").read_text())
    assert list(document["real"]["means"]) == list(METHODS)
    assert document["real"]["means"]["transfer"] == pytest.approx(55.5)
    assert document["real"]["cells"] == every
    show(cells(transfer=0.4), regime="small", save=tmp_path / "paper.json")
    document = json.loads((tmp_path / "paper.json").read_text())
    assert document["small"]["means"] == {"transfer": pytest.approx(45.5)}
    assert document["real"]["cells"] == every


def test_cells_that_were_saved_are_known_to_the_next_run(tmp_path):
    every = cells(transfer=0.5)
    options = SimpleNamespace(out=tmp_path, save=tmp_path / "paper.json", regime="real")
    folder = tmp_path / "real"
    folder.mkdir()
    unpack(options)
    assert not [*folder.iterdir()]
    show(every, save=options.save)
    (known, *others) = every
    path_of(known, options).write_text("newer")
    unpack(options)
    assert path_of(known, options).read_text() == "newer"
    assert all(json.loads(path_of(key, options).read_text())["accuracy"] for key in others)


def test_a_table_holds_only_cells_that_every_named_method_has(capsys):
    every = cells(transfer=0.5, default=0.6)
    del every["mobilenetv3_small_100/two/4/1/default"]
    found = complete(gather(every, "mobilenetv3_small_100", (4, 10)))
    assert len(found["transfer"]["one"]) == len(found["default"]["one"]) == 4
    assert found["transfer"]["two"].keys() == found["default"]["two"].keys()
    assert len(found["default"]["two"]) == 3
    show(every)
    assert "4 labels per class, 2 seeds" in capsys.readouterr().out


def test_methods_that_are_run_first_have_a_table_and_means_of_more_cells(capsys, tmp_path):
    every = cells(**{method: 0.5 + 0.01 * i for i, method in enumerate(METHODS)})
    for key in [key for key in every if key.endswith("/4/1/random")]:
        del every[key]
    show(every, save=tmp_path / "paper.json")
    out = capsys.readouterr().out
    assert out.count("4 and 10 labels per class") == 2
    document = json.loads((tmp_path / "paper.json").read_text())["real"]
    assert list(document["core_means"]) == [*CORE]
    assert document["means"]["transfer"] != document["core_means"]["transfer"]


def test_a_variant_meets_the_same_method_in_the_cells_that_both_have(capsys):
    every = cells(transfer=0.5, fixmatch=0.55, weighted=0.6, default=0.7)
    some = {
        key: value | {"accuracy": value["accuracy"] - 0.02}
        for key, value in every.items()
        if "/10/0/" in key
    }
    for name, base in {"default@weak": "default", "weighted_less_best": "weighted",
                       "default:power=0": "default"}.items():  # fmt: skip
        every |= {
            key.replace(f"/{base}", f"/{name}"): value
            for key, value in some.items()
            if key.endswith(f"/{base}")
        }
    show(every)
    out = capsys.readouterr().out
    lost = "-2.0 (-2.0 to -2.0), 0 of 2"
    assert f"| default@weak | 2 | 73.0 | {lost} | +18.0 (" in out
    assert f"| weighted_less_best | 2 | 63.0 | {lost} | +8.0 (" in out
    assert "| default:power=0 | 2 |" in out


def test_students_are_compared_in_the_cells_that_all_have(tmp_path, capsys, monkeypatch):
    def summarize(arch, *_, **__):
        return SimpleNamespace(milliseconds=3.5 if arch == "big" else 1.5)

    monkeypatch.setattr(paper_tables, "summarize_student", summarize)
    known = cells(default=0.6, transfer=0.5, ceiling=0.7)
    other = {key.replace("mobilenetv3_small_100", "big"): value for key, value in known.items()}
    del other["big/one/4/0/transfer"]  # no mean has this cell then
    draw_costs({**known, **other}, 128, tmp_path / "costs.png")
    # of (60 + 61 + 70 + 71) x 2, 60 is left out
    assert "| big | 3.5 | default | 66.3 |" in capsys.readouterr().out
    assert (tmp_path / "costs.png").stat().st_size > 0
