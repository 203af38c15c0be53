"""BoltLink: a URL shortener for people who run their own machines."""
