# %% [markdown]
# # 17. Flash attention from the arithmetic up
#
# Attention's matrix of scores has a number for each pair of tokens. Flash attention (Dao et al. 2022) computes exactly
# the same answer and never has that matrix. This chapter builds it: first the trick with softmax, in NumPy, on
# numbers that fit on paper; then tiles; then the gradient; then the package's *kernel*, a small program for the GPU,
# stepped through on your CPU.
#
# **You will be able to**
#
# - say why attention waits for memory, with a count of bytes and FLOPs;
# - compute a softmax in one pass, piece by piece, on paper;
# - write flash attention, forward and backward, in thirty lines;
# - read a Triton kernel, and run it without a GPU;
# - name the three mistakes that give plausible numbers.
#
# **You need** chapter 4; chapter 16 helps. **Time:** an hour to read; the cells run in half a minute. One section
# needs Triton (`pip install triton`, on Linux) and says so if it is missing.

# %%
import ast
import importlib.util
import math
import os
import statistics
import tracemalloc
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"  # kernels run as plain Python; it must be set before Triton is imported

import matplotlib.pyplot as plt
import numpy as np
import torch
from pictures import BLUE, GREY, SKY, VERMILION, grid, show
from torch.testing import assert_close

from minibert.attention import eager_attention, get_attention, sdpa_attention
from minibert.attention.flash_by_hand import flash_backward, flash_forward
from minibert.benchmarks.measure import take_turns
from minibert.packing import Layout

HAS_TRITON = importlib.util.find_spec("triton") is not None
random = np.random.default_rng(0)
torch.manual_seed(0)
print("Triton is here" if HAS_TRITON else "Triton is not installed: section 17.6 shows its kernel, but does not run it")

# %% [markdown]
# ## 17.1 What attention waits for
#
# A processor has two speeds: how many operations a second, and how many bytes a second it can fetch from its large
# memory. Makers state both. An NVIDIA A100: $312 \cdot 10^{12}$ operations in bfloat16 and $2 \cdot 10^{12}$ bytes.
# So while one byte arrives, 156 operations could be done. A program with fewer operations for each byte waits for
# memory.
#
# Count for one head of $S = 512$ tokens and $d = 64$ in bfloat16 (two bytes a number):
#
# | | numbers through memory | bytes |
# | --- | --- | --- |
# | read Q, K, V, write the answer | $4 S d$ | 262,144 |
# | write the scores, read them, write the weights, read them | $4 S^2$ | 2,097,152 |
#
# The arithmetic is $4 S^2 d = 67$ million FLOPs (chapter 4). Written out, that is 28 for each byte: far below 156, so
# most of the time the arithmetic units wait. If only the first line of the table were left, it would be 256.


# %%
def intensity(tokens: int, width: int, with_matrix: bool) -> float:
    """FLOPs for each byte that is moved, in bfloat16"""
    numbers = 4 * tokens * width + (4 * tokens**2 if with_matrix else 0)
    return 4 * tokens**2 * width / (2 * numbers)


balance = 312e12 / 2e12
print(
    f"FLOPs a byte: written out {intensity(512, 64, True):.1f}, without the matrix {intensity(512, 64, False):.0f}; "
    f"an A100 could do {balance:.0f}"
)
assert abs(intensity(512, 64, True) - 28.4) < 0.1
assert intensity(512, 64, False) == 256

lengths = np.array([64, 128, 256, 512, 1024, 2048, 4096])
figure, axes = plt.subplots(figsize=(7.5, 3.6))
axes.plot(lengths, [intensity(length, 64, False) for length in lengths], "o-", color=BLUE)
axes.text(900, 700, "without the matrix", color=BLUE, ha="right")
axes.plot(lengths, [intensity(length, 64, True) for length in lengths], "s--", color=VERMILION)
axes.text(900, 17, "written out", color=VERMILION)
axes.axhline(balance, color=GREY, linestyle=":")
axes.text(620, balance * 0.62, "an A100 waits for memory\nbelow this line", va="center")
axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="FLOPs for each byte")
axes.set_xticks(lengths, lengths)
axes.minorticks_off()
show(
    figure,
    "FLOPs a byte against length: written out they stay near 30, without the matrix they grow past the line of 156.",
)
assert intensity(4096, 64, True) < 32

# %% [markdown]
# *The picture:* written out, attention waits for memory at any length: the matrix brings its own traffic, and $4S^2d$
# by $8S^2$ can never be more than $d/2 = 32$. So the aim is not fewer operations. It is fewer bytes: never carry the
# matrix to memory.
#
# What stands in the way? The products are no problem: a tile of the scores needs only some queries and some keys. But
# softmax divides by a sum over *all* keys, and subtracts the largest of *all* scores. It seems to need the whole row.
#
# ## 17.2 Softmax in one pass
#
# It does not. Take the scores (1, 3, 2, 5), but see only two at a time. Keep two numbers: the largest so far, and the
# sum of $e^{\text{score} - \text{largest}}$ so far.
#
# - After (1, 3): the largest is 3, the sum $e^{-2} + e^{0} = 1.135$.
# - Now (2, 5): the largest becomes 5. The old sum was relative to 3, and must be relative to 5: multiply it by
#   $e^{3-5} = 0.135$, which makes 0.154. Add $e^{-3} + e^{0} = 1.050$: the sum is 1.203.
#
# All at once: $e^{-4} + e^{-2} + e^{-3} + e^{0}$ $= 0.018 + 0.135 + 0.050 + 1$ $= 1.203$. The same. (Milakov &
# Gimelshein 2018.)


# %%
def online_sum(scores: np.ndarray, piece: int) -> tuple[float, float]:
    """The largest score and the sum of exp(score - largest), seeing only `piece` scores at a time"""
    largest, total = -math.inf, 0.0
    for start in range(0, len(scores), piece):
        part = scores[start : start + piece]
        new_largest = max(largest, part.max())
        total = total * math.exp(largest - new_largest) + np.exp(part - new_largest).sum()
        largest = new_largest
        print(f"   after {part}: largest {largest:.0f}, sum {total:.3f}")
    return largest, total


largest, total = online_sum(np.array([1.0, 3.0, 2.0, 5.0]), piece=2)
assert (largest, round(total, 3)) == (5.0, 1.203)

# %% [markdown]
# Why subtract the largest at all? Because $e^{89}$ is more than float32 can hold, and $e^{12}$ more than float16:

# %%
with np.errstate(over="ignore", invalid="ignore"):
    for kind, score in ((np.float16, 12), (np.float32, 89)):
        row = np.array([score, score - 1], dtype=kind)
        naive = np.exp(row) / np.exp(row).sum()
        print(f"{kind.__name__}: e^{score} = {np.exp(row)[0]}, naive softmax {naive}")
        assert np.isnan(naive).any()

# %% [markdown]
# One more look, because it is the heart of it. The state of a piece is a pair (largest, sum). Two pieces make one:
#
# $$(m_1, l_1) \oplus (m_2, l_2) = \left(m,\; l_1 e^{m_1 - m} + l_2 e^{m_2 - m}\right), \qquad m = \max(m_1, m_2)$$
#
# The order does not matter, nor the grouping. So pieces may be worked on in any order, or side by side on different
# processors, and merged at the end.


# %%
def merge(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    largest = max(one[0], other[0])
    return largest, one[1] * math.exp(one[0] - largest) + other[1] * math.exp(other[0] - largest)


scores = 10 * random.standard_normal(64)
for _ in range(50):
    states = [(float(score), 1.0) for score in scores]  # a piece of one score: e^(score - score) = 1
    while len(states) > 1:  # merge any two, until one is left
        first = states.pop(random.integers(len(states)))
        second = states.pop(random.integers(len(states)))
        states.append(merge(first, second))
    largest, total = states[0]
    assert abs(largest + math.log(total) - torch.logsumexp(torch.from_numpy(scores), 0).item()) < 1e-12
print("64 scores merged in 50 random orders: always the same logarithm of the sum")

# %% [markdown]
# ## 17.3 Attention in one pass
#
# Attention wants not the weights but their average of the values. So carry that along as a third thing: the *sum so
# far* of $e^{\text{score} - \text{largest}} \cdot \text{value}$. When a larger score arrives, shrink it by the same
# factor. Divide by the sum once, at the very end.
#
# By hand, with the scores from above and the values 10, 20, 30, 40: after (1, 3) the sum of values is
# $0.135 \cdot 10 + 1 \cdot 20 = 21.353$. Shrunk by 0.135 it is 2.890. Add $0.050 \cdot 30 + 1 \cdot 40 = 41.494$, and
# get 44.384. Divided by 1.203: 36.88.
#
# ### Build it yourself
#
# Many queries, in tiles; NumPy alone. The score of a pair is that of chapter 4, the dot product divided by $\sqrt d$.
# Beside the answers give one number for each query, the logarithm of the sum of its $e^{\text{score}}$: the largest
# plus the logarithm of the sum at the end. Section 17.5 will need it. And never hold the whole matrix: the last check
# looks at how much memory NumPy takes at its peak.


# %%
def own_flash(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """(queries, d), (keys, d), (keys, d) -> answers (queries, d), log of the sums (queries)"""
    # BEGIN SOLUTION
    answers, log_sums = [], []
    for first in range(0, len(query), tile):
        mine = query[first : first + tile]
        largest = np.full(len(mine), -np.inf)
        total = np.zeros(len(mine))
        gathered = np.zeros((len(mine), value.shape[1]))
        for start in range(0, len(key), tile):
            scores = mine @ key[start : start + tile].T / math.sqrt(query.shape[1])  # -> (tile, tile)
            new_largest = np.maximum(largest, scores.max(axis=1))  # (tile, tile) -> (tile)
            shrink = np.exp(largest - new_largest)
            weights = np.exp(scores - new_largest[:, None])
            total = total * shrink + weights.sum(axis=1)  # (tile, tile) -> (tile)
            gathered = gathered * shrink[:, None] + weights @ value[start : start + tile]  # -> (tile, d)
            largest = new_largest
        answers.append(gathered / total[:, None])
        log_sums.append(largest + np.log(total))
    return np.concatenate(answers), np.concatenate(log_sums)
    # END SOLUTION


by_hand, _ = own_flash(
    np.array([[1.0]]), np.array([[1.0], [3], [2], [5]]), np.array([[10.0], [20], [30], [40]]), tile=2
)
print(f"by hand: {by_hand[0, 0]:.2f}")
assert abs(by_hand[0, 0] - 36.88) < 0.005

TOKENS, WIDTH = 100, 16
query, key, value = random.standard_normal((3, TOKENS, WIDTH))
answer, log_sums = own_flash(query, key, value, tile=32)  # 100 is no multiple of 32, on purpose
tensors = [torch.from_numpy(array) for array in (query, key, value)]
theirs, their_sums = flash_forward(*tensors, tile=32)
layout = Layout.from_mask(torch.ones(1, TOKENS, dtype=torch.bool))
written_out, _ = eager_attention(*(tensor.unsqueeze(1) for tensor in tensors), layout, layout)  # one head
assert_close(torch.from_numpy(answer), theirs)
assert_close(torch.from_numpy(log_sums), their_sums)
assert_close(torch.from_numpy(answer), written_out.squeeze(1))
far, _ = own_flash(np.full((1, WIDTH), 80.0), np.full((40, WIDTH), -80.0), value[:40], tile=32)  # all far below 0
assert_close(torch.from_numpy(far[0]), torch.from_numpy(value[:40].mean(axis=0)))


def peak_bytes(function, *arguments) -> int:
    tracemalloc.start()
    function(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


assert peak_bytes(own_flash, *np.ones((3, 1024, WIDTH)), 64) < 2e6, "over 2 MB; the whole matrix would take 8"
print("equal to the package's flash attention, and to the definition")

# %% [markdown]
# It is *exact*, up to rounding. Flash attention approximates nothing. Now watch one query on its way through the
# tiles:

# %%
SEEN = [16, 32, 48, 64, 80, 100]
halfway = np.stack([own_flash(query[:1], key[:seen], value[:seen], tile=16)[0][0] for seen in SEEN])
figure, axes = plt.subplots(1, 2, figsize=(12, 3.8), width_ratios=[1, 1.25])
matrix = np.zeros((100, 100))
matrix[32:64, :32] = 0.35
matrix[32:64, 32:64] = 1
axes[0].imshow(matrix, cmap="Blues", vmin=0, vmax=1.4)
for place in (31.5, 63.5, 95.5):
    axes[0].axhline(place, color=GREY, linewidth=0.8)
    axes[0].axvline(place, color=GREY, linewidth=0.8)
axes[0].annotate("", (97, 48), (66, 48), arrowprops={"arrowstyle": "->", "color": VERMILION, "linewidth": 2})
axes[0].text(16, 48, "done,\nforgotten", ha="center", va="center", fontsize=9)
axes[0].text(48, 48, "here\nnow", ha="center", va="center", fontsize=9, color="white")
axes[0].set(xlabel="key", ylabel="query", title="tiles of the scores, for tile 32")
axes[1].plot(SEEN, halfway - halfway[-1], color=SKY, linewidth=1)
axes[1].plot(SEEN, np.abs(halfway - halfway[-1]).max(axis=1), "o-", color=VERMILION, label="largest error")
axes[1].axhline(0, color=GREY, linestyle=":")
axes[1].set(xlabel="keys seen so far", ylabel="answer so far - final answer", title="the 16 numbers of query 0")
axes[1].legend()
show(
    figure, "Left: a grid of tiles with one dark, one pale, an arrow to the right. Right: 16 curves that meet at zero."
)
assert np.abs(halfway[-1] - answer[0]).max() < 1e-12
assert np.abs(halfway[0] - answer[0]).max() > 0.1

# %% [markdown]
# *The picture:* left, what exists at one moment: one tile. Right, after each tile the state is the exact attention
# over the keys *seen so far*; with the last one it is the answer.
#
# ## 17.4 What it saves
#
# Memory first, by `peak_bytes` from above. Written out it must grow with $S^2$, in tiles with $S$:


# %%
def written_out_in_numpy(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    scores = query @ key.T / math.sqrt(query.shape[1])  # (queries, d) @ (d, keys) -> (queries, keys)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ value


sizes = [128, 256, 512, 1024, 2048]
peaks = {"written out": [], "in tiles of 64": []}
for size in sizes:
    arrays = random.standard_normal((3, size, 64))
    peaks["written out"].append(peak_bytes(written_out_in_numpy, *arrays))
    peaks["in tiles of 64"].append(peak_bytes(own_flash, *arrays, 64))
    print(f"{size:>5} tokens: " + ", ".join(f"{name} {peak[-1] / 1e6:.2f} MB" for name, peak in peaks.items()))

figure, axes = plt.subplots(figsize=(7, 3.4))
for (name, peak), style, colour in zip(peaks.items(), ("s--", "o-"), (VERMILION, BLUE), strict=True):
    axes.plot(sizes, np.array(peak) / 1e6, style, color=colour, label=name)
axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="megabytes at the peak")
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.legend()
show(figure, "Memory against length on two logarithmic axes: written out is twice as steep as in tiles.")
growth = {name: peak[-1] / peak[-2] for name, peak in peaks.items()}
print({name: f"twice the tokens, {ratio:.1f} times the memory" for name, ratio in growth.items()})
assert abs(growth["written out"] - 4) < 0.5
assert growth["in tiles of 64"] < 2.5
assert peaks["written out"][-1] > 25 * peaks["in tiles of 64"][-1]

# %% [markdown]
# Is it faster, too? In NumPy it is not: the loop runs in Python. In a kernel it is. PyTorch has one of this kind for
# the CPU, *fused* of scores, softmax and average; compare it with the definition:

# %%
LONG = 768
whole = Layout.from_mask(torch.ones(1, LONG, dtype=torch.bool))
query32, key32, value32 = torch.randn(3, LONG, 8, 64)  # (tokens, heads, head_dim) each
seconds = take_turns(
    {
        "written out": lambda: eager_attention(query32, key32, value32, whole, whole),
        "fused": lambda: sdpa_attention(query32, key32, value32, whole, whole),
    },
    rounds=9,
)
ratio = statistics.median(one / other for one, other in zip(*seconds.values(), strict=True))
for name, times in seconds.items():
    print(f"{name:12} {1e3 * statistics.median(times):6.1f} ms for {LONG} tokens, 8 heads")
print(f"the fused kernel is {ratio:.2f} times as fast")
assert ratio > 1

# %% [markdown]
# ## 17.5 The gradient, without having kept anything
#
# Training needs the weights $p$ again, and the forward pass threw them away. Two ideas bring them back:
#
# **Compute them again.** $p = e^{s} / \sum e^{s} = e^{s - L}$ with $L = \log \sum e^{s}$. One number $L$ for each
# query is enough to get any tile of the weights from queries and keys. Arithmetic is cheap; memory is not.
#
# **A sum that is known in advance.** Let $\partial$ mean "gradient of the loss by". Through softmax,
#
# $$\partial s_j = p_j \left(\partial p_j - \sum_k p_k\, \partial p_k\right)$$
#
# and this sum again runs over all keys. But $\partial p_k = \partial o \cdot v_k$, with $o$ the answer, so
# $\sum_k p_k\, (\partial o \cdot v_k) = \partial o \cdot \sum_k p_k v_k = \partial o \cdot o$. It is a dot product of
# two vectors that are there before the first tile.
#
# By hand: two keys with $p = (0.5, 0.5)$, values 4 and 0, so $o = 2$. Let $\partial o = 1$. Then $\partial p = (4, 0)$,
# and $\partial o \cdot o = 2$. So $\partial s = (0.5 \cdot (4 - 2),\; 0.5 \cdot (0 - 2)) = (1, -1)$.


# %%
def own_flash_backward(query, key, value, answer, log_sums, gradient, tile: int) -> tuple[np.ndarray, ...]:
    """The gradients of query, key and value, from `gradient`, that of the answer"""
    scale = 1 / math.sqrt(query.shape[1])
    known = (gradient * answer).sum(axis=1)  # (queries, d) -> (queries)
    query_gradient, key_gradient, value_gradient = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
    for start in range(0, len(key), tile):
        keys = slice(start, start + tile)
        for first in range(0, len(query), tile):
            mine = slice(first, first + tile)
            weights = np.exp(query[mine] @ key[keys].T * scale - log_sums[mine, None])  # -> (tile, tile), once more
            weight_gradient = gradient[mine] @ value[keys].T  # -> (tile, tile)
            score_gradient = weights * (weight_gradient - known[mine, None])
            value_gradient[keys] += weights.T @ gradient[mine]
            key_gradient[keys] += score_gradient.T @ query[mine] * scale
            query_gradient[mine] += score_gradient @ key[keys] * scale
    return query_gradient, key_gradient, value_gradient


small = torch.zeros(2, dtype=torch.float64, requires_grad=True)
(small.softmax(dim=0) * torch.tensor([4.0, 0.0])).sum().backward()
assert small.grad.tolist() == [1, -1]

gradient = random.standard_normal((TOKENS, WIDTH))
own = own_flash_backward(query, key, value, answer, log_sums, gradient, tile=32)
theirs = flash_backward(*tensors, torch.from_numpy(answer), torch.from_numpy(log_sums), torch.from_numpy(gradient))
leaves = [tensor.clone().requires_grad_() for tensor in tensors]
context = torch.softmax(leaves[0] @ leaves[1].T / math.sqrt(WIDTH), dim=1) @ leaves[2]
context.backward(torch.from_numpy(gradient))
for mine, package, leaf in zip(own, theirs, leaves, strict=True):
    assert_close(torch.from_numpy(mine), package)
    assert_close(torch.from_numpy(mine), leaf.grad)
print("the gradients of query, key and value equal the package's, and those of autograd")

# %% [markdown]
# Five products instead of the two of the forward pass, and one of the five is done a second time. Flash attention
# computes *more* than the written-out form, and is faster.
#
# ## 17.6 On a GPU: the kernel
#
# A GPU runs thousands of small programs side by side. Beside its arithmetic units there is a little very fast memory.
# Each program takes one tile of queries of one head of one sentence into it, walks over the keys, and writes its
# answer. Triton is a language for such programs that looks like Python. The package's kernel:

# %%
KERNELS = Path(importlib.util.find_spec("minibert").origin).parent / "attention" / "triton_kernels.py"
text = KERNELS.read_text(encoding="utf-8")
functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
for name in ("load_tile", "score_tile", "forward_kernel"):
    print(ast.get_source_segment(text, functions[name]), end="\n\n")

# %% [markdown]
# You know the loop already. What is new:
#
# | in the kernel | in `own_flash` | why |
# | --- | --- | --- |
# | `tl.program_id` | the loop over tiles of queries | programs run side by side, and each must find its own place |
# | `query_ends`, `key_ends` | | `cu_seqlens` of chapter 16: where each sentence lies. No padding, no masks |
# | `load_tile(..., mask=...)` | a slice | the last tile may stick out of the sentence; a load must not |
# | `-inf` in `score_tile` | | keys that stick out must get weight $e^{-\infty} = 0$ |
# | `tl.exp2`, `tl.log2` | `exp`, `log` | GPUs have an instruction for $2^x$: scores are multiplied by $\log_2 e$ once |
# | `tl.dot(..., "ieee")` | `@` | products on matrix units; float32 without rounding to a shorter format |
#
# ### Your first kernel
#
# With the interpreter, a kernel is plain Python: you can print in it, or stop a debugger in it. Begin small: the log of
# the sum of a row, four numbers at a time. `tl.constexpr` marks what must be known when the kernel is compiled.

# %%
if HAS_TRITON:
    import triton
    import triton.language as tl

    @triton.jit
    def log_sum_kernel(rows, results, length, piece: tl.constexpr):
        row = tl.program_id(0)
        largest = float("-inf")
        total = 0.0
        for start in range(0, length, piece):
            places = start + tl.arange(0, piece)
            scores = tl.load(rows + row * length + places, mask=places < length, other=float("-inf"))
            new_largest = tl.maximum(largest, tl.max(scores, 0))
            total = total * tl.exp(largest - new_largest) + tl.sum(tl.exp(scores - new_largest), 0)
            largest = new_largest
        tl.store(results + row, largest + tl.log(total))

    rows = torch.randn(5, 10)
    results = torch.empty(5)
    log_sum_kernel[(5,)](rows, results, 10, piece=4)  # five programs, one a row; the last piece sticks out by two
    print("kernel", results)
    assert_close(results, rows.logsumexp(dim=1))
else:
    print("left out: Triton is not installed")

# %% [markdown]
# ### The package's kernel, run
#
# Three sentences of 3, 40 and 17 tokens, two heads. Which programs are started, and which have something to do? The
# grid is as wide as the longest sentence; programs beyond the end of theirs return at once.

# %%
lengths = [3, 40, 17]
layout = Layout.from_mask(torch.arange(40) < torch.tensor(lengths).unsqueeze(1))
HEADS, TILE = 2, 32  # the tile that the package takes for float32
tiles = math.ceil(max(lengths) / TILE)
works = torch.tensor([[float(tile * TILE < lengths[number // HEADS]) for tile in range(tiles)] for number in range(6)])
figure, axes = plt.subplots(figsize=(5.5, 3.2))
names = [f"sentence {number // HEADS}, head {number % HEADS}" for number in range(6)]
grid(axes, works, names, [f"tile {tile}" for tile in range(tiles)], decimals=None, low=0, high=1.3)
axes.tick_params(axis="x", rotation=0)
for number, line in enumerate(works.tolist()):
    axes.axhline(number - 0.5, color="white")
    for tile, busy in enumerate(line):
        until = min((tile + 1) * TILE, lengths[number // HEADS])
        text = f"queries {tile * TILE} to {until - 1}" if busy else "returns"
        axes.text(tile, number, text, ha="center", va="center", fontsize=9, color="white" if busy else "black")
show(figure, "Six rows of programs, two tiles each; only sentence 1, of 40 tokens, has work for its second tile.")
assert works.sum() == 8

if HAS_TRITON:
    query, key, value = torch.randn(3, sum(lengths), HEADS, 16)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    references = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    context, _ = get_attention("triton")(*leaves, layout, layout, 0.0)
    wanted, _ = eager_attention(*references, layout, layout)
    assert_close(context, wanted, atol=1e-5, rtol=1e-4)
    gradient = torch.randn_like(wanted)
    context.backward(gradient)
    wanted.backward(gradient)
    for leaf, reference in zip(leaves, references, strict=True):
        assert_close(leaf.grad, reference.grad, atol=1e-5, rtol=1e-4)
    print(f"forward and backward equal eager; largest difference {(context - wanted).abs().max().item():.0e}")
else:
    print("left out: Triton is not installed")

# %% [markdown]
# *The picture:* twelve programs are started, eight have work. On a GPU they would run side by side. The interpreter
# shows that the kernel's arithmetic is *right*. It says nothing about its speed, nor about what a GPU's compiler makes
# of it.
#
# ### Dropout without memory
#
# Training drops some of the weights at random, and the backward pass must drop the *same* ones: but it meets the pairs
# in other tiles, and storing the choice would be the matrix again. The kernel makes each random number out of a
# seed and the pair's place (`drop`; Salmon et al. 2011): whoever asks for the same pair gets the same answer.

# %%
if HAS_TRITON:
    ones = torch.ones_like(value)
    answers = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        answers.append(get_attention("triton")(query, key, ones, layout, layout, 0.3)[0])
    first, again, other = answers
    assert_close(first, again, atol=0, rtol=0)
    assert (first - other).abs().max() > 0.01
    print(f"the same seed, the same answer; mean of a sum of weights after dropout {first[3:43].mean():.3f}, wanted 1")
    assert abs(first[3:43].mean().item() - 1) < 0.1
else:
    print("left out: Triton is not installed")

# %% [markdown]
# ## 17.7 Common mistakes, shown breaking
#
# All three give numbers that look like attention.


# %%
def broken_flash(query, key, value, tile: int, mistake: str) -> np.ndarray:
    """`own_flash` for all queries at once, with a planted mistake"""
    largest = np.full(len(query), 0.0 if mistake == "largest begins at 0" else -np.inf)
    total, gathered = np.zeros(len(query)), np.zeros((len(query), value.shape[1]))
    if mistake == "last tile filled up with zeros":
        rest = (-len(key) % tile, key.shape[1])
        key, value = np.concatenate([key, np.zeros(rest)]), np.concatenate([value, np.zeros(rest)])
    for start in range(0, len(key), tile):
        scores = query @ key[start : start + tile].T / math.sqrt(query.shape[1])  # -> (queries, tile)
        new_largest = np.maximum(largest, scores.max(axis=1))
        shrink = np.exp(largest - new_largest)
        weights = np.exp(scores - new_largest[:, None])
        total = total * shrink + weights.sum(axis=1)
        if mistake == "the values are not shrunk":
            shrink = np.ones_like(shrink)
        gathered = gathered * shrink[:, None] + weights @ value[start : start + tile]
        largest = new_largest
    return gathered / total[:, None]


query, key, value = random.standard_normal((3, TOKENS, WIDTH))
right = written_out_in_numpy(query, key, value)
for mistake in ("none", "the values are not shrunk", "last tile filled up with zeros", "largest begins at 0"):
    error = np.abs(broken_flash(query, key, value, 32, mistake) - right).max()
    print(f"{mistake:31} off by up to {error:.3f}")
    if mistake in ("none", "largest begins at 0"):
        assert error < 1e-12
    else:
        assert error > 0.05

# %% [markdown]
# The third *passes*! Beginning at 0 instead of $-\infty$ does no harm, as long as some score is near 0 or above: any
# number may be subtracted. It breaks when all scores of a row are far below:

# %%
with np.errstate(invalid="ignore", divide="ignore"):
    low = broken_flash(np.full((1, WIDTH), 80.0), np.full((40, WIDTH), -80.0), value[:40], 32, "largest begins at 0")
print("all scores at -25,600:", low[0, :3], "...")
assert np.isnan(low).all()
fine = broken_flash(np.full((1, WIDTH), 80.0), np.full((40, WIDTH), -80.0), value[:40], 32, "none")
assert_close(fine[0], value[:40].mean(axis=0))

# %% [markdown]
# A test with tame random numbers would never have found it. Tests of kernels need large scores, short last tiles, and
# sentences of one token.
#
# ## Experiments to try
#
# 1. Add a causal mask to `own_flash` (query i sees keys 0 to i). Which tiles can be skipped entirely?
# 2. Let `own_flash` compute in float16, with and without `new_largest`, for scores of deviation 10. Then keep `total`
#    and `gathered` in float32 and the rest in float16, as GPU kernels do. How large are the errors?
# 3. Put a `print` or `breakpoint()` into a copy of `log_sum_kernel`, and step through the last piece.
#
# ## Questions
#
# <details><summary>The tile is a parameter. Why not take a very large one?</summary>
#
# It must fit into the fast memory, with its keys, values and the answer: 100 to 230 kilobytes on today's GPUs. And few
# large tiles leave processors without work.
# </details>
#
# <details><summary>Why does the kernel divide by the sum at the end and not after each tile?</summary>
#
# It would be right as well (the picture of 17.3 does it to show the way). But a division for each tile, of all
# numbers, is wasted: the next tile rescales them anyway.
# </details>
#
# <details><summary>How much memory does the backward pass keep from the forward pass?</summary>
#
# Query, key, value, the answer, and one number for each query: $4Sd + S$ a head. Written out, the $S^2$ weights are
# kept as well.
# </details>
#
# <details><summary>BERT's rows have at most 512 tokens. Does it matter there?</summary>
#
# Yes, by the count of 17.1: the intensity of the written-out form is below 32 at *any* length. And the memory that is
# kept for backward is 12.6 MB a row and block at 512 tokens (chapter 4). At 20 tokens it hardly matters.
# </details>
#
# ## Key points
#
# - Attention waits for memory, not for arithmetic: the matrix of scores is the traffic.
# - Softmax needs only two numbers of state: the largest and the sum. When the largest grows, shrink what you have.
# - Flash attention is exact. It computes more, and moves less.
# - Backward computes the weights again from one logarithm a query.
# - A kernel is the same loop, with a place to find and an edge to mask.
#
# **Code:** [`attention/flash_by_hand.py`](../minibert/attention/flash_by_hand.py) (`flash_forward`,
# `flash_backward`), [`attention/triton_kernels.py`](../minibert/attention/triton_kernels.py) (`forward_kernel`,
# `drop`), [`attention/triton.py`](../minibert/attention/triton.py) (`triton_attention`). The speed of the kernel is not
# measured on a GPU yet.
#
# **Papers:** Milakov & Gimelshein 2018, *Online normalizer calculation for softmax*; Dao et al. 2022,
# *FlashAttention*, section 3; Dao 2023, *FlashAttention-2*, algorithms 1 and 2; Salmon et al. 2011, *Parallel Random
# Numbers: As Easy as 1, 2, 3*.
#
# Before: [16. Padding is waste](16_padding.ipynb). Next: [18. Faster and bigger](18_faster_and_bigger.ipynb)
