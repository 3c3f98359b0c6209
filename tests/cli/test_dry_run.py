"""`--dry-run`: what is counted, what is measured, and that nothing else happens."""

import json
from pathlib import Path

import numpy as np

from tests.support.worlds import EACH, snapshot, steps
from zoo.images.folder import Images
from zoo.teachers import fingerprint
from zoo.teachers.catalogue import list_cards


def test_a_dry_run_does_nothing_but_tell(timed_rank, timed_distil, timed_compare, tmp_path, cache):
    before = snapshot(tmp_path), snapshot(cache)
    for run in (timed_rank, timed_distil, timed_compare):
        for words in ((), ("--json",), ("--budget", "10m")):
            ran = run("--dry-run", *words)
            assert (ran.code, "forward" in ran.out, ran.err) == (0, True, ""), words
    assert (snapshot(tmp_path), snapshot(cache)) == before


def test_a_dry_run_counts_the_passes_that_are_made_then(timed_rank):
    planned = timed_rank("--dry-run", "--json").json
    assert planned["forward_passes"] == timed_rank("--json").json["forward_passes"] == 36
    assert steps(planned)["run teachers"]["seconds"] == 36
    again = timed_rank("--dry-run", "--json").json
    assert again["forward_passes"] == 0


def test_a_dry_run_of_other_images_to_probe_counts_those(timed_rank):
    assert timed_rank("--dry-run", "--max-unlabeled", 2, "--json").json["forward_passes"] == 28


def test_a_dry_run_of_teaching_counts_updates_passes_and_time(timed_distil, timed_rank, test_imgs):
    shown = timed_distil("--dry-run", "--updates", 7, "--test", test_imgs, "--json").json
    assert (shown["updates"], shown["forward_passes"], shown["chosen"]) == (7, 36, {})
    assert steps(shown)["train (weighted)"]["seconds"] == 7 * EACH
    assert steps(shown)["test"]["count"] == 9
    assert shown["seconds"] == 36 + 7 * EACH + 1.5
    timed_rank()
    edited = json.loads(Path("ranking.json").read_text())
    for row in edited["teachers"]:
        row["share"] = float(row["name"] == "ant")
    Path("ranking.json").write_text(json.dumps(edited))
    assert timed_distil("--dry-run", "--json").json["forward_passes"] == 0
    assert timed_distil("--dry-run", "--teacher", "ant", "--json").json["forward_passes"] == 0
    assert transfer_passes(timed_distil) == 0


def test_who_gets_a_share_is_not_known_before_the_ranking(timed_distil, world, monkeypatch):
    monkeypatch.setattr(Images, "sample", lambda self, **_: self.subset(np.arange(10)))
    for words, more in (((), 2 * 8), (("--nearest",), 8)):
        shown = timed_distil("--dry-run", "--json", *words).json
        assert steps(shown)["run teachers"]["count"] == 2 * 10
        assert steps(shown)["run teachers with a share, at most"]["count"] == more
    for budget in ("30s", "21s"):  # all of them may get a share
        assert "at least" in timed_distil("--dry-run", "--budget", budget).mistake


def transfer_passes(timed_distil):
    return timed_distil("--dry-run", "--baseline", "transfer", "--json").json["forward_passes"]


def test_people_see_the_plan_as_a_table(timed_distil, timed_rank):
    ran = timed_distil("--dry-run", "--updates", 7)
    for words in (
        "run teachers",
        "36 forward passes",
        "train (weighted)",
        "1m10s",
        "in all",
    ):
        assert words in " ".join(ran.out.split()), words
    assert "2m of" not in ran.out


def test_what_has_to_be_fetched_is_counted_in_bytes_and_not_fetched(timed_rank, monkeypatch, cache):
    from zoo.hub.client import Files

    files = Files(
        "owner/cat-net", "c" * 40, ("config.json", "model.safetensors"), (500, 7000), "", ""
    )
    monkeypatch.setattr("zoo.hub.client.find_files", lambda card, online=True: files)
    shown = timed_rank("--zoo", "all", "--dry-run", "--json").json
    assert shown["bytes"] == 7500
    assert steps(shown)["fetch cat"] == {
        "what": "fetch cat", "count": 7500, "unit": "bytes", "seconds": None,
    }  # fmt: skip
    assert shown["forward_passes"] == 3 * 18
    assert "fetch 0.0 MB" in timed_rank("--zoo", "all", "--dry-run").out
    assert not list(cache.rglob("*cat*"))


def test_what_cannot_be_had_is_said_and_not_counted(timed_rank):
    shown = timed_rank("--zoo", "all", "--dry-run", "--json").json
    assert shown["forward_passes"] == 36
    assert any("cat is not available" in note for note in shown["warnings"])


def test_a_shortlist_is_counted_at_its_most_with_the_reference(timed_rank, monkeypatch):
    monkeypatch.setattr(fingerprint, "REFERENCE", "ant")
    shown = timed_rank("--shortlist", 1, "--dry-run", "--json").json
    largest = max(list_cards(), key=lambda card: card.bytes).name
    assert shown["forward_passes"] == (18 if largest == "ant" else 36)
    assert any("the largest teachers are counted" in note for note in shown["warnings"])


def test_a_dry_run_finds_what_is_wrong(timed_distil, timed_compare, timed_rank, tmp_path, imgs):
    Path("student").mkdir()
    Path("student/x").write_text("")
    assert "no student" in timed_distil("--dry-run", "--overwrite").mistake
    Path("student/config.json").write_text('{"label_names": []}')
    assert "not empty" in timed_distil("--dry-run").mistake
    assert timed_distil("--dry-run", "--overwrite").code == 0
    assert "'cuda:99'" in timed_distil("--dry-run", "--overwrite", "--device", "cuda:99").mistake
    assert "'cuda:99'" in timed_rank("--dry-run", "--device", "cuda:99").mistake
    Path("comparison.json").write_text("{}")
    assert "not a comparison of source-zoo" in timed_compare("--dry-run").mistake
    assert "inside the image folder" in timed_rank("--dry-run", "--save", imgs / "r.json").mistake


def test_the_measured_student_is_the_one_that_is_asked_for(timed_distil, world):
    import torch

    timed_distil("--dry-run", "--image-size", 40, "--device", "cpu", "--objective", "source")
    how, *rest = world["students"][-1]
    assert (how.arch, how.recipe.fixmatch_weight) == ("test_resnet", 0)
    assert rest == [3, [3, 2], 40, 3, torch.device("cpu")]
    timed_distil("--dry-run", "--budget", "200s")
    assert world["students"][-1][2] == []
    assert world["students"][-1][4] == world["teachers"][-2][1] == 10
    timed_distil("--dry-run", "--baseline", "fixmatch")
    assert world["students"][-1][0].method_recipe.fixmatch_weight == 1
    assert world["students"][-1][2] is None


def test_a_probe_has_no_updates_in_a_plan(timed_distil, timed_compare):
    words = ("--baseline", "probe", "--image-size", 64, "--dry-run", "--json")
    for more in ((), ("--budget", "60s")):
        plan = timed_distil(*words, *more).json
        assert plan["updates"] == 0
        assert "updates" not in plan["chosen"]
    assert plan["chosen"] == {"image_size": 64}
    assert timed_distil("--baseline", "probe", "--budget", "60s").code == 0
    words = ("--baseline", "probe", "--overwrite", "--budget", "1s")
    assert "too small" in timed_distil(*words).mistake
    both = timed_compare("--method", "probe", "--method", "transfer", "--dry-run", "--json").json
    trained = {step["what"]: step["count"] for step in both["steps"] if step["unit"] == "updates"}
    assert trained.keys() == {"train (transfer)"}
