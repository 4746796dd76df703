"""Built-in adapter: a local authority's Eclipse case system, asked live over GraphQL, by the `graphql` connector."""
