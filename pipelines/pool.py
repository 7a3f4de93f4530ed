"""The pool: the prepared images, read by part, by split or by index. Masks are behind a door of their own (`masks`)."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.holdout import held_out
from pipelines.ledger.layout import PROPORTIONS_TABLE, SUCCESS, part_key, pool_key, superpixels_table
from pipelines.storage import Storage
from weakseg import codec
from weakseg.datasets import Classes
from weakseg.errors import DataError

INDEX = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("part", pa.int32()),
        ("row", pa.int32()),
    ]
)
"""`index.parquet`: where every image lies, without the images."""

CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class PoolIndex:
    """The images of a split (or of all), in the pool's order, as flat arrays.

    Attributes:
        image_ids: (N,) Arrow strings.
        heights: (N,) int32.
        widths: (N,) int32.
        part: (N,) int32, which part an image lies in, ascending.
        row: (N,) int32, its row there.
    """

    image_ids: pa.StringArray
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    part: NDArray[np.int32]
    row: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.part)

    def only(self, chosen: NDArray[np.bool_]) -> "PoolIndex":
        """Some of the images: (N,) True for those to keep."""
        arrays = (self.heights, self.widths, self.part, self.row)
        return PoolIndex(self.image_ids.filter(pa.array(chosen)), *(array[chosen] for array in arrays))

    def parts(self) -> list[int]:
        """The parts that hold at least one of the images."""
        return [int(part) for part in np.unique(self.part)]


@dataclass(frozen=True)
class PoolImage:
    """One decoded image; `index` counts within its split (or within all images). `segments` only where asked for."""

    index: int
    image_id: str
    image: NDArray[np.uint8]
    segments: NDArray[np.int32] | None = None


class Pool:
    """A prepared pool. Small and picklable: workers get it and open files themselves.

    Args:
        storage: Where it lies.
        digest: Its name.
        segments: Which superpixels go with it; 0 = none.
        compactness: Their compactness.
        coarse: The table of coarse labels that goes with it; None = none.
        holdout: Share of the training images that are kept aside where no image has a mask, and the seed of the draw;
            they are the split `holdout`. None = nothing is kept aside.
    """

    def __init__(
        self,
        storage: Storage,
        digest: str,
        *,
        segments: int = 0,
        compactness: float = 10.0,
        coarse: str | None = None,
        holdout: tuple[float, int] | None = None,
    ) -> None:
        """Name a pool; nothing is read yet."""
        self.storage, self.digest, self.segments, self.compactness = storage, digest, segments, compactness
        self.coarse, self.holdout = coarse, holdout
        self._manifest: dict[str, Any] | None = None
        self._indexes: dict[str | None, PoolIndex] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without what was read."""
        return _rebuilt, (self.storage, self.digest, self.segments, self.compactness, self.coarse, self.holdout)

    @property
    def manifest(self) -> dict[str, Any]:
        """`manifest.json`: counts, sizes, parts, settings, versions, content digest.

        Raises:
            DataError: The pool is not prepared.
        """
        if self._manifest is None:
            if not self.storage.exists(f"{pool_key(self.digest)}/{SUCCESS}"):
                raise DataError(
                    f"pool {self.digest} is not prepared in storage {self.storage.root}: run `prepare` first"
                )
            self._manifest = json.loads(self.storage.read_bytes(f"{pool_key(self.digest)}/manifest.json"))
        return self._manifest

    @property
    def classes(self) -> Classes:
        """The classes that masks and labels speak of."""
        return Classes.from_yaml(self.storage.read_bytes(f"{pool_key(self.digest)}/classes.yaml").decode())

    @property
    def size(self) -> tuple[int, int]:
        """The largest height and the largest width among the images."""
        return self.manifest["height"][1], self.manifest["width"][1]

    @property
    def parts(self) -> list[int]:
        """The numbers of all parts; a part may be empty."""
        return list(range(len(self.manifest["rows"])))

    @property
    def superpixels(self) -> str:
        """The name of the table of superpixels; ValueError where there are none."""
        return superpixels_table(self.segments, self.compactness)

    def index(self, split: str | None = None) -> PoolIndex:
        """Where the images of a split lie.

        Args:
            split: train, val or test, or holdout: training images that are kept aside; None = all.
        """
        if split in ("train", "holdout") and split not in self._indexes:
            self._indexes |= self._divided()
        if split not in self._indexes:
            self._indexes[split] = self._indexed(split)
        return self._indexes[split]

    def _divided(self) -> dict[str | None, PoolIndex]:
        """The training split, and what is kept aside of it."""
        index = self._indexed("train")
        held_N = np.zeros(len(index), bool)
        if self.holdout is not None and not any(self.manifest["masks"].values()):
            groups = self._column("train", "group")
            held_N = held_out(index.image_ids.to_pylist(), groups, *self.holdout)
        return {"train": index.only(~held_N), "holdout": index.only(held_N)}

    def _column(self, split: str, name: str) -> list[str]:
        with self.storage.open_parquet(f"{pool_key(self.digest)}/index.parquet") as file:
            table = file.read(columns=[name, "split"], use_threads=False)
        return table.filter(pc.equal(table["split"], split))[name].to_pylist()

    def _indexed(self, split: str | None) -> PoolIndex:
        assert self.manifest
        key = f"{pool_key(self.digest)}/index.parquet"
        columns = ["image_id", "height", "width", "part", "row"]
        tables = []
        with self.storage.open_parquet(key) as file:
            for batch in file.iter_batches(columns=[*columns, "split"], use_threads=False):
                rows = batch if split is None else batch.filter(pc.equal(batch["split"], split))
                tables.append(pa.Table.from_batches([rows]).select(columns))
        table = pa.concat_tables([INDEX.empty_table().select(columns), *tables]).combine_chunks()
        ids = table["image_id"].combine_chunks()
        arrays = [table[name].to_numpy() for name in columns[1:]]
        return PoolIndex(ids, *arrays)

    def images(self, part: int, *, split: str | None = None, segments: bool = False) -> Iterator[PoolImage]:
        """The decoded images of one part, one after the other.

        Args:
            part: Which part.
            split: Only images of this split, and `index` counts within it; None = all.
            segments: Whether they come with their superpixels.
        """
        index = self.index(split)
        first, last = np.searchsorted(index.part, [part, part + 1])
        superpixels = PartReader(self, self.superpixels, "segments", cache_bytes=0) if segments else None
        read = PartReader(self, "images", "image", cache_bytes=0)  # each row group is read once
        for i in range(int(first), int(last)):
            image_HW3 = codec.decode_image(read(part, int(index.row[i])))
            found_HW = None if superpixels is None else codec.decode_segments(superpixels(part, int(index.row[i])))
            yield PoolImage(i, index.image_ids[i].as_py(), image_HW3, found_HW)

    def segments_of(self, image_ids: Sequence[str], *, split: str) -> Callable[[str], NDArray[np.int32]]:
        """The superpixels of some images of a split, by image_id."""
        index = self.index(split)
        found = pc.index_in(pa.array(image_ids, pa.string()), value_set=index.image_ids).to_pylist()
        rows = {name: (int(index.part[i]), int(index.row[i])) for name, i in zip(image_ids, found, strict=True)}
        read = PartReader(self, self.superpixels, "segments")
        return lambda image_id: codec.decode_segments(read(*rows[image_id]))

    def proportions(self, split: str) -> NDArray[np.float32]:
        """Class proportions counted in the masks of a split: (N, C) float32, NaN where an image has no mask."""
        index = self.index(split)
        found_NC = np.full((len(index), len(self.classes)), np.nan, np.float32)
        for part in index.parts():
            try:
                table = self.storage.read_table(part_key(self.digest, PROPORTIONS_TABLE, part))
            except FileNotFoundError:  # none of its images has a mask
                continue
            first, last = np.searchsorted(index.part, [part, part + 1])
            rows = pc.index_in(index.image_ids[first:last], value_set=table["image_id"].combine_chunks())
            values_MC = np.array(table["proportions"].to_pylist(), np.float32).reshape(-1, found_NC.shape[1])
            known = pc.is_valid(rows).to_numpy(zero_copy_only=False)
            found_NC[first:last][known] = values_MC[pc.drop_null(rows).to_numpy()]
        return found_NC

    def coarse_counts(self, part: int) -> pa.Table:
        """How many labelled pixels of the coarse labels of one part there are, and how many of them are wrong."""
        assert self.coarse is not None
        with self.storage.open_parquet(part_key(self.digest, self.coarse, part)) as file:
            return file.read(columns=["wrong", "labelled"], use_threads=False)

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Columns of the images table other than the images, row by row in the pool's order."""
        for part in self.parts:
            with self.storage.open_parquet(part_key(self.digest, "images", part)) as file:
                yield from file.read(columns=list(columns), use_threads=False).to_pylist()

    def quarantine(self) -> pa.Table:
        """The images left out, with reasons."""
        return self.storage.read_table(f"{pool_key(self.digest)}/quarantine.parquet")


class PartReader:
    """The binary column of one of the pool's tables, by part and row; row groups read lately stay in memory.

    Args:
        pool: The pool.
        table: images, or a table of superpixels.
        column: The column to read.
        cache_bytes: How much to keep; the row group at hand is kept whatever its size.
    """

    def __init__(self, pool: Pool, table: str, column: str, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Name what to read; nothing is read yet."""
        self._pool, self._table, self._column, self._cache_bytes = pool, table, column, cache_bytes
        self._groups: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()
        self._bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without what was read."""
        return _rebuilt_reader, (self._pool, self._table, self._column, self._cache_bytes)

    def __call__(self, part: int, row: int) -> bytes:
        """The value in a row of a part."""
        group, offset = divmod(row, self._pool.manifest["row_group"])
        value: bytes = self._group(part, group)[offset].as_py()
        return value

    def _group(self, part: int, group: int) -> pa.Array:
        if (part, group) in self._groups:
            self._groups.move_to_end((part, group))
            return self._groups[part, group]
        with self._pool.storage.open_parquet(part_key(self._pool.digest, self._table, part)) as file:
            # One thread: this may run in a forked loader worker, of which there are as many as are wanted.
            table = file.read_row_group(group, columns=[self._column], use_threads=False)
        values = table[self._column].combine_chunks()
        self._groups[part, group] = values
        self._bytes += values.nbytes
        while self._bytes > self._cache_bytes and len(self._groups) > 1:
            self._bytes -= self._groups.popitem(last=False)[1].nbytes
        return values


def _rebuilt(
    storage: Storage,
    digest: str,
    segments: int,
    compactness: float,
    coarse: str | None,
    holdout: tuple[float, int] | None,
) -> Pool:
    return Pool(storage, digest, segments=segments, compactness=compactness, coarse=coarse, holdout=holdout)


def _rebuilt_reader(pool: Pool, table: str, column: str, cache_bytes: int) -> PartReader:
    return PartReader(pool, table, column, cache_bytes=cache_bytes)
