"""Pictures that are named by their address on the web, fetched to files: from public hosts alone, within limits.

In: addresses, which anybody may have written. Out: files named by the address's hash, and why others failed.
A host's address is looked up once, checked, and connected to, so that a name cannot mean one host when it is checked
and another when it is read; a redirection is checked the same way. Proxies are not used.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from PIL import Image
from tqdm import tqdm

from interbert.errors import InterbertError
from interbert.files import whole_file

Resolve = Callable[[str, int], list[str]]
Check = Callable[[str, str | None], None]  # of an address, and of the one that led to it
_MOVED = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16
_AS_GIVEN = "/%:@!$&'()*+,;=~-._?[]"  # what a path or query may hold unquoted, percent signs of quoted ones included
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # IPv6 addresses that a gateway takes to an IPv4 one
_PORTS = {"http": 80, "https": 443}
_AGENT = {"User-Agent": "interbert", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}


class DownloadError(InterbertError):
    """A picture that could not be fetched."""


class PrivateAddressError(DownloadError):
    """A host that is not on the open internet."""


@dataclass(frozen=True)
class Limits:
    """Of one picture."""

    max_bytes: int = 20_000_000
    timeout_seconds: float = 20.0  # for all of it, redirections included
    max_redirects: int = 3


def addresses_of(host: str, port: int) -> list[str]:
    """The network addresses of a host. Raises OSError where it has none."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Whether a network address is one of the open internet, not of this machine or its surroundings.

    An IPv6 address that carries an IPv4 one is as public as that.

    >>> [is_public(at) for at in ("93.184.216.34", "127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False, False, False]
    """
    at = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(at, ipaddress.IPv6Address):
        carried = at.ipv4_mapped or at.sixtofour or (at.teredo and at.teredo[1])
        if at in _NAT64:
            carried = ipaddress.IPv4Address(int(at) & 0xFFFFFFFF)
        if carried:
            return is_public(str(carried))
    return at.is_global and not at.is_multicast and not at.is_reserved


class Downloader:
    """Fetches pictures. resolve, may_reach: how hosts are looked up, and which addresses may be connected to.

    check: raises DownloadError for what may not be asked, before a host is looked up.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        resolve: Resolve = addresses_of,
        may_reach: Callable[[str], bool] = is_public,
        check: Check = lambda address, before: None,
    ) -> None:
        self.limits, self._resolve, self._may_reach, self._check = limits or Limits(), resolve, may_reach, check

    def fetch(self, address: str) -> tuple[bytes, str]:
        """A picture's bytes and the suffix of its format (".jpg"). Raises DownloadError with the reason."""
        found = self.content(address)
        return found, _suffix(found)

    def content(self, address: str) -> bytes:
        """What is at an address, whatever it is. Raises DownloadError with the reason."""
        deadline = time.monotonic() + self.limits.timeout_seconds
        place: str = address
        before: str | None = None
        for _ in range(self.limits.max_redirects + 1):
            self._check(place, before)
            found = self._ask(place, deadline)
            if isinstance(found, bytes):
                return found
            place, before = found, place
        raise DownloadError(f"more than {self.limits.max_redirects} redirections")

    def _ask(self, address: str, deadline: float) -> bytes | str:
        """What is at an address: its bytes, or the address where it says that they are."""
        connection, path = self._connection(address, deadline)
        clock = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, [connection])
        clock.daemon = True
        clock.start()
        try:
            connection.request("GET", path, headers=_AGENT)
            answer = connection.getresponse()
            moved = answer.getheader("Location")
            if answer.status in _MOVED and moved:
                return urljoin(address, moved)
            if answer.status != 200:
                raise DownloadError(f"the host says {answer.status} {answer.reason}")
            return self._read(answer, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() >= deadline
            raise DownloadError(self._late if late else f"{type(error).__name__}: {error}") from error
        finally:
            clock.cancel()
            connection.close()

    def _read(self, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        most, content = self.limits.max_bytes, bytearray()
        said = answer.getheader("Content-Length", "0")
        while len(content) <= most and int(said if said.isdigit() else 0) <= most:
            chunk = answer.read1(_CHUNK)
            if time.monotonic() >= deadline:
                raise DownloadError(self._late)
            if not chunk:
                if answer.length:
                    raise DownloadError(f"the connection ended {answer.length} bytes too early")
                return bytes(content)
            content += chunk
        raise DownloadError(f"larger than the limit of {most:,} bytes")

    @property
    def _late(self) -> str:
        return f"not there within {self.limits.timeout_seconds:g} seconds"

    def _connection(self, address: str, deadline: float) -> tuple[http.client.HTTPConnection, str]:
        """A connection that goes to a checked network address, and the path to ask for."""
        try:
            parts = urlsplit(address)
            scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
        except ValueError as error:
            raise DownloadError(f"'{address}' is no address: {error}") from error
        if scheme not in _PORTS or not host:
            raise DownloadError(f"'{address}' is no http or https address")
        port = port or _PORTS[scheme]
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise DownloadError(f"host '{host}' is not known ({error})") from error
        refused = [at for at in found if not self._may_reach(at)]
        if refused or not found:
            raise PrivateAddressError(
                f"host '{host}' is at {refused[0] if refused else 'no'} address: not on the open internet"
            )
        asked = quote(parts.path or "/", safe=_AS_GIVEN) + (
            f"?{quote(parts.query, safe=_AS_GIVEN)}" if parts.query else ""
        )
        seconds = max(0.01, deadline - time.monotonic())
        return (_Plain if scheme == "http" else _Secure)(host, port, found[0], seconds), asked


class _Plain(http.client.HTTPConnection):
    """To a network address that was looked up before, under the host's name."""

    def __init__(self, host: str, port: int, at: str, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._at = at

    def connect(self) -> None:
        self.sock = socket.create_connection((self._at, self.port), self.timeout)


class _Secure(_Plain):
    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _shut(connection: http.client.HTTPConnection) -> None:
    """Ends what a connection waits for."""
    try:
        if connection.sock:
            connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        return


def _suffix(content: bytes) -> str:
    """The suffix of a picture's format. Raises DownloadError for what is no picture."""
    try:
        with Image.open(BytesIO(content)) as image:
            kind = str(image.format).lower()
    except Exception as error:  # parsers of damaged headers raise nearly everything
        raise DownloadError(f"what came ({len(content):,} bytes) is no picture") from error
    return ".jpg" if kind == "jpeg" else f".{kind}"


def fetch_pictures(
    addresses: Iterable[str],
    folder: str | Path,
    downloader: Downloader | None = None,
    *,
    at_once: int = 8,
    progress: bool = False,
) -> tuple[dict[str, Path], dict[str, str]]:
    """Fetches pictures into a folder. Returns address -> file, and address -> reason of those that failed.

    What is in the folder already is not fetched again, so the same call goes on. at_once: connections.
    """
    folder, downloader = Path(folder), downloader or Downloader()
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.stem: path for path in folder.iterdir() if not path.name.startswith(".")}
    wanted = list(dict.fromkeys(addresses))
    files = {address: there[_name(address)] for address in wanted if _name(address) in there}
    failed: dict[str, str] = {}

    def fetched(address: str) -> tuple[str, Path | str]:
        try:
            content, suffix = downloader.fetch(address)
        except DownloadError as error:
            return address, str(error)
        path = folder / f"{_name(address)}{suffix}"
        with whole_file(path, "wb") as file:
            file.write(content)
        return address, path

    missing = [address for address in wanted if address not in files]
    pool = ThreadPoolExecutor(at_once)
    try:
        results = pool.map(fetched, missing)
        for address, result in tqdm(results, "fetching", len(missing), disable=not progress, unit=" pictures"):
            if isinstance(result, Path):
                files[address] = result
            else:
                failed[address] = result
    finally:
        pool.shutdown(cancel_futures=True)  # stopped: what is being fetched is finished, the others are not begun
    return files, failed


def _name(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:40]
