"""What every method is: parameters, a frame's way through the model, its state, its costs.

`plan` needs annotations only: their boxes stand for the detector's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import PLAIN_VIT, TOKENS
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.frame import ClipView, FrameContext, Selection
from maskvd_cli.methods.illustration import Pictured
from maskvd_cli.methods.learning import Learner
from maskvd_cli.methods.params import Params
from maskvd_cli.methods.stages import Stages
from maskvd_cli.methods.trace import FrameTrace, TokenTrace, every_token

__all__ = [
    "ClipView",
    "FrameContext",
    "FrameTrace",
    "Macs",
    "Method",
    "Params",
    "Selection",
    "Stages",
    "TokenMethod",
    "TokenTrace",
    "every_token",
    "scatter",
    "token_bytes",
]

FLOAT32_BYTES = 4
NOTHING = Selection()
Role = Literal["method", "control", "baseline"]
P = TypeVar("P", bound=Params)


class Method(ABC, Generic[P]):
    """A way of running a model over a clip, frame by frame.

    `revision` rises when the same parameters give other results, so that stored points of the
    former revision are not taken for them. `naming`: parameters that stand in a point's name also
    where they have their default. `batched`: clips may run side by side in a batch.

    `needs`: what the backbone must have, in the words of `families.blocks.traits`; `knows`: all
    that it may have, None for anything; `refuses`: why not, for words that are not known, with
    `{model}` in its place. `needs_truth`: a frame's own annotated boxes are looked up for it.

    For reports: `role`; `columns`, parameters with a column of their own and its header; `colour`
    (#rrggbb) and `mark` (in matplotlib's naming), None: chosen by whoever draws; `figure`, which
    figure shows methods of its kind (the fields of `store.schema.StoredFigure`).

    `learner`: how weights that the method brings are learnt beside a detector; None: it has none.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    paper: ClassVar[str]
    revision: ClassVar[int] = 1
    params_type: ClassVar[type[Params]] = Params
    naming: ClassVar[tuple[str, ...]] = ()
    batched: ClassVar[bool] = False

    needs: ClassVar[frozenset[str]] = frozenset()
    knows: ClassVar[frozenset[str] | None] = None
    refuses: ClassVar[Mapping[str, str]] = {}
    needs_truth: ClassVar[bool] = False

    role: ClassVar[Role] = "method"
    columns: ClassVar[Mapping[str, str]] = {}
    colour: ClassVar[str | None] = None
    mark: ClassVar[str | None] = None
    figure: ClassVar[Mapping[str, Any] | None] = None
    learner: ClassVar[type[Learner[Any]] | None] = None

    # For debugging: features that are not finite raise in `step`. The heads of a detector check
    # their own outputs, so sweeps do without, and no method pays for it on the clock.
    checks_features = False

    def __init__(self, params: P, backbone: Any) -> None:
        self.params: P = self.resolve(params, backbone.arch)
        self.backbone = backbone
        self.trace: FrameTrace | None = None
        self._grid: Size | None = None

    def reset(self) -> None:
        """Forget the clip: the next frame starts another one."""
        self.forget()
        self.trace = None
        self._grid = None

    @abstractmethod
    def forget(self) -> None:
        """Drop everything that is kept between frames."""

    def run(self, images: Sequence[Tensor], frame: FrameContext, stages: Stages) -> Any:
        """Return the output of one frame of one clip; `trace` then tells what was recomputed.

        By default: embed, select, step, finish. A method that skips a frame sets `trace` itself
        and returns `stages.last`; one that gates pixels changes `images`, (3, rows, cols) uint8,
        only as copies. All that it does is timed.
        """
        embedded = stages.embed(images)
        selection = stages.select(lambda: self.select_from(embedded, frame))
        return stages.finish(self.step(embedded, frame, selection or NOTHING))

    def select(self, frame: FrameContext) -> Selection | None:
        """Return what is selected before the frame runs; None where nothing is selected ahead."""
        del frame
        return None

    def select_from(self, tokens: Tensor, frame: FrameContext) -> Selection | None:
        """Return what is selected from embedded patches, as `step` gets them.

        By default what `select` says, which sees no pixels.
        """
        del tokens
        return self.select(frame)

    def step(
        self, tokens: Tensor, frame: FrameContext, selection: Selection | None = None
    ) -> Tensor:
        """Return the backbone's features of embedded patches (B, N, D), positions not yet added.

        Another backbone takes and gives what its family says. Without a `selection` the method
        selects here. `trace` then tells what was recomputed. Nothing returned shares storage with
        the state or with `tokens`. Raises UsageError for a batch that the method cannot run side
        by side, and for another grid than the clip's. A step that fails resets the method, since
        its state may be half of one frame and half of another.
        """
        self._check(tokens, frame)
        try:
            selected = self.select_from(tokens, frame) if selection is None else selection
            features, self.trace = self.compute(tokens, frame, selected or NOTHING)
            if self.checks_features:
                check_finite(features, frame.index)
        except BaseException:
            self.reset()
            raise
        self._grid = frame.grid
        return features

    @abstractmethod
    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        """Do what `step` promises, with what was selected, an empty selection for None."""

    def _check(self, tokens: Tensor, frame: FrameContext) -> None:
        if len(tokens) > 1 and not self.batched:
            raise UsageError(
                f"{self.name} chooses its tokens clip by clip, but a batch of {len(tokens)} came",
                remedy="run one clip at a time",
            )
        if TOKENS in self.backbone.arch.has and tokens.shape[1] != frame.grid.area:
            raise UsageError(
                f"{tokens.shape[1]} tokens came for a grid of {frame.grid} (rows x columns)",
                remedy="embed the padded input",
            )
        if self._grid not in (None, frame.grid):
            raise UsageError(
                f"a grid of {frame.grid} came in a clip of {self._grid} (rows x columns)",
                remedy="reset where the input's size changes",
            )

    @abstractmethod
    def state(self) -> Iterable[Tensor]:
        """Yield every tensor that is kept between frames."""

    def state_bytes(self) -> int:
        """Return the bytes kept between frames, measured from the tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state())

    @classmethod
    def resolve(cls, params: P, arch: Any) -> P:
        """Fill parameters that depend on the backbone; raises UsageError for what does not fit."""
        del arch
        return params

    @classmethod
    def constant_on_repeats(cls, params: P) -> bool:
        """Tell whether a clip that repeats one frame gives the same features on each."""
        del params
        return False

    @classmethod
    def own_weights(cls, params: P, arch: Any) -> Mapping[str, str]:
        """Return the sha256 of each file of weights that the method brings, by its parameter.

        They decide a point as the model's weights do. Raises CheckpointError, UsageError.
        """
        del params, arch
        return {}

    @classmethod
    def remarks(cls, params: P, arch: Any, weights: str) -> Sequence[str]:
        """Return what a reader of the results must know of the method beside these weights.

        `weights`: the sha256 of the model's file, or `random`.
        """
        del params, arch, weights
        return ()

    @classmethod
    def needs_heatmap(cls, params: P) -> bool:
        """Tell whether the selection reads the heatmap's region scores."""
        del params
        return False

    @classmethod
    def pictured(cls, params: P) -> Pictured | None:
        """Return what pictures say of the masks; None: there is nothing to show."""
        del params
        return None

    @classmethod
    def illustration(
        cls, params: P, view: ClipView, position: int | None = None, boxes: Tensor | None = None
    ) -> Mapping[str, Tensor] | None:
        """Return masks (N,) bool on the CPU by the names in `methods.illustration`.

        Of the frame at `position` of a clip, where `boxes` (n, 4) xyxy in input pixels are those
        of the frame before; without a position, what is the same on all frames. None where there
        is nothing to show: the frame is full, say.
        """
        del params, view, position, boxes
        return None

    @classmethod
    def has_closed_forms(cls, arch: Any) -> bool:
        """Tell whether `plan`, `macs` and `planned_state_bytes` know a backbone.

        Without them a point needs the model to run, and its operations are counted.
        """
        del arch
        forms = ("plan", "macs", "planned_state_bytes")
        return all(
            getattr(cls, form).__func__ is not getattr(Method, form).__func__ for form in forms
        )

    @classmethod
    def plan(cls, params: P, arch: Any, view: ClipView) -> TokenTrace | None:
        """Return what a clip's frames recompute, from annotations alone; None: it cannot be told.

        Raises UsageError where these parameters make it depend on the pixels.
        """
        del params, arch, view
        return None

    @classmethod
    def macs(cls, arch: Any, grid: Size, params: P, trace: TokenTrace) -> Macs | None:
        """Return the backbone's MACs of every frame of a trace, in closed form.

        None: the operations are counted while the model runs.
        """
        del arch, grid, params, trace
        return None

    @classmethod
    def published_at(cls, arch: Any, grid: Size, params: P, tokens: int) -> int | None:
        """Return the published counter for a frame with this many kept tokens.

        A polynomial of at most second degree in `tokens`; None where more than that decides.
        """
        del arch, grid, params, tokens
        return None

    @classmethod
    def planned_state_bytes(cls, arch: Any, grid: Size, params: P) -> int | None:
        """Return the bytes kept between frames in closed form, in float32; None: not known."""
        del arch, grid, params
        return None


class TokenMethod(Method[P]):
    """A method that composes the steps of a plain vision transformer's blocks."""

    needs = frozenset((TOKENS,))
    knows = PLAIN_VIT
    backbone: VisionTransformer


def check_finite(features: Tensor, index: int) -> None:
    """Raise UsageError unless all features of frame `index` are finite."""
    if not bool(torch.isfinite(features).all()):
        raise UsageError(
            f"the features of frame {index} are not all finite",
            remedy="run in float32, or check the checkpoint",
        )


def token_bytes(arch: ViTArch, grid: Size) -> int:
    """Return T, the bytes of one N x D float32 tensor."""
    return grid.area * arch.dim * FLOAT32_BYTES


def scatter(base: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Return a copy of `base` (B, N, X) with `rows` (B, n, X) written at `index` (n,)."""
    return base.index_copy(1, index, rows)
