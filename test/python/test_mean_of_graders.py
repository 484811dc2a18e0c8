#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""What examples/glioma/models/mean_of_graders.py makes of bundles with random weights. Ends with 77 where a package is missing.

  test_mean_of_graders.py RUN_BUNDLE SOURCE_FOLDER [unittest options]
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import compare_with_pytorch as cwp
import pereira_networks as pn

RUN_BUNDLE, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
SIZE = (72, 72, 72)


class MeanOfGraders(unittest.TestCase):
    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.work)

    def bundle(self, name, kind="grading", width=2, padded=0, cases=(), validation=()):
        path = self.work / name
        subprocess.run([RUN_BUNDLE, "write", kind, str(width), "3", str(padded), str(SIZE[0]), path], check=True)
        golden = pn.read_metadata(path)["gliomagrading"]["golden"]
        pn.replace_weights(path, cwp.randomize(pn.network_of_bundle(path), sum(map(ord, name))))
        lists = {"cases": cases, "validation": validation}
        named = {key: [{"case": c, "licence": "", "attribution": name} for c in its] for key, its in lists.items() if its}
        self.change(path, golden=golden, training={"data": "", **named})
        return path

    def change(self, bundle, **more):
        metadata = pn.read_metadata(bundle)
        ours = {**metadata["gliomagrading"], **more}
        metadata["gliomagrading"] = {key: value for key, value in ours.items() if value is not None}
        (bundle / "configs/metadata.json").write_text(json.dumps(metadata))

    def rename(self, bundle, old, new):
        path = bundle / "configs/metadata.json"
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))

    def mean_of(self, *paths):
        script = SOURCE / "examples/glioma/models/mean_of_graders.py"
        return subprocess.run([sys.executable, script, *paths], capture_output=True, text=True)

    def logits(self, bundle, seed):
        return cwp.run(RUN_BUNDLE, str(bundle), str(self.work), pn.golden_input(seed, SIZE, 4)).numpy()

    def test_its_logits_are_the_mean_of_theirs(self):
        parts = [self.bundle(name, cases=cases) for name, cases in (("one", "ab"), ("two", "bc"))]
        parts.append(self.bundle("three", validation="bd"))
        outcome = self.mean_of(self.work / "mean", *parts)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        ours = pn.read_metadata(self.work / "mean")["gliomagrading"]
        self.assertEqual((ours["network"]["width"], ours["network"]["groups"]), (6, 3))
        sizes = [(path / "models/model.safetensors").stat().st_size for path in (self.work / "mean", parts[0])]
        self.assertLess(sizes[0], 1.1 * 3 * sizes[1])
        self.assertEqual([(c["case"], c["attribution"]) for c in ours["training"]["cases"]], [("a", "one"), ("b", "one"), ("c", "two")])
        self.assertEqual([(c["case"], c["attribution"]) for c in ours["training"]["validation"]], [("b", "three"), ("d", "three")])
        self.assertEqual([path.name for path in self.work.glob("*.partial")], [])
        for seed in (3, ours["golden"]["seed"]):
            with self.subTest(seed=seed):
                each = np.stack([self.logits(part, seed) for part in parts])
                self.assertGreater(each.std(0).min(), 1e-2, "graders that agree say nothing about their mean")
                found = self.logits(self.work / "mean", seed)
                np.testing.assert_allclose(found, each.mean(0), atol=1e-4 * np.abs(each).max())
        np.testing.assert_allclose(ours["golden"]["output"], found, atol=1e-4 * np.abs(each).max())

    def test_what_is_no_recipe_of_one_kind(self):
        one = self.bundle("one")
        for other, said in (
            (self.bundle("wider", width=3), "differ in more than their trainings"),
            (self.bundle("padded", padded=1), "differ in more than their trainings"),
            (self.bundle("segmentation", kind="segmentation", padded=1), "holds a PereiraSegmentationNetwork"),
        ):
            outcome = self.mean_of(self.work / "mean", one, other)
            self.assertEqual(outcome.returncode, 1)
            self.assertIn(said, outcome.stderr)
            self.assertIn(str(other), outcome.stderr)
        for name, old, new in (("channels", '"T1c"', '"T1w"'), ("classes", '"LGG"', '"low"')):
            other = self.bundle(name)
            self.rename(other, old, new)
            self.assertIn(f"{other} and {one} differ in more", self.mean_of(self.work / "mean", one, other).stderr)
        self.assertIn("a network of width 1026; the module takes 1024", self.mean_of(self.work / "mean", *[one] * 513).stderr)
        self.assertEqual(list(self.work.glob("mean*")), [])
        two = self.bundle("two")
        self.assertEqual(self.mean_of(self.work / "mean", one, two).returncode, 0)
        self.assertIn("is a mean already", self.mean_of(self.work / "another", self.work / "mean", one).stderr)
        shutil.rmtree(self.work / "mean")
        self.change(two, temperature=1.5)
        self.assertIn(f"{two} has a temperature", self.mean_of(self.work / "mean", one, two).stderr)
        self.assertEqual(list(self.work.glob("mean*")), [])
        self.change(two, temperature=1, golden=None)
        self.assertIn(f"{two} has no golden pair", self.mean_of(self.work / "mean", one, two).stderr)
        self.assertEqual(list(self.work.glob("mean*")), [])
        before = one.joinpath("configs/metadata.json").read_bytes()
        self.assertIn(f"{one} exists", self.mean_of(one, one, one).stderr)
        self.assertEqual(one.joinpath("configs/metadata.json").read_bytes(), before)
        self.assertNotEqual(self.mean_of(self.work / "mean", one).returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
