#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Cohorts of the Python package: workers beside a plain loop, memory over many cases, a scheduler's growth.

    measure_cohort.py speed   --work DIR [--cases 8]     seconds of real-size phantoms: one worker, two, a loop with all threads
    measure_cohort.py memory  --work DIR [--cases 50]    peak memory over real-size phantoms: one worker of one thread
    measure_cohort.py process --work DIR [--cases 50]    the same in one process that calls grade()
    measure_cohort.py many    --work DIR [--cases 10000] seconds and memory over cases that do nothing

PYTHONPATH names the folder of gliomagrading. Seconds count only where nothing else runs.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time

import gliomagrading
import gliomagrading.cohort as cohort
from gliomagrading._program import environment, path as program_path

# Stands for the program: writes a result and ends.
STUB = """case " $* " in *" --estimate "*) echo "0.01 GiB of memory"; exit;; esac
while [ "$1" != --output ]; do shift; done
mkdir "$2"
echo '{"grade": "HGG", "probabilities": {"LGG": 0.25, "HGG": 0.75}, "verdict": "no-flags", "reasons": []}' > "$2/result.json"
"""


def resident(process: int, peak: bool = False) -> float:
    """MiB of main memory, or its peak; 0 of a process that is gone."""
    try:
        text = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"VmHWM:\s+(\d+)" if peak else r"VmRSS:\s+(\d+)", text)
    return int(match.group(1)) / 1024.0 if match else 0.0


def children(process: int) -> "dict[int, list[str]]":
    """Processes that a process started, and their commands."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == process:
                found[int(folder.name)] = (folder / "cmdline").read_text().split("\0")
        except (OSError, ValueError):
            continue
    return found


def workers(process: int) -> "list[int]":
    """Processes below one that are workers of Dask."""
    return [child for child, command in children(process).items() if any("spawn_main" in word for word in command)]


def phantoms(work: pathlib.Path, number: int) -> str:
    """COHORT.csv of real-size phantoms, 240x240x155 voxels of 1 mm; a few heads serve all cases."""
    heads = min(number, 5)
    folder = work / f"phantoms-{heads}"
    if not folder.exists():
        subprocess.run(
            [program_path(), "synthesize", "--cases", str(heads), "--seed", "41", "--output", str(folder)], check=True, env=environment()
        )
    cases = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    lines = ["case,t1,t1c,t2,flair"]
    for i in range(number):
        case = cases[i % len(cases)]
        lines.append(",".join([f"case-{i + 1:03}", *(str(case / f"{case.name}_{s}.nii.gz") for s in ("t1", "t1ce", "t2", "flair"))]))
    table = work / f"COHORT-{number}.csv"
    table.write_text("\n".join(lines) + "\n")
    return str(table)


def measure_speed(work: pathlib.Path, number: int) -> None:
    table = phantoms(work, number)
    threads = len(os.sched_getaffinity(0))

    def one(n: int) -> float:
        shutil.rmtree(work / "out", ignore_errors=True)
        start = time.monotonic()
        statuses = cohort.grade_cohort(table, work / "out", workers=n, threads=1)
        assert all(s.state == "done" for s in statuses), statuses
        return time.monotonic() - start

    def loop() -> float:
        start = time.monotonic()
        for i, case in enumerate(cohort.read_cohort(table)):
            command = cohort._command([program_path()], case, threads, ["--output", str(work / f"loop-{i}"), "--force"])
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
        return time.monotonic() - start

    single, both, plain = one(1), one(threads), loop()
    print(f"| {number} cases | seconds | of one worker |\n| --- | --- | --- |")
    print(f"| one worker of one thread | {single:.1f} | 1.00 |")
    print(f"| {threads} workers of one thread | {both:.1f} | {single / both:.2f} times faster |")
    print(f"| a loop of `glioma grade --threads {threads}` | {plain:.1f} | {single / plain:.2f} times faster |")


def grade_again_and_again(table: str, number: int, queue: "multiprocessing.Queue[tuple[int, float]]") -> None:
    cases = cohort.read_cohort(table)
    for i in range(number):
        gliomagrading.grade(list(cases[i].sequences))
        queue.put((i + 1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0))


def measure_process(work: pathlib.Path, number: int) -> None:
    table = phantoms(work, number)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=grade_again_and_again, args=(table, number, queue))
    process.start()
    peaks = [queue.get()[1] for _ in range(number)]
    process.join()
    print("| after case | peak MiB of a process that calls grade() |\n| --- | --- |")
    for i in sorted({1, 5, 10, 25, number}):
        if i <= number:
            print(f"| {i} | {peaks[i - 1]:.0f} |", flush=True)


def measure_memory(work: pathlib.Path, number: int) -> None:
    """The command: each case's peak as its process tells it (it starts a peak for each stage), the others' from outside."""
    table = phantoms(work, number)
    output = work / "out"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "gliomagrading", "cohort", table, "--output", str(output), "--workers", "1", "--threads", "1"]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    peaks = []  # of the case, of the worker, of the command
    for line in process.stdout:
        match = re.match(r"\[\d+/\d+\] (\S+) (.*)", line)
        if match:
            assert match.group(2) == "done", line
            document = json.loads((output / "cases" / match.group(1) / "result.json").read_text())
            worker = sum(resident(p, True) for p in workers(process.pid))
            peaks.append((document["provenance"]["peak_memory_mib"], worker, resident(process.pid, True)))
    assert process.wait() == 0 and len(peaks) == number, (process.returncode, len(peaks))

    print("| after case | its peak, MiB | highest so far | of the worker | of the command |\n| --- | --- | --- | --- | --- |")
    for i in sorted({1, min(5, number), 10, 25, number}):
        if i <= number:
            case, worker, of_command = peaks[i - 1]
            print(f"| {i} | {case:.0f} | {max(p[0] for p in peaks[:i]):.0f} | {worker:.0f} | {of_command:.0f} |")
    print("peaks of the cases:", " ".join(f"{case:.0f}" for case, _, _ in peaks), f"MiB; {time.monotonic() - start:.0f} s in all")


def measure_many(work: pathlib.Path, number: int) -> None:
    stub = work / "stub.sh"
    stub.write_text(STUB)
    (work / "empty").write_bytes(b"")
    table = work / f"COHORT-many-{number}.csv"
    table.write_text("case,t1,t1c,t2,flair\n" + "".join(f"case-{i:05},empty,empty,empty,empty\n" for i in range(number)))
    shutil.rmtree(work / "many", ignore_errors=True)
    rows = []
    start = time.monotonic()

    def told(status: cohort.Status, done: int, of: int) -> None:
        assert status.state == "done", status
        if done % max(1, number // 10) == 0 or done == 1:
            rows.append((done, time.monotonic() - start, resident(os.getpid()), sum(resident(p) for p in workers(os.getpid()))))

    cohort.grade_cohort(table, work / "many", workers=2, program=["sh", str(stub)], report=told)
    print("| cases | seconds | MiB of the scheduler | of the workers |\n| --- | --- | --- | --- |")
    for row in rows:
        print("| {} | {:.1f} | {:.0f} | {:.0f} |".format(*row))
    print(f"{time.monotonic() - start:.1f} s in all; summary.html has {os.path.getsize(work / 'many' / 'summary.html') / 1e6:.1f} MB")


MEASURES = {
    "speed": (measure_speed, 8),
    "memory": (measure_memory, 50),
    "process": (measure_process, 50),
    "many": (measure_many, 10000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--cases", type=int)
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    measure, usual = MEASURES[options.what]
    measure(work, options.cases or usual)


if __name__ == "__main__":
    main()
