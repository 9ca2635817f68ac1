"""A point: one method with one value per parameter, and everything else that decides the result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_LONGEST_LABEL = 80


@dataclass(frozen=True)
class Point:
    """What one result file answers for.

    `label` is the readable name; `params` are complete, defaults filled in; `setting` is all that
    the points of a run share (dataset with fingerprint, heatmap, model, detections, seed).
    """

    label: str
    method: str
    revision: int
    params: Mapping[str, Any]
    setting: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """Readable name and 12 hex digits of a sha256 over everything but that name."""
        decides = {
            "method": self.method,
            "revision": self.revision,
            "params": self.params,
            "setting": self.setting,
        }
        canonical = json.dumps(decides, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", self.label)[:_LONGEST_LABEL].strip("-.")
        return f"{safe}-{digest}"


def label_of(method: str, params: Mapping[str, Any]) -> str:
    """Return the readable name, for example `maskvd period=8 static_keep_rate=0.5`."""
    return " ".join([method, *(f"{name}={value}" for name, value in params.items())])
