"""Every day: audit the lake, compact it, compute the result tables from it, and verify them.

The DAG takes the place of one that starts a Databricks notebook. It needs Airflow 2.10 or 3, no further provider
package, and `pinflow` on the workers; docs/airflow.md describes how it is set up and what each exit code does.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any

import airflow

try:
    from airflow.providers.standard.hooks.subprocess import SubprocessHook
    from airflow.sdk import DAG, BaseOperator
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.models import BaseOperator
try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

# Read whenever Airflow parses this file, so these are variables of the environment and not of Airflow.
USER_ID = os.environ.get("PINFLOW_USER_ID", "pinflow")
RETRY_DELAY = timedelta(seconds=float(os.environ.get("PINFLOW_RETRY_SECONDS", "120")))
# A switch before Airflow 3.2, then the factor between two delays.
BACKOFF = 2.0 if tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 2) else True

# Exit codes of every command of pinflow; all others fail a try.
DONE, USAGE, FENCED = 0, 2, 3


class PinflowOperator(BaseOperator):
    """Runs one command of pinflow to its end; the output of the command becomes the log of the task.

    Exit code 0 is success. 3 (another run holds the schema) skips the task. 2 (wrong usage or configuration), or a
    program that cannot be started, fails it at once. Everything else, the end by a signal included, fails this try:
    Airflow retries it.
    """

    ui_color = "#e8f1ee"

    def __init__(self, *, command: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.command = command

    @cached_property
    def process(self) -> SubprocessHook:
        """The process, in a group of its own."""
        return SubprocessHook()

    def execute(self, context: Any) -> None:
        """Runs the command, with settings that are read now: a change needs no new DAG."""
        variables = context["var"]["value"]
        program = variables.get("pinflow_binary", "pinflow")
        config = variables.get("pinflow_config", "/etc/pinflow/pinflow.toml")
        # in the environment and not on the command line, which every user of the worker can read
        environment = dict(os.environ)
        if connection := context["conn"].get("pinflow_postgres", None):
            environment["PINFLOW__POSTGRES__URL"] = connection.get_uri()
        if schema := variables.get("pinflow_schema", None):
            environment["PINFLOW__POSTGRES__SCHEMA"] = schema
        try:
            code = self.process.run_command([program, self.command, "--config", config], env=environment).exit_code
        except OSError as error:
            raise AirflowFailException(f"cannot start {program}: {error}") from error
        if code == FENCED:
            raise AirflowSkipException("another run holds the schema: exit code 3")
        if code == USAGE:
            raise AirflowFailException("wrong usage or configuration, a retry does not help: exit code 2")
        if code != DONE:
            raise AirflowException(f"pinflow {self.command} failed: exit code {code}")

    def on_kill(self) -> None:
        """SIGTERM to the command when the task is cleared, marked or timed out; pinflow may be stopped at any time."""
        self.process.send_sigterm()


with DAG(
    dag_id=f"{USER_ID}_dag",
    description="pinflow: exact result tables from the lake",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # only one compaction may run at a time, and a second backfill would be skipped
    max_active_runs=1,
    default_args={
        "owner": USER_ID,
        "depends_on_past": False,
        "retries": 3,
        "retry_delay": RETRY_DELAY,
        "retry_exponential_backoff": BACKOFF,
        "max_retry_delay": timedelta(minutes=30),
    },
    tags=["pinflow"],
) as dag:
    audit = PinflowOperator(task_id="audit", command="audit")
    compact = PinflowOperator(task_id="compact", command="compact")
    backfill = PinflowOperator(task_id="backfill", command="backfill")
    # also after a skipped backfill: then a live run writes the tables, and these are verified
    verify = PinflowOperator(task_id="verify", command="verify", trigger_rule="none_failed")
    audit >> compact >> backfill >> verify
