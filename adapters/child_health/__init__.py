"""Built-in adapter: child health records from NEMS and Digital Child Health messages (STU3)."""
