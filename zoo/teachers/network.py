"""What a file may state of a network of timm: a known name and plain, bounded arguments."""

from __future__ import annotations

from zoo.system import json_files as js

LARGEST_SIZE = 2048
"""Pixels of an input's side at most; timm's largest is 1024."""
LARGEST_COUNT = 8192
"""Largest width, depth or other whole number of an argument."""


network_name = js.pattern(r"\w{1,80}(\.\w{1,80})?", "a name of timm")
"""A check of names such as `resnet18` or `resnet18.a1_in1k`: no path and no address."""
_word = js.pattern(r"\w{0,40}", "a word")

_COUNT, _PIXELS = js.integer(0, LARGEST_COUNT), js.integer(8, LARGEST_SIZE)
_MODEL_ARGS: js.Schema = {
    name: js.optional(check, js.OMIT, null=False)
    for check, names in (
        (js.one_or_list(_PIXELS, js.listing(_PIXELS, most=2)), "img_size"),
        (js.choice(3), "in_chans"),
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
