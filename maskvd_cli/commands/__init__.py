"""One thin file per subcommand: parse, call, print, exit code. Heavy imports wait for the call."""
