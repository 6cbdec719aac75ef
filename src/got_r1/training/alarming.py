"""The alarms of a run of RL while it runs: told, kept in `alarms.jsonl`, and acted on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from got_r1.audit.alarms import Alarm, Alarms, illustrated
from got_r1.audit.history import Scope
from got_r1.errors import StoppedByAlarm
from got_r1.files.lines import read_rows
from got_r1.policy.janus import Policy
from got_r1.training.run import Run
from got_r1.training.watching import Look

__all__ = ["RunAlarms", "stopped"]


class RunAlarms:
    """The alarms of an open run, on the first rank; a resumed run's remember what it has seen."""

    def __init__(self, run: Run[Policy]) -> None:
        self.run = run
        self.alarms: Alarms | None = None
        self.rang: list[Alarm] = []
        """Those of the newest step."""
        if run.ranks.main:
            rows, looks = (read_rows(run.folder / f"{name}.jsonl") for name in ("metrics", "watch"))
            rung = read_rows(run.folder / "alarms.jsonl", one_a_step=False)
            self.alarms = Alarms(Scope.of(run.recipe), [str(row.get("name")) for row in rung])
            self.alarms.remember(rows, looks)

    def see(
        self, step: int, metrics: Mapping[str, float] | None, look: Look | None
    ) -> dict[str, float]:
        """Looks at a step's metrics before they are logged; returns which alarms rang, as
        metrics. `tell` follows. The first rank calls it."""
        assert self.alarms is not None
        self.rang = self.alarms.see(step, metrics, look)
        return {f"alarm/{alarm.name}": 1.0 for alarm in self.rang}

    def tell(self) -> None:
        """Keeps the alarms of the step, with samples of the newest gallery, and says each in a
        sentence."""
        self.rang = [illustrated(alarm, self.run.folder) for alarm in self.rang]
        for alarm in self.rang:
            self.run.records.log_alarm(alarm.to_json())
            self.run.progress.note(str(alarm))

    def act(self, step: int) -> Alarm | None:
        """Does what the recipe says of the alarms that rang in a step. Every rank calls it. Returns
        the alarm that stops the run; None where it goes on."""
        wanted = self.run.ranks.run_on_rank0(self._wanted)
        if "save" in wanted:
            self.run.save_checkpoint(step, kept=True)
        if "stop" in wanted and step < self.run.section.steps:
            self.run.save_checkpoint(step)
            return wanted["stop"]
        return None

    def _wanted(self) -> dict[str, Alarm]:
        """The actions that the step's alarms ask for, each with the first that does."""
        actions = self.run.recipe.watch.alarms
        return {getattr(actions, alarm.name): alarm for alarm in reversed(self.rang)}


def stopped(run: Run[Policy], alarm: Alarm, model: Path, report: Path) -> NoReturn:
    """Raises StoppedByAlarm, on every rank."""

    def tell() -> None:
        raise StoppedByAlarm(
            f"the run in {run.folder} was stopped at step {alarm.step}, since "
            f"watch.alarms.{alarm.name}=stop: {alarm.message}; the checkpoint and the model "
            f"({model}) are saved, and {report} shows the alarm: --resume goes on all the same, "
            "and it does not ring again"
        )

    run.ranks.run_on_rank0(tell)
    raise AssertionError("the first rank has raised")
