"""Which URLs may be asked for, and which network addresses may be talked to.

A catalogue is written by people we do not know, so a URL of theirs must not make this machine
talk to its own network. A name is resolved here, its addresses are judged here, and the caller
connects to exactly those: asking the resolver again would let a hostile one answer differently.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from pinjoin.core.errors import InputError

MAX_URL = 8192
"""Characters of a URL; servers refuse longer ones, too."""

_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH_KEEPS = "%/:@!$&'()*+,;="
_QUERY_KEEPS = _PATH_KEEPS + "?[]"

_PUBLIC_ONLY = (
    "Only the public internet is asked. If the host is one of yours, and everyone who wrote this "
    "catalogue may reach it, build with --allow-private (allow_private=True)."
)

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
# Parts of what is called global that lead elsewhere, or to an IPv4 address of their own choice.
_SPECIAL_4 = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))
_SPECIAL_6 = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)

Resolve = Callable[[str, int], list[str]]
"""(host name, port) → its addresses as text; raises OSError (socket.gaierror) if it has none."""


class AddressError(InputError):
    """A URL or address that is not asked. `reason` is one short sentence without the URL."""

    def __init__(self, url: str, reason: str, remedy: str = "") -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{shown(url)}: {reason}.{f' {remedy}' if remedy else ''}")


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL in one spelling: lower-case ASCII host, no fragment, encoded path."""

    scheme: str
    host: str  # an IPv6 address without brackets
    port: int
    target: str  # path and query, as requested

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """Host, with the port where it is not the scheme's: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def is_web(reference: str) -> bool:
    """Whether an image reference asks to be fetched: it starts with http:// or https://."""
    return reference.lstrip()[:8].lower().startswith(("http://", "https://"))


def parse_url(text: str, base: Url | None = None) -> Url:
    """Read a URL, relative to `base` if given. Raises AddressError.

    Refused are other schemes, user names and passwords, control characters and backslashes
    (readers differ on what they mean), IPv4 addresses in other than the four-part decimal form,
    and hosts that are no names. Blanks and letters outside ASCII are encoded.

    >>> str(parse_url("HTTP://Shop.com:80/a b.jpg#top"))
    'http://shop.com/a%20b.jpg'
    """
    text = text.strip(" \t\r\n")
    if len(text) > MAX_URL:
        raise AddressError(text, f"the URL has more than {MAX_URL:,} characters")
    if _CONTROL.search(text) or "\\" in text:
        raise AddressError(text, "the URL has a control character or a backslash in it")
    try:
        parts = urlsplit(urljoin(str(base), text) if base else text)
        port = parts.port
        target = quote(parts.path or "/", safe=_PATH_KEEPS)
        if parts.query:
            target += "?" + quote(parts.query, safe=_QUERY_KEEPS)
    except ValueError:  # brackets, port, or letters that are none
        raise AddressError(text, "the URL is malformed") from None
    if parts.scheme not in _PORTS:
        raise AddressError(text, "the URL is not of http or https", _local(parts.scheme))
    if "@" in parts.netloc:
        raise AddressError(text, "the URL holds a user name or password", "Leave it out.")
    if not parts.hostname or port == 0:
        raise AddressError(text, f"the URL has {'port 0' if port == 0 else 'no host'}")
    host = _host(parts.hostname, "[" in parts.netloc, text)
    return Url(parts.scheme, host, port or _PORTS[parts.scheme], target)


def shown(url: str) -> str:
    """`url` for messages: without a password, and not longer than a line or two."""
    hidden = re.sub(r"(?<=//)[^/?#]*@", "…@", url)
    return hidden if len(hidden) <= 200 else hidden[:199] + "…"


def _local(scheme: str) -> str:
    if scheme == "data":
        return "Write the picture into a file of the images folder and refer to that."
    return "Download it into the images folder and refer to the file."


def _host(name: str, bracketed: bool, url: str) -> str:
    try:
        if bracketed:
            if "%" in name:  # a zone: the name of a network of this machine
                raise ValueError(name)
            return str(ipaddress.IPv6Address(name))
        name = name.removesuffix(".").encode("idna").decode("ascii").lower()
        if not _NAME.fullmatch(name):
            raise ValueError(name)
    except ValueError:  # UnicodeError is one
        raise AddressError(url, "the URL's host is no valid name or address") from None
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            reason = "the URL's host is a number, or an IPv4 address in an unusual form"
            raise AddressError(url, reason, "Write it as four decimal numbers.") from None
    return name


def not_public(address: str) -> str | None:
    """Why an address is not one of the public internet, in a word or two; None if it is.

    Of addresses that hold an IPv4 address (IPv4-mapped, NAT64) that one is judged.

    >>> not_public("::ffff:127.0.0.1")
    'loopback'
    >>> not_public("1.1.1.1") is None
    True
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    for word in ("unspecified", "loopback", "link_local", "multicast"):
        if getattr(ip, f"is_{word}"):
            return word.replace("_", "-")
    if isinstance(ip, ipaddress.IPv4Address):
        reserved = any(ip in network for network in _SPECIAL_4)
    else:
        reserved = ip not in _UNICAST or any(ip in network for network in _SPECIAL_6)
    if ip.is_private:
        return "private"
    return "reserved" if reserved or not ip.is_global else None


def system_addresses(host: str, port: int) -> list[str]:
    """All addresses that this machine's resolver knows of a host, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed_addresses(
    url: Url, allow_private: bool = False, resolve: Resolve = system_addresses
) -> list[str]:
    """The addresses of a URL's host that may be talked to; at least one.

    Raises AddressError if there are only others, OSError if the host is not known.
    """
    try:
        ipaddress.ip_address(url.host)
        found = [url.host]
    except ValueError:
        found = resolve(url.host, url.port)
    if allow_private:
        return found
    judged = {address: not_public(address) for address in found}
    public = [address for address, problem in judged.items() if problem is None]
    if found and not public:
        problem = next(iter(judged.values()))
        reason = f"the URL's host has a {problem} address ({found[0]})"
        raise AddressError(str(url), reason, _PUBLIC_ONLY)
    return public
