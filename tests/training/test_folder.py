"""Files of a training that are not as they were written are told in one line, with exit code 3."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from maskvd_cli.core.errors import ResultError
from maskvd_cli.families.checkpoints import read_tensors, save, sha256_of
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.load import load_training
from maskvd_cli.training.records import DamagedTrainingError
from maskvd_cli.training.runner import FinishedTraining, run_training
from maskvd_cli.training.setup import Training, prepare

from .trainings import write_kitti, write_recipe

CHANGES = ("schedule.length=2", "schedule.warmup=0", "checkpoint_every=1", "evaluation.limit=2")


class Quiet:
    def begins(self, training: Training, step: int) -> None: ...

    def computed(self, done: int, videos: int) -> None: ...
    def stepped(self, step: int) -> None: ...

    def logged(self, entry: dict[str, Any]) -> None: ...


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    write_kitti(folder / "kitti", frames=4)
    write_recipe(folder)
    return folder


def run(home: Path, output: Path, *changes: str) -> FinishedTraining:
    training = prepare(
        load_training(home / "tiny.yaml", [*CHANGES, *changes]), resolve_device("cpu")
    )
    return run_training(training, TrainingFolder(output), Quiet())


@pytest.fixture(scope="module")
def finished(home: Path) -> Path:
    run(home, home / "done")
    return home / "done"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "copy")


def damaged(home: Path, folder: Path, file: Path, *changes: str) -> str:
    with pytest.raises(DamagedTrainingError) as caught:
        run(home, folder, *changes)
    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert "\n" not in text and len(text) < 500
    assert caught.value.exit_code == 3
    assert caught.value.remedy
    return text


def edited(path: Path, *keys: str, to: Any = None) -> None:
    """Set a key of a JSON file, or remove it where `to` is absent."""
    content = json.loads(path.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    if to is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("file",), None),
        (("file",), 7),
        (("file",), "../../other.safetensors"),
        (("sha256",), "x"),
        (("steps",), "8"),
        (("steps",), 1e308),
        (("steps",), True),
        (("seconds",), 1e308),
        (("seconds",), -1),
        (("accuracy",), None),
        (("accuracy",), [1]),
        (("accuracy", "map50"), None),
        (("accuracy", "map50"), 1e308),
        (("accuracy", "map50"), "high"),
        (("accuracy", "map50_by_class"), None),
        (("accuracy", "map50_by_class"), {"car": None, "bus": "x"}),
        (("accuracy", "frames"), None),
        (("accuracy", "videos"), 2),
        (("environment",), "here"),
    ],
    ids=str,
)
def test_a_damaged_result(home: Path, folder: Path, keys: tuple[str, ...], to: Any) -> None:
    edited(folder / "result.json", "result", *keys, to=to)
    assert "damaged (" in damaged(home, folder, folder / "result.json")


@pytest.mark.parametrize("name", ["result.json", "training.json"])
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '{"a": NaN}', "[" * 100_000, "\udc80"], ids=lambda t: t[:9]
)
def test_files_that_are_no_json_object(home: Path, folder: Path, name: str, text: str) -> None:
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    damaged(home, folder, folder / name)


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("recipe",), None),
        (("recipe",), [1]),
        (("geometry",), 3),
        (("frames",), 1e308),
        (("annotations",), 5),
        (("recipe", "batch"), 1e308),
        (("recipe", "batch"), "two"),
        (("recipe", "optimiser"), [1e-3]),
    ],
    ids=str,
)
def test_a_damaged_identity(home: Path, folder: Path, keys: tuple[str, ...], to: Any) -> None:
    edited(folder / "training.json", *keys, to=to)
    assert "damaged (" in damaged(home, folder, folder / "training.json")


@pytest.mark.parametrize(
    ("name", "keys", "to"),
    [
        ("training.json", ("frames",), 5),
        ("training.json", ("recipe", "batch"), 3),
        ("result.json", ("result", "seconds"), 86400.5),
        ("result.json", ("result", "accuracy", "map50"), 99.0),
        ("result.json", ("sha256",), "0" * 64),
    ],
)
def test_a_changed_value_is_told_by_the_checksum(
    home: Path, folder: Path, name: str, keys: tuple[str, ...], to: Any
) -> None:
    edited(folder / name, *keys, to=to)
    assert "the checksum does not fit" in damaged(home, folder, folder / name)


@pytest.mark.parametrize("name", ["training.json", "result.json"])
def test_a_checksum_cannot_be_left_out(home: Path, folder: Path, name: str) -> None:
    edited(folder / name, "sha256")
    assert "the checksum is missing" in damaged(home, folder, folder / name)


def test_a_result_and_a_checkpoint_of_before_checksums_are_read(home: Path, folder: Path) -> None:
    path = folder / "result.json"
    result = json.loads(path.read_text())["result"]
    path.write_text(json.dumps(result))
    again = run(home, folder)
    assert again.was_finished and again.result == result
    path.unlink()
    for checkpoint in (folder / "checkpoints").iterdir():
        state_with(lambda state: state.update(format_version=1))(checkpoint)
        (checkpoint / "checksums.json").unlink()
    assert run(home, folder).result["sha256"] == result["sha256"]


def test_a_newer_identity_is_no_damage(home: Path, folder: Path) -> None:
    edited(folder / "training.json", "version", to=4)
    with pytest.raises(ResultError, match="version 4, expected 3 at most") as caught:
        run(home, folder)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"kind": "steps"}', '{"step": "1"}', '{"step": 1e308}', "\udc80", ""]
)
def test_a_damaged_log(home: Path, folder: Path, line: str) -> None:
    (folder / "result.json").unlink()
    log = folder / "log.jsonl"
    content = line.encode("utf-8", "surrogateescape") + b"\n"
    log.write_bytes(content + log.read_bytes())
    assert "line 1 is damaged" in damaged(home, folder, log)


@pytest.mark.parametrize("name", ["step", "loss", "sha256"])
def test_a_changed_line_of_the_log(home: Path, folder: Path, name: str) -> None:
    (folder / "result.json").unlink()
    log = folder / "log.jsonl"
    first, _, rest = log.read_text().partition("\n")
    entry = json.loads(first)
    assert set(entry) > {"step", "loss", "sha256"}
    entry[name] = "0" * 64 if name == "sha256" else entry[name] + 1
    log.write_text(f"{json.dumps(entry)}\n{rest}")
    assert "line 1 is damaged" in damaged(home, folder, log)


def test_a_log_of_before_has_no_checksums(home: Path, folder: Path) -> None:
    (folder / "result.json").unlink()
    log = folder / "log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for entry in entries:
        del entry["sha256"]
    log.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    run(home, folder)
    assert log.read_text().startswith(json.dumps(entries[0]))


def test_half_a_line_at_the_end_of_the_log_is_left_out(home: Path, folder: Path) -> None:
    (folder / "result.json").unlink()
    log = folder / "log.jsonl"
    with log.open("a") as file:
        file.write('{"kind": "evaluation", "step": 1, "map50_by_class": {"car": 1.0}')
    run(home, folder)
    assert all(json.loads(line) for line in log.read_text().splitlines())


def state_with(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(checkpoint: Path) -> None:
        state = torch.load(checkpoint / "state.pt", weights_only=True)
        change(state)
        torch.save(state, checkpoint / "state.pt")

    return apply


def moment(state: dict[str, Any]) -> dict[str, Any]:
    return state["optimiser"]["state"][0]


STATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no version": lambda s: s.pop("format_version"),
    "no step": lambda s: s.pop("step"),
    "step of text": lambda s: s.update(step="2"),
    "step beyond the end": lambda s: s.update(step=10**300),
    "step of another": lambda s: s.update(step=1),
    "no seconds": lambda s: s.pop("seconds"),
    "seconds of 1e308": lambda s: s.update(seconds=1e308),
    "seconds of nan": lambda s: s.update(seconds=float("nan")),
    "no optimiser": lambda s: s.pop("optimiser"),
    "optimiser of text": lambda s: s.update(optimiser="adam"),
    "no groups": lambda s: s["optimiser"].pop("param_groups"),
    "one group": lambda s: s["optimiser"]["param_groups"].pop(),
    "group of text": lambda s: s["optimiser"].update(param_groups=["a", "b"]),
    "betas of another": lambda s: s["optimiser"]["param_groups"][0].update(betas=(0.1, 0.2)),
    "no betas": lambda s: s["optimiser"]["param_groups"][0].pop("betas"),
    "decay of 1e308": lambda s: s["optimiser"]["param_groups"][0].update(weight_decay=1e308),
    "other parameters": lambda s: s["optimiser"]["param_groups"][0]["params"].pop(),
    "state of text": lambda s: s["optimiser"].update(state="x"),
    "unknown parameter": lambda s: s["optimiser"]["state"].update({10**6: {}}),
    "no moment": lambda s: moment(s).pop("exp_avg"),
    "moment of text": lambda s: moment(s).update(exp_avg_sq="x"),
    "moment of another shape": lambda s: moment(s).update(exp_avg=torch.zeros(3)),
    "moment not finite": lambda s: moment(s)["exp_avg"].fill_(float("inf")),
    "negative moment": lambda s: moment(s)["exp_avg_sq"].fill_(-1.0),
    "moment expanded": lambda s: moment(s).update(exp_avg=torch.zeros(1).expand(1 << 30)),
}


def with_nan(checkpoint: Path) -> None:
    tensors = read_tensors(checkpoint / "model.safetensors")
    tensors["box_head.fc.bias"] += float("nan")
    save(checkpoint / "model.safetensors", tensors, {})


def without_a_tensor(checkpoint: Path) -> None:
    tensors = read_tensors(checkpoint / "average.safetensors")
    del tensors["box_head.fc.bias"]
    save(checkpoint / "average.safetensors", tensors, {})


CHECKPOINTS: dict[str, Callable[[Path], Any]] = {
    **{name: state_with(change) for name, change in STATES.items()},
    "no state": lambda folder: (folder / "state.pt").unlink(),
    "a list": lambda folder: torch.save([1], folder / "state.pt"),
    "bytes": lambda folder: (folder / "state.pt").write_bytes(b"x"),
    "no model": lambda folder: (folder / "model.safetensors").unlink(),
    "a cut model": lambda folder: (folder / "model.safetensors").write_bytes(b"12345678"),
    "model not finite": with_nan,
    "average without a tensor": without_a_tensor,
}


def with_another_weight(checkpoint: Path) -> None:
    tensors = read_tensors(checkpoint / "model.safetensors")
    tensors["box_head.fc.bias"] += 1e-3
    save(checkpoint / "model.safetensors", tensors, {})


CHECKPOINTS |= {
    "another weight": with_another_weight,
    "other seconds": state_with(lambda state: state.update(seconds=1.5)),
    "no checksums": lambda folder: (folder / "checksums.json").unlink(),
    "checksums of text": lambda folder: (folder / "checksums.json").write_text("x"),
    "no checksum of them": lambda folder: edited(folder / "checksums.json", "sha256"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_damaged_checkpoint(home: Path, folder: Path, name: str) -> None:
    (folder / "result.json").unlink()
    last = folder / "checkpoints" / "000000002"
    CHECKPOINTS[name](last)
    with pytest.raises(DamagedTrainingError) as caught:
        run(home, folder)
    text = str(caught.value)
    assert text.startswith(f"{last}/")
    assert "\n" not in text and len(text) < 500
    assert text.endswith("remove 000000002 to go on from the checkpoint before")
    shutil.rmtree(last)
    assert run(home, folder).result["steps"] == 2


def test_weights_that_were_changed_are_not_answered_for(home: Path, folder: Path) -> None:
    weights = folder / "tiny.safetensors"
    before = sha256_of(weights)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "is not the file that result.json speaks of" in damaged(home, folder, weights)
    weights.unlink()
    assert not run(home, folder).was_finished
    assert sha256_of(weights) == before


def test_other_initial_weights_of_the_same_name_are_another_training(
    home: Path, finished: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a" / "w.safetensors", tmp_path / "b" / "w.safetensors"
    first.parent.mkdir()
    shutil.copy(finished / "tiny.safetensors", first)
    tensors = {name: value * 0.5 for name, value in read_tensors(first).items()}
    save(second, tensors, {})
    out = tmp_path / "out"
    run(home, out, f"init={first}")
    stored = json.loads((out / "training.json").read_text())
    assert stored["recipe"]["init"] == sha256_of(first)
    assert f"w.safetensors, sha256 `{sha256_of(first)}`" in (out / "tiny.md").read_text()
    with pytest.raises(ResultError, match="holds a training with another init; choose another"):
        run(home, out, f"init={second}")
    elsewhere = tmp_path / "c.safetensors"
    shutil.copy(first, elsewhere)
    again = run(home, out, f"init={elsewhere}")
    assert again.was_finished and not again.notes


def test_a_folder_of_an_earlier_version_is_read_and_marked(
    home: Path, finished: Path, tmp_path: Path
) -> None:
    first = tmp_path / "w.safetensors"
    shutil.copy(finished / "tiny.safetensors", first)
    out = tmp_path / "out"
    run(home, out, f"init={first}")
    edited(out / "training.json", "version")
    edited(out / "training.json", "sha256")
    edited(out / "training.json", "recipe", "init", to="w.safetensors")
    again = run(home, out, f"init={first}")
    assert again.was_finished
    assert "noted the file name of its initial weights alone" in again.notes[0]
    plain = shutil.copytree(finished, tmp_path / "plain")
    edited(plain / "training.json", "version")
    edited(plain / "training.json", "sha256")
    assert run(home, plain).notes == ()
