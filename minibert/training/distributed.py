"""Several processes that train one model, as `torchrun` starts them, each on a share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """How many processes there are: 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process among them. The first one, 0, writes the files."""
    return int(os.environ.get("RANK", 0))


@contextmanager
def process_group() -> Iterator[None]:
    """Inside, the processes can talk to each other: over NCCL if each has a GPU, else over gloo."""
    if ranks() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if ranks() > 1:
        dist.all_reduce(tensor)
    return tensor


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether it is so in any of the processes: they must all stop at the same step, or the others wait for ever."""
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device))) if ranks() > 1 else flag
