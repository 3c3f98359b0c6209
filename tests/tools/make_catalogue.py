"""Write zoo/catalogue.json: `python -m tests.tools.make_catalogue CSV [OUT]`.

The CSV lists candidate teachers with the evidence for each. What timm's own
registry knows of a teacher is taken from there; what is typed here is what no file says: harmonised
domains, licenses of data, traps, and which few are pulled by default.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import constants

from zoo.system.files import write_atomic
from zoo.teachers.card import CARD_FORMAT, HUB, Evidence, Loader, Preprocessing, TeacherCard

PAGE = Path(__file__).parents[2] / "zoo" / "catalogue.json"

LOADERS: dict[str, Loader] = {"timm": "timm", "timm hf-hub": "hf-hub", "timm overlay": "overlay"}
EVIDENCE: dict[str, Evidence] = {"CERTAIN": "timm", "SEEN": "seen", "RECALLED": "recalled"}
SWIGLU = "needs classes of Python as arguments (SwiGLU)"
LEFT_OUT = {
    "human-sapiens2-b": "its input is not square",
    "path-uni2h": SWIGLU,
    "path-h0mini": SWIGLU,
    "path-virchow2": SWIGLU,
    "skin-ham-cnx-t": "none of its files was seen, not even a name",
    "emotion-deit": "none of its files was seen, not even a name",
}
"""Candidates that timm alone cannot load, besides those whose loader is not in LOADERS."""

MORE = {
    "clip-tiny-xs16": ("vit_xsmall_patch16_clip_224.tinyclip_yfcc15m", "YFCC15M TinyCLIP"),
}
"""Teachers of timm's registry that the CSV does not list: network and data."""

DOMAINS = {
    "objects (fine)": "objects",
    "objects (very fine)": "objects",
    "general SSL": "web images",
    "web image-text": "web images",
    "satellite SSL": "satellite",
    "satellite land use": "satellite",
    "aerial/satellite SSL": "satellite",
    "aerial/satellite image-text": "aerial photos",
    "species (tree of life)": "species",
    "wildlife re-id": "wildlife",
    "pathology tissue types": "pathology",
    "chest x-ray": "radiology",
    "biomedical figures": "medical figures",
    "retina (fundus)": "retina",
    "retina DR grade": "retina",
    "anime/illustration": "anime",
    "charts vs photos": "charts",
    "fashion/products": "fashion",
}
DATA_LICENSES = {
    "ImageNet terms": "ImageNet-12k -> 1k;ImageNet-1k;ImageNet-12k;ImageNet-21k;"
    "ImageNet-21k-P winter21",
    "not published": "LVD-142M;LVD-1689M;SAT-493M;WIT-400M;WebLI;Mass-100K;Providence 171k WSIs;"
    "500k H&E slides;1.6M fundus images;220k NSFW/SFW;fashion image-text",
    "non-commercial research": "CUB-200-2011;CheXpert;Stanford Cars;FGVC-Aircraft;MS1MV3",
    "research": "Food-101;DTD",
    "CC BY 4.0": "Kather-texture-2016;IDRiD;SSL4EO-S12 RGB",
    "CC BY 4.0 for the links; the images are others'": "LAION-2B",
    "Creative Commons, per image": "YFCC15M TinyCLIP;TreeOfLife-10M",
    "CC BY-NC (iNaturalist)": "iNaturalist 2021",
    "CC BY-NC 4.0": "HAM10000",
    "CC BY-SA 4.0": "Oxford-IIIT Pet",
    "MIT": "EuroSAT RGB",
    "fMoW license": "fMoW RGB",
    "per data set": "WildlifeDatasets",
    "PhysioNet credentialed and others": "MIMIC-CXR, CheXpert, ...",
}
"""As commonly stated; what is not here is `unknown`."""

PROJECTION = "Its 512 outputs are a projection, not classes."
SIGMOID = "Its outputs are {}, several at once (sigmoid), not classes."
FEATURES = {
    "clip-tiny-m16": PROJECTION,
    "clip-tiny-xs16": PROJECTION,
    "clip-laion2b-b32": PROJECTION,
    "clip-openai-b32": PROJECTION,
    "cxr-chexpert-b16": SIGMOID.format("findings"),
    "cxr14-vit": SIGMOID.format("findings"),
    "anime-wd-vit": SIGMOID.format("tags"),
    "anime-animetimm-mnv3": SIGMOID.format("tags"),
    "face-vit-t8": "Its 512 outputs are an embedding (cosface), not classes.",
}
"""Teachers with outputs that are no classes: used for their features alone."""

NOTES = {
    "obj-in21k-vit-s16": "timm names its classes (ImageNetInfo), the repository does not.",
    "bamboo-b16": "115217 logits an image, the most in timm; timm states no license.",
    "ssl-dinov2-s": "Taught at 518 pixels, used at 224: several times faster.",
    "sat-dinov3-l": "303 M parameters; mean and standard deviation of its own.",
    "bioclip-b16": "The file holds the text tower too; its size is that of the same architecture.",
    "bioclip2-l14": "The file holds the text tower too. None of its pages was seen.",
    "plantclef24-b14": "Taught at 518 pixels, used at 224; mean and deviation are recalled.",
    "reid-mega-t": "The file may hold tensors beyond the network and be up to 205 MB.",
    "reid-mega-s": "The file holds tensors beyond the network (290 MB, the network needs 195).",
    "path-kaiko-s16": "Its page asks for dynamic_img_size.",
    "path-uni": "Its page asks for init_values=1e-5 and dynamic_img_size.",
    "path-hoptimus0": "1.1 G parameters; the only permissive pathology teacher here.",
    "cxr-rad-dino": "Taught at 518 pixels, used at 224. Mean and standard deviation are its own, "
    "recalled; its older page stated the license msrla.",
    "cxr14-vit": "The architecture was assumed from the repository's name.",
    "biomedclip-b16": "The file holds the text tower too.",
    "retina-retfound": "A safetensors file was seen in a pull request only.",
    "retina-dr-idrid": "Taught on gray images; the size is that of its sibling.",
    "skin-ham-b0": "Its page calls the file a plain state dict; interpolation and crop are timm's.",
    "sat-eurosat-r18": "Mean (0.3445, 0.3803, 0.4077) and standard deviation are its own.",
    "sat-s2rgb-r50": "Taught on reflectance / 10000, which is darker than 8-bit photos.",
    "sat-fmow-r50": "Preprocessing as in torchgeo, which squashes the image.",
    "sat-remoteclip-b32": "The file holds the text tower too; QuickGELU is recalled.",
    "food101-r50": "Its config.json names labels the other way round, name to index.",
    "anime-wd-vit": "Its channels are blue, green, red; 448 pixels, 78 GMACs an image.",
    "anime-animetimm-mnv3": "A sibling is behind a contact form: this may be too.",
    "face-vit-t8": "Wants aligned faces of 112 pixels.",
    "nsfw-vit-t": "The architecture's name is recalled.",
    "galaxy-zoobot-pico": "An encoder: load it with num_classes=0; the preprocessing is its own.",
    "chart-effnet-b0": "Two classes, chart or not; the size is an estimate.",
    "fashion-siglip-b16": "The file holds the text tower too; that it squashes images is recalled.",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ssl-dinov2-s": {"img_size": 224},
    "plantclef24-b14": {"img_size": 224},
    "cxr-rad-dino": {"img_size": 224},
    "path-kaiko-s16": {"dynamic_img_size": True},
    "path-uni": {"init_values": 1e-5, "dynamic_img_size": True},
}
NETWORK_UNKNOWN = {"face-vit-t8", "nsfw-vit-t", "cxr14-vit", "path-gigapath"}
"""The CSV's architecture is a guess: config.json will say it."""

HEADS = {"bioclip-b16": 512, "bioclip2-l14": 768, "sat-remoteclip-b32": 512, "skin-ham-b0": 7}
"""Width of the head that timm finds in the file of an overlay; 0 for the others."""

# torchgeo/models/resnet.py of torchgeo names these commits beside the very files
REVISIONS = {
    "sat-s2rgb-r50": "efd9723b59a88e9dc1420dc1e96afb25b0630a3c",
    "sat-fmow-r50": "fe8a91026cf9104f1e884316b8e8772d7af9052c",
}
IMAGENET = (constants.IMAGENET_DEFAULT_MEAN, constants.IMAGENET_DEFAULT_STD)
CLIP = (constants.OPENAI_CLIP_MEAN, constants.OPENAI_CLIP_STD)
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
INPUTS = {
    "bioclip-b16": Preprocessing(224, *CLIP, "bicubic"),
    "bioclip2-l14": Preprocessing(224, *CLIP, "bicubic"),
    "biomedclip-b16": Preprocessing(224, *CLIP, "bicubic"),
    "sat-remoteclip-b32": Preprocessing(224, *CLIP, "bicubic"),
    "plantclef24-b14": Preprocessing(224, *IMAGENET, "bicubic"),
    "cxr-rad-dino": Preprocessing(
        224, (0.5307, 0.5307, 0.5307), (0.2583, 0.2583, 0.2583), "bicubic"
    ),
    "skin-ham-b0": Preprocessing(224, *IMAGENET, "bicubic", 0.875),
    "sat-s2rgb-r50": Preprocessing(224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear", 0.875),
    "sat-fmow-r50": Preprocessing(224, *IMAGENET, "bilinear", 1.0, "squash"),
    "fashion-siglip-b16": Preprocessing(224, *HALF, "bicubic", 1.0, "squash"),
    "anime-wd-vit": Preprocessing(448, *HALF, "bicubic", channels="bgr"),
}
"""Where no config.json says it, or says it otherwise than these teachers are used here."""

DEFAULT = (
    "obj-in1k-convnext-nano obj-in21k-mnv3 ssl-dinov2-s clip-tiny-xs16 bioclip-b16 plantclef24-b14 "
    "fungi-df20-b0 reid-mega-t birds-cub200-r50 pets-r50 path-kaiko-s16 cxr-rad-dino skin-ham-b0 "
    "sat-eurosat-r18 food101-r50 cars-r50 aircraft-r50 texture-dtd-r50 galaxy-zoobot-pico "
    "chart-effnet-b0"
)
PUSH_DEFAULT = "The page says apache-2.0 because timm writes that by default: it states nothing."


def cards(rows: list[dict[str, str]]) -> list[TeacherCard]:
    """The teachers of the CSV that timm alone can load, and MORE, by name."""
    found = [_card(row) for row in rows if row["loader"] in LOADERS and row["id"] not in LEFT_OUT]
    found += [_from_timm(name, network, data) for name, (network, data) in MORE.items()]
    return sorted(found, key=lambda card: card.name)


def _card(row: Mapping[str, str]) -> TeacherCard:
    name, loader, repo = row["id"], LOADERS[row["loader"]], row["hf_repo"]
    domain = DOMAINS.get(row["domain"], row["domain"])
    size = round(float(row["file_MB"].lstrip("~")) * 1e6)
    if loader == "timm":
        network = row["evidence_at"].split()[-1]
        return _from_timm(name, network, row["source_dataset"], domain, size)
    network = "" if name in NETWORK_UNKNOWN else row["architecture"]
    classes = 0 if name in FEATURES else int(row["num_classes"])
    arguments = ARGUMENTS.get(name, {})
    commit = rf"huggingface.co/{re.escape(repo)}/(?:tree|commit|raw|resolve)/([0-9a-f]{{40}})\b"
    revision = re.search(commit, row["evidence_at"])
    license, remark = _license(row["license"])
    return TeacherCard(
        name=name,
        domain=domain,
        source=HUB + repo,
        network=network,
        classes=classes,
        license=license,
        data=row["source_dataset"],
        data_license=_data_license(row["source_dataset"]),
        preprocessing=INPUTS.get(name),
        revision=revision[1] if revision else REVISIONS.get(name, ""),
        params=_params(network, classes, arguments) or round(float(row["params_M"] or 0) * 1e6),
        bytes=size,
        weights=row["file"],
        loader=loader,
        model_args=arguments,
        overlay={"num_classes": HEADS.get(name, 0)} if loader == "overlay" else {},
        evidence=EVIDENCE[row["evidence"]],
        gated=row["gated"] in ("YES", "maybe"),
        default=name in DEFAULT.split(),
        note=_join(FEATURES.get(name), NOTES.get(name), _count_note(row, classes), remark),
    )


def _from_timm(
    name: str, network: str, data: str, domain: str = "web images", size: int = 0
) -> TeacherCard:
    """A teacher of timm's registry: all that can be is taken from there."""
    known: Any = timm.get_pretrained_cfg(network)
    config, arguments = known.to_dict(), ARGUMENTS.get(name, {})
    side = arguments.get("img_size", config["input_size"][-1])
    classes = 0 if name in FEATURES else config["num_classes"]
    return TeacherCard(
        name=name,
        domain=domain,
        source=HUB + config["hf_hub_id"],
        network=network,
        classes=classes,
        license=config.get("license") or "unknown",
        data=data,
        data_license=_data_license(data),
        preprocessing=Preprocessing.of_timm(config | {"input_size": (3, side, side)}),
        params=_params(network, classes, arguments),
        bytes=size or 4 * _params(network, config["num_classes"], arguments),
        loader="timm",
        model_args=arguments,
        # the registry means the file of the paper, the Hub holds timm's own
        overlay={"custom_load": False} if config["custom_load"] else {},
        evidence="timm",
        default=name in DEFAULT.split(),
        note=_join(FEATURES.get(name), NOTES.get(name)),
    )


def _params(network: str, classes: int, arguments: Mapping[str, Any]) -> int:
    """Parameters of an architecture, classifier included, without making them."""
    if not network:
        return 0
    with torch.device("meta"):
        built = timm.create_model(network, num_classes=classes, **arguments)
    return sum(parameter.numel() for parameter in built.parameters())


def _license(stated: str) -> tuple[str, str]:
    """The license, and what to say of it."""
    if "push default" in stated:
        return "unknown", PUSH_DEFAULT
    if stated in ("none", "none on page", "unseen"):
        return "unknown", f"Its license was not {'seen' if stated == 'unseen' else 'stated'}."
    name = stated.split(" (")[0]
    return name.rstrip("?"), "The license is recalled, not seen." if name.endswith("?") else ""


def _data_license(data: str) -> str:
    return next((name for name, of in DATA_LICENSES.items() if data in of.split(";")), "unknown")


def _count_note(row: Mapping[str, str], classes: int) -> str:
    recalled = re.search(r"(class count|\d+ classes \+ size) RECALLED", row["note"])
    return "The number of classes is recalled." if classes and recalled else ""


def _join(*sentences: str | None) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def render(teachers: list[TeacherCard]) -> str:
    """The catalogue as it is written, a line a list of numbers."""
    document = {"format": CARD_FORMAT, "teachers": [card.to_json() for card in teachers]}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    return re.sub(r"\[[-\d.e,\s]*\]", lambda found: "".join(found[0].split()), text) + "\n"


if __name__ == "__main__":
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as file:
        made = cards(list(csv.DictReader(file)))
    write_atomic(Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE, render(made))
    chosen = [card for card in made if card.default]
    size = sum(card.bytes for card in chosen) / 1e9
    print(f"{len(made)} teachers, {len(chosen)} by default ({size:.2f} GB)", file=sys.stderr)
