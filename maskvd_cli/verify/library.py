"""Library cases: a family's small model with drawn weights, against another library's own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections import defaultdict

import torch

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.families.library_cases import ComparedPart, LibraryCase
from maskvd_cli.families.registry import families
from maskvd_cli.verify.cases import PRECISIONS, Agreement

# Absolute; features are drawn so that they are about one large.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def library_cases() -> dict[str, LibraryCase]:
    """Return the cases of all registered families, by the families' names."""
    found = {family.name: family.library_case() for family in families.working()}
    return {name: case for name, case in sorted(found.items()) if case is not None}


def runnable(cases: dict[str, LibraryCase]) -> tuple[dict[str, LibraryCase], list[str]]:
    """Return the cases whose library is installed, and a line on those of each that is not."""
    run: dict[str, LibraryCase] = {}
    missing: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, case in cases.items():
        if importlib.util.find_spec(case.library) is None:
            missing[case.library, case.extra].append(name)
        else:
            run[name] = case
    lines = [
        f"skipped: {', '.join(names)} against {library}, which is not installed; "
        f"pip install 'maskvd[{extra}]'"
        for (library, extra), names in missing.items()
    ]
    return run, lines


def verify_library(name: str, case: LibraryCase) -> Agreement:
    """Run a case in both precisions and compare; whatever goes wrong is the agreement's problem."""
    agreement = Agreement(f"library/{name}", tolerance=TOLERANCE)
    try:
        agreement.method = f"dense, {case.library} {importlib.metadata.version(case.library)}"
        with torch.inference_mode():
            for dtype, _ in PRECISIONS:
                for part in case.parts(dtype):
                    _compare(part, dtype, agreement)
    except MaskvdError as error:
        agreement.problem = str(error)
    except Exception as error:  # a library that computes otherwise must not cost the others
        agreement.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return agreement


def _compare(part: ComparedPart, dtype: torch.dtype, agreement: Agreement) -> None:
    """Note how far a part is from the library's; the first that is too far is the problem."""
    alone = Agreement(part.where)
    alone.compare(part.ours, part.theirs.numpy())
    agreement.compare(part.ours, part.theirs.numpy())
    deviation = (alone.deviation or {}).get(dtype)
    if deviation is None:
        raise MaskvdError(f"{part.where} came in another precision than {dtype}")
    if agreement.problem is None and not deviation <= TOLERANCE[dtype]:
        agreement.problem = f"{part.where} differ by {deviation:.1e} in {dtype}".replace(
            "torch.", ""
        )
