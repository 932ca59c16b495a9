"""`make bench`: pinflow beside DuckDB on a lake of a million posts, by CPU time, and pinflow on live Kafka.

Prints tables and writes them between the markers of docs/performance.md, and draws docs/live.svg. The lake is made once, in .cache/bench.
`bench.py replay`, `bench.py live` and `bench.py http`, the cost of the HTTP API, make one of them.
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
LIVE_ROUNDS = int(os.environ.get("BENCH_LIVE_ROUNDS", "3"))
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
    """Each scenario so many times, in turn; of every figure the median."""
    runs = {}
    for _ in range(LIVE_ROUNDS):
        command = [LIVE, "--posts", str(POSTS)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PINFLOW_BINARY": PINFLOW})
        for line in run.stdout.splitlines():
            scenario = json.loads(line)
            runs.setdefault(scenario["scenario"], []).append(scenario)
    one = runs["quiet"][0]

    def median(name, *path):
        def of(run):
            for step in path:
                run = run and run.get(step)
            return run

        values = [of(run) for run in runs[name]]
        return None if None in values else statistics.median(values)

    def three(name, what):
        values = [median(name, what, p) for p in ("p50", "p95", "p99")]
        return "" if None in values else " / ".join(f"{value:.1f}" for value in values)

    titles = {
        "quiet": "quiet, 10,000 records/s",
        "busy": "busy, 10,000 records/s",
        "busy-notify": "the same, the reader waits for `NOTIFY`",
        "busy-3000": "busy, 3,000 records/s",
        "busy-3000-cleaned": "the same with `--cleaned postgres`",
        "busy-consumer": "busy, a plain librdkafka consumer instead",
        "busy-nobody": "busy, nobody consumes",
        "idle": "nothing arrives",
    }
    lines = [
        "| | visible p50 / p95 / p99, ms | broker's ack p50 / p95 / p99, ms | cores: engine | PostgreSQL | Kafka | commits/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in titles.items():
        cores = [f"{median(name, 'cores', of):.3f}" for of in ("consumer", "postgres", "kafka")]
        lines.append(
            f"| {title} | {three(name, 'visible_ms')} | {three(name, 'ack_ms')} | "
            + " | ".join(cores) + f" | {median(name, 'commits_per_second'):.0f} |"
        )
    lines += [
        "",
        "![Latency by share of the records](live.svg)",
        "",
        "| | `--cleaned off` | `--cleaned postgres` |",
        "|---|---|---|",
    ]
    backlog = ("quiet", "busy-3000-cleaned")
    for title, path, show in (
        ("backlog, records", "backlog_records", "{:,.0f}"),
        ("records/s", "drain_records_per_second", "{:,.0f}"),
        ("records a CPU second", "drain_records_per_cpu_second", "{:,.0f}"),
        ("resident after it, bytes", "resident_bytes", "{:,.0f}"),
    ):
        lines.append(f"| {title} | " + " | ".join(show.format(median(name, path)) for name in backlog) + " |")
    lines += [
        "",
        f"Medians of {LIVE_ROUNDS} runs. {POSTS:,} posts loaded; {one['seconds']} s at that rate after {one['warm_up_seconds']} that "
        f"are not counted; {os.cpu_count()} processors, {platform.machine()}"
        + ("; the kernel's autogroups are off." if one["autogroups_off"] else "."),
    ]
    page.write("bench:live", lines)
    draw(runs, titles)


def http():
    """What a thousand streams cost beside live records, and requests a second, the clients on the same machine."""
    command = [LIVE, "http", "--posts", str(POSTS)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PINFLOW_BINARY": PINFLOW})
    figures = json.loads(run.stdout)
    rounds = figures["rounds"]
    # what the first clients take is new; later ones may take what these left
    first = rounds[0]["elsewhere"]
    a_client = (first["resident_bytes"] - first["resident_bytes_before"]) / figures["streams"]

    def median(case, of):
        return statistics.median(of(each[case]) for each in rounds)

    def streams(case):
        """How much the p99 grows by the streams, and what a client gets of them: two cells."""
        if case == "alone":
            return " | "
        ratios = [of[case]["commit_ms"]["p99"] / of["alone"]["commit_ms"]["p99"] for of in rounds]
        rates = [of[case]["clients"]["events_per_second"] for of in rounds]
        return (
            f"{statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}) | "
            f"{statistics.median(of['p50'] for of in rates):.1f} / {min(value for of in rates for _, value in of['curve']):.1f}"
        )

    clients = f"the same, {figures['streams']:,} clients of the event stream"
    page.write("bench:http", [
        "| | engine, cores | commit p50 / p99, ms | p99 over that without clients, median (rounds) | events/s of a client, median / least |",
        "|---|---|---|---|---|",
        *(
            f"| {title} | {median(case, lambda of: of['engine_cores']):.2f} | {median(case, lambda of: of['commit_ms']['p50']):.1f} / "
            f"{median(case, lambda of: of['commit_ms']['p99']):.1f} | {streams(case)} |"
            for title, case in (
                ("10,000 records/s", "alone"),
                (f"{clients}, which run when a processor is idle", "elsewhere"),
                (f"{clients}, of ordinary priority", "beside"),
            )
        ),
        "",
        "| | requests/s | engine, cores |",
        "|---|---|---|",
        f"| a table of {figures['rows']['rows']:,} rows | {figures['rows']['per_second']:,.0f} | {figures['rows']['engine_cores']:.2f} |",
        f"| the same with `If-None-Match`, 304 | {figures['not_modified']['per_second']:,.0f} | {figures['not_modified']['engine_cores']:.2f} |",
        "",
        f"Medians of {len(rounds)} rounds. The process grew by {a_client / 1024:.0f} KiB a client. "
        f"{POSTS:,} posts loaded; {os.cpu_count()} processors, shared with the clients, Kafka and PostgreSQL, {platform.machine()}.",
    ])


def draw(runs, titles):
    """The curves of the runs in the middle, by p99, on the scale of nines."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pinflow", "font.family": "sans-serif"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for name, what, style in (
        ("quiet", "visible_ms", "-"), ("busy", "visible_ms", "-"), ("busy-3000", "visible_ms", "-"),
        ("busy", "ack_ms", ":"), ("busy-consumer", "ack_ms", ":"), ("busy-nobody", "ack_ms", ":"),
    ):
        ordered = sorted(runs[name], key=lambda run: run[what]["p99"])
        curve = ordered[len(ordered) // 2][what]["curve"]
        label = titles[name] + (": visible" if what == "visible_ms" else ": broker's ack")
        axes.plot([1 / (1 - share) for share, _ in curve], [value for _, value in curve], style, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    shares = {1: "0", 2: "50 %", 10: "90 %", 100: "99 %", 1000: "99.9 %"}
    axes.set_xticks(list(shares), list(shares.values()))
    axes.minorticks_off()
    axes.set_xlabel("share of the records")
    axes.set_ylabel("milliseconds since the record was sent")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(page.PAGE.with_name("live.svg"), metadata={"Date": None})


def main():
    parts = {"replay": replay, "live": live, "http": http}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
