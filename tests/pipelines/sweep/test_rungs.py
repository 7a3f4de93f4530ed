import math

import pytest
from json_files import JsonFiles

from pipelines.config.sweep import Asha
from pipelines.sweep.rungs import Rungs


def test_rungs_are_the_grace_times_powers_of_the_reduction():
    rungs = Rungs(Asha(grace=2, reduction=3), JsonFiles())
    assert not any(rungs.behind("first", step, 1.0) for step in range(1, 30))
    behind = [step for step in range(1, 30) if rungs.behind(f"at {step}", step, 0.0)]
    assert behind == [2, 6, 18]


@pytest.mark.parametrize(
    ("score", "behind"),
    [(0.9, False), (0.7, False), (0.55, True), (0.1, True), (math.nan, True)],
)
def test_a_trial_goes_on_in_the_top_share_of_those_seen_at_its_rung(score: float, behind: bool):
    rungs = Rungs(Asha(grace=1, reduction=3), JsonFiles())
    for name, seen in {"a": 0.8, "b": 0.2, "c": 0.6, "d": 0.5}.items():
        rungs.behind(name, 1, seen)
    assert rungs.behind("new", 1, score) is behind


def test_the_first_at_a_rung_is_not_behind_and_a_score_that_is_none_is_no_measure_for_others():
    rungs = Rungs(Asha(grace=1, reduction=2), JsonFiles())
    assert not rungs.behind("first", 1, math.nan)
    assert not rungs.behind("second", 1, 0.1)
    assert rungs.behind("third", 1, 0.05)


def test_trials_are_compared_with_those_of_earlier_batches_and_calls():
    files, asha = JsonFiles(), Asha(grace=1, reduction=3)
    Rungs(asha, files).behind("a", 1, 0.5)
    later = Rungs(asha, files)
    assert later.behind("b", 1, 0.4)
    assert not later.behind("c", 1, 0.6)


def test_a_trial_begun_again_is_judged_as_it_was():
    files, asha = JsonFiles(), Asha(grace=1, reduction=3)
    rungs = Rungs(asha, files)
    assert not rungs.behind("early", 1, 0.3)
    assert not rungs.behind("better", 1, 0.9)
    assert rungs.behind("worse", 1, 0.1)
    for again in (rungs, Rungs(asha, files)):
        assert not again.behind("early", 1, 0.3)
        assert again.behind("worse", 1, 0.1)


def test_nobody_is_stopped_with_all_work_done_but_others_are_compared_with_it():
    rungs = Rungs(Asha(grace=1, reduction=3), JsonFiles())
    rungs.behind("best", 3, 0.9)
    assert not rungs.behind("done", 3, 0.1, last=True)
    assert not rungs.behind("good", 3, 0.8, last=True)
    assert rungs.behind("fourth", 3, 0.7)
