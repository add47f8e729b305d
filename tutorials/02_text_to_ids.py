# %% [markdown]
# # 2. Text to ids
#
# BERT reads whole numbers. In the tour one line turned "[MASK] lost her keys." into eight of them. This chapter follows
# a text on its way there, step by step, and then learns a vocabulary from nothing.
#
# **You will be able to**
#
# - say what a character is to a computer, and why two texts that look the same may differ;
# - do WordPiece by hand, and write it in fifteen lines;
# - learn a vocabulary from a text, and choose its size with a measurement;
# - say what one `[UNK]` costs.
#
# **You need** Python. No network and no trained model. **Time:** 45 minutes to read; the cells run in half a minute.

# %%
import inspect
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
from pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, show
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import minibert
from minibert import BertTokenizer
from minibert.data.tables import read_table
from minibert.tokenization import wordpiece
from minibert.tokenization.wordpiece import BasicTokenizer, WordPiece, WordPieceTokenizer

# %% [markdown]
# ## 2.1 What a text is
#
# To Python, a text is a row of *code points*: numbers that Unicode gives to characters. Stored in a file it is a row
# of bytes; UTF-8 spends one to four of them on a code point.

# %%
for char in "aé€漢😀":
    spelling = " ".join(f"{byte:02x}" for byte in char.encode())
    category, name = unicodedata.category(char), unicodedata.name(char)
    print(f"{char}  code point {ord(char):>6}  {category}  UTF-8: {spelling:12} {name}")
assert [len(char.encode()) for char in "aé€漢😀"] == [1, 2, 3, 3, 4]

# %% [markdown]
# The two letters in the third column are the character's *category*: `Ll` is a lower-case letter, `Sc` a currency
# sign, `So` another symbol. You will see BERT decide by category.
#
# The same word can be spelled in two ways. `é` is one code point, or `e` followed by an accent that is drawn on top
# of it. They look alike and are not equal:

# %%
composed = "café"
decomposed = unicodedata.normalize("NFD", composed)
print(composed, len(composed), "|", decomposed, len(decomposed), "|", composed == decomposed)
assert len(composed) == 4
assert len(decomposed) == 5
assert composed != decomposed
assert wordpiece.strip_accents(composed) == wordpiece.strip_accents(decomposed) == "cafe"

# %% [markdown]
# An uncased BERT takes the accent off, and both become `cafe`. That is a choice with a price: in French, *côte*
# (coast) and *coté* (quoted) become one word.
#
# ## 2.2 Why not whole words, why not characters
#
# We could give each word a number. How many would we need? The package ships 1,824 short reviews to train on, and
# others to test on. Count their words.

# %%
REVIEWS = Path(minibert.__file__).parent / "data" / "reviews"
train_texts = read_table(REVIEWS / "train.tsv").texts("text", "")
test_texts = read_table(REVIEWS / "test.tsv").texts("text", "")

basic = BasicTokenizer()
train_words = [word for text in train_texts for word in basic.tokenize(text)]
test_words = [word for text in test_texts for word in basic.tokenize(text)]
word_counts = Counter(train_words)

once = sum(count == 1 for count in word_counts.values())
unseen = sum(word not in word_counts for word in test_words) / len(test_words)
print(f"{len(train_words):,} words, {len(word_counts):,} of them different, {once:,} that occur only once")
print(f"{unseen:.1%} of the words in the test reviews never occur in the training reviews")
assert 0.04 < unseen < 0.12

# %%
distinct, seen = [], set()
for word in train_words:
    seen.add(word)
    distinct.append(len(seen))

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(distinct, color=BLUE)
axes.set(xlabel="words read", ylabel="different words met", title="New words never stop coming")
show(figure, "A curve of different words against words read: it bends, but it still rises at the end.")

# %% [markdown]
# *The picture:* the number of different words bends but does not level off. Linguists call this Heaps' law. Whatever
# list of words we fix, the next text has words that are not on it.
#
# Characters are the other end: a hundred of them spell everything. But then a review of 17 words is a row of more
# than 60 characters, and chapter 4 will show that the cost of attention grows with the square of the row's length. A
# single character also says very little.
#
# **WordPiece** (Schuster & Nakajima 2012; Wu et al. 2016, section 4.1) stands between the two: frequent words are one
# piece, rare words are cut into pieces, and the number of pieces is fixed. The uncased English BERT has 30,522.
#
# ## 2.3 First step: words and marks
#
# Before WordPiece, the *basic tokenizer* cleans the text and cuts it into words and punctuation marks. Here is each
# of its steps on a text with something for all of them to do.

# %%
nasty = "Caf\u00e9s\tcost 5\u20ac\u200b, isn\u2019t it?  \u6f22\u5b57 OK\ufffd!"
cleaned = wordpiece.clean(nasty)
apart = wordpiece.set_cjk_apart(cleaned)
plain = wordpiece.strip_accents(apart.lower())
words = [piece for word in plain.split() for piece in wordpiece.split_on_punctuation(word)]
for name, state in (("given", nasty), ("clean", cleaned), ("Chinese apart", apart), ("lower, no accents", plain)):
    print(f"{name:18} {state!a}")
print(f"{'punctuation apart':18} {words}")
assert words == basic.tokenize(nasty)
assert words == ["cafes", "cost", "5€", ",", "isn", "’", "t", "it", "?", "漢", "字", "ok", "!"]

# %% [markdown]
# Look closely:
#
# - `\u200b`, a space of no width that web pages are full of, is gone. So is `\ufffd`, the mark of a decoding error.
# - The tab became a plain space.
# - Each Chinese character is a word: Chinese is written without spaces.
# - `isn't` became three tokens. It will always be three, everywhere.
# - `5€` stayed together, but `$5` would be cut. The rule is in the function below: in ASCII, everything that is
#   neither a letter nor a digit counts as punctuation, `$` included; outside ASCII only Unicode's category `P` does,
#   and `€` is in `Sc`.

# %%
print(inspect.getsource(wordpiece.split_on_punctuation))
print(inspect.getsource(wordpiece.is_punctuation))
assert basic.tokenize("$5") == ["$", "5"]
assert basic.tokenize("5€") == ["5€"]

# %% [markdown]
# ## 2.4 Second step: WordPiece by hand
#
# Take a vocabulary of six pieces. `##` marks a piece that continues a word.
#
# | id | 0 | 1 | 2 | 3 | 4 | 5 |
# | --- | --- | --- | --- | --- | --- | --- |
# | piece | `[UNK]` | `un` | `una` | `##ffa` | `##ble` | `##able` |
#
# The rule is greedy. Try the whole word. If it is not in the vocabulary, drop its last character and try again. When
# a piece fits, take it and start over with the rest, now with `##` in front. If not even a single character of the
# rest fits, the whole word becomes `[UNK]`. Do `unaffable` on paper before you run the cell.

# %%
tiny_vocab = {piece: number for number, piece in enumerate(["[UNK]", "un", "una", "##ffa", "##ble", "##able"])}


def tries(word: str, vocab: dict[str, int]) -> list[tuple[int, int, bool]]:
    """Every (start, end, found) that greedy matching looks at."""
    looked_at, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            found = ("##" if start else "") + word[start:end] in vocab
            looked_at.append((start, end, found))
            if found:
                break
        else:
            break
        start = end
    return looked_at


figure, axes = plt.subplots(figsize=(8, 4.5))
attempts = tries("unaffable", tiny_vocab)
for row, (start, end, found) in enumerate(attempts, start=1):
    axes.barh(row, end - start, left=start, color=BLUE if found else "#DDDDDD", edgecolor="white")
    for place in range(start, end):
        axes.text(place + 0.5, row, "unaffable"[place], ha="center", va="center", color="white" if found else "black")
axes.invert_yaxis()
axes.set(xticks=range(10), yticks=range(1, len(attempts) + 1), xlabel="character", ylabel="attempt")
axes.set_title("Greedy matching: grey missed, blue found")
show(figure, "Rows of shrinking grey bars, each series ending in a blue one: una, then ffa, then ble.")
print(len(attempts), "look-ups;", WordPiece(tiny_vocab).tokenize("unaffable"))
assert WordPiece(tiny_vocab).tokenize("unaffable") == ["una", "##ffa", "##ble"]
assert len(attempts) == 7 + 4 + 1

# %% [markdown]
# *The picture:* seven attempts until `una` fits, four until `##ffa` does, and `##ble` fits at once.
#
# ### Build it yourself
#
# Write it from the rule, without looking at the package. The second half of the cell lets your version and the
# package's cut every word of the reviews, and two that cannot be spelled, and asks for the same pieces.


# %%
def cut(word: str, vocab: dict[str, int]) -> list[str]:
    # BEGIN SOLUTION
    pieces, rest, prefix = [], word, ""
    while rest:
        end = next((end for end in range(len(rest), 0, -1) if prefix + rest[:end] in vocab), None)
        if end is None:
            return ["[UNK]"]
        pieces.append(prefix + rest[:end])
        rest, prefix = rest[end:], "##"
    return pieces
    # END SOLUTION


letters = sorted({char for word in word_counts for char in word})
frequent = [word for word, _ in word_counts.most_common(500)]
continuations = (f"##{piece}" for piece in (*letters, *frequent))
spelling_pieces = dict.fromkeys(["[UNK]", *letters, *frequent, *continuations])
test_vocab = {piece: number for number, piece in enumerate(spelling_pieces)}
package = WordPiece(test_vocab)
for word in (*word_counts, "\u2603", "snow\u2603"):  # the two with the snowman cannot be spelled
    assert cut(word, test_vocab) == package.tokenize(word), word
print(f"the same pieces for all {len(word_counts):,} words")
print(inspect.getsource(WordPiece.tokenize))

# %% [markdown]
# ### Greedy is not always best
#
# The longest first piece may lead into a dead end although another path exists. WordPiece does not turn back: then
# the *whole* word is unknown. Give `cut` a vocabulary in which `abc` can be spelled:

# %%
trap = {"[UNK]": 0, "a": 1, "ab": 2, "##bc": 3}
print(cut("abc", trap), "although", ["a", "##bc"], "would spell it")
assert cut("abc", trap) == ["[UNK]"]
trap["##c"] = 4
assert cut("abc", trap) == ["ab", "##c"]

# %% [markdown]
# The cure is in real vocabularies: they hold every single character, both as a beginning and as a continuation (here
# `##c`). Then greedy matching can always finish, and only a character that training never saw gives `[UNK]`.
#
# ## 2.5 Learning a vocabulary
#
# Where do the 30,522 pieces come from? Google published the vocabulary, but not the program that made it. The method
# in use today is byte-pair encoding (Sennrich et al. 2016): begin with single characters; again and again, find the
# pair of neighbouring pieces that occurs most often, and make it a piece. (The WordPiece of Wu et al. chooses the
# pair that most raises the likelihood of the training text. The trainer in the `tokenizers` library counts, as we do
# here.)
#
# By hand, with eight words:
#
# | word | count | as characters |
# | --- | --- | --- |
# | sing | 2 | s ##i ##n ##g |
# | ring | 2 | r ##i ##n ##g |
# | king, singing, singer, rings | 1 each | ... |
#
# `##i ##n` occurs in every word, and twice in *singing*: 9 times. So does `##n ##g`. One of them goes first; then
# `##in ##g` occurs 9 times, and `##ing` is the second new piece. The machine has found a suffix of English without
# knowing what a suffix is.


# %%
def learn_vocabulary(counts: Counter[str], size: int) -> list[str]:
    """At most `size` pieces: all single characters, then one new piece for each merge."""
    spelled = {word: [word[0], *(f"##{char}" for char in word[1:])] for word in counts}
    characters = {char for word in counts for char in word}
    vocab = sorted(characters) + sorted({piece for pieces in spelled.values() for piece in pieces[1:]})
    number = {piece: place for place, piece in enumerate(vocab)}
    while len(vocab) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in spelled.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs:
            break  # every word is one piece
        # Of equally frequent pairs, the one whose pieces are older.
        best = max(pairs, key=lambda pair: (pairs[pair], -number[pair[0]], -number[pair[1]]))
        merged = best[0] + best[1].removeprefix("##")
        number.setdefault(merged, len(vocab))
        if number[merged] == len(vocab):
            vocab.append(merged)
        for pieces in spelled.values():
            for place in range(len(pieces) - 2, -1, -1):
                if tuple(pieces[place : place + 2]) == best:
                    pieces[place : place + 2] = [merged]
    return vocab


songs = Counter("sing sing ring ring king singing singer rings".split())
song_vocab = learn_vocabulary(songs, 30)
print(song_vocab)
assert "##ing" in song_vocab
assert set(songs) <= set(song_vocab)

# %% [markdown]
# Now hold it against the trainer of the `tokenizers` library. On the songs both must find the same set of pieces. On
# the reviews a few pieces may differ, because ties between equally frequent pairs can fall differently.


# %%
def library_vocabulary(counts: Counter[str], size: int) -> set[str]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator([f"{word} " * count for word, count in counts.items()], trainer)
    return set(tokenizer.get_vocab())


assert set(song_vocab) == library_vocabulary(songs, 30)

review_vocab = learn_vocabulary(word_counts, 600)
theirs = library_vocabulary(word_counts, 600)
shared = len(theirs & set(review_vocab)) / len(theirs)
print(f"{shared:.1%} of 600 pieces are the same")
print("learnt last:", " ".join(review_vocab[-12:]))
assert shared > 0.95

# %% [markdown]
# ## 2.6 How large should it be?
#
# A larger vocabulary gives shorter rows, which are cheaper to read. But each piece costs a row of the embedding
# matrix (chapter 3), and rare pieces are met too rarely to be learnt well. Measure the first half of that bargain:
# tokens per word on reviews that the vocabulary was not made from.

# %%
specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
sizes, lengths = [150, 300, 600, 1200, 2400], []
for size in sizes:
    pieces = WordPiece(
        {piece: number for number, piece in enumerate(specials + sorted(library_vocabulary(word_counts, size)))}
    )
    lengths.append(sum(len(pieces.tokenize(word)) for word in test_words) / len(test_words))
characters_per_word = sum(map(len, test_words)) / len(test_words)

figure, axes = plt.subplots(figsize=(7, 3.8))
axes.plot(sizes, lengths, "o-", color=BLUE, label="WordPiece")
axes.axhline(characters_per_word, color=VERMILION, linestyle="--", label="characters")
axes.axhline(1, color=GREEN, linestyle=":", label="whole words")
axes.set(xscale="log", xlabel="pieces in the vocabulary", ylabel="tokens a word", ylim=(0, 4.5))
axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
axes.minorticks_off()
axes.legend()
show(figure, "Tokens a word fall from two and a half to one and a quarter as the vocabulary grows from 150 to 2,400.")
for size, length in zip(sizes, lengths, strict=True):
    print(f"{size:>6,} pieces: {length:.2f} tokens a word")
assert lengths == sorted(lengths, reverse=True)
assert lengths[-1] < 1.5

# %% [markdown]
# *The picture:* each doubling brings less than the one before. The curve falls towards one token a word and never
# gets there on new text.
#
# ## 2.7 What one `[UNK]` costs
#
# A word with a single unknown character becomes `[UNK]` as a whole. Nothing of it is left: the model cannot tell
# which word it was, and no training can bring it back. Our vocabulary was learnt from plain English. Feed it
# something else:

# %%
tokens_of = {piece: number for number, piece in enumerate(dict.fromkeys(specials + review_vocab))}
definition = WordPieceTokenizer(tokens_of)
for text in ("I loved it 😀", "I loved it 😡", "It cost 5€.", "It cost 9€.", "Naïve, but good.", "привет"):
    print(f"{text:18} {definition.tokenize(text)}")
assert definition.tokenize("I loved it 😀") == definition.tokenize("I loved it 😡")
assert definition.tokenize("It cost 5€.") == definition.tokenize("It cost 9€.")
assert definition.tokenize("Naïve") == definition.tokenize("naive")

# %% [markdown]
# The happy and the angry face have become the same token, and both prices are gone. A sentiment model would never
# know. So before you train on your own text, count the unknowns and look at which words they are. The cure is a
# vocabulary that was learnt from text like yours: for other scripts a multilingual one, for instance.
#
# ## 2.8 Ids, and what stands around them
#
# The id of a token is its line number in `vocab.txt`, counted from 0. Around the text BERT puts two special tokens:
# `[CLS]` in front, whose final vector stands for the whole row, and `[SEP]` after each text (Devlin et al. 2019,
# section 3, "Input/Output Representations").
#
# `BertTokenizer` does all of this with the engine of the `tokenizers` library, written in Rust. `tokenizer.wordpiece`
# is the plain-Python definition you just built. They must agree:

# %%
tokenizer = BertTokenizer(tokens_of)
for text in test_texts:
    assert tokenizer.tokenize(text) == tokenizer.wordpiece.tokenize(text), text

encoding = tokenizer(["Is it good?", "Yes."], ["It is great!", "No, not at all."], padding=True)
for row in range(2):
    print(f"{'token':8} {'id':>4} segment attended")
    columns = (encoding[name][row] for name in ("input_ids", "token_type_ids", "attention_mask"))
    for token, token_id, segment, attended in zip(encoding.tokens(row), *columns, strict=True):
        print(f"{token:8} {token_id:>4} {segment:>7} {attended:>8}")
    print()
assert encoding.tokens(0)[0] == "[CLS]"
assert encoding.tokens(0).count("[SEP]") == 2
assert len(encoding.input_ids[0]) == len(encoding.input_ids[1])

# %%
figure, axes = plt.subplots(figsize=(10, 1.9))
colour_of = {"[CLS]": ORANGE, "[SEP]": ORANGE, "[PAD]": GREY}
for row in range(2):
    for place, token in enumerate(encoding.tokens(row)):
        colour = colour_of.get(token, BLUE if encoding.token_type_ids[row][place] == 0 else GREEN)
        axes.barh(row, 0.95, left=place, color=colour, height=0.8)
        ink = "black" if colour in (ORANGE, GREY) else "white"
        axes.text(place + 0.47, row, token, ha="center", va="center", color=ink, fontsize=9)
axes.invert_yaxis()
axes.set(xticks=[], yticks=[0, 1], yticklabels=["row 0", "row 1"])
axes.spines[:].set_visible(False)
show(figure, "Two rows of tokens: orange special tokens, blue first text, green second text, grey padding at the end.")

# %% [markdown]
# *The picture:* orange are the special tokens, blue is the first text (segment 0), green the second (segment 1), and
# grey the padding that makes rows equally long. The second `[SEP]` belongs to segment 1. The last column of the tables
# above, the *attention mask*, is 0 for padding, so that no real token looks at it.
#
# For tasks such as question answering you must get back from tokens to the text. Offsets say where each token stands:

# %%
text = "Unbelievably good!"
located = tokenizer(text, return_offsets_mapping=True)
for token, (start, end) in zip(located.tokens(), located.offset_mapping, strict=True):
    print(f"{token:8} {start:>2}:{end:<2} {text[start:end]!r}")
assert "".join(text[start:end] for start, end in located.offset_mapping) == text.replace(" ", "")

# %% [markdown]
# ## 2.9 Common mistakes, shown breaking
#
# **An uncased tokenizer on a cased vocabulary, or the reverse.** Nothing fails; the text turns to `[UNK]` or to
# crumbs.

# %%
cased = {piece: number for number, piece in enumerate([*specials, "Paris", "Rome", "is", "nice"])}
right = BertTokenizer(cased, do_lower_case=False).tokenize("Paris is nice")
wrong = BertTokenizer(cased, do_lower_case=True).tokenize("Paris is nice")
print("right:", right)
print("wrong:", wrong)
assert right == ["Paris", "is", "nice"]
assert wrong == ["[UNK]", "is", "nice"]

# %% [markdown]
# **Ids from one vocabulary, weights from another.** Every id is valid in both, so nothing fails. Each word gets
# another word's vector.

# %%
reordered = {piece: number for number, piece in enumerate([*specials, *sorted(set(tokens_of) - set(specials))[::-1]])}
ids = tokenizer("it is good", add_special_tokens=False).input_ids
print("it is good ->", ids, "->", BertTokenizer(reordered).convert_ids_to_tokens(ids))
assert BertTokenizer(reordered).convert_ids_to_tokens(ids) != ["it", "is", "good"]

# %% [markdown]
# **Splitting the vocabulary file by every line end there is.** `str.splitlines` also splits at U+2028, which is a
# *token* of the Chinese BERT. All ids after it shift by one.

# %%
file_text = "[UNK]\n\u2028\nthe\n"
print("split('\\n'):", file_text.removesuffix("\n").split("\n"), " splitlines():", file_text.splitlines())
assert file_text.removesuffix("\n").split("\n").index("the") == 2
assert file_text.splitlines().index("the") != 2

# %% [markdown]
# ## Experiments to try
#
# 1. Learn a vocabulary from a text in another language and measure tokens a word on English. Which language pays
#    more?
# 2. Change the score in `learn_vocabulary` to `count(pair) / (count(first) * count(second))`, which is often called
#    WordPiece's score. Which pieces come first now, and why are they so odd? Then multiply the logarithm of
#    `count(pair) * total / (count(first) * count(second))` by `count(pair)`, where `total` counts all pieces of the
#    text. That is the gain in log-likelihood ([`tokenization/learn.py`](../minibert/tokenization/learn.py)).
# 3. Take 5 % of the letters of the test reviews and replace each by its neighbour on the keyboard. How do the tokens
#    a word grow?
#
# ## Questions
#
# <details><summary>Why does a continuing piece carry ##, and not a beginning piece a space?</summary>
#
# It is a convention: one of the two cases must be marked, so that `able` as a word and `##able` as an ending are two
# tokens with two vectors. GPT-2 marks the beginnings instead.
# </details>
#
# <details><summary>A word of n characters gives how many look-ups at most?</summary>
#
# If every piece that fits has one character: n + (n-1) + ... + 1 = n(n+1)/2. That is why words of more than 200
# characters become `[UNK]` unseen: they are noise, and expensive.
# </details>
#
# <details><summary>Can you always get the text back from the ids?</summary>
#
# No. Case, accents, the kind and number of spaces and everything inside `[UNK]` are lost. Keep the offsets if you
# need the text.
# </details>
#
# <details><summary>Does changing the order of vocab.txt change what a freshly initialised BERT can learn?</summary>
#
# No: ids are only row numbers of a random matrix. For a *trained* BERT it ruins everything.
# </details>
#
# ## Key points
#
# - Clean, set Chinese apart, lower the case, take off accents, cut at punctuation; then the longest known piece
#   first.
# - The vocabulary is learnt by merging what often stands together.
# - One unknown character makes the whole word `[UNK]`. Count them.
# - Tokenizer and weights belong together: same vocabulary, same order, same case.
#
# **Code:** [`tokenization/wordpiece.py`](../minibert/tokenization/wordpiece.py) (`BasicTokenizer`, `WordPiece`),
# [`tokenization/tokenizer.py`](../minibert/tokenization/tokenizer.py) (`BertTokenizer`),
# [`tokenization/engine.py`](../minibert/tokenization/engine.py) (where the fast engine differs, and how that is
# mended).
#
# **Papers:** Schuster & Nakajima 2012, *Japanese and Korean Voice Search*; Sennrich et al. 2016, section 3; Wu et al.
# 2016, section 4.1; Devlin et al. 2019, section 3.
#
# Before: [1. A tour](01_tour.ipynb). Next: [3. Embeddings](03_embeddings.ipynb)
