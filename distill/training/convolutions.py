"""Faster forms of the same convolutions for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

Pair = Sequence[int]
"""Height and width."""

Form = Callable[[Any, Tensor], Tensor]
"""A module's `forward`: the module and its inputs to its outputs."""


def fast_convolutions(network: nn.Module) -> AbstractContextManager[None]:
    """In here a network's depthwise and pointwise convolutions run in their fastest form.

    Depthwise ones run in float32, as their backward in bfloat16 is far slower, and without the rim
    of a kernel that is larger than its map; pointwise ones are a matrix product, strided ones of
    the pixels that they read.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    forms = {module: _fast_form(module) for module in convolutions}
    return replace_forwards({m: form for m, form in forms.items() if form is not type(m).forward})


def _fast_form(module: nn.Conv2d) -> Form:
    form: Form = type(module).forward
    # subclasses, such as timm's Conv2dSame, pad or standardize in a forward of their own
    if type(module) is nn.Conv2d:
        if module.groups == module.in_channels > 1:
            form = _depthwise
        elif module.kernel_size == (1, 1):
            form = _pointwise
    strided = module.kernel_size == (1, 1) != module.stride and module.padding == (0, 0)
    return _of_read_pixels(form) if strided else form


@contextmanager
def replace_forwards(forms: Mapping[nn.Module, Form]) -> Iterator[None]:
    """In here each module runs the given function as its `forward`."""
    before = {module: vars(module).get("forward") for module in forms}
    for module, form in forms.items():
        module.forward = MethodType(form, module)
    try:
        yield
    finally:
        for module, forward in before.items():
            if forward:
                module.forward = forward
            else:
                del module.forward


def _of_read_pixels(form: Form) -> Form:
    """A strided 1 x 1 convolution as one of stride 1, of the pixels that it reads.

    oneDNN corrupts memory in the gradient of the strided form's kernel, see
    docs/decisions/0013-strided-convolutions.md.
    """

    def forward(self: nn.Conv2d, inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu":
            return form(self, inputs)
        stride, self.stride = self.stride, (1, 1)
        try:
            return form(self, inputs[:, :, :: stride[0], :: stride[1]])
        finally:
            self.stride = stride

    return forward


def _depthwise(self: nn.Conv2d, inputs: Tensor) -> Tensor:
    with torch.autocast(inputs.device.type, enabled=False):
        images = inputs.float()
        plain = self.padding_mode == "zeros" and self.dilation == (1, 1)
        if isinstance(self.padding, str) or self.out_channels > self.groups or not plain:
            return nn.Conv2d.forward(self, images)
        kernel, padding = _without_rim(self.weight, self.padding, images.shape[2:])
        outputs: Any = _Depthwise.apply(images, kernel, self.stride, padding)
        return outputs if self.bias is None else outputs + self.bias[:, None, None]


def _without_rim(kernel: Tensor, padding: Pair, size: Pair) -> tuple[Tensor, Pair]:
    """The part of a kernel that overlaps pixels of maps of this size, and its padding."""
    rims = [max(0, pad - side + 1) for pad, side in zip(padding, size, strict=True)]
    if not any(rims) or [*kernel.shape[2:]] != [2 * pad + 1 for pad in padding]:
        return kernel, padding
    (up, left), (high, wide) = rims, kernel.shape[2:]
    return kernel[:, :, up : high - up, left : wide - left], (padding[0] - up, padding[1] - left)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose kernel gradient avoids the slow path of oneDNN."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernel: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(images, kernel)
        ctx.geometry = stride, padding
        return conv2d(images, kernel, None, stride, padding, groups=len(kernel))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (images, kernel), (stride, padding) = ctx.saved_tensors, ctx.geometry
        high, wide = kernel.shape[2:]
        slow = images.device.type == "cpu" and (wide > 3 or high > images.shape[2])
        wanted = [ctx.needs_input_grad[0], not slow, False]
        to_images, to_kernel = _backward(outer[0], images, kernel, stride, padding, wanted)
        if slow:
            to_kernel = _kernel_gradient(outer[0], images, kernel, stride, padding)
        return to_images, to_kernel, None, None


def _kernel_gradient(
    outer: Tensor, images: Tensor, kernel: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    """Gradient of a kernel, at most three columns at a time and on padded images.

    oneDNN is about ten times slower where a kernel is wider, or higher than the images.
    """
    (above, left), (high, wide) = padding, images.shape[2:]
    below = (outer.shape[2] - 1) * stride[0] + kernel.shape[2] - above - high
    parts, begin = [], -left
    for part in kernel.tensor_split(-(-kernel.shape[3] // 3), dim=3):
        end = begin + (outer.shape[3] - 1) * stride[1] + part.shape[3]
        window = pad(images, (-begin, end - wide, above, below))  # what this part overlaps
        wanted = [False, True, False]
        parts.append(_backward(outer, window, part, stride, (0, 0), wanted)[1])
        begin += part.shape[3]
    return torch.cat(parts, dim=3)


def _backward(
    outer: Tensor, images: Tensor, kernel: Tensor, stride: Pair, padding: Pair, wanted: list[bool]
) -> tuple[Tensor, Tensor]:
    """Gradients of a depthwise convolution's images and kernel, where `wanted`."""
    both = torch.ops.aten.convolution_backward(
        outer, images, kernel, None, stride, padding, (1, 1), False, (0, 0), len(kernel), wanted
    )
    return both[:2]


def _pointwise(self: nn.Conv2d, inputs: Tensor) -> Tensor:
    product = inputs.device.type == "cpu" or inputs.shape[2:] == (1, 1)
    if not product or self.groups > 1 or self.padding != (0, 0) or self.stride != (1, 1):
        return nn.Conv2d.forward(self, inputs)
    places = inputs.permute(0, 2, 3, 1)
    return linear(places, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
