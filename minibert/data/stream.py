"""The endless stream of pretraining instances: block after block, cut into steps, made in other processes if asked.

An instance is a pure function of (seed, block, index), and the stream is too: a run that knows the place of its next
instance goes on exactly where it was, with any number of processes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..losses import IGNORE
from ..packing import PackedBatch
from .instances import Block, Instance, PretrainingInstances

Batch = dict[str, Any]


class Place(NamedTuple):
    """Of an instance in the stream: its number in its block."""

    block: int
    number: int


class InstanceStream:
    """The stream of instances, from any place on."""

    def __init__(self, instances: PretrainingInstances) -> None:
        self.instances = instances
        self.block = lru_cache(maxsize=2)(self._block)  # a step may begin in one block and end in the next

    def _block(self, number: int) -> Block:  # asked only now: `bench pretrain` steps a trainer that has no instances
        return self.instances.block(number)

    def steps(self, start: Place, batch_size: int) -> Iterator[list[Place]]:
        """For every step, the places of its instances. Blocks follow each other."""
        block, number = start
        while True:
            places: list[Place] = []
            while len(places) < batch_size:
                size = len(self.block(block))
                end = min(size, number + batch_size - len(places))
                places += [Place(block, i) for i in range(number, end)]
                number = end
                if number == size:
                    block, number = block + 1, 0
            yield places

    def __getitem__(self, parts: Sequence[Sequence[Place]]) -> list[Batch]:
        """The batches of these instances, one for each part: what a `DataLoader` asks for."""
        return [pack_instances([self.block(place.block)[place.number] for place in part]) for part in parts]

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes the plan itself: it is as fast as sending it."""
        return InstanceStream, (self.instances,)


def parts_of(places: Sequence[Place], parts: int, rank: int, ranks: int) -> list[Sequence[Place]]:
    """The share of one of several processes in a step, cut into parts that fit into memory."""
    share = places[rank::ranks]
    return [share[number::parts] for number in range(parts)]


def load_batches(
    stream: InstanceStream, steps: Iterator[Sequence[Sequence[Place]]], workers: int
) -> Iterator[list[Batch]]:
    """For every step its batches, one a part, in order. workers: processes that make them ahead; 0: none.

    The processes end with the iterator.
    """
    loader: DataLoader[list[Batch]] = DataLoader(
        stream,  # type: ignore[arg-type]  # all it needs is to be asked for items
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        worker_init_fn=_start_worker if workers else None,
        generator=torch.Generator(),  # or starting would draw from the generator that dropout draws from
    )
    return iter(loader)


def pack_instances(instances: Sequence[Instance]) -> Batch:
    """A batch out of instances, as `PretrainingLoss` reads it.

    input_ids: a `PackedBatch`.
    read: the layout of [CLS] and the tokens to predict, which are all that the losses read.
    masked_lm_positions: (masked,) int64, the places of the tokens to predict, among those that are read.
    masked_lm_ids: (masked,) int64, what stands there in truth.
    next_sentence_labels: (batch,) int64, if the instances are pairs.
    """
    labels = torch.from_numpy(np.concatenate([instance["labels"] for instance in instances]))  # -> (tokens)
    packed = PackedBatch.from_sequences(
        [instance["input_ids"].tolist() for instance in instances],
        [instance["token_type_ids"].tolist() for instance in instances],
    )
    read = labels != IGNORE
    read[packed.layout.cu_seqlens[:-1].long()] = True
    chosen = read.nonzero().squeeze(1)  # (tokens) -> (chosen)
    positions = (labels[chosen] != IGNORE).nonzero().squeeze(1)  # (tokens) -> (masked)
    batch: Batch = {
        "input_ids": packed,
        "read": packed.layout.only(chosen),
        "masked_lm_positions": positions,
        "masked_lm_ids": labels[chosen[positions]],  # (tokens) -> (masked)
    }
    if "next_sentence_label" in instances[0]:
        batch["next_sentence_labels"] = torch.tensor([instance["next_sentence_label"] for instance in instances])
    return batch


def _start_worker(number: int) -> None:
    """A signal may reach every process. The first one deals with it, and ends this one, which it needs until then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
