import pytest
import torch

from weakseg.acquisition import random_scores, score


def test_random_needs_generators_and_only_random_takes_them() -> None:
    probs = torch.full((1, 3, 4, 5), 1 / 3)
    generators = [torch.Generator().manual_seed(3)]
    expected = random_scores((1, 4, 5), generators=[torch.Generator().manual_seed(3)])
    assert torch.equal(score("random", probs, generators=generators), expected)
    with pytest.raises(ValueError, match="needs one generator"):
        score("random", probs)
    with pytest.raises(ValueError, match="draws nothing"):
        score("margin", probs, generators=generators)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'margn'.*random, least_confidence, margin, entropy"):
        score("margn", torch.full((1, 3, 4, 5), 1 / 3))
