"""A user of the fixture Hub: the `zoo` command in processes of its own, with caches of its own.

The HF_* variables are read when huggingface_hub is imported, so they need another process.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.hub_server import HubServer
from tests.support.worlds import Ran
from zoo.teachers.card import CARD_FORMAT, TeacherCard

ROOT = Path(__file__).parents[2]

DRIVER = """
import importlib, json, pathlib, sys
for name, value in json.loads(sys.argv.pop(1)).items():
    module, name = name.rsplit(".", 1)
    module = importlib.import_module(module)
    old = getattr(module, name)
    setattr(module, name, type(old)(value))
from cli.zoo_app import main
sys.argv[0] = "zoo"
main()
"""
"""Runs the command, after setting some names: {"zoo.teachers.catalogue.CATALOGUE": "file"}."""


class User:
    """Somebody who has this Hub and no other.

    Attributes:
        env: of the processes.
        names: what modules hold otherwise; waits are short.
        limit: a command of the shell before it, such as `ulimit -f 9; `.
    """

    def __init__(self, hub: HubServer, home: Path) -> None:
        self.hub, self.home, self.cache = hub, home / "hf", home / "zoo"
        home.mkdir()
        self.env = hub.environment(self.home) | {
            "SOURCE_ZOO_CACHE": str(self.cache),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "400",
            "PYTHONPATH": str(ROOT),
        }
        self.names: dict[str, Any] = {"zoo.hub.retry.WAITS": (0.05, 0.1, 0.2)}
        self.limit = ""

    def catalogue(self, path: Path, cards: Sequence[TeacherCard]) -> None:
        """Have these cards for the Hub's catalogue."""
        said = {"format": CARD_FORMAT, "teachers": [card.to_json() for card in cards]}
        path.write_text(json.dumps(said))
        self.names["zoo.teachers.catalogue.CATALOGUE"] = str(path)

    def start(self, *words: str | Path, **env: str) -> subprocess.Popen[str]:
        """The command, running."""
        run = [sys.executable, "-W", "error", "-c", DRIVER, json.dumps(self.names)]
        return subprocess.Popen(
            ["/bin/sh", "-c", f'{self.limit}exec "$@"', "zoo", *run, *map(str, words)],
            env=self.env | env,
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def zoo(self, *words: str | Path, **env: str) -> Ran:
        """How the command ended; it must not have hung."""
        with self.start(*words, **env) as run:
            try:
                out, err = run.communicate(timeout=120)
            finally:
                run.kill()
        assert "Traceback" not in err, err
        return Ran(run.returncode, out, err)

    def pull(self, *words: str | Path, **env: str) -> list[dict[str, Any]]:
        """The rows of `zoo pull --json`; it exits with 1 if and only if one failed."""
        ran = self.zoo("pull", *words, "--json", **env)
        assert ran.err == ""
        rows = json.loads(ran.out)
        assert ran.code == any(row["status"] == "failed" for row in rows)
        return rows

    def pull_one(self, name: str, **env: str) -> tuple[str, str]:
        """What became of one teacher, and why."""
        (row,) = self.pull(name, **env)
        assert (row["status"] == "failed") == bool(row["reason"])
        assert len(row["reason"].splitlines()) <= 1
        return row["status"], row["reason"]

    def folder(self, name: str) -> Path:
        """Where a teacher lies that was pulled."""
        return self.cache / "teachers" / name.replace("/", "--")

    def bytes_of(self, name: str) -> bytes:
        """The weights of a teacher that was pulled."""
        return (self.folder(name) / "model.safetensors").read_bytes()

    @property
    def parts(self) -> list[Path]:
        """Half files in the Hub's cache."""
        return sorted(self.home.rglob("*.incomplete"))

    def ranges(self, name: str) -> list[str]:
        """The Range of every request for the bytes of weights."""
        wanted = [call for call in self.hub.log if call.name == name and call.method == "GET"]
        return [call.range for call in wanted if call.file.endswith((".safetensors", ".bin"))]


def raw_repository(root: Path, name: str, *, size: int = 50_000, seed: int = 0) -> Path:
    """A repository in timm's layout whose weights are noise: quick, for whom nothing loads."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    look = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3}
    said = {"architecture": "test_resnet", "num_classes": 2, "pretrained_cfg": look}
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "model.safetensors").write_bytes(np.random.default_rng(seed).bytes(size))
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n\nNoise.\n")
    return folder
