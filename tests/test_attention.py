"""Every attention implementation is the function that `eager_attention` defines: forward, backward and in dropout."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from minibert.attention import IMPLEMENTATIONS, Attention, get_attention, nested, packed
from minibert.attention.eager import eager_attention
from minibert.attention.flash_by_hand import flash_backward, flash_forward
from minibert.attention.nested import nested_attention
from minibert.attention.packed import packed_attention
from minibert.attention.sdpa import sdpa_attention
from minibert.attention.triton import check_fit, triton_attention
from minibert.errors import InputError
from minibert.packing import Layout
from minibert.training.activation_checkpointing import checkpoint_activations

from .conftest import HAS_GPU
from .helpers import SMALL, make_batch, make_model, make_peer

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs Triton: pip install triton (on Linux)"
)


def one_by_one_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """The CPU's way for long sentences, also where packed attention would not choose it."""
    lengths = [layout.cu_seqlens.diff().tolist() for layout in (queries, keys)]
    return packed.attend_one_by_one(query, key, value, lengths[0], lengths[1], bool(dropout), dropout), None


def written_out_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """The same, as in training in bfloat16."""
    lengths = [layout.cu_seqlens.diff().tolist() for layout in (queries, keys)]
    return packed.attend_one_by_one(query, key, value, lengths[0], lengths[1], True, dropout), None


ATTENTIONS = [
    pytest.param(sdpa_attention, id="sdpa"),
    pytest.param(packed_attention, id="packed"),
    pytest.param(one_by_one_attention, id="one by one"),
    pytest.param(written_out_attention, id="written out"),
    pytest.param(nested_attention, id="nested"),
    pytest.param(triton_attention, id="triton", marks=needs_triton),
]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")]),
]
BATCHES = {
    "one token": [1],
    "all as long": [9, 9, 9],
    "different lengths": [7, 1, 16, 3],
    "empty rows": [0, 5, 0, 2],
    "no tokens at all": [0, 0],
    "one long row among short ones": [3, 2, 130, 5],
    "several tiles": [64, 65, 63, 17],
}
pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def _fresh_notice() -> Iterator[None]:
    yield
    packed._tell_once.cache_clear()


def layout_of(lengths: list[int], device: str) -> Layout:
    mask = torch.arange(max(max(lengths), 1)) < torch.tensor(lengths).unsqueeze(1)
    return Layout.from_mask(mask).to(device)


def interpreter_loops() -> bool:
    """Whether Triton's interpreter takes a number that a kernel has loaded for the end of a loop."""
    numpy, triton = (tuple(map(int, version(name).split(".")[:2])) for name in ("numpy", "triton"))
    return triton >= (3, 7) or numpy < (2, 5)


def skip_what_cannot_run(attend: Attention, device: str, dtype: torch.dtype = torch.float32) -> None:
    if attend is triton_attention and (device == "cpu") == HAS_GPU:
        pytest.skip("the kernels are compiled where there is a GPU, and interpreted elsewhere")
    if attend is triton_attention and device == "cpu" and not interpreter_loops():
        pytest.skip("before 3.7, Triton's interpreter cannot loop with NumPy 2.5 or newer")
    if attend is triton_attention and dtype == torch.float64:
        pytest.skip("the kernels compute in float32")


def self_attend(attend: Attention, tokens: Sequence[Tensor], layout: Layout, dropout: float = 0.0) -> Tensor:
    """The context of every token, from query, key and value."""
    query, key, value = tokens
    return attend(query, key, value, layout, layout, dropout)[0]


def run(
    attend: Attention, tokens: Tensor, queries: Layout, keys: Layout, direction: Tensor, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Context, and the gradient of tokens (tokens, 3, heads, head_dim), in which query, key and value lie."""
    tokens = tokens.clone().requires_grad_()
    query, key, value = tokens.unbind(1)  # not contiguous, as in the model
    context = attend(queries.select(query), key, value, queries, keys, dropout)[0]
    (gradient,) = torch.autograd.grad(context, tokens, direction, allow_unused=True)
    return context.detach(), torch.zeros_like(tokens) if gradient is None else gradient


def compare(
    attend: Attention,
    lengths: list[int],
    heads: int,
    head_dim: int,
    device: str,
    dtype: torch.dtype,
    cls_only: bool = False,
) -> None:
    """Within 1e-5 of eager in float32, 1e-10 in float64, and in bf16 and fp16 within 2 % of eager in float32."""
    skip_what_cannot_run(attend, device, dtype)
    keys = layout_of(lengths, device)
    queries = keys.first_tokens() if cls_only else keys
    tokens = torch.randn(sum(lengths), 3, heads, head_dim, device=device, dtype=dtype)
    direction = queries.select(torch.randn(sum(lengths), heads, head_dim, device=device, dtype=dtype))
    exact = dtype if dtype == torch.float64 else torch.float32
    results = run(attend, tokens, queries, keys, direction)
    wanted = run(eager_attention, tokens.to(exact), queries, keys, direction.to(exact))
    for result, reference in zip(results, wanted, strict=True):
        assert result.dtype == dtype
        assert result.shape == reference.shape
        if dtype in (torch.bfloat16, torch.float16):
            assert (result.to(exact) - reference).norm() <= 2e-2 * reference.norm()
        else:
            tolerance = 1e-10 if dtype == torch.float64 else 1e-5
            torch.testing.assert_close(result, reference, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("attend", ATTENTIONS)
def test_equals_eager_forward_and_backward(attend: Attention, name: str, dtype: torch.dtype, device: str):
    compare(attend, BATCHES[name], 3, 16, device, dtype)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("attend", ATTENTIONS)
def test_cls_alone_may_ask_all_tokens_of_its_sentence(attend: Attention, name: str, device: str):
    compare(attend, BATCHES[name], 3, 16, device, torch.float32, cls_only=True)


@pytest.mark.parametrize("head_dim", [1, 4, 20, 32, 64, 100, 128])
@pytest.mark.parametrize("attend", ATTENTIONS)
def test_heads_of_every_width_equal_eager(attend: Attention, head_dim: int, device: str):
    compare(attend, [5, 34, 2], 5, head_dim, device, torch.float32)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_longest_sentences_of_bert_equal_eager(attend: Attention, device: str):
    compare(attend, [512, 1, 300], 1, 16, device, torch.float32)


@pytest.mark.parametrize("attend", ATTENTIONS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any), heads=st.integers(1, 3))
def test_any_lengths_equal_eager(attend: Attention, device: str, lengths: list[int], heads: int):
    compare(attend, lengths, heads, 8, device, torch.float32)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_heads_whose_numbers_lie_apart_are_read_right(attend: Attention, device: str):
    skip_what_cannot_run(attend, device)
    layout = layout_of([4, 9], device)
    tokens = [torch.randn(3, 16, 13, device=device).permute(2, 0, 1) for _ in range(2)]
    tokens.append(torch.randn(13, 16, 3, device=device).transpose(1, 2))
    context = self_attend(attend, tokens, layout)
    wanted = self_attend(eager_attention, tokens, layout)
    torch.testing.assert_close(context, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_gradient_that_comes_in_odd_strides_is_read_right(attend: Attention, device: str):
    skip_what_cannot_run(attend, device)
    keys = layout_of([6], device)
    tokens = torch.randn(6, 3, 2, 16, device=device)
    direction = torch.randn(2, 16, device=device)
    odd = direction.as_strided((1, 2, 16), (0, 16, 1))  # a stride of 0 along the only query counts as contiguous
    _, gradient = run(attend, tokens, keys.first_tokens(), keys, odd)
    _, wanted = run(eager_attention, tokens, keys.first_tokens(), keys, direction.unsqueeze(0))
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_large_scores_do_not_overflow(attend: Attention, device: str):
    skip_what_cannot_run(attend, device)
    layout = layout_of([40, 3], device)
    tokens = [torch.randn(43, 2, 16, device=device) * factor for factor in (100, 100, 1)]
    wanted = self_attend(eager_attention, tokens, layout)
    torch.testing.assert_close(self_attend(attend, tokens, layout), wanted, rtol=0, atol=1e-3)


def dropped_weights(
    attend: Attention, layout: Layout, query: Tensor, key: Tensor, dropout: float, seq: int
) -> tuple[Tensor, Tensor]:
    """(tokens, heads, seq) weights that attention used, and those before dropout. One-hot values read them out."""
    lengths = layout.cu_seqlens.diff().tolist()
    positions = torch.cat([torch.arange(length) for length in lengths]).to(query.device)
    one_hot = torch.eye(seq, device=query.device)[positions].unsqueeze(1).expand(-1, query.shape[1], -1)
    tokens = query, key, one_hot
    return self_attend(attend, tokens, layout, dropout), self_attend(eager_attention, tokens, layout)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_dropout_drops_the_share_asked_for_and_scales_up_the_rest(attend: Attention, device: str):
    skip_what_cannot_run(attend, device)
    layout = layout_of([30, 64, 50], device)
    query, key = (torch.randn(144, 2, 64, device=device) / 4 for _ in range(2))
    used, undropped = dropped_weights(attend, layout, query, key, 0.25, 64)
    real = undropped > 0
    kept = used[real] != 0
    count = kept.numel()
    assert count == 2 * (30**2 + 64**2 + 50**2)
    assert abs(kept.double().mean() - 0.75) < 4 * (0.25 * 0.75 / count) ** 0.5
    torch.testing.assert_close(used[real][kept], undropped[real][kept] / 0.75, rtol=1e-4, atol=1e-6)
    for axis in (0, 1, 2):  # no token, head or key draws the same numbers as its neighbour
        numbers = (used[30:94] != 0).double().narrow(axis, 0, 2)
        first, second = numbers.unbind(axis)
        assert 0.5 < (first == second).double().mean() < 0.75  # 0.625 = 0.75² + 0.25² for independent ones


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_dropout_follows_the_seed_and_differs_from_call_to_call(attend: Attention, device: str):
    skip_what_cannot_run(attend, device)
    layout = layout_of([8, 12], device)
    tokens = torch.randn(3, 20, 2, 16, device=device).unbind()
    torch.manual_seed(1)
    first, second = (self_attend(attend, tokens, layout, 0.5) for _ in range(2))
    torch.manual_seed(1)
    with torch.device("meta"):  # the default device has no say in it
        again = self_attend(attend, tokens, layout, 0.5)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_backward_pass_drops_the_same_weights_as_the_forward_pass(attend: Attention, device: str):
    """The mask, read out with one-hot values, is put into a written-out attention, and autograd does the rest."""
    skip_what_cannot_run(attend, device)
    lengths = [20, 32, 5]
    layout = layout_of(lengths, device)
    query, key, value = (torch.randn(57, 2, 32, device=device, requires_grad=True) for _ in range(3))
    torch.manual_seed(5)
    used, undropped = dropped_weights(attend, layout, query, key, 0.3, 32)
    kept = (used.detach() != 0) / 0.7

    direction = torch.randn(57, 2, 32, device=device)
    torch.manual_seed(5)
    context = self_attend(attend, (query, key, value), layout, 0.3)
    weights = undropped * kept
    padded_value = layout.pad(value)
    row_of_token = torch.repeat_interleave(torch.arange(3, device=device), layout.cu_seqlens.diff())
    wanted = torch.einsum("tnk,tknd->tnd", weights, padded_value[row_of_token])
    torch.testing.assert_close(context, wanted, rtol=0, atol=1e-5)
    gradients = torch.autograd.grad(context, (query, key, value), direction)
    expected = torch.autograd.grad(wanted, (query, key, value), direction)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=0, atol=2e-5)


@pytest.mark.parametrize("attend", ATTENTIONS)
def test_mean_over_many_dropouts_is_the_undropped_context(attend: Attention, device: str):
    skip_what_cannot_run(attend, device)
    times = 200
    sentence = torch.randn(3, 6, 1, 4, device=device)
    tokens = sentence.repeat(1, times, 1, 1).unbind()
    contexts = self_attend(attend, tokens, layout_of([6] * times, device), 0.2).unflatten(0, (times, 6))
    error = contexts.mean(0) - self_attend(attend, sentence.unbind(), layout_of([6], device))
    assert (error / (contexts.std(0) / times**0.5 + 1e-6)).abs().max() < 5


@pytest.mark.parametrize(
    ("queries", "tokens", "tile"), [(1, 1, 16), (5, 5, 2), (16, 16, 16), (33, 33, 16), (1, 40, 8), (7, 3, 50)]
)
def test_algorithm_in_plain_torch_equals_eager(queries: int, tokens: int, tile: int, device: str):
    query, key, value = (
        torch.randn(size, 8, dtype=torch.float64, device=device, requires_grad=True)
        for size in (queries, tokens, tokens)
    )
    direction = torch.randn(queries, 8, dtype=torch.float64, device=device)
    one_head = [tensor.unsqueeze(1) for tensor in (query, key, value)]
    layouts = layout_of([queries], device), layout_of([tokens], device)
    wanted, _ = eager_attention(one_head[0], one_head[1], one_head[2], *layouts)
    with torch.no_grad():
        context, log_sums = flash_forward(query, key, value, tile)
        gradients = flash_backward(query, key, value, context, log_sums, direction, tile)
    expected = torch.autograd.grad(wanted.squeeze(1), (query, key, value), direction)
    torch.testing.assert_close(context, wanted.squeeze(1), rtol=0, atol=1e-10)
    torch.testing.assert_close(log_sums, (query @ key.T / 8**0.5).logsumexp(1), rtol=0, atol=1e-10)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-10)


@needs_triton
def test_model_with_triton_attention_equals_transformers(device: str):
    skip_what_cannot_run(triton_attention, device)
    model = make_model("BertModel", attn_implementation="triton").to(device)
    peer = make_peer(model).to(device)
    batch = {name: tensor.to(device) for name, tensor in make_batch().items()}
    real = batch["attention_mask"].bool()
    ours, theirs = model(**batch), peer(**batch)
    torch.testing.assert_close(ours.last_hidden_state[real], theirs.last_hidden_state[real], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, rtol=0, atol=1e-5)


def test_attention_probabilities_are_shown_whatever_the_implementation(device: str):
    model = make_model("BertModel", attn_implementation="packed").to(device)
    batch = {name: tensor.to(device) for name, tensor in make_batch().items()}
    shown = model(**batch, output_attentions=True)
    assert [tuple(layer.shape) for layer in shown.attentions] == [(4, 5, 16, 16)] * SMALL.num_hidden_layers
    torch.testing.assert_close(shown.pooler_output, model(**batch).pooler_output, rtol=0, atol=1e-5)


def test_long_and_uneven_sentences_are_attended_one_by_one_and_short_ones_together(
    device: str, monkeypatch: pytest.MonkeyPatch
):
    if device == "cuda":
        pytest.skip("on CUDA nothing depends on the lengths")
    calls: list[list[int]] = []

    def record(query: Tensor, key: Tensor, value: Tensor, asked: list[int], lengths: list[int], *_: object) -> Tensor:
        calls.append(lengths)
        return query

    monkeypatch.setattr(packed, "attend_one_by_one", record)
    for lengths, alone in [([300, 2, 2], True), ([6, 5, 3], False), ([200, 200], False), ([20, 19], False)]:
        layout = layout_of(lengths, device)
        self_attend(packed_attention, torch.randn(3, sum(lengths), 1, 4).unbind(), layout)
        assert calls == ([lengths] if alone else []), lengths
        calls.clear()


@pytest.mark.parametrize(
    ("lengths", "dtype", "trained", "dropout", "way"),
    [
        ([200, 200], torch.bfloat16, True, 0.0, "by hand"),
        ([200, 200], torch.bfloat16, False, 0.0, "by hand"),
        ([200, 200], torch.float32, True, 0.1, "by hand"),
        ([200, 200], torch.float32, True, 0.0, "sdpa"),
        ([300, 2, 2], torch.float32, True, 0.0, "flash"),
        ([128] * 16, torch.bfloat16, True, 0.0, "eager"),
        ([128, 60, 60, 60], torch.bfloat16, True, 0.1, "by hand"),
        ([60, 20, 20], torch.bfloat16, True, 0.0, "eager"),
        ([60, 20, 20], torch.float32, True, 0.1, "by hand"),
        ([60, 2, 2], torch.bfloat16, False, 0.0, "flash"),
        ([6, 6], torch.bfloat16, True, 0.0, "eager"),
        ([600, 600], torch.bfloat16, True, 0.0, "sdpa"),
        ([6, 6], torch.bfloat16, False, 0.0, "sdpa"),
        ([6, 6], torch.float32, True, 0.1, "eager"),
    ],
)
def test_attention_is_written_out_where_that_is_faster(
    device: str,
    lengths: list[int],
    dtype: torch.dtype,
    trained: bool,
    dropout: float,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
):
    if device == "cuda":
        pytest.skip("a rule for the CPU")
    monkeypatch.setattr(packed, "HAS_BF16_UNITS", True)
    taken = set()

    def one_by_one(query: Tensor, *others: object) -> Tensor:
        taken.add("by hand" if others[4] else "flash")
        return query

    def padded(name: str, query: Tensor, *_: object) -> tuple[Tensor, None]:
        taken.add(name)
        return query, None

    monkeypatch.setattr(packed, "attend_one_by_one", one_by_one)
    monkeypatch.setattr(packed, "eager_attention", partial(padded, "eager"))
    monkeypatch.setattr(packed, "sdpa_attention", partial(padded, "sdpa"))
    tokens = torch.randn(3, sum(lengths), 1, 4, dtype=dtype, requires_grad=trained).unbind()
    self_attend(packed_attention, tokens, layout_of(lengths, device), dropout)
    assert taken == {way}
    monkeypatch.setattr(packed, "HAS_BF16_UNITS", False)
    taken.clear()
    self_attend(packed_attention, tokens, layout_of(lengths, device), 0.0)
    assert taken <= {"flash", "sdpa"}


def test_user_is_told_once_what_dropout_costs(device: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "minibert"):
        packed._tell_once(0.5)
        packed._tell_once(0.5)
    assert len(caplog.records) == 1
    assert "has no dropout, and the config asks for 0.5" in caplog.text
    assert "attn_implementation='triton'" in caplog.text


def test_kernel_without_dropout_is_not_taken_with_it(device: str, caplog: pytest.LogCaptureFixture):
    if device == "cpu" or not packed.HAS_VARLEN:
        pytest.skip("only a GPU's packed kernel lacks dropout")
    layout = layout_of([8, 3], device)
    tokens = torch.randn(3, 11, 2, 16, device=device, dtype=torch.bfloat16).unbind()
    with caplog.at_level(logging.WARNING, "minibert"):
        first, second = (self_attend(packed_attention, tokens, layout, 0.5) for _ in range(2))
    assert not torch.equal(first, second)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("head_dim", "dtype", "takes_nested"),
    [
        (64, torch.float32, True),
        (64, torch.bfloat16, True),
        (4, torch.bfloat16, False),
        (20, torch.float32, False),
        (64, torch.float64, False),
    ],
)
def test_nested_tensors_are_taken_only_where_torch_has_a_fused_kernel_for_them(
    head_dim: int, dtype: torch.dtype, takes_nested: bool, device: str, monkeypatch: pytest.MonkeyPatch
):
    """Tensors without values stand for those on a GPU."""
    taken: list[str] = []
    for name in ("nested_attention", "sdpa_attention"):
        monkeypatch.setattr(packed, name, lambda *_, name=name: taken.append(name))
    monkeypatch.setattr(packed, "HAS_VARLEN", False)
    layout = layout_of([5, 3], "cpu")
    with FakeTensorMode():
        query = torch.empty(8, 2, head_dim, device="cuda", dtype=dtype)
        packed_attention(query, query, query, layout, layout)
    assert taken == ["nested_attention" if takes_nested else "sdpa_attention"]


def test_nested_rows_of_a_layout_have_the_same_shape_each_time(device: str):
    """Or activation checkpointing, which computes blocks a second time, takes them for other tensors and refuses."""
    layout = layout_of([5, 3], device)
    with torch.inference_mode():
        first = nested._rows(torch.randn(8, 2, 16, device=device), layout).shape
    tokens = torch.randn(3, 8, 2, 16, device=device, requires_grad=True).unbind()
    assert nested._rows(tokens[0], layout).shape == first
    self_attend(nested_attention, tokens, layout).sum().backward()


@pytest.mark.parametrize("name", ["sdpa", "packed", pytest.param("triton", marks=needs_triton), "auto"])
def test_activation_checkpointing_changes_no_gradient(name: str, device: str):
    skip_what_cannot_run(get_attention(name), device)
    config = SMALL.replace(hidden_size=80)  # see below
    model = make_model("BertModel", config, name).to(device).train()
    batch = model.pack(**{key: tensor.to(device) for key, tensor in make_batch().items()})
    gradients = []
    for _ in range(2):
        torch.manual_seed(3)
        output = model(batch, read=batch.cls_layout).last_hidden_state
        gradients.append(torch.autograd.grad(output.square().sum(), list(model.blocks.parameters())))
        checkpoint_activations(model)
    for gradient, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["sdpa", "packed", "triton", "auto"])
def test_encoder_does_not_wait_for_the_gpu(name: str, device: str):
    if device == "cpu":
        pytest.skip("a CPU waits for nobody")
    config = SMALL.replace(hidden_size=80)  # heads of 16 numbers: for those of 4, torch has no fused kernel
    model = make_model("BertModel", config, name).to(device, torch.bfloat16).train()
    batch = model.pack(**{key: tensor.to(device) for key, tensor in make_batch().items()})
    model.encode(batch)  # compiles kernels and fills caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.encode(batch).last_hidden_state.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


class TestRefusals:
    def test_missing_triton_is_told_with_what_to_do(self, device: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"not installed: pip install triton .* attn_implementation='packed'"):
            get_attention("triton")

    @needs_triton
    def test_triton_on_a_cpu_without_its_interpreter_is_refused(self, device: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        layout = layout_of([2], "cpu")
        with pytest.raises(InputError, match=r"needs a CUDA device: the model is on cpu.*TRITON_INTERPRET=1"):
            self_attend(triton_attention, torch.randn(3, 2, 1, 16).unbind(), layout)

    def test_triton_on_a_gpu_that_it_does_not_know_is_refused(self, device: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
        with FakeTensorMode():  # stands for a tensor on a GPU
            query = torch.empty(2, 1, 64, device="cuda", dtype=torch.float16)
        with pytest.raises(InputError, match=r"compute capability 8.0 \(Ampere\) or newer.*: found 7.5.*'sdpa'"):
            check_fit(query)

    @needs_triton
    @pytest.mark.parametrize(
        ("head_dim", "dtype", "message"),
        [
            (16, torch.float64, r"computes in bfloat16, float16 and float32: found torch.float64.*'sdpa'"),
            (129, torch.float32, r"heads of at most 128 numbers: found 129.*'sdpa'"),
        ],
    )
    def test_what_the_kernels_cannot_do_is_refused(self, head_dim: int, dtype: torch.dtype, message: str, device: str):
        skip_what_cannot_run(triton_attention, device)
        layout = layout_of([2], device)
        with pytest.raises(InputError, match=message):
            self_attend(triton_attention, torch.randn(3, 2, 1, head_dim, device=device, dtype=dtype).unbind(), layout)


def test_auto_can_do_whatever_is_asked(device: str):
    compare(IMPLEMENTATIONS["auto"], [5, 0, 300], 2, 3, device, torch.float64)
