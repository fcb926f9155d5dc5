"""`make faults-engine`: the snapshot engine under every failing call and every damaged object."""
