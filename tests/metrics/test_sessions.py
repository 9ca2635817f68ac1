"""A latency session: rounds are pieces, a series that raises costs only itself, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.metrics import peaks
from maskvd_cli.metrics.latency import Latency
from maskvd_cli.metrics.rounds import Rounds
from maskvd_cli.metrics.session import FAILURE, Session
from maskvd_cli.store.piece import Piece

INPUT = Size(64, 128)
PROTOCOL = {"rounds": 3, "frames": 4, "warmup": 2, "seed": 0}


@pytest.fixture(scope="module")
def detector() -> Detector:
    made = Detector(get_arch("vitdet-ti"), HeadArch(classes=3, channels=16, hidden=32), INPUT)
    return made.requires_grad_(False).eval()


def clips(frames: int = 4) -> list[ClipInput]:
    images = [torch.full((3, *INPUT), 9 * i, dtype=torch.uint8) for i in range(frames)]
    return [ClipInput(f"c{n}", images, ClipView(frames, INPUT, 16), INPUT, False) for n in (0, 1)]


class Breaking(Dense):
    """Dense that raises on a frame, from a certain run over a clip on."""

    frame = 3
    after = 0
    told = "out of memory (imagine)"

    def step(self, *given: Any, **more: Any) -> Tensor:
        frame = given[1]
        self.runs = getattr(self, "runs", 0) + (frame.index == 0)
        if frame.index >= self.frame and self.runs > self.after:
            raise RuntimeError(self.told)
        return super().step(*given, **more)


def session(detector: Detector, kinds: dict[str, type[Dense]], **more: Any) -> Session:
    def maker(kind: type[Dense]) -> Callable[[], Any]:
        return lambda: kind(DenseParams(), detector.backbone)

    series = {key: maker(kind) for key, kind in kinds.items()}
    given = {
        "baseline": "base-1", "clips": clips(), "loaded": detector,
        "device": torch.device("cpu"), "full_share": dict.fromkeys(series, 1.0), **more,
    }  # fmt: skip
    return Session(series, **given)


def parts(pieces: Iterable[Piece]) -> list[str]:
    return [piece.part for piece in pieces]


def test_a_series_that_raises_in_the_middle_costs_only_itself(detector: Detector) -> None:
    kinds = {"base-1": Dense, "good": Dense, "bad": Breaking}
    pieces = list(Latency().run(session(detector, kinds), PROTOCOL))
    assert parts(pieces) == ["begin", "dropped-00002", "round-00000", "round-00001", "round-00002"]
    assert pieces[1].key == "bad"
    assert pieces[1].facts[FAILURE]["kind"] == "OutOfMemory"
    assert "step" in pieces[1].facts[FAILURE]["traceback"]
    findings = {f.key: f for f in Latency().summarise(list(kinds), pieces, PROTOCOL)}
    assert set(findings) == {"base-1", "good"}
    assert findings["good"].values["speedup"].low is not None
    assert findings["good"].details["rounds"] == 3
    samples = Latency().samples(pieces)
    assert set(samples["series"]) == {"baseline", "control", "good"}
    assert len(samples) == 3 * 3 * 4


def test_a_series_may_run_for_rounds_and_then_break(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "after", 3)  # Warm-up and two rounds go well.
    kinds = {"base-1": Dense, "bad": Breaking}
    pieces = list(Latency().run(session(detector, kinds), PROTOCOL))
    assert parts(pieces)[-2:] == ["dropped-00001", "round-00002"]
    assert {f.key for f in Latency().summarise(list(kinds), pieces, PROTOCOL)} == {"base-1"}


def test_without_the_baseline_the_session_ends(detector: Detector) -> None:
    kinds = {"base-1": Breaking, "good": Dense}
    pieces = list(Latency().run(session(detector, kinds), PROTOCOL))
    assert {piece.key for piece in pieces if FAILURE in piece.facts} == {"base-1"}
    assert "round-00000" not in parts(pieces)
    assert not list(Latency().summarise(list(kinds), pieces, PROTOCOL))


@pytest.mark.parametrize("after", [0, 2])
def test_a_lost_device_ends_the_session_and_is_told_of_one_point(
    after: int, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "told", "CUDA error: device-side assert triggered\nCompile ...")
    monkeypatch.setattr(Breaking, "after", after)
    kinds = {"base-1": Dense, "bad": Breaking, "good": Dense}
    pieces: list[Piece] = []
    stream = Latency().run(session(detector, kinds), PROTOCOL)
    with pytest.raises(ResultError, match="bad left the device unusable"):
        for piece in stream:
            pieces.append(piece)
    rounds = [f"round-{number:05d}" for number in range(after // 2)]
    assert parts(pieces) == ["begin", *rounds, "dropped-00001"]
    lost = pieces[-1]
    assert (lost.key, lost.facts[FAILURE]["kind"]) == ("bad", "DeviceLost")


def test_a_method_that_cannot_be_made_is_dropped(detector: Detector) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("at birth")

    given = session(detector, {"base-1": Dense})
    given = Session(**{**vars(given), "series": {**given.series, "bad": broken}})
    pieces = list(Latency().run(given, {**PROTOCOL, "rounds": 1}))
    assert parts(pieces) == ["begin", "dropped-00001", "round-00000"]


def order_of(samples: pd.DataFrame, number: int) -> list[str]:
    rows = samples[samples["round"] == number]
    return list(dict.fromkeys(rows["series"]))


def test_a_session_goes_on_from_its_next_round(detector: Detector) -> None:
    kinds = {"base-1": Dense, "good": Dense, "other": Dense}
    whole = list(Latency().run(session(detector, kinds), PROTOCOL))
    # Killed in the second round: one round is there, the rest is lost.
    kept = whole[:2]
    rest = list(Latency().run(session(detector, kinds, done=frozenset(parts(kept))), PROTOCOL))
    assert parts([*kept, *rest]) == parts(whole)
    both = Latency().samples([*kept, *rest]), Latency().samples(whole)
    for number in range(3):
        assert order_of(both[0], number) == order_of(both[1], number)
    assert set(Latency().samples(rest)["round"]) == {1, 2}
    done = frozenset(parts(whole))
    assert not list(Latency().run(session(detector, kinds, done=done), PROTOCOL))


def test_what_was_dropped_before_stays_out(detector: Detector) -> None:
    kinds = {"base-1": Dense, "bad": Breaking}
    more = {"lost": frozenset({"bad"}), "done": frozenset({"begin", "dropped-00001"})}
    pieces = list(Latency().run(session(detector, kinds, **more), PROTOCOL))
    assert parts(pieces) == ["round-00000", "round-00001", "round-00002"]
    assert "bad" not in set(Latency().samples(pieces)["series"])


def test_a_round_in_which_the_process_stood_still_is_repeated(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood = iter([True, False, False])
    monkeypatch.setattr(
        "maskvd_cli.machine.standstill.Standstill.stood", property(lambda self: next(stood))
    )
    rounds = Rounds.of(session(detector, {"base-1": Dense}), PROTOCOL)
    arrays, facts = rounds.run(0, rounds.order())
    assert facts["repeated"] == 1
    assert facts["disturbances"][-1] == (
        "the process stood still in round 1, which was measured again"
    )
    assert len(arrays["total_ms"]) == 2 * 4


def test_disturbances_of_all_processes_of_a_session_are_told() -> None:
    def piece(number: int, since: int, *found: str) -> Piece:
        facts = {"since": since, "disturbances": list(found)}
        return Piece("", f"round-{number:05d}", facts=facts)

    from maskvd_cli.metrics.latency import _disturbances

    pieces = [piece(0, 0, "a"), piece(1, 0, "a grew"), piece(2, 2, "b"), piece(3, 2, "b")]
    assert _disturbances(pieces) == ["a grew", "b"]


def test_a_kind_of_frame_that_was_not_timed_gives_no_mean(detector: Detector) -> None:
    given = session(detector, {"base-1": Dense, "good": Dense}, full_share={"good": 0.25})
    pieces = list(Latency().run(given, PROTOCOL))
    findings = {f.key: f for f in Latency().summarise(["base-1", "good"], pieces, PROTOCOL)}
    assert "latency_mean_ms" not in findings["good"].values
    assert "speedup" not in findings["good"].values
    assert findings["good"].values["latency_ms"].value > 0


class FakeCuda:
    """Counts the bytes of models that live, as an allocator does."""

    def __init__(self, *models: nn.Module) -> None:
        self.models = models

    def memory_allocated(self) -> int:
        return sum(map(peaks.bytes_held, self.models))

    def max_memory_allocated(self) -> int:
        return self.memory_allocated() + (1 << 20)

    def synchronize(self) -> None: ...

    def empty_cache(self) -> None: ...

    def reset_peak_memory_stats(self) -> None: ...


def test_a_model_that_others_left_in_memory_is_told_and_not_hidden(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(*models: nn.Module) -> peaks.Peak:
        monkeypatch.setattr(torch, "cuda", FakeCuda(*models))
        return peaks._on_cuda(detector, lambda: Dense(DenseParams(), detector.backbone), clip, 2)

    clip = clips()[0]
    alone, beside = peak(detector), peak(detector, nn.Linear(1 << 10, 1 << 10, bias=False))
    assert alone.others_mib == 0
    assert beside.others_mib == pytest.approx(4)
    assert beside.peak_mib == pytest.approx(alone.peak_mib + 4)
