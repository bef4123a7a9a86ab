"""Recipients of a request. Rule: all of a list are read, and every bad one is counted.

Long lists are read in slices, so that the pacer does not wait for them.
"""

from smsd.core.fields import FieldError
from smsd.core.message import parse_recipient
from smsd.web.errors import ApiError
from smsd.web.slices import STEP, Slices

MOST_FAULTS = 20  # bad numbers that one answer names


async def read_recipients(raw: object, most: int) -> tuple[list[str], int]:
    """The recipients in `to`, each once, and how many were repetitions.

    Raises `FieldError`, and `ApiError` with the first faults of a list.
    """
    if not isinstance(raw, list):
        return [parse_recipient(raw)], 0
    if not 0 < len(raw) <= most:
        raise FieldError("to", f"must name 1 to {most} numbers, not {len(raw)}")
    numbers = await _numbers(raw)
    return numbers, len(raw) - len(numbers)


async def _numbers(raw: list[object]) -> list[str]:
    """Each number once. Raises `ApiError` with the first faults."""
    numbers: dict[str, None] = {}
    faults: list[dict[str, str]] = []
    slices = Slices()
    for place, one in enumerate(raw):
        if place % STEP == 0:
            await slices.rest()
        try:
            numbers[parse_recipient(one, f"to[{place}]")] = None
        except FieldError as fault:  # (not kept: 10,000 tracebacks are work for the collector)
            faults.append({"field": fault.field, "message": str(fault)})
    if faults:
        raise _faults(faults)
    return list(numbers)


def _faults(faults: list[dict[str, str]]) -> ApiError:
    first = faults[0]
    return ApiError(
        400,
        "invalid_field",
        f"{first['field']} {first['message']}",
        field=first["field"],
        more={"faults": faults[:MOST_FAULTS], "fault_count": len(faults)},
    )
