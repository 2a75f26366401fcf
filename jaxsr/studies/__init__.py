"""The papers' studies: each file holds the STUDY of its name for `jaxsr reproduce`."""
