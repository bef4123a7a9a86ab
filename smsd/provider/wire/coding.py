"""Compressed answers. Rule: no answer decompresses to more than may be read of one.

Some gateways compress although they were asked not to. Only what the standard library decodes is
read (RFC 9110 §8.4.1): gzip, and deflate both within zlib, as the standard has it, and raw.
"""

import zlib

GZIP, ZLIB, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_WRAPPERS = {"gzip": (GZIP,), "x-gzip": (GZIP,), "deflate": (ZLIB, RAW)}
_LONGEST_NAME = 40  # characters of a coding's name that are shown
MOST_CODINGS = 3  # within one another
MOST_MEMBERS = 16  # of one gzip file
_GZIP_MAGIC = b"\x1f\x8b"


class Undecodable(Exception):  # noqa: N818 - a state of an answer, not of the program
    """The message says why, and is safe to show."""


def decode(body: bytes, content_encoding: str, most: int) -> tuple[bytes, bool]:
    """Up to `most` octets of the body without its codings, and whether it has its end.

    Raises `Undecodable`.
    """
    named = [name.strip().lower() for name in content_encoding.split(",")]
    codings = [name for name in named if name not in ("", "identity")]
    for name in codings:
        if name not in _WRAPPERS:
            raise Undecodable(f"the answer is coded as {_shown(name)}, which is not read")
    if len(codings) > MOST_CODINGS:
        raise Undecodable("the answer is coded too many times")
    whole = True
    for name in reversed(codings):
        body, ended = _unwrapped(body, name, most)
        whole &= ended
    return body, whole


def _unwrapped(body: bytes, name: str, most: int) -> tuple[bytes, bool]:
    for wrapper in _WRAPPERS[name]:
        try:
            return _inflated(body, wrapper, most)
        except zlib.error:
            continue
    raise Undecodable(f"the answer is no {name}, though it says so")


def _inflated(body: bytes, wrapper: int, most: int) -> tuple[bytes, bool]:
    plain, ended = b"", not body  # an empty body is none, whatever its coding
    for _ in range(MOST_MEMBERS):
        if not body or len(plain) >= most:
            break
        inflater = zlib.decompressobj(wrapper)
        plain += inflater.decompress(body, most - len(plain))
        ended, body = inflater.eof, inflater.unused_data
        if wrapper != GZIP or not body.startswith(_GZIP_MAGIC):
            break  # what follows is padding
    return plain, ended


def _shown(name: str) -> str:
    shown = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "?" for c in name)
    return shown[:_LONGEST_NAME]
