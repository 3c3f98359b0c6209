"""A temperature from held-out predictions, and a student whose probabilities have it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill.calibration import divide_logits, find_temperature
from distill.network import find_head
from distill.student import create_student

TINY = ("--arch", "test_resnet", "--start", "random", "--image-size", 32, "--updates", 3)


def draw_predictions(temperature, images=4000, classes=5, seed=0):
    """Probabilities of a student whose logits are too large by this factor, and true labels."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(images, classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) < rng.random((images, 1))).sum(axis=1)
    powers = np.exp(temperature * (logits - logits.max(axis=1, keepdims=True)))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_makes_a_student_too_certain_or_uncertain(truth):
    assert find_temperature(*draw_predictions(truth)) == pytest.approx(truth, rel=0.13)


def test_few_images_that_are_all_right_do_not_make_a_student_certain():
    rows = np.full((12, 3), 0.05, np.float32)
    labels = np.arange(12) % 3
    rows[np.arange(12), labels] = 0.9
    temperature = find_temperature(rows, labels)
    powers = rows[0] ** (1 / temperature)
    assert powers.max() / powers.sum() == pytest.approx(1 - 2 / 3 / 13, abs=0.02)


def test_logits_are_divided_by_the_classifier_of_the_network():
    network = create_student("test_resnet", 3, start="random").network.eval()
    find_head(network).bias.data += 1
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = network(images)
    divide_logits(network, 2.5)
    assert torch.allclose(network(images), before / 2.5, atol=1e-6)


def test_a_calibrated_student_is_the_same_with_a_classifier_divided_by_its_temperature(
    command, imgs, test_imgs
):
    words = ("distill", "--target", imgs, "--baseline", "transfer", "--test", test_imgs, *TINY)
    plain = command(*words, "--save", "plain", "--json").json
    scaled = command(*words, "--save", "scaled", "--calibrate", "--json").json
    assert plain["accuracy"] == scaled["accuracy"]
    configs = [json.loads(Path(name, "config.json").read_text()) for name in ("plain", "scaled")]
    temperature = configs[1]["temperature"]
    assert "temperature" not in configs[0]
    assert json.loads(Path("scaled/report.json").read_text())["temperature"] == temperature
    assert f"{temperature:.2f}, cross-validated" in Path("scaled/report.html").read_text()
    one, other = (load_file(f"{name}/model.safetensors") for name in ("plain", "scaled"))
    for name, value in one.items():
        factor = temperature if name.startswith("fc.") else 1.0
        assert torch.allclose(value.float(), other[name].float() * factor, rtol=2e-3, atol=1e-6)
    shown = command("eval", "scaled", "--target", test_imgs, "--json").json
    assert shown["accuracy"] == scaled["accuracy"]


def test_the_plan_counts_the_students_that_calibrate(command, imgs):
    words = ("distill", "--target", imgs, "--baseline", "transfer", *TINY, "--dry-run", "--json")
    counts = [
        next(step["count"] for step in command(*words, *more).json["steps"]
             if step["what"] == "train (transfer)")
        for more in ((), ("--calibrate",))
    ]  # fmt: skip
    assert counts == [3, 12]


def test_too_few_labels_to_calibrate_are_one_line_before_any_work(command, imgs):
    words = ("--baseline", "transfer", *TINY, "--calibrate", "--labels-per-class", 2)
    mistake = command("distill", "--target", imgs, *words).mistake
    assert "cross-validation needs 3: label more, or leave out --calibrate" in mistake
    assert not Path("student").exists()
