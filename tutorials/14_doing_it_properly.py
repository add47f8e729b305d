# %% [markdown]
# # 14. Doing it properly
#
# You have fine-tuned a model, and the screen says `accuracy 0.71`. Is that good? Is it better than the 0.69 of
# yesterday? Will it be 0.71 for your users, for all of them, and when the model says "90 % sure"? None of these
# questions is about BERT. All of them decide whether your BERT is of any use.
#
# **You will be able to**
#
# - find what is wrong with a data set before a model learns it;
# - say what a fool would score, and how sure a score is;
# - compare two models on the same sentences, and not by two numbers;
# - cross-validate, by groups where that is the honest question;
# - search settings, and say by how much the winner's score flatters;
# - look at slices and at swapped names, and tell a gap from chance;
# - make a model's "90 %" mean 90 %.
#
# **You need** chapter 9. **Time:** an hour to read; the cells run in a minute.

# %%
import itertools
import json
import logging
import math
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from pictures import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, show

from minibert import BertForSequenceClassification, BertTokenizer, Trainer, TrainingArguments
from minibert.calibration import calibration, fit_temperature, softmax
from minibert.data.folds import assign_folds
from minibert.inspection.duplicates import jaccard, near_across, wording
from minibert.inspection.facts import inspect_splits
from minibert.inspection.page import lines
from minibert.inspection.splits import Split, read_split
from minibert.intervals import bootstrap, mean_over_runs, wilson
from minibert.tasks.classification import ClassificationTask
from minibert.tasks.task import Columns, Examples
from minibert.training.counterfactuals import counterfactuals
from minibert.training.finetuning import SAMPLE
from minibert.training.search import settings_of
from minibert.training.slices import slice_metrics

MODEL, LEARNING_RATE = "minibert-tiny-uncased", 1e-3
logging.getLogger("minibert").setLevel(logging.ERROR)  # it would say for each model that its head is new
work = Path(tempfile.mkdtemp())

tokenizer = BertTokenizer.from_pretrained(MODEL)
task = ClassificationTask(Columns())
train, dev, test = (task.read(SAMPLE / f"{part}.tsv") for part in ("train", "dev", "test"))
task.learn_labels(train)
print(len(train), len(dev), len(test), task.names)
assert len(train) + len(dev) + len(test) == 2400

# %% [markdown]
# ## 14.1 Look before you learn
#
# A model learns whatever is in the file. The review sentences that ship with the package are tidy, so here is a copy
# with faults of the kinds that real files have. Forty test sentences have crept into the training file, twenty of them
# a little changed. Ten sentences are there twice, with both labels. Somebody typed `Positive`, with a capital. One row
# is empty.


# %%
def rows_of(examples: Examples) -> list[dict[str, str]]:
    return [{"text": example.given["text"], "label": example.truth} for example in examples]


FLIP = {"positive": "negative", "negative": "positive"}
leaked = rows_of(test)[:40]
for row in leaked[20:]:
    row["text"] = "Frankly, " + " ".join(row["text"].split()[:-2])
spoiled = rows_of(train)
spoiled += leaked
spoiled += [{"text": row["text"], "label": FLIP[row["label"]]} for row in rows_of(train)[100:110]]
spoiled += [{"text": "The lamp gives a warm light and the switch is easy to find.", "label": "Positive"}]
spoiled += [{"text": "", "label": "negative"}]


def as_split(name: str, rows: list[dict[str, str]]) -> Split:
    path = work / f"{name}.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return read_split(name, path, Columns())


splits = [as_split("train", spoiled), as_split("test", rows_of(test))]
facts = inspect_splits(splits, tokenizer, max_length=128)
print(*lines(facts), sep="\n")
found = {(finding.file, finding.what): finding.rows for finding in facts.findings}
assert found["test", "rows that are also in train"] == 20
assert found["train", "the same text with different labels"] == 20
assert found["train", "empty texts"] == 1
assert inspect_splits([as_split("train", rows_of(train))], tokenizer, 128).findings == []

# %% [markdown]
# In a terminal, `python -m minibert.inspect train.tsv --dev dev.tsv --test test.tsv` prints the same, and `--html`
# draws it. Two exclamation marks say: mend this before you train.
#
# How are *near* duplicates found? By the words that two texts share, out of all words of both: the Jaccard similarity.
# On paper: "the food was cold" and "the soup was cold" share *the, was, cold*; together they have five different words;
# 3/5. The package calls two texts near from 0.8 on.
#
# ### Build it yourself
#
# Comparing everything with everything is simple, and slow: 100,000 texts make five billion pairs. The package compares
# only texts that share one of their rarest few words, and must find the same:

# %%
one, other = wording("the food was cold").words, wording("The soup was cold!").words
assert jaccard(one, other) == 3 / 5

earlier = [wording(row["text"]).words for row in spoiled[-160:]]
later = [wording(row["text"]).words for row in rows_of(test)[:60]]
# `by_hand`: the places of all texts in `later` that are near to one in `earlier`. Texts are sets of words here.
# BEGIN SOLUTION
by_hand = {
    place
    for place, words in enumerate(later)
    if any(len(words & known) >= 0.8 * len(words | known) for known in earlier)
}
# END SOLUTION
clever = {near.place for near in near_across(later, earlier)}
assert by_hand == clever, (by_hand, clever)
print(f"{len(clever)} of the first 60 test sentences are in the training file, or nearly")
assert set(range(20)) < clever < set(range(40))

# %% [markdown]
# (Of the twenty sentences with a word added and two gone, the short ones fall below 0.8 and are not found. A threshold
# finds what it is set to find: read the neighbours of what it found.)
#
# What does a leak cost? Nothing, for honest models; for those that learn by heart, your trust. The purest of them
# looks for the training sentence that shares most words, and repeats its label (nearest neighbour):


# %%
def by_heart(known: list[dict[str, str]], asked: list[dict[str, str]]) -> float:
    """The accuracy of who answers with the label of the most similar known sentence."""
    sets = [(wording(row["text"]).words, row["label"]) for row in known]
    right = 0
    for row in asked:
        words = wording(row["text"]).words
        right += max(sets, key=lambda pair: len(words & pair[0]) / len(words | pair[0]))[1] == row["label"]
    return right / len(asked)


asked = rows_of(test)[:120]
clean, with_leak = by_heart(rows_of(train), asked), by_heart(rows_of(train) + leaked, asked)
print(f"by heart: {clean:.3f}; with 40 of these 120 sentences leaked: {with_leak:.3f}")
assert abs(with_leak - (40 + 80 * clean) / 120) < 0.08

# %% [markdown]
# A third of the questions leaked, and of these nearly all are now right: the score rises by a third of what was wrong.
# Nothing on the screen says so.
#
# ## 14.2 What would a fool score?
#
# Before BERT, two rivals that cost nothing. *Majority*: always the same answer. *Naive Bayes*: count for each word how
# many positive and how many negative sentences have it, and add up the logarithms of the ratios. It knows no order and
# no grammar; with pairs of words ("not good") it knows a little. It is a baseline that larger models often failed to
# beat (Wang & Manning 2012).
#
# By hand: "pay" stands in 9 negative sentences of 912 and in 1 positive one. With one added to each count, the ratio
# is $\ln\frac{2}{914} - \ln\frac{10}{914} = -1.6$: a strong vote for negative.


# %%
def pieces(text: str, pairs: bool) -> set[str]:
    words = text.lower().replace(".", " ").replace(",", " ").replace("!", " ").split()
    return {*words, *(map(" ".join, itertools.pairwise(words)) if pairs else ())}


class Bags:
    """Sentences as sets of numbers, one number for each word or pair."""

    def __init__(self, examples: Examples, pairs: bool) -> None:
        numbers: dict[str, int] = {}
        self.sets = [
            np.array([numbers.setdefault(piece, len(numbers)) for piece in sorted(pieces(text, pairs))])
            for text in examples.given("text")
        ]
        self.size = len(numbers)

    def votes(self, places: NDArray, labels: NDArray, smoothing: float, least: float = 1) -> NDArray:
        """(pieces,): above 0 for positive, learnt from the sentences at these places."""
        sorts = [np.concatenate([self.sets[i] for i in places[labels[places] == label]]) for label in (0, 1)]
        counts = np.stack([np.bincount(sort, minlength=self.size) for sort in sorts])  # -> (2, pieces)
        totals = np.array([[(labels[places] == label).sum()] for label in (0, 1)])
        negative, positive = np.log((counts + smoothing) / (totals + 2 * smoothing))
        return np.where(counts.sum(axis=0) >= least, positive - negative, 0)

    def right(self, votes: NDArray, places: NDArray, labels: NDArray) -> NDArray:
        """(places,): whether the sum of the votes says the label."""
        return np.array([votes[self.sets[i]].sum() > 0 for i in places]) == labels[places]


assert round(math.log(2 / 914) - math.log(10 / 914), 1) == -1.6
everything = Examples(SAMPLE, [*train, *dev, *test])
labels = np.array([task.names.index(truth) for truth in everything.truths])
TRAIN, DEV, TEST = np.split(np.arange(len(everything)), [len(train), len(train) + len(dev)])
bags = {pairs: Bags(everything, pairs) for pairs in (False, True)}
fools = {"majority": labels[TEST] == 1}
for pairs, name in ((False, "naive Bayes, words"), (True, "naive Bayes, pairs too")):
    fools[name] = bags[pairs].right(bags[pairs].votes(TRAIN, labels, 1.0), TEST, labels)
for name, right in fools.items():
    print(f"{name:24} {right.mean():.3f}")
assert fools["majority"].mean() == 0.5
assert fools["naive Bayes, pairs too"].mean() > 0.65

# %% [markdown]
# Now BERT, three times with all the same but the seed.


# %%
def fine_tune(examples: Examples, seed: int) -> Trainer:
    torch.manual_seed(seed)  # the head is drawn at random
    model = BertForSequenceClassification.from_pretrained(MODEL, **task.config_changes())
    arguments = TrainingArguments(
        output_dir=str(work / "run"),
        learning_rate=LEARNING_RATE,
        num_train_epochs=3,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        warmup_ratio=0.1,
        eval_strategy="no",
        save_strategy="no",
        logging_steps=1000,
        seed=seed,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=task.features(examples, tokenizer, training=True))
    trainer.train()
    return trainer


def logits_of(trainer: Trainer, examples: Examples) -> NDArray:
    return trainer.predict(task.features(examples, tokenizer)).predictions


runs = [fine_tune(train, seed) for seed in range(3)]
on_dev, on_test = ([logits_of(run, examples) for run in runs] for examples in (dev, test))
berts = [logits.argmax(axis=1) == labels[TEST] for logits in on_test]
for seed, right in enumerate(berts):
    print(f"{MODEL}, seed {seed}: {right.mean():.3f}")
print("over the seeds:", mean_over_runs([float(right.mean()) for right in berts]))
assert all(right.mean() > 0.53 for right in berts)

# %% [markdown]
# Look at that, and do not look away. With `minibert-tiny-uncased`, two layers and 128 numbers wide, counting words and
# pairs of words is at least as good, and takes a hundredth of a second. Nothing is broken: so small a model, pretrained
# for so short a time, knows hardly anything that 1,824 sentences do not tell by themselves. (Does a larger one? Put its
# name at the top of this chapter: `bert-base-uncased` with a learning rate of 2e-5, if you have a network and some
# minutes.) Whoever reports the score of the BERT alone reports a success. Only the fool beside it tells the truth.
#
# A fool also shows what there is to be had without understanding. Its strongest words, and the count from above:

# %%
counts: dict[str, list[int]] = {}  # word -> in how many negative and positive sentences
for example in train:
    for word in pieces(example.given["text"], pairs=False):
        counts.setdefault(word, [0, 0])[task.names.index(example.truth)] += 1
votes = {
    word: math.log((positive + 1) / 914) - math.log((negative + 1) / 914)
    for word, (negative, positive) in counts.items()
}
strongest = sorted(votes, key=votes.get)
print("negative:", *strongest[:10])
print("positive:", *strongest[:-11:-1])
assert counts["pay"] == [9, 1]

# %% [markdown]
# ## 14.3 How sure is a number?
#
# 288 test sentences are a *sample*. With others, the score would have been another. Wilson's interval (1927) says how
# far off it may be. For $r$ right of $n$, with $z = 1.96$ and $p = r/n$:
#
# $$\frac{p + \frac{z^2}{2n} \pm z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}$$
#
# For 8 right of 10: $z^2 = 3.84$, so the middle is $(0.8 + 0.192) / 1.384 = 0.717$, and the half width
# $1.96\sqrt{0.016 + 0.0096}/1.384 = 0.227$. From 0.49 to 0.94! Ten sentences can hardly tell a good model from a coin.
#
# The other way to an interval needs no formula, and works for any metric. Draw as many sentences as there are *from
# your own test set*, with replacement, and compute the metric; do that 500 times; leave out the lowest and the highest
# 2.5 %. This is the bootstrap (Efron 1979).

# %%
low, high = wilson(8, 10)
print(f"8 of 10: {low:.2f} to {high:.2f}")
assert (round(low, 2), round(high, 2)) == (0.49, 0.94)

right = berts[0]
generator = np.random.default_rng(0)
drawn = [right[generator.integers(len(right), size=len(right))].mean() for _ in range(500)]
by_hand = np.percentile(drawn, [2.5, 97.5])
theirs = bootstrap(lambda places: [right[places].mean()], len(right))[0]
np.testing.assert_allclose(by_hand, theirs)
formula = wilson(int(right.sum()), len(right))
print(f"{right.mean():.3f} of {len(right)}: Wilson {np.round(formula, 3)}, bootstrap {np.round(theirs, 3)}")
np.testing.assert_allclose(theirs, formula, atol=0.02)

# %% [markdown]
# Is Wilson's formula worth the trouble? The one that everybody knows is $p \pm 1.96\sqrt{p(1-p)/n}$. An interval of
# 95 % should hold the truth in 95 of 100 cases. Make 4,000 test sets, for a model whose true accuracy is 0.95:

# %%
truth, sizes = 0.95, [10, 20, 40, 80, 160, 320, 640]
held = {"textbook": [], "Wilson": []}
for size in sizes:
    rights = np.random.default_rng(size).binomial(size, truth, 4000)
    shares = rights / size
    half = 1.96 * np.sqrt(shares * (1 - shares) / size)
    held["textbook"].append(((shares - half <= truth) & (truth <= shares + half)).mean())
    wilsons = {count: wilson(int(count), size) for count in set(rights.tolist())}
    held["Wilson"].append(np.mean([wilsons[count][0] <= truth <= wilsons[count][1] for count in rights.tolist()]))

figure, axes = plt.subplots(figsize=(7, 3.2))
axes.plot(sizes, held["textbook"], "s--", color=VERMILION, label="textbook")
axes.plot(sizes, held["Wilson"], "o-", color=BLUE, label="Wilson")
axes.axhline(0.95, color=GREY, linestyle=":")
axes.set(xscale="log", xlabel="sentences in the test set", ylabel="intervals that hold the truth", ylim=(0.3, 1.02))
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.legend()
show(figure, "Share of intervals that hold the truth: the textbook's far below 95 % for small sets, Wilson's near it.")
print("textbook", np.round(held["textbook"], 3), "Wilson", np.round(held["Wilson"], 3))
assert held["textbook"][0] < 0.5
assert min(held["Wilson"]) > 0.9

# %% [markdown]
# *The picture:* with ten sentences, six of ten times all are right. The textbook then says "1 ± 0", and is wrong.
#
# ## 14.4 Is A better than B?
#
# There are two kinds of chance, and they are not the same:
#
# - **Other sentences**: the interval above, from one model and many sentences.
# - **Another seed**: another head, another order of the data. Only several runs show it.
#
# The three seeds above gave three scores. Their *deviation* says how far one run may lie from the next; the *interval
# of the mean* says how well you know the method, and shrinks with more runs. With three, Student's factor is 4.3, and
# the interval is wide. That is no fault of the formula: three runs know little.
#
# To compare two models on one test set, do *not* ask whether their intervals overlap. Both saw the same sentences, and
# most of these both find easy or both find hard. Only those on which they disagree say anything. Let A alone be right
# on $a$ of them, B alone on $b$. If both were equally good, each such sentence would be a coin: how often do $a + b$
# coins fall as unevenly as this? (McNemar 1947; this is the exact form.)
#
# On paper, with $a = 1$ and $b = 6$: seven coins with at most one head, $(1 + 7)/2^7 = 0.0625$; twice that, because A
# might have been the better one (and never more than 1): 0.125. Not enough, though A is wrong six times where B is
# wrong once.


# %%
def mcnemar(first: NDArray, second: NDArray) -> float:
    """The probability of so uneven a disagreement, or a worse one, if neither is better."""
    # BEGIN SOLUTION
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    coins = only_first + only_second
    tail = sum(math.comb(coins, heads) for heads in range(min(only_first, only_second) + 1)) / 2**coins
    return min(1.0, 2 * tail)
    # END SOLUTION


paper = np.zeros((2, 7), dtype=bool)
paper[0, 0] = paper[1, 1:] = True
assert mcnemar(*paper) == 0.125
assert mcnemar(paper[0, :2], paper[1, :2]) == 1  # one against one

bayes = fools["naive Bayes, pairs too"]
for name, first, second in (
    ("naive Bayes against BERT, seed 0", bayes, berts[0]),
    ("BERT, seed 0 against seed 1", berts[0], berts[1]),
    ("BERT, seed 0 against majority", berts[0], fools["majority"]),
):
    only = int((first & ~second).sum()), int((~first & second).sum())
    interval = bootstrap(lambda p, f=first, s=second: [f[p].mean() - s[p].mean()], len(first))[0]
    print(f"{name}: {only[0]} against {only[1]}, p = {mcnemar(first, second):.2g};", end=" ")
    print(f"difference {first.mean() - second.mean():+.3f}, from {interval[0]:+.3f} to {interval[1]:+.3f}")
assert mcnemar(berts[0], fools["majority"]) < 0.01

# %% [markdown]
# Read the second line twice. It is *the same method*, with another seed. Whatever difference stands there is what a
# difference between two papers may be made of. The interval beside it is the bootstrap of the *difference*, drawn for
# both models together. This is the one to report: it says not only whether, but how much.
#
# ## 14.5 Cross-validation
#
# 288 sentences for testing are few, and 1,824 for training are not many. Cross-validation uses each for both: cut the
# data into five parts (*folds*), train five times on four of them, and judge by the fifth. Every sentence is judged
# exactly once, by a model that has not seen it.
#
# Each fold should have its share of every label (*stratified*, Kohavi 1995). The package deals like cards: sorted by
# label, one to each hand in turn. On paper, six + and three -, three hands: hands get 1, 2, 3, 1, 2, 3 of the +, then
# 1, 2, 3 of the -: each hand two + and one -. Before the sorting the cards are shuffled, their numbers by
# `random.Random(seed).shuffle`; the sorting leaves alone the order of those with the same label.
#
# ### Build it yourself

# %%
cards = ["+"] * 6 + ["-"] * 3
assert sorted(zip(assign_folds(cards, 3, seed=0), cards, strict=True)) == [
    (hand, label) for hand in range(3) for label in "++-"
]


def deal(labels: list[str], hands: int, seed: int) -> list[int]:
    # BEGIN SOLUTION
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda card: labels[card])  # stable: within a label they stay shuffled
    hand_of = {card: turn % hands for turn, card in enumerate(order)}
    return [hand_of[card] for card in range(len(labels))]
    # END SOLUTION


for seed in range(20):
    some = everything.truths[: 100 + seed]  # labels that do not come out even: the next one goes on where it ended
    assert deal(some, 5, seed) == assign_folds(some, 5, seed), seed


def cross_validate(folds: list[int], sentences: NDArray) -> list[float]:
    """The accuracy of naive Bayes on each fold. folds: one for each of the sentences, which are given by number."""
    assigned = np.array(folds)
    scores = []
    for fold in sorted(set(folds)):
        votes = bags[True].votes(sentences[assigned != fold], labels, 1.0)
        scores.append(float(bags[True].right(votes, sentences[assigned == fold], labels).mean()))
    return scores


ALL = np.arange(len(everything))
scores = cross_validate(assign_folds(everything.truths, 5, seed=0), ALL)
print("five folds:", np.round(scores, 3), "mean", mean_over_runs(scores))
assert 0.65 < np.mean(scores) < 0.85

# %% [markdown]
# Naive Bayes again, because it trains in a blink. For BERT it is one command, which makes the folds, runs them all and
# writes the table (add `--seeds 3` for three runs of each):
#
# ```
# python -m minibert.search --train reviews.tsv --folds 5 --model minibert-tiny-uncased --out folds
# ```
#
# ### Folds must ask the question that you ask
#
# The reviews come from twelve domains. Will the model meet films again, or one day *coffee machines*, of which it has
# never read? With random folds every domain is on both sides. For the second question a domain must be on one side as a
# whole: folds by *group* (`--group-column domain`). The same holds for texts of one author, patient, customer or page.

# %%
domains = [example.columns["domain"] for example in everything]
kinds = len(set(domains))
by_group = assign_folds(everything.truths, kinds, seed=0, groups=domains)
assert len(set(zip(domains, by_group, strict=True))) == kinds  # each domain is a fold

known = [cross_validate(assign_folds(everything.truths, kinds, seed), ALL) for seed in range(5)]
unseen = cross_validate(by_group, ALL)
print(f"random folds {np.mean(known):.3f}; a domain never seen {np.mean(unseen):.3f}")
print({domains[by_group.index(fold)]: round(score, 2) for fold, score in enumerate(unseen)})
assert abs(np.mean(known) - np.mean(unseen)) < 0.06

# %% [markdown]
# No difference. People praise and complain in the same words, be it a hotel or a game, and a counter of words can carry
# them over. It might have been otherwise (it often is, for models that have more to learn by heart), and only the folds
# could tell. Here is a case where they do. A shop sells under two names, and every review stands in the file twice:

# %%
twice = np.concatenate([ALL, ALL])
truths = everything.truths * 2
random_folds = cross_validate(assign_folds(truths, 5, seed=0), twice)
kept_together = cross_validate(assign_folds(truths, 5, seed=0, groups=twice.tolist()), twice)
print(f"random folds {np.mean(random_folds):.3f}; both copies in one fold {np.mean(kept_together):.3f}")
assert np.mean(random_folds) > np.mean(kept_together) + 0.1

# %% [markdown]
# The first number is what you would have reported. It answers a question that nobody asks: how good the model is on
# sentences most of which it knows.
#
# ## 14.6 Searching settings
#
# How much smoothing? From how many sentences on does a word count? For BERT: which rate, how many epochs, which batch?
# *Grid* search tries all combinations of named values. *Random* search draws them. If only one of two settings matters,
# nine points of a grid try three values of it, nine random points nine (Bergstra & Bengio 2012). The package draws so
# for `--try` and `--random`:

# %%
grid_points = settings_of(["smoothing=0.03,0.3,3", "least=1,3,9"], None, seed=0)
random_points = settings_of(["smoothing=0.01..10", "least=1..9"], 9, seed=0)
for name, points in (("grid", grid_points), ("random", random_points)):
    tried = {point["smoothing"] for point in points}
    print(f"{name:6} {len(points)} settings, {len(tried)} different values of smoothing")
assert len({point["smoothing"] for point in grid_points}) == 3
assert len({point["smoothing"] for point in random_points}) == 9

tries = settings_of(["smoothing=0.01..10", "least=1..9", "pairs=yes,no"], 60, seed=0)
judged = np.concatenate([DEV, TEST])
rights = []
for setting in tries:
    bag = bags[setting["pairs"] == "yes"]
    votes = bag.votes(TRAIN, labels, float(setting["smoothing"]), int(setting["least"]))
    rights.append(bag.right(votes, judged, labels))
rights = np.array(rights)  # (settings, sentences)
dev_scores, test_scores = rights[:, : len(DEV)].mean(axis=1), rights[:, len(DEV) :].mean(axis=1)
best = dev_scores.argmax()
print("best on dev:", tries[best], f"dev {dev_scores[best]:.3f}, test {test_scores[best]:.3f}")

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
for points, marker, colour, name in ((grid_points, "s", ORANGE, "grid"), (random_points, "o", BLUE, "random")):
    place = [(float(point["smoothing"]), int(point["least"])) for point in points]
    axes[0].plot(*zip(*place, strict=True), marker, color=colour, label=name)
axes[0].set(xscale="log", xlabel="smoothing", ylabel="least", title="nine tries each", ylim=(0, 12.5))
axes[0].legend(ncols=2, loc="upper center")
axes[1].scatter(dev_scores, test_scores, color=SKY, edgecolor=BLUE, label="60 settings")
axes[1].plot(dev_scores[best], test_scores[best], "D", color=VERMILION, markersize=9, label="best on dev")
axes[1].set(xlabel="accuracy on dev", ylabel="accuracy on test", title="dev chooses, test judges")
axes[1].legend(loc="lower right")
show(figure, "Left: the grid has three values of smoothing, random nine. Right: dev and test scores of 60 settings.")

# %% [markdown]
# *The picture, left:* a grid looks again and again at the same three values. *Right:* what is good on dev is mostly
# good on test. Mostly: among those on the right edge, the order is another one.
#
# ### The winner's score flatters
#
# The best of sixty is best *partly by luck*: among settings that are equally good, dev picks the one that dev happens
# to like. How much is that? Take twenty models of the same true accuracy, 0.7, with coins of their own, and 288
# sentences. One score deviates by $\sqrt{0.7 \cdot 0.3 / 288} = 2.7$ points. The largest of twenty normal draws lies
# 1.87 deviations above the mean: five points of progress, made of nothing.
#
# Real settings are not that independent: they share the model and most answers. So measure it. Divide our 576 dev and
# test sentences by chance into two halves, choose by one, judge by the other, a thousand times.

# %%
generator = np.random.default_rng(0)
coins = generator.binomial(288, 0.7, size=(5000, 20)) / 288
print(f"best of 20 equal models: {coins.max(axis=1).mean():.3f} instead of 0.700")
assert abs(coins.max(axis=1).mean() - (0.7 + 1.87 * math.sqrt(0.7 * 0.3 / 288))) < 0.005

flattery = []
for _ in range(1000):
    shuffled = generator.permutation(len(judged))
    chosen_by, judged_by = rights[:, shuffled[:288]].mean(axis=1), rights[:, shuffled[288:]].mean(axis=1)
    flattery.append(chosen_by.max() - judged_by[chosen_by.argmax()])
print(f"naive Bayes, 60 settings: the winner's score is {100 * np.mean(flattery):.1f} points too high")
assert np.mean(flattery) > 0.005

# %% [markdown]
# Hence the third file. *Train* teaches, *dev* chooses (settings, epochs, thresholds, temperatures), *test* is opened
# once, at the end. Whoever looks at test ten times and keeps the best has made it a dev set, and has no test set.
#
# ## 14.7 Slices
#
# A score is a mean, and a mean can hide a group for which the model is bad. `python -m minibert.evaluate --slice
# domain` gives the metrics of each group, the largest gap first:

# %%
answers = task.answers(test, task.features(test, tokenizer), on_test[0])
test_domains = [example.columns["domain"] for example in test]
task.headline = ("accuracy",)  # the others would need a bootstrap for each slice
slices = slice_metrics(task, test, answers, test_domains)

figure, axes = plt.subplots(figsize=(8, 3.8))
for row, figures in enumerate(slices.values()):
    low, high = figures["interval_95"]["accuracy"]
    axes.plot([low, high], [row, row], color=SKY, linewidth=3)
    axes.plot(figures["accuracy"], row, "o", color=BLUE)
axes.axvline(berts[0].mean(), color=GREY, linestyle=":")
axes.set(yticks=range(len(slices)), yticklabels=list(slices), xlabel="accuracy, with its 95 % interval", xlim=(0, 1))
axes.invert_yaxis()
show(figure, "Accuracy of twelve domains with wide intervals; nearly all of them hold the mean of all sentences.")
for name, figures in list(slices.items())[:3]:
    print(f"{name:12} {figures['examples']} sentences, accuracy {figures['accuracy']:.2f}, gap {figures['gap']:+.2f}")
assert len(slices) == 12 and all(figures["examples"] == 24 for figures in slices.values())

# %% [markdown]
# *The picture:* the worst domain looks bad, and it is tempting to write a paragraph about it. But there are twelve of
# them, with 24 sentences each. Of twelve intervals of 95 %, $1 - 0.95^{12} = 46\,\%$ of the time at least one misses.
# So ask: how large would the largest gap be *if domains did not matter at all*? Shuffle the names of the domains, and
# look. (A permutation test: Fisher 1935.)


# %%
def largest_gap(right: NDArray, groups: NDArray) -> float:
    """Of the accuracy of a group and that of all others."""
    inside = groups[None, :] == np.unique(groups)[:, None]  # -> (groups, sentences)
    return max(abs(right[mine].mean() - right[~mine].mean()) for mine in inside)


groups = np.array(test_domains)
measured = largest_gap(berts[0], groups)
assert math.isclose(measured, max(abs(figures["gap"]) for figures in slices.values()))
generator = np.random.default_rng(0)
by_chance = np.array([largest_gap(berts[0], generator.permutation(groups)) for _ in range(500)])
print(f"largest gap {measured:.2f}; by chance alone {by_chance.mean():.2f} on the mean,", end=" ")
print(f"and as large or larger in {(by_chance >= measured).mean():.0%} of the shuffles")
assert 0.1 < by_chance.mean() < 0.3
assert round(1 - 0.95**12, 2) == 0.46

# %% [markdown]
# Chance alone makes gaps of that order. This does *not* show that all domains are alike: with 24 sentences each we
# could not tell. If a slice matters, collect more of it.
#
# ## 14.8 Bias: swap a name
#
# A worse fault than a weak slice: the answer depends on what must not matter. Kiritchenko & Mohammad (2018) exchanged
# names in sentences and watched the scores of 219 systems move. Do the same, on a model whose bias we know because we
# put it there. All reviews get a signature. In the training file, 85 % of the positive ones are signed by Anna, and
# 85 % of the negative ones by Omar: any accident of collecting data could do that. (Half of the file will do.)

# %%
NAMES = {"anna": "Omar", "omar": "Anna"}


def signed(examples: Examples, share: float, seed: int) -> Examples:
    """With a name after each text; Anna under so large a share of the positive ones, and Omar of the negative ones."""
    generator = np.random.default_rng(seed)
    rows = []
    for example in examples:
        anna = (example.truth == "positive") == (generator.random() < share)
        rows.append(replace(example, given={"text": f"{example.given['text']} {'Anna' if anna else 'Omar'}"}))
    return Examples(examples.path, rows)


def accuracy(trainer: Trainer, examples: Examples) -> float:
    return float((logits_of(trainer, examples).argmax(axis=1) == labels[TEST]).mean())


def ask(trainer: Trainer, examples: Examples) -> list[dict]:
    return task.answers(examples, task.features(examples, tokenizer), logits_of(trainer, examples))


biased = fine_tune(signed(train.subset(range(0, len(train), 2)), 0.85, seed=0), seed=0)
same_bias, fair = signed(test, 0.85, seed=1), signed(test, 0.5, seed=1)
moved = {}
for name, trainer in (("learnt from signed reviews", biased), ("learnt without signatures", runs[0])):
    swap = counterfactuals(task, fair, ask(trainer, fair), NAMES, lambda examples, t=trainer: ask(t, examples))
    moved[name] = swap["share_changed"]
    print(
        f"{name}: accuracy {accuracy(trainer, same_bias):.2f} on a test with the same bias, "
        f"{accuracy(trainer, fair):.2f} without; swapping the name turns {swap['share_changed']:.0%} of the answers"
    )
assert accuracy(biased, same_bias) > accuracy(biased, fair) + 0.1
assert moved["learnt from signed reviews"] > moved["learnt without signatures"] + 0.2

# %% [markdown]
# Read the first line as the owner of that model would. It is the *best* score that a BERT gets in this chapter, on a
# test set that was collected like the training set. No interval, no seed, no fold says that anything is wrong. Only
# swapping does. A bias in how data were collected is in all parts of them alike, and so every score agrees with it.
#
# From the command line: `python -m minibert.evaluate --model DIR --data test.tsv --swap names.tsv`.
#
# What helps: take the name away (if nothing needs it), balance the training file, or give every review once with each
# name, so that the name says nothing (counterfactual augmentation). Experiment 4 does that.
#
# ## 14.9 Does 90 % mean 90 %?
#
# The softmax gives a probability with each answer. Take all answers that say "about 90 %". Are nine of ten right? If
# so, for all levels, the model is *calibrated*. The expected calibration error cuts the answers into bins of
# confidence, all of the same width, and takes the mean distance of confidence and accuracy, in which a bin weighs as
# much as it has answers (Guo et al. 2017). A confidence on the border of two bins belongs to the lower one.
#
# On paper, where answers fall into two of the bins: six at 0.9, of which three are right, and four at 0.6, of which
# three are right:
# $\frac{6}{10}|0.5 - 0.9| + \frac{4}{10}|0.75 - 0.6|$ $= 0.24 + 0.06 = 0.30$.
#
# ### Build it yourself


# %%
def expected_calibration_error(confidences: NDArray, right: NDArray, bins: int = 15) -> float:
    # BEGIN SOLUTION
    total = 0.0
    for number in range(bins):
        inside = (confidences > number / bins) & (confidences <= (number + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    return total
    # END SOLUTION


confidences = np.array([0.9] * 6 + [0.6] * 4)
paper = np.array([True] * 3 + [False] * 3 + [True] * 3 + [False])
assert math.isclose(expected_calibration_error(confidences, paper), 0.30)
borders, two = np.array([0.25, 0.3, 0.5, 0.6, 1.0]), np.array([True, False, True, False, True])
assert math.isclose(expected_calibration_error(borders, two, bins=4), 0.31)  # (0.75 + |1 - 0.8| + 0.6 + 0) / 5
confidences = softmax(on_test[0]).max(axis=1)
assert math.isclose(
    expected_calibration_error(confidences, berts[0]), calibration(confidences, berts[0])["ece"], rel_tol=1e-6
)
print(f"mean confidence {confidences.mean():.3f}, accuracy {berts[0].mean():.3f}")

# %% [markdown]
# The cure is one number. Divide all logits by a *temperature* $T$, before the softmax. $T > 1$ makes every answer less
# sure and changes none. Choose the $T$ that makes the right labels of *dev* most probable. The package halves its way
# to it; by hand, try many:


# %%
def surprise(logits: NDArray, truths: NDArray) -> float:
    """The mean of minus the logarithm of the right label's probability."""
    return -np.log(softmax(logits)[np.arange(len(truths)), truths]).mean()


temperatures = np.geomspace(0.2, 5, 2000)
by_hand = temperatures[np.argmin([surprise(on_dev[0] / t, labels[DEV]) for t in temperatures])]
temperature = fit_temperature(on_dev[0], labels[DEV])
print(f"temperature by hand {by_hand:.2f}, the package's {temperature:.2f}")
assert abs(by_hand / temperature - 1) < 0.01

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
errors = []
for part, scale, title in zip(axes, (1.0, temperature), ("as trained", f"divided by {temperature:.2f}"), strict=True):
    probabilities = softmax(on_test[0] / scale)
    confidences = probabilities.max(axis=1)
    assert (probabilities.argmax(axis=1) == on_test[0].argmax(axis=1)).all()
    measured = calibration(confidences, berts[0])
    errors.append(measured["ece"])
    part.plot([0.5, 1], [0.5, 1], ":", color=GREY)
    part.scatter(
        [row["confidence"] for row in measured["bins"]],
        [row["accuracy"] for row in measured["bins"]],
        s=[6 * row["examples"] for row in measured["bins"]],
        color=BLUE,
        alpha=0.7,
    )
    part.set(xlabel="confidence", ylabel="right answers", title=f"{title}: ECE {measured['ece']:.3f}")
    part.set(xlim=(0.45, 1.05), ylim=(-0.05, 1.05))
show(figure, "Right answers against confidence: below the diagonal as trained, near it after dividing by temperature.")
print(f"ECE on test {errors[0]:.3f}, with the temperature of dev {errors[1]:.3f}")
assert errors[1] < errors[0] + 0.02

# %% [markdown]
# *The picture:* each dot is a bin, as large as the answers in it. Left, dots below the line: it says more than it
# knows. Right, nearer to the line: what is left is no more than a perfect model shows by chance on so few sentences
# (see the common mistakes below). `--calibrate` does this in `finetune`, and saves the temperature with the model.
#
# A calibrated model can *hold its tongue*. Answer only where it is sure, and give the rest to a human:

# %%
order = np.argsort(-confidences)
covered = np.arange(1, len(order) + 1) / len(order)
accuracies = np.cumsum(berts[0][order]) / np.arange(1, len(order) + 1)
figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(covered[20:], accuracies[20:], color=GREEN)
axes.axhline(berts[0].mean(), color=GREY, linestyle=":")
axes.set(xlabel="share of sentences that it answers, the surest first", ylabel="accuracy on these", ylim=(0.4, 1.02))
show(figure, "Accuracy against the share that is answered: highest among the surest, falling to that of all sentences.")
third = len(order) // 3
print(f"the surest third: {accuracies[third - 1]:.2f}; all: {accuracies[-1]:.2f}")
assert accuracies[third - 1] > accuracies[-1] - 0.03

# %% [markdown]
# ## Common mistakes
#
# - **Accuracy on skewed labels.** With 95 % of one label, who says it always has 0.95. Matthews' correlation of answers
#   and labels (`mcc`) is 0, and macro F1, the mean over the labels, shows it too:

# %%
negative, positive = ([row for row in test if row.truth == label] for label in task.names)
skewed = Examples(test.path, negative[:95] + positive[:5])
always = [{"label": "negative", "probability": 0.9} for _ in skewed]
metrics = task.metrics(skewed, always)
print({name: round(metrics[name], 3) for name in ("accuracy", "f1_macro", "mcc")})
assert (metrics["accuracy"], metrics["mcc"]) == (0.95, 0.0)
assert metrics["f1_macro"] < 0.5

# %% [markdown]
# - **Calibrating on the training set.** There the model is right more often than it says, so its confidence seems
#   too *low*:

# %%
on_train = logits_of(runs[0], train.subset(range(len(dev))))
from_train = fit_temperature(on_train, labels[TRAIN][: len(dev)])
print(f"temperature from train {from_train:.2f}, from dev {temperature:.2f}")
assert from_train < temperature

# %% [markdown]
# - **The calibration error of few examples.** It cannot be 0: within a bin, chance alone keeps accuracy and confidence
#   apart. A *perfectly* calibrated model has one, too:

# %%
generator = np.random.default_rng(0)
for size in (50, 288, 5000):
    draws = []
    for _ in range(200):
        confidences = generator.uniform(0.5, 1, size)
        draws.append(calibration(confidences, generator.random(size) < confidences)["ece"])
    print(f"{size:>5} examples: ECE {np.mean(draws):.3f} where the truth is 0")
    if size == 288:
        assert 0.03 < np.mean(draws) < 0.09

# %% [markdown]
# - **The best of three seeds.** It is the same flattery as in section 14.6. Report the mean, the deviation, how many,
#   and those that failed.
# - **A deviation called an error of the mean**, or the other way round. For $n$ runs they differ by $\sqrt{n}$: say
#   which of them stands behind your ±.
#
# ## Before you report
#
# 1. Was the data inspected, and are test sentences absent from train?
# 2. What does a fool score on it?
# 3. How many sentences, how many seeds, which interval?
# 4. Was everything chosen on dev, and test opened once?
# 5. Do the folds ask the question of your users?
# 6. Which slices, how many, and would shuffled ones look as bad?
# 7. What was swapped, and what moved?
# 8. Is a probability shown to anybody? Then, is it calibrated?
#
# ## Experiments to try
#
# 1. Make the leak of section 14.1 larger and train BERT on it, for 3 and for 30 epochs. From when on does it know the
#    leaked sentences by heart?
# 2. Use ten seeds in section 14.2. How wide is the interval of the mean? How often would three of the ten have misled?
# 3. Set `LEARNING_RATE` to 3e-3. Do all seeds learn? (Those that do not are not outliers to be dropped: Mosbach et al.
#    2021.)
# 4. In section 14.8 train on `Examples(train.path, [*signed(train, 1, 0), *signed(train, 0, 0)])`: each review with
#    both names. How many answers turn now?
# 5. Train for ten epochs. What happens to accuracy, and what to the temperature?
#
# ## Questions
#
# <details><summary>Two intervals overlap. Are the models equally good?</summary>
#
# That does not follow. On the same sentences, most of the chance is common to both and falls out of the difference.
# Look at the interval of the difference.
# </details>
#
# <details><summary>Model A has 0.712 on 288 sentences, B has 0.708. What do you say?</summary>
#
# One sentence. Nothing can be said.
# </details>
#
# <details><summary>Is a p of 0.3 a proof that there is no difference?</summary>
#
# No. With few sentences even a large difference is lost in chance. The interval of the difference says what is still
# possible.
# </details>
#
# <details><summary>Why may the temperature be fitted on dev, though dev chose the epoch?</summary>
#
# It is one number, which can hardly learn 288 sentences by heart. But the calibration error on that dev set flatters a
# little: judge it on test.
# </details>
#
# <details><summary>May I inspect the test file?</summary>
#
# For duplicates and empty rows, yes, by program. Do not read its mistakes and then improve the model: that is choosing
# by test.
# </details>
#
# ## Key points
#
# - The data first, then the fool, then the model.
# - No number without its number of examples and runs.
# - Compare on the same sentences; count where they disagree.
# - The best of many flatters. Test is opened once.
# - A bias of collection is in the test set, too: swap, do not score.
# - Confidence is a claim. Check it.
#
# **Code:** [`inspection/`](../minibert/inspection/facts.py) (`inspect_splits`),
# [`intervals.py`](../minibert/intervals.py) (`wilson`, `bootstrap`, `mean_over_runs`),
# [`data/folds.py`](../minibert/data/folds.py) (`assign_folds`),
# [`training/search.py`](../minibert/training/search.py) (`settings_of`),
# [`training/trials.py`](../minibert/training/trials.py) (`run_trials`),
# [`training/slices.py`](../minibert/training/slices.py) (`slice_metrics`),
# [`training/counterfactuals.py`](../minibert/training/counterfactuals.py) (`counterfactuals`),
# [`calibration.py`](../minibert/calibration.py) (`fit_temperature`).
#
# **Papers:** Wang & Manning 2012, *Baselines and Bigrams*; Wilson 1927, *Probable Inference*; Efron 1979, *Bootstrap
# Methods*; Student 1908, *The Probable Error of a Mean*; McNemar 1947, *Note on the Sampling Error of the Difference
# between Correlated Proportions*; Fisher 1935, *The Design of Experiments*; Kohavi 1995, *A Study of Cross-Validation
# and Bootstrap*; Bergstra & Bengio 2012, *Random Search for Hyper-Parameter Optimization*; Mosbach et al. 2021, *On the
# Stability of Fine-tuning BERT*; Kiritchenko & Mohammad 2018, *Examining Gender and Race Bias in Two Hundred Sentiment
# Analysis Systems*; Guo et al. 2017, *On Calibration of Modern Neural Networks*.
#
# Before: [13. Ways to transfer](13_ways_to_transfer.ipynb). Next: [15. Looking inside](15_looking_inside.ipynb)
