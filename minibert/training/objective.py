"""What pretraining minimises: the loss of `BertForPreTraining`, as sums, so that it can be cut into parts and added up.

A third task, a bag of words, is added to its two if asked for. The mean over a step is over all its masked tokens,
however they are divided among batches, processes and machines. Means of means would give a token more weight where it
has fewer neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..data.batches import move
from ..data.instances import Instance
from ..data.stream import Batch, pack_instances
from ..heads import BertForMaskedLM, BertForPreTraining
from .bag_of_words import bag_of_words_loss
from .summed_cross_entropy import SummedCrossEntropy
from .tied_words import read_twice

PretrainingModel = BertForPreTraining | BertForMaskedLM
Bar = Callable[[range], Iterable[int]]


class Tally(NamedTuple):
    """Sums over some batches, each a number: of losses in nats, and of tokens and pairs."""

    mlm_loss: Tensor
    mlm_correct: Tensor
    masked: Tensor
    nsp_loss: Tensor
    nsp_correct: Tensor
    pairs: Tensor
    bag_loss: Tensor
    bags: Tensor
    tokens: Tensor

    def figures(self, pairs: bool | None = None, bags: bool | None = None) -> dict[str, Tensor]:
        """Means: `loss`, which is the sum of all tasks' losses (paper, appendix A.2), and the figures of each.

        pairs, bags: whether there are any. None: look, for which a GPU has to be waited for.
        """
        masked = self.masked.clamp(min=1)  # a batch may be of [UNK] alone
        mlm_loss = self.mlm_loss / masked
        figures = {"loss": mlm_loss, "mlm_loss": mlm_loss, "mlm_accuracy": self.mlm_correct / masked}
        if pairs or (pairs is None and self.pairs > 0):
            figures["loss"] = mlm_loss + self.nsp_loss / self.pairs
            figures["nsp_accuracy"] = self.nsp_correct / self.pairs
        if bags or (bags is None and self.bags > 0):
            figures["bag_loss"] = self.bag_loss / self.bags
            figures["loss"] = figures["loss"] + figures["bag_loss"]
        return figures


class PretrainingLoss(nn.Module):
    """A model with its losses, in one module: what `DistributedDataParallel` needs to see.

    word_weights: (vocab,) for the bag of words, on the model's device; without them, there is no such task.
    """

    def __init__(self, model: PretrainingModel, word_weights: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        self.word_weights = word_weights

    def forward(self, batch: Batch) -> Tensor:
        """A `Tally` of a batch from `pack_instances` as one tensor (9,) float32, of which the losses have gradients."""
        model = self.model
        packed = model.bert.pack(batch["input_ids"])
        with read_twice(model.bert.embeddings.word_embeddings, packed.input_ids) as words:
            encoded = model.bert(packed, read=batch["read"])
        wanted = batch["masked_lm_ids"]
        hidden = encoded.last_hidden_state[batch["masked_lm_positions"]]  # (chosen, hidden) -> (masked, hidden)
        of_words = _loss_and_correct(model.mlm(hidden, words), wanted)  # (masked, hidden) -> (masked, vocab)
        of_pairs = [torch.zeros((), device=wanted.device)] * 3
        if "next_sentence_labels" in batch:
            assert isinstance(model, BertForPreTraining)
            logits = model.nsp(encoded.pooler_output)  # (batch, hidden) -> (batch, 2)
            of_pairs = _loss_and_correct(logits, batch["next_sentence_labels"])
        of_bags = [torch.zeros((), device=wanted.device)] * 2
        if self.word_weights is not None:
            summary = encoded.pooler_output  # (batch, hidden)
            if summary is None:  # of what is read, each row's first is its [CLS]
                summary = encoded.last_hidden_state[batch["read"].cu_seqlens[:-1].long()]  # -> (batch, hidden)
            guesses = model.mlm(summary, words)  # (batch, hidden) -> (batch, vocab)
            truth = packed.input_ids.index_copy(0, batch["read"].selected[batch["masked_lm_positions"]], wanted)
            of_bags = [
                bag_of_words_loss(guesses, truth, packed.layout.cu_seqlens, self.word_weights),
                _number(len(guesses), wanted),
            ]
        tokens = _number(len(packed.input_ids), wanted)
        return torch.stack([*of_words, *of_pairs, *of_bags, tokens])


@torch.inference_mode()
def tally_of(loss: PretrainingLoss, instances: Sequence[Instance], batch_size: int, bar: Bar) -> Tally:
    """The `Tally` of many instances. bar: shows the progress of a loop, such as `tqdm`."""
    device = loss.model.device
    loss.model.eval()
    total = torch.zeros(len(Tally._fields), device=device)
    for start in bar(range(0, len(instances), batch_size)):
        batch = pack_instances(instances[start : start + batch_size])
        total += loss({key: move(value, device) for key, value in batch.items()})
    return Tally(*total)


def _loss_and_correct(logits: Tensor, wanted: Tensor) -> list[Tensor]:
    """The sum of the losses, how many are right, and how many there are. logits (rows, classes), wanted (rows,).

    The logits are gone afterwards.
    """
    loss, correct, _ = SummedCrossEntropy.apply(logits, wanted)  # type: ignore[no-untyped-call]
    return [loss, correct, _number(len(wanted), wanted)]


def _number(value: int, like: Tensor) -> Tensor:
    """A float32 on the same device as another tensor. It is filled there: a copy would wait for the GPU."""
    return torch.full((), float(value), device=like.device)
