# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Grades many cases with Dask: each in a process of its own, so that one that fails, crashes or hangs stops no other.

A case that is done is a folder cases/NAME that appears whole; a run that was stopped does only what is missing when it
is started again. status.csv and summary.html are written anew while it runs, in the cohort's order.
"""

import contextlib
import csv
import ctypes
import dataclasses
import fcntl
import html
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any, Callable, Optional
from collections.abc import Iterable, Iterator, Sequence

from . import _program
from .errors import GliomaGradingWarning
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
    names: set[str] = set()
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
            if name in names:
                problems.append(f"{where}: comes twice")
                continue
            names.add(name)
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


_LIBRARY_OF_C = ctypes.CDLL(None) if sys.platform == "linux" else None


def _prepare_child() -> None:
    """In the child: a killed worker takes its case with it, and where memory ends the kernel ends the case first."""
    if _LIBRARY_OF_C is not None:
        _LIBRARY_OF_C.prctl(1, signal.SIGKILL)
        handle = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(handle, b"1000")
        os.close(handle)


def _work_folder(output: str) -> str:
    """Where the running cases write: beside cases/, since a case may be called as it likes."""
    return os.path.join(output, ".running")


def without_folders(text: str, command: Sequence[str] = ()) -> str:
    """The text with the base names of files alone: it goes into tables and pages that are passed on."""
    for path in sorted((word for word in command if "/" in word), key=len, reverse=True):
        text = text.replace(path, os.path.basename(path.rstrip("/")))
    return re.sub(r"(?<![\w./])/(?:[^\s/:;,'\"]+/)+", "", text)


def run_case(
    command: Sequence[str],
    output: str,
    name: str,
    timeout: float,
    retries: int,
    environment: dict[str, str],
    memory_limit: float = 0.0,
) -> Status:
    """Runs the program for one case into a temporary folder, which becomes cases/NAME where it ends well."""
    start = time.monotonic()
    status = Status(name, "failed", "was not run")
    for attempt in range(1, retries + 2):
        try:
            state, reason = _run_into(command, output, name, timeout, environment, memory_limit)
        except OSError as error:  # a full disk, a program that is no longer there
            state, reason = "failed", f"{error.strerror}: {os.path.basename(str(error.filename or 'results'))}"
        status = Status(name, state, reason, attempt, round(time.monotonic() - start, 1))
        if status.state == "done":
            break
    return status


def _run_into(
    command: Sequence[str], output: str, name: str, timeout: float, environment: dict[str, str], memory_limit: float
) -> tuple[str, str]:
    work = tempfile.mkdtemp(prefix=f"{name}-", dir=_work_folder(output))
    try:
        results = os.path.join(work, "results")
        state, reason = _run_once([*command, "--output", results], timeout, environment, memory_limit)
        if state == "done" and not os.path.isfile(os.path.join(results, "result.json")):
            state, reason = "failed", "the program wrote no result.json"
        if state == "done":
            place = os.path.join(output, "cases", name)
            shutil.rmtree(place, ignore_errors=True)  # one without a result.json
            os.replace(results, place)
        return state, reason
    finally:
        shutil.rmtree(work, ignore_errors=True)


def resident_memory(process: int) -> float:
    """MiB of main memory that a process has; 0 where it is gone."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1048576.0
    except (OSError, IndexError):
        return 0.0


def _wait(process: "subprocess.Popen[bytes]", timeout: float, memory_limit: float) -> tuple[Optional[int], str]:
    """The exit code, or None and why it shall not go on."""
    end = time.monotonic() + timeout if timeout > 0 else float("inf")
    while True:
        left = end - time.monotonic()
        try:
            return process.wait(max(0.0, min(left, 0.2) if memory_limit > 0 else min(left, 3600.0))), ""
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                return None, f"was ended after {timeout:g} s"
            taken = resident_memory(process.pid) if memory_limit > 0 else 0.0
            if taken > memory_limit:
                return None, f"took {taken:.0f} MiB of memory; the limit of a case is {memory_limit:.0f} MiB (--memory-limit)"


def _run_once(command: Sequence[str], timeout: float, environment: dict[str, str], memory_limit: float) -> tuple[str, str]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            preexec_fn=_prepare_child,
        )
        try:
            code, reason = _wait(process, timeout, memory_limit)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code is None:
            return ("timed out" if reason.startswith("was ended") else "failed"), reason
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    last = without_folders(lines[-1], command) if lines else ""
    if code < 0:
        return "crashed", f"{signal.Signals(-code).name}{': ' + last if last else ''}"
    return ("done", "") if code == 0 else ("failed", last or f"ended with code {code}")


def estimate_memory(command: Sequence[str], environment: dict[str, str], timeout: float = 600.0) -> Optional[float]:
    """MiB that the program says a case will take; None where it does not say."""
    words: list[str] = []
    for word in command:
        if words and words[-1] == "--reference":
            words.pop()
        elif not word.startswith("--reference=") and word not in ("--register", "--on-every-grid", "--test-explanation"):
            words.append(word)  # an estimate refuses those
    try:
        done = subprocess.run([*words, "--estimate"], capture_output=True, text=True, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None
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
    memory_limit: Optional[float] = None,
    arguments: Sequence[str] = (),
    program: Optional[Sequence[str]] = None,
    report: Callable[[Status, int, int], object] = lambda status, done, number: None,
) -> list[Status]:
    """Grades every case of a COHORT.csv or folder (glioma cohort) into output/cases/NAME.

    workers: processes at a time on this machine, each with so many threads; default what processors and memory allow.
    scheduler: address of a Dask scheduler instead. Who reaches a scheduler runs code: it is yours to protect. Its
    workers must see the same files. memory_limit: MiB at which a case is ended, 0 for none; default twice what the
    program estimates for the largest case. arguments: further options of `glioma grade`. report is called after every
    case. What is done already stays, so other arguments than those of an earlier run are refused. A script that calls this wants `if __name__ == "__main__":`, since the workers are processes.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError("Cohorts need Dask: pip install 'gliomagrading[cohort]'") from error
    dask: Any = distributed
    output = os.path.abspath(os.fspath(output))
    os.makedirs(os.path.join(output, "cases"), exist_ok=True)
    with _lock(output):
        return _grade_cohort(dask, cohort, output, workers, scheduler, threads, timeout, retries, memory_limit, arguments, program, report)


@contextlib.contextmanager
def _lock(output: str) -> Iterator[None]:
    """Two runs into one folder would remove each other's work."""
    with open(os.path.join(output, ".lock"), "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"Another run writes into {os.path.basename(output)}; wait for its end.") from error
        except OSError:  # a file system without locks
            pass
        yield


def _check_arguments(output: str, arguments: Sequence[str], anything_is_done: bool) -> None:
    """Results of other options stand in no table together."""
    path = os.path.join(output, "arguments.json")
    if anything_is_done and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
        if before != list(arguments):
            raise ValueError(
                f"{os.path.basename(output)} holds results of other options ({' '.join(before) or 'none'}); "
                "give the same, or another --output."
            )
    write_atomically(path, json.dumps(list(arguments)) + "\n")


def _statuses_before(output: str) -> dict[str, Status]:
    """What an earlier run told of the cases that it finished."""
    try:
        with open(os.path.join(output, "status.csv"), newline="", encoding="utf-8") as file:
            return {
                row["case"]: Status(row["case"], "done", "", int(row["attempts"]), float(row["seconds"]))
                for row in csv.DictReader(file)
                if row["state"] == "done"
            }
    except (OSError, KeyError, TypeError, ValueError):
        return {}


def _grade_cohort(
    dask: Any,
    cohort: PathLike,
    output: str,
    workers: Optional[int],
    scheduler: Optional[str],
    threads: int,
    timeout: float,
    retries: int,
    memory_limit: Optional[float],
    arguments: Sequence[str],
    program: Optional[Sequence[str]],
    report: Callable[[Status, int, int], object],
) -> list[Status]:
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
    before = _statuses_before(output)
    statuses = {
        case.name: before.get(case.name, Status(case.name, "done")) if is_done(output, case.name) else Status(case.name, "waiting")
        for case in cases
    }
    _check_arguments(output, arguments, any(status.state == "done" for status in statuses.values()))
    results: dict[str, dict[str, Any]] = {}
    _write(output, cases, statuses, results)
    missing = [case for case in cases if statuses[case.name].state != "done"]
    if not missing:
        return list(statuses.values())
    # What a run that was killed left there goes.
    shutil.rmtree(_work_folder(output), ignore_errors=True)
    os.makedirs(_work_folder(output), exist_ok=True)

    commands = {case.name: _command(run, case, threads, arguments) for case in missing}
    # The largest files take the most memory.
    largest = max(missing, key=lambda case: sum(_bytes(path) for path in case.sequences))
    # Nothing else runs yet: all processors tell it sooner, and its memory does not depend on them.
    estimate = estimate_memory(_command(run, largest, len(os.sched_getaffinity(0)), arguments), environment)
    if estimate is None:
        warnings.warn(
            "The memory of a case could not be estimated: processors alone say how many run at a time.",
            GliomaGradingWarning,
            stacklevel=3,
        )
    limit = 2.0 * (estimate or 0.0) if memory_limit is None else memory_limit
    if scheduler is None:
        number = min(number_of_workers(workers, estimate, threads), len(missing))
        cluster: Any = dask.LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # Their pages are here alone too, at a port that is free.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=50,
            local_directory=tempfile.mkdtemp(prefix=".dask-", dir=_work_folder(output)),
        )
        client = dask.Client(cluster)
    else:
        cluster = None
        client = dask.Client(scheduler)
    try:
        workers_kept = _WorkersKept(client, cluster)
        finished = _submit(client, dask.as_completed, missing, commands, output, timeout, retries, environment, limit, workers_kept.look)
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
        shutil.rmtree(_work_folder(output), ignore_errors=True)
        for case in missing:  # done, but an interrupt came before the news of it
            if statuses[case.name].state == "waiting" and is_done(output, case.name):
                statuses[case.name] = Status(case.name, "done", "", 1)
        _write(output, cases, statuses, results)
    return [statuses[case.name] for case in cases]


class _WorkersKept:
    """Workers for the cases that wait.

    Dask gives a worker up that does not come back within 15 s, or is lost again while it starts, and takes no other in its place.
    """

    def __init__(self, client: Any, cluster: Optional[Any], interval: float = 5.0, patience: float = 300.0) -> None:
        self._client = client
        self._cluster = cluster
        self._number = len(cluster.workers) if cluster is not None else 0
        self._interval = interval
        self._patience = patience
        self._next_look = 0.0
        self._none_since: Optional[float] = None

    def look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + self._interval
        workers = len(self._client.nthreads())
        if workers > 0 or self._none_since is None:
            self._none_since = None if workers > 0 else now
        is_given_up = self._none_since is not None and now - self._none_since >= self._patience
        if self._cluster is not None:
            if is_given_up:  # what is there does not start
                self._cluster.scale(0)
            if workers < self._number:
                self._cluster.scale(self._number)
        elif is_given_up:
            warnings.warn("The scheduler has no worker: the cases wait until one joins it.", GliomaGradingWarning, stacklevel=2)
        if is_given_up:
            self._none_since = None


def _submit(
    client: Any,
    as_completed: Any,
    missing: Sequence[Case],
    commands: dict[str, list[str]],
    output: str,
    timeout: float,
    retries: int,
    environment: dict[str, str],
    memory_limit: float,
    meanwhile: Callable[[], object],
) -> Iterable[Status]:
    """Statuses as they come. 'meanwhile' is called now and then while one is waited for."""
    waiting = iter(missing)
    names: dict[str, str] = {}
    again: set[str] = set()
    # With results: a worker may be lost with those that nobody has fetched.
    running = as_completed(with_results=True, raise_errors=False)

    def send(name: str, attempt: int) -> None:
        future = client.submit(
            run_case,
            commands[name],
            output,
            name,
            timeout,
            retries,
            environment,
            memory_limit,
            pure=False,
            retries=0,
            key=f"case-{name}-{attempt}",
        )
        names[future.key] = name
        running.add(future)

    def fill() -> None:
        # Never more in the scheduler than the workers soon take: it stays small however large the cohort is.
        room = 2 * max(1, sum(client.nthreads().values()))
        for case in itertools.islice(waiting, max(0, room - len(names))):
            send(case.name, 1)

    fill()
    while not running.is_empty():
        if not running.has_ready():
            meanwhile()
            time.sleep(0.1)
            continue
        future, result = next(running)
        name = names.pop(future.key)
        if isinstance(result, Status):
            yield result
        elif not isinstance(result, tuple):
            yield Status(name, "failed", f"the scheduler gave it up ({future.status})", 1)
        else:
            error = result[1]
            if type(error).__name__ != "KilledWorker":
                yield Status(name, "failed", without_folders(f"{type(error).__name__}: {error}"), 1)
            elif name in again:
                yield Status(name, "crashed", "its worker was lost again and again", 1)
            else:
                # Another case may have ended the workers for which this one waited.
                again.add(name)
                send(name, 2)
        fill()


def _bytes(path: str) -> int:
    if os.path.isdir(path):
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return os.path.getsize(path)


def _result(output: str, name: str) -> dict[str, Any]:
    try:
        with open(os.path.join(output, "cases", name, "result.json"), encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError):
        return {}
    kept = ("grade", "probabilities", "verdict", "reasons", "warnings")
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
        probabilities = ", ".join(f"P({html.escape(str(k))}) {float(v):.3f}" for k, v in (result.get("probabilities") or {}).items())
        reasons = "; ".join(html.escape(str(r)) for r in result.get("reasons") or []) or html.escape(status.reason)
        picture = (
            f'<a href="{folder}/report.html"><img loading="lazy" alt="overview of {name}" src="{folder}/overview.png"></a>'
            if status.state == "done"
            else ""
        )
        shown = f'<a href="{folder}/report.html">{name}</a>' if status.state == "done" else name
        grade = html.escape(str(result.get("grade") or ("none" if result else "")))
        rows.append(
            f"<tr><td>{shown}</td><td>{html.escape(status.state)}</td><td>{grade}</td><td>{probabilities}</td>"
            f"<td>{html.escape(case.truth)}</td><td>{html.escape(str(result.get('verdict') or ''))}</td><td>{reasons}</td>"
            f"<td>{picture}</td></tr>"
        )
    done = sum(status.state == "done" for status in statuses.values())
    # What the models must not be used for, each once.
    warned = dict.fromkeys(str(w) for result in results.values() for w in result.get("warnings") or [])
    said = "".join(f"<p>{html.escape(w)}</p>\n" for w in warned if w != "Research use only.")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Cohort</title>\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'\">\n"
        "<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #999;"
        "padding:.3em .6em;text-align:left;vertical-align:top}img{width:240px}</style></head><body>\n"
        f"<h1>Cohort: {done} of {len(cases)} cases are done</h1>\n<p>Research use only. No verdict is a clinical acceptance.</p>\n{said}"
        "<table><tr><th>case</th><th>state</th><th>grade</th><th>probabilities</th><th>grade in the table</th><th>verdict</th>"
        "<th>reasons</th><th>overview</th></tr>\n" + "\n".join(rows) + "\n</table></body></html>\n"
    )
