"""Run golden cases one by one; a case that cannot be run fails with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.verify.cases import (
    RECOGNISER,
    Agreement,
    Description,
    Golden,
    UnknownKindError,
    describe,
    read_case,
)
from maskvd_cli.verify.detector import verify_detector
from maskvd_cli.verify.fewer import verify_matching, verify_merging, verify_sampling
from maskvd_cli.verify.plain import verify_classifier, verify_masked
from maskvd_cli.verify.pruned import BLOCK, verify_pruned
from maskvd_cli.verify.recogniser import verify_recogniser
from maskvd_cli.verify.selection import verify_mapping, verify_selector
from maskvd_cli.verify.windowed import BLOCKS, verify_windowed

Runner = Callable[[Golden, Agreement], None]
# Cases that are told by the names of their arrays.
_BY_ARRAYS: tuple[tuple[frozenset[str], Runner], ...] = (
    (frozenset(("images", "final")), verify_classifier),
    (frozenset(("x_ref", "x_map", "assoc")), verify_mapping),
    (frozenset(("logprob", "selected")), verify_selector),
)
# Cases that are told by a key of their configuration.
_BY_KEY: dict[str, Runner] = {
    "backbone_config": verify_detector,
    RECOGNISER: verify_recogniser,
}
# Cases that name their kind.
_BY_NAME: dict[str, Runner] = {
    "ats": verify_sampling,
    "tome_matching": verify_matching,
    "tome_vit": verify_merging,
}
# What runs cases of modules that methods bring, or parts of models, whose weights are no model's.
OF_MODULES = frozenset((verify_mapping, verify_selector, *_BY_NAME.values()))


def verify(path: Path, name: str | None = None) -> Agreement:
    """Run one case and compare; whatever goes wrong is the agreement's problem.

    `name` is what the case is called, by default its file's name. A case of an unknown kind is
    not run, and its agreement says so.
    """
    agreement = Agreement(name or path.stem)
    try:
        runner = _runner_of(describe(path))
        case = read_case(path, of_model=runner not in OF_MODULES)
        with torch.inference_mode():
            runner(case, agreement)
        if agreement.deviation is None:
            agreement.problem = "holds no output to compare with"
        agreement.uncompared = case.arrays.unread
    except UnknownKindError as error:
        agreement.unknown, agreement.problem = error.kind, str(error)
    except MaskvdError as error:
        agreement.problem = str(error)
    except Exception as error:  # a case of another shape must not cost the others
        agreement.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return agreement


def _runner_of(case: Description) -> Runner:
    """Return the runner for a case, told by what its configuration describes.

    Raises UnknownKindError where there is none.
    """
    named = case.config.get("case")
    if isinstance(named, str) and named in _BY_NAME:
        return _BY_NAME[named]
    for key, runner in _BY_KEY.items():
        if key in case.config:
            return runner
    if "block_config" in case.config:
        block = case.config.get("block_class")
        if block is None or block in BLOCKS:
            return verify_windowed
        if block == BLOCK and case.config.get("drop_using_rollout"):
            return verify_pruned
        kind = f"blocks of class {block}"
        raise UnknownKindError(f"no method computes {kind}", kind=kind)
    for names, runner in _BY_ARRAYS:
        if names <= case.arrays:
            return runner
    if "keep_rate" in case.config and "inputs" in case.arrays:
        return verify_masked
    message = "its configuration describes no known kind of case"
    raise UnknownKindError(message, kind=case.kind)
