"""Extractive summarization: the summary is some of the text's own sentences (Liu 2019, "Fine-tune BERT for Extractive
Summarization", called BERTSUM).

Files: `.jsonl`, `.csv` or `.tsv` with the columns `article` and `summary` (a text each; `--text-column` and
`--label-column` name others), or, to be asked, a `.txt` that is one article.
Features: [CLS] first sentence [SEP] [CLS] second sentence [SEP] ..., with token types 0, 1, 0, 1, ... to tell
neighbours apart. An article that is too long is read in several windows of whole sentences, as few as possible and
about equal in length. So any checkpoint reads articles of any length, at a cost that grows with the length and not
with its square; the price is that sentences of different windows do not see each other. (Position embeddings for longer
rows would have to be learnt from nothing, on few long articles.)
Head: `BertForExtractiveSummarization`, a score for each sentence, read at its [CLS].
Labels: a person's summary is seldom made of whole sentences. The oracle looks for the sentences that come nearest to
it: again and again the one that raises ROUGE-1 + ROUGE-2 most, until none does (Nallapati et al. 2017,
"SummaRuNNer"). These are to be learnt, and no choice of sentences gets much more ROUGE.
Answer: the sentences with the highest scores, in the order of the text, but none that repeats three words in a row of
one that is chosen (trigram blocking, Paulus et al. 2018). Beside it stand the first sentences of the article ("lead"),
which are hard to beat in news, and the oracle's.
"""

from __future__ import annotations

import argparse
import itertools
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..config import BertConfig
from ..data.batches import pack_examples
from ..data.sentences import split_sentences
from ..data.tables import read_table, read_text
from ..errors import InputError
from ..heads import BertForExtractiveSummarization
from ..losses import IGNORE
from ..metrics.rouge import ngrams, rouge, score, words
from ..pages import heading, marked, paragraph, subheading, table
from ..tokenization import BertTokenizer
from .task import Columns, Example, Examples, Features, Task, Truth, reads_truth, saved_number

SENTENCES = 3  # of a summary, as for the news that Liu summarized
WORST = 5  # summaries in a report
PLACES = 10  # in a report: where in the article sentences stand
# Articles of which sentences, oracles and scores are remembered: they are asked for after every epoch, and a thousand
# times for the intervals of a slice.
REMEMBERED = 10_000


class SummarizationTask(Task):
    """Which sentences say what the text says?"""

    name = "summarization"
    model_class = BertForExtractiveSummarization
    answer_key = "summary"
    answer_is_text = True
    headline = ("rouge1", "rouge2", "rougeL")
    max_length = 512

    def __init__(self, columns: Columns, summary_sentences: int = SENTENCES) -> None:
        self.columns = columns
        self.summary_sentences = summary_sentences

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> SummarizationTask:
        return cls(Columns.from_arguments(arguments), arguments.summary_sentences)

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> SummarizationTask:
        return cls(columns, saved_number(config, "summary_sentences", SENTENCES, int, above=0))

    def config_changes(self) -> dict[str, Any]:
        return {"num_labels": 1, **self.settings(summary_sentences=self.summary_sentences)}

    # ------------------------------------------------------------------------------------------------------- files

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        table = read_table(path)
        found = table.rows[0].values
        article, summary = self.columns.text, self.columns.label
        if article == Columns.text and "article" in found:
            article = "article"
        if summary == Columns.label and "summary" in found:
            summary = "summary"
        have_truth = reads_truth(truths, table.tells(summary))
        articles = table.texts(article, "--text-column")
        summaries = table.texts(summary, "--label-column") if have_truth else [None] * len(articles)
        rows = []
        for row, text, truth in zip(table.rows, articles, summaries, strict=True):
            for name, value in ((article, text), (summary, truth)):
                if value is not None and not value.strip():
                    raise table.fault(row, f"'{name}' is empty")
            rows.append(Example({"article": text}, truth, row.line, row.values))
        return Examples(table.path, rows, have_truth)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        if not all(text.strip() for text in texts):
            raise InputError("There is no text to summarize: it is empty.")
        return Examples(Path(), [Example({"article": text}) for text in texts], have_truth=False)

    def from_text_file(self, path: str | Path) -> Examples:
        """The whole file is one article."""
        return self.from_texts([read_text(Path(path))])

    def learn_labels(self, train: Examples) -> None:
        if not any(oracle(sentences(example), example.truth) for example in train):
            raise InputError(
                f"{train.path}: no article shares a word with its summary, so there is nothing to learn from. (ROUGE, "
                "which tells how near a sentence is to the summary, knows only the letters a to z, and digits.)"
            )

    # ---------------------------------------------------------------------------------------------------- features

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        """One or more windows an article, with the note `example` (its number) and how many `sentences` it has."""
        room = int(tokenizer.model_max_length)
        if room < 3:
            raise InputError(f"--max-length {room} has no room for a word between [CLS] and [SEP]: choose 512, say.")
        rows = []
        for number, example in enumerate(examples):
            texts = list(sentences(example))
            # A [SEP] that stands in the text is a word like any other.
            encoding = tokenizer(texts, truncation=True, max_length=room, split_special_tokens=True)["input_ids"]
            wanted = set(oracle(sentences(example), example.truth)) if examples.have_truth else set()
            for window in windows([len(ids) for ids in encoding], room):
                numbers = range(len(texts))[window]
                row: dict[str, Any] = {
                    "input_ids": [token for i in numbers for token in encoding[i]],
                    "token_type_ids": [place % 2 for place, i in enumerate(numbers) for _ in encoding[i]],
                    "example": number,
                    "sentences": len(numbers),
                }
                if examples.have_truth:
                    row["labels"] = [int(i in wanted) for i in numbers]
                rows.append(row)
        return rows

    @staticmethod
    def collate(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
        """A batch, of which each row has a label for each of its sentences: these are padded with -100."""
        batch = pack_examples(
            [{key: value for key, value in row.items() if key != "labels"} for row in rows], padded=True
        )
        if "labels" in rows[0]:
            most = max(len(row["labels"]) for row in rows)
            batch["labels"] = torch.tensor([row["labels"] + [IGNORE] * (most - len(row["labels"])) for row in rows])
        return batch

    # ----------------------------------------------------------------------------------------------------- answers

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        """The summary, the numbers of its sentences (from 0), and how probable it is of each that it belongs there."""
        found: list[list[float]] = [[] for _ in examples]
        for row, logits in zip(features, outputs, strict=True):
            found[row["example"]] += torch.from_numpy(logits[: row["sentences"]]).sigmoid().tolist()
        answers = []
        for example, probabilities in zip(examples, found, strict=True):
            texts = sentences(example)
            chosen = choose(texts, probabilities, self.summary_sentences)
            answers.append(
                {
                    "summary": " ".join(texts[number] for number in chosen),
                    "sentences": chosen,
                    "probabilities": [round(probability, 6) for probability in probabilities],
                }
            )
        return answers

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, from 0 to 1; also of the lead, the `baseline`, and of the oracle."""
        texts = [sentences(example) for example in examples]
        leads = [list(range(min(self.summary_sentences, len(text)))) for text in texts]
        oracles = [oracle(text, example.truth) for text, example in zip(texts, examples, strict=True)]

        def mean(choices: Sequence[Sequence[int]]) -> dict[str, float]:
            scores = [
                _rouge(" ".join(text[number] for number in chosen), example.truth)
                for text, chosen, example in zip(texts, choices, examples, strict=True)
            ]
            return {name: sum(found[name] for found in scores) / len(scores) for name in self.headline} | {
                "sentences": sum(map(len, choices)) / len(choices)
            }

        lead = mean(leads)
        return {
            **mean([answer["sentences"] for answer in answers]),
            "baseline": lead[self.headline[0]],
            f"lead_{self.summary_sentences}": lead,
            "oracle": mean(oracles),
        }

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """The model beside the lead and the oracle, where the chosen sentences stand, and the worst summaries."""
        lead = f"lead_{self.summary_sentences}"
        chosen = [answer["sentences"] for answer in answers]
        oracles = [oracle(sentences(example), example.truth) for example in examples]
        scores = [_rouge(answer["summary"], e.truth)["rouge1"] for e, answer in zip(examples, answers, strict=True)]
        worst = sorted(range(len(examples)), key=scores.__getitem__)[:WORST]
        return [
            heading("Beside the first sentences, and the best ones there are"),
            table(
                ["summary", "ROUGE-1", "ROUGE-2", "ROUGE-L", "sentences"],
                [
                    [name, *(f"{found[key]:.3f}" for key in self.headline), f"{found['sentences']:.1f}"]
                    for name, found in (("this model", metrics), (lead, metrics[lead]), ("oracle", metrics["oracle"]))
                ],
            ),
            heading("Where the chosen sentences stand"),
            table(
                ["sentence of the article", "this model, %", "oracle, %"],
                [
                    [
                        f"{place + 1}" if place < PLACES else f"after {PLACES}",
                        *(f"{100 * _share(choices, place):.1f}" for choices in (chosen, oracles)),
                    ]
                    for place in range(PLACES + 1)
                ],
            ),
            heading("The worst summaries"),
            paragraph("Blue: the oracle's sentences. Underlined: the model's."),
            *(
                piece
                for number in worst
                for piece in (
                    subheading(f"ROUGE-1 {scores[number]:.3f}"),
                    _marked_article(examples[number], chosen[number], oracles[number]),
                )
            ),
        ]


def _share(choices: Sequence[Sequence[int]], place: int) -> float:
    """Of all chosen sentences those that stand at this place, or, for the last one, at this or a later one."""
    places = [min(number, PLACES) for chosen in choices for number in chosen]
    return places.count(place) / max(1, len(places))


def _marked_article(example: Example, given: Sequence[int], right: Sequence[int]) -> str:
    texts = sentences(example)
    ends = list(itertools.accumulate(len(text) + 1 for text in texts))
    marks = [
        (ends[number] - len(texts[number]) - 1, ends[number] - 1, kind)
        for kind, numbers in (("given", given), ("right", right))
        for number in numbers
    ]
    return marked(" ".join(texts), marks)


def sentences(example: Example) -> tuple[str, ...]:
    """The sentences of an article; none goes on over a line's end."""
    return _split(example.given["article"])


@lru_cache(REMEMBERED)
def _split(article: str) -> tuple[str, ...]:
    return tuple(sentence for line in article.splitlines() for sentence in split_sentences(line))


_rouge = lru_cache(3 * REMEMBERED)(rouge)  # of the model's sentences, the first ones and the oracle's


@lru_cache(REMEMBERED)
def oracle(texts: tuple[str, ...], summary: str) -> tuple[int, ...]:
    """The numbers of the sentences that come nearest to the summary, by ROUGE-1 + ROUGE-2 (F1), found greedily.

    Pairs of words are counted within sentences alone, as Liu's code does, so that sentences simply add up.
    """
    sizes = (1, 2)
    grams = [[ngrams(words(text), size) for size in sizes] for text in texts]
    missing = [ngrams(words(summary), size) for size in sizes]  # what no chosen sentence has said yet
    wanted = [counts.total() for counts in missing]
    said = [0 for _ in sizes]

    def value(number: int) -> float:
        """Of what was chosen, and this sentence."""
        counts = grams[number]
        shared = [w - m.total() + (c & m).total() for w, m, c in zip(wanted, missing, counts, strict=True)]
        total = [s + c.total() for s, c in zip(said, counts, strict=True)]
        return sum(score(*three).f1 for three in zip(shared, total, wanted, strict=True))

    left = list(range(len(texts)))
    best = 0.0
    while left:
        number = max(left, key=value)
        if value(number) <= best:
            break
        best = value(number)
        left.remove(number)
        said = [s + c.total() for s, c in zip(said, grams[number], strict=True)]
        missing = [m - c for m, c in zip(missing, grams[number], strict=True)]
    return tuple(number for number in range(len(texts)) if number not in left)


def choose(texts: Sequence[str], scores: Sequence[float], count: int) -> list[int]:
    """The numbers of the `count` best sentences, in order, leaving out what repeats three words in a row."""
    chosen: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for number in sorted(range(len(texts)), key=lambda number: -scores[number]):
        trigrams = set(ngrams(words(texts[number]), 3))
        if len(chosen) < count and not trigrams & seen:
            chosen.append(number)
            seen |= trigrams
    return sorted(chosen)


def windows(lengths: Sequence[int], room: int) -> list[slice]:
    """As few runs of sentences as have room, each, for their tokens, and as even as can be.

    A last sentence in a window of its own would look like an article's first.
    """
    fewest = len(_filled(lengths, room))
    sizes = range(max(lengths), room + 1)
    enough = bisect_left(sizes, True, key=lambda size: len(_filled(lengths, size)) == fewest)
    return _filled(lengths, sizes[enough])


def _filled(lengths: Sequence[int], room: int) -> list[slice]:
    """One window after another, each filled up as far as it goes."""
    starts, used = [0], 0
    for number, length in enumerate(lengths):
        if used + length > room:
            starts.append(number)
            used = 0
        used += length
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(lengths)], strict=True)]
