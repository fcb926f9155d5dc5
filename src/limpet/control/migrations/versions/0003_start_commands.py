"""What starts an agent's app, where that is not detected"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agents", sa.Column("start_command", sa.Text(), nullable=True))
