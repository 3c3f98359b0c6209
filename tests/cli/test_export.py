"""`zoo export`: every option, what is written, and what is refused."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from PIL import Image

from distill.export import export, formats, onnx_file
from distill.student import save_network
from tests.support.toys import COLORS, paint, paint_folder
from tests.support.worlds import snapshot
from zoo.images import decoding
from zoo.images.decoding import open_image
from zoo.teachers.card import Preprocessing

LOOK = Preprocessing(32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic", 0.9)
CONVERTED: dict[str, bytes] = {}
really_convert = onnx_file.convert


@pytest.fixture(autouse=True)
def _convert_each_network_once(monkeypatch):
    """torch's exporter takes seconds: the same network and preprocessing give the same file."""

    def convert(network, preprocessing):
        content = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
        key = f"{preprocessing} {hashlib.sha256(content).hexdigest()}"
        if key not in CONVERTED:
            CONVERTED[key] = really_convert(network, preprocessing)
        return CONVERTED[key]

    monkeypatch.setattr(onnx_file, "convert", convert)
    monkeypatch.setattr(export, "measure_latency", lambda *_: export.Latency(1.5, 2.5, 3))


@pytest.fixture
def student(tmp_path):
    """An untaught student of the three colors, sure of what it says."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = timm.create_model("test_resnet", num_classes=3).eval()
        network.get_classifier().weight.data.mul_(20)  # pyright: ignore
    folder = tmp_path / "student"
    folder.mkdir()
    save_network(
        network,
        folder,
        arch="test_resnet",
        labels=tuple(COLORS),
        preprocessing=LOOK,
        license="mit",
    )
    return folder


def facts_of(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def ask(path, images):
    """Class and probability of images, with nothing but the file and its metadata."""
    facts = facts_of(path)
    size, keep = int(facts["image_size"]), float(facts["crop_pct"])
    assert facts["crop_mode"] == "center"
    pixels = []
    for image in images:
        shown = Image.open(image).convert("RGB")
        side = min(shown.size) * keep
        left, top = (shown.width - side) / 2, (shown.height - side) / 2
        how = Image.Resampling[facts["interpolation"].upper()]
        fitted = shown.resize((size, size), how, box=(left, top, left + side, top + side))
        pixels.append(np.asarray(fitted).transpose(2, 0, 1))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (chances,) = session.run(None, {"pixels": np.stack(pixels)})
    classes = json.loads(facts["classes"])
    return [(classes[row.argmax()], row.max()) for row in np.asarray(chances)]


def odd_photos(folder):
    """Images that a careless decoder sees otherwise: turned, transparent, of 16 bits, and CMYK."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    values = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
    values[:20] //= 3
    image = Image.fromarray(values)
    for turn in (1, 3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = turn
        image.save(folder / f"turned{turn}.jpg", exif=exif)
    clear = image.copy()
    clear.putalpha(Image.fromarray(np.linspace(0, 255, 1200).reshape(40, 30).astype(np.uint8)))
    clear.save(folder / "clear.png")
    image.convert("P").save(folder / "palette.png", transparency=3)
    Image.fromarray(values[..., 0].astype(np.uint16) * 200).save(folder / "deep.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    return sorted(folder.iterdir())


@pytest.mark.usefixtures("plain_numbers")
def test_the_example_of_the_docs_says_what_predict_says_without_torch(command, student, tmp_path):
    photos = odd_photos(tmp_path / "photos")
    command("export", student, "--onnx")
    rows = command("predict", student, *photos, "--json").json
    text = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text()
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "onnx" in code]
    assert "torch" not in example
    assert len(example.splitlines()) <= 28
    example = example.replace("student/model.onnx", str(student / "model.onnx"))
    for row in rows:
        names = {}
        exec(example.replace("photo.jpg", row["path"]), names)  # noqa: S102
        chance = names["probabilities"].max()
        assert chance == pytest.approx(row["probability"], abs=1e-4), row["path"]
    assert len({f"{row['probability']:.2f}" for row in rows}) > 3


def test_the_probabilities_of_an_8_bit_file_sum_to_one_and_its_accuracy_is_told(
    command, student, test_imgs
):
    shown = command("export", student, "--onnx", "--int8", "--target", test_imgs, "--json").json
    path = student / "model.int8.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0).integers(0, 255, (9, 3, LOOK.size, LOOK.size), dtype=np.uint8)
    (chances,) = session.run(None, {"pixels": noise})
    assert np.abs(np.asarray(chances).sum(axis=1) - 1).max() < 1e-5
    tested = command("eval", student, "--target", test_imgs, "--json").json
    assert (shown["labeled"], shown["torch_accuracy"]) == (9, tested["accuracy"])
    assert 0 <= shown["accuracy"] <= 1
    ran = command("export", student, "--onnx", "--target", test_imgs)
    rows = [line.split() for line in ran.out.splitlines()]
    assert [row[-1] for row in rows if row[:1] == ["torch"]] == [f"{tested['accuracy']:.1%}"]
    assert "Accuracy on 9 labeled images." in ran.out


@pytest.mark.usefixtures("plain_numbers")
def test_with_resize_takes_whole_photos_and_says_what_predict_says(command, student, tmp_path):
    photos = odd_photos(tmp_path / "photos")
    words = ("export", student, "--onnx", "--with-resize", "--target", tmp_path / "photos")
    ran = command(*words)
    assert "Resizing inside changes a probability by up to" in ran.out
    path = student / "model.onnx"
    facts = facts_of(path)
    assert "uint8 [B, 3, H, W]" in facts["input"]
    assert "resized and cropped inside" in facts["input"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = command("predict", student, *photos, "--json").json
    for row in rows:
        pixels = np.asarray(open_image(Path(row["path"]).read_bytes())).transpose(2, 0, 1)
        assert pixels.shape[1:] != (32, 32)
        (chances,) = session.run(None, {"pixels": pixels[None]})
        assert np.asarray(chances).max() == pytest.approx(row["probability"], abs=5e-3), row
    shown = command(*words, "--int8", "--json").json
    exact = command(*words, "--overwrite", "--json").json
    assert shown["resized"] == exact["resized"] < 1e-2  # not what 8 bits change
    plain = command("export", student, "--onnx", "--overwrite", "--json").json
    assert plain["resized"] is None


def test_a_file_that_resizes_otherwise_than_pillow_is_never_written(command, student, monkeypatch):
    def turned(pixels, preprocessing):
        return decoding.fit_pixels(pixels, preprocessing)[:, ::-1]

    monkeypatch.setattr(export, "fit_pixels", turned)
    line = command("export", student, "--onnx", "--with-resize").mistake
    assert "is not written" in line
    assert "those for images that Pillow resized" in line
    assert not (student / "model.onnx").exists()


def test_accuracy_is_that_on_the_held_out_images(command, student, imgs, test_imgs):
    words = ("export", student, "--format", "torch", "--json", "--overwrite", "--target", imgs)
    shown, tested = command(*words).json, command("eval", student, "--target", imgs, "--json").json
    assert (shown["labeled"], shown["accuracy"]) == (12, tested["accuracy"])
    for path in (test_imgs / "red").iterdir():
        path.unlink()
    shown = command(*words, "--test", test_imgs).json
    tested = command("eval", student, "--target", test_imgs, "--json").json
    assert (shown["labeled"], shown["accuracy"]) == (6, tested["accuracy"])
    assert shown["torch_accuracy"] == tested["accuracy"]
    assert shown["images"] == 18


def test_images_of_classes_that_the_student_lacks_are_told(command, student, imgs, test_imgs):
    words = ("export", student, "--format", "torch", "--overwrite")
    for folder in (imgs, test_imgs):
        (folder / "red").rename(folder / "pink")
    assert "was not trained on" in command(*words, "--test", test_imgs).mistake
    ran = command(*words, "--target", imgs, "--json")
    assert (ran.json["labeled"], ran.json["unknown_classes"]) == (8, ["pink"])
    assert "classes that the student does not know: pink." in ran.err


def test_another_format_has_what_it_states_beside_it(command, student, test_imgs):
    shown = command("export", student, "--format", "torch", "--target", test_imgs, "--json").json
    path = student / "model.pt2"
    assert (shown["path"], shown["format"], shown["opset"]) == (str(path), "torch", None)
    assert shown["bytes"] == path.stat().st_size
    assert shown["runtimes"][1]["name"] == "torch.export"
    facts = json.loads((student / "model.pt2.json").read_text())
    assert (facts["classes"], facts["image_size"]) == (list(COLORS), 32)
    assert facts["input"].startswith("pixels: uint8 [B, 3, 32, 32] of 0..255")
    assert "pass --overwrite" in command("export", student, "--format", "torch").mistake
    line = command("export", student, "--format", "torch", "--out", "a.onnx").mistake
    assert "does not end in .pt2" in line


@pytest.mark.filterwarnings("ignore")
def test_openvino_has_two_files_and_they_agree(command, student, test_imgs):
    ov = pytest.importorskip("openvino")
    shown = command("export", student, "--format", "openvino", "--target", test_imgs, "--json").json
    pair = [student / "model.xml", student / "model.bin"]
    assert shown["bytes"] == sum(path.stat().st_size for path in pair)
    assert shown["difference"] < 1e-4
    model = ov.Core().read_model(pair[0])
    assert model.input("pixels").element_type == ov.Type.u8
    assert model.output("probabilities").partial_shape == ov.PartialShape([-1, 3])
    assert "BatchNormInference" not in {node.get_type_name() for node in model.get_ops()}


def test_a_package_of_apples_cannot_be_compared_here(command, student, monkeypatch):
    def package(network, preprocessing, path):
        path.mkdir()
        (path / "Manifest.json").write_text("{}")

    kind = replace(formats.FORMATS["coreml"], convert=package, packages=())
    monkeypatch.setitem(formats.FORMATS, "coreml", kind)
    ran = command("export", student, "--format", "coreml")
    assert "Not compared: nothing on this machine runs coreml." in ran.out
    (student / "model.mlpackage" / "old").touch()
    assert "pass --overwrite" in command("export", student, "--format", "coreml").mistake
    shown = command("export", student, "--format", "coreml", "--overwrite", "--json").json
    assert (shown["difference"], shown["runtimes"][1]["latency"]) == (None, None)
    assert [path.name for path in (student / "model.mlpackage").iterdir()] == ["Manifest.json"]


def test_a_converter_that_fails_is_one_line(command, student, monkeypatch):
    def fail(*_):
        raise IndexError("list index out of range\nmore")

    kind = replace(formats.FORMATS["torch"], convert=fail)
    monkeypatch.setitem(formats.FORMATS, "torch", kind)
    line = command("export", student, "--format", "torch").mistake
    assert "torch.export's converter cannot export this network (list index out of range)" in line


@pytest.mark.usefixtures("plain_numbers")
def test_the_file_says_what_predict_says(command, student, test_imgs):
    command("export", student, "--onnx")
    rows = command("predict", student, test_imgs, "--json").json
    found = ask(student / "model.onnx", [row["path"] for row in rows])
    assert [label for label, _ in found] == [row["label"] for row in rows]
    assert [chance for _, chance in found] == pytest.approx(
        [row["probability"] for row in rows], abs=1e-4
    )
    assert len({f"{chance:.3f}" for _, chance in found}) > 3


def test_json_has_the_parity_the_costs_and_the_limits(command, student):
    shown = command("export", student, "--onnx", "--json").json
    path = student / "model.onnx"
    assert shown["path"] == str(path)
    assert shown["bytes"] == path.stat().st_size
    assert (shown["precision"], shown["opset"], shown["agrees"]) == ("float32", 18, True)
    assert (shown["images"], shown["agreement"]) == (0, None)
    assert 0 <= shown["difference"] <= 1e-4 == shown["limits"]["difference"]
    latency = {"median": 1.5, "p95": 2.5, "runs": 3}
    common = {"precision": "float32", "latency": latency, "accuracy": None}
    weights = (student / "model.safetensors").stat().st_size
    assert shown["runtimes"] == [
        {"name": "torch", "bytes": weights, **common},
        {"name": "onnxruntime", "bytes": shown["bytes"], **common},
    ]


def test_people_see_a_row_a_runtime_and_where_the_file_is(command, student, test_imgs):
    ran = command("export", student, "--onnx", "--target", test_imgs)
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["torch", "float32", "1.50", "2.50"] in [row[:4] for row in rows]
    assert ["onnxruntime", "float32", "1.50", "2.50"] in [row[:4] for row in rows]
    assert "on 9 images" in ran.out
    assert "the same for 100.0% of the images" in ran.out
    assert f"Saved as {student / 'model.onnx'}" in ran.out


def test_target_is_what_it_is_compared_on_and_stays_untouched(command, student, test_imgs):
    broken = test_imgs / "red" / "broken.png"
    broken.write_bytes(b"no image")
    before = snapshot(test_imgs)
    ran = command("export", student, "--onnx", "--target", test_imgs, "--json")
    assert (ran.json["images"], ran.json["agreement"]) == (9, 1)
    assert str(broken) in ran.err
    assert snapshot(test_imgs) == before


def test_out_is_where_it_goes(command, student, test_imgs):
    assert command("export", student, "--onnx", "--out", "new/ant.onnx").code == 0
    assert [path.name for path in Path("new").iterdir()] == ["ant.onnx"]
    assert not (student / "model.onnx").exists()
    for place, why in {
        "ant.bin": "does not end in .onnx",
        student / "model.safetensors": "does not end in .onnx",
        "new": "does not end in .onnx",
        test_imgs / "ant.onnx": "inside the image folder",
        student / "config.json" / "ant.onnx": "cannot be written",
    }.items():
        words = ("--onnx", "--target", test_imgs, "--out", place)
        assert why in command("export", student, *words).mistake
    Path("folder.onnx").mkdir()
    line = command("export", student, "--onnx", "--out", "folder.onnx", "--overwrite").mistake
    assert "is a folder" in line


def test_overwrite_replaces_a_file_and_nothing_else_does(command, student):
    path = student / "model.onnx"
    path.write_text("mine")
    assert "pass --overwrite" in command("export", student, "--onnx").mistake
    assert path.read_text() == "mine"
    assert command("export", student, "--onnx", "--overwrite").code == 0
    onnx.checker.check_model(onnx.load(path))


@pytest.mark.parametrize(("name", "second"), [("a.xml", "a.bin"), ("a.pt2", "a.pt2.json")])
def test_a_file_beside_the_export_is_not_replaced_either(command, student, name, second):
    pytest.importorskip("openvino")
    Path(second).write_text("mine")
    kind = "openvino" if name == "a.xml" else "torch"
    ran = command("export", student, "--format", kind, "--out", name)
    assert f"{second} exists already" in ran.mistake
    assert Path(second).read_text() == "mine"
    assert not Path(name).exists()


def test_a_file_that_answers_otherwise_is_never_written(command, student, monkeypatch):
    def other(network, preprocessing):
        return lambda pixels: np.full((len(pixels), 3), 1 / 3, dtype=np.float32)

    (student / "model.onnx").write_text("mine")
    before = snapshot(student)
    monkeypatch.setattr(export, "torch_predictor", other)
    line = command("export", student, "--onnx", "--overwrite").mistake
    assert "is not written" in line
    assert "more than 1e-04" in line
    assert snapshot(student) == before


def test_answers_that_are_not_numbers_are_never_written(command, student, monkeypatch):
    def broken(content):
        return lambda pixels: np.full((len(pixels), 3), np.nan, dtype=np.float32)

    monkeypatch.setattr(onnx_file, "onnx_predictor", broken)
    assert "by up to nan" in command("export", student, "--onnx").mistake
    assert not (student / "model.onnx").exists()


def test_torch_is_timed_on_one_thread_and_has_its_threads_back(command, student, monkeypatch):
    seen = []

    def measure(answer, image):
        assert image.shape == (1, 3, 32, 32)
        seen.append(torch.get_num_threads())
        return export.Latency(1.0, 1.0, 1)

    before = torch.get_num_threads()
    monkeypatch.setattr(export, "measure_latency", measure)
    try:
        torch.set_num_threads(2)
        assert command("export", student, "--onnx").code == 0
        assert (seen, torch.get_num_threads()) == ([1, 1], 2)
    finally:
        torch.set_num_threads(before)


def test_real_images_can_refuse_it_too(command, student, test_imgs, monkeypatch):
    real = export.torch_predictor

    def odd(network, preprocessing):
        answer = real(network, preprocessing)
        gray = export.draw_noise(32)
        return lambda pixels: answer(pixels) + (0 if np.isin(pixels, gray[0]).all() else 0.1)

    def dull(size):
        return np.full((2, 3, size, size), 128, dtype=np.uint8)

    monkeypatch.setattr(export, "torch_predictor", odd)
    monkeypatch.setattr(export, "draw_noise", dull)
    assert command("export", student, "--onnx", "--json").json["difference"] < 1e-4
    words = ("--onnx", "--overwrite", "--target", test_imgs)
    assert "by up to 1.0e-01" in command("export", student, *words).mistake


def test_int8_is_another_file_with_ranges_of_the_images(command, student, test_imgs, tmp_path):
    words = ("export", student, "--onnx", "--int8", "--json", "--target")
    shown = command(*words, test_imgs).json
    path = student / "model.int8.onnx"
    assert (shown["path"], shown["precision"], shown["images"]) == (str(path), "int8", 9)
    assert [(row["name"], row["precision"]) for row in shown["runtimes"]] == [
        ("torch", "float32"),
        ("onnxruntime", "float32"),
        ("onnxruntime", "int8"),
    ]
    assert shown["bytes"] == path.stat().st_size < shown["runtimes"][1]["bytes"]
    facts = facts_of(path)
    assert facts["precision"] == "int8"
    assert json.loads(facts["classes"]) == list(COLORS)
    paint(tmp_path / "dark" / "1.png", (3, 3, 3))
    assert command(*words, tmp_path / "dark", "--out", "dark.onnx").code == 0
    assert Path("dark.onnx").read_bytes() != path.read_bytes()


def test_the_agreement_of_int8_is_that_of_its_top_classes_with_predict(command, student, imgs):
    shown = command("export", student, "--onnx", "--int8", "--target", imgs, "--json").json
    rows = command("predict", student, imgs, "--json").json
    found = ask(student / "model.int8.onnx", [row["path"] for row in rows])
    pairs = zip(found, rows, strict=True)
    same = [label == row["label"] for (label, _), row in pairs]
    assert shown["agreement"] == pytest.approx(sum(same) / len(same), abs=1 / 18)
    assert shown["difference"] > 1e-4


def test_int8_that_names_other_classes_is_kept_with_a_warning(
    command, student, test_imgs, monkeypatch
):
    words = ("export", student, "--onnx", "--int8", "--target", test_imgs, "--overwrite", "--json")
    monkeypatch.setattr(export, "AGREEMENT", 0.0)
    ran = command(*words)
    assert (ran.json["agrees"], ran.err) == (True, "")
    monkeypatch.setattr(export, "AGREEMENT", 1.01)
    ran = command(*words)
    assert ran.json["agrees"] is False
    assert ran.err.startswith(f"Warning: {student / 'model.int8.onnx'} predicts another class")
    assert (student / "model.int8.onnx").exists()


def test_images_that_cannot_be_used_are_one_line(command, student, tmp_path):
    (tmp_path / "empty").mkdir()
    words = ("export", student, "--onnx", "--target")
    assert "No readable image" in command(*words, tmp_path / "empty").mistake
    assert "does not exist" in command(*words, tmp_path / "none").mistake
    assert not list(student.glob("*.onnx"))


def test_loose_images_without_labels_will_do(command, student, tmp_path):
    loose = paint_folder(tmp_path / "loose", per_class=0, loose=3)
    shown = command("export", student, "--onnx", "--target", loose, "--json").json
    assert shown["images"] == 3


def test_what_is_no_student_is_one_line(command, student):
    assert (
        "Name a folder that `zoo distill` wrote" in command("export", "nowhere", "--onnx").mistake
    )
    assert not Path("nowhere").exists()
    (student / "model.safetensors").write_bytes(b"damaged")
    assert "are damaged" in command("export", student, "--onnx").mistake


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_one_line_says_what_to_install(command, student, monkeypatch, name):
    monkeypatch.setattr(formats, "find_spec", lambda asked: None if asked == name else 1)
    line = command("export", student, "--onnx").mistake
    assert f"needs {name}: pip install 'source-zoo[export]'" in line
    assert not (student / "model.onnx").exists()


ODD = [
    ("--onnx", "--int8"),
    ("--onnx", "--int4"),
    ("--format", "caffe"),
    ("--format", "litert", "--onnx"),
    ("--format", "openvino", "--with-resize"),
]


@pytest.mark.parametrize("words", ODD, ids=" ".join)
def test_options_that_do_not_go_together_are_refused(command, student, words):
    ran = command("export", student, *words)
    assert (ran.code, ran.out) == (2, "")
    assert "--" in ran.err
