"""Prints how the latest run of a DAG ended, from Airflow's metadata database.

Usage: task_states.py DATABASE: the file of SQLite. Prints JSON:
{"run": state, "tasks": {task: [state, number of the last try], ...}}
"""

import json
import sqlite3
import sys

database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
run_id, state = database.execute("SELECT run_id, state FROM dag_run ORDER BY id DESC LIMIT 1").fetchone()
tasks = database.execute("SELECT task_id, state, try_number FROM task_instance WHERE run_id = ?", [run_id])
print(json.dumps({"run": state, "tasks": {task: [state, number] for task, state, number in tasks}}))
