"""Site values in shipped texts: `[[ thresholds.node.HostDown.for ]]` in rules, their tests and runbooks. No Ansible here.

Only expressions exist, no loops or conditions, so a rule file stays readable as what the product reads. Each problem names
the file, the line, what is wrong and what to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import typing as t

from jinja2 import TemplateError, nodes
from jinja2.runtime import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

# Not at "[[[": the first bracket of `x[[[ window ]]]` is PromQL's own.
EXPRESSION = re.compile(r"\[\[(?!\[)(.*?)\]\]", re.DOTALL)
DURATION = re.compile(r"^(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$")
UNIT_SECONDS = {"y": 31536000, "w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
# Prometheus prints ratios by Go's %.4g; Python's g is the same.
PERCENT_DIGITS = ".4g"
# Enough to be exact for what people write (0.9, 1e-6), few enough to hide 1 - 0.9 = 0.09999999999999998.
NUMBER_DIGITS = ".12g"
SHOWN_PROBLEMS = 5
# Where the shipped thresholds lie in the project; a comment above a value says which values keep the alert's meaning.
THRESHOLDS_FILE = "group_vars/all/thresholds.yml"
KEY = re.compile(r"^( *)(\w+):")
SENSIBLE = re.compile(r"Sensible: ([\w.]+)-([\w.]+)\.(?: |$)")


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a file that people write."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


class ExpressionError(ValueError):
    """Why one expression has no usable value."""


class ContentError(Exception):
    """All problems found in one go; the text shows the first ones."""

    def __init__(self, problems: t.Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        lines = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"and {len(self.problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join(lines))


def nearest(name: t.Any, valid: t.Iterable[t.Any]) -> str:
    """Return ' Did you mean "x"?' for the valid name that is most like a wrong one, else the valid names, else nothing."""
    names = sorted(str(entry) for entry in valid)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f' Did you mean "{close[0]}"?'
    return f" Valid: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}." if names else ""


# -- durations as Prometheus writes them


def is_duration(value: t.Any) -> bool:
    return isinstance(value, str) and bool(DURATION.match(value))


def seconds(value: str) -> float:
    """Return the seconds of a duration: '1h30m' -> 5400."""
    if not is_duration(value):
        raise ValueError(f'"{value}" is not a duration such as 5m or 1h30m')
    parts = re.findall(r"(\d+)(ms|[ywdhms])", value)
    total = sum(int(number) * UNIT_SECONDS.get(unit, 0.001) for number, unit in parts)
    return int(total) if total == int(total) else total


def duration(value: float) -> str:
    """Return seconds as the shortest duration that promtool reads: 5400 -> '1h30m'."""
    if value < 0:
        raise ValueError(f"a duration of {value:g} s is below zero")
    rest, text = round(value), ""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, UNIT_SECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def humanize_duration(value: float) -> str:
    """Return seconds as Prometheus' humanizeDuration prints whole ones: 1814340 -> '20d 23h 59m 0s'. Tests need it."""
    days, rest = divmod(round(value), 86400)
    hours, rest = divmod(rest, 3600)
    parts = ((days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s"))
    first = next((index for index, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number}{unit}" for number, unit in parts[first:])


FILTERS: dict[str, t.Callable[..., t.Any]] = {
    "seconds": seconds,
    "minutes": lambda value: int(seconds(value) // 60),
    "duration": duration,
    "plus": lambda value, other: duration(seconds(value) + seconds(other)),
    "minus": lambda value, other: duration(seconds(value) - seconds(other)),
    "longest": lambda value, other: max(value, other, key=seconds),
    "humanize_duration": humanize_duration,
    "percent": lambda value: f"{value * 100:{PERCENT_DIGITS}}%",
}


# -- rendering


class _Environment(SandboxedEnvironment):
    """Dots read a mapping's entries only, so that a threshold may be called `count` or `items`."""

    def getattr(self, obj: t.Any, attribute: str) -> t.Any:
        if isinstance(obj, t.Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


class Values:
    """The names that texts may use, and what was asked of them (`used`: dotted paths, for the proof that no threshold is idle)."""

    def __init__(self, context: t.Mapping[str, t.Any]) -> None:
        self.context = dict(context)
        self.used: set[str] = set()
        self._environment = _Environment(undefined=StrictUndefined, autoescape=False)
        self._environment.filters.update(FILTERS)
        self._compiled: dict[str, t.Callable[..., t.Any]] = {}

    def evaluate(self, source: str) -> t.Any:
        """Return the value of one expression; raises ExpressionError with the reason."""
        source = source.strip()
        if not source:
            raise ExpressionError("[[ ]] is empty")
        try:
            if source not in self._compiled:
                tree = self._environment.parse("{{ " + source + " }}")
                self._resolve(tree)
                self._compiled[source] = self._environment.compile_expression(source, undefined_to_none=False)
            value = self._compiled[source](**self.context)
        except TemplateError as error:
            raise ExpressionError(
                f"[[ {source} ]] cannot be read: {str(error).rstrip('.')}. It must be one expression over {', '.join(sorted(self.context))}"
            ) from None
        except ExpressionError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise ExpressionError(f"[[ {source} ]] cannot be computed: {error}") from None
        if isinstance(value, (bool, dict, list, tuple)) or not isinstance(value, (str, int, float)):
            kind = {"dict": "a mapping", "list": "a list", "bool": "true or false"}.get(type(value).__name__, "no value")
            inside = nearest("", value) if isinstance(value, dict) else ""
            raise ExpressionError(f"[[ {source} ]] is {kind}; a text or a number is needed.{inside}")
        return value

    def text(self, text: str, problem: t.Callable[[int, str], None]) -> str:
        """Return a text with its expressions replaced. `problem` gets (offset in the text, message)."""

        def replace(match: re.Match) -> str:
            try:
                return show(self.evaluate(match[1]))
            except ExpressionError as error:
                problem(match.start(), str(error))
                return ""

        return EXPRESSION.sub(replace, text)

    def page(self, text: str, path: str) -> str:
        """Return a whole file rendered; raises ContentError."""
        problems: list[Problem] = []
        result = self.text(text, lambda at, message: problems.append(Problem(path, text.count("\n", 0, at) + 1, message)))
        if problems:
            raise ContentError(problems)
        return result

    def _resolve(self, tree: nodes.Node) -> None:
        """Follow each dotted path through the context before anything runs: jinja2's own error names neither path nor neighbours."""
        for path in _dotted_paths(tree):
            place: t.Any = self.context
            for depth, name in enumerate(path):
                if not isinstance(place, t.Mapping):
                    break
                if name not in place:
                    parent = ".".join(map(str, path[:depth]))
                    inside = f" in {parent}" if parent else ""
                    raise ExpressionError(f'"{name}" of [[ {".".join(map(str, path))} ]] is not known{inside}.{nearest(name, place)}')
                place = place[name]
            self.used.add(".".join(map(str, path)))


def _dotted_paths(node: nodes.Node) -> t.Iterator[tuple[t.Any, ...]]:
    """Yield the longest `a.b["c"]` paths of a syntax tree."""
    path = _path(node)
    if path:
        yield path
        return
    for child in node.iter_child_nodes():
        yield from _dotted_paths(child)


def _path(node: nodes.Node) -> tuple[t.Any, ...]:
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr):
        parent = _path(node.node)
        return (*parent, node.attr) if parent else ()
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        parent = _path(node.node)
        return (*parent, node.arg.value) if parent else ()
    return ()


def show(value: t.Any) -> str:
    return f"{value:{NUMBER_DIGITS}}" if isinstance(value, float) else str(value)


# -- thresholds


def merge_thresholds(shipped: t.Mapping[str, t.Any], site: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the shipped thresholds with the site's laid over them, value by value."""
    merged = dict(shipped)
    for key, value in site.items():
        inner = merged.get(key)
        merged[key] = merge_thresholds(inner, value) if isinstance(inner, t.Mapping) and isinstance(value, t.Mapping) else value
    return merged


def service_team(teams: t.Mapping[str, t.Any], platform: str) -> str:
    """Return a label's text that is the team of the service which the alert names: service -> team; the platform's for all others."""
    choices = "".join(f'{{{{ else if eq $labels.service_name "{name}" }}}}{team}' for name, team in sorted(teams.items()) if team and team != platform)
    return f"{{{{{choices.removeprefix('{{ else')}{{{{ else }}}}{platform}{{{{ end }}}}" if choices else platform


def scaled(thresholds: t.Any, scale: float) -> t.Any:
    """Return thresholds with every `for` multiplied, so that a test need not wait; a second at the least."""
    if scale == 1 or not isinstance(thresholds, t.Mapping):
        return thresholds
    return {
        key: duration(max(seconds(value) * scale, 1)) if key == "for" and is_duration(value) else scaled(value, scale)
        for key, value in thresholds.items()
    }


def threshold_mistakes(thresholds: t.Any, variable: str) -> list[Problem]:
    """Return what is wrong with the values by their keys' last word (for, ratio, days, …); `variable` is where they are set."""
    found: list[Problem] = []

    def walk(value: t.Any, path: str, key: str) -> None:
        if isinstance(value, t.Mapping):
            for name, entry in value.items():
                walk(entry, f"{path}.{name}", str(name))
            return
        wanted = _expected(key, value)
        if wanted:
            found.append(Problem(path, 0, f"{value!r} is not possible; expected {wanted}"))

    if not isinstance(thresholds, t.Mapping):
        return [Problem(variable, 0, f"expected a mapping of component, alert and value, got {thresholds!r}")]
    walk(thresholds, variable, "")
    return found


def _expected(key: str, value: t.Any) -> str:
    """Return what a threshold of that name must be, or nothing when it is that."""
    word = key.rsplit("_", 1)[-1]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if word in ("for", "window"):
        return "" if is_duration(value) else "a duration such as 5m or 1h30m"
    if word == "ratio":
        return "" if number and 0 <= value <= 1 else "a ratio from 0 to 1 (90 % is 0.9)"
    if word == "units":
        valid = isinstance(value, (list, tuple)) and value and all(isinstance(entry, str) and entry for entry in value)
        return "" if valid else "a list of names"
    return "" if number and value >= 0 else "a number, not below 0"


def unknown_thresholds(site: t.Any, shipped: t.Any, own_alerts: t.Mapping[str, set[str]], variable: str) -> list[Problem]:
    """Return the site's thresholds that no rule can read: `own_alerts` names the site's alerts, component -> names."""
    found: list[Problem] = []

    def walk(value: t.Any, known: t.Any, path: tuple[str, ...]) -> None:
        if not isinstance(value, t.Mapping) or not isinstance(known, t.Mapping):
            return
        for name, entry in value.items():
            place = (*path, str(name))
            if name in known and isinstance(known[name], t.Mapping) != isinstance(entry, t.Mapping):
                wanted = f"a mapping of {', '.join(known[name])}" if isinstance(known[name], t.Mapping) else "one value"
                found.append(Problem(".".join((variable, *place)), 0, f"{entry!r} is not possible; expected {wanted}"))
            elif name in known:
                walk(entry, known[name], place)
            elif len(place) == 1 and name in own_alerts:
                walk(entry, {}, place)
            elif not (len(place) > 1 and place[1] in own_alerts.get(place[0], ())):
                message = f"nothing shipped has this name, and no alert of the site's own has it.{nearest(name, known)}"
                found.append(Problem(".".join((variable, *place)), 0, message))

    walk(site, shipped, ())
    return found


def sensible_ranges(path: str) -> dict[tuple[str, ...], tuple[str, str]]:
    """Return the ranges that the comments of the shipped thresholds name, (component, alert, …, value) -> (lowest, highest); none without the file."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    if not os.path.isfile(path):
        return found
    with open(path, encoding="utf-8") as handle:
        rows = handle.read().splitlines()
    place: list[tuple[int, str]] = []
    comment = ""
    for row in rows:
        text = row.strip()
        if text.startswith("#"):
            comment += f"{text[1:]} "
            continue
        key = KEY.match(row)
        if key:
            place = [*((depth, name) for depth, name in place if depth < len(key[1])), (len(key[1]), key[2])]
            given = SENSIBLE.search(comment)
            if given:
                # Without the variable's own name.
                found[tuple(name for _, name in place[1:])] = (given[1], given[2])
        comment = ""
    return found


def range_mistakes(given: t.Any, ranges: t.Mapping[tuple[str, ...], tuple[str, str]], variable: str) -> list[Problem]:
    """Return the values that are outside of what is sensible; their types are right."""
    found: list[Problem] = []

    def size(value: t.Any) -> float:
        return seconds(value) if is_duration(value) else float(value)

    def walk(value: t.Any, path: tuple[str, ...]) -> None:
        if isinstance(value, t.Mapping):
            for name, entry in value.items():
                walk(entry, (*path, str(name)))
        elif path in ranges:
            low, high = ranges[path]
            if not size(low) <= size(value) <= size(high):
                message = f"{show(value)} is out of range; sensible is {low}-{high}"
                found.append(Problem(".".join((variable, *path)), 0, message))

    walk(given, ())
    return found


def given_mistakes(
    given: t.Any, known: t.Any, own_alerts: t.Mapping[str, set[str]], ranges: t.Mapping[tuple[str, ...], tuple[str, str]], variable: str
) -> list[Problem]:
    """Return all that is wrong with values that are laid over `known` ones."""
    found = threshold_mistakes(given, variable) or unknown_thresholds(given, known, own_alerts, variable)
    return found or range_mistakes(given, ranges, variable)
