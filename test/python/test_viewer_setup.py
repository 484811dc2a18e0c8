# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The viewer's library of report.html: got once, checked, and done without where it cannot be got. Needs no network.

usage: test_viewer_setup.py SOURCE_FOLDER [unittest options]
"""
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

SOURCE = os.path.abspath(sys.argv[1])
REPORT = os.path.join(SOURCE, "examples", "glioma", "report")
NAME = "niivue.umd.js"


def digest(path, kind):
    with open(path, "rb") as file:
        return hashlib.new(kind, file.read()).hexdigest()


class ViewerSetup(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.target = os.path.join(self.folder, "viewer")

    def npm(self, script):
        path = os.path.join(self.folder, "npm")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return path

    def fetch(self, npm, report=REPORT):
        environment = dict(os.environ, NPM=npm)
        return subprocess.run(
            ["bash", os.path.join(report, "fetch-viewer.sh"), self.target], capture_output=True, text=True, env=environment
        )

    def refuse(self, npm, says):
        outcome = self.fetch(npm)
        self.assertEqual(outcome.returncode, 1, outcome.stderr)
        self.assertIn(says, outcome.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.target, NAME)))

    def test_says_why_there_is_none(self):
        self.refuse(os.path.join(self.folder, "no-npm"), "npm is missing")
        self.refuse(self.npm("echo 'network is unreachable' >&2; exit 1\n"), "check the network")
        self.refuse(self.npm("echo something else > other.tgz\n"), "its SHA-512 is another one")

    def test_keeps_what_is_right_and_nothing_else(self):
        # Another package under another lock.
        report = os.path.join(self.folder, "report")
        os.makedirs(os.path.join(self.folder, "package", "dist"))
        os.makedirs(report)
        shutil.copy(os.path.join(REPORT, "fetch-viewer.sh"), report)
        library = os.path.join(self.folder, "package", "dist", NAME)
        with open(library, "w", encoding="utf-8") as file:
            file.write("var niivue = 1;\n")
        tarball = os.path.join(self.folder, "viewer-1.tgz")
        with tarfile.open(tarball, "w:gz") as archive:
            archive.add(library, "package/dist/" + NAME)
        lock = os.path.join(report, "viewer.lock")
        lines = f"package viewer@1\ntarball-sha512 {digest(tarball, 'sha512')}\nfile package/dist/{NAME}\n"
        with open(lock, "w", encoding="utf-8") as file:
            file.write(lines + f"file-sha256 {digest(library, 'sha256')}\n")
        npm = self.npm(f"echo called >> {self.folder}/calls\ncp {tarball} .\n")
        for wanted in (1, 1, 2):
            outcome = self.fetch(npm, report)
            self.assertEqual(outcome.returncode, 0, outcome.stderr)
            got = os.path.join(self.target, NAME)
            self.assertEqual(digest(got, "sha256"), digest(library, "sha256"))
            with open(os.path.join(self.folder, "calls"), encoding="utf-8") as file:
                self.assertEqual(len(file.readlines()), wanted)
            if wanted == 1 and outcome.stdout == "":
                with open(got, "a", encoding="utf-8") as file:
                    file.write("window.pwned = 1;\n")
        with open(lock, "w", encoding="utf-8") as file:
            file.write(lines + f"file-sha256 {'0' * 64}\n")
        os.remove(os.path.join(self.target, NAME))
        outcome = self.fetch(npm, report)
        self.assertEqual(outcome.returncode, 1)
        self.assertIn("is not the one that viewer.lock names", outcome.stderr)
        self.assertEqual(os.listdir(self.target), [])

    def test_the_set_up_goes_on_without(self):
        self.npm("exit 1\n")
        environment = dict(os.environ, GLIOMAGRADING_HOME=self.folder, PATH=self.folder + os.pathsep + os.environ["PATH"])
        script = f'. {SOURCE}/CMake/setup-debian.sh; install_report_viewer; echo "option: $viewer_option."'
        outcome = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, env=environment)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        self.assertIn("report.html will have slices and no interactive view", outcome.stdout)
        self.assertIn("option: -DGliomaGrading_REPORT_VIEWER=.", outcome.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
