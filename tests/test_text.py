"""Words, terms and weights of annotations, against the plainest way to compute them."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinjoin.core.errors import ConfigError
from pinjoin.core.incidence import Incidence
from pinjoin.features import documents, terms, text
from pinjoin.features.characters import folds
from pinjoin.features.text import NO_TERM, Annotations, TextConfig, of_texts
from pinjoin.features.words import said_terms, split_texts, stop_words
from pinjoin.snapshot.reader import open_snapshot
from pinjoin.snapshot.writer import SnapshotWriter

ENGLISH = 0


def words(string: str) -> list[str]:
    return split_texts(pa.array([string])).words.to_pylist()


def said(string: str, longest: int = 3, main: int = ENGLISH) -> set[str]:
    return said_terms([string], main, longest)[0]


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("Women's T-Shirt", "women t-shirt"),
        ("H&M & don't; O’Neill", "h&m don't o'neill"),
        ("L'été dell’arte, qu'il", "été arte il"),
        ("Straße ΟΔΟΣ İstanbul", "strasse οδοσ istanbul"),
        ("cafe\u0301 CAFÉ", "café café"),
        ("ﬁne Ｗｉｄｅ m²", "fine wide m2"),
        ("IKEA™ KALLAX®", "ikea kallax"),
        ("living_room black/white sofa-bed", "living room black white sofa bed"),
        ("#HomeDecor#DIY", "homedecor diy"),
        ("see https://a.b/c?d=e, www.x.org/y WWW.Z now", "see now"),
        ("tel 123456789 a8f3c91b22 90x200 cm", "tel 90x200 cm"),
        ("x" * 41 + " " + "y" * 40, "y" * 40),
        ("北欧風の家", "北 欧 風 の 家"),
        ("ソファとテーブル・かわいい猫", "ソファ と テーブル かわいい 猫"),
        ("เก้าอี้", "เ ก้ า อี้"),
        ("소파를 집", "소파를 집"),
        ("लकड़ी की कुर्सी", "लकड़ी की कुर्सी"),
        ("שולחן עץ\u200f", "שולחן עץ"),
        ("كـــرسي خشبي", "كرسي خشبي"),
        ("می\u200cخواهم", "میخواهم"),
        ("👩\u200d🍳I❤️you👍🏽", "👩\u200d🍳 i ❤ you 👍"),
        ("❤️\u200d🔥🇸🇪🇳🇴", "❤\u200d🔥 🇸🇪 🇳🇴"),
        ("★ ✓ → 100% …", "100"),
        ("\u0301\u200d\ufe0f'", ""),
        ("𠮷野家 𝐁𝐨𝐥𝐝", "𠮷 野 家 bold"),
    ],
)
def test_words(string, expected):
    assert words(string) == expected.split()


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("the bed of roses", {"bed", "bed of roses", "roses"}),
        ("red, lamp", {"red", "lamp"}),
        ("red lamp shade", {"red", "lamp", "shade", "red lamp", "lamp shade", "red lamp shade"}),
        ("iphone 15", {"iphone", "iphone 15"}),
        ("2 seats (1995)", {"seats", "1995"}),
        ("vitamin c", {"vitamin", "vitamin c"}),
        ("北欧風", {"北", "欧", "風", "北欧", "欧風", "北欧風"}),
        ("北の家 sofa", {"北", "家", "北の家", "sofa"}),
        ("木 家", {"木", "家"}),
        ("木製テーブル", {"木", "製", "テーブル", "木製", "製テーブル", "木製テーブル"}),
        ("อี้ไม้", {"อี้ไ", "อี้ไม้", "ไม้"}),
        ("lamp ❤ sofa", {"lamp", "❤", "sofa"}),
        ("a b", set()),
        ("line one\nline", {"line", "line one", "one"}),
    ],
)
def test_terms(string, expected):
    assert said(string) == expected


def test_stop_words_are_those_of_the_language_a_text_shows():
    assert "hat" in said("a red hat")  # German for "has"
    assert "hat" not in said("Das Haus hat eine Küche und die Katze")
    assert "die" in said("die hard")  # one German word shows no German
    german = stop_words().languages.index("de")
    assert "die" not in said("die Katze", main=german)
    assert "www" not in said("Haus www com", main=german)  # in any language


def test_the_main_language_is_what_most_documents_show():
    german = stop_words().languages.index("de")
    texts = ["ein Tisch und Stuhl", "Lampe mit der Hand", "Sofa", "one of the best"]
    assert of_texts(texts).main == german
    assert of_texts(["sea, sand", "sand, sea", "the shell"]).main == ENGLISH  # sea: Spanish, be
    assert of_texts(["lamp"]).main == ENGLISH


@given(st.lists(st.text(alphabet="abcdE ,.\n", max_size=30), max_size=8))
def test_words_of_plain_letters_are_what_a_regular_expression_finds(texts):
    split = split_texts(pa.array(texts, pa.string()))
    expected = [re.findall("[a-e]+", string.lower()) for string in texts]
    assert split.words.to_pylist() == [word for each in expected for word in each]
    assert split.counts.tolist() == [len(each) for each in expected]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_words_of_any_text_are_whole(texts):
    split = split_texts(pa.array(texts, pa.string()))
    split.words.validate(full=True)
    assert "" not in split.words.to_pylist()
    assert split.counts.sum() == len(split.words) == len(split.kinds)


def test_no_character_grows_beyond_the_room_there_is():
    for c, folded in enumerate(folds().tolist()):
        if not 0xD800 <= c < 0xE000:
            pair = chr(folded & 0xFFFFFFFF) + chr(folded >> 32) * (folded >> 32 > 0)
            assert len(pair.encode()) <= 2 * len(chr(c).encode())


# Whole builds

WORDS = ("lamp", "red", "of", "sofa", "北", "欧", "❤", "15", "x")
TEXTS = st.lists(st.sampled_from((*WORDS, ",")), max_size=5).map(" ".join)


@st.composite
def catalogues(draw):
    """(pins: (image, title, description), boards: (title, images))."""
    n_images = draw(st.integers(1, 6))
    pins = [
        (image, draw(st.none() | TEXTS), draw(st.none() | TEXTS))
        for image in range(n_images)
        for _ in range(draw(st.integers(1, 3)))
    ]
    some = st.lists(st.integers(0, n_images - 1), unique=True).map(sorted)
    boards = draw(st.lists(st.tuples(st.none() | TEXTS, some), max_size=4))
    return n_images, pins, boards


def build(catalogue, config=None, **options) -> Annotations:
    n_images, pins, boards = catalogue
    schema = pa.schema([("title", pa.string()), ("description", pa.string())])
    pin_table = pa.table([[p[1] for p in pins], [p[2] for p in pins]], schema=schema)
    board_table = pa.table([[b[0] for b in boards], [None] * len(boards)], schema=schema)
    pairs = [(row, image) for row, board in enumerate(boards) for image in board[1]]
    rows = np.array(pairs, np.int64).reshape(-1, 2).T
    incidence = Incidence.from_pairs(rows[0], rows[1], len(boards), n_images)
    images = np.array([p[0] for p in pins])
    indptr = np.searchsorted(images, np.arange(n_images + 1))
    order = np.arange(len(pins), dtype=np.uint32)
    return text.build(pin_table, board_table, indptr, order, incidence, config, **options)


def reference(catalogue, config: TextConfig, main: int):
    """terms, idf and each image's (term, weight)s by dictionaries."""
    n_images, pins, boards = catalogue
    images = []
    for image in range(n_images):
        texts = [f"{p[1] or ''}\n{p[2] or ''}" for p in pins if p[0] == image]
        texts += [board[0] or "" for board in boards if image in board[1]]
        images.append(said_terms(texts, main, config.words))
    have = Counter(term for said in images for term in set().union(*said))
    chosen = [
        term
        for term, count in have.items()
        if count >= config.min_images
        and (n_images < config.max_share_from or count <= config.max_share * n_images)
    ]
    chosen.sort(key=lambda term: (-have[term], term.encode()))
    chosen = chosen[: config.max_terms]
    idf = {term: math.log((n_images + 1) / (have[term] + 1)) + 1 for term in chosen}
    number = {term: i for i, term in enumerate(chosen)}
    rows = []
    for said in images:
        weights = {
            term: sum(term in terms for terms in said) / len(said) * idf[term]
            for term in set().union(*said) & idf.keys()
        }
        best = sorted(weights, key=lambda term: (-round(weights[term], 9), number[term]))
        best = best[: config.keep]
        length = math.sqrt(sum(weights[term] ** 2 for term in best))
        rows.append([(term, weights[term] / length) for term in best])
    kept = {term for row in rows for term, _ in row}
    return [term for term in chosen if term in kept], idf, rows


def check(catalogue, config, annotations):
    names, idf, rows = reference(catalogue, config, annotations.main)
    assert annotations.terms.to_pylist() == names
    np.testing.assert_allclose(annotations.idf, [idf[term] for term in names], rtol=1e-6)
    assert annotations.ids.shape == annotations.weights.shape == (len(rows), config.keep)
    for row, expected in enumerate(rows):
        found = annotations.of(row)
        assert [term for term, _ in found] == [term for term, _ in expected]
        np.testing.assert_allclose([w for _, w in found], [w for _, w in expected], rtol=1e-6)
        assert not annotations.weights[row][len(expected) :].any()
        assert (annotations.ids[row][len(expected) :] == NO_TERM).all()


CONFIGS = [
    TextConfig(),
    TextConfig(words=1, keep=2),
    TextConfig(words=2, min_images=1, keep=3, max_terms=4),
    TextConfig(min_images=3, max_share=0.7, max_share_from=2),
]


@given(catalogues(), st.sampled_from(CONFIGS), st.sampled_from([1, 3]))
def test_equals_dictionaries(catalogue, config, threads):
    check(catalogue, config, build(catalogue, config, threads=threads))


def test_weight_is_share_of_documents_times_idf():
    catalogue = (
        3,
        [(0, "red lamp", None), (0, "lamp", "lamp"), (1, "red", None), (2, "lamp", None)],
        [("red", [0, 1])],
    )
    found = build(catalogue)
    # Image 0 has 3 documents; 2 of 3 images say "red", and 2 of 3 "lamp".
    idf = math.log((3 + 1) / (2 + 1)) + 1
    red, lamp = 2 / 3 * idf, 2 / 3 * idf
    length = math.sqrt(red**2 + lamp**2)
    assert found.of(0) == [
        ("lamp", pytest.approx(lamp / length)),
        ("red", pytest.approx(red / length)),
    ]
    assert found.of(1) == [("red", 1)]


def test_one_thread_equals_many_and_the_order_of_an_images_pins_does_not_matter():
    rng = np.random.default_rng(5)
    vocabulary = [f"w{i}" for i in range(60)] + list(WORDS)

    def phrase():
        return " ".join(rng.choice(vocabulary, rng.integers(0, 9)))

    pins = [(image, phrase(), phrase()) for image in range(150) for _ in range(rng.integers(1, 9))]
    pins += [(149, "the same words", None)] * 9
    boards = [(phrase(), sorted({int(i) for i in rng.integers(0, 150, 9)})) for _ in range(40)]
    one = build((150, pins, boards), threads=1)
    shuffled = sorted(pins, key=lambda pin: (pin[0], rng.random()))
    for other in (
        build((150, pins, boards), threads=5),
        build((150, shuffled, boards), threads=2),
    ):
        assert other.terms.equals(one.terms)
        assert other.idf.tobytes() == one.idf.tobytes()
        assert other.ids.tobytes() == one.ids.tobytes()
        assert other.weights.tobytes() == one.weights.tobytes()
    check((150, pins, boards), TextConfig(), one)


def test_words_spooled_to_a_file_and_a_sketch_too_small_change_nothing(monkeypatch, tmp_path):
    catalogue = (
        40,
        [(i, " ".join(f"w{i * j % 17}" for j in range(9)), f"v{i}") for i in range(40)],
        [("of all", list(range(40)))],
    )
    expected = build(catalogue)
    folders = []
    make = documents.tempfile.TemporaryFile
    monkeypatch.setattr(
        documents.tempfile, "TemporaryFile", lambda dir: folders.append(dir) or make(dir=dir)
    )
    monkeypatch.setattr(documents, "_IN_MEMORY", 0)
    monkeypatch.setattr(documents, "_PIECE", 7)
    monkeypatch.setattr(documents, "_MOST_BYTES", 100)
    monkeypatch.setattr(terms, "_SKETCH", (8, 8))
    monkeypatch.setattr(terms, "_LEAST_ROOM", 4)
    found = build(catalogue, folder=tmp_path)
    assert found.terms.equals(expected.terms)
    assert found.ids.tobytes() == expected.ids.tobytes()
    assert folders == [tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_pins_that_say_the_same_are_split_once(monkeypatch):
    given_texts = []
    split = documents.split_texts
    monkeypatch.setattr(
        documents, "split_texts", lambda t: given_texts.extend(t.to_pylist()) or split(t)
    )
    build((2, [(0, "a lamp", None), (0, "a lamp", None), (1, "a lamp", None)], []))
    assert given_texts == ["a lamp\n"]


def test_nothing_said():
    assert of_texts([]).ids.shape == (0, 32)
    nothing = of_texts([None, "", "the"])
    assert len(nothing.terms) == 0
    assert nothing.of(1) == []
    assert [array.size for array in nothing.annotate("lamp")] == [0, 0]


def test_a_text_of_many_words():
    long = " ".join(f"word{i % 5000}" for i in range(60_000))
    found = of_texts([long, long, "word7 word8"])
    assert [term for term, _ in found.of(2)] == ["word7", "word7 word8", "word8"]


# Similarity and new texts


def text_similarity(a: list[tuple[str, float]], b: list[tuple[str, float]]) -> float:
    """Cosine of two sparse vectors, term by term."""
    lengths = [math.sqrt(sum(weight**2 for _, weight in each)) for each in (a, b)]
    if not all(lengths):
        return 0.0
    shared = sum(x * y for (s, x), (t, y) in product(a, b) if s == t)
    return shared / (lengths[0] * lengths[1])


@given(catalogues())
def test_cosine_is_the_product_of_stored_weights(catalogue):
    found = build(catalogue)
    dense = np.zeros((len(found.ids), len(found.terms)))
    for row, (ids, weights) in enumerate(zip(found.ids, found.weights, strict=True)):
        dense[row, ids[ids != NO_TERM]] = weights[ids != NO_TERM]
    expected = [[text_similarity(found.of(a), found.of(b)) for b in range(len(dense))]
                for a in range(len(dense))]  # fmt: skip
    np.testing.assert_allclose(dense @ dense.T, expected, atol=1e-6)


@given(catalogues())
def test_a_new_text_is_described_as_an_image_is(catalogue):
    found = build(catalogue, TextConfig(min_images=1, keep=200))
    for image in range(catalogue[0]):
        texts = [f"{p[1] or ''}\n{p[2] or ''}" for p in catalogue[1] if p[0] == image]
        texts += [board[0] or "" for board in catalogue[2] if image in board[1]]
        ids, weights = found.annotate(texts)
        assert ids.tolist() == found.ids[image][: len(ids)].tolist()
        assert (found.ids[image][len(ids) :] == NO_TERM).all()
        np.testing.assert_allclose(weights, found.weights[image][: len(ids)], rtol=1e-5)


def test_saved_and_opened(tmp_path):
    found = of_texts(["red lamp", "red sofa", "un lampadaire et la lampe de la maison", "lamp"])
    with SnapshotWriter(tmp_path, {}, "x") as writer:
        found.save(writer)
        writer.commit({})
    opened = Annotations.open(open_snapshot(tmp_path))
    assert opened.of(0) == found.of(0)
    assert (opened.main, opened.config) == (found.main, found.config)
    for before, after in zip(found.annotate("LAMP red"), opened.annotate("LAMP red"), strict=True):
        assert after.tolist() == before.tolist()


def test_a_share_too_large_makes_no_term():
    texts = ["room lamp"] * 60 + ["room sofa"] * 40
    assert set(of_texts(texts).terms.to_pylist()) == {"room sofa", "sofa"}
    assert "room" in of_texts(texts[1:]).terms.to_pylist()  # fewer than 100 images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": 4}, "words parameter of TextConfig must be from 1 to 3. Got 4"),
        ({"keep": 0}, "keep parameter of TextConfig must be from 1 to 1024. Got 0"),
        ({"min_images": 256}, "min_images parameter .* from 1 to 255. Got 256"),
        ({"max_share": 0}, "max_share parameter .* above 0, and 1 at most. Got 0"),
        ({"max_terms": 0}, "max_terms parameter .* 1 or more. Got 0"),
    ],
)
def test_refused_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        TextConfig(**options)


def test_annotations_of_real_products_tell_their_type(data):
    pins = data / "ikea" / "pins.csv"
    if not pins.is_file():
        pytest.skip(f"no {pins}")
    import pyarrow.csv

    table = pyarrow.csv.read_csv(pins)
    first = {row["image"]: row for row in reversed(table.to_pylist())}
    described = [row for row in first.values() if row["description"]]
    types = np.array([row["description"].split(";")[0].strip() for row in described])
    names, counts = np.unique(types, return_counts=True)
    often = np.isin(types, names[counts >= 15])
    found = of_texts([f"{r['title']}\n{r['description']}" for r in np.array(described)[often]])
    dense = np.zeros((len(found.ids), len(found.terms) + 1))
    np.put_along_axis(dense, np.minimum(found.ids, len(found.terms)).astype(int), found.weights, 1)
    similarity = dense @ dense.T
    np.fill_diagonal(similarity, -1)
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    precision = (types[often][best] == types[often][:, None]).mean()
    assert precision > 0.7  # random: 0.05
