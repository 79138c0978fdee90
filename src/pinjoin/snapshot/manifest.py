"""The page that describes a snapshot: what it was built from and what each file must hash to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pinjoin
from pinjoin.core.errors import SnapshotError

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
"""A plain name inside the snapshot's folder: no separators, not hidden."""

SNAPSHOT_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
"""`YYYYmmddTHHMMSSZ-<hash8>`: the order of names is the order of builds."""


@dataclass(frozen=True)
class FileEntry:
    """What one file of a snapshot must be."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything a reader needs to know before it trusts a snapshot's files."""

    format_version: int
    name: str
    created_at: str  # ISO 8601, UTC
    pinjoin_version: str
    config: Mapping[str, Any]
    input_hash: str
    counts: Mapping[str, int]
    files: Mapping[str, FileEntry]

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(entry.bytes for entry in self.files.values())

    def to_json(self) -> str:
        """As text with sorted keys and a checksum of its own."""
        content = asdict(self)
        content["checksum"] = _checksum(content)
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, where: Path) -> Manifest:
        """Read and check a manifest; `where` is the file to name in a SnapshotError."""
        try:
            content = json.loads(text)
            version = content["format_version"]
        except (ValueError, TypeError, KeyError):
            raise _damaged(where, "it is not a manifest") from None
        if version != FORMAT_VERSION:
            raise SnapshotError(
                f"{where.parent} is of snapshot format {version!r}; pinjoin "
                f"{pinjoin.__version__} reads format {FORMAT_VERSION}. Use the version of "
                f"pinjoin that wrote it ({content.get('pinjoin_version', 'unknown')}) or a "
                "later one, or build again with this one: `pinjoin build WORKSPACE …`."
            )
        if content.pop("checksum", None) != _checksum(content):
            raise _damaged(where, "its checksum is wrong")
        try:
            files = {name: FileEntry(**entry) for name, entry in content["files"].items()}
            manifest = Manifest(**{**content, "files": files})
        except (TypeError, AttributeError) as error:
            raise _damaged(where, str(error)) from None
        for name in files:
            if not FILE_NAME.fullmatch(name):
                raise _damaged(where, f"{name!r} is not a plain file name")
        return manifest


def now() -> str:
    """The time for `created_at`."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _checksum(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _damaged(where: Path, why: str) -> SnapshotError:
    return SnapshotError(
        f"{where} is damaged: {why}. Go back to the previous good snapshot with "
        "`pinjoin snapshots rollback WORKSPACE`, or build again."
    )
