"""Questions about texts, as in SQuAD: what may be wrong with the questions, with the texts, and with the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..data.squad import Question, read_squad
from ..tasks.qa import MAX_ANSWER_LENGTH, MAX_QUESTION_LENGTH
from ..tokenization import BertTokenizer
from ..tokenization.wordpiece import is_cjk
from .facts import Facts, inspect_splits
from .splits import Finding, Split, printable

NO_ANSWER = "(no answer)"


def inspect_questions(files: Mapping[str, Path], tokenizer: BertTokenizer | None, max_length: int) -> Facts:
    """Look at the questions of each file, and then at its contexts, each of them once.

    max_length: tokens that a window holds: longer contexts are read through several. Raises `InputError` for a broken
    file, as training would.
    """
    asked = {name: read_squad(path) for name, path in files.items()}
    some_have_none = any(question.answers == [] for questions in asked.values() for question in questions)
    of_questions = [_questions(name, files[name], asked[name], some_have_none) for name in files]
    facts = inspect_splits(of_questions, tokenizer, max_length)
    of_contexts = [_contexts(f"{name} contexts", files[name], asked[name]) for name in files]
    contexts = inspect_splits(of_contexts, tokenizer, max_length)
    findings = facts.findings + contexts.findings
    for split, questions in zip(of_questions, asked.values(), strict=True):
        findings += _answer_findings(split, questions, tokenizer)
    return Facts(facts.splits | contexts.splits, findings)


def _questions(name: str, path: Path, questions: Sequence[Question], some_have_none: bool) -> Split:
    """The label of a question is its first answer. Whether it has one is counted, unless all of all files have one."""
    labels = [_first_answer(question) for question in questions]
    classes = [[NO_ANSWER if label == NO_ANSWER else "an answer"] if label else [] for label in labels]
    return Split(
        name, path, _places(questions), [question.question for question in questions], None,
        labels if any(labels) else None, classes if some_have_none else None,
        is_cut=False, about=[question.context for question in questions],
    )  # fmt: skip


def _contexts(name: str, path: Path, questions: Sequence[Question]) -> Split:
    first = list({question.context: question for question in reversed(questions)}.values())[::-1]
    return Split(name, path, _places(first), [question.context for question in first], None, None, None, is_cut=False)


def _places(questions: Sequence[Question]) -> list[int] | list[str]:
    """The lines of a table; in SQuAD's JSON, which has none, the ids."""
    if questions[0].line:
        return [question.line for question in questions]
    return [f"question {printable(question.id)}" for question in questions]


def _first_answer(question: Question) -> str:
    """As a label: "" if the file does not tell."""
    if question.answers is None:
        return ""
    return question.answers[0]["text"] if question.answers else NO_ANSWER


def _answer_findings(split: Split, questions: Sequence[Question], tokenizer: BertTokenizer | None) -> Iterable[Finding]:
    """What a model would not read or could not say."""
    unit = "words" if tokenizer is None else "tokens"
    answered = [place for place, question in enumerate(questions) if question.answers]
    answers = [_first_answer(questions[place]) for place in answered]
    lengths = dict(zip(answered, _counts(answers, tokenizer), strict=True))
    yield from split.finding(
        f"answers longer than {MAX_ANSWER_LENGTH} {unit}",
        [place for place, length in lengths.items() if length > MAX_ANSWER_LENGTH],
        "a model is never to give such ones, unless --max-answer-length of finetune is raised",
    )
    yield from split.finding(
        "answers that begin or end within a word",
        [place for place in answered if _cuts_a_word(questions[place])],
        "is answer_start right? A model answers in whole tokens",
    )
    yield from split.finding(
        f"questions longer than {MAX_QUESTION_LENGTH} {unit}, so cut",
        [place for place, length in enumerate(_counts(split.texts, tokenizer)) if length > MAX_QUESTION_LENGTH],
        "the rest is not read: shorten them",
    )


def _counts(texts: Sequence[str], tokenizer: BertTokenizer | None) -> list[int]:
    """Tokens without special ones; without a tokenizer, words."""
    return [len(text.split() if tokenizer is None else tokenizer.tokenize(text)) for text in texts]


def _cuts_a_word(question: Question) -> bool:
    """Whether letters or digits of one word stand on both sides of an end of the first answer."""
    assert question.answers
    context, start = question.context, question.answers[0]["answer_start"]
    ends = start, start + len(question.answers[0]["text"])
    around = [context[end - 1 : end + 1] for end in ends if 0 < end < len(context)]
    return any(both.isalnum() and not any(map(is_cjk, both)) for both in around)  # Chinese does not part its words
