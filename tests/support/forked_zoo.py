"""The `zoo` command in processes of its own that start at once and can be killed.

They are forked from a server that has loaded torch and timm, so a run takes a second, not ten.
"""

import importlib
import multiprocessing
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.support.worlds import Ran

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "distill.pipeline",
        "cli.zoo_app",
        "distill.report.student_folder",
        "distill.training.loop",
        "zoo.features.controls",
    ]
)


def _run(user: "ForkedZoo", words: list[str]) -> None:
    """The command, in the new process."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(user.home / f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    os.chdir(user.home)
    os.environ["SOURCE_ZOO_CACHE"] = str(user.cache)
    main = importlib.import_module("cli.zoo_app")
    if user.number:
        # what reading options loads may lie where only root may read
        CliRunner().invoke(main.app, ["rank", "--target", "nowhere", "--probe", "1"])
        os.setgroups([])
        os.setgid(user.number)
        os.setuid(user.number)
    warnings.simplefilter("error")
    for name, value in user.names.items():
        module, name = name.rsplit(".", 1)
        where = importlib.import_module(module)
        assert hasattr(where, name), f"{module} has no {name}"
        setattr(where, name, value)
    sys.argv = ["zoo", *words]
    main.main()


class Running:
    """A command that runs."""

    def __init__(self, process: Any, home: Path) -> None:
        self.process, self.home = process, home

    def killed(self, seconds: float) -> bool:
        """Kill it after so many seconds; whether it was still running then."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        return self.end().code == -9

    def end(self) -> Ran:
        """How it ended; it must not hang, nor show a traceback."""
        self.process.join(600)
        self.process.kill()
        self.process.join()
        said = [self.home / f"{self.process.pid}.{name}" for name in ("out", "err")]
        out, err = (path.read_text() if path.exists() else "" for path in said)
        assert "Traceback" not in err, err
        return Ran(self.process.exitcode, out, err)


@dataclass(frozen=True)
class ForkedZoo:
    """Somebody with a folder to work in and a cache.

    Attributes:
        home: where the commands run; what they say is kept there.
        cache: their `SOURCE_ZOO_CACHE`.
        names: what modules hold otherwise: {"distill.training.checkpoint.EVERY_SECONDS": 0.0}.
        number: of the user in the system; 0 for that of the tests.
    """

    home: Path
    cache: Path
    names: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0

    def start(self, *words: object) -> Running:
        """The command, running."""
        self.home.mkdir(parents=True, exist_ok=True)
        process = FORKS.Process(target=_run, args=(self, [*map(str, words)]))
        process.start()
        return Running(process, self.home)

    def zoo(self, *words: object) -> Ran:
        """How the command ended."""
        return self.start(*words).end()
