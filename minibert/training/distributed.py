"""Several processes that train one model, as `torchrun` starts them, each on a share of every batch.

Each holds the whole model (`DistributedDataParallel`), or, if that is too large for one GPU, a share of every weight
(`shard`, by FSDP2: Zhao et al. 2023). A share is a `DTensor`; on disk there are only whole tensors, so that a run can
go on with another number of processes, or sharded after all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import InputError
from ..model import BertPreTrainedModel

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor  # takes a second: imported only where a model is to be divided

Model = TypeVar("Model", bound=BertPreTrainedModel)


def ranks() -> int:
    """How many processes there are: 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process among them. The first one, 0, writes the files."""
    return int(os.environ.get("RANK", 0))


@contextmanager
def process_group() -> Iterator[None]:
    """Inside, the processes can talk to each other: over NCCL, each with a GPU, or over gloo if there is none.

    From here on SIGTERM, which torchrun sends to the others as soon as one has died, does not end a process at once: it
    fails where it next needs the one that is gone, and has the time to say so. After 30 seconds torchrun kills it.

    Raises `InputError` if there are fewer GPUs than processes.
    """
    if ranks() == 1:
        yield
        return
    if torch.cuda.is_available():
        number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= gpus:
            raise InputError(
                f"Each process needs a GPU of its own: number {number} (the first is 0) finds only {gpus} on this "
                f"machine. Start as many as there are: torchrun --nproc-per-node {gpus}."
            )
        torch.cuda.set_device(number)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if dist.is_torchelastic_launched():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        dist.destroy_process_group()


def lost_contact(error: RuntimeError) -> bool:
    """Whether an error says that another process is gone. gloo has no class for it."""
    return ranks() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error))


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if ranks() > 1:
        dist.all_reduce(tensor)
    return tensor


def from_rank(tensor: Tensor, number: int) -> Tensor:
    """What the process of this number has in its place, in all processes, in place."""
    if ranks() > 1:
        dist.broadcast(tensor, number)
    return tensor


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether it is so in any of the processes: they must all stop at the same step, or the others wait for ever."""
    return bool(sum_over_ranks(torch.tensor(int(flag), device=device))) if ranks() > 1 else flag


def shard(module: nn.Module, blocks: Iterable[nn.Module]) -> None:
    """Divide a module, of which the blocks are the largest part, among the processes, in place: that of the first one.

    A block's weights are put together just before it runs and let go behind it, forward and backward.
    """
    from torch.distributed.fsdp import fully_shard

    for tensor in module.state_dict().values():
        dist.broadcast(tensor, 0)
    for block in blocks:
        fully_shard(block)
    fully_shard(module)


def is_divided(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether it is one process's share of a tensor: no other kind has a mesh."""
    return hasattr(tensor, "device_mesh")


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece, put together if it is divided. All processes must ask at the same time."""
    return tensor.full_tensor() if is_divided(tensor) else tensor


def divided_like(tensor: Tensor, example: Tensor) -> Tensor:
    """A whole tensor, divided among the processes as another one of its shape is, if that is."""
    if is_divided(example):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(tensor.to(example.device), example.device_mesh, example.placements)
    return tensor


def whole_model(model: Model) -> Model:
    """A model in one piece: itself, or a copy if it is divided. All processes must ask at the same time."""
    state = model.state_dict()
    if not any(is_divided(tensor) for tensor in state.values()):
        return model
    with torch.device("meta"):
        copy = type(model)(model.config)
    copy.load_state_dict({name: whole(tensor) for name, tensor in state.items()}, assign=True)
    return copy


def whole_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Its `state_dict` with whole tensors. All processes must ask at the same time."""
    saved = optimizer.state_dict()
    saved["state"] = {
        number: {name: whole(value) if isinstance(value, Tensor) else value for name, value in moments.items()}
        for number, moments in saved["state"].items()
    }
    return saved


def load_optimizer_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """The way back from `whole_optimizer_state`, into an optimizer whose parameters may be divided."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in saved["state"].items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameters[number].shape:
                moments[name] = divided_like(value, parameters[number])
    optimizer.load_state_dict(saved)
