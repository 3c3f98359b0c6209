"""Numbers that callers pass: those of NumPy become Python's, what is none is refused by name."""

from __future__ import annotations

from dataclasses import fields
from operator import index
from typing import Any

KINDS = {"int": (index, "whole"), "float": (float, "real")}
"""By a field's type: what makes a value a number, and what it is in words."""


def convert_numbers(settings: Any) -> None:
    """Make all `int` and `float` fields of a frozen dataclass numbers of Python; None stays.

    Else a seed of `np.arange` could neither be saved as JSON nor have the hash of the same number.

    Raises:
        ValueError: one is not whole, or no number at all; the message names it.
    """
    for each in fields(settings):
        value: Any = getattr(settings, each.name)
        convert, kind = KINDS.get(str(each.type).removesuffix(" | None"), (None, ""))
        if convert is None or value is None:
            continue
        try:
            number = convert(value)
        except (TypeError, ValueError):
            number = None
        if number is None or isinstance(value, bool | str):
            raise ValueError(f"{each.name} is {value!r}: must be a {kind} number")
        object.__setattr__(settings, each.name, number)
