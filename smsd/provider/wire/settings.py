"""The keys of every HTTP provider. Rule: a URL or a file that cannot be used is a fault."""

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, FilePath
from yarl import URL

from smsd.provider.base import ProviderSettings


def http_url(written: str) -> str:
    """`written`, if it can be the URL of a provider. Raises `ValueError`."""
    url = URL(written)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be a URL like https://gateway.example/send")
    if url.user or url.password or url.fragment:
        raise ValueError("must hold neither a user, nor a password, nor a #fragment")
    return written


def below(base_url: str, url: str) -> str:
    """`url` after the `base_url`, if there is one. Raises `ValueError`."""
    if base_url and not url.startswith("/"):
        raise ValueError('must begin with "/", since base_url goes before it')
    return base_url + url


def authorities(path: Path) -> Path:
    """`path`, if it is a file of certificate authorities. Raises `ValueError`."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError("must be a PEM file with certificates") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return path


HttpUrl = Annotated[str, AfterValidator(http_url)]


class HttpSettings(ProviderSettings):
    """The keys of every HTTP provider."""

    # A PEM file; if it is set, only these authorities are trusted.
    ca_file: Annotated[FilePath, AfterValidator(authorities)] | None = None
