"""Repositories as plain folders: what the Hub says of one, and small ones, honest or hostile."""

import base64
import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

LARGE = (".safetensors", ".bin", ".pt", ".pth")
"""What the Hub keeps in LFS and knows by sha256; the rest is known by its git id."""

CLIP_ARCH = "vit_base_patch16_clip_224"
CLIP_ARGS = {"img_size": 32, "embed_dim": 64, "depth": 2, "num_heads": 2}
"""The network that reads the weights of `clip_repository`, and how it is made that small."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a repository; what concerns bodies concerns those of weights files.

    Attributes:
        gated: all but the bearer of `token` are refused its files, yet may read its description.
        token: only its bearer sees the repository (or, of a gated one, the files).
        renamed_to: every request is sent on to this repository.
        first_status: of the answers to the first requests; 200 for one as it should be.
        cut_after: bytes after which the connection drops, in the first `times` bodies.
        reset: it drops with RST, not with a mere end.
        bytes_per_second: how fast bodies come.
        wrong_bytes: the last byte is not the one that was hashed.
        seen: how many requests and bodies met this fault.
    """

    gated: bool = False
    token: str | None = None
    renamed_to: str | None = None
    first_status: tuple[int, ...] = ()
    cut_after: int | None = None
    times: int = 1
    reset: bool = False
    bytes_per_second: int | None = None
    wrong_bytes: bool = False
    seen: Counter[str] = field(default_factory=Counter, compare=False)

    @property
    def private(self) -> bool:
        return self.token is not None and not self.gated


class Blob(NamedTuple):
    """A file of a repository."""

    path: Path
    size: int
    sha256: str
    git: str

    @property
    def large(self) -> bool:
        return self.path.suffix in LARGE

    def entry(self, path: str) -> dict[str, Any]:
        """What the tree of the Hub says of it."""
        said = {"type": "file", "path": path, "size": self.size, "oid": self.git}
        if not self.large:
            return said
        pointer = "version https://git-lfs.github.com/spec/v1\n"
        pointer += f"oid sha256:{self.sha256}\nsize {self.size}\n"
        lfs = {"oid": self.sha256, "size": self.size, "pointerSize": len(pointer)}
        return said | {"oid": git_id(pointer.encode()), "lfs": lfs}


def git_id(content: bytes) -> str:
    """The id that git gives to a file of this content."""
    whole = f"blob {len(content)}\0".encode() + content
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, _modified: int, _asked: int) -> Blob:
    content = path.read_bytes()
    return Blob(path, size, hashlib.sha256(content).hexdigest(), git_id(content))


def blobs_of(folder: Path) -> dict[str, Blob]:
    """The files of a repository, in the order of their names."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        stat, now = path.stat(), time.time_ns()
        # what was written just now may be written again before the clock of files moves on
        asked = now if now - stat.st_mtime_ns < 2_000_000_000 else 0
        blob = _read(path, stat.st_size, stat.st_mtime_ns, asked)
        found[path.relative_to(folder).as_posix()] = blob
    return found


def commit_of(folder: Path) -> str:
    """The commit of what a folder holds now: 40 hex digits."""
    lines = "".join(f"{name}\0{blob.sha256}\n" for name, blob in blobs_of(folder).items())
    return hashlib.sha1(lines.encode(), usedforsecurity=False).hexdigest()


def card_of(folder: Path) -> dict[str, Any]:
    """The front matter of its README: `key: value`, `key: [a, b]`, `key:` above `- a` lines."""
    readme = folder / "README.md"
    text = readme.read_text() if readme.is_file() else ""
    lines = text.split("\n---", 1)[0].splitlines()[1:] if text.startswith("---\n") else []
    found: dict[str, Any] = {}
    key = ""
    for line in lines:
        if line.strip().startswith("- "):
            found[key] = [*(found.get(key) or []), line.strip()[2:].strip("\"' ")]
        elif ":" in line:
            key, value = (part.strip() for part in line.split(":", 1))
            items = [item.strip("\"' ") for item in value.strip("[]").split(",")]
            found[key] = items if value.startswith("[") else value.strip("\"'")
    return found


def description_of(folder: Path, *, sizes: bool) -> dict[str, Any]:
    """What the Hub reads in a repository: its commit, card, tags and files."""
    card = card_of(folder)
    said = {key: card[key] for key in ("library_name", "pipeline_tag") if key in card}
    tags = [*card.get("tags", []), *said.values()]
    tags += [f"license:{card['license']}"] if "license" in card else []
    siblings: list[dict[str, Any]] = []
    for path, blob in blobs_of(folder).items():
        siblings.append({"rfilename": path})
        if sizes:
            entry = blob.entry(path)
            siblings[-1] |= {"size": blob.size, "blobId": entry["oid"]}
            siblings[-1] |= {"lfs": entry["lfs"] | {"sha256": blob.sha256}} if blob.large else {}
    found = {"sha": commit_of(folder), "tags": list(dict.fromkeys(tags)), "siblings": siblings}
    return said | found | ({"cardData": card} if card else {})


def bytes_of(asked: str, size: int) -> range:
    """Which bytes a Range header asks of a file; all where it asks for none."""
    if not (given := re.fullmatch(r"bytes=(\d*)-(\d*)", asked)):
        return range(size)
    first, last = given.groups()
    start = int(first) if first else max(0, size - int(last))
    return range(start, min(size, int(last) + 1) if first and last else size)


def change(folder: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Do what a commit says.

    Raises:
        ValueError: it names a path elsewhere, something missing, or something not supported.
    """
    for line in lines:
        key, value = line["key"], line["value"]
        if key == "header":
            continue
        path = folder / value["path"]
        if ".." in path.parts or folder not in path.parents:
            raise ValueError(f"{value['path']} leaves the repository")
        if key == "file":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(value["content"]))
        elif key == "deletedFile" and path.is_file():
            path.unlink()
        elif key == "deletedFolder" and path.is_dir():
            shutil.rmtree(path)
        else:
            raise ValueError(f"cannot do {key} of {value['path']}")


def random_network(arch: str, classes: int, seed: int, **model_args: Any) -> Any:
    """A network of random weights, in evaluation mode."""
    import timm
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(arch, num_classes=classes, **model_args).eval()


def _save(weights: Mapping[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    weights = {name: value.contiguous() for name, value in weights.items()}
    if path.suffix == ".safetensors":
        save_file(weights, path, metadata={"format": "pt"})
    else:
        torch.save(weights, path)


def _describe(folder: Path, library: str) -> None:
    card = f"library_name: {library}\nlicense: mit\npipeline_tag: image-classification"
    tags = f"tags:\n- {library}\n- image-classification"
    (folder / "README.md").write_text(f"---\n{card}\n{tags}\n---\n\nRandom weights.\n")


def timm_repository(
    root: Path,
    name: str,
    *,
    arch: str = "test_resnet",
    labels: Sequence[str] = ("a", "b", "c"),
    seed: int = 0,
    size: int = 32,
    weights: str = "model.safetensors",
    head: int | None = None,
    **config: Any,
) -> Path:
    """`random_network(arch, len(labels), seed)` in timm's layout, for images of this size.

    Where the config is to lie: `head` is another number of classes for the weights alone, and
    `config` has entries of config.json that win, such as `architecture="resnet_of_nowhere"`,
    `num_classes=7`, `label_names={"0": "a"}`, `label_names={"a": 0}` or `label_names=None`.
    """
    network = random_network(arch, len(labels) if head is None else head, seed)
    kept = {key: network.pretrained_cfg[key] for key in ("first_conv", "classifier")}
    look = {"input_size": [3, size, size], "mean": [0.5] * 3, "std": [0.5] * 3}
    look |= {"interpolation": "bilinear", "crop_pct": 1.0, "num_classes": len(labels)}
    said = {"architecture": arch, "num_classes": len(labels), "pretrained_cfg": look | kept}
    said |= {"label_names": list(labels), **config}
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(said, indent=1))
    _save(network.state_dict(), folder / weights)
    _describe(folder, "timm")
    return folder


def bin_repository(root: Path, name: str, **options: Any) -> Path:
    """The same with a pickle of tensors alone instead of safetensors."""
    return timm_repository(root, name, weights="pytorch_model.bin", **options)


def clip_repository(root: Path, name: str, *, classes: int = 16, seed: int = 0) -> Path:
    """`random_network(CLIP_ARCH, classes, seed, **CLIP_ARGS)` as OpenCLIP names its weights."""
    import torch

    network = random_network(CLIP_ARCH, classes, seed, **CLIP_ARGS)
    swaps = {"patch_embed.proj": "conv1", "pos_embed": "positional_embedding"}
    swaps |= {"blocks.": "transformer.resblocks.", "norm_pre": "ln_pre", "norm.": "ln_post."}
    swaps |= {"norm1": "ln_1", "norm2": "ln_2", "qkv.": "in_proj_", "attn.proj": "attn.out_proj"}
    swaps |= {"fc1": "c_fc", "fc2": "c_proj", "head.weight": "proj", "cls_token": "class_embedding"}
    weights = {"logit_scale": torch.ones(1), "transformer.resblocks.0.ln_1.weight": torch.ones(8)}
    for key, value in network.state_dict().items():
        for ours, theirs in swaps.items():
            key = key.replace(ours, theirs)
        if key in ("class_embedding", "positional_embedding"):
            value = value.squeeze(0).squeeze(0)
        weights[f"visual.{key}"] = value.t() if key == "proj" else value
    weights.pop("visual.head.bias")  # a projection has none; timm puts zeros there
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    model = {"embed_dim": classes, "vision_cfg": vision, "text_cfg": {"width": 8, "layers": 1}}
    look = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    said = {"model_cfg": model, "preprocess_cfg": look}
    (folder / "open_clip_config.json").write_text(json.dumps(said, indent=1))
    _save(weights, folder / "open_clip_model.safetensors")
    _describe(folder, "open_clip")
    return folder


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo > '{self.marker}'",)


def pickle_repository(root: Path, name: str, *, marker: Path) -> Path:
    """A .bin that writes the file `marker` when it is unpickled without care."""
    folder = bin_repository(root, name)
    import torch

    torch.save({"bomb": _Bomb(marker)}, folder / "pytorch_model.bin")
    return folder


def demo(root: Path) -> None:
    """Small examples: timm's layout, a .bin only, OpenCLIP's layout, and one to be gated."""
    timm_repository(root, "demo/ants", labels=("red ant", "wood ant", "fire ant"))
    bin_repository(root, "demo/bees-bin", arch="test_vit", size=160, seed=1)
    clip_repository(root, "demo/clip", seed=2)
    timm_repository(root, "demo/gated", labels=("x", "y"), seed=3)
