# %% [markdown]
# # 16. Padding is waste
#
# Sentences differ in length; tensors are rectangles. So the usual batch is filled up with padding, computed with, and
# thrown away. This chapter counts that waste, removes it, proves that nothing else changed, and measures what was
# gained.
#
# **You will be able to**
#
# - say which share of a batch is padding, on paper and for real lengths;
# - pack a batch into one matrix and back, and write the index arithmetic yourself;
# - prove that packing changes no answer;
# - group sentences by length, and say what that costs in randomness;
# - time two programs fairly on a machine that does other things too.
#
# **You need** chapters 4 and 6. **Time:** 45 minutes to read; the cells run in under half a minute.

# %%
import inspect
import random
import statistics

import matplotlib.pyplot as plt
import numpy as np
import torch
from pictures import BLUE, GREEN, ORANGE, VERMILION, grid, show
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from minibert import BertConfig, BertModel, PackedBatch
from minibert.attention import eager_attention, get_attention
from minibert.benchmarks.lengths import SST2_COUNTS, SST2_SHORTEST, sst2_lengths
from minibert.benchmarks.measure import take_turns
from minibert.data.batches import length_grouped_batches
from minibert.packing import Layout

# %% [markdown]
# ## 16.1 How much is padding?
#
# Three sentences of 3, 4 and 9 tokens. The rectangle has 3 rows of 9, so 27 places. Real are 3 + 4 + 9 = 16. The
# other 11 are padding: 41 %. The longest sentence alone decides how wide the rectangle is.


# %%
def share_of_padding(lengths: list[int]) -> float:
    return 1 - sum(lengths) / (len(lengths) * max(lengths))


print(f"{share_of_padding([3, 4, 9]):.3f}")
assert abs(share_of_padding([3, 4, 9]) - 11 / 27) < 1e-12

# %% [markdown]
# What about real sentences? The package keeps the lengths of all 67,349 training texts of SST-2 (film reviews and
# phrases from them, as tokens of BERT's vocabulary). A batch of 32 is 32 draws from it:

# %%
torch.manual_seed(0)
lengths_of_all = np.repeat(np.arange(SST2_SHORTEST, SST2_SHORTEST + len(SST2_COUNTS)), SST2_COUNTS)
batches = [sst2_lengths(32, seed) for seed in range(1000)]
longest = statistics.mean(max(batch) for batch in batches)
padding_at_random = statistics.mean(share_of_padding(batch) for batch in batches)
print(f"{len(lengths_of_all):,} texts, mean {lengths_of_all.mean():.1f} tokens, median {np.median(lengths_of_all):.0f}")
print(f"the longest of 32 has {longest:.1f} on average, and {padding_at_random:.1%} of the places are padding")
print(f"filled up to 128, as many scripts do: {1 - lengths_of_all.mean() / 128:.1%}")
assert abs(lengths_of_all.mean() - 13.3) < 0.1
assert 0.6 < padding_at_random < 0.7

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
axes[0].bar(np.arange(SST2_SHORTEST, SST2_SHORTEST + len(SST2_COUNTS)), SST2_COUNTS, color=BLUE)
axes[0].axvline(lengths_of_all.mean(), color=VERMILION, linestyle="--")
axes[0].text(lengths_of_all.mean() + 1, 5500, "mean", color=VERMILION)
axes[0].axvline(longest, color=GREEN, linestyle=":")
axes[0].text(longest + 1, 5500, "longest of 32", color=GREEN)
axes[0].set(xlabel="tokens", ylabel="texts in SST-2")
lengths = torch.tensor(batches[0])
rectangle = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)  # (seq) -> (batch, seq)
axes[1].imshow(rectangle, cmap="Blues", vmin=-0.1, vmax=1.4, aspect="auto", interpolation="nearest")
axes[1].set(xlabel="place", ylabel="row", title=f"one batch: {share_of_padding(batches[0]):.0%} padding (pale)")
show(figure, "Left: most texts are short, with a long tail. Right: a batch of 32 rows, most of it pale padding.")

# %% [markdown]
# *The picture:* most texts are short, and in nearly every batch there is a long one. In this batch three fifths of the
# rectangle hold nothing, on average two thirds.
#
# ## 16.2 Pack it
#
# Chapter 6 showed the way out: everything in BERT except attention looks at one token at a time. So lay all real
# tokens into one matrix, one sentence after the other, and note where each begins: 0, 3, 7, and 16 where the last one
# ends. This running sum of the lengths is called `cu_seqlens`. Two functions do the work:

# %%
print(inspect.getsource(Layout.pack))
print(inspect.getsource(Layout.pad))

# %% [markdown]
# ### Build it yourself
#
# By hand, for a mask with a hole (padding need not be at the end). Number the places of the rectangle row by row; keep
# the numbers of those where the mask is 1:
#
# ```text
# 1 1 0 1        0  1  2  3
# 1 0 0 0   of   4  5  6  7   ->  indices 0 1 3 4,  lengths 3 1,  cu_seqlens 0 3 4
# ```


# %%
def own_layout(mask: torch.Tensor) -> tuple[list[int], list[int]]:
    """(batch, seq) -> the places of the tokens, and where each row begins, in plain Python"""
    # BEGIN SOLUTION
    indices, starts = [], [0]
    for row, line in enumerate(mask.tolist()):
        indices += [row * len(line) + place for place, real in enumerate(line) if real]
        starts.append(len(indices))
    return indices, starts
    # END SOLUTION


mask = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
assert own_layout(mask) == ([0, 1, 3, 4], [0, 3, 4]), own_layout(mask)
for _ in range(100):
    mask = torch.rand(5, 7) < 0.6
    mask[0, 0] = False  # never all True, or there would be no list of indices
    layout = Layout.from_mask(mask)
    assert own_layout(mask) == (layout.indices.tolist(), layout.cu_seqlens.tolist()), mask
    values = torch.randn(5, 7, 3)
    assert_close(layout.pad(layout.pack(values)), values * mask.unsqueeze(-1))  # there and back: padding is zero
print("100 random masks: the same places, the same starts; there and back loses only padding")

# %% [markdown]
# ### Who may look at whom
#
# In attention, the sentences must not meet. Picture the packed batch as *one* long sentence: then the matrix of
# scores is as wide as all tokens, and what is allowed are blocks along its diagonal, one a sentence. Prove it: take
# attention over the long row with such a mask, and compare with the package's attention for packed sentences.

# %%
lengths = [3, 4, 9]
layout = Layout.from_mask(torch.arange(9) < torch.tensor(lengths).unsqueeze(1))
sentence = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))  # which sentence each token is in: (tokens)
allowed = sentence.unsqueeze(0) == sentence.unsqueeze(1)  # (1, tokens), (tokens, 1) -> (tokens, tokens)
query, key, value = torch.randn(3, 16, 2, 8)  # (tokens, heads, head_dim) each


def one_long_row(allowed: torch.Tensor | None) -> torch.Tensor:
    """Attention over all 16 tokens as one row -> (tokens, heads, head_dim)"""
    heads_first = [tensor.transpose(0, 1) for tensor in (query, key, value)]  # -> (heads, tokens, head_dim)
    context = torch.nn.functional.scaled_dot_product_attention(*heads_first, attn_mask=allowed)
    return context.transpose(0, 1)


packed, _ = get_attention("packed")(query, key, value, layout, layout, 0.0)
assert_close(one_long_row(allowed), packed)
assert_close(eager_attention(query, key, value, layout, layout)[0], packed)
off = (one_long_row(None) - packed).abs().max().item()
print(f"with the blocks: equal. Without: strangers look at each other, and answers are off by up to {off:.1f}")
assert off > 0.1

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), width_ratios=[16, 29])
grid(axes[0], allowed.float(), decimals=None, low=0, high=1.3)
axes[0].set(title=f"packed: {int(allowed.sum())} scores", xlabel="key", ylabel="query", aspect="equal")
squares = torch.zeros(9, 29)
for number, length in enumerate(lengths):
    squares[:, 10 * number : 10 * number + 9] = 0.25
    squares[:length, 10 * number : 10 * number + length] = 1
grid(axes[1], squares, decimals=None, low=0, high=1.3)
axes[1].set(title="padded: 3 · 9 · 9 = 243 scores", xlabel="key, for each of the three sentences", aspect="equal")
axes[0].set(xticks=range(0, 16, 3), yticks=range(0, 16, 3))
axes[1].set(xticks=[])
show(figure, "Left: three dark squares of 3, 4 and 9 along a diagonal. Right: three squares of 9, mostly pale padding.")
assert allowed.sum() == 3**2 + 4**2 + 9**2 == 106

# %% [markdown]
# *The picture:* dark is what must be computed: $3^2 + 4^2 + 9^2 = 106$ scores. The rectangle computes 243.
#
# Nobody builds the left matrix in full: the white would be waste again. A *kernel* (a program for one task, here all of
# attention, that runs on the chip without coming back to Python) for packed sentences gets `cu_seqlens` and walks from
# block to block (chapter 17). On a CPU the package loops over the sentences, or takes the rectangle for this one step
# where that is faster.
#
# ## 16.3 Does anything change?
#
# It must not. Compare the package with the usual way: everything on the rectangle, and a mask in attention. We can
# have the usual way from the same parts, with a layout that calls *every* place a token and leaves it to the mask to
# hide padding:


# %%
def padded_batch(lengths: list[int], ids: list[list[int]]) -> PackedBatch:
    """A batch that is computed on the whole rectangle: the usual way."""
    rows, seq = len(lengths), max(lengths)
    mask = torch.arange(seq) < torch.tensor(lengths).unsqueeze(1)  # (seq) -> (batch, seq)
    rectangle = torch.zeros(rows, seq, dtype=torch.long)
    rectangle[mask] = torch.tensor([token for row in ids for token in row])
    starts = torch.arange(0, rows * seq + 1, seq, dtype=torch.int32)
    everything = Layout(rows, seq, starts, mask)  # no indices: nothing is left out
    positions = torch.arange(seq).repeat(rows)  # (seq) -> (batch * seq)
    flat = rectangle.flatten()
    return PackedBatch(flat, torch.zeros_like(flat), positions, everything, everything.first_tokens())


config = BertConfig(hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=1024, vocab_size=500)
packed_model = BertModel(config, attn_implementation="packed").eval()
padded_model = BertModel(config, attn_implementation="sdpa").eval()
padded_model.load_state_dict(packed_model.state_dict())
lengths = batches[0]
ids = [torch.randint(1, 500, (length,)).tolist() for length in lengths]
with torch.no_grad():
    packed_way = packed_model.encode(PackedBatch.from_sequences(ids))
    padded_way = padded_model.encode(padded_batch(lengths, ids))
real = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).flatten()  # -> (batch * seq)
print("rows that are computed: packed", len(packed_way.last_hidden_state), "padded", len(padded_way.last_hidden_state))
assert_close(packed_way.last_hidden_state, padded_way.last_hidden_state[real], atol=1e-5, rtol=1e-4)
assert_close(packed_way.pooler_output, padded_way.pooler_output, atol=1e-5, rtol=1e-4)
gap = (packed_way.last_hidden_state - padded_way.last_hidden_state[real]).abs().max().item()
print(f"largest difference at real tokens: {gap:.0e}")
with torch.no_grad():
    alone = packed_model.encode(PackedBatch.from_sequences(ids[:1]))
assert_close(alone.last_hidden_state, packed_way.last_hidden_state[: lengths[0]], atol=1e-5, rtol=1e-4)

# %% [markdown]
# What is left is rounding: sums in another order. The last check says something that is not obvious, and that users
# rely on: a sentence's answer does not depend on which others are in its batch.
#
# ## 16.4 What is saved, in arithmetic
#
# From chapter 4: a block costs $24 H^2$ FLOPs a token in its linear layers, and $4 H$ for each score. On paper, for
# the batch of 3, 4 and 9 and $H = 256$: packed $16 \cdot 24 \cdot 256^2 + 106 \cdot 4 \cdot 256 = 25.3$ million;
# padded $27 \cdot 24 \cdot 256^2 + 243 \cdot 4 \cdot 256 = 42.7$ million. Nearly all of it is in the linear layers, so
# the gain is the ratio of places to tokens, $27/16 = 1.69$, and a little more. PyTorch counts along:


# %%
def flops(model: BertModel, batch: PackedBatch) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        hidden = model.embeddings(batch)
        for block in model.blocks:
            hidden, _ = block(hidden, batch.layout, batch.layout, model.attend)
    return counter.get_total_flops() // len(model.blocks)


# In float64: of the float32 products that some processors leave to oneDNN the counter sees nothing.
eager_model = BertModel(config, attn_implementation="eager").eval().double()
three = [3, 4, 9]
small_ids = [torch.randint(1, 500, (length,)).tolist() for length in three]
counted = flops(eager_model, padded_batch(three, small_ids))
print(f"padded, on paper {27 * 24 * 256**2 + 243 * 4 * 256:,}, counted {counted:,}")
assert counted == 27 * 24 * 256**2 + 243 * 4 * 256


def flops_on_paper(lengths: list[int], hidden: int, padded: bool) -> int:
    tokens, scores = sum(lengths), sum(length**2 for length in lengths)
    if padded:
        tokens, scores = len(lengths) * max(lengths), len(lengths) * max(lengths) ** 2
    return 24 * tokens * hidden**2 + 4 * scores * hidden


saved = statistics.mean(flops_on_paper(batch, 256, True) / flops_on_paper(batch, 256, False) for batch in batches)
print(f"batches of 32 from SST-2: the rectangle takes {saved:.2f} times the arithmetic")
assert 2.5 < saved < 3.5

# %% [markdown]
# ## 16.5 Or choose who sits together
#
# Another way to have little padding: put sentences of similar length into the same batch. If 3, 4, 9 and 3, 5, 8 are
# to make two batches of three, then 3, 3, 4 and 5, 8, 9 have 2 and 5 paddings; 3, 4, 9 and 3, 5, 8 have 11 and 8.
#
# Sorting all data by length would be the least padding of all, and bad training: every epoch would show the same
# batches. So the package shuffles, cuts the shuffled data into stretches of 50 batches, sorts within each stretch,
# and shuffles the batches:

# %%
print(inspect.getsource(length_grouped_batches))
random.seed(0)
all_lengths = lengths_of_all.tolist()
random.shuffle(all_lengths)


def padding_of(batches: list[list[int]]) -> float:
    """Over all batches together, so that wide ones count more."""
    places = sum(len(batch) * max(all_lengths[index] for index in batch) for batch in batches)
    return 1 - sum(all_lengths[index] for batch in batches for index in batch) / places


grouped = length_grouped_batches(all_lengths, 32, seed=0, epoch=0)
in_order = [list(range(start, min(start + 32, len(all_lengths)))) for start in range(0, len(all_lengths), 32)]
shares = {"random": padding_of(in_order), "grouped": padding_of(grouped)}
print({name: f"{share:.1%}" for name, share in shares.items()})
assert sorted(index for batch in grouped for index in batch) == list(range(len(all_lengths)))
assert shares["random"] > 0.6
assert shares["grouped"] < 0.06

# %% [markdown]
# Hardly any padding is left. So why pack at all? Because grouping is not always possible (a service must answer
# whoever comes), because its batches have very different numbers of tokens, and because it takes some of the chance
# out of training. How much? Look at two things.
#
# **Who meets whom.** Take two neighbours in a batch, which are of equal length or nearly so. How often do they share a
# batch in the next epoch, too? By chance it is 31 times in 67,348.
#
# **What a batch looks like.** If a label depends on length, as it does in many data sets, then a batch of short
# texts has other labels than a batch of long ones, and gradients swing. Suppose that texts of more than 13 tokens are
# positive 7 times in 10, others 3 in 10. How much does the share of positive labels then differ between batches of 32?
# Here is its standard deviation:

# %%
partners = [{}, {}]
for epoch in (0, 1):
    for number, batch in enumerate(length_grouped_batches(all_lengths, 32, seed=0, epoch=epoch)):
        partners[epoch] |= dict.fromkeys(batch, number)
pairs = [(batch[first], batch[first + 1]) for batch in grouped for first in range(len(batch) - 1)]
again = statistics.mean(partners[1][one] == partners[1][other] for one, other in pairs)
print(f"neighbours that share a batch again in the next epoch: {again:.2%} (by chance {31 / 67_348:.2%})")
assert again < 0.02

generator = np.random.default_rng(0)
labels = generator.random(len(all_lengths)) < np.where(np.array(all_lengths) > 13, 0.7, 0.3)
deviations = {
    name: np.std([labels[batch].mean() for batch in batches if len(batch) == 32])
    for name, batches in (("random", in_order), ("grouped", grouped))
}
print("standard deviation of the share of positive labels:", {name: f"{d:.3f}" for name, d in deviations.items()})
assert abs(deviations["random"] - (0.5 * 0.5 / 32) ** 0.5) < 0.02
assert deviations["grouped"] > 1.8 * deviations["random"]

# %% [markdown]
# The company changes from epoch to epoch. But batches are less alike than chance would make them, wherever the label
# has to do with length. Two things soften it: batches come in random order, so the swings average out over some
# steps; and a longer accumulation (chapter 18) averages within a step.
#
# Packing has no such side effect. On a rectangle, grouping is worth it; with packing, you may choose freely.
#
# ## 16.6 Measured
#
# Arithmetic is not time. Take the same random batch of 32 sentences padded and packed; both again with one long text
# of 128 tokens thrown in; and a grouped batch of about as many tokens, packed. How do you time them on a machine that
# does other things as well? The package's `take_turns` runs each candidate once in every round, every second round in
# the opposite order, so that a slow moment hits all alike. You then compare *within* rounds and take the median of the
# ratios. And the first round does not count.

# %%
print(inspect.getsource(take_turns))


def learn_once(model: BertModel, batch: PackedBatch) -> None:
    """Forward and backward, as in training."""
    model.zero_grad()
    model.encode(batch).last_hidden_state.square().mean().backward()


def batch_of(length: int, rows: int) -> list[list[int]]:
    return [torch.randint(1, 500, (length,)).tolist() for _ in range(rows)]


one_long = [*ids, *batch_of(128, 1)]
alike = batch_of(round(sum(lengths) / len(lengths)), len(lengths))
ways = {
    "padded, one long": (padded_model, padded_batch([*lengths, 128], one_long)),
    "packed, one long": (packed_model, PackedBatch.from_sequences(one_long)),
    "padded": (padded_model, padded_batch(lengths, ids)),
    "packed": (packed_model, PackedBatch.from_sequences(ids)),
    "packed, grouped": (packed_model, PackedBatch.from_sequences(alike)),
}
seconds = take_turns(
    {name: lambda model=model, batch=batch: learn_once(model, batch) for name, (model, batch) in ways.items()}, rounds=7
)
faster = {
    name: statistics.median(one / other for one, other in zip(seconds["padded"], times, strict=True))
    for name, times in seconds.items()
}
for name, times in seconds.items():
    rows = len(ways[name][1].input_ids)
    print(f"{name:17} {rows:>5} rows {1e3 * statistics.median(times):>7.1f} ms, {faster[name]:.2f} times as fast")
assert faster["packed"] > 1.5
assert faster["padded, one long"] < 0.8
assert faster["packed, one long"] > 1.2

figure, axes = plt.subplots(figsize=(8, 3))
medians = [1e3 * statistics.median(times) for times in seconds.values()]
bars = axes.barh(list(seconds), medians, color=[ORANGE if name.startswith("padded") else BLUE for name in seconds])
axes.bar_label(bars, [f"{number:.0f} ms" for number in medians], padding=4)
axes.invert_yaxis()
axes.set(xlabel="milliseconds to learn from the batch once (median of 7)", xlim=(0, max(medians) * 1.15))
show(
    figure, "Bars: padded with one long text takes by far the longest, then padded; the three packed ways are shorter."
)

# %% [markdown]
# *The picture:* on a rectangle, a single text of 128 tokens makes all others as dear as itself (first bar). Packed, it
# costs what it costs (second).
#
# The gain in time need not equal the ratio of FLOPs: packing itself takes a little, and small matrices use the
# machine less well than large ones. `python -m minibert.bench attention` measures attention alone, for several
# shapes of batches.
#
# ## 16.7 Common mistakes, shown breaking
#
# **The mean over the rectangle.** A sentence's vector is often the mean of its tokens' vectors. The package fills
# padding with zeros; averaged over the whole row, these shrink the answer, the more padding there is.

# %%
input_ids = torch.tensor([[2, 11, 12, 3, 0, 0, 0, 0]])
attention_mask = (input_ids != 0).long()
with torch.no_grad():
    hidden = packed_model(input_ids, attention_mask=attention_mask).last_hidden_state
wrong = hidden.mean(dim=1)  # (batch, seq, hidden) -> (batch, hidden)
right = hidden.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True)  # (batch, seq, hidden) -> (batch, hidden)
print(f"half of the row is padding, and the mean is {(wrong.norm() / right.norm()).item():.2f} times as long")
assert_close(wrong, right / 2)

# %% [markdown]
# **Positions that go on counting.** Packed by hand with `arange` over all tokens, the second sentence begins at
# position 4, and beyond position 511 there is nothing to look up. Positions start again in each sentence:

# %%
batch = PackedBatch.from_sequences([[2, 11, 12, 3], [2, 21, 3]])
print("positions", batch.position_ids.tolist())
assert batch.position_ids.tolist() == [0, 1, 2, 3, 0, 1, 2]
counting_on = PackedBatch(batch.input_ids, batch.token_type_ids, torch.arange(7), batch.layout, batch.cls_layout)
with torch.no_grad():
    good, bad = (packed_model.encode(way).last_hidden_state for way in (batch, counting_on))
assert_close(good[:4], bad[:4])
print(f"the first sentence is right, the second is off by up to {(good[4:] - bad[4:]).abs().max():.2f}")
assert (good[4:] - bad[4:]).abs().max() > 0.01

# %% [markdown]
# **No walls.** Packed, but attention over everything: section 16.2 showed it. Some programs do this on purpose in
# pretraining, joining texts into full rows of 512 tokens, and leave it to the model to learn who is a stranger (Krell
# et al. 2021 discuss what that costs).
#
# ## Experiments to try
#
# 1. Draw batches of 8 and of 256 in section 16.1. How does the share of padding grow with the batch, and why?
# 2. Set `STRETCH` to 1, 10, 1000 (write `length_grouped_batches` out again with a parameter). Plot padding against
#    the share of neighbours that meet again.
# 3. Time section 16.6 with `hidden_size=64`, and with lengths that are all 32. Where does packing stop paying?
#
# ## Questions
#
# <details><summary>All sentences have the same length. What does packing cost?</summary>
#
# Nearly nothing: `Layout.from_mask` notices that there is no padding and keeps no indices. `pack` and `pad` are then
# reshapes, which move no numbers.
# </details>
#
# <details><summary>Why does the length of the longest of 32 matter more than the mean?</summary>
#
# The rectangle is as wide as its longest row. The mean of a maximum grows with the number of draws, the mean of the
# lengths does not. So larger batches have more padding.
# </details>
#
# <details><summary>Does padding cost memory, too?</summary>
#
# Yes, in the same ratio: every layer keeps its inputs for the backward pass, (batch · seq, hidden) of them instead of
# (tokens, hidden).
# </details>
#
# <details><summary>A row of the mask has no token at all. What comes out?</summary>
#
# Zeros. Packed, the row has no tokens, so nothing is computed for it, and there is no softmax over nothing that could
# give NaN (chapter 4).
# </details>
#
# ## Key points
#
# - The longest row sets the width. For batches of 32 from SST-2, two thirds of the rectangle are padding.
# - Packed, a batch is (tokens, hidden) and `cu_seqlens`; only attention needs to look at the latter.
# - It is exact: the same answers, whoever is in the batch.
# - Grouping by length saves as much on a rectangle, and takes some chance out of the batches.
# - Time in turns, compare within rounds, take medians.
#
# **Code:** [`packing.py`](../minibert/packing.py) (`Layout`, `PackedBatch`),
# [`attention/packed.py`](../minibert/attention/packed.py) (`packed_attention`),
# [`data/batches.py`](../minibert/data/batches.py) (`length_grouped_batches`),
# [`benchmarks/measure.py`](../minibert/benchmarks/measure.py) (`take_turns`).
#
# **Papers:** Krell et al. 2021, *Efficient Sequence Packing without Cross-contamination*; Zhai et al. 2022,
# *ByteTransformer*; Portes et al. 2023, *MosaicBERT*.
#
# Before: [15. Looking inside](15_looking_inside.ipynb). Next: [17. Flash attention](17_flash_attention.ipynb)
