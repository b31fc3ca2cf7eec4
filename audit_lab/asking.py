"""SQL over the tables of a lab: it can read nothing else and write nothing."""

from __future__ import annotations

import duckdb
import polars as pl

from audit_lab import duck, tables
from audit_lab.errors import InputError
from audit_lab.store import Store


def ask(store: Store, query: str) -> pl.DataFrame:
    """Return the result of a DuckDB query in which every table of the contract is a view.

    Files outside the lab's folder, other databases, extensions and settings are out of reach.

    Raises
    ------
    InputError
        When the query is wrong.
    """
    connection = duck.connect(files=True)
    try:
        for name in tables.TABLES:
            files = store.files(name)
            if files:
                listed = ", ".join("'" + str(path.resolve()).replace("'", "''") + "'" for path in files)
                connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}])")
            else:
                connection.register(name, tables.empty(name).to_arrow())
        root = str(store.root.resolve()).replace("'", "''")
        connection.execute(f"SET allowed_directories = ['{root}']")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return duck.query(connection, query)
    except duckdb.Error as error:
        raise InputError(f"SQL: {str(error).splitlines()[0]}", "tables: " + ", ".join(tables.TABLES)) from None
    finally:
        connection.close()
