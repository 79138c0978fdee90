"""Who may do what, how much, and what hostile requests get."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from PIL import Image
from serving_fixtures import client_of, error_of

from pinjoin.core.errors import ConfigError
from pinjoin.serving.config import ServeConfig
from pinjoin.serving.keys import Keys, read_keys
from pinjoin.serving.rates import Buckets

READ, WRITE = "read-secret-0123456789", "write-secret-0123456789"
EVENT = {"request_id": "r", "query": "p1", "candidate": "p2", "action": "click"}


@pytest.fixture(scope="module")
def client(demo):
    with client_of(demo, read_only=True, body_bytes=2_000, upload_bytes=200_000) as client:
        yield client


@pytest.fixture
def locked(shop):
    keys = {"read_keys": (f"reader:{READ}",), "write_keys": (f"writer:{WRITE}",)}
    with client_of(shop, **keys) as client:
        yield client


# ---- keys ----


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_reading_needs_a_key_where_there_are_some(locked):
    for path in ("/v1/related/p0008", "/v1/search?q=a", "/metrics", "/v1/images/p0008"):
        answer = locked.get(path)
        error_of(answer, 401, "key_needed")
        assert answer.headers["www-authenticate"] == "Bearer"
        error_of(locked.get(path, headers=bearer("x" * 20)), 401, "unknown_key")
        for headers in (bearer(READ), bearer(WRITE), {"X-API-Key": READ}):
            assert locked.get(path, headers=headers).status_code == 200, path
    asked = {"json": {"ids": ["p0008"]}}
    error_of(locked.post("/v1/related", **asked), 401, "key_needed")
    assert locked.post("/v1/related", **asked, headers=bearer(READ)).status_code == 200
    for path in ("/healthz", "/readyz", "/openapi.json", "/sign-in"):
        assert locked.get(path).status_code == 200, path


def test_writing_needs_a_key_that_may(locked):
    batch = {"json": {"events": [EVENT]}}
    error_of(locked.post("/v1/events", **batch), 401, "key_needed")
    error_of(locked.post("/v1/events", **batch, headers=bearer(READ)), 403, "key_only_reads")
    error_of(locked.delete("/v1/images/p0008", headers=bearer(READ)), 403, "key_only_reads")
    error_of(locked.post("/ui/saves", json={}, headers=bearer(READ)), 403, "key_only_reads")
    assert locked.post("/v1/events", **batch, headers=bearer(WRITE)).status_code == 200


def test_people_sign_in_with_a_key(locked):
    asked = locked.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in")
    wrong = locked.post("/sign-in", data={"key": "x" * 20})
    assert wrong.status_code == 403
    assert "not known" in wrong.text
    signed = locked.post("/sign-in", data={"key": READ}, follow_redirects=False)
    cookie = signed.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert locked.get("/").status_code == 200  # the client keeps it
    beside = {"Cookie": f'theme={{"dark":true}}; {cookie.partition(";")[0]}'}
    assert locked.get("/", headers=beside).status_code == 200  # of another application
    error_of(locked.delete("/v1/images/p0008"), 403, "key_only_reads")


def test_keys_are_names_and_long_secrets(tmp_path):
    keys = Keys(["app:0123456789abcdef", "web:fedcba9876543210"])
    assert keys.name_of("fedcba9876543210") == "web"
    assert keys.name_of("fedcba9876543211") is None
    assert "0123456789abcdef" not in repr(vars(keys))
    for wrong in ("short:0123", "nocolon-0123456789", ":0123456789abcdef", f"{'n' * 65}:{READ}"):
        with pytest.raises(ConfigError, match="NAME:SECRET") as raised:
            Keys([wrong])
        assert wrong.partition(":")[2] not in str(raised.value) or not wrong.partition(":")[2]
    with pytest.raises(ConfigError, match="each name once"):
        Keys(["a:0123456789abcdef", "a:fedcba9876543210"])
    file = tmp_path / "keys.txt"
    file.write_text("# of the shop\n\napp:0123456789abcdef\n")
    assert read_keys(file, "X", {}) == ("app:0123456789abcdef",)
    assert read_keys(None, "X", {"X": "a:1,b:2\n"}) == ("a:1", "b:2")
    with pytest.raises(ConfigError, match=r"missing\.txt cannot be read"):
        read_keys(tmp_path / "missing.txt", "X", {})


def test_secrets_are_in_no_representation():
    config = ServeConfig(read_keys=(f"a:{READ}",), write_keys=(f"b:{WRITE}",))
    assert READ not in repr(config)
    assert WRITE not in repr(config)


def test_others_write_with_a_key_only_unless_it_is_meant():
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 without write keys.*--open-writes"):
        ServeConfig(host="0.0.0.0")
    ServeConfig(host="0.0.0.0", read_only=True)
    ServeConfig(host="0.0.0.0", open_writes=True)
    ServeConfig(host="::1")
    assert ServeConfig().host == "127.0.0.1"
    for wrong in ({"port": -1}, {"depth": 5}, {"arms": {"a": "count"}}, {"read_rate": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ServeConfig(**wrong)
    with pytest.raises(TypeError, match="colour"):
        ServeConfig(colour="red")  # type: ignore[call-arg]


# ---- rates ----


def test_a_bucket_fills_at_its_rate():
    now = 0.0
    buckets = Buckets(10, clock=lambda: now)
    assert [buckets.take("a") for _ in range(20)] == [0] * 20  # two seconds' worth at once
    assert buckets.take("a") == pytest.approx(0.1)
    assert buckets.take("b") == 0
    now = 0.25  # 2.5 tokens
    assert [buckets.take("a") == 0 for _ in range(3)] == [True, True, False]
    assert all(Buckets(0).take("a") == 0 for _ in range(1_000))


def test_buckets_of_many_addresses_are_forgotten():
    now = 0.0
    buckets = Buckets(1, clock=lambda: now)
    for i in range(25_000):
        buckets.take(str(i))
    assert len(buckets._buckets) <= 10_000


def test_who_asks_too_often_waits(shop):
    keys = (f"one:{READ}", f"two:{WRITE}")
    with client_of(shop, read_keys=keys, read_rate=2, write_rate=1) as client:
        answers = [client.get("/v1/search?q=a", headers=bearer(READ)) for _ in range(6)]
        assert [one.status_code for one in answers[:4]] == [200] * 4
        error_of(answers[-1], 429, "too_many_requests")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert client.get("/v1/search?q=a", headers=bearer(WRITE)).status_code == 200
        assert client.get("/healthz").status_code == 200
        writes = [client.delete("/v1/pins/nobody", headers=bearer(READ)) for _ in range(3)]
        assert [one.status_code for one in writes] == [404, 404, 429]


def test_when_too_many_wait_the_next_is_told_to_come_again(demo):
    with client_of(demo, read_only=True, most_waiting=1) as client:
        client.app.state.service._waiting = 1
        answer = client.get("/v1/pins/p0008")
        error_of(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"


# ---- hosts, origins, headers ----


def test_only_known_names_are_answered_to(client, demo):
    error_of(client.get("/", headers={"Host": "evil.example"}), 400, "unknown_host")
    for host in ("localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
    with client_of(demo, read_only=True, hosts=("shop.example",)) as other:
        assert other.get("/healthz", headers={"Host": "shop.example"}).status_code == 200
    with client_of(demo, read_only=True, host="0.0.0.0") as other:
        assert other.get("/healthz", headers={"Host": "any.example"}).status_code == 200


def test_pages_of_others_may_not_write(shop):
    batch = {"events": [EVENT]}
    with client_of(shop, origins=("https://shop.example",)) as client:
        foreign = {"Origin": "https://evil.example"}
        error_of(client.post("/v1/events", json=batch, headers=foreign), 403, "foreign_origin")
        error_of(client.delete("/v1/pins/p0008", headers=foreign), 403, "foreign_origin")
        for origin in ("null", "http://[x", ""):
            answer = client.post("/v1/events", json=batch, headers={"Origin": origin})
            error_of(answer, 403, "foreign_origin")
        for origin in ("https://shop.example", "http://127.0.0.1"):
            headers = {"Origin": origin}
            assert client.post("/v1/events", json=batch, headers=headers).status_code == 200
        # A form needs no leave of ours to be sent; JSON does.
        body = {"content": '{"events": []}', "headers": {"Content-Type": "text/plain"}}
        error_of(client.post("/v1/events", **body), 415, "unsupported_type")


def test_only_allowed_origins_may_read_answers(demo):
    with client_of(demo, read_only=True, origins=("https://shop.example",)) as client:
        allowed = client.get("/v1/pins/p0008", headers={"Origin": "https://shop.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        other = client.get("/v1/pins/p0008", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "DELETE"}
        assert client.options("/v1/pins/x", headers=asked).status_code == 200
        refused = client.get("/v1/pins/nobody", headers={"Origin": "https://shop.example"})
        assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    with client_of(demo, read_only=True) as client:
        answer = client.get("/v1/pins/p0008", headers={"Origin": "https://shop.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_every_answer_has_the_headers(client):
    for path in ("/", "/v1/pins/p0008", "/v1/pins/nobody", "/v1/images/p0008", "/healthz",
                 "/static/base.css", "/nothing"):  # fmt: skip
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers
    assert client.get("/v1/pins/p0008").headers["cache-control"] == "no-store"


def test_a_request_id_is_taken_if_it_is_harmless(client):
    assert client.get("/healthz", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"
    for wrong in ("x" * 65, "a b", "<script>", "é".encode()):
        given = client.get("/healthz", headers={"X-Request-ID": wrong}).headers["x-request-id"]
        assert len(given) == 32, given


# ---- sizes ----


def test_bodies_are_bounded_said_or_not(client):
    large = b'{"ids": ["' + b"x" * 3_000 + b'"]}'
    headers = {"Content-Type": "application/json"}
    error_of(client.post("/v1/related", content=large, headers=headers), 413, "too_large")
    parts = iter([large[:1_500], large[1_500:]])  # without a length
    error_of(client.post("/v1/related", content=parts, headers=headers), 413, "too_large")
    picture = {"content": b"x" * 200_001, "headers": {"Content-Type": "image/png"}}
    error_of(client.post("/v1/related/image", **picture), 413, "too_large")


def test_parameters_are_bounded(demo):
    with client_of(demo, read_only=True, most_ids=3) as client:
        error_of(client.post("/v1/related", json={"ids": ["p0008"] * 4}), 422, "invalid")
        error_of(client.get("/v1/search", params={"q": "x" * 1_001}), 422, "invalid")
        error_of(client.get(f"/v1/pins/{'x' * 2_001}"), 422, "invalid")
        many = {"exclude": ["p1"] * 201}
        error_of(client.get("/v1/related/p0008", params=many), 422, "invalid")
    with pytest.raises(ConfigError, match="most_ids"):
        ServeConfig(most_ids=0)


# ---- pictures ----


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n" * 9,
        b"GIF89a" + b"\xff" * 40, b"\xff\xd8\xff" + b"\0" * 99, b"II*\0" + b"\xff" * 99,
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(client, content):
    given = {"content": content, "headers": {"Content-Type": "image/png"}}
    error_of(client.post("/v1/related/image", **given), 422, "invalid")


def test_a_picture_that_would_grow_beyond_measure_is_refused(client):
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return len(data).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    side = (60_000).to_bytes(4, "big")
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", side + side + b"\x08\x02\0\0\0")
    bomb += chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
    given = {"content": bomb, "headers": {"Content-Type": "image/png"}}
    assert (
        "pixels" in error_of(client.post("/v1/related/image", **given), 422, "invalid")["message"]
    )


def test_forms_without_a_picture(client):
    post = client.post
    error_of(post("/v1/related/image", data={"file": "text"}), 415, "unsupported_type")
    error_of(post("/v1/related/image", files={"other": b"x"}), 422, "invalid")
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    error_of(post("/v1/related/image", content=b"--y\r\n", headers=broken), 400, "bad_request")
    no_boundary = {"Content-Type": "multipart/form-data"}
    error_of(post("/v1/related/image", content=b"--y\r\n", headers=no_boundary), 400, "bad_request")


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd",
        "%2fetc%2fpasswd", "file:///etc/passwd", "http://127.0.0.1/healthz", "current",
        "C:%5Cwindows", "images/../current", "%00", "images%00.jpg", "\N{SNOWMAN}",
    ],
)  # fmt: skip
def test_only_the_catalogue_has_addresses(client, path):
    for place in ("/v1/images/", "/v1/related/", "/v1/pins/"):
        answer = client.get(f"{place}{path}")
        assert answer.status_code in (404, 422), (place, answer.status_code)
        assert b"root:" not in answer.content
    assert client.get(f"/static/{path}").status_code in (404, 405)


def test_a_file_beside_the_catalogue_is_no_query(client, shop):
    """The command line takes files; a server must not look at its own disk for others."""
    file = shop / "mine.png"
    Image.new("RGB", (64, 64)).save(file)
    for path in (str(file), str(file).lstrip("/")):
        error_of(client.get(f"/v1/related/{path}"), 404, "unknown_id")
        error_of(client.post("/v1/related", json={"ids": [path]}), 404, "unknown_id")


def test_pictures_are_sent_as_what_they_are(tmp_path):
    """By content, whatever the name; and never what a browser would run."""
    import pinjoin

    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (40, 30), "red").save(photos / "really.png", "JPEG")
    Image.new("RGB", (40, 30), "blue").save(photos / "scan.tif", "TIFF")
    (photos / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (photos / "page.jpg").write_text("<html><script>alert(1)</script></html>")
    (tmp_path / "outside.png").write_bytes((photos / "really.png").read_bytes())
    (photos / "link.png").symlink_to(tmp_path / "outside.png")
    names = ["really.png", "scan.tif", "drawing.svg", "page.jpg", "gone.jpg", "link.png"]
    names.append("../../../../../../../../etc/hostname")
    rows = "".join(f"p{i},b,{name}\n" for i, name in enumerate(names))
    (tmp_path / "pins.csv").write_text("pin_id,board_id,image\n" + rows)
    (tmp_path / "boards.csv").write_text("board_id,title\nb,B\n")
    pinjoin.build(
        tmp_path / "ws",
        pinjoin.open_source("pins", str(tmp_path / "pins.csv")),
        pinjoin.open_source("boards", str(tmp_path / "boards.csv")),
        images=photos, base=photos, encoder=None, train=False,
    )  # fmt: skip
    with client_of(tmp_path / "ws", read_only=True) as client:
        real = client.get("/v1/images/p0")
        assert real.headers["content-type"] == "image/jpeg"
        scan = client.get("/v1/images/p1")
        assert scan.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(scan.content)).size == (40, 30)
        for pin in ("p2", "p3", "p4", "p5", "p6"):
            error_of(client.get(f"/v1/images/{pin}"), 404, "no_picture")
        upload = {"content": real.content, "headers": {"Content-Type": "image/jpeg"}}
        error_of(client.post("/v1/related/image", **upload), 422, "invalid")


def test_errors_of_the_server_tell_nothing(client, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise RuntimeError(f"secret of {Path.home()}")

    monkeypatch.setattr("pinjoin.serving.answers.pin", broken)
    error = error_of(client.get("/v1/pins/p0008"), 500, "internal")
    assert "secret" not in str(error)
    assert "secret of" in caplog.text
    assert caplog.records[-1].fields["request_id"] == error["request_id"]  # type: ignore[attr-defined]
