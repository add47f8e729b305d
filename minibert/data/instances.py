"""What a BERT is pretrained on: pairs of texts with words masked, made on the fly out of a prepared corpus.

The recipe is that of Google's `create_pretraining_data.py`, in three steps:

- An epoch is divided into *blocks*: in random order, a few shards of the corpus each. Only the block at hand takes
  memory, and only its files are read, however large the corpus is. A corpus of up to 16 shards is a single block.
- The *plan* of a block (`plan_pairs`, `create_instances_from_document` there) says which tokens of which document make
  up each instance. It takes 20 bytes an instance, and no tokens are read for it.
- An *instance* is then built alone, when it is asked for: truncated, joined, masked.

Google's program does all of it once, and writes the instances to disk five or ten times over. Here every epoch has
blocks, plans and masks of its own (dynamic masking, Liu et al. 2019, "RoBERTa", section 4.1). All chance comes from
generators that are numbered by seed, block and index, so an instance is the same whenever and in whatever order it is
built.

What else differs from Google's program:

- The document that a random text B comes from is one of the block, as it is one of the same file there, but never that
  of A. (Google's draws up to ten times, and then takes it.)
- Special tokens are neither chosen nor put in at random: see `masking.py`.
- In whole-word masking, a `##piece` that B begins with, for truncation cut it off its word, does not belong to the word
  that A ends with.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..tokenization import BertTokenizer
from .masking import MASKINGS, Masking
from .shards import Corpus

Instance = dict[str, Any]

# One instance of a plan. A is the tokens start..middle of the shard that the document is in, and B the tokens
# middle..end; or, if `wanted` is not 0, sentences of another document, so many that they have at least `wanted` tokens.
PLANNED = np.dtype([(name, "<u4") for name in ("document", "start", "middle", "end", "wanted")])
PLANNING, BUILDING, DIVIDING = 0, 1, 2  # what a generator is for
# Half a gigabyte of text: so many documents that they are well mixed, and a plan of some 30 MB.
SHARDS_PER_BLOCK = 16
JUDGED_INSTANCES = 1000  # enough to tell a loss to two digits
TOKEN_TYPES = np.arange(2, dtype=np.int64)


@dataclass(frozen=True)
class InstanceSettings:
    """How instances are made; but for the seed, names and defaults are those of Google's flags where it has them.

    max_length: tokens, with the special ones (`max_seq_length`).
    short_seq_prob: of a document being cut into shorter instances, so that the model also knows these.
    masked_lm_prob: the share of tokens that is chosen; at most `max_predictions_per_seq`, by default the share of the
        longest instance, as Google's README advises (its 20 is that of 128 tokens).
    masking: "token"; "whole_word", all pieces of a word together; "span", runs of words (Joshi et al. 2020).
    next_sentence: pairs, half of them with a random B. Without it, instances are one text each: every document whole,
        in pieces of up to `max_length` (Liu et al. 2019, "DOC-SENTENCES"). A piece never crosses a document's end; in a
        packed batch it need not, for nothing is padded.

    Raises `InputError` for numbers that cannot be used.
    """

    max_length: int = 128
    short_seq_prob: float = 0.1
    masked_lm_prob: float = 0.15
    max_predictions_per_seq: int | None = None
    masking: str = "token"
    next_sentence: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("max_length", self.max_length >= 5, "at least 5: two tokens of text beside three special ones"),
            ("short_seq_prob", 0 <= self.short_seq_prob <= 1, "from 0 to 1"),
            ("masked_lm_prob", 0 < self.masked_lm_prob < 1, "between 0 and 1"),
            ("max_predictions_per_seq", self.most_predictions >= 1, "at least 1"),
            ("masking", self.masking in MASKINGS, f"one of {', '.join(MASKINGS)}"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            if not holds:
                raise InputError(f"{name} must be {rule}: found {getattr(self, name)!r}.")

    @property
    def max_num_tokens(self) -> int:
        """The tokens of text in an instance: [CLS] and [SEP] take the rest."""
        return self.max_length - (3 if self.next_sentence else 2)

    @property
    def most_predictions(self) -> int:
        """`max_predictions_per_seq`, or what stands for it."""
        if self.max_predictions_per_seq is None:
            return math.ceil(self.max_length * self.masked_lm_prob)
        return self.max_predictions_per_seq


class PretrainingInstances:
    """All instances of a corpus: `instances.block(b)[i]`. Blocks are numbered on from epoch to epoch.

    blocks: how many there are in an epoch.

    Raises `InputError` if the corpus was made with another tokenizer, or has a single document, while a random text B
    must come from another.
    """

    def __init__(self, corpus: Corpus, tokenizer: BertTokenizer, settings: InstanceSettings) -> None:
        corpus.check_tokenizer(tokenizer)
        if settings.next_sentence and len(corpus) < 2:
            raise InputError(
                f"The corpus {corpus.folder} has a single document, and next-sentence prediction needs a second one to "
                "take random sentences from. Are blank lines missing between documents? Or train without it "
                "(--no-next-sentence)."
            )
        self.corpus = corpus
        self.settings = settings
        self.cls_token_id = tokenizer.cls_token_id
        self.sep_token_id = tokenizer.sep_token_id
        self.masking = Masking(tokenizer, settings.masking, settings.masked_lm_prob, settings.most_predictions)
        # Shards without documents of this split are left out. So no block is empty; and if there are several blocks,
        # each has several shards, and a second document to take random sentences from.
        self._shards = np.array(corpus.numbers)[np.diff(corpus.first_documents) > 0]
        self.blocks = math.ceil(len(self._shards) / SHARDS_PER_BLOCK)

    def block(self, number: int) -> Block:
        """The instances of some shards of the corpus, in random order."""
        epoch, part = divmod(number, self.blocks)
        order = self.generator(DIVIDING, epoch, 0).permutation(self._shards)
        shards = np.sort(np.array_split(order, self.blocks)[part])
        return Block(self, number, Corpus(self.corpus.folder, self.corpus.split, shards.tolist()))

    def generator(self, purpose: int, block: int, number: int) -> np.random.Generator:
        """Philox (Salmon et al. 2011) can begin anywhere in its stream: here, where these numbers say."""
        return np.random.Generator(np.random.Philox(key=self.settings.seed, counter=[0, number, block, purpose]))


class Block:
    """The instances of one block; each is a pure function of (seed, block, index).

    An instance has what `pack_examples` and `BertForPreTraining` take:

    input_ids: (tokens,) int64, [CLS] A [SEP] B [SEP], or [CLS] A [SEP].
    token_type_ids: (tokens,) int64, 0 up to the first [SEP], then 1.
    labels: (tokens,) int64, the right ids at the chosen places, -100 elsewhere.
    next_sentence_label: 0 if B follows A, 1 if it is random; not without next-sentence prediction.
    """

    def __init__(self, instances: PretrainingInstances, number: int, corpus: Corpus) -> None:
        self.instances = instances
        self.number = number
        self.corpus = corpus
        settings = instances.settings
        plan_shard = plan_pairs if settings.next_sentence else plan_texts
        plans = []
        for index, shard in enumerate(corpus.shards):
            generator = instances.generator(PLANNING, number, index)
            plan = plan_shard(shard.sentences, shard.documents, settings, generator)
            plan["document"] += np.uint32(corpus.first_documents[index])
            plans.append(plan)
        self.plan = np.concatenate(plans)  # (instances of a shard) -> (instances)
        instances.generator(PLANNING, number, len(plans)).shuffle(self.plan)

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Instance:
        if not 0 <= index < len(self):
            raise IndexError(index)
        corpus, settings = self.corpus, self.instances.settings
        generator = self.instances.generator(BUILDING, self.number, index)
        document, start, middle, end, wanted = self.plan[index].tolist()
        tokens = corpus.shards[corpus.place(document)[0]].tokens
        cls, sep = [self.instances.cls_token_id], [self.instances.sep_token_id]
        parts: list[Any] = [cls, tokens[start:middle], sep]
        if settings.next_sentence:
            pair = random_text(corpus, document, wanted, generator) if wanted else tokens[middle:end]
            parts[1], pair = truncate_seq_pair(parts[1], pair, settings.max_num_tokens, generator)
            parts += [pair, sep]
        ids = np.concatenate(parts, dtype=np.int64)  # -> (tokens)
        types = np.repeat(TOKEN_TYPES, [sum(map(len, parts[:3])), sum(map(len, parts[3:]))])  # -> (tokens)
        seen, labels = self.instances.masking(ids, generator)
        instance = {"input_ids": seen, "token_type_ids": types, "labels": labels}
        return instance | {"next_sentence_label": int(wanted > 0)} if settings.next_sentence else instance


def plan_pairs(
    sentences: NDArray[Any], documents: NDArray[Any], settings: InstanceSettings, generator: np.random.Generator
) -> NDArray[Any]:
    """The instances of a shard, (instances,) PLANNED: `create_instances_from_document`, for all documents at once.

    sentences, documents: the offsets that `shards.py` describes. Documents are numbered from 0.

    A document is walked through in chunks. Sentences are taken until they have the target length, which is the longest
    one or, for some documents, a shorter one. A is a random number of the first sentences, B the rest; or, with a
    chance of one half, and if there is one sentence only, B is random, and the rest is left for the next chunk.
    Every step of the loop takes the next chunk of each document that has one.
    """
    sentences, bounds = sentences.astype(np.int64), documents.astype(np.int64)
    at = bounds[:-1].copy()  # (documents + 1) -> (documents), the sentence where the next chunk begins
    targets = _target_lengths(len(at), settings, generator)
    plans = [np.zeros(0, dtype=PLANNED)]  # of a shard without documents of this split
    left = np.arange(len(at))
    while left.size:
        first = at[left]  # (documents) -> (left)
        enough = np.searchsorted(sentences, sentences[first] + targets[left])
        last = np.minimum(enough, bounds[left + 1])  # the sentence after the chunk
        several = last - first > 1
        in_a = np.where(several, 1 + (generator.random(left.size) * (last - first - 1)).astype(np.int64), 1)
        is_random = ~several | (generator.random(left.size) < 0.5)

        plan = np.zeros(left.size, dtype=PLANNED)
        plan["document"] = left
        plan["start"] = sentences[first]
        plan["middle"] = sentences[first + in_a]
        plan["end"] = sentences[last]
        length_of_a = sentences[first + in_a] - sentences[first]
        plan["wanted"] = np.where(is_random, np.maximum(targets[left] - length_of_a, 1), 0)
        plans.append(plan)

        at[left] = np.where(is_random, first + in_a, last)
        left = left[at[left] < bounds[left + 1]]
    return np.concatenate(plans)  # (left) -> (instances)


def plan_texts(
    sentences: NDArray[Any], documents: NDArray[Any], settings: InstanceSettings, generator: np.random.Generator
) -> NDArray[Any]:
    """The instances of a shard without pairs, (instances,) PLANNED: every token of every document, once.

    sentences, documents: the offsets that `shards.py` describes. Documents are numbered from 0.

    A piece of a document has as many whole sentences as fit into the target length; a longer sentence is cut.
    """
    sentences = sentences.astype(np.int64)
    bounds = sentences[documents]  # tokens bounds[d]..bounds[d + 1] are document d
    at = bounds[:-1].copy()  # (documents + 1) -> (documents), the token where the next piece begins
    targets = _target_lengths(len(at), settings, generator)
    plans = [np.zeros(0, dtype=PLANNED)]  # of a shard without documents of this split
    left = np.arange(len(at))
    while left.size:
        start = at[left]  # (documents) -> (left)
        end = np.minimum(start + targets[left], bounds[left + 1])
        last_sentence_end = sentences[np.searchsorted(sentences, end, side="right") - 1]
        end = np.where(last_sentence_end > start, last_sentence_end, end)

        plan = np.zeros(left.size, dtype=PLANNED)
        plan["document"] = left
        plan["start"] = start
        plan["middle"] = plan["end"] = end
        plans.append(plan)

        at[left] = end
        left = left[end < bounds[left + 1]]
    return np.concatenate(plans)  # (left) -> (instances)


def _target_lengths(documents: int, settings: InstanceSettings, generator: np.random.Generator) -> NDArray[np.int64]:
    """In tokens of text: (documents,). As in Google's program, one for all instances of a document."""
    longest = settings.max_num_tokens
    shorter = 2 + (generator.random(documents) * (longest - 1)).astype(np.int64)
    return np.where(generator.random(documents) < settings.short_seq_prob, shorter, longest)


def random_text(corpus: Corpus, document: int, wanted: int, generator: np.random.Generator) -> NDArray[Any]:
    """Sentences of any document but this one, from a random one on, until they have `wanted` tokens or it ends."""
    other = int(generator.integers(len(corpus) - 1))
    number, local = corpus.place(other + (other >= document))
    shard = corpus.shards[number]
    first, last = int(shard.documents[local]), int(shard.documents[local + 1])
    sentence = int(generator.integers(first, last))
    offsets = shard.sentences[sentence : last + 1]
    start = int(offsets[0])
    enough = min(int(np.searchsorted(offsets, start + wanted)), len(offsets) - 1)
    return shard.tokens[start : int(offsets[enough])]


def truncate_seq_pair(
    text: NDArray[Any], pair: NDArray[Any], max_num_tokens: int, generator: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both texts, cut down to `max_num_tokens` together. Google's `truncate_seq_pair`, without its loop.

    There, single tokens are taken off the longer text (B, if both are of one length), each from its front or its end by
    chance. So the longer one first comes down to the other's length; then they lose in turn, B first.
    """
    too_many = max(0, len(text) + len(pair) - max_num_tokens)
    off_longer = min(too_many, abs(len(text) - len(pair)))
    off_text = (too_many - off_longer) // 2
    off_pair = too_many - off_longer - off_text
    if len(text) > len(pair):
        off_text += off_longer
    else:
        off_pair += off_longer
    return _cut(text, off_text, generator), _cut(pair, off_pair, generator)


def _cut(text: NDArray[Any], tokens: int, generator: np.random.Generator) -> NDArray[Any]:
    front = int(generator.binomial(tokens, 0.5))
    return text[front : len(text) - (tokens - front)]  # (tokens) -> (fewer tokens)


def first_instances(instances: PretrainingInstances) -> list[Instance]:
    """So many of the first ones as a model is judged by: with the same settings, always the same."""
    blocks = map(instances.block, range(instances.blocks))
    return list(itertools.islice((block[index] for block in blocks for index in range(len(block))), JUDGED_INSTANCES))
