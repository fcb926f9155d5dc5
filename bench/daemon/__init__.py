"""What a daemon costs: its start and its memory."""
