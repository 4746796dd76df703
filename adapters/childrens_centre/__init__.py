"""Built-in adapter: a children's centre's relational database, by the `sql` connector. The manifest is the whole adapter."""
