"""Pictures by address, for a service that was told from which hosts. Never from a private address, however it is named.

A host must be one of those that are allowed. Its name is resolved once, every address that comes of it must be public,
and the connection goes to the address that was checked, so that a name which changes its mind leads nowhere else. A
redirect is a new address, checked in the same way. Times and sizes are bounded before anything is decoded.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from urllib.parse import urljoin, urlsplit

from interbert.recall.service.errors import ServiceError

REDIRECTS, SECONDS, PART = 3, 10.0, 1 << 16
AGENT = "interbert"
Resolve = Callable[[str, int], Sequence[str]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolved(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also where it hides in another.

    >>> [is_public(one) for one in ("93.184.216.34", "127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1")]
    [True, False, False, False]
    """
    try:
        one = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(one, ipaddress.IPv6Address):
        inside = one.ipv4_mapped or one.sixtofour or (one.teredo[1] if one.teredo else None)
        if inside is None and one in _NAT64:
            inside = ipaddress.IPv4Address(int(one) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(str(inside))
    return one.is_global and not (one.is_multicast or one.is_reserved or one.is_unspecified)


class _Checked(http.client.HTTPConnection):
    """A connection to an address that was checked, whatever the host's name leads to by now."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext | None, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._address, self._context = address, context

    def connect(self) -> None:
        connected = socket.create_connection((self._address, self.port), self.timeout)
        if self._context is not None:
            connected = self._context.wrap_socket(connected, server_hostname=self.host)
        self.sock = self.connected = connected


class Fetcher:
    """hosts: whose pictures are fetched, `example.com` or, with all below it, `.example.com`.

    resolve, is_allowed, ports: what tests put in other people's places.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        most_bytes: int,
        *,
        seconds: float = SECONDS,
        resolve: Resolve = resolved,
        is_allowed: Callable[[str], bool] = is_public,
        ports: Sequence[int] = (443, 80),
    ) -> None:
        self._hosts = [host.lower().rstrip(".") for host in hosts]
        self._most, self._seconds, self._resolve = most_bytes, seconds, resolve
        self._is_allowed, self._ports = is_allowed, ports

    def fetch(self, address: str, param: str) -> bytes:
        """The bytes at an address. Raises ServiceError 422 where it may not be asked, or does not answer well."""
        deadline = time.monotonic() + self._seconds
        secure = False
        for _ in range(REDIRECTS + 1):
            scheme, host, port, path = self._parts(address, param)
            if secure and scheme != "https":
                raise _refused(param, "it leads from https to http")
            secure = scheme == "https"
            ip = self._checked(host, port, param)
            try:
                content, onward = self._asked(scheme, host, port, ip, path, deadline, param)
            except (OSError, http.client.HTTPException) as error:
                raise _refused(param, f"its host did not answer well ({type(error).__name__})") from error
            if onward is None:
                return content
            address = urljoin(address, onward)
        raise _refused(param, f"it leads on more than {REDIRECTS} times")

    def _parts(self, address: str, param: str) -> tuple[str, str, int, str]:
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise _refused(param, "it is no address") from None
        if parts.scheme not in ("https", "http") or "@" in parts.netloc or not address.isascii() or not host:
            raise _refused(param, "wanted https://HOST/PATH in ASCII, without a user")
        if any(character <= " " for character in address):
            raise _refused(param, "it has blanks or signs that are not shown")
        port = port or (443 if parts.scheme == "https" else 80)
        name = host.rstrip(".")
        allowed = any(name == one or (one.startswith(".") and name.endswith(one)) for one in self._hosts)
        if not allowed or port not in self._ports:
            raise _refused(param, "its host or port is not one that this service was told to fetch from")
        return parts.scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _checked(self, host: str, port: int, param: str) -> str:
        """The address to connect to. All that the name leads to must be allowed."""
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise _refused(param, "its host's name leads nowhere") from None
        if not found or not all(self._is_allowed(one) for one in found):
            raise _refused(param, "its host's name leads to a private address")
        return found[0]

    def _asked(
        self, scheme: str, host: str, port: int, ip: str, path: str, deadline: float, param: str
    ) -> tuple[bytes, str | None]:
        """(content, None), or (b"", where it leads on to)."""
        context = ssl.create_default_context() if scheme == "https" else None
        connection = _Checked(host, port, ip, context, max(0.1, deadline - time.monotonic()))
        with ExitStack() as closing:
            closing.callback(connection.close)
            connection.request("GET", path, headers={"User-Agent": AGENT, "Accept": "image/*"})
            response = connection.getresponse()
            closing.callback(response.close)
            onward = response.getheader("Location")
            if response.status in (301, 302, 303, 307, 308) and onward:
                return b"", onward
            if response.status != 200:
                raise _refused(param, f"its host answered {response.status}")
            return self._read(response, connection, deadline, param), None

    def _read(self, response: http.client.HTTPResponse, connection: _Checked, deadline: float, param: str) -> bytes:
        content = bytearray()
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _refused(param, f"it took longer than {self._seconds:g} s")
            connection.connected.settimeout(left)
            part = response.read1(PART)
            if not part:
                return bytes(content)
            content += part
            if len(content) > self._most:
                raise _refused(param, f"it has more than {self._most:,} bytes")


def _refused(param: str, why: str) -> ServiceError:
    return ServiceError(422, f"{param}: the picture's address was not fetched: {why}", code="not_fetched", param=param)
