"""Question answering: the answer is a piece of a text (paper, section 4.2; SQuAD: Rajpurkar et al. 2016 and 2018).

Files: SQuAD's `.json`, version 1.1 or 2.0 (see `data/squad.py`), or a table with the columns `question` and `context`,
to learn from also `answers`.
Features: [CLS] question [SEP] piece of the context [SEP]. A context that is too long is read through several windows
that overlap by `--stride` tokens, so that an answer at the edge of one stands whole in the next.
Head: `BertForQuestionAnswering`, two scores for every token: that the answer begins here, that it ends here.
Answer: of all pairs of a begin and an end in all windows, not longer than `--max-answer-length`, the one with the
highest sum of scores (Google's `run_squad.py`). Tokens know which characters they came from, so the answer is a slice
of the context as it was given. If there are questions without an answer to learn from, [CLS] is where these begin and
end: the answer is empty if the lowest score of [CLS] in any window, less that of the best span, is above a threshold,
chosen on the dev set to make F1 highest.
"""

from __future__ import annotations

import argparse
import random
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..calibration import softmax
from ..config import BertConfig
from ..data.squad import read_squad
from ..errors import InputError
from ..heads import BertForQuestionAnswering
from ..losses import IGNORE
from ..metrics.squad import exact_match, f1
from ..pages import heading, marked, paragraph, subheading, table
from ..tokenization import BertTokenizer
from .task import Columns, Example, Examples, Features, Task, Truth, saved_number

MAX_ANSWER_LENGTH = 30  # in tokens, as in Google's code
MAX_QUESTION_LENGTH = 64  # likewise; the rest of a longer question is not read
N_BEST = 20  # spans that share the probability, likewise
SHOWN = 5  # of them
MISTAKES = 15  # in a report
QUESTION_WORDS = ("who", "whose", "whom", "what", "when", "where", "which", "why", "how")

Offsets = list[tuple[int, int]]  # of each token of a text its first character, and the one after its last


class Span(NamedTuple):
    """A piece of a context, by characters. The higher the score, the better; only differences mean anything."""

    score: float
    begin: int
    end: int


class Verdict(NamedTuple):
    """What the model says to one question: the best spans, best first, and the score of there being no answer."""

    spans: list[Span]
    no_answer: float


class QuestionAnsweringTask(Task):
    """Where in a text stands the answer to a question?"""

    name = "qa"
    model_class = BertForQuestionAnswering
    answer_key = "answer"
    answer_is_text = True
    headline = ("f1", "exact_match")
    max_length = 384  # as in Google's code

    def __init__(
        self,
        stride: int | None = None,
        max_answer_length: int = MAX_ANSWER_LENGTH,
        no_answer_threshold: float | None = None,
    ) -> None:
        """stride None: a third of a window's length. no_answer_threshold None: every question has an answer."""
        self.stride = stride
        self.max_answer_length = max_answer_length
        self.no_answer_threshold = no_answer_threshold

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> QuestionAnsweringTask:
        return cls(arguments.stride, arguments.max_answer_length)

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> QuestionAnsweringTask:
        return cls(
            saved_number(config, "stride", None, int, above=-1),
            saved_number(config, "max_answer_length", MAX_ANSWER_LENGTH, int, above=0),
            saved_number(config, "no_answer_threshold", None),
        )

    def config_changes(self) -> dict[str, Any]:
        return self.settings(
            stride=self.stride, max_answer_length=self.max_answer_length, no_answer_threshold=self.no_answer_threshold
        )

    # ------------------------------------------------------------------------------------------------------- files

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        questions = read_squad(path, with_answers=truths != "ignored")
        lacking = [question.id for question in questions if question.answers is None]
        if lacking and truths == "needed":
            raise InputError(f"{path}: {len(lacking):,} questions have no 'answers', the first is '{lacking[0]}'.")
        rows = [
            Example(
                {"id": question.id, "question": question.question, "context": question.context},
                question.answers,
                question.line,
                question.columns,
            )
            for question in questions
        ]
        return Examples(Path(path), rows, have_truth=not lacking)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        if len(texts) != 2:
            raise InputError(f"Give two texts, the question and the text to find the answer in: found {len(texts)}.")
        question, context = texts
        if not question.strip():
            raise InputError("The question is empty.")
        return Examples(
            Path("command line"), [Example({"id": "1", "question": question, "context": context})], have_truth=False
        )

    def to_try(self) -> str:
        return "'your own question' 'the text to find the answer in'"

    def learn_labels(self, train: Examples) -> None:
        answerable = sum(bool(answers) for answers in train.truths)
        if not answerable:
            raise InputError(f"{train.path}: not one of the {len(train):,} questions has an answer to learn from.")
        self.no_answer_threshold = 0.0 if answerable < len(train) else None

    def describe(self) -> str:
        return "every question has an answer" if self.no_answer_threshold is None else "some questions have no answer"

    # ---------------------------------------------------------------------------------------------------- features

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        """One or more windows a question, with the notes `example` (its number), `text_at` (the place of the first
        token of the context) and `offsets` (of the tokens of the context).

        To train on, only one of a question's windows without the answer is kept, drawn at random: of a long text nearly
        all windows are such, and would teach nothing but that. (Alberti et al. 2019, "A BERT Baseline for the Natural
        Questions", leave most of them out, too.)
        """
        max_length = int(tokenizer.model_max_length)
        question_limit = min(MAX_QUESTION_LENGTH, (max_length - 3) // 2)
        stride = max_length // 3 if self.stride is None else self.stride
        if stride >= max_length - question_limit - 3:
            raise InputError(
                f"A window of --max-length {max_length} tokens, of which a question may take {question_limit}, has no "
                f"room for a --stride of {stride} tokens and new text. Choose a greater --max-length"
                + ("." if self.stride is None else ", or a smaller --stride.")
            )
        contexts: dict[str, tuple[list[int], Offsets]] = {}  # many questions are about one text
        rows = []
        for number, example in enumerate(examples):
            context = example.given["context"]
            if context not in contexts:
                contexts[context] = _tokenize(context, tokenizer)
            ids, offsets = contexts[context]
            if not ids:
                raise InputError(
                    f"{examples.path}, question '{example.given['id']}': its context has no readable text."
                )
            question = _tokenize(example.given["question"], tokenizer)[0][:question_limit]
            start = [tokenizer.cls_token_id, *question, tokenizer.sep_token_id]
            answer = _answer_tokens(example.truth, offsets) if example.truth else None
            found = list(windows(len(ids), max_length - len(start) - 1, stride))
            for window in _to_train_on(found, answer, number) if training else found:
                row: dict[str, Any] = {
                    "input_ids": [*start, *ids[window], tokenizer.sep_token_id],
                    "token_type_ids": [0] * len(start) + [1] * (len(ids[window]) + 1),
                    "example": number,
                    "text_at": len(start),
                    "offsets": offsets[window],
                }
                if examples.have_truth:
                    row["start_positions"], row["end_positions"] = _positions(answer, window, len(start))
                rows.append(row)
        return rows

    # ----------------------------------------------------------------------------------------------------- answers

    def tune(self, examples: Examples, features: Features, outputs: Any) -> None:
        """Choose the threshold of no answer, if there are questions with and without an answer to choose by."""
        if self.no_answer_threshold is None or len({bool(answers) for answers in examples.truths}) < 2:
            return
        verdicts = self._verdicts(examples, features, outputs)
        margins = np.array([_margin(verdict) for verdict in verdicts])
        pairs = zip(examples, verdicts, strict=True)
        answered = np.array([f1(_best_text(example, verdict), right_texts(example)) for example, verdict in pairs])
        silent = np.array([f1("", right_texts(example)) for example in examples])
        self.no_answer_threshold = best_threshold(margins, answered, silent)

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        verdicts = self._verdicts(examples, features, outputs)
        return [self._answer(example, verdict) for example, verdict in zip(examples, verdicts, strict=True)]

    def _answer(self, example: Example, verdict: Verdict) -> dict[str, Any]:
        """For people: probabilities are shares among the `N_BEST`; start and end are characters of the context."""
        context, threshold = example.given["context"], self.no_answer_threshold
        scores = [span.score for span in verdict.spans] + ([] if threshold is None else [verdict.no_answer])
        probabilities: list[float] = softmax(np.array(scores)).round(6).tolist()
        n_best = [
            {"answer": context[begin:end], "probability": probability, "start": begin, "end": end}
            for (_, begin, end), probability in zip(verdict.spans[:SHOWN], probabilities, strict=False)
        ]
        if threshold is None:
            return {**n_best[0], "n_best": n_best}
        nothing = {"answer": "", "probability": probabilities[-1], "start": None, "end": None}
        answer = nothing if _margin(verdict) > threshold else n_best[0]
        return {**answer, "no_answer_score": round(_margin(verdict), 4), "n_best": [*n_best, nothing]}

    def _verdicts(self, examples: Examples, features: Features, outputs: Any) -> list[Verdict]:
        """outputs: the logits of begins and of ends, (windows, seq) each."""
        found: list[dict[tuple[int, int], float]] = [{} for _ in examples]
        no_answer = [np.inf] * len(examples)
        for row, begins, ends in zip(features, *outputs, strict=True):
            number, offsets = row["example"], row["offsets"]
            context = slice(row["text_at"], row["text_at"] + len(offsets))
            no_answer[number] = min(no_answer[number], float(begins[0] + ends[0]))
            for score, first, last in best_spans(begins[context], ends[context], self.max_answer_length, N_BEST):
                place = offsets[first][0], offsets[last][1]
                found[number][place] = max(score, found[number].get(place, -np.inf))
        return [
            Verdict(sorted((Span(score, *place) for place, score in spans.items()), key=_rank)[:N_BEST], nothing)
            for spans, nothing in zip(found, no_answer, strict=True)
        ]

    def asked(self, example: Example) -> dict[str, Any]:
        """Without the context, which is long, and the same for many questions: `id` tells where it is."""
        return {key: example.given[key] for key in ("id", "question")}

    # ----------------------------------------------------------------------------------------------------- metrics

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`exact_match` and `f1` from 0 to 1 (the official script prints them times 100), also for each kind."""
        pairs = list(zip(examples, answers, strict=True))
        matches = np.array([exact_match(answer["answer"], right_texts(example)) for example, answer in pairs])
        overlaps = np.array([f1(answer["answer"], right_texts(example)) for example, answer in pairs])
        answerable = np.array([bool(example.truth) for example in examples])
        words = np.array([question_word(example) for example in examples])

        def mean(of: NDArray[np.bool_]) -> dict[str, Any]:
            count = int(of.sum())
            return {
                "questions": count,
                "exact_match": float(matches[of].mean()) if count else None,
                "f1": float(overlaps[of].mean()) if count else None,
            }

        return {
            **mean(np.ones(len(examples), dtype=bool)),
            "answerable": mean(answerable),
            "unanswerable": mean(~answerable),
            "by_question_word": {word: mean(words == word) for word in np.unique(words).tolist()},
            "no_answer_threshold": self.no_answer_threshold,
        }

    def other_files(
        self, split: str, examples: Examples, answers: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """What SQuAD's official script reads: each question's id, and the answer."""
        pairs = zip(examples, answers, strict=True)
        return {f"{split}_predictions.json": {example.given["id"]: answer["answer"] for example, answer in pairs}}

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """Scores by kind of question, and the most confident mistakes: the text, and the model's best answers."""
        kinds = {
            "with an answer": metrics["answerable"],
            "without an answer": metrics["unanswerable"],
            **dict(sorted(metrics["by_question_word"].items(), key=lambda item: item[1]["f1"])),
        }
        wrong = [
            (example, answer)
            for example, answer in zip(examples, answers, strict=True)
            if not exact_match(answer["answer"], right_texts(example))
        ]
        wrong.sort(key=lambda pair: -pair[1]["probability"])
        return [
            heading("Kinds of questions, the hardest question words first"),
            table(
                ["questions", "F1", "exact match", "count"],
                [
                    [kind, f"{found['f1']:.3f}", f"{found['exact_match']:.3f}", found["questions"]]
                    for kind, found in kinds.items()
                    if found["questions"]
                ],
            ),
            heading("The most confident mistakes"),
            paragraph("Blue: a right answer. Underlined: the model's.")
            if wrong
            else paragraph("None: every answer is right, word for word."),
            *(piece for example, answer in wrong[:MISTAKES] for piece in _mistake(example, answer)),
        ]


def _mistake(example: Example, answer: Mapping[str, Any]) -> list[str]:
    """A question, its context with the answers marked, and what else the model thought of."""
    right = {(place["answer_start"], place["answer_start"] + len(place["text"]), "right") for place in example.truth}
    given = [] if answer["start"] is None else [(answer["start"], answer["end"], "given")]
    return [
        subheading(example.given["question"]),
        paragraph("There is no answer in the text.") if not right else "",
        marked(example.given["context"], [*right, *given]),
        table(
            ["probability", "answer"],
            [[f"{one['probability']:.3f}", one["answer"] or "(no answer)"] for one in answer["n_best"]],
        ),
    ]


def windows(length: int, room: int, stride: int) -> Iterator[slice]:
    """The windows of `room` tokens through which a text of so many is read; neighbours share `stride` tokens."""
    for first in range(0, max(1, length - stride), room - stride):
        yield slice(first, first + room)


def best_spans(
    begins: NDArray[np.float32], ends: NDArray[np.float32], longest: int, count: int
) -> list[tuple[float, int, int]]:
    """The best pairs of a first and a last token, at most `longest` tokens: their score, and both. Best first.

    begins, ends: (tokens,). All pairs are compared: none is lost for having only one good end.
    """
    width = min(longest, len(begins))
    padded = np.pad(ends, (0, width - 1), constant_values=-np.inf)  # (tokens) -> (tokens + width - 1)
    # [i, j] is the score of the span from token i to token i + j.
    scores = begins[:, None] + sliding_window_view(padded, width)  # (tokens) -> (tokens, width)
    flat = scores.ravel()  # (tokens, width) -> (tokens * width)
    count = min(count, len(flat))
    best = np.argpartition(-flat, count - 1)[:count]  # (tokens * width) -> (count)
    places = [(float(flat[place]), *divmod(int(place), width)) for place in best]
    return sorted(((score, i, i + j) for score, i, j in places if score > -np.inf), reverse=True)


def best_threshold(margins: NDArray[Any], answered: NDArray[Any], silent: NDArray[Any]) -> float:
    """The threshold that makes the sum of scores highest, halfway between two margins.

    margins: (questions,), of no answer over the best answer. answered, silent: what each question earns if it is
    answered (its margin is at or below the threshold), and if it is not.
    """
    order = np.argsort(margins)
    margins, answered, silent = margins[order], answered[order], silent[order]
    # [k] is the sum if the k questions with the lowest margins are answered.
    sums = np.append(0, answered.cumsum()) + np.append(0, silent[::-1].cumsum())[::-1]  # (questions) -> (questions + 1)
    between_equals = np.append(False, np.append(margins[1:] == margins[:-1], False))
    cut = int(np.where(between_equals, -np.inf, sums).argmax())
    if cut == 0:
        return float(margins[0]) - 1
    if cut == len(margins):
        return float(margins[-1])
    return float(margins[cut - 1] + margins[cut]) / 2


def right_texts(example: Example) -> list[str]:
    """The right answers to a question; none if the text has none."""
    return [answer["text"] for answer in example.truth]


def question_word(example: Example) -> str:
    """The first word of a question that asks, such as "when"; "other" if there is none."""
    words = re.findall(r"\w+", example.given["question"].lower())
    return next((word for word in words if word in QUESTION_WORDS), "other")


def _tokenize(text: str, tokenizer: BertTokenizer) -> tuple[list[int], Offsets]:
    """A [SEP] that stands in the text is a word like any other."""
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True)
    offsets: Offsets = encoding["offset_mapping"]
    if not text.isascii():
        following = [*(begin for begin, _ in offsets[1:]), len(text)]
        offsets = [
            (begin, _after_accents(text, end, limit))
            for (begin, end), limit in zip(offsets, following, strict=False)  # a text without tokens has a limit, too
        ]
    return encoding["input_ids"], offsets


def _after_accents(text: str, end: int, limit: int) -> int:
    """Where a token ends: accents that are characters of their own, and not in the next token, belong to its letter."""
    while end < limit and unicodedata.category(text[end]) == "Mn":
        end += 1
    return end


def _answer_tokens(answers: Sequence[Mapping[str, Any]], offsets: Offsets) -> tuple[int, int]:
    """The first and the last token of the first answer: the fewest that hold all of it. The last one stands before the
    first if the answer is made of characters that no token holds."""
    text = answers[0]["text"]
    begin = answers[0]["answer_start"] + len(text) - len(text.lstrip())
    end = begin + len(text.strip())
    first = bisect_right(offsets, begin, key=lambda token: token[1])
    last = bisect_left(offsets, end, key=lambda token: token[0]) - 1
    return first, last


def _positions(answer: tuple[int, int] | None, window: slice, text_at: int) -> tuple[int, int]:
    """Where in a row the answer begins and ends: [CLS] if it does not stand whole in the window."""
    if answer is None or not window.start <= answer[0] or not answer[1] < window.stop:
        return 0, 0
    first, last = (token - window.start + text_at for token in answer)
    return (first, last) if first <= last else (IGNORE, IGNORE)


def _to_train_on(found: Sequence[slice], answer: tuple[int, int] | None, seed: int) -> list[slice]:
    without = [window for window in found if _positions(answer, window, 1) == (0, 0)]
    dropped = random.Random(seed).sample(without, max(0, len(without) - 1))
    return [window for window in found if window not in dropped]


def _best_text(example: Example, verdict: Verdict) -> str:
    best = verdict.spans[0]
    text: str = example.given["context"][best.begin : best.end]
    return text


def _rank(span: Span) -> tuple[float, int, int]:
    """To sort by: the best first; of equally good ones that which begins, then that which ends first."""
    return -span.score, span.begin, span.end


def _margin(verdict: Verdict) -> float:
    """By how much no answer is better than the best span."""
    return verdict.no_answer - verdict.spans[0].score
