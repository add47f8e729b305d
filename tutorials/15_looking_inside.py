# %% [markdown]
# # 15. Looking inside
#
# The model answers. Why? People look at attention maps, probe vectors, follow gradients, and tell stories about what
# they see. Some of the stories are true. Here you learn the tools on a model of which the truth is known, so that each
# tool can be judged by it.
#
# **You will be able to**
#
# - find out what a head looks at, and whether the model needs it;
# - read properties out of vectors, layer by layer, and say what such a probe does not show;
# - watch an answer form, with the logit lens;
# - blame tokens, by gradients and by hiding them;
# - move a vector from one run into another, and so show *where* a fact is;
# - catch a real BERT with the wrong rule, though its answers look right;
# - say of each picture what it does not prove.
#
# **You need** chapters 6 and 7. **Time:** an hour to read; the cells run in a minute.

# %%
import inspect
import itertools
import random

import matplotlib.pyplot as plt
import torch
from pictures import BLUE, GREEN, GREY, ORANGE, VERMILION, grid, show
from torch import Tensor

from minibert import BertConfig, BertForMaskedLM, BertTokenizer, trace
from minibert.heads import MLMHead

# %% [markdown]
# ## 15.1 A language of which we know everything
#
# > the old **cats** near the dog **sleep** softly .
#
# The verb has two parts. Its *number* comes from the first noun (cats: sleep, not sleeps), and not from the nearer one.
# Its *meaning* comes from the adverb (softly: sleep; loudly: sing). Adjectives come and go, so that no place is fixed.
# The verb is hidden, and the model must find both.

# %%
NOUNS = ["cat", "dog", "bird", "fox", "cats", "dogs", "birds", "foxes"]
VERBS = ["runs", "sleeps", "eats", "sings", "run", "sleep", "eat", "sing"]
ADVERBS = ["quickly", "softly", "hungrily", "loudly"]
ADJECTIVES, PLACES = ["old", "young", "red"], ["near", "behind", "beside"]
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "the", ".", *NOUNS, *VERBS, *ADVERBS, *ADJECTIVES, *PLACES]
ID = {word: number for number, word in enumerate(WORDS)}
LONGEST = 13
ROLES = ("subject", "other noun", "verb", "adverb")


def sentences(count: int, seed: int) -> dict[str, Tensor]:
    """ids, mask: (count, 13). Of each sentence: the places of `ROLES` (count, 4), and the facts, (count,)."""
    chance = random.Random(seed)
    rows, places, facts = [], [], []
    for _ in range(count):
        plural, plural_other, meaning = chance.randrange(2), chance.randrange(2), chance.randrange(4)
        first = ["the", *chance.sample(ADJECTIVES, chance.randrange(2)), NOUNS[chance.randrange(4) + 4 * plural]]
        second = ["the", *chance.sample(ADJECTIVES, chance.randrange(2)), NOUNS[chance.randrange(4) + 4 * plural_other]]
        row = [
            "[CLS]",
            *first,
            chance.choice(PLACES),
            *second,
            VERBS[meaning + 4 * plural],
            ADVERBS[meaning],
            ".",
            "[SEP]",
        ]
        verb = len(row) - 4
        places.append([len(first), verb - 1, verb, verb + 1])
        rows.append([ID[word] for word in row] + [0] * (LONGEST - len(row)))
        facts.append([plural, plural_other, meaning])
    ids = torch.tensor(rows)
    plural, plural_other, meaning = torch.tensor(facts).unbind(1)  # (count, 3) -> 3 of (count)
    return {
        "ids": ids,
        "mask": (ids != 0).long(),
        "places": torch.tensor(places),
        "plural": plural,
        "plural_other": plural_other,
        "meaning": meaning,
    }


def hide_verb(data: dict[str, Tensor]) -> Tensor:
    return data["ids"].scatter(1, data["places"][:, 2:3], ID["[MASK]"])


LAYERS, HEADS = 3, 4
config = BertConfig(
    vocab_size=len(WORDS),
    hidden_size=64,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=128,
    max_position_embeddings=LONGEST,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.07,
)
torch.manual_seed(0)
fresh = BertForMaskedLM(config).eval()
torch.manual_seed(0)
model = BertForMaskedLM(config)
STEPS = 400
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=STEPS)
for step in range(STEPS):
    data = sentences(48, seed=step)
    asked = torch.rand(data["ids"].shape) < 0.15
    asked.scatter_(1, data["places"][:, 2:3], torch.rand(48, 1) < 0.5)
    asked &= data["ids"] > ID["[MASK]"]
    loss = model(
        data["ids"].masked_fill(asked, ID["[MASK]"]), data["mask"], labels=data["ids"].masked_fill(~asked, -100)
    ).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
model.eval()

EXAM = sentences(500, seed=10**6)
SEEN = hide_verb(EXAM)
ROWS = torch.arange(500)
VERB = EXAM["places"][:, 2]


def verb_logits(logits: Tensor) -> Tensor:
    """(batch, seq, vocab) -> (batch, 2, 4): the verbs in the verb's place, by number and meaning"""
    return logits[ROWS, VERB, ID["runs"] : ID["runs"] + 8].unflatten(1, (2, 4))


@torch.no_grad()
def scores(network: BertForMaskedLM, ids: Tensor = SEEN) -> tuple[float, float]:
    """How often the number is right, and how often the meaning."""
    verbs = verb_logits(network(ids, EXAM["mask"]).logits)
    number = verbs.logsumexp(dim=2).argmax(dim=1)  # (batch, 2, 4) -> (batch)
    meaning = verbs.logsumexp(dim=1).argmax(dim=1)
    return (number == EXAM["plural"]).float().mean().item(), (meaning == EXAM["meaning"]).float().mean().item()


print("number and meaning right: {:.2f}, {:.2f}; fresh model: {:.2f}, {:.2f}".format(*scores(model), *scores(fresh)))
assert min(scores(model)) > 0.97

# %% [markdown]
# ## 15.2 What the heads look at
#
# When the model stands at `[MASK]`, where does each head look? The mean over all sentences of the exam, by role:

# %%
with torch.no_grad():
    attentions = torch.cat(model(SEEN, EXAM["mask"], output_attentions=True).attentions, dim=1)
at_verb = attentions[ROWS, :, VERB]  # (batch, layers * heads, seq, seq) -> (batch, layers * heads, seq)
by_role = torch.stack([at_verb[ROWS, :, place].mean(dim=0) for place in EXAM["places"].T], dim=1)
edges = at_verb[:, :, 0].mean(dim=0) + at_verb[ROWS, :, VERB + 3].mean(dim=0)
columns = torch.cat([by_role, edges[:, None], 1 - by_role.sum(dim=1, keepdim=True) - edges[:, None]], dim=1)
assert torch.allclose(columns.sum(dim=1), torch.ones(LAYERS * HEADS), atol=1e-5)
HEAD_NAMES = [f"{layer}.{head}" for layer in range(1, LAYERS + 1) for head in range(1, HEADS + 1)]

figure, axes = plt.subplots(figsize=(7, 5))
grid(axes, columns, HEAD_NAMES, ["subject", "other noun", "itself", "adverb", "[CLS], [SEP]", "rest"], low=0, high=1)
axes.set(ylabel="block.head", title="where each head looks from [MASK]")
show(
    figure, "A table of twelve heads by six roles: some heads look at the subject, some at the adverb, some at neither."
)
strongest = columns.argmax(dim=0)
for role, column in (("subject", 0), ("adverb", 3)):
    print(f"most on the {role}: head {HEAD_NAMES[strongest[column]]} with {columns[:, column].max():.2f}")

# %% [markdown]
# *The picture:* the story tells itself. "This head finds the subject, that one reads the adverb." It is tempting to
# stop here. Many papers with colourful maps did, until somebody asked:
#
# ## 15.3 Does the model need them?
#
# Take a head away and measure. A hook before the attention's output layer sets the head's 16 numbers to zero. (Hooks
# are PyTorch's way to reach into a model without changing its code.)


# %%
def without_heads(network: BertForMaskedLM, heads: list[int]) -> tuple[float, float]:
    """Number and meaning right, with these heads silent; head 0 is block 1's first."""
    handles = []
    for layer, block in enumerate(network.bert.blocks):
        mine = [head - layer * HEADS for head in heads if head // HEADS == layer]

        def silence(_module, inputs: tuple[Tensor], mine: list[int] = mine) -> Tensor:
            joined = inputs[0].unflatten(1, (HEADS, -1)).clone()  # (tokens, hidden) -> (tokens, heads, head_dim)
            joined[:, mine] = 0
            return joined.flatten(1)  # (tokens, heads, head_dim) -> (tokens, hidden)

        handles.append(block.attention.output.register_forward_pre_hook(silence))
    result = scores(network)
    for handle in handles:
        handle.remove()
    return result


assert without_heads(model, []) == scores(model)
damage = 1 - torch.tensor([without_heads(model, [head]) for head in range(LAYERS * HEADS)])

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for part, fact, column, role in ((axes[0], 0, 0, "subject"), (axes[1], 1, 3, "adverb")):
    part.scatter(columns[:, column], damage[:, fact], color=BLUE)
    lookers = [head for head in columns[:, column].argsort().tolist() if columns[head, column] > 0.3]
    for number, head in enumerate(lookers):  # every second name stands higher, or neighbours would overlap
        place = (columns[head, column].item(), damage[head, fact].item())
        part.annotate(HEAD_NAMES[head], place, (0, 7 + 13 * (number % 2)), textcoords="offset points", ha="center")
    part.set(xlabel=f"attention to the {role}", ylabel=f"wrong {('numbers', 'meanings')[fact]} without the head")
    part.set(xlim=(-0.05, 1.1), ylim=(-0.03, 0.75))
show(
    figure, "Attention to subject or adverb against damage without the head: strong attention and no damage is common."
)
for fact, column in ((0, 0), (1, 3)):
    for head in torch.nonzero(columns[:, column] > 0.3).flatten().tolist():
        role, lost = ("subject", "adverb")[fact], damage[head, fact]
        print(
            f"head {HEAD_NAMES[head]}: {columns[head, column]:.2f} on the {role}; without it {lost:.0%} more are wrong"
        )
idle = (columns[:, 3] > 0.7) & (damage[:, 1] < 0.05)
print("over 0.7 on the adverb, and not needed:", [name for name, yes in zip(HEAD_NAMES, idle, strict=True) if yes])
assert idle.any()
assert damage[:, 0].max() > 0.2

# %% [markdown]
# *The picture, left:* each dot is a head. One head looks at the subject with half of its weight, and without it the
# number is guessed: it alone carries the number. Another looks there with a third of its weight, and can go without
# harm.
#
# *Right:* three heads give most of their weight to the adverb, one of them nearly *all*. Take any one of them away, and
# nothing happens. Either others know the same, or what this head hands over is of no use. A map shows where a head
# looks. It does not show what it takes from there, nor whether anybody listens.
#
# Does the model then not need these heads at all? Silence all that look at the adverb together:

# %%
at_adverb = torch.nonzero(columns[:, 3] > 0.3).flatten().tolist()
number, meaning = without_heads(model, at_adverb)
print(f"without all of {[HEAD_NAMES[head] for head in at_adverb]}: number {number:.2f}, meaning {meaning:.2f}")
assert meaning < 0.8

# %% [markdown]
# ## 15.4 Probes: what can be read where
#
# Take the vector at `[MASK]` after each block, and fit the simplest reader on it: a linear one, by least squares, on
# one half of the sentences; test it on the other half. If it can tell singular from plural, the number is *there*, in a
# form that one matrix can read.
#
# ### Build it yourself
#
# Give each class a column of 0 and 1. Look for the matrix, and a constant for each class, that bring the vectors as
# near to these columns as they can: the sum of the squared differences should be least. The class with the largest
# number is the answer. `torch.linalg.lstsq` finds it, even at the embeddings, where many vectors are equal.


# %%
@torch.no_grad()
def states_at(network: BertForMaskedLM, places: Tensor) -> list[Tensor]:
    """The vectors at these places: embeddings, then after each block; each (batch, hidden)."""
    states = network(SEEN, EXAM["mask"], output_hidden_states=True).hidden_states
    return [state[ROWS, places] for state in states]


def probe(vectors: Tensor, labels: Tensor) -> float:
    """Accuracy of a linear reader on the second half of the sentences, fitted on the first."""
    # BEGIN SOLUTION
    inputs = torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1).double()  # (batch, hidden) -> (batch, hidden + 1)
    wanted = torch.nn.functional.one_hot(labels).double()  # (batch) -> (batch, classes)
    half = len(inputs) // 2
    ridge = 1e-3 * torch.eye(inputs.shape[1], dtype=torch.double)
    weights = torch.linalg.solve(inputs[:half].T @ inputs[:half] + ridge, inputs[:half].T @ wanted[:half])
    return ((inputs[half:] @ weights).argmax(dim=1) == labels[half:]).double().mean().item()
    # END SOLUTION


facts = {"subject's number": "plural", "other noun's number": "plural_other", "meaning": "meaning"}
shuffled = EXAM["plural"][torch.randperm(500, generator=torch.Generator().manual_seed(0))]
readable = {name: [probe(state, EXAM[key]) for state in states_at(model, VERB)] for name, key in facts.items()}
readable["subject's number, fresh model"] = [probe(state, EXAM["plural"]) for state in states_at(fresh, VERB)]
readable["shuffled labels"] = [probe(state, shuffled) for state in states_at(model, VERB)]

figure, axes = plt.subplots(figsize=(8, 3.8))
for (name, line), colour, style in zip(
    readable.items(), (BLUE, VERMILION, GREEN, ORANGE, GREY), ("o-", "s--", "^-.", "v:", "x:"), strict=True
):
    axes.plot(line, style, color=colour, label=name)
axes.set(xticks=range(LAYERS + 1), xticklabels=["embeddings", "block 1", "block 2", "block 3"], ylim=(0.15, 1.05))
axes.set(ylabel="accuracy of the probe")
axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
show(
    figure,
    "Probes at the mask by layer: all facts appear in the blocks, in the fresh model too; shuffled labels do not.",
)
for name, line in readable.items():
    print(f"{name:32}", [f"{accuracy:.2f}" for accuracy in line])
assert readable["subject's number"][-1] > 0.95
assert max(readable["shuffled labels"]) < 0.6
assert readable["other noun's number"][-1] > 0.8
assert max(readable["subject's number, fresh model"]) > 0.9

# %% [markdown]
# *The picture:* at the embeddings nothing can be read: the vector there is that of `[MASK]` and its place. Then number
# and meaning come in. So far, so good. Now the two lines that spoil the story:
#
# - The *other noun's* number can be read nearly as well. The model does not use it (section 15.7 shows that). **What
#   can be read need not be used.**
# - In the *fresh* model, which has learnt nothing, the subject's number can be read too. Random attention mixes a
#   little of every token into every vector, and 64 numbers have room for all of it. **A probe may be the one who
#   learns.**
#
# The shuffled labels stay at a half, as they must: nothing that was fitted on one half of the sentences leaks into the
# other. Always run both controls: another network without training, and labels without sense. (Hewitt & Liang 2019 have
# a sharper one: every *word* gets a label by chance and keeps it. A probe that can learn that is too strong.)
#
# ## 15.5 The logit lens: watch the answer form
#
# The head on top turns a vector into words. Nobody forbids giving it the vectors of earlier blocks. They were not made
# for it, but since every block adds to what comes in, and only norms the sum, they speak nearly the same language
# (nostalgebraist 2020).

# %%
print(inspect.getsource(MLMHead.forward))
with torch.no_grad():
    words = model.bert.embeddings.word_embeddings.weight
    lens = []
    for state in states_at(model, VERB):
        verbs = model.mlm(state, words).softmax(dim=-1)[:, ID["runs"] : ID["runs"] + 8].unflatten(1, (2, 4))
        number, meaning = verbs[ROWS, EXAM["plural"]].sum(dim=1), verbs.sum(dim=1)[ROWS, EXAM["meaning"]]
        lens.append([verbs.sum(dim=(1, 2)).mean().item(), number.mean().item(), meaning.mean().item()])
figure, axes = plt.subplots(figsize=(8, 3.4))
for line, name, colour, style in zip(
    zip(*lens, strict=True),
    ("any verb", "right number", "right meaning"),
    (GREY, BLUE, GREEN),
    ("x:", "o-", "^-."),
    strict=True,
):
    axes.plot(line, style, color=colour, label=name)
axes.set(xticks=range(LAYERS + 1), xticklabels=["embeddings", "block 1", "block 2", "block 3"], ylim=(0, 1.05))
axes.set(ylabel="probability in the lens")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
show(figure, "Probability of a verb, of the right number and of the right meaning by layer, all rising to one.")
print("after each layer (any verb, number, meaning):", [[f"{p:.2f}" for p in line] for line in lens])
assert min(lens[-1]) > 0.9

# %% [markdown]
# *The picture:* that a verb is wanted is nearly known at once, from the place and from what is hidden most often. The
# meaning comes next, and the number last, in the third block. (Chance is a half for the number, and a quarter for the
# meaning.)
#
# But compare with the probe: it could read the meaning after the first block already, when the lens saw little. The
# lens reads with the head's eyes alone. What is there in another form, it calls absent.
#
# ## 15.6 Which token is to blame?
#
# Now from the other side: which *input* makes the answer singular or plural? Ask for one figure, the *margin*: the
# logit of the right form minus that of the wrong one (sleep minus sleeps). Two ways to share it out among the tokens:
#
# - **gradient times input**: how would the margin change if this token's embedding grew a little? One backward pass.
# - **occlusion**: hide the token behind `[MASK]`, and see how much the margin falls. One forward pass for each token.
#
# By hand: let the margin be $\min(1, a + b)$, which cannot rise any more where the answer is sure. To hide a token is
# to set its number to 0.
#
# | $a, b$ | margin | slopes | gradient times input | $a$ hidden, $b$ hidden | occlusion |
# | --- | --- | --- | --- | --- | --- |
# | 0.5, 0.25 | 0.75 | 1, 1 | 0.5, 0.25 | 0.25, 0.5 | 0.5, 0.25 |
# | 2, 0 | 1 | 0, 0 | 0, 0 | 0, 1 | **1, 0** |
# | 2, 2 | 1 | 0, 0 | 0, 0 | 1, 1 | **0, 0** |
#
# While nothing is sure, both tell the same. Where the answer is sure, the gradient blames nobody. And where two tokens
# say the same, occlusion blames neither.

# %%
for numbers, by_slope, by_hiding in (
    ([0.5, 0.25], [0.5, 0.25], [0.5, 0.25]),
    ([2.0, 0.0], [0.0, 0.0], [1.0, 0.0]),
    ([2.0, 2.0], [0.0, 0.0], [0.0, 0.0]),
):
    parts = torch.tensor(numbers, requires_grad=True)
    whole = parts.sum().clamp(max=1)
    whole.backward()
    hidden = (parts.detach() * (1 - torch.eye(2))).sum(dim=1).clamp(max=1)  # row n: without number n
    assert (parts.grad * parts).tolist() == by_slope
    assert (whole - hidden).tolist() == by_hiding

# %% [markdown]
# Now the model. We know the truth: all belongs to the subject, and nothing to the other noun. (The adverb picks the
# verb, but both forms of it alike.)


# %%
def margin(logits: Tensor) -> Tensor:
    """(batch,): right form minus wrong form of the right verb"""
    verbs = verb_logits(logits)
    return verbs[ROWS, EXAM["plural"], EXAM["meaning"]] - verbs[ROWS, 1 - EXAM["plural"], EXAM["meaning"]]


steps = trace(model, input_ids=SEEN, attention_mask=EXAM["mask"])
embedded = steps["bert.embeddings"]
embedded.retain_grad()
margin(steps.output.logits).sum().backward()
layout = model.bert.pack(SEEN, EXAM["mask"]).layout
gradient = layout.pad((embedded.grad * embedded.detach()).sum(dim=1))  # (tokens, hidden) -> (batch, seq)

with torch.no_grad():
    full = margin(model(SEEN, EXAM["mask"]).logits)
    occlusion = torch.zeros(500, LONGEST)
    for place in range(1, LONGEST - 1):
        hidden_too = SEEN.clone()
        hidden_too[:, place] = torch.where(EXAM["mask"][:, place] == 1, ID["[MASK]"], 0)
        occlusion[:, place] = full - margin(model(hidden_too, EXAM["mask"]).logits)


def by_roles(blame: Tensor) -> list[float]:
    """The share of each role in all that is blamed, sizes only: subject, other noun, adverb, all else."""
    sizes = blame.abs() / blame.abs().sum(dim=1, keepdim=True)
    parts = [sizes[ROWS, EXAM["places"][:, role]].mean().item() for role in (0, 1, 3)]
    return [*parts, 1 - sum(parts)]


methods = {
    "attention, mean of heads": by_roles(at_verb.mean(dim=1)),
    "gradient times input": by_roles(gradient),
    "occlusion": by_roles(occlusion),
}
figure, axes = plt.subplots(figsize=(8, 3))
left = torch.zeros(3)
for role, colour, name in zip(
    range(4), (BLUE, VERMILION, GREEN, GREY), ("subject", "other noun", "adverb", "all else"), strict=True
):
    shares = torch.tensor([parts[role] for parts in methods.values()])
    axes.barh(list(methods), shares, left=left, color=colour, label=name, edgecolor="white")
    left += shares
axes.invert_yaxis()
axes.set(xlabel="share of the blame for the number", xlim=(0, 1))
axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0), frameon=False)
show(
    figure,
    "Shares of blame by method: occlusion gives over half to the subject, attention and gradients a tenth or less.",
)
for name, parts in methods.items():
    print(f"{name:26}", [f"{part:.2f}" for part in parts])
assert methods["occlusion"][0] > methods["attention, mean of heads"][0]
assert max(methods["occlusion"]) == methods["occlusion"][0]

# %% [markdown]
# *The picture:* only occlusion finds the subject. Attention blames whatever is looked at. The gradient's blame is
# spread over everything, and hardly any of it falls on the subject. A gradient says what a *tiny* change of the
# embedding would do. Where the model is sure, a tiny change does little: it takes another word to turn the answer, and
# of that jump a slope knows nothing.
#
# Occlusion is no oracle either: the row with two `[MASK]`s is another question, and two words that say the same hide
# each other, as in the last row of the table.
#
# ## 15.7 Move a vector: where is the fact?
#
# The strongest tool changes one thing inside and watches the answer. Take two runs that differ in the subject's number
# alone: "the cat ..." and "the cats ...". Copy *one vector* of the second run into the first, at one place and after
# one block. If the answer turns plural, the fact was in that vector, and it was used. (Vig et al. 2020; Meng et al.
# 2022 call it causal tracing.) For the other noun's row the second run has the *other noun* in its other number.


# %%
def turned(places: Tensor) -> Tensor:
    """The exam with the nouns at these places in their other number"""
    noun = SEEN[ROWS, places]
    return SEEN.scatter(1, places[:, None], torch.where(noun < ID["cats"], noun + 4, noun - 4)[:, None])


SUBJECT_TURNED, OTHER_TURNED = (turned(EXAM["places"][:, role]) for role in (0, 1))
turned_answers = 1 - scores(model, SUBJECT_TURNED)[0]
print(f"with the subject turned around in the text, {turned_answers:.1%} of the answers turn")
assert turned_answers > 0.97


@torch.no_grad()
def flipped(layer: int, places: Tensor, source: Tensor) -> float:
    """How often the answer's number is the other one, with the vectors at these places taken from another run."""
    states = model(source, EXAM["mask"], output_hidden_states=True).hidden_states[layer]
    at = layout.cu_seqlens[:-1].long() + places  # no holes in the masks: place in the row -> place among all tokens

    def patch(_module, _inputs, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[at] = states[ROWS, places]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    part = model.bert.blocks[layer - 1] if layer else model.bert.embeddings
    handle = part.register_forward_hook(patch)
    right, _ = scores(model)
    handle.remove()
    return 1 - right


runs = (SUBJECT_TURNED, OTHER_TURNED, SUBJECT_TURNED, SUBJECT_TURNED)
carried = torch.tensor(
    [
        [flipped(layer, places, source) for layer in range(LAYERS + 1)]
        for places, source in zip(EXAM["places"].T, runs, strict=True)
    ]
)
figure, axes = plt.subplots(figsize=(7.5, 3))
grid(
    axes,
    carried,
    ["subject", "other noun", "[MASK]", "adverb"],
    ["embeddings", "block 1", "block 2", "block 3"],
    low=0,
    high=1,
)
axes.set(title="answers that turn when this one vector is moved", xlabel="taken from the run after")
show(
    figure,
    "Share of turned answers by place and layer: first the subject's vector carries the number, in the end the mask's.",
)
for role, line in zip(ROLES, carried, strict=True):
    print(f"{role:12}", [f"{share:.2f}" for share in line.tolist()])
assert carried[0, 0] > 0.95
assert carried[2, 0] < 0.05
assert carried[2, LAYERS] > 0.95
assert carried[1].max() < 0.1

# %% [markdown]
# *The picture* is as clear as a proof. Up to the second block the answer takes its number from the subject's vector.
# The third block carries it over to `[MASK]`, and from then on that vector decides. The other noun's vector never
# matters, not even when that noun itself is turned. And section 15.3 tells by which head the number travels.
#
# Compare this with the probe, which read the subject's number at `[MASK]` after the *second* block already, without a
# mistake. It was there. It was not used.
#
# ## 15.8 A real BERT, and a surprise
#
# The toy had a small world and much time. What has a real model learnt, from real text, about the number of a verb?
# Ask the one that ships with the package, with sentences in the manner of Linzen et al. (2016): a subject, and between
# it and the verb another noun, of the same number or of the other one.
#
# > the **houses** near the tree [MASK] very old.
#
# The answer is the probability of *are* and *were* against that of *is* and *was*. First without the other noun:

# %%
MODEL = "minibert-tiny-uncased"
tokenizer = BertTokenizer.from_pretrained(MODEL)
real = BertForMaskedLM.from_pretrained(MODEL).eval()
DEPTH = real.config.num_hidden_layers
SINGULAR, PLURAL = (tokenizer.convert_tokens_to_ids(words) for words in (["is", "was"], ["are", "were"]))
THINGS = ["house", "tree", "road", "door", "book", "picture", "car", "boat"]


def ids_of(texts: list[str]) -> Tensor:
    """(batch, seq), for texts of the same number of tokens"""
    return tokenizer(texts, return_tensors="pt")["input_ids"]


@torch.no_grad()
def plural_margin(ids: Tensor) -> Tensor:
    """(batch,): above 0 if a plural verb is more probable at [MASK]. The head reads these vectors alone."""
    hidden = real.bert(ids).last_hidden_state
    at_mask = hidden[ids == tokenizer.mask_token_id]  # (batch, seq, hidden) -> (batch, hidden)
    logits = real.mlm(at_mask, real.bert.embeddings.word_embeddings.weight)
    return logits[:, PLURAL].logsumexp(dim=1) - logits[:, SINGULAR].logsumexp(dim=1)


alone = [plural_margin(ids_of([f"the {thing}{s} [MASK] very old." for thing in THINGS])) for s in ("", "s")]
right = [(alone[0] < 0).sum().item(), (alone[1] > 0).sum().item()]
print(f"right without another noun: {right[0]} of 8 singular, {right[1]} of 8 plural")
assert sum(right) >= 14

# %% [markdown]
# It knows number. Is it grammar that it knows? Now all pairs of nouns, in all four combinations of number:

# %%
PAIRS = [(first, where, other) for where in ("near", "behind") for first, other in itertools.permutations(THINGS, 2)]


def with_numbers(plural: int, plural_other: int) -> Tensor:
    """(batch, seq): all pairs, in these numbers"""
    one, two = "s" * plural, "s" * plural_other
    return ids_of([f"the {first}{one} {where} the {other}{two} [MASK] very old." for first, where, other in PAIRS])


SEEN_REAL = {numbers: with_numbers(*numbers) for numbers in itertools.product((0, 1), (0, 1))}
plurals = {numbers: (plural_margin(ids) > 0).float().mean().item() for numbers, ids in SEEN_REAL.items()}

figure, axes = plt.subplots(figsize=(7.5, 3))
names = [f"the {'houses' if one else 'house'} near\nthe {'trees' if two else 'tree'} ..." for one, two in plurals]
bars = axes.bar(names, list(plurals.values()), color=[VERMILION if one != two else BLUE for one, two in plurals])
axes.bar_label(bars, fmt="%.2f", padding=2)
axes.set(ylabel="share of plural verbs", ylim=(0, 1.15))
show(figure, "Plural verbs in four kinds of sentences: they follow the noun next to the verb, not the subject.")
for (plural, plural_other), share in plurals.items():
    print(f"subject {('singular', 'plural')[plural]:9} other noun {('singular', 'plural')[plural_other]:9} {share:.2f}")
assert plurals[0, 0] < 0.1 < 0.9 < plurals[1, 1]

# %% [markdown]
# *The picture:* all or nothing. Where both nouns agree (first and last) it is perfect. Where they differ, the second
# bar should be empty and the third one full, and `minibert-tiny-uncased` is wrong every time. This is no noise, and no
# "half of it learnt": it has learnt *another rule*. **The verb follows the nearest noun.** In most text that rule is
# right, since most verbs stand right behind their subject. A test without such pairs would have given it full marks.
#
# So far this is behaviour alone. Do the tools see it as well? Move vectors, as in section 15.7: from the run in
# which one noun has the other number, into the run where both agree.


# %%
@torch.no_grad()
def turned_by(place: int, layer: int, source: Tensor, target: Tensor) -> float:
    """How often the target's answer turns when it gets the source's vector, at one place after one layer."""
    moved = real.bert(source, output_hidden_states=True).hidden_states[layer][:, place]  # (batch, hidden)
    at = torch.arange(len(target)) * target.shape[1] + place  # no padding: row times length, plus place

    def patch(_module, _inputs, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[at] = moved
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    before = plural_margin(target) > 0
    handle = (real.bert.blocks[layer - 1] if layer else real.bert.embeddings).register_forward_hook(patch)
    after = plural_margin(target) > 0
    handle.remove()
    return (before != after).float().mean().item()


both = SEEN_REAL[0, 0]  # [CLS] the house near the tree [MASK] ...: places 2, 5 and 6
sources = {"subject": (2, SEEN_REAL[1, 0]), "other noun": (5, SEEN_REAL[0, 1]), "[MASK]": (6, SEEN_REAL[0, 1])}
carried = torch.tensor(
    [[turned_by(place, layer, source, both) for layer in range(DEPTH + 1)] for place, source in sources.values()]
)
after_layers = ["embeddings", *(f"block {layer}" for layer in range(1, DEPTH + 1))]
figure, axes = plt.subplots(figsize=(6.5, 2.8))
grid(axes, carried, list(sources), after_layers, low=0, high=1)
axes.set(title="answers that turn when this one vector is moved", xlabel="taken from the run after")
show(figure, "Turned answers: the subject's vector turns none, the other noun's does early, the mask's late.")
for role, line in zip(sources, carried.tolist(), strict=True):
    print(f"{role:12}", [f"{share:.2f}" for share in line])
assert abs(carried[1, 0].item() - plurals[0, 1]) < 0.01  # to move its embedding is to change the word
assert carried[2, DEPTH] > 0.9 * plurals[0, 1]
assert carried[:2, DEPTH].max() == 0  # after the last block, only the vector at [MASK] is read

# %% [markdown]
# *The picture:* the subject's row is empty at every layer. The other noun decides, and its number moves to `[MASK]` in
# the very first block: from then on only the vector at `[MASK]` counts. In the picture of section 15.7 it was the other
# way round.
#
# And the probe? Whether the *subject* is plural, read from the vector at `[MASK]`, half of the sentences to fit and
# half to test:


# %%
@torch.no_grad()
def read_at_mask(network: BertForMaskedLM, role: int) -> list[float]:
    """How well the number of the subject (0) or of the other noun (1) can be read, after each layer."""
    is_plural = torch.tensor(list(SEEN_REAL)).repeat_interleave(len(PAIRS), dim=0)[:, role]  # (4, 2) -> (batch)
    order = torch.randperm(len(is_plural), generator=torch.Generator().manual_seed(0))
    states = network.bert(torch.cat(list(SEEN_REAL.values())), output_hidden_states=True).hidden_states
    return [probe(state[order, 6], is_plural[order]) for state in states]


torch.manual_seed(0)
readable = {
    "subject": read_at_mask(real, 0),
    "other noun": read_at_mask(real, 1),
    "subject, fresh model": read_at_mask(BertForMaskedLM(real.config).eval(), 0),
}
for name, line in readable.items():
    print(f"{name:21}", [f"{accuracy:.2f}" for accuracy in line])
assert readable["subject"][0] < 0.7
assert min(readable["subject"][-1], readable["other noun"][-1]) > 0.8

# %% [markdown]
# After the last block the subject's number can be *read*, without a single mistake, from the very vector that gives the
# wrong answer. A paper that only probed would have reported that the model "knows agreement". The control says what
# that is worth: from the *fresh* model it can be read as well. Look at the middle column, too. After the first block
# the trained model holds less of the subject's number at `[MASK]` than the fresh one. Training has taught it to bring
# the *other* noun there.
#
# What would mend it? More blocks, more text, more steps: BERT-base gets most such sentences right (Goldberg 2019). Put
# its name at the top of this section, and see which row fills. (`minibert-mini-uncased`, which ships, too, is three
# times as large and has read five times as much. It still follows the nearest noun.)
#
# ## 15.9 What such pictures do not prove
#
# | you see | you may say | you may not say |
# | --- | --- | --- |
# | a head looks at X | its weights are there | the model uses X |
# | a probe reads X | X can be read | X is used; the model has *learnt* X |
# | the lens sees X | the head would say X here | before that, X was not there |
# | a gradient is small | a tiny change does little | the token does not matter |
# | a head is removed, nothing happens | it is not needed *alone* | it does nothing |
# | hiding a token changes the answer | the answer depends on it, in this row | it is *the* reason |
# | a moved vector turns the answer | the fact was in it, and it was used | it is nowhere else |
#
# The lower a row stands, the more was changed in the model rather than watched. That is the order in which to trust.
#
# ## Common mistakes
#
# - **One sentence.** The prettiest map of a thousand is not the rule. Average, over sentences that differ in one thing.
# - **No baseline.** Look at the fresh model with every tool. What you find there was not learnt.
# - **Attention to `[SEP]` as a meaning.** A head that has nothing to say must put its weight somewhere; in BERT-base it
#   is often `[SEP]` (Clark et al. 2019, section 3.2). Count what it hands over, not where it looks.
# - **Reading heads by number.** Train again with another seed, and head 3.2 does something else:

# %%
with torch.no_grad():
    swapped = BertForMaskedLM(config).eval()
    swapped.load_state_dict(model.state_dict())
    order = torch.tensor([1, 0, 2, 3])
    for block in swapped.bert.blocks:
        attention = block.attention
        rows = torch.arange(3 * 64).view(3, HEADS, 16)[:, order].flatten()  # (3, heads, head_dim) -> (3 * hidden)
        attention.query_key_value.weight.copy_(attention.query_key_value.weight[rows])
        attention.query_key_value.bias.copy_(attention.query_key_value.bias[rows])
        attention.output.weight.copy_(attention.output.weight[:, rows[:64]])
    off = (swapped(SEEN, EXAM["mask"]).logits - model(SEEN, EXAM["mask"]).logits).abs().max().item()
print(f"heads 1 and 2 of every block swapped, with their part of the output layer: answers off by {off:.0e}")
assert off < 1e-3

# %% [markdown]
# Heads have no order. Their number is an accident of the seed.
#
# ## Experiments to try
#
# 1. Train with another seed. Which of the findings stay? (Write down your guess for each section first.)
# 2. Move *two* vectors: subject and `[MASK]`. Is there a layer after which nothing turns the answer any more?
# 3. Make the adverb unnecessary (the verb's meaning from the subject's kind: cats sleep, dogs run). Does its head
#    vanish?
# 4. Integrated gradients (Sundararajan et al. 2017): average the gradient along the way from the embedding of `[MASK]`
#    to that of the word. Does the subject get its share?
# 5. In section 15.8 put words between the other noun and the verb ("... near the trees of the town [MASK]"). Does the
#    nearest noun still win?
# 6. Do sections 15.2, 15.3 and 15.5 on the real model: which head carries the number of the nearest noun?
#
# ## Questions
#
# <details><summary>Why zero a head's answer, and not its weights?</summary>
#
# Zero weights would have to add up to 1. One could also put the head's *mean* answer in its place, which is kinder:
# zero may be a number that the next layer has never met.
# </details>
#
# <details><summary>The probe reads the fresh model at 100 %. Is probing worthless?</summary>
#
# No. The difference to the fresh model counts, and how simple a probe suffices, and from how few examples.
# </details>
#
# <details><summary>Why does the number travel in the last block, and the meaning earlier?</summary>
#
# We cannot tell from one run. The adverb is a neighbour, always one place to the right, which is easy to find. The
# subject must be told from the other noun first, and that takes a block or two. Another seed may do it otherwise.
# </details>
#
# <details><summary>Could a model give the right verb without any attention?</summary>
#
# No: then the vector at [MASK] knows of [MASK] and its place alone. The first column in section 15.4 is that model.
# </details>
#
# ## Key points
#
# - Where a head looks, what it takes, and who uses it are three questions.
# - Readable is not used. Use controls.
# - Gradients speak of tiny changes.
# - Change something inside and watch the answer: that is the strongest evidence.
# - Try each tool where you know the truth, before you trust it where you do not.
# - A model can be right for the wrong reason. Test where the two reasons differ.
#
# **Code:** [`tracing.py`](../minibert/tracing.py) (`trace`), [`model.py`](../minibert/model.py) (`BertModel.encode`),
# [`heads.py`](../minibert/heads.py) (`MLMHead`).
#
# **Papers:** Jain & Wallace 2019, *Attention is not Explanation*; Wiegreffe & Pinter 2019, *Attention is not not
# Explanation*; Clark et al. 2019, *What Does BERT Look At?*; Michel et al. 2019, *Are Sixteen Heads Really Better than
# One?*; Hewitt & Liang 2019, *Designing and Interpreting Probes with Control Tasks*; Linzen et al. 2016, *Assessing the
# Ability of LSTMs to Learn Syntax-Sensitive Dependencies*; nostalgebraist 2020, *interpreting GPT: the logit lens*; Vig
# et al. 2020, *Investigating Gender Bias in Language Models Using Causal Mediation Analysis*; Meng et al. 2022,
# *Locating and Editing Factual Associations in GPT*; Goldberg 2019, *Assessing BERT's Syntactic Abilities*.
#
# Before: [14. Doing it properly](14_doing_it_properly.ipynb). Next: [16. Padding is waste](16_padding.ipynb)
