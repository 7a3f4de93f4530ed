"""Several answers to one question: whether they agree, and how many are wanted."""

from collections import Counter
from collections.abc import Sequence


def decide(classes: Sequence[int]) -> int | None:
    """The class that more people gave than any other; None where there is none such.

    Args:
        classes: One per annotator; void (255) is an answer like the others.
    """
    first = Counter(classes).most_common(2)
    if not first or (len(first) == 2 and first[0][1] == first[1][1]):
        return None
    return first[0][0]


def wanted(classes: Sequence[int], *, copies: int, people: int) -> int:
    """How many people should answer a question.

    Args:
        classes: The answers so far, one per annotator.
        copies: How often it is asked to begin with.
        people: How many could answer, those who did included; nobody is asked twice.

    Returns:
        At least 1; one more than there are answers while they do not agree and somebody is left to ask.
    """
    planned = min(copies, people)
    if planned <= len(classes) < people and decide(classes) is None:
        return len(classes) + 1
    return max(1, planned)
