"""Functions that make one plane of many: projections, composites. What keeps the planes apart is ``intensity``'s."""
