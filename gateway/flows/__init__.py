"""One straight line per file, all of the same steps. A flow is the only door to the database and to the sources."""
