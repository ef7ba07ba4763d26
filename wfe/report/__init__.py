"""What a run shows and records, all from the events of `core.outcome`. `choose.listeners` is the way in."""
