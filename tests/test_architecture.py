"""Who may import whom, and how a source file looks. What start-up loads: test_cli_list.py."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("cli", "distill", "selection", "zoo")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MAY_IMPORT = {
    "zoo": {"zoo"},
    "selection": {"selection", "zoo"},
    "distill": {"distill", "zoo"},
    "cli": {"cli", "distill", "selection", "zoo"},
}
"""A package, and which of ours it may import."""

ONLY_IN = {
    "faiss": {"selection/neighbors.py"},
    "rich": {"cli/terminal.py"},
    "typer": {"cli/"},
    "torch": {"zoo/", "distill/"},
    "timm": {"zoo/", "distill/"},
    "torchvision": set[str](),
    "click": set[str](),
    "PIL": {"zoo/", "cli/demo.py"},
    "sklearn": {"cli/demo.py"},
    "safetensors": {"zoo/", "distill/"},
    "pickle": set[str](),
    "huggingface_hub": {"zoo/download.py", "zoo/hub.py", "zoo/hub_errors.py"},
    "tqdm": set[str](),
    "matplotlib": {"distill/report/figures.py"},
    "jinja2": {"distill/report/html.py"},
    "onnx": {"distill/onnx_file.py"},
    "onnxruntime": {"distill/onnx_file.py"},
    "onnxscript": {"distill/onnx_file.py"},
}
"""A library, and the files or folders that may import it."""


def imported(source: str, package: str) -> set[str]:
    """First part of every module that a file imports, anywhere in it."""
    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(package if node.level else (node.module or "").partition(".")[0])
    return names


def violations(place: str, source: str) -> list[str]:
    """What a file at this place imports though it may not."""
    package = place.partition("/")[0]
    names = imported(source, package)
    ours = names & MAY_IMPORT.keys() - MAY_IMPORT[package]
    theirs = {
        name
        for name in names & ONLY_IN.keys()
        if not any(place.startswith(where) for where in ONLY_IN[name])
    }
    return sorted(ours | theirs)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


EVERY_FILE = [*FILES, *sorted(ROOT.glob("tests/*.py"))]
each_file = pytest.mark.parametrize("path", FILES, ids=name_of)


@each_file
def test_a_file_imports_only_what_it_may(path):
    assert violations(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("place", "source", "found"),
    [
        ("zoo/new.py", "import selection", ["selection"]),
        ("zoo/new.py", "from distill.training.loop import train", ["distill"]),
        ("selection/new.py", "def f():\n    import torch.nn as nn", ["torch"]),
        ("selection/new.py", "from distill import train\nimport faiss", ["distill", "faiss"]),
        ("selection/neighbors.py", "import faiss", []),
        ("distill/new.py", "from selection import rank", ["selection"]),
        ("distill/new.py", "if True:\n    from cli.terminal import note", ["cli"]),
        ("cli/zoo_app.py", "import rich.table\nimport typer", ["rich"]),
        ("cli/terminal.py", "import torch, typer", ["torch"]),
        ("zoo/teacher.py", "import huggingface_hub, tqdm", ["huggingface_hub", "tqdm"]),
        ("distill/new.py", "from . import recipe\nfrom zoo.teachers.card import TeacherCard", []),
    ],
)
def test_the_test_of_imports_can_fail(place, source, found):
    assert violations(place, source) == found


def test_all_files_are_looked_at():
    assert len(FILES) > 25
    assert {name_of(path).partition("/")[0] for path in FILES} == set(PACKAGES)


@each_file
def test_a_file_begins_with_one_line_on_its_job(path):
    source = path.read_text(encoding="utf-8")
    assert source.startswith('"""')
    assert source.splitlines()[0].rstrip('"').endswith((".", "?"))
    assert ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize("path", EVERY_FILE, ids=name_of)
def test_a_file_has_at_most_three_hundred_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@each_file
def test_the_body_of_a_function_has_at_most_sixty_lines(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and node.body[1:] else 0]
            assert (node.end_lineno or 0) - first.lineno < 60, node.name


@each_file
def test_a_file_has_no_assert_and_no_bare_except(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Assert), node.lineno
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), node.lineno


def test_the_init_of_cli_is_one_docstring_and_nothing_else():
    (only,) = ast.parse((ROOT / "cli/__init__.py").read_text()).body
    assert isinstance(only, ast.Expr)
    assert len((ROOT / "cli/__init__.py").read_text().splitlines()) == 1


SPEAK = ("cli/terminal.py", "distill/teaching.py")


@pytest.mark.parametrize("path", [p for p in FILES if name_of(p) not in SPEAK], ids=name_of)
def test_only_the_terminal_and_a_command_of_its_own_print(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", node.lineno
