"""What tests of commands share: how a run ended, snapshots of folders, what was saved."""

import json
from dataclasses import dataclass
from pathlib import Path

TINY = ("--arch", "test_resnet", "--start", "random")
EACH = 10.0
"""Seconds of an update at 64 px in `world`."""


@dataclass(frozen=True)
class Ran:
    """How a run of the command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Stdout as the one document that it has to be."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def mistake(self):
        """The one line on stderr of a mistake of the user's."""
        assert (self.code, self.out) == (1, ""), (self.out, self.err)
        (line,) = self.err.splitlines()
        assert line.startswith("Error: ")
        return line


def steps(shown):
    """The steps of a plan, by what they are."""
    return {step["what"]: step for step in shown["steps"]}


def snapshot(folder: Path):
    """Every file below a folder, with its content and time."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def saved(name="student"):
    """The report beside a student."""
    return json.loads((Path(name) / "report.json").read_text())


def weights(name="student"):
    """The weights of a student."""
    return Path(name, "model.safetensors").read_bytes()
