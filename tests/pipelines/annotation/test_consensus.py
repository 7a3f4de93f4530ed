import pytest

from pipelines.annotation.consensus import decide, wanted


@pytest.mark.parametrize(
    ("classes", "decision"),
    [([], None), ([3], 3), ([3, 3], 3), ([3, 1], None), ([3, 1, 1], 1), ([3, 3, 1, 1], None), ([255, 255, 0], 255)],
)
def test_the_majority_decides(classes: list[int], decision: int | None):
    assert decide(classes) == decision


@pytest.mark.parametrize(
    ("classes", "copies", "people", "count"),
    [
        ([], 1, 4, 1),
        ([2], 1, 4, 1),
        ([2, 1], 1, 4, 3),  # a file answered too
        ([], 2, 4, 2),
        ([2], 2, 4, 2),
        ([2, 2], 2, 4, 2),
        ([2, 1], 2, 4, 3),
        ([2, 1, 0], 2, 4, 4),
        ([2, 1, 1], 2, 4, 2),
        ([2, 1], 2, 2, 2),  # nobody is left to ask
        ([], 2, 1, 1),
    ],
)
def test_one_more_is_asked_while_they_disagree(classes: list[int], copies: int, people: int, count: int):
    assert wanted(classes, copies=copies, people=people) == count
