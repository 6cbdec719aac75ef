"""The commands, from arguments to files."""

import json
import re
from pathlib import Path

import pytest

from audit.planted import Random
from got_r1.audit.judge import audit_judge
from got_r1.audit.variants import other_canvases
from got_r1.cli import main
from got_r1.errors import BadInput
from got_r1.records import JudgeFailure, Verdict
from got_r1.report.audit_pages import write_judge_page


def run(capsys, *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def self_contained(page: str) -> bool:
    return "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_a_judge_is_audited_into_a_page_and_a_json(capsys, tmp_path):
    out = str(tmp_path / "audit")
    code, printed, _ = run(
        capsys, "audit", "judge", "--pairs", "4", "--terms", "r_sem", "r_ri", "--json", "--out", out
    )
    assert code == 0
    result = json.loads(printed)
    assert result == json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert list(result["terms"]) == ["r_sem", "r_ri"]
    assert (result["judge"], result["pairs"], result["seed"]) == ("oracle", 4, 0)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert self_contained(page)
    assert "R_sem" in page
    assert "R_spa" not in page


def test_progress_goes_to_stderr_and_the_verdict_to_stdout(capsys, tmp_path):
    code, out, err = run(
        capsys, "audit", "judge", "--pairs", "2", "--terms", "r_sem", "--out", str(tmp_path / "a")
    )
    assert code == 0
    assert out.startswith("r_sem  undecided (the better one scores higher in 100%): about ")
    result = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert result["verdict"] == result["terms"]["r_sem"]["verdict"] == "undecided"
    page = (tmp_path / "a" / "audit.html").read_text()
    for place in (out, page):
        assert result["terms"]["r_sem"]["undecided"] in place
        assert "fit to train on" not in place
    queries = result["queries"]
    assert f"undecided over all terms: 2 pairs of each kind, {queries} queries" in out
    assert f"<dt>Queries</dt> <dd>{queries}</dd>" in page
    assert "audit query" in err
    assert "signal: 100% of an advantage with std normalisation" in out
    assert "What the scores are worth to GRPO" in page


def test_a_verdict_is_a_result_and_no_error(capsys, tmp_path):
    argv = ["audit", "judge", "--judge", "audit.planted:Constant", "--terms", "r_sem"]
    code, out, _ = run(capsys, *argv, "--pairs", "4", "--out", str(tmp_path / "a"))
    assert code == 0
    assert out.startswith("r_sem  not fit to train on (")
    assert "\nnot fit over all terms: 4 pairs of each kind" in out
    assert '<span class="verdict not-fit">' in (tmp_path / "a" / "audit.html").read_text()


def test_limits_are_settings(capsys, tmp_path):
    lenient = tmp_path / "limits.yaml"
    lenient.write_text(
        "wins: 0\nwins_of_kind: 0\nfailures: 1\nsaturation: 1\nagain: 0\nsignal: 0\nspread: 0\n"
    )
    argv = ["audit", "judge", "--pairs", "2", "--terms", "r_pi", "--out", str(tmp_path / "a")]
    argv += ["--json", "--limits", str(lenient)]
    _, out, _ = run(capsys, *argv)
    assert {why["measure"] for why in json.loads(out)["terms"]["r_pi"]["why"]} == {"invariance"}
    lenient.write_text("wins: 2\n")
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert "wins" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--terms", "r_hps"], "r_hps"),
        (["--judge", "nobody"], "nobody"),
        (["--pairs", "0"], "at least 1"),
        (["--canvas", "384"], "sees none"),
    ],
)
def test_mistakes_are_sentences(capsys, tmp_path, argv, words):
    code, _, err = run(capsys, "audit", "judge", *argv, "--out", str(tmp_path / "a"))
    assert code == 2
    assert words in err
    assert not (tmp_path / "a").exists()


def test_the_page_shows_pairs_of_each_kind(tmp_path):
    """How many does not grow with the pairs, and neither does the page."""
    audit = audit_judge(Random(), spec="<script>x</script>", pairs=6)
    write_judge_page(audit, tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text()
    assert self_contained(page)
    assert "&lt;script&gt;" in page
    examples = {term: one["examples"] for term, one in audit["terms"].items()}
    assert page.count('<div class="duel">') == sum(map(len, examples.values()))
    pictures = len(examples["r_pi"]) + len(examples["r_ri"])
    assert page.count("data:image/png;base64") == 2 * pictures
    drawn = re.findall(r'<svg viewBox="-6[^>]* role="img" aria-label="([^"]*)"', page)
    assert len(drawn) == 2 * (pictures + len(examples["r_spa"]))
    first = examples["r_spa"][0]
    assert f"plan, worse, of “{first['worse']['prompt']}”: {first['change']}; planned: " in page
    assert "missed, the worse one scores higher" in page
    assert "ordered rightly" in page
    assert len(page.encode()) < 500_000  # docs/audit.md


def test_an_audit_of_before_can_be_shown_anew(tmp_path):
    """Its JSON has no signal, no values that were exchanged, and words in no groups."""
    audit = audit_judge(Random(), spec="old", terms=["r_sem"], pairs=2)
    result = audit["terms"]["r_sem"]["result"]
    for new in ("signal", "exchanges", "persuasion_groups", "lead"):
        del result[new]
    for new in ("signal", "spread", "lead_of_kind", "lead_of_value"):
        del audit["limits"][new]
    write_judge_page(audit, tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text()
    assert "Words in a faulty chain" in page
    assert "What the scores are worth" not in page


def test_the_page_of_a_judge_that_fails(tmp_path):
    class Refuses:
        def judge(self, queries):
            return [
                JudgeFailure("\ud800 no") if i % 2 else Verdict(None) for i, _ in enumerate(queries)
            ]

    write_judge_page(audit_judge(Refuses(), pairs=2), tmp_path / "audit.html")
    assert "answered none of" in (tmp_path / "audit.html").read_text()


# -- canvases ------------------------------------------------------------------------------------


def test_who_sees_a_drawing(tmp_path):
    assert other_canvases("oracle", None) == (False, [])
    draws, canvases = other_canvases("openai:model@http://localhost:1/v1", None)
    assert draws
    judges = [make() for make in canvases]
    assert [judge.inner.wording.canvas for judge in judges] == [384, 768]
    assert {judge.inner.settings.model for judge in judges} == {"model"}
    for judge in judges:
        judge.inner.close()
    file = tmp_path / "judge.yaml"
    file.write_text("openai: {model: m, urls: http://localhost:1/v1}\nwording: {spatial: text}\n")
    assert other_canvases(str(file), None) == (False, [])
    file.write_text("openai: {model: m, urls: http://localhost:1/v1}\nr_spa: oracle\n")
    assert other_canvases(str(file), None) == (False, [])
    with pytest.raises(BadInput, match="sees none"):
        other_canvases(str(file), [384])
    file.write_text("transformers: {model: somewhere}\n")
    assert other_canvases(str(file), None) == (True, [])  # no second copy unless asked for
    assert len(other_canvases(str(file), [384])[1]) == 1
    outer = tmp_path / "outer.yaml"
    outer.write_text(f"spec: oracle\nr_spa: {file}\n")  # the file that sees the drawing decides
    assert len(other_canvases(str(outer), [384])[1]) == 1
    outer.write_text(f"spec: {file}\nr_spa: oracle\n")
    assert other_canvases(str(outer), None) == (False, [])


# -- a study from end to end ---------------------------------------------------------------------


def test_a_study_from_build_to_report(capsys, make_run, tmp_path):
    ours, theirs = make_run("run-1", steps=2), make_run("run-2", steps=2)
    study = str(tmp_path / "study")
    argv = ["audit", "human", "build", f"ours={ours}", str(theirs), "--items", "20"]
    code, out, _ = run(capsys, *argv, "--out", study, "--json")
    assert code == 0
    assert json.loads(out)["balance"]["method"] == {"ours": 10, "run-2": 10}
    assert run(capsys, *argv, "--out", study)[0] == 2  # nothing is overwritten
    assert len(list((tmp_path / "study" / "kits").glob("rater-?.html"))) == 3
    few = ["audit", "human", "build", str(ours), "--out", str(tmp_path / "few")]
    code, _, err = run(capsys, *few, "--items", "31")
    assert code == 2
    assert "31 items cannot be drawn from 30 usable samples" in err
    code, out, _ = run(capsys, *few, "--raters", "0")
    assert code == 0
    assert out.startswith("30 items in")
    assert "fewer than 200: these are all usable samples" in out
    page = str(tmp_path / "dora.html")
    code, out, _ = run(capsys, "audit", "human", "export", study, "--rater", "dora", "--out", page)
    assert (code, out.strip()) == (0, f"20 items in {page}")
    assert "Rating as dora" in Path(page).read_text()
    for index, rater in enumerate(("ann", "bob", "cleo")):
        sheet = str(tmp_path / f"{rater}.csv")
        assert (
            run(capsys, "audit", "human", "export", study, "--rater", rater, "--out", sheet)[0] == 0
        )
        lines = Path(sheet).read_text().splitlines()
        rated = [
            f"{line.removesuffix(',,,,')},{(int(line[:3]) + index) % 11},5,{int(line[:3]) % 11},"
            for line in lines[1:]
        ]
        Path(sheet).write_text("\n".join([lines[0], *rated]) + "\n")
        code, out, _ = run(capsys, "audit", "human", "import", study, sheet)
        assert (code, out.strip()) == (0, f"{rater}: 20 of 20 items rated")
    code, out, err = run(capsys, "audit", "human", "report", study)
    assert code == 0, err
    assert "quality (r_pi)" in out
    report = json.loads((tmp_path / "study" / "report.json").read_text())
    assert report["questions"]["quality"]["alpha"]["overall"]["value"] == pytest.approx(1)
    assert report["questions"]["spatial"]["alpha"]["overall"]["value"] is None  # all the same
    assert self_contained((tmp_path / "study" / "report.html").read_text())
    code, _, err = run(capsys, "audit", "human", "import", study, str(tmp_path / "ann.csv"))
    assert code == 2
    assert "ann has rated already" in err
