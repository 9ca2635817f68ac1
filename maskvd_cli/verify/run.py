"""Run golden cases one by one; a case that cannot be run fails with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.verify.cases import Golden, GoldenError, Verdict, read_case
from maskvd_cli.verify.detector import verify_detector
from maskvd_cli.verify.plain import verify_classifier, verify_masked
from maskvd_cli.verify.windowed import verify_windowed


def verify(path: Path) -> Verdict:
    """Run one case and compare; whatever goes wrong is the verdict's problem."""
    verdict = Verdict(path.stem)
    try:
        case = read_case(path)
        with torch.inference_mode():
            _kind_of(case)(case, verdict)
        if verdict.deviation is None:
            verdict.problem = "holds no output to compare with"
    except MaskvdError as error:
        verdict.problem = str(error)
    except Exception as error:  # a case of another shape must not cost the others
        verdict.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return verdict


def _kind_of(case: Golden) -> Callable[[Golden, Verdict], None]:
    """Return the runner for a case, told by what its configuration describes."""
    if "backbone_config" in case.config:
        return verify_detector
    if "block_config" in case.config:
        return verify_windowed
    if case.has("images") and case.has("final"):
        return verify_classifier
    if "keep_rate" in case.config and case.has("inputs"):
        return verify_masked
    raise GoldenError("its configuration describes no known kind of case", where=case.name)
