# %% [markdown]
# # 8. Pretrain a BERT in minutes
#
# Every Python has a book on board: its own documentation, in the module `pydoc_data.topics`. It is a small book, and
# your computer has no graphics card, perhaps. That is enough to watch a BERT learn to read: to see it stand still for a
# long time, to see why, and to see what gets it going. (The BERT of the tour was made in the same way, from far more
# text: see `weights/README.md`.)
#
# **You will be able to**
#
# - clean a text, learn a vocabulary, cut rows, and train a BERT on them, in forty lines;
# - compute the loss that a model must get below before it has learnt anything about context;
# - tell from the outside whether a model uses its context at all;
# - get off the unigram plateau;
# - make word vectors by counting, and begin with them;
# - see in attention what was learnt.
#
# **You need** chapter 7. **Time:** 45 minutes to read; the cells run in a minute.

# %%
import inspect
import itertools
import math
from collections import Counter
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
import torch
from pictures import BLUE, GREEN, GREY, VERMILION, grid, show

from minibert import BertConfig, BertForMaskedLM, BertTokenizer
from minibert.data.batches import pack_examples
from minibert.data.masking import Masking
from minibert.data.unigram import unigram_entropy
from minibert.tokenization.learn import count_words, coverage, learn_wordpiece_fast
from minibert.training.optimizer import parameter_groups
from minibert.training.schedules import linear_schedule

# %% [markdown]
# ## 8.1 The text, and a trap in it
#
# Look at your text before you train on it. Ours has topics that quote each other: the same paragraphs stand in several.

# %%
paragraphs = [paragraph for topic in topics.values() for paragraph in topic.split("\n\n")]
repeated = sum(map(len, paragraphs)) - sum(map(len, set(paragraphs)))
print(f"{len(topics)} topics, {sum(map(len, paragraphs)):,} characters, of which {repeated:,} are repetitions")
assert repeated > 10_000

seen: set[str] = set()
documents = []
for topic in topics.values():
    new = [paragraph for paragraph in topic.split("\n\n") if paragraph not in seen]
    seen.update(new)
    if new:
        documents.append("\n".join(new))

# %% [markdown]
# Nearly a fifth. Had we held some topics out to judge by, the model would have met parts of them in training, and the
# figure would flatter it. So repetitions go first; then every tenth topic is held out.
#
# A vocabulary, learnt from the training text (chapter 2):

# %%
VOCAB = 1500
held_out_documents, training_documents = documents[::10], [d for i, d in enumerate(documents) if i % 10]
words = count_words(line for document in training_documents for line in document.splitlines())
vocabulary = learn_wordpiece_fast(words, VOCAB)
tokenizer = BertTokenizer({token: number for number, token in enumerate(vocabulary)})
per_word, unknown = coverage(vocabulary, words)
print(f"{len(words):,} different words; {per_word:.2f} pieces a word, {unknown:.2%} unknown")
print(" ".join(vocabulary[200:1500:25]))
assert 1 <= per_word < 1.3 and unknown < 0.001  # each version of Python has topics of its own

# %% [markdown]
# Rows of 32 tokens. Short rows are a kindness to a slow computer: Google trained with 128 tokens for nine tenths of all
# steps, too (Devlin et al. 2019, appendix A.2). Next sentences are left out.

# %%
ROW = 32


def rows_of(documents: list[str]) -> list[np.ndarray]:
    """[CLS], up to 30 tokens, [SEP]; no row crosses the end of a document."""
    rows = []
    for document in documents:
        ids = tokenizer(document, add_special_tokens=False)["input_ids"]
        pieces = [ids[start : start + ROW - 2] for start in range(0, len(ids), ROW - 2)]
        rows += [np.array([tokenizer.cls_token_id, *piece, tokenizer.sep_token_id]) for piece in pieces]
    return rows


training, held_out = rows_of(training_documents), rows_of(held_out_documents)[:150]  # few: exams are many
print(f"{sum(map(len, training)):,} tokens in {len(training):,} rows; {len(held_out)} rows are held out")
assert 0.03 < len(held_out) / len(training) < 0.2  # a tenth of the topics, which differ in length

# %% [markdown]
# ## 8.2 The line to get below
#
# How well can one guess a hidden token without looking at its row? One can know which tokens are frequent. On paper: of
# the text `a a b c` the frequencies are 1/2, 1/4, 1/4. Whoever gives these probabilities always, pays
# $-\frac12\ln\frac12 - 2\cdot\frac14\ln\frac14 = 1.04$ on average. That is the *entropy* of the frequencies (Shannon
# 1948), in *nats*, the unit that goes with the natural logarithm; no guess without context does better. (A token that
# never occurs adds nothing: $0 \ln 0$ counts as 0.) Write it down; `torch.distributions` knows it as well, and must
# agree:


# %%
def entropy(counts: np.ndarray) -> float:
    """Of tokens with these counts, in nats."""
    # BEGIN SOLUTION
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
    # END SOLUTION


assert abs(entropy(np.array([2, 1, 1])) - 1.0397) < 1e-4
counts = np.bincount(np.concatenate([row[1:-1] for row in training]), minlength=VOCAB)
assert counts.min() == 0
assert abs(entropy(counts) - torch.distributions.Categorical(torch.tensor(counts / counts.sum())).entropy()) < 1e-6
frequencies = (counts + 1) / (counts + 1).sum()  # one more of each: none may be impossible
UNIGRAM = -float(np.mean(np.log(frequencies[np.concatenate([row[1:-1] for row in held_out])])))
print(f"all tokens alike: ln {VOCAB} = {math.log(VOCAB):.2f}")
print(f"by frequency: {entropy(counts):.2f} on the training text, {UNIGRAM:.2f} on what is held out")
assert entropy(counts) < UNIGRAM
print("the package's version, for a whole corpus:")
print(inspect.getsource(unigram_entropy))

# %% [markdown]
# On held-out text one pays more: its own frequencies are others. That is the line for the pictures below.
#
# And with one neighbour? Count pairs. A table that knows how often each token follows each other one is the simplest
# model that uses context. It is mixed with the frequencies, for pairs that never occurred in training:

# %%
pairs = Counter(pair for row in training for pair in itertools.pairwise(row.tolist()))
firsts = np.bincount([first for row in training for first in row[:-1].tolist()], minlength=VOCAB)
losses = []
for row in held_out:
    for left, token in itertools.pairwise(row.tolist()):
        if token != tokenizer.sep_token_id:
            certain = firsts[left] / (firsts[left] + 20)  # how much the table of this neighbour is trusted
            share = pairs[left, token] / max(1, firsts[left])
            losses.append(-math.log(certain * share + (1 - certain) * frequencies[token]))
BIGRAM = float(np.mean(losses))
print(f"a table of left neighbours: {BIGRAM:.2f} on held-out text")
assert BIGRAM < UNIGRAM - 0.3

# %% [markdown]
# ## 8.3 Train
#
# All of it in one cell: a batch, the learning rate's way up and down, a step. Besides the loss on held-out rows we
# measure one more thing, *variety*: how much do the model's answers differ from place to place? Take the mean of its
# answers for all hidden places, and compare entropies:
#
# $$\mathrm{variety} = H(\text{mean answer}) - \text{mean } H(\text{answer})$$
#
# If the model gives the same answer everywhere, it is 0: the model does not look at its row at all.

# %%
masking = Masking(tokenizer, "token", masked_lm_prob=0.15, max_predictions_per_seq=20)


def batch_of(rows: list[np.ndarray], generator: np.random.Generator) -> dict:
    """Packed rows with labels, masked anew."""
    masked = [masking(row, generator) for row in rows]
    return pack_examples([{"input_ids": seen, "labels": labels} for seen, labels in masked])


EXAM = batch_of(held_out, np.random.default_rng(1))


@torch.no_grad()
def examine(model: BertForMaskedLM) -> tuple[float, float]:
    """Held-out loss and variety, both in nats."""
    model.eval()
    output = model(**EXAM)
    answers = output.logits[EXAM["labels"] != -100].softmax(dim=-1).double()  # (tokens, vocab) -> (masked, vocab)
    each = -(answers * answers.log()).sum(dim=-1)  # (masked, vocab) -> (masked)
    mean = answers.mean(dim=0)  # (masked, vocab) -> (vocab)
    return output.loss.item(), (-(mean * mean.log()).sum() - each.mean()).item()


def pretrain(
    peak: float, steps: int, deviation: float, vectors: torch.Tensor | None = None
) -> tuple[BertForMaskedLM, list[tuple[int, float, float]]]:
    """vectors: word embeddings to begin with; None: random ones."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    model = BertForMaskedLM(
        BertConfig.preset(
            "tiny",
            vocab_size=VOCAB,
            max_position_embeddings=ROW,
            hidden_dropout_prob=0.0,  # a few passes over the text: there is no time to learn it by heart
            attention_probs_dropout_prob=0.0,
            initializer_range=deviation,
        )
    )
    if vectors is not None:
        model.bert.embeddings.word_embeddings.weight.data = vectors.clone()
    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=0.01), lr=peak)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: linear_schedule(step + 1, 40, steps + 1))
    history = [(0, *examine(model))]
    for step in range(1, steps + 1):
        rows = [training[i] for i in generator.integers(len(training), size=48)]
        loss = model.train()(**batch_of(rows, generator)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            history.append((step, *examine(model)))
    print(f"peak {peak:g}: held-out loss {history[-1][1]:.2f}, variety {history[-1][2]:.2f} after {steps} steps")
    return model, history


timid, timid_history = pretrain(peak=1e-3, steps=160, deviation=0.02)
bold, bold_history = pretrain(peak=3e-3, steps=320, deviation=0.02 * math.sqrt(768 / 128))

figure, axes = plt.subplots(1, 2, figsize=(11, 3.8))
for history, colour, style, name in ((timid_history, VERMILION, "s--", "timid"), (bold_history, BLUE, "o-", "bold")):
    steps, exam, variety = zip(*history, strict=True)
    axes[0].plot(steps, exam, style, color=colour, label=name, markersize=4)
    axes[1].plot(steps, variety, style, color=colour, label=name, markersize=4)
for height, colour, text in ((UNIGRAM, GREY, "frequencies alone"), (BIGRAM, GREEN, "a table of neighbours")):
    axes[0].axhline(height, color=colour, linestyle=":")
    axes[0].text(320, height + 0.04, text, ha="right", color="black", fontsize=9)
axes[0].set(xlabel="step", ylabel="held-out loss")
axes[1].set(xlabel="step", ylabel="variety of the answers (nats)")
axes[1].legend()
show(
    figure,
    "Left: one loss stops near the line of frequencies, the other falls through it. Right: only its variety grows.",
)
assert abs(timid_history[-1][1] - UNIGRAM) < 0.2
assert timid_history[-1][2] < 0.15
assert bold_history[-1][1] < UNIGRAM - 0.3
assert bold_history[-1][2] > 0.3

# %% [markdown]
# *The picture, left:* both fall to the line of frequencies. The timid one comes to a halt just below. This is the
# *unigram plateau*, and many a pretraining has been given up on it. *Right:* on the plateau the variety is almost 0.
# The model names the same frequent tokens wherever it is asked. It has learnt its output bias, and hardly anything
# else.
#
# Why is there a plateau? Frequencies are easy: they are one number for each token, the bias, and every example pulls it
# the same way. Context needs three things at once: attention that looks at some *particular* place, embeddings that say
# what stands there, and an output that makes use of it. While two of them are random the third has little to learn
# from. So the slope is small at first, though there is a way down.
#
# What gets one off it:
#
# | lever | here | why |
# | --- | --- | --- |
# | higher learning rate | 1e-3 to 3e-3 | the slope is small: take longer steps |
# | warm-up | 40 steps | so that the first of these long steps break nothing |
# | larger weights at the start | 0.02 to 0.049 | 0.02 suits a width of 768, sums over 128 come out small |
# | patience | 160 to 320 steps | the slope is small, but it is not zero |
# | smaller vocabulary, short rows | from the start | fewer things to tell apart, more examples of each |
#
# (`python -m minibert.pretrain` chooses the deviation by the width, as the bold run does: $0.02\sqrt{768/H}$.)
#
# The two runs differ in more than one lever, so we cannot say which of them did it. Experiment 1 asks.
#
# And the table of neighbours? It still wins. So little text and time are enough to see a BERT set out, not to see it
# arrive: counting needs no learning rate, and is ahead at the start.
#
# ## 8.4 Count first
#
# Then why not let it begin with what counting knows? Tokens that keep the same company mean something alike: `true` and
# `false` stand between the same neighbours. So count, for each pair of tokens, how often they stand up to five places
# apart, nearer ones more. Frequent tokens stand near everything: what counts is how much *more often than chance*.
# On paper: of 8 neighbours, token a has 2 and 2 of the kinds x and y, token b 0 and 4. Kind x is 1/4 of all, and 1/2 of
# a's: twice as often as chance, $\ln 2 = 0.69$. Kind y is 3/4 of all: with a, 2/3 as often, which counts as 0; with b,
# 4/3, $\ln\frac43 = 0.29$. This is the *positive pointwise mutual information*:
#
# $$\mathrm{PPMI}_{ij} = \max\left(0, \ln \frac{p(i, j)}{p(i)\,p(j)}\right)$$
#
# ### Build it yourself


# %%
def information(counts: np.ndarray) -> np.ndarray:
    """The PPMI of counts (tokens, neighbours), of the same shape; 0 where nothing was counted."""
    # BEGIN SOLUTION
    token, neighbour = counts.sum(axis=1, keepdims=True), counts.sum(axis=0)  # -> (tokens, 1), (neighbours,)
    by_chance = token * neighbour / counts.sum()  # (tokens, 1) * (neighbours,) -> (tokens, neighbours)
    return np.log(np.maximum(1, np.divide(counts, by_chance, out=np.ones_like(counts), where=counts > 0)))
    # END SOLUTION


expected = [[math.log(2), 0], [0, math.log(4 / 3)], [0, 0]]
np.testing.assert_allclose(information(np.array([[2.0, 2], [0, 4], [0, 0]])), expected)

near = np.zeros((VOCAB, VOCAB))
for row in training:
    for distance in range(1, 6):
        left, right = row[1:-1][:-distance], row[1:-1][distance:]
        np.add.at(near, (left, right), 1 / distance)
        np.add.at(near, (right, left), 1 / distance)

# %% [markdown]
# A row of this table describes a token by 1,500 numbers, most of them 0. The singular value decomposition finds 128
# that keep as much of it as 128 can: $U\sqrt S$ of $USV^\top$ (Levy, Goldberg, Dagan 2015). Each row is then made as
# long as a random one would be. Whom does it put side by side?

# %%
WIDTH = 128
left_vectors, values, _ = np.linalg.svd(information(near))
vectors = torch.from_numpy(left_vectors[:, :WIDTH] * np.sqrt(values[:WIDTH])).float()  # -> (tokens, hidden)
vectors = 0.02 * math.sqrt(768 / WIDTH) * math.sqrt(WIDTH) * torch.nn.functional.normalize(vectors)

alike = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(vectors).T  # -> (tokens, tokens)
for word in ("true", "two", "list", "string", "is"):
    best = alike[vocabulary.index(word)].argsort(descending=True)[1:6]
    print(f"{word:>8}: {', '.join(vocabulary[i] for i in best)}")
related = [("true", "false"), ("two", "three"), ("list", "tuple"), ("string", "bytes"), ("is", "are")]
related_places = [(vocabulary.index(one), vocabulary.index(other)) for one, other in related]
print(f"these pairs {np.mean([alike[pair].item() for pair in related_places]):.2f}, all pairs {alike.mean():.2f}")
assert np.mean([alike[pair].item() for pair in related_places]) > alike.mean() + 0.2

# %% [markdown]
# No gradient was needed for that. (Tokens that never occur, [MASK] among them, begin at 0.)
#
# Now the bold run again, with these vectors for its word embeddings, everything else as before:

# %%
_, counted_history = pretrain(peak=3e-3, steps=320, deviation=0.02 * math.sqrt(768 / WIDTH), vectors=vectors)
figure, axes = plt.subplots(figsize=(7, 3.6))
for history, colour, style, name in (
    (bold_history, BLUE, "o-", "bold, random vectors"),
    (counted_history, GREEN, "^-", "bold, counted vectors"),
):
    axes.plot(*zip(*[(step, loss) for step, loss, _ in history[1:]], strict=True), style, color=colour, label=name)
axes.axhline(UNIGRAM, color=GREY, linestyle=":")
axes.text(320, UNIGRAM + 0.02, "frequencies alone", ha="right", fontsize=9)
axes.set(xlabel="step", ylabel="held-out loss")
axes.legend()
show(figure, "The run that began with counted vectors is ahead at step 20; soon both losses fall side by side.")
ahead = [random[1] - counted[1] for random, counted in zip(bold_history, counted_history, strict=True)]
print(f"ahead by {ahead[1]:.2f} nats at step 20, by {np.mean(ahead[4:]):.2f} on the mean of steps 80 to 320")
assert ahead[1] > 0.05

# %% [markdown]
# *The picture:* a head start, and little more. All five seeds that were tried were ahead at step 20, by 0.09 to
# 0.21 nats; but on the mean from step 80 on, by -0.01 to 0.10, so one run alone says nothing of it. The text is small:
# what so few pairs tell, gradient descent finds out soon. With vectors counted from 64 million tokens
# (`python -m minibert.pretrain --embeddings counts`) a model of the size of `minibert-mini` left its plateau much
# sooner than one without, though the two runs differed in other settings as well (`EXPERIMENTS.md`). Attention must
# still be learnt: counted vectors know what a word is like, and nothing of the sentence that it stands in.
#
# ## 8.5 What was learnt: look at attention
#
# For each head, how much weight goes to the token one place to the left, two to the left, and so on?


# %%
@torch.no_grad()
def by_distance(model: BertForMaskedLM) -> torch.Tensor:
    """(layers * heads, 9): the mean weight on the tokens at distances -4 to 4."""
    ids = torch.from_numpy(np.stack([row for row in held_out if len(row) == ROW][:40]))
    attentions = torch.cat(model(ids, output_attentions=True).attentions, dim=1)  # -> (batch, layers * heads, seq, seq)
    mean = attentions.mean(dim=0)  # (batch, layers * heads, seq, seq) -> (layers * heads, seq, seq)
    return torch.stack([mean.diagonal(shift, dim1=1, dim2=2).mean(dim=1) for shift in range(-4, 5)], dim=1)


figure, axes = plt.subplots(1, 2, figsize=(11, 3))
names = [f"block {block} head {head}" for block in (1, 2) for head in (1, 2)]
for part, model, title in zip(axes, (timid, bold), ("timid", "bold"), strict=True):
    grid(part, by_distance(model), names, [f"{shift:+d}" for shift in range(-4, 5)], low=0, high=0.2)
    part.set(title=title, xlabel="distance of the token that is looked at")
show(figure, "Weight by distance for four heads: even for the timid model; the bold one's heads look at neighbours.")
print(f"an even average would give {1 / ROW:.3f} everywhere")
assert by_distance(timid).max() < 0.06
assert by_distance(bold).max() > 0.09

# %% [markdown]
# *The picture:* the timid model averages over the whole row: every distance has a thirtieth. In its first block the
# bold one has begun to look at neighbours, three to five times as much: the first thing that helps in guessing words.
# Much larger BERTs have such heads, too, in their lower blocks (Clark et al. 2019, section 3.1).
#
# ## 8.6 Ask it something
#
# Two questions to each model. What is its first choice? And, more telling: which tokens does this place make more
# likely than their frequency alone? (Of those that occur at least 100 times.)


# %%
@torch.no_grad()
def fill(model: BertForMaskedLM, text: str) -> tuple[str, list[str]]:
    """The likeliest token for [MASK], and the four that gain most over their frequency."""
    inputs = tokenizer(text, return_tensors="pt")
    place = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
    chances = model.eval()(**inputs).logits[0, place].softmax(dim=-1).numpy()
    gains = np.where(counts >= 100, chances / frequencies, 0)
    return vocabulary[chances.argmax()], [f"{vocabulary[i]} x{gains[i]:.1f}" for i in gains.argsort()[:-5:-1]]


for text in (
    "the value of the [MASK] is returned.",
    "if the object is [MASK] instance of the class",
    "[MASK] method is called when the object is created.",
    "a list of [MASK].",
):
    print(text)
    for name, model in (("timid", timid), ("bold", bold)):
        first, gained = fill(model, text)
        print(f"    {name}: first choice '{first}'; gained: {', '.join(gained)}")

firsts = {fill(timid, text)[0] for text in ("a [MASK] .", "the [MASK] of", "is [MASK] by", "[MASK] class")}
print("the timid model's first choices for four places:", firsts)
assert len(firsts) <= 3

# %% [markdown]
# The bold model is no scholar. It has read a small book four times, and its first choice is still the most frequent
# word. But what gains depends on where it is asked, and on the words nearby. The timid one gives the same answer
# everywhere: it does not know that there is a "where".
#
# ## 8.7 For real
#
# The package has all of this as a command, with evaluation, checkpoints, resuming, several processes and a report:
#
# ```text
# python -m minibert.pretrain --corpus topics.txt --size tiny --vocab-size 1500 --max-length 32 --no-next-sentence \
#        --max-steps 320 --batch-size 48 --lr 3e-3 --out my-bert
# ```
#
# Its report draws the unigram entropy into the loss curve, so that you see a plateau for what it is. And how far is it
# from here to the paper? Our run read about half a million tokens. BERT read 256 rows of up to 512 tokens in each of a
# million steps: up to 131 billion. (Chapter 18 counts 43, because nine tenths of the steps had rows of 128.)

# %%
ours, papers = 320 * 48 * ROW, 256 * 1_000_000 * 512
print(f"{ours:,} tokens here, up to {papers:,} there: {papers / ours:,.0f} times as many")
assert papers == 131_072_000_000

# %% [markdown]
# ## Common mistakes
#
# - **Giving up on the plateau**, or admiring a loss that has just come down from $\ln V$ to it. Know your unigram
#   entropy before you start.
# - **Comparing losses of different vocabularies.** A vocabulary decides what a token *is*, so it moves every line. Here
#   are three lines of frequencies on one and the same text:

# %%
entropies = {}
for size in (300, 1500, 4000):
    pieces = learn_wordpiece_fast(words, size)
    other = BertTokenizer({token: number for number, token in enumerate(pieces)})
    ids = [other(document, add_special_tokens=False)["input_ids"] for document in training_documents[:20]]
    entropies[size] = entropy(np.bincount(np.concatenate(ids).astype(int)))
    per_word, _ = coverage(pieces, words)
    print(f"vocabulary of {size:>5}: {entropies[size]:.2f} a token, {per_word:.2f} tokens a word")
assert max(entropies.values()) - min(entropies.values()) > 0.1

# %% [markdown]
# - **Held-out text that is also in the training text**: section 8.1.
# - **Judging by training loss.** Masks are new in every epoch, which hides it for long, but a small text is learnt by
#   heart in the end.
# - **No warm-up with a high rate.** Post-norm models (chapter 5) forgive it least.
#
# ## Experiments to try
#
# 1. Change one lever at a time: `pretrain(3e-3, 160, 0.02)` and `pretrain(1e-3, 160, 0.049)`. Which one did it?
# 2. Give the timid one 1,000 steps. When does its variety leave 0 for good? Watch for it before the loss moves.
# 3. Mask whole words (`Masking(tokenizer, "whole_word", ...)`). The loss is higher. Is the model worse?
# 4. Ask for 30 % of the tokens instead of 15 %. More answers a row, less context for each.
# 5. Read [`training/muon.py`](../minibert/training/muon.py), and put `Muon(model, peak)` in place of AdamW. Does the
#    plateau get shorter? To be fair, give both of them 3e-3 and 6e-3, and more than one seed.
#
# ## Questions
#
# <details><summary>The loss begins near ln 1500 = 7.31. Why?</summary>
#
# The fresh model's logits are small, so its answer is nearly even: each of 1,500 tokens gets 1/1500.
# </details>
#
# <details><summary>A model has a loss of 5.0, with a unigram entropy of 5.3. Does it use context?</summary>
#
# Perhaps. On held-out text of another kind the frequencies differ, and 5.3 is not its line. Measure the variety, or
# hide the context: shuffle each row, and see whether the loss rises.
# </details>
#
# <details><summary>Why is the table of neighbours so hard to beat with so little text?</summary>
#
# It counts, and needs each pair only a few times. BERT must first learn what a neighbour *is*. But the table can never
# look at both sides, or five words back, or treat alike what is alike.
# </details>
#
# <details><summary>Why are there so many <code>##</code> pieces in a vocabulary of 1,500?</summary>
#
# With little room a word is cheaper as two pieces that others use as well. Chapter 2 measures it.
# </details>
#
# ## Key points
#
# - Look at the text; throw repetitions out before you hold anything out.
# - The unigram entropy is the line. Above it nothing about context has been learnt.
# - Variety tells whether a model looks at its row.
# - Off the plateau: longer steps with a warm-up, weights that suit the width, patience.
# - Counting gives word vectors at once; gradient descent has to find them.
# - Heads that look at neighbours come first.
#
# **Code:** [`data/masking.py`](../minibert/data/masking.py) (`Masking`),
# [`data/batches.py`](../minibert/data/batches.py) (`pack_examples`), [`data/unigram.py`](../minibert/data/unigram.py)
# (`unigram_entropy`), [`data/cooccurrence.py`](../minibert/data/cooccurrence.py)
# (`count_vectors`), [`training/schedules.py`](../minibert/training/schedules.py) (`linear_schedule`),
# [`pretrain.py`](../minibert/pretrain.py).
#
# **Papers:** Shannon 1948, *A Mathematical Theory of Communication*, section 6; Levy, Goldberg & Dagan 2015, *Improving
# Distributional Similarity with Lessons Learned from Word Embeddings*; Devlin et al. 2019, appendix A.2; Clark et al.
# 2019, *What Does BERT Look At?*
#
# Before: [7. Pretraining objectives](07_objectives.ipynb). Next: [9. Fine-tuning](09_finetuning.ipynb)
