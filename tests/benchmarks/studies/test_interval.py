import numpy as np
import pytest
from scipy import stats

from benchmarks.studies.interval import interval


def test_the_interval_is_students():
    values = [0.031, 0.052, 0.044, 0.025, 0.047]
    found = interval(values)
    reference = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(np.mean(values))
    assert (found["low"], found["high"]) == pytest.approx((reference.low, reference.high))
    assert found["seeds"] == 5


def test_one_seed_has_no_interval():
    assert interval([0.4]) == {"mean": 0.4, "low": None, "high": None, "sd": None, "seeds": 1}


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        interval([])
