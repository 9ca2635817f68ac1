"""Gates on tokens that a sampling method keeps in slots: `eventful+ats`.

The two halves of Eventful Transformers' video classifier: over time, gates recompute what moved; in
space, a block keeps some of the tokens that enter (`ats`). Attention weights are updated for all
tokens of a block, which is what sampling reads. Rows of those that stay, their product with the
values, and all that follows belong to slots: a newcomer meets what its predecessor left there,
until it has moved enough. Features of tokens that are gone are zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import (
    CLASS_FEATURES,
    CLASS_TOKEN,
    DETECTION_TOKENS,
    TOKENS,
    WINDOWS,
)
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.ats import ATS, ATSParams, stages_of
from maskvd_cli.methods.base import (
    FLOAT32_BYTES,
    ClipView,
    FrameContext,
    FrameTrace,
    Method,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
)
from maskvd_cli.methods.dropping import BlockTokens
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.eventful_costs import FLOAT16_BYTES
from maskvd_cli.methods.gated import GATES
from maskvd_cli.methods.joined_params import Half, joined
from maskvd_cli.methods.reducing import STEPS, frame_extras
from maskvd_cli.methods.trace import SetsWhenAsked

_NO_SLOT = "keeps all but the class token in slots, and the detection tokens of {model} have none"
_ONE_LIST = "keeps one list of slots, and each window of {model} would need its own"
_COUNTS = (*GATES, "logits", "values", "columns")


class SlottedGates(TokenMethod[Params]):
    """Gates of `first` on the tokens that `second` keeps.

    Counts of the trace, each summed over blocks: tokens through the gates of `qkv`, `projection`
    and `mlp`; `logits`, entries of q k^T, and `values`, products of entries of A with rows of v,
    that were computed for each head; `columns` of attention that were recomputed; `dense`, 1 on the
    first frame of a clip.
    """

    first: ClassVar[type[Eventful]]
    second: ClassVar[type[ATS]]
    halves: ClassVar[tuple[Half, Half]]
    needs = frozenset((TOKENS, CLASS_TOKEN))
    knows = frozenset((TOKENS, CLASS_TOKEN)) | STEPS
    refuses: ClassVar = {WINDOWS: _ONE_LIST, **dict.fromkeys(DETECTION_TOKENS, _NO_SLOT)}
    batched = True

    def __init__(self, params: Params, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        first, second = _own(self.params, self.halves)
        self.gates, self.sampling = self.first(first, backbone), self.second(second, backbone)
        self.gates.sampler = self.sampling.sampler()

    def forget(self) -> None:
        self.gates.forget()
        self.sampling.forget()

    def state(self) -> Iterable[Tensor]:
        yield from self.gates.state()
        yield from self.sampling.state()

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        grid, backbone = frame.grid, self.backbone
        self.gates.check(len(tokens), grid)
        x = backbone.with_class_token(tokens + backbone.positions_on(grid))
        standing = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        tally = _Tally(backbone.arch)
        for number, block in enumerate(backbone.blocks):
            before = standing
            x, through, columns = self.gates.through(number, block, x, grid)
            rows = self.gates.rows(number)
            standing = standing if rows is None else standing.gather(1, rows)
            tally.add(number, before, standing, through, columns)
        trace = tally.trace(grid, self.gates.params.update)
        if CLASS_FEATURES in backbone.arch.has:
            return backbone.finish(x), trace
        features = torch.zeros_like(tokens)
        places = standing[:, backbone.arch.lead :] - backbone.arch.lead
        clips = torch.arange(len(tokens), device=x.device)[:, None]
        features[clips, places] = backbone.finish(x)
        return features, trace

    @classmethod
    def resolve(cls, params: Params, arch: ViTArch) -> Params:
        first, second = _own(params, cls.halves)
        if first.update == "tokenwise":
            raise UsageError(
                "update tokenwise keeps no attention, which sampling reads",
                remedy="choose update full or qk",
            )
        if second.score == "row":
            raise UsageError(
                "score row is not among what gates update for sampling",
                remedy="choose score column, or leave it out",
            )
        params = cls.halves[0].into(params, cls.first.resolve(first, arch))
        return cls.halves[1].into(params, cls.second.resolve(second, arch))

    @classmethod
    def constant_on_repeats(cls, params: Params) -> bool:
        return True

    @classmethod
    def plan(cls, params: Params, arch: ViTArch, view: ClipView) -> TokenTrace:
        first, second = _own(params, cls.halves)
        if first.policy == "threshold":
            raise UsageError(
                "how many tokens move by more than a threshold depends on the pixels",
                remedy="choose policy top_r or top_fraction, or run the detector on the frames",
            )
        first.count(view.tokens + arch.lead)
        stages = stages_of(second, arch, view.tokens)
        frames = [_foretold(first, arch, stages, dense=index == 0) for index in range(view.frames)]
        return TokenTrace.of(frames)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: Params, trace: TokenTrace) -> Macs:
        """Return the MACs of every frame.

        Products: QKV 3qD^2, projection pD^2, MLP 2rmD^2, logits and values times D. The published
        counter adds, under torchprofile's rules, LayerNorms of the rows that they see and attention
        scaling; else biases 3qD + pD + (1 + r)mD, residuals, gates 3aD or bD, and those of A and v,
        their accumulation, as `eventful_costs` does.
        """
        first, second = _own(params, cls.halves)
        counts, square = trace.counts, arch.dim**2
        through = 3 * counts["qkv"] + counts["projection"] + 2 * arch.mlp_ratio * counts["mlp"]
        products = through * square + (counts["logits"] + counts["values"]) * arch.dim
        stages = stages_of(second, arch, grid.area)
        ends = [(stage.entering + arch.lead, stage.leaving + arch.lead) for stage in stages]
        extras = _published_extras(arch, first, trace, ends)
        return Macs(products, products + extras + frame_extras(arch, grid, ends[-1][1]))

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: Params) -> int:
        """Return the bytes of gates 4(a + b)D, S Ha^2, A Hab, v aD, O bD, and slots, of each block.

        a tokens enter and b stay, class token included.
        """
        first, second = _own(params, cls.halves)
        gates = attention = product = 0
        for stage in stages_of(second, arch, grid.area):
            a, b = stage.entering + arch.lead, stage.leaving + arch.lead
            gates += 4 * (a + b) * arch.dim
            attention += arch.heads * a**2
            product += arch.heads * a * b + (a + b) * arch.dim
        kept = (gates + attention) * FLOAT32_BYTES
        if first.update == "full":
            kept += product * (FLOAT16_BYTES if first.av_precision == "half" else FLOAT32_BYTES)
        return kept + cls.second.planned_state_bytes(arch, grid, second)


def _published_extras(
    arch: ViTArch, gates: EventfulParams, trace: TokenTrace, ends: Sequence[tuple[int, int]]
) -> costs.Tokens:
    """Return what the published counter adds to the products of each frame.

    `ends`: of each block the tokens that enter, a, and that stay, b, class token included.
    """
    counts, dense, dim = trace.counts, trace.counts["dense"], arch.dim
    if arch.torchprofiled:
        norms = sum(a + b for a, b in ends)
        if gates.gate == "before_ln":
            norms = norms * dense + (counts["qkv"] + counts["mlp"]) * (1 - dense)
        return norms * dim + arch.heads * counts["logits"]
    biases = 3 * counts["qkv"] + counts["projection"] + (1 + arch.mlp_ratio) * counts["mlp"]
    residuals = sum(2 * b for _, b in ends)
    compared = sum(a + 2 * b for a, b in ends)
    later = compared * dim
    if gates.update == "full":
        later = later + sum((a + 2 * b) * dim + arch.heads * a * b for a, b in ends)
        later = later + counts["columns"] * dim
    return (biases + residuals) * dim + later * (1 - dense)


class _Tally:
    """What blocks computed on one frame, added up as they run."""

    def __init__(self, arch: ViTArch) -> None:
        self.arch = arch
        self.sets: dict[str, Tensor | None] = {}
        self.slots: dict[str, Tensor] = {}
        self.blocks: list[tuple[int, int, int]] = []

    def add(
        self,
        number: int,
        before: Tensor,
        after: Tensor,
        through: dict[str, Tensor | None],
        columns: int,
    ) -> None:
        """Note a block that tokens `before` (B, a) entered and `after` (B, b) left, by number."""
        standing = {"qkv": before, "projection": after, "mlp": after}
        for gate in GATES:
            name = f"blocks.{number}.{gate}"
            self.sets[name], self.slots[name] = through[gate], standing[gate]
        self.blocks.append((before.shape[1], after.shape[1], columns))

    def trace(self, grid: Size, update: str) -> FrameTrace:
        """Return the trace of the frame; sets hold tokens, not slots."""
        first = self.slots["blocks.0.qkv"]
        chosen = SetsWhenAsked(self.sets, len(first), grid.area, first.device, self.slots)
        sizes = chosen.sizes()
        dense = all(index is None for index in self.sets.values())
        counts = dict.fromkeys(_COUNTS, 0)
        for number, (a, b, columns) in enumerate(self.blocks):
            for gate in GATES:
                counts[gate] += sizes[f"blocks.{number}.{gate}"]
            through = sizes[f"blocks.{number}.qkv"]
            logits, values = _attention(a, b, through, columns, None if dense else update)
            counts["logits"] += logits
            counts["values"] += values
            counts["columns"] += columns
        mean = sum(counts[gate] for gate in GATES) / len(chosen)
        lost = self.blocks[-1][1] < self.blocks[0][0]
        return FrameTrace(
            min(mean, grid.area),
            dense and not lost,
            {**counts, "dense": int(dense)},
            chosen,
            dict.fromkeys(chosen, 1 / len(chosen)),
            f"recomputed at many of {len(chosen)} gates",
            self.arch.lead,
        )


def _attention(a: int, b: int, through: int, columns: int, update: str | None) -> tuple[int, int]:
    """Return how many entries of q k^T a block computes, and of A times v, for each head.

    `update` is None on dense frames.
    """
    if update is None:
        return a * a, a * b
    return (through + columns) * a, 2 * b * columns if update == "full" else a * b


def _foretold(
    params: EventfulParams, arch: ViTArch, stages: list[BlockTokens], *, dense: bool
) -> FrameTrace:
    counts = dict.fromkeys(_COUNTS, 0)
    for stage in stages:
        a, b = stage.entering + arch.lead, stage.leaving + arch.lead
        into, out = (n if dense else _through(params, n) for n in (a, b))
        for gate, count in zip(GATES, (into, out, out), strict=True):
            counts[gate] += count
        logits, values = _attention(a, b, into, into, None if dense else params.update)
        counts["logits"] += logits
        counts["values"] += values
        counts["columns"] += into
    tokens = sum(counts[gate] for gate in GATES) / (len(GATES) * len(stages))
    whole = not any(stage.drops for stage in stages)
    mean = min(tokens, float(stages[0].entering))
    return FrameTrace(mean, dense and whole, {**counts, "dense": int(dense)})


def _through(params: EventfulParams, tokens: int) -> int:
    if params.r is not None:
        return min(params.r, tokens)
    count = params.count(tokens)
    assert count is not None
    return count


def _own(params: Params, halves: tuple[Half, Half]) -> tuple[EventfulParams, ATSParams]:
    first, second = (half.of(params) for half in halves)
    assert isinstance(first, EventfulParams)
    assert isinstance(second, ATSParams)
    return first, second


def why_not_slotted(first: type[Method[Any]], second: type[Method[Any]]) -> str | None:
    """Return why gates make no combination with another method; None where they do."""
    if not issubclass(first, Eventful):
        return f"{first.name} updates no attention weights, which tokens are kept by"
    if not issubclass(second, ATS):
        return (
            f"gates compare what stands in a slot with what stood there, and {second.name} keeps "
            "no tokens in slots"
        )
    return None


def slotted(first: type[Method[Any]], second: type[Method[Any]]) -> type[Method[Any]]:
    """Return the method `first+second`, where `why_not_slotted` says nothing against it."""
    assert issubclass(first, Eventful) and issubclass(second, ATS)
    params = joined(
        f"{first.__name__}{second.__name__}Params",
        first.params_type,
        second.params_type,
        prefix=second.name,
    )
    own, other = params.halves
    told = {
        "name": f"{first.name}+{second.name}",
        "description": f"gates of {first.name} on the tokens that {second.name} keeps",
        "paper": first.paper,
        "revision": first.revision + second.revision - 1,
        "params_type": params,
        "halves": params.halves,
        "first": first,
        "second": second,
        "naming": other.called(second.naming),
        "columns": {**own.headed(first.columns), **other.headed(second.columns)},
        "figure": first.figure,
        "__module__": __name__,
        "__doc__": SlottedGates.__doc__,
    }
    kind: Any = type(SlottedGates)
    return kind(str(told["name"]), (SlottedGates,), told)
