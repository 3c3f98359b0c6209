"""The documentation is true: help screens, commands, Python, links, paths."""

import ast
import re
import shlex
import subprocess
import sys
from doctest import DocTestParser
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main

from cli.zoo_app import app
from tests.support.toys import paint_folder
from tests.tools import cli_docs, python_docs
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import STUDENTS, list_cards

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("zoo", "selection", "distill", "cli", "tests")


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_of_commands_shows_the_real_help_screens():
    assert cli_docs.PAGE.read_text() == cli_docs.render(), "run: python -m tests.tools.cli_docs"


def test_the_page_on_python_shows_the_real_docstrings():
    page = python_docs.PAGE.read_text()
    assert page == python_docs.render(), "run: python -m tests.tools.python_docs"


def test_every_public_name_has_a_docstring_and_functions_and_classes_an_example():
    missing = []
    for public in python_docs.public_names():
        is_constant = isinstance(public.node, ast.Assign | ast.AnnAssign)
        examples = DocTestParser().get_examples(public.doc)
        for example in examples:
            compile(example.source, public.name, "single")
        if not public.doc or not (is_constant or examples):
            missing.append(f"{public.package}.{public.name}")
    assert missing == []


def test_the_readme_runs_as_python(tmp_path, toy_zoo, monkeypatch):
    paint_folder(tmp_path / "imgs", per_class=3, loose=4)
    monkeypatch.chdir(tmp_path)
    (block,) = code_blocks(ROOT / "README.md", "python")
    assert "updates=200" in block
    names = {}
    exec(block.replace("updates=200", "updates=2"), names)  # noqa: S102
    assert names["report"].recipe.updates == 2
    assert Path("student/model.safetensors").exists()


def test_the_page_on_python_runs():
    names = {}
    for block in code_blocks(ROOT / "docs/python.md", "python"):
        exec(block, names)  # noqa: S102
    assert -1 <= names["score"] <= 1


def test_all_python_in_the_documentation_is_python():
    for page in PAGES:
        for block in code_blocks(page, "python"):
            compile(block, str(page), "exec")


def test_mkdocs_builds_the_pages_without_a_warning(tmp_path):
    if not find_spec("mkdocs"):
        pytest.skip("mkdocs is not installed: pip install '.[test]'")
    run = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", ".mkdocs.yml"]
    ran = subprocess.run([*run, "-d", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for page in PAGES[1:]:
        assert (tmp_path / "site" / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()


def test_every_file_and_module_that_the_documentation_names_is_there():
    missing = []
    for page in PAGES:
        if page.name == "changelog.md":  # it names what is gone
            continue
        for word in re.findall(r"[\w./-]+", page.read_text()):
            file = word.strip(".")
            if re.fullmatch(rf"({'|'.join(PACKAGES)})/[\w/]+(\.\w+)?", file):
                found = (ROOT / file).exists()
            elif re.fullmatch(r"(tests|cli)(\.\w+)+(?<!\.md)", file):
                found = ROOT.joinpath(*file.split(".")).with_suffix(".py").exists()
            else:
                continue
            if not found:
                missing.append(f"{page.name}: {file}")
    assert missing == [], missing


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
    assert all(name in shown for name in cli_docs.command_names())


def test_the_page_of_teachers_agrees_with_the_cards():
    page = (ROOT / "docs/teachers.md").read_text()
    for card in list_cards():
        share = f"{card.accuracy:.1%} of {card.accuracy_images}"
        row = [card.name, card.domain, len(card.labels), share, card.data, card.data_license]
        assert f"| {' | '.join(map(str, row))} |" in page
    for folder in STUDENTS.iterdir():
        card = TeacherCard.load(folder)
        views = card.recipe.partition(": ")[2].partition(" ")[0]
        assert re.search(rf"\| {card.name} \| .*\b{int(views):,} \|", page)


def test_the_first_page_leads_to_every_page():
    first = (ROOT / "docs/index.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}
    assert not [page for page in sorted(pages - {"index.md"}) if f"]({page})" not in first]
