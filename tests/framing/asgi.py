"""An upstream on uvicorn with h11: answers every request and writes down what it saw.

    LOG=FILE python -m uvicorn --app-dir tests/framing --http h11 --port PORT asgi:app
"""

from __future__ import annotations

import json
import os
from pathlib import Path

ANSWER = (Path(__file__).parent / "answer.json").read_bytes()
LOG = open(os.environ["LOG"], "ab", buffering=0)


async def app(scope: dict, receive, send) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    target = scope["raw_path"].decode("latin-1")
    LOG.write(json.dumps({"method": scope["method"], "target": target, "body": body.decode("latin-1")}).encode() + b"\n")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})
