# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Cohorts: what is found in folders, and cases that fail, crash or hang beside others."""

import csv
import hashlib
import importlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import gliomagrading
import gliomagrading.cohort as cohort
from gliomagrading._program import environment, path as program_path

from conftest import Bundles, Phantom, write_dicom

pytest.importorskip("distributed")

# Stands for the program: what it does hangs on the name of the case. Every run leaves a line in runs.txt.
STUB = """
import json, os, signal, sys, time
arguments = sys.argv[1:]
if "--bogus" in arguments or "--late" in arguments and "--estimate" not in arguments:
    print("The following argument was not expected: --bogus", file=sys.stderr)
    print("Run with --help for more information.", file=sys.stderr)
    sys.exit(2)
if "--estimate" in arguments:
    print("Estimate (nothing is written): 1.0 s, 0.25 GiB of memory")
    sys.exit(0)
t1 = arguments[arguments.index("--t1") + 1]
name = os.path.basename(t1).split("_")[0].rstrip("0123456789")
with open(os.path.join(os.path.dirname(t1), "runs.txt"), "a") as runs:
    runs.write(name + "\\n")
with open(t1 + ".pid", "w") as pid:
    pid.write(str(os.getpid()))
with open(t1 + ".environment", "w") as environment:
    json.dump(dict(os.environ), environment)
if name == "fails":
    print("first line", file=sys.stderr)
    print("stub: the image " + t1 + " is <bad> & so on, see /home/someone/else.log", file=sys.stderr)
    sys.exit(1)
if name == "hungry":
    kept = bytearray(400 << 20)
    time.sleep(600)
if name == "meets":
    number = int(os.environ["STUB_NUMBER"])
    end = time.monotonic() + 60
    while len(open(os.path.join(os.path.dirname(t1), "runs.txt")).readlines()) < number:
        if time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.05)
if name == "ends-its-worker" or name == "ends-its-worker-once" and not os.path.exists(t1 + ".again"):
    open(t1 + ".again", "w").close()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
if name == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
if name == "hangs":
    time.sleep(600)
if name == "flaky" and not os.path.exists(t1 + ".again"):
    open(t1 + ".again", "w").close()
    sys.exit(1)
if name == "changes":
    with open(t1, "ab") as file:
        file.write(b"more")
if name == "slow":
    time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
output = arguments[arguments.index("--output") + 1]
os.makedirs(output)
document = {"grade": "HGG", "probabilities": {"LGG": 0.25, "HGG": 0.75}, "verdict": "review", "reasons": ["<script>alert(1)</script>"]}
if name == "z-last":
    document["warnings"] = ["Research use only.", "Not <validated>."]
    document["phantom"] = True
if name == "a-first":
    document = {"grade": None, "probabilities": None, "warnings": ["Not <validated>."]}

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
        "z-last": "done",
        "fails": "failed",
        "crashes": "crashed",
        "hangs": "timed out",
        "flaky": "done",
        "a-first": "done",
    }
    assert by_name["fails"].reason == "stub: the image fails_t1.nii.gz is <bad> & so on, see else.log" and by_name["fails"].attempts == 2
    assert by_name["crashes"].reason == "SIGSEGV" and by_name["flaky"].attempts == 2 and by_name["a-first"].attempts == 1
    rows = list(csv.DictReader((output / "status.csv").open()))
    assert [row["case"] for row in rows] == names
    assert rows[0]["grade"] == "HGG" and rows[0]["probability"] == "0.75" and rows[1]["reason"] == by_name["fails"].reason
    page = (output / "summary.html").read_text()
    assert page.count("Not &lt;validated&gt;.") == 1
    assert "&lt;script&gt;" in page and "<script" not in page and "&lt;bad&gt; &amp; so on" in page
    assert 'href="cases/z-last/report.html"' in page and str(tmp_path) not in page
    assert page.index(">z-last<") < page.index(">fails<") < page.index(">a-first<")
    assert "(research use only)</title>" in page and page.count('<th scope="col">') == 8
    assert page.count("phantom, not a patient") == 1 and ">z-last</a> <span" in page
    assert sorted(p.name for p in (output / "cases").iterdir()) == ["a-first", "flaky", "z-last"]

    # Again: only what is missing runs, and the tables stay in their order.
    before = runs_of(tmp_path / "cohort")
    again = cohort.grade_cohort(table, output, workers=2, timeout=1.0, program=stub)
    assert sorted(runs_of(tmp_path / "cohort")[len(before) :]) == ["crashes", "fails", "hangs"]
    assert [s.state for s in again] == [s.state for s in statuses]
    assert [s for s in again if s.state == "done"] == [s for s in statuses if s.state == "done"]
    with pytest.raises(ValueError, match=r"results of other files or options.*: z-last \(--explain\), flaky"):
        cohort.grade_cohort(table, output, workers=1, program=stub, arguments=["--explain", "none"])


def test_a_case_may_be_called_as_it_likes(tmp_path: pathlib.Path) -> None:
    names = [".hidden", "-dash", "..two"]
    table, stub = make_cohort(tmp_path / "cohort", names)
    for _ in range(2):
        assert [s.state for s in cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)] == ["done"] * 3
    assert len(runs_of(tmp_path / "cohort")) == 3
    assert sorted(p.name for p in (tmp_path / "output" / "cases").iterdir()) == sorted(names)


def test_a_case_that_takes_too_much_memory_is_ended(tmp_path: pathlib.Path) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["hungry", "modest"])
    hungry, modest = cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub, memory_limit=200.0)
    assert hungry.state == "failed" and re.match(r"took \d+ MiB of memory; the limit of a case is 200 MiB", hungry.reason)
    assert modest.state == "done"


#: Those that Dask's nannies set, for workers that count alone; in this process too.
OF_DASK = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def has_the_callers_environment(folder: pathlib.Path, *names: str) -> None:
    for name in names:
        given = json.loads((folder / f"{name}_t1.nii.gz.environment").read_text())
        assert "PATH" in given and not {*OF_DASK} & {*given}


def test_a_lost_worker_loses_no_case(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in OF_DASK:
        monkeypatch.delenv(variable, raising=False)
    table, stub = make_cohort(tmp_path / "cohort", ["ends-its-worker-once", "ends-its-worker", "other"])
    once, always, other = cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
    assert once.state == other.state == "done"
    has_the_callers_environment(tmp_path / "cohort", "ends-its-worker-once", "other")
    assert always.state == "crashed" and always.reason == "its worker was lost again and again"


def test_a_worker_that_dask_gives_up_is_replaced(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    for variable in OF_DASK:
        monkeypatch.delenv(variable, raising=False)
    table, stub = make_cohort(tmp_path / "cohort", ["ends-its-worker-once", "other"])
    # At once, as on a machine that is too busy to start another within 15 s.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}):
        statuses = cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
        variables = dask.config.get("distributed.nanny.pre-spawn-environ")
    assert [status.state for status in statuses] == ["done", "done"]
    has_the_callers_environment(tmp_path / "cohort", "ends-its-worker-once", "other")
    assert "MALLOC_TRIM_THRESHOLD_" in variables, "those of the caller's own clusters stay"


def test_a_scheduler_without_workers_is_told_of() -> None:
    class Alone:
        workers = {0: "starts for ever", 1: "starts for ever"}

        def __init__(self) -> None:
            self.asked: "list[int]" = []

        def nthreads(self) -> "dict[str, int]":
            return {}

        def scale(self, number: int) -> None:
            self.asked.append(number)

    ours = Alone()
    kept = cohort._WorkersKept(ours, ours, interval=0.0, patience=0.2)
    kept.look()
    assert ours.asked == [2]
    time.sleep(0.3)
    kept.look()
    assert ours.asked == [2, 0, 2]
    theirs = cohort._WorkersKept(ours, None, interval=0.0, patience=0.2)
    theirs.look()
    time.sleep(0.3)
    with pytest.warns(gliomagrading.GliomaGradingWarning, match="The scheduler has no worker"):
        theirs.look()
    assert ours.asked == [2, 0, 2]


def test_two_runs_into_one_folder_are_refused(tmp_path: pathlib.Path) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    with cohort._lock(str(tmp_path)):
        with pytest.raises(ValueError, match="Another run writes"):
            cohort.grade_cohort(table, tmp_path, workers=1, program=stub)
    assert cohort.grade_cohort(table, tmp_path, workers=1, program=stub)[0].state == "done"


def start_and_wait(folder: pathlib.Path, table: str, stub: "list[str]") -> "subprocess.Popen[bytes]":
    """A run of its own, with all but its slow case done."""
    output = folder / "output"
    script = (
        "import sys\nfrom gliomagrading import cohort\n"
        "if __name__ == '__main__':\n    cohort.grade_cohort(sys.argv[1], sys.argv[2], workers=2, program=sys.argv[3:])\n"
    )  # two workers, so that the slow case keeps none waiting
    (folder / "script.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(folder / "script.py"), table, str(output), *stub],
        env={**os.environ, "STUB_SECONDS": "300"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not all(cohort.is_done(str(output), name) for name in ("one", "two")) or "slow" not in runs_of(folder / "cohort"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    return process


def has_ended(process: int) -> bool:
    """Gone, or there only until someone asks how it ended."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ctrl_c_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    """A terminal sends it to every process of the group."""
    table, stub = make_cohort(tmp_path / "cohort", ["one", "slow", "two"])
    process = start_and_wait(tmp_path, table, stub)
    case = int((tmp_path / "cohort" / "slow_t1.nii.gz.pid").read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0
    output = tmp_path / "output"
    assert sorted(p.name for p in (output / "cases").iterdir()) == ["one", "two"] and not (output / ".running").exists()
    assert has_ended(case)
    assert [row["state"] for row in csv.DictReader((output / "status.csv").open())] == ["done", "waiting", "done"]


def test_a_killed_run_goes_on(tmp_path: pathlib.Path) -> None:
    names = ["one", "slow", "two"]
    table, stub = make_cohort(tmp_path / "cohort", names)
    output = tmp_path / "output"
    process = start_and_wait(tmp_path, table, stub)
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
    listening: "set[str]" = set()
    made = distributed.LocalCluster

    class Watched(made):  # type: ignore[misc, valid-type]
        def __init__(self, **arguments: object) -> None:
            super().__init__(**arguments)
            seen["address"] = self.scheduler_address
            psutil: Any = importlib.import_module("psutil")
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                for connection in process.net_connections(kind="inet"):
                    if connection.status == "LISTEN":
                        listening.add(connection.laddr.ip)

    monkeypatch.setattr(distributed, "LocalCluster", Watched)
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
    assert re.match(r"tcp://127\.0\.0\.1:\d+$", seen["address"])
    assert listening == {"127.0.0.1"}, "no page of Dask is open to the network"


def test_a_scheduler_of_the_user(tmp_path: pathlib.Path) -> None:
    import distributed

    dask: Any = distributed

    table, stub = make_cohort(tmp_path / "cohort", ["one", "two"])
    with dask.LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        statuses = cohort.grade_cohort(table, tmp_path / "output", scheduler=cluster.scheduler_address, program=stub)
    assert [s.state for s in statuses] == ["done", "done"]


def one_process(threads: int) -> Any:
    import distributed

    dask: Any = distributed
    return dask.LocalCluster(
        n_workers=1, threads_per_worker=threads, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    )


def test_two_cohorts_on_one_scheduler(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With cases of the same names, at the same time: each run ends when both have begun."""
    monkeypatch.setenv("STUB_NUMBER", "2")
    table, stub = make_cohort(tmp_path / "cohort", ["meets0"])
    ended: "dict[str, list[cohort.Status]]" = {}
    with one_process(2) as cluster:

        def grade(name: str) -> None:
            ended[name] = cohort.grade_cohort(table, tmp_path / name, scheduler=cluster.scheduler_address, program=stub)

        threads = [threading.Thread(target=grade, args=(name,)) for name in ("first", "second")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in ("first", "second"):
        assert [status.state for status in ended[name]] == ["done"]
        assert (tmp_path / name / "cases" / "meets0" / "result.json").exists()


def test_a_worker_elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent no environment; and what it wrote into a folder of its own is not here."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "hush")
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    sent = tmp_path / "sent"

    def elsewhere(*arguments: Any) -> cohort.Status:
        sent.write_text(repr(arguments))
        name: str = arguments[2]
        return cohort.Status(name, "done", "", 1)

    monkeypatch.setattr(cohort, "run_case", elsewhere)
    with one_process(1) as cluster:
        (status,) = cohort.grade_cohort(table, tmp_path / "output", scheduler=cluster.scheduler_address, program=stub)
    assert status.state == "failed" and "the workers must see the same folders" in status.reason
    assert "failed" in (tmp_path / "output" / "status.csv").read_text()
    assert stub[1] in sent.read_text() and "hush" not in sent.read_text()


def test_a_case_has_the_environment_of_its_worker() -> None:
    program = importlib.import_module("gliomagrading._program")
    assert program.with_library({"A": "b"}, "") == {"A": "b"}
    assert program.with_library({"A": "b", "LD_LIBRARY_PATH": "/c"}, "/d") == {"A": "b", "LD_LIBRARY_PATH": "/d:/c"}


def test_every_thread_of_a_cluster_works(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    dask: Any = distributed

    number = 24
    monkeypatch.setenv("STUB_NUMBER", str(number))
    table, stub = make_cohort(tmp_path / "cohort", [f"meets{i}" for i in range(number)])
    with dask.LocalCluster(
        n_workers=6, threads_per_worker=4, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        statuses = cohort.grade_cohort(table, tmp_path / "output", scheduler=cluster.scheduler_address, program=stub)
    assert {s.state for s in statuses} == {"done"}


def test_memory_limits_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "available_memory", lambda: 10000.0)
    assert cohort.number_of_workers(8, 2000.0, 1) == 4
    assert cohort.number_of_workers(3, 2000.0, 1) == 3
    assert cohort.number_of_workers(3, 50000.0, 1) == 1
    assert cohort.number_of_workers(5, None, 2) == 5


def test_a_container_limits_the_memory(tmp_path: pathlib.Path) -> None:
    """Control groups of version 2 and 1; what files are cached in them can be had."""

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def available() -> float:
        return cohort.available_memory(str(tmp_path / "proc"), str(tmp_path / "groups"))

    mebibyte = 1 << 20
    write("proc/meminfo", "MemTotal: 99999999 kB\nMemAvailable: 8192000 kB\n")
    assert available() == 8000.0
    write("proc/self/cgroup", "0::/a/b\n")
    assert available() == 8000.0
    for name, limit in (("groups/a", str(3000 * mebibyte)), ("groups/a/b", "max")):
        write(f"{name}/memory.max", f"{limit}\n")
        write(f"{name}/memory.current", f"{1000 * mebibyte}\n")
        write(f"{name}/memory.stat", f"anon 5\nactive_file {30 * mebibyte}\ninactive_file {200 * mebibyte}\n")
    assert available() == 2230.0
    # A container that sees its own group as the root, and one of version 1 whose path is the host's.
    write("proc/self/cgroup", "0::/\n")
    write("groups/memory.max", str(1500 * mebibyte))
    write("groups/memory.current", str(2000 * mebibyte))
    write("groups/memory.stat", "inactive_file 0\n")
    assert available() == 0.0
    write("proc/self/cgroup", "12:cpu,cpuacct:/docker/x\n7:memory:/docker/x\n")
    write("groups/memory/memory.limit_in_bytes", str(700 * mebibyte))
    write("groups/memory/memory.usage_in_bytes", str(100 * mebibyte))
    own = f"inactive_file {50 * mebibyte}\nactive_file {60 * mebibyte}\n"
    write("groups/memory/memory.stat", f"{own}total_inactive_file {7 * mebibyte}\ntotal_active_file {8 * mebibyte}\n")
    assert available() == 615.0
    # The name of a group is bytes, and whatever else it says ends no run.
    (tmp_path / "proc/self/cgroup").write_bytes(b"7:memory:/docker/\xff\n")
    (tmp_path / os.fsdecode(b"groups/memory/docker/\xff")).mkdir(parents=True)
    for name, number in (("limit", 90), ("usage", 50)):
        write(os.fsdecode(b"groups/memory/docker/\xff/memory.") + f"{name}_in_bytes", str(number * mebibyte))
    write(os.fsdecode(b"groups/memory/docker/\xff/memory.stat"), "")
    assert available() == 40.0
    write("proc/self/cgroup", "nothing of the kind\n")
    assert available() == 8000.0
    assert 0.0 <= cohort.available_memory() < float("inf")


@pytest.mark.parametrize(
    "options, says",
    [
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"workers": 0}, "workers is 0; give 1 or more"),
        ({"workers": 1.5}, "workers is 1.5; give a whole number"),
        ({"retries": -1}, "retries is -1; give 0 or more"),
        ({"timeout": -1.0}, "timeout is -1.0; give 0"),
        ({"timeout": None}, "timeout is None; give a number"),
        ({"memory_limit": float("nan")}, "memory_limit is nan; give 0"),
        ({"arguments": ["--explain", 3]}, "arguments is 3; give strings and paths"),
    ],
)
def test_numbers_that_no_run_can_have(tmp_path: pathlib.Path, options: Any, says: str) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    with pytest.raises(gliomagrading.InputError, match=says):
        cohort.grade_cohort(table, tmp_path / "output", program=stub, **options)
    assert not (tmp_path / "output").exists()


def test_numbers_of_another_type(tmp_path: pathlib.Path) -> None:
    """A whole number is one, whatever computed it."""
    table, stub = make_cohort(tmp_path / "cohort", ["one", "fails"])
    options: Any = {"workers": np.float64(1.0), "threads": 2.0, "retries": 1.0, "timeout": np.float32(60.0), "memory_limit": np.int64(0)}
    one, fails = cohort.grade_cohort(table, tmp_path / "output", program=stub, **options)
    assert one.state == "done" and fails.attempts == 2


def test_the_command_refuses_such_numbers_too(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "gliomagrading", "cohort", "x", "--output", str(tmp_path / "output"), "--threads", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--threads is 0; give 1 or more" in done.stderr


def test_options_are_words_and_paths(tmp_path: pathlib.Path) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    arguments: Any
    for arguments in ("--explain", ["--explain"], ("--explain",)):
        assert cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub, arguments=arguments)[0].state == "done"
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for output, path in (("a", bundle), ("a", str(bundle)), ("b", os.fsencode(bundle))):
        arguments = ["--grading-model", path]
        assert cohort.grade_cohort(table, tmp_path / output, workers=1, program=stub, arguments=arguments)[0].state == "done"


def test_the_program_estimates_the_memory(phantom: Phantom, bundles: Bundles, tmp_path: pathlib.Path) -> None:
    f = phantom.files
    case = cohort.Case("phantom", (f["T1"], f["T1c"], f["T2"], f["FLAIR"]))
    options = ["--segmentation-model", bundles.segmentation, "--grading-model", bundles.grading]
    command = cohort._command([program_path()], case, 1, options)
    estimate = cohort.estimate_memory(command, environment())
    assert estimate is not None and 50 < estimate < 4000
    # A registration has sequences of other grids.
    sitk = pytest.importorskip("SimpleITK")
    flair = sitk.ReadImage(f["FLAIR"])
    flair.SetOrigin([v + 5.0 for v in flair.GetOrigin()])
    sitk.WriteImage(flair[:, :, 2:], str(tmp_path / "elsewhere.nii.gz"))
    elsewhere = [str(tmp_path / "elsewhere.nii.gz") if word == f["FLAIR"] else word for word in command]
    assert cohort.estimate_memory(elsewhere, environment()) is None
    told = cohort.estimate_memory([*elsewhere, "--register", "--reference", "t2", "--test-explanation"], environment())
    assert told is not None and told == pytest.approx(estimate, rel=0.2)
    others = ["--regions", phantom.tumour, "--output", "x"]
    assert cohort.estimate_memory([*command, *others], environment()) == pytest.approx(estimate, rel=0.2)
    with pytest.raises(ValueError, match="refuses its options: .*--bogus"):
        cohort.estimate_memory([*command, "--bogus"], environment())


def test_a_table_that_cannot_be_taken_leaves_nothing(tmp_path: pathlib.Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "gliomagrading", "cohort"]
    outcome = subprocess.run([*command, "nope.csv", "--output", str(output)], cwd=tmp_path, capture_output=True, text=True)
    assert outcome.returncode == 1
    assert outcome.stderr == "gliomagrading cohort: There is no file nope.csv; check the path.\n"
    assert not output.exists()
    table, _ = make_cohort(tmp_path, ["one"])
    pathlib.Path(table).write_text(pathlib.Path(table).read_text().replace("one,", "../one,"))
    outcome = subprocess.run([*command, table, "--output", str(output)], capture_output=True, text=True)
    assert outcome.returncode == 1 and "'../one'" in outcome.stderr
    assert not output.exists()


def test_bad_tables_are_refused_at_once(tmp_path: pathlib.Path) -> None:
    table, _ = make_cohort(tmp_path, ["one", "two"])
    text = pathlib.Path(table).read_text().replace("two,", "../two,").replace("one_t2.nii.gz", "absent.nii.gz")
    pathlib.Path(table).write_text(text + "three,a,b,c\n")
    with pytest.raises(ValueError) as caught:
        cohort.read_cohort(table)
    said = str(caught.value)
    assert "absent.nii.gz" in said and "'../two'" in said and "line 4: " in said and "flair is empty" in said and str(tmp_path) not in said


@pytest.mark.parametrize(
    "table, said",
    [
        ("case,t1\n", "table.csv: the column 't1c' is missing; .*'t2' is missing; .*'flair' is missing"),
        ("{H},T1\na,{F},x\n", "the column 'T1' occurs twice"),
        ("{H}\na,{F},extra,more\n", "line 2: has 7 fields for 5 columns"),
        ("{H},grade\na,{F},GBM\n", "line 2: the grade 'GBM' is neither LGG nor HGG"),
        ("{H},set\na,{F},tset\n", "line 2: the set 'tset' is none of training, validation and test"),
        ("{H},seg\na,{F},absent.nii\n", "line 2: the file of column seg does not exist: absent.nii"),
        ("{H}\na,one_t1.nii.gz,./one_t1.nii.gz,one_t2.nii.gz,one_flair.nii.gz\n", "line 2: the columns t1 and t1c name the same file"),
        ("{H},seg\na,{F},./one_t2.nii.gz\n", "line 2: the columns t2 and seg name the same file"),
        ("{H},seg,brain_mask\na,{F},extra,extra\n", "line 2: the columns brain_mask and seg name the same file"),
        ("{H}\na,{F}\n\na,{F}\n", "line 4: the case a occurs twice"),
        ("{H}\n\u00fc,{F}\n", "the case name '\u00fc' may hold letters"),
        ("{H}\n", "holds no case"),
        ("", "'table.csv' is empty; its first line names the columns"),
        ("case;t1;t1c;t2;flair\na;{F}\n", "separated by semicolons: save it with commas"),
        ("case\tt1\tt1c\tt2\tflair\n", "separated by tabs"),
        ("{H}\ra,{F}\r", "end with CR alone"),
        ("{H}\na," + "x" * 200000 + ",b,c,d\n", r"column t1 does not exist: x{97}\.\.\.; "),
    ],
)
def test_what_the_program_refuses_in_a_table(tmp_path: pathlib.Path, table: str, said: str) -> None:
    make_cohort(tmp_path, ["one"])
    files = ",".join(f"one_{s}.nii.gz" for s in ("t1", "t1ce", "t2", "flair"))
    text = table.replace("{H}", "case,t1,t1c,t2,flair").replace("{F}", files)
    (tmp_path / "table.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=said):
        cohort.read_cohort(tmp_path / "table.csv")


def test_what_the_program_takes_in_a_table(tmp_path: pathlib.Path) -> None:
    make_cohort(tmp_path, ["one"])
    files = ",".join(f"one_{s}.nii.gz" for s in ("t1", "t1ce", "t2", "flair"))
    path = tmp_path / "table.csv"
    path.write_text(f"\ufeff Case , T1 ,t1c,T2,flair,Grade\r\na,{files},hgg\r\n  \r\n")
    (case,) = cohort.read_cohort(os.fsencode(path))
    assert case.name == "a" and case.sequences[0] == str(tmp_path / "one_t1.nii.gz") and case.truth == "HGG"
    # Another encoding does not matter where nothing is read from it.
    path.write_bytes(f"case,t1,t1c,t2,flair,site\na,{files},M\u00fcnchen\n".encode("latin-1"))
    assert cohort.read_cohort(path)[0].name == "a"
    path.write_bytes(f"case,t1,t1c,t2,flair\na,\u00fc{files}\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"does not exist: \?one_t1.nii.gz \(the table is not in UTF-8; save it so\)"):
        cohort.read_cohort(path)
    path.write_bytes(f"case,t1,t1c,t2,flair\na,{files}\n".encode("utf-16"))
    with pytest.raises(ValueError, match="table.csv is no CSV in UTF-8"):
        cohort.read_cohort(path)


def fill(folder: pathlib.Path) -> None:
    """No two files are alike."""
    for file in folder.glob("*.nii.gz"):
        file.write_text(file.name)


def refused(table: str, output: pathlib.Path, stub: "list[str]", said: str) -> None:
    before = (output / "cases" / "one" / "result.json").stat()
    with pytest.raises(ValueError, match=said):
        cohort.grade_cohort(table, output, workers=1, program=stub)
    assert (output / "cases" / "one" / "result.json").stat() == before


def test_a_result_of_other_files_is_not_that_of_a_case(tmp_path: pathlib.Path) -> None:
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one", "two"])
    fill(folder)
    first = pathlib.Path(table).read_text()
    cohort.grade_cohort(table, output, workers=1, program=stub)
    assert str(folder) not in "".join(file.read_text() for file in output.glob("cases/*/*"))
    runs = runs_of(folder)
    # The row points to another patient.
    pathlib.Path(table).write_text(first.replace("two,two_t1.", "two,one_t1.").replace("one,one_t1.", "one,two_t1."))
    refused(table, output, stub, r"output holds results of other files.*: one \(T1\), two \(T1\)\. Give .* output/cases\.")
    # The file is overwritten by one of its size, with its time.
    pathlib.Path(table).write_text(first)
    t2 = folder / "one_t2.nii.gz"
    old = t2.stat()
    t2.write_text("ONE_t2.nii.gz")
    os.utime(t2, ns=(old.st_atime_ns, old.st_mtime_ns))
    refused(table, output, stub, r": one \(T2\)\. ")
    fill(folder)
    # A mask comes in and goes.
    mask = first.replace("flair,grade", "flair,brain_mask,grade").replace("one_flair.nii.gz,", "one_flair.nii.gz,two_t1.nii.gz,")
    pathlib.Path(table).write_text(mask.replace("two_flair.nii.gz,", "two_flair.nii.gz,,"))
    refused(table, output, stub, r": one \(brain-mask\)\. ")
    assert runs_of(folder) == runs
    # The folder of the case is gone: it is graded with the mask.
    shutil.rmtree(output / "cases" / "one")
    assert [s.state for s in cohort.grade_cohort(table, output, workers=1, program=stub)] == ["done", "done"]
    assert runs_of(folder) == [*runs, "one"]
    pathlib.Path(table).write_text(first)
    refused(table, output, stub, r": one \(brain-mask\)\. ")


def test_the_same_files_elsewhere_are_the_same(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one", "two"])
    fill(folder)
    cohort.grade_cohort(table, output, workers=1, program=stub)
    runs = runs_of(folder)
    shutil.copytree(folder, tmp_path / "moved")
    read: "list[Any]" = []
    inputs = importlib.import_module("gliomagrading._inputs")
    digest = inputs._digest

    def noted(files: Any) -> Any:
        read.append(files)
        return digest(files)

    monkeypatch.setattr(inputs, "_digest", noted)
    for place, number in ((folder, 0), (tmp_path / "moved", 8), (tmp_path / "moved", 0)):
        read.clear()
        cohort.grade_cohort(place / "COHORT.csv", output, workers=1, program=stub)
        assert len(read) == number, "files are read where their stamps say nothing alone"
    assert runs_of(folder) == runs == runs_of(tmp_path / "moved")


def make_pair(folder: pathlib.Path, form: str) -> "tuple[str, pathlib.Path]":
    """An input of several files, and the one that holds voxels."""
    if form == "dicom":
        (folder / "series").mkdir()
        for i in range(3):
            (folder / "series" / f"{i}.dcm").write_text(f"slice {i}")
        return "series", folder / "series" / "1.dcm"
    header, text, voxels = {
        "mhd": ("a.mhd", "NDims = 3\nElementDataFile = other.raw\n", "other.raw"),
        "nhdr": ("a.nhdr", "NRRD0004\r\ndimension: 3\r\ndata file: ./other.raw.gz\r\n\r\n", "other.raw.gz"),
        "hdr": ("a.hdr", "binary", "a.img"),
        "img": ("a.img.gz", "binary", "a.hdr.gz"),
    }[form]
    (folder / header).write_bytes(text.encode())
    (folder / voxels).write_text("voxels")
    return header, folder / voxels


@pytest.mark.parametrize("form", ["dicom", "mhd", "nhdr", "hdr", "img"])
def test_the_voxels_of_a_header_belong_to_it(tmp_path: pathlib.Path, form: str) -> None:
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one"])
    fill(folder)
    given, voxels = make_pair(folder, form)
    pathlib.Path(table).write_text(pathlib.Path(table).read_text().replace("one_flair.nii.gz", given))
    for _ in range(2):
        assert [s.state for s in cohort.grade_cohort(table, output, workers=1, program=stub)] == ["done"]
    voxels.write_text("VOXELS")
    refused(table, output, stub, r": one \(FLAIR\)\. ")


def test_a_result_without_a_record_is_told_by_its_provenance(tmp_path: pathlib.Path) -> None:
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one"])
    fill(folder)
    cohort.grade_cohort(table, output, workers=1, program=stub)
    (output / "cases" / "one" / "inputs.json").unlink(missing_ok=True)
    refused(table, output, stub, r": one \(T1, T1c, T2, FLAIR\)\. ")
    result = output / "cases" / "one" / "result.json"
    files = {r: folder / f"one_{s}.nii.gz" for r, s in {"T1": "t1", "T1c": "t1ce", "T2": "t2", "FLAIR": "flair"}.items()}
    said = {role: {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for role, file in files.items()}
    result.write_text(json.dumps({"grade": "HGG", "provenance": {"inputs": {**said, "tumour-mask": {"sha256": "0"}}}}))
    assert [s.state for s in cohort.grade_cohort(table, output, workers=1, program=stub)] == ["done"]
    (output / "cases" / "one" / "inputs.json").unlink()
    files["T1c"].write_text("another")
    refused(table, output, stub, r": one \(T1c\)\. ")


def test_a_file_that_changes_while_it_is_graded(tmp_path: pathlib.Path) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["changes", "other"])
    changes, other = cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
    assert changes.state == "failed" and changes.reason == "the files of T1 changed while it ran; run it again"
    assert other.state == "done" and not cohort.is_done(str(tmp_path / "output"), "changes")


@pytest.mark.parametrize("option", ["--bogus", "--late"])
def test_wrong_options_end_the_cohort(tmp_path: pathlib.Path, option: str) -> None:
    """Once, before or with the first case, with what the program says of them."""
    table, stub = make_cohort(tmp_path / "cohort", [f"case{i}" for i in range(40)])
    with pytest.raises(ValueError, match="refuses its options: The following argument was not expected: --bogus"):
        cohort.grade_cohort(table, tmp_path / "output", workers=1, retries=3, program=stub, arguments=[option])
    assert not (tmp_path / "output" / ".running").exists()
    rows = list(csv.DictReader((tmp_path / "output" / "status.csv").open()))
    assert len(rows) == 40 and {row["state"] for row in rows} == {"waiting"}
    # No result is of those options.
    assert cohort.grade_cohort(table, tmp_path / "output", workers=2, program=stub)[0].state == "done"


def forget_options(output: pathlib.Path) -> None:
    """The records become those of an earlier version."""
    for path in output.glob("cases/*/inputs.json"):
        record = json.loads(path.read_text())
        record.pop("options", None)
        path.write_text(json.dumps(record))


def test_another_file_or_model_behind_an_option(tmp_path: pathlib.Path) -> None:
    """The same words do not mean the same weights."""
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one", "two"])
    fill(folder)
    bundle, mask = tmp_path / "patient" / "bundle", tmp_path / "patient" / "mask.nii.gz"
    elsewhere = tmp_path / "store"
    for place in (bundle / "models", bundle / "configs", bundle / "docs", elsewhere):
        place.mkdir(parents=True)
    # A folder of links, as git-annex makes them.
    (bundle / "models" / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(elsewhere)
    weights = elsewhere / "weights"
    weights.write_text("first")
    other_weights = bundle / "other" / "weights.ts"
    other_weights.parent.mkdir()
    other_weights.write_text("first")
    manifest = bundle / "configs" / "metadata.json"
    manifest.write_text(json.dumps({"gliomagrading": {"weights": {"file": "other/weights.ts"}}}))
    # What the program does not load may be anything.
    (bundle / "models" / ".#lock").symlink_to("nobody@nowhere.1")
    (bundle / "models" / "gone").symlink_to("nowhere")
    os.mkfifo(bundle / "models" / "pipe")
    card = bundle / "docs" / "README.md"
    card.write_text("a card")
    mask.write_text("a mask")
    arguments = ["--grading-model", str(bundle), f"--tumour-mask={mask}", "--explain", "none"]

    def grade() -> "list[str]":
        return [s.state for s in cohort.grade_cohort(table, output, workers=1, program=stub, arguments=arguments)]

    assert grade() == grade() == ["done", "done"]
    assert "patient" not in (output / "cases" / "one" / "inputs.json").read_text()
    runs = runs_of(folder)
    for file in (weights, other_weights, manifest, bundle / "gliomagrading.json"):
        before = file.read_text() if file.exists() else None
        file.write_text("other")
        said = r"other files or options.*: one \(--grading-model\), two \(--grading-model\)\. Give the same"
        with pytest.raises(ValueError, match=said):
            grade()
        file.unlink() if before is None else file.write_text(before)
    card.write_text("a better card")
    (bundle / ".DS_Store").write_text("Finder")
    (bundle / "models" / ".DS_Store").write_text("Finder")
    assert grade() == ["done", "done"]
    mask.write_text("b mask")
    with pytest.raises(ValueError, match=r": one \(--tumour-mask\), two"):
        grade()
    mask.write_text("a mask")
    (bundle / "models" / "pipe").unlink()
    shutil.move(bundle, tmp_path / "moved")
    arguments[1] = str(tmp_path / "moved")
    assert grade() == ["done", "done"]
    arguments[-1] = "all"
    with pytest.raises(ValueError, match=r": one \(--explain\), two"):
        grade()
    del arguments[-2:]
    with pytest.raises(ValueError, match=r": one \(--explain\), two"):
        grade()
    assert runs_of(folder) == runs


def test_a_word_that_is_called_like_a_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all").mkdir()
    for text in ("something", "something else"):
        (tmp_path / "all" / "file").write_text(text)
        assert cohort.grade_cohort(table, output, workers=1, program=stub, arguments=["--explain", "all"])[0].state == "done"
    assert runs_of(folder) == ["one"]


def test_the_files_of_options_are_looked_at_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for every case that is done."""
    table, stub = make_cohort(tmp_path / "cohort", ["one", "two", "three"])
    mask = tmp_path / "mask.nii"
    mask.write_text("a mask")
    inputs = importlib.import_module("gliomagrading._inputs")
    looked: "list[Any]" = []
    stamp = inputs._stamp

    def noted(files: Any) -> Any:
        looked.append(list(files))
        return stamp(files)

    monkeypatch.setattr(inputs, "_stamp", noted)
    for _ in range(2):
        looked.clear()
        cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub, arguments=["--tumour-mask", str(mask)])
        mask.write_text("a mask")  # another stamp, the same digest
    assert looked.count([str(mask)]) == 1


def test_a_model_that_changes_while_a_case_is_graded(tmp_path: pathlib.Path) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["changes"])
    arguments = ["--tumour-mask", str(tmp_path / "cohort" / "changes_t1.nii.gz")]
    (status,) = cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub, arguments=arguments)
    assert status.state == "failed" and status.reason == "the files of T1, --tumour-mask changed while it ran; run it again"


def test_options_belong_to_a_case(tmp_path: pathlib.Path) -> None:
    """Not to the last run into the folder, which may have had a table of other cases."""
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one", "two"])
    fill(folder)
    both = pathlib.Path(table).read_text()
    header, one, two = both.splitlines()
    for line, arguments in ((one, ["--explain", "all"]), (two, ["--explain", "none"]), (one, ["--explain", "all"])):
        pathlib.Path(table).write_text(f"{header}\n{line}\n")
        assert [s.state for s in cohort.grade_cohort(table, output, workers=1, program=stub, arguments=arguments)] == ["done"]
    pathlib.Path(table).write_text(both)
    for explain, other in (("none", "one"), ("all", "two")):
        with pytest.raises(ValueError, match=rf"does not say of which: {other} \(--explain\)\. "):
            cohort.grade_cohort(table, output, workers=1, program=stub, arguments=["--explain", explain])
    assert runs_of(folder) == ["one", "two"]


def test_results_of_an_earlier_version(tmp_path: pathlib.Path) -> None:
    """Their options stand in arguments.json alone, which no other table may replace."""
    folder, output = tmp_path / "cohort", tmp_path / "output"
    table, stub = make_cohort(folder, ["one", "two"])
    fill(folder)
    both = pathlib.Path(table).read_text()
    header, one, two = both.splitlines()
    pathlib.Path(table).write_text(f"{header}\n{one}\n")
    for _ in range(2):
        assert cohort.grade_cohort(table, output, workers=1, program=stub, arguments=["--explain", "all"])[0].state == "done"
        forget_options(output)
    for text in (both, f"{header}\n{two}\n"):
        pathlib.Path(table).write_text(text)
        with pytest.raises(ValueError, match=r"output holds results of other options \(--explain all\); give the same"):
            cohort.grade_cohort(table, output, workers=1, program=stub, arguments=["--explain", "none"])
    pathlib.Path(table).write_text(both)
    assert [s.state for s in cohort.grade_cohort(table, output, workers=1, program=stub, arguments=["--explain", "all"])] == ["done"] * 2
    assert runs_of(folder) == ["one", "two"]


def test_the_models_of_the_demonstration_are_told_too() -> None:
    bundle = gliomagrading.demonstration_bundle
    assert cohort._options_of([], True) == {"--segmentation-model": [bundle("segmentation")], "--grading-model": [bundle("grading")]}
    given = ["--tumour-mask", "m", "--grading-model", "g", "--brain-grading-model=demonstration"]
    want = {"--tumour-mask": ["m"], "--grading-model": ["g"], "--brain-grading-model": [bundle("brain-grading")]}
    assert cohort._options_of(given, True) == want
    assert cohort._options_of(["--series", "t1=1.2", "--series", "t2=1.3"], False) == {"--series": ["t1=1.2", "t2=1.3"]}


def test_the_program_may_be_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its results are those of the program that is the default."""
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    program = tmp_path / "glioma"
    program.write_text(f'#!/bin/sh\nexec {stub[0]} {stub[1]} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(importlib.import_module("gliomagrading._program"), "path", lambda: str(program))
    (tmp_path / "link").symlink_to(program)
    given: Any
    for given in (None, [str(program)], [tmp_path / "link"], str(program), None):
        assert cohort.grade_cohort(table, tmp_path / "output", workers=1, program=given)[0].state == "done"
    assert runs_of(tmp_path / "cohort") == ["one"]
    with pytest.raises(ValueError, match=r": one \(--segmentation-model, --grading-model\)\. "):
        cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)


def test_options_that_are_not_known_any_more(tmp_path: pathlib.Path) -> None:
    table, stub = make_cohort(tmp_path / "cohort", ["one"])
    cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
    forget_options(tmp_path / "output")
    for text in ("{", '{"a": 1}', "7", ""):
        (tmp_path / "output" / "arguments.json").write_text(text)
        with pytest.raises(ValueError, match=r"output/arguments\.json is no list of options .* Give another --output"):
            cohort.grade_cohort(table, tmp_path / "output", workers=1, program=stub)
        assert (tmp_path / "output" / "arguments.json").read_text() == text


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
    voxels = np.arange(3 * 16 * 16, dtype=np.int16).reshape(3, 16, 16)
    for patient, folders in {
        "P1": ["T1", "T1c", "T2", "FLAIR"],
        "P2": ["t1", "t1c", "t2", "flair", "DWI"],
        "P3": ["t1", "t1ce", "t2w", "t2f"],
    }.items():
        for i, folder in enumerate(folders):
            write_dicom(tmp_path / "data" / patient / folder, f"1.2.{patient[1]}.{i + 1}", voxels)
    write_dicom(tmp_path / "data" / "P3" / "t1", "1.2.3.99", voxels)
    table = tmp_path / "COHORT.csv"
    done = find(tmp_path / "data", table)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.open()))
    assert [row["case"] for row in rows] == ["P1"] and rows[0]["t1c"] == "data/P1/T1c"
    assert "P2: the DICOM folder DWI is called like no sequence" in done.stdout
    assert "P3: T1 is ambiguous: its folder holds 2 image series" in done.stdout


def look_at_the_summary(page: pathlib.Path, name: str) -> None:
    """The thumbnail is drawn and leads to the report, and the page asks for nothing else; without a browser: nothing."""
    file = pathlib.Path(__file__).resolve().parents[3] / "test" / "python" / "headless_browser.py"
    specification = importlib.util.spec_from_file_location("headless_browser", file)
    assert specification is not None and specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    program = module.find_chromium()
    if program is None:
        return
    with module.Browser(program) as browser:
        browser.open(str(page))
        browser.wait("document.images.length == 1 && document.images[0].complete")
        assert browser.evaluate("document.images[0].naturalWidth") > 100
        assert browser.evaluate("document.images[0].parentElement.href").endswith(f"/cases/{name}/report.html")
        browser.size(360, 740, mobile=True)
        browser.open(str(page))
        assert browser.evaluate("document.scrollingElement.scrollWidth") <= 360
        inks = []
        for scheme in ("light", "dark"):
            browser.media(scheme)
            inks.append(browser.evaluate("getComputedStyle(document.body).color"))
        assert inks[0] != inks[1]
        assert not browser.complaints() and not browser.requests()


def test_a_folder_of_phantoms_from_the_command_line(tmp_path: pathlib.Path, bundles: Bundles, phantom: Phantom) -> None:
    """The command as a user calls it, with the real program."""
    folder = pathlib.Path(phantom.files["T1"]).parent.parent
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "gliomagrading",
            "cohort",
            str(folder),
            "--output",
            str(tmp_path / "out"),
            "--workers",
            "1",
            "--",
            "--segmentation-model",
            bundles.segmentation,
            "--grading-model",
            bundles.grading,
            "--explain",
            "none",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 cases are done. Research use only." in done.stdout
    name = next((tmp_path / "out" / "cases").iterdir()).name
    assert json.loads((tmp_path / "out" / "cases" / name / "result.json").read_text())["schema"] == "glioma-grade-result/1"
    assert (tmp_path / "out" / "cases" / name / "report.html").exists()
    look_at_the_summary(tmp_path / "out" / "summary.html", name)
    wrong = subprocess.run([sys.executable, "-m", "gliomagrading", "cohort", str(folder)], capture_output=True, text=True)
    assert wrong.returncode == 2


def test_no_reason_names_a_folder(tmp_path: pathlib.Path, phantom: Phantom, bundles: Bundles) -> None:
    """The real program with files that it refuses."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    lines = ["case,t1,t1c,t2,flair"]
    for name in ("broken", "empty"):
        files = [f"{name}_{s}.nii.gz" for s in ("t1", "t1c", "t2", "flair")]
        for file in files:
            (folder / file).write_bytes(b"" if name == "empty" else b"no image at all")
        lines.append(",".join([name, *files]))
    (folder / "COHORT.csv").write_text("\n".join(lines) + "\n")
    with pytest.warns(gliomagrading.GliomaGradingWarning, match="could not be estimated"):
        statuses = cohort.grade_cohort(
            folder / "COHORT.csv", tmp_path / "output", workers=1, arguments=["--grading-model", bundles.grading]
        )
    assert [s.state for s in statuses] == ["failed", "failed"]
    for status in statuses:
        assert f"{status.case}_t1.nii.gz" in status.reason and "/" not in status.reason.replace("I/O", ""), status
    for file in ("status.csv", "summary.html"):
        assert str(tmp_path) not in (tmp_path / "output" / file).read_text()
