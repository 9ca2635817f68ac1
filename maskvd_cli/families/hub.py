"""The Hugging Face hub: the only module that connects, and only when `maskvd get` asks it to.

It needs the extra `hf`. No token is sent, even where the user has one.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskvd_cli.core.errors import MaskvdError, ResultError, UsageError
from maskvd_cli.core.extras import imported
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.families.fetched import RECORD
from maskvd_cli.families.snapshots import CONFIG, INDEX, WHOLE

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_REVISION = re.compile(r"[0-9a-f]{40}")
_MISSING = {
    "RevisionNotFoundError": "has no such revision",
    "RemoteEntryNotFoundError": "is not there",
    "RepositoryNotFoundError": "is not there, or not public",
}
_ASKED = re.compile(r"[\w][\w./-]{0,199}")


@dataclass(frozen=True)
class Remote:
    """One file on the hub: its bytes, and its SHA-256 where the hub states one."""

    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class Offer:
    """What the hub has of a model: one revision, its licence, and the files that are of use."""

    repository: str
    source: str
    revision: str
    licence: str | None
    files: Mapping[str, Remote]

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(remote.size or 0 for remote in self.files.values())


def offered(repository: str, asked: str | None, beside: Sequence[str] = ()) -> Offer:
    """Ask the hub for a revision: a commit, a branch or a tag; None: the newest.

    `beside`: further files that are wanted where they are there. Raises MaskvdError where the hub
    does not answer or has no such thing, UsageError for a text that names no revision.
    """
    if asked is not None and (not _ASKED.fullmatch(asked) or ".." in asked):
        raise UsageError(f"no revision can be called {asked!r}", remedy="give a commit or a tag")
    hub = _library()
    try:
        api = hub.HfApi(endpoint=_endpoint(), token=False)
        info: Any = api.model_info(repository, revision=asked, files_metadata=True, timeout=30)
    except Exception as error:  # the library's, its client's and the system's, of many kinds
        raise _unreachable(repository, error) from error
    revision = str(info.sha)
    if not _REVISION.fullmatch(revision):
        raise MaskvdError("the hub names no revision", where=repository, remedy="try again later")
    files = {
        one.rfilename: Remote(one.size, one.lfs.sha256 if one.lfs else None)
        for one in info.siblings or ()
    }
    source = f"{_endpoint() or 'https://huggingface.co'}/{repository}"
    return Offer(repository, source, revision, _licence(info), _useful(files, beside, repository))


def fetch(offer: Offer, folder: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """Fetch all files into `folder`, and return what is recorded of them beside `told`.

    The folder is there whole or not at all, and takes the place of one that is there. Raises
    MaskvdError where a file does not come, or is not what the hub says it is; ResultError where the
    place cannot be written.
    """
    work = folder.parent / f".maskvd-{secrets.token_hex(8)}.part"
    try:
        whole = work / "whole"
        whole.mkdir(parents=True)
        _check_room(offer, work)
        files = {
            name: _fetched(offer, name, remote, work / "raw", whole / name)
            for name, remote in offer.files.items()
        }
        record = {**told, "files": files}
        (whole / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(work / "old")
        whole.rename(folder)
    except OSError as error:
        raise ResultError(
            f"cannot be written ({error.strerror or error})",
            where=folder,
            remedy="choose another place: --to DIR",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return record


def _fetched(
    offer: Offer, name: str, remote: Remote, raw: Path, place: Path
) -> dict[str, int | str]:
    hub = _library()
    try:
        got = hub.hf_hub_download(
            offer.repository,
            name,
            revision=offer.revision,
            local_dir=raw,
            endpoint=_endpoint(),
            token=False,
        )
    except Exception as error:  # as above
        raise _unreachable(f"{offer.repository}/{name}", error) from error
    Path(got).rename(place)
    size, digest = place.stat().st_size, sha256_of(place)
    if (remote.size or size, remote.sha256 or digest) != (size, digest):
        raise MaskvdError(
            f"came with {size} bytes and sha256 {digest[:12]}, the hub says {remote.size} and "
            f"{(remote.sha256 or 'nothing')[:12]}",
            where=f"{offer.repository}/{name}",
            remedy="try again",
        )
    return {"bytes": size, "sha256": digest}


def _useful(
    files: Mapping[str, Remote], beside: Sequence[str], repository: str
) -> dict[str, Remote]:
    """Return what is read of a repository. Raises MaskvdError where it has no such files."""
    shards = [name for name in files if _SHARD.fullmatch(name)] if INDEX in files else []
    tensors = [WHOLE] if WHOLE in files else [INDEX, *shards] if shards else []
    if CONFIG not in files or not tensors:
        raise MaskvdError(
            f"has no {CONFIG} with {WHOLE} in this revision",
            where=repository,
            remedy="give another --revision",
        )
    wanted = [CONFIG, *(name for name in beside if name in files), *tensors]
    return {name: files[name] for name in wanted}


def _check_room(offer: Offer, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if offer.size > free:
        raise ResultError(
            f"has {free / 1e6:.0f} MB free, the files take {offer.size / 1e6:.0f} MB",
            where=folder.parent,
            remedy="choose another place: --to DIR",
        )


def _licence(info: Any) -> str | None:
    card = info.card_data
    said = None if card is None else card.get("license_name") or card.get("license")
    tagged = [tag.partition(":")[2] for tag in info.tags or () if tag.startswith("license:")]
    return str(said) if said else next(iter(tagged), None)


def _library() -> Any:
    # Read as it is imported: else it tells the hub of the machine, and asks it what runs here.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    hub = imported("huggingface_hub", "maskvd get needs huggingface_hub", "hf", UsageError)
    # Its bars and warnings know nothing of --quiet; what fails is raised, too.
    importlib.import_module("huggingface_hub.utils").disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    return hub


def _endpoint() -> str | None:
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _unreachable(what: str, error: Exception) -> MaskvdError:
    kind = type(error).__name__
    reason = " ".join(str(error).split()) or kind
    if kind in _MISSING:
        return MaskvdError(
            _MISSING[kind], where=what, remedy="check --revision, or try again later"
        )
    short = reason if len(reason) <= 160 else f"{reason[:157]}..."
    return MaskvdError(
        f"cannot be fetched ({kind}: {short})",
        where=what,
        remedy="check the connection, or give a folder that you have as model.weights",
    )
