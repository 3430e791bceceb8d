"""The front door process: TLS, routing, verdicts, proxying, the tunnels' server side, the audit trail."""
