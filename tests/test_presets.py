"""Public datasets in the very schemas of their authors, and what becomes of them."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pinjoin.core.errors import ConfigError, InputError, PinjoinError
from pinjoin.data.presets import PRESETS, open_preset
from pinjoin.data.rejects import Rejects
from pinjoin.data.schema import BOARDS, PINS

Row = dict[str, Any]


def rows(source: Any, rejects: Rejects | None = None) -> list[Row]:
    """All rows of a source, without what is null."""
    found: list[Row] = []
    for batch in source.batches(rejects or Rejects(None, strict=True)):
        batch.validate(full=True)
        assert batch.schema == source.schema
        assert batch.num_rows
        found += [{k: v for k, v in row.items() if v is not None} for row in batch.to_pylist()]
    return found


def by_id(found: list[Row], key: str) -> dict[str, Row]:
    assert len({row[key] for row in found}) == len(found)
    return {row.pop(key): row for row in found}


def rejected(source: Any, path: Path) -> tuple[list[Row], list[tuple[Any, Any, str]]]:
    """The good rows, and (row, value, reason) of each reject."""
    with Rejects(path) as rejects:
        found = rows(source, rejects)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return found, [(line["row"], line["value"], line["reason"]) for line in lines]


def when(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# --- the registry -------------------------------------------------------------------------------


def test_the_registry_names_and_describes_the_presets() -> None:
    assert list(PRESETS) == ["unsplash", "pinterest-iccv", "movielens"]
    assert all("\n" not in preset.description for preset in PRESETS.values())


def test_an_unknown_name_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unsplash, pinterest-iccv, movielens\. Got 'imagenet'"):
        open_preset("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("unsplash", r"photos\.tsv000…, collections\.tsv000…\."),
        ("pinterest-iccv", r"board_pins\.bson, pin_im\.bson\."),
        ("movielens", r"ratings\.csv \(or \.dat\), movies\.csv \(or \.dat\)\."),
    ],
)
def test_missing_files_are_named_beside_what_is_there(
    tmp_path: Path, name: str, missing: str
) -> None:
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(InputError, match=rf"Missing: {missing} The directory holds readme\.md\."):
        open_preset(name, tmp_path)


def test_the_directory_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone does not exist\. Name the directory"):
        open_preset("movielens", tmp_path / "gone")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is not a directory"):
        open_preset("movielens", tmp_path / "file")


# --- unsplash -----------------------------------------------------------------------------------

PHOTO_COLUMNS = [
    "photo_id",
    "photo_url",
    "photo_image_url",
    "photo_submitted_at",
    "photo_featured",
    "photo_width",
    "photo_height",
    "photo_aspect_ratio",
    "photo_description",
    "photographer_username",
    "photographer_first_name",
    "photographer_last_name",
    "exif_camera_make",
    "exif_camera_model",
    "exif_iso",
    "exif_aperture_value",
    "exif_focal_length",
    "exif_exposure_time",
    "photo_location_name",
    "photo_location_latitude",
    "photo_location_longitude",
    "photo_location_country",
    "photo_location_city",
    "stats_views",
    "stats_downloads",
    "ai_description",
    "ai_primary_landmark_name",
    "ai_primary_landmark_latitude",
    "ai_primary_landmark_longitude",
    "ai_primary_landmark_confidence",
    "blur_hash",
]
KEYWORD_COLUMNS = [
    "photo_id",
    "keyword",
    "ai_service_1_confidence",
    "ai_service_2_confidence",
    "suggested_by_user",
]
COLLECTION_COLUMNS = ["photo_id", "collection_id", "collection_title", "photo_collected_at"]
CONVERSION_COLUMNS = [
    "converted_at",
    "conversion_type",
    "keyword",
    "photo_id",
    "anonymous_user_id",
    "conversion_country",
]
COLOR_COLUMNS = ["photo_id", "hex", "red", "green", "blue", "keyword", "ai_coverage", "ai_score"]

IMAGE = "https://images.unsplash.com/photo-"
PAGE = "https://unsplash.com/photos/"


def write_table(
    path: Path,
    columns: Iterable[str],
    table: Iterable[Mapping[str, object] | Iterable[object]],
    delimiter: str = "\t",
) -> None:
    lines = [delimiter.join(columns)]
    for row in table:
        values = [row.get(c, "") for c in columns] if isinstance(row, Mapping) else row
        lines.append(delimiter.join(map(str, values)))
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_unsplash(folder: Path, kind: str = "tsv", compressed: str = "") -> Path:
    photo = {"photo_submitted_at": "2016-01-13 20:53:57.21", "photo_featured": "t"}
    photos = [
        photo
        | {
            "photo_id": "bygTaBey1Xk",
            "photo_url": PAGE + "bygTaBey1Xk",
            "photo_image_url": IMAGE + "1",
            "photo_width": 4635,
            "photo_height": 3070,
            "photo_description": '"Dawn, over ""the"" lake\nin May"',
            "stats_views": 1615823,
            "stats_downloads": 6731,
            "ai_description": "body of water under sky",
        },
        photo
        | {
            "photo_id": "gXSFnk2a9V4",
            "photo_url": PAGE + "gXSFnk2a9V4",
            "photo_image_url": IMAGE + "2",
            "ai_description": "person reading near a wall",
        },
    ]
    more = [
        photo | {"photo_id": "noImage_000", "photo_url": PAGE + "noImage_000"},
        photo | {"photo_id": "alone-11111", "photo_image_url": IMAGE + "4"},
        photo | {"photo_id": "alone-11111", "photo_image_url": IMAGE + "5"},  # the first counts
    ]
    keywords = [
        ("bygTaBey1Xk", "water", "12.5", "99.0", "f"),
        ("bygTaBey1Xk", "sea", "69.9", "", "f"),  # below 70 and not suggested
        ("bygTaBey1Xk", "my lake", "", "", "t"),
        ("bygTaBey1Xk", "sky", "70.0", "", "f"),
        ("unknown-pic", "lost", "99", "", "f"),
        ("alone-11111", "tree", "", "", "t"),
    ]
    collections = [
        ("bygTaBey1Xk", "162470", "Majestical Sunsets", "2016-03-15 17:04:25"),
        ("gXSFnk2a9V4", "162470", "Majestical Sunsets", "2016-03-15 17:04:26.123456"),
    ]
    more_collections = [
        ("bygTaBey1Xk", "9", "", ""),
        ("noImage_000", "9", "later title", "2020-01-01 00:00:00"),
        ("unknown-pic", "162470", "Majestical Sunsets", "2016-03-15 17:04:27"),
    ]
    for name, columns, table in [
        ("photos.{}000", PHOTO_COLUMNS, photos),
        ("photos.{}001", PHOTO_COLUMNS, more),
        ("keywords.{}000", KEYWORD_COLUMNS, keywords),
        ("collections.{}000", COLLECTION_COLUMNS, collections),
        ("collections.{}001", COLLECTION_COLUMNS, more_collections),
        ("colors.{}000", COLOR_COLUMNS, [("bygTaBey1Xk", "FFF", 1, 2, 3, "white", 0.5, 0.5)]),
        ("conversions.{}000", CONVERSION_COLUMNS, [("2019", "download", "a", "b", "c", "US")]),
    ]:
        write_table(folder / (name.format(kind) + compressed), columns, table)
    return folder


@pytest.mark.parametrize(("kind", "compressed"), [("tsv", ""), ("csv", ""), ("tsv", ".gz")])
def test_unsplash_collections_become_boards(tmp_path: Path, kind: str, compressed: str) -> None:
    catalogue = open_preset("unsplash", write_unsplash(tmp_path, kind, compressed))
    assert catalogue.pins.schema.names == [
        *PINS.names,
        "feature_downloads",
        "feature_height",
        "feature_views",
        "feature_width",
    ]
    lake = {
        "image": IMAGE + "1",
        "title": 'Dawn, over "the" lake\nin May',
        "description": "body of water under sky; my lake, water, sky",
        "link": PAGE + "bygTaBey1Xk",
        "feature_downloads": 6731.0,
        "feature_height": 3070.0,
        "feature_views": 1615823.0,
        "feature_width": 4635.0,
    }
    assert by_id(rows(catalogue.pins), "pin_id") == {
        "162470/bygTaBey1Xk": lake | {"board_id": "162470", "created_at": when(1458061465)},
        "162470/gXSFnk2a9V4": {
            "board_id": "162470",
            "image": IMAGE + "2",
            "title": "person reading near a wall",
            "link": PAGE + "gXSFnk2a9V4",
            "created_at": when(1458061466),
        },
        "9/bygTaBey1Xk": lake | {"board_id": "9"},
        "9/noImage_000": {
            "board_id": "9",
            "image": "noImage_000",
            "link": PAGE + "noImage_000",
            "created_at": when(1577836800),
        },
        "162470/unknown-pic": {
            "board_id": "162470",
            "image": "unknown-pic",
            "created_at": when(1458061467),
        },
        "alone-11111": {"image": IMAGE + "4", "description": "tree"},
    }
    assert rows(catalogue.boards) == [
        {"board_id": "162470", "title": "Majestical Sunsets"},
        {"board_id": "9"},
    ]


def test_unsplash_works_without_keywords_and_statistics(tmp_path: Path) -> None:
    write_table(tmp_path / "photos.tsv000", PHOTO_COLUMNS[:3], [("a", PAGE + "a", IMAGE + "a")])
    write_table(tmp_path / "collections.tsv000", COLLECTION_COLUMNS, [("a", "1", "One", "")])
    catalogue = open_preset("unsplash", tmp_path)
    assert catalogue.pins.schema == PINS
    assert rows(catalogue.pins) == [
        {"pin_id": "1/a", "board_id": "1", "image": IMAGE + "a", "link": PAGE + "a"}
    ]


def test_unsplash_keeps_the_twenty_best_keywords_suggested_ones_first(tmp_path: Path) -> None:
    write_unsplash(tmp_path)
    sure = [("bygTaBey1Xk", f"k{i}", 71 + i, "", "f") for i in range(25)]
    write_table(
        tmp_path / "keywords.tsv000", KEYWORD_COLUMNS, [*sure, ("bygTaBey1Xk", "own", "", "", "t")]
    )
    description = rows(open_preset("unsplash", tmp_path).pins)[0]["description"]
    best = ["own", *(f"k{i}" for i in range(24, 24 - 19, -1))]  # 1 + 19 = 20
    assert description == "body of water under sky; " + ", ".join(best)


def test_unsplash_bad_rows_are_rejected_with_their_lines(tmp_path: Path) -> None:
    write_unsplash(tmp_path)
    collections = tmp_path / "collections.tsv000"
    text = collections.read_text()
    collections.write_bytes(
        text.encode()
        + b"\t162470\tNo photo\t\n"  # line 4
        + b"bygTaBey1Xk\t\tNo collection\t\n"  # line 5
        + b"bygTaBey1Xk\t3\tToo\tmany\tfields\n"  # line 6
        + b"bygTaBey1Xk\t4\tNo time\tyesterday\n"  # line 7
        + b"bygTaBey1Xk\t5\tNot \xff UTF-8\t\n"  # line 8
    )
    catalogue = open_preset("unsplash", tmp_path)
    found, refused = rejected(catalogue.pins, tmp_path / "rejects.jsonl")
    assert [(row, reason.split(";")[0]) for row, _, reason in refused] == [
        (6, "the row has 5 fields"),
        (4, "photo_id is missing"),
        (5, "collection_id is missing"),
        (8, "not UTF-8 text"),
        (7, "not a time between the years 1 and 9999"),
    ]
    boards = {row["board_id"] for row in found if "board_id" in row}
    assert boards == {"162470", "9", "4"} == {row["board_id"] for row in rows(catalogue.boards)}


def test_unsplash_lacking_columns_are_named(tmp_path: Path) -> None:
    write_unsplash(tmp_path)
    write_table(tmp_path / "photos.tsv001", ["id", "url"], [("a", "b")])
    with pytest.raises(
        InputError, match=r"photos\.tsv001 has no column photo_id, photo_image_url, .* has id, url"
    ):
        open_preset("unsplash", tmp_path)


def test_a_fingerprint_changes_with_any_file(tmp_path: Path) -> None:
    write_unsplash(tmp_path)
    catalogue = open_preset("unsplash", tmp_path)
    pins, boards = catalogue.pins.fingerprint(), catalogue.boards.fingerprint()
    again = open_preset("unsplash", tmp_path)
    assert (again.pins.fingerprint(), again.boards.fingerprint()) == (pins, boards)
    write_table(tmp_path / "keywords.tsv000", KEYWORD_COLUMNS, [("a", "b", 99, "", "f")])
    assert open_preset("unsplash", tmp_path).pins.fingerprint() != pins


# --- pinterest-iccv -----------------------------------------------------------------------------


def write_bson(path: Path, documents: Iterable[Mapping[str, object]]) -> None:
    bson = pytest.importorskip("bson", reason="needs the bson extra")
    path.write_bytes(b"".join(map(bson.encode, documents)))


PIN_IMAGES = [
    {"pin_id": "101", "im_name": "aa.jpg", "im_url": "http://media-cache-ak0.pinimg.com/aa.jpg"},
    {"pin_id": "102", "im_name": "bb.jpg", "im_url": "http://media-cache-ak0.pinimg.com/bb.jpg"},
    # The same image on another server.
    {"pin_id": "103", "im_name": "aa.jpg", "im_url": "http://media-cache-ec0.pinimg.com/aa.jpg"},
    {"pin_id": 104, "im_name": "cc.jpg"},
    {"pin_id": "105", "im_name": "dd.jpg", "im_url": ""},
]
ANNA = "http://www.pinterest.com/anna/Caf%C3%A9-kitchen_ideas/"
BOARD_PINS = [
    {"board_id": "7", "board_url": ANNA, "cate_id": 12, "pins": ["101", "102", "104"]},
    {"board_id": 8, "board_url": "/ben/bikes/", "cate_id": "sport", "pins": ["103", "102"]},
    {"board_id": "9", "board_url": None, "pins": []},
]


def write_iccv(folder: Path, boards: Iterable[Row] = BOARD_PINS) -> Path:
    write_bson(folder / "subset_iccv_pin_im.bson", PIN_IMAGES)
    write_bson(folder / "subset_iccv_board_pins.bson", boards)
    return folder


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_pinterest_boards_and_pins(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinjoin.data.pinterest._ROWS", at_once)
    catalogue = open_preset("pinterest-iccv", write_iccv(tmp_path))
    a, b = PIN_IMAGES[0]["im_url"], PIN_IMAGES[1]["im_url"]
    assert rows(catalogue.pins) == [
        {"pin_id": "101", "board_id": "7", "image": a, "user_id": "anna"},
        {"pin_id": "102", "board_id": "7", "image": b, "user_id": "anna"},
        {"pin_id": "104", "board_id": "7", "image": "cc.jpg", "user_id": "anna"},
        {"pin_id": "103", "board_id": "8", "image": a, "user_id": "ben"},
        {"pin_id": "102", "board_id": "8", "image": b, "user_id": "ben"},
        {"pin_id": "105", "image": "dd.jpg"},  # on no board
    ]
    assert rows(catalogue.boards) == [
        {"board_id": "7", "title": "Café kitchen ideas", "category": "12", "user_id": "anna"},
        {"board_id": "8", "title": "bikes", "category": "sport", "user_id": "ben"},
        {"board_id": "9"},
    ]
    assert catalogue.boards.schema == BOARDS


def test_pinterest_categories_may_come_in_a_third_file(tmp_path: Path) -> None:
    boards = [{k: v for k, v in board.items() if k != "cate_id"} for board in BOARD_PINS]
    write_iccv(tmp_path, boards)
    categories = [{"board_id": "7", "cate_id": "food"}, {"board_id": 8}, {"cate_id": "x"}]
    write_bson(tmp_path / "subset_iccv_board_cate.bson", categories)
    found = rows(open_preset("pinterest-iccv", tmp_path).boards)
    assert [row.get("category") for row in found] == ["food", None, None]


def test_pinterest_bad_documents_are_rejected_by_number(tmp_path: Path) -> None:
    more_images = [{"im_name": "x.jpg"}, {"pin_id": True, "im_name": "x"}, {"pin_id": "106"}]
    write_iccv(
        tmp_path,
        [
            {"board_id": None, "pins": ["101"]},
            {"board_id": "7", "pins": "101"},
            {"board_id": "8", "pins": ["101", 1.5, None, "999", "102"]},
        ],
    )
    write_bson(tmp_path / "subset_iccv_pin_im.bson", [*PIN_IMAGES[:2], *more_images])
    catalogue = open_preset("pinterest-iccv", tmp_path)
    found, refused = rejected(catalogue.pins, tmp_path / "rejects.jsonl")
    assert [row["pin_id"] for row in found] == ["101", "102"]
    no_text = "is not a text or whole number"
    assert refused == [
        (3, None, f"pin_id {no_text}"),
        (4, "True", f"pin_id {no_text}"),
        (5, None, "neither im_name nor im_url says what the image is"),
        (1, None, f"board_id {no_text}"),
        (2, "101", "pins is not a list of pin ids"),
        (3, "1.5", f"a pin id {no_text}"),
        (3, None, f"a pin id {no_text}"),
        (3, "999", "no document of pin_im.bson tells this pin's image"),
    ]
    assert [row["board_id"] for row in rows(catalogue.boards)] == ["7", "8"]


def test_pinterest_damaged_files_are_errors(tmp_path: Path) -> None:
    write_iccv(tmp_path)
    pins = tmp_path / "subset_iccv_pin_im.bson"
    pins.write_bytes(pins.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"pin_im\.bson is damaged after document 4: .* Fetch it"):
        rows(open_preset("pinterest-iccv", tmp_path).pins)
    pins.write_bytes(b'{"pin_id": 1}')
    with pytest.raises(InputError, match=r"pin_im\.bson is damaged after document 0"):
        rows(open_preset("pinterest-iccv", tmp_path).pins)


def test_pinterest_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    write_bson(tmp_path / "board_pins.bson", [{"board_id": "1", "pins": ["5"]}])
    write_bson(tmp_path / "pin_im.bson", [{"pin_id": None}])
    catalogue = open_preset("pinterest-iccv", tmp_path)
    with pytest.raises(InputError, match="none of its rows can be used; 2 were rejected"):
        rows(catalogue.pins, Rejects(None))


def test_pinterest_without_pymongo_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("board_pins.bson", "pin_im.bson"):
        (tmp_path / name).write_bytes(b"")
    for module in (None, sys):  # not installed; another package of that name
        monkeypatch.setitem(sys.modules, "bson", module)
        with pytest.raises(PinjoinError, match=r'pip install "pinjoin\[bson\]"'):
            open_preset("pinterest-iccv", tmp_path)


# --- movielens ----------------------------------------------------------------------------------

MOVIES = [
    (1, "Toy Story (1995)", "Adventure|Children's|Sci-Fi"),
    (2, '"American President, The (1995)"', "Comedy"),
    (3, "No Genre (2000)", "(no genres listed)"),
    (260, "Star Wars: Episode IV (1977)", "Adventure"),
    (5, "Never Seen (2001)", "Comedy"),
]
RATINGS = [
    (1, 1, "4.0", 964982703),
    (1, 2, "3.5", 964982704),
    (1, 260, "5.0", 964982705),
    (12, 2, "4.5", 964982706),
    (12, 3, "5.0", 964982707),
]
TAGS = [
    (1, 2, "Funny!", 1445714994),
    (1, 2, "funny", 1445714995),  # the same board, the same film
    (1, 260, "funny", 1445714996),
    (12, 2, "愉快な", 1445714997),
    (12, 2, ":-)", 1445714998),
]


def film(id: int, title: str, genres: str | None) -> Row:
    about = {"image": f"images/{id}.jpg", "title": title}
    genre = {"description": genres} if genres else {}
    return about | genre | {"link": f"https://movielens.org/movies/{id}"}


TOYS = film(1, "Toy Story (1995)", "Adventure, Children's, Sci-Fi")
PRESIDENT = film(2, "American President, The (1995)", "Comedy")
STARS = film(260, "Star Wars: Episode IV (1977)", "Adventure")


def saved(user: str, board: str, about: Row, seconds: int) -> Row:
    return about | {
        "board_id": f"u{user}-{board}",
        "user_id": user,
        "created_at": when(seconds),
    }


LIKED_PINS = {
    "u1-adventure/1": saved("1", "adventure", TOYS, 964982703),
    "u1-childrens/1": saved("1", "childrens", TOYS, 964982703),
    "u1-sci-fi/1": saved("1", "sci-fi", TOYS, 964982703),
    "u1-adventure/260": saved("1", "adventure", STARS, 964982705),
    "u12-comedy/2": saved("12", "comedy", PRESIDENT, 964982706),
}
TAG_PINS = {
    "u1-tag-funny/2": saved("1", "tag-funny", PRESIDENT, 1445714994),
    "u1-tag-funny/260": saved("1", "tag-funny", STARS, 1445714996),
    "u12-tag-愉快な/2": saved("12", "tag-愉快な", PRESIDENT, 1445714997),
    "u12-tag-:-)/2": saved("12", "tag-:-)", PRESIDENT, 1445714998),
}
UNPLACED = {"3": film(3, "No Genre (2000)", None), "5": film(5, "Never Seen (2001)", "Comedy")}

LIKED_BOARDS = {
    f"u{user}-{slug}": {"title": f"{genre} I love", "category": genre, "user_id": user}
    for user, slug, genre in [
        ("1", "adventure", "Adventure"),
        ("1", "childrens", "Children's"),
        ("1", "sci-fi", "Sci-Fi"),
        ("12", "comedy", "Comedy"),
    ]
}
TAG_BOARDS = {
    "u1-tag-funny": {"title": "Funny!", "user_id": "1"},
    "u12-tag-愉快な": {"title": "愉快な", "user_id": "12"},
    "u12-tag-:-)": {"title": ":-)", "user_id": "12"},
}


def write_movielens(folder: Path, compressed: str = "") -> Path:
    for name, columns, table in [
        ("movies", ["movieId", "title", "genres"], MOVIES),
        ("ratings", ["userId", "movieId", "rating", "timestamp"], RATINGS),
        ("tags", ["userId", "movieId", "tag", "timestamp"], TAGS),
    ]:
        write_table(folder / f"{name}.csv{compressed}", columns, table, ",")
    return folder


def write_dat(folder: Path, encoding: str) -> Path:
    """The 1M (latin-1, no tags, whole ratings) or 10M (UTF-8) form."""
    movies = [(id, title.strip('"'), genres) for id, title, genres in MOVIES]
    files = {
        "movies": movies,
        "ratings": [(u, m, float(r) // 0.5 / 2, t) for u, m, r, t in RATINGS],
    }
    if encoding == "utf-8":
        files["tags"] = TAGS
    for name, table in files.items():
        text = "".join("::".join(map(str, row)) + "\n" for row in table)
        (folder / f"{name}.dat").write_bytes(text.encode(encoding))
    return folder


@pytest.mark.parametrize("compressed", ["", ".gz"])
def test_movielens_likes_and_tags_become_boards(tmp_path: Path, compressed: str) -> None:
    catalogue = open_preset("movielens", write_movielens(tmp_path, compressed))
    assert by_id(rows(catalogue.pins), "pin_id") == LIKED_PINS | TAG_PINS | UNPLACED
    assert by_id(rows(catalogue.boards), "board_id") == LIKED_BOARDS | TAG_BOARDS


def test_movielens_without_tags(tmp_path: Path) -> None:
    (write_movielens(tmp_path) / "tags.csv").unlink()
    catalogue = open_preset("movielens", tmp_path)
    assert by_id(rows(catalogue.pins), "pin_id") == LIKED_PINS | UNPLACED
    assert by_id(rows(catalogue.boards), "board_id") == LIKED_BOARDS


def test_movielens_with_double_colons(tmp_path: Path) -> None:
    catalogue = open_preset("movielens", write_dat(tmp_path, "utf-8"))
    assert by_id(rows(catalogue.pins), "pin_id") == LIKED_PINS | TAG_PINS | UNPLACED
    assert by_id(rows(catalogue.boards), "board_id") == LIKED_BOARDS | TAG_BOARDS


def test_movielens_1m_is_latin_1_and_quotes_mean_nothing_there(tmp_path: Path) -> None:
    write_dat(tmp_path, "latin-1")
    with (tmp_path / "movies.dat").open("ab") as file:
        file.write(
            '6::"Léon" & "Mathilda" (1994)::Crime|Thriller\r\n7::"Open (1)::Crime'.encode("latin-1")
        )
    catalogue = open_preset("movielens", tmp_path)
    pins = by_id(rows(catalogue.pins), "pin_id")
    assert pins == LIKED_PINS | UNPLACED | {
        "6": film(6, '"Léon" & "Mathilda" (1994)', "Crime, Thriller"),
        "7": film(7, '"Open (1)', "Crime"),
    }


def test_double_colons_survive_any_block_size() -> None:
    from pinjoin.data.double_colons import _Retold

    class Dribble:
        """Gives a byte or two at a time, as a decompressing stream may."""

        def __init__(self, data: bytes) -> None:
            self.data = data

        def read(self, size: int) -> bytes:
            given, self.data = self.data[: min(size, 2)], self.data[min(size, 2) :]
            return given

    text = b'1::a:b::c\n2::"q"::\n\n3::::x'
    stream = _Retold(Dribble(text))
    read = b"".join(iter(lambda: stream.read(3), b""))
    assert read == b'1\x1fa:b\x1fc\n"2"\x1f"""q"""\x1f""\n\n3\x1f\x1fx'


def test_movielens_bad_rows_are_rejected_with_their_lines(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    with (tmp_path / "ratings.csv").open("ab") as file:
        file.write(
            b"x,1,4.0,964982703\n"  # line 7
            b"1,1.5,4.0,964982703\n"
            b"1,1,four,964982703\n"
            b"1,99,4.0,964982703\n"  # line 10
            b"1,1,NaN,964982703\n"
            b" 13 ,2,4.0, 964982703\n"  # good
            b"14,2,4.0,long ago\n"  # kept, without its time
            b"-1,2,4.0,964982703\n"
            b"1,2,\xff,964982703\n"
            b"1,2\n"
        )
    with (tmp_path / "movies.csv").open("a") as file:
        file.write("x,Bad,Drama\n8,,Drama\n")
    with (tmp_path / "tags.csv").open("a") as file:
        file.write("1,99,new,1445714994\n1,2,,1445714994\nx,2,new,1445714994\n1,2,old,then\n")
    catalogue = open_preset("movielens", tmp_path)
    found, refused = rejected(catalogue.pins, tmp_path / "rejects.jsonl")
    pins = by_id(found, "pin_id")
    late = {
        "u13-comedy/2": saved("13", "comedy", PRESIDENT, 964982703),
        "u14-comedy/2": {**PRESIDENT, "board_id": "u14-comedy", "user_id": "14"},
        "u1-tag-old/2": {**PRESIDENT, "board_id": "u1-tag-old", "user_id": "1"},
        "8": {k: v for k, v in film(8, "", "Drama").items() if k != "title"},
    }
    assert pins == LIKED_PINS | TAG_PINS | UNPLACED | late
    no_movie = "the table of movies has no such movieId"
    no_time = "not a time between the years 1 and 9999; the row is kept without it"
    assert sorted(refused, key=lambda one: (one[2], one[0])) == [
        (7, "x", "movieId is not a whole number"),  # of movies.csv
        (8, "1.5", "movieId is not a whole number"),
        (10, "then", no_time),  # of tags.csv
        (13, "long ago", no_time),
        (9, "four", "rating is not a number"),
        (11, "NaN", "rating is not a number"),
        (15, "\\xff", "rating is not a number"),
        (8, "", "tag is missing"),
        (16, "1,2", "the row has 2 fields; the header has 4"),
        (7, "99", no_movie),  # of tags.csv
        (10, "99", no_movie),
        (7, "x", "userId is not a whole number"),
        (9, "x", "userId is not a whole number"),  # of tags.csv
        (14, "-1", "userId is not a whole number"),
    ]
    boards = by_id(rows(catalogue.boards), "board_id")
    assert {p["board_id"] for p in pins.values() if "board_id" in p} == set(boards)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ratings.csv", "user,item,score\n1,1,5\n", r"no column userId, movieId, rating"),
        ("ratings.csv", "", r"ratings\.csv is empty \(0 bytes\)"),
        ("movies.csv", "movieId,title,genres\n", r"movies\.csv has no rows"),
        ("movies.csv", "movieId,title,genres\nx,y,z\n", r"movies\.csv: none of its rows"),
        ("ratings.csv", "userId,movieId,rating\nx,1,5\n", None),
    ],
)
def test_movielens_unusable_files(
    tmp_path: Path, name: str, text: str, message: str | None
) -> None:
    write_movielens(tmp_path)
    (tmp_path / "tags.csv").unlink()
    (tmp_path / name).write_text(text)
    if message is None:  # the films are still a catalogue
        assert len(rows(open_preset("movielens", tmp_path).pins, Rejects(None))) == len(MOVIES)
        return
    with pytest.raises(InputError, match=message):
        rows(open_preset("movielens", tmp_path).pins, Rejects(None))


def test_strict_fails_at_the_first_bad_row(tmp_path: Path) -> None:
    write_movielens(tmp_path)
    with (tmp_path / "ratings.csv").open("a") as file:
        file.write("x,1,4.0,964982703\n")
    with pytest.raises(InputError, match=r"ratings\.csv, row 7, column userId: .* Got 'x'"):
        rows(open_preset("movielens", tmp_path).pins)


def test_many_ratings_stream_in_batches(tmp_path: Path) -> None:
    """More rows than one batch or one block of text holds; each liked once per genre."""
    users, films = 300, 700
    genres = ["Action", "Drama", "War"]
    write_table(
        tmp_path / "movies.csv",
        ["movieId", "title", "genres"],
        [(m, f"Film {m}", "|".join(genres[: m % 4])) for m in range(films)],
        ",",
    )
    lines = [f"{u},{m},{1 + (u + m) % 5}.0,{10**9}" for u in range(users) for m in range(films)]
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(lines))
    catalogue = open_preset("movielens", tmp_path)
    found = rows(catalogue.pins)
    expected = (
        {
            f"u{u}-{genre.lower()}/{m}"
            for u in range(users)
            for m in range(films)
            if (u + m) % 5 in (3, 4)  # rated 4 or 5
            for genre in genres[: m % 4]
        }
        | {str(m) for m in range(0, films, 4)}
    )
    assert len(found) == len(expected)
    assert {row["pin_id"] for row in found} == expected
    assert len(rows(catalogue.boards)) == users * len(genres)
    assert max(batch.num_rows for batch in catalogue.pins.batches(Rejects(None))) <= 1 << 17
