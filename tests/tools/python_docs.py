"""Write docs/python.md from the docstrings of public names: `python -m tests.tools.python_docs`.

The source is parsed, never imported. Public names are those in `__all__` of `zoo`, `selection` and
`distill`; docstrings have Google's sections.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
PACKAGES = ("zoo", "selection", "distill")
WIDTH = 88
"""A wider signature has one parameter per line."""
MARK = "<!-- Below this line: python -m tests.tools.python_docs -->\n"
"""Prose of the page stands above it and is kept."""

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class PublicName:
    """A public name and the statement that defines it.

    Attributes:
        package: `zoo`, `selection` or `distill`.
        name: in `__all__` of that package.
        node: the definition.
        doc: the docstring, or the string below a constant; empty where there is none.
    """

    package: str
    name: str
    node: Definition
    doc: str


def public_names() -> Iterator[PublicName]:
    """All public names, package by package, in the order of `__all__`."""
    for package in PACKAGES:
        init = _parse(package)
        (exported,) = (
            ast.literal_eval(node.value)
            for node in init.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        for name in exported:
            node, doc = _find(name, package)
            yield PublicName(package=package, name=name, node=node, doc=doc)


def render() -> str:
    """The whole page: the prose that is there, then every public name."""
    prose, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    parts = [prose + mark]
    package = ""
    for public in public_names():
        if public.package != package:
            package = public.package
            summary = ast.get_docstring(_parse(package)) or ""
            parts.append(f"## `{package}`\n\n{summary}\n")
        parts.append(_render_name(public))
    return "\n".join(parts)


def _parse(module: str) -> ast.Module:
    path = ROOT / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _find(name: str, module: str) -> tuple[Definition, str]:
    """The definition of a name, through any number of imports.

    Raises:
        ValueError: the module does not define it.
    """
    tree = _parse(module)
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.If))]
    for body in bodies:
        for number, node in enumerate(body):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return node, ast.get_docstring(node) or ""
            if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
                return node, _string(body[number + 1 : number + 2])
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name) and node.module:
                        return _find(alias.name, node.module)
    raise ValueError(f"{module} does not define {name}")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [ast.unparse(target) for target in targets]


def _string(statements: list[ast.stmt]) -> str:
    """The text of a statement that is only a string, else empty."""
    for node in statements:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return inspect.cleandoc(str(node.value.value))
    return ""


def _render_name(public: PublicName) -> str:
    title = f"### `{public.package}.{public.name}`\n"
    code = f"```text\n{_signature(public.node)}\n```\n"
    parts = [title, code, _render_doc(public.doc)]
    if isinstance(public.node, ast.ClassDef):
        methods = [text for node in public.node.body if (text := _render_method(node))]
        parts += ["**Methods**\n", *methods] if methods else []
    return "\n".join(part for part in parts if part)


def _render_method(node: ast.stmt) -> str:
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
        return ""
    summary, *rest = _render_doc(ast.get_docstring(node) or "").split("\n\n")
    lines = [f"- `{_signature(node)}`: {summary.strip()}"]
    for part in rest:
        lines.append("\n".join(f"  {line}".rstrip() for line in part.strip().splitlines()))
    return "\n\n".join(lines) + "\n"


def _signature(node: Definition) -> str:
    """How the name is called, or its value if it is a short constant."""
    if isinstance(node, ast.FunctionDef):
        kinds = [ast.unparse(each) for each in node.decorator_list]
        if "property" in kinds:
            return f"{node.name} -> {_unparse(node.returns)}"
        skip = 1 if node.args.args[:1] and node.args.args[0].arg in ("self", "cls") else 0
        return _call(node.name, _parameters(node.args, skip), _unparse(node.returns))
    if isinstance(node, ast.ClassDef):
        return _call(f"class {node.name}", _fields(node), "")
    name = _targets(node)[0]
    value = ast.unparse(node.value) if node.value else ""
    if isinstance(node.value, ast.Dict):
        keys = ", ".join(ast.unparse(key) for key in node.value.keys if key)
        return f"{name}: {keys}"
    return f"{name} = {value}"


def _parameters(args: ast.arguments, skip: int) -> list[str]:
    """Each parameter with its annotation and default; a bare `*` before keyword-only ones."""
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    found = [_parameter(arg, value) for arg, value in zip(plain, defaults, strict=True)][skip:]
    if args.kwonlyargs:
        found.append("*")
        pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
        found += [_parameter(arg, value) for arg, value in pairs]
    return found


def _parameter(arg: ast.arg, default: ast.expr | None) -> str:
    text = f"{arg.arg}: {_unparse(arg.annotation)}" if arg.annotation else arg.arg
    return text if default is None else f"{text} = {_unparse(default)}"


def _fields(node: ast.ClassDef) -> list[str]:
    """What a class is made of: fields of a dataclass, else parameters of `__init__`."""
    if any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return [
            _field(each)
            for each in node.body
            if isinstance(each, ast.AnnAssign) and not ast.unparse(each.target).startswith("_")
        ]
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return _parameters(each.args, skip=1)
    return [ast.unparse(each) for each in node.bases]


def _field(node: ast.AnnAssign) -> str:
    """A field with its default; what a default factory makes stands for the factory."""
    value = node.value
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        made = {each.arg: each.value for each in value.keywords}.get("default_factory")
        text = ast.unparse(made.body if isinstance(made, ast.Lambda) else made) if made else "..."
        calls = "" if isinstance(made, ast.Lambda) or not made else "()"
        return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)} = {text}{calls}"
    return ast.unparse(node)


def _call(name: str, parameters: list[str], returns: str) -> str:
    arrow = f" -> {returns}" if returns and returns != "None" else ""
    line = f"{name}({', '.join(parameters)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in parameters), f"){arrow}"])


def _unparse(node: ast.expr | None) -> str:
    return ast.unparse(node) if node else ""


def _render_doc(doc: str) -> str:
    """Markdown of a docstring: sections become bold words over lists or code."""
    pieces = re.split(r"^(\w+):\n(?=[ ]+\S)", doc, flags=re.MULTILINE)
    parts = [f"{pieces[0].strip()}\n"] if pieces[0].strip() else []
    for title, text in zip(pieces[1::2], pieces[2::2], strict=True):
        title = {"Args": "Arguments"}.get(title, title)
        parts.append(f"**{title}**\n\n{_render_section(title, text)}")
    return "\n".join(parts)


def _render_section(title: str, text: str) -> str:
    """One section: `name: text` entries become a list, examples become code."""
    text = inspect.cleandoc(f"\n{text}")
    if title in ("Example", "Examples"):
        return f"```pycon\n{text}\n```\n"
    if title in ("Returns", "Yields", "Note", "Source"):
        return f"{text}\n"
    lines = []
    for entry in re.split(r"\n(?=\S)", text):
        name, _, meaning = " ".join(entry.split()).partition(":")
        lines.append(f"- `{name}`: {meaning.strip()}" if meaning else f"- {name}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
