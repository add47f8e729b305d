"""TensorFlow's checkpoints: those that TensorFlow wrote, those written here, and those that nobody should write."""

from __future__ import annotations

import filecmp
import itertools
import os
import random
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minibert.checkpoints.tensorflow import (
    crc32c,
    folders,
    format_v1,
    is_prefix,
    model_variables,
    open_checkpoint,
    write_checkpoint,
)
from minibert.checkpoints.tensorflow.folders import Folder, OpenFile
from minibert.checkpoints.tensorflow.slices import (
    EVERYTHING,
    Piece,
    check_tiling,
    signed_code,
    slice_key,
    unsigned_code,
)
from minibert.checkpoints.tensorflow.table import Table, write_table
from minibert.checkpoints.tensorflow.wire import Span, fixed32_field, message_field, number_field, varint
from minibert.errors import InputError

Extents = Sequence[tuple[int, int]]

SMALL: dict[str, np.ndarray[Any, Any]] = {
    "bert/pooler/dense/bias": np.arange(6, dtype=np.float32),
    "bert/pooler/dense/kernel": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "cls/empty": np.zeros((0, 3), np.float32),
    "cls/half": np.array([1.5, -2], np.float16),
    "global_step": np.array(2**40, np.int64),
}


def span(data: bytes) -> Span:
    return Span(memoryview(data), "a file", 100)


def assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    assert list(found) == sorted(wanted)
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        assert found[name].tobytes() == values.tobytes(), name


def read_all(path: Path) -> dict[str, Any]:
    """Everything in a checkpoint, by name, read in the order of the files."""
    with open_checkpoint(path) as checkpoint:
        return dict(sorted(checkpoint.stream()))


# --- hand-made checkpoints ---


def shape_message(shape: Sequence[int]) -> bytes:
    return b"".join(message_field(2, number_field(1, size % 2**64)) for size in shape)


def slice_message(extents: Extents) -> bytes:
    fields = (
        b"" if extent == EVERYTHING else number_field(1, extent[0] % 2**64) + number_field(2, extent[1] % 2**64)
        for extent in extents
    )
    return b"".join(message_field(1, field) for field in fields)


def entry(
    element_type: int = 1,
    shape: Sequence[int] = (2,),
    file_number: int = 0,
    offset: int = 0,
    size: int = 8,
    checksum: int = 0,
    slices: Iterable[Extents] = (),
) -> bytes:
    """An entry of a V2 index."""
    return (
        number_field(1, element_type)
        + message_field(2, shape_message(shape))
        + number_field(3, file_number)
        + number_field(4, offset % 2**64)
        + number_field(5, size % 2**64)
        + fixed32_field(6, checksum)
        + b"".join(message_field(7, slice_message(extents)) for extents in slices)
    )


HEADER = number_field(1, 1)
TWO_FLOATS = np.array([1, 2], np.float32)
TWO_FLOATS_CHECKSUM = crc32c.masked_crc32c(TWO_FLOATS.tobytes())


def write_v2(folder: Path, records: Mapping[bytes, bytes], data: bytes = TWO_FLOATS.tobytes(), header: bytes = HEADER):
    """A V2 checkpoint with these entries and one data file."""
    with (folder / "m.ckpt.index").open("wb") as file:
        write_table(file, [(b"", header), *sorted(records.items())])
    (folder / "m.ckpt.data-00000-of-00001").write_bytes(data)
    return folder / "m.ckpt"


def v1_variable(name: str, shape: Sequence[int], element_type: int, slices: Iterable[Extents]) -> bytes:
    """What the list in a V1 file says of a variable."""
    return (
        message_field(1, name.encode())
        + message_field(2, shape_message(shape))
        + number_field(3, element_type)
        + b"".join(message_field(4, slice_message(extents)) for extents in slices)
    )


def write_v1(
    folder: Path, variables: Iterable[bytes], tensors: Mapping[bytes, bytes], name: str = "bert_model.ckpt"
) -> Path:
    """A V1 checkpoint, or a part of one: the list of its variables, and a `TensorProto` for each key."""
    listed = message_field(1, b"".join(message_field(1, variable) for variable in variables))
    records = {key: message_field(2, message_field(3, tensor)) for key, tensor in tensors.items()}
    with (folder / name).open("wb") as file:
        write_table(file, [(b"", listed), *sorted(records.items())])
    return folder / name


def write_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small checkpoint of format V2, as TensorFlow would write it."""
    folder = tmp_path / "small"
    write_checkpoint(folder / "bert_model.ckpt", SMALL)
    return folder


@pytest.fixture
def small_v1(tmp_path: Path) -> Path:
    """A small checkpoint of format V1 with a variable in two slices: a = [1, 2], b = [[1, 2], [1, 2]]."""
    two_floats = message_field(5, TWO_FLOATS.tobytes())
    rows: list[Extents] = [[(0, 1), EVERYTHING], [(1, 1), EVERYTHING]]
    return write_v1(
        tmp_path,
        [v1_variable("a", [2], 1, [[EVERYTHING]]), v1_variable("b", [2, 2], 1, rows)],
        {slice_key("a", [EVERYTHING]): two_floats, **{slice_key("b", row): two_floats for row in rows}},
    )


# --- checksums ---


def schoolbook(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (crc32c.POLYNOMIAL if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"", 0),
    ],
)
def test_checksums_are_those_of_rfc_3720(data: bytes, checksum: int):
    assert crc32c.crc32c(data) == checksum


@pytest.mark.parametrize("size", [1, 7, 8, 9, 2320, 2327, 2328, 54216, 54224, 54300, 70_001])
def test_the_fast_checksum_equals_the_schoolbook_loop_around_every_change_of_method(size: int):
    data = random.Random(size).randbytes(size)
    assert crc32c.crc32c(data) == schoolbook(data)


def test_a_checksum_goes_on_from_chunk_to_chunk(monkeypatch: pytest.MonkeyPatch):
    data = random.Random(0).randbytes(10_007)
    whole = crc32c.crc32c(data)
    monkeypatch.setattr(crc32c, "CHUNK", 1001)
    assert crc32c.crc32c(data) == whole == schoolbook(data)


@pytest.mark.parametrize("multiple", crc32c.SPARSE_MULTIPLES)
def test_sparse_multiples_are_multiples_of_the_polynomial(multiple: tuple[int, ...]):
    polynomial = int(f"{crc32c.POLYNOMIAL:032b}"[::-1], 2) | 1 << 32
    remainder = sum(1 << 64 * exponent for exponent in multiple)
    while remainder.bit_length() > 32:
        remainder ^= polynomial << remainder.bit_length() - 33
    assert remainder == 0


def test_a_checksum_needs_constant_memory():
    data = bytes(24 << 20)
    tracemalloc.start()
    crc32c.crc32c(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * crc32c.CHUNK


# --- numbers, messages, keys ---


def test_a_varint_has_seven_bits_a_byte_lowest_first():
    assert varint(300) == bytes([0b1_0101100, 0b0_0000010])
    assert varint(0) == b"\0"


@given(st.integers(0, 2**64 - 1))
def test_varints_survive_a_round_trip(value: int):
    assert span(varint(value)).varint() == value


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x80", "byte 101: the bytes end in the middle of a number"),
        (b"\xff" * 9 + b"\x02", "byte 110: a number does not fit in 64 bits"),
        (b"\xff" * 11, "byte 110: a number does not fit in 64 bits"),
    ],
)
def test_a_broken_number_is_reported_with_its_place(data: bytes, problem: str):
    with pytest.raises(InputError, match=f"a file, {problem}"):
        span(data).varint()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x0a\x05abc", "byte 102: 5 bytes are announced, but only 3 are left"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "18446744073709551615 bytes are announced"),
        (b"\x0b", "field 1 is of kind 3"),
        (b"\x0d\x01\x02", "4 bytes are announced, but only 2"),
        (b"\x10\x01" * 20_001, "more than 20000 fields"),
    ],
)
def test_a_broken_message_is_reported_with_its_place(data: bytes, problem: str):
    with pytest.raises(InputError, match=problem):
        list(span(data).fields())


def test_a_field_of_the_wrong_kind_is_an_error():
    with pytest.raises(InputError, match="field 1 should be a number, but it holds 3 bytes"):
        span(message_field(1, b"abc")).integer(1)
    with pytest.raises(InputError, match="field 1 should hold bytes, but it is the number 7"):
        span(number_field(1, 7)).message(1)


def test_integers_are_signed_and_zero_when_left_out():
    assert span(number_field(3, 2**64 - 5)).integer(3) == -5
    assert span(b"").integer(3) == 0


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, "80"), (63, "bf"), (64, "c040"), (-1, "7f"), (-64, "40"), (-65, "3fbf"), (667, "c29b"), (1334, "c536")],
)
def test_signed_numbers_in_keys_by_hand(value: int, code: str):
    assert signed_code(value).hex() == code


@given(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)))
def test_slice_keys_sort_as_what_they_spell(first: tuple[str, int], second: tuple[str, int]):
    keys = [slice_key(name, [(start, 1)]) for name, start in (first, second)]
    assert (keys[0] < keys[1]) == (first < second)


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_unsigned_numbers_in_keys_sort_as_numbers(first: int, second: int):
    assert (unsigned_code(first) < unsigned_code(second)) == (first < second)


def pieces(*boxes: tuple[tuple[int, ...], tuple[int, ...]]) -> list[Piece]:
    return [Piece(b"", (0, 0), start, shape) for start, shape in boxes]


def test_slices_that_tile_a_variable_like_a_pinwheel_are_accepted():
    pinwheel = pieces(((0, 0), (1, 2)), ((0, 2), (2, 1)), ((2, 1), (1, 2)), ((1, 0), (2, 1)), ((1, 1), (1, 1)))
    check_tiling(pinwheel, (3, 3), span(b""))


@pytest.mark.parametrize(
    ("boxes", "problem"),
    [
        ([((0,), (3,)), ((2,), (2,))], "overlaps another one"),
        ([((0,), (2,)), ((3,), (1,))], "in none of its slices"),
        ([((1,), (3,))], "in none of its slices"),
        ([((0,), (3,))], "in none of its slices"),
        ([], "in none of its slices"),
    ],
)
def test_slices_that_leave_a_gap_or_overlap_are_refused(boxes: list[Any], problem: str):
    with pytest.raises(InputError, match=problem):
        check_tiling(pieces(*boxes), (4,), span(b""))


# --- the table ---


@settings(deadline=None)
@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=60), max_size=60))
@example({bytes([i // 256, i % 256]) * 20: bytes(300) for i in range(2000)})  # several blocks
@example({b"large": bytes(600_000), b"larger": bytes(600_000), b"small": b""})
@example({b"\xff" * length: b"" for length in range(1, 20)})
def test_a_table_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, records: dict[bytes, bytes]):
    path = tmp_path_factory.mktemp("table") / "table"
    with path.open("wb") as file:
        write_table(file, sorted(records.items()))
    table = Table(Folder(path.parent).open("table"))
    assert [(key, bytes(value.data)) for key, value in table] == sorted(records.items())
    for key in list(records)[::50]:
        handle = table.handle(key)
        assert handle is not None
        assert bytes(dict(table.block(handle))[key].data) == records[key]


def test_a_table_of_tensorflow_is_written_again_byte_for_byte(google_dir: Path, tmp_path: Path):
    """The V1 file has blocks of many entries and blocks of one large one, and shortened keys between them."""
    source = Folder(google_dir / "v1").open("bert_model.ckpt")
    with (tmp_path / "table").open("wb") as file:
        write_table(file, ((key, bytes(value.data)) for key, value in Table(source)))
    assert filecmp.cmp(tmp_path / "table", google_dir / "v1" / "bert_model.ckpt", shallow=False)


def trailer(block: bytes, compression: int = 0) -> bytes:
    content = block + bytes([compression])
    return content + crc32c.masked_crc32c(content).to_bytes(4, "little")


def table_entry(shared: int, rest: bytes, value: bytes) -> bytes:
    return varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value


def restarts(*places: int) -> bytes:
    return b"".join(place.to_bytes(4, "little") for place in (*places, len(places)))


def write_blocks(path: Path, *blocks: bytes, handles: Sequence[tuple[int, int]] | None = None) -> Path:
    """A table of these blocks, entries and restarts, whatever they are."""
    content = b""
    found = []
    for block in blocks:
        found.append((len(content), len(block)))
        content += trailer(block)
    rows = [table_entry(0, bytes([i]) * 9, varint(a) + varint(b)) for i, (a, b) in enumerate(handles or found, 255 - 9)]
    index = b"".join(rows) + restarts(0)
    footer = varint(0) + varint(0) + varint(len(content)) + varint(len(index))
    path.write_bytes(content + trailer(index) + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"))
    return path


ONE_KEY = table_entry(0, b"a", b"x") + restarts(0)


@pytest.mark.parametrize(
    ("blocks", "handles", "problem"),
    [
        ([table_entry(3, b"a", b"")], None, r"announces \d+ restarts"),
        ([table_entry(3, b"a", b"") + restarts(0)], None, "shares 3 bytes with a key of 0"),
        ([table_entry(0, b"b", b"") + table_entry(0, b"a", b"") + restarts(0)], None, "keys are to rise"),
        ([ONE_KEY, ONE_KEY], None, "keys are to rise"),
        ([b"\0\x7f\0" + restarts(0)], None, "127 bytes are announced, but only 0 are left"),
        ([ONE_KEY + b"\xff\xff\xff\xff"], None, "announces 4294967295 restarts"),
        ([ONE_KEY], [(0, len(ONE_KEY)), (0, len(ONE_KEY))], "begin at byte 0, inside the one before"),
        ([ONE_KEY], [(0, 2**63)], "bytes from byte 0 on are needed"),
        ([ONE_KEY], [(2**64 - 1, 2)], "bytes from byte 18446744073709551615 on are needed"),
        ([ONE_KEY], [(1, len(ONE_KEY))], "a block has the checksum"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, blocks: list[bytes], handles: Any, problem: str):
    write_blocks(tmp_path / "table", *blocks, handles=handles)
    with pytest.raises(InputError, match=rf"table, byte \d+: .*{problem}"):
        list(Table(Folder(tmp_path).open("table")))


def test_keys_that_spell_out_much_more_than_the_file_holds_are_refused(tmp_path: Path):
    block = table_entry(0, bytes(50_000), b"")
    block += b"".join(table_entry(49_000, i.to_bytes(4, "big"), b"") for i in range(1, 2000))
    write_blocks(tmp_path / "table", block + restarts(0))
    with pytest.raises(InputError, match="the keys of a block of"):
        list(Table(Folder(tmp_path).open("table")))


def test_a_compressed_block_is_refused_by_name(tmp_path: Path):
    content = bytearray(write_blocks(tmp_path / "table", ONE_KEY).read_bytes())
    content[: len(ONE_KEY) + 5] = trailer(ONE_KEY, compression=1)
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(InputError, match="table, byte 0: a block is compressed by snappy"):
        list(Table(Folder(tmp_path).open("table")))


# --- what TensorFlow wrote ---


@pytest.mark.parametrize("variant", ["sharded", "v1", "partitioned"])
def test_every_variant_of_the_format_holds_the_same_values(google_dir: Path, variant: str):
    with open_checkpoint(google_dir) as plain, open_checkpoint(google_dir / variant) as checkpoint:
        assert len(checkpoint) == (5 if variant == "partitioned" else 46)
        for name, values in checkpoint.stream():
            assert checkpoint.shape(name) == values.shape == plain.shape(name)
            assert checkpoint.dtype(name) == values.dtype == plain.dtype(name)
            assert values.tobytes() == plain[name].tobytes() == checkpoint[name].tobytes()


def test_embeddings_read_here_give_what_googles_code_computed_from_them(google_dir: Path):
    golden = np.load(google_dir / "golden.npz")
    with open_checkpoint(google_dir) as weights:
        prefix = "bert/embeddings"
        summed = (
            weights[f"{prefix}/word_embeddings"][golden["in/input_ids"]]
            + weights[f"{prefix}/token_type_embeddings"][golden["in/segment_ids"]]
            + weights[f"{prefix}/position_embeddings"][:24]
        )
        centred = summed - summed.mean(-1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        output = normed * weights[f"{prefix}/LayerNorm/gamma"] + weights[f"{prefix}/LayerNorm/beta"]
    np.testing.assert_allclose(output, golden["out/embedding_output"], atol=1e-5)


def test_a_training_checkpoint_gives_variables_moments_and_step(google_dir: Path):
    with open_checkpoint(google_dir / "train") as checkpoint, open_checkpoint(google_dir) as plain:
        assert len(checkpoint) == 139
        assert checkpoint["global_step"] == 8
        assert checkpoint.dtype("global_step") == np.int64
        assert model_variables(checkpoint) == list(plain)


@pytest.mark.parametrize("variant", [".", "train"])
def test_what_tensorflow_wrote_is_written_again_byte_for_byte(google_dir: Path, tmp_path: Path, variant: str):
    with open_checkpoint(google_dir / variant) as checkpoint:
        prefix = tmp_path / ("bert_model.ckpt" if variant == "." else "model.ckpt-8")
        write_checkpoint(prefix, checkpoint)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"checkpoint", f"{prefix.name}.index", f"{prefix.name}.data-00000-of-00001"}
    for name in written:
        assert filecmp.cmp(tmp_path / name, google_dir / variant / name, shallow=False), name


# --- finding it ---


@pytest.mark.parametrize(
    "name", ["", "checkpoint", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_a_checkpoint_is_found_by_folder_prefix_and_each_of_its_files(small: Path, name: str):
    assert_same(read_all(small / name), SMALL)
    with open_checkpoint(str(small / name)) as checkpoint:
        assert checkpoint.path == small / name
        assert_same(checkpoint, SMALL)


def test_only_a_prefix_is_called_a_prefix(small: Path):
    assert is_prefix(str(small / "bert_model.ckpt"))
    assert not is_prefix(small)
    assert not is_prefix(small / "bert_model.ckpt.index")
    assert not is_prefix(small / "other")


def rename(folder: Path, name: str) -> None:
    for path in list(folder.glob("bert_model.ckpt*")):
        path.rename(folder / path.name.replace("bert_model.ckpt", name))


@pytest.mark.parametrize(
    "state",
    [
        'model_checkpoint_path: "model.ckpt-7"\nall_model_checkpoint_paths: "model.ckpt-3"\n',
        'model_checkpoint_path: "/home/someone/else/model.ckpt-7"\n',
        'all_model_checkpoint_paths: "model.ckpt-3"\nmodel_checkpoint_path: "C:\\\\runs\\\\model.ckpt-7"\n',
    ],
)
def test_the_latest_of_several_checkpoints_is_the_one_that_is_named(small: Path, state: str):
    rename(small, "model.ckpt-7")
    write_checkpoint(small / "model.ckpt-3", {"old": TWO_FLOATS})
    (small / "checkpoint").write_text(state)
    assert_same(read_all(small), SMALL)


def test_several_checkpoints_of_which_none_is_named_are_an_error(small: Path):
    rename(small, "a.ckpt")
    write_checkpoint(small / "b.ckpt", SMALL)
    (small / "checkpoint").write_text('model_checkpoint_path: "gone"')
    with pytest.raises(InputError, match=r"several checkpoints: a\.ckpt, b\.ckpt\. Give the one"):
        open_checkpoint(small)


def test_the_only_index_is_found_under_any_name(small: Path):
    rename(small, "x")
    (small / "checkpoint").unlink()
    assert_same(read_all(small), SMALL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
@pytest.mark.parametrize("name", ["gewichte-ä.ckpt", 'quote".ckpt', "line\nbreak", "模型"])
def test_odd_names_survive_in_the_state_file(tmp_path: Path, name: str):
    write_checkpoint(tmp_path / "other", {"other": TWO_FLOATS})
    write_checkpoint(tmp_path / name, SMALL)
    assert_same(read_all(tmp_path), SMALL)


def test_a_v1_file_is_found_in_its_folder_and_by_itself(small_v1: Path):
    wanted = {"a": TWO_FLOATS, "b": np.array([[1, 2], [1, 2]], np.float32)}
    assert_same(read_all(small_v1), wanted)
    assert_same(read_all(small_v1.parent), wanted)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing", "There is no TensorFlow checkpoint at .*nothing: neither nothing.index nor"),
        ("x.index", "The file x.index is needed in .*, but there is no such file"),
        ("empty", "holds no TensorFlow checkpoint; it holds nothing"),
        ("a" * 300, "There is no TensorFlow checkpoint|cannot be opened"),
        ("nul\0", "There is no TensorFlow checkpoint"),
    ],
)
def test_a_path_without_a_checkpoint_is_a_sentence(tmp_path: Path, name: str, problem: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=problem):
        open_checkpoint(tmp_path / name)


SOMETHING_ELSE = [
    (b"", "is empty"),
    (b"<!DOCTYPE html>\n<html>404", "is a web page, so its download went wrong"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "is a Git LFS pointer.*git lfs pull"),
    (b"short", "has 5 bytes"),
]


@pytest.mark.parametrize("size", [0, 200])
@pytest.mark.parametrize(("content", "problem"), SOMETHING_ELSE)
@pytest.mark.parametrize("name", ["bert_model.ckpt", "bert_model.ckpt.index"])
def test_a_table_that_is_something_else_is_called_by_its_name(
    tmp_path: Path, name: str, content: bytes, problem: str, size: int
):
    (tmp_path / name).write_bytes(content.ljust(size) if content[5:] else content)
    with pytest.raises(InputError, match=rf"(?s){name}, byte \d+: .*{problem}"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(("content", "problem"), SOMETHING_ELSE)
def test_a_data_file_that_is_something_else_is_called_by_its_name(small: Path, content: bytes, problem: str):
    (small / "bert_model.ckpt.data-00000-of-00001").write_bytes(content)
    with pytest.raises(InputError, match=rf"data-00000-of-00001, byte {len(content)}: 84 bytes .*{problem}"):
        open_checkpoint(small)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["folder", "pipe", "missing"])
def test_a_data_file_that_is_no_file_is_refused_and_not_waited_for(small: Path, kind: str):
    path = small / "bert_model.ckpt.data-00000-of-00001"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    wanted = "there is no such file" if kind == "missing" else "that is no regular file"
    with pytest.raises(InputError, match=rf"data-00000-of-00001 is needed in .*small, but {wanted}"):
        open_checkpoint(small)


def test_texts_beside_a_checkpoint_are_read(small: Path, monkeypatch: pytest.MonkeyPatch):
    (small / "vocab.txt").write_text("[PAD]\nä\n", encoding="utf-8")
    (small / "latin").write_bytes(b"a\xe4")
    with open_checkpoint(small) as checkpoint:
        assert checkpoint.read_text("vocab.txt") == "[PAD]\nä\n"
        assert checkpoint.read_text("bert_config.json") is None
        with pytest.raises(InputError, match="latin, byte 1: this is no text in UTF-8"):
            checkpoint.read_text("latin")
        monkeypatch.setattr(folders, "LARGEST_TEXT", 5)
        with pytest.raises(InputError, match=r"vocab\.txt has 9 bytes; a text of at most 5 is read"):
            checkpoint.read_text("vocab.txt")


# --- zips ---


def zipped(folder: Path, inner: str = "uncased_L-1/", others: Mapping[str, bytes] = {}) -> Path:
    files = {inner + path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return write_zip(folder.with_suffix(".zip"), {**files, **others})


@pytest.mark.parametrize("inner", ["", "uncased_L-12_H-768_A-12/", "a/b/"])
def test_a_zip_is_read_in_place(small: Path, inner: str):
    (small / "bert_config.json").write_text("{}")
    path = zipped(small, inner)
    shutil.rmtree(small)
    with open_checkpoint(path) as checkpoint:
        assert_same(checkpoint, SMALL)
        assert checkpoint.read_text("bert_config.json") == "{}"
        assert checkpoint.read_text("vocab.txt") is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_v1_file_in_a_zip_is_read(small_v1: Path):
    path = write_zip(small_v1.parent / "v1.zip", {"x/bert_model.ckpt": small_v1.read_bytes()})
    assert_same(read_all(path), read_all(small_v1))


def test_a_zip_made_on_a_mac_is_read(small: Path):
    shadows = {f"__MACOSX/uncased_L-1/._{path.name}": b"shadow" for path in small.iterdir()}
    assert_same(read_all(zipped(small, others={**shadows, ".DS_Store": b""})), SMALL)


def test_a_stream_reads_every_file_from_front_to_back_and_once(small: Path, monkeypatch: pytest.MonkeyPatch):
    stretches: list[tuple[int, int]] = []
    read = OpenFile.read

    def recording_read(file: OpenFile, offset: int, size: int) -> memoryview:
        if ".data-" in file.name:
            stretches.append((offset, offset + size))
        return read(file, offset, size)

    with open_checkpoint(zipped(small)) as checkpoint:
        monkeypatch.setattr(OpenFile, "read", recording_read)
        assert len(list(checkpoint.stream(reversed(list(checkpoint))))) == len(SMALL)
    assert stretches[0][0] == 0
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(stretches))


def test_a_zip_with_no_checkpoint_or_with_two_is_refused(tmp_path: Path, small: Path):
    with pytest.raises(InputError, match=r"none\.zip should hold one TensorFlow checkpoint, but holds none"):
        open_checkpoint(write_zip(tmp_path / "none.zip", {"archive/data.pkl": b""}))
    twice = {f"{inner}/{path.name}": path.read_bytes() for path in small.iterdir() for inner in "ab"}
    with pytest.raises(InputError, match="should hold one TensorFlow checkpoint, but holds 2 of them, in a, b"):
        open_checkpoint(write_zip(tmp_path / "two.zip", twice))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"<html>404", "is a web page"), (b"PK\3\4" + bytes(100), "has 104 bytes")],
)
def test_a_broken_zip_says_what_it_is(tmp_path: Path, content: bytes, problem: str):
    (tmp_path / "release.zip").write_bytes(content)
    with pytest.raises(InputError, match=rf"release.zip cannot be read as a zip .*: the file {problem}"):
        open_checkpoint(tmp_path / "release.zip")


def link(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = 0o120777 << 16


def encrypted(entry: zipfile.ZipInfo) -> None:
    entry.flag_bits |= 1


def named(name: str) -> Callable[[zipfile.ZipInfo], None]:
    def change(entry: zipfile.ZipInfo) -> None:
        entry.filename = name

    return change


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (named("../../x"), "its name is no plain path inside the zip"),
        (named("/etc/passwd"), "its name is no plain path inside the zip"),
        (named("a/../../x"), "its name is no plain path inside the zip"),
        (named(""), "its name is no plain path inside the zip"),
        (named("C:\\x"), "its name is no plain path inside the zip"),
        (named("uncased_L-1/bert_model.ckpt.index"), "its name occurs twice"),
        (named("uncased_L-1/./bert_model.ckpt.index"), "its name occurs twice"),
        (link, "it is a link"),
        (encrypted, "it is encrypted"),
    ],
)
def test_a_zip_that_is_up_to_something_is_refused(small: Path, change: Callable[[zipfile.ZipInfo], None], problem: str):
    path = zipped(small)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("extra", b"1234")
        change(archive.infolist()[-1])  # the directory at the end of the zip is written from this
    with pytest.raises(InputError, match=f"small.zip: the entry .* is refused, for {problem}"):
        open_checkpoint(path)


def test_other_compressions_than_deflate_are_refused(tmp_path: Path):
    path = write_zip(tmp_path / "x.zip", {"m.ckpt.index": b"x" * 100}, zipfile.ZIP_BZIP2)
    with pytest.raises(InputError, match="it is compressed by method 12, and only deflate is read"):
        open_checkpoint(path)


def test_a_compression_bomb_is_refused_unopened(tmp_path: Path):
    path = write_zip(tmp_path / "x.zip", {"m.ckpt.index": b"", "m.ckpt.data-00000-of-00001": bytes(1 << 24)})
    with pytest.raises(
        InputError, match=r"data-00000-of-00001' is refused, for it claims to hold 16777216 bytes in \d+"
    ):
        open_checkpoint(path)


def test_entries_that_share_their_bytes_are_refused(small: Path):
    path = zipped(small)
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.infolist()[0]
        for number in range(100):
            twin = zipfile.ZipInfo(f"twin{number}")
            for attribute in ("compress_size", "file_size", "CRC", "header_offset"):
                setattr(twin, attribute, getattr(first, attribute))
            archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"small.zip claims to hold more bytes than it has"):
        open_checkpoint(path)


# --- the index says something impossible ---

ROWS: list[Extents] = [[(0, 1), (0, 2)], [(1, 1), (0, 2)]]


def rows_of(name: str, **changes: Any) -> dict[bytes, bytes]:
    """Entries of a variable of shape [2, 2], saved in two rows; `changes` are made to that of the second row."""
    second: dict[str, Any] = {"shape": (1, 2), "offset": 8, "checksum": TWO_FLOATS_CHECKSUM} | changes
    return {
        name.encode(): entry(shape=(2, 2), size=0, slices=ROWS),
        slice_key(name, ROWS[0]): entry(shape=(1, 2), checksum=TWO_FLOATS_CHECKSUM),
        slice_key(name, ROWS[1]): entry(**second),
    }


TWO_ROWS_AND_A = rows_of("b") | {b"a": entry(offset=16, checksum=TWO_FLOATS_CHECKSUM)}


def test_hand_made_entries_are_read(tmp_path: Path):
    prefix = write_v2(tmp_path, TWO_ROWS_AND_A, TWO_FLOATS.tobytes() * 3)
    assert_same(read_all(prefix), {"a": TWO_FLOATS, "b": np.array([[1, 2], [1, 2]], np.float32)})


@pytest.mark.parametrize("extents", [[[(0, 2), EVERYTHING]], [[EVERYTHING, (0, 1)], [EVERYTHING, (1, 1)]]])
def test_slices_may_leave_a_dimension_whole(tmp_path: Path, extents: list[Extents]):
    whole = np.arange(4, dtype=np.float32).reshape(2, 2)
    parts = [whole] if len(extents) == 1 else [whole[:, :1], whole[:, 1:]]
    records = {b"w": entry(shape=(2, 2), size=0, slices=extents)}
    data = b""
    for part, extent in zip(parts, extents, strict=True):
        content = part.tobytes()
        records[slice_key("w", extent)] = entry(
            shape=part.shape, offset=len(data), size=len(content), checksum=crc32c.masked_crc32c(content)
        )
        data += content
    assert_same(read_all(write_v2(tmp_path, records, data)), {"w": whole})


def test_bfloat16_becomes_float32(tmp_path: Path):
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x3DCD], np.uint16).tobytes()
    records = {b"x": entry(14, (4,), checksum=crc32c.masked_crc32c(bits))}
    with open_checkpoint(write_v2(tmp_path, records, bits)) as checkpoint:
        assert checkpoint.dtype("x") == checkpoint["x"].dtype == np.float32
        assert checkpoint["x"].tolist() == [1.0, -2.0, np.inf, 0.10009765625]


@pytest.mark.parametrize("element_type", [0, 7, 11, 20, 21, 99])
def test_variables_that_hold_no_numbers_are_passed_over(tmp_path: Path, element_type: int):
    records = {
        b"a": entry(checksum=TWO_FLOATS_CHECKSUM),
        b"text": entry(element_type, (2,), offset=4, size=777),
        b"text in slices": entry(element_type, (2, 2), size=0, slices=ROWS),
    }
    assert_same(read_all(write_v2(tmp_path, records)), {"a": TWO_FLOATS})


IMPOSSIBLE: list[tuple[dict[bytes, bytes], str]] = [
    ({b"a": entry(size=12)}, r"an array of shape \[2\] is given 12 bytes"),
    ({b"a": entry(size=-8)}, r"an array of shape \[2\] is given -8 bytes"),
    ({b"a": entry(shape=(2**40, 2**30))}, r"the shape \[1099511627776, 1073741824\] is impossible"),
    ({b"a": entry(shape=(2**62, 0), size=0)}, "the shape .* is impossible"),
    ({b"a": entry(shape=(2**32, 2**32), size=0)}, "the shape .* is impossible"),
    ({b"a": entry(shape=(-1, -2))}, r"the shape \[-1, -2\] is impossible"),
    ({b"a": entry(shape=(1,) * 33, size=4)}, "a shape has more than 32 dimensions"),
    ({b"a": entry(offset=9)}, "17 bytes from byte 0 on are needed, but the file has 16 bytes"),
    ({b"a": entry(offset=-1)}, "an array is to begin at byte -1, before byte 0"),
    ({b"a": entry(offset=2**62)}, "bytes from byte 0 on are needed"),
    ({b"a": entry(shape=(2**50,), size=2**52)}, "4503599627370496 bytes from byte 0 on are needed"),
    ({b"a": entry(), b"b": entry()}, "an array is to begin at byte 0, before byte 8"),
    ({b"a": entry(shape=(1,), size=4), b"b": entry(shape=(1,), offset=3, size=4)}, "at byte 3, before byte 4"),
    ({b"a": entry(file_number=1)}, "data file 1 is named, but there are 1 of them"),
    ({b"\xff": entry()}, "is no text in UTF-8"),
    ({b"a": b"\x08"}, "the bytes end in the middle of a number"),
    ({b"a": b"\x0a\x00"}, "field 1 should be a number, but it holds 0 bytes"),
    ({b"a": number_field(1, 1) + number_field(2, 1)}, "field 2 should hold bytes, but it is the number 1"),
    ({b"b": entry(shape=(2, 2), size=0, slices=ROWS)}, "has no entry that fits"),
    ({b"b": entry(shape=(2, 2), size=0, slices=ROWS * 2)} | rows_of("c"), "has no entry that fits"),
    (rows_of("b", shape=(2, 1)), "has no entry that fits"),
    (rows_of("b", element_type=3), "has no entry that fits"),
    (rows_of("b") | {b"b": entry(shape=(2, 2), size=0, slices=ROWS[:1])}, "in none of its slices"),
    (rows_of("b") | {b"b": entry(shape=(2, 2), size=0, slices=ROWS * 2)}, "overlaps another one"),
    (rows_of("b") | {b"b": entry(shape=(2, 3), size=0, slices=ROWS)}, "in none of its slices"),
    ({b"b": entry(shape=(2, 2), size=0, slices=[[(1, 2), (0, 2)]])}, "is not inside the shape"),
    ({b"b": entry(shape=(2, 2), size=0, slices=[[(-1, 2), (0, 2)]])}, "is not inside the shape"),
    ({b"b": entry(shape=(2, 2), size=0, slices=[[(1, -1), (0, 2)]])}, "is not inside the shape"),
    ({b"b": entry(shape=(2, 2), size=0, slices=[[(0, 2**63 - 1), (0, 2)]])}, "is not inside the shape"),
    ({b"b": entry(shape=(2, 2), size=0, slices=[[EVERYTHING]])}, "is not inside the shape"),
    ({b"b": entry(shape=(2, 2), size=0, slices=[[EVERYTHING] * 40])}, "is not inside the shape"),
]


@pytest.mark.parametrize(("records", "problem"), IMPOSSIBLE)
def test_an_impossible_index_is_refused_with_its_place(tmp_path: Path, records: dict[bytes, bytes], problem: str):
    prefix = write_v2(tmp_path, records, TWO_FLOATS.tobytes() * 2)
    with pytest.raises(InputError, match=rf"m\.ckpt\..*, byte \d+: .*{problem}"):
        open_checkpoint(prefix)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (HEADER + number_field(2, 1), "written on a big-endian machine"),
        (HEADER + message_field(3, number_field(2, 2)), "needs version 2 of the format; minibert reads 1"),
        (message_field(1, b"x"), "field 1 should be a number"),
    ],
)
def test_an_index_that_is_not_for_this_reader_is_refused(tmp_path: Path, header: bytes, problem: str):
    with pytest.raises(InputError, match=rf"m\.ckpt\.index.*{problem}"):
        open_checkpoint(write_v2(tmp_path, {}, header=header))


def test_an_index_without_header_is_refused(tmp_path: Path):
    for records in ([], [(b"a", entry())]):
        with (tmp_path / "m.ckpt.index").open("wb") as file:
            write_table(file, records)
        with pytest.raises(InputError, match=r"m\.ckpt\.index, byte 0: the table does not begin with a header"):
            open_checkpoint(tmp_path)


def test_an_index_with_countless_entries_is_refused(tmp_path: Path):
    records = {i.to_bytes(3, "big"): b"" for i in range(1, 20_002)}
    with pytest.raises(InputError, match="the index has more than 20000 entries"):
        open_checkpoint(write_v2(tmp_path, records))


def test_a_huge_index_is_refused_unread(small: Path):
    with (small / "bert_model.ckpt.index").open("r+b") as file:
        file.truncate(5 << 20)
    with pytest.raises(InputError, match="has 5242880 bytes; an index of at most 4194304 is read"):
        open_checkpoint(small)


# --- V1 ---

V1_VALUES: list[tuple[int, bytes, Any]] = [
    (1, message_field(5, np.array([1.5, -2], "<f4").tobytes()), np.array([1.5, -2], np.float32)),
    (1, message_field(5, bytes(4)) + message_field(5, np.array([3], "<f4").tobytes()), np.array([0, 3], np.float32)),
    (1, fixed32_field(5, 0x3F800000) + fixed32_field(5, 0xC0000000), np.array([1, -2], np.float32)),  # not packed
    (1, message_field(4, np.array([1.5, -2], "<f4").tobytes()), np.array([1.5, -2], np.float32)),
    (2, message_field(6, np.array([1e300, -2], "<f8").tobytes()), np.array([1e300, -2])),
    (3, message_field(7, varint(7) + varint(2**64 - 5)), np.array([7, -5], np.int32)),
    (3, number_field(7, 7) + number_field(7, 9), np.array([7, 9], np.int32)),  # not packed
    (6, message_field(7, varint(7) + varint(2**64 - 5)), np.array([7, -5], np.int8)),
    (8, message_field(9, np.array([1 + 2j, 3], "<c8").tobytes()), np.array([1 + 2j, 3], np.complex64)),
    (9, message_field(10, varint(2**40) + varint(2**64 - 5)), np.array([2**40, -5])),
    (10, message_field(11, b"\0\1"), np.array([False, True])),
    (14, message_field(13, varint(0x3F80) + varint(0xC000)), np.array([1, -2], np.float32)),
    (19, message_field(13, varint(0x3C00) + varint(0xC000)), np.array([1, -2], np.float16)),
    (23, message_field(17, varint(2**64 - 1) + varint(1)), np.array([2**64 - 1, 1], np.uint64)),
]


@pytest.mark.parametrize(("element_type", "tensor", "values"), V1_VALUES)
def test_v1_holds_each_element_type_in_its_own_field(tmp_path: Path, element_type: int, tensor: bytes, values: Any):
    whole: list[Extents] = [[EVERYTHING]]
    path = write_v1(tmp_path, [v1_variable("x", [2], element_type, whole)], {slice_key("x", whole[0]): tensor})
    assert_same(read_all(path), {"x": values})


def test_a_v1_scalar_is_read(tmp_path: Path):
    path = write_v1(
        tmp_path,
        [v1_variable("global_step", [], 9, [[]])],
        {slice_key("global_step", []): message_field(10, varint(8))},
    )
    assert_same(read_all(path), {"global_step": np.array(8, np.int64)})


A_KEY = slice_key("a", [EVERYTHING])
A = v1_variable("a", [2], 1, [[EVERYTHING]])


@pytest.mark.parametrize(
    ("variables", "tensors", "problem"),
    [
        ([A], {A_KEY: message_field(5, bytes(12))}, "there are more than 2 values"),
        ([A], {A_KEY: message_field(5, bytes(7))}, "2 values need 8 bytes, but 7 are there"),
        ([A], {A_KEY: b""}, "2 values need 8 bytes, but 0 are there"),
        ([A], {A_KEY: number_field(5, 1)}, "field 5 should hold bytes"),
        ([A], {b"\0z": b""}, "the slice .* should be in this block"),
        ([A], {}, r"the slice \[\(0, -1\)\] of 'a' is not in the file"),
        ([A, A], {A_KEY: b""}, "the variable 'a' is listed twice"),
        ([v1_variable("a", [2], 1, [])], {A_KEY: b""}, "in none of its slices"),
        ([v1_variable("a", [0], 1, [])], {A_KEY: b""}, "in none of its slices"),
        (
            [v1_variable("a", [2], 9, [[EVERYTHING]])],
            {A_KEY: message_field(10, b"\1")},
            "2 values are needed, but there are 1",
        ),
        ([v1_variable("a", [2], 9, [[EVERYTHING]])], {A_KEY: message_field(10, b"\1" * 9)}, "but there are more"),
        ([v1_variable("a", [2], 9, [[EVERYTHING]])], {A_KEY: message_field(10, b"\xff")}, "in the middle of a number"),
        ([v1_variable("a", [2**40], 1, [[EVERYTHING]])], {A_KEY: b""}, "1099511627776 values and more are announced"),
        ([v1_variable("a", [2**60], 1, [[EVERYTHING]])], {A_KEY: b""}, "the shape .* is impossible"),
    ],
)
def test_an_impossible_v1_file_is_refused_with_its_place(
    tmp_path: Path, variables: list[bytes], tensors: dict[bytes, bytes], problem: str
):
    path = write_v1(tmp_path, variables, tensors)
    with pytest.raises(InputError, match=rf"bert_model\.ckpt, byte \d+: .*{problem}"):
        read_all(path)


def test_a_v1_file_with_countless_slices_is_refused(small_v1: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(format_v1, "MOST_PIECES", 2)
    with pytest.raises(InputError, match=r"bert_model\.ckpt, byte \d+: there are more than 2 slices"):
        open_checkpoint(small_v1)


def test_a_v1_file_without_a_list_is_refused(tmp_path: Path):
    with (tmp_path / "bert_model.ckpt").open("wb") as file:
        write_table(file, [(b"a", b"")])
    with pytest.raises(InputError, match="does not begin with the list of its variables"):
        open_checkpoint(tmp_path)


TWO_FLOATS_TENSOR = message_field(5, TWO_FLOATS.tobytes())
UPPER, LOWER = [(0, 1), EVERYTHING], [(1, 1), EVERYTHING]


def write_v1_part(folder: Path, number: int, count: int, row: Extents, shape: Sequence[int] = (2, 2)) -> Path:
    """Part of a checkpoint: one row of the variable b, and a whole variable, v0 or v1, which is in no other part."""
    name = f"v{number}"
    return write_v1(
        folder,
        [v1_variable(name, [2], 1, [[EVERYTHING]]), v1_variable("b", shape, 1, [row])],
        {slice_key(name, [EVERYTHING]): TWO_FLOATS_TENSOR, slice_key("b", row): TWO_FLOATS_TENSOR},
        f"bert_model.ckpt-{number:05d}-of-{count:05d}",
    )


@pytest.fixture
def parts_v1(tmp_path: Path) -> Path:
    """The folder of a checkpoint of format V1 in two files, with a variable of which each holds a row."""
    folder = tmp_path / "parts"
    folder.mkdir()
    write_v1_part(folder, 0, 2, LOWER)
    write_v1_part(folder, 1, 2, UPPER)
    return folder


def test_a_v1_checkpoint_in_parts_is_read_whatever_it_is_called(parts_v1: Path):
    wanted = {"b": np.array([TWO_FLOATS, TWO_FLOATS]), "v0": TWO_FLOATS, "v1": TWO_FLOATS}
    names = ["", "bert_model.ckpt", "bert_model.ckpt-00001-of-00002", "bert_model.ckpt-?????-of-00002"]
    for name in names:
        assert_same(read_all(parts_v1 / name), wanted)
    assert [is_prefix(parts_v1 / name) for name in names] == [False, True, False, True]
    files = {f"x/{path.name}": path.read_bytes() for path in parts_v1.iterdir()}
    assert_same(read_all(write_zip(parts_v1.parent / "v1.zip", files)), wanted)
    for path in list(parts_v1.iterdir()):
        path.rename(path.with_name(path.name.replace("bert_model.ckpt", "model.ckpt-20")))
    (parts_v1 / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-20-?????-of-00002"')
    assert_same(read_all(parts_v1), wanted)


def test_parts_of_v1_that_make_no_whole_are_refused(parts_v1: Path):
    prefix = parts_v1 / "bert_model.ckpt"
    write_v1_part(parts_v1, 1, 2, UPPER, shape=(3, 2))
    with pytest.raises(InputError, match=r"'b' has another shape or type here than in another part"):
        open_checkpoint(prefix)
    write_v1_part(parts_v1, 1, 2, LOWER)
    with pytest.raises(InputError, match=r"the slice at .* overlaps another one"):
        open_checkpoint(prefix)
    write_v1_part(parts_v1, 1, 3, UPPER)
    with pytest.raises(
        InputError, match=r"several checkpoints bert_model\.ckpt, of 00002 and of 00003 parts: name one"
    ):
        open_checkpoint(prefix)
    with pytest.raises(InputError, match=r"The file bert_model\.ckpt-00000-of-00003 is needed in .* there is no such"):
        open_checkpoint(parts_v1 / "bert_model.ckpt-00001-of-00003")
    write_v1_part(parts_v1, 1, 99999, UPPER)
    with pytest.raises(InputError, match=r"bert_model\.ckpt-00001-of-99999 is in more than 200 parts"):
        open_checkpoint(parts_v1 / "bert_model.ckpt-00001-of-99999")
    (parts_v1 / "bert_model.ckpt-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"The file bert_model\.ckpt-00001-of-00002 is needed in"):
        open_checkpoint(parts_v1 / "bert_model.ckpt-?????-of-00002")


# --- damage of every kind ---


def attempt(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Read a damaged checkpoint. True if it reads, and rightly; any other error than `InputError` fails the test."""
    try:
        found = read_all(path)
    except InputError as error:
        problem = str(error)
    else:
        assert_same(found, wanted)
        return True
    assert str(path.parent) in problem
    return False


@pytest.fixture(params=["V2 index", "V2 data", "V1", "zip"])
def damageable(request: pytest.FixtureRequest, small: Path, small_v1: Path) -> tuple[Path, Path]:
    """(what is to be opened, the file of it that is damaged)"""
    if request.param == "zip":
        path = zipped(small)
        return path, path
    if request.param == "V1":
        return small_v1, small_v1
    suffix = ".index" if request.param == "V2 index" else ".data-00000-of-00001"
    return small / "bert_model.ckpt", small / f"bert_model.ckpt{suffix}"


def test_a_change_to_any_byte_is_noticed_or_harmless(damageable: tuple[Path, Path]):
    path, file = damageable
    content = file.read_bytes()
    wanted = read_all(path)
    unnoticed = 0
    for place in range(len(content)):
        for change in (0x01, 0x80, 0xFF):
            file.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
            unnoticed += attempt(path, wanted)
    padding = 3 * 50  # a footer's filling and the empty metadata block are never read
    if ".data" in file.name:
        assert unnoticed == 0
    elif path.suffix != ".zip":  # a zip has much that nobody needs, such as dates
        assert unnoticed <= padding


def test_a_file_cut_off_at_any_byte_is_refused(damageable: tuple[Path, Path]):
    path, file = damageable
    content = file.read_bytes()
    wanted = read_all(path)
    for size in range(len(content)):
        file.write_bytes(content[:size])
        assert not attempt(path, wanted)


@pytest.mark.slow
def test_a_change_to_any_byte_of_googles_index_is_noticed_or_harmless(google_dir: Path, tmp_path: Path):
    for path in google_dir.glob("bert_model.ckpt.*"):
        shutil.copyfile(path, tmp_path / path.name)
    index = tmp_path / "bert_model.ckpt.index"
    content = index.read_bytes()
    wanted = read_all(tmp_path)
    for place in range(len(content)):
        index.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        attempt(tmp_path / "bert_model.ckpt", wanted)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` with a stretch replaced by other bytes, which like to be extreme numbers."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(start + 8, len(content))))
    extreme = st.sampled_from([0, 1, 127, 128, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]).map(varint)
    return content[:start] + draw(st.binary(max_size=6) | extreme) + content[end:]


@settings(deadline=2000, max_examples=300)
@given(st.data())
@pytest.mark.parametrize("version", [1, 2])
def test_damage_under_a_right_checksum_costs_no_more_than_an_error(
    tmp_path_factory: pytest.TempPathFactory, version: int, data: st.DataObject
):
    """The checksums of the table are made again after the damage, so that the messages inside are what is tried."""
    folder = tmp_path_factory.mktemp("damage")
    if version == 2:
        path = write_v2(folder, TWO_ROWS_AND_A, TWO_FLOATS.tobytes() * 3)
        table = folder / "m.ckpt.index"
    else:
        rows = {slice_key("b", row): message_field(5, bytes(8)) for row in ROWS}
        path = table = write_v1(
            folder, [A, v1_variable("b", [2, 2], 1, ROWS)], rows | {A_KEY: message_field(5, bytes(8))}
        )
    records = [(key, bytes(value.data)) for key, value in Table(Folder(folder).open(table.name))]
    victim = data.draw(st.integers(0, len(records) - 1))
    key, value = records[victim]
    records[victim] = key, data.draw(damaged(value))
    with table.open("wb") as file:
        write_table(file, records)
    tracemalloc.start()
    try:
        read_all(path)
    except InputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 << 20


# --- writing ---

DTYPES = ["<f2", "<f4", "<f8", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "?", "<c8", "<c16"]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda name: name[0] != "\0")
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4))
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, max_size=6))
@example({"scalar": np.float32(3), "many dimensions": np.ones((1,) * 32), "empty": np.zeros((0, 5), np.int8)})
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any]):
    folder = tmp_path_factory.mktemp("written")
    write_checkpoint(folder / "model.ckpt", tensors)
    with open_checkpoint(folder) as checkpoint:
        assert_same(checkpoint, tensors)
        assert_same(dict(sorted(checkpoint.stream())), tensors)
        for name, values in tensors.items():
            assert (checkpoint.shape(name), checkpoint.dtype(name)) == (values.shape, values.dtype)


def test_arrays_of_any_layout_and_byte_order_are_written(tmp_path: Path):
    plain = np.arange(6, dtype=np.int32).reshape(2, 3)
    write_checkpoint(
        tmp_path / "x",
        {"transposed": plain.T, "strided": plain[:, ::2], "big-endian": plain.astype(">i4"), "list": [1.5]},
    )
    with open_checkpoint(tmp_path) as checkpoint:
        for name, wanted in [("transposed", plain.T), ("strided", plain[:, ::2]), ("big-endian", plain)]:
            np.testing.assert_array_equal(checkpoint[name], wanted)
        assert checkpoint.dtype("big-endian") == np.int32
        assert checkpoint["list"] == 1.5


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"x": np.array(["text"])}, "'x' cannot be written .* dtype <U4 and 1 dimensions"),
        ({"x": np.array([object()])}, "'x' cannot be written .* dtype object"),
        ({"": TWO_FLOATS}, "'' cannot name a variable"),
        ({"\0a": TWO_FLOATS}, r"'\\x00a' cannot name a variable"),
    ],
)
def test_what_cannot_be_written_is_a_sentence_and_leaves_the_old_checkpoint(
    small: Path, tensors: dict[str, Any], problem: str
):
    before = {path.name: path.read_bytes() for path in small.iterdir()}
    with pytest.raises(InputError, match=problem):
        write_checkpoint(small / "bert_model.ckpt", {"a": TWO_FLOATS} | tensors)
    assert {path.name: path.read_bytes() for path in small.iterdir()} == before


def test_a_prefix_without_a_name_is_refused():
    with pytest.raises(
        InputError, match=r"'/' has no file name at its end: give a prefix such as folder/bert_model\.ckpt"
    ):
        write_checkpoint("/", SMALL)


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is open")
def test_a_checkpoint_may_be_written_over_itself(small: Path):
    with open_checkpoint(small) as checkpoint:
        write_checkpoint(small / "bert_model.ckpt", checkpoint)
    assert_same(read_all(small), SMALL)


class OneAtATime(Mapping[str, Any]):
    """Large arrays, made when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        return np.full(1 << 20, len(name), np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(["x" * length for length in range(1, 11)])

    def __len__(self) -> int:
        return 10


def test_writing_and_streaming_hold_one_variable_at_a_time(tmp_path: Path):
    tracemalloc.start()
    write_checkpoint(tmp_path / "x", OneAtATime())
    with open_checkpoint(tmp_path) as checkpoint:
        for name, values in checkpoint.stream():
            assert values[-1] == len(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * (4 << 20) + 2 * crc32c.CHUNK  # 4 MiB each; the next is read before the last is let go


# --- the mapping ---


def test_a_checkpoint_is_a_mapping_that_reads_nothing_until_asked(small: Path):
    with open_checkpoint(small) as checkpoint:
        (small / "bert_model.ckpt.data-00000-of-00001").write_bytes(bytes(84))
        assert list(checkpoint) == sorted(SMALL)
        assert len(checkpoint) == len(SMALL)
        assert "global_step" in checkpoint
        assert "missing" not in checkpoint
        assert checkpoint.get("missing") is None
        assert checkpoint.shape("bert/pooler/dense/kernel") == (3, 4)
        with pytest.raises(KeyError, match="missing"):
            checkpoint["missing"]
        with pytest.raises(InputError, match=r"data-00000-of-00001, byte 24: the next 48 bytes have the checksum"):
            checkpoint["bert/pooler/dense/kernel"]


def test_arrays_read_are_the_readers_own(small: Path):
    with open_checkpoint(small) as checkpoint:
        checkpoint["bert/pooler/dense/bias"][:] = -1
        assert checkpoint["bert/pooler/dense/bias"].tolist() == [0, 1, 2, 3, 4, 5]


def test_optimizer_moments_and_bookkeeping_are_no_model_variables():
    model = ["bert/embeddings/word_embeddings", "bert/encoder/layer_0/lambda/kernel", "cls/predictions/output_bias"]
    others = [
        "bert/embeddings/word_embeddings/adam_m",
        "bert/embeddings/word_embeddings/adam_v",
        "bert/embeddings/word_embeddings/Adam",
        "bert/embeddings/word_embeddings/Adam_1",
        "bert/embeddings/word_embeddings/LAMB",
        "bert/embeddings/word_embeddings/LAMB_1",
        "bert/embeddings/word_embeddings/some_new_optimizer/moment",
        "bert/orphan/adam_m",
        "bert/orphan/lamb_v",
        "bert/orphan/LAMBOptimizer_1",
        "bert/orphan/AdamWeightDecayOptimizer_1",
        "global_step",
        "training/beta1_power",
        "beta2_power_1",
        "current_loss_scale",
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
    ]
    assert model_variables([*others, *model]) == model
    assert model_variables(iter(model)) == model
