"""Figures on their way to the page: printed, and put between its markers of the benchmark's name."""

import pathlib

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/performance.md"


def write(name, lines):
    text = "\n".join(lines)
    print(text)
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = PAGE.read_text().split(begin, 1)
    _, after = rest.split(end, 1)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")
