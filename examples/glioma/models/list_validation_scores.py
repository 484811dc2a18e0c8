# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Writes the scores of the validation cases at the ends of trainings, from their logs, as a table in Markdown.

    list_validation_scores.py NAME.log [NAME.log ...]

Trainings called NAME-1, NAME-2 ... are one with other seeds: they have one row, of their means. Best mean first; a column for each case,
in the order of the first log. Below it, where there are such, how far the seeds lie from each other.
"""

import math
import pathlib
import re
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
    trainings: dict[str, list[str]] = {}
    for name in rows:
        trainings.setdefault(re.sub(r"-\d+$", "", name), []).append(name)
    seeds = {name: [sum(rows[seed].values()) / len(cases) for seed in group] for name, group in trainings.items()}
    means = {name: sum(values) / len(values) for name, values in seeds.items()}
    print("| training |", " | ".join(cases), "| each seed | mean |")
    print("| --- |", " | ".join("---" for _ in cases), "| --- | --- |")
    for name in sorted(means, key=means.get, reverse=True):
        of_cases = (sum(rows[seed][case] for seed in trainings[name]) / len(trainings[name]) for case in cases)
        print(f"| {name} |", " | ".join(f"{score:.2f}" for score in of_cases), end=" | ")
        print(" ".join(f"{value:.3f}" for value in seeds[name]), f"| {means[name]:.3f} |")
    freedom = sum(len(values) - 1 for values in seeds.values())
    if freedom > 0:
        squares = sum((value - means[name]) ** 2 for name, values in seeds.items() for value in values)
        print(
            f"\nStandard deviation of a training's mean from seed to seed: {math.sqrt(squares / freedom):.3f} ({freedom} degrees of freedom)"
        )


if __name__ == "__main__":
    main()
