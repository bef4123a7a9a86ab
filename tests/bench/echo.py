"""The reference for intake: a bare aiohttp server that parses JSON and sends it back."""

import sys

import orjson
from aiohttp import web


async def send(request: web.Request) -> web.Response:
    content = orjson.loads(await request.read())
    return web.Response(body=orjson.dumps(content), content_type="application/json")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/send", send)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
