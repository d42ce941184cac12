import { App, Duration, Stack } from 'aws-cdk-lib';
import { Schedule } from 'aws-cdk-lib/aws-events';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { RotationFunction } from './src';

const app = new App();
const stack = new Stack(app, 'lockstep-postgres', { env: { account: '123456789012', region: 'eu-central-1' } });
const secret = (name: string) =>
  Secret.fromSecretCompleteArn(stack, name, `arn:aws:secretsmanager:eu-central-1:123456789012:secret:${name}-AbCdEf`);

const rotation = new RotationFunction(stack, 'Rotation', {
  kind: 'postgres',
  superuserSecrets: [secret('orders-superuser')],
  alarmEmail: 'on-call@example.com',
});
rotation.attach(secret('orders'), Schedule.rate(Duration.days(30)));
