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
import uuid
import warnings
from typing import Any, Callable, Optional, Union
from collections.abc import Iterable, Iterator, Mapping, Sequence

from . import _inputs, _program
from ._inputs import write_atomically
from ._parameters import real_number, whole_number, word_list
from .errors import GliomaGradingWarning, InputError
from .images import PathLike
from .model import demonstration_bundle

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


#: Exit code of the program; a last line then points to --help, the first says what is wrong.
WRONG_OPTIONS = 2


class WrongOptions(ValueError):
    """The program refuses its options: it would in every case."""


_BLANKS = " \t\r\n"


def _fields(line: str) -> list[str]:
    """A line's fields as itk::CohortReader splits them: a quote may stand anywhere, none goes on in the next line."""
    fields: list[list[str]] = [[]]
    quoted = False
    i = 0
    while i < len(line):
        c = line[i]
        if quoted and line.startswith('""', i):
            fields[-1].append(c)
            i += 1
        elif c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            fields.append([])
        elif c != "\r":
            fields[-1].append(c)
        i += 1
    return ["".join(field).strip(_BLANKS) for field in fields]


def _shown(value: str) -> str:
    """For a message: a field may be long, or in another encoding."""
    text = value.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= 100 else text[:97] + "..."


def _columns(table: str, line: str) -> tuple[dict[str, int], int, list[str]]:
    """Where each column stands, how many there are, and what is wrong; a ValueError where one is missing."""
    header = _fields(line)
    problems: list[str] = []
    column: dict[str, int] = {}
    for i, name in enumerate(header):
        if column.setdefault(name.lower(), i) != i:
            problems.append(f"{table}: the column {_shown(name)!r} occurs twice")
    missing = [f"{table}: the column {name!r} is missing" for name in ("case", *SEQUENCE_COLUMNS) if name not in column]
    if missing:
        hint = ""
        if len(header) == 1 and (";" in line or "\t" in line):
            hint = f"; its fields are separated by {'semicolons' if ';' in line else 'tabs'}: save it with commas"
        elif "\r" in line.rstrip("\r"):
            hint = "; its lines end with CR alone: save it with LF or CRLF"
        raise ValueError("; ".join(problems + missing) + hint + ".")
    return column, len(header), problems


def read_cohort(path: PathLike) -> list[Case]:
    """The cases of a COHORT.csv, by the rules of itk::CohortReader; everything that is wrong with it in one ValueError."""
    path = os.fsdecode(path)
    table = os.path.basename(path)
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {os.fsencode(path).decode('utf-8', 'replace')}; check the path.") from None
    if b"\0" in content.split(b"\n", 1)[0]:
        raise ValueError(f"{table} is no CSV in UTF-8 (in UTF-16?); save it as such.")
    # Names of files are bytes: those of another encoding are found where they are called so.
    header_line, *lines = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff").split("\n")
    if not content:
        raise ValueError(f"The cohort {table!r} is empty; its first line names the columns case,t1,t1c,t2,flair,seg,grade.")
    column, width, problems = _columns(table, header_line)
    cases: list[Case] = []
    names: set[str] = set()
    for number, line in enumerate(lines, start=2):
        if not line.strip(_BLANKS):
            continue
        fields = _fields(line)
        row = {name: fields[i] if i < len(fields) else "" for name, i in column.items()}
        case, said = _case_of(row, folder)
        if len(fields) > width:
            said.insert(0, f"has {len(fields)} fields for {width} columns")
        if case.name in names:
            said.append(f"the case {_shown(case.name)} occurs twice")
        names.add(case.name)
        cases.append(case)
        problems += [f"{table} line {number}: {text}" for text in said]
    if problems:
        raise ValueError("; ".join(problems) + ".")
    if not cases:
        raise ValueError(f"The cohort {table!r} holds no case.")
    return cases


def _case_of(row: dict[str, str], folder: str) -> tuple[Case, list[str]]:
    """A line's case, and what is wrong with it."""
    problems: list[str] = []
    name = row["case"]
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or set(name) == {"."}:
        problems.append(f"the case name {_shown(name)!r} may hold letters, digits, '.', '_' and '-' only")
    files: dict[str, str] = {}
    for column in (*SEQUENCE_COLUMNS, "brain_mask", "seg"):
        value = row.get(column, "")
        files[column] = os.path.join(folder, value) if value else ""
        if not value and column in SEQUENCE_COLUMNS:
            problems.append(f"the column {column} is empty")
        elif value and not os.path.exists(files[column]):
            encoding = "" if _is_utf8(value) else " (the table is not in UTF-8; save it so)"
            problems.append(f"the file of column {column} does not exist: {_shown(value)}{encoding}")
    for a, b in itertools.combinations(files, 2):
        if files[a] and os.path.normpath(files[a]) == os.path.normpath(files[b]):
            problems.append(f"the columns {a} and {b} name the same file")
    truth = row.get("grade", "").upper()
    if truth not in ("", "LGG", "HGG"):
        problems.append(f"the grade {_shown(truth)!r} is neither LGG nor HGG")
    part = row.get("set", "").lower()
    if part not in ("", "training", "validation", "test"):
        problems.append(f"the set {_shown(part)!r} is none of training, validation and test")
    t1, t1c, t2, flair = (files[column] for column in SEQUENCE_COLUMNS)
    return Case(name, (t1, t1c, t2, flair), files["brain_mask"], truth), problems


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_done(output: str, name: str) -> bool:
    """Whether there is a result; from which files: _check_inputs()."""
    return os.path.isfile(os.path.join(output, "cases", name, "result.json"))


def _is_done_elsewhere(output: str, name: str) -> bool:
    """The same of a worker that may be another machine."""
    os.listdir(os.path.join(output, "cases"))  # a file system of the network may remember that it was not there
    return is_done(output, name)


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
    inputs: Mapping[str, str],
    options: _inputs.Options,
    timeout: float,
    retries: int,
    library_folder: str,
    memory_limit: float = 0.0,
) -> Status:
    """Runs the program for one case into a temporary folder, which becomes cases/NAME where it ends well."""
    start = time.monotonic()
    environment = _program.with_library(os.environ, library_folder)
    status = Status(name, "failed", "was not run")
    for attempt in range(1, retries + 2):
        try:
            state, reason = _run_into(command, output, name, inputs, options, timeout, environment, memory_limit)
        except OSError as error:  # a full disk, a program that is no longer there
            state, reason = "failed", f"{error.strerror}: {_shown(os.path.basename(str(error.filename or 'results')))}"
        status = Status(name, state, reason, attempt, round(time.monotonic() - start, 1))
        if status.state == "done":
            break
    return status


def _run_into(
    command: Sequence[str],
    output: str,
    name: str,
    inputs: Mapping[str, str],
    options: _inputs.Options,
    timeout: float,
    environment: dict[str, str],
    memory_limit: float,
) -> tuple[str, str]:
    record = _inputs.record(inputs, options)
    work = tempfile.mkdtemp(prefix=f"{name}-", dir=_work_folder(output))
    try:
        results = os.path.join(work, "results")
        state, reason = _run_once([*command, "--output", results], timeout, environment, memory_limit)
        if state == "done" and not os.path.isfile(os.path.join(results, "result.json")):
            state, reason = "failed", "the program wrote no result.json"
        if state == "done":
            changed = _inputs.changed_since(record, inputs, options)
            if changed:
                state, reason = "failed", f"the files of {', '.join(changed)} changed while it ran; run it again"
        if state == "done":
            _inputs.write_record(results, record)
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
    if code == WRONG_OPTIONS and lines:
        raise WrongOptions(f"`glioma grade` refuses its options: {without_folders(lines[0], command)}")
    last = without_folders(lines[-1], command) if lines else ""
    if code < 0:
        return "crashed", f"{signal.Signals(-code).name}{': ' + last if last else ''}"
    return ("done", "") if code == 0 else ("failed", last or f"ended with code {code}")


def estimate_memory(command: Sequence[str], environment: dict[str, str], timeout: float = 600.0) -> Optional[float]:
    """MiB that the program says a case will take; None where it does not say."""
    words: list[str] = []
    refused, flags = ("--regions", "--output"), ("--test-explanation",)  # by an estimate
    for word in command:
        if words and words[-1] in refused:
            words.pop()  # its value goes too
        elif word not in flags and not word.startswith(tuple(f"{name}=" for name in refused)):
            words.append(word)
    try:
        done = subprocess.run([*words, "--estimate"], capture_output=True, text=True, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None
    said = done.stderr.strip().splitlines()
    if done.returncode == WRONG_OPTIONS and said:
        raise WrongOptions(f"`glioma grade` refuses its options: {without_folders(said[0], words)}")
    match = re.search(r"([0-9.]+) GiB of memory", done.stdout)
    return 1024.0 * float(match.group(1)) if match else None


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _left_in_groups(processes: str, groups: str) -> Iterator[float]:
    """Bytes that the control groups of this process leave it, of both versions: its container's, and those above."""
    with open(os.path.join(processes, "self", "cgroup"), encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, path in lines:
        if controllers and "memory" not in controllers.split(","):
            continue
        place = os.path.join(groups, "memory") if controllers else groups
        most, taken = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        total = "total_" if controllers else ""
        steps = [step for step in path.split("/") if step]
        for number in range(len(steps), -1, -1):
            folder = os.path.join(place, *steps[:number])
            # A group without a limit says "max"; a container does not see those above it.
            with contextlib.suppress(OSError, ValueError):
                numbers = [int(_text_of(os.path.join(folder, name))) for name in (most, taken)]
                # What is taken counts those below; of version 1 "total_" does. Cached files give way to processes.
                cached = re.findall(rf"^{total}(?:in)?active_file (\d+)", _text_of(os.path.join(folder, "memory.stat")), re.MULTILINE)
                yield numbers[0] - numbers[1] + sum(map(int, cached))


def available_memory(processes: str = "/proc", groups: str = "/sys/fs/cgroup") -> float:
    """MiB that new processes can have, on this machine and in the container where this one is in one."""
    left = float("inf")
    for line in _text_of(os.path.join(processes, "meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            left = int(line.split()[1]) / 1024.0
    with contextlib.suppress(OSError, ValueError):
        left = min([left, *(max(0.0, number) / 1048576.0 for number in _left_in_groups(processes, groups))])
    return left


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


def check_numbers(workers: Optional[int], threads: int, timeout: float, retries: int, memory_limit: Optional[float]) -> None:
    """Refuses, as the command does, what no run can have."""
    for name, number, least in (("workers", workers, 1), ("threads", threads, 1), ("retries", retries, 0)):
        if number is not None and whole_number(number, name) < least:
            raise InputError(f"{name} is {number}; give {least} or more.")
    for name, limit in (("timeout", timeout), ("memory_limit", memory_limit)):
        is_default = limit is None and name == "memory_limit"
        if not is_default and not real_number(limit, name) >= 0.0:
            raise InputError(f"{name} is {limit}; give 0 (no limit) or more.")


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
    arguments: Union[PathLike, Sequence[PathLike]] = (),
    program: Optional[Sequence[str]] = None,
    report: Callable[[Status, int, int], object] = lambda status, done, number: None,
) -> list[Status]:
    """Grades every case of a COHORT.csv or folder (glioma cohort) into output/cases/NAME.

    workers: processes at a time on this machine, each with so many threads; default what processors and memory allow.
    scheduler: address of a Dask scheduler instead. Who reaches a scheduler runs code: it is yours to protect. Its
    workers must see the same files. memory_limit: MiB at which a case is ended, 0 for none; default twice what the
    program estimates for the largest case. arguments: further options of `glioma grade`, a word each. report is called
    after every case. What is done already stays, so a case that was graded with other arguments, images or models is
    refused. A script that calls this wants `if __name__ == "__main__":`, since the workers are processes.
    """
    check_numbers(workers, threads, timeout, retries, memory_limit)
    workers = None if workers is None else whole_number(workers, "workers")
    threads, retries = whole_number(threads, "threads"), whole_number(retries, "retries")
    timeout = real_number(timeout, "timeout")
    memory_limit = None if memory_limit is None else real_number(memory_limit, "memory_limit")
    words = word_list(arguments, "arguments")
    run = None if program is None else word_list(program, "program")
    try:
        import distributed
    except ImportError as error:
        raise ImportError("Cohorts need Dask: pip install 'gliomagrading[cohort]'") from error
    dask: Any = distributed
    cohort = os.fsdecode(cohort)
    cases = None if os.path.isdir(cohort) else read_cohort(cohort)  # before anything is made
    output = os.path.abspath(os.fsdecode(output))
    os.makedirs(os.path.join(output, "cases"), exist_ok=True)
    with _lock(output):
        return _grade_cohort(dask, cohort, cases, output, workers, scheduler, threads, timeout, retries, memory_limit, words, run, report)


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


def _check_arguments(output: str, arguments: Sequence[str]) -> None:
    """Results of other options stand in no table together. Those of an earlier version do not say theirs."""
    folder = os.path.join(output, "cases")
    if not any(is_done(output, name) and not _inputs.says_its_options(os.path.join(folder, name)) for name in os.listdir(folder)):
        return
    path = os.path.join(output, "arguments.json")
    if not os.path.exists(path):
        return
    try:
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
    except ValueError as error:
        before = str(error)
    if not isinstance(before, list):
        raise ValueError(
            f"{os.path.basename(output)}/arguments.json is no list of options ({_shown(str(before))}): it is not known of which the "
            "results are. Give another --output, or remove the file where you know that they are of these."
        )
    if before != list(arguments):
        raise ValueError(
            f"{os.path.basename(output)} holds results of other options ({' '.join(map(str, before)) or 'none'}); "
            "give the same, or another --output."
        )


def _inputs_of(case: Case) -> dict[str, str]:
    roles = dict(zip(_inputs.ROLES, case.sequences))
    return {**roles, _inputs.ROLES[4]: case.brain_mask} if case.brain_mask else roles


def _is_our_program(run: Sequence[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return len(run) == 1 and os.path.realpath(run[0]) == os.path.realpath(_program.path())
    return False


def _options_of(arguments: Sequence[str], is_our_program: bool) -> dict[str, list[str]]:
    """The options by which a case is graded: the demonstration's models too, where none are named."""
    options = _inputs.options_of(arguments)
    if is_our_program:
        with contextlib.suppress(FileNotFoundError):  # the program then says what is missing
            if "--tumour-mask" not in options:
                options.setdefault("--segmentation-model", [demonstration_bundle("segmentation")])
            options.setdefault("--grading-model", [demonstration_bundle("grading")])
            if options.get("--brain-grading-model") == ["demonstration"]:
                options["--brain-grading-model"] = [demonstration_bundle("brain-grading")]
    return options


def _check_inputs(output: str, done: Sequence[Case], options: _inputs.Options) -> None:
    """A result of other files or options is not that of the case."""
    stamps = _inputs.stamps_of(options) if done else {}
    folders = {case: os.path.join(output, "cases", case.name) for case in done}
    others = {case.name: _inputs.other_inputs(folder, _inputs_of(case), options, stamps) for case, folder in folders.items()}
    said = [f"{name} ({', '.join(roles)})" for name, roles in others.items() if roles]
    if said:
        folder = os.path.basename(output)
        raise ValueError(
            f"{folder} holds results of other files or options, or does not say of which: {', '.join(said[:20])}"
            f"{f' and {len(said) - 20} more cases' if len(said) > 20 else ''}. Give the same, or another --output; "
            f"to grade these cases again, remove their folders of {folder}/cases."
        )


def _statuses_before(output: str) -> dict[str, Status]:
    """What an earlier run told of the cases that it finished."""
    try:
        with open(os.path.join(output, "status.csv"), newline="", encoding="utf-8") as file:
            return {
                row["case"]: Status(row["case"], "done", "", int(row["attempts"]), float(row["seconds"]))
                for row in csv.DictReader(file)
                if row["state"] == "done"
            }
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        return {}


def _grade_cohort(
    dask: Any,
    cohort: str,
    cases: Optional[list[Case]],
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
    if cases is None:
        table = os.path.join(output, "COHORT.csv")
        found = subprocess.run([_program.path(), "cohort", cohort, "--output", table, "--force"], env=environment)
        if found.returncode != 0:
            raise ValueError(f"No complete patient was found in {os.path.basename(cohort)}; see what is missing above.")
        cases = read_cohort(table)
    before = _statuses_before(output)
    statuses = {
        case.name: before.get(case.name, Status(case.name, "done")) if is_done(output, case.name) else Status(case.name, "waiting")
        for case in cases
    }
    finished = [case for case in cases if statuses[case.name].state == "done"]
    options = _options_of(arguments, _is_our_program(run))
    _check_arguments(output, arguments)
    _check_inputs(output, finished, options)
    write_atomically(os.path.join(output, "arguments.json"), json.dumps(list(arguments)) + "\n")
    results: dict[str, dict[str, Any]] = {}
    _write(output, cases, statuses, results)
    missing = [case for case in cases if statuses[case.name].state != "done"]
    if not missing:
        return list(statuses.values())
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
    # What a run that was killed left there goes.
    shutil.rmtree(_work_folder(output), ignore_errors=True)
    os.makedirs(_work_folder(output), exist_ok=True)
    limit = 2.0 * (estimate or 0.0) if memory_limit is None else memory_limit
    # Else the nannies give the cases variables of their own, also those of workers that come later.
    with _dask_set({} if scheduler is not None else {"distributed.nanny.pre-spawn-environ": {}}):
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
            ended = _submit(client, dask.as_completed, missing, commands, output, options, timeout, retries, limit, workers_kept.look)
            for done, status in enumerate(ended, start=1):
                if status.state == "done" and not _is_done_elsewhere(output, status.case):
                    said = "its worker left no result here; the workers must see the same folders"
                    status = dataclasses.replace(status, state="failed", reason=said)
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


def _dask_set(values: dict[str, Any]) -> Any:
    import dask

    config: Any = dask.config
    return config.set(values)


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
    options: _inputs.Options,
    timeout: float,
    retries: int,
    memory_limit: float,
    meanwhile: Callable[[], object],
) -> Iterable[Status]:
    """Statuses as they come. 'meanwhile' is called now and then while one is waited for."""
    waiting = iter(missing)
    inputs = {case.name: _inputs_of(case) for case in missing}
    names: dict[str, str] = {}
    again: set[str] = set()
    # Another cohort may run on the same scheduler, which takes equal keys for the same work.
    run = uuid.uuid4().hex
    # The caller's environment is its own: workers have theirs.
    library_folder = _program.library_folder()
    # With results: a worker may be lost with those that nobody has fetched.
    # On this client's loop: the last one that began, of another thread, may end before.
    running = as_completed(loop=client.loop, with_results=True, raise_errors=False)

    def send(name: str, attempt: int) -> None:
        future = client.submit(
            run_case,
            commands[name],
            output,
            name,
            inputs[name],
            options,
            timeout,
            retries,
            library_folder,
            memory_limit,
            pure=False,
            retries=0,
            key=f"case-{name}-{attempt}-{run}",
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
            if isinstance(error, WrongOptions):
                raise error  # as of every other case
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
    kept = ("grade", "probabilities", "verdict", "reasons", "warnings", "phantom")
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


#: Of the table in summary.html, and how the page looks: with the browser's own colours, light or dark.
_HEADS = ("case", "state", "grade", "probabilities", "grade in the table", "verdict", "reasons", "overview")
_STYLE = (
    ":root{color-scheme:light dark}body{font:15px sans-serif;margin:min(2em,4vw)}.wide{overflow-x:auto}"
    "table{border-collapse:collapse}td,th{border:1px solid #888;padding:.3em .6em;text-align:left;vertical-align:top}"
    "tbody th{font-weight:normal}img{width:240px}.tag{display:inline-block;border:1px solid #888;border-radius:4px;padding:0 .4em}"
)


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
        if result.get("phantom") is True:
            shown += ' <span class="tag">phantom, not a patient</span>'
        rows.append(
            f'<tr><th scope="row">{shown}</th><td>{html.escape(status.state)}</td><td>{grade}</td><td>{probabilities}</td>'
            f"<td>{html.escape(case.truth)}</td><td>{html.escape(str(result.get('verdict') or ''))}</td><td>{reasons}</td>"
            f"<td>{picture}</td></tr>"
        )
    done = sum(status.state == "done" for status in statuses.values())
    # What the models must not be used for, each once.
    warned = dict.fromkeys(str(w) for result in results.values() for w in result.get("warnings") or [])
    said = "".join(f"<p>{html.escape(w)}</p>\n" for w in warned if w != "Research use only.")
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Cohort (research use only)</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self'; style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head><body>\n"
        f"<h1>Cohort: {done} of {len(cases)} cases are done</h1>\n<p>Research use only. No verdict is a clinical acceptance.</p>\n{said}"
        f'<div class="wide" role="region" aria-label="The cases" tabindex="0"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div></body></html>\n"
    )
