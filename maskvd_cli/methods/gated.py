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
from typing import ClassVar, TypeVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import (
    CLASS_FEATURES,
    DETECTION_TOKENS,
    PLAIN_VIT,
    TAPS,
    TIME,
    WINDOW_CLASS_TOKENS,
)
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
from maskvd_cli.methods.frame import premature
from maskvd_cli.methods.gates import GateParams, Layer, TokenGate
from maskvd_cli.methods.pooling import check_pool, check_poolable
from maskvd_cli.methods.selecting import Watch
from maskvd_cli.methods.trace import SetsWhenAsked

G = TypeVar("G", bound=GateParams)
GATES = ("qkv", "projection", "mlp")


class GatedMethod(TokenMethod[G]):
    """The first frame of a clip is dense; later ones recompute what goes through the gates.

    A class token, of a window too, is one more token of the sequence: gates choose it like any
    other. Detection
    tokens always go through, beside those that the policy chooses among the others.

    Counts of the trace, per clip, each summed over blocks: tokens through the gates of `qkv`,
    `projection` and `mlp`; of the first, those in global blocks, `global_qkv`; `global_keys`,
    columns of global attention that were recomputed; and `dense`, 1 on frames that were run
    densely. Its `tokens` are the mean over all gates without detection tokens, at most N.
    `selected`: (B, m) by gate, such as `blocks.3.qkv`.
    """

    knows = PLAIN_VIT | DETECTION_TOKENS | {TAPS, WINDOW_CLASS_TOKENS, TIME, CLASS_FEATURES}
    batched = True
    forgets = False
    # In combinations, as `ReducingMethod` has them.
    knows_chosen: ClassVar[frozenset[str]] = (
        PLAIN_VIT | DETECTION_TOKENS | {TAPS, WINDOW_CLASS_TOKENS}
    )
    refuses_chosen: ClassVar[Mapping[str, str]] = {}
    watchable: ClassVar[bool] = False
    chosen_constant: ClassVar[bool] = True

    def __init__(self, params: G, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.gates: dict[str, TokenGate] = {}
        # Which tokens may go through the gates of this frame; None: any.
        self._among: Tensor | None = None

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
        keys, readings = 0, list[Tensor]()
        for number, block in enumerate(self.backbone.blocks):
            x, through, columns = self.through(number, block, x, frame.grid)
            x = self.backbone.between(number, x, frame.grid)
            self.backbone.read(number, x, readings)
            keys += columns
            selected |= {f"blocks.{number}.{gate}": index for gate, index in through.items()}
        return self.backbone.side_by_side(readings), self._trace(x, frame.grid, selected, keys)

    def compute_chosen(
        self, tokens: Tensor, frame: FrameContext, kept: Tensor, watch: Watch | None = None
    ) -> tuple[Tensor, FrameTrace]:
        """Return features (1, N, D) of which only tokens of `kept` (N,) bool may go through gates.

        All tokens make a full frame: gates begin anew, and it is dense. A class token may always.
        Raises UsageError where a mask comes before any full frame.
        """
        assert watch is None, "gates keep attention of several frames"
        if bool(kept.all()):
            self.forget()
        elif not self.gates:
            raise premature()
        else:
            lead = self.backbone.arch.lead
            self._among = F.pad(kept, (lead, 0), value=True).nonzero().squeeze(1).to(tokens.device)
        try:
            return self.compute(tokens, frame, Selection())
        finally:
            self._among = None

    def through(
        self, number: int, block: Block, x: Tensor, grid: Size
    ) -> tuple[Tensor, dict[str, Tensor | None], int]:
        """Run one block on x (B, n, D); return also the index of each gate, and columns.

        Both as `attend` has them.
        """
        name, columns = f"blocks.{number}", 0
        qkv, index = self._normed_gate(f"{name}.qkv", x, block.norm1, block.qkv)
        if block.window is None:
            attended, columns = self.attend(number, block, qkv, grid, index)
        else:
            attended = block.attend(qkv, grid)
        gate = self._gate(f"{name}.projection")
        projected, at = gate(attended, block.projection, self._among)
        x = self.beside(number, x) + projected
        hidden, at_mlp = self._normed_gate(f"{name}.mlp", x, block.norm2, block.mlp)
        return x + hidden, {"qkv": index, "projection": at, "mlp": at_mlp}, columns

    def beside(self, number: int, x: Tensor) -> Tensor:
        """Return what the attention output of block `number` is added to: x itself."""
        del number
        return x

    def check(self, batch: int, grid: Size) -> None:
        """Raise UsageError for what this grid, or clips side by side, cannot have."""
        self.params.count(eventful_costs.choosable(self.backbone.arch, grid))
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
        return self.gates.setdefault(
            name, TokenGate(self.params, forgets=self.forgets, always=self.backbone.arch.trail)
        )

    def _normed_gate(
        self, name: str, tokens: Tensor, norm: Layer, layer: Layer
    ) -> tuple[Tensor, Tensor | None]:
        if self.params.gate == "before_ln":
            return self._gate(name)(tokens, lambda rows: layer(norm(rows)), self._among)
        return self._gate(name)(norm(tokens), layer, self._among)

    def _trace(
        self, x: Tensor, grid: Size, selected: Mapping[str, Tensor | None], keys: int
    ) -> FrameTrace:
        batch, length, _ = x.shape
        arch = self.backbone.arch
        chosen = SetsWhenAsked(selected, batch, length, x.device)
        sizes = chosen.sizes()
        through = {
            gate: [sizes[f"blocks.{number}.{gate}"] for number in range(arch.depth)]
            for gate in GATES
        }
        counts = {gate: sum(tokens) for gate, tokens in through.items()}
        mean = sum(counts.values()) / len(chosen)
        counts["global_qkv"] = sum(through["qkv"][block] for block in arch.global_blocks)
        counts["global_keys"] = keys
        counts["dense"] = int(all(index is None for index in selected.values()))
        return FrameTrace(
            min(mean - arch.trail, grid.area),
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
        any_token = np.full(view.frames, view.tokens, dtype=np.int64)
        return cls._planned(params, arch, view, any_token, np.arange(view.frames) == 0)

    @classmethod
    def plan_chosen(
        cls, params: G, arch: ViTArch, view: ClipView, entering: NDArray[np.int64]
    ) -> TokenTrace:
        """Return the trace of frames on which so many tokens (frames,) may go through gates."""
        return cls._planned(params, arch, view, entering, entering == view.tokens)

    @classmethod
    def _planned(
        cls,
        params: G,
        arch: ViTArch,
        view: ClipView,
        entering: NDArray[np.int64],
        dense: NDArray[np.bool_],
    ) -> TokenTrace:
        update = cls.update(params)
        check_pool(view.grid, update.pool)
        count = params.count(eventful_costs.choosable(arch, view.grid))
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
        tokens = np.minimum(count, entering + arch.lead) + arch.trail
        return eventful_costs.uniform_trace(arch, view.grid, update, tokens, dense)

    @classmethod
    def macs(
        cls, arch: ViTArch, grid: Size, params: G, trace: TokenTrace, *, watched: bool = False
    ) -> Macs:
        del watched
        before_ln = params.gate == "before_ln"
        return eventful_costs.executed(arch, grid, cls.update(params), trace, before_ln=before_ln)

    @classmethod
    def published_at(cls, arch: ViTArch, grid: Size, params: G, tokens: int) -> int | None:
        update = cls.update(params)
        if params.policy == "threshold" or update.pools_changes:
            return None
        through, dense = np.array([tokens + arch.trail], dtype=np.int64), np.array([False])
        trace = eventful_costs.uniform_trace(arch, grid, update, through, dense)
        return int(np.asarray(cls.macs(arch, grid, params, trace).published).item())

    @classmethod
    def chosen_state_bytes(cls, params: G, arch: ViTArch, grid: Size) -> int:
        """Return the bytes that `compute_chosen` keeps between frames."""
        return cls.planned_state_bytes(arch, grid, params)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: G) -> int:
        return eventful_costs.state_bytes(arch, grid, cls.update(params))
