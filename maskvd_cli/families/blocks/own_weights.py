"""Weights of a module beside the model, as a method brings them: safetensors only, strictly loaded.

Such a file says in its metadata what it `contains`, the method and architecture that it was made
for, and what was learnt how; tensors have the module's own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor, nn

from maskvd_cli.families.checkpoints import (
    differences,
    load_into,
    read_metadata,
    read_tensors,
    sha256_of,
    shapes_of,
)
from maskvd_cli.families.vitdet.renaming import CheckpointError

SUFFIX = ".safetensors"
# What such a file says that it contains.
MODULE = "module"
_MADE_WITH = "train it with `maskvd train`"


@dataclass(frozen=True)
class OwnWeights:
    """A file of weights: tensors by name, what its writer said, and the sha256 of its content."""

    path: Path
    digest: str
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def check(self, method: str, arch: str, module: nn.Module) -> None:
        """Raise CheckpointError unless the file holds all of `module`, and nothing else.

        Also where it says that it was made for another method or architecture.
        """
        said = self.metadata
        if said.get("contains") != MODULE or "method" not in said:
            raise CheckpointError(
                f"does not say that it holds what {method} brings",
                where=self.path,
                remedy=_MADE_WITH,
            )
        for word, wanted in (("method", method), ("arch", arch)):
            if said.get(word) != wanted:
                raise CheckpointError(
                    f"was made for the {word} {said.get(word)}, not {wanted}",
                    where=self.path,
                    remedy=f"give weights for {wanted}, or {_MADE_WITH}",
                )
        if problems := differences(shapes_of(module.state_dict()), shapes_of(self.tensors)):
            raise CheckpointError(
                f"does not fit these parameters of {method}: {'; '.join(problems)}",
                where=self.path,
                remedy="give the parameters that it was trained with",
            )

    def load(self, module: nn.Module) -> None:
        """Copy the tensors into `module`. Raises CheckpointError where they do not fit."""
        load_into(module, self.tensors, self.path)


def read_own_weights(path: Path) -> OwnWeights:
    """Return the content of a file, which is read again only where it changed.

    Raises CheckpointError for a file that is absent, damaged or none of safetensors.
    """
    if path.suffix.lower() != SUFFIX:
        raise CheckpointError(
            f"is no {SUFFIX} file", where=path, remedy=f"give a {SUFFIX} file, or a shipped name"
        )
    try:
        stat = path.stat()
    except OSError:
        # Absent; the reader tells it in its own words.
        return OwnWeights(path, "", read_tensors(path), {})
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> OwnWeights:
    del changed, size
    tensors = read_tensors(path)
    return OwnWeights(path, sha256_of(path), tensors, read_metadata(path))
