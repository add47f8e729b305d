"""`python -m minibert.similar`: the texts of a file that are nearest in meaning to your own, as JSON lines."""

from __future__ import annotations

import argparse

from .commandline import Parser, positive_int, run
from .files import json_line


def build_parser() -> Parser:
    parser = Parser(
        "similar",
        "Search a file by meaning. Writes one JSON object a query, with the texts of the file that are nearest to it.",
        "  python -m minibert.similar --model all-MiniLM-L6-v2 --input minibert/data/reviews/train.tsv 'Cold soup.'",
    )
    parser.add_argument("queries", nargs="+", metavar="QUERY", help="what to look for")
    parser.add_argument("--model", metavar="NAME_OR_PATH", required=True, help="best one fine-tuned for similarity")
    parser.add_argument("--input", metavar="FILE", required=True, help="a .tsv, .csv or .jsonl, or a .txt of lines")
    parser.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    parser.add_argument("--top", type=positive_int, default=5, metavar="N", help="texts a query")
    parser.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="texts at a time")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from .data.tables import read_lines, read_table
    from .device import best_device
    from .embeddings import BertForSimilarity, encode, nearest
    from .linear import pack_weights
    from .tokenization import BertTokenizer

    if arguments.input.endswith(".txt"):
        texts = read_lines(arguments.input)
    else:
        texts = read_table(arguments.input).texts(arguments.text_column, "--text-column")
    texts = list(dict.fromkeys(texts))  # the same text twice is no second answer
    tokenizer = BertTokenizer.from_pretrained(arguments.model)
    model = BertForSimilarity.from_pretrained(arguments.model).to(best_device())
    pack_weights(model)
    tokenizer.model_max_length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
    queries, vectors = (encode(group, model, tokenizer, arguments.batch_size) for group in (arguments.queries, texts))
    for query, numbers, cosines in zip(arguments.queries, *nearest(queries, vectors, arguments.top), strict=True):
        found = [
            {"text": texts[number], "similarity": round(float(cosine), 6)}
            for number, cosine in zip(numbers, cosines, strict=True)
        ]
        print(json_line({"query": query, "nearest": found}))


if __name__ == "__main__":
    run(build_parser(), main)
