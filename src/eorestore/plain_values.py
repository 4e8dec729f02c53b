"""Plain nested values: YAML in and out, dotted keys, differences; knows no settings.

A value is a number, a text, a bool, None, a list, or keys with values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from eorestore.errors import ConfigError


def read_yaml(text: str, *, source: str) -> object:
    """YAML as plain values; `1e-4` is a number and a key given twice an error. Raises ConfigError."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(problem=f"key {', '.join(twice)} is given twice")
        return {
            key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)
        }

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    # YAML 1.1 reads 1e-4 as a text, because its numbers need a point
    number = re.compile(r"[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{source} is not YAML: {line}", fix="correct the file") from None


def write_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML in the order given."""
    import yaml

    return str(yaml.safe_dump(dict(values), sort_keys=False))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, each with its old and new value; None where a key is absent."""
    flat = [dict(flattened(old)), dict(flattened(new))]
    keys = sorted(flat[0].keys() | flat[1].keys())
    return {key: (flat[0].get(key), flat[1].get(key)) for key in keys if flat[0].get(key) != flat[1].get(key)}


def flattened(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and their values, in order; a list is one value."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        rows += flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows


def override_pairs(overrides: Mapping[str, object] | Sequence[str]) -> list[tuple[str, object]]:
    """Dotted keys and plain values of {"training.steps": 10} or ["training.steps=10"]. Raises ConfigError."""
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    pairs: list[tuple[str, object]] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"-s {text!r} has no key=value", fix="write -s training.steps=100")
        pairs.append((key.strip(), read_yaml(value, source=f"-s {text}")))
    return pairs


def lay_over(values: dict[str, Any], key: str, value: object) -> None:
    """Set the dotted `key` of nested plain values, in place. Raises ConfigError where a parent has no keys."""
    *parents, last = key.split(".")
    for parent in parents:
        below = values.setdefault(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"-s {key}: {parent} is {below!r} and has no keys", fix="name the key by its full path")
        values = below
    values[last] = value
