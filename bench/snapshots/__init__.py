"""`make bench`: snapshots of workspaces, ours beside the tools that engineers compare us with."""
