"""Every counter and gauge: its name in the code, its name in Prometheus, what it says.

In: nothing. Out: tables that `metrics` makes its own of. Code speaks of each by its key; docs/operations.md tells
operators what it means. May import: the standard library.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["COUNTERS", "GAUGES", "CounterFamily", "GaugeFamily", "Mode"]

#: The greatest, the least or the sum of what living programs say.
Mode = Literal["max", "min", "sum"]


class CounterFamily(NamedTuple):
    """A count that never falls; Prometheus shows it with `_total` behind its name."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


class GaugeFamily(NamedTuple):
    """A value that goes up and down."""

    name: str
    text: str
    mode: Mode
    labels: tuple[str, ...] = ()


COUNTERS = {
    "redirects": CounterFamily("boltlink_redirects", "Answers to slugs.", ("outcome",)),
    "cache": CounterFamily("boltlink_cache_requests", "Look-ups of links.", ("layer", "result")),
    "journaled": CounterFamily("boltlink_clicks_journaled", "Records appended to the journal."),
    "aggregated": CounterFamily("boltlink_clicks_aggregated", "Records applied to statistics."),
    "dropped": CounterFamily("boltlink_clicks_dropped", "Records lost for want of room."),
    "set_aside": CounterFamily("boltlink_buckets_set_aside", "Buckets that MongoDB refused."),
    "given_up": CounterFamily("boltlink_journal_given_up", "Journals that a clone or an older state shared."),
    "damaged": CounterFamily("boltlink_journal_damaged", "Stretches of journal that could not be read."),
    "moved": CounterFamily("boltlink_rollup_moved", "Documents moved into days and months."),
    "removed": CounterFamily("boltlink_rollup_removed", "Days and months that retention removed."),
    "rollup_races": CounterFamily("boltlink_rollup_races", "Moves that were tried again."),
    "migrated": CounterFamily("boltlink_migrated", "Documents that a migration changed."),
    "migration_failures": CounterFamily("boltlink_migration_failures", "Documents that could not be migrated."),
    "live_published": CounterFamily("boltlink_live_published", "Visits told to those who watch."),
    "live_dropped": CounterFamily("boltlink_live_dropped", "Visits that Redis did not take in time."),
    "refused": CounterFamily("boltlink_connections_refused", "Connections over the limit, or whose bodies gave way."),
    "expired": CounterFamily("boltlink_connections_expired", "Connections ended by a time-out."),
    "store_failures": CounterFamily("boltlink_store_failures", "Look-ups that a store did not answer."),
    "limits_local": CounterFamily("boltlink_limits_local", "Limits judged by one process, Redis being away."),
    "announced": CounterFamily("boltlink_changes_announced", "Changes of links repeated in Redis."),
    "mended": CounterFamily("boltlink_changes_mended", "Changes that Redis had lost again a second later."),
    "cleared": CounterFamily("boltlink_cache_clears", "Times that all links were forgotten in Redis."),
    "jobs": CounterFamily("boltlink_jobs", "Attempts at background jobs.", ("kind", "result")),
    "spans_sent": CounterFamily("boltlink_spans_sent", "Spans that the collector of traces took."),
    "spans_dropped": CounterFamily("boltlink_spans_dropped", "Spans that it did not take."),
    "lines_dropped": CounterFamily("boltlink_log_lines_dropped", "Log lines that would have blocked."),
}

GAUGES = {
    "journal_bytes": GaugeFamily("boltlink_journal_bytes", "Journals on disk.", "max"),
    "disk_free": GaugeFamily("boltlink_disk_free_bytes", "Free on the state folder's disk.", "min"),
    "disk_size": GaugeFamily("boltlink_disk_size_bytes", "Size of that disk.", "max"),
    "journal_left": GaugeFamily("boltlink_journal_seconds_left", "Outage the journal bears.", "min"),
    "lag": GaugeFamily("boltlink_aggregation_lag_seconds", "Age of the oldest click not applied.", "max"),
    "rollup_active": GaugeFamily("boltlink_rollup_active", "Whether rollup holds its lease.", "max"),
    "migrations_pending": GaugeFamily("boltlink_migrations_pending", "Migrations under way.", "max"),
    "migration_progress": GaugeFamily("boltlink_migration_progress", "Of the pass under way.", "min"),
    "orphans": GaugeFamily("boltlink_rollup_orphan_days", "Old days that are in no month.", "max"),
    "backup_age": GaugeFamily("boltlink_backup_age_seconds", "Age of the newest scheduled backup.", "min"),
    "backup_every": GaugeFamily("boltlink_backup_every_seconds", "Time between two of them.", "min"),
    "backup_failed": GaugeFamily("boltlink_backup_failed", "Whether the last try failed.", "max"),
    "backup_seconds": GaugeFamily("boltlink_backup_seconds", "How long the last one took.", "max"),
    "backup_bytes": GaugeFamily("boltlink_backup_bytes", "Size of the newest one.", "max"),
    "store_up": GaugeFamily("boltlink_store_up", "Whether a store answers.", "min", ("store",)),
    "announcer_active": GaugeFamily("boltlink_announcer_active", "1 where the announcer works.", "max"),
    "jobs_due": GaugeFamily("boltlink_jobs_due", "Jobs that may be done now.", "max"),
    "jobs_oldest": GaugeFamily("boltlink_jobs_oldest_seconds", "For how long the first one has waited.", "max"),
    "jobs_dead": GaugeFamily("boltlink_jobs_dead", "Jobs that were given up.", "max"),
    "jobs_running": GaugeFamily("boltlink_jobs_running", "Jobs that are being done.", "sum"),
    "loop_lag": GaugeFamily("boltlink_event_loop_lag_seconds", "Worst delay of the loop.", "max"),
    "memory_limit": GaugeFamily("boltlink_memory_limit_bytes", "Of each program's own memory.", "max"),
    "connections": GaugeFamily("boltlink_connections", "Open client connections.", "sum"),
    "store_members": GaugeFamily("boltlink_store_members", "Servers of a store that are known.", "max", ("store",)),
    "store_members_up": GaugeFamily(
        "boltlink_store_members_up", "Servers of a store that are well.", "max", ("store",)
    ),
    "breaker": GaugeFamily("boltlink_store_breaker", "0 closed, 1 half-open, 2 open.", "max", ("store",)),
    "live_streams": GaugeFamily("boltlink_live_streams", "Clients that watch visits.", "sum"),
    "hot_links": GaugeFamily("boltlink_hot_links", "Links in memory.", "sum"),
}
