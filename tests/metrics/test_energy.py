"""Energy is what a counter says over many frames; the counter itself is NVML's."""

from __future__ import annotations

import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput
from maskvd_cli.methods.registry import methods
from maskvd_cli.metrics.boards import measure_energy, open_meter

INPUT = Size(32, 64)


class Counter:
    """Uses 7 mJ a frame, and 100 mJ each time that nobody looks."""

    def __init__(self) -> None:
        self.frames = 0

    def read_mj(self) -> int:
        return 1000 + 7 * self.frames


def test_energy_per_frame_is_the_counters_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = get_arch("vitdet-ti")
    detector = Detector(arch, HeadArch(classes=2, channels=8, hidden=8), INPUT).eval()
    dense = methods.load("dense")
    method = dense(dense.resolve(dense.params_type(), arch), detector.backbone)
    meter, step = Counter(), method.step

    def counted(*given: object) -> torch.Tensor:
        meter.frames += 1
        return step(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(method, "step", counted)
    clips = [
        ClipInput(name, [torch.zeros(3, *INPUT, dtype=torch.uint8)] * frames,
                  ClipView(frames, INPUT, arch.patch), INPUT, False)
        for name, frames in (("a", 3), ("b", 2))
    ]  # fmt: skip
    times = iter([0.0, 1.0, 2.0, 3.0, 9.0, 9.5])
    found = measure_energy(
        detector, method, clips, meter, frames=3, seconds=5.0, clock=lambda: next(times)
    )
    assert (found.mj_per_frame, found.frames, found.seconds) == (7.0, 3 + 2 + 3, 9.5)


def test_a_cpu_has_no_meter() -> None:
    with pytest.raises(UsageError, match="NVIDIA GPUs alone"):
        open_meter(torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_nvml_counts_upwards() -> None:
    pytest.importorskip("pynvml")
    meter = open_meter(torch.device("cuda"))
    assert 0 < meter.read_mj() <= meter.read_mj()
