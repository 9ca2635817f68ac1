"""`maskvd get` against a hub on this machine, and that no other command connects to anything."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.errors import UsageError
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.families.fetched import home_of, repositories
from maskvd_cli.families.zoo import models
from maskvd_cli.methods.library import load

from .hub_server import FIRST, SECOND, Hub, running_hub

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="needs the extra hf"
)
NANO = "Roboflow/rf-detr-nano"
FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"weights", "README.md": b"hello"}


@pytest.fixture
def hub() -> Generator[Hub]:
    with running_hub() as serving:
        serving.publish(NANO, FIRST, FILES)
        yield serving


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKVD_CACHE", str(tmp_path / "cache"))
    # Where nothing answers; and where the user is known, which must not be told.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("MASKVD_KITTI", raising=False)
    return tmp_path / "cache"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def get(hub: Hub, *arguments: object) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        return run("get", *arguments)


def refused(done: Result) -> str:
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@needs_hub
def test_what_is_fetched_is_shown_and_recorded(hub: Hub, cache: Path) -> None:
    done = get(hub, "rfdetr-nano", "--json")
    assert done.exit_code == 0, done.output
    assert f"{hub.endpoint}/{NANO}, revision 111111111111, licence apache-2.0" in done.stderr
    folder = cache / "weights" / "rfdetr-nano"
    assert names_in(cache) == {
        "weights", "weights/rfdetr-nano",
        *(f"weights/rfdetr-nano/{name}"
          for name in ("config.json", "model.safetensors", "maskvd.json")),
    }  # fmt: skip
    record = json.loads((folder / "maskvd.json").read_text())
    assert record["revision"] == FIRST and record["licence"] == "apache-2.0"
    assert record["source"] == f"{hub.endpoint}/{NANO}" and record["name"] == "rfdetr-nano"
    for name, told in record["files"].items():
        assert (folder / name).read_bytes() == FILES[name]
        assert told == {
            "bytes": len(FILES[name]), "sha256": hashlib.sha256(FILES[name]).hexdigest()
        }  # fmt: skip
    printed = json.loads(done.stdout)
    assert printed == record | {"folder": str(folder), "weights": "rfdetr-nano"}
    assert not any(token for _, _, token in hub.asked)
    assert all(NANO in path for path in hub.paths())


@needs_hub
def test_what_is_there_and_the_same_is_left(hub: Hub, cache: Path) -> None:
    get(hub, "rfdetr-nano")
    folder, asked = cache / "weights" / "rfdetr-nano", len(hub.asked)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    done = get(hub, "rfdetr-nano")
    assert done.exit_code == 0 and "holds it already; nothing was fetched" in done.stderr
    assert not [path for path in hub.paths()[asked:] if "resolve" in path]
    asked = len(hub.asked)
    # Of a revision that is known, nobody is asked.
    done = run("get", "rfdetr-nano", "--revision", FIRST)
    assert done.exit_code == 0 and "holds it already; nothing was asked for" in done.stderr
    assert len(hub.asked) == asked
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@needs_hub
def test_another_revision_takes_force_and_strangers_stay(hub: Hub, cache: Path) -> None:
    get(hub, "rfdetr-nano")
    hub.publish(NANO, SECOND, FILES | {"config.json": b'{"a": 2}'})
    text = refused(get(hub, "rfdetr-nano"))
    assert f"holds revision 111111111111 of {hub.endpoint}/{NANO}, not 222222222222" in text
    folder = cache / "weights" / "rfdetr-nano"
    (folder / "mine.txt").write_text("notes")
    assert "holds mine.txt, which was not fetched" in refused(get(hub, "rfdetr-nano", "--force"))
    (folder / "mine.txt").unlink()
    assert get(hub, "rfdetr-nano", "--force").exit_code == 0
    assert (folder / "config.json").read_bytes() == b'{"a": 2}'
    assert get(hub, "rfdetr-nano", "--revision", FIRST, "--force").exit_code == 0
    assert (folder / "config.json").read_bytes() == FILES["config.json"]
    (folder / "config.json").write_bytes(b"{}")
    text = refused(get(hub, "rfdetr-nano", "--revision", FIRST))
    assert "config.json is not what was fetched; fetch it again: --force" in text
    assert get(hub, "rfdetr-nano", "--revision", FIRST, "--force").exit_code == 0
    assert (folder / "config.json").read_bytes() == FILES["config.json"]


@needs_hub
@pytest.mark.parametrize("failure", ["cut", "changed"])
@pytest.mark.parametrize("held", [False, True])
def test_a_download_that_breaks_leaves_nothing_half_done(
    failure: str, held: bool, hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library tries again after a second.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    if held:
        get(hub, "rfdetr-nano")
    before = names_in(cache)
    hub.publish(NANO, SECOND, {"config.json": b"{}", "model.safetensors": b"other weights"})
    setattr(hub, failure, "model.safetensors")
    text = refused(get(hub, "rfdetr-nano", "--force"))
    assert f"{NANO}/model.safetensors: " in text
    assert ("came with 13 bytes" if failure == "changed" else "cannot be fetched") in text
    assert {name for name in names_in(cache) if "weights/" in name} == {
        name for name in before if "weights/" in name
    }
    if held:
        folder = cache / "weights" / "rfdetr-nano"
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


@needs_hub
def test_what_the_hub_does_not_have(hub: Hub, cache: Path) -> None:
    assert f"{NANO}: has no such revision" in refused(get(hub, "rfdetr-nano", "--revision", "v9"))
    assert "rf-detr-small: is not there, or not public" in refused(get(hub, "rfdetr-small"))
    hub.publish(NANO, SECOND, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    assert "has no config.json with model.safetensors" in refused(get(hub, "rfdetr-nano"))
    text = refused(get(hub, "rfdetr-nano", "--revision", "../../etc"))
    assert "no revision can be called '../../etc'" in text
    text = refused(get(hub, "rfdetr-nona"))
    assert "unknown published model 'rfdetr-nona' (did you mean 'rfdetr-nano'?)" in text
    assert not cache.exists()


@needs_hub
def test_shards_and_what_is_of_use_beside_are_fetched(hub: Hub, tmp_path: Path) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": bytes([n]) for n in (1, 2)}
    hub.publish(
        "google/owlv2-base-patch16-ensemble", FIRST,
        {"config.json": b"{}", "model.safetensors.index.json": b"{}", "vocab.json": b"{}",
         "evil.py": b"", "../up.safetensors": b"", "merges.txt": b"a b", **shards},
    )  # fmt: skip
    hub.licence = None
    done = get(hub, "owlv2-base", "--to", tmp_path / "mine")
    assert done.exit_code == 0, done.output
    assert "licence not stated" in done.stderr
    assert names_in(tmp_path / "mine") >= {"config.json", "model.safetensors.index.json", *shards}
    assert not (tmp_path / "up.safetensors").exists()
    assert not (tmp_path / "mine" / "evil.py").exists()
    assert f"model.weights: {tmp_path / 'mine'}" in " ".join(done.stdout.split())


@needs_hub
def test_no_network_is_one_line(cache: Path) -> None:
    text = refused(run("get", "rfdetr-nano"))
    assert f"{NANO}: cannot be fetched" in text and "check the connection" in text
    assert not cache.exists()


@needs_hub
def test_folders_of_others_are_not_touched(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "me.png").write_bytes(b"me")
    for force in ([], ["--force"]):
        text = refused(get(hub, "rfdetr-nano", "--to", folder, *force))
        assert "holds no readable maskvd.json, so it is none of `maskvd get`" in text
    (folder / "maskvd.json").write_text('{"name": "x", "files": {"../me": {}}}')
    assert "is no record of `maskvd get`" in refused(get(hub, "rfdetr-nano", "--to", folder))
    assert names_in(folder) == {"me.png", "maskvd.json"}
    assert not hub.asked


def test_without_a_cache_a_folder_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKVD_CACHE", "off")
    text = refused(run("get", "rfdetr-nano"))
    assert "have no place, since MASKVD_CACHE keeps nothing; maskvd get rfdetr-nano --to" in text
    with pytest.raises(UsageError, match="have no place"):
        home_of("rfdetr-nano")
    assert home_of("mine.safetensors") is None


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    text = refused(run("get", "rfdetr-nano"))
    assert "needs huggingface_hub, which is not installed; pip install 'maskvd[hf]'" in text


def test_published_models_are_models() -> None:
    assert repositories().keys() <= models().keys()
    assert {"rfdetr-nano", "rfdetr-large", "yolos-tiny", "owlv2-base"} <= repositories().keys()
    assert all(repository.count("/") == 1 for repository in repositories().values())


# Nobody else connects.


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tried: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        tried.append(str(arguments))
        raise OSError("a command opened a socket")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


def test_no_other_command_connects(tmp_path: Path, no_network: list[str], cache: Path) -> None:
    write_labels(tmp_path / "kitti", clips=1, frames=2, seed=1)
    chosen = [
        "--dataset", "kitti", "--root", tmp_path / "kitti", "--set", "model.name=rfdetr-nano",
        "--set", "model.input=384x384",
    ]  # fmt: skip
    dense = ["--set", "methods=[{name: dense}]", "--results", tmp_path / "runs"]
    missing = ["--set", "model.weights=rfdetr-nano"]
    for kind in ("models", "methods", "families"):
        assert run("ls", kind).exit_code == 0
    assert run("sweep", "maskvd-grid", *chosen, *dense).exit_code == 0
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert run("report", folder).exit_code == 0
    for command in (["validate", "maskvd-grid", *chosen, *dense[:2]],
                    ["sweep", "maskvd-grid", *chosen, *dense]):  # fmt: skip
        done = run(*command, *missing)
        assert done.exit_code == 2
        said = " ".join(done.output.split())
        assert "rfdetr-nano: its weights are not there yet; maskvd get rfdetr-nano" in said
    with pytest.raises(Exception, match="maskvd get rfdetr-nano"):
        load("rfdetr-nano")
    assert not no_network
    assert not (cache / "weights").exists()


@needs_hub
def test_the_watch_over_sockets_sees_what_get_does(no_network: list[str]) -> None:
    assert "cannot be fetched" in refused(run("get", "rfdetr-nano"))
    assert no_network


def test_the_hub_is_imported_in_one_module_alone() -> None:
    import maskvd_cli

    package = Path(maskvd_cli.__file__).parent
    naming = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "huggingface_hub" in path.read_text("utf-8")
    }
    assert naming == {"families/hub.py"}
