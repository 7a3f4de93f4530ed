"""The pictures of the pages in the README: `WEAKSEG_PICTURES=docs/images pytest -m long .../test_pictures.py`."""

import io
import os
from pathlib import Path

import annotation_site
import pytest
from browser import Visit
from PIL import Image
from playwright.sync_api import Browser

from weakseg.datasets import open_layout

pytestmark = [pytest.mark.browser, pytest.mark.long]

SIZE = (288, 384)
VIEW = {"width": 960, "height": 600}
LIMIT = 100_000
PACE = 1300
"""Milliseconds that somebody looks at a point before they know."""

AREAS = {
    "6": [
        (0.581, 0.862),
        (0.706, 0.862),
        (0.731, 0.914),
        (0.831, 0.914),
        (0.897, 0.862),
        (0.947, 0.877),
        (0.976, 0.920),
        (0.976, 0.951),
        (0.698, 0.951),
        (0.623, 0.909),
        (0.598, 0.951),
        (0.548, 0.951),
    ],
    "2": [(0.602, 0.677), (0.814, 0.708), (0.880, 0.782), (0.930, 0.840), (0.714, 0.835), (0.602, 0.809)],
    "3": [
        (0.017, 0.534),
        (0.083, 0.587),
        (0.158, 0.624),
        (0.191, 0.661),
        (0.357, 0.661),
        (0.432, 0.645),
        (0.515, 0.576),
        (0.598, 0.534),
        (0.698, 0.507),
        (0.706, 0.550),
        (0.581, 0.592),
        (0.532, 0.634),
        (0.465, 0.677),
        (0.374, 0.724),
        (0.291, 0.745),
        (0.241, 0.719),
        (0.166, 0.698),
        (0.091, 0.624),
        (0.017, 0.592),
    ],
}
"""Areas of the first scene: key and corners, as shares of the drawing's width and height."""


def write_scenes(folder: Path, *, images: int, classes: object, masks: bool) -> dict:
    """Generated scenes in the layout `folder`, in place of the stripes of other tests."""
    layout = open_layout("scenes", None, seed=0, images=images, size=SIZE)
    (folder / "images" / "train").mkdir(parents=True)
    (folder / "masks" / "train").mkdir(parents=True)
    (folder / "classes.yaml").write_text(layout.classes.to_yaml())
    for number, source in enumerate(layout.sources()):
        image, mask = layout.read(source)
        (folder / "images" / "train" / f"{number:03d}.png").write_bytes(image)
        (folder / "masks" / "train" / f"{number:03d}.png").write_bytes(mask)
    return {}


def points(tab: Visit) -> None:
    for key in ("1", "5", "1", "6", "1"):
        tab.page.wait_for_timeout(PACE)
        tab.press(key)


def proportions(tab: Visit) -> None:
    for key in ("1", "2", *["Shift+ArrowUp"] * 3, "4", "Shift+ArrowUp", *["ArrowUp"] * 2, "5", *["Shift+ArrowUp"] * 3):
        tab.page.keyboard.press(key)


def areas(tab: Visit) -> None:
    box = tab.page.locator("#drawing").bounding_box()
    for key, corners in AREAS.items():
        tab.page.keyboard.press(key)
        for x, y in corners:
            tab.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        tab.page.keyboard.press("Enter")
    tab.page.mouse.move(box["x"] + 2, box["y"] + 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_are_made_and_small(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str):
    monkeypatch.setattr(annotation_site, "write_data", write_scenes)
    monkeypatch.setattr(annotation_site, "SIZE", SIZE)
    site = annotation_site.site(tmp_path, images=5, pixels=6, kinds=("pixel", "proportions", "coarse"))
    out = Path(os.environ.get("WEAKSEG_PICTURES", tmp_path))
    with annotation_site.serve(site) as served:
        for path, name, act in (
            ("/", "points", points),
            ("/proportions", "proportions", proportions),
            ("/coarse", "areas", areas),
        ):
            with browser.new_context(viewport=VIEW, color_scheme=scheme) as context:
                tab = Visit(context.new_page(), url=served.url, links=served.links, site=site)
                tab.enter(path=path)
                act(tab)
                tab.saved()
                tab.page.mouse.move(0, 0)
                picture = Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
            target = out / f"annotate-{name}-{scheme}.webp"
            picture.save(target, quality=85, method=6)
            assert target.stat().st_size < LIMIT
            assert picture.size == (VIEW["width"], VIEW["height"])
            assert tab.complaints == []
