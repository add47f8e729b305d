"""The name table: one set of weights in three dialects.

Three families of programs name the same tensors differently. Read a row of the table as: "what minibert calls A,
Hugging Face's files call B and Google's TensorFlow checkpoints call C". A star is the number of a block. Three things
differ beyond the names:

- Google's `kernel` is (in, out), for y = x @ kernel; PyTorch's `weight` is (out, in): one is the other transposed.
- minibert keeps query, key and value in one matrix; [query] means its first third of rows, and so on.
- The matrix that turns hidden states into words is nowhere: it is the word embeddings, used a second time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import InputError

Dialect = Literal["hugging_face", "google"]
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# minibert                                             Hugging Face                                            Google
TABLE = """
bert.embeddings.word_embeddings.weight                 bert.embeddings.word_embeddings.weight                  bert/embeddings/word_embeddings
bert.embeddings.position_embeddings.weight             bert.embeddings.position_embeddings.weight              bert/embeddings/position_embeddings
bert.embeddings.token_type_embeddings.weight           bert.embeddings.token_type_embeddings.weight            bert/embeddings/token_type_embeddings
bert.embeddings.layer_norm.weight                      bert.embeddings.LayerNorm.weight                        bert/embeddings/LayerNorm/gamma
bert.embeddings.layer_norm.bias                        bert.embeddings.LayerNorm.bias                          bert/embeddings/LayerNorm/beta
bert.blocks.*.attention.query_key_value.weight[query]  bert.encoder.layer.*.attention.self.query.weight        bert/encoder/layer_*/attention/self/query/kernel
bert.blocks.*.attention.query_key_value.weight[key]    bert.encoder.layer.*.attention.self.key.weight          bert/encoder/layer_*/attention/self/key/kernel
bert.blocks.*.attention.query_key_value.weight[value]  bert.encoder.layer.*.attention.self.value.weight        bert/encoder/layer_*/attention/self/value/kernel
bert.blocks.*.attention.query_key_value.bias[query]    bert.encoder.layer.*.attention.self.query.bias          bert/encoder/layer_*/attention/self/query/bias
bert.blocks.*.attention.query_key_value.bias[key]      bert.encoder.layer.*.attention.self.key.bias            bert/encoder/layer_*/attention/self/key/bias
bert.blocks.*.attention.query_key_value.bias[value]    bert.encoder.layer.*.attention.self.value.bias          bert/encoder/layer_*/attention/self/value/bias
bert.blocks.*.attention.output.weight                  bert.encoder.layer.*.attention.output.dense.weight      bert/encoder/layer_*/attention/output/dense/kernel
bert.blocks.*.attention.output.bias                    bert.encoder.layer.*.attention.output.dense.bias        bert/encoder/layer_*/attention/output/dense/bias
bert.blocks.*.attention_norm.weight                    bert.encoder.layer.*.attention.output.LayerNorm.weight  bert/encoder/layer_*/attention/output/LayerNorm/gamma
bert.blocks.*.attention_norm.bias                      bert.encoder.layer.*.attention.output.LayerNorm.bias    bert/encoder/layer_*/attention/output/LayerNorm/beta
bert.blocks.*.feed_forward.intermediate.weight         bert.encoder.layer.*.intermediate.dense.weight          bert/encoder/layer_*/intermediate/dense/kernel
bert.blocks.*.feed_forward.intermediate.bias           bert.encoder.layer.*.intermediate.dense.bias            bert/encoder/layer_*/intermediate/dense/bias
bert.blocks.*.feed_forward.output.weight               bert.encoder.layer.*.output.dense.weight                bert/encoder/layer_*/output/dense/kernel
bert.blocks.*.feed_forward.output.bias                 bert.encoder.layer.*.output.dense.bias                  bert/encoder/layer_*/output/dense/bias
bert.blocks.*.feed_forward_norm.weight                 bert.encoder.layer.*.output.LayerNorm.weight            bert/encoder/layer_*/output/LayerNorm/gamma
bert.blocks.*.feed_forward_norm.bias                   bert.encoder.layer.*.output.LayerNorm.bias              bert/encoder/layer_*/output/LayerNorm/beta
bert.pooler.dense.weight                               bert.pooler.dense.weight                                bert/pooler/dense/kernel
bert.pooler.dense.bias                                 bert.pooler.dense.bias                                  bert/pooler/dense/bias
mlm.dense.weight                                       cls.predictions.transform.dense.weight                  cls/predictions/transform/dense/kernel
mlm.dense.bias                                         cls.predictions.transform.dense.bias                    cls/predictions/transform/dense/bias
mlm.layer_norm.weight                                  cls.predictions.transform.LayerNorm.weight              cls/predictions/transform/LayerNorm/gamma
mlm.layer_norm.bias                                    cls.predictions.transform.LayerNorm.bias                cls/predictions/transform/LayerNorm/beta
mlm.bias                                               cls.predictions.bias                                    cls/predictions/output_bias
nsp.weight                                             cls.seq_relationship.weight                             cls/seq_relationship/output_weights
nsp.bias                                               cls.seq_relationship.bias                               cls/seq_relationship/output_bias
classifier.weight                                      classifier.weight                                       output_weights
classifier.bias                                        classifier.bias                                         output_bias
qa_outputs.weight                                      qa_outputs.weight                                       cls/squad/output_weights
qa_outputs.bias                                        qa_outputs.bias                                         cls/squad/output_bias
"""  # noqa: E501 (a table wants its columns)

PARTS = {"query": 0, "key": 1, "value": 2}


class Name(NamedTuple):
    """A row of the table for one block. `part` is the third of minibert's tensor that it stands for, None for all."""

    minibert: str
    part: int | None
    hugging_face: str
    google: str

    def in_dialect(self, dialect: Dialect) -> str:
        return self.google if dialect == "google" else self.hugging_face


def _rows() -> dict[str, list[Name]]:
    """The table by minibert's name, with stars; three rows for the fused tensors."""
    rows: dict[str, list[Name]] = {}
    for line in TABLE.strip().splitlines():
        own, hugging_face, google = line.split()
        own, _, part = own.rstrip("]").partition("[")
        rows.setdefault(own, []).append(Name(own, PARTS.get(part), hugging_face, google))
    return rows


ROWS = _rows()


def full_name(parameter: str) -> str:
    """The parameter's name with `bert.` in front, which those of a bare `BertModel` do not have."""
    return parameter if parameter in ROWS or parameter.startswith("bert.") else f"bert.{parameter}"


def names_of(parameter: str) -> list[Name]:
    """What minibert's parameter is called elsewhere: one row, or three if it is fused.

    Raises `InputError` for one that is not in the table, such as that of a head of one's own.
    """
    name = full_name(parameter)
    rows = ROWS.get(BLOCK.sub("*", name))
    if rows is None:
        raise InputError(f"{parameter} has no name in files: give it a row in minibert/checkpoints/names.py.")
    block = str(block_number(name))
    return [Name(name, row.part, *(text.replace("*", block) for text in row[2:])) for row in rows]


BLOCK = re.compile(r"(?<=bert\.blocks\.)\d+|(?<=encoder\.layer\.)\d+|(?<=encoder/layer_)\d+")


def block_number(name: str) -> int:
    """The number of the block that a tensor belongs to, in any dialect; -1 if it belongs to none."""
    number = BLOCK.search(name)
    return int(number[0]) if number else -1


def is_encoder(parameter: str) -> bool:
    """Whether every BERT checkpoint must have this parameter: embeddings and blocks, not pooler and heads."""
    return full_name(parameter).startswith(("bert.embeddings.", "bert.blocks."))


def strangers(names: Iterable[str], dialect: Dialect) -> list[str]:
    """Those of the names that stand in the embeddings or the encoder, where BERT has no such tensor."""
    known = {row.in_dialect(dialect) for rows in ROWS.values() for row in rows}
    places = ("bert/embeddings/", "bert/encoder/") if dialect == "google" else ("bert.embeddings.", "bert.encoder.")
    return [name for name in names if name.startswith(places) and BLOCK.sub("*", name) not in known]


def to_minibert(parameters: Iterable[str], tensors: Mapping[str, Tensor], dialect: Dialect) -> dict[str, Tensor]:
    """Those parameters out of tensors in another dialect. What the tensors lack is left out.

    Raises `InputError` for tensors that can be no weights.
    """
    found: dict[str, Tensor] = {}
    for parameter in parameters:
        rows = names_of(parameter)
        if all(row.in_dialect(dialect) in tensors for row in rows):
            parts = {row.in_dialect(dialect): tensors[row.in_dialect(dialect)] for row in rows}
            _check_parts(parts)
            turned = [_turned(part, row, dialect) for part, row in zip(parts.values(), rows, strict=True)]
            # 3 of (hidden, ...) -> (3 * hidden, ...)
            found[parameter] = turned[0] if len(turned) == 1 else torch.cat(turned)
    return found


def _check_parts(parts: Mapping[str, Tensor]) -> None:
    """Raise `InputError` if these are no plain numbers, as in a quantized model, or cannot lie in one parameter."""
    for name, part in parts.items():
        if part.dtype not in FLOATS:
            kind = str(part.dtype).removeprefix("torch.")
            raise InputError(f"{name} is stored as {kind}: only plain float16, bfloat16, float32 and float64 are read.")
    shapes = {name: tuple(part.shape) for name, part in parts.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"{', '.join(f'{name} is {shape}' for name, shape in shapes.items())}: they must be alike.")


def from_minibert(state: Mapping[str, Tensor], dialect: Dialect) -> dict[str, Tensor]:
    """minibert's parameters in another dialect, contiguous."""
    tensors: dict[str, Tensor] = {}
    for parameter, tensor in state.items():
        for row in names_of(parameter):
            # (3 * hidden, ...) -> (hidden, ...)
            part = tensor if row.part is None else tensor.chunk(len(PARTS))[row.part]
            tensors[row.in_dialect(dialect)] = _turned(part, row, dialect)
    return tensors


def translate(tensors: Mapping[str, Tensor], source: Dialect, target: Dialect) -> dict[str, Tensor]:
    """Tensors of one dialect in another, contiguous. Those that the table does not know are left out."""
    rows = {row.in_dialect(source): row for group in ROWS.values() for row in group}
    translated: dict[str, Tensor] = {}
    for name in tensors:
        row = rows.get(BLOCK.sub("*", name))
        if row is not None:
            tensor = tensors[name].contiguous() if source == target else _turned(tensors[name], row, "google")
            translated[row.in_dialect(target).replace("*", str(block_number(name)))] = tensor
    return translated


def _turned(tensor: Tensor, row: Name, dialect: Dialect) -> Tensor:
    """The tensor as the other side has it, contiguous: of a kernel (in, out) -> (out, in), or back."""
    return (tensor.mT if dialect == "google" and row.google.endswith("/kernel") else tensor).contiguous()
