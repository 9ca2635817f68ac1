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
    rows = [*_model(training, result), *_data(training), *_course(training, result)]
    by_class = [(name, f"{value:.1f}") for name, value in accuracy["map50_by_class"].items()]
    scores = [("all", f"{accuracy['map50']:.1f}"), *by_class]
    evaluated = training.evaluated
    text = [
        f"# {recipe.name}",
        *([recipe.description] if recipe.description else []),
        _table(("", ""), rows),
        f"mAP50 on {len(evaluated)} frames of `{evaluated.dataset.name}` "
        f"`{evaluated.dataset.split}`, {_conditions(training)}, weights as stored "
        f"(mAP 0.5:0.95: {accuracy['map']:.1f}):",
        _table(("class", "mAP50"), scores),
        *([_without_method(result)] if training.learner else []),
        f"Licence: {recipe.licence or _NO_LICENCE}",
    ]
    return "\n\n".join(text) + "\n"


def _conditions(training: Training) -> str:
    """Return what was computed of the frames that were evaluated."""
    if (learner := training.learner) is None:
        return "every token computed, single frames"
    frames = "single frames" if learner.frames == 1 else f"the last of {learner.frames} frames each"
    return f"tokens as {learner.method.name} chooses them, {frames}"


def _without_method(result: dict[str, Any]) -> str:
    shares = ", ".join(f"{100 * share:.0f}" for share in result["kept"])
    return (
        f"Share of the tokens that each block computed, in per cent: {shares}. With every token "
        f"computed the mAP50 of the same detector is {result['dense']['map50']:.1f}."
    )


def _model(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    model, geometry = training.recipe.model, training.geometry
    size, parameters = result["bytes"] / 1e6, result["parameters"] / 1e6
    return [
        ("file", f"`{result['file']}`, {size:.{_digits(size)}f} MB, {training.recipe.export}"),
        ("sha256", f"`{result['sha256']}`"),
        *_method(training, result),
        ("architecture", f"{model.name}, {parameters:.{_digits(parameters) + 1}f} M parameters"),
        ("heads", f"{model.channels} channels, {model.hidden} hidden units"),
        ("input", f"{geometry.input}, frames {geometry.frame or 'keep their aspect'}"),
        ("classes", ", ".join(training.learnt.dataset.classes)),
    ]


def _digits(millions: float) -> int:
    return 1 if millions >= 1 else 2


def _method(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on the method whose weights these are; none for a detector."""
    section = training.recipe.method
    if section is None:
        return []
    told = ", ".join(f"{name} {value}" for name, value in section.settings.items())
    detector = f"frozen, sha256 `{training.init_sha256}`"
    if not section.frozen:
        learnt = result["detector"]
        detector = f"learnt too: `{learnt['file']}`, sha256 `{learnt['sha256']}`"
    return [("weights of", f"{section.name} ({told})"), ("detector", detector)]


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
