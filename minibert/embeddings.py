"""Sentence embeddings: one vector a text, close to those of texts that mean the same.

Reimers & Gurevych 2019, "Sentence-BERT": both texts of a pair go through the same BERT, each by itself; the vector of
a text is the mean of its tokens' last hidden states, and two texts are as similar as the cosine of their vectors. A
model that reads pairs has to read every text again for every pair; vectors are kept, and searched with one product.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from .config import BertConfig
from .data.batches import batches_by_length, move
from .errors import InputError
from .losses import full_precision
from .model import BertModel, BertPreTrainedModel
from .outputs import TaskOutput
from .packing import PackedBatch
from .tokenization import CHUNK, BertTokenizer

TEMPERATURE = 0.05  # of the in-batch softmax: cosines differ by too little to be told apart at 1 (Gao et al. 2021)


class BertForSimilarity(BertPreTrainedModel):
    """How alike are two texts? Inputs as `BertModel`'s, with the two texts of a pair in neighbouring rows.

    labels: (pairs,). Floats are the wanted cosines, learnt by the squared error. Whole numbers say what a pair is
    about: then each first text has to find its second one among the second texts of the batch, by a softmax over
    cosines (InfoNCE, van den Oord et al. 2018); pairs with equal labels are no wrong answers to each other.
    .logits (pairs, 2, hidden): the vectors of both texts. Saved, it is the plain `BertModel` that it has inside.
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        config = config.replace(output_hidden_states=False, output_attentions=False)  # vectors are all it returns
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation, add_pooling_layer=False)

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> TaskOutput:
        batch = self.bert.pack(input_ids, attention_mask, token_type_ids, position_ids)
        if batch.layout.batch % 2:
            raise InputError(f"A pair is two rows: found {batch.layout.batch} rows.")
        vectors = self.embed(batch).unflatten(0, (-1, 2))  # (rows, hidden) -> (pairs, 2, hidden)
        return TaskOutput(None if labels is None else similarity_loss(vectors, labels), vectors)

    def embed(self, batch: PackedBatch) -> Tensor:
        """The vector of each row, (rows, hidden): the mean over its tokens, [CLS] and [SEP] too."""
        hidden = self.bert(batch, read=batch.layout).last_hidden_state
        lengths = batch.layout.cu_seqlens.diff()  # (rows + 1) -> (rows)
        sums = batch.layout.pad(hidden).sum(dim=1)  # (tokens, hidden) -> (rows, hidden)
        return sums / lengths.clamp(min=1).unsqueeze(1)

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        self.bert.config = self.config
        self.bert.save_pretrained(directory)


def similarity_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """See `BertForSimilarity`. vectors (pairs, 2, hidden), labels (pairs,)."""
    if labels.shape != vectors.shape[:1]:
        raise InputError(f"labels must be one a pair, {tuple(vectors.shape[:1])}: found {tuple(labels.shape)}.")
    first, second = F.normalize(full_precision(vectors), dim=-1).unbind(1)  # -> 2 of (pairs, hidden)
    if labels.is_floating_point():
        cosines = (first * second).sum(dim=-1)  # (pairs, hidden) -> (pairs)
        return F.mse_loss(cosines, labels.to(cosines.dtype))
    scores = first @ second.mT / TEMPERATURE  # (pairs, hidden) -> (pairs, pairs)
    alike = labels.unsqueeze(1) == labels  # (pairs) -> (pairs, pairs)
    alike.fill_diagonal_(False)
    return F.cross_entropy(scores.masked_fill(alike, float("-inf")), torch.arange(len(labels), device=scores.device))


def token_ids(texts: Sequence[str], tokenizer: BertTokenizer) -> list[list[int]]:
    """[CLS] text [SEP] for each text by itself."""
    chunks = (list(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK))
    return [row for chunk in chunks for row in tokenizer(chunk, truncation=True)["input_ids"]]


@torch.inference_mode()
def encode(
    texts: Sequence[str], model: BertForSimilarity, tokenizer: BertTokenizer, batch_size: int = 32
) -> NDArray[np.float32]:
    """The vectors of the texts, (texts, hidden) float32, each of length 1: their products are cosines.

    Texts are cut to `tokenizer.model_max_length` tokens. model: `BertForSimilarity.from_pretrained(...)` of any BERT,
    but only one that was trained for it gives good ones. Raises `InputError` for a text that is in no list.
    """
    if isinstance(texts, str):  # or each of its characters would be a text
        raise InputError("encode takes a list of texts: found one text. Put it in a list.")
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    rows = token_ids(texts, tokenizer)
    model.eval()
    batches = batches_by_length([len(row) for row in rows], batch_size)
    for numbers in tqdm(batches, desc="encode", unit="batch", leave=False, delay=1):
        batch = PackedBatch.from_sequences([rows[number] for number in numbers])
        found = model.embed(move(batch, model.device))
        vectors[numbers] = F.normalize(full_precision(found), dim=-1).cpu().numpy()
    return vectors


def nearest(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each query the nearest vectors, the nearest first: their numbers and their cosines, (queries, count).

    queries (queries, hidden), vectors (texts, hidden), both from `encode`. Where there are fewer texts, count is less.
    """
    cosines = queries @ vectors.T  # (queries, hidden) -> (queries, texts)
    numbers = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return numbers, np.take_along_axis(cosines, numbers, axis=1)
