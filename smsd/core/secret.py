"""Secrets from files and people. Rule: what cannot belong to a secret is dropped or is a fault.

A provider only answers that a secret is wrong, so a stray blank or quote is found here.
"""

BYTE_ORDER_MARK = "\ufeff"


def read(raw: str) -> str:
    """`raw` without a byte order mark and the line ends around it. Raises `ValueError`."""
    secret = raw.removeprefix(BYTE_ORDER_MARK).strip("\r\n")
    if secret != secret.strip():
        raise ValueError("expected no blank at either end")
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in "\"'":
        raise ValueError("expected no quotes around it")
    return secret
