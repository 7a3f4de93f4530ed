import pytest
from hypothesis import given
from hypothesis import strategies as st

from weakseg.metrics import pareto_front


def slow(costs, scores):
    """By the definition: nobody is at least as good in both and better in one."""
    points = list(zip(costs, scores, strict=True))
    return [not any(c <= cost and s >= score and (c < cost or s > score) for c, s in points) for cost, score in points]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_agrees_with_the_definition(points):
    costs, scores = zip(*points, strict=True)
    assert pareto_front(costs, scores).tolist() == slow(costs, scores)


def test_cheap_and_good_and_their_twins_are_on_the_front():
    assert pareto_front([10, 20, 20, 30, 10], [0.3, 0.5, 0.4, 0.5, 0.3]).tolist() == [True, True, False, False, True]
    assert pareto_front([], []).tolist() == []


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"as many costs as scores, got shapes \(2,\) and \(1,\)"):
        pareto_front([1, 2], [0.5])
    with pytest.raises(ValueError, match="NaN"):
        pareto_front([1], [float("nan")])
