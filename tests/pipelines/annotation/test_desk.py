"""Who gets which image, and whose answers are taken."""

from pathlib import Path

import annotation_site
import pytest

from pipelines.annotation import stage
from pipelines.annotation.answers import Answers, Conflict
from pipelines.annotation.desk import Desk, Entry, Refused
from pipelines.annotation.mirror import Batches


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(tmp_path: Path, **options: object) -> tuple[annotation_site.Site, Desk, Clock]:
    site = annotation_site.site(tmp_path, **options)  # type: ignore[arg-type]
    clock = Clock()
    return site, site.desk(clock=clock), clock


def answer(desk: Desk, who: str, image_id: str, class_id: int | None = 0, *, seconds: float = 1.0) -> int:
    """Answer everything of an image that is shown to an annotator and not answered by them yet."""
    standing = desk.rounds[max(desk.rounds)]
    entries = []
    for question in standing.by_image["pixel", image_id]:
        row = standing.mine(question, who)
        if standing.for_me(question, who) and (row is None or row.withdrawn):
            entries.append(Entry(question, class_id, None, seconds, "" if row is None else row.answer_id))
    desk.add(who, entries)
    return len(entries)


def images(desk: Desk, who: str, count: int = 2) -> list[str]:
    found = desk.work(who, "pixel", count)
    assert found is not None
    return found[1]


def test_each_gets_images_of_their_own_and_the_same_again(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"))
    first, second = images(desk, "anna"), images(desk, "ben")
    assert len(first) == len(second) == 2
    assert not set(first) & set(second)
    assert images(desk, "anna") == first
    assert len(images(desk, "anna", 4)) == 4
    assert images(desk, "ben", 4) == second


def test_an_image_that_is_done_with_on_one_page_is_still_held_on_another(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"), images=2, kinds=("pixel", "proportions"))
    found = desk.work("anna", "proportions", 1)
    assert found is not None
    standing, (image_id,) = found
    assert images(desk, "anna", 1) == [image_id]
    answer(desk, "anna", image_id)
    assert images(desk, "anna", 1) != [image_id]
    (question,) = standing.by_image["proportions", image_id]
    desk.add("anna", [Entry(question, None, "[0.5,0.25,0.25]", 1.0, "")])
    assert standing.given(question).keys() == {"anna"}


def test_a_lease_ends_without_a_sign_of_life(tmp_path: Path):
    _, desk, clock = opened(tmp_path, annotators=("anna", "ben"), images=2)
    mine = images(desk, "anna")
    clock.now += 599
    assert images(desk, "ben") == []
    desk.renew("anna", mine[:1])
    clock.now += 300
    assert images(desk, "ben") == mine[1:]
    desk.renew("anna", mine)
    assert images(desk, "anna") == mine[:1]
    with pytest.raises(Refused) as caught:
        answer(desk, "anna", mine[1])
    assert caught.value.code in ("lease_lost", "not_yours")


def test_an_expired_lease_that_nobody_took_still_counts(tmp_path: Path):
    _, desk, clock = opened(tmp_path, annotators=("anna", "ben"))
    (mine,) = images(desk, "anna", 1)
    clock.now += 10_000
    assert answer(desk, "anna", mine) == 3


def test_the_next_one_gets_only_what_is_left(tmp_path: Path):
    _, desk, clock = opened(tmp_path, annotators=("anna", "ben"), images=1)
    (image_id,) = images(desk, "anna")
    first, *_ = desk.rounds[0].by_image["pixel", image_id]
    desk.add("anna", [Entry(first, 1, None, 1.0, "")])
    clock.now += 601
    assert images(desk, "ben") == [image_id]
    assert not desk.rounds[0].for_me(first, "ben")
    with pytest.raises(Refused) as caught:
        desk.add("ben", [Entry(first, 0, None, 1.0, "")])
    assert caught.value.code == "lease_lost"
    assert answer(desk, "ben", image_id) == 2
    assert desk.rounds[0].complete(1.0)


def test_what_was_never_handed_out_is_not_taken(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"))
    (image_id,) = images(desk, "anna", 1)
    with pytest.raises(Refused) as caught:
        answer(desk, "ben", image_id)
    assert caught.value.code == "not_yours"
    assert not desk.may_see("ben", image_id)
    assert desk.may_see("anna", image_id)


def test_what_nobody_holds_is_taken_of_whoever_was_given_the_question(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"))
    (image_id,) = images(desk, "anna", 1)
    with desk.answers.transaction() as db:
        db.execute("DELETE FROM leases")
    assert answer(desk, "anna", image_id) == 3
    with pytest.raises(Refused) as caught:
        desk.add("ben", [Entry(desk.rounds[0].by_image["pixel", image_id][0], 1, None, 1.0, "")])
    assert caught.value.code == "not_yours"


def test_another_machine_takes_the_leases_over(tmp_path: Path):
    site, desk, clock = opened(tmp_path, annotators=("anna", "ben", "carl"), images=4)
    storage = desk.ledger.storage
    desk.answers.close()
    desks = []
    for name in ("one", "two"):
        answers = Answers(tmp_path / name / "answers.sqlite", Batches(storage, "answers"))
        desks.append(Desk(site.ledger(), answers, people=desk.people, lifetime=600.0, clock=clock))
    one, two = desks
    two.resume()  # nobody held anything yet
    mine, abandoned = images(one, "anna", 1), images(one, "carl", 1)
    clock.now += 601
    assert images(one, "anna", 1) == mine
    clock.now += 7200  # without a server
    two.resume()
    clock.now += 599
    theirs = images(two, "ben", 8)
    assert abandoned[0] in theirs
    assert {*mine, *theirs} == {"train/000", "train/001", "train/002", "train/003"}
    assert len(theirs) == 3
    assert answer(two, "anna", mine[0], seconds=5000.0) == 3
    assert {row.seconds for row in two.answers.since()} == {600.0}
    for opened_desk in desks:
        opened_desk.answers.close()


def test_undo_over_images_and_a_later_change_of_mind(tmp_path: Path):
    _, desk, _ = opened(tmp_path)
    one, two = images(desk, "anna")
    answer(desk, "anna", one, 1)
    answer(desk, "anna", two, 2)
    standing = desk.rounds[0]
    for image_id in (two, one):
        question = standing.by_image["pixel", image_id][0]
        row = standing.mine(question, "anna")
        assert row is not None
        desk.add("anna", [Entry(question, None, None, 0.0, row.answer_id)])
        assert standing.lacks(question)
    images(desk, "anna")
    question = standing.by_image["pixel", one][1]
    row = standing.mine(question, "anna")
    assert row is not None
    changed = desk.add("anna", [Entry(question, 0, None, 2.0, row.answer_id)])[0]
    assert standing.given(question)["anna"] == changed
    with pytest.raises(Conflict):
        desk.add("anna", [Entry(question, 1, None, 2.0, row.answer_id)])
    assert answer(desk, "anna", one) == 1
    assert answer(desk, "anna", two) == 1


def test_seconds_are_never_more_than_there_were(tmp_path: Path):
    _, desk, clock = opened(tmp_path)
    (image_id,) = images(desk, "anna", 1)
    clock.now += 5
    answer(desk, "anna", image_id, seconds=4000.0)
    assert {row.seconds for row in desk.answers.since()} == {5.0}


def test_a_share_is_asked_twice_of_different_people(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben", "carl"), images=2, overrides=["labelling.repeat=1.0"])
    for who in ("anna", "ben"):
        while todo := images(desk, who, 8):
            for image_id in todo:
                assert answer(desk, who, image_id, 1) == 3
    assert desk.rounds[0].complete(1.0)
    assert images(desk, "carl") == []
    assert {row.annotator for row in desk.answers.since()} == {"anna", "ben"}


def test_who_disagrees_brings_a_third_one_in(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben", "carl"), images=1, overrides=["labelling.repeat=1.0"])
    standing = desk.rounds[0]
    for who, class_id in (("anna", 0), ("ben", 1)):
        (image_id,) = images(desk, who)
        answer(desk, who, image_id, class_id)
        images(desk, who)
    question = standing.by_image["pixel", image_id][0]
    assert not standing.complete(1.0)
    assert standing.decision(question) is None
    assert images(desk, "anna") == images(desk, "ben") == []
    (image_id,) = images(desk, "carl")
    answer(desk, "carl", image_id, 1)
    assert standing.decision(question) == 1
    assert standing.complete(1.0)


def test_nobody_left_to_ask_leaves_it_void(tmp_path: Path):
    site, desk, _ = opened(tmp_path, annotators=("anna", "ben"), images=1, overrides=["labelling.repeat=1.0"])
    for who, class_id in (("anna", 0), ("ben", 1)):
        (image_id,) = images(desk, who)
        answer(desk, who, image_id, class_id)
        images(desk, who)
    assert desk.rounds[0].complete(1.0)
    assert desk.rounds[0].decision(desk.rounds[0].questions[0]) == 255
    desk.answers.close()
    last = site.close(0).to_pylist()[2]
    assert (last["annotator"], last["class_id"]) == ("consensus", 255)


def test_one_annotator_alone_is_asked_once(tmp_path: Path):
    _, desk, _ = opened(tmp_path, images=1, overrides=["labelling.repeat=1.0"])
    (image_id,) = images(desk, "anna")
    answer(desk, "anna", image_id)
    assert desk.rounds[0].complete(1.0)


def test_a_share_of_the_answers_is_enough_where_asked_for(tmp_path: Path):
    _, desk, _ = opened(tmp_path, images=4)
    (image_id,) = images(desk, "anna", 1)
    answer(desk, "anna", image_id)
    assert desk.rounds[0].complete(0.25)
    assert not desk.rounds[0].complete(0.26)
    assert desk.progress("anna")["pixel"]["mine"] == 3
    assert desk.progress("anna")["pixel"]["median_seconds"] == 0.0  # nobody had looked at it for a second


def test_whole_images_that_a_share_left_out_are_handed_out_in_every_round(tmp_path: Path):
    site, desk, _ = opened(
        tmp_path, images=3, pixels=1, kinds=("pixel", "proportions"), overrides=["labelling.answered_share=0.3"]
    )

    def said(class_id: int) -> Entry:
        standing, (image_id, *_) = desk.work("anna", "proportions", 3)  # type: ignore[misc]
        return Entry(standing.by_image["proportions", image_id][0], None, f"[{class_id},{1 - class_id},0]", 1.0, "")

    (first,) = desk.add("anna", [said(0)])
    answer(desk, "anna", images(desk, "anna", 1)[0])
    assert desk.rounds[0].complete(0.3)
    site.close(0)
    desk.refresh(now=True)
    assert desk.work("anna", "proportions", 3) is None  # between the rounds nothing is asked
    site.ask(1, pixels=1)
    desk.refresh(now=True)
    assert desk.progress("anna").keys() == {"pixel", "proportions"}
    answer(desk, "anna", images(desk, "anna", 1)[0])
    assert desk.rounds[1].complete(0.3)  # whether or not more is said of whole images
    (second,) = desk.add("anna", [said(1)])
    assert second.image_id != first.image_id
    corrected = Entry(desk.rounds[0].by_place[first.place], None, "[1,0,0]", 1.0, first.answer_id)
    (third,) = desk.add("anna", [corrected])
    assert desk.progress("anna")["proportions"]["answered"] == 2
    site.close(1)
    with site.held() as ledger:
        parts = [ledger.read_table(stage.supervision_part("proportions", number)) for number in (0, 1)]
    assert parts[0]["answer_id"].to_pylist() == [first.answer_id]
    assert set(parts[1]["answer_id"].to_pylist()) == {second.answer_id, third.answer_id}


def test_pixels_of_an_earlier_round_are_not_handed_out_again(tmp_path: Path):
    site, desk, _ = opened(tmp_path, images=2, overrides=["labelling.answered_share=0.1"])
    answer(desk, "anna", images(desk, "anna", 1)[0])
    site.close(0)
    site.ask(1, pixels=0)
    desk.refresh(now=True)
    assert images(desk, "anna") == []
    assert desk.progress("anna") == {}


def test_another_desk_finds_everything(tmp_path: Path):
    site, desk, _ = opened(tmp_path, annotators=("anna", "ben"))
    mine = images(desk, "anna")
    answer(desk, "anna", mine[0])
    desk.answers.close()
    again = site.desk(clock=desk.clock)
    assert len(again.answers.since()) == 3
    assert mine[1] in images(again, "anna", 1)
    assert mine[1] not in images(again, "ben", 8)


def test_what_was_taken_back_is_kept_for_a_second_thought(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"), images=1)
    (image_id,) = images(desk, "anna")
    answer(desk, "anna", image_id)
    assert images(desk, "anna") == []  # done with, and given back
    question = desk.rounds[0].questions[0]
    row = desk.rounds[0].mine(question, "anna")
    assert row is not None
    back = desk.add("anna", [Entry(question, None, None, 0.5, row.answer_id)])[0]
    assert images(desk, "ben") == []
    desk.add("anna", [Entry(question, 2, None, 0.5, back.answer_id)])
    assert desk.rounds[0].complete(1.0)


def test_an_answer_taken_back_is_given_anew_while_another_has_the_image(tmp_path: Path):
    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"), images=1, overrides=["labelling.repeat=1.0"])
    (image_id,) = images(desk, "anna")
    answer(desk, "anna", image_id)
    assert images(desk, "anna") == []  # given back
    assert images(desk, "ben") == [image_id]
    question = desk.rounds[0].questions[0]
    row = desk.rounds[0].mine(question, "anna")
    assert row is not None
    back = desk.add("anna", [Entry(question, None, None, 0.5, row.answer_id)])[0]
    again = desk.add("anna", [Entry(question, 2, None, 0.5, back.answer_id)])[0]
    assert desk.rounds[0].given(question) == {"anna": again}
    assert answer(desk, "ben", image_id, 2) == 3


def test_an_answer_taken_back_that_another_gave_meanwhile_is_not_wanted_twice(tmp_path: Path):
    _, desk, clock = opened(tmp_path, annotators=("anna", "ben"), images=1)
    (image_id,) = images(desk, "anna")
    answer(desk, "anna", image_id)
    question = desk.rounds[0].questions[0]
    row = desk.rounds[0].mine(question, "anna")
    assert row is not None
    back = desk.add("anna", [Entry(question, None, None, 0.5, row.answer_id)])[0]
    clock.now += 601
    assert images(desk, "ben") == [image_id]
    assert answer(desk, "ben", image_id) == 1
    with pytest.raises(Refused) as caught:
        desk.add("anna", [Entry(question, 2, None, 0.5, back.answer_id)])
    assert caught.value.code == "lease_lost"


def test_a_file_that_disagrees_brings_a_person_in(tmp_path: Path):
    from pipelines.annotation import exchange

    _, desk, _ = opened(tmp_path, annotators=("anna", "ben"), images=1, pixels=1)
    (image_id,) = images(desk, "anna")
    answer(desk, "anna", image_id, 0)
    images(desk, "anna")
    question = desk.rounds[0].questions[0]
    path = tmp_path / "a.csv"
    path.write_text(f"image_id,y,x,class\n{image_id},{question.place[3]},{question.place[4]},water\n")
    assert exchange.import_file(desk, path) == 1
    desk.refresh(now=True)
    assert not desk.rounds[0].complete(1.0)
    assert images(desk, "anna") == []
    assert images(desk, "ben") == [image_id]
    answer(desk, "ben", image_id, 1)
    assert desk.rounds[0].complete(1.0)
    assert desk.rounds[0].decision(question) == 1
