"""A secret that rotates, for Python: each new connection is opened with a password that works.

    pip install boto3 'psycopg[binary,pool]' sqlalchemy pymysql

Copy what you need; docs/consumers.md explains it.
"""

import json
import threading
import time

import boto3

# After a search that found nothing, nobody tries a login for so many seconds: servers count refused logins.
DEAD = 20.0


class RotatingSecret:
    """The newest document of a secret. It is read again after `ttl` seconds, and when a server has refused it."""

    def __init__(self, secret_id, ttl=60.0, client=None):
        self._id, self._ttl = secret_id, ttl
        self._client = client or boto3.client("secretsmanager")
        self._reading, self._searching = threading.Lock(), threading.Lock()
        self._document, self._read_at, self._dead_until = None, 0.0, 0.0

    def current(self):
        """The document. While one thread reads it again, or Secrets Manager cannot be reached, the last one goes on."""
        known = self._document
        if known is not None and (self._is_fresh() or not self._reading.acquire(blocking=False)):
            return known
        if known is None:
            self._reading.acquire()
        try:
            if self._document is None or not self._is_fresh():
                self._keep(self._read("AWSCURRENT"))
        except Exception:
            if self._document is None:
                raise
            self._keep(self._document)
        finally:
            self._reading.release()
        return self._document

    def connect(self, connect, is_refused, patience=30.0):
        """Opens a connection: `connect` gets a document, and `is_refused` tells whether its error says that the password is wrong.

        Any other error is raised as it is: a server that cannot be reached is no reason to try another password.
        """
        ends = time.monotonic() + patience
        self._check_dead()
        document = self.current()
        try:
            return connect(document)
        except Exception as error:
            if not is_refused(error):
                raise
        # One thread looks for the password. The others then take what it found, or give up as it did.
        if not self._searching.acquire(timeout=patience):
            raise self._nothing_works()
        try:
            self._check_dead()
            return self._search(connect, is_refused, document, ends)
        finally:
            self._searching.release()

    def _search(self, connect, is_refused, refused, ends):
        # No document is tried twice.
        tried, pause, trouble = [refused], 0.1, None
        while True:
            # What another thread has found, or else: between setSecret and finishSecret, the server takes the password of AWSPENDING.
            for label in (None, "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"):
                try:
                    document = self._read(label) if label else self._document
                except Exception as error:
                    # Secrets Manager may answer again before the time is over.
                    trouble = error
                    continue
                if document is None or document in tried:
                    continue
                tried.append(document)
                try:
                    connection = connect(document)
                except Exception as error:
                    if not is_refused(error):
                        raise
                    continue
                self._keep(document)
                return connection
            if time.monotonic() > ends:
                self._dead_until = time.monotonic() + DEAD
                raise self._nothing_works() from trouble
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _is_fresh(self):
        return time.monotonic() - self._read_at < self._ttl

    def _keep(self, document):
        self._document, self._read_at = document, time.monotonic()

    def _check_dead(self):
        if time.monotonic() < self._dead_until:
            raise self._nothing_works()

    def _nothing_works(self):
        return TimeoutError(f"no version of {self._id} opens the database")

    def _read(self, label):
        try:
            answer = self._client.get_secret_value(SecretId=self._id, VersionStage=label)
        except self._client.exceptions.ResourceNotFoundException:
            # A version without a value, or no such label: there is no AWSPENDING between two rotations.
            if label == "AWSCURRENT":
                raise
            return None
        try:
            return json.loads(answer["SecretString"])
        except ValueError:
            # The original error has the text.
            raise ValueError(f"{label} of {self._id} is not JSON") from None
