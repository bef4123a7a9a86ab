"""`/audiences/{name}/contacts`. Rule: pages and pieces; no audience is held as a whole."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import cast

from aiohttp import web

from smsd.core import number
from smsd.core.contacts.columns import EXPORT_COLUMN, REJECT_COLUMNS
from smsd.core.contacts.events import MEANINGS, Reason
from smsd.core.fields import FieldError
from smsd.redis.availability import within
from smsd.store.audiences import Audiences, BadCursor, Page
from smsd.store.audiences.record import Audience, Contact
from smsd.web import audience_models as models
from smsd.web.audience_names import AudienceNames, find_audience, no_audience
from smsd.web.csv_stream import BOM, answer_csv, for_excel, rows_as_csv
from smsd.web.errors import ANSWER_S, ApiError, json_response
from smsd.web.query import read_count, read_flag, read_query
from smsd.web.route import CSV, PARAMETERS, Answer, Route
from smsd.web.slices import STEP, Slices

QUERY = tuple(models.ContactQuery.model_fields)
COUNT = 100  # contacts in a page, where the request gives no count
EXPORTED = 500  # contacts that are fetched at once
NUMBER = "number"  # in a path
NOT_A_PLACE = "must be what the page before answered"


class ContactCalls:
    """The handlers."""

    def __init__(self, audiences: Audiences, names: AudienceNames) -> None:
        self._audiences = audiences
        self._names = names
        # So that the steps of several pages do not add up in one turn of the loop.
        self._pages = asyncio.Lock()

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        path, one = "/audiences/{name}/contacts", "/audiences/{name}/contacts/{number}"
        return (
            Route(
                "GET",
                path,
                self.contacts,
                "A page of contacts; with `Accept: text/csv` all of them.",
                {200: Answer("Contacts, in no order.", models.ContactPage, also=CSV)},
                query=models.ContactQuery,
                refusals=(404,),
            ),
            Route(
                "GET",
                one,
                self.contact,
                "One contact.",
                {200: Answer("The contact.", models.ContactShown)},
                refusals=(404,),
            ),
            Route(
                "DELETE",
                one,
                self.discard,
                "Take one contact out.",
                {200: Answer("It is gone.", models.Removed)},
                refusals=(404, 409),
                operation_id="remove_contact",
            ),
            Route(
                "GET",
                "/audiences/{name}/rejects",
                self.rejects,
                "The rows that the last import rejected, as CSV; they are kept for a day.",
                {200: Answer("Each row as it came, after its line, column and fault.", None, CSV)},
                refusals=(404,),
            ),
        )

    async def contact(self, request: web.BaseRequest) -> web.Response:
        """`GET …/contacts/{number}`: one contact."""
        name, sought = self._names.readable(request), _number(request)
        if (numbers := self._names.fixed.get(name)) is not None:
            found = Contact(sought, {}) if sought in numbers else None
        else:
            async with within(ANSWER_S):
                found = await self._audiences.lookup(name, sought)
        if found is None:
            raise await self._no_contact(name)
        return json_response(_shown_contact(found))

    async def discard(self, request: web.BaseRequest) -> web.Response:
        """`DELETE …/contacts/{number}`: one contact."""
        name, sought = self._names.writable(request), _number(request)
        async with within(ANSWER_S):
            was_there = await self._audiences.discard(name, sought)
        if not was_there:
            raise await self._no_contact(name)
        return json_response({"status": "removed", "name": name, "number": sought})

    async def contacts(self, request: web.BaseRequest) -> web.StreamResponse:
        """`GET …/contacts`: a page, or all as CSV."""
        name, query = self._names.readable(request), read_query(request, QUERY)
        count = read_count(query, most=models.MOST_SHOWN, default=COUNT)
        excel = read_flag(query, "excel")
        if CSV in request.headers.get("Accept", ""):
            pieces = self._export(name, excel=excel)
            return await answer_csv(request, pieces, f"{name}.csv")
        page = await self._page(name, query.get("after", ""), count)
        shown = [_shown_contact(contact) for contact in page.contacts]
        answer: dict[str, object] = {"contacts": shown, "more": bool(page.cursor)}
        if page.cursor:
            answer["after"] = page.cursor
        return json_response(answer)

    async def rejects(self, request: web.BaseRequest) -> web.StreamResponse:
        """`GET …/rejects`: the rows that the last import rejected, as CSV."""
        name = self._names.readable(request)
        if name in self._names.fixed:
            raise ApiError(404, "not_found", f"{name} was never imported: the settings have it")
        audience = await find_audience(self._audiences, name)
        return await answer_csv(request, self._rejected(audience), f"{name}-rejects.csv")

    # -- pieces -----------------------------------------------------------------------------------

    async def _page(self, name: str, after: str, count: int) -> Page:
        """About `count` contacts. Raises `ApiError` 404 and `FieldError`."""
        if (numbers := self._names.fixed.get(name)) is not None:
            return _fixed_page(numbers, after, count)
        try:
            async with self._pages, within(ANSWER_S):
                page = await self._audiences.page(name, after, count)
        except BadCursor:
            raise FieldError("after", NOT_A_PLACE) from None
        if page is None:
            raise no_audience(name)
        return page

    async def _export(self, name: str, *, excel: bool) -> AsyncGenerator[bytes, None]:
        """All contacts as CSV. Raises `ReplacedError` if the audience is replaced meanwhile."""
        fixed = name in self._names.fixed
        audience = None if fixed else await find_audience(self._audiences, name)
        fields = audience.fields if audience else ()
        begin, after, slices = BOM if excel else "", "", Slices()
        header = [(EXPORT_COLUMN, *fields)]
        yield rows_as_csv(header, begin=begin)
        while True:
            page = await self._page(name, after, EXPORTED)
            for start in range(0, len(page.contacts), 4 * STEP):
                part = page.contacts[start : start + 4 * STEP]
                yield rows_as_csv(_rows(part, fields, excel=excel))
                await slices.rest()
            after = page.cursor
            if not after:
                break
        if (
            audience is not None
            and (await find_audience(self._audiences, name)).version != audience.version
        ):
            raise ReplacedError("the audience was replaced meanwhile")

    async def _rejected(self, audience: Audience) -> AsyncGenerator[bytes, None]:
        last = audience.imports[0]  # without one there is no audience
        parts = self._audiences.rejects(last.id)
        first: list[dict[str, object]] = await anext(parts, [])
        if not first and last.source.rejected:
            raise ApiError(404, "not_found", "rejected rows are kept for a day, which is over")
        columns = cast("list[str]", first.pop(0)["header"]) if first else []
        yield rows_as_csv([(*REJECT_COLUMNS, *columns)])
        slices = Slices()
        while first:
            for start in range(0, len(first), STEP):
                yield rows_as_csv(map(_rejected_row, first[start : start + STEP]))
                await slices.rest()
            first = await anext(parts, [])

    async def _no_contact(self, name: str) -> ApiError:
        if name not in self._names.fixed:
            await find_audience(self._audiences, name)
        return ApiError(404, "not_found", f"{name} has no contact of this number")


class ReplacedError(Exception):
    """An export holds contacts of two versions of an audience: it is cut off."""


def _number(request: web.BaseRequest) -> str:
    try:
        return number.parse(request[PARAMETERS][NUMBER])
    except ValueError as error:
        raise FieldError(NUMBER, str(error)) from None


def _shown_contact(contact: Contact) -> dict[str, object]:
    filled = {name: value for name, value in contact.fields.items() if value}
    return {"number": contact.number, "fields": filled}


def _fixed_page(numbers: Sequence[str], after: str, count: int) -> Page:
    if after and not (after.isascii() and after.isdigit() and len(after) <= len(str(len(numbers)))):
        raise FieldError("after", NOT_A_PLACE)
    start = int(after or 0)
    end = start + count
    contacts = [Contact(one, {}) for one in numbers[start:end]]
    return Page(contacts, str(end) if end < len(numbers) else "")


def _rows(
    contacts: Iterable[Contact], fields: Sequence[str], *, excel: bool
) -> Iterable[Sequence[str]]:
    for contact in contacts:
        row = [contact.number, *(contact.fields.get(field, "") for field in fields)]
        yield [for_excel(cell) for cell in row] if excel else row


def _rejected_row(rejected: dict[str, object]) -> Sequence[str]:
    row = cast("list[str]", rejected["row"])
    reason = MEANINGS[Reason(str(rejected["reason"]))]
    return (str(rejected["line"]), str(rejected["column"]), reason, *row)
