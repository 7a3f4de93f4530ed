"""Training in plain torch: sampler, batches, optimisers, state and the loop."""

from weakseg.training.data import Batch, collate, has_label, loader, plain_batch
from weakseg.training.early_stopping import EarlyStopping
from weakseg.training.loop import PRECISIONS, EpochResult, Progress, fit
from weakseg.training.optim import build_optimizer, build_scheduler, parameter_groups
from weakseg.training.sampler import epoch_order, local_batch_size, rank_batches, steps_per_epoch
from weakseg.training.state import load, save, trained_weights
from weakseg.training.validation import validation_loss

__all__ = [
    "PRECISIONS",
    "Batch",
    "EarlyStopping",
    "EpochResult",
    "Progress",
    "build_optimizer",
    "build_scheduler",
    "collate",
    "epoch_order",
    "fit",
    "has_label",
    "load",
    "loader",
    "local_batch_size",
    "parameter_groups",
    "plain_batch",
    "rank_batches",
    "save",
    "steps_per_epoch",
    "trained_weights",
    "validation_loss",
]
