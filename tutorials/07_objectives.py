# %% [markdown]
# # 7. Pretraining objectives
#
# The BERT of the tour could fill gaps. A fresh one knows nothing. It learns from raw text, by two puzzles that can be
# made out of any book without a human: *which word is hidden here?* and *does this text follow that one?* This chapter
# makes these puzzles, counts them, and shows how they go wrong.
#
# **You will be able to**
#
# - say why BERT must hide words, and GPT need not;
# - make masked examples by hand, by the rule of 80/10/10, equal to the package's;
# - compute the loss of masked words, and say which tokens count;
# - cut documents into pairs, and see what each trick in Google's program is for;
# - read what the pooler says of a text, and ask it for more;
# - name five mistakes, and what gives them away.
#
# **You need** chapter 6. **Time:** an hour to read; the cells run in half a minute.

# %%
import inspect
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, show
from torch.testing import assert_close

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining, BertTokenizer
from minibert.data.batches import pack_examples
from minibert.data.instances import InstanceSettings, PretrainingInstances, truncate_seq_pair
from minibert.data.masking import IGNORE, Masking
from minibert.data.shards import Corpus
from minibert.training.bag_of_words import bag_of_words_loss

# %% [markdown]
# ## 7.1 Why hide words at all?
#
# A language model such as GPT reads from left to right and guesses the next word. It may not look to the right, or it
# would see the answer. But many words are explained by what follows:
#
# > The **bank** was closed. / The **bank** was muddy.
#
# BERT wants to look both ways. Then "guess this word" is no puzzle: every token sees itself. The paper says that it
# could "trivially predict the target word" (section 3.1). Watch it: on *random* symbols there is nothing to learn.
# A model that is asked for words it can see becomes perfect all the same; one that is asked for hidden words cannot get
# below $\ln 20$.

# %%
SYMBOLS = 20
MASK = SYMBOLS  # its id
small = BertConfig(
    vocab_size=SYMBOLS + 1,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=16,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
curves = {}
for puzzle in ("visible", "hidden"):
    torch.manual_seed(0)
    model = BertForMaskedLM(small)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    curves[puzzle] = []
    for _ in range(150):
        ids = torch.randint(SYMBOLS, (32, 16))
        asked = torch.rand(ids.shape) < 0.15
        seen = ids.masked_fill(asked, MASK) if puzzle == "hidden" else ids
        loss = model(seen, labels=ids.masked_fill(~asked, IGNORE)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curves[puzzle].append(loss.item())

figure, axes = plt.subplots(figsize=(7, 3.2))
axes.plot(curves["visible"], "--", color=VERMILION, label="words it can see")
axes.plot(curves["hidden"], color=BLUE, label="hidden words")
axes.axhline(math.log(SYMBOLS), color=GREY, linestyle=":", label="ln 20: guessing")
axes.set(xlabel="step", ylabel="loss", ylim=(0, 4))
axes.legend(loc="center right")
show(figure, "Loss on random symbols: for visible words it falls to zero, for hidden ones it stays at ln 20.")
final = {puzzle: sum(losses[-20:]) / 20 for puzzle, losses in curves.items()}
print({puzzle: round(loss, 2) for puzzle, loss in final.items()})
assert final["visible"] < 0.1
assert abs(final["hidden"] - math.log(SYMBOLS)) < 0.1

# %% [markdown]
# *The picture:* a loss of 0 where nothing can be learnt. If your loss is too good, the answer is in the question.
#
# ## 7.2 80/10/10 by hand
#
# BERT chooses 15 % of the tokens. Of a text of 20 tokens that is 3. What becomes of a chosen token is drawn:
#
# | chance | it becomes | why |
# | --- | --- | --- |
# | 80 % | `[MASK]` | that is the puzzle |
# | 10 % | a random token | any word may be wrong: so look at the context of *every* word |
# | 10 % | itself | and a word may be right: so keep what it says |
#
# If it were 100 % `[MASK]`, the model could be idle at all other places: nothing there is ever asked for. But in your
# task there are no `[MASK]`s, only those other places (paper, section 3.1 and appendix A.1). With 80/10/10, of 100
# tokens 15 are chosen: 12 masked, 1.5 random, 1.5 themselves. So of all visible tokens, $1.5 / 88 = 1.7\,\%$ are wrong:
# enough to keep the model awake, and not enough to spoil the text.
#
# The text for this chapter is what every Python has on board: its own documentation. Two commands make a vocabulary
# and a corpus, as for any text.

# %%
work = tempfile.TemporaryDirectory()
text = Path(work.name) / "topics.txt"
one_topic_one_document = ("\n".join(filter(str.strip, topic.splitlines())) for topic in topics.values())
text.write_text("\n\n".join(one_topic_one_document), encoding="utf-8")  # a blank line ends a document


def pretrain(*arguments: object) -> None:
    """`python -m minibert.pretrain ...`, without its progress bars."""
    command = [sys.executable, "-m", "minibert.pretrain", *map(str, arguments)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


pretrain("vocabulary", text, "--size", 2000, "--out", Path(work.name) / "tokenizer")
pretrain("prepare", text, "--vocab", Path(work.name) / "tokenizer", "--out", Path(work.name) / "corpus", "--workers", 1)
tokenizer = BertTokenizer.from_pretrained(Path(work.name) / "tokenizer")
corpus = Corpus(Path(work.name) / "corpus")
assert len(tokenizer) == 2000 and 60 < len(corpus) < 100  # each version of Python has topics of its own

# %%
sentence = "The assert statement is a convenient way to insert debugging assertions into a program."
ids = np.array(tokenizer(sentence)["input_ids"])
masking = Masking(tokenizer, "token", masked_lm_prob=0.15, max_predictions_per_seq=20)

SHOWN = 11  # with the seeds from here on the picture has all three fates
figure, axes = plt.subplots(figsize=(14, 2.6))
for row in range(5):
    seen, labels = masking(ids, np.random.default_rng(SHOWN + row))
    for place, (token_id, label) in enumerate(zip(seen.tolist(), labels.tolist(), strict=True)):
        colour = "#EEEEEE"
        if label != IGNORE:
            colour = BLUE if token_id == tokenizer.mask_token_id else GREEN if token_id == label else ORANGE
        axes.barh(row, 0.95, left=place, color=colour)
        token = tokenizer.convert_ids_to_tokens(token_id)
        axes.text(
            place + 0.47, row, token, ha="center", va="center", fontsize=8, color="white" if colour == BLUE else "black"
        )
axes.invert_yaxis()
axes.set(xticks=[], yticks=range(5), yticklabels=[f"epoch {row}" for row in range(5)], xlim=(0, len(ids)))
axes.spines[:].set_visible(False)
show(figure, "The same sentence in five epochs, each time with other tokens chosen: most masked, few random or kept.")

# %% [markdown]
# *The picture:* one sentence, as the model sees it in five epochs. Blue is masked, orange a random token, green chosen
# and left as it is. Grey tokens are not asked for. Google's program made ten such versions and wrote them to disk; here
# every epoch has new ones (dynamic masking, Liu et al. 2019, section 4.1).
#
# ### Build it yourself
#
# The same steps, from the same random numbers, must give the same puzzle. So the numbers must be drawn in the same
# order:
#
# 1. Candidates are the places of all tokens that are not special (`tokenizer.all_special_ids`). Take
#    `generator.permutation` of them; its first ones are chosen, as many as 15 % of *all* tokens, rounded, and at least
#    one.
# 2. Take `generator.random(len(ids))`. Its first numbers are the chances of the chosen tokens, in the order of their
#    choice. Below 0.8 the token becomes `[MASK]`, below 0.9 a random one.
# 3. Take one number of `generator.integers` for each chosen token, whether it is needed or not: the place of its random
#    token among all ids that are not special.
#
# Labels are the right ids at the chosen places, and `IGNORE` (-100) elsewhere.


# %%
def mask_by_hand(ids: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What the model sees, and the labels: both (tokens,)."""
    # BEGIN SOLUTION
    special = set(tokenizer.all_special_ids)
    candidates = [place for place, token_id in enumerate(ids.tolist()) if token_id not in special]
    chosen = generator.permutation(candidates)[: max(1, round(0.15 * len(ids)))]
    chances = generator.random(len(ids))[: len(chosen)]
    ordinary = [token_id for token_id in range(len(tokenizer)) if token_id not in special]
    replacements = generator.integers(len(ordinary), size=len(chosen))
    seen, labels = ids.copy(), np.full_like(ids, IGNORE)
    for place, chance, replacement in zip(chosen, chances, replacements, strict=True):
        labels[place] = ids[place]
        if chance < 0.8:
            seen[place] = tokenizer.mask_token_id
        elif chance < 0.9:
            seen[place] = ordinary[replacement]
    return seen, labels
    # END SOLUTION


for seed in range(200):
    row = ids[: 2 + seed % (len(ids) - 1)]  # rows of all lengths
    for ours, theirs in zip(
        mask_by_hand(row, np.random.default_rng(seed)), masking(row, np.random.default_rng(seed)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
print("200 puzzles, all equal; the package's version:")
print(inspect.getsource(Masking.__call__))

# %% [markdown]
# Random code needs statistics. The deviation of a share $p$ over $n$ draws is $\sqrt{p(1-p)/n}$; with
# $n = 3 \cdot 4000$, for 10 % that is 0.27 %. Three and a half of them are a fair tolerance.

# %%
generator = np.random.default_rng(0)
fates = {"masked": 0, "kept": 0, "random": 0}
rounds = 4000
for _ in range(rounds):
    seen, labels = masking(ids, generator)
    chosen = labels != IGNORE
    fates["masked"] += int((seen[chosen] == tokenizer.mask_token_id).sum())
    fates["kept"] += int((seen[chosen] == ids[chosen]).sum())
    fates["random"] += int(((seen[chosen] != tokenizer.mask_token_id) & (seen[chosen] != ids[chosen])).sum())
    assert (seen[~chosen] == ids[~chosen]).all()
    assert not set(np.flatnonzero(chosen)) & {0, len(ids) - 1}
total = sum(fates.values())
shares = {fate: count / total for fate, count in fates.items()}
print(f"{total} chosen, {total / rounds / len(ids):.1%} of the tokens;", {k: f"{v:.1%}" for k, v in shares.items()})
for fate, share in (("masked", 0.8), ("kept", 0.1), ("random", 0.1)):
    assert abs(shares[fate] - share) < 3.5 * math.sqrt(share * (1 - share) / total), fate

# %% [markdown]
# ## 7.3 The loss of masked words
#
# For each chosen token: minus the logarithm of the probability that the model gives the right word. Then the mean. On
# paper, for two chosen tokens with probabilities 1/2 and 1/8: $-\ln\frac12 = 0.693$, $-\ln\frac18 = 2.079$, mean 1.386.
# All other tokens have the label -100 and count for nothing, and so the package computes their logits only if somebody
# reads them, as the cell below does. They would be the largest tensor of all: for 32 rows of 128 tokens and 30,522
# words, 125 million numbers.

# %%
probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.125, 0.125, 0.75], [0.9, 0.05, 0.05]])
labels = torch.tensor([0, 1, IGNORE])
loss = F.cross_entropy(probabilities.log(), labels, ignore_index=IGNORE)
print(f"by hand: {loss:.3f}")
assert_close(loss, torch.tensor(1.3863), atol=1e-4, rtol=0)

torch.manual_seed(0)
config = BertConfig.preset("tiny", vocab_size=len(tokenizer))
model = BertForMaskedLM(config).eval()
seen, labels = (torch.from_numpy(array)[None] for array in masking(ids, np.random.default_rng(0)))
with torch.no_grad():
    output = model(seen, labels=labels)
    every = -output.logits.log_softmax(dim=-1)  # (batch, seq, vocab)
chosen = labels != IGNORE
by_hand = every[chosen].gather(1, labels[chosen][:, None]).mean()  # (chosen, vocab) -> (chosen, 1) -> ()
assert_close(by_hand, output.loss, atol=1e-5, rtol=1e-4)
print(f"a fresh model: loss {output.loss:.2f}, and ln {len(tokenizer)} is {math.log(len(tokenizer)):.2f}")
assert abs(output.loss.item() - math.log(len(tokenizer))) < 1
print(f"logits of all tokens: {32 * 128 * 30522:,}; of the chosen ones: {32 * 19 * 30522:,}")

# %% [markdown]
# ## 7.4 Next sentences: from documents to pairs
#
# Questions about two texts (does this answer that?) need a model that has seen two texts side by side. So BERT's rows
# are pairs, `[CLS] A [SEP] B [SEP]`. In half of them B really follows A (class 0), in half it is taken from another
# document (class 1). Google's program makes them so:
#
# 1. Walk through a document. Take sentences until they fill a row.
# 2. Cut these sentences at a random place: A before, B after.
# 3. With a chance of one half throw B away, and take a random place of a *random other document* instead. The sentences
#    thrown away come back in the next row: no text is wasted.
# 4. Too long? Take single tokens off the longer text, at its front or its end by chance.
# 5. One document in ten gets shorter rows on purpose: the texts of your task will be short as well.
#
# The package plans all of this for one *block* of the corpus after another (ours is a single one, the whole epoch), and
# builds each row when it is asked for.

# %%
settings = InstanceSettings(max_length=64, seed=0)
epoch = PretrainingInstances(corpus, tokenizer, settings).block(0)
print(f"{len(epoch):,} instances\n")
for wanted in (0, 1):
    candidates = (epoch[i] for i in range(99))
    instance = next(
        each for each in candidates if each["next_sentence_label"] == wanted and len(set(each["input_ids"])) > 30
    )
    whole = np.where(instance["labels"] != IGNORE, instance["labels"], instance["input_ids"])
    print(("B follows A:", "B is random:")[wanted], tokenizer.decode(whole.tolist())[:400], "\n")
    assert set(instance["token_type_ids"]) == {0, 1}

# %% [markdown]
# Step 4 by hand: A has 5 tokens, B has 9, and 8 may stay. B loses 4, until both have 5; then they lose in turn, B
# first: B 4, A 4. The package computes the same without a loop:

# %%
first, second = truncate_seq_pair(np.arange(5), np.arange(9), 8, np.random.default_rng(0))
print(len(first), len(second), second)
assert (len(first), len(second)) == (4, 4)

# %%
every = [epoch[i] for i in range(len(epoch))]
lengths = [len(instance["input_ids"]) for instance in every]
labels = [instance["next_sentence_label"] for instance in every]
print(f"random B: {np.mean(labels):.1%}; full rows: {np.mean(np.array(lengths) == 64):.1%}")
# A chunk of a single sentence has no rest that could be B: it always gets a random one.
assert 0.48 < np.mean(labels) < 0.62
assert max(lengths) == 64

figure, axes = plt.subplots(figsize=(7, 3))
axes.hist(lengths, bins=range(5, 66), color=BLUE, log=True)
axes.set(xlabel="tokens in a row", ylabel="rows (log)")
show(figure, "How long rows are: four of five are full with 64 tokens, and the others are spread over all lengths.")

# %% [markdown]
# *The picture:* four of five rows are full; the tail is what step 5 and the ends of documents leave. The package
# computes nothing for what is missing (chapter 16).
#
# Both losses are added, and that is all of BERT's pretraining:

# %%
model = BertForPreTraining(config).eval()
batch = pack_examples(every[:32])
with torch.no_grad():
    output = model(**batch)
    words = BertForMaskedLM(config).eval()
    words.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name in words.state_dict()})
    words_loss = words(batch["input_ids"], labels=batch["labels"]).loss
    sentence_loss = F.cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"])
print(f"{words_loss:.3f} + {sentence_loss:.3f} = {output.loss:.3f}; ln 2 is {math.log(2):.3f}")
assert_close(words_loss + sentence_loss, output.loss, atol=1e-4, rtol=1e-4)

# %% [markdown]
# ## 7.5 How much can be had for nothing?
#
# A puzzle teaches only what it takes to solve it. So ask of each puzzle what a fool would score.
#
# **Next sentences.** Count how many different words of B stand in A, too, and say "follows" if they are many. No order,
# no grammar. (Leave out the most frequent 100 tokens, which stand everywhere.)

# %%
counts = np.bincount(np.concatenate([shard.tokens for shard in corpus.shards]), minlength=len(tokenizer))
left_out = {*counts.argsort()[-100:].tolist(), *tokenizer.all_special_ids}
shared = []
for instance in every:
    whole = np.where(instance["labels"] != IGNORE, instance["labels"], instance["input_ids"])
    parts = [set(whole[instance["token_type_ids"] == part].tolist()) - left_out for part in (0, 1)]
    shared.append(len(parts[0] & parts[1]))
shared, labels = np.array(shared), np.array(labels)
scores = {least: float(((shared >= least) == (labels == 0)).mean()) for least in range(1, 6)}
print({f"at least {least} shared": f"{score:.1%}" for least, score in scores.items()})
best = max(scores.values())
assert best > 0.65

figure, axes = plt.subplots(figsize=(7, 3))
for label, name, colour in ((0, "B follows A", BLUE), (1, "B is random", ORANGE)):
    heights = np.bincount(shared[labels == label], minlength=8)[:8] / (labels == label).sum()
    axes.bar(np.arange(8) + 0.4 * label - 0.2, heights, 0.4, color=colour, label=name)
axes.set(xlabel="rare tokens that A and B share", ylabel="share of rows")
axes.legend()
show(figure, "Tokens shared by A and B: nine of ten rows with a random B share none, of the real pairs not half.")

# %% [markdown]
# *The picture:* to ask for one shared token is right in three of four rows; to say "random" always, in 55 % of them. So
# whoever can tell topics apart has most of the points, and need not know what follows from what. That is what was
# found of BERT, too: RoBERTa does as well or better without next sentences (Liu et al. 2019, table 2), and ALBERT asks
# for the *order* of two neighbours instead, which is no matter of topic (Lan et al. 2020, section 3.1).
#
# **Masked words.** A word of several pieces, of which only one is hidden, is nearly given away by the others. How often
# does that happen?

# %%
PIECE = "##"
vocabulary = [tokenizer.convert_ids_to_tokens(i) for i in range(len(tokenizer))]


def given_away(kind: str) -> float:
    """The share of chosen tokens next to which another piece of the same word was not chosen."""
    masking = Masking(tokenizer, kind, 0.15, 20)
    generator = np.random.default_rng(0)
    chosen = visible = 0
    for instance in every[:400]:
        whole = np.where(instance["labels"] != IGNORE, instance["labels"], instance["input_ids"])
        labels = masking(whole, generator)[1]
        tokens = [vocabulary[i] for i in whole]
        for place in np.flatnonzero(labels != IGNORE):
            before = tokens[place].startswith(PIECE) and labels[place - 1] == IGNORE
            after = tokens[place + 1].startswith(PIECE) and labels[place + 1] == IGNORE
            chosen += 1
            visible += before or after
    return visible / chosen


leaks = {kind: given_away(kind) for kind in ("token", "whole_word", "span")}
print({kind: f"{share:.1%}" for kind, share in leaks.items()})
assert leaks["token"] > 0.08
assert leaks["whole_word"] < 0.02

# %% [markdown]
# Whole-word masking hides all pieces of a word or none; what is left are words that were cut in two where a text was
# too long. (Google released it seven months after the first models: on the two tasks in its README, SQuAD and
# MultiNLI, the large models gain 0.4 to 2.4 points.) Span masking hides runs of words, which is harder still (Joshi et
# al. 2020).
#
# ## 7.6 What no puzzle asks for
#
# A model need not keep what no puzzle asks for. Masked words are asked for at their own places. Next sentences ask
# `[CLS]`, through the pooler, for the topic. Nobody asks the pooler *which words the text has*, and a classifier will
# read nothing but the pooler (chapter 9).
#
# So make a third puzzle: the head that guesses hidden words reads the pooler, too, and there its one guess is for all
# words of the text, the *bag of words* (after Ma et al. 2024, who ask at `[CLS]`; `pretrain --bag-of-words`). It needs
# no weights of its own. For a text with the words $b$ the loss is the mean of $-\ln p(b)$. On paper, for a guess of
# 1/2, 1/4, 1/8, 1/8 and a text of the second and the third word: $(\ln 4 + \ln 8) / 2 = 1.733$. Words that nearly every
# text has count less, and here nothing:

# %%
guess = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
weights = torch.tensor([0.0, 1.0, 1.0, 1.0])  # the first word is in nearly every text
text_ids = torch.tensor([1, 0, 2, 2])  # a word that occurs twice counts once
loss = bag_of_words_loss(guess, text_ids, torch.tensor([0, 4]), weights)
print(f"by hand: {loss:.3f}")
assert_close(loss, torch.tensor((math.log(4) + math.log(8)) / 2))

# %% [markdown]
# Two BERTs ship with the package, pretrained on the same texts. `minibert-tiny-uncased` was given the two old puzzles
# alone, so its head has never read a pooler; `minibert-mini-uncased`, which is three times as large and has read five
# times as much, was given this one, too, towards the end. What do they say of a text? In capitals: words that it has.

# %%
TEXTS = (
    "The river rose after the rain, and the old bridge was closed.",
    "A dull film with a brilliant actress.",
    "My doctor says that I should eat less sugar and walk more.",
    "The king and the queen of France lived in Paris.",
)
found = {}
for name in ("minibert-tiny-uncased", "minibert-mini-uncased"):
    shipped = BertTokenizer.from_pretrained(name)
    reader = BertForPreTraining.from_pretrained(name).eval()
    print(name)
    found[name] = 0
    for sample in TEXTS:
        encoded = shipped(sample, return_tensors="pt")
        with torch.no_grad():
            pooled = reader.bert(**encoded).pooler_output  # (1, hidden)
            guess = reader.mlm(pooled, reader.bert.embeddings.word_embeddings.weight)  # (1, hidden) -> (1, vocab)
        best = guess[0].topk(12).indices.tolist()
        there = [token_id in encoded["input_ids"][0].tolist() for token_id in best]
        words = shipped.convert_ids_to_tokens(best)
        print("   ", " ".join(word.upper() if here else word for word, here in zip(words, there, strict=True)))
        found[name] += sum(there)
print({name: f"{count} of {12 * len(TEXTS)} guesses stand in the texts" for name, count in found.items()})
assert found["minibert-mini-uncased"] > found["minibert-tiny-uncased"]

# %% [markdown]
# Who was never asked stammers. And where the other one is wrong, it is no accident: a river brings *flood* and *valley*
# along, a film *performance* and *critics*, France *napoleon* and a *palace*. The pooler has become a summary that one
# can read. What it is worth is told in `EXPERIMENTS.md`.
#
# ## Common mistakes
#
# 1. **Labels everywhere.** With labels at all tokens instead of -100 the model is asked mostly for what it sees:

# %%
model = BertForMaskedLM(small).eval()
ids = torch.randint(SYMBOLS, (64, 16))
asked = torch.rand(ids.shape) < 0.15
seen = ids.masked_fill(asked, MASK)
visible = (seen == ids).float().mean().item()
print(f"labels everywhere: {visible:.0%} of the answers stand in the question")
assert visible > 0.8

# %% [markdown]
# 2. **Labels of 0 for "not asked".** 0 is the id of `[PAD]`: the model learns to answer `[PAD]`. (Chapter 20 has the
#    sister of this one.)
# 3. **Masking `[CLS]` and `[SEP]`.** They are easy points, and the model loses its anchors. The statistics above assert
#    that this does not happen.
# 4. **The same masks in every epoch.** The model can learn them by heart. Of a corpus as small as ours it would:

# %%
places = [
    set(
        np.flatnonzero(
            mask_by_hand(np.array(tokenizer(sentence)["input_ids"]), np.random.default_rng(seed))[1] != IGNORE
        )
    )
    for seed in range(10)
]
print(f"one mask: {len(places[0])} tokens are ever asked for; ten masks: {len(set.union(*places))}")
assert len(set.union(*places)) > 2 * len(places[0])

# %% [markdown]
# 5. **A random B from the same document.** Then the label "random" is wrong or nearly so. Google's program draws again
#    up to ten times; the package never draws the same document.

# %%
documents_of_a = epoch.plan["document"]
drawn_blindly = np.random.default_rng(0).integers(len(corpus), size=len(epoch))
share = np.mean(documents_of_a == drawn_blindly)
print(f"drawn from all documents, {share:.1%} of the random texts are from A's own; of two documents it would be half")
assert share < 0.03

# %% [markdown]
# ## Experiments to try
#
# 1. Ask for 15, 40 and 80 % of the tokens (`masked_lm_prob`) in chapter 8. Wettig et al. (2023) found 40 % better than
#    15 % for large models.
# 2. In section 7.1 keep 10 % of the chosen tokens as they are. Where does the loss end? Compute it first. A tenth of
#    the chosen ones can be read off: what is visible is right. What changes if another tenth becomes random symbols?
# 3. Make "which of two neighbours comes first?" out of `Corpus`, and run the fool of section 7.5 on it.
#
# ## Questions
#
# <details><summary>Of 512 tokens, how many does BERT predict? GPT?</summary>
#
# BERT 15 %: 77. GPT all 512. That is one reason why BERT needs many steps.
# </details>
#
# <details><summary>The loss on masked words is 2.3. What is that in words?</summary>
#
# $e^{2.3} = 10$: as unsure as if it chose among 10 words with equal chances. This is called perplexity.
# </details>
#
# <details><summary>Why may the random replacement not be [CLS] or [MASK]?</summary>
#
# It would be a puzzle of another kind: special tokens stand at fixed places, and one elsewhere is known at once to be
# wrong. Google's program draws from the whole vocabulary; it is rare enough to do no harm.
# </details>
#
# <details><summary>Is a kept token (10 %) not the "visible" puzzle of section 7.1?</summary>
#
# Yes, but the model does not know which tokens are kept. A visible word that is asked for is right in half of the cases
# (10 % of 20 %), so it must weigh the word against its context.
# </details>
#
# ## Key points
#
# - To look both ways, BERT must hide what it asks for.
# - 15 % are chosen; 80/10/10 keeps the other places awake.
# - Only chosen tokens count, and only they need logits.
# - Next sentences are mostly a puzzle of topics.
# - What no puzzle asks for need not be kept: the pooler knows the words of a text if it is asked for them.
# - Ask what a fool would score, before you admire a model.
#
# **Code:** [`data/masking.py`](../minibert/data/masking.py) (`Masking`),
# [`data/instances.py`](../minibert/data/instances.py) (`plan_pairs`, `truncate_seq_pair`),
# [`heads.py`](../minibert/heads.py) (`masked_lm_loss`),
# [`training/bag_of_words.py`](../minibert/training/bag_of_words.py).
#
# **Papers:** Devlin et al. 2019, section 3.1 and appendix A.1; Liu et al. 2019, *RoBERTa*, section 4; Joshi et al.
# 2020, *SpanBERT*; Lan et al. 2020, *ALBERT*; Wettig et al. 2023, *Should You Mask 15% in Masked Language Modeling?*;
# Ma et al. 2024, *Drop your Decoder: Pre-training with Bag-of-Word Prediction for Dense Passage Retrieval*.
#
# Before: [6. The whole model](06_model.ipynb). Next: [8. Pretrain a BERT in minutes](08_pretrain.ipynb)
