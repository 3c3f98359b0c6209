"""A check of images as a page: the images found, to look at, from the check's JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.report.html import picture, render_page
from distill.report.ranking_page import list_shares
from zoo import __version__

MOST = 60
"""Images or groups that a section shows; all are in the JSON file."""
COPIES_SHOWN = 6
"""Of one picture."""
KINDS = {
    "bytes": "equal files",
    "pixels": "equal pixels",
    "near": "nearly equal",
}
TITLES = {
    "label_errors": "Probable label errors",
    "leaks": "Test images in the training folder",
    "copies": "Copies",
    "alike": "Classes hard to tell apart",
    "outliers": "Images unlike all others",
    "odd": "Small and unreadable images",
    "suggestions": "Label these next",
    "counts": "Labels by class",
}

Picture = Mapping[str, Any]
"""An image to show: its base64, its path and the lines of its caption."""


def check_page(check: Mapping[str, Any], *, command: str) -> str:
    """A whole page of a check, as `zoo check --json` shows it, with the command that made it."""
    first, *details = check["sentences"]
    folder = Path(os.path.normpath(check["target"]))
    pictures = _galleries(check)
    found = {key: entries for key, entries in pictures.items() if entries}
    filled = {**found, "alike": check["alike"], "counts": check["counts"]}
    return render_page(
        {
            "kind": "check of images",
            "heading": f"Images of {'/'.join(folder.parts[-2:])}",
            "verdict": _verdict(check),
            "lead": first,
            "details": details,
            "notes": check["notes"],
            "facts": {
                "Images": check["images"],
                "Labeled images": check["labeled"],
                "Classes": len(check["counts"]),
                "Teachers": list_shares(check["teachers"]),
            },
            "sections": {
                **{key: title for key, title in TITLES.items() if filled.get(key)},
                "again": "Reproduce",
            },
            "check": check,
            "galleries": pictures,
            "most": MOST,
            "largest": max(check["counts"].values(), default=0),
            "command": command,
            "origin": {"source-zoo": __version__, "image folder": str(folder)},
            "next": "All findings are in the JSON file of the check. Nothing was changed: correct "
            "labels by moving images or with --labels.",
        }
    )


def _verdict(check: Mapping[str, Any]) -> str:
    """What there is to do, in a sentence."""
    work = {
        "label{s} to verify": len(check["label_errors"]),
        "picture{s} with contradicting labels": sum(c["contradicts"] for c in check["copies"]),
        "test image{s} to remove": len({leak["test"] for leak in check["leaks"] or ()}),
        "picture{s} more than once": sum(not c["contradicts"] for c in check["copies"]),
        "unusual image{s}": len(check["outliers"]),
        "small image{s}": len(check["small"]),
        "unreadable file{s}": len(check["unreadable"]),
    }
    parts = [f"{n} {what.format(s='s' * (n > 1))}" for what, n in work.items() if n]
    return f"To look at: {', '.join(parts)}." if parts else "Nothing wrong was found."


def _galleries(check: Mapping[str, Any]) -> dict[str, list[Picture]]:
    """Pictures of each section that has them, `MOST` at most."""
    return {
        "label_errors": [
            _picture(row["path"], row["label"], f"looks like {row['suggestion']}",
                     f"{row['wrong']:.0%} likely wrong")
            for row in check["label_errors"][:MOST]
        ],
        "leaks": [
            {"group": [_picture(row["test"], row["labels"][0] or "unlabeled", "test"),
                       _picture(row["path"], row["labels"][1] or "unlabeled", "training")],
             "kind": KINDS[row["kind"]]}
            for row in (check["leaks"] or ())[:MOST]
        ],
        "copies": [
            {"group": [_picture(path, label or "unlabeled") for path, label in
                       zip(row["paths"][:COPIES_SHOWN], row["labels"], strict=False)],
             "kind": f"{KINDS[row['kind']]}, {len(row['paths'])} images"
             + ", different labels" * row["contradicts"]}
            for row in check["copies"][:MOST]
        ],
        "outliers": [_picture(path, Path(path).parent.name) for path in check["outliers"][:MOST]],
        "odd": [
            *(_picture(path, f"{side} px") for path, side in check["small"][:MOST]),
            *(_picture(path, "unreadable", why) for path, why in check["unreadable"][:MOST]),
        ],
        "suggestions": [
            _picture(row["path"], f"{row['guess']}?", f"{row['probability']:.0%} likely")
            if row["guess"]
            else _picture(row["path"])
            for row in check["suggestions"][:MOST]
        ],
    }  # fmt: skip


def _picture(path: str, *lines: str) -> Picture:
    return {"content": picture(Path(path)), "path": Path(path), "lines": lines}
