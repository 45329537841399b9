"""`simattn serve` under load: many clients, a third of whom leave half-way, beside others who send what is no request.

    python interop/serving/load.py BINARY MODEL [SECONDS] [CLIENTS]

Nothing valid may be lost: every answer must be the one that its seed gives alone. The memory may not grow by more than 5 % once
the first quarter is over, every error must be OpenAI's JSON, and SIGTERM must end the server with 0. Needs a binary with the
feature `serve`, nothing else. Exits with 1 where something is wrong.
"""

import asyncio
import json
import pathlib
import random
import sys
import time

from server import KEY, serve

SEEDS = 12
HEAD = "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + KEY + "\r\nContent-Type: application/json\r\n"


class Client:
    """One connection."""

    def __init__(self, address):
        self.host, port = address.removeprefix("http://").rsplit(":", 1)
        self.port = int(port)

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def ask(self, path, body, length=None):
        self.writer.write((HEAD.format(path) + f"Content-Length: {length or len(body)}\r\n\r\n").encode() + body)
        await self.writer.drain()

    async def head(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if line)}

    async def chunks(self, headers):
        if "content-length" in headers:
            yield await self.reader.readexactly(int(headers["content-length"]))
            return
        while length := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(length)
            await self.reader.readline()
        await self.reader.readline()

    async def whole(self):
        status, headers = await self.head()
        return status, headers, b"".join([chunk async for chunk in self.chunks(headers)])


def asked(seed, stream):
    prompts = ["Once upon a time", "The " * 90, "A list of words: " * 20]
    return json.dumps({"prompt": prompts[seed % 3], "max_tokens": 12 + 3 * seed, "seed": seed, "stream": stream, "ignore_eos": True,
                       "logprobs": seed % 3}).encode()


def of_stream(body):
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    return "".join(choice["text"] for event in events for choice in event["choices"])


async def answer(client, seed, stream):
    """The text, after as many tries as a full queue needs."""
    while True:
        await client.ask("/v1/completions", asked(seed, stream))
        status, headers, body = await client.whole()
        if status == 429:
            assert json.loads(body)["error"]["code"] == "queue_full" and "retry-after" in headers
            await asyncio.sleep(0.2)
            continue
        assert status == 200, (status, body)
        return of_stream(body) if stream else json.loads(body)["choices"][0]["text"]


async def leave(address, seed):
    async with Client(address) as client:
        await client.ask("/v1/completions", asked(seed, True))
        status, headers = await client.head()
        if status == 200:
            chunks = client.chunks(headers)
            for _ in range(random.randrange(4)):
                await anext(chunks, None)


async def misbehave(address):
    async with Client(address) as client:
        kind = random.randrange(6)
        if kind == 0:
            client.writer.write(bytes(random.randrange(256) for _ in range(300)))
            await client.writer.drain()
            return
        if kind == 1:
            await client.ask("/v1/completions", b"{", 1000)
            return
        bodies = {2: b'{"prompt": "\xff\xfe"}', 3: b"[" * 5000, 4: b'{"prompt": "x", "max_tokens": 1e999}',
                  5: b'{"prompt": "x", "best_of": 3}'}
        await client.ask("/v1/completions", bodies[kind])
        status, _, body = await client.whole()
        assert status == 400 and set(json.loads(body)["error"]) == {"message", "type", "param", "code"}, (status, body)


async def one_client(address, expected, until, counts):
    while time.monotonic() < until:
        seed, kind = random.randrange(SEEDS), random.randrange(6)
        if kind < 2:
            await leave(address, seed)
            counts["left"] += 1
        elif kind == 2:
            await misbehave(address)
            counts["misbehaved"] += 1
        else:
            async with Client(address) as client:
                assert await answer(client, seed, kind % 2 == 0) == expected[seed], f"seed {seed}"
            counts["answered"] += 1


def memory(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def load(process, address, seconds, clients):
    async with Client(address) as client:
        expected = [await answer(client, seed, False) for seed in range(SEEDS)]
    counts = dict(answered=0, left=0, misbehaved=0)
    until = time.monotonic() + seconds
    work = asyncio.gather(*(one_client(address, expected, until, counts) for _ in range(clients)))
    await asyncio.sleep(seconds / 4)
    warm = memory(process)
    await work
    grown = memory(process) / warm - 1
    async with Client(address) as client:
        client.writer.write(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        _, _, body = await client.whole()
    metrics = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    rows = float(metrics["simattn_step_rows_total"]) / float(metrics["simattn_steps_total"])
    hits, failed = metrics["simattn_prefix_hits_total"], metrics["simattn_answers_failed_total"]
    print(f"{counts}; memory {grown:+.1%}; {rows:.1f} rows a step, {hits} prefixes found, {failed} answers failed")
    assert grown < 0.05 and failed == "0"


def main(binary, model, seconds="120", clients="64"):
    process, address = serve(binary, model, "--rows", "16", "--queue", "32")
    try:
        asyncio.run(load(process, address, float(seconds), int(clients)))
    finally:
        process.terminate()
        code = process.wait(timeout=60)
    assert code == 0, f"the server ended with {code}"


if __name__ == "__main__":
    main(*sys.argv[1:])
