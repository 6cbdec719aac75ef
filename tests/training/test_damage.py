"""Damaged files are noticed when they are read, and the newest whole checkpoint is taken."""

from __future__ import annotations

import os
import pickle
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from damage import damages, flip_middle
from got_r1.data import open_source
from got_r1.data.prepare import prepare
from got_r1.errors import BadInput, GotR1Error, RunFailed
from got_r1.files.digests import DIGESTS, find_damage
from got_r1.policy import SHIPPED, load_encoder, load_policy
from got_r1.recipes.sections import Recipe
from got_r1.training import sft
from got_r1.training.checkpoint import newest_checkpoint, newest_whole_checkpoint


@pytest.fixture(scope="module")
def trained(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe that trains on prepared tokens, and has: three steps, each with a checkpoint."""
    place = tmp_path_factory.mktemp("trained")
    recipe = Recipe.model_validate(
        {
            "run": {"dir": str(place / "run"), "seed": 5},
            "model": {"path": str(model_folder), "lora": {"rank": 0}},
            "data": {"size": 24, "shard_records": 8, "shards": str(place / "tokens")},
            "sft": {"steps": 3, "batch": 4, "learning_rate": 1e-3, "save_every": 1},
        }
    )
    encoder, tokens = load_encoder(model_folder), place / "tokens"
    prepare(encoder, open_source(recipe), tokens, recipe.data, quiet=True)
    sft.train(recipe, quiet=True)
    return recipe


@pytest.fixture
def copied(trained: Recipe, tmp_path: Path) -> Recipe:
    """The same with a run folder of its own."""
    run = shutil.copytree(trained.run.dir, tmp_path / "run")
    return changed(trained, "run", dir=run)


def changed(recipe: Recipe, section: str, **settings: Path) -> Recipe:
    """The recipe with other paths."""
    paths = {name: str(path) for name, path in settings.items()}
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=paths)})


def checkpoint_of(recipe: Recipe) -> Path:
    newest = newest_checkpoint(Path(recipe.run.dir))
    assert newest is not None
    return newest


def weights_of(recipe: Recipe) -> dict[str, Any]:
    return load_file(Path(recipe.run.dir, "checkpoints/final/model.safetensors"))


def resume(recipe: Recipe) -> None:
    sft.train(recipe, resume=True, quiet=True)


@pytest.mark.parametrize("kind", ["checkpoint", "model", "tokens"])
def test_every_damage_to_every_file_is_noticed(kind: str, trained: Recipe, tmp_path: Path) -> None:
    folders = {
        "checkpoint": checkpoint_of(trained),
        "model": Path(trained.run.dir, "checkpoints/final"),
        "tokens": Path(trained.data.shards),
    }
    folder = Path(shutil.copytree(folders[kind], tmp_path / "folder"))
    free = ("skipped.jsonl", "generation_config.json")  # read by nobody; meant to be edited
    files = [path for path in sorted(folder.iterdir()) if path.name not in free]
    assert folder / DIGESTS in files
    assert find_damage(folder) is None
    flips = 12 if kind == "model" else 40  # its weights are larger
    for number, path in enumerate(files):
        content, other = path.read_bytes(), files[number - 1].read_bytes()
        for what, content_now in damages(content, other, seed=number, flips=flips):
            path.write_bytes(content_now)
            problem = find_damage(folder)
            assert problem is not None, f"{path.name}: {what}"
            assert str(folder) in problem
        if path.name != DIGESTS:
            path.unlink()
            assert f"{path} is missing" in (find_damage(folder) or "")
        path.write_bytes(content)
    assert find_damage(folder) is None


def test_the_shipped_checkpoint_has_digests() -> None:
    assert (SHIPPED["icons"] / DIGESTS).is_file()
    assert find_damage(SHIPPED["icons"]) is None


def test_the_newest_whole_checkpoint_is_resumed_from(
    trained: Recipe, copied: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = checkpoint_of(copied)
    (data,) = newest.glob("*.distcp")
    flip_middle(data)
    resume(copied)
    said = capsys.readouterr().err
    assert f"{data} is damaged (its SHA-256 is not the one in digests.json)" in said
    assert "resuming from step_000002 instead" in said
    assert find_damage(newest) is None, "the resumed run wrote it again"
    whole, other = weights_of(trained), weights_of(copied)
    assert all(whole[name].equal(other[name]) for name in whole)


def test_no_whole_checkpoint_ends_in_a_sentence(copied: Recipe) -> None:
    for data in Path(copied.run.dir).glob("checkpoints/step_*/*.distcp"):
        data.write_bytes(data.read_bytes()[:-1])
    told = r"no checkpoint of \S+ is whole.*step_000003\S+ is truncated.*step_000002\S+ is trunc"
    with pytest.raises(RunFailed, match=told):
        resume(copied)


def test_checkpoints_and_models_without_digests_are_read(copied: Recipe) -> None:
    for digests in Path(copied.run.dir).parent.rglob(DIGESTS):
        digests.unlink()
    assert newest_whole_checkpoint(Path(copied.run.dir)) == checkpoint_of(copied)
    resume(copied)
    load_policy(Path(copied.run.dir, "checkpoints/final"))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_model_is_not_loaded(name: str, copied: Recipe) -> None:
    final = Path(copied.run.dir, "checkpoints/final")
    flip_middle(final / name)
    for load in (load_policy, load_encoder):
        with pytest.raises(BadInput, match=rf"{name} is damaged .*delete \S+digests\.json"):
            load(final)
    with pytest.raises(BadInput, match=rf"{name} is damaged"):
        sft.train(changed(copied, "model", path=final), quiet=True)


def test_damaged_tokens_are_not_trained_on_and_can_be_made_again(
    trained: Recipe, tmp_path: Path
) -> None:
    tokens = Path(shutil.copytree(trained.data.shards, tmp_path / "tokens"))
    recipe = changed(changed(trained, "data", shards=tokens), "run", dir=tmp_path / "run")
    shard = tokens / "tokens-00001.safetensors"
    flip_middle(shard)
    with pytest.raises(BadInput, match=rf"{shard} is damaged .*run got-r1 prepare again"):
        sft.train(recipe, quiet=True)
    shard.unlink()
    encoder = load_encoder(recipe.model.path)
    prepare(encoder, open_source(recipe), tokens, recipe.data, quiet=True)
    for file in Path(trained.data.shards).iterdir():
        assert (tokens / file.name).read_bytes() == file.read_bytes()


# -- the pickle in a checkpoint --------------------------------------------------------------------


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("part", ["all", "a value"])
def test_metadata_that_names_code_is_refused_unrun(
    part: str, copied: Recipe, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(copied)
    touch: Any = Touch(tmp_path / "touched")
    if part == "a value":
        metadata = pickle.loads((checkpoint / ".metadata").read_bytes())
        metadata.planner_data = {"step": touch}
        touch = metadata
    (checkpoint / ".metadata").write_bytes(pickle.dumps(touch))
    (checkpoint / DIGESTS).unlink()  # whoever writes the one can write the other
    with pytest.raises(BadInput, match=r"\.metadata names posix\.mkdir, .* could run any code"):
        resume(copied)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("file", [".metadata", "__0_0.distcp"])
def test_damage_without_digests_ends_in_a_sentence_or_the_checkpoint_before(
    file: str, copied: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not all of it can be noticed, but none ends in a traceback."""
    newest = checkpoint_of(copied)
    (newest / DIGESTS).unlink()
    content = (newest / file).read_bytes()
    chosen = random.Random(1)
    other = (newest / "__0_0.distcp").read_bytes()[:5000]
    # A run is resumed for a few of them; what is read first is tried with all.
    for _, content_now in damages(content, other, seed=2, flips=50):
        (newest / file).write_bytes(content_now)
        with suppress(GotR1Error):
            taken = newest_whole_checkpoint(Path(copied.run.dir))
            if taken == newest and chosen.random() < 0.1:
                resume(copied)
    if file == ".metadata":
        assert f"{newest / file} is damaged" in capsys.readouterr().err
