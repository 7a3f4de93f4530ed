"""Random numbers that depend on what they are for, never on order, batch or worker.

Every draw comes from a generator keyed by (seed, purpose, round, image_id), so that the same image gets
the same draw on one machine or on a hundred, today or after a crash.
"""

import hashlib
import random

import numpy as np
import torch


def integer(seed: int, purpose: str, *, round: int = 0, image_id: str = "") -> int:
    """A 63-bit integer fixed by its arguments.

    Args:
        seed: The run's one seed.
        purpose: What the number is for, such as "select".
        round: Active-learning round or epoch, 0 where there is none.
        image_id: The image it is for, empty where there is none.

    Returns:
        An integer in [0, 2**63).
    """
    key = "\x1f".join((str(seed), purpose, str(round), image_id)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, *, round: int = 0, image_id: str = "") -> np.random.Generator:
    """A NumPy generator fixed by its arguments (see :func:`integer`)."""
    return np.random.Generator(np.random.Philox(integer(seed, purpose, round=round, image_id=image_id)))


def torch_generator(seed: int, purpose: str, *, round: int = 0, image_id: str = "") -> torch.Generator:
    """A CPU torch generator fixed by its arguments (see :func:`integer`)."""
    return torch.Generator().manual_seed(integer(seed, purpose, round=round, image_id=image_id))


def seed_everything(seed: int, purpose: str, *, round: int = 0) -> None:
    """Seed the global generators of random, NumPy and torch, for code that takes none: dropout, initial weights."""
    value = integer(seed, purpose, round=round)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)
