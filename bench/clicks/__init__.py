"""What happens to clicks behind the journal, measured: folded, stored, seen, caught up with."""
