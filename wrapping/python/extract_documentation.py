# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Takes the class comments and parameters of headers, for help() in Python.

extract_documentation.py OUTPUT HEADER...
"""

import re
import sys


def plain(comment: str) -> str:
    """A doxygen comment without its marks."""
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in comment.strip().removeprefix("/**").removesuffix("*/").split("\n")]
    text = "\n".join(lines)
    text = re.sub(r"\\(class \w+|ingroup \w+|f[$\[\]]|brief )", "", text)
    text = re.sub(r"\\par (\w+)", r"\1:", text)
    text = re.sub(r"\\(sa|a) ", lambda m: "See " if m.group(1) == "sa" else "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def document(name: str, source: str) -> str:
    """The comment of a class, and its parameters with theirs."""
    described = re.search(r"/\*\* \\class " + name + r"\n.*?\*/", source, re.DOTALL)
    if described is None:
        sys.exit(f"extract_documentation.py: the header of {name} has no class comment")
    text = plain(described.group(0))
    setters = re.findall(r"(/\*\*(?:(?!\*/).)*\*/)\s*itkSet(?:Const|Enum|Object|Input|String|Clamp)*Macro\((\w+)", source, re.DOTALL)
    if setters:
        text += "\n\nParameters:\n"
    for comment, parameter in setters:
        words = re.sub(r"\s+", " ", plain(comment))
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parameter).lower()
        text += f"\n    {snake}: {words}"
    return text


def main() -> None:
    output, headers = sys.argv[1], sys.argv[2:]
    classes = {}
    for header in headers:
        match = re.search(r"itk(\w+)\.h$", header)
        if match is None:
            sys.exit(f"extract_documentation.py: {header} is no header of a class")
        with open(header, encoding="utf-8") as file:
            classes[match.group(1)] = document(match.group(1), file.read())
    with open(output, "w", encoding="utf-8") as file:
        file.write('"""Written by extract_documentation.py."""\n\nCLASSES: dict[str, str] = ' + repr(classes) + "\n")


if __name__ == "__main__":
    main()
