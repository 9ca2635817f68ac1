"""Blocks with three token gates each: what Eventful Transformers and STGT share.

A block on x, as `compute` runs it:

    qkv = gate(LN1(x), QKV)             before_ln: gate(x, QKV of LN1)
    a = attention(qkv)                  of all tokens; in windows always computed whole
    x = x + gate(a, projection)
    x = x + gate(LN2(x), MLP)           before_ln: gate(x, MLP of LN2)

Each gate returns its layer's output of all tokens, so that residuals are those of all tokens too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import CLASS_FEATURES, PLAIN_VIT, TIME
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods import eventful_costs
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Selection,
    TokenMethod,
    TokenTrace,
)
from maskvd_cli.methods.eventful_costs import GlobalUpdate
from maskvd_cli.methods.gates import GateParams, Layer, TokenGate
from maskvd_cli.methods.pooling import check_pool, check_poolable
from maskvd_cli.methods.trace import SetsWhenAsked

G = TypeVar("G", bound=GateParams)
_GATES = ("qkv", "projection", "mlp")


class GatedMethod(TokenMethod[G]):
    """The first frame of a clip is dense; later ones recompute what goes through the gates.

    A class token is one more token of the sequence: gates choose it like any other. Counts of the
    trace, per clip, each summed over blocks: tokens through the gates of `qkv`, `projection` and
    `mlp`; of the first, those in global blocks, `global_qkv`; `global_keys`, columns of global
    attention that were recomputed; and `dense`, 1 on frames that were run densely. Its `tokens`
    are the mean over all gates, at most N. `selected`: (B, m) by gate, such as `blocks.3.qkv`.
    """

    knows = PLAIN_VIT | {TIME, CLASS_FEATURES}
    batched = True
    forgets = False

    def __init__(self, params: G, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.gates: dict[str, TokenGate] = {}

    def forget(self) -> None:
        self.gates = {}

    def state(self) -> Iterable[Tensor]:
        for gate in self.gates.values():
            if gate.reference is not None and gate.output is not None:
                yield from (gate.reference, gate.output)

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        self.check(len(tokens), frame.grid)
        x = self.backbone.with_class_token(tokens + self.backbone.positions_on(frame.grid))
        selected: dict[str, Tensor | None] = {}
        keys = 0
        for number, block in enumerate(self.backbone.blocks):
            name = f"blocks.{number}"
            qkv, index = self._normed_gate(f"{name}.qkv", x, block.norm1, block.qkv)
            if block.window is None:
                attended, columns = self.attend(number, block, qkv, frame.grid, index)
                keys += columns
            else:
                attended = block.attend(qkv, frame.grid)
            projected, at = self._gate(f"{name}.projection")(attended, block.projection)
            x = x + projected
            hidden, at_mlp = self._normed_gate(f"{name}.mlp", x, block.norm2, block.mlp)
            x = x + hidden
            selected |= {f"{name}.qkv": index, f"{name}.projection": at, f"{name}.mlp": at_mlp}
        return self.backbone.finish(x), self._trace(x, frame.grid, selected, keys)

    def check(self, batch: int, grid: Size) -> None:
        """Raise UsageError for what this grid, or clips side by side, cannot have."""
        self.params.count(eventful_costs.sequence_length(self.backbone.arch, grid))
        check_pool(grid, self.update(self.params).pool)
        if batch > 1 and self.params.policy == "threshold":
            raise UsageError(
                f"{batch} clips differ in how many of their tokens exceed a threshold",
                remedy="run one clip at a time, or choose policy top_r or top_fraction",
            )

    @abstractmethod
    def attend(
        self, number: int, block: Block, qkv: Tensor, grid: Size, index: Tensor | None
    ) -> tuple[Tensor, int]:
        """Return global attention (B, n, D), and how many of its columns were recomputed.

        `qkv` (B, n, 3D) of all tokens, only to be read; `index` of those that changed, as TokenGate
        returns it.
        """

    def _gate(self, name: str) -> TokenGate:
        return self.gates.setdefault(name, TokenGate(self.params, forgets=self.forgets))

    def _normed_gate(
        self, name: str, tokens: Tensor, norm: Layer, layer: Layer
    ) -> tuple[Tensor, Tensor | None]:
        if self.params.gate == "before_ln":
            return self._gate(name)(tokens, lambda rows: layer(norm(rows)))
        return self._gate(name)(norm(tokens), layer)

    def _trace(
        self, x: Tensor, grid: Size, selected: Mapping[str, Tensor | None], keys: int
    ) -> FrameTrace:
        batch, length, _ = x.shape
        arch = self.backbone.arch
        chosen = SetsWhenAsked(selected, batch, length, x.device)
        sizes = chosen.sizes()
        through = {
            gate: [sizes[f"blocks.{number}.{gate}"] for number in range(arch.depth)]
            for gate in _GATES
        }
        counts = {gate: sum(tokens) for gate, tokens in through.items()}
        mean = sum(counts.values()) / len(chosen)
        counts["global_qkv"] = sum(through["qkv"][block] for block in arch.global_blocks)
        counts["global_keys"] = keys
        counts["dense"] = int(all(index is None for index in selected.values()))
        return FrameTrace(
            min(mean, grid.area),
            mean == length,
            counts,
            chosen,
            dict.fromkeys(chosen, 1 / len(chosen)),
            f"recomputed at many of {len(chosen)} gates",
            arch.lead,
        )

    @classmethod
    def update(cls, params: G) -> GlobalUpdate:
        """Return how global blocks attend on later frames."""
        del params
        return GlobalUpdate()

    @classmethod
    def resolve(cls, params: G, arch: ViTArch) -> G:
        check_poolable(arch, cls.update(params).pool)
        return params

    @classmethod
    def constant_on_repeats(cls, params: G) -> bool:
        return True

    @classmethod
    def plan(cls, params: G, arch: ViTArch, view: ClipView) -> TokenTrace:
        update = cls.update(params)
        check_pool(view.grid, update.pool)
        count = params.count(eventful_costs.sequence_length(arch, view.grid))
        if count is None:
            raise UsageError(
                "how many tokens move by more than a threshold depends on the pixels",
                remedy="choose policy top_r or top_fraction, or run the detector on the frames",
            )
        if update.pools_changes:
            raise UsageError(
                f"how many pooled keys change with update {update.attention} depends on the pixels",
                remedy="leave pool out, choose update tokenwise, or run the detector on the frames",
            )
        tokens = np.full(view.frames, count, dtype=np.int64)
        dense = np.arange(view.frames) == 0
        return eventful_costs.uniform_trace(arch, view.grid, update, tokens, dense)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: G, trace: TokenTrace) -> Macs:
        before_ln = params.gate == "before_ln"
        return eventful_costs.executed(arch, grid, cls.update(params), trace, before_ln=before_ln)

    @classmethod
    def published_at(cls, arch: ViTArch, grid: Size, params: G, tokens: int) -> int | None:
        update = cls.update(params)
        if params.policy == "threshold" or update.pools_changes:
            return None
        through, dense = np.array([tokens], dtype=np.int64), np.array([False])
        trace = eventful_costs.uniform_trace(arch, grid, update, through, dense)
        return int(np.asarray(cls.macs(arch, grid, params, trace).published).item())

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: G) -> int:
        return eventful_costs.state_bytes(arch, grid, cls.update(params))
