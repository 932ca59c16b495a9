"""`make bench`: pinflow beside DuckDB on a lake of a million posts, by CPU time, and pinflow on live Kafka.

Prints tables and writes them between the markers of docs/performance.md. The lake is made once, in .cache/bench.
`bench.py replay` and `bench.py live` make one of them.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINFLOW = os.environ.get("PINFLOW_BINARY", str(ROOT / "target/release/pinflow"))
CACHE = ROOT / ".cache/bench"
POSTS = int(os.environ.get("BENCH_POSTS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
LIVE = os.environ.get("LIVE_BINARY", str(ROOT / "target/release/live"))


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


def replay():
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
    page.write("bench", lines)


def live():
    runs = []
    for cleaned in ("off", "postgres"):
        command = [LIVE, "--posts", str(POSTS), "--cleaned", cleaned]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PINFLOW_BINARY": PINFLOW})
        runs.append(json.loads(run.stdout))
    head = "| | " + " | ".join(f"`--cleaned {run['cleaned']}`" for run in runs) + " |"
    row = lambda name, show: f"| {name} | " + " | ".join(show(run) for run in runs) + " |"
    page.write("bench:live", [
        head,
        "|---" * (len(runs) + 1) + "|",
        row(f"backlog of {runs[0]['backlog_records']:,} records, records/s", lambda run: f"{run['drain_records_per_second']:,.0f}"),
        row("the same, records a CPU second", lambda run: f"{run['backlog_records'] / run['drain_cpu_seconds']:,.0f}"),
        row("resident after it, MiB", lambda run: f"{run['resident_bytes'] / 2**20:.0f}"),
        row(f"produce → visible at {runs[0]['rate']:,.0f} records/s, p50 / p99 / max, ms",
            lambda run: " / ".join(f"{run['fresh_ms'][p]:.1f}" for p in ("p50", "p99", "max"))),
        row("the broker's own acknowledgement, p50 / p99 / max, ms",
            lambda run: " / ".join(f"{run['ack_ms'][p]:.1f}" for p in ("p50", "p99", "max"))),
        row("commits a second", lambda run: f"{run['commits_seen_per_second']:.0f}"),
        row("CPU of the engine, share of one processor", lambda run: f"{run['live_cpu_seconds'] / run['live_seconds']:.2f}"),
        "",
        f"{POSTS:,} posts loaded, all ten results in each transaction; Apache Kafka, PostgreSQL, the producer and the "
        f"reader share the {os.cpu_count()} processors with the engine. {runs[0]['live_seconds']} s at that rate, of which "
        f"the first {runs[0]['warm_up_seconds']} are not counted"
        + ("; the kernel's autogroups are off." if runs[0]["autogroups_off"] else "."),
    ])


def main():
    parts = {"replay": replay, "live": live}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
