"""Writes docs/commands.md from the command line itself; knows no command by name.

    python docs/make_commands.py

It reads the signatures of the commands, not the parser made from them, so that every version of typer gives the
same page.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo

PAGE = Path(__file__).with_name("commands.md")
_HEAD = """# Commands

Written by `docs/make_commands.py` from the command line itself; `eorestore COMMAND --help` says the same.

Exit codes: 0 done, 2 usage, 3 weights or an optional package missing, 4 bad data, 5 could not write,
130 interrupted (`--resume` goes on). An error is one line, and one line `fix:` that says what to do.
"""
_WORDS = {bool: "", int: "N", float: "X", Path: "PATH", str: "TEXT"}


@dataclass(frozen=True)
class _Parameter:
    """One argument or option; `words` are its spellings."""

    words: tuple[str, ...]
    kind: str
    help: str
    default: Any
    is_argument: bool
    is_switch: bool

    @property
    def needed(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def row(self) -> str:
        names = ", ".join(f"`{word}`" for word in self.words)
        name = names if self.is_argument or self.is_switch else f"{names} {self.kind}"
        return f"| {_cell(name)} | {_cell(self.help)} | {_cell(self._default())} |\n"

    def _default(self) -> str:
        if self.needed:
            return "needed"
        if self.is_switch:
            return "on" if self.default else ""
        return "" if self.default in (None, "", [], ()) else f"`{self.default}`"


def commands_page() -> str:
    """The page as Markdown."""
    from eorestore.cli.app import app

    parts = [_HEAD, f"## eorestore\n\n{app.info.help}\n"]
    if app.registered_callback is not None and app.registered_callback.callback is not None:
        parts.append(_described(app.registered_callback.callback))
    for path, function in _commands(app, "eorestore"):
        parts.append(f"## {path}\n\n`{_usage(path, function)}`\n\n{_described(function)}")
    return "\n".join(parts)


def write_page(path: Path = PAGE) -> None:
    """Write `commands_page` to `path`."""
    path.write_text(commands_page(), encoding="utf-8")


def _commands(app: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function behind `app` with the words that call it."""
    for command in app.registered_commands:
        if command.callback is not None:
            yield f"{path} {command.name or command.callback.__name__.replace('_', '-')}", command.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance, f"{path} {group.name}")


def _described(function: Callable[..., Any]) -> str:
    rows = "".join(parameter.row for parameter in _parameters(function))
    table = f"\n| | | default |\n|---|---|---|\n{rows}" if rows else ""
    return f"{inspect.getdoc(function)}\n{table}"


def _usage(path: str, function: Callable[..., Any]) -> str:
    parameters = list(_parameters(function))
    arguments = [one.words[0] if one.needed else f"[{one.words[0]}]" for one in parameters if one.is_argument]
    options = [one for one in parameters if not one.is_argument]
    needed = [f"{one.words[0]} {one.kind}" for one in options if one.needed]
    rest = ["[OPTIONS]"] if len(options) > len(needed) else []
    return " ".join([path, *arguments, *needed, *rest])


def _parameters(function: Callable[..., Any]) -> Iterator[_Parameter]:
    hints = typing.get_type_hints(function, include_extras=True)
    for name, given in inspect.signature(function).parameters.items():
        if hints[name] is typer.Context:  # typer's own, nothing that a user types
            continue
        value_type, info = typing.get_args(hints[name])[:2]
        is_argument, is_switch = isinstance(info, ArgumentInfo), value_type is bool
        # Inside Annotated the first spelling stands where a default would.
        first = (info.default,) if isinstance(info.default, str) else ()
        spelled = tuple(word for text in (*first, *(info.param_decls or ())) for word in text.split("/"))
        if is_argument:
            spelled = (info.metavar or name.upper(),)
        yield _Parameter(
            words=spelled or (f"--{name.replace('_', '-')}",),
            kind=info.metavar or _word(value_type),
            help=info.help or "",
            default=given.default,
            is_argument=is_argument,
            is_switch=is_switch,
        )


def _word(value_type: Any) -> str:  # noqa: ANN401 - a type or a form such as `int | None`
    """What stands for a value of this type."""
    origin = typing.get_origin(value_type)
    if origin is typing.Literal:
        return "|".join(str(choice) for choice in typing.get_args(value_type))
    if origin in (types.UnionType, typing.Union, list):
        return _word(typing.get_args(value_type)[0])
    return _WORDS[value_type]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    write_page()
