"""Mutated files: a few here, more with `python -m tests.tools.mutate`."""

from tests.support.mutations import run_mutations

COUNT = 440
"""Twenty of each kind of file."""


def test_no_mutated_file_ends_in_anything_but_one_line(tmp_path, capsys):
    used = run_mutations(tmp_path, COUNT)
    assert sum(map(sum, used.values())) == COUNT
    refused = [name for name, (_, count) in used.items() if count]
    assert {"card", "config", "ranking", "comparison", "labels", "fingerprint"} <= set(refused)
    assert all(
        good for name, (good, _) in used.items() if name not in ("weights", "labels", "fingerprint")
    )
