"""The end of a training: a weights file, its accuracy, and a model card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.families.base import TrainableModel
from maskvd_cli.families.blocks.own_weights import MODULE
from maskvd_cli.families.checkpoints import load_into, save, sha256_of
from maskvd_cli.machine.environment import environment
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.training.card import model_card
from maskvd_cli.training.checkpoint import Progress
from maskvd_cli.training.evaluation import ModelScores, evaluated, every_token, from_kept
from maskvd_cli.training.frames import LookList
from maskvd_cli.training.geometry import new_detector
from maskvd_cli.training.initial import load_initial
from maskvd_cli.training.setup import Training
from maskvd_cli.training.spatial import SpatialRun


def export(training: Training, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write `<name>.safetensors` and `<name>.md` into the folder; return their facts.

    With a method its own weights stand there, and a detector that learnt too is
    `<name>-detector.safetensors`. A recogniser is whole, also where only what follows its spatial
    model was learnt. The scores are those of the weights as they are stored, computed
    in float32. Raises MaskvdError where float16 cannot hold a weight.
    """
    recipe, facts = training.recipe, metadata(training, progress)
    file = folder / f"{recipe.name}.safetensors"
    beside: dict[str, Any] = {}
    if training.learner is None:
        stored = _rounded(training.result, recipe.export)
    else:
        assert recipe.method is not None
        if not recipe.method.frozen:
            other = folder / f"{recipe.name}-detector.safetensors"
            save(other, _rounded(training.result, recipe.export), facts)
            beside["detector"] = {"file": other.name, "sha256": sha256_of(other)}
        stored = _rounded(training.own_result, recipe.export)
        digest = beside["detector"]["sha256"] if beside else training.init_sha256
        facts = _own_metadata(training, facts, str(digest))
    if training.spatial is not None:
        facts |= _spatial_metadata(training.spatial)
        beside["untuned"] = _untuned(training).content()
    scores, kept = evaluated(training)
    if training.learner is not None:
        beside["kept"] = [round(share, 4) for share in kept]
        beside["baseline"] = every_token(training).content()
    save(file, stored, facts)
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
        "accuracy": scores.content(),
        "environment": environment(),
        **beside,
    }
    write_bytes(folder / f"{recipe.name}.md", model_card(training, result).encode())
    return result


def metadata(training: Training, progress: Progress) -> dict[str, str]:
    """Return what a reader of the weights needs to build and feed the detector, as strings."""
    recipe, geometry = training.recipe, training.geometry
    heads = asdict(training.detector.heads)
    section = recipe.reduction
    told = {} if section is None else {"reduction": section.model_dump_json()}
    began = {}
    if recipe.init is not None:
        began = {"init": Path(recipe.init).name, "init_sha256": str(training.init_sha256)}
    return {
        **told,
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
        **began,
    }


def _own_metadata(training: Training, facts: dict[str, str], detector: str) -> dict[str, str]:
    """Return what a reader of a method's weights needs; `detector`: sha256 of the one beside."""
    method = training.recipe.method
    assert method is not None
    left_out = ("contains", "heads", "classes")
    return {
        **{name: text for name, text in facts.items() if name not in left_out},
        "contains": MODULE,
        "method": method.name,
        "settings": json.dumps(method.settings, sort_keys=True),
        "detector": detector,
    }


def _spatial_metadata(spatial: SpatialRun) -> dict[str, str]:
    """Return what a reader of tuned weights must know: under which method, and from which ones."""
    facts = json.dumps(spatial.facts(), sort_keys=True)
    return {"tuned_for": spatial.told(), "tuned_for_facts": facts, "init": spatial.weights}


def _untuned(training: Training) -> ModelScores:
    """Return the scores of the initial weights on the same features."""
    recipe = training.recipe
    assert recipe.init is not None
    untuned = new_detector(recipe, len(training.learnt.dataset.classes))
    load_initial(untuned, Path(recipe.init), recipe.allow_missing, recipe.leave)
    return from_kept(training, untuned.to(training.device))


def _rounded(module: nn.Module, kind: str) -> dict[str, Tensor]:
    """Return the weights as they are stored, which are then the module's, too.

    Of a whole model these are what inference needs.
    """
    tensors = {name: value.detach() for name, value in module.state_dict().items()}
    if kind == "float16":
        tensors = {name: value.half() for name, value in tensors.items()}
        for name, value in tensors.items():
            if not torch.isfinite(value).all():
                raise MaskvdError(
                    f"{name} does not fit into float16", remedy="set export: float32 and run again"
                )
    load_into(module, tensors, "the exported weights")
    if not isinstance(module, TrainableModel):
        return tensors
    return module.exported(tensors)
