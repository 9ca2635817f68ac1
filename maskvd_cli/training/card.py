"""The model card: what stands beside a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskvd_cli.core.shown import markdown_code as code
from maskvd_cli.core.shown import markdown_text, shown
from maskvd_cli.training.setup import Training

_NO_LICENCE = "none stated; the terms of the training data and of initial weights apply"


def model_card(training: Training, result: dict[str, Any]) -> str:
    """Return the card in Markdown: data, course, hardware, scores, sha256, licence."""
    recipe = training.recipe
    accuracy = result["accuracy"]
    rows = [*_model(training, result), *_data(training), *_course(training, result)]
    whole, of_classes = (accuracy[name] for name in training.scores)
    scores = [("all", whole), *((_plain(name), value) for name, value in of_classes.items())]
    headline, *others = training.task.quantities
    beside = [f"{one.header} {accuracy[one.name]:.1f}" for one in others if one.name in accuracy]
    also = f" ({', '.join(beside)})" if beside else ""
    evaluated = training.evaluated
    where = f"{code(evaluated.dataset.name)} {code(evaluated.dataset.split)}"
    text = [
        f"# {recipe.name}",
        *([_plain(recipe.description)] if recipe.description else []),
        _table(("", ""), rows),
        f"{headline.header} on {len(evaluated)} frames of {where}, every token computed, single "
        f"frames, weights as stored{also}:",
        _table(("class", headline.header), [(name, f"{value:.1f}") for name, value in scores]),
        f"Licence: {_plain(recipe.licence or _NO_LICENCE)}",
    ]
    return "\n\n".join(text) + "\n"


def _model(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    model, geometry = training.recipe.model, training.geometry
    return [
        (
            "file",
            f"{code(result['file'])}, {result['bytes'] / 1e6:.1f} MB, {training.recipe.export}",
        ),
        ("sha256", f"`{result['sha256']}`"),
        ("architecture", f"{model.name}, {result['parameters'] / 1e6:.2f} M parameters"),
        ("heads", f"{model.channels} channels, {model.hidden} hidden units"),
        ("input", f"{geometry.input}, frames {geometry.frame or 'keep their aspect'}"),
        ("classes", _plain(", ".join(training.learnt.dataset.classes))),
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
        rows.append(
            (
                "initial weights",
                f"{_plain(name)}, sha256 `{training.init_sha256}`; new: {_plain(new)}",
            )
        )
    if recipe.mask is not None:
        rows.append(("mask", f"static, keep rate {recipe.mask.static_keep_rate}"))
    return rows


def _course(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    recipe, where = training.recipe, result["environment"]
    size = recipe.batch * recipe.accumulate
    steps = f"{result['steps']} of {size} frames ({result['frames_learnt']} in all)"
    hardware = _plain(f"{result['device']}; {where['processor']}, {where['cores']} cores")
    return [
        ("command", code(where["command"])),
        ("steps", steps),
        ("time", f"{result['seconds'] / 60:.0f} min of steps"),
        ("hardware", hardware),
        ("software", f"maskvd {where['tool_version']}, torch {where['packages']['torch']}"),
    ]


def _plain(text: str) -> str:
    """Return text of recipes and datasets as text of the card."""
    return markdown_text(shown(" ".join(text.split())))


def _table(header: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {header[0]} | {header[1]} |", "| :-- | :-- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)])
