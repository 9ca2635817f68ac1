"""The model card: what stands beside a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskvd_cli.core.quantity import Quantity
from maskvd_cli.core.shown import markdown_code as code
from maskvd_cli.core.shown import markdown_text, shown
from maskvd_cli.core.words import counted
from maskvd_cli.families.zoo import entry
from maskvd_cli.training.frames import LookList
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
    extent = counted(len(evaluated), evaluated.unit)
    where = f"{code(evaluated.dataset.name)} {code(evaluated.dataset.split)}"
    text = [
        f"# {recipe.name}",
        *([_plain(recipe.description)] if recipe.description else []),
        _table(("", ""), rows),
        f"{headline.header} on {extent} of {where}, {_conditions(training)}, "
        f"weights as stored{also}:",
        _table(("class", headline.header), [(name, f"{value:.1f}") for name, value in scores]),
        *([_without_method(result, headline)] if training.learner else []),
        *([_untuned(result, headline)] if training.spatial else []),
        f"Licence: {_plain(recipe.licence or _NO_LICENCE)}",
    ]
    return "\n\n".join(text) + "\n"


def _conditions(training: Training) -> str:
    """Return what was computed of the frames that were evaluated."""
    if training.spatial is not None:
        return f"steps as {code(training.spatial.told())} computes them, all looks"
    if (learner := training.learner) is None:
        looks = "all looks" if _has_looks(training) else "single frames"
        return f"{_computed(training)}, {looks}"
    frames = "single frames" if learner.frames == 1 else f"the last of {learner.frames} frames each"
    return f"tokens as {learner.method.name} chooses them, {frames}"


def _has_looks(training: Training) -> bool:
    return isinstance(training.learnt, LookList)


def _without_method(result: dict[str, Any], headline: Quantity) -> str:
    shares = ", ".join(f"{100 * share:.0f}" for share in result["kept"])
    return (
        f"Share of the tokens that each block computed, in per cent: {shares}. With every token "
        f"computed the {headline.header} of the same model is "
        f"{result['baseline'][headline.name]:.1f}."
    )


def _computed(training: Training) -> str:
    reduction = training.reduction
    if reduction is None:
        return "every token computed"
    params = reduction.params.model_dump(mode="json").items()
    told = ", ".join(f"{name} {value}" for name, value in params if value is not None)
    return f"tokens lost as {reduction.method.name} does ({told})"


def _untuned(result: dict[str, Any], headline: Quantity) -> str:
    return (
        f"The initial weights have the {headline.header} "
        f"{result['untuned'][headline.name]:.1f} there."
    )


def _model(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    model, geometry = training.recipe.model, training.geometry
    heads = entry(model.name).family.described(training.detector.heads)
    size, parameters = result["bytes"] / 1e6, result["parameters"] / 1e6
    return [
        (
            "file",
            f"{code(result['file'])}, {size:.{_digits(size)}f} MB, {training.recipe.export}",
        ),
        ("sha256", f"`{result['sha256']}`"),
        *_method(training, result),
        ("architecture", f"{model.name}, {parameters:.{_digits(parameters) + 1}f} M parameters"),
        *([("heads", heads)] if heads else []),
        ("input", f"{geometry.input}, frames {geometry.frame or 'keep their aspect'}"),
        ("classes", _plain(", ".join(training.learnt.dataset.classes))),
    ]


def _digits(millions: float) -> int:
    return 1 if millions >= 1 else 2


def _method(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on the method that these weights are of, or were tuned for."""
    section = training.recipe.method
    if section is None:
        return []
    if (spatial := training.spatial) is not None:
        frozen = "frozen, as in the initial weights; it ran once over the videos"
        return [("tuned for", code(spatial.told())), ("spatial model", frozen)]
    settings = ", ".join(f"{name} {_plain(str(value))}" for name, value in section.settings.items())
    detector = f"frozen, sha256 `{training.init_sha256}`"
    if not section.frozen:
        learnt = result["detector"]
        detector = f"learnt too: {code(learnt['file'])}, sha256 `{learnt['sha256']}`"
    return [("weights of", f"{section.name} ({settings})"), ("detector", detector)]


def _data(training: Training) -> list[tuple[str, str]]:
    recipe, learnt = training.recipe, training.learnt
    dataset, stride = learnt.dataset, f", every {recipe.dataset.stride} of a clip"
    rows = [
        ("data", f"{dataset.name}, split {dataset.split}, protocol {dataset.protocol}"),
        (f"{learnt.unit}s", str(len(learnt)) + ("" if _has_looks(training) else stride)),
        ("annotations", f"sha256 `{learnt.fingerprint}`"),
        ("seed", str(recipe.seed)),
    ]
    if recipe.init is not None:
        new = ", ".join(recipe.allow_missing) if training.fresh else "none"
        left = f"; left: {_plain(', '.join(recipe.leave))}" if recipe.leave else ""
        name = Path(recipe.init).name
        rows.append(
            (
                "initial weights",
                f"{_plain(name)}, sha256 `{training.init_sha256}`; new: {_plain(new)}{left}",
            )
        )
    if recipe.mask is not None:
        rows.append(("mask", f"static, keep rate {recipe.mask.static_keep_rate}"))
    if (reduction := training.reduction) is not None:
        when = f"sets in from step {reduction.begin} to {reduction.end}"
        rows.append(("reduction", f"{reduction.method.name}, {when}"))
    return rows


def _course(training: Training, result: dict[str, Any]) -> list[tuple[str, str]]:
    recipe, where = training.recipe, result["environment"]
    size = recipe.batch * recipe.accumulate
    unit = f"{training.learnt.unit}s"
    steps = f"{result['steps']} of {size} {unit} ({result['frames_learnt']} in all)"
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
