"""How informative a pixel's label would be. Always: higher = ask first."""

from weakseg.acquisition.by_name import SCORES, score
from weakseg.acquisition.chance import random_scores
from weakseg.acquisition.from_logits import scores_from_logits
from weakseg.acquisition.uncertainty import best_versus_second_best, entropy, least_confidence, margin

__all__ = [
    "SCORES",
    "best_versus_second_best",
    "entropy",
    "least_confidence",
    "margin",
    "random_scores",
    "score",
    "scores_from_logits",
]
