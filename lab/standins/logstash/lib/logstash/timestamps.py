"""Timestamps as Logstash keeps and prints them: UTC, three, six or nine digits of a second."""

import re
from datetime import UTC, datetime, timedelta, timezone

_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?")
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timestamp(str):
    """A moment, as its ISO 8601 text in UTC."""

    def moment(self):
        """Return the moment as a datetime, microseconds at the most."""
        return datetime.fromisoformat(f"{self[:19]}{self[19:-1][:7]}+00:00")


def of(moment):
    """Return the timestamp of a datetime with a zone."""
    utc = moment.astimezone(UTC)
    digits = "milliseconds" if utc.microsecond % 1000 == 0 else "microseconds"
    return Timestamp(utc.replace(tzinfo=None).isoformat(timespec=digits) + "Z")


def now():
    """Return the present moment."""
    return of(datetime.now(UTC))


def of_milliseconds(value):
    """Return the timestamp of milliseconds since 1970."""
    return of(_EPOCH + timedelta(milliseconds=value))


def coerce(value):
    """Return the timestamp that a value stands for, or None when it is none."""
    if type(value) is Timestamp:
        return value
    if not isinstance(value, str):
        return None
    if len(value) == 24 and _USUAL.fullmatch(value):
        try:
            datetime.fromisoformat(value[:19])
        except ValueError:
            return None
        return Timestamp(value)
    found = _ISO.fullmatch(value)
    if not found:
        return _lenient(value)
    seconds, fraction, zone = found.groups()
    fraction = fraction or ""
    try:
        moment = datetime.fromisoformat(seconds)
    except ValueError:
        return None
    if zone != "Z":
        moment = moment.replace(tzinfo=_zone(zone)) if zone else moment.astimezone()
        seconds = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return Timestamp(f"{seconds}.{_digits(fraction)}Z")


def _digits(fraction):
    """Return a fraction of a second as three, six or nine digits."""
    fraction = fraction.rstrip("0")
    size = 3 if len(fraction) <= 3 else 6 if len(fraction) <= 6 else 9
    return fraction.ljust(size, "0")


def _zone(text):
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0)))


def _lenient(value):
    """Return the timestamp of a date, or of a date with hours and minutes only."""
    if not re.fullmatch(r"\d{4}-\d\d(-\d\d(T\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)?)?)?", value):
        return None
    try:
        moment = datetime.fromisoformat(value + "-01" if len(value) == 7 else value)
    except ValueError:
        return None
    return of(moment if moment.tzinfo else moment.astimezone())
