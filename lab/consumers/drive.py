"""Queries all the time by one way of following a rotation, until standard input ends. Prints one JSON object then.

    drive.py CLIENT     with LOCKSTEP_SECRET, LOCKSTEP_CA and the variables of an AWS SDK
"""

import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples/consumers/python"))

WORKERS = 3
# Connections end soon, so that the pools open new ones all the time.
LIFETIME = 0.3
PAUSE = 0.05


def endpoint(secret):
    import boto3

    answer = boto3.client("secretsmanager").get_secret_value(SecretId=secret)
    return json.loads(answer["SecretString"])


def conninfo_of(where):
    ca = os.environ["LOCKSTEP_CA"]
    return f"host={where['host']} port={where['port']} dbname=postgres sslmode=verify-full sslrootcert={ca}"


def psycopg(secret, where):
    from rotating_secret import RotatingSecret
    from with_psycopg import pool

    made = pool(RotatingSecret(secret), conninfo_of(where), min_size=1, max_size=WORKERS, max_lifetime=LIFETIME, open=True)

    def query():
        with made.connection() as connection:
            connection.execute("SELECT 1")

    return query


def sqlalchemy(secret, where):
    from rotating_secret import RotatingSecret
    import sqlalchemy as sql
    from with_sqlalchemy import engine

    ca, at = os.environ["LOCKSTEP_CA"], f"{where['host']}:{where['port']}"
    if where["engine"] == "postgres":
        url, arguments = f"postgresql+psycopg://{at}/postgres", {"sslmode": "verify-full", "sslrootcert": ca}
    else:
        url, arguments = f"mysql+pymysql://{at}/", {"ssl": {"ca": ca, "check_hostname": True}}
    made = engine(RotatingSecret(secret), url, connect_args=arguments, pool_size=WORKERS, pool_recycle=LIFETIME)

    def query():
        with made.connect() as connection:
            connection.execute(sql.text("SELECT 1"))

    return query


def with_document(read):
    """psycopg's pool, each of whose connections is opened with what `read` returns."""
    def made(_secret, where):
        import psycopg
        from psycopg_pool import ConnectionPool

        class Connection(psycopg.Connection):
            @classmethod
            def connect(cls, conninfo="", **given):
                document = read()
                return super().connect(conninfo, **given, user=document["username"], password=document["password"])

        # The pool gives up a connection that cannot be opened for as long as a query waits, which is 30 s.
        pool = ConnectionPool(conninfo_of(where), connection_class=Connection, min_size=1, max_size=WORKERS,
                              max_lifetime=LIFETIME, reconnect_timeout=1, timeout=5, open=True)

        def query():
            with pool.connection() as connection:
                connection.execute("SELECT 1")

        return query

    return made


def caching(ttl):
    """AWS's cache for Python, with the pool of psycopg."""
    def made(secret, where):
        import boto3
        from aws_secretsmanager_caching import SecretCache, SecretCacheConfig

        cache = SecretCache(config=SecretCacheConfig(secret_refresh_interval=ttl), client=boto3.client("secretsmanager"))
        return with_document(lambda: json.loads(cache.get_secret_string(secret)))(secret, where)

    return made


def wrapper(secret, where):
    """AWS's driver for Python, which reads the secret again when a login is refused. A connection for each query."""
    import psycopg
    from aws_advanced_python_wrapper import AwsWrapperConnection

    options = {"plugins": "aws_secrets_manager", "secrets_manager_secret_id": secret,
               "secrets_manager_region": os.environ["AWS_DEFAULT_REGION"],
               "secrets_manager_endpoint": os.environ["AWS_ENDPOINT_URL"]}

    def query():
        connection = AwsWrapperConnection.connect(psycopg.Connection.connect, conninfo_of(where), **options)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    return query


def agent(secret, where):
    """AWS's agent, asked before each connection, with the pool of psycopg. It keeps a value for `ttl_seconds`."""
    import urllib.request

    at = f"{os.environ['LOCKSTEP_AGENT']}/secretsmanager/get?secretId={secret}"
    token = {"X-Aws-Parameters-Secrets-Token": os.environ["AWS_TOKEN"]}

    def read():
        with urllib.request.urlopen(urllib.request.Request(at, headers=token), timeout=5) as answer:
            return json.loads(json.load(answer)["SecretString"])

    return with_document(read)(secret, where)


class Count:
    def __init__(self):
        self.lock = threading.Lock()
        self.queries, self.failed, self.longest, self.first = 0, 0, 0.0, None

    def add(self, seconds, error):
        with self.lock:
            self.queries += 1
            self.longest = max(self.longest, seconds)
            if error is not None:
                self.failed += 1
                # The kind, because a message may hold anything.
                self.first = self.first or type(error).__name__

    def work(self, query, over):
        while not over.is_set():
            began, error = time.monotonic(), None
            try:
                query()
            except Exception as it:
                error = it
            self.add(time.monotonic() - began, error)
            time.sleep(PAUSE)


CLIENTS = {
    "psycopg": psycopg,
    "sqlalchemy": sqlalchemy,
    "aws-agent": agent,
    "aws-caching-python": caching(3600),
    "aws-caching-python-1s": caching(1),
    "aws-advanced-python-wrapper": wrapper,
}


def main(client):
    secret = os.environ["LOCKSTEP_SECRET"]
    query, count, over = CLIENTS[client](secret, endpoint(secret)), Count(), threading.Event()
    workers = [threading.Thread(target=count.work, args=(query, over)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    print("ready", flush=True)
    sys.stdin.read()
    over.set()
    for worker in workers:
        worker.join()
    print(json.dumps({"queries": count.queries, "failed": count.failed, "longestMs": round(1000 * count.longest), "first": count.first}))


if __name__ == "__main__":
    main(*sys.argv[1:])
