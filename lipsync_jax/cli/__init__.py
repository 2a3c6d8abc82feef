"""The `lipsync` command: one file per subcommand; parses, calls, prints."""
