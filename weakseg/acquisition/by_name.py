"""The acquisition functions by the names that configurations use."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from weakseg.acquisition.chance import random_scores
from weakseg.acquisition.uncertainty import best_versus_second_best, entropy, least_confidence, margin

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "least_confidence": least_confidence,
    "margin": margin,
    "entropy": entropy,
    "best_versus_second_best": best_versus_second_best,
}
"""Those that read a prediction; ``random`` reads none."""


def score(name: str, probs_BCHW: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
    """Score pixels by the acquisition function of that name.

    Args:
        name: A key of ``SCORES``, or ``random``.
        probs_BCHW: (B, C, H, W) probabilities; ``random`` only reads the shape.
        generators: One CPU generator per image, for ``random`` only.

    Returns:
        (B, H, W) float32, higher = ask first.

    Raises:
        ValueError: The name is unknown, generators are missing for ``random`` or given to another score.
    """
    if name == "random":
        if generators is None:
            raise ValueError("the score 'random' needs one generator per image")
        images, _, height, width = probs_BCHW.shape
        return random_scores((images, height, width), generators=generators).to(probs_BCHW.device)
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}: expected one of {', '.join(['random', *SCORES])}")
    if generators is not None:
        raise ValueError(f"the score {name!r} draws nothing: generators belong to 'random'")
    return SCORES[name](probs_BCHW)
