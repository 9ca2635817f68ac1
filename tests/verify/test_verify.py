"""`maskvd verify` passes what is right, and fails what is not: each kind of difference alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.renaming import Converted
from maskvd_cli.verify.cases import Agreement, Golden, StoredArrays, case_files
from maskvd_cli.verify.detector import verify_detector
from maskvd_cli.verify.run import verify
from maskvd_cli.verify.windowed import windowed_arch

from .golden_cases import Arrays, changed, config, off


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


def test_every_golden_case_passes(golden_root: Path) -> None:
    done = run("verify", golden_root)
    assert done.exit_code == 0, done.output
    cases = [path for path in case_files(golden_root) if path.parent == golden_root]
    assert done.stdout.count("equal") >= len(cases) >= 15
    for path in cases:
        assert f"\n {path.stem} " in done.stdout
    passed = done.stdout.count("equal")
    assert f"{passed} of {passed} cases passed" in done.stderr
    unknown = sum(int(count) for count in re.findall(r"\((\d+) cases?\)", done.stderr))
    assert passed + unknown == len(case_files(golden_root))


def test_no_array_of_a_known_case_is_passed_over(golden_root: Path) -> None:
    found = {path.stem: verify(path) for path in case_files(golden_root)}
    known = {name: made for name, made in found.items() if made.unknown is None}
    assert len(known) >= 15
    assert {name: made.uncompared for name, made in known.items() if made.uncompared} == {}


def test_what_nothing_compares_with_is_named(golden_root: Path, tmp_path: Path) -> None:
    def add(arrays: Arrays) -> None:
        arrays["heads/0"] = np.zeros(3)
        arrays["block_outputs_t7"] = np.zeros(3)

    agreement = changed(golden_root, tmp_path, "dense_A", add)
    assert (agreement.passed, agreement.uncompared) == (True, ("block_outputs_t7", "heads/0"))
    done = run("verify", tmp_path)
    assert done.exit_code == 0
    assert "equal in part" in done.stdout
    assert "dense_A: not compared: block_outputs_t7, heads/0" in done.stderr
    assert json.loads(run("verify", tmp_path, "--json").stdout)[0]["uncompared"] == [
        "block_outputs_t7", "heads/0",
    ]  # fmt: skip


def test_logits_without_their_layer_are_named(golden_root: Path, tmp_path: Path) -> None:
    copy(golden_root, tmp_path, "evit_k5_drop")
    weights = next(path for path in tmp_path.glob("weights_*.npz"))
    with np.load(weights, allow_pickle=False) as file:
        rest = {name: file[name] for name in file.files if not name.startswith("head.")}
    np.savez(weights, **rest)
    agreement = verify(tmp_path / "evit_k5_drop.npz")
    assert (agreement.passed, agreement.uncompared) == (True, ("logits", "logits_f64"))


def write_case(path: Path, config: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, config=np.array(json.dumps(config)), inputs=np.zeros(3))


def test_subfolders_are_walked_and_unknown_kinds_are_named(
    golden_root: Path, tmp_path: Path
) -> None:
    copy(golden_root, tmp_path / "deep/er", "dense_A")
    for name, content in (
        ("newer/future_a", {"case": "future"}),
        ("newer/future_b", {"weights": "weights_of_no_file.npz"}),
        ("conv3x3", {"layer": "conv", "weights": [1, 1]}),
        ("\x1b[31mred_case", {"case": "future"}),
        ("layer", {"layer": "conv\x1b]52;c;AAAA\x07"}),
        ("rgtp", {"block_config": {}, "block_class": "LearnedBlock"}),
    ):
        write_case(tmp_path / f"{name}.npz", content)
    np.savez(tmp_path / "weights_A.npz", weight=np.zeros(3))
    (tmp_path / "newer/keys.json").write_text("[]", "utf-8")
    done = run("verify", tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [
        "not known to this version: ?[31mred (1 case)",
        "not known to this version: blocks of class LearnedBlock (1 case)",
        "not known to this version: future (2 cases)",
        "not known to this version: layer conv (1 case)",
        "not known to this version: layer conv?]52;c;AAAA? (1 case)",
        "1 of 1 cases passed",
    ]
    assert "deep/er/dense_A" in done.stdout
    assert "future" not in done.stdout
    plain = {case["case"]: case for case in json.loads(run("verify", tmp_path, "--json").stdout)}
    assert (plain["newer/future_a"]["passed"], plain["newer/future_a"]["unknown"]) == (
        None,
        "future",
    )
    assert (plain["deep/er/dense_A"]["passed"], plain["deep/er/dense_A"]["unknown"]) == (True, None)


def test_unknown_kinds_hide_no_failure_and_no_damage(golden_root: Path, tmp_path: Path) -> None:
    copy(golden_root, tmp_path, "dense_A")
    write_case(tmp_path / "sub/future.npz", {"case": "future"})
    write_case(tmp_path / "sub/list.npz", ["no object"])
    (tmp_path / "sub/broken.npz").write_bytes(b"PK no archive")
    done = run("verify", tmp_path)
    assert done.exit_code == 3
    assert "not known to this version: future (1 case)" in done.stderr
    assert "1 of 3 cases passed" in done.stderr
    assert "sub/broken: " in done.stderr
    assert "its config is no JSON object" in done.stderr


def test_a_folder_of_unknown_kinds_alone_is_no_success(tmp_path: Path) -> None:
    write_case(tmp_path / "future.npz", {"case": "future"})
    done = run("verify", tmp_path)
    assert done.exit_code == 2
    assert "not known to this version: future (1 case)" in done.stderr
    assert "holds no case of a kind that this version knows" in done.stderr


def test_what_is_no_regular_file_is_not_opened(golden_root: Path, tmp_path: Path) -> None:
    copy(golden_root, tmp_path, "dense_A")
    os.mkfifo(tmp_path / "pipe.npz")
    assert [path.name for path in case_files(tmp_path)] == ["dense_A.npz"]


def test_a_case_that_unpacks_to_more_than_is_read_is_refused(
    golden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(golden_root, tmp_path, "dense_A")
    monkeypatch.setattr("maskvd_cli.verify.cases._MOST_BYTES", 1000)
    agreement = verify(tmp_path / "dense_A.npz")
    assert agreement.problem is not None
    assert "more than 2 GiB when unpacked" in agreement.problem


def copy(golden_root: Path, folder: Path, name: str) -> None:
    """Copy a case and the weights that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(golden_root / f"{name}.npz", allow_pickle=False) as file:
        weights = json.loads(str(file["config"]))["weights"]
    for each in (f"{name}.npz", weights):
        shutil.copyfile(golden_root / each, folder / each)


def test_matching_of_a_sequence_with_two_special_tokens(golden_root: Path, tmp_path: Path) -> None:
    """With a distillation token the authors' way back is not right, and is not compared."""

    def two(arrays: Arrays) -> None:
        config = json.loads(str(arrays["config"])) | {"distill_token": True}
        arrays["config"] = np.array(json.dumps(config))
        for name in list(arrays):
            if name not in ("config", "metric", "x", "size", "size_first", "unmerged"):
                del arrays[name]

    verdict = changed(golden_root, tmp_path, "newer/tome_r8_cls", two)
    assert verdict.problem is None
    # Other tokens merge, so that the sizes alone may be the same.
    assert verdict.deviation is not None


def test_schedules_of_merging_are_read(golden_root: Path, tmp_path: Path) -> None:
    """Five in every block, told as a number, as a pair with its inflection, block by block."""
    for number, r in enumerate((5, [5, 0], [5, 5, 5, 5])):

        def scheduled(arrays: Arrays, r: object = r) -> None:
            config = json.loads(str(arrays["config"])) | {"r": r}
            arrays["config"] = np.array(json.dumps(config))

        folder = tmp_path / str(number)
        folder.mkdir()
        verdict = changed(golden_root, folder, "newer/tome_vit_r5_prop", scheduled)
        assert (verdict.passed, verdict.method) == (True, "tome r=5-5-5-5")

    def unknown(arrays: Arrays) -> None:
        config = json.loads(str(arrays["config"])) | {"r": [5, 5, 5]}
        arrays["config"] = np.array(json.dumps(config))

    verdict = changed(golden_root, tmp_path, "newer/tome_vit_r5_prop", unknown)
    assert verdict.problem is not None
    assert "r [5, 5, 5] is no schedule of 4 blocks" in verdict.problem


def test_scores_added_up_over_clips_are_another_choice(golden_root: Path, tmp_path: Path) -> None:
    def summed(arrays: Arrays) -> None:
        config = json.loads(str(arrays["config"])) | {"published_sum_over_batch": True}
        arrays["config"] = np.array(json.dumps(config))
        # As many clips as heads, all of them the same.
        for name in ("inputs", "outputs", "outputs_f64"):
            arrays[name] = np.repeat(arrays[name], 4, axis=1)
        for index in range(5):
            arrays[f"ats/{index}"] = np.repeat(arrays[f"ats/{index}"], 4, axis=0)

    verdict = changed(golden_root, tmp_path, "newer/ats_heads_b1", summed)
    assert verdict.problem is None
    # One head alone chooses for each clip, where in the case all do.
    assert verdict.mismatches > 0


@pytest.mark.parametrize("told", [0.5, "50%", "top 50 %"])
def test_policies_of_gates_are_read(told: object, golden_root: Path, tmp_path: Path) -> None:
    """int(0.5 x 26) is 13, and of the 18 slots 9: others than the 8 that the case tells."""

    def half(arrays: Arrays) -> None:
        config = json.loads(str(arrays["config"])) | {"policy": told}
        arrays["config"] = np.array(json.dumps(config))

    verdict = changed(golden_root, tmp_path, "newer/ats_eventful_b1", half)
    assert verdict.problem is None
    # The first frame's list is right, and no index of a gate.
    assert verdict.mismatches >= 2 * 12


def test_a_copy_still_passes(golden_root: Path, tmp_path: Path) -> None:
    assert changed(golden_root, tmp_path, "temporal_A", lambda arrays: None).passed


@pytest.mark.parametrize(
    ("name", "key", "by"),
    [
        ("dense_A", "outputs", 3e-4),
        ("dense_A", "outputs_f64", 2e-9),
        ("maskvd_A", "qkv_buffers_t1", 3e-4),
        ("stgt_A", "outputs", np.nan),
        ("evit_k5_drop", "block_f64/4", 2e-9),
        ("evit_k5_drop", "logits", 3e-4),
        ("evit_k5_drop", "logits_f64", 2e-9),
        ("dense_A", "block_outputs_t0", 3e-4),
        ("gate_before_ln_A", "block_outputs_t1", 3e-4),
        ("spatiotemporal_A", "block_outputs_t1", 3e-4),
        ("maskvd_vit_kr1", "outputs", 3e-4),
        ("pipeline_64", "1/p4", 1e-2),
        ("pipeline_64", "0/boxes", 0.2),
        ("newer/ats_heads_b1", "outputs_f64", 2e-9),
        ("newer/ats_eventful_b1", "outputs", 3e-4),
        ("newer/tome_r8_cls", "merged_f64", 2e-9),
        ("newer/tome_r8_nocls", "size_first", 3e-4),
        ("newer/tome_odd_nocls", "source", 1.0),
        ("newer/tome_odd_nocls", "unmerged", 3e-4),
        ("newer/tome_vit_r5_prop", "block/2", 3e-4),
        ("newer/tome_vit_r5_prop", "size/3", 1.0),
        ("newer/tome_vit_r5_prop", "logits_f64", 2e-9),
        ("newer/tome_vit_r5_prop", "source_f64", 1.0),
    ],
)
def test_one_number_off_fails(
    name: str, key: str, by: float, golden_root: Path, tmp_path: Path
) -> None:
    agreement = changed(golden_root, tmp_path, name, off(key, by))
    assert not agreement.passed
    assert agreement.problem is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("temporal_A", "index/3/blocks.2.projection_gate"),
        ("evit_k5_drop", "kept/3"),
        ("maskvd_evit_d7_k5", "survivors/2"),
        ("maskvd_evit_d7_k5", "survivors_in_order/3"),
        ("pipeline_64", "1/image_sizes"),
        ("pipeline_64", "0/labels"),
        ("newer/ats_heads_b1", "ats/2"),
        ("newer/ats_eventful_b1", "ats/4"),
        ("newer/ats_eventful_b1", "index/2/mlp_gate"),
    ],
)
def test_one_other_token_or_label_fails(
    name: str, key: str, golden_root: Path, tmp_path: Path
) -> None:
    def change(arrays: Arrays) -> None:
        arrays[key].flat[1] += 1

    agreement = changed(golden_root, tmp_path, name, change)
    assert (agreement.mismatches > 0, agreement.passed) == (True, False)


def test_one_operation_more_fails(golden_root: Path, tmp_path: Path) -> None:
    def change(arrays: Arrays) -> None:
        counts = json.loads(str(arrays["counts"]))
        counts[4]["linear_flops"] += 1
        arrays["counts"] = np.array(json.dumps(counts))

    agreement = changed(golden_root, tmp_path, "threshold_A", change)
    assert (agreement.counted, agreement.miscounted, agreement.passed) == (6, 1, False)


def test_another_mask_fails(golden_root: Path, tmp_path: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays["mask/1"] = np.sort(np.setdiff1d(np.arange(144), arrays["mask/1"])[:40])

    assert not changed(golden_root, tmp_path, "maskvd_A", change).passed


def test_cases_that_cannot_be_run_say_why(golden_root: Path, tmp_path: Path) -> None:
    for news, message in (
        ({"block_class": "LearnedBlock"}, "no method computes blocks of class LearnedBlock"),
        ({"r": None}, "neither r nor threshold is given"),
        ({"weights": "gone.npz"}, "gone.npz"),
        ({"depth": 5}, "missing"),
    ):
        agreement = changed(golden_root, tmp_path, "temporal_A", config(**news))
        assert agreement.problem is not None
        assert message in agreement.problem
        assert not agreement.passed


def test_a_damaged_file_fails_and_the_others_go_on(golden_root: Path, tmp_path: Path) -> None:
    for name in ("dense_A.npz", "weights_A.npz"):
        shutil.copyfile(golden_root / name, tmp_path / name)
    (tmp_path / "broken.npz").write_bytes((tmp_path / "dense_A.npz").read_bytes()[:1000])
    done = run("verify", tmp_path)
    assert done.exit_code == 3
    assert "1 of 2 cases passed" in done.stderr
    assert "broken: " in done.stderr
    assert "Traceback" not in done.output


def test_a_verdict_on_nothing_does_not_pass() -> None:
    assert not Agreement("empty").passed


def test_without_a_folder_the_error_says_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASKVD_GOLDEN", raising=False)
    monkeypatch.setattr("maskvd_cli.verify.library.library_cases", dict[str, Any])
    done = run("verify")
    assert done.exit_code == 2
    assert "maskvd verify DIR, or set the environment variable MASKVD_GOLDEN" in done.stderr
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "no golden case")):
        done = run("verify", folder)
        assert done.exit_code == 2
        assert message in done.stderr


def test_parts_that_belong_to_no_frame_are_not_passed_over(
    golden_root: Path, tmp_path: Path
) -> None:
    def more_outputs(arrays: Arrays) -> None:
        arrays["outputs"] = np.concatenate([arrays["outputs"], arrays["outputs"][:1]])

    def later_index(arrays: Arrays) -> None:
        arrays["index/99/blocks.0.qkv_gate"] = np.arange(20)

    def more_changed(arrays: Arrays) -> None:
        arrays["changed/2"] = arrays["changed/2"][:-1]

    def negative_mask(arrays: Arrays) -> None:
        arrays["mask/1"][0] = -1

    for name, change, message in (
        ("temporal_A", more_outputs, "outputs has 7 frames, inputs 6"),
        ("temporal_A", later_index, "belongs to none of 6 frames"),
        ("stgt_A", more_changed, "changed/2 does not say which tokens of inputs changed"),
        ("maskvd_A", negative_mask, "tokens outside 0..143"),
    ):
        agreement = changed(golden_root, tmp_path, name, change)
        assert agreement.problem is not None
        assert message in agreement.problem


def test_near_ties_may_come_in_either_order(golden_root: Path, tmp_path: Path) -> None:
    """Two proposals whose logits differ by less than the tolerance, swapped in the file."""

    def swap(arrays: Arrays) -> None:
        logits = arrays["0/proposal_logits"]
        row = int(np.abs(np.diff(logits)).argmin())
        assert abs(logits[row] - logits[row + 1]) < 2e-4
        for name in ("proposal_boxes", "proposal_logits", "cls_logits", "box_deltas"):
            part = arrays[f"0/{name}"]
            part[[row, row + 1]] = part[[row + 1, row]]

    assert changed(golden_root, tmp_path, "pipeline_64", swap).passed

    def swap_far(arrays: Arrays) -> None:
        part = arrays["0/boxes"]
        part[[0, 40]] = part[[40, 0]]

    assert not changed(golden_root, tmp_path, "pipeline_64", swap_far).passed


def test_a_position_table_need_not_be_square(golden_root: Path, tmp_path: Path) -> None:
    """The same numbers laid out as 9 x 16 are another model: it loads, and its outputs differ."""

    def lay_out(arrays: Arrays) -> None:
        config = json.loads(str(arrays["config"])) | {"position_encoding_size": [9, 16]}
        arrays["config"] = np.array(json.dumps(config))

    agreement = changed(golden_root, tmp_path, "dense_A", lay_out)
    assert agreement.problem is None
    assert agreement.deviation is not None
    assert not agreement.passed


def test_masks_may_begin_a_case_that_writes_onto_zeros(golden_root: Path, tmp_path: Path) -> None:
    def drop_first(arrays: Arrays) -> None:
        for name in ("inputs", "outputs"):
            arrays[name] = arrays[name][1:]
        for name in ("mask", "survivors"):
            arrays[f"{name}/0"] = arrays.pop(f"{name}/1")
            arrays[f"{name}/1"] = arrays.pop(f"{name}/2")

    assert changed(golden_root, tmp_path, "maskvd_vit_kr1", drop_first).passed


def test_the_patch_is_that_of_the_weights() -> None:
    size, table = Size(32, 48), Size(4, 6)
    block = {
        "dim": 16, "heads": 2, "mlp_ratio": 2, "window_size": [2, 2],
        "relative_embedding_size": [2, 2],
    }  # fmt: skip
    backbone = {
        "depth": 2, "window_indices": [0], "position_encoding_size": list(table),
        "block_config": block,
    }  # fmt: skip
    arch = windowed_arch({**backbone, "input_size": list(table)}, patch=8)
    heads = HeadArch.for_patch(8, classes=3, channels=16, hidden=8)
    detector = Detector(arch, heads, size).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    with torch.no_grad():
        tokens = detector.embed([torch.from_numpy(pixels)])
        features = detector.backbone(tokens, detector.grid)
    config = {
        "backbone_config": backbone, "input_shape": [3, *size], "classes": 3, "output_channels": 16,
    }  # fmt: skip
    arrays = StoredArrays(
        {"image/0": pixels, "0/tokens": tokens[0].numpy(), "0/backbone": features[0].numpy()}
    )
    weights = Converted(detector.state_dict(), "ours", {})
    agreement = Agreement("patch_8")
    with torch.no_grad():
        verify_detector(Golden("patch_8", config, arrays, weights), agreement)
    assert agreement.passed
    assert agreement.deviation == {torch.float32: 0}
