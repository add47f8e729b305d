# %% [markdown]
# # 10. Tags
#
# *Who* is named in this text, *where* does it happen, and *which* company is meant? To answer, BERT says something
# about every word, not one thing about the whole sentence. The model changes by a single line. What is hard is around
# it: words that become several tokens, and a score that does not flatter.
#
# **You will be able to**
#
# - write names as tags and read tags as names, in three schemes, and say what the B is for;
# - give tags to sub-words, and prove that your labels are the package's;
# - compute precision, recall and F1 over names on paper, and say why 90 % of right tags may be a poor result;
# - train a tagger on 150 sentences, and find out what it owes to pretraining, to the name and to its neighbours;
# - forbid impossible rows of tags with the Viterbi algorithm, and measure whether that helps.
#
# **You need** chapters 6 and 9. **Time:** an hour to read; the cells run in half a minute.

# %%
import inspect
import itertools
import json
import logging
import math
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pictures
import torch
from matplotlib.axes import Axes
from pictures import BLUE, GREY, ORANGE, PURPLE, SKY, VERMILION, grid, show
from torch.testing import assert_close

from minibert import BertForTokenClassification, BertTokenizer, Trainer, TrainingArguments
from minibert.data.windows import split_windows
from minibert.losses import IGNORE
from minibert.tasks.ner import NerTask
from minibert.tasks.spans import Span, read_spans, span_metrics, write_tags
from minibert.tasks.task import Columns, Example, Examples
from minibert.tokenization.words import word_places

MODEL = "minibert-tiny-uncased"
NAMES = Path(pictures.__file__).parent / "data" / "names.txt"
KINDS = {"PER": SKY, "LOC": ORANGE, "ORG": PURPLE}  # people, places, organizations: and their colours in all pictures
logging.basicConfig(stream=sys.stdout, format="%(message)s")  # what the package has to say, among the outputs

# %% [markdown]
# ## 10.1 Names as tags
#
# > On the **Lyon** **Dakar** flight **Amina Diallo** slept.
#
# Three names: two places and a person. BERT has one vector for each token, so the simplest plan is a small classifier
# on each of them (Devlin et al. 2019, section 5.3, and figure 4 d). A name is then a run of tags. With the type alone
# as a tag, *Lyon Dakar* would be one place. So the first word of a name gets a **B** (begin) and the others an **I**
# (inside); all other words are **O** (outside). Ramshaw and Marcus (1995) had this idea for phrases. Three ways to
# write it are common:

# %%
words = "On the Lyon Dakar flight Amina Diallo slept .".split()
names = [Span(2, 3, "LOC"), Span(3, 4, "LOC"), Span(5, 7, "PER")]  # first word, the one after the last, type
print(f"{'':>6}", *(f"{word:>7}" for word in words))
for scheme in ("iob1", "iob2", "bioes"):
    tags = write_tags(names, len(words), scheme)
    print(f"{scheme:>6}", *(f"{tag:>7}" for tag in tags))
    assert read_spans(tags, scheme) == names
assert write_tags(names, len(words), "iob2") == "O O B-LOC B-LOC O B-PER I-PER O O".split()

# %% [markdown]
# - `iob1` writes B only where it is needed: right after another name of the same type. The files of CoNLL-2003 are so.
# - `iob2` (also called BIO) writes B at each beginning. A tag then does not depend on what stood before, which is
#   easier to learn. We use this one.
# - `bioes` also marks the End, and names of a Single word. More classes, and each has fewer examples.
#
# ### Build it yourself
#
# Back from tags to names. It is easy as long as the tags are well-formed. But a model tags each word by itself, and may
# say I-PER after an O, or I-LOC after B-PER. The rule of CoNLL's script `conlleval`, which most papers report: a name
# goes on with an I of the same type, and whatever else is not O begins a new one.


# %%
def names_of(tags: tuple[str, ...]) -> list[Span]:
    """The names in a row of IOB2 tags."""
    # BEGIN SOLUTION
    found: list[Span] = []
    for place, tag in enumerate(tags):
        letter, _, kind = tag.partition("-")
        if letter == "I" and found and found[-1].end == place and found[-1].kind == kind:
            found[-1] = found[-1]._replace(end=place + 1)
        elif letter != "O":
            found.append(Span(place, place + 1, kind))
    return found
    # END SOLUTION


rows = list(itertools.product(("O", "B-X", "I-X", "B-Y", "I-Y"), repeat=5))
well_formed = 0
for row in rows:
    assert names_of(row) == read_spans(row, "iob2"), row
    well_formed += write_tags(names_of(row), 5, "iob2") == list(row)
print(f"all {len(rows):,} rows of five tags are read alike; {well_formed} of them are well-formed")
assert well_formed == 571

# %% [markdown]
# On paper: let $t_n$ be the number of well-formed rows of $n$ tags, and $x_n$ how many of these end inside a name. A
# row grows by an O or one of two B's, always, and by its own type's I if it ends inside a name: $t_{n+1} = 3t_n + x_n$,
# and $x_{n+1} = 2t_n + x_n$. From $t_1 = 3$, $x_1 = 2$ come 11, 41, 153 and 571. So only 18 % of what a tagger could
# say about five words makes sense. We come back to that in 10.8.
#
# ## 10.2 Two hundred sentences
#
# The sentences of this chapter are in `data/names.txt`, one a line, with the names in brackets:


# %%
def read_line(line: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The plain text, and of each name its first character, the one after its last, and its type."""
    text, marked, before = "", [], 0
    for match in re.finditer(r"\[([A-Z]+) ([^]]+)\]", line):
        text += line[before : match.start()]
        marked.append((len(text), len(text) + len(match[2]), match[1]))
        text += match[2]
        before = match.end()
    return text + line[before:], marked


def tagged(line: str) -> dict[str, list[str]]:
    """Words and their tags. A name must begin where a word begins, and end where one ends."""
    text, marked = read_line(line)
    places = word_places(text)
    begins, ends = [begin for begin, _ in places], [end for _, end in places]
    spans = [Span(begins.index(begin), ends.index(end) + 1, kind) for begin, end, kind in marked]
    return {"tokens": [text[begin:end] for begin, end in places], "tags": write_tags(spans, len(places), "iob2")}


lines = NAMES.read_text(encoding="utf-8").splitlines()
print(lines[7], "\n")
for word, tag in zip(*tagged(lines[7]).values(), strict=True):
    print(f"{word:<8} {tag}")
assert tagged("[PER Ann Lee], of [LOC Bath].")["tags"] == ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]

# %% [markdown]
# Note the comma: it is no part of the name, so it must be a word of its own. Brackets and characters do not know that;
# `word_places` does. If a marked name began in the middle of a word, `index` would raise an error, and you would want
# it to: silently moved bounds are a common way of spoiling labels.
#
# The package reads such data from `.jsonl` (`tokens` and `tags`), or from CoNLL's columns. Write two files, 150
# sentences to learn from and the rest to be judged by, drawn at random:

# %%
random.Random(0).shuffle(lines)
work = tempfile.TemporaryDirectory()
task = NerTask(Columns())
splits = {}
for split, part in (("train", lines[:150]), ("test", lines[150:])):
    path = Path(work.name) / f"{split}.jsonl"
    path.write_text("\n".join(json.dumps(tagged(line)) for line in part), encoding="utf-8")
    splits[split] = task.read(path)
train, test = splits["train"], splits["test"]
task.learn_labels(train)
print(task.describe())
for split, examples in splits.items():
    tags = Counter(tag[0] for row in examples for tag in row.truth)
    share = tags["O"] / tags.total()
    print(f"{split:>5}: {len(examples)} sentences, {tags.total()} words, {tags['B']} names; O are {share:.1%}")
assert task.scheme == "iob2"
assert len(task.names) == 7

# %% [markdown]
# Four of five words are no name. Remember that number: a program that always says O has it as its accuracy.
#
# ## 10.3 Words are not tokens
#
# We have a tag for each *word*; BERT reads *tokens*. Common words are one token; names are rare words, and just these
# come in pieces:

# %%
tokenizer = BertTokenizer.from_pretrained(MODEL)
pieces: dict[str, list[int]] = {"names": [], "other words": []}
for row in [*train, *test]:
    for word, tag in zip(row.given["tokens"], row.truth, strict=True):
        pieces["other words" if tag == "O" else "names"].append(len(tokenizer.tokenize(word)))
for which, counts in pieces.items():
    split_share = np.mean(np.array(counts) > 1)
    print(f"{which:>11}: {np.mean(counts):.2f} tokens a word; {split_share:.0%} of the words come in pieces")
assert np.mean(pieces["names"]) > np.mean(pieces["other words"]) + 0.5

# %% [markdown]
# Which of its tokens shall bear the tag of a word? Devlin et al. (section 5.3) take the **first** one. The others get
# the label -100, which the loss leaves out, and so do `[CLS]` and `[SEP]`. Through attention the first token has seen
# its sisters, so nothing is lost. And each word is asked for exactly once: no word counts twice for being long.

# %%
words, tags = ["Dagny", "Thorsen", "left", "Novosibirsk", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"]
encoding = tokenizer([words], is_split_into_words=True)
tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"][0])
origin = encoding.word_ids(0)  # of each token the number of its word; None for [CLS] and [SEP]
print(tokens, origin)
assert list(dict.fromkeys(origin[1:-1])) == list(range(len(words)))  # each word has its tokens, in order

figure, axes = plt.subplots(figsize=(12, 2.4))
for place, (token, word) in enumerate(zip(tokens, origin, strict=True)):
    first = word is not None and origin[place - 1] != word
    label = tags[word] if first else "-100"
    colour = KINDS.get(label[2:], "white") if first else "#DDDDDD"
    axes.barh(0, 0.92, left=place, color=colour, edgecolor="black" if first else "#DDDDDD")
    axes.text(place + 0.46, 0, f"{token}\n{label}", ha="center", va="center", fontsize=9)
for word, text in enumerate(words):
    mine = [place for place, number in enumerate(origin) if number == word]
    axes.plot([mine[0], mine[-1] + 0.92], [0.55, 0.55], color=GREY, linewidth=3)
    axes.text((mine[0] + mine[-1] + 0.92) / 2, 0.65, text, ha="center")
axes.set(xlim=(0, len(tokens)), ylim=(-0.5, 0.95))
axes.axis("off")
show(figure, "Words above, their tokens below: the first token of each word bears its tag, all others have -100.")

# %% [markdown]
# *The picture:* above the words, below the tokens with their labels. Grey ones are not asked for.
#
# ### Build it yourself
#
# The labels of all sentences, and the proof that they are the package's. A tag's label is its place in `task.names`;
# what is not asked for gets `IGNORE`, which is -100.


# %%
def labels_by_hand(words: list[str], tags: list[str]) -> list[int]:
    # BEGIN SOLUTION
    labels, before = [], None
    for word in tokenizer([words], is_split_into_words=True).word_ids(0):
        asked = word is not None and word != before
        labels.append(task.names.index(tags[word]) if asked else IGNORE)
        before = word
    return labels
    # END SOLUTION


features = {split: task.features(examples, tokenizer) for split, examples in splits.items()}
for row, feature in zip(train, features["train"], strict=True):
    labels = labels_by_hand(row.given["tokens"], row.truth)
    assert labels == feature["labels"], row.given["tokens"]
    assert sum(label != IGNORE for label in labels) == len(row.given["tokens"])
print(f"the labels of {len(train)} sentences agree, one for each word")

# %% [markdown]
# ## 10.4 The head
#
# One linear layer, the same for every token: its vector in, seven scores out, one for each tag. That is all there is.

# %%
torch.manual_seed(0)
model = BertForTokenClassification.from_pretrained(MODEL, **task.config_changes()).eval()
logging.getLogger("minibert").setLevel(logging.ERROR)  # the line above need not be said again for each model
print(inspect.getsource(BertForTokenClassification.judge))

ids = torch.tensor([features["train"][0]["input_ids"]])
labels = torch.tensor([features["train"][0]["labels"]])
with torch.no_grad():
    output = model(ids, labels=labels)
    hidden = model.bert(ids).last_hidden_state
by_hand = hidden @ model.classifier.weight.T + model.classifier.bias  # (batch, seq, hidden) -> (batch, seq, labels)
assert_close(by_hand, output.logits, atol=1e-5, rtol=1e-4)

asked = labels != IGNORE
surprise = -output.logits.log_softmax(dim=-1)[asked]  # (batch, seq, labels) -> (words, labels)
loss = surprise.gather(1, labels[asked][:, None]).mean()  # (words, labels) -> (words, 1) -> ()
assert_close(loss, output.loss, atol=1e-5, rtol=1e-4)
print(f"{ids.shape[1]} tokens, {int(asked.sum())} words: loss {loss:.2f}; knowing nothing is ln 7 = {math.log(7):.2f}")
assert abs(loss - math.log(7)) < 0.7

# %% [markdown]
# ## 10.5 How good is a tagger?
#
# The obvious score is **accuracy**, the share of right tags. Its fault is the O: most words are no name, and every
# program gets these right. So names are judged as a whole: one counts as found only if its first word, its last word
# and its type are right. By hand:
#
# | | On | the | Lyon | Dakar | flight | Amina | Diallo | slept | . |
# | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
# | true | O | O | B-LOC | B-LOC | O | B-PER | I-PER | O | O |
# | found | O | O | B-LOC | **I-LOC** | O | B-PER | **O** | O | **B-ORG** |
#
# Six of nine tags are right: accuracy 67 %. Names that are there: 3. Names found: *Lyon Dakar*, *Amina*, and the full
# stop: 3. Right are none! Both bounds count. So
#
# - **precision**, right names / names found: 0 of 3;
# - **recall**, right names / names that are there: 0 of 3;
# - **F1**, twice the right ones over the sum of both counts: $2 \cdot 0 / (3 + 3) = 0$.
#
# Hard? Yes; a half-found name is of little use to who wants the name. Mend the tag of *Diallo*: then one is right, and
# all three scores are 1/3.

# %%
truth = "O O B-LOC B-LOC O B-PER I-PER O O".split()
found = "O O B-LOC I-LOC O B-PER O O B-ORG".split()
mended = "O O B-LOC I-LOC O B-PER I-PER O B-ORG".split()


def f1_by_hand(truths: list[list[str]], answers: list[list[str]]) -> float:
    """All sentences are counted together; a short sentence weighs less than a long one."""
    # BEGIN SOLUTION
    right = there = said = 0
    for true_tags, tags in zip(truths, answers, strict=True):
        actual, predicted = set(names_of(tuple(true_tags))), set(names_of(tuple(tags)))
        right += len(actual & predicted)
        there += len(actual)
        said += len(predicted)
    return 2 * right / (there + said) if there + said else 0.0
    # END SOLUTION


for answer, expected in ((found, 0), (mended, 1 / 3)):
    accuracy = np.mean([true == said for true, said in zip(truth, answer, strict=True)])
    print(f"accuracy {accuracy:.2f}, F1 {f1_by_hand([truth], [answer]):.2f}")
    assert math.isclose(f1_by_hand([truth], [answer]), expected)

chance = random.Random(0)
truths, answers = ([[chance.choice(task.names) for _ in range(12)] for _ in range(200)] for _ in range(2))
package = span_metrics(*([read_spans(tags, "iob2") for tags in rows] for rows in (truths, answers)))
assert math.isclose(f1_by_hand(truths, answers), package["f1"])
print(f"on 200 random sentences both say F1 = {package['f1']:.4f}")

# %% [markdown]
# How do accuracy and F1 hang together? Take the true tags of our sentences, and spoil each with a chance of $p$.
# Accuracy falls as $1 - p$. A name, though, must be right in each of its words, and the word after it must not go on
# with it. Besides, each O that is spoilt becomes a name that is not there:

# %%
chances = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3]
truths = [row.truth for row in [*train, *test]]
accuracies, scores = [], []
for spoil in chances:
    generator = random.Random(0)
    answers = [
        [generator.choice([t for t in task.names if t != tag]) if generator.random() < spoil else tag for tag in tags]
        for tags in truths
    ]
    pairs = zip(itertools.chain(*truths), itertools.chain(*answers), strict=True)
    accuracies.append(np.mean([true == said for true, said in pairs]))
    scores.append(f1_by_hand(truths, answers))
    print(f"{spoil:>5.0%} spoilt: accuracy {accuracies[-1]:.3f}, F1 {scores[-1]:.3f}")

figure, axes = plt.subplots(figsize=(6, 3.6))
axes.plot(accuracies, scores, "o-", color=BLUE, label="true tags, some spoilt")
axes.plot([0.7, 1], [0.7, 1], ":", color=GREY, label="if both were equal")
always_o = np.mean([tag == "O" for tags in truths for tag in tags])
axes.plot(always_o, 0, "s", color=VERMILION, label="always O")
axes.set(xlabel="accuracy of tags", ylabel="F1 of names", ylim=(-0.05, 1.05))
axes.legend()
show(figure, "F1 against accuracy: at 90 % accuracy F1 is below 0.7, and always saying O has 81 % accuracy and F1 0.")
assert scores[0] == 1
assert scores[4] < accuracies[4] - 0.2
assert f1_by_hand(truths, [["O"] * len(tags) for tags in truths]) == 0

# %% [markdown]
# *The picture:* one spoilt tag in ten leaves an accuracy of 90 % and loses a good third of F1. The square says O to
# all.
#
# ## 10.6 Train it
#
# What should a score be compared with? With what a fool gets:
#
# 1. **always O**;
# 2. **a list of names**: learn the training names by heart, and tag them wherever they occur. (The baseline of
#    CoNLL-2003 was of this kind: Tjong Kim Sang and De Meulder 2003.);
# 3. **the same network without pretraining**, on the same sentences.

# %%
memory: dict[tuple[str, ...], Counter[str]] = {}
for row in train:
    for span in read_spans(row.truth, "iob2"):
        name = tuple(word.lower() for word in row.given["tokens"][span.start : span.end])
        memory.setdefault(name, Counter())[span.kind] += 1


def from_memory(words: list[str]) -> list[str]:
    """The longest known name at each place, with the type it mostly had."""
    lowered, spans, place = [word.lower() for word in words], [], 0
    while place < len(words):
        known = [end for end in range(len(words), place, -1) if tuple(lowered[place:end]) in memory]
        if known:
            spans.append(Span(place, known[0], memory[tuple(lowered[place : known[0]])].most_common(1)[0][0]))
        place = known[0] if known else place + 1
    return write_tags(spans, len(words), "iob2")


def train_tagger(seed: int, pretrained: bool, epochs: int = 8, of: list[dict] = features["train"]) -> Trainer:
    torch.manual_seed(seed)
    model = BertForTokenClassification.from_pretrained(MODEL, **task.config_changes())
    if not pretrained:
        model = BertForTokenClassification(model.config)
    arguments = TrainingArguments(
        output_dir=work.name,
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        learning_rate=1e-3,
        warmup_ratio=0.1,
        save_strategy="no",
        logging_steps=10,
        disable_tqdm=True,
        seed=seed,
    )
    trainer = Trainer(model, arguments, train_dataset=of)
    trainer.train()
    return trainer


def answers_of(trainer: Trainer, split: str = "test") -> list[dict]:
    outputs = trainer.predict(features[split]).predictions  # (sentences, seq, tags)
    return task.answers(splits[split], features[split], outputs)


def judge(answers: list[dict]) -> tuple[float, float]:
    """Accuracy and F1 on the test sentences."""
    metrics = task.metrics(test, answers)
    return metrics["accuracy"], metrics["f1"]


results = {
    "always O": [judge([{"tags": ["O"] * len(row.truth)} for row in test])],
    "list of names": [judge([{"tags": from_memory(row.given["tokens"])} for row in test])],
}
SEEDS = (0, 1, 2)
taggers = {pretrained: [train_tagger(seed, pretrained) for seed in SEEDS] for pretrained in (False, True)}
results["BERT, fresh"] = [judge(answers_of(trainer)) for trainer in taggers[False]]
results["BERT, pretrained"] = [judge(answers_of(trainer)) for trainer in taggers[True]]
for who, pairs in results.items():
    both = np.array(pairs)
    spread = f"  (seeds: {', '.join(f'{f1:.2f}' for _, f1 in pairs)})" if len(pairs) > 1 else ""
    print(f"{who:>16}: accuracy {both[:, 0].mean():.3f}, F1 {both[:, 1].mean():.3f}{spread}")
f1 = {who: np.mean([f1 for _, f1 in pairs]) for who, pairs in results.items()}
assert f1["always O"] == 0 and f1["list of names"] < 0.1 and f1["BERT, pretrained"] > f1["BERT, fresh"] + 0.2

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), sharey=True)
for part, column, title in zip(axes, (0, 1), ("accuracy of tags", "F1 of names"), strict=True):
    for place, (who, pairs) in enumerate(results.items()):
        values = [pair[column] for pair in pairs]
        part.barh(place, np.mean(values), color=BLUE if who == "BERT, pretrained" else GREY)
        part.plot(values, [place] * len(values), ".", color="black")
        part.text(max(values) + 0.02, place, f"{np.mean(values):.2f}", va="center")
    part.set(title=title, xlim=(0, 1.1), yticks=range(len(results)), yticklabels=list(results))
axes[0].invert_yaxis()  # of both: they share it
show(figure, "Accuracy is near for all four; F1 is 0 for always O, low without pretraining, about 0.5 with it.")
fresh, pretrained = (np.array(results[who]) for who in ("BERT, fresh", "BERT, pretrained"))
assert pretrained[:, 1].mean() > fresh[:, 1].mean() + 0.2
assert results["list of names"][0][1] < 0.15
assert fresh[:, 0].mean() < results["always O"][0][0] + 0.02
assert 0.35 < pretrained[:, 1].mean() < 0.9

# %% [markdown]
# *The picture:* look at the left half alone, and the four seem to be much the same. The fresh BERT even loses against
# *always O*. The right half tells them apart. Dots are single seeds.
#
# What a gain from pretraining! Why is it so large here? The list of names explains it: it finds next to nothing, so
# nearly all test names were never seen in training. To know that *Naples* is a place, one must have read about Naples
# before, or must understand *the mayor of*. Pretraining is where both come from.
#
# Is 0.5 good? No. Half of what it finds is right, and half of what is there is found. BERT-base reaches an F1 of 92.4
# on CoNLL-2003 (Devlin et al., table 7): with 110 million parameters, a vocabulary that keeps capital letters, and
# 14,000 training sentences instead of 150.
#
# ## 10.7 What does it know, what does it see?
#
# First look. Above, the true names; below, what the tagger says:


# %%
def draw_sentence(axes: Axes, words: list[str], spans: list[Span], height: float) -> None:
    """The words in a row, each name on the colour of its type."""
    left = [0, *itertools.accumulate(len(word) + 1.2 for word in words)]
    for span in spans:
        axes.barh(height, left[span.end] - left[span.start] - 0.6, 0.8, left[span.start] - 0.3, color=KINDS[span.kind])
    for place, word in enumerate(words):
        middle = left[place] + len(word) / 2
        axes.text(middle, height, word, ha="center", va="center", fontsize=11, family="monospace")


outputs = [trainer.predict(features["test"]).predictions for trainer in taggers[True]]  # (sentences, seq, tags) each
best = task.answers(test, features["test"], outputs[0])
chosen = [n for n, row in enumerate(test) if 5 < len(row.truth) < 13 and len(read_spans(row.truth, "iob2")) > 1]
figure, axes = plt.subplots(figsize=(11, 6))
for place, number in enumerate(chosen[:7]):
    row = test[number]
    draw_sentence(axes, row.given["tokens"], read_spans(row.truth, "iob2"), -3 * place)
    draw_sentence(axes, row.given["tokens"], read_spans(best[number]["tags"], "iob2"), -3 * place - 1)
for kind, colour in KINDS.items():
    axes.bar(0, 0, color=colour, label=kind)
axes.set(xlim=(-1, 66), ylim=(-3 * 7 + 1, 3))
axes.axis("off")
axes.legend(loc="upper right", ncols=3)
show(figure, "Seven test sentences, each twice: with their true names coloured by type, and with those of the tagger.")

kinds_of_error: Counter[str] = Counter()
for output in outputs:
    for row, answer in zip(test, task.answers(test, features["test"], output), strict=True):
        actual, predicted = read_spans(row.truth, "iob2"), read_spans(answer["tags"], "iob2")
        for span in actual:
            touching = [other for other in predicted if other.start < span.end and span.start < other.end]
            same_place = any(other[:2] == span[:2] for other in touching)
            kinds_of_error[
                "right"
                if span in predicted
                else "right place, wrong type"
                if same_place
                else "wrong bounds"
                if touching
                else "missed"
            ] += 1
        kinds_of_error["invented"] += sum(
            not any(other.start < span.end and span.start < other.end for span in actual) for other in predicted
        )
print(dict(kinds_of_error.most_common()), "(of three seeds together)")
assert kinds_of_error["right"] == max(kinds_of_error.values())
assert kinds_of_error["missed"] + kinds_of_error["invented"] < kinds_of_error.total() / 2

# %% [markdown]
# *The picture:* that *something* is a name it mostly sees; which words belong to it, and of which type it is, is
# harder. The counts below it say the same of all test sentences.
#
# **The name or its neighbours?** *Jordan* may be a man or a country, *Chelsea* a girl, a club or a part of town. Only
# the sentence tells. Does our tagger listen to it? Put every name into every frame, and look at the mean probability of
# the three types at the name:

# %%
FRAMES = {
    "PER": ["here {} told a story .", "{} and her brother came home .", "my uncle {} was late .", "dr {} wrote it ."],
    "LOC": ["we flew from {} to them .", "it rained in {} all day .", "the road to {} is open .", "we live near {} ."],
    "ORG": ["she works at {} .", "{} has sold its shares .", "the factory of {} was closed .", "{} won the match ."],
}
FILLERS = {
    "PER": ["peter", "george", "thomas", "alice"],
    "LOC": ["london", "france", "chicago", "egypt"],
    "ambiguous": ["jordan", "victoria", "lincoln", "sydney"],
}
assert not set(itertools.chain(*memory)) & {*FILLERS["PER"], *FILLERS["LOC"]}  # these were never met in training


def type_probabilities(sentence: str, name: str) -> np.ndarray:
    """(3,): how probable PER, LOC and ORG are at the name, whether as B or as I; mean of the seeds."""
    words = sentence.format(name).split()
    one = Examples(Path(), [Example({"tokens": words})], have_truth=False)
    feature = task.features(one, tokenizer)[0]
    at = feature["heads"][words.index(name)]
    total = np.zeros(3)
    for trainer in taggers[True]:
        with torch.no_grad():
            probabilities = trainer.model(torch.tensor([feature["input_ids"]])).logits[0, at].softmax(dim=-1)
        total += [sum(probabilities[i].item() for i, tag in enumerate(task.names) if tag[2:] == kind) for kind in KINDS]
    return total / len(taggers[True])


table = np.array(
    [
        [np.mean([type_probabilities(f, name) for f in FRAMES[frame] for name in names], axis=0) for frame in FRAMES]
        for names in FILLERS.values()
    ]
)  # (names, frames, types)
figure, axes = plt.subplots(1, 3, figsize=(11, 2.9))
for part, number, kind in zip(axes, range(3), KINDS, strict=True):
    grid(part, torch.tensor(table[:, :, number]), [f"{who} names" for who in FILLERS], low=0, high=1)
    part.set(title=f"probability of {kind}", xticks=range(3), xticklabels=[f"{frame} frames" for frame in FRAMES])
    part.tick_params(labelleft=number == 0)
show(figure, "Probability of each type by the kind of name and of sentence: both the name and the sentence move it.")
by_sentence = min(table[:, kind, kind].mean() - table[:, 1 - kind, kind].mean() for kind in (0, 1))
by_name = max(table[kind, :, kind].mean() - table[1 - kind, :, kind].mean() for kind in (0, 1))
print(f"PER and LOC move by {by_sentence:.2f} or more with the sentence, by {by_name:.2f} or less with the name")
assert by_sentence > by_name + 0.05

# %% [markdown]
# *The picture:* read along a row: the same names in other sentences. *London* and its like, where a person is expected,
# are rather taken for a person or a company than for a place; and where one flies from is a place, whatever its name.
# Reading down a column, from name to name, less changes. So this tagger listens to the sentence more than to the name,
# and does what no list of names can. (Not a law! With much training text, models learn names by heart as well, and then
# *Jordan* is what it mostly was.) The third panel shows its weakness: it suspects organizations where people are, and
# hardly where one works or sells shares. 54 training examples were not enough for it.
#
# ## 10.8 Rows of tags that cannot be
#
# Each word chooses its tag without asking the others. How often is the row ill-formed? And would it help to ask for the
# best *well-formed* row? There are up to $7^n$ rows, but they need not be tried one by one. The best row that ends in a
# given tag consists of the best row up to some tag before it, and a step. So it is enough to keep, for each word, the
# best score for each tag, and where it came from. This is the Viterbi algorithm (1967).
#
# ### Build it yourself


# %%
def may_follow(tag: str, before: str) -> bool:
    return not tag.startswith("I-") or before[1:] == tag[1:]  # "-PER" of B-PER or I-PER


STEPS = np.array([[0.0 if may_follow(tag, before) else -np.inf for tag in task.names] for before in task.names])
START = np.array([0.0 if may_follow(tag, "O") else -np.inf for tag in task.names])


def best_row(logits: np.ndarray) -> list[int]:
    """logits (words, tags) -> the numbers of the tags of the best well-formed row"""
    # BEGIN SOLUTION
    score, came_from = START + logits[0], []
    for word in logits[1:]:
        candidates = score[:, None] + STEPS  # (tags) -> (tags before, tags)
        came_from.append(candidates.argmax(axis=0))
        score = candidates.max(axis=0) + word  # (tags before, tags) -> (tags)
    row = [int(score.argmax())]
    for origin in reversed(came_from):
        row.append(int(origin[row[-1]]))
    return row[::-1]
    # END SOLUTION


def best_row_of_all(logits: np.ndarray) -> list[int]:
    """The same by trying every row."""

    def score(row: tuple[int, ...]) -> float:
        steps = START[row[0]] + sum(STEPS[before, tag] for before, tag in itertools.pairwise(row))
        return steps + sum(logits[word, tag] for word, tag in enumerate(row))

    return list(max(itertools.product(range(7), repeat=len(logits)), key=score))


generator = np.random.default_rng(0)
for _ in range(100):
    logits = generator.normal(size=(3, 7))
    assert best_row(logits) == best_row_of_all(logits), (best_row(logits), best_row_of_all(logits))
print("100 times the best of 343 rows, found without trying them")

# %%
scores = {"argmax": [], "Viterbi": []}
true_tags = [row.truth for row in test]
broken, faults = 0, Counter()
for output in outputs:
    # Of each sentence (seq, tags) -> (words, tags)
    rows = [logits[feature["heads"]] for logits, feature in zip(output, features["test"], strict=True)]
    plain = [[task.names[number] for number in row.argmax(axis=1)] for row in rows]
    viterbi = [[task.names[number] for number in best_row(row)] for row in rows]
    broken += sum(write_tags(names_of(tuple(tags)), len(tags), "iob2") != tags for tags in plain)
    for tags in plain:
        steps = [(before, tag) for before, tag in itertools.pairwise(["O", *tags]) if not may_follow(tag, before)]
        faults.update("I after O" if before == "O" else "I after another type" for before, _ in steps)
    scores["argmax"].append(f1_by_hand(true_tags, plain))
    scores["Viterbi"].append(f1_by_hand(true_tags, viterbi))
    assert math.isclose(scores["argmax"][-1], judge(task.answers(test, features["test"], output))[1])
    assert all(write_tags(names_of(tuple(tags)), len(tags), "iob2") == tags for tags in viterbi)
print(f"ill-formed: {broken} of {len(outputs) * len(test)} rows; {dict(faults)}")
for how, all_seeds in scores.items():
    print(f"{how:>8}: F1 {np.mean(all_seeds):.3f}  (seeds: {', '.join(f'{score:.2f}' for score in all_seeds)})")
assert broken > 0
assert np.mean(scores["Viterbi"]) > np.mean(scores["argmax"])

# %% [markdown]
# A gain of several points, on every seed, and it cost twenty lines and no training. Why so much? With so few examples
# our tagger is unsure. It says one type at the first word of a name and another at the second, B-PER I-ORG: by
# `conlleval`'s rule two names, both wrong. Or it says O and then I-LOC: half a name. Asked for one well-formed row, it
# must make up its mind. A better tagger contradicts itself less, and has less to gain. (BERT's paper uses no such
# thing, nor does the package: it keeps the plain rule, so that its figures can be compared with others.) To learn from
# data how *probable* each step is, and not only which are forbidden, one puts a conditional random field on top
# (Lafferty et al. 2001).
#
# ## 10.9 Longer than the model
#
# A model has 512 places. A longer sentence (a list, a page without full stops) must be read through several windows.
# These share some words, up to a quarter of a window, so that every word is read with neighbours on both sides. On
# paper, with room for 8 tokens and words of 1, 1, 2, 1, 1, 2, 1, 1, 3, 1 tokens: the first six words fill the first
# window exactly. Two tokens may be shared, and the sixth word has two: the second window begins with it, so with word
# number 5.

# %%
assert split_windows([1, 1, 2, 1, 1, 2, 1, 1, 3, 1], room=8) == [(0, 6), (5, 10)]

endless = Path(work.name) / "endless.jsonl"
everything = {key: [item for line in lines[150:] for item in tagged(line)[key]] for key in ("tokens", "tags")}
endless.write_text(json.dumps(everything), encoding="utf-8")
one = task.read(endless)
for max_length in (512, 64, 16):
    tokenizer.model_max_length = max_length
    parts = task.features(one, tokenizer)
    asked = sum(label != IGNORE for part in parts for label in part["labels"])
    answer = task.answers(one, parts, taggers[True][0].predict(parts).predictions)
    f1 = task.metrics(one, answer)["f1"]
    print(f"windows of {max_length:>3} tokens: {len(parts):>2} of them, {asked} labels; F1 {f1:.2f}")
    assert asked == len(everything["tags"]) == len(answer[0]["tags"])
    assert f1 < judge(best)[1]
tokenizer.model_max_length = 512

# %% [markdown]
# All test sentences in one endless row. Words in two windows are asked for once, in the window that sees more around
# them: 600 words, 600 labels.
#
# But look at F1! The same words, sentence by sentence, had 0.48. This tagger has learnt from rows of one sentence each,
# the longest of 23 tokens, and never saw what a full row looks like. Windows make long texts *possible*. What is read
# should still look like what was learnt from.
#
# ## Common mistakes
#
# 1. **Labels without a place for `[CLS]`.** Then every label stands one token too far to the left. Shapes fit if the
#    end is filled up, the loss falls, and the model learns to tag the *next* word:

# %%
shifted = [{**feature, "labels": [*feature["labels"][1:], IGNORE]} for feature in features["train"]]
wrong = train_tagger(0, True, of=shifted)
first, last = (wrong.state.log_history[i]["loss"] for i in (0, -2))
print(f"loss from {first:.2f} to {last:.2f}; F1 on the test sentences {judge(answers_of(wrong))[1]:.2f}")
assert last < first
assert judge(answers_of(wrong))[1] < results["BERT, pretrained"][0][1] / 2

# %% [markdown]
# 2. **Counting tokens instead of words.** With a tag for every piece, long names count more, and figures cannot be
#    compared with those of others. The same program, *always O*, by words and by pieces:

# %%
total = sum(map(sum, pieces.values()))
by_pieces = sum(pieces["other words"]) / total
print(f"always O: {always_o:.1%} of the words are right, {by_pieces:.1%} of the pieces")
assert by_pieces < always_o - 0.05

# %% [markdown]
# 3. **A mean over sentences.** F1 is no mean: all names are counted together. A sentence without names has an F1 of
#    0/0, and whatever you take for it moves the result:

# %%
each = [f1_by_hand([row.truth], [answer["tags"]]) for row, answer in zip(test, best, strict=True)]
silent = [{*row.truth, *answer["tags"]} == {"O"} for row, answer in zip(test, best, strict=True)]
as_zero, as_one = np.mean(each), np.mean(np.array(each) + np.array(silent))
print(f"F1 {judge(best)[1]:.2f}; a mean over sentences {as_zero:.2f}, or {as_one:.2f} if 0/0 counts as 1")
assert as_one > as_zero

# %% [markdown]
# 4. **Judging by what was learnt.** On its own training sentences the tagger looks far better:

# %%
at_home = task.metrics(train, answers_of(taggers[True][0], "train"))["f1"]
print(f"F1 on the sentences it learnt from {at_home:.2f}, on others {judge(best)[1]:.2f}")
assert at_home > judge(best)[1] + 0.1

# %% [markdown]
# 5. **Throwing capital letters away.** Our model is *uncased*: it cannot see that *Turkey* is no *turkey*, and *Will*
#    no *will*. For names, use a cased one where there is one, as the paper did (section 5.3).
#
# ## On the command line
#
# The same with all that belongs to it, a report with coloured sentences among it:
#
# ```
# python -m minibert.finetune --task ner --train train.jsonl --dev dev.jsonl --out names
# python -m minibert.predict --model names "Amina Diallo moved to Lyon."
# ```
#
# ## Experiments to try
#
# 1. Train with 38, 75 and 150 sentences. Draw F1 against their number (on a logarithmic axis). How many would you need
#    for 0.7, if the line went on?
# 2. Write `bioes` into `NerTask(Columns(), scheme="bioes")` and convert the tags with `read_spans` and `write_tags`.
#    Seven tags become 13. What happens with so few examples?
# 3. Replace each training name, in every epoch, by another one of its type from the training set (Dai and Adel 2020).
#    More text for nothing: does it help?
# 4. Give *every* piece its word's tag in training, and read answers at the first piece as before.
#
# ## Questions
#
# <details><summary>A tagger has precision 0.9 and recall 0.3. What is its F1, and what kind of tagger is it?</summary>
#
# $2 \cdot 0.9 \cdot 0.3 / 1.2 = 0.45$. It speaks seldom, and is mostly right when it does. Raise recall by lowering the
# logit of O; precision pays for it.
# </details>
#
# <details><summary>Why is F1 not the plain mean of precision and recall?</summary>
#
# Who says nothing but one sure name has precision 1 and recall near 0: the mean would be 0.5. The harmonic mean is near
# the smaller of the two.
# </details>
#
# <details><summary>How many labels of a sentence are not -100?</summary>
#
# As many as it has words. (Words of a very strange kind, of which the tokenizer leaves nothing, get an [UNK] so that
# this holds.)
# </details>
#
# <details><summary>Why does BERT not read a name's vector as the mean of its pieces?</summary>
#
# One could; it is about as good. The first piece is simpler, and by the last block it holds what the others know.
# </details>
#
# <details><summary>Can IOB2 tags mark a name within a name, as in "University of Ghent"?</summary>
#
# No. A word has one tag. Nested names need another head, for instance one that judges every pair of a first and a last
# word: as in the next chapter.
# </details>
#
# ## Key points
#
# - Names are runs of tags. B says where one begins, so that two neighbours stay two.
# - The first piece of a word bears its tag; all else is -100.
# - Accuracy is flattered by O. Count whole names, over all sentences together.
# - Compare with fools: *always O*, and a list of names.
# - Names are rare words: what a tagger knows of them it has from pretraining, and from the sentence around.
#
# **Code:** [`tasks/ner.py`](../minibert/tasks/ner.py) (`NerTask`), [`tasks/spans.py`](../minibert/tasks/spans.py)
# (`read_spans`, `write_tags`, `span_metrics`), [`data/windows.py`](../minibert/data/windows.py) (`split_windows`),
# [`heads.py`](../minibert/heads.py) (`BertForTokenClassification`). **Data:** `data/names.txt`.
#
# **Papers:** Devlin et al. 2019, section 5.3; Ramshaw and Marcus 1995, *Text Chunking using Transformation-Based
# Learning*; Tjong Kim Sang and De Meulder 2003, *Introduction to the CoNLL-2003 Shared Task*; Viterbi 1967; Lafferty et
# al. 2001, *Conditional Random Fields*; Dai and Adel 2020, *An Analysis of Simple Data Augmentation for Named Entity
# Recognition*.
#
# Before: [9. Fine-tuning](09_finetuning.ipynb). Next: [11. Questions](11_questions.ipynb)
