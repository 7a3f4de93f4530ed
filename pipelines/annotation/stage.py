"""The driver's side: a round is written down to be asked, waited for, and closed with its tables."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.annotation import asked
from pipelines.annotation.answers import Answer
from pipelines.annotation.desk import Desk
from pipelines.annotation.statistics import annotators
from pipelines.annotation.tables import new_rows
from pipelines.config import Config
from pipelines.console import Console
from pipelines.drawn import views
from pipelines.ledger import Ledger
from pipelines.pool import Pool
from weakseg.schema import LABELS, QUERIES
from weakseg.supervision import decode_polygons, encode_polygons
from weakseg.supervision.polygons import Points

POLL_SECONDS = 1.0

CHECKS = "checks.parquet"
PEOPLE = "people.json"

Masks = Callable[[str], NDArray[Any] | None]


def run(config: Config, ledger: Ledger, round: int, desk: Desk, *, masks: Masks | None, console: Console) -> pa.Table:
    """Ask a round's questions, wait for enough answers, and write its tables; the label table last, which closes it.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Which round.
        desk: Where answers arrive.
        masks: Gives the mask of an image, None where it has none; None = there are none at all.
        console: Where progress goes.

    Returns:
        The round's labels.
    """
    folder = ledger.round(round)
    desk.refresh(now=True)
    if not ledger.exists(f"{folder}/{asked.ASKED}"):
        known = desk.answers.since()
        ledger.write_table(f"{folder}/{asked.ASKED}", to_ask(config, ledger, round, masks=masks, answers=known))
        desk.refresh(now=True)
    standing = desk.rounds[round]
    total = len(standing.questions)
    with console.stage(f"round {round}: people answer", total=total) as stage:
        while True:
            desk.refresh()
            with desk.answers.lock:  # the page may be answered meanwhile
                done = sum(bool(standing.given(question)) for question in standing.questions)
                complete = standing.complete(config.labelling.answered_share)
            stage.advance(max(0, done - stage.done))
            if complete:
                break
            time.sleep(POLL_SECONDS)
    return close(ledger, round, desk, masks=masks)


def close(ledger: Ledger, round: int, desk: Desk, *, masks: Masks | None) -> pa.Table:
    """Write what a round brought: each table once and whole, the label table last.

    Args:
        ledger: The run, held by this driver.
        round: Which round.
        desk: Where answers arrived.
        masks: As for :func:`run`.

    Returns:
        The round's labels.
    """
    with desk.answers.lock:
        desk.refresh(now=True)
        answers = [row for row in desk.answers.since() if row.round <= round]
        people = annotators({number: desk.rounds[number] for number in range(round + 1)}, masks)
    purposes = {
        question.place: question.purpose for number in range(round + 1) for question in desk.rounds[number].questions
    }
    found = new_rows(answers, purposes, _published(ledger, round))
    folder = ledger.round(round)
    ledger.write_table(f"{folder}/{CHECKS}", found.checks)
    for name, table in (("proportions", found.proportions), ("coarse", found.coarse)):
        # A driver that died before the labels were written may have left answers that were taken back since.
        if table.num_rows or ledger.exists(supervision_part(name, round)):
            made = in_files(ledger.pool, table) if name == "coarse" else table
            ledger.write_table(supervision_part(name, round), made)
    ledger.write_json(f"{folder}/{PEOPLE}", people)
    ledger.write_table(f"{folder}/labels.parquet", found.labels)
    desk.refresh(now=True)
    return found.labels


def in_files(pool: Pool, coarse: pa.Table) -> pa.Table:
    """Polygons drawn on the pool's images as the coarse table has them: in pixels of the original files.

    Args:
        pool: The pool; its images are whole, perhaps resized.
        coarse: Rows of the coarse table.
    """
    cut = dict(views(pool))
    texts = []
    for image_id, text in zip(coarse["image_id"].to_pylist(), coarse["polygons"].to_pylist(), strict=True):
        view = cut[image_id]
        down, across = view.original[0] / view.size[0], view.original[1] / view.size[1]

        def moved(ring: Points, down: float = down, across: float = across) -> Points:
            return tuple((x * across, y * down) for x, y in ring)

        texts.append(
            encode_polygons(
                replace(polygon, points=moved(polygon.points), holes=tuple(map(moved, polygon.holes)))
                for polygon in decode_polygons(text)
            )
        )
    column = coarse.column_names.index("polygons")
    return coarse.set_column(column, "polygons", pa.array(texts, pa.string()))


def supervision_part(name: str, round: int) -> str:
    """Where a round's answers about whole images lie; part 0 is for files."""
    return f"supervision/{name}/part-{round + 1:06d}.parquet"


def checks(ledger: Ledger, round: int) -> pa.Table:
    """All answers to control points and held-out points up to a round, in order of writing."""
    keys = [f"{ledger.round(number)}/{CHECKS}" for number in range(round + 1)]
    return pa.concat_tables([LABELS.empty_table(), *(ledger.read_table(key) for key in keys if ledger.exists(key))])


def to_ask(
    config: Config, ledger: Ledger, round: int, *, masks: Masks | None, answers: Iterable[Answer] = ()
) -> pa.Table:
    """Everything that is asked in a round, in the pool's order of images.

    Args:
        config: The run's configuration.
        ledger: The run.
        round: Which round.
        masks: As for :func:`run`.
        answers: Those there are: what one of them tells, such as a late one, is not asked again.
    """
    labelling, pool = config.labelling, ledger.pool
    tables = [QUERIES.empty_table()]
    if config.supervision.points:
        queries = asked.unanswered(ledger.read_table(f"{ledger.round(round)}/queries.parquet"), answers)
        tables += [queries, asked.repeats(queries, labelling.repeat, seed=config.seed, round=round)]
        if masks is not None:
            tables.append(asked.controls(queries, labelling.control, masks, seed=config.seed, round=round))
    held = pool.index("holdout")
    ids = held.image_ids.to_pylist()
    sizes = dict(zip(ids, zip(held.heights.tolist(), held.widths.tolist(), strict=True), strict=True))
    tables.append(asked.holdouts(ids, sizes, labelling.holdout_points, seed=config.seed, round=round))
    if round == 0:
        tables += [
            asked.whole_images(pool.index("train").image_ids.to_pylist(), kind, round=round)
            for kind in ("proportions", "coarse")
            if getattr(config.supervision, kind) == "people"
        ]
    table = pa.concat_tables(tables)
    order = pc.sort_indices(pc.index_in(table["image_id"], value_set=pool.index().image_ids))
    return table.take(order)


def _published(ledger: Ledger, round: int) -> set[str]:
    """The answers in the tables of earlier rounds."""
    keys = [f"{ledger.round(number)}/{name}" for number in range(round) for name in (CHECKS, "labels.parquet")]
    keys += [supervision_part(name, number) for number in range(round) for name in ("proportions", "coarse")]
    found: set[str] = set()
    for key in keys:
        if ledger.exists(key):
            found |= set(ledger.read_table(key, columns=["answer_id"])["answer_id"].to_pylist())
    return found
