# %% [markdown]
# # 18. Faster and bigger
#
# Your model does not fit into memory, or takes a week. This chapter counts first, where the bytes are and where the
# operations go; then it takes the tools one by one: accumulation, checkpointing, bfloat16, compiling, several
# processes. Each is proved to leave the answer as it was, or shown how far off it is.
#
# **You will be able to**
#
# - say on paper how much memory and time a training needs;
# - cut a batch into parts without changing the gradient, and see the mistake that changes it;
# - trade time for memory with checkpointing;
# - say what bfloat16 may be used for and what it ruins;
# - train one model in two processes, whole or shared, and prove that they learn what one does.
#
# **You need** chapters 6, 7 and 16. **Time:** an hour to read; the cells run in under a minute.

# %%
import copy
import inspect
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from pictures import BLUE, GREY, ORANGE, VERMILION, show
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from minibert import BertConfig, BertForMaskedLM, BertModel, PackedBatch
from minibert.attention import get_attention
from minibert.benchmarks.measure import take_turns
from minibert.training.activation_checkpointing import checkpoint_activations
from minibert.training.objective import Tally
from minibert.training.pretraining_trainer import PretrainingTrainer
from minibert.training.utilization import flops_per_token

torch.manual_seed(0)
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

# %% [markdown]
# ## 18.1 Count first: time
#
# To learn from one token takes about 6 FLOPs for each weight that it meets: 2 in the forward pass (multiply, add), 4
# in the backward pass (the gradient of the input and that of the weight). Attention adds $12 L H S$ (Chowdhery et al.
# 2022, appendix B).
#
# BERT-base in rows of 128: the blocks' matrices have $12 \cdot 12 \cdot 768^2 = 84.9$ million weights. So
# $6 \cdot 84.9 + 12 \cdot 12 \cdot 768 \cdot 128 / 10^6 = 524$ million FLOPs a token. The package knows the formula:

# %%
print(inspect.getsource(flops_per_token))
base = flops_per_token(BertConfig(), 128)
assert abs(base / 1e6 - 523.8) < 0.1
google = 1_000_000 * 256 * (0.9 * 128 + 0.1 * 512)  # tokens: steps, rows a step, 128 and later 512 tokens a row (A.2)
print(f"Google's pretraining: {google / 1e9:.1f} billion tokens, about {google * base:.1e} FLOPs")
assert abs(google / 1e9 - 42.6) < 0.1


def make_batch(rows: int, length: int, vocab: int) -> PackedBatch:
    return PackedBatch.from_sequences([torch.randint(1, vocab, (length,)).tolist() for _ in range(rows)])


config = BertConfig(
    vocab_size=500,
    hidden_size=128,
    num_hidden_layers=8,
    num_attention_heads=4,
    intermediate_size=512,
    **WITHOUT_DROPOUT,
)
model = BertModel(config, add_pooling_layer=False)
batch = make_batch(8, 64, 500)


def learn(model: BertModel) -> None:
    model.zero_grad()
    model.encode(batch).last_hidden_state.square().mean().backward()


seconds = statistics.median(take_turns({"learn": lambda: learn(model)}, rounds=3)["learn"])
speed = 8 * 64 / seconds
here = speed * flops_per_token(config, 64)
print(f"this machine, right now: {speed:,.0f} tokens a second, {here / 1e9:.1f} billion FLOPs a second")
print(f"at that rate Google's pretraining would take {google * base / here / 86400 / 365:,.0f} years")
assert here > 1e8

# %% [markdown]
# Divide what you reach by what the maker says the chip can do, and you have *model FLOPs utilization*, MFU. The log of
# `python -m minibert.pretrain --bf16` shows it on GPUs it knows. Below 20 %, look for what the GPU waits for; 40 % and
# more is good.
#
# ## 18.2 Count first: memory
#
# **For each weight**, Adam needs 16 bytes in float32: the weight, its gradient, and two moments (running means of the
# gradient and of its square). BERT-base: $109{,}482{,}240 \cdot 16 = 1.75$ GB, whatever the batch.
#
# **For each token**, the forward pass keeps what the backward pass will need. Count in one block, in units of $H$
# numbers: the block's input (1); query, key, value (3); the context (1); the sum that goes into the first norm (1);
# what comes out (1); the wide layer before GELU (4) and after (4); the sum that goes into the second norm (1). That
# makes $16 H$. A few single numbers come on top: mean and deviation of two norms, and one logarithm a head (chapter
# 17). PyTorch lets you look at every tensor as it is put aside:


# %%
def kept_for_backward(model: nn.Module, run) -> int:
    """Bytes that `run` puts aside for the backward pass, weights not counted"""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()  # what is kept twice lies in memory once
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    assert result.requires_grad
    return sum(kept.values())


hidden = torch.randn(512, 128, requires_grad=True)
block = model.blocks[0]
sdpa = get_attention("sdpa")
counted = kept_for_backward(block, lambda: block(hidden, batch.layout, batch.layout, sdpa)[0]) / 4 / 512
print(f"kept by a block for each token: {counted:.0f} numbers; on paper 16 · 128 + 4 + 4 = {16 * 128 + 8}")
assert counted == 16 * 128 + 8

# %% [markdown]
# So BERT-base keeps $12 \cdot 16 \cdot 768 \cdot 4 = 589{,}824$ bytes a token. For 32 rows of 512 that is 9.7 GB,
# more than five times those 1.75 GB. (With dropout a little more: which numbers were dropped.) This is the part to work
# on first. The package begins with the cheapest piece, and keeps $12 H$: what comes out of GELU is not kept but
# computed again ([`recomputation.py`](../minibert/recomputation.py)). It does so by hooks, too, and lets others
# go first: so the count above is of everything.
#
# ## 18.3 Accumulation: a batch in parts
#
# Gradients add up: that of a sum is the sum of the gradients. So take a batch of 32 as four of 8, call `backward` on
# each, and step once. Memory for activations falls to a quarter, and nothing else changes, *if the parts are weighted
# right*.
#
# By hand: two parts; the first has one masked word, with loss 4, the second three, with loss 2 each. The batch's mean
# is $(4 + 2 + 2 + 2)/4 = 2.5$. The mean of the two means is $(4 + 2)/2 = 3$. The lonely word has counted for
# three. This mistake was in well-known training libraries until 2024.

# %%
mlm = BertForMaskedLM(BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                 intermediate_size=64, **WITHOUT_DROPOUT))  # fmt: skip
input_ids = torch.randint(5, 100, (4, 10))
labels = torch.full_like(input_ids, -100)
for row, masked in enumerate((1, 1, 6, 8)):  # so many words to predict in each row
    labels[row, :masked] = input_ids[row, :masked]
parts = [slice(0, 2), slice(2, 4)]


def gradient_of(weights_of_parts) -> torch.Tensor:
    """The gradient of all parameters, added up over the parts, each with its weight, in one vector"""
    mlm.zero_grad()
    for part, weight in zip(parts, weights_of_parts, strict=True):
        (mlm(input_ids[part], labels=labels[part]).loss * weight).backward()
    return torch.cat([parameter.grad.flatten() for parameter in mlm.parameters() if parameter.grad is not None])


counts = [int((labels[part] != -100).sum()) for part in parts]
mlm.zero_grad()
mlm(input_ids, labels=labels).loss.backward()
whole = torch.cat([parameter.grad.flatten() for parameter in mlm.parameters() if parameter.grad is not None])
by_words = gradient_of([count / sum(counts) for count in counts])
by_parts = gradient_of([0.5, 0.5])
assert_close(by_words, whole, atol=1e-6, rtol=1e-4)
off = ((by_parts - whole).norm() / whole.norm()).item()
print(f"{counts} words: weighted by words, the same gradient; the mean of means is off by {off:.0%}")
assert off > 0.3

# %% [markdown]
# The package's pretraining keeps sums until the very end, so it cannot go wrong with parts, nor with processes:

# %%
print(inspect.getsource(Tally.figures))
print(inspect.getsource(PretrainingTrainer._forward_backward))

# %% [markdown]
# (`--accumulation N` of `minibert.pretrain` and `minibert.finetune`, or
# `TrainingArguments(gradient_accumulation_steps=N)`. Fine-tuning weighs each part by its labels, which comes to the
# same: tags, one a word, count alike in whichever part they are, and rare classes as `--class-weights` says. Only parts
# of different tasks count alike, however many labels they have.)
#
# ## 18.4 Checkpointing: forget, and compute again
#
# Chapter 17 threw the attention weights away and computed them again. Do the same with whole blocks (Chen et al. 2016):
# keep only each block's input, $1H$ instead of $16H$. When the backward pass comes to a block, run it forward once
# more.
#
# On paper, for 8 blocks: $8 \cdot 16H = 128H$ without; with it $8H$, plus the $16H$ of the one block being redone.
# The price is one more forward pass: a third more time. In the package it is a switch, `--checkpoint-activations` of
# `minibert.finetune` (`TrainingArguments(gradient_checkpointing=True)`). Build it yourself first, with PyTorch's
# function that forgets, and compare: `checkpoint(block, *inputs, use_reentrant=False, **options)` is `block(*inputs)`,
# kept by its inputs alone. (As in chapter 5, a block takes hidden states, the layout twice, and an attention, here
# `sdpa`; it gives the hidden states and the probabilities.)


# %%
def encode(model: BertModel, batch: PackedBatch, forget: bool, **options) -> torch.Tensor:
    """(tokens) -> (tokens, hidden)"""
    # BEGIN SOLUTION
    hidden = model.embeddings(batch)  # (tokens) -> (tokens, hidden)
    for block in model.blocks:
        inputs = hidden, batch.layout, batch.layout, sdpa
        hidden, _ = checkpoint(block, *inputs, use_reentrant=False, **options) if forget else block(*inputs)
    return hidden
    # END SOLUTION


def gradient(model: BertModel, forget: bool, **options) -> torch.Tensor:
    model.zero_grad()
    torch.manual_seed(1)
    encode(model, batch, forget, **options).square()[:, 0].mean().backward()
    return model.blocks[0].feed_forward.output.weight.grad.clone()


assert_close(gradient(model, True), gradient(model, False))
plain, forgetful = (kept_for_backward(model, lambda way=way: encode(model, batch, way)) for way in (False, True))
packages = copy.deepcopy(model)
checkpoint_activations(packages)
assert_close(gradient(packages, False), gradient(model, False))
assert kept_for_backward(packages, lambda: encode(packages, batch, False)) == forgetful
times = take_turns({"plain": lambda: gradient(model, False), "forgetful": lambda: gradient(model, True)}, rounds=5)
dearer = statistics.median(two / one for one, two in zip(times["plain"], times["forgetful"], strict=True))
print(f"kept: {plain / 1e6:.1f} MB without, {forgetful / 1e6:.1f} MB with; time: {dearer:.2f} times; the same gradient")
assert plain / forgetful > 8
assert 1.05 < dearer < 2
print(inspect.getsource(checkpoint_activations))

# %% [markdown]
# **The mistake to know.** With dropout, the second forward pass must drop the *same* numbers as the first. `checkpoint`
# takes care and keeps the state of the random generator. Some people switch that off to save time:

# %%
dropping = BertModel(BertConfig(**{**config.to_dict(), "hidden_dropout_prob": 0.1}), add_pooling_layer=False).train()
reference = gradient(dropping, False)
assert_close(gradient(dropping, True), reference)
careless = gradient(dropping, True, preserve_rng_state=False)
off = ((careless - reference).norm() / reference.norm()).item()
print(f"without the generator's state: no error, and a gradient off by {off:.0%}")
assert off > 0.02

# %% [markdown]
# Now all that memory in one picture, on paper, for BERT-base and 32 rows of 512:

# %%
GIGA = 1e9
tokens = 32 * 512
weights = 109_482_240 * 4 / GIGA
per_token = 12 * 16 * 768 * 4 / GIGA
ways = {
    "plain": (4 * weights, tokens * per_token),
    "four parts": (4 * weights, tokens / 4 * per_token),
    "checkpointing": (4 * weights, tokens * (12 + 16) * 768 * 4 / GIGA),
    "bfloat16 products": (4 * weights, tokens * per_token / 2),
    "checkpointing, four parts": (4 * weights, tokens / 4 * (12 + 16) * 768 * 4 / GIGA),
}
figure, axes = plt.subplots(figsize=(9, 3))
fixed, moving = ([way[number] for way in ways.values()] for number in (0, 1))
axes.barh(list(ways), fixed, color=GREY, label="weights, gradients, moments")
bars = axes.barh(list(ways), moving, left=fixed, color=BLUE, label="kept for backward")
axes.bar_label(bars, [f"{one + other:.1f} GB" for one, other in zip(fixed, moving, strict=True)], padding=4)
axes.invert_yaxis()
axes.set(xlabel="gigabytes", xlim=(0, 13))
axes.legend(loc="lower right")
show(figure, "Bars of memory: plain 11.4 GB; four parts 4.2; checkpointing 3.2; bfloat16 6.6; both 2.1 GB.")
assert abs(sum(ways["plain"]) - 11.4) < 0.05
assert abs(sum(ways["checkpointing"]) - 3.2) < 0.05

# %% [markdown]
# *The picture:* the grey part is the model's, the blue part the batch's. (The bar of bfloat16 is the least it can be:
# norms and what is summed stay in float32.) When the grey part is too large itself, several GPUs must share it: 18.7.
#
# ## 18.5 bfloat16: half the bytes, and two to three digits
#
# A bfloat16 number is a float32 cut in half: the same 8 bits of exponent, so the same range, but 7 bits of fraction
# instead of 23. After 1 comes $1 + 2^{-7} = 1.0078$. Between 256 and 512 the step is 2, so $256 + 1 = 256$.

# %%
one = torch.tensor(1.0, dtype=torch.bfloat16)
after = torch.nextafter(one, 2 * one).item()
print("after 1 comes", after, "  256 + 1 =", (256 * one + one).item())
assert after == 1.0078125
assert 256 * one + one == 256

weight = {torch.float32: torch.tensor(1.0), torch.bfloat16: one.clone()}
for kind in weight:
    for _ in range(1000):
        weight[kind] += 0.001
    print(f"1 + 1000 times 0.001 in {kind}: {weight[kind].item():.3f}")
assert abs(weight[torch.float32].item() - 2) < 1e-3
assert weight[torch.bfloat16] == 1

# %% [markdown]
# So *products* may be in bfloat16: an error of up to 0.4 % in each of a thousand numbers averages out. *Sums* may not:
# they stop growing. And *weights* may not: small steps vanish. So `--bf16` (`TrainingArguments(bf16=True)`) does this:
# under `autocast` the linear layers compute in bfloat16, while weights, norms, losses and Adam stay in float32. Watch:

# %%
dtypes = {}


def note_dtype(name: str):
    def hook(_module, _inputs, output) -> None:
        dtypes[name] = output.dtype

    return hook


hooks = [
    part.register_forward_hook(note_dtype(name))
    for name, part in model.blocks[0].named_modules()
    if isinstance(part, nn.Linear | nn.LayerNorm)
]
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    short = model.encode(batch).last_hidden_state
for hook in hooks:
    hook.remove()
for name, dtype in dtypes.items():
    print(f"{name:30} {dtype}")
assert dtypes["feed_forward.output"] == torch.bfloat16
assert next(model.parameters()).dtype == torch.float32
with torch.no_grad():
    exact = model.encode(batch).last_hidden_state
off = ((short.float() - exact).norm() / exact.norm()).item()
print(f"after {config.num_hidden_layers} blocks, off by {off:.2%}")
assert 1e-4 < off < 0.03

# %% [markdown]
# That is in a fresh model, whose blocks change their input little. Does it still learn? A small task (name the token
# before), three ways: float32; autocast; and the mistake, weights in bfloat16 as well. The learning rate falls to 0, as
# usual.

# %%
SYMBOLS, ROW = 8, 12


def learn_task(way: str, steps: int = 120) -> list[float]:
    torch.manual_seed(0)
    small = BertConfig(
        vocab_size=SYMBOLS, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=ROW, **WITHOUT_DROPOUT,
    )  # fmt: skip
    task = nn.ModuleDict({"bert": BertModel(small, add_pooling_layer=False), "answer": nn.Linear(64, SYMBOLS)})
    if way == "weights in bfloat16":
        task = task.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        row = torch.randint(SYMBOLS, (32, ROW))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "autocast"):
            logits = task["answer"](task["bert"](row).last_hidden_state)  # -> (batch, seq, symbols)
        loss = F.cross_entropy(logits.float().flatten(0, 1), row.roll(1, dims=1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


curves = {way: learn_task(way) for way in ("float32", "autocast", "weights in bfloat16")}
figure, axes = plt.subplots(figsize=(7.5, 3.4))
for (way, losses), style, colour in zip(curves.items(), ("-", "--", ":"), (BLUE, ORANGE, VERMILION), strict=True):
    axes.plot(losses, style, color=colour, label=way, linewidth=2)
axes.set(xlabel="step", ylabel="loss", yscale="log")
axes.legend()
show(figure, "Loss curves: float32 and autocast lie on each other, with weights in bfloat16 the loss ends higher.")
ends = {way: statistics.mean(losses[-10:]) for way, losses in curves.items()}
print({way: f"{end:.4f}" for way, end in ends.items()})
assert abs(ends["autocast"] / ends["float32"] - 1) < 0.2
assert ends["weights in bfloat16"] > 1.3 * ends["float32"]

# %% [markdown]
# *The picture:* autocast follows float32. With weights in bfloat16 the last, small steps are lost.
#
# Is it faster? On chips with matrix units for bfloat16 it should be, twice and more. On a CPU without them it is
# *slower*, many times: each product is emulated. Measure before you believe. The package's figures are from CPUs; it
# is not measured on a GPU yet.
#
# ## 18.6 Compiling
#
# `torch.compile` reads a module's Python once and writes a fused program for it: a norm, say, then reads its input
# once instead of four times. It can only compile what does not depend on the *values* in a tensor. Where Python asks
# for one (`if mask.all():`, `lengths.tolist()`), the program breaks in two.
#
# `pretrain --compile` does it; or compile a block yourself. Ask first whether it is one piece:

# %%
ragged = PackedBatch.from_sequences([torch.randint(1, 500, (length,)).tolist() for length in (64, 8, 8, 8, 8, 8)])
breaks = {}
for name in ("sdpa", "packed"):
    torch._dynamo.reset()
    of = torch.randn(len(ragged.input_ids), 128)
    seen = torch._dynamo.explain(block)(of, ragged.layout, ragged.layout, get_attention(name))
    breaks[name] = seen.graph_break_count
    print(f"a block with {name:6} attention: pieces {seen.graph_count}, breaks {seen.graph_break_count}")
torch._dynamo.reset()
assert breaks["sdpa"] == 0
assert breaks["packed"] > 0

# %% [markdown]
# On a CPU, `packed` looks at the lengths to choose its way: a break. `BertModel.forward` breaks, too, where it packs:
# the number of real tokens is only known when the mask is. So compile the blocks, not the model:
#
# ```python
# for block in model.blocks:
#     block.compile(dynamic=True)  # dynamic: not anew for every number of tokens
# ```
#
# Compiling needs a C++ compiler on a CPU and takes half a minute or more, so it is an experiment for you below and no
# cell here.
#
# ## 18.7 Several processes
#
# One GPU is not enough, but you have eight. *Data parallel*: each process has a copy of the model and a share of the
# batch; each computes its gradient; the gradients are averaged over all (*all-reduce*); each makes the same step, so
# the copies stay equal. It is accumulation side by side, and the same arithmetic proves it. Without any process,
# with two copies:

# %%
copies = [copy.deepcopy(mlm) for _ in parts]
for one_copy, part, count in zip(copies, parts, counts, strict=True):
    one_copy.zero_grad()
    (one_copy(input_ids[part], labels=labels[part]).loss * len(parts) * count / sum(counts)).backward()
for together in zip(*(one_copy.parameters() for one_copy in copies), strict=True):
    if together[0].grad is not None:
        mean = sum(parameter.grad for parameter in together) / len(together)  # what all-reduce brings to everyone
        for parameter in together:
            parameter.grad = mean
averaged = torch.cat([parameter.grad.flatten() for parameter in copies[0].parameters() if parameter.grad is not None])
assert_close(averaged, whole, atol=1e-6, rtol=1e-4)
print("two copies, each with half of the batch, averaged: the gradient of the whole batch")

# %% [markdown]
# Note the weight: `len(parts) * count / sum(counts)`. The average divides by the number of processes; but the words are
# not divided equally. So each process must know how many words *all* have: one small sum over processes before the
# loss. Look at `_forward_backward` above, where `sum_over_ranks(counts)` is it, and `loss * ranks()` undoes the
# division.
#
# **When the model itself is too large**, each process can keep only its share of the weights, gradients and moments,
# and fetch the rest block by block when needed: *fully sharded* data parallel, FSDP (Rajbhandari et al. 2019; Zhao et
# al. 2023). On paper, BERT-large has 335 million weights and takes 5.4 GB; shared by 8, it is 0.7 GB each. The answer
# is again the same.
#
# Now for real. `torchrun` starts the processes and tells each its number; the package does the rest. The text is what
# every Python has on board. Pretrain three steps in one process, in two, and in two that share the model (`--fsdp`).
# Dropout is off, because each process would draw its own.

# %%
folder = tempfile.TemporaryDirectory()
root = Path(folder.name)
documents = [re.sub(r"\s+", " ", text) for text in list(topics.values())[:25]]
(root / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
environment = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(Path(inspect.getfile(BertModel)).parents[1]), os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
}
arguments = "--size tiny --dropout 0 --max-steps 3 --batch-size 16 --max-length 64 --lr 1e-3".split()
torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def minibert_command(launcher: list[str], *words: object) -> None:
    command = [sys.executable, *launcher, "-m", "minibert.pretrain", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)


minibert_command([], "vocabulary", root / "text.txt", "--size", 500, "--out", root / "vocabulary")
minibert_command(
    [], "prepare", root / "text.txt", "--vocab", root / "vocabulary", "--workers", 1, "--out", root / "corpus"
)
logs = {}
for name, launcher, more in (
    ("one process", [], []),
    ("two processes", torchrun, []),
    ("two that share", torchrun, ["--fsdp"]),
):
    out = root / name.replace(" ", "-")
    minibert_command(launcher, "--corpus", root / "corpus", "--out", out, *arguments, *more)
    logs[name] = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
print("the loss of", ", of ".join(logs))
for entries in zip(*logs.values(), strict=True):
    print("step", entries[0]["step"], *(f"  {entry['loss']:.5f}" for entry in entries))
    for key, tolerance in (("loss", 1e-4), ("grad_norm", 1e-3)):
        assert max(entry[key] for entry in entries) - min(entry[key] for entry in entries) < tolerance
folder.cleanup()

# %% [markdown]
# The same losses, to five digits. What is left is rounding: sums in another order.
#
# How fast are two? Each step they exchange all gradients: 438 MB for BERT-base. In a ring, each process sends and
# receives about twice that. Over a network of 10 Gbit/s that is 0.7 seconds, over the links between GPUs in one machine
# (some hundred GB/s) a few milliseconds. So with slow links take larger steps: with accumulation, gradients are
# exchanged once a step (`no_sync` in the code above).
#
# ## 18.8 In which order
#
# | too slow? | too large? |
# | --- | --- |
# | 1. no padding (chapter 16) | 1. accumulation: costs next to nothing |
# | 2. bfloat16, if the chip has it | 2. bfloat16: nearly halves what is kept |
# | 3. a fused attention (chapter 17) | 3. checkpointing: a third more time |
# | 4. compile the blocks | 4. a smaller model |
# | 5. more processes | 5. shares of the model (FSDP) |
#
# ## Experiments to try
#
# 1. Compile the blocks as in 18.6 and time `learn` with `take_turns`. How many calls until it has paid for itself?
# 2. Checkpoint every second block only. Where do time and memory land?
# 3. Plant the mean-of-means mistake into the two copies (leave out the weight `len(parts) * count / sum(counts)`). How
#    far off is the gradient? And if the words are divided 8 to 8?
#
# ## Questions
#
# <details><summary>You double the batch by accumulation. Must the learning rate change?</summary>
#
# The step is then a better estimate of the same gradient, so it may be larger: people multiply by 2 or by its root.
# The batch *size* is what matters, not how it was made up.
# </details>
#
# <details><summary>Why does bfloat16 need no loss scaling, and float16 does?</summary>
#
# float16 has 5 bits of exponent: below $6 \cdot 10^{-8}$ there is nothing, and small gradients become 0. bfloat16 has
# float32's range.
# </details>
#
# <details><summary>Checkpointing takes a third more time. Where does the third come from?</summary>
#
# Forward is one part, backward two. One more forward makes 4 instead of 3.
# </details>
#
# <details><summary>Two processes on one CPU with two cores: twice as fast?</summary>
#
# Only if one process could not use both cores. PyTorch's matrix products already run on several threads, and both
# processes share one memory. On a CPU the two are for proving that the code is right.
# </details>
#
# ## Key points
#
# - 6 FLOPs a weight and token; 16 bytes a weight; $16H$ numbers a token and block. Count before you buy.
# - Parts and processes give the same gradient if every word has the same weight. Means of means do not.
# - Checkpointing keeps $1H$ instead of $16H$ and computes again.
# - bfloat16 is for products. Weights and sums stay in float32.
# - Data parallel is accumulation side by side; FSDP shares the model, too. Both give the same answer.
#
# **Code:** [`training/utilization.py`](../minibert/training/utilization.py) (`flops_per_token`),
# [`training/activation_checkpointing.py`](../minibert/training/activation_checkpointing.py) (`checkpoint_activations`),
# [`training/objective.py`](../minibert/training/objective.py) (`Tally`),
# [`training/pretraining_trainer.py`](../minibert/training/pretraining_trainer.py) (`_forward_backward`),
# [`training/distributed.py`](../minibert/training/distributed.py) (`sum_over_ranks`,
# `shard`).
#
# **Papers:** Chen et al. 2016, *Training Deep Nets with Sublinear Memory Cost*; Micikevicius et al. 2017, *Mixed
# Precision Training*; Kalamkar et al. 2019, *A Study of BFLOAT16 for Deep Learning Training*; Rajbhandari et al. 2019,
# *ZeRO*; Chowdhery et al. 2022, *PaLM*, appendix B; Zhao et al. 2023, *PyTorch FSDP*.
#
# Before: [17. Flash attention](17_flash_attention.ipynb). Next: [19. From a folder to a service](19_service.ipynb)
