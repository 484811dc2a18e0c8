# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""What `glioma` says to options and commands that are none.

usage: test_glioma_options.py GLIOMA [unittest options]
"""
import os
import subprocess
import sys
import tempfile
import unittest

GLIOMA = os.path.abspath(sys.argv[1])
COMMANDS = ("cohort", "evaluate", "grade", "inspect", "synthesize", "train")


def run(*words, **options):
    # A run that begins in spite of its options shall not go on.
    return subprocess.run([GLIOMA, *words], capture_output=True, text=True, timeout=60, **options)


class GliomaOptions(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.output = os.path.join(self.folder.name, "out")

    def refuse(self, *words, code=2, says):
        outcome = run(*words)
        self.assertEqual(outcome.returncode, code, outcome.stderr)
        for text in says:
            self.assertIn(text, outcome.stderr)
        self.assertNotIn("ITK ERROR", outcome.stderr)
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_numbers_of_64_bits(self):
        largest = str(2**64 - 1)
        training = ("train", "grading", "--cohort", "absent", "--output", self.output)
        synthesis = ("synthesize", "--cases", "1", "--spacing", "4", "--output", self.output)
        for option, words in (("--steps", training), ("--validate-steps", training), ("--seed", training), ("--seed", synthesis)):
            for value in ("-1", str(2**64)):
                self.refuse(*words, option, value, says=[option, f'"{value}" is no whole number from 0 to {largest}'])
        for value in ("99999999999999999999", "1.5", "+1", " 1", "0x1", "many"):
            self.refuse(*training, "--steps", value, says=["--steps", f'"{value}" is no whole number from 0 to {largest}'])
        for value in ("-1", "-18446744073709551615", str(2**32)):
            self.refuse(*training, "--batch", value, says=["--batch", f'"{value}" is no whole number from 0 to {2**32 - 1}'])
        # The largest itself is taken: what is refused then is the cohort.
        self.refuse(*training, "--steps", largest, "--seed", largest, code=1, says=["absent"])

    def test_devices(self):
        sequences = [word for name in ("t1", "t1c", "t2", "flair") for word in (f"--{name}", "absent.nii")]
        grading = ("grade", *sequences, "--output", self.output)
        training = ("train", "segmentation", "--cohort", "absent", "--steps", "1", "--output", self.output)
        for words in (grading, training):
            for device in ("gpu", "cuda:", "cuda:x", "CPU", ""):
                self.refuse(*words, "--device", device, says=["--device", "auto, cpu, cuda or cuda:N"])
            self.refuse(*words, "--device", "auto", code=1, says=["absent"])

    def test_commands(self):
        listed = "cohort, evaluate, grade, inspect, synthesize and train"
        self.refuse("frobnicate", says=[f"glioma: there is no command frobnicate; the commands are {listed}."])
        self.refuse("frob\x1bnicate", "--t1", "x", says=["no command frob?nicate"])
        self.refuse("train", "both", says=["glioma train: there is no command both; the commands are segmentation and grading."])
        self.refuse(says=["A subcommand is required"])
        # The value of an option is no command.
        self.refuse("train", "--steps", "5", says=["A subcommand is required"])

    def test_help_says_what_it_is_for(self):
        for words in ((), *((name,) for name in COMMANDS), ("train", "segmentation"), ("train", "grading")):
            outcome = run(*words, "--help")
            self.assertEqual(outcome.returncode, 0)
            self.assertIn("Research use only.", outcome.stdout, words)

    def test_messages_begin_with_the_command_and_say_what_to_do(self):
        absent = os.path.join(self.folder.name, "absent")
        self.refuse("inspect", absent, code=1, says=["glioma inspect: ", "does not exist: check the path"])
        self.refuse("inspect", __file__, code=1, says=["glioma inspect: ", "give the folder of a bundle, a model file or an image"])
        sequences = [word for name in ("t1", "t1c", "t2", "flair") for word in (f"--{name}", "absent.nii")]
        grading = ("grade", *sequences, "--output", self.output)
        for task in ("segmentation", "grading", "brain-grading"):
            option = f"--{task}-model"
            self.refuse(*grading, option, absent, code=1, says=[f"There is no model {absent}; check {option}."])
        open(os.path.join(self.folder.name, "COHORT.csv"), "w", encoding="ascii").close()
        outcome = run("synthesize", "--cases", "1", "--seed", "1", "--spacing", "4", "--output", self.folder.name)
        self.assertEqual(outcome.returncode, 1)
        self.assertRegex(outcome.stderr, "^glioma synthesize: .*/COHORT.csv is there already: choose another folder or add --force")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
