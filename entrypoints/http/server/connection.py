"""One HTTP/1.1 connection: queues its requests, passes them on one by one, and rejects those it cannot pass on.

It rejects malformed requests, requests that do not become complete in time, and requests beyond the capacity. Only
complete requests are admitted, so that a slow client takes no capacity from others.
"""

import asyncio
from collections import deque
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from entrypoints.http.problems import KINDS
from entrypoints.http.server.admission import Rejected
from entrypoints.http.server.asgi import CLOSE, connection_scope
from entrypoints.http.server.connections import WaitQueue, move
from entrypoints.http.server.cycle import Cycle, encode_head
from entrypoints.http.server.exchange import Exchange
from entrypoints.http.server.heads import InvalidRequest
from entrypoints.http.server.layer import ExchangeLayer
from entrypoints.http.server.output import Output
from entrypoints.http.server.parser import RequestParser


class HttpConnection(asyncio.Protocol):
    """Made by uvicorn's server for each connection that it accepts."""

    _transport: asyncio.Transport
    _incoming: Cycle | None = None
    """The request whose body is arriving."""
    _is_read_paused = False
    queue: WaitQueue | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: ExchangeLayer = config.loaded_app
        self._limits = self._app.limits
        self._server, self._app_state = server_state, app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = RequestParser(self, self._limits)
        self._pipeline: deque[Cycle] = deque()
        """Requests in order of arrival. The first is in progress, or waits until it is complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a socket
        """Wait for the first request."""
        self._transport = transport
        self._server.connections.add(self)  # type: ignore[arg-type]  # whose `shutdown` alone is called
        self._scope = connection_scope(transport)
        self._connections = self._app.connections(self._scope["server"] and self._scope["server"][1])
        self.output = Output(transport, self.end_response, self._app.batch)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Release everything held for the connection."""
        self._server.connections.discard(self)
        self._connections.lost(self)
        for cycle in self._pipeline:
            cycle.disconnect()
        self._pipeline.clear()
        self._incoming = None  # refers back to this object
        self.output.close()
        self._parser.close()

    def data_received(self, data: bytes) -> None:
        """Parse received data."""
        try:
            self._parser.feed(data)
        except InvalidRequest as invalid:
            self._reject_input(invalid.code, str(invalid))
        self._wait()

    def eof_received(self) -> bool:
        """Respond to the complete requests of a client that sends no more, and then close."""
        self.output.flush()  # before the transport closes
        complete = [cycle for cycle in self._pipeline if cycle.is_complete]
        if complete:
            complete[-1].keep_alive = False
        for cycle in complete:
            cycle.end_input()
        return bool(complete)  # otherwise the transport closes

    def pause_writing(self) -> None:
        """Bound how long the client may take to read."""
        self.output.is_paused = True
        self._wait()

    def resume_writing(self) -> None:
        """Continue with the requests that have arrived. Because the client has read, it has its time again."""
        move(self, None)
        self.output.resume()
        if self._pipeline and not self._pipeline[0].is_started:
            self.resume_reading()
            self._advance()
        self._wait()

    def shutdown(self) -> None:
        """End streams, reject a request that is arriving, and close after those that have. Called at a stop."""
        self._app.admission.streams.end()
        if not self._pipeline:
            self.close()
            return
        if not self._pipeline[0].is_started and not self._pipeline[0].is_complete:
            self._reject_input("shutting_down")
        elif self._incoming and len(self._pipeline) > 1:
            self._pipeline.pop()
            self._incoming = None
        self._pipeline[-1].keep_alive = False

    def begin_request(self, parts: dict[str, Any], *, keep_alive: bool, expects_continue: bool) -> None:
        """Queue a request. Raises InvalidRequest if there are too many."""
        if len(self._pipeline) > self._limits.pipelined:
            raise InvalidRequest("Too many requests were sent ahead of their responses.")
        scope = {**self._scope, **parts, "state": self._app_state.copy()}
        self._incoming = Cycle(self, self._server, scope, keep_alive=keep_alive, expects_continue=expects_continue)
        self._pipeline.append(self._incoming)
        if expects_continue or len(self._pipeline) > 1:
            self._advance()

    def add_to_body(self, body: bytes) -> None:
        """Accept a body up to its limit; a larger one is left to the application to reject."""
        if cycle := self._incoming:
            cycle.add_to_body(body)
            if len(cycle.body) > self._limits.body_bytes:
                self._advance()

    def complete_request(self) -> None:
        """Pass the request on if it is the first in the queue."""
        if self._incoming:
            self._incoming.complete()
            self._incoming = None
            self._advance()

    def resume_reading(self) -> None:
        """Read on: the rest of a body, or the next request."""
        if self._is_read_paused and not self._transport.is_closing():
            self._is_read_paused = False
            self._transport.resume_reading()

    def end_response(self) -> None:
        """Continue with the next request, or close."""
        if self._transport.is_closing():
            return
        if not self._pipeline[0].keep_alive:
            self.close()
            return
        self._pipeline.popleft()
        self.resume_reading()
        self._advance()
        self._wait()

    def close(self) -> None:
        """Close when the client has read what was written, or after the time it has for that."""
        self.output.end()
        self._wait()

    def expire(self, queue: WaitQueue) -> None:
        """End the connection of a client that has taken too long."""
        if queue is self._connections.arriving and (self._pipeline or self._parser.is_in_head):
            self._reject_input("request_timeout")
        else:  # perhaps the rest of a body arrives whose request was answered early
            self.evict(queue)

    def evict(self, queue: WaitQueue | None = None) -> None:
        """Close at once, and enter no queue, so that this connection is not chosen again."""
        self.output.evict(is_unread=queue is self._connections.unread)

    def _wait(self) -> None:
        """Enter the queue for what the client has to do next; while a request is in progress, none."""
        queues, queue = self._connections, self.queue
        if self.output.is_paused or self._transport.is_closing():
            queue = queues.unread
        elif self._pipeline and self._pipeline[0].is_started:
            queue = queues.idle if self._pipeline[0].is_finished else None  # it pauses after a rejection
        elif self._pipeline or self._parser.is_arriving:
            queue = queues.arriving
        elif queue is not queues.silent:
            queue = queues.idle
        move(self, queue)
        if queue is queues.arriving or queue is queues.unread:  # measured anew: several places discard parts of it
            requests = sum(cycle.held_bytes for cycle in self._pipeline)
            queue.hold(self, self._parser.held_bytes + requests + self.output.held_bytes)

    def _advance(self) -> None:
        """Pass the first request on, if it is complete and there is capacity; pause reading while others are queued."""
        if self._transport.is_closing() or not self._pipeline:
            return
        cycle = self._pipeline[0]
        if len(self._pipeline) > 1 or len(cycle.body) > self._limits.body_bytes:
            self._pause_reading()
        if cycle.is_started:
            return
        if self.output.is_paused:  # a client that does not read its responses takes no capacity
            self._pause_reading()
        elif cycle.is_complete or len(cycle.body) > self._limits.body_bytes:
            cycle.is_started = True
            self._admit(cycle)
        elif cycle.expects_continue:
            cycle.expects_continue = False
            self.output.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _admit(self, cycle: Cycle) -> None:
        exchange = Exchange.begin(cycle.scope)
        try:
            exchange.slot = self._app.admission.admit(cycle.scope["raw_path"], only=self._connections.paths)
        except Rejected as rejected:
            cycle.keep_alive = cycle.keep_alive and rejected.code != "shutting_down"
            cycle.ignore_body()
            self._respond(exchange, rejected.code, keep_alive=cycle.keep_alive)
            # Repeated rejections cost capacity, so the connection's next request is read later.
            self._pause_reading()
            self._loop.call_later(self._limits.rejection_pause_seconds, self.end_response)
        else:
            self._server.tasks.add(self._loop.create_task(cycle.run(self._app, self._loop)))

    def _reject_input(self, code: str, detail: str = "") -> None:
        """Respond with a problem and close; behind a request in progress, only close after the response to that one."""
        if self._transport.is_closing():
            return
        if not self._pipeline:
            self._respond(Exchange.unparsed(), code, detail)
        elif not (first := self._pipeline[0]).is_started:
            self._respond(Exchange.begin(first.scope), code, detail)
        else:
            first.keep_alive = False
            self._pause_reading()

    def _respond(self, exchange: Exchange, code: str, detail: str = "", *, keep_alive: bool = False) -> None:
        """Write a problem, and close the connection unless it is kept alive."""
        headers, body = self._app.problem(exchange, code, detail)
        if not keep_alive and CLOSE not in headers:
            headers.append(CLOSE)
        head = encode_head(KINDS[code].status, [*self._server.default_headers, *headers])
        self.output.write(head if exchange.method == "HEAD" else head + body)
        if not keep_alive:
            self.close()
        self._app.finish(exchange)

    def _pause_reading(self) -> None:
        if not self._is_read_paused and not self._transport.is_closing():
            self._is_read_paused = True
            self._transport.pause_reading()
