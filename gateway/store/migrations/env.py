"""Alembic's entry: runs on the connection that schema.py opened, or writes PostgreSQL's SQL for it."""

from alembic import context

from gateway.store.tables import METADATA

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(dialect_name="postgresql", target_metadata=METADATA, literal_binds=True, transactional_ddl=False)
else:
    context.configure(connection=connection, target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
