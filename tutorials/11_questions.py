# %% [markdown]
# # 11. Questions
#
# "What kind of wood was burnt under the pans?" Here is a text; somewhere in it stands the answer. BERT does not write
# it. It points: *from here, to there*. Two numbers for every token are enough. The rest of this chapter is bookkeeping,
# and the bookkeeping decides whether a good model gives good answers.
#
# **You will be able to**
#
# - find the best span from two rows of scores, on paper, and compute the loss;
# - go from characters to tokens and back without losing an accent;
# - read a text that is too long through windows, and say which answers a window may cut;
# - make an n-best list out of several windows, and say why probabilities must not be compared between them;
# - let a model say that there is no answer, and choose the threshold;
# - tell what a small model learns from what it does not.
#
# **You need** chapters 6 and 10. **Time:** an hour to read; the cells run in half a minute.

# %%
import itertools
import logging
import math
import random
import re
import string
import sys
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pictures
import torch
import torch.nn.functional as F
from pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, show
from torch.testing import assert_close

from minibert import BertConfig, BertForQuestionAnswering, BertTokenizer, Trainer, TrainingArguments
from minibert.metrics.squad import exact_match, f1
from minibert.tasks.qa import QuestionAnsweringTask, best_spans, best_threshold, right_texts, windows
from minibert.tasks.task import Example, Examples

MODEL = "minibert-tiny-uncased"
PASSAGES = Path(pictures.__file__).parent / "data" / "questions.json"
logging.basicConfig(stream=sys.stdout, format="%(message)s")  # what the package has to say, among the outputs

# %% [markdown]
# ## 11.1 Two places
#
# Question and text are one row, `[CLS] question [SEP] text [SEP]`, with token types 0 and 1. Two vectors of learnt
# numbers, $S$ and $E$, are all that is new (Devlin et al. 2019, section 4.2). The dot product of $S$ with a token's
# vector says how well an answer could *begin* there, that with $E$ how well it could *end* there. A span's score is the
# sum of both. By hand, for *What was found?* and the text *Odo found salt near Varn*:
#
# | | Odo | found | salt | near | Varn |
# | --- | --- | --- | --- | --- | --- |
# | begin | 1 | 0 | 2 | 0 | 3 |
# | end | 2 | 0 | 3 | 0 | 1 |
#
# The best begin is *Varn*, the best end *salt*: an answer that ends before it begins. So do not ask for both apart. Of
# all pairs that go forward the best is *salt* to *salt*, with $2 + 3 = 5$.

# %%
words = "Odo found salt near Varn".split()
begins = np.array([1, 0, 2, 0, 3], dtype=np.float32)
ends = np.array([2, 0, 3, 0, 1], dtype=np.float32)
pairs = {(i, j): begins[i] + ends[j] for i in range(5) for j in range(i, 5)}
best = max(pairs, key=pairs.get)
print(
    "apart:", words[begins.argmax()], "to", words[ends.argmax()], "   together:", words[best[0]], "to", words[best[1]]
)
assert best == (2, 2)

figure, axes = plt.subplots(figsize=(5.5, 4))
table = begins[:, None] + ends  # (begins) -> (begins, ends)
axes.imshow(np.where(np.tri(5, k=-1, dtype=bool), np.nan, table), cmap="Blues", vmin=-1, vmax=9)
for i, j in itertools.product(range(5), repeat=2):
    colour = GREY if j < i else "black"
    weight = "bold" if (i, j) == best else None
    axes.text(j, i, f"{table[i, j]:.0f}", ha="center", va="center", color=colour, fontweight=weight)
    if j < i:
        axes.plot([j - 0.25, j + 0.25], [i, i], color=GREY)
axes.add_patch(plt.Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2))
axes.set(xlabel="ends at", ylabel="begins at")
axes.set_xticks(range(5), words)
axes.set_yticks(range(5), words)
axes.spines[:].set_visible(False)
show(
    figure,
    "Scores of all pairs of begin and end: those below the diagonal are struck out, salt to salt is best with 5.",
)

# %% [markdown]
# *The picture:* a row for each begin, a column for each end. The highest number of all, a 6, is struck out: it lies
# below the diagonal.
#
# **The loss.** To learn, begin and end are two choices among the tokens of the row: two cross-entropies, and their
# mean. For the answer *salt* above: softmax gives the begin $e^2 / (e^1 + e^0 + e^2 + e^0 + e^3) = 0.230$, and the end
# $e^3 / (e^2 + e^0 + e^3 + e^0 + e^1) = 0.624$. The mean of $-\ln 0.230 = 1.472$ and $-\ln 0.624 = 0.472$ is 0.972.

# %%
target = torch.tensor([2])
both = [F.cross_entropy(torch.tensor(scores)[None], target) for scores in (begins, ends)]
print(f"({both[0]:.3f} + {both[1]:.3f}) / 2 = {sum(both) / 2:.3f}")
assert_close(sum(both) / 2, torch.tensor(0.972), atol=1e-3, rtol=0)

torch.manual_seed(0)
fresh = BertForQuestionAnswering(BertConfig.preset("tiny", vocab_size=50)).eval()
ids = torch.randint(5, 50, (2, 9))
mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
where = {"start_positions": torch.tensor([3, 2]), "end_positions": torch.tensor([5, 2])}
with torch.no_grad():
    output = fresh(ids, mask, **where)
    scores = fresh.qa_outputs(fresh.bert(ids, mask).last_hidden_state)  # (batch, seq, hidden) -> (batch, seq, 2)
scores = scores.masked_fill(mask[:, :, None] == 0, torch.finfo(scores.dtype).min)
assert_close(scores[..., 0], output.start_logits)
losses = [F.cross_entropy(scores[..., side], place) for side, place in enumerate(where.values())]
assert_close(sum(losses) / 2, output.loss)
print(f"a fresh model: {output.loss:.2f}; guessing among 9 and 6 tokens would be {(math.log(9) + math.log(6)) / 2:.2f}")

# %% [markdown]
# Padding gets the lowest number there is, so that no answer begins there, and the softmax is one over real tokens
# alone.
#
# ## 11.2 From characters to tokens, and back
#
# A file says where an answer stands by *characters*: `answer_start`, as SQuAD does (Rajpurkar et al. 2016). The model
# points at *tokens*. What leads from one to the other are the **offsets**: of each token its first character, and the
# one after its last.
#
# ### Build it yourself
#
# Which tokens hold the answer? Those that have any of the characters of `text[begin:end]` in them:

# %%
tokenizer = BertTokenizer.from_pretrained(MODEL)
text = "Café Müller opened in 1925 ☕ and the café of Ms. Müller closed in 1931."
answer = {"text": "Ms. Müller", "answer_start": text.index("Ms.")}
encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
offsets = encoding["offset_mapping"]
tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
for number, (token, (first, last)) in enumerate(zip(tokens, offsets, strict=True)):
    print(f"{number:>2} {token:<10} {first:>2} to {last:>2}  {text[first:last]!r}")


def tokens_of(begin: int, end: int, offsets: list[tuple[int, int]]) -> tuple[int, int]:
    """The numbers of the first and the last token that have a character of text[begin:end] in them."""
    # BEGIN SOLUTION
    inside = [number for number, (first, last) in enumerate(offsets) if first < end and last > begin]
    return inside[0], inside[-1]
    # END SOLUTION


begin = answer["answer_start"]
first, last = tokens_of(begin, begin + len(answer["text"]), offsets)
back = text[offsets[first][0] : offsets[last][1]]
print(f"\ntokens {first} to {last}: {back!r}, a slice of the text")
print(f"and what decoding the ids would give: {tokenizer.decode(encoding['input_ids'][first : last + 1])!r}")
assert back == answer["text"]
assert tokenizer.decode(encoding["input_ids"][first : last + 1]) != answer["text"]
assert tokens_of(6, 9, offsets) == (1, 2)  # "üll": a token counts even if only a part of it is inside

# %% [markdown]
# The answer is cut out of the text *as it was given*, with capitals, accents and single spaces. Who decodes the ids
# instead loses all of them.
#
# ### Twenty texts, a hundred questions
#
# `data/questions.json` has SQuAD's form, version 2.0, in which some questions have no answer:

# %%
print(PASSAGES.read_text(encoding="utf-8")[:1000], "...\n")
task = QuestionAnsweringTask()
questions = task.read(PASSAGES)
task.learn_labels(questions)
print(f"{len(questions)} questions, {sum(not row.truth for row in questions)} without an answer: {task.describe()}")
contexts = list(dict.fromkeys(row.given["context"] for row in questions))
assert (len(contexts), len(questions)) == (20, 100)

# %% [markdown]
# Your function gives the places to be learnt, for every question. They must be those of the package, and lead back to
# the answer:

# %%
rows = task.features(questions, tokenizer)
assert len(rows) == len(questions)  # these texts are short: one window each
for example, row in zip(questions, rows, strict=True):
    if not example.truth:
        assert (row["start_positions"], row["end_positions"]) == (0, 0)
        continue
    right = example.truth[0]
    first, last = tokens_of(right["answer_start"], right["answer_start"] + len(right["text"]), row["offsets"])
    assert (row["start_positions"], row["end_positions"]) == (row["text_at"] + first, row["text_at"] + last)
    assert example.given["context"][row["offsets"][first][0] : row["offsets"][last][1]] == right["text"]
shown = rows[0]
print(tokenizer.decode(shown["input_ids"])[:150], "...")
print(f"begin {shown['start_positions']}, end {shown['end_positions']}; the text begins at {shown['text_at']}")

# %% [markdown]
# A question without an answer begins and ends at place 0: at `[CLS]`. More of that in 11.7.
#
# ## 11.3 Longer than the model
#
# Many texts are longer than 512 tokens. Cut them, and an answer may be cut in two. So the pieces overlap: each window
# has the last `stride` tokens of the one before. (Google's code calls *stride* how far it moves on; here, as in
# `transformers`, it is what neighbours share.) By hand: 10 tokens, room for 5, 2 shared. Each window moves on by $5 - 2
# = 3$: 0 to 4, 3 to 7, 6 to 9.


# %%
def windows_by_hand(length: int, room: int, stride: int) -> list[range]:
    # BEGIN SOLUTION
    found = [range(min(room, length))]
    while found[-1].stop < length:
        start = found[-1].start + room - stride
        found.append(range(start, min(start + room, length)))
    return found
    # END SOLUTION


assert windows_by_hand(10, 5, 2) == [range(5), range(3, 8), range(6, 10)]
cut_answers = 0
for length, room in itertools.product(range(1, 30), range(2, 12)):
    for stride in range(room):
        mine = windows_by_hand(length, room, stride)
        assert mine == [range(length)[window] for window in windows(length, room, stride)], (length, room, stride)
        for begin, size in itertools.product(range(length), range(1, room + 1)):
            if begin + size <= length and not any(part.start <= begin and begin + size <= part.stop for part in mine):
                cut_answers += 1
                assert size > stride + 1
print(f"{cut_answers:,} answers would stand whole in no window: all of them are longer than stride + 1 tokens")

figure, axes = plt.subplots(figsize=(9, 2.6))
for number, part in enumerate(windows_by_hand(40, 16, 6)):
    axes.barh(-number, len(part), 0.7, left=part.start, color=BLUE, alpha=0.75)
    axes.text(part.start + 0.3, -number, f"window {number + 1}", va="center", color="white")
for begin, end, colour, what in ((13, 18, GREEN, "6 tokens"), (28, 36, VERMILION, "9 tokens")):
    axes.axvspan(begin, end + 1, color=colour, alpha=0.35, zorder=0)
    axes.text((begin + end + 1) / 2, 0.6, what, ha="center", color=colour)
axes.set(xlabel="token of the text", yticks=[], ylim=(-3.6, 1.1), xlim=(0, 40))
axes.spines["left"].set_visible(False)
show(figure, "Windows of 16 tokens that share 6: an answer of 6 tokens stands whole in one, one of 9 tokens in none.")
parts = windows_by_hand(40, 16, 6)
assert any(set(range(13, 19)) <= set(part) for part in parts)
assert not any(set(range(28, 37)) <= set(part) for part in parts)

# %% [markdown]
# *The picture:* the green answer is cut by the first window and stands whole in the second. The red one is longer than
# stride + 1, and has bad luck. So the overlap must be at least as long as answers are. The package takes a third of a
# window.
#
# A window without the answer gets the label `[CLS]`, like a question without one. That is right: *in this window* there
# is none. But most windows of a long text are such, and a model that saw them all would mostly learn to say nothing. To
# train on, the package keeps only one of them for each question.
#
# ## 11.4 The n best
#
# Every window gives scores; the answer shall be one. Collect the best spans of all windows, sort them by score, and you
# have the *n-best list*. If a span is seen by two windows, its higher score counts.
#
# ### Build it yourself
#
# With two loops, against the package's function that does all pairs at once. A span begins at or before its end and
# has at most `longest` tokens; its score is the sum of two numbers. Give the `count` best as (score, begin, end), the
# best first:


# %%
def best_by_loops(begins: np.ndarray, ends: np.ndarray, longest: int, count: int) -> list[tuple[float, int, int]]:
    # BEGIN SOLUTION
    places = range(len(begins))
    spans = [(float(begins[i] + ends[j]), i, j) for i in places for j in places if i <= j < i + longest]
    return sorted(spans, reverse=True)[:count]
    # END SOLUTION


generator = np.random.default_rng(0)
for _ in range(100):
    size = int(generator.integers(1, 25))
    begins, ends = generator.normal(size=(2, size))
    longest, count = (int(number) for number in generator.integers(1, 8, size=2))
    assert best_by_loops(begins, ends, longest, count) == best_spans(begins, ends, longest, count), (longest, count)
print("100 lists agree")

# %% [markdown]
# Why sums of logits, and not probabilities? Softmax makes the numbers of a window add up to 1, *in every window*. A
# window that knows nothing must still give its 1 to somebody:

# %%
knows = np.array([0.0, 8.0, 0.0, 0.0])  # one token is good
knows_not = np.array([-9.0, -9.0, -9.0, -2.0])  # none is; the last is the least bad
for name, logits in (("a window that knows", knows), ("one that does not", knows_not)):
    share = np.exp(logits) / np.exp(logits).sum()
    print(f"{name:>20}: best logit {logits.max():>4.0f}, best probability {share.max():.4f}")
assert np.exp(-2) / np.exp(knows_not).sum() > 0.99

# %% [markdown]
# By probability they are nearly the same. By logit one is better by 10. Logits of the same question may be compared
# between windows, because the same $S$ and $E$ made them. (It is a hope rather than a law: nothing in the loss compares
# windows with each other. Clark and Gardner 2018 mend this by one softmax over all windows.)
#
# ## 11.5 How good is an answer?
#
# "about forty pounds", "forty pounds" and "Forty pounds." are all right, so SQuAD's script forgives much. It drops
# capitals, punctuation and articles. Then **exact match** asks for the same string, and **F1** for shared words: of
# "about forty pounds" against "forty pounds a day", after the article is gone 2 words are shared, of 3 said and 3
# there: precision 2/3, recall 2/3, F1 2/3. Several right answers may be given; the nearest counts.


# %%
def f1_by_hand(answer: str, right: str) -> float:
    def bag(text: str) -> Counter[str]:
        plain = "".join(character for character in text.lower() if character not in string.punctuation)
        return Counter(word for word in plain.split() if word not in ("a", "an", "the"))

    said, there = bag(answer), bag(right)
    return 2 * (said & there).total() / (said.total() + there.total())


for answer, right in (
    ("about forty pounds", "forty pounds a day"),
    ("The Lesse.", "Lesse"),
    ("mules", "the river Lesse"),
    ("beech", "beech wood"),
):
    score = f1(answer, [right])
    print(f"{answer!r:>22} for {right!r:<22} exact match {exact_match(answer, [right]):.0f}, F1 {score:.3f}")
    assert math.isclose(score, f1_by_hand(answer, right))
assert math.isclose(f1("about forty pounds", ["forty pounds a day"]), 2 / 3)

# %% [markdown]
# ## 11.6 A task that a small model can learn
#
# Real questions need knowledge of words, and much training. To see the head work, take a tiny world in which everything
# can be learnt in seconds. Somebody finds something, somewhere, some day:
#
# > what was found ? | it was cold . in may mara found **two old keys** near varn .
#
# Four questions: who, what, where, when. Things take one to three words. The place and the day may be missing, so some
# questions have no answer. Some fifty words are the whole language.

# %%
WHO = "odo mara ruth karim anna paul".split()
THINGS = "coins rings letters keys shells nails maps stamps".split()
QUALITIES = "old small round broken silver wooden".split()
NUMBERS = "two three four five".split()
WHERE = "varn lesse corran tashi brno kalomo".split()
WHEN = "march april may june july august".split()
FILLERS = ["it was cold .", "it was late .", "the rain was cold ."]
QUESTIONS = {"who": "who found it ?", "what": "what was found ?", "where": "where was it ?", "when": "when was it ?"}
GRAMMAR = sorted({*" ".join([*FILLERS, *QUESTIONS.values()]).split(), "in", "near", "slept"})
LANGUAGE = [*"[PAD] [UNK] [CLS] [SEP] [MASK]".split(), *GRAMMAR, *WHO, *THINGS, *QUALITIES, *NUMBERS, *WHERE, *WHEN]
work = tempfile.TemporaryDirectory()
vocabulary = Path(work.name) / "vocab.txt"
vocabulary.write_text("\n".join(LANGUAGE) + "\n", encoding="utf-8")
reader = BertTokenizer(vocabulary)


def finds(count: int, seed: int, sleeper: bool = False) -> Examples:
    """So many questions, each about a text of its own. sleeper: somebody else is named, too."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        how_many = [chance.choice(NUMBERS)] * chance.randrange(2)
        quality = [chance.choice(QUALITIES)] * chance.randrange(2)
        facts = {
            "who": chance.choice(WHO),
            "what": " ".join([*how_many, *quality, chance.choice(THINGS)]),
            "where": chance.choice(WHERE) if chance.random() < 0.6 else None,
            "when": chance.choice(WHEN) if chance.random() < 0.6 else None,
        }
        place, day = f" near {facts['where']}" * bool(facts["where"]), f"in {facts['when']} " * bool(facts["when"])
        sentences = [f"{day}{facts['who']} found {facts['what']}{place} .", chance.choice(FILLERS)]
        if sleeper:
            sentences.append(f"{chance.choice([name for name in WHO if name != facts['who']])} slept .")
        chance.shuffle(sentences)
        text = " ".join(sentences)
        asked = chance.choice(list(QUESTIONS))
        right = facts[asked]
        answers = [] if right is None else [{"text": right, "answer_start": text.index(right)}]
        rows.append(Example({"id": str(number), "question": QUESTIONS[asked], "context": text}, answers))
    return Examples(Path("finds"), rows)


world = QuestionAnsweringTask()
reader.model_max_length = 48
learn, choose, exam = finds(1600, seed=0), finds(300, seed=1), finds(300, seed=2)
world.learn_labels(learn)
torch.manual_seed(0)
config = BertConfig(
    vocab_size=len(LANGUAGE),
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    max_position_embeddings=48,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.1,
    **world.config_changes(),
)
arguments = TrainingArguments(
    output_dir=work.name,
    num_train_epochs=3,
    per_device_train_batch_size=32,
    learning_rate=3e-3,
    warmup_ratio=0.1,
    save_strategy="no",
    logging_steps=5,
    disable_tqdm=True,
    seed=0,
)
trainer = Trainer(
    BertForQuestionAnswering(config), arguments, train_dataset=world.features(learn, reader, training=True)
)
trainer.train()
curve = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]

figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(*zip(*curve, strict=True), color=BLUE)
axes.axhline(math.log(20), color=GREY, linestyle=":", label="ln 20: any token of twenty")
axes.set(xlabel="step", ylabel="loss", ylim=(0, 3.5))
axes.legend()
show(figure, "The loss begins near the line of guessing, falls step by step, and is close to zero after eighty steps.")


def ask(examples: Examples) -> tuple[list[dict], dict, tuple]:
    """Answers, metrics, and the logits (questions, seq) of begins and of ends."""
    rows = world.features(examples, reader)
    outputs = trainer.predict(rows).predictions
    answers = world.answers(examples, rows, outputs)
    return answers, world.metrics(examples, answers), outputs


answers, metrics, logits = ask(exam)
for kind in ("answerable", "unanswerable"):
    print(f"{kind:>12}: {metrics[kind]['questions']} questions, exact match {metrics[kind]['exact_match']:.3f}")
assert metrics["exact_match"] > 0.9

# %% [markdown]
# *The picture:* fewer than a hundred steps of 32 questions are enough, and not one answer of the exam is wrong, neither
# a word too long nor a word too short.
#
# Look at the scores themselves, of a question that has an answer and of one that has none:

# %%
long_answer = next(n for n, row in enumerate(exam) if row.truth and len(row.truth[0]["text"].split()) == 3)
no_answer = next(n for n, row in enumerate(exam) if not row.truth)
shown = [long_answer, no_answer]
exam_rows = world.features(exam, reader)
figure, axes = plt.subplots(2, 1, figsize=(12, 5))
for part, number in zip(axes, shown, strict=True):
    tokens = reader.convert_ids_to_tokens(exam_rows[number]["input_ids"])
    places = np.arange(len(tokens))
    for side, colour, name, shift in ((0, BLUE, "begin", -0.2), (1, ORANGE, "end", 0.2)):
        scores = logits[side][number][: len(tokens)]
        part.bar(places + shift, np.exp(scores) / np.exp(scores).sum(), 0.4, color=colour, label=name)
    part.set(ylim=(0, 1.05), xlim=(-0.6, len(tokens)), ylabel="probability")
    part.set_xticks(places, tokens, rotation=75, fontsize=8)
axes[0].legend(loc="upper left")
show(figure, "Probabilities of begin and end at every token: both at the answer; without an answer, both at [CLS].")
for number in shown:
    best = answers[number]
    print(f"{exam[number].given['question']} -> {best['answer'] or '(nothing)'!r}")
    for one in sorted(best["n_best"], key=lambda one: -one["probability"])[:3]:
        print(f"      {one['probability']:.4f}  {one['answer'] or '(nothing)'}")
assert answers[long_answer]["answer"] == exam[long_answer].truth[0]["text"] and not answers[no_answer]["answer"]

# %% [markdown]
# The n-best list says more than the answer: the runners-up are mostly parts of the best one, a word too short or too
# long.
#
# **Through windows.** The same model, the same texts, but now a row may have no more than 16 tokens, of which the
# question and the special tokens take 7. It never saw a text that begins in the middle. A window without the answer
# should give its points to `[CLS]`; by the sum of logits, the window that knows should win:

# %%
reader.model_max_length, world.stride = 16, 4
rows = world.features(exam, reader)
narrow = ask(exam)[1]
print(f"{len(rows)} windows for {len(exam)} questions")
for kind in ("answerable", "unanswerable"):
    print(f"{kind:>12}: exact match {narrow[kind]['exact_match']:.3f}")
reader.model_max_length, world.stride = 48, None
assert len(rows) > 1.5 * len(exam)
assert narrow["answerable"]["exact_match"] > 0.5

# %% [markdown]
# ## 11.7 No answer
#
# "Who built the wall of the village?" The text does not say. SQuAD 2.0 has such questions on purpose (Rajpurkar et al.
# 2018): a model that always finds something is a danger. BERT's way: `[CLS]` is a span like others, and means
# *nothing*. Let the **margin** of a question be the score of nothing less that of the best span. The answer is empty if
# the margin is above a threshold; with several windows the *lowest* score of `[CLS]` counts, for a single window that
# knows the answer is enough.
#
# The threshold is chosen on questions set apart, so that F1 is highest. Four of them by hand:
#
# | margin | F1 if answered | F1 if silent |
# | --- | --- | --- |
# | -3 | 1 | 0 |
# | -1 | 0.5 | 0 |
# | 0.5 | 0 | 1 |
# | 2 | 0 | 1 |
#
# Answer none: 2. Answer the first: 3. The first two: 3.5. Three: 2.5. All: 1.5. So answer two. The threshold lies
# between their margins: halfway between -1 and 0.5, at -0.25.

# %%
margins, answered, silent = np.array([-3, -1, 0.5, 2]), np.array([1, 0.5, 0, 0]), np.array([0, 0, 1, 1])
assert best_threshold(margins, answered, silent) == -0.25

everything = QuestionAnsweringTask(no_answer_threshold=math.inf)  # no margin is above it: always answer
rows = world.features(choose, reader)
outputs = trainer.predict(rows).predictions
always = everything.answers(choose, rows, outputs)
margins = np.array([one["no_answer_score"] for one in always])
answered = np.array([f1(one["answer"], right_texts(row)) for one, row in zip(always, choose, strict=True)])
silent = np.array([f1("", right_texts(row)) for row in choose])
thresholds = np.linspace(margins.min() - 1, margins.max() + 1, 200)
total = [np.where(margins > threshold, silent, answered).mean() for threshold in thresholds]
world.tune(choose, rows, outputs)
assert math.isclose(world.no_answer_threshold, best_threshold(margins, answered, silent), abs_tol=1e-3)

figure, axes = plt.subplots(figsize=(7, 3.2))
has = np.array([bool(row.truth) for row in choose])
axes.plot(thresholds, total, color=BLUE, label="F1 of all questions")
axes.plot(margins[has], np.full(has.sum(), 0.06), "|", color=GREEN, label="margins, with an answer")
axes.plot(margins[~has], np.full((~has).sum(), 0.02), "|", color=VERMILION, label="margins, without one")
axes.axvline(world.no_answer_threshold, color=GREY, linestyle=":")
axes.set(xlabel="threshold", ylabel="F1", ylim=(0, 1.05))
axes.legend(loc="center right")
show(figure, "F1 against the threshold: low at both ends, high between the margins of the two kinds of questions.")
print(f"always silent {total[0]:.2f}, always answering {total[-1]:.2f}; with the best threshold {max(total):.2f}")
assert max(total) > max(total[0], total[-1]) + 0.1
assert math.isclose(total[0], silent.mean())

# %% [markdown]
# *The picture:* on the left nothing is ever answered, on the right everything. Below are the margins: the two kinds
# stand apart, so any threshold between them will do. With real texts they overlap, and the threshold is a bargain.
#
# ## 11.8 What has it learnt?
#
# All answers right: does it understand *who found it*? In its world every text names one person, one place, one thing.
# So it is enough to know that *who* wants a person. Test that. Put a second person into the texts, who has nothing to
# do with it:
#
# > mara found two old keys near varn . **paul slept .**

# %%
trap = finds(300, seed=3, sleeper=True)
answers, trapped, _ = ask(trap)
for word, judged in trapped["by_question_word"].items():
    before = metrics["by_question_word"][word]["exact_match"]
    print(f"{word:>6}: exact match {before:.2f}, with a sleeper {judged['exact_match']:.2f}")
of_who = [
    answer["answer"] for row, answer in zip(trap, answers, strict=True) if row.given["question"] == QUESTIONS["who"]
]
wide = [answer for answer in of_who if len(answer.split()) > 1]
print(f"{len(wide)} of {len(of_who)} answers to 'who' are longer than a name, as: {wide[0]!r}")
assert metrics["by_question_word"]["who"]["exact_match"] > 0.9
assert trapped["by_question_word"]["who"]["exact_match"] < 0.6
assert trapped["by_question_word"]["where"]["exact_match"] > 0.8

# %% [markdown]
# Where and when are as good as before, or nearly. *Who* has collapsed: it never learnt what *found* has to do with it,
# for it never had to. Look at the long answer it gives: that begins at the one person and ends at the other, for each
# half of the head is content with anybody. Nothing in 300 perfect answers gave that away. The same holds for large
# models and real texts: much of SQuAD can be answered by the type of the answer and words nearby (Weissenborn et al.
# 2017), and a sentence added to mislead took half of the F1 of sixteen published systems (Jia and Liang 2017). What a
# model cannot do shows only where the short cut and the right way part.
#
# ## 11.9 Real questions, and what a small model makes of them
#
# Now the hundred questions of 11.2. Fifteen texts to learn from, five to be judged by. (By *text*, never by question:
# questions about one text give each other away.) What would a fool score?
#
# 1. **A random piece** of the text, three words long.
# 2. **The sentence that shares most words with the question.** (Richardson et al. 2013 and the paper of SQuAD have
#    baselines of this kind.)

# %%
tokenizer.model_max_length = 384
order = random.Random(0).sample(contexts, len(contexts))
held_out = set(order[:5])
here = [n for n, row in enumerate(questions) if row.given["context"] not in held_out and row.truth]
there = [n for n, row in enumerate(questions) if row.given["context"] in held_out and row.truth]
to_learn, to_judge = questions.subset(here), questions.subset(there)


def random_piece(example: Example, chance: random.Random) -> str:
    words = example.given["context"].split()
    start = chance.randrange(len(words) - 2)
    return " ".join(words[start : start + 3])


def nearest_sentence(example: Example) -> str:
    asked = set(re.findall(r"\w+", example.given["question"].lower()))
    sentences = re.split(r"(?<=[.;]) ", example.given["context"])
    return max(sentences, key=lambda sentence: len(asked & set(re.findall(r"\w+", sentence.lower()))))


def mean_f1(answers: list[str]) -> float:
    return float(np.mean([f1(answer, right_texts(row)) for answer, row in zip(answers, to_judge, strict=True)]))


chance = random.Random(0)
random_scores = [mean_f1([random_piece(row, chance) for row in to_judge]) for _ in range(200)]
scores = {
    "random piece": [float(np.mean(random_scores))],
    "nearest sentence": [mean_f1([nearest_sentence(row) for row in to_judge])],
}

simple = QuestionAnsweringTask()  # every question of these has an answer
simple.learn_labels(to_learn)
judged_rows = simple.features(to_judge, tokenizer)
learn_rows = simple.features(to_learn, tokenizer, training=True)
matches, at_home = [], []
scores["BERT, fine-tuned"] = []
for seed in (0, 1):
    torch.manual_seed(seed)
    model = BertForQuestionAnswering.from_pretrained(MODEL, **simple.config_changes())
    logging.getLogger("minibert").setLevel(logging.ERROR)
    arguments = TrainingArguments(
        output_dir=work.name,
        num_train_epochs=15,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        warmup_ratio=0.1,
        save_strategy="no",
        disable_tqdm=True,
        seed=seed,
    )
    small = Trainer(model, arguments, train_dataset=learn_rows)
    small.train()
    found = simple.answers(to_judge, judged_rows, small.predict(judged_rows).predictions)
    judged = simple.metrics(to_judge, found)
    scores["BERT, fine-tuned"].append(judged["f1"])
    matches.append(judged["exact_match"])
    known = simple.answers(to_learn, learn_rows, small.predict(learn_rows).predictions)
    at_home.append(simple.metrics(to_learn, known)["f1"])
for who, values in scores.items():
    print(f"{who:>16}: F1", *(f"{value:.2f}" for value in values))
print(f"of BERT: exact match {np.mean(matches):.2f}; F1 on the texts it learnt from {np.mean(at_home):.2f}")
for row, answer in itertools.islice(zip(to_judge, found, strict=True), 0, None, 3):
    print(f"  {row.given['question']}  {answer['answer']!r}, right: {right_texts(row)[0]!r}")
assert np.mean(scores["BERT, fine-tuned"]) < scores["nearest sentence"][0]
assert np.mean(at_home) > np.mean(scores["BERT, fine-tuned"]) + 0.2

# %% [markdown]
# A failure, and worth understanding. Most of what it was taught it knows by heart. Of other texts it knows next to
# nothing: it gives pieces that look like answers, a name here, a number there, and the program that never learnt
# anything and just takes the nearest sentence is better by far. Chapter 10 went so well with 150 sentences because
# pretraining brings what a tagger needs: which words are names. To answer, question and text must be *compared*, word
# by word and by meaning, through attention; two small blocks have not brought that along, and sixty questions cannot
# teach it.
#
# What would be needed? SQuAD has 87,599 questions to learn from, and BERT-base read 3.3 billion words in pretraining:
# F1 88.5 (Devlin et al., table 2). Offsets, windows, n-best list and threshold are the same there as here. Not a line
# of this chapter would change, but for the name of the model and of the file.
#
# ## Common mistakes
#
# 1. **The best begin and the best end, each by itself.** In 11.1 that gave an answer which ends before it begins. How
#    often would it happen to the little BERT above?

# %%
crossed = []
begins, ends = small.predict(judged_rows).predictions
for row, begin, end in zip(judged_rows, begins, ends, strict=True):
    text = slice(row["text_at"], row["text_at"] + len(row["offsets"]))
    crossed.append(end[text].argmax() < begin[text].argmax())
print(f"{sum(crossed)} of {len(crossed)} answers would end before they begin")
assert 3 <= sum(crossed) <= 15

# %% [markdown]
# 2. **Looking for the answer with `find`.** The first place where the letters of the answer stand need not be the
#    answer, nor even a word:

# %%
text = "Scarlett sold the car in March and marched home."
right = {"text": "car", "answer_start": text.index("car in")}
print(f"find says {text.find('car')}, in {text[:8]!r}; the answer stands at {right['answer_start']}")
assert text.find(right["text"]) != right["answer_start"]

# %% [markdown]
# 3. **Bytes for characters.** `answer_start` counts characters. Other tools count bytes, or UTF-16 units, and agree as
#    long as the text is English:

# %%
text = "Café Müller opened in 1925 ☕ and closed in 1931."
by_characters = text.index("1931")
by_bytes = text.encode().index(b"1931")
print(f"characters {by_characters}, bytes {by_bytes}: {text[by_bytes : by_bytes + 4]!r} is not 1931")
assert text[by_bytes : by_bytes + 4] != "1931"

# %% [markdown]
# The package refuses such a file, and names the first wrong answer. Do the same in your own code.
#
# 4. **Searching the question, too.** A span may begin only in the text. Without that rule the words of the question,
#    which are near its meaning, win now and then.
# 5. **Probabilities of different windows compared** (11.4), and **texts in training and test at once** (11.9).
#
# ## On the command line
#
# ```
# python -m minibert.finetune --task qa --train train.json --dev dev.json --out reader
# python -m minibert.predict --model reader "Who built the lighthouse?" "The lighthouse was built in 1844 by ..."
# ```
#
# The files are SQuAD's own; `python -m minibert.data.squad FILE --out DIR` cuts one by article into train, dev and
# test.
#
# ## Experiments to try
#
# 1. Train the reader of 11.6 on `finds(1600, seed=0, sleeper=True)`. How many steps does it need now, and does it pass
#    the trap of 11.8? Then swap *found* and *slept* in the test.
# 2. In 11.6 with 16 tokens, set the stride to 0. Which answers are lost?
# 3. Replace the sum of logits by the product of probabilities within each window, and run 11.6's windows again.
# 4. Forbid answers of more than one word in 11.6 (`world.max_answer_length = 1`). What happens to the exact match, by
#    question word? And in the trap of 11.8?
#
# ## Questions
#
# <details><summary>A text of 1,000 tokens, windows with room for 300, stride 100. How many windows?</summary>
#
# Five. Each moves on by 200: they begin at 0, 200, 400, 600 and 800. The one at 600 reads up to token 899, so the last
# one is needed. (By formula: 1 + ceil((1000 - 300) / 200).)
# </details>
#
# <details><summary>How many spans of at most 30 tokens has a text of 300?</summary>
#
# $300 \cdot 30$ less the $29 \cdot 30 / 2 = 435$ that would stick out at the end: 8,565. So trying all of them costs
# nothing.
# </details>
#
# <details><summary>Begin and end are predicted apart. What can such a model not say?</summary>
#
# "Either from 3 to 4 or from 8 to 9, half each." Begin would be 3 or 8 and end 4 or 9, and then 3 to 9 is as good as
# 3 to 4. A head that scores pairs could say it, at the price of a score for every pair.
# </details>
#
# <details><summary>Why is F1 over the questions a mean here, and was none in chapter 10?</summary>
#
# There, names are counted over all sentences. Here, each question gets its own F1 between the words of two answers, and
# each question counts alike.
# </details>
#
# <details><summary>Can this head answer "yes" or "no", or count?</summary>
#
# Only if the word stands in the text. It points; it does not write.
# </details>
#
# ## Key points
#
# - An answer is a begin and an end: two scores for each token, and the best pair that goes forward.
# - Offsets lead from characters to tokens and back; the answer is a slice of the text as it was given.
# - Windows must share as much as answers are long. Between windows compare logits, not probabilities.
# - `[CLS]` is the answer *nothing*; a threshold, chosen on other questions, decides.
# - Perfect answers on the exam do not show that the question was understood. Build the trap.
#
# **Code:** [`tasks/qa.py`](../minibert/tasks/qa.py) (`QuestionAnsweringTask`, `windows`, `best_spans`,
# `best_threshold`), [`data/squad.py`](../minibert/data/squad.py) (`read_squad`),
# [`metrics/squad.py`](../minibert/metrics/squad.py) (`exact_match`, `f1`), [`heads.py`](../minibert/heads.py)
# (`BertForQuestionAnswering`). **Data:** `data/questions.json`.
#
# **Papers:** Devlin et al. 2019, sections 4.2 and 4.3; Rajpurkar et al. 2016, *SQuAD*, and 2018, *Know What You Don't
# Know*; Richardson et al. 2013, *MCTest*; Clark and Gardner 2018, *Simple and Effective Multi-Paragraph Reading
# Comprehension*; Weissenborn et al. 2017, *Making Neural QA as Simple as Possible but not Simpler*; Jia and Liang 2017,
# *Adversarial Examples for Evaluating Reading Comprehension Systems*.
#
# Before: [10. Tags](10_tags.ipynb). Next: [12. One encoder, many heads](12_many_heads.ipynb)
