"""Curves of TensorBoard, read back with its own reader, of W&B and of MLflow."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.training.tracking import Tracking, open_trackers
from tests.support.worlds import snapshot


def read_curves(folder):
    """Every curve in a folder of event files: its name, and values by step."""
    reader = EventAccumulator(str(folder)).Reload()
    return {
        name: {event.step: event.value for event in reader.Scalars(name)}
        for name in reader.Tags()["scalars"]
    }


def stop_half_way(folder):
    with open_trackers(Tracking(folder)) as record:
        assert record
        record({"update": 10, "rate": 0.5, "labels": 2.0})
        raise KeyboardInterrupt


def test_the_curves_are_those_of_the_history_beside_the_student(transfer):
    ran = transfer("--updates", 23, "--tensorboard", "curves")
    assert ran.code == 0, ran.err
    history = [json.loads(line) for line in Path("student/metrics.jsonl").read_text().splitlines()]
    assert read_curves("curves") == {
        tag: {entry["update"]: pytest.approx(entry[name], rel=1e-6) for entry in history}
        for tag, name in {"loss/labels": "labels", "rate": "rate"}.items()
    }


def test_what_was_recorded_can_be_read_although_the_run_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(tmp_path / "new/curves")
    assert read_curves(tmp_path / "new/curves") == {"loss/labels": {10: 2.0}, "rate": {10: 0.5}}


def test_without_a_folder_there_is_no_event_file_and_nothing_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with open_trackers(Tracking()) as record:
        assert record is None


def test_without_tensorboard_one_line_names_what_to_install(transfer, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    line = transfer("--tensorboard", "curves").mistake
    assert "--tensorboard needs TensorBoard: pip install 'source-zoo[tensorboard]'" in line
    assert list(Path().iterdir()) == []


def test_curves_are_never_written_among_images_or_over_a_file(transfer, imgs, tmp_path):
    before = snapshot(imgs)
    assert "choose another --tensorboard" in transfer("--tensorboard", imgs / "red/new").mistake
    assert snapshot(imgs) == before
    Path("file").write_text("mine")
    line = transfer("--tensorboard", "file").mistake
    assert line.startswith("Error: file: ")
    assert "Choose another --tensorboard" in line
    assert [path.name for path in Path().iterdir()] == ["file"]


class FakeRun:
    """A run of W&B: what was logged, and whether it ended well."""

    def __init__(self, **given):
        self.given, self.logged, self.ended = given, {}, None

    def log(self, values, step):
        self.logged[step] = values

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.ended = kind


@pytest.fixture
def fake_wandb(monkeypatch):
    runs = []

    def init(**given):
        runs.append(FakeRun(**given))
        return runs[-1]

    module = SimpleNamespace(init=init, Settings=lambda **given: given)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return runs


def history():
    return [json.loads(line) for line in Path("student/metrics.jsonl").read_text().splitlines()]


def test_wandb_gets_the_history_and_the_settings(transfer, fake_wandb):
    assert transfer("--wandb", "birds", "--lr", 0.002).code == 0
    (run,) = fake_wandb
    assert run.given["project"] == "birds"
    assert run.given["config"]["method"] == "transfer"
    assert run.given["config"]["learning_rate"] == 0.002
    assert run.logged == {
        entry["update"]: {"loss/labels": entry["labels"], "rate": entry["rate"]}
        for entry in history()
    }
    assert run.ended is None


def test_mlflow_gets_the_history_and_the_settings(transfer, monkeypatch):
    seen = {}
    module = SimpleNamespace(
        set_experiment=lambda name: seen.update(experiment=name),
        start_run=FakeRun,
        log_params=seen.update,
        log_metrics=lambda values, step: seen.update({step: values}),
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    assert transfer("--mlflow", "birds").code == 0
    assert (seen["experiment"], seen["method"], seen["updates"]) == ("birds", "transfer", 2)
    (entry,) = history()
    assert seen[2] == {"loss/labels": entry["labels"], "rate": entry["rate"]}


def test_a_tracker_that_cannot_start_is_one_line(transfer, monkeypatch):
    def refuse(**_):
        raise RuntimeError("no API key\nmore")

    module = SimpleNamespace(init=refuse, Settings=lambda **given: given)
    monkeypatch.setitem(sys.modules, "wandb", module)
    assert "W&B cannot start a run (no API key)" in transfer("--wandb", "birds").mistake
    assert not Path("student").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_without_a_tracker_one_line_names_what_to_install(transfer, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    line = transfer(f"--{name}", "birds").mistake
    assert f"pip install 'source-zoo[{name}]'" in line


def test_several_and_a_function_get_the_same_entries(fake_wandb):
    seen = []
    with open_trackers(Tracking(wandb="birds", record=seen.append)) as record:
        assert record
        record({"update": 3, "rate": 0.5, "labels": 2.0})
    assert seen == [{"update": 3, "rate": 0.5, "labels": 2.0}]
    assert fake_wandb[0].logged == {3: {"rate": 0.5, "loss/labels": 2.0}}


@pytest.mark.filterwarnings("ignore")
def test_the_real_wandb_keeps_an_offline_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with open_trackers(Tracking(wandb="birds")) as record:
        assert record
        record({"update": 3, "rate": 0.5, "labels": 2.0})
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 1


@pytest.mark.filterwarnings("ignore")
def test_the_real_mlflow_keeps_the_curves_in_files(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with open_trackers(Tracking(mlflow="birds"), {"method": "probe"}) as record:
        assert record
        record({"update": 3, "rate": 0.5, "labels": 2.0})
    (run,) = mlflow.search_runs(experiment_names=["birds"], output_format="list")
    assert run.data.metrics == {"rate": 0.5, "loss/labels": 2.0}
    assert run.data.params == {"method": "probe"}
