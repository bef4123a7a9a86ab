"""The parser, fed from memory: its frames, their size and their order."""

import hashlib
import io

import orjson
import pytest

from smsd.core.contacts.events import Fields, ImportRefused, Notice, Options
from smsd.importing.child import MOST_REJECTS, run
from smsd.importing.frames import (
    LONGEST_FRAME,
    Contacts,
    Done,
    Frame,
    Rejects,
    decode,
    encode_options,
)


def frames_of(octets: bytes, options: Options) -> list[Frame]:
    target = io.BytesIO()
    run(io.BytesIO(encode_options(options) + b"\n" + octets), target)
    return [decode(line) for line in target.getvalue().splitlines()]


def test_all_that_is_found_comes_in_frames() -> None:
    octets = b"phone,name\n+12025550123,Anna\nx,y\n+12025550124,Jos\xe9\n"
    fields, rejects, contacts, notice, done = frames_of(octets, Options())
    assert fields == Fields(("name",), ("phone", "name"))
    assert isinstance(rejects, Rejects)
    assert [reject.line for reject in rejects.rows] == [3]
    assert isinstance(contacts, Contacts)
    assert contacts.rows == [["+12025550123", "Anna"], ["+12025550124", "José"]]
    assert isinstance(notice, Notice)
    assert done == Done(3, 2, 1, len(octets), hashlib.sha256(octets).hexdigest())


def test_rejects_are_gathered_and_bounded() -> None:
    octets = b"phone,name\n" + b"x,y\n" * 250
    sizes = [len(f.rows) for f in frames_of(octets, Options()) if isinstance(f, Rejects)]
    assert sizes == [MOST_REJECTS, MOST_REJECTS, 50]


def test_no_frame_is_longer_than_the_other_side_reads() -> None:
    row = b",".join([b"+12025550123", *[b"\x01" * 4094] * 16])
    short = b",".join([b"+12025550123", *[b"\x01" * 4090] * 15])
    octets = b"phone," + b"a," * 15 + b"b\n" + b"\n".join([row, short, row, row])
    target = io.BytesIO()
    run(io.BytesIO(encode_options(Options()) + b"\n" + octets), target)
    lengths = list(map(len, target.getvalue().splitlines()))
    assert 700_000 < max(lengths) < LONGEST_FRAME


def test_rejects_of_nothing_but_empty_cells_are_bounded_too() -> None:
    octets = b"phone,name\n" + (b"," * 60_000 + b"x\n") * MOST_REJECTS
    target = io.BytesIO()
    run(io.BytesIO(encode_options(Options()) + b"\n" + octets), target)
    lengths = list(map(len, target.getvalue().splitlines()))
    assert max(lengths) < LONGEST_FRAME


def test_a_refusal_is_the_last_frame() -> None:
    target = io.BytesIO()
    run(io.BytesIO(encode_options(Options("json")) + b'\n["+12025550123", '), target)
    last = target.getvalue().splitlines()[-1]
    assert orjson.loads(last)["refused"]["code"] == "not_json"
    with pytest.raises(ImportRefused):
        decode(last)
