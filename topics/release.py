"""What a release folder holds: the hand-over from training to serving, by files and never by import.

`releases/<topic>/<release>/` has `weights/`, `gate.skops`, `facts.jsonl`, `evidence.json`, `report.html` and, written
last, `manifest.json`. A folder without a manifest is not a release. `releases/<topic>/live` points at the served one,
`releases/<topic>/previous` at the one that was served before it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topics.prompt import fingerprint
from topics.topic import Topic

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent / "releases"
MANIFEST = "manifest.json"
_KNOWLEDGE = ("gate.skops", "facts.jsonl", "evidence.json", "evidence.npz", "decided.json", "decided.npz")
Answering = Literal["curated-first", "generate"]


class ReleaseError(RuntimeError):
    """A release cannot be served; the message names the file and the command that mends it."""


class Manifest(BaseModel):
    """`manifest.json`: what this release is made of."""

    model_config = ConfigDict(frozen=True)

    release: str
    topic: str
    created: str
    base: dict[str, str]
    """`name` and `revision` of the base model (a hub commit, or the hash of a folder's weights)."""
    dataset_hash: str
    prompt_fingerprint: str
    answering: Answering = "curated-first"
    """`curated-first`: sure matches are told in the museum's words. `generate`: the model always speaks."""
    includes_held: bool = False
    """Whether held-out wordings and facts were trained and are told as well: right for visitors, wrong for figures."""
    recipe: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, Any] = Field(default_factory=dict)
    judged: dict[str, Any] = Field(default_factory=dict)
    """Against which live release it was measured when it was made, and what came of it; see `docs/releases.md`."""
    libraries: dict[str, str] = Field(default_factory=dict)
    commit: str = ""


def make_command(topic_id: str) -> str:
    """The command that makes a good release of a topic."""
    return f"`make train-adapter TOPIC={topic_id}`"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest in one step; its presence means that the release is whole."""
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, folder / MANIFEST)


def read_manifest(folder: Path, topic_id: str) -> Manifest:
    """The manifest of a release. Raises ReleaseError when it is missing or damaged."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReleaseError(
            f"{folder}: no {MANIFEST}, so there is no release or it was not finished; run {make_command(topic_id)}"
        ) from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{folder / MANIFEST}: damaged; run {make_command(topic_id)}") from error


def find_release(topic: Topic, name_or_path: str | Path = "live", root: Path = ROOT) -> Path:
    """The folder of a release given by name or path; `live` is the served one. Raises ReleaseError if there is none."""
    by_name = root / topic.id / str(name_or_path)
    folder = by_name if by_name.exists() else Path(name_or_path)
    if not folder.is_dir():
        raise ReleaseError(f"{by_name}: there is no such release; run {make_command(topic.id)}")
    return folder.resolve()


def check_release(topic: Topic, folder: Path, *, weights_only: bool = False) -> Manifest:
    """The manifest of a release that may be served for `topic`; `weights_only` for those who make the rest anew.

    Raises ReleaseError when files are missing, or when the weights were trained on another prompt or topic.
    """
    manifest = read_manifest(folder, topic.id)
    if manifest.topic != topic.id:
        raise ReleaseError(
            f"{folder}: a release of topic {manifest.topic!r}, not {topic.id!r}; set DOCENT_TOPIC={manifest.topic}"
        )
    if not (folder / "weights" / "config.json").is_file():
        raise ReleaseError(f"{folder / 'weights' / 'config.json'}: missing; run {make_command(topic.id)}")
    if not list((folder / "weights").glob("*.safetensors")):
        raise ReleaseError(f"{folder / 'weights'}: no *.safetensors in it; run {make_command(topic.id)}")
    for name in () if weights_only else _KNOWLEDGE:
        if not (folder / name).is_file():
            raise ReleaseError(f"{folder / name}: missing; run `make train-gatekeeper TOPIC={topic.id}`")
    if manifest.prompt_fingerprint != fingerprint(topic):
        raise ReleaseError(
            f"{folder / MANIFEST}: trained on prompt {manifest.prompt_fingerprint}, and this topic's prompt is "
            f"{fingerprint(topic)}; run {make_command(topic.id)}, or undo the change to the persona"
        )
    return manifest


def is_live(topic: Topic) -> bool:
    """Whether the topic has a live release that can be served as the topic stands now."""
    try:
        check_release(topic, find_release(topic))
    except ReleaseError as error:
        log.info("%s", error)
        return False
    return True


def make_live(folder: Path) -> None:
    """Points `live` at a release, in one step: a reader sees the old one or the new one, never neither.

    `previous` is pointed at what was live before; first, so that whoever ends in between still has nothing to undo.
    """
    before = live_name(folder.parent)
    if before and before != folder.name:
        _point(folder.parent / "previous", before)
    _point(folder.parent / "live", folder.name)


def _point(link: Path, name: str) -> None:
    fresh = link.with_name(f".{link.name}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    os.replace(fresh, link)


def live_name(releases: Path, link: str = "live") -> str | None:
    """The name of the release that `live` (or `previous`) points at, if it is there."""
    path = releases / link
    return path.resolve().name if path.is_dir() else None


def promote(topic: Topic, name: str, root: Path = ROOT) -> Path:
    """Makes a release of the topic live and returns its folder.

    Raises ReleaseError when there is no such release, or none that may be served.
    """
    folder = find_release(topic, name, root)
    if folder.parent != (root / topic.id).resolve():
        raise ReleaseError(f"{folder}: not one of the topic's releases; copy it into {root / topic.id} first")
    scores = check_release(topic, folder).scores
    for check, fault in (
        ("parity", "its weights do not answer as its adapter did"),
        ("served", "the service does not answer as its weights do"),
    ):
        found = scores.get(check, {})
        if "prompts" in found and (alike := found["same"] + found["excused"]) < found["prompts"]:
            raise ReleaseError(
                f"{folder}: {fault} ({alike} of {found['prompts']} prompts); such a release is never served, run "
                f"{make_command(topic.id)}"
            )
    make_live(folder)
    return folder


def roll_back(topic: Topic, root: Path = ROOT) -> Path:
    """Makes the release live that was live before; once more brings back what was undone. Raises ReleaseError."""
    previous, live = (live_name(root / topic.id, link) for link in ("previous", "live"))
    if previous is None or previous == live:
        raise ReleaseError(
            f"{root / topic.id}: there is no release to go back to; `make releases TOPIC={topic.id}` lists those there "
            "are, and `make promote RELEASE=…` serves one of them"
        )
    return promote(topic, previous, root)


class Listed(NamedTuple):
    """A release as `make releases` shows it."""

    name: str
    manifest: Manifest | None
    since: datetime | None
    """Since when it is live; None where it is not."""
    previous: bool
    fault: str
    """Why it cannot be served as the topic stands now; empty where it can."""


def list_releases(topic: Topic, root: Path = ROOT) -> list[Listed]:
    """The topic's releases by name, oldest first; unfinished ones too."""
    parent = root / topic.id
    folders = sorted(f for f in parent.glob("[!.]*") if f.is_dir() and not f.is_symlink()) if parent.is_dir() else []
    live, previous = live_name(parent), live_name(parent, "previous")
    listed = []
    for folder in folders:
        manifest, fault = None, ""
        try:
            manifest = read_manifest(folder, topic.id)
            check_release(topic, folder)
        except ReleaseError as error:
            fault = str(error)
        since = (parent / "live").lstat().st_mtime if folder.name == live else None
        when = datetime.fromtimestamp(since, UTC) if since else None
        listed.append(Listed(folder.name, manifest, when, folder.name == previous, fault))
    return listed
