#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Compiles the module's sources once more, for their warnings alone.

  check_warnings.py BUILD SOURCES [--compiler C++ | --itk SOURCE_TREE] [--syntax-only] [--jobs N]

BUILD is a configured Ninja build; those of its compilations whose file lies under SOURCES are repeated without their
output. --itk adds the warning flags of ITK's dashboard builds, as its CMake/ITKSetStandardCompilerFlags.cmake lists
them; a build in ITK's tree has them already. --syntax-only is quicker and enough for clang; gcc finds some warnings
only while it optimises. Prints each warning in a file under SOURCES once; exit 1 where there is one or a compilation failed.
"""
import argparse
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

# Variables of that file: their flags are tried one by one, and taken where the compiler knows them.
ITK_LISTS = ("c_and_cxx_flags", "cxx_flags")


@functools.lru_cache
def flags_of_itk(tree, compiler):
    text = (pathlib.Path(tree) / "CMake" / "ITKSetStandardCompilerFlags.cmake").read_text()
    flags = ["-Wall"]
    for name in ITK_LISTS:
        body = re.search(r"set\(" + name + r"\s(.*?)\)\n", text, re.DOTALL).group(1)
        flags += re.findall(r"^\s*(-W[^\s#]+)", body, re.MULTILINE)
    known = []
    for flag in flags:
        # Unknown flags that begin with -Wno- are only complained of beside another warning.
        tried = flag.replace("-Wno-", "-W", 1)
        answer = subprocess.run([compiler, "-Werror", tried, "-x", "c++", "-fsyntax-only", os.devnull], capture_output=True)
        if answer.returncode == 0:
            known.append(flag)
    return known


def without_output(command, syntax_only):
    kept = []
    skip = False
    for word, following in zip(command, [*command[1:], ""]):
        if skip:
            skip = False
        # A precompiled header is that of one compiler, and hides a missing include.
        elif word in ("-o", "-MF", "-MT", "-MQ") or (word == "-include" and "cmake_pch" in following):
            skip = True
        elif word not in ("-MD", "-MMD", "-c"):
            kept.append(word)
    return kept + (["-fsyntax-only"] if syntax_only else ["-c", "-o", os.devnull])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("sources", type=pathlib.Path)
    parser.add_argument("--compiler")
    parser.add_argument("--itk", type=pathlib.Path)
    parser.add_argument("--syntax-only", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    sources = options.sources.resolve()
    listed = subprocess.run(["ninja", "-C", str(options.build), "-t", "compdb"], capture_output=True, text=True, check=True).stdout
    commands = {}
    for entry in json.loads(listed):
        file = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        # A precompiled header has an output that cannot be thrown away, and nothing of its own.
        is_ours = sources in file.parents and not file.name.startswith("cmake_pch")
        if is_ours and file.suffix in (".cxx", ".cpp", ".c") and " -c " in entry["command"]:
            commands.setdefault(file, (entry["directory"], shlex.split(entry["command"])))
    if not commands:
        sys.exit(f"{options.build} compiles nothing under {sources}")
    found = {}
    failed = []

    def compile_once(file):
        directory, command = commands[file]
        # ccache would print what an earlier call did.
        command = [word for word in command if os.path.basename(word) != "ccache"]
        if options.compiler:
            command[0] = options.compiler
        if options.itk:
            command += flags_of_itk(options.itk, command[0])
        answer = subprocess.run(without_output(command, options.syntax_only), cwd=directory, capture_output=True, text=True)
        return file, answer

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for file, answer in pool.map(compile_once, commands):
            if answer.returncode != 0:
                failed.append(f"{file}: {answer.stderr.strip()}")
            for line in answer.stderr.splitlines():
                match = re.match(r"(.+?):(\d+):\d+: warning: (.*)", line)
                if match and sources in pathlib.Path(os.path.normpath(os.path.join(commands[file][0], match[1]))).resolve().parents:
                    found.setdefault(line, file)
    for line in [*sorted(found), *failed]:
        print(line)
    print(f"{len(commands)} files compiled: {len(found)} warnings, {len(failed)} failures")
    sys.exit(1 if found or failed else 0)


if __name__ == "__main__":
    main()
