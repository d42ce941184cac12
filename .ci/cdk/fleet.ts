// Makes one stack with a fleet for each case in the file that the first argument names, as compare.ts does for rotation functions.
import { readFileSync } from 'node:fs';
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Schedule } from 'aws-cdk-lib/aws-events';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { Fleet, FleetProps } from 'lockstep-cdk';

type Values = Record<string, string>;
const cases = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf-8')) as Record<string, Values>;
const app = new App();
for (const [name, values] of Object.entries(cases)) {
  const stack = new Stack(app, name, { env: { account: '123456789012', region: 'eu-central-1' } });
  const { 'secretTag.key': key, 'secretTag.value': value, ...rest } = values;
  const made: Record<string, unknown> = { alarmTopic: Topic.fromTopicArn(stack, 'Topic', 'arn:aws:sns:eu-central-1:123456789012:TOPIC') };
  for (const [property, text] of Object.entries(rest)) made[property] = converted(stack, property, text);
  if (key !== undefined) made['secretTag'] = { key, value };
  new Fleet(stack, 'Fleet', made as unknown as FleetProps);
}

function converted(stack: Stack, name: string, text: string): unknown {
  const each = <T>(make: (item: string, id: string) => T) => text.split(',').map((item, at) => make(item, `${name}${at}`));
  switch (name) {
    case 'functions':
      return each((arn, id) => lambda.Function.fromFunctionArn(stack, id, arn));
    case 'fingerprintKeySecret':
    case 'webhookSecret':
    case 'gitHubTokenSecret':
      return Secret.fromSecretCompleteArn(stack, name, text);
    case 'encryptionKeys':
    case 'rekeyKeys':
      return each((arn, id) => Key.fromKeyArn(stack, id, arn));
    case 'logEncryptionKey':
      return Key.fromKeyArn(stack, name, text);
    case 'layers':
      return each((arn, id) => lambda.LayerVersion.fromLayerVersionArn(stack, id, arn));
    case 'permissionsBoundary':
      return ManagedPolicy.fromManagedPolicyArn(stack, name, text);
    case 'vpc':
      return ec2.Vpc.fromVpcAttributes(stack, name, {
        vpcId: 'vpc-0a1b',
        availabilityZones: ['eu-central-1a', 'eu-central-1b'],
        privateSubnetIds: text.split(','),
      });
    case 'securityGroups':
      return each((group, id) => ec2.SecurityGroup.fromSecurityGroupId(stack, id, group));
    case 'timeout':
      return Duration.seconds(Number(text));
    case 'fingerprintSchedule':
      return text === 'never' ? text : Schedule.expression(text);
    case 'architecture':
      return text === 'arm64' ? lambda.Architecture.ARM_64 : lambda.Architecture.X86_64;
    default:
      if (text === 'true' || text === 'false') return text === 'true';
      return /^\d+$/.test(text) ? Number(text) : text;
  }
}
