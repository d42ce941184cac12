import * as events from 'aws-cdk-lib/aws-events';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as secretsmanager from 'aws-cdk-lib/aws-secretsmanager';
import * as sns from 'aws-cdk-lib/aws-sns';
import { RotationFunctionProps } from './props';

/** Settings that mean the same for a fleet as for a rotation function. */
type Shared = Pick<
  RotationFunctionProps,
  | 'code'
  | 'architecture'
  | 'namePrefix'
  | 'vpc'
  | 'vpcSubnets'
  | 'securityGroups'
  | 'secretNamePrefix'
  | 'secretTag'
  | 'encryptionKeys'
  | 'runbookUrl'
  | 'logRetention'
  | 'logEncryptionKey'
  | 'logLevel'
  | 'tracing'
  | 'memorySize'
  | 'timeout'
  | 'layers'
  | 'permissionsBoundary'
  | 'rolePath'
  | 'secretsManagerEndpoint'
  | 'ssmEndpoint'
  | 'caBundle'
>;

/** The settings of a fleet. Only `functions` and `alarmTopic` are required. */
export interface FleetProps extends Shared {
  /** The rotation functions whose secrets the fleet may rotate, as in `rotation.function`. Room for about fifteen. */
  readonly functions: lambda.IFunction[];
  /** The topic that receives the alarms, as in `rotation.alarmTopic`. */
  readonly alarmTopic: sns.ITopic;
  /** The KMS keys that an order with the mode rekey may name. Default: no rekey. */
  readonly rekeyKeys?: kms.IKey[];
  /** The secret with the key of the fingerprints, by which a leaked value leads to its secret. Default: the fleet looks for no leaks. */
  readonly fingerprintKeySecret?: secretsmanager.ISecret;
  /** When the fingerprints of all secrets are written into their tags. Default: once a day. */
  readonly fingerprintSchedule?: events.Schedule | 'never';
  /** The secret with the text that signs GitHub's webhook, which gets a public address. Default: no webhook. */
  readonly webhookSecret?: secretsmanager.ISecret;
  /** The secret with a token that may read GitHub's secret scanning alerts. Default: a person fetches the value of an alert. */
  readonly gitHubTokenSecret?: secretsmanager.ISecret;
  /** The URL of the API of your own GitHub. Default: https://api.github.com. */
  readonly gitHubApiUrl?: string;
  /** Requests of the webhook that are answered in a second. Default: 5. */
  readonly webhookRequestsPerSecond?: number;
  /** Look for the secret of each access key that AWS Health reports as exposed, or that a GuardDuty finding names. Default: false. */
  readonly hearAwsFindings?: boolean;
  /** Start the emergency by itself for a leaked secret that has the tag lockstep:on-leak with the value rotate. Default: false. */
  readonly startOnLeak?: boolean;
  /** Let people start and stop runs from the fleet's page. Whoever may invoke its function can then start every run. Default: false. */
  readonly allowPageRuns?: boolean;
  /** The URL of Step Functions. Default: the regional endpoint. */
  readonly stepFunctionsEndpoint?: string;
}
