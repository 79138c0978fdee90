"""Fetching from servers that are slow, huge, lying, broken or busy, or lead us astray."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest
from hostile_server import Request, Web
from PIL import Image

from pinjoin.core.errors import ConfigError, InputError
from pinjoin.data import addresses
from pinjoin.data.fetch import FetchConfig, fetch_images
from pinjoin.data.image_cache import ImageCache
from pinjoin.data.rejects import Rejects
from pinjoin.joins.image_files import local_images

QUICK = FetchConfig(
    rate=1000,
    connect_timeout_s=2,
    read_timeout_s=2,
    total_timeout_s=5,
    backoff_s=0.01,
    allow_private=True,
)


def picture(seed: int = 0, kind: str = "JPEG", side: int = 24) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind)
    return out.getvalue()


def png_bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 40,000 × 40,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + data


GOOD = picture()


@pytest.fixture
def web():
    with Web() as web:
        web.pages["/good.jpg"] = lambda request: request.answer(GOOD)
        yield web


@pytest.fixture
def cache(tmp_path: Path):
    with ImageCache(tmp_path / "cache") as cache:
        yield cache


def fetch(web: Web, cache: ImageCache, *paths: str, config: FetchConfig = QUICK, **options):
    return fetch_images([web.url(path) for path in paths], cache, config, **options)


def why(web: Web, cache: ImageCache, path: str, config: FetchConfig = QUICK) -> str:
    """Reason and detail of one failure, as the list of rejects has them."""
    listing = cache.folder.parent / "rejects.jsonl"
    with Rejects(listing) as rejects:
        assert fetch(web, cache, path, config=config, rejects=rejects) == [None]
    [line] = map(json.loads, listing.read_text().splitlines())
    assert line["file"] == web.url(path)
    assert (line["row"], line["column"], line["dropped"]) == (1, "image", "value")
    assert line["remedy"].endswith("The pin is kept without its picture.")
    return f"{line['reason']}: {line['value']}"


# What is fetched


def test_pictures_come_in_the_order_of_their_urls_and_each_is_asked_for_once(web, cache):
    for n in range(12):
        web.pages[f"/{n}.png"] = lambda request, n=n: request.answer(picture(n, "PNG"))
    order = [*range(12), 3, 3, 0]
    paths = fetch(web, cache, *(f"/{n}.png" for n in order))
    assert [path.read_bytes() for path in paths] == [picture(n, "PNG") for n in order]
    assert set(web.asked().values()) == {1}
    assert fetch(web, cache, *(f"/{n}.png" for n in order)) == paths
    assert len(web.requests) == 12  # the second time: none


def test_nothing_to_fetch(cache):
    assert fetch_images([], cache) == []


def test_connections_are_used_again(web, cache):
    for n in range(10):
        web.pages[f"/{n}"] = lambda request, n=n: request.answer(picture(n))
    fetch(web, cache, *(f"/{n}" for n in range(10)), "/lost", config=replace(QUICK, concurrency=1))
    assert web.connections == 1


def test_servers_learn_who_asks_and_nothing_else(web, cache):
    fetch(web, cache, "/good.jpg")
    [request] = web.requests
    assert request.headers["user-agent"].startswith("pinjoin/")
    assert request.headers["host"] == f"127.0.0.1:{web.port}"
    assert set(request.headers) == {"host", "user-agent", "accept", "accept-encoding"}
    assert request.headers["accept-encoding"] == "identity"


def chunked(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(GOOD), 100):
        part = GOOD[start : start + 100]
        request.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    request.send(b"0\r\n\r\n")


def until_close(request: Request) -> None:
    request.send(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD)
    request.close()


def wrong_type(request: Request) -> None:
    request.answer(GOOD, Content_Type="text/html")


@pytest.mark.parametrize("behaviour", [chunked, until_close, wrong_type])
def test_a_picture_is_one_by_its_content(web, cache, behaviour):
    web.pages["/a"] = behaviour
    [path] = fetch(web, cache, "/a")
    assert path.read_bytes() == GOOD


# Answers that are of no use


def html(request: Request) -> None:
    request.answer(b"<html><body>Please log in</body></html>" * 9, Content_Type="image/jpeg")


def empty(request: Request) -> None:
    request.answer(b"", Content_Type="image/jpeg")


def gzipped(request: Request) -> None:
    request.answer(gzip.compress(GOOD), Content_Encoding="gzip")


def gzip_bomb(request: Request) -> None:
    request.answer(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")


def bomb(request: Request) -> None:
    request.answer(png_bomb())


def too_short_a_length(request: Request) -> None:
    request.answer(GOOD, Content_Length=str(len(GOOD) // 2))


def svg(request: Request) -> None:
    request.answer(b"<svg xmlns='http://www.w3.org/2000/svg'/>", Content_Type="image/svg+xml")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (html, "no picture that can be used: it is a web page"),
        (empty, "no picture that can be used: it is empty"),
        (gzipped, "it is a gzip file; .*'gzip' encoded"),
        (gzip_bomb, "it is a gzip file; .*'gzip' encoded"),
        (bomb, "it has (too many|40,000 × 40,000) pixels"),
        (too_short_a_length, "it JPEG is cut short"),
        (svg, "it is an SVG drawing"),
    ],
)
def test_what_is_no_picture_is_not_kept_and_not_asked_for_again(web, cache, behaviour, reason):
    web.pages["/a"] = behaviour
    assert re.search(reason, why(web, cache, "/a"))
    assert re.search(reason + ".*not asked again yet", why(web, cache, "/a"))
    assert web.asked() == {"/a": 1}
    assert len(cache) == 0
    # Under other limits, or when told to, it is.
    fetch(web, cache, "/a", config=replace(QUICK, max_bytes=QUICK.max_bytes + 1))
    fetch(web, cache, "/a", config=replace(QUICK, retry_failures=True))
    assert web.asked() == {"/a": 3}


def test_a_web_page_is_not_read_to_its_end(web, cache):
    sent = []

    def page(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(1000):
            request.send(b"<html>" + b" " * 9994)
            sent.append(10_000)

    web.pages["/a"] = page
    assert "a web page" in why(web, cache, "/a")
    time.sleep(0.1)
    assert sum(sent) < 8_000_000  # what fits into the buffers of both sides


def test_a_file_that_says_it_is_too_large_is_not_read(web, cache):
    web.pages["/a"] = lambda request: request.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 123456789012345678901234567890\r\n\r\n" + GOOD
    )
    assert "more than 20,971,520 bytes" in why(web, cache, "/a")


def test_a_file_that_turns_out_too_large_is_read_no_further(web, cache):
    def endless(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD)
        while True:
            request.send(bytes(50_000))

    web.pages["/a"] = endless
    config = replace(QUICK, max_bytes=300_000)
    assert "more than 300,000 bytes: more was sent" in why(web, cache, "/a", config)


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "403 Forbidden", "204 No Content"])
def test_failures_that_stay_are_asked_for_once(web, cache, status):
    web.pages["/a"] = lambda request: request.answer(b"", status)
    assert f"the server answered {status[:3]}: {status[4:]}" in why(web, cache, "/a")
    assert "not asked again" in why(web, cache, "/a")
    assert web.asked() == {"/a": 1}


def test_an_unasked_for_not_modified_is_a_failure(web, cache):
    web.pages["/a"] = lambda request: request.answer(b"", "304 Not Modified", Content_Length="")
    assert "the server answered 304" in why(web, cache, "/a")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x16\x03\x01\x00\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + GOOD[:10],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD,
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_answers_that_are_no_http_are_a_failure_of_one_url(web, cache, answer):
    def page(request: Request) -> None:
        request.send(answer)
        request.close()

    web.pages["/a"] = page
    paths = fetch(web, cache, "/a", "/good.jpg")
    assert paths[0] is None
    assert paths[1].read_bytes() == GOOD


# Failures that pass


def flaky(times: int, behaviour: Callable[[Request], None]) -> Callable[[Request], None]:
    left = itertools.count(times, -1)
    return lambda request: behaviour(request) if next(left) > 0 else request.answer(GOOD)


def truncated(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD[:200])
    request.close()


def truncated_without_length(request: Request) -> None:
    request.send(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD[: len(GOOD) // 2])
    request.close()


def truncated_chunks(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n" + GOOD[:200])
    request.close()


def stalled(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + GOOD[:100])
    time.sleep(0.8)


PASSING = {
    "500": lambda request: request.answer(b"oops", "500 Internal Server Error"),
    "503": lambda request: request.answer(b"busy", "503 Service Unavailable"),
    "429": lambda request: request.answer(b"busy", "429 Too Many Requests"),
    "reset": Request.reset,
    "closed": Request.close,
    "truncated": truncated,
    "truncated without length": truncated_without_length,
    "truncated chunks": truncated_chunks,
    "too long a length": lambda request: (
        request.answer(GOOD, Content_Length=str(len(GOOD) + 9)),
        request.close(),
    ),
    "stalled": stalled,
}


@pytest.mark.parametrize("kind", PASSING)
def test_failures_that_pass_are_asked_for_again(web, cache, kind):
    web.pages["/a"] = flaky(2, PASSING[kind])
    [path] = fetch(web, cache, "/a", config=replace(QUICK, read_timeout_s=0.3))
    assert path.read_bytes() == GOOD
    assert web.asked() == {"/a": 3}


def test_but_not_for_ever_and_the_next_run_waits_a_while(web, cache):
    web.pages["/a"] = PASSING["500"]
    assert "answered 500: Internal Server Error, after 3 attempts" in why(web, cache, "/a")
    assert "not asked again" in why(web, cache, "/a")
    assert web.asked() == {"/a": 3}
    assert why(web, cache, "/a", replace(QUICK, retry_failures=True, attempts=1))
    fetch(web, cache, "/a", config=replace(QUICK, forget_passing_s=0, retry_failures=True))
    web.pages["/a"] = lambda request: request.answer(GOOD)
    assert fetch(web, cache, "/a") != [None]  # forgotten


def test_back_off_grows(web, cache):
    web.pages["/a"] = PASSING["500"]
    fetch(web, cache, "/a", config=replace(QUICK, backoff_s=0.05, attempts=5))
    times = [request.at for request in web.requests]
    for n, (before, after) in enumerate(itertools.pairwise(times)):
        assert after - before >= 0.05 * 2**n * 0.5
    assert len(times) == 5


def test_a_busy_host_is_left_alone_as_long_as_it_asks(web, cache):
    web.pages["/a"] = flaky(
        1, lambda request: request.answer(b"", "503 Service Unavailable", Retry_After="1")
    )
    for n in range(5):
        web.pages[f"/{n}"] = lambda request: (time.sleep(0.05), request.answer(GOOD))
    config = replace(QUICK, per_host=1)
    assert None not in fetch(web, cache, "/a", *(f"/{n}" for n in range(5)), config=config)
    assert web.requests[1].at - web.requests[0].at >= 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_who_asks_to_wait_too_long_is_not_waited_for(web, cache, form):
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    wait = "3600" if form == "seconds" else later
    web.pages["/a"] = lambda request: request.answer(b"", "503 Busy", Retry_After=wait)
    start = time.monotonic()
    config = replace(QUICK, host_failures=1, forget_passing_s=0)
    assert "answered 503" in why(web, cache, "/a", config)
    assert time.monotonic() - start < 3
    assert web.asked() == {"/a": 1}
    assert "not asked again" in why(web, cache, "/a")  # for that hour


@pytest.mark.parametrize("value", ["soon", "-5", "Mon, 99 Foo 2026", "9" * 400, "²"])
def test_a_retry_after_of_no_sense_does_no_harm(web, cache, value):
    web.pages["/a"] = flaky(
        1,
        lambda request: request.send(
            f"HTTP/1.1 500 Oops\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
        ),
    )
    fetch(web, cache, "/a", config=replace(QUICK, max_wait_s=1))


def test_a_host_that_never_answers_well_is_left_alone(web, cache):
    paths = [f"/{n}" for n in range(200)]
    for path in paths:
        web.pages[path] = Request.reset
    with Rejects(None) as rejects:
        config = replace(QUICK, host_failures=10, attempts=2)
        assert set(fetch(web, cache, *paths, config=config, rejects=rejects)) == {None}
    assert 10 <= len(web.requests) <= 10 + QUICK.per_host
    assert rejects.dropped_values["the host failed too often, and was left alone"] > 180
    for path in paths:
        web.pages[path] = lambda request: request.answer(GOOD)
    found = fetch(web, cache, *paths)
    assert sum(path is not None for path in found) > 180  # those not asked are asked next time


def test_a_closed_port_is_a_failure(web, cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.jpg"
        with Rejects(None) as rejects:
            assert fetch_images([url], cache, QUICK, rejects=rejects) == [None]
    assert list(rejects.dropped_values) == ["the host cannot be reached"]


def test_an_unknown_name_is_a_failure(cache):
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with Rejects(None) as rejects:
        urls = ["http://nowhere.test/a.jpg"]
        assert fetch_images(urls, cache, QUICK, rejects=rejects, resolve=unknown) == [None]
    assert list(rejects.dropped_values) == ["the host's name is not known"]


# Time


def drip_body(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + GOOD[:100])
    drip(request)


def drip_headers(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    drip(request)


def drip_chunk_length(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    drip(request)


def drip_without_length(request: Request) -> None:
    request.send(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD)
    drip(request)


def drip(request: Request) -> None:
    while True:
        request.send(b"a")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "behaviour", [drip_body, drip_headers, drip_chunk_length, drip_without_length]
)
def test_a_drip_that_never_ends_is_ended(web, cache, behaviour):
    web.pages["/a"] = behaviour
    start = time.monotonic()
    reason = why(web, cache, "/a", replace(QUICK, total_timeout_s=0.5))
    assert reason == "the answer took too long: more than 0.5 s in all"
    assert time.monotonic() - start < 0.5 + 2


def test_a_server_that_says_nothing(web, cache):
    web.pages["/a"] = lambda request: time.sleep(1)
    reason = why(web, cache, "/a", replace(QUICK, read_timeout_s=0.2, attempts=1))
    assert reason.startswith("the host stopped answering")


def test_a_handshake_that_drips_is_ended(cache):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    connection.sendall(b"\x16\x03\x03\x40\x00")
                    while True:
                        connection.sendall(b"\x02")
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        start = time.monotonic()
        config = replace(QUICK, connect_timeout_s=0.5, attempts=1)
        assert fetch_images([f"https://127.0.0.1:{server.getsockname()[1]}/"], cache, config) == [
            None
        ]
        assert time.monotonic() - start < 0.5 + 2
        thread.join(10)


# Politeness


def test_no_more_requests_at_once_than_allowed(web, cache):
    def slow(request: Request) -> None:
        time.sleep(0.05)
        request.answer(GOOD)

    for n in range(24):
        web.pages[f"/{n}"] = slow
    fetch(web, cache, *(f"/{n}" for n in range(12)), config=replace(QUICK, per_host=3))
    assert web.most_at_once == 3
    web.most_at_once = 0
    hosts = [f"h{n % 6}.test" for n in range(24)]
    urls = [web.url(f"/{n}", host) for n, host in enumerate(hosts)]
    config = replace(QUICK, concurrency=5, per_host=4)
    assert None not in fetch_images(urls, cache, config, resolve=lambda host, port: ["127.0.0.1"])
    assert web.most_at_once == 5


def test_no_more_requests_a_second_than_allowed(web, cache):
    fetch(web, cache, *(f"/{n}" for n in range(6)), config=replace(QUICK, rate=20))
    times = sorted(request.at for request in web.requests)
    assert times[-1] - times[0] >= 5 / 20 - 0.02


# Where it must not go


@pytest.fixture
def outer(monkeypatch):
    """127.0.0.1 counts as an address of the public internet, so that a server can be there."""
    judge = addresses.not_public
    monkeypatch.setattr(
        addresses, "not_public", lambda address: None if address == "127.0.0.1" else judge(address)
    )
    return replace(QUICK, allow_private=False)


def test_private_addresses_are_not_asked_unless_allowed(web, cache):
    config = replace(QUICK, allow_private=False)
    assert "a loopback address" in why(web, cache, "/good.jpg", config)
    assert not web.requests
    assert fetch(web, cache, "/good.jpg") != [None]  # the refusal is not remembered


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.2:{port}/good.jpg", "a loopback address"),
        ("http://10.0.0.1/", "a private address"),
        ("http://169.254.169.254/latest/meta-data/", "a link-local address"),
        ("http://[::1]:{port}/", "a loopback address"),
        ("http://[::ffff:127.0.0.2]:{port}/", "a loopback address"),
        ("http://inner.test:{port}/", "a private address"),
        ("//inner.test:{port}/", "a private address"),
        ("http://2130706434:{port}/", "sent on: .*unusual form"),
        ("file:///etc/passwd", "sent on: .*not of http or https"),
        ("ftp://127.0.0.1/", "sent on: .*not of http or https"),
        ("data:image/png;base64,AAAA", "sent on: .*not of http or https"),
        ("javascript:alert(1)", "sent on: .*not of http or https"),
        ("http://me:secret@127.0.0.1/", "sent on: .*user name or password"),
        ("http://:80/", "sent on: .*no host"),
    ],
)
def test_redirects_do_not_lead_inside_or_elsewhere(web, cache, outer, location, reason):
    web.pages["/a"] = lambda request: request.answer(
        b"", "302 Found", Location=location.format(port=web.port)
    )
    with Rejects(None) as rejects:
        urls = [web.url("/a"), web.url("/good.jpg")]
        paths = fetch_images(
            urls, cache, outer, rejects=rejects, resolve=lambda host, port: ["10.0.0.7", "::1"]
        )
    assert paths[0] is None
    assert paths[1] is not None
    [told] = rejects.dropped_values
    assert re.search(reason, told)
    assert "secret" not in told
    assert sorted(web.asked().values()) == [1, 1]


def test_who_leads_inside_is_asked_again_only_when_that_is_allowed(web, cache, outer):
    web.pages["/a"] = lambda request: request.answer(
        b"", "302 Found", Location=f"http://inner.test:{web.port}/good.jpg"
    )

    def get(config: FetchConfig, address: str) -> list[Path | None]:
        urls = [web.url("/a")]
        return fetch_images(urls, cache, config, resolve=lambda host, port: [address])

    assert get(outer, "10.0.0.7") == get(outer, "10.0.0.7") == [None]
    assert web.asked() == {"/a": 1}
    [path] = get(replace(outer, allow_private=True), "127.0.0.1")
    assert path.read_bytes() == GOOD


def test_redirects_are_followed(web, cache):
    for n, status in enumerate(("301", "302", "303", "307", "308")):
        web.pages[f"/{n}"] = lambda request, n=n, status=status: request.answer(
            b"moved", f"{status} Moved", Location=f"/{n + 1}?x=ä y#top"
        )
        web.pages[f"/{n}?x=%C3%A4%20y"] = web.pages[f"/{n}"]
    web.pages["/5?x=%C3%A4%20y"] = lambda request: request.answer(GOOD)
    [path] = fetch(web, cache, "/0")
    assert path.read_bytes() == GOOD
    assert cache.path(web.url("/0")) == path
    assert fetch(web, cache, "/0") == [path]
    assert len(web.requests) == 6


def test_redirects_that_go_round_are_ended(web, cache):
    web.pages["/a"] = lambda request: request.answer(b"", "302 Found", Location="/b")
    web.pages["/b"] = lambda request: request.answer(b"", "302 Found", Location="/a")
    assert why(web, cache, "/a").startswith("the server sends on more than 5 times")
    assert len(web.requests) == 6


def test_a_name_is_looked_up_once_and_its_checked_address_is_asked(web, cache, outer, monkeypatch):
    """A resolver that tells a public address first, and an inner one when asked again."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
    system, looked_up = socket.getaddrinfo, []

    def numbers_only(host: str, *rest: object, **options: object) -> object:
        looked_up.append(host)
        return system(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_only)
    urls = [web.url("/good.jpg", "shop.test")]
    [path] = fetch_images(urls, cache, outer, resolve=lambda host, port: next(answers))
    assert path.read_bytes() == GOOD
    assert set(looked_up) == {"127.0.0.1"}
    assert web.requests[0].headers["host"] == f"shop.test:{web.port}"
    assert next(answers) == ["127.0.0.2"]  # one look-up was made


def test_the_next_address_is_tried_when_one_cannot_be_reached(web, cache):
    urls = [web.url("/good.jpg", "shop.test")]
    found = fetch_images(urls, cache, QUICK, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert found != [None]


def test_proxies_of_the_environment_are_not_used(web, cache, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch(web, cache, "/good.jpg") != [None]


@pytest.fixture
def certificate(tmp_path):
    """Of shop.test, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return cert, key


def test_certificates_are_the_names_not_the_addresses(certificate, cache, monkeypatch):
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    named: list[str | None] = []
    context.sni_callback = lambda connection, name, own: named.append(name)
    with Web(tls=context) as web, Rejects(None) as rejects:
        web.pages["/a"] = lambda request: request.answer(GOOD)
        web.pages["/drip"] = drip_body
        urls = [web.url("/a", "shop.test"), web.url("/a", "other.test"), web.url("/a")]
        urls.append(web.url("/drip", "shop.test"))

        def get(urls: list[str]) -> list[Path | None]:
            return fetch_images(
                urls,
                cache,
                replace(QUICK, retry_failures=True, total_timeout_s=1),
                rejects=rejects,
                resolve=lambda host, port: ["127.0.0.1"],
            )

        assert get(urls[:1]) == [None]  # nobody has vouched for it
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        paths = get(urls)
        assert paths[0].read_bytes() == GOOD
        assert paths[1:] == [None] * 3
        assert rejects.dropped_values == {
            "the host's certificate is not valid": 3,
            "the answer took too long": 1,
        }
        assert set(named) == {"shop.test", "other.test", None}
        assert {request.headers["host"] for request in web.requests} == {f"shop.test:{web.port}"}


# Asking again


def test_old_pictures_are_asked_for_again_only_if_told_to_and_changed(web, cache):
    bodies, unchanged = {"now": picture(1)}, []

    def page(request: Request) -> None:
        tag = f'"{hash(bodies["now"])}"'
        if request.headers.get("if-none-match") == tag:
            unchanged.append(request)
            request.answer(b"", "304 Not Modified", Content_Length="")
        else:
            request.answer(bodies["now"], ETag=tag, Last_Modified="Mon, 05 Jan 2026 10:00:00 GMT")

    web.pages["/a"] = page
    [first] = fetch(web, cache, "/a")
    assert fetch(web, cache, "/a", config=replace(QUICK, revalidate_after_s=3600)) == [first]
    assert len(web.requests) == 1
    always = replace(QUICK, revalidate_after_s=0)
    checked = cache.get(web.url("/a")).checked_at
    assert fetch(web, cache, "/a", config=always) == [first]
    assert web.requests[-1].headers["if-modified-since"] == "Mon, 05 Jan 2026 10:00:00 GMT"
    assert cache.get(web.url("/a")).checked_at > checked
    bodies["now"] = picture(2)
    [second] = fetch(web, cache, "/a", config=always)
    assert second.read_bytes() == picture(2)
    assert (len(web.requests), len(unchanged)) == (3, 1)
    web.pages["/a"] = PASSING["500"]  # what was fetched once is better than nothing
    assert fetch(web, cache, "/a", config=always) == [second]


def test_a_picture_whose_file_is_lost_is_fetched_again(web, cache):
    [path] = fetch(web, cache, "/good.jpg")
    path.unlink()
    assert fetch(web, cache, "/good.jpg") == [path]
    assert path.read_bytes() == GOOD


# Rejects, progress, interruption


def test_every_place_of_a_url_that_failed_is_told_of(web, cache, tmp_path):
    urls = [web.url("/lost"), web.url("/good.jpg"), "no url", "http://a:b@c/", web.url("/lost")]
    with Rejects(tmp_path / "rejects.jsonl") as rejects:
        paths = fetch_images(urls, cache, QUICK, rejects=rejects)
    assert [path is not None for path in paths] == [False, True, False, False, False]
    assert rejects.count == 0  # no pin is lost
    assert rejects.dropped_values == {
        "the server answered 404": 2,
        "the URL is not of http or https": 1,
        "the URL holds a user name or password": 1,
    }
    lines = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == [1, 3, 4, 5]
    assert lines[2]["file"] == "http://…@c/"


def test_strict_rejects_end_the_work(web, cache):
    for n in range(100):
        web.pages[f"/{n}"] = lambda request: (time.sleep(0.05), request.answer(GOOD))
    web.pages["/2"] = lambda request: request.answer(b"", "404 Not Found")
    with pytest.raises(InputError, match=r"/2, row 3.*the server answered 404"):
        fetch(web, cache, *(f"/{n}" for n in range(100)), rejects=Rejects(None, strict=True))
    assert len(web.requests) < 50


def test_progress_counts_the_requests_that_are_needed(web, cache):
    from contextlib import contextmanager

    said: list[object] = []

    @contextmanager
    def progress(what: str, total: int | None = None):
        said.append((what, total))
        yield said.append

    fetch(web, cache, "/good.jpg")
    fetch(web, cache, "/good.jpg", "/lost", "/gone", progress=progress)
    assert said == [("fetching pictures", 2), 1, 1]


def test_a_full_disk_ends_the_work_with_a_message(web, cache, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinjoin.data.image_cache.os.fsync", full)
    with pytest.raises(InputError, match="the image cache cannot be written.*No space left"):
        fetch(web, cache, "/good.jpg")


CHILD = """
import signal
import sys
from pathlib import Path
from pinjoin.data.fetch import FetchConfig, fetch_images
from pinjoin.data.image_cache import ImageCache

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have had it ignored
folder, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
config = FetchConfig(rate=1000, allow_private=True, concurrency=4)
urls = [f"http://127.0.0.1:{port}/{n}" for n in range(count)]
with ImageCache(Path(folder)) as cache:
    try:
        print(sum(path is not None for path in fetch_images(urls, cache, config)))
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
"""


def child(cache: ImageCache, web: Web, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(cache.folder), str(web.port), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", [1, 7, 23])
def test_killed_while_fetching_a_rerun_fetches_only_the_rest(web, cache, after):
    count = 40
    for n in range(count):
        web.pages[f"/{n}"] = lambda request, n=n: (time.sleep(0.01), request.answer(picture(n)))
    with child(cache, web, count) as process:
        while len(cache) < after:
            time.sleep(0.002)
            assert process.poll() is None or len(cache) >= after
        process.send_signal(signal.SIGKILL)
    kept = {n for n in range(count) if cache.path(web.url(f"/{n}"))}
    assert after <= len(kept)
    assert cache.verify() == []  # nothing is half there
    before = len(web.requests)
    paths = fetch(web, cache, *(f"/{n}" for n in range(count)))
    assert [path.read_bytes() for path in paths] == [picture(n) for n in range(count)]
    again = {int(request.path[1:]) for request in web.requests[before:]}
    assert again == set(range(count)) - kept
    assert len(web.requests) <= count + 4  # asked twice: only those under way when it was killed


def test_interrupted_while_waiting_it_ends_soon_and_keeps_what_it_has(web, cache):
    for n in range(3):
        web.pages[f"/{n}"] = lambda request: request.answer(GOOD)
    web.pages["/3"] = lambda request: web.closing.wait(30)
    with child(cache, web, 4) as process:
        while len(cache) < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, _ = process.communicate(timeout=20)
        assert time.monotonic() - start < 5
        assert (out, process.returncode) == ("interrupted\n", 130)
    assert len(cache) == 3
    web.pages["/3"] = lambda request: request.answer(GOOD)
    assert None not in fetch(web, cache, *(f"/{n}" for n in range(4)))


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("per_host", 0),
        ("rate", 0.0),
        ("rate", float("inf")),
        ("connect_timeout_s", 0.0),
        ("total_timeout_s", float("nan")),
        ("attempts", 0),
        ("backoff_s", -1.0),
        ("max_redirects", -1),
        ("max_bytes", 0),
        ("revalidate_after_s", -1.0),
        ("user_agent", ""),
        ("user_agent", "a\r\nX: b"),
        ("user_agent", "bücher"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"The {name} parameter of FetchConfig must be"):
        FetchConfig(**{name: value})


def test_each_setting_has_a_line_that_explains_it():
    source = Path(sys.modules["pinjoin.data.fetch"].__file__).read_text()
    for setting in fields(FetchConfig):
        [line] = [line for line in source.splitlines() if line.startswith(f"    {setting.name}: ")]
        assert "  # " in line


# Local and fetched together


def test_local_references_are_resolved_and_others_fetched(web, cache, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "here.jpg").write_bytes(GOOD)
    references = ["here.jpg", web.url("/good.jpg"), "gone.jpg", web.url("/lost"), "../etc/passwd"]
    with Rejects(tmp_path / "rejects.jsonl") as rejects:
        paths = local_images(references, images, tmp_path, cache, QUICK, rejects=rejects)
    here = images / "here.jpg"
    assert paths == [here, cache.path(web.url("/good.jpg")), None, None, None]
    line = json.loads((tmp_path / "rejects.jsonl").read_text())
    assert (line["file"], line["row"]) == (web.url("/lost"), None)
    assert line["reason"] == "the server answered 404"


def test_without_a_cache_nothing_is_fetched(web, tmp_path):
    assert local_images([web.url("/good.jpg")], None, tmp_path) == [None]
    assert not web.requests
    assert os.listdir(tmp_path) == []  # noqa: PTH208
