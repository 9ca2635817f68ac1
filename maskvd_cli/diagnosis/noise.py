"""The noise floor as a finding: which differences cannot be told on this machine now."""

from __future__ import annotations

from maskvd_cli.diagnosis.finding import Checkup
from maskvd_cli.diagnosis.noise_floor import INPUT, MODEL, NoiseFloor

_GOOD, _FAIR = 0.02, 0.05
# With fewer rounds the interval is wide whatever the machine is like.
_ENOUGH = 5


def noise_finding(found: NoiseFloor) -> Checkup:
    """Say how far two measurements of the same work lie apart, and what that hides."""
    ratio, spread = found.ratio, found.spread
    between = "" if ratio.low is None else f" ({ratio.low:.3f} to {ratio.high:.3f})"
    times = f"{spread.median:.1f} ms a frame, p90/median {spread.p90 / spread.median:.2f}"
    text = (
        f"differences under {found.floor:.1%} cannot be told now: the same work twice has ratio "
        f"{ratio.value:.3f}{between}; {MODEL} at {INPUT}, {times}, "
        f"{found.frames} pairs in {found.rounds} rounds"
    )
    name = f"A/A noise, {found.device}"
    if found.rounds < _ENOUGH:
        remedy = "end other work and try again, or give it more time: maskvd doctor --seconds 60"
        return Checkup(name, "warning", f"{text}: too few to rely on", remedy)
    if found.floor < _GOOD:
        return Checkup(name, "ok", text)
    remedy = (
        f"quiet the machine or time more (latency.rounds); trust no less than {found.floor:.0%}"
    )
    return Checkup(name, "note" if found.floor < _FAIR else "warning", text, remedy)
