"""API groups that the server itself serves to the API server's aggregation layer."""
