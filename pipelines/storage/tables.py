"""Parquet files in the making: on the local disk, wherever they go in the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Refusing = Callable[[], AbstractContextManager[None]]
"""Makes a block in which the disk's refusals become an error that names the file (:func:`pipelines.files.refusing`)."""


class TableWriter:
    """A Parquet file in the making (see :meth:`pipelines.storage.Storage.table_writer`)."""

    def __init__(self, file: pq.ParquetWriter, refusing: Refusing) -> None:
        """Write to an open file."""
        self._file, self._refusing = file, refusing

    def write(self, table: pa.Table, *, row_group_size: int | None = None) -> None:
        """Append rows as one row group, or as several of at most so many rows.

        Raises:
            ResourceError: If the disk refuses it.
        """
        with self._refusing():
            self._file.write_table(table, row_group_size=row_group_size)


@contextmanager
def written_to(path: Path, schema: pa.Schema, options: dict[str, Any], refusing: Refusing) -> Iterator[TableWriter]:
    """A writer to a local file, which is complete when the block ends well.

    Args:
        path: The file.
        schema: Its columns.
        options: What ``pyarrow.parquet.ParquetWriter`` takes; compression is zstd unless they say otherwise.
        refusing: Tells what could not be written.
    """
    with refusing():
        file = pq.ParquetWriter(str(path), schema, **{"compression": "zstd"} | options)
    try:
        yield TableWriter(file, refusing)
    finally:
        with refusing():
            file.close()
