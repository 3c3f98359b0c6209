"""Curves for TensorBoard, read back with TensorBoard's own reader."""

import json
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.training.tensorboard import event_file
from tests.support.worlds import snapshot


def read_curves(folder):
    """Every curve in a folder of event files: its name, and values by step."""
    reader = EventAccumulator(str(folder)).Reload()
    return {
        name: {event.step: event.value for event in reader.Scalars(name)}
        for name in reader.Tags()["scalars"]
    }


def stop_half_way(folder):
    with event_file(folder) as record:
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
    with event_file(None) as record:
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
