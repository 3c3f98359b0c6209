"""The index over fingerprints against a literal loop; centers; the file."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from selection import shortlist as module
from selection.index import build_index, find_centers, pack_index, unit_rows, unpack_index
from selection.shortlist import Shortlist, Target, build_shortlist, choose_nearby


def draw_rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def draw_zoo(teachers, width=16, seed=0):
    """Clusters of prototypes around places of their own; teacher t has 1 + t % 4 of them."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(teachers, width))
    return {
        f"t{t}": unit_rows(place + 0.4 * rng.normal(size=(1 + t % 4, width))).astype(np.float16)
        for t, place in enumerate(places)
    }


def literal_closeness(zoo, target):
    scores = {}
    for name, prototypes in zoo.items():
        scores[name] = 0.0
        near = prototypes.astype(np.float32) @ target.centers.T
        for part, share in enumerate(target.shares):
            scores[name] += share * max(near[:, part])
    return scores


def test_the_search_equals_a_literal_loop():
    zoo = draw_zoo(40)
    target = Target.of_images(draw_rows(60, 16))
    scores = literal_closeness(zoo, target)
    found = build_shortlist(zoo).search(target, 7)
    assert [name for name, _ in found] == sorted(scores, key=lambda n: -scores[n])[:7]
    for name, score in found:
        assert score == pytest.approx(scores[name], abs=1e-3)


def test_a_count_beyond_the_zoo_gives_all_of_it():
    assert len(build_shortlist(draw_zoo(3)).search(Target.of_images(draw_rows(9, 16)), 30)) == 3


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_what_is_likely_is_the_posterior_mean_of_a_gaussian_process(monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    zoo = draw_zoo(20)
    made = build_shortlist(zoo)
    target = Target.of_images(draw_rows(40, 16))
    anchors = made.anchors @ made.axes.T
    slow = np.stack([(each.astype(np.float32) @ anchors.T).max(axis=0) for each in zoo.values()])
    # between unit vectors this kernel is that of their inner product
    process = GaussianProcessRegressor(
        RBF(module.SHARPNESS**-0.5),
        alpha=module.NUGGET,
        optimizer=None,  # type: ignore[arg-type]
    ).fit(anchors, (slow - slow.mean(axis=0)).T)
    expected = target.shares @ process.predict(target.centers)
    query = made.likeliest(target)
    found, rows = made.coverage.search(query[None], 20)
    assert found[0] == pytest.approx(expected[rows[0]], abs=5e-3)


def test_the_directions_that_are_kept_hold_most_of_wide_prototypes():
    rng = np.random.default_rng(0)
    spread = np.geomspace(1, 1e-3, 200)
    zoo = {
        f"t{t}": unit_rows(
            rng.normal(size=(1, 200)) * spread + 0.2 * rng.normal(size=(4, 200)) * spread
        )
        for t in range(300)
    }
    made = build_shortlist({name: rows.astype(np.float16) for name, rows in zoo.items()})
    assert made.axes.shape == (200, 64)
    assert made.mixing.shape[1] == 128
    assert np.allclose(made.axes.T @ made.axes, np.eye(64), atol=1e-5)
    target = Target.of_images(zoo["t7"][np.arange(40) % 4])
    scores = literal_closeness(zoo, target)
    found = made.search(target, 5)
    assert found[0][0] == "t7"
    assert all(score == pytest.approx(scores[name], abs=0.03) for name, score in found)


def test_a_large_zoo_is_searched_in_part_and_the_best_are_found(monkeypatch):
    measured = []
    whole = Shortlist.closeness

    def count(self, target, teachers):
        measured.append(len(teachers))
        return whole(self, target, teachers)

    monkeypatch.setattr(Shortlist, "closeness", count)
    monkeypatch.setattr(module, "MEASURED", 100)
    zoo = draw_zoo(1000)
    made = build_shortlist(zoo)
    recalls = []
    for seed in range(4):
        near = zoo[f"t{7 + seed}"].astype(np.float32)
        rows = near[np.arange(50) % len(near)] + 0.2 * draw_rows(50, 16, seed=seed)
        target = Target.of_images(rows)
        scores = literal_closeness(zoo, target)
        true = sorted(scores, key=lambda name: -scores[name])[:5]
        found = [name for name, _ in made.search(target, 30)]
        assert found[0] == true[0]
        recalls.append(len(set(true) & set(found)) / 5)
    assert measured == [100] * 4
    assert np.mean(recalls) >= 0.9


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, "a"), (2, "af"), (3, "abf"), (4, "abfd"), (9, "abcdef")]
)
def test_half_of_a_shortlist_is_the_nearest_and_half_the_largest_nearby(count, chosen):
    sizes = {"a": 1, "b": 1, "c": 2, "d": 5, "e": 2, "f": 9}
    assert choose_nearby("abcdef", sizes, count) == set(chosen)


def test_more_are_measured_where_more_are_asked_for(monkeypatch):
    monkeypatch.setattr(module, "MEASURED", 4)
    found = build_shortlist(draw_zoo(50)).search(Target.of_images(draw_rows(9, 16)), 20)
    assert len({name for name, _ in found}) == 20


def test_the_parts_of_a_target_are_weighed_by_their_images():
    rows = np.repeat(np.eye(3, dtype=np.float32), [1, 2, 5], axis=0)
    target = Target.of_images(rows)
    shares = {int(c.argmax()): float(s) for c, s in zip(target.centers, target.shares, strict=True)}
    assert shares == {0: 0.125, 1: 0.25, 2: 0.625}


def test_a_shortlist_comes_back_from_its_file(tmp_path):
    made = build_shortlist(draw_zoo(30), key="k", refused=["lame"])
    made.save(tmp_path / "index" / "one")
    again = Shortlist.load(tmp_path / "index" / "one", "k")
    target = Target.of_images(draw_rows(20, 16))
    assert again.search(target, 9) == made.search(target, 9)
    assert (again.names, again.refused, again.key) == (made.names, ("lame",), "k")
    assert len(list((tmp_path / "index").iterdir())) == 1


def test_the_file_of_other_fingerprints_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "one"
    build_shortlist(draw_zoo(5), key="k").save(path)
    with pytest.raises(ValueError, match="other fingerprints"):
        Shortlist.load(path, "other")
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-9] + b"\x00" * 9, b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="one"):
            Shortlist.load(path, "k")


def test_the_same_fingerprints_give_the_same_index():
    one, other = (build_shortlist(draw_zoo(200)) for _ in range(2))
    assert np.array_equal(one.anchors, other.anchors)
    assert np.array_equal(pack_index(one.coverage), pack_index(other.coverage))


def test_centers_find_the_clusters_and_have_unit_length():
    means = np.eye(4, dtype=np.float32)
    rows = np.repeat(means, 50, axis=0) + 0.02 * draw_rows(200, 4)
    centers = find_centers(rows * 7, 4)
    assert np.linalg.norm(centers, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert sorted((centers @ means.T).argmax(axis=1)) == [0, 1, 2, 3]
    assert (centers @ means.T).max(axis=1) == pytest.approx(np.ones(4), abs=0.01)


def test_few_images_are_their_own_centers():
    rows = unit_rows(draw_rows(3, 5))
    for copies in (2, 400):
        found = find_centers(np.repeat(rows, copies, axis=0), 16)
        assert np.allclose(found, np.unique(rows, axis=0))


def test_centers_are_drawn_by_the_seed(capfd):
    rows = draw_rows(90, 6)
    assert np.array_equal(find_centers(rows, 8, 1), find_centers(rows, 8, 1))
    assert not np.array_equal(find_centers(rows, 8, 1), find_centers(rows, 8, 2))
    assert capfd.readouterr().err == ""


def test_the_flat_index_equals_a_sort():
    rows, query = draw_rows(50, 6), draw_rows(6, seed=1)
    found = unpack_index(pack_index(build_index(rows))).search(query[None], 4)[1][0]
    assert found.tolist() == np.argsort(-(rows @ query))[:4].tolist()
