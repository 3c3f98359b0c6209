"""The documentation is true: help screens, commands, Python, links."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from cli.zoo_app import app
from tests.support.toys import paint_folder
from tests.tools.cli_docs import PAGE, command_names, render
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import STUDENTS, list_cards

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_of_commands_shows_the_real_help_screens():
    assert PAGE.read_text() == render(), "run: python tests/cli_docs.py"


def test_the_readme_runs_as_python(tmp_path, toy_zoo, monkeypatch):
    paint_folder(tmp_path / "imgs", per_class=3, loose=4)
    monkeypatch.chdir(tmp_path)
    (block,) = code_blocks(ROOT / "README.md", "python")
    assert "updates=400" in block
    names = {}
    exec(block.replace("updates=400", "updates=2"), names)  # noqa: S102
    assert names["trained"].history[-1]["update"] == 2


def test_the_page_on_python_runs():
    names = {}
    for block in code_blocks(ROOT / "docs/python.md", "python"):
        exec(block, names)  # noqa: S102
    assert -1 <= names["score"] <= 1


def commands_in(page):
    text = page.read_text()
    fenced = "\n".join(code_blocks(page, "sh"))
    inline = re.findall(r"`(zoo [a-z]+ [^`]*)`", text)
    lines = [line.strip() for line in fenced.replace("\\\n", " ").splitlines()]
    return inline + [line for line in lines if line.startswith("zoo ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_zoo_command_in_the_documentation_has_known_options(page):
    known = typer.main.get_command(app).commands  # pyright: ignore
    for line in commands_in(page):
        words = shlex.split(line, comments=True)
        assert words[1] in known, line
        options = {name for option in known[words[1]].params for name in option.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert (page.parent / link).exists(), link


def test_the_readme_names_every_command_of_the_machine_that_checks_it():
    runs = [line for line in (ROOT / "README.md").read_text().splitlines() if "-m pytest" in line]
    assert len(runs) == 1
    assert "grep -m 1 '^python3 -m venv .*pytest' README.md" in (ROOT / ".ci/run").read_text()


def test_python_m_is_the_same_command():
    run = [sys.executable, "-m", "cli.zoo_app", "--help"]
    shown = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert all(name in shown for name in command_names())


def test_the_page_of_teachers_agrees_with_the_cards():
    page = (ROOT / "docs/teachers.md").read_text()
    for card in list_cards():
        share = f"{card.accuracy:.1%} of {card.accuracy_images}"
        row = [card.name, card.domain, len(card.labels), share, card.data, card.data_license]
        assert f"| {' | '.join(map(str, row))} |" in page
    for folder in STUDENTS.iterdir():
        card = TeacherCard.load(folder)
        assert f"| {card.name} | {card.accuracy:.1%} of {card.accuracy_images} |" in page
