"""Features of the steps of videos, computed once and kept in a training's folder.

`FOLDER/<digest of all that decides them>/` holds `000000.safetensors`, `000064.safetensors`, ...,
each with the features of 64 videos from that one on, and `features.json` with what decides them and
the sha256 of each file. What is read is compared with it first. A kill loses the file that was
being filled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from maskvd_cli.families.checkpoints import save, sha256_of
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.reading import read_regular
from maskvd_cli.store.sealed import read_object, sealed_text, unsealed
from maskvd_cli.training.records import DamagedTrainingError

_LIST, _VERSION, _LARGEST_LIST = "features.json", 1, 16 << 20
_VIDEOS_OF_A_FILE = 64


class StoredFeatures:
    """The features of `videos` videos, each float32 of one `shape`, in a folder below `folder`.

    `key`: everything that decides them, as JSON values; another key has another folder. Raises
    DamagedTrainingError for files that are not as they were written.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, Any], videos: int, shape: tuple[int, ...]
    ) -> None:
        self._key = json.loads(json.dumps(key))
        canonical = json.dumps(self._key, sort_keys=True, separators=(",", ":"))
        self._folder = folder / hashlib.sha256(canonical.encode()).hexdigest()[:16]
        self._videos, self._shape = videos, shape
        self._digests = self._read_list()
        self._open: tuple[str, Any] | None = None

    def complete(
        self, make: Callable[[range], Iterable[Tensor]], heard: Callable[[int, int], object]
    ) -> None:
        """Let `make` compute the features of the videos that are missing, and keep them.

        It is asked for those of some videos in a row. Files that are there are compared with their
        sha256. `heard` gets how many videos are done, of how many.
        """
        for first in range(0, self._videos, _VIDEOS_OF_A_FILE):
            videos = range(first, min(first + _VIDEOS_OF_A_FILE, self._videos))
            file = self._file(first)
            if file.name in self._digests and file.exists():
                if not file.is_file() or sha256_of(file) != self._digests[file.name]:
                    raise self._damage("the checksum does not fit: something was changed", file)
                continue
            tensors: dict[str, Tensor] = {}
            for index, made in zip(videos, make(videos), strict=True):
                tensors[str(index)] = self._checked(made, file)
                heard(index + 1, self._videos)
            save(file, tensors, {"contains": "features"})
            self._digests[file.name] = sha256_of(file)
            content = {"version": _VERSION, "key": self._key, "files": self._digests}
            write_bytes(self._folder / _LIST, sealed_text(content))

    def of(self, index: int) -> Tensor:
        """Return the features of the video at a place of the list."""
        file = self._file(index - index % _VIDEOS_OF_A_FILE)
        try:
            if self._open is None or self._open[0] != file.name:
                self._open = file.name, safetensors.safe_open(file, framework="pt")
            found = self._open[1].get_tensor(str(index))
        except (OSError, safetensors.SafetensorError) as error:
            raise self._damage(f"cannot be read: {error}", file) from error
        return self._checked(found, file)

    def _checked(self, features: Tensor, file: Path) -> Tensor:
        if features.dtype != torch.float32 or tuple(features.shape) != self._shape:
            raise self._damage(
                f"features are {tuple(features.shape)}, expected {self._shape}", file
            )
        return features

    def _file(self, first: int) -> Path:
        return self._folder / f"{first:06d}.safetensors"

    def _read_list(self) -> dict[str, str]:
        path = self._folder / _LIST
        if not path.exists():
            return {}
        try:
            content = read_object(read_regular(path, _LARGEST_LIST).decode())
            rest = unsealed(content, "version", _VERSION)
            files = rest["files"]
            if rest["version"] != _VERSION or rest["key"] != self._key:
                raise ValueError("it is of other features")
            if not isinstance(files, dict):
                raise ValueError("files are no mapping")
            return {str(name): str(digest) for name, digest in files.items()}  # pyright: ignore
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise self._damage(f"cannot be read: {error}", path) from error

    def _damage(self, problem: str, path: Path) -> DamagedTrainingError:
        return DamagedTrainingError(
            f"damaged ({problem})",
            where=path,
            remedy=f"remove the folder {self._folder.name}, and they are computed again",
        )
