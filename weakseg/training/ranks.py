"""What the ranks of a training do together, under torch.distributed."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def check_world(world: int) -> None:
    """Refuse a number of ranks that torch.distributed does not have.

    Args:
        world: The number of ranks; 1 needs no torch.distributed.

    Raises:
        ValueError: They differ.
    """
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    size = torch.distributed.get_world_size() if ready else 1
    if size != world:
        raise ValueError(
            f"world is {world} but torch.distributed {f'has {size} ranks' if ready else 'is not initialised'}: "
            "call torch.distributed.init_process_group with as many ranks, or train with world=1"
        )


def wrapped(model: nn.Module, device: torch.device) -> DistributedDataParallel:
    """The model with gradients averaged over ranks; all start from the weights of rank 0."""
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def take_over_buffers(model: nn.Module, world: int) -> None:
    """Give all ranks the buffers of rank 0, which are kept: statistics of batch normalisation are each rank's own."""
    if world > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
