"""Pictures by address, for a service that was told from which hosts; all else is refused before a name is looked up.

In: an address that anybody may have sent. Out: bytes. `vision.download` fetches them: from public addresses alone, over
redirects that are checked in the same way, within a size and a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from interbert.recall.service.errors import ServiceError
from interbert.vision.download import (
    Downloader,
    DownloadError,
    Limits,
    PrivateAddressError,
    Resolve,
    addresses_of,
    is_public,
)

REDIRECTS, SECONDS = 3, 10.0
PORTS = (443, 80)


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
        resolve: Resolve = addresses_of,
        is_allowed: Callable[[str], bool] = is_public,
        ports: Sequence[int] = PORTS,
    ) -> None:
        self._hosts, self._ports = [host.lower().rstrip(".") for host in hosts], ports
        self._downloader = Downloader(Limits(most_bytes, seconds, REDIRECTS), resolve, is_allowed, self._check)

    def fetch(self, address: str, param: str) -> bytes:
        """The bytes at an address. Raises ServiceError 422 where it may not be asked, or does not answer well."""
        try:
            return self._downloader.content(address)
        except PrivateAddressError:
            why = "its host's name leads to a private address"  # to which, is nobody's business
        except DownloadError as error:
            why = str(error)
        message = f"{param}: the picture's address was not fetched: {why}"
        raise ServiceError(422, message, code="not_fetched", param=param)

    def _check(self, address: str, before: str | None) -> None:
        """Raises DownloadError for what this service was not told to fetch."""
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").lower().rstrip("."), parts.port
        except ValueError as error:
            raise DownloadError("it is no address") from error
        if parts.scheme not in ("https", "http") or "@" in parts.netloc or not address.isascii() or not host:
            raise DownloadError("wanted https://HOST/PATH in ASCII, without a user")
        if any(character <= " " for character in address):
            raise DownloadError("it has blanks or signs that are not shown")
        if before is not None and before.lower().startswith("https:") and parts.scheme != "https":
            raise DownloadError("it leads from https to http")
        allowed = any(host == one or (one.startswith(".") and host.endswith(one)) for one in self._hosts)
        if not allowed or (port or {"https": 443, "http": 80}[parts.scheme]) not in self._ports:
            raise DownloadError("its host or port is not one that this service was told to fetch from")
