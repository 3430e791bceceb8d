"""Who may do what: roles, bindings and projects, in the management cluster and in every other."""
