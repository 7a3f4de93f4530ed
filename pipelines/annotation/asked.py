"""`asked.parquet`: everything that people are asked in a round, and what the server makes of it.

Beside the queries of `select` these are the same once more (purpose repeat), pixels whose truth is known (control),
pixels of held-out images (holdout) and, in the first round, whole images (kinds proportions and coarse). The file
appears last, whole: what is in it may be asked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.annotation.answers import Answer, Place, heads
from weakseg import seeding
from weakseg.schema import QUERIES, VOID

ASKED = "asked.parquet"
PAGES = {"pixel": "pixel", "region": "pixel", "proportions": "proportions", "coarse": "coarse"}
"""On which page a kind of question is answered."""

CHECKS = ("control", "holdout")
"""Purposes whose answers nothing is trained on."""

_TRIES = 50
"""How often a control pixel is drawn anew because its mask is void there."""


@dataclass(frozen=True)
class Question:
    """One thing to ask.

    Attributes:
        row: Its number within the round.
        place: What is asked.
        copies: Of how many people.
        purpose: train, control or holdout.
    """

    row: int
    place: Place
    copies: int
    purpose: str

    @property
    def image_id(self) -> str:
        """The image."""
        return self.place[2]

    @property
    def page(self) -> str:
        """On which page it is answered."""
        return PAGES[self.place[1]]


def questions(asked: pa.Table) -> list[Question]:
    """The questions of a round; a query that is there twice is one question to two people.

    Args:
        asked: Rows of `asked.parquet`.
    """
    found: dict[Place, Question] = {}
    for place, purpose in zip(places(asked), asked["purpose"].to_pylist(), strict=True):
        before = found.get(place)
        if before is None:
            found[place] = Question(len(found), place, 1, "train" if purpose == "repeat" else purpose)
        else:
            found[place] = Question(before.row, place, before.copies + 1, before.purpose)
    return list(found.values())


def places(table: pa.Table) -> list[Place]:
    """What each row of a table of queries or labels is about."""
    names = ("round", "kind", "image_id", "y", "x", "segment")
    columns = [
        pc.fill_null(table[name], -1).to_pylist() if name in names[3:] else table[name].to_pylist() for name in names
    ]
    return list(zip(*columns, strict=True))


def unanswered(queries: pa.Table, answers: Iterable[Answer]) -> pa.Table:
    """The queries whose pixel (or superpixel) nobody has answered, in whatever round.

    Args:
        queries: Rows of the queries table.
        answers: All answers so far.
    """
    known = {
        _subject(place)
        for place, by_name in heads(answers).items()
        if not all(answer.withdrawn for answer in by_name.values())
    }
    return queries.filter(pa.array([_subject(place) not in known for place in places(queries)], pa.bool_()))


def _subject(place: Place) -> tuple[str, str, int, int]:
    """What a question is about, whichever round asks: a pixel, or a superpixel wherever in it the question points."""
    _, kind, image_id, y, x, segment = place
    return (kind, image_id, segment, -1) if kind == "region" else (kind, image_id, y, x)


def repeats(queries: pa.Table, share: float, *, seed: int, round: int) -> pa.Table:
    """A share of the queries once more, drawn by the seed."""
    count = round_half_up(share * queries.num_rows)
    rows = seeding.generator(seed, "repeat", round=round).permutation(queries.num_rows)[:count]
    return _with_purpose(queries.take(pa.array(np.sort(rows))), "repeat")


def controls(
    queries: pa.Table,
    share: float,
    masks: Callable[[str], NDArray[np.uint8] | None],
    *,
    seed: int,
    round: int,
) -> pa.Table:
    """Pixels whose truth is known, as a share of the queries, in images that are asked about anyway.

    Args:
        queries: The round's queries.
        share: How many, as a share of the queries.
        masks: Gives the mask of an image, None where it has none.
        seed: The run's seed.
        round: The round.

    Returns:
        Rows of the queries table; none where no image has a mask. A pixel that is void in its mask tells nothing and is
        left out, as is one that is asked already.
    """
    count, rng = round_half_up(share * queries.num_rows), seeding.generator(seed, "control", round=round)
    taken = {(place[2], place[3], place[4]) for place in places(queries)}
    ids, found = pc.unique(queries["image_id"]).to_pylist(), []
    for _ in range(count * 4):
        if len(found) == count or not ids:
            break
        image_id = ids[int(rng.integers(len(ids)))]
        mask_HW = masks(image_id)
        for _ in range(_TRIES if mask_HW is not None else 0):
            y, x = int(rng.integers(mask_HW.shape[0])), int(rng.integers(mask_HW.shape[1]))
            if mask_HW[y, x] != VOID and (image_id, y, x) not in taken:
                taken.add((image_id, y, x))
                found.append((image_id, y, x))
                break
    return rows_of(found, "control", round=round)


def holdouts(
    image_ids: Sequence[str], sizes: Mapping[str, tuple[int, int]], points: int, *, seed: int, round: int
) -> pa.Table:
    """Uniformly drawn pixels of held-out images, others in every round.

    Args:
        image_ids: The held-out images.
        sizes: Their heights and widths.
        points: How many per image.
        seed: The run's seed.
        round: The round.
    """
    found = []
    for image_id in image_ids:
        height, width = sizes[image_id]
        # One order of all the image's pixels for the run: each round takes the next ones, none twice.
        order = seeding.generator(seed, "holdout points", image_id=image_id).permutation(height * width)
        for pixel in order[round * points : (round + 1) * points].tolist():
            found.append((image_id, *divmod(pixel, width)))
    return rows_of(found, "holdout", round=round)


def whole_images(image_ids: Sequence[str], kind: str, *, round: int) -> pa.Table:
    """One question about each image as a whole.

    Args:
        image_ids: The images.
        kind: proportions or coarse.
        round: The round.
    """
    return rows_of([(image_id, None, None) for image_id in image_ids], "train", round=round, kind=kind)


def rows_of(
    found: Sequence[tuple[str, int | None, int | None]], purpose: str, *, round: int, kind: str = "pixel"
) -> pa.Table:
    """Queries at places (image_id, y, x)."""
    rows: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "round": round,
            "kind": kind,
            "purpose": purpose,
            "y": y,
            "x": x,
            "segment": None,
            "score": 0.0,
            "rank": rank,
            "strategy": "random",
        }
        for rank, (image_id, y, x) in enumerate(found)
    ]
    return pa.Table.from_pylist(rows, schema=QUERIES)


def round_half_up(value: float) -> int:
    """The nearest whole number."""
    return int(value + 0.5)


def _with_purpose(queries: pa.Table, purpose: str) -> pa.Table:
    column = QUERIES.names.index("purpose")
    return queries.set_column(column, "purpose", pa.repeat(purpose, queries.num_rows)).cast(QUERIES)
