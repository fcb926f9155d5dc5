"""What is kept of an org and of an agent, and when prune ran last"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orgs", sa.Column("retention", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("agents", sa.Column("retention", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "prunes",
        sa.Column("org_id", sa.String(length=64), nullable=False),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_prunes")),
    )
