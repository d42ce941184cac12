import * as path from 'node:path';
import { CfnOutput, Duration, RemovalPolicy, Stack, StackProps } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { CfnRotationSchedule } from 'aws-cdk-lib/aws-secretsmanager';
import * as sns from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Construct } from 'constructs';

const [HOUR, DAY] = [Duration.hours(1), Duration.days(1)];

export interface ServedSecret {
  readonly arn: string;
  /** `rate(…)` or `cron(…)`, in UTC. */
  readonly schedule: string;
  /** Length of the rotation window, such as `2h`. */
  readonly window?: string;
  /** Rotate whenever this schedule changes. Default: false, so Secrets Manager only tests the configuration. */
  readonly rotateImmediately?: boolean;
}

export interface LockstepProps extends StackProps {
  /** The kind of credential that the function rotates. `mysql` is also for MariaDB. */
  readonly kind: 'postgres' | 'mysql' | 'api-key';
  /** The zip file from `cargo lambda build`. Default: the one in target/lambda of this repository. */
  readonly package?: string;
  /** The processor that the zip was built for. Default: x86_64. */
  readonly architecture?: lambda.Architecture;
  /** Layers with the files under /opt that CA_BUNDLE or ISSUERS name: ARNs that end in a version. */
  readonly layerArns?: string[];
  /** Memory of the function in MB. Default: 256. */
  readonly memorySize?: number;
  /** The longest time of one step of a rotation, 15 to 900 seconds. Default: 60 seconds. */
  readonly timeout?: Duration;
  /** The function is called PREFIX-KIND. Its permissions are built from this name. Default: lockstep. */
  readonly namePrefix?: string;
  /** The secrets to rotate, under names of your choice. */
  readonly secrets?: Record<string, ServedSecret>;
  /** Rotate only secrets whose names begin with this. Default: all secrets that name this function. */
  readonly secretNamePrefix?: string;
  /** Databases: the full ARNs of the secrets that `masterarn` may name. */
  readonly superuserSecretArns?: string[];
  /** API keys: the full ARNs of the secrets that `rotation.adminSecretArn` may name. */
  readonly adminSecretArns?: string[];
  /** API keys: the ARNs of the parameters and secrets that the environment variable ISSUERS names. */
  readonly issuerSourceArns?: string[];
  /** Customer managed keys that encrypt the secrets. */
  readonly kmsKeyArns?: string[];
  /** Subnets from which the database and Secrets Manager can be reached. Default: the function is in no VPC. */
  readonly subnetIds?: string[];
  /** Security groups of the function, together with `subnetIds`. */
  readonly securityGroupIds?: string[];
  /** Further environment variables of the function: docs/configuration.md. */
  readonly environment?: Record<string, string>;
  readonly logRetention?: logs.RetentionDays;
  /** When to check for rotations that are overdue or stuck: `rate(…)`, `cron(…)` or `never`. Default: `rate(1 day)`. */
  readonly watchSchedule?: string;
  /** The address that is told of failures. AWS asks its owner to confirm. */
  readonly alarmEmail?: string;
}

/** One rotation function, with its role, its alarms and the secrets that it rotates. */
export class LockstepStack extends Stack {
  readonly rotation: lambda.Function;
  readonly alarms: sns.Topic;

  constructor(scope: Construct, id: string, props: LockstepProps) {
    super(scope, id, props);
    const name = `${props.namePrefix ?? 'lockstep'}-${props.kind}`;
    const watchSchedule = props.watchSchedule ?? 'rate(1 day)';

    const logGroup = new logs.LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${name}`,
      retention: props.logRetention ?? logs.RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = new iam.Role(this, 'Role', {
      description: `What the rotation function ${name} may do`,
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      inlinePolicies: { rotation: new iam.PolicyDocument({ statements: this.permissions(name, logGroup, props) }) },
    });
    const packaged = path.join(__dirname, `../../target/lambda/lockstep-${props.kind}/bootstrap.zip`);
    this.rotation = new lambda.Function(this, 'Function', {
      functionName: name,
      description: `Rotates secrets (Lockstep, ${props.kind})`,
      code: lambda.Code.fromAsset(props.package ?? packaged),
      handler: 'bootstrap',
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture: props.architecture ?? lambda.Architecture.X86_64,
      layers: props.layerArns?.map((arn, at) => lambda.LayerVersion.fromLayerVersionArn(this, `Layer-${at}`, arn)),
      memorySize: props.memorySize ?? 256,
      timeout: props.timeout ?? Duration.seconds(60),
      // Otherwise other constructs could add permissions to the role.
      role: role.withoutPolicyUpdates(),
      environment: { ...limits(props), ...props.environment },
      logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      // All levels, because the function itself filters by LOG_LEVEL.
      applicationLogLevelV2: lambda.ApplicationLogLevel.TRACE,
    });
    // Ids as in CloudFormation: the property `vpc` would need a lookup of the VPC, with credentials.
    if (inVpc(props)) {
      const { subnetIds, securityGroupIds } = props;
      (this.rotation.node.defaultChild as lambda.CfnFunction).vpcConfig = { subnetIds, securityGroupIds };
    }
    this.attach(props.secrets ?? {});

    this.alarms = new sns.Topic(this, 'Alarms', { topicName: `${name}-alarms` });
    if (props.alarmEmail) this.alarms.addSubscription(new EmailSubscription(props.alarmEmail));
    this.alarms.addToResourcePolicy(
      new iam.PolicyStatement({
        sid: 'AlarmsOfThisAccount',
        actions: ['sns:Publish'],
        resources: [this.alarms.topicArn],
        principals: [new iam.ServicePrincipal('cloudwatch.amazonaws.com')],
        conditions: {
          ArnLike: { 'aws:SourceArn': `arn:${this.partition}:cloudwatch:${this.region}:${this.account}:alarm:*` },
        },
      }),
    );
    this.watchServiceEvents(name, props.secretNamePrefix ?? '');
    if (watchSchedule !== 'never') this.watchSchedules(name, watchSchedule);
    this.watchMetrics(name, props.kind, watchSchedule !== 'never');
    this.watchTheWatch(name, watchSchedule);

    new CfnOutput(this, 'FunctionArn', { value: this.rotation.functionArn });
    new CfnOutput(this, 'RoleArn', { value: role.roleArn });
    new CfnOutput(this, 'AttachCommand', {
      description: 'Attaches a secret that `secrets` does not name.',
      value:
        `aws secretsmanager rotate-secret --region ${this.region} --secret-id YOUR-SECRET` +
        ` --rotation-lambda-arn ${this.rotation.functionArn}` +
        ' --rotation-rules AutomaticallyAfterDays=30 --no-rotate-immediately',
    });
    new CfnOutput(this, 'AlarmTopicArn', { value: this.alarms.topicArn });
  }

  /**
   * Names the function in each secret's schedule. `Secret.addRotationSchedule` would give the role permissions without the
   * conditions below, and let Secrets Manager invoke the function for every account.
   */
  private attach(secrets: Record<string, ServedSecret>) {
    const permission = new lambda.CfnPermission(this, 'SecretsManager', {
      action: 'lambda:InvokeFunction',
      functionName: this.rotation.functionArn,
      principal: 'secretsmanager.amazonaws.com',
      sourceAccount: this.account,
    });
    for (const [name, secret] of Object.entries(secrets)) {
      const schedule = new CfnRotationSchedule(this, `Rotation-${name}`, {
        secretId: secret.arn,
        rotationLambdaArn: this.rotation.functionArn,
        rotateImmediatelyOnUpdate: secret.rotateImmediately ?? false,
        rotationRules: { scheduleExpression: secret.schedule, duration: secret.window },
      });
      // Without the permission, Secrets Manager refuses the function.
      schedule.node.addDependency(permission);
    }
  }

  private permissions(name: string, logGroup: logs.ILogGroup, props: LockstepProps): iam.PolicyStatement[] {
    const isDatabase = props.kind !== 'api-key';
    const own = (service: string, resource: string) =>
      `arn:${this.partition}:${service}:${this.region}:${this.account}:${resource}`;
    const secrets = (prefix: string) => own('secretsmanager', `secret:${prefix}*`);
    // Built from the name, because with the function's own ARN the role and the function would depend on each other.
    const functionArn = own('lambda', `function:${name}`);
    const { superuserSecretArns = [], adminSecretArns = [], issuerSourceArns = [], kmsKeyArns = [] } = props;

    const statements = [
      new iam.PolicyStatement({
        sid: 'SecretsThatNameThisFunction',
        actions: [
          'secretsmanager:DescribeSecret',
          'secretsmanager:GetSecretValue',
          'secretsmanager:PutSecretValue',
        ],
        resources: [secrets(props.secretNamePrefix ?? '')],
        conditions: { StringEquals: { 'secretsmanager:resource/AllowRotationLambdaArn': functionArn } },
      }),
      // PutSecretValue moves AWSPENDING. IAM cannot limit the labels of that call.
      new iam.PolicyStatement({
        sid: 'LabelsOfARotation',
        actions: ['secretsmanager:UpdateSecretVersionStage'],
        resources: [secrets(props.secretNamePrefix ?? '')],
        conditions: {
          StringEquals: { 'secretsmanager:resource/AllowRotationLambdaArn': functionArn },
          'ForAnyValue:StringEquals': {
            'secretsmanager:VersionStage': props.kind === 'mysql' ? ['AWSCURRENT', 'LockstepRefused'] : ['AWSCURRENT'],
          },
        },
      }),
      // Shows names, tags and dates of all secrets, but no value. IAM has no narrower resource for this action.
      new iam.PolicyStatement({ sid: 'FindOverdueRotations', actions: ['secretsmanager:ListSecrets'], resources: ['*'] }),
      new iam.PolicyStatement({
        sid: 'OwnLogs',
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:FilterLogEvents'],
        resources: [logGroup.logGroupArn],
      }),
      // Shows ids, labels and dates of versions, and no value: for a secret's history, and to find a password in a version that has lost
      // its label.
      new iam.PolicyStatement({
        sid: 'OlderVersions',
        actions: ['secretsmanager:ListSecretVersionIds'],
        resources: [secrets(props.secretNamePrefix ?? '')],
        conditions: { StringEquals: { 'secretsmanager:resource/AllowRotationLambdaArn': functionArn } },
      }),
    ];
    if (isDatabase && superuserSecretArns.length > 0) {
      statements.push(
        new iam.PolicyStatement({
          sid: 'SuperuserSecrets',
          actions: ['secretsmanager:DescribeSecret'],
          resources: superuserSecretArns,
        }),
        new iam.PolicyStatement({
          sid: 'SuperuserPasswords',
          actions: ['secretsmanager:GetSecretValue'],
          resources: superuserSecretArns,
          conditions: { 'ForAnyValue:StringEquals': { 'secretsmanager:VersionStage': ['AWSCURRENT'] } },
        }),
        // Finds the server of a superuser's secret that RDS manages.
        new iam.PolicyStatement({
          sid: 'ServersOfSuperusers',
          actions: ['rds:DescribeDBInstances', 'rds:DescribeDBClusters'],
          resources: ['db', 'cluster'].map((kind) => own('rds', `${kind}:*`)),
        }),
      );
    }
    if (!isDatabase && adminSecretArns.length > 0) {
      statements.push(
        new iam.PolicyStatement({
          sid: 'AdminSecrets',
          actions: ['secretsmanager:DescribeSecret'],
          resources: adminSecretArns,
        }),
        new iam.PolicyStatement({
          sid: 'AdminCredentials',
          actions: ['secretsmanager:GetSecretValue'],
          resources: adminSecretArns,
          conditions: { 'ForAnyValue:StringEquals': { 'secretsmanager:VersionStage': ['AWSCURRENT', 'AWSPREVIOUS'] } },
        }),
      );
    }
    if (!isDatabase && issuerSourceArns.length > 0) {
      statements.push(
        new iam.PolicyStatement({
          sid: 'DescriptionsOfIssuers',
          actions: ['ssm:GetParameter', 'secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'],
          resources: issuerSourceArns,
        }),
      );
    }
    if (kmsKeyArns.length > 0) {
      statements.push(
        new iam.PolicyStatement({
          sid: 'KeysOfTheSecrets',
          actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
          resources: kmsKeyArns,
          // Only through Secrets Manager, and only for secrets of this account.
          conditions: {
            StringEquals: { 'kms:ViaService': `secretsmanager.${this.region}.${this.urlSuffix}` },
            StringLike: { 'kms:EncryptionContext:SecretARN': secrets('') },
          },
        }),
      );
    }
    if (inVpc(props)) {
      // Lambda needs these to attach the function to subnets. The second statement denies them to the function's code.
      const actions = [
        'ec2:CreateNetworkInterface',
        'ec2:DeleteNetworkInterface',
        'ec2:DescribeNetworkInterfaces',
        'ec2:DescribeSubnets',
        'ec2:AssignPrivateIpAddresses',
        'ec2:UnassignPrivateIpAddresses',
      ];
      statements.push(
        new iam.PolicyStatement({ sid: 'NetworkInterfacesForLambda', actions, resources: ['*'] }),
        new iam.PolicyStatement({
          sid: 'NetworkInterfacesNotForTheCode',
          effect: iam.Effect.DENY,
          actions,
          resources: ['*'],
          conditions: { ArnEquals: { 'lambda:SourceFunctionArn': functionArn } },
        }),
      );
    }
    return statements;
  }

  /** Reports the failures that Secrets Manager publishes as events, because it has no metric for them. */
  private watchServiceEvents(name: string, prefix: string) {
    const secrets = `arn:${this.partition}:secretsmanager:${this.region}:${this.account}:secret:${prefix}`;
    new events.Rule(this, 'Failures', {
      ruleName: `${name}-failures`,
      description: 'Rotations that Secrets Manager reports as failed or given up',
      eventPattern: {
        source: ['aws.secretsmanager'],
        detailType: ['AWS Service Event via CloudTrail'],
        detail: {
          eventSource: ['secretsmanager.amazonaws.com'],
          eventName: ['RotationFailed', 'RotationAbandoned', 'TestRotationFailed'],
          ...(prefix && { additionalEventData: { SecretId: events.Match.prefix(secrets) } }),
        },
      },
      targets: [new targets.SnsTopic(this.alarms)],
    });
  }

  /** Has the function check all secrets that name it for rotations that are overdue or stuck. */
  private watchSchedules(name: string, schedule: string) {
    new events.Rule(this, 'Watch', {
      ruleName: `${name}-watch`,
      description: `Has ${name} check for secrets whose rotation is overdue`,
      schedule: events.Schedule.expression(schedule),
      targets: [
        new targets.LambdaFunction(this.rotation, { event: events.RuleTargetInput.fromObject({ Step: 'watch' }) }),
      ],
    });
  }

  /** Alarms on the function's metrics. */
  private watchMetrics(name: string, kind: LockstepProps['kind'], watches: boolean) {
    const worst = (metricName: string, period: Duration) =>
      metric('Lockstep', metricName, 'Maximum', period, { FunctionName: name });
    const alarm = (id: string, says: string, metric: cloudwatch.IMetric, above = 0) =>
      this.alarm(`${name}-${id}`, says, metric, above);

    if (watches) {
      alarm('overdue', 'A secret should have been rotated more than a day ago.', worst('SecretsOverdue', DAY));
      alarm('stuck', 'A rotation was begun more than a day ago and not finished.', worst('SecretsStuck', DAY));
    }
    alarm('near-timeout', 'A step took more than 80 % of its time. Raise `timeout`?', worst('StepTimeUsed', HOUR), 80);
    if (kind === 'api-key') {
      alarm('journal', 'Superseded API keys are still valid after their time.', worst('JournalOverdue', DAY));
    }
    const says = 'A rotation, or the check for overdue ones, failed for good, or three times in an hour.';
    alarm('rotation-failed', says, this.failures(name));
  }

  /** 1 if a step failed for good, or the function three times. FILL turns missing data into 0. */
  private failures(name: string): cloudwatch.IMetric {
    const steps = {
      create: 'createSecret',
      set: 'setSecret',
      test: 'testSecret',
      finish: 'finishSecret',
      watch: 'watch',
    };
    const permanent = (step: string) =>
      metric('Lockstep', 'StepsFailed', 'Sum', HOUR, { FunctionName: name, Step: step, Class: 'permanent' });
    const sum = Object.keys(steps).map((id) => `FILL(${id}, 0)`).join(' + ');
    return new cloudwatch.MathExpression({
      label: 'permanent failures, or three errors',
      expression: `IF(${sum} >= 1 OR FILL(errors, 0) >= 3, 1, 0)`,
      usingMetrics: {
        ...Object.fromEntries(Object.entries(steps).map(([id, step]) => [id, permanent(step)])),
        errors: metric('AWS/Lambda', 'Errors', 'Sum', HOUR, { FunctionName: name }),
      },
      period: HOUR,
    });
  }

  /** Alarms for rules that cannot reach their target, because these report nothing. */
  private watchTheWatch(name: string, schedule: string) {
    for (const rule of schedule === 'never' ? ['failures'] : ['failures', 'watch']) {
      const failed = metric('AWS/Events', 'FailedInvocations', 'Sum', HOUR, { RuleName: `${name}-${rule}` });
      this.alarm(`${name}-${rule}-rule-broken`, 'EventBridge could not reach the target of this rule.', failed, 0);
    }
  }

  /** An alarm that rings when a metric is above the threshold. */
  private alarm(name: string, says: string, metric: cloudwatch.IMetric, threshold: number) {
    new cloudwatch.Alarm(this, name, {
      alarmName: name,
      alarmDescription: says,
      metric,
      threshold,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 1,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    }).addAlarmAction(new SnsAction(this.alarms));
  }
}

function metric(
  namespace: string,
  metricName: string,
  statistic: string,
  period: Duration,
  dimensionsMap: Record<string, string>,
): cloudwatch.Metric {
  return new cloudwatch.Metric({ namespace, metricName, statistic, period, dimensionsMap });
}

/** One of the two is enough here: Lambda then refuses the function and says that both are needed. */
function inVpc({ subnetIds = [], securityGroupIds = [] }: LockstepProps): boolean {
  return subnetIds.length > 0 || securityGroupIds.length > 0;
}

/** Set but empty means none. If the variable were absent, every secret that the role can read would be allowed. */
function limits({ kind, superuserSecretArns = [], adminSecretArns = [] }: LockstepProps): Record<string, string> {
  return kind === 'api-key'
    ? { ADMIN_SECRET_ARNS: adminSecretArns.join(',') }
    : { SUPERUSER_SECRET_ARNS: superuserSecretArns.join(',') };
}
