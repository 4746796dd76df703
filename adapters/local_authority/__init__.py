"""Built-in adapter: local_authority."""
