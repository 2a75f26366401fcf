"""Image sets, degraded pairs, the plan of patches, and two input pipelines."""
