"""`zoo list`, and what holds for every command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.teachers import catalogue

ROOT = Path(__file__).parents[2]


def test_list_shows_every_teacher_as_json(command, toy_zoo):
    ant, bee, cat, dog = command("list", "--json").json
    assert [row["name"] for row in (ant, bee, cat, dog)] == ["ant", "bee", "cat", "dog"]
    assert [row["default"] for row in (ant, bee, cat, dog)] == [False, False, True, False]
    assert [row["gated"] for row in (ant, bee, cat, dog)] == [False, False, False, True]
    assert [row["local"] for row in (ant, bee, cat, dog)] == [True, True, False, False]
    for row, card in zip((ant, bee), toy_zoo, strict=True):
        wanted = {
            "name": card.name,
            "domain": card.domain,
            "source": card.source,
            "revision": card.revision,
            "network": card.network,
            "classes": len(card.labels),
            "params": card.params,
            "bytes": card.bytes,
            "license": card.license,
            "data": card.data,
            "data_license": card.data_license,
            "local": True,
        }
        assert wanted.items() <= row.items()


def test_list_shows_people_a_line_a_teacher(command, toy_zoo):
    ran = command("list")
    assert (ran.code, ran.err) == (0, "")
    for card in toy_zoo:
        (line,) = [line for line in ran.out.splitlines() if card.name in line.split()[:1]]
        assert card.domain in line
        assert "embedded" in line
        assert re.search(r"\bmit\b", line)


def test_a_broken_card_is_one_line(command, toy_zoo, tmp_path, monkeypatch):
    (tmp_path / "zoo/bad").mkdir(parents=True)
    (tmp_path / "zoo/bad/card.json").write_text("{")
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path / "zoo")
    assert "bad" in command("list").mistake


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("list", "--nonsense"),
        ("rank",),
        ("rank", "--target"),
        ("rank", "--target", "x", "--metric", "nonsense"),
        ("rank", "--target", "x", "--power", "-1"),
        ("rank", "--target", "x", "--power", "nan"),
        ("rank", "--target", "x", "--power", "inf"),
        ("rank", "--target", "x", "--labels-per-class", "0"),
        ("rank", "--target", "x", "--seed", "-1"),
        ("rank", "--target", "x", "--seed", "9999999999"),
        ("distill", "--updates", "0"),
        ("distill", "--image-size", "16"),
        ("distill", "--baseline", "magic"),
        ("distill", "--target", "x", "--labels-per-class", "0"),
        ("distill", "--weighted", "--nearest"),
        ("distill", "--nearest", "--baseline", "transfer"),
        ("distill", "--teacher", "ant", "--weighted"),
        ("distill", "--power", "2", "--nearest"),
        ("distill", "--power", "nan"),
        ("distill", "--unlabeled", "."),
        ("distill", "--labels", "x"),
        ("distill", "--labels-per-class", "2"),
        ("eval",),
        ("eval", "student"),
        ("predict", "student"),
        ("export",),
        ("export", "student", "--onnx", "--int8"),
        ("demo", "--seed", "x"),
        ("info",),
        ("pull",),
        ("pull", "--dry-run"),
        ("add", "student"),
        ("add", "student", "--name", "x"),
        ("add", "student", "--domain", "x"),
        ("push", "student"),
        ("pack", "out"),
        ("pack", "--teachers", "ant"),
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_with_two_and_keeps_stdout_clean(command, toy_zoo, words):
    ran = command(*words)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert "Traceback" not in ran.err


def test_a_message_of_several_lines_is_still_one(command, monkeypatch):
    from zoo.errors import ZooError

    def fail(zoo):
        raise ZooError("first [red]line[/red]\nsecond :cat: line")

    monkeypatch.setattr(catalogue, "list_cards", fail)
    assert command("list").mistake == "Error: first [red]line[/red] second :cat: line"


def test_help_and_list_load_neither_torch_nor_timm():
    """In a process of its own: help screens, an import and a listing stay light."""
    script = (
        "import sys; import cli.zoo_app as app, zoo, distill, selection\n"
        "for words in (['zoo', '--help'], ['zoo', 'distill', '--help'],\n"
        "              ['zoo', 'export', '--help'], ['zoo', 'list']):\n"
        "    sys.argv = words\n"
        "    try: app.main()\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'timm', 'torchvision', 'sklearn', 'scipy', 'matplotlib'}\n"
        "heavy |= {'onnx', 'onnxruntime', 'onnxscript'}\n"
        "heavy &= sys.modules.keys()\n"
        "print('heavy:', sorted(heavy))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "heavy: []"
    assert "objects" in run.stdout


def test_a_listing_does_not_even_load_numpy():
    script = (
        "import sys; import cli.zoo_app as app; sys.argv = ['zoo', 'list']\n"
        "try: app.main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print('heavy:', sorted({'numpy', 'PIL', 'huggingface_hub'} & sys.modules.keys()))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "heavy: []"


def test_a_reader_that_has_enough_is_no_error():
    script = f"{sys.executable} -u -m cli.zoo_app list | head -n 1; echo ${{PIPESTATUS[0]}}"
    for _ in range(3):
        run = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
        assert (run.stdout.splitlines()[-1], run.stderr) == ("0", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["cache --json", "--version"])
def test_a_reader_that_wants_nothing_is_no_error_either(words, unbuffered):
    script = f"{sys.executable} -m cli.zoo_app {words} | true; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True,  # noqa: S607
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert (run.stdout, run.stderr) == ("0\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_stdout_on_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "cli.zoo_app", "cache", "--json"], cwd=ROOT, stdout=full,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    assert (run.returncode, len(run.stderr.splitlines())) == (1, 1)
    assert run.stderr.startswith("Error: No space left on device")


def test_a_closed_stdout_is_no_error():
    script = f"{sys.executable} -m cli.zoo_app cache --json >&-"
    run = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    assert (run.returncode, run.stderr) == (0, "")
