"""Ranking under torchrun: two processes share the teachers, one speaks, the ranking is the same."""

from tests.support.forked_zoo import ForkedZoo
from tests.support.toys import rank_three
from zoo.system.distributed import Processes, join


def test_the_parts_of_all_processes_are_the_whole():
    items = [*range(11)]
    parts = [Processes(rank, 3).own(items) for rank in range(3)]
    assert sorted(sum(parts, [])) == items  # noqa: RUF017
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_without_torchrun_there_is_one_process():
    with join() as processes:
        assert processes == Processes(0, 1)
        assert processes.is_first
        assert processes.own([1, 2]) == [1, 2]
        assert processes.gather(3) == [3]
        assert processes.share(lambda: 4) == 4


def test_a_ranking_by_two_processes_is_that_of_one(tmp_path):
    words = rank_three(tmp_path)
    alone = ForkedZoo(tmp_path / "alone", tmp_path / "alone-cache").zoo(*words)
    assert alone.json["forward_passes"] == 3 * 14
    told = "No teacher scored above"
    assert alone.err.count(told) > 0
    for count in (1, 2):
        user = ForkedZoo(tmp_path / f"{count}", tmp_path / f"{count}-cache")
        ran = user.together(count, *words)
        assert ran.json == alone.json
        folders = [*(user.cache / "features").iterdir()]
        assert sum(not folder.name.startswith(("control", "initial")) for folder in folders) == 3
        assert [*user.home.glob("*.json")] == [user.home / "ranking.json"]
        assert ran.err.count(told) == alone.err.count(told)
