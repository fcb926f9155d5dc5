"""Real processes and a real browser through the whole main job."""
