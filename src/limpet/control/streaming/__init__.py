"""Many event streams over one WebSocket: what a browser with many tabs holds open."""
