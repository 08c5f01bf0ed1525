"""How Alembic runs the migrations: on the connection that `service/database.py` hands it, and on no other."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
