"""A secret that rotates, for Python: each new connection is opened with a password that works.

    pip install boto3 'psycopg[binary,pool]' sqlalchemy pymysql

Copy what you need; docs/consumers.md explains it.
"""

import json
import threading
import time

import boto3


class RotatingSecret:
    """The newest document of a secret. It is read again after `ttl` seconds, and when a server has refused it."""

    def __init__(self, secret_id, ttl=60.0, client=None):
        self._id, self._ttl = secret_id, ttl
        self._client = client or boto3.client("secretsmanager")
        self._lock = threading.Lock()
        self._document, self._read_at = None, 0.0

    def current(self):
        """The document, at most `ttl` seconds old. While Secrets Manager cannot be reached, the last one goes on."""
        if self._document is not None and time.monotonic() - self._read_at < self._ttl:
            return self._document
        with self._lock:
            if self._document is None or time.monotonic() - self._read_at >= self._ttl:
                try:
                    self._document = self._read("AWSCURRENT")
                except Exception:
                    if self._document is None:
                        raise
                self._read_at = time.monotonic()
            return self._document

    def connect(self, connect, is_refused, patience=30.0):
        """Opens a connection: `connect` gets a document, and `is_refused` tells whether its error says that the password is wrong.

        Any other error is raised as it is: a server that cannot be reached is no reason to try another password.
        """
        document = self.current()
        try:
            return connect(document)
        except Exception as error:
            if not is_refused(error):
                raise
        # One thread looks for the password. The others then take what it found.
        with self._lock:
            return self._search(connect, is_refused, document, time.monotonic() + patience)

    def _search(self, connect, is_refused, refused, ends):
        # Servers count refused logins, so no document is tried twice.
        tried, pause = [refused], 0.1
        while True:
            # Between setSecret and finishSecret, the server takes the password of AWSPENDING.
            for label in ("AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"):
                document = self._document if label == "AWSCURRENT" and self._document not in tried else self._read(label)
                if document is None or document in tried:
                    continue
                tried.append(document)
                try:
                    connection = connect(document)
                except Exception as error:
                    if not is_refused(error) or time.monotonic() > ends:
                        raise
                    continue
                self._document, self._read_at = document, time.monotonic()
                return connection
            if time.monotonic() > ends:
                raise TimeoutError(f"no version of {self._id} opens the database")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _read(self, label):
        try:
            answer = self._client.get_secret_value(SecretId=self._id, VersionStage=label)
        except self._client.exceptions.ResourceNotFoundException:
            # A version without a value, or no such label: there is no AWSPENDING between two rotations.
            if label == "AWSCURRENT":
                raise
            return None
        return json.loads(answer["SecretString"])
