"""The rules of the source tree: one test per rule, which lists all offenders at once."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "zoo": {"zoo"},
    "selection": {"selection", "zoo"},
    "distill": {"distill", "zoo"},
    "cli": {"cli", "distill", "selection", "zoo"},
}
"""Every package of the project and those it may import; none may import tests."""

ONLY_IN = {
    "PIL": {"zoo/images/", "zoo/features/", "zoo/teachers/", "cli/commands/demo.py"},
    "click": set[str](),
    "faiss": {"selection/index.py"},
    "huggingface_hub": {"zoo/hub/"},
    "jinja2": {"distill/report/"},
    "matplotlib": {"distill/report/figures.py"},
    "ai_edge_litert": {"distill/export/phone_files.py"},
    "ai_edge_quantizer": {"distill/export/phone_files.py"},
    "coremltools": {"distill/export/phone_files.py"},
    "datasets": {"zoo/images/dataset.py"},
    "executorch": {"distill/export/phone_files.py"},
    "litert_torch": {"distill/export/phone_files.py"},
    "mlflow": {"distill/training/tracking.py"},
    "nncf": {"distill/export/openvino_file.py"},
    "onnx": {"distill/export/"},
    "onnxruntime": {"distill/export/"},
    "onnxscript": {"distill/export/"},
    "openvino": {"zoo/features/openvino.py", "distill/export/openvino_file.py"},
    "pickle": set[str](),
    "pillow_heif": {"zoo/images/decoding.py"},
    "rich": {"cli/terminal.py", "cli/tables.py"},
    "safetensors": {"zoo/", "distill/"},
    "scipy": set[str](),
    "sklearn": {"cli/commands/demo.py", "distill/estimator.py"},
    "tensorboard": {"distill/training/tracking.py"},
    "threadpoolctl": {"selection/scoring.py"},
    "timm": {"zoo/", "distill/"},
    "torch": {"zoo/", "distill/"},
    "torchao": {"distill/export/phone_files.py"},
    "torchvision": set[str](),
    "tqdm": set[str](),
    "typer": {"cli/"},
    "wandb": {"distill/training/tracking.py"},
}
"""The files and folders that may import a library; numpy may be imported anywhere."""

MODULES_PER_FOLDER = 12
LINES_PER_FILE = 500
LINES_PER_FUNCTION = 50
LONGER = {"distill/training/loop.py: fit"}
"""Functions that may be longer: the training loop, which is read from top to bottom."""

MAY_PRINT = {"cli/terminal.py"}
MAY_TRAVEL = {"distill/estimator.py": "set_params"}
"""Options by keyword where a convention of scikit-learn asks for them."""
RETIRED = """
allotted ask asked asking asks averaging dealt exam exams fading foresee foreseeing foresight
halving lesson lessons lookahead mishap mishaps mute muted observation observe observed observes
oddities oddity outlook pace paces taught teach teaches teaching tells told trust whoever wording
"""
"""Words that the glossary replaced; no identifier and no file name contains one."""

PATCHED_BY_PATH = {
    "zoo.hub.",
    "zoo.system.timing.clock",
    "time.",
    "sys.platform",
    "pathlib.",
    "shutil.",
}
"""What tests may patch by a string path: the network, the clock and the operating system."""


class Source:
    """A source file: its path from the root, as text and as syntax tree."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.tree = ast.parse(text)
        self.package = path.partition("/")[0]
        self.module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def imports(self, *, typing: bool = True) -> Iterator[tuple[int, str]]:
        """Line and dotted name of every import; `from a import b` gives `a.b`.

        Args:
            typing: also those below `if TYPE_CHECKING`.
        """
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                waiting += [*node.orelse, *(node.body if typing else [])]
                continue
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = ""
                if node.level:
                    up = self.module.split(".")
                    up = up if self.path.endswith("/__init__.py") else up[:-1]
                    start = ".".join(up[: len(up) - node.level + 1])
                home = ".".join(filter(None, [start, node.module]))
                yield from ((node.lineno, f"{home}.{alias.name}") for alias in node.names)
            waiting += ast.iter_child_nodes(node)


def read(folder: str) -> list[Source]:
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


FILES = [source for package in MAY_IMPORT for source in read(package)]
TESTS = read("tests")


def check(offenders: list[str]) -> None:
    """Fail with all of them, a line each."""
    if offenders:
        pytest.fail(f"{len(offenders)} offenders:\n" + "\n".join(offenders), pytrace=False)


def wrong_packages(source: Source) -> list[str]:
    allowed = MAY_IMPORT[source.package]
    ours = {*MAY_IMPORT, "tests"} - allowed
    names = {(line, name) for line, name in source.imports() if name.partition(".")[0] in ours}
    return [f"{source.path}:{line}: imports {name}" for line, name in sorted(names)]


def wrong_libraries(source: Source) -> list[str]:
    found = set[tuple[int, str]]()
    for line, name in source.imports():
        library = name.partition(".")[0]
        homes = ONLY_IN.get(library, {""})
        if not any(source.path.startswith(home) for home in homes):
            found.add((line, library))
    return [f"{source.path}:{line}: imports {library}" for line, library in sorted(found)]


def circles(sources: list[Source]) -> list[str]:
    """Modules that import each other, directly or through others; one line per circle."""
    modules = {source.module: source for source in sources}
    arrows: dict[str, set[str]] = {}
    for name, source in modules.items():
        targets = {target for _, target in source.imports(typing=False)}
        targets |= {f"{name}.{home}" for home in late_homes(source)}
        known = {t if t in modules else t.rpartition(".")[0] for t in targets}
        arrows[name] = known & modules.keys() - {name}

    def reach(start: str) -> set[str]:
        seen, waiting = set[str](), [start]
        while waiting:
            new = arrows[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reached = {name: reach(name) for name in modules}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in modules
        if name in reached[name]
    }
    return sorted(" <-> ".join(sorted(group)) for group in groups)


def late_homes(source: Source) -> set[str]:
    """Modules that the `__init__` of a package imports when one of their names is first used."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "_NAMES":
                return {k.value for k in node.value.keys if isinstance(k, ast.Constant)}  # type: ignore[misc]
    return set()


def long_functions(source: Source) -> list[str]:
    """Functions whose body, without the docstring, has too many lines."""
    found: list[str] = []
    for node in source.functions():
        first = node.body[1 if ast.get_docstring(node) and node.body[1:] else 0]
        lines = (node.end_lineno or 0) - first.lineno + 1
        name = f"{source.path}: {node.name}"
        if lines > LINES_PER_FUNCTION and name not in LONGER:
            found.append(f"{name} has {lines} lines")
    return found


def forbidden_statements(source: Source) -> list[str]:
    """Assertions and handlers of every exception."""
    found: list[str] = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assert):
            found.append(f"{source.path}:{node.lineno}: assert")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{source.path}:{node.lineno}: except without a type")
    return found


def prints(source: Source) -> list[str]:
    calls = [node for node in ast.walk(source.tree) if isinstance(node, ast.Call)]
    return [
        f"{source.path}:{call.lineno}: print"
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "print"
        if source.path not in MAY_PRINT
    ]


def missing_first_line(source: Source) -> list[str]:
    first = source.text.split("\n", 1)[0]
    good = re.fullmatch(r'"""[^"].*[.?](""")?', first) and ast.get_docstring(source.tree)
    return [] if good else [f"{source.path}: {first[:60]!r} does not state the job of the file"]


def travelling_options(source: Source) -> list[str]:
    """Functions that take `**options`; `**_` is an argument that is ignored on purpose."""
    return [
        f"{source.path}:{node.lineno}: {node.name}(**{node.args.kwarg.arg})"
        for node in source.functions()
        if node.args.kwarg and not node.args.kwarg.arg.startswith("_")
        if MAY_TRAVEL.get(source.path) != node.name
    ]


def words(identifier: str) -> set[str]:
    """The words of an identifier: `lookAhead_of` gives look, ahead, of."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


def retired_words(source: Source) -> list[str]:
    """Identifiers that are defined here and contain a word that the glossary replaced."""
    names = {(1, source.module.rpartition(".")[2])}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add((node.lineno, node.name))
        elif isinstance(node, ast.arg):
            names.add((node.lineno, node.arg))
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add((node.lineno, node.id if isinstance(node, ast.Name) else node.attr))
    retired = set(RETIRED.split())
    return [f"{source.path}:{n}: {name}" for n, name in sorted(names) if words(name) & retired]


def patches_by_path(source: Source) -> list[str]:
    """`monkeypatch.setattr("a.b.c", ...)` of anything but network, clock and system."""
    found: list[str] = []
    for call in ast.walk(source.tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if call.func.attr not in ("setattr", "delattr", "patch") or not call.args:
            continue
        target = call.args[0]
        if isinstance(target, ast.Constant | ast.JoinedStr) and isinstance(
            call.func.value, ast.Name
        ):
            path = ast.unparse(target).lstrip("f").strip("'\"")
            if "." in path and not path.startswith(tuple(PATCHED_BY_PATH)):
                found.append(f"{source.path}:{call.lineno}: {path}")
    return found


def test_the_tree_is_read():
    assert len(FILES) > 25
    assert {source.package for source in FILES} == set(MAY_IMPORT)
    assert len(TESTS) > 40


def test_the_root_holds_four_packages_tests_and_docs():
    folders = {source.path.partition("/")[0] for source in [*FILES, *TESTS]}
    assert folders == {"cli", "distill", "selection", "zoo", "tests"}
    assert [path.name for path in ROOT.glob("*.py")] == []


def test_packages_import_only_downward():
    check([line for source in FILES for line in wrong_packages(source)])


def test_one_place_knows_each_outside_library():
    check([line for source in FILES for line in wrong_libraries(source)])


def test_no_modules_import_each_other_in_a_circle():
    check(circles(FILES))


def test_a_folder_holds_at_most_twelve_modules():
    counts: dict[str, int] = {}
    for source in FILES:
        if not source.path.endswith("/__init__.py"):
            folder = source.path.rpartition("/")[0]
            counts[folder] = counts.get(folder, 0) + 1
    check([f"{folder}: {n}" for folder, n in counts.items() if n > MODULES_PER_FOLDER])


def test_a_file_has_at_most_five_hundred_lines():
    lines = {source.path: len(source.text.splitlines()) for source in [*FILES, *TESTS]}
    check([f"{path}: {n} lines" for path, n in lines.items() if n > LINES_PER_FILE])


def test_a_function_has_at_most_fifty_lines():
    check([line for source in FILES for line in long_functions(source)])


def test_no_assert_and_no_except_without_a_type():
    check([line for source in FILES for line in forbidden_statements(source)])


def test_only_the_terminal_prints():
    check([line for source in FILES for line in prints(source)])


def test_a_file_begins_with_one_line_on_its_job():
    check([line for source in FILES for line in missing_first_line(source)])


def test_no_options_travel_as_keyword_arguments():
    check([line for source in FILES for line in travelling_options(source)])


def test_no_identifier_has_a_word_that_the_glossary_replaced():
    check([line for source in FILES for line in retired_words(source)])


def test_only_network_and_clock_are_patched_by_path():
    check([line for source in TESTS for line in patches_by_path(source)])


def test_the_init_of_cli_is_one_docstring_and_nothing_else():
    (only,) = ast.parse((ROOT / "cli/__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(only, ast.Expr)


CASES = [
    (wrong_packages, "zoo/new.py", "import selection", "zoo/new.py:1: imports selection"),
    (wrong_packages, "zoo/a/b.py", "from distill.recipe import Recipe", "distill.recipe.Recipe"),
    (wrong_packages, "distill/new.py", "from selection import rank", "selection.rank"),
    (wrong_packages, "distill/new.py", "if True:\n    from cli import terminal", ":2: imports cli"),
    (wrong_packages, "cli/new.py", "def f():\n    import tests.support", ":2: imports tests"),
    (wrong_packages, "distill/new.py", "from . import recipe\nfrom zoo.errors import E", ""),
    (
        wrong_libraries,
        "selection/new.py",
        "def f():\n    import torch.nn as nn",
        ":2: imports torch",
    ),
    (wrong_libraries, "selection/rank.py", "import numpy, faiss", "imports faiss"),
    (wrong_libraries, "selection/index.py", "import numpy, faiss", ""),
    (wrong_libraries, "cli/zoo_app.py", "import rich.table\nimport typer", ":1: imports rich"),
    (wrong_libraries, "zoo/teachers/card.py", "import huggingface_hub", "huggingface_hub"),
    (wrong_libraries, "distill/new.py", "from pickle import load", "imports pickle"),
    (long_functions, "zoo/a.py", "def f():\n" + "    x = 1\n" * 51, "f has 51 lines"),
    (long_functions, "zoo/a.py", 'def f():\n    """A.\n    """\n' + "    x = 1\n" * 50, ""),
    (long_functions, "distill/training/loop.py", "def fit():\n" + "    x = 1\n" * 80, ""),
    (forbidden_statements, "zoo/a.py", "assert True", "zoo/a.py:1: assert"),
    (forbidden_statements, "zoo/a.py", "try:\n    x\nexcept:\n    pass", ":3: except"),
    (forbidden_statements, "zoo/a.py", "try:\n    x\nexcept ValueError:\n    pass", ""),
    (prints, "zoo/a.py", "def f():\n    print(1)", "zoo/a.py:2: print"),
    (prints, "cli/terminal.py", "print(1)", ""),
    (missing_first_line, "zoo/a.py", "import os", "zoo/a.py"),
    (missing_first_line, "zoo/a.py", '"""\nLate.\n"""', "zoo/a.py"),
    (missing_first_line, "zoo/a.py", '"""What cards hold."""', ""),
    (travelling_options, "zoo/a.py", "def f(a, **more): ...", "f(**more)"),
    (travelling_options, "zoo/a.py", "def f(a, **_): ...", ""),
    (retired_words, "zoo/a.py", "def teach_all(): ...", "zoo/a.py:1: teach_all"),
    (retired_words, "zoo/a.py", "class PaceOf: ...", "PaceOf"),
    (retired_words, "zoo/pace.py", "", "zoo/pace.py:1: pace"),
    (retired_words, "zoo/a.py", "def f(asked, task, space, teacher): ...", "asked"),
    (retired_words, "zoo/a.py", "task = space = teacher = masked.told", ""),
    (patches_by_path, "tests/a.py", "patch.setattr('zoo.images.POOL', 1)", ":1: zoo.images.POOL"),
    (patches_by_path, "tests/a.py", "patch.setattr(f'zoo.{x}.POOL', 1)", ":1: zoo."),
    (patches_by_path, "tests/a.py", "patch.setattr('zoo.hub.client.get', 1)", ""),
    (patches_by_path, "tests/a.py", "patch.setattr(folder, 'POOL', 1)", ""),
]
"""A rule, a file, its text, and what the rule has to find in it."""


def test_every_rule_can_fail():
    found = [(rule(Source(path, text)), text, wanted) for rule, path, text, wanted in CASES]
    check(
        [
            f"{text!r}: {lines}"
            for lines, text, wanted in found
            if len(lines) != bool(wanted) or wanted not in "".join(lines)
        ]
    )


def test_the_rule_of_circles_can_fail():
    texts = {
        "zoo/__init__.py": "_NAMES = {'images.folder': 'Images'}",
        "zoo/images/__init__.py": "",
        "zoo/images/folder.py": "from zoo.images import decoding",
        "zoo/images/decoding.py": "def f():\n    from .folder import read",
        "zoo/errors.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import zoo.card",
        "zoo/card.py": "import zoo.errors",
        "zoo/system.py": "from zoo import Images",
    }
    sources = [Source(path, text) for path, text in texts.items()]
    assert circles(sources) == ["zoo.images.decoding <-> zoo.images.folder"]
    texts["zoo/images/folder.py"] = "from zoo import Images"
    sources = [Source(path, text) for path, text in texts.items()]
    assert circles(sources) == ["zoo <-> zoo.images.folder"]
