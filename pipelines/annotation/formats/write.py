"""Questions and answers into a file, in the format that its name asks for."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.annotation.formats.own import Row, write_csv, write_json, write_via
from weakseg.errors import DataError


def write(path: Path, rows: Sequence[Row], *, names: Sequence[str], files: dict[str, str], run: str) -> None:
    """Write a file.

    Args:
        path: Ends with .csv, .via.json (a project of the VGG Image Annotator) or .json.
        rows: Questions, with the answers there are.
        names: The classes.
        files: What the image file of every image_id is called.
        run: The run's name.

    Raises:
        DataError: The name asks for no format that is known, or the file cannot be written.
    """
    name = path.name.lower()
    try:
        if name.endswith(".csv"):
            write_csv(path, rows)
        elif name.endswith(".via.json"):
            write_via(path, [row for row in rows if "via_x" in row], names=names, files=files, run=run)
        elif name.endswith(".json"):
            write_json(path, rows)
        else:
            raise DataError(f"{path.name}: expected a name that ends with .csv, .json or .via.json")
    except OSError as error:
        raise DataError(f"{path.name}: cannot be written ({error.strerror})") from error
