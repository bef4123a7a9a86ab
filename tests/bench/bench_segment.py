"""What it costs to count a message's segments: microseconds, the best of 15 repeats."""

import timeit

from smsd.core.segment import count

CALLS = 5_000
REPEATS = 15

PLAIN = ("Your table is booked for 19:30, see you! " * 4)[:160]

TEXTS = [
    ("count, 160 plain characters", PLAIN, "target 1"),
    ("count, 160 with one extension character", PLAIN[:80] + "€" + PLAIN[81:], "target 5"),
    ("count, 160 Cyrillic characters", "\u044f" * 160, "target 3"),
]


def run() -> list[tuple[str, str, str]]:
    """A row per text: name, figure, note."""
    return [(name, f"{_microseconds(text):.2f} µs", note) for name, text, note in TEXTS]


def _microseconds(text: str) -> float:
    names = {"count": count, "text": text}
    best = min(timeit.repeat("count(text)", globals=names, number=CALLS, repeat=REPEATS))
    return best / CALLS * 1e6


if __name__ == "__main__":
    for row in run():
        print("{:<42}{:>10}  {}".format(*row))
