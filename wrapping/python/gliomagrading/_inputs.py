# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""From which files a case was graded.

inputs.json in its folder holds, for each input, the digest of result.json and a stamp (of paths, sizes and times): where
the stamp is the same nothing is read, else the digest decides. Both are hashes, since results are passed on and folders
may be called like patients. "options" holds the same of each option: of its words, and of the files where one that takes
a path names some.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import tempfile
from typing import Any, Callable
from collections.abc import Iterator, Mapping, Sequence

Record = dict[str, Any]
#: The words of each option.
Options = Mapping[str, Sequence[str]]

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


def options_of(arguments: Sequence[str]) -> dict[str, list[str]]:
    """The words of a command line by their options."""
    options: dict[str, list[str]] = {}
    name = ""
    for word in arguments:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options.setdefault(name, []).extend([value] if equals else [])
        else:
            options.setdefault(name, []).append(word)
    return options


def _files_below(folder: str, above: Sequence[str] = ()) -> Iterator[str]:
    """What a folder and those in it hold, links followed, but for hidden names."""
    place = os.path.realpath(folder)
    if place in above:  # a link that leads back
        return
    with contextlib.suppress(OSError):  # no folder, or none for us
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.path.isdir(path) and not name.startswith("."):
                yield from _files_below(path, [*above, place])
            elif not name.startswith("."):
                yield path


def _files_of_bundle(bundle: str) -> list[str]:
    """What the program loads: its model card or a file of Finder's changes nothing."""
    manifest, sidecar = (os.path.join(bundle, *names) for names in (("configs", "metadata.json"), ("gliomagrading.json",)))
    files = {manifest, sidecar, *_files_below(os.path.join(bundle, "models"))}
    for said in (_read(manifest).get("gliomagrading"), _read(sidecar)):
        weights = said.get("weights") if isinstance(said, dict) else None
        name = weights.get("file") if isinstance(weights, dict) else None
        if isinstance(name, str) and name and "\0" not in name:
            files.add(os.path.normpath(os.path.join(bundle, name)))
    # What cannot be read here the program cannot read either, and says so where it needs it.
    return sorted(file for file in files if os.path.isfile(file) and os.access(file, os.R_OK))


def _files_of_word(word: str) -> list[str]:
    is_bundle = os.path.exists(os.path.join(word, "configs", "metadata.json"))
    return _files_of_bundle(word) if is_bundle else files_of(word)


def _names_files(name: str, word: str) -> bool:
    """A word of another option may be called like a file that lies where this runs."""
    return re.fullmatch(r"--(.+-(model|mask)|regions)", name) is not None and os.path.exists(word)


#: An option and its words.
Option = tuple[str, Sequence[str]]


def _stamp_of_option(option: Option) -> str:
    name, words = option
    told = [_stamp(_files_of_word(word)) if _names_files(name, word) else "" for word in words]
    return hashlib.sha256(json.dumps([list(words), told]).encode()).hexdigest()


def stamps_of(options: Options) -> dict[str, str]:
    """Of each option, as its files are now."""
    return {option[0]: _stamp_of_option(option) for option in options.items()}


#: Every case has the same options.
_digests_of_options: dict[tuple[str, str], str] = {}


def _digest_of_option(option: Option, stamp: str = "") -> str:
    """The stamp where it is known."""
    name, words = option
    key = name, stamp or _stamp_of_option(option)
    if key not in _digests_of_options:
        told = [
            [[os.path.relpath(file, word), _sha256(file)] for file in _files_of_word(word)] if _names_files(name, word) else word
            for word in words
        ]
        _digests_of_options[key] = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return _digests_of_options[key]


def _stamp_of_input(path: str) -> str:
    return _stamp(files_of(path))


def _digest_of_input(path: str) -> str:
    return _digest(files_of(path))


def _entry(source: Any, stamp: Callable[[Any], str], digest: Callable[[Any], str]) -> dict[str, str]:
    # The stamp comes first: what changes while it is read has another one.
    return {"stamp": stamp(source), "sha256": digest(source)}


def record(inputs: Mapping[str, str], options: Options) -> Record:
    """Of the files by their roles and of the options, as they are now."""
    made: Record = {role: _entry(path, _stamp_of_input, _digest_of_input) for role, path in inputs.items()}
    made["options"] = {option[0]: _entry(option, _stamp_of_option, _digest_of_option) for option in options.items()}
    return made


def _differs(before: Any, now: str, source: Any, digest: Callable[[Any], str]) -> bool:
    return not isinstance(before, dict) or (before.get("stamp") != now and before.get("sha256") != digest(source))


def changed_since(before: Record, inputs: Mapping[str, str], options: Options) -> list[str]:
    """The roles and options whose files are no longer as they were."""
    said = before["options"]
    return [
        *(role for role, path in inputs.items() if _differs(before[role], _stamp_of_input(path), path, _digest_of_input)),
        *(option[0] for option in options.items() if _differs(said[option[0]], _stamp_of_option(option), option, _digest_of_option)),
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


def says_its_options(folder: str) -> bool:
    """Whether the record of a result is none of an earlier version, which left the options out."""
    return isinstance(_told(folder).get("options"), dict)


def _compare(
    told: Record, sources: Mapping[str, Any], stamp: Callable[[Any], str], digest: Callable[[Any], str]
) -> tuple[Record, list[str]]:
    """The record with the stamps of now, and where it says something else."""
    now: Record = {}
    others: list[str] = []
    for name, source in sources.items():
        before: Any = told.get(name)
        here = stamp(source)
        if _differs(before, here, source, digest):
            others.append(name)
        else:
            now[name] = {"stamp": here, "sha256": str(before.get("sha256"))}
    return now, others


def other_inputs(folder: str, inputs: Mapping[str, str], options: Options, stamps: Mapping[str, str]) -> list[str]:
    """The roles and options whose files are not those of the result in a folder, or that it says nothing of.

    stamps: of the options, which are those of every case.
    """
    told = _told(folder)
    said = told.pop("options", None)
    others = [role for role in told if role not in inputs and f"--{role}" not in options]
    now, changed = _compare(told, inputs, _stamp_of_input, _digest_of_input)
    others += changed
    if isinstance(said, dict):
        others += [name for name in said if name not in options]
        given: Mapping[str, Option] = {option[0]: option for option in options.items()}
        now["options"], changed = _compare(
            said, given, lambda option: stamps[option[0]], lambda option: _digest_of_option(option, stamps[option[0]])
        )
        others += changed
        told["options"] = said
    if not others and now != told:
        write_record(folder, now)  # so that the next run need not read them
    return others
