# %% [markdown]
# # 5. The encoder block
#
# BERT-base is the same block twelve times. A block lets tokens meet (attention, chapter 4), then lets each token
# think by itself (feed-forward). Around both stand a residual connection and a LayerNorm. This chapter asks of each
# part: what is it for? It takes them away, one at a time, and measures.
#
# **You will be able to**
#
# - rebuild a block and prove it equal to the package's;
# - compute a LayerNorm and a GELU on paper, and tell the two forms of GELU apart;
# - say what residuals do for the signal and for the gradient;
# - tell post-norm from pre-norm;
# - take a part out of a model, and report honestly what that did, even if it did nothing.
#
# **You need** chapter 4. **Time:** an hour to read; the cells run in under a minute.

# %%
import copy
import inspect
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from pictures import BLUE, COLOURS, GREEN, GREY, VERMILION, show
from torch import nn
from torch.testing import assert_close

from minibert import BertConfig, BertModel
from minibert.attention import eager_attention
from minibert.model import BertBlock, BertFeedForward
from minibert.packing import Layout

torch.manual_seed(0)
print(inspect.getsource(BertBlock.forward))

# %% [markdown]
# Twice the same pattern: `norm(hidden + part(hidden))`. (`queries.select` matters only where the last block computes
# `[CLS]` alone; elsewhere it returns what it is given.)

# %%
figure, axes = plt.subplots(figsize=(11, 2.0))
boxes = [(1.5, "attention", VERMILION), (3.3, "+", GREY), (4.3, "norm", GREEN)]
boxes += [(6.0, "feed-forward", BLUE), (7.8, "+", GREY), (8.8, "norm", GREEN)]
axes.annotate("", (10.2, 0.5), (0, 0.5), arrowprops={"arrowstyle": "->", "color": "black"})
for start, end in ((0.5, 3.3), (4.95, 7.8)):
    axes.plot([start, start, end], [0.5, 1.0, 1.0], color="black", linewidth=1)
    axes.annotate("", (end, 0.62), (end, 1.0), arrowprops={"arrowstyle": "->", "color": "black"})
    axes.text((start + end) / 2, 1.03, "residual", ha="center")
for place, name, colour in boxes:
    axes.text(place, 0.5, name, ha="center", va="center", color="white", bbox={"boxstyle": "round", "color": colour})
axes.set(xlim=(-0.2, 10.4), ylim=(0.2, 1.25))
axes.axis("off")
show(figure, "A block as a line: attention, plus the residual, norm, feed-forward, plus the residual, norm.")

# %% [markdown]
# ## 5.1 LayerNorm
#
# Take one token's vector, subtract its mean and divide by its deviation (Ba et al. 2016). By hand, for $(1, 2, 3,
# 6)$: the mean is 3, the differences are $(-2, -1, 0, 3)$, the mean of their squares is $14/4 = 3.5$, its root
# 1.871. The answer: $(-1.069, -0.535, 0, 1.604)$.

# %%
example = torch.tensor([1.0, 2.0, 3.0, 6.0])


def layer_norm(hidden: torch.Tensor, weight=1.0, bias=0.0, eps: float = 1e-12) -> torch.Tensor:
    centred = hidden - hidden.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt() * weight + bias


assert_close(layer_norm(example), torch.tensor([-1.069, -0.535, 0.0, 1.604]), atol=1e-3, rtol=0)
norm = nn.LayerNorm(4, eps=1e-12)
assert_close(layer_norm(example), norm(example))
assert_close(layer_norm(100 * example + 7), norm(example))
print(norm(example))

# %% [markdown]
# The last line of proof says what it is for: whatever the scale and the offset of the input, the output has mean 0
# and deviation 1. The next layer can rely on it. Two learnt vectors, `weight` and `bias`, can undo it where that
# helps.
#
# Three details that trip people up:
#
# - The mean of squares divides by n, not by n - 1. `tensor.std()` divides by n - 1.
# - It looks at one token only. (BatchNorm mixes the tokens of a batch: a sentence's answer would depend on
#   which other sentences are in the batch, and on their padding.)
# - BERT's `eps` is $10^{-12}$, PyTorch's default is $10^{-5}$. Where the numbers themselves are small, it matters:

# %%
with_std = (example - example.mean()) / example.std()
print("with std():", with_std, " largest error:", f"{(with_std - norm(example)).abs().max():.2f}")
assert (with_std - norm(example)).abs().max() > 0.2
faint = 0.01 * torch.randn(1000, 768)
eps_matters = (F.layer_norm(faint, (768,), eps=1e-5) - F.layer_norm(faint, (768,), eps=1e-12)).abs().max().item()
print(f"inputs of deviation 0.01, eps 1e-5 instead of 1e-12: off by up to {eps_matters:.2f}")
assert eps_matters > 0.05

# %% [markdown]
# ## 5.2 GELU, in two forms
#
# Between its two linear layers the feed-forward bends the numbers. ReLU would be $\max(0, x)$. GELU (Hendrycks &
# Gimpel 2016) multiplies $x$ by the probability that a standard normal number is below it: $\mathrm{GELU}(x) =
# x\,\Phi(x)$. By hand: $\Phi(1) = 0.841$, so $\mathrm{GELU}(1) = 0.841$ and $\mathrm{GELU}(-1) = -1 \cdot 0.159 =
# -0.159$.
#
# There are two ways to compute $\Phi$. One is exact, with the error function. The other is a fit, from times when
# that was slow. So GELU has two forms:
#
# $$\tfrac{x}{2}\left(1 + \mathrm{erf}(x / \sqrt 2)\right) \qquad\text{and}\qquad
# \tfrac{x}{2}\left(1 + \tanh\left(\sqrt{2/\pi}\,(x + 0.044715\,x^3)\right)\right)$$


# %%
def gelu_erf(inputs: torch.Tensor) -> torch.Tensor:
    return inputs / 2 * (1 + torch.erf(inputs / math.sqrt(2)))


def gelu_tanh(inputs: torch.Tensor) -> torch.Tensor:
    return inputs / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inputs + 0.044715 * inputs**3)))


inputs = torch.linspace(-5, 5, 100_001, dtype=torch.float64)
assert_close(gelu_erf(inputs), F.gelu(inputs))
assert_close(gelu_tanh(inputs), F.gelu(inputs, approximate="tanh"))
assert abs(gelu_erf(torch.tensor(1.0)).item() - 0.841) < 1e-3

difference = gelu_tanh(inputs) - gelu_erf(inputs)
worst = difference.abs().argmax()
lowest = gelu_erf(inputs).argmin()
print(f"the two forms differ by at most {difference.abs().max():.2e}, at x = {inputs[worst].abs():.2f}")
print(f"GELU is lowest at x = {inputs[lowest]:.3f}, where it is {gelu_erf(inputs)[lowest]:.3f}")
assert 4e-4 < difference.abs().max() < 5e-4

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
axes[0].plot(inputs, gelu_erf(inputs), color=BLUE, label="GELU")
axes[0].plot(inputs, inputs.relu(), "--", color=VERMILION, label="ReLU")
axes[0].set(xlabel="x", ylabel="what becomes of x", xlim=(-3, 3), ylim=(-0.4, 3))
axes[0].legend()
axes[1].plot(inputs, difference * 1e4, color=GREEN)
axes[1].set(xlabel="x", ylabel="tanh form - erf form, times 10⁴")
show(figure, "Left: GELU beside ReLU, smooth and slightly below 0 on the left. Right: the forms differ by under 5e-4.")

# %% [markdown]
# *The picture:* GELU is a ReLU with a soft corner. The two forms differ by less than 0.0005. Small, but twelve blocks
# pass it on, and whoever compares two BERTs to five decimals will find it. Google's code computes the tanh form and
# writes `"gelu"` into its config; Hugging Face's files say `"gelu"` and mean erf. The package calls them `"gelu"`
# (erf) and `"gelu_new"` (tanh).
#
# ## 5.3 Feed-forward: why there must be a bend
#
# Two linear layers without anything between are one linear layer: $W_2(W_1 x) = (W_2 W_1) x$. And there are simple
# things that no linear layer can do. Take "one or the other, but not both" (XOR). By hand: the best straight-line
# guess is 0.5 everywhere, with a mean squared error of 0.25.

# %%
either = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
wanted = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
with_bias = torch.cat([either, torch.ones(4, 1)], dim=1)  # (4, 2) -> (4, 3)
best_line = with_bias @ torch.linalg.lstsq(with_bias, wanted).solution  # (4, 3) @ (3, 1) -> (4, 1)
print("best linear guess:", [round(number, 3) for number in best_line.flatten().tolist()])
assert_close(best_line, torch.full((4, 1), 0.5))

sums = either.sum(dim=1, keepdim=True)
bent = (F.gelu(20 * sums) - 2 * F.gelu(20 * (sums - 1))) / 20  # two hidden units, with GELU
print("two GELUs:        ", [round(number, 3) for number in bent.flatten().tolist()])
assert_close(bent, wanted, atol=1e-3, rtol=0)

# %% [markdown]
# The feed-forward widens each token's vector four times, bends it, and narrows it again. It never looks at another
# token, so shuffling the tokens shuffles its answers:

# %%
feed_forward = BertFeedForward(BertConfig()).eval()
tokens, order = torch.randn(6, 768), torch.randperm(6)
with torch.no_grad():
    assert_close(feed_forward(tokens)[order], feed_forward(tokens[order]))
print(inspect.getsource(BertFeedForward.forward))
in_feed_forward = sum(parameter.numel() for parameter in feed_forward.parameters())
in_block = sum(parameter.numel() for parameter in BertBlock(BertConfig()).parameters())
print(f"{in_feed_forward:,} of a block's {in_block:,} parameters: {in_feed_forward / in_block:.1%}")
assert in_block == 7_087_872

# %% [markdown]
# (`keep_recipe` saves memory in training and changes no number.) Two thirds of a block are feed-forward. One way to
# read it (Geva et al. 2021): each of its 3,072 hidden units is a pattern and what to add when that pattern is met.
#
# ## 5.4 Build it yourself
#
# A block from its weights, with `layer_norm` and `gelu_erf` from above. The parts of a block and of its feed-forward
# have the names that you saw in the two `forward`s; each has a `weight` and a `bias`, and a linear layer computes
# $xW^\top + b$. Attention comes from the package, since you built it in chapter 4: `block.attention(hidden, layout,
# layout, eager_attention)` gives its answer and, as a second thing, the probabilities.

# %%
config = BertConfig(
    vocab_size=64,
    hidden_size=64,
    num_hidden_layers=24,
    num_attention_heads=4,
    intermediate_size=256,
    max_position_embeddings=16,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    # Sums over 64 numbers are smaller than sums over 768. This start makes the small model behave as BERT-base does.
    initializer_range=0.02 * math.sqrt(768 / 64),
)
model = BertModel(config, attn_implementation="eager")
block = copy.deepcopy(model.blocks[0])
for number, parameter in enumerate(block.parameters()):
    if parameter.dim() == 1:  # fresh biases and norms, 0 and 1, would not be missed
        parameter.data += torch.linspace(-0.5, 0.5, len(parameter)).roll(number)
layout = Layout.from_mask(torch.ones(2, 16, dtype=torch.bool))


def own_block(block: BertBlock, hidden: torch.Tensor, layout: Layout) -> torch.Tensor:
    """(tokens, hidden) -> (tokens, hidden)"""
    # BEGIN SOLUTION
    attended, _ = block.attention(hidden, layout, layout, eager_attention)
    hidden = layer_norm(hidden + attended, block.attention_norm.weight, block.attention_norm.bias)
    inner, outer = block.feed_forward.intermediate, block.feed_forward.output
    wide = gelu_erf(hidden @ inner.weight.T + inner.bias)  # (tokens, hidden) -> (tokens, intermediate)
    thought = wide @ outer.weight.T + outer.bias  # (tokens, intermediate) -> (tokens, hidden)
    return layer_norm(hidden + thought, block.feed_forward_norm.weight, block.feed_forward_norm.bias)
    # END SOLUTION


hidden = torch.randn(32, 64)
theirs, _ = block(hidden, layout, layout, eager_attention)
assert_close(own_block(block, hidden, layout), theirs, atol=1e-5, rtol=1e-4)
print("equal")

# %% [markdown]
# ## 5.5 Take each away and watch
#
# Now a block with parts that can be left out, and one more choice: where the norm stands. BERT norms *after* the
# addition (post-norm, as in Vaswani et al.). GPT-2 and most models since norm what goes *into* each part (pre-norm):
#
# $$\text{post: } \mathrm{norm}(x + f(x)) \qquad\qquad \text{pre: } x + f(\mathrm{norm}(x))$$


# %%
def varied_block(block: BertBlock, hidden: torch.Tensor, layout: Layout, change: str) -> torch.Tensor:
    parts = [
        (lambda given: block.attention(given, layout, layout, eager_attention)[0], block.attention_norm),
        (block.feed_forward, block.feed_forward_norm),
    ]
    if change == "no attention":
        parts = parts[1:]
    if change == "no feed-forward":
        parts = parts[:1]
    for part, norm in parts:
        if change == "no residual":
            hidden = norm(part(hidden))
        elif change == "no norm":
            hidden = hidden + part(hidden)
        elif change == "pre-norm":
            hidden = hidden + part(norm(hidden))
        else:
            hidden = norm(hidden + part(hidden))
    return hidden


assert_close(varied_block(block, hidden, layout, "as it is"), theirs)

# %% [markdown]
# ### The signal, upwards
#
# Send random tokens through 24 fresh blocks. After each, measure two things: how alike the tokens of a sentence are
# (mean cosine between different tokens), and how large their numbers are.


# %%
def alikeness(hidden: torch.Tensor) -> float:
    """Mean cosine between different tokens of the same row."""
    rows = F.normalize(layout.pad(hidden), dim=-1)  # (tokens, hidden) -> (batch, seq, hidden)
    cosines = rows @ rows.mT  # (batch, seq, hidden) -> (batch, seq, seq)
    return cosines[:, ~torch.eye(16, dtype=torch.bool)].mean().item()


changes = ("as it is", "no residual", "no norm", "pre-norm")
alike, sizes = {}, {}
with torch.no_grad():
    for change in changes:
        hidden = layer_norm(torch.randn(32, 64, generator=torch.Generator().manual_seed(1)))
        alike[change], sizes[change] = [alikeness(hidden)], [hidden.std().item()]
        for block in model.blocks:
            hidden = varied_block(block, hidden, layout, change)
            alike[change].append(alikeness(hidden))
            sizes[change].append(hidden.std().item())

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
for (change, colour), style in zip(zip(changes, COLOURS, strict=False), ("-", "--", ":", "-."), strict=True):
    axes[0].plot(alike[change], style, color=colour, label=change, linewidth=2)
    axes[1].plot(sizes[change], style, color=colour, label=change, linewidth=2)
axes[0].set(xlabel="blocks", ylabel="mean cosine of two tokens", ylim=(-0.1, 1.05))
axes[1].set(xlabel="blocks", ylabel="deviation of the numbers")
axes[0].legend(loc=(0.1, 0.5))
show(figure, "Without residuals all tokens become one within two blocks; without norm or with pre-norm numbers grow.")
for change in changes:
    similar, size = alike[change], sizes[change][-1]
    print(f"{change:12} alike {similar[2]:.2f} after 2 blocks, {similar[-1]:.2f} after 24; deviation {size:.2f}")
assert alike["no residual"][2] > 0.95
assert alike["as it is"][-1] < 0.5
assert abs(sizes["as it is"][-1] - 1) < 0.05
assert sizes["no norm"][-1] > 2
assert sizes["pre-norm"][-1] > 1.4

# %% [markdown]
# *The picture, left:* without the residual all tokens of a sentence become the *same* vector, after two blocks. Fresh
# attention is nearly an even average, and an average of everything is the same for all. The residual adds each
# token's own vector back, so it stays itself. (Dong et al. 2021 prove this: "attention is not all you need".)
#
# *Right:* without norms the numbers grow from block to block. Pre-norm lets them grow, too, since nothing norms the
# sum; such models put one more norm at the very end. Post-norm holds them at 1.
#
# ### The gradient, downwards
#
# On paper: let each part be $f(x) = 0.1x$. Through 24 of them in a row the slope is $0.1^{24} = 10^{-24}$: nothing
# reaches the bottom. With residuals each is $x + 0.1x$, and the slope is $1.1^{24} = 9.85$. In general the derivative
# of $x + f(x)$ is $1 + f'(x)$: the 1 is a road on which the gradient always gets through (He et al. 2015).

# %%
number = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
plain, residual = number, number
for _ in range(24):
    plain, residual = 0.1 * plain, residual + 0.1 * residual
slope_plain, slope_residual = (torch.autograd.grad(end, number)[0].item() for end in (plain, residual))
print(f"slope without {slope_plain:.1e}, with residuals {slope_residual:.2f}")
assert slope_plain < 1e-23
assert abs(slope_residual - 9.85) < 0.01

# %% [markdown]
# Is that what happens in our 24 blocks? Do not believe it: measure. Put a random classifier on top, and look at the
# gradient of the first block's weights.

# %%
for change in ("as it is", "no residual"):
    torch.manual_seed(2)
    model.zero_grad()
    hidden = layer_norm(torch.randn(32, 64))
    for block in model.blocks:
        hidden = varied_block(block, hidden, layout, change)
    F.cross_entropy(nn.Linear(64, 8)(hidden), torch.randint(8, (32,))).backward()
    size = model.blocks[0].feed_forward.output.weight.grad.norm().item()
    print(f"{change:12} gradient of the first block: {size:.2f}")
    assert 0.1 < size < 10

# %% [markdown]
# It does not vanish! The norms divide by the deviation, which is small when a part's answers are small, and so blow
# the gradient up again. What a deep BERT without residuals lacks is not the *size* of the gradient. Its tokens are
# all the same: there is nothing left to learn *from*. The textbook's reason is right for plain networks, and not for
# this one.
#
# ### Training
#
# A task that needs a look at others and a decision: for each token, the larger of its two neighbours. Four blocks,
# 250 steps. Before you run it, write down which variants you expect to fail.

# %%
SYMBOLS, ROW = 8, 12
VARIANTS = ("as it is", "pre-norm", "no residual", "no attention", "no norm", "no feed-forward")


class SmallTask(nn.Module):
    """Four blocks, changed, and a classifier for each token."""

    def __init__(self, change: str) -> None:
        super().__init__()
        self.change = change
        small = BertConfig(
            vocab_size=SYMBOLS,
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=ROW,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.bert = BertModel(small, add_pooling_layer=False)
        self.final_norm = nn.LayerNorm(32) if change == "pre-norm" else nn.Identity()
        self.classifier = nn.Linear(32, SYMBOLS)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        batch = self.bert.pack(input_ids)
        hidden = self.bert.embeddings(batch)  # (batch, seq) -> (tokens, hidden)
        for block in self.bert.blocks:
            hidden = varied_block(block, hidden, batch.layout, self.change)
        return self.classifier(self.final_norm(hidden))  # (tokens, hidden) -> (tokens, symbols)


curves = {}
for change in VARIANTS:
    torch.manual_seed(0)
    task = SmallTask(change)
    optimizer = torch.optim.AdamW(task.parameters(), lr=2e-3)
    losses = []
    for _ in range(250):
        row = torch.randint(SYMBOLS, (64, ROW))
        larger = torch.maximum(row.roll(1, dims=1), row.roll(-1, dims=1))
        loss = F.cross_entropy(task(row), larger.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    curves[change] = losses
    print(f"{change:16} loss at the end {sum(losses[-10:]) / 10:.2f}")

figure, axes = plt.subplots(figsize=(8, 4))
for (change, losses), colour, style in zip(
    curves.items(), COLOURS, ("-", "-.", "--", ":", (0, (5, 1, 1, 1)), (0, (1, 1))), strict=False
):
    axes.plot(losses, color=colour, linestyle=style, label=change, linewidth=2)
axes.set(xlabel="step", ylabel="loss", ylim=(0, 2.4))
axes.legend(fontsize=9, loc="center right")
show(figure, "Loss curves: without residual and without attention stay at 1.9, the others fall to nearly 0.")
final = {change: sum(losses[-10:]) / 10 for change, losses in curves.items()}
assert final["no residual"] > 1.7
assert final["no attention"] > 1.7
assert max(final[change] for change in ("as it is", "pre-norm", "no norm", "no feed-forward")) < 0.3

# %% [markdown]
# *The picture:* without attention a token cannot see its neighbours, and the loss stays where guessing leaves it.
# Without residuals the tokens are one, with the same result. You may compute that loss on paper: the larger of two
# random symbols is $k$ with probability $(2k+1)/64$, and the entropy of that is 1.89.
#
# And without norm, or without feed-forward? They do *as well*. That is an honest result and a useful one. The task
# is so small that four blocks of attention are enough, and so shallow that numbers have no time to grow. What a part
# is for shows only in a task that needs it: the norm in depth (the picture before), the bend in XOR (section 5.3).
# When you read that a part of a model "can be removed", ask: measured on what?

# %%
chances = torch.tensor([(2 * larger + 1) / 64 for larger in range(SYMBOLS)])
entropy = -(chances * chances.log()).sum().item()
print(f"entropy of the answer: {entropy:.2f}; loss without attention: {final['no attention']:.2f}")
assert abs(entropy - final["no attention"]) < 0.1

# %% [markdown]
# ## 5.6 Dropout
#
# In training, BERT sets a tenth of the numbers to zero, at random, and enlarges the rest by 1/0.9 so that the mean
# stays the same. It does so in four places: after the embeddings, on the attention weights, and after each of the
# two parts of a block, before the addition. `model.eval()` switches it off. Forgetting that is the most common
# mistake of all:

# %%
dropping = BertModel(BertConfig(vocab_size=64, hidden_size=64, num_hidden_layers=2, num_attention_heads=4))
row = torch.randint(64, (1, 8))
with torch.no_grad():
    dropping.train()
    in_training = (dropping(row).last_hidden_state - dropping(row).last_hidden_state).abs().max().item()
    dropping.eval()
    in_evaluation = (dropping(row).last_hidden_state - dropping(row).last_hidden_state).abs().max().item()
print(f"the same input twice: differs by {in_training:.2f} in train(), by {in_evaluation:.1f} in eval()")
assert in_training > 0.1
assert in_evaluation == 0

# %% [markdown]
# ## Common mistakes
#
# - **Dividing by n - 1** in LayerNorm, or leaving `eps` at $10^{-5}$: section 5.1.
# - **The other GELU**: section 5.2.
# - **Pre-norm by habit.** Load BERT's weights into a block that norms first, and nothing fails. The answers are
#   wrong:

# %%
with torch.no_grad():
    hidden = layer_norm(torch.randn(32, 64))
    right, wrong = (varied_block(model.blocks[0], hidden, layout, change) for change in ("as it is", "pre-norm"))
print(f"one block in the wrong order: off by up to {(right - wrong).abs().max():.2f}")
assert (right - wrong).abs().max() > 0.05

# %% [markdown]
# ## Experiments to try
#
# 1. Train `SmallTask` with 12 blocks, as it is and pre-norm, at learning rates 2e-3, 5e-3 and 1e-2. Post-norm is the
#    first to fail. Xiong et al. (2020) explain why it wants a warm-up; chapter 9 measures what a warm-up does.
# 2. Multiply all weights of the fresh 24 blocks by 2 and draw the picture of section 5.5 again. Without norm?
# 3. Find a task in which "no feed-forward" falls behind. A hint: a table to learn by heart, with a random answer for
#    each of 256 symbols in each of the 12 places, and 500 steps.
#
# ## Questions
#
# <details><summary>Why must a part's output be as wide as its input?</summary>
#
# Because they are added. All blocks have the same width, and one can be put on another.
# </details>
#
# <details><summary>LayerNorm removes mean and scale. Does the vector lose information?</summary>
#
# Two numbers of 768: its mean and its length. The direction of what is left stays.
# </details>
#
# <details><summary>Could the blocks share one set of weights?</summary>
#
# Yes: ALBERT (Lan et al. 2020) does so. It has far fewer parameters, and takes just as long to compute.
# </details>
#
# <details><summary>Why is GELU not 0 for all negative numbers?</summary>
#
# Because $x\,\Phi(x)$ is slightly negative there, with its lowest value of -0.170 at -0.752. So units that are "off"
# still have a slope and can come back.
# </details>
#
# ## Key points
#
# - A block is attention, then feed-forward; each followed by addition and norm.
# - Residuals keep tokens apart. Without them attention averages everything into one.
# - LayerNorm holds the scale, token by token; BERT norms after the addition.
# - Without the bend two layers are one.
# - Say on which task a part was found needed, or not.
#
# **Code:** [`model.py`](../minibert/model.py) (`BertBlock`, `BertFeedForward`, `ACTIVATIONS`).
#
# **Papers:** Vaswani et al. 2017, sections 3.1 and 3.3; He et al. 2015, *Deep Residual Learning*; Ba et al. 2016,
# *Layer Normalization*; Hendrycks & Gimpel 2016, *Gaussian Error Linear Units*; Xiong et al. 2020, *On Layer
# Normalization in the Transformer Architecture*; Dong et al. 2021, *Attention is not all you need*; Geva et al.
# 2021, *Transformer Feed-Forward Layers Are Key-Value Memories*.
#
# Before: [4. Attention](04_attention.ipynb). Next: [6. The whole model](06_model.ipynb)
