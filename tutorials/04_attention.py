# %% [markdown]
# # 4. Attention
#
# This is the one place in BERT where tokens meet. Everything else works on each token by itself. When "[MASK] lost her
# keys." became *she* in the tour, it was here that the gap heard of *her*.
#
# **You will be able to**
#
# - compute attention on paper, and write it in five lines;
# - say why scores are divided by $\sqrt{d}$, and show what happens if they are not;
# - mask padding, and see three ways of doing it wrong;
# - split a matrix into heads without mixing the tokens up;
# - say what attention costs, and when that begins to hurt.
#
# **You need** chapter 3. **Time:** an hour to read; the cells run in half a minute.

# %%
import inspect
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, grid, show
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from minibert import BertConfig, BertModel
from minibert.attention import eager_attention, sdpa_attention
from minibert.model import BertSelfAttention
from minibert.packing import Layout

# %% [markdown]
# ## 4.1 A weighted average
#
# "The cat sat because **it** was tired." To know what *it* is, its vector needs something of the vector of *cat*. The
# simplest way to bring something over is an average with weights: much of *cat*, little of the rest.
#
# Who sets the weights? The tokens themselves, from three vectors that each of them makes:
#
# - a **query**: what am I looking for?
# - a **key**: what can I be found by?
# - a **value**: what do I hand over to whoever finds me?
#
# The score of a pair is the dot product of query and key. Softmax makes the scores positive, with sum 1. They are the
# weights of the values (Vaswani et al. 2017, section 3.2.1):
#
# $$\mathrm{attention}(Q, K, V) = \mathrm{softmax}\left(\frac{QK^\top}{\sqrt{d}}\right) V$$
#
# Do it by hand for one query, $q = (2, 0)$, three keys and three values, without the root for now:
#
# | token | key | score $q \cdot k$ | $e^{score}$ | weight | value |
# | --- | --- | --- | --- | --- | --- |
# | cat | (1, 0) | 2 | 7.389 | 0.867 | (10, 0) |
# | sat | (0, 1) | 0 | 1 | 0.117 | (0, 10) |
# | tired | (-1, 0) | -2 | 0.135 | 0.016 | (0, 0) |
#
# The numbers $e^{score}$ add up to 8.524. The answer is $0.867 \cdot (10, 0) + 0.117 \cdot (0, 10) = (8.67, 1.17)$.

# %%
torch.manual_seed(0)
query = torch.tensor([[2.0, 0.0]])
keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [0.0, 0.0]])
weights = (query @ keys.T).softmax(dim=-1)  # (1, 2) @ (2, 3) -> (1, 3)
print("weights", weights, " answer", weights @ values)
assert_close(weights, torch.tensor([[0.867, 0.117, 0.016]]), atol=1e-3, rtol=0)
assert_close(weights @ values, torch.tensor([[8.67, 1.17]]), atol=1e-2, rtol=0)

# %% [markdown]
# Think of a dictionary that never says "not found". A Python `dict` returns the value whose key equals the query.
# Attention returns a blend of all values, and the nearer a key is to the query, the more its value counts. Because
# nothing is all or nothing, there is a gradient, and the keys and queries can be learnt.
#
# Why not one vector for both query and key? Then the score of (*it*, *cat*) would equal that of (*cat*, *it*), and
# each token would mostly find itself: a vector's dot product with itself is its squared length. With two matrices, *it*
# can look for *cat* while *cat* looks for something else:

# %%
hidden = torch.randn(4, 8)
query_matrix, key_matrix = torch.randn(8, 8), torch.randn(8, 8)
one_role = (hidden @ query_matrix) @ (hidden @ query_matrix).T  # (seq, head_dim) @ (head_dim, seq) -> (seq, seq)
two_roles = (hidden @ query_matrix) @ (hidden @ key_matrix).T
assert_close(one_role, one_role.T)
print(f"one role: as much one way as the other; two roles differ by up to {(two_roles - two_roles.T).abs().max():.1f}")

# %% [markdown]
# ## 4.2 Why divide by the root of d
#
# A dot product is a sum of $d$ products. If the parts of query and key are independent, with mean 0 and variance 1,
# each product has variance 1, and a sum of $d$ of them has variance $d$: deviation $\sqrt{d}$ (Vaswani et al.,
# footnote 4). BERT's heads have $d = 64$, so raw scores lie around $\pm 8$. What does softmax make of that?

# %%
widths = [1, 4, 16, 64, 256]
print("width  deviation  largest of 32 weights: raw  scaled   gradient that gets through: raw  scaled")
largest = {"raw": [], "scaled": []}
for width in widths:
    query, key = torch.randn(2000, 1, width), torch.randn(2000, 32, width)
    raw = (query @ key.mT).squeeze(1)  # (draws, 1, d) @ (draws, d, 32) -> (draws, 32)
    deviation = raw.std().item()
    slopes = []
    for name, scores in (("raw", raw), ("scaled", raw / math.sqrt(width))):
        weights = scores.softmax(dim=-1)
        largest[name].append(weights.amax(dim=-1).mean().item())
        # The slope of softmax is diag(p) - p pᵀ. Its trace says how much of a change of the scores gets through.
        slopes.append((weights * (1 - weights)).sum(dim=-1).mean().item())
    print(
        f"{width:>5}  {deviation:>9.2f}  {largest['raw'][-1]:>26.2f}  {largest['scaled'][-1]:>6.2f}"
        f"   {slopes[0]:>32.2f}  {slopes[1]:>6.2f}"
    )
    assert abs(deviation / math.sqrt(width) - 1) < 0.05

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(widths, largest["raw"], "o-", color=VERMILION, label="raw scores")
axes.plot(widths, largest["scaled"], "s--", color=BLUE, label="divided by the root of d")
axes.axhline(1 / 32, color=GREY, linestyle=":", label="all 32 keys alike")
axes.set(xscale="log", xlabel="width of a head, d", ylabel="largest weight (mean)", ylim=(0, 1))
axes.set_xticks(widths, widths)
axes.minorticks_off()
axes.legend()
show(figure, "Largest attention weight against head width: raw scores climb towards 1, scaled ones stay near 0.15.")
assert largest["raw"][3] > 0.75
assert largest["scaled"][3] < 0.3

# %% [markdown]
# *The picture:* with raw scores and $d = 64$, one key takes nearly everything, before anything has been learnt. Where
# softmax is all or nothing its slope is almost 0, and the scores cannot be corrected. Divided by the root, the
# weights are alike for every width.
#
# ## 4.3 Masks: who may be looked at
#
# Sentences in a batch have different lengths, and padding fills them up. Padding must get weight 0. The way to do
# that: make its score so low that $e^{score} = 0$, *before* softmax. Then the rest still adds up to 1.

# %%
scores = torch.tensor([[2.0, 1.0, 0.5, 3.0]])
real = torch.tensor([[True, True, True, False]])
masked = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(dim=-1)
print("masked before softmax:", masked, f"sum {masked.sum():.3f}")
assert_close(masked[0, :3], scores[0, :3].softmax(dim=-1))
assert masked[0, 3] == 0

# %% [markdown]
# Three ways to get this wrong, each of which people really meet:

# %%
after = scores.softmax(dim=-1) * real
print(f"1. masked after softmax: the weights add up to {after.sum():.2f}, and padding shrinks every answer")
assert after.sum() < 0.5

times_zero = (scores * real).softmax(dim=-1)
print(f"2. scores times 0: padding still gets {times_zero[0, 3]:.2f}, because e^0 = 1")
assert times_zero[0, 3] > 0.05

nobody = torch.zeros(1, 4, dtype=torch.bool)
with_infinity = scores.masked_fill(~nobody, -math.inf).softmax(dim=-1)
with_lowest = scores.masked_fill(~nobody, torch.finfo(scores.dtype).min).softmax(dim=-1)
print(f"3. -inf in a row without any token: {with_infinity.tolist()}; the lowest finite number: {with_lowest.tolist()}")
assert with_infinity.isnan().all()
assert with_lowest.isfinite().all()

# %% [markdown]
# (Google's code adds -10,000. That is low enough for scores near 0; the lowest number of the dtype is low enough for
# all.)
#
# ## 4.4 Many heads
#
# One softmax gives one distribution: one pattern of looking for each token. But *it* may want to know its noun, its
# verb and what stands before it, all at once. So BERT cuts queries, keys and values into heads of 64 numbers. Each
# head attends by itself, and the answers are put side by side again (Vaswani et al., section 3.2.2). Twelve heads of
# 64 cost as much as one of 768.

# %%
figure, axes = plt.subplots(figsize=(11, 1.2))
stages = [
    ("hidden", "(tokens, 768)", GREY),
    ("one linear", "(tokens, 3·768)", BLUE),
    ("unflatten", "(tokens, 3, 12, 64)", ORANGE),
    ("transpose", "(batch, 12, seq, 64)", ORANGE),
    ("attend", "(batch, 12, seq, 64)", VERMILION),
    ("join heads", "(tokens, 768)", ORANGE),
    ("one linear", "(tokens, 768)", BLUE),
]
for place, (name, shape, colour) in enumerate(stages):
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": colour, "linewidth": 2}
    axes.text(place, 0.55, name, ha="center", va="center", bbox=box)
    axes.text(place, 0.36, shape, ha="center", va="top", fontsize=9)
    if place:
        axes.annotate("", (place - 0.38, 0.55), (place - 0.62, 0.55), arrowprops={"arrowstyle": "->", "color": "black"})
axes.set(xlim=(-0.6, 6.6), ylim=(0.2, 0.8))
axes.axis("off")
show(figure, "Shapes through attention: tokens by 768, to 3 times 768, to 12 heads of 64, attend, and back to 768.")
print(inspect.getsource(BertSelfAttention.forward))
print(inspect.getsource(eager_attention))

# %% [markdown]
# *The picture:* blue steps have weights, orange ones only rearrange the numbers, and in the red one tokens meet.
#
# The package keeps all tokens of a batch in one row, without padding (chapter 6). `queries` and `keys` are `Layout`s:
# they know where each sentence lies. `pad` lays a row out as a rectangle, one sentence a line; `pack` takes the padding
# out again; `select` keeps the tokens that ask, which is all of them for now.
#
# Note that query, key and value come out of *one* matrix. Three matrices stacked on each other are one, and a
# graphics card likes one large product better than three small ones.
#
# ### Build it yourself
#
# From hidden states to hidden states, with the package's weights (`query_key_value.weight` and `.bias`,
# `output.weight` and `.bias`), for a batch without padding. Loop over the heads: that makes it plain that they do not
# know of each other.

# %%
config = BertConfig(hidden_size=32, num_attention_heads=4, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
attention = BertSelfAttention(config)
BATCH, SEQ, HIDDEN, HEADS, HEAD_DIM = 2, 5, 32, 4, 8


def attend(hidden: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """(batch, seq, hidden) -> (batch, seq, hidden)"""
    # BEGIN SOLUTION
    projected = F.linear(hidden, weights["query_key_value.weight"], weights["query_key_value.bias"])
    query, key, value = projected.chunk(3, dim=-1)  # (batch, seq, 3 * hidden) -> 3 of (batch, seq, hidden)
    answers = []
    for head in range(HEADS):
        mine = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        scores = query[..., mine] @ key[..., mine].mT / math.sqrt(HEAD_DIM)  # -> (batch, seq, seq)
        answers.append(scores.softmax(dim=-1) @ value[..., mine])  # -> (batch, seq, head_dim)
    joined = torch.cat(answers, dim=-1)  # heads of (batch, seq, head_dim) -> (batch, seq, hidden)
    return F.linear(joined, weights["output.weight"], weights["output.bias"])
    # END SOLUTION


hidden = torch.randn(BATCH, SEQ, HIDDEN)
layout = Layout.from_mask(torch.ones(BATCH, SEQ, dtype=torch.bool))
packed, probabilities = attention(layout.pack(hidden), layout, layout, eager_attention)
assert_close(attend(hidden, dict(attention.state_dict())), layout.pad(packed))
assert_close(probabilities.sum(dim=-1), torch.ones(BATCH, HEADS, SEQ))

# %% [markdown]
# PyTorch has the same function in one call, `scaled_dot_product_attention`, whose fast kernels never hold the matrix of
# weights in memory (chapter 17). The package uses it wherever it is the fastest way. It must agree too, with padding
# and all:

# %%
mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
ragged = Layout.from_mask(mask)
query, key, value = torch.randn(3, int(mask.sum()), HEADS, HEAD_DIM)
written_out, weights = eager_attention(query, key, value, ragged, ragged)
fused, _ = sdpa_attention(query, key, value, ragged, ragged)
assert_close(written_out, fused)
assert (weights[1, :, :, 3:] == 0).all()
print("8 real tokens, padding gets weight 0, and both ways agree")

# %% [markdown]
# ### The mistake that everybody makes once
#
# To go from `(batch, seq, heads · head_dim)` to `(batch, heads, seq, head_dim)` you must cut the last axis and *then*
# swap two axes. `view` straight to the final shape has the right shape and the wrong numbers: "head 0" then holds
# whole tokens. No error, and the model even learns a little.

# %%
numbered = torch.arange(SEQ).view(1, SEQ, 1).expand(1, SEQ, HIDDEN)  # every number is the place of its token
cut = numbered.unflatten(-1, (HEADS, HEAD_DIM))  # (1, seq, hidden) -> (1, seq, heads, head_dim)
right = cut.transpose(1, 2)  # (1, seq, heads, head_dim) -> (1, heads, seq, head_dim)
wrong = numbered.reshape(1, HEADS, SEQ, HEAD_DIM)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for part, split, title in zip(axes, (right, wrong), ("unflatten, then transpose", "view alone"), strict=True):
    rows = [f"row {row}" for row in range(SEQ)]
    grid(part, split[0, 0], rows, decimals=0, low=0, high=4)
    part.set(title=f"{title}: head 0", xlabel="number in the head", xticks=[])
show(figure, "Head 0 of both: on the left row n holds token n, on the right rows 0 to 3 all hold token 0.")
assert (right[0, 0, 3] == 3).all()
assert (wrong[0, 0, :4] == 0).all()

# %% [markdown]
# *The picture:* each number says which token it came from. On the left row 3 holds token 3. On the right, head 0
# holds token 0 four times, and would let it attend to itself.
#
# ## 4.5 Watch attention learn
#
# A task with nothing but attention in it: for each token, name the token before it *and* the one after it. Rows are
# 12 random symbols on a circle (the token before the first is the last). Train one block, with one head and with two.

# %%
SYMBOLS, ROW = 16, 12


def learn_neighbours(heads: int) -> tuple[BertModel, list[float]]:
    torch.manual_seed(0)
    encoder = BertModel(
        BertConfig(
            vocab_size=SYMBOLS,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=heads,
            intermediate_size=64,
            max_position_embeddings=ROW,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )
    answer = nn.Linear(32, 2 * SYMBOLS)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *answer.parameters()], lr=3e-3)
    losses = []
    for _ in range(500):
        row = torch.randint(SYMBOLS, (64, ROW))
        neighbours = torch.stack([row.roll(1, dims=1), row.roll(-1, dims=1)], dim=-1)  # (batch, seq) -> (batch, seq, 2)
        logits = answer(encoder(row).last_hidden_state).unflatten(-1, (2, SYMBOLS))  # -> (batch, seq, 2, symbols)
        loss = F.cross_entropy(logits.flatten(0, 2), neighbours.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return encoder.eval(), losses


trained = {heads: learn_neighbours(heads) for heads in (1, 2)}
row = torch.randint(SYMBOLS, (1, ROW))
maps = {heads: encoder(row, output_attentions=True).attentions[0][0] for heads, (encoder, _) in trained.items()}

figure, axes = plt.subplots(1, 4, figsize=(14, 3.4))
for heads, (_, losses) in trained.items():
    axes[0].plot(losses, label=f"{heads} head{'s' * (heads > 1)}", linestyle="-" if heads == 1 else "--")
axes[0].axhline(math.log(SYMBOLS), color=GREY, linestyle=":", label="guessing")
axes[0].set(xlabel="step", ylabel="loss")
axes[0].legend()
pictures = [("the only head", maps[1][0]), ("head 0 of two", maps[2][0]), ("head 1 of two", maps[2][1])]
for part, (title, picture) in zip(axes[1:], pictures, strict=True):
    grid(part, picture, decimals=None, low=0, high=1)
    part.set(title=title, xlabel="looked at", ylabel="looking", aspect="equal", xticks=range(0, ROW, 2))
figure.colorbar(axes[3].images[0], ax=axes[1:], label="weight", shrink=0.8)
show(figure, "Loss curves of one and two heads, and three attention maps with dark lines beside the diagonal.")
for name, picture in pictures:
    previous = picture.diagonal(-1).mean().item()
    following = picture.diagonal(1).mean().item()
    print(f"{name}: mean weight on the token before {previous:.2f}, after {following:.2f}")
    assert previous + following > 0.5
for _, losses in trained.values():
    assert losses[-1] < 0.1
first_below = {
    heads: next(step for step, loss in enumerate(losses) if loss < 0.5) for heads, (_, losses) in trained.items()
}
print("steps until the loss is below 0.5:", first_below)
assert first_below[2] < first_below[1]

# %% [markdown]
# *The picture:* nobody told the model where to look, but dark lines appeared right beside the diagonal (and in two
# corners: the row is a circle). Two heads learn the task sooner.
#
# One head learns it as well, which may surprise you. It can only blend both neighbours into one vector. But look at
# its printed weights: they are not equal. In a vector that is, say, three quarters of one and a quarter of the other,
# the feed-forward part can still tell which is which. With real words, more neighbours and noise this trick gets
# harder; that is what several heads are for. In trained BERTs many heads can be removed without harm (Michel et al.
# 2019), so do not read too much into any one of them.
#
# ## 4.6 What attention costs
#
# Count the multiplications and additions (FLOPs) of one block for one row of S tokens of width H. A matrix
# product of (a, b) and (b, c) takes $2abc$.
#
# | what | FLOPs |
# | --- | --- |
# | query, key, value, output: four times (S, H) by (H, H) | $8 S H^2$ |
# | feed-forward: (S, H) by (H, 4H) and back | $16 S H^2$ |
# | $QK^\top$, and weights times V | $4 S^2 H$ |
#
# The last line is the only one with $S^2$. It equals the others together when $4S^2H = 24SH^2$, that is at $S = 6H$:
# 4,608 tokens for BERT-base. At 512 tokens it is a ninth of them. PyTorch can count along:

# %%
with torch.device("meta"):  # shapes without numbers: nothing is computed
    block = BertModel(BertConfig(), attn_implementation="eager").blocks[0]
    for length in (128, 512, 4608):
        whole = Layout.from_mask(torch.ones(1, length, dtype=torch.bool, device="cpu"))
        with FlopCounterMode(display=False) as counter:
            block(torch.empty(length, 768), whole, whole, eager_attention)
        matter, meet = 24 * length * 768**2, 4 * length**2 * 768
        print(f"{length:>5} tokens: linear {matter:.2e} FLOPs, attention {meet:.2e}, ratio {meet / matter:.3f}")
        assert counter.get_total_flops() == matter + meet

# %%
lengths = torch.arange(1, 8193)
linear, meeting = 24 * lengths * 768**2 / 1e9, 4 * lengths**2 * 768 / 1e9
figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(lengths, linear, "--", color=BLUE, label="linear layers")
axes.plot(lengths, meeting, color=VERMILION, label="attention")
axes.axvline(512, color=GREY, linestyle=":")
axes.text(600, 110, "BERT ends\nhere: 512")
axes.axvline(4608, color=GREEN, linestyle=":")
axes.text(4700, 20, "equal at 6H = 4,608")
axes.set(xlabel="tokens in a row", ylabel="GFLOPs a block")
axes.legend(loc="upper left")
show(figure, "FLOPs of a block against row length: linear layers a line, attention a parabola; they cross at 4,608.")

# %% [markdown]
# *The picture:* a line and a parabola. For BERT's lengths attention's arithmetic is the smaller part. What hurts
# earlier is *memory*: the matrix of weights, (heads, S, S) for every row and block, kept for the backward pass.

# %%
for length in (128, 512, 4096):
    print(f"{length:>5} tokens: {12 * length**2 * 4 / 1e6:>6.1f} MB of weights for one row in one block (float32)")
assert 12 * 512**2 * 4 == 12_582_912

# %% [markdown]
# 12.6 MB, times 12 blocks, times 32 rows is 4.8 GB. Fused kernels never store that matrix: chapter 17.
#
# ## Experiments to try
#
# 1. Take `/ math.sqrt(HEAD_DIM)` out of `attend` and run its comparison. How large is the error? Now give the layer the
#    weights that a BERT starts with: `nn.init.normal_(parameter, std=0.02)` for each of `attention.parameters()`. Why
#    is the error so small?
# 2. In section 4.5, ask for the token *three* places before. How soon is it learnt, and what does the map look like?
# 3. Set `num_attention_heads` to 32, heads of one number each. Does it still learn?
#
# ## Questions
#
# <details><summary>Add 5 to all scores of a row. What happens to the weights?</summary>
#
# Nothing: softmax divides $e^5$ out again. This is why one may subtract the row's largest score before the
# exponential, and every good softmax does, so that nothing overflows.
# </details>
#
# <details><summary>The bias of the key layer: what does it change?</summary>
#
# Nothing. It adds query · bias to all scores of a row, the same number for every key. Google's BERT has it all the
# same, and so its checkpoints do.
# </details>
#
# <details><summary>Why is BERT's attention called bidirectional?</summary>
#
# Every token may look at all tokens, before and after. GPT masks what comes after, because it must predict it. BERT
# predicts masked tokens instead, and needs no such mask.
# </details>
#
# <details><summary>Must the matrix of weights be symmetrical? Must its columns sum to one?</summary>
#
# Neither. Rows sum to one. A column's sum says how much a token is looked at by all.
# </details>
#
# ## Key points
#
# - Attention is an average with weights that the tokens choose: softmax of query times key.
# - Without $1/\sqrt{d}$ softmax saturates and stops learning.
# - Mask scores before softmax, with the lowest finite number.
# - Heads are slices of the vector. Cut the last axis, then swap axes.
# - Arithmetic grows with $S^2$, but for 512 tokens it is memory that hurts.
#
# **Code:** [`attention/eager.py`](../minibert/attention/eager.py) (`eager_attention`),
# [`attention/sdpa.py`](../minibert/attention/sdpa.py) (`sdpa_attention`), [`model.py`](../minibert/model.py)
# (`BertSelfAttention`), [`packing.py`](../minibert/packing.py) (`Layout`).
#
# **Papers:** Vaswani et al. 2017, section 3.2; Michel et al. 2019, *Are Sixteen Heads Really Better than One?*
#
# Before: [3. Embeddings](03_embeddings.ipynb). Next: [5. The encoder block](05_block.ipynb)
