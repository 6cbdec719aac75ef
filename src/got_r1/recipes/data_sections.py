"""The sections of a recipe that say what is trained on."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from got_r1.files.paths import PathText
from got_r1.recipes.section import MANY, Section, one_or_many

__all__ = ["DataSection", "HeldOutFile", "PromptSource"]


class PromptSource(Section):
    """One source of RL prompts, the Nth of the list; plain text stands for its path."""

    shorthand: ClassVar[str | None] = "path"

    path: PathText = Field(
        ...,
        min_length=1,
        description="UTF-8 text (a prompt a line), .jsonl, .json, .csv, .tsv or .parquet, or a "
        "pattern such as data/*_train.txt; 'icons' is the icon world's train list, 'icons-layouts' "
        "its list of layouts that SFT never shows",
    )
    weight: float = Field(
        1.0, gt=0, description="share of the drawn prompts, relative to the other sources"
    )
    column: str = Field("prompt", min_length=1, description="where a record has its prompt")
    paraphrases: list[str] = Field(
        [],
        description="columns with other wordings of the prompt, for rl.paraphrases: each holds a "
        "text, a list of texts, or one as JSON ('icons' has its own wordings)",
    )

    @field_validator("paraphrases", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return one_or_many(value)


class HeldOutFile(Section):
    """Prompts that are never trained on, the Nth of the list; plain text stands for its path."""

    shorthand: ClassVar[str | None] = "path"

    path: PathText = Field(
        ..., min_length=1, description="as of a source of prompts, or a pattern: data/*_val.txt"
    )
    column: str = Field("prompt", min_length=1, description="where a record has its prompt")


class DataSection(Section):
    """Prompts and, for SFT, (prompt, chain, image) triples."""

    prompts: list[PromptSource] = Field(
        [],
        description="RL: sources of prompts, or one file as text; empty: the icon world's list",
    )
    held_out: list[HeldOutFile] = Field(
        [], description="files of prompts that are never trained on, or one file as text"
    )
    size: int = Field(80000, ge=1, le=MANY, description="number of SFT triples of the icon world")
    relation_noise: float = Field(
        0.25, ge=0, le=1, description="share of SFT captions with a wrong relation"
    )
    attribute_noise: float = Field(
        0.05, ge=0, le=1, description="share with swapped or wrong attributes"
    )
    count_noise: float = Field(
        0.25, ge=0, le=1, description="share of numeracy captions with a wrong count"
    )
    wordings: Literal["shipped", "divided"] = Field(
        "shipped",
        description="how the icon world's SFT captions and RL prompts are worded: as the shipped "
        "checkpoint learned them, or (for one made anew) in more forms, some of which are held out",
    )
    depth: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the icon world's prompts and scenes in which one icon is in front of "
        "another (category 3d_spatial; needs rollout.marks)",
    )
    source: PathText = Field(
        "",
        description="SFT triples: a .jsonl, .json or .parquet file, a pattern or a folder of them, "
        "or a folder that `datasets` saved; empty: the icon world",
    )
    split: str = Field("train", description="which split of a saved DatasetDict")
    prompt_column: str = Field("prompt", min_length=1, description="where the prompt stands")
    chain_column: str = Field("got", min_length=1, description="where the chain (GoT text) stands")
    image_column: str = Field(
        "image", min_length=1, description="where the image stands: a path, bytes, or both"
    )
    image_root: PathText = Field(
        "",
        description="folder that image paths start from and stay in (/ for absolute paths); empty: "
        "the folder of the source",
    )
    bad_chains: Literal["skip", "keep"] = Field(
        "skip",
        description="triples whose chain has no boxes, coordinates outside 0 to 999 or another "
        "fault (a malformed chain earns no reward in RL)",
    )
    max_text_tokens: int = Field(
        1024,
        ge=8,
        le=MANY,
        description="triples with a longer prompt and chain together are skipped",
    )
    encode_batch: int = Field(16, ge=1, le=65536, description="images a call of the VQ encoder")
    shard_records: int = Field(
        1024,
        ge=1,
        le=MANY,
        description="records a token shard; a killed `prepare` repeats at most one",
    )
    shards: PathText = Field(
        "", description="SFT: folder that `got-r1 prepare` wrote, in place of a source"
    )

    @field_validator("prompts", "held_out", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return one_or_many(value)
