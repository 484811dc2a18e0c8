#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Where do whole-brain graders look: at the brain's border?

  measure_border.py GLIOMA --work DIR [--seeds 1 2 3] [--steps 80] [--training-cases 60] [--held-out 8] [--phantoms SEED]
      [--regions] [--train-only] [--threads N]

Two tables. The paper's comparison: graders of the whole brain that differ in the standardization alone (statistics of the brain
or of the whole image), trained on the same phantoms from the same seed for as many steps; nothing is planted. The positive
control: the same phantoms, the brain's outermost 5 mm brighter by up to a half above and darker below in each HGG, the other way
round in each LGG, so that both grades have a sign of their own and the means of the brain do not tell them apart.

Two numbers on phantoms that no grader has seen. The ratio of guided backpropagation's energy in the border shell to chance; and
what the grade hangs on: the change of its log-odds when the brain mask is tightened by 5 mm (`--brain-mask`), which takes the border
away. Flagged is a number above its limit, which comes from graders of other seeds on a third set of phantoms: for the ratio a tenth
more than the highest without a planted border, for the change the geometric mean of that highest one and the lowest with it (goal:
at least 90 % with the planted border, at most 10 % without). The limits of include/itkReviewThresholds.h belong to graders of the
tumour's region and cannot serve here. With --regions the tables also have the ratios of the energy in tumour and ventricles.

The graders are small (width 4, padded, the brain's cube at 48^3 voxels of about 4 mm), since a comparison needs many. What is
there already in DIR is not done again, so that several such processes can share the work of training (--train-only). Needs numpy,
scipy and SimpleITK.
"""
import argparse
import csv
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy
import scipy.ndimage
import SimpleITK

ROLES = ("t1", "t1c", "t2", "flair")
SPACING = 2.5
PLANTED_DEPTH = 5.0  # mm
TRAINING_SEED, HELD_OUT_SEED, LIMIT_SEED = 5100, 5200, 5300
GRADERS = {"inside": ("brain", "clean"), "image": ("image", "clean"), "planted": ("brain", "planted")}  # standardization, cohort
LIMIT_GRADERS = (("inside", 12), ("inside", 13), ("planted", 11))
TIGHTEN = 5.0  # mm
LIMIT_FACTOR = 1.1


def run(command, log=None):
    answer = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if log:
        log.write_text(answer.stdout + answer.stderr)
    if answer.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}\n{answer.stderr.strip()}")
    return answer.stdout


def rows_of(cohort):
    with open(cohort, newline="") as file:
        return list(csv.DictReader(file))


def plant(image, brain, grade, strength):
    """The border brighter above and darker below, or the other way round, without a change of the brain's mean."""
    depth = scipy.ndimage.distance_transform_edt(brain, sampling=SPACING)
    shell = brain & (depth <= PLANTED_DEPTH)
    height = numpy.arange(image.shape[0])[:, None, None] - numpy.argwhere(brain)[:, 0].mean()
    weight = numpy.where(shell, numpy.tanh(height * SPACING / 20.0), 0.0) * image  # the third axis points to the head
    for half in (weight > 0, weight < 0):
        weight[half] /= abs(weight[half].sum())
    weight *= strength * image[shell].sum() / 2
    return numpy.maximum(image + (weight if grade == "HGG" else -weight), numpy.where(brain, 1e-3, 0.0))


def make_cohort(options, kind, seed, cases):
    """Phantoms with their brain as the region to grade; returns the table of the clean or the planted ones."""
    folder = options.work / f"phantoms-{seed}"
    table = folder / f"{kind}.csv"
    if table.exists():
        return table
    if not (folder / "COHORT.csv").exists():
        run(
            [
                options.glioma,
                "synthesize",
                "--cases",
                cases,
                "--seed",
                seed,
                "--spacing",
                SPACING,
                "--output",
                folder,
                "--threads",
                options.threads,
            ]
            + (["--regions"] if options.regions and seed != TRAINING_SEED else [])
        )
    rows = []
    for number, row in enumerate(rows_of(folder / "COHORT.csv")):
        images = {role: SimpleITK.ReadImage(str(folder / row[role])) for role in ROLES}
        arrays = {role: SimpleITK.GetArrayFromImage(image) for role, image in images.items()}
        brain = scipy.ndimage.binary_fill_holes(numpy.any([array > 0 for array in arrays.values()], axis=0))
        new = {"case": row["case"], "grade": row["grade"], "site": row["site"]}

        def write(name, array, like):
            image = SimpleITK.GetImageFromArray(array)
            image.CopyInformation(like)
            SimpleITK.WriteImage(image, str(folder / row["case"] / name), True)
            return f"{row['case']}/{name}"

        for role, name in (("seg", "seg-of-brain.nii.gz"), ("brain_mask", "brain.nii.gz")):  # a table takes no file twice
            new[role] = write(name, brain.astype(numpy.uint8), images["t1"])
        for role in ROLES:
            new[role] = row[role]
            if kind == "planted":
                strength = numpy.random.default_rng([seed, number]).uniform(0.2, 0.35)
                planted = plant(arrays[role].astype(numpy.float32), brain, row["grade"], strength)
                new[role] = write(f"planted-{role}.nii.gz", planted, images[role])
        rows.append(new)
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return table


def train(options, grader, seed):
    bundle = options.work / "graders" / f"{grader}-{seed}"
    if (bundle.parent / f"{bundle.name}.done").exists():
        return bundle
    standardization, kind = GRADERS[grader]
    cohort = make_cohort(options, kind, TRAINING_SEED, options.training_cases)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    resume = ["--resume"] if (bundle.parent / f"{bundle.name}.checkpoint").exists() else []
    run(
        [
            options.glioma,
            "train",
            "grading",
            "--cohort",
            cohort,
            "--output",
            bundle,
            "--cache",
            options.work / "cache",
            "--standardize",
            standardization,
            "--seed",
            seed,
            "--steps",
            options.steps,
            "--width",
            4,
            "--patch",
            48,
            "--padded",
            "true",
            "--spacing",
            3.6,
            "--margin",
            2,
            "--bias-correction",
            "none",
            "--augment",
            "sagittal-flip",
            "--batch",
            4,
            "--rate",
            1e-3,
            "--schedule",
            "cosine",
            "--dropout",
            0.2,
            "--balance",
            "true",
            "--threads",
            options.threads,
            "--checkpoint-minutes",
            1,
            "--training-data",
            "trained on phantoms",
            *resume,
        ],
        bundle.parent / f"{bundle.name}.log",
    )
    (bundle.parent / f"{bundle.name}.done").touch()
    return bundle


def tightened(path, folder):
    """The mask without its outermost 5 mm."""
    mask = SimpleITK.ReadImage(str(path))
    depth = scipy.ndimage.distance_transform_edt(SimpleITK.GetArrayFromImage(mask), sampling=SPACING)
    image = SimpleITK.GetImageFromArray((depth > TIGHTEN + 0.01).astype(numpy.uint8))
    image.CopyInformation(mask)
    SimpleITK.WriteImage(image, str(folder / "tightened.nii.gz"), True)
    return folder / "tightened.nii.gz"


def grade(options, bundle, folder, row, output, more):
    """The region is the whole brain's in any case."""
    if not (output / "result.json").exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        command = [
            options.glioma,
            "grade",
            "--output",
            output,
            "--grading-model",
            bundle,
            "--tumour-mask",
            folder / row["seg"],
            "--threads",
            options.threads,
            *more,
        ]
        for role in ROLES:
            command += [f"--{role}", folder / row[role]]
        run(command)
    return json.loads((output / "result.json").read_text())


def log_odds(result):
    p = min(max(result["probabilities"]["HGG"], 1e-7), 1.0 - 1e-7)
    return math.log(p / (1.0 - p))


def measure(options, grader, seed, phantoms=HELD_OUT_SEED):
    bundle = train(options, grader, seed)
    cohort = make_cohort(options, GRADERS[grader][1], phantoms, options.held_out)
    results = []
    for row in rows_of(cohort)[: options.held_out]:
        output = options.work / "results" / f"{grader}-{seed}" / row["case"]
        case = cohort.parent / row["case"]
        more = ["--explain", "guided-backprop", "--brain-mask", cohort.parent / row["seg"]]
        more += ["--regions", case / f"{row['case']}_regions.nii.gz"] if options.regions else []
        result = grade(options, bundle, cohort.parent, row, output, more)
        more = ["--explain", "none", "--brain-mask", tightened(cohort.parent / row["seg"], case)]
        without_border = grade(options, bundle, cohort.parent, row, output.parent / f"{row['case']}-tightened", more)
        quality = result["quality"]
        results.append(
            {
                "case": row["case"],
                "truth": row["grade"],
                "grade": result["grade"],
                "p": result["probabilities"]["HGG"],
                "share": quality["guided-backprop-border-share"],
                "chance": quality["guided-backprop-border-chance"],
                "ratio": quality["guided-backprop-border-ratio"],
                "outside": quality["guided-backprop-outside-share"],
                "change": abs(log_odds(without_border) - log_odds(result)),
                "ventricles": quality.get("guided-backprop-label-1-ratio"),
                "tumour": tumour_ratio(quality) if options.regions else None,
            }
        )
    return results


def tumour_ratio(quality):
    """Of oedema and core together."""
    share, chance = (sum(quality[f"guided-backprop-label-{label}-{kind}"] or 0.0 for label in (2, 3)) for kind in ("share", "chance"))
    return share / chance


def auc(results):
    positive = [r["p"] for r in results if r["truth"] == "HGG"]
    negative = [r["p"] for r in results if r["truth"] == "LGG"]
    return numpy.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])


def tell(title, graders, results, limits):
    rows = {name: [(seed, each) for (g, seed), each in results.items() if g == grader] for grader, name in graders}
    if not all(rows.values()):
        return
    print(f"\n{title}\n")
    titles = [
        "grader",
        "seed",
        "AUC",
        "right",
        "border share",
        "chance",
        "ratio: median",
        "lowest",
        "highest",
        "flagged",
        "outside the brain",
    ]
    regions = ("tumour", "ventricles") if next(iter(rows.values()))[0][1][0]["tumour"] else ()
    titles += [f"{region}'s ratio" for region in regions] + ["change without the border: median", "lowest", "highest", "flagged"]
    print("| " + " | ".join(titles) + " |\n" + "| --- " * len(titles) + "|")

    def spread(each, key):
        values = [case[key] for case in each]
        return [f"{number:.2f}" for number in (numpy.median(values), min(values), max(values))] + [
            f"{sum(value > limits[key] for value in values)}/{len(values)}"
        ]

    for name, seeds in rows.items():
        for seed, each in seeds + ([("all", [case for _, r in seeds for case in r])] if len(seeds) > 1 else []):
            right = sum(case["grade"] == case["truth"] for case in each)
            mean = {key: numpy.mean([case[key] for case in each]) for key in ("share", "chance", "outside")}
            cells = [
                name,
                str(seed),
                "" if seed == "all" else f"{auc(each):.2f}",
                f"{right}/{len(each)}",
                f"{mean['share']:.3f}",
                f"{mean['chance']:.3f}",
                *spread(each, "ratio"),
                f"{mean['outside']:.3f}",
            ]
            cells += [f"{numpy.median([case[region] for case in each]):.2f}" for region in regions]
            print("| " + " | ".join(cells + spread(each, "change")) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glioma")
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--graders", nargs="+", choices=list(GRADERS), default=list(GRADERS))
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--training-cases", type=int, default=60)
    parser.add_argument("--held-out", type=int, default=8)
    parser.add_argument("--phantoms", type=int, default=HELD_OUT_SEED, help="seed of the phantoms to judge on")
    parser.add_argument("--regions", action="store_true")
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    results = {}
    for seed in options.seeds:
        for grader in options.graders:
            results[grader, seed] = train(options, grader, seed) if options.train_only else measure(options, grader, seed, options.phantoms)
            print(f"{grader}, seed {seed}: done", file=sys.stderr)
    if options.train_only:
        return
    seen = {
        name: [case for grader, seed in LIMIT_GRADERS if grader == name for case in measure(options, grader, seed, LIMIT_SEED)]
        for name in ("inside", "planted")
    }
    without = {key: max(case[key] for case in seen["inside"]) for key in ("ratio", "change")}
    with_border = min(case["change"] for case in seen["planted"])
    limits = {"ratio": LIMIT_FACTOR * without["ratio"], "change": math.sqrt(without["change"] * with_border)}
    print(
        f"Limits: ratio {limits['ratio']:.2f} ({LIMIT_FACTOR} times {without['ratio']:.2f}), change {limits['change']:.2f} "
        f"(between {without['change']:.2f} without and {with_border:.2f} with a planted border)"
    )
    tell(
        "The paper's comparison, nothing planted",
        [("inside", "statistics of the brain"), ("image", "statistics of the whole image")],
        results,
        limits,
    )
    tell("The positive control", [("inside", "without"), ("planted", "with the planted border")], results, limits)


if __name__ == "__main__":
    main()
