"""Our API types: one declaration a kind, from which CRDs, reference pages and decoding follow."""
