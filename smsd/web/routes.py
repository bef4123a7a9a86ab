"""The HTTP application. Rule: which call goes where stands here, and nothing else does."""

from aiohttp import web

from smsd.web.dead_letters import DeadLetterCalls
from smsd.web.hold import HoldCalls
from smsd.web.messages import Messages
from smsd.web.operations import Operations
from smsd.web.send import Send


def build(
    send: Send,
    messages: Messages,
    dead_letters: DeadLetterCalls,
    hold: HoldCalls,
    operations: Operations,
    *,
    max_body: int,
) -> web.Application:
    """Everything that smsd answers by HTTP."""
    app = web.Application(client_max_size=max_body)
    app.router.add_post("/send", send.handle)
    app.router.add_get("/messages/{id}", messages.show)
    app.router.add_delete("/messages/{id}", messages.cancel)
    app.router.add_get("/dead-letters", dead_letters.show)
    app.router.add_post("/dead-letters/replay", dead_letters.replay)
    app.router.add_delete("/dead-letters", dead_letters.drop)
    app.router.add_post("/hold", hold.hold)
    app.router.add_post("/release", hold.release)
    app.router.add_get("/healthz", operations.healthz)
    app.router.add_get("/readyz", operations.readyz)
    app.router.add_get("/readyz/dispatch", operations.readyz_dispatch)
    app.router.add_get("/metrics", operations.metrics)
    app.router.add_get("/openapi.json", operations.openapi)
    return app
