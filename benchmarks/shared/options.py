"""The command line of the scripts that compare."""

import argparse

from .interleave import TIMEOUT_S


def chosen(cases, names):
    return [
        case
        for case in cases
        if not names or any(name.lower() in case.name.lower() for name in names)
    ]


def parse_options(description, cases, timeout_s=TIMEOUT_S, longer=1):
    """Return the options of a script that can measure `cases`.

    A peer that takes more than `timeout_s` for a round hangs. Measuring takes `longer`
    times as long as for a case whose rounds take a few milliseconds.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter measurements"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        metavar="N",
        help="processes a case and peer (default 5, quick 1)",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="cases with NAME in their name; can be repeated",
    )
    parser.add_argument(
        "--wall", action="store_true", help="show the time that passes, not the CPU's"
    )
    parser.add_argument("--json", metavar="FILE", help="write all rounds there")
    options = parser.parse_args()
    if not chosen(cases, options.only):
        parser.error(f"no case has {' or '.join(options.only)} in its name")
    options.repeat = options.repeat or (1 if options.quick else 5)
    options.warm_up_s, options.seconds = (0.05, 0.1) if options.quick else (0.1, 0.25)
    options.seconds *= longer
    options.timeout_s = timeout_s
    return options
