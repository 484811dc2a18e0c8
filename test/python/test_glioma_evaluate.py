# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Runs `glioma evaluate` on phantoms in BRATS 2017's layout and on predictions that are made up.

usage: test_glioma_evaluate.py GLIOMA RUNBUNDLE SCHEMA [unittest options]
"""
import csv
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

try:
    import jsonschema
    import numpy as np
    import scipy.optimize
    import SimpleITK as sitk
    import sklearn.metrics
except ImportError as error:
    print(f"SKIPPED: {error}; pip install -r test/requirements.txt")
    sys.exit(77)

GLIOMA, RUNBUNDLE, SCHEMA = (os.path.abspath(path) for path in sys.argv[1:4])
# Names of BRATS 2017, with the sets that the authors gave them.
SUBJECTS = {
    "Brats17_CBICA_AAB_1": ("HGG", "Training"),
    "Brats17_TCIA_130_1": ("LGG", "Training"),
    "Brats17_TCIA_180_1": ("HGG", "Validation"),
    "Brats17_TCIA_325_1": ("LGG", "Validation"),
    "Brats17_CBICA_BHK_1": ("HGG", "Test"),
    "Brats17_TCIA_470_1": ("LGG", "Test"),
}

# Table 1 of Pereira et al. 2018 (arXiv 1809.09468), as printed: of each region and standardization the F1, precision, recall,
# accuracy and ROC-AUC beside LGG, and the first three beside HGG.
TABLE_1 = {
    ("brain", "image"): (["0.8000", "0.8000", "0.8000", "0.8950", "0.8857"], ["0.929", "0.929", "0.929"]),
    ("brain", "brain"): (["0.8000", "0.8000", "0.8000", "0.8950", "0.8913"], ["0.9286", "0.9286", "0.9286"]),
    ("tumour", "image"): (["0.7879", "0.7222", "0.8667", "0.8770", "0.8841"], ["0.9136", "0.9487", "0.881"]),
    ("tumour", "brain"): (["0.8667", "0.8667", "0.8667", "0.9298", "0.9841"], ["0.9524", "0.9524", "0.9524"]),
}

# Of the first rows' curves, as EvaluationPlots.cxx has them.
ROW_COLOURS = ((86, 180, 233), (230, 159, 0))


def is_picture(path):
    data = path.read_bytes()
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 2000


def read_array(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def row_drawn_at(picture, x, y):
    """Which row has its colour at a place of the plot's unit square; None: no row. A disc covers 85 % of what is below it."""
    pixel = picture[round(60 + 480 * (1 - y)), round(50 + 480 * x)].astype(int)
    apart = np.abs(np.array(ROW_COLOURS) - pixel).max(axis=1)
    return int(apart.argmin()) if apart.min() <= 40 else None


def best_temperature(probabilities):
    """Where the cross-entropy of P(HGG) by name is least: by the loss alone, by others' functions."""
    truth = [SUBJECTS[name][0] == "HGG" for name in probabilities]
    logits = np.array([np.log(p / (1 - p)) for p in probabilities.values()])
    loss = lambda log_t: sklearn.metrics.log_loss(truth, 1 / (1 + np.exp(-logits / np.exp(log_t))))
    return np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}).x)


def set_tensor(bundle, name, values):
    """Fills a tensor of the weights and mends the manifest's digest."""
    path = os.path.join(bundle, "models", "model.safetensors")
    data = bytearray(pathlib.Path(path).read_bytes())
    before = hashlib.sha256(data).hexdigest()
    length = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    number = (end - begin) // 4
    data[8 + length + begin : 8 + length + end] = np.resize(np.float32(values), number).tobytes()
    pathlib.Path(path).write_bytes(data)
    manifest = os.path.join(bundle, "configs", "metadata.json")
    text = pathlib.Path(manifest).read_text()
    assert before in text
    pathlib.Path(manifest).write_text(text.replace(before, hashlib.sha256(data).hexdigest()))


class GliomaEvaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        phantoms = cls.folder / "phantoms"
        subprocess.run(
            [GLIOMA, "synthesize", "--cases", "6", "--seed", "3", "--spacing", "4", "--output", phantoms],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with open(phantoms / "COHORT.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        # The layout of BRATS 2017: HGG/NAME/NAME_t1.nii.gz.
        cls.brats = cls.folder / "brats"
        for name, (grade, _) in SUBJECTS.items():
            row = rows.pop(next(i for i, row in enumerate(rows) if row["grade"] == grade))
            (cls.brats / grade / name).mkdir(parents=True)
            for column, suffix in (("t1", "t1"), ("t1c", "t1ce"), ("t2", "t2"), ("flair", "flair"), ("seg", "seg")):
                shutil.copy(phantoms / row[column], cls.brats / grade / name / f"{name}_{suffix}.nii.gz")
        shutil.rmtree(phantoms)
        lines = ["def get_subjects(subset):"]
        for chosen in ("Training", "Validation", "Test"):
            lists = {g: [n for n, s in SUBJECTS.items() if s == (g, chosen)] for g in ("HGG", "LGG")}
            lines += [f"    if subset == '{chosen}':", f"        subjects = {lists}", "        return subjects"]
        cls.split = cls.folder / "brats2017_subjects_sets.py"
        cls.split.write_text("\n".join(lines) + "\nraise SystemExit('this file must not be executed')\n")
        for task in ("segmentation", "grading"):
            subprocess.run([RUNBUNDLE, "write", task, "4", "3", "0", "72", cls.folder / task], check=True)
        # Everything is tumour: what is found does not hang on seeded weights.
        set_tensor(cls.folder / "segmentation", "head.weight", [0.0])
        set_tensor(cls.folder / "segmentation", "head.bias", [-0.5, 0.5])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        self.output = self.work / "out"

    def run_evaluate(self, *more, cohort=None, split=True, output=None):
        command = [GLIOMA, "evaluate", "--cohort", cohort or self.brats, "--output", output or self.output]
        if split:
            command += ["--split", self.split]
        return subprocess.run([*map(str, command), *map(str, more)], capture_output=True, text=True)

    def evaluate(self, *more, **options):
        outcome = self.run_evaluate(*more, **options)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        evaluation = json.loads(((options.get("output") or self.output) / "evaluation.json").read_text())
        jsonschema.validate(evaluation, json.loads(pathlib.Path(SCHEMA).read_text()))
        return evaluation

    def image(self, subject, suffix):
        return self.brats / SUBJECTS[subject][0] / subject / f"{subject}_{suffix}.nii.gz"

    def table(self, sets):
        """A COHORT.csv of some subjects, with the set of each by name."""
        rows = ["case,t1,t1c,t2,flair,seg,grade,set"]
        for name, chosen in sets.items():
            files = [str(self.image(name, suffix)) for suffix in ("t1", "t1ce", "t2", "flair", "seg")]
            rows.append(",".join([name, *files, SUBJECTS[name][0], chosen]))
        path = self.work / "COHORT.csv"
        path.write_text("\n".join(rows) + "\n")
        return path

    def masks(self, names):
        """The experts' masks as DIR/CASE/tumour.nii.gz."""
        for name in names:
            (self.work / "masks" / name).mkdir(parents=True)
            mask = sitk.Cast(sitk.ReadImage(str(self.image(name, "seg"))) > 0, sitk.sitkUInt8)
            sitk.WriteImage(mask, str(self.work / "masks" / name / "tumour.nii.gz"))
        return self.work / "masks"

    def write_result(self, folder, probability, quality=None):
        folder.mkdir(parents=True, exist_ok=True)
        grade = None if probability is None else "HGG" if probability > 0.5 else "LGG"
        result = {
            "schema": "glioma-grade-result/1",
            "grade": grade,
            "probabilities": None if probability is None else {"LGG": 1 - probability, "HGG": probability},
            "verdict": "review" if probability is None or abs(probability - 0.5) < 0.2 else "no-flags",
            "reasons": [],
            "quality": {"gradcam-res3-tumour-ratio": quality, "always": 1.0},
            "provenance": {"models": {"segmentation": None, "grading": {"sha256": "0" * 64, "standardization": "image"}}},
        }
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "report.html").write_text("<html>")

    def predict(self, name, probabilities, empty=(), erode=(), quality=None):
        """Predictions of all subjects: P(HGG) by name (None: no tumour was found), masks as they are, emptied or shrunk."""
        for subject, probability in probabilities.items():
            folder = self.work / name / subject
            self.write_result(folder, probability, (quality or {}).get(subject))
            mask = sitk.ReadImage(str(self.image(subject, "seg"))) > 0
            if subject in empty:
                mask = mask * 0
            if subject in erode:
                mask = sitk.BinaryErode(mask, [1, 1, 1])
            sitk.WriteImage(mask, str(folder / "tumour.nii.gz"))
        return self.work / name

    def test_scores_predictions(self):
        truth = np.array([grade == "HGG" for grade, _ in SUBJECTS.values()])
        first = dict(zip(SUBJECTS, (0.9, 0.2, 0.4, 0.6, 0.8, 0.4)))
        second = dict(zip(SUBJECTS, (0.7, 0.7, 0.6, 0.3, 0.3, None)))
        names = list(SUBJECTS)
        folders = [
            self.predict("one", first, erode=names[:1], quality=dict(zip(names, (3.0, 2.5, 0.5, 0.6, 2.0, None)))),
            self.predict("two", second, empty=names[5:]),
        ]
        evaluation = self.evaluate(
            f"--predictions=A={folders[0]}", f"--predictions={folders[1]}", "--set", "all", "--temperature", "--explain", "--baselines"
        )
        one, two = evaluation["rows"]
        scores = np.array(list(first.values()))
        self.assertEqual((one["name"], two["name"]), ("A", "tumour ROI, whole image"))
        self.assertEqual((one["region"], one["standardization"]), ("tumour", "image"))
        self.assertAlmostEqual(one["accuracy"]["value"], 4 / 6)
        self.assertAlmostEqual(one["roc_auc"]["value"], sklearn.metrics.roc_auc_score(truth, scores))
        self.assertAlmostEqual(one["brier"]["value"], sklearn.metrics.brier_score_loss(truth, scores))
        self.assertAlmostEqual(one["grades"]["HGG"]["f1"]["value"], sklearn.metrics.f1_score(truth, scores > 0.5))
        self.assertEqual(one["confusion"], {"LGG": {"LGG": 2, "HGG": 1, "none": 0}, "HGG": {"LGG": 1, "HGG": 2, "none": 0}})
        # Validation: P(HGG) 0.4 of an HGG and 0.6 of an LGG: no temperature mends that.
        self.assertIn("wrong side", one["temperature"]["undefined"])
        self.assertEqual(two["confusion"]["LGG"], {"LGG": 1, "HGG": 1, "none": 1})
        # Validation: 0.6 of an HGG and 0.3 of an LGG are both right.
        self.assertIn("every case is right", two["temperature"]["undefined"])
        self.assertAlmostEqual(two["accuracy"]["value"], 3 / 6)

        # Shrunk: below 1, and the volume is too small. Empty: Dice 0 and no distance, with the reason.
        self.assertLess(one["segmentation"]["dice"]["minimum"], 1)
        self.assertEqual(one["segmentation"]["dice"]["lowest_case"], names[0])
        self.assertLess(one["segmentation"]["volume_error_ml"]["minimum"], 0)
        self.assertEqual(two["segmentation"]["hausdorff95_mm"]["undefined"], {names[5]: "the predicted mask is empty"})
        self.assertEqual(two["segmentation"]["dice"]["minimum"], 0)
        self.assertEqual(two["segmentation"]["hausdorff95_mm"]["maximum"], 0)

        for baseline in one["baselines"]["cases"]:
            self.check_baseline(baseline, folders[0])
        self.assertAlmostEqual(
            one["baselines"]["threshold_dice"]["value"], np.mean([b["threshold_dice"] for b in one["baselines"]["cases"]])
        )

        (pair,) = evaluation["comparisons"]
        self.assertEqual((pair["only_first_right"], pair["only_second_right"]), (3, 2))
        self.assertAlmostEqual(pair["mcnemar_p"], 1.0)
        study = one["explanations"]
        self.assertEqual((study["right"], study["wrong"]), (4, 2))
        # Wrong ones are 0.4 and 0.6 and flagged, of the right ones one is: AUC (2 * 3 + 2 * 0.5) / 8.
        self.assertAlmostEqual(study["verdict_auc"]["value"], 7 / 8)
        ratio = study["quality"]["gradcam-res3-tumour-ratio"]
        self.assertEqual(ratio["wrong_auc"]["value"], 0)  # low where wrong
        self.assertEqual((ratio["right"]["cases"], ratio["wrong"]["median"], ratio["LGG"]["maximum"]), (3, 0.55, 2.5))
        self.assertEqual(study["quality"]["always"]["wrong_auc"]["value"], 0.5)
        self.assertEqual(study["mean_maps"], [])

        text = (self.output / "evaluation.md").read_text()
        wrong = {case["case"]: case["report"] for case in one["cases"] if not case["right"]}
        self.assertEqual(set(wrong), {names[2], names[3]})
        for report in wrong.values():
            self.assertTrue((self.output / report).exists(), report)
            self.assertIn(f"]({report})", text)
        self.check_plots(evaluation)

        # Another evaluation replaces this one only with --force.
        outcome = self.run_evaluate("--predictions", folders[0])
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("--force", outcome.stderr)
        again = self.evaluate("--predictions", folders[0], "--force")
        self.assertEqual((again["cohort"]["set"], again["cohort"]["cases"], len(again["rows"])), ("test", 2, 1))
        self.assertEqual(again["rows"][0]["roc_auc"]["interval"].split(",")[0], "Wilson over the smaller class")
        self.assertEqual(
            sorted(p.name for p in self.output.iterdir()),
            ["evaluation.json", "evaluation.md", "evaluation.tex", "reliability.png", "roc.png"],
        )

    def test_tables_hold_the_papers_cells(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        options = []
        for region, standardization in TABLE_1:
            folder = self.predict(f"{region}-{standardization}", dict(zip(test, (0.9, 0.2))))
            for path in folder.glob("*/result.json"):
                result = json.loads(path.read_text())
                result["provenance"]["models"]["grading"].update(region=region, standardization=standardization)
                path.write_text(json.dumps(result))
            options.append(f"--predictions={folder}")
        self.evaluate(*options)
        rows = {
            "evaluation.md": [line.split("|")[2:-1] for line in (self.output / "evaluation.md").read_text().splitlines()],
            # The first column has the names of the rows.
            "evaluation.tex": [
                line.removesuffix(r"\\").split("&")[1:] for line in (self.output / "evaluation.tex").read_text().splitlines()
            ],
        }
        for name, lines in rows.items():
            lines = [[cell.strip() for cell in line] for line in lines if len(line) == 8]
            for (region, standardization), (low, high) in TABLE_1.items():
                names = [
                    {"brain": "whole brain", "tumour": "tumour ROI"}[region],
                    {"brain": "brain mask", "image": "whole image"}[standardization],
                ]
                with self.subTest(file=name, row=names):
                    # Below our own two lines, LGG and HGG, are the paper's.
                    (i,) = (i for i, line in enumerate(lines) if line[:2] == names)
                    self.assertEqual([line[2] for line in lines[i : i + 4]], ["LGG", "HGG", "LGG", "HGG"])
                    self.assertEqual((lines[i + 2][3:], lines[i + 3][3:]), (low, high + ["", ""]))

    def test_carries_warnings_and_says_phantom(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        folders = [self.predict(name, dict(zip(test, (0.9, 0.2))), quality=dict.fromkeys(test, -1e-9)) for name in ("one", "two")]
        warning = "WARNING: the models were trained on 2 of the 2 cases & 100 % of a_b\\c."
        earlier = {
            "schema": "glioma-evaluation/1",
            "cohort": {"cases": 2},
            "notes": [warning, "The temperature is undefined: of no interest."],
        }
        (folders[0] / "evaluation.json").write_text(json.dumps(earlier))
        latex = "WARNING: the models were trained on 2 of the 2 cases \\& 100 \\% of a\\_b\\textbackslash{}c."
        (only,) = self.evaluate("--predictions", folders[0], output=self.work / "only")["rows"]
        for notes, rows in (([warning], folders[:1]), ([f"A: {warning}"], [f"A={folders[0]}", f"B={folders[1]}"])):
            evaluation = self.evaluate(*(f"--predictions={row}" for row in rows), "--force")
            self.assertEqual(evaluation["notes"], notes)
            self.assertIn(f"> {notes[0]}\n", (self.output / "evaluation.md").read_text())
            (caption,) = re.findall(r"\\caption\{(.*)\}\n", (self.output / "evaluation.tex").read_text())
            self.assertIn("Research use only. ", caption)
            self.assertIn(latex, caption)
        # Of a folder cases/ the evaluation lies above. Its number of cases is another.
        (self.work / "above").mkdir()
        folders[0].rename(self.work / "above/cases")
        shutil.move(self.work / "above/cases/evaluation.json", self.work / "above/evaluation.json")
        (self.work / "above/evaluation.json").write_text(json.dumps({**earlier, "cohort": {"cases": 12}}))
        for folder in ("above", "above/cases"):
            (note,) = self.evaluate("--predictions", self.work / folder, "--force")["notes"]
            self.assertEqual(note, f"{warning} (Said of 12 cases that were evaluated before.)")

        path = folders[1] / test[0] / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "phantom": True}))
        for _ in range(2):  # said once, from whichever evaluation
            evaluation = self.evaluate("--predictions", folders[1], "--explain", "--force")
            self.assertEqual(evaluation["notes"], ["1 of the 2 cases are phantoms, not patients."])
            shutil.copy(self.output / "evaluation.json", folders[1])
        text = (self.output / "evaluation.md").read_text()
        for part in (text, (self.output / "evaluation.tex").read_text()):
            self.assertIn("1 of the 2 cases are phantoms, not patients.", part)
        # In the pictures too: "Research use only." alone has fewer dots.
        for picture in ("roc", "reliability"):
            below = read_array(self.output / f"{picture}.png")[610:].astype(int)
            self.assertGreater((np.abs(below - 150).max(axis=2) < 5).sum(), 400, picture)
        # Every grade is right: that is said once, and not beside every number.
        self.assertEqual(text.count("no grade is wrong"), text.count("undefined: no grade is wrong"))
        self.assertLessEqual(text.count("no grade is wrong"), 3)
        self.assertIn("| always | 1.000 | 1.000 | 1.000 | - | - |", text)
        # What is rounded to 0 has no sign.
        self.assertNotRegex(text, r"-0\.0+\b")

    def test_says_what_the_models_were_trained_on(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        folder = self.predict("one", dict(zip(test, (0.9, 0.2))))
        nasty = "a|b `c` *d* <img src=x> [e](f) $g$ & 100 %_#{}~^\\\nnew"
        for name in test:
            path = folder / name / "result.json"
            result = json.loads(path.read_text())
            models = result["provenance"]["models"]
            models["segmentation"] = {"name": "finder", "demonstration": False, "training_data": "", "sha256": "1"}
            models["grading"].update(name=nasty, demonstration=True, training_data="trained on phantoms and twelve patients, not validated")
            path.write_text(json.dumps(result))
        (row,) = self.evaluate("--predictions", folder)["rows"]
        text = (self.output / "evaluation.md").read_text()
        said = "(a demonstration, trained on phantoms and twelve patients, not validated)"
        (line,) = (line for line in text.splitlines() if said in line)
        self.assertTrue(line.startswith(f"- {row['name']}: tumour found by finder (training data not stated); graded by a\\|b"), line)
        self.assertLess(text.index("Research use only."), text.index(line))
        self.assertNotRegex(line, r"(?<!\\)[`*_\[\]<>|~&#$]")
        (caption,) = re.findall(r"\\caption\{(.*)\}\n", (self.output / "evaluation.tex").read_text())
        self.assertIn(said, caption)
        self.assertIn("\\$g\\$ \\& 100 \\%\\_\\#\\{\\}\\textasciitilde{}\\textasciicircum{}\\textbackslash{} new", caption)
        # A result may say nothing of its models.
        for name in test:
            path = folder / name / "result.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "provenance": {"models": {"grading": {"sha256": "0", "name": 7}}}}))
        self.evaluate("--predictions", folder, "--force")
        self.assertIn("graded by a model without a name (training data not stated)", (self.output / "evaluation.md").read_text())
        # The pictures say of what they are: in their alternative texts, and in grey below the legend.
        self.assertRegex((self.output / "evaluation.md").read_text(), r"!\[ROC curve, AUC \d\.\d{3}\]\(roc\.png\)")
        for picture in ("roc", "reliability"):
            below = read_array(self.output / f"{picture}.png")[610:].astype(int)
            self.assertGreater((np.abs(below - 150).max(axis=2) < 5).sum(), 150, picture)

    def test_long_names_of_rows_fit_the_plots(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        folder = self.predict("one", dict(zip(test, (0.9, 0.2))))
        name = "a grader with a very long name that says all of how it was trained and on which patients"
        self.evaluate(f"--predictions={name}={folder}")
        for picture in ("roc", "reliability"):
            picture = read_array(self.output / f"{picture}.png")
            lit = np.nonzero((picture[560:].astype(int) - picture[-1, -1]).max(axis=2).max(axis=0) > 30)[0]
            self.assertGreater(lit.max(), 80 + 6 * len(name))
            self.assertLess(lit.max(), picture.shape[1] - 5)

    def check_plots(self, evaluation):
        """Each row's curve and discs lie where its numbers say, in its own colour."""
        curves, discs = (read_array(self.output / f"{name}.png") for name in ("roc", "reliability"))
        for i, row in enumerate(evaluation["rows"]):
            self.assertGreaterEqual(len(row["roc"]), 4)
            for a, b in zip(row["roc"], row["roc"][1:]):
                middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
                self.assertEqual(row_drawn_at(curves, *middle), i, f"row {i}: no curve at {middle}")
            places = [(b["mean_probability"], b["share_hgg"]) for b in row["reliability"] if b["cases"] > 0]
            self.assertGreaterEqual(len(places), 3)
            for place in places:
                self.assertEqual(row_drawn_at(discs, *place), i, f"row {i}: no disc at {place}")
        for picture in (curves, discs):
            self.assertIsNone(row_drawn_at(picture, 0.9, 0.1))

    def check_baseline(self, baseline, folder):
        """The two rules without a network, by NumPy and SimpleITK."""
        name = baseline["case"]
        stem = self.brats / SUBJECTS[name][0] / name / name
        read = lambda path: sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(float)
        t1, t1c, t2, flair, truth = (read(f"{stem}_{s}.nii.gz") for s in ("t1", "t1ce", "t2", "flair", "seg"))
        brain = (t1 != 0) | (t1c != 0) | (t2 != 0) | (flair != 0)
        robust = lambda x: (x - np.median(x[brain])) / (1.4826 * np.median(np.abs(x[brain] - np.median(x[brain]))) + 1e-6)
        bright = ((robust(t2) > 1.5) & (robust(flair) > 1.5) & brain).astype(np.uint8)
        components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(bright), True))
        largest, truth = sitk.GetArrayFromImage(components) == 1, truth > 0
        self.assertAlmostEqual(baseline["threshold_dice"], 2 * (largest & truth).sum() / (largest.sum() + truth.sum()))
        scaled = lambda x: (x - x[brain].mean()) / x[brain].std()
        mask = read(folder / name / "tumour.nii.gz") > 0
        self.assertAlmostEqual(baseline["enhancing_share"], (scaled(t1c) - scaled(t1) > 1)[mask].mean())

    def check_region_of_prediction(self, name, result):
        """The region is cut around the predicted mask, the whole brain here, and not around the expert's, which is smaller."""
        self.assertEqual(result["tumour_mask"], "found")
        self.assertNotIn("tumour-mask", result["provenance"]["inputs"])
        predicted = sitk.ReadImage(str(self.output / "cases" / name / "tumour.nii.gz"))
        longest = []
        for mask in (predicted, sitk.ReadImage(str(self.image(name, "seg")))):
            where = np.argwhere(sitk.GetArrayFromImage(mask) > 0)
            longest.append(((np.ptp(where, axis=0) + 1) * mask.GetSpacing()[::-1]).max())
        self.assertGreater(longest[0], longest[1] + 30)
        # A cube: the longest side and 10 voxels of 4 mm at each end.
        np.testing.assert_allclose(result["roi"]["sides_mm"], longest[0] + 80, atol=1e-3)

    def test_grades_a_cohort_and_resumes(self):
        models = ["--segmentation-model", self.folder / "segmentation", "--grading-model", self.folder / "grading"]
        outcome = self.run_evaluate(*models, "--explain", "--temperature")
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        evaluation = json.loads((self.output / "evaluation.json").read_text())
        jsonschema.validate(evaluation, json.loads(pathlib.Path(SCHEMA).read_text()))
        (row,) = evaluation["rows"]
        self.assertEqual([case["case"] for case in row["cases"]], ["Brats17_CBICA_BHK_1", "Brats17_TCIA_470_1"])
        self.assertEqual(row["name"], "tumour ROI, brain mask")
        self.assertEqual(row["temperature"]["validation_cases"], 2)
        for case in row["cases"]:
            result = json.loads((self.output / "cases" / case["case"] / "result.json").read_text())
            self.assertEqual((result["probabilities"] or {}).get("HGG"), case["probability_hgg"])
            self.assertEqual(case["report"], f"cases/{case['case']}/report.html")
            self.check_region_of_prediction(case["case"], result)
        self.assertIn("[1/4]", outcome.stderr)
        # Of seeded weights a GradCAM may have no positive cell; guided backpropagation is never 0.
        self.assertEqual(row["explanations"]["mean_maps"][-1]["map"], "guided-backprop")
        self.assertEqual(row["explanations"]["mean_maps"][-1]["cases"], 2)
        for picture in row["explanations"]["mean_maps"]:
            self.assertTrue(is_picture(self.output / picture["file"]))

        # What is there is kept, what is gone is made again; the numbers are the same.
        kept = (self.output / "cases/Brats17_CBICA_BHK_1/result.json").stat().st_mtime_ns
        shutil.rmtree(self.output / "cases/Brats17_TCIA_470_1")
        (self.output / "evaluation.json").unlink()
        outcome = self.run_evaluate(*models, "--explain", "--temperature", "--force")
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertEqual(outcome.stderr.count("graded before"), 3)
        self.assertEqual((self.output / "cases/Brats17_CBICA_BHK_1/result.json").stat().st_mtime_ns, kept)
        again = json.loads((self.output / "evaluation.json").read_text())
        self.assertEqual([c["probability_hgg"] for c in again["rows"][0]["cases"]], [c["probability_hgg"] for c in row["cases"]])

        # A temperature in the bundle scales the logits of every case.
        cold = self.work / "cold"
        shutil.copytree(self.folder / "grading", cold)
        manifest = json.loads((cold / "configs/metadata.json").read_text())
        manifest["gliomagrading"]["temperature"] = 0.5
        (cold / "configs/metadata.json").write_text(json.dumps(manifest))
        masks = ["--tumour-masks", self.output / "cases"]
        scaled = self.evaluate("--grading-model", cold, *masks, output=self.work / "scaled")
        for before, after in zip(row["cases"], scaled["rows"][0]["cases"]):
            logit = np.log(before["probability_hgg"] / (1 - before["probability_hgg"]))
            self.assertAlmostEqual(after["probability_hgg"], 1 / (1 + np.exp(-2 * logit)), 5)
        # A whole-brain grader is another row of Table 1.
        brain = self.work / "brain"
        shutil.copytree(self.folder / "grading", brain)
        manifest = json.loads((brain / "configs/metadata.json").read_text())
        manifest["gliomagrading"]["region"].update({"of": "brain", "fit_mode": "stretch", "margin": 0})
        (brain / "configs/metadata.json").write_text(json.dumps(manifest))
        whole = self.evaluate("--grading-model", brain, *masks, output=self.work / "whole")["rows"][0]
        self.assertEqual((whole["name"], whole["region"]), ("whole brain, brain mask", "brain"))
        both = self.evaluate("--predictions", self.output, "--predictions", self.work / "whole", output=self.work / "both")
        self.assertEqual([r["region"] for r in both["rows"]], ["tumour", "brain"])
        self.assertIn("0.8913", (self.work / "both/evaluation.md").read_text())  # the paper's ROC-AUC of that row

        # Other models do not replace those results unasked.
        (self.output / "evaluation.json").unlink()
        outcome = self.run_evaluate("--segmentation-model", self.folder / "segmentation", "--grading-model", cold)
        self.assertEqual((outcome.returncode, "of other models" in outcome.stderr), (1, True), outcome.stderr)

    def test_stores_a_temperature(self):
        # Four validation cases. The two that are scored are wrong, so that with them no temperature would be best.
        cohort = self.table({name: "test" if chosen == "Test" else "validation" for name, (_, chosen) in SUBJECTS.items()})
        bundle = self.work / "cold"
        shutil.copytree(self.folder / "grading", bundle)
        manifest = bundle / "configs" / "metadata.json"
        document = json.loads(manifest.read_text())
        document["gliomagrading"]["temperature"] = 0.5
        manifest.write_text(json.dumps(document))
        stored = lambda: json.loads(manifest.read_text())["gliomagrading"]["temperature"]
        validation = dict(zip(SUBJECTS, (0.9, 0.2, 0.97, 0.4)))
        scored = dict(zip(list(SUBJECTS)[4:], (0.3, 0.8)))
        command = ["--grading-model", bundle, "--tumour-masks", self.masks(SUBJECTS), "--force"]

        def store():
            """The evaluation with these probabilities in place of those of the seeded weights."""
            for name, probability in {**validation, **scored}.items():
                path = self.output / "cases" / name / "result.json"
                result = json.loads(path.read_text())
                result["probabilities"] = {"LGG": 1 - probability, "HGG": probability}
                result["grade"] = "HGG" if probability > 0.5 else "LGG"
                result["provenance"]["models"]["grading"]["temperature"] = stored()
                path.write_text(json.dumps(result))
            outcome = self.run_evaluate(*command, "--store-temperature", cohort=cohort, split=False)
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            self.terminal = outcome.stdout
            evaluation = json.loads((self.output / "evaluation.json").read_text())
            jsonschema.validate(evaluation, json.loads(pathlib.Path(SCHEMA).read_text()))
            (row,) = evaluation["rows"]
            # They were not graded again.
            self.assertEqual({case["case"]: case["probability_hgg"] for case in row["cases"]}, scored)
            self.assertEqual(row["temperature"]["validation_cases"], 4)
            return row["temperature"]

        self.evaluate(*command, "--temperature", cohort=cohort, split=False)
        before = manifest.read_bytes()
        # Every case is right: there is no best one, and the bundle stays as it is.
        temperature = store()
        self.assertIsNone(temperature["value"])
        self.assertEqual(manifest.read_bytes(), before)
        self.assertIn("No temperature is stored in cold: every case is right", self.terminal)

        validation["Brats17_TCIA_325_1"] = 0.6  # an LGG
        temperature = store()
        best = best_temperature(validation)
        # The loss alone tells its minimum to about the root of its own precision.
        self.assertAlmostEqual(temperature["value"], best, 5)
        self.assertEqual(temperature["stored_in"], "cold")
        self.assertIn(f"The temperature {temperature['value']:.4g} is stored in cold", self.terminal)
        self.assertAlmostEqual(stored(), 0.5 * temperature["value"], 12)
        scaled = [1 / (1 + (1 / p - 1) ** (1 / temperature["value"])) for p in scored.values()]
        self.assertAlmostEqual(temperature["brier"]["value"], sklearn.metrics.brier_score_loss([True, False], scaled))
        self.assertIn(f"| {temperature['value']:.3f} (4 validation cases) |", (self.output / "evaluation.md").read_text())

        # The same again is the same; with it in the bundle there is nothing more to gain.
        after = manifest.read_bytes()
        manifest.write_bytes(before)
        self.assertEqual((store(), manifest.read_bytes()), (temperature, after))
        for name, probability in validation.items():
            validation[name] = 1 / (1 + (1 / probability - 1) ** (1 / temperature["value"]))
        self.assertAlmostEqual(store()["value"], 1, 9)
        self.assertAlmostEqual(stored(), 0.5 * temperature["value"], 9)

        # More than a bundle takes is not stored, and nothing is half done.
        document["gliomagrading"]["temperature"] = 900
        manifest.write_text(json.dumps(document))
        (self.output / "evaluation.json").unlink()
        validation = dict(zip(SUBJECTS, (0.9, 0.2, 0.97, 0.99)))  # the last is an LGG
        with self.assertRaisesRegex(AssertionError, "cannot be stored.*0.001 to 1000"):
            store()
        self.assertEqual(stored(), 900)
        self.assertFalse((self.output / "evaluation.json").exists())

    def test_a_case_without_tumour_belongs_to_its_row(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        masks = self.masks(test)
        path = masks / test[0] / "tumour.nii.gz"
        sitk.WriteImage(sitk.ReadImage(str(path)) * 0, str(path))
        # As row 1 left it, with a grader of the tumour's region.
        self.write_result(masks / test[0], None)
        brain = self.work / "brain"
        shutil.copytree(self.folder / "grading", brain)
        manifest = json.loads((brain / "configs/metadata.json").read_text())
        manifest["gliomagrading"]["region"].update({"of": "brain", "fit_mode": "stretch", "margin": 0})
        (brain / "configs/metadata.json").write_text(json.dumps(manifest))
        row = self.evaluate("--grading-model", brain, "--tumour-masks", masks)["rows"][0]
        self.assertEqual((row["cases"][0]["case"], row["cases"][0]["probability_hgg"]), (test[0], None))
        self.assertEqual((row["name"], row["region"]), ("whole brain, brain mask", "brain"))
        said = json.loads((self.output / "cases" / test[0] / "result.json").read_text())["provenance"]["models"]["grading"]
        self.assertEqual((said["region"], said["standardization"]), ("brain", "brain"))
        # Graded cases of two rows of Table 1 are no row.
        self.write_result(self.output / "cases" / test[0], 0.7)
        outcome = self.run_evaluate("--predictions", self.output, output=self.work / "mixed")
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("no one row", outcome.stderr)

    def test_an_empty_mask_stands_for_no_result_but_its_own(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        masks = self.masks(test)
        path = masks / test[0] / "tumour.nii.gz"
        sitk.WriteImage(sitk.ReadImage(str(path)) * 0, str(path))
        command = ["--grading-model", self.folder / "grading", "--tumour-masks", masks]
        # All cases that lack one are told of before the first is graded.
        (masks / "elsewhere").mkdir()
        for name in test:
            (masks / name).rename(masks / "elsewhere" / name)
        outcome = self.run_evaluate(*command)
        self.assertEqual(outcome.returncode, 1)
        for name in test:
            self.assertIn(f"case {name}: there is no tumour image in {masks / name}", outcome.stderr)
            (masks / "elsewhere" / name).rename(masks / name)
        self.assertNotIn("[1/", outcome.stderr)
        kept = self.output / "cases" / test[0] / "result.json"

        def refuse(reason, *more):
            before = kept.read_bytes() if kept.exists() else None
            outcome = self.run_evaluate(*command, *more)
            self.assertEqual(outcome.returncode, 1)
            self.assertIn(reason, outcome.stderr)
            self.assertIn(test[0], outcome.stderr)
            # Nothing was graded before, and what an earlier run left is as it was.
            self.assertNotIn("[1/", outcome.stderr)
            self.assertEqual(kept.read_bytes() if kept.exists() else None, before)

        refuse("is empty, and no result.json lies beside it")
        for probability in (None, 0.7):
            self.write_result(self.output / "cases" / test[0], probability)
            refuse("is empty, and no result.json lies beside it", "--force")
        self.write_result(masks / test[0], 0.7)
        refuse("not one without a grade", "--force")
        self.write_result(masks / test[0], None)
        said = masks / test[0] / "result.json"
        result = json.loads(said.read_text())
        inputs = {role: {"sha256": "0" * 64} for role in ("T1", "T1c", "T2", "FLAIR")}
        said.write_text(json.dumps({**result, "provenance": {**result["provenance"], "inputs": inputs}}))
        refuse("of other images", "--force")
        for role, suffix in (("T1", "t1"), ("T1c", "t1ce"), ("T2", "t2"), ("FLAIR", "flair")):
            inputs[role] = {"sha256": hashlib.sha256(self.image(test[0], suffix).read_bytes()).hexdigest()}
        said.write_text(json.dumps({**result, "provenance": {**result["provenance"], "inputs": inputs}}))
        # A result with a grade is replaced with --force alone, and its page goes with it.
        (masks / test[0] / "report.html").unlink()
        refuse("holds a result of other models")
        row = self.evaluate(*command, "--force")["rows"][0]
        self.assertEqual((row["cases"][0]["probability_hgg"], row["cases"][0]["report"]), (None, None))
        self.assertEqual(json.loads(kept.read_text())["provenance"]["models"]["grading"]["bundle"], "grading")
        self.assertEqual(list(kept.parent.glob("*.partial")), [])
        # What was taken over is taken over again.
        for path in self.output.iterdir():
            if path.is_file():
                path.unlink()
        self.assertEqual(self.evaluate(*command)["rows"][0]["cases"], row["cases"])

    def test_names_every_model_of_a_row(self):
        folder = self.predict("one", dict(zip(SUBJECTS, (0.9, 0.2, 0.7, 0.6, 0.8, None))))
        described = {"validated": {"name": "validated", "demonstration": False, "training_data": "trained on many patients"}}
        described["shown"] = {"name": "shown", "demonstration": True, "training_data": "trained on phantoms"}
        graders = dict(zip(SUBJECTS, ("validated", "shown", "validated", "validated", "shown", "shown")))
        for i, name in enumerate(SUBJECTS):
            path = folder / name / "result.json"
            result = json.loads(path.read_text())
            # The same model from another folder is the same.
            result["provenance"]["models"]["grading"] = {**described[graders[name]], "sha256": graders[name], "bundle": f"place-{i}"}
            path.write_text(json.dumps(result))
        options = ["--predictions", folder, "--set", "all"]
        evaluation = self.evaluate(*options)
        (row,) = evaluation["rows"]
        note = f"{row['name']}: graded by 2 different models, 2 of 5 cases by a demonstration, which is not validated."
        self.assertEqual(evaluation["notes"], [note])
        self.assertEqual(row["models"]["grading"]["name"], "validated")
        (other,) = row["other_models"]["grading"]
        names = list(SUBJECTS)
        self.assertEqual((other["model"]["name"], set(other["cases"])), ("shown", {names[1], names[4]}))
        self.assertEqual(row["other_models"]["segmentation"], [])
        said = "graded by validated (trained on many patients) and by shown (a demonstration, trained on phantoms) in 2 cases"
        for name in ("evaluation.md", "evaluation.tex"):
            self.assertIn(said, (self.output / name).read_text())
            self.assertIn(note, (self.output / name).read_text())
        # Another evaluation says it anew, of its own cases.
        shutil.copy(self.output / "evaluation.json", folder)
        self.assertEqual(self.evaluate(*options, "--force")["notes"], [note])
        again = self.evaluate(*options, "--cases", names[0], names[3], "--force")
        self.assertEqual(again["notes"], ["Only the cases of --cases are scored: 2 of the 6 cases."])
        self.assertEqual(again["provenance"]["parameters"]["cases"], [names[0], names[3]])
        self.assertIsNone(evaluation["provenance"]["parameters"]["cases"])
        # The temperature is fitted on cases of another grader.
        (row,) = self.evaluate("--predictions", folder, "--temperature", "--cases", names[4], names[5], "--force")["rows"]
        self.assertEqual(row["models"]["grading"]["name"], "shown")
        self.assertEqual(set(row["other_models"]["grading"][0]["cases"]), set(names[2:4]))

    def test_rules_without_a_network_are_compared_on_the_same_cases(self):
        names = list(SUBJECTS)
        # Of the last no tumour was found, and the third has none to look at; the fourth has no grade.
        folder = self.predict("one", dict(zip(SUBJECTS, (0.9, 0.2, 0.1, None, 0.8, None))), empty=(names[2], names[5]))
        (row,) = self.evaluate("--predictions", folder, "--set", "all", "--baselines")["rows"]
        baselines = row["baselines"]
        for baseline in baselines["cases"]:
            if baseline["case"] in (names[2], names[5]):
                self.assertIsNone(baseline["enhancing_share"])
                self.assertEqual(baseline["undefined"], "the predicted mask is empty")
            else:
                self.assertNotIn("undefined", baseline)
        compared = [names[i] for i in (0, 1, 4)]
        by_case = {baseline["case"]: baseline["enhancing_share"] for baseline in baselines["cases"]}
        shares = [by_case[name] for name in compared]
        truth = [SUBJECTS[name][0] == "HGG" for name in compared]
        self.assertEqual(baselines["compared_cases"], 3)
        self.assertAlmostEqual(baselines["enhancing_share_auc"]["value"], sklearn.metrics.roc_auc_score(truth, shares))
        # Among the graded the third is an HGG below the LGG.
        self.assertEqual(row["roc_auc"]["value"], 2 / 3)
        self.assertEqual(baselines["network_auc"]["value"], 1)
        self.assertIn("3 of 6 cases have a share and a grade", (self.output / "evaluation.md").read_text())

    def write_series(self, image, folder):
        """A DICOM series, one file a slice."""
        folder.mkdir()
        image = sitk.Cast(image, sitk.sitkInt16)
        direction = np.array(image.GetDirection()).reshape(3, 3)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for k in range(image.GetDepth()):
            one = image[:, :, k]
            values = {
                "0008|0060": "MR",
                "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
                "0008|0018": f"1.2.826.0.1.3680043.2.1125.1.{k + 1}",
                "0020|000d": "1.2.826.0.1.3680043.2.1125.7",
                "0020|000e": "1.2.826.0.1.3680043.2.1125.1",
                "0020|0013": str(k + 1),
                "0020|0032": "\\".join(f"{value:.6f}" for value in image.TransformIndexToPhysicalPoint((0, 0, k))),
                "0020|0037": "\\".join(f"{value:.9f}" for value in (*direction[:, 0], *direction[:, 1])),
            }
            for key, value in values.items():
                one.SetMetaData(key, value)
            one.SetSpacing(image.GetSpacing()[:2])
            writer.SetFileName(str(folder / f"{k:04d}.dcm"))
            writer.Execute(one)
        return folder

    def test_rules_without_a_network_want_one_grid(self):
        names = list(SUBJECTS)[4:]
        folder = self.predict("one", dict(zip(names, (0.9, 0.2))))
        table = self.table(dict.fromkeys(names, "test"))
        flair = sitk.ReadImage(str(self.image(names[0], "flair")))
        # Nobody has looked at the headers of a folder: one of fewer slices would be read past its end, one elsewhere taken as it is.
        cut = self.write_series(flair[:, :, : flair.GetDepth() // 2], self.work / "cut")
        moved = sitk.Image(flair)
        moved.SetOrigin(np.add(flair.GetOrigin(), (0, 8, 0)).tolist())
        moved = self.write_series(moved, self.work / "moved")
        text = table.read_text()
        for series in (cut, moved):
            table.write_text(text.replace(str(self.image(names[0], "flair")), str(series)))
            outcome = self.run_evaluate("--predictions", folder, "--baselines", cohort=table, split=False)
            self.assertEqual(outcome.returncode, 1, outcome.stderr)
            self.assertIn(f"case {names[0]}: its sequences lie on different grids", outcome.stderr)
            self.assertIn("FLAIR", outcome.stderr)
            self.assertIn("leave --baselines out", outcome.stderr)
        # On one grid a folder is as good as a file.
        table.write_text(text.replace(str(self.image(names[0], "flair")), str(self.write_series(flair, self.work / "whole"))))
        self.evaluate("--predictions", folder, "--baselines", cohort=table, split=False)
        # A brain mask that is a folder too: of the same size, but elsewhere it would cut another brain out.
        brain = sitk.Cast(flair > 0, sitk.sitkFloat32)
        rows = text.splitlines()
        for shift, is_good in ((8, False), (0, True)):
            brain.SetOrigin(np.add(flair.GetOrigin(), (0, shift, 0)).tolist())
            series = self.write_series(brain, self.work / f"brain-{shift}")
            columns = [rows[0] + ",brain_mask", *(row + (f",{series}" if row.startswith(names[0]) else ",") for row in rows[1:])]
            table.write_text("\n".join(columns) + "\n")
            outcome = self.run_evaluate("--predictions", folder, "--baselines", "--force", cohort=table, split=False)
            self.assertEqual(outcome.returncode, 0 if is_good else 1, outcome.stderr)
            if not is_good:
                self.assertIn(f"The brain mask {series}", outcome.stderr)
                self.assertIn("lie on different grids", outcome.stderr)
        # A predicted tumour of the same size elsewhere. (No mask of the cohort would tell.)
        lines = [line.split(",") for line in text.splitlines()]
        table.write_text("\n".join(",".join(line[:5] + line[6:]) for line in lines) + "\n")
        path = folder / names[1] / "tumour.nii.gz"
        mask = sitk.ReadImage(str(path))
        mask.SetOrigin(np.add(mask.GetOrigin(), (0, 8, 0)).tolist())
        sitk.WriteImage(mask, str(path))
        outcome = self.run_evaluate("--predictions", folder, "--baselines", "--force", cohort=table, split=False)
        self.assertEqual(outcome.returncode, 1, outcome.stderr)
        self.assertIn(f"case {names[1]}:", outcome.stderr)
        self.assertIn("is not on the grid of its sequences", outcome.stderr)
        # Without a mask of the cohort the prediction has its volume all the same.
        (row,) = self.evaluate("--predictions", folder, "--force", cohort=table, split=False)["rows"]
        for case in row["cases"]:
            mask = sitk.ReadImage(str(folder / case["case"] / "tumour.nii.gz"))
            volume = (sitk.GetArrayFromImage(mask) > 0).sum() * np.prod(mask.GetSpacing()) / 1000
            self.assertAlmostEqual(case["volume_ml"], volume, 6)
            self.assertEqual((case["true_volume_ml"], case["dice"]), (None, None))
        self.assertEqual(row["segmentation"]["volume_error_ml"]["undefined"], dict.fromkeys(names, "the cohort has no mask of the case"))

    def test_rows_of_one_region_are_told_apart(self):
        high = [name for name, (grade, _) in SUBJECTS.items() if grade == "HGG"]
        folders = [self.predict(name, dict(zip(high, values))) for name, values in (("one", (0.9, 0.4, 0.8)), ("two", (0.9, None, 0.8)))]
        options = [f"--predictions=A_1={folders[0]}", f"--predictions=B={folders[1]}", "--set", "all", "--cases", *high]
        (pair,) = self.evaluate(*options)["comparisons"]
        self.assertEqual(pair["auc_cases"], 2)
        text = (self.output / "evaluation.tex").read_text()
        self.assertIn("\\begin{tabular}{llllrrrrr}", text)
        lines = [[cell.strip() for cell in line.removesuffix(r"\\").split("&")] for line in text.splitlines() if line.count("&") > 6]
        self.assertEqual({len(line) for line in lines}, {9})
        self.assertEqual([line[0] for line in lines], ["Row", r"A\_1", "", r"\quad paper", "", "B", "", r"\quad paper", ""])
        (caption,) = re.findall(r"\\caption\{(.*)\}\n", text)
        reason = "(no case is a graded LGG)"
        self.assertIn(rf"Undefined (--) in A\_1: recall of LGG (no case is LGG), ROC-AUC {reason}.", caption)
        self.assertIn(
            "Undefined (--) in B: F1 of LGG (no case is LGG and none is called so), precision of LGG (no case is called LGG)", caption
        )
        # One row has no such column.
        self.evaluate(*options[1:], "--force")
        text = (self.output / "evaluation.tex").read_text()
        self.assertIn("\\begin{tabular}{lllrrrrr}", text)
        self.assertIn("\nRegion & Standardization", text)

    def test_another_evaluation_leaves_no_mean_maps(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        folder = self.predict("one", dict(zip(test, (0.9, 0.2))))
        for name in test:
            t1 = sitk.ReadImage(str(self.image(name, "t1")))
            sitk.WriteImage(sitk.Cast(t1, sitk.sitkFloat32), str(folder / name / "gradcam-res3.nii.gz"))
        self.evaluate(*[f"--predictions={i}={folder}" for i in range(6)], "--explain")
        self.assertTrue((self.output / "mean-gradcam-res3-row6.png").exists())
        self.evaluate("--predictions", folder, "--force")
        self.assertEqual([path.name for path in self.output.glob("mean-*")], [])

    def test_what_was_graded_otherwise_is_not_kept(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        table = self.table(dict.fromkeys(test, "test"))
        command = ["--grading-model", self.folder / "grading", "--tumour-masks", self.masks(test), "--device", "auto"]
        first = self.evaluate(*command, cohort=table, split=False)["rows"][0]
        lines = table.read_text().splitlines()
        for i, name in enumerate(test, start=1):
            t1 = sitk.ReadImage(str(self.image(name, "t1")))
            mask = sitk.GetArrayFromImage(t1) > 0
            mask[:, ::2] = False
            mask = sitk.GetImageFromArray(mask.astype(np.uint8))
            mask.CopyInformation(t1)
            sitk.WriteImage(mask, str(self.work / f"{name}-brain.nii.gz"))
            lines[i] += f",{self.work / name}-brain.nii.gz"
        table.write_text("\n".join([lines[0] + ",brain_mask", *lines[1:]]) + "\n")
        (self.output / "evaluation.json").unlink()
        outcome = self.run_evaluate(*command, cohort=table, split=False)
        self.assertEqual((outcome.returncode, outcome.stderr.count("of other models")), (1, 2), outcome.stderr)
        second = self.evaluate(*command, "--force", cohort=table, split=False)["rows"][0]
        for before, after in zip(first["cases"], second["cases"]):
            self.assertNotEqual(before["probability_hgg"], after["probability_hgg"])
        outcome = self.run_evaluate(*command, "--force", cohort=table, split=False)
        self.assertEqual((outcome.returncode, outcome.stderr.count("graded before")), (0, 2), outcome.stderr)
        outcome = self.run_evaluate(*command, "--force", "--precision", "bfloat16", cohort=table, split=False)
        self.assertNotIn("graded before", outcome.stderr)

    def test_rules_without_a_network_look_inside_the_brain_mask(self):
        names = list(SUBJECTS)[4:]
        folder = self.predict("one", dict(zip(names, (0.9, 0.2))))
        options = ["--predictions", folder, "--baselines", "--explain"]
        expected = self.evaluate(*options, cohort=self.table(dict.fromkeys(names, "test")), split=False)["rows"][0]["baselines"]
        rows = ["case,t1,t1c,t2,flair,seg,grade,brain_mask"]
        for name in names:
            images = [sitk.ReadImage(str(self.image(name, suffix))) for suffix in ("t1", "t1ce", "t2", "flair")]
            brain = np.any([sitk.GetArrayFromImage(image) != 0 for image in images], axis=0)
            files = []
            for i, image in enumerate(images):  # with a bright skull, and what is no number
                values = sitk.GetArrayFromImage(image).astype(np.float32)
                values[~brain] = 5 * values.max()
                values[0, 0, 0] = np.nan
                head = sitk.GetImageFromArray(values)
                head.CopyInformation(image)
                files.append(str(self.work / f"{name}-{i}.nrrd"))
                sitk.WriteImage(head, files[-1])
            mask = sitk.GetImageFromArray(brain.astype(np.uint8))
            mask.CopyInformation(images[0])
            sitk.WriteImage(mask, str(self.work / f"{name}-brain.nrrd"))
            rows.append(",".join([name, *files, str(self.image(name, "seg")), SUBJECTS[name][0], str(self.work / f"{name}-brain.nrrd")]))
        table = self.work / "heads.csv"
        table.write_text("\n".join(rows) + "\n")
        found = self.evaluate(*options, "--force", cohort=table, split=False)["rows"][0]["baselines"]
        self.assertEqual(found["cases"], expected["cases"])

    def test_a_head_with_its_skull_wants_the_column_of_masks(self):
        name = list(SUBJECTS)[4]
        files = []
        for suffix in ("t1", "t1ce", "t2", "flair"):
            image = sitk.ReadImage(str(self.image(name, suffix)))
            files.append(str(self.work / f"{suffix}.nrrd"))
            sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32) + 100.0, files[-1])
        table = self.work / "heads.csv"
        row = ",".join([name, *files, str(self.image(name, "seg")), SUBJECTS[name][0]])
        table.write_text(f"case,t1,t1c,t2,flair,seg,grade\n{row}\n")
        models = ["--grading-model", self.folder / "grading", "--tumour-masks", self.masks([name])]
        outcome = self.run_evaluate(*models, "--allow-one-grade", cohort=table, split=False)
        self.assertEqual(outcome.returncode, 1, outcome.stderr)
        self.assertIn("not skull-stripped", outcome.stderr)
        self.assertIn("give a brain mask (the column brain_mask)", outcome.stderr)

    def test_names_and_links_of_any_text(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        folder = self.predict("a (b) c", dict(zip(test, (0.2, 0.2))))
        (row,) = self.evaluate("--predictions", folder)["rows"]
        wrong = next(case for case in row["cases"] if not case["right"])
        (target,) = re.findall(r"\]\(([^ ()]*)\): is HGG", (self.output / "evaluation.md").read_text())
        self.assertEqual(urllib.parse.unquote(target), wrong["report"])
        self.assertIn("(b)", wrong["report"])
        outcome = self.run_evaluate(f"--predictions=x\ny={folder}", "--force")
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("control character", outcome.stderr)

    def test_says_where_the_temperature_knows_the_scored_cases(self):
        folder = self.predict("one", dict(zip(SUBJECTS, (0.9, 0.2, 0.7, 0.6, 0.8, 0.4))))
        notes = self.evaluate("--predictions", folder, "--temperature", "--set", "validation")["notes"]
        self.assertTrue(any("fitted on 2 of the scored cases" in note for note in notes), notes)
        self.assertEqual(self.evaluate("--predictions", folder, "--temperature", "--force")["notes"], [])

    def test_says_which_cases_the_models_know(self):
        bundle = self.work / "taught"
        shutil.copytree(self.folder / "grading", bundle)
        document = json.loads((bundle / "configs/metadata.json").read_text())
        case = lambda name: {"case": name, "licence": "none", "attribution": "none"}
        names = list(SUBJECTS)
        # The names of another year's challenge are those of the same patients.
        trained, validated = ([case(name.replace("Brats17_", "Brats18_"))] for name in (names[2], names[4]))
        document["gliomagrading"]["training"] = {"data": "none", "cases": trained, "validation": validated}
        (bundle / "configs/metadata.json").write_text(json.dumps(document))
        masks = self.masks(names)
        notes = self.evaluate("--grading-model", bundle, "--tumour-masks", masks, "--temperature", "--cases", *names[4:])["notes"]
        said = "\n".join(notes)
        self.assertIn("validated on 1 of the 2 cases: where their weights were chosen by them", said)
        self.assertIn("trained on 1 of the 2 cases that the temperature is fitted on", said)
        self.assertNotIn("say nothing of cases", said)

    def test_one_grade_alone(self):
        high = [name for name, (grade, _) in SUBJECTS.items() if grade == "HGG"]
        folder = self.predict("one", dict(zip(high, (0.9, 0.4, 0.8))))
        table = self.table(dict.fromkeys(high, "test"))
        for options, cohort in ((["--cases", *high], self.brats), (["--allow-one-grade"], table)):
            evaluation = self.evaluate(
                "--predictions", folder, "--set", "all", "--baselines", "--force", *options, cohort=cohort, split=False
            )
            (row,) = evaluation["rows"]
            self.assertEqual((evaluation["cohort"]["LGG"], evaluation["cohort"]["HGG"]), (0, 3))
            reason = "no case is a graded LGG"
            self.assertEqual(row["roc_auc"], {"value": None, "low": None, "high": None, "undefined": reason})
            self.assertEqual(row["roc"], [])
            self.assertIsNone(row["baselines"]["enhancing_share_auc"]["value"])
            self.assertAlmostEqual(row["accuracy"]["value"], 2 / 3)
            text = (self.output / "evaluation.md").read_text()
            (line,) = (line for line in text.splitlines() if line.startswith(f"| {row['name']} | tumour ROI |"))
            self.assertEqual(line.split(" | ")[-1], f"undefined: {reason} |")
            for name in ("evaluation.md", "evaluation.tex", "evaluation.json"):
                self.assertIsNone(re.search(r"\b-?(nan|inf)\b", (self.output / name).read_text(), re.IGNORECASE), name)
        # Unasked a cohort of one grade is refused.
        outcome = self.run_evaluate("--predictions", folder, cohort=table, split=False, output=self.work / "refused")
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("--allow-one-grade", outcome.stderr)

    def write_head(self, name, size, spacing, direction, first, blob):
        """Four equal sequences and a map of four components on a grid of its own: the brain is a box along the patient's axes, the map a
        Gaussian at a relative place of it. Returns the row of COHORT.csv up to the grade."""
        size, spacing, direction = np.array(size, float), np.array(spacing), np.array(direction, float).reshape(3, 3)
        corners = np.array(np.meshgrid(*[(0, side) for side in size])).reshape(3, -1).T @ direction
        voxels = np.ceil((corners.max(axis=0) - corners.min(axis=0)) / spacing).astype(int) + 2 * first + 1
        origin = np.array((-70.0, 33.0, 12.0))
        corner = origin + direction @ (corners.min(axis=0) - first * spacing)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in voxels], indexing="ij"), axis=-1)
        place = ((index * spacing) @ direction.T + corner - origin) / size
        inside = ((place > -1e-6) & (place < 1 + 1e-6)).all(axis=-1)
        head = np.where(inside, 100 + 30 * place[..., 0], 0)
        gauss = np.where(inside, np.exp(-0.5 * (((place - blob) / 0.06) ** 2).sum(axis=-1)), 0)

        def write(array, path):
            image = sitk.GetImageFromArray(np.swapaxes(array, 0, 2).astype(np.float32), isVector=array.ndim == 4)
            image.SetSpacing([float(s) for s in spacing])
            image.SetOrigin([float(o) for o in corner])
            image.SetDirection(direction.ravel())
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(path))
            return str(path)

        # Their sum is 0 everywhere, that of their magnitudes is the map. A head of twice the size has the smaller numbers.
        components = gauss[..., None] / np.prod(size) * np.array((1.0, -1.0, 0.5, -0.5))
        write(components, self.work / "heads" / name / "guided-backprop.nii.gz")
        files = [self.work / "images" / f"{name}_{sequence}.nii.gz" for sequence in ("t1", "t1c", "t2", "flair")]
        write(head, files[0])
        for file in files[1:]:
            shutil.copy(files[0], file)
        return ",".join([name, *map(str, files)])

    def test_mean_map_of_heads_on_different_grids(self):
        blob, other = np.array((0.3, 0.62, 0.7)), np.array((0.6, 0.3, 0.4))
        oblique = sitk.VersorTransform((2 / 7, 3 / 7, 6 / 7), np.deg2rad(25)).GetMatrix()
        turned = (0, 0, -1, -1, 0, 0, 0, 1, 0)  # the image's axes go to -y, z and -x
        rows = [
            # The first brain begins and ends on a fourth voxel, of which alone the box is found.
            self.write_head("large", (96, 96, 120), (1.5, 2.0, 1.2), turned, 4, blob) + ",HGG",
            self.write_head("small", (80, 70, 64), (1.1, 1.6, 1.3), oblique, 3, blob) + ",LGG",
            self.write_head("other", (72, 84, 60), (1.5, 1.5, 1.5), np.eye(3), 4, other) + ",HGG",
        ]
        for name, probability in (("large", 0.9), ("small", 0.8), ("other", 0.1)):
            self.write_result(self.work / "heads" / name, probability)
        # T1 of a registered case lies elsewhere: its maps are in the space of the reference.
        path = self.work / "heads/other/result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "registration": {"reference": "T1c"}}))
        t1 = self.work / "images/other_t1.nii.gz"
        head = sitk.ReadImage(str(t1))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(head), (2, 4, -4), (0, 1, 2)))
        moved.CopyInformation(head)
        sitk.WriteImage(sitk.Cast(moved, sitk.sitkFloat32), str(t1))
        cohort = self.work / "COHORT.csv"
        cohort.write_text("\n".join(["case,t1,t1c,t2,flair,grade", *rows]) + "\n")
        evaluation = self.evaluate("--predictions", self.work / "heads", "--explain", cohort=cohort, split=False)
        self.assertEqual(
            evaluation["rows"][0]["explanations"]["mean_maps"],
            [{"map": "guided-backprop", "cases": 3, "file": "mean-guided-backprop.png"}],
        )
        picture = read_array(self.output / "mean-guided-backprop.png").astype(int)
        grid = np.array((70, 85, 70))
        for called, place, top in (("LGG", other, 76), ("HGG", blob, 371)):
            mean = sitk.ReadImage(str(self.output / f"mean-guided-backprop-{called}.nii.gz"))
            self.assertEqual((mean.GetSize(), mean.GetSpacing()), (tuple(grid), (2.0, 2.0, 2.0)))
            values = sitk.GetArrayFromImage(mean)
            # The brain's box has a frame of 5 %.
            expected = (place + 0.05) / 1.1 * grid - 0.5
            peak = np.unravel_index(values.argmax(), values.shape)[::-1]
            np.testing.assert_allclose(peak, expected, atol=1, err_msg=called)
            # Each map counts the same, by its share: two at one place give the peak of one. Apart, or of one head alone, it is half.
            sigmas = 0.06 / 1.1 * grid
            alone = grid.prod() / ((2 * np.pi) ** 1.5 * sigmas.prod())
            self.assertAlmostEqual(values.max() / alone, 1, delta=0.1, msg=called)
            # Columns and rows of the axial, coronal and sagittal slice; what is posterior is below, and feet are.
            for k, (column, row) in enumerate(((0, 1), (0, 2), (1, 2))):
                sides = 2 * grid[[column, row]]
                dots = 255 / sides.max()
                width, height = (sides * dots).round().astype(int)
                left = 14 + k * 269
                panel = picture[top : top + height, left : left + width]
                y, x = np.nonzero(panel[..., 0] - panel[..., 2] > 45)
                self.assertGreater(len(x), 50, f"{called}, slice {k}: the map is not drawn")
                at = (expected[[column, row]] + 0.5) * 2 * dots
                at[1] = height - at[1] if row == 2 else at[1]
                np.testing.assert_allclose((x.mean(), y.mean()), at - 0.5, atol=1.5, err_msg=f"{called}, slice {k}")

    def test_controls_for_the_scanner(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        models = ["--grading-model", self.folder / "grading", "--tumour-masks", self.masks(test)]
        control = self.evaluate(*models)["rows"][0]["scanner_control"]
        self.assertEqual([c["case"] for c in control["cases"]], test)
        values = [(c["probability_hgg"], c["control_probability_hgg"]) for c in control["cases"] if "undefined" not in c]
        self.assertGreater(len(values), 0)
        for before, after in values:
            self.assertNotEqual(before, after)  # the tumour is another's tissue now
        gaps = [abs(2 * after - 1) for _, after in values]
        self.assertAlmostEqual(control["control_gap"]["value"], np.mean(gaps))
        self.assertAlmostEqual(control["undecided"]["value"], np.mean([gap < 0.1 for gap in gaps]))
        for case in control["cases"]:
            result = json.loads((self.output / "cases" / case["case"] / "result.json").read_text())
            without = result["without_tumour"]
            self.assertEqual(case["filled_share"], without["filled_share"])
            self.assertEqual(case["control_probability_hgg"], (without["probabilities"] or {}).get("HGG"))
        text = (self.output / "evaluation.md").read_text()
        self.assertIn("## Negative control for the scanner", text)
        scored = self.evaluate("--predictions", self.output, output=self.work / "scored")["rows"][0]
        self.assertEqual(scored["scanner_control"], control)

        # Results that cannot say it: of an earlier version, and edited by hand.
        for name, change in zip(test, (lambda r: r.pop("without_tumour"), lambda r: r.update(without_tumour={"probabilities": 3}))):
            path = self.output / "cases" / name / "result.json"
            result = json.loads(path.read_text())
            change(result)
            path.write_text(json.dumps(result))
        old, edited = self.evaluate("--predictions", self.output, output=self.work / "old")["rows"][0]["scanner_control"]["cases"]
        self.assertIn("of a version that", old["undefined"])
        self.assertIn("cannot be read", edited["undefined"])
        # What is of an earlier version is graded again.
        again = self.run_evaluate(*models, "--force")
        self.assertIn(f"] {test[0]}", again.stderr)
        self.assertEqual(
            json.loads((self.output / "evaluation.json").read_text())["rows"][0]["scanner_control"]["cases"][0], control["cases"][0]
        )
        # Everything is tumour: there is no healthy half.
        models[2:] = ["--segmentation-model", self.folder / "segmentation"]
        control = self.evaluate(*models, output=self.work / "all")["rows"][0]["scanner_control"]
        for case in control["cases"]:
            self.assertIn("no healthy tissue", case["undefined"])
        self.assertIn("no case has a control", control["control_gap"]["undefined"])

    def test_a_case_without_a_grade_has_no_control(self):
        test = [name for name, (_, chosen) in SUBJECTS.items() if chosen == "Test"]
        # A grid of 9 mm, and a tumour of one voxel of 4 mm between its nodes: there is nothing to grade.
        bundle = self.work / "coarse"
        shutil.copytree(self.folder / "grading", bundle)
        document = json.loads((bundle / "configs/metadata.json").read_text())
        document["gliomagrading"]["spacing"] = [9.0, 9.0, 9.0]
        (bundle / "configs/metadata.json").write_text(json.dumps(document))
        masks = self.masks(test)
        path = masks / test[0] / "tumour.nii.gz"
        mask = sitk.ReadImage(str(path))
        voxels = np.argwhere(sitk.GetArrayFromImage(mask))
        voxel = voxels[len(voxels) // 2]
        small = np.zeros(mask.GetSize()[::-1], np.uint8)
        small[tuple(voxel)] = 1
        small = sitk.GetImageFromArray(small)
        small.CopyInformation(mask)
        sitk.WriteImage(small, str(path))
        models = ["--grading-model", bundle, "--tumour-masks", masks]
        first, second = self.evaluate(*models)["rows"][0]["scanner_control"]["cases"]
        result = json.loads((self.output / "cases" / test[0] / "result.json").read_text())
        self.assertIsNone(result["grade"])
        self.assertIsNone(result["without_tumour"])
        self.assertIn("no grade", first["undefined"])
        self.assertIsNone(first["control_probability_hgg"])
        self.assertIsNotNone(second["probability_hgg"])

    def test_writes_a_cohort(self):
        table = self.work / "sub" / "COHORT.csv"
        command = [GLIOMA, "cohort", self.brats, "--split", self.split, "--output", table]
        outcome = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertIn("validation LGG: 1", outcome.stdout)
        with open(table, newline="") as file:
            rows = {row["case"]: row for row in csv.DictReader(file)}
        self.assertEqual(
            {name: (row["grade"], row["set"]) for name, row in rows.items()},
            {name: (grade, chosen.lower()) for name, (grade, chosen) in SUBJECTS.items()},
        )
        self.assertTrue(
            (table.parent / rows["Brats17_TCIA_470_1"]["t1c"]).samefile(
                self.brats / "LGG/Brats17_TCIA_470_1/Brats17_TCIA_470_1_t1ce.nii.gz"
            )
        )
        self.assertEqual(rows["Brats17_TCIA_470_1"]["site"], "TCIA")
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 1)
        # Read again it is the same cohort.
        outcome = subprocess.run(
            [GLIOMA, "cohort", table, "--split", self.split, "--output", table, "--force"], capture_output=True, text=True
        )
        self.assertIn("test HGG: 1", outcome.stdout)

    def test_lists_every_problem_at_once(self):
        cohort = self.work / "COHORT.csv"
        names = list(SUBJECTS)
        rows = ["case,t1,t1c,t2,flair,seg,grade,set"]
        for name in names[:3]:
            files = [self.brats / SUBJECTS[name][0] / name / f"{name}_{s}.nii.gz" for s in ("t1", "t1ce", "t2", "flair", "seg")]
            rows.append(",".join([name, *map(str, files), "HGG", "test"]))
        rows[2] = rows[2].replace("_flair", "_gone")
        rows[3] = rows[3].replace(f"{names[2]}_seg", f"{names[2]}_t1ce").replace(",HGG,", ",,")
        other = sitk.ReadImage(rows[1].split(",")[2])
        sitk.WriteImage(other[1:, :, :], str(self.work / "cut.nii.gz"))
        sitk.WriteImage(other * 0, str(self.work / "empty.nii.gz"))
        rows[1] = (
            rows[1]
            .replace(rows[1].split(",")[2], str(self.work / "cut.nii.gz"))
            .replace(rows[1].split(",")[5], str(self.work / "empty.nii.gz"))
        )
        cohort.write_text("\n".join(rows + [rows[1].replace("test", "training")]) + "\n")
        outcome = self.run_evaluate("--predictions", self.work / "nowhere", cohort=cohort, split=False)
        self.assertEqual(outcome.returncode, 1)
        for part in (
            "_gone.nii.gz",
            "the grid of cut.nii.gz",
            "empty.nii.gz has no tumour",
            "occurs twice, in the sets test and training",
            "All cases",
            "has no grade",
            f"{names[0]}/result.json does not exist",
            f"{names[2]}/result.json does not exist",
        ):
            self.assertIn(part, outcome.stderr)
        self.assertFalse(self.output.exists())
        for arguments, part in (
            (["--predictions", self.work, "--grading-model", self.folder / "grading"], "leave the models out"),
            (["--predictions", self.work, "--store-temperature"], "--grading-model"),
            (["--predictions", self.work, "--cases", "nobody"], "nobody"),
        ):
            outcome = self.run_evaluate(*arguments)
            self.assertEqual(outcome.returncode, 1)
            self.assertIn(part, outcome.stderr)
        self.assertEqual(self.run_evaluate("--set", "some").returncode, 2)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
