"""The promise on a model of your own: each request alone, and beside others, streamed, found again, set aside, on 1, 2, 3 threads.

    python interop/serving/promise.py BINARY MODEL [REQUESTS] [TOKENS]

Every request draws at temperature 1 and wants log-probabilities. Text and log-probabilities must be the same byte for byte; the
server must have had at least four rows a step on average, found beginnings again and set answers aside. Needs a binary with the
feature `serve`, nothing else. Exits with 1 where something differs.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys

from load import Client
from server import KEY

WORDS = "the a of to and in that it was he for on are with as his they at be this from have or one had by word but not what".split()


def requests(count, tokens):
    dice = random.Random(7)
    text = [" ".join(dice.choice(WORDS) for _ in range(120)) for _ in range(3)]
    for number in range(count):
        # A common beginning of a few blocks, and a word of its own.
        prompt = text[number % 3].split()[:dice.randrange(20, 120)] + [dice.choice(WORDS)] if number % 4 else [dice.choice(WORDS)]
        yield {"prompt": " ".join(prompt), "max_tokens": dice.randrange(tokens // 2, tokens + 1), "seed": number, "logprobs": 2,
               "temperature": 1}


def serve(binary, model, threads, *options):
    environment = os.environ | {"SIMATTN_API_KEY": KEY, "RAYON_NUM_THREADS": str(threads)}
    process = subprocess.Popen([binary, "serve", model, "--port", "0", "--queue", "1000", *options], stderr=subprocess.PIPE,
                               text=True, env=environment)
    for line in process.stderr:
        if found := re.match(r"serve: listening at (http://\S+)", line):
            return process, found[1]
    raise SystemExit("the server did not start")


async def answer(address, body, stream):
    """The text and the log-probabilities of one request, as JSON."""
    async with Client(address) as client:
        await client.ask("/v1/completions", json.dumps(body | {"stream": stream}).encode())
        status, _, answer = await client.whole()
        assert status == 200, answer
    if not stream:
        choice = json.loads(answer)["choices"][0]
        return json.dumps([choice["text"], choice["logprobs"]["token_logprobs"], choice["logprobs"]["top_logprobs"]])
    whole = ["", [], []]
    for line in answer.decode().splitlines():
        if line.startswith("data: {"):
            choice = json.loads(line[6:])["choices"][0]
            whole[0] += choice["text"]
            for place, field in [(1, "token_logprobs"), (2, "top_logprobs")]:
                whole[place] += choice["logprobs"][field] if choice["logprobs"] else []
    return json.dumps(whole)


async def leave(address, body, after):
    async with Client(address) as client:
        await client.ask("/v1/completions", json.dumps(body | {"stream": True}).encode())
        _, headers = await client.head()
        chunks = client.chunks(headers)
        for _ in range(after):
            await anext(chunks, None)


async def metrics(address):
    async with Client(address) as client:
        client.writer.write(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        _, _, body = await client.whole()
    return {key[len("simattn_"):]: float(value) for key, value in
            (line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))}


async def alone(address, bodies):
    return [await answer(address, body, False) for body in bodies]


async def together(address, bodies, seed):
    dice = random.Random(seed)
    order = list(range(len(bodies)))
    dice.shuffle(order)
    found = {}

    async def one(index):
        found[index] = await answer(address, bodies[index], dice.random() < 0.5)

    work = [one(index) for index in order]
    work += [leave(address, dice.choice(bodies), dice.randrange(4)) for _ in range(len(bodies) // 5)]
    dice.shuffle(work)
    await asyncio.gather(*work)
    return [found[index] for index in range(len(bodies))], await metrics(address)


def main(binary, model, count="200", tokens="16"):
    bodies = list(requests(int(count), int(tokens)))
    process, address = serve(binary, model, 1, "--rows", "1", "--store", "0B")
    expected = asyncio.run(alone(address, bodies))
    process.terminate()
    wrong = 0
    for threads in [1, 2, 3]:
        # So little memory that some of them have to wait in the middle.
        process, address = serve(binary, model, threads, "--rows", "12", "--memory", os.environ.get("MEMORY", "48MiB"))
        try:
            found, counted = asyncio.run(together(address, bodies, threads))
        finally:
            process.terminate()
            process.wait(timeout=60)
        different = sum(a != b for a, b in zip(expected, found, strict=True))
        rows = counted["step_rows_total"] / counted["steps_total"]
        hits, aside, gone = (int(counted[f"{name}_total"]) for name in ["prefix_hits", "preemptions", "answers_cancelled"])
        print(f"{threads} threads: {different} of {count} answers differ; {rows:.1f} rows a step, {hits} beginnings found again, "
              f"{aside} answers set aside, {gone} clients left", flush=True)
        wrong += different > 0 or rows < 4 or hits == 0 or aside == 0
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
