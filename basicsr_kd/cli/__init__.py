"""The command line `basicsr-kd`: one module a subcommand."""
