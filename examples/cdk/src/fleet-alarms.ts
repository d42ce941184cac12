import { Duration, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Construct } from 'constructs';
import { RUNBOOKS } from './alarms';
import { FleetProps } from './fleet-props';

/** What the alarms are about. */
export interface Watched {
  /** The name of the state machine and its function. */
  readonly name: string;
  readonly machineArn: string;
  /** The API of the webhook. */
  readonly apiId?: string;
  /** The rules of EventBridge by their names. */
  readonly rules: string[];
}

/** The alarms of a fleet. */
export class FleetAlarms extends Construct {
  constructor(
    scope: Construct,
    id: string,
    private readonly props: FleetProps,
    private readonly watched: Watched,
  ) {
    super(scope, id);
    const { name, machineArn, apiId, rules } = watched;
    const region = Stack.of(this).region;
    const executions = (more: string) => `aws stepfunctions list-executions --region ${region} --state-machine-arn ${machineArn}${more}`;
    const each = (names: string, command: string) => `for f in ${names}; do ${command}; done`;
    const tail = (function_: string, since: string, pattern: string) =>
      `aws logs tail /aws/lambda/${function_} --region ${region} --since ${since} --filter-pattern '${pattern}'`;
    const prefix = name.replace(/-fleet$/, '');
    const states = (metric: string) => this.metric('AWS/States', metric, { StateMachineArn: machineArn });

    this.alarm('run-failed', name, `A run of ${name} was stopped, by its own gate, by the stop flag or by an error. Secrets that it did not reach are not rotated.`, {
      first: executions(' --status-filter FAILED --max-items 5'),
      metric: this.most({ failed: states('ExecutionsFailed'), timedout: states('ExecutionsTimedOut') }),
    });
    this.alarm('errors', [name, `${name}-page`, `${name}-leaks`], `${name}, ${name}-page or ${name}-leaks crashed, ran out of time or ended with an error three times within an hour.`, {
      first: each('fleet fleet-page fleet-leaks', tail(`${prefix}-$f`, '1d', '?ERROR ?error ?timeout')),
      metric: this.most(
        { fleet: this.errors(name), page: this.errors(`${name}-page`), leaks: this.errors(`${name}-leaks`) },
        Duration.hours(1),
      ),
      atLeast: 3,
    });
    this.alarm('throttled', name, `Step Functions or Lambda slowed down ${name}, or refused to start an execution of any state machine of this account. An emergency may not have begun.`, {
      first: executions(' --max-items 5'),
      metric: this.most({
        machine: states('ExecutionThrottled'),
        starts: this.metric('AWS/States', 'ThrottledEvents', { APIName: 'StartExecution' }),
        function: this.metric('AWS/Lambda', 'Throttles', { FunctionName: name }),
      }),
    });
    if (props.fingerprintKeySecret) {
      this.alarm('credential-leaked', `${name}-leaks`, 'A credential of a secret has leaked, or may have. The line in the log names the secret and proposes an order; it has no value.', {
        first: tail(`${name}-leaks`, '1d', '{ $.target = "rotation::notice" }'),
        metric: this.metric(`Lockstep/${prefix}`, 'LeakNotices', {}),
      });
    }
    if (props.fingerprintKeySecret) {
      const count = (metric: string) => this.metric('Lockstep', metric, { FunctionName: name });
      this.alarm('fingerprints-missing', name, `${name} could not read secrets for their fingerprints, or not write their tags. A leak of one of them leads nowhere.`, {
        first: tail(name, '2d', '{ $.audit = "leak" && $.about = "*fingerprints*" }'),
        metric: this.most({ refused: count('FingerprintsRefused'), unread: count('FingerprintsUnread') }),
      });
    }
    if (apiId !== undefined) {
      this.alarm('webhook-refused', `${name}-leaks`, `The webhook of ${name}-leaks refused 20 requests or more within five minutes: a wrong secret at GitHub, or a flood. A real alert may have been refused as well.`, {
        first: tail(`${name}-leaks`, '1h', '{ $.audit = "leak" }'),
        metric: this.metric('AWS/ApiGateway', '4xx', { ApiId: apiId }),
        atLeast: 20,
      });
    }
    if (rules.length > 0) {
      const failed = rules.map((it, at) => [`rule${at}`, this.metric('AWS/Events', 'FailedInvocations', { RuleName: it })] as const);
      this.alarm('rule-broken', [name, `${name}-leaks`], `EventBridge could not invoke a function of ${name}: for the fingerprints, or for what AWS Health or GuardDuty reported.`, {
        first: each('fleet fleet-leaks', `aws lambda get-policy --function-name ${prefix}-$f --region ${region} --query Policy --output text`),
        metric: this.most(Object.fromEntries(failed)),
      });
    }
  }

  private alarm(suffix: string, logs: string | string[], says: string, rings: { first: string; metric: cloudwatch.IMetric; atLeast?: number }) {
    const groups = [logs].flat().map((it) => `/aws/lambda/${it}`);
    const last = groups.slice(-1).join('');
    const others = groups.slice(0, -1).join(', ');
    new cloudwatch.Alarm(this, suffix, {
      alarmName: `${this.watched.name}-${suffix}`,
      alarmDescription: [
        says,
        `Log group${groups.length > 1 ? 's' : ''}: ${others ? `${others} and ` : ''}${last}`,
        `First command: ${rings.first}`,
        `What to do: ${this.props.runbookUrl ?? RUNBOOKS}/alarms/fleet-${suffix}.md`,
      ].join('\n'),
      metric: rings.metric,
      threshold: rings.atLeast ?? 1,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: 1,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    }).addAlarmAction(new SnsAction(this.props.alarmTopic));
  }

  private most(usingMetrics: Record<string, cloudwatch.IMetric>, period = Duration.minutes(5)): cloudwatch.MathExpression {
    const filled = Object.keys(usingMetrics).map((it) => `FILL(${it}, 0)`);
    return new cloudwatch.MathExpression({ expression: `MAX([${filled.join(', ')}])`, usingMetrics, period });
  }

  private errors(functionName: string): cloudwatch.Metric {
    return this.metric('AWS/Lambda', 'Errors', { FunctionName: functionName }).with({ period: Duration.hours(1) });
  }

  private metric(namespace: string, metricName: string, dimensionsMap: Record<string, string>): cloudwatch.Metric {
    return new cloudwatch.Metric({ namespace, metricName, statistic: 'Sum', period: Duration.minutes(5), dimensionsMap });
  }
}
