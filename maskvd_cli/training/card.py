"""The model card: what stands beside a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskvd_cli.training.setup import Training

_NO_LICENCE = "none stated; the terms of the training data and of initial weights apply"


def model_card(training: Training, result: dict[str, Any]) -> str:
    """Return the card in Markdown: data, seed, command, steps, hardware, mAP50, sha256, licence."""
    recipe = training.recipe
    accuracy = result["accuracy"]
    if "top1" in accuracy:
        return recogniser_card(training, result)
    rows = [*_model(training, result), *_data(training), *_course(training, result)]
    by_class = [(name, f"{value:.1f}") for name, value in accuracy["map50_by_class"].items()]
    scores = [("all", f"{accuracy['map50']:.1f}"), *by_class]
    evaluated = training.evaluated
    text = [
        f"# {recipe.name}",
        *([recipe.description] if recipe.description else []),
        _table(("", ""), rows),
        f"mAP50 on {len(evaluated)} frames of `{evaluated.dataset.name}` "
        f"`{evaluated.dataset.split}`, every token computed, single frames, weights as stored "
        f"(mAP 0.5:0.95: {accuracy['map']:.1f}):",
        _table(("class", "mAP50"), scores),
        f"Licence: {recipe.licence or _NO_LICENCE}",
    ]
    return "\n\n".join(text) + "\n"


def _model(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    model, geometry = training.recipe.model, training.geometry
    return [
        ("file", f"`{result['file']}`, {result['bytes'] / 1e6:.1f} MB, {training.recipe.export}"),
        ("sha256", f"`{result['sha256']}`"),
        ("architecture", f"{model.name}, {result['parameters'] / 1e6:.2f} M parameters"),
        ("heads", f"{model.channels} channels, {model.hidden} hidden units"),
        ("input", f"{geometry.input}, frames {geometry.frame or 'keep their aspect'}"),
        ("classes", ", ".join(training.learnt.dataset.classes)),
    ]


def _data(training: Training) -> list[tuple[str, str]]:
    recipe, learnt = training.recipe, training.learnt
    dataset = learnt.dataset
    rows = [
        ("data", f"{dataset.name}, split {dataset.split}, protocol {dataset.protocol}"),
        ("frames", f"{len(learnt)}, every {recipe.dataset.stride} of a clip"),
        ("annotations", f"sha256 `{learnt.fingerprint}`"),
        ("seed", str(recipe.seed)),
    ]
    if recipe.init is not None:
        new = ", ".join(recipe.allow_missing) if training.fresh else "none"
        name = Path(recipe.init).name
        rows.append(("initial weights", f"{name}, sha256 `{training.init_sha256}`; new: {new}"))
    if recipe.mask is not None:
        rows.append(("mask", f"static, keep rate {recipe.mask.static_keep_rate}"))
    return rows


def _course(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    recipe, where = training.recipe, result["environment"]
    size = recipe.batch * recipe.accumulate
    steps = f"{result['steps']} of {size} frames ({result['frames_learnt']} in all)"
    hardware = f"{result['device']}; {where['processor']}, {where['cores']} cores"
    return [
        ("command", f"`{where['command']}`"),
        ("steps", steps),
        ("time", f"{result['seconds'] / 60:.0f} min of steps"),
        ("hardware", hardware),
        ("software", f"maskvd {where['tool_version']}, torch {where['packages']['torch']}"),
    ]


def _table(header: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {header[0]} | {header[1]} |", "| :-- | :-- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)])


def recogniser_card(training: Training, result: dict[str, Any]) -> str:
    """Return the card of a recogniser: the same with top-1 in the place of mAP50."""
    recipe, accuracy, evaluated = training.recipe, result["accuracy"], training.evaluated
    hidden = ("heads", "frames")
    rows = [row for row in (*_model(training, result), *_data(training)) if row[0] not in hidden]
    rows.insert(-1, ("videos", str(len(training.learnt))))
    by_class = [(name, f"{value:.1f}") for name, value in accuracy["top1_by_class"].items()]
    text = [
        f"# {recipe.name}",
        *([recipe.description] if recipe.description else []),
        _table(("", ""), [*rows, *_course(training, result)]),
        f"Top-1 on {accuracy['videos']} videos of `{evaluated.dataset.name}` "
        f"`{evaluated.dataset.split}`, every token computed, weights as stored "
        f"(top-5: {accuracy['top5']:.1f}):",
        _table(("class", "top-1"), [("all", f"{accuracy['top1']:.1f}"), *by_class]),
        f"Licence: {recipe.licence or _NO_LICENCE}",
    ]
    return "\n\n".join(text) + "\n"
