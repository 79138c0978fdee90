"""Live databases that cannot be used: each error says which, why, and what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from live_databases import SERVER, entries, made, saved, submit
from sqlalchemy import event

from pinjoin.core.errors import ConfigError
from pinjoin.live.errors import DamagedError, StoreError, UnavailableError
from pinjoin.live.store import StoreConfig, open_store
from pinjoin.live.submissions import Receipt, Submission

QUICK = StoreConfig(patience_s=0, lock_s=0.2)
NO_SERVER = "postgresql://me:secret@127.0.0.1:1/shop?connect_timeout=2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a b%3f?#é" / "live.db"


@pytest.fixture(autouse=True)
def folder(path: Path) -> None:
    path.parent.mkdir()


def test_a_path_may_have_any_characters(path: Path) -> None:
    with open_store(path) as store:
        submit(store, saved("k"))
    assert path.exists()
    with open_store(path) as store:
        assert made(entries(store)) == ["k"]


def test_a_url_names_the_same_file_as_its_path(tmp_path: Path) -> None:
    with (
        open_store(f"sqlite:///{tmp_path}/live.db") as one,
        open_store(tmp_path / "live.db") as two,
    ):
        assert one.identity == two.identity


@pytest.mark.parametrize(
    "url",
    ["shop.db", "sqlite://", "sqlite:///:memory:", "mysql://me:secret@host/shop", "", "sqlite:///"],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"must be sqlite:///FILE or postgresql://.*Got") as error:
        open_store(url)
    assert "secret" not in str(error.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere/live.db cannot be opened: No such file"):
        open_store(tmp_path / "nowhere" / "live.db")


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("pin_id,board_id\n" * 100)
    with pytest.raises(DamagedError, match="file is not a database. Its file is damaged: restore"):
        open_store(path)
    assert path.read_text() == "pin_id,board_id\n" * 100


def test_a_damaged_page_is_an_error_and_not_acknowledged(path: Path) -> None:
    with open_store(path) as store:
        submit(store, *(saved(f"k{n}") for n in range(300)))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(DamagedError, match=r"malformed.*rescue what can be read"):
        open_store(path)


def test_damage_under_a_running_store_is_an_error(path: Path) -> None:
    with open_store(path, QUICK) as store:
        submit(store, *(saved(f"k{n}") for n in range(300)))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        store._tables._database._engine.dispose()  # else they have the pages in memory
        with pytest.raises(DamagedError, match="malformed"):
            store.submit(saved("more")).result(60)
        with pytest.raises(DamagedError, match="malformed"):
            store.tail(0)


def test_an_empty_table_of_state_is_an_error(path: Path) -> None:
    open_store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM pinjoin_live")
    connection.close()
    with pytest.raises(StoreError, match="The table pinjoin_live of the live database is empty"):
        open_store(path)


def test_tables_of_others_are_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE pinjoin_events (theirs TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="pinjoin_events already exists"):
        open_store(path)
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("pinjoin_events",)]


def some(n: int) -> Submission:
    return saved(f"k{n}", *(f"{n}-{i}" for i in range(20)))


def test_a_full_disk_loses_nothing_that_was_acknowledged(path: Path) -> None:
    with open_store(path, QUICK) as store:
        (first,) = submit(store, saved("before"))
        engine = store._tables._database._engine
        pages = 40
        limit = event.listens_for(engine, "checkout")(
            lambda connection, *_: connection.execute(f"PRAGMA max_page_count = {pages}")
        )
        kept = []
        while not (error := store.submit(some(len(kept))).exception(60)):
            kept.append(f"k{len(kept)}")
        assert isinstance(error, UnavailableError)
        assert "is full. Make room on its disk. What was stored is safe" in str(error)
        with pytest.raises(UnavailableError, match="is full"):
            store.submit(saved("more", *map(str, range(100)))).result(60)
        assert kept
        assert [entry.key for entry in entries(store)] == ["before", *kept]
        pages = 2**30  # room again
        (receipt,) = submit(store, some(len(kept)))
        assert receipt == Receipt(first.sequence + len(kept) + 1, False)
        event.remove(engine, "checkout", limit)


def test_a_removed_file_is_no_place_to_write_to(path: Path) -> None:
    """An open file without a name takes writes, and loses them when it is closed."""
    with open_store(path, QUICK) as store:
        submit(store, saved("before"))
        aside = path.with_name("aside.db")
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").rename(f"{aside}{end}")
        for _ in range(2):
            with pytest.raises(UnavailableError, match="was removed or replaced while it was in"):
                store.submit(saved("k")).result(60)
        assert not path.exists()  # nor is a new one begun
        for end in ("", "-wal", "-shm"):
            if Path(f"{aside}{end}").exists():
                Path(f"{aside}{end}").rename(f"{path}{end}")
        assert submit(store, saved("k")) == [Receipt(2, False)]


def test_a_file_removed_during_a_write_is_not_acknowledged(path: Path) -> None:
    with open_store(path, QUICK) as store:
        engine = store._tables._database._engine
        remove = event.listens_for(engine, "begin")(lambda _: path.unlink(missing_ok=True))
        with pytest.raises(UnavailableError, match="was removed or replaced"):
            store.submit(saved("k")).result(60)
        event.remove(engine, "begin", remove)


def test_a_file_replaced_by_another_database_is_refused(path: Path) -> None:
    other = path.with_name("other.db")
    with open_store(other) as second:
        submit(second, saved("theirs"))
    with open_store(path, QUICK) as store:
        submit(store, saved("ours"))
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink()
        shutil.move(other, path)
        with pytest.raises(StoreError, match="was replaced by another one while it was in use"):
            store.submit(saved("k")).result(60)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
def test_a_file_that_may_not_be_written_to_is_named(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o400)
    with pytest.raises(UnavailableError, match="Allow this user to write"):
        open_store(path)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(UnavailableError, match=r"me:\*\*\*@127.0.0.1.*Is it running") as error:
        open_store(NO_SERVER, QUICK)
    assert "secret" not in str(error.value)


@pytest.mark.skipif(not SERVER, reason="no PostgreSQL server: set PINJOIN_TEST_POSTGRES")
def test_a_database_that_does_not_exist_on_the_server_is_named() -> None:
    from sqlalchemy import make_url

    url = make_url(str(SERVER)).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(UnavailableError, match='database "nowhere" does not exist'):
        open_store(url, QUICK)


@pytest.mark.parametrize(
    ("module", "use", "message"),
    [
        ("sqlalchemy", "import pinjoin.live.store", "pip install 'pinjoin[serve]'"),
        (
            "psycopg",
            "from pinjoin.live.store import open_store; open_store('postgresql://host/shop')",
            "pip install 'pinjoin[postgres]'",
        ),
    ],
)
def test_what_is_not_installed_is_named_with_its_remedy(
    module: str, use: str, message: str
) -> None:
    program = f"import sys; sys.modules['{module}'] = None\n{use}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        f"ConfigError: {'PostgreSQL' if module == 'psycopg' else 'The live database'}"
        in done.stderr
    )
    assert message in done.stderr


def test_the_changes_need_no_database_library() -> None:
    program = """
        import sys; sys.modules["sqlalchemy"] = None
        from pinjoin.live.changes import Save
        from pinjoin.live.submissions import Submission
        Submission("k", (Save("p", "b", "i.jpg"),)).digest()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


@pytest.mark.parametrize("make", [lambda: StoreConfig(lock_s=0), lambda: StoreConfig(max_rows=0)])
def test_a_config_that_cannot_work_is_refused(make: Callable[[], StoreConfig]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        make()
