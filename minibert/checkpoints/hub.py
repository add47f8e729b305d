"""A repository on the hub, as a local folder.

`huggingface_hub` does all the talking: its cache, progress bars, retries, tokens, proxies and environment variables
(HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, ...) are in force. This module chooses the files, checks that what came is what
was meant, and says in sentences what went wrong.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..config import BertConfig
from ..errors import InputError
from . import catalog
from .locate import TOKENIZER_FILES
from .shards import INDEX_SUFFIX, WEIGHTS, shard_names

CONFIG = "config.json"

log = logging.getLogger("minibert")


def download(name: str, revision: str = "main") -> Path:
    """A local folder that holds what minibert needs of a repository on the hub.

    `name` is one of the catalog's names or a repository id (`owner/name`); `revision` a branch, a tag or a commit. The
    folder is a snapshot in huggingface_hub's cache: `config.json`, one form of the weights (`WEIGHTS`, with all shards)
    and those of `TOKENIZER_FILES` that the repository has. What is in the cache already is not fetched again, and
    where the hub cannot be reached a cached snapshot does, if it has the config and the weights.

    Every fetched file is checked against the checksum that the hub declares for it (SHA-256 for large files, git's
    SHA-1 for small ones) and, in revision `main`, against the catalog's; one that differs is removed from the cache.

    Raises `InputError`, whatever the reason, and says what to do.
    """
    entry = catalog.find(name)
    repo_id = name if entry is None else entry.repo_id
    known_sha256 = entry.hub_sha256 if entry is not None and revision == "main" else {}
    try:
        return _download(repo_id, revision, known_sha256)
    except InputError:
        raise
    except Exception as error:  # huggingface_hub and the HTTP libraries below it share no base class for their errors
        raise InputError(_explanation(error, repo_id, revision)) from error


def _download(repo_id: str, revision: str, known_sha256: Mapping[str, str]) -> Path:
    # The branch is resolved once, here: all other files are asked for by commit, so that they fit together.
    folder = Path(hf_hub_download(repo_id, CONFIG, revision=revision)).parent
    commit = folder.name
    try:
        declared = _declared_checksums(repo_id, commit)
    except Exception:  # no answer, a refusal or a garbled one: a snapshot that was whole before still is
        if _has_weights(folder):
            return folder
        raise

    def fetch(file: str) -> Path:
        was_cached = (folder / file).exists()
        path = Path(hf_hub_download(repo_id, file, revision=commit))
        if not was_cached or file == CONFIG:  # the config came before its checksum was known
            if declared.get(file) is None:
                log.warning(f"{constants.ENDPOINT} declares no checksum for {file} of {repo_id}: it stays unchecked.")
            _verify(path, declared.get(file), f"{repo_id} declares", _try_again(repo_id))
            _verify(path, known_sha256.get(file), "the catalog has", f"To trust the hub, ask for revision '{commit}'.")
        return path

    BertConfig.from_json_file(fetch(CONFIG))  # another kind of model is refused before its gigabytes come
    for file in TOKENIZER_FILES:  # before the weights, so that a folder with weights is whole
        if file in declared:
            fetch(file)
    weights = next((file for file in WEIGHTS if file in declared), None)
    if weights is None:
        raise InputError(
            f"{repo_id} has no weights that minibert reads ({', '.join(WEIGHTS)}). It has: {_listed(declared)}. "
            f"Look for the same model in safetensors form, or convert it first."
        )
    path = fetch(weights)
    if weights.endswith(INDEX_SUFFIX):
        for shard in shard_names(path):
            if shard not in declared:
                raise InputError(f"{repo_id}: {weights} names {shard}, which is not in the repository.")
            fetch(shard)
    return folder


def _declared_checksums(repo_id: str, commit: str) -> dict[str, str | None]:
    """Name of every file in the repository -> its checksum: SHA-256 if in large-file storage, else git's SHA-1."""
    try:
        info = HfApi().model_info(repo_id, revision=commit, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        return {file.rfilename: file.blob_id if file.lfs is None else file.lfs.sha256 for file in info.siblings or []}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{constants.ENDPOINT} sent a list of the files of {repo_id} that cannot be read ({error}). "
            f"Is it a hub, and is no proxy in between?"
        ) from error


def _has_weights(folder: Path) -> bool:
    for file in WEIGHTS:
        path = folder / file
        if path.exists():
            return not file.endswith(INDEX_SUFFIX) or all((folder / shard).exists() for shard in shard_names(path))
    return False


def _verify(path: Path, checksum: str | None, authority: str, remedy: str) -> None:
    """Hold a file against its checksum, if that is known; remove it from the cache if it differs."""
    if checksum is None:
        return
    found = _checksum(path, git=len(checksum) == 40)
    if found != checksum:
        blob = path.resolve()  # the cache keeps the bytes elsewhere and links to them, where links are possible
        path.unlink()
        blob.unlink(missing_ok=True)
        raise InputError(
            f"{path.name} came damaged or changed: its checksum is {found}, where {authority} {checksum}. "
            f"It has been removed from the cache. {remedy}"
        )


def _checksum(path: Path, git: bool) -> str:
    """SHA-256 of a file, or the SHA-1 by which git names its contents (Pro Git, section "Git Objects")."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size) if git else hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _explanation(error: Exception, repo_id: str, revision: str) -> str:
    """What went wrong and what to do, in sentences."""
    hub = constants.ENDPOINT
    without_network = (
        f"Without a network: run `hf download {repo_id} --local-dir FOLDER` on a machine that has one, "
        f"copy the folder here and pass its path in place of the name."
    )
    # "Not in the cache, and the hub could not help" says little: the reason is why the hub could not.
    reason = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error

    if isinstance(reason, HFValidationError):
        return (
            f"'{repo_id}' is neither in the catalog nor a possible name on the hub, where names look like owner/name. "
            f"{_did_you_mean(repo_id)}If a folder is meant, check its path."
        )
    if isinstance(reason, GatedRepoError):
        return (
            f"{repo_id} is gated: accept its terms at {hub}/{repo_id}, then log in with `hf auth login` "
            f"(or set HF_TOKEN). {_try_again(repo_id)}"
        )
    if isinstance(reason, RepositoryNotFoundError):
        return (
            f"{hub} has no repository '{repo_id}', or only for those it is shared with. {_did_you_mean(repo_id)}"
            f"If it is private, log in with `hf auth login` (or set HF_TOKEN)."
        )
    if isinstance(reason, RevisionNotFoundError):
        return f"{repo_id} has no revision '{revision}'. Its branches and commits are at {hub}/{repo_id}/commits/main."
    if isinstance(reason, EntryNotFoundError) and isinstance(reason, HfHubHTTPError):
        missing = str(reason.response.url).rpartition("/")[2]
        return f"{repo_id} (revision '{revision}') has no file {missing}: it is not a BERT in Hugging Face's form."
    if isinstance(reason, OfflineModeIsEnabled):
        return (
            f"{repo_id} (revision '{revision}') is not whole in the cache ({constants.HF_HUB_CACHE}), and offline mode "
            f"is on. Unset HF_HUB_OFFLINE and try again. {without_network}"
        )
    if isinstance(reason, FileMetadataError):
        return (
            f"{hub} does not answer as a hub does. Check HF_ENDPOINT, and that no proxy or login page of the network "
            f"answers in its place. {without_network}"
        )
    if isinstance(reason, HfHubHTTPError):
        status = reason.response.status_code
        remedy = {
            401: "Your token is not valid: log in again with `hf auth login` (or set HF_TOKEN).",
            403: "Your token has no right to it: ask its owner, or use another token (`hf auth login`, HF_TOKEN).",
            429: "The hub asks for patience: wait a few minutes; users who are logged in may ask more often.",
        }.get(status, "Try again later.")
        return f"{hub} refuses {repo_id} with HTTP status {status}. {remedy}"
    if isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: {repo_id} does not fit into {constants.HF_HUB_CACHE}. Make room there, or let HF_HOME "
            f"name a folder on another disk. {_try_again(repo_id)}"
        )
    if isinstance(reason, OSError) and reason.filename is not None:
        return f"{reason.filename} cannot be used ({reason.strerror}). Let HF_HOME name a folder of your own."
    what_happened = " ".join(f"{type(reason).__name__}: {reason}".split())
    if reason is not error:
        return f"{hub} cannot be reached ({what_happened}), and {repo_id} is not in the cache. {without_network}"
    return (
        f"The download of {repo_id} did not finish ({what_happened}). {_try_again(repo_id)} "
        f"Files that came whole are kept. {without_network}"
    )


def _try_again(repo_id: str) -> str:
    return f"Try again: `python -m minibert.weights download {repo_id}`."


def _did_you_mean(name: str) -> str:
    suggestions = catalog.suggest(name)
    return f"Did you mean {' or '.join(suggestions)}? " if suggestions else ""


def _listed(files: Mapping[str, object]) -> str:
    first = sorted(files)[:10]
    return ", ".join(first) + (f" and {len(files) - 10} more" if len(files) > 10 else "")
