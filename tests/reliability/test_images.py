"""Folders of images as people have them: every oddity at once, and files that come and go."""

import json
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.forked_zoo import ForkedZoo
from tests.support.toys import build_teacher, paint, paint_folder
from tests.support.worlds import snapshot
from zoo.images.decoding import in_threads
from zoo.images.folder import read_images

HUGE = 60_000
"""Pixels on a side that bombs declare: 3.6 thousand million, 11 GB as RGB."""


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(
        ">I", zlib.crc32(name + content))  # fmt: skip


def png_bomb():
    head = struct.pack(">IIBBBBB", HUGE, HUGE, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif_bomb():
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, HUGE, HUGE, 0) + b"\x02\x02\x4c\x01\x00"
    screen = struct.pack("<HHBBB", HUGE, HUGE, 0x80, 0, 0)
    return b"GIF89a" + screen + bytes(6) + frame + b"\x3b"


def bmp_bomb():
    head = struct.pack("<IiiHHIIiiII", 40, HUGE, HUGE, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


def tiff_bomb():
    tags = [(256, 4, HUGE), (257, 4, HUGE), (258, 3, 8), (259, 3, 1), (262, 3, 1),
            (273, 4, 8), (277, 3, 1), (278, 4, HUGE), (279, 4, HUGE * 9)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def jpeg_bomb(path):
    content = bytearray(paint(path, (9, 9, 9)).read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", HUGE, HUGE)
    return bytes(content)


@pytest.fixture
def odd(imgs, tmp_path):
    """The folder with readable oddities in red and unreadable ones in blue; names of the latter."""
    red, blue = imgs / "red", imgs / "blue"
    for path in red.iterdir():
        path.unlink()
    values = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    image.convert("CMYK").save(red / "cmyk.jpg")
    Image.fromarray(values[..., 0].astype(np.uint16) * 256).save(red / "sixteen.png")
    image.save(red / "animated.gif", save_all=True, append_images=[image.rotate(90)])
    image.convert("P").save(red / "palette.png", transparency=3)
    image.convert("LA").save(red / "gray.png")
    bad = {"png.png": png_bomb(), "gif.gif": gif_bomb(), "bmp.bmp": bmp_bomb(),
           "tiff.tif": tiff_bomb(), "jpeg.jpg": jpeg_bomb(tmp_path / "x.jpg"),
           "zero.png": b"", "text.webp": b"hello"}  # fmt: skip
    whole = paint(tmp_path / "y.png", (90, 90, 90)).read_bytes()
    bad |= {"truncated.png": whole[: len(whole) // 2], "head.png": whole[:20]}
    for name, content in bad.items():
        (blue / name).write_bytes(content)
    (blue / "round.png").symlink_to(blue / "round.png")
    (blue / "nowhere.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (blue / "loop").symlink_to(imgs)
    return {*bad, "round.png", "nowhere.jpg"}


def test_every_oddity_at_once_is_one_line_and_a_student(command, distil, imgs, odd, toy_zoo):
    before = snapshot(imgs / "red")
    ran = command("rank", "--target", imgs, "--json")
    assert ran.json["images"] == 4 + 4 + 5 + 6
    (line,) = [line for line in ran.err.splitlines() if "unreadable" in line]
    assert line.startswith(f"Skipped {len(odd)} unreadable images (")
    ran = distil("--test", imgs, "--json")
    assert ran.json["labeled"] == 13
    ran = command("predict", "student", imgs, "--json")
    assert ran.code == 1
    rows = json.loads(ran.out)
    assert len([row for row in rows if "error" not in row]) == 19
    assert {Path(row["path"]).name for row in rows if "error" in row} == odd
    assert snapshot(imgs / "red") == before


def test_bombs_are_refused_by_what_they_declare_before_they_are_decoded(imgs, odd, monkeypatch):
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(
        Image.Image, "load", lambda image: decoded.append(image.size) or load(image)
    )
    reasons = {entry.path.name: entry.reason for entry in read_images(imgs).skipped}
    for name in ("png.png", "gif.gif", "bmp.bmp", "tiff.tif", "jpeg.jpg"):
        assert "pixels" in reasons[name], (name, reasons[name])
    assert max(width for width, _ in decoded) < 100


def after_reading(monkeypatch, change):
    """Something happens to the images once they have been read."""
    from zoo.images.source import ImageSource

    read = ImageSource.read

    def reading(*words, **more):
        images = read(*words, **more)
        change()
        return images

    monkeypatch.setattr(ImageSource, "read", reading)


CHANGES = {
    "deleted": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("new.png")),
    "replaced": lambda path: paint(path, (1, 2, 3), seed=77),
    "emptied": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("how", CHANGES)
def test_an_image_that_changes_during_the_run_is_one_line_and_the_next_run_is_right(
    command, distil, imgs, toy_zoo, monkeypatch, how
):
    victim = imgs / "green" / "2.png"
    with monkeypatch.context() as patch:
        after_reading(patch, lambda: CHANGES[how](victim))
        line = command("rank", "--target", imgs).mistake
        assert f"{victim} changed while it was in use" in line
    assert command("rank", "--target", imgs).code == 0
    victim = imgs / "red" / "2.png"
    with monkeypatch.context() as patch:
        after_reading(patch, lambda: CHANGES[how](victim))
        ran = distil("--target", imgs)
        assert (ran.code, ran.out) == (1, "")
        line = ran.err.splitlines()[-1]  # the one before may tell of the other victim
        assert f"{victim} changed while it was in use" in line
        assert not Path("student").exists()
    assert distil("--target", imgs).code == 0


@pytest.fixture
def plain_user(tmp_path):
    """A user for whom the modes of files hold, in a folder with one, `private`, to read only."""
    home = tmp_path / "home"
    (home / "private").mkdir(parents=True)
    (home / "private").chmod(0o555)
    yield ForkedZoo(home, home / "cache", plain=os.geteuid() == 0)
    for path in home.rglob("*"):
        path.chmod(0o755)


def test_what_another_user_keeps_private_is_named_and_the_rest_goes_on(plain_user):
    user = plain_user
    imgs = paint_folder(user.home / "imgs", per_class=4, loose=6)
    (imgs / "red" / "0.png").chmod(0)
    build_teacher(user.home / "zoo" / "ant", "ant")
    rank = ("rank", "--target", "imgs", "--zoo", "zoo")
    ran = user.zoo(*rank, "--save", "private/r.json")
    assert (ran.code, ran.out) == (1, "")
    skipped, line = ran.err.splitlines()
    assert "red/0.png: Permission denied" in skipped
    assert line.startswith("Error: The ranking could not be saved as private/r.json: Permission")
    (imgs / "green").chmod(0)
    line = user.zoo(*rank).mistake
    assert "imgs/green cannot be read (Permission denied)" in line


def test_whoever_stops_does_not_wait_for_the_images_that_are_left():
    done = []

    def work(number):
        time.sleep(0.002)
        done.append(number)

    def stop(number, _):
        if number == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(work, range(2000), 2000, stop))
    assert len(done) < 200
