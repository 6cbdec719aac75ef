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

from got_r1.icons.data import triples
from got_r1.icons.looks import look_map, relook
from got_r1.icons.measure import detector_accuracy
from got_r1.icons.render import render
from got_r1.icons.world import CELL
from got_r1.policy.janus import Policy, to_pixels
from got_r1.policy.tiny import build_policy
from got_r1.recipes.sections import Recipe
from got_r1.training.codebook import (
    CODES,
    FORMS,
    GROUND,
    factored,
    form_part,
    look_cosines,
    move_forms,
    unused_forms,
)
from got_r1.training.optimizer import make_optimizer, update
from got_r1.training.precision import in_bfloat16
from got_r1.training.run import Run, seed_step

__all__ = ["train"]

WEIGHTS = {
    "reconstruction": 1.0,
    "codebook": 1.0,
    "commitment": 0.25,  # as in the VQ-VAE paper
    "ground": 0.01,
    "look": 0.1,
    "form": 2.0,  # with 0.5 a form that is drawn in two looks is the same code half of the time
}
DRAWN_WEIGHT = 3.0  # weight of a drawn pixel beside the ground's 1
TEMPERATURE = 0.1  # of softmaxes over cosines
CORPUS = 5000  # triples whose words make the tokenizer
SCENES = 10_000  # scenes to draw batches from, each in two choices of looks
RESTART_EVERY = 50  # steps between restarts of unused forms
PROBE = 512  # images that decide which forms are unused
MEASURED = 2000  # fresh images that the detector reads in the end


def train(recipe: Recipe, resume: bool = False, quiet: bool = False) -> dict[str, object]:
    """Trains VQ and tokenizer by `recipe.vq`; returns a summary with the folder of the model."""
    section = recipe.vq
    policy = blank_policy(recipe.run.seed, recipe.data.depth)
    policy.model.requires_grad_(False)
    vq = policy.model.model.vqmodel.requires_grad_(True)
    optimizer = make_optimizer(vq.parameters(), section)
    low_precision = in_bfloat16(section.autocast, "float32", "cpu")
    images, looks = scene_pairs(SCENES, recipe.run.seed, recipe.data.depth)
    probe = to_pixels(images[: PROBE // 2].reshape(-1, *images.shape[2:]))

    with Run.open(
        recipe, section, policy, optimizer, title="VQ", resume=resume, quiet=quiet
    ) as run:
        if run.fresh:
            initialise_codebook(policy, probe)
        for step in run.steps():
            seed = seed_step(recipe.run.seed, step)
            rows = np.random.default_rng(seed).integers(len(images), size=section.batch // 2)
            pixels = to_pixels(images[rows].reshape(-1, *images.shape[2:]))
            with policy.training_mode():
                with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                    states = encode(policy, pixels)
                    losses = all_losses(policy, pixels, states, looks[rows].flatten(0, 1))
                loss = torch.stack([WEIGHTS[name] * part for name, part in losses.items()]).sum()
                loss.backward()
            metrics = update(optimizer, section, step, loss.item())
            if step % RESTART_EVERY == 0:
                unused = unused_forms(nearest(encode(policy, probe), codebook_of(policy)))
                metrics["forms_used"] = 1 - float(unused.float().mean())
                if step < 0.7 * section.steps:  # the rest is for polishing
                    move_forms(vq.quantize.embedding.weight, unused, states[~bare_ground(pixels)])
            metrics["loss"] = loss.item()
            run.log(step, metrics | {f"loss/{name}": p.item() for name, p in losses.items()})
            run.watch(step, metrics)
        # Unit codes make the library's own encoder right (it leaves the normalisation out).
        with torch.no_grad():
            vq.quantize.embedding.weight.copy_(codebook_of(policy))
            policy.model.model.generation_embeddings.weight.copy_(codebook_of(policy))
        vq.requires_grad_(False)
        policy.carry_sampling(recipe.rollout)
        folder = run.finish()
        read = detector_readings(policy, MEASURED, recipe.run.seed + 1)
        run.records.save_eval("detector", read)
        return run.summary(model=str(folder), detector=read)


def scene_pairs(count: int, seed: int, depth: float = 0.0) -> tuple[NDArray[np.uint8], Tensor]:
    """Scenes, each drawn twice in different looks: uint8 [count, 2, height, width, 3], and the look
    of every cell, int64 [count, 2, h, w]."""
    made = enumerate(triples(count, seed, depth=depth))
    scenes = [(t.scene, relook(t.scene, f"{seed} {i}")) for i, t in made]
    images = np.array([[render(scene) for scene in pair] for pair in scenes])
    looks = np.array([[look_map(scene) for scene in pair] for pair in scenes])
    return images, torch.from_numpy(looks)


def blank_policy(seed: int, depth: float = 0.0) -> Policy:
    """The embedded configuration with random weights, and a tokenizer of the world's words."""
    corpus = triples(CORPUS, seed, depth=depth)
    texts = (text for triple in corpus for text in (triple.prompt.text, triple.chain))
    return build_policy(texts, seed=seed, codebook_size=CODES)


def reconstruction_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 and L2, the drawn pixels weighted: three quarters of an image are its white ground."""
    weight = 1 + DRAWN_WEIGHT * (pixels.amin(dim=1, keepdim=True) < 0.9)
    error = (decoded - pixels) * weight.sqrt()
    return error.abs().mean() + error.square().mean()


def all_losses(policy: Policy, pixels: Tensor, states: Tensor, looks: Tensor) -> dict[str, Tensor]:
    """The losses of a batch, by name: pixels [2n, 3, H, W], two drawings of a scene behind each
    other, their unit states [2n, h, w, D], and the looks of their cells, int64 [2n, h, w].

    Reconstruction, codebook and commitment are a VQ-VAE's. The others put every cell in its place
    of the table of codes (`codebook`):

    - ground: cross-entropy of choosing the code `GROUND` for bare ground. Left to themselves its
      cells, two thirds of all, spread over hundreds of codes by what stands elsewhere in the image:
      noise that no pixel shows, but that the language model would have to learn and to sample.
    - look: cross-entropy of choosing the look of the object that covers a cell.
    - form: squared distance of a cell's form in the two drawings.
    """
    codebook, drawn = codebook_of(policy), ~bare_ground(pixels)
    codes = codebook[nearest(states, codebook).masked_fill(~drawn, GROUND)]
    decoded = decode(policy, states + (codes - states).detach())  # straight-through gradients
    to_ground = states[~drawn] @ codebook.T / TEMPERATURE
    to_looks = look_cosines(states[drawn], codebook) / TEMPERATURE
    forms = form_part(states)
    between = (forms[0::2] - forms[1::2]).square().sum(-1)
    return {
        "reconstruction": reconstruction_loss(decoded.float(), pixels),
        "codebook": F.mse_loss(codes, states.detach()),
        "commitment": F.mse_loss(states, codes.detach()),
        "ground": F.cross_entropy(to_ground, torch.full((len(to_ground),), GROUND)),
        "look": F.cross_entropy(to_looks, looks[drawn]),
        "form": between[drawn[0::2]].mean(),
    }


def codebook_of(policy: Policy) -> Tensor:
    """The unit codes, float32 [codes, D]."""
    return factored(policy.model.model.vqmodel.quantize.embedding.weight)


def encode(policy: Policy, pixels: Tensor) -> Tensor:
    """Unit encoder states [B, h, w, D] before quantisation."""
    vq = policy.model.model.vqmodel
    states = vq.quant_conv(vq.encoder(pixels)).float()
    return F.normalize(states.permute(0, 2, 3, 1), dim=-1)


def decode(policy: Policy, codes: Tensor) -> Tensor:
    """Pixels [B, 3, H, W] of unit codes [B, h, w, D]."""
    vq = policy.model.model.vqmodel
    pixels: Tensor = vq.decoder(vq.post_quant_conv(codes.permute(0, 3, 1, 2)))
    return pixels


def bare_ground(pixels: Tensor) -> Tensor:
    """bool [B, h, w]: the cells (tokens) of images [B, 3, H, W] in which nothing is drawn."""
    return -F.max_pool2d(-pixels.amin(dim=1), CELL) > 0.999


def nearest(states: Tensor, codebook: Tensor) -> Tensor:
    """int64 [...]: the codes nearest to unit states [..., D] among unit codes [codes, D]."""
    return (states.detach() @ codebook.detach().T).argmax(-1)


@torch.no_grad()
def initialise_codebook(policy: Policy, pixels: Tensor) -> None:
    """Starts the ground and every form on encoder states, so that none is dead from the first
    step."""
    states, bare = encode(policy, pixels), bare_ground(pixels)
    weight = policy.model.model.vqmodel.quantize.embedding.weight
    weight[GROUND] = states[bare].mean(dim=0)
    move_forms(weight, torch.ones(FORMS, dtype=torch.bool), states[~bare])


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
