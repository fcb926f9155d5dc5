"""The sandbox's HTTP server: setup, tasks, files, shell, git, events, preview proxy, snapshots."""
