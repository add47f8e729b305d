# %% [markdown]
# # 20. Debugging labs: six broken BERTs
#
# A wrong BERT rarely crashes. Shapes fit, the loss falls, a number comes out, and the number is a little too low. This
# chapter has six BERTs that are broken in ways in which people really break them. You get the symptom first; the code
# comes when you have an idea.
#
# **You will be able to**
#
# - find a fault from its symptom, with five checks that take a minute each;
# - say which faults no check can see without numbers from outside;
# - tell a model that trains from a model that is right;
# - write the test that would have caught each fault.
#
# **You need** chapters 3 to 6. **Time:** an hour and a half, if you really search; the cells run in a minute.
#
# **For teachers:** `python tutorials/build.py --holes DIR 20` writes a notebook without the solutions: what stands
# between `BEGIN SOLUTION` and `END SOLUTION` is left to the student, and the cell after it judges the result.

# %%
import copy
import inspect
import math

import broken
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from pictures import BLUE, GREY, VERMILION, grid, show
from torch import Tensor
from torch.testing import assert_close

from minibert import BertConfig, BertForPreTraining, BertForTokenClassification, trace
from minibert.attention import Attention, eager_attention
from minibert.losses import IGNORE
from minibert.model import BertBlock
from minibert.packing import Layout

# %% [markdown]
# ## 20.1 The patient
#
# Five of the labs share one healthy model. Its task: for each token, *how often does this symbol stand in the row?* (4
# means "4 or more".) Nothing but attention can answer that, and it has to weigh finely: three of the same are not four.
# Rows differ in length, so there is padding.
#
# | row | [CLS] | a | b | a | c | a |
# | --- | --- | --- | --- | --- | --- | --- |
# | answer | - | 3 | 1 | 3 | 1 | 3 |

# %%
PAD, CLS, FIRST, SYMBOLS, LONGEST = 0, 1, 2, 8, 12


def counting_batch(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    mask = (torch.arange(LONGEST) < torch.randint(5, LONGEST + 1, (rows, 1), generator=generator)).long()
    ids = torch.randint(FIRST, FIRST + SYMBOLS, (rows, LONGEST), generator=generator)
    ids[:, 0] = CLS
    ids = ids * mask + PAD * (1 - mask)
    counts = (ids[:, :, None] == ids[:, None, :]).sum(dim=-1).clamp(max=4)  # (batch, seq, seq) -> (batch, seq)
    return {"input_ids": ids, "attention_mask": mask, "labels": counts.masked_fill(ids < FIRST, -100)}


config = BertConfig(
    vocab_size=FIRST + SYMBOLS,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    max_position_embeddings=LONGEST,
    num_labels=5,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.1,
)


def fresh(attend: Attention = eager_attention) -> BertForTokenClassification:
    torch.manual_seed(0)
    model = BertForTokenClassification(config, "eager")
    model.bert.attend = attend
    return model


def train(model: BertForTokenClassification, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=steps)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(steps):
        loss = model.train()(**counting_batch(64, generator)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


TEST = counting_batch(400, torch.Generator().manual_seed(2))


@torch.no_grad()
def accuracy(model: BertForTokenClassification) -> float:
    asked = TEST["labels"] != -100
    return (model(**TEST).logits.argmax(dim=-1) == TEST["labels"])[asked].float().mean().item()


healthy = fresh()
losses = train(healthy, 500)
print(f"loss at the start {losses[0]:.2f}, at the end {sum(losses[-20:]) / 20:.3f}; accuracy {accuracy(healthy):.3f}")
assert accuracy(healthy) > 0.95

# %% [markdown]
# ## 20.2 Five checks
#
# You will reach for the debugger. Wait. A debugger shows numbers, and all numbers look plausible. Ask instead what
# must be true of *every* right BERT, whatever its weights, and test that:
#
# 1. **Do the weights add up?** Each row of attention probabilities has the sum 1, over real tokens alone.
# 2. **Does padding matter?** A row must get the same answers alone and beside a longer row.
# 3. **Does order matter?** Attention knows places only through position embeddings. Shuffle the tokens *and* their
#    position ids, and the answers must be shuffled with them, and else be the same.
# 4. **Is it equal to a reference**, with the same weights? If not: which is the *first* number that differs?
# 5. **Does it learn** what a small healthy one learns, and does its loss begin at $\ln(\text{classes})$?
#
# The first three need no second model. The fourth needs one, and is the sharpest: `minibert.trace` records every tensor
# that gets a name in a forward pass, with its line of code. Compare two traces name by name, and the fault lies between
# the last equal and the first different row.

# %%
BATCH = {name: tensor[:6] for name, tensor in TEST.items() if name != "labels"}


@torch.no_grad()
def sums_are_off(model: BertForTokenClassification) -> float:
    """How far a row of attention probabilities is from 1, at most."""
    probabilities = trace(model, **BATCH)["bert.blocks.0.attention.probabilities"]
    sums = (probabilities * BATCH["attention_mask"][:, None, None, :]).sum(dim=-1)  # -> (batch, heads, seq)
    asked = BATCH["attention_mask"][:, None, :].bool().expand_as(sums)
    return (sums[asked] - 1).abs().max().item()


@torch.no_grad()
def padding_changes(model: BertForTokenClassification) -> float:
    """How far the logits of a row alone are from those of the same row in a batch, at most."""
    together = model(**BATCH).logits
    differences = []
    for row, length in enumerate(BATCH["attention_mask"].sum(dim=1).tolist()):
        alone = model(BATCH["input_ids"][row : row + 1, :length]).logits
        differences.append((alone[0] - together[row, :length]).abs().max().item())
    return max(differences)


@torch.no_grad()
def order_changes(model: BertForTokenClassification) -> float:
    """How far the logits are from those of the same tokens, with the same positions, in another order."""
    ids = torch.randint(FIRST, FIRST + SYMBOLS, (6, LONGEST), generator=torch.Generator().manual_seed(3))
    positions = torch.arange(LONGEST)[None]
    shuffle = torch.randperm(LONGEST, generator=torch.Generator().manual_seed(4))
    straight = model(ids, position_ids=positions).logits[:, shuffle]
    shuffled = model(ids[:, shuffle], position_ids=positions[:, shuffle]).logits
    return (straight - shuffled).abs().max().item()


@torch.no_grad()
def first_difference(model: BertForTokenClassification, reference: BertForTokenClassification) -> str:
    """The first row of the trace that is not equal to that of the reference."""
    theirs = {}
    for row in trace(reference, **BATCH).rows:
        theirs.setdefault(row.name, []).append(row.tensor)
    for row in trace(model, **BATCH).rows:
        expected = theirs[row.name].pop(0) if theirs.get(row.name) else None
        if expected is not None and expected.is_floating_point():
            off = (row.tensor - expected).abs().max().item() if row.tensor.shape == expected.shape else math.inf
            if not off <= 1e-4:  # NaN, too
                return f"{row.name}, off by up to {off:.2g}\n    {row.where}  {row.code}"
    return "none"


CHECKS = {"sums off by": sums_are_off, "padding changes": padding_changes, "order changes": order_changes}
for name, check in CHECKS.items():
    print(f"{name:16} {check(healthy):.1e}")
    assert check(healthy) < 1e-4
assert first_difference(copy.deepcopy(healthy), healthy) == "none"

# %% [markdown]
# The healthy model passes. (Not with zeros: sums in another order are rounded differently. Around $10^{-6}$ to
# $10^{-5}$ is what float32 can do; a fault is rarely below $10^{-3}$.)
#
# ## 20.3 Lab 1: the loss that became zero
#
# *"I pretrain on masked words and next sentences. After a few steps the next-sentence loss is practically zero, so I
# looked forward to the accuracy. It is 50 %, which is what guessing gives."*
#
# Here is a toy of it. Symbols belong to one of two topics. B "follows" A if both are of one topic. One symbol in four
# is masked.

# %%
SEP, MASK, SYMBOL = 2, 3, 4


def pretraining_batch(rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    """[CLS] a a a a [SEP] b b b b [SEP]; labels are 0 where nothing is masked."""
    topics = torch.randint(2, (rows, 2), generator=generator)
    symbols = SYMBOL + 4 * topics.repeat_interleave(4, dim=1)  # (rows, 2) -> (rows, 8)
    symbols = symbols + torch.randint(4, symbols.shape, generator=generator)
    masked = torch.rand(symbols.shape, generator=generator) < 0.25
    labels = symbols * masked
    seen = symbols.masked_fill(masked, MASK)

    def framed(first: int, between: int, parts: Tensor) -> Tensor:
        """(rows, 8) -> (rows, 11)"""
        column = torch.ones(rows, 1, dtype=torch.long)
        return torch.cat([first * column, parts[:, :4], between * column, parts[:, 4:], between * column], dim=1)

    types = torch.tensor([0] * 6 + [1] * 5).expand(rows, 11)
    return {
        "input_ids": framed(CLS, SEP, seen),
        "token_type_ids": types,
        "labels": framed(0, 0, labels),
        "next_sentence_label": (topics[:, 0] != topics[:, 1]).long(),
    }


def pretrain(loss_function) -> tuple[list[float], float]:
    """The next-sentence losses, and the accuracy on new rows."""
    torch.manual_seed(0)
    model = BertForPreTraining(config.replace(vocab_size=12, num_hidden_layers=1, num_labels=2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(250):
        words_loss, sentence_loss = loss_function(model, pretraining_batch(64, generator))
        optimizer.zero_grad()
        (words_loss + sentence_loss).backward()
        optimizer.step()
        losses.append(sentence_loss.item())
    test = pretraining_batch(1000, generator)
    with torch.no_grad():
        logits = model.eval()(test["input_ids"], token_type_ids=test["token_type_ids"]).seq_relationship_logits
    answers = logits.argmax(dim=-1)
    print(f"loss {losses[-1]:.3f}, accuracy {(answers == test['next_sentence_label']).float().mean():.3f}")
    print(f"answers: {(answers == 0).sum()} times 'follows', {(answers == 1).sum()} times 'random'")
    return losses, (answers == test["next_sentence_label"]).float().mean().item()


broken_losses, broken_accuracy = pretrain(broken.pretraining_loss)
assert broken_losses[-1] < 0.02
assert broken_accuracy < 0.6

# %% [markdown]
# *Stop and think.* A loss of zero means: all answers right, and sure of it. An accuracy of a half means: half of them
# wrong. Both are measured on the same task. So they cannot have looked at the same rows.
#
# <details><summary>A hint</summary>
#
# The model always gives the same answer. Which rows would have taught it the other one?
# </details>

# %%
print(inspect.getsource(broken.pretraining_loss))

# %% [markdown]
# Write the loss anew, for the same batches. Then unfold: what was it?


# %%
def mended_loss(model: BertForPreTraining, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    # BEGIN SOLUTION
    output = model(batch["input_ids"], token_type_ids=batch["token_type_ids"])
    words = output.prediction_logits.flatten(0, 1)  # (batch, seq, vocab) -> (batch * seq, vocab)
    return (
        F.cross_entropy(words, batch["labels"].flatten(), ignore_index=0),
        F.cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"]),
    )
    # END SOLUTION


mended_losses, mended_accuracy = pretrain(mended_loss)
figure, axes = plt.subplots(figsize=(7, 3.3))
axes.plot(broken_losses, "--", color=VERMILION, label=f"broken: accuracy {broken_accuracy:.0%}")
axes.plot(mended_losses, color=BLUE, label=f"mended: accuracy {mended_accuracy:.0%}")
axes.axhline(math.log(2), color=GREY, linestyle=":")
axes.text(200, math.log(2) + 0.02, "ln 2: guessing")
axes.set(xlabel="step", ylabel="next-sentence loss", ylim=(0, 1))
axes.legend()
show(figure, "Next-sentence loss: the broken one drops to zero at once, the mended one stays at ln 2 and then falls.")
assert mended_accuracy > 0.95

# %% [markdown]
# *The picture:* the broken loss is the better looking one.
#
# <details><summary>What it was</summary>
#
# One criterion with `ignore_index=0` for both tasks. For words 0 means "not masked, do not count". For sentences 0 is
# a *class*: "B follows A". Half the rows were ignored, all others had the label 1, and "always 1" was perfect. A
# well-known implementation had this fault, and a next-sentence accuracy that stuck at 50 %.
# </details>
#
# **What would have caught it:** look at loss *and* accuracy. Ignore with a number that can be no class: -100, as the
# package and PyTorch do. And compare: the sum of your two losses must be what the package's model computes itself.

# %%
batch = pretraining_batch(64, torch.Generator().manual_seed(5))
model = BertForPreTraining(config.replace(vocab_size=12, num_hidden_layers=1, num_labels=2)).eval()
for_package = batch | {"labels": batch["labels"].masked_fill(batch["labels"] == 0, IGNORE)}
words_loss, sentence_loss = mended_loss(model, batch)
output = model(**for_package)
assert_close(words_loss + sentence_loss, output.loss)
assert_close(sentence_loss, F.cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"]))  # the second
print("both losses are the package's")

# %% [markdown]
# ## 20.4 Lab 2: right shapes, wrong answers
#
# For the next four labs a colleague has written attention anew. Your trained weights go into the model with that
# attention.
#
# *"It runs, and with your weights the accuracy is far lower. But when I train it from scratch, it learns!"*


# %%
def with_attention(attend: Attention) -> BertForTokenClassification:
    """The healthy weights with another attention."""
    model = copy.deepcopy(healthy)
    model.bert.attend = attend
    return model


def examine(model: BertForTokenClassification) -> dict[str, float]:
    findings = {name: check(model) for name, check in CHECKS.items()}
    print(f"accuracy {accuracy(model):.3f} (healthy: {accuracy(healthy):.3f})")
    for name, found in findings.items():
        print(f"{name:16} {found:.1e}  {'<- !' if found > 1e-3 else ''}")
    return findings


second = with_attention(broken.attention_of_lab_2)
found = examine(second)
assert found["sums off by"] > 0.1
assert accuracy(second) < 0.8

# %% [markdown]
# The first check has found something: weights of one query do not add up to 1. Then what does? Look at the matrix
# itself. Row: who asks. Column: who is looked at.

# %%
whole = torch.tensor([[CLS, 2, 3, 2, 4, 2]])
with torch.no_grad():
    maps = [trace(model, input_ids=whole)["bert.blocks.0.attention.probabilities"][0, 0] for model in (healthy, second)]
names = ["[CLS]", "a", "b", "a", "c", "a"]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for part, numbers, title in zip(axes, maps, ("healthy", "lab 2"), strict=True):
    grid(part, numbers, names, names, low=0, high=1)
    part.set(title=title, xlabel="looked at", ylabel="asks")
show(figure, "Attention of one head as two matrices: the healthy rows sum to one; in lab 2 the columns do.")
print("rows:   ", [f"{number:.2f}" for number in maps[1].sum(dim=1).tolist()])
print("columns:", [f"{number:.2f}" for number in maps[1].sum(dim=0).tolist()])
assert (maps[1].sum(dim=0) - 1).abs().max() < 1e-5

# %%
print(inspect.getsource(broken.attention_of_lab_2))

# %% [markdown]
# *The picture:* on the left each row sums to one, on the right each column.
#
# Write attention as it should be:


# %%
def written_out(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Attention as it should be. It mends labs 2 to 5."""
    # BEGIN SOLUTION
    query = queries.pad(query).transpose(1, 2)  # (queries, heads, head_dim) -> (batch, heads, query_seq, head_dim)
    key = keys.pad(key).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    value = keys.pad(value).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    scores = query @ key.mT / math.sqrt(query.shape[-1])  # -> (batch, heads, query_seq, seq)
    if keys.mask is not None:
        scores = scores.masked_fill(~keys.mask[:, None, None, :], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(dim=-1)
    return queries.pack((probabilities @ value).transpose(1, 2)), probabilities
    # END SOLUTION


difference = first_difference(with_attention(written_out), healthy)
assert difference == "none", difference
assert_close(with_attention(written_out)(whole).logits, healthy(whole).logits, atol=1e-4, rtol=1e-4)  # without padding
print("equal to the package's, at every named step")

# %% [markdown]
# <details><summary>What it was</summary>
#
# `softmax(dim=2)`. In (batch, heads, query, key) that is the axis of queries: they compete for each key, instead of
# keys for each query. Write `dim=-1`.
# </details>
#
# **What would have caught it:** one line, `probabilities.sum(-1)` is 1.
#
# ## 20.5 Lab 3: everything adds up, and it is wrong

# %%
third = with_attention(broken.attention_of_lab_3)
found = examine(third)
assert max(found.values()) < 1e-3
assert accuracy(third) < 0.8

# %% [markdown]
# All three checks pass, and yet more than a third of the answers are wrong. This fault is consistent with itself: every
# number is a possible attention. So take the reference.

# %%
print("first difference:", first_difference(third, healthy))
with torch.no_grad():
    ours, reference = (trace(model, **BATCH) for model in (third, healthy))
for name in ("query", "key", "value", "probabilities"):
    full = f"bert.blocks.0.attention.{name}"
    print(f"{name:14} off by up to {(ours[full] - reference[full]).abs().max():.3f}")
    assert torch.allclose(ours[full], reference[full], atol=1e-5) == (name != "probabilities")

# %% [markdown]
# Queries, keys and values are equal; probabilities are not. So the fault sits in one line, between them. Are they too
# sharp or too flat? The logarithm of a probability is its score, up to a constant that falls out in a difference:

# %%
scores = [each["bert.blocks.0.attention.probabilities"][0, 0, 1, :4].log() for each in (ours, reference)]
spreads = [each[1:] - each[0] for each in scores]
print("differences of scores:", *([f"{number:.3f}" for number in spread.tolist()] for spread in spreads))
print("ratio:", [f"{ratio:.3f}" for ratio in (spreads[0] / spreads[1]).tolist()])
assert torch.allclose(spreads[0] / spreads[1], torch.tensor(4.0), rtol=1e-2)

# %% [markdown]
# <details><summary>What it was</summary>
#
# A ratio of 4, always. Heads are 64 / 4 = 16 wide, and $\sqrt{16} = 4$: the division is missing.
# </details>

# %%
print(inspect.getsource(broken.attention_of_lab_3))

# %% [markdown]
# **What would have caught it:** nothing but comparison with a reference. This is why the package's tests hold recorded
# numbers of Google's code. Someone who trains from scratch may never notice: see section 20.9.
#
# ## 20.6 Lab 4: it learns a little

# %%
fourth = with_attention(broken.attention_of_lab_4)
found = examine(fourth)
assert found["order changes"] > 0.1
assert found["sums off by"] < 1e-3

# %% [markdown]
# Order matters, though positions travelled with their tokens. So a token's answer depends on its *row in the matrix*.
# Which tokens can it see at all? Change one token and watch where attention's answer changes. Through right attention a
# change reaches everyone.


# %%
@torch.no_grad()
def reached(model: BertForTokenClassification, changed: int) -> list[bool]:
    """Which places' context is another when the token at one place is another."""
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]])
    other = ids.clone()
    other[0, changed] = 9
    contexts = [trace(model, input_ids=each)["bert.blocks.0.attention.context"] for each in (ids, other)]
    return ((contexts[0] - contexts[1]).abs().flatten(1).amax(dim=1) > 1e-6).tolist()


figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for part, model, title in zip(axes, (healthy, fourth), ("healthy", "lab 4"), strict=True):
    reach = torch.tensor([reached(model, changed) for changed in range(8)])
    grid(part, reach.float(), decimals=None, low=0, high=1.4)
    part.set(title=title, xlabel="place where context changes", ylabel="place that was changed", aspect="equal")
show(figure, "Who is reached by a change: everyone in the healthy model; only pairs of neighbours in lab 4.")
assert reached(healthy, 0) == [True] * 8
assert reached(fourth, 0) == [True] * 2 + [False] * 6

# %% [markdown]
# *The picture:* in lab 4 places 0 and 1 see each other, 2 and 3, and so on. Eight tokens and four heads: each head
# holds two whole tokens. Now read the code, and mind the shapes *in order*.

# %%
print(inspect.getsource(broken.attention_of_lab_4))

# %% [markdown]
# <details><summary>What it was</summary>
#
# `reshape` from (batch, seq, heads, head_dim) to (batch, heads, seq, head_dim). The shape is the right one, but nothing
# has moved: `reshape` (and `view`) cuts the same row of numbers in other places. It takes a `transpose`. (Chapter 4,
# section 4.4.)
# </details>
#
# **What would have caught it:** the shuffle, or a sequence as long as you like with one token changed.
#
# ## 20.7 Lab 5: the answer depends on who else is in the batch
#
# *"The accuracy is as good as yours. But the same review gets one score in our service and another in our evaluation."*

# %%
fifth = with_attention(broken.attention_of_lab_5)
found = examine(fifth)
assert found["padding changes"] > 1e-2
assert found["order changes"] < 1e-3

# %% [markdown]
# Two checks ring, and they tell the same story: weights of real tokens do not add up to 1, and padding matters. Take
# the short row of the test on which it shows most, pad it more and more, and watch the score (the logit) of one right
# answer:


# %%
@torch.no_grad()
def right_answers(model: BertForTokenClassification, ids: Tensor, labels: Tensor) -> Tensor:
    """(batch, seq) -> (batch, seq): the scores of the right answers; 0 where nothing is asked."""
    scores = model(ids, attention_mask=(ids != PAD).long()).logits  # (batch, seq, labels)
    return scores.gather(2, labels.clamp(min=0)[..., None]).squeeze(2) * (labels >= 0)


SHORT = 5
short = TEST["attention_mask"].sum(dim=1) == SHORT
ids, labels = TEST["input_ids"][short], TEST["labels"][short]
alone, padded = right_answers(fifth, ids[:, :SHORT], labels[:, :SHORT]), right_answers(fifth, ids, labels)[:, :SHORT]
worst, place = divmod((alone - padded).abs().argmax().item(), SHORT)
print("ids", ids[worst, :SHORT].tolist(), "answers", labels[worst, 1:SHORT].tolist(), "place", place)
scores = {"healthy": [], "lab 5": []}
for padding in range(LONGEST - SHORT + 1):
    part = slice(worst, worst + 1), slice(0, SHORT + padding)
    for name, model in (("healthy", healthy), ("lab 5", fifth)):
        scores[name].append(right_answers(model, ids[part], labels[part])[0, place].item())
figure, axes = plt.subplots(figsize=(6.5, 3.2))
axes.plot(scores["healthy"], "o-", color=BLUE, label="healthy")
axes.plot(scores["lab 5"], "s--", color=VERMILION, label="lab 5")
axes.set(xlabel="paddings after the row", ylabel="score of the right answer")
axes.legend()
show(figure, "Score of the right answer against padding: level for the healthy model, moving with it in lab 5.")
assert max(scores["healthy"]) - min(scores["healthy"]) < 1e-4
assert max(scores["lab 5"]) - min(scores["lab 5"]) > 0.1

# %%
print(inspect.getsource(broken.attention_of_lab_5))

# %% [markdown]
# <details><summary>What it was</summary>
#
# The mask comes after softmax. Padding has already taken its share of the sum; setting it to zero leaves the rest too
# small. Mask the scores, before softmax.
# </details>
#
# **What would have caught it:** the same row alone and in company. Accuracy never would.
#
# ## 20.8 Lab 6: the checkpoint that does not suit
#
# *"I load your weights, strictly: every name and every shape fits. My accuracy is a hair below yours. Rounding, I
# suppose."*

# %%
sixth = copy.deepcopy(healthy)
for block in sixth.bert.blocks:
    block.__class__ = broken.BlockOfLab6
found = examine(sixth)
with torch.no_grad():
    off = (sixth(**BATCH).logits - healthy(**BATCH).logits).abs().max().item()
print(f"logits off by up to {off:.2f}")
print("first difference:", first_difference(sixth, healthy))
assert max(found.values()) < 1e-3
assert off > 0.1

# %% [markdown]
# Rounding is $10^{-5}$ here; this is more. No check of the model alone sees anything. But the first difference comes
# *early*: the embeddings are equal, and the first product in the first block is not. Its matrix is the same. So what
# went in was not:

# %%
with torch.no_grad():
    ours = trace(sixth, **BATCH)
    projected = sixth.bert.blocks[0].attention.query_key_value(ours["bert.embeddings"])
print(
    "query_key_value(embeddings) is what was computed:",
    torch.allclose(projected, ours["bert.blocks.0.attention.projected"]),
)
assert not torch.allclose(projected, ours["bert.blocks.0.attention.projected"])
print(inspect.getsource(broken.BlockOfLab6.forward))


# %%
class MendedBlock(BertBlock):
    def forward(self, hidden: Tensor, queries: Layout, keys: Layout, attend: Attention) -> tuple[Tensor, Tensor | None]:
        # BEGIN SOLUTION
        attended, probabilities = self.attention(hidden, queries, keys, attend)
        hidden = self.attention_norm(queries.select(hidden) + attended)
        return self.feed_forward_norm(hidden + self.feed_forward(hidden)), probabilities
        # END SOLUTION


for block in sixth.bert.blocks:
    block.__class__ = MendedBlock
with torch.no_grad():
    assert torch.allclose(sixth(**BATCH).logits, healthy(**BATCH).logits, atol=1e-5)
print(f"mended: accuracy {accuracy(sixth):.3f}")

# %% [markdown]
# <details><summary>What it was</summary>
#
# The norms stand before attention and feed-forward (pre-norm, as in GPT-2), not after the addition (post-norm, as in
# BERT). Both have the same parameters with the same names and shapes. A checkpoint does not say which it was made for.
# </details>
#
# A smaller sister of this fault is the wrong `eps` in LayerNorm: PyTorch's default is $10^{-5}$, BERT's $10^{-12}$. How
# much is that?

# %%
with torch.no_grad():
    other = copy.deepcopy(healthy)
    for module in other.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    off = (other(**BATCH).logits - healthy(**BATCH).logits).abs().max().item()
print(f"eps 1e-5 instead of 1e-12: logits off by up to {off:.1e}; accuracy {accuracy(other):.3f}")
assert 1e-6 < off < 1e-2

# %% [markdown]
# Hardly anything, and no accuracy will show it. A parity test with a tolerance of $10^{-5}$ does; one with $10^{-2}$
# does not. Where the numbers *before* the norm are small, it grows: the variance is then no longer large beside `eps`.
#
# ## 20.9 Who catches what
#
# The four attentions against all checks. The last two columns: accuracy with the healthy weights, and accuracy after
# training from scratch, 300 steps. Before you run it, guess the last column.

# %%
ATTENTIONS = {
    "2 softmax axis": broken.attention_of_lab_2,
    "3 no root": broken.attention_of_lab_3,
    "4 reshape": broken.attention_of_lab_4,
    "5 late mask": broken.attention_of_lab_5,
}
caught, loaded, learnt = {}, {}, {}
for name, attend in {"healthy": eager_attention, **ATTENTIONS}.items():
    model = with_attention(attend)
    caught[name] = [check(model) > 1e-3 for check in CHECKS.values()]
    caught[name].append(first_difference(model, healthy) != "none")
    loaded[name] = accuracy(model)
    model = fresh(attend)
    train(model, 300)
    learnt[name] = accuracy(model)
    print(f"{name:16} loaded {loaded[name]:.2f}, trained from scratch {learnt[name]:.2f}")

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), width_ratios=[4, 2])
labels = list(caught)
grid(
    axes[0],
    torch.tensor(list(caught.values())).float(),
    labels,
    ["sums", "padding", "order", "reference"],
    decimals=None,
)
for row, line in enumerate(caught.values()):
    for column, hit in enumerate(line):
        axes[0].text(column, row, "caught" if hit else "-", ha="center", va="center", color="white" if hit else "black")
grid(
    axes[1],
    torch.tensor([[loaded[name], learnt[name]] for name in labels]),
    [""] * 5,
    ["loaded", "trained"],
    low=0,
    high=1.2,
)
axes[1].set_title("accuracy")
axes[0].set_title("check")
show(figure, "A table of faults and checks: only the comparison with a reference catches all of them.")
assert [line[3] for line in caught.values()] == [False, True, True, True, True]
assert caught["3 no root"][:3] == [False] * 3
assert learnt["2 softmax axis"] > 0.8
assert learnt["4 reshape"] < 0.7

# %% [markdown]
# *The picture:* the reference catches everything. And the last column should worry you: a softmax over the wrong axis
# *learns this task*, and so does attention without the root. (Weights that need not add up to 1 make attention a sum
# instead of an average, which may even suit a task of counting.) "It trains" is no proof that a model is what you think
# it is. It is then another model, which cannot use anybody's weights, and whose success on your toy says nothing about
# the next task.
#
# ## Common mistakes
#
# - **Reading code first.** You wrote it; you will read what you meant. Measure first, until one line is left.
# - **Tolerances by feel.** With `atol=1e-2` labs 3 and 6 would still be caught here; the wrong `eps` would not. In
#   float64 a right implementation agrees to $10^{-10}$: test there.
# - **Testing with one row, without padding.** Lab 5 passes every such test:

# %%
with torch.no_grad():
    single = torch.tensor([[CLS, 2, 3, 2, 4, 2]])
    off = (fifth(single).logits - healthy(single).logits).abs().max().item()
print(f"lab 5 on one row without padding: off by {off:.1e}")
assert off < 1e-4

# %% [markdown]
# - **Mending two things at once.** If it then works, you do not know what was wrong.
#
# ## Experiments to try
#
# 1. Plant a seventh fault for your neighbour: position ids that begin at 1; token types never passed on; a key and a
#    value swapped; dropout left on. Which check finds it?
# 2. Make all checks in float64 and lower the threshold to $10^{-9}$. Does a healthy model still pass?
# 3. Overfit 8 rows with each broken attention. Which of them cannot do even that?
#
# ## Questions
#
# <details><summary>Loss at the start is 5.3, with 5 classes. What is wrong?</summary>
#
# It should be near $\ln 5 = 1.61$. The fresh model is sure of wrong answers: its weights are too large, or what it
# hands to `cross_entropy` are no plain logits. (Ours began at 2.11, with its large `initializer_range`: look there.)
# </details>
#
# <details><summary>Two runs with one seed give different losses. Where do you look?</summary>
#
# At everything random that the seed does not reach: the order of the data, workers, dropout on a GPU, a set whose order
# differs between processes. A fault that cannot be repeated cannot be searched, so mend this one first.
# </details>
#
# <details><summary>Why compare at the first difference, and not where the difference is largest?</summary>
#
# What comes after the fault inherits it and may enlarge or hide it. Only at the first difference are inputs equal and
# outputs not.
# </details>
#
# <details><summary>Check 3 shuffles tokens with their positions. What would shuffling tokens alone test?</summary>
#
# The opposite: whether the model uses positions at all. Answers should then change, for a task that cares for order.
# </details>
#
# ## Key points
#
# - Ask what must be true of every right model: weights add up, padding does not matter, order travels with positions.
# - Some faults are consistent with themselves. Only numbers from outside find those.
# - Search for the first difference.
# - Loss and accuracy must tell the same story.
# - A broken model may train well. That it learns is no test.
#
# **Code:** [`tracing.py`](../minibert/tracing.py) (`trace`), [`attention/eager.py`](../minibert/attention/eager.py)
# (`eager_attention`), [`losses.py`](../minibert/losses.py) (`IGNORE`), [`broken.py`](broken.py).
#
# **Papers:** Devlin et al. 2019, appendix A.2; Xiong et al. 2020, *On Layer Normalization in the Transformer
# Architecture*.
#
# Before: [19. From a folder to a service](19_service.ipynb)
