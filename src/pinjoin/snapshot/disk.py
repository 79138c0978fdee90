"""Files that survive a crash: written durably, hashed, and disk errors put in words."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinjoin.core.errors import SnapshotError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a SnapshotError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SnapshotError(f"{doing} {path} failed: {reason}. {_remedy(error, path)}") from error


def _remedy(error: OSError, path: Path) -> str:
    untouched = "The snapshots made before are untouched."
    if error.errno in _FULL:
        free = _free_bytes(path)
        space = "" if free is None else f" ({free / 1e6:,.0f} MB are free there)"
        return (
            f"Make room on that disk{space}, for example with `pinjoin snapshots prune "
            f"WORKSPACE`, and run it again. {untouched}"
        )
    if error.errno in _FORBIDDEN:
        return f"Allow this user to write there, or choose another workspace. {untouched}"
    return untouched


def _free_bytes(path: Path) -> int | None:
    for folder in (path, *path.parents):
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk: a rename is not durable before."""
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise


def write_durably(path: Path, data: bytes) -> None:
    """Create or overwrite a file and wait until its bytes are on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
