"""The report: results.json, report.html and its pictures, and the table for the terminal."""

from experiments.report.build import Report, build_report, read_spec, write_spec
from experiments.report.terminal import print_summary

__all__ = ["Report", "build_report", "print_summary", "read_spec", "write_spec"]
