"""What a round's questions looked like."""

from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from weakseg.schema import VOID


class QueryStatistics(TypedDict):
    """Statistics of one round; None where nothing was there to measure."""

    label_histogram: list[int]
    mean_entropy: float | None
    unique_labels_per_image: float | None
    mean_pairwise_distance: float | None
    void_share: float | None


def query_statistics(
    queries: pa.Table, labels: pa.Table, *, classes: int, entropy_N: ArrayLike | None = None
) -> QueryStatistics:
    """Describe the pixels of a round and their answers (PixelPick, arXiv 2104.06394).

    Args:
        queries: Rows of the queries table: what was asked, where. Rows without y and x are left out.
        labels: Rows of the labels table: the answers.
        classes: Number of classes; 1 is the sigmoid case and counts two.
        entropy_N: Entropy in nats of the prediction at each query, in the order of ``queries``; NaN = unknown.

    Returns:
        ``label_histogram``: answers per class, void left out.
        ``mean_entropy``: over queries.
        ``unique_labels_per_image``: distinct classes answered, mean over images with an answer.
        ``mean_pairwise_distance``: Euclidean, in pixels, mean over the pairs of an image's queries, then over images.
        ``void_share``: answers that are void / answers.

    Raises:
        ValueError: A label is neither a class nor void, or entropies do not fit the queries.
    """
    values = max(classes, 2)
    class_N = labels["class_id"].to_numpy().astype(np.int64)
    void_N = class_N == VOID
    if ((class_N < 0) | (class_N >= values) & ~void_N).any():
        raise ValueError(f"expected labels 0..{values - 1} or {VOID} for void, got {sorted(set(class_N.tolist()))}")
    mean_entropy = None
    if entropy_N is not None:
        entropies = np.asarray(entropy_N, np.float64)
        if entropies.shape != (queries.num_rows,):
            raise ValueError(f"expected {queries.num_rows} entropies, one per query, got {entropies.shape}")
        known = entropies[~np.isnan(entropies)]
        mean_entropy = float(known.mean()) if known.size else None
    return QueryStatistics(
        label_histogram=np.bincount(class_N[~void_N], minlength=values).tolist(),
        mean_entropy=mean_entropy,
        unique_labels_per_image=_unique_labels(_codes(labels["image_id"]), class_N, void_N, values),
        mean_pairwise_distance=_pairwise_distance(queries),
        void_share=float(void_N.mean()) if void_N.size else None,
    )


def _codes(image_id: pa.ChunkedArray) -> NDArray[np.int64]:
    """The same integer for the same image, 0..images-1."""
    return np.asarray(pc.index_in(image_id, value_set=pc.unique(image_id)).to_numpy(), dtype=np.int64)


def _unique_labels(
    image_N: NDArray[np.int64], class_N: NDArray[np.int64], void_N: NDArray[np.bool_], values: int
) -> float | None:
    """Distinct classes per image, mean over images."""
    if image_N.size == 0:
        return None
    distinct = np.unique((image_N * values + class_N)[~void_N])
    return float(distinct.size / (image_N.max() + 1))


def _pairwise_distance(queries: pa.Table) -> float | None:
    """Mean distance between the queries of an image, mean over images with two or more."""
    queries = queries.filter(pc.and_(pc.is_valid(queries["y"]), pc.is_valid(queries["x"])))
    if queries.num_rows == 0:
        return None
    image_N = _codes(queries["image_id"])
    order = np.argsort(image_N, kind="stable")
    yx_N2 = np.stack([queries["y"].to_numpy(), queries["x"].to_numpy()], axis=1)[order].astype(np.float64)
    counts = np.bincount(image_N)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    total, images = 0.0, 0
    # Images with equally many queries are done at once: rounds ask the same number nearly everywhere.
    for count in np.unique(counts[counts > 1]).tolist():
        yx_In2 = yx_N2[starts[counts == count][:, None] + np.arange(count)]
        distance = sum(
            float(np.linalg.norm(yx_In2[:, apart:] - yx_In2[:, :-apart], axis=2).sum()) for apart in range(1, count)
        )
        total += distance / (count * (count - 1) / 2)
        images += len(yx_In2)
    return total / images if images else None
