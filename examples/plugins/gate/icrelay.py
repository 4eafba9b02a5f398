"""Adapters for the relay in Python: everything but what an adapter does.

    class Mine(icrelay.Route):
        async def open(self, request):
            ...
            return await self.base.Open(request)

    icrelay.serve(Mine)

A Route has those methods of the contract's service Adapter that it wants to be asked, in lower case: open, message,
close, check, and the asynchronous generators poll and watch. They take the contract's requests and give its answers.
What is not there, the relay's built-in adapter does. Messages and promises: adapters/plugin/contract/adapter.proto.

Works with Debian's python3-grpcio and python3-protobuf (12 and later), and with grpcio and protobuf of PyPI.
"""

import asyncio
import base64
import json
import logging
import os
import signal
import sys
import zlib
from datetime import datetime, timezone

try:
    import grpc
    import google.protobuf
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}: install Debian's python3-grpcio and python3-protobuf, or have the command name a Python that has grpcio and protobuf")

import adapter_pb2 as pb
import adapter_pb2_grpc as services

VERSION = 1  # of the contract

log = logging.getLogger("adapter")


class Problem(Exception):
    """Why a route cannot start: one sentence, for started()."""


class Refused(Exception):
    """For good: the client's connection ends with this sentence."""


class Unavailable(Exception):
    """Not now: the client's connection ends with this sentence, and it may come again later."""


class Rejected(Unavailable):
    """What a canister or the network answered instead of a reply."""

    def __init__(self, reject):
        super().__init__(reject.text)
        self.code = reject.code


class Route:
    """One route of the configuration that names the adapter. Several of its methods can be under way at a time."""

    window = None  # a pb.Window, such as self.base_window: a client's messages several at a time, in any order

    def __init__(self, request, channel):
        self.adapter = request.adapter  # the name in the configuration
        self.canister = request.canister  # principals are bytes; empty: any canister
        self.gateway = request.gateway
        self.canisters = dict(request.canisters)  # of the embedded network, by name
        self.settings = json.loads(request.settings or b"{}")  # the table [route.settings]
        self.base_window = request.base_window
        self.base = Base(channel)  # the built-in adapter
        self.host = services.HostStub(channel)

    async def started(self):
        """Comes first, before anything is asked."""

    async def ended(self):
        """Comes last."""

    async def query(self, canister, method, arg):
        """The reply of a query method, as Candid: that of one replica."""
        return reply(await self.host.Query(pb.CallRequest(canister=canister, method=method, arg=arg)))

    async def call(self, canister, method, arg):
        """The certified reply of an update method, as Candid."""
        return reply(await self.host.Call(pb.CallRequest(canister=canister, method=method, arg=arg)))

    def principal(self, text):
        """The principal with this text, or of the embedded network's canister with this name."""
        try:
            return self.canisters[text] if text in self.canisters else principal_of(text)
        except ValueError as error:
            raise Problem(f"{text!r} is neither a principal nor a canister of the embedded network") from error


def reply(response):
    if response.HasField("reject"):
        raise Rejected(response.reject)
    return response.reply


class Base:
    """The relay's own service Adapter. Open and Message do without the envelope's bytes: the relay has them."""

    def __init__(self, channel):
        stub = services.AdapterStub(channel)
        self.Close, self.Poll, self.Check, self.Watch = stub.Close, stub.Poll, stub.Check, stub.Watch
        self.Open = _without_bytes(stub.Open)
        self.Message = _without_bytes(stub.Message)


def _without_bytes(method):
    async def call(request):
        short = type(request)(route=request.route, envelope=request.envelope)
        short.envelope.ClearField("bytes")
        try:
            return await method(short)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return await method(request)

    return call


def principal_of(text):
    """The bytes of a principal's text."""
    compact = text.replace("-", "").upper()
    raw = base64.b32decode(compact + "=" * (-len(compact) % 8))  # binascii.Error is a ValueError
    if text != text_of(raw[4:]) or len(raw) > 4 + 29:
        raise ValueError("not a principal")
    return raw[4:]


def text_of(principal):
    """The text of a principal's bytes."""
    raw = zlib.crc32(principal).to_bytes(4, "big") + principal
    text = base64.b32encode(raw).decode().lower().rstrip("=")
    return "-".join(text[i : i + 5] for i in range(0, len(text), 5))


# -- what the relay calls -------------------------------------------------------------------------------------------

_METHODS = {"open": pb.OPEN, "message": pb.MESSAGE, "close": pb.CLOSE, "poll": pb.POLL, "check": pb.CHECK, "watch": pb.WATCH}


class _Plugin(services.PluginServicer, services.AdapterServicer):
    def __init__(self, kind, channel):
        self.kind = kind
        self.channel = channel
        self.routes = {}
        self.handles = [number for name, number in _METHODS.items() if hasattr(kind, name)]

    async def Ping(self, request, context):
        return pb.PingResponse()

    async def StartRoute(self, request, context):
        try:
            route = self.kind(request, self.channel)
            await route.started()
        except Problem as problem:
            return pb.StartRouteResponse(problem=str(problem))
        self.routes[request.route] = route
        return pb.StartRouteResponse(handles=self.handles, window=route.window)

    async def EndRoute(self, request, context):
        route = self.routes.pop(request.route, None)
        if route:
            await route.ended()
        return pb.EndRouteResponse()


def _answers_once(name):
    async def method(self, request, context):
        try:
            return await (await _handler(self, name, request, context))(request)
        except (Refused, Unavailable) as reason:
            return _outcome(reason)
        except grpc.aio.AioRpcError as error:  # the relay's answer to this process
            await _pass_on(context, error)

    return method


def _streams(name):
    async def method(self, request, context):
        try:
            async for part in (await _handler(self, name, request, context))(request):
                yield part
        except (Refused, Unavailable) as reason:
            if name != "poll":
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(reason))
            yield pb.PollPart(outcome=_outcome(reason))
        except grpc.aio.AioRpcError as error:
            await _pass_on(context, error)

    return method


async def _pass_on(context, error):
    more = [pair for pair in error.trailing_metadata() or () if pair[0] == "grpc-status-details-bin"]  # when to try again
    await context.abort(error.code(), error.details(), tuple(more))


async def _handler(plugin, name, request, context):
    if request.route not in plugin.routes:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no route {request.route}")
    if not hasattr(plugin.kind, name):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} is not handled")
    return getattr(plugin.routes[request.route], name)


def _outcome(reason):
    kind = pb.Outcome.REFUSED if isinstance(reason, Refused) else pb.Outcome.UNAVAILABLE
    return pb.Outcome(kind=kind, text=str(reason))


for _name in _METHODS:
    setattr(_Plugin, _name.capitalize(), (_streams if _name in ("poll", "watch") else _answers_once)(_name))


# -- the process ----------------------------------------------------------------------------------------------------

_STOP_SECONDS = 1  # for calls that are under way at the end


def serve(kind):
    """Serves routes of this class until the relay ends the process. All that a program's main does."""
    if os.environ.get("ICRELAY_ADAPTER") != "v1":
        sys.exit(
            "This is an adapter for the relay, which starts it by itself: name it as the command of an [[adapter]] in\n"
            "config.toml, and that adapter in a [[route]]. docs/adapters.md says more."
        )
    _log_to_the_relay()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # are for the relay, which still needs this process when they come
        signal.signal(name, signal.SIG_IGN)
    sys.exit(asyncio.run(_serve(kind)))


async def _serve(kind):
    ca, certificate, key = (os.environ["ICRELAY_TLS_" + name].encode() for name in ("CA", "CERT", "KEY"))
    relay = os.environ["ICRELAY_HOST"]  # unix:<path>
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or os.path.dirname(relay.removeprefix("unix:"))
    path = os.path.join(folder, f"p{os.getpid()}.sock")
    name = [("grpc.ssl_target_name_override", "localhost")]
    async with grpc.aio.secure_channel(relay, grpc.ssl_channel_credentials(ca, key, certificate), name) as channel:
        server = grpc.aio.server()
        plugin = _Plugin(kind, channel)
        services.add_PluginServicer_to_server(plugin, server)
        services.add_AdapterServicer_to_server(plugin, server)
        server.add_secure_port("unix:" + path, grpc.ssl_server_credentials([(key, certificate)], ca, True))
        await server.start()
        print(f"1|{VERSION}|unix|{path}|grpc|", flush=True)  # go-plugin's handshake
        sys.stdout = sys.stderr  # which is the log, for whoever prints
        code = await _attached(services.HostStub(channel))
        await server.stop(_STOP_SECONDS)
        for route in plugin.routes.values():
            await route.ended()
        return code


async def _attached(host):
    """Returns when the relay ends, or ends this process."""
    begun = False
    try:
        async for _ in host.Attach(pb.AttachRequest()):
            begun = True
    except grpc.aio.AioRpcError as error:
        if not begun:
            log.error("the relay was not reached", extra={"error": error.details()})
            return 1
    return 0


class _Line(logging.Formatter):
    """A line of JSON, as the relay takes it over into its log; what extra names become attributes."""

    _levels = {"WARNING": "WARN", "CRITICAL": "ERROR"}
    _usual = {*vars(logging.makeLogRecord({})), "message", "taskName"}

    def format(self, record):
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": self._levels.get(record.levelname, record.levelname),
            "msg": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in self._usual)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _log_to_the_relay():
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    level = {"WARN": "WARNING"}.get(name := os.environ.get("ICRELAY_LOG_LEVEL", "info").upper(), name)
    logging.basicConfig(level=level, handlers=[handler])
