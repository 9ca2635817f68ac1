"""Run golden cases one by one; a case that cannot be run fails with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.verify.cases import (
    RECOGNISER,
    Description,
    Golden,
    UnknownKindError,
    Verdict,
    describe,
    read_case,
)
from maskvd_cli.verify.detector import verify_detector
from maskvd_cli.verify.plain import verify_classifier, verify_masked
from maskvd_cli.verify.recogniser import verify_recogniser
from maskvd_cli.verify.windowed import BLOCKS, verify_windowed

Runner = Callable[[Golden, Verdict], None]


def verify(path: Path, name: str | None = None) -> Verdict:
    """Run one case and compare; whatever goes wrong is the verdict's problem.

    `name` is what the case is called, by default its file's name. A case of an unknown kind is
    not run, and its verdict says so.
    """
    verdict = Verdict(name or path.stem)
    try:
        runner = _runner_of(describe(path))
        case = read_case(path)
        with torch.inference_mode():
            runner(case, verdict)
        if verdict.deviation is None:
            verdict.problem = "holds no output to compare with"
    except UnknownKindError as error:
        verdict.unknown, verdict.problem = error.kind, str(error)
    except MaskvdError as error:
        verdict.problem = str(error)
    except Exception as error:  # a case of another shape must not cost the others
        verdict.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return verdict


def _runner_of(case: Description) -> Runner:
    """Return the runner for a case, told by what its configuration describes.

    Raises UnknownKindError where there is none.
    """
    if "backbone_config" in case.config:
        return verify_detector
    if RECOGNISER in case.config:
        return verify_recogniser
    if "block_config" in case.config:
        block = case.config.get("block_class")
        if block is None or block in BLOCKS:
            return verify_windowed
        kind = f"blocks of class {block}"
        raise UnknownKindError(f"no method computes {kind}", kind=kind)
    if {"images", "final"} <= case.arrays:
        return verify_classifier
    if "keep_rate" in case.config and "inputs" in case.arrays:
        return verify_masked
    message = "its configuration describes no known kind of case"
    raise UnknownKindError(message, kind=case.kind)
