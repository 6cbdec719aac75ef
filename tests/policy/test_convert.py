"""Official checkpoints: outputs as the official code's, the way back, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    JanusConfig,
    JanusForConditionalGeneration,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
)

from got_r1.chain import TAGS
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.policy import SHIPPED, load_policy
from got_r1.policy.convert import from_official, to_official
from got_r1.policy.janus import Policy
from got_r1.policy.official_names import CODEBOOK, is_dropped
from got_r1.policy.sampler import Sampler
from got_r1.policy.tiny import SPECIAL_TOKENS, train_tokenizer
from got_r1.records import Prompt, WrittenChains

OFFICIAL_CODEBOOK = "gen_vision_model.quantize.embedding.weight"
OFFICIAL_EMBEDDINGS = "language_model.model.embed_tokens.weight"


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def edit_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def write_official_tokenizer(folder: Path, without: str = "", chain_tokens: bool = False) -> int:
    """A small tokenizer laid out like the official repositories'; returns its number of tokens."""
    built = train_tokenizer(["a red heart left of a blue star"] * 3, vocab_size=300)
    raw = json.loads(built.backend_tokenizer.to_str())
    kept = [*SPECIAL_TOKENS, *(TAGS if chain_tokens else ())]
    special = [t for t in kept if t != without]
    words = [t for t in raw["model"]["vocab"] if t not in {*SPECIAL_TOKENS, *TAGS}]
    vocabulary = {token: index for index, token in enumerate([*special, *words])}
    raw["model"]["vocab"] = vocabulary
    raw["model"]["merges"] = []
    raw["added_tokens"] = [
        {
            "id": vocabulary[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in special
    ]
    (folder / "tokenizer.json").write_text(json.dumps(raw, ensure_ascii=False))
    bos, eos = SPECIAL_TOKENS[:2]
    names = {
        "bos_token": {"content": bos, "__type": "AddedToken"},
        "eos_token": eos,
        "pad_token": None,  # as the released files: the official processor knows the pad by name
        "tokenizer_class": "LlamaTokenizerFast",
        "add_bos_token": True,
        "model_max_length": 16384,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    image = {"image_size": 64, "min_size": 14, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    (folder / "processor_config.json").write_text(json.dumps({"num_image_tokens": 16}))
    return len(vocabulary)


# -- the official checkpoint -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def official(shared_data: Path) -> Path:
    return shared_data / "official-tiny"


@pytest.fixture(scope="module")
def expected(official: Path) -> dict[str, Tensor]:
    return load_file(official / "expected.safetensors")


@pytest.fixture(scope="module")
def with_words(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official checkpoint with a tokenizer, whose 268 tokens ask for more rows than its 128."""
    folder = tmp_path_factory.mktemp("official") / "checkpoint"
    shutil.copytree(official, folder, copy_function=shutil.copyfile)
    write_official_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def policy(with_words: Path, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = tmp_path_factory.mktemp("converted") / "model"
    from_official(with_words, folder, quiet=True)
    return load_policy(folder)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


@torch.no_grad()
def test_text_logits(policy: Policy, expected: dict[str, Tensor]) -> None:
    logits = policy.model(input_ids=expected["text.input_ids"]).logits
    assert_close(logits[..., :128], expected["text.logits"])  # beyond: rows for the tokenizer


@torch.no_grad()
def test_image_logits(policy: Policy, expected: dict[str, Tensor]) -> None:
    text, image = expected["text.input_ids"], expected["image.token_ids"]
    janus = policy.model.model
    embeds = [janus.language_model.embed_tokens(text), policy.embed_image_tokens(image[:, :-1])]
    states = janus.language_model(inputs_embeds=torch.cat(embeds, dim=1)).last_hidden_state
    assert_close(janus.generation_head(states[:, text.shape[1] - 1 :]), expected["image.logits"])


def test_guided_greedy_tokens(
    policy: Policy, expected: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = expected["text.input_ids"]
    monkeypatch.setattr(policy, "pad_id", int(expected["guided.pad_id"]))
    for ids, wanted in zip(text, expected["guided.token_ids"], strict=True):
        # These texts begin and end with tokens of their own.
        monkeypatch.setattr(policy, "bos_id", int(ids[0]))
        monkeypatch.setattr(policy, "begin_of_image_id", int(ids[-1]))
        chains = WrittenChains(
            prompts=(Prompt("a prompt"),),
            sample_ids=(0,),
            prompt_ids=(ids[:5],),
            token_ids=(ids[5:],),
            loss_mask=(torch.zeros(len(ids) - 5, dtype=torch.bool),),
            logprobs=(torch.zeros(len(ids) - 5),),
            stops=("given",),
            texts=("",),
            seed=0,
        )
        rollout = Sampler(policy).draw_images(
            chains, guidance=float(expected["guided.weight"]), temperature=0
        )
        assert rollout.image_ids[0].tolist() == wanted.tolist()


def test_pixels(policy: Policy, expected: dict[str, Tensor]) -> None:
    with torch.no_grad():
        pixels = policy.model.model.vqmodel.decode(expected["image.token_ids"])
    assert_close(pixels, expected["vq.pixels"])
    levels = (expected["vq.pixels"].clamp(-1, 1) + 1) * 127.5
    images = policy.decode_images(expected["image.token_ids"])
    assert (torch.from_numpy(images).permute(0, 3, 1, 2) - levels).abs().max() < 0.51


def test_codes_of_images(policy: Policy, expected: dict[str, Tensor]) -> None:
    with torch.no_grad():
        encoded = policy.model.model.vqmodel.encode(expected["vq.encode_pixels"])
    assert encoded.image_tokens.view(2, -1).tolist() == expected["vq.encode_ids"].tolist()


def test_vision_features(policy: Policy, expected: dict[str, Tensor]) -> None:
    with torch.no_grad():
        features = policy.model.model.get_image_features(expected["vision.pixels"])
    assert_close(features.pooler_output, expected["vision.aligned"])


# -- the way back ----------------------------------------------------------------------------------


def test_there_and_back_is_the_identity(official: Path, tmp_path: Path) -> None:
    there = from_official(official, tmp_path / "there", quiet=True)
    back = to_official(tmp_path / "there", tmp_path / "back", quiet=True)
    after = weights(tmp_path / "back")
    source = load_file(official / "model.safetensors")
    dropped = {name for name in source if is_dropped(name)}
    assert dropped == set(there.left_out) == source.keys() - after.keys()
    assert after.keys() <= source.keys()
    codes = source.pop(OFFICIAL_CODEBOOK)
    # Of the codebook only the directions count: the official code normalises it at every use.
    assert_close(after.pop(OFFICIAL_CODEBOOK), codes / codes.norm(dim=1, keepdim=True))
    assert all(torch.equal(tensor, source[name]) for name, tensor in after.items())
    assert back.tensors == len(after) + 1

    said, written = (json.loads((f / "config.json").read_text()) for f in (official, back.folder))
    language = said.pop("language_config")
    assert language.items() <= written.pop("language_config").items()
    assert said == written
    sizes, listed = (json.loads((f / "sizes.json").read_text()) for f in (official, back.folder))
    assert sizes.items() <= listed.items()


def a_janus(seed: int, size: dict[str, Any]) -> JanusForConditionalGeneration:
    torch.manual_seed(seed)
    hidden = size["heads"] * size["head_dim"]
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=size["vocabulary"],
            hidden_size=hidden,
            intermediate_size=size["mlp"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["kv_heads"],
            head_dim=size["head_dim"],
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
            tie_word_embeddings=False,
        ),
        vision_config=JanusVisionConfig(
            hidden_size=size["vision_heads"] * 6,
            num_hidden_layers=size["vision_layers"],
            num_attention_heads=size["vision_heads"],
            mlp_ratio=size["mlp_ratio"],
            image_size=size["grid"] * size["patch"] + size["patch"] - 1,
            patch_size=size["patch"],
            projection_dim=hidden,
            depth=size["aligner_depth"],
            num_image_tokens=size["grid"] ** 2,
        ),
        vq_config=JanusVQVAEConfig(
            embed_dim=size["code_size"],
            num_embeddings=size["codes"],
            latent_channels=size["latent"],
            base_channels=32,
            channel_multiplier=size["multiplier"],
            num_res_blocks=size["res_blocks"],
            projection_dim=hidden,
            image_token_embed_dim=hidden,
            num_hidden_layers=size["gen_aligner_depth"],
        ),
        tie_word_embeddings=False,
    )
    model = JanusForConditionalGeneration(config)
    codebook = model.model.vqmodel.quantize.embedding.weight.data
    codebook.div_(codebook.norm(dim=1, keepdim=True))
    return model


SIZES = st.fixed_dictionaries(
    {
        "heads": st.sampled_from([2, 4, 6]),
        "kv_heads": st.sampled_from([1, 2]),
        "head_dim": st.sampled_from([4, 8]),
        "layers": st.integers(1, 3),
        "mlp": st.integers(5, 40),
        "vocabulary": st.integers(20, 200),
        "vision_heads": st.integers(1, 5),
        "vision_layers": st.integers(1, 3),
        "mlp_ratio": st.sampled_from([4.0, 3.7362, 2.5]),
        "patch": st.sampled_from([2, 7]),
        "grid": st.integers(2, 5),
        "aligner_depth": st.integers(1, 4),
        "gen_aligner_depth": st.integers(1, 3),
        "code_size": st.integers(3, 9),
        "codes": st.integers(10, 70),
        "latent": st.integers(3, 12),
        "multiplier": st.lists(st.integers(1, 3), min_size=1, max_size=3),
        "res_blocks": st.integers(1, 2),
    }
)


@given(seed=st.integers(0, 1000), size=SIZES, dtype=st.sampled_from(["float32", "bfloat16"]))
@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],  # a smaller model would tell no more
    suppress_health_check=[HealthCheck.too_slow],
)
def test_models_of_any_size_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: dict[str, Any], dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("sizes")
    model = a_janus(seed, size).to(getattr(torch, dtype))
    model.save_pretrained(folder / "model")
    to_official(folder / "model", folder / "official", shard_size=100_000, quiet=True)
    done = from_official(folder / "official", folder / "again", shard_size=60_000, quiet=True)
    assert done.dtype == dtype
    before, after = model.state_dict(), weights(folder / "again")
    assert before.keys() == after.keys()
    codes = after.pop(CODEBOOK)
    assert codes.dtype == torch.float32
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(len(codes)))
    for name, tensor in after.items():
        assert tensor.equal(before[name]), name
    wanted, found = (
        JanusConfig.from_pretrained(folder / name).to_dict() for name in ("model", "again")
    )
    ids = ("bos_token_id", "eos_token_id", "pad_token_id", "dtype", "_name_or_path")
    for config in (wanted, found):
        ratio = config["vision_config"].pop("mlp_ratio") * size["vision_heads"] * 6
        config["vision_config"]["inner"] = int(ratio)
        for part in (config, *(config[f"{name}_config"] for name in ("text", "vision", "vq"))):
            for key in ids:
                part.pop(key, None)
    assert found == wanted
    shutil.rmtree(folder)


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small official checkpoint with a tokenizer and room for its chain tokens, in one file."""
    folder = tmp_path_factory.mktemp("small")
    size = {
        "heads": 2, "kv_heads": 1, "head_dim": 8, "layers": 2, "mlp": 24, "vocabulary": 320,
        "vision_heads": 2, "vision_layers": 2, "mlp_ratio": 4.0, "patch": 2, "grid": 2,
        "aligner_depth": 2, "gen_aligner_depth": 2, "code_size": 4, "codes": 16, "latent": 8,
        "multiplier": [1], "res_blocks": 1,
    }  # fmt: skip
    a_janus(0, size).save_pretrained(folder / "model")
    to_official(folder / "model", folder / "official", quiet=True)
    write_official_tokenizer(folder / "official")
    return folder / "official"


@pytest.fixture
def own(small: Path, tmp_path: Path) -> Path:
    """A copy of the small checkpoint that a test may break."""
    return Path(shutil.copytree(small, tmp_path / "own"))


def split(folder: Path, parts: int, pickled: bool) -> None:
    """Splits model.safetensors into shards with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    stem, kind = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    weight_map = {}
    for part in range(parts):
        file = f"{stem}-{part + 1:05d}-of-{parts:05d}.{kind}"
        content = {name: tensors[name] for name in names[part::parts]}
        if pickled:
            torch.save(content, folder / file)
        else:
            save_file(content, folder / file)
        weight_map |= dict.fromkeys(content, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index))


def pickle_whole(folder: Path, archive: bool = True) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=archive)


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda folder: split(folder, 3, pickled=False),
        lambda folder: split(folder, 3, pickled=True),
        lambda folder: pickle_whole(folder),
        lambda folder: pickle_whole(folder, archive=False),
    ],
    ids=["safetensors shards", "bin shards", "bin", "old bin"],
)
def test_every_layout_of_files_gives_the_same_weights(
    small: Path, own: Path, tmp_path: Path, lay_out: Callable[[Path], None]
) -> None:
    lay_out(own)
    from_official(small, tmp_path / "one", quiet=True)
    from_official(own, tmp_path / "other", quiet=True)
    one, other = weights(tmp_path / "one"), weights(tmp_path / "other")
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_shards_are_bounded_and_load(small: Path, tmp_path: Path) -> None:
    done = from_official(small, tmp_path / "out", shard_size=50_000, quiet=True)
    assert len(done.files) > 3
    for file in done.files:
        with safe_open(tmp_path / "out" / file, "pt") as opened:
            sizes = [opened.get_tensor(name).nbytes for name in opened.keys()]  # noqa: SIM118
        assert sum(sizes) <= 50_000 or len(sizes) == 1
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(index["weight_map"]) == done.tensors
    model = load_policy(tmp_path / "out").model
    assert sum(p.numel() for p in model.parameters()) == done.parameters
    # And back, where q, k and v of a layer lie in different files.
    to_official(tmp_path / "out", tmp_path / "back", shard_size=40_000, quiet=True)
    before, after = load_file(small / "model.safetensors"), weights(tmp_path / "back")
    assert all(torch.allclose(after[name], tensor, atol=1e-6) for name, tensor in before.items())


def test_a_chosen_dtype(small: Path, tmp_path: Path) -> None:
    done = from_official(small, tmp_path / "out", dtype="bfloat16", quiet=True)
    found = weights(done.folder)
    assert {t.dtype for name, t in found.items() if name != CODEBOOK} == {torch.bfloat16}
    assert json.loads((done.folder / "config.json").read_text())["dtype"] == "bfloat16"
    # A rounded unit vector is none, so the codebook stays exact; that is no mix of types.
    assert found[CODEBOOK].dtype == torch.float32
    back = to_official(done.folder, tmp_path / "back", quiet=True)
    assert {t.dtype for t in weights(back.folder).values()} == {torch.bfloat16}


# -- words -----------------------------------------------------------------------------------------


def test_chain_tokens_take_the_room_there_is(small: Path, tmp_path: Path) -> None:
    done = from_official(small, tmp_path / "out", quiet=True)
    policy = load_policy(done.folder)
    first = len(json.loads((small / "tokenizer.json").read_text())["model"]["vocab"])
    ids = policy.tokenizer.convert_tokens_to_ids(list(TAGS))
    assert ids == list(range(first, first + 4))
    assert policy.model.config.text_config.vocab_size == 320
    assert not any("vocabulary" in note for note in done.notes)
    chain = "A <|obj_start|>red heart<|obj_end|> <|box_start|>(0,100),(500,999)<|box_end|>."
    assert policy.decode_chain(policy.encode_chain(chain)) == chain


def test_a_tokenizer_that_has_the_chain_tokens_stays(own: Path, tmp_path: Path) -> None:
    tokens = write_official_tokenizer(own, chain_tokens=True)
    policy = load_policy(from_official(own, tmp_path / "out", quiet=True).folder)
    assert len(policy.tokenizer) == tokens


def test_embeddings_grow_where_there_is_no_room(
    with_words: Path, policy: Policy, official: Path
) -> None:
    rows = len(policy.tokenizer)
    assert rows > 128
    before = load_file(official / "model.safetensors")
    model = policy.model
    for found, wanted in (
        (model.lm_head.weight, before["language_model.lm_head.weight"]),
        (model.model.language_model.embed_tokens.weight, before[OFFICIAL_EMBEDDINGS]),
    ):
        assert found.shape == (rows, 64)
        assert found[:128].equal(wanted)
        assert_close(found[128:].detach(), wanted.mean(0).expand(rows - 128, -1))


def test_words_and_images_are_treated_as_officially(small: Path, tmp_path: Path) -> None:
    folder = from_official(small, tmp_path / "out", quiet=True).folder
    policy = load_policy(folder)
    bos, eos, pad = SPECIAL_TOKENS[:3]
    tokenizer = policy.tokenizer
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (bos, eos, pad)
    assert tokenizer("a star").input_ids[0] == tokenizer.bos_token_id
    image = policy.processor.image_processor
    assert list(image.image_mean) == list(image.image_std) == [0.5] * 3
    assert policy.processor.num_image_tokens == 4
    assert policy.model.config.image_token_id == tokenizer.convert_tokens_to_ids(
        "<image_placeholder>"
    )
    generation = policy.model.generation_config
    assert (generation.guidance_scale, generation.temperature) == (5, 1)
    messages = [
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}],
        },
        {"role": "assistant", "content": "A star."},
        {"role": "user", "content": "Sure?"},
    ]
    text = policy.processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text == (
        f"User: <image_placeholder>\nWhat is this?\n\nAssistant: A star.{eos}"
        "User: Sure?\n\nAssistant:"
    )


def test_the_official_tokenizer_files_come_back(small: Path, tmp_path: Path) -> None:
    from_official(small, tmp_path / "there", quiet=True)
    back = to_official(tmp_path / "there", tmp_path / "back", quiet=True).folder
    again = from_official(back, tmp_path / "again", quiet=True).folder
    first, second = (JanusProcessor.from_pretrained(f) for f in (tmp_path / "there", again))
    assert first.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    text = "a red heart left of a blue star: <|box_start|>(1,2),(3,4)<|box_end|>"
    assert first.tokenizer(text).input_ids == second.tokenizer(text).input_ids
    for name in ("tokenizer_config", "preprocessor_config", "processor_config"):
        assert (back / f"{name}.json").is_file()
    image = json.loads((back / "preprocessor_config.json").read_text())
    assert (image["image_processor_type"], image["image_size"]) == ("VLMImageProcessor", 5)


# -- sizes that no tensor shows --------------------------------------------------------------------


def test_sizes_that_the_official_code_leaves_out(own: Path, tmp_path: Path) -> None:
    (own / "sizes.json").unlink()

    def silence(config: dict[str, Any]) -> None:
        config["language_config"] = {
            key: config["language_config"][key] for key in ("num_attention_heads", "model_type")
        }
        for section in ("aligner_config", "gen_aligner_config", "gen_head_config"):
            config[section].pop("params")

    edit_json(own / "config.json", silence)
    done = from_official(own, tmp_path / "out", quiet=True)
    config = JanusConfig.from_pretrained(done.folder)
    text = config.text_config
    assert (text.num_attention_heads, text.num_key_value_heads, text.head_dim) == (2, 1, 8)
    assert (text.max_position_embeddings, text.rms_norm_eps) == (2048, 1e-6)
    assert text.rope_parameters["rope_theta"] == 10_000
    assert (config.vision_config.depth, config.vq_config.num_hidden_layers) == (2, 2)
    assert any("attention heads" in note for note in done.notes)
    chosen = from_official(own, tmp_path / "chosen", vision_heads=3, quiet=True)
    assert JanusConfig.from_pretrained(chosen.folder).vision_config.num_attention_heads == 3
    assert chosen.notes == ()


def test_the_released_sizes() -> None:
    """The files of Janus-Pro 1B and 7B as released, against the parameters that they have."""
    from got_r1.policy.convert_checks import model_shapes
    from got_r1.policy.official_config import OfficialConfig, fixed_sizes, official_config
    from got_r1.policy.official_names import correspondence, official_shapes

    languages = {
        "1B": LlamaConfig(
            vocab_size=102400, hidden_size=2048, intermediate_size=5632, num_hidden_layers=24,
            num_attention_heads=16, num_key_value_heads=16, max_position_embeddings=16384,
        ),
        "7B": LlamaConfig(
            vocab_size=102400, num_hidden_layers=30, max_position_embeddings=16384
        ),
    }  # fmt: skip
    # What the released files spell out; the rest are LLaMA-7B's sizes.
    spelled = {
        "1B": ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"),
        "7B": (),
    }
    for name, language in languages.items():
        hidden = language.hidden_size
        config = JanusConfig(
            text_config=language,
            vision_config=JanusVisionConfig(projection_dim=hidden),
            vq_config=JanusVQVAEConfig(projection_dim=hidden, image_token_embed_dim=hidden),
            tie_word_embeddings=False,
        )
        shapes = model_shapes(config)
        parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
        assert fixed_sizes(config) is None
        released = official_config(config, "bfloat16")
        keys = ("max_position_embeddings", "num_hidden_layers", "vocab_size", *spelled[name])
        released["language_config"] = {k: released["language_config"][k] for k in keys}
        read = OfficialConfig(
            Path("nowhere"), released, official_shapes(correspondence(shapes), shapes)
        )
        again = JanusConfig(
            text_config=read.language(),
            vision_config=read.vision(None),
            vq_config=read.vq(),
            tie_word_embeddings=False,
        )
        assert read.notes == []
        assert model_shapes(again) == shapes
        assert again.text_config.num_attention_heads == hidden // 128
        assert again.vision_config.num_attention_heads == 16
        if name == "1B":
            # The released model has 2,089,232,011 parameters: the tower's pooling head is left out.
            width = 1024
            square, inner = width * width, 4 * width
            pooling = width + 4 * (square + width)  # what is asked for; q, k, v and their mixture
            pooling += 2 * width + 2 * width * inner + inner + width  # a norm and an mlp
            assert parameters + pooling == 2_089_232_011


# -- the model card --------------------------------------------------------------------------------


def test_the_card_says_what_the_run_recorded(small: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "vases"
    model = run / "checkpoints" / "final"
    from_official(small, model, quiet=True)
    (run / "config.yaml").write_text(
        "run: {dir: /home/somebody/runs/vases}\nmodel: {path: /home/somebody/Janus-Pro-1B}\n"
        "data: {source: jsonl, path: /home/somebody/vases.jsonl}\n"
        "judge: {spec: oracle}\nreward: {formula: product_v2}\n"
    )
    (run / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "reward/total": 0.5}\n')
    (run / "evals").mkdir()
    overall = {"mean": 0.75, "low": 0.7, "high": 0.8, "n": 20}
    evaluation = {
        "name": "rl", "benchmark": "icons", "split": "val", "prompts": 20,
        "metrics": {"relation": {"overall": overall, "by_category": {}}},
    }  # fmt: skip
    (run / "evals" / "rl.json").write_text(json.dumps(evaluation))
    card = (to_official(model, tmp_path / "out", quiet=True).folder / "README.md").read_text()
    for said in (
        "- **Base**: Janus-Pro-1B",
        "- **Data**: source jsonl, path vases.jsonl",
        "- **Judge**: oracle, reward product_v2",
        "| relation | 0.7500 | 0.7000 to 0.8000 |",
        "**rl**: benchmark icons, split val, prompts 20",
        "formula: product_v2",
        "guidance 5, image temperature 1",
        "got-r1 sample",
    ):
        assert said in card
    assert "not recorded" not in card
    assert "somebody" not in card, "folders of the machine stay at home"


def test_the_card_of_the_shipped_model_lists_its_stages(tmp_path: Path) -> None:
    done = to_official(SHIPPED["icons"], tmp_path / "out", quiet=True)
    card = (done.folder / "README.md").read_text()
    made_by = json.loads((SHIPPED["icons"] / "made_by.json").read_text())
    assert "## Earlier stages" in card
    assert all(f"\n{stage}:\n" in card for stage in made_by)
    assert "- **Base**: not recorded" in card


def test_the_card_invents_nothing(small: Path, tmp_path: Path, capsys: Any) -> None:
    from_official(small, tmp_path / "model", quiet=True)
    argv = ["convert", tmp_path / "model", tmp_path / "out", "--to-official"]
    assert main([str(word) for word in (*argv, "--base", "deepseek-ai/Janus-Pro-1B")]) == 0
    assert capsys.readouterr().err == ""
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model: deepseek-ai/Janus-Pro-1B" in card
    for name in ("Recipe", "Data", "Judge", "Scores"):
        assert f"- **{name}**: not recorded" in card


# -- the command -----------------------------------------------------------------------------------


def test_the_command(small: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["convert", str(small), str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["dtype"], said["files"]) == ("float32", ["model.safetensors"])
    load_policy(tmp_path / "out")
    back = ["convert", str(tmp_path / "out"), str(tmp_path / "back"), "--to-official"]
    assert main(back) == 0
    assert "parameters in" in capsys.readouterr().out
    assert json.loads((tmp_path / "back" / "config.json").read_text())["model_type"] == (
        "multi_modality"
    )


def test_a_checkpoint_without_a_tokenizer(official: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["convert", str(official), str(tmp_path / "out")]) == 0
    assert "has no tokenizer.json" in capsys.readouterr().out
    JanusForConditionalGeneration.from_pretrained(tmp_path / "out")
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        load_policy(tmp_path / "out")


def test_a_tokenizer_from_elsewhere(official: Path, small: Path, tmp_path: Path) -> None:
    argv = ["convert", official, tmp_path / "out", "--tokenizer", small]
    assert main([str(word) for word in argv]) == 0
    assert load_policy(tmp_path / "out").image_tokens == 16


# -- what is refused -------------------------------------------------------------------------------


@pytest.fixture
def refused(own: Path, tmp_path: Path, capsys: Any) -> Callable[..., str]:
    """Converts the (broken) checkpoint, expects one sentence, exit code 2 and nothing written."""

    def call(*more: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(["convert", str(own), str(tmp_path / "out"), *more]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("got-r1: ")
        assert output.err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return str(output.err)

    return call


def test_folders_that_are_no_checkpoint(own: Path, refused: Callable[..., str]) -> None:
    config = own / "config.json"
    for content, told in (
        ('{"model_type": "llama"}', "holds a 'llama' model"),
        ('{"model_type": "janus"}', "transformers folder already"),
        ('{"model_type": "multi_modality", "language_config": {}}', "no Janus"),
        ("{", "not valid JSON"),
    ):
        config.write_text(content)
        assert told in refused()
    config.unlink()
    assert "no config.json" in refused()
    assert "no transformers folder" in refused("--to-official")
    shutil.rmtree(own)
    assert "no folder" in refused()
    assert "no folder" in refused("--to-official")


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
def test_truncated_missing_and_foreign_shards(
    own: Path, refused: Callable[..., str], pickled: bool
) -> None:
    split(own, 3, pickled)
    kind = "bin" if pickled else "safetensors"
    (shard,) = own.glob(f"*-00002-of-00003.{kind}")
    whole = shard.read_bytes()
    for size in (len(whole) - 100, len(whole) // 2, 5, 0):
        shard.write_bytes(whole[:size])
        sentence = refused()
        assert shard.name in sentence
        assert "truncated or damaged" in sentence
    shard.unlink()
    assert f"{shard.name} is missing" in refused()
    (own / f"{'pytorch_model' if pickled else 'model'}.{kind}.index.json").unlink()
    assert "holds no weights" in refused()


def test_a_pickle_that_would_run_code(own: Path, refused: Callable[..., str]) -> None:
    (own / "model.safetensors").unlink()
    torch.save({"language_model.lm_head.weight": Path("x")}, own / "pytorch_model.bin")
    assert "pytorch_model.bin is truncated or damaged" in refused()
    torch.save({"step": 3}, own / "pytorch_model.bin")
    assert "no checkpoint" in refused()


def test_tensors_that_are_missing_surplus_or_misshapen(
    own: Path, refused: Callable[..., str]
) -> None:
    norm = "language_model.model.layers.1.input_layernorm.weight"

    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["gen_vision_model.quant_conv.bias"]
        tensors["language_model.surprise"] = torch.zeros(2)
        tensors[norm] = torch.zeros(3)

    rewrite(own, change)
    sentence = refused()
    assert "gen_vision_model.quant_conv.bias is missing" in sentence
    assert "language_model.surprise is surplus" in sentence
    assert f"{norm} has shape [3] instead of [16]" in sentence
    rewrite(own, lambda tensors: tensors.pop(OFFICIAL_EMBEDDINGS))
    assert f"lacks the tensor {OFFICIAL_EMBEDDINGS}" in refused()


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("language_config", "hidden_size", 17, "says language_config.hidden_size=17"),
        ("language_config", "num_attention_heads", 4, "num_key_value_heads"),
        ("gen_vision_config", "image_token_size", 99, "image_token_size=99"),
        ("gen_head_config", "n_embed", 99, "gen_head_config.params.n_embed=99"),
        ("aligner_config", "depth", 3, "aligner_config.params.depth=3"),
        ("aligner_config", "projector_type", "linear", "'linear' projector"),
        ("vision_config", "image_size", 384, "image_size=384"),
        ("language_config", "num_attention_heads", "many", "make no Janus"),
        ("language_config", "num_attention_heads", 0, "make no Janus"),
        ("language_config", "rms_norm_eps", "small", "make no Janus"),
        ("vision_config", "pixel_mean", [0.5] * 3, "inside the tower"),
    ],
)
def test_configuration_and_tensors_that_disagree(
    own: Path, refused: Callable[..., str], section: str, key: str, value: object, told: str
) -> None:
    def change(config: dict[str, Any]) -> None:
        place = config[section] if section == "language_config" else config[section]["params"]
        place[key] = value

    edit_json(own / "config.json", change)
    assert told in refused()


def test_mixed_dtypes(own: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    name = "language_model.lm_head.weight"
    rewrite(own, lambda tensors: tensors.update({name: tensors[name].bfloat16()}))
    sentence = refused()
    assert "mixes types" in sentence
    assert f"bfloat16 (1, such as {name})" in sentence
    from_official(own, tmp_path / "chosen", dtype="float32", quiet=True)
    rewrite(own, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    assert "quantised" in refused("--dtype", "float32")


@pytest.mark.parametrize("token", SPECIAL_TOKENS[3:])
def test_a_tokenizer_without_an_image_token(
    own: Path, refused: Callable[..., str], token: str
) -> None:
    write_official_tokenizer(own, without=token)
    assert f"has no image token {token}" in refused()


def test_other_broken_tokenizers(own: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    write_official_tokenizer(own, without=SPECIAL_TOKENS[0])
    assert "has no bos_token" in refused()
    (own / "tokenizer.json").write_text("{")
    assert "cannot be read as a tokenizer" in refused()
    assert "has no tokenizer.json" in refused("--tokenizer", str(tmp_path))


def test_too_little_disk(own: Path, refused: Callable[..., str]) -> None:
    """A checkpoint that the disk has no room for a second time: sparse files, all zeros."""
    tall = (OFFICIAL_EMBEDDINGS, "language_model.lm_head.weight")
    rewrite(own, lambda tensors: [tensors.pop(name) for name in tall])
    (own / "model.safetensors").rename(own / "rest.safetensors")
    rows = shutil.disk_usage(own).free // 128 + 1  # 16 channels of 4 bytes, twice
    header = json.dumps(
        {
            name: {
                "dtype": "F32",
                "shape": [rows, 16],
                "data_offsets": [k * rows * 64, (k + 1) * rows * 64],
            }
            for k, name in enumerate(tall)
        }
    ).encode()
    with (own / "tall.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + rows * 128)
    index = {"weight_map": {"one": "rest.safetensors", "other": "tall.safetensors"}}
    (own / "model.safetensors.index.json").write_text(json.dumps(index))
    edit_json(own / "config.json", lambda config: config["language_config"].pop("vocab_size"))
    assert "too little room" in refused()


def test_a_destination_that_exists(own: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    for destination in (out, out / "precious"):
        assert main(["convert", str(own), str(destination)]) == 2
        assert "not an empty folder" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["precious"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--to-official", "--tokenizer", "x"], "--tokenizer has a meaning only without"),
        (["--to-official", "--vision-heads", "2"], "--vision-heads has a meaning only without"),
        (["--base", "x"], "--base has a meaning only with"),
        (["--eval", "x"], "--eval has a meaning only with"),
        (["--shard-size", "0"], "above 0"),
        (["--vision-heads", "0"], "at least 1"),
        (["--dtype", "int8"], "invalid choice"),
    ],
)
def test_options_that_make_no_sense(
    refused: Callable[..., str], argv: list[str], told: str
) -> None:
    assert told in refused(*argv)


def test_bad_sources_of_a_card(small: Path, tmp_path: Path, capsys: Any) -> None:
    from_official(small, tmp_path / "model", quiet=True)
    (tmp_path / "no.json").write_text("{}")
    for option, told in (
        (["--run", str(tmp_path)], "is no run folder"),
        (["--eval", str(tmp_path / "none.json")], "no evaluation at"),
        (["--eval", str(tmp_path / "no.json")], "is no evaluation"),
    ):
        argv = ["convert", str(tmp_path / "model"), str(tmp_path / "out"), "--to-official"]
        assert main([*argv, *option]) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
