"""The command line: `outrider up`, `server`, `agent`, `admin`."""
