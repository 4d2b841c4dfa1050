"""Field references such as [http][request][method], made into functions once."""

from functools import lru_cache

from .errors import ConfigurationError

METADATA = "@metadata"


@lru_cache(maxsize=10000)
def parse(text):
    """Return a reference's keys; raises ConfigurationError for one with a bracket out of place."""
    if "[" not in text and "]" not in text:
        if not text:
            raise ConfigurationError("Invalid FieldReference: ``")
        return (text,)
    if not (text.startswith("[") and text.endswith("]")):
        raise ConfigurationError(f"Invalid FieldReference: `{text}`")
    keys = tuple(text[1:-1].split("]["))
    if any(not key or "[" in key or "]" in key for key in keys):
        raise ConfigurationError(f"Invalid FieldReference: `{text}`")
    return keys


def _index(values, key):
    """Return a list's element by a reference's key, or None."""
    try:
        return values[int(key)]
    except (ValueError, IndexError):
        return None


def _step(value, key):
    if type(value) is dict:
        return value.get(key)
    return _index(value, key) if type(value) is list else None


@lru_cache(maxsize=10000)
def getter(text):
    """Return event -> value of the field, None where it is missing."""
    keys = parse(text)
    if keys[0] == METADATA:
        rest = keys[1:]
        if not rest:
            return lambda event: event.metadata

        def from_metadata(event):
            value = event.metadata
            for key in rest:
                value = _step(value, key)
                if value is None:
                    return None
            return value

        return from_metadata
    if len(keys) == 1:
        only = keys[0]
        return lambda event: event.data.get(only)
    if len(keys) == 2:
        first, second = keys

        def of_two(event):
            value = event.data.get(first)
            return value.get(second) if type(value) is dict else _step(value, second)

        return of_two

    def of_many(event):
        value = event.data
        for key in keys:
            value = _step(value, key)
            if value is None:
                return None
        return value

    return of_many


def _container(event, keys, create):
    """Return (object that holds the last key, last key), or None where it is missing."""
    if keys[0] == METADATA:
        value, keys = event.metadata, keys[1:]
    else:
        value = event.data
    for key in keys[:-1]:
        following = _step(value, key)
        if following is None:
            if not create:
                return None
            if type(value) is not dict:
                raise TypeError(f"Could not set field '{keys[-1]}' on object '{value}'")
            following = value[key] = {}
        value = following
    return value, keys[-1]


@lru_cache(maxsize=10000)
def setter(text):
    """Return (event, value) -> nothing, which sets the field and makes the objects around it."""
    keys = parse(text)
    if keys == (METADATA,):
        def whole(event, value):
            if type(value) is not dict:
                raise TypeError(f"Could not set field '{METADATA}' to value '{value}'")
            event.metadata = value

        return whole
    if keys == ("@timestamp",):
        return lambda event, value: event.set_timestamp(value)
    if keys == ("tags",):
        return lambda event, value: event.set_tags(value)
    if len(keys) == 1:
        only = keys[0]

        def set_top(event, value):
            event.data[only] = value

        return set_top

    def set_nested(event, value):
        container, key = _container(event, keys, True)
        if type(container) is dict:
            container[key] = value
        elif type(container) is list and key.lstrip("-").isdigit():
            container.extend([None] * (int(key) + 1 - len(container)))
            container[int(key)] = value
        else:
            raise TypeError(f"Could not set field '{key}' on object '{container}' to value '{value}'")

    return set_nested


@lru_cache(maxsize=10000)
def remover(text):
    """Return event -> the removed value, None where the field was missing."""
    keys = parse(text)

    def remove(event):
        if keys == (METADATA,):
            value, event.metadata = event.metadata, {}
            return value
        found = _container(event, keys, False)
        if found is None:
            return None
        container, key = found
        if type(container) is dict:
            return container.pop(key, None)
        if type(container) is list:
            try:
                return container.pop(int(key))
            except (ValueError, IndexError):
                return None
        return None

    return remove


@lru_cache(maxsize=10000)
def tester(text):
    """Return event -> whether the field is there, be it null."""
    keys = parse(text)

    def included(event):
        if keys == (METADATA,):
            return True
        found = _container(event, keys, False)
        if found is None:
            return False
        container, key = found
        if type(container) is dict:
            return key in container
        return type(container) is list and _index(container, key) is not None

    return included
