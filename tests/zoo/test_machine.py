"""Devices and memory: what is absent is one clear line."""

import numpy as np
import pytest
import torch

from zoo.errors import ZooError
from zoo.system import devices as devices_module
from zoo.system import tensors as tensors_module
from zoo.system.devices import autocast, choose_device
from zoo.system.runtime import keep_freed_memory
from zoo.system.tensors import scratch_array


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
        monkeypatch.setattr(devices_module, "cpu_has_bfloat16", lambda native=native: native)
        with autocast(torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_keeping_freed_memory_says_whether_it_took(monkeypatch):
    assert keep_freed_memory() in (True, False)
    monkeypatch.setattr("sys.platform", "win32")
    assert keep_freed_memory() is False


def test_a_large_array_lies_in_a_file_of_no_name_and_a_small_one_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors_module, "LARGE", 48)
    small, large = (scratch_array((rows, 3), tmp_path / "new", np.int32) for rows in (3, 4))
    assert not isinstance(small.base, np.memmap)
    assert isinstance(large.base, np.memmap)
    assert (large.dtype, large.shape, large.sum()) == (np.int32, (4, 3), 0)
    large[:] = 7
    assert large.sum() == 84
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("call", ["os.posix_fallocate", "pathlib.Path.mkdir"])
def test_an_array_lies_in_memory_where_a_file_is_not_to_be_had(tmp_path, monkeypatch, call):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors_module, "LARGE", 1)
    monkeypatch.setattr(call, fail)
    room = scratch_array((2, 3), tmp_path / "new")
    assert not isinstance(room.base, np.memmap)
    assert (room.dtype, room.shape, room.sum()) == (np.float32, (2, 3), 0)
