import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as events from 'aws-cdk-lib/aws-events';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { Construct } from 'constructs';
import { KINDS } from './kinds';
import { arn, secretArn } from './permissions';
import { RotationFunctionProps } from './props';

const [MINUTES, HOUR, DAY] = [Duration.minutes(5), Duration.hours(1), Duration.days(1)];
export const RUNBOOKS = 'https://github.com/lockstep-rotation/lockstep/blob/main/docs/runbooks';

export interface AlarmsProps extends RotationFunctionProps {
  readonly function: lambda.IFunction;
  /** The name of the function. */
  readonly name: string;
}

/** When an alarm rings, and what it says. */
interface Rings {
  readonly metric: cloudwatch.IMetric;
  /** The largest value at which it does not ring. */
  readonly above: number;
  /** What has happened. */
  readonly says: string;
  /** The command that shows more. */
  readonly first: string;
}

/** The alarms of one function, the rules of EventBridge, and the topic that both publish to. */
export class Alarms extends Construct {
  readonly topic: sns.ITopic;
  private readonly runbooks: string;
  private readonly region: string;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: AlarmsProps,
  ) {
    super(scope, id);
    this.runbooks = props.runbookUrl ?? RUNBOOKS;
    this.region = Stack.of(this).region;
    this.topic = props.alarmTopic ?? this.ownTopic();
    if (props.alarmEmail) this.topic.addSubscription(new EmailSubscription(props.alarmEmail));
    this.rotations();
    this.failureEvents();
    if (props.watchSchedule !== 'never') this.looks(props.watchSchedule ?? events.Schedule.rate(DAY));
  }

  /** Alarms on the steps of rotations. An alarm acts when its state changes, so most periods are short: it can soon ring again. */
  private rotations() {
    const { name } = this.props;
    this.alarm('rotation-failed', {
      metric: this.own('PermanentFailures', 'Sum', MINUTES),
      above: 0,
      says: `A rotation by ${name}, or its daily look for late rotations, failed with an error that does not pass by itself.`,
      first: this.logs('{ $.level = "ERROR" }'),
    });
    // Crashes and time-outs write no metric of Lockstep. Secrets Manager repeats a step that failed, so a single error may be over.
    this.alarm('errors', {
      metric: metric('AWS/Lambda', 'Errors', 'Sum', HOUR, { FunctionName: name }),
      above: 2,
      says: `${name} crashed, ran out of time or ended with an error three times within an hour.`,
      first: this.logs('?ERROR ?error ?timeout'),
    });
    this.alarm('throttled', {
      metric: metric('AWS/Lambda', 'Throttles', 'Sum', MINUTES, { FunctionName: name }),
      above: 0,
      says: 'Lambda refused to start a function. The concurrency of the account or of the function was used up. Secrets Manager repeats the step, or the rotation fails.',
      first:
        `aws lambda get-function-concurrency --function-name ${name} --region ${this.region}; ` +
        `aws lambda get-account-settings --region ${this.region} --query AccountLimit`,
    });
    this.alarm('step-near-timeout', {
      metric: this.own('StepTimeUsed', 'Maximum', MINUTES),
      above: 80,
      says: 'A step of a rotation took more than 80 % of its time. The log says what it waited for, and whether it failed.',
      first: this.logs('{ $.StepTimeUsed > 80 }'),
    });
    if (KINDS[this.props.kind].keepsJournal) {
      this.alarm('journal-not-draining', {
        metric: this.own('JournalOverdue', 'Maximum', MINUTES),
        above: 0,
        says: 'API keys that were replaced and should have been revoked still work.',
        first: this.logs('{ $.code = "key-not-revoked" }'),
      });
    }
  }

  /** Reports the failures that Secrets Manager publishes as events, because it has no metric for them. */
  private failureEvents() {
    const { secretNamePrefix = '' } = this.props;
    const [what, secret, time] = ['$.detail.eventName', '$.detail.additionalEventData.SecretId', '$.time'].map((it) =>
      events.EventField.fromPath(it),
    );
    const rule = new events.Rule(this, 'Failures', {
      description: 'Publishes the events of Secrets Manager for failed and abandoned rotations',
      eventPattern: {
        source: ['aws.secretsmanager'],
        detailType: ['AWS Service Event via CloudTrail'],
        detail: {
          eventSource: ['secretsmanager.amazonaws.com'],
          eventName: ['RotationFailed', 'RotationAbandoned', 'TestRotationFailed'],
          ...(secretNamePrefix && {
            additionalEventData: { SecretId: events.Match.prefix(secretArn(Stack.of(this), secretNamePrefix)) },
          }),
        },
      },
      targets: [
        // Not targets.SnsTopic, which adds a statement to the policy of a topic that may not be this stack's.
        {
          bind: () => ({
            arn: this.topic.topicArn,
            input: events.RuleTargetInput.fromMultilineText(
              [
                `${what}: ${secret} at ${time}`,
                'Log group: /aws/lambda/ and the name of the function, which the command prints',
                `First command: aws secretsmanager describe-secret --region ${this.region} --secret-id ${secret} --query RotationLambdaARN`,
                `What to do: ${this.runbooks}/alarms/rotation-failed.md`,
              ].join('\n'),
            ),
          }),
        },
      ],
    });
    this.ruleBroken(
      'failure-rule-broken',
      rule,
      "EventBridge could not publish Secrets Manager's report of a failed rotation to the topic of the alarms.",
      `aws sns get-topic-attributes --region ${this.region} --topic-arn ${this.topic.topicArn} --query Attributes.Policy --output text`,
      'none, EventBridge keeps no log of it. The policies of the topic and of its key decide.',
    );
  }

  /** Has the function look for secrets whose rotation is overdue or stuck. */
  private looks(schedule: events.Schedule) {
    const { name } = this.props;
    const rule = new events.Rule(this, 'Watch', {
      description: `Has ${name} look for secrets whose rotation is overdue or stuck`,
      schedule,
      targets: [
        {
          bind: () => ({
            arn: this.props.function.functionArn,
            input: events.RuleTargetInput.fromObject({ Step: 'watch' }),
          }),
        },
      ],
    });
    new lambda.CfnPermission(this, 'WatchPermission', {
      action: 'lambda:InvokeFunction',
      functionName: this.props.function.functionArn,
      principal: 'events.amazonaws.com',
      sourceArn: rule.ruleArn,
    });
    this.alarm('rotation-overdue', {
      metric: new cloudwatch.MathExpression({
        label: 'secrets overdue or stuck',
        expression: 'MAX([FILL(overdue, 0), FILL(stuck, 0)])',
        usingMetrics: {
          overdue: this.own('SecretsOverdue', 'Maximum', MINUTES),
          stuck: this.own('SecretsStuck', 'Maximum', MINUTES),
        },
        period: MINUTES,
      }),
      above: 0,
      says: 'A rotation is more than a day late, or has been unfinished for more than a day. The alarm rings again at each look that finds one.',
      first: this.logs('{ $.target = "rotation::notice" }'),
    });
    if (KINDS[this.props.kind].renewsCertificates) {
      this.alarm('certificate-expires', {
        metric: this.own('CertificatesExpiring', 'Maximum', MINUTES),
        above: 0,
        says: 'A certificate has less than 7 days left, or less than a fifth of a short life. It should have been renewed before. The alarm rings again at each look that finds one.',
        first: this.logs('{ $.message = "the secret*s certificate expires soon" }'),
      });
    }
    this.lookMissing();
    this.ruleBroken(
      'watch-rule-broken',
      rule,
      'EventBridge could not invoke a function for the daily look for late rotations.',
      `aws lambda get-policy --function-name ${name} --region ${this.region} --query Policy --output text`,
    );
  }

  /** A look that finds nothing late still counts the secrets that it has looked at. Until the first look this alarm rings. */
  private lookMissing() {
    const { name, lookMissingAfter = Duration.hours(26) } = this.props;
    const hours = lookMissingAfter.toHours();
    const look = `aws lambda invoke --function-name ${name} --region ${this.region}`;
    new cloudwatch.Alarm(this, 'look-missing', {
      ...this.texts(
        'look-missing',
        `${name} has not done its daily look for late rotations for ${hours} hours or more. A rotation that never begins would go unnoticed.`,
        `${look} --cli-binary-format raw-in-base64-out --payload '{"Step": "watch"}' /dev/stdout`,
      ),
      metric: this.own('SecretsServed', 'SampleCount', HOUR),
      threshold: 1,
      comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: hours,
      treatMissingData: cloudwatch.TreatMissingData.BREACHING,
    }).addAlarmAction(new SnsAction(this.topic));
  }

  /** An alarm for a rule that cannot reach its target, because EventBridge does not report it. */
  private ruleBroken(suffix: string, rule: events.IRule, says: string, first: string, logGroup?: string) {
    const failed = metric('AWS/Events', 'FailedInvocations', 'Sum', MINUTES, { RuleName: rule.ruleName });
    this.alarm(suffix, { metric: failed, above: 0, says, first }, logGroup);
  }

  private alarm(suffix: string, { metric, above, says, first }: Rings, logGroup?: string) {
    new cloudwatch.Alarm(this, suffix, {
      ...this.texts(suffix, says, first, logGroup),
      metric,
      threshold: above,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 1,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    }).addAlarmAction(new SnsAction(this.topic));
  }

  /** The name of an alarm, and what its mail says: where the log is, what to type first, and where the page is. */
  private texts(suffix: string, says: string, first: string, logGroup = `/aws/lambda/${this.props.name}`) {
    return {
      alarmName: `${this.props.name}-${suffix}`,
      alarmDescription: [
        says,
        `Log group: ${logGroup}`,
        `First command: ${first}`,
        `What to do: ${this.runbooks}/alarms/${suffix}.md`,
      ].join('\n'),
    };
  }

  private logs(pattern: string): string {
    return `aws logs tail /aws/lambda/${this.props.name} --region ${this.region} --since 1d --filter-pattern '${pattern}'`;
  }

  /** A metric of the function itself. */
  private own(metricName: string, statistic: string, period: Duration): cloudwatch.Metric {
    return metric('Lockstep', metricName, statistic, period, { FunctionName: this.props.name });
  }

  /** An encrypted topic. The key is its own, because CloudWatch and EventBridge cannot use the AWS managed key aws/sns. */
  private ownTopic(): sns.Topic {
    const publishers = ['cloudwatch.amazonaws.com', 'events.amazonaws.com'].map((it) => new iam.ServicePrincipal(it));
    const key = new kms.Key(this, 'Key', {
      description: `Encrypts alarms of ${this.props.name}`,
      enableKeyRotation: true,
      pendingWindow: Duration.days(7),
      // The key encrypts only messages in transit.
      removalPolicy: RemovalPolicy.DESTROY,
    });
    key.addToResourcePolicy(
      new iam.PolicyStatement({
        sid: 'PublishersOfAlarms',
        actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
        resources: ['*'],
        principals: publishers,
      }),
    );
    const topic = new sns.Topic(this, 'Topic', { displayName: `${this.props.name} rotation`, masterKey: key });
    const publish = (sid: string, publisher: iam.IPrincipal, conditions: iam.Conditions) =>
      topic.addToResourcePolicy(
        new iam.PolicyStatement({ sid, actions: ['sns:Publish'], resources: [topic.topicArn], principals: [publisher], conditions }),
      );
    publish('AlarmsOfThisAccount', new iam.ServicePrincipal('cloudwatch.amazonaws.com'), {
      ArnLike: { 'aws:SourceArn': arn(Stack.of(this), 'cloudwatch', 'alarm:*') },
    });
    // No condition, because EventBridge fills in none when it publishes to a topic.
    publish('RulesOfEventBridge', new iam.ServicePrincipal('events.amazonaws.com'), {});
    return topic;
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
