"""`audit judge|grounding|contract`, `audit human ...`: can a judge be trusted? `audit run`: did a
run go wrong?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from got_r1.audit.settings import PAIRS, SCENES, TERMS
from got_r1.commands.arguments import (
    MOST_SIDE,
    Parser,
    add,
    at_least,
    empty_folder,
    file_path,
    seed,
    show,
)
from got_r1.errors import BadInput, ChecksFailed
from got_r1.measures import label

__all__ = ["register"]

STUDY_HELP = "folder that audit human build wrote"


def register(subparsers: Any) -> None:
    """Adds the commands."""
    group = subparsers.add_parser(
        "audit", help="can a judge be trusted?", description="Can a judge be trusted?",
        allow_abbrev=False,
        epilog="Example: got-r1 audit judge --judge oracle --out audits/oracle",
    )  # fmt: skip
    audits = group.add_subparsers(metavar="COMMAND", required=True)
    add_judge(add(audits, "judge", judge, "counterfactual pairs whose order is known"))

    one = add(audits, "grounding", grounding, "in which coordinates a judge gives boxes")
    one.add_argument(
        "--judge", required=True, type=file_path, metavar="SPEC", help="who is audited"
    )
    one.add_argument(
        "--scenes", type=at_least(1), default=SCENES, metavar="N", help=f"to show ({SCENES})"
    )
    one.add_argument("--seed", type=seed, default=0, metavar="S", help="of the scenes (0)")

    one = add(audits, "contract", contract, "does a judge answer as every judge must")
    one.add_argument(
        "--judge", required=True, type=file_path, metavar="SPEC", help="who is audited"
    )

    one = add(audits, "run", run, "the alarms of a run of RL, by what its folder holds")
    one.add_argument("run", type=file_path, metavar="RUN", help="run folder")

    study = audits.add_parser(
        "human", help="people rate what the judge rated", allow_abbrev=False,
        description="People rate what the judge rated: build, import, report; export for others.",
        epilog="Example: got-r1 audit human build runs/icons --out study; then raters open "
        "study/kits/rater-1.html, and import and report of study",
    )  # fmt: skip
    parts = study.add_subparsers(metavar="COMMAND", required=True)
    add_build(add(parts, "build", build, "draw the items of a study from runs"))

    one = add(parts, "export", export, "write a rater's page or sheet, or all ratings")
    one.add_argument("study", type=file_path, metavar="DIR", help=STUDY_HELP)
    one.add_argument("--rater", type=file_path, metavar="NAME", help="for this rater (all ratings)")
    one.add_argument(
        "--out", required=True, type=file_path, metavar="FILE",
        help="to write: a sheet (FILE.csv), or with --rater a page (FILE.html)",
    )  # fmt: skip

    one = add(
        parts, "import", import_sheets, "read raters' sheets, or what they entered in the studio"
    )
    one.add_argument("study", type=file_path, metavar="DIR", help=STUDY_HELP)
    one.add_argument(
        "files", nargs="*", type=file_path, metavar="FILE",
        help="CSV files that raters filled in (without: what they entered in the studio)",
    )  # fmt: skip
    one.add_argument(
        "--rater", type=file_path, metavar="NAME",
        help="who rated, where the sheet does not say; whose ratings to take from the studio (all)",
    )  # fmt: skip
    one.add_argument("--partial", action="store_true", help="accept sheets with missing ratings")
    one.add_argument("--replace", action="store_true", help="replace a rater's earlier ratings")

    one = add(parts, "report", report, "agreement among raters, and of raters and judge")
    one.add_argument("study", type=file_path, metavar="DIR", help=STUDY_HELP)
    one.add_argument(
        "--out", type=file_path, metavar="DIR", help="where report.html and .json go (the study)"
    )


def add_judge(one: Parser) -> None:
    """The arguments of `audit judge`."""
    one.add_argument(
        "--judge", default="oracle", type=file_path, metavar="SPEC", help="who is audited (oracle)"
    )
    one.add_argument(
        "--pairs", type=at_least(1), default=PAIRS, metavar="N", help=f"of each kind ({PAIRS})"
    )
    one.add_argument("--seed", type=seed, default=0, metavar="S", help="of the pairs (0)")
    one.add_argument(
        "--terms", nargs="+", choices=TERMS, default=list(TERMS), metavar="TERM",
        help=f"which of {', '.join(TERMS)} (all)",
    )  # fmt: skip
    one.add_argument(
        "--limits", type=file_path, metavar="FILE", help="YAML: what a term must show to be fit"
    )
    one.add_argument(
        "--canvas", type=at_least(64, MOST_SIDE), action="append", metavar="PIXELS",
        help="draw plans on this canvas too; may be given again (for a served judge 3/4 and 3/2 of "
        "its own; a local model is loaded once more for each, and gets none)",
    )  # fmt: skip
    one.add_argument(
        "--batch", type=at_least(1), default=128, metavar="B", help="queries put at once (128)"
    )
    one.add_argument(
        "--out", default="judge_audit", type=file_path, metavar="DIR",
        help="where audit.html and audit.json go (judge_audit)",
    )  # fmt: skip


def add_build(one: Parser) -> None:
    """The arguments of `audit human build`."""
    one.add_argument(
        "runs", nargs="+", metavar="[NAME=]DIR",
        help="run folders of RL or folders of got-r1 sample; NAME is the method (the folder's "
        "name)",
    )  # fmt: skip
    one.add_argument(
        "--items", type=at_least(1), metavar="N",
        help="to draw (200, or as many as there are with every method equally often)",
    )  # fmt: skip
    one.add_argument(
        "--raters", type=at_least(0, 1000), default=3, metavar="N", help="to write pages for (3)"
    )
    one.add_argument("--seed", type=seed, default=0, metavar="S", help="of the draw (0)")
    one.add_argument(
        "--quality", choices=("r_pi", "r_hps"),
        help="which term people's quality is held against (r_hps where the runs have it, else "
        "r_pi)",
    )  # fmt: skip
    one.add_argument(
        "--out", required=True, type=file_path, metavar="DIR", help="new folder for the study"
    )


# -- audit judge -----------------------------------------------------------------------------------


def judge(args: argparse.Namespace) -> None:
    """`audit judge`: suites to the judge, a verdict for each term, one page and one JSON."""
    from got_r1.audit.limits import Limits
    from got_r1.judges import load_judge
    from got_r1.recipes.recipe_file import load_section

    limits = load_section(args.limits, Limits, "limits file") if args.limits else Limits()
    # Without a cache: asking again must ask again.
    audited = load_judge(args.judge, terms=args.terms)

    from got_r1.audit.judge import audit_judge
    from got_r1.audit.variants import other_canvases
    from got_r1.files.atomic import write_text
    from got_r1.report.audit_pages import write_judge_page

    draws, canvases = other_canvases(args.judge, args.canvas)
    result = audit_judge(
        audited,
        spec=args.judge,
        terms=list(dict.fromkeys(args.terms)),
        pairs=args.pairs,
        seed=args.seed,
        limits=limits,
        draws=draws,
        canvases=canvases,
        batch=args.batch,
        quiet=args.json,
    )
    out = Path(args.out)
    write_text(out / "audit.json", json.dumps(result, indent=1, ensure_ascii=False))
    write_judge_page(result, out / "audit.html")
    show(args, result, f"{verdict_text(result)}\n\npage: {out / 'audit.html'}")


def verdict_text(audit: dict[str, Any]) -> str:
    """The verdicts with their reasons, for a terminal."""
    lines = []
    for term, one in audit["terms"].items():
        wins = one["result"]["wins"]["value"]
        shown = "" if wins is None else f" (the better one scores higher in {wins:.0%})"
        verdict = one["verdict"] if one["undecided"] else f"{one['verdict']} to train on"
        hint = one["undecided"] and f": {one['undecided']}"
        lines.append(f"{term:6} {verdict}{shown}{hint}")
        lines += [f"       - {finding['text']}" for finding in one["why"]]
        lines.append(f"       {signal_text(one['result']['signal'])}")
    asked = f"{audit['pairs']} pairs of each kind, {audit['queries']:,} queries"
    return "\n".join([*lines, "", f"{audit['verdict']} over all terms: {asked}"])


def signal_text(signal: dict[str, Any]) -> str:
    """What the scores are worth, in a line."""
    share, plain, noise = (signal[name]["value"] for name in ("normalised", "plain", "noise"))
    if share is None or noise is None:
        return "signal: not measured"
    return (
        f"signal: {share:.0%} of an advantage with std normalisation; without, a standard "
        f"deviation of {plain:.2f} within a prompt (noise {noise:.2f})"
    )


# -- audit grounding -------------------------------------------------------------------------------


def grounding(args: argparse.Namespace) -> None:
    """`audit grounding`: which coordinates a judge's replies fit, as a table."""
    from got_r1.audit.coordinates import audit_coordinates, coordinates_text
    from got_r1.audit.variants import judges_by_coordinates

    result = audit_coordinates(judges_by_coordinates(args.judge), args.scenes, args.seed)
    show(args, {"judge": args.judge, **result}, coordinates_text(result))


# -- audit contract --------------------------------------------------------------------------------


def contract(args: argparse.Namespace) -> None:
    """`audit contract`: what every judge must keep, as a table; exit code 3 where it does not."""
    from got_r1.judges import load_judge

    audited = load_judge(args.judge)

    from got_r1.audit.contract import contract as findings_of
    from got_r1.audit.contract import contract_text

    findings = findings_of(audited)
    broken = [finding.name for finding in findings if not finding.passed]
    result = {
        "judge": args.judge,
        "passed": not broken,
        "checks": [asdict(finding) for finding in findings],
    }
    show(args, result, contract_text(findings))
    if broken:
        raise ChecksFailed(
            f"the judge {args.judge!r} does not keep the contract ({', '.join(broken)}); what a "
            "judge must keep is in docs/judges.md."
        )


# -- audit run -------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """`audit run`: the alarms that a run's files give; exit code 3 where one rang."""
    from got_r1.audit.alarms import alarms_of
    from got_r1.recipes.recipe_file import load_recipe

    folder = Path(args.run)
    if not (folder / "config.yaml").is_file() or not (folder / "metrics.jsonl").is_file():
        raise BadInput(
            f"{folder} is no run folder (config.yaml and metrics.jsonl are not both there); give "
            "the run.dir of a run of RL."
        )
    found, state = alarms_of(folder, load_recipe(folder / "config.yaml"))
    history, unchecked = state.history, state.unchecked()
    if not any(key.startswith("reward/") for row in history.rows for key in row):
        raise BadInput(f"{folder} is no run of RL: its metrics have no rewards.")
    lines = [
        f"{len(history.rows)} steps, {len(history.looks)} looks of a held-out judge: "
        f"{len(found)} alarm{'s' * (len(found) != 1)}"
    ]
    for alarm in found:
        lines += ["", str(alarm)]
        lines += [f"  {sample_text(sample)}" for sample in alarm.samples]
    if unchecked:
        lines += ["", "not looked for:"]
        lines += [f"  {name}: {why}" for name, why in unchecked.items()]
    result = {
        "run": args.run,
        "steps": len(history.rows),
        "looks": len(history.looks),
        "alarms": [alarm.to_json() for alarm in found],
        "unchecked": unchecked,
    }
    show(args, result, "\n".join(lines))
    if found:
        names = ", ".join(alarm.name.replace("_", " ") for alarm in found)
        raise ChecksFailed(f"alarms rang in {folder}: {names} (docs/alarms.md explains them).")


def sample_text(sample: dict[str, Any]) -> str:
    """A sample of an alarm: where it is, or what was said of it."""
    if "index" in sample:
        place = f"samples/step_{sample['step']:06d}/{sample['index']:03d}.png"
        return f"{place}: {sample['prompt']}"
    values = {key: sample[key] for key in ("trained", "held_out", "first", "now") if key in sample}
    said = ", ".join(
        f"{key.replace('_', ' ')} {'-' if value is None else f'{value:.2f}'}"
        for key, value in values.items()
    )
    where = f" ({sample['image']})" if sample.get("image") else ""
    return f"step {sample['step']}, {sample['prompt']}: {label(sample['term'])} {said}{where}"


# -- audit human -----------------------------------------------------------------------------------


def build(args: argparse.Namespace) -> None:
    """`audit human build`: a balanced sample of runs, blind to their methods."""
    from got_r1.audit.study import build_study
    from got_r1.report.kit_page import write_kit_page

    made = build_study(
        [method_and_folder(text) for text in args.runs],
        empty_folder(args.out),
        items=args.items,
        seed=args.seed,
        quality=args.quality,
        raters=args.raters,
        write_kit=write_kit_page,
    )
    lines = [f"{made['items']} items in {args.out}"]
    if args.raters:
        lines[0] += f"; give each rater one page of {args.out}/kits, and nothing else"
    if made["items"] < made["asked"]:
        why = (
            ": these are all usable samples"
            if made["items"] == made["usable"]
            else ", so that every method has equally many "
            f"(--items N takes more, up to {made['usable']})"
        )
        lines.append(f"  fewer than {made['asked']}{why}")
    if made["short"]:
        short = [f"{one['stratum']} ({one['usable']} of {one['wanted']})" for one in made["short"]]
        lines.append(f"  too few usable samples for an equal share: {', '.join(short)}")
    lines += [f"  {name}: {counts}" for name, counts in made["balance"].items()]
    lines += [f"  left out: {count} {why}" for why, count in made["left_out"].items()]
    show(args, made, "\n".join(lines))


def method_and_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR, or DIR alone, whose folder's name is the method."""
    name, equals, folder = text.partition("=")
    if equals and name and not Path(text).exists():
        return name, Path(folder)
    return Path(text).resolve().name, Path(text)


def export(args: argparse.Namespace) -> None:
    """`audit human export`: a page or sheet for a rater, or all ratings in one file."""
    study, out = Path(args.study), Path(args.out)
    if args.rater and out.suffix == ".html":
        from got_r1.audit.kits import kits
        from got_r1.report.kit_page import write_kit_page

        (content,) = kits(study, [args.rater])
        write_kit_page(content, out)
        count, what = len(content["items"]), "items"
    else:
        from got_r1.audit.sheets import export_sheet

        count, what = export_sheet(study, out, args.rater), "rows"
    show(args, {"file": args.out, what: count}, f"{count} {what} in {args.out}")


def import_sheets(args: argparse.Namespace) -> None:
    """`audit human import`: raters' sheets or the studio's ratings, checked, into the study."""
    from got_r1.audit.sheets import import_sheets as take

    files = [Path(file) for file in args.files]
    raters = take(Path(args.study), files, args.rater, partial=args.partial, replace=args.replace)
    lines = [
        f"{one['rater']}: {one['rated']} of {one['items']} items rated"
        + (
            f" in full, {one['part']} in part, {len(one['missing']) - one['part']} not at all"
            if one["missing"]
            else ""
        )
        for one in raters
    ]
    show(args, {"raters": raters}, "\n".join(lines))


def report(args: argparse.Namespace) -> None:
    """`audit human report`: agreement among raters and with the judge, as a page and a JSON."""
    from got_r1.audit.agreement import agreement_report, agreement_text, with_pictures
    from got_r1.files.atomic import write_text
    from got_r1.report.audit_pages import write_human_page

    study = Path(args.study)
    result = agreement_report(study)
    out = Path(args.out) if args.out else study
    write_text(out / "report.json", json.dumps(result, indent=1, ensure_ascii=False))
    write_human_page(with_pictures(result, study), out / "report.html")
    show(args, result, f"{agreement_text(result)}\n\npage: {out / 'report.html'}")
