"""``minimix bench``: how fast a model runs here, where the time goes, and beside which runtimes."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import CommandParser, add_engine, add_format, add_model, positive_int

if TYPE_CHECKING:
    from minimix.model import Model
    from minimix.workflows.bench import LoadPeer

PEERS = ("onnxruntime", "openvino", "openvino-bf16", "torch")
"""Names of ``weights_tools.peers.PEERS``; here because --help must not import NumPy."""

PROFILED_RUNS = 40
"""Inferences per --runs whose parts are timed, with the compiled engine."""

_EXAMPLES = """
minimix bench                                          the embedded model
minimix bench --model mixnet-s.h5 --threads 1,2 --against openvino,onnxruntime
minimix bench --model mixnet-s.h5 --batch 1,8,32 --format markdown
minimix bench --model mixnet-s.h5 --threads 1 --kinds --startup
"""


def add_command(parser: CommandParser) -> None:
    """Add ``bench`` to the parser."""
    command = parser.add_command(
        "bench",
        "[options]",
        "measure latency, throughput, start-up and memory",
        _EXAMPLES,
        group="MEASURE",
    )
    add_model(command)
    add_engine(command)
    command.add_argument(
        "--threads",
        type=number_list,
        metavar="LIST",
        help="numbers of threads, such as 1,2,4 (default: 1 and one per core)",
    )
    command.add_argument(
        "--batch",
        type=number_list,
        default=[1],
        metavar="LIST",
        help="pictures at once, such as 1,8,32 (default: 1)",
    )
    command.add_argument(
        "--runs", type=positive_int, default=5, metavar="N", help="rounds (default: 5)"
    )
    command.add_argument(
        "--seconds",
        type=positive_seconds,
        default=0.5,
        metavar="S",
        help="of each engine's turn in a round (default: 0.5)",
    )
    command.add_argument(
        "--against",
        type=peer_list,
        default=[],
        metavar="LIST",
        help=f"run the same weights in other runtimes, by turns: {', '.join(PEERS)}",
    )
    command.add_argument("--kinds", action="store_true", help="show the time by node kind")
    command.add_argument(
        "--startup", action="store_true", help="time whole processes, cold and warm; their memory"
    )
    add_format(command, "table", "markdown", "json")
    command.set_defaults(run=run)


def number_list(text: str) -> list[int]:
    """Text -> whole numbers from 1 up, in order.

    >>> number_list("1,2,8")
    [1, 2, 8]
    """
    return list(dict.fromkeys(positive_int(word.strip()) for word in text.split(",")))


def positive_seconds(text: str) -> float:
    """Text -> seconds, more than none."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text!r}")
    return seconds


def peer_list(text: str) -> list[str]:
    """Text -> names of peers, each once."""
    names = list(dict.fromkeys(word.strip() for word in text.split(",")))
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"unknown runtime {name!r}; known: {', '.join(PEERS)}")
    return names


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0."""
    from minimix.cli.bench_report import Report, describe_machine, write_report
    from minimix.cores import available_cores
    from minimix.hub import locate
    from minimix.workflows.bench import compare, time_by_kind
    from minimix.workflows.startup import measure_startup

    threads = arguments.threads or sorted({1, available_cores()})

    def load_with(count: int) -> Model:
        return load_model(arguments, arguments.engine, count)

    model = load_with(threads[0])
    peers = {name: _peer(name) for name in arguments.against}
    report = Report(
        command=_command(arguments),
        machine=describe_machine(model),
        model=model.name,
        dialect=model.file.dialect.name,
        size=model.size,
        engine=model.engine.name,
        macs=sum(model.graph.macs(model.size, model.size).values()),
        runs=arguments.runs,
        seconds=arguments.seconds,
    )
    report.candidates += compare(
        load_with,
        peers,
        threads=threads,
        batches=arguments.batch,
        runs=arguments.runs,
        seconds=arguments.seconds,
    )
    if arguments.kinds:
        each = PROFILED_RUNS if model.engine.name == "compiled" else 1
        report.kinds += time_by_kind(model, each * arguments.runs)
        report.kinds_threads = threads[0]
    if arguments.startup:
        # By its path, as the processes get an empty cache, in which no model has been fetched.
        path = locate(arguments.model, arguments.weights, offline=arguments.offline)
        for count in threads:
            report.startups[count] = measure_startup(
                path, arguments.engine, count, model.size, arguments.runs
            )
    write_report(report, arguments.format, output.screen(arguments.color))
    return 0


def _peer(name: str) -> LoadPeer:
    """What loads a model into a peer.

    weights_tools is imported here, the one place besides the hub: its peers read our graphs, and
    nobody needs them who does not compare.

    Raises:
        UsageError: the peer's packages are not installed; before any time is spent on measuring.
    """
    from weights_tools import peers

    peers.check_installed(name)

    def load_peer(model: Model, threads: int) -> Any:
        return peers.make_peer(name, model.graph, model.file.params, model.size, threads)

    return load_peer


def _command(arguments: argparse.Namespace) -> str:
    """The command that measures this again; what is left to its default is left out."""
    words = ["minimix", "bench", "--model", str(arguments.model)]
    if arguments.weights:
        words += ["--weights", arguments.weights]
    if arguments.size:
        words += ["--size", str(arguments.size)]
    if arguments.engine != "auto":
        words += ["--engine", arguments.engine]
    if arguments.threads:
        words += ["--threads", ",".join(map(str, arguments.threads))]
    if arguments.batch != [1]:
        words += ["--batch", ",".join(map(str, arguments.batch))]
    if arguments.runs != 5:
        words += ["--runs", str(arguments.runs)]
    if arguments.seconds != 0.5:
        words += ["--seconds", f"{arguments.seconds:g}"]
    if arguments.against:
        words += ["--against", ",".join(arguments.against)]
    words += [f"--{flag}" for flag in ("kinds", "startup") if getattr(arguments, flag)]
    if arguments.format != "table":
        words += ["--format", arguments.format]
    return shlex.join(words)
