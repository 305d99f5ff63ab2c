"""`gsr completion SHELL`: the script that completes commands, options and their values in a shell."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gsr_app.models.registry import catalogue

PROGRAMS = ("gsr", "gsr-app")
_HOW = {
    "bash": 'eval "$(gsr completion bash)", in ~/.bashrc',
    "zsh": 'eval "$(gsr completion zsh)", in ~/.zshrc after compinit',
    "fish": "gsr completion fish > ~/.config/fish/completions/gsr.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=_HOW, help="; ".join(f"{shell}: {how}" for shell, how in _HOW.items()))


def run(arguments: argparse.Namespace) -> int:
    from gsr_app.harness.cli import COMMANDS

    print(script(arguments.shell, COMMANDS), end="")
    return 0


@dataclass(frozen=True, slots=True)
class Option:
    names: tuple[str, ...]  # -o, --out
    about: str
    takes_value: bool
    values: tuple[str, ...] = ()  # empty: any


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    about: str
    words: tuple[str, ...]  # that stand alone, such as the benchmarks of `gsr bench`
    options: tuple[Option, ...]


def script(shell: str, commands: Mapping[str, tuple[str, str]]) -> str:
    """The script for a shell; commands: name -> (module, what it does)."""
    read = [_read(name, module, about) for name, (module, about) in commands.items()]
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](read)


def _read(name: str, module: str, about: str) -> Command:
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(module).add_arguments(parser)
    words, options = [], dict[tuple[str, ...], Option]()
    for action in actions_of(parser):
        if action.option_strings:
            option = _option(action)
            options.setdefault(option.names, option)
        else:
            words += [str(choice) for choice in action.choices or ()]
    return Command(name, about, tuple(words), tuple(options.values()))


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The actions of a parser and of those below it."""
    for action in parser._actions:  # argparse has no public list  # pyright: ignore[reportPrivateUsage]
        yield action
        if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            for below in dict[str, Any](action.choices).values():
                yield from actions_of(below)


def _option(action: argparse.Action) -> Option:
    values = tuple(str(choice) for choice in action.choices or ())
    if action.dest in {"method", "methods"}:
        values = tuple(catalogue())
    about = (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))
    return Option(tuple(action.option_strings), about, action.nargs != 0, values)


def _bash(commands: Iterable[Command]) -> str:
    lines = [
        "_gsr() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="${COMP_WORDS[1]}"',
        '    local words=""',
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f"        words='{' '.join(command.name for command in commands)}'",
        "    else",
        '        case "$command $previous" in',
    ]
    for command in commands:
        for option in command.options:
            if option.takes_value:
                pattern = "|".join(f"'{command.name} {name}'" for name in option.names)
                lines.append(f"        {pattern}) words='{' '.join(option.values)}' ;;")
    lines += ['        *) case "$command" in']
    for command in commands:
        every = [*command.words, *(name for option in command.options for name in option.names)]
        lines.append(f"            {command.name}) words='{' '.join(every)}' ;;")
    lines += [
        "        esac ;;",
        "        esac",
        "    fi",
        '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")',
        "}",
        f"complete -o default -o bashdefault -F _gsr {' '.join(PROGRAMS)}",
    ]
    return "\n".join(lines) + "\n"


def _zsh(commands: Iterable[Command]) -> str:
    lines = [
        f"#compdef {' '.join(PROGRAMS)}",
        "_gsr() {",
        "    local -a commands=(",
        *(f"        {_quoted(f'{one.name}:{one.about}')}" for one in commands),
        "    )",
        "    if (( CURRENT == 2 )); then",
        "        _describe command commands",
        "        return",
        "    fi",
        "    shift words",
        "    (( CURRENT-- ))",
        '    case "$words[1]" in',
    ]
    for command in commands:
        lines.append(f"    {command.name}) _arguments \\")
        for option in command.options:
            about = "".join("\\" + letter if letter in "[]:\\" else letter for letter in option.about)
            value = (f":value:({' '.join(option.values)})" if option.values else ":value:_files") * option.takes_value
            lines += [f"        {_quoted(f'{name}[{about}]{value}')} \\" for name in option.names]
        lines.append(f"        '*:file:{'(' + ' '.join(command.words) + ')' if command.words else '_files'}' ;;")
    return "\n".join([*lines, "    esac", "}", f"compdef _gsr {' '.join(PROGRAMS)}"]) + "\n"


def _fish(commands: Iterable[Command]) -> str:
    lines = [f"complete -c {name} -w {PROGRAMS[0]}" for name in PROGRAMS[1:]]
    for command in commands:
        lines.append(f"complete -c gsr -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.about)}")
        used = f"complete -c gsr -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"{used} -f -a {_quoted(' '.join(command.words))}")
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = " -r" * option.takes_value + (f" -f -a {_quoted(' '.join(option.values))}" if option.values else "")
            lines.append(f"{used} {names}{value} -d {_quoted(option.about)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """In single quotes, for zsh and fish; an apostrophe becomes a typographic one, which needs no rule of a shell."""
    return "'" + " ".join(text.replace("'", "’").split()) + "'"
