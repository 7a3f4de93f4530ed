import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import harness
from benchmarks.engine.harness import BenchmarkError, Cost, Side, compare, line, ratio, summary, turns


@contextmanager
def burning(per_unit: float, per_run: float, log: str) -> Iterator[Callable[[int], dict[str, int]]]:
    """A side that uses known CPU time and writes down when it was asked."""

    def work(size: int) -> dict[str, int]:
        with Path(log).open("a") as file:
            file.write(f"{per_unit} {size}\n")
        print("noise that must not be taken for a reply")
        until = time.process_time() + per_run + per_unit * size
        while time.process_time() < until:
            pass
        return {"size": size}

    yield work


@contextmanager
def failing() -> Iterator[Callable[[int], None]]:
    """A side that cannot work."""

    def work(size: int) -> None:
        raise RuntimeError(f"no work of size {size}")

    yield work


@pytest.fixture
def importable(monkeypatch):
    """Children import this file by its name."""
    folder = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", folder)
    monkeypatch.setattr(sys, "path", [folder, *sys.path])


def side(log: Path, *, per_unit: float, per_run: float) -> Side:
    return Side("test_harness:burning", {"per_unit": per_unit, "per_run": per_run, "log": str(log)})


def costs(small: list[float], large: list[float], sizes: tuple[int, int] = (2, 10)) -> list[Cost]:
    found = [Cost(0, 9.0, 9.0)]
    for low, high in zip(small, large, strict=True):
        found += [Cost(sizes[0], low, low), Cost(sizes[1], high, high)]
    return found


def test_sides_take_turns():
    assert [turns(["A", "B"], pair) for pair in range(4)] == [["A", "B"], ["B", "A"], ["A", "B"], ["B", "A"]]
    assert turns("ABC", 1) == ["C", "B", "A"]


def test_slope_and_intercept_are_those_of_the_line_through_both_sizes():
    found = line(costs([3.0, 5.0], [11.0, 29.0]), "cpu")
    np.testing.assert_allclose(found.slopes, [1.0, 3.0])
    np.testing.assert_allclose(found.intercepts, [1.0, -1.0])


def test_start_up_and_cost_per_run_do_not_touch_the_figure():
    plain = costs([2.0, 2.0], [10.0, 10.0])
    ours = costs([102.5, 102.5], [112.5, 112.5])  # 100 s more per run and a quarter more per unit
    found = summary({"plain": plain, "ours": ours}, baseline="plain", ours="ours")
    assert found["cpu"]["ratio"] == pytest.approx(0.8)
    assert found["ours"]["cpu"] == {
        "per_unit": pytest.approx(1.25),
        "per_run": pytest.approx(100.0),
        "start": 9.0,
    }
    assert (found["pairs"], found["sizes"]) == (2, [2, 10])


def test_the_ratio_is_of_sums_and_its_interval_is_the_bootstraps():
    over, under = np.array([1.0, 2.0, 3.0, 2.0]), np.array([2.0, 2.0, 2.0, 2.0])
    found = ratio(over, under)
    assert found.value == 1.0
    reference = np.random.default_rng(1)
    drawn = []
    for _ in range(20_000):
        picks = reference.integers(0, 4, 4)
        drawn.append(over[picks].sum() / under[picks].sum())
    assert found.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.13)  # steps of 1/8 are possible
    assert found.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.13)
    assert found.low < 1.0 < found.high


def test_equal_pairs_have_no_interval_and_unequal_counts_are_refused():
    found = ratio(np.array([3.0, 3.0]), np.array([4.0, 4.0]))
    assert (found.value, found.low, found.high) == (0.75, 0.75, 0.75)
    with pytest.raises(ValueError, match="as many pairs"):
        ratio(np.ones(3), np.ones(2))


def test_known_work_is_measured(tmp_path, importable):
    log = tmp_path / "order"
    lines: list[str] = []
    found = compare(
        {
            "plain": side(log, per_unit=0.04, per_run=0.0),
            "ours": side(log, per_unit=0.08, per_run=0.2),
        },
        sizes=(1, 6),
        pairs=2,
        settle=0.0,
        progress=lines.append,
    )
    result = summary(found, baseline="plain", ours="ours")
    assert result["cpu"]["ratio"] == pytest.approx(0.5, abs=0.12)
    assert result["ours"]["cpu"]["per_run"] == pytest.approx(0.2, abs=0.1)
    assert [cost.result for cost in found["ours"][1:]] == [{"size": 1}, {"size": 6}] * 2
    order = [text.split()[0] for text in log.read_text().splitlines()]
    assert order == ["0.04", "0.08", *["0.04"] * 2, *["0.08"] * 4, *["0.04"] * 2]
    assert len(lines) == 2


def test_a_side_that_fails_is_told_with_its_words(importable):
    with pytest.raises(BenchmarkError, match="no work of size 1"):
        compare({"bad": Side("test_harness:failing")}, sizes=(1, 2), pairs=1, settle=0.0)


@pytest.mark.parametrize(("sizes", "pairs"), [((2, 2), 1), ((0, 2), 1), ((1, 2), 0)])
def test_what_cannot_be_compared_is_refused(sizes, pairs):
    with pytest.raises(ValueError, match="expected at least one pair"):
        compare({}, sizes=sizes, pairs=pairs)


def test_children_run_on_one_thread_and_without_a_token():
    assert harness.ENVIRONMENT["OMP_NUM_THREADS"] == "1"
    assert harness.ENVIRONMENT["RAY_AUTH_MODE"] == "disabled"
