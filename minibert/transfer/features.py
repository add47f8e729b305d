"""All but the head is frozen: then a sentence has the same hidden states each time, and is encoded only once.

This is the feature-based way of using BERT (paper, section 5.3). From the second epoch on, an epoch costs no more than
its head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from ..model import BertModel, BertPreTrainedModel
from ..outputs import BertModelOutput
from ..packing import Layout, PackedBatch


def remember_features(model: BertPreTrainedModel) -> None:
    """From now on, hidden states are computed for new sentences alone, and remembered.

    They are those of evaluation, without dropout, and take batch * seq * hidden * 4 bytes of main memory for all
    sentences together (without seq for a head that reads only [CLS]). Raises `InputError` unless the encoder is frozen.
    """
    bert = model.base_model
    moving = [name for name, p in bert.named_parameters() if p.requires_grad and not name.startswith("pooler.")]
    if moving:
        raise InputError(f"Features can be remembered only if the encoder is frozen, but {moving[0]} is trained.")
    bert.encode = FeatureMemory(bert)  # type: ignore[method-assign]


def forget_features(model: BertPreTrainedModel) -> None:
    """Undo `remember_features`, if it was called: from now on every sentence is encoded each time."""
    bert = model.base_model
    memory = bert.encode
    if isinstance(memory, FeatureMemory):
        bert.encode = memory.encode  # type: ignore[method-assign]


class FeatureMemory:
    """Stands in for `BertModel.encode`."""

    def __init__(self, bert: BertModel) -> None:
        self._bert = bert
        self.encode = bert.encode  # what it stands in for
        self._known: dict[tuple[bytes, bool], Tensor] = {}  # the ids of a row, and whether of [CLS] alone

    def __call__(
        self,
        batch: PackedBatch,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        read: Layout | None = None,
    ) -> BertModelOutput:
        """As `BertModel.encode`."""
        self._bert.eval()
        if output_hidden_states or output_attentions:
            return self.encode(batch, output_hidden_states, output_attentions, read)
        cls_only = read is batch.cls_layout
        layout = batch.cls_layout if cls_only else batch.layout
        keys = [(row, cls_only) for row in _rows_as_bytes(batch)]
        if any(key not in self._known for key in keys):
            # Not in inference mode, which evaluation uses: its tensors could not be trained on.
            with torch.inference_mode(False), torch.no_grad():
                fresh = self.encode(batch, read=layout).last_hidden_state.cpu()
            lengths = layout.cu_seqlens.diff().tolist()
            # Copies, because a part of a tensor keeps all of it in memory.
            self._known |= {key: part.clone() for key, part in zip(keys, fresh.split(lengths), strict=True)}
        hidden = torch.cat([self._known[key] for key in keys]).to(batch.input_ids.device)  # -> (tokens, hidden)
        pooled = self._bert.pool(hidden, layout, batch)
        if read is not None and not cls_only:
            hidden = read.select(hidden)  # (tokens, hidden) -> (queries, hidden)
        return BertModelOutput(last_hidden_state=hidden, pooler_output=pooled)


def _rows_as_bytes(batch: PackedBatch) -> list[bytes]:
    """All that the encoder reads of each row."""
    numbers = torch.stack([batch.input_ids, batch.token_type_ids, batch.position_ids]).cpu()  # -> (3, tokens)
    rows = numbers.split(batch.layout.cu_seqlens.diff().tolist(), dim=1)  # (3, tokens) -> one (3, length) a row
    return [row.contiguous().numpy().tobytes() for row in rows]
