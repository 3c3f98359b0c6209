"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Sequence


def join_names(names: Sequence[str], most: int | None = None) -> str:
    """`a, b and c`; of more than `most` the others are counted.

    Example:
        >>> join_names(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    if most is not None and len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def join_few(names: Sequence[str]) -> str:
    """The first names, and an ellipsis if there are more."""
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
