"""SQLAlchemy with a secret that rotates: PostgreSQL by psycopg, MySQL and MariaDB by PyMySQL."""

import sqlalchemy


def is_refused(error):
    """1045 and 1698 of MySQL and MariaDB; 28P01 of PostgreSQL, which psycopg tells by words alone."""
    code = error.args[0] if error.args else None
    return code in (1045, 1698) or "authentication failed" in str(error)


def engine(secret, url, **options):
    """`url` has neither user nor password. With `pool_recycle`, old connections end by themselves, never in the middle of a query."""
    made = sqlalchemy.create_engine(url, **options)

    @sqlalchemy.event.listens_for(made, "do_connect")
    def _connect(dialect, _record, arguments, parameters):
        def with_document(document):
            credential = {"user": document["username"], "password": document["password"]}
            return dialect.connect(*arguments, **{**parameters, **credential})

        return secret.connect(with_document, is_refused)

    return made
