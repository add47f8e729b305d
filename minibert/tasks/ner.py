"""Named entities, and every other task that tags words: slots of a command, phrases, parts of speech.

Files: CoNLL's columns (`minibert/data/conll.py`), the word in the first and its tag in the last, or `.jsonl` with
`tokens` and `tags`; tags in any scheme of `spans.py`. For CoNLL's files --text-column and --label-column are numbers,
counted from 1: `--label-column 2` learns the parts of speech of CoNLL-2003. In a `.conllu` the word is in the second
column, and its part of speech in the fourth.
Features: [CLS] words [SEP]. A word's tag is learnt and read at its first sub-word (Devlin et al. 2018, section 5.3). A
sentence longer than the model becomes several windows that share some words.
Head: `BertForTokenClassification`. Answer: for each word by itself the tag with the highest logit; the entities that
these tags name by the rule of CoNLL's script, each with its place in the text (of `tokens`: joined by spaces).
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..calibration import softmax
from ..config import BertConfig
from ..data.conll import CONLLU, read_sentences
from ..data.tables import Table, read_table
from ..data.windows import split_windows
from ..errors import InputError
from ..heads import BertForTokenClassification
from ..losses import IGNORE
from ..tokenization import CHUNK, BertTokenizer
from ..tokenization.words import word_places
from .spans import SCHEMES, SPAN_TAG, Span, detect_scheme, read_spans, span_metrics, write_tags
from .tagging_report import tagging_report
from .task import Columns, Example, Examples, Features, Task, Truth, reads_truth, saved_choice

log = logging.getLogger("minibert")


class Window(NamedTuple):
    """What the model says of the words of a window: their tags, and how probable these are."""

    first_word: int
    tags: list[str]
    sure: list[float]


class NerTask(Task):
    """Tags for words.

    scheme: one of `spans.SCHEMES`; answers are written in it. None: as the training file.
    names: the tags that the model knows, by their numbers. From an IOB1 file it learns IOB2.
    """

    name = "ner"
    model_class = BertForTokenClassification
    answer_key = "tags"
    headline = ("f1", "precision", "recall", "accuracy")

    def __init__(self, columns: Columns, scheme: str | None = None, names: Sequence[str] = ()) -> None:
        self.columns = columns
        self.scheme = scheme
        self.names = list(names)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> NerTask:
        return cls(Columns.from_arguments(arguments), arguments.tag_scheme)

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> NerTask:
        names = list(config.id2label.values())
        scheme = saved_choice(config, "scheme", (None, *SCHEMES))
        return cls(columns, scheme or detect_scheme([[name] for name in names]), names)

    # ------------------------------------------------------------------------------------------------------- files

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        path = Path(path)
        rows = list((self._json_rows if path.suffix == ".jsonl" else self._conll_rows)(path, truths))
        return Examples(path, rows, have_truth=rows[0].truth is not None)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        return Examples(Path(), [Example(in_words(text)) for text in texts], have_truth=False)

    def from_text_file(self, path: str | Path) -> Examples:
        """One text a line; but a `.txt` with CoNLL's columns, which mostly end in a tag, is read as by `finetune`."""
        try:
            sentences = read_sentences(path)
        except InputError:  # no columns
            return super().from_text_file(path)
        last = [field for sentence in sentences for field in sentence.columns[-1]]
        tags = sum(field in self.names or SPAN_TAG.fullmatch(field) is not None for field in last)
        if len(sentences[0].columns) > 1 and tags > len(last) / 2:
            return self.read(path, "ignored")
        return super().from_text_file(path)

    def _conll_rows(self, path: Path, truths: Truth) -> Iterator[Example]:
        sentences = read_sentences(path)
        width = len(sentences[0].columns)
        places = (2, 4) if path.suffix == CONLLU else (1, width)
        words = _column_number(self.columns.text, Columns.text, places[0])
        tags = _column_number(self.columns.label, Columns.label, places[1])
        if max(words, tags) > width:
            raise InputError(f"{path} has {width} columns: there is no column {max(words, tags)}.")
        if truths == "needed" and words == tags:
            raise InputError(f"{path}: the words need tags in another column, but there is only {width}.")
        for sentence in sentences:
            truth = list(sentence.columns[tags - 1]) if reads_truth(truths, words != tags) else None
            yield Example({"tokens": list(sentence.columns[words - 1])}, truth, sentence.line)

    def _json_rows(self, path: Path, truths: Truth) -> Iterator[Example]:
        words = "tokens" if self.columns.text == Columns.text else self.columns.text
        tags = "tags" if self.columns.label == Columns.label else self.columns.label
        file = read_table(path)
        values = file.rows[0].values
        if truths != "needed" and words not in values and "text" in values:
            texts = file.texts("text", "--text-column")
            yield from (
                Example(in_words(text), None, row.line, row.values) for text, row in zip(texts, file.rows, strict=True)
            )
            return
        sentences = _lists(file, words, "--text-column")
        right = _lists(file, tags, "--label-column") if reads_truth(truths, file.tells(tags)) else None
        for number, row in enumerate(file.rows):
            truth = None if right is None else right[number]
            if truth is not None and len(truth) != len(sentences[number]):
                raise file.fault(row, f"{len(sentences[number])} {words} need as many {tags}: found {len(truth)}")
            yield Example({"tokens": sentences[number]}, truth, row.line, row.values)

    # ------------------------------------------------------------------------------------------------------ labels

    def learn_labels(self, train: Examples) -> None:
        if self.scheme is None:
            self.scheme = detect_scheme(train.truths)
            tags = {tag for truth in train.truths for tag in truth}
            if self.scheme == "plain" and any("-" in tag and SPAN_TAG.fullmatch(tag) for tag in tags):
                self.scheme = "iob2"  # so that `_labels` tells of the tag that does not fit
        tags = {tag for row in train for tag in self._labels(train, row)}
        if not tags:
            raise InputError(f"{train.path}: not one of the {len(train)} sentences has a word to learn from.")
        if len(tags) < 2:
            raise InputError(f"{train.path}: all words have the tag '{tags.pop()}'. There must be at least two tags.")
        self.names = sorted(tags, key=lambda tag: (tag != "O", tag.partition("-")[::-1]))

    def config_changes(self) -> dict[str, Any]:
        return {"id2label": dict(enumerate(self.names)), **self.settings(scheme=self.scheme)}

    def describe(self) -> str:
        return f"{len(self.names)} tags ({', '.join(self.names[:6])}{', ...' if len(self.names) > 6 else ''})"

    @property
    def _scheme(self) -> str:
        assert self.scheme is not None  # `learn_labels` and `from_config` set it
        return self.scheme

    def _labels(self, examples: Examples, row: Example) -> list[str]:
        """The true tags as the model learns them: those of IOB1 become IOB2, where B does not depend on neighbours."""
        if self._scheme != "plain":
            for place, tag in enumerate(row.truth):
                if not SPAN_TAG.fullmatch(tag):
                    raise examples.fault(
                        row,
                        f"tag {place + 1} is '{tag}', but others are O, or B, I, E or S with a type, as in B-PER. Mend "
                        "it; or if tags mean nothing but themselves, learn them with --tag-scheme plain",
                    )
        spans = read_spans(row.truth, self._scheme)
        return write_tags(spans, len(row.truth), "iob2" if self._scheme == "iob1" else self._scheme)

    # ---------------------------------------------------------------------------------------- features and answers

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        """One a window. The notes: `example`, its number; `first_word`; `heads`, the place of each word's first token.

        With a truth, `labels` has the number of each word's tag at its first token, and -100 elsewhere; of words in two
        windows, which have one each, they are in that which sees more of the words around.
        """
        room = int(tokenizer.model_max_length) - tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise InputError(f"In {tokenizer.model_max_length} tokens there is no room for a word: raise --max-length.")
        number = {name: i for i, name in enumerate(self.names)}
        features: Features = []
        unknown: set[str] = set()
        for place, (row, pieces) in enumerate(zip(examples, _pieces(examples, tokenizer, room), strict=True)):
            tags = self._labels(examples, row) if examples.have_truth else None
            unknown.update(tag for tag in tags or () if tag not in number)
            windows = split_windows([len(ids) for ids in pieces], room)
            for this, (start, end) in enumerate(windows):
                inside = pieces[start:end]
                ids = [tokenizer.cls_token_id, *(i for word in inside for i in word), tokenizer.sep_token_id]
                heads = list(accumulate((len(word) for word in inside), initial=1))[:-1]
                feature = {"input_ids": ids, "token_type_ids": [0] * len(ids)}
                if tags is not None:
                    own_start = start if this == 0 else (start + windows[this - 1][1]) // 2
                    own_end = end if this == len(windows) - 1 else (windows[this + 1][0] + end) // 2
                    feature["labels"] = [IGNORE] * len(ids)
                    for word in range(own_start, own_end):
                        feature["labels"][heads[word - start]] = number.get(tags[word], IGNORE)
                features.append({**feature, "example": place, "first_word": start, "heads": heads})
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            log.warning(
                f"{examples.path} has tags that the model never met: {', '.join(sorted(unknown)[:5])}{more}. It cannot "
                "find these, and they count as missed."
            )
        return features

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        """`tags` in the file's scheme, always well-formed, and `entities`; without these, `probabilities` of the tags.

        An entity's probability is that of the least sure tag in it.
        """
        windows = [self._read(feature, logits) for feature, logits in zip(features, outputs, strict=True)]
        answers = []
        for place, group in groupby(range(len(features)), key=lambda number: features[number]["example"]):
            given = examples[place].given
            tags, sure = self._join([windows[number] for number in group])
            spans = read_spans(tags, self._scheme)
            answer: dict[str, Any] = {"tags": write_tags(spans, len(tags), self._scheme)}
            if self._scheme == "plain":
                answer["probabilities"] = sure
            else:
                answer["entities"] = _entities(given, spans, sure)
            answers.append(answer)
        return answers

    def _read(self, feature: Mapping[str, Any], logits: NDArray[np.float32]) -> Window:
        at_heads = logits[feature["heads"]]  # (seq, labels) -> (words, labels)
        highest = softmax(at_heads).max(axis=1)  # (words, labels) -> (words)
        tags = [self.names[best] for best in at_heads.argmax(axis=1)]  # (words, labels) -> (words)
        return Window(feature["first_word"], tags, [round(value, 6) for value in highest.tolist()])

    def _join(self, windows: Sequence[Window]) -> tuple[list[str], list[float]]:
        """The tags of a whole sentence and their probabilities.

        Where two windows share words, the first is followed up to a cut, then the second. The nearer the cut is to the
        middle, the more both see of the words around; but it is not made in what either holds for an entity, if there
        is another place.
        """
        tags, sure = list(windows[0].tags), list(windows[0].sure)
        for window in windows[1:]:
            low, high = window.first_word, len(tags)
            spans = read_spans(tags, self._scheme)
            spans += [Span(low + s.start, low + s.end, s.kind) for s in read_spans(window.tags, self._scheme)]
            middle = (low + high) // 2
            safe = [cut for cut in range(low, high + 1) if not any(span.start < cut < span.end for span in spans)]
            cut = min(safe, key=lambda place: abs(place - middle), default=middle)
            tags[cut:], sure[cut:] = window.tags[cut - low :], window.sure[cut - low :]
        return tags, sure

    # ---------------------------------------------------------------------------------------------------- judgement

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Precision, recall and F1 over entities, `per_type`, and the accuracy of the tags, as `conlleval` counts.

        In the plain scheme, where every word counts as an entity, the first three are the accuracy, too, and `baseline`
        is that of the most frequent tag for every word.
        """
        truths = [read_spans(row.truth, self._scheme) for row in examples]
        spans = [read_spans(answer["tags"], self._scheme) for answer in answers]
        right = words = 0
        for row, truth, found in zip(examples, truths, spans, strict=True):
            actual, predicted = (write_tags(spans, len(row.truth), self._scheme) for spans in (truth, found))
            right += sum(this == that for this, that in zip(actual, predicted, strict=True))
            words += len(actual)
        metrics = {**span_metrics(truths, spans), "accuracy": right / words if words else 0.0}
        if self._scheme == "plain" and words:
            metrics["baseline"] = max(row["support"] for row in metrics["per_type"].values()) / words
        return metrics

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        return tagging_report(examples, answers, metrics["per_type"], self._scheme)


def in_words(text: str) -> dict[str, Any]:
    """A text as it is asked: with its words."""
    return {"text": text, "tokens": [text[start:end] for start, end in word_places(text)]}


def _entities(given: Mapping[str, Any], spans: Sequence[Span], sure: Sequence[float]) -> list[dict[str, Any]]:
    """Entities for people. start, end: characters of the text, or of the tokens joined by spaces."""
    words = given["tokens"]
    if "text" in given:
        text, places = given["text"], word_places(given["text"])
    else:
        text, starts = " ".join(words), accumulate((len(word) + 1 for word in words), initial=0)
        places = [(start, start + len(word)) for start, word in zip(starts, words, strict=False)]
    return [
        {
            "text": text[places[span.start][0] : places[span.end - 1][1]],
            "type": span.kind,
            "start": places[span.start][0],
            "end": places[span.end - 1][1],
            "probability": min(sure[span.start : span.end]),
        }
        for span in spans
    ]


def _pieces(examples: Examples, tokenizer: BertTokenizer, room: int) -> Iterator[list[list[int]]]:
    """The tokens of each word of each example, as many as there is room for; of a word without any, the unknown one."""
    sentences = examples.given("tokens")
    for start in range(0, len(sentences), CHUNK):
        chunk = sentences[start : start + CHUNK]
        encoding = tokenizer(
            chunk, is_split_into_words=True, add_special_tokens=False, truncation=False, split_special_tokens=True
        )
        for number, words in enumerate(chunk):
            pieces: list[list[int]] = [[] for _ in words]
            for token, word in zip(encoding["input_ids"][number], encoding.word_ids(number), strict=True):
                if word is not None:
                    pieces[word].append(token)
            yield [tokens[:room] or [tokenizer.unk_token_id] for tokens in pieces]


def _column_number(flag: str, unset: str, default: int) -> int:
    if flag == unset:
        return default
    if not flag.isdecimal() or int(flag) < 1:
        raise InputError(f"The columns of CoNLL's files have numbers, from 1: found '{flag}'.")
    return int(flag)


def _lists(file: Table, column: str, flag: str) -> list[list[str]]:
    """The values of a column that must be lists of words or tags."""
    values = file.column(column, flag)
    for row, value in zip(file.rows, values, strict=True):
        if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
            raise file.fault(row, f"'{column}' must be a list of strings, none empty: found {json.dumps(value)[:60]}")
    return values
