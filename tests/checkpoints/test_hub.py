"""Models by their name on the hub, against a real server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, snapshot_download

from checkpoints.hub_server import TOKEN, HubServer, hub_server
from checkpoints.official_checkpoints import pickle_whole, split
from got_r1.checkpoints.hub import fetch, is_hub_name, local_folder, named_commit
from got_r1.checkpoints.models import model_folder as found_folder
from got_r1.cli import main
from got_r1.errors import BadInput, RunFailed
from got_r1.files.digests import DIGESTS, digests_text
from got_r1.policy import load_policy
from got_r1.policy.tiny import build_policy
from got_r1.recipes.recipe_file import recipe_text
from got_r1.training import sft
from got_r1.vision import load_similarity
from got_r1.vision.settings import SimilaritySettings
from judges.tiny_mllm import make_llava
from small_runs import MakeRecipe
from vision.tiny import build


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small policy's folder."""
    folder = tmp_path_factory.mktemp("policy")
    build_policy(["a red heart"] * 3, seed=0, hidden_size=32, layers=1, heads=2, mlp_size=48).save(
        folder
    )
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server, and huggingface_hub told to use it, with an empty cache."""
    with hub_server() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        files = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        fetch.cache_clear()
        yield server
    fetch.cache_clear()


# -- names -----------------------------------------------------------------------------------------


def test_what_lies_here_is_no_name_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("runs/model")
    (tmp_path / "runs" / "model").mkdir(parents=True)
    assert not is_hub_name("runs/model")
    assert is_hub_name("deepseek-ai/Janus-Pro-1B@refs/pr/3")
    for path in ("icons", "/a/b", "./a/b", "../b", "~/b", "a/b/c", "a/b@"):
        assert not is_hub_name(path)


# -- downloads -------------------------------------------------------------------------------------


def test_only_the_weights_that_are_read_are_fetched(
    hub: HubServer, model: Path, tmp_path: Path
) -> None:
    both = Path(shutil.copytree(model, tmp_path / "both"))
    pickle_whole(both)
    shutil.copy(model / "model.safetensors", both)
    (both / "flax_model.msgpack").write_bytes(b"large")
    (both / "onnx").mkdir()
    (both / "onnx" / "config.json").write_text("{}")
    hub.add("someone/both", both)
    assert found_folder("someone/both", weights=False).is_dir()
    assert not any("safetensors" in file for file in hub.downloads())
    load_policy("someone/both")
    found = hub.downloads()
    assert found.count("model.safetensors") == 1
    assert not {"pytorch_model.bin", "flax_model.msgpack", "onnx/config.json"} & set(found)


def test_shards_with_and_without_an_index(hub: HubServer, model: Path, tmp_path: Path) -> None:
    expected = load_policy(model).model.state_dict()["lm_head.weight"]
    for name, pickled, index in (("a", False, True), ("b", True, True), ("c", False, False)):
        shards = Path(shutil.copytree(model, tmp_path / name))
        split(shards, 3, pickled)
        (shards / DIGESTS).unlink()
        if not index:
            (shards / "model.safetensors.index.json").unlink()
        hub.add(f"someone/{name}", shards)
        loaded = load_policy(f"someone/{name}").model.state_dict()
        assert loaded["lm_head.weight"].equal(expected)
    (tmp_path / "c" / "model-00002-of-00003.safetensors").unlink()
    hub.add("someone/part", tmp_path / "c")
    with pytest.raises(BadInput, match=r"its shards it lacks model-00002-of-00003\.safetensors"):
        load_policy("someone/part")


def test_a_revision_is_a_branch_a_tag_or_a_commit(
    hub: HubServer, model: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(model, tmp_path / "other"))
    build_policy(["x"] * 3, seed=1, hidden_size=32, layers=1, heads=2, mlp_size=48).save(other)
    first = hub.add("someone/model", other, "v1")
    second = hub.add("someone/model", model)
    assert local_folder("someone/model").name == second
    for revision in ("v1", first):
        assert local_folder(f"someone/model@{revision}").name == first
    assert named_commit("someone/model@v1") == f"someone/model@{first}"
    with pytest.raises(BadInput, match="the hub's someone/model has no revision 'v9'"):
        local_folder("someone/model@v9")


def test_offline_the_cache_does(
    hub: HubServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("someone/model", model)
    load_policy("someone/model")
    fetch.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    load_policy("someone/model")
    with pytest.raises(BadInput, match=r"not wholly in the hub's cache.*hf download someone/other"):
        load_policy("someone/other")
    assert len(hub.requests) == before


def test_offline_a_part_will_do_that_holds_all_that_is_read(
    hub: HubServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `hf download --include` leaves it."""
    more = Path(shutil.copytree(model, tmp_path / "more"))
    (more / "notes.txt").write_text("not fetched")
    hub.add("someone/more", more)
    snapshot_download("someone/more", ignore_patterns=["notes.txt"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_policy("someone/more")


def test_what_the_hub_does_not_have_or_does_not_show(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path
) -> None:
    with pytest.raises(BadInput, match="neither a folder here nor a model on the hub"):
        load_policy("someone/nothing")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BadInput, match=r"neither a folder here .*log in"):
        load_policy("someone/secret")
    card = tmp_path / "card"
    card.mkdir()
    (card / "README.md").write_text("# soon")
    hub.add("someone/empty", card)
    with pytest.raises(BadInput, match="the hub's someone/empty has no weights that can be read"):
        load_policy("someone/empty")


def test_a_recipe_names_its_model(
    hub: HubServer, model_folder: Path, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    hub.add("someone/small", model_folder)
    recipe = make_recipe("run", sft={"steps": 1, "batch": 2}, model={"path": "someone/small"})
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_text(recipe))
    assert main(["train", "sft", str(file), "--dry-run"]) == 0
    assert "model.safetensors" not in hub.downloads()
    assert main(["train", "sft", str(file)]) == 0
    assert hub.downloads().count("model.safetensors") == 1
    assert "path: someone/small" in Path(recipe.run.dir, "config.yaml").read_text()


def test_judges_and_vision_models_by_their_names(hub: HubServer, tmp_path: Path) -> None:
    from got_r1.judges import load_judge

    hub.add("someone/clip", build("clip", tmp_path / "clip"))
    load_similarity(SimilaritySettings(model="someone/clip"))
    commit = hub.add("someone/llava", make_llava(tmp_path / "llava"), "main", "v2")
    judge = load_judge("transformers:someone/llava@v2", tmp_path / "cache", terms=("r_pi",))
    assert commit in judge.identity
    with pytest.raises(BadInput, match="neither a folder here nor a model on the hub"):
        load_judge("transformers:someone/none")


# -- official models -------------------------------------------------------------------------------


def test_an_official_model_is_converted_once_and_told(
    hub: HubServer, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("deepseek-ai/Small", small)
    first = load_policy("deepseek-ai/Small")
    told = capsys.readouterr().err
    line = "deepseek-ai/Small is in the official format: converting it, once, to "
    assert told.count(line) == 1
    folder = found_folder("deepseek-ai/Small")
    assert folder.is_relative_to(tmp_path / "hf" / "got-r1")
    again = load_policy("deepseek-ai/Small")
    assert again.model.lm_head.weight.equal(first.model.lm_head.weight)
    assert line not in capsys.readouterr().err
    # A folder too; one that has changed is converted again.
    own = Path(shutil.copytree(small, tmp_path / "own"))
    assert found_folder(own) == found_folder(own)
    assert capsys.readouterr().err.count("is in the official format") == 1
    os.utime(own / "model.safetensors", ns=(1, 1))
    found_folder(own)
    assert capsys.readouterr().err.count("is in the official format") == 1


def test_convert_takes_a_name(hub: HubServer, small: Path, tmp_path: Path) -> None:
    hub.add("deepseek-ai/Small", small)
    assert main(["convert", "deepseek-ai/Small", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


# -- push ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
def test_a_run_is_pushed_and_its_model_loads_from_there(
    hub: HubServer, make_recipe: MakeRecipe, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe("run", sft={"steps": 1, "batch": 2})
    assert main(["push", recipe.run.dir, "someone/new"]) == 2
    assert "is no run folder" in capsys.readouterr().err
    sft.train(recipe, quiet=True)
    capsys.readouterr()
    assert main(["push", recipe.run.dir, "someone/new", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [commit] = hub.repositories["someone/new"].commits
    assert told == {"repository": "someone/new", "commit": f"{hub.url}/someone/new/commit/{commit}"}
    files = hub.repositories["someone/new"].commits[commit]
    final = Path(recipe.run.dir, "checkpoints", "final")
    assert files["model.safetensors"] == (final / "model.safetensors").read_bytes()
    assert files["report.html"] == Path(recipe.run.dir, "report.html").read_bytes()
    card = files["README.md"].decode()
    assert "got-r1 sample --model someone/new" in card
    assert "got-r1 convert" not in card
    pushed = load_policy("someone/new").model.state_dict()
    for name, tensor in load_policy(final).model.state_dict().items():
        assert pushed[name].equal(tensor)
    assert files[DIGESTS] == (final / DIGESTS).read_bytes()
    # Again: nothing is in the way, and a model without digests leaves none of an earlier one.
    (final / DIGESTS).unlink()
    config = final / "config.json"
    config.write_text(config.read_text() + "\n")
    assert main(["push", recipe.run.dir, "someone/new"]) == 0
    *_, newest = hub.repositories["someone/new"].commits.values()
    assert newest[DIGESTS] == digests_text(final).encode() != files[DIGESTS]
    (final / DIGESTS).write_bytes(files[DIGESTS])
    assert main(["push", recipe.run.dir, "someone/new"]) == 2
    assert "config.json is truncated or damaged" in capsys.readouterr().err


def test_a_push_that_cannot_be(
    hub: HubServer,
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make_recipe("run", sft={"steps": 1, "batch": 2})
    sft.train(recipe, quiet=True)
    argv = ["push", recipe.run.dir]
    assert main([*argv, "a/b/c"]) == 2
    assert "'a/b/c' cannot name a repository" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main([*argv, "someone/new"]) == 2
    assert "does not let you write to someone/new: log in" in capsys.readouterr().err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main([*argv, "someone/new"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    shutil.rmtree(Path(recipe.run.dir, "checkpoints", "final"))
    assert main([*argv, "someone/new"]) == 2
    assert "no trained model in checkpoints/final" in capsys.readouterr().err
    assert not hub.repositories


@pytest.mark.parametrize("answers", ["closed", "silent"])
def test_a_hub_out_of_reach_is_told_and_the_cache_does(
    hub: HubServer, model: Path, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    """A port that nobody listens at, and one where nobody accepts, as behind some firewalls."""
    hub.add("someone/model", model)
    load_policy("someone/model")
    fetch.cache_clear()
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if answers == "silent":
            port.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
        told: list[BadInput] = []

        def load() -> None:
            load_policy("someone/model")
            with pytest.raises(BadInput, match="not wholly in the hub's cache") as refused:
                local_folder("someone/other")
            told.append(refused.value)

        loading = threading.Thread(target=load, daemon=True)
        loading.start()
        loading.join(timeout=300)  # without a limit of ours it would wait for ever
    assert len(told) == 1


# -- the environment -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_command_follows_the_hubs_own_settings(
    hub: HubServer, model: Path, tmp_path: Path
) -> None:
    hub.add("someone/model", model)
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}

    def sample(out: str, **more: str) -> subprocess.CompletedProcess[str]:
        argv = ["sample", "--model", "someone/model", "--prompt", "a red heart"]
        return subprocess.run(
            [sys.executable, "-m", "got_r1", *argv, "--out", str(tmp_path / out)],
            env=env | more,
            capture_output=True,
            text=True,
            check=False,
        )

    assert sample("offline", HF_HUB_OFFLINE="1").returncode == 2
    assert sample("online", HF_HUB_OFFLINE="0").returncode == 0
    fetched = len(hub.requests)
    assert fetched
    assert (tmp_path / "online" / "000.png").is_file()
    assert sample("again", HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.requests) == fetched


def test_a_hub_that_breaks(hub: HubServer, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_MAX_RETRIES", 0, raising=False)
    hub.add("someone/model", model)
    hub.broken = True
    with pytest.raises((BadInput, RunFailed), match="someone/model"):
        load_policy("someone/model")
    fetch.cache_clear()
    hub.broken = False
    load_policy("someone/model")
