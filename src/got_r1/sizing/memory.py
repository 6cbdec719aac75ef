"""How many bytes a step of training or sampling holds, as formulas over a model's sizes.

What follows from shapes alone is exact; what a kernel or an allocator adds is not here. Tests hold
the formulas to what autograd really saves. Bytes throughout; D is the hidden size, M the MLP's, H
and K the heads and key heads, S the head size, V the vocabulary, I the tokens an image.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import JanusConfig, LlamaConfig

__all__ = [
    "BFLOAT16",
    "FLOAT32",
    "Sequences",
    "Tuning",
    "decoding_bytes",
    "kv_cache_bytes",
    "kv_slots",
    "logits_bytes",
    "prefill_bytes",
    "replay_bytes",
    "sampling_bytes",
]

FLOAT32 = 4
BFLOAT16 = 2


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is trained, and in which numbers: it decides what a forward pass keeps for the backward.

    `adapted` counts the linear layers with an adapter in one decoder layer by name (`q_proj`, ...);
    None means that all weights are trained.
    """

    weights: int  # bytes a number of the weights, and of the residual stream: 4 or 2
    autocast: bool = False  # bfloat16 products over float32 weights
    adapted: Counter[str] | None = None
    rank: int = 0
    dropout: bool = False  # of the adapters
    flash: bool = True  # attention that never stores the probabilities (a GPU's)
    checkpointing: bool = False  # activation checkpointing, a decoder layer at a time

    @property
    def product(self) -> int:
        """Bytes a number of what matrix products read and write."""
        return BFLOAT16 if self.autocast else self.weights

    @property
    def adapter_input(self) -> int:
        """Bytes a number of what adapters read; peft keeps them in float32."""
        return BFLOAT16 if self.autocast else FLOAT32

    @property
    def recasts(self) -> bool:
        """Whether each linear layer keeps a copy of its input in another type of its own."""
        if self.adapted is None:
            return self.autocast and self.weights == FLOAT32
        return self.autocast or self.weights != FLOAT32 or self.dropout


@dataclass(frozen=True, slots=True)
class Sequences:
    """The sequences of one forward pass: B rows of `text` tokens and `image` tokens."""

    rows: int
    text: int  # prompt and chain, <begin_of_image> included
    image: int
    chain: int  # of the text, what a loss is taken of

    @property
    def length(self) -> int:
        """Tokens that a row feeds: the last image token predicts nothing."""
        return self.text + self.image - 1

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.rows * self.length


# -- what a forward pass keeps for the backward pass -----------------------------------------------


def layer_bytes(text: LlamaConfig, tuning: Tuning, length: int) -> int:
    """Kept by one decoder layer, a token, in a row of `length` tokens.

    Full fine-tuning in float32 with fused attention: 4 (6 D + (2 H + 2 K) S + 4 M + H + 2).
    """
    d, m = text.hidden_size, text.intermediate_size
    h, k, s = text.num_attention_heads, text.num_key_value_heads, text.head_dim
    adapted, product = tuning.adapted, tuning.product
    # A norm works in float32 and keeps its input so (in float32 the residual stream itself), its
    # scale, and for the gradient of its weight what it put out before it.
    norms = 2 * (FLOAT32 * (d + 1) + (tuning.weights * d if adapted is None else 0))
    if tuning.flash:
        attention = product * (2 * h + 2 * k) * s + FLOAT32 * h
    else:  # keys and values repeated for each head, and the probabilities
        attention = product * 4 * h * s
        attention += h * length * (FLOAT32 + (BFLOAT16 if product == BFLOAT16 else 0))
    activation = 3 * product * m  # gate, its activation, up
    if adapted is None:
        copies = (3, 2) if tuning.recasts else (1, 1)
        inputs = product * (sum(copies) * d + m)
        return norms + attention + activation + inputs

    def kept_inputs(*names: str) -> int:
        count = sum(adapted[name] for name in names)
        return count if tuning.recasts else min(1, count)

    size = tuning.adapter_input + (1 if tuning.dropout else 0)  # a mask of bools beside it
    wide = kept_inputs("q_proj", "k_proj", "v_proj") + kept_inputs("gate_proj", "up_proj")
    inputs = size * (wide * d + kept_inputs("down_proj") * m)
    if tuning.recasts:  # otherwise the attention's own output is the input
        inputs += size * kept_inputs("o_proj") * h * s
    inner = tuning.adapter_input * tuning.rank * adapted.total()
    return norms + attention + activation + inputs + inner


def weight_copies(text: LlamaConfig, tuning: Tuning) -> int:
    """The bfloat16 copies that autocast makes of one decoder layer's float32 weights, and that stay
    until the backward pass."""
    if not tuning.autocast:
        return 0
    d, m = text.hidden_size, text.intermediate_size
    q, k = text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim
    shapes = {
        "q_proj": (d, q),
        "k_proj": (d, k),
        "v_proj": (d, k),
        "o_proj": (q, d),
        "gate_proj": (d, m),
        "up_proj": (d, m),
        "down_proj": (m, d),
    }
    numbers = 0
    if tuning.weights == FLOAT32:
        numbers += sum(into * out for into, out in shapes.values())
    if tuning.adapted is not None:
        numbers += sum(tuning.rank * sum(shapes[name]) for name in tuning.adapted.elements())
    return BFLOAT16 * numbers


def replay_bytes(
    config: JanusConfig, tuning: Tuning, sequences: Sequences, *, guided: bool
) -> tuple[int, int]:
    """Kept between forward and backward pass of a replay by the decoder layers, and by the final
    norm, the image embeddings and the heads' inputs. Logits are `logits_bytes`.

    A guided replay runs over the unconditional sequences too. With activation checkpointing a layer
    keeps its input alone, and one layer at a time is made again.
    """
    text, full = config.text_config, tuning.adapted is None
    d, layers, tokens = text.hidden_size, text.num_hidden_layers, sequences.tokens
    passes = 2 if guided else 1
    one = layer_bytes(text, tuning, sequences.length) * tokens + weight_copies(text, tuning)
    if tuning.checkpointing:
        kept = passes * layers * tuning.weights * d * tokens + one
    else:
        # The copies of weights that have no gradient are not shared by the passes.
        shared = (passes - 1) * weight_copies(text, tuning) if full else 0
        kept = layers * (passes * one - shared)
    norm = (FLOAT32 * (d + 1) + (tuning.weights * d if full else 0)) * tokens
    # Gathering image states from all states keeps the latter; so with all embeddings, if trained.
    norm += tuning.weights * d * (2 if full else 1) * tokens
    image, inner = sequences.rows * sequences.image, config.vq_config.projection_dim
    heads = tuning.weights * d * image
    if full:  # two activations of the aligner; of the head, its input and two activations
        heads += tuning.product * inner * 2 * image
    chain = tuning.weights * d * sequences.rows * sequences.chain
    return kept, passes * (norm + heads) + chain


def logits_bytes(
    config: JanusConfig, tuning: Tuning, sequences: Sequences, *, guided: bool, at_once: int
) -> tuple[int, int]:
    """Log-probabilities of whole vocabularies that are kept for the backward pass (where all fit
    into `at_once` numbers; chunks are made again), and what passes while one chunk is selected.

    At its height a selection holds its logits (guided: both, their difference and the sum), their
    log-probabilities and the entropy's terms: 3 numbers a logit, 5 guided.
    """
    text, vq, kept, highest = config.text_config, config.vq_config, 0, 0
    if tuning.autocast and tuning.weights == FLOAT32:  # copies of the heads' weights
        d, inner = text.hidden_size, vq.projection_dim
        kept += BFLOAT16 * (d * (text.vocab_size + inner) + inner * vq.num_embeddings)
    for count, classes, states in (
        (sequences.rows * sequences.chain, text.vocab_size, 1),
        (sequences.rows * sequences.image, vq.num_embeddings, 2 if guided else 1),
    ):
        size = max(1, at_once // (classes * states))
        chunk = min(count, size)
        highest = max(highest, FLOAT32 * (5 if states == 2 else 3) * chunk * classes)
        if count <= size:
            kept += FLOAT32 * count * classes
    return kept, highest


# -- sampling --------------------------------------------------------------------------------------


def kv_slots(tokens: int, multiple: int) -> int:
    """Slots for `tokens`, rounded up as the sampler rounds."""
    return -(-tokens // multiple) * multiple


def kv_cache_bytes(text: LlamaConfig, size: int, slots: int) -> int:
    """Keys and values of `slots` places in all (rows x places) at `size` bytes a number."""
    return 2 * size * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * slots


def prefill_bytes(text: LlamaConfig, size: int, length: int, rows: int, *, flash: bool) -> int:
    """Reading `rows` texts of `length` tokens at once: the library's own keys and values, and one
    layer at its height: four states and the MLP's three, or attention's scores three times."""
    scores = 0 if flash else 3 * FLOAT32 * text.num_attention_heads * length
    layer = 4 * size * text.hidden_size + max(3 * size * text.intermediate_size, scores)
    return kv_cache_bytes(text, size, rows * length) + layer * rows * length


def sampling_bytes(rows: int, classes: int, size: int, *, guided: bool = False) -> int:
    """One token's distributions, from logits to the float64 sums that a token is drawn by."""
    return rows * classes * ((2 if guided else 1) * (size + FLOAT32) + FLOAT32 + 2 * 8)


def decoding_bytes(config: JanusConfig, size: int, images: int) -> int:
    """The VQ's decoder at its height: three feature maps of its widest stage (a residual block's
    input, its normalised copy, and the swish of that)."""
    vq = config.vq_config
    channels = [vq.base_channels * factor for factor in vq.channel_multiplier]
    pixels = (vq.num_patches * 2 ** (len(channels) - 1)) ** 2
    widest = 0
    for level, own in enumerate(channels):
        coarser = channels[min(level + 1, len(channels) - 1)]
        widest = max(widest, max(own, coarser) * pixels // 4**level)
    return 3 * size * widest * images
