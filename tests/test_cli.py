"""The command line: results, sentences, exit codes."""

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from got_r1.api import training as api_training
from got_r1.benchmarks.sample_folder import Manifest, write_manifest
from got_r1.cli import main, parse
from got_r1.errors import RunFailed
from got_r1.icons.data import triples
from got_r1.measures import label
from got_r1.recipes.recipe_file import load_recipe, recipe_text
from got_r1.records import Prompt

RECIPE = str(Path(__file__).parents[1] / "recipes" / "icons.yaml")


def without_progress(err):
    """The lines of stderr that are not about what a command is doing."""
    doing = ("importing torch ", "loading the model ", "sampling image ")
    return [line for line in err.splitlines() if not line.startswith(doing)]


@pytest.fixture
def refused(capsys):
    """Calls the command line, expects a refusal, and returns its one sentence."""

    def call(argv, code=2):
        assert main(list(map(str, argv))) == code
        output = capsys.readouterr()
        assert output.out == ""
        (sentence,) = without_progress(output.err)
        assert sentence.startswith("got-r1: ")
        return f"{sentence}\n"

    return call


@pytest.fixture
def printed(capsys):
    """Calls the command line, expects success, and returns what it printed."""

    def call(argv):
        code = main(list(map(str, argv)))
        output = capsys.readouterr()
        aside = without_progress(output.err)
        # What a random model got wrong is told.
        assert (code, [line for line in aside if not re.match(r"\d+\.png: ", line)]) == (0, [])
        return output.out

    return call


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("", "required: COMMAND"),
        ("trian", "invalid choice: 'trian'"),
        ("trian", "did you mean train?"),
        ("eval tabel", "did you mean table?"),
        ("sample --model m --prompt p --out o --guidanse 3", "did you mean --guidance?"),
        (f"train rl {RECIPE} rl.lr=1e-4", "the nearest is 'rl.learning_rate'"),
        ("train rll r.yaml", "invalid choice: 'rll'"),
        ("train rl", "required: RECIPE"),
        ("train rl nowhere.yaml", "no recipe at nowhere.yaml"),
        (f"train rl {RECIPE} rl.stepz=3", "the nearest is 'rl.steps'"),
        (f"train rl {RECIPE} --resume rl.stepz=3", "the nearest is 'rl.steps'"),
        (f"train rl {RECIPE} rl.steps", "has no '='"),
        (f"train rl {RECIPE} --bogus", "unrecognized argument --bogus"),
        ("report a b", "unrecognized argument b"),
        ("report nowhere", "nowhere"),
        ("sample --model m --prompt p", "required: --out"),
        ("sample --model m --prompt p --out o --n 0", "--n: must be a whole number of at least 1"),
        ("sample --model m --prompt p --out o --n 1.5", "not '1.5'"),
        ("sample --model m --prompt p --out o --n +-5", "must be a whole number"),
        (f"sample --model m --prompt p --out o --n {'9' * 5000}", "must be a whole number"),
        ("sample --model m --prompt p --out o --seed -1", "--seed: must be a whole number"),
        ("sample --model m --prompt p --out o --guidance 0.5", "--guidance: must be a number"),
        ("sample --model m --prompt p --out o --guidance nan", "not 'nan'"),
        ("sample --model m --prompt p --out o --guid 2", "unrecognized argument --guid"),
        ("sample --model m --prompt p --out o --chain nowhere", "no chain file at nowhere"),
        ("sample --model m --out o", "one of the arguments --prompt --prompts is required"),
        ("sample --model m --prompt p --prompts f --out o", "not allowed with argument --prompt"),
        ("sample --model m --prompts nowhere --out o", "no prompt file at nowhere"),
        ("sample --model m --prompts f --chain c --out o", "--chain is the plan of one prompt"),
        ("sample --model m --prompt p --out o --temperature 0", "--temperature: must be a number"),
        ("sample --model m --prompt p --out o --chain-limit 0", "--chain-limit: must be a whole"),
        ("sample --model m --prompt p --out o --dtype int8", "invalid choice: 'int8'"),
        ("sample --model m --prompt a/b --out o --layout compbench", "holds a slash"),
        ("eval", "required: COMMAND"),
        ("eval generate --benchmark x --model m --out o", "no benchmark 'x'"),
        ("eval generate --split train --model m --out o", "invalid choice: 'train'"),
        ("eval generate --prompts 0 --model m --out o", "--prompts: must be a whole number"),
        ("eval score nowhere", "nowhere is no folder of samples"),
        ("eval table nowhere.json", "no evaluation at nowhere.json"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(refused, argv, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in refused(argv.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prompt", ["", "  \n "])
@pytest.mark.parametrize(
    "argv", [["sample", "--model", "m", "--out", "o"], ["score", "--chain", "c", "--image", "i"]]
)
def test_an_empty_prompt_is_refused(refused, argv, prompt):
    assert "the prompt is empty" in refused([*argv, "--prompt", prompt])


def test_overrides_stand_before_and_behind_options():
    args = parse(["train", "rl", "r.yaml", "a=1", "--resume", "b=2", "--json", "c=3"])
    assert args.overrides == ["a=1", "b=2", "c=3"]
    assert (args.resume, args.json) == (True, True)
    assert parse(["train", "rl", "--resume", "r.yaml", "a=1"]).overrides == ["a=1"]


@pytest.mark.parametrize(
    "command", ["prepare", "train", "sample", "plan", "score", "eval", "report"]
)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    assert f"usage: got-r1 {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "shown", "hidden"),
    [
        ("train rl --help", ["rl.learning_rate = 1e-05", "judge.spec = oracle"], ["sft.", "vq."]),
        ("train sft --help", ["sft.batch = 32", "data.source = ''"], ["rl.group", "judge.spec"]),
        ("train vq icons --help", ["vq.batch = 32", "rollout.guidance"], ["data.source", "rl."]),
        ("prepare --help", ["data.source = ''", "model.path = ''"], ["rl.group", "model.dtype"]),
        ("train --help", ["vq, sft, rl", "--help-all"], ["learning_rate"]),
        ("train --help-all", ["rl.group = 16", "sft.batch = 32", "vq.batch = 32"], []),
        ("eval --help", ["got-r1 eval run --model icons"], []),
        ("audit human --help", ["got-r1 audit human build"], []),
    ],
)
def test_the_help_shows_what_a_command_reads(argv, shown, hidden, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(argv.split())
    text = capsys.readouterr().out
    assert all(part in text for part in shown)
    assert not any(f"\n  {part}" in text for part in hidden)
    too_wide = [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()]
    assert too_wide == []


def test_help_and_mistakes_do_not_wait_for_torch():
    code = """
import sys
from got_r1.cli import main
assert main(["train", "rl", "nowhere.yaml"]) == 2
try:
    main(["train", "rl", "--help"])
except SystemExit:
    pass
sys.exit(any(name in sys.modules for name in ("torch", "transformers", "scipy", "matplotlib")))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_installed_command_ends_with_the_exit_code(tmp_path):
    """The console script itself, as a user starts it."""
    script = Path(sys.executable).with_name("got-r1")
    done = subprocess.run(
        [script, "train", "rl", "nowhere.yaml"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "got-r1: there is no recipe at nowhere.yaml; recipes are named by path.\n"
    )


# -- train -----------------------------------------------------------------------------------------


@pytest.fixture
def stage(monkeypatch):
    """Puts a stand-in for the training loops, which have tests of their own; returns its calls."""
    calls = []

    def use(behaviour):
        def train(recipe, resume, quiet):
            calls.append((recipe, resume, quiet))
            return behaviour(recipe)

        monkeypatch.setattr(api_training, "loop", lambda name: train)
        return calls

    return use


def an_evaluation(name, mean):
    overall = {"mean": mean, "low": mean, "high": mean, "n": 3}
    return {"name": name, "metrics": {"count": {"overall": overall, "by_category": {}}}}


def test_a_run_folder_stands_for_its_own_recipe(stage, printed, refused, tmp_path):
    started = load_recipe(RECIPE, ["rl.steps=7", "run.dir=elsewhere"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(recipe_text(started))
    calls = stage(lambda recipe: {})
    printed(["train", "rl", tmp_path / "run", "rl.save_every=3", "--resume"])
    ((recipe, resume, _),) = calls
    assert resume
    assert recipe.run.dir == str(tmp_path / "run")  # which may have been moved
    assert (recipe.rl.steps, recipe.rl.save_every) == (7, 3)
    assert "add --resume to continue the run" in refused(["train", "rl", tmp_path / "run"])


def test_train_shows_the_evaluations_and_the_report(stage, printed, tmp_path):
    def behaviour(recipe):
        for name, mean in (("sft", 0.25), ("rl", 0.75)):
            path = Path(recipe.run.dir, "evals", f"{name}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(an_evaluation(name, mean)))
        return {"run_dir": recipe.run.dir, "report": f"{recipe.run.dir}/report.html"}

    calls = stage(behaviour)
    text = printed(["train", "rl", RECIPE, f"run.dir={tmp_path}", "--resume"])
    assert text.index("0.250") < text.index("0.750")
    assert text.rstrip().endswith(f"report: {tmp_path}/report.html")
    again = tmp_path / "again"
    as_json = json.loads(printed(["train", "rl", RECIPE, f"run.dir={again}", "--json"]))
    assert [one["name"] for one in as_json["evals"]] == ["sft", "rl"]
    assert as_json["report"] == f"{again}/report.html"
    assert [(resume, quiet) for _, resume, quiet in calls] == [(True, False), (False, True)]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RunFailed("the judge is gone"), 1, "the judge is gone"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "there"), 2, "no permission for there"),
        (KeyboardInterrupt(), 130, "--resume"),
    ],
)
def test_what_stops_a_run_is_told_in_one_sentence(stage, refused, error, code, told):
    def behaviour(recipe):
        raise error

    stage(behaviour)
    assert told in refused(["train", "rl", RECIPE], code)


def test_a_fault_of_ours_keeps_its_traceback(stage):
    def behaviour(recipe):
        raise ZeroDivisionError

    stage(behaviour)
    with pytest.raises(ZeroDivisionError):
        main(["train", "rl", RECIPE])


# -- sample ----------------------------------------------------------------------------------------


def test_sample_overwrites_nothing(refused, tmp_path):
    (tmp_path / "000.png").write_bytes(b"precious")
    argv = ["sample", "--model", "icons", "--prompt", "a star", "--out", tmp_path]
    assert "not an empty folder" in refused(argv)
    assert "not an empty folder" in refused([*argv[:-1], tmp_path / "000.png"])
    assert (tmp_path / "000.png").read_bytes() == b"precious"


@pytest.mark.parametrize("argv", [["sample", "--prompt", "a star"], ["eval", "plans"]])
def test_a_column_without_its_file_is_refused(refused, argv, tmp_path):
    argv = [*argv, "--column", "text", "--model", "icons", "--out", tmp_path / "out"]
    assert "give it with --prompts" in refused(argv)


@pytest.mark.parametrize(
    "argv", [["sample", "--prompt", "a star"], ["eval", "generate", "--prompts", "3"]]
)
def test_a_missing_model_leaves_no_folder(refused, argv, tmp_path):
    sentence = refused([*argv, "--model", tmp_path / "none", "--out", tmp_path / "out"])
    assert str(tmp_path / "none") in sentence
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy with random weights, in a folder."""
    from got_r1.policy.tiny import build_policy
    from got_r1.policy.words import TEMPLATE

    texts = [
        t for one in triples(200, 0) for t in (TEMPLATE.format(prompt=one.prompt.text), one.chain)
    ]
    folder = tmp_path_factory.mktemp("model")
    build_policy(texts, seed=0, hidden_size=32, layers=1, heads=1, kv_heads=1, mlp_size=32).save(
        folder
    )
    return folder


def sample_argv(model, out, *more):
    return ["sample", "--model", model, "--prompt", "a red star", "--out", out, *more]


def test_sample_writes_numbered_images_and_records(model, printed, tmp_path):
    files = printed(sample_argv(model, tmp_path / "a", "--n", 2, "--seed", 3)).split()
    assert files == [str(tmp_path / "a" / f"00{i}.png") for i in range(2)]
    record = json.loads((tmp_path / "a" / "001.json").read_text())
    assert (record["prompt"], record["seed"], record["guidance"]) == ("a red star", 3, 5)
    again = json.loads(printed(sample_argv(model, tmp_path / "b", "--n", 2, "--seed", 3, "--json")))
    images = [[Path(name).read_bytes() for name in names] for names in (files, again["files"])]
    assert images[0] == images[1]
    assert images[0][0] != images[0][1]


def test_sample_draws_a_given_chain(model, printed, tmp_path):
    chain = tmp_path / "chain.txt"
    text = "<|obj_start|>red star<|obj_end|> <|box_start|>(100,100),(500,500)<|box_end|>"
    chain.write_text(text + "\n")
    printed(sample_argv(model, tmp_path / "out", "--chain", chain))
    record = json.loads((tmp_path / "out" / "000.json").read_text())
    assert record["chain"] == text
    assert record["objects"] == [{"name": "red star", "box": [100, 100, 500, 500]}]


def test_sample_draws_a_file_of_prompts(model, printed, tmp_path):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("category,caption\ncolor,a red star\n,two towers\n")
    argv = ["sample", "--model", model, "--prompts", prompts, "--out", tmp_path / "out"]
    settings = [
        "--column",
        "caption",
        "--images-per-chain",
        2,
        "--temperature",
        0.5,
        "--chain-limit",
        9,
        "--batch",
        2,
    ]
    result = json.loads(printed([*argv, *settings, "--json"]))
    assert [Path(name).name for name in result["files"]] == [f"00{i}.png" for i in range(4)]
    assert result["drawn"] == 4
    assert result["images_per_second"] == pytest.approx(4 / result["seconds"])
    records = [json.loads((tmp_path / "out" / f"00{i}.json").read_text()) for i in range(4)]
    assert [one["category"] for one in records] == ["color", "color", "other", "other"]
    assert records[0]["chain"] == records[1]["chain"]
    arguments = yaml.safe_load((tmp_path / "out" / "sampling.yaml").read_text())
    assert arguments["prompts"][0] == {"text": "a red star", "category": "color"}
    asked = {"chain_temperature": 0.5, "image_temperature": 0.5, "chain_limit": 9, "guidance": 5.0}
    assert arguments | asked == arguments

    again = json.loads(printed([*argv, *settings, "--resume", "--json"]))
    assert (again["files"], again["drawn"]) == (result["files"], 0)


def test_a_folder_resumes_with_its_own_arguments_only(model, printed, refused, tmp_path):
    argv = sample_argv(model, tmp_path / "out", "--chain-limit", 5)
    printed(argv)
    assert "continue it with --resume" in refused(argv)
    sentence = refused([*argv, "--resume", "--guidance", 2])
    assert "it was started with --guidance 5.0, now it is 2.0" in sentence
    argv[argv.index("a red star")] = "a blue star"
    assert "prompt 1 was" in refused([*argv, "--resume"])


def test_too_little_memory_is_a_sentence(model, monkeypatch, capsys, tmp_path):
    def ask_for_too_much(*_args, **_options):
        torch.empty(1 << 50)  # the real allocator's own error

    monkeypatch.setattr("got_r1.sampling.sample", ask_for_too_much)
    assert main([str(word) for word in sample_argv(model, tmp_path / "out")]) == 1
    (error,) = without_progress(capsys.readouterr().err)
    assert error.startswith("got-r1: out of memory (")
    assert "--batch" in error


def test_prompts_that_stand_twice_are_told(model, capsys, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red star\ntwo towers\na red star\n")
    argv = ["sample", "--model", model, "--prompts", prompts, "--out", tmp_path / "out"]
    assert main([str(word) for word in [*argv, "--chain-limit", 5, "--json"]]) == 0
    assert "1 of 3 prompts stand in the file before" in capsys.readouterr().err
    first, other, again = ((tmp_path / "out" / f"00{i}.png").read_bytes() for i in range(3))
    assert first == again != other


def test_a_chain_that_is_no_plan_is_refused(refused, tmp_path):
    (tmp_path / "chain.txt").write_text("A <|obj_start|>star<|obj_end|> shines.")
    sentence = refused(sample_argv("m", tmp_path / "out", "--chain", tmp_path / "chain.txt"))
    assert "object without a box right behind it at character 3 ('<|obj_start|>star" in sentence


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(model, refused, tmp_path):
    assert "no GPU here" in refused(sample_argv(model, tmp_path / "out", "--device", "cuda"))
    assert not (tmp_path / "out").exists()


def test_the_speed_is_told_beside_the_result(model, capsys, tmp_path):
    argv = sample_argv(model, tmp_path / "out", "--chain-limit", 5, "--dtype", "bfloat16")
    assert main(list(map(str, argv))) == 0
    assert re.search(
        r"^sampling image 1/1  ETA 0:00  images/s [\d.]+$", capsys.readouterr().err, re.MULTILINE
    )


@pytest.mark.parametrize(
    "setting", [{"guidance_scale": 0.5}, {"temperature": -1.0}, {"max_new_tokens": 0.5}]
)
def test_a_models_own_settings_must_make_sense(model, refused, tmp_path, setting):
    own = tmp_path / "model"
    shutil.copytree(model, own)
    (own / "generation_config.json").write_text(json.dumps(setting))
    assert "generation_config.json asks for" in refused(sample_argv(own, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_may_bring_its_own_guidance(model, printed, tmp_path):
    own = tmp_path / "model"
    shutil.copytree(model, own)
    (own / "generation_config.json").write_text(json.dumps({"guidance_scale": 2.5}))
    for out, more, guidance in [("a", [], 2.5), ("b", ["--guidance", "1"], 1.0)]:
        printed(sample_argv(own, tmp_path / out, *more))
        record = json.loads((tmp_path / out / "000.json").read_text())
        assert record["guidance"] == guidance


def test_a_prompt_longer_than_the_context_is_refused(model, refused, tmp_path):
    argv = ["sample", "--model", model, "--prompt", "a star and " * 2000, "--out", tmp_path / "out"]
    assert "prompt" in refused(argv)
    assert not (tmp_path / "out").exists()


# -- score -----------------------------------------------------------------------------------------


@pytest.fixture
def triple(tmp_path):
    """A true (prompt, chain, image) of the icon world, the last two as files."""
    made = next(iter(triples(1, 0, relation_noise=0, attribute_noise=0, count_noise=0)))
    (tmp_path / "chain.txt").write_text(made.chain)
    (tmp_path / "000.json").write_text(json.dumps({"chain": made.chain}))
    Image.fromarray(made.image).save(tmp_path / "image.png")
    return made


def score_argv(folder, prompt, **changes):
    files = {"chain": folder / "chain.txt", "image": folder / "image.png"} | changes
    return ["score", "--prompt", prompt, "--chain", files["chain"], "--image", files["image"]]


def test_score_shows_every_term(triple, printed, tmp_path):
    reward = json.loads(printed([*score_argv(tmp_path, triple.prompt.text), "--json"]))
    assert set(reward["terms"]) == {"r_sem", "r_spa", "r_ri", "r_pi"}
    assert reward["terms"]["r_sem"] == reward["terms"]["r_spa"] == reward["terms"]["r_pi"] == 1
    # product_v1: r_pi * (r_sem + r_spa) * r_ri
    assert reward["total"] == pytest.approx(2 * reward["terms"]["r_ri"])
    text = printed(score_argv(tmp_path, triple.prompt.text))
    assert all(label(term) in text for term in reward["terms"])
    assert f"{reward['total']:.3f}" in text


def test_score_says_why_a_term_is_not_full(triple, printed, tmp_path):
    Image.new("RGB", (40, 40), "white").save(tmp_path / "image.png")
    argv = score_argv(tmp_path, triple.prompt.text)
    reasons = json.loads(printed([*argv, "--json"]))["reasons"]
    assert reasons["r_ri"].startswith("not found: ")
    assert "is not drawn" in reasons["r_pi"]
    assert reasons.keys() == {"r_ri", "r_pi"}
    assert "is not drawn" in " ".join(printed(argv).replace("│", " ").split())


def test_score_reads_the_chain_of_a_sample(triple, printed, tmp_path):
    plain = printed([*score_argv(tmp_path, triple.prompt.text), "--json"])
    record = score_argv(tmp_path, triple.prompt.text, chain=tmp_path / "000.json")
    assert printed([*record, "--json"]) == plain


def test_a_malformed_chain_is_worth_nothing(triple, printed, tmp_path):
    (tmp_path / "chain.txt").write_text("<|obj_start|>star")
    reward = json.loads(printed([*score_argv(tmp_path, triple.prompt.text), "--json"]))
    assert reward["total"] == 0


def test_a_judge_that_cannot_answer_fails_the_command(triple, capsys, tmp_path):
    assert main(list(map(str, score_argv(tmp_path, "a sentence of another world")))) == 1
    output = capsys.readouterr()
    assert "judge failed" in output.out
    assert "the judge could not answer" in output.err


def test_score_refuses_bad_files(triple, refused, tmp_path):
    prompt = triple.prompt.text
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "bad.json").write_text("[1]")
    (tmp_path / "bad.png").write_bytes((tmp_path / "image.png").read_bytes()[:60])
    for change, told in [
        ({"chain": tmp_path / "bad.txt"}, "not UTF-8"),
        ({"chain": tmp_path / "bad.json"}, "must hold a JSON object"),
        ({"chain": tmp_path}, "cannot be read"),
        ({"image": tmp_path / "bad.png"}, "cannot be read as an image"),
        ({"image": tmp_path / "none.png"}, "no image at"),
        ({"image": tmp_path / "bad.txt"}, "cannot be read as an image"),
    ]:
        assert told in refused(score_argv(tmp_path, prompt, **change))
    assert "unknown judge" in refused([*score_argv(tmp_path, prompt), "--judge", "nobody"])


# -- eval ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder of three perfect samples."""
    made = list(triples(3, 0, relation_noise=0, attribute_noise=0, count_noise=0))
    out = tmp_path / "perfect"
    prompts = tuple(one.prompt for one in made)
    write_manifest(out, Manifest("icons", "val", "model", 0, 5.0, prompts))
    for index, one in enumerate(made):
        record = {"prompt": one.prompt.text, "chain": one.chain}
        (out / f"{index:03d}.json").write_text(json.dumps(record))
        Image.fromarray(one.image).save(out / f"{index:03d}.png")
    return out


def test_perfect_samples_score_one(folder, printed):
    result = json.loads(printed(["eval", "score", folder, "--json"]))
    assert (result["name"], result["prompts"], result["split"]) == ("perfect", 3, "val")
    assert result["metrics"]["attributes"]["overall"]["mean"] == 1
    assert json.loads((folder / "eval.json").read_text()) == result


def test_evaluations_side_by_side(folder, printed, tmp_path):
    assert "objects right in the image" in printed(["eval", "score", folder, "--name", "first"])
    other = tmp_path / "other.json"
    other.write_text(json.dumps(an_evaluation("second", 0.5)))
    table = printed(["eval", "table", folder / "eval.json", other])
    header = table.splitlines()[0]
    assert header.index("first") < header.index("second")
    assert "0.500" in table
    both = json.loads(printed(["eval", "table", folder / "eval.json", other, "--json"]))
    assert [one["name"] for one in both["evaluations"]] == ["first", "second"]


def test_a_generated_folder_is_scored(model, printed, tmp_path):
    out = tmp_path / "out"
    argv = ["eval", "generate", "--model", model, "--split", "dev", "--prompts", 5, "--out", out]
    printed([*argv, "--seed", 7, "--guidance", 1])
    result = json.loads(printed(["eval", "score", out, "--json"]))
    about = {key: result[key] for key in ("benchmark", "split", "prompts", "seed", "guidance")}
    expected = {"benchmark": "icons", "split": "dev", "prompts": 5, "seed": 7, "guidance": 1.0}
    assert about == expected
    assert result["model"] == str(model)
    assert result["metrics"]["attributes"]["overall"]["n"] == 5


def truncate(path):
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "001.png").unlink(), "1 of the 3 samples"),
        (lambda f: (f / "001.png").unlink(), "001.png (missing)"),
        (lambda f: (f / "002.json").unlink(), "002.json (missing)"),
        (lambda f: truncate(f / "001.png"), "001 (unreadable)"),
        (lambda f: truncate(f / "000.json"), "000 (unreadable)"),
        (lambda f: (f / "002.json").write_bytes((f / "000.json").read_bytes()), "002 (unreadable)"),
        (lambda f: truncate(f / "benchmark.json"), "benchmark.json"),
        (lambda f: (f / "benchmark.json").write_text("{}"), "generate the samples again"),
        (lambda f: (f / "benchmark.json").unlink(), "no folder of samples"),
    ],
)
def test_a_damaged_folder_is_never_averaged(folder, refused, damage, told):
    damage(folder)
    assert told in refused(["eval", "score", folder])
    assert not (folder / "eval.json").exists()


def test_every_missing_image_is_counted_and_the_first_are_listed(tmp_path, refused):
    prompts = tuple(Prompt(f"prompt {i}") for i in range(15))
    write_manifest(tmp_path, Manifest("icons", "val", "model", 0, 5.0, prompts))
    sentence = refused(["eval", "score", tmp_path])
    assert "15 of the 15 samples" in sentence
    assert "000.png (missing)" in sentence
    assert "009.png (missing) and 5 more" in sentence


def test_eval_table_refuses_other_files(refused, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    assert "is no evaluation" in refused(["eval", "table", tmp_path / "x.json"])


def test_bytes_of_another_encoding_in_an_argument_are_replaced_and_counted(capsys, tmp_path):
    """As Python hands them over: "\\udce9" is Latin-1's "é"."""
    (triple,) = triples(1, seed=1)
    (tmp_path / "000.json").write_text(json.dumps({"chain": f"{triple.chain}\ud800"}))
    Image.new("RGB", (64, 64)).save(tmp_path / "000.png")
    command = ["score", "--json", "--prompt", f"{triple.prompt.text} caf\udce9"]
    command += ["--chain", str(tmp_path / "000.json"), "--image"]
    main([*command, str(tmp_path / "000.png")])
    output = capsys.readouterr()
    assert output.err.encode()
    assert "1 character of arguments had no valid Unicode and became U+FFFD" in output.err
    assert "1 character of JSON files had no valid Unicode and became U+FFFD" in output.err
    assert main([*command, str(tmp_path / "\udce9.png")]) == 2
    assert "\ufffd.png" in capsys.readouterr().err
