"""The `zoo` command in processes of its own that start at once and can be killed.

They are forked from a server that has loaded torch and timm, so a run takes a second, not ten.
"""

import ctypes
import importlib
import multiprocessing
import os
import socket
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.worlds import Ran

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "cli.zoo_app",
        "distill.report.student_folder",
        "distill.training.loop",
        "zoo.features.controls",
    ]
)


def _settle(home: Path, environment: Mapping[str, str]) -> None:
    """Send what this process prints into files of its folder."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(home / f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    os.chdir(home)
    os.environ.update(environment)


def _drop_rights() -> None:
    """Give up what root may do: the mode of a file holds for its owner too.

    The user stays the same, so a clone or an environment in root's own home can still be read.
    """
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _run(user: "ForkedZoo", words: list[str], environment: Mapping[str, str]) -> None:
    """The command, in the new process."""
    _settle(user.home, {**environment, "SOURCE_ZOO_CACHE": str(user.cache)})
    if user.plain:
        _drop_rights()
    main = importlib.import_module("cli.zoo_app")
    warnings.simplefilter("error")
    for name, value in user.names.items():
        module, name = name.rsplit(".", 1)
        where = importlib.import_module(module)
        assert hasattr(where, name), f"{module} has no {name}"
        setattr(where, name, value)
    sys.argv = ["zoo", *words]
    main.main()


def _call(function: Callable[..., None], words: tuple[Any, ...], home: Path,
          environment: Mapping[str, str]) -> None:  # fmt: skip
    """A function, in the new process."""
    _settle(home, environment)
    function(*words)


def ranks(count: int) -> list[dict[str, str]]:
    """What torchrun puts into the environments of so many processes of one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(n), "LOCAL_RANK": str(n)} for n in range(count)]


def call_together(count: int, home: Path, function: Callable[..., None], *words: Any) -> None:
    """Call a function of a module in so many processes, as if torchrun had started them."""
    home.mkdir(parents=True, exist_ok=True)
    running: list[Running] = []
    for environment in ranks(count):
        process = FORKS.Process(target=_call, args=(function, words, home, environment))
        process.start()
        running.append(Running(process, home))
    for ran in [each.end() for each in running]:
        assert ran.code == 0, ran.err


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
        plain: without the rights of root, if the tests have them.
    """

    home: Path
    cache: Path
    names: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False

    def start(self, *words: object, environment: Mapping[str, str] | None = None) -> Running:
        """The command, running."""
        self.home.mkdir(parents=True, exist_ok=True)
        process = FORKS.Process(target=_run, args=(self, [*map(str, words)], environment or {}))
        process.start()
        return Running(process, self.home)

    def zoo(self, *words: object) -> Ran:
        """How the command ended."""
        return self.start(*words).end()

    def together(self, count: int, *words: object) -> Ran:
        """How the command ended in so many processes, as if torchrun had started them."""
        running = [self.start(*words, environment=each) for each in ranks(count)]
        ended = [each.end() for each in running]
        code = next((ran.code for ran in ended if ran.code), 0)
        return Ran(code, "".join(ran.out for ran in ended), "".join(ran.err for ran in ended))
