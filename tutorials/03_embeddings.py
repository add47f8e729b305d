# %% [markdown]
# # 3. Embeddings
#
# An id says *which* token. The encoder needs a vector: *what* the token is, *where* it stands and *which text* it is
# in. BERT looks up three vectors and adds them (Devlin et al. 2019, section 3 and figure 2). In the tour you met the
# first of them, in which *north* lies next to *south*. Here you see what the other two are for.
#
# **You will be able to**
#
# - compute an embedding on paper and rebuild `BertEmbeddings`;
# - show that without positions BERT could not tell "dog bites man" from "man bites dog";
# - train position embeddings in seconds and see what they learn;
# - say why three things may be added into one vector without getting lost.
#
# **You need** chapter 2 and a little PyTorch. **Time:** 45 minutes to read; the cells run in half a minute.

# %%
import copy
import inspect
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from pictures import BLUE, ORANGE, VERMILION, grid, show
from torch import nn
from torch.testing import assert_close

from minibert import BertConfig, BertForMaskedLM, BertModel, InputError
from minibert.model import BertEmbeddings
from minibert.packing import PackedBatch

# %% [markdown]
# ## 3.1 A look-up is a matrix product
#
# Five words, three numbers each. The embedding of id 2 is row 2 of the matrix.

# %%
torch.manual_seed(0)
words = ["[PAD]", "dog", "bites", "man", "."]
matrix = torch.tensor(
    [[0.0, 0.0, 0.0], [1.0, 0.2, -0.5], [0.0, -1.0, 0.3], [0.8, 0.4, -0.2], [-0.3, 0.1, 0.9]],
    requires_grad=True,
)
ids = torch.tensor([1, 2, 3])
looked_up = matrix[ids]  # (tokens) -> (tokens, hidden)
one_hot = F.one_hot(ids, num_classes=5).float()  # (tokens) -> (tokens, vocab)
multiplied = one_hot @ matrix  # (tokens, vocab) -> (tokens, hidden)
assert_close(looked_up, multiplied)
assert_close(nn.Embedding.from_pretrained(matrix)(ids), looked_up)

figure, axes = plt.subplots(1, 3, figsize=(10, 3), width_ratios=[5, 3, 3])
grid(axes[0], one_hot, ["dog", "bites", "man"], words, decimals=0)
grid(axes[1], matrix, words, decimals=1, colours="PuOr", low=-1, high=1)
grid(axes[2], looked_up, ["dog", "bites", "man"], decimals=1, colours="PuOr", low=-1, high=1)
for part, title in zip(axes, ("one-hot  (3, 5)", "times matrix  (5, 3)", "is look-up  (3, 3)"), strict=True):
    part.set_title(title)
for part in axes[1:]:
    part.set_xticks([])
show(figure, "Three grids: one-hot rows times the embedding matrix equals the three looked-up rows.")

# %% [markdown]
# *The picture:* a one-hot row picks one row of the matrix. So an embedding is a linear layer whose input is a one-hot
# vector, computed without the multiplications by zero.
#
# That also tells you its gradient: only rows that were looked up get any. A word that is not in the batch does not
# move (until weight decay or Adam's momentum moves it). In pretraining it does: there the same matrix also scores the
# guesses of masked words (chapter 6), and each guess moves all rows.

# %%
looked_up.sum().backward()
print(matrix.grad)
assert_close(matrix.grad.sum(dim=1), torch.tensor([0.0, 3.0, 3.0, 3.0, 0.0]))

# %% [markdown]
# ## 3.2 Without positions, order is invisible
#
# Attention (chapter 4) is a weighted average over a *set* of vectors. Everything else works on one token at a time.
# Nothing in that knows what comes first. So if we take the positions away, shuffled words must give the same vectors,
# shuffled. Let us see whether that is so.

# %%
config = BertConfig(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=32,
)
model = BertModel(config).eval()
nn.init.normal_(model.embeddings.word_embeddings.weight)  # larger than BERT's 0.02, so that differences are easy to see
nn.init.normal_(model.embeddings.position_embeddings.weight)
dog_bites_man, man_bites_dog = torch.tensor([[11, 12, 13]]), torch.tensor([[13, 12, 11]])


def vector_of_dog_differs() -> float:
    """By how much the vector of `dog` (id 11) differs between the two sentences."""
    with torch.no_grad():
        first = model(dog_bites_man).last_hidden_state[0, 0]
        second = model(man_bites_dog).last_hidden_state[0, 2]
    return (first - second).abs().max().item()


with_positions = vector_of_dog_differs()
kept = model.embeddings.position_embeddings.weight.detach().clone()
nn.init.zeros_(model.embeddings.position_embeddings.weight)
without_positions = vector_of_dog_differs()
model.embeddings.position_embeddings.weight.data.copy_(kept)
print(f"the vectors of dog differ by {with_positions:.3f} with positions, by {without_positions:.1e} without")
assert with_positions > 0.1
assert without_positions < 1e-5

# %% [markdown]
# Without positions the biter and the bitten have the same vector, up to rounding. No amount of training can part
# them.
#
# ## 3.3 Three vectors, one sum, one LayerNorm
#
# Here is all of it:

# %%
print(inspect.getsource(BertEmbeddings.forward))

# %% [markdown]
# Do one token by hand. Let the word be $(1, 0, 2, 1)$, the position $(0, 2, 0, 1)$ and the segment $(1, 0, 0, 2)$.
#
# 1. Sum: $(2, 2, 2, 4)$.
# 2. Mean: $10/4 = 2.5$. Subtract it: $(-0.5, -0.5, -0.5, 1.5)$.
# 3. Mean of the squares: $(0.25 + 0.25 + 0.25 + 2.25)/4 = 0.75$; its root is $0.866$.
# 4. Divide: $(-0.577, -0.577, -0.577, 1.732)$.
#
# LayerNorm then multiplies by a learnt scale (1 at first) and adds a learnt shift (0 at first). Chapter 5 asks why.

# %%
word, position, segment = torch.tensor([[1.0, 0, 2, 1], [0, 2, 0, 1], [1, 0, 0, 2]])
total = word + position + segment
by_hand = torch.tensor([-0.577, -0.577, -0.577, 1.732])
assert_close(F.layer_norm(total, (4,), eps=1e-12), by_hand, atol=1e-3, rtol=0)
print(F.layer_norm(total, (4,), eps=1e-12))

# %% [markdown]
# ### Build it yourself
#
# Three matrices and five lines. It reads the package's weights, and must give the package's numbers. They have the
# names of `BertEmbeddings`: `word_embeddings.weight` and so on; `layer_norm.weight` is the scale of the norm and
# `layer_norm.bias` its shift. Before the root in step 3 add $10^{-12}$ (`eps`), as the package does, so that no vector
# is divided by 0. A `PackedBatch` is how the package holds a batch without padding: all tokens in one row (chapter 6).


# %%
def embed(weights: dict[str, torch.Tensor], input_ids, token_type_ids, position_ids) -> torch.Tensor:
    # BEGIN SOLUTION
    total = (
        weights["word_embeddings.weight"][input_ids]  # (tokens) -> (tokens, hidden)
        + weights["position_embeddings.weight"][position_ids]
        + weights["token_type_embeddings.weight"][token_type_ids]
    )
    centred = total - total.mean(dim=-1, keepdim=True)
    normed = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-12).sqrt()
    return normed * weights["layer_norm.weight"] + weights["layer_norm.bias"]
    # END SOLUTION


batch = PackedBatch.from_sequences([[2, 11, 12, 3], [2, 13, 3]], [[0, 0, 0, 0], [0, 1, 1]])
print("ids", batch.input_ids.tolist(), " positions", batch.position_ids.tolist())
trained = copy.deepcopy(model.embeddings)
for parameter in trained.layer_norm.parameters():  # fresh ones, 1 and 0, would not be missed
    parameter.data += torch.linspace(-0.5, 0.5, config.hidden_size)
own = embed(dict(trained.state_dict()), batch.input_ids, batch.token_type_ids, batch.position_ids)
assert_close(own, trained(batch))
assert batch.position_ids.tolist() == [0, 1, 2, 3, 0, 1, 2]

# %% [markdown]
# ## 3.4 Why may we add them? Do they not get mixed up?
#
# A sum of three numbers cannot be undone. A sum of three *vectors of 768 numbers* mostly can, for two reasons.
#
# **Adding is what concatenating would do.** Suppose we put word and position side by side instead, and let a linear
# layer read both. The layer's matrix has one part for the word and one for the position, and what comes out is the
# sum of the two products. Adding gives the same form with one matrix shared by both.

# %%
word, position = torch.randn(1, 6), torch.randn(1, 6)
layer = nn.Linear(12, 4, bias=False)
side_by_side = layer(torch.cat([word, position], dim=1))  # (1, 12) -> (1, 4)
as_a_sum = word @ layer.weight[:, :6].T + position @ layer.weight[:, 6:].T  # (1, 6) -> (1, 4)
assert_close(side_by_side, as_a_sum)

# %% [markdown]
# **In many dimensions, random directions are nearly at right angles.** The cosine between two random vectors of width
# H has mean 0 and deviation about $1/\sqrt{H}$. In 768 dimensions that is 0.036. There is room for positions in
# directions that words hardly use, and a matrix can read either and ignore the other.

# %%
widths = [2, 8, 32, 128, 768]
deviations = []
for width in widths:
    cosines = F.cosine_similarity(torch.randn(5000, width), torch.randn(5000, width))
    deviations.append(cosines.std().item())
    print(f"width {width:>3}: deviation of the cosine {deviations[-1]:.3f}, 1/sqrt(width) {1 / math.sqrt(width):.3f}")
    assert abs(deviations[-1] * math.sqrt(width) - 1) < 0.05

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharex=True)
for part, width, colour in zip(axes, (2, 32, 768), (VERMILION, ORANGE, BLUE), strict=True):
    part.hist(
        F.cosine_similarity(torch.randn(5000, width), torch.randn(5000, width)), bins=41, range=(-1, 1), color=colour
    )
    part.set(title=f"width {width}", xlabel="cosine", yticks=[])
show(
    figure, "Histograms of cosines of random vectors: spread to both ends in width 2, a narrow peak at 0 in width 768."
)

# %% [markdown]
# *The picture:* in two dimensions random vectors point anywhere relative to each other. In 768 all pairs stand nearly
# at right angles.
#
# ## 3.5 What positions learn
#
# The first Transformer did not learn its positions. It used sine and cosine waves of many lengths (Vaswani et al.
# 2017, section 3.5). They have a fine property: the dot product of two positions depends only on their distance,
# since $\sin a \sin b + \cos a \cos b = \cos(a - b)$.

# %%
SEQ, WIDTH = 24, 32
frequencies = 10000 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
angles = torch.arange(SEQ).unsqueeze(1) * frequencies  # (seq, 1) * (half) -> (seq, half)
waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # -> (seq, half, 2) -> (seq, hidden)
products = waves @ waves.T  # (seq, hidden) -> (seq, seq)
for distance in range(SEQ):
    diagonal = products.diagonal(distance)
    assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)

# %% [markdown]
# BERT starts from random positions and learns them like words. What will it find? Let us train a very small BERT on a
# language in which neighbours matter: each token is the one before it, plus -1, 0 or 1 (counted around a circle of
# 20). Some tokens are masked, and the model must guess them (chapter 7 explains this task). To guess well it must
# find the neighbours, and so it must learn *which positions are neighbours*. Nobody tells it.

# %%
SYMBOLS, MASK = 20, 1
walker = BertForMaskedLM(
    BertConfig(
        vocab_size=SYMBOLS + 2,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=SEQ,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
)
positions = walker.bert.embeddings.position_embeddings.weight
before = positions.detach().clone()
optimizer = torch.optim.AdamW(walker.parameters(), lr=3e-3)
losses = []
for _ in range(500):
    start = torch.randint(SYMBOLS, (64, 1))
    tokens = (start + torch.randint(-1, 2, (64, SEQ)).cumsum(dim=1)) % SYMBOLS + 2  # -> (batch, seq)
    masked = torch.rand(64, SEQ) < 0.15
    loss = walker(tokens.masked_fill(masked, MASK), labels=tokens.masked_fill(~masked, -100)).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
start_loss, end_loss = losses[0], sum(losses[-50:]) / 50
print(f"loss {start_loss:.2f} -> {end_loss:.2f}; guessing blindly costs ln 20 = {math.log(SYMBOLS):.2f}")
assert end_loss < 1.3


# %%
def cosines(vectors: torch.Tensor) -> torch.Tensor:
    directions = F.normalize(vectors.detach(), dim=1)
    return directions @ directions.T  # (seq, hidden) -> (seq, seq)


figure, axes = plt.subplots(1, 3, figsize=(11, 3.8))
titles = ("learnt: before training", "learnt: after training", "sine and cosine waves")
for part, vectors, title in zip(axes, (before, positions, waves), titles, strict=True):
    grid(part, cosines(vectors), decimals=None, colours="PuOr", low=-1, high=1)
    part.set(title=title, xlabel="position", aspect="equal")
axes[0].set_ylabel("position")
figure.colorbar(axes[2].images[0], ax=axes, label="cosine", shrink=0.8)
show(
    figure,
    "Three maps of cosines between positions. Before: only the diagonal. After: a broad band around the diagonal. "
    "Waves: a band too.",
)
for distance in (1, 2, 4, 8):
    now = cosines(positions).diagonal(distance).mean().item()
    then = cosines(before).diagonal(distance).mean().item()
    print(f"distance {distance}: mean cosine {then:+.2f} before, {now:+.2f} after")
assert cosines(positions).diagonal(1).mean() > 0.8
assert cosines(positions).diagonal(1).mean() > cosines(positions).diagonal(8).mean() + 0.3
assert abs(cosines(before).diagonal(1).mean()) < 0.2

# %% [markdown]
# *The picture:* before training each position resembles only itself. After training a violet band runs along the
# diagonal: positions that are near are similar, and similarity fades with distance and even turns negative. The model
# found out that positions lie on a line. The position embeddings of the real BERT show such a band too (Wang & Chen
# 2020).
#
# Learnt positions have a price: there are exactly 512 of them. BERT has nothing to say about position 512, the 513th
# token. Google trained most steps on short rows of 128 tokens and only the last tenth on 512, "to learn the positional
# embeddings" (Devlin et al. 2019, appendix A.2). The model of section 3.2 has 32 positions. Give it 33 tokens:

# %%
try:
    model(torch.ones(1, 33, dtype=torch.long))
except InputError as error:
    print(error)
    assert "32 positions" in str(error)
else:
    raise AssertionError("too long a row must be refused")

# %% [markdown]
# ## 3.6 Segments
#
# BERT often reads two texts at once: a question and a passage, or two sentences. There are two segment vectors, one
# for each; all tokens of the first text get the first, all of the second the other. `[SEP]` already marks the
# border, but a token in the middle would have to look for it. The segment vector tells every token at once.

# %%
same_ids = torch.tensor([[2, 11, 12, 3, 13, 12, 3]])
with torch.no_grad():
    one_text = model(same_ids).last_hidden_state
    two_texts = model(same_ids, token_type_ids=torch.tensor([[0, 0, 0, 0, 1, 1, 1]])).last_hidden_state
change = (one_text - two_texts).abs().max().item()
print(f"the same ids as one text or as two: outputs differ by up to {change:.3f}")
assert change > 1e-4

# %% [markdown]
# ## 3.7 What it weighs
#
# Count the numbers of BERT-base's embeddings on paper before you run the cell:
# $30{,}522 \cdot 768 + 512 \cdot 768 + 2 \cdot 768$, and twice 768 for LayerNorm.

# %%
sizes = {"words": 30522 * 768, "positions": 512 * 768, "segments": 2 * 768, "LayerNorm": 2 * 768}
with torch.device("meta"):  # shapes without memory
    base = BertEmbeddings(BertConfig())
counted = sum(parameter.numel() for parameter in base.parameters())
for name, size in sizes.items():
    print(f"{name:10} {size:>12,}  {size / counted:7.3%}")
print(f"{'all':10} {counted:>12,}")
assert counted == sum(sizes.values()) == 23_837_184

# %% [markdown]
# 98 % are words. That is more than a fifth of all of BERT-base, and in BERT-tiny (hidden 128, two blocks) it is nine
# tenths. When you want a smaller BERT, look here first.
#
# ## 3.8 Common mistakes, shown breaking
#
# **Padding on the left without telling the positions.** Positions count along the row, padding included. A row that
# is padded on the left starts at another position, and its vectors change. Pad on the right; if you cannot, pass
# `position_ids`.

# %%
with torch.no_grad():
    plain = model(torch.tensor([[2, 11, 12, 3]])).last_hidden_state[0]
    left_ids, left_mask = torch.tensor([[0, 0, 2, 11, 12, 3]]), torch.tensor([[0, 0, 1, 1, 1, 1]])
    left = model(left_ids, attention_mask=left_mask).last_hidden_state[0, 2:]
    mended = model(left_ids, attention_mask=left_mask, position_ids=torch.tensor([[0, 0, 0, 1, 2, 3]]))
print(f"padded on the left: off by {(left - plain).abs().max():.2f}")
assert (left - plain).abs().max() > 0.1
assert_close(mended.last_hidden_state[0, 2:], plain)

# %% [markdown]
# **Forgetting the segments of a pair.** Nothing fails: `token_type_ids` are 0 by default. Section 3.6 shows that the
# outputs change. `model(**tokenizer(a, b))` passes them for you.
#
# **Expecting `[PAD]` to be a vector of zeros.** Its row is drawn at random like the others. It never matters, because
# no real token sees a padded place, and in this package none is even computed.

# %%
row_of_pad = BertModel(config).embeddings.word_embeddings.weight[config.pad_token_id]
print(f"largest number in the row of [PAD] of a fresh model: {row_of_pad.abs().max():.3f}")
assert row_of_pad.abs().max() > 0

# %% [markdown]
# **Taking the embedding for the meaning in context.** The word embedding of *bank* is one vector, whether there is a
# river or a loan. Context enters in the blocks, and first of all in attention.
#
# ## Experiments to try
#
# 1. In section 3.5, let each token depend on the one *two* places before it. What becomes of the band?
# 2. Freeze the positions at their random start (`positions.requires_grad_(False)`). How much does the model still
#    learn? Why are random, fixed positions enough to tell places apart?
# 3. Put `0.1 * waves` into `positions.data` before training. Does the loss fall faster? Then the waves as they are: it
#    does not fall at all. How large are the words' vectors beside them?
#
# ## Questions
#
# <details><summary>Why does the package not multiply the one-hot matrix?</summary>
#
# For 512 tokens and BERT-base that would be 512 x 30,522 x 768, 12 billion multiplications, nearly all by zero.
# Looking up copies 512 rows.
# </details>
#
# <details><summary>Could BERT do with one segment vector instead of two?</summary>
#
# Yes. What the two have in common could as well stand in every position embedding, so only their difference matters.
# One vector, added to the second text only, could do the same. Two are just simpler to write.
# </details>
#
# <details><summary>Suppose that no row of pretraining had more than 200 tokens. What happens to a model fine-tuned on
# long rows?</summary>
#
# The vectors of positions 200 to 511 are at their random start until fine-tuning moves them. Expect worse results at
# the end of long rows when there is little data.
# </details>
#
# <details><summary>Why is there a LayerNorm right after the sum?</summary>
#
# The three parts may grow to different sizes during training. The norm gives the first block inputs of one known
# scale.
# </details>
#
# ## Key points
#
# - An embedding is a row of a matrix; a look-up trains only the rows that it reads.
# - Attention sees a set. Positions make it a sequence.
# - Learnt positions come to lie on a line by themselves; there are 512 and not one more.
# - In high dimensions a sum keeps its parts readable.
#
# **Code:** [`model.py`](../minibert/model.py) (`BertEmbeddings`), [`packing.py`](../minibert/packing.py)
# (`PackedBatch`, `pack_inputs`).
#
# **Papers:** Vaswani et al. 2017, sections 3.4 and 3.5; Devlin et al. 2019, section 3 and appendix A.2; Wang & Chen
# 2020, *What Do Position Embeddings Learn?*
#
# Before: [2. Text to ids](02_text_to_ids.ipynb). Next: [4. Attention](04_attention.ipynb)
