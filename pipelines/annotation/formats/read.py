"""Which format a file is in, told by what is in it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.annotation.formats.coco import read_coco, read_datumaro
from pipelines.annotation.formats.cvat import read_cvat
from pipelines.annotation.formats.label_studio import read_label_studio
from pipelines.annotation.formats.own import read_csv, read_json, read_via
from pipelines.annotation.formats.shapes import Entry, Shape
from weakseg.errors import DataError

KNOWN = (
    "CSV or JSON as weakseg exports it, a project of the VGG Image Annotator, Label Studio's JSON, CVAT's XML or "
    "Datumaro JSON, COCO JSON"
)


def read(path: Path) -> list[Shape]:
    """All labelled shapes of a file.

    Args:
        path: The file; its format is found out.

    Raises:
        DataError: There is no such file, its format is not known, or an entry is faulty; file and entry are named.
    """
    try:
        if path.suffix.lower() == ".csv":
            return list(read_csv(path))
        if path.suffix.lower() == ".xml":
            return list(read_cvat(path))
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path.name}: no such file (looked for {path})") from None
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{path.name}: the file: cannot be read ({error}); expected {KNOWN}") from error
    return list(_shapes(content, Entry(content, "", path.name)))


def _shapes(content: Any, entry: Entry) -> Iterator[Shape]:
    if isinstance(content, list):
        return read_label_studio(entry)
    fields = set(content) if isinstance(content, dict) else set()
    if "questions" in fields:
        return read_json(entry)
    if {"images", "annotations", "categories"} <= fields:
        return read_coco(entry)
    if {"items", "categories"} <= fields:
        return read_datumaro(entry)
    images = content.get("_via_img_metadata", content) if isinstance(content, dict) else {}
    if isinstance(images, dict) and images and all(isinstance(v, dict) and "regions" in v for v in images.values()):
        return read_via(entry)
    entry.fail(f"not a format that is known; expected {KNOWN}")
