"""One reading of device names, on machines with as many GPUs as are planted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskvd_cli.core.conditions import conditions_of
from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine import device as machine
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.machine.gpu import GpuFacts
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.scenes.weights import Weights


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """The devices that were made torch's current one, in turn."""
    made: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    return made


def plant(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda"),
        ("cpu", 0, "cpu"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda:11", 12, "cuda:11"),
    ],
)
def test_names_of_devices(
    name: str,
    gpus: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    current: list[torch.device],
) -> None:
    plant(monkeypatch, gpus)
    device = resolve_device(name)
    assert device == torch.device(expected)
    assert current == ([device] if ":" in name else [])


@pytest.mark.parametrize(
    ("name", "gpus", "message"),
    [
        ("cuda", 0, "there is no device 'cuda' here: torch sees no CUDA device; use cpu, or auto"),
        ("cuda:0", 0, "no device 'cuda:0' here: torch sees no CUDA device"),
        ("cuda:1", 1, "no device 'cuda:1' here: torch sees one CUDA device, cuda:0"),
        ("cuda:2", 2, "no device 'cuda:2' here: torch sees 2 CUDA devices, cuda:0 to cuda:1"),
    ],
)
def test_gpus_that_are_not_there(
    name: str,
    gpus: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    current: list[torch.device],
) -> None:
    plant(monkeypatch, gpus)
    with pytest.raises(UsageError) as caught:
        resolve_device(name)
    assert message in str(caught.value)
    assert current == []


@pytest.mark.parametrize(
    "name",
    [
        "gpu",
        "meta",
        "mps",
        "CPU",
        "",
        " cpu",
        "cuda:",
        "cuda:01",
        "cuda:-1",
        "cuda:1\n",
        "cuda:9999",
    ],
)
def test_other_words_are_no_devices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, 2)
    with pytest.raises(UsageError, match="is no device; use auto, cpu, cuda or"):
        resolve_device(name)


def test_the_number_of_a_gpu_enters_no_key(
    monkeypatch: pytest.MonkeyPatch, current: list[torch.device]
) -> None:
    plant(monkeypatch, 2)
    recipe: dict[str, Any] = {
        "schema": 1,
        "name": "small",
        "dataset": {"name": "roads"},
        "model": {"name": "vitdet-ti", "weights": "random"},
        "methods": [{"name": "dense"}],
    }
    settings = [
        Weights(Recipe.model_validate({**recipe, "device": name}), ["car"]).setting()
        for name in ("cuda", "cuda:0", "cuda:1")
    ]
    assert settings[0]["device"] == "cuda"
    assert settings[0] == settings[1] == settings[2]


class Board:
    """What torch says of a GPU that is not here."""

    name, total_memory, uuid = "A board", 8 * 2**30, "0000"


def facts_of(driver: str | None) -> GpuFacts:
    if driver is None:
        raise UsageError("NVML does not answer")
    return GpuFacts("A board", driver)


@pytest.mark.parametrize(
    ("loaded", "told", "expected"),
    [
        ("570.86.15", "unknown", "570.86.15"),
        (None, "580.1", "580.1"),
        (None, "unknown", None),
        (None, None, None),
    ],
)
def test_the_driver_is_a_condition(
    loaded: str | None, told: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Board())
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(machine, "nvidia_driver", lambda: loaded)
    monkeypatch.setattr(machine, "read_gpu", lambda uuid: facts_of(told))
    facts = machine.device_facts(torch.device("cuda"))
    assert (facts["gpu"], facts["driver"]) == ("A board", expected)
    assert conditions_of(facts).get("driver") == expected
    assert "driver" not in machine.device_facts(torch.device("cpu"))


def test_the_driver_of_another_maker_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Board())
    monkeypatch.setattr(torch.version, "hip", "6.3")
    monkeypatch.setattr(machine, "nvidia_driver", lambda: "570.86.15")
    assert machine.device_facts(torch.device("cuda"))["driver"] is None
