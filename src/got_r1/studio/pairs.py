"""Two finished folders, sample by sample: what one gained over the other, and where.

A folder is one of `got-r1 sample`, one of `got-r1 eval generate`, or a run, of which the fixed
prompts at the newest common step count. Samples belong together where they have prompt, seed and
number in common. Nothing here writes, and pictures are known by the number of their pair alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.sample_folder import MANIFEST, places, read_manifest
from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.files.images import UnreadableImage, open_image
from got_r1.files.inputs import path_inside, read_json, read_text
from got_r1.files.parsing import parse_json, parse_yaml
from got_r1.files.sample_files import ARGUMENTS, LAYOUTS, SampleFiles
from got_r1.icons.world import IMAGE_SIZE
from got_r1.plan.reading import read
from got_r1.plan.wordings import RELATION_WORDS
from got_r1.records import Prompt
from got_r1.report.read import SampleFile, as_dict, as_number, read_run

__all__ = [
    "Kind",
    "Seen",
    "Source",
    "category_of",
    "kind_of",
    "match",
    "read_run_sources",
    "read_source",
]

Kind = Literal["model", "samples", "run"]
Key = tuple[str | int, ...]


@dataclass(slots=True)
class Seen:
    """A finished sample: its record, its image, and what is known of it. `terms` has values by
    their keys, `evidence` the words on them."""

    record: dict[str, Any]
    image: Path
    terms: dict[str, float] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    judged: bool = False

    @classmethod
    def of(cls, sample: SampleFile, image: Path) -> Seen:
        """With the terms that its record holds."""
        reward = as_dict(sample.record.get("reward"))
        values = {**as_dict(reward.get("terms")), "total": reward.get("total")}
        terms = {key: n for key, value in values.items() if (n := as_number(value)) is not None}
        evidence = as_dict(sample.record.get("evidence"))
        words = {key: text for key, text in evidence.items() if isinstance(text, str) and text}
        return cls(sample.record, image, terms, words, judged=bool(terms))

    @property
    def prompt(self) -> str:
        """Its text."""
        return str(self.record.get("prompt", ""))

    @property
    def marks(self) -> bool:
        """Whether its chain may carry depths and times."""
        return self.record.get("marks") is True


@dataclass(frozen=True, slots=True)
class Source:
    """A folder: its name as the user gave it, its samples by what tells them apart, in order, and
    what is to be said of it."""

    name: str
    samples: dict[Key, Seen]
    notes: tuple[str, ...] = ()
    about: str = ""

    @property
    def world(self) -> bool:
        """Whether the pictures are of the icon world, by the size of the first."""
        for seen in self.samples.values():
            try:
                return open_image(seen.image).size == (IMAGE_SIZE, IMAGE_SIZE)
            except (OSError, UnreadableImage):
                continue
        return False


def kind_of(name: str) -> Kind:
    """What `--compare` names, told by what is in it: "samples" with a `sampling.yaml` or a
    `benchmark.json`, "run" with a `config.yaml` or `metrics.jsonl`, else a model, which may be a
    name on the hub."""
    folder = Path(name)
    if (folder / ARGUMENTS).is_file() or (folder / MANIFEST).is_file():
        return "samples"
    if (folder / "config.yaml").is_file() or (folder / "metrics.jsonl").is_file():
        return "run"
    return "model"


def read_source(name: str) -> Source:
    """A folder of samples, each with the benchmark's scores where there are some.

    Raises BadInput where it is none, or holds no sample that can be read.
    """
    folder, notes = Path(name), list[str]()
    scores: Mapping[str, dict[str, float]] = {}
    if (folder / MANIFEST).is_file():
        found, scores = _of_benchmark(folder, notes), _scores(folder, notes)
    else:
        found = _of_sample(folder, notes)
    samples: dict[Key, Seen] = {}
    for sample in found:
        assert sample.image is not None  # where it should be
        if not sample.image.is_file():
            notes.append(f"{sample.image.relative_to(folder)} is missing and left out.")
            continue
        seen = Seen.of(sample, sample.image)
        seen.terms |= scores.get(str(sample.image.relative_to(folder)), {})
        record = sample.record
        number = [str(record.get(name, 0)) for name in ("seed", "sample", "variant")]
        _add(samples, (seen.prompt, *number), seen)
    if not samples:
        raise BadInput(f"{name} holds no finished sample; draw it to its end with --resume.")
    return Source(name, samples, tuple(notes), f"{len(samples)} samples")


def read_run_sources(names: tuple[str, str]) -> tuple[Source, Source]:
    """Two runs' fixed prompts at the newest step that both have, else their own samples there.

    Raises BadInput where one of them is no run, or they have no step in common.
    """
    runs = [read_run(Path(name)) for name in names]
    for kind in ("probes", "samples"):
        steps = set.intersection(*(set(getattr(run, kind)) for run in runs))
        if steps:
            break
    else:
        raise BadInput(
            f"the runs {names[0]} and {names[1]} have no step in common at which both saved fixed "
            "prompts (eval.probes) or samples (rl.sample_every)."
        )
    step = max(steps)
    what = "fixed prompts" if kind == "probes" else "samples"
    seeds = [run.setting("eval.seed" if kind == "probes" else "run.seed") for run in runs]
    notes = list[str]()
    if seeds[0] != seeds[1]:
        notes.append(f"The seeds differ ({seeds[0]} and {seeds[1]}): so does the noise.")
    sources = []
    for name, run in zip(names, runs, strict=True):
        samples: dict[Key, Seen] = {}
        for sample in getattr(run, kind)[step]:
            if sample.image is not None:
                image = _inside(sample.image, run.run_dir, "image")
                seen, record = Seen.of(sample, image), sample.record
                number = [] if kind == "probes" else [str(record.get("sample"))]
                _add(samples, (seen.prompt, *number), seen)
        sources.append(Source(name, samples, tuple(notes), f"{what} at step {step}"))
        notes = []
    return sources[0], sources[1]


def match(a: Source, b: Source) -> list[tuple[Seen, Seen]]:
    """The samples that both have, in the order of the first. Raises BadInput where there are
    none, saying why."""
    pairs = [(one, b.samples[key]) for key, one in a.samples.items() if key in b.samples]
    if pairs:
        return pairs
    prompts = {one.prompt for one in a.samples.values()} & {s.prompt for s in b.samples.values()}
    seeds = [{str(seen.record.get("seed")) for seen in one.samples.values()} for one in (a, b)]
    why = "they have no prompt in common; draw the same prompts"
    if prompts and not seeds[0] & seeds[1]:
        said = [", ".join(sorted(one)[:3]) for one in seeds]
        why = f"their seeds differ ({said[0]}; {said[1]}); draw one of them again with --seed"
    raise BadInput(f"{a.name} and {b.name} cannot be compared: {why}.")


def category_of(seen: Seen) -> str:
    """What a prompt is counted under: its own category where it has one, as evaluations do, else
    the relation that it asks for or the number of its objects, as far as it can be read."""
    own = seen.record.get("category")
    if isinstance(own, str) and own not in ("", "other"):
        return own
    asked = read(seen.prompt)
    if asked is None:
        return "other"
    if asked.relation is not None:
        return RELATION_WORDS[asked.relation][0]
    count = len(asked.singles)
    return f"{count} object{'s' * (count != 1)}"


# -- folders ---------------------------------------------------------------------------------------


def _add(samples: dict[Key, Seen], key: Key, seen: Seen) -> None:
    """Adds a sample; one that is like another is told apart by its place among these."""
    again = 0
    while (*key, again) in samples:
        again += 1
    samples[*key, again] = seen


def _of_sample(folder: Path, notes: list[str]) -> Iterable[SampleFile]:
    """The samples of a folder of `got-r1 sample`, in order."""
    try:
        arguments = as_dict(parse_yaml(read_text(folder / ARGUMENTS, "arguments")))
    except yaml.YAMLError:
        arguments = {}
    layout = arguments.get("layout")
    files = SampleFiles(folder, layout if layout in LAYOUTS else "numbered")
    numbers = (path.stem for path in files.record(0).parent.glob("*.json"))
    for index in sorted(int(stem) for stem in numbers if stem.isascii() and stem.isdigit()):
        record = _record(files.record(index), folder, notes)
        if record is not None:
            image = files.image(index, Prompt(str(record.get("prompt", ""))))
            yield SampleFile(0, index, record, _inside(image, folder, "image"))


def _of_benchmark(folder: Path, notes: list[str]) -> Iterable[SampleFile]:
    """The samples of a folder of `got-r1 eval generate`, in order."""
    made = read_manifest(folder)
    data = Path(made.data) if made.data else None
    benchmark = load_benchmark(made.benchmark, BenchmarkSettings(data=data, split=made.split))
    layouts = benchmark.layouts(folder, made.prompts, made.images_per_prompt)
    for index, place in enumerate(places(layouts, made.images_per_prompt, with_chains=True)):
        assert place.record is not None  # asked for with chains
        record = _record(place.record, folder, notes)
        if record is not None:
            record = {**record, "category": place.prompt.category}
            yield SampleFile(0, index, record, _inside(place.image, folder, "image"))


def _record(path: Path, folder: Path, notes: list[str]) -> dict[str, Any] | None:
    try:
        return read_json(_inside(path, folder, "record"), "record")
    except BadInput:
        notes.append(f"{path.relative_to(folder)} cannot be read and is left out.")
        return None


def _inside(path: Path, folder: Path, what: str) -> Path:
    """The path. Raises BadInput where it leads out of the folder: a prompt is part of it."""
    return path_inside(folder, str(path.relative_to(folder)), what)


def _scores(folder: Path, notes: list[str]) -> dict[str, dict[str, float]]:
    """The metrics of each image, by its name, where the folder was scored."""
    found: dict[str, dict[str, float]] = {}
    if not (folder / "scores.jsonl").is_file():
        return found
    for line in read_text(folder / "scores.jsonl", "scores").splitlines():
        try:
            row = as_dict(parse_json(line))
        except ValueError:
            notes.append("scores.jsonl holds a line that cannot be read.")
            continue
        numbers = {key: n for key, value in row.items() if (n := as_number(value)) is not None}
        found[str(row.get("image"))] = numbers
    return found
