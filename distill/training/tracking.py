"""Losses of a run for TensorBoard, Weights & Biases, MLflow or a function, while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.errors import StudentError, first_line

Record = Callable[[Mapping[str, float]], None]
"""Called with every new entry of a training history."""

FLUSH_SECONDS = 10


@dataclass(frozen=True)
class Tracking:
    """Where the losses of a training are reported; by default nowhere.

    Attributes:
        tensorboard: folder of an event file.
        wandb: project of Weights & Biases; WANDB_MODE=offline keeps the run on this machine.
        mlflow: experiment of MLflow, in the store of MLFLOW_TRACKING_URI.
        record: a function that is called with every entry of the history: `update`, `rate` and
            each loss.

    Example:
        >>> Tracking(record=print).wandb is None
        True
    """

    tensorboard: Path | None = None
    wandb: str | None = None
    mlflow: str | None = None
    record: Record | None = None

    def check(self) -> None:
        """Raise a StudentError if what is wanted is not installed."""
        for name, title in (
            ("tensorboard", "TensorBoard"),
            ("wandb", "Weights & Biases"),
            ("mlflow", "MLflow"),
        ):
            if getattr(self, name):
                try:
                    import_module(name)
                except ImportError as error:
                    raise StudentError(
                        f"--{name} needs {title}: pip install 'source-zoo[{name}]'."
                    ) from error


@contextmanager
def open_trackers(
    tracking: Tracking, about: Mapping[str, str | float] | None = None
) -> Iterator[Record | None]:
    """Open what is wanted, and yield one function that reports to all of it; None for nothing.

    `about` are settings of the run, which W&B and MLflow show beside it.

    Raises:
        StudentError: one of them cannot be opened.
    """
    with ExitStack() as stack:
        records = [tracking.record] if tracking.record else list[Record]()
        if tracking.tensorboard:
            records.append(stack.enter_context(_event_file(tracking.tensorboard)))
        if tracking.wandb:
            records.append(stack.enter_context(_wandb_run(tracking.wandb, dict(about or {}))))
        if tracking.mlflow:
            records.append(stack.enter_context(_mlflow_run(tracking.mlflow, dict(about or {}))))

        def record(entry: Mapping[str, float]) -> None:
            for each in records:
                each(entry)

        yield record if records else None


@contextmanager
def _event_file(folder: Path) -> Iterator[Record]:
    from torch.utils.tensorboard.writer import SummaryWriter

    try:
        writer = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
    except OSError as error:
        reason = error.strerror or error
        raise StudentError(f"{folder}: {reason}. Choose another --tensorboard.") from error
    with writer:

        def record(entry: Mapping[str, float]) -> None:
            for tag, value in _curves(entry).items():
                writer.add_scalar(tag, value, int(entry["update"]))

        yield record


@contextmanager
def _wandb_run(project: str, about: dict[str, Any]) -> Iterator[Record]:
    import wandb  # type: ignore

    try:
        run: Any = wandb.init(project=project, config=about, settings=wandb.Settings(silent=True))
    except Exception as error:  # of the network, the account, the settings
        raise StudentError(
            f"W&B cannot start a run ({first_line(error)}): log in, or set WANDB_MODE=offline."
        ) from error
    with run:
        yield lambda entry: run.log(_curves(entry), step=int(entry["update"]))


@contextmanager
def _mlflow_run(experiment: str, about: dict[str, Any]) -> Iterator[Record]:
    import mlflow  # type: ignore

    with ExitStack() as stack:
        try:
            mlflow.set_experiment(experiment)
            stack.enter_context(mlflow.start_run())
            mlflow.log_params(about)
        except Exception as error:  # of the network, the store, the settings
            raise StudentError(
                f"MLflow cannot start a run ({first_line(error)}): see MLFLOW_TRACKING_URI."
            ) from error
        yield lambda entry: mlflow.log_metrics(_curves(entry), step=int(entry["update"]))


def _curves(entry: Mapping[str, float]) -> dict[str, float]:
    """Values of a history entry by the names of their curves."""
    return {
        name if name == "rate" else f"loss/{name}": value
        for name, value in entry.items()
        if name != "update"
    }
