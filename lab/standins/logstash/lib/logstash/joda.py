"""Joda-Time's date patterns, for reading and for writing; English names."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from .errors import ConfigurationError

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")


def _tokens(pattern):
    """Yield (letter, length) for fields and (None, text) for what stands as it is."""
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if not found:
            raise ConfigurationError(f"Illegal pattern component: {pattern[at:]} in the date format '{pattern}'")
        if found[2]:
            yield found[2], len(found[0])
        elif found[0].startswith("'"):
            yield None, found[1].replace("''", "'") if found[1] else "'"
        else:
            yield None, found[0]
        at = found.end()


# How a field is written: letter -> (moment, length) -> text.
_WRITE = {
    "y": lambda moment, size: f"{moment.year % 100:02}" if size == 2 else f"{moment.year:0{size}}",
    "Y": lambda moment, size: f"{moment.year % 100:02}" if size == 2 else f"{moment.year:0{size}}",
    "x": lambda moment, size: f"{moment.isocalendar().year:0{size}}",
    "w": lambda moment, size: f"{moment.isocalendar().week:0{size}}",
    "e": lambda moment, size: f"{moment.isoweekday():0{size}}",
    "M": lambda moment, size: f"{moment.month:0{size}}" if size < 3 else MONTHS[moment.month - 1][:3 if size == 3 else None],
    "d": lambda moment, size: f"{moment.day:0{size}}",
    "D": lambda moment, size: f"{moment.timetuple().tm_yday:0{size}}",
    "E": lambda moment, size: DAYS[moment.weekday()][:3 if size < 4 else None],
    "a": lambda moment, size: "AM" if moment.hour < 12 else "PM",
    "H": lambda moment, size: f"{moment.hour:0{size}}",
    "h": lambda moment, size: f"{moment.hour % 12 or 12:0{size}}",
    "m": lambda moment, size: f"{moment.minute:0{size}}",
    "s": lambda moment, size: f"{moment.second:0{size}}",
    "S": lambda moment, size: f"{moment.microsecond // 1000:03}"[:size].ljust(size, "0"),
    "Z": lambda moment, size: moment.strftime("%z") if size == 1 else moment.strftime("%z")[:3] + ":" + moment.strftime("%z")[3:],
}


@lru_cache(maxsize=1000)
def formatter(pattern):
    """Return moment -> text by a pattern."""
    parts = []
    for letter, value in _tokens(pattern):
        if letter is not None and letter not in _WRITE:
            raise ConfigurationError(f"Illegal pattern component: {letter * value} in the date format '{pattern}'")
        parts.append((_WRITE.get(letter), value))

    def write(moment):
        return "".join([value if part is None else part(moment, value) for part, value in parts])

    return write


_NUMBERS = {
    "y": "year", "Y": "year", "d": "day", "D": "ordinal", "H": "hour", "h": "half", "K": "half0", "k": "hour24", "m": "minute", "s": "second", "e": None,
}
_MONTH = "|".join(f"{name}|{name[:3]}" for name in MONTHS)
_DAY = "|".join(f"{name}|{name[:3]}" for name in DAYS)


def _reading(pattern):
    """Return the regular expression that reads a pattern."""
    tokens = list(_tokens(pattern))
    parts = []
    for position, (letter, size) in enumerate(tokens):
        # A number followed by another without a sign between them takes only its own digits.
        alone = position + 1 == len(tokens) or tokens[position + 1][0] is None
        if letter is None:
            parts.append(re.escape(size))
        elif letter in "yY":
            digits = "[0-9]{2}" if size == 2 else ("[+-]?[0-9]+" if alone else f"[0-9]{{{size}}}")
            parts.append(f"(?P<year{'2' if size == 2 else ''}>{digits})")
        elif letter == "M":
            parts.append(f"(?P<month>{'[0-9]{1,2}' if alone else f'[0-9]{{{size}}}'})" if size < 3 else f"(?P<month_name>{_MONTH})")
        elif letter in _NUMBERS:
            name = _NUMBERS[letter]
            digits = f"[0-9]{{1,{max(size, 2 if letter != 'D' else 3)}}}" if alone else f"[0-9]{{{size}}}"
            parts.append(f"(?P<{name}>{digits})" if name else f"(?:{digits})")
        elif letter == "S":
            parts.append("(?P<fraction>[0-9]+)" if alone else f"(?P<fraction>[0-9]{{{size}}})")
        elif letter == "E":
            parts.append(f"(?:{_DAY})")
        elif letter == "a":
            parts.append("(?P<half_day>AM|PM)")
        elif letter == "Z":
            parts.append("(?P<offset>[+-][0-9]{2}:?[0-9]{2}|Z)" if size < 3 else "(?P<zone>[A-Za-z_]+(?:/[A-Za-z_+0-9-]+)*)")
        else:
            raise ConfigurationError(f"Illegal pattern component: {letter * size} in the date format '{pattern}'")
    return re.compile("".join(parts), re.IGNORECASE)


@lru_cache(maxsize=1000)
def parser(pattern):
    """Return (text, zone) -> datetime with a zone, or None where the text does not fit."""
    expression = _reading(pattern)
    has_year = "year" in expression.groupindex or "year2" in expression.groupindex

    def read(text, zone):
        found = expression.fullmatch(text)
        if not found:
            return None
        try:
            return _assemble(found.groupdict(), zone, has_year)
        except (ValueError, KeyError):
            return None

    return read


def _assemble(fields, zone, has_year):
    if fields.get("offset"):
        zone = _offset(fields["offset"])
    elif fields.get("zone"):
        zone = ZoneInfo(fields["zone"])
    month = int(fields.get("month") or 1)
    if fields.get("month_name"):
        month = next(index for index, name in enumerate(MONTHS, 1) if name[:3].lower() == fields["month_name"][:3].lower())
    if fields.get("year2"):
        year = _pivot(int(fields["year2"]))
    else:
        year = int(fields["year"]) if has_year else _guess_year(month, datetime.now(zone))
    moment = datetime(
        year, month, int(fields.get("day") or 1), _hour(fields), int(fields.get("minute") or 0), int(fields.get("second") or 0),
        int((fields.get("fraction") or "0")[:3].ljust(3, "0")) * 1000, zone,
    )
    if fields.get("ordinal"):
        moment = moment.replace(month=1, day=1) + timedelta(days=int(fields["ordinal"]) - 1)
    return moment


def _hour(fields):
    if fields.get("half") is not None or fields.get("half0") is not None:
        hour = int(fields.get("half") or fields.get("half0")) % 12
        return hour + (12 if (fields.get("half_day") or "am").lower() == "pm" else 0)
    return int(fields.get("hour24") or 0) % 24 if fields.get("hour24") else int(fields.get("hour") or 0)


def _offset(text):
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "")
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _pivot(two_digits):
    """Return the year of two digits: within fifty years around 2000's present, as Joda's default pivot does."""
    present = datetime.now(UTC).year
    century = (present - 50) // 100 * 100
    year = century + two_digits
    return year if year >= present - 50 else year + 100


def _guess_year(month, present):
    """Return the year of a date without one: near the turn of the year, the one that lies close."""
    if present.month == 12 and month == 1:
        return present.year + 1
    if present.month == 1 and month == 12:
        return present.year - 1
    return present.year
