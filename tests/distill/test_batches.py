"""Batches: what is in them, in which order, and what views do to an image."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from distill.recipe import Recipe
from distill.training import batches as module
from distill.training.batches import (
    OPERATIONS,
    Batches,
    log_prior,
    repeat_rare,
    strong_view,
    weak_view,
)

RECIPE = Recipe(updates=9, labeled_batch=4, unlabeled_batch=6, seed=3)
STILL = replace(RECIPE, min_area=1.0, color=0.0, flip=False)


def noise(count=10, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


LABELS = torch.tensor([0, 1, -1, 2, -1, 0, 1, -1, 2, 0])


def make(recipe=RECIPE, unlabeled=True, strong=True, pixels=None):
    shown = noise() if pixels is None else pixels
    return Batches(shown, LABELS, recipe, unlabeled=unlabeled, strong=strong)


def same(one, other):
    return all(
        torch.equal(getattr(one, k), getattr(other, k)) for k in ("images", "labels", "rows")
    )


def test_a_batch_depends_on_the_seed_and_its_number_alone():
    fresh, used = make(), make()
    for step in range(5):
        used[step]
    torch.manual_seed(99)
    assert same(fresh[5], used[5])
    assert not same(fresh[5], fresh[6])
    assert not same(make(replace(RECIPE, seed=4))[5], fresh[5])


def test_batches_ahead_are_the_same_from_any_start():
    every = dict(make().prefetch(0))
    assert list(every) == list(range(9))
    late = dict(make().prefetch(6))
    assert list(late) == [6, 7, 8]
    assert all(same(batch, every[step]) for step, batch in late.items())


def test_every_image_comes_once_before_any_comes_again():
    batches = make()
    rows = torch.cat([batches[step].rows for step in range(5)]).tolist()
    assert [Counter(rows[k : k + 10]) == Counter(range(10)) for k in (0, 10, 20)] == [True] * 3
    assert rows[:10] != rows[10:20]


def test_every_labeled_image_comes_once_before_any_comes_again():
    # each image has a color of its own, so that a still view gives it away
    pixels = (torch.arange(10) * 20).to(torch.uint8)[:, None, None, None].expand(10, 3, 8, 8)
    batches = make(STILL, unlabeled=False, strong=False, pixels=pixels)
    seen, labels = [], []
    for step in range(7):
        batch = batches[step]
        seen += (batch.images[:, 0, 4, 4] * 255 / 20).round().int().tolist()
        labels += batch.labels.tolist()
    assert labels == LABELS[seen].tolist()
    labeled = [0, 1, 3, 5, 6, 8, 9]
    assert all(sorted(seen[k : k + 7]) == labeled for k in range(0, 28, 7))


def test_images_of_rare_classes_come_more_often():
    labels = torch.tensor([0] * 18 + [1] * 2 + [-1] * 5)

    def drawn(balance):
        return Counter(labels[repeat_rare(labels, balance)].tolist())

    assert drawn(0.0) == {0: 18, 1: 2}
    assert drawn(0.5) == {0: 18, 1: 6}
    assert drawn(1.0) == {0: 18, 1: 18}
    recipe = replace(STILL, class_balance=1.0, labeled_batch=18)
    batches = Batches(noise(25), labels, recipe, unlabeled=False, strong=False)
    assert torch.cat([batches[step].labels for step in range(2)]).sum() == 18


def test_the_prior_is_that_of_the_images_drawn():
    labels = torch.tensor([0] * 18 + [1] * 2 + [-1] * 5)
    assert log_prior(labels, 2, 0.5).exp().tolist() == pytest.approx([1, 1 / 3])
    assert log_prior(labels, 2, 1.0).tolist() == [0, 0]
    assert log_prior(torch.tensor([0, 1, -1]), 3, 0.5).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("unlabeled", "strong", "count"), [(False, False, 4), (True, False, 10), (True, True, 16)]
)
def test_a_batch_has_labeled_weak_and_strong_views_in_this_order(unlabeled, strong, count):
    batch = make(unlabeled=unlabeled, strong=strong)[0]
    assert batch.images.shape == (count, 3, 16, 16)
    assert batch.images.dtype == torch.float32
    assert float(batch.images.min()) >= 0
    assert float(batch.images.max()) <= 1
    assert batch.labels.shape == (4,)
    assert batch.rows.shape == (6 if unlabeled else 0,)


def test_weak_views_show_the_target_images_of_the_rows():
    pixels = noise()
    batch = make(STILL, strong=False, pixels=pixels)[2]
    assert torch.allclose(batch.images[4:], pixels[batch.rows] / 255, atol=1e-4)


def test_images_come_in_the_order_of_one_shuffle_after_the_other():
    def shuffle(turn):
        return torch.randperm(
            10, generator=module.make_generator(3, module.UNLABELED, turn)
        ).tolist()

    rows = torch.cat([make()[step].rows for step in range(5)]).tolist()
    assert rows == shuffle(0) + shuffle(1) + shuffle(2)


def test_images_are_warped_as_torch_does_it():
    images = noise(5).float()
    matrix = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(1)) / 2
    grid = affine_grid(matrix[:, :2], [5, 3, 16, 16], align_corners=False)
    expected = grid_sample(images, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(module._warp(images, matrix), expected, atol=0.01)


def test_a_tint_is_brightness_then_contrast_then_color():
    images, factors = noise(5) / 255, torch.linspace(0.4, 1.6, 15).view(3, 5)
    bright = images * factors[0][:, None, None, None]
    expected = module._blend(module._blend(bright, (1, 2, 3), factors[1]), (1,), factors[2])
    assert torch.allclose(module._tint(images, *factors), expected, atol=1e-5)


def view(pixels, recipe, kind=weak_view, seed=0):
    return kind(pixels, recipe, torch.Generator().manual_seed(seed))


def test_a_still_weak_view_is_the_image():
    pixels = noise()
    assert torch.allclose(view(pixels, STILL), pixels / 255, atol=1e-4)


def test_a_flipping_view_mirrors_about_half_of_the_images_and_only_if_asked():
    pixels = noise(60)
    shown = view(pixels, replace(STILL, flip=True))
    as_is = (shown - pixels / 255).abs().amax(dim=(1, 2, 3)) < 1e-3
    mirrored = (shown - pixels.flip(3) / 255).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert (as_is ^ mirrored).all()
    assert 15 < int(mirrored.sum()) < 45


def test_a_smaller_area_crops_and_color_changes_the_brightness():
    pixels = torch.full((20, 3, 16, 16), 128, dtype=torch.uint8)
    level = view(pixels, replace(STILL, color=0.4)).mean(dim=(1, 2, 3)) / (128 / 255)
    assert 0.59 < float(level.min()) < 0.8
    assert 1.2 < float(level.max()) < 1.41
    ramp = torch.arange(0, 256, 16, dtype=torch.uint8).expand(20, 3, 16, 16)
    shown = view(ramp, replace(STILL, min_area=0.25))
    width = shown[:, 0, 0, -1] - shown[:, 0, 0, 0]
    assert float(width.min()) < 0.75
    assert float(width.max()) > 0.8


def only(monkeypatch, name, amount):
    """Strong views with one operation at one strength, then the identity, and no cut-out."""
    places = iter([OPERATIONS.index(name), OPERATIONS.index("identity")])
    crop = module._crop_matrix

    def choose(high, shape, generator):
        return torch.stack([torch.full((shape[1],), next(places)) for _ in range(2)])

    def spread(shape, generator):
        return torch.full(shape, float(amount))

    class Quiet:
        """torch, but for the draws of `strong_view`."""

        def __getattr__(self, attribute):
            return getattr(torch, attribute)

        randint = staticmethod(choose)

        @staticmethod
        def rand(*shape, generator):
            return torch.zeros(*shape)

    monkeypatch.setattr(module, "torch", Quiet())
    monkeypatch.setattr(module, "_crop_matrix", lambda n, *_: torch.eye(3).repeat(n, 1, 1))
    monkeypatch.setattr(module, "_uniform", spread)
    return crop


def strong(monkeypatch, pixels, name, amount):
    only(monkeypatch, name, amount)
    return strong_view(pixels, STILL, torch.Generator())


def test_the_identity_leaves_the_image_alone(monkeypatch):
    pixels = noise(3)
    shown = strong(monkeypatch, pixels, "identity", 0.7)
    assert torch.allclose(shown, pixels / 255, atol=1e-4)


def test_solarize_inverts_the_bright_values(monkeypatch):
    pixels = noise(3)
    shown = strong(monkeypatch, pixels, "solarize", -0.5)  # from 1 - 0.9 / 2 on
    values = pixels / 255
    assert torch.allclose(shown, torch.where(values < 0.55, values, 1 - values), atol=1e-4)


def test_rotate_turns_by_up_to_thirty_degrees(monkeypatch):
    pixels = torch.zeros(1, 3, 65, 65, dtype=torch.uint8)
    pixels[..., 32, 52:55] = 255  # a spot, 21 pixels to the right of the center
    shown = strong(monkeypatch, pixels, "rotate", 1)[0, 0]
    y, x = divmod(int(shown.argmax()), 65)
    assert abs(x - 32 - 21 * 0.866) < 1.6
    assert abs(abs(y - 32) - 21 * 0.5) < 1.6


@pytest.mark.parametrize(("name", "axis"), [("translate_x", 3), ("translate_y", 2)])
def test_translate_moves_by_up_to_three_twentieths_of_the_side(monkeypatch, name, axis):
    pixels = noise(2, size=40)
    shown = strong(monkeypatch, pixels, name, 1)  # 0.3 of half a side: 6 of 40 pixels
    moved, still = shown.narrow(axis, 0, 34), (pixels / 255).narrow(axis, 6, 34)
    assert torch.allclose(moved, still, atol=1e-3)


@pytest.mark.parametrize(("name", "axis"), [("shear_x", 3), ("shear_y", 2)])
def test_shear_moves_opposite_sides_in_opposite_directions(monkeypatch, name, axis):
    pixels = torch.zeros(1, 3, 41, 41, dtype=torch.uint8)
    pixels.narrow(axis, 20, 1).fill_(255)  # a line through the center
    line = strong(monkeypatch, pixels, name, 1)[0, 0].argmax(dim=axis - 2).float()
    assert abs(float(line[20]) - 20) < 1
    assert abs(abs(float(line[0]) - 20) - 6) < 1.5
    assert abs(float(line[0] + line[40]) - 40) < 1.5


def test_brightness_scales_and_autocontrast_stretches(monkeypatch):
    pixels = noise(2) // 2 + 20
    values = pixels / 255
    shown = strong(monkeypatch, pixels, "brightness", 0.2)
    assert torch.allclose(shown, (values * 1.18).clamp(0, 1), atol=1e-4)
    monkeypatch.undo()
    shown = strong(monkeypatch, pixels, "autocontrast", 0.2)
    assert shown.amin(dim=(2, 3)).abs().max() < 1e-3
    assert (shown.amax(dim=(2, 3)) - 1).abs().max() < 1e-3


def test_color_at_full_strength_down_is_nearly_gray(monkeypatch):
    values = noise(2) / 255
    shown = strong(monkeypatch, noise(2), "color", -1)
    gray = values.mean(dim=1, keepdim=True)
    assert torch.allclose(shown, gray + 0.1 * (values - gray), atol=1e-3)


def test_posterize_leaves_few_values_and_contrast_keeps_the_mean(monkeypatch):
    shown = strong(monkeypatch, noise(1), "posterize", -1)
    assert len(shown.unique()) <= 6
    monkeypatch.undo()
    pixels = noise(1) // 2 + 64
    shown = strong(monkeypatch, pixels, "contrast", -0.5)
    assert float(shown.mean()) == pytest.approx(float(pixels.float().mean() / 255), abs=1e-3)
    assert float(shown.std() / (pixels / 255).std()) == pytest.approx(0.55, abs=0.01)


def test_strong_views_use_every_operation_and_hide_a_square():
    pixels = torch.full((200, 3, 16, 16), 255, dtype=torch.uint8)
    shown = view(pixels, STILL, strong_view)
    hidden = (shown == 0.5).all(dim=1).flatten(1).sum(dim=1)
    assert 0 < int((hidden > 0).sum()) <= 200
    assert int(hidden.max()) <= (16 / 2 + 1) ** 2
    assert shown.shape == (200, 3, 16, 16)


def test_no_two_random_streams_are_one():
    first = {
        (seed, stream, index): torch.rand(
            1, generator=module.make_generator(seed, stream, index), dtype=torch.float64
        ).item()
        for seed in range(2)
        for stream in range(5)
        for index in range(200)
    }
    assert len({*first.values()}) == len(first)
