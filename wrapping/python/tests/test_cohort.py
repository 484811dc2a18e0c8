# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Cohorts: what is found in folders, and cases that fail, crash or hang beside others."""

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import gliomagrading.cohort as cohort
from gliomagrading._program import environment, path as program_path

from conftest import Bundles, Phantom

pytest.importorskip("distributed")

# Stands for the program: what it does hangs on the name of the case. Every run leaves a line in runs.txt.
STUB = """
import json, os, signal, sys, time
arguments = sys.argv[1:]
if "--estimate" in arguments:
    sys.exit(1)
t1 = arguments[arguments.index("--t1") + 1]
name = os.path.basename(t1).split("_")[0]
with open(os.path.join(os.path.dirname(t1), "runs.txt"), "a") as runs:
    runs.write(name + "\\n")
if name == "fails":
    print("first line", file=sys.stderr)
    print("stub: the image is <bad> & so on", file=sys.stderr)
    sys.exit(1)
if name == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if name == "hangs":
    time.sleep(600)
if name == "flaky" and not os.path.exists(t1 + ".again"):
    open(t1 + ".again", "w").close()
    sys.exit(1)
if name == "slow":
    time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
output = arguments[arguments.index("--output") + 1]
os.makedirs(output)
document = {"grade": "HGG", "probabilities": {"LGG": 0.25, "HGG": 0.75}, "verdict": "review", "reasons": ["<script>alert(1)</script>"]}
with open(os.path.join(output, "result.json"), "w") as file:
    json.dump(document, file)
"""


def make_cohort(folder: pathlib.Path, names: "list[str]") -> "tuple[str, list[str]]":
    folder.mkdir(parents=True, exist_ok=True)
    stub = folder / "stub.py"
    stub.write_text(STUB)
    lines = ["case,t1,t1c,t2,flair,grade"]
    for name in names:
        files = []
        for sequence in ("t1", "t1ce", "t2", "flair"):
            path = folder / f"{name}_{sequence}.nii.gz"
            path.write_bytes(b"")
            files.append(path.name)
        lines.append(",".join([name, *files, "LGG"]))
    table = folder / "COHORT.csv"
    table.write_text("\n".join(lines) + "\n")
    return str(table), [sys.executable, str(stub)]


def runs_of(folder: pathlib.Path) -> "list[str]":
    return (folder / "runs.txt").read_text().split()


def test_one_bad_case_stops_no_other(tmp_path: pathlib.Path) -> None:
    names = ["z-last", "fails", "crashes", "hangs", "flaky", "a-first"]
    table, stub = make_cohort(tmp_path / "cohort", names)
    output = tmp_path / "output"
    seen: "list[cohort.Status]" = []
    statuses = cohort.grade_cohort(
        table, output, workers=2, timeout=3.0, retries=1, program=stub, report=lambda s, done, number: seen.append(s)
    )
    assert [s.case for s in statuses] == names and len(seen) == len(names)
    by_name = {s.case: s for s in statuses}
    assert {n: s.state for n, s in by_name.items()} == {
        "z-last": "done", "fails": "failed", "crashes": "crashed", "hangs": "timed out", "flaky": "done", "a-first": "done",
    }
    assert by_name["fails"].reason == "stub: the image is <bad> & so on" and by_name["fails"].attempts == 2
    assert by_name["crashes"].reason == "SIGSEGV" and by_name["flaky"].attempts == 2 and by_name["a-first"].attempts == 1
    rows = list(csv.DictReader((output / "status.csv").open()))
    assert [row["case"] for row in rows] == names
    assert rows[0]["grade"] == "HGG" and rows[0]["probability"] == "0.75" and rows[1]["reason"] == by_name["fails"].reason
    page = (output / "summary.html").read_text()
    assert "&lt;script&gt;" in page and "<script" not in page and "&lt;bad&gt; &amp; so on" in page
    assert 'href="cases/z-last/report.html"' in page and str(tmp_path) not in page
    assert page.index(">z-last<") < page.index(">fails<") < page.index(">a-first<")
    assert sorted(p.name for p in (output / "cases").iterdir()) == ["a-first", "flaky", "z-last"]

    # Again: only what is missing runs, and the tables stay in their order.
    before = runs_of(tmp_path / "cohort")
    again = cohort.grade_cohort(table, output, workers=2, timeout=1.0, program=stub)
    assert sorted(runs_of(tmp_path / "cohort")[len(before) :]) == ["crashes", "fails", "hangs"]
    assert [s.state for s in again] == [s.state for s in statuses]


def test_a_killed_run_goes_on(tmp_path: pathlib.Path) -> None:
    names = ["one", "slow", "two"]
    table, stub = make_cohort(tmp_path / "cohort", names)
    output = tmp_path / "output"
    workers = "2"  # so that the slow case keeps none waiting
    script = (
        "import sys\nfrom gliomagrading import cohort\n"
        f"if __name__ == '__main__':\n    cohort.grade_cohort(sys.argv[1], sys.argv[2], workers={workers}, program=sys.argv[3:])\n"
    )
    (tmp_path / "script.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), table, str(output), *stub], env={**os.environ, "STUB_SECONDS": "300"},
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not all(cohort.is_done(str(output), name) for name in ("one", "two")) or "slow" not in runs_of(tmp_path / "cohort"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert cohort.is_done(str(output), "one") and not cohort.is_done(str(output), "slow")
    statuses = cohort.grade_cohort(table, output, workers=1, program=stub)
    assert [s.state for s in statuses] == ["done"] * 3
    assert sorted(runs_of(tmp_path / "cohort")) == ["one", "slow", "slow", "two"]
    assert sorted(p.name for p in (output / "cases").iterdir()) == sorted(names)


def test_the_scheduler_listens_here_alone(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    seen = {}
    made = distributed.LocalCluster

    class Watched(made):  # type: ignore[misc, valid-type]
        def __init__(self, **arguments: object) -> None:
            super().__init__(**arguments)
            seen["address"] = self.scheduler_address

    monkeypatch.setattr(distributed, "LocalCluster", Watched)
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
    assert re.match(r"tcp://127\.0\.0\.1:\d+$", seen["address"])


def test_a_scheduler_of_the_user(tmp_path: pathlib.Path) -> None:
    import distributed

    dask: Any = distributed

    table, stub = make_cohort(tmp_path / "cohort", ["one", "two"])
    with dask.LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        statuses = cohort.grade_cohort(table, tmp_path / "output", scheduler=cluster.scheduler_address, program=stub)
    assert [s.state for s in statuses] == ["done", "done"]


def test_memory_limits_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "available_memory", lambda: 10000.0)
    assert cohort.number_of_workers(8, 2000.0, 1) == 4
    assert cohort.number_of_workers(3, 2000.0, 1) == 3
    assert cohort.number_of_workers(3, 50000.0, 1) == 1
    assert cohort.number_of_workers(5, None, 2) == 5


def test_bad_tables_are_refused_at_once(tmp_path: pathlib.Path) -> None:
    table, _ = make_cohort(tmp_path, ["one", "two"])
    text = pathlib.Path(table).read_text().replace("two,", "../two,").replace("one_t2.nii.gz", "absent.nii.gz")
    pathlib.Path(table).write_text(text + "three,a,b,c\n")
    with pytest.raises(ValueError) as caught:
        cohort.read_cohort(table)
    said = str(caught.value)
    assert "absent.nii.gz" in said and "'../two'" in said and "flair is missing" in said and str(tmp_path) not in said
    (tmp_path / "other.csv").write_text("case,t1\n")
    with pytest.raises(ValueError, match="lacks the columns t1c, t2, flair"):
        cohort.read_cohort(tmp_path / "other.csv")


def find(folder: pathlib.Path, table: pathlib.Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program_path(), "cohort", str(folder), "--output", str(table), "--force"], capture_output=True, text=True, env=environment()
    )


def test_folders_of_brats_are_found(tmp_path: pathlib.Path) -> None:
    def case(folder: str, name: str, endings: "list[str]") -> None:
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        for ending in endings:
            (tmp_path / "data" / folder / f"{name}{ending}").write_bytes(b"")

    case("HGG/Brats17_A", "Brats17_A", ["_t1.nii.gz", "_t1ce.nii.gz", "_t2.nii.gz", "_flair.nii.gz", "_seg.nii.gz"])
    case("LGG/Brats18_B", "Brats18_B", ["_t1.nii", "_t1ce.nii", "_t2.nii", "_flair.nii"])
    case("new/BraTS-GLI-3-0", "BraTS-GLI-3-0", ["-t1n.nii.gz", "-t1c.nii.gz", "-t2w.nii.gz", "-t2f.nii.gz", "-seg.nii.gz"])
    case("new/lacks", "lacks", ["_t1.nii.gz", "_t2.nii.gz", "_flair.nii.gz"])
    case("new/twice", "twice", ["_t1.nii.gz", "_t1.nii", "_t1ce.nii.gz", "_t2.nii.gz", "_flair.nii.gz"])
    case("new/mixed", "mixed", ["-t1n.nii.gz", "_t1.nii.gz", "-t1c.nii.gz", "-t2w.nii.gz", "-t2f.nii.gz"])
    case("other", "Brats17_A", ["_t1.nii.gz", "_t1ce.nii.gz", "_t2.nii.gz", "_flair.nii.gz"])
    case("none", "scan", ["_t1gd.nii.gz", ".nii.gz"])
    table = tmp_path / "tables" / "COHORT.csv"
    done = find(tmp_path / "data", table)
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in csv.DictReader(table.open())}
    assert sorted(rows) == ["BraTS-GLI-3-0", "Brats18_B"]
    assert rows["Brats18_B"]["t1c"] == "../data/LGG/Brats18_B/Brats18_B_t1ce.nii" and rows["Brats18_B"]["grade"] == "LGG"
    assert rows["BraTS-GLI-3-0"]["t2"].endswith("-t2w.nii.gz") and rows["BraTS-GLI-3-0"]["seg"].endswith("-seg.nii.gz")
    assert "lacks: T1c is missing" in done.stdout and "twice: T1 is ambiguous: twice_t1.nii, twice_t1.nii.gz" in done.stdout
    assert "mixed: T1 is ambiguous" in done.stdout and done.stdout.count("Brats17_A: is also in ") == 2
    assert "2 of 7 patients are complete" in done.stdout and "scan" not in done.stdout
    assert [c.name for c in cohort.read_cohort(table)] == ["BraTS-GLI-3-0", "Brats18_B"]
    assert find(tmp_path / "data" / "none", table).returncode == 1
    assert find(tmp_path / "absent", table).returncode == 1


def test_folders_of_dicom_are_found(tmp_path: pathlib.Path) -> None:
    sitk = pytest.importorskip("SimpleITK")

    def series(folder: pathlib.Path, uid: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(np.arange(3 * 16 * 16, dtype=np.int16).reshape(3, 16, 16))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for z in range(3):
            one = image[:, :, z]
            for key, value in {
                "0008|0060": "MR", "0020|000d": "1.2.3", "0020|000e": uid, "0020|0013": str(z + 1), "0008|0018": f"{uid}.{z}",
                "0020|0032": f"0\\0\\{z}", "0020|0037": "1\\0\\0\\0\\1\\0",
            }.items():
                one.SetMetaData(key, value)
            writer.SetFileName(str(folder / f"{uid}-{z}.dcm"))
            writer.Execute(one)

    for patient, folders in {"P1": ["T1", "T1c", "T2", "FLAIR"], "P2": ["t1", "t1c", "t2", "flair", "DWI"], "P3": ["t1", "t1ce", "t2w", "t2f"]}.items():
        for i, folder in enumerate(folders):
            series(tmp_path / "data" / patient / folder, f"1.2.{patient[1]}.{i + 1}")
    series(tmp_path / "data" / "P3" / "t1", "1.2.3.99")
    table = tmp_path / "COHORT.csv"
    done = find(tmp_path / "data", table)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.open()))
    assert [row["case"] for row in rows] == ["P1"] and rows[0]["t1c"] == "data/P1/T1c"
    assert "P2: the DICOM folder DWI is called like no sequence" in done.stdout
    assert "P3: T1 is ambiguous: its folder holds 2 image series" in done.stdout


def test_a_folder_of_phantoms_from_the_command_line(tmp_path: pathlib.Path, bundles: Bundles, phantom: Phantom) -> None:
    """The command as a user calls it, with the real program."""
    folder = pathlib.Path(phantom.files["T1"]).parent.parent
    done = subprocess.run(
        [
            sys.executable, "-m", "gliomagrading", "cohort", str(folder), "--output", str(tmp_path / "out"), "--workers", "1", "--",
            "--segmentation-model", bundles.segmentation, "--grading-model", bundles.grading, "--explain", "none",
        ],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 cases are done. Research use only." in done.stdout
    name = next((tmp_path / "out" / "cases").iterdir()).name
    assert json.loads((tmp_path / "out" / "cases" / name / "result.json").read_text())["schema"] == "glioma-grade-result/1"
    assert (tmp_path / "out" / "cases" / name / "report.html").exists()
    wrong = subprocess.run([sys.executable, "-m", "gliomagrading", "cohort", str(folder)], capture_output=True, text=True)
    assert wrong.returncode == 2
