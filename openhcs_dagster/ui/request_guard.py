"""Which requests the served UI answers: those of this host, and none that a page of another site made a browser send.

Dagster's UI asks nobody for a password. Two things keep pages of other sites from using it through the browser of a
person who has it open. ``Host`` and ``Origin`` must name this host: a page that had its own name resolved to 127.0.0.1
sends that name. And what changes something must come as JSON by POST, which a page of another origin cannot send
unasked: Dagster itself would run a mutation that stands in the address of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from openhcs_dagster.ui.hosts import EXAMPLE, host_of, host_of_origin

_POLICY_VIOLATION: Final = 1008
"""*Source*: RFC 6455, section 7.4.1."""


class RequestGuard:
    """An ASGI application in front of Dagster's."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let Dagster answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal_of_names(Headers(scope=scope))
        if scope["type"] == "websocket":
            if refusal is not None:
                await WebSocketClose(_POLICY_VIOLATION, refusal)(scope, receive, send)
            else:
                await self.app(scope, _subscriptions_only(receive, send), send)
            return
        status = 403
        if refusal is None and _is_graphql(scope):
            status, refusal = _refusal_of_graphql(scope)
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse(refusal + "\n", status)(scope, receive, send)

    def _refusal_of_names(self, headers: Headers) -> str | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or host_of(hosts[0]) not in self.hosts:
            return self._sentence("Host", hosts)
        if origins and (len(origins) > 1 or host_of_origin(origins[0]) not in self.hosts):
            return self._sentence("Origin", origins)
        return None

    def _sentence(self, header: str, values: list[str]) -> str:
        return (
            f"This Dagster UI answers to {', '.join(sorted(self.hosts))} alone, and the request's {header} is "
            f"{', '.join(map(repr, values)) or 'absent'}. If it is reached by another name, start it with that name in "
            f"the environment, as in {EXAMPLE}."
        )


def _is_graphql(scope: Scope) -> bool:
    return str(scope["path"]).rstrip("/").endswith("/graphql")


def _refusal_of_graphql(scope: Scope) -> tuple[int, str | None]:
    """Status and sentence for a request to GraphQL that must not run; no sentence if it may."""
    if scope["method"] == "POST":
        # Dagster takes any type that has these words somewhere, and runs the query of the address for all others.
        types = [value.partition(";")[0].strip().lower() for value in Headers(scope=scope).getlist("content-type")]
        return 415, None if types == ["application/json"] else "Send GraphQL by POST as application/json."
    try:
        queries = QueryParams(scope["query_string"]).getlist("query")
        operations = {operation for query in queries for operation in _operations(query)}
    except ValueError:
        return 400, "The GraphQL query in the address cannot be read."
    only_reads = operations <= {OperationType.QUERY}
    return 405, None if only_reads else "A GraphQL mutation is run by POST as application/json only."


def _operations(query: object) -> set[OperationType]:
    """The kinds of all operations in a GraphQL document, whichever of them would be run. ValueError if it is none."""
    try:
        document = parse(str(query))
    except (GraphQLError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return {node.operation for node in document.definitions if isinstance(node, OperationDefinitionNode)}


def _subscriptions_only(receive: Receive, send: Send) -> Receive:
    """Messages of a websocket, which is closed if one asks for anything but a subscription."""

    async def received() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not _subscribes(message):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "Only subscriptions run here."})
            return {"type": "websocket.disconnect", "code": _POLICY_VIOLATION}
        return message

    return received


def _subscribes(message: Message) -> bool:
    """True for a message that starts subscriptions, or nothing."""
    try:
        content = json.loads(message.get("text") or message.get("bytes") or b"")
        if content.get("type") != "start":
            return True
        return _operations(content["payload"]["query"]) <= {OperationType.SUBSCRIPTION}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


__all__ = ["RequestGuard"]
