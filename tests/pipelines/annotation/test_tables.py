"""What the driver writes: each answer once, in the round after it came, marked with the round it was asked in."""

from pathlib import Path
from typing import Any

import annotation_site
import numpy as np
import pyarrow as pa
import pytest

from pipelines.annotation import stage
from pipelines.annotation.desk import Desk, Entry
from pipelines.annotation.rounds import Standing
from pipelines.console import Console
from weakseg.schema import QUERIES, VOID
from weakseg.supervision import PointIndex, current


def answer_all(desk: Desk, who: str = "anna", class_id: int = 1) -> None:
    for page in ("pixel", "proportions", "coarse"):
        while True:
            found = desk.work(who, page, 8)
            if found is None or not found[1]:
                break
            standing, image_ids = found
            for image_id in image_ids:
                for question in standing.by_image[page, image_id]:
                    row = standing.mine(question, who)
                    if standing.for_me(question, who) and row is None:
                        desk.add(who, [entry(question, class_id)])


def entry(question: Any, class_id: int = 1, replaces: str = "") -> Entry:
    values = {
        "proportions": "[0.25,0.25,0.5]",
        "coarse": '[{"class_id":2,"points":[[0,0],[64,0],[64,24],[0,24]]}]',
    }
    value = values.get(question.place[1])
    return Entry(question, None if value else class_id, value, 1.5, replaces)


def correct(desk: Desk, number: int, row: int, class_id: int | None) -> None:
    question = desk.rounds[number].questions[row]
    before = desk.rounds[number].mine(question, "anna")
    desk.add("anna", [Entry(question, class_id, None, 2.0, "" if before is None else before.answer_id)])


@pytest.fixture
def asked(tmp_path: Path) -> tuple[annotation_site.Site, Desk]:
    site = annotation_site.site(tmp_path, images=2, masks=True)
    return site, site.desk()


def test_the_labels_of_a_round_are_its_answers(asked: tuple[annotation_site.Site, Desk]):
    site, desk = asked
    answer_all(desk)
    rows = site.close(0).to_pylist()
    assert len(rows) == 6
    assert {(row["class_id"], row["annotator"], row["round"]) for row in rows} == {(1, "browser:anna", 0)}
    assert [row["answer_id"] for row in rows] == [row.answer_id for row in desk.answers.since()]
    assert site.ledger().labels().num_rows == 6


def test_closing_twice_writes_the_same(asked: tuple[annotation_site.Site, Desk]):
    site, desk = asked
    answer_all(desk)
    assert site.close(0).equals(site.close(0))


def test_undone_before_the_end_leaves_no_trace(asked: tuple[annotation_site.Site, Desk]):
    site, desk = asked
    answer_all(desk)
    correct(desk, 0, 0, None)
    correct(desk, 0, 1, 2)
    rows = site.close(0).to_pylist()
    assert sorted(row["class_id"] for row in rows) == [1, 1, 1, 1, 2]
    assert all(row["supersedes"] is None for row in rows)


def test_late_answers_and_corrections_go_to_the_next_round(asked: tuple[annotation_site.Site, Desk]):
    site, desk = asked
    found = desk.work("anna", "pixel", 8)
    assert found is not None
    standing = found[0]
    late, changed, taken_back, *rest = standing.questions
    for question in (changed, taken_back, *rest):
        desk.add("anna", [entry(question)])
    assert site.close(0).num_rows == 5
    desk.refresh(now=True)
    assert desk.asking is None
    desk.add("anna", [entry(late, 2)])  # its lease goes on
    correct(desk, 0, changed.row, 0)
    correct(desk, 0, taken_back.row, None)
    site.ask(1)
    desk.refresh(now=True)
    answer_all(desk)
    rows = site.close(1).to_pylist()
    assert [row["round"] for row in rows].count(0) == 3
    assert [row["round"] for row in rows].count(1) == 6
    by_place = {(row["image_id"], row["y"], row["x"]): row for row in rows if row["round"] == 0}
    assert by_place[late.place[2:5]]["class_id"] == 2
    assert by_place[late.place[2:5]]["supersedes"] is None
    assert by_place[changed.place[2:5]]["class_id"] == 0
    assert by_place[taken_back.place[2:5]]["class_id"] == VOID
    first = {row["answer_id"] for row in site.ledger().labels(0).to_pylist()}
    assert {by_place[question.place[2:5]]["supersedes"] in first for question in (changed, taken_back)} == {True}
    # ... and training reads what they say today
    labels = site.ledger().labels(1)
    assert labels.num_rows == 14
    assert current(labels).num_rows == 12
    index = PointIndex(site.pool.index("train").image_ids, labels)
    assert int(index.offsets[-1]) == 12
    assert index.histogram(3).tolist() == [1, 9, 1]
    assert site.close(1).num_rows == 9


def test_several_answers_are_settled_by_a_last_row(tmp_path: Path):
    site = annotation_site.site(
        tmp_path, images=1, annotators=("anna", "ben", "carl"), overrides=["labelling.repeat=1.0"]
    )
    desk = site.desk()
    for who, class_id in (("anna", 2), ("ben", 0), ("carl", 2)):
        answer_all(desk, who, class_id)
    labels = site.close(0)
    assert labels.num_rows == 12
    counted = current(labels).to_pylist()
    assert [(row["annotator"], row["class_id"], row["seconds"]) for row in counted] == [("consensus", 2, 0.0)] * 3
    people = site.ledger().read_json("rounds/000/people.json")
    assert [(row["annotator"], row["answers"], row["pairs"], row["agreement"]) for row in people] == [
        ("anna", 3, 6, 0.5),
        ("ben", 3, 6, 0.0),
        ("carl", 3, 6, 0.5),
    ]


def test_control_points_are_scored_and_not_trained_on(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=4, overrides=["labelling.control=0.5"])
    desk = site.desk()
    assert len(desk.rounds[0].questions) == 18
    answer_all(desk, class_id=1)
    assert site.close(0).num_rows == 12
    checks = stage.checks(site.ledger(), 0)
    assert checks.num_rows == 6
    with site.held() as ledger:
        from pipelines.masks import MaskReader

        masks = MaskReader(ledger.pool)
        truth = [masks.mask(row["image_id"])[row["y"], row["x"]] for row in checks.to_pylist()]
    (row,) = site.ledger().read_json("rounds/000/people.json")
    assert row["controls"] == 6
    assert row["accuracy"] == np.mean(np.array(truth) == 1)


def test_no_masks_hold_images_out_and_ask_there(tmp_path: Path):
    site = annotation_site.site(tmp_path, images=10, masks=False, overrides=["labelling.holdout_points=4"])
    pool = site.ledger().pool
    train, held = (set(pool.index(split).image_ids.to_pylist()) for split in ("train", "holdout"))
    assert (len(train), len(held)) == (8, 2)
    assert not train & held
    desk = site.desk()
    answer_all(desk)
    labels = site.close(0)
    assert labels.num_rows == 24
    assert set(labels["image_id"].to_pylist()) == train
    checks = stage.checks(site.ledger(), 0)
    assert set(checks["image_id"].to_pylist()) == held
    site.ask(1)
    desk.refresh(now=True)
    answer_all(desk)
    site.close(1)
    rows = stage.checks(site.ledger(), 1).to_pylist()
    assert len(rows) == len({(row["image_id"], row["y"], row["x"]) for row in rows}) == 16


def test_whole_images_become_the_records_that_training_reads(tmp_path: Path):
    from pipelines import supervise

    site = annotation_site.site(tmp_path, images=2, kinds=("proportions", "coarse"))
    with site.held() as ledger:
        assert supervise.counts(site.config, ledger) == {"proportions": 0, "coarse": 0}
        supervise.run(site.config, ledger)  # nothing is there yet, and nothing is refused
    desk = site.desk()
    answer_all(desk)
    site.close(0)
    with site.held() as ledger:
        assert supervise.counts(site.config, ledger) == {"proportions": 2, "coarse": 2}
        bill = supervise.seconds(site.config, ledger)
        assert set(bill) == {"proportions", "coarse"}
        brought = supervise.bring(site.config, ledger, None)
        assert brought.proportions is not None
        assert brought.proportions.table_NC.tolist() == [[0.25, 0.25, 0.5]] * 2
        assert brought.coarse is not None
        mask_HW = brought.coarse.find("train/000")
        assert mask_HW is not None
        assert (mask_HW[:24] == 2).all()
        assert (mask_HW[24:] == VOID).all()


def test_what_a_late_answer_told_is_not_asked_again(asked: tuple[annotation_site.Site, Desk]):
    site, desk = asked
    found = desk.work("anna", "pixel", 8)
    assert found is not None
    late, never, *rest = found[0].questions
    for question in rest:
        desk.add("anna", [entry(question)])
    site.close(0)
    desk.refresh(now=True)
    desk.add("anna", [entry(late, 2)])
    with site.held() as ledger:
        queries = ledger.read_table("rounds/000/queries.parquet").to_pylist()
        again = [row | {"round": 1} for row in queries if (row["image_id"], row["y"], row["x"]) in places(late, never)]
        assert len(again) == 2
        table = pa.Table.from_pylist(again, schema=QUERIES)
        ledger.write_table("rounds/001/queries.parquet", table)
        (row,) = stage.to_ask(site.config, ledger, 1, masks=None, answers=desk.answers.since()).to_pylist()
        assert (row["image_id"], row["y"], row["x"]) in places(never)


def places(*questions: Any) -> set[tuple[str, int, int]]:
    return {question.place[2:5] for question in questions}


def test_a_round_of_which_everything_is_known_asks_nothing(
    asked: tuple[annotation_site.Site, Desk], monkeypatch: pytest.MonkeyPatch
):
    site, desk = asked
    found = desk.work("anna", "pixel", 8)
    assert found is not None
    late, *rest = found[0].questions
    for question in rest:
        desk.add("anna", [entry(question)])
    site.close(0)
    desk.refresh(now=True)
    desk.add("anna", [entry(late, 2)])
    complete = Standing.complete

    def checked(standing: Standing, share: float) -> bool:
        assert desk.answers.lock._is_owned()  # the page may be answered while the driver counts
        return complete(standing, share)

    monkeypatch.setattr(Standing, "complete", checked)
    with site.held() as ledger:
        queries = ledger.read_table("rounds/000/queries.parquet").to_pylist()
        again = [row | {"round": 1} for row in queries if (row["image_id"], row["y"], row["x"]) in places(late)]
        ledger.write_table("rounds/001/queries.parquet", pa.Table.from_pylist(again, schema=QUERIES))
        (row,) = stage.run(site.config, ledger, 1, desk, masks=None, console=Console()).to_pylist()
        assert ledger.read_table("rounds/001/asked.parquet").num_rows == 0
    assert (row["round"], row["class_id"]) == (0, 2)


def test_a_round_closed_anew_forgets_what_was_taken_back_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site = annotation_site.site(tmp_path, images=1, kinds=("coarse",))
    desk = site.desk()
    answer_all(desk)
    with site.held() as ledger:
        write = ledger.write_json
        monkeypatch.setattr(ledger, "write_json", lambda key, value: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            stage.close(ledger, 0, desk, masks=None)
        assert ledger.read_table(stage.supervision_part("coarse", 0)).num_rows == 1
        monkeypatch.setattr(ledger, "write_json", write)
        question = desk.rounds[0].questions[0]
        before = desk.rounds[0].mine(question, "anna")
        assert before is not None
        desk.add("anna", [Entry(question, None, None, 1.0, before.answer_id)])
        stage.close(ledger, 0, desk, masks=None)
        assert ledger.read_table(stage.supervision_part("coarse", 0)).num_rows == 0


def test_whole_images_alone_are_estimated_on_held_out_points_too(tmp_path: Path):
    site = annotation_site.site(
        tmp_path, images=10, kinds=("proportions",), masks=False, overrides=["labelling.holdout_points=4"]
    )
    held = set(site.ledger().pool.index("holdout").image_ids.to_pylist())
    desk = site.desk()
    kinds = [(question.place[1], question.image_id in held) for question in desk.rounds[0].questions]
    assert sorted(kinds) == [("pixel", True)] * 8 + [("proportions", False)] * 8
    answer_all(desk)
    assert site.close(0).num_rows == 0
    assert set(stage.checks(site.ledger(), 0)["image_id"].to_pylist()) == held
