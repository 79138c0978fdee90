"""What may be asked: every spelling of an inner address is refused, ordinary URLs are not."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pinjoin.data.addresses import (
    AddressError,
    allowed_addresses,
    is_web,
    not_public,
    parse_url,
    shown,
)

INNER = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
]
INNER_4 = [ipaddress.IPv4Network(network) for network in INNER]
INNER_6 = [
    ipaddress.IPv6Network(network)
    for network in (
        *("::/96", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32"),
        *("2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]


def within(networks: list[ipaddress.IPv4Network] | list[ipaddress.IPv6Network]):
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


def public_4(address: ipaddress.IPv4Address) -> bool:
    return not any(address in network for network in INNER_4)


@given(within(INNER_4))
def test_inner_ipv4_addresses_are_refused_however_they_are_wrapped(address):
    assert not_public(str(address))
    assert not_public(f"::ffff:{address}")  # IPv4-mapped
    assert not_public(f"64:ff9b::{address}")  # NAT64
    assert not_public(f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::1")  # 6to4
    assert not_public(f"::{address}")  # IPv4-compatible


@given(within(INNER_6))
def test_inner_ipv6_addresses_are_refused(address):
    assert not_public(str(address))


@given(st.ip_addresses(v=4).filter(public_4))
@example(ipaddress.IPv4Address("1.1.1.1"))
@example(ipaddress.IPv4Address("100.63.255.255"))
@example(ipaddress.IPv4Address("172.32.0.0"))
@example(ipaddress.IPv4Address("223.255.255.255"))
def test_public_addresses_are_not_refused(address):
    assert not_public(str(address)) is None
    assert not_public(f"::ffff:{address}") is None
    assert not_public(f"64:ff9b::{address}") is None
    url = parse_url(f"http://{address}/a.jpg")
    assert allowed_addresses(url) == [str(address)]


@pytest.mark.parametrize("address", ["2606:4700::1111", "2a00:1450:4001:82f::200e", "2400:cb00::1"])
def test_public_ipv6_addresses_are_not_refused(address):
    assert not_public(address) is None
    assert allowed_addresses(parse_url(f"https://[{address}]/")) == [address]


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.1.2.3", "private"),
        ("fd00::1", "private"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("100.64.0.1", "reserved"),
        ("2002:808:808::1", "reserved"),
    ],
)
def test_the_reason_is_a_word(address, word):
    assert not_public(address) == word


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """Ways to write an IPv4 address that resolvers understand, other than the usual one."""
    a, b, c, d = address.packed
    return [
        str(int(address)),
        f"0x{int(address):x}",
        f"0{int(address):o}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{(b << 16) + (c << 8) + d}",
        f"{a}.{b}.{(c << 8) + d}",
        f"0X{a:X}.{b}.{c}.00{d:o}",
    ]


@given(st.ip_addresses(v=4))
def test_ipv4_addresses_in_unusual_forms_are_refused(address):
    for spelling in spellings(address):
        socket.inet_aton(spelling)  # so a resolver would have taken it
        with pytest.raises(AddressError, match="unusual form"):
            parse_url(f"http://{spelling}/a.jpg")


@given(st.text(max_size=40))
@example("http://[::1")
@example("http://①②⑦.⓪.⓪.①/")
@example("http://a.com:99999/")
@example("http://\udcff.com/\udcff")
def test_any_text_is_a_url_or_an_address_error(text):
    for candidate in (text, f"http://{text}", f"https://shop.com/{text}"):
        try:
            url = parse_url(candidate)
        except AddressError:
            continue
        assert parse_url(str(url)) == url  # one spelling
        assert str(url).isascii()
        assert not set(str(url)) & set(" \r\n\t\\#")


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("HTTP://Shop.COM/A.jpg", "http://shop.com/A.jpg"),
        (" https://shop.com \n", "https://shop.com/"),
        ("https://shop.com:443/a?b=c&d#e", "https://shop.com/a?b=c&d"),
        ("http://shop.com:443/a", "http://shop.com:443/a"),
        ("http://shop.com:8080/a", "http://shop.com:8080/a"),
        ("http://shop.com./a", "http://shop.com/a"),
        ("http://bücher.de/ä b.jpg", "http://xn--bcher-kva.de/%C3%A4%20b.jpg"),
        ("http://shop.com/%7ea%2Fb.jpg", "http://shop.com/%7ea%2Fb.jpg"),
        ("http://a_b.shop.com/", "http://a_b.shop.com/"),
        ("http://[2606:4700:0::1111]:81/", "http://[2606:4700::1111]:81/"),
        ("http://1.2.3.4.nip.io/", "http://1.2.3.4.nip.io/"),
    ],
)
def test_ordinary_urls_get_one_spelling(given_url, expected):
    assert str(parse_url(given_url)) == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://shop.com/a.jpg", "not of http or https"),
        ("file:///etc/passwd", "not of http or https"),
        ("data:image/png;base64,AAAA", "Write the picture into a file"),
        ("gopher://shop.com/", "not of http or https"),
        ("//shop.com/a.jpg", "not of http or https"),
        ("images/a.jpg", "not of http or https"),
        ("", "not of http or https"),
        ("http:///a.jpg", "no host"),
        ("http://", "no host"),
        ("http://:80/", "no host"),
        ("http://me:secret@shop.com/a.jpg", "user name or password"),
        ("http://me@shop.com/a.jpg", "user name or password"),
        ("http://shop.com:0/a.jpg", "port 0"),
        ("http://shop.com:x/a.jpg", "malformed"),
        ("http://shop.com:70000/a.jpg", "malformed"),
        ("http://shop.com\\@127.0.0.1/", "backslash"),
        ("http://shop.com/a\r\nHost: b", "control character"),
        ("http://shop.com/\0", "control character"),
        ("http://sh op.com/", "no valid name"),
        ("http://shop..com/", "no valid name"),
        ("http://-shop.com/", "no valid name"),
        ("http://%31%32%37.0.0.1/", "no valid name"),
        ("http://[fe80::1%25eth0]/", "no valid name"),
        ("http://[1.2.3.4]/", "no valid name|malformed"),
        ("http://" + "a" * 64 + ".com/", "no valid name"),
        ("http://①②⑦.1/", "unusual form"),
        ("http://127.1/", "unusual form"),
        ("http://shop.com/" + "a" * 8192, "more than 8,192 characters"),
    ],
)
def test_odd_urls_are_refused_with_a_reason(url, reason):
    with pytest.raises(AddressError, match=reason) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b.jpg", "https://shop.com/b.jpg"),
        ("b.jpg?x=1", "https://shop.com/i/b.jpg?x=1"),
        ("//cdn.com/b.jpg", "https://cdn.com/b.jpg"),
        ("http://cdn.com/b.jpg", "http://cdn.com/b.jpg"),
    ],
)
def test_relative_urls_start_from_where_they_stand(location, expected):
    assert str(parse_url(location, base=parse_url("https://shop.com/i/a.jpg"))) == expected


def test_of_a_name_only_the_public_addresses_are_asked():
    url = parse_url("https://shop.com/")
    both = allowed_addresses(url, resolve=lambda host, port: ["10.0.0.1", "1.1.1.1", "::1"])
    assert both == ["1.1.1.1"]
    with pytest.raises(AddressError, match=r"a private address \(10.0.0.1\)"):
        allowed_addresses(url, resolve=lambda host, port: ["10.0.0.1", "127.0.0.1"])
    inner = allowed_addresses(url, allow_private=True, resolve=lambda host, port: ["10.0.0.1"])
    assert inner == ["10.0.0.1"]


def test_localhost_is_refused():
    with pytest.raises(AddressError, match="a loopback address"):
        allowed_addresses(parse_url("http://localhost/"))


def test_references_to_fetch_are_told_from_files():
    assert is_web("http://a/b.jpg")
    assert is_web(" HTTPS://a/b.jpg")
    assert not is_web("images/http.jpg")
    assert not is_web("httpx://a")
    assert not is_web("s3://bucket/a.jpg")


def test_passwords_are_not_shown():
    assert shown("https://me:secret@shop.com/a") == "https://…@shop.com/a"
