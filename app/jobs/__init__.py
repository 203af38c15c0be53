"""Work that is done behind a request, at least once, whatever is killed: documents in MongoDB, claimed with a lease."""

from app.jobs.bell import Bell, ring
from app.jobs.kind import AT_ONCE, Kind, Task
from app.jobs.model import JobState, JobView, NewJob, order_of
from app.jobs.outcomes import DropError, GiveUpError, LostClaimError, RetryError
from app.jobs.queue import ENQUEUED_MAX, INDEXES, JOBS, Claimed, JobQueue, Place
from app.jobs.runner import Runner

__all__ = [
    "AT_ONCE",
    "ENQUEUED_MAX",
    "INDEXES",
    "JOBS",
    "Bell",
    "Claimed",
    "DropError",
    "GiveUpError",
    "JobQueue",
    "JobState",
    "JobView",
    "Kind",
    "LostClaimError",
    "NewJob",
    "Place",
    "RetryError",
    "Runner",
    "Task",
    "order_of",
    "ring",
]
