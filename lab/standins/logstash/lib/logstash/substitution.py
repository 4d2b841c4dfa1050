"""Puts values of the environment where ${NAME} or ${NAME:default} stands."""

import re

from .errors import ConfigurationError

_PLACEHOLDER = re.compile(r"\$\{(?P<name>[a-zA-Z_.][a-zA-Z0-9_.]*)(?::(?P<default>[^}]*))?\}")


def replace(value, variables):
    """Return a text with its placeholders replaced; raises ConfigurationError for a variable without a value."""
    if not isinstance(value, str) or "${" not in value:
        return value

    def found(match):
        text = variables.get(match["name"], match["default"])
        if text is None:
            raise ConfigurationError(
                f"Cannot evaluate `{match[0]}`. Replacement variable `{match['name']}` is not defined in a Logstash secret store "
                "or as an Environment entry and there is no default value given."
            )
        return text

    return _PLACEHOLDER.sub(found, value)


def replace_deep(value, variables):
    """Return a value with the placeholders of all its texts replaced."""
    if isinstance(value, dict):
        return {key: replace_deep(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_deep(item, variables) for item in value]
    return replace(value, variables)
