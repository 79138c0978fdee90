"""Make the demo catalogue that ships with pinjoin: photos, pins, boards.

    PINJOIN_DATA=… python examples/make_demo_catalogue.py [FOLDER]

Reads the photos named in demo_photos.csv from PINJOIN_DATA/clothing and writes images/*.jpg,
pins.csv, boards.csv and LICENSE.txt into FOLDER (the package's own by default). The photos and
their colours are real; people, boards and words are drawn with one seed, so the same Pillow and
Python write the same bytes.
"""

from __future__ import annotations

import csv
import io
import math
import os
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import demo_words as words
from demo_colours import garment_colour
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
SEED = 7
BOARDS, LONG_SIDE, QUALITY = 420, 256, 78
UNBOARDED, RENAMED = 7, 14
START = datetime(2024, 1, 6, tzinfo=UTC)
LICENSE = """\
The photos in images/ come from the clothing dataset (small) by Alexey Grigorev and contributors,
https://github.com/alexeygrigorev/clothing-dataset-small, which "can be freely used for any
purpose, including commercial". They were re-encoded and renamed.

pins.csv and boards.csv (people, boards, titles, remarks, dates) are invented, drawn by
examples/make_demo_catalogue.py with a fixed seed, and are under pinjoin's own licence (MIT).
"""


@dataclass
class Photo:
    source: str
    kind: str
    pattern: str
    colour: str
    name: str = ""
    popularity: float = 1.0
    tags: frozenset[str] = frozenset()


@dataclass
class Person:
    name: str
    tastes: dict[str, float]
    writes: str  # how they title: "plain", "lower", "comma", "none"
    talks: float  # share of their pins that carry a remark


@dataclass
class Board:
    id: str
    title: str
    about: str
    category: str
    person: Person
    begun: datetime
    photos: list[Photo] = field(default_factory=list)


def load_photos(clothing: Path) -> list[Photo]:
    """The chosen photos with their measured (or, where the eye disagreed, given) colours."""
    with (HERE / "demo_photos.csv").open(newline="", encoding="utf-8") as rows:
        photos = [
            Photo(row["photo"], row["kind"], row["pattern"], row["colour"])
            for row in csv.DictReader(rows)
        ]
    taken: Counter[str] = Counter()
    for photo in photos:
        with Image.open(clothing / photo.source) as image:
            photo.colour = photo.colour or garment_colour(image)
        stem = slug(f"{photo.kind} {photo.colour}")
        taken[stem] += 1
        photo.name = f"{stem}-{taken[stem]}"
        group = photo.source.split("/")[1]
        photo.tags = frozenset(
            [
                *(group, slug(photo.kind, "_"), photo.pattern, slug(photo.colour, "_")),
                *words.KIND_TAGS[photo.kind].split(),
                *words.COLOUR_TAGS[photo.colour].split(),
            ]
        )
    return photos


def slug(text: str, joint: str = "-") -> str:
    return re.sub(r"[^\w]+", joint, text.lower()).strip(joint)


def choose(rng: random.Random, weights: Sequence[float], n: int) -> list[int]:
    """n distinct positions, drawn by weight without replacement (Efraimidis and Spirakis)."""
    keys = [(math.log(rng.random()) / w, i) for i, w in enumerate(weights) if w > 0]
    return [i for _, i in sorted(keys, reverse=True)[:n]]


def people(rng: random.Random) -> list[Person]:
    """Each with two styles, two colours and one kind of thing they save more than others do."""
    styles = sorted({tag for tags in words.KIND_TAGS.values() for tag in tags.split()})
    colours = [slug(colour, "_") for colour in words.COLOUR_TAGS]
    groups = ["dress", "shoes", "outwear", "pants", "shirt", "skirt", "longsleeve", "t-shirt"]
    crowd = []
    for name in words.PEOPLE.split():
        liked = rng.sample(styles, 2) + rng.sample(colours, 2) + rng.sample(groups, 1)
        writes = rng.choice(("plain", "plain", "lower", "lower", "comma", "none"))
        crowd.append(Person(name, dict.fromkeys(liked, 3.0), writes, rng.uniform(0.1, 0.6)))
    return crowd


def size_of(rng: random.Random) -> int:
    """Board sizes follow a power law, P(size ≥ s) = (3 / s)^1.1, from 3 to 60."""
    while (size := int(3 * (1 - rng.random()) ** (-1 / 1.1))) > 60:
        pass
    return size


def fit(photo: Photo, alternatives: Iterable[str]) -> int:
    return sum(photo.tags.issuperset(alternative.split("+")) for alternative in alternatives)


def taste(person: Person, photo: Photo) -> float:
    return photo.popularity * math.prod(
        weight for tag, weight in person.tastes.items() if tag in photo.tags
    )


def draw(
    rng: random.Random, photos: list[Photo], weigh: Callable[[Photo], float], n: int
) -> list[Photo]:
    return [photos[i] for i in choose(rng, [weigh(photo) for photo in photos], n)]


def themed_board(rng: random.Random, person: Person, photos: list[Photo]) -> Board:
    theme = rng.choices(words.THEMES, [t.share * affinity(person, t) for t in words.THEMES])[0]
    alternatives = theme.fits.split()
    pool = sum(fit(photo, alternatives) > 0 for photo in photos)
    size = min(size_of(rng), max(3, int(0.6 * pool)))
    chosen = draw(rng, photos, lambda p: taste(person, p) * fit(p, alternatives) ** 2, size)
    strays = int(rng.random() < 0.25) * max(1, size // 16)  # nobody's boards are pure
    chosen[size - strays :] = draw(
        rng, [p for p in photos if p not in chosen], lambda p: taste(person, p), strays
    )
    category = theme.category if rng.random() < 0.9 else ""
    return Board(
        "", rng.choice(theme.titles), rng.choice(theme.about), category, person,
        begin(rng, theme.months), chosen,
    )  # fmt: skip


def affinity(person: Person, theme: words.Theme) -> float:
    return 1 + 2 * any(tag in re.split(r"[ +]", theme.fits) for tag in person.tastes)


def outfit_board(rng: random.Random, person: Person, photos: list[Photo]) -> Board:
    """Three to six pieces for one occasion whose colours go together; a top, a bottom, shoes…"""
    style = rng.choice(("office", "casual", "summer", "autumn", "winter", "street", "romantic"))
    accent = rng.choice(photos).colour
    neutral = {"black", "white", "grey", "navy", "beige", "blue", "light blue", "brown", accent}
    tops, bottoms = ("shirt", "longsleeve", "t-shirt"), ("pants", "skirt", "shorts")
    slots: list[tuple[str, ...]] = [tops, bottoms] if rng.random() < 0.75 else [("dress",)]
    slots += [("shoes",)]
    slots += [("outwear",)] if style in ("autumn", "winter") or rng.random() < 0.3 else []
    slots += [("hat",)] if rng.random() < 0.35 else []
    slots += [("shoes",)] * (len(slots) < 3) + [tops] * (rng.random() < 0.25)

    def weigh(photo: Photo) -> float:
        in_style = 6.0 if style in photo.tags else 1.0
        return taste(person, photo) * in_style * (5.0 if photo.colour in neutral else 0.3)

    chosen: list[Photo] = []
    for groups in slots:
        pool = [p for p in photos if p not in chosen and p.source.split("/")[1] in groups]
        chosen += draw(rng, pool, weigh, 1)
    a, b = (f"{p.colour} {p.kind}" for p in chosen[:2])
    title = rng.choice(words.OUTFIT_TITLES).format(a=a, b=b)
    months = {"summer": words.SUMMER, "winter": words.WINTER, "autumn": words.AUTUMN}
    return Board(
        "", title[0].upper() + title[1:], rng.choice(words.OUTFIT_ABOUT), "Outfits", person,
        begin(rng, months.get(style, tuple(range(1, 13)))), chosen,
    )  # fmt: skip


def capsule_board(rng: random.Random, person: Person, photos: list[Photo]) -> Board:
    chosen = draw(
        rng,
        photos,
        lambda p: taste(person, p) * (3 * fit(p, ("neutral", "plain", "office", "casual")) + 0.2),
        rng.randint(10, 30),
    )
    return Board("", rng.choice(words.CAPSULE_TITLES), "", "Outfits", person, begin(rng), chosen)


def wish_board(rng: random.Random, person: Person, photos: list[Photo]) -> Board:
    chosen = draw(rng, photos, lambda p: taste(person, p), size_of(rng))
    title, about = rng.choice(words.WISH_TITLES), rng.choice(words.WISH_ABOUT)
    category = rng.choice(("Fashion", "Fashion", ""))
    return Board("", title, about, category, person, begin(rng), chosen)


def begin(rng: random.Random, months: Sequence[int] = tuple(range(1, 13))) -> datetime:
    day = (rng.choice(list(months)) - 1) * 30.4 + rng.random() * 30
    return START + timedelta(days=min(day, 350), seconds=int(rng.gauss(19, 3) * 3600))


def make_boards(rng: random.Random, crowd: list[Person], photos: list[Photo]) -> list[Board]:
    makers = (themed_board, outfit_board, capsule_board, wish_board)
    busy = [1 / (1 + i) ** 0.5 for i in range(len(crowd))]
    boards: dict[str, Board] = {}
    while len(boards) < BOARDS:
        person = rng.choices(crowd, busy)[0]
        maker = rng.choices(makers, (0.66, 0.22, 0.04, 0.08))[0]
        board = maker(rng, person, photos)
        board.id = f"{person.name}/{slug(board.title)}"
        boards.setdefault(board.id, board)  # nobody makes the same board twice
    return list(boards.values())


def pin_title(rng: random.Random, person: Person, photo: Photo) -> str:
    pattern = "" if photo.pattern == "plain" else photo.pattern
    thing = " ".join(filter(None, (photo.colour, pattern, photo.kind)))
    if person.writes == "none" and rng.random() < 0.7:
        return ""
    if person.writes == "comma":
        return f"{photo.kind}, {photo.colour}".capitalize()
    fitting = [word for tag in sorted(photo.tags) for word in words.BEFORE.get(tag, ())]
    if fitting and rng.random() < 0.3:
        thing = f"{rng.choice(fitting)} {thing}"
    return thing.lower() if person.writes == "lower" else thing[0].upper() + thing[1:].lower()


def pin_remark(rng: random.Random, person: Person, photo: Photo) -> str:
    if rng.random() > person.talks:
        return ""
    groups = [tag for tag in sorted(photo.tags) if tag in words.REMARKS]
    return rng.choice(words.REMARKS[rng.choice(["", *groups])])


def make_pins(
    rng: random.Random, boards: list[Board], alone: list[Photo], renamed: dict[str, str]
) -> list[dict[str, str]]:
    """One row per saving, in order of time; `renamed` photos are saved under either name."""
    crowd = sorted({board.person.name: board.person for board in boards}.items())
    rows = []

    def save(photo: Photo, person: Person, board_id: str, when: datetime) -> None:
        name = photo.name
        if name in renamed and rng.random() < 0.4:
            name = renamed[name]
        rows.append(
            {
                "pin_id": "",
                "board_id": board_id,
                "image": f"images/{name}.jpg",
                "title": pin_title(rng, person, photo),
                "description": pin_remark(rng, person, photo),
                "user_id": person.name,
                "created_at": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    for board in boards:
        when = board.begun
        for photo in board.photos:
            # Most savings come in one sitting; now and then weeks pass.
            pause = 60 * rng.expovariate(0.4) if rng.random() < 0.8 else 86400 * rng.uniform(1, 25)
            when = min(when + timedelta(seconds=20 + pause), START + timedelta(days=358))
            save(photo, board.person, board.id, when)
    for photo in alone:  # uploaded, put on no board
        save(photo, rng.choice(crowd)[1], "", begin(rng))
    rows.sort(key=lambda row: (row["created_at"], row["board_id"], row["image"]))
    for number, row in enumerate(rows, 1):
        row["pin_id"] = f"p{number:04d}"
    return rows


def write_image(source: Path, target: Path, progressive: bool = False) -> bytes:
    """Re-encode without metadata; return the decoded pixels of what was written."""
    with Image.open(source) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    small.save(target, "JPEG", quality=QUALITY, optimize=True, progressive=progressive)
    with Image.open(io.BytesIO(target.read_bytes())) as written:
        return written.tobytes()


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(folder: Path) -> None:
    data = Path(os.environ.get("PINJOIN_DATA", HERE.parent.parent / "shared" / "data"))
    rng = random.Random(SEED)
    photos = load_photos(data / "clothing")
    for photo in photos:
        photo.popularity = math.exp(rng.gauss(0, 0.6))
    shuffled = rng.sample(photos, len(photos))
    lonely, shared = shuffled[:UNBOARDED], shuffled[UNBOARDED:]
    boards = make_boards(rng, people(rng), shared)
    on_boards = Counter(photo.name for board in boards for photo in board.photos)
    popular = [photo for photo in shared if on_boards[photo.name] >= 6]
    renamed = {p.name: f"saved-{rng.randrange(16**8):08x}" for p in rng.sample(popular, RENAMED)}
    never = [photo for photo in shared if not on_boards[photo.name]]
    pins = make_pins(rng, boards, lonely + never, renamed)

    shutil.rmtree(folder / "images", ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    used = {pin["image"] for pin in pins}
    for photo in photos:
        pixels = None
        for name, progressive in ((photo.name, False), (renamed.get(photo.name), True)):
            if name is None or f"images/{name}.jpg" not in used:
                continue
            # The copy is stored progressively: other bytes, the same pixels.
            path = folder / "images" / f"{name}.jpg"
            written = write_image(data / "clothing" / photo.source, path, progressive)
            if pixels not in (None, written):
                raise RuntimeError(f"{path} does not decode to the pixels of {photo.name}.jpg.")
            pixels = written
    write_table(folder / "pins.csv", pins)
    write_table(
        folder / "boards.csv",
        [
            {
                "board_id": board.id,
                "title": board.title,
                "description": board.about,
                "category": board.category,
                "user_id": board.person.name,
            }
            for board in sorted(boards, key=lambda board: board.begun)
        ],
    )
    (folder / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")
    size = sum(path.stat().st_size for path in (folder / "images").iterdir())
    print(
        f"{len(used)} files of {len(photos)} photos ({size / 2**20:.2f} MiB), {len(boards)} boards,"
        f" {len(pins)} pins in {folder}"
    )


if __name__ == "__main__":
    default = HERE.parent / "src" / "pinjoin" / "data" / "demo"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
