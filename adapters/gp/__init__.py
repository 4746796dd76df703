"""Built-in adapter: gp."""
