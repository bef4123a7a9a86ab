"""The route table and its contract, as they are without a daemon: the handlers have no parts."""

from collections.abc import Sequence
from typing import Any

from smsd.web import routes
from smsd.web.audience_contacts import ContactCalls
from smsd.web.audience_import import AudienceImport
from smsd.web.audiences import AudienceCalls
from smsd.web.campaign_recipients import RecipientCalls
from smsd.web.campaign_retry import RetryCall
from smsd.web.campaign_start import CampaignStart
from smsd.web.campaigns import CampaignCalls
from smsd.web.contract import document
from smsd.web.dead_letters import DeadLetterCalls
from smsd.web.hold import HoldCalls
from smsd.web.messages import Messages
from smsd.web.operations import Operations
from smsd.web.route import Route
from smsd.web.send import Send

FEATURES: tuple[type[routes.Feature], ...] = (
    Send,
    Messages,
    AudienceImport,
    AudienceCalls,
    ContactCalls,
    CampaignStart,
    CampaignCalls,
    RetryCall,
    RecipientCalls,
    DeadLetterCalls,
    HoldCalls,
    Operations,
)


def table() -> Sequence[Route]:
    """Every call there is."""
    return routes.join([kind.__new__(kind) for kind in FEATURES])


def contract() -> dict[str, Any]:
    """What the daemon serves as `/openapi.json`."""
    return document(table())
