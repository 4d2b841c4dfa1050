"""Frames of the Beats protocol: windows, events as JSON, compressed frames, acknowledgements."""

import struct
import zlib

_NUMBER = struct.Struct(">I")
_EVENT = struct.Struct(">II")
_MAX_FRAME = 256 << 20


class ProtocolError(Exception):
    """Bytes that are no frames."""


def _exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the connection ended inside a frame")
    return data


def read_window(stream):
    """Return the events of one window as [(sequence, JSON bytes)], None at the end of the stream; raises ProtocolError."""
    start = stream.read(2)
    if not start:
        return None
    if start != b"2W":
        raise ProtocolError(f"Invalid version or frame type of beats protocol: {start!r}")
    size = _NUMBER.unpack(_exactly(stream, 4))[0]
    events = []
    while len(events) < size:
        _frame(stream, _exactly(stream, 2), events)
    return events


def _frame(stream, kind, events):
    if kind == b"2J":
        sequence, length = _EVENT.unpack(_exactly(stream, 8))
        _bounded(length)
        events.append((sequence, _exactly(stream, length)))
    elif kind == b"2C":
        length = _NUMBER.unpack(_exactly(stream, 4))[0]
        _bounded(length)
        try:
            _frames(zlib.decompress(_exactly(stream, length)), events)
        except (zlib.error, struct.error) as error:
            raise ProtocolError(f"a compressed frame cannot be read: {error}") from None
    else:
        raise ProtocolError(f"Invalid Frame Type, received: {kind!r}")


def _frames(data, events):
    """Collect the events in a compressed frame."""
    at = 0
    while at < len(data):
        if data[at:at + 2] != b"2J":
            raise ProtocolError(f"Invalid Frame Type, received: {data[at:at + 2]!r} in a compressed frame")
        sequence, length = _EVENT.unpack_from(data, at + 2)
        at += 10
        if at + length > len(data):
            raise ProtocolError("a compressed frame ends inside an event")
        events.append((sequence, data[at:at + length]))
        at += length


def _bounded(length):
    if length > _MAX_FRAME:
        raise ProtocolError(f"a frame of {length} bytes is too long")


def ack(sequence):
    """Return the frame that acknowledges events up to a sequence number; 0 keeps the sender waiting."""
    return b"2A" + _NUMBER.pack(sequence)
