"""`POST /campaigns/{campaign}/retry-failed`. Rule: only what is dead is sent again, and once.

A dead letter that may have been sent is left alone, unless that is asked for.
"""

from collections.abc import Mapping, Sequence

from aiohttp import web

from smsd.core.campaign import Campaign, CampaignState
from smsd.core.campaign_request import Verb, read_verb
from smsd.core.life import DeadReason
from smsd.redis.errors import Away
from smsd.store.campaigns import Campaigns
from smsd.store.dead_letter_request import Choice, Order, read_places
from smsd.store.dead_letters import DeadLetters, Swept
from smsd.web import campaign_models as models
from smsd.web.body import read_object
from smsd.web.campaign_refusals import count_changed
from smsd.web.campaigns import PATH, find_campaign
from smsd.web.errors import ApiError, json_response, unavailable
from smsd.web.route import BODY, Answer, Route

PLACES = ("after", "until")


class RetryCall:
    """The handler."""

    def __init__(self, campaigns: Campaigns, dead_letters: DeadLetters) -> None:
        self._campaigns = campaigns
        self._dead_letters = dead_letters

    def routes(self) -> Sequence[Route]:
        """The row of this call."""
        description = "How many; where `more`, ask again with `after` and `until` as they are here."
        return (
            Route(
                "POST",
                f"{PATH}/retry-failed",
                self.retry,
                "Send dead letters of a campaign again, each once.",
                {200: Answer(description, models.Retried)},
                body=models.RetryRequest,
                refusals=(404, 409),
                operation_id="retry_campaign",
            ),
        )

    async def retry(self, request: web.BaseRequest) -> web.Response:
        """Put what is dead back into the queue."""
        fields = read_object(request[BODY])
        after, until = read_places({name: fields.pop(name, "") for name in PLACES})
        asked = read_verb(fields, in_doubt=True)
        campaign = await find_campaign(self._campaigns, request)
        _check(campaign, asked, begins=not until)
        choice = Choice(id_begins=f"{campaign.id}_")
        try:
            swept = await self._dead_letters.replay(Order(choice, after, until, asked.in_doubt))
        except Away as error:
            message = (
                "Redis went away; some may be replayed already, and asking again does the rest"
            )
            raise unavailable("redis_away", message) from error
        return json_response(_answer(swept))


def _check(campaign: Campaign, asked: Verb, *, begins: bool) -> None:
    """Refuse what must not be begun. Raises `ApiError` 409."""
    if campaign.state is CampaignState.CANCELLED:
        raise ApiError(409, "wrong_state", "the campaign is cancelled")
    concerned = _concerned(campaign.dead, in_doubt=asked.in_doubt)
    if begins and asked.expect not in (None, concerned):
        raise count_changed(concerned)


def _concerned(dead: Mapping[str, int], *, in_doubt: bool) -> int:
    left_alone = 0 if in_doubt else dead.get(DeadReason.IN_DOUBT, 0)
    return sum(dead.values()) - left_alone


def _answer(swept: Swept) -> dict[str, object]:
    answer: dict[str, object] = {
        "status": "replayed",
        "replayed": swept.done,
        "skipped": swept.skipped,
        "more": swept.more,
    }
    if swept.more:
        answer |= {"after": swept.after, "until": swept.until}
    return answer
