"""What a corpus costs before the first step, as it grows: `pretrain prepare`, and the plan of a block.

Calculated, not measured: every word is looked up once, so the time of `prepare` is in proportion to the text, as soon
as that takes longer than to start the process that tokenizes it. Memory grows until the portions of text that are under
way are full (32 million characters each; one being read, one that waits, one that is tokenized in another process), and
no further: it bends at some 100 million characters. A plan is 20 bytes an instance, a twentieth of the text (measured
in `prepare.py`) and, while it is made, twice that: in proportion to the corpus too, up to the 16 shards of a block, but
it shows only once it outgrows what the program and its libraries take.

The text is that of the sample that ships, over and over: all its words are soon known, as in real text nearly all are,
so that time says how `prepare` grows, and little of how fast it is with text of your own.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..data.instances import InstanceSettings, PretrainingInstances
from ..data.prepare import prepare
from ..data.shards import Corpus
from ..data.tables import read_table
from ..tokenization import BertTokenizer
from ..training.finetuning import SAMPLE, SHIPPED_MODEL
from ..training.measure import process_peak_mb, usage_peak_mb
from .comparison import OURS, in_fresh_process
from .measure import spread_ms

CORPUS = "tokens in the corpus"
SENTENCES = 20  # in a document
MILLION = 10**6


def measure_corpora(most: int, rounds: int) -> list[dict[str, Any]]:
    """Time and memory of both works, as a text grows up to `most` million characters, fourfold each time."""
    results = []
    sizes = sorted(most // 4**power for power in range(4) if most >= 4**power)
    with tempfile.TemporaryDirectory(prefix="minibert-bench-") as folder:
        text = Path(folder, "text.txt")
        for size in sizes:
            print(f"a corpus of {size} million characters ...", file=sys.stderr)
            write_sample(text, size * MILLION)
            corpus = Path(folder, f"corpus-{size}")
            prepared = in_fresh_process(cost_of_preparing, text, corpus)
            place = {"axis": CORPUS, "value": prepared.pop("tokens"), "program": OURS}
            results.append({**place, "work": "prepare", **prepared})
            results.append({**place, "work": "plan of a block", **in_fresh_process(cost_of_planning, corpus, rounds)})
    return results


def write_sample(path: Path, characters: int) -> None:
    """At least so many characters of text: the sentences of the sample, in documents, over and over."""
    sentences = itertools.cycle(row.values["text"] for row in read_table(SAMPLE / "train.tsv").rows)
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while written < characters:
            written += file.write("\n".join(itertools.islice(sentences, SENTENCES)) + "\n\n")


def cost_of_preparing(text: Path, corpus: Path) -> dict[str, Any]:
    """Of preparing it once with one worker. The memory is that of both processes."""
    tokenizer = BertTokenizer.from_pretrained(SHIPPED_MODEL)
    start = time.perf_counter()
    manifest = prepare([text], tokenizer, corpus)
    seconds = time.perf_counter() - start
    tokens = sum(shard.tokens for shard in manifest.shards)
    peaks = [process_peak_mb(), usage_peak_mb("RUSAGE_CHILDREN")]
    memory = None if None in peaks else sum(filter(None, peaks))
    return {"tokens": tokens, "milliseconds": spread_ms([seconds]), "peak_memory_mb": memory}


def cost_of_planning(corpus: Path, rounds: int) -> dict[str, Any]:
    """Of opening a prepared corpus and planning its first block, after one time that does not count."""
    tokenizer = BertTokenizer.from_pretrained(corpus)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        PretrainingInstances(Corpus(corpus), tokenizer, InstanceSettings()).block(0)
        seconds.append(time.perf_counter() - start)
    return {"milliseconds": spread_ms(seconds[1:]), "peak_memory_mb": process_peak_mb()}
