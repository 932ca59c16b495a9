"""The gateway beside FastAPI with aiokafka, both in front of the same Apache Kafka, in one run.

wrk drives each with 256 kept connections and one record a request; hey then holds 5,000 requests a second for the
latency. What counts is requests a CPU second of the gateway's own process: load generator and broker share the machine.
Writes between the markers of docs/performance.md.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINFLOW = os.environ.get("PINFLOW_BINARY", str(ROOT / "target/release/pinflow"))
PYTHON = ROOT / ".cache/clients/bin/python"
LIBS = ROOT / ".cache/kafka/libs"
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, check, limit=90):
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        try:
            if check():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"{what} did not come up")


def listens(port):
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def kafka(folder):
    port, controller = free_port(), free_port()
    properties = folder / "server.properties"
    properties.write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/logs
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
num.partitions=4
"""
    )
    java = ["java", "-Xmx1g", "-cp", f"{LIBS}/*"]
    tool = [*java, "kafka.tools.StorageTool", "format", "-t", "cGluZmxvdy10ZXN0LTAwMQ", "-c", str(properties)]
    subprocess.run(tool, check=True, stdout=subprocess.DEVNULL)
    log = open(folder / "kafka.log", "wb")
    broker = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    wait_for("Kafka", lambda: listens(port))
    return broker, f"127.0.0.1:{port}"


def cpu_seconds(pid):
    """User and system time of a process and its children."""
    total = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def full_speed(pid, port, form):
    before = cpu_seconds(pid)
    run = subprocess.run(
        ["wrk", "-t1", "-c256", f"-d{SECONDS}s", "--timeout", "20s", "-s", str(ROOT / "tests/bench/post.lua"), f"http://127.0.0.1:{port}"],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "FORM": form},
    )
    result = json.loads(re.search(r"RESULT (.*)", run.stdout).group(1))
    if result["errors"]:
        sys.exit(f"{result['errors']} requests failed: {run.stdout}")
    cpu = cpu_seconds(pid) - before
    return {
        "per_second": result["requests"] / result["seconds"],
        "per_cpu_second": result["requests"] / cpu,
        "p50": result["p50"],
        "p99": result["p99"],
    }


def at_rate(port, body):
    """Milliseconds of the 99th percentile, and the rate that was reached, at 5,000 requests a second."""
    run = subprocess.run(
        ["hey", "-z", f"{SECONDS}s", "-c", "100", "-q", "50", "-m", "POST", "-T", "application/json", "-D", str(body), f"http://127.0.0.1:{port}/pin/"],
        check=True, stdout=subprocess.PIPE, text=True,
    )
    percentile = {int(p): float(s) * 1e3 for p, s in re.findall(r"(\d+)%+ in ([\d.]+) secs", run.stdout)}
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", run.stdout).group(1))
    statuses = dict(re.findall(r"\[(\d+)\]\s+(\d+) responses", run.stdout))
    if set(statuses) != {"200"}:
        sys.exit(run.stdout)
    return percentile[50], percentile[99], rate


def main():
    for program in ("wrk", "hey", "java"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: run tests/setup/install.sh bench")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        processes = []
        try:
            broker, bootstrap = kafka(folder)
            processes.append(broker)
            ports = {"pinflow": free_port(), "fastapi": free_port()}
            gateway = subprocess.Popen(
                [PINFLOW, "gateway", "--listen", f"127.0.0.1:{ports['pinflow']}", "--kafka", bootstrap, "--create-topics", "--access-log", "off"],
                stderr=open(folder / "gateway.log", "wb"),
            )
            processes.append(gateway)
            ready = f"http://127.0.0.1:{ports['pinflow']}/readyz"
            wait_for("the gateway", lambda: urllib.request.urlopen(ready).status == 200)
            app = subprocess.Popen(
                [str(PYTHON), "-m", "uvicorn", "fastapi_app:app", "--port", str(ports["fastapi"]), "--no-access-log", "--log-level", "warning"],
                cwd=ROOT / "tests/bench", env={**os.environ, "KAFKA": bootstrap, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            processes.append(app)
            wait_for("FastAPI", lambda: listens(ports["fastapi"]))
            body = folder / "pin.json"
            body.write_text(json.dumps({
                "category": "finance", "index": 5730, "unique_id": "1e1f0c8b-9fcf-460b-9154-c775827206eb", "title": "Island Oasis Coupon Organizer",
                "description": "Description Coupon Organizer in a fun colorful fabric", "follower_count": "0", "tag_list": "Grocery Items",
                "is_image_or_video": "image", "image_src": "https://i.pinimg.com/x.jpg", "downloaded": 1, "save_location": "Local save in /data/finance",
            }))
            sides = {
                "pinflow, `POST /pin/`": (gateway.pid, ports["pinflow"], "item"),
                "pinflow, `POST /topics/pin`": (gateway.pid, ports["pinflow"], "rest"),
                "FastAPI + aiokafka, `POST /pin/`": (app.pid, ports["fastapi"], "item"),
            }
            runs = {side: [] for side in sides}
            for round_number in range(ROUNDS + 1):
                for side, arguments in sides.items():
                    result = full_speed(*arguments)
                    if round_number > 0:
                        runs[side].append(result)
            latency = [at_rate(ports["pinflow"], body) for _ in range(ROUNDS)]
        finally:
            # the broker last
            for process in reversed(processes):
                process.terminate()
                process.wait(30)
    middle = lambda side, field: statistics.median(run[field] for run in runs[side])
    lines = ["| | requests/s | requests a CPU second | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    for side in runs:
        lines.append(
            f"| {side} | {middle(side, 'per_second'):,.0f} | {middle(side, 'per_cpu_second'):,.0f} | {middle(side, 'p50'):.1f} | {middle(side, 'p99'):.1f} |"
        )
    ours, _, theirs = runs
    pairs = [a["per_cpu_second"] / b["per_cpu_second"] for a, b in zip(runs[ours], runs[theirs])]
    p50, p99, rate = (statistics.median(column) for column in zip(*latency))
    lines += [
        "",
        f"Requests a CPU second, `POST /pin/`, pair by pair: median {statistics.median(pairs):.1f} times FastAPI's "
        f"({min(pairs):.1f} to {max(pairs):.1f}). At {rate:,.0f} requests/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms. "
        f"256 kept connections, one record a request, acks=all, idempotent, access logs off; load generator, Kafka and gateway "
        f"share {os.cpu_count()} processors; {ROUNDS} rounds of {SECONDS} s after one that is not counted.",
    ]
    page.write("bench:gateway", lines)


if __name__ == "__main__":
    main()
