"""The link between the control process and the gateway: tagged messages over a Unix socket."""
