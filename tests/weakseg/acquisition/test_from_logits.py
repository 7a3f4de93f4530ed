import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.acquisition import SCORES, score, scores_from_logits

every = pytest.mark.parametrize("name", sorted(SCORES))


@every
@settings(max_examples=40, deadline=None)
@given(classes=st.integers(1, 40), scale=st.sampled_from([0.0, 1e-3, 1.0, 10.0, 200.0]), seed=st.integers(0, 100))
def test_equals_the_score_of_softmax(name: str, classes: int, scale: float, seed: int) -> None:
    logits = scale * torch.randn(2, classes, 6, 5, generator=torch.Generator().manual_seed(seed)) + 7 * scale
    probs = logits.sigmoid() if classes == 1 else logits.softmax(1)
    # 1 ulp of an entropy near 4 is 2.4e-7: both sides round a few times
    torch.testing.assert_close(scores_from_logits(name, logits), score(name, probs), rtol=0, atol=2e-6)


@every
def test_within_1e_6_for_twelve_classes_as_a_model_gives_them(name: str) -> None:
    logits = 3 * torch.randn(2, 12, 60, 80, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scores_from_logits(name, logits), score(name, logits.softmax(1)), rtol=0, atol=1e-6)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_are_scored_in_float32(name: str, dtype: torch.dtype) -> None:
    logits = (3 * torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(0))).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = scores_from_logits(name, logits)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, scores_from_logits(name, logits.float()))


@every
def test_a_masked_class_counts_as_zero_probability(name: str) -> None:
    logits = torch.tensor([2.0, 1.0, -torch.inf])[None, :, None, None]
    torch.testing.assert_close(scores_from_logits(name, logits), score(name, logits.softmax(1)), rtol=0, atol=1e-6)


@every
def test_leaves_logits_alone_and_keeps_nan_visible(name: str) -> None:
    logits = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    assert not scores_from_logits(name, logits.requires_grad_()).requires_grad
    assert torch.equal(logits, before)
    broken = before.clone()
    broken[0, 1, 2, 2] = torch.nan
    assert scores_from_logits(name, broken)[0, 2, 2].isnan()


def test_refuses_unknown_names_and_shapes() -> None:
    with pytest.raises(ValueError, match=r"unknown score 'random'.*margin"):
        scores_from_logits("random", torch.zeros(1, 2, 3, 3))
    with pytest.raises(ValueError, match="expected floating point"):
        scores_from_logits("margin", torch.zeros(2, 3, 3))
