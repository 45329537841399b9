"""The page of `simattn serve` in headless Chromium: give the key, type, see text come, stop it.

    python interop/serving/page.py BINARY MODEL [CHROMIUM]

Needs the package websockets, a Chromium, and a binary with the feature `serve`. Exits with 1 where the page does not do that.
"""

import asyncio
import itertools
import json
import re
import subprocess
import sys
import tempfile

import websockets

from server import KEY, serve
from promise import metrics


class Page:
    """A page, by Chromium's own protocol."""

    def __init__(self, socket):
        self.socket, self.numbers, self.session = socket, itertools.count(1), None

    async def call(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        await self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(await self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def open(self, url):
        target = (await self.call("Target.createTarget", url=url))["targetId"]
        self.session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]

    async def value(self, expression):
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression):
        for _ in range(600):
            if found := await self.value(expression):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"never: {expression}; the page says {await self.value('document.body.innerText')!r}")

    async def type(self, element, text):
        await self.value(f"document.getElementById({element!r}).focus()")
        await self.value(f"document.getElementById({element!r}).select()")
        await self.call("Input.insertText", text=text)

    async def click(self, element):
        await self.value(f"document.getElementById({element!r}).click()")


async def try_page(address, browser):
    async with websockets.connect(browser, max_size=None) as socket:
        page = Page(socket)
        await page.open(f"{address}/")
        await page.until("document.getElementById('ask')?.hidden === false")
        await page.type("key", KEY)
        await page.value("document.getElementById('key').dispatchEvent(new Event('change'))")
        await page.until("document.getElementById('model').textContent == 'm'")
        text = "document.querySelector('#out span:last-child')?.textContent.length"
        await page.type("text", "Once upon a time there was <b>a fox</b>")
        await page.type("tokens", "6")
        await page.click("send")
        await page.until("document.getElementById('said').textContent.includes('a second')")
        assert await page.value(text) > 0 and await page.value("document.querySelector('#out b') === null")
        # A long answer comes in pieces, and stops when it is told.
        await page.value("document.getElementById('chat').click()")
        await page.type("tokens", "600")
        await page.click("send")
        seen = await page.until(f"document.getElementById('stop').disabled == false && {text}")
        await page.until(f"{text} > {seen}")
        await page.click("stop")
        await page.until("document.getElementById('said').textContent == 'stopped'")
        for _ in range(100):
            counted = await metrics(address)
            if counted["answers_cancelled_total"] == 1 and counted["answers_running"] == 0:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"the server still works: {counted}")


def main(binary, model, chromium="chromium"):
    process, address = serve(binary, model)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={place}"]
        browser = subprocess.Popen([chromium, *options, "about:blank"], stderr=subprocess.PIPE, text=True)
        try:
            found = next(filter(None, (re.search(r"ws://\S+", line) for line in browser.stderr)))
            asyncio.run(try_page(address, found[0]))
        finally:
            browser.terminate()
            browser.wait()
            process.terminate()
            process.wait(timeout=60)
    print("the page takes the key, shows text as it comes, and stops it")


if __name__ == "__main__":
    main(*sys.argv[1:])
