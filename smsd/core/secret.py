"""Secrets as files and people hand them over. Rule: what is surely not part of one is dropped or
refused by name, since a provider that refuses it says only that it is wrong.
"""

BYTE_ORDER_MARK = "\ufeff"


def read(raw: str) -> str:
    """`raw` without a byte order mark, and line ends around it. Raises `ValueError`."""
    secret = raw.removeprefix(BYTE_ORDER_MARK).strip("\r\n")
    if secret != secret.strip():
        raise ValueError("expected no blank at either end")
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in "\"'":
        raise ValueError("expected no quotes around it")
    return secret
