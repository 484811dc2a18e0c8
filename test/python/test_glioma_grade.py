# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Runs `glioma grade` on a phantom with seeded models: outputs, bad input, full disk, interruption.

usage: test_glioma_grade.py GLIOMA RUNBUNDLE SCHEMA [unittest options]
"""
import gzip
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

try:
    import jsonschema
    import numpy as np
    import SimpleITK as sitk
except ImportError as error:
    print(f"SKIPPED: {error}; pip install -r test/requirements.txt")
    sys.exit(77)

GLIOMA, RUNBUNDLE, SCHEMA = (os.path.abspath(path) for path in sys.argv[1:4])
SEQUENCES = ("t1", "t1c", "t2", "flair")
SUFFIXES = {"t1": "_t1", "t1c": "_t1ce", "t2": "_t2", "flair": "_flair"}
IMAGES = ("tumour", "tumour-probability", "gradcam-res3", "gradcam-res4", "guided-backprop")


def set_tensor(bundle, name, values):
    """Fills a tensor of the weights and mends the manifest's digest."""
    path = os.path.join(bundle, "models", "model.safetensors")
    data = bytearray(open(path, "rb").read())
    before = hashlib.sha256(data).hexdigest()
    length = struct.unpack("<Q", data[:8])[0]
    begin, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    number = (end - begin) // 4
    data[8 + length + begin : 8 + length + end] = np.resize(np.float32(values), number).tobytes()
    open(path, "wb").write(data)
    manifest = os.path.join(bundle, "configs", "metadata.json")
    text = open(manifest).read()
    assert before in text
    open(manifest, "w").write(text.replace(before, hashlib.sha256(data).hexdigest()))


class GliomaGrade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        phantom = os.path.join(cls.folder, "phantom")
        subprocess.run(
            [GLIOMA, "synthesize", "--cases", "1", "--seed", "3", "--spacing", "3", "--output", phantom],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        case = next(entry.path for entry in os.scandir(phantom) if entry.is_dir())
        stem = os.path.join(case, os.path.basename(case))
        cls.case = {name: f"{stem}{SUFFIXES[name]}.nii.gz" for name in SEQUENCES}
        cls.seg = f"{stem}_seg.nii.gz"
        cls.models = {"segmentation": os.path.join(cls.folder, "segmentation"), "grading": os.path.join(cls.folder, "grading")}
        for task, path in cls.models.items():
            subprocess.run([RUNBUNDLE, "write", task, "4", "3", "0", "72", path], check=True)
        # Everything is tumour with the probability 0.73: what is found does not hang on seeded weights.
        cls.everywhere = os.path.join(cls.folder, "everywhere")
        shutil.copytree(cls.models["segmentation"], cls.everywhere)
        set_tensor(cls.everywhere, "head.weight", [0.0])
        set_tensor(cls.everywhere, "head.bias", [-0.5, 0.5])
        cls.nowhere = os.path.join(cls.folder, "nowhere")
        shutil.copytree(cls.models["segmentation"], cls.nowhere)
        set_tensor(cls.nowhere, "head.weight", [0.0])
        set_tensor(cls.nowhere, "head.bias", [0.5, -0.5])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.work = tempfile.mkdtemp(dir=self.folder)
        self.output = os.path.join(self.work, "out")

    def command(self, *more, segmentation=None, grading=None, output=None, **images):
        case = dict(self.case, **images)
        command = [GLIOMA, "grade", "--output", output or self.output, "--grading-model", grading or self.models["grading"]]
        command += ["--segmentation-model", segmentation or self.everywhere]
        for name in SEQUENCES:
            command += [f"--{name}", case[name]]
        return command + list(more)

    def run_glioma(self, *more, limit=None, **options):
        def limit_files():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        # A build that counts lines writes its counters at exit: where files are limited, away from those of the other runs.
        env = None if limit is None else dict(os.environ, GCOV_PREFIX=tempfile.mkdtemp(dir=self.folder), GCOV_ERROR_FILE=os.devnull)
        return subprocess.run(self.command(*more, **options), capture_output=True, text=True, preexec_fn=limit_files, env=env)

    def grade(self, *more, **options):
        outcome = self.run_glioma(*more, **options)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        return outcome.stdout

    def refuse(self, *more, says, code=1, **options):
        """One line says why, nothing is left behind."""
        outcome = self.run_glioma(*more, **options)
        self.assertEqual(outcome.returncode, code, outcome.stderr)
        lines = [line for line in outcome.stderr.splitlines() if line]
        if code == 1:
            # The libraries of NIfTI and MetaImage may say something of their own before.
            self.assertEqual(len([line for line in lines if not line.startswith(("** ERROR", "MetaImage: "))]), 1, outcome.stderr)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, outcome.stderr)
        self.assertEqual(os.listdir(self.work), [], outcome.stderr)

    def result(self):
        with open(os.path.join(self.output, "result.json"), encoding="utf-8") as file:
            document = json.load(file)
        with open(SCHEMA, encoding="utf-8") as file:
            jsonschema.Draft202012Validator(json.load(file)).validate(document)
        return document

    def put(self, path, data):
        with open(path, "wb") as file:
            file.write(data)

    def write(self, name, array, reference=None):
        """An image on the phantom's grid, outside the folder that must stay empty."""
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(reference or sitk.ReadImage(self.case["t1"]))
        path = os.path.join(tempfile.mkdtemp(dir=self.folder), name)
        sitk.WriteImage(image, path)
        return path

    # What it writes

    def test_a_bundle_of_ones_own_as_the_readme_says(self):
        try:
            import torch
        except ImportError as error:
            self.skipTest(f"{error}; the test writes a TorchScript file")
        with open(os.path.join(os.path.dirname(SCHEMA), "README.md")) as file:
            (manifest,) = re.findall(r"```json\n(.*?)```", file.read(), re.DOTALL)
        bundle = tempfile.mkdtemp(dir=self.folder)
        for folder in ("configs", "models"):
            os.makedirs(os.path.join(bundle, folder))
        with open(os.path.join(bundle, "configs", "metadata.json"), "w") as file:
            file.write(manifest)
        nn = torch.nn
        features = nn.Sequential(nn.Conv3d(4, 8, 3), nn.ReLU(), nn.Conv3d(8, 8, 3, stride=2), nn.ReLU())
        network = nn.Sequential()
        network.add_module("features", features)
        network.add_module("head", nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 2)))
        torch.jit.script(network.eval()).save(os.path.join(bundle, "models", "model.ts"))
        self.refuse(says="--trust-model", grading=bundle)
        outcome = self.run_glioma("--trust-model", grading=bundle)
        (line,) = re.findall(r"gliomagrading.json': (\{.*\}\})", outcome.stderr)
        with open(os.path.join(bundle, "gliomagrading.json"), "w") as file:
            file.write(line)
        self.grade("--trust-model", grading=bundle)
        self.assertTrue(os.path.exists(os.path.join(self.output, "gradcam-features.2.nii.gz")), os.listdir(self.output))
        with open(os.path.join(self.output, "result.json")) as file:
            self.assertEqual(json.load(file)["provenance"]["models"]["grading"]["name"], json.loads(manifest)["name"])

    def test_writes_everything_on_the_inputs_grid(self):
        text = self.grade()
        reference = sitk.ReadImage(self.case["t1"])
        for name in IMAGES:
            image = sitk.ReadImage(os.path.join(self.output, f"{name}.nii.gz"))
            self.assertEqual(image.GetSize(), reference.GetSize(), name)
            for what in ("GetOrigin", "GetSpacing", "GetDirection"):
                np.testing.assert_allclose(getattr(image, what)(), getattr(reference, what)(), atol=1e-5, err_msg=name)
            self.assertEqual(image.GetNumberOfComponentsPerPixel(), 4 if name == "guided-backprop" else 1)
            self.assertTrue(np.isfinite(sitk.GetArrayFromImage(image)).all(), name)
        self.assertEqual(
            sorted(os.listdir(self.output)), sorted([f"{name}.nii.gz" for name in IMAGES] + ["overview.png", "report.html", "result.json"])
        )

        result = self.result()
        labels = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(self.output, "tumour.nii.gz")))
        probability = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(self.output, "tumour-probability.nii.gz")))
        self.assertEqual(set(np.unique(labels)), {0, 1})
        self.assertTrue((probability[labels == 1] > 0.5).all())
        self.assertAlmostEqual(result["tumour_volume_ml"], labels.sum() * np.prod(reference.GetSpacing()) / 1000, places=3)
        self.assertIn(result["grade"], ("LGG", "HGG"))
        self.assertAlmostEqual(sum(result["probabilities"].values()), 1.0, places=6)
        self.assertEqual(result["grade"], max(result["probabilities"], key=result["probabilities"].get))
        self.assertTrue(result["phantom"])
        self.assertIn("Research use only.", result["warnings"])
        for name, path in self.case.items():
            entry = result["provenance"]["inputs"][{"t1": "T1", "t1c": "T1c", "t2": "T2", "flair": "FLAIR"}[name]]
            self.assertEqual(entry["file"], os.path.basename(path))
            self.assertEqual(entry["sha256"], hashlib.sha256(open(path, "rb").read()).hexdigest())
        self.assertNotIn(self.folder, json.dumps(result))
        weights = open(os.path.join(self.models["grading"], "models", "model.safetensors"), "rb").read()
        self.assertEqual(result["provenance"]["models"]["grading"]["sha256"], hashlib.sha256(weights).hexdigest())
        self.assertGreater(result["provenance"]["peak_memory_mib"], 50)
        self.assertEqual(sorted(result["outputs"] + ["result.json"]), sorted(os.listdir(self.output)))
        for part in (f"Grade: {result['grade']}", "Research use only.", f"Files: {self.output}"):
            self.assertIn(part, text)

        picture = sitk.ReadImage(os.path.join(self.output, "overview.png"))
        self.assertEqual(picture.GetNumberOfComponentsPerPixel(), 3)
        self.assertGreater(min(picture.GetSize()), 800)
        colours = np.unique(sitk.GetArrayFromImage(picture).reshape(-1, 3), axis=0)
        self.assertTrue((colours == (60, 255, 120)).all(axis=1).any(), "no outline is drawn")

    def test_two_runs_differ_in_times_and_memory_alone(self):
        def without_costs(value):
            if isinstance(value, dict):
                return {key: without_costs(each) for key, each in value.items() if key not in ("seconds", "n4_seconds", "peak_memory_mib")}
            return [without_costs(each) for each in value] if isinstance(value, list) else value

        folders = [os.path.join(self.work, name) for name in ("first", "second")]
        for folder in folders:
            self.grade(output=folder)
        names = sorted(os.listdir(folders[0]))
        self.assertEqual(names, sorted(os.listdir(folders[1])))
        for name in names:
            first, second = (open(os.path.join(folder, name), "rb").read() for folder in folders)
            if name == "result.json":
                costly, again = json.loads(first), json.loads(second)
                self.assertIn("peak_memory_mib", costly["provenance"])
                self.assertEqual(without_costs(costly), without_costs(again))
            elif name == "report.html":
                # Lines are long; their times stand in one place.
                times = rb">\d+\.\d s<|seconds: [\d.e-]+<|\d+ MiB"
                self.assertEqual(re.sub(times, b"<", first) == re.sub(times, b"<", second), True, name)
            else:
                self.assertTrue(first == second, name)

    def test_a_second_grader_and_regions(self):
        bundles = []
        for name, bias in (("tumour", [-1000.0, 1000.0]), ("brain", [1000.0, -1000.0])):
            bundles.append(os.path.join(tempfile.mkdtemp(dir=self.folder), name))
            shutil.copytree(self.models["grading"], bundles[-1])
            set_tensor(bundles[-1], "fc3.bias", bias)
        path = os.path.join(bundles[1], "configs", "metadata.json")
        with open(path) as file:
            manifest = json.load(file)
        manifest["gliomagrading"]["region"].update(of="brain", fit_mode="stretch")
        with open(path, "w") as file:
            json.dump(manifest, file)
        labels = sitk.GetArrayFromImage(sitk.ReadImage(self.case["t1"])).astype(np.float32)
        labels[:] = np.arange(labels.shape[2]) % 2 + 3.0
        more = ("--tumour-mask", self.seg, "--brain-grading-model", bundles[1], "--regions", self.write("regions.nii.gz", labels))
        text = self.grade(*more, grading=bundles[0])
        result = self.result()
        self.assertEqual(
            (result["grade"], result["whole_brain"]["grade"], result["whole_brain"]["explanation"]["class"]), ("HGG", "LGG", "LGG")
        )
        self.assertAlmostEqual(sum(result["whole_brain"]["probabilities"].values()), 1.0, places=6)
        self.assertEqual(
            [reason for reason in result["reasons"] if "graders disagree" in reason],
            ["the graders disagree: from the tumour's region HGG (1), from the whole brain LGG (1)"],
        )
        # A grader that does not look at the tumour.
        self.assertEqual(
            [reason for reason in result["reasons"] if "come from the tumour" in reason],
            [
                "the grade does not come from the tumour: with healthy tissue in its place the probability of HGG is 1.000 for 1.000 "
                "(flagged where it is not lower by 0.03)"
            ],
        )
        without = result["without_tumour"]
        self.assertEqual(set(without["probabilities"]), {"LGG", "HGG"})
        self.assertGreaterEqual(without["filled_share"], 0.0)
        self.assertIn("With healthy tissue in the tumour's place: P(LGG) = 0.000, P(HGG) = 1.000\nTumour:", text)
        self.assertEqual(result["provenance"]["models"]["brain_grading"]["bundle"], "brain")
        self.assertEqual(result["provenance"]["inputs"]["regions"]["file"], "regions.nii.gz")
        self.assertIn("From the whole brain: LGG P(LGG) = ", text)
        reference = sitk.ReadImage(self.case["t1"])
        brain_maps = [f"brain-{name}.nii.gz" for name in IMAGES if name.startswith(("gradcam", "guided"))]
        for name in brain_maps:
            self.assertIn(name, result["outputs"])
            self.assertEqual(sitk.ReadImage(os.path.join(self.output, name)).GetSize(), reference.GetSize(), name)
        quality = result["quality"]
        for name in ("guided-backprop", "brain-guided-backprop", "brain-gradcam-res3"):
            self.assertAlmostEqual(quality[f"{name}-label-3-share"] + quality[f"{name}-label-4-share"], 1.0, places=6)
        self.assertIn("brain-gradcam-res4-border-ratio", quality)
        with open(os.path.join(self.output, "report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertRegex(page, "<dt>With healthy tissue in the tumour(&#39;|.)s place</dt>")
        self.assertIn("<dd>HGG, 100 %</dd>", page)
        for part in ("Second grader, of the whole brain", "Whole brain: guided backpropagation", "Whole brain: GradCAM res3", "Region 4"):
            self.assertIn(part, page)

        # Without it nothing of it is left.
        self.grade("--tumour-mask", self.seg, "--force", grading=bundles[0])
        self.assertIsNone(self.result()["whole_brain"])
        self.assertEqual([name for name in os.listdir(self.output) if name.startswith("brain-")], [])
        shutil.rmtree(self.output)
        self.refuse("--tumour-mask", self.seg, "--brain-grading-model", bundles[0], says="made for the region 'tumour', not for 'brain'")
        labels += 0.5
        self.refuse(
            "--tumour-mask", self.seg, "--regions", self.write("half.nii.gz", labels), says=("half.nii.gz", "whole numbers of 0 to 255")
        )

    def test_swapped_sequences_are_noticed(self):
        self.grade("--tumour-mask", self.seg, "--explain", "none", t1=self.case["t2"], t2=self.case["t1"])
        result = self.result()
        self.assertEqual(result["verdict"], "review")
        self.assertIn("the sequences look swapped: T1 looks like T2, T2 looks like T1", result["reasons"])

    def test_without_the_viewer_the_page_has_slices(self):
        # Beside a copy of the program lies no library, then another one.
        program = os.path.join(self.folder, "copy", "bin", "glioma")
        os.makedirs(os.path.dirname(program))
        shutil.copy2(GLIOMA, program)
        library = os.path.join(self.folder, "copy", "share", "GliomaGrading", "report", "niivue.umd.js")
        for content, says in ((None, "was not installed with glioma"), (b"window.pwned = 1;", "its SHA-256 is another one")):
            if content:
                os.makedirs(os.path.dirname(library))
                self.put(library, content)
            command = self.command("--tumour-mask", self.seg, "--explain", "gradcam", "--force")
            outcome = subprocess.run([program, *command[1:]], capture_output=True, text=True)
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            page = open(os.path.join(self.output, "report.html"), encoding="utf-8").read()
            self.assertRegex(page, "This page has no interactive view: [^<]*" + says)
            self.assertIn("The slices below", page)
            self.assertGreaterEqual(len(re.findall('<img [^>]*src="data:image/png;base64,', page)), 12)
            self.assertNotIn('viewer-data"', page)
            self.assertNotIn("window.pwned", page)

    def test_tells_where_the_tumour_is_not(self):
        text = self.grade(segmentation=self.nowhere)
        result = self.result()
        self.assertIsNone(result["grade"])
        self.assertIsNone(result["probabilities"])
        self.assertEqual(result["verdict"], "review")
        self.assertIn("no tumour was found", result["reasons"])
        self.assertIn("no tumour was found", text)
        self.assertFalse(os.path.exists(os.path.join(self.output, "gradcam-res3.nii.gz")))
        self.assertEqual(sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(self.output, "tumour.nii.gz"))).max(), 0)

    def test_takes_a_tumour_mask_and_fewer_maps(self):
        self.grade("--tumour-mask", self.seg, "--explain", "gradcam", "--threads", "1")
        labels = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(self.output, "tumour.nii.gz")))
        given = sitk.GetArrayFromImage(sitk.ReadImage(self.seg))
        np.testing.assert_array_equal(labels != 0, given != 0)
        self.assertEqual(self.result()["tumour_mask"], "given")
        self.assertEqual(
            sorted(os.listdir(self.output)),
            ["gradcam-res3.nii.gz", "gradcam-res4.nii.gz", "overview.png", "report.html", "result.json", "tumour.nii.gz"],
        )

    def test_a_given_brain_mask_ignores_the_skull(self):
        images = {name: sitk.GetArrayFromImage(sitk.ReadImage(path)) for name, path in self.case.items()}
        brain = (images["t1"] != 0) | (images["t2"] != 0)
        noise = np.random.default_rng(1)
        with_skull = {
            name: self.write(f"{name}.nii.gz", np.where(brain, image, noise.uniform(50, 900, image.shape)).astype(np.float32))
            for name, image in images.items()
        }
        self.refuse(says=["not skull-stripped", "--brain-mask"], **with_skull)
        mask = self.write("mask.nii.gz", brain.astype(np.uint8))
        self.grade("--brain-mask", mask, "--explain", "none", **with_skull)
        first = self.result()
        self.assertEqual(first["brain_mask"], "given")
        self.grade("--brain-mask", mask, "--explain", "none", "--force")
        second = self.result()
        for name in ("LGG", "HGG"):
            self.assertAlmostEqual(first["probabilities"][name], second["probabilities"][name], places=6)

    def test_other_formats_carry_provenance_and_no_patient(self):
        image = sitk.ReadImage(self.case["t1"])
        for key, value in (("0010|0010", "DOE^JANE"), ("PatientName", "DOE^JANE"), ("0018|0081", "87.5")):
            image.SetMetaData(key, value)
        named = os.path.join(self.folder, "named.nrrd")
        sitk.WriteImage(image, named)
        for extension in ("nrrd", "mha"):
            self.grade("--format", extension, "--force", "--tumour-mask", self.seg, t1=named)
            self.assertEqual(sum(name.endswith(extension) for name in os.listdir(self.output)), 4, "files of the other format are left")
            written = sitk.ReadImage(os.path.join(self.output, f"tumour.{extension}"))
            keys = {key: written.GetMetaData(key) for key in written.GetMetaDataKeys()}
            self.assertEqual(keys["GliomaGrading_grading_sha256"], self.result()["provenance"]["models"]["grading"]["sha256"])
            self.assertEqual(keys["GliomaGrading_use"], "Research use only.")
            self.assertNotIn("DOE", json.dumps(keys))
            self.assertNotIn(b"DOE", open(os.path.join(self.output, "result.json"), "rb").read())
        self.grade("--format", "nrrd", "--force", "--tumour-mask", self.seg, "--keep-identifiers", t1=named)
        self.assertEqual(sitk.ReadImage(os.path.join(self.output, "tumour.nrrd")).GetMetaData("PatientName"), "DOE^JANE")

    def test_reads_a_fourth_axis_of_one_voxel(self):
        image = sitk.JoinSeries([sitk.ReadImage(self.case["t1"])])
        path = os.path.join(self.folder, "fourth.nii.gz")
        sitk.WriteImage(image, path)
        self.grade("--explain", "none", t1=path)
        first = self.result()["probabilities"]
        self.grade("--explain", "none", "--force")
        self.assertEqual(first, self.result()["probabilities"])

    def say(self, task, **keys):
        """A copy of the bundle whose manifest says otherwise."""
        source = self.everywhere if task == "segmentation" else self.models[task]
        bundle = os.path.join(tempfile.mkdtemp(dir=self.folder), task)
        shutil.copytree(source, bundle)
        path = os.path.join(bundle, "configs", "metadata.json")
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        manifest["gliomagrading"]["demonstration"] = keys["demonstration"]
        manifest["gliomagrading"]["training"]["data"] = keys["data"]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        return bundle

    def test_reports_the_bias_correction_of_each_sequence(self):
        bundles = {}
        for task, path in dict(self.models, segmentation=self.everywhere).items():
            bundles[task] = os.path.join(self.folder, f"n4-{task}")
            shutil.copytree(path, bundles[task])
            manifest = os.path.join(bundles[task], "configs", "metadata.json")
            with open(manifest, encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(text.count('"bias_correction": "none"'), 1)
            with open(manifest, "w", encoding="utf-8") as file:
                file.write(text.replace('"bias_correction": "none"', '"bias_correction": "n4"'))
        self.grade("--explain", "none", **bundles)
        for sequence in self.result()["provenance"]["sequences"].values():
            self.assertEqual(len(sequence["n4_iterations"]), 4)
            self.assertEqual(len(sequence["n4_convergence"]), 4)
            self.assertGreaterEqual(min(sequence["n4_iterations"]), 1)
            lowest, highest = sequence["n4_log_field"]
            self.assertGreater(highest - lowest, 0.01)
            self.assertGreater(sequence["n4_seconds"], 0.0)
            self.assertEqual(sequence["n4_voxels_not_positive"], 0)
            self.assertIn(sequence["n4_status"], ("converged", "stopped at the maximum number of iterations"))

    def test_says_what_the_models_were_trained_on(self):
        # No note in these files says that they are a phantom.
        unknown = {}
        for name, path in self.case.items():
            image = sitk.GetArrayFromImage(sitk.ReadImage(path))
            unknown[name] = self.write(f"{name}.nii.gz", image)
        alike, other, ends = "trained on twelve pears, not validated", "trained on one apple", "do not rely on this grade for a patient."
        for first, second, demonstration, says in (
            (alike, alike, True, f"Demonstration models, {alike}: {ends}"),
            (alike, other, True, f"Demonstration models, segmentation: {alike}; grading: {other}: {ends}"),
            (other, "", True, f"Demonstration models, segmentation: {other}; grading: training data not stated, not validated: {ends}"),
            ("", "", True, f"Demonstration models, training data not stated, not validated: {ends}"),
            (other, f"{other}.\n", False, f"The models' training: {other}."),
        ):
            models = {
                "segmentation": self.say("segmentation", data=first, demonstration=False),
                "grading": self.say("grading", data=second, demonstration=demonstration),
            }
            text = self.grade("--explain", "none", "--force", "--format", "nrrd", **models, **unknown)
            self.assertEqual(self.result()["warnings"], ["Research use only.", says])
            self.assertIn(f"\n{says}\n", text)
            written = sitk.ReadImage(os.path.join(self.output, "tumour.nrrd"))
            self.assertIn(written.GetMetaData("GliomaGrading_trained_on"), says)
        # A model that was not asked does not count, and a phantom is no patient.
        models["grading"] = self.say("grading", data=alike, demonstration=True)
        self.grade("--explain", "none", "--force", "--tumour-mask", self.seg, **models, **unknown)
        self.assertEqual(self.result()["warnings"][1], f"Demonstration models, {alike}: {ends}")
        self.grade("--explain", "none", "--force", "--tumour-mask", self.seg, **models)
        self.assertEqual(self.result()["warnings"][1], f"The models' training: {alike}.")

    # What it refuses

    def test_estimates_what_a_case_takes(self):
        command = self.command("--estimate")
        del command[2:4]  # --output
        outcome = subprocess.run(command, capture_output=True, text=True, cwd=self.work)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertEqual(os.listdir(self.work), [])
        said = re.search(r"nothing is written\): ([0-9.]+) s, ([0-9.]+) GiB", outcome.stdout)
        stages = [float(seconds) for seconds in re.findall(r"^  .* ([0-9.]+) s$", outcome.stdout, re.MULTILINE)]
        self.assertAlmostEqual(sum(stages), float(said[1]), delta=0.3)
        self.assertRegex(outcome.stdout, r"segmentation in [1-9]\d* tile")
        self.grade()
        self.assertAlmostEqual(float(said[2]) * 1024 / self.result()["provenance"]["peak_memory_mib"], 1, delta=0.3)

        command[command.index("--flair") + 1] = self.write(
            "small.nii.gz", np.ones((4, 5, 6), np.float32), sitk.Image(6, 5, 4, sitk.sitkFloat32)
        )
        outcome = subprocess.run(command, capture_output=True, text=True, cwd=self.work)
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("differ in size or place", outcome.stderr)

    def test_verifies_golden_pairs(self):
        # The weights of self.everywhere were edited after its golden pair was written.
        self.refuse("--verify", says=["golden pair", "the manifest says"])
        self.grade("--verify", "--explain", "none", segmentation=self.models["segmentation"], limit=None)

    def test_wrong_usage(self):
        for more in (["--explain", "magic"], ["--reference", "t1"], ["--on-every-grid"], ["--format", "jpg"], ["--threads", "0"]):
            self.refuse(*more, says=more[0], code=2)
        self.refuse("--estimate", says="--estimate", code=2)
        outcome = subprocess.run([GLIOMA, "grade", "--t1", self.case["t1"]], capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 2)

    def test_missing_and_damaged_files(self):
        self.refuse(says=["There is no file", "T2"], t2=os.path.join(self.folder, "absent.nii.gz"))
        text = os.path.join(self.folder, "text.nii.gz")
        self.put(text, b"no image")
        self.refuse(says=[text, "FLAIR"], flair=text)
        truncated = os.path.join(self.folder, "truncated.nii.gz")
        open(truncated, "wb").write(open(self.case["t2"], "rb").read()[:20000])
        self.refuse(says=[truncated, "T2"], t2=truncated)

    def test_an_error_of_itk_keeps_what_was_said_of_it(self):
        path = os.path.join(self.folder, "no-direction.mha")
        sitk.WriteImage(sitk.ReadImage(self.case["t2"]), path)
        data = open(path, "rb").read()
        open(path, "wb").write(re.sub(rb"TransformMatrix = [^\n]*", b"TransformMatrix =" + b" 0" * 9, data))
        self.refuse(says=["Cannot read", path, "T2"], t2=path)
        self.assertNotRegex(self.run_glioma(t2=path).stderr, "ITK ERROR|0x|[.]cxx")
        # N4 takes no voxels that are not positive.
        array = sitk.GetArrayFromImage(sitk.ReadImage(self.case["t1c"]))
        negative = self.write("negative.nii.gz", -np.abs(array))
        grading = os.path.join(self.folder, "negative")
        for task, path in dict(self.models, segmentation=self.everywhere).items():
            shutil.copytree(path, f"{grading}-{task}")
            manifest = os.path.join(f"{grading}-{task}", "configs", "metadata.json")
            text = open(manifest).read()
            open(manifest, "w").write(text.replace('"bias_correction": "none"', '"bias_correction": "n4"'))
        bundles = {task: f"{grading}-{task}" for task in self.models}
        self.refuse(says=["N4 of the sequence T1c failed: "], t1c=negative, **bundles)
        self.assertNotRegex(self.run_glioma(t1c=negative, **bundles).stderr, "ITK ERROR|0x|[.]cxx")

    def test_nothing_of_a_bundle_commands_the_terminal(self):
        bundle = os.path.join(self.folder, "commands")
        shutil.copytree(self.models["grading"], bundle)
        path = os.path.join(bundle, "configs", "metadata.json")
        manifest = json.load(open(path, encoding="utf-8"))
        manifest["gliomagrading"]["training"]["data"] = "\x1b]0;owned\x07 \u009b31m \u00e9\u8133"
        json.dump(manifest, open(path, "w", encoding="utf-8"))
        commands = "[\x00-\x09\x0b-\x1f\x7f-\x9f]"
        shown = self.grade("--explain", "none", grading=bundle)
        self.assertNotRegex(shown, commands)
        self.assertIn("?31m \u00e9\u8133", shown)
        manifest["gliomagrading"]["weights"]["file"] = "../\x1b[31m\u009bred"
        json.dump(manifest, open(path, "w", encoding="utf-8"))
        shown = self.run_glioma(grading=bundle, output=os.path.join(self.work, "other")).stderr
        self.assertIn("[31m", shown)
        self.assertNotRegex(shown, commands)
        shown = subprocess.run([GLIOMA, "inspect", bundle], capture_output=True, text=True)
        self.assertNotRegex(shown.stdout + shown.stderr, commands)

    def test_what_is_printed_onto_a_full_disk(self):
        estimate = [part for part in self.command("--estimate") if part not in ("--output", self.output)]
        table = os.path.join(self.work, "COHORT.csv")
        for command in ([GLIOMA, "inspect", self.case["t1"]], estimate, [GLIOMA, "cohort", os.path.dirname(self.seg), "--output", table]):
            with open("/dev/full", "w") as full:
                outcome = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(outcome.returncode, 1, command)
            self.assertIn("Cannot write to standard output", outcome.stderr)

    def test_a_table_of_links_to_nothing(self):
        folder = os.path.join(self.work, "cohort")
        for name in ("whole", "linked"):
            os.makedirs(os.path.join(folder, name))
            for sequence, suffix in SUFFIXES.items():
                target = self.case[sequence] if name == "whole" or sequence != "t2" else "/nowhere/t2.nii.gz"
                os.symlink(target, os.path.join(folder, name, f"{name}{suffix}.nii.gz"))
        table = os.path.join(self.work, "COHORT.csv")
        outcome = subprocess.run([GLIOMA, "cohort", folder, "--output", table], capture_output=True, text=True)
        self.assertIn("1 of 2 patients", outcome.stdout)
        self.assertRegex(outcome.stdout, "linked: linked_t2.nii.gz is a link")
        self.assertNotIn("linked", open(table).read())
        outcome = subprocess.run([GLIOMA, "cohort", folder, "--output", self.work, "--force"], capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("is a folder", outcome.stderr)
        self.assertFalse(os.path.exists(self.work + ".part"))
        file = os.path.join(self.folder, "no-folder")
        open(file, "w").close()
        outcome = subprocess.run([GLIOMA, "cohort", folder, "--output", os.path.join(file, "C.csv")], capture_output=True, text=True)
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("choose another --output", outcome.stderr)

    def test_images_that_do_not_belong_together(self):
        self.refuse(says=["T1", "T1c", "same voxels"], t1c=self.case["t1"])
        image = sitk.ReadImage(self.case["t2"])
        image.SetOrigin([value + 1.0 for value in image.GetOrigin()])
        moved = os.path.join(self.folder, "moved.nii.gz")
        sitk.WriteImage(image, moved)
        self.refuse(says=["T1 and T2 differ in origin", "0.33"], t2=moved)
        cropped = os.path.join(self.folder, "cropped.nii.gz")
        sitk.WriteImage(sitk.ReadImage(self.case["flair"])[:, :, 1:], cropped)
        self.refuse(says=["T1 and FLAIR differ in size"], flair=cropped)
        angle = 0.01
        turn = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
        turned = {}
        for name, path in self.case.items():
            image = sitk.ReadImage(path)
            image.SetDirection((np.array(turn).reshape(3, 3) @ np.array(image.GetDirection()).reshape(3, 3)).ravel())
            turned[name] = os.path.join(self.folder, f"turned-{name}.nrrd")
            sitk.WriteImage(image, turned[name])
        self.refuse(says=["T1 and T1c differ in direction", "0.0099"], t1c=turned["t1c"])

    def test_a_sheared_direction(self):
        sheared = {}
        for name, path in self.case.items():
            nrrd = os.path.join(self.folder, f"sheared-{name}.nrrd")
            sitk.WriteImage(sitk.ReadImage(path), nrrd)
            data = open(nrrd, "rb").read()
            head, body = data.split(b"\n\n", 1)
            lines = [
                b"space directions: (3,0,0) (0.06,3,0) (0,0,3)" if line.startswith(b"space directions") else line
                for line in head.split(b"\n")
            ]
            open(nrrd, "wb").write(b"\n".join(lines) + b"\n\n" + body)
            sheared[name] = nrrd
        self.refuse(says=["not perpendicular", "tolerance"], **sheared)

    def test_voxels_that_are_no_image(self):
        array = sitk.GetArrayFromImage(sitk.ReadImage(self.case["t1c"])).astype(np.float32)
        for bad in (np.nan, np.inf):
            broken = array.copy()
            broken[20, 30, 40] = bad
            self.refuse(says=["T1c", "[40, 30, 20]", "finite"], t1c=self.write("bad.nii.gz", broken))
        self.refuse(says=["T1c is constant"], t1c=self.write("constant.nii.gz", np.full_like(array, 5)))
        one = os.path.join(self.folder, "one.nii.gz")
        sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 1, 1), np.float32)), one)
        self.refuse(says="[1, 1, 1] voxels", t1=one, t1c=one, t2=one, flair=one)

    def test_masks_that_mask_nothing(self):
        shape = sitk.GetArrayFromImage(sitk.ReadImage(self.case["t1"])).shape
        for value, says in ((0, "is empty"), (1, "covers the whole image")):
            mask = self.write("mask.nii.gz", np.full(shape, value, np.uint8))
            self.refuse("--brain-mask", mask, says=["brain mask", says])
            self.refuse("--tumour-mask", mask, says=["tumour mask", says])

    def test_masks_with_values_that_are_none(self):
        array = np.zeros(sitk.GetArrayFromImage(sitk.ReadImage(self.case["t1"])).shape, np.float32)
        array[20:30, 20:30, 20:30] = 1
        for option in ("--brain-mask", "--tumour-mask"):
            for bad, name in ((np.nan, "nan"), (-1, "-1")):
                array[21, 22, 23] = bad
                mask = self.write("mask.nii.gz", array)
                self.refuse(option, mask, says=[option[2:].replace("-", " "), "the voxel [23, 22, 21] is " + name, "above 0 inside"])

    def test_a_damaged_file_of_any_format(self):
        image = sitk.ReadImage(self.case["t2"])
        for name in ("damaged.mha", "damaged.nrrd", "damaged.nii.gz", "damaged.mhd", "damaged.hdr"):
            path = os.path.join(self.folder, name)
            sitk.WriteImage(image, path, name != "damaged.hdr")
            voxels = {"damaged.mhd": "damaged.zraw", "damaged.hdr": "damaged.img"}.get(name, name)
            voxels = os.path.join(self.folder, voxels)
            data = bytearray(open(voxels, "rb").read())
            if name == "damaged.hdr":
                del data[-100:]
            else:
                data[len(data) // 2] ^= 0x55
            self.put(voxels, data)
            self.refuse(says=["Cannot read", name, "T2", "cut off or damaged", "get it again"], t2=path)

    def test_a_header_apart_from_its_voxels(self):
        path = os.path.join(self.folder, "apart.mhd")
        sitk.WriteImage(sitk.ReadImage(self.case["t2"]), path)
        self.grade("--explain", "none", t2=path)
        first = self.result()["provenance"]["inputs"]["T2"]["sha256"]
        voxels = os.path.join(self.folder, "apart.raw")
        data = bytearray(open(voxels, "rb").read())
        data[len(data) // 2] ^= 1
        self.put(voxels, data)
        self.grade("--explain", "none", "--force", t2=path)
        self.assertNotEqual(self.result()["provenance"]["inputs"]["T2"]["sha256"], first)

    def test_models_that_are_not_what_they_say(self):
        for task in ("segmentation", "grading"):
            bundle = os.path.join(self.folder, f"broken-{task}")
            shutil.copytree(self.models[task], bundle)
            weights = os.path.join(bundle, "models", "model.safetensors")
            good = open(weights, "rb").read()
            open(weights, "wb").write(good[:-64])
            self.refuse(says=["bytes"], **{task: bundle})
            open(weights, "wb").write(good[:-1] + bytes([good[-1] ^ 1]))
            self.refuse(says=["SHA-256"], **{task: bundle})
        self.refuse(says=["grading"], segmentation=self.models["grading"])
        self.refuse(says=["There is no model", "--grading-model"], grading=os.path.join(self.folder, "absent"))
        self.refuse("--bias-correction", "n4", says=["contradicts", "none"])

    # What it leaves behind

    def test_refuses_to_overwrite(self):
        self.grade("--explain", "none")
        before = {name: os.stat(os.path.join(self.output, name)).st_mtime_ns for name in os.listdir(self.output)}
        outcome = self.run_glioma("--explain", "none")
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("--force", outcome.stderr)
        self.assertEqual(before, {name: os.stat(os.path.join(self.output, name)).st_mtime_ns for name in os.listdir(self.output)})
        open(os.path.join(self.output, "notes.txt"), "w").write("mine")
        self.grade("--explain", "guided-backprop", "--force")
        self.assertIn("guided-backprop.nii.gz", os.listdir(self.output))
        self.grade("--explain", "none", "--force")
        self.assertEqual(sorted(os.listdir(self.output)), sorted(list(before) + ["notes.txt"]))
        self.assertEqual(os.listdir(self.work), ["out"])

    def test_an_output_path_that_cannot_be(self):
        file = os.path.join(self.folder, "file")
        open(file, "w").close()
        self.refuse(says="Cannot make the folder", output=os.path.join(file, "under", "it"))
        self.refuse(says="is a file", output=file)

    def test_a_full_disk_leaves_nothing(self):
        for limit in (200, 5000, 40000):
            self.refuse(says=["Cannot write", "--output"], limit=limit)

    def test_a_full_disk_at_each_file(self):
        # One small file goes well, a later one does not.
        self.grade("--explain", "none", "--tumour-mask", self.seg)
        sizes = {name: os.path.getsize(os.path.join(self.output, name)) for name in os.listdir(self.output)}
        shutil.rmtree(self.output)
        for name, size in sizes.items():
            self.refuse("--explain", "none", "--tumour-mask", self.seg, says=["Cannot write", "--output"], limit=min(size // 2, 4096))

    def test_a_full_disk_in_every_format_and_thread(self):
        for form, threads in (("nii.gz", "1"), ("nii.gz", "3"), ("nrrd", "3"), ("mha", "3")):
            options = ("--format", form, "--threads", threads)
            self.grade(*options)
            sizes = [os.path.getsize(os.path.join(self.output, f"{stem}.{form}")) for stem in IMAGES]
            shutil.rmtree(self.output)
            # Of the largest the last byte is cut off; then several are cut off at once.
            for limit in (max(sizes) - 1, sorted(sizes)[1] - 1):
                self.refuse(*options, says=["Cannot write", form, "--output"], limit=limit)

    def test_the_bytes_do_not_depend_on_the_threads(self):
        def images():
            return {stem: open(os.path.join(self.output, f"{stem}.nii.gz"), "rb").read() for stem in IMAGES}

        self.grade("--threads", "1")
        before, order = images(), self.result()["outputs"]
        self.grade("--threads", "3", "--force")
        self.assertEqual(self.result()["outputs"], order)
        for stem, data in images().items():
            # Voxels of networks may differ in the last bits; that of labels is the same file.
            self.assertEqual(len(gzip.decompress(data)), len(gzip.decompress(before[stem])), stem)
        self.assertEqual(images()["tumour"], before["tumour"])

    def interrupt(self, meanwhile, *more):
        """Does something when the run has begun to write."""
        with subprocess.Popen(self.command(*more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            where = self.output if os.path.isdir(self.output) else self.work
            deadline = time.monotonic() + 120
            while not any(name.startswith(".out.partial-") for name in os.listdir(where)) and process.poll() is None:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            self.assertIsNone(process.poll())
            meanwhile(process)
            stderr = process.communicate(timeout=120)[1]
        return process.returncode, stderr

    def test_an_interrupted_run_leaves_nothing(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            code, _ = self.interrupt(lambda process, number=number: process.send_signal(number))
            self.assertEqual(code, -number)
            self.assertEqual(os.listdir(self.work), [], number)

    def test_what_is_ignored_does_not_interrupt(self):
        # As nohup starts a program.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            code, stderr = self.interrupt(lambda process: process.send_signal(signal.SIGHUP), "--explain", "none")
        finally:
            signal.signal(signal.SIGHUP, before)
        self.assertEqual(code, 0, stderr)
        self.assertIn("result.json", os.listdir(self.output))

    def test_another_run_was_faster(self):
        def other(_):
            os.makedirs(self.output)
            open(os.path.join(self.output, "result.json"), "w").write("of another")

        code, stderr = self.interrupt(other, "--explain", "none")
        self.assertEqual(code, 1)
        self.assertIn("--force", stderr)
        self.assertNotIn("filesystem error", stderr)
        self.assertEqual(open(os.path.join(self.output, "result.json")).read(), "of another")
        shutil.rmtree(self.output)
        code, stderr = self.interrupt(other, "--explain", "none", "--force")
        self.assertEqual(code, 0, stderr)
        self.result()
        self.assertEqual(os.listdir(self.work), ["out"])

    def test_the_earlier_results_stay_where_new_ones_cannot_go(self):
        os.symlink("/nowhere/out", self.output)
        outcome = self.run_glioma()
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("link to nothing", outcome.stderr)
        os.remove(self.output)

        self.grade("--explain", "none")

        def files():
            return {name: open(os.path.join(self.output, name), "rb").read() for name in os.listdir(self.output) if name != "report.html"}

        def folder(_=None):
            report = os.path.join(self.output, "report.html")
            os.remove(report)
            os.makedirs(os.path.join(report, "mine"))

        before = files()
        code, stderr = self.interrupt(folder, "--explain", "none", "--force")
        self.assertEqual(code, 1)
        self.assertIn("--output", stderr)
        self.assertEqual(files(), before)
        self.assertEqual(os.listdir(os.path.join(self.output, "report.html")), ["mine"])
        outcome = self.run_glioma("--explain", "none", "--force")
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("holds a folder report.html", outcome.stderr)
        self.assertEqual(files(), before)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2, warnings="ignore")
