"""The one door to timm's networks: a known name and plain, bounded arguments, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.system import json_files as js

LARGEST_SIZE = 2048
"""Pixels of an input's side at most; timm's largest is 1024."""
LARGEST_COUNT = 8192
"""Largest width, depth or other whole number of an argument."""
SPARE = 1 << 26
"""Values that a network may hold beyond its weights file: masks and resampled positions."""


network_name = js.pattern(r"\w{1,80}(\.\w{1,80})?", "a name of timm")
"""A check of names such as `resnet18` or `resnet18.a1_in1k`: no path and no address."""
_word = js.pattern(r"\w{0,40}", "a word")

_COUNT, _PIXELS = js.integer(0, LARGEST_COUNT), js.integer(8, LARGEST_SIZE)
_MODEL_ARGS: js.Schema = {
    name: js.optional(check, js.OMIT, null=False)
    for check, names in (
        (js.one_or_list(_PIXELS, js.listing(_PIXELS, most=2)), "img_size"),
        (js.constant(3), "in_chans"),
        (js.integer(0, js.ITEMS), "num_classes"),
        (_word, "global_pool act_layer norm_layer pos_embed weight_init"),
        (
            js.flag,
            "class_token no_embed_class qkv_bias qk_norm pre_norm final_norm fc_norm use_fc_norm "
            "dynamic_img_size dynamic_img_pad strict_img_size conv_mlp head_norm_first",
        ),
        (
            js.number(-1e6, 1e6),
            "mlp_ratio init_values bn_eps bn_momentum norm_eps drop_rate drop_path_rate "
            "proj_drop_rate attn_drop_rate pos_drop_rate patch_drop_rate",
        ),
        (
            js.one_or_list(_COUNT, js.listing(_COUNT, most=8)),
            "patch_size embed_dim depth depths dims num_heads reg_tokens window_size layers "
            "stem_width base_width cardinality channels head_hidden_size output_stride",
        ),
    )
    for name in names.split()
}
"""Arguments of timm's factory that a file may state: none of them opens a file or an address."""

_OVERLAY: js.Schema = {
    name: js.optional(check, js.OMIT, null=False)
    for name, check in {
        "num_classes": js.integer(0, js.ITEMS),
        "custom_load": js.flag,
        "input_size": js.listing(_COUNT, most=3),
        **dict.fromkeys(("mean", "std"), js.listing(js.number(), most=3)),
        **dict.fromkeys(("first_conv", "classifier"), js.text(most=80)),
    }.items()
}

check_model_args = js.record(_MODEL_ARGS, strict=True)
"""A check of `model_args`: known names, numbers within bounds, flags and words."""
check_overlay = js.record(_OVERLAY, strict=True)
"""A check of the entries of timm's `pretrained_cfg` that a card may state."""


def create_network(
    name: str,
    classes: int | None,
    model_args: Mapping[str, Any],
    *,
    weights: Path | None = None,
    overlay: Mapping[str, Any] = {},
    load: bool = True,
) -> Any:
    """Build a network of timm; the only call of its factory for what a file describes.

    Args:
        name: of the architecture, as timm lists it.
        classes: K, of its classifier; 0 for none, None for what timm and the overlay state.
        model_args: further arguments of the factory.
        weights: of the network: it may not hold many more values than this file. None for random
            weights and no bound.
        overlay: entries of timm's `pretrained_cfg` that differ for these weights.
        load: whether timm loads the weights; else the caller does.

    Raises:
        ValueError: timm has no such network, an argument is not allowed, or the network is larger
            than its weights.
        Exception: of any kind, from timm.
    """
    import timm

    network_name(name, "architecture")
    args = check_model_args(dict(model_args), "model_args")
    entries = check_overlay(dict(overlay), "overlay")
    if not timm.is_model(name):  # timm would read other names as addresses
        raise ValueError(f"timm has no network called {name!r}")
    if args.pop("num_classes", classes) != classes:
        raise ValueError("model_args.num_classes: differs from the file's")
    if weights is None:
        return timm.create_model(name, pretrained=False, num_classes=classes, **args)
    from zoo.teachers.construction import Construction

    # exactly this file, whatever else lies beside it or is named in timm's registry
    file: dict[str, Any] = {"source": "", "url": "", "state_dict": None, "file": str(weights)}
    stated = {} if classes is None else {"num_classes": classes}
    entries = {"custom_load": False, **stated, **entries, **file}
    with Construction(weights.stat().st_size + SPARE):
        return timm.create_model(
            name, pretrained=load, num_classes=classes, pretrained_cfg_overlay=entries, **args
        )
