"""Worker processes in foreign environments: locked toolchains, and the programs that run jobs in them."""
