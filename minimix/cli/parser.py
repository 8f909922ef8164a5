"""The parser: commands in groups, help that leads with examples, and "did you mean"."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from minimix.cli import output
from minimix.hub.releases import WEIGHTS

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    Nested = argparse._SubParsersAction["CommandParser"]

Run = Callable[[argparse.Namespace], int]
"""A command: its arguments -> the exit code."""


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose commands come in groups and whose errors say what was meant."""

    _nested: Nested | None = None
    _groups: dict[str, list[tuple[str, str]]]

    def nest(self) -> None:
        """Let this parser have commands."""
        self._groups = {}
        # argparse would put the usage line of this parser before the names of its commands.
        self._nested = self.add_subparsers(
            prog=self.prog,
            metavar="COMMAND",
            dest="command",
            required=True,
            parser_class=CommandParser,
        )

    @property
    def commands(self) -> dict[str, CommandParser]:
        """The commands below this one, by name."""
        return {} if self._nested is None else dict(self._nested.choices)

    def add_command(
        self, name: str, usage: str, summary: str, examples: str, *, group: str = "commands"
    ) -> CommandParser:
        """Add a command: what follows its name, one line about it, and examples, one a line."""
        assert self._nested is not None
        self._groups.setdefault(group, []).append((name, summary))
        lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
        return self._nested.add_parser(
            name,
            help=summary,  # argparse shows it nowhere, but shtab leaves out what has none
            usage=f"{self.prog} {name} {usage}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=f"{summary[0].upper()}{summary[1:]}.\n\n{lines}",
        )

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help, in colours if it goes to standard output and that is a terminal."""
        if file is not None:
            file.write(self.format_help())
            return
        if sys.stdout is not None and sys.stdout.isatty():
            self.formatter_class = _rich_formatter()
        output.write(self.format_help())

    def format_help(self) -> str:
        """Return the help; a parser with commands shows them group by group."""
        if not self.commands:
            return super().format_help()
        formatter = self.formatter_class(prog=self.prog)
        formatter.add_usage(f"{self.prog} COMMAND ...", [], [])
        formatter.add_text(self.description)
        for group, listed in self._groups.items():
            formatter.start_section(group)
            for name, summary in listed:
                formatter.add_argument(argparse.Action([], name, metavar=name, help=summary))
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments(a for a in self._actions if a.option_strings)
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Print the message and where the help is; exit with 2."""
        output.error(message)
        output.note(f"Try: {self.prog} --help")
        raise SystemExit(2)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Report the first argument that nothing here takes."""
        first = unknown[0]
        if not first.startswith("-") or first == "-":
            self.error(f"unexpected argument {first!r}")
        option = first.partition("=")[0]
        self.error(f"unknown option {option}{did_you_mean(option, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # argparse's own hook for choices; it alone sees the word and what it could have been.
        if action.choices is None or value in action.choices:
            return
        known = list(action.choices)
        what = "command" if isinstance(action, argparse._SubParsersAction) else "value"
        hint = did_you_mean(str(value), known) or f"; known: {', '.join(known)}"
        if what == "command":
            self.error(f"unknown command {value!r}{hint}")
        raise argparse.ArgumentError(action, f"unknown value {value!r}{hint}")


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """What was typed, what there is -> a hint to append, or nothing.

    >>> did_you_mean("clasify", ["classify", "summary"])
    '; did you mean classify?'
    """
    close = get_close_matches(text, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _rich_formatter() -> type[argparse.HelpFormatter]:
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        """Brackets in our texts are shell patterns and choices, not markup."""

        text_markup = False
        help_markup = False
        group_name_formatter = str

    return Formatter


def positive_int(text: str) -> int:
    """Text -> a whole number from 1 up; the type of --top and others."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, found {text!r}")
    return int(text)


def add_weights(parser: CommandParser) -> None:
    """Add --weights."""
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        help=f"whose weights of a released model (default: {WEIGHTS[0]})",
    )


def add_offline(parser: CommandParser) -> None:
    """Add --offline."""
    parser.add_argument(
        "--offline", action="store_true", help="use no network: fetch neither weights nor URLs"
    )


def add_quiet(parser: CommandParser) -> None:
    """Add -q."""
    parser.add_argument("-q", "--quiet", action="store_true", help="no notes, no progress")


def add_model(parser: CommandParser, what: str = "NAME|PATH") -> None:
    """Add --model, --weights, --offline and --size."""
    parser.add_argument(
        "--model",
        default="mixnet-pocket",
        metavar=what,
        help="a model's name or its file (default: mixnet-pocket); see: minimix models list",
    )
    add_weights(parser)
    add_offline(parser)
    parser.add_argument(
        "--size", type=positive_int, metavar="PX", help="side of the input in pixels, 32 or more"
    )


def add_engine(parser: CommandParser) -> None:
    """Add --engine."""
    parser.add_argument(
        "--engine",
        choices=("auto", "compiled", "reference"),
        default="auto",
        help="what computes; auto is compiled where Numba is installed",
    )


def add_exif(parser: CommandParser, default: str = "apply", why: str = "") -> None:
    """Add --exif."""
    parser.add_argument(
        "--exif",
        choices=("apply", "ignore"),
        default=default,
        help=f"turn a picture as its EXIF orientation says, or not (default: {default}{why})",
    )


def add_threads(parser: CommandParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="threads of the compiled engine (default: MINIMIX_THREADS, else one per core)",
    )


def add_format(parser: CommandParser, *formats: str) -> None:
    """Add --format, whose first value is the default, and --color."""
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help=f"default: {formats[0]}"
    )
    add_color(parser)


def add_color(parser: CommandParser) -> None:
    """Add --color."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto is colour on a terminal; NO_COLOR and FORCE_COLOR are honoured",
    )


def build_parser() -> CommandParser:
    """Return the parser of the whole command line; each command adds itself."""
    from minimix import __version__
    from minimix.cli import (
        batch,
        bench,
        classify,
        completion,
        doctor,
        explore,
        features,
        finetune,
        models,
        step,
        summary,
        validate,
        warmup,
    )

    parser = CommandParser(
        prog="minimix",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run, inspect and measure MixNet with NumPy.\n\n" + _EXAMPLES,
        epilog="minimix COMMAND --help says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"minimix {__version__}")
    parser.nest()
    look, use = (classify, explore, step, summary), (features, finetune, batch)
    measure = (validate, bench)
    for module in (*look, *use, *measure, models, warmup, doctor, completion):
        module.add_command(parser)
    return parser


_EXAMPLES = """\
  minimix classify panda.jpg                       name what is in a picture
  minimix classify photos/ --format csv > out.csv  and in a folder of them
  minimix explore panda.jpg -o panda.html          look inside while it does
  minimix step panda.jpg                           or in the terminal, node by node
  minimix summary --model mixnet-s --blocks        where the multiply-adds go
  minimix features photos/ -o photos.npz           what it makes of them, as numbers
  minimix validate val/ --model mixnet-s           how often it is right
  minimix doctor                                   check this installation"""


def parse(parser: CommandParser, argv: Sequence[str]) -> argparse.Namespace:
    """Arguments -> the namespace of the command that they name, its ``run`` included.

    Options may stand anywhere among a command's arguments.  Leaves by SystemExit, as argparse
    does: 0 after help, 2 on an error.
    """
    rest = list(argv)
    while rest and rest[0] in parser.commands:
        parser, rest = parser.commands[rest[0]], rest[1:]
    if not parser.commands:
        namespace, unknown = parser.parse_known_intermixed_args(rest)
    elif rest and rest[0].startswith("-") and rest[0] not in parser._option_string_actions:
        parser.refuse(rest)
    elif rest:
        namespace, unknown = parser.parse_known_args(rest)
    else:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    if unknown:
        parser.refuse(unknown)
    return namespace
