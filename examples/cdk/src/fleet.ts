import * as fs from 'node:fs';
import * as path from 'node:path';
import { CfnOutput, Duration, Fn, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as api from 'aws-cdk-lib/aws-apigatewayv2';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as ssm from 'aws-cdk-lib/aws-ssm';
import * as sfn from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { FleetAlarms } from './fleet-alarms';
import { FleetProps } from './fleet-props';
import { FleetRoles, Statement } from './fleet-roles';
import { reachable, releasedCode } from './rotation';

// Whatever the line says.
const LEAKED = '{ $.target = "rotation::notice" }';

/**
 * Rotates the secrets of rotation functions in waves, or at once after a leak: a state machine, its function, a function for a page that plans
 * and shows runs, and one that finds the secret of a leaked credential. docs/fleet.md says how to start a run.
 */
export class Fleet extends Construct {
  /** The state machine: `aws stepfunctions start-execution --state-machine-arn`. */
  readonly stateMachineArn: string;
  /** The function that takes each step of a run. Only the state machine needs to invoke it: it takes the state of a run from its caller. */
  readonly function: lambda.IFunction;
  /** The function that plans and shows runs, for a custom widget of a dashboard. */
  readonly page: lambda.IFunction;
  /** The function that finds the secret of a leaked credential, with `fingerprintKeySecret`. */
  readonly leaks?: lambda.IFunction;
  /** For people who may begin and stop runs. */
  readonly onCallPolicy: iam.IManagedPolicy;

  private readonly name: string;
  private readonly roles: FleetRoles;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: FleetProps,
  ) {
    super(scope, id);
    const { fingerprintKeySecret, fingerprintSchedule, webhookSecret, hearAwsFindings = false, startOnLeak = false } = props;
    if (!fingerprintKeySecret && (webhookSecret || hearAwsFindings || startOnLeak)) {
      throw new Error('The properties webhookSecret, hearAwsFindings and startOnLeak need fingerprintKeySecret.');
    }
    if (!webhookSecret && (props.gitHubTokenSecret || props.gitHubApiUrl !== undefined)) {
      throw new Error('The properties gitHubTokenSecret and gitHubApiUrl need webhookSecret.');
    }
    if (props.functions.length === 0) throw new Error('The property functions names no rotation function.');
    this.name = `${props.namePrefix ?? 'lockstep'}-fleet`;
    this.roles = new FleetRoles(Stack.of(this), this.name, props);

    const key = { FINGERPRINT_KEY_SECRET: fingerprintKeySecret?.secretArn ?? '' };
    this.function = this.made('Fleet', this.name, 'Takes each step of a run of the fleet', Duration.seconds(900), (log) => this.roles.fleet(log), {
      SERVES: 'runs',
      AWS_ENDPOINT_URL_SSM: props.ssmEndpoint ?? '',
      STOP_PARAMETER: this.roles.stopParameter,
      ...key,
    });
    this.page = this.made('Page', `${this.name}-page`, 'Plans the rotation of many secrets for a dashboard, and shows the runs', Duration.seconds(900), (log) => this.roles.page(log), {
      SERVES: 'page',
      AWS_ENDPOINT_URL_SSM: props.ssmEndpoint ?? '',
      AWS_ENDPOINT_URL_SFN: props.stepFunctionsEndpoint ?? '',
      STATE_MACHINE_ARN: this.roles.machineArn,
      STOP_PARAMETER: this.roles.stopParameter,
      ALLOW_PAGE_RUNS: String(props.allowPageRuns ?? false),
    });
    new ssm.CfnParameter(this, 'Stop', {
      name: this.roles.stopParameter,
      type: 'String',
      value: 'go',
      description: `stop, or the name of a run of ${this.name}, stops it before its next part`,
    });
    this.stateMachineArn = this.machine();
    const rules: string[] = [];
    let apiId: string | undefined;
    if (fingerprintKeySecret) {
      const leaks = this.made('Leaks', `${this.name}-leaks`, 'Finds the secret of a leaked credential', props.timeout ?? Duration.seconds(60), (log) => this.roles.leaks(log), {
        AWS_ENDPOINT_URL_SFN: props.stepFunctionsEndpoint ?? '',
        ...key,
        WEBHOOK_SECRET: webhookSecret?.secretArn ?? '',
        GITHUB_TOKEN_SECRET: props.gitHubTokenSecret?.secretArn ?? '',
        GITHUB_API_URL: props.gitHubApiUrl ?? '',
        CA_BUNDLE: props.caBundle ?? '',
        STATE_MACHINE_ARN: this.roles.machineArn,
        START_ON_LEAK: String(startOnLeak),
        // Whoever may report a leak may not rotate.
        SERVES: 'leaks',
      });
      new logs.CfnMetricFilter(this, 'LeaksNotices', {
        logGroupName: leaks.logGroup.logGroupName,
        filterPattern: LEAKED,
        metricTransformations: [{ metricNamespace: `Lockstep/${props.namePrefix ?? 'lockstep'}`, metricName: 'LeakNotices', metricValue: '1' }],
      });
      this.leaks = leaks;
      if (fingerprintSchedule !== 'never') rules.push(this.fingerprints(fingerprintSchedule ?? events.Schedule.rate(Duration.days(1))));
      if (hearAwsFindings) rules.push(...this.findings(leaks));
      if (webhookSecret) apiId = this.webhook(leaks);
    }
    new FleetAlarms(this, 'Alarms', props, { name: this.name, machineArn: this.stateMachineArn, rules, ...(apiId !== undefined && { apiId }) });
    this.onCallPolicy = new iam.ManagedPolicy(this, 'OnCall', {
      description: `Begin, watch and stop runs of ${this.name}`,
      document: document(this.roles.onCall()),
      ...(props.rolePath !== undefined && { path: props.rolePath }),
    });
    new CfnOutput(this, 'FleetArn', { description: 'State machine of the fleet', value: this.stateMachineArn });
    new CfnOutput(this, 'FleetOnCallPolicyArn', { description: 'Policy for those who may begin and stop runs', value: this.onCallPolicy.managedPolicyArn });
  }

  /** One of the functions. They are the same program. */
  private made(id: string, name: string, does: string, timeout: Duration, allows: (logGroupArn: string) => Statement[], environment: Record<string, string>) {
    const { props } = this;
    const logGroup = new logs.LogGroup(this, `${id}Logs`, {
      logGroupName: `/aws/lambda/${name}`,
      retention: props.logRetention ?? logs.RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY,
      ...(props.logEncryptionKey && { encryptionKey: props.logEncryptionKey }),
    });
    const role = this.role(`${id}Role`, `Role of the function ${name}`, new iam.ServicePrincipal('lambda.amazonaws.com'), allows(logGroup.logGroupArn));
    const { vpc, vpcSubnets, securityGroups } = props;
    return new lambda.Function(this, id, {
      functionName: name,
      description: `${does} (Lockstep)`,
      code: props.code ?? releasedCode('fleet', props.architecture ?? lambda.Architecture.X86_64),
      handler: 'bootstrap',
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture: props.architecture ?? lambda.Architecture.X86_64,
      layers: props.layers ?? [],
      memorySize: props.memorySize ?? 256,
      timeout,
      tracing: props.tracing ?? lambda.Tracing.PASS_THROUGH,
      role: role.withoutPolicyUpdates(),
      environment: { LOG_LEVEL: props.logLevel ?? 'INFO', SECRETS_MANAGER_ENDPOINT: props.secretsManagerEndpoint ?? '', ...environment },
      logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      // All levels, because the function itself filters by LOG_LEVEL.
      applicationLogLevelV2: lambda.ApplicationLogLevel.TRACE,
      ...(vpc && { vpc, vpcSubnets: vpcSubnets ?? reachable(vpc), ...(securityGroups && { securityGroups }) }),
    });
  }

  private role(id: string, description: string, assumedBy: iam.IPrincipal, statements: Statement[]): iam.Role {
    const { rolePath, permissionsBoundary } = this.props;
    return new iam.Role(this, id, {
      description,
      assumedBy,
      inlinePolicies: { rotation: document(statements) },
      ...(rolePath !== undefined && { path: rolePath }),
      ...(permissionsBoundary && { permissionsBoundary }),
    });
  }

  private machine(): string {
    const only = { StringEquals: { 'aws:SourceAccount': Stack.of(this).account }, ArnLike: { 'aws:SourceArn': this.roles.machineArn } };
    const states = new iam.ServicePrincipal('states.amazonaws.com', { conditions: only });
    const role = this.role('MachineRole', `Role of the state machine ${this.name}`, states, this.roles.machine());
    return new sfn.CfnStateMachine(this, 'Machine', {
      stateMachineName: this.name,
      stateMachineType: 'STANDARD',
      roleArn: role.roleArn,
      tracingConfiguration: { enabled: this.roles.traced() },
      definitionString: Fn.sub(definition(), { FleetFunctionArn: this.function.functionArn }),
    }).attrArn;
  }

  /** A rule that writes the fingerprints of all secrets, and its name. */
  private fingerprints(schedule: events.Schedule): string {
    const { functions, secretNamePrefix = '', secretTag } = this.props;
    // Those that the role may read and tag. Each other one would be told as a failure.
    const select = {
      names: [`${secretNamePrefix}*`],
      functions: functions.map((it) => it.functionArn),
      ...(secretTag && { tags: { [secretTag.key]: secretTag.value } }),
    };
    const input = Stack.of(this).toJsonString({ Do: 'fingerprints', Select: select });
    return this.rule('Fingerprints', this.function, {
      description: "Has the fleet's function write the fingerprints of all secrets into their tags",
      scheduleExpression: schedule.expressionString,
      targets: [{ id: 'fleet', arn: this.function.functionArn, input }],
    });
  }

  /** The rules for what AWS itself reports. */
  private findings(leaks: lambda.IFunction): string[] {
    const targets = [{ id: 'leaks', arn: leaks.functionArn }];
    const health = { source: ['aws.health'], 'detail-type': ['AWS Health Event'], detail: { eventTypeCode: ['AWS_RISK_CREDENTIALS_EXPOSED'] } };
    const duty = {
      source: ['aws.guardduty'],
      'detail-type': ['GuardDuty Finding'],
      detail: { resource: { accessKeyDetails: { accessKeyId: [{ exists: true }] } } },
    };
    return [
      this.rule('Health', leaks, { description: 'Hands on the access keys that AWS Health reports as exposed', eventPattern: health, targets }),
      this.rule('GuardDuty', leaks, { description: 'Hands on the access keys that findings of GuardDuty name', eventPattern: duty, targets }),
    ];
  }

  private rule(id: string, target: lambda.IFunction, props: events.CfnRuleProps): string {
    const rule = new events.CfnRule(this, id, props);
    new lambda.CfnPermission(this, `${id}Permission`, {
      action: 'lambda:InvokeFunction',
      functionName: target.functionArn,
      principal: 'events.amazonaws.com',
      sourceArn: rule.attrArn,
    });
    return rule.ref;
  }

  /** A public address for GitHub's webhook. The function follows only what has the signature of the webhook's secret. */
  private webhook(leaks: lambda.IFunction): string {
    const made = new api.CfnApi(this, 'Webhook', {
      name: `${this.name}-leaks`,
      description: "Receives the webhook of GitHub's secret scanning",
      protocolType: 'HTTP',
    });
    const integration = new api.CfnIntegration(this, 'WebhookIntegration', {
      apiId: made.ref,
      integrationType: 'AWS_PROXY',
      integrationUri: leaks.functionArn,
      payloadFormatVersion: '2.0',
    });
    new api.CfnRoute(this, 'WebhookRoute', {
      apiId: made.ref,
      routeKey: 'POST /github',
      authorizationType: 'NONE',
      target: `integrations/${integration.ref}`,
    });
    const limit = this.props.webhookRequestsPerSecond ?? 5;
    new api.CfnStage(this, 'WebhookStage', {
      apiId: made.ref,
      stageName: '$default',
      autoDeploy: true,
      defaultRouteSettings: { throttlingRateLimit: limit, throttlingBurstLimit: limit },
    });
    const { partition, region, account } = Stack.of(this);
    new lambda.CfnPermission(this, 'WebhookPermission', {
      action: 'lambda:InvokeFunction',
      functionName: leaks.functionArn,
      principal: 'apigateway.amazonaws.com',
      sourceArn: `arn:${partition}:execute-api:${region}:${account}:${made.ref}/$default/POST/github`,
    });
    new CfnOutput(this, 'LeakWebhookUrl', { description: "Address for the webhook of GitHub's secret scanning", value: `${made.attrApiEndpoint}/github` });
    return made.ref;
  }
}

function document(statements: Statement[]): iam.PolicyDocument {
  return iam.PolicyDocument.fromJson({ Version: '2012-10-17', Statement: statements });
}

/** The definition of the state machine, in this package or in this repository. */
function definition(): string {
  const places = ['../functions/state-machine.asl.json', '../../../functions/fleet/state-machine.asl.json'].map((it) => path.join(__dirname, it));
  const found = places.find((it) => fs.existsSync(it));
  if (found === undefined) throw new Error('This package has no state-machine.asl.json.');
  return fs.readFileSync(found, 'utf-8').trim();
}
