// What the construct refuses, and what it does with a secret that is attached. Prints one object, from a case to what happened.
import { App, Duration, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Schedule } from 'aws-cdk-lib/aws-events';
import { HostedZone } from 'aws-cdk-lib/aws-route53';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { RotationFunction, RotationFunctionProps } from 'lockstep-cdk';

const secret = (stack: Stack, name: string) =>
  Secret.fromSecretCompleteArn(stack, name, `arn:aws:secretsmanager:eu-central-1:123456789012:secret:${name}-AbCdEf`);
const ofKind = (kind: RotationFunctionProps['kind'], more: object) => (stack: Stack) =>
  void new RotationFunction(stack, 'Rotation', { kind, ...more });

const cases: Record<string, (stack: Stack) => void> = {
  'a property of another kind': ofKind('mysql', { allowMd5: true }),
  'admin secrets of a database': (stack) => ofKind('postgres', { adminSecrets: [secret(stack, 'admin')] })(stack),
  'hosted zones of a database': (stack) =>
    ofKind('postgres', { hostedZones: [HostedZone.fromHostedZoneId(stack, 'Zone', 'Z1D633PJN98FT9')] })(stack),
  'a name that is too long': ofKind('postgres', { namePrefix: 'a'.repeat(56) }),
  'a short timeout': ofKind('postgres', { timeout: Duration.seconds(5) }),
  'groups without a VPC': ofKind('postgres', { vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED } }),
  'a superuser without the end of its ARN': (stack) =>
    ofKind('postgres', { superuserSecrets: [Secret.fromSecretNameV2(stack, 'Super', 'super')] })(stack),
  'a secret without the prefix': (stack) =>
    void new RotationFunction(stack, 'Rotation', { kind: 'postgres', secretNamePrefix: 'prod/' }).attach(
      secret(stack, 'test'),
      Schedule.rate(Duration.days(1)),
    ),
  'connections without a VPC': (stack) =>
    void new RotationFunction(stack, 'Rotation', { kind: 'postgres' }).connections.allowToAnyIpv4(ec2.Port.tcp(443)),
  nothing: ofKind('postgres', {}),
};

const found: Record<string, string> = {};
for (const [name, make] of Object.entries(cases)) {
  try {
    make(new Stack(new App(), 'stack'));
    found[name] = 'accepted';
  } catch (error) {
    found[name] = error instanceof Error ? error.message : String(error);
  }
}
console.log(JSON.stringify(found));
