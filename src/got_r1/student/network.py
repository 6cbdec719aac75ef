"""The student: a small transformer reads a prompt beside a chain or an image, and gives marks.

It answers with a distribution over the marks 0 to 10 (the paper's MLLM judge gives one of them).
Their mean is the score; their standard deviation says how much it doubts. (Our choice throughout.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from got_r1.errors import BadInput, explained, first_line
from got_r1.files.digests import write_digests
from got_r1.files.inputs import read_json
from got_r1.files.weights import digest_of_files
from got_r1.plan.chain import strip_boxes
from got_r1.records import Box, ImageQuery, SemanticQuery, SpatialQuery
from got_r1.student.encoder import Encoder

__all__ = ["MARKS", "STUDENT_TERMS", "Scored", "Student", "mark_loss"]

MARKS = 11
"""0 to 10."""
STUDENT_TERMS = ("r_sem", "r_spa", "r_pi")
"""What it scores. R_RI asks where things are: a detector answers that."""

Scored = SemanticQuery | SpatialQuery | ImageQuery

_SETTINGS, _HEAD, _ENCODER = "student.json", "head.safetensors", "encoder"
_FORMAT = 1
_KINDS = ("prompt", "prose", "object", "image")
_WAVES = 8  # per coordinate of a box, of lengths 2, 1, 1/2, ... of the image's side


class Student(nn.Module):
    """An encoder, and over its states a transformer whose first place is the question.

    R_sem reads prompt and chain without boxes; R_spa prompt and planned objects, each one place of
    its name and box; R_PI prompt and image.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        source: str = "",
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
    ) -> None:
        """`source`: the folder or hub name of an encoder that stays as it is; empty: the encoder is
        trained too."""
        super().__init__()
        self.encoder = encoder.requires_grad_(not source)
        self.source = source
        self.shape = {"width": width, "layers": layers, "heads": heads}
        self.of_text = nn.Linear(encoder.text_width, width)
        self.of_image = nn.Linear(encoder.image_width, width)
        self.of_box = nn.Sequential(
            nn.Linear(8 * _WAVES, width), nn.GELU(), nn.Linear(width, width)
        )
        self.kinds = nn.Embedding(len(_KINDS), width)
        self.asked = nn.Embedding(len(STUDENT_TERMS), width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.reader = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.marks = nn.Linear(width, MARKS)
        # Divides the logits of a term, so that its doubt is what it should be (`calibrate`).
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(len(STUDENT_TERMS)))
        self.facts: dict[str, Any] = {}

    # -- marks -----------------------------------------------------------------------------------

    def forward(self, queries: Sequence[Scored]) -> Tensor:
        """Logits of the marks, [queries, 11]. All queries are of one kind."""
        term = queries[0].term
        parts = [self._texts([query.prompt.text for query in queries], "prompt")]
        if term == "r_pi":
            states = self.encoder.images([query.image for query in queries])  # type: ignore[union-attr]
            there = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
            parts.append((self.of_image(states) + self._kind("image"), there))
        elif term == "r_sem":
            parts.append(self._texts([strip_boxes(query.chain.text) for query in queries], "prose"))  # type: ignore[union-attr]
        else:
            parts.append(self._objects(queries))  # type: ignore[arg-type]
        question = self.asked.weight[STUDENT_TERMS.index(term)].expand(len(queries), 1, -1)
        states = torch.cat([question, *(part for part, _ in parts)], dim=1)
        there = torch.cat([there for _, there in parts], dim=1)
        read = self.reader(states, src_key_padding_mask=F.pad(~there, (1, 0), value=False))
        marks: Tensor = self.marks(read[:, 0])
        return marks

    @torch.no_grad()
    def probabilities(self, queries: Sequence[Scored], batch: int = 64) -> Tensor:
        """Of the marks, float32 [queries, 11]; queries of any kinds mixed."""
        found = torch.zeros(len(queries), MARKS)
        for index, term in enumerate(STUDENT_TERMS):
            rows = [row for row, query in enumerate(queries) if query.term == term]
            for start in range(0, len(rows), batch):
                some = rows[start : start + batch]
                logits = self([queries[row] for row in some]).float() / self.temperature[index]
                found[some] = logits.softmax(dim=-1).cpu()
        return found

    def _texts(self, texts: Sequence[str], kind: str) -> tuple[Tensor, Tensor]:
        """States of texts; equal ones are read once."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        states, there = self.encoder.texts(list(places))
        rows = torch.tensor([places[text] for text in texts], device=states.device)
        return (self.of_text(states) + self._kind(kind))[rows], there[rows]

    def _objects(self, queries: Sequence[SpatialQuery]) -> tuple[Tensor, Tensor]:
        """One state for each planned object: the mean of its name's, with its box."""
        objects = [query.chain.objects for query in queries]
        names = {one.name: 0 for some in objects for one in some} or {"": 0}
        names = {name: place for place, name in enumerate(names)}
        states, there = self.encoder.texts(list(names))
        weights = there[..., None].to(states.dtype)
        means = self.of_text((states * weights).sum(dim=1) / weights.sum(dim=1))
        rows = [
            means[[names[one.name] for one in some]]
            + self.of_box(_waves([one.box for one in some]).to(means))
            for some in objects
        ]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        counts = torch.tensor([len(some) for some in objects], device=padded.device)
        mask = torch.arange(padded.shape[1], device=padded.device) < counts[:, None]
        return padded + self._kind("object"), mask

    def _kind(self, name: str) -> Tensor:
        return self.kinds.weight[_KINDS.index(name)]

    # -- as a training run sees it ---------------------------------------------------------------

    def unfreeze(self) -> Self:
        """Makes a loaded student's weights trainable, but for an encoder that stays as it is."""
        self.requires_grad_(True).encoder.requires_grad_(not self.source)
        return self

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.marks.weight.device

    def trainable(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}

    def merged_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Everything that `save_state` keeps: the head, and the encoder where it is trained."""
        for name, tensor in self.state_dict().items():
            if not (self.source and _of_encoder(name)):
                yield name, tensor

    # -- as a folder -----------------------------------------------------------------------------

    def save_state(
        self, folder: Path, state: dict[str, Tensor], dtype: torch.dtype = torch.float32
    ) -> None:
        """Writes the folder that `load` reads: settings, weights in `dtype`, and the encoder or
        where it comes from."""
        head = {name: one.to(dtype) for name, one in state.items() if not _of_encoder(name)}
        save_file(head, folder / _HEAD)
        if self.source:
            origin: Any = {"model": self.source, "digest": digest_of_files(self.source)}
        else:
            origin = {"model": "", "digest": ""}
            (folder / _ENCODER).mkdir()
            self.encoder.save(folder / _ENCODER)
        about = {"format": _FORMAT, **self.shape, "encoder": origin, **self.facts}
        text = json.dumps(about, ensure_ascii=False, indent=1)
        (folder / _SETTINGS).write_text(text, encoding="utf-8")
        write_digests(folder)

    @classmethod
    def load(cls, folder: Path | str, device: str = "") -> Self:
        """A student that was trained, in evaluation mode.

        Raises BadInput where the folder holds none, or its encoder is not the one that it was
        trained with.
        """
        folder = Path(folder)
        about = read_json(folder / _SETTINGS, "settings of a student")
        if about.get("format") != _FORMAT:
            raise BadInput(f"{folder} holds a student of another version; train it again.")
        with explained(lambda e: BadInput(f"the student in {folder} is damaged ({first_line(e)})")):
            source = str(about["encoder"]["model"])
            if source and digest_of_files(source) != about["encoder"]["digest"]:
                raise BadInput(
                    f"the encoder {source} has other weights than the student in {folder} was "
                    "trained with: give it back the old ones, or train the student again."
                )
            encoder = Encoder.load(source or str(folder / _ENCODER), device)
            shape = {name: int(about[name]) for name in ("width", "layers", "heads")}
            student = cls(encoder, source=source, **shape)
            state = {name: one.float() for name, one in load_file(folder / _HEAD).items()}
            missing = [
                name for name in student.state_dict() if not _of_encoder(name) and name not in state
            ]
            if missing:
                raise BadInput(f"the student in {folder} lacks the weight {missing[0]}.")
            student.load_state_dict(state, strict=False)
        student.facts = {k: v for k, v in about.items() if k not in {"format", "encoder", *shape}}
        return student.to(encoder.device).eval().requires_grad_(False)


def mark_loss(logits: Tensor, scores: Tensor) -> Tensor:
    """Mean cross-entropy to scores in [0, 1], float32 [queries]: a score between two marks is
    shared between them, so that the mean of a right distribution is the score."""
    marks = scores.clamp(0, 1) * (MARKS - 1)
    low = marks.floor().long().clamp(max=MARKS - 2)
    wanted = torch.zeros_like(logits)
    wanted.scatter_(1, low[:, None], (1 - (marks - low))[:, None].to(wanted.dtype))
    wanted.scatter_(1, low[:, None] + 1, (marks - low)[:, None].to(wanted.dtype))
    return -(wanted * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1).mean()


def _of_encoder(name: str) -> bool:
    return name.startswith("encoder.")


def _waves(boxes: Sequence[Box]) -> Tensor:
    """Boxes as sines and cosines of centre and size, float32 [boxes, 64]."""
    numbers = torch.tensor(
        [[(b.x1 + b.x2) / 2, (b.y1 + b.y2) / 2, b.x2 - b.x1, b.y2 - b.y1] for b in boxes],
        dtype=torch.float32,
    ).reshape(-1, 4)
    angles = numbers[..., None] / 1000 * math.pi * 2.0 ** torch.arange(_WAVES)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
