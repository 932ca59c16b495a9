"""`make bench`: pinflow beside DuckDB on a lake of a million posts, in one run, by CPU time.

Prints a table and writes it between the markers of docs/performance.md. The lake is made once, in .cache/bench.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINFLOW = os.environ.get("PINFLOW_BINARY", str(ROOT / "target/release/pinflow"))
CACHE = ROOT / ".cache/bench"
POSTS = int(os.environ.get("BENCH_POSTS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
PAGE = ROOT / "docs/performance.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def make_lake():
    lake = CACHE / f"lake-{POSTS}"
    if not (lake / "done").exists():
        subprocess.run([PINFLOW, "generate", "--posts", str(POSTS), "--seed", "7", "--lake", f"file://{lake}"], check=True)
        (lake / "done").touch()
    return lake


def pinflow(lake, out, workers, name):
    summary = out / f"{name}.json"
    subprocess.run(
        [PINFLOW, "backfill", "--lake", f"file://{lake}", "--out", str(out / name), "--summary", str(summary), "-w", str(workers)],
        check=True, stderr=subprocess.DEVNULL,
    )
    return json.loads(summary.read_text())


def duckdb(lake, out):
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests/bench/duck.py"), str(lake), str(out / "duckdb")],
        check=True, stdout=subprocess.PIPE, text=True,
    )
    return json.loads(run.stdout)


def same_answers(out):
    """The figures are worth nothing if the answers differ: medians and counts are compared row by row."""
    import csv

    for table in ("median_followers_by_age_group", "users_joined_by_year", "median_followers_by_join_year"):
        rows = []
        for folder in ("one", "duckdb"):
            with open(out / folder / f"{table}.csv", newline="") as file:
                body = list(csv.reader(file))[1:]
            rows.append(sorted([[cell if not cell.endswith(".0") else cell[:-2] for cell in row] for row in body]))
        if rows[0] != rows[1]:
            sys.exit(f"{table} differs: {rows[0][:3]} and {rows[1][:3]}")


def main():
    lake = make_lake()
    runs = {"pinflow, 1 worker": [], "pinflow, 2 workers": [], "DuckDB, 2 threads, eight queries": []}
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        for round_number in range(ROUNDS + 1):
            results = [pinflow(lake, out, 1, "one"), pinflow(lake, out, 2, "two"), duckdb(lake, out)]
            if round_number == 0:
                same_answers(out)  # and everything is in the page cache now
                continue
            for kept, result in zip(runs.values(), results):
                kept.append(result)
    middle = lambda name, field: statistics.median(run[field] for run in runs[name])
    lines = ["| | CPU s | wall s | peak RSS MiB |", "|---|---|---|---|"]
    for name in runs:
        lines.append(
            f"| {name} | {middle(name, 'cpu_seconds'):.2f} | {middle(name, 'seconds'):.2f} | {middle(name, 'peak_rss_bytes') / 2**20:.0f} |"
        )
    one, two, duck = runs
    pairs = [a["cpu_seconds"] / b["cpu_seconds"] for a, b in zip(runs[duck], runs[one])]
    faster = [a["seconds"] / b["seconds"] for a, b in zip(runs[one], runs[two])]
    lines += [
        "",
        f"DuckDB's CPU time over pinflow's, pair by pair: median {statistics.median(pairs):.2f} "
        f"({min(pairs):.2f} to {max(pairs):.2f}). Two workers over one, wall time: {statistics.median(faster):.2f}. "
        f"{POSTS:,} posts, {ROUNDS} rounds after one that is not counted, {os.cpu_count()} processors, {platform.machine()}.",
    ]
    text = "\n".join(lines)
    print(text)
    page = PAGE.read_text()
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
