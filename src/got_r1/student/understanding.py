"""A Janus model as the student's encoder: what the policy itself sees and reads with.

Images pass through the understanding tower, a SigLIP's. Janus has no text tower beside it, since
its language model reads, which is far too large for a student; so a text is the language model's
word embeddings, normalised, each with its position. Nothing else of the model is loaded. (Our
choice.)
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import JanusConfig, JanusVisionModel

from got_r1.checkpoints.completeness import check_complete
from got_r1.checkpoints.shards import Source
from got_r1.errors import BadInput, explained, first_line

__all__ = ["Understanding"]

_TOWER, _WORDS = "model.vision_model.", "model.language_model.embed_tokens.weight"
_LONGEST_WAVE = 10_000.0  # of positions, as in Vaswani et al. 2017


class Understanding(nn.Module):
    """Both towers, in the form of transformers' dual encoders, in float32 and evaluation mode; the
    word embeddings keep their dtype."""

    def __init__(self, folder: Path) -> None:
        """`folder`: a Janus in transformers' format. Raises BadInput where it cannot be read or
        lacks a weight."""
        super().__init__()
        with explained(lambda error: BadInput(f"{folder} cannot be loaded: {first_line(error)}")):
            self.config = JanusConfig.from_pretrained(folder, local_files_only=True)
            self.vision_model = JanusVisionModel(self.config.vision_config)
            source = Source(folder)
            tower = {_TOWER + name: name for name in self.vision_model.state_dict()}
            check_complete(folder, {*tower, _WORDS} - source.tensors.keys())
            read = {name: source.read(name) for name in source.ordered({*tower, _WORDS})}
            source.close()
            self.text_model = WordEmbeddings(read.pop(_WORDS))
            state = {tower[name]: tensor.float() for name, tensor in read.items()}
            self.vision_model.load_state_dict(state)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the tower is."""
        device: torch.device = self.vision_model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the tower's weights."""
        dtype: torch.dtype = self.vision_model.dtype
        return dtype


class WordEmbeddings(nn.Module):
    """States of tokens that know their words and places, and nothing of each other."""

    def __init__(self, words: Tensor) -> None:
        """`words`: [vocabulary, width]."""
        super().__init__()
        self.words = nn.Parameter(words, requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """`last_hidden_state`, float32 [texts, length, width], of ids [texts, length]."""
        states = self.words[input_ids].float()
        length, width = states.shape[1:]
        places = torch.arange(length, device=states.device, dtype=torch.float32)
        waves = torch.arange(0, width, 2, device=states.device) / width
        angles = places[:, None] * _LONGEST_WAVE**-waves
        positions = torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]
        return SimpleNamespace(last_hidden_state=F.layer_norm(states, (width,)) + positions)
