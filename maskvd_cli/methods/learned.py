"""Methods with weights of their own beside the model's: where they come from, and what they are.

The weights are no parameter of the model: the same detector runs with and without them. What they
are enters a point's key as their sha256, wherever the file lies.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from pydantic import Field
from torch import nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.own_weights import SUFFIX, OwnWeights, read_own_weights
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import ClipView, Params, TokenMethod, TokenTrace
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.selectors import Noise, drawn, gumbel_noise
from maskvd_cli.methods.skipping import SKIPS_IN, WHY_NO_WINDOWS
from maskvd_cli.recipe.paths import LocalFile
from maskvd_cli.recipe.shipped import shipped_weights

RANDOM = "random"
SELECTOR = "selector"
# Of a sha256, enough to tell files apart.
_DIGITS = 12


class LearnedParams(Params):
    """Which selectors decide, and whether by chance."""

    selector: Annotated[str | None, LocalFile(SUFFIX)] = Field(
        default=None,
        description="weights of the selectors: a .safetensors file, relative to the recipe; the "
        "name of one that comes with maskvd; random: drawn from the seed, to count and to time; "
        "default: the one that comes with maskvd for the model",
    )
    bias: Annotated[float, Varied.steps(-1.0, 1.0, 0.25)] = Field(
        default=0.0,
        allow_inf_nan=False,
        description="added to what speaks for keeping a token: above 0 more are kept than the "
        "selectors learnt, below 0 fewer",
    )
    noise: bool = Field(
        default=False,
        description="add Gumbel noise to each decision, as the published code does when it is "
        "evaluated",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="of the noise, and of selectors drawn at random"
    )


L = TypeVar("L", bound=LearnedParams)


class LearnedSelection(TokenMethod[L]):
    """A method whose selectors were trained, and are loaded strictly from a file of their own.

    `module`: selectors to use in place of those that the parameters name, for their training.
    """

    knows = SKIPS_IN
    refuses = WHY_NO_WINDOWS
    columns: ClassVar[Mapping[str, str]] = {"bias": "bias"}

    def __init__(
        self, params: L, backbone: VisionTransformer, module: nn.Module | None = None
    ) -> None:
        super().__init__(params, backbone)
        self.module: Any = self._loaded() if module is None else module

    @classmethod
    @abstractmethod
    def new_module(cls, params: L, arch: ViTArch) -> nn.Module:
        """Return the selectors with new weights, drawn from torch's global generator."""

    def draws(self, frame: int) -> Noise | None:
        """Return what draws the noise of a frame; None where there is none."""
        if not self.params.noise:
            return None
        return gumbel_noise(self.params.seed, frame, self.backbone.positions.device)

    def _loaded(self) -> nn.Module:
        arch, like = self.backbone.arch, self.backbone.positions
        module = drawn(lambda: self.new_module(self.params, arch), self.params.seed)
        if (weights := self.weights_of(self.params, arch)) is not None:
            weights.load(module)
        return module.requires_grad_(False).eval().to(like.device, like.dtype)

    @classmethod
    def resolve(cls, params: L, arch: ViTArch) -> L:
        """Return the parameters; raises CheckpointError for selectors that do not fit them."""
        if (weights := cls.weights_of(params, arch)) is not None:
            with torch.device("meta"):
                module = cls.new_module(params, arch)
            own = weights.metadata.get("arch") == arch.name
            weights.check(cls.name, arch.name if own else arch.backbone_name, module)
        return params

    @classmethod
    def weights_of(cls, params: L, arch: ViTArch) -> OwnWeights | None:
        """Return the file that the parameters name, None for selectors drawn at random.

        Raises CheckpointError where it cannot be read, UsageError where none has that name.
        """
        given = params.selector
        if given == RANDOM:
            return None
        if given is not None and given.lower().endswith(SUFFIX):
            return read_own_weights(Path(given))
        shipped = shipped_weights()
        names = [given] if given else [f"{cls.name}-{n}" for n in (arch.name, arch.backbone_name)]
        name = next((name for name in names if name in shipped), None)
        if name is None:
            of = f"for {arch.name} " if given is None else f"called {given} "
            raise UsageError(
                f"no selectors of {cls.name} {of}come with maskvd",
                remedy=f"give selector: FILE{SUFFIX} of `maskvd train`, or random",
            )
        return read_own_weights(shipped[name])

    @classmethod
    def own_weights(cls, params: L, arch: ViTArch) -> Mapping[str, str]:
        weights = cls.weights_of(params, arch)
        return {SELECTOR: RANDOM if weights is None else weights.digest}

    @classmethod
    def remarks(cls, params: L, arch: ViTArch, weights: str) -> Sequence[str]:
        """Say where selectors run beside another model than they were learnt with."""
        own = cls.weights_of(params, arch)
        learnt = None if own is None else own.metadata.get("detector")
        if own is None or learnt is None or learnt == weights:
            return ()
        beside, here = learnt[:_DIGITS], weights[:_DIGITS]
        return [
            f"The selectors {own.path.name} of {cls.name} were learnt beside the weights with "
            f"sha256 {beside}, and run beside others ({here})."
        ]

    @classmethod
    def constant_on_repeats(cls, params: L) -> bool:
        return False

    @classmethod
    def plan(cls, params: L, arch: ViTArch, view: ClipView) -> TokenTrace:
        raise UsageError(
            f"what the selectors of {cls.name} keep depends on the pixels",
            remedy="give a model to run (model.weights), a file or random",
        )
