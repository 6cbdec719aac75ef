"""Every command that README, docs and recipes show is accepted as written, needs only what the page
has made or named before, and, where it is short, does what it says."""

from __future__ import annotations

import csv
import io
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from docs.commands import ROOT, Command, check, check_mention, mentions, missing, shown
from got_r1.cli import main
from got_r1.errors import BadInput

PAGES = [
    "README.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
    *sorted(f"recipes/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")),
    *sorted(f"experiments/{path.name}" for path in (ROOT / "experiments").glob("*.py")),
    *sorted(f"bench/{path.name}" for path in (ROOT / "bench").glob("*.py")),
]
PAGES.remove("docs/log.md")  # the lab book: commands of their day

# What a reader has to bring (the beginning of its name): the words by which a page says, before the
# command, where it comes from.
JANUS = {
    "models/janus-pro-": "docs/janus.md",
    "data/compbench/": "docs/janus.md",
    "my_captions.txt": "a file of your own",
}
SOURCES = {
    "docs/benchmarks.md": {
        "grounding_dino:IDEA-Research/": "hub ids",
        **dict.fromkeys(("2d", "3d", "complex", "n.jsonl"), "import its\ndetections"),
    },
    "docs/janus.md": {"my_captions.txt": "captions of your own, one per line, in my_captions.txt"},
    "docs/judges.md": {
        "models/janus-pro-1b-got": "[janus.md](janus.md#training) makes its model",
        "data/": "where\nits prompts come from",
        "judge.yaml": "# judge.yaml:",
        "contrast.py:ContrastJudge": "Save it as `contrast.py`",
    },
    "recipes/janus_1b.yaml": JANUS,
    "recipes/janus_7b.yaml": JANUS,
}

# The commands that are run here, in the order of their page, and what makes them short; every other
# one is long, or needs a server, a GPU or a network, and is only checked.
STEP = (
    "run.threads=1 run.track=[] rl.steps=1 rl.prompts=1 rl.group=2 rl.save_every=1 eval.prompts=2 "
    "eval.probes=0"
)
RUN = {
    "README.md": (
        ("got-r1 train rl icons", STEP),
        ("got-r1 train rl runs/mine --resume", ""),
        ("got-r1 recipe icons", ""),
        ("got-r1 sample --model runs/mine", "--n 1"),
        ("got-r1 plan edit", ""),
        ("got-r1 sample --model icons --prompt 'a red heart", ""),
        ("printf", ""),
        ("got-r1 sample --model icons --prompts", "--n 1"),
        ("got-r1 score", ""),
        ("got-r1 sample --model icons --prompt 'a horse", ""),
        ("got-r1 eval run", "--prompts 2"),
        ("got-r1 eval plans", "--meanings 1 --no-swap"),
        ("got-r1 audit judge", "--pairs 1"),
        ("got-r1 report", ""),
    ),
    "docs/audit.md": (
        ("got-r1 train rl icons", STEP),
        ("printf", ""),
        ("got-r1 sample", "--n 3"),
        ("got-r1 audit human build", ""),
        ("got-r1 audit human export", ""),
        ("got-r1 audit human import", ""),
        ("got-r1 audit human report", ""),
    ),
    "docs/performance.md": (("got-r1 train rl janus-7b --dry-run --gpu-memory", ""),),
    "docs/plans.md": (
        ("got-r1 sample --model icons --prompt 'a red heart", ""),
        ("got-r1 plan", ""),
    ),
    "recipes/janus_1b.yaml": (("got-r1 train rl janus-1b", "--dry-run --gpu-memory 80"),),
}
SLOW = ("README.md", "docs/audit.md")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_accepted_as_written(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = text_of(page)
    commands = shown(text, page)
    for command in commands:
        check(command)
    for command in mentions(text, page):
        check_mention(command)
    lacking = missing(commands, text, SOURCES.get(page, {}))
    told = [f"{command}\n  needs {path}" for command, path in lacking]
    assert not told, "\n".join([*told, "nothing before them on the page says where it comes from"])
    assert not list(tmp_path.iterdir())


BROKEN = {
    "an option": "got-r1 sample --model icons --prompt x --number 3 --out o",
    "a command": "got-r1 draw --prompt x",
    "a part of a command": "got-r1 eval images --out o",
    "a choice": "got-r1 train dpo icons",
    "a setting": "got-r1 train rl icons rl.lr=1e-4",
    "a value": "got-r1 train rl icons rl.group=none",
    "a setting of the sections": "got-r1 train sft icons data.depth=0.3",
    "a missing argument": "got-r1 sample --prompt x",
    "a remark that is no comment": "got-r1 report runs/mine      as one file",
    "a target": "make everything",
    "a script": "python bench/none.py",
    "an option of a script": "python experiments/tables.py seeds --runs 3",
    "a setting of a script": "python experiments/tables.py seeds rl.lr=1e-4",
    "an option of torchrun": "torchrun --processes 8 -m got_r1 train rl icons",
    "a command under torchrun": "srun bash -c 'torchrun -m got_r1 train rl icons --fast'",
    "a quotation mark": "got-r1 sample --model icons --prompt 'x --out o",
    "an extra": "pip install 'got-r1[gpu]'",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_what_does_not_exist_is_found(line, capsys):
    commands = shown(f"# A page\n\n```bash\n{line}\n```\n", "page.md")
    with pytest.raises(BadInput, match=r"page\.md"):
        [check(command) for command in commands]


@pytest.mark.parametrize("words", ["got-r1 draw", "got-r1 sample --number", "make everything"])
def test_what_does_not_exist_is_found_in_running_text(words):
    with pytest.raises(BadInput, match=r"page\.md"):
        [check_mention(command) for command in mentions(f"Use `{words}`.\n", "page.md")]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("got-r1 sample --model models/mine --prompt x --out o", "models/mine"),
        ("got-r1 train rl mine.yaml", "mine.yaml"),
        ("got-r1 train rl icons model.path=models/mine", "models/mine"),
        ("got-r1 train sft icons data.shards=tokens", "tokens"),
        ("got-r1 audit human build sft=mine --out o", "mine"),
        ("got-r1 score --prompt x --chain a.json --image IMAGE", "a.json"),
    ],
)
def test_what_nobody_has_is_found(line, path):
    page = f"Bring mine.\n```\n{line}\n```\n"
    commands = shown(page, "page.md")
    assert [name for _, name in missing(commands, page, {})] == [path]
    assert not missing(commands, page, {path: "Bring mine."})
    assert missing(commands, page, {path: "Bring yours."})
    first = Command("page.md", f"hf download owner/name --local-dir {path}", 0)
    assert not missing([first, *commands], page, {})


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page in SLOW else ()) for page in RUN],
)
def test_short_commands_run_in_the_order_of_their_page(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = shown(text_of(page), page)
    seen = set()
    for command in commands:
        line = " ".join(map(quoted, command.words))
        start, more = next((one for one in RUN[page] if line.startswith(one[0])), (None, ""))
        if start is None:
            continue
        seen.add(start)
        if command.ours is None:
            subprocess.run(["sh", "-c", command.text], check=True)
            continue
        out = io.StringIO()
        with redirect_stdout(out):
            code = main([*command.ours, *more.split()])
        assert code == 0, command
        if " > " in command.text:
            Path(command.text.split(" > ")[1].split()[0]).write_text(out.getvalue())
        if "human export" in line and line.endswith(".csv"):
            rate(Path(command.words[-1]))
    assert seen == {start for start, _ in RUN[page]}


def quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word


def rate(sheet: Path) -> None:
    """Fills in a sheet as its rater would."""
    with sheet.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for number, row in enumerate(rows):
        row |= {name: str((number * step) % 11) for name, step in SCORES.items()}
    with sheet.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)


SCORES = {"semantic": 3, "spatial": 5, "quality": 7}
