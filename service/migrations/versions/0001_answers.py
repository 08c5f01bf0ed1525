"""The book's table.

A migration only ever adds: what a museum has gathered is not ours to drop.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("hour", sa.DateTime(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in _NAMES),
        sa.Column("score", sa.Double(), nullable=False),
        *(sa.Column(name, sa.Double()) for name in ("gate_ms", "first_word_ms", "total_ms")),
        *(sa.Column(name, sa.String()) for name in ("fact_check", "fact", "rating", "question", "answer")),
    )
    op.create_index("ix_answers_hour", "answers", ["hour"])


_NAMES = ("topic", "release", "outcome", "source", "lang", "kind")
