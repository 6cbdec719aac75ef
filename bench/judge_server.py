"""What a served judge costs: tokens of a question, questions per second, prefix-cache hits.

    python bench/judge_server.py --judge openai:Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1
    python bench/judge_server.py --judge judge.yaml --concurrency 1 8 64 --json served.json

The questions are those of a run, through the client, the wording and the reading of replies that a
run uses: scenes of the icon world at `--size` pixels, each with its plan. Two parts, and a share:

    terms      each term by itself, guided by a JSON schema and not: prompt and reply tokens by the
               server's count, requests and seconds a query, share of queries with a verdict
    speed      all terms together, every query new: queries and questions per second at each
               concurrency, median of the rounds and their range (a query of R_RI is a question for
               each planned name)
    prefixes   share of all prompt tokens that came from the server's prefix cache, where it counts
               them (vLLM, at /metrics)
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from got_r1.icons.data import triples
from got_r1.judges import endpoints
from got_r1.judges.openai_api import OpenAIJudge
from got_r1.judges.settings import OpenAISettings
from got_r1.judges.specs import JudgeSettings, resolve
from got_r1.plan.chain import parse
from got_r1.recipes.sections import JudgeSection
from got_r1.records import (
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Query,
    SemanticQuery,
    SpatialQuery,
)

TERMS = ("r_sem", "r_spa", "r_pi", "r_ri")


@dataclass
class Meter:
    """What a server answered since `clear`: a row of (prompt tokens, reply tokens) a request."""

    rows: list[tuple[int, int]] = field(default_factory=list)

    def install(self) -> None:
        """Every request of this process is counted from here on."""
        post = endpoints.Endpoint.post

        async def counted(endpoint: endpoints.Endpoint, request: dict[str, Any]) -> str:
            body = await post(endpoint, request)
            usage = json.loads(body).get("usage") or {}
            self.rows.append((usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)))
            return body

        endpoints.Endpoint.post = counted  # type: ignore[method-assign]


def queries(term: str, size: int, start: int, count: int) -> list[Query]:
    """The same for the same numbers; another `start`, other scenes."""
    found: list[Query] = []
    for triple in triples(start + count, start=start):
        image = np.asarray(Image.fromarray(triple.image).resize((size, size), 0))
        chain = parse(triple.chain)
        found.append(
            {
                "r_sem": SemanticQuery(triple.prompt, chain),
                "r_spa": SpatialQuery(triple.prompt, chain),
                "r_pi": ImageQuery(triple.prompt, image),
                "r_ri": GroundingQuery(chain, image),
            }[term]
        )
    return found


def by_term(judges: dict[str, OpenAIJudge], meter: Meter, size: int, count: int) -> Iterator[Any]:
    """A row for each term and way of asking."""
    for term in TERMS:
        for way, judge in judges.items():
            asked = queries(term, size, 0, count)
            meter.rows.clear()
            began = time.perf_counter()
            answers = judge.judge(asked)
            seconds = time.perf_counter() - began
            failures = [one.reason for one in answers if isinstance(one, JudgeFailure)]
            if not meter.rows:
                raise SystemExit(f"the server answered nothing: {failures[0]}")
            prompt, reply = zip(*meter.rows, strict=True)
            yield {
                "term": term,
                "asked": way,
                "prompt_tokens": [min(prompt), statistics.median(prompt), max(prompt)],
                "reply_tokens": [min(reply), statistics.median(reply), max(reply)],
                "requests_per_query": len(meter.rows) / count,
                "seconds_per_query": seconds / count,
                "answered": 1 - len(failures) / count,
                "first_failure": failures[0] if failures else "",
            }


def speed(
    judge: OpenAIJudge, meter: Meter, size: int, count: int, rounds: int, start: int
) -> dict[str, Any]:
    """Rates of `rounds` rounds of `count` queries, none of which was sent before."""
    asked, questions = [], []
    for number in range(rounds):
        batch = [
            query
            for term in TERMS
            for query in queries(term, size, start + number * count, -(-count // len(TERMS)))
        ]
        meter.rows.clear()
        began = time.perf_counter()
        judge.judge(batch)
        seconds = time.perf_counter() - began
        asked.append(len(batch) / seconds)
        questions.append(len(meter.rows) / seconds)
    return {
        "queries_per_second": [min(asked), statistics.median(asked), max(asked)],
        "requests_per_second": [min(questions), statistics.median(questions), max(questions)],
    }


def prefix_tokens(url: str) -> tuple[float, float] | None:
    """vLLM's counters: (tokens looked up, tokens found); None where the server has none."""
    try:
        with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    queries, hits = (
        [float(value) for value in re.findall(rf"\nvllm:prefix_cache_{name}_total\S* (\S+)", text)]
        for name in ("queries", "hits")
    )
    return (sum(queries), sum(hits)) if queries else None


def open_judge(settings: JudgeSettings, **changed: Any) -> OpenAIJudge:
    """The judge of a spec with some of its settings changed."""
    assert settings.openai is not None
    assert settings.wording is not None
    openai = OpenAISettings.model_validate(settings.openai.model_dump(exclude_unset=True) | changed)
    return OpenAIJudge(openai, settings.wording)


def main() -> None:
    """Measures, prints two tables and the share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", required=True, help="openai:MODEL@URL or a judge file")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--queries", type=int, default=16, help="queries a term in the first part")
    parser.add_argument("--speed-queries", type=int, default=64, help="queries in a round; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=384, help="pixels of an image's side")
    parser.add_argument("--json", type=Path, help="where the figures go")
    args = parser.parse_args()
    settings = resolve(JudgeSection(spec=args.judge)).spec
    if settings.openai is None:
        raise SystemExit(f"{args.judge} is no served judge; name openai:MODEL@URL or a judge file")
    meter = Meter()
    meter.install()
    before = prefix_tokens(settings.openai.urls[0])
    found: dict[str, Any] = {"terms": [], "speed": {}, "prefix_hits": None}
    judges = {
        "guided": open_judge(settings, structured="auto"),
        "unguided": open_judge(settings, structured="off"),
    }
    print("term    asked      prompt tokens     reply tokens  requests  seconds  answered")
    for row in by_term(judges, meter, args.size, args.queries):
        found["terms"].append(row)
        print(
            f"{row['term']:8}{row['asked']:9}{spread(row['prompt_tokens'], 0):>16}"
            f"{spread(row['reply_tokens'], 0):>17}{row['requests_per_query']:10.2f}"
            f"{row['seconds_per_query']:9.2f}{row['answered']:10.0%}  {row['first_failure']}",
            flush=True,
        )
    print("\nconcurrency    queries per second   requests per second")
    start = args.queries
    for concurrency in args.concurrency if args.speed_queries else ():
        judge = open_judge(settings, concurrency=concurrency)
        row = speed(judge, meter, args.size, args.speed_queries, args.rounds, start)
        start += args.speed_queries * args.rounds
        found["speed"][str(concurrency)] = row
        print(
            f"{concurrency:11} {spread(row['queries_per_second'], 2):>21}"
            f"{spread(row['requests_per_second'], 2):>22}",
            flush=True,
        )
        judge.close()
    after = prefix_tokens(settings.openai.urls[0])
    if before is not None and after is not None:
        found["prefix_hits"] = (after[1] - before[1]) / (after[0] - before[0])
        print(f"\n{found['prefix_hits']:.0%} of the prompt tokens came from the prefix cache")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def spread(values: Sequence[float], places: int) -> str:
    """A median with its range: "5.1 [4.8, 5.3]"."""
    low, median, high = (f"{value:.{places}f}" for value in values)
    return f"{median} [{low}, {high}]"


if __name__ == "__main__":
    main()
