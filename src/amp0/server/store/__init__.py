"""The service's database: engine, schema, migrations."""
