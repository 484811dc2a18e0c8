# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Runs `glioma train` and the scripts that train and evaluate, as small as they can be: what they print and write, not how well they grade.

usage: test_training_scripts.py GLIOMA RUNBUNDLE SOURCE_FOLDER [unittest options]

With GLIOMAGRADING_TEST_DATA (default: shared/data beside the source) the authors' own split names the phantoms.
"""
import concurrent.futures
import csv
import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

try:
    import SimpleITK as sitk
except ImportError:
    sitk = None

GLIOMA, RUNBUNDLE, SOURCE = (os.path.abspath(path) for path in sys.argv[1:4])
DATA = pathlib.Path(os.environ.get("GLIOMAGRADING_TEST_DATA") or pathlib.Path(SOURCE).parent / "shared" / "data")

# In the place of `glioma`: writes each command line into STUB_LOG, and of the files what the scripts look for. Its trainings end with
# STUB_TRAIN_EXIT. A model that is not there yet is an error.
STUB = """#!{python}
import json, os, pathlib, sys
arguments = sys.argv[1:]
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(json.dumps(arguments) + "\\n")
value = {{name: v for name, v in zip(arguments, arguments[1:]) if name.startswith("--")}}
for name in ("--initial", "--segmentation-model", "--grading-model", "--brain-grading-model"):
    if name in value and not os.path.isdir(value[name]):
        sys.exit(f"{{name}} {{value[name]}} does not exist")
output = pathlib.Path(value["--output"])
if arguments[0] == "train" and os.environ.get("STUB_TRAIN_EXIT"):
    sys.exit(int(os.environ["STUB_TRAIN_EXIT"]))
if arguments[0] == "cohort":
    text = "case,t1,t1c,t2,flair,seg,grade,set\\na,1,2,3,4,5,LGG,training\\nb,1,2,3,4,5,HGG,training\\nc,1,2,3,4,5,HGG,test\\n"
    if "--split" not in value:
        text = pathlib.Path(arguments[1]).read_text()
    output.write_text(text)
    rows = [line.split(",") for line in text.splitlines()[1:]]
    for s, grade in sorted({{(row[7], row[6]) for row in rows}}):
        print(f"{{s}} {{grade}}: {{sum(row[6:] == [grade, s] for row in rows)}}")
else:
    output.mkdir(parents=True, exist_ok=True)
    if arguments[0] == "synthesize":
        (output / "COHORT.csv").write_text("case,t1,t1c,t2,flair,seg,grade\\na,1,2,3,4,5,LGG\\nb,1,2,3,4,5,HGG\\n")
    if arguments[0] == "train":
        (output / "models").mkdir(exist_ok=True)
        (output / "models/model.safetensors").write_text("weights")
    for name in {{"grade": ["result.json"], "evaluate": ["evaluation.json", "evaluation.md"]}}.get(arguments[0], []):
        (output / name).write_text('{{"without_tumour": null}}')
"""
# In the place of rebuild.sh's Python: its own lines run, the scripts that score images and write cards do not. Means are logged as well.
PYTHON_STUB = """#!/usr/bin/env bash
case "$1 $2" in
  "-c import numpy"*) ;;
  *mean_of_graders.py*) shift && echo "$*" >>"$STUB_LOG.means" && mkdir -p "$1/models" && echo weights >"$1/models/model.safetensors" ;;
  *.py*) echo "$(basename "$1")" ;;
  *) exec "{python}" "$@" ;;
esac
"""


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class ScriptTest(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.work)

    def run_script(self, script, *arguments, **environment):
        return subprocess.run(
            ["bash", os.path.join(SOURCE, "examples", script), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "GLIOMA": GLIOMA, **{name: str(value) for name, value in environment.items()}},
        )


class TrainingScripts(ScriptTest):
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
            first, second = (self.work / "out" / row / "cases" / case["case"] for row in ("tumour-brain", "brain-image"))
            self.assertNotEqual(case["called"], "none")  # an empty mask would be copied
            self.assertEqual(json.loads((first / "result.json").read_text())["tumour_mask"], "found")
            result = json.loads((second / "result.json").read_text())
            self.assertEqual(
                result["provenance"]["inputs"]["tumour-mask"]["sha256"], hashlib.sha256((first / "tumour.nii.gz").read_bytes()).hexdigest()
            )
            self.assertIsNone(result["provenance"]["models"]["segmentation"])
        # What is done is kept, whoever says the sets: here a table as spreadsheets write it.
        table = self.work / "out/COHORT.csv"
        rows = [{"note": "one, two", "Set": row.pop("set").title(), **row} for row in rows_of(table)]
        with open(table, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        given = table.read_text()
        before = {path: path.stat().st_mtime_ns for path in self.work.glob("out/*/cases/*/result.json")}
        self.assertEqual(len(before), 8)  # two rows of two cases that validate and two that test
        again = self.run_script("glioma/table-1.sh", "--cohort", table, *options[4:])
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("== grading", again.stdout)
        self.assertEqual(again.stderr.count("graded before"), 8)
        self.assertEqual({path: path.stat().st_mtime_ns for path in before}, before)
        self.assertEqual(table.read_text(), given)

    def test_a_wrong_cohort_is_told_before_training(self):
        table = self.work / "COHORT.csv"
        rows = ["case,t1,t1c,t2,flair,seg,grade,set"]
        for name, chosen in (("a", "training"), ("b", "training"), ("c", "test")):
            rows.append(",".join([name, *(f"{name}_{i}.nii" for i in range(5)), "LGG", chosen]))
        table.write_text("\n".join(rows))
        outcome = self.run_script("glioma/table-1.sh", "--cohort", table, "--output", self.work / "out")
        self.assertEqual(outcome.returncode, 1)
        self.assertNotIn("==", outcome.stdout)
        self.assertEqual(outcome.stderr.count("does not exist"), 15, outcome.stderr)

    def test_four_commands_of_the_readme(self):
        outcome = self.run_script("glioma/brats-phantoms.sh", self.split(), 10, self.work / "here/BRATS2017", "--spacing", 4)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        shutil.copy(self.split(), self.work / "here")
        readme = pathlib.Path(SOURCE, "README.md").read_text(encoding="utf-8")
        commands = re.findall("^    (glioma .*)$", readme.split("\n## Table 1 of the paper\n")[1].split("\n## ")[0], re.M)
        self.assertEqual(
            [re.match("glioma (train )?([a-z]+)", line)[2] for line in commands], ["cohort", "segmentation", "grading", "evaluate"]
        )
        small = "--steps 2 --width 4 --spacing 4 --padded true --patch 32"
        outcome = subprocess.run(
            ["bash", "-ec", "\n".join(re.sub(r"--steps \d+", small, line) for line in commands)],
            capture_output=True,
            text=True,
            cwd=self.work / "here",
            env={**os.environ, "PATH": os.path.dirname(GLIOMA) + os.pathsep + os.environ["PATH"]},
        )
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        # Each set, by the split, of those that there are.
        there = {folder.name: folder.parent.name for folder in self.work.glob("here/BRATS2017/*/*")}
        sets = re.split("'(Training|Validation|Test)'", self.split().read_text())
        sets = {name: set(re.findall(r"Brats17_\w+", text)) & set(there) for name, text in zip(sets[1::2], sets[2::2])}
        self.assertEqual({name: len(names) for name, names in sets.items()}, {"Training": 6, "Validation": 2, "Test": 2})
        for name in ("segmentation", "grading"):
            trained = json.loads((self.work / "here" / name / "configs/metadata.json").read_text())["gliomagrading"]["training"]
            self.assertEqual({case["case"] for case in trained["cases"]}, sets["Training"])
            self.assertEqual({case["case"] for case in trained["validation"]}, sets["Validation"])
        evaluation = json.loads((self.work / "here/table/evaluation.json").read_text())
        self.assertEqual(evaluation["cohort"]["set"], "test")
        (row,) = evaluation["rows"]
        self.assertEqual({case["case"]: case["grade"] for case in row["cases"]}, {name: there[name] for name in sets["Test"]})
        self.assertEqual((row["region"], row["standardization"]), ("tumour", "brain"))
        self.assertEqual(row["temperature"]["validation_cases"], 2)
        self.assertIsNotNone(row["explanations"])
        for name in ("evaluation.md", "evaluation.tex", "roc.png", "reliability.png"):
            self.assertTrue((self.work / "here/table" / name).exists(), name)

    def test_demonstration(self):
        outcome = self.run_script("train-demo.sh", self.work / "demo", CASES=10, STEPS=2)
        self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)
        rows = rows_of(self.work / "demo/COHORT.csv")
        sets = {(row["grade"], row["set"]): 0 for row in rows}
        for row in rows:
            sets[row["grade"], row["set"]] += 1
        self.assertEqual(sets, {(g, s): n for g in ("LGG", "HGG") for s, n in (("training", 3), ("validation", 1), ("test", 1))})
        for name in ("segmentation", "grading"):
            self.assertTrue((self.work / "demo" / name / "configs/metadata.json").exists())
            self.assertEqual((self.work / "demo" / f"{name}.png").read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
            log = rows_of(self.work / "demo" / f"{name}.csv")
            self.assertEqual([row["step"] for row in log], ["1", "2"])
            self.assertNotEqual(log[-1]["validation"], "")
        self.assertRegex(outcome.stderr, r"step 1, \d+ s, loss \d")
        (row,) = json.loads((self.work / "demo/evaluation/evaluation.json").read_text())["rows"]
        self.assertEqual(len(row["cases"]), 2)
        self.assertEqual(len(row["scanner_control"]["cases"]), 2)
        self.assertTrue(re.search(r"took \d+ minutes", outcome.stdout), outcome.stdout)
        self.assertEqual(self.run_script("train-demo.sh", "one", "two").returncode, 2)


class GliomaTrain(unittest.TestCase):
    """A training of milliseconds a step, on phantoms of 4 mm."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        phantoms = cls.folder / "phantoms"
        subprocess.run(
            [GLIOMA, "synthesize", "--cases", "6", "--seed", "3", "--spacing", "4", "--output", phantoms],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        cls.cohort = phantoms / "COHORT.csv"
        cases = rows_of(cls.cohort)
        cls.validation = [next(row["case"] for row in cases if row["grade"] == grade) for grade in ("LGG", "HGG")]

    def command(self, output, *more):
        options = f"train grading --cohort {self.cohort} --output {output} --cache {self.folder}/cache --spacing 4 --width 2 --padded true"
        options += " --patch 16 --batch 2 --bias-correction none --augment none --rate 1e-3 --threads 1"
        return [GLIOMA, *options.split(), *map(str, more)]

    def test_its_log_and_curve(self):
        output = self.folder / "logged"
        command = self.command(output, "--steps", 120, "--validate-steps", 50, "--validate", *self.validation)
        outcome = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertRegex(outcome.stderr, r"step 1, \d+ s, loss \d+\.\d+")
        log = rows_of(f"{output}.csv")
        self.assertEqual([int(row["step"]) for row in log], list(range(1, 121)))
        self.assertTrue(all(float(row["loss"]) > 0 for row in log))
        # Every fiftieth step, and the last.
        scores = {int(row["step"]): float(row["validation"]) for row in log if row["validation"]}
        self.assertEqual(list(scores), [50, 100, 120])
        # The scores that it prints are those of the weights in the bundle: the best.
        printed = list(csv.DictReader(outcome.stdout.splitlines()))
        self.assertEqual([row["case"] for row in printed], [row["case"] for row in rows_of(self.cohort) if row["case"] in self.validation])
        right = [float(row["p_hgg"]) if row["grade"] == "HGG" else 1 - float(row["p_hgg"]) for row in printed]
        self.assertAlmostEqual(sum(right) / 2, max(scores.values()), 4)
        if sitk is None:
            self.skipTest("SimpleITK is absent: the curve's picture is not looked at")
        picture = sitk.GetArrayFromImage(sitk.ReadImage(f"{output}.png"))
        inside = picture[56:416, 60:780]  # without the words
        for name, colour in (("loss of a step", (60, 90, 110)), ("running mean", (86, 180, 233)), ("score", (230, 159, 0))):
            # The thin line of the steps covers few pixels whole.
            columns = (abs(inside.astype(int) - colour) <= 6).all(axis=2).any(axis=0).nonzero()[0]
            self.assertGreater(len(columns), 100, name)
            # From the first step on, or the first score, to the last.
            self.assertLess(abs(columns.min() - (50 / 120 * 720 if name == "score" else 1 / 120 * 720)), 30, name)
            self.assertGreater(columns.max(), 690, name)

    def test_its_progress_on_a_terminal(self):
        output = self.folder / "shown"
        master, terminal = pty.openpty()
        self.addCleanup(os.close, master)
        # Longer than the second between two lines.
        command = self.command(output, "--minutes", 0.03, "--validate-steps", 1, "--validate", *self.validation)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal)
        self.addCleanup(process.kill)
        os.close(terminal)
        said = b""
        try:
            while block := os.read(master, 1 << 16):
                said += block
        except OSError:  # the end on Linux
            pass
        said = said.decode()
        self.assertEqual(process.wait(timeout=120), 0, said[-2000:])
        log = rows_of(f"{output}.csv")
        losses, scores = ([float(row[name]) for row in log] for name in ("loss", "validation"))
        shown = re.findall(r"\r\x1b\[Kstep (\d+), \d+ s, loss (\d+\.\d{4}), validation (\d\.\d{4}) \(best: step (\d+)\)", said)
        self.assertGreater(len(shown), 1, said[:2000])
        before = 0
        for step, loss, score, best in shown:
            step, best = int(step), int(best)
            self.assertAlmostEqual(float(loss), sum(losses[before:step]) / (step - before), delta=6e-5)  # since the last line
            self.assertAlmostEqual(float(score), scores[step - 1], delta=6e-5)
            self.assertLessEqual(best, step)
            self.assertEqual(scores[best - 1], max(scores[:step]))
            before = step

    def test_what_cannot_be_trained_is_told(self):
        output = self.folder / "refused"
        for more, code, said in (
            ([], 1, "--steps"),
            (["--steps", "1", "--mix", "0"], 2, "--mix is 0"),
            (["--steps", "1", "--mix", "inf"], 2, "--mix is inf"),
            (["--steps", "1", "--minutes", "nan"], 1, "MaximumMinutes is nan"),
        ):
            with self.subTest(more):
                outcome = subprocess.run(self.command(output, *more), capture_output=True, text=True)
                self.assertEqual(outcome.returncode, code, outcome.stderr)
                self.assertIn(said, outcome.stderr)
                self.assertNotRegex(outcome.stderr, "ITK ERROR|0x[0-9a-f]")
        # All that is wrong, each in a line.
        outcome = subprocess.run(self.command(output, "--leave", "stranger"), capture_output=True, text=True)
        self.assertEqual(sum(line.startswith("  ") for line in outcome.stderr.splitlines()), 2, outcome.stderr)

    def test_interrupted_before_its_first_step(self):
        output = self.folder / "early"
        command = self.command(output, "--steps", 1)
        command[command.index("--bias-correction") + 1] = "n4"
        with open(f"{output}.log", "w") as log:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 120
        while "Preparing case" not in pathlib.Path(f"{output}.log").read_text() and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
        said = pathlib.Path(f"{output}.log").read_text()
        self.assertIn("those that were done are kept", said)
        self.assertEqual(process.returncode, 130, said)

    def test_an_interrupted_training_is_not_finished(self):
        for number, code, *limit in ((signal.SIGINT, 130, "--steps", 1000000), (signal.SIGTERM, 143, "--minutes", 600)):
            with self.subTest(code):
                output = self.folder / f"stopped-{code}"
                with open(f"{output}.log", "w") as log:
                    process = subprocess.Popen(self.command(output, *limit), stdout=subprocess.DEVNULL, stderr=log)
                self.addCleanup(process.kill)
                deadline = time.monotonic() + 120
                while "loss" not in pathlib.Path(f"{output}.log").read_text() and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                process.send_signal(number)
                process.wait(timeout=120)
                said = pathlib.Path(f"{output}.log").read_text()
                self.assertEqual(process.returncode, code, said)
                self.assertIn("--resume", said)
                self.assertTrue((output / "configs/metadata.json").exists())
                self.assertTrue((output.with_name(f"{output.name}.checkpoint") / "state.safetensors").exists())
                kept = rows_of(f"{output}.csv")
                self.assertGreater(len(kept), 0)

                steps = len(kept) + 3
                outcome = subprocess.run(self.command(output, "--steps", steps, "--resume"), capture_output=True, text=True)
                self.assertEqual(outcome.returncode, 0, outcome.stderr)
                log = rows_of(f"{output}.csv")
                self.assertEqual([int(row["step"]) for row in log], list(range(1, steps + 1)))
                self.assertEqual(log[: len(kept)], kept)

    def test_a_kill_costs_one_checkpoint_interval(self):
        output, minutes = self.folder / "killed", 0.005
        with open(f"{output}.log", "w") as log:  # its steps do not end before the kill
            command = self.command(output, "--steps", 100000000, "--checkpoint-minutes", minutes)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        self.addCleanup(process.kill)
        kept, deadline = [], time.monotonic() + 120
        while len(kept) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
            kept = [int(step) for step in re.findall(r"Step (\d+) is kept", pathlib.Path(f"{output}.log").read_text())]
        process.kill()
        self.assertEqual(process.wait(timeout=120), -signal.SIGKILL, pathlib.Path(f"{output}.log").read_text())
        kept = [int(step) for step in re.findall(r"Step (\d+) is kept", pathlib.Path(f"{output}.log").read_text())]
        self.assertGreaterEqual(len(kept), 3)
        steps = len(pathlib.Path(f"{output}.csv").read_text().splitlines()) + 2  # the checkpoint's rows are on the disk

        outcome = subprocess.run(self.command(output, "--steps", steps, "--resume"), capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        # With the last that was kept, or what was kept in the moment of the kill.
        first = int(re.search(r"^step (\d+), ", outcome.stderr, re.M)[1])
        self.assertGreater(first, kept[-1])
        log = rows_of(f"{output}.csv")
        self.assertEqual([int(row["step"]) for row in log], list(range(1, steps + 1)))
        # Between two checkpoints lies the interval and the step that ends it.
        for before, after in zip(kept, kept[1:]):
            if after > before + 1:
                taken = float(log[after - 2]["seconds"]) - float(log[before]["seconds"])
                self.assertLessEqual(taken, 60 * minutes + 0.011, (before, after))

        whole = self.folder / "not-killed"
        outcome = subprocess.run(self.command(whole, "--steps", steps), capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertEqual(*((folder / "models/model.safetensors").read_bytes() for folder in (output, whole)))
        self.assertEqual([row["loss"] for row in log], [row["loss"] for row in rows_of(f"{whole}.csv")])


class ScriptsWithAStub(ScriptTest):
    """What the scripts ask of `glioma`, without it."""

    def setUp(self):
        super().setUp()
        self.calls = self.work / "calls"
        for name, content in (("glioma", STUB), ("python", PYTHON_STUB)):
            path = self.work / name
            path.write_text(content.format(python=sys.executable))
            path.chmod(0o755)
        # The twelve patients by name alone.
        self.data = self.work / "data"
        self.data.mkdir()
        rows = ["case,t1,t1c,t2,flair,seg,grade,site"]
        for i, row in enumerate(rows_of(os.path.join(SOURCE, "examples/glioma/models/attribution.csv"))):
            rows.append(f"{row['case']},1,2,3,4,5,{('LGG', 'HGG')[i % 2]},{('TCGA-CS', 'UCSF')[i % 2]}")
        (self.data / "cohort.csv").write_text("\n".join(rows) + "\n")

    def run_script(self, script, *arguments, **environment):
        self.calls.write_text("")
        outcome = super().run_script(
            script,
            *arguments,
            GLIOMA=self.work / "glioma",
            PYTHON=self.work / "python",
            GLIOMAGRADING_TEST_DATA=self.data,
            THREADS=1,
            STUB_LOG=self.calls,
            **environment,
        )
        return outcome, [json.loads(line) for line in self.calls.read_text().splitlines()]

    def test_an_interrupted_training_is_not_done(self):
        table = self.work / "COHORT.csv"
        table.write_text("case,t1,t1c,t2,flair,seg,grade,set\na,1,2,3,4,5,LGG,training\nb,1,2,3,4,5,HGG,training\nc,1,2,3,4,5,HGG,test\n")
        output = self.work / "out"
        for script, *arguments in (
            ("train-demo.sh", output),
            ("glioma/table-1.sh", "--cohort", table, "--output", output, "--rows", "brain-image"),
            ("glioma/models/rebuild.sh", output, "phantoms", "networks-phantoms"),
        ):
            with self.subTest(script):
                shutil.rmtree(output, ignore_errors=True)
                for turn in ("new", "an empty checkpoint"):
                    outcome, calls = self.run_script(script, *arguments, STUB_TRAIN_EXIT=130)
                    self.assertNotEqual(outcome.returncode, 0, outcome.stdout)
                    (call,) = (call for call in calls if call[0] == "train")
                    self.assertEqual(calls[-1], call)
                    self.assertNotIn("--resume", call, turn)
                    self.assertEqual(list(output.glob("*.done")), [])
                    bundle = pathlib.Path(call[call.index("--output") + 1])
                    checkpoint = bundle.with_name(bundle.name + ".checkpoint")
                    checkpoint.mkdir(exist_ok=True)
                (checkpoint / "state.safetensors").write_text("weights")
                outcome, calls = self.run_script(script, *arguments)
                self.assertEqual(outcome.returncode, 0, outcome.stderr)
                trained = [call for call in calls if call[0] == "train"]
                self.assertEqual([call for call in trained if "--resume" in call], trained[:1])
                self.assertCountEqual(trained[0], [*call, "--resume"])
                self.assertEqual(len(list(output.glob("*.done"))), len(trained))
                # What is done is not done again.
                outcome, calls = self.run_script(script, *arguments)
                self.assertEqual((outcome.returncode, [call for call in calls if call[0] == "train"]), (0, []), outcome.stderr)

    def test_four_rows_of_table_1(self):
        table, output = self.work / "COHORT.csv", self.work / "out"
        rows = ["case,t1,t1c,t2,flair,seg,grade,set"]
        rows += [f"c{i},1,2,3,4,5,{('LGG', 'HGG')[i % 2]},{'training' if i < 6 else 'test'}" for i in range(8)]
        table.write_text("\n".join(rows) + "\n")
        outcome, calls = self.run_script("glioma/table-1.sh", "--cohort", table, "--output", output)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)

        def options(call):
            return {name: value for name, value in zip(call, call[1:] + [""]) if name.startswith("--")}

        (segmentation,) = (options(call) for call in calls if call[:2] == ["train", "segmentation"])
        self.assertNotIn("--standardize", segmentation)
        self.assertEqual(segmentation["--steps"], "300")  # 100 epochs of 6 cases in batches of 2
        graders = [options(call) for call in calls if call[:2] == ["train", "grading"]]
        self.assertEqual(
            [(call.get("--region", "tumour"), call["--standardize"]) for call in graders],
            [("tumour", "brain"), ("tumour", "image"), ("brain", "brain"), ("brain", "image")],
        )
        self.assertEqual([call["--steps"] for call in graders], ["150"] * 4)
        *evaluations, last = (call for call in calls if call[0] == "evaluate")
        evaluations = [options(call) for call in evaluations]
        self.assertEqual([call["--grading-model"] for call in evaluations], [call["--output"] for call in graders])
        self.assertEqual(evaluations[0]["--segmentation-model"], segmentation["--output"])
        self.assertNotIn("--tumour-masks", evaluations[0])
        for call in evaluations[1:]:
            self.assertEqual(call["--tumour-masks"], evaluations[0]["--output"] + "/cases")
            self.assertNotIn("--segmentation-model", call)
        compared = [value for name, value in zip(last, last[1:]) if name == "--predictions"]
        self.assertEqual(compared, [call["--output"] for call in evaluations])
        self.assertEqual(len(compared), 4)
        self.assertEqual(calls[-1], last)
        # `glioma evaluate` knows by the weights what is done.
        outcome, again = self.run_script("glioma/table-1.sh", "--cohort", table, "--output", output)
        self.assertEqual([call for call in again if call[0] == "train"], [])
        self.assertEqual([call for call in again if call[0] == "evaluate"], [call for call in calls if call[0] == "evaluate"])
        self.assertTrue(all("--force" in call for call in again if call[0] == "evaluate"))

    def test_sets_that_make_no_table_are_told_before_training(self):
        table = self.work / "COHORT.csv"
        row = "{},1,2,3,4,5,{},{}\n".format
        whole = row("a", "LGG", "training") + row("b", "HGG", "training") + row("c", "LGG", "test")
        for text, said in (
            (whole.replace("test", ""), ["no case with a grade is in the set test"]),
            (whole.replace("HGG", "LGG"), ["no HGG is in the set training"]),
            (whole + row("d", "", "test") + row("e", "", "test"), ["without a grade in the set test: 2"]),
            (row("c", "", "validation"), ["no LGG", "no HGG", "no case with a grade", "without a grade in the set validation: 1"]),
        ):
            with self.subTest(said):
                table.write_text("case,t1,t1c,t2,flair,seg,grade,set\n" + text)
                outcome, calls = self.run_script("glioma/table-1.sh", "--cohort", table, "--output", self.work / "out")
                self.assertEqual((outcome.returncode, [call[0] for call in calls]), (1, ["cohort"]), outcome.stderr)
                problems = [line for line in outcome.stderr.splitlines() if line.startswith("  ")]
                self.assertEqual(len(problems), len(said), outcome.stderr)
                for problem, words in zip(problems, said):
                    self.assertIn(words, problem)
        outcome, calls = self.run_script("glioma/table-1.sh", "--cohort", self.work, "--output", self.work / "out")
        self.assertEqual((outcome.returncode, calls), (1, []))
        self.assertIn("give --split", outcome.stderr)

    def test_phantoms_that_a_split_has_no_names_for(self):
        split, brats = self.work / "split.py", self.work / "BRATS"
        names = {g: [f"Brats17_{g}_{i}" for i in range(2)] for g in ("HGG", "LGG")}
        split.write_text("\n".join(f"'{s}': {names}" for s in ("Training", "Validation", "Test")))
        outcome, calls = self.run_script("glioma/brats-phantoms.sh", split, 10, brats)  # three of a grade train
        self.assertEqual((outcome.returncode, calls), (1, []))
        self.assertIn("too few HGG in Training", outcome.stderr)
        # Nor does a synthesis that fails leave what the next one refuses.
        (self.work / "glioma").write_text('#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\nmkdir "$2" && exit 1\n')
        outcome, calls = self.run_script("glioma/brats-phantoms.sh", split, 4, brats)
        self.assertEqual(outcome.returncode, 1)
        self.assertEqual([path.name for path in self.work.glob("BRATS*")], [])
        outcome, calls = self.run_script("glioma/brats-phantoms.sh", split, "ten", brats)
        self.assertEqual(outcome.returncode, 2)

    def test_validation_scores_as_a_table(self):
        logs = [self.work / "all.log", self.work / "without-noise.log"]
        logs[0].write_text("Scoring 2 cases\ncase,dice\na,0.5\nb,0.7\nWrote all. Research use only.\n")
        # A training that went on: the last scores count.
        logs[1].write_text("case,dice\na,0\nb,0\nWrote it.\ncase,dice\na,0.9\nb,0.8\n")

        def table_of(*files):
            script = os.path.join(SOURCE, "examples/glioma/models/list_validation_scores.py")
            return subprocess.run([sys.executable, script, *map(str, files)], capture_output=True, text=True)

        rows = table_of(*logs).stdout.splitlines()
        self.assertEqual(rows[0], "| training | a | b | each seed | mean |")
        self.assertEqual(rows[2:], ["| without-noise | 0.90 | 0.80 | 0.850 | 0.850 |", "| all | 0.50 | 0.70 | 0.600 | 0.600 |"])
        # Seeds of one training share a row: means 0.6 and 0.8, standard deviation 0.1 times the root of 2.
        seeds = [logs[0].with_name("all-1.log"), logs[0].with_name("all-2.log")]
        seeds[0].write_text("case,dice\na,0.5\nb,0.7\nWrote it.\n")
        seeds[1].write_text("case,dice\na,0.7\nb,0.9\nWrote it.\n")
        rows = table_of(*seeds, logs[1]).stdout.splitlines()
        self.assertEqual(rows[2:4], ["| without-noise | 0.90 | 0.80 | 0.850 | 0.850 |", "| all | 0.60 | 0.80 | 0.600 0.800 | 0.700 |"])
        self.assertEqual(rows[4:], ["", "Standard deviation of a training's mean from seed to seed: 0.141 (1 degrees of freedom)"])
        logs[1].write_text("case,dice\na,0.9\n")
        outcome = table_of(*logs)
        self.assertIn("without-noise was scored on other cases", outcome.stderr)
        logs[1].write_text("Scoring 2 cases\n")
        outcome = table_of(*logs)
        self.assertEqual(outcome.returncode, 1)
        self.assertIn(f"{logs[1]} has no scores", outcome.stderr)

    def test_rebuild_wants_the_scores_packages_first(self):
        (self.work / "python").write_text("#!/bin/sh\nexit 1\n")
        outcome, calls = self.run_script("glioma/models/rebuild.sh", self.work / "out")
        self.assertEqual((outcome.returncode, calls), (1, []))
        self.assertIn("lacks torch or a package of test/requirements.txt: set PYTHON", outcome.stderr)
        self.assertFalse((self.work / "out").exists())

    def test_rebuild_grades_again_what_other_weights_graded(self):
        def graded(calls):
            return sorted(pathlib.Path(call[call.index("--output") + 1]).name for call in calls if call[0] == "grade")

        work, stages = self.work / "out", ("phantoms", "networks-phantoms", "networks", "folds")
        outcome, calls = self.run_script("glioma/models/rebuild.sh", work, *stages)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        everybody = sorted(row["case"] for row in rows_of(self.data / "cohort.csv"))
        self.assertEqual(graded(calls), everybody)
        means = pathlib.Path(f"{self.calls}.means")
        wanted = [[f"grading{f}", *(f"seed-{i}-grading{f}" for i in (1, 2, 3))] for f in ("", "-fold-1", "-fold-2", "-fold-3")]
        self.assertEqual([[pathlib.Path(path).name for path in line.split()] for line in means.read_text().splitlines()], wanted)
        outcome, calls = self.run_script("glioma/models/rebuild.sh", work, *stages)
        self.assertEqual((outcome.returncode, graded(calls)), (0, []), outcome.stderr)
        self.assertEqual(len(means.read_text().splitlines()), len(wanted))
        # Each of the three bundles counts, and of a mean each part.
        fold_2 = sorted(["BraTS2021_01484", "TCGA-DU-7294", "BraTS2021_00002", "BraTS2021_00024"])
        for bundle, those in (("segmentation-fold-2", fold_2), ("seed-3-grading-fold-2", fold_2), ("brain-grading-phantoms", everybody)):
            with self.subTest(bundle):
                (work / f"{bundle}.done").unlink()
                outcome, calls = self.run_script("glioma/models/rebuild.sh", work, *stages)
                self.assertEqual(outcome.returncode, 0, outcome.stderr)
                self.assertEqual([call[call.index("--output") + 1] for call in calls if call[0] == "train"], [str(work / bundle)])
                self.assertEqual(graded(calls), those)
        # One of before there was a control.
        result = work / "predictions/folds" / fold_2[0] / "result.json"
        result.write_text("{}")
        outcome, calls = self.run_script("glioma/models/rebuild.sh", work, *stages)
        self.assertEqual(graded(calls), [fold_2[0]])

    def test_rebuild_asks_for_options_that_there_are(self):
        calls = []
        for stages in ([], ["augmentations"]):
            outcome, more = self.run_script("glioma/models/rebuild.sh", self.work / "out", *stages)
            self.assertEqual(outcome.returncode, 0, outcome.stdout + outcome.stderr)
            calls += more
        absent = str(self.work / "absent")
        lines = {}
        for i, call in enumerate(calls):
            command, replaced = [GLIOMA, *call], 0
            for k, word in enumerate(command[:-1]):
                if word == "--cohort":
                    command[k + 1] = absent
                    replaced += 1
                elif word == "--output":
                    command[k + 1] = str(self.work / "replayed" / str(i))
            # Every training; of the others one for each set of options.
            key = i if call[0] == "train" else (call[0], *(word for word in call if word.startswith("--")))
            lines[key] = (call, command, replaced)
        self.assertEqual({call[0] for call, _, _ in lines.values()}, {"synthesize", "train", "grade"})
        self.assertGreaterEqual(sum(call[0] == "train" for call, _, _ in lines.values()), 28)

        def replay(line):
            return line, subprocess.run(line[1], capture_output=True, text=True)

        lines = [line for line in lines.values() if line[0][0] != "synthesize"]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (call, _, replaced), outcome in pool.map(replay, lines):
                with self.subTest(" ".join(call)):
                    self.assertEqual(outcome.returncode, 1, outcome.stderr)
                    if call[0] == "grade":
                        self.assertIn("is not a model bundle", outcome.stderr)  # but one of the stub
                    else:
                        # All that is wrong is told at once.
                        self.assertGreater(replaced, 0)
                        problems = [line for line in outcome.stderr.splitlines() if line.startswith("  ")]
                        self.assertEqual(sum(absent in line for line in problems), replaced, outcome.stderr)
                        others = [line for line in problems if absent not in line]
                        self.assertEqual(len(others), call.count("--initial"), outcome.stderr)
                        for line in others:
                            self.assertIn("is not a model bundle", line)  # but one of the stub


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
