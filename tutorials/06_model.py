# %% [markdown]
# # 6. The whole model
#
# You have all the parts. This chapter puts them together, counts the 110 million parameters by hand, and then does
# what few people have done: reads weights out of a file of Google's format, byte by byte.
#
# **You will be able to**
#
# - follow one batch through BERT and say the shape at each step;
# - write the whole forward pass in one screen, equal to the package's;
# - derive 109,482,240 on paper;
# - translate between three names of the same tensor, and see why a transposed matrix is a silent error;
# - read a TensorFlow checkpoint without TensorFlow.
#
# **You need** chapters 3 to 5. **Time:** an hour to read; the cells run in half a minute.

# %%
import copy
import importlib.util
import inspect
import math
import os
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, show
from torch.testing import assert_close

from minibert import BertConfig, BertForPreTraining, BertModel
from minibert.checkpoints.names import TABLE, from_minibert, to_minibert
from minibert.checkpoints.tensorflow import open_checkpoint, write_checkpoint
from minibert.checkpoints.tensorflow.crc32c import masked_crc32c
from minibert.config import PRESETS

# %% [markdown]
# ## 6.1 From ids to vectors, with all shapes
#
# A small BERT, two sentences of unequal length, and a hook on each part that writes down the shape of what comes out.

# %%
torch.manual_seed(0)
config = BertConfig(
    vocab_size=100,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=192,
    max_position_embeddings=16,
)
model = BertModel(config).eval()
input_ids = torch.tensor([[2, 11, 12, 13, 14, 15, 3], [2, 21, 22, 3, 0, 0, 0]])
attention_mask = (input_ids != config.pad_token_id).long()
token_type_ids = torch.tensor([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])


def note(name: str):
    def hook(_module, _inputs, output) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        print(f"{name:45} {tuple(tensor.shape)}")

    return hook


hooks = [
    part.register_forward_hook(note(name)) for name, part in model.named_modules() if name and "blocks.1." not in name
]
with torch.no_grad():
    output = model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
for hook in hooks:
    hook.remove()
print(f"{'last_hidden_state':45} {tuple(output.last_hidden_state.shape)}")
print(f"{'pooler_output':45} {tuple(output.pooler_output.shape)}")
assert output.last_hidden_state.shape == (2, 7, 48)
assert (output.last_hidden_state[1, 4:] == 0).all()

# %% [markdown]
# The batch came in as (2, 7): 14 places. But inside, everything has 11 rows. The package *packs* the real tokens
# into one matrix and computes nothing for padding. Only attention needs to know where sentences begin, and gets that
# as `cu_seqlens`, the running sum of the lengths.

# %%
batch = model.pack(input_ids, attention_mask, token_type_ids)
print("packed ids", batch.input_ids.tolist())
print("cu_seqlens", batch.layout.cu_seqlens.tolist())
assert batch.layout.cu_seqlens.tolist() == [0, 7, 11]

figure, axes = plt.subplots(2, 1, figsize=(10, 2.6), height_ratios=[2, 1])
for row in range(2):
    for place in range(7):
        real = bool(attention_mask[row, place])
        colour = (BLUE, ORANGE)[row] if real else "#DDDDDD"
        axes[0].barh(row, 0.95, left=place, color=colour)
        text = str(input_ids[row, place].item()) if real else "pad"
        axes[0].text(place + 0.47, row, text, ha="center", va="center", color="white" if real and row == 0 else "black")
for place, token in enumerate(batch.input_ids.tolist()):
    axes[1].barh(0, 0.95, left=place, color=(BLUE, ORANGE)[place >= 7])
    axes[1].text(place + 0.47, 0, token, ha="center", va="center", color=("white", "black")[place >= 7])
axes[0].invert_yaxis()
for part, title in zip(axes, ("padded (2, 7)", "packed (11)"), strict=True):
    part.set(xlim=(0, 11.2), xticks=[], yticks=[], title=title)
    part.spines[:].set_visible(False)
show(figure, "Above: two rows of seven, the second with three grey paddings. Below: the eleven real tokens in one row.")

# %% [markdown]
# *The picture:* above what you hand over, below what the model computes with.
#
# The *pooler* takes the vector of `[CLS]`, a linear layer and a tanh: one vector for the row (chapter 9 puts a task on
# it).
#
# ## 6.2 Build it yourself
#
# The whole of BERT from its weights. This is the padded form that most code uses: a rectangle of (batch, seq),
# and a mask in attention. If packing changes nothing, the two must agree at all real tokens. The names of the weights
# are those that the hooks have printed, with `.weight` or `.bias` behind them; `config` knows `layer_norm_eps` and
# `head_dim`.


# %%
def bert(
    weights: dict[str, torch.Tensor], config: BertConfig, ids, mask, segments
) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch, seq) -> (batch, seq, hidden) and (batch, hidden)"""

    # BEGIN SOLUTION
    def linear(inputs: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(inputs, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(inputs: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(
            inputs, inputs.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], config.layer_norm_eps
        )

    hidden = weights["embeddings.word_embeddings.weight"][ids]  # (batch, seq) -> (batch, seq, hidden)
    hidden = hidden + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    hidden = norm(hidden + weights["embeddings.token_type_embeddings.weight"][segments], "embeddings.layer_norm")
    lowest = torch.finfo(hidden.dtype).min
    for number in range(config.num_hidden_layers):
        block = f"blocks.{number}"
        projected = linear(hidden, f"{block}.attention.query_key_value")  # -> (batch, seq, 3 * hidden)
        split = projected.unflatten(-1, (3, config.num_attention_heads, config.head_dim))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # -> 3 of (batch, heads, seq, head_dim)
        scores = query @ key.mT / math.sqrt(config.head_dim)  # -> (batch, heads, seq, seq)
        scores = scores.masked_fill(mask[:, None, None, :] == 0, lowest)
        context = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)  # -> (batch, seq, hidden)
        hidden = norm(hidden + linear(context, f"{block}.attention.output"), f"{block}.attention_norm")
        wide = F.gelu(linear(hidden, f"{block}.feed_forward.intermediate"))  # -> (batch, seq, intermediate)
        hidden = norm(hidden + linear(wide, f"{block}.feed_forward.output"), f"{block}.feed_forward_norm")
    return hidden, torch.tanh(linear(hidden[:, 0], "pooler.dense"))  # (batch, seq, hidden) -> (batch, hidden)
    # END SOLUTION


# As if trained: of fresh, small weights nobody would miss a bias, a norm or the right GELU.
trained = copy.deepcopy(model)
for number, parameter in enumerate(trained.parameters()):
    if parameter.dim() == 1:
        parameter.data += torch.linspace(-0.5, 0.5, len(parameter)).roll(number)
    else:
        parameter.data *= 10
real = attention_mask.bool()
with torch.no_grad():
    own_hidden, own_pooled = bert(trained.state_dict(), config, input_ids, attention_mask, token_type_ids)
    package = trained(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
assert_close(own_hidden[real], package.last_hidden_state[real], atol=1e-5, rtol=1e-4)
assert_close(own_pooled, package.pooler_output, atol=1e-5, rtol=1e-4)
print("equal at all 11 tokens; the package's version:")
print(inspect.getsource(BertModel.encode))

# %% [markdown]
# That is BERT. Thirty lines; everything else in a library is care: errors, speed, files.
#
# ## 6.3 110 million, counted by hand
#
# Let H be the width, L the blocks, V the vocabulary. For BERT-base H = 768, L = 12, V = 30,522 (Devlin et al. 2019,
# section 3). A linear layer from $a$ to $b$ has $ab + b$ parameters, a LayerNorm $2H$.
#
# | part | formula | BERT-base |
# | --- | --- | --- |
# | embeddings | $(V + 512 + 2)H + 2H$ | 23,837,184 |
# | attention: query, key, value, output | $4(H^2 + H)$ | 2,362,368 |
# | feed-forward: up and down | $4H^2 + 4H + 4H^2 + H$ | 4,722,432 |
# | two norms | $4H$ | 3,072 |
# | *one block* | $12H^2 + 13H$ | 7,087,872 |
# | *twelve blocks* | | 85,054,464 |
# | pooler | $H^2 + H$ | 590,592 |
# | **all** | | **109,482,240** |


# %%
def count_by_hand(layers: int, width: int, vocab: int = 30522) -> dict[str, int]:
    return {
        "embeddings": (vocab + 512 + 2) * width + 2 * width,
        "attention": layers * 4 * (width**2 + width),
        "feed-forward": layers * (8 * width**2 + 5 * width),
        "norms": layers * 4 * width,
        "pooler": width**2 + width,
    }


counts = {}
for name, (layers, width) in PRESETS.items():
    with torch.device("meta"):  # shapes without memory: even the large one takes none
        preset = BertConfig(
            num_hidden_layers=layers, hidden_size=width, num_attention_heads=width // 64, intermediate_size=4 * width
        )
        exact = sum(parameter.numel() for parameter in BertModel(preset).parameters())
    counts[name] = count_by_hand(layers, width)
    assert sum(counts[name].values()) == exact, name
    print(f"{name:7} {layers:>2} blocks of {width:>4}: {exact:>11,}")
assert sum(counts["base"].values()) == 109_482_240

figure, axes = plt.subplots(figsize=(9, 3.6))
left = np.zeros(len(counts))
for part, colour in zip(counts["base"], (GREY, ORANGE, BLUE, GREEN, VERMILION), strict=True):
    shares = np.array([100 * sizes[part] / sum(sizes.values()) for sizes in counts.values()])
    axes.barh(list(counts), shares, left=left, color=colour, label=part, edgecolor="white")
    left += shares
axes.invert_yaxis()
axes.set(xlabel="share of the parameters, %", xlim=(0, 100))
axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9, frameon=False)
show(
    figure, "Shares by size of model: in tiny nine tenths are embeddings, in large one tenth; then feed-forward leads."
)

# %% [markdown]
# *The picture:* a small BERT is mostly a dictionary. A large one is mostly feed-forward. Blocks grow with $H^2$,
# embeddings with $H$.
#
# The paper says "110M". With the two heads of pretraining it is closer to that. The head for masked words has a
# linear layer, a norm and a bias for each word; its big matrix is *the word embeddings again* and costs nothing.

# %%
with torch.device("meta"):
    pretraining = BertForPreTraining(BertConfig())
heads = 768**2 + 768 + 2 * 768 + 30522 + 2 * 768 + 2
total = sum(parameter.numel() for parameter in pretraining.parameters())
print(f"{total:,} with both heads, of which the heads are {heads:,}")
assert total == 109_482_240 + heads == 110_106_428

# %% [markdown]
# ## 6.4 Where weights begin
#
# Fresh weights are normal numbers of deviation 0.02, cut off at two deviations; biases are 0, norms 1. Cutting off
# the tails makes the true deviation smaller. On paper: a normal distribution without what lies beyond $\pm 2\sigma$
# has deviation $0.880\sigma$. So it is 0.0176:

# %%
fresh = BertModel(BertConfig(num_hidden_layers=1)).state_dict()["embeddings.word_embeddings.weight"]
print(f"deviation {fresh.std():.4f}, largest {fresh.abs().max():.4f}")
assert abs(fresh.std().item() - 0.880 * 0.02) < 1e-4
assert fresh.abs().max() <= 0.04

# %% [markdown]
# ## 6.5 One tensor, three names
#
# Trained weights come from others, who named things differently. Three dialects matter: the package's own, Hugging
# Face's and Google's. The package keeps them in one table. A star stands for the number of a block, and `[query]` for
# the first third of the one matrix that makes query, key and value (chapter 4).

# %%
lines = TABLE.strip().splitlines()
for line in (lines[0], *lines[3:6], *lines[11:14], lines[21]):
    own, hugging_face, google = line.split()
    print(f"{own}\n    Hugging Face  {hugging_face}\n    Google        {google}")

# %% [markdown]
# Besides names, one thing differs. Google's code computes $y = xW$ with $W$ of shape (in, out), called `kernel`.
# PyTorch computes $y = xW^\top$ with $W$ of shape (out, in), called `weight`. One is the other transposed. If you
# forget that, the feed-forward's matrices do not fit, and you notice. But query, key, value and output are *square*:

# %%
google_names = from_minibert(model.state_dict(), "google")
kernel = google_names["bert/encoder/layer_0/attention/output/dense/kernel"]
assert_close(kernel, model.blocks[0].attention.output.weight.mT)

broken = BertModel(config).eval()
broken.load_state_dict(model.state_dict())
broken.blocks[0].attention.output.weight.data.copy_(kernel)  # without .mT: the shape fits, and nothing complains
with torch.no_grad():
    off = broken(input_ids, attention_mask=attention_mask).last_hidden_state
    good = model(input_ids, attention_mask=attention_mask).last_hidden_state
print(f"a kernel loaded without transposing: no error, and outputs off by up to {(off - good).abs().max():.4f}")
assert (off - good).abs().max() > 1e-4

# %% [markdown]
# In trained weights the damage is far larger than in these fresh ones. This is why converters are tested on outputs,
# not on shapes.
#
# ## 6.6 A TensorFlow checkpoint, byte by byte
#
# Google released BERT as TensorFlow checkpoints: an `.index` file, which says what is where, and a `.data` file,
# which is nothing but numbers. Let the package write our small model in that format, then read it with our own hands.

# %%
folder = tempfile.TemporaryDirectory()
prefix = Path(folder.name) / "bert_model.ckpt"
write_checkpoint(prefix, {name: tensor.numpy() for name, tensor in google_names.items()})
for path in sorted(Path(folder.name).iterdir()):
    print(f"{path.name:36} {path.stat().st_size:>8,} bytes")
index = Path(f"{prefix}.index").read_bytes()
data = Path(f"{prefix}.data-00000-of-00001").read_bytes()
assert len(data) == 4 * sum(tensor.numel() for tensor in google_names.values())

# %% [markdown]
# The data file has four bytes for each number, and not one more. All the structure is in the index.
#
# **Numbers.** Small ones are common, so they are *varints*: seven bits a byte, lowest first; a set top bit says "go
# on". On paper: 300 is `10_0101100` in binary. The low seven bits are `0101100`, with the top bit `1_0101100` =
# `ac`; then `10` = `02`. So the bytes are `ac 02`.


# %%
def varint(content: bytes, place: int) -> tuple[int, int]:
    """The number that begins at `place`, and the place after it."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


assert varint(bytes.fromhex("ac02"), 0) == (300, 2)

# %% [markdown]
# **The table.** Read it from its end. The last 48 bytes are the *footer*: two *handles* (an offset and a size, as
# varints) and eight bytes of magic. The second handle leads to a list of blocks; each block holds entries, sorted by
# key:
#
# ```text
# shared | unshared | value size | rest of the key | value
# ```
#
# `shared` says how many bytes the key has in common with the one before: names such as
# `bert/encoder/layer_0/...` repeat, and are not spelled out each time. Behind the entries stand the places at which
# a key is spelled out in full (*restarts*, four bytes each) and their number: good for a search, and passed over here.
# Each block is followed by a byte that says how it is compressed (not at all) and by a checksum: CRC-32C, *masked*,
# that is rotated by 15 bits and added to a constant, because the checksum of something that holds its own checksum
# would tell little.

# %%
footer = index[-48:]
print("footer:", footer.hex(" "))
assert footer[-8:] == bytes.fromhex("57fb808b247547db")


def entries(offset: int, size: int) -> list[tuple[bytes, bytes]]:
    """The keys and values of a block, after a look at its checksum."""
    block = index[offset : offset + size]
    behind = index[offset + size : offset + size + 5]  # one byte for compression, four for the checksum
    assert int.from_bytes(behind[1:], "little") == masked_crc32c(block + behind[:1])
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    found, key, place = [], b"", 0
    while place < end:
        shared, place = varint(block, place)
        unshared, place = varint(block, place)
        length, place = varint(block, place)
        key = key[:shared] + block[place : place + unshared]
        place += unshared
        found.append((key, block[place : place + length]))
        place += length
    return found


_, place = varint(footer, 0)
_, place = varint(footer, place)  # the first handle leads to metadata that checkpoints leave empty
offset, place = varint(footer, place)
size, _ = varint(footer, place)
records = {}
for _, handle in entries(offset, size):
    block_offset, place = varint(handle, 0)
    block_size, _ = varint(handle, place)
    records.update(entries(block_offset, block_size))
print(len(records), "records; the first keys:", list(records)[:3])
assert set(records) == {b"", *(name.encode() for name in google_names)}

# %% [markdown]
# **A record** is a Protocol Buffers message: fields, each with its number and a kind. Kind 0 is a varint, kind 2 a
# length and so many bytes, kind 5 four bytes. For a tensor: field 1 is the type (1 = float32), field 2 the shape, field
# 4 the offset in the data file, field 5 the size, field 6 a checksum. What is zero is left out.


# %%
def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    found, place = [], 0
    while place < len(message):
        tag, place = varint(message, place)
        number, kind = divmod(tag, 8)
        if kind == 0:
            value, place = varint(message, place)
        else:
            length, place = varint(message, place) if kind == 2 else (4, place)
            value, place = message[place : place + length], place + length
        found.append((number, value))
    return found


def read_tensor(name: str) -> np.ndarray:
    record = dict(fields(records[name.encode()]))
    assert record[1] == 1, "float32 only"
    shape = [dict(fields(dimension))[1] for number, dimension in fields(record[2]) if number == 2]
    start = record.get(4, 0)
    content = data[start : start + record[5]]
    assert int.from_bytes(record[6], "little") == masked_crc32c(content)
    return np.frombuffer(content, "<f4").reshape(shape)


name = "bert/encoder/layer_0/attention/output/dense/kernel"
print(records[name.encode()].hex(" "))
print(fields(records[name.encode()]))
print(read_tensor(name)[:2, :4])

# %% [markdown]
# Now for all of them: against the package's reader, against what we wrote, and back into a model.

# %%
with open_checkpoint(prefix) as checkpoint:
    assert set(checkpoint) == set(google_names)
    for name in checkpoint:
        assert np.array_equal(read_tensor(name), checkpoint[name]), name
arrays = {name: torch.from_numpy(read_tensor(name).copy()) for name in google_names}
again = BertModel(config).eval()
again.load_state_dict(to_minibert(again.state_dict(), arrays, "google"))
with torch.no_grad():
    assert_close(again(input_ids, attention_mask=attention_mask).last_hidden_state, good, atol=0, rtol=0)
print(f"{len(arrays)} tensors read by hand; the model is the same, bit for bit")

# %% [markdown]
# The package's reader does the same, plus all that can go wrong in other people's files: damaged bytes, tensors in
# slices, several data files, zips, and the older format. Damage one byte, and it says where:

# %%
path = Path(f"{prefix}.data-00000-of-00001")
path.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
try:
    with open_checkpoint(prefix) as checkpoint:
        dict(checkpoint.stream())
except ValueError as error:
    print(str(error).replace(f"{folder.name}{os.sep}", ""))
else:
    raise AssertionError("one flipped bit must be found")
_ = path.write_bytes(data)  # mended

# %% [markdown]
# ## 6.7 The same model in `transformers`
#
# `save_pretrained` writes Hugging Face's names, so `transformers` opens the folder. If you have that library, this
# cell compares every number.

# %%
if importlib.util.find_spec("transformers"):
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.filterwarnings("ignore", message="IProgress not found")  # a progress bar that nobody sees
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model.save_pretrained(Path(folder.name) / "saved")
    peer = transformers.BertModel.from_pretrained(Path(folder.name) / "saved").eval()
    with torch.no_grad():
        theirs = peer(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
    gap = (theirs.last_hidden_state[real] - output.last_hidden_state[real]).abs().max().item()
    print(f"largest difference at real tokens: {gap:.1e}")
    assert_close(theirs.last_hidden_state[real], output.last_hidden_state[real], atol=1e-5, rtol=1e-4)
    assert_close(theirs.pooler_output, output.pooler_output, atol=1e-5, rtol=1e-4)
else:
    print("transformers is not installed: left out")
folder.cleanup()

# %% [markdown]
# ## 6.8 Common mistakes, shown breaking
#
# **No attention mask.** Then padding is text like any other, and every real token looks at it.

# %%
with torch.no_grad():
    masked = model(input_ids, attention_mask=attention_mask).last_hidden_state[1, :4]
    unmasked = model(input_ids).last_hidden_state[1, :4]
print(f"without the mask, real tokens are off by up to {(masked - unmasked).abs().max():.3f}")
assert (masked - unmasked).abs().max() > 0.01

# %% [markdown]
# **Loading only what fits.** `load_state_dict(..., strict=False)` with a wrong prefix loads nothing at all and says
# so only in a value that nobody prints. The model then runs on fresh random weights.

# %%
with_prefix = {f"encoder.{name}": tensor for name, tensor in model.state_dict().items()}
result = BertModel(config).load_state_dict(with_prefix, strict=False)
print(f"no error, but {len(result.missing_keys)} of {len(model.state_dict())} tensors are missing")
assert len(result.missing_keys) == len(model.state_dict())

# %% [markdown]
# **The other GELU**: chapter 5. **The wrong vocabulary**: chapter 2. **train() instead of eval()**: chapter 5.
#
# ## Experiments to try
#
# 1. Write `count_by_hand` for ALBERT: blocks that share their weights, and embeddings of width 128 with a matrix to
#    H.
# 2. Run `bert` of section 6.2 in float64 beside float32. How large is the rounding error after 2 blocks, after 12?
# 3. Cut the index file after 100 bytes and open it: what does the error say? Then flip each of the footer's 384 bits in
#    turn. Many flips are not noticed, and all tensors are right nevertheless. Which, and why?
#
# ## Questions
#
# <details><summary>Why does the count of parameters not contain the number of heads?</summary>
#
# Heads only cut the same matrices into slices. Twelve heads of 64 or one of 768: the same numbers.
# </details>
#
# <details><summary>How large is BERT-base on disk in float32? How long would 1 Gbit/s take?</summary>
#
# 109,482,240 times 4 bytes is 438 MB, and 3.5 seconds.
# </details>
#
# <details><summary>Why use the word embeddings again to predict words?</summary>
#
# It saves 23 million parameters, and makes sense: a word is likely where a vector like its own is expected. Press &
# Wolf (2017) found that it also helps language models.
# </details>
#
# <details><summary>Why are there checksums in the file?</summary>
#
# A flipped bit in a weight gives a number like any other. No later step could notice.
# </details>
#
# ## Key points
#
# - BERT is embeddings, blocks, pooler: thirty lines.
# - A block has $12H^2 + 13H$ parameters; BERT-base has 109,482,240, and 110,106,428 with its pretraining heads.
# - The same tensor has three names, and Google's kernels are transposed. Square ones go wrong silently.
# - A checkpoint is a sorted table of names, and numbers at offsets.
#
# **Code:** [`model.py`](../minibert/model.py) (`BertModel.encode`), [`packing.py`](../minibert/packing.py)
# (`pack_inputs`), [`checkpoints/names.py`](../minibert/checkpoints/names.py) (`TABLE`, `to_minibert`),
# [`checkpoints/tensorflow/`](../minibert/checkpoints/tensorflow/__init__.py) (`open_checkpoint`),
# [`table.py`](../minibert/checkpoints/tensorflow/table.py) and
# [`wire.py`](../minibert/checkpoints/tensorflow/wire.py).
#
# **Papers:** Devlin et al. 2019, section 3; Turc et al. 2019, *Well-Read Students Learn Better* (the small sizes);
# Press & Wolf 2017, *Using the Output Embedding to Improve Language Models*.
#
# Before: [5. The encoder block](05_block.ipynb). Next: [7. Pretraining objectives](07_objectives.ipynb)
