"""Which requests reach Dagster, and which are answered before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from openhcs_dagster.environment import ui_hosts_of
from openhcs_dagster.settings import Settings
from openhcs_dagster.ui.hosts import LOOPBACK
from openhcs_dagster.ui.request_guard import RequestGuard

HARMLESS = "mutation { setNuxSeen }"
"""Dagster's mutation that hides a greeting."""
Headers = Iterable[tuple[str, str]]


class Behind:
    """What stands behind the guard, and what came through."""

    def __init__(self) -> None:
        self.reached = False
        self.messages: list[Mapping[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached = True
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] != "websocket.disconnect":
                self.messages.append(message)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def ask(
    method: str = "GET", path: str = "/", query: str = "", headers: Headers = (), host: str | None = "localhost:3000",
    hosts: Iterable[str] = LOOPBACK,
) -> tuple[int, str]:  # fmt: skip
    """Status and text of the answer; the application behind is reached exactly with 200."""
    behind, sent = Behind(), list[dict[str, Any]]()
    named = [*([("Host", host)] if host is not None else []), *headers]
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named],
    }  # fmt: skip

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    asyncio.run(RequestGuard(behind, frozenset(hosts))(scope, receive, send))
    assert behind.reached == (sent[0]["status"] == 200)
    return sent[0]["status"], sent[1]["body"].decode()


def talk(*messages: Mapping[str, Any], headers: Headers = ()) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]]]:
    """What a websocket's client is sent, and what the application behind receives."""
    behind, sent = Behind(), list[dict[str, Any]]()
    incoming = iter([*messages, {"type": "websocket.disconnect", "code": 1000}])
    named = headers or [("Host", "localhost:3000")]
    scope = {
        "type": "websocket", "path": "/graphql", "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in named],
    }  # fmt: skip

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> Mapping[str, Any]:
        return next(incoming)

    asyncio.run(RequestGuard(behind, LOOPBACK)(scope, receive, send))
    return sent, behind.messages


def start(query: object) -> dict[str, Any]:
    content = {"id": "1", "type": "start", "payload": {"query": query}}
    return {"type": "websocket.receive", "text": json.dumps(content)}


@pytest.mark.parametrize("port", ["", ":1", ":3000", ":65535"])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
def test_this_host_is_answered_by_its_names_with_any_port(name: str, port: str) -> None:
    """As Host, and as Origin of the page that asks; the Origin may be absent."""
    assert ask(host=name + port)[0] == 200
    assert ask(headers=[("Origin", f"http://{name}{port}")])[0] == 200
    assert ask(headers=[("Origin", f"https://{name}{port}")])[0] == 200


FOREIGN = [
    "other.example", "other.example:3000", "localhost.other.example", "other.localhost", "127.0.0.1.other.example",
    "127.0.0.2", "[::2]", "localhost@other.example", "localhost:3000@other.example", "localhost/", "localhost:x", "",
    "localhost other.example", "localhost,other.example", "localhost:", "localhost:123456", "::1", "*",
]  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_every_other_name_is_refused_with_the_remedy(name: str) -> None:
    """As Host and as Origin, the sentence names what came and how to allow a name."""
    for status, sentence in (ask(host=name), ask(headers=[("Origin", f"http://{name}")])):
        assert status == 403
        assert "answers to" in sentence and name in sentence and "OPENHCS_UI_HOSTS=plates.lab.example" in sentence


def test_a_host_or_origin_that_is_absent_repeated_or_no_site_s() -> None:
    """One Host is needed; an Origin of a sandboxed page, of a file, or a second one is nobody's."""
    assert ask(host=None)[0] == 403
    assert ask(headers=[("Host", "localhost")])[0] == 403
    for origin in ("null", "file://localhost", "localhost", "ftp://localhost", "http://"):
        assert ask(headers=[("Origin", origin)])[0] == 403
    assert ask(headers=[("Origin", "http://localhost"), ("Origin", "http://localhost")])[0] == 403


def test_names_of_the_variable_are_answered_too() -> None:
    """In any case, with any port, as Host and Origin; the host's own names stay."""
    names, wrong = ui_hosts_of({"OPENHCS_UI_HOSTS": " Plates.Lab.example, 10.0.0.5 ,[fd00::1]"})
    hosts = LOOPBACK.union(names)

    assert wrong is None
    for name in ("plates.lab.example:8080", "10.0.0.5", "[fd00::1]:3000", "localhost"):
        assert ask(host=name, headers=[("Origin", f"https://{name}")], hosts=hosts)[0] == 200
    assert ask(host="other.lab.example", hosts=hosts)[0] == 403
    assert ui_hosts_of({}) == ui_hosts_of({"OPENHCS_UI_HOSTS": " , "}) == ((), None)


@pytest.mark.parametrize("name", ["http://plates.lab.example", "plates.lab.example:3000", "*", "*.lab", "a b", "a/b"])
def test_a_wrong_variable_is_a_warning_with_an_example_and_allows_nothing(name: str) -> None:
    """What is no name alone is named, with how it is written right; the UI starts, and answers to this host alone."""
    hosts, wrong = ui_hosts_of({"OPENHCS_UI_HOSTS": f"good.example,{name}"})

    assert hosts == () and wrong is not None
    assert f"has {name!r}, which is no name of a host" in wrong and "OPENHCS_UI_HOSTS=plates.lab.example," in wrong
    assert Settings.of({"OPENHCS_UI_HOSTS": name}).warnings == (ui_hosts_of({"OPENHCS_UI_HOSTS": name})[1],)


def graphql(*queries: str, **more: str) -> str:
    return urlencode([*(("query", query) for query in queries), *more.items()])


@pytest.mark.parametrize(
    "query",
    [
        graphql(HARMLESS),
        graphql(f"query A {{ version }} {HARMLESS}", operationName="A"),
        graphql("{ version }", HARMLESS),
        graphql(HARMLESS, "{ version }"),
        graphql("subscription { locationStateChangeEvents { event { message } } }"),
    ],
)
@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_mutation_in_the_address_is_refused(query: str, path: str, method: str) -> None:
    """Wherever it stands among the operations and the queries, whichever would be run; by every method but POST."""
    status, sentence = ask(method, path, query)

    assert status == 405
    assert "by POST as application/json" in sentence


def test_queries_and_the_page_of_graphiql_may_be_asked_for_by_their_address() -> None:
    """Reading changes nothing; what cannot be read as GraphQL is not handed on."""
    assert ask(path="/graphql", query=graphql("query A { version } query B { version }"))[0] == 200
    assert ask(path="/graphql")[0] == 200
    assert ask(path="/graphql", query=graphql("mutation {"))[0] == 400
    assert ask(path="/graphql", query=graphql("{" * 20_000))[0] == 400
    assert ask(path="/runs", query=graphql(HARMLESS))[0] == 200


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_by_post_is_handed_on(kind: str) -> None:
    """With or without its parameters."""
    assert ask("POST", "/graphql", headers=[("Content-Type", kind)])[0] == 200


@pytest.mark.parametrize(
    "kinds",
    [
        [], [""], ["text/plain"], ["text/plain; application/json"], ["application/graphql"], ["application/jsonp"],
        ["multipart/form-data; boundary=x"], ["application/x-www-form-urlencoded"],
        ["application/json", "text/plain"], ["text/plain", "application/json"],
    ],
)  # fmt: skip
def test_every_other_type_by_post_is_refused(kinds: list[str]) -> None:
    """What a form of another site can send, and what only looks like JSON; also with a query in the address."""
    status, sentence = ask("POST", "/graphql", graphql(HARMLESS), [("Content-Type", kind) for kind in kinds])

    assert (status, sentence) == (415, "Send GraphQL by POST as application/json.\n")


def test_other_addresses_are_held_to_the_names_alone() -> None:
    """A report of a materialization by a program of this host is Dagster's to judge; one from another site is not."""
    address = "/report_asset_materialization/P001/processed_wells"

    assert ask("POST", address)[0] == 200
    assert ask("POST", address, headers=[("Origin", "http://other.example")])[0] == 403


@pytest.mark.parametrize(
    "headers",
    [[("Host", "other.example")], [("Host", "localhost"), ("Origin", "http://other.example")], [("Origin", "null")]],
)
def test_the_handshake_of_a_websocket_is_held_to_the_same_names(headers: Headers) -> None:
    """Browsers let a page open websockets to any site: only Host and Origin tell."""
    sent, received = talk(start("subscription { x }"), headers=headers)

    assert [message["type"] for message in sent] == ["websocket.close"]
    assert received == []
    assert talk(headers=[("Host", "[::1]:1"), ("Origin", "http://localhost")])[0] == [{"type": "websocket.accept"}]


def test_a_websocket_runs_subscriptions_only() -> None:
    """They and the protocol's own messages are handed on as they are."""
    opening = {"type": "websocket.receive", "text": json.dumps({"type": "connection_init", "payload": {}})}
    stop = {"type": "websocket.receive", "text": json.dumps({"type": "stop", "id": "1"})}
    log = start('subscription Log { pipelineRunLogs(runId: "x") { __typename } }')

    sent, received = talk(opening, log, stop)

    assert sent == [{"type": "websocket.accept"}]
    assert received == [opening, log, stop]


@pytest.mark.parametrize(
    "message",
    [
        start(HARMLESS),
        start("{ version }"),
        start(f"subscription {{ x }} {HARMLESS}"),
        start("no graphql"),
        start(None),
        {"type": "websocket.receive", "bytes": start(HARMLESS)["text"].encode()},
        {"type": "websocket.receive", "text": "no json"},
        {"type": "websocket.receive", "text": "[]"},
        {"type": "websocket.receive", "text": '{"type": "start"}'},
    ],
)
def test_a_websocket_that_asks_for_anything_else_is_closed(message: Mapping[str, Any]) -> None:
    """Dagster never sees the message, nor any after it."""
    sent, received = talk(message, start("subscription { x }"))

    assert [each["type"] for each in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1008
    assert received == []


def test_the_server_s_own_beginning_and_end_pass() -> None:
    """They have neither Host nor Origin."""
    behind = Behind()
    asyncio.run(RequestGuard(behind, LOOPBACK)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert behind.reached
