"""Which kind of report a run has, and which page goes with it."""

from __future__ import annotations

import json
from typing import TypeAlias

from ssl_dask.report.html_page import render_page
from ssl_dask.report.run_report import RunReport
from ssl_dask.report.value_page import render_value_page
from ssl_dask.report.value_report import ValueReport

AnyReport: TypeAlias = RunReport | ValueReport


def read_report(text: str) -> AnyReport:
    """Read a report of any kind back.

    Raises
    ------
    ValueError
        It is no report of this version.
    """
    content = json.loads(text)
    numbers = isinstance(content, dict) and content.get("target") == "numbers"
    return ValueReport.from_json(text) if numbers else RunReport.from_json(text)


def render_report(report: AnyReport) -> str:
    """Return the page of a run, a few hundred kilobytes of HTML."""
    return render_page(report) if isinstance(report, RunReport) else render_value_page(report)
