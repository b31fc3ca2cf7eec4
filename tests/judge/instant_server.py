"""An endpoint that answers at once, in a process of its own: for measuring what our side costs. Prints its port."""

from __future__ import annotations

import asyncio
import json
import sys

ANSWER = json.dumps({
    "score": 0.4, "summary": "Requests were made.", "checks": ["ask_actor", "change_ticket", "usual_routine"], "action": "watch", "abstain": None,
    "grounds": [{"claim": {"kind": "count", "predicate": "request", "then": None, "n": 1, "scope": None}, "event_ids": ["e1"]}],
})
BODY = json.dumps({
    "id": "c", "object": "chat.completion", "created": 1, "model": "instant",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
    "usage": {"prompt_tokens": 1200, "completion_tokens": 90, "total_tokens": 1290},
}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + str(len(BODY)).encode() + b"\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(length)
            writer.write(HEAD + BODY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The parent's end of the pipe closes with it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
