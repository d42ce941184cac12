import { Stack } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import { KINDS } from './kinds';
import { RotationFunctionProps } from './props';

/** What the role of the function allows. docs/deploy.md#permissions explains each statement. */
export class Permissions {
  readonly document = new iam.PolicyDocument();
  private readonly functionArn: string;
  private readonly served: string;
  private keys?: iam.PolicyStatement;

  constructor(
    private readonly stack: Stack,
    name: string,
    logGroupArn: string,
    private readonly props: RotationFunctionProps,
  ) {
    // Built from the name, because with the function's own ARN the role and the function would depend on each other.
    this.functionArn = arn(stack, 'lambda', `function:${name}`);
    this.served = `${secretArn(stack, props.secretNamePrefix ?? '')}*`;
    this.allow('FindOverdueRotations', ['secretsmanager:ListSecrets'], ['*']);
    this.allow('OwnLogs', ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:FilterLogEvents'], [logGroupArn]);
    this.servedSecrets();
    this.otherSecrets();
    this.publishedKeys();
    if (KINDS[props.kind].renewsCertificates) this.certificates();
    const read = [...(props.superuserSecrets ?? []), ...(props.adminSecrets ?? []), ...(props.accountSecrets ?? [])];
    for (const key of [...(props.encryptionKeys ?? []), ...read.map((it) => madeFrom(it).encryptionKey)]) {
      if (key) this.allowKey(key);
    }
    if (props.tracing === lambda.Tracing.ACTIVE) {
      this.allow('Traces', ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], ['*']);
    }
    if (props.vpc) this.networkInterfaces();
  }

  /** Lets the function use a customer managed key, only through Secrets Manager, and only for secrets of this account. */
  allowKey(key: kms.IKey) {
    if (this.keys) {
      this.keys.addResources(key.keyArn);
      return;
    }
    const { partition, region, urlSuffix } = this.stack;
    // For the daily look. These actions show the state of a key and use none. Some keys are in other accounts.
    this.allow('StatesOfKeys', ['kms:DescribeKey', 'kms:GetKeyRotationStatus'], [`arn:${partition}:kms:*:*:key/*`]);
    this.keys = this.allow('KeysOfTheSecrets', ['kms:Decrypt', 'kms:GenerateDataKey'], [key.keyArn], {
      // In China the service's name may end in either.
      StringEquals: { 'kms:ViaService': [`secretsmanager.${region}.amazonaws.com`, `secretsmanager.${region}.${urlSuffix}`] },
      StringLike: { 'kms:EncryptionContext:SecretARN': `${secretArn(this.stack, '')}*` },
    });
  }

  private servedSecrets() {
    const { kind, secretTag } = this.props;
    const namesThisFunction = this.namesThisFunction();
    const read = ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue', 'secretsmanager:PutSecretValue'];
    this.allow('SecretsThatNameThisFunction', read, [this.served], { StringEquals: namesThisFunction });
    // PutSecretValue moves AWSPENDING. IAM cannot limit the labels of that call.
    this.allow('LabelsOfARotation', ['secretsmanager:UpdateSecretVersionStage'], [this.served], {
      StringEquals: namesThisFunction,
      'ForAnyValue:StringEquals': { 'secretsmanager:VersionStage': KINDS[kind].labels },
    });
    if (KINDS[kind].searchesVersions) {
      // For a secret's history, and to find a password in a version that has lost its label. Shows ids, labels and dates, and no value.
      this.allow('OlderVersions', ['secretsmanager:ListSecretVersionIds'], [this.served], { StringEquals: namesThisFunction });
    }
    if (this.props.allowRotateNow) {
      this.allow('RotateNow', ['secretsmanager:RotateSecret'], [this.served], { StringEquals: namesThisFunction });
    }
    if (this.props.allowRotateNow || KINDS[kind].renewsCertificates) {
      // RotateSecret requires that its caller may invoke the function that rotates the secret.
      this.allow('RotateBySecretsManager', ['lambda:InvokeFunction'], [this.functionArn]);
    }
    if (secretTag) {
      // A condition on the statements above would also require the tag on superuser and admin secrets.
      const labels = ['secretsmanager:ListSecretVersionIds', 'secretsmanager:UpdateSecretVersionStage'];
      // Some of these are calls of a fleet, whose role denies the same.
      const more = ['RotateSecret', 'TagResource', 'UpdateSecret'].map((it) => `secretsmanager:${it}`);
      const actions = [...read, ...labels, ...more];
      this.deny('SecretsWithoutTheTag', actions, {
        StringEquals: namesThisFunction,
        StringNotEquals: { [`secretsmanager:ResourceTag/${secretTag.key}`]: secretTag.value },
      });
    }
  }

  /** Secrets beside the rotated one. */
  private otherSecrets() {
    const { kind, issuerSourceArns = [] } = this.props;
    const sources = allowedSources(this.stack, this.props);
    const current = (labels: string[]) => ({ 'ForAnyValue:StringEquals': { 'secretsmanager:VersionStage': labels } });
    if (sources.length > 0 && KINDS[kind].reads === 'superuser secrets') {
      this.allow('SuperuserSecrets', ['secretsmanager:DescribeSecret'], sources);
      this.allow('SuperuserPasswords', ['secretsmanager:GetSecretValue'], sources, current(['AWSCURRENT']));
      // Finds the server of a superuser's secret that RDS manages.
      const servers = ['db', 'cluster'].map((it) => arn(this.stack, 'rds', `${it}:*`));
      this.allow('ServersOfSuperusers', ['rds:DescribeDBInstances', 'rds:DescribeDBClusters'], servers);
    } else if (sources.length > 0 && KINDS[kind].reads === 'account secrets') {
      this.allow('AccountSecrets', ['secretsmanager:DescribeSecret'], sources);
      this.allow('AccountKeys', ['secretsmanager:GetSecretValue'], sources, current(['AWSCURRENT']));
    } else if (sources.length > 0) {
      this.allow('AdminSecrets', ['secretsmanager:DescribeSecret'], sources);
      this.allow('AdminCredentials', ['secretsmanager:GetSecretValue'], sources, current(['AWSCURRENT', 'AWSPREVIOUS']));
    }
    if (issuerSourceArns.length > 0) {
      const actions = ['ssm:GetParameter', 'secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'];
      this.allow('DescriptionsOfIssuers', actions, issuerSourceArns);
    }
  }

  /** Where the public parts of keys that sign tokens are published. */
  private publishedKeys() {
    const { publishedObjectArns = [], publishedBucketArns = [], publishedParameterArns = [] } = this.props;
    this.allowAt('PublishedKeysInObjects', ['s3:GetObject', 's3:PutObject'], publishedObjectArns);
    // Without it, S3 answers that an object which is not there may not be read.
    this.allowAt('ObjectsThatAreNotThere', ['s3:ListBucket'], publishedBucketArns);
    this.allowAt('PublishedKeysInParameters', ['ssm:GetParameter', 'ssm:PutParameter'], publishedParameterArns);
    // IAM supports no narrower resource for these actions. `publishedPlaces` says which key groups a secret may name.
    const actions = ['GetKeyGroup', 'UpdateKeyGroup', 'ListPublicKeys', 'GetPublicKey', 'CreatePublicKey', 'DeletePublicKey'];
    this.allowAt('KeyGroupsOfCloudFront', actions.map((it) => `cloudfront:${it}`), this.props.cloudFrontKeyGroups ? ['*'] : []);
  }

  /** Where challenges of CAs are answered, and where certificates go. */
  private certificates() {
    const { challengeNames = ['_acme-challenge.*'], acmCertificateArns = [], certificateObjectArns = [] } = this.props;
    const zones = (this.props.hostedZones ?? []).map((it) => it.hostedZoneArn);
    if (zones.length > 0) {
      this.allow('ChallengesInHostedZones', ['route53:ChangeResourceRecordSets'], zones, {
        'ForAllValues:StringEquals': { 'route53:ChangeResourceRecordSetsRecordTypes': ['TXT'] },
        // A delegation may lead to a name of any form.
        'ForAllValues:StringLike': { 'route53:ChangeResourceRecordSetsNormalizedRecordNames': challengeNames },
      });
      this.allow('RecordsOfHostedZones', ['route53:ListResourceRecordSets'], zones);
      // IAM supports no narrower resource for ListHostedZonesByName. The answer has names of zones and no records.
      this.allow('FindHostedZones', ['route53:ListHostedZonesByName'], ['*']);
      this.allow('ChangesInSync', ['route53:GetChange'], [`arn:${this.stack.partition}:route53:::change/*`]);
    }
    // A tag says which secret a certificate belongs to. What ACM has already is not imported again.
    const acm = ['acm:ImportCertificate', 'acm:GetCertificate', 'acm:ListTagsForCertificate', 'acm:AddTagsToCertificate'];
    this.allowAt('CertificatesInAcm', acm, acmCertificateArns);
    // An object's metadata say which secret it belongs to.
    this.allowAt('CertificatesInS3', ['s3:GetObject', 's3:PutObject'], certificateObjectArns);
    // The daily look begins a rotation once the CA suggests it.
    this.allow('RenewCertificates', ['secretsmanager:RotateSecret'], [this.served], { StringEquals: this.namesThisFunction() });
  }

  /** The condition that a secret names this function as the one that rotates it. */
  private namesThisFunction() {
    return { 'secretsmanager:resource/AllowRotationLambdaArn': this.functionArn };
  }

  /** Lambda needs these to attach the function to subnets. The second statement denies them to the function's code. */
  private networkInterfaces() {
    const actions = [
      'ec2:CreateNetworkInterface',
      'ec2:DeleteNetworkInterface',
      'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSubnets',
      'ec2:AssignPrivateIpAddresses',
      'ec2:UnassignPrivateIpAddresses',
    ];
    this.allow('NetworkInterfacesForLambda', actions, ['*']);
    this.deny('NetworkInterfacesNotForTheCode', actions, { ArnEquals: { 'lambda:SourceFunctionArn': this.functionArn } });
  }

  private allow(sid: string, actions: string[], resources: string[], conditions: iam.Conditions = {}): iam.PolicyStatement {
    const statement = new iam.PolicyStatement({ sid, actions, resources, conditions });
    this.document.addStatements(statement);
    return statement;
  }

  /** Like `allow`, but nothing if there are no resources. */
  private allowAt(sid: string, actions: string[], resources: string[]) {
    if (resources.length > 0) this.allow(sid, actions, resources);
  }

  private deny(sid: string, actions: string[], conditions: iam.Conditions) {
    this.document.addStatements(
      new iam.PolicyStatement({ sid, effect: iam.Effect.DENY, actions, resources: ['*'], conditions }),
    );
  }
}

/** The secrets, and patterns of secrets, that a rotated secret may name as its superuser, admin or account. */
export function allowedSources(stack: Stack, props: RotationFunctionProps): string[] {
  const { superuserSecrets = [], adminSecrets = [], accountSecrets = [], superuserSecretNamePrefix, adminSecretNamePrefix } = props;
  const prefixes = [superuserSecretNamePrefix, adminSecretNamePrefix].filter((it) => it !== undefined && it !== '');
  return [...[...superuserSecrets, ...adminSecrets, ...accountSecrets].map(fullArn), ...prefixes.map((it) => `${secretArn(stack, it ?? '')}*`)];
}

/** What `secret.attach(database)` returns is a part of the secret, and knows neither its name nor its key. */
export function madeFrom(secret: secretsmanager.ISecret): secretsmanager.ISecret | secretsmanager.Secret {
  const { scope } = secret.node;
  return scope instanceof secretsmanager.Secret ? scope : secret;
}

/** The function compares with the whole ARN. */
function fullArn(secret: secretsmanager.ISecret): string {
  if (secret.secretFullArn === undefined) {
    throw new Error(`The secret ${secret.node.path} is imported without the six characters at the end of its ARN: use fromSecretCompleteArn.`);
  }
  return secret.secretFullArn;
}

/** The ARN of something in the account and region of the stack. */
export function arn(stack: Stack, service: string, resource: string): string {
  return `arn:${stack.partition}:${service}:${stack.region}:${stack.account}:${resource}`;
}

/** The beginning of the ARN of each secret whose name begins with the prefix. */
export function secretArn(stack: Stack, prefix: string): string {
  return arn(stack, 'secretsmanager', `secret:${prefix}`);
}
