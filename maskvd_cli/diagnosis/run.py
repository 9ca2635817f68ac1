"""All checks in the order in which they are told, and what goes into JSON."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.diagnosis.cuda import (
    cuda_finding,
    gpu_findings,
    nvidia_boards,
    read_current_gpu,
    read_torch,
)
from maskvd_cli.diagnosis.datasets import dataset_findings
from maskvd_cli.diagnosis.finding import Checkup, worst
from maskvd_cli.diagnosis.load import load_findings
from maskvd_cli.diagnosis.processor import processor_findings
from maskvd_cli.diagnosis.software import software_findings
from maskvd_cli.diagnosis.weights import weights_findings
from maskvd_cli.machine.device import device_facts, resolve_device
from maskvd_cli.machine.environment import environment
from maskvd_cli.machine.gpu import GpuFacts, nvidia_driver
from maskvd_cli.machine.linux import ROOT
from maskvd_cli.recipe.shipped import shipped_recipes

if TYPE_CHECKING:
    from maskvd_cli.diagnosis.noise_floor import NoiseFloor

Talk = Callable[[str], None]


@dataclass(frozen=True)
class Diagnosis:
    """Findings by group, the noise floors measured (one a device), and the environment."""

    groups: dict[str, list[Checkup]]
    noise: list[NoiseFloor]
    environment: dict[str, Any]

    @property
    def findings(self) -> list[Checkup]:
        """All findings, in order."""
        return [finding for group in self.groups.values() for finding in group]

    def as_json(self) -> dict[str, Any]:
        """Return worst state, findings with their group, noise floors and environment."""
        return {
            "state": worst(self.findings),
            "findings": [
                {"group": name, **asdict(finding)}
                for name, group in self.groups.items()
                for finding in group
            ],
            "noise": [asdict(floor) for floor in self.noise],
            "environment": self.environment,
        }


def diagnose(
    *,
    seconds: float | None,
    results: Path = Path("results"),
    root: Path = ROOT,
    on_talk: Talk = lambda text: None,
) -> Diagnosis:
    """Check everything; `seconds` of noise on every device, none where it is None.

    With software that does not work no noise is measured. The load is looked at first, before
    this process makes any.
    """
    on_talk("watching the machine for a second")
    load = list(load_findings(results, root))
    on_talk("checking software and processor")
    here = environment()
    software = list(software_findings())
    torch_cuda = read_torch()
    software.append(cuda_finding(torch_cuda, nvidia_driver(root), nvidia_boards(root)))
    processor = list(processor_findings(str(here["processor"]), root))
    on_talk("looking for datasets and weights")
    data = [*dataset_findings(), *weights_findings(shipped_recipes())]
    noise, floors, seen = [], [], []
    if seconds is not None and worst(software) != "problem":
        noise, floors, seen = _noise(seconds, on_talk)
    groups = {
        "software": software,
        "processor": processor,
        "gpu": list(gpu_findings(seen)),
        "load": load,
        "data and weights": data,
        "noise": noise,
    }
    facts = device_facts(resolve_device("auto"))
    return Diagnosis({n: found for n, found in groups.items() if found}, floors, here | facts)


def _noise(seconds: float, on_talk: Talk) -> tuple[list[Checkup], list[NoiseFloor], list[GpuFacts]]:
    """Measure on the CPU, and where there is a GPU also there, reading what it says meanwhile."""
    # Detectors need torchvision; where it is broken, all else must still be told.
    from maskvd_cli.diagnosis.noise import noise_finding  # noqa: PLC0415
    from maskvd_cli.diagnosis.noise_floor import measure_noise  # noqa: PLC0415

    findings: list[Checkup] = []
    floors: list[NoiseFloor] = []
    seen: list[GpuFacts] = []
    for device in dict.fromkeys((torch.device("cpu"), resolve_device("auto"))):
        talk = f"noise floor on {device.type}, about {seconds:g} s"
        on_talk(talk)

        def after_round(done: int, talk: str = talk, kind: str = device.type) -> None:
            on_talk(f"{talk}, {done} rounds done")
            if kind == "cuda":
                _read_into(seen)

        try:
            floors.append(measure_noise(device, seconds, on_round=after_round))
            findings.append(noise_finding(floors[-1]))
        except UsageError as error:
            remedy = error.remedy or "end other work"
            name = f"A/A noise, {device.type}"
            findings.append(Checkup(name, "warning", error.message, remedy))
    return findings, floors, seen


def _read_into(seen: list[GpuFacts]) -> None:
    try:
        seen.append(read_current_gpu())
    except UsageError:
        # `gpu_findings` asks again, and tells why nothing is known.
        return
