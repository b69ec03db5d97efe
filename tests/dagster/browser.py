"""A headless Chromium, driven through its own debugging protocol (CDP)."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.client import ClientConnection, connect

START_S = 60.0


class Page:
    """The one tab of a browser."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self._socket = socket
        self._number = 0
        self.downloads = downloads
        """Folder in which downloads arrive."""
        self.events: list[dict[str, Any]] = []  # Any: the protocol's JSON
        """What the browser told, in order."""
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)

    def call(self, method: str, **parameters: object) -> Any:
        """Ask the browser for something; AssertionError with its complaint if it refuses."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, url: str) -> None:
        """Go to an address; a download begins instead where the address is one."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        """What a person reads on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def click(self, words: str) -> bool:
        """Press the button with these words; False if there is none."""
        return bool(
            self.evaluate(
                f"(() => {{ const found = [...document.querySelectorAll('button, a')].find("
                f"element => element.innerText.trim() === {json.dumps(words)} && !element.disabled);"
                "if (found) found.click(); return Boolean(found); })()"
            )
        )

    def told(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of one kind so far."""
        self.evaluate("0")  # lets what has come in be read
        return [event["params"] for event in self.events if event["method"] == method]


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page of a browser with an empty profile in a folder; skips where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this host")
    profile, downloads = folder / "profile", folder / "downloads"
    downloads.mkdir(parents=True)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    process = subprocess.Popen(
        [program, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with connect(_page_address(profile), max_size=None, compression=None, origin=None) as socket:
            yield Page(socket, downloads)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _page_address(profile: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
            pages = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=5).json()
            return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        except (OSError, IndexError, StopIteration, requests.RequestException):
            time.sleep(0.2)
    pytest.fail(f"Chromium did not start within {START_S:g} s")
