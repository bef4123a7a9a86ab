"""Octets to text. Rule: a fixed order of decisions, no statistics, and a notice of each guess.

1. What holds no characters (a workbook, an archive, a picture) is refused by its name.
2. A byte order mark decides. 3. NULs in the first 4 KB: UTF-16, by the side that has them.
4. UTF-8. 5. At the first octet that is none: cp1252, from there on. Unless there has been a
character beyond ASCII before: then it is UTF-8 with stray octets, and they alone are replaced.
"""

import codecs
import encodings
from collections.abc import Iterable, Iterator
from encodings.aliases import aliases
from itertools import chain

from smsd.core.contacts.events import ImportRefused

SNIFFED = 4096  # octets
PIECE = 65_536  # octets that are decoded at once, at most

_NOT_TEXT = {
    b"PK\x03\x04": ("workbook", "an Excel or Numbers workbook, or another zip archive"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("workbook", "an Excel workbook of the old kind (.xls)"),
    b"\x1f\x8b": ("archive", "compressed with gzip"),
    b"BZh": ("archive", "compressed with bzip2"),
    b"\xfd7zXZ\x00": ("archive", "compressed with xz"),
    b"7z\xbc\xaf\x27\x1c": ("archive", "a 7z archive"),
    b"Rar!\x1a\x07": ("archive", "a RAR archive"),
    b"\x28\xb5\x2f\xfd": ("archive", "compressed with zstd"),
    b"%PDF-": ("document", "a PDF document"),
    b"{\\rtf": ("document", "an RTF document"),
    b"\x89PNG\r\n": ("picture", "a picture"),
    b"\xff\xd8\xff": ("picture", "a picture"),
    b"GIF8": ("picture", "a picture"),
}
_HINTS = {
    "workbook": "save the sheet as CSV (UTF-8) and send that",
    "archive": "unpack it and send the file inside",
    "document": "send a CSV file",
    "picture": "send a CSV file",
}
_MARKUP = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "an XML document",
    b"begin:vcard": "a vCard file",
}
_MARKS = {  # longest first: the mark of UTF-16LE begins that of UTF-32LE
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# What may be asked for, as Python calls it: of its encodings, those that files are written in.
_NAMES = (
    "ascii utf-8 utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be "
    "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
    "cp437 cp850 cp852 cp866 cp874 cp932 cp949 "
    "iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 "
    "iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u tis-620 "
    "mac-roman mac-latin2 mac-cyrillic mac-greek mac-turkish "
    "shift_jis euc_jp gb2312 gbk gb18030 big5 big5hkscs euc_kr"
)
# By the module that has it, which aliases lead to.
_MODULES = {name.replace("-", "_"): name for name in _NAMES.split()}
_MODULES |= {"latin_1": "iso8859-1", "utf_8_sig": "utf-8"}


def known_encoding(name: str) -> str:
    """Python's own name of an encoding that was asked for. Raises `ImportRefused`."""
    module = encodings.normalize_encoding(name.strip()).lower() if name.isascii() else ""
    module = aliases.get(module, module)
    # Never looked up as it is: Python would remember each name that anybody ever asked for.
    if module not in _MODULES:
        raise ImportRefused(
            "encoding", "is no known encoding; known are utf-8, utf-16, cp1252 …", "encoding"
        )
    return _MODULES[module]


def decoded(pieces: Iterable[bytes], encoding: str, notices: list[str]) -> Iterator[str]:
    """The text of octets that come in pieces of any size. Raises `ImportRefused`."""
    source = _cut(pieces)
    head = b""
    for piece in source:
        head += piece
        if len(head) >= SNIFFED:
            break
    refuse_what_is_no_text(head)
    asked = known_encoding(encoding) if encoding else ""
    chosen, mark = _chosen(head, asked)
    source = chain((head[mark:],), source)
    if asked and not chosen.startswith(asked):
        notices.append(f"the file has the byte order mark of {chosen}, and is not read as {asked}")
    if chosen == "utf-8" and not asked:
        yield from _utf8(source, notices, marked=mark > 0)
        return
    if not (mark or asked):
        notices.append(f"the file is read as {chosen}, though it has no byte order mark")
    yield from _all_of(codecs.getincrementaldecoder(chosen)("replace"), source)


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets, in pieces that are not too large."""
    for piece in pieces:
        if len(piece) <= PIECE:
            yield piece
        else:
            for start in range(0, len(piece), PIECE):
                yield piece[start : start + PIECE]


def refuse_what_is_no_text(head: bytes) -> None:
    """Raise `ImportRefused` if a file that begins so is none that can hold contacts."""
    for magic, (code, name) in _NOT_TEXT.items():
        if head.startswith(magic):
            raise ImportRefused(code, f"is {name}; {_HINTS[code]}")
    start = head[:64].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    for magic, name in _MARKUP.items():
        if start.startswith(magic):
            raise ImportRefused("document", f"is {name}; send a CSV file")


def _chosen(head: bytes, asked: str) -> tuple[str, int]:
    """The encoding, and the length of the byte order mark in front."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    if asked:
        return (f"{asked}-le" if asked in ("utf-16", "utf-32") else asked), 0
    sample = head[:SNIFFED]
    nulls = sample.count(0)
    if not nulls:
        return "utf-8", 0
    late = sample[1::2].count(0)
    early = nulls - late
    # Of Latin text, half of the octets are NUL; of a line with digits in it, still some.
    if 10 * max(early, late) >= len(sample) // 2 and 4 * min(early, late) <= max(early, late):
        return ("utf-16-le" if late > early else "utf-16-be"), 0
    if nulls * 20 > len(sample):
        raise ImportRefused("binary", "is not text; send a CSV file")
    return "utf-8", 0  # the rows that hold one are refused, each for itself


def _utf8(source: Iterator[bytes], notices: list[str], *, marked: bool) -> Iterator[str]:
    """UTF-8, or what is to be made of octets that are none."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    breaks, beyond_ascii = _Breaks(), marked
    for piece in chain(source, (None,)):
        try:
            characters = decoder.decode(piece or b"", final=piece is None)
        except UnicodeDecodeError as error:
            characters = error.object[: error.start].decode()
            remains = error.object[error.start :]
        else:
            remains = b""
        breaks.count(characters)
        beyond_ascii = beyond_ascii or not characters.isascii()
        yield characters
        if remains:
            yield from _fallback(
                chain((remains,), source), breaks.line, notices, mixed=beyond_ascii
            )
            return


def _fallback(
    source: Iterator[bytes], line: int, notices: list[str], *, mixed: bool
) -> Iterator[str]:
    if mixed:
        notices.append(
            f"the file is UTF-8 with other octets in it, the first in line {line};"
            " they are read as cp1252"
        )
        encoding, errors = "utf-8", "smsd.cp1252"
    else:
        notices.append(
            f"the file is not UTF-8; from line {line} on it is read as cp1252"
            " (encoding= chooses another)"
        )
        encoding, errors = "cp1252", "replace"
    yield from _all_of(codecs.getincrementaldecoder(encoding)(errors), source)


def _all_of(decoder: codecs.IncrementalDecoder, source: Iterator[bytes]) -> Iterator[str]:
    for piece in source:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _read_as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("smsd.cp1252", _read_as_cp1252)


class _Breaks:
    """The line that comes next, of characters that come in pieces."""

    def __init__(self) -> None:
        self.line = 1
        self._after_return = False

    def count(self, characters: str) -> None:
        if not characters:
            return
        returns = characters.count("\r")
        self.line += characters.count("\n") + returns
        if returns:
            self.line -= characters.count("\r\n")
        if self._after_return and characters[0] == "\n":
            self.line -= 1
        self._after_return = characters[-1] == "\r"
