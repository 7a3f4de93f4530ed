"""Who holds which image, by the seconds of a clock that the tests turn themselves."""

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipelines.annotation import leases
from pipelines.annotation.answers import Answers

LIFETIME = 10.0
take = partial(leases.take, lifetime=LIFETIME)
holders = partial(leases.holders, lifetime=LIFETIME)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    answers = Answers(tmp_path / "answers.sqlite")
    with answers.transaction() as connection:
        yield connection
    answers.close()


def test_a_lease_is_given_once(db: sqlite3.Connection):
    assert take(db, 0, "pixel", "a", "anna", now=0.0)
    assert not take(db, 0, "pixel", "a", "ben", now=1.0)
    assert holders(db, 0, "pixel", now=1.0) == {"a": "anna"}


def test_rounds_pages_and_images_have_leases_of_their_own(db: sqlite3.Connection):
    assert take(db, 0, "pixel", "a", "anna", now=0.0)
    assert take(db, 1, "pixel", "a", "ben", now=0.0)
    assert take(db, 0, "coarse", "a", "carl", now=0.0)
    assert take(db, 0, "pixel", "b", "dora", now=0.0)
    assert holders(db, 0, "pixel", now=0.0) == {"a": "anna", "b": "dora"}
    assert holders(db, 1, "pixel", now=0.0) == {"a": "ben"}
    assert holders(db, 0, "coarse", now=0.0) == {"a": "carl"}


def test_it_lasts_as_long_as_its_lifetime_after_the_last_sign_of_life(db: sqlite3.Connection):
    take(db, 0, "pixel", "a", "anna", now=0.0)
    assert take(db, 0, "pixel", "a", "anna", now=8.0)
    assert not take(db, 0, "pixel", "a", "ben", now=18.0)
    assert holders(db, 0, "pixel", now=18.0) == {"a": "anna"}
    assert holders(db, 0, "pixel", now=18.5) == {}
    assert take(db, 0, "pixel", "a", "ben", now=18.5)


def test_renewing_leaves_the_moment_at_which_it_was_taken(db: sqlite3.Connection):
    take(db, 0, "pixel", "a", "anna", now=3.0)
    take(db, 0, "pixel", "a", "anna", now=8.0)
    leases.renew(db, "a", "anna", now=9.0)
    assert leases.since(db, 0, "pixel", "a", "anna") == 3.0
    assert leases.since(db, 0, "pixel", "a", "ben") is None
    assert leases.since(db, 1, "pixel", "a", "anna") is None


def test_an_expired_lease_that_nobody_took_is_still_its_holders(db: sqlite3.Connection):
    take(db, 0, "pixel", "a", "anna", now=0.0)
    assert holders(db, 0, "pixel", now=100.0) == {}
    assert leases.seen(db, "a", "anna")
    assert leases.since(db, 0, "pixel", "a", "anna") == 0.0
    leases.renew(db, "a", "anna", now=100.0)
    assert holders(db, 0, "pixel", now=105.0) == {"a": "anna"}


def test_what_another_has_taken_is_lost(db: sqlite3.Connection):
    take(db, 0, "pixel", "a", "anna", now=0.0)
    assert take(db, 0, "pixel", "a", "ben", now=11.0)
    assert leases.since(db, 0, "pixel", "a", "ben") == 11.0
    assert leases.since(db, 0, "pixel", "a", "anna") is None
    assert not leases.seen(db, "a", "anna")
    leases.renew(db, "a", "anna", now=12.0)
    assert holders(db, 0, "pixel", now=12.0) == {"a": "ben"}
    assert not take(db, 0, "pixel", "a", "anna", now=12.0)


def test_holders_come_in_the_order_in_which_they_took(db: sqlite3.Connection):
    for image_id, moment in (("c", 1.0), ("a", 2.0), ("b", 2.0)):
        take(db, 0, "pixel", image_id, "anna", now=moment)
    take(db, 0, "pixel", "c", "anna", now=9.0)
    assert list(holders(db, 0, "pixel", now=9.0)) == ["c", "a", "b"]


def test_renewing_is_for_every_page_of_an_image_and_no_other_image(db: sqlite3.Connection):
    for page, image_id in (("pixel", "a"), ("coarse", "a"), ("pixel", "b")):
        take(db, 0, page, image_id, "anna", now=0.0)
    leases.renew(db, "a", "anna", now=9.0)
    assert holders(db, 0, "pixel", now=15.0) == holders(db, 0, "coarse", now=15.0) == {"a": "anna"}


def test_an_image_is_given_back_by_its_holder_alone(db: sqlite3.Connection):
    take(db, 0, "pixel", "a", "anna", now=0.0)
    leases.release(db, 0, "pixel", "a", "ben")
    assert holders(db, 0, "pixel", now=0.0) == {"a": "anna"}
    leases.release(db, 0, "pixel", "a", "anna")
    assert holders(db, 0, "pixel", now=0.0) == {}
    assert not leases.seen(db, "a", "anna")
    assert take(db, 0, "pixel", "a", "ben", now=0.0)


def test_an_image_is_given_back_in_one_round_and_on_one_page(db: sqlite3.Connection):
    for number, page in ((0, "pixel"), (1, "pixel"), (1, "coarse")):
        take(db, number, page, "a", "anna", now=0.0)
    leases.release(db, 1, "pixel", "a", "anna")
    assert [leases.since(db, *key, "a", "anna") for key in ((0, "pixel"), (1, "pixel"), (1, "coarse"))] == [
        0.0,
        None,
        0.0,
    ]


def test_what_is_left_is_anybodys_and_still_its_holders_until_it_is_taken(db: sqlite3.Connection):
    for page in ("pixel", "coarse"):
        take(db, 0, page, "a", "anna", now=100.0)
        leases.end(db, page, "a", "ben")
    assert holders(db, 0, "pixel", now=101.0) == {"a": "anna"}
    leases.end(db, "pixel", "a", "anna")
    assert (holders(db, 0, "pixel", now=101.0), holders(db, 0, "coarse", now=101.0)) == ({}, {"a": "anna"})
    assert leases.seen(db, "a", "anna")
    assert take(db, 0, "pixel", "a", "anna", now=102.0)
    assert leases.since(db, 0, "pixel", "a", "anna") == 100.0
    leases.end(db, "pixel", "a", "anna")
    assert take(db, 0, "pixel", "a", "ben", now=103.0)


def test_they_are_taken_over_as_if_no_time_had_passed(db: sqlite3.Connection):
    take(db, 0, "pixel", "b", "anna", now=1.0)
    take(db, 0, "pixel", "a", "anna", now=2.0)
    take(db, 0, "coarse", "a", "ben", now=9.0)
    found = leases.rows(db)
    take(db, 1, "pixel", "a", "carl", now=9.0)
    leases.restore(db, found, away=100.0)
    assert list(holders(db, 0, "pixel", now=111.0)) == ["b", "a"]
    assert holders(db, 0, "pixel", now=111.5) == {"a": "anna"}
    assert leases.since(db, 0, "coarse", "a", "ben") == 9.0
    assert holders(db, 1, "pixel", now=9.0) == {}
