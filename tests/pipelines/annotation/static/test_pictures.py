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
LIMIT = 150_000


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
    for key in ("1", "5", "1", "6"):
        tab.press(key)


def proportions(tab: Visit) -> None:
    for key in ("1", "2", *["Shift+ArrowUp"] * 3, "4", "Shift+ArrowUp", *["ArrowUp"] * 2, "5", *["Shift+ArrowUp"] * 3):
        tab.page.keyboard.press(key)


def areas(tab: Visit) -> None:
    box = tab.page.locator("#drawing").bounding_box()
    for key, corners in (
        ("6", [(0.6, 0.93), (0.62, 0.87), (0.85, 0.86), (0.95, 0.9), (0.95, 0.97), (0.6, 0.97)]),
        ("2", [(0.62, 0.7), (0.9, 0.66), (0.94, 0.82), (0.6, 0.83)]),
        ("3", [(0.06, 0.6), (0.2, 0.68), (0.32, 0.78), (0.26, 0.8), (0.12, 0.72), (0.06, 0.66)]),
    ):
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
            target = out / f"annotate-{name}-{scheme}.png"
            # 256 colours: a third of the bytes, and no difference that one sees.
            picture.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
            assert target.stat().st_size < LIMIT
            assert picture.size == (VIEW["width"], VIEW["height"])
            assert tab.complaints == []
