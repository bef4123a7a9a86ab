"""What an HTTP status means on its own. Rule: only a clear refusal counts as not taken.

It is the last resort: the provider's own code, or a configured rule, decides first.
"""

from smsd.core.outcome import Halted, InDoubt, Outcome, Rejected, Throttled, Unavailable
from smsd.provider.wire import forwarded
from smsd.provider.wire.answer import Answer

# RFC 9110 §15.4: the request itself is to go elsewhere. The other redirects may be the answer to a
# request that was acted on.
_MOVED = (301, 307, 308)
_ACCOUNT_FAULTS = (401, 402, 403)
_REQUEST_TIMEOUT = 408  # a proxy may have forwarded the request
_TOO_MANY = 429
_DOWN = 503
_CLIENT_FAULTS = range(400, 500)


def outcome_of_status(answer: Answer, code: str, reason: str) -> Outcome:
    """The outcome of an answer that nothing but its status explains."""
    status = answer.status
    if status in _MOVED:
        # Every message gets this answer until a person corrects the URL.
        return Halted(code, f"{reason}: a redirect, and none is followed; correct the URL")
    if status in _ACCOUNT_FAULTS:
        return Halted(code, reason, known=False)
    if status == _TOO_MANY:
        return Throttled(answer.retry_after(), reason)
    if status == _DOWN:
        return _outcome_when_down(answer, reason)
    if status in _CLIENT_FAULTS and status != _REQUEST_TIMEOUT:
        return Rejected(code, reason, known=False)
    return InDoubt(reason)


def _outcome_when_down(answer: Answer, reason: str) -> Outcome:
    if cause := forwarded.cause(answer):
        return InDoubt(f"{reason}: forwarded, then {cause}")
    if "Retry-After" in answer.headers:
        return Throttled(answer.retry_after(), reason)
    return Unavailable(reason)
