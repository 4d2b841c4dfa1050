"""Conditions of `if`, made into functions of an event once."""

import operator
import re

from . import references, ruby_regexp
from .errors import ConditionError, ConfigurationError
from .grammar import Field, Regexp

_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def compile_condition(node):
    """Return event -> whether a parsed condition holds."""
    if isinstance(node, Field):
        get = references.getter(node.name)
        return lambda event: _truthy(get(event))
    compiler = _COMPILERS.get(node.operator)
    return compiler(node) if compiler else _ordering(node)


def _truthy(value):
    if value is None or value is False:
        return False
    return value not in ("", "false")


def _operand(node):
    """Return event -> value of a field, or of a constant."""
    if isinstance(node, Field):
        return references.getter(node.name)
    if isinstance(node, Regexp):
        raise ConfigurationError(f"/{node.source}/ stands where a field, string or number is expected")
    if isinstance(node, list):
        values = [_operand(item) for item in node]
        return lambda event: [value(event) for value in values]
    return lambda event: node


def _both(node):
    left, right = map(compile_condition, node.operands)
    return lambda event: left(event) and right(event)


def _either(node):
    left, right = map(compile_condition, node.operands)
    return lambda event: left(event) or right(event)


def _exclusive(node):
    left, right = map(compile_condition, node.operands)
    return lambda event: left(event) != right(event)


def _not_both(node):
    left, right = map(compile_condition, node.operands)
    return lambda event: not (left(event) and right(event))


def _negation(node):
    inner = compile_condition(node.operands[0])
    return lambda event: not inner(event)


def _same(left, right):
    if type(left) is bool or type(right) is bool:
        return left is right
    return left == right


def _equal(node):
    left, right = node.operands
    if isinstance(left, Field) and isinstance(right, str):
        # The usual comparison; a text equals only a text.
        get = references.getter(left.name)
        return lambda event: get(event) == right
    left, right = _operand(left), _operand(right)
    return lambda event: _same(left(event), right(event))


def _unequal(node):
    same = _equal(node)
    return lambda event: not same(event)


def _ordering(node):
    compare = _ORDER[node.operator]
    left, right = map(_operand, node.operands)

    def ordered(event):
        one, other = left(event), right(event)
        if one is None or other is None:
            return False
        try:
            return compare(one, other)
        except TypeError:
            raise ConditionError(f"{type(one).__name__} and {type(other).__name__} cannot be compared by {node.operator}") from None

    return ordered


def _membership(node):
    left, right = node.operands
    if isinstance(right, list) and not any(isinstance(item, (Field, list)) for item in right):
        constants = right
        get = _operand(left)
        return lambda event: any(_same(get(event), item) for item in constants)
    get, within = _operand(left), _operand(right)

    def contained(event):
        value, container = get(event), within(event)
        if value is None or container is None:
            return False
        if isinstance(container, str):
            return isinstance(value, str) and value in container
        if isinstance(container, list):
            return any(_same(value, item) for item in container)
        return _same(value, container)

    return contained


def _expression(node):
    right = node.operands[1]
    source = right.source if isinstance(right, Regexp) else right
    return ruby_regexp.compiled(re.sub(r"\\/", "/", source)).search


def _matches(node):
    get, search = references.getter(node.operands[0].name), _expression(node)

    def matches(event):
        value = get(event)
        return isinstance(value, str) and search(value) is not None

    return matches


def _matches_not(node):
    matches = _matches(node)
    return lambda event: not matches(event)


_COMPILERS = {
    "and": _both, "or": _either, "xor": _exclusive, "nand": _not_both, "!": _negation, "==": _equal, "!=": _unequal, "in": _membership,
    "=~": _matches, "!~": _matches_not,
}
