"""`/v1`, the shape of Steve: any kind of a cluster, as the API server describes it, as the user who asks."""
