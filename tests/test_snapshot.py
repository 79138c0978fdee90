"""Snapshots: written whole or not at all, refused when damaged, opened for ever."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError, SnapshotError
from pinjoin.snapshot import arrays, disk, reader, tables
from pinjoin.snapshot.manifest import MANIFEST_FILE, Manifest
from pinjoin.snapshot.reader import STAMP_FILE, extra_files, open_snapshot, verify_snapshot
from pinjoin.snapshot.store import list_snapshots, prune, rollback
from pinjoin.snapshot.tables import Rows, TableWriter, map_table_file
from pinjoin.snapshot.writer import SnapshotWriter

GOLDEN = Path(__file__).parent / "data" / "snapshot-v1"
FILES = ["filled.npy", "images.arrow", "indptr.npy", "notes.json"]
laws = settings(deadline=None, max_examples=100)


def build(workspace: Path, value: int = 0) -> Path:
    """A small snapshot with one file of each kind, every number in it being `value`."""
    with SnapshotWriter(workspace, {"k": 10}, "input") as writer:
        writer.save_array("indptr", np.full(100, value, np.int64))
        writer.create_array("filled", np.uint32, (20, 5))[:] = value
        writer.save_table("images", pa.table({"id": ["a", None, "ü"], "n": [value, None, value]}))
        writer.save_json("notes", {"value": value})
        return writer.commit({"images": 3, "value": value})


def value_of(snapshot: reader.Snapshot) -> int:
    """The value a snapshot of `build` was made with, the same in all of its files."""
    value = snapshot.manifest.counts["value"]
    assert snapshot.array("indptr").tolist() == [value] * 100
    assert (snapshot.array("filled") == value).all()
    assert snapshot.table("images")["n"].to_pylist() == [value, None, value]
    assert snapshot.json("notes") == {"value": value}
    return value


def flip(path: Path, at: int = -1) -> None:
    """Change one byte of a file and nothing else that can be set."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "shop"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every snapshot as too large to hash whenever it is opened."""
    monkeypatch.setattr(reader, "_SMALL", 0)


class TestRoundTrip:
    def test_what_is_written_is_read(self, workspace: Path) -> None:
        path = build(workspace, 7)
        snapshot = open_snapshot(workspace)
        assert value_of(snapshot) == 7
        assert (snapshot.path, snapshot.name) == (path, path.name)
        assert snapshot.manifest.config == {"k": 10}
        assert snapshot.manifest.input_hash == "input"
        assert snapshot.table("images")["id"].to_pylist() == ["a", None, "ü"]
        assert snapshot.has("images")
        assert not snapshot.has("boards")
        assert sorted(snapshot.manifest.files) == FILES
        assert snapshot.rows("images").dicts([2], ["id"]) == [{"id": "ü"}]

    def test_nothing_can_be_changed(self, workspace: Path) -> None:
        build(workspace)
        array = open_snapshot(workspace).array("filled")
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1

    def test_what_is_not_there(self, workspace: Path) -> None:
        build(workspace)
        match = r"has no boards\.arrow\. It has: filled\.npy.*build again"
        with pytest.raises(SnapshotError, match=match):
            open_snapshot(workspace).table("boards")

    @pytest.mark.parametrize(
        "array",
        [
            np.empty((0, 3), np.float32),
            np.float64(3.5),
            np.arange(12, dtype=np.uint8).reshape(3, 4).T,
            np.arange(5, dtype=">i4"),
            np.arange(20)[::3],
            np.array([True, False]),
            np.array(["2020-01-01"], "datetime64[s]"),
            np.array([(1, 2.5)], [("a", "u4"), ("b", "f8")]),
        ],
        ids=lambda array: f"{array.dtype}{array.shape}",
    )
    def test_every_kind_of_array(self, workspace: Path, array: np.ndarray) -> None:
        with SnapshotWriter(workspace, {}, "") as writer:
            writer.save_array("x", array)
            writer.create_array("y", array.dtype, array.shape)[...] = array
            path = writer.commit({})
        snapshot = open_snapshot(workspace)
        for name in "xy":
            np.testing.assert_array_equal(snapshot.array(name), array)
            assert snapshot.array(name).flags.c_contiguous
        assert (path / "x.npy").read_bytes() == (path / "y.npy").read_bytes()

    def test_objects_are_refused(self, workspace: Path) -> None:
        with (
            SnapshotWriter(workspace, {}, "") as writer,
            pytest.raises(ConfigError, match="of numbers, not objects"),
        ):
            writer.save_array("x", np.array([None]))


class TestSameBytes:
    def test_building_twice_gives_identical_files(self, tmp_path: Path) -> None:
        one, two = build(tmp_path / "one", 5), build(tmp_path / "two", 5)
        assert one != two
        for file in FILES:
            assert (one / file).read_bytes() == (two / file).read_bytes()

    def test_the_order_of_config_keys_does_not_matter(self, tmp_path: Path) -> None:
        names = []
        for i, config in enumerate([{"a": 1, "b": 2}, {"b": 2, "a": 1}]):
            with SnapshotWriter(tmp_path / str(i), config, "x") as writer:
                names.append(writer.commit({}).name.split("-")[1])
        assert names[0] == names[1]

    @laws
    @given(
        st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.integers(-9, 9),
                           st.none() | st.booleans()), max_size=40),
        st.lists(st.integers(0, 40), max_size=4),
        st.integers(1, 9),
    )  # fmt: skip
    def test_a_table_does_not_depend_on_its_chunks(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list, cuts: list, size: int
    ) -> None:
        folder = tmp_path_factory.mktemp("tables")
        kinds = [pa.string(), pa.timestamp("s", "UTC"), pa.bool_(), pa.large_string()]
        schema = pa.schema([(str(kind), kind) for kind in kinds])
        table = pa.Table.from_arrays(
            [pa.array([row[k % 3] for row in rows], kind) for k, kind in enumerate(kinds)],
            schema=schema,
        )
        bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
        pieces = [table.slice(a, b - a) for a, b in pairwise(bounds)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "BATCH_ROWS", size)
            with TableWriter(folder / "one", schema) as writer:
                writer.write(table)
            with TableWriter(folder / "two", schema) as writer:
                for piece in pieces:
                    for batch in piece.to_batches():
                        writer.write(batch)
            with TableWriter(folder / "three", schema) as writer:
                writer.write(table.slice(0, len(rows) // 2))
                writer.write(pa.concat_tables([table, table]).slice(len(rows) // 2 + len(rows)))
                writer.write(table.slice(0, 0))
        assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
        assert (folder / "one").read_bytes() == (folder / "three").read_bytes()
        found = map_table_file(folder / "one")
        found.validate(full=True)
        assert found.equals(table)

    def test_nothing_hides_under_nulls(self, tmp_path: Path) -> None:
        def hiding(secret: bytes, number: int, junk: int) -> pa.Table:
            valid = pa.py_buffer(bytes([0b101 | junk]))  # bits beyond the third mean nothing
            offsets = pa.py_buffer(np.array([0, 1, 5, 6], np.int32))
            text = pa.py_buffer(b"a" + secret + b"b")
            numbers = pa.py_buffer(np.array([1, number, 3]))
            return pa.table({
                "s": pa.Array.from_buffers(pa.string(), 3, [valid, offsets, text]),
                "n": pa.Array.from_buffers(pa.int64(), 3, [valid, numbers]),
            })  # fmt: skip

        for name, table in [("one", hiding(b"1234", 8, 0)), ("two", hiding(b"abcd", 9, 0b11000))]:
            with TableWriter(tmp_path / name, table.schema) as writer:
                writer.write(table)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
        expected = {"s": ["a", None, "b"], "n": [1, None, 3]}
        assert map_table_file(tmp_path / "one").to_pydict() == expected


class TestDamage:
    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize("at", [0, 50, -1])
    def test_a_flipped_byte_is_refused_by_name(self, workspace: Path, file: str, at: int) -> None:
        good, bad = build(workspace, 1), build(workspace, 2)
        flip(bad / file, at % (bad / file).stat().st_size)
        with pytest.raises(SnapshotError, match=rf"{file} has the SHA-256 .*rollback.*{good.name}"):
            open_snapshot(workspace)
        assert value_of(open_snapshot(workspace, good.name)) == 1
        assert rollback(workspace) == good
        assert value_of(open_snapshot(workspace)) == 1

    @pytest.mark.usefixtures("large")
    @pytest.mark.parametrize("file", FILES)
    def test_also_in_a_large_snapshot_found_good_before(self, workspace: Path, file: str) -> None:
        path = build(workspace)
        value_of(open_snapshot(workspace))
        flip(path / file)  # size and time stay as they were
        with pytest.raises(SnapshotError, match=rf"{file} has the SHA-256"):
            open_snapshot(workspace)
        flip(path / file)
        assert value_of(open_snapshot(workspace)) == 0

    def test_truncated(self, workspace: Path) -> None:
        path = build(workspace)
        os.truncate(path / "indptr.npy", 100)
        with pytest.raises(SnapshotError, match=r"indptr\.npy has 100 bytes where .* have 928"):
            open_snapshot(workspace, verify="none")

    def test_missing(self, workspace: Path) -> None:
        (build(workspace) / "images.arrow").unlink()
        with pytest.raises(SnapshotError, match=r"images\.arrow is missing.*no other snapshot"):
            open_snapshot(workspace)

    def test_a_folder_in_place_of_a_file(self, workspace: Path) -> None:
        path = build(workspace)
        (path / "images.arrow").unlink()
        (path / "images.arrow").mkdir()
        with pytest.raises(SnapshotError, match=r"images\.arrow is not a file"):
            open_snapshot(workspace)

    def test_several_are_all_named(self, workspace: Path) -> None:
        path = build(workspace)
        flip(path / "indptr.npy")
        flip(path / "notes.json")
        with pytest.raises(SnapshotError, match=r"indptr\.npy has .*; .*notes\.json has "):
            verify_snapshot(path)

    def test_a_file_more_is_never_read_but_named(self, workspace: Path) -> None:
        path = build(workspace)
        (path / ".DS_Store").write_text("x")
        (path / "boards.arrow").write_text("x")
        assert not open_snapshot(workspace).has("boards")
        assert extra_files(path, verify_snapshot(path)) == [".DS_Store", "boards.arrow"]

    def test_other_folder_name(self, workspace: Path) -> None:
        path = build(workspace)
        other = path.with_name("20200101T000000Z-00000000")
        path.rename(other)
        with pytest.raises(SnapshotError, match=r"holds the snapshot .* Give it that name again"):
            open_snapshot(workspace, other.name)

    def test_structure_is_checked_even_without_hashing(self, workspace: Path) -> None:
        flip(build(workspace) / "indptr.npy", 0)
        with pytest.raises(SnapshotError, match=r"indptr\.npy cannot be opened: .*magic"):
            open_snapshot(workspace, verify="none").array("indptr")

    def test_unknown_way_to_verify(self, workspace: Path) -> None:
        with pytest.raises(ConfigError, match=r"must be auto, full or none\. Got 'fast'"):
            open_snapshot(workspace, verify="fast")


class TestManifest:
    def test_unknown_format_version(self, workspace: Path) -> None:
        path = build(workspace) / MANIFEST_FILE
        path.write_text(json.dumps({"format_version": 2, "pinjoin_version": "9.0"}))
        with pytest.raises(SnapshotError, match=r"format 2; pinjoin .* reads format 1.*\(9\.0\)"):
            open_snapshot(workspace)

    @pytest.mark.parametrize(
        ("content", "why"),
        [("", "not a manifest"), ("[]", "not a manifest"), ("{}", "not a manifest"),
         ('{"format_version": 1}', "its checksum is wrong")],
    )  # fmt: skip
    def test_not_a_manifest(self, workspace: Path, content: str, why: str) -> None:
        (build(workspace) / MANIFEST_FILE).write_text(content)
        with pytest.raises(SnapshotError, match=rf"manifest\.json is damaged: .*{why}"):
            open_snapshot(workspace)

    def test_not_text(self, workspace: Path) -> None:
        (build(workspace) / MANIFEST_FILE).write_bytes(b"\xff\xfe")
        with pytest.raises(SnapshotError, match=r"manifest\.json cannot be read"):
            open_snapshot(workspace)

    def test_missing(self, workspace: Path) -> None:
        (build(workspace) / MANIFEST_FILE).unlink()
        with pytest.raises(SnapshotError, match=r"manifest\.json is missing"):
            open_snapshot(workspace)

    def test_every_changed_byte_is_refused(self, workspace: Path) -> None:
        path = build(workspace) / MANIFEST_FILE
        data = path.read_bytes()
        for at in range(0, len(data), 7):
            if data[at : at + 1].isspace() or data[at - 1 : at].isspace():
                continue  # layout, which carries no meaning
            path.write_bytes(data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :])
            with pytest.raises(SnapshotError, match=r"damaged|cannot be read|format"):
                open_snapshot(workspace)

    def test_files_elsewhere_are_refused(self, workspace: Path) -> None:
        path = build(workspace) / MANIFEST_FILE
        manifest = verify_snapshot(path.parent)
        files = {"../../current": next(iter(manifest.files.values()))}
        path.write_text(Manifest(**{**vars(manifest), "files": files}).to_json())
        with pytest.raises(SnapshotError, match=r"'\.\./\.\./current' is not a plain file name"):
            open_snapshot(workspace)


class TestWorkspace:
    def test_none(self, workspace: Path) -> None:
        with pytest.raises(SnapshotError, match=r"shop does not exist.*`pinjoin build .*shop"):
            open_snapshot(workspace)

    def test_a_file(self, workspace: Path) -> None:
        workspace.write_text("")
        with pytest.raises(SnapshotError, match=r"is not a folder.*`pinjoin build"):
            open_snapshot(workspace)
        with pytest.raises(SnapshotError, match="Making the folder"):
            build(workspace)

    def test_empty(self, workspace: Path) -> None:
        workspace.mkdir()
        with pytest.raises(SnapshotError, match=r"is empty: nothing was built.*`pinjoin build"):
            open_snapshot(workspace)
        assert list_snapshots(workspace) == []
        assert prune(workspace) == []
        with pytest.raises(SnapshotError, match="no good snapshot to go back to"):
            rollback(workspace)

    def test_current_is_missing(self, workspace: Path) -> None:
        path = build(workspace)
        (workspace / "current").unlink()
        with pytest.raises(SnapshotError, match=f"has no current snapshot.*{path.name}"):
            open_snapshot(workspace)
        assert rollback(workspace) == path
        assert value_of(open_snapshot(workspace)) == 0

    def test_current_names_a_missing_snapshot(self, workspace: Path) -> None:
        good, gone = build(workspace, 1), build(workspace, 2)
        shutil.rmtree(gone)
        with pytest.raises(SnapshotError, match=rf"current names.*{gone.name}.*{good.name}"):
            open_snapshot(workspace)
        assert rollback(workspace) == good

    @pytest.mark.parametrize("content", ["", "../../etc", "\0", "ü", "x" * 5000])
    def test_current_is_nonsense(self, workspace: Path, content: str) -> None:
        path = build(workspace)
        (workspace / "current").write_text(content)
        with pytest.raises(SnapshotError, match="does not hold the name of a snapshot"):
            open_snapshot(workspace)
        assert [info.current for info in list_snapshots(workspace)] == [False]
        assert rollback(workspace) == path

    @pytest.mark.parametrize("name", ["no", "..", "../snapshots", ""])
    def test_unknown_name(self, workspace: Path, name: str) -> None:
        path = build(workspace)
        with pytest.raises(SnapshotError, match=f"You asked for the snapshot.*{path.name}"):
            open_snapshot(workspace, name)

    def test_symbolic_links(self, workspace: Path, tmp_path: Path) -> None:
        path = build(workspace, 4)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        shutil.move(path / "indptr.npy", elsewhere)
        (path / "indptr.npy").symlink_to(elsewhere / "indptr.npy")
        shutil.move(path, elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
        (tmp_path / "link").symlink_to(workspace)
        assert value_of(open_snapshot(tmp_path / "link")) == 4
        build(tmp_path / "link", 5)
        assert prune(workspace, keep=1) == [path]
        assert (elsewhere / path.name / MANIFEST_FILE).exists()  # only the link is ours to remove
        assert value_of(open_snapshot(workspace)) == 5

    def test_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        build(Path("shop"), 3)
        assert value_of(open_snapshot("shop")) == 3


@pytest.mark.usefixtures("large")
class TestStamps:
    def test_opening_hashes_nothing_that_was_found_good(
        self, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build(workspace, 6)
        monkeypatch.setattr(reader, "digests", lambda *a: pytest.fail("hashed"))
        assert value_of(open_snapshot(workspace)) == 6
        with pytest.raises(pytest.fail.Exception, match="hashed"):
            open_snapshot(workspace, verify="full")

    @pytest.mark.parametrize("stamp", [None, "", "[]", "{}", '{"indptr.npy": 3}'])
    def test_a_lost_stamp_costs_one_check(self, workspace: Path, stamp: str | None) -> None:
        path = build(workspace, 6)
        whole = json.loads((path / STAMP_FILE).read_text())
        (path / STAMP_FILE).unlink()
        if stamp is not None:
            (path / STAMP_FILE).write_text(stamp)
        assert value_of(open_snapshot(workspace)) == 6
        assert json.loads((path / STAMP_FILE).read_text()) == whole

    def test_only_doubtful_files_are_hashed(
        self, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = build(workspace)
        (path / "indptr.npy").touch()
        hashed: list[str] = []
        real = disk.sha256
        monkeypatch.setattr(reader, "sha256", lambda p: hashed.append(p.name) or real(p))
        open_snapshot(workspace)
        open_snapshot(workspace)
        assert hashed == ["indptr.npy"]

    def test_read_only_workspace(self, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = build(workspace, 8)
        (path / STAMP_FILE).unlink()

        def refuse(self: Path, *args: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(Path, "write_text", refuse)  # as root may write anywhere
        assert value_of(open_snapshot(workspace)) == 8
        assert value_of(open_snapshot(workspace)) == 8
        flip(path / "indptr.npy")
        with pytest.raises(SnapshotError, match=r"indptr\.npy has the SHA-256"):
            open_snapshot(workspace)

    def test_a_copy_is_checked_once(self, workspace: Path, tmp_path: Path) -> None:
        build(workspace, 9)
        shutil.copytree(workspace, tmp_path / "copy")
        flip(next((tmp_path / "copy" / "snapshots").iterdir()) / "filled.npy")
        with pytest.raises(SnapshotError, match=r"filled\.npy has the SHA-256"):
            open_snapshot(tmp_path / "copy")


class TestWriter:
    def test_leaving_without_commit_leaves_nothing(self, workspace: Path) -> None:
        build(workspace, 1)
        before = sorted(workspace.rglob("*"))
        schema = pa.schema([("a", pa.int64())])
        with pytest.raises(KeyboardInterrupt), SnapshotWriter(workspace, {}, "") as writer:  # noqa: PT012
            writer.save_array("x", np.arange(3))
            writer.open_table("t", schema).write(pa.table({"a": [1]}))
            raise KeyboardInterrupt
        assert sorted(workspace.rglob("*")) == before
        assert value_of(open_snapshot(workspace)) == 1

    def test_what_a_killed_build_left_is_removed(self, workspace: Path) -> None:
        for name in (".building-20200101T000000Z-00000000", ".removing-x"):
            left = workspace / "snapshots" / name
            left.mkdir(parents=True)
            (left / "half.npy").write_text("x")
        path = build(workspace)
        assert list((workspace / "snapshots").iterdir()) == [path]

    def test_two_builds_at_once(self, workspace: Path) -> None:
        with SnapshotWriter(workspace, {}, "") as writer:
            with pytest.raises(SnapshotError, match=rf"Another process \(id {os.getpid()}\) is"):
                build(workspace)
            with pytest.raises(SnapshotError, match="Another process"):
                prune(workspace)
            writer.commit({})
            build(workspace)  # committing frees the workspace
        assert len(list_snapshots(workspace)) == 2

    def test_names_follow_each_other_whatever_the_clock_says(self, workspace: Path) -> None:
        future = workspace / "snapshots" / "20991231T235959Z-00000000"
        future.mkdir(parents=True)
        names = [build(workspace).name for _ in range(3)]
        assert [name[:16] for name in names] == [f"21000101T00000{i}Z" for i in range(3)]

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "ü", "x\n", "x" * 300])
    def test_bad_names(self, workspace: Path, name: str) -> None:
        with (
            SnapshotWriter(workspace, {}, "") as writer,
            pytest.raises(
                ConfigError, match="The name parameter of SnapshotWriter must be letters"
            ),
        ):
            writer.save_array(name, np.arange(3))

    def test_taken_names(self, workspace: Path) -> None:
        with SnapshotWriter(workspace, {}, "") as writer:
            writer.save_json("x", 1)
            writer.save_array("x", np.arange(2))  # another file
            with pytest.raises(ConfigError, match=r"must be new to this snapshot\. Got 'x\.json'"):
                writer.save_json("x", 2)
            with pytest.raises(ConfigError, match="not 'manifest'"):
                writer.save_json("manifest", 2)

    def test_after_commit(self, workspace: Path) -> None:
        with SnapshotWriter(workspace, {}, "") as writer:
            writer.commit({})
            with pytest.raises(ConfigError, match="before `commit`"):
                writer.save_json("x", 1)
            with pytest.raises(ConfigError, match="before `commit`"):
                writer.commit({})
        with pytest.raises(ConfigError, match="inside its `with` block"):
            SnapshotWriter(workspace, {}, "").save_json("x", 1)

    def test_config_must_be_json(self, workspace: Path) -> None:
        with pytest.raises(ConfigError, match="The config of a snapshot must be JSON"):
            SnapshotWriter(workspace, {"x": object()}, "")

    def test_a_table_left_open_is_closed_by_commit(self, workspace: Path) -> None:
        with SnapshotWriter(workspace, {}, "") as writer:
            writer.open_table("t", pa.schema([("a", pa.int64())])).write(pa.table({"a": [1, 2]}))
            writer.commit({})
        assert open_snapshot(workspace).table("t")["a"].to_pylist() == [1, 2]

    def test_a_file_that_cannot_be_read_again_is_not_committed(self, workspace: Path) -> None:
        build(workspace, 1)
        with SnapshotWriter(workspace, {}, "") as writer:
            writer.save_array("x", np.arange(3))
            flip(next(workspace.glob("snapshots/.building-*")) / "x.npy", 0)
            with pytest.raises(SnapshotError, match=r"x\.npy cannot be opened"):
                writer.commit({})
        assert value_of(open_snapshot(workspace)) == 1


class TestFullDisk:
    def test_room_is_taken_before_memory_is_written(
        self, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build(workspace, 1)

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(arrays.os, "posix_fallocate", full)
        with pytest.raises(
            SnapshotError, match=r"filled\.npy failed: No space left.*Make room.*MB are free.*prune"
        ):
            build(workspace, 2)
        assert value_of(open_snapshot(workspace)) == 1
        assert list(workspace.glob("snapshots/.*")) == []

    @pytest.mark.parametrize(
        "what",
        ['writer.save_array("x", np.zeros(100_000))',
         'writer.create_array("x", "f8", 100_000)',
         'writer.save_table("x", pa.table({"a": np.zeros(100_000)}))',
         'writer.save_json("x", "y" * 100_000)'],
    )  # fmt: skip
    def test_a_file_that_may_not_grow(self, workspace: Path, what: str) -> None:
        """The limit on file size fails a write like a full disk does: in the middle."""
        build(workspace, 1)
        script = f"""
            import resource, sys
            import numpy as np, pyarrow as pa
            from pinjoin.core.errors import SnapshotError
            from pinjoin.snapshot.writer import SnapshotWriter
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            try:
                with SnapshotWriter({str(workspace)!r}, {{}}, "") as writer:
                    {what}
            except SnapshotError as error:
                print(error)
        """
        assert "Make room on that disk" in run_python(script)
        assert value_of(open_snapshot(workspace)) == 1
        assert list(workspace.glob("snapshots/.*")) == []


def run_python(script: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FORKING = """
    import os, random, signal, sys, time
    from pathlib import Path
    import numpy as np, pyarrow as pa
    from pinjoin.snapshot.reader import open_snapshot
    from pinjoin.snapshot.writer import SnapshotWriter

    workspace = Path(sys.argv[1] if len(sys.argv) > 1 else {workspace!r})

    def build(value):
        with SnapshotWriter(workspace, {{}}, "") as writer:
            writer.save_array("a", np.full(5000, value))
            writer.create_array("b", np.int64, 5000)[:] = value
            writer.save_table("c", pa.table({{"d": np.full(5000, value)}}))
            writer.commit({{"value": value}})

    def opened():
        snapshot = open_snapshot(workspace, verify="full")
        value = snapshot.manifest.counts["value"]
        assert (snapshot.array("a") == value).all() and (snapshot.array("b") == value).all()
        assert (snapshot.table("c")["d"].to_numpy() == value).all()
        return value

    def fork(work):
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        return pid
"""


class TestCrashes:
    def test_killed_before_and_after_each_step(self, workspace: Path) -> None:
        """Every call that changes what is on the disk, in turn, is the last one."""
        script = (
            FORKING
            + """
    import pathlib, shutil
    def dying(n, after):
        steps = [0]
        def step(real):
            def call(*args, **kwargs):
                steps[0] += 1
                if steps[0] == n and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = real(*args, **kwargs)
                if steps[0] == n:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result
            return call
        os.fsync = step(os.fsync)
        os.posix_fallocate = step(os.posix_fallocate)
        os.ftruncate = step(os.ftruncate)
        for name in ("mkdir", "open", "rename", "replace", "unlink"):
            setattr(pathlib.Path, name, step(getattr(pathlib.Path, name)))

    build(0)
    last, n, died, switched = 0, 1, 0, 0
    for after in (False, True):
        n = 1
        while True:
            def work():
                dying(n, after)
                build(last + 1)
            _, status = os.waitpid(fork(work), 0)
            value = opened()
            assert value in (last, last + 1), (last, value)
            switched += value != last
            last, n = value, n + 1
            if not os.WIFSIGNALED(status):
                assert status == 0
                break
            died += 1
    build(last + 1)
    assert opened() == last + 1
    assert not list(workspace.glob("snapshots/.*"))
    print(died, switched)
"""
        )
        died, switched = map(int, run_python(script.format(workspace=str(workspace))).split())
        assert died >= 20
        assert switched >= 3  # those killed after the switch, and the two that lived

    def test_killed_at_random_points(self, workspace: Path) -> None:
        script = (
            FORKING
            + """
    def forever():
        value = opened()
        while True:
            value += 1
            build(value)

    build(0)
    start = time.monotonic()
    build(0)
    took = time.monotonic() - start
    rng, values = random.Random(7), [0]
    for _ in range(30):
        child = fork(forever)
        time.sleep(rng.uniform(0, 4 * took))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        values.append(opened())
        assert values[-1] >= values[-2]
    build(values[-1] + 1)
    assert opened() == values[-1] + 1
    print(values[-1])
"""
        )
        assert int(run_python(script.format(workspace=str(workspace)))) > 10
        assert list(workspace.glob("snapshots/.*")) == []


class TestStore:
    def test_list(self, workspace: Path) -> None:
        paths = [build(workspace, value) for value in range(3)]
        flip(paths[0] / MANIFEST_FILE, 0)
        found = list_snapshots(workspace)
        assert [info.path for info in found] == paths[::-1]
        assert [info.current for info in found] == [True, False, False]
        assert [info.manifest and info.manifest.counts["value"] for info in found] == [2, 1, None]
        assert "manifest.json is damaged" in str(found[2].problem)

    def test_rollback_passes_over_damaged_ones(self, workspace: Path) -> None:
        paths = [build(workspace, value) for value in range(4)]
        flip(paths[2] / "indptr.npy")
        assert rollback(workspace) == paths[1]
        assert value_of(open_snapshot(workspace)) == 1
        assert rollback(workspace) == paths[0]
        with pytest.raises(SnapshotError, match="no good snapshot to go back to"):
            rollback(workspace)
        assert value_of(open_snapshot(workspace)) == 0  # a failed one changes nothing
        assert rollback(workspace, to=paths[3].name) == paths[3]
        with pytest.raises(SnapshotError, match=r"indptr\.npy has the SHA-256"):
            rollback(workspace, to=paths[2].name)
        with pytest.raises(SnapshotError, match=f"no snapshot 'x'.*There: {paths[3].name}"):
            rollback(workspace, to="x")
        assert value_of(open_snapshot(workspace)) == 3

    def test_a_build_after_a_rollback_is_the_newest(self, workspace: Path) -> None:
        build(workspace, 0)
        build(workspace, 1)
        rollback(workspace)
        build(workspace, 2)
        assert value_of(open_snapshot(workspace)) == 2
        assert value_of(open_snapshot(workspace, rollback(workspace).name)) == 1

    def test_prune_keeps_the_newest(self, workspace: Path) -> None:
        paths = [build(workspace, value) for value in range(5)]
        assert prune(workspace) == paths[2::-1]
        assert [info.path for info in list_snapshots(workspace)] == [paths[4], paths[3]]
        assert prune(workspace) == []

    @pytest.mark.parametrize("keep", [1, 2, 3])
    def test_prune_never_removes_the_current_one(self, workspace: Path, keep: int) -> None:
        paths = [build(workspace, value) for value in range(5)]
        rollback(workspace, to=paths[0].name)
        os.truncate(paths[4] / "indptr.npy", 1)  # not whole: the first to go
        prune(workspace, keep)
        left = [info.path for info in list_snapshots(workspace)]
        assert left == [*[paths[3], paths[2]][: keep - 1], paths[0]]
        assert value_of(open_snapshot(workspace)) == 0

    def test_prune_must_keep_one(self, workspace: Path) -> None:
        with pytest.raises(ConfigError, match=r"keep parameter of prune must be at least 1.*Got 0"):
            prune(workspace, keep=0)

    def test_an_open_snapshot_outlives_its_removal(self, workspace: Path) -> None:
        build(workspace, 1)
        snapshot = open_snapshot(workspace)
        array, table = snapshot.array("filled"), snapshot.table("images")
        build(workspace, 2)
        prune(workspace, keep=1)
        assert array.sum() == 100
        assert table["n"].to_pylist() == [1, None, 1]


class TestRows:
    @laws
    @given(
        st.lists(st.lists(st.none() | st.text(max_size=4), max_size=5), max_size=6),
        st.data(),
    )
    def test_equals_plain_indexing(self, chunks: list, data: st.DataObject) -> None:
        values = [value for chunk in chunks for value in chunk]
        table = pa.table({
            "s": pa.chunked_array([pa.array(c, pa.string()) for c in chunks], pa.string()),
            "n": np.arange(len(values)),
        })  # fmt: skip
        asked = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=20)) if values else []
        rows = Rows(table)
        assert len(rows) == len(values)
        expected = [{"s": values[i], "n": i} for i in asked]
        assert rows.dicts(asked) == expected
        assert rows.take(np.array(asked, np.uint32)).to_pylist() == expected
        assert rows.take(asked, ["n"]).schema.names == ["n"]
        assert [rows.value(i, "s") for i in asked] == [values[i] for i in asked]

    def test_beyond_the_last_row(self) -> None:
        rows = Rows(pa.table({"a": [1, 2]}))
        for bad in ([2], [0, -1]):
            with pytest.raises(IndexError, match=r"Rows must be from 0 to 1\."):
                rows.take(bad)
            with pytest.raises(IndexError, match=r"Rows must be from 0 to 1\."):
                rows.dicts(bad)


def test_format_1_opens_for_ever() -> None:
    """Written by the first release; never made again."""
    snapshot = open_snapshot(GOLDEN, verify="full")
    assert snapshot.manifest.format_version == 1
    assert snapshot.manifest.counts == {"images": 3, "value": 42}
    assert value_of(snapshot) == 42
    assert snapshot.table("images")["id"].to_pylist() == ["a", None, "ü"]
    assert extra_files(snapshot.path, snapshot.manifest) == []
