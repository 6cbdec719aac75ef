"""Judges: who scores chains and images. `load_judge` is the one way to get one."""

from got_r1.errors import BadInput
from got_r1.judges.base import Judge

__all__ = ["Judge", "load_judge"]


def load_judge(spec: str) -> Judge:
    """The judge that `spec` names (setting `judge.spec`, option `--judge`).

    'oracle' is the icon world's own judge. Raises `BadInput` for anything else.
    """
    kind, _, _ = spec.partition(":")
    match kind:
        case "oracle" if spec == "oracle":
            from got_r1.judges.oracle import OracleJudge

            return OracleJudge()
        case "openai" | "transformers" | "experts":
            raise BadInput(
                f"judge {spec!r} is not in this version: judges that are models come with a later "
                "one; until then there is judge.spec=oracle, for the icon world's prompts only"
            )
        case _:
            raise BadInput(f"unknown judge {spec!r}: use judge.spec=oracle")
