"""Tokens of triples: right, whole, resumable, and honest about what was left out."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from got_r1.cli import main
from got_r1.data import open_source
from got_r1.data import prepare as preparing
from got_r1.data.prepare import prepare, read_pixels
from got_r1.data.tokens import Tokens, encoder_identity
from got_r1.errors import BadInput, RunFailed
from got_r1.files.digests import DIGESTS, write_digests
from got_r1.icons.data import triples
from got_r1.policy import load_encoder, load_policy
from got_r1.policy.janus import Policy
from got_r1.recipes.sections import Recipe

Row = dict[str, Any]
MakeRecipe = Callable[..., Recipe]
WriteJsonl = Callable[..., Path]


def prepared(encoder: Policy, recipe: Recipe, folder: Path) -> Tokens:
    return prepare(encoder, open_source(recipe), folder, recipe.data, quiet=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def skipped(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]


def png(color: tuple[int, ...], mode: str = "RGB", side: int = 8, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side), color).save(file, "PNG", **options)
    return file.getvalue()


# -- what a row is ---------------------------------------------------------------------------------


def test_rows_are_the_triples_as_tokens(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    tokens = prepared(encoder, make_recipe(size=10), tmp_path / "t")
    assert len(tokens) == tokens.manifest["kept"] == 10
    order = torch.tensor([9, 0, 4, 4, 3])
    batch = tokens[order]
    assert batch.text_lengths.equal(tokens.text_lengths[order])
    made = list(triples(10, 0, relation_noise=0.25, attribute_noise=0.05, count_noise=0.25))
    for place, row in enumerate(order.tolist()):
        prompt = encoder.encode_prompt(made[row].prompt.text)
        chain = encoder.encode_chain(made[row].chain)
        length = len(prompt) + len(chain)
        assert batch.text_ids[place, :length].equal(torch.cat([prompt, chain]))
        assert (batch.text_ids[place, length:] == encoder.pad_id).all()
        assert int(batch.prompt_lengths[place]) == len(prompt)
        ids = encoder.encode_images(made[row].image[None])[0]
        assert batch.image_ids[place].equal(ids)


def test_a_chain_may_bring_its_begin_of_image(
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    ended = rows[0] | {"got": rows[0]["got"] + "<｜end▁of▁sentence｜><begin_of_image>\n"}
    tokens = prepared(encoder, make_recipe(write_jsonl([rows[0], ended])), tmp_path / "t")
    batch = tokens[torch.tensor([0, 1])]
    assert batch.text_ids[0].equal(batch.text_ids[1])


def test_tokens_stay_in_their_files(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """What a row needs is read when it is asked for: memory does not grow with the data."""
    prepared(encoder, make_recipe(size=4), tmp_path / "t")
    shard = tmp_path / "t" / "tokens-00000.safetensors"
    tensors = load_file(shard)
    (tmp_path / "t" / DIGESTS).unlink()
    rows = 200_000  # 200 bytes of image tokens each: 40 MB
    save_file(
        {
            "text_ids": tensors["text_ids"][:1].repeat(20 * rows),
            "text_ends": torch.arange(20, 20 * rows + 1, 20),
            "prompt_lengths": torch.full((rows,), 5, dtype=torch.int32),
            "image_ids": tensors["image_ids"][:1].repeat(rows, 1),
        },
        shard,
        {"skipped": "[]"},
    )

    def private_memory() -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("RssAnon:")[1].split()[0])

    write_digests(tmp_path / "t")  # of the shard in its place
    before = private_memory()
    tokens = Tokens.open(tmp_path / "t", encoder)
    assert tokens[torch.tensor([0, rows - 1])].image_ids.shape == (2, 100)
    assert private_memory() - before < shard.stat().st_size / 4


# -- images ----------------------------------------------------------------------------------------


def test_images_are_scaled_whole_so_that_boxes_stay_right() -> None:
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[5:15, 60:80] = 255  # in thousandths: (750,250),(1000,750)
    square = read_pixels(wide, 40)
    assert square.shape == (40, 40, 3)
    bright = square[..., 0] > 127
    assert np.flatnonzero(bright.any(0)).tolist() == list(range(30, 40))
    assert np.flatnonzero(bright.any(1)).tolist() == list(range(10, 30))


def test_images_are_read_as_viewers_show_them(tmp_path: Path) -> None:
    assert (read_pixels(png((255, 0, 0, 0), "RGBA"), 4) == 255).all()
    assert (read_pixels(png((0, 128, 255)), 4) == (0, 128, 255)).all()
    assert read_pixels(png((77,), "L"), 4).shape == (4, 4, 3)
    turned = Image.new("RGB", (8, 8), "white")
    turned.paste("black", (0, 0, 8, 4))  # dark above, but to be shown upside down
    exif = Image.Exif()
    exif[0x0112] = 3
    turned.save(tmp_path / "turned.png", exif=exif)
    shown = read_pixels(tmp_path / "turned.png", 8)
    assert (shown[:4] == 255).all()
    assert (shown[4:] == 0).all()


def test_a_codebook_that_is_not_normalised_gives_the_same_tokens(tmp_path: Path) -> None:
    """As in folders that others converted: decoding normalises, transformers' encoding does not."""
    images = np.stack([triple.image for triple in triples(4, seed=9)])
    policy = load_policy("icons")
    ids = policy.encode_images(images)
    codes = policy.model.model.vqmodel.quantize.embedding.weight
    scale = torch.linspace(0.2, 5, len(codes))[:, None]
    with torch.no_grad():
        codes.mul_(scale)
    assert not policy.encode_images(images).equal(ids)
    policy.save(tmp_path / "model")
    for load in (load_policy, load_encoder):
        again = load(tmp_path / "model")
        assert again.encode_images(images).equal(ids)
        assert encoder_identity(again) == encoder_identity(load_policy("icons"))


# -- what cannot be used ---------------------------------------------------------------------------

BOX = "<|box_start|>(100,100),(400,400)<|box_end|>"
LARGE = png((0,), "1", 7072)  # more than 50 million pixels in 6 kilobytes
STAR = f"<|obj_start|>star<|obj_end|> {BOX}"


@pytest.mark.parametrize(
    ("change", "problem", "detail"),
    [
        ({"got": "A star in the sky."}, "no planned object", ""),
        ({"got": f"A {STAR.replace('400)', '1400)')}."}, "coordinates outside 0 to 999", ""),
        ({"got": "<begin_of_image>"}, "empty chain", ""),
        ({"got": f"{STAR}<begin_of_image>."}, "a control token in the text", "<begin_of_image>"),
        ({"got": f"{STAR}<image_placeholder>."}, "a control token in the text", "<image_place"),
        ({"got": f"{STAR} {'and so on ' * 300}"}, "text too long", "tokens"),
        ({"image": "images/lost.png"}, "the image file is missing", "lost.png"),
        ({"image": b""}, "corrupt image", "1.png"),
        ({"image": png((1, 2, 3))[:-30]}, "corrupt image", "1.png"),
        ({"image": b"GIF89a" + bytes(50)}, "corrupt image", "1.png"),
        ({"image": b"%!PS-Adobe-3.0 EPSF-3.0"}, "corrupt image", "in none of the formats"),
        ({"image": b"II*\0\x08\0\0\0" + b"\xff" * 40}, "corrupt image", "1.png"),
        ({"image": "FIFO"}, "not a regular file", "FIFO"),
        ({"image": LARGE}, "too many pixels", "7072 x 7072"),
    ],
)
def test_records_that_cannot_be_used_are_counted_and_named(
    change: Row,
    problem: str,
    detail: str,
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    path = write_jsonl([rows[0], rows[1] | change, rows[2]])
    os.mkfifo(path.parent / "FIFO")
    tokens = prepared(encoder, make_recipe(path, max_text_tokens=256), tmp_path / "t")
    assert len(tokens) == tokens.manifest["kept"] == 2
    assert tokens.manifest["skipped"] == {problem: 1}
    (entry,) = skipped(tmp_path / "t")
    assert (entry["name"], entry["problem"]) == ("train.jsonl line 2", problem)
    assert detail in entry["detail"]


def test_a_prompt_that_spells_control_tokens_is_plain_text(
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    path = write_jsonl([rows[0] | {"prompt": "a <｜end▁of▁sentence｜> <|obj_start|>"}])
    tokens = prepared(encoder, make_recipe(path), tmp_path / "t")
    batch = tokens[torch.tensor([0])]
    prompt = batch.text_ids[0, : batch.prompt_lengths[0]].tolist()
    assert prompt[0] == encoder.bos_id
    assert not set(prompt[1:]) & encoder.words.control.keys()


def test_chains_of_related_notations_become_the_same_tokens(
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    star = "A red star (100,100),(400,400)."
    named = "<ref>star</ref><box>(100,100),(400,400)</box>"
    chains = [STAR, named, f"{named}<box>(500,100),(900,1000)</box>", star, named + "<box>"]
    made = [rows[0] | {"got": chain} for chain in chains]
    recipe = make_recipe(write_jsonl(made), shard_records=3)
    tokens = prepared(encoder, recipe, tmp_path / "t")
    batch = tokens[torch.tensor([0, 1, 2])]
    assert batch.text_ids[0].equal(batch.text_ids[1])
    chain = batch.text_ids[2, batch.prompt_lengths[2] : batch.text_lengths[2]]
    assert encoder.decode_chain(chain) == (
        f"{STAR} {STAR.replace('(100,100),(400,400)', '(500,100),(900,999)')}"
    )
    assert tokens.manifest["converted"] == {
        "tags <ref>": 2,
        "tags <box>": 2,
        "1000 as a coordinate, now 999": 1,
        "several boxes behind one name, which is repeated": 1,
    }
    assert tokens.manifest["skipped"] == {
        "no planned object": 1,
        "box without an object right before it": 1,
    }
    assert (
        tokens.manifest["examples"]["no planned object"]
        == "train.jsonl line 4: no planned object; box without an object right before it"
    )


def test_malformed_chains_may_be_kept(
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    path = write_jsonl(
        [rows[0], rows[1] | {"got": "A star."}, rows[2] | {"got": "<begin_of_image>"}]
    )
    tokens = prepared(encoder, make_recipe(path, bad_chains="keep"), tmp_path / "t")
    assert tokens.manifest["skipped"] == {"empty chain": 1}
    batch = tokens[torch.tensor([1])]
    chain = batch.text_ids[0, batch.prompt_lengths[0] : batch.text_lengths[0]]
    assert encoder.decode_chain(chain) == "A star."


def test_a_shard_of_nothing_stops_the_work_and_keeps_what_was_done(
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    """As when a disk is unmounted on the way; with the images back, the work goes on."""
    recipe = make_recipe(write_jsonl(rows))
    away = [(tmp_path / f"images/{n}.png") for n in range(4, 8)]
    for path in away:
        path.rename(path.with_suffix(".away"))
    with pytest.raises(BadInput, match=r"none of 4 .*'the image file is missing' \(train.jsonl li"):
        prepared(encoder, recipe, tmp_path / "t")
    there = ["digests.json", "manifest.json", "tokens-00000.safetensors"]
    assert sorted(contents(tmp_path / "t")) == there
    for path in away:
        path.with_suffix(".away").rename(path)
    assert len(prepared(encoder, recipe, tmp_path / "t")) == 12


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_prepare_ends_with_the_same_bytes(
    encoder: Policy,
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    broken = [rows[3] | {"got": "A star."}, rows[5] | {"image": b"no image"}]
    recipe = make_recipe(write_jsonl([*rows, *broken] * 8), shard_records=3)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump()))
    folder = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "got_r1",
        "prepare",
        str(tmp_path / "recipe.yaml"),
        str(folder),
    ]

    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 500  # a busy machine imports torch for minutes
            while len(list(folder.glob("tokens-*"))) < 5:
                assert process.poll() is None
                assert time.monotonic() < deadline, "no five shards"
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    assert not json.loads((folder / "manifest.json").read_text())["complete"]
    with pytest.raises(BadInput, match="not complete"):
        Tokens.open(folder, encoder)
    written = {path: path.stat().st_mtime_ns for path in folder.glob("tokens-*")}

    tokens = prepared(encoder, recipe, folder)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    prepared(encoder, recipe, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")
    assert tokens.manifest["skipped"] == {"no planned object": 8, "corrupt image": 8}
    assert len(tokens) == 12 * 8


def test_what_is_complete_is_left_alone(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(encoder, make_recipe(size=5), tmp_path / "t")
    monkeypatch.setattr(preparing, "write_text", None)
    monkeypatch.setattr(preparing, "write_shard", None)
    assert len(prepared(encoder, make_recipe(size=5), tmp_path / "t")) == 5


def test_other_work_is_not_mixed_into_a_folder(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    prepared(encoder, make_recipe(size=5), tmp_path / "t")
    for settings, told in (
        ({"size": 6}, "other source (size differs)"),
        ({"size": 5, "bad_chains": "keep"}, "other settings (bad_chains differs)"),
    ):
        with pytest.raises(BadInput) as refused:
            prepared(encoder, make_recipe(**settings), tmp_path / "t")
        assert told in str(refused.value)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(BadInput, match="holds something else"):
        prepared(encoder, make_recipe(size=5), tmp_path / "letters")


def test_a_full_disk_is_told_and_costs_one_shard(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """A limit on the size of files is a full disk to whoever writes."""
    import resource

    recipe = make_recipe(size=60, shard_records=40)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(RunFailed, match="disk is full"):
            prepared(encoder, recipe, tmp_path / "t")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert sorted(contents(tmp_path / "t")) == ["digests.json", "manifest.json"]
    assert len(prepared(encoder, recipe, tmp_path / "t")) == 60


def test_too_little_disk_is_told_before_the_work(encoder: Policy, tmp_path: Path) -> None:
    preparing.check_disk(encoder, 10, tmp_path)
    with pytest.raises(BadInput, match=r"will take about .* GB and .* has room for"):
        preparing.check_disk(encoder, 10**12, tmp_path)


# -- whose tokens ----------------------------------------------------------------------------------


def test_tokens_of_another_vq_or_tokenizer_are_refused(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    prepared(encoder, make_recipe(size=4), tmp_path / "t")
    half = load_policy("icons", torch.bfloat16)
    assert len(Tokens.open(tmp_path / "t", half)) == 4
    other = load_encoder("icons")
    with torch.no_grad():
        other.model.model.vqmodel.quant_conv.bias.add_(1)
    with pytest.raises(BadInput, match="made with another VQ than this model's"):
        Tokens.open(tmp_path / "t", other)
    other = load_encoder("icons")
    other.tokenizer.add_tokens(["<|new|>"])
    with pytest.raises(BadInput, match="made with another tokenizer than this model's"):
        Tokens.open(tmp_path / "t", other)


def test_damaged_tokens_are_refused_and_can_be_repaired(
    encoder: Policy, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="no tokens in"):
        Tokens.open(tmp_path / "t", encoder)
    prepared(encoder, make_recipe(size=10), tmp_path / "t")
    whole = contents(tmp_path / "t")
    shard = tmp_path / "t" / "tokens-00001.safetensors"
    shard.write_bytes(whole[shard.name][:-10])
    with pytest.raises(BadInput, match=r"tokens-00001\.safetensors is truncated or damaged"):
        Tokens.open(tmp_path / "t", encoder)
    shard.unlink()
    with pytest.raises(BadInput, match=r"tokens-00001\.safetensors is missing"):
        Tokens.open(tmp_path / "t", encoder)
    (tmp_path / "t" / DIGESTS).rename(tmp_path / DIGESTS)
    with pytest.raises(BadInput, match=r"tokens-00001\.safetensors cannot be read"):
        Tokens.open(tmp_path / "t", encoder)
    (tmp_path / DIGESTS).rename(tmp_path / "t" / DIGESTS)
    prepared(encoder, make_recipe(size=10), tmp_path / "t")
    assert contents(tmp_path / "t") == whole


def test_an_encoder_loads_nothing_but_the_vq(encoder: Policy) -> None:
    there = {name for name, p in encoder.model.named_parameters() if not p.is_meta}
    assert there
    assert all(name.startswith("model.vqmodel.") for name in there)


# -- the command -----------------------------------------------------------------------------------


def test_the_command_tells_what_was_made(
    rows: list[Row],
    write_jsonl: WriteJsonl,
    make_recipe: MakeRecipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = f"A {STAR.replace('400)', '1000)')}."
    made = [*rows[:3], rows[3] | {"got": other}, rows[4] | {"image": b"no image"}]
    recipe = make_recipe(write_jsonl(made))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump()))
    argv = ["prepare", str(tmp_path / "recipe.yaml"), str(tmp_path / "t"), "data.shard_records=8"]
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(tmp_path / "t"),
        "records": 5,
        "kept": 4,
        "skipped": {"corrupt image": 1},
        "shards": 1,
        "converted": {"1000 as a coordinate, now 999": 1},
    }
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "4 of 5 triples in 1 shards" in out
    assert "converted 1: 1000 as a coordinate, now 999" in out
    assert "skipped 1: corrupt image (such as train.jsonl line 5: " in out
    assert main([*argv[:-1], "data.source=nowhere.jsonl"]) == 2
    assert "no triples at nowhere.jsonl" in capsys.readouterr().err
