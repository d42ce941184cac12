"""psycopg's pool with a secret that rotates."""

import psycopg
from psycopg_pool import ConnectionPool


def is_refused(error):
    """A wrong password (28P01). libpq gives a failed login no SQLSTATE, so that only its words tell (with `lc_messages` in English)."""
    return isinstance(error, psycopg.OperationalError) and "authentication failed" in str(error)


def pool(secret, conninfo="", **options):
    """`options` are those of psycopg_pool. With `max_lifetime`, old connections end by themselves, never in the middle of a query."""

    class Connection(psycopg.Connection):
        @classmethod
        def connect(cls, conninfo="", **given):
            def with_document(document):
                user, password = document["username"], document["password"]
                return super(Connection, cls).connect(conninfo, **given, user=user, password=password)

            return secret.connect(with_document, is_refused)

    return ConnectionPool(conninfo, connection_class=Connection, **options)
