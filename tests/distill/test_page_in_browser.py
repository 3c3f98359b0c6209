"""Report pages in a real browser; skipped without playwright and a chromium of the machine."""

import pytest

from distill.report.ranking_page import ranking_page
from tests.distill.test_page import make_page
from tests.support.page_samples import make_ranking, make_report
from tests.tools.screenshot_report import CHROMIUM

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

CONTRAST = """() => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const over = (colors) => {
    pen.clearRect(0, 0, 1, 1);
    for (const color of colors) { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), below = [];
    for (let at = element; at; at = at.parentElement) {
      below.unshift(getComputedStyle(at).backgroundColor);
    }
    const color = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [light(over([...below, color])), light(over(below))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([contrast, element.tagName + " " + element.textContent.trim().slice(0, 30)]);
  }
  return found;
}"""
"""WCAG's contrast of every text with what lies below it."""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(params=["student", "ranking"])
def path(request, images, toy_zoo, tmp_path):
    ranking = make_ranking().to_json()
    page = (
        make_page(make_report(list(images.paths)), cards=toy_zoo, ranking=ranking)
        if request.param == "student"
        else ranking_page(ranking, command="zoo rank " + "long/" * 40)
    )
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    return tmp_path / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_a_page_fits_its_window_and_every_text_can_be_read(browser, path, width, scheme):
    window = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page, complaints = window.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url))
    page.goto(path.as_uri())
    for details in page.query_selector_all("details"):
        details.evaluate("element => { element.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts = page.evaluate(CONTRAST)
    assert len(texts) > 30
    assert [text for text in texts if text[0] < 4.5] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 384) == (scheme == "light")
    assert [text for text in complaints if text != path.as_uri() and text[:5] != "data:"] == []
    window.close()


def test_the_keyboard_reaches_links_and_scrolling_tables_with_a_visible_mark(browser, path):
    page = browser.new_page(viewport={"width": 360, "height": 700})
    page.goto(path.as_uri())
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.tagName"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid" or page.evaluate("document.activeElement === document.body")
    assert {"A", "DIV", "PRE"} <= seen
    page.close()
