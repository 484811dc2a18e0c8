# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""From which files a case was graded.

inputs.json in its folder holds, for each input, the digest of result.json and a stamp (of paths, sizes and times): where
the stamp is the same nothing is read, else the digest decides. Both are hashes, since results are passed on and folders
may be called like patients.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import tempfile
from typing import Any
from collections.abc import Mapping, Sequence

Record = dict[str, dict[str, str]]

#: Of the inputs of a case, in result.json.
ROLES = ("T1", "T1c", "T2", "FLAIR", "brain-mask")


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


def _voxel_files(path: str) -> list[str]:
    """Where the voxels of a header lie that holds none itself."""
    folder, name = os.path.split(path)
    pair = re.fullmatch(r"(.+)\.(?:hdr|img)(?:\.gz)?", name, re.IGNORECASE)
    if pair:
        beside = glob.glob(os.path.join(glob.escape(folder), glob.escape(pair[1]) + ".*"))
        return [file for file in beside if re.search(r"\.(hdr|img)(\.gz)?$", file, re.IGNORECASE)]
    if not re.search(r"\.(mha|mhd|nhdr|nrrd)$", name, re.IGNORECASE):
        return []
    with open(path, "rb") as file:
        header = os.fsdecode(file.read(1 << 20)).replace("\r\n", "\n")
    found = re.search(r"^(?:ElementDataFile\s*=|data ?file:)[ \t]*(.*)$", header, re.IGNORECASE | re.MULTILINE)
    if not found or found[1].strip().upper() == "LOCAL" or (header.startswith("NRRD") and "\n\n" in header[: found.start()]):
        return []
    voxels = os.path.join(folder, found[1].strip())
    return [voxels] if os.path.isfile(voxels) else []  # the program refuses lists and patterns


def files_of(path: str) -> list[str]:
    """The files of a folder, or a file and those that it names."""
    if os.path.isdir(path):
        return sorted(entry.path for entry in os.scandir(path) if entry.is_file() and not entry.name.startswith("."))
    return sorted({path, *_voxel_files(path)})


def _stamp(files: Sequence[str]) -> str:
    told: list[Any] = []
    for file in files:
        said = os.stat(file)
        # The time of the last change tells of a copy that was given the old times.
        told.append([file, said.st_size, said.st_mtime_ns, said.st_ctime_ns])
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _sha256(file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _digest(files: Sequence[str]) -> str:
    """As in result.json."""
    if len(files) == 1:
        return _sha256(files[0])
    text = b"".join(_sha256(file).encode() + b"  " + os.fsencode(os.path.basename(file)) + b"\n" for file in sorted(files))
    return hashlib.sha256(text).hexdigest()


def record(inputs: Mapping[str, str]) -> Record:
    """Of the files by their roles, as they are now."""
    made: Record = {}
    for role, path in inputs.items():
        files = files_of(path)
        # The stamp comes first: what changes while it is read has another one.
        made[role] = {"stamp": _stamp(files), "sha256": _digest(files)}
    return made


def changed_since(before: Record, inputs: Mapping[str, str]) -> list[str]:
    """The roles whose files are no longer as they were."""
    return [
        role
        for role, path in inputs.items()
        if _stamp(files_of(path)) != before[role]["stamp"] and _digest(files_of(path)) != before[role]["sha256"]
    ]


def write_record(folder: str, made: Record) -> None:
    write_atomically(os.path.join(folder, "inputs.json"), json.dumps(made, indent=2) + "\n")


def _read(path: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        said = json.load(file)
        if isinstance(said, dict):
            return said
    return {}


def _told(folder: str) -> dict[str, Any]:
    """The record of a result, or what result.json says where an earlier version wrote none."""
    said = _read(os.path.join(folder, "inputs.json"))
    if said:
        return said
    document: Any = _read(os.path.join(folder, "result.json"))
    for key in ("provenance", "inputs"):
        document = document.get(key) if isinstance(document, dict) else None
    if not isinstance(document, dict):
        return {}
    return {role: document[role] for role in ROLES if role in document}


def other_inputs(folder: str, inputs: Mapping[str, str], of_the_options: Sequence[str] = ()) -> list[str]:
    """The roles whose files are not those of the result in a folder, or that it says nothing of."""
    told = _told(folder)
    others = [role for role in told if role not in inputs and role not in of_the_options]
    now: Record = {}
    for role, path in inputs.items():
        before = told.get(role)
        files = files_of(path)
        stamp = _stamp(files)
        if not isinstance(before, dict):
            others.append(role)
        elif before.get("stamp") == stamp:
            now[role] = {"stamp": stamp, "sha256": str(before.get("sha256"))}
        elif before.get("sha256") == _digest(files):
            now[role] = {"stamp": stamp, "sha256": str(before["sha256"])}
        else:
            others.append(role)
    if not others and now != told:
        write_record(folder, now)  # so that the next run need not read them
    return others
