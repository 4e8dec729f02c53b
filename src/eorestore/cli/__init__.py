"""The command line: one short function a verb, one file a group."""
