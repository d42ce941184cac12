import { Duration } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as route53 from 'aws-cdk-lib/aws-route53';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Kind } from './kinds';

/** A tag that a secret must have. */
export interface SecretTag {
  readonly key: string;
  readonly value: string;
}

/** The settings of one rotation function. Only `kind` is required. */
export interface RotationFunctionProps {
  /** The kind of credential that the function rotates. `mysql` is also for MariaDB. */
  readonly kind: Kind;
  /**
   * The program. A zip of a release has it, and so has the zip from `cargo lambda build`.
   * Default: the zip in this package for the kind and the architecture.
   */
  readonly code?: lambda.Code;
  /** The processor that the program was built for. Default: x86_64. */
  readonly architecture?: lambda.Architecture;
  /**
   * The function is called PREFIX-KIND, and so is its log group. Each function of a kind in an account and region needs its own prefix. A
   * change replaces the function and deletes its log. At most 52 characters. Default: `lockstep`.
   */
  readonly namePrefix?: string;

  /** The VPC from which the database and Secrets Manager can be reached. Default: the function is in no VPC. */
  readonly vpc?: ec2.IVpc;
  /** The subnets of the function. Default: private subnets with a NAT, or isolated ones if there are no others. */
  readonly vpcSubnets?: ec2.SubnetSelection;
  /**
   * The security groups of the function. Default: a new one. It is made in the stack of the VPC, so that a database of that stack can let it
   * in without a dependency of that stack on the function's.
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /** Databases: the secrets that `masterarn` of a rotated secret may name. Default: none. */
  readonly superuserSecrets?: secretsmanager.ISecret[];
  /** Databases: `masterarn` may also name secrets whose names begin with this. Default: none. */
  readonly superuserSecretNamePrefix?: string;
  /** API keys: the secrets that `rotation.adminSecretArn` of a rotated secret may name. Default: none. */
  readonly adminSecrets?: secretsmanager.ISecret[];
  /** API keys: `rotation.adminSecretArn` may also name secrets whose names begin with this. Default: none. */
  readonly adminSecretNamePrefix?: string;
  /** API keys: ARNs of the parameters and secrets in `issuers`. The function gets permission to read them. Default: none. */
  readonly issuerSourceArns?: string[];
  /** Signing keys: ARNs of the S3 objects that `rotation.publish` may name. The function may read and write them. Default: none. */
  readonly publishedObjectArns?: string[];
  /**
   * Signing keys: ARNs of the buckets of `publishedObjectArns`. The function may list them, so that it can tell an object that is not there
   * from one that it may not read. Default: none.
   */
  readonly publishedBucketArns?: string[];
  /**
   * Signing keys: ARNs of the Systems Manager parameters that `rotation.publish` may name. The function may read and write them. Default:
   * none.
   */
  readonly publishedParameterArns?: string[];
  /**
   * Signing keys: the only places that `rotation.publish` may name, as `PLACE`, or as `SECRET=PLACE` for one secret. Each may end with an
   * asterisk. Key groups of CloudFront have to be listed. Default: all places that the function may write, and no key group.
   */
  readonly publishedPlaces?: string[];
  /** Signing keys: let the function put keys into key groups of CloudFront, for signed URLs. Default: false. */
  readonly cloudFrontKeyGroups?: boolean;
  /** Signing keys: hosts that `rotation.verifyAt` of a secret may name. Default: none. */
  readonly verifyHosts?: string[];
  /** Certificates: the secrets with keys of accounts at CAs that `rotation.accountSecretArn` may name. Default: none. */
  readonly accountSecrets?: secretsmanager.ISecret[];
  /** Certificates: the hosted zones in which the function answers the challenges of CAs with TXT records. Default: none. */
  readonly hostedZones?: route53.IHostedZone[];
  /**
   * Certificates: the names of TXT records that the function may change in these zones. Add those that delegations of other domains lead to.
   * Default: `_acme-challenge.*`.
   */
  readonly challengeNames?: string[];
  /** Certificates: ARNs of the imported certificates in ACM that the function may replace. Default: none. */
  readonly acmCertificateArns?: string[];
  /** Certificates: ARNs of the objects in S3 that the function may write. Default: none. */
  readonly certificateObjectArns?: string[];
  /** Rotate only secrets whose names begin with this. Default: all secrets that name this function. */
  readonly secretNamePrefix?: string;
  /** Rotate only secrets with this tag. `attach` gives it to a secret of this app. Default: no tag is required. */
  readonly secretTag?: SecretTag;
  /**
   * Customer managed keys that encrypt the secrets. Those of secrets that the app makes are known without this.
   * Default: none. The AWS managed key aws/secretsmanager needs no permission.
   */
  readonly encryptionKeys?: kms.IKey[];

  /** The topic that receives the alarms. Its policy and its key must let CloudWatch and EventBridge publish. Default: a new one. */
  readonly alarmTopic?: sns.ITopic;
  /** The address that receives the alarms. AWS asks its owner to confirm. Default: no subscription. */
  readonly alarmEmail?: string;
  /** Where the texts of alarms find the runbooks. Default: the runbooks of this project. */
  readonly runbookUrl?: string;
  /** Schedule of the daily look for rotations that are overdue or stuck. `never` turns it off. Default: once a day. */
  readonly watchSchedule?: events.Schedule | 'never';
  /**
   * How long no daily look may succeed until the alarm look-missing rings: 2 to 168 whole hours, more than the interval of `watchSchedule`.
   * Default: 26 hours.
   */
  readonly lookMissingAfter?: Duration;

  /** How long the log is kept. It has the audit records. Default: three months. */
  readonly logRetention?: logs.RetentionDays;
  /** The key that encrypts the log. Its policy must let CloudWatch Logs use it. Default: CloudWatch Logs' own encryption. */
  readonly logEncryptionKey?: kms.IKey;
  /** The least severe level that is logged: ERROR, WARN, INFO, DEBUG or TRACE. Default: INFO. */
  readonly logLevel?: 'ERROR' | 'WARN' | 'INFO' | 'DEBUG' | 'TRACE';
  /** Whether X-Ray traces each invocation. Default: PassThrough. */
  readonly tracing?: lambda.Tracing;

  /** Memory in MB. Default: 256. */
  readonly memorySize?: number;
  /** The longest time of one step of a rotation, 15 to 900 seconds. Default: 60 seconds. */
  readonly timeout?: Duration;
  /** Concurrent invocations that are kept free for this function. Default: none. */
  readonly reservedConcurrentExecutions?: number;
  /** Layers with the files under /opt that `caBundle` or `issuers` name. Default: none. */
  readonly layers?: lambda.ILayerVersion[];
  /** The permissions boundary of the role. Default: none. */
  readonly permissionsBoundary?: iam.IManagedPolicy;
  /** The IAM path of the role. Default: `/`. */
  readonly rolePath?: string;
  /** Further environment variables, such as AWS_USE_FIPS_ENDPOINT. They win over the properties. Default: none. */
  readonly environment?: Record<string, string>;

  /** Characters in a new password, 8 to 4096. Default: 32. */
  readonly passwordLength?: number;
  /** Characters that a new password never has. Default: `\:/@"'`. */
  readonly excludeCharacters?: string;
  /** Use no digits. Default: false. */
  readonly excludeNumbers?: boolean;
  /** Use no punctuation. Default: false. */
  readonly excludePunctuation?: boolean;
  /** Use no capital letters. Default: false. */
  readonly excludeUppercase?: boolean;
  /** Use no small letters. Default: false. */
  readonly excludeLowercase?: boolean;
  /** Use at least one character of each kind that is not excluded. Default: true. */
  readonly requireEachIncludedType?: boolean;

  /** CAs to trust besides Amazon's (API keys: Mozilla's): the path of a PEM file in a layer, or PEM text. Default: none. */
  readonly caBundle?: string;
  /** Let the event `recover` do the next action that `diagnose` names, if that is safe. Default: false. */
  readonly allowRecover?: boolean;
  /** Let the page, and the event `rotateNow`, begin a rotation of a secret that this function serves. Default: false. */
  readonly allowRotateNow?: boolean;
  /** Let the events `retire` and `endSessions` end a superseded credential early, and its user's sessions. Default: false. */
  readonly allowRetire?: boolean;
  /** URL of Secrets Manager, such as a VPC endpoint without private DNS. Default: the region's. */
  readonly secretsManagerEndpoint?: string;
  /** Databases: URL of the RDS API. Default: the region's. */
  readonly rdsEndpoint?: string;
  /** API keys, signing keys: URL of Systems Manager. Default: the region's. */
  readonly ssmEndpoint?: string;
  /** Signing keys, certificates: URL of S3. Default: the region's. */
  readonly s3Endpoint?: string;
  /** Certificates: URL of Route 53. Default: the usual one. */
  readonly route53Endpoint?: string;
  /** Certificates: URL of ACM. Default: the usual one. */
  readonly acmEndpoint?: string;
  /** Databases: how many refused logins end the search for a password that works, 0 to 10. Default: depends on the server. */
  readonly maxRefusedLogins?: number;
  /** Databases: let the superuser change the passwords of other superusers, and of users who can become one. Default: false. */
  readonly allowPowerfulRoles?: boolean;
  /** PostgreSQL: store an md5 hash where the server's password_encryption is md5. Default: false. */
  readonly allowMd5?: boolean;
  /** MySQL and MariaDB: the longest user name. Default: the server's limit. */
  readonly usernameCharacterLimit?: number;
  /** API keys: where your own descriptions of issuers are: `file:`, `ssm:` or `secret:` and a path, name or ARN. Default: none. */
  readonly issuers?: string[];
  /** API keys: hosts that may be called besides those of the description, each as ISSUER=HOST. Default: none. */
  readonly allowedHosts?: string[];
  /** API keys: hosts that may have private or loopback addresses, each as ISSUER=HOST. Default: none. */
  readonly allowedPrivateHosts?: string[];
  /** API keys: replace a key that does not work even if nothing proves that it belongs to the secret. Default: false. */
  readonly allowUnprovenKeys?: boolean;
  /** API keys: URL of a proxy that ends TLS and receives all requests to issuers. Default: none. */
  readonly issuerEndpointUrl?: string;
  /** Certificates: the only domains, with all names below them, that certificates are for. Default: all names in the hosted zones. */
  readonly allowedDomains?: string[];
  /** Certificates: URLs of the only directories of CAs that secrets may name. Default: any with a public address. */
  readonly directories?: string[];
  /** Certificates: hosts that `rotation.endpoint` of a secret may name beside those that its certificate is for. Default: none. */
  readonly endpointHosts?: string[];
}
