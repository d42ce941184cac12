import { App } from 'aws-cdk-lib';
import { LockstepStack } from './lockstep';

const app = new App();
const account = '123456789012';
const secret = (name: string) => `arn:aws:secretsmanager:eu-central-1:${account}:secret:${name}`;

new LockstepStack(app, 'lockstep-postgres', {
  env: { account, region: 'eu-central-1' },
  kind: 'postgres',
  secrets: { orders: { arn: secret('orders-AbCdEf'), schedule: 'rate(30 days)' } },
  superuserSecretArns: [secret('orders-superuser-AbCdEf')],
  subnetIds: ['subnet-0123456789abcdef0', 'subnet-0123456789abcdef1'],
  securityGroupIds: ['sg-0123456789abcdef0'],
  alarmEmail: 'on-call@example.com',
});
