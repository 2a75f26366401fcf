"""The engine of `jaxsr reproduce`, which runs the studies of `jaxsr.studies`."""
