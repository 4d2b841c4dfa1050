"""Translates Ruby's regular expressions into Python's; what has no equal is refused."""

import re
from functools import lru_cache

from .errors import ConfigurationError

# Ruby's \d, \w, \s and \h know ASCII only.
_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": r" \t\r\n\f\v", "h": "0-9a-fA-F"}
_BEYOND_ASCII = r"\u0080-\U0010ffff"
_POSIX = {
    "alpha": r"^\W\d_", "digit": r"0-9", "alnum": r"^\W_", "upper": "A-Z", "lower": "a-z", "punct": r"!-/:-@\[-`{-~", "space": r"\s", "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f", "xdigit": "0-9a-fA-F", "word": r"\w", "print": r" -~" + _BEYOND_ASCII, "graph": r"!-~" + _BEYOND_ASCII,
}
_SAME = frozenset("tnrfvabB0123456789")
_LINE_BREAK = r"(?:\r\n|[\n\v\f\r\u0085\u2028\u2029])"


@lru_cache(maxsize=5000)
def compiled(source, flags=0):
    """Return the compiled expression; raises ConfigurationError with Ruby's source and the reason."""
    try:
        return re.compile(translate(source), re.MULTILINE | flags)
    except re.error as error:
        raise ConfigurationError(f"regular expression /{source}/: {error} (this stand-in runs Python's expressions)") from None


def translate(source):
    """Return the Python expression that matches what a Ruby one matches."""
    return _Translator(source).run()


class _Translator:
    def __init__(self, source):
        self.source, self.at, self.out = source, 0, []
        # With a named group, Ruby's plain parentheses do not capture.
        self.plain = "(?:" if re.search(r"(?<!\\)\(\?(<[A-Za-z_]|')", source) else "("
        # Groups that a later (?i) opened, to be closed with the group that it stands in.
        self.depths = [0]

    def refuse(self, what):
        return ConfigurationError(f"regular expression /{self.source}/: {what} is not implemented by this stand-in")

    def run(self):
        while self.at < len(self.source):
            sign = self.source[self.at]
            if sign == "\\":
                self.escape()
            elif sign == "[":
                self.bracket()
            elif sign == "(":
                self.group()
            elif sign == ")":
                self.out.append(")" * (1 + self.depths.pop()))
                if not self.depths:
                    raise self.refuse("an unmatched close parenthesis")
                self.at += 1
            elif sign == "$":
                self.out.append(r"(?=\n|\Z)")
                self.at += 1
            elif sign == "{":
                self.interval()
            else:
                self.out.append(sign)
                self.at += 1
        self.out.append(")" * self.depths[0])
        return "".join(self.out)

    def interval(self):
        found = re.compile(r"\{[0-9]*,?[0-9]*\}(\+)?").match(self.source, self.at)
        if found and found[1]:
            raise self.refuse("{n,m}+")
        text = found[0] if found and found[0] not in ("{}", "{,}") else r"\{"
        self.out.append(text)
        self.at += len(text) if found and text != r"\{" else 1

    def escape(self):
        sign = self.source[self.at + 1:self.at + 2]
        self.at += 2
        if sign in ("z", "Z", "A"):
            self.out.append({"z": r"\Z", "Z": r"(?=\n?\Z)", "A": r"\A"}[sign])
        elif sign.lower() in _CLASSES and sign:
            self.out.append(f"[{'^' if sign.isupper() else ''}{_CLASSES[sign.lower()]}]")
        elif sign in ("p", "P"):
            self.out.append(f"[{self.property(sign == 'P')}]")
        elif sign == "R":
            self.out.append(_LINE_BREAK)
        elif sign == "k":
            found = re.compile(r"<([A-Za-z_]\w*)>").match(self.source, self.at)
            if not found:
                raise self.refuse(r"\k without a name")
            self.at = found.end()
            self.out.append(f"(?P={found[1]})")
        else:
            self.out.append(self.character(sign))

    def character(self, sign):
        """Return an escape that means one sign, or one that both languages write alike."""
        if sign == "e":
            return r"\x1b"
        if sign in ("x", "u"):
            digits = r"\{([0-9a-fA-F]{1,6})\}" if self.source.startswith("{", self.at) else rf"([0-9a-fA-F]{{{'1,2' if sign == 'x' else '4'}}})"
            found = re.compile(digits).match(self.source, self.at)
            if not found:
                raise self.refuse(f"\\{sign} without its digits")
            self.at = found.end()
            return f"\\U{int(found[1], 16):08x}"
        if sign in _SAME and sign:
            return f"\\{sign}"
        if sign.isalnum() or not sign:
            raise self.refuse(f"\\{sign}")
        return re.escape(sign)

    def property(self, negated):
        found = re.compile(r"\{(\^?)(\w+)\}").match(self.source, self.at)
        names = {"alpha": "alpha", "l": "alpha", "digit": "digit", "nd": "digit", "alnum": "alnum", "space": "space", "upper": "upper", "lu": "upper",
                 "lower": "lower", "ll": "lower", "punct": "punct", "word": "word", "xdigit": "xdigit", "cntrl": "cntrl"}
        if not found or found[2].lower() not in names:
            raise self.refuse(r"this \p{…}")
        self.at = found.end()
        content = _POSIX[names[found[2].lower()]]
        if negated != bool(found[1]):
            return content[1:] if content.startswith("^") else f"^{content}"
        return content

    def group(self):
        rest = self.source[self.at:]
        named = re.match(r"\(\?<([A-Za-z_]\w*)>", rest) or re.match(r"\(\?'([A-Za-z_]\w*)'", rest)
        flags = re.match(r"\(\?([imx]*)(?:-([imx]*))?([:)])", rest)
        if named:
            self.open(f"(?P<{named[1]}>", len(named[0]))
        elif re.match(r"\(\?(:|=|!|<=|<!|>)", rest):
            text = re.match(r"\(\?(:|=|!|<=|<!|>)", rest)[0]
            self.open(text, len(text))
        elif rest.startswith("(?#"):
            end = rest.find(")")
            if end < 0:
                raise self.refuse("an open comment")
            self.at += end + 1
        elif flags:
            self.flags(flags)
        elif rest.startswith("(?"):
            raise self.refuse(rest[:4])
        else:
            self.open(self.plain, 1)

    def open(self, text, length):
        self.out.append(text)
        self.depths.append(0)
        self.at += length

    def flags(self, found):
        # Ruby's m lets the dot match a line break: Python's s.
        on, off = (part.replace("m", "s") for part in (found[1], found[2] or ""))
        text = f"(?{on}{f'-{off}' if off else ''}:" if on or off else "(?:"
        self.at += len(found[0])
        self.out.append(text)
        if found[3] == ":":
            self.depths.append(0)
        else:
            # It holds to the end of the group that it stands in.
            self.depths[-1] += 1

    def bracket(self):
        content, self.at = self.set_content(self.at)
        self.out.append(content)

    def set_content(self, start):
        """Return a bracket expression in Python's writing, and where it ends."""
        self.at = start + 1
        parts, negated = [], False
        if self.source.startswith("^", self.at):
            negated = True
            self.at += 1
        first = True
        while True:
            if self.at >= len(self.source):
                raise self.refuse("a bracket that is not closed")
            sign = self.source[self.at]
            if sign == "]" and not first:
                break
            first = False
            if self.source.startswith("[:", self.at):
                parts.append(self.posix())
            elif sign == "[":
                inner, self.at = self.set_content(self.at)
                if inner.startswith("[^"):
                    raise self.refuse("a negated bracket inside a bracket")
                parts.append(inner[1:-1])
            elif self.source.startswith("&&", self.at):
                raise self.refuse("&&")
            elif sign == "\\":
                parts.append(self.set_escape())
            else:
                parts.append("\\" + sign if sign in "]&~|" else sign)
                self.at += 1
        text = "".join(parts)
        if text.startswith("^") and not negated:
            text = "\\" + text
        for one in ("^\\W\\d_", "^\\W_"):
            # Letters of every script cannot be named inside a bracket in Python, unless they stand alone there.
            if f"\x00{one}\x00" in text:
                if text != f"\x00{one}\x00":
                    text = text.replace(f"\x00{one}\x00", "a-zA-Z" + ("0-9" if one == "^\\W_" else "") + _BEYOND_ASCII)
                else:
                    return (f"[{one}]" if not negated else f"[{one[1:]}]"), self.at + 1
        return f"[{'^' if negated else ''}{text}]", self.at + 1

    def posix(self):
        found = re.compile(r"\[:(\^?)(\w+):\]").match(self.source, self.at)
        if not found or found[2] not in _POSIX or found[1]:
            raise self.refuse(found[0] if found else "[:")
        self.at = found.end()
        content = _POSIX[found[2]]
        return f"\x00{content}\x00" if content.startswith("^") else content

    def set_escape(self):
        sign = self.source[self.at + 1:self.at + 2]
        self.at += 2
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in ("D", "W", "S"):
            return f"\\{sign}{_BEYOND_ASCII}" + (r"\x1c-\x1f" if sign == "S" else "")
        if sign == "p":
            content = self.property(False)
            return f"\x00{content}\x00" if content.startswith("^") else content
        if sign == "b":
            return r"\x08"
        return self.character(sign)


@lru_cache(maxsize=5000)
def replacement(source):
    """Return match -> text for a replacement in Ruby's writing: \\1, \\0, \\k<name>, \\\\."""
    parts = re.split(r"(\\(?:[0-9&\\]|k<\w+>))", source)
    if len(parts) == 1:
        return lambda match: source

    def one(part):
        if not part.startswith("\\") or len(part) == 1:
            return lambda match: part
        if part[1] == "\\":
            return lambda match: "\\"
        if part[1] == "k":
            name = part[3:-1]
            return lambda match: match[name] or ""
        number = 0 if part[1] == "&" else int(part[1])
        return lambda match: (match[number] or "") if number <= (match.re.groups or 0) else ""

    pieces = [one(part) for part in parts if part]
    return lambda match: "".join([piece(match) for piece in pieces])
