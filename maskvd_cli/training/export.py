"""The end of a training: a weights file, its accuracy, and a model card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.families.checkpoints import load_into, save, sha256_of
from maskvd_cli.machine.environment import environment
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.training.card import model_card
from maskvd_cli.training.checkpoint import Progress
from maskvd_cli.training.evaluation import evaluate
from maskvd_cli.training.frames import LookList
from maskvd_cli.training.setup import Training


def export(training: Training, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write `<name>.safetensors` and `<name>.md` into the folder; return their facts.

    The accuracy is that of the weights as they are stored, computed in float32. Raises MaskvdError
    where float16 cannot hold a weight.
    """
    recipe = training.recipe
    stored = _stored(training)
    load_into(training.result, stored, "the exported weights")
    accuracy = evaluate(
        training.result, training.evaluated, training.geometry, workers=recipe.workers
    )
    file = folder / f"{recipe.name}.safetensors"
    save(file, stored, metadata(training, progress))
    device = training.device
    result = {
        "file": file.name,
        "sha256": sha256_of(file),
        "bytes": file.stat().st_size,
        "parameters": sum(tensor.numel() for tensor in stored.values()),
        "steps": progress.step,
        "frames_learnt": progress.step * recipe.batch * recipe.accumulate,
        "seconds": round(progress.seconds, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
        "accuracy": asdict(accuracy),
        "environment": environment(),
    }
    write_bytes(folder / f"{recipe.name}.md", model_card(training, result).encode())
    return result


def metadata(training: Training, progress: Progress) -> dict[str, str]:
    """Return what a reader of the weights needs to build and feed the detector, as strings."""
    recipe, geometry = training.recipe, training.geometry
    heads = asdict(training.detector.heads)
    return {
        "contains": "recogniser" if isinstance(training.learnt, LookList) else "detector",
        "arch": training.detector.arch.name,
        "heads": json.dumps(heads, sort_keys=True),
        "classes": json.dumps(training.learnt.dataset.classes),
        "input": str(geometry.input),
        "frame": str(geometry.frame or "fit"),
        "dataset": recipe.dataset.name,
        "split": training.learnt.dataset.split,
        "protocol": training.learnt.dataset.protocol,
        "annotations": training.learnt.fingerprint,
        "recipe": recipe.name,
        "seed": str(recipe.seed),
        "steps": str(progress.step),
    }


def _stored(training: Training) -> dict[str, Tensor]:
    tensors = {name: value.detach() for name, value in training.result.state_dict().items()}
    if training.recipe.export == "float32":
        return tensors
    halved = {name: value.half() for name, value in tensors.items()}
    for name, value in halved.items():
        if not torch.isfinite(value).all():
            raise MaskvdError(
                f"{name} does not fit into float16", remedy="set export: float32 and run again"
            )
    return halved
