"""Downloads, end to end, from a small hub on this machine: nothing here touches a real network."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from minibert.checkpoints import hub
from minibert.checkpoints.hub import download
from minibert.checkpoints.shards import MAX_INDEX_BYTES, shard_names
from minibert.config import BertConfig
from minibert.errors import InputError

from .hub_server import HubServer

CONFIG = json.dumps(BertConfig.preset("tiny").to_dict()).encode()
VOCABULARY = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbert\n"
WEIGHTS = bytes(range(256)) * 100
FILES = {
    "README.md": b"# a model",
    "config.json": CONFIG,
    "vocab.txt": VOCABULARY,
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same again",
    "tf_model.h5": b"and again",
}


def index_of(*shards: object) -> bytes:
    return json.dumps({"weight_map": {f"tensor{number}": shard for number, shard in enumerate(shards)}}).encode()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with the repository `me/bert`; huggingface_hub, in this process, knows no other."""
    with HubServer(tmp_path / "repositories") as server:
        server.add("me/bert", FILES)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # only whole chunks survive a broken connection
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None))  # retry at once
        monkeypatch.setenv("NO_PROXY", "*")
        huggingface_hub.close_session()  # the session of an earlier test may use a proxy
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def needed(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: files[name] for name in names}


# What comes


def test_a_download_holds_what_minibert_needs_and_nothing_else(server):
    assert contents(download("me/bert")) == needed(FILES, "config.json", "vocab.txt", "model.safetensors")


def test_a_second_download_neither_fetches_nor_reads_the_weights_again(server, monkeypatch):
    folder = download("me/bert")
    server.requests.clear()
    verified: list[str] = []
    monkeypatch.setattr(hub, "_verify", lambda path, *rest: verified.append(path.name))
    assert download("me/bert") == folder
    assert set(verified) == {"config.json"}
    assert [(request.method, request.path.split("/")[-1]) for request in server.requests] == [
        ("HEAD", "config.json"),
        ("GET", server.commit("me/bert")),
    ]


def test_a_new_commit_is_followed_and_only_changed_files_are_fetched(server):
    before = download("me/bert")
    server.add("me/bert", FILES | {"vocab.txt": VOCABULARY + b"more\n"})
    server.requests.clear()
    after = download("me/bert")
    assert after != before
    assert (after / "vocab.txt").read_bytes() == VOCABULARY + b"more\n"
    assert not server.fetched("model.safetensors")


def test_a_commit_can_be_asked_for(server):
    assert download("me/bert", revision=server.commit("me/bert")) == download("me/bert")


def test_a_short_name_is_looked_up_in_the_catalog(server, monkeypatch):
    monkeypatch.setattr("minibert.checkpoints.catalog.HUB_SHA256", {})
    server.add("google/bert_uncased_L-2_H-128_A-2", FILES)
    assert (download("bert-tiny") / "model.safetensors").read_bytes() == WEIGHTS


def test_sharded_weights_come_with_all_their_shards(server):
    shards = {"model-1.safetensors": b"first", "model-2.safetensors": b"second"}
    index = {"model.safetensors.index.json": index_of(*shards, "model-1.safetensors")}
    server.add("me/bert", {"config.json": CONFIG} | shards | index | {"pytorch_model.bin": b"a pickle"})
    assert contents(download("me/bert")) == {"config.json": CONFIG} | shards | index


def test_pickles_are_taken_only_where_there_are_no_safetensors(server):
    server.add("me/bert", {"config.json": CONFIG, "pytorch_model.bin": b"a pickle"})
    assert (download("me/bert") / "pytorch_model.bin").read_bytes() == b"a pickle"
    index = index_of("pytorch_model-1.bin")
    server.add("me/bert", {"config.json": CONFIG, "pytorch_model.bin.index.json": index, "pytorch_model-1.bin": b"1"})
    assert (download("me/bert") / "pytorch_model-1.bin").read_bytes() == b"1"


# Without a network


def test_the_environment_variables_of_huggingface_hub_are_in_force(server, tmp_path):
    code = "from minibert.checkpoints.hub import download; print(download('me/bert'))"
    own = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def run(**variables: str) -> Path:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        root = Path(__file__).resolve().parents[1]
        command = [sys.executable, "-c", code]
        return Path(
            subprocess.check_output(command, cwd=root, env=environment | own | quiet | variables, text=True).strip()
        )

    folder = run()
    assert folder.is_relative_to(tmp_path / "home")
    assert contents(folder) == needed(FILES, "config.json", "vocab.txt", "model.safetensors")
    server.requests.clear()
    assert run(HF_HUB_OFFLINE="1") == folder
    assert not server.requests


def test_what_is_cached_is_found_while_the_hub_is_away(server):
    folder = download("me/bert")
    server.stop()
    assert download("me/bert") == folder


def test_what_is_cached_is_found_while_the_hub_hangs(server, monkeypatch):
    folder = download("me/bert")
    server.faults.listing_delay = 20.0
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    begin = time.monotonic()
    assert download("me/bert") == folder
    assert time.monotonic() - begin < 10


def test_cached_shards_are_found_offline_only_if_all_are_there(server, monkeypatch):
    shards = {"model-1.safetensors": b"first", "model-2.safetensors": b"second"}
    server.add("me/bert", {"config.json": CONFIG, "model.safetensors.index.json": index_of(*shards)} | shards)
    folder = download("me/bert")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download("me/bert") == folder
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(InputError, match=r"not whole in the cache .* offline mode is on"):
        download("me/bert")


def test_offline_mode_without_a_cached_copy_says_how_to_bring_the_files(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"offline mode is on. Unset HF_HUB_OFFLINE and .* run `hf download me/bert"):
        download("me/bert")
    assert not server.requests


def test_no_network_says_how_to_bring_the_files(server):
    server.stop()
    with pytest.raises(InputError, match=r"cannot be reached \(ConnectError.*run `hf download me/bert --local-dir"):
        download("me/bert")


# Damage on the way


def test_a_broken_connection_is_resumed_where_it_broke(server):
    server.faults.break_after, server.faults.breaks = 5500, 1
    folder = download("me/bert")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [request.range for request in server.fetched("model.safetensors")] == [None, "bytes=5000-"]


def test_a_connection_that_breaks_again_and_again_says_to_run_again_and_then_finishes(server, tmp_path):
    server.faults.breaks = 100
    with pytest.raises(InputError, match=r"did not finish \(RemoteProtocolError.*Try again: `python -m"):
        download("me/bert")
    assert not list(tmp_path.rglob("*.incomplete"))
    server.faults.breaks = 0
    server.requests.clear()
    assert (download("me/bert") / "model.safetensors").read_bytes() == WEIGHTS
    assert not server.fetched("vocab.txt")


@pytest.mark.parametrize("links", [True, False], ids=["links", "no_links"])
@pytest.mark.parametrize("file", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_file_damaged_on_the_way_is_refused_and_leaves_the_cache(server, tmp_path, monkeypatch, file, links):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", not links)
    server.faults.corrupt = file
    with pytest.raises(InputError, match=f"{file} came damaged.*me/bert declares.*removed from the cache. Try again"):
        download("me/bert")
    damaged = FILES[file][:-1] + bytes([FILES[file][-1] ^ 1])
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.read_bytes() == damaged]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_symlink() and not path.exists()]
    server.faults.corrupt = None
    assert (download("me/bert") / file).read_bytes() == FILES[file]


def test_another_file_than_the_catalog_knows_is_refused_unless_its_commit_is_named(server):
    repo_id = "google/bert_uncased_L-2_H-128_A-2"
    commit = server.add(repo_id, {"config.json": CONFIG, "model.safetensors": b"other weights"})
    with pytest.raises(
        InputError, match=f"model.safetensors came .* the catalog has 7fb69ad9.*ask for revision '{commit}'"
    ):
        download("bert-tiny")
    assert (download("bert-tiny", revision=commit) / "model.safetensors").read_bytes() == b"other weights"


def test_a_hub_that_declares_no_checksums_is_told_on(server, caplog):
    siblings = [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]
    server.faults.listing = json.dumps({"id": "me/bert", "siblings": siblings}).encode()
    download("me/bert")
    assert "declares no checksum for model.safetensors of me/bert: it stays unchecked" in caplog.text


# Refusals


def test_an_unknown_repository_is_answered_with_the_nearest_names(server):
    with pytest.raises(
        InputError, match=r"no repository 'google/bert-base-uncasd'.* Did you mean bert-base-uncased or"
    ):
        download("google/bert-base-uncasd")


@pytest.mark.parametrize("name", ["foo bar", "../x", "/etc/passwd", "a/b/c", "a--b", "", "C:\\bert", "me/bert\n"])
def test_a_name_that_cannot_be_a_repository_is_refused_without_asking(server, name):
    with pytest.raises(InputError, match="neither in the catalog nor a possible name on the hub"):
        download(name)
    assert not server.requests


def test_an_unknown_revision_is_named(server):
    with pytest.raises(InputError, match="me/bert has no revision 'v7'"):
        download("me/bert", revision="v7")


@pytest.mark.parametrize(
    ("status", "error_code", "sentence"),
    [
        (401, "GatedRepo", "me/bert is gated: accept its terms"),
        (403, "GatedRepo", "me/bert is gated: accept its terms"),
        (404, "RepoNotFound", "has no repository 'me/bert'.*If it is private, log in"),
        (401, None, "HTTP status 401. Your token is not valid"),
        (403, None, "HTTP status 403. Your token has no right"),
        (429, None, "HTTP status 429. The hub asks for patience"),
        (500, None, "HTTP status 500. Try again later"),
    ],
)
def test_each_refusal_of_the_hub_becomes_a_sentence(server, status, error_code, sentence):
    server.faults.status, server.faults.error_code = status, error_code
    with pytest.raises(InputError, match=sentence):
        download("me/bert")


def test_a_login_page_in_place_of_the_hub_is_recognised(server):
    server.faults.html = True
    with pytest.raises(InputError, match=r"does not answer as a hub does.*Check HF_ENDPOINT, and that no proxy"):
        download("me/bert")


@pytest.mark.parametrize("listing", [b"<html>", b"[]", b"{}", b'{"id": "me/bert", "siblings": [{}]}', b"\xff"])
def test_a_list_of_files_that_cannot_be_read_is_refused(server, listing):
    server.faults.listing = listing
    with pytest.raises(InputError, match="a list of the files of me/bert that cannot be read"):
        download("me/bert")


def test_a_repository_without_config_is_refused(server):
    server.add("me/bert", {"model.safetensors": WEIGHTS})
    with pytest.raises(InputError, match=r"me/bert .* has no file config.json: it is not a BERT"):
        download("me/bert")


def test_a_repository_without_readable_weights_is_told_by_what_it_has(server):
    server.add("me/bert", {"config.json": CONFIG, "tf_model.h5": b"", "flax_model.msgpack": b""})
    with pytest.raises(
        InputError, match=r"no weights that minibert reads.*It has: config.json, flax_model.msgpack, tf"
    ):
        download("me/bert")


def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(server):
    server.add("me/gpt", {"config.json": b'{"model_type": "gpt2"}', "model.safetensors": WEIGHTS})
    with pytest.raises(InputError, match="model_type is 'gpt2'"):
        download("me/gpt")
    assert not server.fetched("model.safetensors")


def test_an_index_that_names_a_missing_shard_is_refused(server):
    server.add("me/bert", {"config.json": CONFIG, "model.safetensors.index.json": index_of("gone.safetensors")})
    with pytest.raises(InputError, match=r"names gone.safetensors, which is not in the repository"):
        download("me/bert")


def test_an_index_that_leads_out_of_the_folder_is_refused_without_asking_for_it(server):
    index = index_of("../../../x.safetensors")
    server.add("me/bert", {"config.json": CONFIG, "model.safetensors.index.json": index})
    with pytest.raises(InputError, match=r"Only plain names of .safetensors files"):
        download("me/bert")
    assert not [request for request in server.requests if "x.safetensors" in request.path]


def test_a_full_disk_says_where_to_make_room(server, monkeypatch):
    def full(*arguments: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "blob")

    monkeypatch.setattr(hub, "hf_hub_download", full)
    with pytest.raises(InputError, match=r"The disk is full: me/bert does not fit into .*cache"):
        download("me/bert")


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "a_file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "a_file" / "cache"))
    with pytest.raises(InputError, match=r"a_file.* cannot be used .*Let HF_HOME name a folder of your own"):
        download("me/bert")


# The index of shards


@given(st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,20}\.safetensors", fullmatch=True), min_size=1))
def test_an_index_gives_every_shard_once(tmp_path_factory, shards):
    path = tmp_path_factory.mktemp("index") / "model.safetensors.index.json"
    path.write_bytes(index_of(*shards))
    assert shard_names(path) == sorted(set(shards))


@pytest.mark.parametrize(
    "shard",
    ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "a\\x.safetensors", "C:x.safetensors", "x.bin", "..",
     "x.safetensors\n", "", 3, None, ["x.safetensors"]],
)  # fmt: skip
def test_an_index_may_only_name_weights_beside_it(tmp_path, shard):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(index_of("good.safetensors", shard))
    with pytest.raises(InputError, match=re.escape(f"names the file {shard!r}")):
        shard_names(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "no readable JSON"),
        (b"\xff\xfe", "no readable JSON"),
        (b'{"weight_map": ', "no readable JSON"),
        (b"[" * 100_000, "no readable JSON"),
        (b"[]", "must be a JSON object: found list"),
        (b"{}", "no index of weights"),
        (b'{"weight_map": {}}', "no index of weights"),
        (b'{"weight_map": []}', "no index of weights"),
        (b" " * (MAX_INDEX_BYTES + 1), "16,777,217 bytes"),
    ],
    ids=["empty", "not_utf8", "cut_off", "deep", "list", "no_map", "empty_map", "map_is_list", "huge"],
)
def test_a_broken_index_is_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=sentence):
        shard_names(path)
