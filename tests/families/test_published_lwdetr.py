"""LW-DETR with the weights that people have: folders of the hub, read as they are."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.coco import NUMBERED
from maskvd_cli.families.library_cases import library_model
from maskvd_cli.families.lwdetr.archs import ARCHS
from maskvd_cli.families.lwdetr.family import LWDETRFamily
from maskvd_cli.families.lwdetr.library import LW_DETR
from maskvd_cli.families.lwdetr.published import adopted, expected_config
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.library import whole_detector
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.families.snapshots import read_weights
from maskvd_cli.families.vitdet.renaming import CheckpointError

from .query_models import images
from .test_lwdetr import SMALL, SQUARE

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf (transformers)"
)


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Any]:
    """A folder as the hub has it, with the names of earlier versions, and the model in it."""
    model: Any = library_model(
        lambda: whole_detector(SMALL, QueryShape(91, 12), groups=2, library=LW_DETR), 0.15
    )
    earlier = {"q_proj": "attention.query", "k_proj": "attention.key",
               "v_proj": "attention.value", "o_proj": "output"}  # fmt: skip
    tensors = {
        re.sub(r"(?<=\d\.attention\.)[qkvo]_proj", lambda part: earlier[part[0]], name): tensor
        for name, tensor in model.state_dict().items()
    }
    assert any(".attention.attention.query." in name for name in tensors)
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(model.config.to_json_string())
    return tmp_path, model


@needs_library
def test_a_folder_of_the_hub_detects_as_the_library(published: tuple[Path, Any]) -> None:
    folder, theirs = published
    file = LWDETRFamily.adopted(SMALL, read_weights(folder))
    shape = LWDETRFamily.shape_of(SMALL, file)
    assert shape == QueryShape(91, 12)
    assert file.classes == NUMBERED and len(file.remarks) == 1
    assert adopted(SMALL, file) is file
    ours = LWDETRFamily.build(SMALL, shape, SQUARE, seed=0).requires_grad_(False).eval()
    load_into(ours, file.tensors, folder)
    pixels = to_input(images(1, SQUARE), SQUARE, torch.device("cpu"))
    with torch.inference_mode():
        expected = theirs(pixel_values=pixels)
        _, boxes = ours.predicted(ours.backbone(ours.embed(images(1, SQUARE)), ours.grid))
    torch.testing.assert_close(boxes, expected.pred_boxes, rtol=0, atol=1e-4)


@needs_library
@pytest.mark.parametrize(
    ("key", "value"),
    [("num_windows", 16), ("window_block_indices", [0, 1, 3]), ("out_features", ["stage4"])],
)
def test_a_config_of_another_layout_is_refused(
    published: tuple[Path, Any], key: str, value: object
) -> None:
    folder, _ = published
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"backbone_config\.{key} is "):
        adopted(SMALL, read_weights(folder))


@pytest.mark.parametrize("name", list(ARCHS))
def test_published_configs_are_expected(name: str) -> None:
    expected = expected_config(ARCHS[name])
    tiny = name == "lwdetr-tiny"
    assert expected["backbone_config.window_block_indices"] == (
        [0, 2, 4] if tiny else [0, 1, 3, 6, 7, 9]
    )
    assert expected["backbone_config.out_features"] == [
        f"stage{depth}" for depth in ((2, 4, 6) if tiny else (3, 5, 6, 10))
    ]
    word = name.removeprefix("lwdetr-")
    assert LWDETRFamily.published[name] == f"AnnaZhang/lwdetr_{word}_60e_coco"
