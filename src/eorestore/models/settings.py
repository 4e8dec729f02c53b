"""Settings of models to plain values and back; knows no particular model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from eorestore.config import parse_settings
from eorestore.models.model import Settings

_S = TypeVar("_S", bound=Settings)


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    """Plain values for JSON and YAML: tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return plain


def settings_from_dict(settings_type: type[_S], values: Mapping[str, Any], *, model: str = "") -> _S:
    """The inverse of `settings_to_dict`; absent keys take their defaults.

    Raises:
        ConfigError: an unknown key (with the valid ones) or a value of the wrong type, all named at once.
    """
    return parse_settings(settings_type, values, source=f"settings of {model or settings_type.__name__}")
