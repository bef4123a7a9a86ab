"""Whether a 503 reports that the request was forwarded. Rule: then it may have been taken.

A 503 alone means that nobody took the request: nginx, HAProxy and most gateways answer so. Envoy,
and so Istio, also answers it when the upstream connection ended after the request was forwarded.
It reports that in the body (`upstream connect error or disconnect/reset before headers. reset
reason: …`) and, if configured, in headers made of `%RESPONSE_CODE_DETAILS%` or `%RESPONSE_FLAGS%`.
Other proxies report it in `Proxy-Status` (RFC 9209).
"""

import re

from smsd.provider.wire.answer import Answer

# Envoy's reset reasons (`Utility::resetReasonToString`) that come before a request is forwarded; a
# refused stream was not processed (RFC 9113 §8.7). All others may have come after it.
_BEFORE = frozenset(
    {
        "connection failure",
        "local connection failure",
        "remote connection failure",
        "connection timeout",
        "overflow",
        "local refused stream reset",
        "remote refused stream reset",
    }
)
_AFTER = frozenset(
    {
        "connection termination",
        "local reset",
        "remote reset",
        "remote reset (no error)",
        "protocol error",
        "overload manager reset",
        "http/1 premature upstream half close",
    }
)
# Envoy before 1.11 gives no reason.
_BODY = re.compile(
    r"upstream connect error or disconnect/reset before headers"
    r"(?:\.? *(?:retried and the latest )?reset reason: *([a-z0-9/ ()]*))?",
    re.IGNORECASE,
)
_DETAILS = re.compile(r"upstream_reset_before_response_started\{([a-z0-9_/ ()]*)", re.IGNORECASE)
# Envoy's response flags: upstream connection termination, remote and local reset, protocol error,
# time-outs of the request, of the stream and of its whole duration.
_FLAGS_AFTER = frozenset({"UC", "UR", "LR", "UPE", "UT", "SI", "UMSDR"})
# RFC 9209 §2.3: errors that come before the next hop has the request.
_PROXY_ERROR = re.compile(r";\s*error=\"?([a-z_]+)")
_PROXY_BEFORE = frozenset(
    {
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_denied",
        "proxy_configuration_error",
        "proxy_loop_detected",
    }
)
_UNKNOWN = "reset"  # the reported reason is not kept, since it may repeat the request


def cause(answer: Answer) -> str:
    """Why the upstream connection ended after the request was forwarded; "" if it was not."""
    if found := _BODY.search(answer.text()):
        return _reset(found[1] or "")
    for name, value in answer.headers.items():
        if found := _DETAILS.search(value):
            return _reset(found[1].replace("_", " "))
        if name.lower().endswith("response-flags") and _FLAGS_AFTER & set(value.split(",")):
            return _UNKNOWN
        if name.lower() == "proxy-status" and _was_forwarded(value):
            return _UNKNOWN
    return ""


def _reset(reason: str) -> str:
    reason = reason.strip().lower()
    if reason in _BEFORE:
        return ""
    return reason if reason in _AFTER else _UNKNOWN


def _was_forwarded(proxy_status: str) -> bool:
    return any(error not in _PROXY_BEFORE for error in _PROXY_ERROR.findall(proxy_status))
