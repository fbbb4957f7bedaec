"""What does not fit the memory of a device, told with what makes it smaller."""

import contextlib
import re
from collections.abc import Iterator

import torch

from foundation import UserError


@contextlib.contextmanager
def memory_for_users(what: str, *, remedy: str) -> Iterator[None]:
    """Raise UserError where the block needs more memory than the GPU or the machine gives.

    Args:
        what: is done in the block.
        remedy: what to do about it.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = str(error)
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in told):
            raise
        told = re.sub(r"^\[enforce fail.*?\] \S+ == 0\. ", "", " ".join(told.split()))
        asked = ". ".join(told.split(". ")[:2]).rstrip(".") or type(error).__name__
        raise UserError(f"{what} does not fit the memory ({asked}); {remedy}") from error


def remedies_of_training(micro_batch: int) -> str:
    """What makes a training step smaller. Each is another configuration: what was trained so far stays as it is."""
    smaller = f"set training.micro_batch below {micro_batch}, " if micro_batch > 1 else ""
    return (
        f"{smaller}set training.activation_checkpointing=full, or share the model among GPUs (torchrun), in another "
        f"hydra.run.dir"
    )
