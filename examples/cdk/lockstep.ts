import * as path from 'node:path';
import { CfnOutput, Duration, RemovalPolicy, Stack, StackProps } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as targets from 'aws-cdk-lib/aws-events-targets';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { CfnRotationSchedule } from 'aws-cdk-lib/aws-secretsmanager';
import * as sns from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Construct } from 'constructs';

export interface ServedSecret {
  readonly arn: string;
  /** `rate(…)` or `cron(…)`, in UTC. */
  readonly schedule: string;
  /** How long the window is, such as `2h`. */
  readonly window?: string;
  /** Rotate whenever this schedule changes. Default: false, Secrets Manager tests the configuration only. */
  readonly rotateImmediately?: boolean;
}

export interface LockstepProps extends StackProps {
  /** What the function rotates. `mysql` stands for MariaDB, too. */
  readonly kind: 'postgres' | 'mysql' | 'api-key';
  /** The zip file that `cargo lambda build` has made. Default: the one in target/lambda of this repository. */
  readonly package?: string;
  readonly architecture?: lambda.Architecture;
  /** The function is called PREFIX-KIND. Its permissions are built from this name. Default: lockstep. */
  readonly namePrefix?: string;
  /** The secrets to rotate, under names of your choice. */
  readonly secrets?: Record<string, ServedSecret>;
  /** Serve only secrets whose names begin like this. Default: any that names this function. */
  readonly secretNamePrefix?: string;
  /** Databases: the full ARNs of the secrets that `masterarn` may name. */
  readonly superuserSecretArns?: string[];
  /** API keys: the full ARNs of the secrets that `rotation.adminSecretArn` may name. */
  readonly adminSecretArns?: string[];
  /** API keys: the parameters and secrets that the variable ISSUERS names. */
  readonly issuerSourceArns?: string[];
  /** Customer managed keys that encrypt the secrets. */
  readonly kmsKeyArns?: string[];
  /** Where the database and Secrets Manager can be reached. Default: outside any VPC. */
  readonly vpc?: ec2.IVpc;
  readonly vpcSubnets?: ec2.SubnetSelection;
  readonly securityGroups?: ec2.ISecurityGroup[];
  /** Further environment variables of the function: docs/configuration.md. */
  readonly environment?: Record<string, string>;
  readonly logRetention?: logs.RetentionDays;
  /** Who is told of failures. AWS sends a mail that asks to confirm. */
  readonly alarmEmail?: string;
}

/** One rotation function, with its role, its alarms and the secrets that it rotates. */
export class LockstepStack extends Stack {
  readonly rotation: lambda.Function;
  readonly alarms: sns.Topic;

  constructor(scope: Construct, id: string, props: LockstepProps) {
    super(scope, id, props);
    const name = `${props.namePrefix ?? 'lockstep'}-${props.kind}`;

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
      memorySize: 256,
      timeout: Duration.seconds(60),
      // So that no construct adds to the permissions below.
      role: role.withoutPolicyUpdates(),
      environment: { ...limits(props), ...props.environment },
      logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      applicationLogLevelV2: lambda.ApplicationLogLevel.INFO,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      securityGroups: props.securityGroups,
    });
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
    this.watchSchedules(name);
    this.watchMetrics(name, props.kind);

    new CfnOutput(this, 'FunctionArn', { value: this.rotation.functionArn });
    new CfnOutput(this, 'RoleArn', { value: role.roleArn });
    new CfnOutput(this, 'AlarmTopicArn', { value: this.alarms.topicArn });
  }

  /**
   * Names the function in each secret's schedule. `Secret.addRotationSchedule` would give the role permissions without the
   * conditions below, and Secrets Manager one that holds for every account.
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
    // Built from the name: the function's own ARN would make the role and the function need each other.
    const functionArn = own('lambda', `function:${name}`);
    const { superuserSecretArns = [], adminSecretArns = [], issuerSourceArns = [], kmsKeyArns = [] } = props;

    const statements = [
      new iam.PolicyStatement({
        sid: 'SecretsThatNameThisFunction',
        actions: [
          'secretsmanager:DescribeSecret',
          'secretsmanager:GetSecretValue',
          'secretsmanager:PutSecretValue',
          'secretsmanager:UpdateSecretVersionStage',
        ],
        resources: [secrets(props.secretNamePrefix ?? '')],
        conditions: { StringEquals: { 'secretsmanager:resource/AllowRotationLambdaArn': functionArn } },
      }),
      // Names, tags and dates of all secrets, and no value. IAM has no narrower resource for it.
      new iam.PolicyStatement({ sid: 'FindOverdueRotations', actions: ['secretsmanager:ListSecrets'], resources: ['*'] }),
      new iam.PolicyStatement({
        sid: 'OwnLogs',
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [logGroup.logGroupArn],
      }),
    ];
    if (isDatabase && superuserSecretArns.length > 0) {
      statements.push(
        new iam.PolicyStatement({
          sid: 'SuperuserSecrets',
          actions: ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'],
          resources: superuserSecretArns,
        }),
        // Which server a superuser's secret is for, where RDS manages it.
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
          actions: ['secretsmanager:GetSecretValue'],
          resources: adminSecretArns,
        }),
      );
    }
    if (!isDatabase && issuerSourceArns.length > 0) {
      statements.push(
        new iam.PolicyStatement({
          sid: 'DescriptionsOfIssuers',
          actions: ['ssm:GetParameter', 'secretsmanager:GetSecretValue'],
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
    if (props.vpc) {
      // What Lambda itself needs to attach the function to subnets, and what the function's code is then denied.
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

  /** What Secrets Manager says of rotations: it has no metric for them. */
  private watchServiceEvents(name: string, prefix: string) {
    const secrets = `arn:${this.partition}:secretsmanager:${this.region}:${this.account}:secret:${prefix}`;
    new events.Rule(this, 'Failures', {
      ruleName: `${name}-failures`,
      description: 'Rotations that Secrets Manager calls failed or given up',
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

  /** Once a day the function looks at all secrets that name it: which are overdue, and which are stuck half-way. */
  private watchSchedules(name: string) {
    new events.Rule(this, 'Watch', {
      ruleName: `${name}-watch`,
      description: `Has ${name} look for secrets whose rotation is overdue`,
      schedule: events.Schedule.rate(Duration.days(1)),
      targets: [
        new targets.LambdaFunction(this.rotation, { event: events.RuleTargetInput.fromObject({ Step: 'watch' }) }),
      ],
    });
  }

  private watchMetrics(name: string, kind: LockstepProps['kind']) {
    const metric = (namespace: string, metricName: string, statistic: string, period: Duration, more = {}) =>
      new cloudwatch.Metric({
        namespace,
        metricName,
        statistic,
        period,
        dimensionsMap: { FunctionName: name, ...more },
      });
    const alarm = (id: string, says: string, metric: cloudwatch.IMetric, above: number) =>
      new cloudwatch.Alarm(this, `Alarm-${id}`, {
        alarmName: `${name}-${id}`,
        alarmDescription: says,
        metric,
        threshold: above,
        comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: 1,
        treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
      }).addAlarmAction(new SnsAction(this.alarms));
    const [hour, day] = [Duration.hours(1), Duration.days(1)];
    const worst = (metricName: string, period: Duration) => metric('Lockstep', metricName, 'Maximum', period);

    alarm('overdue', 'A secret should have been rotated more than a day ago.', worst('SecretsOverdue', day), 0);
    alarm('stuck', 'A rotation was begun more than a day ago and not finished.', worst('SecretsStuck', day), 0);
    alarm('near-timeout', 'A step took more than 80 % of its time.', worst('StepTimeUsed', hour), 80);
    if (kind === 'api-key') {
      alarm('journal', 'Superseded API keys are alive although their time is over.', worst('JournalOverdue', day), 0);
    }
    const steps = ['create', 'set', 'test', 'finish'];
    const permanent = (step: string) =>
      metric('Lockstep', 'StepsFailed', 'Sum', hour, { Step: `${step}Secret`, Class: 'permanent' });
    const failures = new cloudwatch.MathExpression({
      label: 'permanent failures, or three errors',
      expression: `IF(${steps.map((step) => `FILL(${step}, 0)`).join(' + ')} >= 1 OR FILL(errors, 0) >= 3, 1, 0)`,
      usingMetrics: {
        ...Object.fromEntries(steps.map((step) => [step, permanent(step)])),
        errors: metric('AWS/Lambda', 'Errors', 'Sum', hour),
      },
      period: hour,
    });
    alarm('rotation-failed', 'A rotation failed for good, or three times in an hour.', failures, 0);
  }
}

/** Set but empty means none, absent would mean any that the role can read. */
function limits({ kind, superuserSecretArns = [], adminSecretArns = [] }: LockstepProps): Record<string, string> {
  return kind === 'api-key'
    ? { ADMIN_SECRET_ARNS: adminSecretArns.join(',') }
    : { SUPERUSER_SECRET_ARNS: superuserSecretArns.join(',') };
}
