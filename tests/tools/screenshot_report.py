"""A picture of a report page: `python -m tests.tools.screenshot_report REPORT.html PICTURE.png`.

`docs/report.png` shows a student of the images of `zoo demo`; needs a chromium on the path.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = ("sync", "background-networking", "component-update", "gpu", "quic", "default-apps")
COLORS = 256
"""Of the picture: as many as thin marks need to keep theirs, and still a small file."""


def picture(page: Path, out: Path, *, width: int, height: int, dark: bool) -> None:
    """Write the top of a page, seen in a window of this size, as a PNG.

    Raises:
        CalledProcessError: the browser failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        shot, frame = Path(folder, "shot.png"), Path(folder, "frame.html")
        # a window has a smallest width, a frame inside it has none
        look = f"border:0;width:{width}px;height:{height}px"
        inner = f'<iframe src="{page.resolve().as_uri()}" style="{look}"></iframe>'
        frame.write_text(f'<!DOCTYPE html><body style="margin:0">{inner}', encoding="utf-8")
        words = [
            *("--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars"),
            *(f"--disable-{name}" for name in QUIET),
            f"--user-data-dir={folder}/profile",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width, 500)},{height + 200}",  # some of it is lost to a title bar
            f"--screenshot={shot}",
        ]
        subprocess.run([CHROMIUM or "chromium", *words, frame.as_uri()], check=True)
        with Image.open(shot) as image:
            whole = image.convert("RGB").crop((0, 0, width, height))
    whole.quantize(COLORS, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1080)
    parser.add_argument("--height", type=int, default=1240)
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("There is no chromium on the path: apt-get install chromium.")
    picture(asked.page, asked.out, width=asked.width, height=asked.height, dark=asked.dark)
