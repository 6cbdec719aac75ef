"""What was drawn, kept on disk: a folder for each entry, which appears whole or not at all."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from got_r1.errors import BadInput
from got_r1.files.atomic import replace_folder, translate_os_errors, write_text
from got_r1.files.inputs import read_json

__all__ = ["History"]

_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{4}")
_RECORD = "entry.json"
_VERDICT = ".verdict.json"


@dataclass(frozen=True, slots=True)
class History:
    """The entries in a folder, by names that sort by time.

    Names come from a client: one that is not of this form is none, so no other path is opened.
    """

    folder: Path

    def add(self, entry: Mapping[str, Any], images: Sequence[bytes]) -> str:
        """Keeps an entry with its PNG images and returns its name.

        Raises BadInput or RunFailed where it cannot be written.
        """
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"
        with translate_os_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with replace_folder(self.folder / name) as made:
            for index, data in enumerate(images):
                (made / f"{index}.png").write_bytes(data)
            text = json.dumps({"name": name, "images": len(images), **entry}, ensure_ascii=False)
            (made / _RECORD).write_text(text, encoding="utf-8")
        return name

    def names(self, before: str = "", most: int = 60) -> list[str]:
        """The newest entries' names, of those older than `before` if that is given."""
        if not self.folder.is_dir():
            return []
        found = (path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        older = (name for name in found if not before or name < before)
        return sorted(older, reverse=True)[:most]

    def read(self, name: str) -> dict[str, Any]:
        """An entry, with what a judge said of its images under `verdicts`, by index.

        Raises BadInput where there is none of that name, or it is damaged.
        """
        place = self._place(name)
        entry = read_json(place / _RECORD, "entry of the history")
        verdicts = {
            path.name.removesuffix(_VERDICT): read_json(path, "verdict of the history")
            for path in sorted(place.glob(f"[0-9]*{_VERDICT}"))
        }
        return {**entry, "verdicts": verdicts}

    def add_verdict(self, name: str, index: int, verdict: Mapping[str, Any]) -> None:
        """Keeps what a judge said of an entry's image, in place of what one said before.

        Raises BadInput or RunFailed where it cannot be written.
        """
        text = json.dumps(dict(verdict), ensure_ascii=False)
        write_text(self.image(name, index).with_name(f"{index}{_VERDICT}"), text)

    def image(self, name: str, index: int) -> Path:
        """The file of an entry's image. Raises BadInput where there is none."""
        path = self._place(name) / f"{index}.png"
        if not path.is_file():
            raise BadInput(f"the entry {name} has no image {index}.")
        return path

    def remove(self, name: str) -> None:
        """Deletes an entry. Raises BadInput where there is none."""
        place = self._place(name)
        with translate_os_errors(place):
            shutil.rmtree(place)

    def _place(self, name: str) -> Path:
        place = self.folder / name
        if not _NAME.fullmatch(name) or not place.is_dir():
            raise BadInput("the history has no such entry: it may have been deleted.")
        return place
