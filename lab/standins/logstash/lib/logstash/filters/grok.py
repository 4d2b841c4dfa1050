"""grok: matches a text against named patterns and keeps what they found."""

import re

from .. import options, patterns, references, ruby_regexp
from ..errors import ConfigurationError
from ..event import text
from .base import Filter

_USE = re.compile(r"%\{(\w+)(?::([^}:]+))?(?::(int|float|string))?\}")
_CAPTURE = re.compile(r"\(\?<(?![=!])([^>]+)>")
_DEPTH = 100
_TYPES = {"int": lambda value: int(re.match(r"[+-]?\d+", value)[0]) if re.match(r"[+-]?\d+", value) else 0, "float": lambda value: float(value), "string": str}


class Grok(Filter):
    """See Logstash's documentation of the grok filter."""

    NAME = "grok"
    OPTIONS = options.declare({
        "match": options.hash_({}), "pattern_definitions": options.hash_({}), "patterns_dir": options.absent(), "patterns_files_glob": options.absent(),
        "break_on_match": options.boolean(True), "named_captures_only": options.boolean(True), "keep_empty_captures": options.boolean(False),
        "tag_on_failure": options.array(["_grokparsefailure"]), "overwrite": options.array([]), "target": options.string(),
        "timeout_millis": options.absent(), "timeout_scope": options.absent(), "tag_on_timeout": options.absent(), **options.ECS,
    })

    def register(self):
        if not self["named_captures_only"]:
            raise ConfigurationError("grok: named_captures_only => false is not implemented by this stand-in")
        known = patterns.PATTERNS | self["pattern_definitions"]
        self._groks = [
            (references.getter(field), [_compile(source, known, self["target"]) for source in (sources if isinstance(sources, list) else [sources])])
            for field, sources in self["match"].items()
        ]

    def filter(self, event):
        matched = False
        for get, groks in self._groks:
            value = get(event)
            for one in value if isinstance(value, list) else [value]:
                matched = (one is not None and self._match(event, one if isinstance(one, str) else text(one), groks)) or matched
            if matched and self["break_on_match"]:
                break
        if not matched:
            self.tag_failure(event)
        return matched

    def _match(self, event, value, groks):
        matched = False
        for expression, captures in groks:
            found = expression.search(value)
            if found:
                matched = True
                self._keep(event, found, captures)
                if self["break_on_match"]:
                    break
        return matched

    def _keep(self, event, found, captures):
        for group, field, change in captures:
            value = found[group]
            if not value and not (self["keep_empty_captures"] and value is not None):
                continue
            value = change(value) if change else value
            present = None if field in self["overwrite"] else event.get(field)
            if present is None:
                event.set(field, value)
            elif isinstance(present, list):
                present.append(value)
            else:
                event.set(field, [present, value])


def _compile(source, known, target):
    """Return (expression, [(group, field, change of type)])."""
    captures = []

    def capture(name, kind=None):
        group = f"g{len(captures)}"
        path = "".join(f"[{key}]" for key in references.parse(name))
        captures.append((group, f"[{target}]{path}" if target else path if path.count("[") > 1 else name, _TYPES.get(kind)))
        return group

    def expand(text_, depth):
        if depth > _DEPTH:
            raise ConfigurationError(f"grok: patterns of '{source}' lead back to themselves")

        def use(match):
            name, field, kind = match.groups()
            if name not in known:
                raise ConfigurationError(f"pattern %{{{match[0][2:-1]}}} not defined")
            # The outer name comes first, as its group opens first.
            opening = f"(?<{capture(field, kind)}>" if field else "(?:"
            return f"{opening}{expand(known[name], depth + 1)})"

        pieces, at = [], 0
        for match in re.finditer(f"{_USE.pattern}|{_CAPTURE.pattern}", text_):
            pieces.append(text_[at:match.start()])
            whole = match[0]
            pieces.append(use(_USE.fullmatch(whole)) if whole.startswith("%") else f"(?<{capture(_CAPTURE.fullmatch(whole)[1])}>")
            at = match.end()
        pieces.append(text_[at:])
        return "".join(pieces)

    return ruby_regexp.compiled(expand(source, 0)), captures
