#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Distributions behind the thresholds of include/itkReviewThresholds.h, and what the verdict does with them.

  measure_verdict.py GLIOMA --work DIR [--orders CHECK_SEQUENCE_ORDERS] [--cases 40] [--patients COHORT.csv]
      [--patient-models SEGMENTATION GRADING CASE[,CASE...]] ... [--brain-grading-model BUNDLE|demonstration] [--check-only] [--threads N]
      [--results TITLE COHORT.csv DIR] ...

Phantoms of seed 4713 (the distribution) and of seed 4714 (the check) are synthesized into DIR and graded by the demonstration
bundles, unless that was done before; other bundles: --segmentation-model, --grading-model. Patients are graded by the models
named for them, which must not have seen them. --brain-grading-model has the phantoms graded from the whole brain too; what that grader
sends to review is then told apart. --check-only leaves the distribution out; --orders counts the 23 wrong orders of each patient's four
sequences. --results tells of cases that are graded already (DIR/CASE/result.json, as examples/glioma/models/rebuild.sh leaves them), and
of nothing else.
Goals: at most 10 % of the phantoms of seed 4714 in review, at least 80 % of the wrong orders flagged and no right one.
"""
import argparse
import collections
import csv
import json
import pathlib
import re
import subprocess

NUMBERS = (  # of result.json's quality, the threshold beside it, the side on which a case is flagged
    ("guided-backprop-tumour-ratio", "GuidedTumourRatio", "below"),
    ("guided-backprop-border-ratio", "BorderRatio", "above"),
    ("guided-backprop-outside-share", "OutsideShare", "above"),
    ("guided-backprop-tumour-rank-accuracy", None, ""),
    ("guided-backprop-gini", None, ""),
    ("gradcam-res3-tumour-ratio", "GradCAMTumourRatio", "below"),
    ("gradcam-res3-tumour-chance", "GradCAMLargestChance", ""),
    ("gradcam-res4-tumour-ratio", "GradCAMTumourRatio", "below"),
    ("gradcam-res4-tumour-chance", "GradCAMLargestChance", ""),
    ("brain-guided-backprop-tumour-ratio", "BrainTumourRatio", "below"),
    ("brain-guided-backprop-border-ratio", "BrainBorderRatio", "above"),
    ("brain-gradcam-res3-tumour-ratio", "GradCAMTumourRatio", "below"),
    ("brain-gradcam-res4-tumour-ratio", "GradCAMTumourRatio", "below"),
    ("graders' gap", "GraderGap", "above"),
    ("probability gap", "ProbabilityGap", "below"),
    ("tumour's effect", "TumourEffect", "below"),
    ("tumour volume, ml", "TinyVolume", "below"),
    ("T2-fluid-rank", "FluidRank", "above"),
    ("FLAIR-gap", "FlairGap", "below its negative"),
    ("T1c-enhancement", "EnhancementGap", "below its negative"),
    ("largest-correlation", "DuplicateCorrelation", "above"),
    *((f"{name}-asymmetry", None, "outside the range") for name in ("T1", "T1c", "T2", "FLAIR")),
    *((f"{name}-tail", None, "outside the range") for name in ("T1", "T1c", "T2", "FLAIR")),
)


def thresholds():
    header = pathlib.Path(__file__).resolve().parent.parent.parent / "include" / "itkReviewThresholds.h"
    return {name: float(value) for name, value in re.findall(r"double (\w+)\{ ([-\d.]+) \}", header.read_text())}


def rows_of(cohort):
    with open(cohort, newline="") as file:
        return list(csv.DictReader(file))


def grade(options, row, folder, output, models):
    if not (output / "result.json").exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        command = [options.glioma, "grade", "--output", str(output)]
        for role in ("t1", "t1c", "t2", "flair"):
            command += [f"--{role}", str(folder / row[role])]
        for option, model in zip(("--segmentation-model", "--grading-model", "--brain-grading-model"), models):
            command += [option, model] if model else []
        command += ["--threads", str(options.threads)] if options.threads else []
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            raise SystemExit(f"{row['case']}: {answer.stderr.strip()}")
    return json.loads((output / "result.json").read_text())


def number_of(result, name):
    if name == "probability gap":
        first, second = sorted((result["probabilities"] or {"none": 1.0, "other": 0.0}).values(), reverse=True)[:2]
        return first - second
    if name == "tumour's effect":
        without = (result.get("without_tumour") or {}).get("probabilities")
        return result["probabilities"][result["grade"]] - without[result["grade"]] if without else None
    if name == "graders' gap":
        brain = result.get("whole_brain")
        return (
            max(abs(p - brain["probabilities"][k]) for k, p in result["probabilities"].items())
            if brain and result["probabilities"]
            else None
        )
    if name == "tumour volume, ml":
        return result["tumour_volume_ml"]
    return result["quality"].get(name)


def is_of_brain(reason):
    """Of the grader of the whole brain, or of the two together."""
    return "brain-g" in reason or reason.startswith("the graders disagree")


def quantile(values, share):
    return values[round(share * (len(values) - 1))]


def tell(title, results, limits):
    print(f"\n{title}: {len(results)} cases\n")
    print("| number | defined | lowest | 5 % | median | 95 % | highest | flagged |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, limit, side in NUMBERS:
        values = sorted(v for v in (number_of(result, name) for result in results.values()) if v is not None)
        if values:
            places = " | ".join(f"{quantile(values, share):.3g}" for share in (0.0, 0.05, 0.5, 0.95, 1.0))
            print(f"| {name} | {len(values)} | {places} | {side} {limits[limit] if limit else ''} |")
    reviewed = {case: result["reasons"] for case, result in results.items() if result["verdict"] == "review"}
    print(f"\nreview: {len(reviewed)} of {len(results)} ({100 * len(reviewed) / len(results):.0f} %)")
    if any(result.get("whole_brain") for result in results.values()):
        alone = sum(any(not is_of_brain(reason) for reason in reasons) for reasons in reviewed.values())
        print(f"without what the grader of the whole brain says: {alone} of {len(results)}")
    counts = collections.Counter(reason.split(":")[0] for reasons in reviewed.values() for reason in reasons)
    for reason, count in counts.most_common():
        print(f"- {count} x {reason}")
    for case, reasons in reviewed.items():
        print(f"  {case}: {'; '.join(reasons)}")


def count_orders(options, rows, folder):
    wrong = flagged = right = named = 0
    for row in rows:
        answer = subprocess.run(
            [options.orders, *(str(folder / row[role]) for role in ("t1", "t1c", "t2", "flair"))],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        missed = []
        for line in answer.splitlines():
            given, looks = line.split()[:4], line.split()[4:]
            is_flagged = looks != ["0", "1", "2", "3"]
            if given == ["0", "1", "2", "3"]:
                right += is_flagged
                continue
            wrong += 1
            flagged += is_flagged
            named += looks == given
            if not is_flagged:
                missed.append("".join(given))
        if missed:
            print(f"  {row['case']}: not flagged {missed}")
    print(
        f"wrong orders flagged: {flagged} of {wrong} ({100 * flagged / wrong:.0f} %), named as they are: {named}; "
        f"right orders flagged: {right} of {len(rows)}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glioma")
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--orders")
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--segmentation-model")
    parser.add_argument("--grading-model")
    parser.add_argument("--brain-grading-model")
    parser.add_argument("--patients", type=pathlib.Path)
    parser.add_argument("--patient-models", nargs=3, action="append", default=[], metavar=("SEGMENTATION", "GRADING", "CASES"))
    parser.add_argument("--results", nargs=3, action="append", default=[], metavar=("TITLE", "COHORT", "DIR"))
    parser.add_argument("--check-only", action="store_true")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    limits = thresholds()
    for title, cohort, folder in options.results:
        found = {row["case"]: pathlib.Path(folder) / row["case"] / "result.json" for row in rows_of(cohort)}
        tell(title, {case: json.loads(file.read_text()) for case, file in found.items() if file.exists()}, limits)
    if options.results:
        return
    for title, seed in (("Phantoms of seed 4713 (the distribution)", 4713), ("Phantoms of seed 4714 (the check)", 4714)):
        if options.check_only and seed == 4713:
            continue
        cohort = options.work / f"phantoms-{seed}" / "COHORT.csv"
        if not cohort.exists():
            subprocess.run(
                [options.glioma, "synthesize", "--cases", str(options.cases), "--seed", str(seed), "--output", str(cohort.parent)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        models = (options.segmentation_model, options.grading_model, options.brain_grading_model)
        tell(
            title,
            {
                row["case"]: grade(options, row, cohort.parent, options.work / f"results-{seed}" / row["case"], models)
                for row in rows_of(cohort)[: options.cases]
            },
            limits,
        )
    if options.patients:
        rows = rows_of(options.patients)
        folder = options.patients.parent
        results = {}
        for segmentation, grading, cases in options.patient_models:
            for row in rows:
                if row["case"] in cases.split(","):
                    results[row["case"]] = grade(
                        options, row, folder, options.work / "results-patients" / row["case"], (segmentation, grading)
                    )
        if results:
            tell("Patients, graded by models that had not seen them", results, limits)
    if options.orders:
        for title, cohort in (("patients", options.patients), ("phantoms of seed 4714", options.work / "phantoms-4714" / "COHORT.csv")):
            if cohort:
                print(f"\nOrders of the sequences, {title}:")
                count_orders(options, rows_of(cohort), cohort.parent)


if __name__ == "__main__":
    main()
