"""Who sees a sandbox's preview"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sandboxes", sa.Column("preview_access", sa.String(length=16), nullable=True))
    op.add_column(
        "sandboxes", sa.Column("preview_epoch", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "sandboxes", sa.Column("preview_links_until", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("sandboxes", "preview_links_until")
    op.drop_column("sandboxes", "preview_epoch")
    op.drop_column("sandboxes", "preview_access")
