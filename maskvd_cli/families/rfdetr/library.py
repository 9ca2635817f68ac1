"""What stands behind the backbone, built from the modules of transformers (extra `hf`).

The tested range of versions is that of `pyproject.toml`. A later one may compute something else
under the same names, and no key of a point would tell.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Sequence
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
_PACKAGE = "transformers.models.rf_detr"


def check_version(found: str | None) -> None:
    """Raise UsageError unless `found` is a tested version of transformers; None: there is none."""
    if found is None:
        raise UsageError("RF-DETR's decoder needs transformers", remedy=_REMEDY)
    if re.match(rf"{re.escape(TESTED)}(\.|$)", found) is None:
        raise UsageError(
            f"transformers {found} is not the tested {TESTED}.* that RF-DETR's decoder needs",
            remedy=_REMEDY,
        )


def installed() -> str | None:
    """Return the version of transformers, None where it is not installed."""
    try:
        return importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        return None


def configuration(
    arch: QueryArch, shape: QueryShape, *, groups: int = 1, whole: bool = True
) -> Any:
    """Return the library's configuration of an architecture.

    `groups` of queries, of which inference runs the first. Not `whole`: with a backbone of as few
    blocks as there are depths to read. Raises UsageError as `check_version` does.
    """
    check_version(installed())
    module = importlib.import_module(f"{_PACKAGE}.configuration_rf_detr")
    taps = arch.taps if whole else tuple(range(1, len(arch.taps) + 1))
    backbone = module.RfDetrDinov2Config(
        hidden_size=arch.dim,
        num_hidden_layers=taps[-1],
        num_attention_heads=arch.heads,
        mlp_ratio=arch.mlp_ratio,
        image_size=arch.patch * arch.position_table.rows,
        patch_size=arch.patch,
        num_windows=arch.windows_a_side,
        out_features=[f"stage{tap}" for tap in taps],
    )
    return module.RfDetrConfig(
        backbone_config=backbone,
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
    )


def whole_detector(arch: QueryArch, shape: QueryShape, *, groups: int = 13) -> nn.Module:
    """Return the library's own detector, backbone included, as its tests and weights have it."""
    config = configuration(arch, shape, groups=groups)
    return _modeling().RfDetrForObjectDetection(config)


class Projected(nn.Module):
    """Stands where the library's detector has its backbone: projects features that are there."""

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projected features (B, C, rows, cols), and which places are no padding."""
        return self.projector((features,)), mask.bool()


class QueryDetector(nn.Module):
    """Projector, two-stage decoder and heads of the library, on features of all depths.

    Parameters have the library's names, under `detr`; of groups of queries there are as many as the
    shape says, and the first alone is asked for.
    """

    def __init__(self, arch: QueryArch, shape: QueryShape) -> None:
        super().__init__()
        modeling = _modeling()
        config = configuration(arch, shape, groups=shape.groups, whole=False)
        detr = modeling.RfDetrForObjectDetection(config)
        detr.model.backbone = Projected(detr.model.backbone.projector)
        self.detr = detr
        self._processor = _processing().RfDetrImageProcessor()

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
            told, threshold=-1.0, target_sizes=sizes
        )
        return [Detections(one["boxes"], one["scores"], one["labels"]) for one in made]


def _modeling() -> Any:
    check_version(installed())
    return importlib.import_module(f"{_PACKAGE}.modeling_rf_detr")


def _processing() -> Any:
    return importlib.import_module(f"{_PACKAGE}.image_processing_rf_detr")
