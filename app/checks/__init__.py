"""Whether the pages that links lead to are still there: each is asked for now and then, evenly over days."""

from app.checks.checking import KIND, Checker, CheckJob, make_page_reader
from app.checks.judging import Finding, Outcome, Verdict, is_looked_at, judge, outcome_of
from app.checks.pace import Place, next_step
from app.checks.rounds import Rounds, job_of

__all__ = [
    "KIND",
    "CheckJob",
    "Checker",
    "Finding",
    "Outcome",
    "Place",
    "Rounds",
    "Verdict",
    "is_looked_at",
    "job_of",
    "judge",
    "make_page_reader",
    "next_step",
    "outcome_of",
]
