# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Runs the scripts that train and evaluate, as small as they can be: what they print and write, not how well they grade.

usage: test_training_scripts.py GLIOMA RUNBUNDLE SOURCE_FOLDER [unittest options]

With GLIOMAGRADING_TEST_DATA (default: shared/data beside the source) the authors' own split names the phantoms.
"""
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

GLIOMA, RUNBUNDLE, SOURCE = (os.path.abspath(path) for path in sys.argv[1:4])
DATA = pathlib.Path(os.environ.get("GLIOMAGRADING_TEST_DATA") or pathlib.Path(SOURCE).parent / "shared" / "data")


class TrainingScripts(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.work)

    def run_script(self, script, *arguments, **environment):
        return subprocess.run(
            ["bash", os.path.join(SOURCE, "examples", script), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "GLIOMA": GLIOMA, **environment},
        )

    def split(self):
        """The authors' file, or one like it."""
        real = DATA / "BRATS2017-split" / "brats2017_subjects_sets.py"
        if real.exists():
            return real
        lines = ["def get_subjects(subset):"]
        for s, chosen in enumerate(("Training", "Validation", "Test")):
            names = {g: [f"Brats17_TCIA_{100 * (s + 1) + 10 * k + i}_1" for i in range(4)] for k, g in enumerate(("HGG", "LGG"))}
            lines += [f"    if subset == '{chosen}':", f"        subjects = {names}"]
        path = self.work / "brats2017_subjects_sets.py"
        path.write_text("\n".join(lines))
        return path

    def test_table_of_two_rows(self):
        brats = self.work / "BRATS2017"
        outcome = self.run_script("glioma/brats-phantoms.sh", self.split(), 10, brats, "--spacing", 4)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        names = [folder.name for folder in brats.glob("*/*")]
        self.assertEqual(len(names), 10)
        text = self.split().read_text()
        for name in names:
            self.assertRegex(text, f"['\"]{name}['\"]")
            (grade,) = {path.parent.parent.name for path in brats.glob(f"*/{name}/*")}
            files = sorted(path.name for path in (brats / grade / name).iterdir())
            self.assertEqual(files, [f"{name}_{s}.nii.gz" for s in ("flair", "seg", "t1", "t1ce", "t2")])
        subprocess.run([RUNBUNDLE, "write", "segmentation", "4", "3", "0", "72", self.work / "segmentation"], check=True)
        options = ["--cohort", brats, "--split", self.split(), "--output", self.work / "out", "--width", 4, "--epochs", 1]
        options += ["--segmentation-model", self.work / "segmentation", "--rows", "tumour-brain brain-image"]
        for option in ("--spacing=4", "--patch=72", "--bias-correction=none"):
            options += ["--train", option]
        outcome = self.run_script("glioma/table-1.sh", *options)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        evaluation = json.loads((self.work / "out/table/evaluation.json").read_text())
        self.assertEqual([(r["region"], r["standardization"]) for r in evaluation["rows"]], [("tumour", "brain"), ("brain", "image")])
        self.assertEqual(evaluation["cohort"]["set"], "test")
        self.assertEqual(len(evaluation["comparisons"]), 1)
        # The second row takes the masks of the first.
        for case in evaluation["rows"][0]["cases"]:
            first, second = (self.work / "out" / row / "cases" / case["case"] / "tumour.nii.gz" for row in ("tumour-brain", "brain-image"))
            self.assertTrue(first.exists() and second.exists())
        # What is done is kept.
        again = self.run_script("glioma/table-1.sh", *options)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("== ", again.stdout)

    def test_demonstration(self):
        outcome = self.run_script("train-demo.sh", self.work / "demo", CASES="10", STEPS="1")
        self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)
        with open(self.work / "demo/COHORT.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        sets = {(row["grade"], row["set"]): 0 for row in rows}
        for row in rows:
            sets[row["grade"], row["set"]] += 1
        self.assertEqual(sets, {(g, s): n for g in ("LGG", "HGG") for s, n in (("training", 3), ("validation", 1), ("test", 1))})
        for name in ("segmentation", "grading"):
            self.assertTrue((self.work / "demo" / name / "configs/metadata.json").exists())
        (row,) = json.loads((self.work / "demo/evaluation/evaluation.json").read_text())["rows"]
        self.assertEqual(len(row["cases"]), 2)
        self.assertIsNotNone(row["scanner_control"])
        self.assertTrue(re.search(r"took \d+ minutes", outcome.stdout), outcome.stdout)
        self.assertEqual(self.run_script("train-demo.sh", "one", "two").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
