import { Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { FleetProps } from './fleet-props';
import { arn, secretArn } from './permissions';

/** A statement of a policy, as IAM writes it. */
export type Statement = Record<string, unknown>;

/** What the roles of a fleet allow. docs/deploy.md#permissions explains each statement. */
export class FleetRoles {
  readonly machineArn: string;
  readonly stopParameter: string;
  private readonly functions: string[];
  private readonly served: string;

  constructor(
    private readonly stack: Stack,
    private readonly name: string,
    private readonly props: FleetProps,
  ) {
    this.functions = props.functions.map((it) => it.functionArn);
    this.served = `${secretArn(stack, props.secretNamePrefix ?? '')}*`;
    // By its name, because its own role needs it.
    this.machineArn = arn(stack, 'states', `stateMachine:${name}`);
    this.stopParameter = `/${props.namePrefix ?? 'lockstep'}/fleet/stop`;
  }

  /** Of the function that takes each step. */
  fleet(logGroupArn: string): Statement[] {
    const { fingerprintKeySecret, rekeyKeys = [] } = this.props;
    const served = this.ofTheseFunctions();
    const read = ['DescribeSecret', 'GetSecretValue', 'ListSecretVersionIds', 'RotateSecret'].map((it) => `secretsmanager:${it}`);
    const statements = [
      ...this.common(),
      // RotateSecret may not give a secret to another function.
      allow('SecretsOfTheFleet', read, this.served, { StringEquals: served, Null: { 'secretsmanager:RotationLambdaARN': 'true' } }),
      allow('RotateBySecretsManager', 'lambda:InvokeFunction', this.functions),
      allow('RollBack', 'secretsmanager:UpdateSecretVersionStage', this.served, {
        StringEquals: served,
        'ForAnyValue:StringEquals': { 'secretsmanager:VersionStage': 'AWSCURRENT' },
      }),
      allow('StopFlag', 'ssm:GetParameter', this.flag()),
      ownLogs(logGroupArn),
    ];
    if (fingerprintKeySecret) {
      statements.push(
        this.fingerprintKey(),
        // No other tag: one could allow an emergency, or access.
        allow('TagsWithFingerprints', 'secretsmanager:TagResource', this.served, {
          StringEquals: served,
          'ForAllValues:StringEquals': { 'aws:TagKeys': 'lockstep:fingerprints' },
        }),
      );
    }
    if (rekeyKeys.length > 0) {
      const keys = rekeyKeys.map((it) => it.keyArn);
      statements.push(
        // It could also write a value: IAM cannot allow the key alone.
        allow('RekeyTheFleet', 'secretsmanager:UpdateSecret', this.served, {
          StringEquals: served,
          ArnEquals: { 'secretsmanager:KmsKeyArn': keys },
        }),
        allow('NewKeys', ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey'], keys, this.throughSecretsManager()),
        allow('WhetherAKeyCanBeUsed', 'kms:DescribeKey', keys),
      );
    }
    return [...statements, ...this.onlyTagged()];
  }

  /** Of the function that whoever sees the page may invoke. It rotates nothing. */
  page(logGroupArn: string): Statement[] {
    const read = ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'];
    const watch = ['states:ListExecutions', 'states:DescribeExecution'];
    return [
      ...this.common(),
      allow('SecretsOfThePlans', read, this.served, { StringEquals: this.ofTheseFunctions() }),
      allow('StopFlag', 'ssm:GetParameter', this.flag()),
      allow('RunsForThePage', watch, [this.machineArn, arn(this.stack, 'states', `execution:${this.name}:*`)]),
      ...(this.props.allowPageRuns
        ? [allow('RunFromThePage', 'states:StartExecution', this.machineArn), allow('StopFromThePage', 'ssm:PutParameter', this.flag())]
        : []),
      ownLogs(logGroupArn),
      ...this.onlyTagged(),
    ];
  }

  /** Of the function that strangers can send requests to. */
  leaks(logGroupArn: string): Statement[] {
    const { webhookSecret, gitHubTokenSecret, startOnLeak } = this.props;
    return [
      ...this.common(),
      this.fingerprintKey(),
      ...(webhookSecret ? [allow('SecretOfTheWebhook', 'secretsmanager:GetSecretValue', webhookSecret.secretArn)] : []),
      ...(gitHubTokenSecret ? [allow('TokenForAlerts', 'secretsmanager:GetSecretValue', gitHubTokenSecret.secretArn)] : []),
      ...(startOnLeak
        ? [
            allow('StartAnEmergency', 'states:StartExecution', this.machineArn),
            allow('WhetherItHasFailed', 'states:DescribeExecution', arn(this.stack, 'states', `execution:${this.name}:leak-*`)),
          ]
        : []),
      ownLogs(logGroupArn),
    ];
  }

  /** Of the state machine. */
  machine(): Statement[] {
    const executions = [':*', '/*'].map((it) => arn(this.stack, 'states', `execution:${this.name}${it}`));
    const traces = ['PutTraceSegments', 'PutTelemetryRecords', 'GetSamplingRules', 'GetSamplingTargets'].map((it) => `xray:${it}`);
    return [
      allow('TakeEachStep', 'lambda:InvokeFunction', arn(this.stack, 'lambda', `function:${this.name}`)),
      allow('AskWhetherASecretIsWell', 'lambda:InvokeFunction', this.functions),
      // A distributed Map runs each lane as an execution of the same machine.
      allow('BeginLanes', 'states:StartExecution', this.machineArn),
      allow('FollowLanes', ['states:DescribeExecution', 'states:StopExecution'], executions),
      ...(this.traced() ? [allow('Traces', traces, '*')] : []),
    ];
  }

  /** Of the people who may begin and stop runs. */
  onCall(): Statement[] {
    const states = ['StartExecution', 'StopExecution', 'ListExecutions', 'DescribeExecution', 'GetExecutionHistory'];
    const look = ['GetFunction', 'GetFunctionConfiguration', 'GetFunctionConcurrency', 'GetPolicy'];
    return [
      // An emergency after a leak, and any other order: IAM does not see what is in it.
      allow('RunTheFleet', states.map((it) => `states:${it}`), [this.machineArn, arn(this.stack, 'states', `execution:${this.name}:*`)]),
      allow('StopTheFleet', ['ssm:GetParameter', 'ssm:PutParameter'], this.flag()),
      // Not the function that takes the state of a run from whoever invokes it.
      allow('AskTheFleet', 'lambda:InvokeFunction', ['page', 'leaks'].map((it) => arn(this.stack, 'lambda', `function:${this.name}-${it}`))),
      allow('LookAtTheFleet', look.map((it) => `lambda:${it}`), this.names().map((it) => arn(this.stack, 'lambda', `function:${it}`))),
      allow('ReadTheFleetsLogs', ['logs:FilterLogEvents', 'logs:StartQuery'], this.names().map((it) => arn(this.stack, 'logs', `log-group:/aws/lambda/${it}:*`))),
    ];
  }

  traced(): boolean {
    return this.props.tracing === lambda.Tracing.ACTIVE;
  }

  /** The names of the functions. */
  private names(): string[] {
    return [this.name, `${this.name}-page`, `${this.name}-leaks`];
  }

  private flag(): string {
    return arn(this.stack, 'ssm', `parameter${this.stopParameter}`);
  }

  private ofTheseFunctions() {
    return { 'secretsmanager:resource/AllowRotationLambdaArn': this.functions };
  }

  /** Denies what secrets without the tag would allow. */
  private onlyTagged(): Statement[] {
    const { secretTag } = this.props;
    if (!secretTag) return [];
    const calls = ['DescribeSecret', 'ListSecretVersionIds', 'GetSecretValue', 'PutSecretValue', 'RotateSecret', 'TagResource', 'UpdateSecret'];
    const denied = allow('SecretsWithoutTheTag', [...calls, 'UpdateSecretVersionStage'].map((it) => `secretsmanager:${it}`), '*', {
      StringEquals: this.ofTheseFunctions(),
      StringNotEquals: { [`secretsmanager:ResourceTag/${secretTag.key}`]: secretTag.value },
    });
    return [{ ...denied, Effect: 'Deny' }];
  }

  /** What all functions may do. */
  private common(): Statement[] {
    const { encryptionKeys = [], vpc } = this.props;
    const statements = [allow('FindOverdueRotations', 'secretsmanager:ListSecrets', '*')];
    if (encryptionKeys.length > 0) {
      const keys = encryptionKeys.map((it) => it.keyArn);
      // The roles of all functions have it: it shows the state of a key and uses none.
      const everyKey = `arn:${this.stack.partition}:kms:*:*:key/*`;
      statements.push(allow('StatesOfKeys', ['kms:DescribeKey', 'kms:GetKeyRotationStatus'], everyKey));
      statements.push(allow('KeysOfTheSecrets', ['kms:Decrypt', 'kms:GenerateDataKey'], keys, this.throughSecretsManager()));
    }
    if (this.traced()) statements.push(allow('Traces', ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], '*'));
    if (vpc) {
      const calls = ['CreateNetworkInterface', 'DeleteNetworkInterface', 'DescribeNetworkInterfaces', 'DescribeSubnets'];
      const actions = [...calls, 'AssignPrivateIpAddresses', 'UnassignPrivateIpAddresses'].map((it) => `ec2:${it}`);
      const own = this.names().map((it) => arn(this.stack, 'lambda', `function:${it}`));
      statements.push(allow('NetworkInterfacesForLambda', actions, '*'), {
        ...allow('NetworkInterfacesNotForTheCode', actions, '*', { ArnEquals: { 'lambda:SourceFunctionArn': own } }),
        Effect: 'Deny',
      });
    }
    return statements;
  }

  private fingerprintKey(): Statement {
    return allow('KeyOfTheFingerprints', 'secretsmanager:GetSecretValue', this.props.fingerprintKeySecret?.secretArn ?? '');
  }

  private throughSecretsManager() {
    const { region, urlSuffix } = this.stack;
    return {
      // In China the service's name may end in either.
      StringEquals: { 'kms:ViaService': [`secretsmanager.${region}.amazonaws.com`, `secretsmanager.${region}.${urlSuffix}`] },
      StringLike: { 'kms:EncryptionContext:SecretARN': `${secretArn(this.stack, '')}*` },
    };
  }
}

function ownLogs(logGroupArn: string): Statement {
  return allow('OwnLogs', ['logs:CreateLogStream', 'logs:PutLogEvents'], logGroupArn);
}

function allow(Sid: string, Action: string | string[], Resource: string | string[], Condition?: object): Statement {
  return { Sid, Effect: 'Allow', Action, Resource, ...(Condition && { Condition }) };
}
