#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Writes BUNDLE/docs/README.md, the model card, from the bundle's own manifest and from tables of scores.

  write_model_card.py [--made-by TEXT] BUNDLE [TITLE=SCORES.txt ...]

TEXT says how it was made, where `rebuild.sh` is not all of it. A SCORES.txt is what score_cohort.py printed. Every training case of the manifest is named with its licence and attribution.
"""
import ast
import itertools
import json
import pathlib
import sys

PREPARATION = {
    "n4": "N4 bias correction",
    "none": "no bias correction",
    "brain": "zero mean and unit variance inside the brain mask",
    "image": "zero mean and unit variance over the whole image",
}


REGION = {"tumour": "the cube around the tumour with its margin", "brain": "the brain's box, stretched"}

COLUMNS = (
    "Columns: `dice`, of the segmentation; `dice_threshold`, of a threshold of FLAIR and T2; `p_hgg` and `p_hgg_brain`, the probability of HGG by the "
    "grader of the tumour and by that of the whole brain; `without_tumour`, the tumour's grader with healthy tissue of the other half in the tumour's place, "
    "a negative control: a grader of tumours is then undecided (AUC 0.5), one that knows the scanners is as sure as before (one that was trained with heads "
    "without their tumour, target one half, as `rebuild.sh` trains that of the patients, learnt to be undecided there: for it a control near "
    "one half is necessary and not enough); `enhancing_share`, the share of the predicted tumour where T1c exceeds T1 by one deviation; "
    "`gradcam` and `guided`, the shares of the explanations' energy in the predicted tumour; `verdict`, of the grader of the tumour. "
    "An empty cell is not defined: no tumour was found, or nothing asked for it. "
    "Intervals: Wilson (accuracy), Hanley and McNeil (AUC; where it is 0 or 1 Wilson over the smaller class), bootstrap (Brier score)."
)


def runs(names):
    """phantom-2018-0001, ..., -0120 as one span where the numbers follow each other."""
    spans = []
    for name in sorted(names):
        head, _, number = name.rpartition("-")
        if spans and number.isdigit() and spans[-1][0] == head and spans[-1][2] + 1 == int(number):
            spans[-1][2], spans[-1][3] = int(number), number
        else:
            spans.append([head, name, int(number) if number.isdigit() else -1, ""])
    return ", ".join(first + (f" to -{last}" if last else "") for _, first, _, last in spans)


def table(text):
    """The cases as a table, the sums below it as a list."""
    lines = text.strip().splitlines()
    rows = [ast.literal_eval(line) for line in lines if line.startswith("{")]
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        yield "| " + " | ".join(columns) + " |"
        yield "|---" * len(columns) + "|"
        for row in rows:
            cells = ("" if row.get(name) is None else str(row[name]) for name in columns)
            yield "| " + " | ".join(cells) + " |"
        yield ""
    yield from (f"- {line}" for line in lines if not line.startswith("{"))
    yield ""


def width_of(network):
    groups = network.get("groups", 1)
    return f"{groups} of width {network['width'] // groups} beside each other" if groups > 1 else f"width {network['width']}"


MADE_BY = "`examples/glioma/models/rebuild.sh`, which says every option"


def card(bundle, scores, made_by=MADE_BY):
    manifest = json.loads((bundle / "configs" / "metadata.json").read_text())
    ours = manifest["gliomagrading"]
    training, preparation, network = ours["training"], ours["preparation"], ours["network"]
    cases = training["cases"]
    unnamed = [case["case"] for case in cases if not case["licence"] or not case["attribution"]]
    if not cases or unnamed:
        raise SystemExit(f"{bundle.name}: training cases without licence or attribution: {', '.join(unnamed) or 'all'}")
    yield f"# {manifest['name']}\n"
    yield f"**{training['data'][0].upper() + training['data'][1:]}. Research use only: do not rely on it for a patient.**\n"
    yield f"Intended use: {manifest['intended_use']}.\n"
    yield "## Model\n"
    yield (
        f"- Network: `{network['name']}`, width {network['width']}, {network['levels']} levels, {'padded' if network['padded'] else 'valid'} convolutions (Pereira et al. 2018, arXiv:1809.09468, as rebuilt in this module)."
        if "levels" in network
        else f"- Network: `{network['name']}`, {width_of(network)} (Pereira et al. 2018, arXiv:1809.09468, as rebuilt in this module)."
    )
    yield f"- Voxels: {' x '.join(format(s, 'g') for s in ours['spacing'])} mm, orientation {ours['orientation']}; sequences T1, T1c, T2, FLAIR; skull-stripped."
    yield (
        f"- Preparation: {PREPARATION[preparation['bias_correction']]}, clipping to the quantiles {preparation['lower_quantile']:g} and "
        f"{preparation['upper_quantile']:g} of the brain, {PREPARATION[preparation['standardization']]}."
    )
    yield f"- Licence of the weights: {ours['licence']}."
    if ours["task"] == "grading":
        yield f"- Region: {REGION[ours['region']['of']]}, {ours['region']['output_size']} voxels a side."
    yield f"- Made by {made_by}.\n"
    yield "## Training cases\n"
    patients = [case for case in cases if not case["case"].startswith("phantom-")]
    yield f"{len(cases)} cases: {len(cases) - len(patients)} phantoms (`glioma synthesize`, no patients) and {len(patients)} patients.\n"
    yield "| cases | licence | attribution |\n|---|---|---|"
    key = lambda case: (case["case"].startswith("phantom-"), case["licence"], case["attribution"])
    for (_, licence, attribution), group in itertools.groupby(sorted(cases, key=lambda c: (key(c), c["case"])), key):
        yield f"| {runs([case['case'] for case in group])} | {licence} | {attribution} |"
    yield "\n## Scores\n"
    if not scores:
        yield "None: it has not been scored."
    elif any("dice_threshold" in text for _, text in scores):
        yield COLUMNS + "\n"
    for title, text in scores:
        yield f"{title}:\n"
        yield from table(text)
    yield "## What it is not\n"
    yield (
        "Not validated, not a medical device. Twelve patients are few, and in them grade and site go together: four of five LGG come from one "
        "old site and every HGG from a modern one, so a network that tells the scanners apart looks like a good grader on them. LGG and HGG are "
        "the classes of BRATS 2017, neither WHO 2021 nor molecular. Phantoms are drawn by rules and look like no patient."
    )


def main():
    arguments = sys.argv[1:]
    made_by = MADE_BY
    if arguments[:1] == ["--made-by"] and len(arguments) > 1:
        made_by = arguments[1]
        del arguments[:2]
    if not arguments or arguments[0].startswith("-") or any("=" not in argument for argument in arguments[1:]):
        raise SystemExit(__doc__)
    bundle = pathlib.Path(arguments[0])
    scores = [(title, pathlib.Path(file).read_text()) for title, file in (argument.split("=", 1) for argument in arguments[1:])]
    text = "\n".join(card(bundle, scores, made_by)) + "\n"
    (bundle / "docs").mkdir(exist_ok=True)
    (bundle / "docs" / "README.md").write_text(text)


if __name__ == "__main__":
    main()
