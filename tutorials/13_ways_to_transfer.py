# %% [markdown]
# # 13. Ways to transfer
#
# Fine-tuning moves every weight of BERT. Must it? You have 160 labelled sentences and two million weights; or one base
# model and fifty customers, each of whom wants a model of their own. People have found a dozen answers: move only some
# weights, move some less than others, or leave all of them alone and add a few new ones. This chapter takes each answer
# apart, proves that it moves what it says it moves, and then lets all of them run the same race.
#
# **You will be able to**
#
# - count the weights that a way trains, on paper;
# - read off from a model, before and after, what has moved and how far;
# - write freezing, LoRA, an adapter and a prefix yourself, each in a few lines, equal to the package's;
# - say why a LoRA's first gradient is half zero, and what "merging" does;
# - compare ways fairly: a learning rate for each, several seeds, the same examples.
#
# **You need** chapter 6, and what fine-tuning is. **Time:** an hour to read; the cells run in a minute.

# %%
import copy
import logging
import statistics
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from pictures import BLUE, GREEN, GREY, VERMILION, grid, show
from torch import Tensor, nn
from torch.testing import assert_close

import minibert
from minibert import BertForSequenceClassification, BertTokenizer, Trainer, TrainingArguments
from minibert.attention import eager_attention
from minibert.data.batches import pack_examples
from minibert.data.tables import read_table
from minibert.errors import InputError
from minibert.intervals import mean_over_runs
from minibert.packing import Layout
from minibert.transfer import (
    Adapters,
    BitFit,
    Lora,
    Prefix,
    adapt,
    freeze,
    load_adapter,
    merge_lora,
    save_adapter,
    trained_parameters,
    unfreeze_gradually,
)
from minibert.transfer.adapters import Bottleneck
from minibert.transfer.freezing import depth_of
from minibert.transfer.layer_rates import layer_rate
from minibert.transfer.lora import LowRankUpdate
from minibert.transfer.prefix import BlockPrefix

MODEL = "minibert-tiny-uncased"
logging.getLogger("minibert").setLevel(logging.ERROR)  # every model below has a new head, and would say so

# %% [markdown]
# ## 13.1 A task, and what there is to move
#
# The task: is a review about clothing, a film, a restaurant or software? The package ships 200 sentences of each. We
# draw 160 to learn from and 400 others to judge by, anew for every seed. Nearly all of what the model knows about these
# words must come from its pretraining: that is what transfer is for. (Why not ask for the mood, good or bad? The tiny
# weights that ship have read few opinions, and gain little there: chapter 9. You can only transfer what is there.)

# %%
KINDS = ["clothing", "film", "restaurant", "software"]
tokenizer = BertTokenizer.from_pretrained(MODEL)
reviews = Path(minibert.__file__).parent / "data" / "reviews"
rows = [row.values for split in ("train", "dev", "test") for row in read_table(reviews / f"{split}.tsv").rows]
rows = [row for row in rows if row["domain"] in KINDS]
EXAMPLES = [{"input_ids": tokenizer(row["text"])["input_ids"], "labels": KINDS.index(row["domain"])} for row in rows]
print(f"{len(EXAMPLES)} sentences, such as:")
for row in rows[:4]:
    print(f"  {row['domain']:>10}: {row['text']}")
assert len(EXAMPLES) == 800


def fresh(seed: int = 0) -> BertForSequenceClassification:
    """The pretrained encoder with a new head, drawn by the seed."""
    torch.manual_seed(seed)
    return BertForSequenceClassification.from_pretrained(MODEL, num_labels=len(KINDS))


def draw(seed: int) -> tuple[list[dict], list[dict]]:
    """160 examples to learn from, 400 to judge by."""
    order = np.random.default_rng(seed).permutation(len(EXAMPLES))
    return [EXAMPLES[i] for i in order[:160]], [EXAMPLES[i] for i in order[160:560]]


# %% [markdown]
# The parts of the model from the bottom to the top, with their numbers of weights. A block of width $H$ has
# $12H^2 + 13H$ (chapter 6). The head is what the new task brings; the pooler below it is pretrained, but was made for
# another question (does B follow A?), so nearly all ways train it along with the head.

# %%
base = fresh()
H, LAYERS = base.config.hidden_size, base.config.num_hidden_layers
PARTS = ["embeddings", *(f"block {number + 1}" for number in range(LAYERS)), "pooler", "head"]


def part_of(name: str) -> str:
    """The part to which a parameter belongs, by its name."""
    if "pooler." in name:
        return "pooler"
    depth = depth_of(name, LAYERS)
    return "head" if depth == LAYERS + 1 else PARTS[depth]


sizes = {part: sum(p.numel() for name, p in base.named_parameters() if part_of(name) == part) for part in PARTS}
for part, size in sizes.items():
    print(f"{part:>10}: {size:>9,}  {size / sum(sizes.values()):6.1%}")
assert sizes["block 1"] == 12 * H**2 + 13 * H
assert sizes["pooler"] == H**2 + H
assert sizes["head"] == 4 * H + 4
assert sum(sizes.values()) == trained_parameters(base)

# %% [markdown]
# ## 13.2 One step of Adam, and everything is visible
#
# How do you *see* what a way moves? Adam makes it easy. Its first step divides the gradient by its own size: both
# of its averages hold this one gradient, so $m/\sqrt{v} = g/|g|$. So whatever the gradient is, every weight that is
# trained moves by exactly its learning rate, once, up or down. One that does not move is frozen
# (or got no gradient, like the vector of a word that is not in the batch); one that moves by half the rate has half the
# rate. So look at the farthest move in each part.
#
# | gradient $g$ | $m = g$ | $\sqrt{v} = \lvert g \rvert$ | step, rate 0.001 |
# | --- | --- | --- | --- |
# | 3.0 | 3.0 | 3.0 | 0.001 |
# | -0.0002 | -0.0002 | 0.0002 | -0.001 |
# | 0 (frozen) | - | - | 0 |

# %%
RATE = 1e-3


def train(model: BertForSequenceClassification, examples: list[dict], **settings: object) -> Trainer:
    """The package's training loop, without files and progress bars."""
    fixed = {"output_dir": "unused", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 10**6}
    arguments = TrainingArguments(**fixed, **{"per_device_train_batch_size": 16, "learning_rate": RATE, **settings})
    trainer = Trainer(model, arguments, train_dataset=examples)
    trainer.train()
    return trainer


def largest_moves(model: BertForSequenceClassification, **settings: object) -> list[float]:
    """Of each part the farthest that a weight moves in one step, in units of the learning rate."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, draw(0)[0], max_steps=1, **settings)
    moves = dict.fromkeys(PARTS, 0.0)
    for name, parameter in model.named_parameters():
        move = (parameter.detach() - before[name]).abs().max().item() / RATE
        moves[part_of(name)] = max(moves[part_of(name)], move)
    return list(moves.values())


def frozen(what: str | int) -> BertForSequenceClassification:
    model = fresh()
    freeze(model, what)
    return model


def adapted(adaptation: object) -> BertForSequenceClassification:
    model = fresh()
    adapt(model, adaptation)
    return model


first_steps = {
    "everything": largest_moves(fresh()),
    "freeze embeddings": largest_moves(frozen("embeddings")),
    "freeze 1 block": largest_moves(frozen(1)),
    "freeze encoder": largest_moves(frozen("encoder")),
    "layer decay 0.5": largest_moves(fresh(), layer_decay=0.5),
    "BitFit": largest_moves(adapted(BitFit())),
}
figure, axes = plt.subplots(figsize=(8, 3.4))
grid(axes, torch.tensor(list(first_steps.values())), list(first_steps), PARTS, low=0, high=1)
axes.set(title="how far weights move in the first step, in learning rates")
show(figure, "A table of six ways by five parts: 1 where a part is trained, 0 where it is frozen, halves for decay.")
assert_close(torch.tensor(first_steps["everything"]), torch.ones(len(PARTS)), atol=0.01, rtol=0)
assert first_steps["freeze encoder"][: LAYERS + 1] == [0] * (LAYERS + 1)
assert first_steps["freeze 1 block"][:2] == [0, 0]

# %% [markdown]
# *The picture:* from left to right, bottom to top of the model. Freezing is a staircase of zeros from below.
#
# **Layer-wise decay** (Howard & Ruder 2018; ELECTRA fine-tunes with it) is the gentle staircase: the head takes the
# whole rate, the top block half, the next one a quarter, and so on. Lower layers know what all texts have in common,
# and should move less. On paper, with two blocks and a decay of 0.5: head 1, block 2 1/2, block 1 1/4,
# embeddings 1/8. The package computes it from a parameter's name alone:

# %%
by_hand = [0.5 ** (LAYERS + 1 - depth) for depth in range(LAYERS + 1)] + [1.0, 1.0]
named = {part_of(name): layer_rate(name, LAYERS, 0.5) for name, _ in base.named_parameters()}
print({part: round(rate, 4) for part, rate in named.items()})
assert list(named.values()) == by_hand
assert_close(torch.tensor(first_steps["layer decay 0.5"]), torch.tensor(by_hand), atol=0.01, rtol=0)

# %% [markdown]
# **BitFit** (Ben Zaken et al. 2022) trains of the encoder nothing but the biases. In the picture every part moves,
# since every part has some. But which weights move, and how many are they?

# %%
bitfit = adapted(BitFit())
moving = [name for name, parameter in bitfit.named_parameters() if parameter.requires_grad]
print(*moving[:4], "...", sep="\n")
of_encoder = sum(p.numel() for name, p in bitfit.bert.named_parameters() if p.requires_grad and "pooler" not in name)
print(f"{of_encoder:,} of the encoder's {sum(sizes.values()) - sizes['pooler'] - sizes['head']:,}")
assert of_encoder == H + LAYERS * 11 * H  # LayerNorm of the embeddings; in a block 3 + 1 + 1 + 4 + 1 + 1 times H

# %% [markdown]
# ## 13.3 Freezing: below the lowest trained weight nothing happens
#
# A frozen weight needs no gradient, and neither does anything below the lowest weight that is trained: the backward
# pass stops there. And if the whole encoder is frozen, a sentence has the same hidden states in every epoch. Then why
# compute them again? Encode each sentence once, keep `[CLS]`, and train a network of two small layers on these vectors.
# This is the *feature-based* use of BERT (paper, section 5.3).
#
# ### Build it yourself
#
# The same trained weights on the same vectors must give the same answers as the model with its frozen encoder.

# %%
learn, judge = draw(0)
model = frozen("encoder").eval()


@torch.no_grad()
def cls_vectors(examples: list[dict]) -> Tensor:
    batch = pack_examples(examples, padded=True)["input_ids"]
    return model.bert(batch).last_hidden_state[:, 0]  # (batch, seq, hidden) -> (batch, hidden)


features, wanted = cls_vectors(learn), torch.tensor([example["labels"] for example in learn])
# `small`: what stands above `[CLS]` in the model, copied, as one network from its vector to the logits.
# BEGIN SOLUTION
small = nn.Sequential(copy.deepcopy(model.bert.pooler.dense), nn.Tanh(), copy.deepcopy(model.classifier))
# END SOLUTION
with torch.no_grad():
    assert_close(small(features), model(**pack_examples(learn)).logits, atol=1e-5, rtol=1e-4)

begin = time.perf_counter()
optimizer = torch.optim.AdamW(small.parameters(), lr=3e-3, weight_decay=0.0)
for _ in range(60):
    loss = F.cross_entropy(small(features), wanted)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
seconds = time.perf_counter() - begin
answers = small(cls_vectors(judge)).argmax(dim=1)
by_features = (answers == torch.tensor([example["labels"] for example in judge])).float().mean().item()
trained_numbers = sum(p.numel() for p in small.parameters())
print(f"{trained_numbers:,} weights, 60 steps in {seconds:.2f} s; {by_features:.1%} of {len(judge)} others right")
assert trained_numbers == trained_parameters(model)
assert by_features > 0.32  # guessing: 25 %

# %% [markdown]
# (`remember_features` in the package does the same behind the model's back, so that `finetune --freeze encoder` takes
# the shortcut by itself.)
#
# ## 13.4 Gradual unfreezing: from the head downwards
#
# A new head is random. Its first gradients are noise, and they shake everything below. So Howard & Ruder (2018, ULMFiT)
# train the head alone at first, then with it the top block, then the next, until all moves. In four epochs, a model of
# two blocks:

# %%
model = fresh()
EPOCHS = 4
stages = []
for epoch in range(EPOCHS):
    unfreeze_gradually(model, epoch, EPOCHS)
    moving = {part_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    stages.append([float(part in moving) for part in PARTS])
    print(f"epoch {epoch + 1}: {trained_parameters(model):>9,} weights are trained: {', '.join(sorted(moving))}")
assert stages[0] == [0.0] * (LAYERS + 1) + [1.0, 1.0]
assert stages[-1] == [1.0] * len(PARTS)
assert (torch.tensor(stages).diff(dim=0) >= 0).all()

# %% [markdown]
# ## 13.5 LoRA: a thin product beside the matrix
#
# Now leave all pretrained weights alone, and *add*. Hu et al. (2022) guess that what has to change in a matrix $W$ for
# a new task is simple: a matrix of low rank $r$, that is, a product of a tall thin one and a flat one:
#
# $$y = Wx + b + \frac{\alpha}{r} B(Ax), \qquad A: (r, \text{in}),\quad B: (\text{out}, r)$$
#
# By hand, with $r = 1$, $\alpha = 2$, $A = (0.5, -1)$, $B = (1, 0)^\top$:
#
# $$W = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}, \quad
# \frac{2}{1} B A = 2 \begin{pmatrix} 0.5 & -1 \\ 0 & 0 \end{pmatrix}, \quad
# W + \frac{2}{1} BA = \begin{pmatrix} 2 & 0 \\ 3 & 4 \end{pmatrix}$$
#
# Four numbers instead of four here; but for 768 by 768 and $r = 8$, 12,288 instead of 589,824.

# %%
W = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
A, B = torch.tensor([[0.5, -1.0]]), torch.tensor([[1.0], [0.0]])
linear = nn.Linear(2, 2, bias=False)
linear.weight = nn.Parameter(W)
update = LowRankUpdate(linear, slice(0, 2), rank=1, alpha=2)
with torch.no_grad():
    update.lora_A.copy_(A)
    update.lora_B.copy_(B)
    x = torch.randn(5, 2)
    assert_close(linear(x) + update(x), x @ torch.tensor([[2.0, 0.0], [3.0, 4.0]]).T)
assert_close(W + update.matrix(), torch.tensor([[2.0, 0.0], [3.0, 4.0]]))
assert 8 * (768 + 768) == 12_288

# %% [markdown]
# $B$ begins as zeros: the product is zero, and training begins exactly at the pretrained model. $A$ begins at random:
# were it zero as well, both gradients would be, forever. Look at the first gradients: $\partial L/\partial A$ has the
# factor $B = 0$, and $\partial L/\partial B$ the factor $A \neq 0$. So in the first step only $B$ can move:

# %%
RANK = 4
plain, model = fresh().eval(), adapted(Lora(rank=RANK)).eval()
batch = pack_examples(learn[:32])
with torch.no_grad():
    assert torch.equal(plain(**batch).logits, model(**batch).logits)
model(**batch).loss.backward()
largest = {
    letter: max(p.grad.abs().max().item() for name, p in model.named_parameters() if name.endswith(f"lora_{letter}"))
    for letter in "AB"
}
print(f"before the first step: the same logits; largest gradient of A {largest['A']}, of B {largest['B']:.5f}")
assert largest["A"] == 0 < largest["B"]

new = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
print(f"{LAYERS} blocks x 2 matrices (query, value) x {RANK} x ({H} + {H}) = {new:,} new weights")
assert new == LAYERS * 2 * RANK * (H + H)
print(f"in BERT-base, with rank 8: {12 * 2 * 8 * (768 + 768):,} of 110 million")

# %% [markdown]
# Nothing between the input and the output of $W$ is nonlinear, so after training $\frac{\alpha}{r}BA$ can be *merged*
# into $W$. The result is an ordinary BERT, as fast as before. Train, merge, compare; and look at what was learnt
# through its singular values, which say how many directions a matrix really uses. Beside it stands what ordinary
# fine-tuning does to the same matrix: is Hu et al.'s guess true here?

# %%
STEPS = {"max_steps": 40, "warmup_ratio": 0.1}
train(model, learn, learning_rate=3e-3, **STEPS)
with torch.no_grad():
    before_merging = model(**batch).logits
    merge_lora(model)
    assert_close(model(**batch).logits, before_merging, atol=1e-5, rtol=1e-4)
assert {name for name, _ in model.named_parameters()} == {name for name, _ in base.named_parameters()}

full = fresh()
train(full, learn, **STEPS)


def singular_values(trained: BertForSequenceClassification) -> Tensor:
    """Of what training added to the value matrix of the top block, (hidden)."""
    value = slice(2 * H, 3 * H)  # query, key and value are one matrix
    old, new = (each.bert.blocks[-1].attention.query_key_value.weight[value].detach() for each in (base, trained))
    return torch.linalg.svdvals(new - old)


spectra = {"everything trained": singular_values(full), f"LoRA of rank {RANK}": singular_values(model)}
figure, axes = plt.subplots(figsize=(7, 3.2))
for (name, values), colour, style in zip(spectra.items(), (BLUE, VERMILION), ("-", "o--"), strict=True):
    axes.plot(range(1, 33), values[:32] / values[0], style, color=colour, label=name)
axes.set(xlabel="number of the singular value", ylabel="share of the largest", ylim=(-0.03, 1.05))
axes.legend()
show(figure, "Singular values of a matrix's change: LoRA's are zero after the fourth; those of full training fall.")
share = {name: (values[:RANK].square().sum() / values.square().sum()).item() for name, values in spectra.items()}
print({name: f"{part:.0%} of the change (squared) in {RANK} directions" for name, part in share.items()})
assert share[f"LoRA of rank {RANK}"] > 0.999

# %% [markdown]
# *The picture:* LoRA's change has rank 4 and not a direction more, as it must. Full training is not told to be simple,
# yet its change falls off from a few strong directions to a long tail of weak ones. How much of it 4 directions hold is
# printed above: it is what LoRA can hope to have without the tail, in this matrix, on this task. Whether the tail is
# worth anything is another question. (The race below asks it.)
#
# ## 13.6 Adapters: a narrow detour
#
# Three years before LoRA, Houlsby et al. (2019) put small networks *between* the frozen layers: down to a few numbers,
# through a GELU, up again, and the input is added:
#
# $$\text{hidden} + \text{up}(\text{gelu}(\text{down}(\text{hidden})))$$
#
# They use two in each block and train the LayerNorms too; Pfeiffer et al. (2021) find one enough. The weights of the
# narrow part are counted quickly: down $H s + s$, up $s H + H$. Because of the GELU an adapter cannot be merged: it
# stays in the way, and costs a little at every use.

# %%
SIZE = 16
adapter = Bottleneck(H, SIZE)
nn.init.normal_(adapter.up.weight)  # so that there is something to see
hidden = torch.randn(3, H)
down, up = adapter.down, adapter.up
narrow = F.gelu(hidden @ down.weight.T + down.bias)  # (tokens, hidden) -> (tokens, size)
assert_close(hidden + narrow @ up.weight.T + up.bias, adapter(hidden))  # (tokens, size) -> (tokens, hidden)

model = adapted(Adapters("pfeiffer", SIZE)).eval()
new = sum(p.numel() for name, p in model.named_parameters() if "adapter" in name)
print(f"{LAYERS} blocks x (2 x {H} x {SIZE} + {SIZE} + {H}) = {new:,} new weights")
assert new == LAYERS * (2 * H * SIZE + SIZE + H)
with torch.no_grad():
    away = (model(**batch).logits - plain(**batch).logits).abs().max().item()
print(f"before training the logits differ by {away:.1e}: close to the pretrained model, not equal")
assert 0 < away < 1e-2

# %% [markdown]
# ## 13.7 Prefix tuning: words that nobody wrote
#
# Li & Liang (2021) leave even the layers alone. They give each block a few extra *keys and values*, as if every
# sentence began with some words whose meaning is learnt. Tokens attend to them as to any other. The trained part is a
# table of $2 \cdot \text{length} \cdot H$ numbers a block.
#
# ### Build it yourself
#
# One head, three tokens, two prefix entries: put the learnt keys and values (`prefix.key`, `prefix.value`) in front,
# then attention as in chapter 4.

# %%
torch.manual_seed(0)
prefix = BlockPrefix(length=2, heads=1, head_dim=4, deviation=1.0)
query, key, value = torch.randn(3, 3, 1, 4)  # 3 of (tokens, heads, head_dim)
layout = Layout.from_mask(torch.ones(1, 3, dtype=torch.bool))
theirs, weights = prefix.attend(eager_attention, query, key, value, layout, layout, dropout=0.0)

# `by_hand` (tokens, 2 + tokens): the weights; `values` (2 + tokens, head_dim): what they are the weights of.
# BEGIN SOLUTION
keys = torch.cat([prefix.key, key])[:, 0]  # -> (2 + tokens, head_dim)
values = torch.cat([prefix.value, value])[:, 0]  # -> (2 + tokens, head_dim)
by_hand = (query[:, 0] @ keys.T / 4**0.5).softmax(dim=-1)  # (tokens, head_dim) -> (tokens, 2 + tokens)
# END SOLUTION
assert_close(by_hand, weights[0, 0])
assert_close(by_hand @ values, theirs[:, 0])

LENGTH = 8
model = adapted(Prefix(LENGTH)).eval()
new = sum(p.numel() for name, p in model.named_parameters() if "prefix" in name)
with torch.no_grad():
    away = (model(**batch).logits - plain(**batch).logits).abs().max().item()
print(f"{LAYERS} blocks x 2 x {LENGTH} x {H} = {new:,} new weights; before training the logits differ by {away:.2f}")
assert new == LAYERS * 2 * LENGTH * H
assert away > 1e-3

# %% [markdown]
# Note the last number. A prefix does *not* begin at the pretrained model: even keys of no meaning take attention away
# from the sentence, the more, the shorter it is. LoRA begins exactly there, adapters nearly.
#
# ## 13.8 The race
#
# Nine runners, three seeds. All see the same 160 sentences of a seed, 8 epochs, and are judged by the same 400. Two
# rules of fairness:
#
# - **Not one learning rate for all.** Few and new weights need longer steps than all of them together. Here: 1e-3 where
#   everything is trained, 3e-3 elsewhere. (Two round numbers, not searched for: a search is experiment 1.)
# - **A runner from random weights**: full training of the same network without pretraining. Whoever does not beat it
#   has transferred nothing.

# %%
RACE = {"per_device_train_batch_size": 32, "warmup_ratio": 0.1}
WAYS = {  # what is done to the model, settings of the training, learning rate
    "from random": (None, {}, 1e-3),
    "everything": (None, {}, 1e-3),
    "layer decay": (None, {"layer_decay": 0.5}, 1e-3),
    "gradual": (None, {"gradual_unfreezing": True}, 1e-3),
    "head": (None, {}, 3e-3),
    "BitFit": (BitFit(), {}, 3e-3),
    "LoRA": (Lora(rank=RANK), {}, 3e-3),
    "adapters": (Adapters("pfeiffer", SIZE), {}, 3e-3),
    "prefix": (Prefix(LENGTH), {}, 3e-3),
}


def prepared(way: str, seed: int) -> BertForSequenceClassification:
    model = fresh(seed)
    if way == "from random":
        return BertForSequenceClassification(model.config)
    if way == "head":
        freeze(model, "encoder")
    elif WAYS[way][0] is not None:
        adapt(model, WAYS[way][0])
    return model


def race(way: str, seed: int, rate: float | None = None) -> tuple[BertForSequenceClassification, float]:
    """The trained model, and its accuracy."""
    learn, judge = draw(seed)
    model = prepared(way, seed)
    trainer = train(
        model, learn, num_train_epochs=8, seed=seed, **RACE, **WAYS[way][1], learning_rate=rate or WAYS[way][2]
    )
    answers = trainer.predict(judge)
    return model, float((answers.predictions.argmax(axis=1) == answers.label_ids).mean())


SEEDS = 3
results = {way: [race(way, seed) for seed in range(SEEDS)] for way in WAYS}
table = {}
for way, runs in results.items():
    scores = [score for _, score in runs]
    table[way] = (trained_parameters(runs[0][0]), statistics.mean(scores), statistics.stdev(scores))
    print(f"{way:>12}: {table[way][1]:.1%} ± {table[way][2]:.1%}, {table[way][0]:>9,} weights trained")
assert table["everything"][1] > table["from random"][1] + 0.05
assert max(mean for _, mean, _ in table.values()) > 0.4

# %%
figure, axes = plt.subplots(figsize=(8, 4))
for place, (way, (count, mean, deviation)) in enumerate(table.items()):
    colour = GREY if way == "from random" else BLUE if count > 10**6 else GREEN if way == "head" else VERMILION
    axes.errorbar(mean, place, xerr=deviation, fmt="o", color=colour, capsize=4)
    axes.plot([score for _, score in results[way]], [place + 0.25] * SEEDS, "|", color=colour)
axes.set(yticks=range(len(table)), yticklabels=[f"{way} ({count:,})" for way, (count, _, _) in table.items()])
axes.axvline(1 / len(KINDS), color=GREY, linestyle=":")
axes.invert_yaxis()
axes.set(xlabel="accuracy (dotted: guessing)", xlim=(0.2, 0.6))
show(
    figure,
    "Accuracy of nine ways, with the deviation over three seeds and each seed as a mark, and how many they train.",
)

# %% [markdown]
# *The picture:* the accuracy of each way, mean and standard deviation, a mark for each seed below it, and in brackets
# how many weights are trained. Blue ways train all of them, red ones few, green none of the encoder; grey has no
# pretraining.
#
# What may you conclude from three seeds? By the picture, nothing: all but the grey one overlap. But a seed also draws
# the sentences, and an easy draw is easy for all. So compare the ways *seed by seed* (chapter 9):


# %%
def print_lead(one: str, other: str) -> None:
    """By how many points one way is ahead of another on the same seeds, and the 95 % interval of the mean."""
    pairs = zip(results[one], results[other], strict=True)
    lead = mean_over_runs([100 * (ours - theirs) for (_, ours), (_, theirs) in pairs])
    low, high = lead.interval_95
    print(f"{one:>10} ahead of {other:<12} {lead.mean:+6.1f} points, from {low:+6.1f} to {high:+6.1f}")


for way in WAYS:
    if way != "everything":
        print_lead("everything", way)
for way in ("BitFit", "LoRA", "adapters", "prefix"):
    print_lead(way, "head")

# %% [markdown]
# - **Pretraining is worth more than the choice of the way.** The grey runner is far behind all others.
# - **A hundredth of the weights does nearly what all of them do.** Full training leads by two to four points. Over
#   the head alone, BitFit and LoRA this is shown, if barely: their intervals lie above 0. Over adapters and prefix it
#   is not. (And of so many intervals one may miss by chance: chapter 14.)
# - **Now look at green, and be honest about red.** BitFit, LoRA, adapters and prefix all train pooler and head as well.
#   If their new weights did nothing, they would stand where green stands. They stand a point or two above it, and each
#   of the four intervals holds 0: it may be chance. With so small a base, so few sentences and 40 steps, nearly all the
#   gain is the head's. In the papers the same ways do clearly better than a head alone, with models of 12 to 24 blocks
#   and thousands of examples. The race does not contradict them; it shows what to compare with before you praise a
#   technique.
#
# And did each move what it says? Compare every trained model with its beginning, part by part. (Relative change: the
# length of the difference over the length of the weights. The head is new, and is left out.)


# %%
def relative_changes(way: str) -> list[float]:
    """Of each part but the head: how far seed 0's model is from where it began. New weights are not counted."""
    before = dict(prepared(way, 0).named_parameters()) if way != "from random" else {}
    squares = {part: [0.0, 0.0] for part in PARTS[:-1]}
    for name, after in results[way][0][0].named_parameters():
        if (
            name in before
            and part_of(name) != "head"
            and not any(new in name for new in ("lora_", "adapter", "prefix"))
        ):
            old = before[name].detach()
            squares[part_of(name)][0] += (after.detach() - old).square().sum().item()
            squares[part_of(name)][1] += old.square().sum().item()
    return [(change / length) ** 0.5 for change, length in squares.values()]


changes = {way: relative_changes(way) for way in WAYS if way != "from random"}
figure, axes = plt.subplots(figsize=(8, 4))
grid(axes, 100 * torch.tensor(list(changes.values())), list(changes), PARTS[:-1], decimals=2, low=0)
axes.set(title="relative change of the pretrained weights, in %")
show(figure, "Eight ways by the parts of the model: how far each part moved; zeros wherever a part was frozen.")
for way in ("head", "LoRA", "adapters", "prefix"):
    assert changes[way][: LAYERS + 1] == [0] * (LAYERS + 1)
assert 0 < changes["BitFit"][1] < changes["everything"][1]
assert changes["layer decay"][0] < changes["layer decay"][1] < changes["layer decay"][LAYERS]
assert changes["layer decay"][0] < changes["everything"][0]

# %% [markdown]
# *The picture:* for the head alone, LoRA, adapters and prefix the zeros are exact: the assertions say so. Layer decay
# moves the embeddings much less than full training does; so does gradual unfreezing, which gets to them only in its
# last epoch. And where nothing else may move, the pooler moves most: it takes the longer steps, and has to do the work
# of all.
#
# The package runs such a race on your own files, with more ways, times and memory:
#
# ```text
# python -m minibert.compare --train train.tsv --dev dev.tsv --model MODEL --out ways --seeds 5
# ```
#
# ## 13.9 What there is to keep
#
# If the accuracy is the same, why bother? Because of what remains afterwards. A fully trained model is a file of its
# own for every task. An adapter's is a hundredth of that, most of it pooler and head; a hundred of them share one base.

# %%
folder = tempfile.TemporaryDirectory()
kept = {}
for way in ("BitFit", "LoRA", "adapters", "prefix"):
    kept[way] = save_adapter(results[way][0][0], Path(folder.name) / way)
results["everything"][0][0].save_pretrained(Path(folder.name) / "everything")
kept["everything"] = (Path(folder.name) / "everything" / "model.safetensors").stat().st_size
for way, size in kept.items():
    print(f"{way:>10}: {size / 1000:>7,.0f} kB")
assert all(10 * kept[way] < kept["everything"] for way in ("BitFit", "LoRA", "adapters", "prefix"))

again = fresh(seed=5)
load_adapter(again, Path(folder.name) / "LoRA")
with torch.no_grad():
    assert_close(again.eval()(**batch).logits, results["LoRA"][0][0].eval()(**batch).logits)
print("LoRA, loaded onto a fresh base: the same answers")

# %% [markdown]
# ## Common mistakes
#
# 1. **Setting gradients to zero instead of freezing.** Adam remembers earlier gradients, and weight decay pulls without
#    any. A weight is frozen when it has `requires_grad = False`, and so no gradient at all.

# %%
weight = nn.Parameter(torch.ones(1))
optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.01)
weight.grad = torch.ones(1)
optimizer.step()
after_one = weight.item()
for _ in range(5):
    weight.grad = torch.zeros(1)
    optimizer.step()
print(f"one real step: {after_one:.3f}; then five with gradient 0: {weight.item():.3f}")
assert weight.item() < after_one - 0.05
still = weight.item()
weight.requires_grad_(False)
weight.grad = None
optimizer.step()
assert weight.item() == still

# %% [markdown]
# 2. **One learning rate for all ways**, or one from a paper about larger models. At 1e-3, the rate of full training
#    here, LoRA stays behind. At 5e-5, with which BERT-base is fine-tuned, it hardly leaves the ground, and you would
#    report that it does not work:

# %%
by_rate = {rate: race("LoRA", 0, rate)[1] for rate in (5e-5, 1e-3)} | {3e-3: results["LoRA"][0][1]}
print("LoRA:", ", ".join(f"{share:.1%} with {rate:g}" for rate, share in by_rate.items()))
assert by_rate[5e-5] < by_rate[3e-3] - 0.03

# %% [markdown]
# 3. **A frozen encoder in training mode.** Freezing does not turn dropout off. The "same" sentence has other features
#    each time:

# %%
model = frozen("encoder").train()
with torch.no_grad():
    one, other = (model.bert(batch["input_ids"]).pooler_output for _ in range(2))
    model.eval()
    same = [model.bert(batch["input_ids"]).pooler_output for _ in range(2)]
print(
    f"training mode: differ by up to {(one - other).abs().max():.2f}; evaluation: {(same[0] - same[1]).abs().max():.0f}"
)
assert (one - other).abs().max() > 0.05
assert torch.equal(*same)

# %% [markdown]
# (As noise it may even help the head. But features that are kept must be made in evaluation mode.)
#
# 4. **An adapter on another base.** Its numbers fit, and mean nothing there. The package writes a checksum of the base
#    beside the adapter, and refuses:

# %%
stranger = BertForSequenceClassification(base.config)
try:
    load_adapter(stranger, Path(folder.name) / "LoRA")
except InputError as error:
    print(str(error).replace(folder.name, "..."))
else:
    raise AssertionError("it was loaded")
folder.cleanup()

# %% [markdown]
# ## Experiments to try
#
# 1. Search a learning rate for each way, on seeds that do not take part in the race: `race(way, 9, rate)`. Which way
#    gains most, and does the picture change?
# 2. Race with 40 examples and with 400. Which ways profit most from more? (Change `draw`.)
# 3. Give LoRA the ranks 1, 2, 16 and 64, and all six targets. Does the accuracy follow?
# 4. `reinitialize_top(model, 1)` makes the pooler and the top block new (Zhang et al. 2021), with 0 the pooler alone.
#    Does it help here? Their models have 24 blocks; what is different with so few?
# 5. Let the head read a learnt mixture of all layers: `adapt(model, LayerMix("learned"))`, and look at its weights.
#
# ## Questions
#
# <details><summary>LoRA trains a hundredth of the weights. Is a training step a hundred times as fast?</summary>
#
# No. The forward pass is the whole of it, and the backward pass must go down to the lowest matrix that has an update.
# What is saved are the gradients *of* the frozen weights, and Adam's two averages for each of them: memory more than
# time.
# </details>
#
# <details><summary>Freeze the embeddings and train all blocks. What does that save?</summary>
#
# In a small model most of the memory of Adam: here four fifths of all weights are embeddings. Time, little: all blocks
# still need their backward pass.
# </details>
#
# <details><summary>Why may A not begin as zero as well?</summary>
#
# The gradient of A has the factor B, that of B the factor A. Both would be zero, and stay so.
# </details>
#
# <details><summary>Two LoRAs on one base, merged one after the other: is the result good at both tasks?</summary>
#
# Not in general. Each was trained as if the other were not there. The sum of the two changes is something that nobody
# has trained or tested. It can work where they use different directions.
# </details>
#
# <details><summary>A wide and a deep frozen model give the same accuracy with a trained head. Which one would you
# adapt?</summary>
#
# That number alone does not tell. The head reads what lies open; fine-tuning can bring out what lies deeper. Try both
# with a cheap way first.
# </details>
#
# ## Key points
#
# - One step of Adam shows what is trained, and with which rate.
# - Frozen means: no gradient at all. Below the lowest trained weight there is no backward pass.
# - Ways that add weights train the head too: compare them with the head alone.
# - LoRA adds a product of two thin matrices that begins as zero and can be merged; adapters stay in the way; a prefix
#   takes attention from the first step on.
# - Few weights need long steps: choose a rate for each way, on data that you do not report.
# - Compare with random weights, over several seeds and seed by seed; then look at what has to be kept.
#
# **Code:** [`transfer/freezing.py`](../minibert/transfer/freezing.py) (`freeze`, `depth_of`),
# [`transfer/features.py`](../minibert/transfer/features.py) (`remember_features`),
# [`transfer/gradual_unfreezing.py`](../minibert/transfer/gradual_unfreezing.py) (`unfreeze_gradually`),
# [`transfer/layer_rates.py`](../minibert/transfer/layer_rates.py) (`layer_rate`),
# [`transfer/bitfit.py`](../minibert/transfer/bitfit.py) (`BitFit`), [`transfer/lora.py`](../minibert/transfer/lora.py)
# (`Lora`, `LowRankUpdate`, `merge_lora`), [`transfer/adapters.py`](../minibert/transfer/adapters.py) (`Adapters`),
# [`transfer/prefix.py`](../minibert/transfer/prefix.py) (`Prefix`), [`compare.py`](../minibert/compare.py).
#
# **Papers:** Devlin et al. 2019, section 5.3; Howard & Ruder 2018, *ULMFiT*, sections 3.2 and 3.3; Houlsby et al. 2019,
# *Parameter-Efficient Transfer Learning for NLP*; Pfeiffer et al. 2021, *AdapterFusion*; Hu et al. 2022, *LoRA*; Ben
# Zaken et al. 2022, *BitFit*; Li & Liang 2021, *Prefix-Tuning*; Zhang et al. 2021, *Revisiting Few-sample BERT
# Fine-tuning*.
#
# Before: [12. One encoder, many heads](12_many_heads.ipynb). Next: [14. Doing it properly](14_doing_it_properly.ipynb)
