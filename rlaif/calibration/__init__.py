"""People <-> judge: how they agree, and the map that people's labels put on the judge's."""
