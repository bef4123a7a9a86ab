"""`PUT` and `POST /audiences/{name}`. Rule: a file goes in whole, or nothing of it does.

The body goes piece by piece to a process that parses it, and what comes back goes batch by batch
into Redis: whoever is slow slows the others down, and nothing piles up in between. Bad rows never
stop good ones.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson
from aiohttp import web

from smsd.core.contacts.events import (
    MEANINGS,
    Fields,
    Format,
    ImportRefused,
    Notice,
    Options,
    Reject,
)
from smsd.core.fields import rfc3339
from smsd.importing.frames import Contacts, Done, Frame, ParserFailedError, Rejects
from smsd.importing.process import Parser, parsing
from smsd.store.audiences import Audiences
from smsd.store.audiences.record import Audience, Source
from smsd.store.audiences.staging import Imported, Staging
from smsd.store.audiences.version import AudienceChanged, StagingLost
from smsd.web import audience_models as models
from smsd.web.audience_names import AudienceNames
from smsd.web.auth import caller
from smsd.web.errors import ApiError, json_response, unavailable
from smsd.web.query import read_query
from smsd.web.route import CSV, JSON, NDJSON, Answer, Route, Streamed
from smsd.web.upload import UPLOAD, Upload

log = logging.getLogger("smsd.audiences")
QUERY = tuple(models.ImportQuery.model_fields)
FORMATS: dict[str, Format] = {CSV: "csv", NDJSON: "ndjson", JSON: "json"}
SHOWN = 20  # rejected rows
UTF_8 = ("utf-8", "utf8", "us-ascii")  # what is found out anyhow


@dataclass
class Report:
    """What was found in the file."""

    header: Sequence[str] = ()
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    first: list[Reject] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    done: Done | None = None


class AudienceImport:
    """The handlers."""

    def __init__(self, audiences: Audiences, names: AudienceNames) -> None:
        self._audiences = audiences
        self._names = names

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        answers = {200: Answer("It is imported.", models.ImportAnswer)}
        body = Streamed(tuple(FORMATS), models.Contacts)
        return (
            Route(
                "PUT",
                "/audiences/{name}",
                self.replace,
                "Make a file of contacts the audience; readers see the old one until it is whole.",
                answers,
                body=body,
                query=models.ImportQuery,
                refusals=(409,),
                operation_id="replace_audience",
            ),
            Route(
                "POST",
                "/audiences/{name}",
                self.add,
                "Add a file of contacts to the audience; a known number gets the new values.",
                answers,
                body=body,
                query=models.ImportQuery,
                refusals=(409,),
                operation_id="add_to_audience",
            ),
        )

    async def replace(self, request: web.BaseRequest) -> web.Response:
        """`PUT`: the audience is what the file holds."""
        return await self._import(request, replace=True)

    async def add(self, request: web.BaseRequest) -> web.Response:
        """`POST`: what the file holds is in the audience, too."""
        return await self._import(request, replace=False)

    async def _import(self, request: web.BaseRequest, *, replace: bool) -> web.Response:
        name, upload = self._names.writable(request), request[UPLOAD]
        options = _options(read_query(request, QUERY), upload)
        report = Report()
        try:
            async with (
                self._audiences.begin(name, replace=replace) as staging,
                parsing(options, upload.pieces()) as parser,
            ):
                await _stage(parser, staging, report)
                _check_contacts(report)
                imported = await staging.commit(_source(request, options, report))
                if dropped := staging.rejects_dropped:
                    report.notices.append(f"the last {dropped} of the rejected rows are not kept")
        except ImportRefused as refused:
            raise _unreadable(refused, options) from None
        except (ParserFailedError, AudienceChanged, StagingLost) as error:
            raise _failed(error) from None
        _log(name, imported, upload)
        return json_response(_answer(imported, report))


async def _stage(parser: Parser, staging: Staging, report: Report) -> None:
    async for frame in parser.frames():
        match frame:
            case Contacts():
                await staging.add(frame.rows)
            case Rejects(rows):
                await _reject(rows, staging, report)
            case _:
                _note(frame, staging, report)


def _note(frame: Frame, staging: Staging, report: Report) -> None:
    match frame:
        case Fields(names, header):
            staging.set_fields(names)
            report.header = header
        case Notice(text):
            report.notices.append(text)
        case Done():
            report.done = frame
        case _:
            pass  # not for here


async def _reject(rows: Sequence[Reject], staging: Staging, report: Report) -> None:
    if not report.rejected:
        await staging.reject([{"header": report.header}])
    report.rejected.update(row.reason.value for row in rows)
    report.first += rows[: SHOWN - len(report.first)]
    await staging.reject(rows)


def _check_contacts(report: Report) -> None:
    """Refuse a file without a contact: a forgotten region must not empty an audience."""
    if report.done is None or report.done.contacts:
        return
    message = "the file has no contacts"
    if report.first:
        row = report.first[0]
        column = f", column {row.column}" if row.column else ""
        message = f"none of its {report.done.rejected} rows can be taken, and nothing was imported;"
        message += f" the first, line {row.line}{column}, {MEANINGS[row.reason]}"
    raise ApiError(400, "no_contacts", message, more={"rejected": _rejected(report)})


def _rejected(report: Report) -> dict[str, object]:
    return {
        "count": report.rejected.total(),
        "reasons": dict(report.rejected),
        "first": [_shown(row) for row in report.first],
    }


def _options(query: dict[str, str], upload: Upload) -> Options:
    charset = "" if upload.charset.lower() in UTF_8 else upload.charset
    if "region" in query:
        query["region"] = query["region"].upper()
    return Options(format=FORMATS[upload.media_type], **{"encoding": charset} | query)


def _source(request: web.BaseRequest, options: Options, report: Report) -> Source:
    done = cast("Done", report.done)  # else the frames would have ended with an error
    read_as = orjson.dumps(options).decode()
    return Source(done.sha256, read_as, caller(request), dict(report.rejected))


def _unreadable(refused: ImportRefused, options: Options) -> ApiError:
    name = refused.field
    # An option that was not given is no fault of its own: it is what would help.
    subject = name if name and getattr(options, name) else "the file"
    return ApiError(400, refused.code, f"{subject} {refused.message}", field=name or None)


def _failed(error: ParserFailedError | AudienceChanged | StagingLost) -> ApiError:
    match error:
        case AudienceChanged():
            message = "the audience was changed meanwhile, and nothing was imported: try again"
            return ApiError(409, "audience_changed", message)
        case StagingLost():
            message = "Redis has lost a part of the import, and nothing was imported: try again"
            return unavailable("import_lost", message)
        case ParserFailedError():
            log.error("the parser of an import failed", extra={"reason": str(error)})
            return ApiError(500, "internal", "a bug in smsd; its log has the details")


def _log(name: str, imported: Imported, upload: Upload) -> None:
    known = {"audience": name, "contacts": imported.audience.contacts, "octets": upload.octets}
    if imported.unchanged:
        log.info("audience imported before", extra=known)
    else:
        log.info("audience imported", extra=known | imported.counts._asdict())


def _answer(imported: Imported, report: Report) -> dict[str, object]:
    audience, counts = imported.audience, imported.counts
    answer: dict[str, object] = {
        "name": audience.name,
        "contacts": audience.contacts,
        "fields": audience.fields,
        "added": counts.added,
        "updated": counts.updated,
        "duplicates": counts.duplicates,
        "rejected": _rejected(report),
        "notices": report.notices,
        "unchanged": imported.unchanged,
    }
    if (before := _imported_before(audience, imported, report)) is not None:
        answer["imported_before"] = rfc3339(before)
    return answer


def _imported_before(audience: Audience, imported: Imported, report: Report) -> int | None:
    earlier = audience.imports if imported.unchanged else audience.imports[1:]
    digest = report.done.sha256 if report.done else ""
    return next((one.at for one in earlier if one.source.sha256 == digest), None)


def _shown(row: Reject) -> dict[str, object]:
    return {
        "line": row.line,
        "column": row.column,
        "reason": row.reason,
        "message": MEANINGS[row.reason],
        "value": row.value,
    }
