"""Convolutions in another form give what torch's own give, forward and backward."""

import subprocess
import sys
from contextlib import nullcontext

import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.std_conv import ScaledStdConv2d
from torch import nn

from distill.training.convolutions import fast_convolutions, replace_forwards


def test_depthwise_convolutions_leave_autocast_and_come_back():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3), nn.Conv2d(1, 1, 3))
    kinds = []
    for module in network[:2]:
        module.register_forward_hook(lambda _, __, output: kinds.append(output.dtype))
    images = torch.zeros(1, 4, 8, 8)

    def show():
        kinds.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            network[:2](images)
        return list(kinds)

    inside = fast_convolutions(network)
    inside.__enter__()
    assert show() == [torch.float32, torch.bfloat16]
    assert not inside.__exit__(RuntimeError, RuntimeError("killed"), None)
    assert show() == [torch.bfloat16, torch.bfloat16]
    assert not any("forward" in vars(module) for module in network)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False),
        nn.Conv2d(6, 6, 5, padding=2, stride=2, groups=6),
        nn.Conv2d(6, 6, 7, padding=3, groups=6),
        nn.Conv2d(6, 6, (3, 5), padding=(1, 2), stride=(1, 2), groups=6),
        nn.Conv2d(6, 12, 7, padding=3, groups=6),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, padding_mode="circular"),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6),
        nn.Conv2d(6, 9, 1),
        nn.Conv2d(6, 9, 1, groups=3),
        nn.Conv2d(6, 9, 1, padding=1),
        nn.Conv2d(6, 9, 1, stride=2),
        nn.Conv2d(6, 9, 1, stride=(3, 1), groups=3),
        nn.Conv2d(6, 6, 1, stride=2, groups=6),
        nn.Conv2d(6, 9, 1, stride=2, padding=1),
        Conv2dSame(6, 9, 1, stride=2),
        ScaledStdConv2d(6, 9, 1, stride=2, bias=False),
    ],
    ids=str,
)
def test_fast_convolutions_are_the_same_convolutions(module):
    for size in (1, 2, 3, 4, 8):
        check_convolution(module, size)


def check_convolution(module, size):
    torch.manual_seed(0)
    found = []
    for inside in (False, True):
        images = torch.linspace(-1, 1, 3 * 6 * size**2).reshape(3, 6, size, size).requires_grad_()
        module.zero_grad()
        if inside:
            with fast_convolutions(module):
                output = module(images)
        else:
            output = module(images)
        output.square().sum().backward()
        gradients = [parameter.grad.clone() for parameter in module.parameters()]
        found.append([output, images.grad, *gradients])
    for plain, fast in zip(*found, strict=True):
        assert torch.allclose(plain, fast, atol=1e-4), size


@pytest.mark.parametrize(
    "arch", ["tf_efficientnet_lite0", "tf_mixnet_s", "resnetv2_50x1_bit", "mobilenetv3_small_050"]
)
def test_a_network_trains_as_the_network_that_is_saved(arch):
    torch.manual_seed(0)
    network = timm.create_model(arch, num_classes=3).eval()  # so that batch norms are the same
    images = torch.randn(2, 3, 72, 72)
    found = []
    for inside in (False, True):
        network.zero_grad()
        with fast_convolutions(network) if inside else nullcontext():
            outputs = network(images)
            outputs.square().sum().backward()
        found.append([outputs.detach(), *(p.grad for p in network.parameters())])
    for plain, fast in zip(*found, strict=True):
        if plain is not None:
            assert torch.allclose(plain, fast, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


def test_a_strided_convolution_of_few_channels_does_not_corrupt_memory():
    # docs/decisions/0013-strided-convolutions.md; in a process of its own, which may crash
    code = """
import torch
from torch import nn
from distill.training.convolutions import fast_convolutions

module = nn.Conv2d(3, 48, 1, stride=2).to(memory_format=torch.channels_last)
images = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
kept = []
with fast_convolutions(module):
    for step in range(100):
        module(images).sum().backward()
        kept.append(torch.empty(37 * step + 1))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_forms_within_forms_come_back():
    module = nn.Conv2d(3, 3, 1)
    plain = module.forward
    with replace_forwards({module: lambda _, x: x + 1}):
        with replace_forwards({module: lambda _, x: x + 2}):
            assert module(torch.tensor(0)) == 2
        assert module(torch.tensor(0)) == 1
    assert module.forward == plain
