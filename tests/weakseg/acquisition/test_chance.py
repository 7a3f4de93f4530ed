import pytest
import torch

from weakseg import seeding
from weakseg.acquisition import random_scores


def _generators(*images: str) -> list[torch.Generator]:
    return [seeding.torch_generator(0, "score", image_id=image) for image in images]


def test_shape_dtype_and_range() -> None:
    scores = random_scores((2, 30, 40), generators=_generators("a", "b"))
    assert scores.shape == (2, 30, 40)
    assert scores.dtype == torch.float32
    assert 0 <= scores.min() < 0.01
    assert 0.99 < scores.max() < 1
    assert scores.mean() == pytest.approx(0.5, abs=0.05)


def test_an_image_does_not_depend_on_its_batch() -> None:
    batch = random_scores((2, 5, 6), generators=_generators("a", "b"))
    turned = random_scores((2, 5, 6), generators=_generators("b", "a"))
    assert torch.equal(batch, turned.flip(0))
    assert not torch.equal(batch[0], batch[1])


def test_refuses_a_missing_generator_and_other_shapes() -> None:
    with pytest.raises(ValueError, match="one generator per image"):
        random_scores((2, 5, 6), generators=_generators("a"))
    with pytest.raises(ValueError, match="shape"):
        random_scores((5, 6), generators=_generators("a"))
