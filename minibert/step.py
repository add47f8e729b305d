"""`python -m minibert.step`: a text on its way through BERT: tokens, code, shapes, numbers, answer."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .commandline import Parser, run
from .errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from .tokenization import BertTokenizer
    from .tracing import Trace

SHOWN = 5  # numbers of a vector, tokens that are looked at, words that are proposed

# What is shown of the first block, in order: names in the trace, and why they are there.
ATTENTION = (
    ("attention.projected", "query, key and value side by side, from one matrix product"),
    ("attention.query", "cut out of it, and into heads"),
    ("attention.eager_attention.scores", "how well each query fits each key"),
    ("attention.eager_attention.probabilities", "as weights that add up to 1"),
    ("attention.context", "the values, averaged with these weights"),
    ("attention.joined", "the heads side by side again"),
    ("attended", "mixed by one more matrix"),
)
FEED_FORWARD = (
    ("feed_forward.wide", "four times as wide"),
    ("feed_forward.activated", "bent by the activation"),
    ("feed_forward", "and back"),
    ("hidden", "added to what came in, and normalised: what the block hands on"),
)


def build_parser() -> Parser:
    parser = Parser(
        "step",
        "Walk through one forward pass of BERT, from the text to the words it would put in place of [MASK]. "
        "In a terminal, Enter leads to the next stage.",
        "  python -m minibert.step 'The cat sat on the [MASK].'",
    )
    parser.add_argument("text", metavar="TEXT", help="a sentence, best with a [MASK] in it")
    parser.add_argument(
        "--model", metavar="NAME_OR_PATH", default="minibert-tiny-uncased", help="a known name, or a folder"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    import torch

    from .heads import BertForMaskedLM
    from .tokenization import BertTokenizer
    from .tracing import trace

    tokenizer = BertTokenizer.from_pretrained(arguments.model)
    model = BertForMaskedLM.from_pretrained(arguments.model)
    inputs = tokenizer(arguments.text, return_tensors="pt")
    found, most = inputs["input_ids"].shape[1], model.config.max_position_embeddings
    if found > most:
        raise InputError(
            f"The text has {found} tokens, but {arguments.model} reads {most} at most: take a shorter one."
        )
    with torch.no_grad():
        steps = trace(model, **inputs, output_attentions=True)
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    masked = [place for place, token in enumerate(tokens) if token == "[MASK]"]
    Walk(tokens, masked, steps).show(tokenizer)


class Walk:
    """Prints the stages. The numbers are those of one token: the first [MASK], or the first token of the text."""

    def __init__(self, tokens: list[str], masked: list[int], steps: Trace) -> None:
        self.tokens = tokens
        self.masked = masked
        self.steps = steps
        self.place = masked[0] if masked else 1
        self.stages = 0

    def show(self, tokenizer: BertTokenizer) -> None:
        self.text_to_ids()
        self.stage("Embeddings", "What each token is, where it stands, and which segment it is in, added up.")
        for name, why in (
            ("words", "a row of a table for each id"),
            ("positions", "and one for each place"),
            ("segments", "and one for each segment"),
            ("", "added and normalised"),
        ):
            self.row(f"bert.embeddings.{name}".rstrip("."), why)
        self.blocks()
        self.answers(tokenizer)

    def text_to_ids(self) -> None:
        self.stage("Text to ids", "The text is cut into pieces that the vocabulary has; each has a number.")
        columns = (
            self.tokens,
            *(self.steps[f"batch.{name}"].tolist() for name in ("input_ids", "token_type_ids", "position_ids")),
        )
        print(f"  {'token':16}{'id':>8}{'segment':>9}{'position':>10}")
        for token, token_id, segment, position in zip(*columns, strict=True):
            print(f"  {token:16}{token_id:>8}{segment:>9}{position:>10}")
        print(
            "\n  Inside, all sentences lie one behind the other in one matrix, without padding. Here it is one\n"
            f"  sentence: shapes begin with its {len(self.tokens)} tokens. The numbers below are those of the token "
            f"{self.tokens[self.place]}, number {self.place}."
        )

    def blocks(self) -> None:
        count = len(self.steps.output.attentions)
        self.stage(
            f"Block 1 of {count}: attention",
            "The only place where tokens meet. Shown is the definition; other implementations give the same numbers.",
        )
        for name, why in ATTENTION:
            self.row(f"bert.blocks.0.{name}", why)
            if name.endswith("probabilities"):
                self.looks_at(0)
        self.stage(f"Block 1 of {count}: feed-forward", "Each token by itself.")
        for name, why in FEED_FORWARD:
            self.row(f"bert.blocks.0.{name}", why)
        if count > 1:
            rest = "Block 2" if count == 2 else f"Blocks 2 to {count}"
            self.stage(rest, "The same again, with other weights.")
        for number in range(1, count):
            self.row(f"bert.blocks.{number}.hidden", f"block {number + 1} hands on")
            self.looks_at(number)

    def answers(self, tokenizer: BertTokenizer) -> None:
        self.stage("The answer", "Which word's own vector is nearest to the one that has arrived?")
        self.row("mlm.expected", "the vector of the word that is expected here")
        self.row("mlm", "its product with the vector of every word")
        for place in self.masked:
            best = self.steps.output.logits[0, place].softmax(dim=-1).topk(SHOWN)  # (batch, seq, vocab) -> (shown)
            print(f"\n  in place of token {place}, [MASK]:")
            for chance, token_id in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                word = tokenizer.convert_ids_to_tokens(token_id)
                print(f"  {word:>20} {chance:7.2%} {'█' * round(40 * chance)}")
        if not self.masked:
            print("\n  Nothing was asked: write [MASK] in place of a word, and the model says what could stand there.")

    def stage(self, title: str, words: str) -> None:
        """The headline of a stage; in a terminal the reader says when."""
        if self.stages and sys.stdin.isatty() and sys.stdout.isatty():
            print("\n[Enter] ", end="", flush=True)
            sys.stdin.readline()
        self.stages += 1
        print(f"{'' if self.stages == 1 else chr(10)}{self.stages}. {title}\n   {words}\n")

    def row(self, name: str, why: str) -> None:
        """A tensor: its name, why it is there, its shape, the line that made it, and the first numbers of the token."""
        found = next(row for row in reversed(self.steps.rows) if row.name == name)
        shape = tuple(found.tensor.shape)
        print(f"  {name.rpartition('.')[2]} {shape} {str(found.tensor.dtype).removeprefix('torch.')}: {why}")
        print(f"      {found.where}  {found.code}")
        numbers = self.of_token(found.tensor).flatten()[:SHOWN].tolist()
        print(f"      {'  '.join(f'{number:.3f}' for number in numbers)}  ...")

    def of_token(self, tensor: Tensor) -> Tensor:
        """(tokens, ...) -> (...), or of the first head: (1, heads, seq, ...) -> (...)"""
        return tensor[self.place] if tensor.shape[0] == len(self.tokens) else tensor[0, 0, self.place]

    def looks_at(self, block: int) -> None:
        """Where the token's attention goes, as the mean of all heads."""
        weights = self.steps.output.attentions[block][0, :, self.place].mean(dim=0)  # (1, heads, seq, seq) -> (seq)
        best = weights.topk(min(SHOWN, len(self.tokens)))
        seen = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        print(f"      looks at {', '.join(f'{self.tokens[place]} {weight:.0%}' for weight, place in seen)}")


if __name__ == "__main__":
    run(build_parser(), main)
