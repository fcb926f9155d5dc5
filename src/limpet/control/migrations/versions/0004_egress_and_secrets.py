"""Where an agent's sandboxes may connect to, and secrets in their environment"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("egress", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "env_secrets",
        sa.Column("org_id", sa.String(length=64), nullable=False),
        sa.Column("agent_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name=op.f("fk_env_secrets_org_id")),
        sa.PrimaryKeyConstraint("org_id", "agent_id", "name", name=op.f("pk_env_secrets")),
    )


def downgrade() -> None:
    op.drop_table("env_secrets")
    with op.batch_alter_table("agents") as agents:
        agents.drop_column("egress")
