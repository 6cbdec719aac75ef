"""A run's model, card and report to the hub, in one commit."""

from __future__ import annotations

from pathlib import Path

from transformers import JanusConfig

from got_r1.checkpoints.convert_checks import (
    check_tensors,
    model_shapes,
    no_janus,
)
from got_r1.checkpoints.folders import trained_folder
from got_r1.checkpoints.hub import is_refusal
from got_r1.checkpoints.model_card import CardFacts, model_card
from got_r1.checkpoints.shards import Source
from got_r1.errors import BadInput, RunFailed, first_line
from got_r1.files.digests import DIGESTS, check_digests, digests_text
from got_r1.files.inputs import read_json
from got_r1.files.redaction import remember

__all__ = ["check_trained", "upload"]


def check_trained(run: Path) -> Path:
    """The folder of the model that a run has trained.

    Raises BadInput where there is no such run, it is not finished, or its model is not whole or
    damaged.
    """
    model = trained_folder(run)
    with no_janus(model):
        shapes = model_shapes(JanusConfig.from_pretrained(model, local_files_only=True))
    check_tensors(model, Source(model).shapes, shapes)
    check_digests(model)
    return model


def upload(run: Path, model: Path, report: Path, repository: str, *, private: bool) -> str:
    """Uploads the files of `model`, their card as README.md, and the report; returns the address of
    the commit. The repository is made where there is none.

    Raises:
        BadInput: it is no name of a repository, or one that this user may not write to.
        RunFailed: the hub or the connection failed; the repository is as it was.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
    )

    remember(get_token())
    own = model / "generation_config.json"
    generation = read_json(own, "generation settings") if own.is_file() else {}
    card = model_card(
        repository.split("/")[-1],
        model,
        CardFacts(run=run),
        guidance=generation.get("guidance_scale"),
        temperature=generation.get("temperature"),
        repository=repository,
    )
    files = {path.name: path for path in sorted(model.iterdir()) if path.is_file()}
    files["report.html"] = report
    # Also where the folder has none: those of an earlier upload would stay in the repository.
    digests = files.pop(DIGESTS).read_text("utf-8") if DIGESTS in files else digests_text(model)
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository,
            [
                CommitOperationAdd("README.md", card.encode()),
                CommitOperationAdd(DIGESTS, digests.encode()),
                *(CommitOperationAdd(name, path) for name, path in files.items()),
            ],
            commit_message=f"got-r1: {run.name}",
        )
    except OfflineModeIsEnabled:
        raise BadInput("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it.") from None
    except HfHubHTTPError as error:
        if is_refusal(error):
            raise BadInput(
                f"the hub does not let you write to {repository}: log in (`hf auth login`) with a "
                "token that may."
            ) from None
        raise RunFailed(f"the hub refused the upload ({first_line(error)}).") from None
    except HFValidationError as error:
        raise BadInput(f"{repository!r} cannot name a repository ({first_line(error)}).") from None
    except (HTTPError, RuntimeError, ValueError) as error:  # the last two: of parts of large files
        raise RunFailed(f"the upload failed ({first_line(error)}); try again.") from None
    return str(commit.commit_url)
