#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Counts the results in CTest's JUnit file: names what was skipped or failed, ends with 'N passed, N failed, N skipped'.

python3 count_results.py JUNIT.xml
A test that could not be started counts as failed. Exit code 1 where a test failed or none ran.
"""
import sys
import xml.etree.ElementTree as xml


def count(path):
    passed, failed, skipped = [], [], []
    for case in xml.parse(path).getroot().iter("testcase"):
        status, note = case.get("status"), case.find("skipped")
        reason = note.get("message", "") if note is not None else ""
        if status == "run":
            passed.append(case.get("name"))
        elif status == "disabled" or (status == "notrun" and reason.startswith("SKIP_")):
            skipped.append(case.get("name"))
        else:
            failed.append(case.get("name"))
    return passed, failed, skipped


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        passed, failed, skipped = count(sys.argv[1])
    except (OSError, xml.ParseError) as error:
        sys.exit(f"error: no results of CTest in {sys.argv[1]}: {error}")
    print()
    for title, names in (("Skipped", skipped), ("Failed", failed)):
        for name in names:
            print(f"{title}: {name}")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    sys.exit(1 if failed or not passed else 0)
