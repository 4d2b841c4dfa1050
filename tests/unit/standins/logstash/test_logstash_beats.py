"""The beats input: frames, TLS, what it adds to events, acknowledgements and back pressure."""

from __future__ import annotations

import io
import socket
import ssl
import struct
import threading
import zlib

import pytest
from logstash import lumberjack, tls
from logstash.errors import ConfigurationError
from logstash.inputs import beats as beats_module
from logstash_fakes import Sender, beat, frames, free_port, make_settings, plan, wait_for

# Frames


@pytest.mark.parametrize("compress", [False, True])
def test_a_window_is_read(compress):
    """Plain frames, and frames in a compressed one."""
    data = frames([{"n": 1}, {"n": 2}], compress)
    assert lumberjack.read_window(io.BytesIO(data)) == [(1, b'{"n": 1}'), (2, b'{"n": 2}')]


def test_a_window_may_come_in_several_compressed_frames():
    """As from senders with small batches."""
    parts = [b"2C" + struct.pack(">I", len(packed)) + packed for packed in (
        zlib.compress(b"2J" + struct.pack(">II", number, 2) + b"{}") for number in (1, 2)
    )]
    assert [number for number, _data in lumberjack.read_window(io.BytesIO(b"2W" + struct.pack(">I", 2) + b"".join(parts)))] == [1, 2]


def test_the_end_of_a_connection_is_no_window():
    """Between windows it is the end, inside of one a break."""
    assert lumberjack.read_window(io.BytesIO(b"")) is None
    with pytest.raises(EOFError):
        lumberjack.read_window(io.BytesIO(frames([{"n": 1}], False)[:-2]))


@pytest.mark.parametrize("data, words", [
    (b"GET / HTTP/1.1", "Invalid version or frame type"), (b"2W\0\0\0\1" + b"1D\0\0", "Invalid Frame Type"),
    (b"2W\0\0\0\1" + b"2C\0\0\0\3abc", "a compressed frame cannot be read"), (b"2W\0\0\0\1" + b"2J\0\0\0\1\xff\xff\xff\xff", "is too long"),
])
def test_what_is_no_frame_is_refused(data, words):
    """With what was read."""
    with pytest.raises(lumberjack.ProtocolError, match=words):
        lumberjack.read_window(io.BytesIO(data))


# The server


class Server:
    """A running beats input that collects what it emits; `gate` holds its queue back."""

    def __init__(self, tmp_path, options: str):
        self.port = free_port()
        made = plan(f'input {{ beats {{ host => "127.0.0.1" port => {self.port} {options} }} }}', make_settings(tmp_path))
        self.plugin, = made.plugins["input"]
        self.events = []
        self.gate = threading.Event()
        self.gate.set()
        self.plugin.register()
        self.plugin.start(self.write)
        wait_for(lambda: self.plugin._server is not None)

    def write(self, events, waiting):
        while not self.gate.wait(0.05):
            waiting()
        self.events += events


@pytest.fixture
def server(tmp_path, certificates, quiet):
    """Return a maker of servers with mutual TLS, and more options."""
    made = []

    def make(options: str = "enrich => ['source_metadata', 'ssl_peer_metadata']", secure: bool = True) -> Server:
        secured = f"""
            ssl_enabled => true ssl_certificate => "{certificates}/server.crt" ssl_key => "{certificates}/server.key"
            ssl_certificate_authorities => ["{certificates}/ca.crt"] ssl_client_authentication => "required" """
        made.append(Server(tmp_path, (secured if secure else "") + options))
        return made[-1]

    yield make
    for one in made:
        one.gate.set()
        one.plugin.stop()


def test_events_are_acknowledged_when_they_are_taken(server, certificates):
    """With the sender's address and certificate in their metadata, and nothing else changed."""
    running = server()
    sender = Sender(running.port, certificates)
    sender.deliver([beat("one", host={"name": "x"}), beat("two", tags=["t"], none=None)])
    one, two = running.events
    assert one.data == {"@timestamp": "2026-11-24T10:00:00.123Z", "message": "one", "host": {"name": "x"}, "@version": "1"}
    assert two.data == {"@timestamp": "2026-11-24T10:00:00.123Z", "message": "two", "tags": ["t"], "@version": "1"}
    protocol, cipher = sender.socket.version(), sender.socket.cipher()[0]
    assert one.metadata == {
        "beat": "filebeat", "type": "_doc", "version": "9.0.0", "tls_peer": {"status": "verified"},
        "input": {"beats": {
            "host": {"ip": "127.0.0.1"},
            "tls": {"version_protocol": protocol, "cipher": cipher, "client": {"subject": "CN=app1,OU=filebeat,O=Observatory lab\\, test"}},
        }},
    }
    sender.close()


def test_a_sender_cannot_say_who_it_is(server, certificates):
    """What it claims under the input's names is replaced."""
    running = server()
    claimed = {"input": {"beats": {"tls": {"client": {"subject": "CN=other"}}, "kept": 1}}, "tls_peer": "x"}
    sender = Sender(running.port, certificates)
    sender.deliver([{"message": "m", "@metadata": claimed}, {"message": "n", "@metadata": {"input": "text"}}, {"message": "o"}])
    subjects = [event.get("[@metadata][input][beats][tls][client][subject]") for event in running.events]
    assert subjects == ["CN=app1,OU=filebeat,O=Observatory lab\\, test"] * 3
    assert [event.get("[@metadata][tls_peer][status]") for event in running.events] == ["verified"] * 3
    sender.close()


@pytest.mark.parametrize("name", ["", "foreign"])
def test_a_sender_without_the_sites_certificate_is_turned_away(server, certificates, name):
    """None, or one of another authority."""
    running = server()
    with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
        Sender(running.port, certificates, name).deliver([beat("x")])
    assert running.events == []


def test_the_codec_is_applied_unless_it_is_switched_off(server):
    """Without `enrich` the product keeps the original text and tags the event."""
    running = server("", secure=False)
    sender = Sender(running.port)
    sender.deliver([beat("one"), {"no": "message"}], compress=False)
    assert running.events[0].data["event"] == {"original": "one"}
    assert running.events[0].data["tags"] == ["beats_input_codec_plain_applied"]
    assert running.events[0].metadata["input"] == {"beats": {"host": {"ip": "127.0.0.1"}}}
    assert {"event", "tags"} & running.events[1].data.keys() == set()
    sender.close()


def test_a_full_queue_stops_reading_and_keeps_the_sender_waiting(server, certificates, monkeypatch):
    """Acknowledgement 0 says that the events are not forgotten; nothing more is read meanwhile."""
    monkeypatch.setattr(beats_module, "KEEP_ALIVE_SECONDS", 0.2)
    running = server()
    running.gate.clear()
    sender = Sender(running.port, certificates)
    sender.send([beat("one"), beat("two")])
    sender.send([beat("three")])
    assert [sender.ack(), sender.ack()] == [0, 0]
    assert running.events == []
    running.gate.set()
    answers = [sender.ack()]
    while answers[-1] != 1:
        answers.append(sender.ack())
    assert [answer for answer in answers if answer] == [2, 1]
    assert [event.data["message"] for event in running.events] == ["one", "two", "three"]
    sender.close()


def test_a_stop_acknowledges_nothing_that_was_not_taken(server, certificates):
    """The sender's connection ends, and it sends again elsewhere."""
    running = server()
    running.gate.clear()
    sender = Sender(running.port, certificates)
    sender.send([beat("one")])
    wait_for(lambda: running.plugin.stats()["current_connections"] == 1)
    running.plugin.stop()
    with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
        while sender.ack() == 0:
            pass
    assert running.events == []
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", running.port), timeout=2)


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n", frames([{"a": 1}], False).replace(b'{"a": 1}', b'{"a": x}'), b"2W\0\0\0\x012J\0\0\0\1\0\0\0\x02[]",
])
def test_nonsense_ends_the_connection_and_nothing_else(server, quiet, data):
    """Other senders are served on."""
    running = server("", secure=False)
    sender = Sender(running.port)
    sender.socket.sendall(data)
    assert sender.socket.recv(10) == b""
    Sender(running.port).deliver([beat("x")])
    assert len(running.events) == 1
    assert "Handling exception" in quiet.getvalue()


def test_idle_connections_are_closed(server):
    """After client_inactivity_timeout."""
    running = server("client_inactivity_timeout => 1", secure=False)
    assert Sender(running.port, seconds=5).socket.recv(1) == b""


@pytest.mark.parametrize("options, words", [
    ("ssl => true", "The setting `ssl` in plugin `beats` is obsolete and is no longer available. Use 'ssl_enabled' instead."),
    ('ssl_verify_mode => "force_peer"', "Use 'ssl_client_authentication' instead."), ("cipher_suites => []", "Use 'ssl_cipher_suites' instead."),
    ("tls_min_version => 1.2", "Use 'ssl_supported_protocols' instead."), ("ssl_peer_metadata => true", "Use 'enrich' instead."),
    ("nosuch => 1", "Unknown setting 'nosuch' for beats"), ('ssl_certificate => "/no/such"', "File does not exist or cannot be opened /no/such"),
    ('ssl_client_authentication => "force"', 'Expected one of ["none", "optional", "required"], got ["force"]'),
    ("codec => json", "Couldn't find any codec plugin named 'json'"),
])
def test_options_are_refused_by_the_test(options, words):
    """The obsolete ones of 9.0 name the new one."""
    with pytest.raises(ConfigurationError) as error:
        plan(f"input {{ beats {{ port => 5044 {options} }} }}")
    assert words in str(error.value)


@pytest.mark.parametrize("options, words", [
    ("ssl_enabled => true", "ssl_key => is a required setting when ssl_enabled => true is configured"),
    ('ssl_enabled => true ssl_certificate => "{tls}/server.crt" ssl_key => "{tls}/server-old.key"', "does not contain valid private key"),
    ('ssl_enabled => true ssl_certificate => "{tls}/server.crt" ssl_key => "{tls}/client.key"', "KEY_VALUES_MISMATCH"),
    ('ssl_enabled => true ssl_certificate => "{tls}/server.crt" ssl_key => "{tls}/server.key" ssl_client_authentication => "required"',
     "ssl_certificate_authorities => is a required setting"),
    ('ssl_enabled => true ssl_certificate => "{tls}/server.crt" ssl_key => "{tls}/server.key" enrich => ["ssl_peer_metadata"]',
     "requires `ssl_client_authentication` to be configured with 'optional' or 'required'"),
    ('enrich => ["all", "source_metadata"]', "it must be the only value given"),
])
def test_options_are_refused_at_the_start(certificates, options, words):
    """What the product finds when it registers the plugin: also a key that is not in PKCS#8."""
    made = plan(f"input {{ beats {{ port => 5044 {options.replace('{tls}', str(certificates))} }} }}")
    with pytest.raises(ConfigurationError) as error:
        made.plugins["input"][0].register()
    assert words in str(error.value)


def test_subjects_are_written_as_java_writes_them():
    """RFC 2253: the last part first, signs escaped."""
    subject = ((("countryName", "DE"),), (("organizationName", 'A "B", C+D'),), (("commonName", " #x "), ("userId", "u")))
    assert tls.subject_text(subject) == 'CN=\\ #x\\ +UID=u,O=A \\"B\\"\\, C\\+D,C=DE'
    assert tls.subject_text(((("emailAddress", "a@b"),),)) == "1.2.840.113549.1.9.1=#1603614062"
