"""Pictures of previews, taken by a browser that the control plane's machine has."""
