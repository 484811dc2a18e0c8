#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""What test/benchmark/score_cohort.py and examples/glioma/models/write_model_card.py make of small predictions. Ends with 77 where a package is
missing.

  test_scores_and_model_card.py SOURCE_FOLDER [unittest options]
"""
import csv
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
    import SimpleITK as sitk
    import sklearn.metrics
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SOURCE = pathlib.Path(sys.argv[1]).resolve()

# Grade, P(HGG), of the whole brain, without the tumour; None where there is none. f has no tumour, e is not graded. a and c tie.
CASES = {
    "f": ("LGG", None, None, None),
    "a": ("LGG", 0.7, 0.6, 0.5),
    "b": ("LGG", 0.2, 0.4, 0.45),
    "c": ("HGG", 0.7, 0.8, 0.5),
    "d": ("HGG", 0.9, 0.9, 0.55),
    "e": ("HGG", None, 0.7, None),
}


def probabilities(p):
    return None if p is None else {"probabilities": {"LGG": 1 - p, "HGG": p}}


class Scores(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.work)
        self.predictions = self.work / "predictions"
        random = np.random.default_rng(5)
        rows = []
        for number, (name, (grade, p, brain, without)) in enumerate(CASES.items()):
            folder = self.predictions / name
            folder.mkdir(parents=True)
            mask = np.zeros((12, 12, 12), np.uint8)
            mask[3:7, 3:7, 3:7] = 1
            row = {"case": name, "grade": grade}
            for sequence in ("t1", "t1c", "t2", "flair"):
                image = random.normal(100, 5, mask.shape)
                if sequence == "t1c":
                    image[3 : 3 + number % 4, 3:7, 3:7] += 60  # its part enhances
                elif sequence != "t1":
                    image[mask > 0] += 60
                row[sequence] = f"{name}_{sequence}.nii.gz"
                sitk.WriteImage(sitk.GetImageFromArray(image.astype(np.float32)), str(self.work / row[sequence]))
            row["seg"] = f"{name}_seg.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(mask), str(self.work / row["seg"]))
            sitk.WriteImage(sitk.GetImageFromArray(mask * (name != "f")), str(folder / "tumour.nii.gz"))
            result = {**(probabilities(p) or {"probabilities": None}), "whole_brain": probabilities(brain)}
            result.update(without_tumour=probabilities(without), quality=None, reasons=["made up"] if name == "a" else [])
            (folder / "result.json").write_text(json.dumps(result))
            rows.append(row)
        with open(self.work / "COHORT.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    def score(self, *options):
        command = [sys.executable, SOURCE / "test/benchmark/score_cohort.py", "--cohort", self.work / "COHORT.csv"]
        command += ["--predictions", self.predictions, "--csv", self.work / "scores.csv", *options]
        outcome = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        with open(self.work / "scores.csv", newline="") as file:
            return outcome.stdout, {row["case"]: row for row in csv.DictReader(file)}

    def test_its_numbers(self):
        said, rows = self.score()
        truth = {name: case[0] == "HGG" for name, case in CASES.items()}
        self.assertIn("2 without a grade\n", said)
        # Right are b, c and d; e and f, which have no grade, are wrong. Wilson's interval of a half of six by hand: 0.5 +- 0.3124.
        self.assertIn("Accuracy of p_hgg: 3/6 (95 % 0.19 to 0.81), 2 without a grade counted as wrong, both grades occur\n", said)
        self.assertIn("Accuracy of p_hgg_brain: 4/6 (95 % 0.30 to 0.90), 1 without a grade counted as wrong, both grades occur\n", said)
        for name, at in (("p_hgg", 1), ("p_hgg_brain", 2)):
            known = {case: values[at] for case, values in CASES.items() if values[at] is not None}
            expected, p = [truth[case] for case in known], list(known.values())
            area, error = (float(re.search(rf"{what} of {name}: (\S+)", said)[1]) for what in ("AUC", "Brier score"))
            self.assertAlmostEqual(area, sklearn.metrics.roc_auc_score(expected, p), 3)
            self.assertAlmostEqual(error, sklearn.metrics.brier_score_loss(expected, p), 3)
            for what in ("AUC", "Brier score"):
                self.assertRegex(said, rf"{what} of {name}: .*, without {6 - len(known)} of 6 cases that have none\n")
        self.assertRegex(said, r"AUC of p_hgg: 0\.875 ")  # the tie is one half of one of four pairs
        self.assertIn("Sent to review: 1/6, of the wrong grades 1/1\n", said)
        # Where there is no tumour, there is no share of it.
        self.assertEqual([name for name, row in rows.items() if row["enhancing_share"] == ""], ["f"])
        shares = {name: float(row["enhancing_share"]) for name, row in rows.items() if name != "f"}
        area = re.search(r"AUC of enhancing_share: (\S+) .*, without 1 of 6 cases that have none\n", said)
        expected = sklearn.metrics.roc_auc_score([truth[name] for name in shares], list(shares.values()))
        self.assertAlmostEqual(float(area[1]), expected, 3)
        self.assertIn("with the tumour, 4 cases: AUC 0.875, distance of the two probabilities 0.550 on average\n", said)
        self.assertIn("without the tumour, 4 cases: AUC 0.875, distance of the two probabilities 0.050 on average\n", said)

    def test_a_perfect_order_has_an_interval(self):
        said, _ = self.score("--cases", "b", "c", "d")
        # As `glioma evaluate`: Wilson over the smaller class, here one case. By hand: 1 / (1 + 1.96^2).
        self.assertIn("AUC of p_hgg: 1.000 (95 % 0.21 to 1.00)\n", said)
        self.assertIn("Accuracy of p_hgg: 3/3 (95 % 0.44 to 1.00), both grades occur\n", said)
        said, _ = self.score("--cases", "a", "b", "c", "d")
        self.assertIn("AUC of p_hgg_brain: 1.000 (95 % 0.34 to 1.00)\n", said)  # 2 / (2 + 1.96^2)
        self.assertRegex(said, r"AUC of p_hgg: 0\.875 \(95 % 0\.\d\d to 1\.00\)\n")

    def test_nothing_is_graded(self):
        said, _ = self.score("--cases", "f")
        self.assertIn("1 without a grade\n", said)
        self.assertIn("Accuracy of p_hgg: 0/1 (95 % 0.00 to 0.79), 1 without a grade counted as wrong, no grade at all\n", said)
        self.assertNotIn("p_hgg_brain:", said)

    def test_its_card(self):
        said, _ = self.score()
        bundle, scores = self.work / "bundle", self.work / "scores.txt"
        # A file of an earlier score_cohort.py leaves out what the first case does not have.
        earlier = [
            {"case": "f", "p_hgg": None, "verdict": "no-flags"},
            {"case": "a", "p_hgg": 0.7, "p_hgg_brain": 0.6, "verdict": "review"},
        ]
        old = self.work / "earlier.txt"
        old.write_text("\n".join(map(str, earlier)) + "\nDice: mean 0.5\n")
        scores.write_text(said)
        (bundle / "configs").mkdir(parents=True)
        ours = {
            "task": "grading",
            "training": {"data": "made up", "cases": [{"case": "phantom-1-0001", "licence": "Apache-2.0", "attribution": "nobody"}]},
            "preparation": {"bias_correction": "none", "lower_quantile": 0.005, "upper_quantile": 0.995, "standardization": "brain"},
            "network": {"name": "grading", "width": 6, "groups": 3},
            "region": {"of": "tumour", "output_size": 96},
            "spacing": [1, 1, 1],
            "orientation": "LPS",
            "licence": "CC BY 4.0",
        }
        manifest = {"name": "a grader", "intended_use": "tests", "gliomagrading": ours}
        (bundle / "configs/metadata.json").write_text(json.dumps(manifest))
        script = SOURCE / "examples/glioma/models/write_model_card.py"
        subprocess.run([sys.executable, script, bundle, f"Of today={scores}", f"Of an earlier day={old}"], check=True)
        card = (bundle / "docs/README.md").read_text()
        self.assertIn("- Made by `examples/glioma/models/rebuild.sh`, which says every option.\n", card)
        subprocess.run([sys.executable, script, "--made-by", "three seeds", bundle, f"Of today={scores}"], check=True)
        self.assertEqual((bundle / "docs/README.md").read_text().count("- Made by three seeds.\n"), 1)

        def table(title):
            lines = [line for line in card.split(f"{title}:\n")[1].split("\n- ")[0].splitlines() if line.startswith("|")]
            cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
            self.assertEqual({len(row) for row in cells}, {len(cells[0])}, lines)
            return {row[0]: dict(zip(cells[0], row)) for row in cells[1:]}

        today = table("Of today")
        self.assertEqual(list(today), list(CASES))
        for name, (grade, p, brain, without) in CASES.items():
            expected = {"grade": grade, "p_hgg": p, "p_hgg_brain": brain, "without_tumour": without}
            self.assertEqual({key: today[name][key] for key in expected}, {k: "" if v is None else str(v) for k, v in expected.items()})
        self.assertEqual((today["f"]["enhancing_share"], today["f"]["dice"], today["a"]["verdict"]), ("", "0.0", "review"))
        self.assertEqual(
            table("Of an earlier day"),
            {
                "f": {"case": "f", "p_hgg": "", "verdict": "no-flags", "p_hgg_brain": ""},
                "a": {"case": "a", "p_hgg": "0.7", "verdict": "review", "p_hgg_brain": "0.6"},
            },
        )
        self.assertIn("- Accuracy of p_hgg: 3/6", card)
        self.assertIn("`grading`, 3 of width 2 beside each other", card)
        self.assertIn("necessary and not enough", card)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
