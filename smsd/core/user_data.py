"""The octets of a message's text. Rule: it is encoded as `segment.count` counts it.

For providers that take octets in place of characters. GSM 7-bit codes are not packed: one octet
holds one septet (3GPP TS 23.038 §6.2.1), as SMPP and most gateways take them.
"""

from smsd.core.segment import DEFAULT_ALPHABET, EXTENSION_TABLE, Encoding

ESCAPE = 0x1B  # the one code of the default alphabet that is no character
_EXTENSION_CODES = b"\x0a\x14\x28\x29\x2f\x3c\x3d\x3e\x40\x65"  # §6.2.1.1, as in the table

_GSM7: dict[str, bytes] = {
    **{
        character: bytes([code + (code >= ESCAPE)])
        for code, character in enumerate(DEFAULT_ALPHABET)
    },
    **{
        character: bytes([ESCAPE, code])
        for character, code in zip(EXTENSION_TABLE, _EXTENSION_CODES, strict=True)
    },
}


def octets(text: str, encoding: Encoding) -> bytes:
    """`text` in `encoding`, which must be the one that `segment.count` found for it."""
    if encoding == "gsm7":
        return b"".join(_GSM7[character] for character in text)
    return text.encode("utf-16-be")
