# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Writes the scores of the validation cases at the ends of trainings, from their logs, as a table in Markdown.

    list_validation_scores.py NAME.log [NAME.log ...]

A row for each training, best mean first; a column for each case, in the order of the first log.
"""

import pathlib
import sys


def scores_of(log: pathlib.Path) -> dict[str, float]:
    lines = log.read_text().splitlines()
    if "case,dice" not in lines:
        raise SystemExit(f"list_validation_scores.py: {log} has no scores: did the training end?")
    begin = len(lines) - lines[::-1].index("case,dice")
    scores = {}
    for line in lines[begin:]:
        case, comma, score = line.rpartition(",")
        if not comma:
            break
        scores[case] = float(score)
    return scores


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    rows = {log.stem: scores_of(log) for log in map(pathlib.Path, sys.argv[1:])}
    cases = list(next(iter(rows.values())))
    for name, scores in rows.items():
        if list(scores) != cases:
            raise SystemExit(f"list_validation_scores.py: {name} was scored on other cases than {next(iter(rows))}")
    means = {name: sum(scores.values()) / len(scores) for name, scores in rows.items()}
    print("| training |", " | ".join(cases), "| mean |")
    print("| --- |", " | ".join("---" for _ in cases), "| --- |")
    for name in sorted(means, key=means.get, reverse=True):
        print(f"| {name} |", " | ".join(f"{rows[name][case]:.2f}" for case in cases), f"| {means[name]:.3f} |")


if __name__ == "__main__":
    main()
