"""`python -m minibert.data.continuations`: questions for `--task choice` from any text: which sentence comes next?

The question is a sentence, the right choice the one after it. The wrong ones are other sentences of the same document,
so that the subject tells nothing, only the thread of the text. It is SWAG's kind of question (Zellers et al. 2018), but
nobody has checked that each of these can be answered.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from typing import Any

from ..commandline import Parser, positive_int, run, seed
from ..errors import InputError
from ..files import check_output, write_json_lines
from .corpus import Document, find_files, read_documents
from .sentences import split_sentences

SHORTEST = 5  # words in a sentence: "Yes." goes on with everything
STRETCH = 10  # sentences for which a document gives one question


def build_parser() -> Parser:
    parser = Parser(
        "data.continuations",
        "Make questions for --task choice from text: which of several sentences of a document comes next?",
        "  python -m minibert.data.continuations --corpus novel.txt --out train.jsonl",
    )
    parser.add_argument("--corpus", metavar="PATH", nargs="+", required=True, help="as for minibert.pretrain")
    parser.add_argument("--out", metavar="FILE", required=True, help="the .jsonl to write")
    parser.add_argument("--questions", type=positive_int, default=10_000, metavar="N", help="at most")
    parser.add_argument("--choices", type=positive_int, default=4, metavar="N", help="for each question")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of what is drawn")
    return parser


def main(arguments: argparse.Namespace) -> None:
    if arguments.choices < 2:
        raise InputError("--choices must be at least 2: with one there is nothing to choose.")
    chance = random.Random(arguments.seed)
    corpus = find_files(arguments.corpus)
    check_output(arguments.out, corpus)
    documents = (document for path in corpus for document in read_documents(path))
    questions = draw(documents, arguments.questions, arguments.choices, chance)
    if not questions:
        raise InputError(f"No document has {arguments.choices + 1} different sentences of {SHORTEST} words or more.")
    write_json_lines(arguments.out, questions)
    print(f"{len(questions):,} questions with {arguments.choices} choices are in {arguments.out}.")


def draw(documents: Iterator[Document], most: int, choices: int, chance: random.Random) -> list[dict[str, Any]]:
    """Up to so many questions out of all documents, each with the same probability, in random order.

    However many documents there are, only the chosen questions are kept (reservoir sampling: Vitter 1985, algorithm R).
    """
    chosen: list[dict[str, Any]] = []
    seen = 0
    for document in documents:
        for question in questions_of(document, choices, chance):
            seen += 1
            if len(chosen) < most:
                chosen.append(question)
            elif (place := chance.randrange(seen)) < most:
                chosen[place] = question
    chance.shuffle(chosen)
    return chosen


def questions_of(document: Sequence[str], choices: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """One question for every `STRETCH` sentences, at least one; none from a document with too few sentences."""
    sentences = [sentence for line in document for sentence in split_sentences(line)]
    distinct = dict.fromkeys(sentence for sentence in sentences if len(sentence.split()) >= SHORTEST)
    followed = [place for place in range(len(sentences) - 1) if {*sentences[place : place + 2]} <= distinct.keys()]
    if len(distinct) <= choices:
        return
    for place in chance.sample(followed, min(len(followed), 1 + len(sentences) // STRETCH)):
        question, right = sentences[place : place + 2]
        wrong = [sentence for sentence in distinct if sentence not in (question, right)]
        texts = [right, *chance.sample(wrong, choices - 1)]
        chance.shuffle(texts)
        yield {"question": question, "choices": texts, "label": texts.index(right)}


if __name__ == "__main__":
    run(build_parser(), main)
