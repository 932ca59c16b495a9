"""Speed of the archiver against the S3 server of the tests and Apache Kafka, and of an audit of a million objects.

Prints a table and writes it between the markers of docs/performance.md. Needs the program and the example `servers`
in the same profile: `cargo build --release --workspace --bins` (make bench).
"""

import json
import os
import pathlib
import platform
import subprocess
import tempfile
import time

import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PINFLOW = os.environ.get("PINFLOW_BINARY", str(TARGET / "pinflow"))
SERVERS = os.environ.get("SERVERS_BINARY", str(TARGET / "servers"))
SMALL = int(os.environ.get("BENCH_SMALL", "20000"))
LARGE = int(os.environ.get("BENCH_LARGE", "1000000"))
OBJECTS = int(os.environ.get("BENCH_OBJECTS", "1000000"))
BYTES = 300


def run(arguments, environment):
    """Wall seconds, CPU seconds, peak memory in MiB and standard output of a command."""
    began = time.monotonic()
    process = subprocess.Popen([PINFLOW, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"pinflow {arguments} ended with {process.returncode}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output, process.returncode


def archive(records, flush, topic):
    servers = subprocess.Popen([SERVERS, str(records), str(BYTES), topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        found = json.loads(servers.stdout.readline())
        environment = {**os.environ, **found["environment"]}
        places = ["--lake", "s3://bench", "--s3-endpoint", found["s3"], "--topics", f"pin={topic}"]
        wall, cpu, memory, output, code = run(
            ["archive", "--once", "--flush-size", str(flush), "--rotate-schedule-interval-ms", "-1", "--kafka", found["kafka"], *places],
            environment,
        )
        assert code == 0 and f"archived {records} records" in output, output
        objects = int(output.split(" records in ")[1].split()[0])
        return wall, cpu, memory, objects
    finally:
        servers.stdin.close()
        servers.wait()


def audit(folder):
    """A folder of a million objects with one record each, one of them gone."""
    objects = pathlib.Path(folder) / "topics/pin/partition=0"
    objects.mkdir(parents=True)
    line = b'{"index":1,"category":"art"}\n'
    for start in range(OBJECTS):
        if start != OBJECTS // 2:
            with open(objects / f"pin+0+{start:010}.json", "wb") as file:
                file.write(line)
    # with what an earlier one left in the caches of the system
    wall, cpu, memory, output, code = run(["audit", "--json", "--topics", "pin=pin", "--lake", f"file://{folder}"], dict(os.environ))
    report = json.loads(output)["partitions"][0]
    middle = OBJECTS // 2
    assert code == 1 and [(gap["from"], gap["to"]) for gap in report["gaps"]] == [(middle, middle + 1)], output
    return wall, cpu, memory


def main():
    lines = ["| | records/s | objects/s | wall s | CPU s | peak RSS MiB |", "|---|---|---|---|---|---|"]
    for name, records, flush in (("archive, `flush.size=1`", SMALL, 1), ("archive, `flush.size=10000`", LARGE, 10_000)):
        wall, cpu, memory, objects = archive(records, flush, "pin")
        lines.append(f"| {name} | {records / wall:,.0f} | {objects / wall:,.0f} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        wall, cpu, memory = audit(folder)
    lines.append(f"| audit of {OBJECTS:,} objects in a folder | | {OBJECTS / wall:,.0f} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |")
    lines += [
        "",
        f"Records of {BYTES} bytes in one partition; the start of the program, its questions and its last commit are in the "
        f"times. {os.cpu_count()} processors, shared with Kafka and the S3 server, {platform.machine()}.",
    ]
    page.write("bench:archive", lines)


if __name__ == "__main__":
    main()
