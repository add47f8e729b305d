"""The catalog of known models: what each is called, where it lies, how large it is, and how its files are recognised.

Names, release addresses and sizes are those of the README of github.com/google-research/bert; the names on the hub are
those of huggingface.co/google-bert, huggingface.co/google (the 24 miniatures) and huggingface.co/sentence-transformers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GOOGLE_RELEASES = "https://storage.googleapis.com/bert_models/"


@dataclass(frozen=True)
class CatalogEntry:
    """One published model."""

    name: str  # the short name, as people type it
    repo_id: str  # the repository on the hub
    num_hidden_layers: int
    hidden_size: int
    vocab_size: int
    cased: bool  # False where Google's own code lower-cases the text (`validate_case_matches_checkpoint`)
    google_release: str | None  # folder of the zip, below GOOGLE_RELEASES and without ".zip"; None: not Google's
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that `find` knows the model by."""
        return (self.name, self.repo_id, *self.aliases)

    @property
    def google_zip(self) -> str | None:
        """Address of the zip in Google's own release."""
        return None if self.google_release is None else f"{GOOGLE_RELEASES}{self.google_release}.zip"

    @property
    def parameters(self) -> int:
        """Number of weights: see `encoder_parameters`."""
        return encoder_parameters(self.num_hidden_layers, self.hidden_size, self.vocab_size)

    @property
    def google_sha256(self) -> Mapping[str, str]:
        """SHA-256 by name of the files inside Google's zip; empty where no source for them is known."""
        return GOOGLE_SHA256.get(self.name, {})

    @property
    def hub_sha256(self) -> Mapping[str, str]:
        """SHA-256 by name of files on the hub, revision `main`; empty where no source for them is known."""
        return HUB_SHA256.get(self.name, {})


def encoder_parameters(layers: int, hidden: int, vocab_size: int) -> int:
    """Number of weights in the embeddings, the encoder and the pooler, without any head.

    For 512 positions, 2 token types and a feed-forward four times as wide as the hidden state, as all known models
    have them.
    """
    layer_norm = 2 * hidden
    embeddings = (vocab_size + 512 + 2) * hidden + layer_norm
    attention = 4 * (hidden * hidden + hidden) + layer_norm  # query, key, value and output projections
    feed_forward = 2 * hidden * 4 * hidden + 4 * hidden + hidden + layer_norm
    pooler = hidden * hidden + hidden
    return embeddings + layers * (attention + feed_forward) + pooler


# fmt: off
# Devlin et al. 2018, and the later releases of the same sizes. On the hub they are google-bert/NAME.
_BASE_AND_LARGE = (
    # name                                   Google's release                            layers hidden  vocab   cased
    ("bert-base-uncased",                    "2018_10_18/uncased_L-12_H-768_A-12",           12,   768,  30522, False),
    ("bert-large-uncased",                   "2018_10_18/uncased_L-24_H-1024_A-16",          24,  1024,  30522, False),
    ("bert-base-cased",                      "2018_10_18/cased_L-12_H-768_A-12",             12,   768,  28996, True),
    ("bert-large-cased",                     "2018_10_18/cased_L-24_H-1024_A-16",            24,  1024,  28996, True),
    ("bert-base-multilingual-uncased",       "2018_11_03/multilingual_L-12_H-768_A-12",      12,   768, 105879, False),
    ("bert-base-multilingual-cased",         "2018_11_23/multi_cased_L-12_H-768_A-12",       12,   768, 119547, True),
    ("bert-base-chinese",                    "2018_11_03/chinese_L-12_H-768_A-12",           12,   768,  21128, False),
    ("bert-large-uncased-whole-word-masking", "2019_05_30/wwm_uncased_L-24_H-1024_A-16",     24,  1024,  30522, False),
    ("bert-large-cased-whole-word-masking",  "2019_05_30/wwm_cased_L-24_H-1024_A-16",        24,  1024,  28996, True),
)
# fmt: on

# Turc et al. 2019: every pairing of these, all uncased. Four of them have names of their own.
_MINIATURE_LAYERS = (2, 4, 6, 8, 10, 12)
_MINIATURE_HIDDEN = (128, 256, 512, 768)
_MINIATURE_NAMES = {(2, 128): "bert-tiny", (4, 256): "bert-mini", (4, 512): "bert-small", (8, 512): "bert-medium"}


def _base_or_large(
    name: str, google_release: str, layers: int, hidden: int, vocab_size: int, cased: bool
) -> CatalogEntry:
    file_name = google_release.rpartition("/")[2]
    return CatalogEntry(name, f"google-bert/{name}", layers, hidden, vocab_size, cased, google_release, (file_name,))


def _miniature(layers: int, hidden: int) -> CatalogEntry:
    # The file name alone is no alias here: the miniature of 12 layers and 768 hidden, which Google trained anew "for
    # completeness only", shares it with BERT base.
    file_name = f"uncased_L-{layers}_H-{hidden}_A-{hidden // 64}"
    hub_name = f"bert_{file_name}"
    name = _MINIATURE_NAMES.get((layers, hidden), hub_name)
    aliases = (hub_name,) if name != hub_name else ()
    return CatalogEntry(name, f"google/{hub_name}", layers, hidden, 30522, False, f"2020_02_20/{file_name}", aliases)


CATALOG: tuple[CatalogEntry, ...] = (
    *(_base_or_large(*row) for row in _BASE_AND_LARGE),
    *(_miniature(layers, hidden) for layers in _MINIATURE_LAYERS for hidden in _MINIATURE_HIDDEN),
    CatalogEntry(
        "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", 6, 384, 30522, False, google_release=None
    ),
)


def find(name: str) -> CatalogEntry | None:
    """The model of that name (short name, hub repository or alias; capitals do not matter), or None."""
    wanted = name.casefold()
    for entry in CATALOG:
        if wanted in (known.casefold() for known in entry.names):
            return entry
    return None


def suggest(name: str, more_names: Sequence[str] = ()) -> list[str]:
    """Up to three short names of known models that look like `name`, the nearest first; none when nothing does."""
    short_names = {known.rpartition("/")[2].casefold(): entry.name for entry in CATALOG for known in entry.names}
    short_names |= {known: known for known in more_names}
    nearest = difflib.get_close_matches(name.rpartition("/")[2].casefold(), short_names, n=3)
    return list(dict.fromkeys(short_names[match] for match in nearest))


# Source: NVIDIA/DeepLearningExamples, PyTorch/LanguageModeling/BERT/data/GooglePretrainedWeightDownloader.py, which
# checks Google's zips of 2018 against these (its "bert_large_multilingual_uncased" is, by its address, the base model).
GOOGLE_SHA256: Mapping[str, Mapping[str, str]] = {
    "bert-base-uncased": {
        "bert_config.json": "7b4e5f53efbd058c67cda0aacfafb340113ea1b5797d9ce6ee411704ba21fcbc",
        "bert_model.ckpt.data-00000-of-00001": "58580dc5e0bf0ae0d2efd51d0e8272b2f808857f0a43a88aaf7549da6d7a8a84",
        "bert_model.ckpt.index": "04c1323086e2f1c5b7c0759d8d3e484afbb0ab45f51793daab9f647113a0117b",
        "bert_model.ckpt.meta": "dd5682170a10c3ea0280c2e9b9a45fee894eb62da649bbdea37b38b0ded5f60e",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    "bert-large-uncased": {
        "bert_config.json": "bfa42236d269e2aeb3a6d30412a33d15dbe8ea597e2b01dc9518c63cc6efafcb",
        "bert_model.ckpt.data-00000-of-00001": "bc6b3363e3be458c99ecf64b7f472d2b7c67534fd8f564c0556a678f90f4eea1",
        "bert_model.ckpt.index": "68b52f2205ffc64dc627d1120cf399c1ef1cbc35ea5021d1afc889ffe2ce2093",
        "bert_model.ckpt.meta": "6fcce8ff7628f229a885a593625e3d5ff9687542d5ef128d9beb1b0c05edc4a1",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    "bert-base-cased": {
        "bert_config.json": "f11dfb757bea16339a33e1bf327b0aade6e57fd9c29dc6b84f7ddb20682f48bc",
        "bert_model.ckpt.data-00000-of-00001": "734d5a1b68bf98d4e9cb6b6692725d00842a1937af73902e51776905d8f760ea",
        "bert_model.ckpt.index": "517d6ef5c41fc2ca1f595276d6fccf5521810d57f5a74e32616151557790f7b1",
        "bert_model.ckpt.meta": "5f8a9771ff25dadd61582abb4e3a748215a10a6b55947cbb66d0f0ba1694be98",
        "vocab.txt": "eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02",
    },
    "bert-large-cased": {
        "bert_config.json": "7adb2125c8225da495656c982fd1c5f64ba8f20ad020838571a3f8a954c2df57",
        "bert_model.ckpt.data-00000-of-00001": "6ff33640f40d472f7a16af0c17b1179ca9dcc0373155fb05335b6a4dd1657ef0",
        "bert_model.ckpt.index": "ef42a53f577fbe07381f4161b13c7cab4f4fc3b167cec6a9ae382c53d18049cf",
        "bert_model.ckpt.meta": "d2ddff3ed33b80091eac95171e94149736ea74eb645e575d942ec4a5e01a40a1",
        "vocab.txt": "eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02",
    },
    "bert-base-multilingual-cased": {
        "bert_config.json": "e76c3964bc14a8bb37a5530cdc802699d2f4a6fddfab0611e153aa2528f234f0",
        "bert_model.ckpt.data-00000-of-00001": "55b8a2df41f69c60c5180e50a7c31b7cdf6238909390c4ddf05fbc0d37aa1ac5",
        "bert_model.ckpt.index": "7d8509c2a62b4e300feb55f8e5f1eef41638f4998dd4d887736f42d4f6a34b37",
        "bert_model.ckpt.meta": "95e5f1997e8831f1c31e5cf530f1a2e99f121e9cd20887f2dce6fe9e3343e3fa",
        "vocab.txt": "fe0fda7c425b48c516fc8f160d594c8022a0808447475c1a7c6d6479763f310c",
    },
    "bert-base-multilingual-uncased": {
        "bert_config.json": "49063bb061390211d2fdd108cada1ed86faa5f90b80c8f6fdddf406afa4c4624",
        "bert_model.ckpt.data-00000-of-00001": "3cd83912ebeb0efe2abf35c9f1d5a515d8e80295e61c49b75c8853f756658429",
        "bert_model.ckpt.index": "87c372c1a3b1dc7effaaa9103c80a81b3cbab04c7933ced224eec3b8ad2cc8e7",
        "bert_model.ckpt.meta": "27f504f34f02acaa6b0f60d65195ec3e3f9505ac14601c6a32b421d0c8413a29",
        "vocab.txt": "87b44292b452f6c05afa49b2e488e7eedf79ea4f4c39db6f2f4b37764228ef3f",
    },
    "bert-base-chinese": {
        "bert_config.json": "7aaad0335058e2640bcb2c2e9a932b1cd9da200c46ea7b8957d54431f201c015",
        "bert_model.ckpt.data-00000-of-00001": "756699356b78ad0ef1ca9ba6528297bcb3dd1aef5feadd31f4775d7c7fc989ba",
        "bert_model.ckpt.index": "46315546e05ce62327b3e2cd1bed22836adcb2ff29735ec87721396edb21b82e",
        "bert_model.ckpt.meta": "c0f8d51e1ab986604bc2b25d6ec0af7fd21ff94cf67081996ec3f3bf5d823047",
        "vocab.txt": "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c",
    },
}

# Sources: the hub's own ETags of these files, as several unrelated public repositories pin them, at these commits:
# bert-base-uncased 86b5e0934494bd15c9632b12f734a8a67f723594, bert-tiny 30b0a37ccaaa32f332884b96992754e246e48c5f,
# all-MiniLM-L6-v2 1110a243fdf4706b3f48f1d95db1a4f5529b4d41; for bert-base-chinese a download log and one such pin. The
# uncased vocabulary is Google's own file: the hub's git id of it (fb140275c155a9c7c5a3b3e0e77a9e839594a938) is that of
# the bytes with this SHA-256.
_UNCASED_VOCABULARY = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
HUB_SHA256: Mapping[str, Mapping[str, str]] = {
    "bert-base-uncased": {
        "model.safetensors": "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
        "vocab.txt": _UNCASED_VOCABULARY,
    },
    "bert-base-chinese": {
        "model.safetensors": "3404a1ffd8da507042e8161013ba2a4fc49858b4e3f8fbf5ce5724f94883aec3",
    },
    "bert-tiny": {
        "model.safetensors": "7fb69ad9f6866d8983183c930e33828f326470bf6ad8bbb2ad4ed957a92e9414",
        "vocab.txt": _UNCASED_VOCABULARY,
    },
    "all-MiniLM-L6-v2": {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "vocab.txt": _UNCASED_VOCABULARY,
    },
}
