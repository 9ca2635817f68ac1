"""Weights where people have them: one file, or a folder as the Hugging Face hub has it.

Such a folder holds `config.json` beside `model.safetensors`, or beside shards that
`model.safetensors.index.json` lists. All of it is data to check, never code to run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from maskvd_cli.data.files import open_regular
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.checkpoints import (
    read_metadata,
    read_tensors,
    read_with_settings,
    sha256_of,
)
from maskvd_cli.families.fetched import name_at
from maskvd_cli.families.vitdet.renaming import CheckpointError, listed
from maskvd_cli.store.arrays import finite_json

CONFIG, WHOLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# Embeddings of texts that stand for classes, which a user may have added.
QUERIES = "queries.safetensors"
# What texts are read by, where a model reads them.
_WORDS = ("vocab.json", "merges.txt")
_MOST_JSON, _MOST_SHARDS, _MOST_CLASSES = 16 << 20, 1000, 1 << 16
_SHARD = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors")
# What stands in a list of names for a class that has none.
_NAMELESS = re.compile(r"N/A|LABEL_\d+|", re.IGNORECASE)


def read_weights(path: Path, wanted: Sequence[str] = ()) -> WeightsFile:
    """Return the tensors of a file or a folder, and what stands beside them.

    `wanted`: the classes that are asked for, for models that read them as texts.
    Our own training writes `metadata`, `config` is the library's in a folder, `settings` are those
    of a .pth. Raises CheckpointError for anything that cannot be used.
    """
    if not path.exists() and (name := name_at(path)) is not None:
        raise CheckpointError(
            "its weights are not there yet", where=name, remedy=f"maskvd get {name}"
        )
    if path.is_dir():
        config = read_json(path / CONFIG)
        tensors, added = _tensors_in(path), path / QUERIES
        metadata = read_metadata(added) if added.is_file() else {}
        return WeightsFile(path, tensors, metadata, config=config, wanted=wanted)
    if path.suffix.lower() in (".pth", ".pt"):
        tensors, settings = read_with_settings(path)
        return WeightsFile(path, tensors, {}, settings=settings)
    tensors = read_tensors(path)
    is_ours = path.suffix.lower() == ".safetensors"
    return WeightsFile(path, tensors, read_metadata(path) if is_ours else {})


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content; of a folder, that of its files' names and SHA-256.

    Only the files that are read count: another README changes nothing.
    """
    if not path.is_dir():
        return sha256_of(path)
    names = [CONFIG, *([INDEX] if _is_sharded(path) else []), *_files_in(path)]
    names += [name for name in _WORDS if (path / name).is_file()]
    lines = [f"{sha256_of(path / name)}  {name}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_config(
    file: WeightsFile,
    name: str,
    expected: Mapping[str, object],
    absent: Mapping[str, object] | None = None,
) -> None:
    """Hold the library's config of a folder against what the model `name` has.

    `expected`: dotted key to value; `absent`: what the library takes where a key is not there, by
    default what is expected. Raises CheckpointError about the first key that differs, with both
    values. A file without a config passes: its tensors alone must fit.
    """
    for key, ours in expected.items() if file.config else ():
        found = _at(file.config, key, (absent or {}).get(key, ours))
        if _plain(found) != _plain(ours):
            raise CheckpointError(
                f"{key} is {_shown(found)}, {name} has {_shown(ours)}",
                where=file.path / CONFIG,
                remedy="name the model that it is of in model.name",
            )


def labels_of(file: WeightsFile, count: int) -> list[str | None] | None:
    """Return the names of the `count` classes that a folder's config gives, None for nameless ones.

    None where it names none at all. Raises CheckpointError for anything but `count` names.
    """
    labels: object = file.config.get("id2label")
    if labels is None:
        return None
    if not isinstance(labels, dict):
        raise _refused(file, f"id2label is a {type(labels).__name__}, expected names by number")
    by_number = cast(dict[str, object], labels)
    if len(by_number) != count or count > _MOST_CLASSES:
        raise _refused(file, f"id2label names {len(by_number)} classes, the tensors have {count}")
    names: list[str | None] = []
    for number in range(count):
        label = by_number.get(str(number))
        if not isinstance(label, str):
            raise _refused(file, f"id2label has no name for class {number}")
        names.append(None if _NAMELESS.fullmatch(label) else label)
    return names if any(names) else None


def _refused(file: WeightsFile, problem: str) -> CheckpointError:
    return CheckpointError(
        problem, where=file.path / CONFIG, remedy="fetch it again, or give the tensors' file alone"
    )


def _tensors_in(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of all files of a folder, each name in the file that its index gives."""
    home = _weight_map(folder) if _is_sharded(folder) else {}
    tensors: dict[str, Tensor] = {}
    for name in _files_in(folder):
        found = read_tensors(folder / name)
        strays = [key for key in found if key in tensors]
        if home and name != QUERIES:
            strays += [key for key in found if home.get(key) != name]
        if strays:
            raise CheckpointError(
                f"holds {len(strays)} tensors that belong elsewhere: {listed(strays)}",
                where=folder / name,
                remedy="fetch the folder again",
            )
        tensors |= found
    if lacking := [key for key in home if key not in tensors]:
        raise CheckpointError(
            f"lists {len(lacking)} tensors that no file holds: {listed(lacking)}",
            where=folder / INDEX,
            remedy="fetch the folder again",
        )
    return tensors


def _is_sharded(folder: Path) -> bool:
    return not (folder / WHOLE).is_file() and (folder / INDEX).is_file()


def _files_in(folder: Path) -> list[str]:
    """Return the names of the files with tensors. Raises CheckpointError where there are none."""
    also = [QUERIES] if (folder / QUERIES).is_file() else []
    if (folder / WHOLE).is_file():
        return [WHOLE, *also]
    if _is_sharded(folder):
        return [*sorted(set(_weight_map(folder).values())), *also]
    pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    problem = f"holds neither {WHOLE} nor {INDEX}"
    if pickled:
        problem += f", and {pickled[0]} is a pickle, which is not read"
    raise CheckpointError(
        problem,
        where=folder,
        remedy="give a checkpoint file, or a folder of the hub with config and safetensors",
    )


def _weight_map(folder: Path) -> dict[str, str]:
    content: object = read_json(folder / INDEX).get("weight_map")
    if not isinstance(content, dict) or not content:
        raise CheckpointError("holds no weight_map", where=folder / INDEX, remedy="fetch it again")
    home = cast(dict[str, object], content)
    for name, file in home.items():
        if not isinstance(file, str) or not _SHARD.fullmatch(file):
            raise CheckpointError(
                f"weight_map puts {name[:60]} into {_shown(file)}, which is no file beside it",
                where=folder / INDEX,
                remedy="fetch it again",
            )
    if len(set(home.values())) > _MOST_SHARDS:
        raise CheckpointError(
            f"lists more than {_MOST_SHARDS} files", where=folder / INDEX, remedy="fetch it again"
        )
    return cast(dict[str, str], home)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file. Raises CheckpointError for anything else."""
    try:
        with open_regular(path) as opened:
            content = opened.read(_MOST_JSON + 1)
        if len(content) > _MOST_JSON:
            raise ValueError(f"it has more than {_MOST_JSON >> 20} MiB")
        value: object = finite_json(content.decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(
            "is missing" if missing else f"cannot be read as JSON ({reason})",
            where=path,
            remedy="fetch the folder again, whole",
        ) from error
    return cast(dict[str, Any], value)


def _at(config: Mapping[str, Any], key: str, otherwise: object) -> object:
    value: object = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return otherwise
        value = cast(Mapping[str, object], value)[part]
    return value


def _plain(value: object) -> object:
    """Return a value as it is compared: equal sides as one number, true apart from 1."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        sides = list(cast(Sequence[object], value))
        square = len(sides) == 2 and sides[0] == sides[1]
        return sides[0] if square else sides
    return (type(value), value) if isinstance(value, bool) else value


def _shown(value: object) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value).strip("'")
    return text if len(text) <= 60 else f"{text[:57]}..."
