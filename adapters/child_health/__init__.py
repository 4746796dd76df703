"""Built-in adapter: child_health."""
