"""The wheel holds the four packages, the embedded zoo and its license, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - info == {"zoo", "selection", "distill", "cli"}
    assert len(info) == 1
    assert not [name for name in wheel.namelist() if "__pycache__" in name or "test" in name]


def test_the_wheel_holds_every_source_file(wheel):
    for package in ("zoo", "selection", "distill", "cli"):
        for path in (ROOT / package).rglob("*.py"):
            assert path.relative_to(ROOT).as_posix() in wheel.namelist()


def test_the_wheel_holds_the_style_of_the_pages(wheel):
    assert "prefers-color-scheme" in wheel.read("distill/report/templates/page.css").decode()


def test_the_wheel_holds_every_teacher_with_its_weights_and_card(wheel):
    files = [path for path in (ROOT / "zoo/builtin").glob("*/*") if path.is_file()]
    assert len([path for path in files if path.name == "model.safetensors"]) >= 8
    for path in files:
        inside = path.relative_to(ROOT).as_posix()
        assert wheel.getinfo(inside).file_size == path.stat().st_size


def test_the_wheel_holds_every_initial_student(wheel):
    for path in (ROOT / "zoo").glob("students/*/*.safetensors"):
        inside = path.relative_to(ROOT).as_posix()
        assert wheel.getinfo(inside).file_size == path.stat().st_size


def test_the_wheel_holds_the_license_and_the_command(wheel):
    inside = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
    assert "Apache License" in wheel.read(inside["licenses/LICENSE"]).decode()
    assert "zoo = cli.entry:main" in wheel.read(inside["entry_points.txt"]).decode()
    metadata = wheel.read(inside["METADATA"]).decode()
    assert "\nName: source-zoo\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_the_wheel_is_small(wheel):
    assert sum(entry.compress_size for entry in wheel.infolist()) < 60_000_000
