"""Command line of the lab: `python -m lab --help`."""

from __future__ import annotations

import argparse
import shutil
import sys

from . import engine, hosts, image, mirror
from .common import CACHE, LABS, LabError, find_lab


def main() -> int:
    """Parse, call, and print errors as one message."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("engine", help="make sure that a container engine runs")
    verbs.add_parser("image", help="make the hosts' image").add_argument("suite", choices=sorted({lab.suite for lab in LABS.values()}))
    command = verbs.add_parser("mirror", help="make the artifact mirror, and list what it holds and from where")
    command.add_argument("--packaged", action="store_true", help="only that which Debian has as a program; needs no engine")
    verbs.add_parser("status", help="list what runs")
    verbs.add_parser("clean", help="remove all labs, images and what was built")
    for verb, words in (("up", "bring the hosts up"), ("reset", "make the hosts anew, bare"), ("down", "remove the hosts")):
        verbs.add_parser(verb, help=words).add_argument("lab", choices=[*LABS, "all"] if verb == "down" else list(LABS))
    for verb, words in (("reboot", "restart a host"), ("cut", "take a host off its network"), ("join", "put it back")):
        command = verbs.add_parser(verb, help=words)
        command.add_argument("lab", choices=list(LABS))
        command.add_argument("host")
    command = verbs.add_parser("exec", help="run a command on a host as root")
    command.add_argument("lab", choices=list(LABS))
    command.add_argument("host")
    command.add_argument("argv", nargs=argparse.REMAINDER)
    try:
        return _do(parser.parse_args())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace) -> int:
    match options.verb:
        case "engine":
            engine.ensure()
        case "image":
            engine.ensure()
            print(image.ensure(options.suite))
        case "mirror":
            if options.packaged:
                mirror.ensure_packaged()
            else:
                mirror.ensure()
            print(mirror.inventory())
        case "up":
            hosts.up(find_lab(options.lab))
        case "reset":
            hosts.down(find_lab(options.lab))
            hosts.up(find_lab(options.lab))
        case "down":
            for name in LABS if options.lab == "all" else [options.lab]:
                hosts.down(find_lab(name))
        case "status":
            print(hosts.status())
        case "reboot":
            hosts.reboot(find_lab(options.lab), options.host)
        case "cut" | "join":
            getattr(hosts, options.verb)(find_lab(options.lab), options.host)
        case "exec":
            return hosts.execute(find_lab(options.lab), options.host, options.argv)
        case "clean":
            hosts.clean()
            shutil.rmtree(CACHE, ignore_errors=True)
    return 0


sys.exit(main())
