"""Models by their name on the hub: `OWNER/NAME`, or `OWNER/NAME@REVISION`.

Through `huggingface_hub`, so that its cache and its settings hold (`HF_HOME`, `HF_HUB_OFFLINE`,
`HF_ENDPOINT`, `HF_TOKEN`). Of a repository that has its weights in several formats only those that
are read are fetched.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from got_r1.checkpoints.weight_files import weight_sets
from got_r1.errors import BadInput, RunFailed, first_line
from got_r1.files.redaction import remember

__all__ = [
    "is_hub_name",
    "is_refusal",
    "local_folder",
    "named_commit",
    "split_hub_name",
]

HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
SETTINGS = ["*.json", "*.txt", "*.model", "*.jinja"]  # all that is read but the weights


def is_hub_name(model: Path | str) -> bool:
    """Whether a model is named as the hub does, and is nothing that lies here."""
    return HUB_NAME.fullmatch(str(model)) is not None and not Path(model).exists()


def split_hub_name(name: str) -> tuple[str, str | None]:
    """`OWNER/NAME` and the revision (a branch, a tag or a commit), None where none is named."""
    found = HUB_NAME.fullmatch(name)
    if found is None:
        raise BadInput(f"{name!r} is no name on the hub; give OWNER/NAME or OWNER/NAME@REVISION.")
    return found[1], found[2]


def local_folder(model: Path | str, *, weights: bool = True) -> Path:
    """The folder of a model: its own, or the hub's cache, into which it is fetched first.

    Where something of that name lies here, the name stands for it, not for the hub's. Within a
    process a name stands for one commit. A path that leads nowhere is returned as it is. Without
    `weights` only the small files are fetched.

    Raises:
        BadInput: the hub has no such model or revision, wants a login, or cannot be reached while
            the cache lacks it.
        RunFailed: the hub or the connection failed.
    """
    return fetch(str(model), weights) if is_hub_name(model) else Path(model)


def named_commit(model: str) -> str:
    """A hub's name with the commit that it stands for, which tells its weights from others; what is
    no such name as it is. Raises as `local_folder`."""
    if not is_hub_name(model):
        return model
    return f"{split_hub_name(model)[0]}@{local_folder(model).name}"


@cache
def fetch(name: str, weights: bool) -> Path:
    """`local_folder` of a hub's name."""
    from huggingface_hub import HfApi, get_token, snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # httpx's, of whatever version the hub's library uses
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    remember(get_token())
    repository, revision = split_hub_name(name)
    try:
        try:
            ask_first(repository, revision)
            folder = Path(
                snapshot_download(
                    repository, revision=revision, allow_patterns=SETTINGS, ignore_patterns=["*/*"]
                )
            )
        except LocalEntryNotFoundError:  # out of reach; somebody may have fetched what is needed
            return Path(
                snapshot_download(
                    repository,
                    revision=revision,
                    allow_patterns=["config.json"],
                    local_files_only=True,
                )
            )
        if not weights:
            return folder
        commit = folder.name
        try:
            names = HfApi().list_repo_files(repository, revision=commit)
        except (HTTPError, OfflineModeIsEnabled):
            return folder  # as the cache has it; whether all of it is there, loading will tell
        missing = set()
        for one in weight_sets(folder, names):
            lacking = [file for file in one.files if file not in names]
            if one.files and not lacking:
                snapshot_download(repository, revision=commit, allow_patterns=list(one.files))
                return folder
            missing |= set(lacking)
    except RevisionNotFoundError:
        raise BadInput(f"the hub's {repository} has no revision {revision!r}; check @.") from None
    except RepositoryNotFoundError:
        raise not_shown(repository) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        at = f" --revision {revision}" if revision else ""
        raise BadInput(
            f"{name} is no folder here, not wholly in the hub's cache, and cannot be fetched from "
            f"here; download it with `hf download {repository}{at} --local-dir "
            f"models/{repository.split('/')[1]}` and give that folder."
        ) from None
    except HFValidationError as error:
        raise BadInput(f"{name!r} is no name on the hub ({first_line(error)}).") from None
    except (HfHubHTTPError, HTTPError) as error:
        if is_refusal(error):
            raise not_shown(repository) from None
        raise RunFailed(
            f"the hub could not send {name} ({first_line(error)}): try again; what has arrived is "
            "kept."
        ) from None
    lacks = f" (of its shards it lacks {', '.join(sorted(missing))})" if missing else ""
    raise BadInput(f"the hub's {name} has no weights that can be read{lacks}: it is no model.")


def ask_first(repository: str, revision: str | None) -> None:
    """One question to the hub that must be answered in `HF_HUB_ETAG_TIMEOUT` seconds (10): its
    library's own requests wait for ever for a connection or an answer that does not come.

    Raises LocalEntryNotFoundError where none comes. What the answer says is the library's matter.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        HfApi().model_info(
            repository, revision=revision, timeout=float(constants.HF_HUB_ETAG_TIMEOUT)
        )
    except (HfHubHTTPError, OfflineModeIsEnabled):
        return
    except HTTPError as error:
        raise LocalEntryNotFoundError(first_line(error)) from None


def not_shown(repository: str) -> BadInput:
    """The error for what the hub does not have, or does not show to this user."""
    return BadInput(
        f"{repository} is neither a folder here nor a model on the hub that you may read: check "
        "the name, and log in (`hf auth login`) where it is gated or private."
    )


def is_refusal(error: Exception) -> bool:
    """Whether the hub answered that this user may not do what was asked."""
    return getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
