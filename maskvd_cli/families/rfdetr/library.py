"""What stands behind the backbone, built from the modules of transformers (extra `hf`).

The tested range of versions is that of `pyproject.toml`. A later one may compute something else
under the same names, and no key of a point would tell.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.losses import set_losses
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.tasks.detections import Detections, Targets

TESTED = "5.24"
_REMEDY = "pip install 'maskvd[hf]'"


@dataclass(frozen=True)
class Library:
    """Where transformers has a kind of detector, and how its configuration differs from others'.

    `kind`: its name for people; `package`: below `transformers.models`; `prefix`: what its classes
    begin with. `backbone` makes the configuration of the backbone from the package's module of
    configurations, an architecture and the taps to be read. `settings`: what the configuration of
    the detector needs besides. `processor`: package and name of what makes detections of outputs.
    """

    kind: str
    package: str
    prefix: str
    backbone: Callable[[Any, QueryArch, tuple[int, ...]], Any]
    processor: tuple[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def part(self, name: str) -> Any:
        """Return a module of the package. Raises UsageError as `check_version` does."""
        check_version(installed(), self.kind)
        return importlib.import_module(f"transformers.models.{self.package}.{name}_{self.package}")

    def detector(self, config: Any) -> Any:
        """Return a whole detector with drawn weights."""
        return getattr(self.part("modeling"), f"{self.prefix}ForObjectDetection")(config)


def _in_windows(module: Any, arch: QueryArch, taps: tuple[int, ...]) -> Any:
    """Return the configuration of DINOv2 in windows."""
    return module.RfDetrDinov2Config(
        hidden_size=arch.dim,
        num_hidden_layers=taps[-1],
        num_attention_heads=arch.heads,
        mlp_ratio=arch.mlp_ratio,
        image_size=arch.patch * arch.position_table.rows,
        patch_size=arch.patch,
        num_windows=arch.windows_a_side,
        out_features=stages(taps),
    )


RF_DETR = Library(
    kind="RF-DETR",
    package="rf_detr",
    prefix="RfDetr",
    backbone=_in_windows,
    processor=("rf_detr", "RfDetrImageProcessor"),
)


def stages(taps: tuple[int, ...]) -> list[str]:
    """Return what the library calls the depths that are read."""
    return [f"stage{tap}" for tap in taps]


def check_version(found: str | None, kind: str = RF_DETR.kind) -> None:
    """Raise UsageError unless `found` is a tested version of transformers; None: there is none."""
    if found is None:
        raise UsageError(f"the decoder of {kind} needs transformers", remedy=_REMEDY)
    if re.match(rf"{re.escape(TESTED)}(\.|$)", found) is None:
        raise UsageError(
            f"transformers {found} is not the tested {TESTED}.* that the decoder of {kind} needs",
            remedy=_REMEDY,
        )


def installed() -> str | None:
    """Return the version of transformers, None where it is not installed."""
    try:
        return importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        return None


def configuration(
    arch: QueryArch,
    shape: QueryShape,
    *,
    groups: int = 1,
    whole: bool = True,
    library: Library = RF_DETR,
) -> Any:
    """Return the library's configuration of an architecture.

    `groups` of queries, of which inference runs the first. Not `whole`: with a backbone of as few
    blocks as there are depths to read. Raises UsageError as `check_version` does.
    """
    module = library.part("configuration")
    taps = arch.taps if whole else tuple(range(1, len(arch.taps) + 1))
    return getattr(module, f"{library.prefix}Config")(
        backbone_config=library.backbone(module, arch, taps),
        d_model=arch.channels,
        c2f_num_blocks=arch.bottlenecks,
        decoder_layers=arch.decoder_layers,
        decoder_self_attention_heads=arch.self_heads,
        decoder_cross_attention_heads=arch.cross_heads,
        decoder_n_points=arch.points,
        decoder_ffn_dim=arch.hidden,
        num_queries=shape.queries,
        num_labels=shape.classes,
        group_detr=groups,
        # As the authors train it; the library's default is none of theirs.
        dropout=0.0,
        **library.settings,
    )


def whole_detector(
    arch: QueryArch, shape: QueryShape, *, groups: int = 13, library: Library = RF_DETR
) -> nn.Module:
    """Return the library's own detector, backbone included, as its tests and weights have it."""
    return library.detector(configuration(arch, shape, groups=groups, library=library))


class Projected(nn.Module):
    """Stands where the library's detector has its backbone: projects features that are there."""

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, features: Tensor, mask: Tensor) -> Any:
        """Return the projected features (B, C, rows, cols), and which places are no padding.

        As a pair for each scale where the projector has scales.
        """
        projected, places = self.projector((features,)), mask.bool()
        if isinstance(projected, Tensor):
            return projected, places
        return [(of_scale, places) for of_scale in projected]


class QueryDetector(nn.Module):
    """Projector, two-stage decoder and heads of the library, on features of all depths.

    Parameters have the library's names, under `detr`; of groups of queries there are as many as the
    shape says, and the first alone is asked for.
    """

    def __init__(self, arch: QueryArch, shape: QueryShape, *, library: Library = RF_DETR) -> None:
        super().__init__()
        config = configuration(arch, shape, groups=shape.groups, whole=False, library=library)
        detr = library.detector(config)
        detr.model.backbone = Projected(detr.model.backbone.projector)
        self.detr = detr
        package, name = library.processor
        processing = f"transformers.models.{package}.image_processing_{package}"
        self._processor = getattr(importlib.import_module(processing), name)()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, Q, K) and boxes (B, Q, 4) of features (B, T D, rows, cols).

        Boxes are centre and size (x, y, width, height) as shares of the input.
        """
        if self.detr.training:
            # In training all groups would answer.
            self.detr.eval()
        found = self.detr(pixel_values=features)
        return found.logits, found.pred_boxes

    def losses(
        self, features: Tensor, targets: Sequence[Targets], input_size: Size
    ) -> dict[str, Tensor]:
        """Return the library's losses of features (B, T D, rows, cols), as `set_losses` says."""
        return set_losses(self.detr, features, targets, input_size)

    def detections(self, logits: Tensor, boxes: Tensor, input_size: Size) -> list[Detections]:
        """Return the Q best pairs of query and class of each image, as the library chooses them."""
        told = SimpleNamespace(logits=logits.float(), pred_boxes=boxes.float())
        sizes = torch.tensor([tuple(input_size)] * len(logits))
        # No score lies below 0, so that all are given back.
        made = self._processor.post_process_object_detection(
            told, threshold=-1.0, target_sizes=sizes, top_k=logits.shape[1]
        )
        return [Detections(one["boxes"], one["scores"], one["labels"]) for one in made]
