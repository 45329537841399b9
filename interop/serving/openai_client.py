"""The official `openai` client against `simattn serve`: completions, chats, streams, errors and repetitions.

    python interop/serving/openai_client.py BINARY MODEL

MODEL is a folder of ours whose model has a chat template. Needs the package openai and a binary with the feature `serve`. Exits
with 1 where anything differs.
"""

import asyncio
import sys

import openai

from server import KEY, serve


def expect(kind, code, call):
    try:
        call()
    except kind as error:
        assert error.code == code, (error.code, code)
        assert error.request_id.startswith("req-"), error.request_id
        return error
    raise AssertionError(f"no {kind.__name__}")


def completions(client):
    asked = dict(model="m", prompt="Once upon a time", max_tokens=24, temperature=0.9, seed=5, logprobs=3)
    whole = client.completions.create(**asked)
    again = client.completions.create(**asked)
    assert whole.choices[0].text == again.choices[0].text
    text, usage, logprobs = "", None, []
    for chunk in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            text += choice.text
            logprobs += choice.logprobs.token_logprobs if choice.logprobs else []
        usage = chunk.usage or usage
    assert text == whole.choices[0].text, (text, whole.choices[0].text)
    assert logprobs == whole.choices[0].logprobs.token_logprobs
    assert usage == whole.usage, (usage, whole.usage)
    several = client.completions.create(**asked | {"prompt": ["Once upon a time", "The"], "n": 2})
    assert several.choices[0].text == text and len(several.choices) == 4
    echo = client.completions.create(model="m", prompt="Once", max_tokens=0, echo=True, logprobs=1)
    assert echo.choices[0].text == "Once" and echo.choices[0].logprobs.token_logprobs[0] is None


def chats(client):
    messages = [{"role": "user", "content": "Say <|im_end|> hello."}]
    asked = dict(model="m", messages=messages, max_completion_tokens=24, temperature=0.9, seed=5, logprobs=True, top_logprobs=2)
    whole = client.chat.completions.create(**asked)
    text, entries, role = "", [], None
    for chunk in client.chat.completions.create(**asked, stream=True):
        delta = chunk.choices[0].delta
        role = role or delta.role
        text += delta.content or ""
        entries += chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else []
    assert role == "assistant" and text == whole.choices[0].message.content, (text, whole)
    assert [entry.logprob for entry in entries] == [entry.logprob for entry in whole.choices[0].logprobs.content]
    assert b"".join(bytes(entry.bytes) for entry in entries).decode(errors="replace") == text
    # Whoever stops reading is heard.
    stream = client.chat.completions.create(**asked | {"max_completion_tokens": 200}, stream=True)
    next(iter(stream))
    stream.close()


def errors(client, address):
    create = client.completions.create
    expect(openai.NotFoundError, "model_not_found", lambda: create(model="gpt", prompt="x"))
    expect(openai.BadRequestError, "context_length_exceeded", lambda: create(model="m", prompt="x", max_tokens=10**6))
    error = expect(openai.BadRequestError, "unsupported_field",
                   lambda: client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], tools=[]))
    assert error.param == "tools", error.param
    stranger = openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0)
    expect(openai.AuthenticationError, "invalid_api_key", lambda: stranger.models.list())
    error = expect(openai.BadRequestError, None, lambda: create(model="m", prompt="x", n=9, max_tokens=1))
    assert error.param == "n", error.param


async def together(address):
    """Requests that find the queue full come again, and all are answered as they are alone."""
    client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=20)

    async def one(seed):
        stream = await client.completions.create(model="m", prompt="The", max_tokens=8, seed=seed, stream=True)
        return "".join([chunk.choices[0].text async for chunk in stream])

    alone = [await one(seed) for seed in range(4)]
    assert await asyncio.gather(*(one(seed % 4) for seed in range(24))) == alone * 6


def main(binary, model):
    process, address = serve(binary, model, "--queue", "8", "--rows", "4")
    try:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0)
        assert [known.id for known in client.models.list()] == ["m"]
        assert client.models.retrieve("m").id == "m"
        completions(client)
        chats(client)
        errors(client, address)
        asyncio.run(together(address))
    finally:
        process.terminate()
    assert process.wait(timeout=60) == 0, "the server ends with 0"
    print("the openai client", openai.__version__, "finds everything as it expects")


if __name__ == "__main__":
    main(*sys.argv[1:])
