"""`pinjoin snapshots`: what it prints and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pinjoin.cli.snapshots import snapshots
from pinjoin.core.errors import SnapshotError
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter


def build(workspace: Path, images: int) -> str:
    """The name of a new snapshot."""
    with SnapshotWriter(workspace, {}, "input") as writer:
        writer.save_array("x", np.arange(images, dtype=np.uint32))
        return writer.commit({"images": images, "boards": 2}).name


def run(*args: object) -> Result:
    return CliRunner().invoke(snapshots, [str(arg) for arg in args])


def refused(*args: object) -> str:
    """The message of a command that fails. The root command prints it and exits with 1."""
    result = run(*args)
    assert isinstance(result.exception, SnapshotError)
    return str(result.exception)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "shop"


def damage(workspace: Path, name: str) -> None:
    path = workspace / "snapshots" / name / "x.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_list_is_a_table(workspace: Path) -> None:
    old, new = build(workspace, 1000), build(workspace, 2_000_000)
    lines = run("list", workspace).output.splitlines()
    assert lines[0].split() == ["snapshot", "built", "size", "boards", "images", "state"]
    assert lines[1].split()[:2] == ["*", new]
    assert lines[1].split()[3:] == ["8.0", "MB", "2", "2,000,000", "current"]  # 4 bytes each
    assert lines[2].split()[0] == old
    assert lines[2].split()[2:] == ["0.0", "MB", "2", "1,000"]


def test_list_as_json(workspace: Path) -> None:
    old, new = build(workspace, 10), build(workspace, 20)
    (workspace / "snapshots" / old / "x.npy").unlink()
    result = run("list", workspace, "--json")
    assert result.exit_code == 0
    first, second = json.loads(result.output)
    assert (first["name"], first["current"], first["problem"]) == (new, True, None)
    assert first["counts"] == {"images": 20, "boards": 2}
    assert first["bytes"] == 128 + 20 * 4  # the header of a .npy file and its numbers
    assert second["name"] == old
    assert "x.npy is missing" in second["problem"]


def test_list_names_what_is_damaged(workspace: Path) -> None:
    name = build(workspace, 10)
    (workspace / "snapshots" / name / "x.npy").unlink()
    output = run("list", workspace).output
    assert output.splitlines()[1].endswith("damaged")
    assert f"{name}: The snapshot {name} is damaged" in output


def test_list_of_nothing(workspace: Path) -> None:
    assert "does not exist" in refused("list", workspace)
    workspace.mkdir()
    assert "has no snapshots: run `pinjoin build" in run("list", workspace).output
    assert json.loads(run("list", workspace, "--json").output) == []


def test_verify(workspace: Path) -> None:
    old, new = build(workspace, 10), build(workspace, 20)
    (workspace / "snapshots" / new / "notes.txt").write_text("mine")
    result = run("verify", workspace)
    assert result.exit_code == 0
    assert (
        f"{new}: good, 1 files, 0.0 MB; not part of it and never read: notes.txt" in result.output
    )
    assert f"{old}: good, 1 files, 0.0 MB\n" in result.output
    damage(workspace, old)
    result = run("verify", workspace)
    assert f"{new}: good" in result.output
    assert "x.npy has the SHA-256" in result.output
    assert f"Damaged: {old}. " in str(result.exception)
    assert run("verify", workspace, new).exit_code == 0
    assert f"Damaged: {old}. " in refused("verify", workspace, old)
    assert "There is no snapshot 'x'" in refused("verify", workspace, "x")


def test_verify_nothing(workspace: Path) -> None:
    workspace.mkdir()
    assert "has no snapshots to verify" in refused("verify", workspace)


def test_rollback(workspace: Path) -> None:
    old, new = build(workspace, 10), build(workspace, 20)
    damage(workspace, new)
    result = run("rollback", workspace)
    assert result.exit_code == 0
    assert f"The current snapshot is now {old}." in result.output
    assert open_snapshot(workspace).name == old
    assert "no good snapshot to go back to" in refused("rollback", workspace)
    assert "x.npy has the SHA-256" in refused("rollback", workspace, "--to", new)
    assert run("rollback", workspace, "--to", old).exit_code == 0


def test_prune(workspace: Path) -> None:
    names = [build(workspace, 10) for _ in range(4)]
    assert run("prune", workspace).output == f"Removed {names[1]}.\nRemoved {names[0]}.\n"
    assert run("prune", workspace).output == "Nothing to remove.\n"
    assert run("prune", workspace, "--keep", 1).output == f"Removed {names[2]}.\n"
    assert open_snapshot(workspace).name == names[3]
    assert run("prune", workspace, "--keep", 0).exit_code == 2
