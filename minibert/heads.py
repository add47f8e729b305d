"""The task models: BERT with a small head on top. Each is a layer or two and a loss.

They take the inputs of `BertModel.forward`, plus labels; with labels, `.loss` is there. -100 is the label to ignore.
A head that reads every token gets packed hidden states (tokens, hidden): nothing is computed for padding, logits are 0
there (for question answering, the lowest number there is), and labels are ignored there. A head that reads [CLS] gets
the pooled output (batch, hidden).

Given a `PackedBatch`, labels of tokens are packed too, (tokens,), and so are the logits. The encoder is always given
one: a hook on `model.bert` gets packed states, of [CLS] alone where the head reads nothing else
(`output_hidden_states=True` brings them all, padded).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .config import BertConfig
from .dropout import Dropout
from .errors import InputError
from .linear import Linear, linear
from .losses import IGNORE, check_in_text, check_labels, classification_loss, cross_entropy, full_precision, lowest
from .model import ACTIVATIONS, BertModel, BertPreTrainedModel
from .outputs import BertModelOutput, MaskedLMOutput, PreTrainingOutput, QuestionAnsweringOutput, TaskOutput, when_read
from .packing import Layout, PackedBatch, check_device


class MLMHead(nn.Module):
    """Which word stands here? A score for every word of the vocabulary (`get_masked_lm_output` in Google's code)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        expected = self.layer_norm(self.activation(self.dense(hidden)))
        # The output matrix is that of the word embeddings: a word is likely where its own vector is expected.
        return linear(expected, word_embeddings, self.bias)  # (masked, hidden) -> (masked, vocab)


class BertForPreTraining(BertPreTrainedModel):
    """Both pretraining tasks at once: masked words, and whether B really follows A (paper, section 3.1).

    labels: (batch, seq), the right id at masked positions, -100 elsewhere.
    next_sentence_label: (batch,), 0 if B follows A, 1 if it is random.
    Returns the sum of both losses, prediction_logits (batch, seq, vocab) and seq_relationship_logits (batch, 2).
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation)
        self.mlm = MLMHead(config)
        self.nsp = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> PreTrainingOutput:
        batch = self.bert.pack(input_ids, attention_mask, token_type_ids, position_ids)
        output = self.bert(
            batch, output_hidden_states=output_hidden_states, output_attentions=output_attentions, read=batch.layout
        )
        words = self.bert.embeddings.word_embeddings.weight
        nsp_logits = self.nsp(output.pooler_output)  # (batch, hidden) -> (batch, 2)
        loss = None
        if labels is not None and next_sentence_label is not None:
            mlm_loss = masked_lm_loss(self.mlm, output.last_hidden_state, words, token_labels(batch, labels))
            loss = mlm_loss + cross_entropy(nsp_logits, next_sentence_label, "next_sentence_label")
        later = all_logits_later(self.mlm, output.last_hidden_state, words, batch)
        return PreTrainingOutput(loss, later, nsp_logits, output.hidden_states, output.attentions)


class BertForMaskedLM(BertPreTrainedModel):
    """Masked words alone. labels (batch, seq): the right id at masked positions, -100 elsewhere.

    .logits are (batch, seq, vocab).
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation, add_pooling_layer=False)
        self.mlm = MLMHead(config)
        self.initialize_weights()

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> MaskedLMOutput:
        batch = self.bert.pack(input_ids, attention_mask, token_type_ids, position_ids)
        output = self.bert(
            batch, output_hidden_states=output_hidden_states, output_attentions=output_attentions, read=batch.layout
        )
        words = self.bert.embeddings.word_embeddings.weight
        hidden = output.last_hidden_state
        loss = None if labels is None else masked_lm_loss(self.mlm, hidden, words, token_labels(batch, labels))
        later = all_logits_later(self.mlm, hidden, words, batch)
        return MaskedLMOutput(loss, later, output.hidden_states, output.attentions)


class BertTaskModel(BertPreTrainedModel):
    """The plan of the heads below: encode, then `judge`, which each of them does in its own way."""

    bert: BertModel
    reads_cls_only = False

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> TaskOutput:
        batch = self.bert.pack(input_ids, attention_mask, token_type_ids, position_ids)
        read = batch.cls_layout if self.reads_cls_only else batch.layout
        output = self.bert(
            batch, output_hidden_states=output_hidden_states, output_attentions=output_attentions, read=read
        )
        logits, loss = self.judge(batch, output, labels)
        return TaskOutput(loss, logits, output.hidden_states, output.attentions)

    @abstractmethod
    def judge(self, batch: PackedBatch, output: BertModelOutput, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The logits, and with labels the loss."""


class BertForNextSentencePrediction(BertTaskModel):
    """Does sentence B follow A? labels (batch,): 0 if it does, 1 if B is random. .logits (batch, 2)."""

    reads_cls_only = True

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation)
        self.nsp = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def judge(self, batch: PackedBatch, output: BertModelOutput, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        logits = self.nsp(output.pooler_output)  # (batch, hidden) -> (batch, 2)
        return logits, None if labels is None else cross_entropy(logits, labels)


class BertForSequenceClassification(BertTaskModel):
    """A class for a sentence or a pair; or numbers (paper, figure 4 a and b). .logits (batch, labels).

    labels: (batch,) class numbers; or (batch, labels) floats 0..1, one decision each; or with one label, or with
    `problem_type="regression"`, numbers of the logits' size. As in `transformers`.
    """

    reads_cls_only = True

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation)
        self.dropout = Dropout(config.head_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.initialize_weights()

    def judge(self, batch: PackedBatch, output: BertModelOutput, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        logits = self.classifier(self.dropout(output.pooler_output))  # (batch, hidden) -> (batch, labels)
        return logits, None if labels is None else classification_loss(self, logits, labels)


class BertForMultipleChoice(BertTaskModel):
    """Which of several continuations? (paper, section 4.4). Every choice is encoded as a row of its own.

    Inputs (batch, choices, seq); or a `PackedBatch` of all rows, question by question, and in `choices` the number of
    rows of each question. labels (batch,): the number of the right choice. .logits (batch, choices); where a question
    has fewer than another, the lowest number there is.
    """

    reads_cls_only = True

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation)
        self.dropout = Dropout(config.head_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.initialize_weights()

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        choices: Sequence[int] | None = None,
    ) -> TaskOutput:
        if isinstance(input_ids, PackedBatch):
            found = input_ids.layout.batch
            if choices is None or sum(choices) != found:
                raise InputError(f"choices must tell how many of the {found} rows each question has: found {choices}.")
        else:
            if not isinstance(input_ids, Tensor) or input_ids.dim() != 3:
                raise InputError("Multiple choice reads padded input_ids of shape (batch, choices, seq), a tensor.")
            choices = [input_ids.shape[1]] * input_ids.shape[0]
            input_ids = input_ids.flatten(0, 1)  # (batch, choices, seq) -> (rows, seq), as the others
            attention_mask, token_type_ids, position_ids = (
                given.flatten(0, -2) if isinstance(given, Tensor) and given.dim() > 1 else given
                for given in (attention_mask, token_type_ids, position_ids)
            )
        output = super().forward(
            input_ids, attention_mask, token_type_ids, position_ids, None, output_hidden_states, output_attentions
        )
        # (rows) -> (batch, choices)
        output.logits = pad_sequence(output.logits.split(list(choices)), True, lowest(output.logits))
        output.loss = None if labels is None else cross_entropy(output.logits, labels)
        return output

    def judge(self, batch: PackedBatch, output: BertModelOutput, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.classifier(self.dropout(output.pooler_output)).squeeze(1), None  # (rows, hidden) -> (rows)


class BertForTokenClassification(BertTaskModel):
    """A class for every token, such as its part in a name (paper, figure 4 d). labels (batch, seq).

    .logits (batch, seq, labels).
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config)
        self.bert = BertModel(config, attn_implementation, add_pooling_layer=False)
        self.dropout = Dropout(config.head_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.initialize_weights()

    def judge(self, batch: PackedBatch, output: BertModelOutput, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        logits = self.classifier(self.dropout(output.last_hidden_state))  # (tokens, hidden) -> (tokens, labels)
        loss = None if labels is None else cross_entropy(logits, token_labels(batch, labels))
        return batch.restore(logits), loss  # (tokens, labels) -> (batch, seq, labels)


class BertForExtractiveSummarization(BertTaskModel):
    """Which sentences belong in the summary? One score a sentence, read at its [CLS] (Liu 2019, "BERTSUM").

    The row reads [CLS] sentence [SEP] [CLS] sentence [SEP] ..., so a sentence begins wherever the row's first token
    stands again. labels (batch, sentences): 1 for a sentence of the summary, 0 for others, -100 where the row has no
    more. .logits (batch, sentences), as many as the richest row has; where a row has fewer, the lowest number there is.
    For a `PackedBatch`, both are (all_sentences,).
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config.replace(num_labels=1))
        self.bert = BertModel(config, attn_implementation, add_pooling_layer=False)
        self.dropout = Dropout(config.head_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.initialize_weights()

    def judge(self, batch: PackedBatch, output: BertModelOutput, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        layout, starts = sentence_starts(batch)
        hidden = output.last_hidden_state[starts]  # (tokens, hidden) -> (all_sentences, hidden)
        scores = self.classifier(self.dropout(hidden)).squeeze(1)  # (all_sentences, hidden) -> (all_sentences)
        logits = layout.pad(scores, lowest(scores)) if batch.padded else scores  # -> (batch, sentences)
        if labels is None:
            return logits, None
        check_labels("labels", labels, 2, logits)
        wanted = layout.pack(labels) if batch.padded else labels  # (batch, sentences) -> (all_sentences)
        scores = full_precision(scores)
        losses = F.binary_cross_entropy_with_logits(scores, wanted.to(scores.dtype), reduction="none")
        kept = wanted != IGNORE
        return logits, (losses * kept).sum() / kept.sum().clamp(min=1)


class BertForQuestionAnswering(BertPreTrainedModel):
    """Where in the text does the answer begin, where does it end? (paper, section 4.2).

    start_positions, end_positions: (batch,), places in the row. Returns the mean of both losses, start_logits and
    end_logits (batch, seq).
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config.replace(num_labels=2))
        self.bert = BertModel(config, attn_implementation, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> QuestionAnsweringOutput:
        batch = self.bert.pack(input_ids, attention_mask, token_type_ids, position_ids)
        output = self.bert(
            batch, output_hidden_states=output_hidden_states, output_attentions=output_attentions, read=batch.layout
        )
        logits = self.qa_outputs(output.last_hidden_state)  # (tokens, hidden) -> (tokens, 2)
        # No answer lies in padding: there the logits are as low as can be, and get no share of the softmax.
        # (tokens, 2) -> 2 of (batch, seq)
        start_logits, end_logits = batch.layout.pad(logits, lowest(logits)).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            start_loss = cross_entropy(start_logits, start_positions, "start_positions")
            loss = (start_loss + cross_entropy(end_logits, end_positions, "end_positions")) / 2
            check_in_text(batch.layout, start_positions, "start_positions")
            check_in_text(batch.layout, end_positions, "end_positions")
        return QuestionAnsweringOutput(loss, start_logits, end_logits, output.hidden_states, output.attentions)


def masked_lm_loss(head: MLMHead, hidden: Tensor, word_embeddings: Tensor, labels: Tensor) -> Tensor:
    """Mean over the masked tokens. hidden (tokens, hidden), labels (tokens,). The others get no logits at all."""
    masked = (labels != IGNORE).nonzero().squeeze(1)  # (tokens) -> (masked)
    logits = head(hidden[masked], word_embeddings)  # (tokens, hidden) -> (masked, vocab)
    return cross_entropy(logits, labels[masked])


def all_logits_later(
    head: MLMHead, hidden: Tensor, word_embeddings: Tensor, batch: PackedBatch
) -> Callable[[], Tensor]:
    """A function for the logits at all tokens, to be called before the weights change."""

    def logits() -> Tensor:
        return batch.restore(head(hidden, word_embeddings))  # (tokens, hidden) -> (batch, seq, vocab)

    return when_read(logits, head, hidden, word_embeddings)


def token_labels(batch: PackedBatch, labels: Tensor) -> Tensor:
    """The labels of the real tokens, (tokens,): those at padded places have no token to be compared with."""
    check_device("labels", labels, batch.input_ids.device)
    expected = (batch.layout.batch, batch.layout.seq) if batch.padded else tuple(batch.input_ids.shape)
    if labels.shape != expected:
        raise InputError(f"labels must have the shape of input_ids, {expected}: found {tuple(labels.shape)}.")
    return batch.layout.pack(labels) if batch.padded else labels  # (batch, seq) -> (tokens)


def sentence_starts(batch: PackedBatch) -> tuple[Layout, Tensor]:
    """The tokens where a sentence begins, (tokens,) bool, and the layout of the sentences, a row for each document."""
    tokens = len(batch.input_ids)
    lengths = batch.layout.cu_seqlens.diff()  # (batch + 1) -> (batch)
    first_ids = batch.cls_layout.pad(batch.cls_layout.select(batch.input_ids)).squeeze(1)  # (tokens) -> (batch)
    starts = batch.input_ids == first_ids.repeat_interleave(lengths, output_size=tokens)  # (batch) -> (tokens)
    counts = batch.layout.pad(starts).sum(dim=1)  # (tokens) -> (batch)
    return Layout.from_lengths(counts), starts
