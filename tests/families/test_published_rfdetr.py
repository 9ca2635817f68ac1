"""RF-DETR with the weights that people have: folders of the hub, and files of `rfdetr`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.coco import NUMBERED
from maskvd_cli.families.rfdetr.archs import ARCHS, QueryArch
from maskvd_cli.families.rfdetr.detector import RFDETR
from maskvd_cli.families.rfdetr.family import RFDETRFamily
from maskvd_cli.families.rfdetr.published import REPOSITORIES, expected_config
from maskvd_cli.families.snapshots import digest_of, read_weights
from maskvd_cli.families.vitdet.renaming import CheckpointError

from .published_rfdetr import (
    SHAPE,
    SMALL,
    earlier_names,
    library_model,
    library_tensors,
    rfdetr_tensors,
    write_snapshot,
)

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs the extra hf (transformers)", allow_module_level=True)

INPUT = Size(32, 32)


@pytest.fixture(scope="module")
def model() -> Any:
    return library_model()


@pytest.fixture(scope="module")
def tensors(model: Any) -> dict[str, Tensor]:
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def published(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_snapshot(tmp_path_factory.mktemp("hub") / "snapshot", model)


@pytest.fixture
def snapshot(published: Path, tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "snapshot"))


def adopted(path: Path, arch: QueryArch = SMALL) -> WeightsFile:
    return RFDETRFamily.adopted(arch, read_weights(path))


def refused(path: Path, arch: QueryArch = SMALL) -> str:
    with pytest.raises(CheckpointError) as caught:
        file = adopted(path, arch)
        load_into(RFDETR(arch, RFDETRFamily.shape_of(arch, file), INPUT), file.tensors, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def detected(file: WeightsFile) -> tuple[Tensor, Tensor, Tensor]:
    made = RFDETR(SMALL, RFDETRFamily.shape_of(SMALL, file), INPUT, seed=9)
    load_into(made, file.tensors, file.path)
    image = torch.arange(3 * 32 * 32).remainder(251).to(torch.uint8).view(3, 32, 32)
    with torch.inference_mode():
        (found,) = made.eval()([image])
    return found.xyxy, found.scores, found.labels


def same(first: WeightsFile, second: WeightsFile) -> bool:
    return all(map(torch.equal, detected(first), detected(second)))


def saved(path: Path, tensors: dict[str, Tensor], **beside: object) -> Path:
    torch.save({"model": tensors, **beside}, path)
    return path


# Folders of the hub.


def test_a_folder_gives_tensors_and_the_names_of_classes(published: Path) -> None:
    file = adopted(published)
    assert file.classes == [None, "person", None, "car", "big dog"]
    assert RFDETRFamily.shape_of(SMALL, file) == SHAPE
    assert RFDETRFamily.class_names(SHAPE, file) == file.classes
    assert not file.remarks
    assert len(detected(file)[1]) == SHAPE.queries


def test_one_file_and_shards_are_the_same(published: Path, tmp_path: Path, model: Any) -> None:
    sharded = write_snapshot(tmp_path / "sharded", model, shards=3)
    bare = adopted(published / "model.safetensors")
    assert same(adopted(sharded), adopted(published))
    assert same(bare, adopted(published))
    assert bare.classes is None
    assert digest_of(sharded) != digest_of(published) != digest_of(bare.path)


def test_names_of_earlier_versions_are_read(
    snapshot: Path, published: Path, tensors: dict[str, Tensor]
) -> None:
    earlier = earlier_names(tensors)
    assert earlier.keys() != tensors.keys()
    safetensors.torch.save_file(earlier, snapshot / "model.safetensors")
    assert same(adopted(snapshot), adopted(published))


def test_halves_are_widened_before_scales_are_folded(
    snapshot: Path, tensors: dict[str, Tensor]
) -> None:
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    safetensors.torch.save_file(halves, snapshot / "model.safetensors")
    found = adopted(snapshot).tensors["backbone.blocks.0.projection.weight"]
    layer = "model.backbone.backbone.encoder.layer.0"
    scale = halves[f"{layer}.layer_scale1.lambda1"].float()[:, None]
    assert torch.equal(found, halves[f"{layer}.attention.o_proj.weight"].float() * scale)


def test_the_digest_is_of_what_is_read(snapshot: Path) -> None:
    before = digest_of(snapshot)
    (snapshot / "README.md").write_text("hello")
    assert digest_of(snapshot) == before
    config = json.loads((snapshot / "config.json").read_text())
    (snapshot / "config.json").write_text(json.dumps(config))
    assert digest_of(snapshot) != before


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_type", "detr", "model_type is detr, small has rf_detr"),
        ("decoder_layers", 3, "decoder_layers is 3, small has 2"),
        ("decoder_n_points", None, "decoder_n_points is 4, small has 2"),
        ("backbone_config.num_windows", 4, "backbone_config.num_windows is 4, small has 2"),
        ("backbone_config.num_windows", None, "backbone_config.num_windows is 4, small has 2"),
        ("backbone_config.image_size", 64, "backbone_config.image_size is 64, small has 32"),
        ("backbone_config.image_size", [32, 64], r"image_size is [32, 64], small has 32"),
        ("backbone_config.use_swiglu_ffn", 0, "use_swiglu_ffn is 0, small has False"),
        ("id2label", {"0": "car"}, "id2label names 1 classes, the tensors have 5"),
        ("id2label", ["car"], "id2label is a list, expected names by number"),
        ("id2label", dict.fromkeys("01235", "car"), "id2label has no name for class 4"),
    ],
)
def test_a_config_of_another_model_is_told_by_key(
    key: str, value: object, said: str, snapshot: Path
) -> None:
    config = json.loads((snapshot / "config.json").read_text())
    *above, last = key.split(".")
    section = config[above[0]] if above else config
    section[last] = value
    if value is None:
        del section[last]
    (snapshot / "config.json").write_text(json.dumps(config))
    text = refused(snapshot)
    assert said in text
    assert text.startswith(str(snapshot / "config.json"))


def test_equal_sides_and_one_number_are_the_same(snapshot: Path) -> None:
    config = json.loads((snapshot / "config.json").read_text())
    config["backbone_config"]["image_size"] = [32, 32]
    (snapshot / "config.json").write_text(json.dumps(config))
    adopted(snapshot)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "config.json: is missing"),
        ("{", "cannot be read as JSON"),
        ("[]", "it is no object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"model_type": NaN}', "no finite number"),
        (b"\xff\xfe", "cannot be read as JSON"),
    ],
)
def test_configs_that_are_damaged(content: str | bytes | None, said: str, snapshot: Path) -> None:
    config = snapshot / "config.json"
    config.unlink()
    if content is not None:
        config.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in refused(snapshot)


def test_a_folder_without_tensors_says_what_it_lacks(snapshot: Path) -> None:
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    text = refused(snapshot)
    assert "holds neither model.safetensors nor model.safetensors.index.json" in text
    assert "pytorch_model.bin is a pickle, which is not read" in text


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({}, "holds no weight_map"),
        ({"a": "../secret.safetensors"}, "which is no file beside it"),
        ({"a": "/etc/passwd"}, "which is no file beside it"),
        ({"a": "model.bin"}, "which is no file beside it"),
        ({"a": 7}, "puts a into 7"),
        ({"a": "gone.safetensors"}, "no such checkpoint"),
        ({f"a{n}": f"m{n}.safetensors" for n in range(1001)}, "more than 1000 files"),
    ],
    ids=["empty", "above", "absolute", "pickle", "number", "gone", "many"],
)
def test_an_index_stays_in_its_folder(weight_map: object, said: str, snapshot: Path) -> None:
    (snapshot / "model.safetensors").unlink()
    index = snapshot / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert said in refused(snapshot)


def test_shards_hold_what_their_index_says(tmp_path: Path, model: Any) -> None:
    folder = write_snapshot(tmp_path / "sharded", model, shards=2)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    first, *_ = content["weight_map"]
    other = content["weight_map"] | {first: "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"weight_map": other}))
    assert f"1 tensors that belong elsewhere: {first}" in refused(folder)
    index.write_text(json.dumps({"weight_map": content["weight_map"] | {"more": other[first]}}))
    assert "lists 1 tensors that no file holds: more" in refused(folder)


def test_ninety_one_nameless_classes_are_cocos(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    safetensors.torch.save_file(library_tensors(91), path)
    file = adopted(path)
    assert file.classes == NUMBERED
    assert (NUMBERED[1], NUMBERED[3], NUMBERED[90]) == ("person", "car", "toothbrush")
    assert (NUMBERED[0], NUMBERED[12], NUMBERED[83]) == (None, None, None)
    assert sum(name is not None for name in NUMBERED) == 80
    (remark,) = file.remarks
    assert "bare.safetensors name no classes; their 91 are COCO's, by number" in remark


@pytest.mark.parametrize("name", list(REPOSITORIES))
def test_published_configs_are_expected(name: str) -> None:
    """Numbers of the published configurations, written down apart from those of the models."""
    side, layers = {
        "nano": (384, 2), "small": (512, 3), "medium": (576, 4), "large": (704, 4)
    }[name.removeprefix("rfdetr-")]  # fmt: skip
    expected = expected_config(ARCHS[name])
    assert expected["backbone_config.image_size"] == side
    assert expected["decoder_layers"] == layers
    assert expected["backbone_config.out_features"] == ["stage3", "stage6", "stage9", "stage12"]
    assert RFDETRFamily.published[name] == f"Roboflow/rf-detr-{name.removeprefix('rfdetr-')}"


# Files of the package.


def doubled(times: int) -> list[Any]:
    """A list of a few bytes that would be 2**times long if it were written out."""
    made: list[Any] = [0]
    for _ in range(times):
        made = [made, made]
    return made


def str_of(value: object) -> str | None:
    return value if isinstance(value, str) else "said"


def test_transformers_takes_these_names_for_the_packages(tensors: dict[str, Tensor]) -> None:
    """The library converts files of the package as it loads them: its rules, not ours."""
    from transformers import RfDetrForObjectDetection

    read: Any = RfDetrForObjectDetection.from_pretrained
    loaded, told = read(
        None,
        config=library_model().config,
        state_dict=rfdetr_tensors(tensors),
        output_loading_info=True,
    )
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("kind", [argparse.Namespace, dict])
def test_a_file_of_the_package_detects_the_same(
    kind: Any, tensors: dict[str, Tensor], published: Path, tmp_path: Path
) -> None:
    said = {
        "num_classes": 4, "resolution": 32, "class_names": ["cat", "big dog"], "num_windows": 2,
        "lr": 1e-4, "resume": None, "nested": [[1, "a"], {"b": (2.5, None)}],
    }  # fmt: skip
    path = saved(
        tmp_path / "best.pth", rfdetr_tensors(tensors), args=kind(**said), epoch=3,
        optimizer_states=[], rfdetr_version="1.11.2",
    )  # fmt: skip
    file = adopted(path)
    assert same(file, adopted(published))
    assert file.classes == ["cat", "big dog", None, None, None]
    assert file.metadata["input"] == "32x32"
    assert not file.remarks


def test_files_of_before_say_that_their_numbering_is_not_known(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    said = argparse.Namespace(class_names=["cat"])
    file = adopted(saved(tmp_path / "a.pth", rfdetr_tensors(tensors), args=said))
    (remark,) = file.remarks
    assert "do not say which rfdetr wrote them; their classes are counted from 0" in remark


def test_tensors_of_the_package_alone_are_read(
    tensors: dict[str, Tensor], published: Path, tmp_path: Path
) -> None:
    file = adopted(saved(tmp_path / "a.pth", rfdetr_tensors(tensors)))
    assert same(file, adopted(published))
    assert file.classes is None
    wrapped = {f"module.{name}": tensor for name, tensor in rfdetr_tensors(tensors).items()}
    assert same(adopted(saved(tmp_path / "b.pth", wrapped)), file)


def test_cocos_names_are_by_number(tmp_path: Path) -> None:
    names = [name for name in NUMBERED if name]
    said = argparse.Namespace(class_names=names, num_classes=90)
    file = adopted(saved(tmp_path / "a.pth", rfdetr_tensors(library_tensors(91)), args=said))
    assert file.classes == NUMBERED


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"dec_layers": 3}, "dec_layers is 3, small has 2"),
        ({"num_windows": 4}, "num_windows is 4, small has 2"),
        ({"patch_size": True}, "patch_size is True, small has 4"),
        ({"segmentation_head": True}, "segmentation_head is True, small has False"),
        ({"resolution": "32"}, "resolution is '32', expected pixels"),
        ({"resolution": 10**9}, "resolution is 1000000000, expected pixels in 1..16384"),
        ({"class_names": ["a"] * 6}, "class_names has 6, the tensors have 5 classes"),
        ({"class_names": "car"}, "class_names is 'car', expected a list"),
        ({"class_names": ["car", 3]}, "holds something that is no name"),
        ({"resolution": 10**100}, "resolution is a int, expected pixels"),
        # This one cannot be written out.
        ({"dec_layers": doubled(60)}, "dec_layers is a list, small has 2"),
    ],
    ids=str_of,
)
def test_settings_are_checked(
    said: dict[str, Any], text: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.pth", rfdetr_tensors(tensors), args=argparse.Namespace(**said))
    assert text in refused(path)
    path = saved(tmp_path / "b.pth", rfdetr_tensors(tensors), args={}, model_config=said)
    assert text in refused(path)


def test_another_resolution_brings_its_own_positions(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    name = "model.backbone.backbone.embeddings.position_embeddings"
    table = torch.randn(1, 1 + 12 * 12, SMALL.dim, generator=torch.Generator().manual_seed(1))
    theirs = rfdetr_tensors(tensors | {name: table})
    said = {"resolution": 48, "num_windows": 2}
    file = adopted(saved(tmp_path / "a.pth", theirs, args=said))
    shape = RFDETRFamily.shape_of(SMALL, file)
    assert shape == replace(SHAPE, table=Size(12, 12))
    (note,) = RFDETRFamily.notes(SMALL, shape, file)
    assert "a.pth were trained for 48x48, not for the input that small is made for" in note
    made = RFDETRFamily.build(SMALL, shape, Size(48, 48), seed=1)
    load_into(made, file.tensors, file.path)
    # At the input that they were trained for, positions are those of the file.
    assert torch.equal(made.backbone.positions_on(Size(12, 12)).flatten(), table[0, 1:].flatten())
    # A file that does not say so is another model's.
    assert "backbone.positions is 12x12x24, expected 8x8x24" in refused(
        saved(tmp_path / "b.pth", theirs, args={"resolution": 32})
    )


def test_heads_for_masks_are_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    more = rfdetr_tensors(tensors) | {"segmentation_head.bias": torch.zeros(1)}
    text = refused(saved(tmp_path / "a.pth", more))
    assert "is no plain detector of rfdetr: 1 unknown: segmentation_head.bias" in text


class Evil:
    """Creates a file when it is unpickled in the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class Sly(argparse.Namespace):
    """A namespace of another class."""


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("where", ["beside", "in the settings", "another class"])
def test_nothing_but_a_namespace_is_taken(
    where: str, protocol: int, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    beside: dict[str, dict[str, object]] = {
        "beside": {"args": argparse.Namespace(lr=1), "extra": Evil(marker)},
        "in the settings": {"args": argparse.Namespace(lr=Evil(marker))},
        "another class": {"args": Sly(lr=1)},
    }
    path = tmp_path / "evil.pth"
    content = {"model": rfdetr_tensors(tensors), **beside[where]}
    torch.save(content, path, pickle_protocol=protocol)
    text = refused(path)
    assert not marker.exists()
    assert "refused: it holds" in text
    assert "only read by running code from the file" in text
