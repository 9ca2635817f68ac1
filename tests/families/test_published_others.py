"""YOLOS and OWLv2 with the weights that people have: folders of the hub, read as they are."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.coco import NUMBERED
from maskvd_cli.families.owlv2.archs import ARCHS as OWLS
from maskvd_cli.families.owlv2.archs import owlv2
from maskvd_cli.families.owlv2.family import Owlv2Family
from maskvd_cli.families.owlv2.renaming import QUERIES
from maskvd_cli.families.owlv2.renaming import expected_config as owl_config
from maskvd_cli.families.owlv2.renaming import library_shapes as owl_shapes
from maskvd_cli.families.snapshots import digest_of, read_weights
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.yolos.archs import ARCHS, yolos
from maskvd_cli.families.yolos.family import YolosFamily
from maskvd_cli.families.yolos.renaming import expected_config, library_shapes

TINY = yolos(
    "tiny", "", dim=16, heads=2, depth=3, patch=8, table=Size(3, 4), detections=5,
    mid_positions=True,
)  # fmt: skip
OWL = owlv2("owl", "", dim=16, heads=2, depth=1, patch=8, table=Size(4, 4), query_dim=12)
needs_library = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf (transformers)"
)


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(sides, generator=generator) for name, sides in shapes.items()}


def written(folder: Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def nested(dotted: dict[str, object]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in dotted.items():
        *above, last = key.split(".")
        (made.setdefault(above[0], {}) if above else made)[last] = value
    return made


# YOLOS.


def test_a_folder_of_yolos_names_its_classes(tmp_path: Path) -> None:
    labels = {str(number): name for number, name in enumerate(["N/A", "cat", "dog"])}
    config = expected_config(TINY) | {"id2label": labels, "image_size": [24, 35]}
    folder = written(tmp_path / "y", drawn(library_shapes(TINY, 4)), config)
    file = YolosFamily.adopted(TINY, read_weights(folder))
    shape = YolosFamily.shape_of(TINY, file)
    assert YolosFamily.class_names(shape, file) == [None, "cat", "dog"]
    with pytest.raises(CheckpointError, match=r"num_hidden_layers is 3, other has 4; name the"):
        YolosFamily.adopted(
            replace(TINY, name="other", depth=4, global_blocks=(0, 1, 2, 3)), read_weights(folder)
        )
    (folder / "config.json").write_text(json.dumps({"model_type": "yolos"}))
    with pytest.raises(CheckpointError, match="hidden_size is 768, tiny has 16"):
        YolosFamily.adopted(TINY, read_weights(folder))


def test_mid_positions_are_read_under_their_published_name(tmp_path: Path) -> None:
    tensors = drawn(library_shapes(TINY, 92))
    earlier = {name.replace("encoder.interpolation.", "encoder."): t for name, t in tensors.items()}
    assert earlier.keys() != tensors.keys()
    files = [
        YolosFamily.adopted(TINY, WeightsFile(tmp_path, given, {})) for given in (tensors, earlier)
    ]
    for name, tensor in files[0].tensors.items():
        assert torch.equal(tensor, files[1].tensors[name]), name
    assert files[0].classes == NUMBERED


def test_published_numbers_of_yolos() -> None:
    small = expected_config(ARCHS["yolos-small"])
    assert (small["hidden_size"], small["num_attention_heads"]) == (384, 6)
    assert (small["intermediate_size"], small["use_mid_position_embeddings"]) == (1536, True)
    assert expected_config(ARCHS["yolos-tiny"])["use_mid_position_embeddings"] is False
    assert YolosFamily.published["yolos-tiny"] == "hustvl/yolos-tiny"


# OWLv2.


def owl_tensors() -> dict[str, Tensor]:
    tensors = drawn(owl_shapes(OWL, 2))
    del tensors[QUERIES]
    return tensors


def test_embeddings_of_texts_may_lie_beside(tmp_path: Path) -> None:
    folder = written(tmp_path / "o", owl_tensors(), nested(owl_config(OWL)))
    with pytest.raises(CheckpointError, match=r"no embeddings of texts.*maskvd get owlv2-base"):
        Owlv2Family.adopted(OWL, read_weights(folder, ["car"]))
    before = digest_of(folder)
    told = {"maskvd": json.dumps({"classes": '["car", "bus"]'})}
    safetensors.torch.save_file(
        {"queries": torch.ones(2, OWL.query_dim)}, folder / "queries.safetensors", told
    )
    file = Owlv2Family.adopted(OWL, read_weights(folder, ["car"]))
    shape = Owlv2Family.shape_of(OWL, file)
    assert Owlv2Family.class_names(shape, file) == ["car", "bus"]
    assert digest_of(folder) != before


def test_published_numbers_of_owlv2() -> None:
    """The published config says little; what it leaves out is the library's."""
    config = {
        "model_type": "owlv2", "projection_dim": 512,
        "vision_config": {"image_size": 960, "model_type": "owlv2_vision_model"},
    }  # fmt: skip
    file = WeightsFile(Path("o"), {"owlv2.a": torch.zeros(1)}, {}, config=config)
    with pytest.raises(CheckpointError, match="no embeddings of texts"):
        Owlv2Family.adopted(OWLS["owlv2-base"], file)
    with pytest.raises(CheckpointError, match="image_size is 1008, owlv2-base has 960"):
        large = {**config, "vision_config": {"image_size": 1008}}
        Owlv2Family.adopted(OWLS["owlv2-base"], replace(file, config=large))


@pytest.fixture
def readable(tmp_path: Path) -> tuple[Path, Any]:
    """A folder with text model and tokenizer, and the library's model of it."""
    import transformers

    letters = [chr(number) for number in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    text = {
        "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": len(words), "bos_token_id": 52, "eos_token_id": 53,
    }  # fmt: skip
    vision = owl_config(OWL)
    vision = {k.partition(".")[2]: v for k, v in vision.items() if k.startswith("vision_config.")}
    config = transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=12)
    torch.manual_seed(0)
    model = transformers.Owlv2ForObjectDetection(config).eval()
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    folder = written(tmp_path / "o", tensors, json.loads(config.to_json_string()))
    (folder / "vocab.json").write_text(json.dumps({w: n for n, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder, model


@needs_library
def test_texts_of_the_classes_that_are_asked_for(readable: tuple[Path, Any]) -> None:
    from transformers import CLIPTokenizer

    folder, model = readable
    file = Owlv2Family.adopted(OWL, read_weights(folder, ["car", "traffic_light"]))
    assert file.classes == ["car", "traffic_light"]
    assert file.remarks == ("Classes are texts, as in 'a photo of a car'.",)
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    # As the library pads them: to its longest text.
    given = tokenizer(
        ["a photo of a car", "a photo of a traffic light"], padding="max_length", max_length=16,
        truncation=True, return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        expected = model.owlv2.get_text_features(**given).pooler_output
    found = file.tensors["class_head.queries"]
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-6)
    assert found.shape == (2, 12) and not torch.equal(found[0], found[1])


@needs_library
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "vocab.json").write_text("[]"), "its tokenizer cannot be used"),
        (lambda f: (f / "vocab.json").write_text('{"a": 99}'), "tokenizer"),
        (lambda f: (f / "merges.txt").write_bytes(b"\xff"), "its tokenizer cannot be used"),
    ],
)
def test_a_tokenizer_that_cannot_be_used(spoil: Any, said: str, readable: tuple[Path, Any]) -> None:
    folder, _ = readable
    spoil(folder)
    with pytest.raises(CheckpointError, match=said) as caught:
        Owlv2Family.adopted(OWL, read_weights(folder, ["car"]))
    assert "\n" not in str(caught.value)


@needs_library
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text_config": {"num_attention_heads": 5}}, "num_attention_heads is 5 of 12"),
        ({"text_config": {"num_attention_heads": 0}}, "num_attention_heads is 0 of 12"),
    ],
)
def test_a_text_model_that_cannot_be(
    change: dict[str, Any], said: str, readable: tuple[Path, Any]
) -> None:
    folder, _ = readable
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said):
        Owlv2Family.adopted(OWL, read_weights(folder, ["car"]))
