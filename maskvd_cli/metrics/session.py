"""What a metric works with: one model at one input, its points, and the clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from maskvd_cli.families.vitdet.detector import Detector
    from maskvd_cli.methods.base import Method
    from maskvd_cli.methods.clips import ClipInput


@dataclass(frozen=True)
class Session:
    """One model at one input in this process, alone in memory.

    `series`: by the point's key, what makes its method anew; `baseline`: the key of the series that
    others are compared with, always among them. `full_share`: the share of full frames in all of
    the data, None where unknown. `options` as in the unit. `on_talk` hears what is being done.
    """

    model: Detector
    series: Mapping[str, Callable[[], Method[Any]]]
    baseline: str
    clips: Sequence[ClipInput]
    device: torch.device
    full_share: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    on_talk: Callable[[str], None] = lambda text: None
