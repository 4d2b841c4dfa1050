"""beats: the server that Filebeat and its like send to."""

import json
import socket
import ssl
import threading
import time

from .. import lumberjack, options, references, tls
from ..errors import ConfigurationError
from ..event import Event, copy
from ..queues import Closed
from .base import Input

ENRICHMENTS = ("source_metadata", "codec_metadata", "ssl_peer_metadata")
_BY_DEFAULT = frozenset({"source_metadata", "codec_metadata"})
# How often a sender that waits hears that its events are not forgotten.
KEEP_ALIVE_SECONDS = 5.0


class Beats(Input):
    """See Logstash's documentation of the beats input."""

    NAME = "beats"
    OPTIONS = options.declare({
        "host": options.string("0.0.0.0"), "port": options.number(required=True), "client_inactivity_timeout": options.number(60),
        "enrich": options.one_of(*ENRICHMENTS, "none", "all").listed(), "executor_threads": options.number(), "event_loop_threads": options.number(0),
        "ssl_enabled": options.boolean(False), "ssl_certificate": options.path(), "ssl_key": options.path(), "ssl_key_passphrase": options.password(),
        "ssl_certificate_authorities": options.array([]), "ssl_client_authentication": options.one_of("none", "optional", "required", default="none"),
        "ssl_handshake_timeout": options.number(10000), "ssl_cipher_suites": options.absent(),
        "ssl_supported_protocols": options.one_of(*tls.PROTOCOLS, default=["TLSv1.2", "TLSv1.3"]).listed(),
        "add_hostname": options.absent(), "include_codec_tag": options.absent(), **options.ECS,
        "ssl": options.obsolete("Use 'ssl_enabled' instead."), "ssl_peer_metadata": options.obsolete("Use 'enrich' instead."),
        "ssl_verify_mode": options.obsolete("Use 'ssl_client_authentication' instead."), "cipher_suites": options.obsolete("Use 'ssl_cipher_suites' instead."),
        "tls_min_version": options.obsolete("Use 'ssl_supported_protocols' instead."),
        "tls_max_version": options.obsolete("Use 'ssl_supported_protocols' instead."),
    })

    def register(self):
        self.enrichments = self._enrichments()
        self.ecs = (self["ecs_compatibility"] or self.context.ecs) != "disabled"
        self._check_tls()
        self.tls = tls.server_context(self.options) if self["ssl_enabled"] else None
        self._connections, self._lock, self._peak = set(), threading.Lock(), 0
        self._server = None

    def _enrichments(self):
        given = self["enrich"]
        if given is None:
            return _BY_DEFAULT
        if len(given) > 1 and {"none", "all"} & set(given):
            raise ConfigurationError("when an alias is provided to `enrich`, it must be the only value given")
        return frozenset({"none": (), "all": ENRICHMENTS}.get(given[0], given)) if given else frozenset()

    def _check_tls(self):
        if not self["ssl_enabled"]:
            return
        for name in ("ssl_key", "ssl_certificate"):
            if not self[name]:
                raise ConfigurationError(f"{name} => is a required setting when ssl_enabled => true is configured")
        asks = self["ssl_client_authentication"] != "none"
        if asks and not self["ssl_certificate_authorities"]:
            raise ConfigurationError(
                "ssl_certificate_authorities => is a required setting when `ssl_client_authentication => "
                f"'{self['ssl_client_authentication']}'` is configured"
            )
        if "ssl_peer_metadata" in self.enrichments and not asks:
            raise ConfigurationError(
                "Configuring `enrich => [ssl_peer_metadata]` requires `ssl_client_authentication` to be configured with 'optional' or 'required'"
            )

    def watched(self):
        """Return the files whose change calls for a reload of the pipeline."""
        return [path for path in (self["ssl_certificate"], self["ssl_key"], *self["ssl_certificate_authorities"]) if path]

    def start(self, write):
        self._write = write
        self.log.info("Starting input listener", address=f"{self['host']}:{self['port']}")
        threading.Thread(target=self._accept, name=f"[{self.context.pipeline}]<beats", daemon=True).start()

    def _listen(self):
        """Return the listening socket, None at a stop; as the product, tries until the port is free."""
        while not self.stopping.is_set():
            family = socket.AF_INET6 if ":" in self["host"] else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind((self["host"], self["port"]))
                server.listen(128)
                return server
            except OSError as error:
                server.close()
                self.log.error("A plugin had an unrecoverable error. Will restart this plugin.", plugin=self.id, error=str(error))
                self.stopping.wait(1.0)
        return None

    def _accept(self):
        self._server = self._listen()
        while self._server and not self.stopping.is_set():
            try:
                connection, address = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, address), name=f"[{self.context.pipeline}]<beats {address[0]}", daemon=True).start()

    def _serve(self, connection, address):
        with self._lock:
            self._connections.add(connection)
            self._peak = max(self._peak, len(self._connections))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection.settimeout(self["ssl_handshake_timeout"] / 1000)
                secured = self.tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._connections.discard(connection)
                    self._connections.add(secured)
                connection = secured
            connection.settimeout(self["client_inactivity_timeout"] or None)
            _Session(self, connection, address[0], self._write).run()
        except ssl.SSLError as error:
            self.log.info(f"[local: {self['host']}:{self['port']}, remote: {address[0]}:{address[1]}] Handling exception: {error}")
        except TimeoutError:
            self.log.debug("Closing idle connection", remote=address[0])
        except (lumberjack.ProtocolError, ValueError) as error:
            self.log.warn(f"[local: {self['host']}:{self['port']}, remote: {address[0]}:{address[1]}] Handling exception: {error}")
        except (OSError, EOFError, Closed):
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def stop(self):
        super().stop()
        # A thread in accept() hears of a shutdown, not of a close.
        for one in (self._server, *tuple(self._connections)):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except (AttributeError, OSError):
                pass
        if self._server:
            self._server.close()

    def stats(self):
        return super().stats() | {"current_connections": len(self._connections), "peak_connections": self._peak}


class _Session:
    """One sender's connection: window after window, each acknowledged when the queue has it."""

    def __init__(self, plugin, connection, address, write):
        self._plugin, self._connection, self._write = plugin, connection, write
        self._stream = connection.makefile("rb", 1 << 16)
        self._said = time.monotonic()
        names = ("[@metadata][input][beats][host][ip]" if plugin.ecs else "[@metadata][ip_address]")
        self._source = {names: address} if "source_metadata" in plugin.enrichments else {}
        self._peer = tls.peer_fields(connection, plugin.ecs) if plugin.tls and "ssl_peer_metadata" in plugin.enrichments else {}
        template = Event({})
        for name, value in (self._source | self._peer).items():
            template.set(name, value)
        self._enriched = template.metadata
        self._codec = "codec_metadata" in plugin.enrichments

    def run(self):
        while (window := lumberjack.read_window(self._stream)) is not None:
            if window:
                self._plugin.emit(self._write, [self._event(data) for _sequence, data in window], self._waiting)
                self._say(max(sequence for sequence, _data in window))

    def _say(self, sequence):
        self._connection.sendall(lumberjack.ack(sequence))
        self._said = time.monotonic()

    def _waiting(self):
        """Called while the queue is full: reading stops, the sender is kept from giving up."""
        if self._plugin.stopping.is_set():
            raise Closed
        if time.monotonic() - self._said >= KEEP_ALIVE_SECONDS:
            self._say(0)

    def _event(self, data):
        values = json.loads(data.decode("utf-8", "replace"))
        if not isinstance(values, dict):
            raise lumberjack.ProtocolError("an event is no JSON object")
        has_metadata = isinstance(values.get("@metadata"), dict)
        message = values.get("message")
        if message is not None:
            # Through the codec: what is null is not set again.
            for name in [name for name, value in values.items() if value is None]:
                del values[name]
        event = Event.new(values)
        self._enrich(event, has_metadata)
        if message is not None and self._codec:
            event.tag("beats_input_codec_plain_applied")
            if self._plugin.ecs and not event.includes("[event][original]"):
                event.set("[event][original]", message)
        return event

    def _enrich(self, event, has_metadata):
        if has_metadata and not self._enriched.keys() & event.metadata.keys():
            event.metadata.update(copy(self._enriched))
            return
        # The address is given only to events that bring metadata, as in the product.
        for name, value in (self._source | self._peer if has_metadata else self._peer).items():
            try:
                references.setter(name)(event, value)
            except TypeError:
                event.metadata = {}
                references.setter(name)(event, value)
