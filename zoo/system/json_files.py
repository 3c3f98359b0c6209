"""Read and write JSON files: bounded regular files, every key checked, errors that name the key."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zoo.errors import ZooError
from zoo.system.files import write_atomic

LIMIT, TEXT, ITEMS = 16 << 20, 20_000, 200_000
"""Bytes of a file, characters of a text, and entries of a list or mapping, at most."""

Check = Callable[[Any, str], Any]
"""Called as `check(value, key)`: returns the value, or raises a ValueError that names the key."""

Schema = Mapping[str, Check]
"""What each key of an object has to be; see `optional` for keys that may be absent."""


def text(*, most: int = TEXT, path: bool = False) -> Check:
    """A string of at most so many characters that UTF-8 can write.

    That of a `path` may also hold bytes of the file system, as Python escapes them.
    """
    errors = "surrogateescape" if path else "strict"

    def check(value: Any, key: str) -> str:
        if type(value) is not str:
            raise _unexpected(key, "text", value)
        if len(value) > most:
            raise ValueError(f"{key}: expected at most {most} characters, found {len(value)}")
        try:
            value.encode(errors=errors)  # JSON can state half a character, as "\\ud800"
        except UnicodeEncodeError:
            raise _unexpected(key, "text of whole characters", value) from None
        return value

    return check


def pattern(expression: str, expected: str) -> Check:
    """A text that a regular expression matches as a whole; `expected` says in words which."""

    def check(value: Any, key: str) -> str:
        if type(value) is not str or not re.fullmatch(expression, value, re.ASCII):
            raise _unexpected(key, expected, value)
        return value

    return check


def choice(*values: str | int) -> Check:
    """One of some texts or whole numbers, or exactly one, such as the version of a format."""
    expected = f"{'one of ' * (len(values) > 1)}{', '.join(map(repr, values))}"

    def check(value: Any, key: str) -> str | int:
        if type(value) not in (str, int) or value not in values:
            raise _unexpected(key, expected, value)
        return value

    return check


def flag(value: Any, key: str) -> bool:
    """A check for true or false."""
    if type(value) is not bool:
        raise _unexpected(key, "true or false", value)
    return value


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A finite number within bounds, as a float."""

    def check(value: Any, key: str) -> float:
        # isinstance would let true pass for a number
        if type(value) not in (int, float) or abs(value) > 1e300 or not low <= value <= high:
            raise _unexpected(key, _within("a number", low, high), value)
        return float(value)

    return check


def integer(low: int = 0, high: int = 2**62) -> Check:
    """A whole number within bounds."""

    def check(value: Any, key: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _unexpected(key, _within("a whole number", low, high), value)
        return value

    return check


def one_or_list(one: Check, several: Check) -> Check:
    """A single value or a list, each with a check of its own."""

    def check(value: Any, key: str) -> Any:
        if type(value) in (list, tuple):  # a tuple is a list that was read before
            return several(list(value), key)
        return one(value, key)

    return check


def listing(item: Check, *, most: int = ITEMS) -> Check:
    """A list whose entries all pass a check, as a tuple."""

    def check(value: Any, key: str) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > most:
            raise _unexpected(key, f"a list of at most {most} entries", value)
        return tuple(item(entry, f"{key}[{place}]") for place, entry in enumerate(value))

    return check


def mapping(item: Check, *, most: int = ITEMS) -> Check:
    """An object of any keys whose values all pass a check, as a dict."""

    def check(value: Any, key: str) -> dict[str, Any]:
        if type(value) is not dict or len(value) > most:
            raise _unexpected(key, f"an object of at most {most} entries", value)
        return {name: item(entry, _join(key, name)) for name, entry in value.items()}

    return check


def record(schema: Schema, *, strict: bool = False) -> Check:
    """An object of known keys, as a dict of those that are there or have a default.

    Unknown keys are ignored, and refused if it is strict.
    """

    def check(value: Any, key: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _unexpected(key, "an object", value)
        if strict and (unknown := sorted(value.keys() - schema.keys())):
            raise ValueError(f"{_join(key, unknown[0])}: unknown key")
        found: dict[str, Any] = {}
        for name, entry in schema.items():
            if name in value:
                found[name] = entry(value[name], _join(key, name))
            elif not isinstance(entry, _Optional):
                raise ValueError(f"{_join(key, name)}: missing")
            elif entry.default is not OMIT:
                found[name] = entry.default
        return found

    return check


def instance(cls: type, *, leave: Collection[str] = (), more: Schema | None = None) -> Check:
    """An object with the fields of a dataclass, as one; each value is checked by its type.

    The types are texts, numbers, flags, literals, tuples, mappings and dataclasses. Fields with a
    default may be absent, unknown keys are refused. A ValueError of the class gets the key. Fields
    to `leave` are not in the file; `more` keys of it, such as its version, are no fields.
    """
    hints = get_type_hints(cls)
    schema: dict[str, Check] = dict(more or {})
    for entry in fields(cls):
        if entry.name not in leave:
            item = _check_of(hints[entry.name])
            needed = entry.default is MISSING and entry.default_factory is MISSING
            schema[entry.name] = item if needed else optional(item, OMIT, null=False)
    read = record(schema, strict=True)

    def check(value: Any, key: str) -> Any:
        entries = read(value, key)
        try:
            return cls(**{name: entries[name] for name in entries if name not in (more or ())})
        except ValueError as error:
            raise ValueError(f"{key}: {error}" if key else str(error)) from error

    return check


def _check_of(hint: Any) -> Check:
    kinds = {str: text(), int: integer(-(2**62)), float: number(), bool: flag, Any: any_json}
    if hint in kinds:
        return kinds[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return instance(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return choice(*inner)
    if origin is tuple:
        return listing(_check_of(inner[0]), most=ITEMS if inner[-1] is ... else len(inner))
    if origin is UnionType:
        return nullable(_check_of(inner[0]))
    return mapping(_check_of(inner[1]))


def nullable(item: Check) -> Check:
    """What may be null."""
    return lambda value, key: None if value is None else item(value, key)


OMIT = object()
"""A default for `optional`: the record then lacks the absent key."""


def optional(item: Check, default: Any = None, *, null: bool = True) -> Check:
    """What may be absent, and null unless `null` is false; then it is the default."""
    return _Optional(item, default, null)


@dataclass(frozen=True)
class _Optional:
    item: Check
    default: Any
    null: bool

    def __call__(self, value: Any, key: str) -> Any:
        return self.default if value is None and self.null else self.item(value, key)


def any_json(value: Any, key: str) -> Any:
    """A check that accepts any JSON value."""
    del key
    return value


def read_json(
    path: Path, check: Check, *, error: type[ZooError], advice: str, limit: int = LIMIT
) -> Any:
    """The checked content of a JSON file of at most `limit` bytes.

    Raises:
        ZooError: of the given kind, one line that names the file, the key and what was expected,
            and ends in the advice.

    Example:
        >>> schema = record({"name": text(), "share": number(0, 1), "note": optional(text(), "")})
        >>> read_json(Path("card.json"), schema, error=ZooError, advice="Write it again.")
    """

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not a number in JSON")

    try:
        content = read_regular_file(path, limit)
        return check(json.loads(content, parse_constant=refuse), "")
    except FileNotFoundError as why:
        raise error(f"{path} does not exist. {advice}") from why
    except OSError as why:
        raise error(f"{path} cannot be read: {why.strerror or why}. {advice}") from why
    except (ValueError, RecursionError) as why:
        raise error(f"{path} is not valid: {why}. {advice}") from why


def read_regular_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; a pipe or device is refused.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, or not a regular file.
    """
    # without blocking: opening a named pipe for reading would wait for a writer
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is larger than {limit / 1e6:.0f} MB")
    return content


def write_json(path: Path, document: Any) -> None:
    """Write a document as UTF-8, atomically, with a line break at its end.

    Raises:
        OSError: it cannot be written; what was there before is still there.
        ValueError: it holds a number that is not finite.
    """
    content = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    # names of files may hold bytes that are not UTF-8: Python's escape of them is JSON's too
    write_atomic(path, (content + "\n").encode("utf-8", "backslashreplace"))


def _join(key: str, name: str) -> str:
    shown = name if name.isprintable() else repr(name)
    return f"{key}.{shown[:80]}" if key else shown[:80]


def _within(kind: str, low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return kind
    if math.isinf(high) or high >= 2**62:
        return f"{kind} of {low} or more"
    return f"{kind} between {low} and {high}"


def _unexpected(key: str, expected: str, value: Any) -> ValueError:
    shown = repr(value)
    more = "..." * (len(shown) > 60)
    return ValueError(f"{key or 'document'}: expected {expected}, found {shown[:60]}{more}")
