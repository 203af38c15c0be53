"""Backups of MongoDB at one point in time, and their restoration: docs/disaster-recovery.md.

zstandard is loaded with this room, so programs that make no backup do not import it.
"""

from app.backup.dump import STAGING, Dump, kept_collections
from app.backup.folder import BackupFolder, FolderAwayError
from app.backup.format import BlockReader, BlockWriter, Collection, DamagedError, Head, NewerError
from app.backup.load import (
    LEASE,
    Load,
    LoadError,
    Stage,
    Unfinished,
    abandon,
    find_unfinished,
    is_empty,
    working_programs,
)
from app.backup.moment import BACKUPS, Moment, MomentLostError
from app.backup.retention import Keep, backup_name, moment_of, parse_keep, to_remove
from app.backup.target import PART, BackupFile, TargetError
from app.backup.verify import Contents, spool, verify

__all__ = [
    "BACKUPS",
    "LEASE",
    "PART",
    "STAGING",
    "BackupFile",
    "BackupFolder",
    "BlockReader",
    "BlockWriter",
    "Collection",
    "Contents",
    "DamagedError",
    "Dump",
    "FolderAwayError",
    "Head",
    "Keep",
    "Load",
    "LoadError",
    "Moment",
    "MomentLostError",
    "NewerError",
    "Stage",
    "TargetError",
    "Unfinished",
    "abandon",
    "backup_name",
    "find_unfinished",
    "is_empty",
    "kept_collections",
    "moment_of",
    "parse_keep",
    "spool",
    "to_remove",
    "verify",
    "working_programs",
]
