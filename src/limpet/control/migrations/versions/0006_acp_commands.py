"""What runs an agent that speaks the Agent Client Protocol"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("acp_command", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("agents", "acp_command")
