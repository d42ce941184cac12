// Makes one stack for each case in the file that the first argument names. A case has values as the SAM template's parameters have them, under
// the names of properties.
import { readFileSync } from 'node:fs';
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Schedule } from 'aws-cdk-lib/aws-events';
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import { HostedZone } from 'aws-cdk-lib/aws-route53';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { RotationFunction, RotationFunctionProps } from 'lockstep-cdk';

type Values = Record<string, string>;
const cases = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf-8')) as Record<string, Values>;
const app = new App();
for (const [name, values] of Object.entries(cases)) {
  const stack = new Stack(app, name, { env: { account: '123456789012', region: 'eu-central-1' } });
  new RotationFunction(stack, 'Rotation', props(stack, values));
}

function props(stack: Stack, given: Values): RotationFunctionProps {
  const { 'secretTag.key': key, 'secretTag.value': value, ...rest } = given;
  const made: Record<string, unknown> = {};
  for (const [name, text] of Object.entries(rest)) made[name] = converted(stack, name, text);
  if (key !== undefined) made['secretTag'] = { key, value };
  return made as unknown as RotationFunctionProps;
}

function converted(stack: Stack, name: string, text: string): unknown {
  const each = <T>(make: (item: string, id: string) => T) => text.split(',').map((item, at) => make(item, `${name}${at}`));
  switch (name) {
    case 'superuserSecrets':
    case 'adminSecrets':
    case 'accountSecrets':
      return each((arn, id) => Secret.fromSecretCompleteArn(stack, id, arn));
    case 'hostedZones':
      return each((arn, id) => HostedZone.fromHostedZoneId(stack, id, arn.split('/')[1] ?? ''));
    case 'encryptionKeys':
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
    case 'lookMissingAfter':
      return Duration.hours(Number(text));
    case 'watchSchedule':
      return text === 'never' ? text : Schedule.expression(text);
    case 'architecture':
      return text === 'arm64' ? lambda.Architecture.ARM_64 : lambda.Architecture.X86_64;
    case 'issuers':
    case 'issuerSourceArns':
    case 'allowedHosts':
    case 'allowedPrivateHosts':
    case 'publishedObjectArns':
    case 'publishedBucketArns':
    case 'publishedParameterArns':
    case 'publishedPlaces':
    case 'verifyHosts':
    case 'challengeNames':
    case 'allowedDomains':
    case 'directories':
    case 'endpointHosts':
    case 'acmCertificateArns':
    case 'certificateObjectArns':
      return text.split(',');
    case 'excludeCharacters':
      return text;
    default:
      if (text === 'true' || text === 'false') return text === 'true';
      return /^\d+$/.test(text) ? Number(text) : text;
  }
}
