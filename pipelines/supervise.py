"""Which supervision a run has beside asked pixels: what its images bring, what that cost, and whether there is any."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.bring import Bring, Keypoints, Maps, Proportions
from pipelines.config import Config
from pipelines.config.terms import loss_weights
from pipelines.drawn import Drawn, views
from pipelines.ledger import Ledger
from pipelines.maps import MapReader
from pipelines.masks import MaskReader
from pipelines.pool import Pool
from weakseg import seeding
from weakseg.errors import DataError
from weakseg.schema import COARSE as COARSE_SCHEMA
from weakseg.schema import PROPORTIONS as PROPORTIONS_SCHEMA
from weakseg.selection import select_images
from weakseg.supervision import (
    ProportionIndex,
    RegionIndex,
    add_gaussian_noise,
    cluster_proportions,
    read_polygons,
    read_proportions,
)

PROPORTIONS = "supervision/proportions/part-000000.parquet"
COARSE = "supervision/coarse/part-000000.parquet"
"""What people gave in files, within the run's folder. What they answer on the page is in the parts after it."""


def run(config: Config, ledger: Ledger) -> None:
    """Take files of proportions and coarse labels into the run, once, and refuse supervision that no image has.

    The oracle, which answers from masks, is refused likewise where there are none.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.

    Raises:
        DataError: A file is wrong (all its faults), a kind of supervision is asked for that no training image has, the
            oracle is to answer without masks, or training is to end by validation images that have no label.
    """
    supervision, pool = config.supervision, ledger.pool
    if supervision.points and config.labelling.annotator == "oracle" and not MaskReader(pool).available("train"):
        raise DataError(f"labelling.annotator: {_ABSENT['oracle']}")
    if supervision.proportions_file and not ledger.exists(PROPORTIONS):
        ids = pool.index().image_ids
        table = read_proportions(Path(supervision.proportions_file), classes=_names(config, pool), image_ids=ids)
        ledger.write_table(PROPORTIONS, table)
    if supervision.coarse_file and not ledger.exists(COARSE):
        sizes = {view.source: view.original for _, view in views(pool)}
        table = read_polygons(Path(supervision.coarse_file), classes=pool.classes, image_ids=sizes, sizes=sizes)
        ledger.write_table(COARSE, table)
    for kind, count in counts(config, ledger).items():
        if count == 0 and getattr(supervision, kind) != "people":
            raise DataError(f"supervision.{kind}: {_ABSENT[kind]}")
    if supervision.keypoints == "masks" and not MaskReader(pool).available("train"):
        raise DataError(f"supervision.keypoints: {_ABSENT['masks']}")
    if config.training.early_stopping is not None and not _can_validate(config, ledger):
        raise DataError(
            "training.early_stopping: no validation image has a label that the loss reads "
            f"({', '.join(sorted(loss_weights(config)))}); give validation images masks, or set it to null"
        )


_ABSENT = {
    "oracle": "the oracle answers from masks, but no training image has one; let people answer on a page, who need no "
    "masks, with --set labelling.annotator=browser, or add masks/ to the data folder",
    "masks": "no training image has a mask; add masks/ to the data folder, or choose another supervision",
    "proportions": "no training image has proportions; give masks or a CSV file with rows of training images",
    "coarse": "no training image has coarse labels; give masks or a JSON file with polygons of training images",
}


def _can_validate(config: Config, ledger: Ledger) -> bool:
    """Whether a validation image has a label: its mask tells all kinds, files and people may tell proportions."""
    if MaskReader(ledger.pool).available("val"):
        return True
    return "proportion" in loss_weights(config) and not np.isnan(_proportions(config, ledger, "val")).all()


def counts(config: Config, ledger: Ledger) -> dict[str, int]:
    """How many training images bring masks, proportions and coarse labels, of those kinds that are on."""
    supervision, pool = config.supervision, ledger.pool
    found: dict[str, int] = {}
    if supervision.masks:
        found["masks"] = int(np.count_nonzero(_with_maps(pool, MaskReader(pool)) & _chosen(config, pool, "masks")))
    if supervision.proportions:
        found["proportions"] = int(np.count_nonzero(~np.isnan(_proportions(config, ledger, "train")).any(1)))
    if supervision.coarse:
        found["coarse"] = int(np.count_nonzero(_with_coarse(config, ledger) & _chosen(config, pool, "coarse")))
    return found


def seconds(config: Config, ledger: Ledger) -> dict[str, float]:
    """What each kind of supervision cost in seconds of annotation, asked pixels left out.

    Files that say how long their answers took are taken at their word.
    """
    per_image = config.labelling.seconds
    number = counts(config, ledger)
    each = {"masks": per_image.mask, "proportions": per_image.proportions, "coarse": per_image.coarse}
    bill = {kind: count * each[kind] for kind, count in number.items()}
    if _answered(config.supervision.proportions):
        table = _given(ledger, "proportions", PROPORTIONS_SCHEMA)
        bill["proportions"] = _measured(table, _read(config, ledger.pool, "proportions"), per_image.proportions)
    if _answered(config.supervision.coarse):
        table = _given(ledger, "coarse", COARSE_SCHEMA)
        drawn, read = Drawn(ledger.pool, table).views, _read(config, ledger.pool, "coarse")
        sources = {drawn[image_id].source for image_id in read.to_pylist() if image_id in drawn}
        bill["coarse"] = _measured(table, pa.array(sorted(sources), pa.string()), per_image.coarse)
    if config.supervision.keypoints == "masks":
        bill["keypoints"] = _keypoints(config, ledger) * per_image.keypoint
    return bill


def _measured(table: pa.Table, image_ids: pa.Array, each: float) -> float:
    """Seconds of the rows of some images: what they say, else so many each."""
    took = table.filter(pc.is_in(table["image_id"], value_set=image_ids))["seconds"]
    return float(pc.sum(took).as_py() or 0.0) + took.null_count * each


def bring(config: Config, ledger: Ledger, labels: pa.Table | None) -> Bring:
    """What the training images bring.

    Args:
        config: The run's configuration.
        ledger: The run.
        labels: All answers so far, None where nothing is asked.
    """
    supervision, pool = config.supervision, ledger.pool
    regions = None
    if labels is not None and config.labelling.acquisition == "region":
        regions = RegionIndex(pool.index("train").image_ids, labels)
    keypoints = None
    if supervision.keypoints:
        sampling = supervision.keypoint
        masks = MaskReader(pool) if supervision.keypoints == "masks" else None
        images = _chosen(config, pool, "keypoints") if masks is not None else None
        keypoints = Keypoints(masks, sampling.per_class, sampling.radius, config.seed, images)
    proportions = None
    if supervision.proportions and "proportion" in loss_weights(config):
        anew = supervision.counted_anew and config.training.augmentation is not None
        again = MaskReader(pool) if anew else None
        proportions = Proportions(_proportions(config, ledger, "train"), again)
    return Bring(
        masks=MaskReader(pool) if supervision.masks else None,
        mask_images=_chosen(config, pool, "masks"),
        coarse=_coarse(config, ledger) if supervision.coarse else None,
        coarse_images=_chosen(config, pool, "coarse"),
        regions=regions,
        spread=supervision.spread is not None,
        proportions=proportions,
        keypoints=keypoints,
    )


def bring_validation(config: Config, ledger: Ledger) -> tuple[Bring, dict[str, float]]:
    """What the validation images bring, and the weights of the loss there.

    Their masks stand in for labelled points and coarse labels; proportions and keypoints are the masks' too, except for
    proportions from a file.
    """
    weights = dict(loss_weights(config))
    dense = weights.pop("point", 0.0) + weights.pop("mask", 0.0)
    if dense:
        weights["mask"] = dense
    masks = MaskReader(ledger.pool)
    sampling = config.supervision.keypoint
    proportions = None
    if "proportion" in weights:
        proportions = Proportions(_proportions(config, ledger, "val"))
    keypoints = None
    if "keypoint" in weights:
        keypoints = Keypoints(masks, sampling.per_class, sampling.radius, config.seed)
    return Bring(masks=masks if dense else None, proportions=proportions, keypoints=keypoints), weights


def _names(config: Config, pool: Pool) -> list[str]:
    """The classes that proportions speak of."""
    names = list(pool.classes.names)
    return names[1:] if config.model.classes == 1 else names


def _chosen(config: Config, pool: Pool, kind: str) -> NDArray[np.bool_]:
    """Which training images a share leaves: a larger share keeps those of a smaller one."""
    index, share = pool.index("train"), getattr(config.supervision.share, kind)
    if share == 1:
        return np.ones(len(index), bool)
    chosen = np.zeros(len(index), bool)
    if share > 0:
        ids = index.image_ids.to_pylist()
        chosen[select_images(ids, share, seed=seeding.integer(config.seed, f"share of {kind}"))] = True
    return chosen


def _read(config: Config, pool: Pool, kind: str) -> pa.Array:
    """The image_ids that a share leaves."""
    return pool.index("train").image_ids.filter(pa.array(_chosen(config, pool, kind)))


def _with_maps(pool: Pool, reader: MapReader) -> NDArray[np.bool_]:
    """Which training images have a map."""
    index = pool.index("train")
    found = np.zeros(len(index), bool)
    for part in index.parts():
        first, last = np.searchsorted(index.part, [part, part + 1])
        ids = pa.array(reader.names(part), pa.string())
        found[first:last] = pc.is_in(index.image_ids[first:last], value_set=ids).to_numpy(zero_copy_only=False)
    return found


def _proportions(config: Config, ledger: Ledger, split: str) -> NDArray[np.float32]:
    """(N, C) of a split, NaN where an image brings none; training images with share and noise.

    What nobody said of an image that is not trained on is counted in its mask, where it has one.
    """
    pool, supervision = ledger.pool, config.supervision
    ids = pool.index(split).image_ids
    if _answered(supervision.proportions):
        table = _given(ledger, "proportions", PROPORTIONS_SCHEMA)
        classes = config.model.classes or len(pool.classes)
        known_NC = ProportionIndex(ids, table, classes=classes, subset=True).proportions_NC
        if split != "train":
            known_NC = np.where(np.isnan(known_NC), _counted(config, pool, split), known_NC)
    else:
        known_NC = _counted(config, pool, split)
    if split != "train":
        return known_NC
    known_NC = np.where(_chosen(config, pool, "proportions")[:, None], known_NC, np.float32(np.nan))
    noise = supervision.noise
    if noise.sigma > 0:
        rng = seeding.generator(config.seed, "proportion noise")
        known_NC = add_gaussian_noise(known_NC, noise.sigma, rng=rng, normalise=noise.normalise)
    if noise.clusters is not None:
        rng = seeding.generator(config.seed, "proportion clusters")
        known_NC = cluster_proportions(known_NC, noise.clusters, rng=rng)
    return known_NC


def _counted(config: Config, pool: Pool, split: str) -> NDArray[np.float32]:
    """(N, C) of a split as its masks have them, NaN where an image has no mask."""
    known_NC = pool.proportions(split)
    return known_NC[:, 1:] if config.model.classes == 1 else known_NC


def _coarse(config: Config, ledger: Ledger) -> Maps:
    if _answered(config.supervision.coarse):
        return Drawn(ledger.pool, _given(ledger, "coarse", COARSE_SCHEMA))
    assert ledger.pool.coarse is not None
    return MapReader(ledger.pool, ledger.pool.coarse)


def _with_coarse(config: Config, ledger: Ledger) -> NDArray[np.bool_]:
    """Which training images have coarse labels."""
    pool = ledger.pool
    if not _answered(config.supervision.coarse):
        return _with_maps(pool, MapReader(pool, str(pool.coarse)))
    ids = pa.array(list(Drawn(pool, _given(ledger, "coarse", COARSE_SCHEMA)).views), pa.string())
    return pc.is_in(pool.index("train").image_ids, value_set=ids).to_numpy(zero_copy_only=False)


def _answered(source: str | None) -> bool:
    """Whether a kind of supervision is what people gave, in a file or on the page."""
    return source not in (None, "masks", "layout")


def _given(ledger: Ledger, name: str, schema: pa.Schema) -> pa.Table:
    """What people gave so far, in order of writing; of several answers about one image the last one counts."""
    prefix = ledger.key()
    keys = [key.removeprefix(f"{prefix}/") for key in ledger.storage.list(ledger.key(f"supervision/{name}"))]
    return pa.concat_tables([schema.empty_table(), *(ledger.read_table(key).cast(schema) for key in sorted(keys))])


def _keypoints(config: Config, ledger: Ledger) -> int:
    """How many keypoints were clicked: per class that occurs in an image."""
    occurs_N = np.nan_to_num(ledger.pool.proportions("train")) > 0
    images = _chosen(config, ledger.pool, "keypoints")
    return int(occurs_N[images].sum()) * config.supervision.keypoint.per_class
