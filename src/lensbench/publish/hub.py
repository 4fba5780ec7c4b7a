"""A published folder's way to the Hub: a dataset repository whose tag is the dataset version.

A tag never loses or changes a row. What cannot be done is one line, and the folder stays for another try.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lensbench.errors import LensbenchError
from lensbench.publish.folder import NOTES, parse_notes, read_notes
from lensbench.sources import is_offline

KIND = "dataset"
OURS = ("README.md", ".gitattributes")
"""What a repository may hold that was made on the Hub's pages and never pushed to."""


class HubError(LensbenchError):
    """The Hub cannot be reached, does not let us, or holds something else.

    What a server says may repeat what it was told: the token never stands in the text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(_without_token(text))


def check_access(repo: str) -> str:
    """The user who would push to `repo`; raises HubError for a name, a network or a token that will not do."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise HubError(f"hf:{repo} is no name of a repository: {_line(error)}") from error
    if repo.count("/") != 1:
        raise HubError(f"hf:{repo} is no name of a repository: write hf:ORG/NAME, or hf:USER/NAME")
    if is_offline():
        raise HubError(
            f"hf:{repo} cannot be reached: the network is off (HF_HUB_OFFLINE or LENSBENCH_OFFLINE); "
            "--to FOLDER writes what can be pushed later"
        )
    if get_token() is None:
        raise HubError(f"pushing to hf:{repo} needs a token that may write: set HF_TOKEN, or run `hf auth login`")
    with _one_line(repo):
        return str(HfApi().whoami()["name"])


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload `folder`, written by `publish`, and tag it with its version; returns the address of what stands there.

    The repository is made if there is none (`private`: for its owner only). Raises HubError where it holds something
    else, or other rows under that tag.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    notes = read_notes(folder)
    if notes is None:
        raise HubError(f"{folder}: bench publish did not write it")
    api, tag = HfApi(), str(notes["version"])
    with _one_line(repo, folder):
        url = api.create_repo(repo, repo_type=KIND, private=private or None, exist_ok=True)
        standing = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=KIND).tags}
        _refuse_foreign(api, repo, notes)
        if tag in standing and (other := _changed(_notes_at(api, repo, tag), notes)):
            raise HubError(
                f"hf:{repo} has a tag {tag} that holds other rows ({other}), and a version never changes: push to "
                f"another name, or take the tag away with `hf repos tag delete {repo} {tag} --repo-type {KIND}`"
            )
        done = api.upload_folder(
            repo_id=repo,
            repo_type=KIND,
            folder_path=folder,
            commit_message=f"{notes['dataset']} {tag}, by bench publish",
            delete_patterns="data/*",  # shards of an earlier push that this one has under other names
        )
        if tag in standing and standing[tag] != done.oid:
            api.delete_tag(repo, tag=tag, repo_type=KIND)
        if standing.get(tag) != done.oid:
            api.create_tag(repo, tag=tag, repo_type=KIND, revision=done.oid)
    return f"{url}/tree/{tag}"


def _refuse_foreign(api: Any, repo: str, notes: dict[str, Any]) -> None:
    """Only an empty repository, or one that this dataset was pushed to before, is written to."""
    here = set(api.list_repo_files(repo, repo_type=KIND)) - set(OURS)
    if NOTES not in here:
        if here:
            raise HubError(f"hf:{repo} holds {min(here)}, which bench publish did not push; push to another name")
        return
    theirs = _notes_at(api, repo, "main")
    if theirs["dataset"] != notes["dataset"]:
        raise HubError(f"hf:{repo} holds {theirs['dataset']}, not {notes['dataset']}; push to another name")


def _notes_at(api: Any, repo: str, revision: str) -> dict[str, Any]:
    path = api.hf_hub_download(repo, NOTES, repo_type=KIND, revision=revision)
    try:
        return parse_notes(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{NOTES} at {revision} of hf:{repo} is not what bench publish writes ({error})") from error


def _changed(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first split of `old` that is not in `new` with the same rows."""
    for config, entry in old["configs"].items():
        for split, rows in entry["splits"].items():
            if new["configs"].get(config, {}).get("splits", {}).get(split) != rows:
                return f"{config}/{split}"
    return None


@contextmanager
def _one_line(repo: str, folder: Path | None = None) -> Iterator[None]:
    """What `huggingface_hub` and its HTTP library raise, as one HubError that says where the folder is."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # httpx's, or httpx2's

    kept = f"; what was to be pushed lies in {folder}: the same command pushes it again" if folder else ""
    try:
        yield
    except HubError as error:
        raise HubError(f"{error}{kept}") from _safe(error)
    except HfHubHTTPError as error:
        raise HubError(f"hf:{repo}: {_refusal(error.response.status_code, error)}{kept}") from _safe(error)
    except HTTPError as error:
        raise HubError(f"hf:{repo} cannot be reached: {_line(error)}{kept}") from _safe(error)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:  # the Xet client's; half an answer
        raise HubError(f"hf:{repo}: the upload broke off: {_line(error)}{kept}") from _safe(error)


def _without_token(text: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "(the token)") if token else text


def _safe(error: Exception) -> Exception | None:
    """`error` as a cause, whose own text a traceback (``--debug``) shows; None where the token stands in it."""
    return error if _without_token(str(error)) == str(error) else None


def _refusal(status: int, error: Exception) -> str:
    if status == 401:
        return "the Hub does not know the token (401): set HF_TOKEN to a valid one, or run `hf auth login`"
    if status == 403:
        return "the token may not write there (403): it needs the right to write, and you a place in the organisation"
    return f"the Hub refuses ({status}): {_line(error)}"


def _line(error: Exception) -> str:
    """The last line that says something of a message of several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
