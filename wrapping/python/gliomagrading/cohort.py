# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Grades many cases with Dask: each in a process of its own, so that one that fails, crashes or hangs stops no other.

A case that is done is a folder cases/NAME that appears whole; a run that was stopped does only what is missing when it
is started again. status.csv and summary.html are written anew after every case, in the cohort's order.
"""

import csv
import ctypes
import dataclasses
import html
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Iterable, Optional, Sequence

from . import _program
from .images import PathLike

SEQUENCE_COLUMNS = ("t1", "t1c", "t2", "flair")


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of COHORT.csv, with complete paths."""

    name: str
    sequences: tuple[str, str, str, str]
    brain_mask: str = ""
    #: "LGG", "HGG" or empty.
    truth: str = ""


@dataclasses.dataclass(frozen=True)
class Status:
    """What became of a case."""

    case: str
    #: "done", "failed" (the program said why), "crashed" (a signal ended it), "timed out" or "waiting".
    state: str
    reason: str = ""
    attempts: int = 0
    seconds: float = 0.0


def read_cohort(path: PathLike) -> list[Case]:
    """The cases of a COHORT.csv; everything that is wrong with it in one ValueError."""
    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    problems: list[str] = []
    cases: list[Case] = []
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = [c for c in ("case", *SEQUENCE_COLUMNS) if c not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{os.path.basename(path)} lacks the columns {', '.join(missing)}.")
        for number, row in enumerate(rows, start=2):
            name = (row["case"] or "").strip()
            where = f"line {number}, case {name!r}"
            if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or set(name) == {"."}:
                problems.append(f"{where}: the name may hold letters, digits, '.', '_' and '-'")
                continue
            if name in {case.name for case in cases}:
                problems.append(f"{where}: comes twice")
                continue
            files = {}
            for column in (*SEQUENCE_COLUMNS, "brain_mask"):
                value = (row.get(column) or "").strip()
                if value:
                    files[column] = os.path.join(folder, value)
                    if not os.path.exists(files[column]):
                        problems.append(f"{where}: there is no file {value} for {column}")
                elif column in SEQUENCE_COLUMNS:
                    problems.append(f"{where}: {column} is missing")
            if all(column in files for column in SEQUENCE_COLUMNS):
                t1, t1c, t2, flair = (files[column] for column in SEQUENCE_COLUMNS)
                cases.append(Case(name, (t1, t1c, t2, flair), files.get("brain_mask", ""), (row.get("grade") or "").strip()))
    if problems:
        raise ValueError(f"{os.path.basename(path)}: " + "; ".join(problems) + ".")
    if not cases:
        raise ValueError(f"{os.path.basename(path)} holds no case.")
    return cases


def write_atomically(path: str, text: str) -> None:
    """The file is there whole, or as it was."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def is_done(output: str, name: str) -> bool:
    return os.path.isfile(os.path.join(output, "cases", name, "result.json"))


def _die_with_parent() -> None:
    """In the child: a killed worker takes its case with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def run_case(
    command: Sequence[str], output: str, name: str, timeout: float, retries: int, environment: dict[str, str]
) -> Status:
    """Runs the program for one case into a temporary folder, which becomes cases/NAME where it ends well."""
    start = time.monotonic()
    status = Status(name, "failed", "was not run")
    for attempt in range(1, retries + 2):
        work = tempfile.mkdtemp(prefix=f".{name}-", dir=os.path.join(output, "cases"))
        try:
            state, reason = _run_once([*command, "--output", os.path.join(work, "results")], timeout, environment)
            if state == "done" and not os.path.isfile(os.path.join(work, "results", "result.json")):
                state, reason = "failed", "the program wrote no result.json"
            if state == "done":
                place = os.path.join(output, "cases", name)
                shutil.rmtree(place, ignore_errors=True)  # one without a result.json
                os.replace(os.path.join(work, "results"), place)
            status = Status(name, state, reason, attempt, round(time.monotonic() - start, 1))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if status.state == "done":
            break
    return status


def _run_once(command: Sequence[str], timeout: float, environment: dict[str, str]) -> tuple[str, str]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, stdin=subprocess.DEVNULL, env=environment,
            start_new_session=True, preexec_fn=_die_with_parent,
        )
        try:
            code = process.wait(timeout if timeout > 0 else None)
        except subprocess.TimeoutExpired:
            return "timed out", f"was ended after {timeout:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    last = lines[-1] if lines else ""
    if code < 0:
        return "crashed", f"{signal.Signals(-code).name}{': ' + last if last else ''}"
    return ("done", "") if code == 0 else ("failed", last or f"ended with code {code}")


def estimate_memory(command: Sequence[str], environment: dict[str, str]) -> Optional[float]:
    """MiB that the program says a case will take; None where it does not say."""
    done = subprocess.run([*command, "--estimate"], capture_output=True, text=True, env=environment)
    match = re.search(r"([0-9.]+) GiB of memory", done.stdout)
    return 1024.0 * float(match.group(1)) if match else None


def available_memory() -> float:
    """MiB that new processes can have."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024.0
    return float("inf")


def number_of_workers(wanted: Optional[int], estimate: Optional[float], threads: int) -> int:
    """As many as asked, or as processors and memory have room for: one at least."""
    most = max(1, (len(os.sched_getaffinity(0)) if wanted is None else wanted * threads) // threads)
    if estimate:
        most = min(most, int(0.9 * available_memory() // estimate))
    return max(1, most)


def _command(program: Sequence[str], case: Case, threads: int, arguments: Sequence[str]) -> list[str]:
    command = [*program, "grade"]
    for column, path in zip(SEQUENCE_COLUMNS, case.sequences):
        command += [f"--{column}", path]
    if case.brain_mask:
        command += ["--brain-mask", case.brain_mask]
    return [*command, "--threads", str(threads), *arguments]


def grade_cohort(
    cohort: PathLike,
    output: PathLike,
    *,
    workers: Optional[int] = None,
    scheduler: Optional[str] = None,
    threads: int = 1,
    timeout: float = 3600.0,
    retries: int = 0,
    arguments: Sequence[str] = (),
    program: Optional[Sequence[str]] = None,
    report: Callable[[Status, int, int], object] = lambda status, done, number: None,
) -> list[Status]:
    """Grades every case of a COHORT.csv or folder (glioma cohort) into output/cases/NAME.

    workers: processes at a time on this machine, each with so many threads; default what processors and memory allow.
    scheduler: address of a Dask scheduler instead. Who reaches a scheduler runs code: it is yours to protect. Its
    workers must see the same files. arguments: further options of `glioma grade`. report is called after every case.
    A script that calls this wants `if __name__ == "__main__":`, since the workers are processes.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError("Cohorts need Dask: pip install 'gliomagrading[cohort]'") from error
    dask: Any = distributed
    output = os.path.abspath(os.fspath(output))
    os.makedirs(os.path.join(output, "cases"), exist_ok=True)
    run = list(program) if program is not None else [_program.path()]
    environment = _program.environment()
    cohort = os.fspath(cohort)
    if os.path.isdir(cohort):
        table = os.path.join(output, "COHORT.csv")
        found = subprocess.run([_program.path(), "cohort", cohort, "--output", table, "--force"], env=environment)
        if found.returncode != 0:
            raise ValueError(f"No complete patient was found in {os.path.basename(cohort)}; see what is missing above.")
        cohort = table
    cases = read_cohort(cohort)
    _remove_leftovers(output)
    statuses = {case.name: Status(case.name, "done" if is_done(output, case.name) else "waiting") for case in cases}
    results: dict[str, dict[str, Any]] = {}
    _write(output, cases, statuses, results)
    missing = [case for case in cases if statuses[case.name].state != "done"]
    if not missing:
        return list(statuses.values())

    commands = {case.name: _command(run, case, threads, arguments) for case in missing}
    # The largest files take the most memory.
    largest = max(missing, key=lambda case: sum(_bytes(path) for path in case.sequences))
    estimate = estimate_memory(commands[largest.name], environment)
    if scheduler is None:
        number = min(number_of_workers(workers, estimate, threads), len(missing))
        cluster: Any = dask.LocalCluster(
            n_workers=number, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
            memory_limit=0, silence_logs=50, local_directory=tempfile.mkdtemp(prefix=".dask-", dir=os.path.join(output, "cases")),
        )
        client = dask.Client(cluster)
    else:
        cluster = None
        client = dask.Client(scheduler)
    try:
        finished = _submit(client, dask.as_completed, missing, commands, output, timeout, retries, environment)
        for done, status in enumerate(finished, start=1):
            statuses[status.case] = status
            # The whole table is written for each of few cases, and now and then for many.
            if done % max(1, len(cases) // 200) == 0 or done == len(missing):
                _write(output, cases, statuses, results)
            report(status, done, len(missing))
    finally:
        client.close()
        if cluster is not None:
            cluster.close()
        _remove_leftovers(output)
        _write(output, cases, statuses, results)
    return [statuses[case.name] for case in cases]


def _submit(
    client: Any, as_completed: Any, missing: Sequence[Case], commands: dict[str, list[str]], output: str, timeout: float,
    retries: int, environment: dict[str, str],
) -> Iterable[Status]:
    """Statuses as they come. A worker that dies is no reason to run a case more often than asked."""

    def send(case: Case) -> Any:
        return client.submit(
            run_case, commands[case.name], output, case.name, timeout, retries, environment, pure=False, retries=0,
            key=f"case-{case.name}",
        )

    waiting = iter(missing)
    names = {}
    # Never more in the scheduler than the workers soon take: it stays small however large the cohort is.
    ahead = 4 * max(1, len(client.scheduler_info()["workers"]))
    running = as_completed(raise_errors=False)
    for _, case in zip(range(ahead), waiting):
        future = send(case)
        names[future.key] = case.name
        running.add(future)
    for future in running:
        name = names.pop(future.key)
        if future.status == "finished":
            yield future.result()
        else:
            yield Status(name, "crashed", f"the worker was lost: {future.exception()}", 1)
        following = next(waiting, None)
        if following is not None:
            future = send(following)
            names[future.key] = following.name
            running.add(future)


def _bytes(path: str) -> int:
    if os.path.isdir(path):
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return os.path.getsize(path)


def _remove_leftovers(output: str) -> None:
    """Temporary folders of a run that was killed."""
    for entry in os.scandir(os.path.join(output, "cases")):
        if entry.is_dir() and entry.name.startswith("."):
            shutil.rmtree(entry.path, ignore_errors=True)


def _result(output: str, name: str) -> dict[str, Any]:
    try:
        with open(os.path.join(output, "cases", name, "result.json"), encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError):
        return {}
    kept = ("grade", "probabilities", "verdict", "reasons")
    return {key: document.get(key) for key in kept} if isinstance(document, dict) else {}


def _write(output: str, cases: Sequence[Case], statuses: dict[str, Status], results: dict[str, dict[str, Any]]) -> None:
    for case in cases:
        if statuses[case.name].state == "done" and case.name not in results:
            results[case.name] = _result(output, case.name)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["case", "state", "reason", "attempts", "seconds", "grade", "probability", "verdict"])
    for case in cases:
        status, result = statuses[case.name], results.get(case.name, {})
        grade = result.get("grade") or ""
        probability = (result.get("probabilities") or {}).get(grade, "")
        writer.writerow(
            [case.name, status.state, status.reason, status.attempts, status.seconds, grade, probability, result.get("verdict", "")]
        )
    write_atomically(os.path.join(output, "status.csv"), table.getvalue())
    write_atomically(os.path.join(output, "summary.html"), _page(cases, statuses, results))


def _page(cases: Sequence[Case], statuses: dict[str, Status], results: dict[str, dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        status, result = statuses[case.name], results.get(case.name, {})
        name = html.escape(case.name)
        folder = f"cases/{name}"
        probabilities = ", ".join(
            f"P({html.escape(str(k))}) {float(v):.3f}" for k, v in (result.get("probabilities") or {}).items()
        )
        reasons = "; ".join(html.escape(str(r)) for r in result.get("reasons", [])) or html.escape(status.reason)
        picture = (
            f'<a href="{folder}/report.html"><img loading="lazy" alt="overview of {name}" src="{folder}/overview.png"></a>'
            if status.state == "done"
            else ""
        )
        shown = f'<a href="{folder}/report.html">{name}</a>' if status.state == "done" else name
        grade = html.escape(str(result.get("grade") or ("none" if result else "")))
        rows.append(
            f"<tr><td>{shown}</td><td>{html.escape(status.state)}</td><td>{grade}</td><td>{probabilities}</td>"
            f"<td>{html.escape(case.truth)}</td><td>{html.escape(str(result.get('verdict', '')))}</td><td>{reasons}</td>"
            f"<td>{picture}</td></tr>"
        )
    done = sum(status.state == "done" for status in statuses.values())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Cohort</title>\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'\">\n"
        "<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #999;"
        "padding:.3em .6em;text-align:left;vertical-align:top}img{width:240px}</style></head><body>\n"
        f"<h1>Cohort: {done} of {len(cases)} cases are done</h1>\n<p>Research use only. No verdict is a clinical acceptance.</p>\n"
        "<table><tr><th>case</th><th>state</th><th>grade</th><th>probabilities</th><th>grade in the table</th><th>verdict</th>"
        "<th>reasons</th><th>overview</th></tr>\n" + "\n".join(rows) + "\n</table></body></html>\n"
    )
