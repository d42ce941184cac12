/** A kind of credential, and the name of the function that rotates it. `mysql` is also for MariaDB. */
export type Kind = 'postgres' | 'mysql' | 'api-key' | 'signing-key' | 'tls';

/** What differs between the functions. A new kind needs an entry here, and its own variables in environment.ts. */
export interface KindFacts {
  /** Completes the sentence "Rotates …". */
  readonly rotates: string;
  /** Secrets beside the rotated one that the function reads. */
  readonly reads: 'superuser secrets' | 'admin secrets and descriptions of issuers' | 'account secrets' | 'nothing else';
  /** The labels that the function moves with UpdateSecretVersionStage. */
  readonly labels: string[];
  /** Whether the function lists versions without a label, for a secret's history and to find passwords in them. */
  readonly searchesVersions: boolean;
  /** Whether the function keeps a journal of keys that it still has to revoke. */
  readonly keepsJournal: boolean;
  /** Whether the function renews certificates, and so may begin rotations, and reports certificates that expire. */
  readonly renewsCertificates: boolean;
  /** Whether the first rotation makes what is in the secret, so that a secret is rotated once it is attached. */
  readonly makesFirstValue: boolean;
}

export const KINDS: Record<Kind, KindFacts> = {
  postgres: {
    rotates: 'the passwords of PostgreSQL users',
    reads: 'superuser secrets',
    labels: ['AWSCURRENT'],
    searchesVersions: true,
    keepsJournal: false,
    renewsCertificates: false,
    makesFirstValue: false,
  },
  mysql: {
    rotates: 'the passwords of MySQL and MariaDB users',
    reads: 'superuser secrets',
    labels: ['AWSCURRENT', 'LockstepRefused'],
    searchesVersions: true,
    keepsJournal: false,
    renewsCertificates: false,
    makesFirstValue: false,
  },
  'api-key': {
    rotates: 'API keys over HTTP',
    reads: 'admin secrets and descriptions of issuers',
    labels: ['AWSCURRENT'],
    searchesVersions: true,
    keepsJournal: true,
    renewsCertificates: false,
    makesFirstValue: false,
  },
  'signing-key': {
    rotates: 'keys that sign tokens, and publishes their public parts',
    reads: 'nothing else',
    labels: ['AWSCURRENT'],
    searchesVersions: true,
    keepsJournal: false,
    renewsCertificates: false,
    makesFirstValue: true,
  },
  tls: {
    rotates: 'TLS certificates of ACME CAs, and the keys of accounts there',
    reads: 'account secrets',
    labels: ['AWSCURRENT'],
    searchesVersions: true,
    keepsJournal: false,
    renewsCertificates: true,
    makesFirstValue: true,
  },
};
