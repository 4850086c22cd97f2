"""The handshake of one WebSocket behind middleware, which sees it as a request, and its answer as a response.

Rules that this module alone enforces:

* Middleware is called with the handshake as a GET. ``call_next`` returns when the handler has answered: a 101 stands
  for ``ws.accept()``, any other status for a refusal. Nothing was sent then.
* The handler waits in ``ws.accept()`` until the outermost middleware has returned. What that returned is sent: a 101
  accepts with its headers, anything else denies the handshake, and the handler's ``accept`` raises.
* The handler runs in a task beside the middleware's, with its context variables, and outlives it. If ``call_next`` is
  cancelled or called again, the handler is cancelled first.
* A mounted app is treated as a handler: both answer by messages of ASGI.
"""

from __future__ import annotations

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.chain import Chain
from trioweb.exchange.clock import Watch
from trioweb.exchange.ending import close_request
from trioweb.exchange.policy import Policy, is_departure
from trioweb.ground.errors import WebSocketDisconnect, taken
from trioweb.ground.http.asgi import ASGIApp, PathParams, Receive, Scope, Send
from trioweb.handlers.endpoint import Endpoint
from trioweb.handlers.route import TOLD
from trioweb.handlers.signatures import Kind
from trioweb.io.duplex import Duplex, is_own_header
from trioweb.messages.connection import ACCEPTED, State
from trioweb.messages.request import Request
from trioweb.messages.response import Response
from trioweb.sockets.conversation import Conversation
from trioweb.sockets.denial import answer_failure, denial, handshake_request, no_body
from trioweb.sockets.held import HeldSocket, Refuse


class Handshake(Call):
    """Runs middleware around the handshake of one WebSocket, and then the WebSocket. ``run`` is its only entry.

    Args:
        policy: the app's.
        endpoint: the handler, or a mounted app's.
        params: the path parameters.
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        app: the mounted app, if it is one.
    """

    _nursery: trio.Nursery
    _serving: HeldSocket | None = None
    _ended: Request | None = None

    def __init__(
        self,
        policy: Policy,
        endpoint: Endpoint,
        params: PathParams,
        scope: Scope,
        receive: Receive,
        send: Send,
        app: ASGIApp | None = None,
    ) -> None:
        inner = Endpoint(
            self._answered, endpoint.label, endpoint.where, Kind.COROUTINE, passes_all=True, light=True,
            middleware=endpoint.middleware,
        )  # fmt: skip
        super().__init__(policy, inner, params, scope, no_body, send)
        self._handler = endpoint
        self._app = app
        self._from_peer = receive

    @property
    def nursery(self) -> trio.Nursery:
        """None: see ``Request.nursery``."""
        raise RuntimeError(
            f"{self.endpoint.where}: a handshake has no nursery: use ws.nursery in the handler, or app.nursery"
        )

    async def run(self) -> None:
        """Serve the WebSocket. Returns when it is closed, or its handshake denied.

        A cancellation from outside cancels middleware and handler.
        """
        message = await self._from_peer()
        if message["type"] != "websocket.connect":
            return
        serving: HeldSocket | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    response = await self._respond()
                    serving = self._serving
                    if response is not None:
                        await self._send_answer(response, serving)
                        del response
                finally:
                    if self._serving is not None:
                        self._serving.decide([])  # if it still waits, for a middleware that was cancelled
                        self._serving = None
                    if self.request is not None:
                        self._ended, self.request = self.request, None  # it refers to this object, as the endpoint does
                    self.endpoint = self._handler
        finally:
            await self._close()
            del self._nursery
            self.reported = None  # its traceback refers to frames that refer to this object
        if serving is not None and serving.failure is not None:
            try:
                raise serving.failure
            finally:
                serving.failure = None

    async def _respond(self) -> Response | None:
        """The outcome of the middleware, or the answer to its failure; ``None`` if the peer has left."""
        self.request = handshake_request(self)
        response: Response | None = None
        failure: Exception | None = None
        try:
            response = await Chain(self).run()
            self._check(response)
        except Exception as error:
            failure = taken(error)
        if failure is None:
            return response
        try:
            if is_departure(failure):
                return None
            answering = answer_failure(self, failure)
        finally:
            del failure
        return await answering

    def _check(self, response: Response) -> None:
        """Refuse an outcome that is no answer to a handshake."""
        where = self.endpoint.where
        if response.status_code == ACCEPTED:
            if self._serving is None or not self._serving.accepts:
                raise RuntimeError(f"{where}: middleware returned a 101 for a handshake that was not accepted")
            for name, _ in response.headers.raw:
                if is_own_header(name):
                    raise ValueError(f"{where}: middleware has set {name.decode()!r}, which is the handshake's own")
        elif response.body is None:
            raise TypeError(f"{where}: middleware answered a handshake with a stream: give it a body in one piece")

    async def _send_answer(self, response: Response, serving: HeldSocket | None) -> None:
        if serving is not None and serving.waits:
            serving.decide(denial(self, response) if response.status_code != ACCEPTED else None, response.headers)
            return
        if serving is not None:
            await serving.ended.wait()  # it has failed, and is closing what it has opened
        duplex = Duplex(self._from_peer, self.send, self.policy.limits.write_timeout)
        duplex.transport = self.find_transport()
        watching = Watch(duplex, duplex)
        self._nursery.start_soon(watching.run)
        try:
            await duplex.deny(denial(self, response))
        except WebSocketDisconnect:
            pass
        finally:
            duplex.stop()
            watching.stop()

    # The innermost

    async def _answered(self, **_: object) -> Response:
        """Start the handler, and return its answer."""
        await self._drop()  # that of an earlier call
        self._serving = serving = HeldSocket(self._from_peer, self.send)
        scope = self.scope
        extensions = {
            **(scope.get("extensions") or {}),
            "trioweb": self.find_transport(),  # what stands in between would hide it
            "websocket.http.response": {},
        }
        state = self.the_request().state
        inner = {**scope, "extensions": extensions, "state": {**scope.get("state", {}), **vars(state)}}
        self._nursery.start_soon(serving.run, self._serve, inner, state)
        del state, inner
        try:
            await serving.answered.wait()
        except BaseException:
            await self._drop()
            raise
        if serving.response is None:
            failure, serving.failure = serving.failure, None
            try:
                if failure is None and not serving.gone:
                    raise RuntimeError(f"{self.endpoint.where} returned without an answer to the handshake")
                raise failure or WebSocketDisconnect()
            finally:
                del failure
        return serving.response

    async def _serve(self, scope: Scope, receive: Receive, send: Send, state: State, refuse: Refuse) -> None:
        if self._app is not None:
            try:
                await self._app(scope, receive, send)
            finally:  # for tools around this app
                told = {name: scope[name] for name in TOLD if name in scope}
                self.scope.update(told)  # type: ignore[attr-defined]  # a dict, by ASGI
        else:
            call = Call(self.policy, self._handler, self.params, scope, receive, send)
            await Conversation(call, state, refuse, self._close).run()

    async def _close(self) -> None:
        """Call what waits for the end of the handshake's request, once."""
        ended, self._ended = self._ended, None
        if ended is not None and ended._ends:
            await close_request(ended)

    async def _drop(self) -> None:
        """Cancel the handler, and wait for its end."""
        serving, self._serving = self._serving, None
        if serving is not None:
            with trio.CancelScope(shield=True):
                await serving.drop()


async def converse(
    policy: Policy,
    endpoint: Endpoint,
    params: PathParams,
    scope: Scope,
    receive: Receive,
    send: Send,
    app: ASGIApp | None = None,
) -> None:
    """Serve a WebSocket, behind middleware if there is any: see ``Handshake`` for the arguments."""
    if policy.middleware or endpoint.middleware:
        await Handshake(policy, endpoint, params, scope, receive, send, app).run()
    elif app is not None:
        await app(scope, receive, send)
    else:
        await Conversation(Call(policy, endpoint, params, scope, receive, send)).run()
