"""Training of the image tokenizer of the embedded world.

Makes the whole tiny policy (random language model, trained tokenizer, trained VQ) from nothing:
the folder that `train sft` starts from. Full-size models bring their own VQ and never come here.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from got_r1.config import Recipe
from got_r1.icons.data import triples
from got_r1.icons.measure import detector_accuracy
from got_r1.icons.world import CELL
from got_r1.policy.janus import Policy, to_pixels
from got_r1.policy.tiny import build_policy
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.run import Run, seed_step

__all__ = ["train"]

COMMITMENT = 0.25  # weight of the commitment loss, as in the VQ-VAE paper
DRAWN_WEIGHT = 3.0  # weight of a drawn pixel beside the ground's 1
GROUND = 0  # the code of every cell of bare ground
GROUND_WEIGHT = 0.01  # weight of the loss that keeps bare ground on its code
GROUND_TEMPERATURE = 0.1  # of its softmax over cosines
IMAGES = 20_000  # renderings to draw batches from
RESTART_EVERY = 50  # steps between restarts of unused codes
PROBE = 512  # images that decide which codes are unused


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains VQ and tokenizer by `recipe.vq`; returns a summary with the folder of the model."""
    section = recipe.vq
    policy = blank_policy(recipe.run.seed)
    policy.model.requires_grad_(False)
    vq = policy.model.model.vqmodel.requires_grad_(True).train()
    optimizer = make_optimizer(vq.parameters(), section)
    images = np.stack([t.image for t in triples(IMAGES, recipe.run.seed)])

    with Run.open(
        recipe, section, policy, optimizer, title="VQ", resume=resume, quiet=quiet
    ) as run:
        if run.fresh:
            initialise_codebook(policy, images[:PROBE])
        for step in run.steps():
            seed = seed_step(recipe.run.seed, step)
            rows = np.random.default_rng(seed).integers(len(images), size=section.batch)
            pixels = to_pixels(images[rows])
            with torch.autocast("cpu", torch.bfloat16, enabled=section.autocast):
                decoded, states, codes = quantised(policy, pixels)
            reconstruction = reconstruction_loss(decoded.float(), pixels)
            codebook = F.mse_loss(codes, states.detach())
            commitment = F.mse_loss(states, codes.detach())
            ground = ground_loss(policy, states, pixels)
            loss = reconstruction + codebook + COMMITMENT * commitment + GROUND_WEIGHT * ground
            loss.backward()
            metrics = update(optimizer, section, step)
            if step % RESTART_EVERY == 0:
                dead = unused_codes(policy, images[:PROBE])
                metrics["codes_used"] = 1 - float(dead.float().mean())
                if step < 0.7 * section.steps:  # the rest is for polishing
                    restart_codes(policy, states, pixels, dead)
            metrics["loss"] = loss.item()
            run.log(step, metrics | {"loss/reconstruction": reconstruction.item()})
        # Unit codes make the library's own encoder right (it leaves the normalisation out).
        with torch.no_grad():
            vq.quantize.embedding.weight.copy_(F.normalize(vq.quantize.embedding.weight, dim=-1))
        vq.eval().requires_grad_(False)
        folder = run.finish()
        read = detector_readings(policy, 2000, recipe.run.seed + 1)
        run.records.save_eval("detector", read)
        return run.summary(model=str(folder), detector=read)


def blank_policy(seed: int) -> Policy:
    """The embedded configuration with random weights, and a tokenizer of the world's words."""
    corpus = triples(5000, seed)
    texts = (text for triple in corpus for text in (triple.prompt.text, triple.chain))
    return build_policy(texts, seed=seed)


def reconstruction_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 and L2, the drawn pixels weighted: three quarters of an image are its white ground."""
    weight = 1 + DRAWN_WEIGHT * (pixels.amin(dim=1, keepdim=True) < 0.9)
    error = (decoded - pixels) * weight.sqrt()
    return error.abs().mean() + error.square().mean()


def ground_loss(policy: Policy, states: Tensor, pixels: Tensor) -> Tensor:
    """Cross-entropy of choosing the code `GROUND` for bare ground, codes by their cosines.

    Left to themselves its cells, two thirds of all, spread over hundreds of codes by what stands
    elsewhere in the image: noise that no pixel shows, but that the language model would have to
    learn and to sample.
    """
    codebook = F.normalize(policy.model.model.vqmodel.quantize.embedding.weight, dim=-1)
    cosines = states[bare_ground(pixels)] @ codebook.T
    target = torch.full((len(cosines),), GROUND)
    return F.cross_entropy(cosines / GROUND_TEMPERATURE, target)


def encode(policy: Policy, pixels: Tensor) -> Tensor:
    """Unit encoder states [B, h, w, D] before quantisation."""
    vq = policy.model.model.vqmodel
    states = vq.quant_conv(vq.encoder(pixels)).float()
    return F.normalize(states.permute(0, 2, 3, 1), dim=-1)


def quantised(policy: Policy, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A round trip with straight-through gradients: pixels, states and their codes.

    States and codes live on the unit sphere, as the official VQ has it. Bare ground takes the code
    `GROUND`, whichever is nearest.
    """
    vq = policy.model.model.vqmodel
    states = encode(policy, pixels)
    codebook = F.normalize(vq.quantize.embedding.weight, dim=-1)
    chosen = nearest(states, codebook).masked_fill(bare_ground(pixels), GROUND)
    codes = codebook[chosen]
    passed = states + (codes - states).detach()
    decoded = vq.decoder(vq.post_quant_conv(passed.permute(0, 3, 1, 2)))
    return decoded, states, codes


def bare_ground(pixels: Tensor) -> Tensor:
    """bool [B, h, w]: the cells (tokens) of images [B, 3, H, W] in which nothing is drawn."""
    return -F.max_pool2d(-pixels.amin(dim=1), CELL) > 0.999


def nearest(states: Tensor, codebook: Tensor) -> Tensor:
    """int64 [...]: the codes nearest to unit states [..., D] among unit codes [codes, D]."""
    return (states.detach() @ codebook.detach().T).argmax(-1)


@torch.no_grad()
def unused_codes(policy: Policy, images: NDArray[np.uint8]) -> Tensor:
    """bool [codes]: the codes that no token of `images` takes."""
    weight = policy.model.model.vqmodel.quantize.embedding.weight
    used = nearest(encode(policy, to_pixels(images)), F.normalize(weight, dim=-1))
    unused = torch.ones(len(weight), dtype=torch.bool)
    unused[used.unique()] = False
    return unused


@torch.no_grad()
def restart_codes(policy: Policy, states: Tensor, pixels: Tensor, dead: Tensor) -> None:
    """Moves the codes marked in `dead` (bool [codes]) onto drawn cells' states [B, h, w, D]."""
    dead = dead.clone()
    dead[GROUND] = False
    drawn = states[~bare_ground(pixels)]
    chosen = drawn[torch.randperm(len(drawn))[: int(dead.sum())]]
    weight = policy.model.model.vqmodel.quantize.embedding.weight
    weight[dead.nonzero().squeeze(1)[: len(chosen)]] = chosen


@torch.no_grad()
def initialise_codebook(policy: Policy, images: NDArray[np.uint8]) -> None:
    """Starts every code on an encoder state, so that none is dead from the first step."""
    pixels = to_pixels(images)
    states = encode(policy, pixels)
    weight = policy.model.model.vqmodel.quantize.embedding.weight
    weight[GROUND] = F.normalize(states[bare_ground(pixels)].mean(dim=0), dim=-1)
    restart_codes(policy, states, pixels, torch.ones(len(weight), dtype=torch.bool))


def detector_readings(policy: Policy, count: int, seed: int) -> dict[str, dict[str, float]]:
    """How well the detector reads `count` fresh renderings, as drawn and after encoding and
    decoding them."""
    fresh = list(triples(count, seed))
    scenes = [t.scene for t in fresh]
    drawn = np.stack([t.image for t in fresh])
    decoded = [
        policy.decode_images(policy.encode_images(drawn[i : i + 256])) for i in range(0, count, 256)
    ]
    return {
        "rendered": asdict(detector_accuracy(drawn, scenes)),
        "round_trip": asdict(detector_accuracy(np.concatenate(decoded), scenes)),
    }
