"""What all filters share: their common options, applied where the filter succeeded."""

from .. import options, references
from ..event import template, text
from ..plugin import Plugin


class Filter(Plugin):
    """A filter: `filter(event)` returns whether it succeeded."""

    TYPE = "filter"
    COMMON = options.OF_FILTERS

    def __init__(self, plugin_id, given, context):
        super().__init__(plugin_id, given, context)
        self.decorate = _decoration(self.options)

    def filter(self, event):
        raise NotImplementedError

    def tag_failure(self, event):
        for tag in self.options["tag_on_failure"]:
            event.tag(tag)


def _decoration(given):
    """Return event -> nothing, which applies add_field, remove_field, add_tag and remove_tag; None where there is nothing to do."""
    steps = [_adder(name, value) for name, values in given["add_field"].items() for value in (values if isinstance(values, list) else [values])]
    steps += [_remover(name) for name in given["remove_field"]]
    steps += [_tagger(tag) for tag in given["add_tag"]]
    steps += [_untagger(tag) for tag in given["remove_tag"]]
    if not steps:
        return None

    def decorate(event):
        for step in steps:
            step(event)

    return decorate


def _adder(name, value):
    field, fill = template(name), template(value)

    def add(event):
        key = field(event)
        existing = event.get(key)
        new = fill(event)
        if existing is None:
            event.set(key, new)
        else:
            event.set(key, [*existing, new] if isinstance(existing, list) else [existing, new])

    return add


def _remover(name):
    if "%{" not in name:
        return references.remover(name)
    field = template(name)
    return lambda event: event.remove(field(event))


def _tagger(tag):
    fill = template(tag)
    return lambda event: event.tag(fill(event))


def _untagger(tag):
    fill = template(tag)

    def untag(event):
        tags = event.data.get("tags")
        if isinstance(tags, list):
            name = fill(event)
            event.data["tags"] = [one for one in tags if one != name]

    return untag


def add_decorator(given):
    """Return event -> nothing, which applies an input's add_field, tags and type; None where there is nothing to do."""
    steps = [_adder(name, value) for name, value in given["add_field"].items()] + [_tagger(tag) for tag in given["tags"] or ()]
    if given["type"]:
        steps.append(lambda event: event.data.setdefault("type", text(given["type"])))
    return (lambda event: [step(event) for step in steps]) if steps else None
