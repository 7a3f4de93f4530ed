"""A run whose questions are asked, without Ray and without training: for tests of the annotation page."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pools
import pyarrow as pa
import yaml
from fastapi.testclient import TestClient

from pipelines.annotation import asked, stage
from pipelines.annotation.app import create_app
from pipelines.annotation.desk import Desk
from pipelines.annotation.serve import open_desk, open_secret, open_site, serving
from pipelines.annotation.views import Site as Page
from pipelines.config import Config, identity, load
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from pipelines.pool import Pool
from pipelines.storage import open_storage
from weakseg import codec
from weakseg.datasets import open_layout
from weakseg.schema import QUERIES

SIZE = (48, 64)
VERSIONS = {"python": "3.11.0"}
CLASSES = ("meadow", "water", "house")
COLORS = ((110, 193, 228), (226, 169, 41), (80, 80, 200))


@dataclass
class Site:
    """A run that is asked.

    Attributes:
        root: The storage.
        config: The run's configuration.
        pool: Its images.
    """

    root: Path | str
    config: Config
    pool: Pool

    def ledger(self) -> Ledger:
        """The run, only read, as a server sees it."""
        return Ledger.read(open_storage(self.root), self.config.run)

    @contextmanager
    def held(self) -> Iterator[Ledger]:
        """The run, held as a driver does."""
        settings = identity(self.config, self.pool.digest)
        plan = self.config.model_dump(mode="json")
        with Ledger.open(open_storage(self.root), self.config.run, settings, plan, VERSIONS) as ledger:
            yield ledger

    def ask(self, round: int, *, pixels: int = 3, kind: str = "pixel") -> None:
        """Write a round's queries and ask them."""
        with self.held() as ledger:
            if self.config.supervision.points:
                queries = draw(ledger.pool, round, pixels, kind)
                ledger.write_table(f"{ledger.round(round)}/queries.parquet", queries)
            masks = MaskReader(ledger.pool)
            table = stage.to_ask(self.config, ledger, round, masks=masks.find if masks.available("train") else None)
            ledger.write_table(f"{ledger.round(round)}/{asked.ASKED}", table)

    def close(self, round: int) -> pa.Table:
        """Close a round as a driver does, whatever is answered; its labels."""
        with self.held() as ledger:
            desk = open_desk(self.config, ledger)
            masks = MaskReader(ledger.pool)
            labels = stage.close(ledger, round, desk, masks=masks.find if masks.available("train") else None)
            desk.answers.close()
            return labels

    def desk(self, **changes: Any) -> Desk:
        """A desk of its own."""
        desk = open_desk(self.config, self.ledger())
        for name, value in changes.items():
            setattr(desk, name, value)
        return desk

    def page(self, desk: Desk | None = None) -> Page:
        """What the application works with."""
        return open_site(self.config, desk or self.desk())

    def app(self, desk: Desk | None = None) -> Any:
        """The application, to be called without a server."""
        return create_app(self.page(desk))


@dataclass(frozen=True)
class Served:
    """A site that is served: where, and each annotator's link."""

    url: str
    links: dict[str, str]
    thread: threading.Thread


def site(
    tmp_path: Path,
    *,
    images: int = 6,
    pixels: int = 3,
    annotators: Sequence[str] = ("anna",),
    classes: Sequence[str] = CLASSES,
    kinds: Sequence[str] = ("pixel",),
    masks: bool = True,
    kind: str = "pixel",
    overrides: Sequence[str] = (),
    root: str | None = None,
) -> Site:
    """A run with round 0 asked.

    Args:
        tmp_path: An empty folder.
        images: How many training images.
        pixels: Questions per image.
        annotators: Who answers.
        classes: Names of the classes.
        kinds: Pages that have something to ask: pixel, proportions, coarse.
        masks: Whether the images have masks.
        kind: pixel or region: what is asked on the page of pixels.
        overrides: Further settings, such as labelling.repeat=0.5.
        root: The storage; None = a folder below `tmp_path`.
    """
    data = tmp_path / "data"
    write_data(data, images=images, classes=classes, masks=masks)
    segments = 20 if kind == "region" else 0
    plan = load(
        "demo",
        [
            "run=asked",
            f"storage.root={root or tmp_path / 'storage'}",
            "data.layout=folder",
            f"data.path={data}",
            "data.images=null",
            f"data.size={list(SIZE)}",
            f"superpixels.segments={segments}",
            "training.augmentation.crop=null",
            "training.augmentation.scale=[1.0, 1.0]",
            "training.early_stopping=null",
            "labelling.annotator=browser",
            "labelling.browser.port=0",
            f"labelling.browser.annotators=[{', '.join(annotators)}]",
            f"labelling.pixels_per_image={pixels}",
            f"labelling.acquisition={'region' if kind == 'region' else 'random'}",
            f"supervision.points={'true' if 'pixel' in kinds else 'false'}",
            *(["labelling.rounds=1"] if "pixel" not in kinds else []),
            *(f"supervision.{name}=people" for name in ("proportions", "coarse") if name in kinds),
            *(["loss.proportion=1.0"] if "proportions" in kinds else []),
            *(["loss.mask=1.0"] if "coarse" in kinds else []),
            *overrides,
        ],
    )
    layout = open_layout("folder", data, seed=0)
    where = root or tmp_path / "storage"
    pool = pools.make_pool(layout, where, size=SIZE, segments=segments)
    made = Site(where, plan, pool)
    made.ask(0, pixels=pixels, kind=kind)
    return made


@contextmanager
def serve(asked_site: Site) -> Iterator[Served]:
    """Serve a site with a real server on a free port."""
    desk = asked_site.desk()
    with serving(asked_site.page(desk), host="127.0.0.1", port=0) as served:
        yield Served(served.url, served.links, served.thread)
    desk.answers.close()


URL = "http://127.0.0.1:8765"


def client(made: Site, app: Any, annotator: str | None = "anna") -> httpx.Client:
    """A browser of an annotator's, signed in, without a server; None = nobody is signed in."""
    found = TestClient(app, base_url=URL, headers={"origin": URL})
    if annotator is not None:
        response = found.post("/api/session", json={"token": open_secret(made.ledger()).token(annotator)})
        assert response.status_code == 200, response.text
    return found


def write_data(
    folder: Path, *, images: int, classes: Sequence[str] = CLASSES, masks: bool = True
) -> dict[str, np.ndarray]:
    """Images of vertical stripes, one per class, in the layout `folder`; their masks by image_id."""
    (folder / "images" / "train").mkdir(parents=True)
    rows = [{"name": name, "color": "#" + bytes(_color(number)).hex()} for number, name in enumerate(classes)]
    (folder / "classes.yaml").write_text(yaml.safe_dump({"classes": rows}))
    found = {}
    for number in range(images):
        mask_HW = np.zeros(SIZE, np.uint8)
        mask_HW[:] = (np.arange(SIZE[1]) * len(classes) // SIZE[1] + number) % len(classes)
        image_HW3 = np.array([_color(value) for value in range(len(classes))], np.uint8)[mask_HW]
        (folder / "images" / "train" / f"{number:03d}.png").write_bytes(codec.encode_png(image_HW3))
        if masks:
            (folder / "masks" / "train").mkdir(parents=True, exist_ok=True)
            (folder / "masks" / "train" / f"{number:03d}.png").write_bytes(codec.encode_mask(mask_HW))
        found[f"train/{number:03d}"] = mask_HW
    return found


def draw(pool: Pool, round: int, pixels: int, kind: str = "pixel") -> pa.Table:
    """Queries at pixels that no other round asks."""
    rows = []
    index = pool.index("train")
    for image_id, height, width in zip(index.image_ids.to_pylist(), index.heights, index.widths, strict=True):
        segments_HW = pool.segments_of([image_id], split="train")(image_id) if kind == "region" else None
        for rank in range(pixels):
            pixel = (rank * 97 + 31) % (height // 4) * width * 4 + round * width + (rank * 41 + 7) % width
            y, x = divmod(int(pixel), int(width))
            rows.append(
                {
                    "image_id": image_id,
                    "round": round,
                    "kind": kind,
                    "purpose": "train",
                    "y": y,
                    "x": x,
                    "segment": None if segments_HW is None else int(segments_HW[y, x]),
                    "score": 0.0,
                    "rank": rank,
                    "strategy": "random",
                }
            )
    return pa.Table.from_pylist(rows, schema=QUERIES)


def _color(number: int) -> tuple[int, int, int]:
    return COLORS[number] if number < len(COLORS) else (number, 255 - number, 40)
