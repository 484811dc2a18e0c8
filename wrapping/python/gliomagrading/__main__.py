# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""python -m gliomagrading cohort: many cases with Dask."""

import argparse
import sys

from .cohort import Status, check_numbers, grade_cohort


def _shown(status: Status, done: int, number: int) -> None:
    reason = f": {status.reason}" if status.reason else ""
    print(f"[{done}/{number}] {status.case} {status.state}{reason}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gliomagrading", description="Research use only.")
    commands = parser.add_subparsers(dest="command", required=True)
    cohort = commands.add_parser("cohort", help="grade every case of a COHORT.csv or folder")
    cohort.add_argument("cohort", help="COHORT.csv, or a folder that `glioma cohort` understands")
    cohort.add_argument("--output", required=True, help="folder for cases/, status.csv and summary.html")
    where = cohort.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, help="cases at a time (default: what processors and memory allow)")
    where.add_argument("--scheduler", help="address of a Dask scheduler; who reaches it runs code, and its workers must see the same files")
    cohort.add_argument("--threads", type=int, default=1, help="threads of a case (default: 1)")
    cohort.add_argument("--timeout", type=float, default=3600.0, help="seconds for a case, 0: no limit (default: 3600)")
    cohort.add_argument("--retries", type=int, default=0, help="more attempts for a case that failed (default: 0)")
    cohort.add_argument(
        "--memory-limit", type=float, help="MiB at which a case is ended, 0: no limit (default: twice the estimate of the largest case)"
    )
    cohort.epilog = "What follows -- goes to `glioma grade`, such as: -- --segmentation-model BUNDLE --explain none"
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    try:
        check_numbers(options.workers, options.threads, options.timeout, options.retries, options.memory_limit)
    except ValueError as error:
        parser.error(f"--{str(error).replace('memory_limit', 'memory-limit')}")
    try:
        statuses = grade_cohort(
            options.cohort,
            options.output,
            workers=options.workers,
            scheduler=options.scheduler,
            threads=options.threads,
            timeout=options.timeout,
            retries=options.retries,
            memory_limit=options.memory_limit,
            arguments=given[end + 1 :],
            report=_shown,
        )
    except (ValueError, OSError, ImportError) as error:
        print(f"gliomagrading cohort: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gliomagrading cohort: interrupted; the same command goes on with what is missing.", file=sys.stderr)
        return 130
    failed = sum(status.state != "done" for status in statuses)
    print(f"{len(statuses) - failed} of {len(statuses)} cases are done. Research use only.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
