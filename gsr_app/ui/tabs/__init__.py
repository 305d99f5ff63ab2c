"""One file per tab: layout, and handlers of one engine call each."""
