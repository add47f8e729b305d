# %% [markdown]
# # 19. From a folder to a service
#
# A trained model is a folder. This chapter opens it, byte by byte and in another library; asks where the milliseconds
# of an answer go; finds out how busy a service may be before people have to wait; exports the model into a file that
# runs without the package; and ends with a service in thirty lines that answers over HTTP.
#
# **You will be able to**
#
# - say what each file in the folder is for, and read a `safetensors` file by hand;
# - tell why a pickle from a stranger is a program;
# - measure latency by percentiles, and compute how long people wait in a queue;
# - choose between latency and throughput;
# - export with `torch.export`, and say what is lost.
#
# **You need** chapters 6 and 16. **Time:** 45 minutes to read; the cells run in about half a minute.

# %%
import contextlib
import importlib.util
import inspect
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from pictures import BLUE, GREY, VERMILION, show
from torch import nn
from torch.testing import assert_close

from minibert import BertForSequenceClassification, BertTokenizer, InputError, PackedBatch
from minibert.attention import sdpa_attention
from minibert.data.batches import batches_by_length
from minibert.packing import Layout

temporary = tempfile.TemporaryDirectory()
root = Path(temporary.name)
PACKAGE = str(Path(inspect.getfile(PackedBatch)).parents[1])
environment = os.environ | {"PYTHONPATH": os.pathsep.join([PACKAGE, os.environ.get("PYTHONPATH", "")])}

# %% [markdown]
# ## 19.1 The folder
#
# First we need a model. Fine-tune a small one on the sample that ships with the package, as a user would. It will be a
# modest judge of reviews (guessing gets 0.5): the subject here is what comes after.

# %%
folder = root / "judge"
command = [sys.executable, "-m", "minibert.finetune", "--out", str(folder)]
command += ["--epochs", "2", "--lr", "1e-3", "--batch-size", "16"]
done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
assert done.returncode == 0, done.stderr
accuracy = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["accuracy"]
print(f"accuracy on the dev sentences: {accuracy:.2f}")
assert accuracy > 0.55
for path in sorted(folder.iterdir()):
    print(f"{path.name:24} {path.stat().st_size:>10,} bytes")

# %% [markdown]
# | file | what for | who reads it |
# | --- | --- | --- |
# | `config.json` | the numbers that define the model, and its labels' names | every library |
# | `model.safetensors` | the weights | every library |
# | `vocab.txt` | the pieces of words, one a line | BERT's own tokenizers |
# | `tokenizer.json` | the whole tokenizer | the fast `tokenizers` engine |
# | `tokenizer_config.json` | lower case or not, greatest length | `transformers`, minibert |
# | the others | metrics, predictions, log, report | people |
#
# A model without *its* tokenizer is worthless: ids are places in that one vocabulary. So they are saved together.
#
# ### A `safetensors` file by hand
#
# Eight bytes say how long the header is, lowest byte first. The header is JSON: for each tensor its type, shape, and
# from where to where its bytes lie behind the header. Then come the bytes. That is all.
#
# Build it yourself: `read_tensor` takes a tensor's name and gives the tensor, out of `content` and `header` alone.
# `F32` is float32: four bytes a number, again lowest first (in NumPy `"<f4"`).

# %%
content = (folder / "model.safetensors").read_bytes()
length = int.from_bytes(content[:8], "little")
header = json.loads(content[8 : 8 + length])
names = [name for name in header if name != "__metadata__"]
print(f"the first bytes {content[:8].hex(' ')} say: {length:,} bytes of header, with {len(names)} tensors")
print(names[0], header[names[0]])


def read_tensor(name: str) -> torch.Tensor:
    # BEGIN SOLUTION
    entry = header[name]
    assert entry["dtype"] == "F32"
    start, end = entry["data_offsets"]
    numbers = np.frombuffer(content[8 + length + start : 8 + length + end], "<f4")
    return torch.from_numpy(numbers.copy()).reshape(entry["shape"])
    # END SOLUTION


model = BertForSequenceClassification.from_pretrained(folder)
tokenizer = BertTokenizer.from_pretrained(folder)
assert_close(read_tensor("classifier.weight"), model.classifier.weight.data, atol=0, rtol=0)
assert_close(
    read_tensor("bert.embeddings.word_embeddings.weight"),
    model.bert.embeddings.word_embeddings.weight.data,
    atol=0,
    rtol=0,
)
print("read by hand: equal to the model's, bit for bit")

# %% [markdown]
# ### Why not a pickle?
#
# For years models were saved with Python's `pickle`. But a pickle is not data; it is a program that builds an object,
# and it may call *any* function on the way. Here is one that "contains a model":


# %%
class NiceModel:
    def __reduce__(self):
        return print, ("this line was printed by opening a file; it could have read your keys instead",)


attack = root / "pytorch_model.bin"
attack.write_bytes(pickle.dumps(NiceModel(), protocol=2))
pickle.loads(attack.read_bytes())
try:
    torch.load(attack, weights_only=True)
except pickle.UnpicklingError as error:
    print("torch.load(..., weights_only=True):", str(error).splitlines()[0][:60], "...")
else:
    raise AssertionError("a pickle that calls print must be refused")
attack.unlink()

# %% [markdown]
# `weights_only=True` allows nothing but tensors and plain containers. The package reads old `.bin` files only this
# way, and writes `safetensors`.
#
# ## 19.2 The same folder in `transformers`
#
# The names of the tensors and of the fields in `config.json` are those of Hugging Face. So whatever can serve a
# Hugging Face model can serve yours. If you have the library, this cell compares the answers.

# %%
texts = [
    "Warm bread, cold butter, happy me.",
    "The soup was cold and the waiter colder.",
    "I would go back tomorrow.",
    "Never again.",
]
batch = tokenizer(texts, padding=True, return_tensors="pt")
with torch.inference_mode():
    logits = model(**batch).logits
for text, row in zip(texts, logits.softmax(dim=-1), strict=True):
    label = model.config.id2label[int(row.argmax())]
    print(f"{text:42} {label} ({row.max():.2f})")

if importlib.util.find_spec("transformers"):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    peer = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    their_batch = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    assert torch.equal(their_batch["input_ids"], batch["input_ids"])
    with torch.inference_mode():
        theirs = peer(**their_batch).logits
    print(f"transformers: the same ids, and logits that differ by at most {(theirs - logits).abs().max().item():.0e}")
    assert_close(theirs, logits, atol=1e-5, rtol=1e-4)
else:
    print("transformers is not installed: left out")

# %% [markdown]
# ## 19.3 Where do the milliseconds go?
#
# One text in, one label out. Time it many times, and do not look at the mean. By hand: five answers take 10, 10, 11,
# 12 and 50 ms. The mean is 18.6, and no answer took anything like that. The median, 11, says what is usual; the 95th
# percentile what the unlucky get. Between 12 (at 75 %) and 50 (at 100 %), 95 % is four fifths of the way: 42.4.

# %%
example = [10, 10, 11, 12, 50]
print(f"mean {np.mean(example):.1f}, median {np.median(example):.0f}, p95 {np.percentile(example, 95):.1f}")
assert abs(np.percentile(example, 95) - 42.4) < 1e-9


def answer(text: str) -> tuple[str, dict[str, float]]:
    """The label of a text, and the milliseconds that each stage took"""
    begin = time.perf_counter()
    encoded = tokenizer(text, truncation=True, return_tensors="pt")
    ready = time.perf_counter()
    with torch.inference_mode():
        logits = model(**encoded).logits
    computed = time.perf_counter()
    label = model.config.id2label[int(logits.argmax())]
    end = time.perf_counter()
    return label, {
        "tokenizer": 1e3 * (ready - begin),
        "model": 1e3 * (computed - ready),
        "label": 1e3 * (end - computed),
    }


stages = [answer(texts[number % 4])[1] for number in range(205)][5:]  # the first ones warm up
totals = [sum(stage.values()) for stage in stages]
p50, p95 = np.percentile(totals, [50, 95])
print({name: f"{np.median([stage[name] for stage in stages]):.2f} ms" for name in stages[0]})
print(f"together: p50 {p50:.2f} ms, p95 {p95:.2f} ms; the slowest of 200 {max(totals):.2f} ms")
assert np.median([stage["model"] for stage in stages]) > np.median([stage["label"] for stage in stages])
assert p95 >= p50

# %% [markdown]
# The tail is the machine's: other programs, the clock of the processor, the collector of garbage. It will not go away,
# and if a page needs ten answers, two pages in five meet the slowest 5 % at least once: $1 - 0.95^{10} = 40\,\%$.
#
# ### The queue
#
# A service has one more delay that no stopwatch around the model shows: others are before you. Let requests come at
# random, on average $\lambda$ a second, and each take $s$ seconds, one after the other. The service is busy a share
# $\rho = \lambda s$ of the time. The mean wait is then (Pollaczek & Khinchine, for equal $s$)
#
# $$\frac{\rho}{2(1 - \rho)}\, s$$
#
# By hand: half busy, $0.5 / (2 \cdot 0.5) = 0.5$: people wait half an answer's time. At 90 % it is 4.5 answers, at
# 99 % 49.5. Simulate it, with waits in units of $s$:


# %%
def mean_wait(busy: float, requests: int = 200_000) -> float:
    """How long a request waits for those before it, when each takes 1"""
    gaps = np.random.default_rng(0).exponential(1 / busy, requests)
    wait, total = 0.0, 0.0
    for gap in gaps.tolist():
        wait = max(0.0, wait + 1 - gap)  # what was left before me, plus the one before me, minus the time between us
        total += wait
    return total / requests


shares = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95]
simulated = [mean_wait(busy) for busy in shares]
on_paper = [busy / (2 * (1 - busy)) for busy in shares]
for busy, found, wanted in zip(shares, simulated, on_paper, strict=True):
    print(f"busy {busy:.0%}: a mean wait of {found:.2f} answers, on paper {wanted:.2f}")
    assert abs(found / wanted - 1) < 0.15

curve = np.linspace(0.02, 0.97, 200)
figure, axes = plt.subplots(figsize=(7.5, 3.3))
axes.plot(curve, curve / (2 * (1 - curve)), color=BLUE, label="on paper")
axes.plot(shares, simulated, "o", color=VERMILION, label="simulated")
axes.axhline(1, color=GREY, linestyle=":")
axes.text(0.02, 1.3, "as long as the answer itself", color="#555555")
axes.set(xlabel="share of the time that the service is busy", ylabel="mean wait, in answers")
axes.legend(loc="upper left", bbox_to_anchor=(0, 0.9))
show(figure, "The mean wait against how busy the service is: flat until 0.7, then shooting up like a wall.")

# %% [markdown]
# *The picture:* a wall. Up to two thirds, waiting costs less than the answer itself; beyond 90 % everything queues. A
# service that is twice as fast is not only twice as fast: at the same traffic, 90 % busy becomes 45 %, and the wait
# falls from 4.5 old answers to 0.2.
#
# ## 19.4 Latency or throughput
#
# *Latency* is how long an answer takes, *throughput* how many there are a second. Several texts at once use the
# processor better, but the first must wait for the last. Measure batches of 1 to 64 texts, all of one length, on one
# core, in turns, as in chapter 16. `thread_time` counts only the time in which the processor worked for us, and not our
# waiting for other programs.

# %%
sizes = [1, 2, 4, 8, 16, 32, 64]
loads = [tokenizer([" ".join(texts)] * size, return_tensors="pt") for size in sizes]
rounds = []
threads = torch.get_num_threads()
torch.set_num_threads(1)
with torch.inference_mode():
    for _ in range(20):
        times = [time.thread_time()]
        for load in loads:
            model(**load)
            times.append(time.thread_time())
        rounds.append(np.diff(times))
torch.set_num_threads(threads)
latency = 1e3 * np.median(rounds[3:], axis=0)  # (rounds, sizes) -> (sizes)
throughput = 1e3 * np.array(sizes) / latency
for size, milliseconds, texts_a_second in zip(sizes, latency, throughput, strict=True):
    print(f"{size:>3} texts: {milliseconds:7.2f} ms, {texts_a_second:7.0f} texts a second")
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.2))
for part, numbers, label, colour in zip(
    axes, (latency, throughput), ("milliseconds for the batch", "texts a second"), (VERMILION, BLUE), strict=True
):
    part.plot(sizes, numbers, "o-", color=colour)
    part.set(xscale="log", xlabel="texts in the batch", ylabel=label, ylim=(0, None))
    part.set_xticks(sizes, sizes)
    part.minorticks_off()
show(figure, "Left: a batch takes longer the more texts it has. Right: texts a second rise and then level off.")
assert latency[-1] > 2 * latency[0]
assert max(throughput) > 1.5 * throughput[0]

# %% [markdown]
# *The picture:* this model is so small that much of a single answer is Python and not arithmetic, so batching pays. The
# larger the model, the more the arithmetic dominates from the first text on, and the less batching gains on a CPU. On a
# GPU, which a single text leaves nearly idle, it gains most. Measure yours.
#
# Four habits, whatever you serve:
#
# - `torch.inference_mode()`: nothing is kept for a backward pass that never comes.
# - Sort a large job by length before cutting it into batches (`batches_by_length`), and put the answers back in order.
# - The number of threads (`torch.set_num_threads`): one process on all cores for latency, several processes with one
#   thread each for throughput.
# - A head that reads only `[CLS]` needs only that token in the last block. The package's does this by itself.

# %%
LONGER = [" ".join([texts[number % 4]] * (1 + number % 3)) for number in range(64)]
order = batches_by_length([len(text) for text in LONGER], 16)
answers = [""] * len(LONGER)
with torch.inference_mode():
    for indices in order:
        chosen = model(**tokenizer([LONGER[index] for index in indices], padding=True, return_tensors="pt")).logits
        for index, number in zip(indices, chosen.argmax(dim=-1).tolist(), strict=True):
            answers[index] = model.config.id2label[number]
assert answers[:8] == [answer(text)[0] for text in LONGER[:8]]
print(inspect.getsource(batches_by_length))
print(
    "sorted by length and put back: the same answers,", {label: answers.count(label) for label in sorted(set(answers))}
)

# %% [markdown]
# ## 19.5 Export: without the package, without Python's code
#
# `torch.export` records which operations a model performs and saves the record: one file, with weights, that needs
# PyTorch but none of our code. The record must fit *any* input of the kind. The package's forward pass does not: how
# many tokens remain after packing depends on the *values* in the mask.

# %%
logging.disable(logging.WARNING)
try:
    with contextlib.redirect_stderr(io.StringIO()):  # it tells a lot
        torch.export.export(model, (batch["input_ids"], batch["attention_mask"]))
except Exception as error:
    print(f"{type(error).__name__}: a record cannot branch on what is in a tensor")
else:
    raise AssertionError("packing was not expected to export")
logging.disable(logging.NOTSET)

# %% [markdown]
# On the rectangle, everything depends on shapes alone. Chapter 16 had the trick: a layout that calls every place a
# token and leaves padding to the mask. The same blocks, the same weights:


# %%
class Rectangle(nn.Module):
    """A classifier that computes on the padded rectangle: input_ids, attention_mask (batch, seq) -> (batch, labels)"""

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        rows, seq = input_ids.shape
        positions = torch.arange(seq).expand(rows, seq).flatten()  # (seq) -> (batch * seq)
        flat = input_ids.flatten()  # (batch, seq) -> (batch * seq)
        # Only the kernels for packed sentences read where rows begin; this one reads the mask.
        layout = Layout(rows, seq, torch.empty(0, dtype=torch.int32), attention_mask.bool())
        bert = self.model.bert
        hidden = bert.embeddings(PackedBatch(flat, torch.zeros_like(flat), positions, layout, layout))
        for block in bert.blocks:
            hidden, _ = block(hidden, layout, layout, sdpa_attention)
        first = hidden.unflatten(0, (rows, seq))[:, 0]  # (batch * seq, hidden) -> (batch, hidden)
        return self.model.classifier(bert.pooler(first))  # (batch, hidden) -> (batch, labels)


rectangle = Rectangle(model).eval()
given = batch["input_ids"], batch["attention_mask"]
with torch.inference_mode():
    assert_close(rectangle(*given), logits, atol=1e-5, rtol=1e-4)
limits = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("seq", min=2, max=512)}
program = torch.export.export(rectangle, given, dynamic_shapes=(limits, limits))
torch.export.save(program, root / "judge.pt2")
print(f"judge.pt2: {(root / 'judge.pt2').stat().st_size:,} bytes, {len(program.graph.nodes)} nodes; the last ones:")
print(*[f"   {node.name}" for node in list(program.graph.nodes)[-5:]], sep="\n")

# %% [markdown]
# Now run it in a fresh Python that is *forbidden* to import the package. Another batch, of another shape: the record
# must not have learnt ours by heart.

# %%
other = tokenizer(LONGER[:3], padding=True, return_tensors="pt")
torch.save({"ids": other["input_ids"], "mask": other["attention_mask"]}, root / "question.pt")
script = """
import sys
sys.modules["minibert"] = None  # from here on, importing it is an error
import torch
program = torch.export.load("judge.pt2")
question = torch.load("question.pt", weights_only=True)
torch.save(program.module()(question["ids"], question["mask"]).detach(), "answer.pt")
"""
done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
assert done.returncode == 0, done.stderr
from_file = torch.load(root / "answer.pt", weights_only=True)
with torch.inference_mode():
    assert_close(from_file, model(**other).logits, atol=1e-5, rtol=1e-4)
print(f"a batch of {tuple(other['input_ids'].shape)} in a Python without minibert: the same logits")

# %% [markdown]
# What is lost: packing (it computes the padding), pairs of texts (ours takes every token for one of the first text),
# and the checks of what comes in (an id beyond the vocabulary is now an error from deep inside). And it is half of a
# service only: the tokenizer must come along. `tokenizer.json` can be read in Rust, JavaScript and other languages by
# the `tokenizers` engine. From the same record other tools go on: `torch.onnx` writes ONNX for other engines (it
# needs the packages `onnx` and `onnxscript`), AOTInductor compiles a library.
#
# ## 19.6 A service
#
# Python's own `http.server` is enough to show all that matters: load once, check what comes in, one question at a
# time, answers that a program can read, errors that a person can read.


# %%
class Judge(BaseHTTPRequestHandler):
    """POST {"text": "..."} -> {"label": "...", "probability": ...}"""

    def do_POST(self) -> None:
        try:
            question = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            text = question.get("text") if isinstance(question, dict) else None
            if not isinstance(text, str) or not text.strip():
                raise InputError('Send {"text": "..."} with some text in it.')
            encoded = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
            with torch.inference_mode():
                probabilities = model(**encoded).logits.softmax(dim=-1)[0]  # (1, labels) -> (labels)
            best = int(probabilities.argmax())
            self.reply(200, {"label": model.config.id2label[best], "probability": round(probabilities[best].item(), 4)})
        except ValueError as error:  # InputError and broken JSON are ValueErrors: the sender can mend them
            self.reply(400, {"error": str(error)})

    def reply(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Texts of users do not belong into a log."""


server = HTTPServer(("127.0.0.1", 0), Judge)  # this machine only; port 0: any that is free
threading.Thread(target=server.serve_forever, daemon=True).start()


def ask(body: bytes) -> tuple[int, dict]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}", body)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for this machine
    try:
        with opener.open(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


for body in (json.dumps({"text": texts[0]}).encode(), b'{"text": ""}', b"not JSON", b'["a list"]'):
    print(body.decode(), "->", *ask(body))
assert ask(json.dumps({"text": texts[0]}).encode())[1]["label"] == answer(texts[0])[0]
assert ask(b'{"text": ""}')[0] == 400
assert ask(b"not JSON")[0] == 400
assert ask(json.dumps({"text": "word " * 100_000}).encode())[0] == 200  # cut to 128 tokens, and answered
server.shutdown()
server.server_close()

# %% [markdown]
# For the real world put a proven server in front (with a limit on the size of requests, encryption, and timeouts),
# start several such processes behind it, and watch three numbers: requests a second, p95, and the share of each label.
# If the last one drifts, the texts have changed, and your accuracy with them.
#
# ## 19.7 Common mistakes, shown breaking
#
# **`train()` mode.** Dropout is on: the same text gets a different answer each time. `from_pretrained` returns a model
# in evaluation mode; your own training loop may have left it in the other.

# %%
model.train()
with torch.inference_mode():
    drawn = torch.cat([model(**tokenizer(texts[0], return_tensors="pt")).logits for _ in range(5)])
model.eval()
print("the same text five times:", [round(number, 3) for number in drawn[:, 0].tolist()])
assert drawn[:, 0].std() > 1e-4

# %% [markdown]
# **Another tokenizer.** Any vocabulary gives ids, and the model takes them without complaint. Here the lines of
# `vocab.txt` are shuffled (all but the special tokens), as if it came from another model:

# %%
lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
shuffled = lines[:5] + [lines[5:][place] for place in np.random.default_rng(0).permutation(len(lines) - 5)]
(root / "vocab.txt").write_text("\n".join(shuffled) + "\n", encoding="utf-8")
stranger = BertTokenizer(root / "vocab.txt")
mixed = stranger(texts, padding=True, return_tensors="pt")
with torch.inference_mode():
    off = (model(**mixed).logits.softmax(-1) - logits.softmax(-1)).abs().max().item()
print(f"shuffled vocabulary: no error, and probabilities off by up to {off:.2f}")
assert off > 0.05

# %% [markdown]
# **Texts that are too long.** BERT knows 512 positions. Without `truncation=True` a longer text is an error, and it
# should be one: a service that cuts silently has answered another question. (Ours of section 19.6 does: see
# experiment 4.)

# %%
try:
    model(**tokenizer("word " * 600, return_tensors="pt"))
except InputError as error:
    print(error)
else:
    raise AssertionError("602 tokens must not fit")
temporary.cleanup()

# %% [markdown]
# ## Experiments to try
#
# 1. Make it a `ThreadingHTTPServer` and time 100 requests from four threads at once. What do p50 and p95 do, and what
#    does `torch.set_num_threads(1)` change?
# 2. Collect requests for at most 5 ms and answer them as one batch. At which traffic does that pay?
# 3. Save the model in bfloat16 (`model.to(torch.bfloat16).save_pretrained(...)`). How large is the file, and how far
#    off are the probabilities?
# 4. Let the service of 19.6 say in its answer whether the text was cut.
#
# ## Questions
#
# <details><summary>Why is the mean a bad measure of latency?</summary>
#
# A few slow answers move it, and nobody gets the mean. The median says what is usual, a high percentile what is bad.
# </details>
#
# <details><summary>Why does the header of this format come first, and not last as in chapter 6's index?</summary>
#
# A reader can then fetch the header alone, over a network too, and map single tensors from disk into memory without
# touching the others. Google's table is written in one go, and only its end knows where everything lies.
# </details>
#
# <details><summary>The labels came out swapped in another library. Which file is to blame?</summary>
#
# `config.json`: `id2label` says which logit is which label. Whoever numbers the classes must write it down there.
# </details>
#
# <details><summary>Why is the exported model not allowed to have seq of 513?</summary>
#
# There are 512 position embeddings. The record would look up a row that is not there; the limit in `Dim` says so at
# the door.
# </details>
#
# ## Key points
#
# - A model is a folder: config, weights, tokenizer. Keep them together.
# - `safetensors` is data; a pickle is a program.
# - Look at p50 and p95. Count the queue: beyond 90 % busy there is a wall.
# - Batches for throughput, single texts for latency.
# - An export needs what depends on shapes alone: the rectangle.
#
# **Code:** [`checkpoints/pretrained.py`](../minibert/checkpoints/pretrained.py) (`load_model`, `save_model`),
# [`training/measure.py`](../minibert/training/measure.py) (`latencies_ms`), [`predict.py`](../minibert/predict.py),
# [`data/batches.py`](../minibert/data/batches.py) (`batches_by_length`).
#
# **Papers:** Dean & Barroso 2013, *The Tail at Scale*; Kleinrock 1975, *Queueing Systems*, volume 1.
#
# Before: [18. Faster and bigger](18_faster_and_bigger.ipynb). Next: [20. Debugging labs](20_debugging.ipynb)
