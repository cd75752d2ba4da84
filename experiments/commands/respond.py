"""`respond`: how quickly the controller reacts, and how exactly it shares."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from experiments.commands.display import Display
from experiments.commands.guest_options import add_kvm_option
from experiments.commands.options import CACHE, add_output_options, add_volume_option
from experiments.help import Commands, add_command
from experiments.records.spec import parse_volume
from experiments.records.wholefile import write_json
from experiments.response.drive import respond, response_spec
from experiments.response.table import print_response
from experiments.targets.twin import TwinOptions, twin_target


def add_respond(commands: Commands) -> None:
    parser = add_command(
        commands,
        "respond",
        help="measure how quickly the controller reacts and how exactly it shares",
    )
    add_volume_option(parser)
    parser.add_argument(
        "--changed-volume",
        default="gp3:1500:60",
        metavar="V",
        help="what the volume is changed to under way, and then back; an emulated CPU carries no 250 MiB/s",
    )
    add_output_options(parser, Path("results/response"), "the figures as JSON")
    add_kvm_option(parser)
    parser.set_defaults(command=_respond)


def _respond(options: argparse.Namespace, console: Console) -> int:
    spec = response_spec(parse_volume(options.volume))
    options.output.mkdir(parents=True, exist_ok=True)  # rather refused now than after the preparation
    twin_options = TwinOptions(output=options.output, cache=CACHE, kvm=options.kvm, lp_elsewhere=True)
    with Display(console, runs=1) as display:
        lane = display.lane()
        with twin_target(spec, twin_options, lane) as target:
            document = respond(target, spec, parse_volume(options.changed_volume), lane)
    path = write_json(options.output / "response.json", document, compact=True)
    if options.json:
        print(json.dumps(document["figures"], indent=2), flush=True)
    else:
        print_response(console, document)
        console.print(f"raw data: {path}")
    return 0
