import * as fs from 'node:fs';
import * as path from 'node:path';
import { CfnOutput, Duration, Names, RemovalPolicy, Stack, Tags, Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct, IConstruct } from 'constructs';
import { Alarms } from './alarms';
import { checkKind, variables } from './environment';
import { Kind, KINDS } from './kinds';
import { allowedSources, madeFrom, Permissions } from './permissions';
import { RotationFunctionProps } from './props';

/** How a secret is attached. */
export interface AttachOptions {
  /** How long the rotation window is, in whole hours. Default: Secrets Manager's own, until the end of the day. */
  readonly window?: Duration;
  /**
   * Rotate whenever the schedule changes, and now. Default: false. Secrets Manager then only has the function test the configuration.
   */
  readonly rotateImmediately?: boolean;
}

/**
 * A rotation function for Secrets Manager, with its role, its log and its alarms. `attach` has it rotate a secret.
 *
 * Everything that the construct makes depends on the stacks of the VPC, the secrets and the keys, and these never depend on the construct's
 * stack. So it can be in the same stack as the application, or in one of its own.
 */
export class RotationFunction extends Construct implements ec2.IConnectable {
  /** The function. Do not give it to `secret.addRotationSchedule`, which lets every account invoke it: use `attach`. */
  readonly function: lambda.IFunction;
  /** The role of the function. No construct can add permissions to it. */
  readonly role: iam.IRole;
  /** The topic that receives the alarms. */
  readonly alarmTopic: sns.ITopic;
  /** The function's log. It has the audit records. */
  readonly logGroup: logs.ILogGroup;

  private readonly permissions: Permissions;
  private readonly invokePermission: lambda.CfnPermission;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: RotationFunctionProps,
  ) {
    super(scope, id);
    checkKind(props);
    const name = functionName(props);
    const { rotates, makesFirstValue } = KINDS[props.kind];

    this.logGroup = new logs.LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${name}`,
      retention: props.logRetention ?? logs.RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
      ...(props.logEncryptionKey && { encryptionKey: props.logEncryptionKey }),
    });
    this.permissions = new Permissions(Stack.of(this), name, this.logGroup.logGroupArn, props);
    const role = new iam.Role(this, 'Role', {
      description: `Role of the rotation function ${name}`,
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      inlinePolicies: { rotation: this.permissions.document },
      ...(props.rolePath !== undefined && { path: props.rolePath }),
      ...(props.permissionsBoundary && { permissionsBoundary: props.permissionsBoundary }),
    });
    // Otherwise other constructs could add permissions to the role.
    this.role = role.withoutPolicyUpdates();
    this.function = new lambda.Function(this, 'Function', {
      functionName: name,
      description: `Rotates ${rotates} (Lockstep)`,
      code: props.code ?? releasedCode(props.kind, props.architecture ?? lambda.Architecture.X86_64),
      handler: 'bootstrap',
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture: props.architecture ?? lambda.Architecture.X86_64,
      layers: props.layers ?? [],
      memorySize: props.memorySize ?? 256,
      timeout: checkedTimeout(props.timeout ?? Duration.seconds(60)),
      tracing: props.tracing ?? lambda.Tracing.PASS_THROUGH,
      ...(props.reservedConcurrentExecutions !== undefined && {
        reservedConcurrentExecutions: props.reservedConcurrentExecutions,
      }),
      role: this.role,
      environment: this.environment(),
      logGroup: this.logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      // All levels, because the function itself filters by LOG_LEVEL.
      applicationLogLevelV2: lambda.ApplicationLogLevel.TRACE,
      ...this.network(),
    });
    // Lets Secrets Manager invoke the function, but only on behalf of this account.
    this.invokePermission = new lambda.CfnPermission(this, 'SecretsManager', {
      action: 'lambda:InvokeFunction',
      functionName: this.function.functionArn,
      principal: 'secretsmanager.amazonaws.com',
      sourceAccount: Stack.of(this).account,
    });
    this.alarmTopic = new Alarms(this, 'Alarms', { ...props, function: this.function, name }).topic;

    const output = (id: string, description: string, value: string) => new CfnOutput(this, id, { description, value });
    output('FunctionArn', `Function that rotates ${rotates}`, this.function.functionArn);
    output('AlarmTopicArn', 'SNS topic that receives the alarms', this.alarmTopic.topicArn);
    output(
      'AttachCommand',
      'Attaches a secret that this app does not attach. With --no-rotate-immediately it does not rotate yet.',
      `aws secretsmanager rotate-secret --region ${Stack.of(this).region} --secret-id YOUR-SECRET` +
        ` --rotation-lambda-arn ${this.function.functionArn}` +
        ' --rotation-rules AutomaticallyAfterDays=30' +
        (makesFirstValue ? '' : ' --no-rotate-immediately'),
    );
  }

  /** The connections of a function in a VPC, as in `database.connections.allowDefaultPortFrom(rotation)`. */
  get connections(): ec2.Connections {
    return this.function.connections;
  }

  /**
   * Has the function rotate a secret. The schedule becomes a part of the function's stack. A customer managed key that encrypts the secret
   * gets into the role's permissions, if the app knows it.
   *
   * @param secret the secret
   * @param schedule when, in UTC. Minutes must be 0. Secrets Manager rotates at most every four hours
   */
  attach(secret: secretsmanager.ISecret, schedule: events.Schedule, options: AttachOptions = {}): secretsmanager.CfnRotationSchedule {
    const { secretNamePrefix = '', secretTag } = this.props;
    const made = madeFrom(secret);
    if (!Token.isUnresolved(made.secretName) && !made.secretName.startsWith(secretNamePrefix)) {
      throw new Error(`The name of the secret ${made.secretName} does not begin with ${secretNamePrefix}, so the function could not read it.`);
    }
    if (secretTag) Tags.of(made).add(secretTag.key, secretTag.value);
    if (made.encryptionKey) this.permissions.allowKey(made.encryptionKey);
    // `secret.addRotationSchedule` would give the role permissions without conditions, let Secrets Manager invoke the function for every
    // account, and make the secret's stack depend on this one.
    const attached = new secretsmanager.CfnRotationSchedule(this, `Rotation${Names.nodeUniqueId(secret.node)}`, {
      secretId: secret.secretArn,
      rotationLambdaArn: this.function.functionArn,
      rotateImmediatelyOnUpdate: options.rotateImmediately ?? false,
      rotationRules: {
        scheduleExpression: schedule.expressionString,
        ...(options.window && { duration: `${options.window.toHours()}h` }),
      },
    });
    // Without the permission, Secrets Manager refuses the function.
    attached.node.addDependency(this.invokePermission);
    return attached;
  }

  private environment(): Record<string, string> {
    const limits = {
      'superuser secrets': 'SUPERUSER_SECRET_ARNS',
      'admin secrets and descriptions of issuers': 'ADMIN_SECRET_ARNS',
      'account secrets': 'ACCOUNT_SECRET_ARNS',
      'nothing else': '',
    };
    const limit = limits[KINDS[this.props.kind].reads];
    return {
      ...variables(this.props),
      // Set but empty means none. If the variable were absent, every secret that the role can read would be allowed.
      ...(limit && { [limit]: allowedSources(Stack.of(this), this.props).join(',') }),
      ...this.props.environment,
    };
  }

  private network(): { vpc?: ec2.IVpc; vpcSubnets?: ec2.SubnetSelection; securityGroups?: ec2.ISecurityGroup[] } {
    const { vpc, vpcSubnets, securityGroups } = this.props;
    if (!vpc) {
      if (vpcSubnets || securityGroups) throw new Error('The properties vpcSubnets and securityGroups need vpc.');
      return {};
    }
    return { vpc, vpcSubnets: vpcSubnets ?? reachable(vpc), securityGroups: securityGroups ?? [this.securityGroup(vpc)] };
  }

  /**
   * A group in the stack of the VPC. A database of that stack that lets the group in would otherwise make its stack depend on this one,
   * which depends on that one for the VPC.
   */
  private securityGroup(vpc: ec2.IVpc): ec2.SecurityGroup {
    const own = Stack.of(vpc) === Stack.of(this);
    const scope: IConstruct = own ? this : Stack.of(vpc);
    return new ec2.SecurityGroup(scope as Construct, own ? 'SecurityGroup' : `${Names.nodeUniqueId(this.node)}SecurityGroup`, {
      vpc,
      description: `Rotation function ${functionName(this.props)}`,
    });
  }
}

/** The name of the function. */
function functionName({ namePrefix = 'lockstep', kind }: RotationFunctionProps): string {
  const name = `${namePrefix}-${kind}`;
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(name)) {
    throw new Error(`The function cannot be called ${name}: a letter, and at most 63 letters, digits, hyphens and underscores.`);
  }
  return name;
}

/** Private subnets with a NAT, or isolated ones. Those need an interface endpoint for Secrets Manager. */
export function reachable(vpc: ec2.IVpc): ec2.SubnetSelection {
  return vpc.privateSubnets.length > 0
    ? { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS }
    : { subnetType: ec2.SubnetType.PRIVATE_ISOLATED };
}

function checkedTimeout(timeout: Duration): Duration {
  if (timeout.toSeconds() < 15 || timeout.toSeconds() > 900) throw new Error('The timeout must be 15 to 900 seconds.');
  return timeout;
}

/** The zip in this package, or the one that `cargo lambda build` has made in this repository. */
export function releasedCode(kind: Kind | 'fleet', architecture: lambda.Architecture): lambda.Code {
  const places = [`../functions/lockstep-${kind}-${architecture.name}.zip`, `../../../target/lambda/lockstep-${kind}/bootstrap.zip`];
  const found = places.map((it) => path.join(__dirname, it)).find((it) => fs.existsSync(it));
  if (found === undefined) {
    throw new Error(
      `There is no zip of the function for ${kind} and ${architecture.name} in this package. Give its place in the property code: ` +
        `lambda.Code.fromAsset('lockstep-${kind}-${architecture.name}.zip') for a file of a release, or lambda.Code.fromBucket(...).`,
    );
  }
  return lambda.Code.fromAsset(found);
}
