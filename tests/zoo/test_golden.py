"""Golden embeddings: the two images, and how far apart embeddings are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.toys import build_teacher
from zoo.system import devices
from zoo.teachers.loading import load_teacher
from zoo.teachers.verify import TOLERANCE, distance, draw_images, embed_images


@pytest.mark.parametrize("size", [8, 31, 224])
def test_the_two_images_fill_the_input_and_differ(size):
    one, other = draw_images(size)
    assert one.shape == other.shape == (3, size, size)
    assert one.dtype == np.uint8
    assert np.abs(one.astype(int) - other).mean() > 20
    assert all(np.ptp(image) > 100 for image in (one, other))


def test_the_images_are_the_same_picture_at_any_size():
    small, large = draw_images(33), draw_images(65)
    assert np.abs(large[:, :, ::2, ::2].astype(int) - small).max() <= 1


def test_the_images_tell_channels_directions_and_mirrors_apart():
    images = draw_images(32).astype(int)
    for other in (
        images[:, ::-1],
        images[:, [1, 0, 2]],
        images[:, :, ::-1],
        images[:, :, :, ::-1],
        images.transpose(0, 1, 3, 2),
    ):
        gaps = np.abs(images - other).mean(axis=(1, 2, 3))
        assert gaps.max() > 10


def test_the_images_never_change():
    """Golden embeddings lie in cards: with other images none of them would hold."""
    sheet, rings = draw_images(9)
    assert sheet[:, 0, 0].tolist() == [0, 0, 255]
    assert sheet[:, 8, 4].tolist() == [128, 255, 128]
    assert rings[2].tolist() == [[64] * 9] * 9
    # (1 + cos(8 pi hypot(0.5 - 0.5, 1 - 0.3))) / 2 at the middle of the right edge
    assert rings[0, 4, 8] == round(255 * (1 + np.cos(8 * np.pi * 0.7)) / 2)


def test_distance_is_relative_and_that_of_the_worse_image():
    golden = np.array([[3, 4], [0, 10]], dtype=np.float32)
    assert distance(golden, golden) == 0
    assert distance(golden * 1.1, golden) == pytest.approx(0.1, rel=1e-4)
    moved = golden + np.array([[0, 0.05], [0, 3]], dtype=np.float32)
    assert distance(moved, golden) == pytest.approx(0.3, rel=1e-4)
    assert distance(golden[::-1], golden) > 0.5


def test_embeddings_of_another_shape_are_as_far_as_can_be():
    golden = np.ones((2, 3), dtype=np.float32)
    assert distance(np.ones((2, 4), dtype=np.float32), golden) == float("inf")
    assert distance(np.ones((1, 3), dtype=np.float32), golden) == float("inf")
    assert distance(golden, ((1.0, 2.0, 3.0), (1.0,))) == float("inf")
    assert distance(golden, (("a", "b", "c"),) * 2) == float("inf")
    assert distance(golden, ((float("nan"),) * 3,) * 2) == float("inf")
    assert np.isfinite(distance(golden, np.zeros((2, 3), dtype=np.float32)))


def test_embeddings_are_those_of_the_network_in_float32_on_any_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    teacher = load_teacher(build_teacher(tmp_path / "fly", "fly"))
    network, look = teacher.network, teacher.card.input
    x = torch.from_numpy(draw_images(look.size)).float() / 255
    x = (x - 0.5) / 0.5
    with torch.no_grad():
        maps = network.forward_features(x)  # pyright: ignore
        expected = network.forward_head(maps, pre_logits=True).numpy()  # pyright: ignore
    assert np.allclose(embed_images(teacher).embeddings, expected, rtol=1e-4, atol=1e-5)


def test_swapped_channels_and_other_statistics_are_beyond_the_tolerance(tmp_path):
    teacher = load_teacher(build_teacher(tmp_path / "fly", "fly"))
    golden = embed_images(teacher).embeddings
    shape = teacher.card.input
    for change in ({"channels": "bgr"}, {"mean": (0.3, 0.5, 0.5)}, {"std": (0.5, 0.7, 0.5)}):
        card = replace(teacher.card, preprocessing=replace(shape, **change))
        found = embed_images(replace(teacher, card=card)).embeddings
        assert distance(found, golden) > TOLERANCE, change
