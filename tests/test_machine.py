"""Devices and memory: what is absent is one clear line."""

import pytest
import torch

from zoo.errors import ZooError
from zoo.machine import autocast, choose_device
from zoo.memory import keep_freed_memory


def test_auto_takes_what_there_is():
    best = "cuda" if torch.cuda.is_available() else "mps"
    absent = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    assert choose_device("auto").type == ("cpu" if absent else best)
    assert choose_device("cpu").type == "cpu"
    assert choose_device(torch.device("cpu", 0)) == torch.device("cpu", 0)


@pytest.mark.parametrize("name", ["banana", "cuda:99", ""])
def test_an_unknown_or_absent_device_is_one_clear_line(name):
    with pytest.raises(ZooError, match="Try --device cpu") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)


def test_products_run_in_bfloat16_only_where_the_machine_does_them_natively(monkeypatch):
    for native, kind in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("zoo.machine._cpu_has_bf16", lambda native=native: native)
        with autocast(torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_keeping_freed_memory_says_whether_it_took(monkeypatch):
    assert keep_freed_memory() in (True, False)
    monkeypatch.setattr("sys.platform", "win32")
    assert keep_freed_memory() is False
