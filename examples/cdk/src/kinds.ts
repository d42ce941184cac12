/** A kind of credential, and the name of the function that rotates it. `mysql` is also for MariaDB. */
export type Kind = 'postgres' | 'mysql' | 'api-key';

/** What differs between the functions. A new kind needs an entry here, and its own variables in environment.ts. */
export interface KindFacts {
  /** Completes the sentence "Rotates …". */
  readonly rotates: string;
  /** Secrets beside the rotated one that the function reads. */
  readonly reads: 'superuser secrets' | 'admin secrets and descriptions of issuers' | 'nothing else';
  /** The labels that the function moves with UpdateSecretVersionStage. */
  readonly labels: string[];
  /** Whether the function looks for passwords in versions without a label. */
  readonly searchesVersions: boolean;
  /** Whether the function keeps a journal of keys that it still has to revoke. */
  readonly keepsJournal: boolean;
}

export const KINDS: Record<Kind, KindFacts> = {
  postgres: {
    rotates: 'the passwords of PostgreSQL users',
    reads: 'superuser secrets',
    labels: ['AWSCURRENT'],
    searchesVersions: true,
    keepsJournal: false,
  },
  mysql: {
    rotates: 'the passwords of MySQL and MariaDB users',
    reads: 'superuser secrets',
    labels: ['AWSCURRENT', 'LockstepRefused'],
    searchesVersions: true,
    keepsJournal: false,
  },
  'api-key': {
    rotates: 'API keys over HTTP',
    reads: 'admin secrets and descriptions of issuers',
    labels: ['AWSCURRENT'],
    searchesVersions: false,
    keepsJournal: true,
  },
};
