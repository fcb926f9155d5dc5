"""Every way the main job is broken on purpose; after each the old state is whole."""
